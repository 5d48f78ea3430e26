//! Intake: a dispatched envelope becomes an accepted mission on disk, or an answer that says why not.
//!
//! Whether it is taken, and what is told, is the core's to say ([`sortie_mission::admission`]); that it is said once, whoever else
//! dispatches at this moment, is the log's ([`Log::admit`](sortie_journal::Log::admit)). Owned here: the order in which they are
//! asked, and what follows from a mission that is taken. The order matters: a dispatch that was accepted before is answered as
//! before, even when its window is over by now, and nothing that takes its time is asked under the log's lock.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use sortie_contract::artifact::StorageScope;
use sortie_contract::envelope::{Callback, Envelope, Parsed, Rejected, Window};
use sortie_contract::id::TraceId;
use sortie_contract::plugin::Brief;
use sortie_contract::record::{Accepted, Record};
use sortie_contract::{MissionId, MissionNo, Mistake, Pointer, SessionId, Stamped};
use sortie_journal::{
    AdmitError, Admitted, Beginning, Cursor, Decision, Head, Keys, Known, Receipt, ScheduleChange, Twin, Undo,
    WriteError,
};
use sortie_mission::admission::{self, Asked, Dispatch, Earlier, Examination, Reply, Verdict, WayOut};
use sortie_mission::placement::not_meant;
use sortie_mission::{Denial, Mission};
use sortie_sandbox::Installed;
use sortie_tools::Found;

use super::fleet::Member;
use super::fork::{Heritage, aside};
use super::live::Live;
use super::shared_store::ArtifactError;
use super::{Engine, ReadError, Room};

/// The answer to a dispatch that was taken.
#[derive(Debug, Clone)]
pub struct Dispatched {
    /// The number of the mission.
    pub no: MissionNo,
    /// It had been accepted before.
    pub replayed: bool,
    /// The trace that it belongs to, in whatever form its envelope gives it.
    pub trace_id: TraceId,
    /// What is told.
    pub reply: Reply,
}

