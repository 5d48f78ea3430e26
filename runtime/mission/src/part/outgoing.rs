//! How many events and other outgoing items the records have so far.
//!
//! Owned here: the counts, from which an event has its sequence. Never here: what an item looks like, which is the view's to say, and
//! how far it was delivered.

use sortie_contract::artifact::StorageScope;

/// The counts. Nothing that they take up can be illegal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outgoing {
    /// The sequence of the latest event.
    pub(crate) sequence: u64,
    /// Outgoing items; at least as many as events.
    pub(crate) items: u64,
    /// What a fork has of another mission has no events: they were that one's.
    pub(crate) silent: bool,
}

impl Outgoing {
    /// After the acceptance, which has an event.
    pub(crate) const ACCEPTED: Self = Self { sequence: 1, items: 1, silent: false };

    /// Counts an event, where a record has one.
    pub(crate) fn event(&mut self, has_event: bool) {
        let counts = u64::from(has_event && !self.silent);
        self.sequence += counts;
        self.items += counts;
    }

    /// Passes over what may have been told and cannot be read.
    pub(crate) fn pass_over(&mut self, sequence: u64, items: u64) {
        self.sequence = self.sequence.max(sequence);
        self.items = self.items.max(items);
    }

    /// Counts a stored artifact: its upload, where there is one, is an item of its own ahead of the event that speaks of it.
    pub(crate) fn stored(&mut self, scope: StorageScope) {
        self.items += u64::from(scope == StorageScope::Pushback && !self.silent);
        self.event(true);
    }
}
