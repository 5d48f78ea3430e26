//! The node as an MCP server, from outside: messages as agents send them, in both eras of the protocol, over HTTP and over pipes.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;

use futures_util::StreamExt as _;
use serde_json::{Value, json};
use sortie_tests::envelope::{looping, with, write, writing};
use sortie_tests::{Node, Options, automation, until};

const LATER: &str = "2026-07-28";
const FORMER: &str = "2025-11-25";
const TASKS: &str = "io.modelcontextprotocol/tasks";

/// A mission that may write, after somebody said so.
fn asking(id: &str) -> Value {
    let envelope = automation(id, &json!([write("w", "note.txt", "written")]));
    with(envelope, "/constraints/approval_required", json!(["Write"]))
}

/// An agent without a session: each request says all of it.
struct Agent<'a> {
    node: &'a Node,
    token: String,
    /// What it can do, as the protocol calls it.
    can: Value,
}

impl<'a> Agent<'a> {
    fn of(node: &'a Node) -> Self {
        Self { node, token: node.token().to_owned(), can: json!({}) }
    }

    fn that_can(self, can: Value) -> Self {
        Self { can, ..self }
    }

    fn with_token(self, token: &str) -> Self {
        Self { token: token.to_owned(), ..self }
    }

    /// The answer to a request: `result` or `error`.
    async fn ask(&self, method: &str, mut params: Value) -> Value {
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": LATER,
            "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": self.can,
        });
        let name = ["name", "uri", "taskId"].iter().find_map(|key| params[*key].as_str()).map(str::to_owned);
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let mut request = sortie_tests::http::client()
            .post(format!("{}/mcp", self.node.url()))
            .bearer_auth(&self.token)
            .header("accept", "application/json, text/event-stream")
            .header("content-type", "application/json")
            .header("mcp-protocol-version", LATER)
            .header("mcp-method", method)
            .body(message.to_string());
        if let Some(name) = name {
            request = request.header("mcp-name", name);
        }
        let answer = sortie_tests::http::send(request).await.expect("an answer");
        let messages = if answer.json.is_object() { vec![answer.json.clone()] } else { data(&answer.text) };
        let found = messages.into_iter().find(|message| message["id"] == 1);
        found.unwrap_or_else(|| panic!("no answer to {method}: {answer:#?}"))
    }

    /// The result of a tool's call.
    async fn call(&self, tool: &str, arguments: Value) -> Value {
        self.call_with(tool, arguments, json!(null)).await
    }

    async fn call_with(&self, tool: &str, arguments: Value, replies: Value) -> Value {
        let mut params = json!({"name": tool, "arguments": arguments});
        if !replies.is_null() {
            params["inputResponses"] = replies;
        }
        let answer = self.ask("tools/call", params).await;
        assert!(answer["result"].is_object(), "{answer:#}");
        answer["result"].clone()
    }

    /// The data of a call that went well.
    async fn done(&self, tool: &str, arguments: Value) -> Value {
        let result = self.call(tool, arguments).await;
        assert_eq!(result["isError"], false, "{result:#}");
        result["structuredContent"].clone()
    }

    async fn task(&self, id: &str) -> Value {
        let answer = self.ask("tasks/get", json!({"taskId": id})).await;
        assert!(answer["result"].is_object(), "{answer:#}");
        answer["result"].clone()
    }

    async fn until_task(&self, id: &str, status: &str) -> Value {
        until(&format!("the task {id} is {status}"), async || {
            let task = self.task(id).await;
            (task["status"] == status).then_some(task)
        })
        .await
    }
}

/// The messages of a stream of server-sent events.
fn data(text: &str) -> Vec<Value> {
    text.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data:")?.trim()).ok()).collect()
}

