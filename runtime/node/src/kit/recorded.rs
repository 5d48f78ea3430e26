//! A case of a mission that is on record: what was said to it then is what the case says, and what came of it is expected.

mod beyond;
pub(crate) mod children;
mod ending;
mod workspace;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use sortie_contract::digest::Digest;
use sortie_contract::envelope::EffectiveBudget;
use sortie_contract::id::CallNo;
use sortie_contract::record::HostQuestion;
use sortie_contract::request::{Decision, Reach};
use sortie_contract::tool::{CallError, MISSION, MODEL, ToolAnswer, ToolInfo};
use sortie_contract::{MicroUsd, Record, Stamped, Timestamp};

use super::case::{Case, Child, Declared, Expect, Fault, FaultKind, Person, Says, Wanted, WantedCall, Word};
use super::stage::REAL;
use super::untold::{can_be_said, sayable};
pub(crate) use beyond::entries_beyond;
use ending::Last;
use workspace::Workspace;

/// What an envelope has that is no part of a situation.
const OF_THE_DISPATCH: [&str; 11] = [
    "mission_id",
    "vp_session_id",
    "vp_runtime_id",
    "source_instance_id",
    "target_instance_id",
    "idempotency_key",
    "trace_id",
    "created_at",
    "callback",
    // A case begins anew, also that of a fork, and nobody has dispatched it.
    "forked_from",
    "child_of",
];

/// What a record does not say of the world around it.
#[derive(Debug, Default)]
pub(crate) struct Around {
    /// The tools that the node has.
    pub(crate) tools: Vec<ToolInfo>,
    /// The texts among the mission's artifacts, and among those of the missions that it dispatched.
    pub(crate) texts: BTreeMap<Digest, String>,
    /// The models that the node has, the one first that is meant where none is named.
    pub(crate) models: Vec<String>,
}

/// A call on its way.
struct Begun {
    tool: String,
    arguments: Value,
    at: Timestamp,
}

/// What was gone over so far.
struct Fold<'a> {
    case: Case,
    around: &'a Around,
    begun: BTreeMap<u32, Begun>,
    /// What is asked, since when, and of which call.
    asked: BTreeMap<u32, (String, Timestamp, CallNo)>,
    /// What the missions came to that it dispatched, by call.
    children: BTreeMap<u32, Child>,
    workspace: Workspace<'a>,
    last: Last,
    granted: Vec<String>,
    /// The most that a call of a tool was quoted at.
    prices: BTreeMap<String, MicroUsd>,
}

/// The case of a record.
///
/// # Errors
/// It does not begin with an acceptance.
pub(crate) fn case_of(records: &[Stamped], around: &Around) -> Result<Case, String> {
    let first = records.first().ok_or("the mission has no records")?;
    let Record::Accepted(accepted) = &first.record else {
        return Err("a record begins with the acceptance of a mission".to_owned());
    };
    let mut mission: Map<String, Value> =
        serde_json::from_str(&accepted.envelope).map_err(|error| error.to_string())?;
    let missions_max = mission.get("budget").and_then(|budget| budget.get("max_missions")).cloned();
    let kept = mission.get("mission_id").cloned().filter(|_| children::are_in(records));
    OF_THE_DISPATCH.iter().for_each(|key| drop(mission.remove(*key)));
    // What it dispatches is named after it.
    mission.extend(kept.map(|id| ("mission_id".to_owned(), id)));
    mission.insert("plugin".to_owned(), json!(accepted.plugin.name));
    mission.insert("mission_type".to_owned(), json!("custom"));
    mission.insert("budget".to_owned(), budget(&accepted.budget, missions_max));
    // Where artifacts go that nobody else gets.
    if let Some(policy) = mission.get_mut("artifact_policy").and_then(Value::as_object_mut) {
        policy.remove("storage_scope");
    }
    let case = Case {
        mission,
        inputs_json: None,
        start: Some(first.at.to_string()),
        memory_mib: None,
        files: BTreeMap::new(),
        toolbox: BTreeMap::new(),
        tools: Vec::new(),
        models: Vec::new(),
        children: Vec::new(),
        people: Vec::new(),
        cancel: None,
        expect: Expect { calls: Some(Vec::new()), ..Expect::default() },
    };
    let mut fold = Fold {
        case,
        around,
        begun: BTreeMap::new(),
        asked: BTreeMap::new(),
        children: BTreeMap::new(),
        workspace: Workspace::new(&around.texts),
        last: Last::new(first.at),
        granted: Vec::new(),
        prices: BTreeMap::new(),
    };
    records.iter().for_each(|stamped| fold.take(stamped));
    Ok(fold.finish(records))
}

