//! The tools, as a table: which request of the interface each makes. What they take and give is what that request does.

use axum::http::Method;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use sortie_contract::envelope::envelope_schema;
use sortie_mcp::serve::{Hints, Tool};

use super::api::{Ask, Trouble};
use super::{artifacts, waiting};
use crate::blanks::BLANKS;
use crate::http::{Content, Route, routes};

/// The tools that are more than one request.
pub(super) const DISPATCH: &str = "dispatch_mission";
pub(super) const WAIT: &str = "wait_for_mission";
pub(super) const READ_ARTIFACT: &str = "read_artifact";

/// A tool and the request that it makes.
pub(super) struct Row {
    pub(super) tool: Tool,
    method: Method,
    path: &'static str,
    /// The argument that is the body; without one, the body or the query is made of what is not in the path.
    body: Option<&'static str>,
}

const LOOKS: Hints = Hints { reads_only: true, is_destructive: false, is_idempotent: true };
const MAKES: Hints = Hints { reads_only: false, is_destructive: false, is_idempotent: false };
const SETS: Hints = Hints { reads_only: false, is_destructive: false, is_idempotent: true };
const ENDS: Hints = Hints { reads_only: false, is_destructive: true, is_idempotent: true };
const DECIDES: Hints = Hints { reads_only: false, is_destructive: true, is_idempotent: true };

