//! Plugins over HTTP: list, install, remove.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use sortie_contract::plugin::PluginIdentity;
use sortie_sandbox::Installed;

use super::App;
use super::body::{self, Unread};
use super::error::Problem;
use super::missions::{parameters, unknown_parameter};
use sortie_engine::shown::{Page, PluginView};

/// Largest component that is taken, in bytes: Python's are 18 MB.
const COMPONENT_BYTES_MAX: usize = 64 << 20;

/// How long one may take to arrive: the largest over a line of two megabits a second.
const COMPONENT_TIME: Duration = Duration::from_secs(300);

fn view(plugin: &Installed) -> PluginView {
    PluginView {
        name: plugin.identity.name.clone(),
        version: plugin.identity.version.clone(),
        digest: plugin.identity.digest.to_string(),
        description: plugin.manifest.description.clone(),
        inputs_schema: plugin.manifest.inputs_schema.clone(),
    }
}

/// `GET /v1/plugins`
pub(super) async fn list(State(app): State<App>) -> Json<Page<PluginView>> {
    Json(Page::whole(app.sandbox.plugins().iter().map(view)))
}

/// `GET /v1/plugins/{name}`
pub(super) async fn show(State(app): State<App>, Path(name): Path<String>) -> Result<Json<Page<PluginView>>, Problem> {
    let plugins = app.sandbox.plugins();
    let mut versions = plugins.iter().filter(|plugin| plugin.identity.name == name).map(view).peekable();
    if versions.peek().is_none() {
        return Err(Problem::not_found("such plugin"));
    }
    Ok(Json(Page::whole(versions)))
}

/// `POST /v1/plugins`
pub(super) async fn install(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let body = body::read(request, COMPONENT_BYTES_MAX, COMPONENT_TIME).await.map_err(|error| match error {
        Unread::TooLarge => {
            let detail = format!("a plugin has at most {COMPONENT_BYTES_MAX} bytes");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
        }
        error => error.into(),
    })?;
    let installed = app.sandbox.install(body.to_vec()).await.map_err(|error| {
        let mut detail = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            detail = format!("{detail}: {error}");
            cause = error.source();
        }
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "plugin_refused", detail)
    })?;
    Ok((StatusCode::CREATED, Json(view(&installed))).into_response())
}

/// `DELETE /v1/plugins/{name}?version=`
pub(super) async fn remove(
    State(app): State<App>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<StatusCode, Problem> {
    let mut version = None;
    for (key, value) in parameters(query.as_deref()) {
        match key.as_str() {
            "version" => version = Some(value),
            _ => return Err(unknown_parameter(&key)),
        }
    }
    let plugins = app.sandbox.plugins();
    let meant = plugins.iter().map(|plugin| &plugin.identity).filter(|identity| {
        identity.name == name && version.as_ref().is_none_or(|version| *version == identity.version)
    });
    let meant: Vec<&PluginIdentity> = meant.collect();
    let comes_back = |identity: &&PluginIdentity| {
        app.carried.iter().any(|carried| carried.name == identity.name && carried.version == identity.version)
    };
    if let Some(PluginIdentity { name, version, .. }) = meant.iter().copied().find(comes_back) {
        let detail = format!(
            "this sortie carries the plugin {name} {version} and installs it at each start; install a newer version beside it, \
             which is then taken where none is named, name another plugin in [plugin] of the configuration, and remove other \
             versions with `?version=`"
        );
        return Err(Problem::new(StatusCode::CONFLICT, "plugin_carried", detail));
    }
    let mut removed = 0;
    for identity in meant {
        let gone = app.sandbox.remove(&identity.name, &identity.version);
        removed += usize::from(gone.map_err(|error| Problem::internal(&error))?);
    }
    if removed == 0 { Err(Problem::not_found("such plugin")) } else { Ok(StatusCode::NO_CONTENT) }
}
