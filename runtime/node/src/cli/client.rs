//! The command line's side of the HTTP interface.

use std::fs;

use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde_json::Value;

use super::{Failure, text};
use crate::config::Config;

/// A node, and the right to talk to it.
#[derive(Clone)]
pub(super) struct Client {
    base: Url,
    token: String,
    http: reqwest::Client,
}

impl Client {
    /// The node that was named, else the configured one, with its token.
    pub(super) fn new(node: Option<&str>, token: Option<&str>, config: &Config) -> Result<Self, Failure> {
        let named = node.map_or_else(|| format!("http://{}", config.node.listen), str::to_owned);
        let base = base(&named).map_err(Failure::unusable)?;
        let token = match token {
            Some(token) => token.to_owned(),
            None => {
                let path = config.data_dir().map_err(Failure::unusable)?.join("token");
                fs::read_to_string(&path).map_err(|error| {
                    let help = "name one with --token or SORTIE_TOKEN, or the node's folder in the configuration";
                    Failure::unusable(format!("there is no token in {}: {error}; {help}", path.display()))
                })?
            }
        };
        let http = reqwest::Client::builder().no_proxy().build()?;
        Ok(Self { base, token: token.trim().to_owned(), http })
    }

    /// The same node, asked with another token.
    pub(super) fn with_token(&self, token: &str) -> Self {
        Self { token: token.trim().to_owned(), ..self.clone() }
    }

    /// Where the node is.
    pub(super) fn url(&self) -> &Url {
        &self.base
    }

    /// A request to `path`, whose segments are given one by one and escaped here.
    pub(super) fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        self.http.request(method, url).bearer_auth(&self.token)
    }

    /// Gets a JSON document.
    pub(super) async fn get(&self, path: &[&str]) -> Result<Value, Failure> {
        self.json(self.request(Method::GET, path)).await
    }

    /// Sends a request whose answer is JSON, or nothing.
    pub(super) async fn json(&self, request: RequestBuilder) -> Result<Value, Failure> {
        let text = self.send(request).await?.text().await?;
        if text.is_empty() { Ok(Value::Null) } else { Ok(serde_json::from_str(&text)?) }
    }

    /// Sends a request; a problem becomes an error that reads well.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = request.send().await.map_err(|error| self.unreached(error))?;
        self.good(response).await
    }

    /// Why no answer came, in words.
    pub(super) fn unreached(&self, error: reqwest::Error) -> Failure {
        if error.is_connect() {
            Failure::from(format!("no node answers at {}; is `sortie serve` running? ({error})", self.base))
        } else {
            error.into()
        }
    }

    /// An answer that is no problem; a problem becomes an error that reads well.
    pub(super) async fn good(&self, response: Response) -> Result<Response, Failure> {
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let text = response.text().await?;
        let exit = if matches!(status, StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY) {
            super::Exit::Unusable
        } else {
            super::Exit::Undone
        };
        Err(Failure { exit, error: problem(status, &text).into() })
    }
}

/// The URL of a node.
fn base(named: &str) -> Result<Url, String> {
    match Url::parse(named) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        // `localhost:7433` is a URL, of the scheme `localhost`.
        _ if !named.contains("://") => Err(format!("`{named}` is no URL of a node: write http://{named}")),
        Ok(_) => Err(format!("`{named}` is no URL of a node: it begins with http:// or https://")),
        Err(error) => Err(format!("`{named}` is no URL of a node: {error}")),
    }
}

/// What a problem says, for people: its sentence, then each mistake with its place.
pub(super) fn problem(status: StatusCode, said: &str) -> String {
    let Ok(body) = serde_json::from_str::<Value>(said) else { return format!("{status}: {}", text::plain(said)) };
    let detail = body["detail"].as_str().unwrap_or(said);
    // They follow.
    let detail = detail.strip_suffix("; see `errors`").unwrap_or(detail);
    let code = body["code"].as_str().unwrap_or("error");
    let mut message = format!("{} ({})", text::plain(detail), text::plain(code));
    for error in body["errors"].as_array().into_iter().flatten() {
        let place = error["pointer"].as_str().filter(|place| !place.is_empty()).unwrap_or("(the whole text)");
        message.push_str(&format!("\n  {}: {}", text::plain(place), text::cell(&error["detail"])));
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_named_by_its_url() {
        for (named, expected) in [
            ("http://127.0.0.1:7433", Ok("http://127.0.0.1:7433/")),
            ("https://factory.example/sortie", Ok("https://factory.example/sortie")),
            ("127.0.0.1:7433", Err("write http://127.0.0.1:7433")),
            ("localhost:7433", Err("write http://localhost:7433")),
            ("factory.example", Err("write http://factory.example")),
            ("ftp://factory.example", Err("begins with http://")),
            ("http://", Err("no URL")),
        ] {
            match (base(named), expected) {
                (Ok(url), Ok(expected)) => assert_eq!(url.as_str(), expected),
                (Err(said), Err(expected)) => assert!(said.contains(expected), "{said}"),
                (said, _) => panic!("{named}: {said:?}"),
            }
        }
    }

    #[test]
    fn a_problem_has_no_lines_but_ours() {
        let mistake = serde_json::json!({"pointer": "/a\nb", "detail": "c\u{202e}d"});
        let body = serde_json::json!({"detail": "no\u{1b}[2K\nsortie: done", "code": "x\u{7f}", "errors": [mistake]});
        let said = problem(StatusCode::CONFLICT, &body.to_string());
        assert_eq!(said, "no\\u{1b}[2K\\u{a}sortie: done (x\\u{7f})\n  /a\\u{a}b: c\\u{202e}d");
        assert_eq!(problem(StatusCode::BAD_GATEWAY, "a\nb"), "502 Bad Gateway: a\\u{a}b");
    }
}
