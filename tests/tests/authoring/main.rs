//! What the author of a plugin does, from an empty folder to a completed mission: the guide of `docs/PLUGINS.md`, followed word for word,
//! its other plugins, and what a check finds.
//!
//! Plugins are built for real, from what the binary carries and the registry; the folder of what cargo makes is one for all of them, so
//! that cargo builds them one after another. Those in Python and JavaScript are in `languages`.

mod languages;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use sortie_tests::{Node, binary, project};

/// The blocks of a part of the guide, in their order: what follows the fence, and the text.
fn blocks(from: &str, to: &str) -> Vec<(String, String)> {
    let guide = fs::read_to_string(project().join("docs/PLUGINS.md")).expect("the guide");
    let part = guide.split_once(from).expect("it begins there").1;
    let part = part.split_once(to).expect("it ends there").0;
    let fenced = part.split("```").skip(1).step_by(2);
    let block = |block: &str| block.split_once('\n').map(|(kind, body)| (kind.to_owned(), body.to_owned()));
    fenced.map(|text| block(text).expect("a block has lines")).collect()
}

/// Where cargo puts what it makes of all these plugins.
fn made() -> PathBuf {
    let tools = binary().parent().expect("a program lies in a folder").to_owned();
    tools.join("authoring")
}

/// A command of an author, in this folder.
fn sortie(folder: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(words).current_dir(folder).env("NO_COLOR", "1").env("CARGO_TARGET_DIR", made());
    // Compiled code is kept there; a test has a folder of its own.
    command.env("XDG_CACHE_HOME", made().join("cache"));
    command
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned()).concat()
}

fn done(folder: &Path, words: &[&str]) -> String {
    let output = sortie(folder, words).output().expect("it starts");
    assert!(output.status.success(), "{words:?}\n{}", said(&output));
    said(&output)
}

/// A project of that name, whose plugin is this text and whose cases are these.
fn begun(folder: &Path, name: &str, plugin: &str, cases: &[(&str, &str)]) -> PathBuf {
    done(folder, &["plugin", "new", name]);
    let place = folder.join(name);
    fs::write(place.join("src/lib.rs"), plugin).expect("writable");
    for entry in fs::read_dir(place.join("cases")).expect("a folder").flatten() {
        fs::remove_file(entry.path()).expect("its own file");
    }
    for (case, text) in cases {
        fs::write(place.join("cases").join(case).with_extension("toml"), text).expect("writable");
    }
    place
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guide_leads_from_an_empty_folder_to_a_completed_mission() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = Node::start().await;
    let mut place = folder.path().to_owned();
    let (mut submitted, mut checked) = (String::new(), 0);
    for (kind, body) in blocks("## Start one", "## Check it") {
        match kind.as_str() {
            "rust" => fs::write(place.join("src/lib.rs"), body).expect("writable"),
            "toml" => {
                for entry in fs::read_dir(place.join("cases")).expect("a folder").flatten() {
                    fs::remove_file(entry.path()).expect("its own file");
                }
                fs::write(place.join("cases/greets.toml"), body).expect("writable");
            }
            "" => {
                for line in body.lines() {
                    match line.split_whitespace().collect::<Vec<_>>().as_slice() {
                        ["cd", name] => place.push(name),
                        ["sortie", words @ ..] => {
                            let mut command = sortie(&place, words);
                            command.env("SORTIE_NODE", node.url()).env("SORTIE_TOKEN", node.token());
                            let output = command.output().expect("it starts");
                            assert!(output.status.success(), "{line}\n{}", said(&output));
                            submitted = said(&output);
                            checked += usize::from(words.contains(&"check"));
                        }
                        other => panic!("the guide says {other:?}"),
                    }
                }
            }
            other => panic!("a block of {other}"),
        }
    }
    assert_eq!(checked, 2, "what is there, and what was made of it");
    let id = submitted.split_whitespace().next().expect("the mission's id");
    let mission = node.until_final(id).await;
    assert_eq!(mission["status"], "completed", "{mission:#}");
    let greeting = node.cli(&["artifacts", id, "--get", "greeting.txt"]).await;
    assert_eq!(String::from_utf8_lossy(&greeting.stdout), "Hello, world!\n");

    // What was said to it is a case, which the same plugin passes.
    let mut from = sortie(&place, &["plugin", "check", "--from", id]);
    let from = from.env("SORTIE_NODE", node.url()).env("SORTIE_TOKEN", node.token()).output().expect("it starts");
    assert!(from.status.success(), "{}", said(&from));
    fs::write(place.join("cases/recorded.toml"), &from.stdout).expect("writable");
    let told = done(&place, &["plugin", "check", "cases/recorded.toml"]);
    assert!(told.contains("1 of 1 cases pass"), "{told}\n{}", said(&from));
}

