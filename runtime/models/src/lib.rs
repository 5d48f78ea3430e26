//! What a model answers, and what that costs.
//!
//! The crate turns a plugin's request into one of a provider, sends it, and turns what comes back into an answer with its price. In
//! the order of a call:
//!
//! 1. [`Configured::new`] from the configuration, once.
//! 2. [`artifacts_of`] and [`with_artifacts`], where a request shows artifacts: what they hold is put in their place.
//! 3. [`Models::quote`]: the most that a call can cost, to be set aside.
//! 4. [`Models::complete`]: the call itself, with a minute of retries, and one more round where the answer does not fit the schema
//!    that was asked for. It says what it did cost, however it ends.
//!
//! What it promises: a provider that counts honestly never bills more than was quoted; one that does not say what it counted is taken
//! to have counted the most that it can have. Keys are read for each request, go to the host of their model and no other, and stand in
//! no answer, error or log line, even where a provider repeats them. Every body, list and wait is bounded.
//!
//! It never decides who may call a model, which budget pays, or whether a call that its provider refuses for now is worth waiting for
//! ([`Hold`]). It knows no missions beside their ids, stores nothing, and reads no clock: time comes from `sortie-ambient`, the network
//! from `sortie-egress`.

mod answer;
mod config;
mod configured;
mod hint;
mod line;
mod models;
mod names;
mod price;
mod protocol;
mod provider;
mod recorder;
mod request;
mod retry;
mod schema;
mod setup;
mod structured;

pub use answer::{Answer, StopReason, Usage};
pub use config::{ConfigError, HOLD_MAX, MaxTokensKey, ModelConfig, ModelsConfig, PriceConfig, Protocol, Thinking};
pub use configured::{Configured, Health};
pub use models::{Ask, Completed, Failed, Hold, ModelInfo, Models, PriceInfo};
pub use recorder::Recorder;
pub use request::{Block, Effort, Image, MediaType, Part, Role, artifacts_of, with_artifacts};
pub use schema::{answer_schema, request_schema};
