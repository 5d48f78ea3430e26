//! Why a mission stands as it does: of all its records those that led there, the nearest cause first.
//!
//! Owned here: which records are causes of which end, and of which waiting. Never here: what the node keeps from it (its turn, room,
//! hours), which whoever shows a mission tells as `waits_for`.

use alloc::borrow::ToOwned as _;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec;
use alloc::vec::Vec;

use sortie_contract::id::{CallNo, MissionId};
use sortie_contract::outcome::{Reason, Verdict};
use sortie_contract::plugin::LogLevel;
use sortie_contract::record::{Closing, Record, Stamped};
use sortie_contract::request::{ChildRequest, Decision, NOBODY, RequestNo};
use sortie_contract::tool::CallError;
use sortie_contract::{Timestamp, limit};

/// Most causes that are told, the last of them for those that are left out: what lies further back is in the journal.
const CAUSES_MAX: usize = 8;

/// Most bytes of a cause; the record has the whole.
const SAYS_BYTES_MAX: usize = 600;

/// A record, and what it has to do with how the mission stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// Its number in the journal, from 1.
    pub record: u64,
    /// When it was recorded.
    pub at: Timestamp,
    /// For people.
    pub says: String,
}

/// A record by its number and time.
#[derive(Debug, Clone, Copy)]
struct Place {
    record: u64,
    at: Timestamp,
}

impl Place {
    fn cause(self, says: impl AsRef<str>) -> Cause {
        Cause { record: self.record, at: self.at, says: limit::clip(says.as_ref(), SAYS_BYTES_MAX).to_owned() }
    }
}

/// A call, as far as it is a cause.
#[derive(Debug)]
struct Call {
    tool: String,
    began: Place,
    /// How it ended badly.
    error: Option<(Place, CallError)>,
    is_over: bool,
    /// Why it is put off.
    put_off: Option<Cause>,
    /// What its child, and those below that, ask people: who, and which request.
    child_asks: Vec<(MissionId, RequestNo, Cause)>,
}

/// A request, as far as it is a cause.
#[derive(Debug)]
struct Request {
    asked: Place,
    call: CallNo,
    question: String,
    decided: Option<(Place, Decision, String, String)>,
    is_withdrawn: bool,
}

/// What is known of a mission so far: its records are told to it in their order.
#[derive(Debug, Default)]
pub struct Story {
    /// The number of the next record, from 0.
    next: u32,
    calls: BTreeMap<CallNo, Call>,
    requests: BTreeMap<RequestNo, Request>,
    /// The last judgement of each criterion that does not hold.
    unmet: BTreeMap<u32, Cause>,
    closing: Vec<(Closing, Place)>,
    windows: Vec<Cause>,
    starts: Vec<Cause>,
    logged: Option<Cause>,
    suspended: Option<Cause>,
    milestone: Option<Cause>,
    accepted: Option<Cause>,
    unreadable: Option<Cause>,
    end: Option<(Reason, Cause)>,
    /// What the end says in words.
    summary: String,
}

impl Story {
    /// The next record.
    pub fn hear(&mut self, stamped: &Stamped) {
        let place = Place { record: u64::from(self.next) + 1, at: stamped.at };
        self.next = stamped.next_no(self.next);
        match &stamped.record {
            Record::Accepted(_) => self.accepted = Some(place.cause("it was accepted, and has not been started since")),
            Record::Started { run, .. } => {
                (self.accepted, self.suspended) = (None, None);
                let says = format!("run {run} of its plugin began");
                self.starts.push(place.cause(says));
            }
            Record::Suspended { until } => {
                let until = until.map_or(String::new(), |until| format!(", until {until}"));
                self.suspended = Some(place.cause(format!("its plugin waits, out of memory{until}")));
            }
            Record::Milestone { text, .. } => self.milestone = Some(place.cause(format!("it had come to: {text}"))),
            Record::Logged { level: LogLevel::Error, text, .. } => {
                self.logged = Some(place.cause(format!("its plugin said: {text}")));
            }
            Record::Judged { criterion, verdict: Verdict::Unmet, evidence, .. } => {
                let says = format!("criterion {} was found not to hold: {evidence}", criterion + 1);
                self.unmet.insert(*criterion, place.cause(says));
            }
            Record::Judged { criterion, .. } => drop(self.unmet.remove(criterion)),
            Record::Closing { limit } => self.closing.push((*limit, place)),
            Record::OpenUntil { at } => self.windows.push(place.cause(format!("its lane or its node closes at {at}"))),
            Record::CarriedOver { end_at, .. } => {
                let end = end_at.map_or(String::new(), |end| format!(", which ends at {end}"));
                self.windows.push(place.cause(format!("it was carried over into a further window{end}")));
            }
            Record::Unreadable { .. } => {
                self.unreadable = Some(place.cause("what stands here cannot be read any more"));
            }
            Record::Finished { status, reason, summary, .. } => {
                self.end = Some((*reason, place.cause(format!("it ended {status} ({reason}): {summary}"))));
                self.summary.clone_from(summary);
            }
            record => self.hear_of_a_call(place, record),
        }
    }

