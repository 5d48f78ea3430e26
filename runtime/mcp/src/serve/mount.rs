//! A desk over HTTP: where a page of a browser must not get to, and whose session is whose.
//!
//! A page that a browser shows may bring it to ask any address, also one that only this machine has, under a name that the page's owner
//! gave to it. So the name that is asked for must be one that nobody else can give: an address, `localhost`, or a name of the
//! configuration; and a page must have come from there.

use std::convert::Infallible;
use std::fmt::Display;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, header};
use http_body::Body;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use rmcp::transport::common::http_header::HEADER_SESSION_ID;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::desk::Desk;
use super::handler::{Handler, Shared};
use super::sessions::{SESSIONS_EACH_MAX, SESSIONS_MAX, Sessions};
use super::wrong::{INVALID_REQUEST, PARSE_ERROR, id_of, wrong};

/// A desk that is asked over HTTP.
pub struct Mount<D: Desk> {
    service: StreamableHttpService<Handler<D>, Sessions<D::Caller>>,
    sessions: Arc<Sessions<D::Caller>>,
    names: Arc<[String]>,
    message_bytes_max: usize,
    stop: CancellationToken,
}

impl<D: Desk> Clone for Mount<D> {
    fn clone(&self) -> Self {
        Self {
            service: self.service.clone(),
            sessions: Arc::clone(&self.sessions),
            names: Arc::clone(&self.names),
            message_bytes_max: self.message_bytes_max,
            stop: self.stop.clone(),
        }
    }
}

impl<D: Desk> std::fmt::Debug for Mount<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mount").field("names", &self.names).finish_non_exhaustive()
    }
}

impl<D: Desk> Mount<D> {
    /// With the names by which it may be asked beside addresses and `localhost`, and the most bytes of a message.
    pub fn new(desk: D, names: impl IntoIterator<Item = String>, message_bytes_max: usize) -> Self {
        let (shared, sessions) = (Shared::new(desk), Arc::new(Sessions::new(SESSIONS_MAX, SESSIONS_EACH_MAX)));
        let stop = CancellationToken::new();
        // Its own check of names knows no addresses that are not listed one by one.
        let config = StreamableHttpServerConfig::default()
            .disable_allowed_hosts()
            .with_cancellation_token(stop.clone())
            .with_max_request_body_bytes(message_bytes_max);
        let handler = move || Ok(Handler::new(Arc::clone(&shared), None));
        let service = StreamableHttpService::new(handler, Arc::clone(&sessions), config);
        let names = names.into_iter().map(|name| name.to_ascii_lowercase()).collect();
        Self { service, sessions, names, message_bytes_max, stop }
    }

    /// Answers a request whose caller is among its extensions.
    pub async fn answer<B>(&self, request: Request<B>) -> Response<BoxBody<Bytes, Infallible>>
    where
        B: Body + Send + 'static,
        B::Error: Display,
    {
        if let Err(why) = is_meant(request.uri(), request.headers(), &self.names) {
            return refused(StatusCode::FORBIDDEN, why);
        }
        let caller = request.extensions().get::<D::Caller>().cloned();
        if let Some(id) = request.headers().get(HEADER_SESSION_ID) {
            let is_own = id.to_str().is_ok_and(|id| self.sessions.is_of(id, caller.as_ref()));
            if !is_own {
                return refused(StatusCode::NOT_FOUND, "there is no such session (any more): begin a new one");
            }
            return self.handle(request).await;
        }
        let response = self.handle(request).await;
        if let Some(Ok(id)) = response.headers().get(HEADER_SESSION_ID).map(|id| id.to_str()) {
            self.sessions.give(id, caller).await;
        }
        response
    }

    /// The same, of a caller whose session it is, or who has none. What is no message of the protocol is answered as JSON-RPC says it, and
    /// not in plain text under another status, as the crate that speaks the protocol does.
    async fn handle<B>(&self, request: Request<B>) -> Response<BoxBody<Bytes, Infallible>>
    where
        B: Body + Send + 'static,
        B::Error: Display,
    {
        let (head, body) = request.into_parts();
        let body = match whole(body, self.message_bytes_max).await {
            Ok(body) => body,
            Err((status, why)) => return refused(status, &why),
        };
        let is_message = head.method == Method::POST && is_json(&head.headers);
        if is_message && let Err(error) = serde_json::from_slice::<Value>(&body) {
            return told(StatusCode::BAD_REQUEST, wrong(PARSE_ERROR, &format!("the body is not JSON: {error}"), None));
        }
        let response = self.service.handle(Request::from_parts(head, Full::new(body.clone()))).await;
        if response.status().is_success() || is_json(response.headers()) {
            return response;
        }
        let status = match response.status() {
            StatusCode::UNSUPPORTED_MEDIA_TYPE if is_message => StatusCode::BAD_REQUEST,
            status => status,
        };
        let (head, why) = response.into_parts();
        let why = why.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let why = String::from_utf8_lossy(&why);
        let why = if why.is_empty() { status.canonical_reason().unwrap_or_default() } else { &why };
        let id = is_message.then(|| id_of(&body)).flatten();
        let mut response = told(status, wrong(INVALID_REQUEST, why, id.as_ref()));
        let kept = head.headers.into_iter().filter_map(|(name, value)| Some((name?, value)));
        for (name, value) in kept.filter(|(name, _)| !matches!(*name, header::CONTENT_TYPE | header::CONTENT_LENGTH)) {
            response.headers_mut().insert(name, value);
        }
        response
    }

