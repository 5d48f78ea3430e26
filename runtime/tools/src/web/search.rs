//! `WebSearch`: what a search engine finds, of the one that the configuration names: a SearxNG or Brave's.
//!
//! A plugin chooses the words and nothing else; where they go and with which key is the operator's. Until the configuration names an
//! engine there is no such tool.

use std::sync::LazyLock;

use async_trait::async_trait;
use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sortie_contract::envelope::{NotSent, SecretRef};
use sortie_contract::limit;
use sortie_contract::tool::{CallError, ToolAnswer, ToolInfo};
use sortie_egress::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use sortie_egress::{Answer, HostPattern, Redactor, Request, Secret, SendError, may_be_sent, usable};
use url::Url;

use super::way::{Place, Way};
use super::{essence, unread_encoding};
use crate::config::{ConfigError, ToolConfig};
use crate::tool::{CallContext, Nature, Tool, answer, arguments, info};

const PLACE: Place = Place { tool: "WebSearch", allow_private: "[tool.WebSearch] allow_private" };

const BRAVE_URL: &str = "https://api.search.brave.com/res/v1/web/search";

/// How many results a call gets that does not say, and at most: what Brave gives.
const COUNT: usize = 10;
const COUNT_MAX: usize = 20;

/// Longest query, in bytes: what Brave takes.
const QUERY_BYTES_MAX: usize = 400;

/// Longest title and text of a result, in bytes: they are to choose by.
const TITLE_BYTES_MAX: usize = 300;
const TEXT_BYTES_MAX: usize = 2_000;

/// How much of a title or a text is looked at, in bytes: far more than is shown of it, markup and the length of a key included.
const PLAIN_BYTES_MAX: usize = 16 << 10;

/// How much of a body an error quotes, in bytes.
const QUOTED_BYTES_MAX: usize = 300;

const SUBSCRIPTION_TOKEN: HeaderName = HeaderName::from_static("x-subscription-token");

/// Who is asked.
enum Engine {
    Searxng,
    Brave { key: SecretRef },
}

