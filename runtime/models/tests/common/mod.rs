//! What the tests of models have in common: clocks that are moved by hand, and a provider on a local socket that does as it is told.

#![allow(dead_code, reason = "each test uses its part")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};
use sortie_ambient::{Abort, Ambient, BoxFuture, Surroundings};
use sortie_contract::Timestamp;
use sortie_contract::tool::{ToolInfo, ToolName};
use sortie_models::{Ask, Configured, ModelsConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// The key of the tests' models. Nobody but the provider may ever see it.
pub(crate) const KEY: &str = "sk-planted/secret-\"0123456789";

/// A wait that is longer is a time limit of the tests' models; a shorter one is a pause between attempts.
const PAUSE_MAX: Duration = Duration::from_secs(120);

/// A clock that moves when somebody waits: pauses pass at once, and are written down. Time limits never pass.
#[derive(Debug, Default)]
pub(crate) struct Swift {
    passed_ms: AtomicU64,
    pub(crate) pauses: Mutex<Vec<Duration>>,
}

impl Ambient for Swift {
    fn wall(&self) -> Timestamp {
        "2026-11-22T08:00:00Z".parse::<Timestamp>().unwrap() + self.steady()
    }

    fn steady(&self) -> Duration {
        Duration::from_millis(self.passed_ms.load(Ordering::Relaxed))
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        if duration > PAUSE_MAX {
            return std::future::pending().boxed();
        }
        self.passed_ms.fetch_add(duration.as_millis().try_into().unwrap(), Ordering::Relaxed);
        self.pauses.lock().push(duration);
        std::future::ready(()).boxed()
    }

    fn spawn_boxed(&self, _: BoxFuture<'static, ()>) -> Abort {
        panic!("models spawn nothing")
    }

    fn unblock_boxed(&self, work: Box<dyn FnOnce() + Send>) {
        work();
    }

    fn pause(&self, _: Duration) {
        panic!("models block nothing")
    }

    fn chance(&self) -> f64 {
        0.5
    }
}

/// tokio's clock, which jumps ahead when everybody waits: for scripts, which wait by themselves.
#[derive(Debug)]
pub(crate) struct Paused(tokio::time::Instant);

impl Paused {
    pub(crate) fn clock() -> Surroundings {
        Arc::new(Self(tokio::time::Instant::now()))
    }
}

impl Ambient for Paused {
    fn wall(&self) -> Timestamp {
        "2026-11-22T08:00:00Z".parse::<Timestamp>().unwrap() + self.steady()
    }

    fn steady(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        tokio::time::sleep(duration).boxed()
    }

    fn spawn_boxed(&self, _: BoxFuture<'static, ()>) -> Abort {
        panic!("models spawn nothing")
    }

    fn unblock_boxed(&self, work: Box<dyn FnOnce() + Send>) {
        work();
    }

    fn pause(&self, _: Duration) {
        panic!("models block nothing")
    }

    fn chance(&self) -> f64 {
        0.5
    }
}

#[derive(Deserialize)]
struct File {
    model: ModelsConfig,
}

/// The models of a configuration.
pub(crate) fn models(text: &str, folder: &Path, ambient: Surroundings) -> Configured {
    let file: File = toml::from_str(text).unwrap();
    Configured::new(&file.model, folder, ambient).unwrap()
}

/// A scripted model, with or without more to its table.
pub(crate) fn scripted(script: &Value, more: &str, ambient: Surroundings) -> Configured {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("script.json"), script.to_string()).unwrap();
    let text = format!(
        "[model.m]\nprotocol = \"scripted\"\nfile = \"script.json\"\nprice_usd_per_mtok = {{ input = 1000, output = 2000 }}\n{more}\n"
    );
    models(&text, folder.path(), ambient)
}

/// A call, of the mission `m-1`.
pub(crate) fn ask(request: &str) -> Ask<'_> {
    Ask { request, tools: &[], mission_id: "m-1", idempotency_key: "m-1/7", traceparent: None }
}

/// A request of one message.
pub(crate) fn say(text: &str) -> String {
    json!({ "messages": [{ "role": "user", "content": text }] }).to_string()
}

pub(crate) fn tool(name: &str) -> ToolInfo {
    ToolInfo { description: "Does it.".to_owned(), ..ToolInfo::undeclared(ToolName::new(name)) }
}

