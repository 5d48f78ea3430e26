//! From `[model.NAME]` to a model that can be called: every rule that the configuration's types cannot say.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use sortie_ambient::Surroundings;
use sortie_contract::envelope::SecretRef;
use sortie_contract::limit;
use sortie_egress::header::{HeaderMap, HeaderName, HeaderValue};
use sortie_egress::{Client, Guard, Limits, may_carry_secrets};
use url::Url;

use crate::config::{ConfigError, MaxTokensKey, ModelConfig, ModelsConfig, Protocol, Thinking};
use crate::line::script::Script;
use crate::line::{Http, KeyHeader};
use crate::models::ModelInfo;
use crate::price::Prices;
use crate::provider::{MaxTokens, Provider};

/// Where OpenAI is.
const OPENAI: &str = "https://api.openai.com/v1";

/// Where Anthropic is.
const ANTHROPIC: &str = "https://api.anthropic.com";

/// The version of Anthropic's protocol that is spoken here.
const ANTHROPIC_VERSION: &str = "2023-06-01";

/// What an image counts at most, unless the configuration says otherwise. OpenAI's small models count one of the largest size as 48,169
/// tokens.
const OPENAI_IMAGE_TOKENS: u32 = 50_000;

/// Anthropic scales an image down until it counts as less than 5,000.
const ANTHROPIC_IMAGE_TOKENS: u32 = 6_000;

/// For one connection: leaves time to try again within a minute.
const CONNECT_TIME_LIMIT: Duration = Duration::from_secs(10);

/// Idle connections that are kept to one provider: calls come in bursts, and a handshake costs more than a socket.
const IDLE_PER_HOST: usize = 16;

/// A model that can be called.
pub(crate) struct Model {
    pub(crate) info: ModelInfo,
    pub(crate) prices: Prices,
    /// The most that an image counts.
    pub(crate) image_tokens: u32,
    pub(crate) timeout: Duration,
    pub(crate) provider: Provider,
    /// Its usage has contradicted itself, and this was told.
    pub(crate) is_odd: AtomicBool,
}

/// All models, by name.
pub(crate) fn models(
    config: &ModelsConfig,
    folder: &Path,
    ambient: &Surroundings,
) -> Result<BTreeMap<String, Model>, ConfigError> {
    if let Some(default) = &config.default
        && !config.models.contains_key(default)
    {
        let known: Vec<&str> = config.models.keys().map(String::as_str).collect();
        let quoted = limit::clip(default, limit::QUOTE_BYTES_MAX);
        let why = format!(
            "there is no [model.{quoted}]; there is {}",
            if known.is_empty() { "none".to_owned() } else { known.join(", ") }
        );
        return Err(ConfigError::Section { key: "default", why });
    }
    let default = config.default.as_ref().or_else(|| config.models.keys().next().filter(|_| config.models.len() == 1));
    let models = config.models.iter().map(|(name, model)| {
        let is_default = default == Some(name);
        Setup { name, config: model }.model(folder, ambient, is_default).map(|model| (name.clone(), model))
    });
    models.collect()
}

struct Setup<'c> {
    name: &'c str,
    config: &'c ModelConfig,
}

