//! Intake: a dispatched envelope becomes an accepted mission on disk, or an answer that says why not.
//!
//! Here the envelope is held against this node: its rules (by the core), its plugins, its receivers. The order matters: a
//! dispatch that was accepted before is answered as before, even when its window is over by now.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use parking_lot::Mutex;
use rustc_hash::{FxHashMap, FxHashSet};
use sortie_contract::digest::Digest;
use sortie_contract::envelope::{EffectiveBudget, Envelope, MissionType, Parsed, differing_fields};
use sortie_contract::plugin::{Brief, Crash, PluginRef};
use sortie_contract::record::{Accepted, Record};
use sortie_contract::{LaneId, MissionId, MissionNo, Mistake, Pointer, SessionId, Stamped, Status, VpId};
use sortie_journal::{Append, Cursor, Head, Receipt, WriteError};
use sortie_mission::queue::Waiting;
use sortie_mission::{Admission, Denial, Mission, admit};
use sortie_sandbox::Installed;

use super::live::Live;
use super::{Desk, Engine, ReadError};

/// The answer to a dispatch that was taken.
#[derive(Debug, Clone)]
pub(crate) struct Dispatched {
    /// It had been accepted before.
    pub(crate) replayed: bool,
    pub(crate) mission_id: MissionId,
    pub(crate) vp_id: VpId,
    pub(crate) session: SessionId,
    pub(crate) lane: LaneId,
    pub(crate) status: Status,
    pub(crate) budget: EffectiveBudget,
    pub(crate) warnings: Vec<String>,
}

/// Why a dispatch was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DispatchError {
    /// Something is wrong with the envelope.
    #[error("the envelope cannot be accepted")]
    Invalid(Vec<Mistake>),
    /// It is for another node.
    #[error("this node is `{this}`, the envelope is for `{target}`")]
    WrongInstance { this: String, target: String },
    /// The idempotency key was used for another envelope.
    #[error("the idempotency key was used before, for mission `{mission_id}`, with other content")]
    IdempotencyConflict { mission_id: MissionId, fields: Vec<Pointer> },
    /// The mission id was used with another idempotency key.
    #[error("the mission id was used before, with another idempotency key")]
    MissionIdConflict,
    /// No plugin for it.
    #[error("{0}")]
    PluginNotInstalled(String),
    /// Too much at once.
    #[error("the node takes no more at the moment")]
    Overloaded,
    /// The node is on its way out.
    #[error("the node is shutting down")]
    Stopping,
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

/// Compiled JSON Schemas of plugins' inputs, by the plugin's digest.
#[derive(Default)]
pub(crate) struct InputSchemas(Mutex<FxHashMap<Digest, Option<Arc<jsonschema::Validator>>>>);

impl InputSchemas {
    fn of(&self, plugin: &Installed) -> Option<Arc<jsonschema::Validator>> {
        let compile = || {
            let schema = plugin.manifest.inputs_schema.as_ref()?;
            jsonschema::validator_for(schema).ok().map(Arc::new)
        };
        self.0.lock().entry(plugin.identity.digest).or_insert_with(compile).clone()
    }
}

/// What plugins have found nothing wrong with: digests of plugin and brief. A night's missions differ in little more than
/// their ids, and a plugin's answer depends on nothing but the brief.
#[derive(Default)]
pub(crate) struct Checked(Mutex<FxHashSet<Digest>>);

/// Most briefs that are remembered; then it begins anew. A digest takes 33 bytes.
const CHECKED_MAX: usize = 16_384;

impl Checked {
    /// What the answer of `plugin` depends on.
    fn key(plugin: &Digest, brief: &Brief) -> Digest {
        let Brief {
            mission_id,
            vp_id,
            vp_session_id,
            mission_type,
            objective,
            inputs,
            success_criteria,
            required_outputs,
        } = brief;
        let mut text = Vec::with_capacity(1_024);
        text.extend_from_slice(plugin.as_bytes());
        let mut add = |part: &str| {
            text.extend_from_slice(&part.len().to_le_bytes());
            text.extend_from_slice(part.as_bytes());
        };
        [mission_id, vp_id, vp_session_id, mission_type, objective, inputs].into_iter().for_each(|part| add(part));
        for list in [success_criteria, required_outputs] {
            add(&list.len().to_string());
            list.iter().for_each(|part| add(part));
        }
        Digest::of(&text)
    }

