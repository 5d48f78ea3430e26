//! The toolbox: what a configuration may change, whose tool a name means, and what every call is held against.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use sortie_contract::money::{MicroUsd, Spend};
use sortie_contract::tool::{CallError, Repeat, ToolAnswer, ToolInfo, ToolName};
use sortie_contract::{Timestamp, limit};
use sortie_tools::{
    Ask, Bill, BuiltIn, CallContext, Changed, Form, Found, LinkState, Nobody, Offer, Provider, ProviderError,
    Providers, Question, Reply, Tool, Toolbox, ToolsConfig, Waits, Workspace,
};
use tokio::sync::watch;
use tokio::time::sleep;

const BEGUN: Timestamp = Timestamp::UNIX_EPOCH;

fn toolbox(config: Value) -> Result<Arc<Toolbox>, String> {
    let config: ToolsConfig = serde_json::from_value(config).map_err(|error| error.to_string())?;
    let built_in = BuiltIn::new(config).map_err(|error| error.to_string())?;
    Ok(Providers::new(built_in, Vec::new(), BEGUN).unwrap().toolbox())
}

fn context() -> CallContext {
    let workspace = Workspace::open(std::path::Path::new("/nonexistent/workspace")).unwrap();
    CallContext {
        workspace,
        mission_id: "m".to_owned(),
        idempotency_key: "m/1".to_owned(),
        run: sortie_contract::id::RunNo(1),
        trace_id: String::new(),
        bill: Bill::default(),
        ask: Arc::new(Nobody),
    }
}

#[test]
fn built_in_tools_are_what_the_contract_says() {
    let toolbox = toolbox(json!({})).unwrap();
    let told: Vec<_> =
        toolbox.infos().iter().map(|info| (info.name.as_str(), info.repeat(), info.is_classified())).collect();
    assert_eq!(
        told,
        [
            ("Read", Repeat::ReadOnly, true),
            ("Write", Repeat::Idempotent, true),
            ("Edit", Repeat::Effectful, true),
            ("Glob", Repeat::ReadOnly, true),
            ("Grep", Repeat::ReadOnly, true),
            ("WebFetch", Repeat::ReadOnly, true),
            // Whether a service heeds the key that comes with a request only its operator knows.
            ("HttpRequest", Repeat::Effectful, true),
        ]
    );
    assert_eq!(toolbox.info("eDiT").unwrap().effects[0].0, "workspace_write");
    assert!(toolbox.info("Bash").is_none());
    for info in toolbox.infos() {
        assert_eq!(info.input_schema["type"], "object", "{}", info.name);
        assert_eq!(info.input_schema["additionalProperties"], false, "{}", info.name);
        let properties = info.input_schema["properties"].as_object().unwrap();
        assert!(properties.values().all(|property| property["description"].is_string()), "{}", info.name);
    }
}

#[test]
fn a_configuration_overrides_what_a_tool_declares() {
    let toolbox = toolbox(json!({
        "Read": { "enabled": false },
        "Write": { "effects": ["destructive_file_actions", "house_rule_7"], "idempotent": false },
        "Edit": { "effects": [], "read_only": true },
        "WebFetch": { "effects": ["external_side_effect"], "hosts": ["example.org"], "allow_private": ["10.0.0.0/8"] },
        "Bash": { "enabled": false },
    }))
    .unwrap();
    assert!(toolbox.info("Read").is_none());
    let repeat = |name| toolbox.info(name).unwrap().repeat();
    assert_eq!(
        [repeat("Write"), repeat("Edit"), repeat("WebFetch")],
        [Repeat::Effectful, Repeat::ReadOnly, Repeat::Effectful]
    );
    assert!(!toolbox.info("WebFetch").unwrap().read_only, "what is told of a tool is what holds");
    assert_eq!(toolbox.info("Write").unwrap().effects[1].0, "house_rule_7");
}

