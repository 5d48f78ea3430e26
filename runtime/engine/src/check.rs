//! What only a plugin can know to be wrong with an envelope: by its JSON Schema, and by its own word.
//!
//! Owned here: the compiled schemas, and the memory of briefs that were found well. Never here: what is done about a mistake.

use std::sync::Arc;

use jsonschema::error::ValidationErrorKind;
use parking_lot::Mutex;
use rustc_hash::{FxHashMap, FxHashSet};
use serde_json::Value;
use sortie_contract::digest::Digest;
use sortie_contract::envelope::Envelope;
use sortie_contract::plugin::{Brief, Crash};
use sortie_contract::{Mistake, Pointer, SessionId, limit, unfold};
use sortie_mission::admission::{self, Examination};
use sortie_sandbox::Installed;

use super::Engine;
use super::intake::{DispatchError, brief};

/// Compiled JSON Schemas of plugins' inputs, by the plugin's digest.
#[derive(Default)]
struct InputSchemas(Mutex<FxHashMap<Digest, Compiled>>);

/// `None` where the plugin declares no schema; why it is none, where it declares something else.
type Compiled = Result<Option<Arc<InputSchema>>, String>;

struct InputSchema {
    schema: Value,
    validator: jsonschema::Validator,
}

/// Most looks at inputs of which every mistake is told: the validator gathers all before it tells one, and each look may be one.
const TOLD_LOOKS_MAX: u64 = 50_000;

impl InputSchema {
    /// What is wrong with inputs.
    fn mistakes(&self, inputs: &Value) -> Vec<Mistake> {
        let one = |detail: String| vec![Mistake::new(Pointer::raw("/inputs"), "invalid_inputs", detail)];
        let looks = match unfold::looks(&self.schema, inputs) {
            Ok(looks) => looks,
            Err(why) => return one(format!("cannot be held against the plugin's schema: {why}")),
        };
        if self.validator.is_valid(inputs) {
            return Vec::new();
        }
        if looks > TOLD_LOOKS_MAX {
            return one(
                "do not fit the plugin's schema, and are too large to say where: check them against the schema, or send less".to_owned(),
            );
        }
        let place = |error: &jsonschema::ValidationError<'_>| {
            let place = Pointer::raw(format!("/inputs{}", error.instance_path()));
            match error.kind() {
                // Where it should be.
                ValidationErrorKind::Required { property: Value::String(name) } => place.join(name),
                _ => place,
            }
        };
        let errors = self.validator.iter_errors(inputs).take(limit::MISTAKES_MAX);
        errors.map(|error| Mistake::new(place(&error), "invalid_inputs", error.to_string())).collect()
    }
}

impl InputSchemas {
    fn of(&self, plugin: &Installed) -> Compiled {
        let compile = || {
            let Some(schema) = plugin.manifest.inputs_schema.clone() else { return Ok(None) };
            unfold::bounded(&schema)?;
            let validator = jsonschema::validator_for(&schema).map_err(|error| error.to_string())?;
            Ok(Some(Arc::new(InputSchema { schema, validator })))
        };
        self.0.lock().entry(plugin.identity.digest).or_insert_with(compile).clone()
    }
}

/// What plugins have found nothing wrong with: digests of plugin and brief. A night's missions differ in little more than
/// their ids, and a plugin's answer depends on nothing but the brief.
#[derive(Default)]
struct Checked(Mutex<FxHashSet<Digest>>);

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

/// What is kept of checks.
#[derive(Default)]
pub(crate) struct Checks {
    schemas: InputSchemas,
    known: Checked,
}

impl Engine {
    /// Holds `inputs` against the plugin's JSON Schema.
    fn check_inputs(&self, inputs: &str, plugin: &Installed) -> Vec<Mistake> {
        let schema = match self.checks.schemas.of(plugin) {
            Ok(Some(schema)) => schema,
            Ok(None) => return Vec::new(),
            Err(why) => {
                let detail = format!(
                    "the plugin `{}` declares inputs by what is no JSON Schema for this node: {why}",
                    plugin.identity
                );
                return vec![Mistake::new(Pointer::raw("/inputs"), "plugin_check_failed", detail)];
            }
        };
        let inputs: Value = serde_json::from_str(inputs).expect("the envelope holds valid JSON");
        let models = self.models.list();
        let names: Vec<&str> = models.iter().map(|model| model.name.as_str()).collect();
        let mut mistakes = schema.mistakes(&inputs);
        mistakes.extend(admission::unknown_models(&schema.schema, &inputs, &names));
        mistakes
    }

    /// What the plugin can know to be wrong: by its schema, and by its own word.
    pub(super) async fn check(
        &self,
        envelope: &Envelope,
        plugin: &Installed,
        examination: &mut Examination,
    ) -> Result<(), DispatchError> {
        // A plan is right or wrong whoever's it is: `check` is not told.
        let brief = Brief {
            mission_id: String::new(),
            vp_id: String::new(),
            vp_session_id: String::new(),
            ..brief(envelope, &SessionId::of(&envelope.vp_id))
        };
        let key = Checked::key(&plugin.identity.digest, &brief);
        if self.checks.known.knows(&key) {
            return Ok(());
        }
        let against_schema = self.check_inputs(&brief.inputs, plugin);
        let fits = against_schema.is_empty();
        examination.add(against_schema);
        match self.guests.check(plugin.identity.digest, brief).await {
            Ok(mistakes) if mistakes.is_empty() && fits => self.checks.known.remember(key),
            Ok(mistakes) => examination.add(mistakes),
            // Nothing is known of the envelope, and somebody else may take it.
            Err(_) if self.is_stopping() => return Err(DispatchError::Stopping),
            // It was not made for such inputs, and that is said already.
            Err(_) if !fits => {}
            Err(crash) => examination.add([unchecked(plugin, &crash)]),
        }
        Ok(())
    }
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
    use std::time::{Duration, Instant};

    use serde_json::json;

    use super::*;

    fn mistakes(schema: Value, inputs: &Value) -> Vec<String> {
        let validator = jsonschema::validator_for(&schema).expect("a schema");
        let told = InputSchema { schema, validator }.mistakes(inputs);
        told.into_iter().map(|mistake| format!("{mistake:?}")).collect()
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "what it takes is what is asked")]
    fn a_small_schema_takes_neither_time_nor_memory() {
        let nested = (0..60).fold(json!({}), |inner, _| json!({ "a": inner }));
        let again = json!({ "$ref": "#" });
        let wide = json!({ "prefixItems": vec![json!({ "type": "string" }); 1_000] });
        for (schema, inputs, told) in [
            (json!({ "properties": { "a": { "allOf": [again, again] } } }), nested, "looks"),
            (json!({ "items": { "allOf": vec![json!(false); 100] } }), json!(vec![0; 1_000]), "too large to say where"),
            (json!({ "items": { "allOf": vec![json!(false); 100] } }), json!(vec![0; 100_000]), "looks"),
            (wide, json!(vec![0; 1_000]), "is not of type"),
        ] {
            let begun = Instant::now();
            let all = mistakes(schema, &inputs);
            assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
            assert!(all.len() <= limit::MISTAKES_MAX && all[0].contains(told), "{}", all[0]);
        }
    }
}
