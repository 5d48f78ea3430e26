//! Intake: a dispatched envelope becomes an accepted mission on disk, or an answer that says why not.
//!
//! Here the envelope is held against this node: its rules (by the core), its plugins, its receivers, and all that is wrong is
//! told at once. The order matters: a dispatch that was accepted before is answered as before, even when its window is over by
//! now.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use jsonschema::error::ValidationErrorKind;
use parking_lot::Mutex;
use rustc_hash::{FxHashMap, FxHashSet};
use serde_json::Value;
use sortie_contract::digest::Digest;
use sortie_contract::envelope::{EffectiveBudget, Envelope, MissionType, Parsed, Rejected, differing_fields};
use sortie_contract::plugin::{Brief, Crash, PluginRef};
use sortie_contract::record::{Accepted, Record};
use sortie_contract::{LaneId, MissionId, MissionNo, Mistake, Pointer, SessionId, Stamped, Status, VpId, limit};
use sortie_journal::{Append, Cursor, Head, Receipt, WriteError};
use sortie_mission::{Admission, Denial, Mission, admit};
use sortie_sandbox::Installed;

use super::live::Live;
use super::{Desk, Engine, ReadError, Room};

/// The answer to a dispatch that was taken.
#[derive(Debug, Clone)]
pub struct Dispatched {
    /// It had been accepted before.
    pub replayed: bool,
    /// Whose answer it is.
    pub mission_id: MissionId,
    /// Its VP.
    pub vp_id: VpId,
    /// The session that it was given.
    pub session: SessionId,
    /// The lane that it was given.
    pub lane: LaneId,
    /// How it is now.
    pub status: Status,
    /// What holds of its budget here.
    pub budget: EffectiveBudget,
    /// What is odd about it, for people.
    pub warnings: Vec<String>,
}