#[test]
fn an_effect_class_of_the_operator_cancels_what_the_tool_says_of_repeating_it() {
    for (tool, config, expected) in [
        ("WebFetch", json!({ "effects": ["external_side_effect"] }), Repeat::Effectful),
        ("WebFetch", json!({ "effects": ["external_side_effect"], "read_only": true }), Repeat::Effectful),
        ("WebFetch", json!({ "effects": ["external_side_effect"], "idempotent": true }), Repeat::Idempotent),
        ("WebFetch", json!({ "effects": [] }), Repeat::ReadOnly),
        ("HttpRequest", json!({}), Repeat::Effectful),
        ("HttpRequest", json!({ "idempotent": true }), Repeat::Idempotent),
        ("Write", json!({ "effects": ["workspace_write", "public_posting"] }), Repeat::Effectful),
        // Its own class says nothing new.
        ("Write", json!({ "effects": ["workspace_write"] }), Repeat::Idempotent),
    ] {
        let toolbox = toolbox(json!({ tool: config })).unwrap();
        assert_eq!(toolbox.info(tool).unwrap().repeat(), expected, "{tool} {config}");
    }
}

#[test]
fn a_configuration_that_would_be_ignored_is_refused() {
    for (config, said) in [
        (json!({ "Raed": {} }), "Read, Write, Edit, Glob, Grep, WebFetch, HttpRequest, WebSearch, Bash"),
        (json!({ "Read": { "memory_mib": 64 } }), "[tool.Bash] only"),
        (json!({ "WebSearch": { "enabled": true } }), "provider: it must say who is asked"),
        (json!({ "WebSearch": { "hosts": ["example.org"] } }), "[tool.WebFetch], [tool.HttpRequest], [tool.Bash] only"),
        (json!({ "HttpRequest": { "key": "env://K" } }), "[tool.WebSearch] only"),
        (json!({ "Read": { "hosts": ["example.org"] } }), "[tool.WebFetch], [tool.HttpRequest], [tool.Bash] only"),
        (json!({ "Read": { "allow_private": [] } }), "[tool.HttpRequest], [tool.WebSearch] only"),
        (json!({ "Read": { "enable": true } }), "unknown field `enable`"),
        (json!({ "Write": { "effects": ["Money Movement"] } }), "no effect class"),
        (json!({ "WebFetch": { "hosts": ["https://example.org/"] } }), "no host such as"),
        (json!({ "WebFetch": { "allow_private": ["localhost"] } }), "neither an IP address"),
        (json!({ "WebFetch": { "cost_usd": -0.01 } }), "0 or more"),
        (json!({ "WebFetch": { "cost_usd": 0.000_000_5 } }), "six digits"),
        (json!({ "WebFetch": { "cost_usd": 1e12 } }), "at most 9000000000"),
        (json!({ "WebFetch": { "cost_usd": "0.01" } }), "invalid type"),
    ] {
        let error = toolbox(config.clone()).expect_err(&config.to_string());
        assert!(error.contains(said), "{config}: {error}");
    }
}

#[tokio::test]
async fn arguments_are_held_against_the_schema_first() {
    let toolbox = toolbox(json!({})).unwrap();
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
        let error = toolbox.call(tool, &context(), arguments, None, sleep).await.unwrap_err();
        assert!(matches!(&error, CallError::InvalidArguments(text) if text.contains(said)), "{tool}: {error:?}");
        assert!(error.to_string().len() < 2_000);
    }
    let error = toolbox.call("Bash", &context(), "{}", None, sleep).await.unwrap_err();
    assert!(matches!(&error, CallError::Denied(text) if text.contains("it has Read, Write")), "{error:?}");
}

/// A tool that is not built in.
struct Odd {
    info: ToolInfo,
    result: Option<String>,
}

fn odd(name: &str, schema: Value, result: Option<String>) -> Arc<dyn Tool> {
    let info = ToolInfo { input_schema: schema, ..ToolInfo::undeclared(ToolName::new(name)) };
    Arc::new(Odd { info, result })
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
    let tools =
        vec![odd("slow", json!(true), None), odd("large", json!(true), Some("x".repeat(limit::CALL_BYTES_MAX + 1)))];
    let toolbox = Providers::new(BuiltIn::of(tools), Vec::new(), BEGUN).unwrap().toolbox();
    assert!(matches!(toolbox.call("slow", &context(), "{}", None, sleep).await, Err(CallError::TimedOut(_))));
    assert!(matches!(toolbox.call("large", &context(), "{}", None, sleep).await, Err(CallError::Failed(_))));
}

/// A tool that asks again and again.
struct Nags(ToolInfo);

#[async_trait]
impl Tool for Nags {
    fn info(&self) -> &ToolInfo {
        &self.0
    }

