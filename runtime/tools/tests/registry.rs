//! The registry: what a configuration may change, and what every call is held against.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use sortie_contract::limit;
use sortie_contract::tool::{CallError, Repeat, ToolAnswer, ToolInfo, ToolName};
use sortie_tools::{CallContext, Registry, Tool, ToolsConfig, Workspace};
use tokio::time::sleep;

fn registry(config: Value) -> Result<Registry, String> {
    let config: ToolsConfig = serde_json::from_value(config).map_err(|error| error.to_string())?;
    Registry::new(config).map_err(|error| error.to_string())
}

fn context() -> CallContext {
    let workspace = Workspace::open(std::path::Path::new("/nonexistent/workspace")).unwrap();
    CallContext { workspace, mission_id: "m".to_owned(), idempotency_key: "m/1".to_owned() }
}

#[test]
fn built_in_tools_are_what_the_contract_says() {
    let registry = registry(json!({})).unwrap();
    let told: Vec<_> =
        registry.infos().iter().map(|info| (info.name.as_str(), info.repeat(), info.is_classified())).collect();
    assert_eq!(
        told,
        [
            ("Read", Repeat::ReadOnly, true),
            ("Write", Repeat::Idempotent, true),
            ("Edit", Repeat::Effectful, true),
            ("Glob", Repeat::ReadOnly, true),
            ("Grep", Repeat::ReadOnly, true),
            ("WebFetch", Repeat::ReadOnly, true),
        ]
    );
    assert_eq!(registry.info("eDiT").unwrap().effects[0].0, "workspace_write");
    assert!(registry.info("Bash").is_none());
    for info in registry.infos() {
        assert_eq!(info.input_schema["type"], "object", "{}", info.name);
        assert_eq!(info.input_schema["additionalProperties"], false, "{}", info.name);
        let properties = info.input_schema["properties"].as_object().unwrap();
        assert!(properties.values().all(|property| property["description"].is_string()), "{}", info.name);
    }
}

#[test]
fn a_configuration_overrides_what_a_tool_declares() {
    let registry = registry(json!({
        "Read": { "enabled": false },
        "Write": { "effects": ["destructive_file_actions", "house_rule_7"], "idempotent": false },
        "Edit": { "effects": [], "read_only": true },
        "WebFetch": { "effects": ["external_side_effect"], "hosts": ["example.org"], "allow_private": ["10.0.0.0/8"] },
        "Bash": { "enabled": false },
    }))
    .unwrap();
    assert!(registry.info("Read").is_none());
    let repeat = |name| registry.info(name).unwrap().repeat();
    assert_eq!(
        [repeat("Write"), repeat("Edit"), repeat("WebFetch")],
        [Repeat::Effectful, Repeat::ReadOnly, Repeat::Effectful]
    );
    assert!(!registry.info("WebFetch").unwrap().read_only, "what is told of a tool is what holds");
    assert_eq!(registry.info("Write").unwrap().effects[1].0, "house_rule_7");
}

#[test]
fn an_effect_class_of_the_operator_cancels_what_the_tool_says_of_repeating_it() {
    for (tool, config, expected) in [
        ("WebFetch", json!({ "effects": ["external_side_effect"] }), Repeat::Effectful),
        ("WebFetch", json!({ "effects": ["external_side_effect"], "read_only": true }), Repeat::Effectful),
        ("WebFetch", json!({ "effects": ["external_side_effect"], "idempotent": true }), Repeat::Idempotent),
        ("WebFetch", json!({ "effects": [] }), Repeat::ReadOnly),
        ("Write", json!({ "effects": ["workspace_write", "public_posting"] }), Repeat::Effectful),
        // Its own class says nothing new.
        ("Write", json!({ "effects": ["workspace_write"] }), Repeat::Idempotent),
    ] {
        let registry = registry(json!({ tool: config })).unwrap();
        assert_eq!(registry.info(tool).unwrap().repeat(), expected, "{tool} {config}");
    }
}

