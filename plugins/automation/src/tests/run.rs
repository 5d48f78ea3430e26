//! What a plan does, step by step.

use serde_json::{Value as Json, json};
use sortie_plugin::{CallError, Failure, Outcome};

use super::brief;
use super::world::Simulated;

pub(super) fn run_in(world: &mut Simulated, inputs: Json) -> Result<Outcome, Failure> {
    let brief = brief(&inputs);
    assert_eq!(crate::check(&brief), [], "{inputs:#}");
    crate::run(&brief, world)
}

/// Runs `steps` with the tool `Echo`: the end, and what was done.
pub(super) fn run(steps: Json) -> (Result<Outcome, Failure>, Vec<String>) {
    let mut world = Simulated::echo();
    let end = run_in(&mut world, json!({ "week": "W47", "list": [1, 2, 3], "steps": steps }));
    (end, world.log)
}

#[track_caller]
pub(super) fn check(steps: Json, summary: &str, log: &[&str]) {
    let (end, did) = run(steps);
    let said = end.map_or_else(|failure| format!("FAILED {}", failure.summary), |outcome| outcome.summary);
    assert_eq!(said, summary);
    assert_eq!(did, log);
}

#[test]
fn steps_without_mutual_needs_start_together_and_the_rest_waits() {
    check(
        json!([
            { "id": "last", "tool": "Echo", "needs": ["a"], "with": { "b": "{{ steps.b.result.n + 1 }}" } },
            { "id": "a", "tool": "Echo", "with": { "ms": 30 } },
            { "id": "b", "tool": "Echo", "with": { "n": 1 } },
        ]),
        "done: last, a, b",
        &["0 Echo {\"ms\":30}", "0 Echo {\"n\":1}", "30 Echo {\"b\":2}"],
    );
}

#[test]
fn a_step_whose_call_people_changed_says_so() {
    check(
        json!([
            { "id": "a", "tool": "Echo", "with": { "amended": { "n": 2 } } },
            { "id": "b", "tool": "Echo", "with": { "n": 3 } },
            { "id": "each", "tool": "Echo", "for_each": [1, 2], "with": { "amended": { "n": "{{ item }}" } } },
            { "id": "last", "tool": "Echo", "needs": ["a", "b", "each"], "with": {
                "a": "{{ steps.a.amended }}", "result": "{{ steps.a.result }}", "b": "{{ steps.b.amended is none }}",
                "each": "{{ steps.each.amended }}",
            } },
        ]),
        "done: a, b, each (2 items), last",
        &[
            "0 Echo {\"amended\":{\"n\":2}}",
            "0 Echo {\"n\":3}",
            "0 Echo {\"amended\":{\"n\":1}}",
            "0 Echo {\"amended\":{\"n\":2}}",
            "10 warn step `a`: whoever approved its call changed the arguments to {\"n\":2}",
            "10 warn step `each`: whoever approved its call changed the arguments to {\"n\":1}",
            "10 warn step `each`: whoever approved its call changed the arguments to {\"n\":2}",
            "10 Echo {\"a\":{\"n\":2},\"result\":{\"n\":2},\"b\":true,\"each\":[{\"n\":1},{\"n\":2}]}",
        ],
    );
}

#[test]
fn what_people_changed_in_an_earlier_attempt_is_not_said_of_a_later_one() {
    check(
        json!([
            { "id": "a", "tool": "Echo", "with": { "amended_first": { "fail": "not yet" } }, "retry": { "attempts": 2, "backoff": "1s" } },
            { "id": "last", "tool": "Echo", "needs": ["a"], "with": { "none": "{{ steps.a.amended is none }}" } },
        ]),
        "done: a, last",
        &[
            "0 Echo {\"amended_first\":{\"fail\":\"not yet\"}}",
            "10 warn step `a`: whoever approved its call changed the arguments to {\"fail\":\"not yet\"}",
            "1010 Echo {\"amended_first\":{\"fail\":\"not yet\"}}",
            "1020 Echo {\"none\":true}",
        ],
    );
}

