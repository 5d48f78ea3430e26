//! Cases of records: what was said is said again.

use sortie_contract::digest::Digest;
use sortie_contract::envelope::EffectiveBudget;
use sortie_contract::id::{CallNo, RunNo};
use sortie_contract::money::Spend;
use sortie_contract::outcome::{Reason, Status};
use sortie_contract::plugin::{LogLevel, PluginIdentity};
use sortie_contract::record::Accepted;
use sortie_contract::tool::{Repeat, ToolName};

use super::*;
use crate::kit::case::{Ends, LeftBy};

fn stamped(record: Record) -> Stamped {
    Stamped { at: Timestamp::UNIX_EPOCH, ran_ms: 0, record }
}

fn accepted(envelope: &Value) -> Stamped {
    stamped(Record::Accepted(Box::new(Accepted {
        envelope: envelope.to_string(),
        session: "vp.session".parse().expect("an id"),
        lane: "lane".parse().expect("an id"),
        plugin: PluginIdentity { name: "p".into(), version: "1.0.0".into(), digest: Digest::of(b"p") },
        budget: EffectiveBudget { runtime_ms_max: 1_000, llm_calls_max: None, cost_max: None },
        unknown_approvals: Vec::new(),
        warnings: Vec::new(),
    })))
}

/// A call, and what came of it.
fn called(no: u32, tool: &str, arguments: &Value, outcome: Result<Value, CallError>) -> [Stamped; 2] {
    let (call, arguments) = (CallNo(no), arguments.to_string());
    let outcome = outcome.map(|result| ToolAnswer { result: result.to_string(), wrote: Vec::new() });
    [
        stamped(Record::CallStarted {
            call,
            tool: ToolName::new(tool),
            digest: Digest::of(arguments.as_bytes()),
            arguments,
            repeat: Repeat::ReadOnly,
            reserved: Spend::NOTHING,
        }),
        stamped(Record::CallFinished { call, outcome, spent: Spend::NOTHING }),
    ]
}

fn answer(model: &str, text: &Value) -> Value {
    json!({ "content": [{ "type": "tool_use", "input": text }], "stop_reason": "end", "model": model })
}

#[test]
fn what_was_said_is_said_again_nulls_and_all() {
    let envelope = json!({
        "mission_id": "m.fork-1", "vp_id": "vp", "source_instance_id": "s", "target_instance_id": "t",
        "mission_type": "custom", "objective": "o", "idempotency_key": "k", "trace_id": "t",
        "created_at": "2026-11-22T00:00:00Z", "forked_from": { "mission_id": "m", "at": 3 },
        "inputs": { "after": null, "count": 18_446_744_073_709_551_615_u64 }, "budget": null,
    });
    let page = json!({ "next": null, "items": [1, null, { "a": null }] });
    let unnamed = json!({ "request": { "messages": [] }, "tools": [] });
    let critic = json!({ "request": { "messages": [], "model": "critic" }, "tools": [] });
    let long = json!({ "model": "critic", "messages": 3, "request_bytes": 100_000, "tools": 1 });
    let failed = || Err(CallError::Failed("it is asleep".to_owned()));
    let mut records = vec![accepted(&envelope)];
    records.extend(called(1, "HttpRequest", &json!({ "url": "u", "body": [null] }), Ok(page.clone())));
    records.extend(called(2, "HttpRequest", &json!({ "url": "u", "after": null }), Ok(Value::Null)));
    records.extend(called(3, MODEL, &critic, Ok(answer("critic", &json!({ "why": null })))));
    records.extend(called(4, MODEL, &unnamed, failed()));
    records.extend(called(5, MODEL, &unnamed, Ok(answer("brain", &json!({ "b": 1 })))));
    records.extend(called(6, MODEL, &long, failed()));

    let file = case_of(&records, &Around::default()).expect("a case").written().expect("TOML says it");
    let case = Case::parse(&file).unwrap_or_else(|why| panic!("{why}\n{file}"));
    let sent: Value = serde_json::from_str(&case.envelope("p", &[]).expect("an envelope")).expect("JSON");
    assert_eq!((&sent["inputs"], sent.get("forked_from")), (&envelope["inputs"], None), "{file}");
    let said: Vec<_> = case.tools.iter().map(|says| says.answer.clone()).collect();
    assert_eq!(said, [Some(page), Some(Value::Null)], "{file}");
    for (says, arguments) in case.tools.iter().zip([json!({ "url": "u", "body": [null] }), json!({ "url": "u" })]) {
        let with = Value::Object(says.with.clone().expect("arguments"));
        assert!(crate::kit::case::has(&arguments, &with), "{with} fits {arguments}");
    }
    // Whoever names no model is answered by the first.
    let names: Vec<_> = case.models.iter().map(|entry| entry["name"].as_str().expect("a name")).collect();
    assert_eq!(names, ["brain", "brain", "critic", "critic"], "{file}");
    assert_eq!(case.models[2]["answer"]["content"][0]["input"], json!({ "why": null }), "{file}");
    assert!(case.models[0].get("fault").is_some() && case.models[3].get("fault").is_some(), "{file}");
}

