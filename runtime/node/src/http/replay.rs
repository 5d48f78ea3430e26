//! What a replay elsewhere needs: the component that a mission runs on, and records as they are shown, read back.

use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};

use super::App;
use super::error::Problem;
use super::query::NoParameters;
use sortie_sandbox::PLUGIN_BYTES_MAX;

/// `GET /v1/missions/{id}/plugin`: the component, byte for byte, even when a newer one is installed.
pub(super) async fn component(
    State(app): State<App>,
    Path(id): Path<String>,
    _: NoParameters,
) -> Result<Response, Problem> {
    let no = app.mission(id).await?;
    let digest = app.reading(move |engine| engine.view(no, |fold| Ok(fold.mission.plugin().digest))).await?;
    let sandbox = app.sandbox.clone();
    let room = app.answers.room(PLUGIN_BYTES_MAX).await?;
    let turn = app.answers.turn().await?;
    let read = tokio::task::spawn_blocking(move || sandbox.component(&digest)).await;
    drop(turn);
    let bytes = read.map_err(|error| Problem::task_failed(&error))?.map_err(|error| {
        tracing::warn!(error = &error as &dyn std::error::Error, "a component cannot be read");
        Problem::not_found(&format!("component {digest} in the plugin store any more"))
    })?;
    let body = app.answers.hold(bytes, room).await?;
    Ok(([(header::CONTENT_TYPE, "application/wasm")], body).into_response())
}
