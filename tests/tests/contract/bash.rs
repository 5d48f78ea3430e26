//! `Bash`: off until enabled, confined, and dead with the mission or the node that wanted it. Which ways out are shut is held in
//! `runtime/tools/tests/bash`.

use serde_json::{Value, json};
use sortie_tests::envelope::with;
use sortie_tests::{Node, Options, alive, automation, until, workspace_of};

const ENABLED: &str = "[tool.Bash]\nenabled = true";

fn commands(id: &str, commands: &[&str]) -> Value {
    let step = |(number, command): (usize, &&str)| {
        json!({"id": format!("s{number}"), "tool": "Bash", "needs": if number == 0 { json!([]) } else { json!([format!("s{}", number - 1)]) },
               "with": {"command": command}, "artifact": format!("{number}.json")})
    };
    let steps: Vec<Value> = commands.iter().enumerate().map(step).collect();
    with(automation(id, &json!(steps)), "/constraints/allowed_tools", json!(["Bash"]))
}

/// A number of seconds that no other process sleeps for.
fn mark(number: u32) -> String {
    format!("{}.{number}", 2_000_000 + std::process::id())
}

/// What `doctor` says of the configuration and its folder.
fn doctor(node: &Node) -> String {
    let mut command = std::process::Command::new(sortie_tests::binary());
    command.arg("--config").arg(node.folder().join("sortie.toml")).args(["doctor", "--data-dir"]).arg(node.data());
    String::from_utf8_lossy(&command.output().expect("the binary starts").stdout).into_owned()
}

async fn until_alive(mark: &str, count: usize) {
    until(&format!("{count} processes run"), async || (alive(mark) == count).then_some(())).await;
}

#[tokio::test]
async fn a_command_is_off_until_it_is_enabled_and_then_runs_confined() {
    let mut node = Node::start().await;
    let refused = node.run(&commands("off", &["true"])).await;
    assert_eq!(refused["status"], "failed", "{refused:#}");
    node.stop().await;
    node.reconfigure(ENABLED);
    node.restart().await;
    let look = "cat ../../token ../../journal.redb; ls /proc | grep -c '^[0-9]'; echo made > report.md; pwd";
    let envelope = with(
        commands("on", &[look, "cat report.md; exit 3"]),
        "/artifact_policy",
        json!({"required_outputs": ["report.md"]}),
    );
    let end = node.run(&envelope).await;
    assert_eq!(end["status"], "completed", "an exit code is a result: {end:#}");
    assert_eq!(node.get("/v1/missions/on/artifacts/report.md").await.expect_status(200).text, "made\n");
    let first = node.get("/v1/missions/on/artifacts/0.json").await.expect_status(200).json;
    assert!(
        first["stdout"].as_str().is_some_and(|out| out.ends_with("/workspace\n")) && first["exit_code"] == 0,
        "{first}"
    );
    assert_eq!(node.get("/v1/missions/on/artifacts/1.json").await.expect_status(200).json["exit_code"], 3);
    let journal = node.get("/v1/missions/on/journal").await.expect_status(200).text;
    assert!(!journal.contains(node.token()), "the node's token is in no output");
    assert!(workspace_of(&node, "vp.on").join("report.md").exists());
}

#[tokio::test]
async fn cancelling_a_mission_kills_what_its_command_started() {
    let node = Options::new().config(ENABLED).start().await;
    let mark = mark(1);
    node.accept(&commands("sleeps", &[&format!("setsid sleep {mark} & (sleep {mark} &) ; sleep {mark}")])).await;
    until_alive(&mark, 3).await;
    node.post("/v1/missions/sleeps/cancel", &json!({"reason": "enough"})).await.expect_status(202);
    until_alive(&mark, 0).await;
}

#[tokio::test]
async fn a_killed_node_takes_its_commands_with_it_and_asks_what_became_of_them() {
    let mut node = Options::new().config(ENABLED).start().await;
    let mark = mark(2);
    node.accept(&commands("broken", &[&format!("touch begun; setsid sleep {mark} & sleep {mark}")])).await;
    until_alive(&mark, 2).await;
    node.kill();
    until_alive(&mark, 0).await;
    node.restart().await;
    let blocked = node.until_status("broken", "blocked").await;
    assert_eq!(blocked["pending_requests"][0]["kind"], "uncertain", "{blocked:#}");
    assert_eq!(alive(&mark), 0, "nothing was run again");
}

#[tokio::test]
async fn what_cannot_be_confined_or_would_have_no_effect_is_refused_at_the_start() {
    let mut node = Node::start().await;
    node.stop().await;
    let own = format!("read = [{:?}]", node.data().join("artifacts"));
    for (keys, expected) in [
        ("network = \"hosts\"\nhosts = [\"example.org\"]", "this version gives commands no network"),
        (own.as_str(), "data folder"),
        ("confine = \"off\"\nprocesses = 9", "no effect"),
    ] {
        node.reconfigure(&format!("{ENABLED}\n{keys}"));
        let said = node.refused().await;
        assert!(said.contains(expected), "{keys}: {said}");
        let told = doctor(&node);
        assert!(told.contains("look  here  Bash: ") && told.contains(expected), "{told}");
    }
    node.reconfigure(ENABLED);
    let told = doctor(&node);
    assert!(
        told.contains("ok    here  Bash: commands are confined by namespaces (files, processes, network), Landlock"),
        "{told}"
    );
}
