//! Making forks: a mission that begins with what another has on record up to one of its calls, and goes on from there for real.
//!
//! What of a record is taken over, from where a fork goes on and what its envelope has of its mission's is the core's to say
//! ([`sortie_mission::fork`]); that the fork is taken is decided as of any dispatch ([`super::intake`]), and it is written whole, in one
//! append. Owned here: how far its plugin keeps to the record, which is found out beforehand by a rehearsal. So a fork never meets a record that it does not follow.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use serde::Deserialize;
use serde_json::value::RawValue;
use sortie_contract::digest::Digest;
use sortie_contract::envelope::{Envelope, ForkedFrom, Parsed, Rejected};
use sortie_contract::id::CallNo;
use sortie_contract::plugin::{Crash, PluginIdentity};
use sortie_contract::record::{Accepted, Record};
use sortie_contract::{MissionId, MissionNo, Mistake, SessionId, Stamped};
use sortie_mission::admission::{self, Dispatch, Examination, Verdict};
use sortie_mission::fork::{Begun, Draft, NoDraft, NoFork, Places, taken_over};
pub use sortie_mission::fork::{Order as ForkOrder, Point};
use sortie_mission::{Illegal, Mission};
use sortie_sandbox::{BoxFuture, Host, Kill, Run};
use sortie_tools::{Copied, Workspace};

use super::intake::{DispatchError, Dispatched, brief};
use super::rehearsal::{Audience, Came, Enough, Parting, Piece, Rehearsal, Rehearsed, Step};
use super::shared_store::{ArtifactError, shared_place};
use super::{Engine, ReadError, views};

/// Most bytes of records that a fork begins with: they are written in one commit, for which others wait some tens of milliseconds.
pub const HERITAGE_BYTES_MAX: usize = 16 << 20;

/// How long a plugin may take to go over a record on which nothing is done.
const REHEARSAL_MAX: Duration = Duration::from_secs(60);

/// How long one may wait there for nothing but a signal that is not on record.
const PATIENCE: Duration = Duration::from_secs(5);

/// A fork that was taken.
#[derive(Debug)]
pub struct Forked {
    /// As of any dispatch.
    pub dispatched: Dispatched,
    /// Where it comes from, and how far its plugin keeps to that.
    pub from: ForkedFrom,
}

