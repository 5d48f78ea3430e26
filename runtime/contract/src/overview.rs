//! What lists show of a mission, without its records: the core makes it, the head of the mission carries it.
//!
//! Everything in it is bounded, because a page shows hundreds; whoever wants the whole text reads the mission.

use crate::envelope::EffectiveBudget;
use crate::money::Spend;
use crate::outcome::Reason;
use crate::plugin::PluginIdentity;
use crate::request::{RequestKind, RequestNo};
use jiff::Timestamp;

/// Longest text of an overview in bytes: three lines of a terminal.
pub const TEXT_BYTES_MAX: usize = 256;

/// Open requests that are shown; the others are counted.
pub const REQUESTS_MAX: usize = 3;

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
    /// The first [`REQUESTS_MAX`] of them.
    pub first_requests: Vec<RequestLine>,
}

/// An open request in a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestLine {
    /// Its number.
    pub no: RequestNo,
    /// What is asked for.
    pub kind: RequestKind,
    /// The tool whose call waits for it.
    pub tool: Option<String>,
    /// For people, cut.
    pub question: String,
    /// When the mission gives up.
    pub expires_at: Timestamp,
}
