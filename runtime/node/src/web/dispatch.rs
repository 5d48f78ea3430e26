//! A mission by a form: the plugin is chosen, its inputs are fields, what would hold is told, and then it is dispatched.
//!
//! What is taken and what is wrong the interface says (`POST /v1/explain`, `POST /v1/missions`). The key that makes a second dispatch the same
//! one, the name and the time are made with the form: sent twice, it is one mission.

use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Redirect, Response};
use jiff::civil::DateTime;
use maud::{Markup, html};
use rand::Rng as _;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sortie_contract::envelope::MissionType;

use super::Web;
use super::ask::{Read, items};
use super::door::{Fields, Posted, Viewer};
use super::explained;
use super::frame::{Page, Refused, form_key};
use super::inputs::{Inputs, lines, number};
use super::session::Notice;
use super::takes;
use super::text::{Clock, path, plain, str, with_query};
use crate::config::Scope;
use crate::mcp::Ask;

/// Who dispatches, as envelopes have it.
const SOURCE: &str = "dashboard";

/// Which plugin; empty is a choice among all.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct DispatchQuery {
    plugin: String,
}

/// `GET /dispatch`
pub(super) async fn page(
    viewer: Viewer,
    State(web): State<Web>,
    Read(query): Read<DispatchQuery>,
) -> Result<Response, Refused> {
    may(&viewer)?;
    if query.plugin.is_empty() {
        return choice(&web, &viewer).await;
    }
    let form = Form::of(&web, &viewer, &query.plugin, Fields(fresh(&query.plugin, &web.clock()))).await?;
    Ok(form.page(&web, &viewer, StatusCode::OK))
}

fn may(viewer: &Viewer) -> Result<(), Refused> {
    if viewer.holder.may(Scope::Dispatch) {
        return Ok(());
    }
    Err(Refused::problem(Some(viewer), &viewer.holder.lacks(Scope::Dispatch).body()))
}

async fn choice(web: &Web, viewer: &Viewer) -> Result<Response, Refused> {
    let plugins = web.get(viewer, &["v1", "plugins"]).await?;
    let main = html! {
        h1 { "Dispatch a mission" }
        p { "On which plugin does it run?" }
        ul {
            @for plugin in items(&plugins) {
                @let name = str(plugin, "name");
                li { a href=(with_query("/dispatch", &[("plugin", name)])) { b { (plain(name)) } } " " (plain(str(plugin, "description"))) (plain(&takes::sentences(plugin))) }
            }
        }
        @if items(&plugins).is_empty() { p { "There are no plugins." } }
    };
    Ok(Page { title: "Dispatch a mission", at: "/missions", main }.shown(web, viewer))
}

/// What is made with a form.
fn fresh(plugin: &str, clock: &Clock) -> Vec<(String, String)> {
    let mut bytes = [0_u8; 8];
    rand::rng().fill_bytes(&mut bytes);
    let key: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let at = clock.now.strftime("%Y%m%dT%H%M%SZ").to_string();
    let id = format!("{plugin}-{at}-{}", &key[..4]);
    let pair = |name: &str, value: String| (name.to_owned(), value);
    let kind = MissionType::ALL.iter().find(|kind| kind.as_str() == plugin).unwrap_or(&MissionType::Custom);
    vec![
        pair("mission_id", id),
        pair("vp_id", format!("vp.{plugin}")),
        pair("mission_type", kind.as_str().to_owned()),
        pair("key", key),
        pair("made_at", clock.now.to_string()),
    ]
}

/// `POST /dispatch`
pub(super) async fn send(State(web): State<Web>, posted: Posted) -> Result<Response, Refused> {
    let Posted { viewer, fields } = posted;
    may(&viewer)?;
    let plugin = fields.text("plugin").to_owned();
    let is_meant = match fields.text("decision") {
        "dispatch" => true,
        "explain" => false,
        _ => return Err(Refused::bad(super::decision::SAY_WHAT).seen_by(&viewer)),
    };
    let mut form = Form::of(&web, &viewer, &plugin, fields).await?;
    let envelope = match form.envelope(&web) {
        Ok(envelope) => envelope.to_string(),
        Err(mistakes) => {
            form.mistakes = mistakes;
            return Ok(form.page(&web, &viewer, StatusCode::UNPROCESSABLE_ENTITY));
        }
    };
    let step: &[&str] = if is_meant { &["v1", "missions"] } else { &["v1", "explain"] };
    let ask = Ask::new(Method::POST, step.iter().copied()).with_body(envelope);
    match web.try_ask(&viewer, ask).await? {
        Ok(taken) if is_meant => {
            let id = str(&taken, "mission_id").to_owned();
            web.sessions.tell(viewer.key, Notice { is_bad: false, lines: vec![format!("{id} is dispatched.")] });
            Ok(Redirect::to(&path(&["missions", &id])).into_response())
        }
        Ok(explained) => {
            form.mistakes = explained["errors"].as_array().cloned().unwrap_or_default();
            form.explained = Some(explained);
            Ok(form.page(&web, &viewer, StatusCode::OK))
        }
        Err(problem) => {
            form.said = str(&problem, "detail").to_owned();
            form.mistakes = problem["errors"].as_array().cloned().unwrap_or_default();
            Ok(form.page(&web, &viewer, StatusCode::UNPROCESSABLE_ENTITY))
        }
    }
}

