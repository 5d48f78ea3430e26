//! The models of a configuration.

use std::path::Path;

use async_trait::async_trait;
use sortie_ambient::Surroundings;
use sortie_contract::money::Spend;
use sortie_contract::tool::CallError;

use crate::config::{ConfigError, ModelsConfig};
use crate::models::{Ask, Completed, Failed, ModelInfo, Models};

/// The models of a configuration.
pub struct Configured {
    _ambient: Surroundings,
}

/// How a model is, as far as can be said without paying for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It answers.
    Well,
    /// It answers, and something is odd.
    Doubtful(String),
    /// No call of it would succeed.
    Ill(String),
}

impl Configured {
    /// Models as configured. `folder` is where relative names of files begin.
    ///
    /// # Errors
    /// [`ConfigError`], with the place.
    pub fn new(config: &ModelsConfig, folder: &Path, ambient: Surroundings) -> Result<Self, ConfigError> {
        let _ = (config, folder);
        Ok(Self { _ambient: ambient })
    }

    /// How a model is: asks its provider something that costs nothing. `None`: there is no such model.
    pub async fn check(&self, name: &str) -> Option<Health> {
        let _ = name;
        None
    }
}

#[async_trait]
impl Models for Configured {
    fn list(&self) -> Vec<ModelInfo> {
        Vec::new()
    }

    fn quote(&self, ask: &Ask<'_>) -> Result<Spend, CallError> {
        crate::request::Request::parse(ask.request)?;
        Err(CallError::Failed("no model is configured".to_owned()))
    }

    async fn complete(&self, ask: &Ask<'_>) -> Result<Completed, Failed> {
        let error = self.quote(ask).expect_err("there is no model");
        Err(Failed { error, spent: Some(Spend::NOTHING), hold: None })
    }
}
