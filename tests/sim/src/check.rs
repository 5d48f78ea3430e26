//! The invariants of `docs/ARCHITECTURE.md`, said once more and in another way than the core says them, of what can be seen from
//! outside: answers, deliveries, calls of tools, and the journal read back.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use sortie_contract::envelope::{Envelope, OnWindowEnd, Window};
use sortie_contract::id::CallNo;
use sortie_contract::outcome::Status;
use sortie_contract::record::{Record, Stamped};
use sortie_contract::request::{Decision, Reach, RequestKind, RequestNo};
use sortie_contract::tool::{MODEL, Repeat, ToolInfo, ToolName};
use sortie_contract::{Spend, Timestamp};
use sortie_mission::{Mission, ModelCall};
use sortie_models::Ask;

use crate::envelope::{RETENTION, is_closed, shop_tools, tools};
use crate::forks;
use crate::ledger::{Item, Side};
use crate::money;
use crate::outside::{Client, Effects};
use crate::scene::Clock;
use crate::tools::{color, quote};

/// What the record says of a call that may be made.
#[derive(Debug, Clone)]
pub(crate) struct Grant {
    pub(crate) tool: ToolName,
    pub(crate) repeat: Repeat,
    pub(crate) arguments: String,
    pub(crate) reserved: Spend,
}

/// The grant of a call; none, where it was never granted.
pub(crate) fn grant(records: &[Stamped], wanted: CallNo) -> Option<Grant> {
    let (mut held, mut granted) = (None, None);
    for Stamped { record, .. } in records {
        match record {
            Record::CallStarted { call, tool, arguments, repeat, reserved, .. } if *call == wanted => {
                let (tool, arguments) = (tool.clone(), arguments.clone());
                held = Some(Grant { tool, arguments, repeat: *repeat, reserved: *reserved });
                granted.clone_from(&held);
            }
            Record::CallHeld { call, tool, arguments, repeat, reserved, .. } if *call == wanted => {
                let (tool, arguments) = (tool.clone(), arguments.clone());
                held = Some(Grant { tool, arguments, repeat: *repeat, reserved: *reserved });
            }
            Record::Decided { request, decision: Decision::Amend { arguments }, .. }
                if call_of(records, *request) == Some(wanted) =>
            {
                held.as_mut().expect("it waits").arguments.clone_from(arguments);
            }
            Record::Requoted { call, reserved } if *call == wanted => {
                held.as_mut().expect("it waits").reserved = *reserved;
            }
            Record::CallResumed { call } if *call == wanted => granted.clone_from(&held),
            _ => {}
        }
    }
    granted
}

/// What follows from the records of a mission alone.
pub(crate) fn records(side: &Side) {
    let mission = &side.mission;
    let blocked = mission.status() == Status::Blocked;
    assert_eq!(blocked, !mission.asks().is_empty(), "blocked is: somebody is asked, by it or by those below it");
    one_end(&side.records, mission.status());
    money::budget(side);
    calls_once(&side.records, mission.forked_from().is_some());
    numbered(&side.items);
}

/// 8. State equals the fold of the journal, from its beginning.
pub(crate) fn fold(side: &Side) {
    let folded = Mission::fold(side.mission.envelope().clone(), &side.records);
    assert_eq!(folded.as_ref(), Ok(&side.mission), "state is the fold of the records");
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
    let numbers =
        || items.iter().filter_map(|item| item.key.rsplit_once('/').filter(|(mission, _)| !mission.contains('/')));
    let events = numbers().map(|(_, number)| number.parse::<u64>().expect("a sequence"));
    assert!(events.eq(1..=numbers().count() as u64), "a gap in the events");
}

