//! A mission at a glance: what its head carries for lists.
//!
//! Owned here: which parts of the state lists show, how short, and which records change them. Never here: how a list looks.

use alloc::string::ToString as _;

use sortie_contract::limit::clip;
use sortie_contract::overview::{Overview, REQUESTS_MAX, RequestLine, TEXT_BYTES_MAX};
use sortie_contract::record::Record;

use crate::state::{Mission, OpenRequest, changes_standing};

/// Whether a record may change what lists show, so that the mission's head is to be written with it. What an artifact counts in
/// events is shown with the next of these: a head for each would be most of what is written. Of calls those count that move money:
/// see [`Mission::bookings`].
#[must_use]
pub fn changes_overview(record: &Record) -> bool {
    changes_standing(record)
        || matches!(record, Record::Milestone { .. } | Record::Granted { .. } | Record::Overbilled { .. })
}

impl Mission {
    /// What lists show of it.
    #[must_use]
    pub fn overview(&self) -> Overview {
        let open = self.open_requests();
        Overview {
            objective: clip(&self.envelope().objective, TEXT_BYTES_MAX),
            summary: clip(self.last_summary(), TEXT_BYTES_MAX),
            reason: self.reason(),
            sequence: self.sequence(),
            ran_ms: self.ran_ms(),
            spent: self.spent(),
            reserved: self.reserved(),
            budget: *self.budget(),
            plugin: self.plugin().clone(),
            started_at: self.started_at(),
            requests: u32::try_from(open.len()).unwrap_or(u32::MAX),
            first_requests: open.iter().take(REQUESTS_MAX).map(|open| self.request_line(open)).collect(),
        }
    }

    fn request_line(&self, open: &OpenRequest) -> RequestLine {
        let tool = self.calls.flight(open.call).ok().and_then(|flight| flight.tool.as_ref());
        RequestLine {
            no: open.no,
            kind: open.kind,
            tool: tool.map(|tool| tool.as_str().to_string()),
            question: clip(&open.question, TEXT_BYTES_MAX),
            expires_at: open.expires_at,
        }
    }
}
