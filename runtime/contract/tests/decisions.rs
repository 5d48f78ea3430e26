//! The reading of the contract, row by row, as far as it speaks of an envelope's form: each test is named after the row that
//! it holds, in the order of the page. What needs the node (its lanes, its clock, what it accepted before) is held there.

#[allow(dead_code, reason = "each test program uses its own part of it")]
mod common;

use common::{check, good, mistakes, refused, taken, with, without};
use serde_json::{Value, json};
use sortie_contract::artifact::StorageScope;
use sortie_contract::envelope::{Cadence, MissionType, SecretRef, canonical_digest, differing_fields};
use sortie_contract::{MicroUsd, Pointer, limit};

// Dispatch

#[test]
fn mission_id_is_required_1_to_200_chars_of_its_alphabet() {
    check(&without("/mission_id"), &[("/mission_id", "required")]);
    check(&with("/mission_id", ""), &[("/mission_id", "empty")]);
    check(&with("/mission_id", "a b"), &[("/mission_id", "invalid_character")]);
    check(&with("/mission_id", "ä"), &[("/mission_id", "invalid_character")]);
    check(&with("/mission_id", "a".repeat(201)), &[("/mission_id", "too_long")]);
    check(&with("/mission_id", 7), &[("/mission_id", "wrong_type")]);
    for step in [".", ".."] {
        // In a URL's path they are no names: nobody could look at such a mission, or cancel it.
        check(&with("/mission_id", step), &[("/mission_id", "reserved")]);
    }
    for word in sortie_contract::id::RESERVED {
        check(&with("/mission_id", word), &[("/mission_id", "reserved")]);
        let accepted = sortie_contract::Envelope::parse_accepted(&with("/mission_id", word).to_string());
        assert!(accepted.is_ok(), "an older version took {word}");
    }
    for id in ["a", "vp-mission-0b7c", "doc-maintenance:2026-11-22", "A_z.9", &"a".repeat(200)] {
        assert_eq!(taken(&with("/mission_id", id)).envelope.mission_id.as_str(), id);
    }
}

#[test]
fn idempotency_key_is_required_and_compares_canonically_without_created_at() {
    check(&without("/idempotency_key"), &[("/idempotency_key", "required")]);
    let first = good().to_string();
    let again = with("/created_at", "2026-11-22T23:00:00Z").to_string();
    assert_eq!(taken(&good()).digest, taken(&with("/created_at", "2026-11-22T23:00:00Z")).digest);
    assert!(differing_fields(&first, &again).is_empty());
    let other = with("/budget/max_cost_usd", 6).to_string();
    assert_ne!(canonical_digest(&first), canonical_digest(&other));
    assert_eq!(
        differing_fields(&first, &other).iter().map(Pointer::as_str).collect::<Vec<_>>(),
        ["/budget/max_cost_usd"]
    );
}

#[test]
fn vp_id_is_required() {
    check(&without("/vp_id"), &[("/vp_id", "required")]);
    check(&with("/vp_id", " "), &[("/vp_id", "empty")]);
    check(&with("/vp_id", "a\r\nX-Evil: 1"), &[("/vp_id", "invalid_character")]);
}

#[test]
fn vp_session_id_is_optional() {
    assert_eq!(taken(&without("/vp_session_id")).envelope.vp_session_id, None);
    assert_eq!(taken(&with("/vp_session_id", Value::Null)).envelope.vp_session_id, None);
    check(&with("/vp_session_id", ""), &[("/vp_session_id", "empty")]);
}

#[test]
fn vp_runtime_id_is_optional() {
    assert_eq!(taken(&without("/vp_runtime_id")).envelope.vp_runtime_id, None);
}

#[test]
fn source_instance_id_and_target_instance_id_are_required() {
    check(&without("/source_instance_id"), &[("/source_instance_id", "required")]);
    check(&without("/target_instance_id"), &[("/target_instance_id", "required")]);
    assert_eq!(taken(&with("/target_instance_id", "*")).envelope.target_instance_id.as_str(), "*");
}

