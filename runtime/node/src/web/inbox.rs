//! The inbox: what missions ask of people, and people's decisions, one or several at once.

use axum::extract::{Path, State};
use axum::http::Method;
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;

use super::Web;
use super::ask::{Read, items};
use super::decision;
use super::door::{Fields, Posted, Viewer};
use super::frame::{Page, Refused, decides_nothing, form_key, live};
use super::request::{Asked, KINDS};
use super::session::Notice;
use super::text::{Clock, moment, path, plain, str, with_query};
use crate::mcp::Ask;

/// Requests of a page: each is shown with all that it is about.
const PAGE: &str = "25";
/// The name of the form for several.
const SEVERAL: &str = "several";

/// Which page.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct InboxQuery {
    cursor: String,
}

/// `GET /inbox`
pub(super) async fn page(
    viewer: Viewer,
    State(web): State<Web>,
    Read(query): Read<InboxQuery>,
) -> Result<Response, Refused> {
    let mut ask = Ask::new(Method::GET, ["v1", "requests"]).with_query("limit", PAGE);
    if !query.cursor.is_empty() {
        ask = ask.with_query("cursor", query.cursor.as_str());
    }
    let list = web.ask(&viewer, ask).await?;
    let missions = web.asking(&viewer, items(&list)).await?;
    let clock = web.clock();
    let asked: Vec<Asked<'_>> = items(&list).iter().map(|line| whole(line, &missions)).collect();
    let main = html! {
        h1 { "Inbox" }
        // What is written into a form stays there: only this line is fetched anew.
        (live(&with_query("/inbox", &[("cursor", &query.cursor)]), &standing(items(&list), &list, &clock)))
        @if asked.is_empty() { p class="empty" { "Nobody is asked for anything." } }
        @for (kind, title) in KINDS {
            @let of_kind: Vec<&Asked<'_>> = asked.iter().filter(|asked| str(asked.request, "kind") == kind).collect();
            @if !of_kind.is_empty() {
                section aria-labelledby=(format!("kind-{kind}")) {
                    h2 id=(format!("kind-{kind}")) { (title) }
                    @for asked in of_kind { (asked.shown(&viewer, &clock, SEVERAL, true)) }
                }
            }
        }
        @if viewer.operates() && !asked.is_empty() { (several(&viewer)) }
        @if let Some(cursor) = list["next_cursor"].as_str() {
            nav aria-label="Pages of the inbox" { a href=(with_query("/inbox", &[("cursor", cursor)])) rel="next" { "Older →" } }
        }
    };
    Ok(Page { title: "Inbox", at: "/inbox", main }.shown(&web, &viewer))
}

fn standing(lines: &[Value], list: &Value, clock: &Clock) -> Markup {
    let more = if list["next_cursor"].is_null() { "" } else { " or more" };
    let newest = lines.first().map(|line| format!("; the newest is of {}", plain(str(line, "mission_id"))));
    html! {
        p role="status" aria-live="polite" {
            (lines.len()) (more) " open" (newest.unwrap_or_default()) ". As of " (clock.short(clock.now)) "; "
            a href="/inbox" { "reload" } " to see what is new."
        }
    }
}

/// A form that decides about all that are marked.
fn several(viewer: &Viewer) -> Markup {
    html! {
        section aria-labelledby="several-title" {
            h2 id="several-title" { "All that are marked" }
            form id=(SEVERAL) method="post" action="/inbox" class="decide" {
                (form_key(viewer))
                (decides_nothing())
                label for="note-several" { "Note" }
                input id="note-several" name="note" maxlength="2000";
                button type="submit" name="decision" value="approve" class="primary" { "Approve" } " "
                button type="submit" name="decision" value="deny" class="danger" { "Deny" }
            }
        }
    }
}

impl Web {
    /// The missions of some requests, with all that lists cut off. One that has gone meanwhile is not among them.
    async fn asking(&self, viewer: &Viewer, lines: &[Value]) -> Result<Vec<Value>, Refused> {
        let mut missions: Vec<Value> = Vec::new();
        for line in lines {
            let id = str(line, "mission_id");
            if missions.iter().any(|mission| str(mission, "mission_id") == id) {
                continue;
            }
            match self.get(viewer, &["v1", "missions", id]).await {
                Ok(mission) => missions.push(mission),
                Err(refused) if refused.is_late() => {}
                Err(refused) => return Err(refused),
            }
        }
        Ok(missions)
    }

