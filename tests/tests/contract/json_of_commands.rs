//! What the command line prints for programs is what the interface answers: the table of `docs/OPERATIONS.md`, row by row.

use serde_json::{Value, json};
use sortie_tests::envelope::writing;
use sortie_tests::{Node, project};

use crate::openapi::{busy, schema};

/// The rows of the table: the command, and the request of which it prints the answer.
fn rows() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(project().join("docs/OPERATIONS.md")).expect("a document");
    let (_, table) = text.split_once("| command | the answer of |").expect("a table");
    let rows = table.lines().skip(2).map_while(|line| line.strip_prefix("| `")?.strip_suffix("` |"));
    let rows = rows.map(|row| row.split_once("` | `").expect("two columns"));
    rows.map(|(command, request)| (command.to_owned(), request.to_owned())).collect()
}

/// The command with the names of what there is on the node.
fn named(command: &str, files: &[(&str, String)]) -> Vec<String> {
    let mission = match command.split(' ').next() {
        Some("approve") => "held",
        Some("answer") => "asks",
        Some("cancel") => "running",
        _ => "whole",
    };
    let file = |word: &str| files.iter().find(|(of, _)| *of == word).map(|(_, path)| path.clone()).unwrap_or_default();
    let first = command.split(' ').next().unwrap_or_default();
    let word = |word: &str| match word {
        "MISSION" => mission.to_owned(),
        "SCHEDULE" => "whole".to_owned(),
        "TEXT" => "A".to_owned(),
        "FILE" => file(first),
        word => word.to_owned(),
    };
    command.split(' ').map(word).chain(["--json".to_owned()]).collect()
}

async fn printed(node: &Node, command: &[String]) -> Value {
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    let output = node.cli(&words).await;
    let said = String::from_utf8_lossy(&output.stdout);
    // `night` ends with 1 where somebody is wanted.
    assert!(
        output.status.code().is_some_and(|code| code <= 1),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{command:?}: {error}: {said}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_printed_for_programs_has_the_form_of_the_answer() {
    let (node, _receiver) = busy().await;
    let document = node.get("/openapi.json").await.expect_status(200).json;
    let folder = tempfile::tempdir().expect("a folder");
    let mission = json!({"vp_id": "vp.planned", "mission_type": "custom", "plugin": "hello", "objective": "Hello."});
    let written = |name: &'static str, body: &Value| {
        let path = folder.path().join(format!("{name}.json"));
        std::fs::write(&path, body.to_string()).expect("writable");
        (name, path.display().to_string())
    };
    let files = [
        written("schedule", &json!({"id": "added", "every": "1h", "mission": mission})),
        written("submit", &writing("submitted")),
        written("explain", &writing("explained")),
    ];
    let rows = rows();
    assert!(rows.len() >= 20, "{rows:?}");
    for (command, request) in rows {
        let (method, path) = request.split_once(' ').expect("a method and a path");
        let method = method.to_lowercase();
        let told = printed(&node, &named(&command, &files)).await;
        let answers = document["paths"][path][&method]["responses"].as_object();
        let answers = answers.unwrap_or_else(|| panic!("`{command}`: {request} is no request"));
        let done = answers.keys().find(|status| status.starts_with('2')).expect("an answer of what was done");
        let form = schema(&document, &method, path, done, "application/json");
        let validator = jsonschema::validator_for(&form).expect("a schema");
        let errors: Vec<String> =
            validator.iter_errors(&told).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "`{command}`: {errors:#?}\n{told:#}");
    }
}
