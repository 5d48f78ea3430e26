//! `sortie plugin check --journal`: last week's missions against a build, on a node, in the data directory of a stopped one, in a backup.

use serde_json::{Value, json};
use sortie_tests::envelope::{in_ms, with, without, writing};
use sortie_tests::{Node, guest, until};

/// `sortie plugin check` of a build: its exit code and what it says.
async fn checked(node: &Node, build: &[u8], words: &[&str]) -> (Option<i32>, String) {
    let file = node.folder().join("build.wasm");
    std::fs::write(&file, build).expect("a writable folder");
    let file = file.to_string_lossy().into_owned();
    let arguments = [&["plugin", "check", "--plugin", &file][..], words].concat();
    let output = node.cli(&arguments).await;
    let [said, talk] = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (output.status.code(), if words.contains(&"--json") { said } else { format!("{said}{talk}") })
}

async fn json_of(node: &Node, build: &[u8], words: &[&str], code: i32) -> Value {
    let (exit, said) = checked(node, build, &[words, &["--json"]].concat()).await;
    assert_eq!(exit, Some(code), "{words:?}: {said}");
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{words:?}: {error}: {said}"))
}

/// What came of each mission.
fn verdicts(told: &Value) -> Vec<(&str, &str)> {
    let missions = told["missions"].as_array().expect("a list");
    missions
        .iter()
        .map(|mission| {
            (mission["mission_id"].as_str().unwrap_or_default(), mission["verdict"].as_str().unwrap_or_default())
        })
        .collect()
}

async fn install(node: &Node, mode: &str) {
    let file = node.folder().join("hostile.wasm");
    std::fs::write(&file, guest::hostile(mode)).expect("a writable folder");
    let installed = node.cli(&["plugin", "install", &file.to_string_lossy()]).await;
    assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
}

fn mission(id: &str, deed: &str) -> Value {
    let mission = without(writing(id), "inputs");
    let mission = with(with(mission, "/mission_type", json!("custom")), "/plugin", json!("hostile"));
    without(with(mission, "/objective", json!(deed)), "artifact_policy")
}

