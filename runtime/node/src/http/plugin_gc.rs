//! Plugins that nobody needs any more, collected on request.

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sortie_contract::plugin::PluginIdentity;
use sortie_mission::Stays;

use super::App;
use super::error::Problem;
use super::query::{Flag, Query};

/// Whether it is only to be said what would go.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct CollectQuery {
    /// Whether it is only to be said what would go.
    dry_run: Option<Flag>,
}

/// What became of the versions that are installed.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Collected", deny_unknown_fields)]
pub(super) struct CollectedView {
    /// Those that nobody needed: they are gone from what can be chosen, and their files go once it is certain that no mission has them. With
    /// `dry_run` those that would go.
    removed: Vec<GoneView>,
    /// The others.
    kept: Vec<KeptView>,
}

/// A version that goes.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "GonePlugin", deny_unknown_fields)]
pub(super) struct GoneView {
    /// Its name and version, as `NAME@VERSION`.
    plugin: String,
    /// Of its component, in hexadecimal.
    digest: String,
}

/// A version that stays.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "KeptPlugin", deny_unknown_fields)]
pub(super) struct KeptView {
    /// Its name and version, as `NAME@VERSION`.
    plugin: String,
    /// Why: `carried` with this sortie, `newest` of its name, `held` by missions, `named` by a schedule or the configuration, or replaced only
    /// `lately`.
    why: &'static str,
}

/// `POST /v1/plugin-gc?dry_run=`
pub(super) async fn collect(
    State(app): State<App>,
    Query(CollectQuery { dry_run }): Query<CollectQuery>,
) -> Result<Json<CollectedView>, Problem> {
    let is_tried = matches!(dry_run, Some(Flag(true)));
    let (engine, sandbox, shelf) = (app.engine.clone(), app.sandbox.clone(), app.shelf.clone());
    let collecting = tokio::task::spawn_blocking(move || {
        if is_tried {
            return Ok(shelf.look(&engine, &sandbox, None)?);
        }
        shelf.collect(&engine, &sandbox, None)
    });
    let collected = collecting.await.map_err(|error| Problem::task_failed(&error))?;
    let mut view = CollectedView { removed: Vec::new(), kept: Vec::new() };
    for (identity, stays) in collected.map_err(|error| Problem::internal(&error))? {
        view.add(&identity, stays);
    }
    Ok(Json(view))
}

impl CollectedView {
    fn add(&mut self, identity: &PluginIdentity, stays: Option<Stays>) {
        let plugin = identity.to_string();
        match stays {
            Some(stays) => self.kept.push(KeptView { plugin, why: stays.as_str() }),
            None => self.removed.push(GoneView { plugin, digest: identity.digest.to_string() }),
        }
    }
}
