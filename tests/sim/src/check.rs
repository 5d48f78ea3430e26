//! The invariants of `docs/ARCHITECTURE.md`, said once more and in another way than the core says them.

use std::collections::BTreeMap;
use std::sync::Arc;

use sortie_contract::envelope::Envelope;
use sortie_contract::id::CallNo;
use sortie_contract::outcome::Status;
use sortie_contract::record::{Record, Stamped};
use sortie_contract::request::{Decision, Reach, RequestKind, RequestNo};
use sortie_contract::tool::{Repeat, ToolName};
use sortie_contract::{Spend, Timestamp};
use sortie_mission::Mission;

use crate::envelope::tools;
use crate::outside::Client;
use crate::side::{Item, Side};

/// What the record says of a call that may be made.
#[derive(Debug, Clone)]
pub(crate) struct Grant {
    pub(crate) tool: ToolName,
    pub(crate) repeat: Repeat,
    /// The most that it may cost.
    pub(crate) reserved: Spend,
    /// The record that let it go on last.
    record: usize,
}

/// The grant of a call; none, where it was never granted.
pub(crate) fn grant(records: &[Stamped], wanted: CallNo) -> Option<Grant> {
    let (mut held, mut granted) = (None, None);
    for (index, Stamped { record, .. }) in records.iter().enumerate() {
        match record {
            Record::CallStarted { call, tool, repeat, reserved, .. } if *call == wanted => {
                held = Some(Grant { tool: tool.clone(), repeat: *repeat, reserved: *reserved, record: index });
                granted.clone_from(&held);
            }
            Record::CallHeld { call, tool, repeat, reserved, .. } if *call == wanted => {
                held = Some(Grant { tool: tool.clone(), repeat: *repeat, reserved: *reserved, record: index });
            }
            Record::CallResumed { call } if *call == wanted => {
                granted = held.clone().map(|held| Grant { record: index, ..held });
            }
            _ => {}
        }
    }
    granted
}

/// 8. State equals the fold of the journal; and what follows from the records alone.
pub(crate) fn fold(side: &Side) {
    let mission = &side.mission;
    let folded = Mission::fold(Arc::clone(mission.envelope()), &side.records);
    assert_eq!(folded.as_ref(), Ok(mission), "state is the fold of the records");
    let blocked = mission.status() == Status::Blocked;
    assert_eq!(blocked, !mission.open_requests().is_empty(), "blocked is: somebody is asked");
    one_end(&side.records, mission.status());
    budget(mission.envelope(), &side.records);
    calls_once(&side.records);
    numbered(&side.items);
}

/// 1. and 2. One final record at most, the last one.
fn one_end(records: &[Stamped], status: Status) {
    let is_end = |stamped: &Stamped| matches!(stamped.record, Record::Finished { .. });
    let ends = records.iter().filter(|stamped| is_end(stamped)).count();
    assert_eq!(ends, usize::from(status.is_final()), "an end is recorded once");
    assert!(ends == 0 || records.last().is_some_and(is_end), "nothing follows the end");
}

/// 2. Events are numbered 1, 2, 3 ….
fn numbered(items: &[Item]) {
    let numbers = items.iter().filter_map(|item| item.key.rsplit_once('/')?.1.parse::<u64>().ok());
    assert!(numbers.eq(1..=items.iter().filter(|item| item.key.contains('/')).count() as u64), "a gap in the events");
}

