//! A mission as of each of its records, and its deliveries moved along by hand.

use serde_json::{Value, json};
use sortie_tests::envelope::{with, write, writing};
use sortie_tests::{Node, Options, Receiver, Reply, automation, until};

use crate::browser::{Browser, OPERATOR, READER, options, text};
use crate::markup;

/// A mission that asks, writes twice, and completes.
async fn with_a_past(node: &Node) -> Value {
    let steps = json!([write("w", "a.txt", "one"), {"id": "v", "needs": ["w"], "tool": "Write", "with": {"path": "b.txt", "content": "two"}, "artifact": "b.txt", "milestone": "Both are there"}]);
    let envelope = with(automation("past", &steps), "/constraints/approval_required", json!(["Write(b.txt)"]));
    node.accept(&with(envelope, "/success_criteria", json!(["both are written"]))).await;
    node.until_status("past", "blocked").await;
    let done = node.post("/v1/missions/past/requests/r1", &json!({"decision": "approve"})).await;
    assert!(done.status < 300, "{done:#?}");
    node.until_final("past").await
}

#[tokio::test]
async fn a_mission_is_shown_as_of_each_of_its_records() {
    let node = Node::start().await;
    with_a_past(&node).await;
    let now = node.mission("past").await;
    let journal = node.get("/v1/missions/past/journal").await.json["items"].clone();
    let journal = journal.as_array().expect("records");
    let records = now["records"].as_u64().expect("a number");
    assert_eq!(records, journal.len() as u64);
    let mut statuses: Vec<String> = Vec::new();
    // Backwards and forwards: what readers keep of it must not show.
    for no in (1..=records).rev().chain(1..=records) {
        let past = node.get(&format!("/v1/missions/past?at={no}")).await.expect_status(200).json;
        let record = &journal[usize::try_from(no).expect("small") - 1];
        assert_eq!((&past["record"], &past["records"]), (&record["record"], &json!(records)));
        assert_eq!((&past["kind"], &past["at"]), (&record["kind"], &record["at"]), "{past:#}");
        statuses.push(past["status"].as_str().expect("a status").to_owned());
        // A request is open from the record that asks to that which decides.
        let kinds: Vec<&str> = journal
            .iter()
            .take(usize::try_from(no).expect("small"))
            .filter_map(|record| record["kind"].as_str())
            .collect();
        let open = usize::from(kinds.contains(&"requested") && !kinds.contains(&"decided"));
        assert_eq!(past["pending_requests"].as_array().map(Vec::len), Some(open), "{no}: {past:#}");
        let stored = kinds.iter().filter(|kind| **kind == "artifact_stored").count();
        assert_eq!(past["artifacts"].as_array().map(Vec::len), Some(stored), "{no}");
    }
    let forwards = statuses.split_off(statuses.len() / 2);
    statuses.reverse();
    assert_eq!(statuses, forwards);
    let mut seen = forwards.clone();
    seen.dedup();
    assert_eq!(seen, ["queued", "running", "blocked", "running", "completed"]);
    // The last one is now.
    let last = node.get(&format!("/v1/missions/past?at={records}")).await.json;
    for (key, value) in last.as_object().expect("an object") {
        if !["record", "at", "kind"].contains(&key.as_str()) {
            assert_eq!(Some(value), now.get(key), "{key}");
        }
    }
    for (at, status) in [("0", 400), ("x", 400), ("-1", 400), ("1.5", 400), ("", 400), ("4294967296", 400)] {
        node.get(&format!("/v1/missions/past?at={at}")).await.expect_status(status);
    }
    let beyond = node.get(&format!("/v1/missions/past?at={}", records + 1)).await;
    beyond.expect_problem(404, "not_found");
    assert!(beyond.text.contains(&records.to_string()), "{}", beyond.text);
    node.get("/v1/missions/past?to=1").await.expect_status(400);
}

