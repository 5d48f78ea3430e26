//! How it is shown what a data folder takes.

use schemars::JsonSchema;
use serde::Serialize;
use sortie_contract::Timestamp;

/// What a data folder takes on its disk, by kind, in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct SpaceView {
    /// When it was looked.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub measured_at: Timestamp,
    /// The journal and its mark.
    pub journal: u64,
    /// What missions left behind.
    pub artifacts: u64,
    /// The files of sessions.
    pub workspaces: u64,
    /// Builds of plugins.
    pub plugins: u64,
    /// Their compiled code, which is made again where it is not there.
    pub compiled: u64,
    /// Room that is held for the journal.
    pub reserve: u64,
    /// Copies of the journal for backups that are taken, and restores that are under way or were broken off.
    pub backups: u64,
    /// What restores have moved aside: an operator removes it.
    pub moved_aside: u64,
    /// Whatever else lies there.
    pub other: u64,
}

impl SpaceView {
    /// Each kind, by its name.
    #[must_use]
    pub fn kinds(&self) -> [(&'static str, u64); 9] {
        [
            ("journal", self.journal),
            ("artifacts", self.artifacts),
            ("workspaces", self.workspaces),
            ("plugins", self.plugins),
            ("compiled", self.compiled),
            ("reserve", self.reserve),
            ("backups", self.backups),
            ("moved_aside", self.moved_aside),
            ("other", self.other),
        ]
    }
}
