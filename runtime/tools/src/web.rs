//! `WebFetch`: the text of a web page, and what of it is to be read, from hosts that the configuration lists.
//!
//! A plugin chooses the URL, so each hop of the way is held against the list again: the scheme, the host with its
//! port, and the addresses that the name resolves to ([`way`]). No cookies, no credentials, no proxy from the
//! environment.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sortie_contract::limit;
use sortie_contract::tool::{CallError, ToolAnswer, ToolInfo};
use sortie_egress::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION};
use sortie_egress::{Answer, Request, SendError, StatusCode};
use tokio::sync::Semaphore;
use url::Url;

use crate::config::{ConfigError, ToolConfig};
use crate::tool::{CallContext, Nature, TIME_LIMIT, Tool, answer, arguments, blocking, info};

mod decode;
mod markdown;
mod request;
mod search;
mod tame;
mod way;

pub(crate) use request::HttpRequest;
pub(crate) use search::WebSearch;
use way::{Place, Way};

const PLACE: Place = Place { tool: "WebFetch", allow_private: "[tool.WebFetch] allow_private" };

/// Most pages that are read at the same time: each takes a processor for a while, and some tens of megabytes.
const READ_AT_ONCE_MAX: usize = 4;

/// Most redirects of one call: what leads further is a circle.
const REDIRECTS_MAX: usize = 5;

/// For one connection: leaves time to say so, and to read a body after a slow one.
const CONNECT_TIME_LIMIT: Duration = Duration::from_secs(10);

const _: () = assert!(CONNECT_TIME_LIMIT.as_millis() < TIME_LIMIT.as_millis());

/// How long a page may be read before it is given as it is: far longer than any page takes that is meant to be read.
const READ_TIME_LIMIT: Duration = Duration::from_secs(10);

const _: () = assert!(READ_TIME_LIMIT.as_millis() < TIME_LIMIT.as_millis());

/// The tool.
pub(crate) struct WebFetch {
    info: ToolInfo,
    way: Way,
    time_limit: Duration,
    readers: Arc<Semaphore>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// An `http` or `https` address of a host that the node's configuration lists.
    url: String,
    /// The most bytes of the body to return; by default, and at most, 1048576.
    #[serde(default)]
    max_bytes: Option<u64>,
    /// Of a page in HTML: `false` gives `markdown` alone, `true` gives `text` alone, the page as it is; by default both.
    #[serde(default)]
    raw: Option<bool>,
}

#[derive(Debug, Serialize)]
struct Page {
    status: u16,
    /// Where the text came from, after redirects.
    url: String,
    content_type: String,
    /// The body as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// What of it is to be read, where it is a page.
    #[serde(skip_serializing_if = "Option::is_none")]
    markdown: Option<String>,
    truncated: bool,
}

impl WebFetch {
    pub(crate) fn new(config: &ToolConfig) -> Result<Self, ConfigError> {
        let description = "Fetches a web page or another text with GET, following redirects. Of a page in HTML, \
            `markdown` is the readable part. Only hosts that the node's configuration lists can be asked. An error \
            status is a result, too; where `truncated` is true the body was longer.";
        Ok(Self {
            info: info::<Arguments>("WebFetch", description, &Nature::READ_ONLY, config),
            way: Way::new(PLACE, config)?,
            time_limit: TIME_LIMIT,
            readers: Arc::new(Semaphore::new(READ_AT_ONCE_MAX)),
        })
    }

    /// What of a page is to be read, and whether that is cut.
    async fn read(&self, url: &Url, page: &str) -> Result<(String, bool), CallError> {
        // Nobody closes it. A call that is given up while its page is read keeps its place until that is done.
        let place = self.readers.clone().acquire_owned().await.map_err(|_| CallError::Cancelled)?;
        let (url, page) = (url.clone(), page.to_owned());
        let reading = blocking(move |_| {
            let _place = place;
            Ok(markdown::markdown(&page, &url))
        });
        let read = tokio::time::timeout(READ_TIME_LIMIT, reading).await;
        read.unwrap_or_else(|_| {
            Err(CallError::TimedOut("the page takes too long to read; ask for it with raw".to_owned()))
        })
    }

    /// Follows redirects up to the answer that is none, holding each hop against the rules.
    async fn answer(&self, mut url: Url, context: &CallContext) -> Result<(Url, Answer), CallError> {
        for _ in 0..=REDIRECTS_MAX {
            self.way.permits(&url)?;
            let mut request = Request::get(url.clone());
            request.headers.extend(traceparent(context).map(|value| (TRACEPARENT, value)));
            let answer = self.way.client().send(request).await;
            let answer = answer.map_err(|error| failed(&url, &error))?;
            let Some(next) = redirected(&url, &answer)? else { return Ok((url, answer)) };
            url = next;
        }
        Err(CallError::Failed(format!("more than {REDIRECTS_MAX} redirects; ask for the last address itself")))
    }
}