    fn hear_of_a_call(&mut self, place: Place, record: &Record) {
        match record {
            Record::CallStarted { call, tool, .. } | Record::CallHeld { call, tool, .. } => {
                self.begun(*call, tool.to_string(), place);
            }
            Record::CallRefused { call, tool, error, .. } => {
                self.begun(*call, tool.to_string(), place);
                self.ended(*call, Some((place, error.clone())));
            }
            Record::CallFinished { call, outcome, .. } => {
                self.ended(*call, outcome.as_ref().err().map(|error| (place, error.clone())));
            }
            Record::CallResumed { call } | Record::CallAgain { call } => {
                if let Some(call) = self.calls.get_mut(call) {
                    call.put_off = None;
                }
            }
            Record::Postponed { call, until, why } | Record::PaymentAwaited { call, until, why } => {
                if let Some(known) = self.calls.get_mut(call) {
                    let says = format!("call {call}, `{}`, is put off until {until}: {why}", known.tool);
                    known.put_off = Some(place.cause(says));
                }
            }
            Record::Requested { request, call, question, .. } | Record::Elicited { request, call, question, .. } => {
                let asked = Request {
                    asked: place,
                    call: *call,
                    question: question.clone(),
                    decided: None,
                    is_withdrawn: false,
                };
                self.requests.insert(*request, asked);
            }
            Record::ChildAsks { call, asks } => {
                if let Some(known) = self.calls.get_mut(call) {
                    let ChildRequest { of, request, question, .. } = asks;
                    let says = format!("{of} asks people ({request}), and nobody has decided: {question}");
                    known.child_asks.push((of.clone(), *request, place.cause(says)));
                }
            }
            Record::ChildHeard { call, of, request } => {
                if let Some(known) = self.calls.get_mut(call) {
                    known.child_asks.retain(|(other, no, _)| (other, no) != (of, request));
                }
            }
            Record::Decided { request, decision, by, note } => {
                if let Some(known) = self.requests.get_mut(request) {
                    known.decided = Some((place, decision.clone(), by.clone(), note.clone()));
                }
            }
            Record::Withdrawn { request, .. } => {
                if let Some(known) = self.requests.get_mut(request) {
                    known.is_withdrawn = true;
                }
            }
            // What happens on the way, and leads nowhere by itself.
            Record::Accepted(_)
            | Record::Started { .. }
            | Record::Answered { .. }
            | Record::Milestone { .. }
            | Record::Logged { .. }
            | Record::Judged { .. }
            | Record::ArtifactStored { .. }
            | Record::Heartbeat
            | Record::Interrupted
            | Record::Finished { .. }
            | Record::Asked { .. }
            | Record::Reminded { .. }
            | Record::Suspended { .. }
            | Record::Granted { .. }
            | Record::Unreadable { .. }
            | Record::Overbilled { .. }
            | Record::Accompanied
            | Record::NodeStopped
            | Record::OpenUntil { .. }
            | Record::CarriedOver { .. }
            | Record::Closing { .. }
            | Record::Landing { .. }
            | Record::Requoted { .. } => {}
        }
    }

    fn begun(&mut self, call: CallNo, tool: String, began: Place) {
        self.calls
            .insert(call, Call { tool, began, error: None, is_over: false, put_off: None, child_asks: Vec::new() });
    }

