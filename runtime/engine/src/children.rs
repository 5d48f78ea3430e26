//! Missions that missions dispatch, beyond the run that does so: that each is there once, that its end is told to its parent, and that it
//! ends with it.
//!
//! Owned here: which missions are whose, as this process knows it. It is an index and no truth: filled when a child is accepted, and from the
//! heads at a start. What is due of it is done by one background task, each thing in such a way that doing it twice changes nothing. Never here:
//! what a child may be given and what its end comes to, which the core says ([`sortie_mission::child`]).

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use sortie_contract::digest::Digest;
use sortie_contract::envelope::Envelope;
use sortie_contract::id::CallNo;
use sortie_contract::tool::{CallError, ToolAnswer};
use sortie_contract::{MissionId, MissionNo, Record, Spend, Status};
use sortie_journal::Head;
use sortie_mission::child::{Draft, Occasion, told};
use sortie_mission::{Command, Mission};
use tokio::sync::Notify;

use super::act::ActError;
use super::intake::DispatchError;
use super::live::{CommandError, Live, Wait};
use super::shared_store::ArtifactsOf;
use super::start::ROOM;
use super::{Engine, ReadError};

/// Who cancels a child whose parent has ended.
const PARENT: &str = "the mission that dispatched it";

/// When a child is seen to again that no node takes now.
const LATER: Duration = Duration::from_millis(500);

/// Which missions wait for which.
#[derive(Default)]
pub(crate) struct Children {
    family: Mutex<Family>,
    changed: Arc<Notify>,
}

#[derive(Default)]
struct Family {
    /// Children that have not ended: whose they are.
    of: FxHashMap<MissionNo, MissionNo>,
    /// The same by parent.
    by: FxHashMap<MissionNo, BTreeSet<MissionNo>>,
    /// Children that are about to be accepted: whose they are.
    expected: FxHashMap<MissionId, MissionNo>,
    due: VecDeque<Due>,
}

/// What is to be done.
enum Due {
    /// A child has ended: its parent is told.
    Tell { child: MissionNo, parent: MissionNo },
    /// Nobody waits for these any more: they are cancelled.
    Cancel(Vec<MissionNo>),
    /// Nobody waits any more for the child of that call.
    GivenUp { parent: MissionNo, call: CallNo },
    /// What became of its children while no node was there, nobody has told this one.
    Look(MissionNo),
}

/// What a start finds of families, head by head.
#[derive(Default)]
pub(crate) struct Found {
    /// Missions that have begun and not ended.
    begun: FxHashMap<MissionId, MissionNo>,
    /// Children that have not ended.
    open: Vec<(MissionNo, MissionId)>,
    /// Missions some of whose children have ended, or may not be there yet.
    look: BTreeSet<MissionNo>,
}

impl Found {
    /// Takes a mission in, by its head; to be called in the order of acceptance.
    pub(crate) fn add(&mut self, no: MissionNo, head: &Head) {
        if let Some((parent, _)) = head.idempotency_key.dispatched_by(&head.mission_id) {
            if head.status.is_final() {
                self.look.extend(self.begun.get(&parent));
            } else {
                self.open.push((no, parent));
            }
        }
        if matches!(head.status, Status::Running | Status::Blocked) {
            self.begun.insert(head.mission_id.clone(), no);
            // Its node may have ended before it dispatched what it had granted, and no run comes to that call while it sleeps.
            if head.suspended {
                self.look.insert(no);
            }
        }
    }
}

impl Children {
    /// Takes in what a start has found.
    pub(crate) fn take_in(&self, found: Found) {
        let mut family = self.family.lock();
        let (mut look, mut orphans) = (found.look, Vec::new());
        for (child, parent) in found.open {
            match found.begun.get(&parent) {
                Some(&parent) => {
                    family.add(child, parent);
                    look.insert(parent);
                }
                None => orphans.push(child),
            }
        }
        family.due.extend(look.into_iter().map(Due::Look));
        if !orphans.is_empty() {
            family.due.push_back(Due::Cancel(orphans));
        }
        self.changed.notify_one();
    }

