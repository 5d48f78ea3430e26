//! A schedule as a text, to be changed or made: looked at before it is kept, with its next times; what is wrong is told with its place.

use axum::extract::{Path, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use serde_json::{Map, Value, json};
use sortie_contract::envelope::read_strictly;
use sortie_schedule::{Calendars, Form, Schedule};

use super::Web;
use super::door::{Posted, Viewer};
use super::frame::{Page, Refused, form_key};
use super::schedules::upcoming;
use super::session::Notice;
use super::text::{json as indented, path, plain, str};
use crate::mcp::Ask;

/// What a new schedule begins with.
const BLANK: &str = r#"{
  "id": "nightly-example",
  "zone": "UTC",
  "at": ["0 2 * * *"],
  "opens_for": "4h",
  "mission": {
    "vp_id": "vp.example",
    "mission_type": "automation",
    "objective": "Say what is to be done.",
    "inputs": { "steps": [] },
    "constraints": { "allowed_tools": [] }
  }
}"#;

/// How often a schedule is looked at before it is kept.
const SEEN: &str = "5";

/// The form: as it is, or as it was sent, with what was found.
#[derive(Default)]
struct Draft {
    /// Which schedule is changed, in which revision; none is made.
    of: Option<(String, String)>,
    text: String,
    /// Texts of calendars by name, as a JSON object; empty where there are none.
    calendars: String,
    mistakes: Vec<Value>,
    /// Its next times, once it was looked at.
    times: Option<Vec<Value>>,
    /// What is to be said of it as a whole.
    said: String,
}

/// `GET /schedules/{id}/edit`
pub(super) async fn edit(viewer: Viewer, State(web): State<Web>, Path(id): Path<String>) -> Result<Response, Refused> {
    let schedule = web.get(&viewer, &["v1", "schedules", &id]).await?;
    let calendars = schedule["calendars"].as_object().filter(|calendars| !calendars.is_empty());
    let draft = Draft {
        text: format!("{:#}", schedule["schedule"]),
        calendars: calendars.map(|calendars| format!("{:#}", Value::Object(calendars.clone()))).unwrap_or_default(),
        of: Some((id, schedule["revision"].to_string())),
        ..Draft::default()
    };
    Ok(draft.page(&web, &viewer, StatusCode::OK))
}

/// `GET /new-schedule`
pub(super) async fn begin(viewer: Viewer, State(web): State<Web>) -> Response {
    Draft { text: BLANK.to_owned(), ..Draft::default() }.page(&web, &viewer, StatusCode::OK)
}

/// `POST /schedules/{id}/edit`
pub(super) async fn change(web: State<Web>, Path(id): Path<String>, posted: Posted) -> Result<Response, Refused> {
    let revision = posted.fields.text("revision").to_owned();
    take(web, Some((id, revision)), posted).await
}

/// `POST /new-schedule`
pub(super) async fn make(web: State<Web>, posted: Posted) -> Result<Response, Refused> {
    take(web, None, posted).await
}

async fn take(State(web): State<Web>, of: Option<(String, String)>, posted: Posted) -> Result<Response, Refused> {
    let Posted { viewer, fields } = posted;
    let mut draft = Draft {
        of,
        text: fields.text("text").to_owned(),
        calendars: fields.text("calendars").to_owned(),
        ..Draft::default()
    };
    let is_kept = fields.text("decision") == "save";
    let sent = match draft.read() {
        Ok(sent) => sent,
        Err(mistakes) => {
            draft.mistakes = mistakes;
            return Ok(draft.page(&web, &viewer, StatusCode::UNPROCESSABLE_ENTITY));
        }
    };
    let mut ask = match &draft.of {
        Some((id, revision)) => {
            Ask::new(Method::PUT, ["v1", "schedules", id]).with_header(header::IF_MATCH, format!("\"{revision}\""))
        }
        None => Ask::new(Method::POST, ["v1", "schedules"]),
    };
    if !is_kept {
        ask = ask.with_query("dry_run", "true");
    }
    match web.try_ask(&viewer, ask.with_body(Value::Object(sent.clone()).to_string())).await? {
        Ok(kept) if is_kept => {
            let lines = vec![format!("{} is kept.", str(&kept, "id"))];
            web.sessions.tell(viewer.key, Notice { is_bad: false, lines });
            Ok(Redirect::to(&path(&["schedules", str(&kept, "id")])).into_response())
        }
        Ok(_) => {
            draft.times = Some(web.times(&viewer, sent).await?);
            Ok(draft.page(&web, &viewer, StatusCode::OK))
        }
        Err(problem) => {
            draft.said = str(&problem, "detail").to_owned();
            draft.mistakes = problem["errors"].as_array().cloned().unwrap_or_default();
            let status =
                problem["status"].as_u64().and_then(|status| StatusCode::from_u16(u16::try_from(status).ok()?).ok());
            Ok(draft.page(&web, &viewer, status.unwrap_or(StatusCode::UNPROCESSABLE_ENTITY)))
        }
    }
}

