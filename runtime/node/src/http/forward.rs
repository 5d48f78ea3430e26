//! Requests about what another node of the store has: they are sent on to it, whole, and its answer comes back as it is.
//!
//! Whoever asks need not know which node has a mission. What goes along: method, path, parameters, body and headers, the token of
//! whoever asks among them, which the other node judges by its own configuration. What this node asks of itself in somebody's name (pages,
//! their forms) has no token to show, and its own token is known to itself alone: there it vouches for them ([`super::vouch`]). A mark
//! says which nodes a request has passed, so that nothing goes round; another, which node is meant, so that an address that reaches a
//! different one is found out ([`super::meant`]).
//!
//! Owned here: which requests are sent on, and how. Never here: whose a mission is (the log), and which node gets a new one (the core).

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::extract::{FromRequestParts, RawPathParams, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde_json::Value;
use sortie_engine::fleet::Member;
use sortie_engine::{Engine, ReadError};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::App;
use super::auth::{Holder, Inside, Standing};
use super::body;
use super::error::Problem;
use super::meant;
use super::passing;
use super::tries::{Unsent, away, unreachable};
use super::vouch::{self, Key};
use crate::config::Scope;

/// The nodes that a request has passed, by what the store knows them by.
const HOPS: HeaderName = HeaderName::from_static("sortie-hops");

/// Most nodes that a request passes: one that is asked, one that is meant, one that has it. More is somebody changing hands in this moment.
const HOPS_MAX: usize = 3;

/// The parameter that names the node that is asked, for what each has of its own.
pub(super) const NODE: &str = "node";

/// What is of all nodes where none is named.
const OF_ALL: &str = "/v1/events";

/// How long connecting to another node may take.
const CONNECT: Duration = Duration::from_secs(3);

/// How long another node may think before it answers, once it has what was sent: as long as a client waits for this one.
pub(super) const HEAD: Duration = Duration::from_secs(60);

/// How often it is looked whether a node lives that is waited for.
const LOOK: Duration = Duration::from_millis(100);

/// Most bytes of the answer to a dispatch.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// What is about one connection, and not about what comes over it.
const OF_A_CONNECTION: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::EXPECT,
];

/// That a request names this node: it asks for what this node alone has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Named;

/// That an answer is another node's: what it may come to, that one has seen to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Forwarded;

/// The way to other nodes.
#[derive(Default)]
pub(crate) struct Peers {
    client: OnceLock<reqwest::Client>,
    /// What others vouch with towards this node.
    pub(super) key: Key,
}

/// Whoever asks, and what of their request goes along.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    method: Method,
    /// Path and parameters.
    target: String,
    headers: HeaderMap,
    holder: Option<Holder>,
    /// Whether they would still be let in; none, where they showed a token that is not the node's.
    standing: Option<Standing>,
    /// In whose name this node asks, where it does.
    is_inside: bool,
    hops: Vec<String>,
}

impl Asked {
    fn of(parts: &Parts) -> Self {
        let hops = parts.headers.get(HOPS).and_then(|hops| hops.to_str().ok()).unwrap_or_default();
        Self {
            method: parts.method.clone(),
            target: parts.uri.path_and_query().map_or_else(|| "/".to_owned(), |target| target.as_str().to_owned()),
            headers: parts.headers.clone(),
            holder: parts.extensions.get::<Holder>().cloned(),
            standing: parts.extensions.get::<Standing>().cloned(),
            is_inside: parts.extensions.get::<Inside>().is_some(),
            hops: hops.split(',').filter(|hop| !hop.is_empty()).map(str::to_owned).collect(),
        }
    }

    /// A dispatch that this node makes by itself, under that name.
    fn by_itself(name: &str) -> Self {
        let json = HeaderValue::from_static("application/json");
        Self {
            method: Method::POST,
            target: "/v1/missions".to_owned(),
            headers: [(header::CONTENT_TYPE, json)].into_iter().collect(),
            holder: Some(Holder::new(name, &[Scope::Dispatch])),
            standing: None,
            is_inside: true,
            hops: Vec::new(),
        }
    }

    /// The same, where what is asked for is another thing when a node is named: it is named to that one, too.
    fn naming(mut self, name: &str) -> Self {
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        if path == OF_ALL {
            let others = url::form_urlencoded::parse(query.as_bytes());
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            self.target = format!("{path}?{}", query.extend_pairs(others).append_pair(NODE, name).finish());
        }
        self
    }

