//! A mission of which the node cannot read all that it recorded: what stands in the place of what is lost, and how it ends.
//!
//! Its control plane is told of one end, as of any mission's. What was recorded behind the first record that cannot be read is
//! not guessed, and no number of an event that may have been told is used again. Never here: what is wrong with the bytes, and
//! where they are kept.

use alloc::borrow::ToOwned as _;

use sortie_contract::outcome::{Reason, Status};
use sortie_contract::overview::Overview;
use sortie_contract::record::Record;

use crate::finish::Cause;
use crate::state::Mission;

/// What is known of a mission beside the records that can be read.
#[derive(Debug, Clone, Copy)]
pub struct Remains<'a> {
    /// Why the next record cannot be read, for people.
    pub why: &'a str,
    /// A number that is greater than that of any record that it ever had.
    pub until: u32,
    /// How its head says that it stands, where that can be read.
    pub status: Option<Status>,
    /// What its head shows.
    pub overview: Option<&'a Overview>,
    /// Its latest record, where that one can be read, whatever is lost before it.
    pub last: Option<&'a Record>,
    /// How many items its receiver has, or were left out.
    pub acked: u64,
    /// Whether nothing was left to deliver.
    pub delivered: bool,
}

impl Mission {
    /// The two records that go on behind what can be read of it: what is passed over, and its end. `self` is the fold of what can be
    /// read.
    ///
    /// An end that it has come to is its end: a final status never changes. Everything else fails.
    #[must_use]
    pub fn quarantine(&self, remains: &Remains<'_>) -> [Record; 2] {
        let Remains { why, until, acked, delivered, .. } = *remains;
        // An item is one event at most.
        let told = self.sequence() + acked.saturating_sub(self.outgoing());
        let shown = remains.overview.map_or(0, |overview| overview.sequence);
        let latest = self.sequence().max(told).max(shown);
        let ended = self.recorded_end(remains);
        // The event of that end has its number already.
        let of_end = remains.status.is_some_and(Status::is_final) && shown > self.sequence();
        let sequence = if ended.is_some() && of_end { shown - 1 } else { latest };
        let items = if delivered { acked.saturating_sub(1) } else { acked };
        let end = ended.unwrap_or_else(|| self.end(Cause::Unreadable { why, lost: latest - self.sequence() }));
        [Record::Unreadable { until, sequence, items: items.max(self.outgoing()) }, end]
    }

    /// The end that it has come to, where anything says so.
    fn recorded_end(&self, remains: &Remains<'_>) -> Option<Record> {
        if let Some(end @ Record::Finished { .. }) = remains.last {
            return Some(end.clone());
        }
        let status = remains.status.filter(|status| status.is_final())?;
        let reason = remains.overview.and_then(|overview| overview.reason).unwrap_or(Reason::Unreadable);
        let summary = remains.overview.map_or("It has ended.", |overview| &overview.summary).to_owned();
        let next_action = NEXT.to_owned();
        Some(Record::Finished { status, reason, summary, next_action })
    }
}

/// What is to be done about it.
pub(crate) const NEXT: &str = "Its records are kept as they are: restore the node's journal from a backup to have them back. Before the work \
                               is dispatched again, see what it has done already: the node cannot say.";