    fn knows(&self, key: &Digest) -> bool {
        self.0.lock().contains(key)
    }

    fn remember(&self, key: Digest) {
        let mut known = self.0.lock();
        if known.len() >= CHECKED_MAX {
            known.clear();
        }
        known.insert(key);
    }
}

/// What makes a dispatch the same one: the control plane and its key.
fn scope(envelope: &Envelope) -> (&str, &str) {
    (envelope.source_instance_id.as_str(), envelope.idempotency_key.as_str())
}

impl Engine {
    /// Takes a dispatched envelope. When this returns, what it says is on disk.
    pub(crate) async fn dispatch(self: &Arc<Self>, text: String) -> Result<Dispatched, DispatchError> {
        let dispatched = self.take(text).await;
        let counter = match &dispatched {
            Ok(Dispatched { replayed: false, .. }) => &self.counters.accepted,
            Ok(_) => &self.counters.replayed,
            Err(_) => &self.counters.refused,
        };
        counter.fetch_add(1, Relaxed);
        dispatched
    }

    async fn take(self: &Arc<Self>, text: String) -> Result<Dispatched, DispatchError> {
        if self.is_stopping() {
            return Err(DispatchError::Stopping);
        }
        let Parsed { envelope, mut warnings, digest } =
            Envelope::parse(&text).map_err(|rejected| DispatchError::Invalid(rejected.mistakes))?;
        let envelope = Arc::new(envelope);
        if let Some(before) = self.before(&envelope, digest, &text).await? {
            return Ok(before);
        }
        let admission = self.admit(&envelope)?;
        let plugin = self.plugin_for(&envelope)?;
        self.check(&envelope, &plugin).await?;
        warnings.extend(admission.warnings.iter().cloned());

        let accepted = Acceptance { envelope: &envelope, digest, admission, plugin, warnings };
        let Some((dispatched, live, receipt)) = self.accept(accepted, &text)? else {
            // Its twin was faster.
            return self.before(&envelope, digest, &text).await?.ok_or(DispatchError::Overloaded);
        };
        self.pump();
        receipt.await?;
        self.lives.release(&live);
        Ok(dispatched)
    }

    /// The answer to an envelope whose key or id was seen before.
    async fn before(
        &self,
        envelope: &Envelope,
        digest: Digest,
        text: &str,
    ) -> Result<Option<Dispatched>, DispatchError> {
        let (source, key) = scope(envelope);
        let candidates = self.desk.lock().twins(envelope);
        if candidates.is_empty() {
            return Ok(None);
        }
        // They may be on their way to the disk; until they are there they must not be answered for.
        self.journal.barrier()?.await?;
        let Some((no, head)) = self.twin(envelope, &candidates)? else { return Ok(None) };
        let (mission, records) = self.read(no)?;
        let first = mission.envelope();
        if scope(first) != (source, key) {
            return Err(DispatchError::MissionIdConflict);
        }
        let accepted = accepted(&records).ok_or(ReadError::NoEnvelope)?;
        if head.envelope != digest {
            let fields = differing_fields(&accepted.envelope, text);
            return Err(DispatchError::IdempotencyConflict { mission_id: head.mission_id, fields });
        }
        Ok(Some(Dispatched {
            replayed: true,
            mission_id: first.mission_id.clone(),
            vp_id: first.vp_id.clone(),
            session: mission.session().clone(),
            lane: mission.lane().clone(),
            status: mission.status(),
            budget: *mission.budget(),
            warnings: accepted.warnings.clone(),
        }))
    }

    /// Of the candidates, the mission with the same key, else the one with the same id.
    fn twin(&self, envelope: &Envelope, candidates: &[MissionNo]) -> Result<Option<(MissionNo, Head)>, ReadError> {
        let mut same_id = None;
        for &no in candidates {
            let Some(head) = self.journal.head(no)? else { continue };
            if (head.source.as_str(), head.idempotency_key.as_str()) == scope(envelope) {
                return Ok(Some((no, head)));
            }
            if head.mission_id == envelope.mission_id {
                same_id = Some((no, head));
            }
        }
        Ok(same_id)
    }

