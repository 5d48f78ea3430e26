//! What is found at intake, and where.

use serde_json::{Value as Json, json};

use super::brief;
use crate::plan::STEPS_MAX;

/// `steps` have exactly these mistakes, as `pointer code`, pointers below `/inputs/steps`.
#[track_caller]
pub(super) fn check(steps: Json, expected: &[&str]) {
    let mut found: Vec<_> = crate::check(&brief(&json!({ "week": "W47", "steps": steps })))
        .into_iter()
        .map(|mistake| format!("{} {}", mistake.pointer.trim_start_matches("/inputs/steps"), mistake.code))
        .collect();
    let mut expected: Vec<_> = expected.iter().map(|mistake| (*mistake).to_owned()).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected, "{steps:#}");
}

/// A step with `fields` beside its id and tool has exactly these mistakes.
#[track_caller]
pub(super) fn check_step(fields: Json, expected: &[&str]) {
    let mut step = json!({ "id": "a", "tool": "Read" });
    for (key, value) in fields.as_object().expect("fields") {
        step[key] = value.clone();
    }
    check(json!([step, { "id": "fetch-all", "tool": "Read" }]), expected);
}

#[test]
fn steps_are_required_and_a_list_and_not_empty() {
    for (inputs, expected) in [
        (json!({}), "required"),
        (json!({ "steps": null }), "required"),
        (json!({ "steps": {} }), "wrong_type"),
        (json!({ "steps": [] }), "empty"),
        (json!({ "steps": vec![json!(1); STEPS_MAX + 1] }), "too_many"),
    ] {
        let found = crate::check(&brief(&inputs));
        assert_eq!((found[0].pointer.as_str(), found[0].code.as_str(), found.len()), ("/inputs/steps", expected, 1));
    }
}

#[test]
fn every_mistake_is_reported_with_its_place() {
    check(json!([1]), &["/0 wrong_type"]);
    check(json!([{}]), &["/0/id required", "/0/tool required"]);
    check(json!([{ "id": "a b", "tool": "" }]), &["/0/id invalid", "/0/tool empty"]);
    check(json!([{ "id": 1, "tool": [] }]), &["/0/id wrong_type", "/0/tool wrong_type"]);
    check(json!([{ "id": "a", "tool": "Read" }, { "id": "a", "tool": "Read" }]), &["/1/id duplicate_id"]);
    check(json!([{ "id": "a", "model": { "prompt": "Which of {{ inputs.week }}?", "max_tokens": 9 } }]), &[]);
    check(json!([{ "id": "a", "model": { "prompt": " " } }]), &["/0/model/prompt empty"]);
    check(
        json!([{ "id": "a", "model": { "promt": "x" } }]),
        &["/0/model/promt unknown_key", "/0/model/prompt required"],
    );
    check(json!([{ "id": "a", "model": "x" }]), &["/0/model wrong_type"]);
    check(json!([{ "id": "a", "model": { "prompt": "x" }, "with": {} }]), &["/0/with invalid"]);
    check_step(json!({ "model": { "prompt": "x" } }), &["/0/tool invalid"]);
    check_step(json!({ "wiht": {}, "a/b": 1 }), &["/0/wiht unknown_key", "/0/a~1b unknown_key"]);
    check_step(json!({ "with": [] }), &["/0/with wrong_type"]);
    check_step(json!({ "needs": "b" }), &["/0/needs wrong_type"]);
    check_step(json!({ "needs": ["nobody", 1] }), &["/0/needs/0 unknown_step", "/0/needs/1 wrong_type"]);
    check_step(json!({ "on_error": "ignore" }), &["/0/on_error invalid"]);
    check_step(json!({ "concurrency": 0, "for_each": [] }), &["/0/concurrency out_of_range"]);
    check_step(json!({ "timeout": "soon" }), &["/0/timeout bad_duration"]);
    check_step(json!({ "timeout": "0s" }), &["/0/timeout bad_duration"]);
    check_step(json!({ "timeout": 30 }), &["/0/timeout bad_duration"]);
    check_step(json!({ "retry": {} }), &["/0/retry/attempts required"]);
    check_step(
        json!({ "retry": { "attempts": 101, "backoff": "1", "factor": 0.5, "jitter": true } }),
        &[
            "/0/retry/attempts out_of_range",
            "/0/retry/backoff bad_duration",
            "/0/retry/factor out_of_range",
            "/0/retry/jitter unknown_key",
        ],
    );
    check_step(json!({ "retry": { "attempts": 100, "backoff": "500ms", "factor": 2 } }), &[]);
    check_step(json!({ "artifact": {} }), &["/0/artifact/name required"]);
    check_step(json!({ "artifact": { "name": "a", "path": "a", "content": "a" } }), &["/0/artifact/content invalid"]);
    check_step(json!({ "artifact": 1 }), &["/0/artifact wrong_type"]);
    check_step(json!({ "milestone": 1 }), &["/0/milestone wrong_type"]);
    check_step(json!({ "for_each": "a, b" }), &["/0/for_each wrong_type"]);
}

