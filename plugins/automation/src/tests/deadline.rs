//! `timeout` of a step with `steps`.

use serde_json::{Value as Json, json};
use sortie_plugin::CallError;

use super::run::{check, run_in};
use super::world::Simulated;

/// A call that takes so long.
fn takes(id: &str, ms: u64) -> Json {
    json!({ "id": id, "tool": "Echo", "with": { "is": id, "ms": ms } })
}

fn with(mut step: Json, fields: Json) -> Json {
    step.as_object_mut().expect("a step").extend(fields.as_object().expect("fields").clone());
    step
}

fn undo() -> Json {
    json!({ "tool": "Echo", "with": { "undo": "{{ result.is }}" } })
}

#[test]
fn a_graph_whose_time_is_over_is_given_up_and_cleans_up() {
    let steps = json!([
        with(takes("make", 10), json!({ "compensate": undo() })),
        with(takes("slow", 100_000), json!({ "needs": ["make"], "compensate": undo() })),
        with(takes("never", 10), json!({ "needs": ["slow"] })),
        { "id": "tell", "tool": "Echo", "finally": true, "with": { "step": "{{ failure.step }}", "why": "{{ failure.error }}", "slow": "{{ steps.slow.error }}" } },
    ]);
    check(
        json!([{ "id": "g", "timeout": "5s", "steps": steps }, takes("other", 7_000)]),
        "FAILED step `g` failed: no result within 5s; undone: make; done: other",
        &[
            "0 Echo {\"is\":\"other\",\"ms\":7000}",
            "0 Echo {\"is\":\"make\",\"ms\":10}",
            "10 Echo {\"is\":\"slow\",\"ms\":100000}",
            "5000 Echo {\"undo\":\"make\"}",
            "5010 Echo {\"step\":null,\"why\":\"no result within 5s\",\"slow\":\"its call was cancelled, because the time of the graph around it was over\"}",
        ],
    );
}

#[test]
fn a_graph_that_is_done_in_time_is_done() {
    // What comes at the very end came in time.
    for (ms, timeout) in [(10, "5s"), (2_500, "5s"), (2_500, "5001ms")] {
        let steps = json!([takes("a", ms), with(takes("b", ms), json!({ "needs": ["a"] }))]);
        let mut world = Simulated::echo();
        let end = run_in(
            &mut world,
            json!({ "steps": [{ "id": "g", "timeout": timeout, "steps": steps }, takes("other", 9_000)] }),
        );
        assert_eq!(end.expect("in time").summary, "done: g, other");
        assert_eq!(world.log.len(), 3);
    }
}

#[test]
fn what_a_graph_waits_for_is_cut_as_its_calls_are() {
    for step in [
        json!({ "id": "s", "sleep": "1d" }),
        with(takes("s", 10), json!({ "until": "{{ result.ms > 10 }}", "retry": { "attempts": 100, "backoff": "1m" } })),
        json!({ "id": "s", "steps": [{ "id": "t", "sleep": "1d" }, takes("u", 99_000)] }),
        json!({ "id": "s", "steps": [takes("u", 10)], "until": "{{ result.u.ms > 10 }}", "retry": { "attempts": 9, "backoff": "1h" } }),
    ] {
        let mut world = Simulated::echo();
        let steps = json!([{ "id": "g", "timeout": "5s", "on_error": "continue", "steps": [step] }, { "id": "after", "tool": "Echo", "needs": ["g"], "with": { "why": "{{ steps.g.error }}" } }]);
        let end = run_in(&mut world, json!({ "steps": steps })).expect("it goes on");
        assert_eq!(end.summary, "done: after; failed, and passed over: g (no result within 5s)");
        assert_eq!(
            world.log.last(),
            Some(&"5000 Echo {\"why\":\"no result within 5s\"}".to_owned()),
            "{:#?}",
            world.log
        );
    }
}

#[test]
fn each_attempt_has_the_time_and_the_rest_between_them_none_of_it() {
    let mut made = 0;
    let mut world = Simulated::new(&["Slow"], move |_, arguments| {
        made += 1;
        (if made < 3 { 60_000 } else { 4_000 }, Ok(arguments.clone()))
    });
    let graph = json!({ "id": "g", "timeout": "5s", "retry": { "attempts": 3, "backoff": "1m" }, "steps": [{ "id": "a", "tool": "Slow" }] });
    assert_eq!(run_in(&mut world, json!({ "steps": [graph] })).expect("the third is fast").summary, "done: g");
    assert_eq!(world.log, ["0 Slow {}", "65000 Slow {}", "130000 Slow {}"]);
}

#[test]
fn each_item_has_its_own_time() {
    check(
        json!([
            { "id": "each", "for_each": [1_000, 9_000, 2_000], "concurrency": 2, "timeout": "5s", "on_error": "continue", "steps": [
                { "id": "a", "tool": "Echo", "with": { "ms": "{{ item }}" } },
                { "id": "b", "tool": "Echo", "needs": ["a"], "with": { "ms": "{{ item }}" } },
            ] },
            { "id": "after", "tool": "Echo", "with": { "why": "{{ steps.each.errors }}" } },
        ]),
        "done: each (2 of 3 items), after; failed, and passed over: each (item 2 of 3: no result within 5s)",
        &[
            "0 Echo {\"ms\":1000}",
            "0 Echo {\"ms\":9000}",
            "1000 Echo {\"ms\":1000}",
            "2000 Echo {\"ms\":2000}",
            "4000 Echo {\"ms\":2000}",
            "6000 Echo {\"why\":[null,\"no result within 5s\",null]}",
        ],
    );
}

