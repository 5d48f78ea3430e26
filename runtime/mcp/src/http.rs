//! A server at an address: its requests go out through the node's one way to the network.
//!
//! What the protocol's library wants of an HTTP client, on top of [`sortie_egress::Client`]: no redirect is followed, private addresses
//! are refused unless they are listed, secrets are read for each request and go to the one address of the configuration, and every body
//! is bounded before it is read.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use rmcp::model::{ClientJsonRpcMessage, ClientRequest, ErrorData, JsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::common::http_header::{HEADER_LAST_EVENT_ID, HEADER_SESSION_ID};
use rmcp::transport::streamable_http_client::{
    HttpStatusError, SseError, StreamableHttpClient, StreamableHttpClientTransportConfig, StreamableHttpError,
    StreamableHttpPostResponse, StreamableHttpResponseLimits,
};
use serde_json::{Value, json};
use sortie_contract::limit;
use sortie_egress::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use sortie_egress::{Answer, Client, Limits, Method, Redactor, Request, Secret, SecretError, SendError, StatusCode};
use sse_stream::{Sse, SseStream};
use url::Url;

use crate::MESSAGE_BYTES_MAX;
use crate::asking::RELATED;
use crate::config::{ServerConfig, Setting};
use crate::digits;

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Most requests of one server that are on their way at once, beside streams: as many as calls of one mission.
const REQUESTS_MAX: usize = limit::CALLS_IN_FLIGHT_MAX;

/// Most of an error page that is looked at, in bytes.
const ERROR_BYTES_MAX: usize = 16 << 10;

/// The request by which a server asks people.
const ELICITATION: &str = "elicitation/create";

const STREAM: &str = "text/event-stream";
const JSON: &str = "application/json";

/// How such a server is reached.
#[derive(Debug)]
pub(crate) struct Address {
    url: Url,
    client: Client,
    headers: Vec<(HeaderName, Setting)>,
    bearer: Option<Setting>,
}

impl Address {
    pub(crate) fn of(url: &str, config: &ServerConfig) -> Result<Self, String> {
        let limits = Limits { connect_timeout: CONNECT_TIMEOUT, idle_per_host: 4, decompress: false };
        Ok(Self {
            url: config.endpoint(url)?,
            client: Client::new(config.guard()?, limits),
            headers: config.sent()?,
            bearer: config.bearer.clone(),
        })
    }

    /// A transport to it. With what takes the secrets that it is sent out of what it says.
    pub(crate) async fn open(
        self: &Arc<Self>,
    ) -> Result<(StreamableHttpClientTransport<Sender>, Arc<Redactor>), String> {
        // What cannot be sent is told at once.
        let (_, secrets) = self.credentials().await.map_err(|error| crate::causes(&error, &Redactor::default()))?;
        let veil = crate::veil(&secrets);
        let mut config = StreamableHttpClientTransportConfig::with_uri(self.url.as_str())
            .max_concurrent_requests(REQUESTS_MAX)
            .max_sse_event_size(MESSAGE_BYTES_MAX)
            .max_json_response_size(MESSAGE_BYTES_MAX)
            .max_error_response_size(ERROR_BYTES_MAX);
        config.allow_stateless = true;
        Ok((StreamableHttpClientTransport::with_client(Sender(Arc::clone(self)), config), veil))
    }

    /// What is sent with each request, and which of it is secret.
    async fn credentials(&self) -> Result<(HeaderMap, Vec<Secret>), HttpError> {
        let (mut headers, mut secrets) = (HeaderMap::new(), Vec::new());
        for (name, setting) in &self.headers {
            let value = setting.value().await?;
            let mut header = HeaderValue::from_str(value.expose()).map_err(|_| SecretError::HeaderForm)?;
            header.set_sensitive(true);
            headers.insert(name.clone(), header);
            secrets.extend(setting.is_secret().then_some(value));
        }
        if let Some(setting) = &self.bearer {
            let value = setting.value().await?;
            headers.insert(AUTHORIZATION, value.bearer()?);
            secrets.push(value);
        }
        Ok((headers, secrets))
    }

