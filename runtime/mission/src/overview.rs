//! A mission at a glance: what its head carries for lists.
//!
//! Owned here: which parts of the state lists show, how short, and which records change them. Never here: how a list looks.

use alloc::string::ToString as _;
use alloc::vec::Vec;

use sortie_contract::limit::clip;
use sortie_contract::money::Spend;
use sortie_contract::overview::{
    ADDRESS_BYTES_MAX, CallLine, Overview, Pending, REQUEST_TEXT_BYTES_MAX, REQUEST_TEXTS_BYTES_MAX, REQUESTS_MAX,
    RequestLine, TEXT_BYTES_MAX,
};
use sortie_contract::record::Record;
use sortie_contract::tool::MISSION;

use crate::kind::{changes_standing, goes_on};
use crate::state::{Mission, OpenRequest};

/// Whether a record may change what lists show, whatever the state.
fn changes_lists(record: &Record) -> bool {
    changes_standing(record)
        || matches!(
            record,
            Record::Milestone { .. }
                | Record::Granted { .. }
                | Record::Overbilled { .. }
                | Record::Landing { .. }
                | Record::ArtifactStored { .. }
                | Record::Heartbeat
                | Record::Accompanied
                | Record::Unreadable { .. }
        )
}

impl Mission {
    /// Whether a record that is about to be applied may change what the mission's head says, so that the head is to be written with
    /// it. Of calls those do that move money (see [`Mission::bookings`]), and the first that shows that a run came further than those
    /// that ended with their node. The run time alone writes no head.
    #[must_use]
    pub fn changes_head(&self, record: &Record) -> bool {
        let is_of_child = match record {
            // It may be all that its mission, which is out of memory, waits for; and a share of nothing moves nothing.
            Record::CallFinished { call, .. } => self.order_of_child(*call).is_some(),
            // People are told of it.
            Record::CallStarted { tool, .. } => tool.as_str() == MISSION,
            _ => false,
        };
        is_of_child
            || changes_lists(record)
            || (self.crashes() > 0 && goes_on(record))
            || !self.bookings(record).is_empty()
    }

    /// What lists show of it.
    #[must_use]
    pub fn overview(&self) -> Overview {
        let open = self.open_requests();
        Overview {
            objective: clip(&self.envelope().objective, TEXT_BYTES_MAX),
            summary: clip(&self.last_summary(), TEXT_BYTES_MAX),
            reason: self.reason(),
            sequence: self.sequence(),
            ran_ms: self.ran_ms(),
            spent: self.spent(),
            reserved: self.reserved(),
            budget: *self.budget(),
            plugin: self.plugin().clone(),
            started_at: self.started_at(),
            requests: u32::try_from(open.len()).unwrap_or(u32::MAX),
            expires_at: self.expires_first(),
            pending: Some(self.pending(open)),
        }
    }

    fn pending(&self, open: &[OpenRequest]) -> Pending {
        // A question and arguments each.
        let share = REQUEST_TEXTS_BYTES_MAX / (2 * open.len().clamp(1, REQUESTS_MAX));
        let bytes_max = share.min(REQUEST_TEXT_BYTES_MAX);
        let lines = open.iter().take(REQUESTS_MAX).map(|open| self.request_line(open, bytes_max, bytes_max));
        Pending {
            items: self.outgoing(),
            status_url: self.envelope().callback.as_ref().map(|to| clip(to.status_url.as_str(), ADDRESS_BYTES_MAX)),
            requests: lines.collect::<Vec<_>>(),
        }
    }

    /// An open request, with so much of its question and of the arguments of its call.
    pub(crate) fn request_line(&self, open: &OpenRequest, question_max: usize, arguments_max: usize) -> RequestLine {
        let flight = self.calls.flight(open.call).ok();
        let call = flight.and_then(|flight| {
            Some(CallLine {
                tool: flight.tool.as_ref()?.as_str().to_string(),
                arguments: clip(&flight.arguments, arguments_max),
                bytes: flight.arguments.len() as u64,
                sha256: flight.digest,
            })
        });
        RequestLine {
            no: open.no,
            kind: open.kind,
            question: clip(&open.question, question_max),
            asked_at: open.asked_at,
            expires_at: open.expires_at,
            call,
            wanted: flight.map_or(Spend::NOTHING, |flight| flight.reserved),
        }
    }
}
