//! Clients that hold what a node has only so much of: connections, memory, attention.

use std::time::Duration;

use serde_json::Value;
use sortie_tests::envelope::writing;
use sortie_tests::{Node, Options, http};
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
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
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
