//! Pages of the dashboard: a page costs what it shows, however many missions there are, and who looks on costs next to nothing.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use sortie_tests::envelope::with;
use sortie_tests::{Answer, Node, Options, Receiver, http};
use tokio::task::JoinHandle;

use crate::client::{Load, ms_since, waiting};
use crate::report::{Report, Unit, middle};
use crate::sizes::Sizes;

/// How often each page is asked for, in turns.
const TIMES: usize = 15;
/// People who look on.
const WATCHERS: usize = 10;
/// How often an open page looks again, at most.
const THROTTLE: Duration = Duration::from_secs(1);

/// Each page that lists something, of many missions beside few: each in a session of its own, its first event on its way to a receiver
/// that is dead.
pub(crate) async fn pages(sizes: &Sizes, report: &Report) {
    let receiver = Receiver::closed();
    let body = with(waiting(), "/callback", receiver.callback()).to_string();
    let filled = async |missions: u64| {
        let options = Options::new().config(&receiver.config()).env("RUST_LOG", "error").env("CALLBACK_TOKEN", "hush");
        let node = options.start().await;
        Load::count(body.clone(), missions).run(&node, 64).await;
        let viewer = Viewer::of(&node).await;
        (node, viewer)
    };
    let ((_small, few), (large, many)) = (filled(sizes.listed_small).await, filled(sizes.listed).await);
    for path in
        ["/", "/inbox", "/missions", "/missions?status=queued", "/sessions", "/deliveries", "/schedules", "/node"]
    {
        let (mut took, mut bytes) = ([Vec::new(), Vec::new()], 0);
        for _ in 0..TIMES {
            for (viewer, took) in [&few, &many].into_iter().zip(&mut took) {
                let begun = Instant::now();
                let page = viewer.get(path).await.expect_status(200);
                took.push(ms_since(begun));
                bytes = page.text.len();
            }
        }
        let [small, large] = took.map(middle);
        report.beside(&format!("{path} of {} missions", sizes.listed), large, Unit::Ms, small);
        report.figure(&format!("{path} of {} missions, its size", sizes.listed), bytes as f64 / 1_024.0, Unit::KiB);
    }
    let alone = busy(&large, &body, sizes).await;
    let mut watchers: Vec<JoinHandle<()>> = Vec::new();
    for _ in 0..WATCHERS {
        // Each in a session of its own: one has two pages that listen.
        watchers.push(tokio::spawn(Viewer::of(&large).await.watch("/")));
    }
    let watched = busy(&large, &body, sizes).await;
    watchers.into_iter().for_each(|task| task.abort());
    report.beside(&format!("processor time a second with {WATCHERS} who look at the night"), watched, Unit::Ms, alone);
}

/// Milliseconds of processor time a second that a node takes while missions come, some in each second.
async fn busy(node: &Node, body: &str, sizes: &Sizes) -> f64 {
    let (begun, before) = (Instant::now(), node.processor_time());
    while begun.elapsed() < sizes.load {
        Load::count(body.to_owned(), 1).run(node, 1).await;
        tokio::time::sleep(sizes.load / 20).await;
    }
    let spent = node.processor_time().saturating_sub(before);
    // It is counted in steps of ten.
    (spent.as_secs_f64() * 1_000.0).max(1.0) / begun.elapsed().as_secs_f64()
}

/// Somebody who is signed in.
pub(crate) struct Viewer {
    url: String,
    cookie: String,
}

impl Viewer {
    pub(crate) async fn of(node: &Node) -> Self {
        let form = http::client().post(format!("{}/signin", node.url())).body(format!("token={}", node.token()));
        let form = form.header("content-type", "application/x-www-form-urlencoded").header("origin", node.url());
        let answer = http::send(form).await.expect("an answer").expect_status(303);
        let cookie = answer.header("set-cookie").split(';').next().expect("a cookie").to_owned();
        Self { url: node.url().to_owned(), cookie }
    }

    fn request(&self, path: &str) -> reqwest::RequestBuilder {
        http::client().get(format!("{}{path}", self.url)).header("cookie", &self.cookie)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        http::send(self.request(path)).await.expect("an answer")
    }

    /// What an open page does: it listens, and fetches itself anew when something has happened.
    async fn watch(self, path: &'static str) {
        loop {
            let Ok(told) = self.request("/live").send().await else { return };
            let mut told = told.bytes_stream();
            let mut last = Instant::now();
            while let Some(Ok(frame)) = told.next().await {
                if frame.starts_with(b"event: change") && last.elapsed() >= THROTTLE {
                    last = Instant::now();
                    let part = http::send(self.request(path).header("hx-request", "true")).await;
                    part.expect("an answer").expect_status(200);
                }
            }
        }
    }
}
