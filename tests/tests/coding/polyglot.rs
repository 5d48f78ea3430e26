//! The Polyglot benchmark, with models that write its own solutions, and with models that write none and say that they did: whether a mission
//! is `completed` says whether the work is good.
//!
//! `cargo xtask polyglot DIR [--jest DIR] [--tasks N]` runs it: the benchmark is not part of this project. `SORTIE_POLYGLOT` names a checkout of
//! it. Rust takes the toolchain that `rustc` is of, JavaScript a folder with jest in its `node_modules` (`SORTIE_JEST`). `TASKS` says how many of
//! each language.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sortie_tests::envelope::with;

use super::{Bench, applied, coding, commit_all, says, turn};

/// Tasks of each language, where nobody says otherwise.
const TASKS: usize = 8;

/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(3_600);

struct Language {
    name: &'static str,
    /// What its tests are run with, in the sandbox and outside.
    test: fn(&Task) -> String,
    /// What is a comment in it.
    comment: &'static str,
}

struct Task {
    name: String,
    folder: PathBuf,
    /// Files of the solution, and what the example has in each.
    solution: Vec<(String, String)>,
    /// The file of the tests.
    tests: String,
}

fn languages(jest: Option<&Path>) -> Vec<Language> {
    let mut languages = vec![
        Language {
            name: "rust",
            test: |_| "cargo test --offline --quiet -- --include-ignored".to_owned(),
            comment: "//",
        },
        Language {
            name: "python",
            test: |task| format!("python3 -B -m unittest {}", task.tests.trim_end_matches(".py")),
            comment: "#",
        },
    ];
    if jest.is_some() {
        let test = |_: &Task| "node \"$NODE_PATH/jest/bin/jest.js\" --ci --cache=false".to_owned();
        languages.push(Language { name: "javascript", test, comment: "//" });
    }
    languages
}

/// A task of the benchmark, if it needs nothing from elsewhere.
fn task(folder: PathBuf) -> Option<Task> {
    let config: Value = serde_json::from_str(&fs::read_to_string(folder.join(".meta/config.json")).ok()?).ok()?;
    let list = |kind: &str| -> Vec<String> {
        let files = config["files"][kind].as_array().into_iter().flatten();
        files.filter_map(|file| file.as_str().map(str::to_owned)).collect()
    };
    let source = |file: &&String| !file.ends_with(".toml");
    let (solution, examples) = (list("solution"), list("example"));
    let (solution, examples): (Vec<&String>, Vec<&String>) =
        (solution.iter().filter(source).collect(), examples.iter().filter(source).collect());
    if solution.len() != examples.len() || solution.len() != 1 {
        return None;
    }
    let wants_more = |manifest: String| manifest.split("[dependencies]").nth(1).is_some_and(|rest| rest.contains('='));
    if fs::read_to_string(folder.join(".meta/Cargo-example.toml")).is_ok()
        || fs::read_to_string(folder.join("Cargo.toml")).is_ok_and(wants_more)
    {
        return None;
    }
    let example = fs::read_to_string(folder.join(examples[0])).ok()?;
    let tests = list("test").into_iter().next()?;
    let name = folder.file_name()?.to_str()?.to_owned();
    Some(Task { name, solution: vec![(solution[0].clone(), example)], tests, folder })
}

/// The task as a repository, with all of its tests switched on and nothing of its solution.
fn repository(task: &Task, at: &Path) {
    let copied = Command::new("cp").arg("-r").arg(&task.folder).arg(at).status().expect("cp");
    assert!(copied.success());
    for hidden in [".meta", ".approaches", ".articles"] {
        let _ = fs::remove_dir_all(at.join(hidden));
    }
    let tests = at.join(&task.tests);
    let text = fs::read_to_string(&tests).expect("tests").replace("xtest(", "test(").replace("xdescribe(", "describe(");
    fs::write(tests, text).expect("writable");
    fs::write(at.join(".gitignore"), "target/\nCargo.lock\n__pycache__/\n").expect("writable");
    commit_all(at);
}