impl Web {
    /// The next times of a schedule that the node would take.
    async fn times(&self, viewer: &Viewer, mut sent: Map<String, Value>) -> Result<Vec<Value>, Refused> {
        let calendars = sent.remove("calendars").unwrap_or_else(|| json!({}));
        let count: u32 = SEEN.parse().unwrap_or(1);
        let body = json!({"schedule": sent, "calendars": calendars, "count": count});
        let ask = Ask::new(Method::POST, ["v1", "schedules", "preview"]).with_body(body.to_string());
        Ok(self.ask(viewer, ask).await?.as_array().cloned().unwrap_or_default())
    }
}

impl Draft {
    /// What is sent, or what is wrong with the text: it is TOML, unless it begins as JSON does.
    fn read(&self) -> Result<Map<String, Value>, Vec<Value>> {
        let mut texts = Map::new();
        if !self.calendars.trim().is_empty() {
            match read_strictly(&self.calendars) {
                Ok((Value::Object(calendars), mistakes)) if mistakes.is_empty() => texts = calendars,
                Ok(_) => {
                    return Err(vec![
                        json!({"pointer": "/calendars", "detail": "calendars are a JSON object of texts"}),
                    ]);
                }
                Err(mistake) => return Err(vec![json!({"pointer": "/calendars", "detail": mistake.detail})]),
            }
        }
        let form = if self.text.trim_start().starts_with('{') { Form::Json } else { Form::Toml };
        let texts_of = texts.iter().filter_map(|(name, text)| Some((name, text.as_str()?)));
        let calendars = texts_of.fold(Calendars::none(), |all, (name, text)| all.with(name, text));
        match Schedule::parse(&self.text, form, &calendars) {
            Ok(schedule) => {
                let mut sent = schedule.definition();
                if !texts.is_empty() {
                    sent.insert("calendars".to_owned(), Value::Object(texts));
                }
                Ok(sent)
            }
            Err(mistakes) => Err(mistakes.iter().map(|mistake| json!(mistake)).collect()),
        }
    }

    fn page(&self, web: &Web, viewer: &Viewer, status: StatusCode) -> Response {
        let (title, action) = match &self.of {
            Some((id, _)) => (format!("Edit {id}"), path(&["schedules", id, "edit"])),
            None => ("A new schedule".to_owned(), "/new-schedule".to_owned()),
        };
        let is_wrong = !self.mistakes.is_empty() || !self.said.is_empty();
        let main = html! {
            h1 { (plain(&title)) }
            @if is_wrong { (self.wrong()) }
            @if let Some(times) = &self.times {
                section aria-labelledby="times" {
                    h2 id="times" { "Its next times" }
                    p role="status" { "The node would take it. Nothing is kept yet." }
                    (upcoming(times, "Its next times", &web.clock()))
                }
            }
            @if viewer.operates() {
                form method="post" action=(action) class="decide" {
                    (form_key(viewer))
                    @if let Some((_, revision)) = &self.of { input type="hidden" name="revision" value=(revision); }
                    label for="text" { "The schedule, as JSON or TOML" }
                    textarea id="text" name="text" rows="24" spellcheck="false" required aria-describedby=[is_wrong.then_some("mistakes")] { (self.text) }
                    label for="calendars" { "Calendars that " code { "except" } " names: a JSON object of iCalendar texts by name (empty: none)" }
                    textarea id="calendars" name="calendars" rows="3" spellcheck="false" { (self.calendars) }
                    // The first button is that of Enter.
                    button type="submit" name="decision" value="look" { "Look at its next times" } " "
                    button type="submit" name="decision" value="save" class="primary" { "Keep" }
                }
            } @else { p class="dim" { "This token may not change schedules: it has not the scope " code { "operate" } "." } }
            p { a href="/schedules" { "Back to the schedules" } }
        };
        (status, Page { title: &title, at: "/schedules", main }.shown(web, viewer)).into_response()
    }

