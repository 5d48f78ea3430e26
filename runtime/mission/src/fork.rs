//! Forks: a mission that begins with what another one has on record, up to one of its calls, and goes on from there for real.
//!
//! What is taken over is copied into the fork's own record, so that the fork needs the other mission no more. It is told to the plugin
//! like any record ([`crate::replay`]), and nothing of it is done again. What the other mission spent, how long it ran, and what its
//! events told are its own: none of that is the fork's.
//!
//! An approval holds for the call that it was given for. What somebody approved for later calls of the other mission they approved
//! with that one in mind: calls behind the record are asked about anew.

mod order;
mod place;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec;
use alloc::vec::Vec;

use serde_json::{Value, json};
use sortie_contract::envelope::ForkedFrom;
use sortie_contract::id::CallNo;
use sortie_contract::money::Spend;
use sortie_contract::record::{HostQuestion, Record, Stamped};
use sortie_contract::request::{Decision, Reach, RequestKind, RequestNo};

pub use self::order::{Begun, Draft, NoDraft, Order};
pub use self::place::{Places, Point};
use crate::kind::host_call;
use crate::state::Mission;

/// Why nothing can go on from a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoFork {
    /// It has not made so many.
    #[error("it has made {calls} calls, and there is no call {at}")]
    NoCall {
        /// The call that was named.
        at: u32,
        /// How many there are.
        calls: u32,
    },
    /// Whoever goes on behind it would need an answer that nobody has given, or pay for a call without having set anything aside.
    #[error("call {call} has no result on record, and still waits or costs something: a fork can go on from call {} at most", call.0 - 1)]
    Waits {
        /// The first such call.
        call: CallNo,
    },
    /// Its record cannot be read as one piece.
    #[error("its record has a part that cannot be read, or that was begun anew by the first version of Sortie")]
    Broken,
}

/// The records with which a fork begins, behind its acceptance: what the calls up to and with `at` left in `records`.
///
/// Their times are kept, so that timers are due when they were; how long the mission had been running is not.
///
/// # Errors
/// [`NoFork`]
pub fn taken_over(records: &[Stamped], at: CallNo) -> Result<Vec<Stamped>, NoFork> {
    if records.iter().any(|stamped| matches!(stamped.record, Record::Interrupted | Record::Unreadable { .. })) {
        return Err(NoFork::Broken);
    }
    let calls = records.iter().filter_map(|stamped| host_call(&stamped.record)).map(|call| call.0).max().unwrap_or(0);
    if at.0 > calls {
        return Err(NoFork::NoCall { at: at.0, calls });
    }
    if at.0 == 0 {
        return Ok(Vec::new());
    }
    place::can_go_on(records, at)?;
    let kept = kept_requests(records, at);
    let mut taken = Taken { at, kept, numbers: BTreeMap::new(), is_behind: false, asked_closing: false };
    let mut prefix = Vec::new();
    for stamped in records {
        prefix.extend(taken.of(&stamped.record).into_iter().map(|record| Stamped {
            at: stamped.at,
            ran_ms: 0,
            record,
        }));
    }
    Ok(prefix)
}

/// What was asked about calls up to `at`, and decided, that a plugin or a person can see in the call: approvals, and the plugin's own
/// questions. What was asked about money or after a crash is over with the call's result.
fn kept_requests(records: &[Stamped], at: CallNo) -> BTreeMap<RequestNo, CallNo> {
    let decided: BTreeSet<RequestNo> = records
        .iter()
        .filter_map(|stamped| match &stamped.record {
            Record::Decided { request, .. } => Some(*request),
            _ => None,
        })
        .collect();
    let kept = records.iter().filter_map(|stamped| match &stamped.record {
        Record::Requested { request, call, kind: RequestKind::Approval | RequestKind::Input, .. } => {
            (*call <= at && decided.contains(request)).then_some((*request, *call))
        }
        _ => None,
    });
    kept.collect()
}

/// What is taken over, record by record.
struct Taken {
    at: CallNo,
    kept: BTreeMap<RequestNo, CallNo>,
    /// The numbers that requests have in the fork.
    numbers: BTreeMap<RequestNo, RequestNo>,
    /// A call behind `at` was met: of what follows, only what became of earlier calls counts.
    is_behind: bool,
    /// The plugin asked to be told when a limit comes near.
    asked_closing: bool,
}

