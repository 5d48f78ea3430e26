//! The board and the alert rules: each figure and each label that they name is one that a node tells which has done something of each kind.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

use serde_json::Value;
use sortie_tests::project;

use crate::night::busy;
use crate::read::{is_there, read};

/// Says where `promtool` is.
const PROMTOOL: &str = "SORTIE_PROMTOOL";

/// What a scraper adds, and what bounds a bucket.
const OF_SCRAPERS: [&str; 2] = ["instance", "job"];

fn folder() -> PathBuf {
    project().join("docs/observability")
}

/// Letters, digits and `_` from a place on.
fn word(text: &str) -> &str {
    &text[..text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len())]
}

/// What an expression names: figures, each with the labels that it is narrowed by, and those that it is grouped by.
fn named(expression: &str) -> (Vec<(String, Vec<String>)>, Vec<String>) {
    let (mut figures, mut grouped) = (Vec::new(), Vec::new());
    for (at, _) in expression.match_indices("sortie_") {
        let name = word(&expression[at..]);
        let rest = &expression[at + name.len()..];
        let narrowed = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map_or("", |(within, _)| within);
        let labels = narrowed.split(',').map(|one| word(one.trim()).to_owned()).filter(|label| !label.is_empty());
        figures.push((name.to_owned(), labels.collect()));
    }
    for by in ["by (", "on ("] {
        for (at, _) in expression.match_indices(by) {
            let within = expression[at + by.len()..].split(')').next().unwrap_or_default();
            grouped.extend(within.split(',').map(|label| label.trim().to_owned()));
        }
    }
    (figures, grouped)
}

/// Labels that a text of people names: `{{tool}}`, `{{ $labels.tool }}`.
fn spoken(text: &str) -> Vec<String> {
    let parts = text.split("{{").skip(1).filter_map(|part| part.split("}}").next());
    let labels = parts.map(|part| part.trim().trim_start_matches("$labels.").to_owned());
    labels.filter(|label| !label.starts_with('$')).collect()
}

/// Expressions with the texts that stand beside them.
fn expressions() -> Vec<(String, String)> {
    let board = fs::read_to_string(folder().join("grafana-dashboard.json")).expect("a board");
    let board: Value = serde_json::from_str(&board).expect("JSON");
    let mut all = Vec::new();
    let (mut ids, mut places) = (BTreeSet::new(), Vec::new());
    for panel in board["panels"].as_array().expect("panels") {
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "two panels have one id: {}", panel["id"]);
        let at = |key: &str| panel["gridPos"][key].as_u64().expect("a place");
        places.push((panel["title"].to_string(), at("x"), at("y"), at("w"), at("h")));
        for target in panel["targets"].as_array().into_iter().flatten() {
            let text = |key: &str| target[key].as_str().expect("a text").to_owned();
            all.push((text("expr"), text("legendFormat")));
        }
    }
    for (n, (title, x, y, w, h)) in places.iter().enumerate() {
        assert!(x + w <= 24, "{title} is wider than the board");
        for (other, ox, oy, ow, oh) in &places[..n] {
            let apart = x + w <= *ox || ox + ow <= *x || y + h <= *oy || oy + oh <= *y;
            assert!(apart, "{title} lies over {other}");
        }
    }
    let query = board["templating"]["list"][1]["query"].as_str().expect("a query");
    all.push((query.to_owned(), String::new()));
    let rules = fs::read_to_string(folder().join("alerts.yml")).expect("rules");
    for rule in rules.split("      - alert: ").skip(1) {
        let expression = rule.lines().find_map(|line| line.trim().strip_prefix("expr: ")).expect("one line");
        all.push((expression.to_owned(), rule.to_owned()));
    }
    all
}

#[tokio::test]
async fn each_figure_and_label_that_they_name_is_told() {
    if !is_there() {
        return;
    }
    let night = busy().await;
    let text = night.node.get("/metrics").await.expect_status(200).text;
    // Names of rows, with the labels that any of them has.
    let mut told: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for family in read("text", &text) {
        for sample in family["samples"].as_array().expect("a list") {
            let labels = told.entry(sample["name"].as_str().expect("a name").to_owned()).or_default();
            labels.extend(sample["labels"].as_object().expect("labels").keys().cloned());
            labels.extend(OF_SCRAPERS.map(str::to_owned));
        }
    }
    let all = expressions();
    assert!(all.len() > 50, "{}", all.len());
    for (expression, beside) in &all {
        let (figures, grouped) = named(expression);
        assert!(!figures.is_empty(), "{expression} names nothing");
        let mut known = BTreeSet::new();
        for (name, narrowed) in figures {
            let labels = told.get(&name).unwrap_or_else(|| panic!("{name} of {expression} is not told:\n{text}"));
            for label in narrowed {
                assert!(labels.contains(&label), "{name} has no label {label}: {expression}");
            }
            known.extend(labels.clone());
        }
        for label in grouped.iter().chain(&spoken(beside)) {
            assert!(known.contains(label), "no figure of {expression} has a label {label}");
        }
    }
    // And what is told is written down.
    let document = fs::read_to_string(project().join("docs/OBSERVABILITY.md")).expect("the document");
    for family in read("text", &text) {
        // The reader takes what counters end in for no part of their names.
        let total = if family["type"] == "counter" { "_total" } else { "" };
        let name = format!("{}{total}", family["name"].as_str().expect("a name"));
        assert!(document.contains(&format!("`{name}`")), "{name} is not in docs/OBSERVABILITY.md");
    }
}

#[test]
fn a_bad_night_sets_off_what_it_should() {
    // Prometheus's own: `cargo xtask test` gets it and says where.
    let Some(promtool) = env::var_os(PROMTOOL) else {
        eprintln!("skipped: {PROMTOOL} is not set; `cargo xtask test` gets promtool and sets it");
        return;
    };
    let output = Command::new(promtool).current_dir(folder()).args(["test", "rules", "alerts_test.yml"]).output();
    let output = output.expect("promtool starts");
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    assert!(output.status.success(), "{said}");
}
