//! Old bodies as envelopes: each field is taken, warned of, or refused with its place; whatever comes, something is said of it.

use std::str::FromStr as _;

use proptest::prelude::*;
use serde_json::{Value, json};
use sortie_contract::envelope::{Envelope, MissionType};
use sortie_contract::{Mistake, Timestamp};
use sortie_dialect::{Dialect, DialectConfig, Made, Translated, kept, mission_of_dispatch};

const CONFIG: &str = r#"
    source = "simone-hq"
    [types]
    coding_task = "coding"
    briefing = { runs = "morning@2.0.0", vp_id = "vp.general.primary", inputs = ["target_path", "mode"] }
    [types.doc-maintenance]
    runs = "coding"
    vp_id = "vp.coder.primary"
    [types.doc-maintenance.envelope]
    vp_runtime_id = "runtime.coder.external"
    constraints = { allowed_tools = ["Read", "Edit"], forbidden_tools = ["Bash"], approval_required = ["outbound_email"] }
    budget = { max_runtime_minutes = 90, max_cost_usd = 5.5 }
    inputs = { branch = "main" }
    [http]
    ops_token = "env://UA_OPS_TOKEN"
    callback = { status_url = "https://hq.example/events" }
"#;

fn config(text: &str) -> DialectConfig {
    toml::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn dialect() -> Dialect {
    Dialect::new(&config(CONFIG)).expect("it can be meant")
}

fn made() -> Made<'static> {
    Made { node: "factory-1", at: Timestamp::from_str("2026-11-27T02:00:00Z").expect("a time"), fresh: "fresh-1" }
}

fn dispatch(body: &Value) -> Result<Translated, Vec<Mistake>> {
    dialect().dispatch(&body.to_string(), made())
}

fn job(body: &Value) -> Result<Translated, Vec<Mistake>> {
    dialect().job(&body.to_string(), made())
}

fn sent(translated: &Translated) -> Value {
    serde_json::from_str(&translated.envelope).expect("JSON")
}

fn places(refused: Result<Translated, Vec<Mistake>>) -> Vec<String> {
    let mistakes = refused.expect_err("refused");
    mistakes.iter().map(|mistake| format!("{} {}", mistake.pointer, mistake.code)).collect()
}

#[test]
fn a_dispatch_is_an_envelope() {
    let body = json!({
        "vp_id": "vp.coder.primary", "mission_type": "doc-maintenance", "objective": "Mend the docs.",
        "constraints": {"max_duration_minutes": 60, "approval_required": ["public_posting"], "tech_stack": "mdbook"},
        "budget": {"max_minutes": 120, "max_cost_usd": 9}, "idempotency_key": "k-1", "priority": 50,
        "source_session_id": "ops.dashboard", "reply_mode": "async", "system_prompt_injection": "Never push.",
    });
    let translated = dispatch(&body).expect("it is one");
    let id = mission_of_dispatch("vp.coder.primary", "k-1");
    assert_eq!((translated.mission_id.as_str(), translated.priority), (id.as_str(), 50));
    let expected = json!({
        "vp_runtime_id": "runtime.coder.external",
        "constraints": {"allowed_tools": ["Read", "Edit"], "forbidden_tools": ["Bash"], "approval_required": ["public_posting", "outbound_email"]},
        "budget": {"max_runtime_minutes": 60, "max_cost_usd": 5.5},
        "inputs": {"branch": "main"},
        "mission_id": id, "vp_id": "vp.coder.primary", "vp_session_id": "vp.coder.primary.external",
        "source_instance_id": "simone-hq", "target_instance_id": "factory-1", "mission_type": "coding",
        "objective": "Mend the docs.", "idempotency_key": "k-1", "trace_id": id, "created_at": "2026-11-27T02:00:00Z",
        "callback": {"status_url": "https://hq.example/events"},
        "dialect": {"form": "http", "mission_type": "doc-maintenance", "priority": 50, "source_session_id": "ops.dashboard", "reply_mode": "async"},
    });
    assert_eq!(sent(&translated), expected);
    assert_eq!(kept(&translated.envelope).map(Value::from), Some(expected["dialect"].clone()));
    let warned = translated.warnings.join("\n");
    for word in ["`tech_stack`", "`priority`", "`system_prompt_injection`"] {
        assert!(warned.contains(word), "{warned}");
    }
    assert_eq!(translated.warnings.len(), 3, "{warned}");
}

