//! The provider that is always there: the tools that this version has built in, as the configuration has them.
//!
//! It never fails and never changes, so nobody needs to connect it. What a tool does is in `files`, `web` and `bash`.

use std::future::pending;
use std::sync::Arc;

use async_trait::async_trait;
use sortie_egress::NamedSecrets;

use crate::bash::{Bash, Confinement, Shell};
use crate::config::{ConfigError, ToolConfig, ToolsConfig};
use crate::files::{Edit, Glob, Grep, Read, Write};
use crate::provider::{Changed, Offer, Provider, ProviderError};
use crate::secrets::SecretsConfig;
use crate::tool::Tool;
use crate::web::{HttpRequest, WebFetch, WebSearch};

/// Makes a tool, or none where the configuration does not say enough for it.
type Make = fn(&ToolConfig, &Arc<NamedSecrets>) -> Result<Option<Arc<dyn Tool>>, ConfigError>;

/// The tool that is not there unless it is enabled, and that needs more than its section to be made.
const BASH: &str = "Bash";

/// What this version has beside it, in the order in which it is listed.
const BUILT_IN: [(&str, Make); 8] = [
    ("Read", |config, _| there(Read::new(config))),
    ("Write", |config, _| there(Write::new(config))),
    ("Edit", |config, _| there(Edit::new(config))),
    ("Glob", |config, _| there(Glob::new(config))),
    ("Grep", |config, _| there(Grep::new(config))),
    ("WebFetch", |config, _| there(WebFetch::new(config)?)),
    ("HttpRequest", |config, secrets| there(HttpRequest::new(config, secrets.clone())?)),
    ("WebSearch", |config, _| Ok(WebSearch::new(config)?.map(|tool| Arc::new(tool) as Arc<dyn Tool>))),
];

fn there(tool: impl Tool) -> Result<Option<Arc<dyn Tool>>, ConfigError> {
    Ok(Some(Arc::new(tool)))
}

/// See the module.
#[derive(Default)]
pub struct BuiltIn(Vec<Arc<dyn Tool>>);

impl BuiltIn {
    /// What it is called.
    pub const NAME: &str = "built-in";

    /// The built-in tools as the configuration has them, but for `Bash`, which needs a [`Shell`]. One that it disables, or says too
    /// little for, is not there at all.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub fn new(config: ToolsConfig) -> Result<Self, ConfigError> {
        Self::with_secrets(config, &SecretsConfig::default())
    }

    /// The same, with the secrets that requests may name.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub fn with_secrets(config: ToolsConfig, secrets: &SecretsConfig) -> Result<Self, ConfigError> {
        let secrets = secrets.named()?;
        let mut known = BUILT_IN.map(|(name, _)| name).to_vec();
        known.push(BASH);
        config.check(&known)?;
        let ToolsConfig(mut sections) = config;
        let mut tools = Vec::new();
        for (name, make) in BUILT_IN {
            let config = sections.remove(name).unwrap_or_default();
            if config.enabled != Some(false) {
                tools.extend(make(&config, &secrets)?);
            }
        }
        Ok(Self(tools))
    }

    /// The same with `Bash`, where it is enabled and has shown that it is confined here; and what confines it.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub async fn with_shell(
        config: ToolsConfig,
        secrets: &SecretsConfig,
        shell: Shell,
    ) -> Result<(Self, Option<Confinement>), ConfigError> {
        let bash = config.0.get(BASH).cloned().unwrap_or_default();
        let mut built_in = Self::with_secrets(config, secrets)?;
        let Some((bash, confinement)) = Bash::at_start(&bash, shell).await? else { return Ok((built_in, None)) };
        built_in.0.push(Arc::new(bash));
        Ok((built_in, Some(confinement)))
    }

    /// These tools and no others, of whoever puts a driver together otherwise than a node does.
    #[must_use]
    pub fn of(tools: Vec<Arc<dyn Tool>>) -> Self {
        Self(tools)
    }

    /// What it has, at once.
    pub(crate) fn offer(&self) -> Offer {
        Offer::of("", self.0.clone())
    }
}

#[async_trait]
impl Provider for BuiltIn {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn prefix(&self) -> &str {
        ""
    }

    async fn connect(&self) -> Result<(), ProviderError> {
        Ok(())
    }

    async fn tools(&self) -> Result<Vec<Arc<dyn Tool>>, ProviderError> {
        Ok(self.0.clone())
    }

    async fn health(&self) -> Result<(), ProviderError> {
        Ok(())
    }

    async fn changed(&self) -> Changed {
        pending().await
    }

    async fn close(&self) {}
}
