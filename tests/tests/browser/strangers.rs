//! Missions that want to be more than text, before a browser that would run what they say.

use serde_json::json;
use sortie_tests::payloads::{PAYLOADS, saying};
use sortie_tests::{Chromium, Node, until};

use crate::{OPERATOR, options};

/// Looks at a page; nothing on it runs, leads away or is held back by the policy.
async fn harmless(browser: &Chromium, node: &Node, path: &str) {
    browser.go(&format!("{}{path}", node.url())).await;
    // A search that cannot be understood is told by its status, too.
    let is_ours = |said: &String| !said.contains("responded with a status of 400");
    let complaints: Vec<String> = browser.complaints().await.into_iter().filter(is_ours).collect();
    assert!(complaints.is_empty(), "{path}: {complaints:#?}");
    assert!(!browser.has_run().await, "{path}: something ran");
    let now = browser.driver().current_url().await.expect("an address").to_string();
    assert!(now.starts_with(node.url()), "{path} led to {now}");
    let elements = "return document.querySelectorAll('iframe, object, embed, base, style, img, script:not([src]), [onload], [onerror]').length";
    assert_eq!(browser.js(elements, &[]).await, 0, "{path}: an element that is none of ours");
}

/// All pages of the inbox.
async fn inbox(browser: &Chromium, node: &Node) {
    let mut path = "/inbox".to_owned();
    loop {
        harmless(browser, node, &path).await;
        let next = browser.js("return document.querySelector('a[rel=next]')?.getAttribute('href') ?? null", &[]).await;
        match next.as_str() {
            Some(next) => path = next.to_owned(),
            None => return,
        }
    }
}

#[tokio::test]
async fn nothing_that_a_mission_says_runs() {
    let node = options().start().await;
    let browser = Chromium::start().await;
    browser.sign_in(&node, OPERATOR).await;
    for (no, payload) in PAYLOADS.iter().enumerate() {
        node.accept(&saying(no, payload)).await;
    }
    for no in 0..PAYLOADS.len() {
        node.until_status(&format!("m{no}"), "blocked").await;
    }
    inbox(&browser, &node).await;
    let decide = async |no: usize, request: &str, decision: serde_json::Value| {
        node.post(&format!("/v1/missions/m{no}/requests/{request}"), &decision).await.expect_status(200);
    };
    for (no, payload) in PAYLOADS.iter().enumerate() {
        decide(no, "r1", json!({"decision": "approve", "note": payload})).await;
    }
    for no in 0..PAYLOADS.len() {
        until("its own question is open", async || {
            let open = node.mission(&format!("m{no}")).await["pending_requests"].clone();
            (open[0]["kind"] == "input").then_some(())
        })
        .await;
    }
    inbox(&browser, &node).await;
    // Now the question is the summary of each mission, too.
    for path in ["/", "/?left=waiting", "/missions"] {
        harmless(&browser, &node, path).await;
    }
    for (no, payload) in PAYLOADS.iter().enumerate() {
        decide(no, "r2", json!({"decision": "answer", "text": payload, "note": payload})).await;
        node.until_final(&format!("m{no}")).await;
    }
    for no in 0..PAYLOADS.len() {
        let path = format!("/missions/m{no}");
        harmless(&browser, &node, &path).await;
        let link = "return document.querySelector('[aria-labelledby=artifacts] tbody a').getAttribute('href')";
        let link = browser.js(link, &[]).await;
        harmless(&browser, &node, link.as_str().expect("an artifact")).await;
    }
    for path in [
        "/",
        "/?left=done",
        "/missions",
        "/sessions",
        "/deliveries",
        "/schedules",
        "/plugins",
        "/tools",
        "/models",
        "/node",
    ] {
        harmless(&browser, &node, path).await;
    }
    // A name that comes in by an address, for who is signed in and for who is not.
    for payload in PAYLOADS {
        let mut url = reqwest::Url::parse("http://form/").expect("a URL");
        url.query_pairs_mut().append_pair("q", payload);
        harmless(&browser, &node, &format!("/missions?{}", url.query().expect("a query"))).await;
    }
    browser.click("form.who button").await;
    browser.until_there("#token").await;
    let mut url = reqwest::Url::parse("http://form/").expect("a URL");
    url.query_pairs_mut().append_pair("next", "javascript:alert(1)");
    harmless(&browser, &node, &format!("/signin?{}", url.query().expect("a query"))).await;
}
