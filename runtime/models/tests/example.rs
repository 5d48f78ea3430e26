//! The example configuration can be used as it stands, commented out or not, and has every key.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use common::Swift;
use sortie_models::Models as _;

/// The section `[model]` of the example, without its prose.
fn section() -> String {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/sortie.example.toml")).unwrap();
    let is_key = |line: &str| {
        let key = line.split(" = ").next().filter(|key| key.len() < line.len());
        key.is_some_and(|key| key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
    };
    let lines = text.lines().map(|line| line.strip_prefix("# ").unwrap_or(line));
    let section = lines
        .skip_while(|line| *line != "[model]")
        .take_while(|line| !line.starts_with('[') || line.starts_with("[model"));
    section.filter(|line| line.starts_with('[') || is_key(line)).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_is_taken_as_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("script.json"), r#"{"answers": []}"#).unwrap();
    let models = common::models(&section(), folder.path(), Arc::new(Swift::default()));
    let names: Vec<(String, bool)> = models.list().into_iter().map(|model| (model.name, model.is_default)).collect();
    assert_eq!(names, [("deep", true), ("local", false), ("played", false)].map(|(name, is)| (name.to_owned(), is)));
}

#[test]
fn the_example_has_every_key() {
    let source = include_str!("../src/config.rs");
    let model = source.split("pub struct ModelConfig {").nth(1).unwrap().split("\n}").next().unwrap();
    let fields = model.lines().filter_map(|line| line.trim().strip_prefix("pub ")?.split(':').next());
    let documented = section();
    let documented: BTreeSet<&str> = documented.lines().filter_map(|line| line.split(" = ").next()).collect();
    let missing: Vec<&str> =
        fields.chain(["default", "hold_max"]).filter(|field| !documented.contains(field)).collect();
    assert!(missing.is_empty() && documented.len() > 15, "{missing:?}");
}