#[tokio::test]
async fn a_slider_goes_over_the_record() {
    let node = options().start().await;
    with_a_past(&node).await;
    let records = node.mission("past").await["records"].as_u64().expect("a number");
    let browser = Browser::signed_in(&node, READER).await;
    let now = browser.page("/missions/past").await;
    let slider = now.select("form[method=get] input[type=range][name=at]");
    assert_eq!(
        (slider.attr("max").as_deref(), slider.attr("value").as_deref()),
        (Some(&*records.to_string()), Some(&*records.to_string()))
    );
    let mut calls = Vec::new();
    for no in 1..=records {
        let path = format!("/missions/past?at={no}");
        let page = browser.page(&path).await;
        markup::is_ours(&path, &page);
        markup::is_readable(&path, &page);
        let past = node.get(&format!("/v1/missions/past?at={no}")).await.json;
        let told = text(&page, "#as-of");
        assert!(told.contains(&format!("As of record {no} of {records}")), "{told}");
        assert!(told.contains(past["status"].as_str().expect("a status")), "{told}");
        let links: Vec<String> = page
            .select("nav[aria-label=Records] a")
            .iter()
            .filter_map(|link| link.attr("href"))
            .map(String::from)
            .collect();
        let to = |no: u64| format!("/missions/past?at={no}");
        assert_eq!(links.contains(&to(no - 1)), no > 1, "{links:?}");
        assert_eq!(links.contains(&to(no + 1)), no < records, "{links:?}");
        assert!(!page.select("main form[method=post]").exists(), "nothing is done to the past");
        calls.push(page.select("[aria-labelledby=calls] tbody tr").nodes().len());
    }
    assert!(calls.is_sorted() && calls[0] == 0 && calls.last() == Some(&2), "{calls:?}");
    browser.get(&format!("/missions/past?at={}", records + 1)).await.expect_status(404);
    browser.get("/missions/past?at=%3Cscript%3E").await.expect_status(400);
}

async fn parked(browser: &Browser) -> dom_query::Document {
    until("the delivery is parked", async || {
        let page = browser.page("/missions/stuck").await;
        text(&page, "[aria-labelledby=delivery]").contains("parked").then_some(page)
    })
    .await
}

#[tokio::test]
async fn a_parked_delivery_is_tried_again_or_left_out() {
    let receiver = Receiver::scripted(|_, _| Reply::Status(410)).await;
    let tokens = [("READER", "\"read\"", READER), ("OPERATOR", "\"read\", \"operate\"", OPERATOR)];
    let mut node = Options::new().config(&receiver.config()).env("CALLBACK_TOKEN", "hush-hush");
    for (name, scopes, token) in tokens {
        let config = format!("[[token]]\nname = \"{name}\"\nref = \"env://{name}\"\nscopes = [{scopes}]\n");
        node = node.config(&config).env(name, token);
    }
    let node = node.start().await;
    node.run(&with(writing("stuck"), "/callback", receiver.callback())).await;
    let (reader, browser) = (Browser::signed_in(&node, READER).await, Browser::signed_in(&node, OPERATOR).await);
    let page = parked(&browser).await;
    markup::is_ours("parked", &page);
    markup::is_readable("parked", &page);
    let told = text(&page, "[aria-labelledby=delivery]");
    assert!(told.contains("0 of") && told.contains("the next is number 1") && told.contains("410"), "{told}");
    assert!(!reader.page("/missions/stuck").await.select("main form[method=post]").exists());
    for how in ["redeliver", "skip"] {
        let path = format!("/missions/stuck/{how}");
        assert!(page.select(&format!("form[action='{path}']")).exists(), "{how}");
        reader.send(&path, &[]).await.expect_status(403);
        browser.post(&path, &[]).await.expect_status(403);
    }
    receiver.rescript(|got, _| Reply::Status(if got.sequence() == Some(2) { 400 } else { 200 }));
    browser.send("/missions/stuck/redeliver", &[]).await.expect_status(303);
    receiver.until("stuck", |got| got.sequence() == Some(2)).await;
    let page = parked(&browser).await;
    assert!(text(&page, "[aria-labelledby=delivery]").contains("1 of"));
    browser.send("/missions/stuck/skip", &[]).await.expect_status(303);
    receiver.until_final("stuck").await;
    let told = until("all others are delivered", async || {
        let told = text(&browser.page("/missions/stuck").await, "[aria-labelledby=delivery]");
        told.contains("incomplete").then_some(told)
    })
    .await;
    assert!(told.contains("Skipped: stuck/2"), "{told}");
    // Who comes too late is told.
    browser.send("/missions/stuck/skip", &[]).await.expect_status(303);
    assert!(text(&browser.page("/missions/stuck").await, ".notice.bad").contains("nothing was changed"));
}
