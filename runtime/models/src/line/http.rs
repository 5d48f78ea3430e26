//! Requests over HTTP: where they go, the key that goes with them, and how much of an answer is read.

use std::fmt::Write as _;

use bytes::Bytes;
use sortie_ambient::Surroundings;
use sortie_contract::envelope::SecretRef;
use sortie_contract::limit;
use sortie_egress::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use sortie_egress::{Client, Method, Redactor, Request, Secret, SecretError, SendError, resolve};
use url::Url;

use super::{Broken, Reply};
use crate::hint;

/// Largest answer, in bytes: what the plugin gets of it, which may hold a text twice (as `content` and as `output`), is no larger than a
/// result may be.
pub(crate) const ANSWER_BYTES_MAX: usize = 3 << 20;

const _: () = assert!(2 * ANSWER_BYTES_MAX < limit::CALL_BYTES_MAX);

/// Most of the body of an error that is read, in bytes: its message stands at the beginning.
const ERROR_BYTES_MAX: usize = 64 << 10;

/// Shortest key that is looked for in good answers, in bytes: a server inside is often given a word for a key, and words are said.
const KEY_BYTES_MIN: usize = 16;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Which header carries the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyHeader {
    /// `Authorization: Bearer …`
    Bearer,
    /// `x-api-key: …`
    ApiKey,
}

/// A provider.
pub(crate) struct Http {
    pub(crate) client: Client,
    /// What paths are put behind; does not end with a slash.
    pub(crate) base: Url,
    pub(crate) key: Option<SecretRef>,
    pub(crate) key_header: KeyHeader,
    /// What else goes with every request.
    pub(crate) headers: HeaderMap,
    pub(crate) ambient: Surroundings,
}

/// What marks a request for whoever reads logs on the other side.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Marks<'a> {
    /// The same for each attempt.
    pub(crate) idempotency_key: &'a str,
    pub(crate) traceparent: Option<&'a str>,
}

impl Http {
    /// Posts a body.
    pub(crate) async fn post(&self, path: &str, body: Bytes, marks: Marks<'_>) -> Result<Reply, Broken> {
        let mut headers = self.headers.clone();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let marked = [(IDEMPOTENCY_KEY, Some(marks.idempotency_key)), (TRACEPARENT, marks.traceparent)];
        for (name, value) in marked {
            // What cannot be sent is left out: it only helps.
            if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
                headers.insert(name, value);
            }
        }
        self.exchange(Method::POST, path, headers, body).await
    }

    /// Asks for something.
    pub(crate) async fn get(&self, path: &str) -> Result<Reply, Broken> {
        self.exchange(Method::GET, path, self.headers.clone(), Bytes::new()).await
    }

    async fn exchange(&self, method: Method, path: &str, mut headers: HeaderMap, body: Bytes) -> Result<Reply, Broken> {
        let key = self.key().await.map_err(|error| match &self.key {
            Some(SecretRef::File(_)) => {
                Broken::AtHome { why: "the file of its key cannot be used".to_owned(), host: chain(&error) }
            }
            _ => Broken::NotAsked(chain(&error)),
        })?;
        if let Some(key) = &key {
            let (name, value) = self.key_header.of(key).map_err(|error| Broken::NotAsked(chain(&error)))?;
            headers.insert(name, value);
        }
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        let sent = self.client.send(Request { method, url, headers, body });
        let answer = sent.await.map_err(|error| match error {
            SendError::Refused(refused) => Broken::NotAsked(refused.to_string()),
            SendError::Setup(error) => Broken::NotAsked(error.to_string()),
            SendError::Connect(_) => Broken::NotReached(error.to_string()),
            SendError::TimedOut(_) | SendError::Broken(_) | SendError::Decode(_) => Broken::NoAnswer(error.to_string()),
        })?;
        let status = answer.status();
        let wait = hint::wait(answer.headers(), self.ambient.wall());
        let most = if status.is_success() { ANSWER_BYTES_MAX } else { ERROR_BYTES_MAX };
        let (body, was_longer) = match answer.body(most).await {
            Ok(read) => read,
            // An error is one, with or without its message.
            Err(_) if !status.is_success() => (Vec::new(), false),
            Err(error) => return Err(Broken::Cut(error.to_string())),
        };
        if was_longer && status.is_success() {
            return Err(Broken::Cut(format!("it is longer than {ANSWER_BYTES_MAX} bytes")));
        }
        let body = match String::from_utf8(body) {
            Ok(body) => body,
            // Letters in the place of what was not understood would be an answer that nobody gave; it is billed all the same.
            Err(_) if status.is_success() => return Err(Broken::Cut("it is no UTF-8".to_owned())),
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        };
        let shortest = if status.is_success() { KEY_BYTES_MIN } else { 1 };
        let body = match &key {
            Some(key) if key.expose().len() >= shortest => {
                // In other spellings, too: a reader of JSON resolves them.
                Redactor::over([key]).owned(body)
            }
            _ => body,
        };
        Ok(Reply { status: status.as_u16(), wait, body })
    }

    async fn key(&self) -> Result<Option<Secret>, SecretError> {
        match &self.key {
            Some(reference) => resolve(reference).await.map(Some),
            None => Ok(None),
        }
    }
}

impl KeyHeader {
    fn of(self, key: &Secret) -> Result<(HeaderName, HeaderValue), SecretError> {
        match self {
            Self::Bearer => Ok((sortie_egress::header::AUTHORIZATION, key.bearer()?)),
            Self::ApiKey => {
                let mut value = HeaderValue::from_str(key.expose()).map_err(|_| SecretError::HeaderForm)?;
                value.set_sensitive(true);
                Ok((HeaderName::from_static("x-api-key"), value))
            }
        }
    }
}

/// An error with its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        // Writing to a string does not fail.
        let _ = write!(text, ": {inner}");
        cause = inner.source();
    }
    text
}
