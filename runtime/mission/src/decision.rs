//! What a decision comes to that somebody sends: which fields go with it, and what is wrong with them.
//!
//! Owned here: the fields of each decision and what they mean. Never here: which decisions a request takes, which is `request`'s to
//! say, and the text that they are read from.

use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use serde_json::{Map, Value};
use sortie_contract::mistake::{Mistake, Pointer};
use sortie_contract::money::MicroUsd;
use sortie_contract::request::{Decision, Reach};

/// The parts of an amount.
const PARTS: [&str; 2] = ["cost_usd", "llm_calls"];

/// A decision as it is sent: its name, and what stands beside it. A null stands for nothing, but for a result that is one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SentDecision {
    /// `approve`, `deny`, `answer`, `grant`, `repeat` or `record`.
    pub decision: Option<String>,
    /// The field `for` of an approval: how far it reaches.
    pub reach: Option<Value>,
    /// Of an approval: what the call is made with, in the place of what its plugin wanted.
    pub arguments: Option<Value>,
    /// Of an answer.
    pub text: Option<Value>,
    /// Of a grant: US dollars, or an object with `cost_usd`, `llm_calls` or both.
    pub amount: Option<Value>,
    /// Of a record: what the call returned.
    pub result: Option<Value>,
}

impl SentDecision {
    /// The decision that it is. Where `mistakes` were found in its text already, a decision that is not there is not asked for: one
    /// of them may be its name.
    ///
    /// # Errors
    /// Those mistakes and what else is wrong, each with its place.
    pub fn read(self, mistakes: Vec<Mistake>) -> Result<Decision, Vec<Mistake>> {
        let mut wrong = Wrong(mistakes);
        self.without_effect(&mut wrong);
        match self.decision(&mut wrong) {
            Some(decision) if wrong.0.is_empty() => Ok(decision),
            _ => Err(wrong.0),
        }
    }

    /// Whoever sends an amount with an approval believes that it matters.
    fn without_effect(&self, wrong: &mut Wrong) {
        let Some(decision) = self.decision.as_deref() else { return };
        let used: &[&str] = match decision {
            "approve" => &["for", "arguments"],
            "answer" => &["text"],
            "grant" => &["amount"],
            "record" => &["result"],
            "deny" | "repeat" => &[],
            _ => return,
        };
        let fields = [
            ("for", &self.reach),
            ("arguments", &self.arguments),
            ("text", &self.text),
            ("amount", &self.amount),
            ("result", &self.result),
        ];
        for (key, _) in fields.into_iter().filter(|(key, value)| !used.contains(key) && there(value).is_some()) {
            wrong.add(key, "no_effect", &format!("it means nothing beside the decision `{decision}`"));
        }
    }

    fn decision(self, wrong: &mut Wrong) -> Option<Decision> {
        match self.decision.as_deref() {
            Some("approve") => {
                let reach = reach(&self.reach, wrong);
                let Some(arguments) = there(&self.arguments) else { return Some(Decision::Approve { reach }) };
                if reach != Reach::Call {
                    wrong.add(
                        "for",
                        "no_effect",
                        "changed arguments approve the one call that they are of: leave it out",
                    );
                }
                Some(Decision::Amend { arguments: arguments.to_string() })
            }
            Some("deny") => Some(Decision::Deny),
            Some("answer") => {
                let text = text("text", &self.text, wrong);
                if text.is_none_or(|text| text.trim().is_empty()) {
                    wrong.add("text", "required", "say what the answer is; `deny` turns the question down");
                }
                text.map(|text| Decision::Answer { text: text.to_owned() })
            }
            Some("grant") => grant(there(&self.amount), wrong),
            Some("repeat") => Some(Decision::Repeat),
            Some("record") => {
                if self.result.is_none() {
                    wrong.add("result", "required", "say what the call returned, as JSON");
                }
                self.result.map(|result| Decision::Record { result: result.to_string() })
            }
            Some(_) => {
                wrong.add("decision", "invalid", "it must be approve, deny, answer, grant, repeat or record");
                None
            }
            None if wrong.0.is_empty() => {
                wrong.add("decision", "required", "approve, deny, answer, grant, repeat or record");
                None
            }
            None => None,
        }
    }
}

