//! What somebody does at a node: looks on, decides, cancels, signs out.

use serde_json::{Value, json};
use sortie_tests::envelope::{with, writing};
use sortie_tests::{Chromium, Node, automation, looping, workspace_of};

use crate::{OPERATOR, options};

fn asking(id: &str) -> Value {
    with(writing(id), "/constraints/approval_required", json!(["Write"]))
}

fn question(id: &str) -> Value {
    let steps = json!([
        {"id": "q", "tool": "ask", "with": {"question": "Which of the two?"}},
        {"id": "w", "tool": "Write", "with": {"path": "a.txt", "content": "{{ steps.q.result }}"}},
    ]);
    automation(id, &steps)
}

async fn asked(node: &Node, envelopes: &[Value]) {
    for envelope in envelopes {
        let id = node.accept(envelope).await;
        node.until_status(&id, "blocked").await;
    }
}

async fn journal(node: &Node, id: &str) -> String {
    node.get(&format!("/v1/missions/{id}/journal")).await.json["items"].to_string()
}

async fn page(browser: &Chromium, node: &Node, path: &str) {
    browser.go(&format!("{}{path}", node.url())).await;
}

/// The forms of a request in the inbox.
fn of(id: &str, inner: &str) -> String {
    format!("article[aria-labelledby='request-{id}/r1'] {inner}")
}

/// Whether the page has been the same document since this was last called: what is fetched anew keeps that, and a reload does not.
async fn is_the_same(browser: &Chromium) -> bool {
    browser.js("const before = window.isTheSame === true; window.isTheSame = true; return before", &[]).await == true
}

#[tokio::test]
async fn a_page_changes_while_one_looks() {
    let node = options().start().await;
    let browser = Chromium::start().await;
    browser.sign_in(&node, OPERATOR).await;
    for (path, id, says) in
        [("/", "night", "Needs you"), ("/missions", "list", "blocked"), ("/inbox", "inbox", "the newest is of inbox")]
    {
        page(&browser, &node, path).await;
        is_the_same(&browser).await;
        browser.until_there("#live").await;
        assert!(!browser.said("#live").await.contains(says), "{path}");
        // Whoever has just come hears of what happens from then on: the stream is open once the browser says so.
        browser.until_listening().await;
        asked(&node, &[asking(id)]).await;
        browser.until_says("#live", says).await;
        assert!(is_the_same(&browser).await, "{path} was loaded anew");
        node.post(&format!("/v1/missions/{id}/cancel"), &json!({})).await.expect_status(202);
        node.until_final(id).await;
    }
    asked(&node, &[asking("watched")]).await;
    page(&browser, &node, "/missions/watched").await;
    is_the_same(&browser).await;
    browser.until_says("#live", "blocked").await;
    browser.until_listening().await;
    node.post("/v1/missions/watched/requests/r1", &json!({"decision": "approve"})).await.expect_status(200);
    browser.until_says("#live", "completed").await;
    assert!(is_the_same(&browser).await, "it was loaded anew");
    assert_eq!(browser.complaints().await, [""; 0]);
}

#[tokio::test]
async fn somebody_decides_in_the_inbox() {
    let node = options().start().await;
    let browser = Chromium::start().await;
    asked(&node, &[asking("amend"), question("answer"), asking("deny")]).await;
    browser.sign_in(&node, OPERATOR).await;
    browser.click("nav a[href='/inbox']").await;

    browser.click(&of("amend", "details:last-of-type summary")).await;
    let other = "{\"path\": \"other.txt\", \"content\": \"changed\"}";
    browser.write(&of("amend", "textarea[name=arguments]"), other).await;
    browser.click(&of("amend", "button[value=amend]")).await;
    browser.until_says(".notice.good", "amend r1: approved with other arguments").await;
    node.until_final("amend").await;
    let written = std::fs::read_to_string(workspace_of(&node, "vp.amend").join("other.txt")).expect("it was written");
    assert_eq!(written, "changed");

    browser.write(&of("answer", "textarea[name=text]"), "the first,\nwith care").await;
    browser.click(&of("answer", "button[value=answer]")).await;
    browser.until_says(".notice.good", "answer r1: answered").await;
    node.until_final("answer").await;
    let written = std::fs::read_to_string(workspace_of(&node, "vp.answer").join("a.txt")).expect("it was written");
    assert!(written.contains("the first,\nwith care"), "{written:?}");

    browser.write(&of("deny", "input[name=note]"), "not tonight").await;
    browser.click(&of("deny", "button[value=deny]")).await;
    browser.until_says(".notice.good", "deny r1: denied").await;
    node.until_final("deny").await;
    let journal = journal(&node, "deny").await;
    assert!(journal.contains("not tonight") && journal.contains("\"by\":\"ada\""), "{journal}");
    assert_eq!(browser.complaints().await, [""; 0]);
}

