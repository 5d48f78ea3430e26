//! What the interface lists beside missions and requests, as plain tables.

use axum::extract::State;
use axum::http::Method;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;

use super::Web;
use super::ask::{Read, items};
use super::door::Viewer;
use super::frame::{Page, Refused};
use super::text::{Clock, badge, cell, money, path, plain, str, with_query};
use crate::mcp::Ask;

/// Rows of a page: with more of them the longest would have more than 50 kB.
const PAGE: &str = "50";

/// A page of a list.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ListQuery {
    cursor: String,
}

/// A column: its head, and a cell of it.
type Column = (&'static str, fn(&Value, &Clock) -> Markup);

/// A cell that is what the interface says.
macro_rules! as_is {
    ($key:literal) => {
        |row, _| html! { (cell(&row[$key])) }
    };
}

/// A list of the interface that has pages.
struct List<'a> {
    title: &'static str,
    /// Where the page is, and where the list.
    at: &'static str,
    of: &'static [&'static str],
    none: &'static str,
    columns: &'a [Column],
    /// What stands before it.
    first: Markup,
}

impl List<'_> {
    async fn page(&self, web: &Web, viewer: &Viewer, query: &ListQuery) -> Result<Response, Refused> {
        let mut ask = Ask::new(Method::GET, self.of.iter().copied()).with_query("limit", PAGE);
        if !query.cursor.is_empty() {
            ask = ask.with_query("cursor", query.cursor.as_str());
        }
        let list = web.ask(viewer, ask).await?;
        let main = html! {
            h1 { (self.title) }
            (self.first)
            (table(self.title, self.columns, items(&list), self.none, &web.clock()))
            @if let Some(cursor) = list["next_cursor"].as_str() {
                nav aria-label="Pages of the list" { a href=(with_query(self.at, &[("cursor", cursor)])) rel="next" { "Further →" } }
            }
        };
        Ok(Page { title: self.title, at: self.at, main }.shown(web, viewer))
    }
}

fn table(title: &str, columns: &[Column], rows: &[Value], none: &str, clock: &Clock) -> Markup {
    html! {
        @if rows.is_empty() { p class="empty" { (none) } }
        @else {
            div class="wide" tabindex="0" role="region" aria-label=(title) {
                table {
                    thead { tr { @for (head, _) in columns { th scope="col" { (head) } } } }
                    tbody { @for row in rows { tr { @for (head, shown) in columns { td data-label=(head) { (shown(row, clock)) } } } } }
                }
            }
        }
    }
}

/// A mission's name, as a link.
fn mission(row: &Value, key: &str) -> Markup {
    match row[key].as_str() {
        Some(id) => html! { a href=(path(&["missions", id])) { (plain(id)) } },
        None => html! { "–" },
    }
}

/// `GET /schedules`
pub(super) async fn schedules(
    viewer: Viewer,
    State(web): State<Web>,
    Read(query): Read<ListQuery>,
) -> Result<Response, Refused> {
    let list = List {
        title: "Schedules",
        at: "/schedules",
        of: &["v1", "schedules"],
        none: "There are no schedules.",
        columns: &[
            (
                "Schedule",
                |row, _| html! { (super::schedules::link(row)) div class="dim" { (row["note"].as_str().map(plain).unwrap_or_default()) } },
            ),
            ("Next", |row, clock| html! { (clock.time(&row["next_at"])) }),
            ("In its zone", |row, _| html! { (cell(&row["next_local"])) div class="dim" { (cell(&row["zone"])) } }),
            ("Paused", |row, _| html! { @if row["paused"] == true { b { "paused" } } @else { "no" } }),
            ("Running", as_is!("running")),
            ("Waiting", as_is!("waiting")),
            ("Failed in a row", as_is!("failures")),
        ],
        first: html! { @if viewer.operates() { p { a href="/new-schedule" { "A new schedule" } } } },
    };
    list.page(&web, &viewer, &query).await
}