    /// Decides about a request, as a form says.
    async fn decide(&self, viewer: &Viewer, id: &str, request: &str, fields: &Fields) -> Result<(), Refused> {
        let body = decision::body(fields).map_err(|wrong| Refused::bad(&wrong).seen_by(viewer))?;
        let ask = Ask::new(Method::POST, ["v1", "missions", id, "requests", request]).with_body(body.to_string());
        self.ask(viewer, ask).await.map(drop)
    }
}

/// A request as its mission shows it; as the list does, where that has gone on meanwhile.
fn whole<'a>(line: &'a Value, missions: &'a [Value]) -> Asked<'a> {
    let mission = missions.iter().find(|mission| mission["mission_id"] == line["mission_id"]);
    let open = mission.and_then(|mission| mission["pending_requests"].as_array());
    let request = open.and_then(|open| open.iter().find(|request| request["request_id"] == line["request_id"]));
    Asked {
        mission_id: str(line, "mission_id"),
        request: request.unwrap_or(line),
        on_expiry: mission.map_or("", |mission| str(mission, "on_expiry")),
        window_ends: mission.and_then(|mission| moment(&mission["autonomy_window"]["end_at"])),
    }
}

/// `POST /missions/{id}/requests/{request}`
pub(super) async fn decide(
    State(web): State<Web>,
    Path((id, request)): Path<(String, String)>,
    posted: Posted,
) -> Result<Response, Refused> {
    let Posted { viewer, fields } = posted;
    match web.decide(&viewer, &id, &request, &fields).await {
        Ok(()) => {
            let lines = vec![format!("{id} {request}: {}.", in_words(fields.text("decision")))];
            web.sessions.tell(viewer.key, Notice { is_bad: false, lines });
        }
        // The page was old, or the node failed in the middle: the inbox tells that, and shows what there is now.
        Err(refused) if refused.is_late() || refused.is_unsure() => {
            web.sessions.tell(viewer.key, refused.about(&format!("{id} {request}")));
        }
        Err(refused) => return Err(refused),
    }
    Ok(Redirect::to("/inbox").into_response())
}

/// `POST /inbox`: one decision about all that are marked.
pub(super) async fn decide_several(State(web): State<Web>, posted: Posted) -> Result<Response, Refused> {
    let Posted { viewer, fields } = posted;
    if fields.text("decision").is_empty() {
        return Err(Refused::bad(decision::SAY_WHAT).seen_by(&viewer));
    }
    let (mut lines, mut is_bad) = (Vec::new(), false);
    for item in fields.marked(&viewer)? {
        let Some((id, request)) = item.rsplit_once('/') else { continue };
        match web.decide(&viewer, id, request, &fields).await {
            Ok(()) => lines.push(format!("{id} {request}: {}.", in_words(fields.text("decision")))),
            // Whoever may not decide may not decide about any of them.
            Err(refused) if refused.status() == axum::http::StatusCode::FORBIDDEN => return Err(refused),
            Err(refused) => {
                is_bad = true;
                lines.extend(refused.about(&format!("{id} {request}")).lines);
            }
        }
    }
    web.sessions.tell(viewer.key, Notice { is_bad, lines });
    Ok(Redirect::to("/inbox").into_response())
}

fn in_words(decision: &str) -> &'static str {
    match decision {
        "approve" => "approved",
        "amend" => "approved with other arguments",
        "deny" => "denied",
        "answer" => "answered",
        "grant" => "granted",
        "repeat" => "made again",
        "record" => "recorded",
        _ => "decided",
    }
}

/// What leads to the inbox from elsewhere.
pub(super) fn link(mission: &Value) -> Markup {
    let open = mission["pending_requests"].as_array().map_or(0, Vec::len);
    html! { @if open > 0 { p { a href=(path(&["inbox"])) { (open) " waiting in the inbox" } } } }
}