    fn ended(&mut self, call: CallNo, error: Option<(Place, CallError)>) {
        if let Some(known) = self.calls.get_mut(&call) {
            (known.is_over, known.error, known.put_off) = (true, error, None);
            known.child_asks.clear();
        }
    }

    /// The first of the calls that it failed of, as far as its record says: of those that ended badly since it last came to something, and,
    /// where its end names a tool, of that tool. None where it is done, or where no call ended badly.
    pub(crate) fn failed_at(&self) -> Option<CallNo> {
        let reason = self.end.as_ref().map(|(reason, _)| *reason);
        if reason == Some(Reason::Done) {
            return None;
        }
        let since = self.milestone.as_ref().map_or(0, |milestone| milestone.record);
        let behind = || self.failures().filter(|(_, _, place, _)| place.record > since);
        let of_the_tool =
            behind().filter(|(_, call, ..)| reason == Some(Reason::ToolFailed) && self.names(call)).last();
        of_the_tool.or_else(|| behind().last()).map(|(call, ..)| call)
    }

    /// Whether its end names the tool of that call.
    fn names(&self, call: &Call) -> bool {
        self.summary.contains(&format!("`{}`", call.tool))
    }

    /// What led to how it stands: first how it ended, if it did, then what led there.
    #[must_use]
    pub fn causes(self) -> Vec<Cause> {
        let mut causes: Vec<Cause> = Vec::new();
        match &self.end {
            None => causes.extend(self.waiting()),
            Some((reason, end)) => {
                causes.push(end.clone());
                causes.extend(self.led_to(*reason));
            }
        }
        // The last that is told stands for all that are not.
        let left_out = causes.len().saturating_sub(CAUSES_MAX - 1);
        if left_out > 1 {
            causes.truncate(CAUSES_MAX);
            if let Some(last) = causes.last_mut() {
                last.says = format!("{left_out} more records led there, this one first; the journal has them");
            }
        }
        causes
    }

    /// What led to an end.
    fn led_to(&self, reason: Reason) -> Vec<Cause> {
        let milestone = || self.milestone.clone().into_iter().collect::<Vec<_>>();
        let said = || self.logged.clone().into_iter().chain(milestone());
        match reason {
            Reason::Done => milestone(),
            Reason::ToolFailed => self.failure_of_the_tool(),
            Reason::PluginFailed | Reason::OutputMissing => said().chain(self.failed_since()).collect(),
            // A limit is no fault of a call.
            Reason::LimitExceeded => said().collect(),
            Reason::CriterionUnmet => self.unmet.values().cloned().chain(self.failed_since()).collect(),
            Reason::PluginTrapped | Reason::OutOfMemory | Reason::Nondeterminism => said().collect(),
            Reason::CancelledByRequest | Reason::Halted => self.waiting().into_iter().chain(milestone()).collect(),
            Reason::WindowClosed | Reason::RequestExpired => {
                let windows = self.windows.iter().rev().cloned();
                let closing = self.closing_by(&[Closing::Window]);
                self.waiting().into_iter().chain(closing).chain(windows).collect()
            }
            Reason::RunTimeSpent => self.closing_by(&[Closing::RunTime]).chain(self.waiting()).collect(),
            Reason::Interrupted => self.under_way().into_iter().chain(self.starts.iter().rev().cloned()).collect(),
            Reason::Unreadable => self.unreadable.clone().into_iter().collect(),
            Reason::NodeFailed => self.starts.last().cloned().into_iter().collect(),
        }
    }

    /// What it waits for, or waited for when it ended, by its own record.
    fn waiting(&self) -> Vec<Cause> {
        let open = self.requests.iter().rev().filter(|(_, request)| request.decided.is_none() && !request.is_withdrawn);
        let asks = open.map(|(no, request)| {
            request.asked.cause(format!("it asks people ({no}), and nobody has decided: {}", request.question))
        });
        let put_off = self.calls.values().rev().filter_map(|call| call.put_off.clone());
        let below =
            self.calls.values().rev().flat_map(|call| call.child_asks.iter().map(|(_, _, cause)| cause.clone()));
        let mut causes: Vec<Cause> = asks.chain(below).chain(put_off).collect();
        if causes.is_empty() {
            causes = self.under_way();
        }
        causes.extend(self.suspended.clone());
        causes.extend(self.accepted.clone());
        causes
    }