/// A form, as it is or as it was sent.
struct Form {
    /// As an envelope names it: with its version.
    plugin: String,
    /// What it says of its missions.
    takes: Markup,
    inputs: Inputs,
    sent: Fields,
    mistakes: Vec<Value>,
    said: String,
    explained: Option<Value>,
}

/// A field whose value is a text or a list of them: its name, its place in the envelope, what it is called, and whether it is a list.
type Plain = (&'static str, &'static str, &'static str, bool);

const WHO: [Plain; 4] = [
    ("mission_id", "/mission_id", "Its name", false),
    ("vp_id", "/vp_id", "Done as the VP", false),
    ("vp_session_id", "/vp_session_id", "Session (empty: that of the VP's latest mission)", false),
    ("vp_runtime_id", "/vp_runtime_id", "Lane (empty: the node's own)", false),
];
const ENDS: [Plain; 2] = [
    ("success_criteria", "/success_criteria", "Criteria, one on a line", true),
    ("required_outputs", "/artifact_policy/required_outputs", "Outputs that it has to leave, one on a line", true),
];
const TOOLS: [Plain; 3] = [
    (
        "allowed_tools",
        "/constraints/allowed_tools",
        "Tools that it may use, one on a line: Read, Write(docs/**), mcp__wiki__*",
        true,
    ),
    ("approval_required", "/constraints/approval_required", "Ask before these", true),
    ("forbidden_tools", "/constraints/forbidden_tools", "Never these", true),
];
const LIMITS: [Plain; 3] = [
    ("max_runtime_minutes", "/budget/max_runtime_minutes", "Run time, in minutes", false),
    ("max_llm_calls", "/budget/max_llm_calls", "Model calls", false),
    ("max_cost_usd", "/budget/max_cost_usd", "Money, in US dollars", false),
];
const WINDOW: [Plain; 2] = [
    ("start_at", "/autonomy_window/start_at", "Not before", false),
    ("end_at", "/autonomy_window/end_at", "Not at this or later", false),
];

impl Form {
    async fn of(web: &Web, viewer: &Viewer, plugin: &str, sent: Fields) -> Result<Self, Refused> {
        // With its version, once it was chosen: that is the one whose fields are filled in.
        let (name, version) = plugin.split_once('@').unwrap_or((plugin, ""));
        let plugins = web.get(viewer, &["v1", "plugins"]).await?;
        let of_name =
            |plugin: &&Value| str(plugin, "name") == name && (version.is_empty() || str(plugin, "version") == version);
        let Some(found) = items(&plugins).iter().find(of_name) else {
            return Err(Refused::missing("There is no such plugin on this node that runs missions.").seen_by(viewer));
        };
        Ok(Self {
            plugin: format!("{name}@{}", str(found, "version")),
            takes: takes::shown(found),
            inputs: Inputs::of(&found["inputs_schema"]),
            sent,
            mistakes: Vec::new(),
            said: String::new(),
            explained: None,
        })
    }

    /// The envelope that it says, or what of it cannot be read.
    fn envelope(&self, web: &Web) -> Result<Value, Vec<Value>> {
        let (inputs, mut mistakes) = self.inputs.read(&self.sent);
        let clock = web.clock();
        let mut wrong = |place: &str, detail: String| mistakes.push(json!({"pointer": place, "detail": detail}));
        let mut envelope = json!({
            "mission_id": "",
            "source_instance_id": SOURCE,
            "target_instance_id": &*web.app.called.instance_id,
            "mission_type": self.sent.text("mission_type"),
            "plugin": self.plugin,
            "objective": self.sent.text("objective"),
            "idempotency_key": self.sent.text("key"),
            "trace_id": format!("{SOURCE}-{}", self.sent.text("key")),
            "created_at": self.sent.text("made_at"),
        });
        for (name, place, _, is_list) in WHO.iter().chain(&ENDS).chain(&TOOLS) {
            let Some(given) = self.sent.given(name) else { continue };
            put(&mut envelope, place, if *is_list { lines(given) } else { json!(given.trim()) });
        }
        for (name, place, ..) in LIMITS {
            let Some(given) = self.sent.given(name) else { continue };
            match number(given) {
                Ok(number) => put(&mut envelope, place, number),
                Err(why) => wrong(place, why),
            }
        }
        for (name, place, ..) in WINDOW {
            let Some(given) = self.sent.given(name) else { continue };
            // As a browser writes it: without a zone, which the form names.
            let local = given.trim().parse::<DateTime>().ok().and_then(|at| clock.zone.rules().to_timestamp(at).ok());
            match local {
                Some(at) => put(&mut envelope, place, json!(at.to_string())),
                None => wrong(place, format!("“{given}” is no time such as 2026-12-01T06:00")),
            }
        }
        if !inputs.is_empty() {
            envelope["inputs"] = Value::Object(inputs);
        }
        if mistakes.is_empty() { Ok(envelope) } else { Err(mistakes) }
    }

    fn page(&self, web: &Web, viewer: &Viewer, status: StatusCode) -> Response {
        let title = format!("Dispatch: {}", self.plugin);
        let clock = web.clock();
        let is_wrong = !self.mistakes.is_empty() || !self.said.is_empty();
        let main = html! {
            h1 { (plain(&title)) }
            (self.takes)
            @if is_wrong { (self.whole()) }
            @if let Some(explained) = &self.explained { (explained::shown(explained, &clock)) }
            form method="post" action="/dispatch" class="decide" {
                (form_key(viewer))
                @for name in ["key", "made_at"] { input type="hidden" name=(name) value=(self.sent.text(name)); }
                input type="hidden" name="plugin" value=(self.plugin);
                (self.group("What", &html! {
                    label for="objective" { "Objective" }
                    (self.wrong("/objective"))
                    textarea id="objective" name="objective" rows="3" required { (self.sent.text("objective")) }
                    (self.inputs.shown(&self.sent, &|place| self.wrong(place)))
                    (self.fields(&ENDS, "text"))
                }))
                (self.group("As whom, and where", &html! {
                    label for="mission_type" { "Type" }
                    (self.wrong("/mission_type"))
                    select id="mission_type" name="mission_type" {
                        @for kind in MissionType::ALL { option value=(kind.as_str()) selected[kind.as_str() == self.sent.text("mission_type")] { (kind.as_str()) } }
                    }
                    (self.fields(&WHO, "text"))
                }))
                (self.group("What it may use", &self.fields(&TOOLS, "text")))
                (self.group("What it may spend (empty: as much as the node lets it)", &self.fields(&LIMITS, "number")))
                (self.group(&format!("When, by the clock of {} (empty: at once, without an end)", clock.zone.name()), &self.fields(&WINDOW, "datetime-local")))
                // The first button is that of Enter: it changes nothing.
                button type="submit" name="decision" value="explain" { "Explain: what would hold?" }
                @if self.explained.as_ref().is_some_and(|explained| explained["accepted"] == true) {
                    " " button type="submit" name="decision" value="dispatch" class="primary" { "Dispatch" }
                }
            }
            p { a href="/dispatch" { "Another plugin" } }
        };
        (status, Page { title: &title, at: "/missions", main }.shown(web, viewer)).into_response()
    }

    fn group(&self, legend: &str, fields: &Markup) -> Markup {
        html! { fieldset { legend { (legend) } (fields) } }
    }

    fn fields(&self, all: &[Plain], kind: &str) -> Markup {
        html! {
            @for (name, place, words, is_list) in all {
                label for=(name) { (words) }
                (self.wrong(place))
                @if *is_list { textarea id=(name) name=(name) rows="3" spellcheck="false" { (self.sent.text(name)) } }
                @else if kind == "number" { input id=(name) name=(name) inputmode="decimal" value=(self.sent.text(name)); }
                @else { input id=(name) name=(name) type=(kind) value=(self.sent.text(name)); }
            }
        }
    }

    /// What is wrong at a place, and below it.
    fn wrong(&self, place: &str) -> Markup {
        let here = self.mistakes.iter().filter(|mistake| is_at(str(mistake, "pointer"), place));
        html! {
            @for mistake in here {
                p class="notice bad" { code { (plain(str(mistake, "pointer"))) } " " (plain(str(mistake, "detail"))) }
            }
        }
    }

    /// What is wrong as a whole, or at places that have no field.
    fn whole(&self) -> Markup {
        let plains = WHO
            .iter()
            .chain(&ENDS)
            .chain(&TOOLS)
            .chain(&LIMITS)
            .chain(&WINDOW)
            .map(|(_, place, ..)| (*place).to_owned());
        let places: Vec<String> =
            plains.chain(self.inputs.places()).chain(["/objective", "/mission_type"].map(str::to_owned)).collect();
        let others =
            self.mistakes.iter().filter(|mistake| !places.iter().any(|place| is_at(str(mistake, "pointer"), place)));
        html! {
            div class="notice bad" role="alert" {
                p { b { "Nothing was dispatched." } " " @if self.said.is_empty() { (self.mistakes.len()) " mistakes: each stands at its field." } @else { (plain(&self.said)) } }
                @for mistake in others { p { code { (plain(str(mistake, "pointer"))) } " " (plain(str(mistake, "detail"))) } }
            }
        }
    }
}

/// Whether a pointer is to this place or below it.
fn is_at(pointer: &str, place: &str) -> bool {
    pointer.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Puts a value at a place of one or two steps.
fn put(envelope: &mut Value, place: &str, value: Value) {
    let mut steps: Vec<&str> = place.split('/').skip(1).collect();
    let Some(last) = steps.pop() else { return };
    let mut at = envelope;
    for step in steps {
        at = at.as_object_mut().expect("an object on the way").entry(step).or_insert_with(|| Value::Object(Map::new()));
    }
    at[last] = value;
}
