//! What lists show of a mission, without its records: the core makes it, the head of the mission carries it.
//!
//! Everything in it is bounded, because a page shows hundreds; whoever wants the whole text reads the mission.

use crate::digest::Digest;
use crate::envelope::EffectiveBudget;
use crate::limit;
use crate::money::Spend;
use crate::outcome::Reason;
use crate::plugin::PluginIdentity;
use crate::request::{RequestKind, RequestNo};
use jiff::Timestamp;

/// Longest text of an overview in bytes: three lines of a terminal.
pub const TEXT_BYTES_MAX: usize = 256;

/// Open requests that are shown: all of them, because each has a call that waits for it.
pub const REQUESTS_MAX: usize = limit::CALLS_IN_FLIGHT_MAX;

/// Longest question, and longest beginning of arguments, of an open request in bytes: what a person reads in a list.
pub const REQUEST_TEXT_BYTES_MAX: usize = 2 << 10;

/// Most bytes of these texts of all open requests together: where many are open, each has less.
pub const REQUEST_TEXTS_BYTES_MAX: usize = 32 << 10;

/// Longest address in an overview in bytes; most have fewer than a hundred.
pub const ADDRESS_BYTES_MAX: usize = 512;

const _: () = assert!(
    REQUEST_TEXTS_BYTES_MAX / (2 * REQUESTS_MAX) >= TEXT_BYTES_MAX,
    "however many are open, each is told in three lines"
);

/// A mission at a glance, as of its latest record that changes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overview {
    /// What it is to do, cut.
    pub objective: String,
    /// The latest thing that people were told of it, cut.
    pub summary: String,
    /// Why it ended, once it has.
    pub reason: Option<Reason>,
    /// The sequence of its latest event.
    pub sequence: u64,
    /// How long it had been running, in milliseconds. One that is running is older by now.
    pub ran_ms: u64,
    /// What it has spent.
    pub spent: Spend,
    /// What is set aside for calls that are being made.
    pub reserved: Spend,
    /// What it may.
    pub budget: EffectiveBudget,
    /// Which plugin it runs on.
    pub plugin: PluginIdentity,
    /// When its first run began.
    pub started_at: Option<Timestamp>,
    /// How many requests nobody has decided.
    pub requests: u32,
    /// When the first of them expires.
    pub expires_at: Option<Timestamp>,
    /// What it waits for others to do; `None` where an older Sortie wrote the head, until something changes it.
    pub pending: Option<Pending>,
}

/// What a mission waits for others to do: what the lists of deliveries and of requests show of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// How many outgoing items there are so far.
    pub items: u64,
    /// Where they go, cut.
    pub status_url: Option<String>,
    /// The requests that nobody has decided, by number: [`REQUESTS_MAX`] at most.
    pub requests: Vec<RequestLine>,
}

/// An open request, with what a person needs to decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestLine {
    /// Its number.
    pub no: RequestNo,
    /// What is asked for.
    pub kind: RequestKind,
    /// For people, cut.
    pub question: String,
    /// When it was made.
    pub asked_at: Timestamp,
    /// When the mission gives up.
    pub expires_at: Timestamp,
    /// The tool whose call waits for it, and what it is called with; `None` for a question of the plugin.
    pub call: Option<CallLine>,
    /// The most that the call may cost.
    pub wanted: Spend,
}

/// A call that waits for a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallLine {
    /// The tool.
    pub tool: String,
    /// Its arguments; where they are too long, their beginning, which is shorter than `bytes`.
    pub arguments: String,
    /// How long they are, as they were sent.
    pub bytes: u64,
    /// Their digest.
    pub sha256: Digest,
}

impl CallLine {
    /// Whether only the beginning of its arguments is here.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        (self.arguments.len() as u64) < self.bytes
    }
}
