//! The interface's own description: OpenAPI 3.1, and the JSON Schemas of envelope, schedule and event.
//!
//! Everything is taken from where it is done: requests from the table of routes, bodies and answers from the types that are read and written,
//! statuses and codes from [`super::outcomes`], which every answer is held against in a debug build. Owned here: how OpenAPI says it.

use axum::Json;
use axum::http::{Method, StatusCode};
use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};
use sortie_contract::envelope::{envelope_schema, event_schema, order_schema, result_schema};
use sortie_schedule::schedule_schema;

use super::codes::CODES;
use super::error::{PAGES, PROBLEM_JSON};
use super::outcomes::{self, HeaderNote};
use super::{Content, Route, samples};

/// `GET /openapi.json`
pub(super) async fn document() -> Json<Value> {
    Json(describe(&super::routes()))
}

/// `GET /schemas/envelope.json`
pub(super) async fn envelope() -> Json<Value> {
    Json(envelope_schema())
}

/// `GET /schemas/schedule.json`
pub(super) async fn schedule() -> Json<Value> {
    Json(schedule_schema())
}

/// `GET /schemas/event.json`
pub(super) async fn event() -> Json<Value> {
    Json(event_schema())
}

/// `GET /schemas/mission-order.json`
pub(super) async fn order() -> Json<Value> {
    Json(order_schema())
}

/// `GET /schemas/mission-result.json`
pub(super) async fn result() -> Json<Value> {
    Json(result_schema())
}

/// What is said of all requests together.
const ABOUT: &str = "The mission runtime of a factory node.

Each request but those of health and of the pages about problems needs a token with the scope that it names (`x-scope`); `admin` has all. \
Parameters and fields that a request does not know are refused, because what is ignored is not done. Problems are those of RFC 9457, with a \
stable `code`; `type` is the address of a page about it on this node. Any request may be answered with 503 while the node has no room: it can be \
made again after `Retry-After`.";

fn describe(routes: &[Route]) -> Value {
    let mut settings = SchemaSettings::draft2020_12().for_serialize();
    settings.definitions_path = "/components/schemas".into();
    let mut generator = settings.into_generator();
    // What is sent may leave out what has a default; of what is answered nothing is left out.
    let mut taken = SchemaSettings::draft2020_12()
        .for_deserialize()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator();
    let mut paths = Map::new();
    for route in routes {
        let path = public(route.path);
        let methods = paths.entry(path.clone()).or_insert_with(|| json!({}));
        methods[route.method.as_str().to_ascii_lowercase()] =
            operation(route, &path, routes, &mut generator, &mut taken);
    }
    let mut schemas = generator.take_definitions(true);
    schemas.insert("Envelope".to_owned(), part(envelope_schema()));
    schemas.insert("Problem".to_owned(), problem());
    json!({
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {"title": "Sortie", "version": env!("CARGO_PKG_VERSION"), "description": ABOUT},
        "servers": [{"url": "/", "description": "The node that serves this document."}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {
                "type": "http",
                "scheme": "bearer",
                "description": "A token of the node: its own is in `DATA_DIR/token`, others are `[[token]]` of its configuration.",
            }},
            "schemas": schemas,
        },
    })
}

/// A path as clients know it: axum's catch-all is an ordinary parameter to them.
fn public(path: &str) -> String {
    path.replace("{*", "{")
}

/// A schema as a part of a document, of which it is none of its own.
pub(super) fn part(mut schema: Value) -> Value {
    if let Some(fields) = schema.as_object_mut() {
        fields.remove("$schema");
    }
    schema
}

