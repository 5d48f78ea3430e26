//! The distribution protocol of OCI, as far as plugins need it: one repository of one registry, asked with what opens it.
//!
//! A registry says by itself where else its answers are (redirects, desks for tokens, places for uploads). Each of those is held against what
//! whoever asks may reach; credentials go to the registry, and to the desk that it names over a connection that nobody listens to.

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use sortie_contract::limit;
use sortie_egress::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, LOCATION};
use sortie_egress::{Answer, Client, Method, Request, StatusCode};
use url::Url;

use crate::challenge::{self, Challenge};
use crate::credentials::Credentials;
use crate::fetch::FetchError;
use crate::place::{Reference, shown};

/// The longest chain of redirects that is followed.
const REDIRECTS_MAX: usize = 5;

/// The longest answer of a desk for tokens, in bytes.
const TOKEN_BYTES_MAX: usize = 64 << 10;

/// How much is told of what a server says of an error, in bytes.
const SAID_BYTES_MAX: usize = 300;

/// What may be asked of the network.
pub(crate) type May<'a> = &'a (dyn Fn(&Url) -> Result<(), FetchError> + Sync);

/// How things are asked for: through which client, where it may go, and how long an answer may take to begin.
#[derive(Clone, Copy)]
pub(crate) struct Way<'a> {
    pub(crate) client: &'a Client,
    pub(crate) may: May<'a>,
    pub(crate) patience: Duration,
}

/// A repository that is being asked.
pub(crate) struct Session<'a> {
    way: Way<'a>,
    /// `https://HOST/v2/REPOSITORY/`
    base: Url,
    /// What a token is to be good for.
    scope: String,
    credentials: Option<Credentials>,
    /// What opens the registry, once that is known.
    authorization: Option<HeaderValue>,
}

impl Way<'_> {
    /// The answer to one request, whatever its status.
    pub(crate) async fn send(&self, request: Request) -> Result<Answer, FetchError> {
        (self.may)(&request.url)?;
        let place = shown(&request.url);
        let sent = tokio::time::timeout(self.patience, self.client.send(request)).await;
        let sent =
            sent.map_err(|_| FetchError::Failed(format!("{place} does not answer in {} s", self.patience.as_secs())))?;
        sent.map_err(|error| FetchError::sent(&place, error))
    }

    /// The answer to a question, after redirects, and whose it is. `headers` says what goes to whom: nothing that opens one place to another.
    pub(crate) async fn get(
        &self,
        mut url: Url,
        headers: &(dyn Fn(&Url) -> HeaderMap + Sync),
    ) -> Result<(Url, Answer), FetchError> {
        for _ in 0..=REDIRECTS_MAX {
            let request = Request { headers: headers(&url), ..Request::get(url.clone()) };
            let answer = self.send(request).await?;
            let Some(next) = redirected(&url, &answer)? else { return Ok((url, answer)) };
            url = next;
        }
        Err(FetchError::Failed(format!("{} leads on and on: more than {REDIRECTS_MAX} redirects", shown(&url))))
    }
}

/// Where an answer leads, if it does.
fn redirected(from: &Url, answer: &Answer) -> Result<Option<Url>, FetchError> {
    if ![301, 302, 303, 307, 308].contains(&answer.status().as_u16()) {
        return Ok(None);
    }
    let location = answer.header(LOCATION);
    let next = from.join(location).ok().filter(|_| !location.is_empty());
    let next = next.ok_or_else(|| FetchError::Failed(format!("{} redirects to no address", shown(from))))?;
    if from.scheme() == "https" && next.scheme() != "https" {
        let why = format!(
            "{} redirects from https to {}, where everybody on the way could change what comes",
            shown(from),
            shown(&next)
        );
        return Err(FetchError::NotAllowed(why));
    }
    Ok(Some(next))
}