#[test]
fn a_whole_string_template_keeps_its_type_and_any_other_is_text() {
    check(
        json!([{ "id": "a", "tool": "echo", "with": {
            "list": "{{ inputs.list }}", "text": "{{ inputs.list }}!", "sum": "{{ inputs.list | sum }}", "none": "{{ none }}",
            "yes": "{{ 1 < 2 }}", "braces": "{{ '}}' }}", "id": "{{ mission.mission_id }}", "why": "{{ objective }}", "line": "{{ 1 }}\n",
        } }]),
        "done: a",
        &["0 echo {\"list\":[1,2,3],\"text\":\"[1,2,3]!\",\"sum\":6,\"none\":null,\"yes\":true,\"braces\":\"}}\",\
           \"id\":\"m-1\",\"why\":\"Test the interpreter.\",\"line\":\"1\\n\"}"],
    );
}

/// What a template makes of a value that is nothing but JSON, between two brackets that make it a text.
#[track_caller]
fn check_text(template: &str, text: &str) {
    let mut world = Simulated::echo();
    let inputs = json!({
        "flags": [true, null, { "it's": [1, 2.5, "a<b"] }], "yes": true, "none": null, "ids": [9_007_199_254_740_993_u64, u64::MAX, i64::MIN],
        "rows": [{ "on": true }, { "on": "it" }],
        "steps": [{ "id": "a", "tool": "Echo", "with": { "text": format!("<{template}>") } }],
    });
    run_in(&mut world, inputs).expect("it completes");
    assert_eq!(world.log, [format!("0 Echo {}", json!({ "text": format!("<{text}>") }))], "{template}");
}

