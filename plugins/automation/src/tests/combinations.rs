//! Keys that mean nothing together, or nothing where they stand: each is told, with its place.

use serde_json::{Value as Json, json};

use super::brief;
use super::check::{check, check_step};
use crate::plan::{NESTING_MAX, STEPS_MAX};

/// A step with `fields` beside its id has exactly these mistakes.
#[track_caller]
fn check_bare(fields: Json, expected: &[&str]) {
    let mut step = json!({ "id": "a" });
    step.as_object_mut().expect("a step").extend(fields.as_object().expect("fields").clone());
    check(json!([step]), expected);
}

#[test]
fn a_step_does_one_thing() {
    check_bare(json!({}), &["/0/tool required"]);
    check_bare(json!({ "sleep": "1s", "tool": "Read" }), &["/0/tool invalid"]);
    check_bare(json!({ "sleep": "1s", "model": { "prompt": "x" } }), &["/0/sleep invalid"]);
    check_bare(json!({ "sleep": "1s", "steps": [{ "id": "b", "tool": "Read" }] }), &["/0/steps invalid"]);
    check_bare(json!({ "steps": [{ "id": "b", "tool": "Read" }], "tool": "Read" }), &["/0/tool invalid"]);
    check_bare(
        json!({ "steps": [{ "id": "b", "tool": "Read" }], "with": {}, "timeout": "0s" }),
        &["/0/with invalid", "/0/timeout bad_duration"],
    );
}

#[test]
fn until_wants_a_result_and_a_way_to_try_again() {
    let retry = json!({ "attempts": 3, "backoff": "1s" });
    let until = "{{ result.done }}";
    check_step(json!({ "until": until, "retry": retry }), &[]);
    check_step(json!({ "until": "{{ steps.a.result.done and index == 0 }}", "retry": retry, "for_each": [1] }), &[]);
    check_step(json!({ "until": until }), &["/0/until invalid"]);
    check_step(json!({ "until": until, "retry": { "attempts": 1 } }), &["/0/retry/attempts out_of_range"]);
    check_step(json!({ "until": true, "retry": retry }), &["/0/until invalid"]);
    check_step(json!({ "until": "result.done", "retry": retry }), &["/0/until bad_template"]);
    check_step(json!({ "until": 1, "retry": retry }), &["/0/until wrong_type"]);
    check_step(json!({ "until": "{{ 'yes' }}", "retry": retry }), &["/0/until wrong_type"]);
    check_step(json!({ "until": "{{ steps.nobody.result }}", "retry": retry }), &["/0/until unknown_step"]);
    check_step(json!({ "with": { "x": "{{ result }}" } }), &["/0/with/x bad_template"]);
    check_bare(json!({ "sleep": "1s", "until": until, "retry": retry }), &["/0/until invalid", "/0/retry invalid"]);
    check_bare(
        json!({ "tool": "ask", "with": { "question": "Done?" }, "until": "{{ result == 'yes' }}", "retry": retry }),
        &[],
    );
}

#[test]
fn a_sleep_is_a_duration_and_nothing_else() {
    check_bare(json!({ "sleep": "1.5h", "needs": [], "if": false, "milestone": "awake" }), &[]);
    check_bare(json!({ "sleep": "{{ inputs.week }}" }), &["/0/sleep bad_duration"]);
    check_bare(json!({ "sleep": "{{ inputs.week }}", "if": "{{ inputs.week is not string }}" }), &[]);
    check_bare(json!({ "sleep": "{{ inputs.n }}s", "for_each": [1] }), &[]);
    check_bare(json!({ "sleep": "{{ inputs.nobody }}s" }), &["/0/sleep bad_template"]);
    for wrong in
        [json!("soon"), json!(10), json!("400d"), json!(["1s"]), json!({ "{{ 1 }}": "{{ 1 }}" }), json!(["{{ 1 }}"])]
    {
        check_bare(json!({ "sleep": wrong }), &["/0/sleep bad_duration"]);
    }
    check_bare(json!({ "sleep": "1s", "with": {}, "timeout": "1s" }), &["/0/with invalid", "/0/timeout invalid"]);
    check_bare(json!({ "sleep": "1s", "compensate": { "tool": "Read" } }), &["/0/compensate invalid"]);
}

