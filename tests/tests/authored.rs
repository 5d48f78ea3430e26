//! The examples in Python and JavaScript on a real node: a file, pages, a model and a person, a node that is killed at each of these, and a
//! deadline.
//!
//! `cargo xtask test` builds them and says where (`SORTIE_AUTHORED`); without that there is nothing to test, and it is said.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use sortie_tests::envelope::{automation, with, write};
use sortie_tests::{Node, Options, Received, Receiver, Reply, binary, http, project, until};

/// So many pages are fetched at once.
const PAGES: usize = 2;

/// And so many by a mission that is killed at each of them, at the model and at the person.
const MANY_PAGES: usize = 15;

/// So many of those: fifty kills for each language, and one.
const STORMS: usize = 3;

/// Pages, and a model that answers with the last word that it was told.
fn serve(got: &Received) -> Reply {
    if got.path != "/v1/chat/completions" {
        let words = got.path.trim_start_matches('/');
        return Reply::Body(200, "text/html", format!("<h1>Page</h1><p>It says {words}, and nothing else.</p>"));
    }
    let asked = got.json["messages"].to_string();
    let pages = (0..MANY_PAGES).filter(|page| asked.contains(&format!("It says {page},"))).count();
    let message = json!({ "role": "assistant", "content": format!("{pages} pages and notes: €uro") });
    let choice = json!({ "index": 0, "finish_reason": "stop", "message": message });
    let usage = json!({ "prompt_tokens": 10, "completion_tokens": 10, "total_tokens": 20 });
    let body = json!({ "id": "x", "object": "chat.completion", "model": "m", "choices": [choice], "usage": usage });
    Reply::Body(200, "application/json", body.to_string())
}

/// The component of the example in that language; none where nobody built it.
fn example(language: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("SORTIE_AUTHORED").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("skipped: SORTIE_AUTHORED is not set; `cargo xtask test` builds the examples and sets it");
    }
    Some(folder?.join(format!("digest-{language}.wasm")))
}

/// A node with the example in that language, which asks this server for all; none where nobody built it.
async fn with_example(language: &str, server: &Receiver) -> Option<Node> {
    let example = example(language)?;
    let host = server.host();
    let config = format!(
        "[tool.WebFetch]\nhosts = [{host:?}]\nallow_private = [\"127.0.0.1\"]\n[model]\ndefault = \"m\"\n[model.m]\n\
         protocol = \"openai\"\nbase_url = \"http://{host}/v1\"\nmodel = \"m\"\nfree = true\nallow_private = [\"127.0.0.1\"]\n"
    );
    let node = Options::new().config(&config).start().await;
    let component = std::fs::read(example).expect("xtask built it");
    // It is compiled meanwhile: a minute on a busy machine.
    let install = node.request("POST", "/v1/plugins").timeout(Duration::from_secs(200)).body(component);
    http::send(install).await.expect("an answer").expect_status(201);
    let notes =
        with(automation("notes", &json!([write("w", "notes.md", "What is known: ä.")])), "/vp_id", json!("vp.digest"));
    assert_eq!(node.run(&with(notes, "/vp_session_id", json!("vp.digest.night"))).await["status"], "completed");
    Some(node)
}

fn digest(id: &str, language: &str, server: &Receiver) -> Value {
    digest_of(id, language, server, PAGES)
}

fn digest_of(id: &str, language: &str, server: &Receiver, pages: usize) -> Value {
    let pages: Vec<String> = (0..pages).map(|page| format!("http://{}/{page}", server.host())).collect();
    let envelope = with(automation(id, &json!([])), "/inputs", json!({ "notes": "notes.md", "pages": pages }));
    let envelope = with(with(envelope, "/vp_id", json!("vp.digest")), "/vp_session_id", json!("vp.digest.night"));
    let envelope =
        with(with(envelope, "/mission_type", json!("custom")), "/plugin", json!(format!("digest-{language}")));
    let envelope = with(envelope, "/success_criteria", json!(["It stands."]));
    with(envelope, "/constraints/allowed_tools", json!(["Read", "WebFetch"]))
}

