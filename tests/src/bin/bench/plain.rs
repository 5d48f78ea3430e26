//! The shapes that stand by themselves: dispatches, missions, cancels, steps, replays, each with nothing else around it.

use std::time::{Duration, Instant};

use serde_json::json;
use sortie_tests::Options;

use crate::client::{Load, Outcome, completed, many_calls, ms_since, quiet_node, trivial, waiting};
use crate::report::{Report, Unit};
use crate::sizes::Sizes;

/// What the machine gives today: an axum server that echoes the same body, in a process with its load.
pub(crate) async fn floor(sizes: &Sizes, report: &Report) {
    let echo = axum::Router::new().route("/v1/missions", axum::routing::post(echo));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("it is bound").to_string();
    tokio::spawn(async move { axum::serve(listener, echo).await });
    for &connections in sizes.connections {
        let load = Load::lasting(waiting().to_string(), sizes.load / 2);
        let result = load.run_at(&address, "none", connections).await;
        report.figure(&format!("{connections} connections"), result.per_second(), Unit::PerSecond);
    }
}

async fn echo(body: bytes::Bytes) -> (axum::http::StatusCode, bytes::Bytes) {
    (axum::http::StatusCode::ACCEPTED, body)
}

/// Durable dispatches a second: nothing is executed, every answer comes after the commit.
pub(crate) async fn dispatches(sizes: &Sizes, report: &Report) {
    for &connections in sizes.connections {
        let node = quiet_node().await;
        let result = Load::lasting(waiting().to_string(), sizes.load).run(&node, connections).await;
        report.figure(&format!("{connections} connections"), result.per_second(), Unit::PerSecond);
        for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
            report.figure(&format!("{connections} connections, {name}"), result.percentile_ms(share), Unit::Ms);
        }
    }
}

/// Trivial missions a second: dispatched, run in the sandbox, ended, durable.
pub(crate) async fn missions(sizes: &Sizes, report: &Report) {
    let node = quiet_node().await;
    let begun = Instant::now();
    Load::count(trivial().to_string(), sizes.trivial).run(&node, 64).await;
    report.figure("dispatched after", ms_since(begun), Unit::Ms);
    completed(&node, sizes.trivial).await;
    report.figure("completed", sizes.trivial as f64 / begun.elapsed().as_secs_f64(), Unit::PerSecond);
}

/// From the cancel's request to its durable answer, of missions that run.
pub(crate) async fn cancels(sizes: &Sizes, report: &Report) {
    let node = quiet_node().await;
    let mut latencies = Vec::new();
    for number in 0..sizes.cancels {
        let id = format!("cancel-{number}");
        node.accept(&sortie_tests::looping(&id)).await;
        node.until_status(&id, "running").await;
        let begun = Instant::now();
        let _answer =
            node.post(&format!("/v1/missions/{id}/cancel"), &json!({"reason": "bench"})).await.expect_status(202);
        latencies.push(begun.elapsed());
    }
    let result = Outcome { latencies, elapsed: Duration::ZERO };
    for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
        report.figure(name, result.percentile_ms(share), Unit::Ms);
    }
}

/// Durable steps a second: calls that count as having an effect (and do next to nothing), each on disk before it is made,
/// one after the other within a mission.
pub(crate) async fn steps(sizes: &Sizes, report: &Report) {
    for (missions, each) in [(1_u64, sizes.steps_alone), (64, sizes.steps_each)] {
        let config = "[node]\nmax_running = 64\n[tool.Read]\neffects = [\"external_side_effect\"]";
        let node = Options::new().config(config).env("RUST_LOG", "warn").start().await;
        let begun = Instant::now();
        Load::count(many_calls("{n}", each, false).to_string(), missions).run(&node, 64).await;
        completed(&node, missions).await;
        let per_second = (missions * each) as f64 / begun.elapsed().as_secs_f64();
        report.figure(&format!("over {missions} missions"), per_second, Unit::PerSecond);
    }
}

/// How fast a mission that waited out of memory goes over its record.
pub(crate) async fn replays(sizes: &Sizes, report: &Report) {
    let node = quiet_node().await;
    node.accept(&many_calls("replayed", sizes.replayed, true)).await;
    node.until_status("replayed", "blocked").await;
    // Until it has left the memory.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let begun = Instant::now();
    let answer = json!({"decision": "answer", "text": "go on"});
    let _answer = node.post("/v1/missions/replayed/requests/r1", &answer).await.expect_status(200);
    completed(&node, 1).await;
    report.figure("recorded calls", sizes.replayed as f64 / begun.elapsed().as_secs_f64(), Unit::PerSecond);
}