    async fn call(&self, context: &CallContext, _: &Value) -> Result<ToolAnswer, CallError> {
        loop {
            let form = Form::of(json!({"type": "object", "properties": {}})).unwrap();
            context.ask.ask(Question { message: "Who?".to_owned(), form }).await;
            sleep(Duration::from_millis(10)).await;
        }
    }

    fn time_limit(&self) -> Duration {
        Duration::from_secs(60)
    }
}

/// People who answer a few questions after an hour each, and are asked no more.
#[derive(Debug, Default)]
struct Few {
    waits: Waits,
    asked: AtomicUsize,
}

#[async_trait]
impl Ask for Few {
    async fn ask(&self, _: Question) -> Reply {
        if self.asked.fetch_add(1, Relaxed) < 5 {
            let _waits = self.waits.one();
            sleep(Duration::from_secs(3_600)).await;
        }
        Reply::Declined
    }

    fn waits(&self) -> watch::Receiver<usize> {
        self.waits.watched()
    }
}

#[tokio::test(start_paused = true)]
async fn no_time_passes_while_people_think_and_what_nobody_is_asked_gives_none() {
    let nags = Arc::new(Nags(ToolInfo { input_schema: json!(true), ..ToolInfo::undeclared(ToolName::new("nags")) }));
    let toolbox = Providers::new(BuiltIn::of(vec![nags]), Vec::new(), BEGUN).unwrap().toolbox();
    let context = CallContext { ask: Arc::new(Few::default()), ..context() };
    let begun = tokio::time::Instant::now();
    let call = toolbox.call("nags", &context, "{}", None, sleep);
    let ended = tokio::time::timeout(Duration::from_secs(50_000), call).await.expect("under its limit");
    assert!(matches!(ended, Err(CallError::TimedOut(_))), "{ended:?}");
    assert_eq!(begun.elapsed().as_secs(), 5 * 3_600 + 60);
}

/// A provider that nobody asks: what it offers is told by the test.
struct Named {
    name: &'static str,
    prefix: &'static str,
}

#[async_trait]
impl Provider for Named {
    fn name(&self) -> &str {
        self.name
    }

    fn prefix(&self) -> &str {
        self.prefix
    }

    async fn connect(&self) -> Result<(), ProviderError> {
        Ok(())
    }

    async fn tools(&self) -> Result<Vec<Arc<dyn Tool>>, ProviderError> {
        Ok(Vec::new())
    }

    async fn health(&self) -> Result<(), ProviderError> {
        Ok(())
    }

    async fn changed(&self) -> Changed {
        std::future::pending().await
    }

    async fn close(&self) {}
}

/// `Read` is built in; then a provider of anything, and two whose prefixes overlap.
fn providers() -> Providers {
    let others = [("any", ""), ("a", "mcp__a__"), ("a__b", "mcp__a__b__")];
    let others = others.map(|(name, prefix)| Arc::new(Named { name, prefix }) as Arc<dyn Provider>);
    let built_in = BuiltIn::of(vec![odd("Read", json!(true), Some("1".to_owned()))]);
    Providers::new(built_in, others.into(), BEGUN).unwrap()
}

fn offer(prefix: &str, names: &[&str]) -> Offer {
    Offer::of(prefix, names.iter().map(|name| odd(name, json!(true), Some("1".to_owned()))).collect())
}

