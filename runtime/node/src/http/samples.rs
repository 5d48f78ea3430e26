//! Bodies as examples of what requests take: `/openapi.json` shows them, and a test has a node take each.

use axum::http::Method;
use serde_json::{Value, json};

/// A digest as people write it.
const DIGEST: &str = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

/// The examples of a request's body, each with a name.
pub(super) fn of(method: &Method, path: &str) -> Vec<(&'static str, Value)> {
    match (method.as_str(), path) {
        ("POST", "/v1/missions") => vec![("hello", hello()), ("report", report())],
        ("POST", "/v1/missions/{id}/cancel") => vec![("reason", json!({"reason": "no longer needed"}))],
        ("POST", "/v1/missions/{id}/fork") => vec![
            ("anew", json!({"at": 0})),
            ("where_it_failed", json!({"at": "failure", "workspace": "empty"})),
            ("once", json!({"at": 0, "workspace": "empty", "idempotency_key": "try-2"})),
        ],
        ("POST", "/v1/missions/{id}/keep") => vec![("keep", json!({"keep": true}))],
        ("POST", "/v1/plugin-fetch") => vec![
            ("registry", json!({"from": "oci://registry.example.org/acme/greeter:1.0.0"})),
            ("address", json!({"from": "https://plugins.example.org/greeter.wasm", "digest": DIGEST})),
        ],
        ("POST", "/v1/explain") => vec![("hello", hello())],
        ("POST", "/v1/missions/{id}/requests/{request}") => vec![
            ("approve", json!({"decision": "approve", "for": "tool", "note": "fine for this mission"})),
            ("deny", json!({"decision": "deny", "note": "not tonight"})),
            ("answer", json!({"decision": "answer", "text": "B"})),
            ("grant", json!({"decision": "grant", "amount": {"llm_calls": 20, "cost_usd": 0.5}})),
            ("record", json!({"decision": "record", "result": {"sent": true}})),
        ],
        ("POST", "/api/v1/ops/vp/missions/dispatch") => vec![(
            "coding_task",
            json!({
                "vp_id": "vp.coder.primary", "mission_type": "coding_task", "objective": "Mend the build.",
                "constraints": {"max_duration_minutes": 60}, "budget": {"max_minutes": 60}, "idempotency_key": "mend-1", "priority": 100,
            }),
        )],
        ("POST", "/v1/hooks/{name}/try") => vec![(
            "opened",
            json!({"body": {"action": "opened", "issue": {"number": 7}}, "headers": {"X-GitHub-Event": "issues"}}),
        )],
        ("POST", "/v1/tools/{name}/call") => vec![("glob", json!({"pattern": "**/*.md"}))],
        ("POST", "/v1/schedules") => vec![("nightly", nightly("nightly-greeting"))],
        ("PUT", "/v1/schedules/{id}") => vec![("nightly", nightly("nightly-greeting"))],
        ("POST", "/v1/schedules/preview") => vec![
            ("crontab", json!({"schedule": {"at": "0 2 * * 1-5", "zone": "America/Chicago"}, "count": 3})),
            ("interval", json!({"schedule": {"every": "6h"}, "from": "2026-12-01T00:00:00Z"})),
        ],
        ("POST", "/v1/schedules/{id}/pause") => {
            vec![("for_a_while", json!({"until": "2099-12-01T06:00:00Z", "note": "the wiki is moved"}))]
        }
        ("POST", "/v1/schedules/{id}/resume") => vec![("note", json!({"note": "the wiki is back"}))],
        ("POST", "/v1/schedules/{id}/trigger") => {
            vec![("beside_others", json!({"overlap": "allow_all", "note": "to see if it works"}))]
        }
        ("POST", "/v1/schedules/{id}/backfill") => vec![(
            "a_week",
            json!({"from": "2026-11-16T00:00:00Z", "to": "2026-11-22T23:59:59Z", "order": "in_turn", "note": "the node was down"}),
        )],
        _ => Vec::new(),
    }
}

/// The least that an envelope has.
fn hello() -> Value {
    json!({
        "mission_id": "hello-1",
        "idempotency_key": "hello-1",
        "vp_id": "vp.general.primary",
        "source_instance_id": "hq",
        "target_instance_id": "*",
        "mission_type": "custom",
        "plugin": "hello",
        "objective": "Say hello.",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "created_at": "2026-11-22T20:00:00Z",
    })
}

/// What says what it may use and spend, and what must be there at the end.
fn report() -> Value {
    json!({
        "mission_id": "report-1",
        "idempotency_key": "report-1",
        "vp_id": "vp.general.primary",
        "vp_session_id": "vp.general.primary.reports",
        "source_instance_id": "hq",
        "target_instance_id": "*",
        "mission_type": "automation",
        "objective": "Write the report.",
        "constraints": {"allowed_tools": ["Write(reports/*.md)"], "approval_required": ["external_messaging"]},
        "budget": {"max_runtime_minutes": 10, "max_llm_calls": 5, "max_cost_usd": 0.25},
        "report_cadence": "milestone",
        "artifact_policy": {"required_outputs": ["report.md"], "storage_scope": "factory"},
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "created_at": "2026-11-22T20:00:00Z",
        "inputs": {"steps": [
            {"id": "write", "tool": "Write", "with": {"path": "reports/report.md", "content": "# Report\n"}, "artifact": "report.md"},
        ]},
    })
}

fn nightly(id: &str) -> Value {
    json!({
        "id": id,
        "zone": "America/Chicago",
        "at": "0 2 * * 1-5",
        "opens_for": "4h",
        "note": "Says hello before anybody is up.",
        "mission": {
            "vp_id": "vp.night",
            "mission_type": "custom",
            "plugin": "hello",
            "objective": "Say hello to {{ date }}.",
        },
    })
}
