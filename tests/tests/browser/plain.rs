//! The pages where nothing runs in them: lists, filters and decisions are links and forms.

use serde_json::json;
use sortie_tests::envelope::{with, writing};
use sortie_tests::{Chromium, automation};

use crate::{OPERATOR, options};

#[tokio::test]
async fn without_scripts_lists_and_decisions_work() {
    let node = options().start().await;
    for id in ["approve", "amend", "left"] {
        node.accept(&with(writing(id), "/constraints/approval_required", json!(["Write"]))).await;
        node.until_status(id, "blocked").await;
    }
    let steps = json!([{"id": "q", "tool": "ask", "with": {"question": "Which?"}}]);
    node.accept(&automation("answer", &steps)).await;
    node.until_status("answer", "blocked").await;
    let browser = Chromium::start().await;
    browser.set_scripts(false).await;
    browser.sign_in(&node, OPERATOR).await;
    browser.until_says("#live", "As of").await;
    let is_on = browser.js("return typeof window.htmx !== 'undefined'", &[]).await;
    assert_eq!(is_on, false, "scripts run");

    browser.click("nav a[href='/missions']").await;
    browser.write("#q", "amend").await;
    browser.click("form.filter button").await;
    browser.until_says("table", "amend").await;
    assert!(!browser.said("table").await.contains("answer"), "it is filtered");
    browser.click("tbody a[href='/missions/amend']").await;
    browser.until_says("#live", "blocked").await;
    browser.click("a[href='/inbox']").await;

    let of = |id: &str, inner: &str| format!("article[aria-labelledby='request-{id}/r1'] {inner}");
    browser.click(&of("approve", "button[value=approve]")).await;
    browser.until_says(".notice.good", "approve r1: approved").await;
    browser.click(&of("amend", "details:last-of-type summary")).await;
    browser.write(&of("amend", "textarea[name=arguments]"), "{\"path\": \"b.txt\", \"content\": \"b\"}").await;
    browser.click(&of("amend", "button[value=amend]")).await;
    browser.until_says(".notice.good", "amend r1: approved with other arguments").await;
    browser.write(&of("answer", "textarea[name=text]"), "this one").await;
    browser.click(&of("answer", "button[value=answer]")).await;
    browser.until_says(".notice.good", "answer r1: answered").await;
    browser.click(&of("left", "input[name=item]")).await;
    browser.click("#several button[value=deny]").await;
    browser.until_says(".notice.good", "left r1: denied").await;
    for id in ["approve", "amend", "answer", "left"] {
        node.until_final(id).await;
    }
    browser.click("nav a[href='/']").await;
    browser.click(".count.s-done").await;
    browser.until_says("#missions", "done").await;
    browser.click("form.who button").await;
    browser.until_there("#token").await;
}
