//! The command line's side of the HTTP interface.

use std::error::Error;
use std::path::Path;
use std::time::Duration;
use std::{fs, io};

use reqwest::header::{self, HeaderName};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde_json::Value;
use tokio::time::timeout;

use super::{Failure, text};
use crate::config::{Config, ONE_LINE, may_be_sent};

/// How long connecting to a node may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a node may think before it answers, and how long an answer may stay away in the middle. A dispatch waits for a plugin's check
/// and the disk, on a machine that may have better things to do.
const PATIENCE: Duration = Duration::from_secs(60);
/// The same for what takes its time: a tool that is tried by hand, a plugin that is compiled.
pub(super) const LONG: Duration = Duration::from_secs(15 * 60);

/// A node, and the right to talk to it.
#[derive(Clone)]
pub(super) struct Client {
    base: Url,
    token: String,
    http: reqwest::Client,
    patience: Duration,
    commands: Commands,
    /// From where its address is known.
    found: String,
}

/// How commands for a node are written, ready to be copied: with the node, where one that is typed without it would find another.
#[derive(Debug, Clone, Default)]
pub(super) struct Commands {
    node: Option<String>,
}

impl Commands {
    /// Those for the node at a URL that was named or found; without one they find it as this one did.
    fn of(node: Option<&Url>) -> Self {
        Self { node: node.map(|url| text::word(url.as_str().trim_end_matches('/'))) }
    }

    /// The command of these words, each of which is [`text::word`] where it is not our own.
    pub(super) fn line(&self, words: &str) -> String {
        let node = self.node.as_ref().map_or_else(String::new, |node| format!(" --node {node}"));
        format!("sortie {words}{node}")
    }
}

