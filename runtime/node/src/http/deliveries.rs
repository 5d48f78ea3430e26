//! Deliveries over HTTP: what did not get through, and moving it along.

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::App;
use super::error::Problem;
use super::missions::{bad_parameter, page_size, parameters, unknown_parameter};

/// Deliveries of a page, unless the client asks for another number.
const PAGE: usize = 50;

/// `GET /v1/deliveries`
pub(super) async fn list(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Json<Value>, Problem> {
    let (mut state, mut after, mut limit) = (None, None, PAGE);
    for (key, value) in parameters(query.as_deref()) {
        match (key.as_str(), value.as_str()) {
            ("state", "parked" | "pending" | "incomplete") => state = Some(value),
            ("state", _) => return Err(bad_parameter(&key, "`parked`, `pending` or `incomplete`")),
            ("cursor", no) => {
                let no = no.parse().map_err(|_| bad_parameter(&key, "the `next_cursor` of a page"))?;
                after = Some(sortie_contract::MissionNo(no));
            }
            ("limit", value) => limit = page_size(value)?,
            _ => return Err(unknown_parameter(&key)),
        }
    }
    let (items, next) = app.blocking(move |engine| engine.deliveries(state.as_deref(), after, limit)).await?;
    Ok(Json(json!({"items": items, "next_cursor": next.map(|no| no.to_string())})))
}

/// `POST /v1/deliveries/{mission_id}/redeliver`
pub(super) async fn redeliver(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    moved(app, id, false).await
}

/// `POST /v1/deliveries/{mission_id}/skip`
pub(super) async fn skip(State(app): State<App>, Path(id): Path<String>) -> Result<(StatusCode, Json<Value>), Problem> {
    moved(app, id, true).await
}

async fn moved(app: App, id: String, skip: bool) -> Result<(StatusCode, Json<Value>), Problem> {
    let no = app.mission(id).await?;
    if !app.to_the_end(move |engine| async move { engine.unpark(no, skip).await }).await?? {
        let detail = "nothing of this mission is parked";
        return Err(Problem::new(StatusCode::CONFLICT, "not_parked", detail));
    }
    let state = app.blocking(move |engine| engine.show(no)).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({"mission_id": state["mission_id"], "delivery": state["delivery"]}))))
}
