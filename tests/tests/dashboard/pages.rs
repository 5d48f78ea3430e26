//! Each page: that it is there, that it shows what the interface says, and what headers it comes with.

use serde_json::{Value, json};
use sortie_tests::envelope::{with, write, writing};
use sortie_tests::{Node, Options, Receiver, automation, looping, until};

use crate::browser::{Browser, options, text};
use crate::markup;

/// All pages that need no mission.
const PAGES: [&str; 14] = [
    "/",
    "/inbox",
    "/missions",
    "/dispatch",
    "/dispatch?plugin=automation",
    "/schedules",
    "/new-schedule",
    "/sessions",
    "/deliveries",
    "/plugins",
    "/tools",
    "/models",
    "/node",
    "/actions",
];

/// A mission that may write, after somebody said so.
fn asking(id: &str) -> Value {
    with(writing(id), "/constraints/approval_required", json!(["Write"]))
}

#[tokio::test]
async fn every_page_is_readable_and_lets_nothing_run_but_its_own_files() {
    let node = Node::start().await;
    node.run(&writing("done")).await;
    node.accept(&asking("asks")).await;
    node.until_status("asks", "blocked").await;
    let browser = Browser::signed_in(&node, node.token()).await;
    for path in PAGES.iter().copied().chain([
        "/missions/done",
        "/missions/asks",
        "/missions/asks/why",
        "/missions/done/fork",
        "/missions/asks/fork?record=2",
        "/?left=done",
        "/missions?status=completed",
    ]) {
        let answer = browser.get(path).await.expect_status(200);
        let policy = answer.header("content-security-policy");
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'self'",
        ] {
            assert!(policy.split("; ").any(|found| found == part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains("data:"), "{path}: {policy}");
        for (name, value) in
            [("cache-control", "no-store"), ("referrer-policy", "same-origin"), ("x-content-type-options", "nosniff")]
        {
            assert_eq!(answer.header(name), value, "{path}");
        }
        let page = dom_query::Document::from(answer.text);
        markup::is_ours(path, &page);
        markup::is_readable(path, &page);
    }
    let stranger = Browser::stranger(&node);
    let signin = stranger.page("/signin").await;
    markup::is_ours("/signin", &signin);
    markup::is_readable("/signin", &signin);
    // What the pages name is there, for everybody, and as it was named.
    let page = browser.page("/").await;
    let files: Vec<String> =
        page.select("script[src]").iter().filter_map(|node| node.attr("src")).map(String::from).collect();
    assert_eq!(files.len(), 2, "{files:?}");
    for file in
        files.into_iter().chain(page.select("link").iter().filter_map(|node| node.attr("href")).map(String::from))
    {
        let answer = stranger.get(&file).await.expect_status(200);
        assert!(answer.header("cache-control").contains("immutable") && answer.text.len() > 100, "{file}");
    }
    stranger.get("/assets/none.js").await.expect_status(404);
    // What nothing of ours has looked at is refused by a page, too.
    for (path, status) in [("/assets/%FF", 400), ("/missions/%FF", 400), ("/go/%FF", 400), ("/signout", 405)] {
        let answer = browser.get(path).await.expect_status(status);
        assert!(answer.header("content-type").starts_with("text/html"), "{path}: {answer:?}");
        markup::is_readable(path, &dom_query::Document::from(answer.text));
    }
}

#[tokio::test]
async fn the_night_shows_what_the_interface_says_of_it() {
    let hours = "[[lane]]\nid = \"day\"\nconcurrency = 2\nhours = [\"09:00-17:00 UTC\"]\n\n[[lane]]\nid = \"always\"\nconcurrency = 2\n";
    let node = Options::new().config(hours).start().await;
    let of_lane = |envelope: Value| with(envelope, "/vp_runtime_id", json!("always"));
    node.run(&of_lane(writing("done"))).await;
    let missing = automation("broken", &json!([{"id": "r", "tool": "Read", "with": {"path": "nothing.txt"}}]));
    node.run(&of_lane(missing)).await;
    node.accept(&of_lane(asking("asks"))).await;
    node.until_status("asks", "blocked").await;
    let night = node.get("/v1/nights/current").await.expect_status(200).json;
    let browser = Browser::signed_in(&node, node.token()).await;
    let page = browser.page("/").await;
    for (key, count) in [("done", 1), ("failed", 1), ("waiting", 1)] {
        assert_eq!(night[key], count, "{night:#}");
        let said = text(&page, &format!(".count.s-{key} b"));
        assert_eq!(said, count.to_string(), "{key}");
        // Each number is a link to the missions that it counts.
        let link = page.select(&format!(".count.s-{key}")).attr("href").expect("a link").to_string();
        let rows = browser.page(link.split('#').next().expect("a path")).await;
        assert_eq!(rows.select("#live tbody tr").nodes().len(), 1, "{link}");
    }
    assert!(text(&page, ".line.needs").contains("Needs you"), "{}", text(&page, ".line"));
    // One lane is shut for a part of the night, and the other never.
    let closed =
        night["lanes"].as_array().expect("lanes").iter().map(|lane| lane["closed"].as_array().map_or(0, Vec::len));
    assert_eq!(closed.collect::<Vec<_>>(), [2, 0], "{night:#}");
    assert_eq!(page.select(".strip rect.closed").nodes().len(), 2);
    assert_eq!(page.select(".strip .now").nodes().len(), 1);
    for (id, class) in [("done", "b-done"), ("broken", "b-failed"), ("asks", "b-blocked")] {
        let bar = page.select(&format!(".strip a[href='/missions/{id}'] rect.{class}"));
        assert!(bar.exists(), "{id}: {}", page.select(".strip").html());
    }
    // Only the night in which it is now changes while one looks.
    let tonight = night["date"].as_str().expect("a date");
    for (path, is_live) in
        [("/".to_owned(), true), (format!("/?date={tonight}"), true), ("/?date=2020-02-29".to_owned(), false)]
    {
        assert_eq!(browser.page(&path).await.select("[sse-connect]").exists(), is_live, "{path}");
    }
    let wrong = browser.get("/?date=tomorrow").await.expect_status(400);
    assert!(
        wrong.text.contains("a night is named by the date") || wrong.text.contains("A night is named"),
        "{}",
        wrong.text
    );
}

#[tokio::test]
async fn plugins_that_lack_something_are_told() {
    let node = Node::start().await;
    let lacking = node.get("/v1/plugins").await.expect_status(200).json["unusable"].clone();
    let lacking = lacking.as_array().expect("a list");
    assert!(!lacking.is_empty(), "a node without a model cannot use all of its plugins");
    let page = text(&Browser::signed_in(&node, node.token()).await.page("/plugins").await, "main");
    for one in lacking {
        for key in ["plugin", "detail"] {
            let said = one[key].as_str().expect("a text");
            assert!(page.contains(said), "{said}: {page}");
        }
    }
}

#[tokio::test]
async fn the_list_filters_and_has_pages() {
    let node = Node::start().await;
    for no in 0..55 {
        node.accept(&with(writing(&format!("m{no}")), "/objective", json!(format!("Number {no}")))).await;
    }
    node.until_final("m54").await;
    let browser = Browser::signed_in(&node, node.token()).await;
    let rows = |page: &dom_query::Document| page.select("#live tbody tr").nodes().len();
    let first = browser.page("/missions").await;
    assert_eq!(rows(&first), 50);
    let further = first.select("a[rel=next]").attr("href").expect("there are more").to_string();
    let second = browser.page(&further).await;
    assert_eq!((rows(&second), second.select("a[rel=next]").exists()), (5, false));
    for (filter, expected) in
        [("q=number+42", 1), ("vp_id=vp.m7", 1), ("status=cancelled", 0), ("mission_type=research", 0)]
    {
        assert_eq!(rows(&browser.page(&format!("/missions?{filter}")).await), expected, "{filter}");
    }
    // A form sends empty fields, too.
    assert_eq!(rows(&browser.page("/missions?status=&q=number+42&vp_id=&vp_runtime_id=&mission_type=").await), 1);
    browser.get("/missions?status=gone").await.expect_status(400);
}

#[tokio::test]
async fn a_mission_shows_what_it_did_what_it_left_and_what_was_decided() {
    let node = options().config("[callback]\nallow_private = [\"127.0.0.1\"]\n").start().await;
    let receiver = Receiver::closed();
    let mut envelope = automation(
        "all",
        &json!([
            {"id": "p", "tool": "Write", "with": {"path": "x.patch", "content": "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-old\n+new\n"}, "artifact": "x.patch", "milestone": "The patch is made"},
        ]),
    );
    envelope = with(envelope, "/success_criteria", json!(["a patch is there"]));
    envelope = with(envelope, "/constraints/approval_required", json!(["Write"]));
    envelope = with(envelope, "/callback", json!({"status_url": receiver.url()}));
    node.accept(&envelope).await;
    node.until_status("all", "blocked").await;
    let browser = Browser::signed_in(&node, node.token()).await;
    let blocked = browser.page("/missions/all").await;
    assert!(
        blocked.select("a[href='/inbox']").iter().any(|link| link.text().contains("1 waiting")),
        "a way to the inbox"
    );
    assert!(blocked.select("form[action='/missions/all/cancel']").exists());
    let decided = [("decision", "approve"), ("note", "looks right")];
    browser.send("/missions/all/requests/r1", &decided).await.expect_status(303);
    node.until_final("all").await;
    let page = browser.page("/missions/all").await;
    assert!(!page.select("form[action='/missions/all/cancel']").exists(), "it is over");
    for (part, says) in [
        ("[aria-labelledby=calls]", "x.patch"),
        ("[aria-labelledby=decisions]", "approved by admin"),
        ("[aria-labelledby=decisions]", "looks right"),
        ("[aria-labelledby=milestones]", "The patch is made"),
        ("[aria-labelledby=criteria]", "a patch is there"),
        ("[aria-labelledby=gauges]", "set aside"),
        ("[aria-labelledby=delivery]", "delivered"),
    ] {
        assert!(text(&page, part).contains(says), "{part}: {}", text(&page, part));
    }
    let file = browser.page("/missions/all/files/x.patch").await;
    markup::is_ours("file", &file);
    markup::is_readable("file", &file);
    assert_eq!((text(&file, ".diff .del"), text(&file, ".diff .add")), ("-old".to_owned(), "+new".to_owned()));
    let got = browser.get("/missions/all/download/x.patch").await.expect_status(200);
    assert_eq!(got.text, "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-old\n+new\n");
    assert_eq!(got.header("content-disposition"), "attachment; filename=\"x.patch\"");
    assert!(got.header("content-security-policy").contains("sandbox"), "{got:#?}");
    assert_eq!(got.header("content-type"), "application/octet-stream");
    browser.get("/missions/all/files/none.txt").await.expect_status(404);
    browser.get("/missions/gone").await.expect_status(404);
}

#[tokio::test]
async fn a_mission_is_cancelled_and_of_one_that_has_ended_it_is_told_that_it_is_over() {
    let node = Node::start().await;
    node.accept(&looping("runs")).await;
    let browser = Browser::signed_in(&node, node.token()).await;
    node.run(&writing("done")).await;
    for (id, expected) in [("runs", "Cancelled."), ("done", "It is over.")] {
        let path = format!("/missions/{id}");
        let reason = [("reason", "not needed")];
        let answer = browser.send(&format!("{path}/cancel"), &reason).await.expect_status(303);
        assert_eq!(answer.header("location"), path);
        let page = browser.page(&path).await;
        assert!(text(&page, ".notice").contains(expected), "{id}: {}", text(&page, ".notice"));
    }
    assert!(node.until_final("runs").await.to_string().contains("not needed"));
}

#[tokio::test]
async fn an_edit_is_shown_as_a_diff_and_expiry_in_words() {
    let node = Node::start().await;
    let steps = json!([write("w", "a.txt", "one"), {"id": "e", "tool": "Edit", "needs": ["w"], "with": {"path": "a.txt", "old": "one", "new": "two", "all": true}}]);
    let envelope = with(automation("edits", &steps), "/constraints/approval_required", json!(["Edit"]));
    node.accept(&with(envelope, "/on_expiry", json!("deny"))).await;
    node.until_status("edits", "blocked").await;
    let browser = Browser::signed_in(&node, node.token()).await;
    let page = browser.page("/inbox").await;
    assert_eq!((text(&page, ".diff .del"), text(&page, ".diff .add")), ("-one".to_owned(), "+two".to_owned()));
    // What the call says beside that is seen without opening anything.
    let beside = text(&page, "[aria-label='Further arguments']");
    assert_eq!(serde_json::from_str::<Value>(&beside).expect("JSON"), json!({"all": true}));
    assert!(text(&page, ".expiry").contains("counts as denied"), "{}", text(&page, ".expiry"));
    until("the night tells of it", async || {
        let page = browser.page("/").await;
        (text(&page, ".count.s-waiting b") == "1").then_some(())
    })
    .await;
}