/// What the provider does with a request.
#[derive(Debug, Clone)]
pub(crate) enum Does {
    /// Answers: status and headers, body.
    Answers(String, String),
    /// Answers with more than it announced, or less, and closes.
    Sends(String),
    /// The same, of bytes that are no text.
    Spits(&'static [u8]),
    /// Closes without a byte.
    Closes,
    /// Says nothing, and keeps the connection.
    Hangs,
    /// Answers without end.
    Floods,
}

pub(crate) fn ok(body: &Value) -> Does {
    Does::Answers("200 OK".to_owned(), body.to_string())
}

pub(crate) fn refuses(status: u16, headers: &str, body: &str) -> Does {
    let headers = headers.replace('\n', "\r\n");
    let headers = if headers.is_empty() { headers } else { format!("\r\n{headers}") };
    Does::Answers(format!("{status} Whatever{headers}"), body.to_owned())
}

/// A provider on a local socket, that does one thing after the other, and nothing any more after the last.
pub(crate) struct Provider {
    pub(crate) port: u16,
    /// Each request as it came: head and body.
    pub(crate) requests: Arc<Mutex<Vec<String>>>,
    /// Told when who asked closes its connection while it is still answered.
    pub(crate) left: Arc<Notify>,
}

impl Provider {
    pub(crate) async fn start(does: Vec<Does>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (requests, left) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<Notify>::default());
        let does = Arc::new(Mutex::new(does.into_iter().rev().collect::<Vec<_>>()));
        let (seen, gone) = (Arc::clone(&requests), Arc::clone(&left));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, Arc::clone(&does), Arc::clone(&seen), Arc::clone(&gone)));
            }
        });
        Self { port, requests, left }
    }

    /// The bodies of the requests that came.
    pub(crate) fn bodies(&self) -> Vec<Value> {
        let body = |request: &String| serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap();
        self.requests.lock().iter().map(body).collect()
    }

    /// The head of a request.
    pub(crate) fn head(&self, index: usize) -> String {
        self.requests.lock()[index].split_once("\r\n\r\n").unwrap().0.to_owned()
    }
}

async fn serve(mut stream: TcpStream, does: Arc<Mutex<Vec<Does>>>, seen: Arc<Mutex<Vec<String>>>, gone: Arc<Notify>) {
    while let Some(request) = read_request(&mut stream).await {
        seen.lock().push(request);
        let next = does.lock().pop();
        match next {
            Some(Does::Answers(head, body)) => {
                let answer = format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
            Some(Does::Sends(raw)) => {
                let _ = stream.write_all(raw.as_bytes()).await;
                return;
            }
            Some(Does::Spits(raw)) => {
                let _ = stream.write_all(raw).await;
                return;
            }
            Some(Does::Closes) => return,
            Some(Does::Floods) => {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n{\"choices\": \"").await;
                let chunk = vec![b'x'; 1 << 16];
                while stream.write_all(&chunk).await.is_ok() {}
                gone.notify_one();
                return;
            }
            Some(Does::Hangs) | None => {
                // Until who asked is gone.
                let _ = stream.read(&mut [0]).await;
                gone.notify_one();
                return;
            }
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        if let Some(head) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
            let length =
                text.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
            if bytes.len() >= head + 4 + length {
                return Some(String::from_utf8_lossy(&bytes).into_owned());
            }
        }
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return None;
        }
    }
}

/// A model of that protocol at the provider, with the key.
pub(crate) fn at(provider: &Provider, protocol: &str, more: &str, ambient: Surroundings) -> Configured {
    let folder = tempfile::tempdir().unwrap().keep();
    std::fs::write(folder.join("key"), format!("{KEY}\n")).unwrap();
    let text = format!(
        "[model.m]\nprotocol = \"{protocol}\"\nmodel = \"big\"\nbase_url = \"http://127.0.0.1:{}/base/\"\nallow_private = [\"127.0.0.1\"]\n\
         key = \"file://{}\"\nprice_usd_per_mtok = {{ input = 3, output = 15, cached_input = 0.3 }}\nmax_output_tokens = 100\n{more}\n",
        provider.port,
        folder.join("key").display(),
    );
    models(&text, &folder, ambient)
}

/// A good answer of chat completions.
pub(crate) fn chat(text: &str, usage: &Value) -> Value {
    json!({ "choices": [{ "message": { "role": "assistant", "content": text }, "finish_reason": "stop" }], "usage": usage })
}
