//! `cargo xtask bench [NAME…]`: the figures of `docs/BENCHMARKS.md`, measured from outside on a release build.
//!
//! The load comes from this process, on the same cores as the node: the figures are of the machine, not of the node alone.
//! The client is as thin as it can be (prepared bytes, one write and one read a request), so that it measures something else.

#![expect(clippy::print_stdout, reason = "figures are this program's data")]
#![expect(clippy::disallowed_methods, reason = "measuring is what it does")]
#![expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use sortie_tests::envelope::in_ms;
use sortie_tests::{Node, Options};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long each load lasts: long enough for the disk's mood to average out.
const LOAD: Duration = Duration::from_secs(5);

/// Connections under load, as in the aims.
const CONNECTIONS: [usize; 4] = [1, 16, 64, 256];

/// Missions that wait while memory and restart are measured.
const QUEUED: u64 = 100_000;

/// Trivial missions that are run to their end.
const TRIVIAL: u64 = 20_000;

/// Cancels that are measured.
const CANCELS: u32 = 50;

#[tokio::main]
async fn main() {
    let named: Vec<String> = std::env::args().skip(1).collect();
    let wanted = |name: &str| named.is_empty() || named.iter().any(|wanted| wanted == name);
    if wanted("floor") || wanted("dispatch") {
        floor().await;
    }
    if wanted("dispatch") {
        dispatches().await;
    }
    if wanted("missions") {
        missions().await;
    }
    if wanted("cancel") {
        cancels().await;
    }
    if wanted("queued") {
        queued().await;
    }
    if wanted("steps") {
        steps().await;
    }
    if wanted("replay") {
        replays().await;
    }
    if wanted("blocked") {
        blocked().await;
    }
}

/// What the machine gives today: an axum server that echoes the same body, in a process with its load.
async fn floor() {
    let echo = axum::Router::new().route("/v1/missions", axum::routing::post(echo));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("it is bound").to_string();
    tokio::spawn(async move { axum::serve(listener, echo).await });
    println!("bare axum echo              per second");
    for connections in CONNECTIONS {
        let load = Load { body: waiting_envelope(), until: Instant::now() + LOAD / 2, count: u64::MAX };
        let result = load.run_at(&address, "none", connections).await;
        println!("  {connections:>4} connections          {:>10.0}", result.per_second());
    }
}

async fn echo(body: bytes::Bytes) -> (axum::http::StatusCode, bytes::Bytes) {
    (axum::http::StatusCode::ACCEPTED, body)
}

/// Durable dispatches a second: nothing is executed, every answer comes after the commit.
async fn dispatches() {
    println!("durable dispatches          per second      p50 ms      p99 ms");
    for connections in CONNECTIONS {
        let node = quiet_node().await;
        let load = Load { body: waiting_envelope(), until: Instant::now() + LOAD, count: u64::MAX };
        let result = load.run(&node, connections).await;
        let [p50, p99] = [0.5, 0.99].map(|share| result.percentile(share).as_secs_f64() * 1_000.0);
        println!("  {connections:>4} connections          {:>10.0}  {p50:>10.2}  {p99:>10.2}", result.per_second());
    }
}

/// Trivial missions a second: dispatched, run in the sandbox, ended, durable.
async fn missions() {
    let node = quiet_node().await;
    let load = Load { body: trivial_envelope(), until: far(), count: TRIVIAL };
    let begun = Instant::now();
    load.run(&node, 64).await;
    let dispatched = begun.elapsed();
    completed(&node, TRIVIAL).await;
    let per_second = TRIVIAL as f64 / begun.elapsed().as_secs_f64();
    println!(
        "trivial missions completed  {per_second:>10.0} per second ({TRIVIAL}, 64 connections; dispatched after {dispatched:.1?})"
    );
}

/// From the cancel's request to its durable answer, of missions that run.
async fn cancels() {
    let node = quiet_node().await;
    let mut took = Vec::new();
    for number in 0..CANCELS {
        let id = format!("cancel-{number}");
        node.accept(&sortie_tests::looping(&id)).await;
        node.until_status(&id, "running").await;
        let begun = Instant::now();
        let _answer =
            node.post(&format!("/v1/missions/{id}/cancel"), &json!({"reason": "bench"})).await.expect_status(202);
        took.push(begun.elapsed());
    }
    let result = Outcome { latencies: took, elapsed: LOAD };
    println!("cancel of a running mission p50 {:.2?}, p99 {:.2?}", result.percentile(0.5), result.percentile(0.99));
}

