//! Questions to the model: each has a form for its answer (a JSON Schema, which the node holds the answer against) and no tools.
//!
//! A model that has no tools can do nothing, whoever talks it into what. One that asks for a tool all the same is told once that there
//! is none. Questions that do not depend on each other are asked side by side; what is kept of them is in the order of the questions,
//! whichever is answered first, so that a run that breaks off and is taken up ends with the same transcript.

use sortie_agent::{Transcript, middle_cut};
use sortie_plugin::{CallError, Pending, Value, json, model};

use crate::flight::Flight;

/// A question.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    /// What it is about, for the transcript.
    pub(crate) about: String,
    pub(crate) system: String,
    pub(crate) text: String,
    /// The text as the transcript has it, where something in it is kept elsewhere.
    pub(crate) kept_as: Option<String>,
    pub(crate) schema: Value,
    pub(crate) max_tokens: u64,
}

/// What a model said.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Said {
    /// An answer in the form that was asked for.
    Well(Value),
    /// It refused, in these words.
    Refused(String),
    /// It gave no answer in that form, and why.
    Nothing(String),
    /// There is nothing left to pay it with.
    Spent(String),
    /// The mission came to its limit before it answered.
    Late,
}

/// Asks questions side by side, at most `at_once` of them; the answers are in the order of the questions.
pub(crate) fn ask(
    questions: &[Question],
    name: Option<&str>,
    at_once: usize,
    flight: &mut Flight,
    transcript: &mut Transcript,
) -> Vec<Said> {
    let requests: Vec<Value> = questions.iter().map(|question| request(question, name)).collect();
    let answers = send(&requests, at_once, flight);
    // What asked for tools is told that there are none; nothing else is worth a second question.
    let again: Vec<(usize, Value)> = answers
        .iter()
        .enumerate()
        .filter_map(|(index, answer)| Some((index, without_tools(&requests[index], answer.as_ref()?.as_ref().ok()?)?)))
        .collect();
    let second: Vec<Value> = again.iter().map(|(_, request)| request.clone()).collect();
    let mut seconds = send(&second, at_once, flight).into_iter();
    let mut said = Vec::with_capacity(answers.len());
    for (index, first) in answers.into_iter().enumerate() {
        keep(transcript, &questions[index], first.as_ref());
        let is_asked_again = again.iter().any(|(again, _)| *again == index);
        let last = if is_asked_again { seconds.next().flatten() } else { first };
        if is_asked_again {
            keep(transcript, &questions[index], last.as_ref());
        }
        said.push(last.map_or(Said::Late, what_it_said));
    }
    said
}

fn send(requests: &[Value], at_once: usize, flight: &mut Flight) -> Vec<Option<Result<Value, CallError>>> {
    let start = |request: &Value| -> Result<Pending, CallError> { model::start(request, []) };
    flight.all(requests, at_once, start, |_| {})
}

fn request(question: &Question, name: Option<&str>) -> Value {
    let mut request = json!({
        "system": question.system,
        "messages": [{ "role": "user", "content": question.text }],
        "max_tokens": question.max_tokens,
        "output_schema": question.schema,
    });
    if let Some(name) = name {
        request["model"] = name.into();
    }
    request
}

/// The request that goes on after an answer that asks for tools.
fn without_tools(request: &Value, answer: &Value) -> Option<Value> {
    let blocks = answer["content"].as_array()?;
    let wishes = blocks.iter().filter(|block| block["type"] == "tool_use");
    let mut told: Vec<Value> = wishes
        .map(|wish| {
            let none = "there are no tools here: answer in the form that was asked for";
            json!({ "type": "tool_result", "tool_use_id": wish["id"], "content": none, "is_error": true })
        })
        .collect();
    if told.is_empty() {
        return None;
    }
    told.push(json!({ "type": "text", "text": "Answer now." }));
    let mut request = request.clone();
    let messages = request["messages"].as_array_mut()?;
    messages.extend([json!({ "role": "assistant", "content": blocks }), json!({ "role": "user", "content": told })]);
    Some(request)
}

fn what_it_said(answer: Result<Value, CallError>) -> Said {
    let answer = match answer {
        Ok(answer) => answer,
        Err(CallError::BudgetExhausted(why)) => return Said::Spent(why),
        Err(CallError::Cancelled) => return Said::Late,
        Err(error) => return Said::Nothing(error.to_string()),
    };
    let blocks = answer["content"].as_array().map_or(&[][..], Vec::as_slice);
    if answer["stop_reason"] == "refusal" {
        let text: Vec<&str> = blocks.iter().filter_map(|block| block["text"].as_str()).collect();
        return Said::Refused(middle_cut(text.join(" ").trim(), 500));
    }
    if let Some(wish) = blocks.iter().find(|block| block["type"] == "tool_use") {
        return Said::Nothing(format!("it asked for the tool {}, and there are none", wish["name"]));
    }
    match answer.get("output").filter(|output| !output.is_null()) {
        Some(output) => Said::Well(output.clone()),
        None => Said::Nothing(format!(
            "its answer is not in the form that was asked for (it stopped for {})",
            answer["stop_reason"]
        )),
    }
}

fn keep(transcript: &mut Transcript, question: &Question, answer: Option<&Result<Value, CallError>>) {
    let text = question.kept_as.as_ref().unwrap_or(&question.text);
    let mut line = json!({ "kind": "asked", "about": question.about, "system": question.system, "text": text });
    match answer {
        Some(Ok(answer)) => {
            for key in ["content", "stop_reason", "output", "usage", "cost_usd", "model"] {
                if !answer[key].is_null() {
                    line[key] = answer[key].clone();
                }
            }
        }
        Some(Err(error)) => line["error"] = json!({ "code": error.code(), "why": error.to_string() }),
        None => line["error"] = json!({ "code": "late", "why": "the mission came to its limit" }),
    }
    transcript.add(line);
}