/// 6. No call has two results, and none goes on but by a decision about itself.
fn calls_once(records: &[Stamped], is_fork: bool) {
    let (mut asked, mut finished) = (BTreeMap::new(), Vec::new());
    // What a fork has on record was made by a run that is none of its own.
    let (mut in_memory, mut broke_off) = (is_fork, false);
    // Calls that are being made, and those that the end of a window cut off.
    let (mut made, mut cut_off) = (BTreeSet::new(), BTreeSet::new());
    // Those that a provider refuses, until when.
    let (mut expires, mut put_off) = (BTreeMap::new(), BTreeMap::new());
    // What tools ask that make calls, by call.
    let mut asks: BTreeMap<CallNo, RequestNo> = BTreeMap::new();
    for (index, Stamped { at, record, .. }) in records.iter().enumerate() {
        match record {
            Record::Elicited { request, call, expires_at, .. } => {
                assert!(in_memory && made.contains(call), "call {call} asks, and nobody makes it");
                assert_eq!(asks.insert(*call, *request), None, "call {call} asks twice at once");
                assert_eq!(asked.insert(*request, *call), None, "{request} is asked twice");
                expires.insert(*request, *expires_at);
            }
            Record::Withdrawn { request, .. } => {
                assert!(asks.values().any(|open| open == request), "{request} is taken back, and no tool asks it");
                asks.retain(|_, open| open != request);
            }
            Record::CallFinished { call, .. } | Record::CallAgain { call } | Record::Requested { call, .. } => {
                assert!(!asks.contains_key(call), "call {call} is over or broke off, and somebody is asked for it");
            }
            Record::Suspended { .. } | Record::CarriedOver { .. } | Record::NodeStopped => {
                assert!(asks.is_empty(), "a tool waits for an answer out of memory");
            }
            Record::Decided { request, .. } => asks.retain(|_, open| open != request),
            _ => {}
        }
        match record {
            Record::Started { .. } => broke_off = std::mem::replace(&mut in_memory, true),
            Record::Suspended { .. } => in_memory = false,
            Record::CarriedOver { .. } => {
                let ran = std::mem::take(&mut in_memory);
                cut_off.extend(made.iter().copied().filter(|_| ran));
            }
            Record::CallStarted { call, .. } => drop(made.insert(*call)),
            Record::CallAgain { call } => {
                assert!(broke_off || cut_off.remove(call), "call {call} is paid for again, and nobody made it");
            }
            Record::Decided { request, .. } => assert!(*at < expires[request], "{request} was decided after its time"),
            Record::Requested { request, call, kind, expires_at, .. } => {
                expires.insert(*request, *expires_at);
                let is_doubted = *kind == RequestKind::Uncertain;
                made.remove(call);
                put_off.remove(call);
                assert!(
                    !is_doubted || broke_off || cut_off.remove(call),
                    "call {call} is doubted, and nobody was there to make it"
                );
                assert_eq!(asked.insert(*request, *call), None, "{request} is asked twice");
            }
            Record::Postponed { call, until, .. } => {
                assert!(made.remove(call), "call {call} is put off, and nobody made it");
                put_off.insert(*call, Some(*until));
            }
            // What others give back may pay for it before.
            Record::PaymentAwaited { call, .. } => {
                made.remove(call);
                cut_off.remove(call);
                put_off.insert(*call, None);
            }
            Record::CallResumed { call } if put_off.contains_key(call) => {
                assert!(put_off.remove(call).flatten() <= Some(*at), "call {call} was put off for longer");
                made.insert(*call);
            }
            Record::CallResumed { call } => {
                let quoted_anew = matches!(records[index - 1].record, Record::Requoted { .. });
                let decided = match &records[index - 1 - usize::from(quoted_anew)].record {
                    Record::Decided { request, .. } => asked.get(request),
                    _ => None,
                };
                assert_eq!(decided, Some(call), "nobody decided about call {call}");
                made.insert(*call);
            }
            Record::CallFinished { call, .. } => {
                assert!(!finished.contains(call), "call {call} has two results");
                finished.push(*call);
                made.remove(call);
                put_off.remove(call);
            }
            _ => {}
        }
    }
}

