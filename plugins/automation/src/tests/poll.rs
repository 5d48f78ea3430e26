//! `until` and `sleep`.

use serde_json::{Value as Json, json};
use sortie_plugin::CallError;

use super::run::{check, run, run_in};
use super::world::Simulated;

/// A world whose tool `Get` says in turn what `answers` says, each after 5 ms; a text that begins with `!` is a failure.
fn telling(answers: &'static [&'static str]) -> Simulated {
    let mut told = answers.iter();
    Simulated::new(&["Get"], move |_, _| {
        let answer = *told.next().expect("an answer");
        (
            5,
            match answer.strip_prefix('!') {
                Some(why) => Err(CallError::Failed(why.into())),
                None => Ok(json!({ "status": answer })),
            },
        )
    })
}

fn polling(until: &str) -> Json {
    let retry = json!({ "attempts": 4, "backoff": "1s", "factor": 2 });
    json!({ "steps": [
        { "id": "job", "tool": "Get", "until": until, "retry": retry, "milestone": "it is {{ steps.job.result.status }}" },
    ] })
}

#[test]
fn a_result_that_is_not_there_yet_is_asked_for_again() {
    for until in ["{{ result.status == 'done' }}", "{{ steps.job.result.status == 'done' and not steps.job.skipped }}"]
    {
        let mut world = telling(&["queued", "running", "done"]);
        assert_eq!(run_in(&mut world, polling(until)).expect("it gets there").summary, "done: job");
        assert_eq!(world.log, ["0 Get {}", "1005 Get {}", "3010 Get {}", "3015 milestone it is done"]);
    }
}

#[test]
fn a_call_that_fails_is_one_of_the_attempts() {
    let mut world = telling(&["queued", "!no route", "done"]);
    assert_eq!(
        run_in(&mut world, polling("{{ result.status == 'done' }}")).expect("it gets there").summary,
        "done: job"
    );
    assert_eq!(world.log.len(), 4);
}

#[test]
fn what_never_comes_fails_its_step_and_says_what_was_waited_for() {
    let mut world = telling(&["a", "b", "c", "d"]);
    let failure = run_in(&mut world, polling("{{ result.status == 'done' }}")).expect_err("never");
    let says =
        "step `job` failed: it was tried 4 times, and until {{ result.status == 'done' }} is false; no step was done";
    assert_eq!((failure.summary.as_str(), failure.tool, world.log.len()), (says, None, 4));
}

#[test]
fn a_question_without_an_answer_is_not_asked_again() {
    let mut world = telling(&["queued"]);
    let failure = run_in(&mut world, polling("{{ result.status }}")).expect_err("a text is no answer");
    assert!(failure.summary.contains("template in until: `result.status` must be true or false"), "{failure:?}");
    let mut world = telling(&["queued"]);
    let failure = run_in(&mut world, polling("{{ result.nothing.at_all }}")).expect_err("there is no such thing");
    assert!(
        failure
            .summary
            .contains("template in until: `{{ result.nothing.at_all }}`: `result` has no `nothing`: it has status"),
        "{failure:?}"
    );
}

#[test]
fn each_item_is_polled_for_itself() {
    let (end, log) = run(json!([
        { "id": "each", "tool": "Echo", "for_each": [1, 2], "with": { "n": "{{ item }}" }, "on_error": "continue",
          "retry": { "attempts": 2, "backoff": "1s" }, "until": "{{ item == 1 and result.n == item and steps.each.result.n == 1 }}" },
        { "id": "after", "tool": "Echo", "with": { "got": "{{ steps.each.results }}", "why": "{{ steps.each.errors[1] }}" } },
    ]));
    let summary = end.expect("it goes on").summary;
    let why = "item 2 of 2: it was tried 2 times, and until {{ item == 1 and result.n == item";
    assert!(
        summary.starts_with(&format!("done: each (1 of 2 items), after; failed, and passed over: each ({why}")),
        "{summary}"
    );
    let after =
        "Echo {\"got\":[{\"n\":1},null],\"why\":\"it was tried 2 times, and until {{ item == 1 and result.n == item";
    assert!(log.last().expect("a call").contains(after), "{log:#?}");
}

#[test]
fn a_sleep_is_a_step_among_the_others() {
    check(
        json!([
            { "id": "a", "tool": "Echo" },
            { "id": "rest", "sleep": "2m", "needs": ["a"], "milestone": "rested" },
            { "id": "also", "sleep": "{{ inputs.list | length }}s" },
            { "id": "b", "tool": "Echo", "needs": ["rest"], "with": { "gives": "{{ steps.rest.result }}" } },
            { "id": "never", "sleep": "1d", "if": false },
        ]),
        "done: a, rest, also, b; skipped: never",
        &["0 Echo {}", "120010 milestone rested", "120010 Echo {\"gives\":null}"],
    );
    check(
        json!([{ "id": "each", "for_each": ["1s", "3s"], "concurrency": 1, "sleep": "{{ item }}", "milestone": "{{ item }}" }]),
        "done: each (2 items)",
        &["4000 milestone 1s", "4000 milestone 3s"],
    );
}

#[test]
fn a_sleep_that_is_no_duration_fails_its_step() {
    let (end, _) = run(
        json!([{ "id": "a", "tool": "Echo", "with": { "n": 3 } }, { "id": "b", "sleep": "{{ steps.a.result.n }}" }]),
    );
    let failure = end.expect_err("a number is no duration");
    assert!(failure.summary.starts_with("step `b` failed: sleep is 3: it must be a duration such as"), "{failure:?}");
}

#[test]
fn nobody_sleeps_through_a_failure() {
    check(
        json!([
            { "id": "rest", "sleep": "1d" },
            { "id": "bad", "tool": "Echo", "with": { "fail": "broken" } },
        ]),
        "FAILED step `bad` failed: Echo: broken; no step was done",
        &["0 Echo {\"fail\":\"broken\"}"],
    );
}
