//! The interface's own description: OpenAPI, and the JSON Schemas of envelope and event.

use axum::Json;
use serde_json::{Map, Value, json};
use sortie_contract::envelope::{envelope_schema, event_schema};

use super::Route;
use crate::config::Scope;

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
    let mut paths = Map::new();
    for route in routes {
        // axum's catch-all is an ordinary parameter to clients.
        let path = route.path.replace("{*", "{");
        let methods = paths.entry(path.clone()).or_insert_with(|| json!({}));
        methods[route.method.as_str().to_ascii_lowercase()] = operation(route, &path);
    }
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
            "schemas": {"Envelope": envelope_schema(), "Event": event_schema(), "Problem": problem()},
        },
    })
}

fn operation(route: &Route, path: &str) -> Value {
    let parameters: Vec<Value> = path
        .split('/')
        .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
        .collect();
    let failure = json!({
        "description": "A problem (RFC 9457)",
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    });
    let mut operation = json!({
        "summary": route.summary,
        "parameters": parameters,
        "responses": {"2XX": {"description": "Done"}, "default": failure},
        "security": route.scope.map(|_| json!({"token": []})).into_iter().collect::<Vec<_>>(),
    });
    if let Some(scope) = route.scope {
        operation["x-scope"] = json!(scope.as_str());
    }
    if path == "/v1/missions" && route.scope == Some(Scope::Dispatch) {
        let schema = json!({"$ref": "#/components/schemas/Envelope"});
        operation["requestBody"] = json!({"required": true, "content": {"application/json": {"schema": schema}}});
    }
    operation
}

fn problem() -> Value {
    let text = json!({"type": "string"});
    json!({
        "type": "object",
        "required": ["type", "status", "code", "detail"],
        "properties": {
            "type": text, "title": text, "status": {"type": "integer"}, "code": text, "detail": text,
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
