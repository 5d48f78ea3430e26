//! A channel as it is shown: what it is told of, what it is owed, and how it fares.

use jiff::Timestamp;
use serde::Serialize;

use super::Channel;
use crate::ledger::Ledger;
use crate::news::Kind;

/// A channel, for those who look after a node.
#[derive(Debug, Clone, Serialize)]
pub struct View {
    /// What it is called.
    pub name: String,
    /// What its messages look like: `slack`, `ntfy`, `json`, `template` or `mail`.
    pub form: &'static str,
    /// What it is told of.
    pub on: Vec<Kind>,
    /// Whether its messages have links that decide.
    pub links: bool,
    /// How many things it has not been told of yet.
    pub owed: u64,
    /// How many messages arrived.
    pub sent: u64,
    /// When the last of them did.
    pub sent_at: Option<Timestamp>,
    /// Attempts that ever failed.
    pub failures: u64,
    /// Attempts that failed in a row; 0 where it is well.
    pub failed_attempts: u32,
    /// Since when it fails.
    pub failing_since: Option<Timestamp>,
    /// Why.
    pub error: Option<String>,
    /// When it is tried again.
    pub next_attempt_at: Option<Timestamp>,
}

impl Channel {
    pub(super) fn view(&self) -> View {
        let ledger = self.ledger.lock();
        let (ledger, failing) = (ledger.as_ref(), ledger.as_ref().and_then(Ledger::failing));
        View {
            name: self.meant.name.clone(),
            form: self.meant.form,
            on: self.meant.rules.on.clone(),
            links: self.meant.links,
            owed: ledger.map_or(0, Ledger::owed),
            sent: ledger.map_or(0, |ledger| ledger.sent),
            sent_at: ledger.and_then(|ledger| ledger.sent_at),
            failures: ledger.map_or(0, |ledger| ledger.failures),
            failed_attempts: failing.map_or(0, |failing| failing.attempts),
            failing_since: failing.map(|failing| failing.since),
            error: failing.map(|failing| failing.why.clone()),
            next_attempt_at: failing.map(|failing| failing.next),
        }
    }
}
