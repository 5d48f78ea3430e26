//! The control plane's older dialect over HTTP: dispatch and cancel, with its own tokens and in its own form. Off unless `[dialect.http]` is
//! there.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use rand::Rng as _;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};
use sortie_contract::{Mistake, Pointer, Status, Timestamp};
use sortie_dialect::{Caller, Denied, Dialect, Made, Translated};
use sortie_engine::intake::{DispatchError, Dispatched};

use super::error::Problem;
use super::forward::{self, Asked};
use super::tries::Tries;
use super::{App, Body, actions, away, missions};
use crate::dialects::kept;

/// An old dispatch.
#[derive(JsonSchema)]
#[expect(
    dead_code,
    reason = "it describes what is read by `sortie-dialect`, so that mistakes are told with their place"
)]
pub(super) struct OldDispatch {
    /// Whose mission it is.
    vp_id: String,
    /// What `[dialect.types]` has a plugin for.
    #[schemars(skip_serializing_if = "Option::is_none")]
    mission_type: Option<String>,
    /// What is to be done.
    objective: String,
    /// `max_duration_minutes`, the lists of an envelope, and what describes the work.
    #[schemars(skip_serializing_if = "Option::is_none")]
    constraints: Option<Map<String, Value>>,
    /// `max_minutes`, and the other limits of an envelope.
    #[schemars(skip_serializing_if = "Option::is_none")]
    budget: Option<Map<String, Value>>,
    /// Sent again with the same, it is the same mission.
    #[schemars(skip_serializing_if = "Option::is_none")]
    idempotency_key: Option<String>,
    /// Lower first; it has no effect.
    #[schemars(skip_serializing_if = "Option::is_none")]
    priority: Option<i64>,
    /// Who asked.
    #[schemars(skip_serializing_if = "Option::is_none")]
    source_session_id: Option<String>,
}

/// What an old dispatch came to.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct OldAnswer {
    /// The mission.
    mission: OldMission,
    /// What of the dispatch has no effect.
    warnings: Vec<String>,
}

/// A mission in the old form.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct OldMission {
    /// Its name.
    mission_id: String,
    /// Whose it is.
    vp_id: String,
    /// The session that it belongs to.
    session_id: String,
    /// The lane that it belongs to.
    runtime_id: String,
    /// How it stands.
    status: Status,
    /// Its type, as it was dispatched.
    mission_type: String,
    /// What is to be done.
    objective: String,
    /// As it was dispatched.
    priority: i64,
    /// Its key.
    idempotency_key: String,
    /// When it was dispatched.
    #[schemars(with = "String", extend("format" = "date-time"))]
    created_at: Timestamp,
    /// Always false: what is cancelled is so at once.
    cancel_requested: bool,
}

/// What an old cancel came to.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct OldCancelled {
    /// Always `cancel_requested`, as it was; it is done, too.
    status: &'static str,
    /// The mission.
    mission_id: String,
    /// How it stands now.
    mission_status: Status,
}

