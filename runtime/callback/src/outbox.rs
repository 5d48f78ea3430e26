//! What the courier is told and tells: the only door between deliveries and the journal.

use async_trait::async_trait;
use bytes::Bytes;
use sortie_contract::cursor::Retry;
use sortie_contract::envelope::SecretRef;
use sortie_contract::id::TraceId;
use sortie_contract::{MissionId, MissionNo, Timestamp};
use url::Url;

/// Where deliveries come from, and where it is recorded how far they are.
///
/// For one mission, calls come one after the other, never two at a time. A method that fails is called again a little
/// later, with the same arguments: recording the same thing twice must be harmless.
#[async_trait]
pub trait Outbox: Send + Sync + 'static {
    /// The first item of the mission that has not been delivered; `None` while there is none, or while it is parked. Only
    /// what is durable may be returned.
    async fn next(&self, mission: MissionNo) -> Result<Option<Delivery>, OutboxError>;

    /// The receiver took `item`. From now on [`Outbox::next`] returns a later one.
    async fn delivered(&self, mission: MissionNo, item: u64) -> Result<(), OutboxError>;

    /// An attempt at `item` failed and will be repeated: `attempts` is how many there have been.
    async fn attempted(&self, mission: MissionNo, item: u64, attempts: u32, retry: &Retry) -> Result<(), OutboxError>;

    /// `item` is given up for now, after `attempts` in all. The mission's later items wait until the operator has it redelivered or skips it, and
    /// [`Courier::wake`](crate::Courier::wake) says so.
    async fn parked(&self, mission: MissionNo, item: u64, attempts: u32, why: String) -> Result<(), OutboxError>;
}

/// The outbox could not be read or moved.
#[derive(Debug, thiserror::Error)]
#[error("the outbox failed")]
pub struct OutboxError(#[source] Box<dyn std::error::Error + Send + Sync>);

impl OutboxError {
    /// With its cause.
    pub fn new(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(cause.into())
    }
}

/// One thing to be sent.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Its number among the mission's outgoing items: 1, 2, 3 ….
    pub item: u64,
    /// Its `Idempotency-Key`: the same on every attempt, never used for anything else.
    pub key: String,
    /// How.
    pub method: Method,
    /// Where to.
    pub url: Url,
    /// The `X-Mission-Id`.
    pub mission_id: MissionId,
    /// The `X-Trace-Id`, and the `traceparent` where it has that form.
    pub trace_id: TraceId,
    /// The `Content-Type`.
    pub content_type: String,
    /// What; or why it is not there any more, for people. Without a body nothing is sent, and the item is parked.
    pub body: Result<Bytes, String>,
    /// The bearer token to send with it.
    pub secret: Option<SecretRef>,
    /// Since when it could have been sent: since it was recorded, since the one before it was done with, or since it was redelivered by
    /// hand, whichever is latest.
    pub since: Timestamp,
    /// Attempts so far.
    pub attempts: u32,
}

/// How a delivery is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// An event.
    Post,
    /// An upload.
    Put,
}

impl Method {
    /// As HTTP has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Post => "POST",
            Self::Put => "PUT",
        }
    }
}
