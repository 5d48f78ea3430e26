//! One attempt at one delivery: what is sent, and what the answer means.

use std::error::Error as _;
use std::fmt::Write as _;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, redirect};
use sortie_contract::envelope::SecretRef;
use sortie_contract::trace::traceparent;

use crate::backoff::retry_after;
use crate::board::Health;
use crate::config::{CallbackConfig, ConfigError};
use crate::guard::{Guard, Refused};
use crate::outbox::{Delivery, Method};
use crate::secret::{NotSent, Secret, SecretError, Secrets, resolve};
use crate::sign::signature;

/// How much of an answer's body is read before its connection is given up, in bytes. Nothing in it is looked at; a short one is read
/// to its end so that the connection can serve the next delivery.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// How long the rest of an answer may take once its status is known: the outcome is decided by then.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(1);

/// Idle connections are closed after this: just below what common servers wait.
const IDLE_TIME_MAX: Duration = Duration::from_secs(50);

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const MISSION_ID: HeaderName = HeaderName::from_static("x-mission-id");
const TRACE_ID: HeaderName = HeaderName::from_static("x-trace-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

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

/// What makes attempts; the courier's tests have another one.
#[async_trait]
pub(crate) trait Transport: Send + Sync + 'static {
    /// Tries once. Ends within the configured time.
    async fn attempt(&self, delivery: &Delivery, now: Timestamp) -> Verdict;
}

/// The transport over HTTP.
pub(crate) struct Http {
    client: Client,
    guard: Guard,
    secrets: Secrets,
    timeout: Duration,
}

impl Http {
    pub(crate) fn new(config: &CallbackConfig) -> Result<Self, ConfigError> {
        let guard = Guard::new(config)?;
        // The process has one provider of cryptography. Another part of it may have chosen already, and that is as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .dns_resolver(guard.clone())
            .redirect(redirect::Policy::none())
            // A proxy would connect where the guard does not see it.
            .no_proxy()
            .referer(false)
            .connect_timeout(config.connect_timeout)
            .pool_max_idle_per_host(config.concurrency_per_receiver)
            .pool_idle_timeout(IDLE_TIME_MAX)
            .tcp_nodelay(true)
            .user_agent(concat!("sortie/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(ConfigError::Client)?;
        Ok(Self { client, guard, secrets: Secrets::new(config)?, timeout: config.timeout })
    }

    pub(crate) fn guard(&self) -> &Guard {
        &self.guard
    }

    pub(crate) fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Sends, and waits for the head of the answer.
    async fn exchange(&self, delivery: &Delivery, now: Timestamp) -> Result<Response, Verdict> {
        if self.guard.literal(&delivery.url).is_err() {
            return Err(impossible(Refused.to_string()));
        }
        let body = delivery.body.clone().map_err(impossible)?;
        let headers = self.headers(delivery, &body, now).await?;
        let method = match delivery.method {
            Method::Post => reqwest::Method::POST,
            Method::Put => reqwest::Method::PUT,
        };
        let request = self.client.request(method, delivery.url.clone()).headers(headers).body(body);
        request.send().await.map_err(|error| verdict_of_error(&error))
    }

    async fn headers(&self, delivery: &Delivery, body: &[u8], now: Timestamp) -> Result<HeaderMap, Verdict> {
        let mut headers = HeaderMap::with_capacity(10);
        headers.insert(IDEMPOTENCY_KEY, header("idempotency key", &delivery.key)?);
        headers.insert(MISSION_ID, header("mission id", delivery.mission_id.as_str())?);
        headers.insert(TRACE_ID, header("trace id", delivery.trace_id.as_str())?);
        headers.insert(CONTENT_TYPE, header("content type", &delivery.content_type)?);
        let span_id = rand::random::<u64>().max(1);
        if let Some(traceparent) = traceparent(delivery.trace_id.as_str(), span_id) {
            headers.insert(TRACEPARENT, header("traceparent", &traceparent)?);
        }
        if let Some(reference) = &delivery.secret {
            headers.insert(AUTHORIZATION, self.authorization(reference, delivery).await?);
        }
        if let Some(reference) = self.secrets.signing() {
            let secret = resolve(reference).await.map_err(|error| without_secret(&error))?;
            let seconds = now.as_second();
            let signature = signature(&secret, &delivery.key, seconds, body).map_err(|error| without_secret(&error))?;
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
        bearer(&secret).map_err(|error| without_secret(&error))
    }
}

#[async_trait]
impl Transport for Http {
    async fn attempt(&self, delivery: &Delivery, now: Timestamp) -> Verdict {
        match tokio::time::timeout(self.timeout, self.exchange(delivery, now)).await {
            Ok(Ok(response)) => {
                let verdict = verdict_of(response.status(), response.headers().get(RETRY_AFTER), now);
                drain(response).await;
                verdict
            }
            Ok(Err(verdict)) => verdict,
            Err(_) => failed(format!("no answer within {:?}", self.timeout), Health::Silent),
        }
    }
}

pub(crate) fn bearer(secret: &Secret) -> Result<HeaderValue, SecretError> {
    let mut value =
        HeaderValue::try_from(format!("Bearer {}", secret.expose())).map_err(|_| SecretError::HeaderForm)?;
    value.set_sensitive(true);
    Ok(value)
}

/// `text` as a header's value, in UTF-8: ids may hold any letter, and the receiver is to find them unchanged.
fn header(what: &str, text: &str) -> Result<HeaderValue, Verdict> {
    let value = HeaderValue::from_bytes(text.as_bytes());
    value.map_err(|_| impossible(format!("the {what} cannot be sent as a header")))
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

fn verdict_of(status: StatusCode, retry_header: Option<&HeaderValue>, now: Timestamp) -> Verdict {
    let why = format!("the receiver answered {}", status.as_u16());
    match status.as_u16() {
        200..=299 => Verdict::Delivered,
        408 | 425 | 429 | 500..=599 => {
            let asked = retry_header.and_then(|value| value.to_str().ok());
            let retry_after = asked.and_then(|value| retry_after(value, now));
            Verdict::Failed { why, retry_after, health: Health::Answered }
        }
        300..=399 => Verdict::Hopeless { why: format!("{why}: redirects are not followed"), health: Health::Answered },
        _ => Verdict::Hopeless { why, health: Health::Answered },
    }
}

fn verdict_of_error(error: &reqwest::Error) -> Verdict {
    let mut cause = error.source();
    let mut innermost = None;
    while let Some(inner) = cause {
        if inner.is::<Refused>() {
            return impossible(Refused.to_string());
        }
        innermost = Some(inner);
        cause = inner.source();
    }
    let what = if error.is_timeout() {
        "timed out"
    } else if error.is_connect() {
        "cannot connect"
    } else {
        "the connection broke"
    };
    // Not the error's own text: it holds the URL, and its query may be a secret.
    failed(innermost.map_or_else(|| what.to_owned(), |innermost| format!("{what}: {innermost}")), Health::Silent)
}

/// Reads the rest of a short answer, so that its connection can be used again; drops that of a long or slow one.
async fn drain(mut response: Response) {
    let rest = async {
        let mut left = ANSWER_BYTES_MAX;
        while let Ok(Some(chunk)) = response.chunk().await {
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