#[test]
fn an_artifact_that_no_node_would_store_is_refused_at_intake() {
    let long = "x".repeat(300);
    for name in ["../x", "/etc/x", "a//b", "a\\b", "..", "a\u{7}b", &long] {
        check_step(json!({ "artifact": { "name": name, "content": "z" } }), &["/0/artifact/name bad_name"]);
        check_step(json!({ "artifact": name }), &["/0/artifact bad_name"]);
        // Also where it may never come to it, and once for all items.
        check_step(json!({ "artifact": name, "if": false, "for_each": [1] }), &["/0/artifact bad_name"]);
    }
    check_step(json!({ "artifact": "" }), &["/0/artifact bad_name"]);
    for path in ["../../token", "/etc/passwd", "a/../../b", ".", ""] {
        check_step(json!({ "artifact": { "name": "a", "path": path } }), &["/0/artifact/path bad_path"]);
    }
    check_step(json!({ "artifact": { "name": "a", "path": ["b"] } }), &["/0/artifact/path wrong_type"]);
    for media_type in ["a\r\nX: y", "text/a\r\nX: y", "", "text", "{{ inputs.week }}"] {
        check_step(
            json!({ "artifact": { "name": "a", "media_type": media_type } }),
            &["/0/artifact/media_type bad_media_type"],
        );
    }
    check_step(
        json!({ "artifact": { "path": "/a", "media_type": "text" } }),
        &["/0/artifact/name required", "/0/artifact/path bad_path", "/0/artifact/media_type bad_media_type"],
    );
    check_step(json!({ "artifact": { "name": "a//{{ b", "content": "z" } }), &["/0/artifact/name bad_template"]);
    check_step(json!({ "artifact": { "name": "out/..a", "path": "./b//c", "media_type": "a/b; c=d" } }), &[]);
    check_step(json!({ "artifact": { "name": "{{ inputs.week }}", "path": "{{ inputs.week }}" } }), &[]);
    check_step(json!({ "artifact": { "name": "a", "path": null, "content": "../../b" } }), &[]);
}

#[test]
fn a_question_to_people_is_there_and_a_text() {
    let ask = |with: Json, expected: &[&str]| {
        for tool in ["ask", "Ask"] {
            check(json!([{ "id": "q", "tool": tool, "with": with }]), expected);
        }
    };
    check(json!([{ "id": "q", "tool": "ask" }]), &["/0/with/question required"]);
    ask(json!(null), &["/0/with/question required"]);
    ask(json!({}), &["/0/with/question required"]);
    ask(json!({ "queston": "A or B?" }), &["/0/with/question required"]);
    ask(json!({ "question": null }), &["/0/with/question required"]);
    ask(json!({ "question": ["A", "B"] }), &["/0/with/question wrong_type"]);
    ask(json!({ "question": " " }), &["/0/with/question empty"]);
    ask(json!("A or B?"), &["/0/with wrong_type"]);
    ask(json!({ "question": "A or B?" }), &[]);
    ask(json!({ "question": "{{ inputs.week }}" }), &[]);
    ask(json!("{{ inputs }}"), &[]);
    check(json!([{ "id": "q", "tool": "Read", "with": {} }]), &[]);
}

#[test]
fn criteria_are_those_of_the_envelope() {
    check_step(json!({ "criterion": { "text": "nothing failed", "met": true } }), &[]);
    check_step(json!({ "criterion": {} }), &["/0/criterion/text required", "/0/criterion/met required"]);
    check_step(
        json!({ "criterion": { "text": "all is well", "met": true } }),
        &["/0/criterion/text unknown_criterion"],
    );
    check_step(json!({ "criterion": { "text": "nothing failed", "met": "yes" } }), &["/0/criterion/met bad_template"]);
}

