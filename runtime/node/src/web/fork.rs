//! The form that forks a mission: from which call, and with which inputs.

use axum::extract::{Path, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use sortie_contract::envelope::{in_one_line, laid_out, read_strictly};
use sortie_contract::mistake::code;

use super::Web;
use super::ask::Read;
use super::door::{Fields, Posted, Viewer};
use super::frame::{Page, Refused, decides_nothing, form_key};
use super::session::Notice;
use super::text::{cell, path, plain, str, with_query};
use crate::config::Scope;
use crate::mcp::Ask;

/// As of which record the form begins; empty is the last.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ForkQuery {
    record: String,
}

/// From where a mission can be forked, and with what.
#[derive(Debug, Deserialize)]
struct Forkable {
    plugin: String,
    calls: u32,
    at: u32,
    last: u32,
    failure: Option<u32>,
    /// As they are written: of some numbers a value has the next double alone.
    inputs: Box<RawValue>,
}

/// What the form has the interface do.
#[derive(Debug, Serialize)]
struct Order<'f> {
    at: u32,
    idempotency_key: &'f str,
    #[serde(skip_serializing_if = "Option::is_none")]
    inputs: Option<Box<RawValue>>,
}

/// What leads to the form, from a mission as of a record, or as it is now.
pub(super) fn link(viewer: &Viewer, id: &str, record: Option<u64>) -> Markup {
    let form = path(&["missions", id, "fork"]);
    let to = record.map_or_else(|| form.clone(), |no| with_query(&form, &[("record", &no.to_string())]));
    html! { @if lacking(viewer).is_none() { p { a href=(to) { "Fork from here" } } } }
}

/// `GET /missions/{id}/fork`
pub(super) async fn page(
    viewer: Viewer,
    State(web): State<Web>,
    Path(id): Path<String>,
    Read(ForkQuery { record }): Read<ForkQuery>,
) -> Result<Response, Refused> {
    may(&viewer)?;
    let forkable = forkable(&web, &viewer, &id, &record).await?;
    let (at, inputs) = (forkable.at.to_string(), forkable.laid_out());
    let fields = [("at", at.as_str()), ("inputs", &inputs), ("key", &crate::blanks::unique())];
    let sent = Fields(fields.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    Ok(shown(&web, &viewer, &id, &forkable, &sent, &[]))
}

/// `POST /missions/{id}/fork`
pub(super) async fn send(State(web): State<Web>, Path(id): Path<String>, posted: Posted) -> Result<Response, Refused> {
    let Posted { viewer, fields } = posted;
    may(&viewer)?;
    let forkable = forkable(&web, &viewer, &id, "").await?;
    let again = |said: Vec<String>| {
        let mut page = shown(&web, &viewer, &id, &forkable, &fields, &said);
        *page.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
        page
    };
    let body = match body(&fields, &forkable) {
        Ok(order) => serde_json::to_string(&order).expect("it is plain data"),
        Err(wrong) => return Ok(again(vec![wrong])),
    };
    let ask = Ask::new(Method::POST, ["v1", "missions", &id, "fork"]).with_body(body);
    match web.try_ask(&viewer, ask).await? {
        Ok(forked) => {
            let fork = str(&forked, "mission_id");
            let calls = &forked["forked_from"]["calls"];
            let lines = vec![format!("{fork} is a fork of {id}: it has the first {calls} calls on record.")];
            web.sessions.tell(viewer.key, Notice { is_bad: false, lines });
            Ok(Redirect::to(&path(&["missions", fork])).into_response())
        }
        Err(problem) => {
            let errors = problem["errors"].as_array().into_iter().flatten();
            let errors = errors.map(|error| format!("{}: {}", str(error, "pointer"), str(error, "detail")));
            Ok(again([str(&problem, "detail").to_owned()].into_iter().chain(errors).collect()))
        }
    }
}

/// What a fork takes: it is a mission of the viewer's making, and the form shows what is sent with the one that it is of.
const SCOPES: [Scope; 3] = [Scope::Operate, Scope::Dispatch, Scope::Read];

/// What a viewer lacks of that.
pub(super) fn lacking(viewer: &Viewer) -> Option<Scope> {
    SCOPES.into_iter().find(|scope| !viewer.holder.may(*scope))
}

fn may(viewer: &Viewer) -> Result<(), Refused> {
    lacking(viewer).map_or(Ok(()), |scope| Err(Refused::problem(Some(viewer), &viewer.holder.lacks(scope).body())))
}

/// From where the mission can be forked, as of a record.
async fn forkable(web: &Web, viewer: &Viewer, id: &str, record: &str) -> Result<Forkable, Refused> {
    let ask = Ask::new(Method::GET, ["v1", "missions", id, "fork"]);
    web.ask_for(viewer, if record.is_empty() { ask } else { ask.with_query("record", record) }).await
}

impl Forkable {
    /// Its inputs, for people.
    fn laid_out(&self) -> String {
        laid_out(self.inputs.get()).unwrap_or_else(|| self.inputs.get().to_owned())
    }
}

/// What the form says, for the interface.
fn body<'f>(fields: &'f Fields, forkable: &Forkable) -> Result<Order<'f>, String> {
    let said = fields.text("at").trim();
    let at: u32 = said.parse().map_err(|_| format!("The call must be a number, and not “{said}”."))?;
    let (text, why) = (fields.text("inputs"), |why: &str| format!("The inputs must be a JSON object: {why}."));
    let (inputs, mistakes) = read_strictly(text).map_err(|mistake| why(&mistake.detail))?;
    // Numbers are handed on as they are written.
    if let Some(mistake) = mistakes.iter().find(|mistake| mistake.code != code::NOT_EXACT) {
        return Err(why(&mistake.detail));
    }
    let written = in_one_line(text).filter(|_| inputs.is_object()).ok_or_else(|| why("they are no object"))?;
    // Their own are sent as they were, and not as this form lays them out.
    let is_own = in_one_line(forkable.inputs.get()).is_some_and(|own| own.get() == written.get());
    Ok(Order { at, idempotency_key: fields.text("key"), inputs: Some(written).filter(|_| !is_own) })
}