#[test]
fn within_a_text_all_that_is_no_string_is_json() {
    check_text("{{ inputs.flags }}", r#"[true,null,{"it's":[1,2.5,"a<b"]}]"#);
    check_text(
        "{{ inputs.yes }} {{ inputs.none }} {{ 1 > 2 }} {{ inputs.flags[2][\"it's\"][2] }}",
        "true null false a<b",
    );
    check_text("{{ {'a': none, 'b': [false]} }}", r#"{"a":null,"b":[false]}"#);
    check_text("{{ inputs.rows | map(attribute='on') }}", r#"[true,"it"]"#);
    check_text("{{ inputs.flags | string | length }} {{ inputs.yes | string }} {{ 'it' | string }}", "34 true it");
    check_text("{{ inputs.flags | join('; ') }}", r#"true; null; {"it's":[1,2.5,"a<b"]}"#);
    check_text("{{ inputs.rows | join(', ', attribute='on') }} {{ 'abc' | join('-') }}", "true, it a-b-c");
    check_text("{{ 'x' if inputs.none }}{{ 2.0 }} {{ 'text' }}", "2.0 text");
    check_text("{% for on in inputs.rows %}{{ on }}{% endfor %}", r#"{"on":true}{"on":"it"}"#);
}

#[test]
fn whole_numbers_are_exact() {
    check_text("{{ inputs.ids }}", "[9007199254740993,18446744073709551615,-9223372036854775808]");
    check_text("{{ inputs.ids[1] + 1 }}", "18446744073709551616");
    check(
        json!([{ "id": "a", "tool": "Echo", "with": { "n": "{{ 9007199254740993 }}", "max": "{{ 18446744073709551614 + 1 }}" } }]),
        "done: a",
        &["0 Echo {\"n\":9007199254740993,\"max\":18446744073709551615}"],
    );
    check(
        json!([{ "id": "b", "tool": "Echo" }, { "id": "a", "tool": "Echo", "needs": ["b"], "with": { "n": "{{ 18446744073709551615 + 1 }}" } }]),
        "done: b, a",
        &["0 Echo {}", "10 Echo {\"n\":18446744073709551616}"],
    );
}

#[test]
fn joining_costs_what_it_makes() {
    let (end, log) = run(
        json!([{ "id": "a", "tool": "Echo", "if": "{{ true }}", "with": { "x": "<{{ range(99999) | join('x' * 9999) }}>" } }]),
    );
    let failure = end.expect_err("it is too much work");
    assert_eq!((failure.summary.contains("fuel"), log.len()), (true, 0), "{failure:?}");
}

#[test]
fn results_are_data_and_never_templates() {
    let mut world = Simulated::new(&["Read"], |_, arguments| {
        (1, Ok(json!({ "content": "{{ inputs.secret }}", "got": arguments })))
    });
    let inputs = json!({ "secret": "s3cret", "quoted": "{{ inputs.secret }}", "steps": [
        { "id": "a", "tool": "Read", "with": { "path": "{{ inputs.quoted }}" } },
        { "id": "b", "tool": "Read", "with": { "path": "{{ steps.a.result.content }} {{ inputs.quoted }}" } },
    ] });
    run_in(&mut world, inputs).expect("it completes");
    assert!(!world.log.join("\n").contains("s3cret"), "{:#?}", world.log);
}

#[test]
fn for_each_is_bounded_by_its_concurrency_and_keeps_its_order() {
    let steps = json!([
        { "id": "each", "tool": "Echo", "for_each": "{{ inputs.list }}", "concurrency": 2,
          "with": { "n": "{{ item }}", "i": "{{ index }}", "ms": "{{ 40 - 10 * item }}" } },
        { "id": "sum", "tool": "Echo", "with": { "got": "{{ steps.each.results | map(attribute='n') | list }}" } },
    ]);
    check(
        steps,
        "done: each (3 items), sum",
        &[
            "0 Echo {\"n\":1,\"i\":0,\"ms\":30}",
            "0 Echo {\"n\":2,\"i\":1,\"ms\":20}",
            "20 Echo {\"n\":3,\"i\":2,\"ms\":10}",
            "30 Echo {\"got\":[1,2,3]}",
        ],
    );
}

#[test]
fn a_node_never_gets_more_calls_at_once_than_it_keeps() {
    let mut world = Simulated::echo();
    let step = json!({ "id": "each", "tool": "Echo", "for_each": "{{ range(500) }}", "timeout": "1s" });
    let end = run_in(&mut world, json!({ "steps": [step] })).expect("it completes");
    assert_eq!((world.in_flight_max, end.summary.as_str()), (32, "done: each (500 items)"));
}

#[test]
fn for_each_over_nothing_is_done_and_over_no_list_is_a_failure() {
    check(
        json!([{ "id": "a", "tool": "Echo", "for_each": [], "milestone": "all {{ steps.a.results | length }}" }]),
        "done: a (0 items)",
        &["0 milestone all 0"],
    );
    check(
        json!([{ "id": "a", "tool": "Echo" }, { "id": "b", "needs": ["a"], "tool": "Echo", "for_each": "{{ inputs.week }}" }]),
        "FAILED step `b` failed: for_each must be a list, and it is string; done: a",
        &["0 Echo {}"],
    );
}

#[test]
fn a_call_that_failed_is_tried_again_after_a_growing_rest() {
    let mut left = 3;
    let mut world = Simulated::new(&["Read"], move |_, _| {
        left -= 1;
        (5, if left == 0 { Ok(json!("here")) } else { Err(CallError::Failed("not yet".into())) })
    });
    let retry = json!({ "attempts": 3, "backoff": "1s", "factor": 2 });
    let inputs =
        json!({ "steps": [{ "id": "a", "tool": "Read", "retry": retry, "milestone": "got {{ steps.a.result }}" }] });
    assert_eq!(run_in(&mut world, inputs).expect("the third works").summary, "done: a");
    assert_eq!(world.log, ["0 Read {}", "1005 Read {}", "3010 Read {}", "3015 milestone got here"]);
}

#[test]
fn a_refusal_is_not_tried_again() {
    for error in
        [CallError::Denied("no".into()), CallError::InvalidArguments("no".into()), CallError::Uncertain("no".into())]
    {
        let refusal = error.clone();
        let mut world = Simulated::new(&["Read"], move |_, _| (0, Err(refusal.clone())));
        let inputs = json!({ "steps": [{ "id": "a", "tool": "Read", "retry": { "attempts": 9 } }] });
        let failure = run_in(&mut world, inputs).expect_err("it is refused");
        assert_eq!(
            (failure.tool.as_deref(), failure.next_action.is_some(), world.log.len()),
            (Some("Read"), true, 1),
            "{error:?}"
        );
    }
}

#[test]
fn a_timeout_is_one_of_an_attempt() {
    let (end, log) = run(
        json!([{ "id": "a", "tool": "Echo", "with": { "ms": 90_000 }, "timeout": "30s", "retry": { "attempts": 2 } }]),
    );
    let failure = end.expect_err("it is too slow");
    assert_eq!(failure.summary, "step `a` failed: Echo (attempt 2): no result within 30s; no step was done");
    assert_eq!(
        (failure.tool.as_deref(), log),
        (Some("Echo"), vec!["0 Echo {\"ms\":90000}".into(), "31000 Echo {\"ms\":90000}".into()])
    );
}

#[test]
fn what_needs_a_skipped_step_is_skipped_unless_it_asks() {
    check(
        json!([
            { "id": "a", "tool": "Echo", "if": "{{ inputs.week == 'W48' }}" },
            { "id": "b", "tool": "Echo", "needs": ["a"] },
            { "id": "c", "tool": "Echo", "with": { "from": "{{ steps.b.result }}" } },
            { "id": "d", "tool": "Echo", "with": { "skipped": "{{ steps.a.skipped }}", "b": "{{ steps.b['skipped'] }}" } },
            { "id": "e", "tool": "Echo", "if": false },
        ]),
        "done: d; skipped: a, b, c, e",
        &["0 Echo {\"skipped\":true,\"b\":true}"],
    );
}

#[test]
fn only_true_is_a_yes_and_only_false_a_no() {
    for (answer, what) in [
        (json!("no"), "a text"),
        (json!("false"), "a text"),
        (json!(""), "a text"),
        (json!(1), "a number"),
        (json!(0), "a number"),
        (json!(null), "null"),
        (json!([false]), "a list"),
        (json!({ "ok": true }), "an object"),
    ] {
        let given = |fields: Json| {
            let mut step = json!({ "id": "send", "tool": "Echo", "needs": ["ask"], "with": { "sent": true } });
            step.as_object_mut().expect("a step").extend(fields.as_object().expect("fields").clone());
            run(json!([{ "id": "ask", "tool": "Echo", "with": { "answer": answer } }, step]))
        };
        let (end, log) = given(json!({ "if": "{{ steps.ask.result.answer }}" }));
        let says =
            format!("`steps.ask.result.answer` must be true or false, and it is {what}; compare it with something");
        assert_eq!(
            end.expect_err("no answer").summary,
            format!("step `send` failed: template in if: {says}; done: ask")
        );
        assert_eq!(log.len(), 1, "nothing was sent: {log:?}");
        let met = json!({ "text": "nothing failed", "met": "{{ steps.ask.result.answer and true }}" });
        let (end, log) = given(json!({ "criterion": met }));
        assert!(end.expect_err("no answer").summary.contains(&says), "{answer}");
        assert!(!log.iter().any(|line| line.contains("judge")), "nothing was judged: {log:?}");
    }
    for (answer, summary) in [(true, "done: ask, send"), (false, "done: ask; skipped: send")] {
        let (end, _) = run(json!([
            { "id": "ask", "tool": "Echo", "with": { "answer": answer } },
            { "id": "send", "tool": "Echo", "if": "{{ steps.ask.result.answer }}" },
        ]));
        assert_eq!(end.expect("an answer").summary, summary);
    }
}

#[test]
fn if_with_an_item_is_answered_for_each() {
    check(
        json!([
            { "id": "each", "tool": "Echo", "for_each": "{{ inputs.list }}", "if": "{{ item > 1 and index != 2 }}",
              "with": { "n": "{{ item }}" }, "artifact": { "name": "{{ index }}", "content": "{{ item }}" } },
            { "id": "all", "tool": "Echo", "with": { "got": "{{ steps.each.results }}", "skipped": "{{ steps.each.skipped }}" } },
            { "id": "none", "tool": "Echo", "needs": ["all"], "for_each": [1, 2], "if": "{{ item > 2 }}" },
            { "id": "last", "tool": "Echo", "needs": ["none"] },
        ]),
        "done: each (1 item, 2 passed over), all, none (0 items, 2 passed over), last",
        &[
            "0 Echo {\"n\":2}",
            "10 put 1 application/octet-stream 2\n",
            "10 Echo {\"got\":[null,{\"n\":2},null],\"skipped\":false}",
            "20 Echo {}",
        ],
    );
    check(
        json!([{ "id": "each", "tool": "Echo", "for_each": "{{ [1, 'no'] }}", "concurrency": 1, "if": "{{ item if index == 1 else true }}", "with": { "n": "{{ item }}" } }]),
        "FAILED step `each` failed: item 2 of 2: template in if: `item` must be true or false, and it is a text; \
         compare it with something; done in part: each (1 of 2 items)",
        &["0 Echo {\"n\":1}"],
    );
}

#[test]
fn errors_of_a_for_each_are_in_step_with_its_items() {
    let (end, log) = run(json!([
        { "id": "each", "tool": "Echo", "on_error": "continue", "for_each": ["x", "y", "z", "u"], "if": "{{ item != 'u' }}",
          "with": { "fail": "{{ none if item == 'y' else item }}" } },
        { "id": "next", "tool": "Echo", "with": { "errors": "{{ steps.each.errors }}", "first": "{{ steps.each.error }}" } },
        { "id": "all", "tool": "Echo", "needs": ["next"], "on_error": "continue", "for_each": ["x", "y"], "with": { "fail": "{{ item }}" } },
        { "id": "last", "tool": "Echo", "with": { "errors": "{{ steps.all.errors }}" } },
    ]));
    end.expect("it goes on");
    let next = json!({ "errors": ["Echo: x", null, "Echo: z", null], "first": "item 1 of 4: Echo: x" });
    assert!(log.contains(&format!("10 Echo {next}")), "{log:#?}");
    let last = json!({ "errors": ["Echo: x", "Echo: y"] });
    assert!(log.contains(&format!("30 Echo {last}")), "{log:#?}");
}

/// Numbers that are not random to anybody who knows this line: splitmix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[test]
fn every_double_is_what_was_sent_as_value_as_text_and_to_itself() {
    let mut state = 14;
    let random = (0..300).map(|_| f64::from_bits(next(&mut state))).filter(|double| double.is_finite());
    let doubles: Vec<f64> =
        [123456789.12345679, 113.80548928321133, 26.289338499858218].into_iter().chain(random).collect();
    for double in doubles {
        // The literal of templates has no sign.
        let double = double.abs();
        let mut world = Simulated::echo();
        let text = format!(
            r#"{{"v": [{double:e}, -{double:e}], "steps": [{{"id": "a", "tool": "Echo", "with": {{
                "v": "{{{{ inputs.v }}}}", "text": "<{{{{ inputs.v | tojson }}}}>", "same": "{{{{ inputs.v[0] == {double:e} }}}}"}}}}]}}"#
        );
        let brief = sortie_plugin::Brief { inputs_text: text, ..brief(&json!({})) };
        crate::run(&brief, &mut world).expect("it completes");
        let sent: Json = serde_json::from_str(world.log[0].trim_start_matches("0 Echo ")).expect("JSON");
        let both: [f64; 2] =
            serde_json::from_str(sent["text"].as_str().expect("a text").trim_matches(['<', '>'])).expect("doubles");
        for (found, expected) in
            [(sent["v"][0].as_f64(), double), (sent["v"][1].as_f64(), -double), (Some(both[0]), double)]
        {
            assert_eq!(found.map(f64::to_bits), Some(expected.to_bits()), "{expected:e}: {sent}");
        }
        assert_eq!(sent["same"], true, "{double:e} is not what it is");
    }
}