#[test]
fn only_what_is_in_the_graph_is_cancelled() {
    // The first has failed, and waits for a call of its own, which is then undone; the time of the second ends meanwhile.
    let failed = json!({ "id": "x", "on_error": "continue", "steps": [
        with(takes("kept", 8_000), json!({ "compensate": undo() })), { "id": "bad", "tool": "Echo", "with": { "fail": "broken" } },
    ] });
    let late = json!({ "id": "y", "on_error": "continue", "timeout": "5s", "steps": [takes("slow", 60_000)] });
    let end = takes("end", 1);
    check(
        json!([failed, late, with(end, json!({ "needs": ["x", "y"] }))]),
        "done: end; failed, and passed over: x (step `bad` failed: Echo: broken; undone: kept), y",
        &[
            "0 Echo {\"is\":\"kept\",\"ms\":8000}",
            "0 Echo {\"fail\":\"broken\"}",
            "0 Echo {\"is\":\"slow\",\"ms\":60000}",
            "5000 warn step `y` failed, and the mission goes on: no result within 5s",
            "8000 Echo {\"undo\":\"kept\"}",
            "8010 warn step `x` failed, and the mission goes on: step `bad` failed: Echo: broken; undone: kept",
            "8010 Echo {\"is\":\"end\",\"ms\":1}",
        ],
    );
}

#[test]
fn a_graph_that_has_failed_waits_for_its_calls_no_longer_than_its_time() {
    check(
        json!([{ "id": "g", "timeout": "5s", "steps": [takes("slow", 60_000), { "id": "bad", "tool": "Echo", "with": { "fail": "broken" } }] }]),
        "FAILED step `g` failed: step `bad` failed: Echo: broken; no step was done",
        &["0 Echo {\"is\":\"slow\",\"ms\":60000}", "0 Echo {\"fail\":\"broken\"}"],
    );
}

#[test]
fn cleaning_up_takes_its_own_time() {
    let slow_undo = json!({ "tool": "Echo", "with": { "undo": "{{ result.is }}", "ms": 8_000 } });
    let inner = json!({ "id": "in", "timeout": "2s", "steps": [
        with(takes("a", 10), json!({ "compensate": slow_undo })), with(takes("b", 60_000), json!({ "needs": ["a"] })),
    ] });
    // The time of the outer one ends while the inner one undoes what it did: that is done all the same.
    check(
        json!([{ "id": "out", "timeout": "5s", "steps": [inner, takes("c", 60_000)] }]),
        "FAILED step `out` failed: no result within 5s; no step was done",
        &[
            "0 Echo {\"is\":\"c\",\"ms\":60000}",
            "0 Echo {\"is\":\"a\",\"ms\":10}",
            "10 Echo {\"is\":\"b\",\"ms\":60000}",
            "2000 Echo {\"undo\":\"a\",\"ms\":8000}",
        ],
    );
}

#[test]
fn a_thousand_times_need_one_timer() {
    for undo in [json!(null), json!({ "tool": "Echo" })] {
        let mut world = Simulated::echo();
        let call = json!({ "id": "a", "tool": "Echo", "timeout": "1h", "compensate": undo, "with": { "n": "{{ item }}", "ms": "{{ 9000 if item % 7 == 0 else 10 }}" } });
        let each = json!({ "id": "each", "for_each": "{{ range(1000) | list }}", "timeout": "5s", "on_error": "continue", "steps": [call] });
        let end = run_in(&mut world, json!({ "steps": [each] })).expect("it goes on");
        let told = "done: each (857 of 1000 items); failed, and passed over: each (item ";
        assert!(end.summary.starts_with(told), "{}", end.summary);
    }
}

#[test]
fn nobody_is_woken_for_a_graph_that_is_done() {
    let mut world = Simulated::echo();
    let bad = json!({ "id": "bad", "tool": "Echo", "with": { "fail": "broken" } });
    let steps = json!([
        { "id": "done", "timeout": "1h", "steps": [takes("a", 10)] },
        { "id": "failed", "timeout": "2h", "on_error": "continue", "steps": [bad] },
        { "id": "sleep", "sleep": "1d", "needs": ["done", "failed"] },
    ]);
    run_in(&mut world, json!({ "steps": steps })).expect("it completes");
    assert_eq!(world.waits, 3, "for two calls and the sleep");
}

#[test]
fn a_time_that_is_over_passes_over_to_the_next_attempt_of_what_is_around() {
    let mut made = 0;
    let mut world = Simulated::new(&["Get"], move |_, _| {
        made += 1;
        if made == 1 { (60_000, Ok(json!({}))) } else { (10, Err(CallError::Denied("no".to_owned()))) }
    });
    let inner = json!({ "id": "in", "timeout": "2s", "steps": [{ "id": "a", "tool": "Get" }] });
    let outer = json!({ "id": "out", "retry": { "attempts": 5, "backoff": "1s" }, "steps": [inner] });
    let failure = run_in(&mut world, json!({ "steps": [outer] })).expect_err("a refusal stays one");
    assert_eq!(world.log, ["0 Get {}", "3000 Get {}"]);
    assert!(failure.summary.contains("step `in` failed: step `a` failed: Get: no"), "{failure:?}");
}
