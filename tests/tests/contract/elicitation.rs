//! What a tool server asks people while a mission calls it. The server is a shell script: nothing has to be installed for it.

use serde_json::{Value, json};
use sortie_tests::envelope::with;
use sortie_tests::{Answer, Node, Options, automation};

/// `ask` reads, `book` says nothing of itself; both ask who it is, and answer the call with what they are told.
const SERVER: &str = r#"
answer() { printf '{"jsonrpc":"2.0","id":%s,%s}\n' "$id" "$1"; }
say() { id=$call; answer '"result":{"content":[{"type":"text","text":"'"$1"'"}]}'; }
while read -r line; do
  id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9][0-9]*\).*/\1/p')
  case "$line" in
    *'"id":"q1"'*'"name":"Ada"'*) say 'it is Ada' ;;
    *'"id":"q1"'*'"decline"'*) say 'nobody says' ;;
    *'"id":"q1"'*) say 'neither' ;;
    *'"server/discover"'*) answer '"error":{"code":-32601,"message":"no such method"}' ;;
    *'"initialize"'*) answer '"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"script","version":"7"}}' ;;
    *'"tools/list"'*) answer '"result":{"tools":[{"name":"ask","inputSchema":{"type":"object"},"annotations":{"readOnlyHint":true}},{"name":"book","inputSchema":{"type":"object"}}]}' ;;
    *'"tools/call"'*) call=$id; echo '{"jsonrpc":"2.0","id":"q1","method":"elicitation/create","params":{"message":"Who are you?","requestedSchema":{"type":"object","properties":{"name":{"type":"string","minLength":2}},"required":["name"]}}}' ;;
    *'"ping"'*) answer '"result":{}' ;;
  esac
done
"#;

async fn node() -> Node {
    let script = toml::Value::String(SERVER.to_owned());
    let config =
        format!("[mcp.script]\ncommand = [\"/bin/sh\", \"-c\", {script}]\nenv = {{ PATH = \"/usr/bin:/bin\" }}\n");
    Options::new().config(&config).start().await
}

fn calling(id: &str, tool: &str) -> Value {
    let steps = json!([
        {"id": "ask", "tool": format!("mcp__script__{tool}")},
        {"id": "keep", "tool": "Write", "with": {"path": "a.txt", "content": "{{ steps.ask.result.text }}"}, "artifact": "a.txt"},
    ]);
    with(automation(id, &steps), "/constraints", json!({"allowed_tools": ["mcp__*", "Write"]}))
}

/// The open request of a mission that is blocked.
async fn asked(node: &Node, id: &str) -> Value {
    node.until_status(id, "blocked").await["pending_requests"][0].clone()
}

async fn decide(node: &Node, id: &str, request: &str, body: Value) -> Answer {
    node.post(&format!("/v1/missions/{id}/requests/{request}"), &body).await
}

async fn result(node: &Node, id: &str) -> String {
    let end = node.until_final(id).await;
    assert_eq!(end["status"], "completed", "{end:#}");
    node.get(&format!("/v1/missions/{id}/artifacts/a.txt")).await.expect_status(200).text
}

