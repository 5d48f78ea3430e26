//! `steps` within a step.

use serde_json::{Value as Json, json};

use super::run::{check, run, run_in};
use super::world::Simulated;

fn undo() -> Json {
    json!({ "tool": "Echo", "with": { "undo": "{{ result.made }}" } })
}

#[test]
fn each_item_runs_the_graph_and_sees_its_own_steps_then_those_around() {
    check(
        json!([
            { "id": "base", "tool": "Echo", "with": { "n": 100 } },
            { "id": "make", "tool": "Echo", "with": { "outer": true } },
            { "id": "each", "for_each": "{{ inputs.list }}", "concurrency": 2, "if": "{{ item != 2 }}",
              "milestone": "{{ item }} is {{ steps.each.results[index].use.n }}",
              "steps": [
                { "id": "use", "tool": "Echo", "with": { "n": "{{ steps.make.result.made + steps.base.result.n }}", "i": "{{ index }}" } },
                { "id": "make", "tool": "Echo", "with": { "made": "{{ item }}", "of": "{{ inputs.week }}" } },
                { "id": "not", "tool": "Echo", "if": "{{ item > 1 }}", "with": { "item": "{{ item }}" } },
            ] },
            { "id": "sum", "tool": "Echo", "with": { "all": "{{ steps.each.results }}", "outer": "{{ steps.make.result.outer }}" } },
        ]),
        "done: base, make, each (2 items, 1 passed over), sum",
        &[
            "0 Echo {\"n\":100}",
            "0 Echo {\"outer\":true}",
            "10 Echo {\"made\":1,\"of\":\"W47\"}",
            "10 Echo {\"made\":3,\"of\":\"W47\"}",
            "10 Echo {\"item\":3}",
            "20 Echo {\"n\":101,\"i\":0}",
            "20 Echo {\"n\":103,\"i\":2}",
            "30 milestone 1 is 101",
            "30 milestone 3 is 103",
            "30 Echo {\"all\":[{\"use\":{\"n\":101,\"i\":0},\"make\":{\"made\":1,\"of\":\"W47\"}},null,\
             {\"use\":{\"n\":103,\"i\":2},\"make\":{\"made\":3,\"of\":\"W47\"},\"not\":{\"item\":3}}],\"outer\":true}",
        ],
    );
}

#[test]
fn a_graph_without_items_is_run_once() {
    check(
        json!([
            { "id": "all", "steps": [{ "id": "a", "tool": "Echo", "with": { "n": 1 } }, { "id": "each", "tool": "Echo", "for_each": [1, 2], "with": { "n": "{{ item }}" } }] },
            { "id": "b", "tool": "Echo", "with": { "got": "{{ steps.all.result }}" } },
        ]),
        "done: all, b",
        &[
            "0 Echo {\"n\":1}",
            "0 Echo {\"n\":1}",
            "0 Echo {\"n\":2}",
            "10 Echo {\"got\":{\"a\":{\"n\":1},\"each\":[{\"n\":1},{\"n\":2}]}}",
        ],
    );
}

#[test]
fn graphs_within_graphs_see_the_nearest_item() {
    check(
        json!([{ "id": "outer", "for_each": ["x", "y"], "concurrency": 1, "steps": [
            { "id": "name", "tool": "Echo", "with": { "is": "{{ item }}" } },
            { "id": "inner", "for_each": [1, 2], "concurrency": 1, "steps": [
                { "id": "leaf", "tool": "Echo", "with": { "at": "{{ steps.name.result.is }}{{ item }}" } },
            ] },
            { "id": "after", "tool": "Echo", "with": { "item": "{{ item }}", "at": "{{ steps.inner.results[1].leaf.at }}" } },
        ] }]),
        "done: outer (2 items)",
        &[
            "0 Echo {\"is\":\"x\"}",
            "10 Echo {\"at\":\"x1\"}",
            "20 Echo {\"at\":\"x2\"}",
            "30 Echo {\"item\":\"x\",\"at\":\"x2\"}",
            "40 Echo {\"is\":\"y\"}",
            "50 Echo {\"at\":\"y1\"}",
            "60 Echo {\"at\":\"y2\"}",
            "70 Echo {\"item\":\"y\",\"at\":\"y2\"}",
        ],
    );
}