#[tokio::test]
async fn an_agent_dispatches_waits_and_reads_what_came_of_it() {
    let node = Node::start().await;
    let agent = Agent::of(&node);
    let listed = agent.ask("tools/list", json!({})).await["result"]["tools"].clone();
    let tools = listed.as_array().expect("tools");
    for tool in tools {
        for schema in ["inputSchema", "outputSchema"] {
            jsonschema::validator_for(&tool[schema]).unwrap_or_else(|error| panic!("{tool}: {error}"));
        }
    }
    let shaped = |name: &str, answer: &Value| {
        let tool = tools.iter().find(|tool| tool["name"] == name).expect("a tool");
        let schema = jsonschema::validator_for(&tool["outputSchema"]).expect("a schema");
        schema.validate(answer).unwrap_or_else(|error| panic!("{name}: {error} in {answer:#}"));
    };
    // What agents need not know is filled in.
    let mut envelope = writing("gone");
    for blank in
        ["mission_id", "vp_id", "source_instance_id", "target_instance_id", "idempotency_key", "trace_id", "created_at"]
    {
        envelope.as_object_mut().expect("an object").shift_remove(blank);
    }
    let envelope = with(envelope, "/artifact_policy", json!({"required_outputs": ["note.txt"]}));
    let begun = agent.done("dispatch_mission", json!({"envelope": envelope})).await;
    shaped("dispatch_mission", &begun);
    let id = begun["mission_id"].as_str().expect("an id");
    let ended = agent.done("wait_for_mission", json!({"mission_id": id, "timeout_seconds": 30})).await;
    shaped("wait_for_mission", &ended);
    assert_eq!(ended["status"], "completed", "{ended:#}");
    let artifacts = agent.done("list_artifacts", json!({"mission_id": id})).await;
    shaped("list_artifacts", &artifacts);
    assert_eq!(artifacts["items"][0]["name"], "note.txt");
    let read = agent.call("read_artifact", json!({"mission_id": id, "name": "note.txt", "length": 4})).await;
    shaped("read_artifact", &read["structuredContent"]);
    assert_eq!((&read["content"][0]["text"], &read["structuredContent"]["next_offset"]), (&json!("writ"), &json!(4)));
    let rest = agent.call("read_artifact", json!({"mission_id": id, "name": "note.txt", "offset": 4})).await;
    assert_eq!((&rest["content"][0]["text"], &rest["structuredContent"]["next_offset"]), (&json!("ten"), &json!(null)));
    let uri = format!("sortie://missions/{id}/artifacts/note.txt");
    let resource = agent.ask("resources/read", json!({"uri": uri})).await;
    assert_eq!(resource["result"]["contents"][0]["text"], "written", "{resource:#}");
    let page = agent.done("list_missions", json!({"status": ["completed"], "limit": 1})).await;
    shaped("list_missions", &page);
    assert_eq!(page["items"][0]["mission_id"], id);
}

#[tokio::test]
async fn what_the_node_refuses_is_told_with_its_code_its_place_and_what_to_do() {
    let node = Options::new()
        .config("[[token]]\nname = \"looker\"\nref = \"env://LOOKER\"\nscopes = [\"read\"]")
        .env("LOOKER", "looks-only-0123456789")
        .start()
        .await;
    node.accept(&asking("ask")).await;
    node.until_status("ask", "blocked").await;
    let (agent, looker) = (Agent::of(&node), Agent::of(&node).with_token("looks-only-0123456789"));
    let bad = with(writing("bad"), "/budget", json!({"max_cost_usd": -1}));
    for (agent, tool, arguments, code, says) in [
        (&agent, "dispatch_mission", json!({"envelope": bad}), "invalid_envelope", "/budget/max_cost_usd"),
        (&agent, "get_mission", json!({"mission_id": "none"}), "not_found", "there is no mission"),
        (&agent, "get_mission", json!({"mission_id": ".."}), "not_found", "there is no"),
        (&agent, "list_missions", json!({"limti": 1}), "bad_request", "limti"),
        (
            &agent,
            "decide_request",
            json!({"mission_id": "ask", "request_id": "r9", "decision": "deny"}),
            "not_found",
            "r9",
        ),
        (&agent, "get_mission", json!({}), "", "`mission_id`"),
        (&agent, "wait_for_mission", json!({"mission_id": "ask", "timeout_seconds": 1e9}), "", "`timeout_seconds`"),
        (&looker, "dispatch_mission", json!({"envelope": writing("x")}), "forbidden", "has not the scope `dispatch`"),
        (&looker, "cancel_mission", json!({"mission_id": "ask"}), "forbidden", "has not the scope `operate`"),
        (
            &looker,
            "decide_request",
            json!({"mission_id": "ask", "request_id": "r1", "decision": "approve"}),
            "forbidden",
            "has not the scope `operate`",
        ),
    ] {
        let result = agent.call(tool, arguments.clone()).await;
        let told = result["content"][0]["text"].as_str().unwrap_or_default();
        assert_eq!(result["isError"], true, "{tool} {arguments}: {result:#}");
        assert!(told.contains(says), "{tool} {arguments}: {told}");
        assert_eq!(result["structuredContent"]["code"].as_str().unwrap_or_default(), code, "{result:#}");
        assert!(code.is_empty() || result["structuredContent"]["remedy"].is_string(), "{result:#}");
    }
    let unknown = agent.ask("tools/call", json!({"name": "rm", "arguments": {}})).await;
    assert_eq!(unknown["error"]["code"], -32_602, "{unknown:#}");
    assert_eq!(looker.done("get_mission", json!({"mission_id": "ask"})).await["status"], "blocked");
}