#[test]
fn a_failure_ends_the_mission_and_what_is_on_its_way_may_end() {
    check(
        json!([
            { "id": "slow", "tool": "Echo", "with": { "ms": 50 }, "milestone": "slow is done" },
            { "id": "bad", "tool": "Echo", "with": { "fail": "no such file" } },
            { "id": "never", "tool": "Echo", "needs": ["slow"] },
            { "id": "rests", "tool": "Echo", "with": { "fail": "again", "ms": 1 }, "retry": { "attempts": 5, "backoff": "1h" } },
        ]),
        "FAILED step `bad` failed: Echo: no such file; done: slow",
        &[
            "0 Echo {\"ms\":50}",
            "0 Echo {\"fail\":\"no such file\"}",
            "0 Echo {\"fail\":\"again\",\"ms\":1}",
            "50 milestone slow is done",
        ],
    );
}

#[test]
fn on_error_continue_goes_on_with_the_error() {
    let (end, log) = run(json!([
        { "id": "bad", "tool": "Echo", "with": { "fail": "no such file" }, "on_error": "continue", "milestone": "never" },
        { "id": "next", "tool": "Echo", "with": { "why": "{{ steps.bad.error }}", "what": "{{ steps.bad.result | default('nothing') }}" } },
        { "id": "each", "tool": "Echo", "on_error": "continue", "for_each": ["x", "y"], "artifact": "{{ item }}.json",
          "with": { "{% if %}": "{{ item }}", "fail": "{{ 'broken' if item == 'x' else none }}" } },
    ]));
    let outcome = end.expect("it goes on");
    assert_eq!(
        outcome.summary,
        "done: next, each (1 of 2 items); failed, and passed over: bad (Echo: no such file), each"
    );
    assert_eq!(outcome.next_action.as_deref(), Some("see why step `bad` failed: Echo: no such file"));
    assert!(log.contains(&"10 Echo {\"why\":\"Echo: no such file\",\"what\":\"nothing\"}".to_owned()), "{log:#?}");
    let put: Vec<_> = log.iter().filter(|line| line.contains("put")).collect();
    assert_eq!(put, ["10 put y.json application/json {\n  \"{% if %}\": \"y\",\n  \"fail\": null\n}\n"]);
}

