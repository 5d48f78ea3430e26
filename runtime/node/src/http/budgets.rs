//! Budgets that are wider than one mission, over HTTP.

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;
use sortie_contract::{Spend, Timestamp};
use sortie_mission::wider::{SharedOut, Standing};

use super::App;
use super::query::NoParameters;

/// The budgets of a node that are wider than one mission.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct BudgetsView {
    /// Those of the configuration, in its order.
    items: Vec<WiderView>,
    /// Always null: all of them are on this page.
    next_cursor: Option<String>,
}

/// One of them, as it stands.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct WiderView {
    /// Whose calls it is for: `node`, `lane:ID`, `source:ID` or `vp:ID`.
    scope: String,
    /// `day` or `month`.
    per: &'static str,
    /// US dollars; null: without a limit.
    cost_usd: Option<f64>,
    /// Calls of models; null: without a limit.
    llm_calls: Option<u64>,
    /// What was spent of it.
    spent: AmountView,
    /// What is set aside for calls that have not ended.
    reserved: AmountView,
    /// Since when this has been counted.
    #[schemars(with = "String", extend("format" = "date-time"))]
    begun_at: Timestamp,
    /// When it is whole again.
    #[schemars(with = "String", extend("format" = "date-time"))]
    renewed_at: Timestamp,
    /// Where nodes share it out: how. `spent` and `reserved` are this node's.
    #[serde(skip_serializing_if = "Option::is_none")]
    shared: Option<SharedView>,
}

/// How nodes share a budget out.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct SharedView {
    /// What this node holds, with what it has spent and set aside: more it takes once others have none of it.
    held: AmountView,
    /// What the others held when they were last asked.
    others_hold: AmountView,
    /// What they had spent of that.
    others_spent: AmountView,
}

impl From<SharedOut> for SharedView {
    fn from(shared: SharedOut) -> Self {
        let SharedOut { held, others_hold, others_spent } = shared;
        Self { held: held.into(), others_hold: others_hold.into(), others_spent: others_spent.into() }
    }
}

/// So much.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct AmountView {
    /// US dollars.
    cost_usd: f64,
    /// Calls of models.
    llm_calls: u64,
}

impl From<Spend> for AmountView {
    fn from(spend: Spend) -> Self {
        Self { cost_usd: spend.cost.as_usd(), llm_calls: spend.llm_calls }
    }
}

/// `GET /v1/budgets`
pub(super) async fn list(State(app): State<App>, _: NoParameters) -> Json<BudgetsView> {
    let view = |standing: Standing<'_>| WiderView {
        scope: standing.budget.scope.to_string(),
        per: standing.budget.per.as_str(),
        cost_usd: standing.budget.limits.cost.map(sortie_contract::MicroUsd::as_usd),
        llm_calls: standing.budget.limits.llm_calls,
        spent: standing.spent.into(),
        reserved: standing.reserved.into(),
        begun_at: standing.begun_at,
        renewed_at: standing.renewed_at,
        shared: standing.shared.map(SharedView::from),
    };
    Json(BudgetsView { items: app.engine.budgets(view), next_cursor: None })
}
