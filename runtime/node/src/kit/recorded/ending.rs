//! How a recorded mission ended, and how its case comes to the same end: by itself, or by somebody who cancels it where it was ended from
//! outside. In a case no time goes by while a plugin computes: so an end that time brought to one that did is brought by somebody, too.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use sortie_contract::outcome::{Reason, Status};
use sortie_contract::record::HostQuestion;
use sortie_contract::{Record, Stamped, Timestamp};
use sortie_mission::replay::host_call;

use super::super::case::{Cancel, Case, Wanted, WantedArtifact};

/// How much longer a call takes whose result nobody lived to see.
const LONGER: Duration = Duration::from_secs(60 * 60);

/// The last that is known of a mission.
pub(super) struct Last {
    /// When.
    pub(super) at: Timestamp,
    /// How many calls its plugin has asked for, and how much else is on record that it did.
    asked: u32,
    host_calls: u32,
    /// The numbers of the calls that have no result, and when its timers are due.
    under_way: BTreeSet<u32>,
    timers: Vec<Timestamp>,
    started: bool,
    carried_over: bool,
    /// When its lane or its node closed.
    closes: Option<Timestamp>,
    end: Option<(Status, Reason, String)>,
}

impl Last {
    pub(super) fn new(at: Timestamp) -> Self {
        Self {
            at,
            asked: 0,
            host_calls: 0,
            under_way: BTreeSet::new(),
            timers: Vec::new(),
            started: false,
            carried_over: false,
            closes: None,
            end: None,
        }
    }

    pub(super) fn sees(&mut self, stamped: &Stamped) {
        self.at = stamped.at;
        // What is said of one again is no other.
        let number = host_call(&stamped.record).map(|call| call.0);
        let is_new = number.is_some_and(|number| number > self.host_calls);
        self.host_calls = self.host_calls.max(number.unwrap_or_default());
        match &stamped.record {
            Record::CallStarted { call, .. } | Record::CallHeld { call, .. } | Record::Asked { call, .. } => {
                self.asked += u32::from(is_new);
                self.under_way.insert(call.0);
            }
            Record::CallRefused { .. } => self.asked += u32::from(is_new),
            Record::CallFinished { call, .. } => drop(self.under_way.remove(&call.0)),
            Record::Answered { question: HostQuestion::After, answer, .. } => {
                let due =
                    answer.parse().ok().and_then(|ms: u64| stamped.at.checked_add(Duration::from_millis(ms)).ok());
                self.timers.push(due.unwrap_or(Timestamp::MAX));
            }
            Record::Started { .. } => self.started = true,
            Record::CarriedOver { .. } => self.carried_over = true,
            Record::OpenUntil { at } => self.closes = Some(*at),
            Record::Finished { status, reason, summary, .. } => self.end = Some((*status, *reason, summary.clone())),
            _ => {}
        }
    }

    /// Whether its plugin waited for nothing that takes its time: it computed when it was ended.
    fn computed(&self) -> bool {
        self.started && self.under_way.is_empty() && self.timers.iter().all(|due| *due <= self.at)
    }
}

/// How long a call takes that was under way when its mission ended.
pub(super) fn beyond(since: Timestamp, end: Timestamp) -> Duration {
    Duration::try_from(end.duration_since(since)).unwrap_or_default() + LONGER
}

/// Expects the end, and has somebody bring it about where the plugin did not.
pub(super) fn end(case: &mut Case, last: &Last) {
    if last.carried_over {
        // Its windows are those of a schedule, or of a lane, which a case has not.
        case.mission.remove("autonomy_window");
        case.mission.remove("on_window_end");
    }
    let Some((status, reason, summary)) = &last.end else {
        // What comes of it is what its author wants; as far as it was, it goes on.
        case.expect.calls = None;
        return;
    };
    match reason {
        Reason::Done
        | Reason::PluginFailed
        | Reason::PluginTrapped
        | Reason::OutOfMemory
        | Reason::OutputMissing
        | Reason::CriterionUnmet
        | Reason::ToolFailed
        | Reason::LimitExceeded => {
            case.expect.summary = Some(Wanted::Whole(summary.clone()));
        }
        Reason::WindowClosed if !last.carried_over && !last.computed() => closing(case, last),
        // Run time is spent in a case as it was then where a call takes it, or a timer.
        Reason::RunTimeSpent if !last.computed() => {}
        Reason::RequestExpired => {}
        _ => {
            cancelled(case, last);
            return;
        }
    }
    case.expect.status = Some(status.to_string());
    case.expect.reason = Some(reason.to_string());
    if *reason != Reason::Done {
        return;
    }
    if let Some(outputs) = case.mission.get("artifact_policy").and_then(|policy| policy["required_outputs"].as_array())
    {
        let plain = outputs.iter().filter_map(Value::as_str).filter(|name| !name.contains(['*', '?', '[', '{']));
        case.expect.artifacts.extend(plain.map(|name| (name.to_owned(), WantedArtifact::There(true))));
    }
}

/// The end of the hours of its lane or its node is that of its window, where it came first.
fn closing(case: &mut Case, last: &Last) {
    let Some(closes) = last.closes else { return };
    let window = case.mission.entry("autonomy_window").or_insert_with(|| json!({}));
    let is_later =
        |end: &Value| end.as_str().and_then(|end| end.parse().ok()).is_none_or(|end: Timestamp| end > closes);
    if is_later(&window["end_at"]) {
        window["end_at"] = json!(closes.to_string());
    }
}

/// Somebody, or something, ended it that is no part of a case: it is cancelled at the same place, once the plugin has done what is on record. How
/// long that took is of no matter: it may have computed, or slept.
fn cancelled(case: &mut Case, last: &Last) {
    case.cancel = Some(Cancel {
        call: last.asked,
        after: None,
        host_calls: last.started.then_some(last.host_calls),
        under_way: last.started.then_some(last.under_way.len()),
        reason: "as on record".to_owned(),
    });
    case.expect.status = Some(Status::Cancelled.to_string());
    if !last.started {
        // It waited for its turn.
        let later = last.at.checked_add(LONGER).unwrap_or(last.at);
        case.mission.insert("autonomy_window".to_owned(), json!({ "start_at": later.to_string() }));
    }
}
