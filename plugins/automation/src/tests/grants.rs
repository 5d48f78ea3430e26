//! What a mission lacks to do its steps, found before anything was done.

use serde_json::{Value as Json, json};
use sortie_plugin::Failure;

use super::run::run_in;
use super::world::Simulated;

/// A world that holds `Write`, `Read` and `Echo`; of the first two it knows the arguments.
fn world() -> Simulated {
    let mut world = Simulated::new(&["Write", "Read", "Echo"], |_, arguments| (10, Ok(arguments.clone())));
    let path = json!({ "type": "string" });
    world.schemas.insert(
        "Write",
        json!({ "type": "object", "properties": { "path": path, "content": path }, "required": ["path", "content"], "additionalProperties": false }),
    );
    world.schemas.insert("Read", json!({ "type": "object", "properties": { "path": path }, "required": ["path"] }));
    world
}

/// Steps that cannot all be done: the failure, before anything was done.
#[track_caller]
fn refused(steps: Json) -> Failure {
    let mut world = world();
    let failure = run_in(&mut world, json!({ "yes": true, "no": false, "none": [], "hosts": ["h"], "steps": steps }))
        .expect_err("it lacks something");
    assert_eq!(world.log, [""; 0], "nothing was done: {failure:?}");
    failure
}

fn writes(id: &str) -> Json {
    json!({ "id": id, "tool": "Write", "with": { "path": id, "content": "x" } })
}

#[test]
fn a_tool_that_was_not_granted_is_named_before_anything_is_done() {
    let failure = refused(json!([writes("a"), { "id": "b", "tool": "Wirte", "needs": ["a"] }]));
    let says =
        "step `b` needs the tool Wirte, which the mission was not granted (did you mean `Write`?); nothing was done";
    assert_eq!((failure.summary.as_str(), failure.tool.as_deref()), (says, Some("Wirte")));
    let next = "grant Wirte to the mission, or take the step out; the mission holds Write, Read, Echo";
    assert_eq!(failure.next_action.as_deref(), Some(next));
    let failure = refused(json!([writes("a"), { "id": "b", "tool": "Bash" }]));
    assert_eq!(failure.summary, "step `b` needs the tool Bash, which the mission was not granted; nothing was done");
}

#[test]
fn a_node_without_a_model_is_told_before_anything_is_done() {
    let failure = refused(
        json!([writes("a"), { "id": "b", "needs": ["a"], "model": { "prompt": "Why?" }, "on_error": "continue" }]),
    );
    assert_eq!(failure.summary, "step `b` asks a model, and this node has no model; nothing was done");
    let next = "add `[model.NAME]` to the node's configuration, or take the step out";
    assert_eq!(failure.next_action.as_deref(), Some(next));
}

#[test]
fn it_is_found_wherever_it_stands() {
    let bash = json!({ "id": "b", "tool": "Bash" });
    let with = |key: &str, value: Json| {
        let mut step = bash.clone();
        step[key] = value;
        step
    };
    let within = |step: Json| json!({ "id": "g", "needs": ["a"], "for_each": [1, 2], "steps": [{ "id": "s", "steps": [step] }] });
    for steps in [
        json!([writes("a"), with("on_error", json!("continue"))]),
        json!([writes("a"), with("needs", json!(["a"]))]),
        json!([writes("a"), with("finally", json!(true))]),
        // Whether it comes to its turn is known when it is too late.
        json!([writes("a"), with("if", json!("{{ steps.a.result.path == 'b' }}"))]),
        json!([writes("a"), with("if", json!("{{ inputs.yes }}"))]),
        json!([writes("a"), { "id": "b", "tool": "Bash", "for_each": [1], "if": "{{ item > 1 }}" }]),
        json!([writes("a"), within(bash.clone())]),
        json!([writes("a"), with("for_each", json!("{{ inputs.hosts }}"))]),
        json!([writes("a"), with("for_each", json!("{{ [1] if steps.a is defined else [] }}"))]),
        json!([writes("a"), { "id": "g", "for_each": [[]], "steps": [with("for_each", json!("{{ item }}"))] }]),
        // A step that is done for nothing is done: what needs it comes to its turn.
        json!([{ "id": "c", "for_each": [], "tool": "Echo" }, with("needs", json!(["c"]))]),
        json!([{ "id": "c", "if": "{{ inputs.no }}", "tool": "Echo" }, with("if", json!("{{ steps.c.skipped }}"))]),
        json!([writes("a"), { "id": "b", "tool": "Echo", "compensate": { "tool": "Bash" } }]),
    ] {
        let failure = refused(steps);
        assert!(failure.summary.contains("step `b` needs the tool Bash"), "{failure:?}");
    }
}

