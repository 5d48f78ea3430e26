//! Families: missions that plugins dispatch, and what must be true of each and of whoever dispatched it.
//!
//! A child is a client more, whom nobody asks for: it is met when its acceptance is in the journal. All that holds for missions holds for it;
//! its budget is the share that its parent set aside. What is looked for here is what holds between the two.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;
use sortie_contract::envelope::ChildOf;
use sortie_contract::id::CallNo;
use sortie_contract::record::{Record, Stamped};
use sortie_contract::request::RequestKind;
use sortie_contract::tool::{MISSION, ToolName};
use sortie_contract::{Spend, Status};
use sortie_mission::Mission;

use crate::ledger::{Ledger, Side};
use crate::outside::Client;
use crate::scene::Scene;
use crate::script;

/// The client that has a mission; a new one, where it is a child that is met for the first time.
pub(crate) fn client(scene: &Scene, mission: &Mission, text: &str) -> usize {
    let envelope = mission.envelope();
    let Some(of) = envelope.parent() else {
        return scene.outside(|outside| outside.client_of(envelope.mission_id.as_str()));
    };
    let (known, number) = scene.outside(|outside| {
        let known = outside.clients.iter().position(|client| client.envelope.mission_id == envelope.mission_id);
        (known, outside.clients.len())
    });
    if let Some(known) = known {
        let is_forgotten = scene.client(known, |client| client.forgotten);
        assert!(!is_forgotten, "{} is removed, and is dispatched again", envelope.mission_id);
        return known;
    }
    scene.count(if of.depth > 1 { "child of a child" } else { "child" });
    scene.outside(|outside| {
        let parent = outside.client_of(of.mission_id.as_str());
        let script = script::of_child(outside.clients[parent].script, of.call);
        let texts = std::array::from_fn(|_| text.to_owned());
        let mut child = Client::new(texts, Arc::clone(envelope), script, false);
        child.depth = of.depth;
        outside.clients.push(child);
    });
    number
}

/// A child has begun: it was granted, in so many words, and has nothing that its parent has not.
pub(crate) fn begun(scene: &Scene, ledger: &Ledger, side: &Side) {
    let Some(of) = side.mission.parent() else { return };
    let (envelope, name) = (side.mission.envelope(), &side.mission.envelope().mission_id);
    assert_eq!(
        name.as_str(),
        format!("{}.child-{}", of.mission_id, of.call),
        "what it is called follows from the call"
    );
    let Some(parent) = ledger.named(of.mission_id.as_str()) else {
        let parent = scene.outside(|outside| outside.client_of(of.mission_id.as_str()));
        let is_forgotten = scene.client(parent, |client| client.forgotten);
        return assert!(is_forgotten, "{name} has begun, and its parent is not on disk");
    };
    let share = granted(&parent.records, CallNo(of.call));
    assert_eq!(share, Some(of.share()), "{name} is not what its parent was granted");
    let above = parent.mission.parent().map_or(0, |of| of.depth);
    assert_eq!(of.depth, above + 1, "{name} counts who is above it");
    let own = &parent.mission.envelope().constraints;
    let is_own = |tool: &String| own.allowed_tools.contains(tool);
    assert!(envelope.constraints.allowed_tools.iter().all(is_own), "{name} may more than its parent");
    let is_barred = |tool: &String| envelope.constraints.forbidden_tools.contains(tool);
    assert!(own.forbidden_tools.iter().all(is_barred), "{name} may what its parent may not");
    let asks = |entry: &String| envelope.constraints.approval_required.contains(entry);
    assert!(own.approval_required.iter().all(asks), "{name} is asked for less than its parent");
    let handed = parent.mission.granted().unwrap_or_default();
    assert!(of.tools.iter().all(|tool| handed.contains(tool)), "{name} is handed more than its parent");
}

/// What holds between all that there are.
pub(crate) fn between(scene: &Scene, ledger: &Ledger) {
    if !scene.outside(|outside| outside.families) {
        return;
    }
    for side in ledger.sides.values() {
        if let Some(of) = side.mission.parent() {
            within(side, of);
        }
        for Stamped { record, .. } in &side.records {
            let Record::CallFinished { call, outcome, spent, .. } = record else { continue };
            if !is_of_child(&side.records, *call) {
                continue;
            }
            let id = format!("{}.child-{call}", side.mission.envelope().mission_id);
            let Ok(answer) = outcome else {
                let is_there = ledger.named(&id).is_some_and(|child| child.ended().is_none());
                assert!(
                    !is_there || spent_is_set_aside(side, *call, *spent),
                    "{id} is said to be nothing, and goes on"
                );
                continue;
            };
            let told: Value = serde_json::from_str(&answer.result).expect("what is told of a child is JSON");
            assert_eq!(told["mission_id"], id.as_str(), "its parent was told of another one");
            let Some(child) = ledger.named(&id) else { continue };
            let ended = child.ended().map(Status::as_str);
            assert_eq!(told["status"].as_str(), ended, "what its parent was told of {id}");
            assert_eq!(*spent, child.mission.spent(), "what its parent has booked for {id}");
        }
    }
    count(scene, ledger);
}

