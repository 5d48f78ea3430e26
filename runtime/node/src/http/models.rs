//! Models over HTTP: what there is and what it costs, and what a request and an answer look like.

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use sortie_contract::Timestamp;
use sortie_engine::Held;
use sortie_models::{ModelInfo, answer_schema, request_schema};

use super::App;
use super::query::NoParameters;

/// The models of a node.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct ModelsView {
    /// Those of the configuration, in the order of their names.
    items: Vec<ModelView>,
    /// Always null: all of them are on this page.
    next_cursor: Option<String>,
}

/// A model.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct ModelView {
    /// Its name in the configuration: what a request names.
    name: String,
    /// How its provider is spoken to: `openai`, `anthropic` or `scripted`.
    protocol: &'static str,
    /// What its provider calls it.
    model: String,
    /// How much it can read and write in all, in tokens, where that is known.
    context_tokens: Option<u32>,
    /// The most that it writes in one answer, in tokens.
    max_output_tokens: u32,
    /// Whether it can ask for tools.
    takes_tools: bool,
    /// Whether it sees images.
    takes_images: bool,
    /// Whether its provider holds it to a schema; the node checks in either case.
    takes_schemas: bool,
    /// What it costs, in US dollars for a million tokens.
    price_usd_per_mtok: PriceView,
    /// Whether it answers requests that name no model.
    is_default: bool,
    /// What answers of it have cost since the node started, in US dollars.
    cost_usd: f64,
    /// How many answers that were.
    llm_calls: u64,
    /// That its provider refuses for now, and missions wait for it; null where none does.
    held: Option<HeldView>,
}

/// Missions that wait for a provider which refuses for now.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct HeldView {
    /// How many.
    missions: usize,
    /// When the first of them asks again.
    #[schemars(with = "String", extend("format" = "date-time"))]
    until: Timestamp,
    /// What the provider said to that one.
    why: String,
}

impl HeldView {
    /// Of those that wait for a model.
    fn of(held: &[Held], name: &str) -> Option<Self> {
        let mine = || held.iter().filter(|held| held.model() == Some(name));
        let first = mine().min_by_key(|held| held.until)?;
        Some(Self { missions: mine().count(), until: first.until, why: first.why.clone() })
    }
}

/// Prices in US dollars for a million tokens.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct PriceView {
    /// What is read.
    input: f64,
    /// What is written.
    output: f64,
    /// What is read and was in the provider's cache.
    cached_input: f64,
}

/// `GET /v1/models`
pub(super) async fn list(State(app): State<App>, _: NoParameters) -> Json<ModelsView> {
    let (spent, held) = (app.engine.spending().by_model(), app.engine.held());
    let view = |info: ModelInfo| {
        let of = spent.iter().find(|(name, _)| *name == info.name).map(|(_, spent)| *spent).unwrap_or_default();
        ModelView {
            protocol: info.protocol.name(),
            model: info.model,
            context_tokens: info.context_tokens,
            max_output_tokens: info.max_output_tokens,
            takes_tools: info.takes_tools,
            takes_images: info.takes_images,
            takes_schemas: info.takes_schemas,
            price_usd_per_mtok: PriceView {
                input: info.prices.input,
                output: info.prices.output,
                cached_input: info.prices.cached_input,
            },
            is_default: info.is_default,
            cost_usd: of.cost.as_usd(),
            llm_calls: of.llm_calls,
            held: HeldView::of(&held, &info.name),
            name: info.name,
        }
    };
    Json(ModelsView { items: app.engine.models().list().into_iter().map(view).collect(), next_cursor: None })
}

/// `GET /schemas/model-request.json`
pub(super) async fn request() -> Json<Value> {
    Json(request_schema())
}

/// `GET /schemas/model-answer.json`
pub(super) async fn answer() -> Json<Value> {
    Json(answer_schema())
}