#[test]
fn every_plugin_of_the_guide_builds_as_it_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut built = 0;
    for (kind, body) in blocks("## What a plugin sees", "## Replay") {
        if kind == "rust" && body.contains("export!") {
            let place = begun(folder.path(), &format!("guide-{built}"), &body, &[]);
            done(&place, &["plugin", "build"]);
            built += 1;
        }
    }
    assert!(built >= 3, "{built}");
}

#[test]
fn the_guides_plugin_that_lands_does_so_before_its_window_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    let blocks = blocks("## Land before the end", "## Replay");
    let of = |kind: &str| blocks.iter().find(|(of, _)| of == kind).map(|(_, body)| body.as_str()).expect("a block");
    let place = begun(folder.path(), "lander", of("rust"), &[("late", of("toml"))]);
    let told = done(&place, &["plugin", "check"]);
    assert!(told.contains("1 of 1 cases pass"), "{told}");
}

#[test]
fn the_test_of_the_guide_passes_as_it_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let counter = blocks("## Inputs, checks, verdicts", "## Test it natively").remove(0).1;
    let test = blocks("## Test it natively", "## Rules").remove(0).1;
    let place = begun(folder.path(), "counter", &format!("{counter}\n{test}"), &[]);
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["test", "--quiet"]).current_dir(&place).env("CARGO_TARGET_DIR", made());
    let output = cargo.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS").output().expect("cargo starts");
    assert!(output.status.success() && said(&output).contains("1 passed"), "{}", said(&output));
}

/// Waits for nearly as long as a mission may run, asks somebody, asks a model, and does something with what they say; panics where a file cannot be read.
const PATIENT: &str = r#"//! Waits, asks and tells.

use std::time::Duration;

use sortie_plugin::{Brief, Failure, Manifest, Outcome, Plugin, Tools, artifacts, human, json, model, report, time};

struct Patient;

impl Plugin for Patient {
    fn describe() -> Manifest {
        Manifest::new("patient", "0.1.0", "Waits, asks and tells.")
    }

    fn run(brief: Brief, tools: Tools) -> Result<Outcome, Failure> {
        time::sleep(Duration::from_secs(23 * 60 * 60));
        report::milestone("nearly a day later");
        let file = tools.require("Read")?.call(&json!({ "path": "name.txt" })).expect("it is there");
        let how = human::ask("How is it told?")?;
        let request = json!({ "messages": [{ "role": "user", "content": brief.objective }], "max_tokens": 100 });
        let answer = model::complete(&request, &tools)?;
        let said = answer["content"][0]["text"].as_str().unwrap_or_default();
        artifacts::put("told.txt", "text/plain", format!("{how}: {said}, {}", file["content"]))?;
        Ok(Outcome::new("told"))
    }
}

sortie_plugin::export!(Patient);
"#;

const PATIENT_CASE: &str = r#"
[mission]
objective = "Say something."

[files]
"name.txt" = "Ada"

[[person]]
asked = "How"
after = "8h"
says = { answer = "softly" }

