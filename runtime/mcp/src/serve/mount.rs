//! A desk over HTTP: where a page of a browser must not get to, and whose session is whose.
//!
//! A page that a browser shows may bring it to ask any address, also one that only this machine has, under a name that the page's owner
//! gave to it. So the name that is asked for must be one that nobody else can give: an address, `localhost`, or a name of the
//! configuration; and a page must have come from there.

use std::convert::Infallible;
use std::fmt::Display;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, Uri, header};
use http_body::Body;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use rmcp::transport::common::http_header::HEADER_SESSION_ID;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio_util::sync::CancellationToken;

use super::desk::Desk;
use super::handler::{Handler, Shared};
use super::sessions::{SESSIONS_EACH_MAX, SESSIONS_MAX, Sessions};

/// A desk that is asked over HTTP.
pub struct Mount<D: Desk> {
    service: StreamableHttpService<Handler<D>, Sessions<D::Caller>>,
    sessions: Arc<Sessions<D::Caller>>,
    names: Arc<[String]>,
    stop: CancellationToken,
}

impl<D: Desk> Clone for Mount<D> {
    fn clone(&self) -> Self {
        Self {
            service: self.service.clone(),
            sessions: Arc::clone(&self.sessions),
            names: Arc::clone(&self.names),
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
        Self { service, sessions, names, stop }
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
            return self.service.handle(request).await;
        }
        let response = self.service.handle(request).await;
        if let Some(Ok(id)) = response.headers().get(HEADER_SESSION_ID).map(|id| id.to_str()) {
            self.sessions.give(id, caller).await;
        }
        response
    }

    /// Ends all sessions and calls.
    pub fn stop(&self) {
        self.stop.cancel();
    }
}

fn refused(status: StatusCode, why: &'static str) -> Response<BoxBody<Bytes, Infallible>> {
    let body = serde_json::json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32_600, "message": why}});
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())).boxed());
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
