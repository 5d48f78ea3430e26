//! A case of a mission that is on record: what was said to it then is what the case says, and what came of it is expected.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sortie_contract::request::Decision;
use sortie_contract::tool::{CallError, MODEL, ToolAnswer};
use sortie_contract::{Record, Stamped, Timestamp};

use super::case::{Case, Expect, Fault, FaultKind, Person, Says, Wanted, WantedCall, Word};

/// What an envelope has that is no part of a situation.
const OF_THE_DISPATCH: [&str; 9] = [
    "mission_id",
    "vp_session_id",
    "vp_runtime_id",
    "source_instance_id",
    "target_instance_id",
    "idempotency_key",
    "trace_id",
    "created_at",
    "callback",
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
    // TOML knows no null; to an envelope it is the same as absent.
    mission.retain(|_, value| !value.is_null());
    mission.insert("plugin".to_owned(), json!(accepted.plugin.name));
    mission.insert("mission_type".to_owned(), json!("custom"));
    let mut case = Case {
        mission: mission.into_iter().map(|(key, value)| (key, without_nulls(value))).collect(),
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
    let with = with.into_iter().filter(|(_, value)| !value.is_null());
    let with = with.map(|(key, value)| (key, without_nulls(value))).collect();
    case.expect.calls.get_or_insert_default().push(WantedCall { tool: tool.to_owned(), with });
}

fn answered(case: &mut Case, begun: Begun, outcome: &Result<ToolAnswer, CallError>, at: Timestamp) {
    let Begun { tool, arguments, at: since } = begun;
    let result =
        |answer: &ToolAnswer| serde_json::from_str::<Value>(&answer.result).unwrap_or_else(|_| json!(answer.result));
    if tool == "model" {
        case.models.push(match outcome {
            Ok(answer) => {
                let answer = result(answer);
                json!({ "answer": { "content": without_nulls(answer["content"].clone()), "stop_reason": answer["stop_reason"] } })
            }
            Err(_) => json!({ "fault": { "status": 400 } }),
        });
        return;
    }
    let with = without_nulls(arguments).as_object().cloned();
    let (answer, error) = match outcome {
        Ok(answer) => (Some(without_nulls(result(answer))), None),
        Err(error) => (None, Some(fault(error))),
    };
    case.tools.push(Says { name: tool, with, answer, error, takes: span(since, at), times: Some(1) });
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

/// A value as TOML can say it, which knows no null.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(all) => {
            let kept = all.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(key, value)| (key, without_nulls(value))).collect())
        }
        Value::Array(all) => Value::Array(all.into_iter().map(without_nulls).collect()),
        other => other,
    }
}