#[test]
fn a_graph_that_failed_cleans_up_for_itself_and_may_be_passed_over() {
    check(
        json!([
            { "id": "each", "for_each": [1, 2], "on_error": "continue", "steps": [
                { "id": "make", "tool": "Echo", "with": { "made": "{{ item }}" }, "compensate": undo() },
                { "id": "use", "tool": "Echo", "needs": ["make"], "with": { "fail": "{{ 'broken' if item == 2 else none }}" } },
                { "id": "tell", "tool": "Echo", "finally": true, "with": { "item": "{{ item }}", "failed": "{{ failure is not none }}" } },
            ] },
            { "id": "after", "tool": "Echo", "with": { "why": "{{ steps.each.errors[1] }}" } },
        ]),
        "done: each (1 of 2 items), after; failed, and passed over: each (item 2 of 2: step `use` failed: Echo: broken; undone: make)",
        &[
            "0 Echo {\"made\":1}",
            "0 Echo {\"made\":2}",
            "10 Echo {\"fail\":null}",
            "10 Echo {\"fail\":\"broken\"}",
            "20 Echo {\"item\":1,\"failed\":false}",
            "20 Echo {\"undo\":2}",
            "30 Echo {\"item\":2,\"failed\":true}",
            "40 Echo {\"why\":\"step `use` failed: Echo: broken; undone: make\"}",
        ],
    );
}

#[test]
fn a_failure_outside_undoes_what_was_done_within() {
    check(
        json!([
            { "id": "each", "for_each": [1, 2], "concurrency": 1, "compensate": { "tool": "Echo", "with": { "all": "{{ result.make.made }}" } }, "steps": [
                { "id": "make", "tool": "Echo", "with": { "made": "{{ item }}" }, "compensate": undo() },
            ] },
            { "id": "bad", "tool": "Echo", "needs": ["each"], "with": { "fail": "broken" } },
        ]),
        "FAILED step `bad` failed: Echo: broken; done: each (2 items); undone: each[1], make, each[0], make",
        &[
            "0 Echo {\"made\":1}",
            "10 Echo {\"made\":2}",
            "20 Echo {\"fail\":\"broken\"}",
            "30 Echo {\"all\":2}",
            "40 Echo {\"undo\":2}",
            "50 Echo {\"all\":1}",
            "60 Echo {\"undo\":1}",
        ],
    );
}

#[test]
fn a_failure_outside_stops_what_runs_within_and_has_it_cleaned_up() {
    check(
        json!([
            { "id": "within", "steps": [
                { "id": "make", "tool": "Echo", "with": { "made": "x" }, "compensate": undo() },
                { "id": "rest", "sleep": "1d", "needs": ["make"] },
                { "id": "never", "tool": "Echo", "needs": ["rest"] },
                { "id": "tell", "tool": "Echo", "finally": true, "with": { "failed": "{{ failure is not none }}" } },
            ] },
            { "id": "bad", "tool": "Echo", "with": { "ms": 100, "fail": "broken" } },
            { "id": "last", "tool": "Echo", "finally": true, "with": { "within": "{{ steps.within.error }}" } },
        ]),
        "FAILED step `bad` failed: Echo: broken; done: last",
        &[
            "0 Echo {\"ms\":100,\"fail\":\"broken\"}",
            "0 Echo {\"made\":\"x\"}",
            "100 Echo {\"undo\":\"x\"}",
            "110 Echo {\"failed\":true}",
            "120 Echo {\"within\":\"it was given up, because the graph around it had failed; undone: make\"}",
        ],
    );
}

#[test]
fn a_graph_at_the_end_runs_to_its_own() {
    check(
        json!([
            { "id": "bad", "tool": "Echo", "with": { "fail": "broken" } },
            { "id": "clean", "finally": true, "for_each": [1, 2], "concurrency": 1, "steps": [
                { "id": "a", "tool": "Echo", "with": { "item": "{{ item }}", "why": "{{ failure.step }}" } },
                { "id": "b", "sleep": "1s", "needs": ["a"] },
            ] },
        ]),
        "FAILED step `bad` failed: Echo: broken; done: clean (2 items)",
        &[
            "0 Echo {\"fail\":\"broken\"}",
            "10 Echo {\"item\":1,\"why\":\"bad\"}",
            "1020 Echo {\"item\":2,\"why\":\"bad\"}",
        ],
    );
}

