//! What is done to all missions of a list that are marked: cancel, redeliver, skip.

use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use serde_json::json;

use super::Web;
use super::door::{Fields, Posted, Viewer};
use super::frame::{Refused, decides_nothing, form_key};
use super::missions::MissionsQuery;
use super::session::Notice;
use super::text::plain;
use crate::mcp::Ask;

/// The name of the form.
const FORM: &str = "several";

/// What can be done to several, by the value of its button, and how it is told.
const DEEDS: [(&str, &str); 3] =
    [("cancel", "cancelled"), ("redeliver", "its delivery is tried again"), ("skip", "its delivery is left out")];

/// The box that marks a mission.
pub(super) fn mark(id: &str) -> Markup {
    html! {
        // What is marked stays so when the list is fetched anew.
        input type="checkbox" form=(FORM) name="item" id=(format!("mark-{id}")) value=(id) hx-preserve="true" aria-label=(format!("Mark {}", plain(id)));
    }
}

/// The form about all that are marked, which leads back to the list as it is narrowed.
pub(super) fn form(viewer: &Viewer, query: &MissionsQuery) -> Markup {
    html! {
        section aria-labelledby="several-title" {
            h2 id="several-title" { "All that are marked" }
            form id=(FORM) method="post" action="/missions" class="decide" {
                (form_key(viewer))
                @for (name, value) in query.pairs().into_iter().filter(|(_, value)| !value.is_empty()) {
                    input type="hidden" name=(name) value=(value);
                }
                (decides_nothing())
                label for="reason-several" { "Reason of a cancel" }
                input id="reason-several" name="reason" maxlength="2000";
                button type="submit" name="decision" value="cancel" class="danger" { "Cancel" } " "
                button type="submit" name="decision" value="redeliver" { "Try their parked deliveries again" } " "
                button type="submit" name="decision" value="skip" class="danger" { "Leave their parked deliveries out" }
            }
        }
    }
}

/// `POST /missions`
pub(super) async fn act(State(web): State<Web>, posted: Posted) -> Result<Response, Refused> {
    let Posted { viewer, fields } = posted;
    let Some((how, done)) = DEEDS.into_iter().find(|(how, _)| *how == fields.text("decision")) else {
        return Err(Refused::bad("Say what is to be done: cancel, redeliver or skip.").seen_by(&viewer));
    };
    let (mut lines, mut is_bad) = (Vec::new(), false);
    for id in fields.marked(&viewer)? {
        match web.ask(&viewer, ask(how, id, &fields)).await {
            Ok(_) => lines.push(format!("{id}: {done}.")),
            // Whoever may not do it may not do it to any of them.
            Err(refused) if refused.status() == StatusCode::FORBIDDEN => return Err(refused),
            Err(refused) => {
                is_bad = true;
                lines.extend(refused.about(id).lines);
            }
        }
    }
    web.sessions.tell(viewer.key, Notice { is_bad, lines });
    Ok(Redirect::to(&MissionsQuery::of(&fields).address()).into_response())
}

fn ask(how: &str, id: &str, fields: &Fields) -> Ask {
    if how == "cancel" {
        let body = json!({"reason": fields.text("reason").trim()}).to_string();
        return Ask::new(Method::POST, ["v1", "missions", id, "cancel"]).with_body(body);
    }
    Ask::new(Method::POST, ["v1", "deliveries", id, how])
}
