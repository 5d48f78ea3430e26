//! Control planes and people: what they ask of the node, and what must be true once they are answered.
//!
//! Each question is a task of the node's, as a request over HTTP is; a crash takes it away unanswered. An answer is held against the
//! journal at the moment at which it is given: nothing that is said may be taken back.

use std::sync::Arc;

use sortie_ambient::{Ambient, Joined};
use sortie_contract::request::{Decision, Reach, RequestKind, RequestNo};
use sortie_contract::{MicroUsd, MissionNo, Record, Stamped, Status};
use sortie_engine::Engine;
use sortie_engine::act::ActError;
use sortie_engine::intake::{DispatchError, Dispatched};
use sortie_mission::{OpenRequest, Refusal};

use crate::check;
use crate::executor::Executor;
use crate::forks;
use crate::ledger::Side;
use crate::scene::Scene;
use crate::tools::color;

/// Those who ask one life of a node.
#[derive(Clone)]
pub(crate) struct People {
    pub(crate) scene: Arc<Scene>,
    pub(crate) executor: Arc<Executor>,
    pub(crate) engine: Arc<Engine>,
}

/// Somebody waits for an answer.
struct Waits(Arc<Scene>, Option<usize>);

impl Waits {
    fn begin(scene: &Arc<Scene>, dispatches: Option<usize>) -> Self {
        scene.outside(|outside| {
            outside.waiting += 1;
            if let Some(client) = dispatches {
                outside.clients[client].dispatches += 1;
            }
        });
        Self(Arc::clone(scene), dispatches)
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.outside(|outside| {
            outside.waiting -= 1;
            if let Some(client) = self.1 {
                outside.clients[client].dispatches -= 1;
            }
        });
    }
}

impl People {
    fn spawn(&self, asking: impl Future<Output = ()> + Send + 'static) {
        let ambient: &dyn Ambient = &*self.executor;
        ambient.spawn(asking).detach();
    }

    /// Somebody dispatches: for the first time, again, or something else by mistake; and hangs up when what is returned is dropped.
    pub(crate) fn dispatch(&self, client: usize, text: usize) -> Joined<()> {
        self.dispatch_to(client, text, false)
    }

    /// The same, of a dispatch that another node has sent on to this one.
    pub(crate) fn dispatch_to(&self, client: usize, text: usize, is_sent_on: bool) -> Joined<()> {
        let (scene, engine) = (Arc::clone(&self.scene), Arc::clone(&self.engine));
        let (body, before) = scene.client(client, |client| (client.texts[text].clone(), client.accepted));
        let waits = Waits::begin(&scene, Some(client));
        let ambient: &dyn Ambient = &*self.executor;
        ambient.spawn(async move {
            let answer = if is_sent_on { engine.dispatch_here(body).await } else { engine.dispatch(body).await };
            drop(waits);
            if let Err(DispatchError::Elsewhere(member)) = &answer
                && scene.store.is_some()
            {
                return scene.outside(|outside| outside.sent_on.push((client, text, member.name.clone())));
            }
            hear(&scene, client, text, before, answer);
        })
    }

    /// Somebody forks: for the first time, again, or something else by mistake; and hangs up when what is returned is dropped.
    pub(crate) fn fork(&self, client: usize, text: usize) -> Joined<()> {
        let (scene, engine) = (Arc::clone(&self.scene), Arc::clone(&self.engine));
        let (origin, before) = scene.client(client, |client| (client.fork.clone().expect("it forks"), client.accepted));
        let waits = Waits::begin(&scene, Some(client));
        let ambient: &dyn Ambient = &*self.executor;
        ambient.spawn(async move {
            let answer = engine.fork(origin.no, origin.order(text)).await;
            drop(waits);
            forks::hear(&scene, client, text, before, answer);
        })
    }

    /// Somebody decides about an open request.
    pub(crate) fn decide(&self, client: usize) {
        let found = self.scene.side(client, |side| (side.no, side.mission.open_requests().to_vec()));
        let Some((no, open)) = found.filter(|(_, open)| !open.is_empty()) else { return };
        let request = &open[self.scene.roll(|rng| rng.usize(..open.len()))];
        let decision = self.decision(client, request);
        self.say(client, no, request.no, decision);
    }

