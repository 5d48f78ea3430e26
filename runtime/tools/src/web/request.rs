//! `HttpRequest`: one request to an HTTP service that the configuration lists, with secrets that only the node knows.
//!
//! A header may name a secret (`${secret:NAME}`): its value is put in when the request is sent, if the configuration has it go to that
//! host, and taken out of whatever comes back, before anybody sees it. Redirects are followed for GET and HEAD alone; to another origin
//! no header goes along that could mean something there. Whatever is sent carries the call's own `Idempotency-Key`.
//!
//! Where it is not known whether a request that changes something arrived, the call ends as `uncertain`, not as one to be tried again.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};
use sortie_contract::envelope::{in_one_line, long_integers, rewritten};
use sortie_contract::limit;
use sortie_contract::tool::{CallError, ToolAnswer, ToolInfo};
use sortie_egress::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use sortie_egress::{
    Answer, Method, NamedSecrets, Opened, Redactor, Request, SendError, StatusCode, Template, Withheld,
};
use url::Url;

use super::way::{Place, Way};
use super::{REDIRECTS_MAX, TRACEPARENT, decode, essence, redirected, traceparent, unread_encoding};
use crate::config::{ConfigError, ToolConfig};
use crate::tool::{CallContext, Nature, TIME_LIMIT, Tool, answer, arguments, blocking, info};

mod head;

use head::{FENCING_TOKEN, IDEMPOTENCY_KEY, Wanted};

const PLACE: Place = Place { tool: "HttpRequest", allow_private: "[tool.HttpRequest] allow_private" };

/// How long a request may take, with its redirects: less than the call, so that what is known of it can be told.
const EXCHANGE_TIME_LIMIT: Duration = Duration::from_secs(25);

const _: () = assert!(EXCHANGE_TIME_LIMIT.as_millis() < TIME_LIMIT.as_millis());

/// Most statuses that may be expected: there are not many more.
const EXPECTED_MAX: usize = 100;

/// How much of a body an error quotes, in bytes: what a service says of a mistake.
const QUOTED_BYTES_MAX: usize = 1_000;

/// Most numbers of an answer whose digits are told beside it.
const EXACT_MAX: usize = 1_000;

/// The tool.
pub(crate) struct HttpRequest {
    info: ToolInfo,
    way: Way,
    secrets: Arc<NamedSecrets>,
    time_limit: Duration,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS or another method.
    method: String,
    /// An `http` or `https` address of a host that the node's configuration lists.
    url: String,
    /// Headers by name. In a value, `${secret:NAME}` stands for a secret of the node's configuration; nowhere else.
    #[serde(default)]
    headers: Map<String, Value>,
    /// A text is sent as it is, anything else as JSON.
    #[serde(default)]
    body: Option<Value>,
    /// Statuses that are a success; any other fails the call. By default every status is a result.
    #[serde(default)]
    expect: Option<Vec<u16>>,
}

#[derive(Debug, Serialize)]
struct Answered {
    status: u16,
    /// Where the answer came from, after redirects.
    url: String,
    headers: Map<String, Value>,
    content_type: String,
    /// Numbers as they are written.
    #[serde(skip_serializing_if = "Option::is_none")]
    json: Option<Box<RawValue>>,
    /// The digits of what most readers of `json` take for a double and is a whole number beyond 64 bits, by JSON Pointer.
    #[serde(skip_serializing_if = "Map::is_empty")]
    exact: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// Whether the body is neither.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    binary: bool,
    truncated: bool,
}

/// A request as it was asked for, found to be one that can be made.
struct Planned {
    method: Method,
    url: Url,
    headers: Wanted,
    body: Vec<u8>,
    expect: Option<Vec<u16>>,
}

/// An answer that has come, as it is: with whatever the server put into it.
struct Came {
    status: StatusCode,
    url: Url,
    headers: HeaderMap,
    body: Vec<u8>,
    /// The body goes on.
    truncated: bool,
    /// It is in an encoding that is not read.
    encoding: Option<String>,
}

