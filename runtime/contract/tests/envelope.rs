//! Properties of the parser: it answers whatever is sent, and takes nothing that its JSON Schema refuses.

#[allow(dead_code, reason = "each test program uses its own part of it")]
mod common;

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use common::good;
use proptest::prelude::*;
use serde_json::{Value, json};
use sortie_contract::envelope::{canonical_digest, differing_fields, envelope_schema, event_schema};
use sortie_contract::event::{Event, EventType, Usage};
use sortie_contract::{Envelope, Status, limit};

/// What must hold of any text.
fn check_text(text: &str) -> Result<(), String> {
    if !differing_fields(text, text).is_empty() {
        return Err("differs from itself".to_owned());
    }
    let parsed = match Envelope::parse(text) {
        Ok(parsed) => parsed,
        Err(rejected) if rejected.mistakes.is_empty() => return Err("refused without a mistake".to_owned()),
        Err(rejected) if rejected.mistakes.len() > limit::MISTAKES_MAX => return Err("an endless answer".to_owned()),
        Err(_) => return Ok(()),
    };
    if canonical_digest(text) != Some(parsed.digest) {
        return Err("two digests".to_owned());
    }
    let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    SCHEMA
        .validate(&value)
        .map_err(|error| format!("taken, but not by the schema: {error} at {}", error.instance_path()))
}

static SCHEMA: LazyLock<jsonschema::Validator> =
    LazyLock::new(|| jsonschema::validator_for(&envelope_schema()).expect("a schema"));

#[test]
fn the_corpus_of_the_fuzzer() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/envelope");
    let mut seen = 0;
    for entry in fs::read_dir(folder).expect("the corpus") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).expect("a text");
        if let Err(problem) = check_text(&text) {
            panic!("{name}: {problem}");
        }
        // Files that the fuzzer found have names of their own, and promise nothing but that they are survived.
        let parsed = Envelope::parse(&text).map(drop);
        if name.starts_with("good-") {
            assert_eq!(parsed, Ok(()), "{name}");
        } else if name.starts_with("refused-") {
            assert!(parsed.is_err(), "{name}");
        }
        seen += 1;
    }
    assert!(seen >= 15, "the corpus is gone");
}

#[test]
fn the_schema_refuses_what_it_can_say() {
    let schema = &*SCHEMA;
    assert!(schema.is_valid(&good()));
    for (pointer, value) in [
        ("/mission_id", json!("a b")),
        ("/mission_id", json!("..")),
        ("/mission_id", json!("batch")),
        ("/mission_id", json!("night.child-7")),
        ("/vp_session_id", json!("child:night.child-7")),
        ("/idempotency_key", json!("child:night/7")),
        ("/budget/max_missions", json!(-1)),
        ("/budget/max_missions", json!(0.5)),
        ("/vp_id", json!("")),
        ("/mission_type", json!("custom")),
        ("/mission_type", json!("briefing")),
        ("/constraints/target_path", json!("/opt")),
        ("/constraints/forbidden_tools", json!(["Bash rm"])),
        ("/budget/max_cost_usd", json!(-1)),
        ("/budget/max_llm_calls", json!(1.5)),
        ("/autonomy_window/start_at", json!("2026-11-22T22:00:00")),
        ("/autonomy_window/start_at", json!("2026-11-22T22:00:00+24:00")),
        ("/autonomy_window/start_at", json!("2026-12-31T23:59:60Z")),
        ("/heartbeat_interval_seconds", json!(4)),
        ("/artifact_policy/storage_scope", json!("s3")),
        ("/callback/status_url", json!("ftp://a")),
        ("/callback", json!({})),
        ("/trace_id", json!(null)),
        ("/inputs", json!([])),
    ] {
        let envelope = common::with(pointer, value);
        assert!(!schema.is_valid(&envelope), "{envelope:#}");
        assert!(Envelope::parse(&envelope.to_string()).is_err(), "{envelope:#}");
    }
    let mut pushback = common::without("/callback");
    common::set(&mut pushback, "/artifact_policy/storage_scope", json!("pushback"));
    assert!(!schema.is_valid(&pushback));
}

#[test]
fn events_are_of_their_schema() {
    let schema = jsonschema::validator_for(&event_schema()).expect("a schema");
    let event = Event {
        mission_id: "m".to_owned(),
        parent_id: None,
        vp_id: "v".to_owned(),
        vp_session_id: "v.session".to_owned(),
        vp_runtime_id: "lane".to_owned(),
        event_type: EventType::TimedOut,
        status: Status::TimedOut,
        summary: "The window closed.".to_owned(),
        artifact_refs: vec!["m/todo.md".to_owned()],
        usage: Usage { runtime_minutes: 0.5, llm_calls: 0, estimated_cost_usd: 0.0 },
        trace_id: "t".to_owned(),
        idempotency_key: "m/3".to_owned(),
        emitted_at: "2026-11-22T22:00:00Z".parse().expect("a time"),
        sequence: 3,
        detail: json!({ "reason": "window_closed" }),
    };
    let event = serde_json::to_value(event).expect("JSON");
    if let Err(error) = schema.validate(&event) {
        panic!("{error}: {event:#}");
    }
    for required in event.as_object().expect("an object").keys() {
        let mut less = event.clone();
        less.as_object_mut().expect("an object").remove(required);
        assert!(!schema.is_valid(&less), "{required}");
    }
}