#[test]
fn mission_type_is_one_of_four_and_anything_else_names_the_four() {
    check(&without("/mission_type"), &[("/mission_type", "required")]);
    check(&with("/mission_type", "Coding"), &[("/mission_type", "unknown_value")]);
    let rejected = sortie_contract::Envelope::parse(&with("/mission_type", "briefing").to_string()).unwrap_err();
    for kind in MissionType::ALL {
        assert!(rejected.mistakes[0].detail.contains(kind.as_str()), "{rejected}");
    }
    for kind in [MissionType::Coding, MissionType::Research, MissionType::Automation] {
        assert_eq!(taken(&with("/mission_type", kind.as_str())).envelope.mission_type, kind);
    }
}

#[test]
fn custom_needs_the_extension_field_plugin() {
    let mut custom = with("/mission_type", "custom");
    check(&custom, &[("/plugin", "required")]);
    custom["plugin"] = "greeter@1.2.0".into();
    assert_eq!(taken(&custom).envelope.plugin.unwrap().to_string(), "greeter@1.2.0");
}

#[test]
fn objective_is_required_and_not_empty() {
    check(&without("/objective"), &[("/objective", "required")]);
    check(&with("/objective", ""), &[("/objective", "empty")]);
    check(&with("/objective", " \n"), &[("/objective", "empty")]);
    assert_eq!(taken(&with("/objective", "a\n\nb\n")).envelope.objective, "a\n\nb\n");
}

#[test]
fn allowed_tools_absent_or_empty_grants_no_tool() {
    for envelope in [
        without("/constraints"),
        without("/constraints/allowed_tools"),
        with("/constraints", Value::Null),
        with("/constraints/allowed_tools", json!([])),
    ] {
        assert!(taken(&envelope).envelope.constraints.allowed_tools.is_empty());
    }
}

#[test]
fn patterns_are_names_or_have_a_star() {
    for list in ["allowed_tools", "forbidden_tools"] {
        let at = format!("/constraints/{list}");
        let first = format!("{at}/0");
        for pattern in
            ["Read", "mcp__github__*", "*", "MCP__COMPOSIO__*", "Bash(rm *)", "Read(b\u{fc}cher/**)", "Read("]
        {
            taken(&with(&at, json!([pattern])));
        }
        for pattern in ["Bash rm", "a b", "[a-z]*", "(rm)", "a b(c)", "Bash(a\nb)"] {
            check(&with(&at, json!([pattern])), &[(&first, "invalid_pattern")]);
        }
        check(&with(&at, json!([""])), &[(&first, "empty")]);
        check(&with(&at, json!([null])), &[(&first, "wrong_type")]);
        check(&with(&at, "Read"), &[(&at, "wrong_type")]);
    }
}

#[test]
fn approval_required_takes_entries_that_match_nothing() {
    let odd = json!(["outbound_email", "money_movment", "sending money (any)"]);
    assert_eq!(taken(&with("/constraints/approval_required", odd)).envelope.constraints.approval_required.len(), 3);
}

#[test]
fn an_unknown_key_in_constraints_or_budget_is_unknown_constraint() {
    let mut envelope = with("/constraints/target_path", "/opt/universal_agent");
    common::set(&mut envelope, "/constraints/workflow_kind", json!(null));
    common::set(&mut envelope, "/budget/max_minutes", json!(5));
    check(
        &envelope,
        &[
            ("/constraints/target_path", "unknown_constraint"),
            ("/constraints/workflow_kind", "unknown_constraint"),
            ("/budget/max_minutes", "unknown_constraint"),
        ],
    );
    let rejected = sortie_contract::Envelope::parse(&envelope.to_string()).unwrap_err();
    assert!(rejected.mistakes[0].detail.contains("forbidden_tools"), "{rejected}");
}

#[test]
fn an_unknown_key_elsewhere_is_kept_and_named_in_the_warnings() {
    for (pointer, key) in [
        ("/priority", "priority"),
        ("/autonomy_window/time_zone", "time_zone"),
        ("/artifact_policy/keep_days", "keep_days"),
        ("/callback/retries", "retries"),
    ] {
        let warnings = taken(&with(pointer, 100)).warnings;
        assert!(warnings.len() == 1 && warnings[0].contains(key), "{warnings:?}");
    }
    assert!(taken(&good()).warnings.is_empty());
}