/// Why a dispatch was not taken.
#[derive(Debug, thiserror::Error)]
pub enum DispatchError {
    /// Something is wrong with the envelope.
    #[error("the envelope cannot be accepted")]
    Invalid(Vec<Mistake>),
    /// It is for another node.
    #[error("{}", not_meant(.target, .this))]
    WrongInstance {
        /// This node.
        this: String,
        /// The node that is meant.
        target: String,
    },
    /// The idempotency key was used for another envelope.
    #[error("the idempotency key was used before, for mission `{mission_id}`, with other content")]
    IdempotencyConflict {
        /// The mission that was accepted under the key.
        mission_id: MissionId,
        /// Where the two differ.
        fields: Vec<Pointer>,
    },
    /// The mission id was used with another idempotency key.
    #[error("the mission id was used before, with another idempotency key")]
    MissionIdConflict,
    /// It is another node's of the same store: the missions of its VP are there, or it is meant.
    #[error(
        "it is the business of the node `{}`: the missions of its VP are there, or one of this name or key is, or it is meant",
        .0.name
    )]
    Elsewhere(Box<Member>),
    /// The node is being drained.
    #[error("the node takes no missions any more: it is being drained")]
    Draining,
    /// Too much at once.
    #[error("the node takes no more at the moment")]
    Overloaded,
    /// What is left of the disk is for the journal.
    #[error("the disk of this node is nearly full: it takes no missions until there is room")]
    DiskLow,
    /// The node is on its way out.
    #[error("the node is shutting down")]
    Stopping,
    /// What it would begin with cannot be stored.
    #[error("the artifacts that it would begin with cannot be stored: {0}")]
    Artifacts(#[source] ArtifactError),
    /// The journal failed.
    #[error("the journal failed")]
    Journal(#[source] WriteError),
    /// The journal cannot be read.
    #[error("the journal cannot be read")]
    Read(#[from] ReadError),
}

impl From<WriteError> for DispatchError {
    fn from(error: WriteError) -> Self {
        if matches!(error, WriteError::Overloaded) { Self::Overloaded } else { Self::Journal(error) }
    }
}

impl From<Denial> for DispatchError {
    fn from(denial: Denial) -> Self {
        match denial {
            Denial::WrongInstance { target, node } => {
                Self::WrongInstance { this: node.to_string(), target: target.to_string() }
            }
            Denial::Mistakes(mistakes) => Self::Invalid(mistakes),
            Denial::IdempotencyConflict { mission_id, fields } => Self::IdempotencyConflict { mission_id, fields },
            Denial::MissionIdConflict => Self::MissionIdConflict,
        }
    }
}

impl From<AdmitError> for DispatchError {
    fn from(error: AdmitError) -> Self {
        match error {
            AdmitError::Write(error) => error.into(),
            AdmitError::Read(error) => Self::Read(error.into()),
        }
    }
}

/// What becomes of the schedule that a mission is a fire of, once it has this number.
pub(crate) type Bears<'a> = &'a (dyn Fn(MissionNo) -> ScheduleChange + Send + Sync);

/// Where a mission comes from that nobody dispatched.
#[derive(Clone, Copy)]
struct Origin<'a> {
    bears: Option<Bears<'a>>,
    /// Whether it may be another node's of the same store that takes it.
    may_place: bool,
    /// Of a fork: what it begins with.
    heritage: Option<&'a Heritage>,
}

/// What the log made of a question about a dispatch.
enum Asking {
    /// Nothing like it is known.
    New,
    /// It is the mission of this number, once the receipt resolves.
    Taken(Arc<Live>, Reply, Receipt),
    /// These were there before it.
    Met { twin: Option<Box<Twin>>, same_id: bool },
    /// One like it is on its way to the disk. It is to be asked again then.
    OnItsWay(Receipt),
}

/// A mission that was given a number, until it is in the log's hand: what was set up for it goes with it where it does not get
/// there.
struct Arrival<'a> {
    engine: &'a Engine,
    no: Option<MissionNo>,
    receiver: Option<&'a Callback>,
}

impl Arrival<'_> {
    /// Sets up for a mission of that number; the log may think of another one.
    fn announce(&mut self, no: MissionNo) {
        self.withdraw();
        self.no = Some(no);
        self.engine.desk.announce(no);
        if let Some(callback) = self.receiver {
            // Before it can be on disk: whoever hears of it there looks here.
            self.engine.deliveries.announce(no, callback);
        }
    }

    fn withdraw(&mut self) {
        let Some(no) = self.no.take() else { return };
        if self.receiver.is_some() {
            self.engine.deliveries.withdraw(no);
        }
        if self.engine.desk.withdraw(no) {
            self.engine.timer.nudge();
        }
    }

    /// It is in the log's hand.
    fn arrive(mut self, live: &Live) {
        if self.no.take().is_some() && self.engine.desk.arrive(live.waiting()) {
            // The next thing to happen is this mission's window.
            self.engine.timer.nudge();
        }
    }
}

impl Drop for Arrival<'_> {
    fn drop(&mut self) {
        self.withdraw();
    }
}

impl Engine {
    /// Takes a dispatched envelope. When this returns, what it says is on disk.
    pub async fn dispatch(self: &Arc<Self>, text: String) -> Result<Dispatched, DispatchError> {
        self.dispatch_bearing(text, None, true).await
    }

    /// The same, of one that another node of the store has sent on: it meant this one.
    pub async fn dispatch_here(self: &Arc<Self>, text: String) -> Result<Dispatched, DispatchError> {
        self.dispatch_bearing(text, None, false).await
    }

    /// The same, of the fire of a schedule: how far that has come is one with its mission.
    pub(crate) async fn dispatch_of_schedule(
        self: &Arc<Self>,
        text: String,
        bears: Bears<'_>,
    ) -> Result<Dispatched, DispatchError> {
        self.dispatch_bearing(text, Some(bears), false).await
    }

