//! JSON Schemas (2020-12) of what goes in and what comes out: served to those who write control planes.
//!
//! What [`Envelope::parse`](super::Envelope::parse) takes, the schema takes. The other way round it holds as far as a schema can
//! say it: that a window is not empty, that a glob is one, that an id is short in *bytes* is said in its descriptions.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::MissionType;
use super::child::ORDER;
use super::parse::REQUIRED;
use crate::event::Event;
use crate::id as ids;
use crate::limit;

/// The JSON Schema of an envelope.
#[must_use]
pub fn envelope_schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Mission envelope",
        "description": "What a control plane dispatches (Mission Envelope v1). Unknown keys are kept and warned of, but refused in `constraints` and `budget`; `null` is the same as absent.",
        "type": "object",
        "required": REQUIRED,
        "properties": properties(),
        "allOf": [
            {
                "if": { "properties": { "mission_type": { "const": "custom" } }, "required": ["mission_type"] },
                "then": { "properties": { "plugin": { "type": "string" } }, "required": ["plugin"] },
            },
            {
                "if": {
                    "properties": {
                        "artifact_policy": {
                            "type": "object",
                            "properties": { "storage_scope": { "const": "pushback" } },
                            "required": ["storage_scope"],
                        },
                    },
                    "required": ["artifact_policy"],
                },
                "then": { "properties": { "callback": { "type": "object" } }, "required": ["callback"] },
            },
        ],
    })
}

/// The JSON Schema of what a plugin says of a mission that it dispatches.
#[must_use]
pub fn order_schema() -> Value {
    let mut properties: Map<String, Value> =
        properties().into_iter().filter(|(name, _)| ORDER.contains(&name.as_str())).collect();
    properties.extend(of_an_order());
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Mission order",
        "description": "What a plugin says of a mission that it dispatches, in the words of an envelope; the rest is its own mission's, or the node's.",
        "type": "object",
        "required": ["objective", "mission_type"],
        "additionalProperties": false,
        "properties": properties,
    })
}

/// What is otherwise in an order than in an envelope: what is not named there is not its own to have.
fn of_an_order() -> [(String, Value); 4] {
    let share = |of: &str, kind: &str| {
        let description =
            format!("Its share of {of}: set aside in the budget of the mission that dispatches it. Absent or 0: none.");
        described(&description, json!({ "type": [kind, "null"], "minimum": 0 }))
    };
    let budget = closed(&json!({
        "max_runtime_minutes": described(
            "Run time; a fraction is fine. At most what the mission that dispatches it has left, and that where it is absent or 0: no share, for they run side by side.",
            json!({ "type": ["number", "null"], "minimum": 0 }),
        ),
        "max_llm_calls": share("the calls of a language model", "integer"),
        "max_cost_usd": share("the money, in US dollars", "number"),
        "max_missions": described(
            "How many missions may come of it, which it dispatches or those that it dispatched. They and itself are taken out of those that may come of the mission that dispatches it. Absent or 0: it dispatches none.",
            json!({ "type": ["integer", "null"], "minimum": 0 }),
        ),
    }));
    let texts = [
        (
            "budget",
            "What it may spend: a share of what the mission that dispatches it has. What is not named is nothing.",
            budget,
        ),
        (
            "constraints",
            "What it may use: nothing that the mission that dispatches it may not. What that one is forbidden, or asks approval for, holds for it as well.",
            constraints(),
        ),
        (
            "autonomy_window",
            "When it may run: it ends with the window of the mission that dispatches it at the latest.",
            window(),
        ),
        (
            "artifact_policy",
            "What must be there at the end, and where it goes: to where that of the mission that dispatches it goes, or nowhere beyond its node.",
            artifact_policy(&["factory", "shared"]),
        ),
    ];
    texts.map(|(name, description, schema)| (name.to_owned(), described(description, schema)))
}