/// Name, title, request, the argument that is the body, what calls do, and what models are told.
type Spec = (&'static str, &'static str, Method, &'static str, Option<&'static str>, Hints, &'static str);

/// All tools.
fn specs() -> Vec<Spec> {
    const GET: Method = Method::GET;
    const POST: Method = Method::POST;
    vec![
        (
            DISPATCH,
            "Dispatch a mission",
            POST,
            "/v1/missions",
            Some("envelope"),
            MAKES,
            "Dispatch a mission: its envelope says what is to be done, with which tools, within which budget and window. The ids, \
             `created_at`, `idempotency_key`, `vp_id` and the instances may be left out; name an `idempotency_key` and a `mission_id` of \
             your own where you may have to send it again. The answer has its status, what holds of its budget, and warnings: read them. \
             For a client that takes tasks it becomes one, which ends with the mission.",
        ),
        (
            "get_mission",
            "Look at a mission",
            GET,
            "/v1/missions/{id}",
            None,
            LOOKS,
            "The state of a mission: status, usage, what it waits for, open requests, artifacts, and how it ended.",
        ),
        (
            "list_missions",
            "List missions",
            GET,
            "/v1/missions",
            None,
            LOOKS,
            "Missions, newest first, a page at a time.",
        ),
        (
            WAIT,
            "Wait for a mission",
            GET,
            "/v1/missions/{id}",
            None,
            LOOKS,
            "Wait until a mission has ended, or asks something that nobody here answers, or for `timeout_seconds`; the answer is its state \
             then, and `status` says which of them it was. What it asks meanwhile is asked of your person, where your client can, and their \
             word is the decision.",
        ),
        (
            "cancel_mission",
            "Cancel a mission",
            POST,
            "/v1/missions/{id}/cancel",
            None,
            ENDS,
            "Cancel a mission, also one that runs. What it did stays done.",
        ),
        (
            "list_requests",
            "List open requests",
            GET,
            "/v1/requests",
            None,
            LOOKS,
            "What missions ask of people and nobody has decided: approvals of calls, questions, more budget, calls of which nobody knows \
             whether they happened.",
        ),
        (
            "decide_request",
            "Decide about a request",
            POST,
            "/v1/missions/{id}/requests/{request}",
            None,
            DECIDES,
            "Decide about an open request of a mission; `decisions` of the request says what can be decided. It holds: another decision \
             about the same request is refused.",
        ),
        (
            "list_artifacts",
            "List artifacts",
            GET,
            "/v1/missions/{id}/artifacts",
            None,
            LOOKS,
            "What a mission has stored: names, media types, sizes, digests.",
        ),
        (
            READ_ARTIFACT,
            "Read an artifact",
            GET,
            "/v1/missions/{id}/artifacts/{*name}",
            None,
            LOOKS,
            "Bytes of an artifact, as a text where they are one; a long one piece by piece, by `offset`.",
        ),
        ("list_schedules", "List schedules", GET, "/v1/schedules", None, LOOKS, "Schedules: missions that come again."),
        (
            "get_schedule",
            "Look at a schedule",
            GET,
            "/v1/schedules/{id}",
            None,
            LOOKS,
            "A schedule: when it fires next, what it makes, whether it is paused, how its last missions ended.",
        ),
        (
            "preview_schedule",
            "Preview a schedule",
            POST,
            "/v1/schedules/preview",
            None,
            LOOKS,
            "When a schedule would fire, before it is made.",
        ),
        (
            "add_schedule",
            "Make a schedule",
            POST,
            "/v1/schedules",
            Some("schedule"),
            MAKES,
            "Make a schedule: an object with `id`, its times (`at`, a crontab expression or a list of them, with `zone`; `every`, a duration; or \
             `once`, a time), and `mission`, the envelope of each of its missions without ids and times. Preview it first.",
        ),
        (
            "pause_schedule",
            "Pause a schedule",
            POST,
            "/v1/schedules/{id}/pause",
            None,
            SETS,
            "Pause a schedule, for good or until a time.",
        ),
        (
            "resume_schedule",
            "Resume a schedule",
            POST,
            "/v1/schedules/{id}/resume",
            None,
            SETS,
            "Lift every pause of a schedule.",
        ),
        (
            "trigger_schedule",
            "Fire a schedule now",
            POST,
            "/v1/schedules/{id}/trigger",
            None,
            MAKES,
            "Make a mission of a schedule now.",
        ),
    ]
}

/// The table, with what each request takes and gives.
pub(super) fn rows() -> Vec<Row> {
    let routes = routes();
    let whole = |settings: SchemaSettings| settings.with(|settings| settings.inline_subschemas = true).into_generator();
    let mut given = whole(SchemaSettings::draft2020_12().for_serialize());
    let mut taken = whole(SchemaSettings::draft2020_12().for_deserialize());
    let row = |(name, title, method, path, body, hints, told): Spec| {
        let route = routes.iter().find(|route| route.method == method && route.path == path);
        let route = route.expect("a request of the interface");
        let input = match name {
            WAIT => waiting::input(),
            READ_ARTIFACT => artifacts::input(),
            _ => input(route, body, &mut taken),
        };
        let output = if name == READ_ARTIFACT { artifacts::output() } else { output(name, route, &routes, &mut given) };
        let description = match route.scope {
            Some(scope) => format!("{told} Needs the scope `{}`.", scope.as_str()),
            None => told.to_owned(),
        };
        let tool =
            Tool { name: name.to_owned(), title: title.to_owned(), description, input, output: Some(output), hints };
        Row { tool, method, path, body }
    };
    specs().into_iter().map(row).collect()
}

/// What the argument is called that stands at this place of a path.
fn argument(path: &str, place: &str) -> &'static str {
    match place {
        "request" => "request_id",
        "*name" => "name",
        _ if path.starts_with("/v1/schedules") => "schedule_id",
        _ => "mission_id",
    }
}

/// The places of a path that are arguments.
fn places(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
}

/// The schema of a tool's arguments.
fn input(route: &Route, body: Option<&str>, generator: &mut SchemaGenerator) -> Map<String, Value> {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for place in places(route.path) {
        let name = argument(route.path, place);
        properties.insert(name.to_owned(), json!({"type": "string"}));
        required.push(json!(name));
    }
    let form = match (route.takes, route.query) {
        (Some(Content::Envelope), _) => Some(envelope()),
        (Some(Content::Json(form)), _) => Some(form(generator).to_value()),
        (_, Some(form)) => Some(form(generator).to_value()),
        _ => None,
    };
    match (form, body) {
        (Some(form), Some(name)) => {
            properties.insert(name.to_owned(), form);
            required.push(json!(name));
        }
        (Some(form), None) => {
            properties.extend(form["properties"].as_object().cloned().unwrap_or_default());
            required.extend(form["required"].as_array().cloned().unwrap_or_default());
        }
        (None, _) => {}
    }
    object(json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false}))
}

