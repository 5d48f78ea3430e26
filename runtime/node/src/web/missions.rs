//! The list of missions.

use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;

use super::Web;
use super::ask::{Read, items};
use super::door::{Fields, Viewer};
use super::frame::{Page, Refused, live};
use super::session::Notice;
use super::several;
use super::text::{Clock, badge, cell, line, money, path, plain, str, with_query};
use crate::mcp::Ask;

/// Missions of a page.
const PAGE: &str = "50";

/// The statuses that can be filtered by.
const STATUSES: [&str; 7] = ["queued", "running", "blocked", "completed", "failed", "cancelled", "timed_out"];

/// What the list is narrowed to, in the words of the interface; empty is anything.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct MissionsQuery {
    status: String,
    vp_id: String,
    vp_runtime_id: String,
    mission_type: String,
    q: String,
    cursor: String,
}

impl MissionsQuery {
    /// As the fields of a form have it.
    pub(super) fn of(fields: &Fields) -> Self {
        let [status, vp_id, vp_runtime_id, mission_type, q, cursor] =
            ["status", "vp_id", "vp_runtime_id", "mission_type", "q", "cursor"]
                .map(|name| fields.text(name).to_owned());
        Self { status, vp_id, vp_runtime_id, mission_type, q, cursor }
    }

    /// Where the list that is narrowed so is.
    pub(super) fn address(&self) -> String {
        with_query("/missions", &self.pairs())
    }