/// 4. What was spent and is set aside never passes the limit, raised by what was granted.
fn budget(envelope: &Envelope, records: &[Stamped]) {
    let Some(mut limit) = envelope.budget.cost_max.filter(|max| max.0 > 0).map(|max| max.0) else { return };
    let (mut booked, mut prices, mut made) = (0, BTreeMap::new(), BTreeMap::new());
    for Stamped { record, .. } in records {
        match record {
            Record::CallStarted { call, reserved, .. } => {
                prices.insert(*call, reserved.cost.0);
                made.insert(*call, reserved.cost.0);
                booked += reserved.cost.0;
            }
            Record::CallHeld { call, reserved, .. } => drop(prices.insert(*call, reserved.cost.0)),
            Record::CallResumed { call } => {
                made.insert(*call, prices[call]);
                booked += prices[call];
            }
            // Nobody knows what became of it: it counts as spent, and what comes of it counts again.
            Record::Requested { call, kind: RequestKind::Uncertain, .. } => drop(made.remove(call)),
            Record::CallFinished { call, spent, .. } => {
                if let Some(reserved) = made.remove(call) {
                    assert!(spent.cost.0 <= reserved, "call {call} cost more than was set aside");
                    booked = booked - reserved + spent.cost.0;
                }
            }
            Record::Decided { decision: Decision::Grant { cost, .. }, .. } => limit += cost.0,
            _ => {}
        }
        assert!(booked <= limit, "{booked} of {limit} micro-dollars are booked");
    }
}

/// 6. No call has two results, and none goes on but by a decision about itself.
fn calls_once(records: &[Stamped]) {
    let (mut asked, mut finished) = (BTreeMap::new(), Vec::new());
    let (mut in_memory, mut broke_off) = (false, false);
    let mut expires = BTreeMap::new();
    for (index, Stamped { at, record, .. }) in records.iter().enumerate() {
        match record {
            Record::Started { .. } => broke_off = std::mem::replace(&mut in_memory, true),
            Record::Suspended { .. } => in_memory = false,
            Record::Decided { request, .. } => assert!(*at < expires[request], "{request} was decided after its time"),
            Record::Requested { request, call, kind, expires_at, .. } => {
                expires.insert(*request, *expires_at);
                let is_doubted = *kind == RequestKind::Uncertain;
                assert!(!is_doubted || broke_off, "call {call} is doubted, and nobody was there to make it");
                assert_eq!(asked.insert(*request, *call), None, "{request} is asked twice");
            }
            Record::CallResumed { call } => {
                let decided = match &records[index - 1].record {
                    Record::Decided { request, .. } => asked.get(request),
                    _ => None,
                };
                assert_eq!(decided, Some(call), "nobody decided about call {call}");
            }
            Record::CallFinished { call, .. } => {
                assert!(!finished.contains(call), "call {call} has two results");
                finished.push(*call);
            }
            _ => {}
        }
    }
}

/// 3., 5. and 7. What must be true of a call at the moment in which it leaves the node.
pub(crate) fn may_be_sent(side: &Side, client: &Client, call: CallNo, wall: Timestamp) {
    let envelope = &client.envelope;
    assert!(!client.cancelled, "call {call} after the cancel");
    assert!(!side.mission.status().is_final(), "call {call} after the end");
    assert!(envelope.window.end_at.is_none_or(|end| wall < end), "call {call} after the window");
    let Grant { tool, repeat, record, .. } = grant(&side.records, call).expect("a call that was granted");
    let names = |patterns: &[String]| patterns.iter().any(|pattern| pattern.eq_ignore_ascii_case(tool.as_str()));
    assert!(names(&envelope.constraints.allowed_tools), "`{tool}` is not allowed");
    assert!(!names(&envelope.constraints.forbidden_tools), "`{tool}` is forbidden");
    if needs_approval(envelope, &tool) {
        assert!(is_approved(&side.records, call, &tool), "`{tool}` was not approved");
    }
    if repeat != Repeat::ReadOnly {
        assert!(record < side.durable, "call {call} left before its grant was on disk");
    }
}

fn needs_approval(envelope: &Envelope, name: &ToolName) -> bool {
    let known = tools();
    let tool = known.iter().find(|tool| tool.name == *name).expect("a tool of the node");
    let bare = tool.effects.is_empty() && !tool.read_only;
    envelope.constraints.approval_required.iter().any(|entry| {
        let of_class = tool.effects.iter().any(|class| class.0 == *entry);
        entry.eq_ignore_ascii_case(name.as_str()) || of_class || (entry == "no_such_class" && bare)
    })
}

