//! Missions that missions dispatch, beyond the run that does so: that each is there once, that its end is told to its parent, and that it
//! ends with it.
//!
//! Which missions are whose this process knows by an index (`family`), which is no truth. What is due of it is done by one background task, each
//! thing in such a way that doing it twice changes nothing, and again a little later where a moment keeps it from being done: whoever waits for a
//! child is told of what it asks people, and of its end or of why there is none. Never here: what a child may be given and what its end comes to, which the core says
//! ([`sortie_mission::child`]).

mod family;
mod left;

use std::sync::Arc;
use std::time::Duration;

use sortie_contract::envelope::Envelope;
use sortie_contract::id::CallNo;
use sortie_contract::tool::{CallError, ToolAnswer};
use sortie_contract::{MissionId, MissionNo, Spend, Status};
use sortie_journal::{Head, WriteError};
use sortie_mission::child::{Draft, Occasion, told};
use sortie_mission::{Command, Mission};

use super::act::ActError;
use super::intake::DispatchError;
use super::live::{CommandError, Live, Wait};
use super::quarantine::is_its_own;
use super::start::ROOM;
use super::{Engine, ReadError};

use family::Due;
pub(crate) use family::{Children, Found};
pub(crate) use left::NotRead;

/// Who cancels a child whose parent has ended.
const PARENT: &str = "the mission that dispatched it";

/// When something is seen to again that cannot be done now: no node takes the child, or the log does not say how it stands.
const LATER: Duration = Duration::from_millis(500);

/// How often something is tried again of what cannot be read by itself: long enough for what can be mended, and an end to what cannot.
const TRIES_MAX: u32 = 20;

/// Why something is not done now. It is tried again: nobody is to wait for ever for what a moment kept from being done.
#[derive(Debug)]
enum NotNow {
    /// It is of the moment.
    Busy,
    /// What is on disk of a mission cannot be read. It may be mended, or have an end in quarantine, soon.
    Unreadable(ReadError),
}

