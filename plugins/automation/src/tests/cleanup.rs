//! `finally`, `compensate`, and the end of a mission whose limit comes near.

use serde_json::{Value as Json, json};
use sortie_plugin::{CallError, Failure, Outcome};

use super::run::{check, run, run_in};
use super::world::Simulated;

/// A step of the tool `Echo`.
fn echo(id: &str, fields: Json) -> Json {
    let mut step = json!({ "id": id, "tool": "Echo", "with": { "is": id } });
    step.as_object_mut().expect("a step").extend(fields.as_object().expect("fields").clone());
    step
}

/// What undoes a step whose result has an `is`.
fn undo() -> Json {
    json!({ "tool": "Echo", "with": { "undo": "{{ result.is }}" } })
}

fn run_landing(closing_ms: u64, steps: Json) -> (Result<Outcome, Failure>, Vec<String>) {
    let mut world = Simulated::echo();
    world.closing_ms = closing_ms;
    let end = run_in(&mut world, json!({ "steps": steps }));
    (end, world.log)
}

#[test]
fn what_comes_last_comes_when_all_went_well() {
    check(
        json!([
            echo(
                "last",
                json!({ "finally": true, "with": { "failed": "{{ failure is not none }}", "a": "{{ steps.a.result.is }}" } })
            ),
            echo("a", json!({})),
            echo("b", json!({ "needs": ["a"] })),
            echo("very-last", json!({ "finally": true, "needs": ["last"] })),
        ]),
        "done: last, a, b, very-last",
        &[
            "0 Echo {\"is\":\"a\"}",
            "10 Echo {\"is\":\"b\"}",
            "20 Echo {\"failed\":false,\"a\":\"a\"}",
            "30 Echo {\"is\":\"very-last\"}",
        ],
    );
}

#[test]
fn what_comes_last_comes_after_a_failure_and_sees_it() {
    check(
        json!([
            echo("a", json!({})),
            echo("bad", json!({ "needs": ["a"], "with": { "fail": "broken" } })),
            echo("never", json!({ "needs": ["bad"] })),
            echo(
                "last",
                json!({ "finally": true, "with": {
                "step": "{{ failure.step }}", "why": "{{ failure.error }}", "bad": "{{ steps.bad.error }}", "never": "{{ steps.never.skipped }}",
            } })
            ),
            echo("only-if-good", json!({ "finally": true, "if": "{{ failure is none }}" })),
            // It cleans up after steps that did nothing.
            echo("of-never", json!({ "finally": true, "with": { "id": "{{ steps.never.result.is }}" } })),
            echo("of-bad", json!({ "finally": true, "needs": ["bad"] })),
            echo("of-a", json!({ "finally": true, "with": { "id": "{{ steps.a.result.is }}" } })),
        ]),
        "FAILED step `bad` failed: Echo: broken; done: a, last, of-a",
        &[
            "0 Echo {\"is\":\"a\"}",
            "10 Echo {\"fail\":\"broken\"}",
            "20 Echo {\"step\":\"bad\",\"why\":\"Echo: broken\",\"bad\":\"Echo: broken\",\"never\":true}",
            "20 Echo {\"id\":\"a\"}",
        ],
    );
}

#[test]
fn a_failure_at_the_end_keeps_no_other_from_its_turn() {
    let last = |id: &str, fields: Json| {
        let mut step = echo(id, fields);
        step["finally"] = json!(true);
        step
    };
    // By itself it fails the mission, and undoes nothing: the work was done.
    check(
        json!([
            echo("a", json!({ "compensate": undo() })),
            last("bad", json!({ "with": { "fail": "stuck" } })),
            last("waits", json!({ "needs": ["bad"] })),
            last("good", json!({})),
        ]),
        "FAILED step `bad` failed: Echo: stuck; done: a, good",
        &["0 Echo {\"is\":\"a\"}", "10 Echo {\"fail\":\"stuck\"}", "10 Echo {\"is\":\"good\"}"],
    );
    // After a failure it is told beside that.
    check(
        json!([
            echo("first", json!({ "with": { "fail": "broken" } })),
            last("bad", json!({ "with": { "fail": "stuck" } })),
            last("good", json!({})),
        ]),
        "FAILED step `first` failed: Echo: broken; done: good; failed besides: bad (Echo: stuck)",
        &["0 Echo {\"fail\":\"broken\"}", "10 Echo {\"fail\":\"stuck\"}", "10 Echo {\"is\":\"good\"}"],
    );
    check(
        json!([echo("a", json!({})), last("bad", json!({ "with": { "fail": "stuck" }, "on_error": "continue" }))]),
        "done: a; failed, and passed over: bad (Echo: stuck)",
        &[
            "0 Echo {\"is\":\"a\"}",
            "10 Echo {\"fail\":\"stuck\"}",
            "20 warn step `bad` failed, and the mission goes on: Echo: stuck",
        ],
    );
}

