//! What every old body comes to: an envelope of the contract, and nothing that is not one.

use std::collections::BTreeMap;

use serde_json::{Map, Number, Value, json};
use sortie_contract::envelope::{Envelope, MissionType, read_strictly};
use sortie_contract::mistake::code;
use sortie_contract::plugin::PluginRef;
use sortie_contract::{InstanceId, Mistake, Pointer, Timestamp, VpId, limit};

use crate::config::{ConfigError, DialectConfig, TypeConfig};
use crate::kept::FIELD;
use crate::old::Findings;

/// What of an envelope an operator may write for a type; the rest is made of each dispatch.
const GIVEN: [&str; 11] = [
    "vp_runtime_id",
    "constraints",
    "budget",
    "heartbeat_interval_seconds",
    "report_cadence",
    "success_criteria",
    "artifact_policy",
    "inputs",
    "on_window_end",
    "carry_over_max",
    "on_expiry",
];

/// The lists of constraints of which both sides may say something.
const LISTS: [&str; 3] = ["allowed_tools", "forbidden_tools", "approval_required"];

/// What a time of TOML becomes where JSON is read.
const TIME_OF_TOML: &str = "$__toml_private_datetime";

/// How old bodies are translated on a node.
#[derive(Debug, Clone)]
pub struct Dialect {
    source: String,
    /// By their names in small letters.
    types: BTreeMap<String, TypeConfig>,
    default: Option<TypeConfig>,
    /// Where the events of missions go that come over HTTP.
    pub(crate) callback: Option<Map<String, Value>>,
}

/// What of an envelope comes neither from its dispatch nor from the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Made<'a> {
    /// The node.
    pub node: &'a str,
    /// When it came.
    pub at: Timestamp,
    /// What stands for an idempotency key where there is none: never the same twice.
    pub fresh: &'a str,
}

/// An old body as an envelope.
#[derive(Debug, Clone, PartialEq)]
pub struct Translated {
    /// The mission that it asks for.
    pub mission_id: String,
    /// Its key.
    pub idempotency_key: String,
    /// Whose it is.
    pub vp_id: String,
    /// The old type, as it was written.
    pub mission_type: String,
    /// What is to be done.
    pub objective: String,
    /// Lower first; nothing here depends on it.
    pub priority: i64,
    /// The envelope, as it is dispatched.
    pub envelope: String,
    /// What of the body has no effect.
    pub warnings: Vec<String>,
    pub(crate) form: Form,
}

/// Which dialect a body is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Dispatch,
    Job,
}