impl<'a> Session<'a> {
    /// With a repository, to do what `actions` says (`pull`, `pull,push`).
    pub(crate) fn new(
        way: Way<'a>,
        scheme: &str,
        place: &Reference,
        actions: &str,
        credentials: Option<Credentials>,
    ) -> Result<Self, FetchError> {
        let base = Url::parse(&format!("{scheme}://{}/v2/{}/", place.host, place.repository));
        let base = base.map_err(|error| FetchError::Failed(format!("{place}: {error}")))?;
        let scope = format!("repository:{}:{actions}", place.repository);
        Ok(Self { way, base, scope, credentials, authorization: None })
    }

    /// A part of the repository.
    pub(crate) fn part(&self, path: &str) -> Result<Url, FetchError> {
        self.base.join(path).map_err(|error| FetchError::Failed(format!("{}{path}: {error}", shown(&self.base))))
    }

    /// The answer to a question, after redirects.
    pub(crate) async fn get(&mut self, path: &str, accept: Option<&'static str>) -> Result<Answer, FetchError> {
        let url = self.part(path)?;
        for is_first in [true, false] {
            let headers = |url: &Url| {
                let mut headers = self.opening(url);
                headers.extend(accept.map(|accept| (ACCEPT, HeaderValue::from_static(accept))));
                headers
            };
            let (at, answer) = self.way.get(url.clone(), &headers).await?;
            if answer.status() != StatusCode::UNAUTHORIZED {
                return Ok(answer);
            }
            // What a stranger wants to see is not the registry's wish: a desk that it names would be handed the registry's credentials.
            if !self.is_own(&at) {
                let (host, place) = (self.host(), shown(&at));
                return Err(FetchError::Failed(format!(
                    "{place}, where the registry {host} leads, answers 401: credentials go to the registry alone"
                )));
            }
            self.refused_once(is_first, &answer).await?;
        }
        Err(self.still_refused())
    }

