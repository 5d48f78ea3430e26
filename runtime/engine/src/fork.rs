//! Making forks: a mission that begins with what another has on record up to one of its calls, and goes on from there for real.
//!
//! What of a record is taken over is the core's to say ([`sortie_mission::fork`]); that the fork is taken is decided as of any dispatch
//! ([`super::intake`]), and it is written whole, in one append. Owned here: the fork's envelope, and how far its plugin keeps to the record,
//! which is found out beforehand by a rehearsal. So a fork never meets a record that it does not follow.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;
use sortie_contract::artifact::StorageScope;
use sortie_contract::digest::Digest;
use sortie_contract::envelope::{Envelope, ForkedFrom, Parsed, Rejected};
use sortie_contract::id::CallNo;
use sortie_contract::limit;
use sortie_contract::plugin::{Crash, PluginIdentity, PluginRef};
use sortie_contract::record::{Accepted, Record};
use sortie_contract::{MissionId, MissionNo, Mistake, Pointer, SessionId, Stamped};
use sortie_mission::admission::{self, Dispatch, Examination, Verdict};
use sortie_mission::fork::{NoFork, taken_over, told_of_limits};
use sortie_mission::replay::host_call;
use sortie_mission::{Illegal, Mission};
use sortie_sandbox::{BoxFuture, Host, Kill, Run};
use sortie_tools::{Copied, Workspace};

use super::intake::{DispatchError, Dispatched, brief};
use super::rehearsal::{Audience, Came, Enough, Parting, Piece, Rehearsal, Rehearsed, Step};
use super::{Engine, ReadError, views};

/// Most bytes of records that a fork begins with: they are written in one commit, for which others wait some tens of milliseconds.
pub const HERITAGE_BYTES_MAX: usize = 16 << 20;

/// How long a plugin may take to go over a record on which nothing is done.
const REHEARSAL_MAX: Duration = Duration::from_secs(60);

/// How long one may wait there for nothing but a signal that is not on record.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is to be forked, and how.
#[derive(Debug, Clone)]
pub struct ForkOrder {
    /// The mission.
    pub of: MissionId,
    /// Up to and with this call its record is taken over; 0: nothing of it.
    pub at: u32,
    /// Other inputs: a JSON object, as text.
    pub inputs: Option<String>,
    /// Another plugin, or another version of it.
    pub plugin: Option<PluginRef>,
    /// Whether it begins with a copy of the workspace, as that is now, or with an empty one.
    pub copies: bool,
    /// What makes a second order the same one.
    pub key: String,
}

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

impl ForkOrder {
    /// The name of the fork: the same for the same key.
    fn mission_id(&self) -> MissionId {
        let digest = Digest::of(format!("{}\n{}", self.of, self.key).as_bytes()).to_string();
        let end = format!(".fork-{}", &digest[..12]);
        let of = limit::clip(self.of.as_str(), limit::ID_BYTES_MAX - end.len() - 3);
        MissionId::new(format!("{}{end}", of.trim_end_matches('…')))
            .expect("an id with letters, digits, a point and a hyphen behind")
    }

