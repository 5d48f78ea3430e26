//! The shapes that users have and a lone dispatch has not: large inputs, a VP of many sessions, receivers, watchers. Each beside
//! its small case, in turns.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sortie_tests::envelope::with;
use sortie_tests::{Node, Options, Receiver, Reply};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::client::{Load, completed, many_calls, metric, quiet_node, trivial, waiting};
use crate::report::{Report, Unit, middle};
use crate::sizes::Sizes;

/// Connections of these loads.
const CONNECTIONS: usize = 64;

/// Dispatches a second of two bodies, in turns, each to a node: the first is the small case.
pub(crate) async fn in_turns(sizes: &Sizes, small: (&Node, &Value), large: (&Node, &Value)) -> (f64, f64) {
    let mut measured = (Vec::new(), Vec::new());
    for _ in 0..sizes.rounds {
        for (list, (node, body)) in [(&mut measured.0, small), (&mut measured.1, large)] {
            let load = Load::lasting(body.to_string(), sizes.load / 3);
            list.push(load.run(node, CONNECTIONS).await.per_second());
        }
    }
    (middle(measured.0), middle(measured.1))
}

/// Inputs of 64 kB: how much more a dispatch costs with them.
pub(crate) async fn inputs(sizes: &Sizes, report: &Report) {
    let node = quiet_node().await;
    let large = with(waiting(), "/inputs/note", json!("x".repeat(sizes.input_bytes)));
    let (small, rate) = in_turns(sizes, (&node, &waiting()), (&node, &large)).await;
    report.beside(&format!("dispatches with inputs of {} bytes", sizes.input_bytes), rate, Unit::PerSecond, small);
}

/// A VP of many sessions: the one of a mission that names none is the newest of them.
pub(crate) async fn sessions(sizes: &Sizes, report: &Report) {
    let node = quiet_node().await;
    let of = |vp: &str| with(waiting(), "/vp_id", json!(vp));
    for (vp, count) in [("vp.few", 1), ("vp.many", sizes.sessions)] {
        let body = with(of(vp), "/vp_session_id", json!("session-{n}"));
        Load::count(body.to_string(), count).run(&node, CONNECTIONS).await;
    }
    let (small, rate) = in_turns(sizes, (&node, &of("vp.few")), (&node, &of("vp.many"))).await;
    report.beside(&format!("dispatches of a VP with {} sessions", sizes.sessions), rate, Unit::PerSecond, small);
}

/// A node whose missions have a receiver, and how they are called.
struct CalledBack {
    case: &'static str,
    node: Node,
    body: Value,
    /// Kept, because it answers.
    _receiver: Option<Receiver>,
    rates: Vec<f64>,
}

impl CalledBack {
    async fn new(case: &'static str, receiver: Option<Receiver>) -> Self {
        let config = receiver.as_ref().map(Receiver::config).unwrap_or_default();
        let config = format!("[node]\nmax_running = 64\n{config}");
        let node = Options::new().config(&config).env("RUST_LOG", "error").env("CALLBACK_TOKEN", "hush").start().await;
        let callback = receiver.as_ref().map(Receiver::callback);
        let body = callback.map_or_else(trivial, |callback| with(trivial(), "/callback", callback));
        Self { case, node, body, _receiver: receiver, rates: Vec::new() }
    }

    async fn round(&mut self, missions: u64) {
        let before = metric(&self.node, "sortie_missions_completed_total").await;
        let begun = Instant::now();
        Load::count(self.body.to_string(), missions).run(&self.node, CONNECTIONS).await;
        completed(&self.node, before + missions).await;
        self.rates.push(missions as f64 / begun.elapsed().as_secs_f64());
    }
}

/// How long the slow receiver takes for an event.
const SLOW: Duration = Duration::from_millis(500);

