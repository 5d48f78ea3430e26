//! Links of messages: each leads to one request, and lets whoever holds it decide about that one, without a token.
//!
//! A link is a right that went through somebody's mailbox, and is kept small: it shows the one request as the inbox does, and takes only
//! decisions that say nothing of their own: approve this call as it stands, deny, repeat, grant what is asked for, answer a question. Other
//! arguments, a wider reach, another amount, a result: for these one signs in. Looking does nothing, for programs that look after mail look
//! first. It is used up with the request, which is decided once. Who decided is on record as the link of its channel.

use axum::extract::{Path, Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{Html, IntoResponse as _, Response};
use maud::{Markup, html};
use serde_json::{Value, json};
use sortie_contract::request::RequestNo;
use sortie_notify::{Grant, NotALink};

use super::Web;
use super::decision;
use super::door::Fields;
use super::frame::{Refused, decides_nothing, frame};
use super::request::Asked;
use super::text::{moment, path, plain, str};
use crate::config::Scope;
use crate::http::auth::Holder;
use crate::mcp::Ask;
use crate::mcp::api;

/// Most bytes of a form: an answer. Whoever sends it is a stranger but for the link.
const FORM_BYTES_MAX: usize = 64 << 10;

/// What a link may decide, by the kind of the request.
fn may_be(kind: &str) -> &'static [&'static str] {
    match kind {
        "approval" => &["approve", "deny"],
        "input" => &["answer", "deny"],
        "budget" => &["grant", "deny"],
        "uncertain" => &["repeat", "deny"],
        _ => &[],
    }
}

/// A link, and what it leads to.
struct Followed {
    grant: Grant,
    holder: Holder,
    /// The mission, as it stands.
    mission: Value,
    /// The request, while it is open.
    request: Option<Value>,
}

impl Web {
    async fn follow(&self, link: &str) -> Result<Followed, Refused> {
        let grant = self.app.notifier.grant(link).map_err(|error| match error {
            NotALink::Forged => Refused::missing("This is no link of this node, or one that was cut on its way."),
            NotALink::Over => {
                Refused::missing("This link has ended, as each does after a while. Sign in to see how things stand.")
            }
        })?;
        let name = format!("link of channel {}", grant.channel);
        // It reads that one mission and decides about that one request: nothing else is asked in its name.
        let holder = Holder::new(&name, &[Scope::Read, Scope::Operate]);
        let ask = Ask::new(Method::GET, ["v1", "missions", &grant.mission]);
        let mission = api::json(&self.inside, &holder, ask).await.map_err(Refused::stranger)?;
        let id = RequestNo(grant.request).to_string();
        let open = mission["pending_requests"].as_array().into_iter().flatten();
        let request = open.into_iter().find(|request| request["request_id"] == id.as_str()).cloned();
        Ok(Followed { grant, holder, mission, request })
    }
}

/// `GET /go/{link}`: shows the request, and does nothing.
pub(super) async fn page(State(web): State<Web>, Path(link): Path<String>) -> Result<Response, Refused> {
    let followed = web.follow(&link).await?;
    let Some(request) = &followed.request else { return Ok(over(&followed)) };
    Ok(shown(StatusCode::OK, &web, &followed, request, &link, None))
}

/// `POST /go/{link}`: decides.
pub(super) async fn decide(
    State(web): State<Web>,
    Path(link): Path<String>,
    request: Request,
) -> Result<Response, Refused> {
    let fields = Fields::read(request, FORM_BYTES_MAX).await?;
    let followed = web.follow(&link).await?;
    let Some(request) = &followed.request else { return Ok(over(&followed)) };
    let body = match body(request, &fields) {
        Ok(body) => body,
        Err(wrong) => return Ok(shown(StatusCode::BAD_REQUEST, &web, &followed, request, &link, Some(&wrong))),
    };
    let Grant { mission, channel, request: no, .. } = &followed.grant;
    let id = RequestNo(*no).to_string();
    let ask = Ask::new(Method::POST, ["v1", "missions", mission, "requests", &id]).with_body(body.to_string());
    match api::json(&web.inside, &followed.holder, ask).await {
        Ok(_) => {
            let decision = str(&body, "decision");
            tracing::info!(mission_id = mission, request = id, channel, decision, "decided by a link");
            let said = format!("Decided: {decision}. This link is used up.");
            Ok(told(StatusCode::OK, "Done", &[&said], mission))
        }
        Err(trouble) => Err(Refused::stranger(trouble)),
    }
}

