//! The examples run as they are, with the command that their page shows.

use std::fs;
use std::process::{Command, Output};

use sortie_tests::{binary, project};
use tempfile::TempDir;

/// How `sortie run` ends on each example (its exit code), and an artifact that it leaves behind.
const EXAMPLES: [(&str, i32, &str); 5] = [
    ("hello.json", 0, ""),
    ("nightly-report.json", 0, "nightly-report.md"),
    ("config-check.json", 0, "findings.md"),
    ("briefing.json", 0, "briefing.md"),
    ("not-granted.json", 1, ""),
];

/// What `EXAMPLES` leaves out, and why.
const ELSEWHERE: [(&str, &str); 3] = [
    ("wait-for-export.json", "waits for a person"),
    ("with-callback.json", "needs a receiver and its secret"),
    ("coding-fix-a-test.json", "needs a repository and a model: it has a test of its own"),
];

fn run(example: &str) -> (Output, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("sortie.toml"), "[node]\ndata_dir = \"data\"\n").expect("writable");
    let mut command = Command::new(binary());
    command.arg("run").arg(project().join("examples").join(example)).current_dir(folder.path()).env("NO_COLOR", "1");
    (command.output().expect("it starts"), folder)
}

#[test]
fn every_example_ends_as_it_should() {
    for (example, code, artifact) in EXAMPLES {
        let (output, _folder) = run(example);
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{example}:\n{said}");
        assert!(said.contains(artifact), "{example} prints where {artifact} is:\n{said}");
    }
}

#[test]
fn no_example_is_without_a_test() {
    let known: Vec<&str> = EXAMPLES.iter().map(|row| row.0).chain(ELSEWHERE.iter().map(|row| row.0)).collect();
    let page = fs::read_to_string(project().join("examples/README.md")).expect("the examples' page");
    for entry in fs::read_dir(project().join("examples")).expect("a folder").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".json") {
            assert!(known.contains(&name.as_str()), "{name} has no row here");
            assert!(page.contains(&name), "{name} is not in examples/README.md");
        }
    }
}

/// As the page says: first a repository, then the mission, with the configuration that lies beside them.
#[test]
fn the_coding_example_mends_its_test() {
    let folder = tempfile::tempdir().expect("a folder");
    let example = project().join("examples/coding-fix-a-test");
    let config = fs::read_to_string(example.join("sortie.toml")).expect("it is there");
    fs::write(folder.path().join("sortie.toml"), format!("{config}\n[node]\ndata_dir = \"data\"\n")).expect("writable");
    fs::copy(example.join("script.json"), folder.path().join("script.json")).expect("it is there");
    for (envelope, shown) in [("coding-fix-a-test/prepare.json", ""), ("coding-fix-a-test.json", "changes.patch")] {
        let mut command = Command::new(binary());
        command
            .arg("run")
            .arg(project().join("examples").join(envelope))
            .current_dir(folder.path())
            .env("NO_COLOR", "1");
        let output = command.output().expect("it starts");
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{envelope}:\n{said}");
        assert!(said.contains(shown), "{said}");
    }
}