    fn wrong(&self) -> Markup {
        html! {
            div class="notice bad" role="alert" id="mistakes" {
                p { b { "Nothing was kept." } @if !self.said.is_empty() { " " (plain(&self.said)) } }
                @if !self.mistakes.is_empty() {
                    ul {
                        @for mistake in &self.mistakes {
                            @let pointer = str(mistake, "pointer");
                            li {
                                @if !pointer.is_empty() { code { (plain(pointer)) } }
                                @if let Some(line) = line_of(&self.text, pointer) { " (line " (line) ")" }
                                ": " (indented(&mistake["detail"]))
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The line of a text on which the field of a JSON Pointer begins: the keys of it, one behind the other. Nothing where that cannot be told.
fn line_of(text: &str, pointer: &str) -> Option<usize> {
    let keys: Vec<String> = pointer.split('/').skip(1).map(|key| key.replace("~1", "/").replace("~0", "~")).collect();
    let mut at = 0;
    let mut found = None;
    // A number is a place in a list: the list's key says where.
    for key in keys.iter().filter(|key| key.parse::<usize>().is_err()) {
        let rest = text.get(at..)?;
        let place = [format!("\"{key}\""), format!("[{key}]"), format!(".{key}]")]
            .iter()
            .filter_map(|written| Some((rest.find(written.as_str())?, written.len())))
            .chain(bare(rest, key).map(|place| (place, key.len())))
            .min()?;
        at += place.0 + place.1;
        found = Some(text[..at].matches('\n').count() + 1);
    }
    found
}

/// Where a key of TOML stands at the beginning of a line, behind white space.
fn bare(text: &str, key: &str) -> Option<usize> {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let written = line.trim_start();
        if written.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('=')) {
            return Some(at + line.len() - written.len());
        }
        at += line.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_found_in_the_text() {
        let json = "{\n  \"id\": \"a\",\n  \"at\": [\n    \"0 2 * * *\"\n  ],\n  \"mission\": {\n    \"id\": 1,\n    \"inputs\": {}\n  }\n}";
        let toml = "id = \"a\"\nzone=\"UTC\"\n\n[mission]\nobjective = \"x\"\n\n[mission.inputs]\nsteps = []\n";
        for (text, pointer, expected) in [
            (json, "/id", Some(2)),
            (json, "/at/0", Some(3)),
            (json, "/mission/id", Some(7)),
            (json, "/mission/inputs", Some(8)),
            (json, "/gone", None),
            (json, "", None),
            (toml, "/zone", Some(2)),
            (toml, "/mission/objective", Some(5)),
            (toml, "/mission/inputs/steps", Some(8)),
            (toml, "/mission/gone", None),
            ("note = \"\"\"\n\u{a0}zone = 5\n\"\"\"\nzone = \"Mars\"\n", "/zone", Some(2)),
            ("\u{3000}zone=1", "/zone/at", None),
        ] {
            assert_eq!(line_of(text, pointer), expected, "{pointer} in {text}");
        }
    }

    #[test]
    fn a_text_is_toml_or_json() {
        let draft = |text: &str| Draft { text: text.to_owned(), ..Draft::default() };
        let toml = draft("id = \"a\"\nzone = \"UTC\"\nat = [\"0 2 * * *\"]\n[mission]\nobjective = \"x\"\n").read();
        let json = draft(&format!("\n{BLANK}")).read();
        assert_eq!(toml.expect("a schedule")["id"], "a");
        assert_eq!(json.expect("a schedule")["id"], "nightly-example");
        for (text, expected) in
            [("id = ", "line 1"), ("{\"id\": }", "line 1"), ("zone = \"Mars/North\"\nid = \"a\"", "")]
        {
            let mistakes = draft(text).read().expect_err("wrong");
            assert!(
                !mistakes.is_empty() && mistakes[0]["detail"].as_str().is_some_and(|detail| detail.contains(expected)),
                "{mistakes:?}"
            );
        }
    }
}