fn operation(
    route: &Route,
    path: &str,
    routes: &[Route],
    generator: &mut SchemaGenerator,
    taken: &mut SchemaGenerator,
) -> Value {
    let outcomes = outcomes::of(route);
    let of_path = path.split('/').filter_map(|step| step.strip_prefix('{')?.strip_suffix('}'));
    let of_path = of_path.map(|name| place(path, name));
    let of_query = route.query.map(|form| query(&form(generator))).unwrap_or_default();
    // Of which node of the store it is asked.
    let of_fleet = route.scope.filter(|_| route.path != "/metrics").map(|_| {
        json!({
            "name": "node",
            "in": "query",
            "required": false,
            "description": "The node of the store that is asked, by its instance id; without it, the one that has the mission, else this one.",
            "schema": {"type": "string"},
        })
    });
    let of_head = outcomes.reads.iter().map(|note| {
        let mut parameter = header(note);
        parameter["name"] = json!(note.name);
        parameter["in"] = json!("header");
        parameter
    });
    let parameters: Vec<Value> = of_path.chain(of_query).chain(of_fleet).chain(of_head).collect();
    let content_of_done = content(route.gives, generator);
    let mut responses = Map::new();
    for (status, about, headers) in outcomes.done {
        let mut done = json!({"description": about});
        if let Some(content) = content_of_done.clone().filter(|_| !matches!(status, 204 | 304)) {
            done["content"] = content;
        }
        if !headers.is_empty() {
            done["headers"] = headers.iter().map(|note| (note.name.to_owned(), header(note))).collect();
        }
        let links = links(route, routes);
        if !links.is_empty() {
            done["links"] = Value::Object(links);
        }
        responses.insert(status.to_string(), done);
    }
    for (status, codes) in outcomes.failures() {
        responses.insert(status.to_string(), failure(status, &codes));
    }
    let mut operation = json!({
        "operationId": operation_id(&route.method, path),
        "summary": route.summary,
        "tags": [tag(path)],
        "parameters": parameters,
        "responses": responses,
        "security": route.scope.map(|_| json!({"token": []})).into_iter().collect::<Vec<_>>(),
    });
    if let Some(scope) = route.scope {
        operation["x-scope"] = json!(scope.as_str());
    }
    if let Some(mut content) = route.takes.and_then(|takes| content(takes, taken)) {
        // An object of which every field may be left out may be, too.
        let schema = &content["application/json"]["schema"];
        let is_required = schema["properties"].is_null() || schema["required"].is_array();
        let examples = samples::of(&route.method, route.path);
        if !examples.is_empty() {
            let named = |(name, value): (&str, Value)| (name.to_owned(), json!({"value": value}));
            content["application/json"]["examples"] = Value::Object(examples.into_iter().map(named).collect());
        }
        // A batch may have no lines.
        let is_required = is_required && !matches!(route.takes, Some(Content::Envelopes));
        operation["requestBody"] = json!({"required": is_required, "content": content});
    }
    operation
}

/// What makes something, and where its answer has the name that the requests about it have in their path.
const MAKES: [(&str, &str); 3] = [("/v1/missions", "mission_id"), ("/v1/schedules", "id"), ("/v1/plugins", "name")];

/// The requests that can be made of what this one makes.
fn links(route: &Route, routes: &[Route]) -> Map<String, Value> {
    let made = MAKES.iter().find(|(path, _)| *path == route.path && route.method == Method::POST);
    let Some((base, field)) = made else { return Map::new() };
    let about = routes.iter().filter_map(|other| {
        let (name, rest) = other.path.strip_prefix(base)?.strip_prefix("/{")?.split_once('}')?;
        // Such a name is all that its path wants.
        (!rest.contains('{')).then(|| (operation_id(&other.method, &public(other.path)), name))
    });
    about
        .map(|(id, name)| {
            let from = format!("$response.body#/{field}");
            (id.clone(), json!({"operationId": id, "parameters": {name: from}}))
        })
        .collect()
}

/// What generators of clients call it: the method, and the words of the path.
fn operation_id(method: &Method, path: &str) -> String {
    let words = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.fold(method.as_str().to_ascii_lowercase(), |id, word| format!("{id}_{word}"))
}