    pub(super) fn pairs(&self) -> [(&'static str, &str); 6] {
        [
            ("status", &self.status),
            ("vp_id", &self.vp_id),
            ("vp_runtime_id", &self.vp_runtime_id),
            ("mission_type", &self.mission_type),
            ("q", &self.q),
            ("cursor", &self.cursor),
        ]
    }
}

/// `GET /missions`
pub(super) async fn page(
    viewer: Viewer,
    State(web): State<Web>,
    Read(query): Read<MissionsQuery>,
) -> Result<Response, Refused> {
    let mut ask = Ask::new(Method::GET, ["v1", "missions"]).with_query("limit", PAGE);
    for (name, value) in query.pairs().into_iter().filter(|(_, value)| !value.is_empty()) {
        ask = ask.with_query(name, value);
    }
    let list = match web.ask(&viewer, ask).await {
        Ok(list) => list,
        Err(refused) if refused.status() == StatusCode::BAD_REQUEST && !query.q.is_empty() => {
            return Ok(misread(&web, &viewer, &query, &refused.notice()));
        }
        Err(refused) => return Err(refused),
    };
    let clock = web.clock();
    let main = html! {
        h1 { "Missions" }
        @if viewer.holder.may(crate::config::Scope::Dispatch) { p { a href="/dispatch" { "Dispatch a mission" } } }
        (filter(&query))
        (live(&query.address(), &shown(&viewer, &list, &query, &clock)))
        @if viewer.operates() && !items(&list).is_empty() { (several::form(&viewer, &query)) }
    };
    Ok(Page { title: "Missions", at: "/missions", main }.shown(&web, &viewer))
}

/// The form with a search that cannot be understood, and why.
fn misread(web: &Web, viewer: &Viewer, query: &MissionsQuery, why: &Notice) -> Response {
    let main = html! {
        h1 { "Missions" }
        (filter(query))
        div class="notice bad" role="alert" { @for line in &why.lines { p { (plain(line)) } } }
    };
    let mut page = Page { title: "Missions", at: "/missions", main }.shown(web, viewer);
    *page.status_mut() = StatusCode::BAD_REQUEST;
    page
}

fn filter(query: &MissionsQuery) -> Markup {
    let text = |name: &str, label: &str, value: &str| {
        html! { div { label for=(name) { (label) } input id=(name) name=(name) value=(value); } }
    };
    html! {
        form method="get" action="/missions" class="filter" role="search" aria-label="Filter missions" {
            div {
                label for="status" { "Status" }
                select id="status" name="status" {
                    option value="" { "any" }
                    // Several with commas come by links alone.
                    @if query.status.contains(',') { option value=(query.status) selected { (plain(&query.status)) } }
                    @for status in STATUSES { option value=(status) selected[query.status == status] { (status.replace('_', " ")) } }
                }
            }
            (text("q", "Search, such as wiki cost:>1 since:yesterday", &query.q))
            (text("vp_id", "VP", &query.vp_id))
            (text("vp_runtime_id", "Lane", &query.vp_runtime_id))
            (text("mission_type", "Type", &query.mission_type))
            button type="submit" { "Filter" }
            " " a href="/missions" { "Clear" }
        }
    }
}

fn shown(viewer: &Viewer, list: &Value, query: &MissionsQuery, clock: &Clock) -> Markup {
    let missions = items(list);
    let further = list["next_cursor"].as_str().map(|cursor| {
        let mut pairs = query.pairs();
        pairs[5].1 = cursor;
        with_query("/missions", &pairs)
    });
    html! {
        @if missions.is_empty() { p class="empty" { "No mission is like that." } }
        @else { (table(viewer, missions, clock)) }
        nav aria-label="Pages of the list" class="others" {
            @if !query.cursor.is_empty() { a href=(with_query("/missions", &query.pairs()[..5])) { "← Newest" } " " }
            @if let Some(further) = further { a href=(further) rel="next" { "Older →" } }
        }
        p class="dim" { "As of " (clock.local(clock.now)) "." }
    }
}

fn table(viewer: &Viewer, missions: &[Value], clock: &Clock) -> Markup {
    html! {
        div class="wide" tabindex="0" role="region" aria-label="Missions" {
            table {
                thead {
                    tr {
                        th scope="col" { "Mission" } th scope="col" { "Status" } th scope="col" { "VP" } th scope="col" { "Type" }
                        th scope="col" { "Accepted" } th scope="col" class="num" { "Spent" } th scope="col" { "Latest" }
                    }
                }
                tbody {
                    @for mission in missions {
                        tr {
                            th scope="row" {
                                @if viewer.operates() { (several::mark(str(mission, "mission_id"))) " " }
                                a href=(path(&["missions", str(mission, "mission_id")])) { (plain(str(mission, "mission_id"))) }
                                div class="dim" { (line(str(mission, "objective"))) }
                            }
                            td data-label="Status" {
                                (badge(str(mission, "status")))
                                div class="dim" {
                                    @if !mission["reason"].is_null() && mission["reason"] != "done" { (cell(&mission["reason"])) }
                                    @if mission["quarantined"] == true { " in quarantine" }
                                    (waits(&mission["waits_for"], clock))
                                    @if mission["delivery"] == "parked" { " delivery parked" }
                                }
                            }
                            td data-label="VP" { (cell(&mission["vp_id"])) }
                            td data-label="Type" { (cell(&mission["mission_type"])) }
                            td data-label="Accepted" { (clock.brief(&mission["accepted_at"])) }
                            td class="num" data-label="Spent" { (money(&mission["usage"]["estimated_cost_usd"])) }
                            td { (line(str(mission, "summary"))) }
                        }
                    }
                }
            }
        }
    }
}

/// What a mission waits for, in words.
pub(super) fn waits(wait: &Value, clock: &Clock) -> Markup {
    let what = match str(wait, "what") {
        "" => return html! {},
        "people" => "waits for people",
        "window" => "waits for its window",
        "node_paused" => "waits: the node is paused",
        "schedule_paused" => "waits: its schedule is paused",
        "workspace_elsewhere" => "waits: its files are on another node",
        "workspace_damaged" => "waits: its files cannot be read in the shared store",
        "hours" => "waits: its lane is shut",
        "session" => "waits for another mission of its session",
        "lane" => "waits for room in its lane",
        "node" => "waits for room on the node",
        "turn" => "has its turn at once",
        "time" => "sleeps",
        "provider" => "waits for a provider",
        "budget" => "waits for money",
        "missions" => "waits for missions that it dispatched",
        other => other,
    };
    html! {
        (plain(what))
        @if let Some(mission) = wait["mission_id"].as_str() { ": " a href=(path(&["missions", mission])) { (plain(mission)) } }
        @if let Some(why) = wait["why"].as_str() { ": " (plain(why)) }
        @if !wait["until"].is_null() { ", until " (clock.time(&wait["until"])) }
    }
}
