//! The research plugin on a real node: pages from a server of the test, a model that a script plays, and whatever goes wrong between them.

mod docs;
mod endings;
mod injection;
mod kills;

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use sortie_tests::envelope::with;
use sortie_tests::{Node, Options, Received, Receiver, Reply, automation};

/// What is on the pages of the tests: their paths, and what they say.
const PAGES: [(&str, &str); 3] = [
    ("/lamps", "<h1>Lamps</h1><p>A lamp burns for <b>nine</b> hours; see <a href=\"/oil\">oil</a>.</p>"),
    ("/lists", "<h1>Lists</h1><p>Nobody compares the two lists before the morning comes.</p>"),
    ("/oil", "<h1>Oil</h1><p>A litre of oil lasts for three nights.</p>"),
];

/// What stands in every question for a report, and in no other.
const REPORT: &str = "NOTES-1 BEGINS";

/// A page, or that there is none.
fn page(got: &Received) -> Reply {
    let found = PAGES.iter().find(|(path, _)| *path == got.path);
    match found {
        Some((_, text)) => Reply::Body(200, "text/html", (*text).to_owned()),
        None => Reply::Status(404),
    }
}

/// The lines that let a node fetch from this server.
fn may_fetch(server: &Receiver) -> String {
    format!("[tool.WebFetch]\nhosts = [{:?}]\nallow_private = [\"127.0.0.1\"]\n", server.host())
}

/// A model that answers from this script, and the line of configuration that has it.
fn scripted(folder: &Path, name: &str, answers: &Value) -> String {
    let file = folder.join(format!("{name}.json"));
    fs::write(&file, json!({ "answers": answers }).to_string()).expect("a writable folder");
    format!("[model.{name}]\nprotocol = \"scripted\"\nfile = {file:?}\nfree = true\n")
}

/// What a reader of a page says, of a script: one note with these words.
fn notes(page: &str, claim: &str, quote: &str) -> Value {
    let note = json!({ "question": 1, "claim": claim, "quote": quote });
    json!({ "when": { "contains": page }, "text": read(&[note], &[]) })
}

/// Notes, as a reader answers.
fn read(notes: &[Value], follow: &[i64]) -> String {
    json!({ "notes": notes, "follow": follow, "warning": "" }).to_string()
}

/// A report with these claims, as it is answered.
fn draft(claims: &Value) -> String {
    json!({
        "title": "The night", "summary": claims, "sections": [], "open": [],
        "criteria": [{ "criterion": 1, "met": true, "because": "it says how long" }],
    })
    .to_string()
}

/// A claim that quotes.
fn claim(text: &str, source: i64, quote: &str) -> Value {
    json!({ "text": text, "sources": [source], "quotes": [{ "source": source, "text": quote }] })
}

/// A script in which everything goes well.
fn well() -> Value {
    json!([
        { "when": { "contains": REPORT }, "text": draft(&json!([
            claim("A lamp burns for nine hours.", 1, "burns for nine hours"),
            claim("The lists are compared late.", 2, "Nobody compares the two lists […] before the morning comes"),
        ])) },
        notes("A lamp burns", "Nine hours.", "burns for nine hours"),
        notes("Nobody compares", "Late.", "Nobody compares the two lists"),
    ])
}

/// A mission that reads the first two pages, and nothing that they link to.
fn mission(id: &str, server: &Receiver, model: &str) -> Value {
    let sources: Vec<String> =
        ["lamps", "lists"].iter().map(|page| format!("http://{}/{page}", server.host())).collect();
    let inputs = json!({ "questions": ["How long does a lamp burn?"], "sources": sources, "depth": 0, "model": model });
    let envelope = with(with(automation(id, &json!([])), "/inputs", inputs), "/mission_type", json!("research"));
    let envelope = with(envelope, "/success_criteria", json!(["it says how long a lamp burns"]));
    with(envelope, "/constraints/allowed_tools", json!(["WebFetch"]))
}

/// A node that may fetch from the server, with these models besides.
async fn node(server: &Receiver, models: &str) -> Node {
    Options::new().config(&format!("{}{models}", may_fetch(server))).start().await
}

async fn artifact(node: &Node, id: &str, name: &str) -> String {
    node.get(&format!("/v1/missions/{id}/artifacts/{name}")).await.expect_status(200).text
}

async fn sources(node: &Node, id: &str) -> Value {
    serde_json::from_str(&artifact(node, id, "sources.json").await).expect("JSON")
}

#[tokio::test]
async fn each_citation_was_fetched_and_its_digest_is_that_of_the_text() {
    let server = Receiver::scripted(|got, _| page(got)).await;
    let folder = tempfile::tempdir().expect("a folder");
    let node = node(&server, &scripted(folder.path(), "well", &well())).await;
    let end = node.run(&mission("well", &server, "well")).await;
    assert_eq!(end["status"], "completed", "{end:#}");
    assert_eq!(
        end["summary"], "2 claims, 0 without a source; 2 sources cited; 2 quotations found in their sources",
        "{end:#}"
    );
    let report = artifact(&node, "well", "report.md").await;
    assert!(report.contains("- A lamp burns for nine hours. [1]\n\n  > “burns for nine hours” [1]"), "{report}");
    let listed = sources(&node, "well").await;
    let index = node.get("/v1/missions/well/artifacts").await.json;
    for (number, page) in [(1, "lamps"), (2, "lists")] {
        let source = &listed["sources"][number - 1];
        assert_eq!(source["url"], format!("http://{}/{page}", server.host()));
        let stored = index["items"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|item| item["name"] == source["text"])
            .expect("its text");
        assert_eq!((&stored["sha256"], source["sha256"].as_str().map(str::len)), (&source["sha256"], Some(64)));
        assert!(report.contains(source["sha256"].as_str().expect("a digest")), "{report}");
    }
    let replayed = node.cli(&["replay", "well"]).await;
    assert!(replayed.status.success(), "{}", String::from_utf8_lossy(&replayed.stdout));
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_at_intake_with_what_to_change() {
    let server = Receiver::scripted(|got, _| page(got)).await;
    let bare = node(&server, "").await;
    let answer = bare.dispatch(&mission("bare", &server, "well")).await.expect_status(422);
    assert!(answer.text.contains("[model.NAME]"), "{answer:#?}");
    let folder = tempfile::tempdir().expect("a folder");
    let node = node(&server, &scripted(folder.path(), "well", &well())).await;
    for (pointer, value, at, code) in [
        ("/constraints/allowed_tools", json!(["Read"]), "/constraints/allowed_tools", "needs_tool"),
        ("/constraints/forbidden_tools", json!(["model"]), "/constraints/forbidden_tools", "needs_model"),
        ("/inputs/model", json!("other"), "/inputs/model", "unknown_value"),
        ("/inputs/sources/1", json!("lists"), "/inputs/sources/1", "not_an_address"),
    ] {
        let answer = node.dispatch(&with(mission("wrong", &server, "well"), pointer, value)).await.expect_status(422);
        assert_eq!(answer.mistakes(), [(at.to_owned(), code.to_owned())], "{answer:#?}");
    }
    assert!(server.received().is_empty(), "nothing is fetched for nothing");
}