#[test]
fn a_name_is_one_providers_and_stays_its_until_it_lets_go() {
    let prefixes = ["", "", "mcp__a__", "mcp__a__b__"];
    // What is offered, one after the other; then whose the name is, and whom it is told that theirs is left out.
    for (offers, name, owner, left_out) in [
        (&[(1, &["x"][..])][..], "X", Some("any"), &[][..]),
        (&[(1, &["read"])], "Read", Some("built-in"), &["any"]),
        (&[(2, &["mcp__a__b__x"]), (3, &["mcp__a__b__x"])], "mcp__a__b__x", Some("a"), &["a__b"]),
        // Who has it keeps it, also where another stands before it in the order.
        (&[(3, &["mcp__a__b__x"]), (2, &["mcp__a__b__x"])], "mcp__a__b__x", Some("a__b"), &["a"]),
        (&[(3, &["mcp__a__b__x"]), (2, &["MCP__a__B__x"])], "mcp__a__b__x", Some("a__b"), &["a"]),
        (
            &[(3, &["mcp__a__b__x"]), (2, &["mcp__a__b__x"]), (3, &["mcp__a__b__x", "mcp__a__b__y"])],
            "mcp__a__b__x",
            Some("a__b"),
            &["a"],
        ),
        // Whoever waited for it gets it.
        (&[(3, &["mcp__a__b__x"]), (2, &["mcp__a__b__x"]), (3, &[])], "mcp__a__b__x", Some("a"), &[]),
        (&[(2, &["mcp__a__x", "mcp__A__X"])], "mcp__a__x", Some("a"), &["a"]),
        (&[(2, &["mcp__a__x"]), (2, &["mcp__a__y"])], "mcp__a__x", None, &[]),
        // Nobody takes a name that cannot be its own.
        (&[(2, &["Bash"])], "Bash", None, &["a"]),
        (&[(2, &["mcp__a__"])], "mcp__a__", None, &["a"]),
        (&[(1, &["a*"])], "a*", None, &["any"]),
        (&[(1, &["Bash(git)"])], "Bash(git)", None, &["any"]),
        (&[(1, &[""])], "", None, &["any"]),
        (&[(1, &["ä"])], "ä", None, &["any"]),
    ] {
        let providers = providers();
        for (provider, names) in offers {
            providers.offers(*provider, offer(prefixes[*provider], names));
        }
        let toolbox = providers.toolbox();
        assert_eq!(toolbox.provider_of(name), owner, "{offers:?}");
        assert_eq!(toolbox.info(name).is_some(), owner.is_some(), "{offers:?}");
        let told: Vec<String> = providers
            .health()
            .into_iter()
            .filter(|health| !health.left_out.is_empty())
            .map(|health| health.name)
            .collect();
        assert_eq!(told, left_out, "{offers:?}");
    }
}

#[test]
fn what_a_provider_says_of_one_tool_spoils_no_other() {
    let huge = json!({ "description": "x".repeat(sortie_tools::SCHEMA_BYTES_MAX) });
    let twice = |at: usize| json!([{ "$ref": format!("#/$defs/{at}") }, { "$ref": format!("#/$defs/{at}") }]);
    let mut doubling: serde_json::Map<String, Value> =
        (0..30).map(|at| (at.to_string(), json!({ "allOf": twice(at + 1) }))).collect();
    doubling.insert("30".to_owned(), json!(false));
    for (schema, why) in [
        (json!({ "type": "strnig" }), "no JSON Schema"),
        (json!({ "$ref": "https://example.org/schema.json" }), "leads to nothing"),
        (json!({ "$defs": doubling, "$ref": "#/$defs/0" }), "more than 100000 parts"),
        (huge, "bytes, 65536 are allowed"),
    ] {
        let providers = providers();
        let tools = vec![odd("before", json!(true), None), odd("bad", schema, None), odd("behind", json!(true), None)];
        providers.offers(1, Offer::of("", tools));
        let names: Vec<String> = providers.toolbox().infos().iter().map(|info| info.name.to_string()).collect();
        assert_eq!(names, ["Read", "before", "behind"]);
        let health = providers.health();
        let [told] = &health[1].left_out[..] else { panic!("{health:?}") };
        assert!(told.starts_with("`bad`: ") && told.contains(why) && told.len() <= 512, "{told}");
    }
    let names: Vec<String> = (0..=sortie_tools::TOOLS_MAX).map(|number| format!("tool{number}")).collect();
    let providers = providers();
    providers.offers(1, offer("", &names.iter().map(String::as_str).collect::<Vec<_>>()));
    let health = &providers.health()[1];
    assert_eq!((health.tools, health.left_out.len()), (sortie_tools::TOOLS_MAX, 1), "{:?}", health.left_out);
    let one_name: Vec<&str> = std::iter::repeat_n("one", 200).collect();
    providers.offers(1, offer("", &one_name));
    assert!(providers.health()[1].left_out.len() < 30, "what is told is bounded");
}

#[test]
fn a_toolbox_does_not_change_under_whoever_holds_it() {
    let providers = providers();
    providers.offers(1, offer("", &["x", "y"]));
    let before = providers.toolbox();
    providers.offers(1, offer("", &["z"]));
    let names = |toolbox: &Toolbox| toolbox.infos().iter().map(|info| info.name.to_string()).collect::<Vec<_>>();
    assert_eq!(
        (names(&before), names(&providers.toolbox())),
        (vec!["Read".to_owned(), "x".to_owned(), "y".to_owned()], vec!["Read".to_owned(), "z".to_owned()])
    );
}

