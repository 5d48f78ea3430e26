//! Schedules on their pages: what comes, what was, what people do to them, and how they are written.

use serde_json::{Value, json};
use sortie_tests::envelope::with;
use sortie_tests::payloads::PAYLOADS;
use sortie_tests::{Node, Options, until};

use crate::browser::{Browser, OPERATOR, READER, text};
use crate::markup;

/// A token that may do all that schedules need, and nothing else.
const PLANNER: &str = "a-token-that-may-plan";

fn options() -> Options {
    let planner =
        "[[token]]\nname = \"PLANNER\"\nref = \"env://PLANNER\"\nscopes = [\"read\", \"operate\", \"dispatch\"]\n";
    crate::browser::options().config(planner).env("PLANNER", PLANNER)
}

/// A schedule that comes to its time by hand only, and then says hello.
fn far(id: &str) -> Value {
    json!({
        "id": id, "zone": "America/Chicago", "once": ["2090-01-01T02:00:00"], "overlap": "allow_all", "note": "for tests",
        "mission": {"vp_id": "vp.night", "mission_type": "custom", "plugin": "hello", "objective": "Say hello."},
    })
}

async fn made(node: &Node, schedule: &Value) {
    node.post("/v1/schedules", schedule).await.expect_status(201);
}

#[tokio::test]
async fn past_times_are_filled_in_by_a_form() {
    let node = options().start().await;
    let every = json!({
        "id": "hourly", "zone": "UTC", "at": "0 * * * *",
        "mission": {"vp_id": "vp.night", "mission_type": "custom", "plugin": "hello", "objective": "Say hello."},
    });
    made(&node, &every).await;
    let path = "/schedules/hourly/backfill";
    let three =
        [("decision", "backfill"), ("from", "2026-01-01T06:00"), ("to", "2026-01-01T08:00"), ("order", "together")];
    let reader = Browser::signed_in(&node, READER).await;
    assert!(!reader.page("/schedules/hourly").await.select("main form").exists());
    reader.send(path, &three).await.expect_status(403);
    let browser = Browser::signed_in(&node, PLANNER).await;
    assert!(
        browser.page("/schedules/hourly").await.select(&format!("form[action='{path}'] select[name=order]")).exists()
    );
    for (fields, says) in [
        (vec![("decision", "backfill"), ("from", "2026-01-01T06:00")], "A time is missing: `to`"),
        (vec![("decision", "backfill"), ("from", "soon"), ("to", "2026-01-01T08:00")], "“soon” is no time"),
        (vec![("from", "2026-01-01T06:00"), ("to", "2026-01-01T08:00")], "say what you decide"),
    ] {
        let answer = browser.send(path, &fields).await.expect_status(400);
        assert!(answer.text.contains(says), "{says}: {}", answer.text);
    }
    // The last before the first.
    let turned = [("decision", "backfill"), ("from", "2026-01-01T08:00"), ("to", "2026-01-01T06:00")];
    assert!((400..500).contains(&browser.send(path, &turned).await.status));
    browser.send(path, &three).await.expect_status(303);
    let fires = until("all three were fired", async || {
        let fires = node.get("/v1/schedules/hourly/fires").await.json["items"].clone();
        let filled = fires.as_array()?.iter().filter(|fire| fire["origin"] == "backfilled" && fire["what"] == "fired");
        (filled.count() >= 3).then_some(fires)
    });
    let fires = fires.await;
    let page = text(&browser.page("/schedules/hourly").await, "main");
    assert!(page.contains("filled in later"), "{page}: {fires:#}");
}