    /// The calls that were being made, the oldest first: it is what the others may wait for.
    fn under_way(&self) -> Vec<Cause> {
        let under_way = self.calls.iter().filter(|(_, call)| !call.is_over && call.put_off.is_none());
        under_way.map(|(no, call)| call.began.cause(format!("call {no}, `{}`, has no result yet", call.tool))).collect()
    }

    /// The calls that ended badly, the last first. One that was stopped because the mission ended is no cause of the end.
    fn failures(&self) -> impl Iterator<Item = (CallNo, &Call, Place, &CallError)> {
        let failed = self.calls.iter().rev().filter_map(|(no, call)| {
            let (place, error) = call.error.as_ref()?;
            Some((*no, call, *place, error))
        });
        failed.filter(|(.., error)| **error != CallError::Cancelled)
    }

    /// Those that ended badly since the mission last came to something, each with what led to that: before, it went on all the same.
    fn failed_since(&self) -> Vec<Cause> {
        let since = self.milestone.as_ref().map_or(0, |milestone| milestone.record);
        let failed = self.failures().filter(|(_, _, place, _)| place.record > since);
        failed.flat_map(|(no, call, place, error)| self.failed_call(no, call, place, error)).collect()
    }

    /// The last failure of the tool that a mission failed of: the one that its end names, else whichever failed last.
    fn failure_of_the_tool(&self) -> Vec<Cause> {
        let failed = self.failures().find(|(_, call, ..)| self.names(call)).or_else(|| self.failures().next());
        failed.map(|(no, call, place, error)| self.failed_call(no, call, place, error)).unwrap_or_default()
    }

    fn failed_call(&self, no: CallNo, call: &Call, place: Place, error: &CallError) -> Vec<Cause> {
        let mut causes = vec![place.cause(format!("call {no}, `{}`, ended {}: {error}", call.tool, error.code()))];
        let request = self.requests.values().rev().find(|request| request.call == no);
        if let Some((place, decision, by, note)) = request.and_then(|request| request.decided.as_ref())
            && *decision == Decision::Deny
        {
            let note = if note.is_empty() { String::new() } else { format!(": {note}") };
            // An answer that never came is none that somebody gave.
            causes.push(place.cause(if by == NOBODY {
                format!("nobody decided about call {no} in time, which counts as turned down{note}")
            } else {
                format!("{by} turned call {no} down{note}")
            }));
        }
        causes
    }

    fn closing_by(&self, limits: &'static [Closing]) -> impl Iterator<Item = Cause> + '_ {
        let came_near = self.closing.iter().rev().filter(|(limit, _)| limits.contains(limit));
        came_near.map(|(limit, place)| place.cause(format!("its limit came near: {}", limit.code().replace('_', " "))))
    }
}

#[cfg(test)]
mod tests {
    use sortie_contract::digest::Digest;
    use sortie_contract::id::RunNo;
    use sortie_contract::request::{Reach, RequestKind};
    use sortie_contract::tool::{Repeat, ToolAnswer, ToolName};
    use sortie_contract::{Spend, Status};

    use super::*;

    fn started(call: u32, tool: &str) -> Record {
        Record::CallStarted {
            call: CallNo(call),
            tool: ToolName::new(tool),
            arguments: "{}".to_owned(),
            digest: Digest::of(b"{}"),
            repeat: Repeat::Effectful,
            reserved: Spend::NOTHING,
        }
    }

    fn finished(call: u32, outcome: Result<ToolAnswer, CallError>) -> Record {
        Record::CallFinished { call: CallNo(call), outcome, spent: Spend::NOTHING }
    }

    fn end(status: Status, reason: Reason) -> Record {
        Record::Finished { status, reason, summary: "It is over.".to_owned(), next_action: "Look.".to_owned() }
    }