    /// The answer of the registry itself: a redirect is one like any.
    pub(crate) async fn send(
        &mut self,
        method: &Method,
        url: &Url,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> Result<Answer, FetchError> {
        for is_first in [true, false] {
            let mut all = self.opening(url);
            all.extend(headers.clone());
            let request = Request { method: method.clone(), url: url.clone(), headers: all, body: body.clone() };
            let answer = self.way.send(request).await?;
            if answer.status() != StatusCode::UNAUTHORIZED {
                return Ok(answer);
            }
            self.refused_once(is_first, &answer).await?;
        }
        Err(self.still_refused())
    }

    /// Whether an address is of the registry itself.
    pub(crate) fn is_own(&self, url: &Url) -> bool {
        url.origin() == self.base.origin()
    }

    /// What opens an address: the registry alone, not where it leads.
    fn opening(&self, url: &Url) -> HeaderMap {
        let own = self.authorization.iter().filter(|_| self.is_own(url));
        own.map(|value| (AUTHORIZATION, value.clone())).collect()
    }

    /// What a refusal asks for, unless it is the second one: who is refused with what was asked for is refused for good.
    async fn refused_once(&mut self, is_first: bool, answer: &Answer) -> Result<(), FetchError> {
        if !is_first {
            return Err(self.still_refused());
        }
        self.authorization = Some(match challenge::of(answer.headers()) {
            Some(Challenge::Basic) => self.own_header("it wants a name and a password")?,
            Some(Challenge::Bearer { .. }) if self.credentials.as_ref().is_some_and(Credentials::is_token) => {
                self.own_header("it wants a token")?
            }
            Some(Challenge::Bearer { realm, service }) => self.token(&realm, service.as_deref()).await?,
            None => return Err(self.unauthorized("it says 401, and not what it wants to see")),
        });
        Ok(())
    }

    fn own_header(&self, wants: &str) -> Result<HeaderValue, FetchError> {
        let credentials = self.credentials.as_ref().ok_or_else(|| self.unauthorized(wants))?;
        credentials
            .header()
            .map_err(|error| FetchError::Failed(format!("the credentials for {}: {error}", self.host())))
    }

    /// A token from the desk that the registry names.
    async fn token(&self, realm: &str, service: Option<&str>) -> Result<HeaderValue, FetchError> {
        let wrong = |why: String| FetchError::Failed(format!("the desk for tokens of {}: {why}", self.host()));
        let mut url = Url::parse(realm).map_err(|error| wrong(format!("`{}`: {error}", limit::clip(realm, 100))))?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(wrong(format!("`{}` is no address of the web", limit::clip(realm, 100))));
        }
        if let Some(service) = service {
            url.query_pairs_mut().append_pair("service", service);
        }
        url.query_pairs_mut().append_pair("scope", &self.scope);
        let mut headers = HeaderMap::new();
        if self.credentials.is_some() {
            // In the clear only where the registry itself is asked so, and to the same place.
            if url.scheme() != "https" && !self.is_own(&url) {
                return Err(FetchError::NotAllowed(format!(
                    "{} sends for its token to {}, over plain http: credentials are not sent there",
                    self.host(),
                    shown(&url)
                )));
            }
            headers.insert(AUTHORIZATION, self.own_header("")?);
        }
        let place = shown(&url);
        let answer = self.way.send(Request { headers, ..Request::get(url) }).await?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(self.unauthorized(&format!("{place} gives no token for these credentials")));
            }
            status => return Err(wrong(format!("{place} answers {status}"))),
        }
        let body = tokio::time::timeout(self.way.patience, answer.body(TOKEN_BYTES_MAX)).await;
        let (body, is_cut) = body
            .map_err(|_| wrong(format!("{place} does not come to an end")))?
            .map_err(|error| FetchError::sent(&place, error))?;
        // What it says is not repeated: it may be the token.
        let token = Some(body).filter(|_| !is_cut).and_then(|body| serde_json::from_slice::<Token>(&body).ok());
        let token = token.and_then(|token| token.token.or(token.access_token)).filter(|token| !token.is_empty());
        let token = token.ok_or_else(|| wrong(format!("{place} answers without a token")))?;
        let mut value = HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|_| wrong(format!("the token of {place} cannot be sent")))?;
        value.set_sensitive(true);
        Ok(value)
    }

    fn still_refused(&self) -> FetchError {
        self.unauthorized("it refuses the credentials, or they are not for this repository")
    }

    fn unauthorized(&self, why: &str) -> FetchError {
        let host = self.host();
        let to_do = if self.credentials.is_some() { "see whether they are right" } else { "name credentials for it" };
        FetchError::Unauthorized(format!(
            "the registry {host} does not let this repository be asked for: {why}; {to_do} ([plugin_source.registry.\"{host}\"] credentials)"
        ))
    }

    /// The registry, as people name it.
    fn host(&self) -> String {
        let host = self.base.host_str().unwrap_or_default();
        self.base.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// What an answer that is no success says, for people.
    pub(crate) async fn failure(&self, doing: &str, answer: Answer) -> FetchError {
        let (status, patience) = (answer.status(), self.way.patience);
        let said = tokio::time::timeout(patience, answer.body(TOKEN_BYTES_MAX)).await.ok().and_then(Result::ok);
        let said = said.and_then(|(body, _)| serde_json::from_slice::<Errors>(&body).ok()).unwrap_or_default();
        let said: Vec<String> =
            said.errors.into_iter().take(3).map(|Said { code, message }| format!("{code} {message}")).collect();
        let said = limit::clip(said.join("; ").trim(), SAID_BYTES_MAX);
        let said = if said.is_empty() { String::new() } else { format!(": {said}") };
        FetchError::Failed(format!("the registry {} answers {status} to {doing}{said}", self.host()))
    }
}

/// What a desk answers.
#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

/// What a registry says of an error.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Errors {
    errors: Vec<Said>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Said {
    code: String,
    message: String,
}