/// Why nothing was forked.
#[derive(Debug, thiserror::Error)]
pub enum ForkError {
    /// There is nothing to go on from.
    #[error("the mission cannot be forked there: {0}")]
    No(#[from] NoFork),
    /// It is more than can be written at once.
    #[error("its record up to call {at} takes more than {} MiB", HERITAGE_BYTES_MAX >> 20)]
    TooLarge {
        /// The call that was named.
        at: u32,
    },
    /// Its plugin does not get over the record in time, or not at all.
    #[error("the plugin cannot go over the record: {0}")]
    Unrunnable(String),
    /// The workspace cannot be copied.
    #[error("the workspace cannot be copied: {0}; the fork can be made with an empty one")]
    Workspace(String),
    /// The key was used for another fork.
    #[error("the idempotency key was used before, for the fork `{mission_id}`, with other content")]
    Conflict {
        /// That fork.
        mission_id: MissionId,
    },
    /// Something is wrong with what is asked for.
    #[error("the fork cannot be made as it is asked for")]
    Invalid(Vec<Mistake>),
    /// It is not taken.
    #[error(transparent)]
    Dispatch(#[from] DispatchError),
    /// The mission cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl From<NoDraft> for ForkError {
    fn from(error: NoDraft) -> Self {
        match error {
            NoDraft::NoEnvelope => ReadError::NoEnvelope.into(),
            NoDraft::Wrong(mistake) => Self::Invalid(vec![mistake]),
        }
    }
}

impl From<Illegal> for ForkError {
    fn from(illegal: Illegal) -> Self {
        ReadError::from(illegal).into()
    }
}

/// What a fork begins with, beside its acceptance.
#[derive(Debug)]
pub(crate) struct Heritage {
    /// The mission that it is of.
    pub(crate) of: MissionNo,
    /// The records behind the acceptance.
    pub(crate) records: Vec<Stamped>,
    /// What people should know of it.
    pub(crate) notes: Vec<String>,
}

impl Heritage {
    /// The artifacts that it names.
    pub(crate) fn artifacts(&self) -> Vec<Digest> {
        let stored = self.records.iter().filter_map(|stamped| match &stamped.record {
            Record::ArtifactStored { artifact, .. } => Some(artifact.sha256),
            _ => None,
        });
        let mut stored: Vec<Digest> = stored.collect();
        stored.sort_unstable();
        stored.dedup();
        stored
    }
}

impl Engine {
    /// Forks a mission. When this returns, the fork is on disk.
    ///
    /// # Errors
    /// [`ForkError`]
    pub async fn fork(self: &Arc<Self>, no: MissionNo, order: ForkOrder) -> Result<Forked, ForkError> {
        if self.is_stopping() {
            return Err(DispatchError::Stopping.into());
        }
        // What is read for one may be large: who forks many waits, and whoever else forks has a turn in between.
        let _turn = self.forking.lock().await;
        if let Some(forked) = self.forked_before(&order).await? {
            return Ok(forked);
        }
        // Before anything is done for it that would have to be undone.
        self.has_room()?;
        let (engine, point) = (Arc::clone(self), order.at);
        let read = self.ambient.unblock(move || engine.heritage(no, point)).await;
        let (accepted, at, records) = read.map_err(ReadError::Task)??;
        let (session, copies) = (accepted.session.clone(), order.copies);
        let place = Envelope::parse_accepted(&accepted.envelope).ok().and_then(|its| shared_place(&its.envelope));
        let draft = Draft::new(&accepted, order, &self.settings.rules.instance_id)?;
        let text = draft.text(None);
        let Parsed { envelope, .. } = parsed(&text)?;
        let examination = self.examine(&envelope, Vec::new()).await?;
        let fork = taken(&envelope, &text, &examination)?;
        let rehearsed = match at {
            0 => None,
            _ => Some(self.rehearse_fork(no, &draft, at, fork, &records).await?),
        };
        let calls = rehearsed.as_ref().map_or(0, |rehearsed| rehearsed.calls.min(at));
        let records = if calls < at { taken_over_of(&records, calls)? } else { records };
        let from = draft.from(at, calls, &records);
        let copy = match copies {
            true => Some(self.copy_workspace(&envelope, &session).await?),
            false => None,
        };
        let copied = copy.as_ref().map(|(Copied { entries, left_out, .. }, _)| (*entries, *left_out));
        let text = draft.text(Some(&from));
        let left = rehearsed.as_ref().map(left).unwrap_or_default();
        let notes = draft.notes(&from, &left, Begun { session: &session, copied }, &records);
        let heritage = Heritage { of: no, records, notes };
        let dispatched = match (place, shared_place(&envelope)) {
            (Some(from), Some(to)) => self.dispatch_with_shared(&envelope.mission_id, text, &heritage, from, to).await,
            _ => self.dispatch_with_artifacts(&envelope.mission_id, text, &heritage).await,
        };
        if let (Err(error), Some((_, workspace))) = (&dispatched, copy)
            && !matches!(error, DispatchError::Journal(_))
        {
            // It is nobody's, and its room is others'. Where the journal failed the fork may be on disk all the same.
            self.ambient.unblock(move || workspace.clear()).await.map_err(ReadError::Task)?.ok();
        }
        Ok(Forked { dispatched: dispatched?, from })
    }

    /// Dispatches a fork, for which the artifacts of its record are set aside first: that takes its time, and the log's lock is held for none
    /// of it.
    async fn dispatch_with_artifacts(
        self: &Arc<Self>,
        fork: &MissionId,
        text: String,
        heritage: &Heritage,
    ) -> Result<Dispatched, DispatchError> {
        let stored = heritage.artifacts();
        if stored.is_empty() {
            return self.dispatch_fork(text, heritage).await;
        }
        let (artifacts, name, of) = (Arc::clone(&self.artifacts), aside(fork), heritage.of);
        let set_aside = self.ambient.unblock(move || {
            let set_aside = artifacts.set_aside(&name, of, &stored);
            set_aside.inspect_err(|_| artifacts.discard(&name))
        });
        set_aside.await.map_err(ReadError::Task)?.map_err(|error| DispatchError::Artifacts(error.into()))?;
        let dispatched = self.dispatch_fork(text, heritage).await;
        let begun = dispatched.as_ref().ok().filter(|dispatched| !dispatched.replayed).map(|dispatched| dispatched.no);
        let (artifacts, name) = (Arc::clone(&self.artifacts), aside(fork));
        let tidied = self.ambient.unblock(move || {
            begun.into_iter().for_each(|no| artifacts.settle(no));
            artifacts.discard(&name);
        });
        // What became of the fork is known, whatever becomes of this.
        tidied.await.ok();
        dispatched
    }

    /// Dispatches a fork whose artifacts are in a shared store, and are copied there first.
    async fn dispatch_with_shared(
        self: &Arc<Self>,
        fork: &MissionId,
        text: String,
        heritage: &Heritage,
        from: String,
        to: String,
    ) -> Result<Dispatched, DispatchError> {
        let stored = heritage.artifacts();
        if stored.is_empty() {
            return self.dispatch_fork(text, heritage).await;
        }
        let store = self.shared.clone().ok_or(DispatchError::Artifacts(ArtifactError::NoStore))?;
        let (id, place, copier) = (fork.clone(), to.clone(), Arc::clone(&store));
        let copied = self.ambient.unblock(move || {
            // Whoever is killed in between finds it again. From then on a kill leaves it to nobody, which costs room and nothing else: to look
            // for the fork later is no way, for another node may have taken it over.
            copier.leave(&place, &id)?;
            copier.copy(&from, &place, &stored)?;
            copier.forget(&place);
            Ok(())
        });
        copied.await.map_err(ReadError::Task)?.map_err(DispatchError::Artifacts)?;
        let dispatched = self.dispatch_fork(text, heritage).await;
        // Where the journal failed it may be on disk all the same.
        if dispatched.as_ref().is_err_and(|error| !matches!(error, DispatchError::Journal(_))) {
            let id = fork.clone();
            self.ambient.unblock(move || store.leave(&to, &id)).await.ok();
        }
        dispatched
    }

    /// The fork that was made under this key, if one was.
    async fn forked_before(self: &Arc<Self>, order: &ForkOrder) -> Result<Option<Forked>, ForkError> {
        let (engine, id) = (Arc::clone(self), order.mission_id());
        let read = self.ambient.unblock(move || {
            let Some(twin) = engine.log.find(&id)? else { return Ok(None) };
            let records = engine.log.read(twin.no, 0, 0)?;
            Ok::<_, ReadError>(records.into_iter().next().map(|first| (twin, first)))
        });
        let Some((twin, first)) = read.await.map_err(ReadError::Task)?? else { return Ok(None) };
        let Record::Accepted(accepted) = &first.record else { return Err(ReadError::NoEnvelope.into()) };
        let Parsed { envelope, digest, .. } =
            Envelope::parse_accepted(&accepted.envelope).map_err(|_| ReadError::NoEnvelope)?;
        let mission_id = envelope.mission_id.clone();
        let Some(from) = envelope.forked_from.clone().filter(|from| from.asked == order.digest()) else {
            return Err(ForkError::Conflict { mission_id });
        };
        let dispatch = Dispatch { envelope: &envelope, text: &accepted.envelope, digest, warnings: &[] };
        let before = self.before(dispatch, Some(Box::new(twin)), false).await?;
        let trace_id = envelope.trace_id.clone();
        Ok(before.map(|(no, reply)| Forked { dispatched: Dispatched { no, replayed: true, trace_id, reply }, from }))
    }

    /// The acceptance of a mission, the call that a fork goes on from, and what it takes over of the record. Blocks.
    fn heritage(&self, no: MissionNo, point: Point) -> Result<(Accepted, u32, Vec<Stamped>), ForkError> {
        let at = match point {
            Point::Call(at) => at,
            // Only what its calls came to says where that is, and how many results are needed up to there.
            _ => {
                let mut places = Places::default();
                self.each_record(no, |_, stamped| places.hear(&stamped))?;
                places.at(point)
            }
        };
        let mut records = Vec::new();
        self.each_record(no, |_, stamped| records.extend(light(stamped, CallNo(at))))?;
        let first = records.first().ok_or(ReadError::Unknown)?;
        let Record::Accepted(accepted) = &first.record else { return Err(ReadError::NoEnvelope.into()) };
        let accepted = accepted.as_ref().clone();
        Ok((accepted, at, taken_over_of(&records, at)?))
    }

    /// Goes over all records of a mission, each with its number, from 0. Blocks.
    fn each_record(&self, no: MissionNo, mut hear: impl FnMut(u32, Stamped)) -> Result<(), ReadError> {
        let mut next = 0;
        loop {
            let piece = self.log.read(no, next, views::PIECE_BYTES)?;
            if piece.is_empty() {
                return Ok(());
            }
            for stamped in piece {
                let number = next;
                next = stamped.next_no(next);
                hear(number, stamped);
            }
        }
    }

    /// Copies the workspace of a session into that of a fork.
    async fn copy_workspace(&self, fork: &Envelope, of: &SessionId) -> Result<(Copied, Workspace), ForkError> {
        let session = SessionId::of_fork(&fork.mission_id);
        // What is there is taken away: it must be of nobody but an attempt at this fork.
        if self.log.has_session(&fork.vp_id, &session).map_err(ReadError::from)? {
            return Err(ForkError::Workspace(format!("missions have been in its session `{session}`")));
        }
        let wrong = |error: std::io::Error| ForkError::Workspace(error.to_string());
        let (workspaces, vp, its) = (Arc::clone(&self.workspaces), fork.vp_id.clone(), of.clone());
        let fetched = self.ambient.unblock(move || workspaces.fetch_back(&vp, &its)).await.map_err(ReadError::Task)?;
        fetched.map_err(|error| ForkError::Workspace(error.to_string()))?;
        let from = self.workspace(&fork.vp_id, of).await.map_err(wrong)?;
        let to = self.workspace(&fork.vp_id, &session).await.map_err(wrong)?;
        let (workspaces, vp) = (Arc::clone(&self.workspaces), fork.vp_id.clone());
        let copied = self.ambient.unblock(move || {
            let copied = from.copy_into(&to).map_err(|error| error.to_string())?;
            // Its record speaks of files that no call of its own writes.
            workspaces.settle(&vp, &session).map_err(|error| error.to_string())?;
            Ok((copied, to))
        });
        copied.await.map_err(ReadError::Task)?.map_err(ForkError::Workspace)
    }

    /// Has the plugin go over the record with the fork's brief, and nothing done: how far it keeps to it.
    async fn rehearse_fork(
        self: &Arc<Self>,
        no: MissionNo,
        draft: &Draft,
        at: u32,
        accepted: Accepted,
        records: &[Stamped],
    ) -> Result<Rehearsed, ForkError> {
        // The state that the fork would begin in, which is a check of the records, too.
        let text = draft.text(Some(&draft.from(at, at, records)));
        let Parsed { envelope, .. } = parsed(&text)?;
        let (envelope, plugin) = (Arc::new(envelope), accepted.plugin.digest);
        let first = Stamped { at: self.ambient.wall(), ran_ms: 0, record: Record::Accepted(Box::new(accepted)) };
        let mut mission = Mission::begin(Arc::clone(&envelope), &first)?;
        records.iter().try_for_each(|record| mission.apply(record))?;
        let tools = self.toolbox().infos().to_vec();
        let grants = mission.granted().map_or_else(|| mission.grantable(&tools), <[_]>::to_vec);
        let (memory_bytes_max, session) = (mission.memory_bytes_max(), mission.session().clone());
        let piece = Piece { records, mission, tools, beyond_max: 0, looks: false };
        let audience = Arc::new(Nobody { engine: Arc::clone(self), no });
        let host = Arc::new(Rehearsal::new(piece, audience));
        let run = Run {
            plugin,
            brief: brief(&envelope, &session),
            seed: envelope.root().to_string(),
            grants,
            host: Arc::clone(&host) as Arc<dyn Host>,
            kill: Kill::new(),
            memory_bytes_max,
        };
        let ran = self.ambient.timeout(REHEARSAL_MAX, self.guests.run(run)).await;
        let ending = ran.ok_or_else(|| {
            ForkError::Unrunnable(format!("it is not through with it after {} seconds", REHEARSAL_MAX.as_secs()))
        })?;
        let rehearsed = host.conclude(ending);
        match &rehearsed.came {
            Came::CrashedWithin(Crash::Unrunnable(why)) | Came::Crashed(Crash::Unrunnable(why)) => {
                Err(ForkError::Unrunnable(why.clone()))
            }
            _ => Ok(rehearsed),
        }
    }
}

/// What somebody needs to know who forks a mission.
#[derive(Debug, Clone)]
pub struct Forkable {
    /// So many calls it has made.
    pub calls: u32,
    /// So many of them a fork can take over as of the record that was named.
    pub at: u32,
    /// The last call that a fork can go on from.
    pub last: u32,
    /// The call before the first that it failed of.
    pub failure: Option<u32>,
    /// Its inputs, an object, with the numbers that are written there.
    pub inputs: Box<RawValue>,
    /// The plugin that it ran on, with its version.
    pub plugin: String,
}

/// Of an envelope what a fork may have otherwise.
#[derive(Deserialize)]
struct Sent<'a> {
    #[serde(borrow)]
    inputs: Option<&'a RawValue>,
}

impl Engine {
    /// What of a mission can be forked; `record` is the number of one of its records, from 1. Blocks.
    ///
    /// # Errors
    /// [`ReadError`]
    pub fn forkable(&self, no: MissionNo, record: Option<u32>) -> Result<Forkable, ReadError> {
        let (mut places, mut at, mut accepted) = (Places::default(), 0, None);
        self.each_record(no, |number, stamped| {
            places.hear(&stamped);
            if record.is_none_or(|record| number < record) {
                at = places.calls();
            }
            if let Record::Accepted(first) = stamped.record {
                accepted = Some(first);
            }
        })?;
        let accepted = accepted.ok_or(ReadError::NoEnvelope)?;
        let Sent { inputs } = serde_json::from_str(&accepted.envelope).map_err(|_| ReadError::NoEnvelope)?;
        let inputs = inputs.map(RawValue::get).filter(|inputs| inputs.starts_with('{')).unwrap_or("{}");
        let inputs = RawValue::from_string(inputs.to_owned()).map_err(|_| ReadError::NoEnvelope)?;
        let PluginIdentity { name, version, .. } = &accepted.plugin;
        let (calls, last, failure) = (places.calls(), places.last(), places.before_failure());
        Ok(Forkable { calls, at: at.min(last), last, failure, inputs, plugin: format!("{name}@{version}") })
    }
}

/// Of the records of a mission what a fork at a call may need: results of later calls may be most of it.
fn light(mut stamped: Stamped, at: CallNo) -> Option<Stamped> {
    match &mut stamped.record {
        Record::CallFinished { call, .. } if *call > at => return None,
        Record::CallStarted { call, arguments, .. } | Record::CallHeld { call, arguments, .. } if *call > at => {
            *arguments = String::new();
        }
        _ => {}
    }
    Some(stamped)
}

fn taken_over_of(records: &[Stamped], at: u32) -> Result<Vec<Stamped>, ForkError> {
    let taken = taken_over(records, CallNo(at))?;
    let mut bytes = 0_usize;
    for stamped in &taken {
        bytes = bytes.saturating_add(stamped.encode().len());
        if bytes > HERITAGE_BYTES_MAX {
            return Err(ForkError::TooLarge { at });
        }
    }
    Ok(taken)
}

/// The acceptance of a fork, as the core has it.
fn taken(envelope: &Envelope, text: &str, examination: &Examination) -> Result<Accepted, ForkError> {
    let dispatch = Dispatch { envelope, text, digest: Digest::of(text.as_bytes()), warnings: &[] };
    match admission::decide(dispatch, &admission::Known::default(), Some(examination)).map_err(DispatchError::from)? {
        Some(Verdict::Taken(accepted)) => Ok(*accepted),
        Some(Verdict::Before(_)) | None => Err(ReadError::NoEnvelope.into()),
    }
}

fn parsed(text: &str) -> Result<Parsed, ForkError> {
    Envelope::parse_accepted(text).map_err(|Rejected { mistakes, .. }| ForkError::Invalid(mistakes))
}

/// The name under which the artifacts of a fork's record are set aside.
pub(crate) fn aside(fork: &MissionId) -> String {
    Digest::of(fork.as_str().as_bytes()).to_string()
}

/// How its plugin leaves a record.
fn left(rehearsed: &Rehearsed) -> String {
    match &rehearsed.came {
        Came::Diverged { recorded, attempted } => format!("recorded is {recorded}, and it asks for {attempted}"),
        Came::CrashedWithin(_) | Came::Crashed(_) => "it crashes there".to_owned(),
        Came::WentOn { next } => format!("it goes on with {next}"),
        Came::Returned { .. } | Came::Stopped => match &rehearsed.parting {
            Some(Parting { wanted: Some(wanted), .. }) => format!("it asks for {}", wanted.words),
            _ => "it ends there".to_owned(),
        },
    }
}

/// Nobody watches a rehearsal of the node's own.
pub(crate) struct Nobody {
    pub(crate) engine: Arc<Engine>,
    pub(crate) no: MissionNo,
}

impl Audience for Nobody {
    fn sees(&self, _: &Step<'_>) -> Result<(), Enough> {
        Ok(())
    }

    fn artifact(&self, _: String, sha256: Option<Digest>) -> BoxFuture<'static, Option<Vec<u8>>> {
        let (engine, no) = (Arc::clone(&self.engine), self.no);
        let read = self.engine.ambient.unblock(move || engine.artifacts_of_no(no).ok()?.get(&sha256?).ok());
        read.map(|read| read.ok().flatten()).boxed()
    }

    fn artifact_of(&self, mission: String, _: String, sha256: Option<Digest>) -> BoxFuture<'static, Option<Vec<u8>>> {
        let engine = Arc::clone(&self.engine);
        let read = self.engine.ambient.unblock(move || {
            let no = engine.find(&mission).ok().flatten()?;
            engine.artifacts_of_no(no).ok()?.get(&sha256?).ok()
        });
        read.map(|read| read.ok().flatten()).boxed()
    }

    fn patience(&self) -> BoxFuture<'static, ()> {
        self.engine.ambient.sleep(PATIENCE)
    }
}