    /// Whether another node has sent it on.
    pub(super) fn is_forwarded(&self) -> bool {
        !self.hops.is_empty()
    }

    /// The same, of one line of many: as a dispatch of its own.
    pub(super) fn dispatch(&self) -> Self {
        let mut asked = Self { method: Method::POST, target: "/v1/missions".to_owned(), ..self.clone() };
        asked.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        asked
    }
}

impl FromRequestParts<App> for Asked {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Self::Rejection> {
        Ok(Self::of(parts))
    }
}

/// Sends a request on to who has what it is about, where that is another node, or to the one that it names; else it is this node's.
pub(super) async fn guard(State(app): State<App>, params: RawPathParams, request: Request, next: Next) -> Response {
    let (mut parts, sent) = request.into_parts();
    let named = match named(&mut parts) {
        Ok(named) => named,
        Err(problem) => return problem.into_response(),
    };
    let member = match &named {
        Some(name) => member(&app.engine, name),
        None => match subject(&parts, &params).filter(|_| app.engine.has_fleet()) {
            Some(subject) => holder(&app, subject).await,
            None => Ok(None),
        },
    };
    match (member, named) {
        (Ok(None), named) => {
            if named.is_some() {
                parts.extensions.insert(Named);
            }
            next.run(Request::from_parts(parts, sent)).await
        }
        // It goes through piece by piece, however much it is: the other one says how much it takes.
        (Ok(Some(member)), Some(name)) => {
            let asked = Asked::of(&parts).naming(&name);
            let (sent, heard) = Heard::of(sent);
            send_by((&app.peers, &app.engine), &asked, &member, sent, heard)
                .await
                .unwrap_or_else(|unsent| unsent.problem.into_response())
        }
        (Ok(Some(member)), None) => {
            let asked = Asked::of(&parts);
            let sent = match body::whole(Request::from_parts(parts, sent), app.body_bytes).await {
                Ok(sent) => sent,
                Err(problem) => return problem.into_response(),
            };
            send(&app, &asked, &member, sent).await.unwrap_or_else(Problem::into_response)
        }
        (Err(problem), _) => problem.into_response(),
    }
}

/// When a piece of what is sent was last taken.
#[derive(Clone)]
pub(super) struct Heard(watch::Sender<Instant>);

impl Heard {
    /// Now.
    fn now() -> Self {
        Self(watch::Sender::new(Instant::now()))
    }

    /// A body that says so with each piece. One in which nothing comes is nothing, which may be sent twice.
    fn of(sent: Body) -> (reqwest::Body, Self) {
        let heard = Self::now();
        if sent.is_end_stream() {
            return (Bytes::new().into(), heard);
        }
        let told = heard.clone();
        let pieces = sent.into_data_stream().inspect(move |_| {
            told.0.send_replace(Instant::now());
        });
        (reqwest::Body::wrap_stream(pieces), heard)
    }

    /// Resolves once that is so long ago.
    pub(super) async fn has_been(&self, long: Duration) {
        loop {
            let last = *self.0.borrow();
            sleep_until(last + long).await;
            if *self.0.borrow() == last {
                return;
            }
        }
    }
}

/// The node that the parameters name. They are without it from then on.
fn named(parts: &mut Parts) -> Result<Option<String>, Problem> {
    let Some(query) = parts.uri.query() else { return Ok(None) };
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let (named, others): (Vec<_>, Vec<_>) = pairs.into_iter().partition(|(key, _)| key == NODE);
    let named = match named.as_slice() {
        [] => return Ok(None),
        [(_, name)] => name.clone(),
        _ => return Err(Problem::bad_request("`node` names one node")),
    };
    let mut target = parts.uri.path().to_owned();
    if !others.is_empty() {
        let others = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(others).finish();
        target.push('?');
        target.push_str(&others);
    }
    parts.uri = target.parse::<Uri>().map_err(|_| Problem::bad_request("the parameters cannot be read"))?;
    Ok(Some(named))
}