#[tokio::test]
async fn a_schedule_shows_what_comes_and_what_was_and_is_paused_resumed_fired_and_removed() {
    let node = options().start().await;
    made(&node, &far("far")).await;
    let browser = Browser::signed_in(&node, OPERATOR).await;
    let page = browser.page("/schedules/far").await;
    markup::is_ours("far", &page);
    markup::is_readable("far", &page);
    let next = text(&page, "[aria-labelledby=next] table");
    assert!(next.contains("2090-01-01T02:00:00") && next.contains("2090-01-01T08:00:00Z"), "{next}");
    assert!(text(&page, "[aria-labelledby=changes]").contains("made by admin"));

    let until_when = [("until", "2080-06-01T06:00"), ("note", "the wiki is moved"), ("decision", "pause")];
    browser.send("/schedules/far/pause", &until_when).await.expect_status(303);
    let view = node.get("/v1/schedules/far").await.json;
    assert_eq!((&view["paused"]["by_hand"], &view["paused"]["note"]), (&json!(true), &json!("the wiki is moved")));
    assert!(view["paused"]["until"].as_str().is_some_and(|until| until.starts_with("2080-06-01")), "{view:#}");
    let page = browser.page("/schedules/far").await;
    assert!(text(&page, "main").contains("Paused") && !page.select("form[action='/schedules/far/pause']").exists());
    browser.send("/schedules/far/resume", &[("decision", "resume")]).await.expect_status(303);
    assert_eq!(node.get("/v1/schedules/far").await.json["paused"], Value::Null);

    browser.send("/schedules/far/trigger", &[("decision", "trigger"), ("note", "to see")]).await.expect_status(303);
    let square = until("its mission has ended", async || {
        let page = browser.page("/schedules/far").await;
        let square = page.select("ol.squares a.b-done").attr("href")?.to_string();
        markup::is_ours("far", &page);
        markup::is_readable("far", &page);
        let words = page.select("ol.squares a.b-done").attr("aria-label").expect("words").to_string();
        assert!(words.contains("completed") && words.contains("by hand"), "{words}");
        Some(square)
    })
    .await;
    assert!(square.starts_with("/missions/far:"), "{square}");
    browser.get(&square).await.expect_status(200);

    // Enter decides nothing, what is not said is not done, and its name has to be written.
    for (path, fields) in [
        ("pause", &[("decision", "")][..]),
        ("trigger", &[("note", "x")]),
        ("remove", &[("decision", "remove"), ("name", "fat")]),
        ("remove", &[("decision", "pause"), ("name", "far")]),
        ("pause", &[("decision", "pause"), ("until", "tomorrow")]),
    ] {
        browser.send(&format!("/schedules/far/{path}"), fields).await.expect_status(400);
    }
    browser.send("/schedules/far/destroy", &[("decision", "destroy")]).await.expect_status(404);
    assert_eq!(node.get("/v1/schedules/far").await.json["paused"], Value::Null);
    let reader = Browser::signed_in(&node, READER).await;
    assert!(!reader.page("/schedules/far").await.select("main form").exists());
    reader.send("/schedules/far/pause", &[("decision", "pause")]).await.expect_status(403);
    let gone = [("decision", "remove"), ("name", "far")];
    browser.post("/schedules/far/remove", &gone).await.expect_status(403);
    browser.send("/schedules/far/remove", &gone).await.expect_status(303);
    node.get("/v1/schedules/far").await.expect_status(404);
    browser.send("/schedules/far/remove", &gone).await.expect_status(303);
    assert!(text(&browser.page("/schedules").await, ".notice.bad").contains("nothing was changed"));
}

