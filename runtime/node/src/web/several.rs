//! What is done to all missions of a list that are marked: cancel, redeliver, skip, fork.

use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use serde_json::{Value, json};

use super::Web;
use super::door::{Fields, Posted, Viewer};
use super::fork;
use super::frame::{Refused, decides_nothing, form_key};
use super::missions::MissionsQuery;
use super::session::Notice;
use super::text::{cell, plain, str};
use crate::http::error::Problem;
use crate::mcp::Ask;

/// The name of the form.
const FORM: &str = "several";

/// How it is told what came of it, from the answer.
type Told = fn(&Value) -> String;

/// Most that are forked at once: each has its plugin go over its record first, and all forks of a node have their turns
/// one after another.
const FORKS_MAX: usize = 10;

/// What can be done to several, by the value of its button.
const DEEDS: [(&str, Told); 4] = [
    ("cancel", |_| "cancelled".to_owned()),
    ("redeliver", |_| "its delivery is tried again".to_owned()),
    ("skip", |_| "its delivery is left out".to_owned()),
    ("fork", forked),
];

/// From where several go on, in the words of the interface and of people.
const PLACES: [(&str, &str); 3] = [
    ("failure", "from the call that each failed of, or from its last"),
    ("last", "behind the last call of each"),
    ("0", "from the beginning of each"),
];

/// How a fork is told.
fn forked(answer: &Value) -> String {
    let (fork, from) = (str(answer, "mission_id"), &answer["forked_from"]);
    let begins = match from["calls"].as_u64() {
        Some(0) => "begins anew".to_owned(),
        _ => format!("goes on behind call {}", cell(&from["calls"])),
    };
    let leaves = &from["diverged_at"];
    let leaves =
        if leaves.is_null() { String::new() } else { format!(", and leaves the record at call {}", cell(leaves)) };
    format!("its fork {} {begins}{leaves}", plain(fork))
}

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
                @if fork::lacking(viewer).is_none() {
                    // Sent twice it is one fork of each.
                    input type="hidden" name="key" value=(crate::blanks::unique());
                    label for="at-several" { "Fork them" }
                    select id="at-several" name="at" {
                        @for (place, words) in PLACES { option value=(place) { (words) } }
                    }
                    " " button type="submit" name="decision" value="fork" { "Fork" }
                }
            }
        }
    }
}

/// `POST /missions`
pub(super) async fn act(State(web): State<Web>, posted: Posted) -> Result<Response, Refused> {
    let Posted { viewer, fields } = posted;
    let Some((how, told)) = DEEDS.into_iter().find(|(how, _)| *how == fields.text("decision")) else {
        return Err(Refused::bad("Say what is to be done: cancel, redeliver, skip or fork.").seen_by(&viewer));
    };
    let marked: Vec<String> = fields.marked(&viewer)?.into_iter().map(str::to_owned).collect();
    if how == "fork" && marked.len() > FORKS_MAX {
        return Err(Refused::bad(&format!("At most {FORKS_MAX} are forked at once.")).seen_by(&viewer));
    }
    let back = MissionsQuery::of(&fields).address();
    let asking = viewer.clone();
    // It may take its time: the next page tells what was done, also where nobody waits for this answer any more.
    let all = tokio::spawn(async move { to_each(&web, &asking, &fields, &marked, (how, told)).await });
    all.await.map_err(|error| Refused::problem(Some(&viewer), &Problem::task_failed(&error).body()))??;
    Ok(Redirect::to(&back).into_response())
}

/// Does it to one after the other, and leaves for the next page what came of it.
async fn to_each(
    web: &Web,
    viewer: &Viewer,
    fields: &Fields,
    marked: &[String],
    (how, told): (&str, Told),
) -> Result<(), Refused> {
    let (mut lines, mut is_bad) = (Vec::new(), false);
    for id in marked {
        match web.ask(viewer, ask(how, id, fields)).await {
            Ok(answer) => lines.push(format!("{id}: {}.", told(&answer))),
            // Whoever may not do it may not do it to any of them.
            Err(refused) if refused.status() == StatusCode::FORBIDDEN => return Err(refused),
            Err(refused) => {
                is_bad = true;
                lines.extend(refused.about(id).lines);
            }
        }
    }
    web.sessions.tell(viewer.key, Notice { is_bad, lines });
    Ok(())
}

fn ask(how: &str, id: &str, fields: &Fields) -> Ask {
    let body = match how {
        "cancel" => json!({"reason": fields.text("reason").trim()}),
        "fork" => json!({"at": place(fields.text("at")), "idempotency_key": fields.text("key")}),
        _ => return Ask::new(Method::POST, ["v1", "deliveries", id, how]),
    };
    Ask::new(Method::POST, ["v1", "missions", id, how]).with_body(body.to_string())
}

/// From where, as the interface takes it: a number where it is one.
fn place(said: &str) -> Value {
    said.parse::<u32>().map_or_else(|_| json!(said), |at| json!(at))
}
