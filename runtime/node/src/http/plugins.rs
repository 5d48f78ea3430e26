//! Plugins over HTTP: list, install, remove.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustc_hash::FxHashMap;
use schemars::JsonSchema;
use serde::Deserialize;
use sortie_contract::digest::Digest;
use sortie_contract::plugin::{PluginIdentity, Signed};
use sortie_contract::{Mistake, limit};
use sortie_origin::SIGNATURE_BYTES_MAX;
use sortie_sandbox::{InstallError, Installed, PLUGIN_BYTES_MAX};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::App;
use super::body::{Chunks, Unread};
use super::error::Problem;
use super::query::{Flag, Query};
use sortie_engine::shown::{HeldView, Page, PluginView, PluginsView, SignedView, TakesView, UnusablePlugin};
use sortie_mission::admission;

use crate::vouched;

/// Most plugins that are on their way at once: each takes room on the disk before it is looked at.
const UPLOADS_MAX: usize = 4;

/// Who of them has a place. The bound is of the process, as its memory is.
static UPLOADS: Semaphore = Semaphore::const_new(UPLOADS_MAX);

/// How long one may take to arrive: the largest over a line of two megabits a second.
const COMPONENT_TIME: Duration = Duration::from_secs(300);

/// The header of an upload that has the signature of what is uploaded: the text of `FILE.wasm.minisig`, in base64.
pub(super) const SIGNATURE: &str = "plugin-signature";

/// Who holds what, where that was asked for.
type Holders = Option<FxHashMap<Digest, HeldView>>;

pub(super) fn view(app: &App, plugin: &Installed, holders: &Holders) -> PluginView {
    let is_carried = app.carried.iter().any(|carried| carried.digest == plugin.identity.digest);
    let of_it =
        |holders: &FxHashMap<Digest, HeldView>| holders.get(&plugin.identity.digest).cloned().unwrap_or_default();
    let origin = &plugin.origin;
    let aside = app.sandbox.aside(&plugin.identity.digest);
    // The record stays; what counts are the keys of today.
    let signed = origin.signed.as_ref().filter(|signed| aside.is_none() && app.sources.keys().knows(&signed.key));
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
        source: match &origin.from {
            _ if is_carried => "carried".to_owned(),
            Some(from) => from.clone(),
            None => "sent".to_owned(),
        },
        signed: signed.map(|Signed { key, name, comment, .. }| SignedView {
            key: key.clone(),
            name: name.clone(),
            comment: comment.clone(),
        }),
        installed_at: origin.installed_at,
        aside,
        held: holders.as_ref().map(of_it),
    }
}

/// What of plugins is to be told.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct PluginsQuery {
    /// Whether each is to be told with the missions that hold it: all that are kept are gone over for that.
    held: Option<Flag>,
}

impl PluginsQuery {
    async fn holders(&self, app: &App) -> Result<Holders, Problem> {
        match self.held {
            Some(Flag(true)) => app.blocking(sortie_engine::Engine::plugins_held).await.map(Some),
            _ => Ok(None),
        }
    }
}

/// `GET /v1/plugins`
pub(super) async fn list(
    State(app): State<App>,
    Query(asked): Query<PluginsQuery>,
) -> Result<Json<PluginsView>, Problem> {
    let holders = asked.holders(&app).await?;
    let has_model = !app.engine.models().list().is_empty();
    let mut all = PluginsView { items: Vec::new(), next_cursor: None, unusable: Vec::new() };
    for installed in app.sandbox.plugins() {
        let lacks = admission::unusable(&installed.identity, &installed.manifest.needs, has_model);
        let lacks = lacks.map(|Mistake { detail, .. }| detail);
        match app.sandbox.aside(&installed.identity.digest).or(lacks) {
            None => all.items.push(view(&app, &installed, &holders)),
            Some(detail) => all.unusable.push(UnusablePlugin { plugin: installed.identity.to_string(), detail }),
        }
    }
    Ok(Json(all))
}

/// A plugin that was asked for, as a problem names it.
fn named(name: &str) -> String {
    format!("plugin `{}`", limit::clip(name, limit::QUOTE_BYTES_MAX))
}