fn shown(web: &Web, viewer: &Viewer, id: &str, forkable: &Forkable, sent: &Fields, said: &[String]) -> Response {
    let Forkable { last, plugin, calls, failure, .. } = forkable;
    let rows = sent.text("inputs").lines().count().clamp(4, 24);
    let main = html! {
        h1 { "Fork " a href=(path(&["missions", id])) { (plain(id)) } }
        @if !said.is_empty() { div class="notice bad" role="alert" { @for line in said { p { (plain(line)) } } } }
        p {
            "A fork is a mission of its own. It begins with what is on record up to a call, of which nothing is done again, and goes on behind it
            for real, on the plugin " (plain(plugin)) ". What was spent up to there is not the fork's; its events go nowhere else; it gets a copy of
            the workspace as that is now."
        }
        form method="post" action=(path(&["missions", id, "fork"])) {
            (form_key(viewer)) (decides_nothing())
            input type="hidden" name="key" value=(sent.text("key"));
            p {
                label for="at" { "Up to and with call, from 0 to " (last) } " "
                input id="at" name="at" type="number" min="0" max=(last) step="1" required aria-describedby="places" value=(sent.text("at"));
            }
            p class="dim" id="places" {
                "It has made " (calls) " calls. 0 begins anew"
                @if let Some(failure) = failure { "; " (failure) " is before the call that it failed of" }
                "; " (last) " is the last that it can go on from."
            }
            p {
                label for="inputs" { "Inputs" }
                textarea id="inputs" name="inputs" rows=(rows) spellcheck="false" { (sent.text("inputs")) }
            }
            p class="dim" { "With other inputs the plugin may ask for something else before that call: there the record is left, and the fork goes on for real." }
            button type="submit" class="primary" { "Fork" }
        }
    };
    Page { title: "Fork", at: "/missions", main }.shown(web, viewer)
}

/// Where a fork comes from, on its page.
pub(super) fn origin(mission: &Value) -> Markup {
    let from = &mission["forked_from"];
    let of = str(from, "mission_id");
    html! {
        @if !from.is_null() {
            p {
                "A fork of " a href=(path(&["missions", of])) { (plain(of)) } ", whose first " (cell(&from["calls"])) " calls it has on record."
                @if !from["diverged_at"].is_null() { " Its plugin leaves the record at call " (cell(&from["diverged_at"])) "." }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_sends_inputs_only_where_they_are_others() {
        let own = r#"{"b": 1.50, "a": 12345678901234567890123}"#;
        let forkable = format!(
            r#"{{"mission_id": "m", "calls": 3, "at": 3, "last": 3, "failure": null, "plugin": "p@1.0.0", "inputs": {own}}}"#
        );
        let forkable: Forkable = serde_json::from_str(&forkable).expect("what the interface answers");
        let read = |at: &str, inputs: &str| {
            let fields = [("at", at), ("inputs", inputs), ("key", "k")];
            let fields = Fields(fields.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
            body(&fields, &forkable).map(|order| serde_json::to_string(&order).expect("plain data"))
        };
        let same = r#"{"at":2,"idempotency_key":"k"}"#.to_owned();
        for inputs in [forkable.laid_out().as_str(), own, "{\"b\":1.50,\n\"a\":12345678901234567890123}"] {
            assert_eq!(read(" 2 ", inputs), Ok(same.clone()), "{inputs}");
        }
        for (inputs, sent) in [
            ("{\"b\": 1}", "{\"b\":1}"),
            ("{\"b\": 1.5,\n\"a\": 12345678901234567890123}", "{\"b\":1.5,\"a\":12345678901234567890123}"),
            ("{\"b\": 1.50, \"a\": 12345678901234567890124}", "{\"b\":1.50,\"a\":12345678901234567890124}"),
        ] {
            let whole = format!(r#"{{"at":2,"idempotency_key":"k","inputs":{sent}}}"#);
            assert_eq!(read("2", inputs), Ok(whole), "{inputs}");
        }
        for (at, inputs, part) in [
            ("x", "{}", "must be a number"),
            ("1", "[]", "no object"),
            ("1", "{", "JSON object"),
            ("1", "{\"a\":1,\"a\":1}", "JSON object"),
        ] {
            assert!(read(at, inputs).expect_err(inputs).contains(part), "{inputs}");
        }
    }
}
