//! Tool servers (`[mcp.NAME]`), as operators and missions meet them. The server is a shell script: nothing has to be installed for it.

use std::path::Path;

use serde_json::{Value, json};
use sortie_tests::envelope::{with, write};
use sortie_tests::{Node, Options, automation, binary, until};

/// Answers what it must; `greet` reads, `send` says nothing of itself, `secret` tells what it was given.
const SERVER: &str = r#"
echo "up and about" >&2
answer() { printf '{"jsonrpc":"2.0","id":%s,%s}\n' "$id" "$1"; }
while read -r line; do
  id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9][0-9]*\).*/\1/p')
  case "$line" in
    *'"server/discover"'*) answer '"error":{"code":-32601,"message":"no such method"}' ;;
    *'"initialize"'*) answer '"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"script","version":"7"}}' ;;
    *'"tools/list"'*) answer '"result":{"tools":[{"name":"greet","inputSchema":{"type":"object","properties":{"who":{"type":"string"}},"required":["who"]},"annotations":{"readOnlyHint":true}},{"name":"send","inputSchema":{"type":"object"},"annotations":{"destructiveHint":false}},{"name":"secret","inputSchema":{"type":"object"}},{"name":"no name at all","inputSchema":{}}]}' ;;
    *'"greet"'*) answer '"result":{"content":[{"type":"text","text":"good evening"}]}' ;;
    *'"secret"'*) answer '"result":{"content":[{"type":"text","text":"it is '"$TOKEN"'"}]}' ;;
    *'"send"'*) exit 9 ;;
    *'"ping"'*) answer '"result":{}' ;;
  esac
done
"#;

const PLANTED: &str = "planted-secret-4711";

/// One server that is well, and one that is not there.
fn servers() -> Options {
    let script = toml::Value::String(SERVER.to_owned());
    Options::new().env("SORTIE_PLANTED", PLANTED).config(&format!(
        "[mcp.script]\ncommand = [\"/bin/sh\", \"-c\", {script}]\n\
         env = {{ PATH = \"/usr/bin:/bin\", TOKEN = \"env://SORTIE_PLANTED\" }}\n\
         [mcp.script.tool.secret]\ncost_usd = 0.01\n\
         [mcp.gone]\ncommand = [\"/no/such/program\"]\n"
    ))
}

fn calling(id: &str, steps: &Value) -> Value {
    with(automation(id, steps), "/constraints", json!({"allowed_tools": ["mcp__*", "Write"]}))
}

async fn server(node: &Node, name: &str) -> Value {
    let listed = node.get("/v1/mcp").await.expect_status(200).json;
    let mut items = listed["items"].as_array().expect("a list").iter();
    items.find(|item| item["name"] == name).expect("it is listed").clone()
}

/// The same by hand over every file of a folder: whether a text is in one of them.
fn holds(folder: &Path, text: &str) -> bool {
    std::fs::read_dir(folder).into_iter().flatten().flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return holds(&path, text);
        }
        std::fs::read(&path).is_ok_and(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
    })
}

