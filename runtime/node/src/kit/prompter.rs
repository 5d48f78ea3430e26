//! Models of a case: scripted ones as a node has them, remembered over all lives, and each call can be made to fail.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Value, json};
use sortie_ambient::Surroundings;
use sortie_contract::money::Spend;
use sortie_contract::tool::CallError;
use sortie_models::{Ask, Completed, Configured, Failed, ModelConfig, ModelInfo, Models, ModelsConfig, Protocol};

use super::case::Case;
use super::stage::{Stage, injected};

/// What a model is called that a case gives no name.
const NAME: &str = "scripted";

/// The models of a case.
pub(super) struct Prompter {
    script: Configured,
    stage: Arc<Stage>,
    /// By the key of a call: another attempt at it is answered alike.
    said: Mutex<BTreeMap<String, Result<Completed, Failed>>>,
}

impl Prompter {
    /// `folder` takes the scripts.
    pub(super) fn new(case: &Case, folder: &Path, ambient: Surroundings, stage: Arc<Stage>) -> Result<Self, String> {
        let mut config = ModelsConfig::default();
        let named = |entry: &Value| entry["name"].as_str().unwrap_or(NAME).to_owned();
        let names: BTreeSet<String> = case.models.iter().map(named).collect();
        for name in &names {
            let entries = case.models.iter().filter(|entry| named(entry) == *name).cloned();
            let answers: Vec<Value> = entries.map(without_name).collect();
            let file = folder.join(format!("model-{}.json", config.models.len()));
            std::fs::write(&file, json!({ "answers": answers }).to_string()).map_err(|error| error.to_string())?;
            let model = ModelConfig { file: Some(file), free: true, ..ModelConfig::new(Protocol::Scripted) };
            config.models.insert(name.clone(), model);
        }
        // Whoever asks for none gets the one that the case names first.
        config.default = case.models.first().map(named);
        let script = Configured::new(&config, folder, ambient).map_err(|error| format!("[[model]]: {error}"))?;
        Ok(Self { script, stage, said: Mutex::default() })
    }
}

fn without_name(mut entry: Value) -> Value {
    if let Some(fields) = entry.as_object_mut() {
        fields.remove("name");
    }
    entry
}

#[async_trait]
impl Models for Prompter {
    fn list(&self) -> Vec<ModelInfo> {
        self.script.list()
    }

    fn quote(&self, ask: &Ask<'_>) -> Result<Spend, CallError> {
        self.script.quote(ask)
    }

    async fn complete(&self, ask: &Ask<'_>) -> Result<Completed, Failed> {
        let what = || sortie_contract::limit::clip(&format!("model {}", last_words(ask.request)), SHOWN_BYTES_MAX);
        if self.stage.turn(ask.idempotency_key, what) {
            return Err(Failed { error: injected("model"), spent: Some(Spend::NOTHING), hold: None });
        }
        let before = self.said.lock().get(ask.idempotency_key).cloned();
        if let Some(said) = before {
            return said;
        }
        let said = self.script.complete(ask).await;
        self.said.lock().insert(ask.idempotency_key.to_owned(), said.clone());
        said
    }
}

/// How much of a call's words is shown, in bytes.
const SHOWN_BYTES_MAX: usize = 160;

/// The last message of a request, for people: its text, or what is there in place of one.
fn last_words(request: &str) -> String {
    let request: Value = serde_json::from_str(request).unwrap_or_default();
    let last = request["messages"].as_array().and_then(|messages| messages.last());
    match last.map(|message| &message["content"]) {
        None => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(blocks)) if blocks.iter().all(|block| block["text"].is_string()) => {
            blocks.iter().filter_map(|block| block["text"].as_str()).collect::<Vec<_>>().join("\n")
        }
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_of_a_request_are_its_text() {
        for (content, expected) in [
            (json!("Sum up\nthis"), "Sum up\nthis"),
            (json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]), "a\nb"),
            (json!([{"type": "tool_result", "content": "c"}]), r#"[{"type":"tool_result","content":"c"}]"#),
        ] {
            let request =
                json!({ "messages": [{ "role": "user", "content": "first" }, { "role": "user", "content": content }] });
            assert_eq!(last_words(&request.to_string()), expected);
        }
        assert_eq!(last_words("{}"), "");
    }
}
