//! A recorded mission against another build of its plugin, on the node itself: nothing of it is done.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::App;
use super::error::Problem;
use super::query::Query;
use crate::replay::{Difference, Replayed, Verdict};

/// One at a time: each takes a core for as long as its plugin computes.
static TURN: Semaphore = Semaphore::const_new(1);

/// The longest time that a build may take to go over a record.
const TIME_MAX: Duration = Duration::from_secs(60);

/// The longest record that is gone over here, in bytes; `sortie replay` has no bound.
const RECORD_BYTES_MAX: usize = 64 << 20;

/// Which build.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct CompareQuery {
    /// The version of the mission's own plugin, among those that are installed; without it the build that the mission ran on.
    version: Option<String>,
}

/// What a replay shows of a build.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct ComparedView {
    /// `same`, `mended` or `different`.
    verdict: &'static str,
    /// Where and how, in a sentence.
    says: String,
    /// How the mission ended, or how it stands.
    recorded: String,
    /// The build, as `NAME@VERSION`.
    plugin: String,
    /// So many of the recorded calls were gone over.
    calls: u32,
    /// Where the build leaves the record, and with what; null where it does not.
    difference: Option<Difference>,
}

/// `GET /v1/missions/{id}/replay`
pub(super) async fn show(
    State(app): State<App>,
    Path(id): Path<String>,
    Query(CompareQuery { version }): Query<CompareQuery>,
) -> Result<Json<ComparedView>, Problem> {
    let no = app.mission(id).await?;
    let own = app.reading(move |engine| engine.view(no, |fold| Ok(fold.mission.plugin().clone()))).await?;
    let (digest, plugin) = match version {
        None => (own.digest, format!("{}@{}", own.name, own.version)),
        Some(version) => {
            let named = format!("{}@{version}", own.name);
            let installed = app.sandbox.plugins_named(&own.name);
            let found = installed.into_iter().find(|installed| installed.identity.version == version);
            (found.ok_or_else(|| Problem::not_found(&format!("plugin `{named}`")))?.identity.digest, named)
        }
    };
    let refused = |detail: &str| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "replay_refused", detail);
    let read = app.reading(move |engine| engine.whole_record(no, RECORD_BYTES_MAX)).await?;
    let records =
        read.ok_or_else(|| refused("its record is too long to be gone over here: `sortie replay` does it"))?;
    let _turn = TURN.acquire().await.map_err(|_| refused("the node is about to stop"))?;
    let tools = app.engine.toolbox().infos().to_vec();
    let going = crate::replay::replay(&app.sandbox, digest, &records, tools, app.engine.nobody(no));
    let gone = tokio::time::timeout(TIME_MAX, going).await;
    let gone =
        gone.map_err(|_| refused(&format!("the plugin is not through with it after {} s", TIME_MAX.as_secs())))?;
    let Replayed { verdict, says, recorded, calls, difference } = gone.map_err(|error| refused(&format!("{error}")))?;
    let verdict = verdict.map_or("stopped", Verdict::as_str);
    Ok(Json(ComparedView { verdict, says, recorded, plugin, calls, difference }))
}
