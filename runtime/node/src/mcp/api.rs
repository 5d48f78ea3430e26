//! The node's HTTP interface as tools ask it: in this process, or over the network.

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sortie_mcp::serve::{Answer, Fault};
use tower_service::Service as _;
use url::Url;

use crate::http::Via;

/// Most of an answer that is JSON, in bytes: a page of a list, or a mission with long arguments.
const JSON_BYTES_MAX: usize = 16 << 20;

/// A request to the interface.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    pub(crate) path: Vec<String>,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: Vec<(HeaderName, String)>,
    /// JSON.
    pub(crate) body: Option<String>,
}

impl Ask {
    pub(crate) fn new<'a>(method: Method, path: impl IntoIterator<Item = &'a str>) -> Self {
        let path = path.into_iter().map(str::to_owned).collect();
        Self { method, path, query: Vec::new(), headers: Vec::new(), body: None }
    }

    pub(crate) fn with_header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn with_body(self, body: String) -> Self {
        Self { body: Some(body), ..self }
    }

    pub(crate) fn with_query(mut self, key: &str, value: impl Into<String>) -> Self {
        self.query.push((key.to_owned(), value.into()));
        self
    }

    /// As a request that the node makes of itself.
    pub(crate) fn request(self) -> Result<Request<Body>, Away> {
        let base = Url::parse("http://localhost/").expect("a URL");
        let url = self.url(&base);
        let target = url[url::Position::BeforePath..].to_owned();
        let mut request = Request::builder().method(self.method).uri(target);
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        let request = request.body(self.body.map_or_else(Body::empty, Body::from));
        request.map_err(|error| Away(format!("it cannot be asked for that: {error}")))
    }

    /// Where that is, below `base`. A name that is a step of a path is escaped into one that is not there.
    pub(crate) fn url(&self, base: &Url) -> Url {
        let mut url = base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty();
            for segment in &self.path {
                segments.push(if matches!(segment.as_str(), "." | ".." | "") { "%" } else { segment });
            }
        }
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.query);
        }
        url
    }
}

/// No node answered: why.
#[derive(Debug)]
pub(crate) struct Away(pub(crate) String);

/// The interface.
#[async_trait]
pub(crate) trait Api: Send + Sync + 'static {
    /// With what right it is asked.
    type Caller: Clone + PartialEq + Send + Sync + 'static;

    /// Sends a request and waits for the head of the answer, whatever it says.
    async fn send(&self, caller: &Self::Caller, ask: Ask) -> Result<Response<Body>, Away>;
}

/// The token that a request came with, as it came.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Bearer(pub(crate) HeaderValue);

impl std::fmt::Debug for Bearer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bearer(***)")
    }
}

/// The interface of the node in this process.
#[derive(Clone)]
pub(crate) struct Own(pub(crate) Router);

#[async_trait]
impl Api for Own {
    type Caller = Bearer;

    async fn send(&self, caller: &Bearer, ask: Ask) -> Result<Response<Body>, Away> {
        let mut request = ask.request()?;
        request.headers_mut().insert(header::AUTHORIZATION, caller.0.clone());
        request.extensions_mut().insert(Via::Agent);
        match self.0.clone().call(request).await {
            Ok(response) => Ok(response),
            Err(never) => match never {},
        }
    }
}

/// Why a tool did not do what it was called for.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The node refused: its problem.
    Refused(Value),
    /// No node answered.
    Away(String),
    /// The arguments are not as they must be.
    Arguments(String),
}

impl From<Away> for Trouble {
    fn from(Away(why): Away) -> Self {
        Self::Away(why)
    }
}

impl Trouble {
    /// The code of what the node refused.
    pub(super) fn code(&self) -> Option<&str> {
        match self {
            Self::Refused(problem) => problem["code"].as_str(),
            Self::Away(_) | Self::Arguments(_) => None,
        }
    }

    /// For people and models: what, where, and what to do.
    fn told(&self) -> String {
        match self {
            Self::Away(why) => format!("no node answers: {why}"),
            Self::Arguments(why) => format!("these arguments cannot be taken: {why}"),
            Self::Refused(problem) => {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let mut told = format!("{} ({})", text(&problem["detail"]), text(&problem["code"]));
                for error in problem["errors"].as_array().into_iter().flatten() {
                    told.push_str(&format!("\n{}: {}", text(&error["pointer"]), text(&error["detail"])));
                }
                if let Some(remedy) = problem["remedy"].as_str() {
                    told.push_str(&format!("\n{remedy}"));
                }
                told
            }
        }
    }