/// Memory with many queued missions, and the restart with them after a kill.
async fn queued() {
    let mut node = quiet_node().await;
    let idle = node.resident_bytes();
    let load = Load { body: waiting_envelope(), until: far(), count: QUEUED };
    load.run(&node, 64).await;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "resident memory             idle {:.0} MiB, with {QUEUED} queued {:.0} MiB",
        mib(idle),
        mib(node.resident_bytes())
    );
    node.kill();
    let begun = Instant::now();
    node.restart().await;
    println!(
        "kill -9 to ready            {:.2?}, then resident {:.0} MiB",
        begun.elapsed(),
        mib(node.resident_bytes())
    );
    assert_eq!(metric(&node, "sortie_missions_queued").await, QUEUED, "none was lost");
}

/// Durable steps a second: calls that count as having an effect (and do next to nothing), each on disk before it is made,
/// one after the other within a mission.
async fn steps() {
    println!("durable steps               per second");
    for missions in [1_u64, 64] {
        let config = "[node]\nmax_running = 64\n[tool.Read]\neffects = [\"external_side_effect\"]";
        let node = Options::new().config(config).env("RUST_LOG", "warn").start().await;
        let each = if missions == 1 { 2_000 } else { 400 };
        let load = Load { body: many_calls(each, false), until: far(), count: missions };
        let begun = Instant::now();
        load.run(&node, 64).await;
        completed(&node, missions).await;
        let per_second = (missions * each) as f64 / begun.elapsed().as_secs_f64();
        println!("  over {missions:>2} missions          {per_second:>10.0}");
    }
}

/// How fast a mission that waited out of memory goes over its record.
async fn replays() {
    let node = quiet_node().await;
    let calls = 20_000;
    Load { body: many_calls(calls, true), until: far(), count: 1 }.run(&node, 1).await;
    node.until_status("m0", "blocked").await;
    // Until it has left the memory.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let begun = Instant::now();
    let answer = json!({"decision": "answer", "text": "go on"});
    let _answer = node.post("/v1/missions/m0/requests/r1", &answer).await.expect_status(200);
    completed(&node, 1).await;
    let took = begun.elapsed();
    println!(
        "replay                      {:>10.0} recorded calls a second ({calls} in {took:.2?})",
        calls as f64 / took.as_secs_f64()
    );
}

/// Memory with many missions that wait for an answer, and the restart with them and many more on their way.
async fn blocked() {
    let mut node = Options::new().config("[node]\nmax_running = 256").env("RUST_LOG", "warn").start().await;
    let idle = node.resident_bytes();
    let question = json!([{"id": "q", "tool": "ask", "with": {"question": "And now?"}}]);
    let body = sortie_tests::automation("{n}", &question).to_string();
    Load { body, until: far(), count: QUEUED }.run(&node, 64).await;
    let mut waited = 0;
    while metric(&node, "sortie_missions_suspended").await < QUEUED && waited < 600 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        waited += 1;
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "resident memory             idle {:.0} MiB, with {QUEUED} blocked {:.0} MiB",
        mib(idle),
        mib(node.resident_bytes())
    );
    let going = 10_000;
    let body = sortie_tests::looping("going-{n}").to_string();
    Load { body, until: far(), count: going }.run(&node, 64).await;
    node.kill();
    let begun = Instant::now();
    node.restart().await;
    println!("kill -9 to ready            {:.2?}, with {QUEUED} blocked and {going} on their way", begun.elapsed());
}

/// A mission that makes so many calls one after the other, and asks at the end if it should.
fn many_calls(calls: u64, asks: bool) -> String {
    let items: Vec<u64> = (0..calls).collect();
    let read = json!({
        "id": "s", "tool": "Read", "with": {"path": "a.txt"}, "needs": ["w"], "for_each": items, "concurrency": 1,
    });
    let mut steps = vec![sortie_tests::envelope::write("w", "a.txt", "a"), read];
    if asks {
        steps.push(json!({"id": "q", "tool": "ask", "with": {"question": "Go on?"}, "needs": ["s"]}));
    }
    sortie_tests::automation("{n}", &json!(steps)).to_string()
}