#[test]
fn templates_are_compiled_at_intake() {
    check_step(json!({ "with": { "path": "{{ inputs.week" } }), &["/0/with/path bad_template"]);
    check_step(json!({ "with": { "deep": [{ "x": "{{ a b }}" }] } }), &["/0/with/deep/0/x bad_template"]);
    check_step(json!({ "with": { "path": "{{ secrets.token }}" } }), &["/0/with/path bad_template"]);
    check_step(json!({ "with": { "path": "{{ item }}" } }), &["/0/with/path bad_template"]);
    check_step(json!({ "with": { "path": "{{ item }}" }, "for_each": [1] }), &[]);
    check_step(json!({ "if": "{{ index > 1 }}", "for_each": [1] }), &[]);
    check_step(json!({ "if": "{{ index > 1 }}" }), &["/0/if bad_template"]);
    check_step(json!({ "with": { "path": "{{ inputs.week | shout }}" } }), &["/0/with/path bad_template"]);
    check_step(json!({ "with": { "path": "{{ inputs.week is heavy }}" } }), &["/0/with/path bad_template"]);
    check_step(json!({ "with": { "path": "{{ inputs.week is not none and inputs.week is string }}" } }), &[]);
    check_step(json!({ "with": { "path": "{% include 'x' %}" } }), &["/0/with/path bad_template"]);
    check_step(json!({ "if": "inputs.week" }), &["/0/if bad_template"]);
    check_step(json!({ "if": "{{ true }} or {{ false }}" }), &["/0/if bad_template"]);
    check_step(json!({ "if": 1 }), &["/0/if wrong_type"]);
    check_step(json!({ "if": false }), &[]);
}

#[test]
fn a_question_that_the_envelope_answers_with_neither_yes_nor_no_is_refused_at_intake() {
    for (question, is_answer) in [
        ("{{ inputs.week }}", false),
        ("{{ 1 }}", false),
        ("{{ none }}", false),
        ("{{ [] }}", false),
        ("{{ {} }}", false),
        ("{{ 'no' }}", false),
        ("{{ 'no' and true }}", false),
        ("{{ not inputs.week }}", false),
        ("{{ false or (true and inputs.week) }}", false),
        ("{{ 'yes' if inputs.week == 'W47' else false }}", false),
        ("{{ true if inputs.week else false }}", false),
        ("{{ true if inputs.week == 'W47' }}", false),
        ("{{ inputs.week == 'W47' }}", true),
        ("{{ inputs.week and true if false else true }}", true),
        ("{{ ('a' or 'b') == 'a' and not (inputs.week is none or inputs.week not in ['W47']) }}", true),
        ("{{ inputs.week is defined and (inputs.week, 1) == ('W47', 1) }}", true),
        ("{{ false if not true else {'if': 1, 'and': 2}['and'] > 1 }}", true),
        ("{{ false and inputs.weeek }}", true),
    ] {
        let criterion = json!({ "text": "nothing failed", "met": question });
        for (fields, place) in [(json!({ "if": question }), "if"), (json!({ "criterion": criterion }), "criterion/met")]
        {
            let mut step = json!({ "id": "a", "tool": "Read" });
            step.as_object_mut().expect("a step").extend(fields.as_object().expect("fields").clone());
            let found = crate::check(&brief(&json!({ "week": "W47", "steps": [step] })));
            assert_eq!(found.is_empty(), is_answer, "{question}: {found:?}");
            assert!(found.iter().all(|mistake| mistake.pointer == format!("/inputs/steps/0/{place}")), "{found:?}");
        }
    }
    // For the items that the envelope names, too; and in a step that may never come to it.
    check_step(json!({ "if": "{{ item }}", "for_each": [true, "no"] }), &["/0/if wrong_type"]);
    check_step(json!({ "if": "{{ inputs.week }}", "needs": ["fetch-all"] }), &["/0/if wrong_type"]);
    // What another step gives is known when it has given it.
    check_step(json!({ "if": "{{ steps['fetch-all'].result }}" }), &[]);
}

#[test]
fn where_items_are_known_is_said_where_they_are_not() {
    let place = "known in `with`, `if`, `artifact` and `milestone` of a step with for_each";
    for fields in [
        json!({ "if": "{{ item }}" }),
        json!({ "for_each": "{{ item }}" }),
        json!({ "for_each": [1], "criterion": { "text": "nothing failed", "met": "{{ item }}" } }),
    ] {
        let mut step = json!({ "id": "a", "tool": "Read" });
        step.as_object_mut().expect("a step").extend(fields.as_object().expect("fields").clone());
        let found = crate::check(&brief(&json!({ "steps": [step] })));
        assert!(found[0].detail.contains(place), "{found:?}");
    }
}

#[test]
fn what_is_certain_to_fail_is_refused_at_intake() {
    check_step(json!({ "with": { "path": "{{ inputs.weeek }}" } }), &["/0/with/path bad_template"]);
    check_step(json!({ "with": { "path": "{{ inputs.weeek }}" }, "if": "{{ inputs.weeek is defined }}" }), &[]);
    check_step(json!({ "with": { "path": "{{ inputs.weeek | default('none') }}" } }), &[]);
}