/// 3. Behind the end of its window, and of its lane's hours while it runs, nothing is recorded but the end, that it is carried over, and what
///    had come before it. No run begins outside.
pub(crate) fn window(mission: &Mission, records: &[Stamped]) {
    let envelope = mission.envelope();
    let carried_max = if envelope.on_window_end == OnWindowEnd::Suspend { envelope.carry_over_max } else { 0 };
    let (mut window, mut carried) = (envelope.window, 0);
    let (mut runs, mut open_until, mut begun) = (false, None, false);
    for (index, Stamped { at, record, .. }) in records.iter().enumerate() {
        let is_let_in = match record {
            // Time may run out between the question whether it may be accepted and its acceptance: it then ends at once.
            Record::Accepted(_) | Record::Finished { .. } | Record::CarriedOver { .. } => true,
            // What the node says of itself, and of other missions.
            Record::Accompanied | Record::NodeStopped | Record::Withdrawn { .. } => true,
            Record::ChildAsks { .. } | Record::ChildHeard { .. } => true,
            Record::CallFinished { .. } | Record::Overbilled { .. } | Record::Postponed { .. } => {
                let mut behind = records[index + 1..].iter().map(|next| &next.record);
                // What was asked for the call is asked no more.
                let with_it = |record: &&Record| matches!(record, Record::Overbilled { .. } | Record::Withdrawn { .. });
                let next = behind.find(|record| !with_it(record));
                matches!(next, Some(Record::Finished { .. } | Record::CarriedOver { .. }))
            }
            _ => false,
        };
        let is_before = |end: Option<Timestamp>| end.is_none_or(|end| *at < end);
        assert!(is_before(window.end_at) || is_let_in, "behind the end of its window: {record:?}");
        assert!(!runs || is_before(open_until) || is_let_in, "behind the hours of its lane: {record:?}");
        match record {
            Record::Started { .. } => {
                assert!(window.start_at.is_none_or(|start| *at >= start), "a run before its window");
                assert!(!is_closed(mission.lane(), *at), "a run while its lane is closed");
                (runs, open_until, begun) = (true, None, true);
            }
            Record::OpenUntil { at } => open_until = Some(*at),
            Record::Suspended { .. } => runs = false,
            Record::CarriedOver { start_at, end_at } => {
                carried += u32::from(std::mem::take(&mut begun));
                assert!(carried <= carried_max, "carried over {carried} times, {carried_max} allowed");
                assert!(end_at.is_none_or(|end| *at < end), "carried over into a window that is over");
                window = Window { start_at: *start_at, end_at: *end_at };
                runs = false;
            }
            _ => {}
        }
    }
}

/// What a tool has answered is what is on record.
pub(crate) fn results(side: &Side, client: &Client) {
    for Stamped { record, .. } in &side.records {
        let Record::CallFinished { call, outcome: Ok(answer), .. } = record else { continue };
        let Some(effects) = client.calls.get(call) else { continue };
        let is_said = side.records.iter().any(|stamped| {
            matches!(&stamped.record, Record::Decided { request, decision: Decision::Record { result }, .. }
                if *result == answer.result && call_of(&side.records, *request) == Some(*call))
        });
        assert!(is_said || effects.results.contains(&answer.result), "call {call} has a result that nobody gave");
    }
}

/// 3., 5., 6. and 7. What must be true of a call at the moment in which it leaves the node.
pub(crate) fn may_be_sent(
    side: Option<&Side>,
    client: &Client,
    call: CallNo,
    tool: &ToolInfo,
    arguments: &str,
    wall: Timestamp,
) {
    let envelope = &client.envelope;
    assert!(!client.cancelled, "call {call} after the cancel");
    assert!(client.end.is_none(), "call {call} after the end was told");
    assert!(side.is_none_or(|side| side.ended().is_none()), "call {call} after the end");
    let window = side.map_or(envelope.window, |side| side.mission.window());
    // That it was carried over may be on its way to the disk, as may be that such a call is made.
    let on_its_way = envelope.on_window_end == OnWindowEnd::Suspend && tool.repeat() == Repeat::ReadOnly;
    assert!(window.end_at.is_none_or(|end| wall < end) || on_its_way, "call {call} after the window");
    let names = |patterns: &[String]| patterns.iter().any(|pattern| pattern.eq_ignore_ascii_case(tool.name.as_str()));
    assert!(names(&envelope.constraints.allowed_tools), "`{}` is not allowed", tool.name);
    assert!(!names(&envelope.constraints.forbidden_tools), "`{}` is forbidden", tool.name);
    forks::may_leave(side, call);
    let is_done = |stamped: &Stamped| matches!(stamped.record, Record::CallFinished { call: done, .. } if done == call);
    assert!(!side.is_some_and(|side| side.records.iter().any(is_done)), "call {call} is done again");
    let granted = side.and_then(|side| Some((side, grant(&side.records, call)?)));
    let Some((side, grant)) = granted else {
        // Its record may be on its way to the disk: a crash takes it back, and nothing has happened.
        assert_eq!(tool.repeat(), Repeat::ReadOnly, "call {call} left before its grant was on disk");
        return;
    };
    let is_handed =
        |stamped: &Stamped| matches!(&stamped.record, Record::Granted { tools, .. } if tools.contains(&tool.name));
    assert!(side.records.iter().any(is_handed), "`{}` was never handed out", tool.name);
    assert_eq!((&grant.tool, grant.arguments.as_str()), (&tool.name, arguments), "call {call} is another one");
    assert_eq!(grant.reserved, quote(tool, arguments), "call {call} was quoted at something else");
    if needs_approval(envelope, &tool.name) {
        assert!(is_approved(&side.records, call, &tool.name), "`{}` was not approved", tool.name);
    }
    let effects = client.calls.get(&call).cloned().unwrap_or_default();
    may_be_repeated(side, call, grant.repeat, &effects);
}