impl Setup<'_> {
    fn wrong(&self, key: &'static str, why: impl Into<String>) -> ConfigError {
        ConfigError::Model { name: self.name.to_owned(), key, why: why.into() }
    }

    fn model(&self, folder: &Path, ambient: &Surroundings, is_default: bool) -> Result<Model, ConfigError> {
        let config = self.config;
        self.name()?;
        self.keys_of_others()?;
        self.numbers()?;
        let prices = self.prices()?;
        let (provider, image_tokens) = match config.protocol {
            Protocol::OpenAi => {
                let line = self.http(OPENAI, KeyHeader::Bearer, HeaderMap::new(), ambient)?;
                let max_tokens = match config.max_tokens_key {
                    Some(key) => MaxTokens::fixed(key),
                    None => MaxTokens::learned(likely_key(&line.base)),
                };
                (Provider::OpenAi { line, max_tokens }, OPENAI_IMAGE_TOKENS)
            }
            Protocol::Anthropic => {
                let version = HeaderValue::from_static(ANTHROPIC_VERSION);
                let headers = HeaderMap::from_iter([(HeaderName::from_static("anthropic-version"), version)]);
                let line = self.http(ANTHROPIC, KeyHeader::ApiKey, headers, ambient)?;
                let thinking = config.thinking.unwrap_or(Thinking::Adaptive);
                (Provider::Anthropic { line, thinking }, ANTHROPIC_IMAGE_TOKENS)
            }
            Protocol::Scripted => {
                let file = config
                    .file
                    .as_ref()
                    .ok_or_else(|| self.wrong("file", "must be there: the file with the answers"))?;
                let script =
                    Script::read(&folder.join(file), ambient.clone()).map_err(|why| self.wrong("file", why))?;
                (Provider::Scripted(script), 0)
            }
        };
        let model = match (&config.model, config.protocol) {
            (Some(model), _) if !model.trim().is_empty() => model.clone(),
            (None, Protocol::Scripted) => self.name.to_owned(),
            _ => return Err(self.wrong("model", "must be there: what the provider calls the model")),
        };
        let info = ModelInfo {
            name: self.name.to_owned(),
            protocol: config.protocol,
            model,
            context_tokens: config.context,
            max_output_tokens: config.max_output_tokens,
            takes_tools: config.tools.unwrap_or(true),
            takes_images: config.images.unwrap_or(true),
            takes_schemas: config.schemas.unwrap_or(config.protocol != Protocol::Anthropic),
            prices: prices.shown(),
            is_default,
        };
        let image_tokens = config.image_tokens.unwrap_or(image_tokens);
        Ok(Model { info, prices, image_tokens, timeout: config.timeout, provider, is_odd: AtomicBool::new(false) })
    }

    fn name(&self) -> Result<(), ConfigError> {
        let is_plain = |c: char| !c.is_control() && !c.is_whitespace();
        if self.name.is_empty() || self.name.len() > limit::ID_BYTES_MAX || !self.name.chars().all(is_plain) {
            let why = format!("the name of a model has 1 to {} bytes and no white space", limit::ID_BYTES_MAX);
            return Err(self.wrong("protocol", why));
        }
        Ok(())
    }

    /// A setting that is silently ignored is a hole.
    fn keys_of_others(&self) -> Result<(), ConfigError> {
        let config = self.config;
        let remote: &[Protocol] = &[Protocol::OpenAi, Protocol::Anthropic];
        let rules: [(&'static str, bool, &[Protocol]); 8] = [
            ("base_url", config.base_url.is_some(), remote),
            ("key", config.key.is_some(), remote),
            ("allow_private", !config.allow_private.is_empty(), remote),
            ("image_tokens", config.image_tokens.is_some(), remote),
            ("tokenizer", config.tokenizer.is_some(), remote),
            ("file", config.file.is_some(), &[Protocol::Scripted]),
            ("max_tokens_key", config.max_tokens_key.is_some(), &[Protocol::OpenAi]),
            ("thinking", config.thinking.is_some(), &[Protocol::Anthropic]),
        ];
        match rules.iter().find(|(_, is_set, of)| *is_set && !of.contains(&config.protocol)) {
            None => Ok(()),
            Some((key, _, of)) => {
                let of: Vec<&str> = of.iter().map(|protocol| protocol.name()).collect();
                Err(self.wrong(key, format!("is a key of the protocol {} only", of.join(" and "))))
            }
        }
    }

    fn numbers(&self) -> Result<(), ConfigError> {
        let config = self.config;
        let positive = [
            ("max_output_tokens", config.max_output_tokens > 0),
            ("timeout", !config.timeout.is_zero()),
            ("context", config.context != Some(0)),
        ];
        if let Some((key, _)) = positive.into_iter().find(|(_, holds)| !holds) {
            return Err(self.wrong(key, "must be more than zero"));
        }
        match config.tokenizer.as_deref() {
            None | Some("bytes") => Ok(()),
            Some(_) => {
                let why = "this version counts \"bytes\", of which there are never fewer than tokens; write that, or leave the key out";
                Err(self.wrong("tokenizer", why))
            }
        }
    }

    fn prices(&self) -> Result<Prices, ConfigError> {
        match (self.config.price_usd_per_mtok, self.config.free) {
            (Some(prices), false) => {
                Prices::new(prices).map_err(|why| self.wrong("price_usd_per_mtok", why.to_string()))
            }
            (None, true) => Ok(Prices::FREE),
            (Some(_), true) => Err(self.wrong("free", "stands beside price_usd_per_mtok: remove one of both")),
            (None, false) => {
                let why = "must be there, such as { input = 3, output = 15, cached_input = 0.3 }; or `free = true` for a model that costs \
                           nothing";
                Err(self.wrong("price_usd_per_mtok", why))
            }
        }
    }

    fn http(
        &self,
        default: &str,
        key_header: KeyHeader,
        headers: HeaderMap,
        ambient: &Surroundings,
    ) -> Result<Http, ConfigError> {
        let config = self.config;
        let base = self.base_url(config.base_url.as_deref().unwrap_or(default))?;
        let guard = Guard::new(&config.allow_private, "the model's allow_private")
            .map_err(|why| self.wrong("allow_private", why.to_string()))?;
        guard.literal(&base).map_err(|refused| self.wrong("base_url", refused.to_string()))?;
        let key = config.key.as_deref().map(|key| {
            // What stands there may be the key itself.
            let why = "must be a reference to the key, env://NAME or file:///PATH, and never the key itself";
            key.parse::<SecretRef>().map_err(|_| self.wrong("key", why))
        });
        let key = key.transpose()?;
        if key.is_some() && !may_carry_secrets(&base, !self.config.allow_private.is_empty()) {
            let why = "the key would travel in the clear: write https://, or list the provider's address in allow_private if it is inside";
            return Err(self.wrong("base_url", why));
        }
        let limits = Limits { connect_timeout: CONNECT_TIME_LIMIT, idle_per_host: IDLE_PER_HOST, decompress: true };
        let client = Client::new(guard, limits);
        Ok(Http { client, base, key, key_header, headers, ambient: ambient.clone() })
    }

    fn base_url(&self, text: &str) -> Result<Url, ConfigError> {
        let wrong = |why: &str| Err(self.wrong("base_url", why));
        let Ok(mut url) = Url::parse(text) else {
            return wrong("must be an address such as https://api.openai.com/v1");
        };
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return wrong("must begin with https://, or with http:// for a server inside, and a host");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return wrong("must not hold credentials: name the key as `key`");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return wrong("must end with its path: what follows is put behind it");
        }
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        Ok(url)
    }
}

/// OpenAI's newer models take the newer name only; other servers may take the newer one for nothing, and write without a bound.
fn likely_key(base: &Url) -> MaxTokensKey {
    let host = base.host_str().unwrap_or_default();
    if host == "api.openai.com" || host.ends_with(".openai.azure.com") {
        MaxTokensKey::MaxCompletionTokens
    } else {
        MaxTokensKey::MaxTokens
    }
}

#[cfg(test)]
#[path = "setup_tests.rs"]
mod tests;
