//! A case of a mission that is on record: what was said to it then is what the case says, and what came of it is expected.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use sortie_contract::request::Decision;
use sortie_contract::tool::{CallError, MODEL, ToolAnswer};
use sortie_contract::{Record, Stamped, Timestamp};

use super::case::{Case, Expect, Fault, FaultKind, Person, Says, Wanted, WantedCall, Word};
use super::untold::sayable;

/// What an envelope has that is no part of a situation.
const OF_THE_DISPATCH: [&str; 10] = [
    "mission_id",
    "vp_session_id",
    "vp_runtime_id",
    "source_instance_id",
    "target_instance_id",
    "idempotency_key",
    "trace_id",
    "created_at",
    "callback",
    // A case begins anew, also that of a fork.
    "forked_from",
];

/// A call on its way.
struct Begun {
    tool: String,
    arguments: Value,
    at: Timestamp,
}

/// The case of a record.
///
/// # Errors
/// It does not begin with an acceptance.
pub(crate) fn case_of(records: &[Stamped]) -> Result<Case, String> {
    let first = records.first().ok_or("the mission has no records")?;
    let Record::Accepted(accepted) = &first.record else {
        return Err("a record begins with the acceptance of a mission".to_owned());
    };
    let mut mission: Map<String, Value> =
        serde_json::from_str(&accepted.envelope).map_err(|error| error.to_string())?;
    OF_THE_DISPATCH.iter().for_each(|key| drop(mission.remove(*key)));
    mission.insert("plugin".to_owned(), json!(accepted.plugin.name));
    mission.insert("mission_type".to_owned(), json!("custom"));
    let mut case = Case {
        mission,
        inputs_json: None,
        start: Some(first.at.to_string()),
        memory_mib: None,
        files: BTreeMap::new(),
        toolbox: BTreeMap::new(),
        tools: Vec::new(),
        models: Vec::new(),
        people: Vec::new(),
        expect: Expect { calls: Some(Vec::new()), ..Expect::default() },
    };
    let mut begun: BTreeMap<u32, Begun> = BTreeMap::new();
    let mut asked: BTreeMap<u32, (String, Timestamp)> = BTreeMap::new();
    for stamped in records {
        fold(&mut case, &mut begun, &mut asked, stamped);
    }
    // Of several models the first is the one of whoever names none.
    if let Some(default) = default_model(records) {
        for entry in case.models.iter_mut().filter_map(Value::as_object_mut) {
            entry.entry("name").or_insert_with(|| default.clone());
        }
        case.models.sort_by_key(|entry| entry["name"] != default);
    }
    Ok(case)
}

fn fold(
    case: &mut Case,
    begun: &mut BTreeMap<u32, Begun>,
    asked: &mut BTreeMap<u32, (String, Timestamp)>,
    stamped: &Stamped,
) {
    let at = stamped.at;
    match &stamped.record {
        Record::CallStarted { call, tool, arguments, .. } | Record::CallHeld { call, tool, arguments, .. } => {
            let arguments: Value = serde_json::from_str(arguments).unwrap_or_default();
            let (tool, with) = match tool.as_str() {
                // A request is long, and its model is told by its turn.
                MODEL => ("model".to_owned(), Map::new()),
                name => (name.to_owned(), arguments.as_object().cloned().unwrap_or_default()),
            };
            if !begun.contains_key(&call.0) {
                want(case, &tool, with);
            }
            begun.insert(call.0, Begun { tool, arguments, at });
        }
        Record::CallResumed { call } => {
            if let Some(known) = begun.get_mut(&call.0) {
                known.at = at;
            }
        }
        Record::CallRefused { tool, .. } => want(case, tool.as_str(), Map::new()),
        Record::Asked { question, .. } => {
            let with = json!({ "question": question }).as_object().cloned().unwrap_or_default();
            want(case, "ask", with);
        }
        Record::CallFinished { call, outcome, .. } => {
            if let Some(known) = begun.remove(&call.0) {
                answered(case, known, outcome, at);
            }
        }
        Record::Requested { request, question, .. } => drop(asked.insert(request.0, (question.clone(), at))),
        Record::Decided { request, decision, .. } => {
            if let (Some((question, since)), Some(says)) = (asked.remove(&request.0), word(decision)) {
                case.people.push(Person { asked: Some(question), after: span(since, at), says, times: Some(1) });
            }
        }
        Record::Finished { status, reason, summary, .. } => {
            case.expect.status = Some(status.to_string());
            case.expect.reason = Some(reason.to_string());
            case.expect.summary = Some(Wanted::Whole(summary.clone()));
        }
        _ => {}
    }
}

fn want(case: &mut Case, tool: &str, with: Map<String, Value>) {
    // Of a call nothing is expected that it does without.
    let with = sayable(with);
    case.expect.calls.get_or_insert_default().push(WantedCall { tool: tool.to_owned(), with });
}