    /// The same, of a fork: what it begins with is one with its acceptance.
    pub(crate) async fn dispatch_fork(
        self: &Arc<Self>,
        text: String,
        heritage: &Heritage,
    ) -> Result<Dispatched, DispatchError> {
        let parsed = Envelope::parse_accepted(&text);
        self.counted(self.take(text, parsed, Origin { bears: None, may_place: false, heritage: Some(heritage) })).await
    }

    /// The same, of a mission that another one dispatches.
    pub(crate) async fn dispatch_child(self: &Arc<Self>, text: String) -> Result<Dispatched, DispatchError> {
        let parsed = Envelope::parse_accepted(&text);
        self.counted(self.take(text, parsed, Origin { bears: None, may_place: false, heritage: None })).await
    }

    async fn dispatch_bearing(
        self: &Arc<Self>,
        text: String,
        bears: Option<Bears<'_>>,
        may_place: bool,
    ) -> Result<Dispatched, DispatchError> {
        let parsed = Envelope::parse(&text);
        self.counted(self.take(text, parsed, Origin { bears, may_place, heritage: None })).await
    }

    async fn counted(
        &self,
        dispatched: impl Future<Output = Result<Dispatched, DispatchError>>,
    ) -> Result<Dispatched, DispatchError> {
        let dispatched = dispatched.await;
        let counter = match &dispatched {
            Ok(Dispatched { replayed: false, .. }) => &self.counters.accepted,
            Ok(_) => &self.counters.replayed,
            // Whoever has it counts it.
            Err(DispatchError::Elsewhere(_)) => return dispatched,
            Err(_) => &self.counters.refused,
        };
        counter.fetch_add(1, Relaxed);
        dispatched
    }

    /// Whether an envelope would be taken now, but for one like it that is there.
    pub(crate) async fn would_take(&self, parsed: Result<Parsed, Rejected>) -> Result<(), DispatchError> {
        match parsed {
            Ok(parsed) => {
                let examination = self.examine(&parsed.envelope, Vec::new()).await?;
                examination.passed().map(drop).map_err(DispatchError::from)
            }
            Err(rejected) => Err(self.refusal(rejected).await),
        }
    }

    async fn take(
        self: &Arc<Self>,
        text: String,
        parsed: Result<Parsed, Rejected>,
        origin: Origin<'_>,
    ) -> Result<Dispatched, DispatchError> {
        if self.is_stopping() {
            return Err(DispatchError::Stopping);
        }
        let Parsed { envelope, warnings, digest } = match parsed {
            Ok(parsed) => parsed,
            Err(rejected) => return Err(self.refusal(rejected).await),
        };
        let notes = origin.heritage.map_or(&[][..], |heritage| heritage.notes.as_slice());
        let warnings: Vec<String> = warnings.into_iter().chain(notes.iter().cloned()).collect();
        let envelope = Arc::new(envelope);
        let dispatch = Dispatch { envelope: &envelope, text: &text, digest, warnings: &warnings };
        let mut examination = None;
        loop {
            match self.ask(&envelope, dispatch, examination.as_ref(), origin)? {
                Asking::New => {
                    self.stays(&envelope, origin.may_place).await?;
                    examination = Some(self.claimed(&envelope).await?);
                }
                Asking::Taken(live, reply, receipt) => {
                    self.pump();
                    receipt.await?;
                    self.lives.release(&live);
                    let trace_id = envelope.trace_id.clone();
                    return Ok(Dispatched { no: live.no, replayed: false, trace_id, reply });
                }
                Asking::Met { twin, same_id } => {
                    if let Some((no, reply)) = self.before(dispatch, twin, same_id).await? {
                        return Ok(Dispatched { no, replayed: true, trace_id: envelope.trace_id.clone(), reply });
                    }
                }
                Asking::OnItsWay(receipt) => drop(receipt.await?),
            }
        }
    }