#[test]
fn what_was_done_is_undone_in_reverse_order_of_its_completion() {
    check(
        json!([
            echo("hotel", json!({ "with": { "is": "hotel", "ms": 30 }, "compensate": undo() })),
            echo("flight", json!({ "compensate": undo() })),
            echo("car", json!({ "needs": ["hotel", "flight"], "with": { "fail": "none left" }, "compensate": undo() })),
            echo("last", json!({ "finally": true })),
        ]),
        "FAILED step `car` failed: Echo: none left; done: hotel, flight, last; undone: hotel, flight",
        &[
            "0 Echo {\"is\":\"hotel\",\"ms\":30}",
            "0 Echo {\"is\":\"flight\"}",
            "30 Echo {\"fail\":\"none left\"}",
            "40 Echo {\"undo\":\"hotel\"}",
            "50 Echo {\"undo\":\"flight\"}",
            "60 Echo {\"is\":\"last\"}",
        ],
    );
    check(json!([echo("a", json!({ "compensate": undo() }))]), "done: a", &["0 Echo {\"is\":\"a\"}"]);
}

#[test]
fn items_are_undone_one_by_one_and_calls_that_ended_late_too() {
    check(
        json!([echo(
            "each",
            json!({
                "for_each": ["x", "y", "z"],
                "with": { "is": "{{ item }}", "ms": "{{ 50 if item == 'x' else 10 }}", "fail": "{{ 'broken' if item == 'y' else none }}" },
                "compensate": { "tool": "Echo", "with": { "undo": "{{ result.is }} {{ index }}", "why": "{{ failure.step }}" } },
            })
        ),]),
        "FAILED step `each` failed: item 2 of 3: Echo: broken; done in part: each (2 of 3 items); undone: each[0], each[2]",
        &[
            "0 Echo {\"is\":\"x\",\"ms\":50,\"fail\":null}",
            "0 Echo {\"is\":\"y\",\"ms\":10,\"fail\":\"broken\"}",
            "0 Echo {\"is\":\"z\",\"ms\":10,\"fail\":null}",
            "50 Echo {\"undo\":\"x 0\",\"why\":\"each\"}",
            "60 Echo {\"undo\":\"z 2\",\"why\":\"each\"}",
        ],
    );
}

#[test]
fn what_cannot_be_undone_is_told_and_the_rest_is_undone() {
    let fail = json!({ "tool": "Echo", "with": { "fail": "{{ result.is }} is gone" }, "retry": { "attempts": 2, "backoff": "1s" } });
    check(
        json!([
            echo("a", json!({ "compensate": undo() })),
            echo("b", json!({ "needs": ["a"], "compensate": fail })),
            echo(
                "c",
                json!({ "needs": ["b"], "compensate": { "tool": "Echo", "with": { "x": "{{ result.nothing.at_all }}" } } })
            ),
            echo("d", json!({ "needs": ["c"], "compensate": undo() })),
            echo("bad", json!({ "needs": ["d"], "with": { "fail": "broken" } })),
        ]),
        "FAILED step `bad` failed: Echo: broken; done: a, b, c, d; undone: d, a; could not be undone: c (template in \
         compensate/with/x: `{{ result.nothing.at_all }}`: `result` has no `nothing`: it has is), b (Echo (attempt 2): b is gone)",
        &[
            "0 Echo {\"is\":\"a\"}",
            "10 Echo {\"is\":\"b\"}",
            "20 Echo {\"is\":\"c\"}",
            "30 Echo {\"is\":\"d\"}",
            "40 Echo {\"fail\":\"broken\"}",
            "50 Echo {\"undo\":\"d\"}",
            "60 warn step `c` could not be undone: template in compensate/with/x: `{{ result.nothing.at_all }}`: \
             `result` has no `nothing`: it has is",
            "60 Echo {\"fail\":\"b is gone\"}",
            "1070 Echo {\"fail\":\"b is gone\"}",
            "1080 warn step `b` could not be undone: Echo (attempt 2): b is gone",
            "1080 Echo {\"undo\":\"a\"}",
        ],
    );
}

#[test]
fn what_goes_on_after_an_error_undoes_nothing() {
    check(
        json!([
            echo("a", json!({ "compensate": undo() })),
            echo("bad", json!({ "needs": ["a"], "with": { "fail": "broken" }, "on_error": "continue" })),
        ]),
        "done: a; failed, and passed over: bad (Echo: broken)",
        &[
            "0 Echo {\"is\":\"a\"}",
            "10 Echo {\"fail\":\"broken\"}",
            "20 warn step `bad` failed, and the mission goes on: Echo: broken",
        ],
    );
}

#[test]
fn a_step_whose_artifact_failed_was_done_and_is_undone() {
    check(
        json!([echo("a", json!({ "compensate": undo(), "artifact": { "name": "{{ '..' }}", "content": "" } }))]),
        "FAILED step `a` failed: the step's call was made, but its artifact .. could not be stored: no such name; \
         done in part: a; undone: a",
        &["0 Echo {\"is\":\"a\"}", "10 Echo {\"undo\":\"a\"}"],
    );
}

