//! Plugins that the node fetches itself: from an address, or from a registry.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use schemars::JsonSchema;
use serde::Deserialize;
use sortie_origin::{FetchError, Fetched, Wanted};
use sortie_sandbox::PLUGIN_BYTES_MAX;

use super::error::Problem;
use super::plugins::{no_room, place, refused, view};
use super::{App, Body};
use crate::vouched;

/// What is fetched.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FetchForm {
    /// `https://HOST/FILE.wasm` (`#sha256=DIGEST` behind it says which bytes are meant) or `oci://HOST/REPOSITORY:TAG` (or `@sha256:DIGEST`).
    from: String,
    /// The SHA-256 of the plugin that is meant, as `sha256:DIGEST`.
    #[serde(default)]
    digest: Option<String>,
    /// The text of `FILE.wasm.minisig`, in the place of the one that lies beside the plugin.
    #[serde(default)]
    signature: Option<String>,
}

/// Why it could not be had.
fn failed(error: &FetchError) -> Problem {
    let (status, code) = match error {
        FetchError::NotAllowed(_) => (StatusCode::UNPROCESSABLE_ENTITY, "source_refused"),
        FetchError::Digest { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "digest_mismatch"),
        FetchError::Unauthorized(_) | FetchError::Failed(_) => (StatusCode::BAD_GATEWAY, "fetch_failed"),
        FetchError::Credentials(cause) => {
            // Its references name files and variables of the operator.
            tracing::error!(error = cause as &dyn std::error::Error, "a plugin cannot be fetched");
            let detail = "the credentials for the registry cannot be read; the node's log says why";
            return Problem::new(StatusCode::BAD_GATEWAY, "fetch_failed", detail);
        }
        FetchError::NoRoom(error) => return no_room(error),
    };
    Problem::new(status, code, error.to_string())
}

/// `POST /v1/plugin-fetch`
pub(super) async fn fetch(State(app): State<App>, Body(body): Body) -> Result<Response, Problem> {
    let FetchForm { from, digest, signature } = super::form::form(&body)?;
    let wanted = Wanted::parse(&from, digest.as_deref(), signature).map_err(|error| failed(&error))?;
    let _place = place()?;
    let file = app.sandbox.incoming().map_err(|error| no_room(&error))?;
    let mut file = tokio::fs::File::from_std(file);
    let fetched = app.sources.fetch(wanted, &mut file, PLUGIN_BYTES_MAX).await;
    let Fetched { from, signature, .. } = fetched.map_err(|error| failed(&error))?;
    let vet = vouched::vet(&app.sources, Some(from), signature, app.engine.ambient().wall());
    let installed = app.sandbox.install_file(file.into_std().await, vet).await.map_err(|error| refused(&error))?;
    Ok((StatusCode::CREATED, Json(view(&app, &installed, &None))).into_response())
}