    /// A mission of that name is about to be accepted, and is this one's.
    fn expect(&self, child: MissionId, parent: MissionNo) {
        self.family.lock().expected.insert(child, parent);
    }

    /// It came to nothing.
    fn expect_no_more(&self, child: &MissionId) {
        self.family.lock().expected.remove(child);
    }

    /// A child was accepted: whose it is.
    fn begins(&self, no: MissionNo, child: &MissionId) -> Option<MissionNo> {
        let mut family = self.family.lock();
        let parent = family.expected.remove(child)?;
        family.add(no, parent);
        Some(parent)
    }

    /// A mission has ended.
    pub(crate) fn end(&self, no: MissionNo) {
        let mut family = self.family.lock();
        if family.of.is_empty() {
            return;
        }
        if let Some(parent) = family.remove(no) {
            family.due.push_back(Due::Tell { child: no, parent });
            self.changed.notify_one();
        }
        if let Some(children) = family.by.get(&no) {
            let children = children.iter().copied().collect();
            family.due.push_back(Due::Cancel(children));
            self.changed.notify_one();
        }
    }

    /// Whether a mission waits for others that it has dispatched.
    pub(crate) fn are_awaited_by(&self, no: MissionNo) -> bool {
        self.family.lock().by.contains_key(&no)
    }

    fn push(&self, due: Due) {
        self.family.lock().due.push_back(due);
        self.changed.notify_one();
    }

    fn next(&self) -> Option<Due> {
        self.family.lock().due.pop_front()
    }

    fn of(&self, parent: MissionNo) -> Vec<MissionNo> {
        self.family.lock().by.get(&parent).into_iter().flatten().copied().collect()
    }
}

impl Family {
    fn add(&mut self, child: MissionNo, parent: MissionNo) {
        self.of.insert(child, parent);
        self.by.entry(parent).or_default().insert(child);
    }

    fn remove(&mut self, child: MissionNo) -> Option<MissionNo> {
        let parent = self.of.remove(&child)?;
        if let Some(children) = self.by.get_mut(&parent) {
            children.remove(&child);
            if children.is_empty() {
                self.by.remove(&parent);
            }
        }
        Some(parent)
    }
}

/// What a child left under a name; nothing but where its artifacts are, where that is none of them.
pub(crate) struct Left {
    /// Those of the child.
    pub(crate) artifacts: ArtifactsOf,
    /// What the artifact holds.
    pub(crate) sha256: Option<Digest>,
}

/// What a parent is told of a child: the call that dispatched it, what came of it, and what it did spend, where that is known.
type Told = (CallNo, Result<ToolAnswer, CallError>, Option<Spend>);

impl Engine {
    /// Starts to see to what becomes of children and of their parents.
    pub(super) fn start_children(self: &Arc<Self>) {
        let engine = Arc::downgrade(self);
        let changed = Arc::clone(&self.commit.children().changed);
        // A node on restored data begins nothing, and ends nothing.
        let reaches_out = self.reaches_out();
        self.supervise("children", async move {
            reaches_out.await;
            loop {
                changed.notified().await;
                loop {
                    let Some(engine) = engine.upgrade().filter(|engine| !engine.is_stopping()) else { return };
                    let Some(due) = engine.commit.children().next() else { break };
                    engine.see_to_family(due).await;
                }
            }
        });
    }

    /// A mission was accepted, and nothing has happened to it yet.
    pub(crate) fn child_begins(&self, no: MissionNo, envelope: &Envelope) {
        if envelope.parent().is_none() {
            return;
        }
        let children = self.commit.children();
        let parent = children.begins(no, &envelope.mission_id).and_then(|parent| self.lives.get(parent));
        // Whoever dispatches it may go with the end of its parent, and not get to look.
        if parent.is_some_and(|parent| parent.with(Mission::status).is_final()) {
            children.push(Due::Cancel(vec![no]));
        }
    }