/// `GET /sessions`
pub(super) async fn sessions(
    viewer: Viewer,
    State(web): State<Web>,
    Read(query): Read<ListQuery>,
) -> Result<Response, Refused> {
    let list = List {
        title: "Sessions",
        at: "/sessions",
        of: &["v1", "sessions"],
        none: "There are no sessions.",
        columns: &[
            (
                "VP",
                |row, _| html! { a href=(with_query("/missions", &[("vp_id", str(row, "vp_id"))])) { (plain(str(row, "vp_id"))) } },
            ),
            ("Session", as_is!("vp_session_id")),
            ("Missions", as_is!("missions")),
            ("Last", |row, _| mission(row, "last_mission_id")),
            ("Accepted", |row, clock| clock.brief(&row["last_mission_at"])),
            ("Workspace", |row, _| html! { code { (cell(&row["workspace"])) } }),
        ],
        first: html! {},
    };
    list.page(&web, &viewer, &query).await
}

/// `GET /deliveries`
pub(super) async fn deliveries(
    viewer: Viewer,
    State(web): State<Web>,
    Read(query): Read<ListQuery>,
) -> Result<Response, Refused> {
    let list = List {
        title: "Deliveries",
        at: "/deliveries",
        of: &["v1", "deliveries"],
        none: "Everything is delivered.",
        columns: &[
            ("Mission", |row, _| mission(row, "mission_id")),
            ("State", |row, _| badge(str(row, "state"))),
            ("To", as_is!("status_url")),
            ("Delivered", as_is!("delivered")),
            ("Waiting", as_is!("waiting")),
            ("Attempts", as_is!("attempts")),
            ("Next attempt", |row, clock| clock.time(&row["next_attempt_at"])),
            ("Last error", as_is!("error")),
        ],
        first: html! {},
    };
    list.page(&web, &viewer, &query).await
}

/// `GET /plugins`
pub(super) async fn plugins(viewer: Viewer, State(web): State<Web>) -> Result<Response, Refused> {
    let list = web.get(&viewer, &["v1", "plugins"]).await?;
    let columns: &[Column] = &[
        ("Plugin", |row, _| html! { b { (cell(&row["name"])) } }),
        ("Version", as_is!("version")),
        ("What for", as_is!("description")),
        ("Signed by", |row, _| match row["signed"]["name"].as_str() {
            Some(name) => html! { span title=(str(&row["signed"], "comment")) { (plain(name)) } },
            None => html! { @if row["source"] == "carried" { "carried" } @else { "nobody" } },
        }),
        ("From", |row, _| html! { (plain(str(row, "source"))) }),
        (
            "Digest",
            |row, _| html! { code title=(str(row, "digest")) { (plain(&str(row, "digest").chars().take(12).collect::<String>())) } },
        ),
    ];
    let unusable: &[Column] =
        &[("Plugin", |row, _| html! { b { (cell(&row["plugin"])) } }), ("What is missing", as_is!("detail"))];
    let lacking = list["unusable"].as_array().map_or(&[][..], Vec::as_slice);
    let clock = web.clock();
    let main = html! {
        h1 { "Plugins" }
        (table("Plugins", columns, items(&list), "There are no plugins.", &clock))
        @if !lacking.is_empty() {
            h2 { "Installed, and run nothing" }
            (table("Plugins that lack something", unusable, lacking, "None.", &clock))
        }
        (super::plugins::forms(&viewer, items(&list)))
    };
    Ok(Page { title: "Plugins", at: "/plugins", main }.shown(&web, &viewer))
}