    /// What the core, the receivers' guard and the clock say of it.
    fn admit(&self, envelope: &Envelope) -> Result<Admission, DispatchError> {
        let receiver = envelope.callback.as_ref().and_then(|callback| self.courier.admit(callback).err());
        match (admit(envelope, &self.rules, self.clock.wall()), receiver) {
            (Ok(admission), None) => Ok(admission),
            (Ok(_), Some(mistake)) => Err(DispatchError::Invalid(vec![mistake])),
            (Err(Denial::Mistakes(mut mistakes)), receiver) => {
                mistakes.extend(receiver);
                Err(DispatchError::Invalid(mistakes))
            }
            (Err(Denial::WrongInstance { .. }), _) => Err(DispatchError::WrongInstance {
                this: self.rules.instance_id.to_string(),
                target: envelope.target_instance_id.to_string(),
            }),
        }
    }

    /// The plugin that will run it: the envelope's, else its VP's, else its type's.
    fn plugin_for(&self, envelope: &Envelope) -> Result<Installed, DispatchError> {
        let wanted: &PluginRef = envelope
            .plugin
            .as_ref()
            .or_else(|| self.plugins_by.get(envelope.vp_id.as_str()))
            .or_else(|| self.plugins_by.get(envelope.mission_type.as_str()))
            .ok_or_else(|| DispatchError::PluginNotInstalled(no_plugin(envelope.mission_type)))?;
        self.sandbox.resolve(wanted).ok_or_else(|| {
            DispatchError::PluginNotInstalled(format!(
                "the plugin `{wanted}` that {} missions run on is not installed on this node; `sortie plugin ls` lists those that are",
                envelope.mission_type.as_str()
            ))
        })
    }

    /// Holds `inputs` against the plugin's JSON Schema.
    fn check_inputs(&self, inputs: &str, plugin: &Installed) -> Result<(), DispatchError> {
        let Some(schema) = self.inputs.of(plugin) else { return Ok(()) };
        let inputs: serde_json::Value = serde_json::from_str(inputs).expect("the envelope holds valid JSON");
        let mistakes: Vec<Mistake> = schema
            .iter_errors(&inputs)
            .take(sortie_contract::limit::MISTAKES_MAX)
            .map(|error| {
                let pointer = Pointer::raw(format!("/inputs{}", error.instance_path()));
                Mistake::new(pointer, "invalid_inputs", error.to_string())
            })
            .collect();
        if mistakes.is_empty() { Ok(()) } else { Err(DispatchError::Invalid(mistakes)) }
    }

    /// What the plugin can know to be wrong: by its schema, and by its own word.
    async fn check(&self, envelope: &Envelope, plugin: &Installed) -> Result<(), DispatchError> {
        // A plan is right or wrong whoever's it is: `check` is not told.
        let brief = Brief {
            mission_id: String::new(),
            vp_id: String::new(),
            vp_session_id: String::new(),
            ..brief(envelope, &SessionId::of(&envelope.vp_id))
        };
        let key = Checked::key(&plugin.identity.digest, &brief);
        if self.checked.knows(&key) {
            return Ok(());
        }
        self.check_inputs(&brief.inputs, plugin)?;
        match self.sandbox.check(&plugin.identity.digest, brief).await {
            Ok(mistakes) if mistakes.is_empty() => {
                self.checked.remember(key);
                Ok(())
            }
            Ok(mistakes) => Err(DispatchError::Invalid(mistakes)),
            Err(crash) => {
                let detail =
                    format!("the plugin `{}` could not check this envelope: {}", plugin.identity, said(&crash));
                Err(DispatchError::Invalid(vec![Mistake::new(Pointer::raw("/inputs"), "plugin_check_failed", detail)]))
            }
        }
    }