#[test]
fn what_the_envelope_itself_turns_off_needs_no_tool() {
    let bash = json!({ "id": "b", "tool": "Bash", "if": "{{ inputs.no }}", "compensate": { "tool": "Bash" } });
    for (steps, summary) in [
        (json!([bash, writes("a")]), "done: a; skipped: b"),
        (json!([writes("a"), { "id": "b", "tool": "Bash", "if": false }]), "done: a; skipped: b"),
        (json!([bash, writes("a"), { "id": "c", "tool": "Bash", "needs": ["b"] }]), "done: a; skipped: b, c"),
        (
            json!([{ "id": "g", "if": "{{ not inputs.yes }}", "steps": [{ "id": "b", "tool": "Bash" }] }, writes("a")]),
            "done: a; skipped: g",
        ),
        (json!([{ "id": "g", "steps": [bash, writes("c")] }, writes("a")]), "done: g, a"),
        (
            json!([{ "id": "b", "tool": "Bash", "for_each": "{{ inputs.none }}", "compensate": { "tool": "Bash" } }, writes("a")]),
            "done: b (0 items), a",
        ),
        (json!([writes("a"), { "id": "b", "tool": "Bash", "for_each": [] }, writes("c")]), "done: a, b (0 items), c"),
        (
            json!([{ "id": "g", "for_each": "{{ inputs.hosts | reject('eq', 'h') }}", "steps": [{ "id": "b", "tool": "Bash" }] }, writes("a")]),
            "done: g (0 items), a",
        ),
    ] {
        let end = run_in(&mut world(), json!({ "yes": true, "no": false, "none": [], "hosts": ["h"], "steps": steps }));
        assert_eq!(end.expect("it does the rest").summary, summary);
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let failure = refused(json!([
        writes("a"),
        { "id": "b", "tool": "Reed", "with": { "path": "x" } },
        { "id": "c", "tool": "Write", "with": { "path": "x", "contnet": "{{ steps.a.result.path }}" }, "on_error": "continue" },
        { "id": "d", "steps": [{ "id": "e", "tool": "read", "with": {} }] },
        { "id": "f", "tool": "Echo", "compensate": { "tool": "Write", "with": { "path": "{{ result.path }}" } } },
    ]));
    assert_eq!(
        failure.summary,
        "step `b` needs the tool Reed, which the mission was not granted (did you mean `Read`?); \
         step `c` calls Write without the argument `content`; \
         step `c` gives Write the argument `contnet` (did you mean `content`?): it takes path, content; \
         step `e` calls read without the argument `path`; \
         step `f` calls Write to undo what it does without the argument `content`; nothing was done"
    );
    let many: Vec<Json> = (0..20).map(|number| json!({ "id": format!("b{number}"), "tool": "Bash" })).collect();
    let failure = refused(json!(many));
    assert!(failure.summary.ends_with("; and 8 more mistakes of this kind; nothing was done"), "{failure:?}");
}

#[test]
fn what_a_schema_leaves_open_is_left_to_the_node() {
    for with in [
        json!({ "path": "x", "more": 1 }),
        json!({ "path": null }),
        // It is known when it is made.
        json!("{{ {'p': 1} }}"),
    ] {
        let steps =
            json!([{ "id": "a", "tool": "Read", "with": with }, { "id": "b", "tool": "Echo", "with": { "any": 1 } }]);
        run_in(&mut world(), json!({ "steps": steps })).expect("it is called");
    }
    for schema in [
        json!(true),
        json!({}),
        json!({ "$ref": "#/x", "required": ["y"], "additionalProperties": false }),
        json!({ "properties": {}, "patternProperties": { "^a": {} }, "additionalProperties": false }),
        json!({ "properties": { "x": {} }, "additionalProperties": {} }),
    ] {
        let mut world = world();
        world.schemas.insert("Echo", schema.clone());
        let steps = json!([writes("w"), { "id": "a", "tool": "Echo", "with": { "any": 1 } }]);
        run_in(&mut world, json!({ "steps": steps })).unwrap_or_else(|failure| panic!("{schema}: {failure:?}"));
    }
}

#[test]
fn nothing_is_asked_of_a_tool_whose_call_is_the_only_one() {
    let lone = json!({ "id": "a", "tool": "Write", "with": { "path": "x" }, "for_each": [1, 2] });
    for (steps, is_asked) in [
        (json!([lone]), false),
        (json!([{ "id": "s", "sleep": "1s" }, { "id": "g", "steps": [lone] }]), false),
        (json!([lone, { "id": "b", "tool": "Echo" }]), true),
        (json!([{ "id": "g", "steps": [lone, { "id": "b", "tool": "Echo" }] }]), true),
        (json!([{ "id": "b", "tool": "Echo", "compensate": { "tool": "Write", "with": { "path": "x" } } }]), true),
    ] {
        let end = run_in(&mut world(), json!({ "steps": steps }));
        assert_eq!(end.is_err(), is_asked, "{steps}: {end:?}");
    }
}