impl Client {
    /// The node that was named, else the configured one, with its token.
    pub(super) fn new(node: Option<&str>, token: Option<&str>, config: &Config) -> Result<Self, Failure> {
        let named = node.map_or_else(|| format!("http://{}", config.node.listen), str::to_owned);
        let base = base(&named).map_err(Failure::unusable)?;
        let (token, place) = match token {
            Some(token) => (token.to_owned(), "--token or SORTIE_TOKEN".to_owned()),
            None => {
                let path = config.data_dir()?.join("token");
                let token = fs::read_to_string(&path).map_err(|error| {
                    let help = "name the node's configuration with --config, or give its token with --token or SORTIE_TOKEN (it is in the \
                                file `token` of the node's data directory)";
                    Failure::unusable(format!("there is no token in {}: {error}; {help}", path.display()))
                })?;
                (token, path.display().to_string())
            }
        };
        let token = token.trim().to_owned();
        if token.is_empty() || !may_be_sent(&token) {
            return Err(Failure::unusable(format!("what {place} holds is no token: {ONE_LINE}")));
        }
        let http = reqwest::Client::builder()
            .user_agent(concat!("sortie/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .connect_timeout(CONNECT)
            .build()?;
        let commands = Commands::of(node.map(|_| &base));
        let found = match node {
            Some(_) => "as --node or SORTIE_NODE says".to_owned(),
            None => where_from(config),
        };
        Ok(Self { base, token, http, patience: PATIENCE, commands, found })
    }

    /// The same node, given more time for each answer.
    pub(super) fn patient(&self) -> Self {
        Self { patience: LONG, ..self.clone() }
    }

    /// The same node, asked with another token.
    pub(super) fn with_token(&self, token: &str) -> Self {
        Self { token: token.trim().to_owned(), ..self.clone() }
    }

    /// Whether the node works on this data directory: it takes the token that it keeps there, and another one's has another.
    pub(super) async fn is_of(&self, data_dir: &Path) -> bool {
        let Ok(token) = fs::read_to_string(data_dir.join("token")) else { return false };
        !token.trim().is_empty() && self.with_token(&token).get(&["v1", "node"], "instance_id").await.is_ok()
    }

    /// How commands for the same node are written.
    pub(super) fn commands(&self) -> &Commands {
        &self.commands
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
        self.request_at(method, url)
    }

    /// A request to an address of the node.
    pub(super) fn request_at(&self, method: Method, url: Url) -> RequestBuilder {
        self.http.request(method, url).bearer_auth(&self.token)
    }

    /// A request to an address that may be anybody's: without a token.
    pub(super) fn bare(&self, url: Url) -> RequestBuilder {
        self.http.get(url)
    }

    /// Gets an object that has the field `known`, as each of its kind has.
    pub(super) async fn get(&self, path: &[&str], known: &str) -> Result<Value, Failure> {
        self.json(self.request(Method::GET, path), known).await
    }

    /// Gets a page of a list.
    pub(super) async fn page(&self, path: &[&str], query: &[(&str, String)]) -> Result<Value, Failure> {
        let page = self.json(self.request(Method::GET, path).query(query), "items").await?;
        if page["items"].is_array() { Ok(page) } else { Err(self.stranger("a list without `items`")) }
    }

    /// Sends a request whose answer is an object that has the field `known`, as each of its kind has.
    pub(super) async fn json(&self, request: RequestBuilder, known: &str) -> Result<Value, Failure> {
        let answer = self.any_json(request).await?;
        // An empty page, and a mission without anything, are what anything looks like that is no node.
        if answer.get(known).is_some() { Ok(answer) } else { Err(self.stranger(&format!("JSON without `{known}`"))) }
    }

    /// Sends a request whose answer is whatever JSON.
    pub(super) async fn any_json(&self, request: RequestBuilder) -> Result<Value, Failure> {
        let response = self.send(request).await?;
        let kind = kind(&response);
        let text = self.text(response).await?;
        serde_json::from_str(&text).map_err(|_| self.stranger(&kind))
    }

    /// Sends a request; a problem becomes an error that reads well.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = self.first(request).await?;
        self.good(response).await
    }

    /// Sends a request and waits for the head of the answer, whatever it says.
    pub(super) async fn first(&self, request: RequestBuilder) -> Result<Response, Failure> {
        match timeout(self.patience, request.send()).await {
            Ok(answered) => answered.map_err(|error| self.unreached(&error)),
            Err(_) => Err(self.silent()),
        }
    }

    /// The whole of an answer. It may take its time, but not stay away.
    pub(super) async fn text(&self, mut response: Response) -> Result<String, Failure> {
        let mut bytes = Vec::new();
        loop {
            let chunk = timeout(self.patience, response.chunk()).await.map_err(|_| self.silent())?;
            match chunk.map_err(|error| format!("the answer of {} broke off: {}", self.base, with_causes(&error)))? {
                Some(chunk) => bytes.extend_from_slice(&chunk),
                None => return Ok(String::from_utf8_lossy(&bytes).into_owned()),
            }
        }
    }

    /// Nothing was heard for too long.
    fn silent(&self) -> Failure {
        let seconds = self.patience.as_secs_f32();
        Failure::from(format!(
            "no answer from {} for {seconds} s; is it a node, and is it well? Its log says what it does",
            self.base
        ))
    }

    /// Something answers, but no node.
    pub(super) fn stranger(&self, what: &str) -> Failure {
        let help = "see --node, SORTIE_NODE, or `[node] listen` of the configuration";
        Failure::from(format!("what answers at {} is no Sortie node (it sent {what}); {help}", self.base))
    }

    /// Sends a request whose answer has a header that each such answer of a node has. What follows may be long, or have no end.
    pub(super) async fn stream(&self, request: RequestBuilder, mark: (HeaderName, &str)) -> Result<Response, Failure> {
        let response = self.send(request).await?;
        self.marked(response, mark)
    }

    /// The same of an answer that is there.
    pub(super) fn marked(&self, response: Response, (name, begins): (HeaderName, &str)) -> Result<Response, Failure> {
        let value = response.headers().get(&name).and_then(|value| value.to_str().ok());
        let is_of_a_node = value.is_some_and(|value| value.starts_with(begins));
        if is_of_a_node { Ok(response) } else { Err(self.stranger(&kind(&response))) }
    }

    /// Whether nothing listens at the address of the node.
    pub(super) async fn is_silent(&self) -> bool {
        let asked = timeout(self.patience, self.request(Method::GET, &["healthz"]).send()).await;
        matches!(asked, Ok(Err(error)) if is_refused(&error))
    }

    /// Why no answer came, in words.
    fn unreached(&self, error: &reqwest::Error) -> Failure {
        let (base, causes) = (&self.base, with_causes(error));
        Failure::from(if is_refused(error) {
            let found = &self.found;
            format!(
                "no node answers at {base} ({found}); is `sortie serve` running? If it is elsewhere: --node URL, or SORTIE_NODE. ({causes})"
            )
        } else if error.is_timeout() {
            format!("{base} cannot be reached: connecting takes longer than {} s; see the address", CONNECT.as_secs())
        } else if error.is_connect() && base.scheme() == "https" {
            format!(
                "no https at {base} ({causes}); a node itself speaks plain http: write http://{}, or name what stands before it",
                base.authority()
            )
        } else if error.is_connect() {
            format!("{base} cannot be reached ({causes}); see the address")
        } else {
            format!(
                "what answers at {base} does not speak as a node does ({causes}); is the address right, and is it http?"
            )
        })
    }

    /// An answer that is no problem; a problem becomes an error that reads well.
    pub(super) async fn good(&self, response: Response) -> Result<Response, Failure> {
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let kind = kind(&response);
        let text = self.text(response).await?;
        if !is_problem(&text) {
            return Err(self.stranger(&format!("{status}, {kind}")));
        }
        let exit = if matches!(status, StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY) {
            super::Exit::Unusable
        } else {
            super::Exit::Undone
        };
        Err(Failure { exit, error: problem(status, &text).into() })
    }
}

/// What an answer holds, as it says itself.
fn kind(response: &Response) -> String {
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.map_or_else(|| "nothing that says what it is".to_owned(), text::plain)
}

/// Whether that is a problem, as a node sends it with everything that goes wrong.
pub(super) fn is_problem(said: &str) -> bool {
    serde_json::from_str(said).is_ok_and(|body: Value| body["code"].is_string() && body["detail"].is_string())
}

/// Which configuration an address is from.
fn where_from(config: &Config) -> String {
    match config.found_in() {
        Some(folder) if folder.as_os_str().is_empty() => "as the configuration in this folder says".to_owned(),
        Some(folder) => format!("as the configuration in {} says", folder.display()),
        None => {
            "no configuration was found here or in the user's folder: this is where a node is without one".to_owned()
        }
    }
}

/// Whether nobody listens there.
fn is_refused(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.downcast_ref().is_some_and(|error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// An error with its causes, on one line.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut says = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        says.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    says
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
    let detail = &in_options(detail.strip_suffix("; see `errors`").unwrap_or(detail));
    let code = body["code"].as_str().unwrap_or("error");
    let mut message = format!("{} ({})", text::plain(detail), text::plain(code));
    for error in body["errors"].as_array().into_iter().flatten() {
        let place = error["pointer"].as_str().filter(|place| !place.is_empty()).unwrap_or("(the whole text)");
        message.push_str(&format!("\n  {}: {}", text::plain(place), text::cell(&error["detail"])));
    }
    message
}

/// What a node calls the parts of a request, and what was typed for them.
const OPTIONS: [(&str, &str); 15] = [
    ("the parameter `status`", "--status"),
    ("the parameter `mission_type`", "--type"),
    ("the parameter `vp_id`", "--vp"),
    ("the parameter `vp_session_id`", "--session"),
    ("the parameter `vp_runtime_id`", "--lane"),
    ("the parameter `created_after`", "--since"),
    ("the parameter `q`", "-q"),
    ("the parameter `cursor`", "--cursor"),
    ("the parameter `limit`", "--limit"),
    ("the parameter `state`", "--state"),
    ("the parameter `version`", "--version"),
    ("the `next_cursor` of a page", "what the page before said"),
    ("`?version=`", "`--version`"),
    ("`?force=true`", "`--force`"),
    ("`If-Match`", "`--revision`"),
];

/// What a node says of a request, in the words of who typed a command.
fn in_options(says: &str) -> String {
    OPTIONS.iter().fold(says.to_owned(), |says, (node, typed)| says.replace(node, typed))
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
    fn a_command_leads_to_the_same_node() {
        for (node, expected) in [
            (None, "sortie show m"),
            (Some("http://127.0.0.1:7433"), "sortie show m --node http://127.0.0.1:7433"),
            (Some("https://factory.example/a;b"), "sortie show m --node 'https://factory.example/a;b'"),
        ] {
            let url = node.map(|node| base(node).expect("a URL"));
            assert_eq!(Commands::of(url.as_ref()).line("show m"), expected);
        }
    }

    #[tokio::test]
    async fn nobody_is_waited_for_without_end() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let _ = rustls::crypto::ring::default_provider().install_default();
        let answers = [
            "",
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{\"items\":",
            "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 100\r\n\r\n{",
        ];
        for answer in answers {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let url = format!("http://{}", listener.local_addr().expect("its own"));
            let silent = tokio::spawn(async move {
                let (mut connection, _) = listener.accept().await.expect("a connection");
                let _ = connection.read(&mut [0; 4096]).await;
                connection.write_all(answer.as_bytes()).await.expect("written");
                std::future::pending::<()>().await;
            });
            let client =
                Client::new(Some(&url), Some("x"), &Config::default()).map_err(|failure| failure.error.to_string());
            let client = Client { patience: Duration::from_millis(50), ..client.expect("a client") };
            let failure = client.page(&["v1", "missions"], &[]).await.expect_err("it says nothing");
            let said = failure.error.to_string();
            assert!(said.contains(&format!("no answer from {url}/ for 0.05 s")), "{said}");
            assert_eq!(failure.exit, super::super::Exit::Undone);
            silent.abort();
        }
    }

    #[tokio::test]
    async fn a_node_that_is_not_there_is_told_with_what_names_its_address() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let place = tempfile::tempdir().expect("a folder");
        let file = place.path().join("sortie.toml");
        // Nobody may listen there.
        fs::write(&file, "[node]\nlisten = \"127.0.0.1:1\"\n").expect("writable");
        let configured = Config::load(Some(&file)).expect("a configuration");
        let in_folder = format!("as the configuration in {} says", place.path().display());
        for (node, config, expected) in [
            (Some("http://127.0.0.1:1"), &Config::default(), "as --node or SORTIE_NODE says"),
            (None, &configured, in_folder.as_str()),
        ] {
            let client = Client::new(node, Some("x"), config).map_err(|failure| failure.error.to_string());
            let failure = client.expect("a client").page(&["v1", "missions"], &[]).await.expect_err("nobody answers");
            let said = failure.error.to_string();
            assert!(said.contains(&format!("no node answers at http://127.0.0.1:1/ ({expected})")), "{said}");
            assert!(said.contains("SORTIE_NODE"), "{said}");
        }
        assert!(where_from(&Config::default()).starts_with("no configuration was found"));
        let mut without = Config::default();
        without.node.data_dir = Some(place.path().to_owned());
        let failure = Client::new(None, None, &without).err().expect("there is no token");
        assert!(failure.error.to_string().contains("--config"), "{}", failure.error);
    }

    #[test]
    fn a_problem_speaks_of_what_was_typed() {
        for (detail, expected) in [
            (
                "the parameter `cursor` must be the `next_cursor` of a page",
                "--cursor must be what the page before said",
            ),
            ("remove other versions with `?version=`", "remove other versions with `--version`"),
            ("there is no such mission", "there is no such mission"),
        ] {
            let body = serde_json::json!({"detail": detail, "code": "x"}).to_string();
            assert_eq!(problem(StatusCode::BAD_REQUEST, &body), format!("{expected} (x)"));
        }
    }

    #[test]
    fn a_problem_has_no_lines_but_ours() {
        let mistake = serde_json::json!({"pointer": "/a\nb", "detail": "c\u{202e}d"});
        let body = serde_json::json!({"detail": "no\u{1b}[2K\nsortie: done", "code": "x\u{7f}", "errors": [mistake]});
        let said = problem(StatusCode::CONFLICT, &body.to_string());
        assert_eq!(said, "no\\u{1b}[2K ⏎ sortie: done (x\\u{7f})\n  /a ⏎ b: c\\u{202e}d");
        assert_eq!(problem(StatusCode::BAD_GATEWAY, "a\nb"), "502 Bad Gateway: a ⏎ b");
    }
}
