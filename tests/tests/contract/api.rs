//! The HTTP interface: authentication, lists, streams, batches, and what watches a node.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sortie_tests::envelope::{in_ms, with, writing};
use sortie_tests::{Node, Options, http, looping};

#[tokio::test]
async fn nothing_but_health_is_open() {
    let node = Node::start().await;
    let open = |path: &str| http::client().get(format!("{}{path}", node.url()));
    for path in ["/healthz", "/readyz"] {
        assert_eq!(http::send(open(path)).await.expect("an answer").status, 200, "{path}");
    }
    let closed = [
        "/v1/missions",
        "/v1/missions/x",
        "/v1/events",
        "/v1/mcp",
        "/v1/tools",
        "/v1/plugins",
        "/v1/sessions",
        "/v1/node",
        "/v1/deliveries",
        "/metrics",
        "/openapi.json",
        "/schemas/envelope.json",
        "/schemas/event.json",
    ];
    for path in closed {
        let answer = http::send(open(path)).await.expect("an answer");
        answer.expect_problem(401, "unauthorized");
        let answer = http::send(open(path).bearer_auth("guess")).await.expect("an answer");
        answer.expect_problem(401, "unauthorized");
    }
}

#[tokio::test]
async fn a_parameter_that_has_no_effect_is_refused_wherever_something_is_read() {
    let node = Node::start().await;
    node.run(&writing("m")).await;
    let paths = [
        "/v1/missions",
        "/v1/missions/m",
        "/v1/missions/m/events",
        "/v1/missions/m/journal",
        "/v1/missions/m/plugin",
        "/v1/missions/m/artifacts",
        "/v1/missions/m/artifacts/note.txt",
        "/v1/requests",
        "/v1/deliveries",
        "/v1/events",
        "/v1/sessions",
        "/v1/mcp",
        "/v1/tools",
        "/v1/plugins",
        "/v1/plugins/automation",
        "/v1/node",
    ];
    for path in paths {
        let refused = node.get(&format!("{path}?vp=all")).await;
        refused.expect_problem(400, "bad_request");
        assert!(refused.text.contains("there is no parameter `vp` here"), "{path}: {}", refused.text);
        let asked = node.get(&format!("{path}?")).await.status;
        assert_eq!(asked, node.get(path).await.status, "{path}: an empty query asks for nothing");
    }
}

#[tokio::test]
async fn a_token_does_what_its_scopes_say() {
    let names = ["dispatch", "read", "operate", "admin"];
    let mut options = Options::new();
    for name in names {
        let token = format!("[[token]]\nname = \"{name}\"\nref = \"env://TOKEN_{name}\"\nscopes = [\"{name}\"]");
        options = options.config(&token).env(&format!("TOKEN_{name}"), &format!("{name}-token"));
    }
    let node = options.start().await;
    node.accept(&looping("m")).await;
    let rows: [(&str, &str, &[&str]); 11] = [
        ("GET", "/v1/missions", &["read", "admin"]),
        ("GET", "/metrics", &["read", "admin"]),
        ("GET", "/openapi.json", &["read", "admin"]),
        ("GET", "/schemas/event.json", &["read", "admin"]),
        ("POST", "/v1/missions", &["dispatch", "admin"]),
        ("POST", "/v1/node/resume", &["operate", "admin"]),
        ("POST", "/v1/missions/m/cancel", &["operate", "admin"]),
        ("DELETE", "/v1/plugins/nobody", &["admin"]),
        // What it says would be missions: `operate` alone is not enough.
        ("POST", "/v1/schedules", &["admin"]),
        ("POST", "/v1/missions/m/fork", &["admin"]),
        ("POST", "/v1/schedules/nobody/pause", &["operate", "admin"]),
    ];
    for (method, path, allowed) in rows {
        for name in names {
            let request = http::client().request(method.parse().expect("a method"), format!("{}{path}", node.url()));
            let answer = http::send(request.bearer_auth(format!("{name}-token"))).await.expect("an answer");
            assert_eq!(answer.status != 403, allowed.contains(&name), "{name}: {method} {path}: {answer:#?}");
        }
    }
}