/// The tool.
pub(crate) struct WebSearch {
    info: ToolInfo,
    way: Way,
    engine: Engine,
    url: Url,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// What is looked for.
    query: String,
    /// Most results, 1 to 20; by default 10.
    #[serde(default)]
    count: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Found {
    results: Vec<Hit>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Hit {
    title: String,
    url: String,
    text: String,
}

impl WebSearch {
    /// As the configuration has it; `None` where it names no engine.
    pub(crate) fn new(config: &ToolConfig) -> Result<Option<Self>, ConfigError> {
        let wrong = |key, why: &str| Err(ConfigError::value(PLACE.tool, key, why));
        let engine = match (config.provider.as_deref(), &config.key) {
            (None, None) if config.enabled != Some(true) && config.url.is_none() => return Ok(None),
            (None, _) => return wrong("provider", "it must say who is asked: \"searxng\" or \"brave\""),
            (Some("searxng"), None) => Engine::Searxng,
            (Some("searxng"), Some(_)) => return wrong("key", "a SearxNG takes none; remove it"),
            (Some("brave"), None) => return wrong("key", "Brave wants one; say where it is, such as env://BRAVE_KEY"),
            (Some("brave"), Some(key)) => match key.parse() {
                Ok(key) => Engine::Brave { key },
                // What is no reference may be the key itself.
                Err(error) => return wrong("key", &error.to_string()),
            },
            (Some(_), _) => return wrong("provider", "there are \"searxng\" and \"brave\""),
        };
        let url = match (&engine, config.url.as_deref()) {
            (Engine::Searxng, None) => return wrong("url", "it must say where the SearxNG is"),
            (Engine::Brave { .. }, None) => BRAVE_URL,
            (_, Some(url)) => url,
        };
        let Some(url) = engine.place(url) else {
            return wrong("url", "it must be an http or https address without credentials, query and fragment");
        };
        let host =
            format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default());
        let Ok(host) = host.parse::<HostPattern>() else { return wrong("url", "it names no host") };
        if matches!(engine, Engine::Brave { .. }) && may_be_sent([&host], &url) == Err(NotSent::Plain) {
            return wrong(
                "url",
                "the key would go there over plain http, where everybody on the way reads along; take https",
            );
        }
        let description = "Searches the web and gives titles, addresses and short texts of pages. What the pages say is \
            for `WebFetch`, where their hosts are listed.";
        Ok(Some(Self {
            info: info::<Arguments>(PLACE.tool, description, &Nature::READ_ONLY, config),
            way: Way::to(PLACE, vec![host], config)?,
            engine,
            url,
        }))
    }

    /// What is said of a request that got no answer. The query is no secret, and whoever asked knows it.
    fn unanswered(&self, error: &SendError) -> CallError {
        let text = format!("{} got no answer: {error}", self.url);
        match error {
            SendError::Refused(refused) => CallError::Denied(refused.to_string()),
            SendError::TimedOut(_) => CallError::TimedOut(text),
            _ => CallError::Failed(text),
        }
    }

    /// The body of an answer that is one, parsed.
    async fn read(&self, came: Answer, redactor: &Redactor) -> Result<Value, CallError> {
        let (status, url) = (came.status().as_u16(), &self.url);
        let failed =
            |why: String| CallError::Failed(redactor.text(&format!("{url} answered {status}: {why}")).into_owned());
        let wait = came.header(RETRY_AFTER).to_owned();
        let kind = essence(came.header(CONTENT_TYPE));
        if let Some(encoding) = unread_encoding(&came) {
            return Err(failed(encoding));
        }
        let body = came.body(limit::TEXT_BYTES_MAX).await.map_err(|error| self.unanswered(&error))?;
        let (body, is_cut) = (String::from_utf8_lossy(&body.0).into_owned(), body.1);
        let quoted = || shown(&body, redactor, QUOTED_BYTES_MAX);
        match (status, &self.engine) {
            (200, _) if is_cut => Err(failed("its answer is longer than is read; ask for fewer results".to_owned())),
            (200, engine) => serde_json::from_str(&body).map_err(|_| {
                let kind = if kind.is_empty() { "something without a type" } else { &kind };
                failed(format!("{kind}, which is no JSON; {}", engine.remedy()))
            }),
            (429, _) => {
                let wait = if wait.is_empty() { "later".to_owned() } else { format!("after {wait} s") };
                let wait = limit::clip(&wait, limit::QUOTE_BYTES_MAX);
                Err(failed(format!("it was asked too often; ask again {wait}")))
            }
            (401 | 403 | 422, engine @ Engine::Brave { .. }) => {
                Err(failed(format!("{}; it says: {}", engine.remedy(), quoted())))
            }
            (403, engine @ Engine::Searxng) => Err(failed(engine.remedy().to_owned())),
            (300..=399, _) => Err(failed(
                "it redirects, which is not followed; the operator sets [tool.WebSearch] url to where it leads"
                    .to_owned(),
            )),
            _ => Err(failed(format!("it says: {}", quoted()))),
        }
    }
}

impl Engine {
    /// Where it is asked, of what the configuration says.
    fn place(&self, url: &str) -> Option<Url> {
        let mut url = Url::parse(url).ok()?;
        let is_bare =
            url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
        if !matches!(url.scheme(), "http" | "https") || !is_bare || url.host().is_none() {
            return None;
        }
        let base = url.path().trim_end_matches('/').to_owned();
        match self {
            Self::Searxng if !base.ends_with("/search") => url.set_path(&format!("{base}/search")),
            Self::Brave { .. } if base.is_empty() => url.set_path("/res/v1/web/search"),
            Self::Searxng | Self::Brave { .. } => {}
        }
        Some(url)
    }

    /// What an operator does where it answers nothing of use.
    fn remedy(&self) -> &'static str {
        match self {
            Self::Searxng => {
                "a SearxNG gives JSON only where its settings.yml lists it: `search: formats: [html, json]`; its limiter may \
                 refuse programs, too"
            }
            Self::Brave { .. } => "the key of [tool.WebSearch] is not taken; look at what `key` names, and at its plan",
        }
    }

    /// The list of results in an answer.
    fn results(&self, answer: &Value) -> Option<Vec<Value>> {
        let listed = match self {
            Self::Searxng => &answer["results"],
            // Without any it has no such part.
            Self::Brave { .. } if answer.is_object() && answer["web"].is_null() => return Some(Vec::new()),
            Self::Brave { .. } => &answer["web"]["results"],
        };
        listed.as_array().cloned()
    }