#[test]
fn nothing_waits_for_what_comes_last() {
    let last = json!({ "id": "last", "tool": "Read", "finally": true });
    check(json!([{ "id": "a", "tool": "Read", "needs": ["last"] }, last]), &["/0/needs/0 invalid"]);
    check(
        json!([{ "id": "a", "tool": "Read", "milestone": "{{ steps.last.result }}" }, last]),
        &["/0/milestone invalid"],
    );
    check(json!([{ "id": "a", "tool": "Read", "finally": true, "needs": ["last"] }, last]), &[]);
    check(json!([{ "id": "a", "tool": "Read" }, { "id": "b", "tool": "Read", "finally": true, "needs": ["a"] }]), &[]);
    check_step(json!({ "finally": "yes" }), &["/0/finally wrong_type"]);
    check_step(json!({ "finally": true, "with": { "why": "{{ failure.error }}" } }), &[]);
    check_step(json!({ "finally": true, "if": "{{ failure is none }}", "for_each": "{{ failure.x }}" }), &[]);
    check_step(json!({ "with": { "why": "{{ failure.error }}" } }), &["/0/with/why bad_template"]);
    check_step(json!({ "finally": true, "compensate": { "tool": "Read" } }), &["/0/compensate invalid"]);
}

#[test]
fn what_undoes_something_is_a_call() {
    let undo =
        json!({ "tool": "Read", "with": { "id": "{{ result.id }} {{ steps.a.result.id }} {{ failure.error }}" } });
    check_step(json!({ "compensate": undo }), &[]);
    check_step(json!({ "compensate": undo, "for_each": [1] }), &[]);
    check_step(
        json!({ "compensate": { "tool": "Read", "with": { "x": "{{ item }}" } } }),
        &["/0/compensate/with/x bad_template"],
    );
    check_step(json!({ "compensate": { "tool": "Read", "retry": { "attempts": 2 }, "timeout": "1s" } }), &[]);
    check_step(json!({ "compensate": {} }), &["/0/compensate/tool required"]);
    check_step(json!({ "compensate": "Read" }), &["/0/compensate wrong_type"]);
    check_step(json!({ "compensate": { "tool": "model" } }), &["/0/compensate/tool invalid"]);
    check_step(json!({ "compensate": { "tool": "ask" } }), &["/0/compensate/with/question required"]);
    check_step(
        json!({ "compensate": { "model": { "prompt": "x" } } }),
        &["/0/compensate/model unknown_key", "/0/compensate/tool required"],
    );
    check_step(json!({ "compensate": { "tool": "Read", "timeout": "0s" } }), &["/0/compensate/timeout bad_duration"]);
    for other in [json!({ "tool": "ask", "with": { "question": "x" } }), json!({ "model": { "prompt": "x" } })] {
        let mut fields = other;
        fields["compensate"] = json!({ "tool": "Read" });
        check_bare(fields, &["/0/compensate invalid"]);
    }
}