#[test]
fn budget_absent_or_0_sets_no_limit() {
    for field in ["max_runtime_minutes", "max_llm_calls", "max_cost_usd"] {
        let at = format!("/budget/{field}");
        for envelope in [with(&at, 0), with(&at, 0.0), with(&at, Value::Null), without(&at), without("/budget")] {
            let budget = taken(&envelope).envelope.budget;
            let limits = [budget.runtime_ms_max, budget.llm_calls_max, budget.cost_max.map(|cost| cost.0)];
            let unset = limits.iter().filter(|limit| limit.is_none()).count();
            assert_eq!(unset, if envelope.get("budget").is_some() { 1 } else { 3 }, "{envelope:#}");
        }
    }
}

#[test]
fn budget_negative_or_nan_is_a_mistake() {
    for field in ["max_runtime_minutes", "max_llm_calls", "max_cost_usd"] {
        let at = format!("/budget/{field}");
        check(&with(&at, -1), &[(&at, "out_of_range")]);
        check(&with(&at, -0.5), &[(&at, "out_of_range")]);
        check(&with(&at, "60"), &[(&at, "wrong_type")]);
        check(&with(&at, true), &[(&at, "wrong_type")]);
        for number in ["NaN", "Infinity", "-Infinity", "1e999"] {
            let text = with(&at, "@").to_string().replace("\"@\"", number);
            assert_eq!(mistakes(&text), [(at.clone(), "not_a_number".to_owned())], "{number}");
        }
    }
}

#[test]
fn numbers_of_inputs_are_kept_as_they_are_written() {
    let text = |number: &str| {
        with("/inputs", json!({ "é\"-1": [1.5, vec![1e300; 30], { "n": "@" }] })).to_string().replace("\"@\"", number)
    };
    for number in [
        "1.10",
        "1e3",
        "1E+3",
        "-0",
        "-0.0",
        "0.1",
        "3.0",
        "1e300",
        "9007199254740993",
        "18446744073709551615",
        "-9223372036854775808",
        "18446744073709551616",
        "-9223372036854775809",
        "123456789012345678901234567890",
        "0.1000000000000000055511151231257827",
    ] {
        let inputs = sortie_contract::Envelope::parse(&text(number)).expect(number).envelope.inputs.expect("inputs");
        assert!(inputs.ends_with(&format!("{{\"n\":{number}}}]}}")), "{number} became {inputs}");
    }
    assert_eq!(mistakes(&text("1E400")), [("/inputs/é\"-1/2/n".to_owned(), "not_a_number".to_owned())]);
}

#[test]
fn an_integer_beyond_64_bits_that_is_none_of_inputs_is_a_mistake() {
    let text = with("/noted", json!("@")).to_string().replace("\"@\"", "18446744073709551616");
    assert_eq!(mistakes(&text), [("/noted".to_owned(), "not_exact".to_owned())]);
    assert!(sortie_contract::Envelope::parse_accepted(&text).is_ok(), "an older version took it");
}

#[test]
fn child_of_is_the_nodes_own_and_holds_whole_or_makes_what_was_accepted_unreadable() {
    let whole = json!({
        "mission_id": "above", "root": "above", "call": 3, "depth": 1, "tools": ["Read"], "llm_calls": 2, "micro_usd": 5
    });
    check(&with("/child_of", whole.clone()), &[("/child_of", "reserved")]);
    let accepted = |child_of: &Value| {
        let read = sortie_contract::Envelope::parse_accepted(&with("/child_of", child_of.clone()).to_string());
        read.map(|parsed| parsed.envelope.child_of.map(|child_of| child_of.depth))
    };
    assert_eq!(accepted(&whole).expect("read"), Some(1));
    let (mut more, mut less) = (whole.clone(), whole);
    more["of_a_later_version"] = json!(true);
    less.as_object_mut().expect("an object").remove("depth");
    for unknown in [more, less] {
        let rejected = accepted(&unknown).expect_err("a child without bounds");
        assert!(rejected.mistakes[0].detail.contains("another version"), "{unknown}: {:?}", rejected.mistakes);
    }
    for older in [json!("above"), json!(["above"]), json!({"note": "above"}), json!(7)] {
        assert_eq!(accepted(&older).expect("an older version took it"), None, "{older}");
    }
}