fn is_approved(records: &[Stamped], wanted: CallNo, wanted_tool: &ToolName) -> bool {
    let (mut tools, mut calls) = (BTreeMap::new(), BTreeMap::<RequestNo, CallNo>::new());
    records.iter().any(|stamped| match &stamped.record {
        Record::CallHeld { call, tool, .. } => {
            tools.insert(*call, tool.clone());
            false
        }
        Record::Requested { request, call, .. } => {
            calls.insert(*request, *call);
            false
        }
        Record::Decided { request, decision: Decision::Approve { reach }, .. } => match reach {
            Reach::Call => calls[request] == wanted,
            Reach::Tool => tools[&calls[request]] == *wanted_tool,
            Reach::Mission => true,
        },
        _ => false,
    })
}

/// 6. What may have been done with effect is done again only where somebody said so.
pub(crate) fn effects(side: &Side, client: &Client) {
    for (call, effects) in &client.calls {
        let repeats = side.records[..side.durable].iter().filter(|stamped| {
            matches!(&stamped.record, Record::Decided { request, decision: Decision::Repeat, .. }
                if call_of(&side.records, *request) == Some(*call))
        });
        let allowed = 1 + u32::try_from(repeats.count()).expect("a few");
        let grant = grant(&side.records[..side.durable], *call);
        match grant.map(|grant| grant.repeat) {
            Some(Repeat::Effectful) => {
                assert!(effects.sent <= allowed, "call {call} was made {} times, {allowed} allowed", effects.sent);
            }
            Some(_) => {}
            None => panic!("call {call} was made, and the journal does not know of it"),
        }
        assert!(effects.landed <= effects.sent, "call {call} had an effect out of nothing");
    }
}

fn call_of(records: &[Stamped], wanted: RequestNo) -> Option<CallNo> {
    records.iter().find_map(|stamped| match &stamped.record {
        Record::Requested { request, call, .. } if *request == wanted => Some(*call),
        _ => None,
    })
}

/// 1. and 7. What a crash has left: a prefix of what there was, with all that was on disk.
pub(crate) fn survived(before: &Side, after: &Side) {
    let (found, there) = (after.records.len(), before.records.len());
    assert!(found >= before.durable, "{found} records of {} that were on disk", before.durable);
    assert_eq!(after.records[..], before.records[..found.min(there)], "other records than were written");
    assert_eq!(before.no, after.no);
}

/// 1. and 7. Nothing that somebody was told depends on what a crash took away.
pub(crate) fn promises(client: &Client, side: &Side) {
    assert!(client.accepted.is_none_or(|no| no == side.no), "accepted as another mission");
    assert!(!client.cancelled || side.mission.status() == Status::Cancelled, "cancelled, and it goes on");
    for (request, decision) in &client.decided {
        let is_it = |stamped: &Stamped| match &stamped.record {
            Record::Decided { request: decided, decision: taken, .. } => decided == request && taken == decision,
            _ => false,
        };
        assert!(side.records[..side.durable].iter().any(is_it), "the decision about {request} is lost");
    }
    for ((key, body), item) in client.arrived.iter().zip(&side.items) {
        assert!(*key == item.key && *body == item.body, "{key} was delivered, and is now {item:?}");
        assert!(item.record < side.durable, "{key} was delivered before it was on disk");
    }
    assert!(client.arrived.len() <= side.items.len(), "more was delivered than there is");
    assert!(client.end.is_none_or(|end| end == side.mission.status()), "a final status changed");
}

/// At the end of a history: all that was acknowledged is over, and delivered.
pub(crate) fn over(client: &Client, side: &Side) {
    assert!(side.mission.status().is_final(), "it is {}", side.mission.status());
    assert!(side.is_durable() && side.cursor.is_none(), "not all of it was delivered");
    if client.envelope.callback.is_some() {
        assert_eq!(client.arrived.len(), side.items.len(), "everything arrived");
        assert_eq!(client.end, Some(side.mission.status()), "the final event arrived");
    }
    let reason = side.mission.reason().expect("it is over").as_str();
    assert!(client.moody || reason != "nondeterminism", "a replay differed from its record");
}