async fn completed(node: &Node, missions: u64) {
    while metric(node, "sortie_missions_completed_total").await < missions {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Long enough for every load that is counted.
fn far() -> Instant {
    Instant::now() + Duration::from_secs(600)
}

/// A node that does not log each request.
async fn quiet_node() -> Node {
    Options::new().config("[node]\nmax_running = 64").env("RUST_LOG", "warn").start().await
}

/// A mission whose window opens tomorrow; `{n}` is its number.
fn waiting_envelope() -> String {
    let envelope = sortie_tests::envelope::writing("{n}");
    sortie_tests::envelope::with(envelope, "/autonomy_window/start_at", json!(in_ms(86_400_000))).to_string()
}

/// The mission that does the least: the plugin `hello`, a session each.
fn trivial_envelope() -> String {
    let envelope = sortie_tests::envelope::writing("{n}");
    let envelope = sortie_tests::envelope::without(envelope, "inputs");
    let envelope = sortie_tests::envelope::with(envelope, "/mission_type", json!("custom"));
    sortie_tests::envelope::with(envelope, "/plugin", json!("hello")).to_string()
}

async fn metric(node: &Node, name: &str) -> u64 {
    let text = node.get("/metrics").await.text;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or(0)
}

/// Dispatches in a closed loop.
struct Load {
    body: String,
    until: Instant,
    count: u64,
}

/// What a load saw.
struct Outcome {
    latencies: Vec<Duration>,
    elapsed: Duration,
}

impl Outcome {
    fn per_second(&self) -> f64 {
        self.latencies.len() as f64 / self.elapsed.as_secs_f64()
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index into the list")]
    fn percentile(&self, share: f64) -> Duration {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        sorted.get((sorted.len() as f64 * share) as usize).copied().unwrap_or_default()
    }
}

impl Load {
    async fn run(self, node: &Node, connections: usize) -> Outcome {
        self.run_at(node.url().trim_start_matches("http://"), node.token(), connections).await
    }

    async fn run_at(self, address: &str, token: &str, connections: usize) -> Outcome {
        let numbers = Arc::new(AtomicU64::new(0));
        let begun = Instant::now();
        let loops: Vec<_> = (0..connections)
            .map(|_| {
                let (numbers, address, token) = (numbers.clone(), address.to_owned(), token.to_owned());
                let (body, until, count) = (self.body.clone(), self.until, self.count);
                tokio::spawn(async move {
                    let mut connection = Connection::open(&address, &token).await;
                    let mut latencies = Vec::new();
                    loop {
                        let number = numbers.fetch_add(1, Ordering::Relaxed);
                        if number >= count || Instant::now() >= until {
                            return latencies;
                        }
                        let sent = Instant::now();
                        connection.post(&body.replace("{n}", &format!("m{number}"))).await;
                        latencies.push(sent.elapsed());
                    }
                })
            })
            .collect();
        let mut latencies = Vec::new();
        for task in loops {
            latencies.extend(task.await.expect("a load does not panic"));
        }
        Outcome { latencies, elapsed: begun.elapsed() }
    }
}

/// A connection that is kept and does one request after the other.
struct Connection {
    stream: TcpStream,
    head: String,
    answer: Vec<u8>,
}

impl Connection {
    async fn open(address: &str, token: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("the node listens");
        stream.set_nodelay(true).expect("a TCP stream");
        let head = format!(
            "POST /v1/missions HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: "
        );
        Self { stream, head, answer: vec![0; 64 << 10] }
    }

    /// Sends a body and reads the answer, which must be a `202`.
    async fn post(&mut self, body: &str) {
        let request = format!("{}{}\r\n\r\n{body}", self.head, body.len());
        self.stream.write_all(request.as_bytes()).await.expect("the node takes requests");
        let mut filled = 0;
        loop {
            let read = self.stream.read(&mut self.answer[filled..]).await.expect("the node answers");
            assert!(read > 0, "the node closed the connection");
            filled += read;
            if is_whole(&self.answer[..filled]) {
                break;
            }
        }
        let answer = &self.answer[..filled];
        assert!(answer.starts_with(b"HTTP/1.1 202"), "{}", String::from_utf8_lossy(answer));
    }
}

/// Whether an answer with a `content-length` is all there.
fn is_whole(answer: &[u8]) -> bool {
    let Some(head) = answer.windows(4).position(|part| part == b"\r\n\r\n") else { return false };
    let lines = String::from_utf8_lossy(&answer[..head]).to_ascii_lowercase();
    let length =
        lines.lines().find_map(|line| line.strip_prefix("content-length: ")).and_then(|text| text.parse().ok());
    answer.len() >= head + 4 + length.unwrap_or(0_usize)
}
