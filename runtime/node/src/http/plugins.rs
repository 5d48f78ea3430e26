//! Plugins over HTTP: list, install, remove.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use schemars::JsonSchema;
use serde::Deserialize;
use sortie_contract::plugin::PluginIdentity;
use sortie_contract::{Mistake, limit};
use sortie_sandbox::{Installed, PLUGIN_BYTES_MAX};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Semaphore;

use super::App;
use super::body::{Chunks, Unread};
use super::error::Problem;
use super::query::{NoParameters, Query};
use sortie_engine::shown::{Page, PluginView, PluginsView, TakesView, UnusablePlugin};
use sortie_mission::admission;

/// Most plugins that are on their way at once: each takes room on the disk before it is looked at.
const UPLOADS_MAX: usize = 4;

/// Who of them has a place. The bound is of the process, as its memory is.
static UPLOADS: Semaphore = Semaphore::const_new(UPLOADS_MAX);

/// How long one may take to arrive: the largest over a line of two megabits a second.
const COMPONENT_TIME: Duration = Duration::from_secs(300);

fn view(plugin: &Installed) -> PluginView {
    let TakesView { needs, optional_tools, memory_bytes, runtime_minutes, outputs_schema } =
        TakesView::of(&plugin.manifest);
    PluginView {
        name: plugin.identity.name.clone(),
        version: plugin.identity.version.clone(),
        digest: plugin.identity.digest.to_string(),
        description: plugin.manifest.description.clone(),
        inputs_schema: plugin.manifest.inputs_schema.clone(),
        needs,
        optional_tools,
        memory_bytes,
        runtime_minutes,
        examples: plugin.manifest.profile.examples.clone(),
        outputs_schema,
    }
}

/// `GET /v1/plugins`
pub(super) async fn list(State(app): State<App>, _: NoParameters) -> Json<PluginsView> {
    let has_model = !app.engine.models().list().is_empty();
    let mut all = PluginsView { items: Vec::new(), next_cursor: None, unusable: Vec::new() };
    for installed in app.sandbox.plugins() {
        match admission::unusable(&installed.identity, &installed.manifest.needs, has_model) {
            None => all.items.push(view(&installed)),
            Some(Mistake { detail, .. }) => {
                all.unusable.push(UnusablePlugin { plugin: installed.identity.to_string(), detail });
            }
        }
    }
    Json(all)
}

/// A plugin that was asked for, as a problem names it.
fn named(name: &str) -> String {
    format!("plugin `{}`", limit::clip(name, limit::QUOTE_BYTES_MAX))
}

/// `GET /v1/plugins/{name}`
pub(super) async fn show(
    State(app): State<App>,
    Path(name): Path<String>,
    _: NoParameters,
) -> Result<Json<Page<PluginView>>, Problem> {
    let plugins = app.sandbox.plugins();
    let mut versions = plugins.iter().filter(|plugin| plugin.identity.name == name).map(view).peekable();
    if versions.peek().is_none() {
        return Err(Problem::not_found(&named(&name)));
    }
    Ok(Json(Page::whole(versions)))
}

fn unread(error: Unread) -> Problem {
    match error {
        Unread::TooLarge => {
            let detail = format!("a plugin has at most {PLUGIN_BYTES_MAX} bytes");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
        }
        error => error.into(),
    }
}

fn no_room(error: &std::io::Error) -> Problem {
    tracing::error!(%error, "a plugin cannot be taken");
    Problem::new(
        StatusCode::INSUFFICIENT_STORAGE,
        "no_room",
        "the node's disk does not take the plugin; its log says why",
    )
}

/// `POST /v1/plugins`: streamed to the disk, and taken in one at a time.
pub(super) async fn install(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let Ok(_place) = UPLOADS.try_acquire() else {
        let detail = format!("{UPLOADS_MAX} plugins are on their way already; try again in a moment");
        return Err(Problem::unavailable("overloaded", &detail));
    };
    let file = app.sandbox.incoming().map_err(|error| no_room(&error))?;
    let mut file = tokio::fs::File::from_std(file);
    let mut chunks = Chunks::of(request, PLUGIN_BYTES_MAX, COMPONENT_TIME).map_err(unread)?;
    while let Some(chunk) = chunks.next().await.map_err(unread)? {
        file.write_all(&chunk).await.map_err(|error| no_room(&error))?;
    }
    file.flush().await.map_err(|error| no_room(&error))?;
    let installed = app.sandbox.install_file(file.into_std().await).await.map_err(|error| {
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

/// What of a plugin is removed.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RemoveQuery {
    /// Only this version.
    version: Option<String>,
}

/// `DELETE /v1/plugins/{name}?version=`
pub(super) async fn remove(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(RemoveQuery { version }): Query<RemoveQuery>,
) -> Result<StatusCode, Problem> {
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
    if removed > 0 {
        return Ok(StatusCode::NO_CONTENT);
    }
    let of = version.map(|version| format!(" of version `{}`", limit::clip(&version, limit::QUOTE_BYTES_MAX)));
    Err(Problem::not_found(&format!("{}{}", named(&name), of.unwrap_or_default())))
}