#[test]
fn budget_above_what_can_be_counted_is_the_most_that_can() {
    let budget =
        taken(&with("/budget", json!({ "max_runtime_minutes": 1e300, "max_llm_calls": 1e30, "max_cost_usd": 1e300 })));
    for field in ["max_llm_calls", "max_cost_usd"] {
        assert!(budget.warnings.iter().any(|warning| warning.contains(field)), "{:?}", budget.warnings);
    }
    let budget = budget.envelope.budget;
    assert_eq!(
        (budget.runtime_ms_max, budget.llm_calls_max, budget.cost_max),
        (Some(u64::MAX), Some(u64::MAX), Some(MicroUsd::MAX))
    );
}

#[test]
fn budget_that_is_set_is_never_none() {
    // 0 would be no limit at all.
    for usd in [1e-7, 1e-300] {
        assert_eq!(taken(&with("/budget/max_cost_usd", usd)).envelope.budget.cost_max, Some(MicroUsd(1)), "{usd}");
    }
    // 2^53 + 1, which is no double.
    let calls = 9_007_199_254_740_993_u64;
    assert_eq!(taken(&with("/budget/max_llm_calls", calls)).envelope.budget.llm_calls_max, Some(calls));
}

#[test]
fn autonomy_window_until_the_end_of_time_is_a_window() {
    let window = taken(&with("/autonomy_window/end_at", "9999-12-31T23:59:59Z")).envelope.window;
    assert_eq!(window.end_at, Some(sortie_contract::Timestamp::MAX));
}

#[test]
fn autonomy_window_is_half_open_and_either_end_may_be_absent() {
    for (window, ends) in [
        (json!({}), (false, false)),
        (json!({ "start_at": "2026-11-22T22:00:00Z" }), (true, false)),
        (json!({ "end_at": "2026-11-22T22:00:00Z" }), (false, true)),
        (json!({ "start_at": null, "end_at": "2026-11-22T22:00:00Z" }), (false, true)),
    ] {
        let window = taken(&with("/autonomy_window", window)).envelope.window;
        assert_eq!((window.start_at.is_some(), window.end_at.is_some()), ends);
    }
}

#[test]
fn autonomy_window_is_rfc_3339_with_an_offset() {
    let at = "/autonomy_window/start_at";
    check(&with(at, "2026-11-22T22:00:00"), &[(at, "offset_required")]);
    check(&with(at, "22:00"), &[(at, "invalid_time")]);
    check(&with(at, 1_795_384_800), &[(at, "wrong_type")]);
    let window = taken(&with(at, "2026-11-22T23:00:00.5+01:00")).envelope.window;
    assert_eq!(window.start_at.unwrap().to_string(), "2026-11-22T22:00:00.5Z");
}

#[test]
fn autonomy_window_that_ends_before_it_starts_is_a_mistake() {
    for end in ["2026-11-22T22:00:00Z", "2026-11-22T21:59:59Z", "2026-11-22T22:30:00+01:00"] {
        check(&with("/autonomy_window/end_at", end), &[("/autonomy_window/end_at", "invalid_window")]);
    }
}

#[test]
fn heartbeat_interval_seconds_defaults_to_300_and_is_5_to_86400() {
    let at = "/heartbeat_interval_seconds";
    assert_eq!(taken(&without(at)).envelope.heartbeat_interval_seconds, 300);
    for seconds in [5, 86_400] {
        assert_eq!(taken(&with(at, seconds)).envelope.heartbeat_interval_seconds, seconds);
    }
    for seconds in [json!(0), json!(4), json!(86_401), json!(-5), json!(1e300)] {
        check(&with(at, seconds), &[(at, "out_of_range")]);
    }
    check(&with(at, 7.5), &[(at, "not_whole")]);
}