/// Why a dispatch was not taken.
#[derive(Debug, thiserror::Error)]
pub enum DispatchError {
    /// Something is wrong with the envelope.
    #[error("the envelope cannot be accepted")]
    Invalid(Vec<Mistake>),
    /// It is for another node.
    #[error("this node is `{this}`, the envelope is for `{target}`")]
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
    /// Too much at once.
    #[error("the node takes no more at the moment")]
    Overloaded,
    /// What is left of the disk is for the journal.
    #[error("the disk of this node is nearly full: it takes no missions until there is room")]
    DiskLow,
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
pub(crate) struct InputSchemas(Mutex<FxHashMap<Digest, Compiled>>);

/// `None` where the plugin declares no schema; why it is none, where it declares something else.
type Compiled = Result<Option<Arc<jsonschema::Validator>>, String>;

impl InputSchemas {
    fn of(&self, plugin: &Installed) -> Compiled {
        let compile = || {
            let validator = plugin.manifest.inputs_schema.as_ref().map(jsonschema::validator_for).transpose();
            validator.map(|validator| validator.map(Arc::new)).map_err(|error| error.to_string())
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

/// What is wrong with an envelope, found by several who do not know of each other.
#[derive(Debug, Default)]
struct Wrong(Vec<Mistake>);

/// Where mistakes leave open which plugin is meant.
const CHOOSES_PLUGIN: [&str; 3] = ["/vp_id", "/mission_type", "/plugin"];

/// Where mistakes leave open what a plugin would be told.
const TOLD_TO_PLUGIN: [&str; 4] = ["/objective", "/inputs", "/success_criteria", "/artifact_policy"];

impl Wrong {
    /// Adds what one of them found, but for what was found already: at the same place, or within it.
    fn add(&mut self, found: impl IntoIterator<Item = Mistake>) {
        let known = self.0.len();
        for mistake in found {
            if self.0.len() >= limit::MISTAKES_MAX {
                return;
            }
            let place = mistake.pointer.as_str();
            if !self.0[..known].iter().any(|known| known.pointer.is_within(place)) {
                self.0.push(mistake);
            }
        }
    }

    /// Whether one of them is within one of these places.
    fn is_within(&self, places: &[&str]) -> bool {
        self.0.iter().any(|mistake| places.iter().any(|place| mistake.pointer.is_within(place)))
    }
}

/// What makes a dispatch the same one: the control plane and its key.
fn scope(envelope: &Envelope) -> (&str, &str) {
    (envelope.source_instance_id.as_str(), envelope.idempotency_key.as_str())
}

impl Engine {
    /// Takes a dispatched envelope. When this returns, what it says is on disk.
    pub async fn dispatch(self: &Arc<Self>, text: String) -> Result<Dispatched, DispatchError> {
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
        let Parsed { envelope, mut warnings, digest } = match Envelope::parse(&text) {
            Ok(parsed) => parsed,
            Err(rejected) => return Err(self.refusal(rejected).await),
        };
        let envelope = Arc::new(envelope);
        if let Some(before) = self.before(&envelope, digest, &text).await? {
            return Ok(before);
        }
        if self.artifacts.room() == Room::Low {
            return Err(DispatchError::DiskLow);
        }
        if self.journal.crowded() {
            // Room for the missions that there are.
            return Err(DispatchError::Overloaded);
        }
        let (admission, plugin) = self.examine(&envelope, Wrong::default()).await?;
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

    /// The answer to a text that is no valid envelope: with what this node would say to the rest of it, for who sent it mends it
    /// once.
    async fn refusal(&self, rejected: Rejected) -> DispatchError {
        let Rejected { mistakes, draft } = rejected;
        let Some(draft) = draft else { return DispatchError::Invalid(mistakes) };
        match self.examine(draft.envelope(), Wrong(mistakes.clone())).await {
            Ok(_) => DispatchError::Invalid(mistakes),
            Err(error) => error,
        }
    }

    /// Everything that this node has against an envelope: what the core, the clock and the receivers' guard say of it, then its
    /// plugin. Where something is `wrong` with it already, what follows from that is not said again.
    async fn examine(&self, envelope: &Envelope, mut wrong: Wrong) -> Result<(Admission, Installed), DispatchError> {
        let admission = match admit(envelope, &self.rules, self.ambient.wall()) {
            Ok(admission) => Some(admission),
            Err(Denial::Mistakes(mistakes)) => {
                wrong.add(mistakes);
                None
            }
            Err(Denial::WrongInstance { .. }) => {
                return Err(DispatchError::WrongInstance {
                    this: self.rules.instance_id.to_string(),
                    target: envelope.target_instance_id.to_string(),
                });
            }
        };
        wrong.add(envelope.callback.as_ref().and_then(|callback| self.courier.admit(callback).err()));
        let plugin = if wrong.is_within(&CHOOSES_PLUGIN) {
            None
        } else {
            self.plugin_for(envelope).map_err(|mistake| wrong.add([mistake])).ok()
        };
        if let Some(plugin) = &plugin
            && !wrong.is_within(&TOLD_TO_PLUGIN)
        {
            self.check(envelope, plugin, &mut wrong).await?;
        }
        match (admission, plugin) {
            (Some(admission), Some(plugin)) if wrong.0.is_empty() => Ok((admission, plugin)),
            _ => Err(DispatchError::Invalid(wrong.0)),
        }
    }

    /// The plugin that will run it: the envelope's, else its VP's, else its type's.
    fn plugin_for(&self, envelope: &Envelope) -> Result<Installed, Mistake> {
        let kind = envelope.mission_type.as_str();
        let missing = |detail: String| Mistake::new(Pointer::root().join("plugin"), "plugin_not_installed", detail);
        let wanted = wanted(envelope, &self.plugins_by).ok_or_else(|| {
            missing(format!("no plugin runs {kind} missions on this node: name one in the field `plugin`"))
        })?;
        self.guests.resolve(wanted).ok_or_else(|| {
            missing(format!(
                "the plugin `{wanted}` that {kind} missions run on is not installed on this node; `sortie plugin ls` lists those that are"
            ))
        })
    }

    /// Holds `inputs` against the plugin's JSON Schema.
    fn check_inputs(&self, inputs: &str, plugin: &Installed) -> Vec<Mistake> {
        let schema = match self.inputs.of(plugin) {
            Ok(Some(schema)) => schema,
            Ok(None) => return Vec::new(),
            Err(why) => {
                let detail =
                    format!("the plugin `{}` declares inputs by what is no JSON Schema: {why}", plugin.identity);
                return vec![Mistake::new(Pointer::raw("/inputs"), "plugin_check_failed", detail)];
            }
        };
        let inputs: Value = serde_json::from_str(inputs).expect("the envelope holds valid JSON");
        let place = |error: &jsonschema::ValidationError<'_>| {
            let place = Pointer::raw(format!("/inputs{}", error.instance_path()));
            match error.kind() {
                // Where it should be.
                ValidationErrorKind::Required { property: Value::String(name) } => place.join(name),
                _ => place,
            }
        };
        schema
            .iter_errors(&inputs)
            .take(limit::MISTAKES_MAX)
            .map(|error| Mistake::new(place(&error), "invalid_inputs", error.to_string()))
            .collect()
    }

    /// What the plugin can know to be wrong: by its schema, and by its own word.
    async fn check(&self, envelope: &Envelope, plugin: &Installed, wrong: &mut Wrong) -> Result<(), DispatchError> {
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
        let against_schema = self.check_inputs(&brief.inputs, plugin);
        let fits = against_schema.is_empty();
        wrong.add(against_schema);
        match self.guests.check(plugin.identity.digest, brief).await {
            Ok(mistakes) if mistakes.is_empty() && fits => self.checked.remember(key),
            Ok(mistakes) => wrong.add(mistakes),
            // Nothing is known of the envelope, and somebody else may take it.
            Err(_) if self.is_stopping() => return Err(DispatchError::Stopping),
            // It was not made for such inputs, and that is said already.
            Err(_) if !fits => {}
            Err(crash) => wrong.add([unchecked(plugin, &crash)]),
        }
        Ok(())
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
        let at = self.ambient.wall();
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
        let mission = Mission::begin(Arc::clone(envelope), &stamped).map_err(ReadError::from)?;
        let head = Head::accepted(envelope, digest, session.clone(), admission.lane.clone(), at);
        let head = Head { overview: Some(mission.overview()), ..head };
        let mut append = Append::new(no, 0, std::slice::from_ref(&stamped)).head(&head);
        if envelope.callback.is_some() {
            append = append.cursor(&Cursor::default());
        }
        if envelope.callback.is_some() {
            // Before it can be on disk: whoever hears of it there looks here.
            self.undelivered.lock().insert(no);
        }
        let receipt = self.journal.append_durable(append).inspect_err(|_| {
            self.undelivered.lock().remove(&no);
        })?;
        desk.last_no = no;
        desk.catalog.insert(no, &head);
        let live = self.lives.insert(Live::new(no, mission, head, self.ambient.steady()));
        let due = desk.queue.next_due();
        desk.queue.push(&live.waiting());
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

/// The first record of a journal.
pub(crate) fn accepted(records: &[Stamped]) -> Option<&Accepted> {
    match records.first().map(|stamped| &stamped.record) {
        Some(Record::Accepted(accepted)) => Some(accepted),
        _ => None,
    }
}

/// The plugin that an envelope wants. What the configuration says of a mission type it says of no VP of that name.
fn wanted<'a>(envelope: &'a Envelope, plugins_by: &'a BTreeMap<String, PluginRef>) -> Option<&'a PluginRef> {
    let vp = envelope.vp_id.as_str();
    let of_vp = || plugins_by.get(vp).filter(|_| !MissionType::ALL.iter().any(|kind| kind.as_str() == vp));
    envelope.plugin.as_ref().or_else(of_vp).or_else(|| plugins_by.get(envelope.mission_type.as_str()))
}

/// That a plugin did not get to an answer.
fn unchecked(plugin: &Installed, crash: &Crash) -> Mistake {
    let hint = match crash {
        Crash::LimitExceeded(_) => {
            "; that is a limit of this node: where it was busy, sending the envelope again helps"
        }
        _ => "",
    };
    let detail = format!("the plugin `{}` could not check this envelope: {}{hint}", plugin.identity, said(crash));
    Mistake::new(Pointer::raw("/inputs"), "plugin_check_failed", detail)
}

fn said(crash: &Crash) -> String {
    match crash {
        Crash::Trapped(text) | Crash::LimitExceeded(text) | Crash::Unrunnable(text) => text.clone(),
        Crash::OutOfMemory { limit_bytes } => format!("it wanted more than {limit_bytes} bytes of memory"),
        Crash::Diverged { recorded, attempted } => format!("it asked for {attempted} instead of {recorded}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(places: &[&str]) -> Vec<Mistake> {
        places.iter().map(|place| Mistake::new(Pointer::raw(*place), "code", "detail")).collect()
    }

    #[test]
    fn what_follows_from_a_mistake_is_not_told_again() {
        for (known, further, expected) in [
            (&["/callback/status_url"][..], &["/callback"][..], &["/callback/status_url"][..]),
            (&["/autonomy_window/end_at"], &["/autonomy_window/end_at"], &["/autonomy_window/end_at"]),
            (&["/inputs/steps/0"], &["/inputs/steps/0/with"], &["/inputs/steps/0", "/inputs/steps/0/with"]),
            (&["/vp_id"], &["/vp_runtime_id", "/vp_runtime_id"], &["/vp_id", "/vp_runtime_id", "/vp_runtime_id"]),
            (&["/budget/max_minutes"], &[""], &["/budget/max_minutes"]),
        ] {
            let mut wrong = Wrong(found(known));
            wrong.add(found(further));
            assert_eq!(wrong.0, found(expected), "{known:?} {further:?}");
        }
        let mut wrong = Wrong::default();
        wrong.add(found(&["/a"; 2 * limit::MISTAKES_MAX]));
        assert_eq!(wrong.0.len(), limit::MISTAKES_MAX);
    }

    #[test]
    fn a_vp_that_is_named_like_a_type_is_no_type() {
        let plugins: BTreeMap<String, PluginRef> =
            [("automation", "automation"), ("coding", "coder"), ("vp.own", "own")]
                .map(|(key, name)| (key.to_owned(), name.parse().expect("a name")))
                .into();
        for (vp, kind, expected) in [
            ("vp.any", "automation", Some("automation")),
            ("vp.own", "coding", Some("own")),
            ("automation", "coding", Some("coder")),
            ("coding", "automation", Some("automation")),
            ("automation", "research", None),
        ] {
            let text = serde_json::json!({
                "mission_id": "m", "vp_id": vp, "source_instance_id": "s", "target_instance_id": "t", "mission_type": kind,
                "objective": "o", "idempotency_key": "k", "trace_id": "t", "created_at": "2026-11-22T00:00:00Z",
            });
            let envelope = Envelope::parse(&text.to_string()).expect("valid").envelope;
            assert_eq!(wanted(&envelope, &plugins).map(ToString::to_string).as_deref(), expected, "{vp} {kind}");
        }
    }
}
