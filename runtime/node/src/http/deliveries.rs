//! Deliveries over HTTP: what did not get through, and moving it along.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Json};
use schemars::JsonSchema;
use serde::Deserialize;

use super::App;
use super::auth::Holder;
use super::error::Problem;
use super::query::{Cursor, PageSize, Query};
use sortie_engine::shown::{DeliveryState, Moved};

/// Deliveries of a page, unless the client asks for another number.
const PAGE: usize = 50;

/// Which deliveries are listed.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct DeliveriesQuery {
    /// Only those in this state; without it, those that are pending or parked.
    state: Option<Listed>,
    /// Where to go on: the `next_cursor` of the page before.
    cursor: Option<Cursor>,
    /// Most items of the page. More than 500 are never on one.
    limit: Option<PageSize>,
}

/// The states that a list of deliveries can be narrowed to.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Listed {
    Parked,
    Pending,
    Incomplete,
}

impl Listed {
    fn state(self) -> DeliveryState {
        match self {
            Self::Parked => DeliveryState::Parked,
            Self::Pending => DeliveryState::Pending,
            Self::Incomplete => DeliveryState::Incomplete,
        }
    }
}

/// `GET /v1/deliveries`
pub(super) async fn list(State(app): State<App>, Query(query): Query<DeliveriesQuery>) -> Result<Response, Problem> {
    let DeliveriesQuery { state, cursor, limit } = query;
    let (state, after) = (state.map(Listed::state), cursor.map(|Cursor(no)| no));
    let limit = limit.map_or(PAGE, |PageSize(size)| size);
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
