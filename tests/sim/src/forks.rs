//! Forks: people who want to go on from a call of a mission, what they are told, and what must be true of what a fork begins with.
//!
//! Whoever orders one is a client more, that dispatches no envelope but names a mission and a call. All that holds for missions holds for
//! its own, which has the script of the one that it comes from: it must follow the record.

use std::sync::Arc;

use sortie_contract::envelope::{Envelope, Window};
use sortie_contract::id::CallNo;
use sortie_contract::outcome::Status;
use sortie_contract::record::{Record, Stamped};
use sortie_contract::tool::{CallError, ToolAnswer};
use sortie_contract::{MissionNo, Spend};
use sortie_engine::ReadError;
use sortie_engine::fork::{ForkError, ForkOrder, Forked, Point};
use sortie_engine::intake::DispatchError;
use sortie_mission::Mission;
use sortie_mission::fork::NoFork;
use sortie_mission::replay::{describe, host_call};

use crate::ledger::Side;
use crate::outside::Client;
use crate::scene::Scene;

/// What a client wants that forks.
#[derive(Debug)]
pub(crate) struct Origin {
    /// The client whose mission it is.
    pub(crate) of: usize,
    pub(crate) no: MissionNo,
    /// So many records that had when it was ordered, where it had ended.
    ended: Option<usize>,
    order: ForkOrder,
}

impl Origin {
    /// What is ordered: for the first time and again, or something else by mistake.
    pub(crate) fn order(&self, text: usize) -> ForkOrder {
        let at = match (text, self.order.at) {
            (0, at) => at,
            (_, Point::Last) => Point::Failure,
            (_, Point::Call(at)) => Point::Call(at + 1),
            (_, Point::Failure) => Point::Last,
        };
        ForkOrder { at, ..self.order.clone() }
    }
}

/// Somebody wants to fork the mission of a client: a client more.
pub(crate) fn client(scene: &Scene, of: usize) -> Option<usize> {
    let (no, calls, ended, id) = scene.side(of, |side| {
        let ended = side.ended().map(|_| side.records.len());
        (side.no, side.mission.host_calls(), ended, side.mission.envelope().mission_id.clone())
    })?;
    let at = scene.roll(|rng| match rng.u8(..10) {
        0 => Point::Call(0),
        1 => Point::Call(calls + rng.u32(1..3)),
        2 | 3 => Point::Failure,
        4 | 5 => Point::Last,
        _ => Point::Call(rng.u32(..=calls)),
    });
    scene.count(match (ended, at) {
        (None, _) => "fork of what goes on",
        (Some(_), Point::Call(_)) => "fork of what has ended",
        (Some(_), _) => "fork from a place that the node finds",
    });
    let number = scene.outside(|outside| outside.clients.len());
    let key = format!("key-{number}");
    let order = ForkOrder { of: id, at, inputs: None, plugin: None, copies: false, key };
    scene.tell(number, &format!("somebody wants to fork m{of} at {at}"));
    scene.outside(|outside| {
        let from = &outside.clients[of];
        if from.fork.is_some() {
            scene.count("fork of a fork");
        }
        let mut envelope = Envelope::clone(&from.envelope);
        (envelope.mission_id, envelope.callback, envelope.window) = (order.mission_id(), None, Window::default());
        let (script, moody) = (from.script, from.moody);
        let fork = Some(Arc::new(Origin { of, no, ended, order }));
        let texts = std::array::from_fn(|_| String::new());
        outside.clients.push(Client { fork, ..Client::new(texts, Arc::new(envelope), script, moody) });
    });
    Some(number)
}