#[test]
fn a_job_is_an_envelope_whose_result_goes_to_the_bridge() {
    let body = json!({
        "job_id": "test-job-001", "idempotency_key": "idem-test-job-001", "priority": 50, "timeout_seconds": 600,
        "max_retries": 2, "payload": {"task": "implement feature X", "context": {"mission_kind": "Doc-Maintenance", "_retry_count": 1, "odd": 1}},
    });
    let translated = job(&body).expect("it is one");
    let envelope = sent(&translated);
    for (key, value) in [
        ("mission_id", json!("bridge-test-job-001")),
        ("idempotency_key", json!("idem-test-job-001")),
        ("vp_id", json!("vp.coder.primary")),
        ("vp_session_id", json!("vp.coder.primary.session")),
        ("objective", json!("implement feature X")),
        ("callback", json!({"status_url": "https://redis.dialect.invalid/results?job=test-job-001"})),
        ("budget", json!({"max_runtime_minutes": 10.0, "max_cost_usd": 5.5})),
    ] {
        assert_eq!(envelope[key], value, "{key}");
    }
    assert_eq!(kept(&translated.envelope).map(Value::from), Some(envelope["dialect"].clone()));
    assert!(
        translated.warnings.iter().any(|warning| warning.contains("/payload/context/odd")),
        "{:?}",
        translated.warnings
    );
    let briefing = json!({"job_id": "b", "idempotency_key": "b", "payload": {"task": "x", "context": {"mission_kind": "briefing", "mode": "weekday"}}});
    let envelope = sent(&job(&briefing).expect("it is one"));
    assert_eq!((&envelope["mission_type"], &envelope["plugin"]), (&json!("custom"), &json!("morning@2.0.0")));
    assert_eq!(envelope["inputs"], json!({"mode": "weekday"}));
}

#[test]
fn each_mistake_is_told_at_its_place_in_the_old_body_all_of_them_at_once() {
    let good = json!({"vp_id": "vp.a", "mission_type": "coding_task", "objective": "x", "idempotency_key": "k"});
    let with = |pointer: &str, value: Value| {
        let mut body = good.clone();
        let (_, key) = pointer.rsplit_once('/').expect("a pointer");
        body[key] = value;
        body
    };
    assert!(dispatch(&good).is_ok());
    for (body, told) in [
        (json!([]), "/ wrong_type"),
        (json!({}), "/vp_id required|/objective required|/mission_type unknown_value"),
        (with("/vp_id", json!(7)), "/vp_id wrong_type"),
        (with("/vp_id", json!(" ")), "/vp_id empty"),
        (with("/vp_id", json!("x".repeat(201))), "/vp_id too_long"),
        (with("/objective", json!(null)), "/objective required"),
        (with("/mission_type", json!("tutorial")), "/mission_type unknown_value"),
        (with("/priority", json!(1.5)), "/priority not_whole"),
        (with("/budget", json!({"max_minutes": -1})), "/budget/max_minutes out_of_range"),
        (with("/budget", json!({"max_tokens": 1})), "/budget/max_tokens unknown_constraint"),
        (with("/budget", json!({"max_llm_calls": 1.5})), "/budget/max_llm_calls not_whole"),
        (
            with("/constraints", json!({"repo_mutation_allowed": false})),
            "/constraints/repo_mutation_allowed unknown_constraint",
        ),
        (with("/constraints", json!({"allowed_tools": ["Read", 7]})), "/constraints/allowed_tools/1 wrong_type"),
        (with("/constraints", json!({"allowed_tools": ["Re ad"]})), "/constraints/allowed_tools/0 invalid_pattern"),
        (with("/idempotency_key", json!("a\nb")), "/idempotency_key invalid_character"),
        (with("/source_session_id", json!({})), "/source_session_id wrong_type"),
    ] {
        let told = told.replace("/ wrong_type", " wrong_type");
        assert_eq!(places(dispatch(&body)), told.split('|').collect::<Vec<_>>(), "{body}");
    }
    let good = json!({"job_id": "a", "idempotency_key": "k", "payload": {"task": "x", "context": {"mission_kind": "coding_task", "vp_id": "vp.a"}}});
    assert!(job(&good).is_ok());
    for (pointer, value, told) in [
        ("/job_id", json!(null), "/job_id required"),
        ("/job_id", json!("x".repeat(301)), "/job_id too_long"),
        ("/idempotency_key", json!(null), "/idempotency_key required"),
        ("/timeout_seconds", json!("600"), "/timeout_seconds wrong_type"),
        ("/payload", json!("x"), "/payload wrong_type"),
        ("/payload/task", json!(""), "/payload/task empty"),
        ("/payload/context/vp_id", json!(null), "/payload/context/vp_id required"),
        ("/payload/context/mission_kind", json!("system:pause"), "/payload/context/mission_kind unknown_value"),
        ("/payload/context/trace_id", json!("\u{7}"), "/payload/context/trace_id invalid_character"),
    ] {
        let mut body = good.clone();
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
        body.pointer_mut(parent).expect("it is there")[key] = value;
        assert_eq!(places(job(&body)), [told], "{body}");
    }
    for text in ["", "{", "{\"a\":1,\"a\":2}", "12345678901234567890123"] {
        assert!(dialect().dispatch(text, made()).is_err() && dialect().job(text, made()).is_err(), "{text}");
    }
}

