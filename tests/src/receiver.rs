//! A receiver of callbacks that answers as a test wants: late, wrongly, not at all, twice.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::Value;
use tokio::net::TcpSocket;

use crate::until;

/// A request that a receiver got.
#[derive(Debug, Clone)]
pub struct Received {
    /// When.
    pub at: Instant,
    /// From where.
    pub from: SocketAddr,
    /// Its method.
    pub method: String,
    /// Its path.
    pub path: String,
    /// What is behind the `?`, as it came.
    pub query: String,
    /// Its headers, by lower-case name.
    pub headers: BTreeMap<String, String>,
    /// Its body.
    pub bytes: Bytes,
    /// Its body where it is JSON, else null.
    pub json: Value,
}

impl Received {
    /// A header, or nothing.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The event's sequence, where it is an event.
    #[must_use]
    pub fn sequence(&self) -> Option<u64> {
        self.json["sequence"].as_u64()
    }

    /// The mission that it is about.
    #[must_use]
    pub fn mission(&self) -> &str {
        self.header("x-mission-id")
    }
}

/// How a receiver answers.
#[derive(Debug, Clone)]
pub enum Reply {
    /// With this status.
    Status(u16),
    /// With this status and header.
    Header(u16, &'static str, String),
    /// With this status, content type and body.
    Body(u16, &'static str, String),
    /// With 200, after this long.
    After(Duration),
    /// With 200, this content type and body, after this long.
    BodyAfter(Duration, &'static str, String),
    /// Never.
    Hang,
}

/// What a receiver answers to a request, given how many it got before.
type Script = dyn Fn(&Received, usize) -> Reply + Send + Sync;

/// Connections that may wait to be taken.
const BACKLOG: u32 = 1_024;

struct Shared {
    script: Mutex<Arc<Script>>,
    log: Mutex<Vec<Received>>,
}

/// A receiver on a port of its own.
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    /// Its port, while nobody listens there.
    closed: Mutex<Option<TcpSocket>>,
}

impl Receiver {
    /// One that takes everything.
    pub async fn start() -> Self {
        Self::scripted(|_, _| Reply::Status(200)).await
    }

    /// One that answers as `script` says.
    ///
    /// # Panics
    /// If there is no free port.
    pub async fn scripted(script: impl Fn(&Received, usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::scripted_at("127.0.0.1", script).await
    }

    /// The same, at this address of the machine.
    ///
    /// # Panics
    /// If it is none, or has no free port.
    pub async fn scripted_at(
        address: &str,
        script: impl Fn(&Received, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let receiver = Self::closed_at(address.parse().expect("an address"));
        receiver.rescript(script);
        receiver.open();
        receiver
    }

    /// One that refuses every connection, until it is opened; then it takes everything.
    ///
    /// # Panics
    /// If there is no free port.
    #[must_use]
    pub fn closed() -> Self {
        Self::closed_at(Ipv4Addr::LOCALHOST)
    }

    fn closed_at(address: Ipv4Addr) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::from((address, 0))).expect("a free port");
        let address = socket.local_addr().expect("a bound socket");
        let take: Arc<Script> = Arc::new(|_, _| Reply::Status(200));
        let shared = Arc::new(Shared { script: Mutex::new(take), log: Mutex::default() });
        Self { address, shared, closed: Mutex::new(Some(socket)) }
    }

    /// From now on, connections are taken.
    ///
    /// # Panics
    /// If they were already.
    pub fn open(&self) {
        let socket = self.closed.lock().expect("no panic while it was held").take().expect("it was closed");
        let listener = socket.listen(BACKLOG).expect("a bound socket");
        let service = axum::Router::new().fallback(receive).with_state(self.shared.clone());
        let service = service.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, service).await });
    }

    /// From now on, answers as `script` says.
    ///
    /// # Panics
    /// Never.
    pub fn rescript(&self, script: impl Fn(&Received, usize) -> Reply + Send + Sync + 'static) {
        *self.shared.script.lock().expect("no panic while it was held") = Arc::new(script);
    }

    /// `HOST:PORT`.
    #[must_use]
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Where events go.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/events", self.address)
    }

    /// The lines of a node's configuration that let it send here, with the secret of the variable `CALLBACK_TOKEN`, and
    /// make its retries as quick as a test is.
    #[must_use]
    pub fn config(&self) -> String {
        format!(
            "[callback]\nallow_private = [\"{}\"]\n\
             [[callback.secret]]\nref = \"env://CALLBACK_TOKEN\"\nhosts = [\"{}\"]\n",
            self.address.ip(),
            self.address
        )
    }

    /// The `callback` of an envelope whose events come here.
    #[must_use]
    pub fn callback(&self) -> Value {
        self.callback_of("env://CALLBACK_TOKEN")
    }

    /// The same, with another secret.
    #[must_use]
    pub fn callback_of(&self, auth_ref: &str) -> Value {
        serde_json::json!({ "status_url": self.url(), "auth_mode": "bearer", "auth_ref": auth_ref })
    }

    /// All that came so far.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.shared.log.lock().expect("no panic while it was held").clone()
    }

    /// What came so far for one mission.
    #[must_use]
    pub fn of(&self, mission: &str) -> Vec<Received> {
        self.those(|received| received.mission() == mission)
    }

    /// What came so far and fits.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn those(&self, fits: impl Fn(&Received) -> bool) -> Vec<Received> {
        let log = self.shared.log.lock().expect("no panic while it was held");
        log.iter().filter(|received| fits(received)).cloned().collect()
    }

    /// Waits until something came for a mission that fits, and gives back all that came for it.
    ///
    /// # Panics
    /// If it does not come.
    pub async fn until(&self, mission: &str, fits: impl Fn(&Received) -> bool) -> Vec<Received> {
        until(&format!("the receiver gets what it should of {mission}"), async || {
            let all = self.of(mission);
            all.iter().any(&fits).then_some(all)
        })
        .await
    }

    /// Waits until the final event of a mission came, and gives back all that came for it.
    ///
    /// # Panics
    /// If it does not come.
    pub async fn until_final(&self, mission: &str) -> Vec<Received> {
        let fits = |received: &Received| received.json["status"].as_str().is_some_and(crate::node::is_final);
        self.until(mission, fits).await
    }
}

async fn receive(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    let header = |(name, value): (&HeaderName, &axum::http::HeaderValue)| {
        (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let received = Received {
        at: Instant::now(),
        from,
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers.iter().map(header).collect(),
        json: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        bytes,
    };
    let script = shared.script.lock().expect("no panic while it was held").clone();
    let reply = {
        let mut log = shared.log.lock().expect("no panic while it was held");
        let reply = script(&received, log.len());
        log.push(received);
        reply
    };
    let status = |code: u16| StatusCode::from_u16(code).expect("a status code");
    match reply {
        Reply::Status(code) => status(code).into_response(),
        Reply::Header(code, name, value) => {
            let name: HeaderName = name.parse().expect("a header's name");
            (status(code), [(name, value), (header::CONTENT_LENGTH, "0".to_owned())]).into_response()
        }
        Reply::Body(code, kind, body) => (status(code), [(header::CONTENT_TYPE, kind)], body).into_response(),
        Reply::After(delay) => {
            tokio::time::sleep(delay).await;
            StatusCode::OK.into_response()
        }
        Reply::BodyAfter(delay, kind, body) => {
            tokio::time::sleep(delay).await;
            ([(header::CONTENT_TYPE, kind)], body).into_response()
        }
        Reply::Hang => std::future::pending().await,
    }
}