    async fn send(
        &self,
        method: Method,
        own: HeaderMap,
        further: HashMap<HeaderName, HeaderValue>,
        body: Bytes,
    ) -> Result<Answer, StreamableHttpError<HttpError>> {
        let (mut headers, _) = self.credentials().await.map_err(StreamableHttpError::Client)?;
        // What the protocol says comes last: it is not the configuration's to change.
        headers.extend(further.into_iter().map(|(name, value)| (Some(name), value)));
        headers.extend(own);
        let request = Request { method, url: self.url.clone(), headers, body };
        self.client.send(request).await.map_err(|error| StreamableHttpError::Client(error.into()))
    }
}

/// Why nothing was sent, or nothing came back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    /// See there.
    #[error(transparent)]
    Send(#[from] SendError),
    /// A secret that is not to be had.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

/// The client that the protocol's library sends through.
#[derive(Clone)]
pub(crate) struct Sender(Arc<Address>);

type Failed = StreamableHttpError<HttpError>;

impl StreamableHttpClient for Sender {
    type Error = HttpError;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        auth_header: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<StreamableHttpPostResponse, Failed> {
        let limits = StreamableHttpResponseLimits::default();
        self.post_message_with_response_limits(uri, message, session_id, auth_header, custom_headers, limits).await
    }

    async fn post_message_with_response_limits(
        &self,
        _: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        _: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
        limits: StreamableHttpResponseLimits,
    ) -> Result<StreamableHttpPostResponse, Failed> {
        let mut own = session(session_id.as_deref());
        own.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        own.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
        let body = serde_json::to_vec(&message)?;
        let body = digits::told(&body).unwrap_or(body).into();
        let answer = self.0.send(Method::POST, own, custom_headers, body).await?;
        let (status, kind) = (answer.status(), media_type(&answer));
        let awaits = matches!(message, JsonRpcMessage::Request(_));
        let session = header(&answer, HEADER_SESSION_ID);
        match status {
            StatusCode::ACCEPTED | StatusCode::NO_CONTENT => return Ok(StreamableHttpPostResponse::Accepted),
            StatusCode::NOT_FOUND if session_id.is_some() => return Err(StreamableHttpError::SessionExpired),
            _ if status.is_success() && kind == STREAM => {
                let events = related(events(answer, limits.max_sse_event_size), &message);
                return Ok(StreamableHttpPostResponse::Sse(events, session));
            }
            _ if status.is_success() && !awaits => return Ok(StreamableHttpPostResponse::Accepted),
            _ if status.is_success() && kind == JSON => {
                let body = whole(answer, limits.max_json_response_size).await?;
                let body = digits::heard(&body).unwrap_or(body);
                return Ok(StreamableHttpPostResponse::Json(serde_json::from_slice(&body)?, session));
            }
            _ if status.is_success() => return Err(StreamableHttpError::UnexpectedContentType(Some(kind))),
            _ => {}
        }
        let refused = failed(&answer);
        // Whoever may not ask is told so by the status, and never by a text.
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS) {
            return Err(refused);
        }
        let (body, _) =
            answer.body(ERROR_BYTES_MAX).await.map_err(|error| StreamableHttpError::Client(error.into()))?;
        let told = match serde_json::from_slice::<ServerJsonRpcMessage>(&body) {
            Ok(JsonRpcMessage::Error(error)) => Some(error),
            _ => None,
        };
        if let (JsonRpcMessage::Request(asked), true) = (&message, session_id.is_none() && status.is_client_error())
            && matches!(asked.request, ClientRequest::DiscoverRequest(_))
        {
            // A server of the former era: that it does not know the question is an answer to it.
            let why = || ErrorData::invalid_request(format!("server/discover was refused with {status}"), None);
            let error = told.map_or_else(why, |told| told.error);
            let answer = ServerJsonRpcMessage::error(error, Some(asked.id.clone()));
            return Ok(StreamableHttpPostResponse::Json(answer, None));
        }
        match told {
            Some(told) if awaits => Ok(StreamableHttpPostResponse::Json(JsonRpcMessage::Error(told), session)),
            _ => Err(refused),
        }
    }

    async fn delete_session(
        &self,
        _: Arc<str>,
        session_id: Arc<str>,
        _: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<(), Failed> {
        let answer = self.0.send(Method::DELETE, session(Some(&session_id)), custom_headers, Bytes::new()).await?;
        let is_done = answer.status().is_success() || answer.status() == StatusCode::METHOD_NOT_ALLOWED;
        if is_done { Ok(()) } else { Err(failed(&answer)) }
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        auth_header: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<BoxStream<'static, Result<Sse, SseError>>, Failed> {
        let max = MESSAGE_BYTES_MAX;
        self.get_stream_with_max_sse_event_size(uri, session_id, last_event_id, auth_header, custom_headers, max).await
    }

    async fn get_stream_with_max_sse_event_size(
        &self,
        _: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        _: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
        max_sse_event_size: usize,
    ) -> Result<BoxStream<'static, Result<Sse, SseError>>, Failed> {
        let mut own = session(session_id.as_deref());
        own.insert(ACCEPT, HeaderValue::from_static(STREAM));
        if let Some(Ok(last)) = last_event_id.as_deref().map(HeaderValue::from_str) {
            own.insert(HeaderName::from_bytes(HEADER_LAST_EVENT_ID.as_bytes()).expect("a name"), last);
        }
        let answer = self.0.send(Method::GET, own, custom_headers, Bytes::new()).await?;
        match answer.status() {
            StatusCode::METHOD_NOT_ALLOWED => Err(StreamableHttpError::ServerDoesNotSupportSse),
            status if !status.is_success() => Err(failed(&answer)),
            _ if media_type(&answer) != STREAM => {
                Err(StreamableHttpError::UnexpectedContentType(Some(media_type(&answer))))
            }
            // It is of no call: nor is what comes over it, whatever a server says.
            _ => Ok(told_apart(events(answer, max_sse_event_size), None)),
        }
    }
}