/// 3., 4. and 7. What must be true of a call of a model at the moment in which it leaves the node. What was set aside for it.
pub(crate) fn may_be_asked(
    side: Option<&Side>,
    client: &Client,
    call: CallNo,
    ask: &Ask<'_>,
    quoted: Spend,
    wall: Timestamp,
) -> Spend {
    assert!(!client.cancelled, "call {call} after the cancel");
    assert!(client.end.is_none(), "call {call} after the end was told");
    forks::may_leave(side, call);
    let side = side.expect("a model is asked for a mission that is on disk");
    assert!(side.ended().is_none(), "call {call} after the end");
    assert!(side.mission.window().end_at.is_none_or(|end| wall < end), "call {call} after the window");
    let grant = grant(&side.records, call).unwrap_or_else(|| panic!("call {call} left before its grant was on disk"));
    let tools: Vec<ToolName> = ask.tools.iter().map(|tool| tool.name.clone()).collect();
    let asked = ModelCall { request: ask.request, tools: &tools }.on_record();
    assert_eq!((grant.tool.as_str(), grant.arguments), (MODEL, asked), "call {call} is another one");
    assert!(quoted.fits(grant.reserved), "{quoted} for call {call}, and {} were set aside", grant.reserved);
    let of_it = side.records.iter().rev().find(|stamped| match &stamped.record {
        Record::CallStarted { call: of, .. }
        | Record::CallHeld { call: of, .. }
        | Record::Requested { call: of, .. }
        | Record::Postponed { call: of, .. }
        | Record::CallResumed { call: of }
        | Record::CallAgain { call: of }
        | Record::CallFinished { call: of, .. } => *of == call,
        _ => false,
    });
    let is_made = |record: &Record| {
        matches!(record, Record::CallStarted { .. } | Record::CallResumed { .. } | Record::CallAgain { .. })
    };
    assert!(of_it.is_some_and(|last| is_made(&last.record)), "call {call} is made, and last of it is {of_it:?}");
    grant.reserved
}

/// 6. What may have been done with effect is done again only where somebody said so.
fn may_be_repeated(side: &Side, call: CallNo, repeat: Repeat, effects: &Effects) {
    let is_repeat = |stamped: &&Stamped| {
        matches!(&stamped.record, Record::Decided { request, decision: Decision::Repeat, .. }
            if call_of(&side.records, *request) == Some(call))
    };
    let allowed = 1 + u32::try_from(side.records.iter().filter(is_repeat).count()).expect("a few");
    let is_allowed = repeat != Repeat::Effectful || effects.sent < allowed;
    assert!(is_allowed, "call {call} was made {} times, {allowed} allowed", effects.sent + 1);
}

fn needs_approval(envelope: &Envelope, name: &ToolName) -> bool {
    let tool = tools().into_iter().chain(shop_tools()).find(|tool| tool.name == *name).expect("a tool of the node");
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
        Record::Decided { request, decision: Decision::Amend { .. }, .. } => calls[request] == wanted,
        _ => false,
    })
}

fn call_of(records: &[Stamped], wanted: RequestNo) -> Option<CallNo> {
    records.iter().find_map(|stamped| match &stamped.record {
        Record::Requested { request, call, .. } | Record::Elicited { request, call, .. } if *request == wanted => {
            Some(*call)
        }
        _ => None,
    })
}

/// What people decided about what the tool of a call asked last.
fn said_last(side: Option<&Side>, wanted: CallNo) -> Option<&Decision> {
    let records = &side?.records;
    let asked = records.iter().rev().find_map(|stamped| match &stamped.record {
        Record::Elicited { request, call, .. } if *call == wanted => Some(*request),
        _ => None,
    });
    decided(records, asked?)
}