/// The digest that it left.
async fn left(node: &Node, id: &str) -> String {
    node.get(&format!("/v1/missions/{id}/artifacts/digest.md")).await.expect_status(200).text
}

/// Its plugin keeps to its record.
async fn replays(node: &Node, id: &str) {
    let replayed = node.cli(&["replay", id]).await;
    assert!(replayed.status.success(), "{id}: {}", String::from_utf8_lossy(&replayed.stdout));
}

async fn answered(node: &Node, id: &str, text: &str) -> Value {
    let request = node.until_status(id, "blocked").await["pending_requests"][0]["request_id"].clone();
    let request = request.as_str().expect("an id");
    let decision = json!({ "decision": "answer", "text": text });
    node.post(&format!("/v1/missions/{id}/requests/{request}"), &decision).await.expect_status(200);
    node.until_final(id).await
}

async fn works(language: &str) {
    // The request of this number is never answered; behind every number, all are.
    let hung = Arc::new(AtomicUsize::new(usize::MAX));
    let begun = Arc::new(AtomicUsize::new(0));
    let storm = Storm::default();
    let (hangs, counts, holds) = (Arc::clone(&hung), Arc::clone(&begun), storm.clone());
    let server = Receiver::scripted(move |got, _| {
        let number = counts.fetch_add(1, Ordering::SeqCst);
        let is_held = number == hangs.load(Ordering::SeqCst) || holds.holds(got);
        if is_held { Reply::Hang } else { serve(got) }
    })
    .await;
    let Some(mut node) = with_example(language, &server).await else { return };

    let twice =
        with(digest("twice", language, &server), "/inputs/pages", json!(["http://x.example/", "http://x.example/"]));
    node.dispatch(&twice).await.expect_problem(422, "invalid_envelope");

    node.accept(&digest("whole", language, &server)).await;
    let whole = answered(&node, "whole", "yes").await;
    assert_eq!(whole["status"], "completed", "{whole:#}");
    assert_eq!(whole["summary"], json!(format!("a digest of {PAGES} pages; does it stand: yes")));
    let expected = left(&node, "whole").await;
    assert_eq!(expected, format!("{PAGES} pages and notes: €uro\n"));
    let requests = begun.load(Ordering::SeqCst);
    assert_eq!(requests, PAGES + 1, "each page, and the model");

    // The answer is no: the criterion is not met, whatever else was done.
    node.accept(&digest("no", language, &server)).await;
    let end = answered(&node, "no", "no").await;
    assert_eq!(end["status"], "failed", "{end:#}");
    assert!(end["summary"].as_str().is_some_and(|summary| summary.contains("`It stands.`")), "{end:#}");

    // One model call, of which all is used: it lands, and nobody is asked.
    let short = with(digest("short", language, &server), "/budget/max_llm_calls", json!(1));
    let end = node.run(&short).await;
    assert_eq!(end["summary"], "a digest that nobody has looked at", "{end:#}");
    left(&node, "short").await;

    for number in 0..=requests {
        let id = format!("killed-{number}");
        begun.store(0, Ordering::SeqCst);
        hung.store(number, Ordering::SeqCst);
        node.accept(&digest(&id, language, &server)).await;
        if number < requests {
            let on_its_way = async || (begun.load(Ordering::SeqCst) > number).then_some(());
            until(&format!("request {number} is on its way"), on_its_way).await;
        } else {
            node.until_status(&id, "blocked").await;
        }
        node.kill();
        hung.store(usize::MAX, Ordering::SeqCst);
        node.restart().await;
        let end = answered(&node, &id, "yes").await;
        assert_eq!(
            (&end["status"], &end["summary"]),
            (&whole["status"], &whole["summary"]),
            "killed at {number}: {end:#}"
        );
        assert_eq!(left(&node, &id).await, expected, "killed at {number}");
    }
    replays(&node, &format!("killed-{}", requests - 1)).await;

    node.accept(&digest_of("calm", language, &server, MANY_PAGES)).await;
    let calm = answered(&node, "calm", "yes").await;
    assert_eq!(calm["status"], "completed", "{calm:#}");
    let expected = left(&node, "calm").await;
    let mut kills = 0;
    for number in 0..STORMS {
        let id = format!("storm-{number}");
        kills += storm.over(&mut node, &id, &digest_of(&id, language, &server, MANY_PAGES)).await;
        let end = answered(&node, &id, "yes").await;
        assert_eq!((&end["status"], &end["summary"]), (&calm["status"], &calm["summary"]), "{id}: {end:#}");
        assert_eq!(left(&node, &id).await, expected, "{id}");
        replays(&node, &id).await;
    }
    assert!(kills >= 50, "{kills}");
}