/// The decision that a form says: made here, of what a link may say, and of nothing else that was sent.
fn body(request: &Value, fields: &Fields) -> Result<Value, String> {
    let decision = fields.text("decision");
    if !may_be(str(request, "kind")).contains(&decision) {
        return Err(decision::SAY_WHAT.to_owned());
    }
    let mut body = json!({"decision": decision});
    match decision {
        "answer" => body["text"] = json!(decision::answer(fields)?),
        "grant" => body["amount"] = request["budget"]["wanted"].clone(),
        _ => {}
    }
    Ok(body)
}

fn shown(
    status: StatusCode,
    web: &Web,
    followed: &Followed,
    request: &Value,
    link: &str,
    wrong: Option<&str>,
) -> Response {
    let mission = &followed.mission;
    let asked = Asked {
        mission_id: &followed.grant.mission,
        request,
        on_expiry: str(mission, "on_expiry"),
        window_ends: moment(&mission["autonomy_window"]["end_at"]),
    };
    let kind = str(request, "kind");
    let button = |decision: &str, name: &str, class: &str| {
        html! { button type="submit" name="decision" value=(decision) class=(class) formnovalidate[decision == "deny"] { (name) } " " }
    };
    let buttons = match kind {
        "approval" => html! { (button("approve", "Approve this call", "primary")) (button("deny", "Deny", "danger")) },
        "input" => {
            html! { (asked.answer()) (button("answer", "Answer", "primary")) (button("deny", "Do not answer", "danger")) }
        }
        "budget" => html! { (button("grant", "Grant what is wanted", "primary")) (button("deny", "Deny", "danger")) },
        "uncertain" => html! {
            p { "The node does not know whether this call was made. Look outside, then say. If it was made, sign in to record its result." }
            (button("repeat", "It was not: make it again", "primary")) (button("deny", "Deny", "danger"))
        },
        _ => html! {},
    };
    let main = html! {
        h1 { "A mission asks" }
        @if let Some(wrong) = wrong { p class="notice bad" role="alert" { (plain(wrong)) } }
        article class="request" {
            h2 { (plain(&followed.grant.mission)) " · " (plain(str(request, "request_id")))
                @if let Some(tool) = request["tool"].as_str() { " · " code { (plain(tool)) } }
            }
            (asked.told(&web.clock()))
            form method="post" action=(path(&["go", link])) class="decide" { (decides_nothing()) (buttons) }
        }
        p class="dim" {
            "This link is for this one request, and is used up with it. Whoever has it can decide: do not pass it on. "
            a href=(path(&["missions", &followed.grant.mission])) { "Sign in" } " for more."
        }
    };
    (status, Html(frame("A mission asks", None, &main).into_string())).into_response()
}

/// That the request is over.
fn over(followed: &Followed) -> Response {
    let said =
        "This request is not open any more: it was decided, taken back, or its mission has ended. Nothing was done.";
    told(StatusCode::GONE, "It is over", &[said], &followed.grant.mission)
}

fn told(status: StatusCode, title: &str, lines: &[&str], mission: &str) -> Response {
    let main: Markup = html! {
        h1 { (plain(title)) }
        @for line in lines { p { (plain(line)) } }
        p { a href=(path(&["missions", mission])) { "The mission" } " (sign in to see it)" }
    };
    (status, Html(frame(title, None, &main).into_string())).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_decides_what_is_asked_and_says_nothing_else() {
        let request = |kind: &str| json!({"kind": kind, "budget": {"wanted": {"llm_calls": 2, "cost_usd": 0.5}}});
        let fields = |pairs: &[(&str, &str)]| {
            Fields(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
        };
        for (kind, pairs, expected) in [
            (
                "approval",
                &[("decision", "approve"), ("for", "mission"), ("arguments", "{}"), ("by", "ada")][..],
                Some(json!({"decision": "approve"})),
            ),
            ("approval", &[("decision", "deny")], Some(json!({"decision": "deny"}))),
            ("approval", &[("decision", "amend"), ("arguments", "{}")], None),
            ("approval", &[("decision", "")], None),
            ("approval", &[], None),
            (
                "budget",
                &[("decision", "grant"), ("cost_usd", "1000000")],
                Some(json!({"decision": "grant", "amount": {"llm_calls": 2, "cost_usd": 0.5}})),
            ),
            ("uncertain", &[("decision", "repeat")], Some(json!({"decision": "repeat"}))),
            ("uncertain", &[("decision", "record"), ("result", "1")], None),
            ("input", &[("decision", "answer"), ("text", "B")], Some(json!({"decision": "answer", "text": "B"}))),
            ("input", &[("decision", "approve")], None),
            ("something new", &[("decision", "approve")], None),
        ] {
            assert_eq!(body(&request(kind), &fields(pairs)).ok(), expected, "{kind} {pairs:?}");
        }
    }
}