    /// Gives it its number, its session and its place in the queue. `None` where its key or id was taken meanwhile.
    fn accept(
        &self,
        acceptance: Acceptance<'_>,
        text: &str,
    ) -> Result<Option<(Dispatched, Arc<Live>, Receipt)>, DispatchError> {
        let Acceptance { envelope, digest, admission, plugin, warnings } = acceptance;
        let mut desk = self.desk.lock();
        if !desk.twins(envelope).is_empty() {
            return Ok(None);
        }
        let session = envelope.vp_session_id.clone().unwrap_or_else(|| {
            // The VP's most recent one, else a fixed first one.
            let latest = desk.catalog.latest_session(&envelope.vp_id).cloned();
            latest.unwrap_or_else(|| SessionId::of(&envelope.vp_id))
        });
        let no = MissionNo(desk.last_no.0 + 1);
        let at = self.clock.wall();
        let record = Record::Accepted(Box::new(Accepted {
            envelope: text.to_owned(),
            session: session.clone(),
            lane: admission.lane.clone(),
            plugin: plugin.identity,
            budget: admission.budget,
            unknown_approvals: admission.unknown_approvals,
            warnings: warnings.clone(),
        }));
        let stamped = Stamped { at, ran_ms: 0, record };
        let head = Head {
            mission_id: envelope.mission_id.clone(),
            source: envelope.source_instance_id.clone(),
            idempotency_key: envelope.idempotency_key.clone(),
            envelope: digest,
            status: Status::Queued,
            mission_type: envelope.mission_type,
            vp: envelope.vp_id.clone(),
            session: session.clone(),
            lane: admission.lane.clone(),
            trace_id: envelope.trace_id.clone(),
            accepted_at: at,
            start_at: envelope.window.start_at,
            end_at: envelope.window.end_at,
            has_callback: envelope.callback.is_some(),
        };
        let mut append = Append::new(no, 0, std::slice::from_ref(&stamped)).head(&head);
        if envelope.callback.is_some() {
            append = append.cursor(&Cursor::default());
        }
        let receipt = self.journal.append_durable(append)?;
        if envelope.callback.is_some() {
            self.undelivered.lock().insert(no);
        }
        desk.last_no = no;
        desk.catalog.insert(no, &head);
        let mission = Mission::begin(Arc::clone(envelope), &stamped).map_err(ReadError::from)?;
        let live = self.lives.insert(Live::new(no, mission, head));
        let due = desk.queue.next_due();
        desk.queue.push(&waiting(no, envelope, session.clone(), admission.lane.clone()));
        if desk.queue.next_due() != due {
            // The next thing to happen is this mission's window.
            self.timer.nudge();
        }
        drop(desk);
        tracing::debug!(mission_id = %envelope.mission_id, trace_id = %envelope.trace_id, sequence = 1, "accepted");
        let dispatched = Dispatched {
            replayed: false,
            mission_id: envelope.mission_id.clone(),
            vp_id: envelope.vp_id.clone(),
            session,
            lane: admission.lane,
            status: Status::Queued,
            budget: admission.budget,
            warnings,
        };
        Ok(Some((dispatched, live, receipt)))
    }
}

impl Desk {
    /// Missions that may have the key or the id of this envelope.
    fn twins(&self, envelope: &Envelope) -> Vec<MissionNo> {
        let same_key = self.catalog.by_key(&envelope.source_instance_id, &envelope.idempotency_key);
        same_key.chain(self.catalog.by_id(&envelope.mission_id)).collect()
    }
}

/// All that is known when a mission is accepted.
struct Acceptance<'a> {
    envelope: &'a Arc<Envelope>,
    digest: Digest,
    admission: Admission,
    plugin: Installed,
    warnings: Vec<String>,
}

/// A mission's place in the queue.
pub(crate) fn waiting(no: MissionNo, envelope: &Envelope, session: SessionId, lane: LaneId) -> Waiting {
    Waiting {
        no,
        session: (envelope.vp_id.clone(), session),
        lane,
        start_at: envelope.window.start_at,
        end_at: envelope.window.end_at,
    }
}

/// What the plugin is told.
pub(crate) fn brief(envelope: &Envelope, session: &SessionId) -> Brief {
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

/// The first record of a journal.
pub(crate) fn accepted(records: &[Stamped]) -> Option<&Accepted> {
    match records.first().map(|stamped| &stamped.record) {
        Some(Record::Accepted(accepted)) => Some(accepted),
        _ => None,
    }
}

fn no_plugin(kind: MissionType) -> String {
    format!("no plugin runs {} missions on this node: name one in the field `plugin`", kind.as_str())
}

fn said(crash: &Crash) -> String {
    match crash {
        Crash::Trapped(text) | Crash::LimitExceeded(text) | Crash::Unrunnable(text) => text.clone(),
        Crash::OutOfMemory { limit_bytes } => format!("it wanted more than {limit_bytes} bytes of memory"),
        Crash::Diverged { recorded, attempted } => format!("it asked for {attempted} instead of {recorded}"),
    }
}