impl Taken {
    /// What a record is in the fork.
    fn of(&mut self, record: &Record) -> Vec<Record> {
        let is_held = |call: &CallNo| self.kept.values().any(|kept| kept == call);
        match record {
            record if host_call(record).is_some_and(|call| call > self.at) => {
                self.is_behind = true;
                Vec::new()
            }
            Record::CallHeld { call, tool, arguments, digest, repeat, .. } if is_held(call) => {
                let (tool, arguments, reserved) = (tool.clone(), arguments.clone(), Spend::NOTHING);
                vec![Record::CallHeld { call: *call, tool, arguments, digest: *digest, repeat: *repeat, reserved }]
            }
            Record::CallHeld { call, tool, arguments, digest, repeat, .. }
            | Record::CallStarted { call, tool, arguments, digest, repeat, .. } => {
                let (tool, arguments, reserved) = (tool.clone(), arguments.clone(), Spend::NOTHING);
                vec![Record::CallStarted { call: *call, tool, arguments, digest: *digest, repeat: *repeat, reserved }]
            }
            Record::CallFinished { call, outcome, .. } if *call <= self.at => {
                vec![Record::CallFinished { call: *call, outcome: outcome.clone(), spent: Spend::NOTHING }]
            }
            Record::Requested { request, call, kind, question, expires_at } if self.kept.contains_key(request) => {
                let no = RequestNo(u32::try_from(self.numbers.len()).unwrap_or(u32::MAX).saturating_add(1));
                self.numbers.insert(*request, no);
                let question = question.clone();
                vec![Record::Requested { request: no, call: *call, kind: *kind, question, expires_at: *expires_at }]
            }
            Record::Decided { request, decision, by, note } => self.decided(*request, decision, by, note),
            Record::Closing { .. } if self.asked_closing && !self.is_behind => vec![record.clone()],
            Record::Granted { .. } if !self.is_behind => vec![record.clone()],
            record if host_call(record).is_some() => {
                self.asked_closing |= matches!(record, Record::Answered { question: HostQuestion::Closing, .. });
                vec![record.clone()]
            }
            _ => Vec::new(),
        }
    }

    fn decided(&self, request: RequestNo, decision: &Decision, by: &str, note: &str) -> Vec<Record> {
        let (Some(call), Some(no)) = (self.kept.get(&request), self.numbers.get(&request)) else { return Vec::new() };
        let decision = match decision {
            Decision::Approve { .. } => Decision::Approve { reach: Reach::Call },
            decision => decision.clone(),
        };
        let resumed = decision.is_to_make().then_some(Record::CallResumed { call: *call });
        let decided = Record::Decided { request: *no, decision, by: by.to_string(), note: note.to_string() };
        [decided].into_iter().chain(resumed).collect()
    }
}

/// The first call of such records that tells the plugin how much time or budget the other mission had left: it is told the same again, and a fork
/// has another window and a whole budget.
#[must_use]
pub fn told_of_limits(records: &[Stamped]) -> Option<CallNo> {
    let came_near = records.iter().any(|stamped| matches!(stamped.record, Record::Closing { .. }));
    records.iter().find_map(|stamped| match &stamped.record {
        Record::Answered { call, question, answer, .. } => match question {
            // Without a window there is no deadline, as in a fork.
            HostQuestion::Deadline => (answer != "null").then_some(*call),
            HostQuestion::Left => Some(*call),
            HostQuestion::Closing => came_near.then_some(*call),
            _ => None,
        },
        _ => None,
    })
}

/// Whether a record may be one that a fork has of another mission: [`taken_over`] makes no others.
pub(crate) fn may_be_inherited(record: &Record) -> bool {
    host_call(record).is_some()
        || matches!(
            record,
            Record::Granted { .. }
                | Record::CallFinished { .. }
                | Record::Requested { .. }
                | Record::Decided { .. }
                | Record::CallResumed { .. }
                | Record::Closing { .. }
        )
}

impl Mission {
    /// Where it comes from, if it is a fork.
    #[must_use]
    pub fn forked_from(&self) -> Option<&ForkedFrom> {
        self.envelope.forked_from.as_ref()
    }

    /// Whether its record of that number, counted from 0, is one that it has of another mission.
    #[must_use]
    pub fn is_inherited(&self, no: u32) -> bool {
        no > 0 && self.forked_from().is_some_and(|from| no <= from.records)
    }

    /// What the event of its acceptance tells.
    pub(crate) fn told_of_acceptance(&self, mut detail: Value) -> (String, Value) {
        let Some(from) = self.forked_from() else { return ("Accepted.".to_string(), detail) };
        let ForkedFrom { mission_id, at, calls, diverged_at, .. } = from;
        detail["forked_from"] =
            json!({ "mission_id": mission_id, "at": at, "calls": calls, "diverged_at": diverged_at });
        (format!("Accepted: it goes on from call {calls} of the mission {mission_id}."), detail)
    }
}