    /// Somebody decides about what was decided: the same, or something else.
    pub(crate) fn decide_again(&self, client: usize) {
        let place = self.scene.roll(|rng| rng.usize(..4));
        let decided = self.scene.client(client, |client| client.decided.clone().into_iter().nth(place));
        let (Some((request, before)), Some(no)) = (decided, self.scene.no_of(client)) else { return };
        let decision = match self.scene.one_in(2) {
            true => before,
            false if before == Decision::Deny => Decision::Approve { reach: Reach::Call },
            false => Decision::Deny,
        };
        self.scene.count("decided again");
        self.say(client, no, request, decision);
    }

    fn say(&self, client: usize, no: MissionNo, request: RequestNo, decision: Decision) {
        let (scene, engine, executor) = (Arc::clone(&self.scene), Arc::clone(&self.engine), Arc::clone(&self.executor));
        scene.tell(client, &format!("{request}: somebody says {}", decision.as_str()));
        let waits = Waits::begin(&scene, None);
        self.spawn(async move {
            let answer = engine.decide(no, request, decision.clone(), "ada".to_owned(), String::new()).await;
            drop(waits);
            if !scene.is_held(&executor, client) {
                return scene.count("answer of a node that has lost the mission");
            }
            scene.side(client, |side| {
                if side.no == no {
                    hear_of_decision(&scene, side, request, &decision, answer);
                }
            });
        });
    }