#[test]
fn steps_that_templates_name_must_be_there() {
    check_step(json!({ "with": { "path": "{{ steps.nobody.result }}" } }), &["/0/with/path unknown_step"]);
    check_step(json!({ "with": { "path": "{{ steps['nobody'].result }}" } }), &["/0/with/path unknown_step"]);
    check_step(json!({ "with": { "path": "{{ steps['fetch-all'].result }}" } }), &[]);
    check_step(json!({ "with": { "path": "{{ steps | length }}" } }), &["/0/with/path bad_template"]);
    check_step(json!({ "with": { "path": "{{ steps[inputs.week] }}" } }), &["/0/with/path bad_template"]);
    check_step(
        json!({ "milestone": "{{ steps.a.result }} and {{ steps.nobody.error }}" }),
        &["/0/milestone unknown_step"],
    );
    let hyphen = crate::check(&brief(&json!({ "steps": [
        { "id": "fetch-all", "tool": "Read" },
        { "id": "b", "tool": "Read", "with": { "path": "{{ steps.fetch-all.result }}" } },
    ] })));
    assert!(hyphen.iter().any(|mistake| mistake.detail.contains("steps[\"fetch-all\"]")), "{hyphen:?}");
}

#[test]
fn cycles_are_found_however_the_steps_are_tied() {
    check_step(json!({ "needs": ["a"] }), &["/0 cycle"]);
    check_step(json!({ "with": { "path": "{{ steps.a.result }}" } }), &["/0 cycle"]);
    check_step(json!({ "artifact": { "name": "{{ steps.a.result.path }}" } }), &[]);
    check(
        json!([
            { "id": "start", "tool": "Read", "needs": ["c"] },
            { "id": "c", "tool": "Read", "needs": ["b"] },
            { "id": "b", "tool": "Read", "if": "{{ steps.c.result }}" },
        ]),
        &["/1 cycle"],
    );
}

#[test]
fn items_that_the_envelope_gives_are_a_list_and_not_too_many() {
    let many: Vec<u32> = (0..20_001).collect();
    for (each, expected) in [
        (json!("{{ inputs.mising }}"), "bad_template"),
        (json!("{{ inputs.week }}"), "wrong_type"),
        (json!("{{ inputs }}"), "wrong_type"),
        (json!("{{ range(20001) }}"), "too_many"),
        (json!("{{ inputs.many }}"), "too_many"),
        (json!("{{ range(20000) }}"), ""),
        (json!("{{ inputs.week | list }}"), ""),
    ] {
        let step = |more: Json| {
            let mut step = json!({ "id": "a", "tool": "Read", "for_each": each });
            step.as_object_mut().expect("a step").extend(more.as_object().expect("fields").clone());
            step
        };
        let found = |steps: Json| -> Vec<(String, String)> {
            let found = crate::check(&brief(&json!({ "week": "W47", "many": many, "steps": steps })));
            found.into_iter().map(|mistake| (mistake.pointer, mistake.code)).collect()
        };
        let at = |place: &str| match expected {
            "" => vec![],
            code => vec![(format!("/inputs/steps/{place}/for_each"), code.to_owned())],
        };
        assert_eq!(found(json!([step(json!({}))])), at("0"), "{each}");
        assert_eq!(found(json!([step(json!({ "if": "{{ item }}" }))])), at("0"), "{each}");
        assert_eq!(found(json!([{ "id": "g", "steps": [step(json!({}))] }])), at("0/steps/0"), "{each}");
        // Where it may never come to it, or goes on without it, it is known when it does.
        for more in [
            json!({ "if": "{{ inputs.x is defined }}" }),
            json!({ "on_error": "continue" }),
            json!({ "finally": true }),
        ] {
            assert_eq!(found(json!([step(more)])), [], "{each}");
        }
    }
    // A list that is spelled out is too long wherever it stands.
    check_step(json!({ "for_each": many, "if": false }), &["/0/for_each too_many"]);
    let templates = vec![json!("{{ inputs.week }}"); 20_001];
    check_step(json!({ "for_each": templates, "if": false }), &["/0/for_each too_many"]);
    check_step(json!({ "for_each": &many[1..], "if": false }), &[]);
}

