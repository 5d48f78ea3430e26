//! Deliveries over HTTP: what did not get through, and moving it along.

use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Json};

use super::App;
use super::auth::Holder;
use super::error::Problem;
use super::missions::{bad_parameter, page_size, parameters, unknown_parameter};
use sortie_engine::shown::{DeliveryState, Moved};

/// Deliveries of a page, unless the client asks for another number.
const PAGE: usize = 50;

/// `GET /v1/deliveries`
pub(super) async fn list(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let (mut state, mut after, mut limit) = (None, None, PAGE);
    for (key, value) in parameters(query.as_deref()) {
        match (key.as_str(), value.as_str()) {
            ("state", value) => {
                let known = DeliveryState::LISTED.into_iter().find(|(name, _)| *name == value);
                let known = known.ok_or_else(|| bad_parameter(&key, "`parked`, `pending` or `incomplete`"))?;
                state = Some(known.1);
            }
            ("cursor", no) => {
                let no = no.parse().map_err(|_| bad_parameter(&key, "the `next_cursor` of a page"))?;
                after = Some(sortie_contract::MissionNo(no));
            }
            ("limit", value) => limit = page_size(value)?,
            _ => return Err(unknown_parameter(&key)),
        }
    }
    app.shown(move |engine| engine.deliveries(state, after, limit)).await
}

/// `POST /v1/deliveries/{mission_id}/redeliver`
pub(super) async fn redeliver(
    State(app): State<App>,
    Extension(holder): Extension<Holder>,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<Moved>), Problem> {
    moved(app, &holder, id, false).await
}

/// `POST /v1/deliveries/{mission_id}/skip`
pub(super) async fn skip(
    State(app): State<App>,
    Extension(holder): Extension<Holder>,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<Moved>), Problem> {
    moved(app, &holder, id, true).await
}

async fn moved(app: App, holder: &Holder, id: String, skip: bool) -> Result<(StatusCode, Json<Moved>), Problem> {
    let mission_id = id.clone();
    let no = app.mission(id).await?;
    if !app.to_the_end(move |engine| async move { engine.unpark(no, skip).await }).await?? {
        let detail = "nothing of this mission is parked";
        return Err(Problem::new(StatusCode::CONFLICT, "not_parked", detail));
    }
    let delivery = app.state_for(holder, no).await?.and_then(|state| state.delivery);
    Ok((StatusCode::ACCEPTED, Json(Moved { mission_id, delivery })))
}