/// The JSON Schema of what a plugin is told of a mission that it dispatched, once that has ended.
#[must_use]
pub fn result_schema() -> Value {
    let text = |description: &str| json!({ "type": "string", "description": description });
    let properties = json!({
        "mission_id": text("The mission: `missions.artifact` reads what it left by this."),
        "status": { "enum": ["completed", "failed", "cancelled", "timed_out"], "description": "How it ended." },
        "reason": text("Why, as of a final event."),
        "summary": text("For people."),
        "next_action": text("What somebody should do next."),
        "criteria": { "type": "array", "items": { "type": "object" }, "description": "Its success criteria: `criterion`, `verdict`, `evidence`." },
        "artifacts": { "type": "array", "items": { "type": "object" }, "description": "What it left: `name`, `media_type`, `bytes`, `sha256`." },
        "usage": { "type": "object", "description": "What it has used: `runtime_minutes`, `llm_calls`, `estimated_cost_usd`." },
    });
    let required: Vec<&String> = properties.as_object().into_iter().flat_map(Map::keys).collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Mission result",
        "description": "What a plugin is told of a mission that it dispatched, once that has ended.",
        "type": "object",
        "required": required,
        "properties": properties,
    })
}

/// The JSON Schema of an event.
#[must_use]
pub fn event_schema() -> Value {
    let mut generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    generator.root_schema_for::<Event>().to_value()
}

fn properties() -> Map<String, Value> {
    let types = MissionType::ALL.map(MissionType::as_str);
    let seconds = json!({ "type": ["integer", "null"], "minimum": limit::HEARTBEAT_SECONDS_MIN, "maximum": limit::HEARTBEAT_SECONDS_MAX, "default": limit::HEARTBEAT_SECONDS });
    let not_ids: Vec<&str> = [".", ".."].into_iter().chain(ids::RESERVED).collect();
    let plugin = r"^[a-z0-9-]{1,64}(@[0-9A-Za-z.+-]+)?$";
    let fields = [
        (
            "mission_id",
            "Globally unique. Names that end with `.child-` and a number are the node's to give.",
            json!({ "type": "string", "pattern": "^[A-Za-z0-9._:-]{1,200}$", "not": { "anyOf": [{ "enum": not_ids }, { "pattern": r"\.child-[0-9]+$" }] } }),
        ),
        ("vp_id", "Who the mission is done as.", id(limit::ID_BYTES_MAX)),
        (
            "vp_session_id",
            "The session. Without it: the latest of the VP, else `{vp_id}.session`. Names like `child:night.child-7` are the node's to give.",
            optional(but_not(id(limit::SESSION_ID_BYTES_MAX), r"^child:.*\.child-[0-9]+$")),
        ),
        ("vp_runtime_id", "The lane. Without it: the node's default lane.", optional(id(limit::ID_BYTES_MAX))),
        ("source_instance_id", "Who dispatches it.", id(limit::ID_BYTES_MAX)),
        ("target_instance_id", "The node that is to run it; `*` is any.", id(limit::ID_BYTES_MAX)),
        ("mission_type", "What kind of work it is; `custom` needs `plugin`.", json!({ "enum": types })),
        ("objective", "What is to be done, in words.", json!({ "type": "string", "pattern": r"\S" })),
        ("constraints", "What it may use. Nothing is granted that `allowed_tools` does not name.", constraints()),
        ("budget", "What it may spend. Absent or 0: no limit of its own, the node's ceiling applies.", budget()),
        ("autonomy_window", "When it may run: from `start_at` to before `end_at`, which is later.", window()),
        ("heartbeat_interval_seconds", "How often it shows a sign of life.", seconds),
        ("report_cadence", "When it reports progress.", names(&["milestone", "interval", "hybrid"])),
        ("success_criteria", "What must hold at the end.", texts(r"\S")),
        (
            "artifact_policy",
            "What must be there at the end, and where it goes.",
            artifact_policy(&["factory", "shared", "pushback"]),
        ),
        ("callback", "Where its events are sent.", callback()),
        (
            "idempotency_key",
            "What makes a second dispatch from the same source the same one. Names like `child:night/7` are the node's to give.",
            but_not(id(limit::KEY_BYTES_MAX), "^child:.*/[0-9]+$"),
        ),
        ("trace_id", "Carried everywhere.", id(limit::KEY_BYTES_MAX)),
        ("created_at", "When it was made.", time(&json!("string"))),
        ("inputs", "Extension: what the plugin gets beside the objective.", json!({ "type": ["object", "null"] })),
        (
            "plugin",
            "Extension: `name` or `name@version` of the plugin that runs it.",
            json!({ "type": ["string", "null"], "pattern": plugin }),
        ),
        (
            "on_window_end",
            "Extension: whether it ends with its window, or goes on in the next one of its schedule or lane.",
            names(&["end", "suspend"]),
        ),
        (
            "carry_over_max",
            "Extension: how often it is carried over into a further window at most.",
            json!({ "type": ["integer", "null"], "minimum": 0, "maximum": limit::CARRY_OVER_MAX, "default": limit::CARRY_OVER }),
        ),
        (
            "on_expiry",
            "Extension: whether a request that nobody answers ends the mission, is turned down, or waits until the window closes.",
            names(&["end", "deny", "wait"]),
        ),
    ];
    fields.into_iter().map(|(name, description, schema)| (name.to_owned(), described(description, schema))).collect()
}

