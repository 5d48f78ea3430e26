//! `[model]` of the configuration: which models there are, how their providers are reached, what they cost. Plain data;
//! [`crate::Configured::new`] checks it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// The longest that a call is held unless `[model] hold_max` says otherwise: the rest of a night.
pub const HOLD_MAX: Duration = Duration::from_secs(6 * 60 * 60);

/// The longest that an answer may take unless a model's `timeout` says otherwise: what reasons at length takes minutes.
const TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// The most that a model writes in one answer unless the configuration says otherwise, in tokens: a long file, and all that many models
/// can.
const MAX_OUTPUT_TOKENS: u32 = 8_192;

/// `[model]`, with its `[model.NAME]`.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelsConfig {
    /// The model of requests that name none. Without it: the only one that there is.
    pub default: Option<String>,
    /// The longest that a call waits for its provider's limit; then it fails.
    pub hold_max: Duration,
    /// `[model.NAME]`, by name.
    pub models: BTreeMap<String, ModelConfig>,
}

impl Default for ModelsConfig {
    fn default() -> Self {
        Self { default: None, hold_max: HOLD_MAX, models: BTreeMap::new() }
    }
}

/// `[model.NAME]`. Durations are texts such as `"10m"`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table [model.NAME]; the keys of [model] itself are `default` and `hold_max`"
)]
pub struct ModelConfig {
    /// How the provider is spoken to.
    pub protocol: Protocol,
    /// Where it is. `openai`: what `/chat/completions` follows (default `https://api.openai.com/v1`); `anthropic`: what `/v1/messages`
    /// follows (default `https://api.anthropic.com`).
    pub base_url: Option<String>,
    /// What the provider calls the model. Needed, but for `scripted`.
    pub model: Option<String>,
    /// The key: `env://NAME` or `file:///PATH`. Read for each request.
    pub key: Option<String>,
    /// Prices in US dollars for a million tokens.
    pub price_usd_per_mtok: Option<PriceConfig>,
    /// Costs nothing, and has no prices for that.
    #[serde(default)]
    pub free: bool,
    /// How input is counted before a call: `bytes`, of which there are never fewer than tokens.
    pub tokenizer: Option<String>,
    /// How much it can read and write in all, in tokens: no quote counts more input.
    pub context: Option<u32>,
    /// `scripted` only: the file with the answers.
    pub file: Option<PathBuf>,
    /// Addresses and networks that may be reached although they are not public.
    #[serde(default)]
    pub allow_private: Vec<String>,
    /// The most that it writes in one answer, in tokens: the default of a request's `max_tokens`, and its maximum.
    #[serde(default = "max_output_tokens")]
    pub max_output_tokens: u32,
    /// The longest that an answer may take, to its last byte.
    #[serde(default = "timeout", deserialize_with = "sortie_contract::duration::deserialize")]
    pub timeout: Duration,
    /// `openai` only: what the provider calls the bound of an answer. Default: `max_completion_tokens` at openai.com, `max_tokens`
    /// elsewhere; where the provider refuses the one by name, the other is sent.
    pub max_tokens_key: Option<MaxTokensKey>,
    /// `anthropic` only: how a request's `reasoning` is asked for. `adaptive` (the default) where the model decides how much, `budget` for
    /// models that want a number of tokens.
    pub thinking: Option<Thinking>,
    /// Whether it can ask for tools. Default: yes.
    pub tools: Option<bool>,
    /// Whether it sees images. Default: yes.
    pub images: Option<bool>,
    /// Whether the provider holds an answer to a JSON Schema. Default: yes for `openai`, no for `anthropic`, where the model is told.
    pub schemas: Option<bool>,
    /// The most that the provider counts for an image, in tokens. Default: 50000 for `openai` (the dearest of its models come near it),
    /// 6000 for `anthropic`.
    pub image_tokens: Option<u32>,
}

fn max_output_tokens() -> u32 {
    MAX_OUTPUT_TOKENS
}

fn timeout() -> Duration {
    TIMEOUT
}

impl ModelConfig {
    /// A model of that protocol, of which nothing else is said.
    #[must_use]
    pub fn new(protocol: Protocol) -> Self {
        Self {
            protocol,
            base_url: None,
            model: None,
            key: None,
            price_usd_per_mtok: None,
            free: false,
            tokenizer: None,
            context: None,
            file: None,
            allow_private: Vec::new(),
            max_output_tokens: MAX_OUTPUT_TOKENS,
            timeout: TIMEOUT,
            max_tokens_key: None,
            thinking: None,
            tools: None,
            images: None,
            schemas: None,
            image_tokens: None,
        }
    }
}

/// How a provider is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Chat completions, as OpenAI has them and most local servers.
    OpenAi,
    /// Messages, as Anthropic has them.
    Anthropic,
    /// Answers from a file; nobody is asked.
    Scripted,
}

impl Protocol {
    /// Its name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::Scripted => "scripted",
        }
    }
}

/// What a provider of chat completions calls the bound of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaxTokensKey {
    /// The older name, which most servers know.
    MaxTokens,
    /// The newer one, of OpenAI's models that reason.
    MaxCompletionTokens,
}

/// How a model of Anthropic is asked to reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Thinking {
    /// By an effort.
    Adaptive,
    /// By a number of tokens.
    Budget,
}

/// Prices in US dollars for a million tokens, exact to six digits behind the point.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceConfig {
    /// What is read.
    pub input: f64,
    /// What is written.
    pub output: f64,
    /// What is read and was in the provider's cache. Default: as `input`.
    pub cached_input: Option<f64>,
}

impl<'de> Deserialize<'de> for ModelsConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Section)
    }
}

/// Reads `[model]`, in which keys of its own stand beside the names of models: not by serde's `flatten`, whose errors tell no place.
struct Section;

impl<'de> Visitor<'de> for Section {
    type Value = ModelsConfig;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of models, [model.NAME]")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ModelsConfig, A::Error> {
        let mut config = ModelsConfig::default();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "default" => config.default = Some(map.next_value()?),
                "hold_max" => config.hold_max = map.next_value::<Span>()?.0,
                _ => {
                    let model = map.next_value()?;
                    if config.models.insert(key.clone(), model).is_some() {
                        return Err(de::Error::custom(format_args!("[model.{key}] is there twice")));
                    }
                }
            }
        }
        Ok(config)
    }
}

/// A duration as an operator writes it.
#[derive(Deserialize)]
#[serde(transparent)]
struct Span(#[serde(deserialize_with = "sortie_contract::duration::deserialize")] Duration);

/// What is wrong with `[model]`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A key of `[model]` itself.
    #[error("model.{key}: {why}")]
    Section {
        /// Which.
        key: &'static str,
        /// What is wrong, and what would be right.
        why: String,
    },
    /// A key of a model.
    #[error("model.{name}.{key}: {why}")]
    Model {
        /// The model.
        name: String,
        /// Which key.
        key: &'static str,
        /// What is wrong, and what would be right. Never what stands there where that may be a secret.
        why: String,
    },
}