#[test]
fn what_its_children_came_to_they_come_to_again_in_the_order_in_which_they_were_dispatched() {
    let envelope = json!({
        "mission_id": "night", "vp_id": "vp", "source_instance_id": "s", "target_instance_id": "t",
        "mission_type": "custom", "objective": "o", "idempotency_key": "k", "trace_id": "t",
        "created_at": "2026-11-22T00:00:00Z", "budget": { "max_missions": 9 },
        "child_of": { "mission_id": "above", "call": 1 },
    });
    let order =
        |objective: &str| json!({ "objective": objective, "mission_type": "automation", "inputs": { "after": null } });
    let digest = Digest::of(b"for you");
    let left = json!([
        { "name": "a.md", "media_type": "text/markdown", "bytes": 7, "sha256": digest.to_string() },
        { "name": "b.bin", "media_type": "x/y", "bytes": 3, "sha256": Digest::of(b"b").to_string() },
    ]);
    let told = |status: &str, reason: &str, left: &Value| {
        Ok(json!({
            "mission_id": "night.child-1", "status": status, "reason": reason, "summary": "So it is.", "next_action": "", "artifacts": left,
            "criteria": [
                { "criterion": "c", "verdict": "met", "evidence": "seen" }, { "criterion": "d", "verdict": "not_judged", "evidence": "" }
            ],
        }))
    };
    let mut records = vec![accepted(&envelope)];
    let [begun, ended] = called(1, MISSION, &order("one"), told("completed", "done", &left));
    let refused = CallError::InvalidArguments("/inputs/steps: there are none".to_owned());
    let by_core = CallError::InvalidArguments("/objective: `objective` must not be empty".to_owned());
    let refusal = |call, error| {
        let (call, tool) = (CallNo(call), ToolName::new(MISSION));
        stamped(Record::CallRefused { call, tool, digest: Digest::of(b"order"), error })
    };
    records.extend([begun, refusal(2, refused), refusal(3, by_core)]);
    // The second that was dispatched has ended before the first.
    records.extend(called(4, MISSION, &order("one"), told("failed", "plugin_failed", &json!([]))));
    records.push(ended);
    records.extend(called(5, MISSION, &order("two"), told("failed", "output_missing", &json!([]))));
    records.extend(called(6, MISSION, &order("two"), told("timed_out", "run_time_spent", &json!([]))));
    records.extend(called(7, MISSION, &order("two"), Err(CallError::Cancelled)));
    records.extend(
        called(8, MISSION, &order("three"), told("cancelled", "cancelled_by_request", &json!([])))[..1].to_vec(),
    );

    // As they ended.
    let left_in = children::left_in(&records);
    assert_eq!((left_in.len(), left_in[0].1.len()), (4, 0));
    assert_eq!(left_in[1].1, [("a.md".to_owned(), 7, digest), ("b.bin".to_owned(), 3, Digest::of(b"b"))]);
    let around = Around { texts: [(digest, "for you".to_owned())].into(), ..Around::default() };
    let file = case_of(&records, &around).expect("a case").written().expect("TOML says it");
    let case = Case::parse(&file).unwrap_or_else(|why| panic!("{why}\n{file}"));
    assert!(case.tools.is_empty(), "{file}");
    let sent: Value = serde_json::from_str(&case.envelope("p", &[]).expect("an envelope")).expect("JSON");
    assert_eq!((&sent["mission_id"], sent.get("child_of")), (&json!("night"), None), "they are named after it");
    assert_eq!(sent["budget"]["max_missions"], 9);
    let status: Vec<Ends> = case.children.iter().map(|child| child.status).collect();
    let [done, failed] = [Ends::Completed, Ends::Failed];
    assert_eq!(status, [done, done, failed, done, Ends::TimedOut, done, done], "{file}");
    assert_eq!(case.children[1].refused.as_deref(), Some("/inputs/steps: there are none"), "{file}");
    assert!(
        matches!(&case.children[0].artifacts["a.md"], LeftBy::Of { text, media_type } if text == "for you" && media_type == "text/markdown")
    );
    assert_eq!((case.children[0].artifacts.len(), case.children[0].criteria.len()), (1, 1), "{file}");
    let takes: Vec<Option<&str>> = case.children.iter().map(|child| child.takes.as_deref()).collect();
    assert_eq!(takes[5..], [Some("3600s"), Some("3600s")], "let go of, and open: {file}");
    let fits = |child: &Child| {
        let with = Value::Object(child.with.clone().expect("an order"));
        crate::kit::case::has(&order("one"), &with)
    };
    assert!(fits(&case.children[0]) && !fits(&case.children[3]), "{file}");
}