#[tokio::test]
async fn the_token_lies_in_the_data_folder_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let node = Node::start().await;
    let mode = std::fs::metadata(node.data().join("token")).expect("a token").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn lists_are_filtered_and_paged_newest_first() {
    let node = Node::start().await;
    for number in 0..7 {
        let envelope = with(writing(&format!("m-{number}")), "/vp_id", json!(format!("vp.{}", number % 2)));
        let envelope = if number == 6 { with(envelope, "/objective", json!("Find the needle.")) } else { envelope };
        node.accept(&envelope).await;
    }
    for number in 0..7 {
        node.until_final(&format!("m-{number}")).await;
    }
    let ids = async |query: &str| {
        let answer = node.get(&format!("/v1/missions{query}")).await.expect_status(200).json;
        let items = answer["items"].as_array().cloned().unwrap_or_default();
        let ids: Vec<String> = items.iter().filter_map(|item| Some(item["mission_id"].as_str()?.to_owned())).collect();
        (ids, answer["next_cursor"].clone())
    };
    assert_eq!(ids("").await.0, ["m-6", "m-5", "m-4", "m-3", "m-2", "m-1", "m-0"]);
    assert_eq!(ids("?vp_id=vp.1").await.0, ["m-5", "m-3", "m-1"]);
    assert_eq!(ids("?status=completed&vp_session_id=vp.0.session").await.0.len(), 4);
    assert_eq!(ids("?status=queued").await.0.len(), 0);
    assert_eq!(ids("?mission_type=coding").await.0.len(), 0);
    assert_eq!(ids("?trace_id=trace-m-3").await.0, ["m-3"]);
    assert_eq!(ids("?q=NEEDLE").await.0, ["m-6"]);
    let after = node.mission("m-4").await["accepted_at"].as_str().expect("a time").to_owned();
    assert_eq!(ids(&format!("?created_after={after}")).await.0, ["m-6", "m-5"]);
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let (page, next) = ids(&format!("?limit=3{cursor}")).await;
        assert!(page.len() <= 3);
        seen.extend(page);
        let Some(next) = next.as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, ["m-6", "m-5", "m-4", "m-3", "m-2", "m-1", "m-0"]);
    assert_eq!(node.get("/v1/missions?stauts=queued").await.status, 400);
    for (query, named) in [("status=zzz", "timed_out"), ("mission_type=zz", "automation")] {
        let answer = node.get(&format!("/v1/missions?{query}")).await;
        answer.expect_problem(400, "bad_request");
        assert!(answer.text.contains(named), "{answer:#?}");
    }
}

#[tokio::test]
async fn a_mission_shows_its_state() {
    let node = Node::start().await;
    node.run(&writing("state")).await;
    let state = node.mission("state").await;
    let keys: BTreeSet<&str> = state.as_object().expect("an object").keys().map(String::as_str).collect();
    for key in [
        "status",
        "usage",
        "effective_budget",
        "autonomy_window",
        "pending_requests",
        "artifacts",
        "plugin",
        "delivery",
    ] {
        assert!(keys.contains(key), "{key}: {keys:?}");
    }
    assert_eq!(state["plugin"]["digest"].as_str().map(str::len), Some(64), "{state:#}");
    node.get("/v1/missions/nobody").await.expect_problem(404, "not_found");
    let journal = node.get("/v1/missions/state/journal").await.expect_status(200).json;
    assert!(journal["items"].as_array().is_some_and(|records| records.len() >= 4), "{journal:#}");
    assert!(journal.to_string().contains("note.txt"), "a call's arguments are recorded: {journal:#}");
}

#[tokio::test]
async fn events_stream_live_and_resume() {
    let node = Node::start().await;
    node.accept(&with(writing("live"), "/autonomy_window/start_at", json!(in_ms(1_000)))).await;
    let last = |event: &http::StreamEvent| event.data["status"] == "completed";
    let streamed = http::stream(node.request("GET", "/v1/missions/live/events"), last).await;
    let data: Vec<Value> = streamed.iter().map(|event| event.data.clone()).collect();
    assert_eq!(data, node.events("live").await);
    assert_eq!(streamed.iter().map(|event| event.id.as_str()).take(2).collect::<Vec<_>>(), ["1", "2"]);
    let rest = http::stream(node.request("GET", "/v1/missions/live/events").header("last-event-id", "2"), last).await;
    assert_eq!(rest[0].data["sequence"], 3);
}

#[tokio::test]
async fn the_whole_nodes_events_stream_and_resume() {
    let node = Node::start().await;
    node.run(&writing("one")).await;
    let of = |mission: &'static str| {
        move |event: &http::StreamEvent| event.data["mission_id"] == mission && event.data["status"] == "completed"
    };
    let first = http::stream(node.request("GET", "/v1/events"), of("one")).await;
    let position = first.last().expect("events").id.clone();
    node.run(&writing("two")).await;
    let second = http::stream(node.request("GET", "/v1/events").header("last-event-id", &position), of("two")).await;
    assert!(second.iter().all(|event| event.data["mission_id"] == "two"), "{second:#?}");
}

#[tokio::test]
async fn a_batch_answers_a_line_for_a_line() {
    let node = Node::start().await;
    let lines =
        [writing("b-0").to_string(), "{\"no\": 1".to_owned(), writing("b-1").to_string(), writing("b-0").to_string()];
    let request = node.request("POST", "/v1/missions/batch").header("content-type", "application/x-ndjson");
    let answer = http::send(request.body(lines.join("\n"))).await.expect("an answer").expect_status(200);
    let answers: Vec<Value> = answer.text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(answers.len(), 4, "{answers:#?}");
    assert_eq!((&answers[0]["mission_id"], &answers[2]["mission_id"]), (&json!("b-0"), &json!("b-1")));
    assert!(answers[1]["code"].is_string(), "{answers:#?}");
    assert_eq!(answers[3]["mission_id"], "b-0");
}