#[test]
fn artifacts_hold_what_they_say() {
    check(
        json!([
            { "id": "wrote", "tool": "Echo", "with": { "path": "out/report.md", "bytes": 9 }, "artifact": "report.md" },
            { "id": "read", "tool": "Echo", "with": { "content": "text", "bytes": 4 }, "artifact": "copy.txt" },
            { "id": "found", "tool": "Echo", "with": { "matches": [] }, "artifact": { "name": "found-{{ inputs.week }}.json" } },
            { "id": "file", "tool": "Echo", "artifact": { "name": "x.bin", "path": "out/{{ inputs.week }}.bin", "media_type": "x/y" } },
            { "id": "this", "tool": "Echo", "artifact": { "name": "week.txt", "content": "{{ inputs.week }}\n" } },
        ]),
        "done: wrote, read, found, file, this",
        &[
            "0 Echo {\"path\":\"out/report.md\",\"bytes\":9}",
            "0 Echo {\"content\":\"text\",\"bytes\":4}",
            "0 Echo {\"matches\":[]}",
            "0 Echo {}",
            "0 Echo {}",
            "10 put_file report.md text/markdown; charset=utf-8 out/report.md",
            "10 put copy.txt text/plain; charset=utf-8 text",
            "10 put found-W47.json application/json {\n  \"matches\": []\n}\n",
            "10 put_file x.bin x/y out/W47.bin",
            "10 put week.txt text/plain; charset=utf-8 W47\n",
        ],
    );
}