#[tokio::test]
async fn nobody_asks_without_a_token_from_another_page_or_by_a_foreign_name() {
    let node = Node::start().await;
    let begin = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": FORMER, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}});
    let ask = |headers: &[(&str, &str)]| {
        let mut request = sortie_tests::http::client()
            .post(format!("{}/mcp", node.url()))
            .header("accept", "application/json, text/event-stream")
            .header("content-type", "application/json")
            .body(begin.to_string());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        sortie_tests::http::send(request)
    };
    let bearer = format!("Bearer {}", node.token());
    let own = ("authorization", bearer.as_str());
    for (headers, status) in [
        (vec![], 401),
        (vec![("authorization", "Bearer wrong")], 401),
        (vec![own, ("host", "evil.example")], 403),
        (vec![own, ("origin", "http://evil.example")], 403),
        (vec![own, ("mcp-session-id", "00000000-0000-4000-8000-000000000000")], 404),
        (vec![own], 200),
    ] {
        let answer = ask(&headers).await.expect("an answer");
        assert_eq!(answer.status, status, "{headers:?}: {answer:#?}");
    }
    let large = sortie_tests::http::client().post(format!("{}/mcp", node.url())).bearer_auth(node.token());
    let large = sortie_tests::http::send(large.body(vec![b' '; 2 << 20])).await.expect("an answer");
    large.expect_problem(413, "too_large");
}

#[tokio::test]
async fn a_mission_is_a_task_that_outlives_the_node() {
    let mut node = Node::start().await;
    let can = json!({"extensions": {TASKS: {}}, "elicitation": {"form": {}}});
    let agent = Agent::of(&node).that_can(can.clone());
    for envelope in [asking("asks"), looping("loops")] {
        let begun = agent.call("dispatch_mission", json!({"envelope": envelope})).await;
        assert_eq!((&begun["resultType"], &begun["status"]), (&json!("task"), &json!("working")), "{begun:#}");
        assert_eq!(begun["taskId"], envelope["mission_id"]);
    }
    let task = agent.until_task("asks", "input_required").await;
    let form = &task["inputRequests"]["r1"];
    assert_eq!(form["method"], "elicitation/create", "{task:#}");
    assert!(form["params"]["message"].as_str().expect("a text").contains("Tool: Write"), "{task:#}");
    node.kill();
    node.restart().await;
    let agent = Agent::of(&node).that_can(can);
    assert_eq!(agent.task("loops").await["status"], "working");
    agent.until_task("asks", "input_required").await;
    let reply = json!({"r1": {"action": "accept", "content": {"decision": "approve", "note": "fine"}}});
    let taken = agent.ask("tasks/update", json!({"taskId": "asks", "inputResponses": reply})).await;
    assert!(taken["result"].is_object(), "{taken:#}");
    let task = agent.until_task("asks", "completed").await;
    assert_eq!(task["result"]["isError"], false, "{task:#}");
    assert_eq!(task["result"]["structuredContent"]["status"], "completed", "{task:#}");
    let cancelled = agent.ask("tasks/cancel", json!({"taskId": "loops"})).await;
    assert!(cancelled["result"].is_object(), "{cancelled:#}");
    agent.until_task("loops", "cancelled").await;
    let none = agent.ask("tasks/get", json!({"taskId": "none"})).await;
    assert_eq!(none["error"]["code"], -32_602, "{none:#}");
    let plain = Agent::of(&node).call("dispatch_mission", json!({"envelope": writing("plain")})).await;
    assert_eq!(plain["structuredContent"]["mission_id"], "plain", "who takes no tasks is given none: {plain:#}");
}