#[test]
fn a_mission_whose_limit_comes_near_is_brought_to_its_end() {
    let (end, log) = run_landing(
        1_000,
        json!([
            echo("a", json!({ "compensate": undo() })),
            echo("slow", json!({ "with": { "ms": 90_000 } })),
            { "id": "rest", "sleep": "1d", "needs": ["a"] },
            echo("never", json!({ "needs": ["rest"] })),
            echo("last", json!({ "finally": true, "with": { "why": "{{ failure.error }}", "step": "{{ failure.step }}", "slow": "{{ steps.slow.error }}" } })),
        ]),
    );
    let failure = end.expect_err("it did not come to its end");
    assert_eq!(failure.summary, "a limit of the mission came near before it was done; done: a, last; undone: a");
    assert!(failure.next_action.is_some_and(|advice| advice.contains("dispatch it again")));
    assert_eq!(
        log,
        [
            "0 Echo {\"is\":\"a\"}",
            "0 Echo {\"ms\":90000}",
            "1000 land",
            "1000 Echo {\"undo\":\"a\"}",
            "1010 Echo {\"why\":\"a limit of the mission came near before it was done\",\"step\":null,\
             \"slow\":\"its call was cancelled, because the mission had to come to its end\"}",
        ]
    );
}

#[test]
fn what_came_just_before_the_end_is_known_and_undone() {
    // The call is over at the moment of the signal, and the signal is told first.
    let (end, log) =
        run_landing(10, json!([echo("a", json!({ "compensate": undo() })), echo("b", json!({ "needs": ["a"] }))]));
    assert!(end.expect_err("it lands").summary.ends_with("done: a; undone: a"));
    assert_eq!(log, ["0 Echo {\"is\":\"a\"}", "10 land", "10 Echo {\"undo\":\"a\"}"]);
}

#[test]
fn a_mission_that_cleans_up_already_lands_and_goes_on_with_it() {
    let (end, log) = run_landing(
        15,
        json!([
            echo("a", json!({})),
            echo("last", json!({ "finally": true })),
            echo("then", json!({ "finally": true, "needs": ["last"] }))
        ]),
    );
    assert_eq!(end.expect("all was done").summary, "done: a, last, then");
    assert_eq!(log[1..], ["10 Echo {\"is\":\"last\"}", "15 land", "20 Echo {\"is\":\"then\"}"]);
}

#[test]
fn a_mission_that_has_nothing_to_clean_up_does_not_ask_when_its_end_comes_near() {
    let (end, log) = run_landing(5, json!([echo("a", json!({})), echo("b", json!({ "needs": ["a"] }))]));
    assert_eq!((end.expect("it goes on").summary.as_str(), log.len()), ("done: a, b", 2));
}

#[test]
fn what_was_kept_is_taken_where_the_budget_is_spent() {
    let mut world = Simulated::new(&["Echo"], |_, arguments| {
        let spent = CallError::BudgetExhausted("no calls left".into());
        (10, if arguments["is"] == "b" { Err(spent) } else { Ok(arguments.clone()) })
    });
    let steps =
        json!([echo("a", json!({})), echo("b", json!({ "needs": ["a"] })), echo("last", json!({ "finally": true }))]);
    run_in(&mut world, json!({ "steps": steps })).expect_err("the budget is spent");
    assert_eq!(world.log[1..], ["10 Echo {\"is\":\"b\"}", "20 land", "20 Echo {\"is\":\"last\"}"]);
}

#[test]
fn what_could_not_be_undone_for_want_of_a_tool_is_not_begun() {
    let undo = json!({ "tool": "Write", "with": {} });
    for steps in [
        json!([
            echo("a", json!({})),
            echo("b", json!({ "needs": ["a"], "if": "{{ steps.a.result.is == 'a' }}", "compensate": undo }))
        ]),
        json!([{ "id": "each", "for_each": [1], "steps": [echo("b", json!({ "compensate": undo }))] }]),
    ] {
        let (end, log) = run(steps);
        let failure = end.expect_err("it does not hold Write");
        let says =
            "step `b` needs the tool Write to undo what it does, which the mission was not granted; nothing was done";
        assert_eq!((failure.summary.as_str(), failure.tool.as_deref(), log.len()), (says, Some("Write"), 0));
    }
    for needs in [json!([]), json!(["a"])] {
        let last = json!({ "id": "last", "tool": "Write", "finally": true, "needs": needs });
        let (end, log) = run(json!([echo("a", json!({})), last]));
        let failure = end.expect_err("it does not hold Write");
        assert!(failure.summary.contains("`last` needs the tool Write") && log.is_empty(), "{failure:?}");
    }
}

#[test]
fn a_signal_leaves_room_among_the_calls_that_a_node_keeps() {
    let mut world = Simulated::echo();
    let step = json!({ "id": "each", "tool": "Echo", "for_each": "{{ range(100) }}", "timeout": "1s" });
    let last = echo("last", json!({ "finally": true }));
    run_in(&mut world, json!({ "steps": [step, last] })).expect("it completes");
    assert_eq!(world.in_flight_max, 31);
}