/// What was read of an old body.
pub(crate) struct Draft<'a> {
    pub(crate) form: Form,
    pub(crate) kind: &'a TypeConfig,
    pub(crate) mission_id: String,
    pub(crate) idempotency_key: String,
    pub(crate) vp_id: String,
    pub(crate) session: String,
    pub(crate) mission_type: String,
    pub(crate) objective: String,
    pub(crate) priority: i64,
    pub(crate) trace_id: Option<String>,
    pub(crate) callback: Option<Map<String, Value>>,
    /// Every limit of the run time that it names, in minutes.
    pub(crate) minutes: Vec<Number>,
    /// Its other limits.
    pub(crate) budget: Vec<(&'static str, Number)>,
    pub(crate) lists: Vec<(&'static str, Vec<Value>)>,
    pub(crate) inputs: Map<String, Value>,
    /// What is kept of it though nothing depends on it.
    pub(crate) kept: Map<String, Value>,
}

impl Form {
    /// Where what stands there in an envelope comes from in the old body.
    fn places(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Dispatch => &[
                ("/budget/max_runtime_minutes", "/budget/max_minutes"),
                ("/budget", "/budget"),
                ("/constraints", "/constraints"),
                ("/inputs", "/constraints"),
                ("/mission_type", "/mission_type"),
                ("/plugin", "/mission_type"),
                ("/objective", "/objective"),
                ("/vp_id", "/vp_id"),
                ("/vp_session_id", "/vp_id"),
                ("/idempotency_key", "/idempotency_key"),
                ("/mission_id", "/idempotency_key"),
                ("/trace_id", "/idempotency_key"),
            ],
            Self::Job => &[
                ("/budget/max_runtime_minutes", "/timeout_seconds"),
                ("/inputs", "/payload/context"),
                ("/mission_type", "/payload/context/mission_kind"),
                ("/plugin", "/payload/context/mission_kind"),
                ("/objective", "/payload/task"),
                ("/vp_id", "/payload/context/vp_id"),
                ("/vp_session_id", "/payload/context/vp_id"),
                ("/idempotency_key", "/idempotency_key"),
                ("/mission_id", "/job_id"),
                ("/callback", "/job_id"),
                ("/trace_id", "/payload/context/trace_id"),
            ],
        }
    }

    /// Mistakes of the envelope, told at their places in the old body: of what both a name and what is made of it have, once.
    fn all_told(self, mistakes: Vec<Mistake>) -> Vec<Mistake> {
        let mut told: Vec<Mistake> = Vec::with_capacity(mistakes.len());
        for mistake in mistakes.into_iter().map(|mistake| self.told(mistake)) {
            if !told.iter().any(|other| other.pointer == mistake.pointer && other.code == mistake.code) {
                told.push(mistake);
            }
        }
        told
    }

    /// A mistake of the envelope, told at its place in the old body: that of what nobody wrote there is the whole of it.
    fn told(self, mistake: Mistake) -> Mistake {
        let at = mistake.pointer.as_str();
        let place = self.places().iter().find(|(new, _)| mistake.pointer.is_within(new));
        let (old, rest) = place.map_or(("", ""), |(new, old)| (*old, &at[new.len()..]));
        let pointer = Pointer::raw(format!("{old}{rest}"));
        if pointer == mistake.pointer {
            return mistake;
        }
        let detail = format!("{} (at `{at}` of the envelope that it becomes)", mistake.detail);
        Mistake { pointer, code: mistake.code, detail }
    }
}

impl Translated {
    /// What a node has against the envelope, told at the places of the old body.
    #[must_use]
    pub fn told(&self, mistakes: Vec<Mistake>) -> Vec<Mistake> {
        self.form.all_told(mistakes)
    }
}

impl Dialect {
    /// As the configuration has it.
    ///
    /// # Errors
    /// [`ConfigError`] for types of which no envelope can be made.
    pub fn new(config: &DialectConfig) -> Result<Self, ConfigError> {
        if let Err(why) = InstanceId::new(config.source.as_str()) {
            return Err(ConfigError::new("source", why.to_string()));
        }
        let mut types = BTreeMap::new();
        for (name, kind) in &config.types {
            if types.insert(name.to_ascii_lowercase(), kind.clone()).is_some() {
                return Err(ConfigError::new(format!("types.{name}"), "there are two of this name"));
            }
        }
        let callback = config.http.as_ref().and_then(|http| http.callback.clone());
        let dialect = Self { source: config.source.clone(), types, default: config.default.clone(), callback };
        let kinds = config.types.iter().map(|(name, kind)| (format!("types.{name}"), kind));
        for (key, kind) in kinds.chain(config.default.iter().map(|kind| ("default".to_owned(), kind))) {
            dialect.examine(kind).map_err(|why| ConfigError::new(key, why))?;
        }
        Ok(dialect)
    }

