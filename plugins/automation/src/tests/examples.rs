//! The project's example envelopes: they are right, and they say what they should.

use std::collections::BTreeMap;
use std::path::Path;
use std::{env, fs};

use serde_json::{Value as Json, json};
use sortie_plugin::{Brief, CallError};

use super::world::{Answer, Simulated};

/// The brief of an example.
fn brief_of(file: &Path) -> Brief {
    let text = fs::read_to_string(file).expect("an example");
    let envelope: Json = serde_json::from_str(&text).expect("JSON");
    let texts =
        |list: &Json| list.as_array().into_iter().flatten().map(|text| text.as_str().unwrap().to_owned()).collect();
    Brief {
        mission_type: envelope["mission_type"].as_str().expect("a type").to_owned(),
        objective: envelope["objective"].as_str().expect("an objective").to_owned(),
        success_criteria: texts(&envelope["success_criteria"]),
        required_outputs: texts(&envelope["artifact_policy"]["required_outputs"]),
        ..super::brief(&envelope["inputs"])
    }
}

/// `Write`, `Read`, `Glob` and `Grep` over files in memory, as far as the examples use them.
fn workspace() -> impl FnMut(&str, &Json) -> Answer {
    let mut files = BTreeMap::<String, String>::new();
    move |tool, arguments| {
        let text = |key: &str| arguments[key].as_str().unwrap_or_default().to_owned();
        let answer = match tool {
            "Write" => {
                files.insert(text("path"), text("content"));
                Ok(json!({ "path": text("path"), "bytes": text("content").len() }))
            }
            "Read" => files
                .get(&text("path"))
                .map(|content| json!({ "content": content, "bytes": content.len(), "truncated": false }))
                .ok_or_else(|| CallError::Failed(format!("{}: no such file", text("path")))),
            "Glob" => {
                let pattern = text("pattern");
                let (start, end) = pattern.rsplit_once('*').expect("a pattern");
                let start = start.trim_start_matches("**/");
                let fits = |path: &&String| path.starts_with(start) && path.ends_with(end);
                Ok(json!({ "paths": files.keys().filter(fits).collect::<Vec<_>>() }))
            }
            _ => {
                let found = |line: &str| ["\"failed\"", "\"timed_out\"", "= 0"].iter().any(|part| line.contains(part));
                let mut matches = Vec::new();
                for (path, content) in files.iter().filter(|(path, _)| path.starts_with(&text("path"))) {
                    let lines = content.lines().zip(1..).filter(|(line, _)| found(line));
                    matches.extend(lines.map(|(text, line)| json!({ "path": path, "line": line, "text": text })));
                }
                Ok(json!({ "matches": matches, "truncated": false }))
            }
        };
        (3, answer)
    }
}

fn run_example(name: &str) -> (String, String) {
    let brief = brief_of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name));
    let mut world = Simulated::new(&["Write", "Read", "Glob", "Grep"], workspace());
    let outcome = crate::run(&brief, &mut world).expect("it completes");
    (outcome.summary, world.log.join("\n"))
}

#[test]
fn all_automation_examples_are_right() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut checked = 0;
    for folder in [folder.join("demo"), folder.join("workflows"), folder] {
        for entry in fs::read_dir(folder).expect("examples") {
            let file = entry.expect("a file").path();
            let envelope = file.extension().is_some_and(|extension| extension == "json");
            if envelope && brief_of(&file).mission_type == "automation" {
                assert_eq!(crate::check(&brief_of(&file)), [], "{}", file.display());
                checked += 1;
            }
        }
    }
    assert!(checked >= 23, "{checked}");
}

#[test]
fn the_nightly_report_is_written() {
    let (summary, log) = run_example("nightly-report.json");
    assert_eq!(summary, "done: store (5 items), find, read (5 items), trouble, report, index; skipped: alert");
    for part in [
        "5 receipts, 2 of them in trouble; 158 minutes in all.\\n\\n| mission |",
        "| --- |\\n| briefing | completed | 1 | briefing.md |\\n| docs-drift |",
        "the board answered 503 |\\n| wiki-0412 | completed | 42 | 3 topics, one notebook |\\n\\nNo alert was needed.\\n",
        "put_file nightly-report.md text/markdown",
        "judge 0 true",
        "milestone 5 receipts are there",
    ] {
        assert!(log.contains(part), "{part}\n{log}");
    }
}

#[test]
fn the_configuration_check_goes_on_without_a_file() {
    let (summary, log) = run_example("config-check.json");
    let told = "done: place (2 items), read (2 of 3 items), zero, list; failed, and passed over: read (item ";
    assert!(summary.starts_with(told), "{summary}");
    assert!(log.contains("- limits.toml is missing\\n- conf/cache.toml, line 1: size = 0\\n"), "{log}");
}