#[test]
fn report_cadence_is_milestone_interval_or_hybrid_by_default() {
    assert_eq!(taken(&without("/report_cadence")).envelope.report_cadence, Cadence::Hybrid);
    for (name, cadence) in
        [("milestone", Cadence::Milestone), ("interval", Cadence::Interval), ("hybrid", Cadence::Hybrid)]
    {
        assert_eq!(taken(&with("/report_cadence", name)).envelope.report_cadence, cadence);
    }
    check(&with("/report_cadence", "hourly"), &[("/report_cadence", "unknown_value")]);
}

#[test]
fn success_criteria_are_texts() {
    assert!(taken(&without("/success_criteria")).envelope.success_criteria.is_empty());
    check(
        &with("/success_criteria", json!(["a", "", 3])),
        &[("/success_criteria/1", "empty"), ("/success_criteria/2", "wrong_type")],
    );
    check(&with("/success_criteria", vec!["a"; limit::LIST_ENTRIES_MAX + 1]), &[("/success_criteria", "too_long")]);
}

#[test]
fn required_outputs_are_names_or_globs() {
    let at = "/artifact_policy/required_outputs";
    for output in ["todo.md", "*_wiki_report_*.md", "reports/**/*.md", "a[0-9].{md,txt}", "mit leerzeichen.md"] {
        assert_eq!(taken(&with(at, json!([output]))).envelope.required_outputs, [output]);
    }
    for output in ["/etc/passwd", "../a", "a/../*.md", "a//b", "a[", "{a", "a\\b", "/*.md", "a\nb"] {
        check(&with(at, json!(["ok.md", output])), &[("/artifact_policy/required_outputs/1", "invalid_pattern")]);
    }
}

#[test]
fn storage_scope_is_factory_shared_or_pushback() {
    assert_eq!(taken(&without("/artifact_policy")).envelope.storage_scope, StorageScope::Factory);
    for (name, scope) in
        [("factory", StorageScope::Factory), ("shared", StorageScope::Shared), ("pushback", StorageScope::Pushback)]
    {
        assert_eq!(taken(&with("/artifact_policy/storage_scope", name)).envelope.storage_scope, scope);
    }
    check(&with("/artifact_policy/storage_scope", "s3"), &[("/artifact_policy/storage_scope", "unknown_value")]);
}

#[test]
fn callback_is_optional() {
    assert_eq!(taken(&without("/callback")).envelope.callback, None);
    assert_eq!(taken(&with("/callback", Value::Null)).envelope.callback, None);
    check(&with("/callback", json!({})), &[("/callback/status_url", "required")]);
    check(&with("/callback", "http://127.0.0.1"), &[("/callback", "wrong_type")]);
}

#[test]
fn callback_goes_to_a_plain_http_url() {
    let at = "/callback/status_url";
    for url in ["http://127.0.0.1:9000/factory/events", "https://hq.example.com", "HTTP://[::1]:80/a?b=c"] {
        taken(&with(at, url));
    }
    for url in [
        "",
        "hq.example.com",
        "/factory/events",
        "ftp://hq.example.com",
        "file:///etc/passwd",
        "http://",
        "http:///a",
        "http:hq",
        "http://user@hq.example.com",
        "http://user:secret@hq.example.com",
        "http://:secret@hq.example.com",
        "http://hq .example.com",
        "http://hq.example.com:99999",
        "http://hq\\@evil.example",
    ] {
        check(&with(at, url), &[(at, "invalid_url")]);
    }
}

#[test]
fn callback_auth_mode_is_bearer() {
    check(&with("/callback/auth_mode", "basic"), &[("/callback/auth_mode", "unknown_value")]);
    taken(&without("/callback/auth_mode"));
}