#[tokio::test(flavor = "multi_thread")]
async fn last_weeks_missions_are_held_against_a_build_wherever_they_are() {
    let mut node = Node::start().await;
    node.run(&writing("of-another-plugin")).await;
    install(&node, "honest").await;
    let failed = node.run(&mission("panics", "panic until mended")).await;
    assert_eq!(failed["status"], "failed", "{failed:#}");
    install(&node, "mended").await;
    node.run(&mission("goes-well", "panic until mended")).await;
    let (honest, mended) = (guest::hostile("honest"), guest::hostile("mended"));

    // The newest first; the other plugin's is counted.
    let told = json_of(&node, &mended, &["--journal"], 0).await;
    assert_eq!(verdicts(&told), [("goes-well", "same"), ("panics", "mended")], "{told:#}");
    assert_eq!((&told["other_plugins"], &told["more"]), (&json!(1), &json!(false)), "{told:#}");
    let told = json_of(&node, &honest, &["--journal"], 1).await;
    assert_eq!(verdicts(&told), [("goes-well", "different"), ("panics", "same")], "{told:#}");
    let (_, said) = checked(&node, &honest, &["--journal"]).await;
    assert!(said.contains("different   goes-well: ") && said.contains("this build: the log line panicked"), "{said}");
    assert!(said.contains("2 missions of hostile@0.1.0: 1 same, 0 mended, 1 different; 1 of other"), "{said}");

    // Some of them, by name, by number, by age.
    let told = json_of(&node, &honest, &["--journal", "panics", "of-another-plugin"], 0).await;
    assert_eq!((verdicts(&told), &told["other_plugins"]), (vec![("panics", "same")], &json!(1)), "{told:#}");
    let told = json_of(&node, &mended, &["--limit", "1", "--journal"], 0).await;
    assert_eq!((verdicts(&told), &told["more"]), (vec![("goes-well", "same")], &json!(true)), "{told:#}");
    for (words, says) in [
        (&["--since", "2099-01-01T00:00:00Z", "--journal"][..], "no mission of `hostile`"),
        (&["--journal", "of-another-plugin"], "1 of other plugins"),
        (&["--journal", "panics", "--since", "1d"], "named already"),
        (&["--journal", "nobody"], "none could be checked: nobody cannot be read"),
        (&["--journal", "no/such/place"], "neither a folder nor a file"),
        (&["--journal", "--since", "yesterday"], "how long ago"),
    ] {
        let (code, said) = checked(&node, &honest, words).await;
        assert_eq!(code, Some(2), "{words:?}: {said}");
        assert!(said.contains(says), "{words:?}: {said}");
    }
    // What a node does not know is told of that mission, and of no other.
    let told = json_of(&node, &honest, &["--journal", "nobody", "panics"], 0).await;
    assert_eq!(verdicts(&told), [("nobody", "unreadable"), ("panics", "same")], "{told:#}");

    let backup = node.folder().join("node.backup").to_string_lossy().into_owned();
    let taken = node.cli(&["backup", &backup]).await;
    assert!(taken.status.success(), "{}", String::from_utf8_lossy(&taken.stderr));
    let data = node.data().to_string_lossy().into_owned();
    let (code, said) = checked(&node, &honest, &["--journal", &data]).await;
    assert_eq!(code, Some(6), "{said}");
    assert!(said.contains("a node works on"), "{said}");
    node.kill();
    let before = std::fs::read(node.data().join("journal.redb")).expect("a journal");
    for place in [&data, &backup] {
        for (build, expected, code) in [(&honest, "different", 1), (&mended, "same", 0)] {
            let told = json_of(&node, build, &["--journal", place], code).await;
            assert_eq!(verdicts(&told)[0], ("goes-well", expected), "{place}: {told:#}");
            assert_eq!(told["other_plugins"], 1, "{place}: {told:#}");
        }
    }
    let mark = node.data().join("journal.redb.mark");
    std::fs::remove_file(&mark).expect("it is there");
    json_of(&node, &mended, &["--journal", &data], 0).await;
    assert!(!mark.exists(), "it is made by nobody but a node");
    assert!(std::fs::read(node.data().join("journal.redb")).expect("a journal") == before, "it is only read");
    node.restart().await;
    // What is no backup is told as such.
    std::fs::write(&backup, b"no archive").expect("a writable folder");
    let (code, said) = checked(&node, &honest, &["--journal", &backup]).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("no backup"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_case_of_a_mission_that_computed_when_it_was_ended_passes() {
    let node = Node::start().await;
    install(&node, "honest").await;
    let build = guest::hostile("honest");
    let spent = |id, deed| with(mission(id, deed), "/budget", json!({ "max_runtime_minutes": 0.02 }));
    for (mission, status) in [
        (mission("cancelled", "call, then loop"), "cancelled"),
        (mission("cancelled-at-once", "endless loop"), "cancelled"),
        (mission("cancelled-asleep", "sleep for ever"), "cancelled"),
        (spent("spent", "call, then loop"), "timed_out"),
        (mission("closed", "call, then loop"), "timed_out"),
    ] {
        let mission = match mission["mission_id"].as_str() {
            // Its window is open when it is dispatched.
            Some("closed") => with(mission, "/autonomy_window", json!({ "end_at": in_ms(5_000) })),
            _ => mission,
        };
        let id = node.accept(&mission).await;
        if status == "cancelled" {
            let last = if mission["objective"] == "call, then loop" { "milestone" } else { "granted" };
            until(&format!("{id}: {last}"), async || {
                let records = node.get(&format!("/v1/missions/{id}/journal")).await.json;
                records["items"].as_array()?.iter().any(|record| record["kind"] == last).then_some(())
            })
            .await;
            node.post(&format!("/v1/missions/{id}/cancel"), &json!({})).await.expect_status(202);
        }
        assert_eq!(node.until_final(&id).await["status"], status, "{id}");
        let made = node.cli(&["plugin", "check", "--from", &id]).await;
        assert!(made.status.success(), "{id}: {}", String::from_utf8_lossy(&made.stderr));
        let file = node.folder().join("case.toml");
        std::fs::write(&file, &made.stdout).expect("a writable folder");
        let (code, said) = checked(&node, &build, &[&file.to_string_lossy()]).await;
        assert_eq!(code, Some(0), "{id}: {said}{}", String::from_utf8_lossy(&made.stdout));
    }
}

/// A case whose plugin dispatches three missions, of which the second is not taken.
const THREE: &str = r#"
[[mission.inputs.steps]]
id = "a"
mission = { objective = "Do a.", mission_type = "automation", inputs = { steps = [{ id = "s", sleep = "1ms" }] } }

[[mission.inputs.steps]]
id = "b"
on_error = "continue"
mission = { objective = "Do b.", mission_type = "automation", inputs = { steps = [{ id = "s", sleep = "1ms" }] } }

[[mission.inputs.steps]]
id = "c"
mission = { objective = "Do c.", mission_type = "automation", inputs = { steps = [{ id = "s", sleep = "1ms" }] } }

[[child]]
with = { objective = "Do a." }
takes = "3m"

[[child]]
with = { objective = "Do b." }
refused = "/inputs/path: there is none"

[[child]]
with = { objective = "Do c." }

[expect]
status = "completed"
summary = { contains = "/inputs/path: there is none" }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_case_holds_its_mission_against_its_plugin_and_each_child_against_what_it_says_of_it() {
    let node = Node::start().await;
    node.run(&writing("any")).await;
    let component = node.request("GET", "/v1/missions/any/plugin").send().await.expect("an answer");
    let component = component.bytes().await.expect("a component");
    let file = node.folder().join("case.toml");
    let file = file.to_string_lossy().into_owned();
    for (case, exit, says) in [
        (THREE.to_owned(), 0, "1 of 1 cases pass"),
        ("[mission.inputs]\nsteps = []\n[expect]\nstatus = \"completed\"\n".to_owned(), 1, "/inputs/steps"),
    ] {
        std::fs::write(&file, &case).expect("a writable folder");
        let (code, said) = checked(&node, &component, &[&file]).await;
        assert_eq!(code, Some(exit), "{said}");
        assert!(said.contains(says), "{said}");
    }
}