fn session(id: Option<&str>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    // One that no header can carry was never sent in one.
    if let Some(Ok(id)) = id.map(HeaderValue::from_str) {
        headers.insert(HeaderName::from_bytes(HEADER_SESSION_ID.as_bytes()).expect("a name"), id);
    }
    headers
}

fn header(answer: &Answer, name: &str) -> Option<String> {
    answer.headers().get(name)?.to_str().ok().map(str::to_owned)
}

/// The media type, without its parameters.
fn media_type(answer: &Answer) -> String {
    let value = answer.header(CONTENT_TYPE);
    let essence = value.split(';').next().unwrap_or_default().trim();
    limit::clip(&essence.to_ascii_lowercase(), limit::QUOTE_BYTES_MAX)
}

fn failed(answer: &Answer) -> Failed {
    let status = answer.status();
    if status.is_redirection() {
        return StreamableHttpError::UnexpectedServerResponse(
            format!("HTTP {status}: redirects are not followed; write the address that is meant").into(),
        );
    }
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => StreamableHttpError::UnexpectedServerResponse(
            format!("HTTP {status}: it wants other credentials; see `bearer` and `headers`").into(),
        ),
        _ => HttpStatusError::new(status.as_u16(), None).into(),
    }
}

/// The whole body, if it is no larger.
async fn whole(answer: Answer, max: usize) -> Result<Vec<u8>, Failed> {
    match answer.body(max).await {
        Ok((_, true)) => Err(StreamableHttpError::ResponseBodyTooLarge { max_size: max }),
        Ok((body, false)) => Ok(body),
        Err(error) => Err(StreamableHttpError::Client(error.into())),
    }
}

/// Why a stream breaks off.
#[derive(Debug, thiserror::Error)]
enum StreamError {
    #[error("one event of the stream has more than {0} bytes")]
    TooLarge(usize),
    #[error(transparent)]
    Read(SendError),
}

/// The same events. What the server asks in the answer to a call it asks for that call: the protocol's library does not say where a message
/// came from, so the message does.
fn related(
    events: BoxStream<'static, Result<Sse, SseError>>,
    message: &ClientJsonRpcMessage,
) -> BoxStream<'static, Result<Sse, SseError>> {
    let id = match message {
        JsonRpcMessage::Request(asked) if matches!(asked.request, ClientRequest::CallToolRequest(_)) => {
            serde_json::to_value(&asked.id).ok()
        }
        _ => None,
    };
    told_apart(events, id)
}