#[tokio::test]
async fn a_schedule_is_written_looked_at_and_kept() {
    let node = options().start().await;
    let browser = Browser::signed_in(&node, PLANNER).await;
    let blank = browser.page("/new-schedule").await;
    markup::is_readable("new", &blank);
    let toml = "id = \"nightly\"\nzone = \"Europe/Berlin\"\nat = [\"30 2 * * *\"]\nopens_for = \"2h\"\n\n[mission]\n\
                vp_id = \"vp.n\"\nmission_type = \"custom\"\nplugin = \"hello\"\nobjective = \"Say hello.\"\n";
    // Looked at: nothing is kept.
    let looked = browser.send("/new-schedule", &[("text", toml), ("decision", "look")]).await.expect_status(200);
    let page = dom_query::Document::from(looked.text);
    markup::is_ours("looked at", &page);
    markup::is_readable("looked at", &page);
    assert_eq!(page.select("[aria-labelledby=times] tbody tr").nodes().len(), 5);
    assert!(text(&page, "[aria-labelledby=times]").contains("T02:30:00"));
    assert_eq!(text(&page, "textarea[name=text]").trim(), toml.trim(), "what was written stays");
    node.get("/v1/schedules/nightly").await.expect_status(404);
    // Enter in no field, and a form without a button, keep nothing.
    browser.send("/new-schedule", &[("text", toml)]).await.expect_status(200);
    node.get("/v1/schedules/nightly").await.expect_status(404);
    let kept = browser.send("/new-schedule", &[("text", toml), ("decision", "save")]).await.expect_status(303);
    assert_eq!(kept.header("location"), "/schedules/nightly");
    // Changed by somebody who saw the revision that there is.
    let edit = browser.page("/schedules/nightly/edit").await;
    let revision = edit.select("input[name=revision]").attr("value").expect("a revision").to_string();
    let written: Value = serde_json::from_str(&text(&edit, "textarea[name=text]")).expect("JSON");
    let changed = with(written, "/opens_for", json!("3h")).to_string();
    let save = [("text", changed.as_str()), ("revision", revision.as_str()), ("decision", "save")];
    browser.send("/schedules/nightly/edit", &save).await.expect_status(303);
    let view = node.get("/v1/schedules/nightly").await.json;
    assert_eq!((&view["schedule"]["opens_for"], &view["revision"]), (&json!("3h"), &json!(2)));
    let stale = browser.send("/schedules/nightly/edit", &save).await.expect_status(412);
    assert!(stale.text.contains("Nothing was kept"), "{}", stale.text);
    // Who may not dispatch may not say what missions are made.
    let operator = Browser::signed_in(&node, OPERATOR).await;
    operator.send("/new-schedule", &[("text", toml), ("decision", "save")]).await.expect_status(403);
    Browser::signed_in(&node, READER).await.send("/new-schedule", &[("text", toml)]).await.expect_status(403);
}

#[tokio::test]
async fn mistakes_are_told_at_their_places_and_are_never_more_than_text() {
    let node = options().start().await;
    let browser = Browser::signed_in(&node, PLANNER).await;
    let bad = "{\n  \"id\": \"bad\",\n  \"zone\": \"Mars/North\",\n  \"at\": [\"0 2 * * *\"],\n  \"mission\": {}\n}";
    let answer = browser.send("/new-schedule", &[("text", bad), ("decision", "save")]).await.expect_status(422);
    let page = dom_query::Document::from(answer.text);
    let told = text(&page, "#mistakes");
    assert!(told.contains("/zone (line 3)"), "{told}");
    assert_eq!(page.select("textarea[name=text]").attr("aria-describedby").as_deref(), Some("mistakes"));
    // What only the node can know of the envelope.
    let objective = far("far").to_string().replace("\"Say hello.\"", "5");
    let answer = browser.send("/new-schedule", &[("text", &objective), ("decision", "look")]).await.expect_status(422);
    assert!(answer.text.contains("/mission/objective"), "{}", answer.text);
    for payload in PAYLOADS {
        for text in [payload.to_owned(), far(payload).to_string(), with(far("x"), "/note", json!(payload)).to_string()]
        {
            for decision in ["look", payload] {
                let fields =
                    [("text", text.as_str()), ("calendars", payload), ("revision", payload), ("decision", decision)];
                let answer = browser.send("/new-schedule", &fields).await;
                markup::is_ours(payload, &dom_query::Document::from(answer.text));
            }
        }
    }
    made(&node, &with(far("note"), "/note", json!(PAYLOADS.concat()))).await;
    for path in ["/schedules", "/schedules/note", "/schedules/note/edit"] {
        markup::is_ours(path, &browser.page(path).await);
    }
}