#[tokio::test]
async fn what_a_mission_asks_reaches_the_agents_person() {
    let node = Options::new()
        .config("[[token]]\nname = \"looker\"\nref = \"env://LOOKER\"\nscopes = [\"read\"]")
        .env("LOOKER", "looks-only-0123456789")
        .start()
        .await;
    for id in ["yes", "no"] {
        node.accept(&asking(id)).await;
        node.until_status(id, "blocked").await;
    }
    let agent = Agent::of(&node).that_can(json!({"elicitation": {"form": {}}}));
    let wait = |id: &str| json!({"mission_id": id, "timeout_seconds": 20});
    let asked = agent.call("wait_for_mission", wait("yes")).await;
    assert_eq!(asked["resultType"], "input_required", "{asked:#}");
    assert_eq!(asked["inputRequests"]["r1"]["method"], "elicitation/create", "{asked:#}");
    // What is no reply to the form decides nothing: it is asked again.
    let again = agent.call_with("wait_for_mission", wait("yes"), json!({"r1": 7})).await;
    assert_eq!(again["resultType"], "input_required", "{again:#}");
    let reply = json!({"r1": {"action": "accept", "content": {"decision": "approve"}}});
    let ended = agent.call_with("wait_for_mission", wait("yes"), reply).await;
    assert_eq!(ended["structuredContent"]["status"], "completed", "{ended:#}");
    let journal = node.get("/v1/missions/yes/journal").await.json["items"].to_string();
    assert!(journal.contains("\"by\":\"admin\""), "it is recorded under the name of the token: {journal}");
    // Who would rather not leaves it open for others.
    let left = agent.call_with("wait_for_mission", wait("no"), json!({"r1": {"action": "decline"}})).await;
    assert_eq!(left["structuredContent"]["status"], "blocked", "{left:#}");
    assert_eq!(left["structuredContent"]["pending_requests"][0]["request_id"], "r1");
    // A token that may not decide is told, and its person is not asked.
    let looker = Agent::of(&node).with_token("looks-only-0123456789").that_can(json!({"elicitation": {"form": {}}}));
    let told = looker.call("wait_for_mission", wait("no")).await;
    assert_eq!(told["structuredContent"]["status"], "blocked", "{told:#}");
    let reply = json!({"r1": {"action": "accept", "content": {"decision": "approve"}}});
    let told = looker.call_with("wait_for_mission", wait("no"), reply).await;
    assert_eq!(told["structuredContent"]["status"], "blocked", "{told:#}");
}