#[test]
fn an_artifact_that_cannot_be_stored_fails_its_step() {
    check(
        json!([{ "id": "a", "tool": "Echo", "artifact": { "name": "{{ '../x' }}", "content": "" } }]),
        "FAILED step `a` failed: the step's call was made, but its artifact ../x could not be stored: no such name; done in part: a",
        &["0 Echo {}"],
    );
}

#[test]
fn a_failure_after_calls_does_not_call_them_undone() {
    check(
        json!([
            { "id": "a", "tool": "Echo", "with": { "ms": 5 } },
            { "id": "b", "tool": "Echo", "milestone": "{{ steps.b.result.title.name }}" },
        ]),
        "FAILED step `b` failed: the step's call was made, but template in milestone: `{{ steps.b.result.title.name }}`: \
         `steps.b.result` has no `title`: it is empty; done: a; done in part: b",
        &["0 Echo {\"ms\":5}", "0 Echo {}"],
    );
    check(
        json!([{ "id": "each", "tool": "Echo", "for_each": [1, 2], "artifact": { "name": "{{ '..' }}{{ item }}", "content": "" } }]),
        "FAILED step `each` failed: the step's 2 calls were made, but its artifact ..1 could not be stored: no such name; \
         done in part: each (2 items)",
        &["0 Echo {}", "0 Echo {}"],
    );
    check(
        json!([{ "id": "each", "tool": "Echo", "for_each": [1, 2, 3], "concurrency": 1, "with": { "fail": "{{ 'broken' if item == 2 else none }}" } }]),
        "FAILED step `each` failed: item 2 of 3: Echo: broken; done in part: each (1 of 3 items)",
        &["0 Echo {\"fail\":null}", "10 Echo {\"fail\":\"broken\"}"],
    );
    check(
        json!([{ "id": "none", "tool": "Echo", "for_each": [], "artifact": { "name": "{{ '..' }}", "content": "" } }]),
        "FAILED step `none` failed: its artifact .. could not be stored: no such name; no step was done",
        &[],
    );
    let (end, log) = run(json!([
        { "id": "a", "tool": "Echo", "artifact": { "name": "{{ '..' }}", "content": "" }, "on_error": "continue" },
    ]));
    let why = "the step's call was made, but its artifact .. could not be stored: no such name";
    let outcome = end.expect("it goes on");
    assert_eq!(outcome.summary, format!("done in part: a; failed, and passed over: a ({why})"));
    assert_eq!(outcome.next_action, Some(format!("see why step `a` failed: {why}")));
    assert_eq!(log[1], format!("10 warn step `a` failed, and the mission goes on: {why}"));
    check(
        json!([{ "id": "a", "tool": "Echo", "with": { "fail": "broken" }, "on_error": "continue" }]),
        "no step was done; failed, and passed over: a (Echo: broken)",
        &["0 Echo {\"fail\":\"broken\"}", "10 warn step `a` failed, and the mission goes on: Echo: broken"],
    );
    check(json!([{ "id": "a", "tool": "Echo", "if": false }]), "nothing was to be done; skipped: a", &[]);
}