#[tokio::test]
async fn a_mission_calls_the_tools_of_a_server_and_one_that_is_gone_harms_nobody_else() {
    let node = servers().start().await;
    let steps = json!([
        {"id": "greet", "tool": "mcp__script__greet", "with": {"who": "you"}},
        {"id": "keep", "tool": "Write", "with": {"path": "a.txt", "content": "{{ steps.greet.result.text }}"}, "artifact": "a.txt"},
        {"id": "secret", "tool": "mcp__script__secret"},
    ]);
    let end = node.run(&calling("calls", &steps)).await;
    assert_eq!(end["status"], "completed", "{end:#}");
    assert_eq!(end["usage"]["estimated_cost_usd"], 0.01, "{end:#}");
    assert_eq!(node.get("/v1/missions/calls/artifacts/a.txt").await.text, "good evening");
    let journal = node.get("/v1/missions/calls/journal").await.text;
    assert!(journal.contains("it is ***"), "{journal}");
    let bad = json!([{"id": "greet", "tool": "mcp__script__greet", "with": {"who": 7}}]);
    assert_eq!(node.run(&calling("bad", &bad)).await["status"], "failed", "held against the server's schema");

    let script = server(&node, "script").await;
    assert_eq!(
        (&script["state"], &script["transport"], &script["protocol_version"], &script["server"], &script["tools"]),
        (&json!("connected"), &json!("stdio"), &json!("2025-11-25"), &json!("script 7"), &json!(3)),
        "{script:#}"
    );
    assert!(script["left_out"][0].as_str().is_some_and(|why| why.contains("no name at all")), "{script:#}");
    let gone = server(&node, "gone").await;
    assert_eq!(gone["tools"], 0, "{gone:#}");
    assert!(
        gone["last_error"].as_str().is_some_and(|why| why.contains("/no/such/program cannot be started")),
        "{gone:#}"
    );

    let tools = node.get("/v1/tools").await.expect_status(200).json;
    let of = |name: &str| {
        tools["items"].as_array().expect("a list").iter().find(|tool| tool["name"] == name).expect("listed").clone()
    };
    assert_eq!(of("mcp__script__greet")["read_only"], true);
    assert_eq!(of("mcp__script__send")["effects"], json!(["external_side_effect"]));
    let listed = node.cli(&["tool", "ls"]).await;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.lines().any(|line| line.contains("mcp__script__greet") && line.contains("connected")), "{listed}");
    // A person who looks at the log sees what the program says.
    until("what the program says is in the log", async || node.read_log().contains("up and about").then_some(())).await;
    assert!(!node.read_log().contains(PLANTED) && !holds(&node.data(), PLANTED), "no secret, anywhere");
}

#[tokio::test]
async fn a_server_that_dies_in_a_call_is_told_and_comes_back() {
    let node = servers().start().await;
    let steps = json!([{"id": "send", "tool": "mcp__script__send"}]);
    let end = node.run(&calling("sends", &steps)).await;
    assert_eq!(end["status"], "failed", "{end:#}");
    let journal = node.get("/v1/missions/sends/journal").await.text;
    assert!(journal.contains("may have been done") && journal.contains("exit status: 9"), "{journal}");
    // Whoever does not call it notices nothing.
    assert_eq!(node.run(&automation("apart", &json!([write("w", "a.txt", "x")]))).await["status"], "completed");
    until("the server is back", async || (server(&node, "script").await["state"] == "connected").then_some(())).await;
    let steps = json!([{"id": "greet", "tool": "mcp__script__greet", "with": {"who": "you"}}]);
    assert_eq!(node.run(&calling("again", &steps)).await["status"], "completed");
}

/// The processes whose command line holds a text.
fn processes(text: &str) -> usize {
    let all = std::fs::read_dir("/proc").expect("Linux").flatten();
    let lines = all.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| String::from_utf8_lossy(line).contains(text)).count()
}

#[tokio::test]
async fn nothing_that_a_server_started_outlives_a_node_that_is_killed_or_stopped() {
    for end in ["kill", "stop"] {
        let mark = format!("sortie-mark-{}-{end}", std::process::id());
        // It does not read, and so does not see that the node is gone; and it has a child.
        let script = format!("sleep 3600 & while :; do sleep 3600; done # {mark}");
        let options = Options::new().config(&format!(
            "[mcp.stays]\ncommand = [\"/bin/sh\", \"-c\", \"{script}\"]\nenv = {{ PATH = \"/usr/bin:/bin\" }}\n"
        ));
        let mut node = options.start().await;
        until("it runs", async || (processes(&mark) > 0).then_some(())).await;
        if end == "kill" {
            node.kill();
        } else {
            node.stop().await;
        }
        until("all of it is gone", async || (processes(&mark) == 0).then_some(())).await;
    }
}

#[tokio::test]
async fn doctor_tries_each_server_where_no_node_runs() {
    let mut node = servers().start().await;
    node.stop().await;
    // Of a node that is named, and does not answer, nothing would be looked at here.
    let mut doctor = std::process::Command::new(binary());
    doctor.arg("--config").arg(node.folder().join("sortie.toml")).args(["doctor", "--data-dir"]).arg(node.data());
    doctor.env("SORTIE_PLANTED", PLANTED).env_remove("SORTIE_TOKEN");
    let told = tokio::task::spawn_blocking(move || doctor.output()).await.expect("no panic").expect("it starts");
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.contains("script: script 7 speaks MCP 2025-11-25 over stdio; 4 tools; answers in"), "{told}");
    assert!(told.contains("look  here  tool server: gone: /no/such/program cannot be started"), "{told}");
}
