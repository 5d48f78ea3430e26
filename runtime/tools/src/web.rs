//! `WebFetch`: the text of a web page, from hosts that the configuration lists.
//!
//! A plugin chooses the URL, so each hop of the way is held against the list again: the scheme, the host with its
//! port, and the addresses that the name resolves to ([`guard`]). No cookies, no credentials, no proxy from the
//! environment, no decompression.

use std::error::Error as _;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, LOCATION};
use reqwest::{Client, Response, StatusCode, redirect};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sortie_contract::limit;
use sortie_contract::tool::{CallError, ToolAnswer, ToolInfo};
use url::Url;

use crate::config::{ConfigError, ToolConfig};
use crate::tool::{CallContext, Nature, Tool, answer, arguments, info};

mod decode;
mod guard;

use guard::{Guard, GuardedResolver, Refused};

/// Most redirects of one call: what leads further is a circle.
const REDIRECTS_MAX: usize = 5;

/// Most of a body, in bytes. JSON writes a byte as six at worst, and a call's result has at most 8 MiB.
const BODY_BYTES_MAX: usize = 1 << 20;

/// For all of a call, redirects and body included.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// For one connection: leaves time to say so, and to read a body after a slow one.
const CONNECT_TIME_LIMIT: Duration = Duration::from_secs(10);

/// The tool.
pub(crate) struct WebFetch {
    info: ToolInfo,
    guard: Arc<Guard>,
    time_limit: Duration,
    /// Made at the first call: it reads the machine's certificates, which takes longer than a small mission.
    client: OnceLock<Client>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// An `http` or `https` address of a host that the node's configuration lists.
    url: String,
    /// The most bytes of the body to return; by default, and at most, 1048576.
    #[serde(default)]
    max_bytes: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Answer {
    status: u16,
    /// Where the text came from, after redirects.
    url: String,
    content_type: String,
    text: String,
    truncated: bool,
}

impl WebFetch {
    pub(crate) fn new(config: &ToolConfig) -> Result<Self, ConfigError> {
        let description = "Fetches a web page or another text with GET, following redirects. Only hosts that the \
            node's configuration lists can be asked. An error status is a result, too; where `truncated` is true the \
            body was longer.";
        Ok(Self {
            info: info::<Arguments>("WebFetch", description, &Nature::READ_ONLY, config),
            guard: Arc::new(Guard::new(config)?),
            time_limit: TIME_LIMIT,
            client: OnceLock::new(),
        })
    }

    fn client(&self) -> Result<&Client, CallError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        // Another part of this process may have installed one; there is just one kind here.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = Client::builder()
            .user_agent(concat!("sortie/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .dns_resolver(Arc::new(GuardedResolver(Arc::clone(&self.guard))))
            .connect_timeout(CONNECT_TIME_LIMIT)
            .build()
            .map_err(|error| CallError::Failed(format!("no connection can be made: {}", root_cause(&error))))?;
        Ok(self.client.get_or_init(|| client))
    }

    /// Follows redirects up to the response that is none, holding each hop against the guard.
    async fn response(&self, client: &Client, mut url: Url) -> Result<(Url, Response), CallError> {
        for _ in 0..=REDIRECTS_MAX {
            self.guard.permits(&url)?;
            let response = client.get(url.clone()).send().await.map_err(|error| failed(&url, &error))?;
            let Some(next) = redirected(&url, &response)? else { return Ok((url, response)) };
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

    async fn call(&self, _: &CallContext, given: &Value) -> Result<ToolAnswer, CallError> {
        let given: Arguments = arguments(given)?;
        if given.url.len() > limit::URL_BYTES_MAX {
            let max = limit::URL_BYTES_MAX;
            return Err(CallError::InvalidArguments(format!("/url: an address has at most {max} bytes")));
        }
        let url = Url::parse(&given.url)
            .map_err(|error| CallError::InvalidArguments(format!("/url: this is no absolute address: {error}")))?;
        let max =
            given.max_bytes.and_then(|max| usize::try_from(max).ok()).unwrap_or(BODY_BYTES_MAX).min(BODY_BYTES_MAX);
        let (url, response) = self.response(self.client()?, url).await?;
        let status = response.status().as_u16();
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned();
        let content_type = header(CONTENT_TYPE);
        let encoding = header(CONTENT_ENCODING);
        if !encoding.is_empty() && !encoding.eq_ignore_ascii_case("identity") {
            return Err(CallError::Failed(format!(
                "{url} answered in the encoding `{encoding}`, which was not asked for"
            )));
        }
        let (body, truncated) = body(&url, response, max).await?;
        let text = decode::text(&content_type, &body, truncated).ok_or_else(|| {
            let kind = if content_type.is_empty() { "no content type" } else { &content_type };
            CallError::Failed(format!("{url} is binary ({kind}), and WebFetch returns text"))
        })?;
        answer(&Answer { status, url: url.into(), content_type, text, truncated })
    }
}

/// Where a response sends on to, if it does.
fn redirected(from: &Url, response: &Response) -> Result<Option<Url>, CallError> {
    let is_redirect = matches!(
        response.status(),
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    let Some(location) = response.headers().get(LOCATION).filter(|_| is_redirect) else { return Ok(None) };
    let next = std::str::from_utf8(location.as_bytes()).ok().and_then(|location| from.join(location).ok());
    let mut next =
        next.ok_or_else(|| CallError::Failed(format!("{from} redirects to something that is no address")))?;
    next.set_fragment(None);
    Ok(Some(next))
}

/// At most `max` bytes of a body, and whether there was more.
async fn body(url: &Url, mut response: Response, max: usize) -> Result<(Vec<u8>, bool), CallError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failed(url, &error))? {
        let room = max - body.len();
        if chunk.len() > room {
            body.extend_from_slice(&chunk[..room]);
            return Ok((body, true));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((body, false))
}

fn failed(url: &Url, error: &reqwest::Error) -> CallError {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(refused) = error.downcast_ref::<Refused>() {
            return CallError::Denied(refused.to_string());
        }
        cause = error.source();
    }
    let text = format!("{url} cannot be fetched: {}", root_cause(error));
    if error.is_timeout() { CallError::TimedOut(text) } else { CallError::Failed(text) }
}

/// The innermost cause says what happened; those around it say "error sending request".
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    limit::clip(&cause.to_string(), limit::NOTE_BYTES_MAX)
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
mod tests;