    /// Examines an envelope that is new here, and claims it once nothing stands against it: what is refused leaves no name that is taken,
    /// and no VP that is at home here.
    async fn claimed(self: &Arc<Self>, envelope: &Envelope) -> Result<Examination, DispatchError> {
        let examination = match self.has_room() {
            Ok(()) => self.examine(envelope, Vec::new()).await,
            Err(error) => Err(error),
        };
        let is_taken = examination.as_ref().is_ok_and(|examination| examination.passed().is_ok());
        if is_taken {
            self.claim(envelope).await?;
        } else {
            // What this node has against it may not hold where it belongs.
            self.unless_elsewhere(envelope).await?;
        }
        examination
    }

    /// Whether there is room for a mission beside those that there are.
    pub(crate) fn has_room(&self) -> Result<(), DispatchError> {
        if self.artifacts.room() >= Room::Low {
            return Err(DispatchError::DiskLow);
        }
        if self.log.crowded() { Err(DispatchError::Overloaded) } else { Ok(()) }
    }

    /// The answer to an envelope whose key or id was seen before; `None` where that mission has been removed meanwhile.
    pub(crate) async fn before(
        self: &Arc<Self>,
        dispatch: Dispatch<'_>,
        twin: Option<Box<Twin>>,
        same_id: bool,
    ) -> Result<Option<(MissionNo, Reply)>, DispatchError> {
        let known = admission::Known { same_id, ..admission::Known::default() };
        let Some(Twin { no, head }) = twin.map(|twin| *twin) else {
            admission::decide(dispatch, &known, None)?;
            return Ok(None);
        };
        // Its first record, and no more of it: it may be long.
        let engine = Arc::clone(self);
        let read = self.ambient.unblock(move || engine.log.read(no, 0, 0)).await;
        let records = read.map_err(ReadError::Task)?.map_err(ReadError::from);
        let records = records.inspect_err(|error| self.cannot_read(no, error))?;
        let Some(first) = records.first() else { return Ok(None) };
        let Record::Accepted(accepted) = &first.record else { return Err(ReadError::NoEnvelope.into()) };
        let twin = Earlier {
            mission_id: &head.mission_id,
            vp: &head.vp,
            digest: head.envelope,
            status: head.status,
            window: Window { start_at: head.start_at, end_at: head.end_at },
            budget: head.overview.as_ref().map_or(accepted.budget, |overview| overview.budget),
            accepted,
        };
        match admission::decide(dispatch, &admission::Known { twin: Some(twin), ..known }, None)? {
            Some(Verdict::Before(reply)) => Ok(Some((no, reply))),
            Some(Verdict::Taken(_)) | None => Ok(None),
        }
    }

    /// The answer to a text that is no valid envelope: with what this node would say to the rest of it, for who sent it mends it
    /// once.
    async fn refusal(&self, rejected: Rejected) -> DispatchError {
        let Rejected { mistakes, draft } = rejected;
        let Some(draft) = draft else { return DispatchError::Invalid(mistakes) };
        match self.examine(draft.envelope(), mistakes.clone()).await {
            Ok(examination) => examination.passed().err().map_or(DispatchError::Invalid(mistakes), DispatchError::from),
            Err(error) => error,
        }
    }

