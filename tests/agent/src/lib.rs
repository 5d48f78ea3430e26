//! An agent without a mind of its own: it asks the model, makes each call that the answer asks for, tells the model what came of it, and is
//! done with the answer that asks for nothing. It believes whatever it reads: what keeps it from harm is its mission's constraints.

use sortie_plugin::{Brief, Failure, Manifest, Outcome, Plugin, Tools, Value, artifacts, json, model};

/// Most turns: a script that never ends is a mistake of its test.
const TURNS_MAX: usize = 200;

/// What the last answer is stored as.
const ANSWER: &str = "answer.txt";

struct Agent;

impl Plugin for Agent {
    fn describe() -> Manifest {
        Manifest::new("agent", env!("CARGO_PKG_VERSION"), "Does what a model says.")
    }

    fn run(brief: Brief, tools: Tools) -> Result<Outcome, Failure> {
        // Which model is asked; the node's default one where it is not said.
        let inputs: Value = brief.inputs()?;
        let mut messages = vec![json!({ "role": "user", "content": brief.objective })];
        for _ in 0..TURNS_MAX {
            let mut request = json!({ "messages": messages });
            if let Some(model) = inputs["model"].as_str() {
                request["model"] = json!(model);
            }
            let answer = model::complete(&request, &tools)?;
            let content = answer["content"].as_array().cloned().unwrap_or_default();
            messages.push(json!({ "role": "assistant", "content": content }));
            let results: Vec<Value> =
                content.iter().filter(|block| block["type"] == "tool_use").map(|wish| done(wish, &tools)).collect();
            if results.is_empty() {
                let said: String = content.iter().filter_map(|block| block["text"].as_str()).collect();
                artifacts::put(ANSWER, "text/plain", &said).map_err(|error| Failure::new(error.to_string()))?;
                return Ok(Outcome::new("The model has nothing more to ask for."));
            }
            messages.push(json!({ "role": "user", "content": results }));
        }
        Err(Failure::new(format!("the model still asks for calls after {TURNS_MAX} answers")))
    }
}

/// What came of a call that the model asked for, as a block of the next message.
fn done(wish: &Value, tools: &Tools) -> Value {
    let name = wish["name"].as_str().unwrap_or_default();
    let result = match tools.get(name) {
        Some(tool) => tool.call(&wish["input"]).map(|result| result.to_string()),
        None => return block(wish, &format!("there is no tool {name} here"), true),
    };
    match result {
        Ok(result) => block(wish, &result, false),
        Err(error) => block(wish, &format!("{}: {error}", error.code()), true),
    }
}

fn block(wish: &Value, text: &str, is_error: bool) -> Value {
    json!({ "type": "tool_result", "tool_use_id": wish["id"], "content": text, "is_error": is_error })
}

sortie_plugin::export!(Agent);