/// The other node of that name; none, where it is this one.
fn member(engine: &Engine, name: &str) -> Result<Option<Member>, Problem> {
    let members = engine.members();
    let called = |member: &&Member| member.name == name || (!member.node.is_empty() && member.node == name);
    if name == engine.rules().instance_id.as_str() || members.iter().any(|member| member.is_me && member.node == name) {
        return Ok(None);
    }
    let found = members.iter().filter(called).max_by_key(|member| member.is_live());
    let named = sortie_contract::limit::clip(name, 80);
    found.cloned().map(Some).ok_or_else(|| Problem::not_found(&format!("node `{named}` on this store")))
}

/// What a request is about.
enum Subject {
    Mission(String),
    Schedule(String),
}

fn subject(parts: &Parts, params: &RawPathParams) -> Option<Subject> {
    let id = params.iter().find(|(name, _)| *name == "id").map(|(_, value)| value.to_owned())?;
    let path = parts.uri.path();
    if path.starts_with("/v1/schedules/") {
        Some(Subject::Schedule(id))
    } else if path.starts_with("/v1/missions/") || path.starts_with("/v1/deliveries/") {
        Some(Subject::Mission(id))
    } else {
        None
    }
}

/// The other node that has the mission of that name, for what is not behind [`guard`].
pub(super) async fn holder_of(app: &App, id: &str) -> Result<Option<Member>, Problem> {
    if !app.engine.has_fleet() {
        return Ok(None);
    }
    holder(app, Subject::Mission(id.to_owned())).await
}

/// The other node that has it.
async fn holder(app: &App, subject: Subject) -> Result<Option<Member>, Problem> {
    let look = move |engine: &Engine| -> Result<Option<Member>, ReadError> {
        match &subject {
            Subject::Mission(id) if engine.find(id)?.is_none() => engine.holder(id),
            Subject::Schedule(id) if engine.schedule(id).is_err() => engine.schedule_holder(id),
            Subject::Mission(_) | Subject::Schedule(_) => Ok(None),
        }
    };
    app.blocking(look).await
}

/// Sends a request on to another node.
pub(super) async fn send(app: &App, asked: &Asked, member: &Member, sent: Bytes) -> Result<Response, Problem> {
    Ok(try_send(app, asked, member, sent).await?)
}

/// The same, and where it is not answered whether it was taken.
pub(super) async fn try_send(app: &App, asked: &Asked, member: &Member, sent: Bytes) -> Result<Response, Unsent> {
    send_by((&app.peers, &app.engine), asked, member, sent, Heard::now()).await
}

async fn send_by(
    (peers, engine): (&Peers, &Arc<Engine>),
    asked: &Asked,
    member: &Member,
    sent: impl Into<reqwest::Body>,
    heard: Heard,
) -> Result<Response, Unsent> {
    let members = engine.members();
    let me = members.iter().find(|member| member.is_me).map_or("", |me| me.node.as_str());
    if !member.is_live() {
        return Err(away(engine, member).into());
    }
    if asked.hops.len() >= HOPS_MAX {
        // Whose it is changes in this moment.
        return Err(away(engine, member).into());
    }
    let Some(url) = member.card.url.as_deref() else {
        let detail = format!(
            "this is the business of the node `{}`, which does not say where it can be reached: it needs `[node] advertise`",
            member.name
        );
        let problem = Problem::unavailable("holder_unreachable", &detail).with("node", member.name.as_str().into());
        return Err(Unsent::untaken(problem));
    };
    let unreachable = |why: &str| {
        engine.could_not_reach(member);
        Unsent::untaken(unreachable(member, why))
    };
    let address = format!("{}{}", url.trim_end_matches('/'), asked.target);
    let mut headers = asked.headers.clone();
    OF_A_CONNECTION.iter().chain([&header::HOST, &header::CONTENT_LENGTH]).for_each(|name| drop(headers.remove(name)));
    let hops: Vec<&str> = asked.hops.iter().map(String::as_str).chain([me]).collect();
    headers.insert(HOPS, HeaderValue::try_from(hops.join(",")).map_err(|_| unreachable("it has no name"))?);
    headers.insert(meant::MEANT, HeaderValue::try_from(&member.node).map_err(|_| unreachable("it has no name"))?);
    headers.remove(vouch::HEADER);
    // This node's own token says nothing to another.
    let holder = asked.holder.as_ref().filter(|holder| asked.is_inside || holder.is_own());
    let words = |key: &str| match holder {
        None => Ok(None),
        Some(holder) => {
            let words = vouch::words(key, asked.method.as_str(), &asked.target, holder, engine.store_time());
            words.map(Some).ok_or_else(|| unreachable("it does not say how it can be asked"))
        }
    };
    if holder.is_some() {
        headers.remove(header::AUTHORIZATION);
    }
    let client = peers.client().map_err(|why| unreachable(&why))?;
    let request = client.request(asked.method.clone(), address).headers(headers).body(sent);
    let again = holder.and_then(|_| request.try_clone());
    let mut answered = head(engine, (member, url), vouched(request, words(&member.card.key)?), &heard).await?;
    if holder.is_some() && answered.status() == StatusCode::UNAUTHORIZED {
        // Whoever asks is known here. It has begun again, and hears another key.
        let now = engine.member_now(member).await.filter(|now| now.card.key != member.card.key);
        if let (Some(again), Some(now)) = (again, now) {
            answered = head(engine, (member, url), vouched(again, words(&now.card.key)?), &heard).await?;
        }
        if answered.status() == StatusCode::UNAUTHORIZED {
            return Err(unreachable("it does not take this node's word; it may only have begun"));
        }
    }
    engine.has_reached(member);
    engine.has_forwarded();
    Ok(as_it_is(engine, member, asked.standing.clone(), answered, heard))
}

