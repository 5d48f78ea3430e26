//! `POST /v1/explain` and `sortie explain`: what an envelope may do with the node's models, and for how many answers its budget has room.

use serde_json::{Value, json};
use sortie_tests::envelope::{with, writing};
use sortie_tests::{Node, Options};

/// A model that costs something, and one that does not.
async fn node() -> Node {
    let script = tempfile::tempdir().expect("a folder").keep().join("script.json");
    std::fs::write(&script, json!({"answers": [{"text": "yes"}]}).to_string()).expect("writable");
    let file = script.display().to_string();
    let model = |name: &str, rest: &str| {
        format!("[model.{name}]\nprotocol = \"scripted\"\nfile = {file:?}\nmax_output_tokens = 1000\n{rest}\n")
    };
    let config = format!(
        "[model]\ndefault = \"dear\"\n{}{}",
        model("dear", "price_usd_per_mtok = { input = 100, output = 200 }"),
        model("free", "free = true")
    );
    Options::new().config(&config).start().await
}

fn model<'e>(explained: &'e Value, name: &str) -> &'e Value {
    let models = explained["models"].as_array().expect("a list");
    models.iter().find(|model| model["name"] == name).unwrap_or_else(|| panic!("{name}: {explained:#}"))
}

#[tokio::test]
async fn models_are_told_with_what_becomes_of_their_calls_and_for_how_many_there_is_money() {
    let node = node().await;
    for (constraints, budget, verdict, by, dear, free) in [
        (json!({}), json!({}), "allowed", None, None, None),
        (json!({}), json!({ "max_llm_calls": 7 }), "allowed", None, Some(7), Some(7)),
        // The longest answer of the dear one costs 0.20.
        (json!({}), json!({ "max_cost_usd": 0.5 }), "allowed", None, Some(2), None),
        (json!({}), json!({ "max_cost_usd": 0.5, "max_llm_calls": 1 }), "allowed", None, Some(1), Some(1)),
        (json!({ "forbidden_tools": ["model"] }), json!({}), "denied", Some("forbidden_tools"), None, None),
        (json!({ "approval_required": ["model"] }), json!({}), "asks", Some("approval_required"), None, None),
    ] {
        let envelope = with(with(writing("m"), "/constraints", constraints), "/budget", budget);
        let explained = node.post("/v1/explain", &envelope).await.expect_status(200).json;
        for (name, room) in [("dear", dear), ("free", free)] {
            let said = model(&explained, name);
            assert_eq!((&said["verdict"], &said["by"]["list"]), (&json!(verdict), &json!(by)), "{said:#}");
            assert_eq!(said["longest_answers"], json!(room), "{name} of {envelope:#}: {said:#}");
        }
        let said = model(&explained, "dear");
        assert_eq!((&said["is_default"], &said["longest_answer_usd"]), (&json!(true), &json!(0.2)), "{said:#}");
    }
    let file = node.folder().join("envelope.json");
    let envelope = with(writing("m"), "/budget", json!({ "max_cost_usd": 0.5 }));
    std::fs::write(&file, envelope.to_string()).expect("a writable folder");
    let said = node.cli(&["explain", &file.to_string_lossy()]).await;
    let said = String::from_utf8_lossy(&said.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
    for part in
        ["dear, the default: allowed", "the budget has room for 2 of these", "free: allowed", "nothing limits how many"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }

    let bare = Node::start().await;
    let explained = bare.post("/v1/explain", &writing("m")).await.expect_status(200).json;
    assert_eq!(explained["models"], json!([]), "{explained:#}");
}
