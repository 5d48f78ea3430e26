//! The benchmarks themselves: each shape can be measured, and says in lines for programs what it found. Nothing is said of how
//! much: the sizes are tiny, and the build is no release.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

#[test]
fn each_shape_can_be_measured_and_its_figures_read() {
    let output = Command::new(env!("CARGO_BIN_EXE_bench")).args(["--smoke", "--json"]).output().expect("it starts");
    let [said, talk] = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{said}{talk}");
    let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect();
    let shapes: BTreeSet<&str> = lines.iter().filter_map(|line| line["shape"].as_str()).collect();
    for shape in [
        "floor",
        "dispatch",
        "missions",
        "cancel",
        "steps",
        "replay",
        "inputs",
        "sessions",
        "callbacks",
        "watchers",
        "lists",
        "pages",
        "kept",
        "idle",
        "queued",
        "blocked",
        "schedules",
        "tools",
        "agent",
    ] {
        assert!(shapes.contains(shape), "{shape}: {said}");
    }
    for line in &lines {
        assert!(line["value"].as_f64().is_some_and(|value| value > 0.0) && line["unit"].is_string(), "{line}");
    }
    // What users have is told beside its small case.
    for (shape, cases) in [
        ("inputs", 1),
        ("sessions", 1),
        ("callbacks", 3),
        ("watchers", 2),
        ("lists", 7),
        ("pages", 9),
        ("kept", 6),
        ("blocked", 3),
        ("schedules", 3),
        ("tools", 4),
        ("agent", 1),
    ] {
        let ratios =
            lines.iter().filter(|line| line["shape"] == shape && line["ratio"].as_f64().is_some_and(|r| r > 0.0));
        assert_eq!(ratios.count(), cases, "{shape}: {said}");
    }
}

#[test]
fn an_unknown_shape_is_named_with_those_that_there_are() {
    let output = Command::new(env!("CARGO_BIN_EXE_bench")).args(["--only", "nope"]).output().expect("it starts");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("watchers"));
}
