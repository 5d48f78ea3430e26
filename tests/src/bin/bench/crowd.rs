//! The shapes that users have and a lone dispatch has not: large inputs, a VP of many sessions, receivers, watchers. Each beside
//! its small case, in turns.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sortie_tests::envelope::with;
use sortie_tests::{Node, Options};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::client::{Load, completed, is_whole, many_calls, metric, quiet_node, trivial, waiting};
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

/// How the receiver of a mission's events is.
#[derive(Debug, Clone, Copy)]
enum Receiving {
    /// There is none.
    None,
    /// It takes each event after this long.
    After(Duration),
    /// It refuses connections.
    Dead,
}

/// Trivial missions a second, from dispatch to completion, on a node of its own: what an earlier round left to be delivered must
/// not be paid by a later one. The second figure is how long the receiver waited for the rest, where it is one that is quick.
async fn called_back(receiving: Receiving, missions: u64) -> (f64, Option<Duration>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket");
    let receiver = match receiving {
        Receiving::After(delay) => Some(tokio::spawn(receive(listener, delay))),
        Receiving::None | Receiving::Dead => {
            // Nobody listens there any more.
            drop(listener);
            None
        }
    };
    let config = format!(
        "[node]\nmax_running = 64\n[callback]\nallow_private = [\"127.0.0.1\"]\n\
         [[callback.secret]]\nref = \"env://CALLBACK_TOKEN\"\nhosts = [\"{address}\"]\n"
    );
    let node = Options::new().config(&config).env("RUST_LOG", "error").env("CALLBACK_TOKEN", "hush").start().await;
    let url = format!("http://{address}/events");
    let callback = json!({"status_url": url, "auth_mode": "bearer", "auth_ref": "env://CALLBACK_TOKEN"});
    let body = match receiving {
        Receiving::None => trivial(),
        Receiving::After(_) | Receiving::Dead => with(trivial(), "/callback", callback),
    };
    let begun = Instant::now();
    Load::count(body.to_string(), missions).run(&node, CONNECTIONS).await;
    completed(&node, missions).await;
    let rate = missions as f64 / begun.elapsed().as_secs_f64();
    let ended = Instant::now();
    let is_quick = matches!(receiving, Receiving::After(Duration::ZERO));
    while is_quick && metric(&node, "sortie_missions_undelivered").await > 0 {
        assert!(ended.elapsed() < REST_MAX, "a receiver that takes everything does not get everything");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    if let Some(receiver) = receiver {
        receiver.abort();
    }
    (rate, is_quick.then(|| ended.elapsed()))
}

/// A receiver that costs as little as one can: it looks for the end of each request, and answers.
async fn receive(listener: TcpListener, delay: Duration) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((mut stream, _)) = listener.accept().await {
        connections.spawn(async move {
            let (mut request, mut filled) = (vec![0; 64 << 10], 0);
            while let Ok(read @ 1..) = stream.read(&mut request[filled..]).await {
                filled += read;
                if !is_whole(&request[..filled]) {
                    continue;
                }
                filled = 0;
                if !delay.is_zero() {
                    tokio::time::sleep(delay).await;
                }
                if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.is_err() {
                    return;
                }
            }
        });
    }
}

/// How long a fast receiver may wait for what is left once its missions are done.
const REST_MAX: Duration = Duration::from_secs(60);

/// How long the slow receiver takes for an event.
const SLOW: Duration = Duration::from_millis(500);

/// Missions with a receiver, however it is: what it costs to have one, and that a dead one holds nobody up.
pub(crate) async fn callbacks(sizes: &Sizes, report: &Report) {
    let cases =
        [("fast", Receiving::After(Duration::ZERO)), ("slow", Receiving::After(SLOW)), ("dead", Receiving::Dead)];
    for (case, receiving) in cases {
        let (mut small, mut rates, mut rests) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..sizes.rounds {
            small.push(called_back(Receiving::None, sizes.called_back).await.0);
            let (rate, rest) = called_back(receiving, sizes.called_back).await;
            rates.push(rate);
            rests.extend(rest.map(|rest| rest.as_secs_f64() * 1_000.0));
        }
        let what = format!("missions to a {case} receiver");
        report.beside(&what, middle(rates), Unit::PerSecond, middle(small));
        if !rests.is_empty() {
            report.figure("until the fast receiver has the rest", middle(rests), Unit::Ms);
        }
    }
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
            Load::count(trivial().to_string(), sizes.watched_short).run(node, CONNECTIONS).await;
            completed(node, before + sizes.watched_short).await;
            rates.push(sizes.watched_short as f64 / begun.elapsed().as_secs_f64());
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
