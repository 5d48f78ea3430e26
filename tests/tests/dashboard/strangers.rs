//! Pages of missions that want to be more than text: none of what they say becomes an element, an attribute or an address.

use sortie_tests::Node;
use sortie_tests::payloads::{PAYLOADS, saying};

use crate::browser::{Browser, options, text};
use crate::markup;

/// The page, held to be ours.
async fn ours(browser: &Browser, path: &str) -> dom_query::Document {
    let page = browser.page(path).await;
    markup::is_ours(path, &page);
    page
}

async fn all_that_is_asked(browser: &Browser) -> String {
    let (mut all, mut path) = (String::new(), "/inbox".to_owned());
    loop {
        let page = ours(browser, &path).await;
        all.push_str(&text(&page, "main"));
        match page.select("a[rel=next]").attr("href") {
            Some(next) => path = next.to_string(),
            None => return all,
        }
    }
}

#[tokio::test]
async fn nothing_that_a_mission_says_becomes_more_than_text() {
    let node: Node = options().start().await;
    let browser = Browser::signed_in(&node, node.token()).await;
    for (no, payload) in PAYLOADS.iter().enumerate() {
        node.accept(&saying(no, payload)).await;
    }
    for no in 0..PAYLOADS.len() {
        node.until_status(&format!("m{no}"), "blocked").await;
    }
    let asked = all_that_is_asked(&browser).await;
    for (no, payload) in PAYLOADS.iter().enumerate() {
        assert!(asked.contains(payload), "the inbox shows it: {payload}");
        let approve = [("decision", "approve"), ("note", *payload)];
        browser.send(&format!("/missions/m{no}/requests/r1"), &approve).await.expect_status(303);
    }
    for no in 0..PAYLOADS.len() {
        let name = format!("m{no}");
        sortie_tests::until("its own question is open", async || {
            let open = node.mission(&name).await["pending_requests"].clone();
            (open[0]["kind"] == "input").then_some(())
        })
        .await;
    }
    all_that_is_asked(&browser).await;
    for (no, payload) in PAYLOADS.iter().enumerate() {
        let answer = [("decision", "answer"), ("text", *payload), ("note", payload)];
        browser.send(&format!("/missions/m{no}/requests/r2"), &answer).await.expect_status(303);
        node.until_final(&format!("m{no}")).await;
        let page = ours(&browser, &format!("/missions/m{no}")).await;
        for part in ["summary", "milestones", "calls", "decisions", "criteria", "artifacts"] {
            let said = text(&page, &format!("[aria-labelledby={part}]"));
            assert!(
                said.contains(payload) || part == "artifacts" || (part == "calls" && said.contains("Read")),
                "{part} of {payload}: {said}"
            );
        }
        let link = page.select("[aria-labelledby=artifacts] tbody a").attr("href").expect("an artifact").to_string();
        let file = ours(&browser, &link).await;
        assert_eq!(text(&file, "pre.text"), **payload, "{link}");
        let got = browser.get(&link.replacen("/files/", "/download/", 1)).await.expect_status(200);
        assert_eq!((&got.text[..], got.header("x-content-type-options")), (*payload, "nosniff"));
        assert!(got.header("content-disposition").starts_with("attachment"), "{got:#?}");
    }
    for path in ["/", "/missions", "/sessions", "/?left=done", "/deliveries"] {
        ours(&browser, path).await;
    }
}

#[tokio::test]
async fn nothing_in_an_address_becomes_more_than_text() {
    let node = options().start().await;
    let browser = Browser::signed_in(&node, node.token()).await;
    let stranger = Browser::stranger(&node);
    for payload in PAYLOADS {
        let mut url = reqwest::Url::parse("http://form/").expect("a URL");
        url.query_pairs_mut().append_pair("x", payload);
        let value = url.query().expect("a query")["x=".len()..].to_owned();
        for path in [
            format!("/?left={value}"),
            format!("/?date={value}"),
            format!("/missions?q={value}"),
            format!("/missions?vp_id={value}&vp_runtime_id={value}&mission_type=automation"),
            format!("/missions?status={value}"),
            format!("/missions?cursor={value}"),
            format!("/missions?{value}=x"),
            format!("/inbox?cursor={value}"),
            format!("/missions/{}", value.replace('+', "%20")),
        ] {
            let answer = browser.get(&path).await;
            assert!([200, 400, 404].contains(&answer.status), "{path}: {answer:#?}");
            if answer.header("content-type").starts_with("text/html") {
                markup::is_ours(&path, &dom_query::Document::from(answer.text));
            }
        }
        let page = stranger.page(&format!("/signin?next={value}")).await;
        markup::is_ours("/signin", &page);
        assert!(page.select("input[name=next]").attr("value").is_some_and(|next| &*next == "/"), "{payload}");
    }
}