/// A request with what this node vouches for.
fn vouched(request: reqwest::RequestBuilder, words: Option<HeaderValue>) -> reqwest::RequestBuilder {
    match words {
        Some(words) => request.header(vouch::HEADER, words),
        None => request,
    }
}

/// The head of the answer of that node, which is looked for there.
async fn head(
    engine: &Engine,
    (member, url): (&Member, &str),
    request: reqwest::RequestBuilder,
    heard: &Heard,
) -> Result<reqwest::Response, Unsent> {
    // One that falls silent while it thinks is not waited for: everything that is asked of it may be asked again.
    let answered = tokio::select! {
        answered = request.send() => answered,
        () = falls_silent(engine, member) => return Err(away(engine, member).into()),
        () = heard.has_been(HEAD) => {
            engine.could_not_reach(member);
            return Err(unreachable(member, "it does not answer").into());
        }
    };
    let answered = answered.map_err(|error| {
        tracing::debug!(node = %member.name, error = &error as &dyn std::error::Error, "a request could not be sent on");
        if !error.is_connect() {
            return Unsent::from(unreachable(member, "the connection broke"));
        }
        engine.could_not_reach(member);
        Unsent::untaken(unreachable(member, "no connection"))
    })?;
    if !meant::is_from(answered.headers(), member) {
        engine.could_not_reach(member);
        tracing::warn!(node = %member.name, url, "what answers there is not that node: its `[node] advertise` is wrong");
        let why = format!("what answers at {url} is not that node; see to its `[node] advertise`");
        return Err(Unsent::untaken(unreachable(member, &why)));
    }
    Ok(answered)
}

/// Resolves once a node does not hold its share any more, or has given no sign of life for a lease.
pub(super) async fn falls_silent(engine: &Engine, member: &Member) {
    let mut was_seen = false;
    loop {
        match engine.members().iter().find(|other| other.share == member.share) {
            Some(other) if other.node == member.node && other.is_live() => was_seen = true,
            Some(_) => return,
            None if was_seen => return,
            // It is newer than this node's last look.
            None => {}
        }
        engine.ambient().sleep(LOOK).await;
    }
}

/// A line of a batch that was sent on as a dispatch of its own: the line that answers it.
pub(super) async fn line(answer: Result<Response, Problem>) -> String {
    let answer = match answer {
        Ok(answer) => told(answer).await,
        Err(problem) => problem.body(),
    };
    format!("{answer}\n")
}

/// A dispatch of what this node reads by itself, sent on to another node: the line that answers it. Nobody's token goes along: this node
/// vouches for the name.
pub(crate) async fn dispatch(
    peers: &Peers,
    engine: &Arc<Engine>,
    name: &str,
    member: &Member,
    envelope: String,
) -> Value {
    match send_by((peers, engine), &Asked::by_itself(name), member, envelope, Heard::now()).await {
        Ok(answer) => told(answer).await,
        Err(unsent) => unsent.problem.body(),
    }
}