#[test]
fn unknown_types_run_what_the_configuration_has_for_them() {
    let dialect =
        Dialect::new(&config("default = { runs = \"research\", vp_id = \"vp.any\" }")).expect("it can be meant");
    let body = json!({"job_id": "a", "idempotency_key": "k", "payload": {"task": "x"}}).to_string();
    let envelope = sent(&dialect.job(&body, made()).expect("it is one"));
    assert_eq!((&envelope["mission_type"], &envelope["vp_id"]), (&json!("research"), &json!("vp.any")));
    assert_eq!(envelope["source_instance_id"], "control-plane");
    let body = json!({"vp_id": "a", "objective": "x"}).to_string();
    let translated = dialect.dispatch(&body, made()).expect("it is one");
    assert_eq!(translated.idempotency_key, "fresh-1");
    assert!(translated.warnings[0].contains("idempotency_key"), "{:?}", translated.warnings);
}

#[test]
fn a_configuration_of_which_no_envelope_comes_is_refused_with_its_place() {
    for (text, told) in [
        ("source = \"\"", "source"),
        ("types = { a = \"\" }", "`types.a`"),
        ("types = { a = \"custom\" }", "`types.a`"),
        ("types = { a = \"coding\", A = \"coding\" }", "two of this name"),
        ("default = { runs = \"coding\", vp_id = \" \" }", "vp_id"),
        ("default = { runs = \"coding\", envelope = { mission_id = \"a\" } }", "envelope.mission_id"),
        ("default = { runs = \"coding\", envelope = { callback = {} } }", "envelope.callback"),
        ("default = { runs = \"coding\", envelope = { inputs = { a = 2026-11-27 } } }", "in quotes"),
        ("default = { runs = \"coding\", envelope = { budget = 7 } }", "must be a table"),
        ("default = { runs = \"coding\", envelope = { budget = { max_minutes = 7 } } }", "/budget/max_minutes"),
        ("default = { runs = \"coding\", envelope = { report_cadence = \"never\" } }", "report_cadence"),
        (
            "default = \"coding\"\n[http]\nops_token = \"env://A\"\ncallback = { status_url = \"ftp://a\" }",
            "status_url",
        ),
    ] {
        let error = Dialect::new(&config(text)).map(drop).expect_err(text).to_string();
        assert!(error.contains(told), "{text}: {error}");
    }
    for text in [
        "types = { a = 7 }",
        "types = { a = { run = \"coding\" } }",
        "redis = { url = \"redis://a\", streams = \"x\" }",
        "x = 1",
    ] {
        assert!(toml::from_str::<DialectConfig>(text).is_err(), "{text}");
    }
}

/// Any JSON, with the names of fields that are looked for among its keys.
fn body() -> impl Strategy<Value = Value> {
    let key = prop_oneof![
        proptest::sample::select(vec![
            "vp_id",
            "mission_type",
            "objective",
            "constraints",
            "budget",
            "idempotency_key",
            "priority",
            "job_id",
            "payload",
            "task",
            "context",
            "mission_kind",
            "timeout_seconds",
            "max_retries",
            "max_minutes",
            "allowed_tools",
            "target_path",
        ])
        .prop_map(str::to_owned),
        ".{0,6}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        proptest::sample::select(vec!["coding_task", "briefing", "vp.a", ""]).prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 8, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((key.clone(), inner), 0..12)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn whatever_comes_something_is_said_and_always_the_same(body in body(), text in ".{0,60}") {
        let dialect = dialect();
        for text in [body.to_string(), text] {
            for translated in [dialect.dispatch(&text, made()), dialect.job(&text, made())] {
                match translated {
                    Ok(translated) => prop_assert!(Envelope::parse(&translated.envelope).is_ok()),
                    Err(mistakes) => prop_assert!(!mistakes.is_empty()),
                }
            }
            prop_assert_eq!(dialect.dispatch(&text, made()), dialect.dispatch(&text, made()));
            prop_assert_eq!(dialect.job(&text, made()), dialect.job(&text, made()));
        }
    }

    #[test]
    fn an_ordinary_job_is_always_taken(job_id in "[!-~]{1,60}", task in "[a-z ]{0,20}[a-z]", seconds in 1..100_000_u32) {
        let body = json!({"job_id": job_id, "idempotency_key": job_id, "timeout_seconds": seconds, "payload": {"task": task, "context": {"mission_kind": "briefing"}}});
        let translated = job(&body).expect("an ordinary one");
        let parsed = Envelope::parse(&translated.envelope).expect("an envelope").envelope;
        prop_assert_eq!(parsed.mission_type, MissionType::Custom);
        let url = parsed.callback.expect("a callback").status_url;
        prop_assert_eq!(sortie_dialect::job_of(&url), Some(job_id));
    }
}