    fn asked(call: u32) -> [Record; 2] {
        let held = Record::CallHeld {
            call: CallNo(call),
            tool: ToolName::new("Bash"),
            arguments: "{}".to_owned(),
            digest: Digest::of(b"{}"),
            repeat: Repeat::Effectful,
            reserved: Spend::NOTHING,
        };
        let requested = Record::Requested {
            request: RequestNo(1),
            call: CallNo(call),
            kind: RequestKind::Approval,
            question: "May it?".to_owned(),
            expires_at: Timestamp::UNIX_EPOCH,
        };
        [held, requested]
    }

    fn decided(decision: Decision) -> Record {
        decided_by("ada", decision, "not today")
    }

    fn decided_by(by: &str, decision: Decision, note: &str) -> Record {
        Record::Decided { request: RequestNo(1), decision, by: by.to_owned(), note: note.to_owned() }
    }

    fn milestone(text: &str) -> Record {
        Record::Milestone { call: CallNo(1), text: text.to_owned() }
    }

    fn logged(text: &str) -> Record {
        Record::Logged { call: CallNo(1), level: LogLevel::Error, text: text.to_owned() }
    }

    fn judged(verdict: Verdict) -> Record {
        Record::Judged { call: CallNo(9), criterion: 0, verdict, evidence: "no page".to_owned() }
    }

    fn told(records: Vec<Record>) -> Vec<(u64, String)> {
        let start = Record::Started { run: RunNo(1), alone: false, announced: true };
        let mut story = Story::default();
        for record in core::iter::once(start).chain(records) {
            story.hear(&Stamped { at: Timestamp::UNIX_EPOCH, ran_ms: 0, record });
        }
        story.causes().into_iter().map(|cause| (cause.record, cause.says)).collect()
    }

    fn says(lines: &[(u64, &str)]) -> Vec<(u64, String)> {
        lines.iter().map(|(record, says)| (*record, (*says).to_owned())).collect()
    }

    #[test]
    fn an_end_is_followed_back_to_what_led_there() {
        let failed = || Err(CallError::Failed("no such file".to_owned()));
        let denied = || Err(CallError::Denied("it was turned down".to_owned()));
        let over = |reason| format!("it ended failed ({reason}): It is over.");
        let ([held, requested], [held_again, requested_again]) = (asked(1), asked(1));
        for (records, expected) in [
            (
                vec![
                    started(1, "Read"),
                    finished(1, failed()),
                    started(2, "Bash"),
                    started(3, "Grep"),
                    finished(3, Err(CallError::Cancelled)),
                    end(Status::Failed, Reason::ToolFailed),
                ],
                says(&[(7, &over("tool_failed")), (3, "call 1, `Read`, ended failed: no such file")]),
            ),
            (
                vec![
                    held,
                    requested,
                    decided(Decision::Deny),
                    finished(1, denied()),
                    end(Status::Failed, Reason::PluginFailed),
                ],
                says(&[
                    (6, &over("plugin_failed")),
                    (5, "call 1, `Bash`, ended denied: it was turned down"),
                    (4, "ada turned call 1 down: not today"),
                ]),
            ),
            // An answer that never came is nobody's.
            (
                vec![
                    held_again,
                    requested_again,
                    decided_by(NOBODY, Decision::Deny, "no answer came until noon"),
                    finished(1, denied()),
                    end(Status::Failed, Reason::PluginFailed),
                ],
                says(&[
                    (6, &over("plugin_failed")),
                    (5, "call 1, `Bash`, ended denied: it was turned down"),
                    (4, "nobody decided about call 1 in time, which counts as turned down: no answer came until noon"),
                ]),
            ),
            (
                vec![judged(Verdict::Unmet), end(Status::Failed, Reason::CriterionUnmet)],
                says(&[(3, &over("criterion_unmet")), (2, "criterion 1 was found not to hold: no page")]),
            ),
            // The last judgement counts.
            (
                vec![judged(Verdict::Unmet), judged(Verdict::Met), end(Status::Failed, Reason::CriterionUnmet)],
                says(&[(4, &over("criterion_unmet"))]),
            ),
            (
                vec![logged("index 7"), end(Status::Failed, Reason::PluginTrapped)],
                says(&[(3, &over("plugin_trapped")), (2, "its plugin said: index 7")]),
            ),
            (
                vec![started(1, "Bash"), end(Status::Failed, Reason::Interrupted)],
                says(&[
                    (3, &over("interrupted")),
                    (2, "call 1, `Bash`, has no result yet"),
                    (1, "run 1 of its plugin began"),
                ]),
            ),
        ] {
            assert_eq!(told(records), expected);
        }
    }