fn constraints() -> Value {
    const PATTERN: &str = r"^[A-Za-z0-9_.:/*-]+(\([^\u0000-\u001f\u007f-\u009f]*)?$";
    closed(&json!({
        "allowed_tools": described("Patterns of tools: a name, one with `*`, or `NAME(scope)`.", texts(PATTERN)),
        "forbidden_tools": described("Patterns of tools, or effect classes; wins over the others.", texts(PATTERN)),
        "approval_required": described("Patterns of tools, or effect classes.", texts(r"\S")),
    }))
}

fn budget() -> Value {
    closed(&json!({
        "max_runtime_minutes": described("Run time; a fraction is fine.", json!({ "type": ["number", "null"], "minimum": 0 })),
        "max_llm_calls": described("Calls of a language model.", json!({ "type": ["integer", "null"], "minimum": 0 })),
        "max_cost_usd": described("Cost in US dollars.", json!({ "type": ["number", "null"], "minimum": 0 })),
        "max_missions": described("Extension: missions that come of it, which it dispatches or those that it dispatched, all together.", json!({ "type": ["integer", "null"], "minimum": 0 })),
    }))
}

fn window() -> Value {
    let end = time(&json!(["string", "null"]));
    json!({ "type": ["object", "null"], "properties": { "start_at": end, "end_at": end } })
}

fn artifact_policy(scopes: &[&str]) -> Value {
    let properties = json!({
        "required_outputs": described("Names or globs of artifacts.", texts(r"^[^\\\u0000-\u001f\u007f-\u009f]+$")),
        "storage_scope": names(scopes),
    });
    json!({ "type": ["object", "null"], "properties": properties })
}

fn callback() -> Value {
    let reference = r"^(env://[A-Za-z0-9_]+|file:///[^\u0000-\u001f\u007f-\u009f]*)$";
    let properties = json!({
        "status_url": { "type": "string", "format": "uri", "pattern": r"^[Hh][Tt][Tt][Pp][Ss]?://[^/?#\s\\][^\s\\]*$", "maxLength": limit::URL_BYTES_MAX },
        "auth_mode": names(&["bearer"]),
        "auth_ref": { "type": ["string", "null"], "pattern": reference },
    });
    json!({ "type": ["object", "null"], "required": ["status_url"], "properties": properties })
}

fn id(max: usize) -> Value {
    json!({ "type": "string", "pattern": r"^[^\u0000-\u001f\u007f-\u009f]*\S[^\u0000-\u001f\u007f-\u009f]*$", "maxLength": max })
}

fn time(kind: &Value) -> Value {
    let pattern = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]+)?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$";
    json!({ "type": kind, "format": "date-time", "pattern": pattern })
}

fn texts(pattern: &str) -> Value {
    let entry = json!({ "type": "string", "pattern": pattern, "maxLength": limit::LIST_ENTRY_BYTES_MAX });
    json!({ "type": ["array", "null"], "maxItems": limit::LIST_ENTRIES_MAX, "items": entry })
}

fn names(names: &[&str]) -> Value {
    let all: Vec<Value> = names.iter().map(|&name| name.into()).chain([Value::Null]).collect();
    json!({ "enum": all })
}

fn closed(properties: &Value) -> Value {
    json!({ "type": ["object", "null"], "additionalProperties": false, "properties": properties })
}

/// The same, and no text of that form.
fn but_not(mut schema: Value, pattern: &str) -> Value {
    schema["not"] = json!({ "type": "string", "pattern": pattern });
    schema
}

fn optional(mut schema: Value) -> Value {
    schema["type"] = json!(["string", "null"]);
    schema
}

fn described(description: &str, mut schema: Value) -> Value {
    schema["description"] = description.into();
    schema
}