    /// Everything that this node has against an envelope: what the core says of it, then its plugin.
    pub(crate) async fn examine(
        &self,
        envelope: &Envelope,
        mistakes: Vec<Mistake>,
    ) -> Result<Examination, DispatchError> {
        // What it says of tools is to hold: a server that is still on its way has some.
        self.first_look.over().await;
        let (mut examination, plugin) = self.hold(envelope, mistakes)?;
        if let Some(plugin) = plugin {
            let Installed { identity, manifest, .. } = &plugin;
            // As good as not installed: nothing of what it says of the rest counts.
            if let Some(lack) = admission::unusable(identity, &manifest.needs, !self.models.list().is_empty()) {
                examination.add(vec![lack]);
                return Ok(examination);
            }
            let toolbox = self.toolbox();
            examination.add(admission::unmet(
                identity,
                &manifest.needs,
                &envelope.constraints,
                toolbox.infos(),
                |name| match toolbox.find(name) {
                    Found::Away(why) => Some(why),
                    Found::Here(_) | Found::Nowhere => None,
                },
            ));
            let runtime_ms = examination.admission().map(|admission| admission.budget.runtime_ms_max);
            let memory_bytes = self.guests.memory_bytes_max();
            examination.add(admission::too_little(identity, &manifest.profile, memory_bytes, runtime_ms));
            self.check(envelope, &plugin, &mut examination).await?;
        }
        Ok(examination)
    }

    /// What the core has against an envelope, and the plugin that is to be asked.
    fn hold(&self, envelope: &Envelope, mistakes: Vec<Mistake>) -> Result<(Examination, Option<Installed>), Denial> {
        let of_its_name = RefCell::new(Vec::new());
        let toolbox = self.toolbox();
        let installed = |name: &str| {
            let versions = self.guests.installed(name);
            let identities = versions.iter().map(|plugin| plugin.identity.clone()).collect();
            *of_its_name.borrow_mut() = versions;
            identities
        };
        let wall = self.ambient.wall();
        let asked = Asked {
            rules: &self.rules_for(envelope),
            tools: toolbox.infos(),
            plugins_by: &self.settings.plugins_by,
            installed: &installed,
            way_out: WayOut {
                guard: &|url| self.courier().reaches(url).map_err(|refused| refused.to_string()),
                may_send: &|secret, url| self.courier().may_send(secret, url),
            },
            opens: &|lane, window| self.settings.hours.leave(lane, window, wall),
            wall,
        };
        let examination = Examination::of(envelope, mistakes, &asked)?;
        let is_chosen = |plugin: &Installed| examination.to_be_asked() == Some(&plugin.identity);
        let plugin = of_its_name.into_inner().into_iter().find(is_chosen);
        Ok((examination, plugin))
    }

    /// Has the log decide about a dispatch, in the core's words. Nobody waits here, but for the log's own lock.
    fn ask(
        &self,
        envelope: &Arc<Envelope>,
        dispatch: Dispatch<'_>,
        examination: Option<&Examination>,
        Origin { bears, heritage, .. }: Origin<'_>,
    ) -> Result<Asking, DispatchError> {
        let keys = Keys {
            mission_id: &envelope.mission_id,
            source: &envelope.source_instance_id,
            idempotency_key: &envelope.idempotency_key,
            vp: &envelope.vp_id,
        };
        let receiver = envelope.callback.as_ref();
        let mut arrival = Arrival { engine: self, no: None, receiver };
        let mut answer = Ok(Asking::New);
        let mut begun = None;
        let admitted = self.log.admit(keys, &mut |known: &Known| {
            if known.twin.is_some() || known.same_id.is_some() {
                let twin = known.twin.clone().map(Box::new);
                answer = Ok(Asking::Met { twin, same_id: known.same_id.is_some() });
                return Decision::Answer;
            }
            let newest_session = known.newest_session.as_ref();
            let decided = admission::decide(
                dispatch,
                &admission::Known { newest_session, ..admission::Known::default() },
                examination,
            );
            match decided.map_err(DispatchError::from) {
                Ok(Some(Verdict::Taken(accepted))) => {
                    match self.beginning(envelope, dispatch, *accepted, (known.no, heritage)) {
                        Ok((mission, beginning, reply)) => {
                            arrival.announce(known.no);
                            let beginning = Beginning { schedule: bears.map(|bears| bears(known.no)), ..beginning };
                            begun = Some((mission, beginning.head.clone(), reply));
                            return Decision::Accept(Box::new(beginning));
                        }
                        Err(error) => answer = Err(error),
                    }
                }
                Ok(Some(Verdict::Before(_)) | None) => answer = Ok(Asking::New),
                Err(denial) => answer = Err(denial),
            }
            Decision::Answer
        });
        if let Err(AdmitError::Read(error)) = &admitted {
            self.cannot_read_row(error);
        }
        let admitted = admitted?;
        match (admitted, begun) {
            (Admitted::Accepted { no, receipt }, Some((mission, head, reply))) => {
                // Before its turn can come.
                self.commit.moved(no, None, (head.status, head.suspended));
                let live = self.lives.insert(Live::new(no, mission, head, None, self.ambient.steady()));
                self.child_begins(no, envelope);
                arrival.arrive(&live);
                let (id, trace_id) = (&envelope.mission_id, &envelope.trace_id);
                tracing::debug!(mission_id = %id, %trace_id, sequence = 1, "accepted");
                Ok(Asking::Taken(live, reply, receipt))
            }
            (Admitted::OnItsWay(receipt), _) => Ok(Asking::OnItsWay(receipt)),
            (Admitted::Answered | Admitted::Accepted { .. }, _) => answer,
        }
    }