impl From<ReadError> for NotNow {
    fn from(error: ReadError) -> Self {
        if is_its_own(&error) { Self::Unreadable(error) } else { Self::Busy }
    }
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
                    let Some((due, tries)) = engine.commit.children().next() else { break };
                    engine.see_to_family(due, tries).await;
                }
            }
        });
    }

    /// A mission was accepted, and nothing has happened to it yet.
    pub(crate) fn child_begins(&self, no: MissionNo, envelope: &Envelope) {
        let Some(of) = envelope.parent() else { return };
        let children = self.commit.children();
        let parent = children.begins(no, &envelope.mission_id).and_then(|parent| self.lives.get(parent));
        // Whoever dispatches it may go with the end of its parent, and not get to look.
        if parent.is_some_and(|parent| !is_awaited_by(&parent, CallNo(of.call))) {
            children.push(Due::Cancel(vec![no]), 0);
        }
    }

    async fn see_to_family(self: &Arc<Self>, due: Due, tries: u32) {
        let done = match &due {
            Due::Tell { child, parent } => self.tell_parent(*child, *parent, tries).await,
            Due::Ask { child, parent } => self.tell_what_child_asks(*child, *parent).await,
            Due::Cancel(children) => self.cancel_children(children, "it has ended").await,
            Due::GivenUp { parent, call } => self.cancel_given_up(*parent, *call).await,
            Due::Look(parent) => self.see_to_children(*parent, tries).await,
            Due::See { parent, call } => {
                // Nobody waits for that here, others' children least of all.
                let (engine, parent, call) = (Arc::clone(self), *parent, *call);
                return self.attend("child", async move { engine.see_to_child_of(parent, call, tries).await });
            }
        };
        let Err(why) = done else { return };
        match why {
            NotNow::Busy => self.see_to_later(due, tries),
            NotNow::Unreadable(_) if tries < TRIES_MAX => self.see_to_later(due, tries + 1),
            NotNow::Unreadable(error) => {
                tracing::error!(
                    ?due,
                    error = &error as &dyn std::error::Error,
                    "a family cannot be seen to: what is on disk of it cannot be read"
                );
            }
        }
    }

    /// Sees to something a little later.
    fn see_to_later(self: &Arc<Self>, due: Due, tries: u32) {
        let (engine, ambient) = (Arc::downgrade(self), Arc::clone(&self.ambient));
        self.attend("child", async move {
            ambient.sleep(LATER).await;
            if let Some(engine) = engine.upgrade().filter(|engine| !engine.is_stopping()) {
                engine.commit.children().push(due, tries);
            }
        });
    }

    /// Sees to it that none of its children is there for which a mission does not wait, and then that each for which it waits is there and is
    /// waited for: the first may get a turn at any moment, the second may take its time.
    async fn see_to_children(self: &Arc<Self>, parent: MissionNo, tries: u32) -> Result<(), NotNow> {
        let live = match self.bring(parent).await {
            Err(ReadError::Unknown) => return Ok(()),
            live => live?,
        };
        let mut done = Ok(());
        for child in self.commit.children().of(parent) {
            let call = match self.head_of(child).await {
                Ok(head) => head.and_then(|head| head.idempotency_key.dispatched_by(&head.mission_id)),
                Err(error) => {
                    done = Err(error);
                    continue;
                }
            };
            // As it is now: its run may have dispatched one since.
            if let Some((_, call)) = call.filter(|(_, call)| !is_awaited_by(&live, *call)) {
                tracing::debug!(no = %child, %call, "nobody waits for this child");
                let cancelled = self.cancel_children(&[child], "it waits for it no more").await;
                done = done.and(cancelled);
            }
        }
        // Once: each of them is tried again by itself.
        if done.is_ok() || tries >= TRIES_MAX {
            let calls: Vec<CallNo> = live.with(|mission| mission.open_children().collect());
            calls.into_iter().for_each(|call| self.commit.children().push(Due::See { parent, call }, 0));
        }
        self.lives.release(&live);
        done
    }

    /// Sees to it that the child of a call is there, and that its end is told: dispatches it, where no node has done so yet.
    pub(crate) async fn see_to_child(self: &Arc<Self>, parent: &Arc<Live>, call: CallNo) {
        self.try_to_see_to_child(parent, call, 0).await;
    }

    /// The same, of one that may be out of memory.
    async fn see_to_child_of(self: &Arc<Self>, parent: MissionNo, call: CallNo, tries: u32) {
        match self.bring(parent).await {
            Ok(live) => {
                self.try_to_see_to_child(&live, call, tries).await;
                self.lives.release(&live);
            }
            Err(ReadError::Unknown) => {}
            // One that cannot be read gets its end in quarantine.
            Err(error) if is_its_own(&error) && tries >= TRIES_MAX => {}
            Err(_) => self.see_to_later(Due::See { parent, call }, tries + 1),
        }
    }

    async fn try_to_see_to_child(self: &Arc<Self>, parent: &Arc<Live>, call: CallNo, tries: u32) {
        let again = Due::See { parent: parent.no, call };
        match self.have_child(parent, call).await {
            Ok(()) => {}
            Err(NotNow::Busy) => self.see_to_later(again, tries),
            Err(NotNow::Unreadable(_)) if tries < TRIES_MAX => self.see_to_later(again, tries + 1),
            Err(NotNow::Unreadable(error)) => {
                let why = format!("whether the mission was dispatched cannot be read: {error}");
                self.came_to_nothing(parent, call, CallError::Uncertain(why)).await;
            }
        }
    }

    /// Has the child of a call be there, and its end be waited for; or ends the call.
    async fn have_child(self: &Arc<Self>, parent: &Arc<Live>, call: CallNo) -> Result<(), NotNow> {
        loop {
            if let Some(no) = self.find_child(parent, call).await? {
                return self.wait_for_child(no, parent, call).await;
            }
            let Some((order, share)) =
                parent.with(|mission| mission.order_of_child(call).map(|(order, share)| (order.to_owned(), share)))
            else {
                return Ok(());
            };
            let now = parent.now(self);
            let node = &self.settings.rules.instance_id;
            let draft = parent.with(|mission| mission.child(now, &order, call, node, Occasion::Granted(share)));
            let draft = match draft {
                Ok(draft) => draft,
                Err(error) => {
                    self.came_to_nothing(parent, call, error).await;
                    return Ok(());
                }
            };
            let dispatched = {
                let _expected = self.commit.children().expect(draft.mission_id, parent.no);
                self.dispatch_child(draft.text).await
            };
            match dispatched {
                Ok(dispatched) => return self.wait_for_child(dispatched.no, parent, call).await,
                Err(DispatchError::Overloaded) => self.ambient.sleep(ROOM).await,
                // It is seen to once a node is there again.
                Err(DispatchError::Stopping | DispatchError::Journal(_)) => return Ok(()),
                // It is of the moment, which nothing may depend on. Where the node is drained to its end, its parent goes on elsewhere.
                Err(DispatchError::Draining | DispatchError::DiskLow) => return Err(NotNow::Busy),
                Err(DispatchError::Elsewhere(member)) if !member.is_live() => return Err(NotNow::Busy),
                Err(DispatchError::Read(error)) => return Err(error.into()),
                Err(DispatchError::IdempotencyConflict { .. } | DispatchError::MissionIdConflict)
                    if self.find_child(parent, call).await?.is_some() => {}
                Err(error) => {
                    self.came_to_nothing(parent, call, refused(&error)).await;
                    return Ok(());
                }
            }
        }
    }

    /// The child of that call, once its acceptance is on disk: the mission that has its names, which only a node gives.
    async fn find_child(self: &Arc<Self>, parent: &Arc<Live>, call: CallNo) -> Result<Option<MissionNo>, NotNow> {
        let of = parent.with(|mission| mission.envelope().mission_id.clone());
        let (engine, id) = (Arc::clone(self), MissionId::of_child(&of, call));
        let found = self.ambient.unblock(move || {
            let twin = engine.log.find(&id).inspect_err(|error| engine.cannot_read_row(error))?;
            let is_its = |head: &Head| head.idempotency_key.dispatched_by(&id) == Some((of, call));
            Ok::<_, sortie_journal::ReadError>(twin.and_then(|twin| is_its(&twin.head).then_some(twin.no)))
        });
        Ok(found.await.map_err(ReadError::Task)?.map_err(ReadError::from)?)
    }

    /// A child is there: from now on its end is told, and that of its parent ends it.
    async fn wait_for_child(
        self: &Arc<Self>,
        child: MissionNo,
        parent: &Arc<Live>,
        call: CallNo,
    ) -> Result<(), NotNow> {
        self.commit.children().family.lock().add(child, parent.no);
        // Either may have ended before that, or its parent have let go of it while it was dispatched.
        let is_over_here = self.lives.get(child).is_some_and(|live| live.with(Mission::status).is_final());
        let head = if is_over_here { None } else { self.head_of(child).await? };
        let status = head.map(|head| head.status).filter(|status| !status.is_final());
        let is_over = status.is_none();
        if status == Some(Status::Blocked) || parent.with(|mission| mission.does_child_ask(call)) {
            self.commit.children().push(Due::Ask { child, parent: parent.no }, 0);
        }
        if is_over && self.commit.children().family.lock().remove(child).is_some() {
            self.commit.children().push(Due::Tell { child, parent: parent.no }, 0);
        } else if !is_over && !is_awaited_by(parent, call) {
            self.commit.children().push(Due::Cancel(vec![child]), 0);
        } else if !is_over && self.drives_what_it_is_told && self.lives.get(child).is_none() {
            // An earlier process has left it behind, and what belongs to what this one does is its business.
            let engine = Arc::clone(self);
            self.ambient.unblock(move || engine.drive(child)).await.map_err(ReadError::Task)??;
        }
        Ok(())
    }

    async fn head_of(self: &Arc<Self>, no: MissionNo) -> Result<Option<Head>, NotNow> {
        let engine = Arc::clone(self);
        let read = self.ambient.unblock(move || engine.log.head(no).inspect_err(|error| engine.cannot_read_row(error)));
        Ok(read.await.map_err(ReadError::Task)?.map_err(ReadError::from)?)
    }

    /// Nobody waits any more for the child of that call.
    pub(crate) fn give_child_up(&self, parent: &Live, call: CallNo) {
        self.commit.children().push(Due::GivenUp { parent: parent.no, call }, 0);
    }

    async fn cancel_given_up(self: &Arc<Self>, parent: MissionNo, call: CallNo) -> Result<(), NotNow> {
        let live = match self.bring(parent).await {
            Err(ReadError::Unknown) => return Ok(()),
            live => live?,
        };
        let found = self.find_child(&live, call).await;
        self.lives.release(&live);
        match found? {
            Some(child) => self.cancel_children(&[child], "it waits for it no more").await,
            // Whoever is about to dispatch it looks whether it is still wanted.
            None => Ok(()),
        }
    }

    /// Cancels them all; where one cannot be now, the others are.
    async fn cancel_children(self: &Arc<Self>, children: &[MissionNo], why: &str) -> Result<(), NotNow> {
        let mut done = Ok(());
        for &child in children {
            match self.cancel(child, why.to_owned(), PARENT.to_owned()).await {
                Ok(()) | Err(ActError::AlreadyFinal | ActError::Read(ReadError::Unknown)) => {}
                Err(ActError::Read(error)) => done = Err(error.into()),
                Err(error) => {
                    tracing::error!(no = %child, error = &error as &dyn std::error::Error, "a child cannot be cancelled");
                }
            }
        }
        done
    }

    /// Tells a mission what became of its child.
    async fn tell_parent(self: &Arc<Self>, child: MissionNo, parent: MissionNo, tries: u32) -> Result<(), NotNow> {
        if self.head_of(parent).await?.is_none_or(|head| head.status.is_final()) {
            return Ok(());
        }
        let Some((call, outcome, spent)) = self.told_of_child(child, tries).await? else { return Ok(()) };
        match self.bring(parent).await {
            Ok(live) => self.child_done(&live, call, outcome, spent).await,
            Err(ReadError::Unknown) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Tells a mission what its child asks people, and what those below that do: whoever hears of it alone hears of that, too.
    async fn tell_what_child_asks(self: &Arc<Self>, child: MissionNo, parent: MissionNo) -> Result<(), NotNow> {
        if self.head_of(parent).await?.is_none_or(|head| head.status.is_final()) {
            return Ok(());
        }
        let (child, parent) = match (self.bring(child).await, self.bring(parent).await) {
            (Err(ReadError::Unknown), _) | (_, Err(ReadError::Unknown)) => return Ok(()),
            (child, parent) => (child?, parent?),
        };
        let call = child.with(|mission| mission.parent().map(|of| CallNo(of.call)));
        let Some(call) = call else { return Ok(()) };
        // As it is when it is recorded: of one that has ended its end is told.
        let asks = || child.with(|mission| (!mission.status().is_final()).then(|| mission.asks()));
        let told = loop {
            let Some(open) = asks() else { break Ok(()) };
            match self.command(&parent, Command::ChildAsks { call, open }, Wait::No) {
                Err(CommandError::Journal(WriteError::Overloaded)) => self.ambient.sleep(ROOM).await,
                // Its parent has ended, or waits for it no more.
                Ok(_) | Err(CommandError::Refused(_)) => break self.durable().await,
                Err(CommandError::Journal(error)) => break Err(error),
            }
        };
        self.lives.release(&child);
        if told.is_ok() {
            self.lives.release(&parent);
        }
        Ok(())
    }

    /// What is told of a child that has ended; nothing, where it is nobody's. One that cannot be read may be mended or come into quarantine:
    /// only what was tried often enough is an error.
    async fn told_of_child(self: &Arc<Self>, child: MissionNo, tries: u32) -> Result<Option<Told>, NotNow> {
        // What is told of it is on disk; where the journal takes nothing more, another node tells it.
        if self.durable().await.is_err() {
            return Ok(None);
        }
        let engine = Arc::clone(self);
        let why = match self.ambient.unblock(move || engine.mission(child)).await.map_err(ReadError::Task)? {
            Ok(mission) => {
                let of = mission.parent().map(|of| CallNo(of.call));
                let (told, spent) = (mission.told_to_parent(), mission.spent());
                return self.told_of_ended(child, told, of, spent).await;
            }
            Err(error) if is_its_own(&error) => {
                self.cannot_read(child, &error);
                if tries < TRIES_MAX {
                    return Err(NotNow::Unreadable(error));
                }
                error.to_string()
            }
            Err(ReadError::Unknown) => ReadError::Unknown.to_string(),
            Err(error) => return Err(error.into()),
        };
        let Some(head) = self.head_of(child).await? else { return Ok(None) };
        let Some((_, call)) = head.idempotency_key.dispatched_by(&head.mission_id) else { return Ok(None) };
        let error = CallError::Failed(format!("what became of {} cannot be read: {why}", head.mission_id));
        Ok(Some((call, Err(error), None)))
    }

    /// The same of one that could be read, by what its records say. What is lost of one in quarantine may have named its parent and told of
    /// calls that were paid for: its head knows of both.
    async fn told_of_ended(
        self: &Arc<Self>,
        child: MissionNo,
        told: Option<String>,
        of: Option<CallNo>,
        spent: Spend,
    ) -> Result<Option<Told>, NotNow> {
        let head = if of.is_some() && !self.is_quarantined(child) { None } else { self.head_of(child).await? };
        let by = head.as_ref().and_then(|head| head.idempotency_key.dispatched_by(&head.mission_id));
        let Some(call) = of.or(by.map(|(_, call)| call)) else { return Ok(None) };
        // One that its node has not written down as ended is looked at again.
        let result = told.ok_or(NotNow::Busy)?;
        let shown = head.and_then(|head| head.overview).map_or(Spend::NOTHING, |overview| overview.spent);
        let spent = Spend { llm_calls: spent.llm_calls.max(shown.llm_calls), cost: spent.cost.max(shown.cost) };
        Ok(Some((call, Ok(ToolAnswer { result, wrote: Vec::new() }), Some(spent))))
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
        let taken = self.would_take(Envelope::parse_of_child(&draft.text)).await;
        taken.map_err(|error| refused(&error))
    }

    /// Whether a mission that has ended is still somebody's to look at: one that has dispatched it, and has not ended. Blocks.
    pub(crate) fn is_awaited(&self, head: &Head) -> Result<bool, ReadError> {
        let Some((parent, _)) = head.idempotency_key.dispatched_by(&head.mission_id) else { return Ok(false) };
        Ok(self.log.find(&parent)?.is_some_and(|twin| !twin.head.status.is_final()))
    }
}

/// Whether a mission waits for the child of that call.
fn is_awaited_by(parent: &Live, call: CallNo) -> bool {
    parent.with(|mission| mission.open_children().any(|open| open == call))
}

/// Why a child is not taken, as its parent is told.
fn refused(error: &DispatchError) -> CallError {
    match error {
        DispatchError::Invalid(mistakes) => CallError::InvalidArguments(told(mistakes)),
        other => CallError::Failed(format!("the node does not take the mission: {other}")),
    }
}