/// 7. What a tool was answered is on disk, and is what somebody said.
pub(crate) fn was_answered(side: Option<&Side>, call: CallNo, content: &Map<String, Value>) {
    let Some(Decision::Answer { text }) = said_last(side, call) else {
        panic!("the tool of call {call} was answered, and nobody has said anything")
    };
    assert_eq!(color().filled(text).as_ref(), Ok(content), "call {call} was told something else");
}

/// 7. The same of a tool that nobody answers: somebody does not want to, or nobody did in time.
pub(crate) fn was_denied(side: Option<&Side>, call: CallNo) {
    assert_eq!(said_last(side, call), Some(&Decision::Deny), "nobody has turned down what call {call} asks");
}

/// What the journal says of a decision.
pub(crate) fn decided(records: &[Stamped], wanted: RequestNo) -> Option<&Decision> {
    records.iter().find_map(|stamped| match &stamped.record {
        Record::Decided { request, decision, .. } if *request == wanted => Some(decision),
        _ => None,
    })
}

/// 2. What the journal says is delivered was taken.
pub(crate) fn cursor(side: &Side, client: &Client) {
    let Some(cursor) = &side.cursor else { return };
    let arrived = |item: u64| client.arrived.iter().any(|(number, _, _)| *number == item);
    assert!(cursor.acked <= side.items.len() as u64, "more was delivered than there is");
    let is_there = cursor.acked == 0 || arrived(cursor.acked) || cursor.skipped.contains(&cursor.acked);
    assert!(is_there, "m{}: item {} is lost", side.client, cursor.acked);
}

/// 1. and 7. What a crash has left: all that was on disk, as it was.
pub(crate) fn survived(before: &Side, after: &Side) {
    let (found, there) = (after.records.len(), before.records.len());
    assert!(found >= there, "{found} records of {there} that were on disk");
    assert_eq!(after.records[..there], before.records[..], "other records than were written");
}

/// 1. and 7. Nothing that somebody was told depends on what a crash took away.
pub(crate) fn promises(client: &Client, side: &Side) {
    let is_accepted = |text: usize| client.texts[text] == side.text();
    assert!(client.accepted.is_none_or(is_accepted), "another envelope was accepted than was said");
    assert!(!client.cancelled || side.mission.status() == Status::Cancelled, "cancelled, and it goes on");
    for (request, decision) in &client.decided {
        assert_eq!(decided(&side.records, *request), Some(decision), "the decision about {request} is lost");
    }
    for (item, key, body) in &client.arrived {
        let there = side.items.get(usize::try_from(*item - 1).expect("few items"));
        let there = there.unwrap_or_else(|| panic!("{key} was delivered, and is not there"));
        assert!(*key == there.key && *body == there.body, "{key} was delivered, and is now {there:?}");
    }
    assert!(client.end.is_none_or(|end| Some(end) == side.ended()), "a final status changed");
    for (call, effects) in &client.calls {
        let grant = grant(&side.records, *call);
        let is_known = grant.as_ref().is_some_and(|grant| grant.repeat != Repeat::ReadOnly);
        assert!(effects.sent == 0 || is_known, "call {call} was made, and the journal does not know of it");
        assert!(effects.landed <= effects.sent, "call {call} had an effect out of nothing");
    }
}

/// At the end of a history, and of a mission that is not kept any more: all of it is over, and delivered.
pub(crate) fn over(client: &Client, side: &Side) {
    assert!(side.mission.status().is_final(), "it is {}", side.mission.status());
    assert!(side.is_delivered(), "not all of it was delivered");
    if side.mission.envelope().callback.is_some() {
        let arrived = |item: u64| client.arrived.iter().any(|(number, _, _)| *number == item);
        let lost = (1..=side.items.len() as u64).find(|item| !arrived(*item) && !side.skipped().contains(item));
        assert_eq!(lost, None, "an item neither arrived nor was left out");
    }
    let reason = side.mission.reason().expect("it is over").as_str();
    assert!(client.moody || reason != "nondeterminism", "a replay differed from its record");
}

/// What is not kept any more has outlived its use.
pub(crate) fn outlived(side: &Side, clock: &Clock) {
    let age = clock.wall().duration_since(side.mission.ended_at().expect("it is over"));
    assert!(clock.was_set_back() || age >= RETENTION, "it was kept for {age} only");
}