    /// How a mission begins that is taken, and what is told of it.
    fn beginning(
        &self,
        envelope: &Arc<Envelope>,
        dispatch: Dispatch<'_>,
        accepted: Accepted,
        (no, heritage): (MissionNo, Option<&Heritage>),
    ) -> Result<(Mission, Beginning, Reply), DispatchError> {
        let at = self.ambient.wall();
        let reply = Reply::of(&envelope.mission_id, &envelope.vp_id, envelope.window, &accepted);
        let (session, lane) = (accepted.session.clone(), accepted.lane.clone());
        let stamped = Stamped { at, ran_ms: 0, record: Record::Accepted(Box::new(accepted)) };
        let mut mission = Mission::begin(Arc::clone(envelope), &stamped).map_err(ReadError::from)?;
        let (mut records, mut undo) = (vec![stamped], None);
        if let Some(heritage) = heritage {
            heritage.records.iter().try_for_each(|record| mission.apply(record)).map_err(ReadError::from)?;
            records.extend(heritage.records.iter().cloned());
            undo = self.hand_over(no, envelope, heritage)?;
        }
        let head = Head::accepted(envelope, dispatch.digest, session, lane, at);
        let head = Head { overview: Some(mission.overview()), ..head };
        let cursor = envelope.callback.is_some().then(Cursor::default);
        Ok((mission, Beginning { records, head, cursor, schedule: None, undo }, reply))
    }

    /// Has the artifacts that were set aside for a fork be its own, before a record names them: one folder gets another name. What takes it back
    /// where the log does not take the fork.
    fn hand_over(
        &self,
        no: MissionNo,
        envelope: &Envelope,
        heritage: &Heritage,
    ) -> Result<Option<Undo>, DispatchError> {
        if heritage.artifacts().is_empty() || envelope.storage_scope == StorageScope::Shared {
            return Ok(None);
        }
        let name = aside(&envelope.mission_id);
        self.artifacts.hand_over(&name, no).map_err(|error| DispatchError::Artifacts(error.into()))?;
        let artifacts = Arc::clone(&self.artifacts);
        Ok(Some(Undo::by(move || artifacts.take_back(&name, no))))
    }
}

/// What the plugin is told.
pub fn brief(envelope: &Envelope, session: &SessionId) -> Brief {
    Brief {
        mission_id: envelope.mission_id.to_string(),
        vp_id: envelope.vp_id.to_string(),
        vp_session_id: session.to_string(),
        mission_type: envelope.mission_type.as_str().to_owned(),
        objective: envelope.objective.clone(),
        inputs: envelope.inputs.as_deref().unwrap_or("{}").to_owned(),
        success_criteria: envelope.success_criteria.clone(),
        required_outputs: envelope.required_outputs.clone(),
    }
}
