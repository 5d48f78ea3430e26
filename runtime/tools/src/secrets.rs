//! `[secret.NAME]` of the configuration: secrets that a request may name, each with the hosts that it is meant for. Plain data, and which
//! of what the tools need has no value right now; where one is put in and taken out again is `sortie-egress`'s.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use sortie_contract::envelope::SecretRef;
use sortie_egress::{NamedSecretError, NamedSecrets, SecretError, usable};

use crate::config::{ConfigError, ToolsConfig};

/// Every `[secret.NAME]` section, by name.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct SecretsConfig(pub BTreeMap<String, SecretConfig>);

/// One `[secret.NAME]` section.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretConfig {
    /// Where it is: `env://NAME` or `file:///PATH`.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Where it may be sent, as the hosts of `[[callback.secret]]`.
    pub hosts: Vec<String>,
}

impl SecretsConfig {
    /// As requests use them.
    ///
    /// # Errors
    /// [`ConfigError::Secret`]
    pub fn named(&self) -> Result<Arc<NamedSecrets>, ConfigError> {
        let listed = self.0.iter().map(|(name, secret)| (name, &secret.reference, secret.hosts.as_slice()));
        Ok(Arc::new(NamedSecrets::new(listed)?))
    }

    /// Those that have no usable value right now, for whoever examines a node, by the place that names them; the keys of tools too.
    ///
    /// # Errors
    /// [`ConfigError::Secret`]
    pub async fn unavailable(&self, tools: &ToolsConfig) -> Result<Vec<(String, SecretRef, SecretError)>, ConfigError> {
        let mut found = self.named()?.unavailable().await;
        for (name, ..) in &mut found {
            *name = format!("[secret.{name}]");
        }
        for (name, tool) in tools.0.iter().filter(|(_, tool)| tool.enabled != Some(false)) {
            // One that is no reference is told where the tools are set up.
            let Some(Ok(reference)) = tool.key.as_ref().map(|key| key.parse::<SecretRef>()) else { continue };
            if let Err(error) = usable(&reference).await {
                found.push((format!("[tool.{name}] key"), reference, error));
            }
        }
        Ok(found)
    }
}

impl From<NamedSecretError> for ConfigError {
    fn from(error: NamedSecretError) -> Self {
        Self::Secret(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_missing_is_told_by_the_place_that_names_it() {
        let secrets: SecretsConfig =
            serde_json::from_str(r#"{"forge": {"ref": "env://SORTIE_NO_SUCH_VARIABLE", "hosts": ["api.example"]}}"#)
                .unwrap();
        let tools: ToolsConfig =
            serde_json::from_str(r#"{"WebSearch": {"provider": "brave", "key": "file:///not/there"}, "Read": {}}"#)
                .unwrap();
        let missing = secrets.unavailable(&tools).await.unwrap();
        let places: Vec<&str> = missing.iter().map(|(place, ..)| place.as_str()).collect();
        assert_eq!(places, ["[secret.forge]", "[tool.WebSearch] key"]);
        let error =
            serde_json::from_str::<SecretsConfig>(r#"{"a": {"ref": "s3cr3t", "hosts": ["a.example"]}}"#).unwrap();
        let error = error.named().unwrap_err();
        let told = format!("{error} {error:?} {:?}", std::error::Error::source(&error).map(ToString::to_string));
        assert!(told.contains("[secret.a]") && !told.contains("s3cr3t"), "{told}");
        assert!(serde_json::from_str::<SecretsConfig>(r#"{"a": {"ref": "env://A", "hosts": [], "host": 1}}"#).is_err());
    }
}