/// Where its parent waits no more, what was set aside counts as spent.
fn spent_is_set_aside(parent: &Side, call: CallNo, spent: Spend) -> bool {
    granted(&parent.records, call).is_none_or(|share| spent == share || spent.is_nothing())
}

/// A child stays within its share, and asks nobody for more.
fn within(side: &Side, of: &ChildOf) {
    let asks = |stamped: &Stamped| matches!(&stamped.record, Record::Requested { kind: RequestKind::Budget, .. });
    assert!(!side.records.iter().any(asks), "{}.child-{} asks people for more than its share", of.mission_id, of.call);
}

/// Nobody has anything to do: no child is open whose parent has ended, or waits for it no more.
pub(crate) fn no_orphans(ledger: &Ledger) {
    for side in ledger.sides.values().filter(|side| side.ended().is_none()) {
        let Some(of) = side.mission.parent() else { continue };
        let name = &side.mission.envelope().mission_id;
        let Some(parent) = ledger.named(of.mission_id.as_str()) else {
            panic!("{name} goes on, and its parent is gone")
        };
        assert!(parent.ended().is_none(), "{name} goes on, and its parent has ended");
        let is_open = parent.mission.open_children().any(|call| call.0 == of.call);
        assert!(is_open, "{name} goes on, and its parent does not wait for it");
    }
}

/// Nobody but people has anything to do: each mission was told what those below it ask them, and is told of nothing else. What is wrong with that.
pub(crate) fn untold(scene: &Scene, ledger: &Ledger) -> Option<String> {
    for parent in ledger.sides.values().filter(|side| side.ended().is_none()) {
        let name = &parent.mission.envelope().mission_id;
        let known = parent.mission.asks().into_iter().filter(|asks| asks.of != *name);
        let known = known.map(|asks| (asks.of.to_string(), asks.request)).collect::<BTreeSet<_>>();
        let children = parent.mission.open_children().filter_map(|call| ledger.named(&format!("{name}.child-{call}")));
        let asked = children.filter(|child| child.ended().is_none()).flat_map(|child| child.mission.asks());
        let asked = asked.map(|asks| (asks.of.to_string(), asks.request)).collect::<BTreeSet<_>>();
        if known != asked {
            return Some(format!("{name} was told that those below it ask {known:?}, and they ask {asked:?}"));
        }
        if !known.is_empty() {
            scene.count("mission whose child asks");
        }
    }
    None
}

/// What was set aside for a child, where it was granted.
fn granted(records: &[Stamped], wanted: CallNo) -> Option<Spend> {
    let (mut held, mut granted) = (None, None);
    for Stamped { record, .. } in records {
        match record {
            Record::CallStarted { call, tool, reserved, .. } if *call == wanted && is_mission(tool) => {
                granted = Some(*reserved);
            }
            Record::CallHeld { call, tool, reserved, .. } if *call == wanted && is_mission(tool) => {
                held = Some(*reserved);
            }
            Record::CallResumed { call } if *call == wanted => granted = held.or(granted),
            _ => {}
        }
    }
    granted
}

fn is_mission(tool: &ToolName) -> bool {
    tool.as_str() == MISSION
}

fn is_of_child(records: &[Stamped], wanted: CallNo) -> bool {
    records.iter().any(|stamped| match &stamped.record {
        Record::CallStarted { call, tool, .. } | Record::CallHeld { call, tool, .. } => {
            *call == wanted && is_mission(tool)
        }
        _ => false,
    })
}

/// Children that have ended, once each.
fn count(scene: &Scene, ledger: &Ledger) {
    for side in ledger.sides.values().filter(|side| side.mission.parent().is_some()) {
        let Some(status) = side.ended() else { continue };
        let is_new = scene.client(side.client, |client| !std::mem::replace(&mut client.is_counted, true));
        if is_new {
            scene.count(match status {
                Status::Completed => "child that is done",
                Status::Cancelled => "child that is cancelled",
                _ => "child that fails",
            });
        }
    }
}