    /// What a second order is compared by.
    fn digest(&self) -> Digest {
        let plugin = self.plugin.as_ref().map(ToString::to_string);
        Digest::of(json!([self.of, self.at, self.inputs, plugin, self.copies]).to_string().as_bytes())
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
        // What is read for one may be large, and nobody forks many at once.
        let _turn = self.forking.lock().await;
        if let Some(forked) = self.forked_before(&order).await? {
            return Ok(forked);
        }
        // Before anything is done for it that would have to be undone.
        self.has_room()?;
        let (engine, at) = (Arc::clone(self), order.at);
        let read = self.ambient.unblock(move || engine.heritage(no, at)).await;
        let (accepted, records) = read.map_err(ReadError::Task)??;
        let session = accepted.session.clone();
        let mut draft = draft(&accepted, &order, &self.settings.rules.instance_id)?;
        let text = draft.text(None);
        let Parsed { envelope, .. } = parsed(&text)?;
        let examination = self.examine(&envelope, Vec::new()).await?;
        let fork = taken(&envelope, &text, &examination)?;
        let rehearsed = match order.at {
            0 => None,
            _ => Some(self.rehearse_fork(no, &draft, &order, fork, &records).await?),
        };
        let calls = rehearsed.as_ref().map_or(0, |rehearsed| rehearsed.calls.min(order.at));
        let diverged_at = (calls < order.at).then_some(calls + 1);
        let records = if diverged_at.is_some() { taken_over_of(&records, calls)? } else { records };
        let from = draft.from(&order, calls, &records, diverged_at);
        let copy = match order.copies {
            true => Some(self.copy_workspace(&envelope, &session).await?),
            false => None,
        };
        let copied = copy.as_ref().map(|(copied, _)| *copied);
        draft.notes_on(&from, rehearsed.as_ref(), (&session, copied, &records));
        let text = draft.text(Some(&from));
        let heritage = Heritage { of: no, records, notes: draft.notes };
        let dispatched = self.dispatch_with_artifacts(&envelope.mission_id, text, &heritage).await;
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
        set_aside.await.map_err(ReadError::Task)?.map_err(DispatchError::Artifacts)?;
        let dispatched = self.dispatch_fork(text, heritage).await;
        if dispatched.as_ref().map_or(true, |dispatched| dispatched.replayed) {
            let (artifacts, name) = (Arc::clone(&self.artifacts), aside(fork));
            self.ambient.unblock(move || artifacts.discard(&name)).await.map_err(ReadError::Task)?;
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

    /// The acceptance of a mission, and what a fork takes over of its record. Blocks.
    fn heritage(&self, no: MissionNo, at: u32) -> Result<(Accepted, Vec<Stamped>), ForkError> {
        let (mut records, mut next) = (Vec::new(), 0);
        loop {
            let piece = self.log.read(no, next, views::PIECE_BYTES).map_err(ReadError::from)?;
            if piece.is_empty() {
                break;
            }
            for stamped in piece {
                next = stamped.next_no(next);
                records.extend(light(stamped, CallNo(at)));
            }
        }
        let first = records.first().ok_or(ReadError::Unknown)?;
        let Record::Accepted(accepted) = &first.record else { return Err(ReadError::NoEnvelope.into()) };
        let accepted = accepted.as_ref().clone();
        Ok((accepted, taken_over_of(&records, at)?))
    }

    /// Copies the workspace of a session into that of a fork.
    async fn copy_workspace(&self, fork: &Envelope, of: &SessionId) -> Result<(Copied, Workspace), ForkError> {
        let session = SessionId::of_fork(&fork.mission_id);
        // What is there is taken away: it must be of nobody but an attempt at this fork.
        if self.log.has_session(&fork.vp_id, &session).map_err(ReadError::from)? {
            return Err(ForkError::Workspace(format!("missions have been in its session `{session}`")));
        }
        let wrong = |error: std::io::Error| ForkError::Workspace(error.to_string());
        let from = self.workspace(&fork.vp_id, of).await.map_err(wrong)?;
        let to = self.workspace(&fork.vp_id, &session).await.map_err(wrong)?;
        let copied = self.ambient.unblock(move || from.copy_into(&to).map(|copied| (copied, to)));
        copied.await.map_err(ReadError::Task)?.map_err(|error| ForkError::Workspace(error.to_string()))
    }

    /// Has the plugin go over the record with the fork's brief, and nothing done: how far it keeps to it.
    async fn rehearse_fork(
        self: &Arc<Self>,
        no: MissionNo,
        draft: &Draft,
        order: &ForkOrder,
        accepted: Accepted,
        records: &[Stamped],
    ) -> Result<Rehearsed, ForkError> {
        // The state that the fork would begin in, which is a check of the records, too.
        let text = draft.text(Some(&draft.from(order, order.at, records, None)));
        let Parsed { envelope, .. } = parsed(&text)?;
        let (envelope, plugin) = (Arc::new(envelope), accepted.plugin.digest);
        let first = Stamped { at: self.ambient.wall(), ran_ms: 0, record: Record::Accepted(Box::new(accepted)) };
        let mut mission = Mission::begin(Arc::clone(&envelope), &first)?;
        records.iter().try_for_each(|record| mission.apply(record))?;
        let tools = self.toolbox().infos().to_vec();
        let grants = mission.granted().map_or_else(|| mission.grantable(&tools), <[_]>::to_vec);
        let (memory_bytes_max, session) = (mission.memory_bytes_max(), mission.session().clone());
        let piece = Piece { records, mission, tools, beyond_max: 0 };
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forkable {
    /// So many calls it has made.
    pub calls: u32,
    /// So many as of the record that was named.
    pub at: u32,
    /// Its inputs, laid out.
    pub inputs: String,
    /// The plugin that it ran on, with its version.
    pub plugin: String,
}

impl Engine {
    /// What of a mission can be forked; `record` is the number of one of its records, from 1. Blocks.
    ///
    /// # Errors
    /// [`ReadError`]
    pub fn forkable(&self, id: &str, record: Option<u32>) -> Result<Forkable, ReadError> {
        let no = self.find(id)?.ok_or(ReadError::Unknown)?;
        let (mut next, mut calls, mut at, mut accepted) = (0, 0, 0, None);
        loop {
            let piece = self.log.read(no, next, views::PIECE_BYTES)?;
            if piece.is_empty() {
                break;
            }
            for stamped in piece {
                calls += u32::from(host_call(&stamped.record).is_some());
                if record.is_none_or(|record| next < record) {
                    at = calls;
                }
                next = stamped.next_no(next);
                if let Record::Accepted(first) = stamped.record {
                    accepted = Some(first);
                }
            }
        }
        let accepted = accepted.ok_or(ReadError::NoEnvelope)?;
        let sent: serde_json::Value = serde_json::from_str(&accepted.envelope).map_err(|_| ReadError::NoEnvelope)?;
        let inputs = sent.get("inputs").filter(|inputs| inputs.is_object()).cloned().unwrap_or_else(|| json!({}));
        let PluginIdentity { name, version, .. } = &accepted.plugin;
        Ok(Forkable { calls, at, inputs: format!("{inputs:#}"), plugin: format!("{name}@{version}") })
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

/// The envelope of a fork: that of its mission, as it was sent, but for what it must have of its own.
struct Draft {
    fields: BTreeMap<String, Box<RawValue>>,
    /// Where its forks began.
    root: MissionId,
    notes: Vec<String>,
}

/// What a fork has not of the mission that it comes from: events go nowhere, and its window is over or another's.
const LEFT_OUT: [&str; 3] = ["callback", "autonomy_window", "forked_from"];

fn draft(accepted: &Accepted, order: &ForkOrder, node: &sortie_contract::InstanceId) -> Result<Draft, ForkError> {
    let sent: BTreeMap<String, Box<RawValue>> =
        serde_json::from_str(&accepted.envelope).map_err(|_| ReadError::NoEnvelope)?;
    let had_callback = sent.get("callback").is_some_and(|callback| callback.get() != "null");
    let before = sent.get("forked_from").and_then(|from| serde_json::from_str::<ForkedFrom>(from.get()).ok());
    let root = before.map_or_else(|| order.of.clone(), |before| before.root);
    let mut fields: BTreeMap<String, Box<RawValue>> =
        sent.into_iter().filter(|(key, _)| !LEFT_OUT.contains(&key.as_str())).collect();
    let mut notes = Vec::new();
    if had_callback {
        notes.push(format!("its events are told here only, and not to where those of {} went", order.of));
    }
    let mission_id = order.mission_id();
    let PluginIdentity { name, version, .. } = &accepted.plugin;
    let plugin = order.plugin.as_ref().map_or_else(|| format!("{name}@{version}"), ToString::to_string);
    for (key, value) in [
        ("mission_id", mission_id.as_str()),
        ("vp_session_id", SessionId::of_fork(&mission_id).as_str()),
        ("source_instance_id", node.as_str()),
        ("target_instance_id", "*"),
        ("idempotency_key", &format!("fork:{mission_id}")),
        ("plugin", &plugin),
    ] {
        fields.insert(key.to_owned(), raw(&value));
    }
    if let Some(inputs) = &order.inputs {
        let inputs = RawValue::from_string(inputs.clone()).map_err(|error| {
            let mistake = Mistake::new(Pointer::raw("/inputs"), "not_json", error.to_string());
            ForkError::Invalid(vec![mistake])
        })?;
        fields.insert("inputs".to_owned(), inputs);
    }
    if let Some(policy) = fields.get_mut("artifact_policy") {
        let mut its: BTreeMap<String, Box<RawValue>> = serde_json::from_str(policy.get()).unwrap_or_default();
        let pushes = parsed_scope(&its) == Some(StorageScope::Pushback);
        if pushes {
            its.insert("storage_scope".to_owned(), raw(&"factory"));
            *policy = raw(&its);
        }
    }
    Ok(Draft { fields, root, notes })
}

fn parsed_scope(policy: &BTreeMap<String, Box<RawValue>>) -> Option<StorageScope> {
    let scope = policy.get("storage_scope")?;
    (scope.get().trim() == "\"pushback\"").then_some(StorageScope::Pushback)
}

fn raw(value: &impl Serialize) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).expect("texts are JSON")
}

impl Draft {
    fn from(&self, order: &ForkOrder, calls: u32, records: &[Stamped], diverged_at: Option<u32>) -> ForkedFrom {
        let records = u32::try_from(records.len()).expect("an append has fewer than 2^32 records");
        let (mission_id, root, at) = (order.of.clone(), self.root.clone(), order.at);
        ForkedFrom { mission_id, root, at, calls, records, diverged_at, asked: order.digest() }
    }

    fn text(&self, from: Option<&ForkedFrom>) -> String {
        let mut fields: BTreeMap<&str, &RawValue> =
            self.fields.iter().map(|(key, value)| (key.as_str(), value.as_ref())).collect();
        let from = from.map(raw);
        if let Some(from) = &from {
            fields.insert("forked_from", from);
        }
        serde_json::to_string(&fields).expect("texts are JSON")
    }

    /// What people should know of a fork that comes from there.
    fn notes_on(
        &mut self,
        from: &ForkedFrom,
        rehearsed: Option<&Rehearsed>,
        (session, copied, records): (&SessionId, Option<Copied>, &[Stamped]),
    ) {
        if let (Some(at), Some(rehearsed)) = (from.diverged_at, rehearsed) {
            self.notes.push(format!("its plugin leaves the record at call {at}: {}", left(rehearsed)));
        }
        if let Some(call) = told_of_limits(records) {
            self.notes.push(format!(
                "its plugin was told at call {} what was left of the time and the budget of {}, and is told the same: it may land early for \
                 that; a fork at call {} or before asks anew",
                call.0,
                from.mission_id,
                call.0.saturating_sub(1)
            ));
        }
        if let Some(Copied { entries, left_out, .. }) = copied {
            if entries > 0 {
                let left_out =
                    if left_out > 0 { format!("; {left_out} of its entries are left out") } else { String::new() };
                self.notes.push(format!(
                    "its workspace is a copy of that of the session {session} as it is now, and not as it was at call {}{left_out}",
                    from.calls
                ));
            }
            return;
        }
        if from.calls == 0 {
            return;
        }
        let mut wrote: Vec<&str> = records
            .iter()
            .filter_map(|stamped| match &stamped.record {
                Record::CallFinished { outcome: Ok(answer), .. } => Some(answer.wrote.iter()),
                _ => None,
            })
            .flatten()
            .map(|written| written.path.as_str())
            .collect();
        wrote.sort_unstable();
        wrote.dedup();
        let files = match wrote.as_slice() {
            [] => String::new(),
            [first, ..] => format!(
                "; its calls up to there wrote {} files, such as `{}`",
                wrote.len(),
                limit::clip(first, limit::QUOTE_BYTES_MAX)
            ),
        };
        self.notes.push(format!(
            "its workspace is its own and empty: what {} had in its session's is not there{files}",
            from.mission_id
        ));
    }
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
        let (artifacts, no) = (Arc::clone(&self.engine.artifacts), self.no);
        let read = self.engine.ambient.unblock(move || artifacts.get(no, &sha256?).ok());
        read.map(|read| read.ok().flatten()).boxed()
    }

    fn patience(&self) -> BoxFuture<'static, ()> {
        self.engine.ambient.sleep(PATIENCE)
    }
}