    fn text_key(&self) -> &'static str {
        match self {
            Self::Searxng => "content",
            Self::Brave { .. } => "description",
        }
    }
}

#[async_trait]
impl Tool for WebSearch {
    fn info(&self) -> &ToolInfo {
        &self.info
    }

    async fn call(&self, _: &CallContext, given: &Value) -> Result<ToolAnswer, CallError> {
        let given: Arguments = arguments(given)?;
        let query = given.query.trim();
        if query.is_empty() || query.len() > QUERY_BYTES_MAX {
            return Err(CallError::InvalidArguments(format!("/query: it has 1 to {QUERY_BYTES_MAX} bytes")));
        }
        let count = given.count.map_or(COUNT, |count| usize::try_from(count).unwrap_or(usize::MAX));
        if !(1..=COUNT_MAX).contains(&count) {
            return Err(CallError::InvalidArguments(format!("/count: 1 to {COUNT_MAX}")));
        }
        self.way.permits(&self.url)?;
        let mut request = Request::get(self.url.clone());
        request.url.query_pairs_mut().append_pair("q", query);
        request.headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let mut key: Option<Secret> = None;
        match &self.engine {
            Engine::Searxng => {
                request.url.query_pairs_mut().append_pair("format", "json");
            }
            Engine::Brave { key: reference } => {
                request.url.query_pairs_mut().append_pair("count", &count.to_string());
                let unusable = |error: &dyn std::error::Error| {
                    tracing::warn!(%error, "the key of [tool.WebSearch] cannot be used");
                    CallError::Failed(
                        "the key of [tool.WebSearch] cannot be used; the node's log and `sortie doctor` say why"
                            .to_owned(),
                    )
                };
                let secret = usable(reference).await.map_err(|error| unusable(&error))?;
                let mut value = HeaderValue::try_from(secret.expose()).map_err(|error| unusable(&error))?;
                value.set_sensitive(true);
                request.headers.insert(SUBSCRIPTION_TOKEN, value);
                key = Some(secret);
            }
        }
        let redactor = Redactor::new(key.iter().map(|key| ("***".to_owned(), key)));
        let came = self.way.client().send(request).await.map_err(|error| self.unanswered(&error))?;
        let found = self.read(came, &redactor).await?;
        let Some(listed) = self.engine.results(&found) else {
            let why = format!("{} answered JSON without a list of results; {}", self.url, self.engine.remedy());
            return Err(CallError::Failed(why));
        };
        let clean = |text: &Value, max: usize| shown(text.as_str().unwrap_or_default(), &redactor, max);
        let hits = listed.iter().filter_map(|hit| {
            let url = hit["url"].as_str().filter(|url| url.len() <= limit::URL_BYTES_MAX)?;
            let url = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
            let (title, text) =
                (clean(&hit["title"], TITLE_BYTES_MAX), clean(&hit[self.engine.text_key()], TEXT_BYTES_MAX));
            Some(Hit { title, url: redactor.text(url.as_str()).into_owned(), text })
        });
        answer(&Found { results: hits.take(count).collect() })
    }
}

/// Markup that engines put into titles and texts: what is emphasised, where a line ends. Other `<…>` is text (`Vec<T>`).
static MARKUP: LazyLock<Regex> = LazyLock::new(|| {
    let tags = r"(?is)<(?:script|style)\b.*?</(?:script|style)\s*>|<!--.*?-->|(?P<blank></?(?:br|p|div|li|ul|ol|td|tr|h[1-6])\b[^<>]*>)|</?(?:strong|b|em|i|u|mark|span|a|code|small|sub|sup|font|img|wbr|cite)\b[^<>]*>";
    Regex::new(tags).expect("the pattern is right")
});

/// What is shown of a text in HTML. The key goes first: a part of it at a cut would not be recognised.
fn shown(html: &str, redactor: &Redactor, max: usize) -> String {
    redactor.cut(&plain(&redactor.text(html)), max).0
}

/// A text in HTML as a line of text: its beginning, for what opens and never closes is looked for to the end, each time anew.
fn plain(html: &str) -> String {
    let html = &html[..html.floor_char_boundary(PLAIN_BYTES_MAX)];
    let bare =
        MARKUP.replace_all(html, |found: &regex::Captures<'_>| if found.name("blank").is_some() { " " } else { "" });
    let text = html_escape::decode_html_entities(&bare);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