    async fn see_to_family(self: &Arc<Self>, due: Due) {
        match due {
            Due::Tell { child, parent } => self.tell_parent(child, parent).await,
            Due::Cancel(children) => {
                for child in children {
                    self.cancel_child(child, "it has ended").await;
                }
            }
            Due::GivenUp { parent, call } => {
                if let Ok(live) = self.bring(parent).await
                    && let Ok(Some((no, _))) = self.find_child(&live, call).await
                {
                    self.cancel_child(no, "it waits for it no more").await;
                }
            }
            Due::Look(parent) => self.see_to_children(parent).await,
        }
    }

    /// Sees to it that each child that a mission waits for is there and is waited for, and that none is there for which it does not wait.
    pub(crate) async fn see_to_children(self: &Arc<Self>, parent: MissionNo) {
        // Whoever cannot be read is seen to elsewhere.
        let Ok(live) = self.bring(parent).await else { return };
        let calls: Vec<CallNo> = live.with(|mission| mission.open_children().collect());
        for call in calls {
            self.see_to_child(&live, call).await;
        }
        for child in self.commit.children().of(parent) {
            let call = self.head_of(child).await.and_then(|head| head.idempotency_key.dispatched_by(&head.mission_id));
            // As it is now: its run may have dispatched one since.
            let is_open = |call: CallNo| live.with(|mission| mission.open_children().any(|open| open == call));
            if let Some((_, call)) = call.filter(|(_, call)| !is_open(*call)) {
                tracing::debug!(no = %child, %call, "nobody waits for this child");
                self.cancel_child(child, "it waits for it no more").await;
            }
        }
        self.lives.release(&live);
    }