#[test]
fn arguments_that_somebody_wrote_anew_are_said_whole() {
    let arguments = json!({ "path": "a", "after": null });
    let says = word(&Decision::Amend { arguments: arguments.to_string() }).expect("a word");
    let mut case = Case::parse("mission = {}\n[expect]\n").expect("a case");
    case.people.push(Person { asked: None, after: None, says, by: None, note: None, times: None });
    let case = Case::parse(&case.written().expect("TOML says it")).expect("a case");
    assert!(matches!(&case.people[0].says, Word::Amend(all) if Value::Object(all.clone()) == arguments));
}

#[test]
fn of_a_traceback_only_what_was_wrong_is_expected() {
    let trap = "The plugin p@0.1.0 crashed: Traceback (most recent call last):\n  File \"/0/plugin.py\", line 30, in run\n\
                IndexError: list index out of range\nthread '<unnamed>' panicked at runtime/src/lib.rs:1293:29\nnote: see RUST_BACKTRACE";
    for (summary, expected) in [
        (trap, Some("IndexError: list index out of range")),
        ("The plugin p@0.1.0 crashed: panicked at src/lib.rs:9:5:\nno page (wasm trap)\n", Some("no page (wasm trap)")),
        (
            "The plugin p@0.1.0 crashed: KeyError: 'a', at run (plugin.py:10) (wasm trap)",
            Some("The plugin p@0.1.0 crashed: KeyError: 'a'"),
        ),
        (
            "the plugin failed: TypeError: a is undefined, at run (plugin.js:7)",
            Some("the plugin failed: TypeError: a is undefined"),
        ),
        ("3 files, at least (one:a)", None),
        ("3 lines", None),
        ("TypeError: line is undefined", None),
        ("", None),
    ] {
        match (wanted_of(summary), expected) {
            (Wanted::Part { contains }, Some(expected)) => assert_eq!(contains, expected),
            (Wanted::Whole(whole), None) => assert_eq!(whole, summary),
            (found, _) => panic!("{summary}: {}", found.shown()),
        }
        assert!(wanted_of(summary).fits(summary), "{summary}");
    }
}

#[test]
fn only_what_somebody_waited_for_brings_an_end_by_itself() {
    let at = |seconds: i64, record: Record| Stamped {
        at: Timestamp::from_second(seconds).expect("a time"),
        ..stamped(record)
    };
    let call = || called(2, "Read", &json!({}), Ok(Value::Null));
    let started = || Record::Started { run: RunNo(1), alone: false, announced: true };
    let logged = Record::Logged { call: CallNo(1), level: LogLevel::Info, text: String::new() };
    let timer = |ms: u64| Record::Answered {
        call: CallNo(3),
        question: HostQuestion::After,
        about: String::new(),
        answer: ms.to_string(),
    };
    let computes = || vec![started(), logged.clone(), call()[0].record.clone(), call()[1].record.clone()];
    let with = |more: Record| [computes(), vec![more]].concat();
    let calls = || vec![started(), logged.clone(), call()[0].record.clone()];
    let cancel = |call, host_calls, under_way| Some((call, Some(host_calls), Some(under_way)));
    for (what, records, reason, expected) in [
        ("computed", computes(), Reason::CancelledByRequest, cancel(1, 2, 0)),
        ("computed", computes(), Reason::RunTimeSpent, cancel(1, 2, 0)),
        ("computed", computes(), Reason::WindowClosed, cancel(1, 2, 0)),
        ("its timer was over", with(timer(1_000)), Reason::RunTimeSpent, cancel(1, 3, 0)),
        ("called", calls(), Reason::Halted, cancel(1, 2, 1)),
        ("slept", with(timer(60_000)), Reason::CancelledByRequest, cancel(1, 3, 0)),
        ("called", calls(), Reason::RunTimeSpent, None),
        ("slept", with(timer(60_000)), Reason::RunTimeSpent, None),
        ("slept", with(timer(60_000)), Reason::WindowClosed, None),
        ("did nothing", vec![started()], Reason::RunTimeSpent, cancel(0, 0, 0)),
        ("waited for its turn", Vec::new(), Reason::CancelledByRequest, Some((0, None, None))),
        ("ended", computes(), Reason::Done, None),
    ] {
        let mut all = vec![accepted(&json!({}))];
        all.extend(records.into_iter().map(|record| at(1, record)));
        let status = match reason {
            Reason::Done => Status::Completed,
            Reason::RunTimeSpent | Reason::WindowClosed => Status::TimedOut,
            _ => Status::Cancelled,
        };
        let text = String::new();
        let end = Record::Finished { status, reason, summary: text.clone(), next_action: text };
        all.push(at(5, end));
        let case = case_of(&all, &Around::default()).expect("a case");
        let found = case.cancel.as_ref().map(|cancel| (cancel.call, cancel.host_calls, cancel.under_way));
        assert_eq!(found, expected, "{what}: {reason}");
        let wanted = if expected.is_some() { Status::Cancelled } else { status };
        assert_eq!(case.expect.status, Some(wanted.to_string()), "{what}: {reason}");
    }
}