/// What holds a mission at each of its requests in turn: those before are answered, and all behind it are under way.
#[derive(Clone, Default)]
struct Storm(Arc<Mutex<Held>>);

#[derive(Default)]
struct Held {
    /// The first step that is not answered: a page by its number, then the model. None: all are.
    at: Option<usize>,
    /// The steps that have been asked for since.
    asked: BTreeSet<usize>,
}

impl Storm {
    fn holds(&self, got: &Received) -> bool {
        let step = got.path.trim_start_matches('/').parse().unwrap_or(MANY_PAGES);
        let mut held = self.0.lock().expect("nobody panics with it");
        held.asked.insert(step);
        held.at.is_some_and(|at| step >= at)
    }

    fn hold(&self, at: Option<usize>) {
        *self.0.lock().expect("nobody panics with it") = Held { at, asked: BTreeSet::new() };
    }

    /// Kills the node at each step of this mission, and while it waits for a person; says how often.
    async fn over(&self, node: &mut Node, id: &str, envelope: &Value) -> usize {
        self.hold(Some(0));
        node.accept(envelope).await;
        for step in 0..=MANY_PAGES {
            let is_there = async || {
                let asked = self.0.lock().expect("nobody panics with it").asked.contains(&step);
                // The notes, and each page before this one, are on record.
                (asked && finished(node, id).await > step).then_some(())
            };
            until(&format!("step {step} of {id} is on its way"), is_there).await;
            node.kill();
            self.hold(Some(step + 1).filter(|next| *next <= MANY_PAGES));
            node.restart().await;
        }
        node.until_status(id, "blocked").await;
        node.kill();
        node.restart().await;
        MANY_PAGES + 2
    }
}

/// How many calls have their result on record.
async fn finished(node: &Node, id: &str) -> usize {
    let journal = node.get(&format!("/v1/missions/{id}/journal")).await.json;
    journal["items"].as_array().map_or(0, |all| all.iter().filter(|record| record["kind"] == "call_finished").count())
}

/// Its own cases: a person and a page that are not there before its window ends.
#[test]
fn examples_land_although_somebody_is_waited_for() {
    for language in ["python", "javascript"] {
        let Some(example) = example(language) else { return };
        let tools = binary().parent().expect("a program lies in a folder").join("authoring");
        let mut check = Command::new(binary());
        check.args(["plugin", "check", "--plugin"]).arg(example).env("NO_COLOR", "1");
        check.arg(project().join("examples/plugins").join(language).join("cases"));
        let output = check.env("XDG_CACHE_HOME", tools.join("cache")).output().expect("it starts");
        let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        assert!(output.status.success() && said.contains("2 of 2 cases pass"), "{language}: {said}");
    }
}

#[tokio::test]
async fn a_plugin_in_python_outlives_its_node() {
    works("python").await;
}

#[tokio::test]
async fn a_plugin_in_javascript_outlives_its_node() {
    works("javascript").await;
}