#[test]
fn criteria_are_judged_with_evidence() {
    check(
        json!([
            { "id": "a", "tool": "Echo", "criterion": { "text": "nothing failed", "met": "{{ steps.a.result.n == 2 }}" }, "with": { "n": 1 } },
            { "id": "b", "tool": "Echo", "if": false, "criterion": { "text": "the report names the week", "met": true } },
        ]),
        "done: a; skipped: b",
        &["0 Echo {\"n\":1}", "10 judge 1 false step `a`: {{ steps.a.result.n == 2 }} is false"],
    );
}

#[test]
fn a_template_that_fails_says_where() {
    check(
        json!([{ "id": "a", "tool": "Echo" }, { "id": "b", "tool": "Echo", "with": { "x": ["{{ steps.a.result.title.name }}"] } }]),
        "FAILED step `b` failed: template in with/x/0: `{{ steps.a.result.title.name }}`: `steps.a.result` has no `title`: it is empty; done: a",
        &["0 Echo {}"],
    );
}

#[test]
fn a_template_cannot_spin() {
    let spin = "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}";
    let (end, log) = run(json!([{ "id": "a", "tool": "Echo", "with": { "x": spin } }]));
    let failure = end.expect_err("it is too much work");
    assert_eq!((failure.summary.contains("fuel"), log.len()), (true, 0), "{failure:?}");
}