/// The schema of an envelope with blanks.
fn envelope() -> Value {
    let mut schema = envelope_schema();
    if let Some(required) = schema["required"].as_array_mut() {
        required.retain(|key| key.as_str().is_none_or(|key| !BLANKS.contains(&key)));
    }
    // It is no document of its own here.
    if let Some(fields) = schema.as_object_mut() {
        fields.remove("$schema");
    }
    schema
}

/// The schema of what a tool gives.
fn output(name: &str, route: &Route, routes: &[Route], generator: &mut SchemaGenerator) -> Map<String, Value> {
    let mut gives = |route: &Route| match route.gives {
        Content::Json(form) | Content::Stream(form) => form(generator).to_value(),
        _ => json!({"type": "object"}),
    };
    let mut schema = gives(route);
    if name == DISPATCH {
        // As a task, it ends with the mission.
        let mission = routes.iter().find(|route| route.method == Method::GET && route.path == "/v1/missions/{id}");
        schema = json!({"anyOf": [schema, gives(mission.expect("a request of the interface"))]});
    }
    if schema["type"] == "array" {
        schema = json!({"properties": {"items": schema}, "required": ["items"]});
    }
    schema["type"] = json!("object");
    object_of(schema)
}

fn object_of(schema: Value) -> Map<String, Value> {
    match schema {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// What a tool gives is an object: a list is one with `items`.
pub(super) fn object<T: From<Map<String, Value>>>(value: Value) -> T {
    match value {
        Value::Object(fields) => fields,
        other => Map::from_iter([("items".to_owned(), other)]),
    }
    .into()
}

impl Row {
    /// The request of a call.
    pub(super) fn ask(&self, mut arguments: Map<String, Value>) -> Result<Ask, Trouble> {
        let mut path = Vec::new();
        for segment in self.path.split('/').skip(1) {
            let Some(place) = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
                path.push(segment.to_owned());
                continue;
            };
            path.push(text(&mut arguments, argument(self.path, place))?);
        }
        let mut ask = Ask { path, ..Ask::new(self.method.clone(), []) };
        if let Some(name) = self.body {
            let body = arguments.remove(name).filter(Value::is_object);
            let body = body.ok_or_else(|| Trouble::Arguments(format!("`{name}` must be there, and an object")))?;
            if let Some(other) = arguments.keys().next() {
                return Err(Trouble::Arguments(format!("there is no argument `{}`", clip(other))));
            }
            ask.body = Some(body.to_string());
        } else if self.method == Method::GET {
            ask.query = arguments.into_iter().filter_map(|(key, value)| Some((key, parameter(value)?))).collect();
        } else {
            ask.body = Some(Value::Object(arguments).to_string());
        }
        Ok(ask)
    }
}

/// An argument that must be a text.
pub(super) fn text(arguments: &mut Map<String, Value>, name: &str) -> Result<String, Trouble> {
    match arguments.remove(name) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text),
        _ => Err(Trouble::Arguments(format!("`{name}` must be there, and a text that is not empty"))),
    }
}

/// A value as a parameter of a query; a list has commas.
fn parameter(value: Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text),
        Value::Array(items) => Some(items.into_iter().filter_map(parameter).collect::<Vec<_>>().join(",")),
        other => Some(other.to_string()),
    }
}

