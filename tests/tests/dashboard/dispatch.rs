//! A mission by a form: fields from the plugin's schema, what would hold, and one mission however often it is sent.

use dom_query::Document;
use serde_json::{Value, json};
use sortie_tests::Options;
use sortie_tests::envelope::{with, writing};

use sortie_tests::payloads::PAYLOADS;

use crate::browser::{Browser, READER, text};
use crate::markup;

const DISPATCHER: &str = "a-token-that-may-dispatch";

fn options() -> Options {
    let token = "[[token]]\nname = \"DISPATCHER\"\nref = \"env://DISPATCHER\"\nscopes = [\"read\", \"dispatch\"]\n";
    crate::browser::options().config(token).env("DISPATCHER", DISPATCHER)
}

/// All that a form would send as it is shown, but for its buttons.
fn fields(page: &Document) -> Vec<(String, String)> {
    let form = page.select("form[action='/dispatch']");
    let mut all = Vec::new();
    for field in form.select("input, textarea, select").nodes() {
        let name = field.attr("name").expect("each has one").to_string();
        let value = match &*field.node_name().expect("an element") {
            "input" => field.attr("value").unwrap_or_default().to_string(),
            "textarea" => field.text().to_string(),
            _ => {
                let chosen = form.select(&format!("select[name='{name}'] option[selected]"));
                let first = form.select(&format!("select[name='{name}'] option"));
                let chosen = if chosen.exists() { chosen } else { first };
                chosen.attr("value").unwrap_or_default().to_string()
            }
        };
        all.push((name, value));
    }
    all
}

/// The same, with some of them filled in.
fn filled(page: &Document, said: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut all = fields(page);
    for (name, value) in said {
        match all.iter_mut().find(|(found, _)| found == name) {
            Some((_, field)) => (*value).clone_into(field),
            None => all.push(((*name).to_owned(), (*value).to_owned())),
        }
    }
    all
}

async fn send(browser: &Browser, fields: &[(String, String)]) -> sortie_tests::Answer {
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    browser.post("/dispatch", &fields).await
}

#[tokio::test]
async fn a_mission_is_explained_and_then_dispatched_once() {
    let node = options().config("[limits]\nmax_runtime_minutes = 10\n").start().await;
    let browser = Browser::signed_in(&node, DISPATCHER).await;
    let choice = browser.page("/dispatch").await;
    assert!(choice.select("a[href='/dispatch?plugin=automation']").exists());
    let form = browser.page("/dispatch?plugin=automation").await;
    markup::is_ours("form", &form);
    markup::is_readable("form", &form);
    assert!(!form.select("button[value=dispatch]").exists(), "what would hold is told first");
    let said = [
        ("objective", "Write a note."),
        ("in:steps", "[{\"id\": \"w\", \"tool\": \"Write\", \"with\": {\"path\": \"note.txt\", \"content\": \"x\"}}]"),
        ("allowed_tools", "Read(docs/**)\nWrite\n"),
        ("approval_required", "Glob"),
        ("forbidden_tools", "Edit"),
        ("max_runtime_minutes", "600"),
        ("end_at", "2090-01-01T06:00"),
        ("success_criteria", "A note is there"),
        ("required_outputs", "note.txt"),
        ("decision", "explain"),
    ];
    let answer = send(&browser, &filled(&form, &said)).await.expect_status(200);
    let explained = Document::from(answer.text);
    markup::is_ours("explained", &explained);
    markup::is_readable("explained", &explained);
    let told = text(&explained, "[aria-labelledby=explained]");
    for expected in ["The node would take it", "10.0 min", "A note is there", "2090", "note.txt"] {
        assert!(told.contains(expected), "{expected}: {told}");
    }
    let row = |tool: &str| {
        let rows = explained.select("[aria-labelledby=explained] tbody tr");
        let row = rows.iter().find(|row| row.select("th").text().trim() == tool);
        row.map_or_else(String::new, |row| row.text().to_string())
    };
    assert!(row("Write").contains("allowed") && row("Write").contains("allowed_tools"), "{}", row("Write"));
    assert!(row("Read").contains("some calls only") && row("Read").contains("Read(docs/**)"), "{}", row("Read"));
    assert!(row("Edit").contains("denied") && row("Edit").contains("forbidden_tools"), "{}", row("Edit"));
    assert!(told.contains("no entry allows them"), "{told}");
    assert_eq!(node.get("/v1/missions").await.json["items"], json!([]), "nothing is dispatched");
    // Twice, as by a double click.
    let all = filled(&explained, &[("decision", "dispatch")]);
    let (first, second) = tokio::join!(send(&browser, &all), send(&browser, &all));
    let (first, second) = (first.expect_status(303), second.expect_status(303));
    assert_eq!(first.header("location"), second.header("location"));
    let listed = node.get("/v1/missions").await.json["items"].clone();
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed:#}");
    let id = listed[0]["mission_id"].as_str().expect("a name");
    assert_eq!(first.header("location"), format!("/missions/{id}"));
    assert_eq!(node.until_final(id).await["status"], "completed");
    let mission = node.mission(id).await;
    assert_eq!((&mission["source_instance_id"], &mission["objective"]), (&json!("dashboard"), &json!("Write a note.")));
    // The same key with other content is no second mission.
    let other = filled(&explained, &[("decision", "dispatch"), ("objective", "Something else.")]);
    let answer = send(&browser, &other).await.expect_status(422);
    assert!(answer.text.contains("idempotency key"), "{}", answer.text);
}