/// A field, unless it is a null.
fn there(value: &Option<Value>) -> Option<&Value> {
    value.as_ref().filter(|value| !value.is_null())
}

fn text<'a>(key: &str, value: &'a Option<Value>, wrong: &mut Wrong) -> Option<&'a str> {
    let value = there(value)?;
    if !value.is_string() {
        wrong.add(key, "wrong_type", "it must be a text");
    }
    value.as_str()
}

fn reach(value: &Option<Value>, wrong: &mut Wrong) -> Reach {
    match text("for", value, wrong) {
        None | Some("call") => Reach::Call,
        Some("tool") => Reach::Tool,
        Some("mission") => Reach::Mission,
        Some(_) => {
            wrong.add("for", "invalid", "it must be call, tool or mission");
            Reach::Call
        }
    }
}

fn grant(amount: Option<&Value>, wrong: &mut Wrong) -> Option<Decision> {
    let parts = amount.and_then(Value::as_object);
    for key in parts.into_iter().flat_map(Map::keys).filter(|key| !PARTS.contains(&key.as_str())) {
        let pointer = Pointer::root().join("amount").join(key);
        wrong.0.push(Mistake::new(pointer, "unknown_key", "it is not one of cost_usd, llm_calls"));
    }
    let (cost, llm_calls) = match amount {
        Some(Value::Object(parts)) => (parts.get("cost_usd"), parts.get("llm_calls")),
        other => (other, None),
    };
    let cost = cost.map_or(Some(MicroUsd::ZERO), |usd| usd.as_f64().and_then(MicroUsd::from_usd));
    let llm_calls = llm_calls.map_or(Some(0), Value::as_u64);
    match (cost, llm_calls) {
        (Some(cost), Some(llm_calls)) if cost > MicroUsd::ZERO || llm_calls > 0 => {
            Some(Decision::Grant { llm_calls, cost })
        }
        _ => {
            let detail = "say how much more: US dollars above 0, or {\"cost_usd\": …, \"llm_calls\": …}";
            wrong.add("amount", if amount.is_none() { "required" } else { "invalid" }, detail);
            None
        }
    }
}

/// What is wrong with it, so far.
struct Wrong(Vec<Mistake>);

