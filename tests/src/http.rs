//! A client for what nodes serve: answers as values, event streams as lists.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use futures_util::StreamExt;
use serde_json::Value;

/// What a node answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers, by lower-case name.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub text: String,
    /// The body where it is JSON, else null.
    pub json: Value,
}

impl Answer {
    /// A header, or nothing.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The stable code of a problem.
    #[must_use]
    pub fn code(&self) -> &str {
        self.json["code"].as_str().unwrap_or("")
    }

    /// The pointers and codes of a problem's mistakes.
    #[must_use]
    pub fn mistakes(&self) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
        let errors = self.json["errors"].as_array().cloned().unwrap_or_default();
        errors.iter().map(|mistake| (text(&mistake["pointer"]), text(&mistake["code"]))).collect()
    }

    /// The answer, if its status is this one.
    ///
    /// # Panics
    /// With the whole answer otherwise.
    pub fn expect_status(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:#?}");
        self
    }

    /// Asserts that this is a problem document with that status and code.
    ///
    /// # Panics
    /// With the whole answer otherwise.
    pub fn expect_problem(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.code()), (status, code), "{self:#?}");
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:#?}");
    }
}

/// The client that all tests share.
///
/// # Panics
/// Never: its settings are constant.
pub fn client() -> &'static reqwest::Client {
    static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
    CLIENT.get_or_init(|| {
        // A second initialisation elsewhere in the process is no harm.
        drop(rustls::crypto::ring::default_provider().install_default());
        let settings = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        settings.build().expect("constant settings")
    })
}

/// Sends a request and reads the whole answer.
///
/// # Errors
/// Where there is no answer, such as from a node that was killed.
pub async fn send(request: reqwest::RequestBuilder) -> Result<Answer, reqwest::Error> {
    let response = request.send().await?;
    let status = response.status().as_u16();
    let header = |(name, value): (&reqwest::header::HeaderName, &reqwest::header::HeaderValue)| {
        (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let headers = response.headers().iter().map(header).collect();
    let text = String::from_utf8_lossy(&response.bytes().await?).into_owned();
    let json = serde_json::from_str(&text).unwrap_or(Value::Null);
    Ok(Answer { status, headers, text, json })
}

/// An event of a stream.
#[derive(Debug, Clone)]
pub struct StreamEvent {
    /// Its `id`.
    pub id: String,
    /// Its `data`, as JSON.
    pub data: Value,
}

/// Reads an event stream until `enough` says so or it ends.
///
/// # Panics
/// Where the answer is no event stream, or breaks.
pub async fn stream(
    request: reqwest::RequestBuilder,
    mut enough: impl FnMut(&StreamEvent) -> bool,
) -> Vec<StreamEvent> {
    let response = request.header("accept", "text/event-stream").send().await.expect("an answer");
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.bytes_stream();
    let (mut rest, mut events) = (String::new(), Vec::new());
    while let Some(chunk) = body.next().await {
        rest.push_str(&String::from_utf8_lossy(&chunk.expect("a whole chunk")));
        while let Some((block, after)) = rest.split_once("\n\n") {
            let event = parse_event(block);
            rest = after.to_owned();
            if let Some(event) = event {
                let done = enough(&event);
                events.push(event);
                if done {
                    return events;
                }
            }
        }
    }
    events
}

/// A block of an event stream; comments that keep the connection alive are nothing.
fn parse_event(block: &str) -> Option<StreamEvent> {
    let field = |name: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.trim_start().to_owned())
    };
    let data = serde_json::from_str(&field("data")?).unwrap_or(Value::Null);
    Some(StreamEvent { id: field("id").unwrap_or_default(), data })
}