/// The sandbox's way to the tools, and the same for outside of it.
fn tools(jest: Option<&Path>) -> (String, Vec<(&'static str, String)>) {
    let sysroot = Command::new("rustc").args(["--print", "sysroot"]).output().expect("rustc");
    let sysroot = String::from_utf8_lossy(&sysroot.stdout).trim().to_owned();
    let mut environment = vec![
        ("PATH", format!("{sysroot}/bin:/usr/local/bin:/usr/bin:/bin")),
        ("CARGO_HOME", "/tmp/cargo".to_owned()),
        ("CARGO_TARGET_DIR", "target".to_owned()),
    ];
    let mut read = vec![sysroot];
    if let Some(jest) = jest {
        let modules = jest.join("node_modules").display().to_string();
        environment.push(("NODE_PATH", modules.clone()));
        read.push(modules);
    }
    let env: Vec<String> = environment.iter().map(|(name, value)| format!("{name} = {value:?}")).collect();
    let config = format!(
        "concurrency = 2\nmemory_mib = 4096\ntimeout = \"9m\"\nread = {read:?}\nenv = {{ {} }}\n",
        env.join(", ")
    );
    (config, environment)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it needs the benchmark, which is elsewhere, and minutes: `cargo xtask polyglot DIR`"]
async fn a_mission_is_completed_if_and_only_if_the_solution_is_right() {
    let benchmark =
        PathBuf::from(std::env::var_os("SORTIE_POLYGLOT").expect("SORTIE_POLYGLOT names a checkout of the benchmark"));
    let jest = std::env::var_os("SORTIE_JEST").map(PathBuf::from);
    let count = std::env::var("TASKS").ok().and_then(|count| count.parse().ok()).unwrap_or(TASKS);
    let (config, environment) = tools(jest.as_deref());
    let mut scripts: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let mut missions = Vec::new();
    for language in languages(jest.as_deref()) {
        let folder = benchmark.join(language.name).join("exercises/practice");
        let mut folders: Vec<PathBuf> =
            fs::read_dir(folder).expect("tasks").flatten().map(|entry| entry.path()).collect();
        folders.sort();
        let tasks: Vec<Task> = folders.into_iter().filter_map(task).take(count).collect();
        assert!(
            tasks.len() >= count.min(TASKS),
            "{} tasks of {} need nothing from elsewhere",
            tasks.len(),
            language.name
        );
        for task in tasks {
            for is_right in [true, false] {
                let id = format!("{}-{}-{}", language.name, task.name, if is_right { "right" } else { "wrong" });
                let writes = task.solution.iter().enumerate().map(|(at, (file, example))| {
                    let stub = fs::read_to_string(task.folder.join(file)).unwrap_or_default();
                    let content = if is_right { example.clone() } else { format!("{stub}\n{} done\n", language.comment) };
                    json!({"type": "tool_use", "id": format!("w{at}"), "name": "Write", "input": {"path": file, "content": content}})
                });
                let writes = json!({"content": writes.collect::<Vec<_>>(), "stop_reason": "tool_use"});
                let done = "All tests pass: the task is done.";
                scripts.insert(id.clone(), vec![turn(0, writes), says(1, done), says(2, done)]);
                missions.push((id, language.name, (language.test)(&task), is_right, task.folder.clone()));
            }
        }
    }
    let scripts = scripts.iter().map(|(id, script)| (id.as_str(), script.clone())).collect();
    let bench = Bench::start(&config, &scripts).await;
    let begun = Instant::now();
    for (id, _, test, _, folder) in &missions {
        let at = bench.workspace(&format!("vp.{id}")).await.join("repo");
        repository(&task(folder.clone()).expect("a task"), &at);
        let inputs = json!({"repository": "repo", "test": test, "model": id});
        let envelope = with(coding(id), "/inputs", inputs);
        bench.node.accept(&with(envelope, "/success_criteria", json!(["All tests pass."]))).await;
    }
    let mut table = String::new();
    let mut wrong = Vec::new();
    for (id, _, test, is_right, _) in &missions {
        while !["completed", "failed", "timed_out", "cancelled"]
            .contains(&bench.node.mission(id).await["status"].as_str().expect("a status"))
        {
            assert!(begun.elapsed() < PATIENCE, "{id} does not end");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let end = bench.node.until_final(id).await;
        let status = end["status"].as_str().expect("a status").to_owned();
        let evidence = end["detail"]["criteria"][0]["evidence"].as_str().unwrap_or_default().to_owned();
        let at = sortie_tests::workspace_of(&bench.node, &format!("vp.{id}")).join("repo");
        let outside = if status == "completed" {
            let fresh = applied(&at, "main", &bench.artifact(id, "changes.patch").await);
            let mut command = Command::new("bash");
            command.args(["-c", test]).current_dir(fresh.path().join("fresh")).envs(environment.iter().cloned());
            if command.output().expect("bash").status.success() { "passes" } else { "FAILS" }
        } else {
            "-"
        };
        let expected = if *is_right { ("completed", "passes") } else { ("failed", "-") };
        let has_evidence = evidence.starts_with(&format!("`{test}`: exit code")) && evidence.lines().count() > 1;
        if (status.as_str(), outside) != expected || !has_evidence {
            wrong.push(format!("{id}: {status}, fresh checkout {outside}: {evidence}"));
        }
        let last = evidence.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned();
        let _ = writeln!(table, "{id:<40} {status:<10} {outside:<7} {}", last.chars().take(60).collect::<String>());
    }
    eprintln!(
        "{table}{} missions in {:.0} s, {} not as they should be",
        missions.len(),
        begun.elapsed().as_secs_f64(),
        wrong.len()
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
}