impl Wrong {
    fn add(&mut self, key: &str, code: &str, detail: &str) {
        self.0.push(Mistake::new(Pointer::root().join(key), code, detail));
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use serde_json::json;

    use super::*;

    fn read(body: &Value, known: Vec<Mistake>) -> Result<Decision, Vec<String>> {
        let field = |key: &str| body.get(key).cloned();
        let sent = SentDecision {
            decision: body["decision"].as_str().map(str::to_owned),
            reach: field("for"),
            arguments: field("arguments"),
            text: field("text"),
            amount: field("amount"),
            result: field("result"),
        };
        let told = |mistake: &Mistake| format!("{} {}", mistake.pointer, mistake.code);
        sent.read(known).map_err(|mistakes| mistakes.iter().map(told).collect())
    }

    #[test]
    fn decisions_are_read_or_named_with_their_place() {
        let approve = |reach| Ok(Decision::Approve { reach });
        let grant = |llm_calls, cost| Ok(Decision::Grant { llm_calls, cost: MicroUsd(cost) });
        let amend = |arguments: &str| Ok(Decision::Amend { arguments: arguments.to_owned() });
        let record = |result: &str| Ok(Decision::Record { result: result.to_owned() });
        let wrong = |told: &str| Err(vec![told.to_owned()]);
        for (body, expected) in [
            (json!({"decision": "approve"}), approve(Reach::Call)),
            (json!({"decision": "approve", "for": "call"}), approve(Reach::Call)),
            (json!({"decision": "approve", "for": "tool"}), approve(Reach::Tool)),
            (json!({"decision": "approve", "for": "mission"}), approve(Reach::Mission)),
            (json!({"decision": "approve", "for": "ever"}), wrong("/for invalid")),
            (json!({"decision": "approve", "for": 1}), wrong("/for wrong_type")),
            (json!({"decision": "approve", "arguments": {"path": "b"}}), amend("{\"path\":\"b\"}")),
            (json!({"decision": "approve", "arguments": {}, "for": "call"}), amend("{}")),
            (json!({"decision": "approve", "arguments": null, "for": "tool"}), approve(Reach::Tool)),
            (json!({"decision": "approve", "arguments": {}, "for": "tool"}), wrong("/for no_effect")),
            (json!({"decision": "approve", "arguments": {}, "for": "mission"}), wrong("/for no_effect")),
            (json!({"decision": "deny", "arguments": {}}), wrong("/arguments no_effect")),
            (json!({"decision": "grant", "amount": 1, "arguments": {}}), wrong("/arguments no_effect")),
            (json!({"decision": "deny"}), Ok(Decision::Deny)),
            (json!({"decision": "answer", "text": "B"}), Ok(Decision::Answer { text: "B".to_owned() })),
            (json!({"decision": "answer"}), wrong("/text required")),
            (json!({"decision": "answer", "text": " \n"}), wrong("/text required")),
            (json!({"decision": "grant", "amount": 1.5}), grant(0, 1_500_000)),
            (json!({"decision": "grant", "amount": {"llm_calls": 3}}), grant(3, 0)),
            (json!({"decision": "grant", "amount": {"llm_calls": 3, "cost_usd": 2}}), grant(3, 2_000_000)),
            (json!({"decision": "grant", "amount": -1}), wrong("/amount invalid")),
            (json!({"decision": "grant", "amount": 0}), wrong("/amount invalid")),
            (json!({"decision": "grant", "amount": {}}), wrong("/amount invalid")),
            (json!({"decision": "grant", "amount": {"llm_calls": 1.5}}), wrong("/amount invalid")),
            (json!({"decision": "grant"}), wrong("/amount required")),
            (json!({"decision": "grant", "amount": null}), wrong("/amount required")),
            (
                json!({"decision": "grant", "amount": {"cost_usd": 1, "llm_cals": 5}}),
                wrong("/amount/llm_cals unknown_key"),
            ),
            (json!({"decision": "repeat"}), Ok(Decision::Repeat)),
            (json!({"decision": "record", "result": {"a": 1}}), record("{\"a\":1}")),
            (json!({"decision": "record", "result": null}), record("null")),
            (json!({"decision": "record"}), wrong("/result required")),
            (json!({"decision": "approve", "amount": 5}), wrong("/amount no_effect")),
            (json!({"decision": "approve", "text": "yes"}), wrong("/text no_effect")),
            (json!({"decision": "deny", "for": "tool"}), wrong("/for no_effect")),
            (json!({"decision": "repeat", "result": 1}), wrong("/result no_effect")),
            (json!({"decision": "grant", "amount": 1, "text": null}), grant(0, 1_000_000)),
            (json!({"decision": "maybe"}), wrong("/decision invalid")),
            (json!({"decision": "maybe", "amount": 1}), wrong("/decision invalid")),
            (json!({}), wrong("/decision required")),
        ] {
            assert_eq!(read(&body, Vec::new()), expected, "{body}");
        }
    }

    #[test]
    fn what_was_found_wrong_before_is_told_with_it() {
        let known = || vec![Mistake::new(Pointer::root().join("decison"), "unknown_key", "it is not known")];
        for (body, expected) in [
            (json!({}), vec!["/decison unknown_key"]),
            (json!({"decision": "deny"}), vec!["/decison unknown_key"]),
            (json!({"decision": "deny", "for": "tool"}), vec!["/decison unknown_key", "/for no_effect"]),
        ] {
            let told = expected.into_iter().map(str::to_owned).collect();
            assert_eq!(read(&body, known()), Err(told), "{body}");
        }
    }
}
