//! What models answered, as a script that answers the same: from a real run to a test that needs no provider.
//!
//! Owned here: what is written down. Never here: where it is kept. There is no secret in it that was not in the answers: keys were cut
//! out of those, and a plugin that asks has none.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Value, json};
use sortie_contract::money::Spend;
use sortie_contract::tool::CallError;

use crate::line::script::{ENTRIES_MAX, FILE_BYTES_MAX};
use crate::models::{Ask, Completed, Failed, ModelInfo, Models};
use crate::request::Request;

/// Room for what a script has around its entries, in bytes, and for the white space between them.
const AROUND_BYTES: usize = 64 << 10;

/// Models whose answers are written down.
pub struct Recorder {
    models: Arc<dyn Models>,
    recorded: Mutex<Recorded>,
}

#[derive(Debug, Default)]
struct Recorded {
    /// Entries of a script, as texts.
    entries: Vec<String>,
    bytes: usize,
    left_out: usize,
}

impl Recorder {
    /// Writes down what those answer from now on.
    #[must_use]
    pub fn new(models: Arc<dyn Models>) -> Self {
        Self { models, recorded: Mutex::default() }
    }

    /// The script so far, and how many answers it has no room for. Each entry answers once, in the turn of its conversation in which it
    /// was given, with the usage that was counted. Calls that failed are no part of it.
    #[must_use]
    pub fn script(&self) -> (String, usize) {
        let recorded = self.recorded.lock();
        (format!("{{\"answers\": [\n{}\n]}}\n", recorded.entries.join(",\n")), recorded.left_out)
    }

    fn write_down(&self, ask: &Ask<'_>, completed: &Completed) {
        let answer: Value = serde_json::from_str(&completed.answer).unwrap_or_default();
        let turn = Request::parse(ask.request).map_or(0, |request| request.turn());
        let mut usage = json!(completed.usage);
        if let Value::Object(usage) = &mut usage {
            // A script counts, or says nothing.
            usage.remove("estimated");
        }
        let said = json!({ "content": answer["content"], "stop_reason": answer["stop_reason"], "usage": usage });
        let entry = json!({ "when": { "turn": turn }, "times": 1, "answer": said }).to_string();
        let mut recorded = self.recorded.lock();
        let bytes = recorded.bytes + entry.len() + 2;
        let fits = recorded.entries.len() < ENTRIES_MAX && bytes + AROUND_BYTES <= FILE_BYTES_MAX;
        if fits {
            recorded.bytes = bytes;
            recorded.entries.push(entry);
        } else {
            recorded.left_out += 1;
        }
    }
}

#[async_trait]
impl Models for Recorder {
    fn list(&self) -> Vec<ModelInfo> {
        self.models.list()
    }

    fn quote(&self, ask: &Ask<'_>) -> Result<Spend, CallError> {
        self.models.quote(ask)
    }

    async fn complete(&self, ask: &Ask<'_>) -> Result<Completed, Failed> {
        let completed = self.models.complete(ask).await?;
        self.write_down(ask, &completed);
        Ok(completed)
    }
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("recorded", &self.recorded.lock().entries.len()).finish_non_exhaustive()
    }
}