impl Fold<'_> {
    fn take(&mut self, stamped: &Stamped) {
        let at = stamped.at;
        self.last.sees(stamped);
        match &stamped.record {
            Record::Granted { tools, memory_bytes_max } => {
                self.granted = tools.iter().map(|tool| tool.as_str().to_owned()).collect();
                self.case.memory_mib = memory_bytes_max.map(|bytes| bytes.div_ceil(1 << 20));
            }
            Record::CallStarted { call, tool, arguments, reserved, .. }
            | Record::CallHeld { call, tool, arguments, reserved, .. } => {
                let arguments: Value = serde_json::from_str(arguments).unwrap_or_default();
                let (tool, with) = match tool.as_str() {
                    // A request is long, and its model is told by its turn.
                    MODEL => ("model".to_owned(), Map::new()),
                    name => (name.to_owned(), arguments.as_object().cloned().unwrap_or_default()),
                };
                let price = self.prices.entry(tool.clone()).or_default();
                *price = (*price).max(reserved.cost);
                if !self.begun.contains_key(&call.0) {
                    self.want(&tool, with);
                }
                self.begun.insert(call.0, Begun { tool, arguments, at });
            }
            Record::CallResumed { call } => {
                if let Some(known) = self.begun.get_mut(&call.0) {
                    known.at = at;
                }
            }
            Record::CallRefused { call, tool, error, .. } => {
                if tool.as_str() == MISSION {
                    self.children.extend(children::refused(error).map(|child| (call.0, child)));
                }
                self.want(tool.as_str(), Map::new());
            }
            Record::Asked { question, .. } => {
                let with = json!({ "question": question }).as_object().cloned().unwrap_or_default();
                self.want("ask", with);
            }
            Record::CallFinished { call, outcome, .. } => match self.begun.remove(&call.0) {
                Some(Begun { tool, arguments, at: since }) if tool == MISSION => {
                    let child = children::ended(&arguments, outcome, (since, at), self.around);
                    self.children.insert(call.0, child);
                }
                Some(known) => self.answered(known, outcome, at),
                None => {}
            },
            Record::Requested { request, question, call, .. } => {
                self.asked.insert(request.0, (question.clone(), at, *call));
            }
            Record::Decided { request, decision, by, note } => self.decided(request.0, decision, (by, note), at),
            Record::ArtifactStored { artifact, source, .. } => self.workspace.stored(artifact, source),
            _ => {}
        }
    }

    fn want(&mut self, tool: &str, with: Map<String, Value>) {
        // Of a call nothing is expected that it does without.
        let with = sayable(with);
        self.case.expect.calls.get_or_insert_default().push(WantedCall { tool: tool.to_owned(), with });
    }

    fn decided(&mut self, request: u32, decision: &Decision, (by, note): (&String, &String), at: Timestamp) {
        let Some((question, since, call)) = self.asked.remove(&request) else { return };
        // From then on the call is the changed one.
        if let (Decision::Amend { arguments }, Some(begun)) = (decision, self.begun.get_mut(&call.0)) {
            begun.arguments = serde_json::from_str(arguments).unwrap_or_default();
        }
        if let Some(says) = word(decision) {
            let note = Some(note.clone()).filter(|note| !note.is_empty());
            let (asked, by) = (Some(question), Some(by.clone()));
            self.case.people.push(Person { asked, after: span(since, at), says, by, note, times: Some(1) });
        }
    }

    fn answered(&mut self, begun: Begun, outcome: &Result<ToolAnswer, CallError>, at: Timestamp) {
        let Begun { tool, arguments, at: since } = begun;
        // What the core has refused, it refuses again: nobody was asked.
        if matches!(outcome, Err(CallError::BudgetExhausted(_) | CallError::Cancelled)) {
            return;
        }
        let result = |answer: &ToolAnswer| {
            serde_json::from_str::<Value>(&answer.result).unwrap_or_else(|_| json!(answer.result))
        };
        if tool == "model" {
            let mut entry = match outcome {
                Ok(answer) => {
                    let answer = result(answer);
                    json!({ "name": answer["model"], "answer": { "content": answer["content"], "stop_reason": answer["stop_reason"] } })
                }
                Err(CallError::Denied(_)) => return,
                Err(_) => json!({ "name": asked_for(&arguments), "fault": { "status": 400 } }),
            };
            unname(&mut entry);
            self.case.models.push(entry);
            return;
        }
        let with = arguments.as_object().cloned();
        let (answer, error) = match outcome {
            Ok(answer) => (Some(result(answer)), None),
            Err(error) => (None, Some(fault(error))),
        };
        let writes = match outcome {
            Ok(answer) => self.workspace.wrote(&tool, &arguments, &answer.wrote),
            Err(_) => BTreeMap::new(),
        };
        let takes = span(since, at);
        self.case.tools.push(Says {
            name: tool,
            with,
            answer,
            answer_json: None,
            error,
            writes,
            takes,
            times: Some(1),
        });
    }

    /// What is known once all is gone over.
    fn finish(mut self, records: &[Stamped]) -> Case {
        for (no, Begun { tool, arguments, at }) in std::mem::take(&mut self.begun) {
            // Nobody lived to see its result; a question of people stays without an answer.
            let for_long = ending::beyond(at, self.last.at);
            if tool == "model" {
                let mut entry = json!({ "name": asked_for(&arguments), "fault": { "hang_s": for_long.as_secs() } });
                unname(&mut entry);
                self.case.models.push(entry);
            } else if tool == MISSION {
                self.children.insert(no, children::beyond(&arguments, for_long));
            } else if !self.asked.values().any(|(.., call)| call.0 == no) {
                self.case.tools.push(Says {
                    name: tool,
                    with: arguments.as_object().cloned(),
                    answer: Some(json!({})),
                    answer_json: None,
                    error: None,
                    writes: BTreeMap::new(),
                    takes: Some(format!("{}s", for_long.as_secs())),
                    times: Some(1),
                });
            }
        }
        // Of several that fit an order the first is taken.
        self.case.children = std::mem::take(&mut self.children).into_values().collect();
        self.workspace.lay_out(&mut self.case);
        // Of several models the first is the one of whoever names none.
        if let Some(default) = default_model(records) {
            for entry in self.case.models.iter_mut().filter_map(Value::as_object_mut) {
                entry.entry("name").or_insert_with(|| default.clone());
            }
            self.case.models.sort_by_key(|entry| entry["name"] != default);
        }
        self.models(records);
        self.toolbox();
        ending::end(&mut self.case, &self.last);
        if let Some(Wanted::Whole(summary)) = &self.case.expect.summary {
            self.case.expect.summary = Some(wanted_of(summary));
        }
        self.case
    }

    /// Models that were there and were not asked: a plugin may need one, or look which there are.
    fn models(&mut self, records: &[Stamped]) {
        let listed = records.iter().find_map(|stamped| match &stamped.record {
            Record::Answered { question: HostQuestion::Models, answer, .. } => {
                serde_json::from_str::<Vec<Value>>(answer).ok()
            }
            _ => None,
        });
        let listed =
            listed.map(|all| all.iter().filter_map(|model| model["name"].as_str().map(str::to_owned)).collect());
        let there: Vec<String> = listed.unwrap_or_else(|| self.around.models.clone());
        // Those without a name are the first of them.
        let is_one = there.len() == 1 && !self.case.models.is_empty();
        for name in there.into_iter().filter(|_| !is_one) {
            if !self.case.models.iter().any(|entry| entry["name"] == name) {
                self.case.models.push(json!({ "name": name, "text": "It was not asked then." }));
            }
        }
    }

    /// What the node's tools are, where a case's are otherwise.
    fn toolbox(&mut self) {
        let used = self.case.tools.iter().map(|says| says.name.clone());
        let mut names: Vec<String> = self.granted.iter().cloned().chain(used).collect();
        names.sort();
        names.dedup();
        for name in names {
            let info = self.around.tools.iter().find(|info| info.name.as_str() == name);
            let price = self.prices.get(&name).copied().filter(|price| *price > MicroUsd::ZERO);
            let is_real = REAL.contains(&name.as_str());
            if is_real && price.is_none() {
                continue;
            }
            let effects = |info: &ToolInfo| info.effects.iter().map(|class| class.0.clone()).collect();
            self.case.toolbox.insert(
                name,
                Declared {
                    description: None,
                    schema: info.map(|info| info.input_schema.clone()).filter(|schema| !is_real && can_be_said(schema)),
                    read_only: info.map(|info| info.read_only),
                    idempotent: info.map(|info| info.idempotent),
                    effects: info.map(effects),
                    cost_usd: price.map(MicroUsd::as_usd),
                },
            );
        }
    }
}

