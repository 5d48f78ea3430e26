//! A mission's record against another build of its plugin: how far they are the same, and the first difference.

use axum::extract::{Path, State};
use axum::http::Method;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;

use super::Web;
use super::ask::{Read, items};
use super::diff;
use super::door::Viewer;
use super::frame::{Page, Refused};
use super::text::{block, cell, path, plain, str};
use crate::mcp::Ask;

/// Against which build.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct CompareQuery {
    version: String,
}

/// What leads there.
pub(super) fn link(viewer: &Viewer, id: &str) -> Markup {
    html! { @if viewer.operates() { p { a href=(path(&["missions", id, "replay"])) { "Compare with another build" } } } }
}

/// `GET /missions/{id}/replay`
pub(super) async fn page(
    viewer: Viewer,
    State(web): State<Web>,
    Path(id): Path<String>,
    Read(CompareQuery { version }): Read<CompareQuery>,
) -> Result<Response, Refused> {
    let mission = web.get(&viewer, &["v1", "missions", &id]).await?;
    let plugins = web.get(&viewer, &["v1", "plugins"]).await?;
    let name = str(&mission["plugin"], "name");
    let builds: Vec<&str> = items(&plugins)
        .iter()
        .filter(|plugin| str(plugin, "name") == name)
        .map(|plugin| str(plugin, "version"))
        .collect();
    // Nothing runs until somebody has said which build.
    let compared = if version.is_empty() {
        None
    } else {
        let ask = Ask::new(Method::GET, ["v1", "missions", &id, "replay"]).with_query("version", version.as_str());
        Some(web.try_ask(&viewer, ask).await?)
    };
    let main = html! {
        h1 { "The record of " a href=(path(&["missions", &id])) { (plain(&id)) } " against a build" }
        p { "The plugin goes over what is on record, and nothing is done: no call is made, and nothing is spent. It ran on " code { (plain(name)) "@" (cell(&mission["plugin"]["version"])) } "." }
        form method="get" action=(path(&["missions", &id, "replay"])) class="filter" {
            div {
                label for="version" { "Build" }
                select id="version" name="version" { @for build in &builds { option value=(build) selected[*build == version] { (plain(name)) "@" (plain(build)) } } }
            }
            button type="submit" disabled[builds.is_empty()] { "Go over it" }
        }
        @match &compared {
            None => {},
            Some(Ok(compared)) => (shown(compared)),
            Some(Err(problem)) => div class="notice bad" role="alert" { p { (plain(str(problem, "detail"))) } },
        }
    };
    Ok(Page { title: "Replay", at: "/missions", main }.shown(&web, &viewer))
}

fn shown(compared: &Value) -> Markup {
    let (class, mark) = match str(compared, "verdict") {
        "same" | "mended" => ("s-done", "✓"),
        _ => ("s-failed", "✗"),
    };
    let difference = &compared["difference"];
    html! {
        section aria-labelledby="verdict" {
            h2 id="verdict" { (mark) " " (cell(&compared["verdict"])) }
            p class="line" role="status" { b class=(class) { (plain(str(compared, "says"))) } }
            dl {
                dt { "On record" } dd { (block(str(compared, "recorded"))) }
                dt { "Build" } dd { (cell(&compared["plugin"])) }
                dt { "Calls that were gone over" } dd { (cell(&compared["calls"])) }
            }
            @if difference.is_object() { (parting(difference)) }
        }
    }
}

fn parting(difference: &Value) -> Markup {
    let side = |key: &str| difference[key]["what"].as_str().map_or_else(|| "the end of its run".to_owned(), plain);
    let diff = str(difference, "diff");
    html! {
        h3 { "Where they part" }
        p { (cell(&difference["same"])) " calls are the same; then" }
        dl {
            dt { "On record" } dd { (side("recorded")) }
            dt { "This build asks for" } dd { (side("wanted")) }
        }
        @if !diff.is_empty() { (diff::patch(diff)) }
        @else { (arguments(&difference["wanted"]["arguments"])) }
    }
}

/// What the build would ask with, where there is nothing that it could be held against.
fn arguments(arguments: &Value) -> Markup {
    html! {
        @match arguments {
            Value::Null => {},
            Value::String(text) if text.is_empty() => {},
            Value::String(text) => pre tabindex="0" role="region" aria-label="Arguments" { (block(text)) },
            other => pre tabindex="0" role="region" aria-label="Arguments" { (block(&format!("{other:#}"))) },
        }
    }
}