#[tokio::test]
async fn a_call_of_a_provider_that_is_out_says_whose_tool_it_is_and_since_when() {
    let providers = providers();
    let call = |name| {
        let toolbox = providers.toolbox();
        async move { toolbox.call(name, &context(), "{}", None, sleep).await }
    };
    let later = |hour: u64| BEGUN + Duration::from_secs(3_600 * hour);
    // It was never there: what it may have is not known, and is not denied.
    let early = call("mcp__a__x").await.unwrap_err();
    assert!(matches!(&early, CallError::Failed(text) if text.contains("`a` is connecting")), "{early:?}");
    assert!(matches!(providers.toolbox().find("MCP__A__x"), Found::Away(_)));
    assert!(matches!(call("y").await, Err(CallError::Denied(_))), "nobody's");
    providers.offers(2, offer("mcp__a__", &["mcp__a__x"]));
    providers.is_now(2, LinkState::Connected, later(1), None);
    assert!(call("mcp__a__x").await.is_ok());
    assert_eq!(providers.toolbox().find("mcp__a__y"), Found::Nowhere, "it is there, and has said what it has");
    for (at, state, error) in [
        (later(2), LinkState::Failed, Some("exit code 1")),
        (later(3), LinkState::Connecting, None),
        (later(4), LinkState::Failed, Some("no such file")),
    ] {
        providers.is_now(2, state, at, error);
        let out = call("mcp__a__x").await.unwrap_err().to_string();
        let said = ["mcp__a__x cannot be called", "`a` is", state.as_str(), "out since 1970-01-01T02:00:00Z"];
        assert!(said.iter().all(|said| out.contains(said)) && error.is_none_or(|error| out.contains(error)), "{out}");
        assert!(call("Read").await.is_ok(), "nobody else is disturbed");
        assert!(providers.toolbox().info("mcp__a__x").is_some(), "missions that start meanwhile are handed it");
    }
    providers.is_now(2, LinkState::Connected, later(5), None);
    assert!(call("mcp__a__x").await.is_ok());
    let health = &providers.health()[2];
    assert_eq!((health.standing.since, health.standing.last_error.as_deref()), (later(5), Some("no such file")));
}