/// `GET /tools`: tools, their providers, and tool servers.
pub(super) async fn tools(viewer: Viewer, State(web): State<Web>) -> Result<Response, Refused> {
    let tools = web.get(&viewer, &["v1", "tools"]).await?;
    let servers = web.get(&viewer, &["v1", "mcp"]).await?;
    let clock = web.clock();
    let of_tools: &[Column] = &[
        ("Tool", |row, _| html! { b { (cell(&row["name"])) } }),
        ("From", as_is!("provider")),
        (
            "Effects",
            |row, _| html! { (row["effects"].as_array().into_iter().flatten().filter_map(Value::as_str).map(plain).collect::<Vec<_>>().join(", ")) },
        ),
        ("Reads only", |row, _| html! { @if row["read_only"] == true { "yes" } @else { "no" } }),
        ("Price", |row, _| html! { (money(&row["cost_usd"])) }),
        ("What for", |row, _| html! { (plain(&sortie_contract::limit::clip(str(row, "description"), 300))) }),
    ];
    let of_servers: &[Column] = &[
        ("Server", |row, _| html! { b { (cell(&row["name"])) } }),
        ("State", |row, _| badge(str(row, "state"))),
        ("Since", |row, clock| clock.brief(&row["since"])),
        ("Reached by", as_is!("transport")),
        ("Protocol", as_is!("protocol_version")),
        ("Tools", as_is!("tools")),
        ("Last error", as_is!("last_error")),
    ];
    let main = html! {
        h1 { "Tools" }
        (table("Tools", of_tools, items(&tools), "There are no tools.", &clock))
        h2 { "Tool servers" }
        (table("Tool servers", of_servers, items(&servers), "None is configured.", &clock))
    };
    Ok(Page { title: "Tools", at: "/tools", main }.shown(&web, &viewer))
}

/// `GET /models`: models, and budgets wider than one mission.
pub(super) async fn models(viewer: Viewer, State(web): State<Web>) -> Result<Response, Refused> {
    let models = web.get(&viewer, &["v1", "models"]).await?;
    let budgets = web.get(&viewer, &["v1", "budgets"]).await?;
    let clock = web.clock();
    let of_models: &[Column] = &[
        ("Model", |row, _| html! { b { (cell(&row["name"])) } @if row["is_default"] == true { " (default)" } }),
        ("Protocol", as_is!("protocol")),
        ("At its provider", as_is!("model")),
        ("Context", as_is!("context_tokens")),
        ("In, per million", |row, _| html! { (money(&row["price_usd_per_mtok"]["input"])) }),
        ("Out, per million", |row, _| html! { (money(&row["price_usd_per_mtok"]["output"])) }),
        ("Since the start", |row, _| html! { (money(&row["cost_usd"])) " for " (cell(&row["llm_calls"])) " answers" }),
        ("Refuses", |row, clock| {
            html! {
                @if row["held"].is_null() { "no" }
                @else { (cell(&row["held"]["missions"])) " missions wait, until " (clock.time(&row["held"]["until"])) ": " (cell(&row["held"]["why"])) }
            }
        }),
    ];
    let of_budgets: &[Column] = &[
        ("Of", |row, _| html! { b { (cell(&row["scope"])) } }),
        ("Per", as_is!("per")),
        (
            "Spent",
            |row, _| html! { (money(&row["spent"]["cost_usd"])) ", " (cell(&row["spent"]["llm_calls"])) " calls" },
        ),
        (
            "Set aside",
            |row, _| html! { (money(&row["reserved"]["cost_usd"])) ", " (cell(&row["reserved"]["llm_calls"])) " calls" },
        ),
        ("Limit", |row, _| html! { (money(&row["cost_usd"])) ", " (cell(&row["llm_calls"])) " calls" }),
        ("Renewed", |row, clock| clock.time(&row["renewed_at"])),
    ];
    let main = html! {
        h1 { "Models and budgets" }
        (table("Models", of_models, items(&models), "None is configured.", &clock))
        h2 { "Budgets" }
        (table("Budgets", of_budgets, items(&budgets), "None is configured.", &clock))
    };
    Ok(Page { title: "Models and budgets", at: "/models", main }.shown(&web, &viewer))
}