#[test]
fn a_graph_is_tried_again_as_a_whole() {
    let mut left = 2;
    let mut world = Simulated::new(&["Make", "Use"], move |tool, arguments| {
        left -= i32::from(tool == "Use");
        (
            10,
            if tool == "Use" && left > 0 {
                Err(sortie_plugin::CallError::Failed("not yet".into()))
            } else {
                Ok(arguments.clone())
            },
        )
    });
    let inputs = json!({ "steps": [{ "id": "both", "retry": { "attempts": 3, "backoff": "1s" }, "steps": [
        { "id": "make", "tool": "Make", "with": { "made": 1 }, "compensate": { "tool": "Make", "with": { "undo": "{{ result.made }}" } } },
        { "id": "use", "tool": "Use", "needs": ["make"] },
    ] }] });
    assert_eq!(run_in(&mut world, inputs).expect("the second works").summary, "done: both");
    let expected =
        ["0 Make {\"made\":1}", "10 Use {}", "20 Make {\"undo\":1}", "1030 Make {\"made\":1}", "1040 Use {}"];
    assert_eq!(world.log, expected);
}

#[test]
fn a_graph_is_tried_again_where_what_it_waited_for_did_not_come() {
    for (attempts, expected) in [(3, Ok(5)), (2, Err(4))] {
        let mut made = 0;
        let mut world = Simulated::new(&["Order", "Get"], move |tool, _| {
            made += u64::from(tool == "Order");
            (10, Ok(json!({ "is_there": made == 3 })))
        });
        // Of the job that was ordered first nothing comes; it is asked for twice, and then ordered anew.
        let get = json!({ "id": "get", "tool": "Get", "needs": ["order"], "until": "{{ result.is_there }}",
            "retry": { "attempts": 2, "backoff": "1s" } });
        let job = json!({ "id": "job", "retry": { "attempts": attempts, "backoff": "1m" }, "steps": [
            { "id": "order", "tool": "Order" }, get,
        ] });
        let end = run_in(&mut world, json!({ "steps": [job] }));
        let asked = world.log.iter().filter(|line| line.contains("Get")).count();
        assert_eq!(end.as_ref().map(|_| asked).map_err(|_| asked), expected, "{end:?} {:#?}", world.log);
        if let Err(failure) = end {
            let why =
                "step `job` failed: step `get` failed: it was tried 2 times, and until {{ result.is_there }} is false";
            assert!(failure.summary.starts_with(why), "{failure:?}");
        }
    }
}

#[test]
fn a_graph_is_repeated_until_its_result_holds() {
    let mut n = 0;
    let mut world = Simulated::new(&["Next"], move |_, _| {
        n += 1;
        (10, Ok(json!({ "n": n })))
    });
    let inputs = json!({ "steps": [{ "id": "loop", "retry": { "attempts": 9, "backoff": "0s" }, "until": "{{ result.b.n >= 4 }}", "steps": [
        { "id": "a", "tool": "Next" }, { "id": "b", "tool": "Next", "needs": ["a"] },
    ] }] });
    run_in(&mut world, inputs).expect("it gets there");
    assert_eq!(world.log.len(), 4);
}

#[test]
fn many_graphs_take_their_turns_and_none_waits_for_ever() {
    let mut world = Simulated::echo();
    let leaf = json!({ "id": "leaf", "tool": "Echo", "with": { "n": "{{ item }}" } });
    let nested = json!({ "id": "a", "for_each": "{{ range(40) }}", "steps": [
        { "id": "b", "for_each": "{{ range(40) }}", "steps": [{ "id": "c", "for_each": [0], "steps": [leaf] }] },
    ] });
    let end = run_in(&mut world, json!({ "steps": [nested] })).expect("it completes");
    assert_eq!((end.summary.as_str(), world.log.len(), world.in_flight_max), ("done: a (40 items)", 1_600, 32));
}

#[test]
fn a_condition_of_the_item_around_is_answered_once_in_each_graph() {
    let (end, log) = run(json!([{ "id": "each", "for_each": [true, false], "steps": [
        { "id": "a", "tool": "Echo", "if": "{{ item }}" },
        { "id": "b", "tool": "Echo", "with": { "skipped": "{{ steps.a.skipped }}" } },
    ] }]));
    assert_eq!(end.expect("it goes on").summary, "done: each (2 items)");
    assert_eq!(log, ["0 Echo {}", "0 Echo {\"skipped\":true}", "10 Echo {\"skipped\":false}"]);
}