impl HttpRequest {
    pub(crate) fn new(config: &ToolConfig, secrets: Arc<NamedSecrets>) -> Result<Self, ConfigError> {
        let description = "Sends an HTTP request to a service. Only hosts that the node's configuration lists can be \
            asked. A header's value may name a secret of the configuration as `${secret:NAME}`. Every status is a result, \
            unless `expect` lists those that are. The answer has `json` where it is JSON, else `text`; where `truncated` \
            is true it was longer. Whole numbers of `json` beyond 64 bits are there digit by digit in `exact`, by JSON Pointer. Redirects are followed for GET and HEAD.";
        // What a request does only the service knows, and whether it heeds the key. An operator who knows says `idempotent = true`.
        let nature = Nature { effects: &["external_side_effect"], read_only: false, idempotent: false };
        Ok(Self {
            info: info::<Arguments>(PLACE.tool, description, &nature, config),
            way: Way::new(PLACE, config)?,
            secrets,
            time_limit: EXCHANGE_TIME_LIMIT,
        })
    }

    /// Sends, follows redirects where that may be, and reads the answer.
    async fn exchange(&self, planned: &Planned, opened: &Opened, redactor: &Redactor) -> Result<Came, CallError> {
        let is_followed = is_read(&planned.method) && planned.body.is_empty();
        let mut url = planned.url.clone();
        for _ in 0..=REDIRECTS_MAX {
            self.way.permits(&url)?;
            let headers = planned.headers.filled(opened, same_origin(&planned.url, &url))?;
            let (method, body) = (planned.method.clone(), planned.body.clone().into());
            let answer = self.way.client().send(Request { method, url: url.clone(), headers, body }).await;
            let answer = answer.map_err(|error| unanswered(planned, &url, &error))?;
            let next = if is_followed { redirected(&url, &answer)? } else { None };
            let Some(next) = next else { return read(planned, url, answer, redactor).await };
            if !same_origin(&planned.url, &next) && redactor.finds(next.as_str()) {
                return Err(CallError::Failed(format!(
                    "{url} redirects to another origin with a secret in the address, which is not asked"
                )));
            }
            url = next;
        }
        Err(CallError::Failed(format!("more than {REDIRECTS_MAX} redirects; ask for the last address itself")))
    }
}

#[async_trait]
impl Tool for HttpRequest {
    fn info(&self) -> &ToolInfo {
        &self.info
    }

    async fn call(&self, context: &CallContext, given: &Value) -> Result<ToolAnswer, CallError> {
        self.call_as_written(context, given, "").await
    }

    async fn call_as_written(&self, context: &CallContext, given: &Value, text: &str) -> Result<ToolAnswer, CallError> {
        let mut planned = Planned::of(arguments(given)?, text, &context.idempotency_key)?;
        planned.headers.set_unless_given(FENCING_TOKEN, HeaderValue::from(context.run.0));
        if let Some(traceparent) = traceparent(context) {
            planned.headers.set_unless_given(TRACEPARENT, traceparent);
        }
        self.way.permits(&planned.url)?;
        let opened = self.secrets.open(planned.headers.secrets(), &planned.url).await.map_err(|why| withheld(&why))?;
        let redactor = opened.redactor();
        let exchange = self.exchange(&planned, &opened, &redactor);
        let came = match tokio::time::timeout(self.time_limit, exchange).await {
            Ok(Ok(came)) => came,
            Ok(Err(error)) => return Err(redacted(error, &redactor)),
            Err(_) => {
                let why = format!("{} took longer than {} s", shown(&planned), self.time_limit.as_secs());
                return Err(if is_safe(&planned.method) { CallError::TimedOut(why) } else { uncertain(&why) });
            }
        };
        // A large body takes a while to look through.
        blocking(move |_| told(&planned, came, &redactor)).await
    }
}

