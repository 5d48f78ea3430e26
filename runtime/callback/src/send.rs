//! One attempt at one delivery: what is sent, and what the answer means.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use percent_encoding::{CONTROLS, utf8_percent_encode};
use sortie_ambient::Surroundings;
use sortie_contract::envelope::{NotSent, SecretRef};
use sortie_contract::trace::{mission_span, traceparent};
use sortie_egress::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use sortie_egress::{Answer, Client, Guard, Limits, Request, SecretError, SendError, StatusCode, resolve, webhook};

use crate::board::Health;
use crate::config::{CallbackConfig, ConfigError};
use crate::outbox::{Delivery, Method};
use crate::secret::Secrets;
use sortie_egress::retry_after;

/// How much of an answer's body is read before its connection is given up, in bytes. Nothing in it is looked at; a short one is read
/// to its end so that the connection can serve the next delivery.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// How long the rest of an answer may take once its status is known: the outcome is decided by then.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(1);

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const MISSION_ID: HeaderName = HeaderName::from_static("x-mission-id");
const TRACE_ID: HeaderName = HeaderName::from_static("x-trace-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const WEBHOOK_ID: HeaderName = HeaderName::from_static(webhook::ID);
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static(webhook::TIMESTAMP);
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static(webhook::SIGNATURE);

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The receiver took it.
    Delivered,
    /// It may go better another time.
    Failed {
        /// For people; never holds a secret or a query string.
        why: String,
        /// When the receiver wants to be asked again.
        retry_after: Option<Duration>,
        /// What it says of the receiver.
        health: Health,
    },
    /// It would go the same way every time.
    Hopeless {
        /// For people; never holds a secret or a query string.
        why: String,
        /// What it says of the receiver.
        health: Health,
    },
}

/// What carries a request to a receiver.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Sends, and brings what is known once the head of the answer is there. Dropping the future breaks the attempt off.
    async fn exchange(&self, request: Request) -> Result<Reply, SendError>;
}

/// What a receiver answered, as far as a delivery depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its `Retry-After`.
    pub retry_after: Option<String>,
}

/// The transport over HTTP.
#[derive(Debug)]
pub struct Http(Client);

impl Http {
    /// As the configuration has it.
    ///
    /// # Errors
    /// [`ConfigError`] for addresses that are none, and where there can be no client.
    pub fn new(config: &CallbackConfig) -> Result<Self, ConfigError> {
        let limits = Limits {
            connect_timeout: config.connect_timeout,
            idle_per_host: config.concurrency_per_receiver,
            // Nothing in an answer is looked at.
            decompress: false,
        };
        let client = Client::new(guard(config)?, limits);
        client.prepare().map_err(ConfigError::Client)?;
        Ok(Self(client))
    }
}

#[async_trait]
impl Transport for Http {
    async fn exchange(&self, request: Request) -> Result<Reply, SendError> {
        let answer = self.0.send(request).await?;
        let retry_after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let reply = Reply { status: answer.status(), retry_after };
        drain(answer).await;
        Ok(reply)
    }
}

pub(crate) fn guard(config: &CallbackConfig) -> Result<Guard, ConfigError> {
    Guard::new(&config.allow_private, "[callback] allow_private").map_err(ConfigError::Network)
}

/// Makes attempts: puts a delivery into a request, and judges what came back.
pub(crate) struct Sender {
    transport: Arc<dyn Transport>,
    guard: Guard,
    secrets: Secrets,
    timeout: Duration,
    ambient: Surroundings,
}

impl Sender {
    pub(crate) fn new(
        config: &CallbackConfig,
        transport: Arc<dyn Transport>,
        ambient: Surroundings,
    ) -> Result<Self, ConfigError> {
        let (guard, secrets) = (guard(config)?, Secrets::new(config)?);
        Ok(Self { transport, guard, secrets, timeout: config.timeout, ambient })
    }

    pub(crate) fn guard(&self) -> &Guard {
        &self.guard
    }

    pub(crate) fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Tries once. Ends within the configured time.
    pub(crate) async fn attempt(&self, delivery: &Delivery, now: Timestamp) -> Verdict {
        match self.ambient.timeout(self.timeout, self.exchange(delivery, now)).await {
            Some(Ok(reply)) => verdict_of(&reply, now),
            Some(Err(verdict)) => verdict,
            None => failed(format!("no answer within {:?}", self.timeout), Health::Silent),
        }
    }

    async fn exchange(&self, delivery: &Delivery, now: Timestamp) -> Result<Reply, Verdict> {
        self.guard.literal(&delivery.url).map_err(|refused| impossible(refused.to_string()))?;
        let body = delivery.body.clone().map_err(impossible)?;
        let headers = self.headers(delivery, &body, now).await?;
        let method = match delivery.method {
            Method::Post => sortie_egress::Method::POST,
            Method::Put => sortie_egress::Method::PUT,
        };
        let request = Request { method, url: delivery.url.clone(), headers, body };
        self.transport.exchange(request).await.map_err(verdict_of_error)
    }