#[test]
fn graphs_that_rest_hold_no_timers_and_all_come_to_their_turn() {
    // None of them has a call to make: each ends at once, and rests.
    let mut world = Simulated::echo();
    let p = json!({ "id": "p", "for_each": "{{ range(2000) | list }}", "steps": [{ "id": "x", "if": false, "tool": "Echo" }],
        "until": "{{ result.x is defined }}", "retry": { "attempts": 3, "backoff": "1h" }, "on_error": "continue" });
    let tell = json!({ "id": "tell", "tool": "Echo", "needs": ["p"], "with": { "why": "{{ steps.p.errors | unique | join }}" } });
    let end = run_in(&mut world, json!({ "steps": [p, tell] })).expect("it goes on");
    assert!(end.summary.starts_with("done: tell; failed, and passed over: p (item "), "{}", end.summary);
    let why = "it was tried 3 times, and until {{ result.x is defined }} is false";
    assert!(world.asked_now <= 4, "once after each wait, and not for each of them: {}", world.asked_now);
    assert_eq!(world.log.last(), Some(&format!("7200000 Echo {}", json!({ "why": why }))));
}

#[test]
fn graphs_that_are_tried_again_take_their_turns_beside_other_calls() {
    for undo in [json!(null), json!({ "tool": "Echo" })] {
        let mut tried = std::collections::BTreeMap::<String, u32>::new();
        let mut world = Simulated::new(&["Echo", "Get"], move |tool, arguments| {
            let tries = tried.entry(format!("{tool} {arguments}")).or_default();
            *tries += 1;
            (10, Ok(json!({ "done": tool == "Echo" || *tries > 2 })))
        });
        let call =
            json!({ "id": "call", "tool": "Get", "with": { "n": "{{ item }}" }, "timeout": "1h", "compensate": undo });
        let inputs = json!({ "steps": [
            { "id": "poll", "for_each": "{{ range(100) | list }}", "steps": [call], "until": "{{ result.call.done }}",
              "retry": { "attempts": 3, "backoff": "1s" } },
            { "id": "beside", "for_each": "{{ range(1000) | list }}", "tool": "Echo", "timeout": "1h", "with": { "n": "{{ item }}" } },
        ] });
        let end = run_in(&mut world, inputs).expect("it gets there");
        assert_eq!(end.summary, "done: poll (100 items), beside (1000 items)");
        assert_eq!(world.log.len(), 1_300);
    }
}

#[test]
fn a_shorter_rest_is_over_before_a_longer_one_that_began_earlier() {
    let looped = |id: &str, backoff: &str, ms: u64| {
        json!({ "id": id, "steps": [{ "id": "a", "tool": "Echo", "with": { "of": id, "ms": ms } }], "until": "{{ result.b is defined }}",
            "retry": { "attempts": 2, "backoff": backoff }, "on_error": "continue" })
    };
    let (_, log) = run(json!([looped("long", "1h", 10), looped("short", "1s", 20), looped("same", "3599990ms", 20)]));
    let times: Vec<_> = log
        .iter()
        .filter(|line| line.contains("Echo"))
        .map(|line| line.split(",\"ms").next().expect("a part"))
        .collect();
    assert_eq!(
        times,
        [
            "0 Echo {\"of\":\"long\"",
            "0 Echo {\"of\":\"short\"",
            "0 Echo {\"of\":\"same\"",
            "1020 Echo {\"of\":\"short\"",
            "3600010 Echo {\"of\":\"long\"",
            "3600010 Echo {\"of\":\"same\"",
        ]
    );
}

#[test]
fn nobody_waits_for_a_graph_that_rests_where_the_graph_around_it_has_failed() {
    let p = json!({ "id": "p", "for_each": "{{ range(100) | list }}", "steps": [{ "id": "x", "if": false, "tool": "Echo" }],
        "until": "{{ result.x is defined }}", "retry": { "attempts": 3, "backoff": "1h" } });
    let last = json!({ "id": "last", "tool": "Echo", "finally": true });
    check(
        json!([p.clone(), { "id": "bad", "tool": "Echo", "with": { "fail": "broken" } }, last]),
        "FAILED step `bad` failed: Echo: broken; done: last",
        &["0 Echo {\"fail\":\"broken\"}", "10 Echo {}"],
    );
    let mut world = Simulated::echo();
    world.closing_ms = 5_000;
    run_in(&mut world, json!({ "steps": [p, last] })).expect_err("a limit came near");
    assert_eq!(world.log, ["5000 land", "5000 Echo {}"]);
}
