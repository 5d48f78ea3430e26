//! Clients that hold what a node has only so much of: connections, memory, attention.

use std::time::Duration;

use serde_json::{Value, json};
use sortie_tests::envelope::{automation, in_ms, with, write, writing};
use sortie_tests::{Node, Options, PATIENCE, http, looping};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

/// Connects to a node.
async fn connected(node: &Node) -> TcpStream {
    let address = node.url().strip_prefix("http://").expect("a URL");
    TcpStream::connect(address).await.expect("connected")
}

/// What a node says of its connections.
async fn connections(node: &Node) -> Value {
    node.get("/v1/node").await.expect_status(200).json["connections"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_without_a_token_keeps_nobody_out() {
    let node = Options::new().files(256, 256).start().await;
    let places = connections(&node).await["places"].as_u64().expect("a number");
    assert_eq!(places, 128, "half of the files that it may open");
    let pipelined = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n".repeat(1_000);
    for asks in ["", &pipelined] {
        let mut crowd = Vec::new();
        for _ in 0..300 {
            let mut stream = connected(&node).await;
            // Those that lost their place meanwhile need not take it.
            let _ = tokio::time::timeout(Duration::from_millis(20), stream.write_all(asks.as_bytes())).await;
            crowd.push(stream);
        }
        let begun = std::time::Instant::now();
        for number in 0..20 {
            let id = format!("honest-{}-{number}", asks.len());
            let client = reqwest::Client::builder().no_proxy().build().expect("a client");
            let request = client.post(format!("{}/v1/missions", node.url())).bearer_auth(node.token());
            let answer = http::send(request.body(writing(&id).to_string())).await.expect("an answer");
            answer.expect_status(202);
            let open = client.get(format!("{}/healthz", node.url()));
            assert_eq!(http::send(open).await.expect("an answer").status, 200);
        }
        // One that waits for others to be thrown out takes longer than this for each of them.
        assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
        let told = connections(&node).await;
        assert!(told["displaced"].as_u64() > Some(0) && told["open"].as_u64() <= Some(places), "{told}");
        drop(crowd);
    }
    assert!(node.read_log().contains("connection places run out"), "{}", node.read_log());
    let metrics = node.get("/metrics").await.text;
    assert!(metrics.contains("sortie_connections_places 128"), "{metrics}");
}

#[tokio::test]
async fn the_limit_of_open_files_is_raised_as_far_as_it_may_be() {
    let node = Options::new().files(64, None).start().await;
    let places = connections(&node).await["places"].as_u64().expect("a number");
    assert!(places > 64, "{places}");
}

/// All items of a list, page by page, each page no larger than so many bytes.
async fn paged(node: &Node, path: &str, bytes: usize) -> Vec<Value> {
    let (mut items, mut cursor) = (Vec::new(), String::new());
    loop {
        let join = if path.contains('?') { '&' } else { '?' };
        let query = if cursor.is_empty() { String::new() } else { format!("{join}cursor={cursor}") };
        let page = node.get(&format!("{path}{query}")).await.expect_status(200);
        assert!(page.text.len() <= bytes, "{path}: a page of {} bytes", page.text.len());
        items.extend(page.json["items"].as_array().expect("a list").clone());
        match page.json["next_cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => return items,
        }
    }
}

#[tokio::test]
async fn pages_are_bounded_whatever_missions_hold() {
    let node = Node::start().await;
    for number in 0..12 {
        let envelope = with(looping(&format!("m-{number}")), "/objective", json!("o".repeat(900_000)));
        node.accept(&with(envelope, "/autonomy_window/start_at", json!("2999-01-01T00:00:00Z"))).await;
    }
    let listed = paged(&node, "/v1/missions?limit=500", 64 << 10).await;
    assert_eq!(listed.len(), 12);
    assert!(listed.iter().all(|item| item["objective"].as_str().is_some_and(|text| text.len() <= 400)), "cut");
    let whole = node.mission("m-3").await;
    assert_eq!(whole["objective"].as_str().map(str::len), Some(900_000), "the mission itself shows all of it");
}

#[tokio::test]
async fn sessions_are_paged_the_one_with_the_newest_mission_first() {
    let node = Node::start().await;
    for number in 0..7 {
        let envelope = with(writing(&format!("m-{number}")), "/vp_id", json!(format!("vp:{}", number % 3)));
        node.accept(&with(envelope, "/vp_session_id", json!(format!("s/{number} ü")))).await;
    }
    let name = |item: &Value| item["vp_session_id"].as_str().expect("a name").to_owned();
    let all: Vec<String> = paged(&node, "/v1/sessions?limit=500", 64 << 10).await.iter().map(name).collect();
    let expected: Vec<String> = (0..7).rev().map(|number| format!("s/{number} ü")).collect();
    assert_eq!(all, expected);
    let by_two: Vec<String> = paged(&node, "/v1/sessions?limit=2", 64 << 10).await.iter().map(name).collect();
    assert_eq!(by_two, all);
}

#[tokio::test]
async fn a_journal_comes_whole_in_however_many_pieces() {
    let node = Node::start().await;
    let read = |number: usize| json!({"id": format!("r{number}"), "tool": "Read", "with": {"path": "f.txt"}});
    let mut steps = vec![write("w", "f.txt", &"x".repeat(200_000))];
    steps.extend((0..8).map(read).map(|mut step| {
        step["needs"] = json!(["w"]);
        step
    }));
    assert_eq!(node.run(&automation("large", &json!(steps))).await["status"], "completed");
    let journal = node.get("/v1/missions/large/journal").await.expect_status(200);
    assert!(journal.text.len() > 1_600_000, "{}", journal.text.len());
    let items = journal.json["items"].as_array().expect("JSON, from its beginning to its end");
    for (number, record) in (1..).zip(items) {
        assert_eq!(record["record"], number);
    }
    assert_eq!(items.first().map(|first| first["kind"].clone()), Some(json!("accepted")));
    assert_eq!(items.last().map(|last| last["kind"].clone()), Some(json!("finished")));
    assert_eq!(journal.json["next_cursor"], Value::Null);
}

#[tokio::test]
async fn a_position_ahead_of_the_log_is_told() {
    let node = Node::start().await;
    node.run(&writing("m")).await;
    node.accept(&looping("running")).await;
    for path in ["/v1/events", "/v1/missions/m/events", "/v1/missions/running/events"] {
        for accept in ["application/json", "text/event-stream"] {
            let request = node.request("GET", path).header("accept", accept).header("last-event-id", "1000000");
            http::send(request).await.expect("an answer").expect_problem(409, "position_ahead");
        }
    }
    // The end itself is no position ahead.
    let last = node.events("m").await.len();
    node.get(&format!("/v1/missions/m/events?after={last}")).await.expect_status(200);
}

#[tokio::test]
async fn what_read_shows_is_shown_to_no_other_scope() {
    let options = Options::new()
        .config("[[token]]\nname = \"op\"\nref = \"env://TOKEN_OP\"\nscopes = [\"operate\"]")
        .env("TOKEN_OP", "op-token");
    let node = options.start().await;
    node.run(&writing("done")).await;
    node.accept(&looping("m")).await;
    let ask = json!([{"id": "q", "tool": "ask", "with": {"question": "A or B?"}}]);
    node.accept(&automation("asks", &ask)).await;
    node.until_status("asks", "blocked").await;
    let act = async |path: &str, body: Value| {
        let request = http::client().post(format!("{}{path}", node.url())).bearer_auth("op-token");
        http::send(request.header("content-type", "application/json").body(body.to_string())).await.expect("an answer")
    };
    let reason = json!({"reason": "enough"});
    for (path, body, status) in [
        ("/v1/missions/done/cancel", &reason, 409),
        ("/v1/missions/m/cancel", &reason, 202),
        ("/v1/missions/asks/requests/r9", &json!({"decision": "deny"}), 404),
        ("/v1/missions/asks/requests/r1", &json!({"decision": "answer", "text": "A"}), 200),
        ("/v1/node/pause", &Value::Null, 200),
        ("/v1/node/resume", &Value::Null, 200),
    ] {
        let answer = act(path, body.clone()).await;
        assert_eq!(answer.status, status, "{path}: {answer:#?}");
        for told in ["objective", "usage", "trace_id", "instance_id", "vp_id"] {
            assert!(!answer.text.contains(&format!("\"{told}\"")), "{path} tells {told}: {}", answer.text);
        }
    }
    node.until_final("asks").await;
}

/// A number of `/metrics`.
async fn metric(node: &Node, name: &str) -> u64 {
    let text = node.get("/metrics").await.expect_status(200).text;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{name} is not in {text}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_watching_costs_grows_with_what_happens_and_not_with_its_square() {
    let node = Node::start().await;
    let items: Vec<u32> = (0..300).collect();
    let calls = json!([{"id": "g", "tool": "Glob", "with": {"pattern": "*"}, "for_each": items, "concurrency": 1}]);
    let envelope = with(automation("watched", &calls), "/autonomy_window/start_at", json!(in_ms(500)));
    node.accept(&envelope).await;
    let is_last = |event: &http::StreamEvent| event.data["event_type"] == "mission.completed";
    let watch = |path: &'static str| tokio::spawn(http::stream(node.request("GET", path), is_last));
    let mut watchers = Vec::new();
    for _ in 0..3 {
        watchers.push(watch("/v1/events"));
        watchers.push(watch("/v1/missions/watched/events"));
    }
    let mut seen = Vec::new();
    for watcher in watchers {
        let events = tokio::time::timeout(PATIENCE, watcher).await.expect("in time").expect("no panic");
        seen.push(events.into_iter().map(|event| event.data).collect::<Vec<_>>());
    }
    for other in &seen[1..] {
        let told = |events: &[Value]| events.iter().map(|event| event["sequence"].clone()).collect::<Vec<_>>();
        assert_eq!(told(&seen[0]), told(other), "all of them see the same");
        assert_eq!(seen[0], *other, "all of them see the same");
    }
    let records = node.get("/v1/missions/watched/journal").await.json["items"].as_array().map_or(0, Vec::len) as u64;
    let folded = metric(&node, "sortie_records_folded_total").await;
    assert!(records > 600, "{records}");
    assert!(folded <= 20 * records, "{folded} records were taken up for a mission of {records} and six watchers");
}

/// The most that results held of the node's memory, in bytes.
async fn results_peak(node: &Node) -> u64 {
    let metrics = node.get("/metrics").await.expect_status(200).text;
    let line = metrics.lines().find_map(|line| line.strip_prefix("sortie_results_bytes_peak "));
    line.expect("it is told").parse().expect("a number")
}

#[tokio::test]
async fn results_of_all_missions_share_one_bound_and_none_is_lost() {
    const BOUND: u64 = 16 << 20;
    let mut node = Options::new().config("[limits]\nresults_mib = 16\n").start().await;
    let items: Vec<u32> = (0..24).collect();
    let steps = json!([
        write("w", "f.txt", &"x".repeat(900_000)),
        {"id": "r", "needs": ["w"], "tool": "Read", "with": {"path": "f.txt"}, "for_each": items, "concurrency": 24},
        {"id": "q", "needs": ["r"], "tool": "ask", "with": {"question": "A or B?"}},
        {"id": "e", "needs": ["q"], "tool": "Write", "with": {"path": "e.txt", "content": "{{ steps.r.results[23].bytes }} bytes"}},
    ]);
    let ids: Vec<String> = (0..4).map(|number| format!("reads-{number}")).collect();
    for id in &ids {
        node.accept(&automation(id, &steps)).await;
    }
    for id in &ids {
        node.until_status(id, "blocked").await;
    }
    let peak = results_peak(&node).await;
    assert!((BOUND / 4..=BOUND).contains(&peak), "{peak}");
    // What is gone over again is held to the same.
    node.kill();
    node.restart().await;
    for id in &ids {
        let answer = json!({"decision": "answer", "text": "A"});
        node.post(&format!("/v1/missions/{id}/requests/r1"), &answer).await.expect_status(200);
    }
    for id in &ids {
        let last = node.until_final(id).await;
        assert_eq!(last["status"], "completed", "{last:#}");
    }
    let peak = results_peak(&node).await;
    assert!((BOUND / 4..=BOUND).contains(&peak), "{peak}");
}