/// The first word of a path that is none of its version.
fn tag(path: &str) -> &str {
    let word = path.split('/').find(|step| !matches!(*step, "" | "v1")).unwrap_or_default();
    word.split('.').next().unwrap_or(word)
}

/// A place in a path.
fn place(path: &str, name: &str) -> Value {
    let (about, pattern) = match name {
        "id" if path.starts_with("/v1/schedules") => ("The name of a schedule.", "^[A-Za-z0-9._:-]{1,200}$"),
        "id" => ("The id of a mission.", "^[A-Za-z0-9._:-]{1,200}$"),
        "request" => ("The id of a request of the mission, such as `r1`.", "^r?[0-9]{1,9}$"),
        "date" => (
            "The date on which the night ends, or `current`.",
            "^(current|[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01]))$",
        ),
        "code" => ("The `code` of a problem.", "^[a-z_]{1,64}$"),
        "name" if path.starts_with("/v1/plugins") => ("The name of a plugin.", "^[a-z0-9-]{1,64}$"),
        "name" if path.starts_with("/v1/notify") => ("The name of a channel.", "^[a-z0-9-]{1,64}$"),
        "name" if path.starts_with("/v1/tools") => ("The name of a tool.", "^[A-Za-z0-9_.:-]{1,200}$"),
        _ => (
            "The name of an artifact; its slashes may be written as they are.",
            "^[^\\\\\\u0000-\\u001f\\u007f-\\u009f]+$",
        ),
    };
    let schema = json!({"type": "string", "pattern": pattern});
    json!({"name": name, "in": "path", "required": true, "description": about, "schema": schema})
}

fn header(note: &HeaderNote) -> Value {
    let mut schema = json!({"type": "string"});
    if !note.pattern.is_empty() {
        schema["pattern"] = json!(note.pattern);
    }
    json!({"description": note.about, "required": note.is_required, "schema": schema})
}

/// An answer with a problem: which codes come with that status.
fn failure(status: u16, codes: &[&str]) -> Value {
    let names: Vec<String> = codes.iter().map(|code| format!("`{code}`")).collect();
    let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or_default();
    let schema = json!({
        "allOf": [{"$ref": "#/components/schemas/Problem"}],
        "properties": {"status": {"const": status}, "code": {"enum": codes}},
    });
    let mut failure = json!({
        "description": format!("{reason}: {}.", names.join(", ")),
        "content": {PROBLEM_JSON: {"schema": schema}},
    });
    let headers = match status {
        401 => ("WWW-Authenticate", json!({"required": true, "schema": {"const": "Bearer"}})),
        416 => {
            ("Content-Range", json!({"required": true, "schema": {"type": "string", "pattern": r"^bytes \*/[0-9]+$"}}))
        }
        503 => (
            "Retry-After",
            json!({"description": "Seconds.", "required": false, "schema": {"type": "integer", "minimum": 1}}),
        ),
        _ => return failure,
    };
    failure["headers"] = json!({headers.0: headers.1});
    failure
}

/// The parameters of a query, from the schema of what it is read as.
fn query(schema: &Schema) -> Vec<Value> {
    let properties = schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
    let described = |(name, mut schema): (String, Value)| {
        let fields = schema.as_object_mut().expect("a schema of one field");
        let description = fields.remove("description");
        // What is left out is left out: there is no null in a query.
        fields.remove("default");
        if let Some(Value::Array(kinds)) = fields.get_mut("type") {
            kinds.retain(|kind| kind != "null");
        }
        if let Some(Value::Array(forms)) = fields.get_mut("anyOf") {
            forms.retain(|form| form["type"] != "null");
        }
        // Lists may be one parameter with commas.
        json!({"name": name, "in": "query", "description": description, "schema": schema, "explode": false})
    };
    properties.into_iter().map(described).collect()
}