pub(super) fn clip(text: &str) -> String {
    sortie_contract::limit::clip(text, sortie_contract::limit::QUOTE_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_tool_has_a_name_of_its_own_and_schemas_that_are_schemas() {
        let rows = rows();
        let names: BTreeSet<&str> = rows.iter().map(|row| row.tool.name.as_str()).collect();
        assert_eq!(names.len(), rows.len());
        for Row { tool, .. } in &rows {
            for schema in std::iter::once(&tool.input).chain(&tool.output) {
                assert_eq!(schema["type"], "object", "{}", tool.name);
                let schema = Value::Object(schema.clone());
                jsonschema::draft202012::meta::validate(&schema).expect("a schema");
                jsonschema::validator_for(&schema).expect("a schema that can be used");
                assert!(!schema.to_string().contains("#/components"), "{}: {schema}", tool.name);
            }
            assert!(tool.description.contains("Needs the scope"), "{}", tool.name);
        }
    }

    #[test]
    fn a_schedule_has_the_keys_that_models_are_told() {
        use sortie_schedule::{Calendars, Form, Schedule};
        let specs = specs();
        let (.., told) = specs.iter().find(|(name, ..)| *name == "add_schedule").expect("a tool");
        let keys: Vec<&str> = told.split('`').skip(1).step_by(2).collect();
        assert_eq!(keys, ["id", "at", "zone", "every", "once", "mission"]);
        let unknown = |keys: &[&str]| {
            let text = Value::Object(keys.iter().map(|key| ((*key).to_owned(), Value::Null)).collect()).to_string();
            let mistakes = Schedule::parse(&text, Form::Json, &Calendars::none()).expect_err("nothing of it is right");
            mistakes.iter().filter(|mistake| mistake.code == "unknown_key").count()
        };
        assert_eq!((unknown(&keys), unknown(&["cron"])), (0, 1));
    }

    #[test]
    fn a_call_is_a_request() {
        let rows = rows();
        let ask = |name: &str, arguments: Value| {
            let row = rows.iter().find(|row| row.tool.name == name).expect("a tool");
            let Value::Object(arguments) = arguments else { panic!("an object") };
            row.ask(arguments).map(|ask| (ask.path.join("/"), ask.query, ask.body)).map_err(|trouble| match trouble {
                Trouble::Arguments(why) => why,
                other => panic!("{other:?}"),
            })
        };
        let query = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<Vec<_>>()
        };
        for (name, arguments, path, pairs, body) in [
            ("get_mission", json!({"mission_id": "m"}), "v1/missions/m", query(&[]), None),
            (
                "list_missions",
                json!({"status": ["running", "blocked"], "limit": 3, "q": null}),
                "v1/missions",
                query(&[("status", "running,blocked"), ("limit", "3")]),
                None,
            ),
            (
                "decide_request",
                json!({"mission_id": "m", "request_id": "r1", "decision": "deny"}),
                "v1/missions/m/requests/r1",
                query(&[]),
                Some(r#"{"decision":"deny"}"#),
            ),
            ("add_schedule", json!({"schedule": {"id": "s"}}), "v1/schedules", query(&[]), Some(r#"{"id":"s"}"#)),
            // What is not known is refused by whoever knows.
            ("get_mission", json!({"mission_id": "m", "x": 1}), "v1/missions/m", query(&[("x", "1")]), None),
        ] {
            let expected = Ok((path.to_owned(), pairs, body.map(str::to_owned)));
            assert_eq!(ask(name, arguments), expected, "{name}");
        }
        for (name, arguments, says) in [
            ("get_mission", json!({}), "`mission_id`"),
            ("get_mission", json!({"mission_id": 1}), "`mission_id`"),
            ("get_mission", json!({"mission_id": ""}), "`mission_id`"),
            ("add_schedule", json!({}), "`schedule`"),
            ("add_schedule", json!({"schedule": {}, "x": 1}), "`x`"),
        ] {
            let why = ask(name, arguments).expect_err("refused");
            assert!(why.contains(says), "{name}: {why}");
        }
    }
}
