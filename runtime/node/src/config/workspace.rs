//! `[workspace]`: whether workspaces go with their sessions.

use serde::Deserialize;
use sortie_objects::ArtifactConfig;

use super::ConfigError;

/// `[workspace]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorkspaceConfig {
    /// What calls leave in a workspace is kept in the store of `[artifact] shared`, so that a session can go on at another node.
    pub portable: bool,
}

impl WorkspaceConfig {
    /// Whether there is a store for what is to be kept.
    pub(super) fn examine(&self, artifact: &ArtifactConfig) -> Result<(), ConfigError> {
        if self.portable && artifact.shared.is_none() {
            let why = "workspaces are kept in the store that `[artifact] shared` names: name one";
            return Err(ConfigError::value("workspace.portable", why));
        }
        Ok(())
    }
}
