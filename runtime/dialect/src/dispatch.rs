//! `POST /api/v1/ops/vp/missions/dispatch`: what it takes.

use serde_json::{Map, Value};
use sortie_contract::mistake::code;
use sortie_contract::{Mistake, limit};

use crate::config::TypeConfig;
use crate::envelope::{Dialect, Draft, Form, Made, Translated, read};
use crate::kept::{FORM, HTTP};
use crate::name::mission_of_dispatch;
use crate::old::{Findings, Old};

/// The priority of a mission whose dispatch names none.
pub(crate) const PRIORITY: i64 = 100;

/// The type of a mission whose dispatch names none.
const TYPE: &str = "task";

/// What is read of a dispatch.
const FIELDS: [&str; 12] = [
    "vp_id",
    "mission_type",
    "objective",
    "constraints",
    "budget",
    "idempotency_key",
    "priority",
    "source_session_id",
    "source_turn_id",
    "reply_mode",
    "run_id",
    "execution_mode",
];

/// What of it is kept, and nothing depends on.
const KEPT: [&str; 5] = ["source_session_id", "source_turn_id", "reply_mode", "run_id", "execution_mode"];

/// Constraints that describe the work, and limit nothing.
const DESCRIBING: [&str; 3] = ["target_path", "workflow_kind", "tech_stack"];

/// Lists of constraints that are those of the contract.
const LISTS: [&str; 3] = ["allowed_tools", "forbidden_tools", "approval_required"];

/// Limits of a budget that are those of the contract.
const LIMITS: [&str; 2] = ["max_llm_calls", "max_cost_usd"];

/// Limits of the run time, in minutes.
const MINUTES: [&str; 2] = ["max_minutes", "max_runtime_minutes"];

/// The limit of the run time among constraints.
const DURATION: &str = "max_duration_minutes";

impl Dialect {
    /// The envelope of an old dispatch.
    ///
    /// # Errors
    /// All that is wrong with it, with the places in it.
    pub fn dispatch(&self, body: &str, made: Made<'_>) -> Result<Translated, Vec<Mistake>> {
        let (body, found) = (read(body)?, Findings::default());
        let draft = Old::of(&body, &found).and_then(|old| self.of_dispatch(&old, made, &found));
        let warnings = found.settle()?;
        // Without anything wrong there is one.
        let draft = draft.ok_or_else(|| {
            vec![Mistake::new(sortie_contract::Pointer::root(), code::REQUIRED, "nothing could be read")]
        })?;
        self.translated(draft, made, warnings)
    }

    fn of_dispatch(&self, old: &Old<'_>, made: Made<'_>, found: &Findings) -> Option<Draft<'_>> {
        let (vp_id, objective) = (old.needed("vp_id"), old.needed("objective"));
        let mission_type = old.text("mission_type").unwrap_or(TYPE);
        let kind = self.kind(mission_type, old.at("mission_type"), found);
        let key = old.text("idempotency_key");
        if old.value("idempotency_key").is_none() {
            found.odd("`idempotency_key` is missing: sent again, this is another mission");
        }
        let priority = old.whole("priority");
        if priority.is_some_and(|priority| priority != PRIORITY) {
            found.odd("`priority` has no effect: missions begin in the order in which they were accepted");
        }
        for (key, _) in old.others(&FIELDS) {
            let key = limit::clip(key, limit::QUOTE_BYTES_MAX);
            found.odd(format!("`{key}` (at `/{key}`) is no field of a dispatch, and has no effect"));
        }
        if old.text("execution_mode").is_some_and(|mode| mode != "sdk") {
            found.odd("`execution_mode` has no effect: the plugin says how it works");
        }
        if old.text("reply_mode").is_some_and(|mode| mode != "async") {
            found.odd("`reply_mode` has no effect: a dispatch is answered once it is on record");
        }
        let mut kept = Map::from_iter([
            (FORM.to_owned(), HTTP.into()),
            ("mission_type".to_owned(), mission_type.into()),
            ("priority".to_owned(), priority.unwrap_or(PRIORITY).into()),
        ]);
        kept.extend(KEPT.iter().filter_map(|key| Some(((*key).to_owned(), old.text(key)?.into()))));
        let mut limits = Limits::default();
        if let Some(budget) = old.object("budget") {
            limits.of_budget(&budget, found);
        }
        let kind = kind?;
        if let Some(constraints) = old.object("constraints") {
            limits.of_constraints(&constraints, kind, found);
        }
        let key = key.unwrap_or(made.fresh);
        let vp_id = vp_id?;
        Some(Draft {
            form: Form::Dispatch,
            kind,
            mission_id: mission_of_dispatch(vp_id, key),
            idempotency_key: key.to_owned(),
            vp_id: vp_id.to_owned(),
            session: format!("{vp_id}.external"),
            mission_type: mission_type.to_owned(),
            objective: objective?.to_owned(),
            priority: priority.unwrap_or(PRIORITY),
            trace_id: None,
            callback: self.callback.clone(),
            minutes: limits.minutes,
            budget: limits.budget,
            lists: limits.lists,
            inputs: limits.inputs,
            kept,
        })
    }
}

/// What a dispatch limits, and what it hands on.
#[derive(Default)]
struct Limits {
    minutes: Vec<serde_json::Number>,
    budget: Vec<(&'static str, serde_json::Number)>,
    lists: Vec<(&'static str, Vec<Value>)>,
    inputs: Map<String, Value>,
}

impl Limits {
    fn of_budget(&mut self, budget: &Old<'_>, found: &Findings) {
        self.minutes.extend(MINUTES.iter().filter_map(|key| budget.number(key)).cloned());
        self.budget.extend(LIMITS.iter().filter_map(|key| Some((*key, budget.number(key)?.clone()))));
        let known = [MINUTES, LIMITS].concat();
        for (key, _) in budget.others(&known) {
            let clipped = limit::clip(key, limit::QUOTE_BYTES_MAX);
            let detail =
                format!("`{clipped}` is not a limit that this node can keep; known here are {}", known.join(", "));
            found.wrong(budget.at(&clipped), code::UNKNOWN_CONSTRAINT, detail);
        }
    }

    fn of_constraints(&mut self, constraints: &Old<'_>, kind: &TypeConfig, found: &Findings) {
        self.minutes.extend(constraints.number(DURATION).cloned());
        self.lists.extend(LISTS.iter().filter_map(|key| Some((*key, constraints.texts(key)?))));
        let known = [&LISTS[..], &[DURATION]].concat();
        for (key, value) in constraints.others(&known) {
            let clipped = limit::clip(key, limit::QUOTE_BYTES_MAX);
            if kind.inputs.iter().any(|input| input == key) {
                self.inputs.insert(key.to_owned(), value.clone());
            } else if DESCRIBING.contains(&key) {
                found.odd(format!(
                    "`{key}` (at `/constraints/{key}`) has no effect: this node's [dialect] hands it to no plugin (`inputs`)"
                ));
            } else {
                // A limit that is silently ignored is a hole.
                let detail = format!(
                    "`{clipped}` is not a constraint that this node can keep; known here are {}, and what `inputs` of this type in [dialect] hands \
                     to the plugin",
                    known.join(", ")
                );
                found.wrong(constraints.at(&clipped), code::UNKNOWN_CONSTRAINT, detail);
            }
        }
    }
}