    #[test]
    fn a_call_that_failed_is_a_cause_of_some_ends_only() {
        let failed =
            |call, tool: &str| [started(call, tool), finished(call, Err(CallError::Failed("no such file".to_owned())))];
        let over = |reason, summary: &str| Record::Finished {
            status: Status::Failed,
            reason,
            summary: summary.to_owned(),
            next_action: "Look.".to_owned(),
        };
        // The records 3, 5, 8 and 10 are failures, 6 is a milestone, 11 what the plugin logged as an error.
        let story = |reason, summary: &str| {
            let before = failed(1, "Read")
                .into_iter()
                .chain([started(2, "Bash"), finished(2, Err(CallError::Failed("x".to_owned())))]);
            let behind = failed(3, "Read").into_iter().chain(failed(4, "Grep"));
            let records =
                before.chain([milestone("half of it")]).chain(behind).chain([logged("give up"), over(reason, summary)]);
            told(records.collect()).into_iter().skip(1).collect::<Vec<_>>()
        };
        let [read, grep] =
            [(8, "call 3, `Read`, ended failed: no such file"), (10, "call 4, `Grep`, ended failed: no such file")];
        let [logged, milestone] = [(11, "its plugin said: give up"), (6, "it had come to: half of it")];
        for (reason, summary, expected) in [
            (Reason::ToolFailed, "The tool `Read` failed.", says(&[read])),
            (Reason::ToolFailed, "It is over.", says(&[grep])),
            (Reason::PluginFailed, "It is over.", says(&[logged, milestone, grep, read])),
            (Reason::OutputMissing, "It is over.", says(&[logged, milestone, grep, read])),
            (Reason::CriterionUnmet, "It is over.", says(&[grep, read])),
            (Reason::LimitExceeded, "It is over.", says(&[logged, milestone])),
        ] {
            assert_eq!(story(reason, summary), expected, "{reason}: {summary}");
        }
    }

    #[test]
    fn what_goes_on_is_told_by_what_it_waits_for() {
        let [held, requested] = asked(1);
        let put_off = Record::Postponed { call: CallNo(2), until: Timestamp::UNIX_EPOCH, why: "busy".to_owned() };
        for (records, expected) in [
            (
                vec![held.clone(), requested.clone()],
                says(&[(3, "it asks people (r1), and nobody has decided: May it?")]),
            ),
            (
                vec![
                    held,
                    requested,
                    decided(Decision::Approve { reach: Reach::Call }),
                    Record::CallResumed { call: CallNo(1) },
                ],
                says(&[(2, "call 1, `Bash`, has no result yet")]),
            ),
            (
                vec![started(2, "Model"), put_off],
                says(&[(3, "call 2, `Model`, is put off until 1970-01-01T00:00:00Z: busy")]),
            ),
            (vec![started(1, "Read"), finished(1, Err(CallError::Cancelled))], vec![]),
            (vec![Record::Suspended { until: None }], says(&[(2, "its plugin waits, out of memory")])),
        ] {
            assert_eq!(told(records), expected);
        }
    }

    #[test]
    fn what_is_told_has_a_most() {
        let failing = (1..50)
            .flat_map(|call| [started(call, "Read"), finished(call, Err(CallError::Failed("x".repeat(10_000))))]);
        let causes = told(failing.chain([end(Status::Failed, Reason::PluginFailed)]).collect());
        assert_eq!(causes.len(), CAUSES_MAX);
        let (record, says) = causes.last().expect("there are some");
        // Of 49 failures and the end seven are told; the rest begins with the one of call 43, recorded as 87.
        assert_eq!((*record, says.as_str()), (87, "43 more records led there, this one first; the journal has them"));
        assert!(causes.iter().all(|(_, says)| says.len() <= SAYS_BYTES_MAX));
        assert!(causes[1].1.starts_with("call 49"), "the last first: {causes:?}");
    }
}
