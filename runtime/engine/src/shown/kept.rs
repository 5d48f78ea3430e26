//! How it is shown that a mission is kept.

use schemars::JsonSchema;
use serde::Serialize;
use sortie_contract::Timestamp;
use sortie_journal::Pinned;

/// That a mission is kept, whatever its age.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct KeptView {
    /// Since when.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub since: Timestamp,
    /// The name of the token that was shown.
    pub by: String,
}

impl From<Pinned> for KeptView {
    fn from(Pinned { at, by }: Pinned) -> Self {
        Self { since: at, by }
    }
}
