//! The HTTP client: one request, one answer, behind the guard.

use std::error::Error as _;
use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use reqwest::header::{HeaderMap, HeaderName};
use reqwest::{Method, StatusCode, redirect};
use sortie_contract::limit;
use url::Url;

use crate::guard::{Guard, Refused};

/// Idle connections are closed after this: just below what common servers wait.
const IDLE_TIME_MAX: Duration = Duration::from_secs(50);

/// What a client keeps to.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The longest that connecting may take.
    pub connect_timeout: Duration,
    /// Most idle connections that are kept to one host.
    pub idle_per_host: usize,
    /// Whether answers may come compressed. They are decompressed as they are read, and bounds are bounds of what comes
    /// out.
    pub decompress: bool,
}

/// Sends requests. Connects to what its guard permits, follows no redirect, asks no proxy, keeps no cookie.
pub struct Client {
    guard: Guard,
    limits: Limits,
    /// Made at its first use: it reads the machine's certificates, which takes longer than a small mission.
    inner: OnceLock<reqwest::Client>,
}

/// What is to be sent.
#[derive(Debug, Clone)]
pub struct Request {
    /// How.
    pub method: Method,
    /// Where to; `http` or `https`.
    pub url: Url,
    /// With.
    pub headers: HeaderMap,
    /// What.
    pub body: Bytes,
}

impl Request {
    /// Asks for a page.
    #[must_use]
    pub fn get(url: Url) -> Self {
        Self { method: Method::GET, url, headers: HeaderMap::new(), body: Bytes::new() }
    }
}

/// The head of an answer, and its body as it comes.
pub struct Answer(reqwest::Response);

impl Answer {
    /// Its status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status()
    }

    /// Its headers. `Content-Encoding` is there only if the body is still encoded.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        self.0.headers()
    }

    /// A header as text; empty if it is not there, or is no text.
    #[must_use]
    pub fn header(&self, name: HeaderName) -> &str {
        self.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The next piece of the body; `None` at its end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, SendError> {
        self.0.chunk().await.map_err(|error| SendError::of(&error))
    }

    /// Itself as a response, its body as it comes.
    #[must_use]
    pub fn into_response(self) -> http::Response<impl http_body::Body<Data = Bytes, Error = SendError> + Send + Sync> {
        http::Response::<reqwest::Body>::from(self.0).map(|body| body.map_err(|error| SendError::of(&error)))
    }

    /// At most `max` bytes of the body, and whether there was more. Of a longer one, no more than that is ever held.
    pub async fn body(mut self, max: usize) -> Result<(Vec<u8>, bool), SendError> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            let room = max - body.len();
            if chunk.len() > room {
                body.extend_from_slice(&chunk[..room]);
                return Ok((body, true));
            }
            body.extend_from_slice(&chunk);
        }
        Ok((body, false))
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Answer").field(&self.status()).finish_non_exhaustive()
    }
}

/// Why there is no answer, or no whole one. Never holds the address that was asked: its query may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The guard does not let it go there.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// There is no client.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// Connecting, or waiting for the answer, took too long.
    #[error("timed out{}", after_colon(.0))]
    TimedOut(String),
    /// There is no connection.
    #[error("cannot connect{}", after_colon(.0))]
    Connect(String),
    /// What was sent or what came is no HTTP, or stopped half way.
    #[error("the connection broke{}", after_colon(.0))]
    Broken(String),
    /// The body is not in the encoding that it is said to be in.
    #[error("the body cannot be decoded{}", after_colon(.0))]
    Decode(String),
}

/// The client cannot be set up (the system's certificates, most likely).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no connection can be made: {0}")]
pub struct SetupError(String);

fn after_colon(why: &str) -> String {
    if why.is_empty() { String::new() } else { format!(": {why}") }
}

impl SendError {
    fn of(error: &reqwest::Error) -> Self {
        let mut cause = error.source();
        while let Some(inner) = cause {
            if let Some(refused) = inner.downcast_ref::<Refused>() {
                return Self::Refused(refused.clone());
            }
            cause = inner.source();
        }
        let why = innermost(error);
        if error.is_timeout() {
            Self::TimedOut(why)
        } else if error.is_connect() {
            Self::Connect(why)
        } else if error.is_decode() {
            Self::Decode(why)
        } else {
            Self::Broken(why)
        }
    }
}

/// The innermost cause says what happened; those around it say "error sending request", with the address.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause = error.source();
    let mut innermost = None;
    while let Some(inner) = cause {
        innermost = Some(inner);
        cause = inner.source();
    }
    innermost.map_or_else(String::new, |cause| limit::clip(&cause.to_string(), limit::NOTE_BYTES_MAX))
}

impl Client {
    /// A client that connects through `guard`. Reads nothing yet.
    #[must_use]
    pub fn new(guard: Guard, limits: Limits) -> Self {
        Self { guard, limits, inner: OnceLock::new() }
    }

    /// What it lets through.
    #[must_use]
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Sets it up now rather than at its first use.
    pub fn prepare(&self) -> Result<(), SetupError> {
        self.inner().map(drop)
    }

    /// Sends, and waits for the head of the answer. Dropping the future breaks the attempt off; how long it may take is
    /// the caller's to say.
    pub async fn send(&self, request: Request) -> Result<Answer, SendError> {
        self.guard.literal(&request.url)?;
        let Request { method, url, headers, body } = request;
        let sending = self.inner()?.request(method, url).headers(headers).body(body).send();
        sending.await.map(Answer).map_err(|error| SendError::of(&error))
    }

    fn inner(&self) -> Result<&reqwest::Client, SetupError> {
        if let Some(inner) = self.inner.get() {
            return Ok(inner);
        }
        // The process has one provider of cryptography. Another part of it may have chosen already, and that is as well.
        drop(rustls::crypto::ring::default_provider().install_default());
        let Limits { connect_timeout, idle_per_host, decompress } = self.limits;
        let inner = reqwest::Client::builder()
            .user_agent(concat!("sortie/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(self.guard.clone())
            .redirect(redirect::Policy::none())
            // A proxy would connect where the guard does not see it.
            .no_proxy()
            .referer(false)
            .connect_timeout(connect_timeout)
            .pool_max_idle_per_host(idle_per_host)
            .pool_idle_timeout(IDLE_TIME_MAX)
            .tcp_nodelay(true)
            .gzip(decompress)
            .brotli(decompress)
            .deflate(decompress)
            .build()
            .map_err(|error| SetupError(innermost(&error)))?;
        Ok(self.inner.get_or_init(|| inner))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("guard", &self.guard).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_the_resolver_refuses_is_refused_and_not_a_broken_connection() {
        let limits = Limits { connect_timeout: Duration::from_secs(5), idle_per_host: 1, decompress: false };
        let client = Client::new(Guard::new([], "[x] allow_private").unwrap(), limits);
        // The check of the address as it stands would refuse `localhost`, so this asks the client inside.
        let error = client.inner().unwrap().get("http://localhost:1/").send().await.unwrap_err();
        assert!(matches!(SendError::of(&error), SendError::Refused(_)), "{error:?}");
        let error = client.send(Request::get("http://localhost:1/?key=hidden".parse().unwrap())).await.unwrap_err();
        assert!(matches!(&error, SendError::Refused(refused) if !refused.to_string().contains("hidden")));
    }
}