#[tokio::test]
async fn what_a_server_asks_is_a_request_of_the_mission_and_its_answer_goes_back() {
    let node = node().await;
    node.accept(&calling("asks", "book")).await;
    let request = asked(&node, "asks").await;
    let name = json!({"type": "string", "minLength": 2});
    let schema = json!({"type": "object", "properties": {"name": name}, "required": ["name"]});
    assert_eq!((&request["kind"], &request["tool"]), (&json!("input"), &json!("mcp__script__book")), "{request:#}");
    assert_eq!((&request["question"], &request["schema"]), (&json!("Who are you?"), &schema), "{request:#}");
    let event = node.events("asks").await.pop().expect("events");
    assert_eq!((&event["event_type"], &event["detail"]["request"]), (&json!("mission.blocked"), &request));
    assert_eq!(event["summary"], "`mcp__script__book` asks: Who are you?");
    let listed = String::from_utf8(node.cli(&["requests"]).await.stdout).expect("text");
    assert!(listed.contains("mcp__script__book asks, in its own words:"), "{listed}");
    for (text, pointer) in
        [("A", "/text/name"), (r#"{"name":7}"#, "/text/name"), (r#"{"nam":"Ada","name":"Ada"}"#, "/text/nam")]
    {
        let refused = decide(&node, "asks", "r1", json!({"decision": "answer", "text": text})).await;
        assert_eq!(refused.json["errors"][0]["pointer"], pointer, "{}", refused.text);
        refused.expect_problem(422, "invalid_decision");
    }
    assert_eq!(asked(&node, "asks").await, request, "it still waits");
    let said = node.cli(&["answer", "asks", "r1", "Ada"]).await;
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    assert_eq!(result(&node, "asks").await, "it is Ada");

    node.accept(&calling("denied", "ask")).await;
    asked(&node, "denied").await;
    decide(&node, "denied", "r1", json!({"decision": "deny"})).await.expect_status(200);
    assert_eq!(result(&node, "denied").await, "nobody says");
}

#[tokio::test]
async fn after_a_kill_nobody_waits_for_the_answer_and_the_call_is_like_any_other() {
    let mut node = node().await;
    node.accept(&calling("reads", "ask")).await;
    asked(&node, "reads").await;
    node.kill();
    node.restart().await;
    let again = sortie_tests::until("it asks anew", async || {
        let mission = node.mission("reads").await;
        let open = mission["pending_requests"][0].clone();
        (open["request_id"] == "r2").then_some(open)
    })
    .await;
    assert_eq!(again["kind"], "input", "{again:#}");
    decide(&node, "reads", "r1", json!({"decision": "answer", "text": "Ada"}))
        .await
        .expect_problem(409, "request_withdrawn");
    decide(&node, "reads", "r2", json!({"decision": "answer", "text": r#"{"name":"Ada"}"#})).await.expect_status(200);
    assert_eq!(result(&node, "reads").await, "it is Ada");
    let events = node.events("reads").await;
    let told = events.iter().filter(|event| event["detail"]["kind"] == "withdrawn").count();
    assert_eq!(told, 1, "{events:#?}");

    node.accept(&calling("books", "book")).await;
    asked(&node, "books").await;
    node.kill();
    node.restart().await;
    let doubted = sortie_tests::until("it is doubted", async || {
        let mission = node.mission("books").await;
        let open = mission["pending_requests"][0].clone();
        (open["request_id"] == "r2").then_some(open)
    })
    .await;
    assert_eq!(doubted["kind"], "uncertain", "it may have happened: {doubted:#}");
}

#[tokio::test]
async fn a_node_that_stops_says_nothing_for_people() {
    let mut node = node().await;
    node.accept(&calling("reads", "ask")).await;
    asked(&node, "reads").await;
    assert!(node.stop().await.success());
    node.restart().await;
    let again = sortie_tests::until("it asks anew", async || {
        let open = node.mission("reads").await["pending_requests"][0].clone();
        (open["request_id"] == "r2").then_some(open)
    })
    .await;
    assert_eq!(again["kind"], "input", "{again:#}");
    decide(&node, "reads", "r2", json!({"decision": "answer", "text": "Ada"})).await.expect_status(200);
    assert_eq!(result(&node, "reads").await, "it is Ada");
}

#[tokio::test]
async fn a_mission_that_is_cancelled_takes_its_question_along() {
    let node = node().await;
    node.accept(&calling("gone", "book")).await;
    asked(&node, "gone").await;
    node.post("/v1/missions/gone/cancel", &json!({})).await.expect_status(202);
    decide(&node, "gone", "r1", json!({"decision": "answer", "text": "Ada"}))
        .await
        .expect_problem(409, "already_final");
    // Its connection is free again: the next call is the only one there, and asks for itself.
    node.accept(&calling("next", "ask")).await;
    asked(&node, "next").await;
    decide(&node, "next", "r1", json!({"decision": "answer", "text": "Ada"})).await.expect_status(200);
    assert_eq!(result(&node, "next").await, "it is Ada");
}