#[tokio::test]
async fn what_is_no_message_is_answered_as_json_rpc_says() {
    let node = Node::start().await;
    let json = "application/json";
    let both = "application/json, text/event-stream";
    for (kind, accept, body, status, code, id) in [
        (json, both, "{\"jsonrpc\": \"2.0\", ", 400, -32_700, Value::Null),
        (json, both, "nonsense", 400, -32_700, Value::Null),
        (json, both, "", 400, -32_700, Value::Null),
        ("application/json; charset=utf-8", both, "{} {}", 400, -32_700, Value::Null),
        (json, both, "[1]", 400, -32_600, Value::Null),
        (json, both, "{\"id\": 7}", 400, -32_600, json!(7)),
        (json, both, "{\"jsonrpc\": \"1.0\", \"id\": \"a\", \"method\": \"ping\"}", 400, -32_600, json!("a")),
        ("text/plain", both, "{}", 415, -32_600, Value::Null),
        (json, json, "{}", 406, -32_600, json!(null)),
    ] {
        let request = sortie_tests::http::client().post(format!("{}/mcp", node.url())).bearer_auth(node.token());
        let request = request.header("content-type", kind).header("accept", accept).body(body);
        let answer = sortie_tests::http::send(request).await.expect("an answer");
        let told: Value = serde_json::from_str(&answer.text).unwrap_or_else(|_| panic!("{body}: {answer:#?}"));
        assert_eq!((answer.status, &told["error"]["code"], &told["id"]), (status, &json!(code), &id), "{body}: {told}");
        assert_eq!(answer.header("content-type"), json, "{body}");
    }
}

#[tokio::test]
async fn an_answer_that_is_none_is_told_so() {
    let node = Node::start().await;
    node.accept(&asking("asks")).await;
    node.until_status("asks", "blocked").await;
    let agent = Agent::of(&node).that_can(json!({"extensions": {(TASKS): {}}}));
    let update =
        async |replies: Value| agent.ask("tasks/update", json!({"taskId": "asks", "inputResponses": replies})).await;
    for (replies, told) in [
        (json!({"r1": 7}), "no reply to a form"),
        (json!({"r1": {"action": "perhaps"}}), "no reply to a form"),
        (json!({"r1": {"action": "accept", "content": ["approve"]}}), "no reply to a form"),
        (json!({"r1": {"action": "accept", "content": {}}}), "decision"),
        (json!({"r1": {"action": "accept", "content": {"decision": "perhaps"}}}), "approve"),
    ] {
        let answer = update(replies.clone()).await;
        let message = answer["error"]["message"].as_str().unwrap_or_default();
        assert!(answer["error"]["code"] == -32_602 && message.contains(told), "{replies}: {answer:#}");
        assert_eq!(node.mission("asks").await["status"], "blocked", "{replies}");
    }
    let yes = json!({"action": "accept", "content": {"decision": "approve"}});
    assert!(
        update(json!({"question": yes, "r99": {"ignored": true}})).await["result"].is_object(),
        "nothing asks that"
    );
    assert_eq!(node.mission("asks").await["status"], "blocked");
    assert!(update(json!({"r1": {"action": "decline"}})).await["result"].is_object(), "they would rather not");
    assert!(update(json!({"r1": yes})).await["result"].is_object());
    assert!(update(json!({"r1": yes})).await["result"].is_object(), "it is decided");
    assert_eq!(node.until_final("asks").await["status"], "completed");
}

/// A session of the former era.
struct Session<'a> {
    node: &'a Node,
    token: String,
    id: String,
}

impl<'a> Session<'a> {
    async fn begin(node: &'a Node, can: Value) -> Self {
        let mut session = Self { node, token: node.token().to_owned(), id: String::new() };
        let params =
            json!({"protocolVersion": FORMER, "capabilities": can, "clientInfo": {"name": "test", "version": "1"}});
        let begin = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params});
        let answer = sortie_tests::http::send(session.post(&begin)).await.expect("an answer").expect_status(200);
        answer.header("mcp-session-id").clone_into(&mut session.id);
        let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        sortie_tests::http::send(session.post(&ready)).await.expect("an answer").expect_status(202);
        session
    }

    fn post(&self, message: &Value) -> reqwest::RequestBuilder {
        let request = sortie_tests::http::client()
            .post(format!("{}/mcp", self.node.url()))
            .bearer_auth(&self.token)
            .header("accept", "application/json, text/event-stream")
            .header("content-type", "application/json")
            .body(message.to_string());
        if self.id.is_empty() { request } else { request.header("mcp-session-id", &self.id) }
    }

    /// Calls a tool; what the server asks meanwhile is answered with `reply`. The messages before the result, and the result.
    async fn call(&self, tool: &str, arguments: Value, reply: Value) -> (Vec<Value>, Value) {
        let params = json!({"name": tool, "arguments": arguments, "_meta": {"progressToken": "p"}});
        let call = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params});
        let mut stream = self.post(&call).send().await.expect("an answer").bytes_stream();
        let (mut read, mut before) = (Vec::new(), Vec::new());
        while let Some(chunk) = stream.next().await {
            read.extend_from_slice(&chunk.expect("a piece"));
            while let Some(end) = read.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = read.drain(..=end).collect();
                for message in data(&String::from_utf8(line).expect("text")) {
                    if message["id"] == 7 && message["method"].is_null() {
                        return (before, message["result"].clone());
                    }
                    if message["method"] == "elicitation/create" {
                        let answer = json!({"jsonrpc": "2.0", "id": message["id"], "result": reply});
                        sortie_tests::http::send(self.post(&answer)).await.expect("an answer").expect_status(202);
                    }
                    before.push(message);
                }
            }
        }
        panic!("no result of {tool}: {before:#?}");
    }
}