/// The media types of a body, and what each holds.
fn content(content: Content, generator: &mut SchemaGenerator) -> Option<Value> {
    let envelope = json!({"$ref": "#/components/schemas/Envelope"});
    // OpenAPI 3.1 has no word for bodies that come in parts: they are texts to it, and what each part holds is said beside that.
    let lines = |of: Value| {
        let about = "A JSON document on each line; `x-line-schema` is what each is.";
        json!({"application/x-ndjson": {"schema": {"type": "string", "description": about, "x-line-schema": of}}})
    };
    Some(match content {
        Content::Json(form) => json!({"application/json": {"schema": form(generator)}}),
        Content::Stream(form) => {
            let about = "Server-sent events, for who accepts nothing but them: each has the `id` of an event, its type as `event`, and the event \
                         (`/schemas/event.json`) as `data`. A comment each quarter of a minute keeps the line open. One of the type `error` has \
                         a problem as `data`, and ends the stream: whoever comes back with the last `id` goes on behind it.";
            json!({
                "application/json": {"schema": form(generator)},
                "text/event-stream": {"schema": {"type": "string", "description": about}},
            })
        }
        Content::Page(form) => json!({
            "application/json": {"schema": form(generator)},
            "text/html": {"schema": {"type": "string", "description": "The same as a page, for who accepts HTML."}},
            "text/markdown": {"schema": {"type": "string", "description": "The same as text, for who accepts that."}},
        }),
        Content::Lines(form) => {
            let problem = json!({"$ref": "#/components/schemas/Problem"});
            lines(json!({"anyOf": [form(generator), problem]}))
        }
        Content::Envelope => json!({"application/json": {"schema": envelope}}),
        Content::Envelopes => lines(envelope),
        Content::Bytes(media_type) => json!({media_type: {"schema": {"type": "string", "format": "binary"}}}),
        Content::Metrics => {
            let text = json!({"schema": {"type": "string"}});
            json!({"text/plain": text, "application/openmetrics-text": text})
        }
        Content::Nothing => return None,
    })
}

