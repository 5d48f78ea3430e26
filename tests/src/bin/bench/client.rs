//! The load: a client as thin as it can be (prepared bytes, one write and one read a request), so that it measures something
//! else; and the envelopes that it sends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sortie_tests::envelope::{self, in_ms};
use sortie_tests::{Node, Options};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Dispatches in a closed loop; `{n}` in the body is replaced by a name that no other dispatch of this process has.
pub(crate) struct Load {
    path: &'static str,
    pub(crate) body: String,
    pub(crate) until: Instant,
    pub(crate) count: u64,
}

/// Where missions are dispatched.
const DISPATCHES: &str = "/v1/missions";

/// What a load saw.
pub(crate) struct Outcome {
    pub(crate) latencies: Vec<Duration>,
    pub(crate) elapsed: Duration,
}

impl Outcome {
    pub(crate) fn per_second(&self) -> f64 {
        self.latencies.len() as f64 / self.elapsed.as_secs_f64()
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index into the list")]
    pub(crate) fn percentile_ms(&self, share: f64) -> f64 {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        sorted.get((sorted.len() as f64 * share) as usize).copied().unwrap_or_default().as_secs_f64() * 1_000.0
    }
}

/// The next name: one after the other through all loads of this process.
static NAMES: AtomicU64 = AtomicU64::new(0);

impl Load {
    /// So many of a body.
    pub(crate) fn count(body: String, count: u64) -> Self {
        Self { path: DISPATCHES, body, until: far(), count }
    }

    /// As many of a body as there is time for.
    pub(crate) fn lasting(body: String, time: Duration) -> Self {
        Self { path: DISPATCHES, body, until: Instant::now() + time, count: u64::MAX }
    }

    /// The same, to another path.
    pub(crate) fn at(self, path: &'static str) -> Self {
        Self { path, ..self }
    }

    pub(crate) async fn run(self, node: &Node, connections: usize) -> Outcome {
        self.run_at(node.url().trim_start_matches("http://"), node.token(), connections).await
    }

    pub(crate) async fn run_at(self, address: &str, token: &str, connections: usize) -> Outcome {
        let numbers = Arc::new(AtomicU64::new(0));
        let begun = Instant::now();
        let loops: Vec<_> = (0..connections)
            .map(|_| {
                let (numbers, address, token) = (numbers.clone(), address.to_owned(), token.to_owned());
                let (path, body, until, count) = (self.path, self.body.clone(), self.until, self.count);
                tokio::spawn(async move {
                    let mut connection = Connection::open(&address, &token, path).await;
                    let mut latencies = Vec::new();
                    loop {
                        let number = numbers.fetch_add(1, Ordering::Relaxed);
                        if number >= count || Instant::now() >= until {
                            return latencies;
                        }
                        let name = format!("m{}", NAMES.fetch_add(1, Ordering::Relaxed));
                        let sent = Instant::now();
                        connection.post(&body.replace("{n}", &name)).await;
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
    async fn open(address: &str, token: &str, path: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("the node listens");
        stream.set_nodelay(true).expect("a TCP stream");
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: "
        );
        Self { stream, head, answer: vec![0; 256 << 10] }
    }

    /// Sends a body and reads the answer, which must say that something was made: `201`, or `202` of a mission.
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
        let is_made = answer.starts_with(b"HTTP/1.1 202") || answer.starts_with(b"HTTP/1.1 201");
        assert!(is_made, "{}", String::from_utf8_lossy(answer));
    }
}

/// Whether a message with a `content-length` is all there.
pub(crate) fn is_whole(answer: &[u8]) -> bool {
    let Some(head) = answer.windows(4).position(|part| part == b"\r\n\r\n") else { return false };
    let lines = String::from_utf8_lossy(&answer[..head]).to_ascii_lowercase();
    let length =
        lines.lines().find_map(|line| line.strip_prefix("content-length: ")).and_then(|text| text.parse().ok());
    answer.len() >= head + 4 + length.unwrap_or(0_usize)
}

/// Long enough for every load that is counted.
pub(crate) fn far() -> Instant {
    Instant::now() + Duration::from_secs(600)
}

/// A node that does not log each request.
pub(crate) async fn quiet_node() -> Node {
    Options::new().config("[node]\nmax_running = 64").env("RUST_LOG", "warn").start().await
}

/// A mission whose window opens tomorrow.
pub(crate) fn waiting() -> Value {
    envelope::with(envelope::writing("{n}"), "/autonomy_window/start_at", json!(in_ms(86_400_000)))
}

/// The mission that does the least: the plugin `hello`, a session each.
pub(crate) fn trivial() -> Value {
    let envelope = envelope::without(envelope::writing("{n}"), "inputs");
    let envelope = envelope::with(envelope, "/mission_type", json!("custom"));
    envelope::with(envelope, "/plugin", json!("hello"))
}

/// A mission that asks something.
pub(crate) fn asking() -> Value {
    sortie_tests::automation("{n}", &json!([{"id": "q", "tool": "ask", "with": {"question": "And now?"}}]))
}

/// Most items that one step is given.
const ITEMS: u64 = 20_000;

/// A mission that makes so many calls one after the other, and asks at the end if it should.
pub(crate) fn many_calls(id: &str, calls: u64, asks: bool) -> Value {
    let (mut steps, mut last) = (vec![envelope::write("w", "a.txt", "a")], "w".to_owned());
    for begin in (0..calls).step_by(usize::try_from(ITEMS).expect("it is small")) {
        let items: Vec<u64> = (begin..calls.min(begin + ITEMS)).collect();
        let step = format!("s{begin}");
        steps.push(json!({
            "id": step, "tool": "Read", "with": {"path": "a.txt"}, "needs": [last], "for_each": items, "concurrency": 1,
        }));
        last = step;
    }
    if asks {
        steps.push(json!({"id": "q", "tool": "ask", "with": {"question": "Go on?"}, "needs": [last]}));
    }
    sortie_tests::automation(id, &json!(steps))
}

/// A figure of `/metrics`; 0 where there is none of the name.
pub(crate) async fn metric(node: &Node, name: &str) -> u64 {
    let text = node.get("/metrics").await.text;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or(0)
}

/// Waits until so many missions of a node are completed.
pub(crate) async fn completed(node: &Node, missions: u64) {
    while metric(node, "sortie_missions_completed_total").await < missions {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Memory in MiB.
pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Milliseconds since then.
pub(crate) fn ms_since(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1_000.0
}