#[test]
fn a_configuration_that_would_be_ignored_is_refused() {
    for (config, said) in [
        (json!({ "Raed": {} }), "Read, Write, Edit, Glob, Grep, WebFetch, Bash"),
        (json!({ "Bash": { "enabled": true } }), "this version cannot do Bash"),
        (json!({ "WebSearch": { "enabled": true } }), "this version cannot do WebSearch"),
        (json!({ "Read": { "hosts": ["example.org"] } }), "[tool.WebFetch] only"),
        (json!({ "Read": { "allow_private": [] } }), "[tool.WebFetch] only"),
        (json!({ "Read": { "enable": true } }), "unknown field `enable`"),
        (json!({ "Write": { "effects": ["Money Movement"] } }), "no effect class"),
        (json!({ "WebFetch": { "hosts": ["https://example.org/"] } }), "no host such as"),
        (json!({ "WebFetch": { "allow_private": ["localhost"] } }), "neither an IP address"),
    ] {
        let error = registry(config.clone()).expect_err(&config.to_string());
        assert!(error.contains(said), "{config}: {error}");
    }
}

#[tokio::test]
async fn arguments_are_held_against_the_schema_first() {
    let registry = registry(json!({})).unwrap();
    let huge = format!(r#"{{"path":"a","content":"{}"}}"#, "x".repeat(limit::CALL_BYTES_MAX));
    for (tool, arguments, said) in [
        ("Write", r#"{"path":"a"}"#, "\"content\" is a required property"),
        ("Write", r#"{"path":7,"content":"x"}"#, "/path: 7 is not of type \"string\""),
        ("Write", r#"{"path":"a","content":"x","mode":1}"#, "'mode' was unexpected"),
        ("Read", r#"{"path":"a","offset":-1}"#, "/offset"),
        ("Read", r#"{"path":"a","limit":1.5}"#, "/limit"),
        ("Read", r#"["a"]"#, "the arguments: "),
        ("Read", "null", "the arguments: "),
        ("Read", "{", "not JSON"),
        ("Read", "", "not JSON"),
        ("Write", &huge, "are allowed"),
    ] {
        let error = registry.call(tool, &context(), arguments, sleep).await.unwrap_err();
        assert!(matches!(&error, CallError::InvalidArguments(text) if text.contains(said)), "{tool}: {error:?}");
        assert!(error.to_string().len() < 2_000);
    }
    let error = registry.call("Bash", &context(), "{}", sleep).await.unwrap_err();
    assert!(matches!(&error, CallError::Denied(text) if text.contains("it has Read, Write")), "{error:?}");
}

/// A tool that is not built in.
struct Odd {
    info: ToolInfo,
    result: Option<String>,
}

fn odd(name: &str, schema: Value, result: Option<String>) -> Box<Odd> {
    let info = ToolInfo {
        name: ToolName::new(name),
        description: String::new(),
        input_schema: schema,
        effects: Vec::new(),
        read_only: false,
        idempotent: false,
    };
    Box::new(Odd { info, result })
}

#[async_trait]
impl Tool for Odd {
    fn info(&self) -> &ToolInfo {
        &self.info
    }

    async fn call(&self, _: &CallContext, _: &Value) -> Result<ToolAnswer, CallError> {
        match self.result.clone() {
            Some(result) => Ok(ToolAnswer { result, wrote: Vec::new() }),
            None => std::future::pending().await,
        }
    }

    fn time_limit(&self) -> Duration {
        Duration::from_millis(10)
    }
}

#[tokio::test]
async fn every_tool_is_bounded() {
    let mut registry = Registry::empty();
    registry.add(odd("slow", json!(true), None)).unwrap();
    registry.add(odd("large", json!(true), Some("x".repeat(limit::CALL_BYTES_MAX + 1)))).unwrap();
    assert!(matches!(registry.call("slow", &context(), "{}", sleep).await, Err(CallError::TimedOut(_))));
    assert!(matches!(registry.call("large", &context(), "{}", sleep).await, Err(CallError::Failed(_))));
    assert!(registry.add(odd("SLOW", json!(true), None)).is_err());
    assert!(registry.add(odd("bad", json!({ "type": "strnig" }), None)).is_err());
}
