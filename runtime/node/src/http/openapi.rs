//! The interface's own description: OpenAPI, and the JSON Schemas of envelope and event.

use axum::Json;
use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};
use sortie_contract::envelope::{envelope_schema, event_schema};

use super::codes::CODES;
use super::{Content, Route};

/// `GET /openapi.json`
pub(super) async fn document() -> Json<Value> {
    Json(describe(&super::routes()))
}

/// `GET /schemas/envelope.json`
pub(super) async fn envelope() -> Json<Value> {
    Json(envelope_schema())
}

/// `GET /schemas/event.json`
pub(super) async fn event() -> Json<Value> {
    Json(event_schema())
}

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
        // axum's catch-all is an ordinary parameter to clients.
        let path = route.path.replace("{*", "{");
        let methods = paths.entry(path.clone()).or_insert_with(|| json!({}));
        methods[route.method.as_str().to_ascii_lowercase()] = operation(route, &path, &mut generator, &mut taken);
    }
    let mut schemas = generator.take_definitions(true);
    schemas.insert("Envelope".to_owned(), envelope_schema());
    schemas.insert("Problem".to_owned(), problem());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Sortie",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The mission runtime of a factory node.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": schemas,
        },
    })
}

fn operation(route: &Route, path: &str, generator: &mut SchemaGenerator, taken: &mut SchemaGenerator) -> Value {
    let of_path = path
        .split('/')
        .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}));
    let of_query = route.query.map(|form| query(&form(generator))).unwrap_or_default();
    let parameters: Vec<Value> = of_path.chain(of_query).collect();
    let failure = json!({
        "description": "A problem (RFC 9457)",
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    });
    let mut done = json!({"description": "Done"});
    if let Some(content) = content(route.gives, generator) {
        done["content"] = content;
    }
    let mut operation = json!({
        "summary": route.summary,
        "parameters": parameters,
        "responses": {"2XX": done, "default": failure},
        "security": route.scope.map(|_| json!({"token": []})).into_iter().collect::<Vec<_>>(),
    });
    if let Some(scope) = route.scope {
        operation["x-scope"] = json!(scope.as_str());
    }
    if let Some(content) = route.takes.and_then(|takes| content(takes, taken)) {
        // An object of which every field may be left out may be, too.
        let schema = &content["application/json"]["schema"];
        let is_required = schema["properties"].is_null() || schema["required"].is_array();
        operation["requestBody"] = json!({"required": is_required, "content": content});
    }
    operation
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
    Some(match content {
        Content::Json(form) => json!({"application/json": {"schema": form(generator)}}),
        Content::Stream(form) => json!({
            "application/json": {"schema": form(generator)},
            "text/event-stream": {"schema": {"type": "string"}},
        }),
        Content::Lines(form) => json!({"application/x-ndjson": {"schema": form(generator)}}),
        Content::Envelope => json!({"application/json": {"schema": envelope}}),
        Content::Envelopes => json!({"application/x-ndjson": {"schema": envelope}}),
        Content::Bytes(media_type) => json!({media_type: {"schema": {"type": "string", "format": "binary"}}}),
        Content::Nothing => return None,
    })
}

fn problem() -> Value {
    let text = json!({"type": "string"});
    let codes: Vec<&str> = CODES.iter().map(|known| known.code).collect();
    let told: Vec<String> =
        CODES.iter().map(|known| format!("`{}`: {} {}", known.code, known.when, known.remedy)).collect();
    let code = json!({"type": "string", "enum": codes, "description": told.join("\n\n")});
    json!({
        "type": "object",
        "required": ["type", "status", "code", "detail"],
        "properties": {
            "type": text, "title": text, "status": {"type": "integer"}, "code": code, "detail": text,
            "errors": {
                "type": "array",
                "items": {"type": "object", "properties": {"pointer": text, "code": text, "detail": text}},
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_described_and_only_health_is_open() {
        let routes = super::super::routes();
        let document = describe(&routes);
        for route in &routes {
            let path = route.path.replace("{*", "{");
            let operation = &document["paths"][&path][route.method.as_str().to_ascii_lowercase()];
            assert_eq!(operation["summary"], route.summary, "{path}");
            let open = operation["security"].as_array().is_some_and(Vec::is_empty);
            assert_eq!(open, matches!(route.path, "/healthz" | "/readyz"), "{path}");
        }
    }
}