    /// Sees to it that the child of a call is there, and that its end is told: dispatches it, where no node has done so yet.
    pub(crate) async fn see_to_child(self: &Arc<Self>, parent: &Arc<Live>, call: CallNo) {
        loop {
            match self.find_child(parent, call).await {
                Ok(Some((no, _))) => return self.wait_for_child(no, parent).await,
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(no = %parent.no, %call, error = &error as &dyn std::error::Error, "a child cannot be looked for");
                    return;
                }
            }
            let Some((order, share)) =
                parent.with(|mission| mission.order_of_child(call).map(|(order, share)| (order.to_owned(), share)))
            else {
                return;
            };
            let now = parent.now(self);
            let node = &self.settings.rules.instance_id;
            let draft = parent.with(|mission| mission.child(now, &order, call, node, Occasion::Granted(share)));
            let draft = match draft {
                Ok(draft) => draft,
                Err(error) => return self.came_to_nothing(parent, call, error).await,
            };
            let children = self.commit.children();
            children.expect(draft.mission_id.clone(), parent.no);
            let dispatched = self.dispatch_child(draft.text).await;
            children.expect_no_more(&draft.mission_id);
            match dispatched {
                Ok(dispatched) => return self.wait_for_child(dispatched.no, parent).await,
                Err(DispatchError::Overloaded) => self.ambient.sleep(ROOM).await,
                // It is seen to once a node is there again.
                Err(DispatchError::Stopping | DispatchError::Journal(_)) => return,
                // It is of the moment, which nothing may depend on. Where the node is drained to its end, its parent goes on elsewhere.
                Err(DispatchError::Draining | DispatchError::DiskLow) => {
                    return self.see_to_child_later(parent.no, call);
                }
                Err(DispatchError::Elsewhere(member)) if !member.is_live() => {
                    return self.see_to_child_later(parent.no, call);
                }
                Err(DispatchError::IdempotencyConflict { .. } | DispatchError::MissionIdConflict)
                    if self.find_child(parent, call).await.is_ok_and(|child| child.is_some()) => {}
                Err(error) => return self.came_to_nothing(parent, call, refused(&error)).await,
            }
        }
    }

    /// Sees to a child that no node takes now a little later: nobody waits for that here, others' children least of all.
    fn see_to_child_later(self: &Arc<Self>, parent: MissionNo, call: CallNo) {
        let (engine, ambient) = (Arc::downgrade(self), Arc::clone(&self.ambient));
        self.attend("child", async move {
            ambient.sleep(LATER).await;
            let Some(engine) = engine.upgrade().filter(|engine| !engine.is_stopping()) else { return };
            // Whoever cannot be read is seen to elsewhere.
            let Ok(live) = engine.bring(parent).await else { return };
            engine.see_to_child(&live, call).await;
            engine.lives.release(&live);
        });
    }

    /// The child of that call, once its acceptance is on disk: a mission that has its name, and whose envelope says whose it is.
    async fn find_child(
        self: &Arc<Self>,
        parent: &Arc<Live>,
        call: CallNo,
    ) -> Result<Option<(MissionNo, Status)>, ReadError> {
        let of = parent.with(|mission| mission.envelope().mission_id.clone());
        let (engine, id) = (Arc::clone(self), MissionId::of_child(&of, call));
        let found = self.ambient.unblock(move || {
            let Some((no, status, envelope)) = engine.accepted_of(&id)? else { return Ok(None) };
            let is_its = envelope.parent().is_some_and(|parent| parent.mission_id == of && parent.call == call.0);
            Ok(is_its.then_some((no, status)))
        });
        found.await.map_err(ReadError::Task)?
    }

    /// A mission by its name, how it stands, and what was dispatched. Blocks.
    fn accepted_of(&self, id: &MissionId) -> Result<Option<(MissionNo, Status, Envelope)>, ReadError> {
        let Some(twin) = self.log.find(id)? else { return Ok(None) };
        let records = self.log.read(twin.no, 0, 0)?;
        let Some(Record::Accepted(accepted)) = records.first().map(|first| &first.record) else { return Ok(None) };
        let parsed = Envelope::parse_accepted(&accepted.envelope).map_err(|_| ReadError::NoEnvelope)?;
        Ok(Some((twin.no, twin.head.status, parsed.envelope)))
    }

    /// A child is there: from now on its end is told, and that of its parent ends it.
    async fn wait_for_child(self: &Arc<Self>, child: MissionNo, parent: &Arc<Live>) {
        self.commit.children().family.lock().add(child, parent.no);
        // Either may have ended before that.
        let is_over_here = self.lives.get(child).is_some_and(|live| live.with(Mission::status).is_final());
        let is_over = is_over_here || self.head_of(child).await.is_none_or(|head| head.status.is_final());
        if is_over && self.commit.children().family.lock().remove(child).is_some() {
            self.commit.children().push(Due::Tell { child, parent: parent.no });
        } else if parent.with(Mission::status).is_final() {
            self.commit.children().push(Due::Cancel(vec![child]));
        }
    }

    async fn head_of(self: &Arc<Self>, no: MissionNo) -> Option<Head> {
        let engine = Arc::clone(self);
        self.ambient.unblock(move || engine.log.head(no)).await.ok()?.ok()?
    }

    /// Nobody waits any more for the child of that call.
    pub(crate) fn give_child_up(&self, parent: &Live, call: CallNo) {
        self.commit.children().push(Due::GivenUp { parent: parent.no, call });
    }

    async fn cancel_child(self: &Arc<Self>, child: MissionNo, why: &str) {
        match self.cancel(child, why.to_owned(), PARENT.to_owned()).await {
            Ok(()) | Err(ActError::AlreadyFinal | ActError::Read(ReadError::Unknown)) => {}
            Err(error) => {
                tracing::error!(no = %child, error = &error as &dyn std::error::Error, "a child cannot be cancelled");
            }
        }
    }

    /// Tells a mission what became of its child.
    async fn tell_parent(self: &Arc<Self>, child: MissionNo, parent: MissionNo) {
        if self.head_of(parent).await.is_none_or(|head| head.status.is_final()) {
            return;
        }
        let Some((call, outcome, spent)) = self.told_of_child(child).await else { return };
        if let Ok(live) = self.bring(parent).await {
            self.child_done(&live, call, outcome, spent).await;
        }
    }

    /// What is told of a child that has ended; nothing, where it is nobody's.
    async fn told_of_child(self: &Arc<Self>, child: MissionNo) -> Option<Told> {
        // What is told of it is on disk.
        self.durable().await.ok()?;
        let engine = Arc::clone(self);
        let mission = self.ambient.unblock(move || engine.mission(child)).await.ok()?;
        let why = match mission {
            Ok(mission) => {
                let call = CallNo(mission.parent()?.call);
                let answer = |result| ToolAnswer { result, wrote: Vec::new() };
                return Some((call, Ok(answer(mission.told_to_parent()?)), Some(mission.spent())));
            }
            Err(error) => {
                self.cannot_read(child, &error);
                error.to_string()
            }
        };
        let head = self.head_of(child).await?;
        let (_, call) = head.idempotency_key.dispatched_by(&head.mission_id)?;
        let error = CallError::Failed(format!("what became of {} cannot be read: {why}", head.mission_id));
        Some((call, Err(error), None))
    }

    async fn came_to_nothing(self: &Arc<Self>, parent: &Arc<Live>, call: CallNo, error: CallError) {
        self.child_done(parent, call, Err(error), Some(Spend::NOTHING)).await;
    }

    /// The call of a child has its result, and its mission goes on.
    async fn child_done(
        self: &Arc<Self>,
        parent: &Arc<Live>,
        call: CallNo,
        outcome: Result<ToolAnswer, CallError>,
        spent: Option<Spend>,
    ) {
        let done = || Command::ChildDone { call, outcome: outcome.clone(), spent };
        match self.command_patiently(parent, done, Wait::No).await {
            // Its parent has ended, or knows it already.
            Ok(_) | Err(CommandError::Refused(_)) => {}
            Err(CommandError::Journal(_)) => return,
        }
        if self.durable().await.is_ok() {
            self.watch(parent);
            self.go_on(parent);
            self.lives.release(parent);
        }
    }

    /// Whether this node would take a child, as far as one that it has not been asked for yet can be looked at.
    ///
    /// # Errors
    /// What its parent is told.
    pub(crate) async fn would_take_child(&self, draft: &Draft) -> Result<(), CallError> {
        self.would_take(&draft.bare).await.map_err(|error| refused(&error))
    }

    /// What a child of a mission left under a name; nothing, where there is no such child, or it has not ended.
    pub(crate) async fn left_by_child(
        self: &Arc<Self>,
        parent: &Live,
        id: &str,
        name: &str,
    ) -> Result<Option<Left>, ReadError> {
        let Ok(id) = MissionId::new(id) else { return Ok(None) };
        let (engine, name) = (Arc::clone(self), name.to_owned());
        let found = self.ambient.unblock(move || {
            let Some((no, status, envelope)) = engine.accepted_of(&id)? else { return Ok(None) };
            if !status.is_final() {
                return Ok(None);
            }
            let mission = engine.mission(no)?;
            let artifact = mission.artifacts().iter().find(|artifact| artifact.name.as_str() == name);
            let artifacts = engine.artifacts_of(no, &envelope);
            Ok::<_, ReadError>(Some((Left { artifacts, sha256: artifact.map(|artifact| artifact.sha256) }, envelope)))
        });
        let found = found.await.map_err(ReadError::Task)??;
        let may_read = |envelope: &Envelope| {
            parent.with(|mission| envelope.child_of.as_ref().is_some_and(|of| mission.may_read_of(of)))
        };
        Ok(found.filter(|(_, envelope)| may_read(envelope)).map(|(left, _)| left))
    }

    /// Whether a mission that has ended is still somebody's to look at: one that has dispatched it, and has not ended. Blocks.
    pub(crate) fn is_awaited(&self, head: &Head) -> Result<bool, ReadError> {
        let Some((parent, _)) = head.idempotency_key.dispatched_by(&head.mission_id) else { return Ok(false) };
        Ok(self.log.find(&parent)?.is_some_and(|twin| !twin.head.status.is_final()))
    }
}

/// Why a child is not taken, as its parent is told.
fn refused(error: &DispatchError) -> CallError {
    match error {
        DispatchError::Invalid(mistakes) => CallError::InvalidArguments(told(mistakes)),
        other => CallError::Failed(format!("the node does not take the mission: {other}")),
    }
}