    /// Who dispatched what was translated, as its envelopes say.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What of a type is no part of any envelope.
    fn examine(&self, kind: &TypeConfig) -> Result<(), String> {
        if kind.runs.parse::<PluginRef>().is_err() {
            let types = MissionType::ALL.map(MissionType::as_str);
            return Err(format!("`runs` must be one of {} or the name of a plugin", types[..3].join(", ")));
        }
        if kind.runs == MissionType::Custom.as_str() {
            return Err("`runs` names the plugin itself, in the place of `custom`".to_owned());
        }
        if let Some(vp_id) = &kind.vp_id {
            VpId::new(vp_id.as_str()).map_err(|why| format!("`vp_id`: {why}"))?;
        }
        if let Some(key) = kind.envelope.keys().find(|key| !GIVEN.contains(&key.as_str())) {
            return Err(format!(
                "`envelope.{key}` is not for an operator to write; what may stand there is {}",
                GIVEN.join(", ")
            ));
        }
        if let Some(at) = time_in(&Value::from(kind.envelope.clone()), &Pointer::root().join("envelope")) {
            return Err(format!("{at}: write a time as a text, in quotes"));
        }
        for key in ["constraints", "budget", "inputs"] {
            if kind.envelope.get(key).is_some_and(|value| !value.is_object()) {
                return Err(format!("`envelope.{key}` must be a table"));
            }
        }
        let draft = Draft { callback: self.callback.clone(), ..Draft::trial(kind) };
        let made = Made { node: "factory", at: Timestamp::UNIX_EPOCH, fresh: "" };
        match Envelope::parse(&self.envelope(&draft, made)) {
            Ok(_) => Ok(()),
            Err(rejected) => {
                let told = rejected.mistakes.iter().map(ToString::to_string).collect::<Vec<_>>();
                Err(format!("no envelope comes of it: {}", told.join("; ")))
            }
        }
    }

    /// What runs missions of that old type.
    pub(crate) fn kind(&self, name: &str, at: Pointer, found: &Findings) -> Option<&TypeConfig> {
        let kind = self.types.get(&name.trim().to_ascii_lowercase()).or(self.default.as_ref());
        if kind.is_none() {
            let known: Vec<&str> = self.types.keys().map(String::as_str).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let name = limit::clip(name, limit::QUOTE_BYTES_MAX);
            let detail = format!(
                "`{name}` is no type that this node's [dialect.types] names ({known}), and there is no [dialect.default]"
            );
            found.wrong(at, code::UNKNOWN_VALUE, detail);
        }
        kind
    }

    /// The envelope of what was read, if it is one.
    pub(crate) fn translated(
        &self,
        draft: Draft<'_>,
        made: Made<'_>,
        warnings: Vec<String>,
    ) -> Result<Translated, Vec<Mistake>> {
        let envelope = self.envelope(&draft, made);
        if let Err(rejected) = Envelope::parse(&envelope) {
            return Err(draft.form.all_told(rejected.mistakes));
        }
        let Draft { form, mission_id, idempotency_key, vp_id, mission_type, objective, priority, .. } = draft;
        Ok(Translated {
            mission_id,
            idempotency_key,
            vp_id,
            mission_type,
            objective,
            priority,
            envelope,
            warnings,
            form,
        })
    }

    fn envelope(&self, draft: &Draft<'_>, made: Made<'_>) -> String {
        let mut envelope = draft.kind.envelope.clone();
        let mut put = |key: &str, value: Value| {
            envelope.insert(key.to_owned(), value);
        };
        put("mission_id", draft.mission_id.as_str().into());
        put("vp_id", draft.vp_id.as_str().into());
        put("vp_session_id", draft.session.as_str().into());
        put("source_instance_id", self.source.as_str().into());
        put("target_instance_id", made.node.into());
        let own = MissionType::ALL.into_iter().find(|kind| kind.as_str() == draft.kind.runs);
        put("mission_type", own.unwrap_or(MissionType::Custom).as_str().into());
        if own.is_none() {
            put("plugin", draft.kind.runs.as_str().into());
        }
        put("objective", draft.objective.as_str().into());
        put("idempotency_key", draft.idempotency_key.as_str().into());
        put("trace_id", draft.trace_id.as_deref().unwrap_or(&draft.mission_id).into());
        put("created_at", made.at.to_string().into());
        if let Some(callback) = &draft.callback {
            put("callback", callback.clone().into());
        }
        put(FIELD, draft.kept.clone().into());
        let under = |envelope: &mut Map<String, Value>, key: &str, fields: Map<String, Value>| {
            if !fields.is_empty()
                && let Value::Object(given) = envelope.entry(key).or_insert_with(|| json!({}))
            {
                given.extend(fields);
            }
        };
        let limits = limits(draft);
        under(&mut envelope, "budget", limits);
        let lists = lists(draft);
        under(&mut envelope, "constraints", lists);
        under(&mut envelope, "inputs", draft.inputs.clone());
        Value::Object(envelope).to_string()
    }
}