/// How a backup is made, when the last was, and of which moment the data are where they come from one.
fn backup(node: &Value, clock: &Clock) -> Markup {
    let (restored, last) = (&node["restored"], &node["last_backup"]);
    html! {
        section aria-labelledby="backup" {
            h2 id="backup" { "Backup" }
            @if !restored.is_null() { p { "Its data are those of a backup of " (clock.time(&restored["taken_at"])) "." } }
            p { @if last.is_null() { "None was taken so far." } @else { "The last one is of " (clock.time(last)) "." } }
            p { "While it runs, one file with everything, checked: " code { "sortie backup sortie.tar" } ". The node keeps none itself: have a timer take one each night, and keep it elsewhere. " code { "sortie restore" } " brings it back." }
        }
    }
}

/// `GET /node`
pub(super) async fn node(viewer: Viewer, State(web): State<Web>) -> Result<Response, Refused> {
    let node = web.get(&viewer, &["v1", "node"]).await?;
    let channels = web.get(&viewer, &["v1", "notify"]).await?;
    let nodes = web.get(&viewer, &["v1", "nodes"]).await?;
    let clock = web.clock();
    let members: &[Column] = &[
        ("Node", as_is!("instance_id")),
        ("State", |row, _| badge(str(row, "state"))),
        ("Missions", as_is!("open_missions")),
        ("Version", as_is!("version")),
        ("Address", as_is!("url")),
    ];
    let row = |name: &str, value: String| html! { dt { (name) } dd { (value) } };
    let (disk, connections) = (&node["disk"], &node["connections"]);
    let lanes: &[Column] = &[("Lane", as_is!("id")), ("Side by side", as_is!("concurrency"))];
    let providers: &[Column] = &[
        ("Provider", as_is!("name")),
        ("State", |row, _| badge(str(row, "state"))),
        ("Tools", as_is!("tools")),
        ("Last error", as_is!("last_error")),
    ];
    let list = |key: &str| node[key].as_array().map_or(&[][..], Vec::as_slice);
    let main = html! {
        h1 { "Node " (cell(&node["instance_id"])) }
        p class="line" { b { (cell(&node["state"])) } }
        @if viewer.operates() { (super::actions::node_form(&viewer, str(&node, "state"))) }
        dl {
            (row("Version", cell(&node["version"]))) (row("Zone data", cell(&node["zone_data"])))
            (row("Zone of its nights", web.app.engine.zone().name().to_owned()))
            (row("Running", format!("{} of {}", cell(&node["running"]), cell(&node["max_running"]))))
            (row("Queued", cell(&node["queued"]))) (row("Suspended", cell(&node["suspended"]))) (row("Waiting for people", cell(&node["blocked"])))
            (row("In quarantine", cell(&node["quarantined"])))
            @if !node["not_shared"].is_null() { (row("Not shared out", cell(&node["not_shared"]))) }
            (row("Disk", format!("{} MiB free, {} kept for the journal, {} of files{}", cell(&disk["free_mib"]), cell(&disk["reserve_mib"]), cell(&disk["files_mib"]), if disk["low"] == true { "; too little: no missions are taken" } else { "" })))
            (row("Connections", format!("{} of {}", cell(&connections["open"]), cell(&connections["places"]))))
        }
        h2 { "Lanes" } (table("Lanes", lanes, list("lanes"), "None.", &clock))
        @if items(&nodes).len() > 1 { h2 { "Nodes of its store" } (table("Nodes", members, items(&nodes), "None.", &clock)) }
        h2 { "Where its tools come from" } (table("Providers", providers, list("providers"), "None.", &clock))
        (super::channels::table(&viewer, items(&channels), &clock))
        (backup(&node, &clock))
        @if viewer.operates() { (super::actions::halt_form(&viewer)) }
    };
    Ok(Page { title: "Node", at: "/node", main }.shown(&web, &viewer))
}