#[async_trait]
impl Tool for WebFetch {
    fn info(&self) -> &ToolInfo {
        &self.info
    }

    fn time_limit(&self) -> Duration {
        self.time_limit
    }

    async fn call(&self, context: &CallContext, given: &Value) -> Result<ToolAnswer, CallError> {
        let given: Arguments = arguments(given)?;
        if given.url.len() > limit::URL_BYTES_MAX {
            let max = limit::URL_BYTES_MAX;
            return Err(CallError::InvalidArguments(format!("/url: an address has at most {max} bytes")));
        }
        let url = Url::parse(&given.url)
            .map_err(|error| CallError::InvalidArguments(format!("/url: this is no absolute address: {error}")))?;
        let max = given
            .max_bytes
            .and_then(|max| usize::try_from(max).ok())
            .unwrap_or(limit::TEXT_BYTES_MAX)
            .min(limit::TEXT_BYTES_MAX);
        let (url, page) = self.answer(url, context).await?;
        let status = page.status().as_u16();
        let content_type = page.header(CONTENT_TYPE).to_owned();
        if let Some(encoding) = unread_encoding(&page) {
            return Err(CallError::Failed(format!("{url} answered in {encoding}")));
        }
        let (body, truncated) = page.body(max).await.map_err(|error| failed(&url, &error))?;
        let text = decode::text(&content_type, url.host_str(), &body, truncated).ok_or_else(|| {
            let kind = if content_type.is_empty() { "no content type" } else { &content_type };
            CallError::Failed(format!("{url} is binary ({kind}), and WebFetch returns text"))
        })?;
        let (mut markdown, mut is_cut) = (None, false);
        if given.raw != Some(true) && is_html(&content_type, &text) {
            (markdown, is_cut) = match self.read(&url, &text).await {
                Ok((markdown, is_cut)) => (Some(markdown), is_cut),
                // The page is there as it is.
                Err(_) if given.raw.is_none() => (None, false),
                Err(error) => return Err(error),
            };
        }
        let text = (markdown.is_none() || given.raw.is_none()).then_some(text);
        answer(&Page { status, url: url.into(), content_type, text, markdown, truncated: truncated || is_cut })
    }
}

/// What a service that is asked makes its own spans part of.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The value of that header for a call, where its trace has that form.
fn traceparent(context: &CallContext) -> Option<HeaderValue> {
    HeaderValue::try_from(context.traceparent()?).ok()
}

/// The encoding of a body that is still encoded, in words.
fn unread_encoding(answer: &Answer) -> Option<String> {
    let encoding = answer.header(CONTENT_ENCODING);
    let is_unread = !encoding.is_empty() && !encoding.eq_ignore_ascii_case("identity");
    is_unread.then(|| {
        let quoted = limit::clip(encoding, limit::QUOTE_BYTES_MAX);
        format!("the encoding `{quoted}`; gzip, deflate and br are read")
    })
}

/// The type in a content type, without what is said beside it.
fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn is_html(content_type: &str, text: &str) -> bool {
    match essence(content_type).as_str() {
        "text/html" | "application/xhtml+xml" => true,
        "" => {
            let begins =
                |with: &str| text.trim_start().get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
            begins("<!doctype html") || begins("<html")
        }
        _ => false,
    }
}

/// Where an answer sends on to, if it does.
fn redirected(from: &Url, answer: &Answer) -> Result<Option<Url>, CallError> {
    let is_redirect = matches!(
        answer.status(),
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    let Some(location) = answer.headers().get(LOCATION).filter(|_| is_redirect) else { return Ok(None) };
    let next = std::str::from_utf8(location.as_bytes()).ok().and_then(|location| from.join(location).ok());
    let mut next =
        next.ok_or_else(|| CallError::Failed(format!("{from} redirects to something that is no address")))?;
    next.set_fragment(None);
    Ok(Some(next))
}

fn failed(url: &Url, error: &SendError) -> CallError {
    let text = format!("{url} cannot be fetched: {error}");
    match error {
        SendError::Refused(refused) => CallError::Denied(refused.to_string()),
        SendError::TimedOut(_) => CallError::TimedOut(text),
        _ => CallError::Failed(text),
    }
}

#[cfg(test)]
impl WebFetch {
    /// The same with another time limit.
    pub(crate) fn within(mut self, time_limit: Duration) -> Self {
        self.time_limit = time_limit;
        self
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