#[tokio::test]
async fn mistakes_stand_at_their_fields() {
    let node = options().start().await;
    let browser = Browser::signed_in(&node, DISPATCHER).await;
    let form = browser.page("/dispatch?plugin=automation").await;
    for (said, place) in [
        (&[("in:steps", "[{\"id\": 5}]")][..], "/inputs/steps"),
        (&[("in:steps", "[")], "/inputs/steps"),
        (&[("allowed_tools", "Read(")], "/constraints/allowed_tools/0"),
        (&[("required_outputs", "[")], "/artifact_policy/required_outputs/0"),
        (&[("max_cost_usd", "much")], "/budget/max_cost_usd"),
        (&[("max_cost_usd", "-1")], "/budget/max_cost_usd"),
        (&[("end_at", "2001-01-01T00:00")], "/autonomy_window/end_at"),
        (&[("vp_runtime_id", "nowhere")], "/vp_runtime_id"),
        (&[("mission_id", "")], "/mission_id"),
    ] {
        for decision in ["explain", "dispatch"] {
            let mut said = said.to_vec();
            said.extend([("objective", "Do it."), ("decision", decision)]);
            let answer = send(&browser, &filled(&form, &said)).await;
            assert!([200, 422].contains(&answer.status), "{place}: {answer:#?}");
            let page = Document::from(answer.text);
            let at = page.select("form .notice.bad code");
            assert!(
                at.iter().any(|code| code.text().starts_with(place)),
                "{place} ({decision}): {}",
                text(&page, "main")
            );
            assert!(!page.select("button[value=dispatch]").exists(), "{place}");
        }
    }
    assert_eq!(node.get("/v1/missions").await.json["items"], json!([]));
    let reader = Browser::signed_in(&node, READER).await;
    reader.get("/dispatch").await.expect_status(403);
    reader.send("/dispatch", &[("plugin", "automation"), ("decision", "dispatch")]).await.expect_status(403);
    send(&browser, &filled(&form, &[("form_key", ""), ("decision", "dispatch")])).await.expect_status(403);
    send(&browser, &filled(&form, &[("plugin", "none"), ("decision", "dispatch")])).await.expect_status(404);
    send(&browser, &filled(&form, &[])).await.expect_status(400);
}

#[tokio::test]
async fn nothing_that_is_filled_in_becomes_more_than_text() {
    let node = options().start().await;
    let browser = Browser::signed_in(&node, DISPATCHER).await;
    let form = browser.page("/dispatch?plugin=automation").await;
    let names: Vec<String> = fields(&form).into_iter().map(|(name, _)| name).collect();
    for payload in PAYLOADS {
        let said: Vec<(&str, &str)> = names
            .iter()
            .filter(|name| !["form_key", "plugin"].contains(&name.as_str()))
            .map(|name| (name.as_str(), payload))
            .collect();
        let mut all = filled(&form, &said);
        all.push(("decision".to_owned(), "explain".to_owned()));
        markup::is_ours(payload, &Document::from(send(&browser, &all).await.text));
    }
}

#[tokio::test]
async fn explain_says_what_dispatch_would() {
    let node = options().start().await;
    let explain = async |envelope: &Value| node.post("/v1/explain", envelope).await;
    let fine = explain(&writing("fine")).await.expect_status(200).json;
    assert_eq!((&fine["accepted"], &fine["plugin"]["name"]), (&json!(true), &json!("automation")), "{fine:#}");
    let tools = fine["tools"].as_array().expect("a list");
    let said = |tool: &str| tools.iter().find(|said| said["tool"] == tool).expect("it is there").clone();
    assert_eq!(said("Write")["verdict"], "allowed");
    assert_eq!((&said("WebFetch")["verdict"], &said("WebFetch")["by"]), (&json!("denied"), &json!([])));
    for wrong in [
        with(writing("a"), "/vp_runtime_id", json!("nowhere")),
        with(writing("b"), "/constraints/allowed_tools", json!(["Read("])),
        with(writing("c"), "/inputs/steps", json!([{"id": 5}])),
        with(with(writing("d"), "/objective", json!(5)), "/budget", json!({"max_cost_usd": -1})),
        with(writing("e"), "/mission_type", json!("dancing")),
    ] {
        let explained = explain(&wrong).await.expect_status(200).json;
        let refused = node.dispatch(&wrong).await;
        assert_eq!(explained["accepted"], false);
        assert_eq!(explained["errors"], refused.json["errors"], "{wrong:#}");
    }
    let elsewhere = with(writing("f"), "/target_instance_id", json!("other"));
    assert_eq!(explain(&elsewhere).await.code(), node.dispatch(&elsewhere).await.code());
    assert_eq!(explain(&json!([1])).await.status, node.dispatch(&json!([1])).await.status);
    assert_eq!(node.get("/v1/missions").await.json["items"], json!([]), "nothing is recorded");
}