/// `POST /api/v1/ops/vp/missions/dispatch`
pub(super) async fn dispatch(
    State(app): State<App>,
    headers: HeaderMap,
    asked: Asked,
    Body(body): Body,
) -> Result<Response, Problem> {
    let (dialect, _) = let_in(&app, &headers).await?;
    let text = std::str::from_utf8(&body).map_err(|error| {
        let detail = format!("the body is no UTF-8 text from byte {} on", error.valid_up_to());
        DispatchError::Invalid(vec![Mistake::new(Pointer::root(), "not_json", detail)])
    })?;
    let (at, fresh) = (app.engine.ambient().wall(), fresh());
    let made = Made { node: &app.called.instance_id, at, fresh: &fresh };
    let translated = dialect.dispatch(text, made).map_err(DispatchError::Invalid)?;
    let mut tries = Tries::default();
    let dispatched = loop {
        match missions::taken(&app.engine, "dialect", translated.envelope.clone(), asked.is_forwarded()).await {
            Err(DispatchError::Elsewhere(member)) => {
                if let Some(answer) = tries.send(&app, &asked, &member, body.clone()).await {
                    return answer;
                }
            }
            Err(DispatchError::Invalid(mistakes)) => {
                return Err(DispatchError::Invalid(translated.told(mistakes)).into());
            }
            dispatched => break dispatched?,
        }
    };
    let (replayed, no) = (dispatched.replayed, dispatched.no);
    let created_at = if replayed {
        // It is a mission whose acceptance is known; were it not to be read now, it would be one all the same.
        let before = app.blocking(move |engine| engine.mission(no).map(|mission| mission.envelope().created_at));
        before.await.unwrap_or(at)
    } else {
        at
    };
    let mut response = (StatusCode::OK, Json(answer(translated, &dispatched, created_at))).into_response();
    if replayed {
        response.headers_mut().insert(HeaderName::from_static("idempotent-replayed"), HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// `POST /api/v1/ops/vp/missions/{id}/cancel`
pub(super) async fn cancel(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
    asked: Asked,
    Body(body): Body,
) -> Result<Response, Problem> {
    let (dialect, Caller { name }) = let_in(&app, &headers).await?;
    // The other node judges the token, and whose mission it is, by itself.
    if let Some(member) = forward::holder_of(&app, &id).await? {
        return forward::send(&app, &asked, &member, body).await;
    }
    let reason = missions::cancel_reason(&body)?;
    let no = app.mission(id.clone()).await?;
    // Whoever speaks this dialect has a hold on what came in it, and on nothing else: an envelope of the contract may name its source, too.
    let came_in_it = app.blocking(move |engine| {
        let mission = engine.mission(no)?;
        let is_its = mission.envelope().source_instance_id.as_str() == dialect.source();
        Ok(is_its && kept(&**engine.log(), no)?.is_some())
    });
    if !came_in_it.await? {
        return Err(Problem::not_found(&format!("mission `{}`", sortie_contract::limit::clip(&id, 80))));
    }
    let (by, why) = (name.clone(), reason.clone());
    app.to_the_end(move |engine| async move { engine.cancel(no, why, by).await }).await??;
    actions::put_down(&app, name, "cancel", Some(id.clone()), &json!({"reason": reason})).await;
    let cancelled = OldCancelled { status: "cancel_requested", mission_id: id, mission_status: Status::Cancelled };
    Ok(Json(cancelled).into_response())
}

/// The dialect, and who speaks it.
async fn let_in(app: &App, headers: &HeaderMap) -> Result<(std::sync::Arc<Dialect>, Caller), Problem> {
    let (Some(dialect), Some(access)) = (&app.dialects.dialect, &app.dialects.access) else {
        return Err(Problem::not_found("such path here: this node's configuration has no [dialect.http]"));
    };
    let caller = access.caller(headers, app.engine.ambient().wall()).await?;
    if app.engine.log().is_away() {
        return Err(away::problem());
    }
    Ok((std::sync::Arc::clone(dialect), caller))
}

fn answer(translated: Translated, dispatched: &Dispatched, created_at: Timestamp) -> OldAnswer {
    let reply = &dispatched.reply;
    // What the dialect keeps for its receipts is no mistake of who dispatched.
    let own = |warning: &&String| !warning.contains("(at `/dialect`)");
    let warnings = translated.warnings.into_iter().chain(reply.warnings.iter().filter(own).cloned()).collect();
    let mission = OldMission {
        mission_id: reply.mission_id.to_string(),
        vp_id: reply.vp_id.to_string(),
        session_id: reply.session.to_string(),
        runtime_id: reply.lane.to_string(),
        status: reply.status,
        mission_type: translated.mission_type,
        objective: translated.objective,
        priority: translated.priority,
        idempotency_key: translated.idempotency_key,
        created_at,
        cancel_requested: false,
    };
    OldAnswer { mission, warnings }
}

/// A key for a dispatch that has none.
fn fresh() -> String {
    let mut bytes = [0; 16];
    rand::rng().fill_bytes(&mut bytes);
    bytes.iter().fold("dispatch-".to_owned(), |key, byte| format!("{key}{byte:02x}"))
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::NoSecret(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    code = "dialect_unusable",
                    "a secret of [dialect.http] cannot be read"
                );
                Self::unavailable(
                    "dialect_unusable",
                    "the node cannot read the secret that it would know you by; its log says why",
                )
            }
            Denied::Unknown(why) => Self::new(StatusCode::UNAUTHORIZED, "unauthorized", why),
        }
    }
}