#[tokio::test]
async fn a_client_of_the_former_era_is_asked_in_the_middle_of_its_call() {
    let node = Options::new()
        .config("[[token]]\nname = \"other\"\nref = \"env://OTHER\"\nscopes = [\"admin\"]")
        .env("OTHER", "another-admin-0123456789")
        .start()
        .await;
    node.accept(&asking("ask")).await;
    let session = Session::begin(&node, json!({"elicitation": {}})).await;
    let reply = json!({"action": "accept", "content": {"decision": "approve"}});
    let (before, result) =
        session.call("wait_for_mission", json!({"mission_id": "ask", "timeout_seconds": 30}), reply).await;
    assert_eq!(result["structuredContent"]["status"], "completed", "{result:#}");
    let methods: Vec<&str> = before.iter().filter_map(|message| message["method"].as_str()).collect();
    assert!(methods.contains(&"elicitation/create"), "{before:#?}");
    // A session is of the token that began it.
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    let answer = sortie_tests::http::send(session.post(&ping)).await.expect("an answer");
    assert_eq!((answer.status, &data(&answer.text).last().expect("a message")["result"]), (200, &json!({})));
    let other = Session { token: "another-admin-0123456789".to_owned(), ..session };
    let answer = sortie_tests::http::send(other.post(&ping)).await.expect("an answer");
    assert_eq!(answer.status, 404, "{answer:#?}");
}

#[tokio::test]
async fn over_pipes_the_node_may_come_and_go() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
    let mut node = Options::new().listen(free).start().await;
    let mut command = node.command(&["mcp", "--stdio"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut input = child.stdin.take().expect("piped");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut ask = |id: u32, method: &str, params: Value| {
        let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        writeln!(input, "{message}").expect("taken");
        if id == 1 {
            writeln!(input, "{}", json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).expect("taken");
        }
        loop {
            let line = lines.next().expect("an answer").expect("a line");
            let answer: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not of the protocol: {line}"));
            if answer["id"] == id {
                return answer["result"].clone();
            }
        }
    };
    let hello = json!({"protocolVersion": FORMER, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}});
    assert_eq!(ask(1, "initialize", hello)["serverInfo"]["name"], "sortie");
    let call = |tool: &str, arguments: Value| json!({"name": tool, "arguments": arguments});
    let begun = ask(2, "tools/call", call("dispatch_mission", json!({"envelope": writing("piped")})));
    assert_eq!(begun["structuredContent"]["mission_id"], "piped", "{begun:#}");
    node.kill();
    let away = ask(3, "tools/call", call("get_mission", json!({"mission_id": "piped"})));
    assert_eq!(away["isError"], true, "{away:#}");
    assert!(away["content"][0]["text"].as_str().is_some_and(|text| text.contains("no node answers")), "{away:#}");
    node.restart().await;
    let wait = call("wait_for_mission", json!({"mission_id": "piped", "timeout_seconds": 30}));
    assert_eq!(ask(4, "tools/call", wait)["structuredContent"]["status"], "completed");
    drop(input);
    assert!(child.wait().expect("it ends").success());
}