[[model]]
text = "hello"

[expect]
status = "completed"
calls = [{ tool = "Read" }, { tool = "ask", with = { question = "How is it told?" } }, { tool = "model" }]

[expect.artifacts]
"told.txt" = "softly: hello, \"Ada\""
"#;

#[test]
fn a_day_takes_no_time_and_what_a_plugin_makes_of_an_error_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let wrong = PATIENT_CASE.replace("softly:", "loudly:");
    let cases = [("well", PATIENT_CASE), ("wrong", wrong.as_str())];
    let place = begun(folder.path(), "patient", PATIENT, &cases);
    let output = sortie(&place, &["--json", "plugin", "check"]).output().expect("it starts");
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)));
    let (well, wrong) = (&told["cases"][0], &told["cases"][1]);

    // Nearly a day and eight hours of its own time, and all three calls; the panic is found and nothing else is wrong.
    let took = well["took_ms"].as_u64().expect("a time");
    let hour = 3_600_000;
    assert!((31 * hour..32 * hour).contains(&took), "{well:#}");
    assert_eq!((&well["calls"], &well["crashes"]), (&json!(3), &json!(3)), "{well:#}");
    let found: Vec<&str> = well["wrong"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    assert_eq!(found.len(), 1, "{well:#}");
    assert!(found[0].contains("Read {\"path\":\"name.txt\"}") && found[0].contains("plugin_trapped"), "{found:?}");
    let ends: Vec<(bool, &str)> = well["errors"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|error| (error["properly"] == true, error["call"].as_str().unwrap_or_default()))
        .collect();
    assert_eq!(ends.len(), 3, "{well:#}");
    assert!(!ends[0].0 && ends[1].0 && ends[2].0, "{ends:?}");

    // A difference is told line by line, and what comes behind it is not tried.
    let difference = wrong["wrong"][0].as_str().expect("a text");
    assert!(difference.contains("-  loudly: hello") && difference.contains("+  softly: hello"), "{difference}");
    assert_eq!(wrong["crashes"], 0, "{wrong:#}");

    // The same once more: a case's time is its own, and not the machine's.
    let again =
        sortie(&place, &["--json", "plugin", "check", "--once", "cases/well.toml"]).output().expect("it starts");
    let again: Value = serde_json::from_slice(&again.stdout).expect("JSON");
    assert_eq!(again["cases"][0]["took_ms"], well["took_ms"]);
}

#[test]
fn what_is_missing_is_told_with_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let refused = |words: &[&str]| {
        let output = sortie(folder.path(), words).env("PATH", "").output().expect("it starts");
        assert_eq!(output.status.code(), Some(2), "{words:?}\n{}", said(&output));
        said(&output)
    };
    assert!(refused(&["plugin", "build"]).contains("sortie plugin new NAME"));
    assert!(refused(&["plugin", "check", "nowhere.toml"]).contains("nowhere.toml"));
    assert!(refused(&["plugin", "new", "Name"]).contains("a-z"));
    done(folder.path(), &["plugin", "new", "mine"]);
    assert!(refused(&["plugin", "new", "mine"]).contains("--dir"), "what is there is left alone");
    assert!(refused(&["plugin", "build", "mine"]).contains("https://rustup.rs"));
    let case = folder.path().join("mine/cases/all-well.toml");
    let text = fs::read_to_string(&case).expect("a case").replace("[expect]", "[expected]");
    fs::write(&case, text).expect("writable");
    let told = refused(&["plugin", "check", "--dir", "mine"]);
    assert!(told.contains("all-well.toml") && told.contains("expect"), "{told}");
    for (marker, program) in [("pyproject.toml", "componentize-py"), ("package.json", "node")] {
        let place = folder.path().join(program);
        fs::create_dir(&place).expect("a folder");
        fs::write(place.join(marker), "").expect("writable");
        assert!(refused(&["plugin", "build", program]).contains(program), "{marker}");
    }
}