#[tokio::test]
async fn arguments_are_held_against_the_schema_that_was_handed() {
    let [old, new] = ["a", "b"].map(|key| json!({ "type": "object", "required": [key] }));
    let providers = providers();
    providers.offers(1, Offer::of("", vec![odd("x", new.clone(), Some("1".to_owned()))]));
    providers.is_now(1, LinkState::Connected, BEGUN, None);
    let toolbox = providers.toolbox();
    for (handed, arguments, fits) in [
        (None, r#"{"b":1}"#, true),
        (None, r#"{"a":1}"#, false),
        (Some(&new), r#"{"a":1}"#, false),
        // The tool has changed: what it makes of it, it says itself.
        (Some(&old), r#"{"a":1}"#, true),
        (Some(&old), r#"{"b":1}"#, false),
        (Some(&json!({ "type": "strnig" })), r#"{"b":1}"#, true),
    ] {
        let called = toolbox.call("x", &context(), arguments, handed, sleep).await;
        assert_eq!(called.is_ok(), fits, "{handed:?} {arguments}: {called:?}");
        assert!(fits || matches!(called, Err(CallError::InvalidArguments(_))));
    }
}

#[test]
fn two_providers_of_one_name_are_a_mistake() {
    let twice = ["a", "A"].map(|name| Arc::new(Named { name, prefix: "" }) as Arc<dyn Provider>);
    let refused = Providers::new(BuiltIn::default(), twice.into(), BEGUN).map(drop).unwrap_err();
    assert!(refused.to_string().contains("called `A`"), "{refused}");
}

/// A tool that asks for a cent a word, and says what it did cost if it is told to.
struct Dear {
    info: ToolInfo,
    is_priced: bool,
}

#[async_trait]
impl Tool for Dear {
    fn info(&self) -> &ToolInfo {
        &self.info
    }

    async fn call(&self, context: &CallContext, arguments: &Value) -> Result<ToolAnswer, CallError> {
        if let Some(micro_usd) = arguments["says"].as_u64() {
            context.bill.is(Spend { llm_calls: 1, cost: MicroUsd(micro_usd) });
        }
        std::future::pending().await
    }

    fn is_priced(&self) -> bool {
        self.is_priced
    }

    fn quote(&self, arguments: &Value) -> Spend {
        assert!(self.is_priced, "a tool that is free is not asked");
        Spend { llm_calls: 1, cost: MicroUsd(10_000 * arguments["words"].as_u64().expect("they fit")) }
    }

    fn time_limit(&self) -> Duration {
        Duration::from_millis(10)
    }
}

fn dear(name: &str, is_priced: bool, price: u64) -> Arc<dyn Tool> {
    let schema =
        json!({"type": "object", "properties": {"words": {"type": "integer", "minimum": 0}}, "required": ["words"]});
    let info = ToolInfo { input_schema: schema, price: MicroUsd(price), ..ToolInfo::undeclared(ToolName::new(name)) };
    Arc::new(Dear { info, is_priced })
}

#[test]
fn a_call_is_quoted_at_what_its_tool_asks_for_and_at_its_price() {
    let tools = [("free", false, 0), ("flat", false, 7), ("own", true, 0), ("both", true, 7)];
    let tools = tools.into_iter().map(|(name, is_priced, price)| dear(name, is_priced, price)).collect();
    let toolbox = Providers::new(BuiltIn::of(tools), Vec::new(), BEGUN).unwrap().toolbox();
    let spend = |llm_calls, cost| Spend { llm_calls, cost: MicroUsd(cost) };
    for (name, arguments, expected) in [
        ("free", r#"{"words":2}"#, Spend::NOTHING),
        ("free", "{", Spend::NOTHING),
        ("flat", r#"{"words":2}"#, spend(0, 7)),
        ("own", r#"{"words":2}"#, spend(1, 20_000)),
        ("both", r#"{"words":2}"#, spend(1, 20_007)),
        ("BOTH", r#"{"words":0}"#, spend(1, 7)),
        // No call comes of these.
        ("flat", r#"{"words":-1}"#, Spend::NOTHING),
        ("both", r#"{"words":"two"}"#, Spend::NOTHING),
        ("both", "{}", Spend::NOTHING),
        ("both", "{", Spend::NOTHING),
        ("none", "{}", Spend::NOTHING),
    ] {
        assert_eq!(toolbox.quote(name, arguments, None), expected, "{name} {arguments}");
    }
}

#[tokio::test]
async fn what_a_tool_said_holds_however_its_call_ended() {
    let toolbox = Providers::new(BuiltIn::of(vec![dear("both", true, 7)]), Vec::new(), BEGUN).unwrap().toolbox();
    for (arguments, expected) in [
        (r#"{"words":2,"says":30000}"#, Some(Spend { llm_calls: 1, cost: MicroUsd(30_007) })),
        (r#"{"words":2}"#, None),
    ] {
        let context = context();
        let ended = toolbox.call("both", &context, arguments, None, sleep).await;
        assert!(matches!(ended, Err(CallError::TimedOut(_))), "{ended:?}");
        assert_eq!(toolbox.settled("both", &context.bill), expected);
    }
}

#[test]
fn a_price_of_the_configuration_is_exact() {
    let toolbox = toolbox(json!({ "WebFetch": { "cost_usd": 0.29 }, "Write": { "cost_usd": 1 } })).unwrap();
    let price = |name| toolbox.info(name).unwrap().price;
    assert_eq!([price("WebFetch"), price("Write"), price("Read")], [290_000, 1_000_000, 0].map(MicroUsd));
    let price = Spend::money(MicroUsd(1_000_000));
    assert_eq!(toolbox.quote("Write", r#"{"path":"a","content":"x"}"#, None), price);
    // What fits only what a mission was told of the tool is called all the same, and costs as much.
    let told = json!({"type": "object", "required": ["path"]});
    assert_eq!(toolbox.quote("Write", r#"{"path":"a"}"#, Some(&told)), price);
    assert_eq!(toolbox.quote("Write", r#"{"path":"a"}"#, None), Spend::NOTHING);
    assert_eq!(toolbox.quote("Write", r#"{"content":"a"}"#, Some(&told)), Spend::NOTHING);
}
