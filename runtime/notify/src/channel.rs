//! One attempt at one message: what is sent where, and whether it arrived.

use std::sync::Arc;

use bytes::Bytes;
use sortie_contract::Timestamp;
use sortie_contract::digest::Digest;
use sortie_contract::envelope::SecretRef;
use sortie_egress::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use sortie_egress::{Client, Guard, Method, NamedSecrets, Request, Template, resolve};
use url::Url;

use crate::config::{Mail, web_address};
use crate::ledger::Failed;
use crate::message::Message;
use crate::shape::Shape;

/// How much of an answer is read so that its connection can serve the next message.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// By this a receiver knows a message that it has had: it is the same where it is sent again unchanged.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Where the messages of a channel go.
#[derive(Debug)]
pub(crate) enum Route {
    Webhook(Box<Webhook>),
    Mail(Box<Mail>),
}

/// A webhook.
#[derive(Debug)]
pub(crate) struct Webhook {
    /// Its address, or where that is: read for each attempt.
    pub(crate) address: Result<Url, SecretRef>,
    pub(crate) shape: Shape,
    pub(crate) headers: Vec<(HeaderName, Template)>,
    pub(crate) client: Arc<Client>,
}

impl Route {
    /// Tries once. The caller bounds the time.
    pub(crate) async fn send(
        &self,
        guard: &Guard,
        secrets: &NamedSecrets,
        message: &Message,
        now: Timestamp,
    ) -> Result<(), Failed> {
        match self {
            Self::Webhook(webhook) => webhook.send(secrets, message, now).await,
            Self::Mail(mail) => crate::mail::send(mail, guard, message).await,
        }
    }
}

impl Webhook {
    async fn send(&self, secrets: &NamedSecrets, message: &Message, now: Timestamp) -> Result<(), Failed> {
        let address = self.address().await.map_err(failed)?;
        let posted = self.shape.post(message, &address).map_err(failed)?;
        let mut headers = HeaderMap::new();
        let content_type = HeaderValue::try_from(posted.content_type)
            .map_err(|_| failed("the `content_type` cannot be sent".to_owned()))?;
        headers.insert(CONTENT_TYPE, content_type);
        let key = Digest::of(&posted.body).to_string();
        headers.insert(IDEMPOTENCY_KEY, HeaderValue::try_from(key).map_err(|error| failed(error.to_string()))?);
        let names: Vec<&str> = self.headers.iter().flat_map(|(_, template)| template.names()).collect();
        let opened = secrets.open(names, &address).await.map_err(|error| failed(error.to_string()))?;
        for (name, template) in &self.headers {
            let value = opened.fill(template);
            headers.insert(name, value.ok_or_else(|| failed(format!("the header `{name}` cannot be sent")))?);
        }
        let request = Request { method: Method::POST, url: posted.url, headers, body: Bytes::from(posted.body) };
        let answer = self.client.send(request).await.map_err(|error| failed(error.to_string()))?;
        let status = answer.status().as_u16();
        let retry_after = sortie_egress::retry_after(answer.header(RETRY_AFTER), now);
        // What it says further changes nothing.
        let _ = answer.body(ANSWER_BYTES_MAX).await;
        match status {
            200..=299 => Ok(()),
            300..=399 => Err(failed(format!("the receiver answered {status}: redirects are not followed"))),
            _ => Err(Failed { why: format!("the receiver answered {status}"), retry_after }),
        }
    }

    async fn address(&self) -> Result<Url, String> {
        let reference = match &self.address {
            Ok(address) => return Ok(address.clone()),
            Err(reference) => reference,
        };
        let secret = resolve(reference).await.map_err(|error| error.to_string())?;
        web_address(secret.expose()).map_err(|_| format!("what {reference} holds is no address of a webhook"))
    }
}

fn failed(why: String) -> Failed {
    Failed { why, retry_after: None }
}