/// Whoever wants to fork is answered.
pub(crate) fn hear(
    scene: &Scene,
    client: usize,
    text: usize,
    before: Option<usize>,
    answer: Result<Forked, ForkError>,
) {
    let (origin, moody) = scene.client(client, |client| (client.fork.clone().expect("a fork"), client.moody));
    let rejected = |what: &'static str| {
        assert_eq!(before, None, "a fork that there was is refused: {what}");
        scene.count(what);
        scene.client(client, |client| client.rejected |= client.accepted.is_none());
    };
    match answer {
        Ok(Forked { dispatched, from }) => {
            assert_eq!(text, 0, "a fork of other content under the same key");
            let told = scene.side(client, |side| {
                assert_eq!(side.mission.forked_from(), Some(&from), "another fork is on disk than is told of");
                side.text().to_owned()
            });
            let told = told.expect("what is said of a fork is on disk");
            assert!(before.is_none() || dispatched.replayed, "it was made before");
            assert!(moody || from.diverged_at.is_none(), "a script leaves its own record: {from:?}");
            scene.count(if dispatched.replayed { "forked again" } else { "forked" });
            if let (Some(records), Some(now)) =
                (origin.ended, scene.side(origin.of, |side| (side.no, side.records.len())))
            {
                assert!(
                    now.0 != origin.no || now.1 == records,
                    "a mission that had ended has other records since it was forked"
                );
            }
            scene.client(client, |client| {
                client.texts[0] = told;
                (client.accepted, client.rejected) = (Some(0), false);
            });
        }
        Err(ForkError::Conflict { .. }) => {
            assert_ne!(text, 0, "it is in conflict with itself");
            scene.count("another fork under the same key");
        }
        Err(ForkError::No(NoFork::NoCall { .. })) => {
            assert!(matches!(origin.order(text).at, Point::Call(_)), "the node finds a place that is none");
            rejected("fork at a call that there is not");
        }
        Err(ForkError::No(NoFork::Waits { .. })) => {
            let finds = !matches!(origin.order(text).at, Point::Call(_));
            assert!(!finds || origin.ended.is_none(), "the node finds a place that is none");
            rejected("fork at a call that waits");
        }
        // Time has jumped meanwhile.
        Err(ForkError::Unrunnable(why)) => {
            assert!(why.contains("seconds"), "{why}");
            rejected("fork whose plugin takes too long");
        }
        Err(ForkError::Read(ReadError::Unknown | ReadError::NoEnvelope)) => {
            rejected("fork of what is not kept any more");
        }
        Err(ForkError::Dispatch(DispatchError::Overloaded)) => scene.count("overloaded"),
        Err(ForkError::Dispatch(DispatchError::DiskLow)) => scene.count("low disk"),
        Err(ForkError::Dispatch(DispatchError::Stopping)) => scene.count("dispatched to a node that stops"),
        Err(ForkError::Dispatch(DispatchError::Artifacts(_))) => scene.count("fork without its artifacts"),
        Err(ForkError::Read(_) | ForkError::Dispatch(DispatchError::Journal(_) | DispatchError::Read(_))) => {
            scene.count("dispatched to a node that failed");
        }
        Err(error) => panic!("{error}"),
    }
}

/// What a fork begins with is what its mission has on record, without its money, its time and its events; where that is still known.
pub(crate) fn begun(side: &Side, origin: Option<&[Stamped]>) {
    let from = side.mission.forked_from().expect("a fork").clone();
    let taken = usize::try_from(from.records).expect("a few");
    assert!(from.calls <= from.at && (from.calls == 0) == (taken == 0), "{from:?}");
    let prefix = side.records.get(1..=taken).expect("a fork is written whole");
    let mut mission = sortie_engine::begin(&side.records[0]).expect("an acceptance");
    let mut told = mission.outgoing_of(&side.records[0]).len();
    for stamped in prefix {
        mission.apply(stamped).expect("records that follow each other");
        told += mission.outgoing_of(stamped).len();
    }
    costs_nothing(&mission);
    assert_eq!(told, 1, "events of a fork begin with its acceptance, and what it has of another is not told");
    assert_eq!((mission.status(), mission.host_calls()), (Status::Queued, from.calls));
    let Some(origin) = origin else { return };
    let up_to = |records: &[Stamped]| {
        let calls = records.iter().filter_map(|stamped| {
            let call = host_call(&stamped.record)?;
            (call.0 <= from.calls).then(|| (call, stamped.at, describe(&stamped.record)))
        });
        calls.collect::<Vec<_>>()
    };
    assert_eq!(up_to(prefix), up_to(origin), "other calls than were made");
    let known = results(origin);
    for (call, outcome) in results(prefix) {
        assert!(known.contains(&(call, outcome)), "call {call} has another result than it had");
    }
    let is_behind = |stamped: &Stamped| host_call(&stamped.record).is_some_and(|call| call.0 > from.calls);
    assert!(!prefix.iter().any(is_behind), "a call behind the fork is on record");
}

fn costs_nothing(mission: &Mission) {
    assert_eq!(
        (mission.spent(), mission.reserved()),
        (Spend::NOTHING, Spend::NOTHING),
        "what is on record is paid for again"
    );
    assert_eq!((mission.ran_ms(), mission.run()), (0, None), "it has run before it began");
    assert!(mission.open_requests().is_empty(), "people are asked again");
}

fn results(records: &[Stamped]) -> Vec<(CallNo, &Result<ToolAnswer, CallError>)> {
    let results = records.iter().filter_map(|stamped| match &stamped.record {
        Record::CallFinished { call, outcome, .. } => Some((*call, outcome)),
        _ => None,
    });
    results.collect()
}

/// A call that leaves the node is none that a fork has a result of. What was being made may be made again, as after a crash.
pub(crate) fn may_leave(side: Option<&Side>, call: CallNo) {
    let Some(side) = side else { return };
    let Some(from) = side.mission.forked_from() else { return };
    let taken = usize::try_from(from.records).expect("a few");
    let has = results(&side.records[1..=taken]).iter().any(|(of, _)| *of == call);
    assert!(!has, "call {call} is on record, and a fork makes it again");
}