#[test]
fn callback_auth_ref_is_an_env_or_file_reference() {
    let at = "/callback/auth_ref";
    let secret = |text: &str| taken(&with(at, text)).envelope.callback.unwrap().auth_ref;
    assert_eq!(secret("env://UA_INTERNAL_API_TOKEN"), Some(SecretRef::Env("UA_INTERNAL_API_TOKEN".to_owned())));
    assert_eq!(secret("file:///run/secrets/token"), Some(SecretRef::File("/run/secrets/token".to_owned())));
    for text in ["", "UA_INTERNAL_API_TOKEN", "env://", "env://A-B", "file://token", "vault://a"] {
        check(&with(at, text), &[(at, "invalid_secret_ref")]);
    }
    assert_eq!(taken(&without(at)).warnings.len(), 1, "a callback without its secret is worth a word");
}

#[test]
fn trace_id_is_required() {
    check(&without("/trace_id"), &[("/trace_id", "required")]);
    check(&with("/trace_id", "a\nb"), &[("/trace_id", "invalid_character")]);
}

#[test]
fn created_at_is_required_rfc_3339() {
    check(&without("/created_at"), &[("/created_at", "required")]);
    check(&with("/created_at", "2026-11-22T22:00:00"), &[("/created_at", "offset_required")]);
    check(&with("/created_at", "yesterday"), &[("/created_at", "invalid_time")]);
}

#[test]
fn inputs_are_any_json_object() {
    let inputs = json!({ "z": { "deep": [1, 2.5, null] }, "a": "ä\n" });
    assert_eq!(taken(&with("/inputs", inputs.clone())).envelope.inputs.as_deref(), Some(inputs.to_string().as_str()));
    assert_eq!(taken(&with("/inputs", Value::Null)).envelope.inputs, None);
    for value in [json!([]), json!("{}"), json!(1)] {
        check(&with("/inputs", value), &[("/inputs", "wrong_type")]);
    }
}

#[test]
fn plugin_is_name_or_name_at_version() {
    for plugin in ["automation", "greeter@1.2.0"] {
        assert_eq!(taken(&with("/plugin", plugin)).envelope.plugin.unwrap().to_string(), plugin);
    }
    for plugin in ["", "../x", "a@", "a@1", "A"] {
        check(&with("/plugin", plugin), &[("/plugin", "invalid_plugin")]);
    }
}

#[test]
fn several_mistakes_are_reported_together_each_with_its_place() {
    let mut envelope = good();
    common::set(&mut envelope, "/vp_id", json!(null));
    common::set(&mut envelope, "/mission_type", json!("x"));
    common::set(&mut envelope, "/constraints/allowed_tools", json!(["Read", 1]));
    common::set(&mut envelope, "/callback/auth_mode", json!("none"));
    check(
        &envelope,
        &[
            ("/vp_id", "required"),
            ("/mission_type", "unknown_value"),
            ("/constraints/allowed_tools/1", "wrong_type"),
            ("/callback/auth_mode", "unknown_value"),
        ],
    );
    assert_eq!(refused(&json!({})).len(), 9, "each required field");
}

#[test]
fn what_could_be_read_of_a_wrong_envelope_can_be_looked_at_further() {
    let draft = |envelope: &Value| sortie_contract::Envelope::parse(&envelope.to_string()).unwrap_err().draft;
    let mut envelope = with("/trace_id", "");
    common::set(&mut envelope, "/budget/max_cost_usd", json!("much"));
    let kept = draft(&envelope).expect("an object");
    assert_eq!(kept.envelope().target_instance_id.as_str(), "factory-1");
    assert_eq!(kept.envelope().constraints, taken(&good()).envelope.constraints);
    assert_eq!(draft(&json!({})).expect("an object").envelope().target_instance_id.as_str(), "*", "nobody else's");
    assert_eq!(draft(&json!([])), None);
    assert_eq!(sortie_contract::Envelope::parse("{").unwrap_err().draft, None);
}

// Fine print

#[test]
fn an_explicit_default_differs_from_an_absent_field() {
    let (absent, explicit) = (without("/heartbeat_interval_seconds"), with("/heartbeat_interval_seconds", 300));
    assert_eq!(taken(&absent).envelope, taken(&explicit).envelope);
    assert_ne!(taken(&absent).digest, taken(&explicit).digest);
}