#[test]
fn a_graph_within_is_held_to_the_same() {
    let within = |steps: Json| json!({ "for_each": [{ "x": 1 }], "steps": steps });
    check_bare(within(json!([])), &["/0/steps empty"]);
    check_bare(json!({ "steps": "x" }), &["/0/steps wrong_type"]);
    check_bare(within(json!([{ "id": "b", "tool": "Read", "with": { "x": "{{ item.x }} {{ index }}" } }])), &[]);
    check_bare(
        within(json!([{ "id": "b", "tool": "Read", "with": { "x": "{{ steps.nobody.result }}" } }])),
        &["/0/steps/0/with/x unknown_step"],
    );
    check_bare(
        within(json!([{ "id": "b", "tool": "Read", "needs": ["c"] }, { "id": "c", "tool": "Read", "needs": ["b"] }])),
        &["/0/steps/0 cycle"],
    );
    // What is within a step cannot wait for it.
    check_bare(within(json!([{ "id": "b", "tool": "Read", "needs": ["a"] }])), &["/0 cycle"]);
    check_bare(within(json!([{ "id": "b", "tool": "Read", "if": "{{ item }}" }])), &[]);
    check_bare(
        within(json!([{ "id": "b", "tool": "Read", "wiht": 1 }, { "id": "b", "tool": "Read" }])),
        &["/0/steps/0/wiht unknown_key", "/0/steps/1/id duplicate_id"],
    );
    // The same id in two graphs is two steps.
    check(json!([{ "id": "a", "steps": [{ "id": "b", "tool": "Read" }] }, { "id": "b", "tool": "Read" }]), &[]);
    // Without for_each there are no items to see.
    check_bare(
        json!({ "steps": [{ "id": "b", "tool": "Read", "with": { "x": "{{ item }}" } }] }),
        &["/0/steps/0/with/x bad_template"],
    );
    // What is certain to fail there is found, too.
    check_bare(
        json!({ "steps": [{ "id": "b", "tool": "Read", "with": { "x": "{{ inputs.nobody }}" } }] }),
        &["/0/steps/0/with/x bad_template"],
    );
    check_bare(
        json!({ "if": false, "steps": [{ "id": "b", "tool": "Read", "with": { "x": "{{ inputs.nobody }}" } }] }),
        &[],
    );
    check_bare(
        json!({ "if": false, "steps": [{ "id": "b", "tool": "Read", "if": "{{ inputs.week }}" }] }),
        &["/0/steps/0/if wrong_type"],
    );
    let criterion = json!({ "text": "nothing failed", "met": true });
    check_bare(
        within(json!([{ "id": "b", "tool": "Read", "criterion": criterion }])),
        &["/0/steps/0/criterion invalid"],
    );
    check_bare(json!({ "steps": [{ "id": "b", "tool": "Read", "criterion": criterion }] }), &[]);
}

#[test]
fn what_is_seen_within_a_graph_is_not_seen_from_outside_but_told() {
    let found = crate::check(&brief(&json!({ "steps": [
        { "id": "each", "for_each": [1], "steps": [{ "id": "in", "tool": "Read" }] },
        { "id": "b", "tool": "Read", "with": { "x": "{{ steps.in.result }}" } },
    ] })));
    assert_eq!((found[0].code.as_str(), found.len()), ("unknown_step", 1));
    assert!(found[0].detail.contains("steps[\"each\"].results[…][\"in\"]"), "{found:?}");
}

#[test]
fn graphs_are_nested_so_deep_and_no_deeper() {
    let nested = |depth: usize| {
        (0..depth).fold(json!({ "id": "a", "tool": "Read" }), |inner, _| json!({ "id": "a", "steps": [inner] }))
    };
    check(json!([nested(NESTING_MAX)]), &[]);
    check(json!([nested(NESTING_MAX + 1)]), &["/0/steps/0/steps/0/steps/0/steps too_many"]);
    let steps: Vec<_> = (0..STEPS_MAX).map(|n| json!({ "id": format!("s{n}"), "tool": "Read" })).collect();
    check(
        json!(steps[..STEPS_MAX - 1].iter().cloned().chain([json!({ "id": "g", "tool": "Read" })]).collect::<Vec<_>>()),
        &[],
    );
    check(json!([{ "id": "g", "steps": steps }]), &["/0/steps too_many"]);
}

#[test]
fn a_regular_expression_that_is_none_is_told_at_intake() {
    check_step(json!({ "with": { "x": "{{ inputs.week | regex_match('W(') }}" } }), &["/0/with/x bad_template"]);
    check_step(
        json!({ "if": false, "with": { "x": "{{ inputs.week | regex_replace(\"[\", '') }}" } }),
        &["/0/with/x bad_template"],
    );
    check_step(json!({ "with": { "x": "{{ inputs.week | regex_match('^W[0-9]{2}$') }}" } }), &[]);
    check_step(json!({ "with": { "x": "{{ inputs.week | regex_find(inputs.week) }}" } }), &[]);
    check_step(
        json!({ "if": false, "with": { "x": "{{ inputs.week | regex_match('(((a{99}){99}){99}){99}') }}" } }),
        &["/0/with/x bad_template"],
    );
}