/// Values that an envelope's fields may meet in the wild.
fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        (-1e9..1e9_f64).prop_map(Into::into),
        ".{0,20}".prop_map(Into::into),
        "[a-zA-Z0-9*._:/-]{1,12}".prop_map(Into::into),
        "https?://[a-z./@:?#]{0,12}".prop_map(Into::into),
        prop::collection::vec("[a-z*?\\[\\]{}/.]{1,8}", 0..4).prop_map(Into::into),
        Just(json!({})),
        Just(
            json!({ "storage_scope": "pushback", "max_cost_usd": 1, "status_url": "http://a", "end_at": "2026-11-22T22:00:00+14:00" })
        ),
        Just(json!("custom")),
        Just(json!("2026-11-22T22:00:60.123456789012Z")),
    ]
}

const POINTERS: [&str; 30] = [
    "/mission_id",
    "/vp_id",
    "/vp_session_id",
    "/vp_runtime_id",
    "/source_instance_id",
    "/target_instance_id",
    "/mission_type",
    "/objective",
    "/constraints",
    "/constraints/allowed_tools",
    "/constraints/forbidden_tools",
    "/constraints/approval_required",
    "/budget",
    "/budget/max_runtime_minutes",
    "/budget/max_llm_calls",
    "/budget/max_cost_usd",
    "/autonomy_window/start_at",
    "/autonomy_window/end_at",
    "/heartbeat_interval_seconds",
    "/report_cadence",
    "/success_criteria",
    "/artifact_policy/required_outputs",
    "/artifact_policy/storage_scope",
    "/callback",
    "/callback/status_url",
    "/callback/auth_ref",
    "/trace_id",
    "/created_at",
    "/inputs",
    "/plugin",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_answered(text in "\\PC{0,200}|[\\[\\]{}\",:0-9eE.+\\-\\\\a-z ]{0,200}") {
        let answer = check_text(&text);
        prop_assert!(answer.is_ok(), "{:?}", answer);
    }

    #[test]
    fn any_changed_envelope_is_answered(changes in prop::collection::vec((prop::sample::select(&POINTERS[..]), any_value()), 1..3)) {
        let mut envelope = good();
        for (pointer, value) in changes {
            let parent = pointer.rsplit_once('/').expect("a pointer").0;
            if envelope.pointer(parent).is_some_and(Value::is_object) {
                common::set(&mut envelope, pointer, value);
            }
        }
        let answer = check_text(&envelope.to_string());
        prop_assert!(answer.is_ok(), "{:?} {envelope:#}", answer);
    }

    #[test]
    fn any_damaged_envelope_is_answered(at in 0..1_000_usize, byte in any::<u8>(), cut in any::<bool>()) {
        let mut bytes = good().to_string().into_bytes();
        let at = at % bytes.len();
        if cut { bytes.truncate(at) } else { bytes[at] = byte }
        let answer = check_text(&String::from_utf8_lossy(&bytes));
        prop_assert!(answer.is_ok(), "{:?}", answer);
    }

    #[test]
    fn every_double_and_every_whole_number_of_inputs_is_what_was_sent(bits in any::<u64>(), whole in any::<u64>(), below in any::<i64>()) {
        let double = f64::from_bits(bits);
        prop_assume!(double.is_finite());
        let text = good().to_string().replacen('{', &format!(r#"{{"inputs":{{"v":[{double:e},{whole},{below}]}},"#), 1);
        let inputs = Envelope::parse(&text).expect("an envelope").envelope.inputs.expect("inputs");
        let inputs: Value = serde_json::from_str(&inputs).expect("JSON");
        prop_assert_eq!(inputs["v"][0].as_f64().map(f64::to_bits), Some(bits), "{}", inputs);
        prop_assert_eq!((inputs["v"][1].as_u64(), inputs["v"][2].as_i64()), (Some(whole), Some(below)));
    }

    #[test]
    fn every_number_of_inputs_is_written_as_it_was_sent(number in "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?") {
        let text = good().to_string().replacen('{', &format!(r#"{{"inputs":{{"v":[{number}, {{"w":{number}}}]}},"#), 1);
        let inputs = Envelope::parse(&text).expect("an envelope").envelope.inputs.expect("inputs");
        prop_assert_eq!(&*inputs, format!(r#"{{"v":[{number},{{"w":{number}}}]}}"#));
    }
}
