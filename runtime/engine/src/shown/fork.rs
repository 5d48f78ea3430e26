//! How a fork is shown.

use schemars::JsonSchema;
use serde::Serialize;
use sortie_contract::envelope::ForkedFrom;

/// Where a fork comes from.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, rename = "ForkedFrom")]
pub struct ForkedView {
    /// The mission whose record it begins with; it may have been removed since.
    pub mission_id: String,
    /// Up to and with this call its record was to be taken over.
    pub at: u32,
    /// So many calls were taken over: those that its plugin makes again. Behind them it goes on for real.
    pub calls: u32,
    /// So many records behind the first tell of them.
    pub records: u32,
    /// The call at which its plugin, its inputs or its build left the record; null where it keeps to it.
    pub diverged_at: Option<u32>,
}

impl From<&ForkedFrom> for ForkedView {
    fn from(from: &ForkedFrom) -> Self {
        let ForkedFrom { mission_id, at, calls, records, diverged_at, root: _, asked: _ } = from;
        let (at, calls, records, diverged_at) = (*at, *calls, *records, *diverged_at);
        Self { mission_id: mission_id.to_string(), at, calls, records, diverged_at }
    }
}

impl ForkedView {
    /// The same in a sentence.
    #[must_use]
    pub fn says(&self) -> String {
        let Self { mission_id, at, calls, diverged_at, .. } = self;
        let parts = diverged_at.map_or(String::new(), |at| format!(", whose record its plugin leaves at call {at}"));
        match (calls, at) {
            (0, 0) => format!("it is a fork of {mission_id} that began anew"),
            (0, _) => format!("it is a fork of {mission_id}{parts}: it began anew"),
            _ => {
                format!("it is a fork of {mission_id}{parts}: its calls up to {calls} are as they are on record there")
            }
        }
    }
}