impl Planned {
    /// `text` is what the arguments were read from.
    fn of(given: Arguments, text: &str, key: &str) -> Result<Self, CallError> {
        let wrong = |why: String| Err(CallError::InvalidArguments(why));
        let secret_in = |place: &str| {
            format!(
                "{place}: `${{secret:…}}` may stand in the value of a header only, where it is neither kept nor shown"
            )
        };
        let method = given.method.to_ascii_uppercase();
        if matches!(method.as_str(), "CONNECT" | "TRACE") {
            return wrong(format!("/method: {method} is not sent"));
        }
        let Ok(method) = Method::from_bytes(method.as_bytes()) else {
            return wrong("/method: this is no method; one looks like GET".to_owned());
        };
        if Template::is_in(&given.url) {
            return wrong(secret_in("/url"));
        }
        if given.url.len() > limit::URL_BYTES_MAX {
            return wrong(format!("/url: an address has at most {} bytes", limit::URL_BYTES_MAX));
        }
        let mut url = match Url::parse(&given.url) {
            Ok(url) => url,
            Err(error) => return wrong(format!("/url: this is no absolute address: {error}")),
        };
        url.set_fragment(None);
        let mut headers = Wanted::of(&given.headers)?;
        let (body, content_type) = match given.body {
            None | Some(Value::Null) => (String::new(), None),
            Some(Value::String(text)) => (text, Some("text/plain; charset=utf-8")),
            Some(value) => (as_written(text).unwrap_or_else(|| value.to_string()), Some("application/json")),
        };
        if Template::is_in(&body) {
            return wrong(secret_in("/body"));
        }
        if let Some(content_type) = content_type {
            headers.set_unless_given(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        let Ok(key) = HeaderValue::try_from(key) else {
            return Err(CallError::Failed("the call's idempotency key cannot be sent as a header".to_owned()));
        };
        headers.set_unless_given(IDEMPOTENCY_KEY, key);
        if given.expect.as_ref().is_some_and(|expect| expect.is_empty() || expect.len() > EXPECTED_MAX) {
            return wrong(format!("/expect: it lists 1 to {EXPECTED_MAX} statuses; leave it out where any will do"));
        }
        Ok(Self { method, url, headers, body: body.into_bytes(), expect: given.expect })
    }
}

/// The body among these arguments, with its numbers as they are written.
fn as_written(arguments: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        body: &'a RawValue,
    }
    let Body { body } = serde_json::from_str(arguments).ok()?;
    in_one_line(body.get()).map(|body| body.get().to_owned())
}

/// Whether redirects of such a request are followed.
fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// Whether a request of this method changes nothing, by what HTTP says of it: it does no harm when it may have arrived.
fn is_safe(method: &Method) -> bool {
    is_read(method) || *method == Method::OPTIONS
}

fn same_origin(one: &Url, other: &Url) -> bool {
    one.origin() == other.origin()
}

fn shown(planned: &Planned) -> String {
    format!("{} {}", planned.method, planned.url)
}

fn uncertain(why: &str) -> CallError {
    CallError::Uncertain(format!("{why}; whether it did what it was to do is not known: look before you ask again"))
}

/// Why a secret is not sent. What the reference leads to is the operator's to know.
fn withheld(why: &Withheld) -> CallError {
    let text = format!("/headers: {why}");
    match why {
        Withheld::Unknown(_) | Withheld::OtherHost { .. } | Withheld::Plain { .. } => CallError::Denied(text),
        Withheld::Unusable { name, error } => {
            tracing::warn!(secret = name, %error, "a secret has no usable value");
            CallError::Failed(text)
        }
    }
}

/// What is said of a request that got no answer.
fn unanswered(planned: &Planned, url: &Url, error: &SendError) -> CallError {
    let text = format!("{} {url} got no answer: {error}", planned.method);
    match error {
        SendError::Refused(refused) => CallError::Denied(refused.to_string()),
        SendError::Connect(_) | SendError::Setup(_) => CallError::Failed(text),
        _ if !is_safe(&planned.method) => uncertain(&text),
        SendError::TimedOut(_) => CallError::TimedOut(text),
        SendError::Broken(_) | SendError::Decode(_) => CallError::Failed(text),
    }
}

async fn read(planned: &Planned, url: Url, answer: Answer, redactor: &Redactor) -> Result<Came, CallError> {
    let (status, headers, encoding) = (answer.status(), answer.headers().clone(), unread_encoding(&answer));
    // As far behind the end as a secret could lie across it.
    let body = answer.body(limit::TEXT_BYTES_MAX + redactor.reach()).await;
    let (body, truncated) = body.map_err(|error| {
        let text = format!("{} {url} answered {status}, and then {error}", planned.method);
        if is_safe(&planned.method) { CallError::Failed(text) } else { uncertain(&text) }
    })?;
    Ok(Came { status, url, headers, body, truncated, encoding })
}

/// What is shown of an answer: bounded, and without a secret in it.
fn told(planned: &Planned, came: Came, redactor: &Redactor) -> Result<ToolAnswer, CallError> {
    let Came { status, url, headers, body, truncated, encoding } = came;
    let content_type = headers.get(CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let content_type = content_type.unwrap_or_default();
    let text = match encoding {
        // What was done is done, whatever it is told in.
        Some(_) => None,
        None => decode::text(&content_type, url.host_str(), &body, truncated),
    };
    let is_expected = planned.expect.as_ref().is_none_or(|expect| expect.contains(&status.as_u16()));
    if !is_expected {
        let expected: Vec<String> = planned.expect.iter().flatten().map(ToString::to_string).collect();
        let quoted = text.as_deref().unwrap_or("no text");
        let (quoted, is_cut) = redactor.cut(quoted, QUOTED_BYTES_MAX);
        let (quoted, more) = (quoted.trim(), if is_cut { " …" } else { "" });
        let (asked, expected) = (redactor.text(&shown(planned)).into_owned(), expected.join(", "));
        return Err(CallError::Failed(format!(
            "{asked} answered {}, where {expected} was expected: {quoted}{more}",
            status.as_u16()
        )));
    }
    let is_json = !truncated && matches!(essence(&content_type).as_str(), kind if is_json_type(kind));
    let json = text.as_deref().filter(|_| is_json).and_then(|text| json(text, redactor));
    let exact = match (&text, &json) {
        (Some(text), Some(_)) => exact(text, redactor),
        _ => Map::new(),
    };
    let binary = text.is_none();
    let (text, is_cut) = match text.filter(|_| json.is_none()) {
        Some(text) => {
            // Of a body that goes on, the end that was read beyond what is shown may hold the beginning of a secret.
            let whole = if truncated { text.len().saturating_sub(redactor.reach()) } else { text.len() };
            let (text, is_cut) = redactor.cut(&text, whole.min(limit::TEXT_BYTES_MAX));
            (Some(text), is_cut)
        }
        None => (None, false),
    };
    answer(&Answered {
        status: status.as_u16(),
        url: redactor.text(url.as_str()).into_owned(),
        headers: head::shown(&headers, redactor),
        content_type: redactor.cut(&content_type, limit::QUOTE_BYTES_MAX).0,
        json,
        exact,
        text,
        binary,
        truncated: truncated || is_cut,
    })
}

/// A JSON text without a secret in any text, key or number of it; numbers as they are written, but where it has a key twice or is nested
/// very deep.
fn json(text: &str, redactor: &Redactor) -> Option<Box<RawValue>> {
    rewritten(text, |text| redactor.text(text)).or_else(|| {
        let value = serde_json::from_str(text).ok()?;
        to_raw_value(&redactor.json(value)).ok()
    })
}

/// What a value cannot hold of a JSON text, and a text can.
fn exact(text: &str, redactor: &Redactor) -> Map<String, Value> {
    let clean = |text: &str| redactor.text(text).into_owned();
    let long = long_integers(text, EXACT_MAX).into_iter();
    long.map(|(place, digits)| (clean(place.as_str()), clean(digits).into())).collect()
}

fn is_json_type(kind: &str) -> bool {
    kind == "application/json" || kind == "text/json" || kind.ends_with("+json")
}

fn redacted(error: CallError, redactor: &Redactor) -> CallError {
    let clean = |text: String| redactor.text(&text).into_owned();
    match error {
        CallError::Denied(text) => CallError::Denied(clean(text)),
        CallError::BudgetExhausted(text) => CallError::BudgetExhausted(clean(text)),
        CallError::Cancelled => CallError::Cancelled,
        CallError::InvalidArguments(text) => CallError::InvalidArguments(clean(text)),
        CallError::Failed(text) => CallError::Failed(clean(text)),
        CallError::TimedOut(text) => CallError::TimedOut(clean(text)),
        CallError::Uncertain(text) => CallError::Uncertain(clean(text)),
    }
}

#[cfg(test)]
impl HttpRequest {
    /// The same with another time limit.
    pub(crate) fn within(mut self, time_limit: Duration) -> Self {
        self.time_limit = time_limit;
        self
    }
}

#[cfg(test)]
mod tests;