    /// What somebody says who has looked at the world.
    fn decision(&self, client: usize, request: &OpenRequest) -> Decision {
        let dice = self.scene.roll(|rng| rng.u8(..10));
        match request.kind {
            _ if dice == 0 => Decision::Deny,
            RequestKind::Budget if self.scene.outside(|outside| outside.thrifty) => Decision::Deny,
            // Whoever does it knows nothing of models: a node refuses that.
            RequestKind::Approval if dice > 6 => Decision::Amend { arguments: format!("{{\"changed\":{dice}}}") },
            RequestKind::Approval => {
                let reach = [Reach::Call, Reach::Call, Reach::Tool, Reach::Mission][usize::from(dice) % 4];
                Decision::Approve { reach }
            }
            // Now and then nothing that fits the form.
            RequestKind::Input if request.form.is_some() => {
                let texts = ["green", "blue", "{}", r#"{"color":"blue"}"#];
                Decision::Answer { text: texts[usize::from(dice) % 4].to_owned() }
            }
            RequestKind::Input => Decision::Answer { text: format!("answer {dice}") },
            RequestKind::Budget => {
                let cost = if dice == 1 { MicroUsd(1) } else { MicroUsd(800_000) };
                Decision::Grant { llm_calls: if dice == 1 { 0 } else { 4 }, cost }
            }
            RequestKind::Uncertain => {
                let happened = self
                    .scene
                    .client(client, |client| client.calls.get(&request.call).is_some_and(|effects| effects.landed > 0));
                if happened { Decision::Record { result: "\"recorded\"".to_owned() } } else { Decision::Repeat }
            }
        }
    }

    /// Somebody lets a session go on whose files are on the disk of a node that is gone.
    pub(crate) fn go_on_empty(&self, client: usize) {
        let Some(no) = self.scene.no_of(client) else { return };
        let (scene, engine) = (Arc::clone(&self.scene), Arc::clone(&self.engine));
        let waits = Waits::begin(&scene, None);
        self.spawn(async move {
            let gone_on = engine.go_on_empty(no).await;
            drop(waits);
            if matches!(gone_on, Ok(true)) {
                scene.count("session that goes on without its files");
            }
        });
    }

    /// Somebody cancels a mission.
    pub(crate) fn cancel(&self, client: usize) {
        let Some(no) = self.scene.no_of(client) else { return };
        let (scene, engine) = (Arc::clone(&self.scene), Arc::clone(&self.engine));
        scene.tell(client, "somebody cancels it");
        let waits = Waits::begin(&scene, None);
        self.spawn(async move {
            let answer = engine.cancel(no, String::new(), "simone".to_owned()).await;
            drop(waits);
            scene.side(client, |side| {
                if side.no != no {
                    return;
                }
                let status = side.mission.status();
                match answer {
                    Ok(()) => {
                        assert_eq!(status, Status::Cancelled, "said to be cancelled");
                        scene.client(client, |client| client.cancelled = true);
                        scene.count("cancelled");
                    }
                    Err(ActError::AlreadyFinal) => {
                        assert!(status.is_final() && status != Status::Cancelled, "said to have ended: it is {status}");
                    }
                    Err(error) => unanswered(&scene, &error),
                }
            });
        });
    }

    /// Somebody halts the node.
    pub(crate) fn halt(&self) {
        let (scene, engine) = (Arc::clone(&self.scene), Arc::clone(&self.engine));
        scene.line("somebody halts the node");
        let before: Vec<MissionNo> = scene.ledger(|ledger| ledger.sides.keys().copied().collect());
        let waits = Waits::begin(&scene, None);
        self.spawn(async move {
            let answer = engine.halt().await;
            drop(waits);
            if let Err(error) = answer {
                return unanswered(&scene, &error);
            }
            scene.count("halted");
            scene.ledger(|ledger| {
                for side in before.iter().filter_map(|no| ledger.sides.get(no)) {
                    assert!(side.ended().is_some(), "{} goes on after a halt", side.no);
                    let cancelled = side.mission.status() == Status::Cancelled;
                    scene.client(side.client, |client| client.cancelled |= cancelled);
                }
            });
        });
    }

    /// Somebody pauses the node, or lets it go on.
    pub(crate) fn pause(&self, paused: bool) {
        let (scene, engine) = (Arc::clone(&self.scene), Arc::clone(&self.engine));
        scene.line(if paused { "somebody pauses the node" } else { "somebody lets the node go on" });
        let waits = Waits::begin(&scene, None);
        self.spawn(async move {
            let answer = engine.pause(paused).await;
            drop(waits);
            match answer {
                Ok(()) => scene.count(if paused { "paused" } else { "let go on" }),
                Err(error) => unanswered(&scene, &error),
            }
        });
    }

    /// Somebody has a parked delivery tried again, or gives it up.
    pub(crate) fn unpark(&self, client: usize, skip: bool) {
        let Some(no) = self.scene.no_of(client) else { return };
        let (scene, engine) = (Arc::clone(&self.scene), Arc::clone(&self.engine));
        scene.tell(client, if skip { "somebody skips a delivery" } else { "somebody has a delivery tried again" });
        let waits = Waits::begin(&scene, None);
        self.spawn(async move {
            let answer = engine.unpark(no, skip).await;
            drop(waits);
            match answer {
                Ok(true) => scene.count(if skip { "skipped" } else { "redelivered" }),
                Ok(false) => {}
                Err(error) => unanswered(&scene, &error),
            }
        });
    }
}

/// A control plane is answered.
fn hear(scene: &Scene, client: usize, text: usize, before: Option<usize>, answer: Result<Dispatched, DispatchError>) {
    if scene.client(client, |client| client.forgotten) {
        // Of a node that answers late.
        return;
    }
    let on_disk = || {
        let texts = scene.client(client, |client| client.texts.clone());
        let found = scene.side(client, |side| texts.iter().position(|known| known == side.text()));
        found.expect("what is said of a mission is on disk").expect("one of its texts")
    };
    match answer {
        Ok(dispatched) => {
            assert_eq!(on_disk(), text, "another envelope was accepted");
            assert!(before.is_none_or(|before| before == text && dispatched.replayed), "it was accepted before");
            scene.count(if dispatched.replayed { "dispatched again" } else { "accepted" });
        }
        Err(DispatchError::IdempotencyConflict { .. } | DispatchError::MissionIdConflict) => {
            assert_ne!(on_disk(), text, "it is in conflict with itself");
            scene.count("conflicting dispatch");
        }
        Err(DispatchError::Invalid(mistakes)) => {
            assert_eq!(before, None, "it was accepted before, and is refused: {mistakes:?}");
            let is_window = |pointer: &str| pointer.starts_with("/autonomy_window");
            assert!(mistakes.iter().all(|mistake| is_window(mistake.pointer.as_str())), "{mistakes:?}");
            scene.count("refused at intake");
            return scene.client(client, |client| client.rejected |= client.accepted.is_none());
        }
        Err(DispatchError::Overloaded) => return scene.count("overloaded"),
        Err(DispatchError::DiskLow) => return scene.count("low disk"),
        Err(DispatchError::Draining) => return scene.count("dispatched to a node that is drained"),
        // The one that is meant has not been seen yet.
        Err(DispatchError::WrongInstance { .. }) if scene.store.is_some() => {
            return scene.count("dispatched to a node that does not know who is meant");
        }
        Err(DispatchError::Stopping) => return scene.count("dispatched to a node that stops"),
        Err(DispatchError::Journal(_) | DispatchError::Read(_)) => {
            return scene.count("dispatched to a node that failed");
        }
        Err(
            error @ (DispatchError::WrongInstance { .. } | DispatchError::Elsewhere(_) | DispatchError::Artifacts(_)),
        ) => panic!("{error}"),
    }
    let accepted = on_disk();
    scene.client(client, |client| {
        client.accepted = Some(accepted);
        client.rejected = false;
    });
}

fn hear_of_decision(scene: &Scene, side: &Side, request: RequestNo, decision: &Decision, answer: Result<(), ActError>) {
    let on_disk = check::decided(&side.records, request);
    match answer {
        Ok(()) => {
            assert_eq!(on_disk, Some(decision), "the decision about {request} is not on disk");
            if matches!(decision, Decision::Amend { .. }) {
                scene.count("approved with other arguments");
            }
            scene.client(side.client, |client| drop(client.decided.insert(request, decision.clone())));
            scene.count(decision.as_str());
        }
        Err(ActError::AlreadyFinal) => assert!(side.ended().is_some(), "said to have ended"),
        Err(ActError::Refused(Refusal::AlreadyDecided { .. })) => {
            assert!(on_disk.is_some_and(|before| before != decision), "{request} is said to be decided otherwise");
            scene.count("decided otherwise");
        }
        Err(ActError::Refused(Refusal::NotAllowed { .. } | Refusal::NotAmendable { .. })) => {
            assert!(matches!(decision, Decision::Amend { .. }), "nothing was changed");
            scene.count("arguments that are not taken");
        }
        // Its tool has changed since the call was asked for.
        Err(ActError::Arguments(_)) => {
            assert!(matches!(decision, Decision::Amend { .. }), "nothing was changed");
            scene.count("arguments that do not fit");
        }
        Err(ActError::Answer(_)) => {
            let misfits = matches!(decision, Decision::Answer { text } if color().filled(text).is_err());
            assert!(misfits, "it fits");
            scene.count("answer that does not fit");
        }
        Err(ActError::Refused(Refusal::Withdrawn { .. })) => {
            let is_told =
                |stamped: &Stamped| matches!(stamped.record, Record::Withdrawn { request: no, .. } if no == request);
            assert!(side.records.iter().any(is_told) && on_disk.is_none(), "{request} is said to be taken back");
            scene.count("answer to what was taken back");
        }
        Err(ActError::Refused(Refusal::NotEnough { .. })) => scene.count("grant that is not enough"),
        Err(ActError::Refused(Refusal::Barred { .. })) => {
            let is_told = |stamped: &Stamped| matches!(stamped.record, Record::Overbilled { .. });
            assert!(side.records.iter().any(is_told), "nothing was too dear");
            scene.count("call that is paid for no more");
        }
        Err(ActError::Refused(Refusal::UnknownRequest { .. })) => {
            let is_open = side.mission.open_requests().iter().any(|open| open.no == request);
            assert!(!is_open && on_disk.is_none(), "{request} is said not to be there");
            scene.count("request that was withdrawn");
        }
        Err(ActError::Refused(refusal)) => assert!(matches!(refusal, Refusal::NotYet { .. }), "{refusal}"),
        Err(error) => unanswered(scene, &error),
    }
}

/// The node has failed, or its folder has: who asked knows nothing.
fn unanswered(scene: &Scene, error: &ActError) {
    assert!(matches!(error, ActError::Journal(_) | ActError::Read(_) | ActError::Mark(_)), "{error}");
    scene.count("answered with a failure");
}