fn answered(case: &mut Case, begun: Begun, outcome: &Result<ToolAnswer, CallError>, at: Timestamp) {
    let Begun { tool, arguments, at: since } = begun;
    let result =
        |answer: &ToolAnswer| serde_json::from_str::<Value>(&answer.result).unwrap_or_else(|_| json!(answer.result));
    if tool == "model" {
        let mut entry = match outcome {
            Ok(answer) => {
                let answer = result(answer);
                json!({ "name": answer["model"], "answer": { "content": answer["content"], "stop_reason": answer["stop_reason"] } })
            }
            Err(_) => json!({ "name": asked_for(&arguments), "fault": { "status": 400 } }),
        };
        // Who asks for none by name and is answered by none has what a case calls its model.
        if entry["name"].is_null() {
            entry.as_object_mut().expect("it is an object").remove("name");
        }
        case.models.push(entry);
        return;
    }
    let with = arguments.as_object().cloned();
    let (answer, error) = match outcome {
        Ok(answer) => (Some(result(answer)), None),
        Err(error) => (None, Some(fault(error))),
    };
    case.tools.push(Says {
        name: tool,
        with,
        answer,
        answer_json: None,
        error,
        takes: span(since, at),
        times: Some(1),
    });
}

/// The model that a request names: of a long one the record has a summary.
fn asked_for(arguments: &Value) -> &Value {
    &arguments.get("request").unwrap_or(arguments)["model"]
}

/// The model that answered who named none, where that is on record.
fn default_model(records: &[Stamped]) -> Option<Value> {
    let mut unnamed = BTreeSet::new();
    records.iter().find_map(|stamped| match &stamped.record {
        Record::CallStarted { call, tool, arguments, .. } | Record::CallHeld { call, tool, arguments, .. } => {
            let arguments: Value = serde_json::from_str(arguments).unwrap_or_default();
            if tool.as_str() == MODEL && asked_for(&arguments).is_null() {
                unnamed.insert(call.0);
            }
            None
        }
        Record::CallFinished { call, outcome: Ok(answer), .. } if unnamed.contains(&call.0) => {
            let answer: Value = serde_json::from_str(&answer.result).ok()?;
            Some(answer["model"].clone()).filter(Value::is_string)
        }
        _ => None,
    })
}

fn fault(error: &CallError) -> Fault {
    let kind = match error {
        CallError::TimedOut(_) => FaultKind::TimedOut,
        CallError::Denied(_) => FaultKind::Denied,
        CallError::Uncertain(_) => FaultKind::Uncertain,
        CallError::Failed(_)
        | CallError::BudgetExhausted(_)
        | CallError::Cancelled
        | CallError::InvalidArguments(_) => FaultKind::Failed,
    };
    Fault { kind, text: error.to_string() }
}

fn word(decision: &Decision) -> Option<Word> {
    Some(match decision {
        Decision::Approve { .. } => Word::Approve,
        Decision::Deny => Word::Deny,
        Decision::Answer { text } => Word::Answer(text.clone()),
        Decision::Grant { llm_calls, cost } => Word::Grant { llm_calls: *llm_calls, cost_usd: cost.as_usd() },
        Decision::Amend { arguments } => Word::Amend(serde_json::from_str(arguments).ok()?),
        // What a crash left open then is not open in a case.
        Decision::Repeat | Decision::Record { .. } => return None,
    })
}

/// How long something took, in whole milliseconds; nothing where that was no time.
fn span(since: Timestamp, at: Timestamp) -> Option<String> {
    let ms = at.duration_since(since).as_millis();
    (ms > 0).then(|| format!("{ms}ms"))
}

#[cfg(test)]
mod tests {
    use sortie_contract::digest::Digest;
    use sortie_contract::envelope::EffectiveBudget;
    use sortie_contract::id::CallNo;
    use sortie_contract::money::Spend;
    use sortie_contract::plugin::PluginIdentity;
    use sortie_contract::record::Accepted;
    use sortie_contract::tool::{Repeat, ToolName};

    use super::*;

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

        let file = case_of(&records).expect("a case").written().expect("TOML says it");
        let case = Case::parse(&file).unwrap_or_else(|why| panic!("{why}\n{file}"));
        let sent: Value = serde_json::from_str(&case.envelope("p", &[]).expect("an envelope")).expect("JSON");
        assert_eq!((&sent["inputs"], sent.get("forked_from")), (&envelope["inputs"], None), "{file}");
        let said: Vec<_> = case.tools.iter().map(|says| says.answer.clone()).collect();
        assert_eq!(said, [Some(page), Some(Value::Null)], "{file}");
        for (says, arguments) in case.tools.iter().zip([json!({ "url": "u", "body": [null] }), json!({ "url": "u" })]) {
            let with = Value::Object(says.with.clone().expect("arguments"));
            assert!(super::super::case::has(&arguments, &with), "{with} fits {arguments}");
        }
        // Whoever names no model is answered by the first.
        let names: Vec<_> = case.models.iter().map(|entry| entry["name"].as_str().expect("a name")).collect();
        assert_eq!(names, ["brain", "brain", "critic", "critic"], "{file}");
        assert_eq!(case.models[2]["answer"]["content"][0]["input"], json!({ "why": null }), "{file}");
        assert!(case.models[0].get("fault").is_some() && case.models[3].get("fault").is_some(), "{file}");
    }

    #[test]
    fn arguments_that_somebody_wrote_anew_are_said_whole() {
        let arguments = json!({ "path": "a", "after": null });
        let says = word(&Decision::Amend { arguments: arguments.to_string() }).expect("a word");
        let mut case = Case::parse("mission = {}\n[expect]\n").expect("a case");
        case.people.push(Person { asked: None, after: None, says, times: None });
        let case = Case::parse(&case.written().expect("TOML says it")).expect("a case");
        assert!(matches!(&case.people[0].says, Word::Amend(all) if Value::Object(all.clone()) == arguments));
    }
}