/// What another node says to a dispatch, as a line says it.
async fn told(answer: Response) -> Value {
    let is_replayed = answer.headers().contains_key("idempotent-replayed");
    let is_done = answer.status().is_success();
    let body = axum::body::to_bytes(answer.into_body(), ANSWER_BYTES_MAX).await.unwrap_or_default();
    match serde_json::from_slice::<Value>(&body) {
        Ok(mut told) if told.is_object() => {
            if is_done {
                told["replayed"] = is_replayed.into();
            }
            told
        }
        _ => Problem::unavailable("holder_unreachable", "another node has this, and its answer broke off").body(),
    }
}

/// The answer of another node, as it comes ([`passing`]).
fn as_it_is(
    engine: &Arc<Engine>,
    member: &Member,
    standing: Option<Standing>,
    answered: reqwest::Response,
    heard: Heard,
) -> Response {
    let (status, mut headers) = (answered.status(), answered.headers().clone());
    OF_A_CONNECTION.iter().chain([&meant::FROM]).for_each(|name| drop(headers.remove(name)));
    let is_stream = headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream");
    let body = match is_stream {
        true => Body::from_stream(passing::events_of(Arc::clone(engine), member.clone(), standing, answered)),
        false => Body::from_stream(passing::body_of(answered, heard)),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response.extensions_mut().insert(Forwarded);
    response
}

impl Peers {
    /// What the others are told to vouch with.
    pub(crate) fn key(&self) -> String {
        self.key.0.clone()
    }

    fn client(&self) -> Result<&reqwest::Client, String> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        // The process has one provider of cryptography. Another part of it may have chosen already, and that is as well.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            // What comes is handed on as it came.
            .no_gzip()
            .no_brotli()
            .no_deflate()
            .build()
            .map_err(|error| error.to_string())?;
        Ok(self.client.get_or_init(|| client))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use tokio::time::sleep;

    use super::*;

    #[test]
    fn the_node_that_is_asked_is_taken_out_of_the_parameters() {
        for (uri, expected) in [
            ("/v1/missions", Ok((None, "/v1/missions"))),
            ("/v1/missions?limit=2", Ok((None, "/v1/missions?limit=2"))),
            ("/v1/missions?node=a", Ok((Some("a"), "/v1/missions"))),
            ("/v1/missions?limit=2&node=a%20b&q=x%26y", Ok((Some("a b"), "/v1/missions?limit=2&q=x%26y"))),
            ("/v1/missions?node=a&node=b", Err(())),
        ] {
            let (mut parts, ()) = axum::http::Request::builder().uri(uri).body(()).expect("a request").into_parts();
            let found = named(&mut parts).map_err(drop);
            let found = found.map(|named| (named, parts.uri.to_string()));
            let expected = expected.map(|(named, left)| (named.map(str::to_owned), left.to_owned()));
            assert_eq!(found, expected, "{uri}");
        }
    }

    #[test]
    fn a_node_that_is_named_for_events_is_named_to_itself_as_well() {
        for (uri, expected) in [
            ("/v1/missions?limit=2", "/v1/missions?limit=2"),
            ("/v1/events", "/v1/events?node=a+b"),
            ("/v1/events?after=3&limit=2", "/v1/events?after=3&limit=2&node=a+b"),
        ] {
            let (parts, ()) = axum::http::Request::builder().uri(uri).body(()).expect("a request").into_parts();
            assert_eq!(Asked::of(&parts).naming("a b").target, expected, "{uri}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_sends_much_is_waited_for_as_long_as_it_comes() {
        let pieces = stream::unfold(0, |sent| async move {
            sleep(HEAD / 2).await;
            (sent < 6).then_some((Ok::<_, Infallible>(Bytes::from_static(b"x")), sent + 1))
        });
        let (begun, mut pieces) = (Instant::now(), Body::from_stream(pieces).into_data_stream());
        let heard = Heard::now();
        let told = heard.clone();
        let taken = tokio::spawn(async move {
            while pieces.next().await.is_some() {
                told.0.send_replace(Instant::now());
            }
        });
        heard.has_been(HEAD).await;
        taken.await.expect("it ends");
        // Three while it comes, and one after the last.
        assert_eq!(begun.elapsed().as_secs(), 4 * HEAD.as_secs());
    }
}