/// Missions with a receiver, however it is: what it costs to have one, and that a dead one holds nobody up.
pub(crate) async fn callbacks(sizes: &Sizes, report: &Report) {
    let mut cases = [
        CalledBack::new("without a receiver", None).await,
        CalledBack::new("to a fast receiver", Some(Receiver::start().await)).await,
        CalledBack::new("to a slow receiver", Some(Receiver::scripted(|_, _| Reply::After(SLOW)).await)).await,
        CalledBack::new("to a dead receiver", Some(Receiver::closed())).await,
    ];
    for _ in 0..sizes.rounds {
        for case in &mut cases {
            case.round(sizes.called_back).await;
        }
    }
    let small = middle(cases[0].rates.clone());
    for case in &cases[1..] {
        report.beside(&format!("missions {}", case.case), middle(case.rates.clone()), Unit::PerSecond, small);
    }
    let left = Instant::now();
    while metric(&cases[1].node, "sortie_missions_undelivered").await > 0 && left.elapsed() < Duration::from_secs(60) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    report.figure("until the fast receiver has the rest", left.elapsed().as_secs_f64() * 1_000.0, Unit::Ms);
}

/// Streams of events of a path, taken and thrown away.
async fn watch(node: &Node, path: &str, watchers: usize) -> Vec<JoinHandle<()>> {
    let mut tasks = Vec::new();
    for _ in 0..watchers {
        let address = node.url().trim_start_matches("http://").to_owned();
        let mut stream = TcpStream::connect(&address).await.expect("the node listens");
        let token = node.token();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nAccept: text/event-stream\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.expect("the node takes requests");
        tasks.push(tokio::spawn(async move {
            let mut sink = vec![0; 64 << 10];
            while stream.read(&mut sink).await.is_ok_and(|read| read > 0) {}
        }));
    }
    tasks
}

/// A mission of many calls, and many short ones, with and without watchers.
pub(crate) async fn watchers(sizes: &Sizes, report: &Report) {
    let (alone, watched) = (quiet_node().await, quiet_node().await);
    let mut took = [Vec::new(), Vec::new()];
    let mut rates = [Vec::new(), Vec::new()];
    for round in 0..sizes.rounds {
        for ((node, watchers), took) in [(&alone, 0), (&watched, sizes.watchers)].into_iter().zip(&mut took) {
            let id = format!("watched-{round}");
            // It waits a moment for its watchers.
            let mission = with(many_calls(&id, sizes.watched, false), "/heartbeat_interval_seconds", json!(5));
            node.post("/v1/node/pause", &Value::Null).await.expect_status(200);
            node.accept(&mission).await;
            let tasks = watch(node, &format!("/v1/missions/{id}/events"), watchers).await;
            let begun = Instant::now();
            node.post("/v1/node/resume", &Value::Null).await.expect_status(200);
            until_completed(node, &id).await;
            took.push(begun.elapsed().as_secs_f64() * 1_000.0);
            tasks.into_iter().for_each(|task| task.abort());
        }
        for ((node, watchers), rates) in [(&alone, 0), (&watched, sizes.watchers)].into_iter().zip(&mut rates) {
            let tasks = watch(node, "/v1/events", watchers).await;
            let before = metric(node, "sortie_missions_completed_total").await;
            let begun = Instant::now();
            Load::count(trivial().to_string(), sizes.called_back).run(node, CONNECTIONS).await;
            completed(node, before + sizes.called_back).await;
            rates.push(sizes.called_back as f64 / begun.elapsed().as_secs_f64());
            tasks.into_iter().for_each(|task| task.abort());
        }
    }
    let [small, large] = took.map(middle);
    let case = format!("a mission of {} calls with {} watchers", sizes.watched, sizes.watchers);
    report.beside(&case, large, Unit::Ms, small);
    let [small, large] = rates.map(middle);
    report.beside(&format!("missions with {} watchers of the node", sizes.watchers), large, Unit::PerSecond, small);
}

/// Waits for a mission's end, for as long as that takes.
async fn until_completed(node: &Node, id: &str) {
    loop {
        let status = node.mission(id).await["status"].as_str().unwrap_or_default().to_owned();
        if sortie_tests::node::is_final(&status) {
            assert_eq!(status, "completed", "{id}");
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