    /// Ends all sessions and calls.
    pub fn stop(&self) {
        self.stop.cancel();
    }
}

/// The whole of a body, or why not.
async fn whole<B>(body: B, bytes_max: usize) -> Result<Bytes, (StatusCode, String)>
where
    B: Body + Send + 'static,
    B::Error: Display,
{
    let mut body = std::pin::pin!(body);
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| (StatusCode::BAD_REQUEST, format!("the body broke off: {error}")))?;
        let Ok(mut data) = frame.into_data() else { continue };
        if data.remaining() > bytes_max.saturating_sub(read.len()) {
            return Err((StatusCode::PAYLOAD_TOO_LARGE, format!("a message has at most {bytes_max} bytes")));
        }
        while data.has_remaining() {
            let chunk = data.chunk();
            let bytes = chunk.len();
            read.extend_from_slice(chunk);
            data.advance(bytes);
        }
    }
    Ok(read.into())
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}

fn refused(status: StatusCode, why: &str) -> Response<BoxBody<Bytes, Infallible>> {
    told(status, wrong(INVALID_REQUEST, why, None))
}

fn told(status: StatusCode, body: Vec<u8>) -> Response<BoxBody<Bytes, Infallible>> {
    let mut response = Response::new(Full::new(Bytes::from(body)).boxed());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

/// Whether the request is for this server, and no page of another brought it about.
fn is_meant(uri: &Uri, headers: &HeaderMap, names: &[String]) -> Result<(), &'static str> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let named = text(header::HOST).or_else(|| uri.authority().map(http::uri::Authority::as_str)).unwrap_or_default();
    let host = host_of(named).ok_or("the request does not say whom it is for (`Host`)")?;
    if !(host == "localhost" || host.parse::<IpAddr>().is_ok() || names.contains(&host)) {
        return Err("the request is for a name (`Host`) that this node does not know as its own: see `[node] names`");
    }
    let Some(origin) = text(header::ORIGIN) else { return Ok(()) };
    let page = origin.split_once("://").and_then(|(_, authority)| host_of(authority));
    if page == Some(host) { Ok(()) } else { Err("a page of another server (`Origin`) may not ask here") }
}

/// The name or address in what may have a port behind it, in small letters.
fn host_of(authority: &str) -> Option<String> {
    let authority: http::uri::Authority = authority.parse().ok()?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    (!host.is_empty()).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_be_asked_for_and_from_where() {
        let names = ["factory.example".to_owned()];
        for (host, origin, is_meant_here) in [
            ("127.0.0.1:7433", None, true),
            ("[::1]:7433", None, true),
            ("192.0.2.7", None, true),
            ("localhost:7433", None, true),
            ("LOCALHOST", None, true),
            ("factory.example", None, true),
            ("Factory.Example:443", Some("https://factory.example"), true),
            ("localhost:7433", Some("http://localhost:3000"), true),
            ("[::1]:7433", Some("http://[::1]"), true),
            ("evil.example", None, false),
            ("evil.example:7433", Some("http://evil.example:7433"), false),
            ("127.0.0.1.evil.example", None, false),
            ("localhost:7433", Some("http://evil.example"), false),
            ("127.0.0.1:7433", Some("http://localhost:7433"), false),
            ("127.0.0.1:7433", Some("null"), false),
            ("127.0.0.1:7433", Some(""), false),
            ("", None, false),
            ("a b", None, false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().expect("a value"));
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().expect("a value"));
            }
            let meant = is_meant(&Uri::from_static("/mcp"), &headers, &names);
            assert_eq!(meant.is_ok(), is_meant_here, "{host} {origin:?}: {meant:?}");
        }
        assert!(is_meant(&Uri::from_static("/mcp"), &HeaderMap::new(), &names).is_err());
    }
}
