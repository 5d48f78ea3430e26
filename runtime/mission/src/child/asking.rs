//! What children ask people, as those above them are told: whoever hears of a mission alone, by its callback, hears of what it is blocked by
//! (contract, 5.3), though another mission asks.
//!
//! A mission is told what each of its children asks, and what that was told of those below it: so it goes up, level by level. Only that is told. Who
//! decides tells the mission that asks, and there it is decided.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec;
use alloc::vec::Vec;

use jiff::Timestamp;
use serde_json::{Value, json};
use sortie_contract::id::{CallNo, MissionId};
use sortie_contract::limit;
use sortie_contract::overview::REQUEST_TEXT_BYTES_MAX;
use sortie_contract::record::Record;
use sortie_contract::request::{ChildRequest, RequestNo};

use crate::command::Refusal;
use crate::state::Mission;

impl Mission {
    /// What it asks people at the moment, and what those below it do: what its parent is told.
    #[must_use]
    pub fn asks(&self) -> Vec<ChildRequest> {
        let own = self.open_requests().iter().map(|open| ChildRequest {
            of: self.envelope.mission_id.clone(),
            request: open.no,
            kind: open.kind,
            question: limit::clip(&self.told_question(open), REQUEST_TEXT_BYTES_MAX),
            expires_at: open.expires_at,
        });
        own.chain(self.children_ask().cloned()).collect()
    }

    /// What its children ask, and those below them, as far as it was told.
    fn children_ask(&self) -> impl Iterator<Item = &ChildRequest> {
        self.calls.open_children().flat_map(|flight| &flight.child_asks)
    }

    /// Whether one of them asks something.
    pub(crate) fn do_children_ask(&self) -> bool {
        self.children_ask().next().is_some()
    }

    /// The first thing that is asked below it, as people are told.
    pub(crate) fn told_below(&self) -> Option<String> {
        self.children_ask().next().map(summary)
    }

    /// Whether the child of that call asks people something, as far as it was told.
    #[must_use]
    pub fn does_child_ask(&self, call: CallNo) -> bool {
        self.calls.flight(call).is_ok_and(|flight| !flight.child_asks.is_empty())
    }

    /// When the first of what it asks expires; of what those below it ask, where it asks nothing itself.
    #[must_use]
    pub fn expires_first(&self) -> Option<Timestamp> {
        let own = self.open_requests().iter().map(|open| open.expires_at).min();
        own.or_else(|| self.children_ask().map(|asks| asks.expires_at).min())
    }

    /// What is new of what the child of that call asks, where all of it is `open` now.
    pub(crate) fn child_asks(&self, call: CallNo, open: Vec<ChildRequest>) -> Result<Vec<Record>, Refusal> {
        let flight = self.calls.open_children().find(|flight| flight.call == call);
        let known = &flight.ok_or(Refusal::UnknownCall { call })?.child_asks;
        let is_in = |all: &[ChildRequest], one: &ChildRequest| all.iter().any(|other| other.is(&one.of, one.request));
        let heard = known.iter().filter(|asks| !is_in(&open, asks));
        let mut records: Vec<Record> =
            heard.map(|asks| Record::ChildHeard { call, of: asks.of.clone(), request: asks.request }).collect();
        let fresh: Vec<ChildRequest> = open.into_iter().filter(|asks| !is_in(known, asks)).collect();
        if !fresh.is_empty() && self.recorded_bytes >= limit::RECORDED_BYTES_MAX {
            return Ok(vec![self.recorded_too_much()]);
        }
        records.extend(fresh.into_iter().map(|asks| Record::ChildAsks { call, asks }));
        Ok(records)
    }
}

/// What is told as an event where a mission below asks people something: summary and detail. Not as `request`: that would be one of the
/// mission whose event it is.
pub(crate) fn told_of_question(call: CallNo, asks: &ChildRequest) -> (String, Value) {
    let ChildRequest { of, request, kind, question, expires_at } = asks;
    let summary = summary(asks);
    let detail = json!({
        "kind": "child_asks",
        "call": call.0,
        "child_request": {
            "mission_id": of,
            "request_id": request.to_string(),
            "kind": kind,
            "question": question,
            "decisions": kind.decisions(),
            "expires_at": expires_at,
        },
    });
    (summary, detail)
}

fn summary(asks: &ChildRequest) -> String {
    limit::clip(&format!("{} asks: {}", asks.of, asks.question), limit::NOTE_BYTES_MAX)
}

/// The same, where nobody need decide about it any more.
pub(crate) fn told_of_hearing(call: CallNo, of: &MissionId, request: RequestNo) -> (String, Value) {
    let detail = json!({ "kind": "child_heard", "call": call.0, "mission_id": of, "request_id": request.to_string() });
    (format!("Nobody need decide about {request} of {of} any more."), detail)
}