/// A problem of any code, and all members that one may have.
fn problem() -> Value {
    let text = json!({"type": "string"});
    let codes: Vec<&str> = CODES.iter().map(|known| known.code).collect();
    let told: Vec<String> =
        CODES.iter().map(|known| format!("`{}`: {} {}", known.code, known.when, known.remedy)).collect();
    let code = json!({"type": "string", "enum": codes, "description": told.join("\n\n")});
    let said = |about: &str, mut schema: Value| {
        schema["description"] = json!(about);
        schema
    };
    json!({
        "type": "object",
        "required": ["type", "title", "status", "code", "detail"],
        "properties": {
            "type": said("The address of a page about the code, on this node.", json!({"type": "string", "pattern": format!("^{PAGES}/[a-z_]+$")})),
            "title": said("What the status says.", text.clone()),
            "status": said("The status of the answer.", json!({"type": "integer", "minimum": 400, "maximum": 599})),
            "code": code,
            "detail": said("What was wrong, for people.", text.clone()),
            "errors": said("What is wrong in the body, each with its place.", json!({
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "required": ["pointer", "code", "detail"],
                    "properties": {
                        "pointer": said("Where: a JSON Pointer into the body.", text.clone()),
                        "code": said("What kind of mistake it is: stable.", text.clone()),
                        "detail": said("What is wrong, for people.", text.clone()),
                    },
                },
            })),
            "mission": said("The mission that it is about, as it is now.", json!({"$ref": "#/components/schemas/MissionView"})),
            "mission_id": said("Of `idempotency_conflict`: the mission that has the key.", text.clone()),
            "fields": said("Of `idempotency_conflict`: what differs, as JSON Pointers.", json!({"type": "array", "items": text})),
            "revision": said("Of `revised`: the revision that the schedule has.", json!({"type": "integer"})),
            "decision": said("Of `already_decided`: what was decided.", json!({})),
            "arguments_changed": said("Of `already_decided`: whether the call was approved with other arguments.", json!({"type": "boolean"})),
            "at": said("Of `artifact_missing` and `artifact_damaged`: where the bytes should be.", json!({"type": "string"})),
            "last": said("Of `position_ahead`: where the log ends.", json!({"type": "integer"})),
            "error": said("Of `tool_failed`: the code of the tool's error.", text.clone()),
        },
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_route_is_described_and_only_health_the_pages_about_problems_and_what_is_signed_are_open() {
        let routes = super::super::routes();
        let document = describe(&routes);
        let mut ids = BTreeSet::new();
        for route in &routes {
            let path = public(route.path);
            let operation = &document["paths"][&path][route.method.as_str().to_ascii_lowercase()];
            assert_eq!(operation["summary"], route.summary, "{path}");
            assert!(
                ids.insert(operation["operationId"].to_string()),
                "{path}: {} is there twice",
                operation["operationId"]
            );
            let open = operation["security"].as_array().is_some_and(Vec::is_empty);
            let expected = [
                "/healthz",
                "/readyz",
                "/problems",
                "/problems/{code}",
                "/v1/hooks/{name}",
                // Whoever asks in the older dialect shows what that knows.
                "/api/v1/ops/vp/missions/dispatch",
                "/api/v1/ops/vp/missions/{id}/cancel",
            ];
            assert_eq!(open, expected.contains(&route.path), "{path}");
            let answers = operation["responses"].as_object().expect("answers");
            assert!(answers.keys().any(|status| status.starts_with('2')), "{path}");
            assert!(
                answers.keys().all(|status| status.parse::<u16>().is_ok()),
                "{path}: each status is told by itself"
            );
        }
    }

    /// A body that is `any JSON` says nothing to whoever has to write one; of what is answered only what is somebody else's is open.
    #[test]
    fn no_body_is_without_a_form() {
        /// What is as a tool's schema has it; what is a document of others.
        const OPEN: [&str; 8] = [
            "/v1/tools/{name}/call",
            "/openapi.json",
            "/schemas/envelope.json",
            "/schemas/event.json",
            "/schemas/model-answer.json",
            "/schemas/model-request.json",
            "/schemas/mission-order.json",
            "/schemas/mission-result.json",
        ];
        let document = describe(&super::super::routes());
        let says = |schema: &Value| {
            ["$ref", "properties", "anyOf", "items", "additionalProperties"].iter().any(|key| !schema[key].is_null())
                || schema["type"] == "string"
        };
        for (path, methods) in document["paths"].as_object().expect("paths") {
            for (method, operation) in methods.as_object().expect("methods") {
                let answers = operation["responses"].as_object().into_iter().flatten().map(|(_, answer)| answer);
                let bodies = answers.chain(operation.get("requestBody"));
                for (media_type, body) in bodies.filter_map(|body| body["content"].as_object()).flatten() {
                    let is_open = OPEN.contains(&path.as_str()) || path == "/schemas/schedule.json";
                    assert!(is_open || says(&body["schema"]), "{method} {path}: {media_type} {}", body["schema"]);
                }
            }
        }
    }

    #[test]
    fn the_document_is_one_that_its_dialect_takes() {
        let document = describe(&super::super::routes());
        let mut schemas = 0;
        let mut each = |schema: &Value, of: &str| {
            jsonschema::draft202012::meta::validate(schema).unwrap_or_else(|error| panic!("{of}: {error}"));
            schemas += 1;
        };
        for (name, schema) in document["components"]["schemas"].as_object().expect("schemas") {
            each(schema, name);
        }
        for (path, methods) in document["paths"].as_object().expect("paths") {
            for operation in methods.as_object().expect("methods").values() {
                for parameter in operation["parameters"].as_array().expect("parameters") {
                    each(&parameter["schema"], path);
                }
            }
        }
        assert!(schemas > 100, "{schemas}");
    }
}