/// The same events, of the answer to that call, or of none.
fn told_apart(
    events: BoxStream<'static, Result<Sse, SseError>>,
    id: Option<Value>,
) -> BoxStream<'static, Result<Sse, SseError>> {
    let tell = move |event: Result<Sse, SseError>| {
        let with_digits =
            |data: String| digits::heard(data.as_bytes()).and_then(|data| String::from_utf8(data).ok()).unwrap_or(data);
        event.map(|sse| Sse { data: sse.data.map(|data| with_digits(tagged(data, id.as_ref()))), ..sse })
    };
    events.map(tell).boxed()
}

/// A message of a server with the call that it belongs to, where it is one that asks people. What it says of that itself it cannot know.
fn tagged(data: String, id: Option<&Value>) -> String {
    // Any letter of a text may be escaped, and some escape every `/`.
    if !data.contains(ELICITATION) && !data.contains('\\') {
        return data;
    }
    match serde_json::from_str::<Value>(&data) {
        Ok(mut message) if message["method"] == ELICITATION && message["params"].is_object() => {
            let meta = &mut message["params"]["_meta"];
            match (id, meta.as_object_mut()) {
                (Some(id), Some(meta)) => drop(meta.insert(RELATED.to_owned(), id.clone())),
                (Some(id), None) => *meta = json!({RELATED: id}),
                (None, Some(meta)) => drop(meta.remove(RELATED)),
                (None, None) => drop(message["params"].as_object_mut().map(|params| params.remove("_meta"))),
            }
            message.to_string()
        }
        _ => data,
    }
}

/// The events of a stream. One that is too large ends it.
fn events(answer: Answer, max: usize) -> BoxStream<'static, Result<Sse, SseError>> {
    /// What is read of the stream: the length of the event so far, and whether its last line is empty so far.
    struct Reading {
        answer: Answer,
        event: usize,
        at_line_start: bool,
    }
    let reading = Reading { answer, event: 0, at_line_start: true };
    let bytes = stream::unfold(Some(reading), move |reading| async move {
        let mut reading = reading?;
        let chunk = match reading.answer.chunk().await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => return None,
            Err(error) => return Some((Err(StreamError::Read(error)), None)),
        };
        for byte in &chunk {
            match byte {
                b'\n' if reading.at_line_start => reading.event = 0,
                b'\n' => reading.at_line_start = true,
                b'\r' => {}
                _ => {
                    reading.at_line_start = false;
                    reading.event += 1;
                }
            }
            if reading.event > max {
                return Some((Err(StreamError::TooLarge(max)), None));
            }
        }
        Some((Ok(chunk), Some(reading)))
    });
    SseStream::from_bytes_stream(bytes.boxed()).boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_asks_says_in_whose_answer_it_came() {
        let asks = json!({"jsonrpc": "2.0", "id": 1, "method": ELICITATION, "params": {"message": "Who?", "_meta": {RELATED: 9, "a": 1}}});
        let mut related = asks.clone();
        related["params"]["_meta"][RELATED] = json!(4);
        let told = json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": ELICITATION}});
        let mut of_none = asks.clone();
        of_none["params"]["_meta"] = json!({"a": 1});
        let bare = json!({"jsonrpc": "2.0", "id": 1, "method": ELICITATION, "params": {"message": "Who?"}});
        let four = json!(4);
        for (message, id, expected) in [
            (&asks, Some(&four), &related),
            (&asks, None, &of_none),
            (&bare, None, &bare),
            (&told, Some(&four), &told),
            (&told, None, &told),
        ] {
            // Some write every `/` as `\/`, and may write any letter as its number.
            for text in [
                message.to_string(),
                message.to_string().replace('/', "\\/"),
                message.to_string().replace("elicitation", "\\u0065licitation"),
            ] {
                let tagged: Value = serde_json::from_str(&tagged(text, id)).expect("JSON");
                assert_eq!(tagged, *expected);
            }
        }
        assert_eq!(tagged("no JSON, but elicitation/create".to_owned(), None), "no JSON, but elicitation/create");
    }
}
