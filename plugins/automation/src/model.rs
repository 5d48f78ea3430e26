//! What a step asks of a model, as a request, and what its result is.

use serde_json::{Map, Value as Json, json};
use sortie_plugin::CallError;

/// The request of a step `model: {prompt, system?, schema?, model?, max_tokens?}`, its templates filled in.
pub(crate) fn request(asked: &Json) -> Result<Json, CallError> {
    let Some(prompt) = asked["prompt"].as_str() else {
        return Err(CallError::InvalidArguments("/model/prompt must be a text: what the model is asked".to_owned()));
    };
    let mut request = Map::new();
    request.insert("messages".to_owned(), json!([{ "role": "user", "content": prompt }]));
    for (key, name) in
        [("system", "system"), ("schema", "output_schema"), ("model", "model"), ("max_tokens", "max_tokens")]
    {
        if !asked[key].is_null() {
            request.insert(name.to_owned(), asked[key].clone());
        }
    }
    Ok(Json::Object(request))
}

/// The result of a step: `{text, output?, usage, cost_usd, model, stop_reason}`. A refusal is no result.
pub(crate) fn result(answer: &Json) -> Result<Json, CallError> {
    let blocks = answer["content"].as_array().map_or(&[][..], Vec::as_slice);
    let texts = blocks.iter().filter(|block| block["type"] == "text").filter_map(|block| block["text"].as_str());
    let text: String = texts.collect();
    if answer["stop_reason"] == "refusal" {
        let said = if text.trim().is_empty() { String::new() } else { format!(": {}", text.trim()) };
        return Err(CallError::Failed(format!("the model refused to answer{said}")));
    }
    let mut result = Map::new();
    result.insert("text".to_owned(), text.into());
    for key in ["output", "usage", "cost_usd", "model", "stop_reason"] {
        if !answer[key].is_null() {
            result.insert(key.to_owned(), answer[key].clone());
        }
    }
    Ok(Json::Object(result))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_step_says_becomes_a_request_and_the_answer_its_result() {
        let asked = json!({"prompt": "Which?", "schema": {"type": "object"}, "max_tokens": 9, "system": null});
        let expected = json!({
            "messages": [{"role": "user", "content": "Which?"}], "output_schema": {"type": "object"}, "max_tokens": 9,
        });
        assert_eq!(request(&asked), Ok(expected));
        assert!(matches!(request(&json!({"prompt": 7})), Err(CallError::InvalidArguments(_))));
        let answer = json!({
            "content": [{"type": "text", "text": "a"}, {"type": "reasoning", "data": 1}, {"type": "text", "text": "b"}],
            "stop_reason": "end_turn", "output": {"x": 1}, "usage": {"input_tokens": 1}, "cost_usd": 0.5, "model": "m",
        });
        let expected = json!({
            "text": "ab", "output": {"x": 1}, "usage": {"input_tokens": 1}, "cost_usd": 0.5, "model": "m",
            "stop_reason": "end_turn",
        });
        assert_eq!(result(&answer), Ok(expected));
        let refused = json!({"content": [{"type": "text", "text": "No. "}], "stop_reason": "refusal"});
        assert_eq!(result(&refused), Err(CallError::Failed("the model refused to answer: No.".to_owned())));
    }
}