#[test]
fn the_pointer_of_a_missing_field_is_where_it_should_be() {
    check(&without("/callback/status_url"), &[("/callback/status_url", "required")]);
}

#[test]
fn max_runtime_minutes_may_be_a_fraction() {
    for (minutes, ms) in [(0.5, 30_000), (1.0, 60_000), (0.001, 60), (8.2, 492_000), (1e-9, 1)] {
        assert_eq!(
            taken(&with("/budget/max_runtime_minutes", minutes)).envelope.budget.runtime_ms_max,
            Some(ms),
            "{minutes}"
        );
    }
    check(&with("/budget/max_llm_calls", 1.5), &[("/budget/max_llm_calls", "not_whole")]);
    assert_eq!(taken(&with("/budget/max_llm_calls", 3.0)).envelope.budget.llm_calls_max, Some(3));
}

#[test]
fn pushback_without_a_callback_is_a_mistake() {
    let mut envelope = without("/callback");
    common::set(&mut envelope, "/artifact_policy/storage_scope", json!("pushback"));
    check(&envelope, &[("/callback", "required")]);
}

// Where the page is silent

#[test]
fn what_is_not_json_is_one_mistake_with_line_and_column() {
    for text in ["", "{", "{\"a\": 1,}", "{} {}", "{}x", "nope", "'a'", "[1,", "\u{feff}{}", "{\"a\": \"\\ud800\"}"] {
        let rejected = sortie_contract::Envelope::parse(text).unwrap_err();
        assert_eq!(mistakes(text), [(String::new(), "not_json".to_owned())], "{text:?}");
        assert!(rejected.mistakes[0].detail.contains("line 1 column"), "{rejected}");
    }
    check(&json!([]), &[("", "wrong_type")]);
}

#[test]
fn a_byte_order_mark_is_named() {
    let rejected = sortie_contract::Envelope::parse(&format!("\u{feff}{}", good())).unwrap_err();
    assert!(rejected.mistakes[0].detail.contains("byte order mark"), "{rejected}");
}

#[test]
fn a_key_that_is_there_twice_is_a_mistake() {
    let text = good().to_string().replacen(
        '{',
        "{\"vp_id\": \"other\", \"inputs\": {\"a\": [{\"b\": 1, \"\\u0062\": 2}]},",
        1,
    );
    assert_eq!(
        mistakes(&text),
        [("/inputs/a/0/b".to_owned(), "duplicate_key".to_owned()), ("/vp_id".to_owned(), "duplicate_key".to_owned())]
    );
}

#[test]
fn what_is_nested_too_deep_is_a_mistake() {
    let nested = |depth| format!("{{\"inputs\": {{\"a\": {}{}}}}}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(
        mistakes(&nested(limit::ENVELOPE_DEPTH_MAX - 2)).len(),
        9,
        "deep, but only the required fields are missing"
    );
    for depth in [limit::ENVELOPE_DEPTH_MAX - 1, 1_000, 100_000] {
        let found = mistakes(&nested(depth));
        assert!(found.len() == 1 && found[0].1 == "too_deep", "{found:?}");
    }
}

#[test]
fn the_answer_to_many_mistakes_is_bounded() {
    let found = refused(&with("/success_criteria", vec![0; limit::LIST_ENTRIES_MAX]));
    assert_eq!(found.len(), limit::MISTAKES_MAX);
    assert_eq!(found.last().unwrap().1, "more_mistakes");
    let long = "k".repeat(100_000);
    let rejected = sortie_contract::Envelope::parse(&with(&format!("/budget/{long}"), 1).to_string()).unwrap_err();
    assert!(rejected.to_string().len() < 1_000);
    let mut noisy = good();
    (0..1_000).for_each(|i| noisy[format!("x{i}")] = json!(1));
    assert_eq!(taken(&noisy).warnings.len(), limit::MISTAKES_MAX);
}