#[test]
fn a_duration_that_the_envelope_gives_is_read_at_intake() {
    let sleep = |step: Json, expected: &[&str]| {
        let found = crate::check(&brief(&json!({ "pause": "soon", "steps": [step] })));
        let found: Vec<_> = found.iter().map(|mistake| format!("{} {}", mistake.pointer, mistake.code)).collect();
        assert_eq!(found, expected, "{step}");
    };
    sleep(json!({ "id": "a", "sleep": "{{ inputs.pause }}" }), &["/inputs/steps/0/sleep bad_duration"]);
    sleep(json!({ "id": "a", "sleep": "{{ inputs.pause | length }}" }), &["/inputs/steps/0/sleep bad_duration"]);
    sleep(json!({ "id": "a", "sleep": "{{ inputs.pause | length }}s" }), &[]);
    sleep(json!({ "id": "a", "sleep": "{{ inputs.pause }}", "if": "{{ inputs.pause != 'soon' }}" }), &[]);
}

#[test]
fn a_mission_is_dispatched_in_the_words_of_an_envelope() {
    let mission = |mission: Json, expected: &[&str]| check(json!([{ "id": "a", "mission": mission }]), expected);
    mission(
        json!({ "objective": "Count {{ inputs.week }}.", "mission_type": "research", "budget": { "max_llm_calls": 3 } }),
        &[],
    );
    mission(json!({ "mission_type": "coding" }), &["/0/mission/objective required"]);
    mission(json!({ "objective": "x" }), &["/0/mission/mission_type required"]);
    mission(
        json!({ "objective": "x", "mission_type": "coding", "mission_id": "m" }),
        &["/0/mission/mission_id unknown_key"],
    );
    mission(json!("x"), &["/0/mission wrong_type"]);
    check_step(json!({ "mission": { "objective": "x", "mission_type": "coding" } }), &["/0/tool invalid"]);
    check(
        json!([{ "id": "a", "mission": { "objective": "x", "mission_type": "coding" }, "with": {} }]),
        &["/0/with invalid"],
    );
    check_step(json!({ "tool": "mission" }), &["/0/tool invalid"]);
}

#[test]
fn what_a_model_is_asked_is_of_the_right_kind() {
    let model = |fields: Json, expected: &[&str]| {
        let mut model = json!({ "prompt": "x" });
        model.as_object_mut().expect("fields").extend(fields.as_object().expect("fields").clone());
        check(json!([{ "id": "a", "model": model }]), expected);
        // Fixed text is known wherever it stands.
        if !fields.to_string().contains("{{") {
            check(json!([{ "id": "a", "model": model, "if": false }]), expected);
        }
    };
    for wrong in
        [json!("many"), json!(0), json!(-1), json!(1.5), json!([1]), json!("{{ inputs.week }}"), json!("1{{ 0 }}")]
    {
        model(json!({ "max_tokens": wrong }), &["/0/model/max_tokens out_of_range"]);
    }
    for wrong in [json!("object"), json!(7), json!([]), json!("{{ inputs.week }}"), json!("{{ [] }}")] {
        model(json!({ "schema": wrong }), &["/0/model/schema wrong_type"]);
    }
    for key in ["system", "model", "prompt"] {
        model(json!({ key: "{{ 7 }}" }), &[&format!("/0/model/{key} wrong_type")]);
        model(json!({ key: 7 }), &[&format!("/0/model/{key} wrong_type")]);
    }
    model(json!({ "max_tokens": null, "schema": null, "system": null, "model": null }), &[]);
    model(json!({ "max_tokens": "{{ inputs.week | length }}", "schema": "{{ {} }}", "model": "{{ none }}" }), &[]);
    model(json!({ "max_tokens": 9, "schema": { "type": "{{ 'object' }}" }, "system": "{{ inputs.week }}" }), &[]);
    // What another step gives is known when it has given it.
    model(json!({ "max_tokens": "{{ steps.b.result }}" }), &["/0/model/max_tokens unknown_step"]);
}

#[test]
fn null_is_as_good_as_nothing() {
    check_step(json!({ "for_each": null, "on_error": null, "concurrency": null }), &[]);
    check_step(json!({ "for_each": null, "with": { "path": "{{ item }}" } }), &["/0/with/path bad_template"]);
    check_step(json!({ "retry": { "attempts": null } }), &["/0/retry/attempts required"]);
    check_step(
        json!({ "criterion": { "text": null, "met": null } }),
        &["/0/criterion/text required", "/0/criterion/met required"],
    );
}

#[test]
fn a_concurrency_without_items_is_refused() {
    check_step(json!({ "concurrency": 2 }), &["/0/concurrency invalid"]);
    check_step(json!({ "concurrency": 2, "for_each": null }), &["/0/concurrency invalid"]);
    check_step(json!({ "concurrency": 2, "for_each": [1] }), &[]);
}