/// `GET /v1/plugins/{name}`
pub(super) async fn show(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(asked): Query<PluginsQuery>,
) -> Result<Json<Page<PluginView>>, Problem> {
    let holders = asked.holders(&app).await?;
    let plugins = app.sandbox.plugins();
    let of_it = plugins.iter().filter(|plugin| plugin.identity.name == name);
    let mut versions = of_it.map(|plugin| view(&app, plugin, &holders)).peekable();
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

pub(super) fn no_room(error: &std::io::Error) -> Problem {
    tracing::error!(%error, "a plugin cannot be taken");
    Problem::new(
        StatusCode::INSUFFICIENT_STORAGE,
        "no_room",
        "the node's disk does not take the plugin; its log says why",
    )
}

/// A place for a plugin that is on its way.
pub(super) fn place() -> Result<SemaphorePermit<'static>, Problem> {
    UPLOADS.try_acquire().map_err(|_| {
        let detail = format!("{UPLOADS_MAX} plugins are on their way already; try again in a moment");
        Problem::unavailable("overloaded", &detail)
    })
}

/// The signature that came with an upload.
fn signature_of(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(SIGNATURE) else { return Ok(None) };
    let wrong = || {
        let detail = "the header `Plugin-Signature` must be the text of FILE.wasm.minisig, in base64";
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "signature_refused", detail)
    };
    // Four characters stand for three bytes.
    if value.len() > SIGNATURE_BYTES_MAX * 2 || headers.get_all(SIGNATURE).iter().count() > 1 {
        return Err(wrong());
    }
    let text = BASE64_STANDARD.decode(value.as_bytes()).map_err(|_| wrong())?;
    String::from_utf8(text).map(Some).map_err(|_| wrong())
}

/// Why a plugin was not installed.
pub(super) fn refused(error: &InstallError) -> Problem {
    let mut detail = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        detail = format!("{detail}: {error}");
        cause = error.source();
    }
    let code = match error {
        InstallError::Unvouched(_) | InstallError::SignedModule => "signature_refused",
        _ => "plugin_refused",
    };
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
}

/// `POST /v1/plugins`: streamed to the disk, and taken in one at a time.
pub(super) async fn install(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let _place = place()?;
    let signature = signature_of(request.headers())?;
    let file = app.sandbox.incoming().map_err(|error| no_room(&error))?;
    let mut file = tokio::fs::File::from_std(file);
    let mut chunks = Chunks::of(request, PLUGIN_BYTES_MAX, COMPONENT_TIME).map_err(unread)?;
    while let Some(chunk) = chunks.next().await.map_err(unread)? {
        file.write_all(&chunk).await.map_err(|error| no_room(&error))?;
    }
    file.flush().await.map_err(|error| no_room(&error))?;
    let vet = vouched::vet(&app.sources, None, signature, app.engine.ambient().wall());
    let installed = app.sandbox.install_file(file.into_std().await, vet).await.map_err(|error| refused(&error))?;
    Ok((StatusCode::CREATED, Json(view(&app, &installed, &None))).into_response())
}

/// What of a plugin is removed.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RemoveQuery {
    /// Only this version.
    version: Option<String>,
    /// Also where missions that are not over run on it: it cannot be chosen any more, and they keep it.
    force: Option<Flag>,
}

/// That missions are not over which have one of these, if so.
async fn held(app: &App, meant: &[&PluginIdentity]) -> Result<(), Problem> {
    let holders = app.blocking(sortie_engine::Engine::plugins_held).await?;
    let (mut missions, mut unfinished) = (Vec::new(), 0);
    for held in meant.iter().filter_map(|identity| holders.get(&identity.digest)) {
        missions.extend(held.missions.iter().cloned());
        unfinished += held.unfinished();
    }
    if unfinished == 0 {
        return Ok(());
    }
    let named = missions.iter().take(3).map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ");
    let detail = format!(
        "{unfinished} missions that are not over run on it, {named} among them: wait until they are over, or cancel them; with `?force=true` it \
         cannot be chosen any more, and they keep it"
    );
    Err(Problem::new(StatusCode::CONFLICT, "plugin_held", detail).with("missions", serde_json::json!(missions)))
}

/// `DELETE /v1/plugins/{name}?version=`
pub(super) async fn remove(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(RemoveQuery { version, force }): Query<RemoveQuery>,
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
    if !matches!(force, Some(Flag(true))) {
        held(&app, &meant).await?;
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
