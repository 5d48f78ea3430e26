//! What is said of a template that fails: which it is, which name is not there, and what is.

use serde_json::{Value as Json, json};

use super::brief;
use super::run::run_in;
use super::world::Simulated;

/// What is said of a step whose argument `v` is this, at intake; its template needs nothing but the envelope.
fn said_early(template: &str) -> String {
    let steps = json!([{ "id": "a", "tool": "Echo", "with": { "v": template } }]);
    let inputs =
        json!({ "week": "W47", "weeks": 3, "list": [1, 2], "none": null, "{x": { "deep key": 1 }, "steps": steps });
    let found = crate::check(&brief(&inputs));
    assert_eq!(found.len(), 1, "{template}: {found:?}");
    assert_eq!((found[0].pointer.as_str(), found[0].code.as_str()), ("/inputs/steps/0/with/v", "bad_template"));
    found[0].detail.clone()
}

/// What is said of it in a run.
fn said(steps: Json) -> String {
    let mut world = Simulated::echo();
    run_in(&mut world, json!({ "steps": steps })).expect_err("it fails").summary
}

#[test]
fn a_name_that_is_not_there_is_named_with_its_expression_and_what_is_there() {
    for (template, says) in [
        (
            "{{ inputs.absent }}",
            "`{{ inputs.absent }}`: `inputs` has no `absent`: it has week, weeks, list, none, {x, steps",
        ),
        ("{{ inputs.weke }}", "`{{ inputs.weke }}`: `inputs` has no `weke` (did you mean `week`?): it has week, "),
        ("{{ inputs['Weeks'] }}", "`{{ inputs['Weeks'] }}`: `inputs` has no `Weeks` (did you mean `weeks`?): it has "),
        (
            "the {{ inputs.week }}\nof {{ inputs.yaer | upper }}!",
            "`{{ inputs.yaer | upper }}`: `inputs` has no `yaer`: ",
        ),
        ("{% if inputs.yaer == 1 %}x{% endif %}", "`{% if inputs.yaer == 1 %}`: `inputs` has no `yaer`: "),
        (
            "{{ inputs.week.day }}",
            "`{{ inputs.week.day }}`: `inputs.week` has no `day`: it is a text (`| fromjson` reads",
        ),
        ("{{ inputs.weeks.day }}", "`inputs.weeks` has no `day`: it is a number"),
        ("{{ inputs.none.day }}", "`inputs.none` has no `day`: it is null"),
        ("{{ inputs.list[2] }}", "`inputs.list` has no `2`: it is a list of 2 items, from `[0]` on"),
        ("{{ inputs.list.first }}", "`inputs.list` has no `first`: it is a list of 2 items"),
        ("{{ inputs['{x'].deep.key }}", "`inputs['{x']` has no `deep`: it has deep key"),
        ("{{ inputs.absent.nope }}", "`inputs` has no `absent`: it has "),
        ("{{ 'x' if inputs.week == 'W1' }}", "`{{ 'x' if inputs.week == 'W1' }}` gives nothing: say with `else` what"),
        ("{{ [] | first }}", "`{{ [] | first }}` gives something that does not exist"),
        ("{{ inputs.week + 1 }}", "`{{ inputs.week + 1 }}`: invalid operation: "),
        (
            "{% for inputs in [{}] %}{{ inputs.week }}{% endfor %}",
            "`{{ inputs.week }}`: undefined value: `inputs.week` is",
        ),
        (
            "{% for row in [{}] %}{{ row.week }}{% endfor %}",
            "`{{ row.week }}`: undefined value: `row.week` is undefined",
        ),
        (
            "{{ input.week }}",
            "`input` is not known here (did you mean `inputs`?); known are inputs, objective, mission, steps",
        ),
    ] {
        let told = said_early(template);
        assert!(told.contains(says), "{template}\n says {told}\n not  {says}");
    }
}

#[test]
fn a_name_that_no_result_has_is_named_with_what_the_step_has() {
    let first = json!({ "id": "first", "tool": "Echo", "with": { "title": "x", "rows": [{ "id": 1 }] } });
    for (fields, says) in [
        (
            json!({ "with": { "v": "{{ steps.first.result.titel }}" } }),
            "`steps.first.result` has no `titel` (did you mean `title`?): it has title, rows",
        ),
        (
            json!({ "with": { "v": "{{ steps.first.result.rows[0].name }}" } }),
            "`steps.first.result.rows[0]` has no `name`: it has id",
        ),
        (
            json!({ "with": { "v": "{{ steps.first.results }}" } }),
            "`steps.first` has no `results` (did you mean `result`?)",
        ),
        (
            json!({ "with": { "v": "{{ steps.each.result }}" } }),
            "`steps.each` has no `result` (did you mean `results`?)",
        ),
        (
            json!({ "with": { "v": "{{ steps.bad.result }} {{ steps.bad.error }}" } }),
            "`steps.bad` has no `result`: the step failed, and `steps.bad.error` says why",
        ),
        (
            json!({ "with": { "v": "{{ steps['not-now'].result if steps['not-now'].skipped }}" } }),
            "`steps['not-now']` has no `result`: the step was skipped",
        ),
        (
            json!({ "if": "{{ steps.first.result.done }}" }),
            "template in if: `{{ steps.first.result.done }}`: `steps.first.result` has no `done`",
        ),
        (
            json!({ "if": "{{ not (steps.first.result.done or false) }}" }),
            "`{{ steps.first.result.done }}`: `steps.first.result` has no `done`",
        ),
        (
            json!({ "for_each": "{{ steps.first.result.row }}" }),
            "`steps.first.result` has no `row` (did you mean `rows`?)",
        ),
        (
            json!({ "milestone": "{{ steps.last.result.nope }}", "needs": ["first"] }),
            "`steps.last.result` has no `nope`: it is empty",
        ),
    ] {
        let mut last = json!({ "id": "last", "tool": "Echo" });
        last.as_object_mut().expect("a step").extend(fields.as_object().expect("fields").clone());
        let told = said(json!([
            first,
            { "id": "each", "tool": "Echo", "for_each": [1] },
            { "id": "bad", "tool": "Echo", "with": { "fail": "broken" }, "on_error": "continue" },
            { "id": "not-now", "tool": "Echo", "if": false },
            last,
        ]));
        assert!(told.contains(says), "{fields}\n says {told}\n not  {says}");
    }
}

#[test]
fn a_step_that_is_not_there_is_named_with_the_one_that_may_be_meant() {
    let steps = json!([{ "id": "fetch-all", "tool": "Echo" }, { "id": "b", "tool": "Echo", "needs": ["fetch-al"] }]);
    let found = crate::check(&brief(&json!({ "steps": steps })));
    assert_eq!(found[0].detail, "there is no step `fetch-al` (did you mean `fetch-all`?)");
}

#[test]
fn what_a_tool_answered_does_not_make_a_message_long_or_break_its_line() {
    let mut world = Simulated::new(&["Get"], |_, _| {
        let keys = (0..50).map(|number| (format!("{number}\n{}", "k".repeat(200)), json!(1)));
        (1, Ok(Json::Object(keys.collect())))
    });
    let steps =
        json!([{ "id": "a", "tool": "Get" }, { "id": "b", "tool": "Get", "with": { "v": "{{ steps.a.result.x }}" } }]);
    let told = run_in(&mut world, json!({ "steps": steps })).expect_err("it has no x").summary;
    assert!(told.len() < 900 && !told.contains('\n') && told.contains("and 38 more"), "{told}");
}