#[tokio::test]
async fn a_node_describes_itself() {
    let node = Node::start().await;
    node.run(&writing("m")).await;
    let identity = node.get("/v1/node").await.expect_status(200).json;
    assert!(identity.to_string().contains("factory-1"), "{identity:#}");
    for ceiling in ["max_llm_calls", "max_cost_usd"] {
        assert_eq!(identity["limits"][ceiling], Value::Null, "there is none: {identity:#}");
    }
    let sessions = node.get("/v1/sessions").await.expect_status(200).json;
    assert!(sessions["items"].to_string().contains("vp.m.session"), "{sessions:#}");
    let plugins = node.get("/v1/plugins").await.expect_status(200).json;
    let automation =
        plugins["items"].as_array().and_then(|all| all.iter().find(|plugin| plugin["name"] == "automation"));
    assert!(
        automation.is_some_and(|plugin| plugin["version"].is_string() && plugin["digest"].is_string()),
        "{plugins:#}"
    );
    let openapi = node.get("/openapi.json").await.expect_status(200).json;
    assert!(openapi["paths"]["/v1/missions"]["post"].is_object());
    for schema in ["/schemas/envelope.json", "/schemas/event.json"] {
        assert_eq!(node.get(schema).await.expect_status(200).json["type"], "object", "{schema}");
    }
    let metrics = node.get("/metrics").await.expect_status(200).text;
    assert!(metrics.lines().any(|line| line.starts_with("sortie_")), "{metrics}");
}

#[tokio::test]
async fn every_error_is_a_problem() {
    let node = Node::start().await;
    node.run(&with(writing("m"), "/inputs/steps/0/artifact", json!("note.txt"))).await;
    for (method, path, status) in [
        ("GET", "/v1/missions/%ff", 400),
        ("GET", "/v1/missions/%ff/artifacts/%fe", 400),
        ("POST", "/v1/missions/%ff/cancel", 400),
        ("POST", "/v1/missions/%ff/requests/1", 400),
        ("DELETE", "/v1/plugins/%ff", 400),
        ("POST", "/v1/tools/%ff/call", 400),
        ("PUT", "/v1/missions", 405),
        ("GET", "/v1/missions/m/artifacts/note.txt", 416),
    ] {
        let request = node.request(method, path).header("range", "bytes=9999-");
        let answer = http::send(request).await.expect("an answer");
        assert_eq!(answer.status, status, "{method} {path}: {answer:#?}");
        assert_eq!(answer.header("content-type"), "application/problem+json", "{method} {path}: {answer:#?}");
        assert!(answer.json["code"].is_string() && answer.json["detail"].is_string(), "{answer:#?}");
    }
}

#[tokio::test]
async fn a_body_that_says_that_it_is_too_large_is_not_waited_for() {
    use std::io::{Read as _, Write as _};
    let node = Node::start().await;
    let address = node.url().trim_start_matches("http://").to_owned();
    for (path, bytes) in [("/v1/missions", 2 << 20), ("/v1/tools/Read/call", 2 << 20), ("/v1/plugins", 65 << 20)] {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {}\r\ncontent-length: {bytes}\r\n\r\n",
            node.token()
        );
        let mut stream = std::net::TcpStream::connect(&address).expect("connected");
        stream.set_read_timeout(Some(sortie_tests::PATIENCE)).expect("a live socket");
        stream.write_all(head.as_bytes()).expect("sent");
        // Nothing of the body is ever sent.
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).expect("an answer");
        assert_eq!(&answer, b"HTTP/1.1 413", "{path}");
    }
}

#[tokio::test]
async fn what_is_not_built_says_so() {
    let node = Node::start().await;
    node.get("/nothing").await.expect_problem(404, "not_found");
    node.get("/v1/nothing").await.expect_problem(404, "not_found");
}

#[tokio::test]
async fn a_plugin_that_the_binary_carries_is_not_removed_and_says_what_to_do() {
    let node = Node::start().await;
    for path in ["/v1/plugins/automation", "/v1/plugins/automation?version=0.1.0"] {
        let refused = http::send(node.request("DELETE", path)).await.expect("an answer");
        refused.expect_problem(409, "plugin_carried");
        assert!(refused.json["detail"].to_string().contains("at each start"), "{refused:#?}");
    }
    let removed = node.cli(&["plugin", "rm", "hello"]).await;
    assert!(!removed.status.success() && String::from_utf8_lossy(&removed.stderr).contains("carries"), "{removed:?}");
    let listed = node.get("/v1/plugins").await.json["items"].to_string();
    assert!(listed.contains("automation") && listed.contains("hello"), "{listed}");
    let nobody = http::send(node.request("DELETE", "/v1/plugins/automation?version=9.0.0")).await.expect("an answer");
    nobody.expect_problem(404, "not_found");
}
