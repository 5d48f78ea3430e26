//! The examples run as they are, with the command that their page shows.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use sortie_tests::{Receiver, binary, project, site, warm};
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
const ELSEWHERE: [(&str, &str); 5] = [
    ("wait-for-export.json", "waits for a person"),
    ("with-callback.json", "needs a receiver and its secret"),
    ("nightly-docs.json", "has a test of its own: it wants its pages"),
    ("coding-fix-a-test.json", "needs a repository and a model: it has a test of its own"),
    ("research-three-sources.json", "has a test of its own: it needs its pages"),
];

const CONFIG: &str = "[node]\ndata_dir = \"data\"\n";

/// A folder in which the plugins need not be compiled first.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    warm(&folder.path().join("data"));
    folder
}

fn run(example: &str) -> (Output, TempDir) {
    let folder = folder();
    fs::write(folder.path().join("sortie.toml"), CONFIG).expect("writable");
    (run_in(&folder, &project().join("examples").join(example)), folder)
}

fn run_in(folder: &TempDir, envelope: &Path) -> Output {
    let mut command = Command::new(binary());
    command.arg("run").arg(envelope).current_dir(folder.path()).env("NO_COLOR", "1");
    command.output().expect("it starts")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// An artifact, from where the command says that it is.
fn artifact(folder: &TempDir, said: &str, name: &str) -> String {
    let line = said.lines().find_map(|line| line.strip_prefix(&format!("artifact {name}  ")));
    let path = line.unwrap_or_else(|| panic!("no {name} in\n{said}"));
    fs::read_to_string(folder.path().join(path.trim())).expect("readable")
}

#[test]
fn every_example_ends_as_it_should() {
    for (example, code, artifact) in EXAMPLES {
        let (output, _folder) = run(example);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(code), "{example}:\n{said}");
        assert!(said.contains(artifact), "{example} prints where {artifact} is:\n{said}");
    }
}

#[test]
fn the_docs_of_the_example_are_looked_after() {
    let (output, folder) = run("nightly-docs/prepare.json");
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let output = run_in(&folder, &project().join("examples/nightly-docs.json"));
    let said = said(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("4 pages, 3 stale, 1 without a date, 3 of 4 links broken (1 not clear)"), "{said}");
    let patch = artifact(&folder, &said, "proposals.patch");
    for line in [
        "+Fill it at dusk; [the list](../archive/evening.md) says how.",
        "+See [the beginning](../index.md#the-lamp-factory).",
    ] {
        assert!(patch.contains(line), "{line} is not in\n{patch}");
    }
}

#[tokio::test]
async fn the_research_of_the_example_is_done_without_a_network() {
    let folder = folder();
    let pages = Receiver::scripted(|got, _| site::page(got)).await;
    let there = |text: String| text.replace(site::ADDRESS, &pages.host());
    let examples = project().join("examples");
    let read = |name: &str| there(fs::read_to_string(examples.join(name)).expect("a readable file"));
    fs::write(folder.path().join("sortie.toml"), format!("{CONFIG}{}", read("research/sortie.toml")))
        .expect("writable");
    fs::copy(examples.join("research/script.json"), folder.path().join("script.json")).expect("writable");
    let envelope = folder.path().join("envelope.json");
    fs::write(&envelope, read("research-three-sources.json")).expect("writable");
    let (output, folder) =
        tokio::task::spawn_blocking(move || (run_in(&folder, &envelope), folder)).await.expect("no panic");
    let said = said(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(
        said.contains("4 claims, 0 without a source; 3 sources cited; 3 quotations found in their sources"),
        "{said}"
    );
    let report = artifact(&folder, &said, "report.md");
    assert!(report.contains("tries to instruct its readers") && !report.contains("No model wrote"), "{report}");
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
    let folder = folder();
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