impl<'a> Draft<'a> {
    /// One that nobody sent, to see what a type comes to.
    fn trial(kind: &'a TypeConfig) -> Self {
        let text = || "trial".to_owned();
        Self {
            form: Form::Dispatch,
            kind,
            mission_id: text(),
            idempotency_key: text(),
            vp_id: text(),
            session: text(),
            mission_type: text(),
            objective: text(),
            priority: 0,
            trace_id: None,
            callback: None,
            minutes: Vec::new(),
            budget: Vec::new(),
            lists: Vec::new(),
            inputs: Map::new(),
            kept: Map::new(),
        }
    }

    fn given(&self, table: &str, key: &str) -> Option<&Value> {
        self.kind.envelope.get(table)?.get(key)
    }
}

/// The limits of a mission: of each the tightest that dispatch and operator name. 0 is none, as in an envelope.
fn limits(draft: &Draft<'_>) -> Map<String, Value> {
    let mut limits = Map::new();
    let minutes = draft.minutes.iter().map(|minutes| ("max_runtime_minutes", minutes));
    for (key, number) in minutes.chain(draft.budget.iter().map(|(key, number)| (*key, number))) {
        let value = |number: &Number| number.as_f64().filter(|value| *value > 0.0);
        let before = limits.get(key).or_else(|| draft.given("budget", key)).and_then(|value: &Value| match value {
            Value::Number(number) => Some(number.clone()),
            _ => None,
        });
        let before = before.filter(|before| value(before).is_some());
        let tightest = match (before, value(number)) {
            (Some(before), Some(new)) if value(&before).is_some_and(|before| before <= new) => before,
            (Some(before), None) => before,
            _ => number.clone(),
        };
        limits.insert(key.to_owned(), tightest.into());
    }
    limits
}

/// What a mission may do: what a dispatch allows counts in the place of the operator's words, what it forbids or wants asked about beside them.
fn lists(draft: &Draft<'_>) -> Map<String, Value> {
    let mut lists = Map::new();
    for (key, own) in &draft.lists {
        debug_assert!(LISTS.contains(key), "{key}");
        let mut all = own.clone();
        if *key != LISTS[0]
            && let Some(Value::Array(given)) = draft.given("constraints", key)
        {
            let further: Vec<Value> = given.iter().filter(|item| !all.contains(item)).cloned().collect();
            all.extend(further);
        }
        lists.insert((*key).to_owned(), all.into());
    }
    lists
}

/// The JSON of a body. One that would not be what was sent is wrong: two keys of one name, an integer beyond 64 bits.
pub(crate) fn read(text: &str) -> Result<Value, Vec<Mistake>> {
    let (value, mistakes) = read_strictly(text).map_err(|mistake| vec![mistake])?;
    if mistakes.is_empty() { Ok(value) } else { Err(mistakes) }
}

/// Where a value has a time of TOML, which JSON does not know.
fn time_in(value: &Value, at: &Pointer) -> Option<Pointer> {
    match value {
        Value::Object(fields) if fields.contains_key(TIME_OF_TOML) => Some(at.clone()),
        Value::Object(fields) => fields.iter().find_map(|(key, field)| time_in(field, &at.join(key))),
        Value::Array(items) => items.iter().enumerate().find_map(|(index, item)| time_in(item, &at.join(index))),
        _ => None,
    }
}