#[tokio::test]
async fn several_are_decided_at_once_and_one_is_cancelled() {
    let node = options().start().await;
    let browser = Chromium::start().await;
    asked(&node, &[asking("one"), asking("two"), asking("three")]).await;
    node.accept(&looping("runs")).await;
    browser.sign_in(&node, OPERATOR).await;
    page(&browser, &node, "/inbox").await;
    for id in ["one", "three"] {
        browser.click(&of(id, "input[name=item]")).await;
    }
    browser.write("#note-several", "both are fine").await;
    browser.click("#several button[value=approve]").await;
    for id in ["one", "three"] {
        browser.until_says(".notice.good", &format!("{id} r1: approved")).await;
        assert_eq!(node.until_final(id).await["status"], "completed");
    }
    node.until_status("two", "blocked").await;

    page(&browser, &node, "/missions/runs").await;
    browser.write("#reason", "the night is over").await;
    browser.click("form[action='/missions/runs/cancel'] button.danger").await;
    browser.until_says(".notice", "Cancelled").await;
    assert_eq!(node.until_final("runs").await["status"], "cancelled");
    assert!(journal(&node, "runs").await.contains("the night is over"));

    browser.click("form[action='/missions/runs/keep'] button").await;
    browser.until_says(".notice.good", "It is kept.").await;
    assert_eq!(node.mission("runs").await["kept"]["by"], "ada");
    browser.click("form[action='/missions/runs/keep'] button").await;
    browser.until_says(".notice.good", "It is left to retention.").await;
    assert_eq!(node.mission("runs").await["kept"], Value::Null);

    node.accept(&looping("again")).await;
    node.accept(&looping("more")).await;
    page(&browser, &node, "/missions?status=running").await;
    for id in ["again", "more"] {
        browser.click(&format!("input[name=item][value='{id}']")).await;
    }
    browser.write("#reason-several", "both of them").await;
    browser.click("#several button[value=cancel]").await;
    for id in ["again", "more"] {
        browser.until_says(".notice.good", &format!("{id}: cancelled")).await;
        assert_eq!(node.until_final(id).await["status"], "cancelled");
        assert!(journal(&node, id).await.contains("both of them"));
    }
    let back = browser.driver().current_url().await.expect("an address");
    assert_eq!(back.query(), Some("status=running"), "the list is narrowed as before");

    browser.click("form.who button").await;
    browser.until_there("#token").await;
    page(&browser, &node, "/inbox").await;
    assert!(browser.driver().current_url().await.expect("an address").path() == "/signin", "who signed out is out");
    assert_eq!(browser.complaints().await, [""; 0]);
}

#[tokio::test]
async fn enter_in_a_note_acts_nowhere() {
    let node = options().config("[tool.Glob]\ncost_usd = 0.01\n").start().await;
    let browser = Chromium::start().await;
    let pays = automation("pays", &json!([{"id": "f", "tool": "Glob", "with": {"pattern": "*"}}]));
    asked(&node, &[asking("call"), question("asks"), with(pays, "/budget", json!({"max_cost_usd": 0.005}))]).await;
    node.accept(&looping("runs")).await;
    browser.sign_in(&node, OPERATOR).await;
    for path in ["/inbox", "/missions/runs"] {
        page(&browser, &node, path).await;
        browser.js("document.querySelectorAll('details').forEach(one => { one.open = true })", &[]).await;
        is_the_same(&browser).await;
        let fields = browser
            .js("return document.querySelectorAll('main form.decide input:not([type=hidden])').length", &[])
            .await;
        let fields = fields.as_u64().expect("a number");
        assert!(fields >= 1, "{path}");
        for no in 0..fields {
            let focus = "document.querySelectorAll('main form.decide input:not([type=hidden])')[arguments[0]].focus()";
            browser.js(focus, &[json!(no)]).await;
            browser.press("fine\u{e007}").await;
            let written = browser.js("return document.activeElement.value", &[]).await;
            assert_eq!(written, "fine", "{path}: what is written stays");
        }
        // Another form of the same page is sent by its button: whatever Enter had sent would have come before it.
        assert!(is_the_same(&browser).await, "{path}: a form was sent");
    }
    for (id, status) in [("call", "blocked"), ("asks", "blocked"), ("pays", "blocked"), ("runs", "running")] {
        node.until_status(id, status).await;
    }
}