    fn data(&self) -> Option<Value> {
        match self {
            Self::Refused(problem) => Some(problem.clone()),
            Self::Away(_) | Self::Arguments(_) => None,
        }
    }
}

impl From<Trouble> for Answer {
    fn from(trouble: Trouble) -> Self {
        let data = trouble.data();
        Self { data, ..Self::text(trouble.told()).failed() }
    }
}

impl From<Trouble> for Fault {
    fn from(trouble: Trouble) -> Self {
        let told = trouble.told();
        let fault = if trouble.code() == Some("not_found") { Self::unknown(told) } else { Self::invalid(told) };
        match trouble.data() {
            Some(data) => fault.with(data),
            None => fault,
        }
    }
}

/// Sends a request; a problem becomes trouble, with what to do about it.
pub(crate) async fn good<A: Api>(api: &A, caller: &A::Caller, ask: Ask) -> Result<Response<Body>, Trouble> {
    let response = api.send(caller, ask).await?;
    if response.status().is_success() {
        return Ok(response);
    }
    let status = response.status();
    let problem: Option<Value> = whole(response.into_body()).await.ok().filter(|body: &Value| body["code"].is_string());
    let mut problem =
        problem.ok_or_else(|| Trouble::Away(format!("what answers is no Sortie node (it says {status})")))?;
    if let Some(remedy) = problem["code"].as_str().and_then(crate::http::remedy) {
        problem["remedy"] = json!(remedy);
    }
    Err(Trouble::Refused(problem))
}

/// Asks for something that is JSON.
pub(crate) async fn json<A: Api>(api: &A, caller: &A::Caller, ask: Ask) -> Result<Value, Trouble> {
    let response = good(api, caller, ask).await?;
    if response.status() == StatusCode::NO_CONTENT {
        return Ok(json!({}));
    }
    whole(response.into_body()).await
}

/// The same, read as whoever asks wants it: a value has of some numbers the next double alone.
pub(crate) async fn read<A: Api, T: DeserializeOwned>(api: &A, caller: &A::Caller, ask: Ask) -> Result<T, Trouble> {
    whole(good(api, caller, ask).await?.into_body()).await
}

async fn whole<T: DeserializeOwned>(body: Body) -> Result<T, Trouble> {
    let bytes = axum::body::to_bytes(body, JSON_BYTES_MAX).await;
    let bytes = bytes.map_err(|error| Trouble::Away(format!("the answer broke off, or has no end: {error}")))?;
    serde_json::from_slice(&bytes).map_err(|_| Trouble::Away("what answers is no Sortie node".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_within_its_step_of_the_path() {
        let base = Url::parse("http://factory.example/sortie").expect("a URL");
        for (name, expected) in [
            ("m-1", "http://factory.example/sortie/v1/missions/m-1"),
            ("a/../b", "http://factory.example/sortie/v1/missions/a%2F..%2Fb"),
            ("..", "http://factory.example/sortie/v1/missions/%25"),
            ("", "http://factory.example/sortie/v1/missions/%25"),
            ("a?b#c", "http://factory.example/sortie/v1/missions/a%3Fb%23c"),
        ] {
            assert_eq!(Ask::new(Method::GET, ["v1", "missions", name]).url(&base).as_str(), expected, "{name}");
        }
    }

    #[test]
    fn trouble_says_what_where_and_what_to_do() {
        let problem = json!({"code": "invalid_envelope", "detail": "it has 1 mistake", "remedy": "Correct all of them.",
            "errors": [{"pointer": "/budget", "detail": "must be an object"}]});
        let answer = Answer::from(Trouble::Refused(problem.clone()));
        assert!(answer.is_error);
        assert_eq!(answer.data, Some(problem));
        let sortie_mcp::serve::Content::Text(told) = &answer.content[0] else { panic!("a text") };
        assert_eq!(told, "it has 1 mistake (invalid_envelope)\n/budget: must be an object\nCorrect all of them.");
        assert!(Answer::from(Trouble::Away("connection refused".to_owned())).is_error);
    }
}