    async fn headers(&self, delivery: &Delivery, body: &[u8], now: Timestamp) -> Result<HeaderMap, Verdict> {
        let mut headers = HeaderMap::with_capacity(10);
        headers.insert(IDEMPOTENCY_KEY, header("idempotency key", &delivery.key)?);
        headers.insert(MISSION_ID, header("mission id", delivery.mission_id.as_str())?);
        headers.insert(TRACE_ID, header("trace id", delivery.trace_id.as_str())?);
        headers.insert(CONTENT_TYPE, header("content type", &delivery.content_type)?);
        // What a receiver does for it belongs below the mission, whichever attempt it got.
        let span_id = mission_span(delivery.mission_id.as_str());
        if let Some(traceparent) = traceparent(delivery.trace_id.as_str(), span_id) {
            headers.insert(TRACEPARENT, header("traceparent", &traceparent)?);
        }
        if let Some(reference) = &delivery.secret {
            headers.insert(AUTHORIZATION, self.authorization(reference, delivery).await?);
        }
        if let Some(reference) = self.secrets.signing() {
            let secret = resolve(reference).await.map_err(|error| without_secret(&error))?;
            let seconds = now.as_second();
            let signature = webhook::signature(&secret, &ascii(&delivery.key), seconds, body)
                .map_err(|error| without_secret(&error))?;
            headers.insert(WEBHOOK_ID, header("idempotency key", &delivery.key)?);
            headers.insert(WEBHOOK_TIMESTAMP, HeaderValue::from(seconds));
            headers.insert(WEBHOOK_SIGNATURE, header("signature", &signature)?);
        }
        Ok(headers)
    }

    /// The configuration may have changed since the envelope was admitted, so the permission is asked for each attempt.
    async fn authorization(&self, reference: &SecretRef, delivery: &Delivery) -> Result<HeaderValue, Verdict> {
        self.secrets.may_send(reference, &delivery.url).map_err(|refused| {
            let why = match refused {
                NotSent::Unlisted => format!("the configuration no longer lists the secret {reference}"),
                NotSent::OtherHost => format!("the configuration does not list this host for the secret {reference}"),
                NotSent::Plain => {
                    format!("the configuration does not let the secret {reference} go to this host over plain http")
                }
            };
            impossible(why)
        })?;
        let secret = resolve(reference).await.map_err(|error| without_secret(&error))?;
        secret.bearer().map_err(|error| without_secret(&error))
    }
}

/// `text` as it travels in a header: ASCII, what is not being percent-encoded. Clients and servers take other bytes for
/// Latin-1 or UTF-8 as they please, and a signature over them verifies for some.
fn ascii(text: &str) -> Cow<'_, str> {
    Cow::from(utf8_percent_encode(text, CONTROLS))
}

/// `text` as a header's value.
fn header(what: &str, text: &str) -> Result<HeaderValue, Verdict> {
    HeaderValue::try_from(&*ascii(text)).map_err(|_| impossible(format!("the {what} cannot be sent as a header")))
}

/// A secret that cannot be had now may come: a file is mounted late, a variable is there after the next start.
fn without_secret(error: &SecretError) -> Verdict {
    failed(chain(error), Health::Unknown)
}

fn failed(why: String, health: Health) -> Verdict {
    Verdict::Failed { why, retry_after: None, health }
}

/// What no attempt will be made for.
fn impossible(why: String) -> Verdict {
    Verdict::Hopeless { why, health: Health::Unknown }
}

fn verdict_of(reply: &Reply, now: Timestamp) -> Verdict {
    let why = format!("the receiver answered {}", reply.status.as_u16());
    match reply.status.as_u16() {
        200..=299 => Verdict::Delivered,
        408 | 425 | 429 | 500..=599 => {
            let retry_after = reply.retry_after.as_deref().and_then(|value| retry_after(value, now));
            Verdict::Failed { why, retry_after, health: Health::Answered }
        }
        300..=399 => Verdict::Hopeless { why: format!("{why}: redirects are not followed"), health: Health::Answered },
        _ => Verdict::Hopeless { why, health: Health::Answered },
    }
}

fn verdict_of_error(error: SendError) -> Verdict {
    match error {
        SendError::Refused(refused) => impossible(refused.to_string()),
        SendError::Setup(_) => failed(error.to_string(), Health::Unknown),
        SendError::TimedOut(_) | SendError::Connect(_) | SendError::Broken(_) | SendError::Decode(_) => {
            failed(error.to_string(), Health::Silent)
        }
    }
}

/// Reads the rest of a short answer, so that its connection can be used again; drops that of a long or slow one.
async fn drain(mut answer: Answer) {
    let rest = async {
        let mut left = ANSWER_BYTES_MAX;
        while let Ok(Some(chunk)) = answer.chunk().await {
            match left.checked_sub(chunk.len()) {
                Some(rest) => left = rest,
                None => break,
            }
        }
    };
    // The verdict does not depend on it.
    let _ = tokio::time::timeout(ANSWER_TIME_MAX, rest).await;
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

#[cfg(test)]
#[path = "send_tests.rs"]
mod tests;