/// What is expected of a summary: all of it, but for what any edit of the plugin changes: of a traceback only the line that says what was wrong, and
/// of an error not its line in the plugin's file.
fn wanted_of(summary: &str) -> Wanted {
    let says_what = |line: &&str| {
        let name = line.split([':', ' ']).next().unwrap_or_default();
        let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_'));
        is_name && ["Error", "Exception"].iter().any(|end| name.ends_with(end))
    };
    let lines = || summary.lines().filter(|line| !line.trim().is_empty());
    let one = if lines().count() > 1 { lines().rfind(says_what).or_else(|| lines().next_back()) } else { None };
    let line = one.unwrap_or(summary);
    match before_its_place(line).or(one) {
        Some(part) => Wanted::Part { contains: part.to_owned() },
        None => Wanted::Whole(summary.to_owned()),
    }
}

/// What a library says of an error before it says where that was: `…, at run (plugin.py:10)`.
fn before_its_place(line: &str) -> Option<&str> {
    let (what, place) = line.rsplit_once(", at ")?;
    let (_, number) = place.split_once(')')?.0.rsplit_once(':')?;
    (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())).then_some(what)
}

/// Who asks for none by name and is answered by none has what a case calls its model.
fn unname(entry: &mut Value) {
    if entry["name"].is_null()
        && let Some(fields) = entry.as_object_mut()
    {
        fields.remove("name");
    }
}

/// What held, whatever ceilings the node has.
fn budget(held: &EffectiveBudget, missions_max: Option<Value>) -> Value {
    let EffectiveBudget { runtime_ms_max, llm_calls_max, cost_max } = held;
    let mut budget = Map::new();
    #[expect(clippy::cast_precision_loss, reason = "run times are far below 2^53 ms")]
    budget.insert("max_runtime_minutes".to_owned(), json!(*runtime_ms_max as f64 / 60_000.0));
    budget.extend(llm_calls_max.map(|calls| ("max_llm_calls".to_owned(), json!(calls))));
    budget.extend(cost_max.map(|cost| ("max_cost_usd".to_owned(), json!(cost.as_usd()))));
    budget.extend(missions_max.map(|missions| ("max_missions".to_owned(), missions)));
    Value::Object(budget)
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
        Decision::Approve { reach: Reach::Call } => Word::Approve,
        Decision::Approve { reach } => Word::ApproveFor(*reach),
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
#[path = "recorded/tests.rs"]
mod tests;
