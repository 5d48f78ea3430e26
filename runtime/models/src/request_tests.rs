//! Which requests are taken, what is said of others, and that the published schema says the same.

use jsonschema::Validator;
use serde_json::{Value, json};
use sortie_contract::tool::CallError;

use super::Request;

fn schema() -> Validator {
    jsonschema::validator_for(&crate::request_schema()).unwrap()
}

/// A request of one message of the user with these blocks.
fn user(blocks: &Value) -> Value {
    json!({ "messages": [{ "role": "user", "content": blocks }] })
}

/// A conversation: what the assistant said after a greeting, and what the user said then.
fn turns(assistant: &Value, user: &Value) -> Value {
    json!({ "messages": [
        { "role": "user", "content": "go" },
        { "role": "assistant", "content": assistant },
        { "role": "user", "content": user },
    ] })
}

fn with(key: &str, value: Value) -> Value {
    let mut request = user(&"x".into());
    request[key] = value;
    request
}

fn tool_use(id: &str) -> Value {
    json!({ "type": "tool_use", "id": id, "name": "Read", "input": { "path": "a" } })
}

fn result(id: &str) -> Value {
    json!({ "type": "tool_result", "tool_use_id": id, "content": "text" })
}

const PNG: &str = "iVBORw0KGgo=";

#[test]
fn what_is_right_is_taken_and_the_schema_agrees() {
    let schema = schema();
    let image = json!({ "type": "image", "media_type": "image/png", "data": PNG });
    for request in [
        user(&"x".into()),
        user(&json!([{ "type": "text", "text": "x" }, image])),
        with("model", "deep".into()),
        with("model", Value::Null),
        with("system", "".into()),
        with("max_tokens", 1.into()),
        with("temperature", 2.into()),
        with("temperature", json!(0.5)),
        with("reasoning", "high".into()),
        with("output_schema", json!({ "type": "object" })),
        turns(&"hm".into(), &"x".into()),
        turns(&"".into(), &"x".into()),
        turns(&json!([]), &"x".into()),
        turns(&json!([{ "type": "reasoning", "anything": [1] }, { "type": "text", "text": "hm" }]), &"x".into()),
        turns(
            &json!([tool_use("1"), tool_use("2")]),
            &json!([result("2"), { "type": "text", "text": "and" }, result("1")]),
        ),
        turns(
            &json!([tool_use("1")]),
            &json!([{ "type": "tool_result", "tool_use_id": "1", "is_error": true,
                "content": [{ "type": "text", "text": "" }, image] }]),
        ),
        // One turn of the user in two messages, and one of the assistant at the end.
        json!({ "messages": [
            { "role": "user", "content": "go" }, { "role": "assistant", "content": [tool_use("1"), tool_use("2")] },
            { "role": "user", "content": [result("1")] }, { "role": "user", "content": [result("2")] },
            { "role": "assistant", "content": "so" },
        ] }),
    ] {
        let parsed = Request::parse(&request.to_string());
        assert!(parsed.is_ok(), "{request}: {parsed:?}");
        let fits = schema.validate(&request);
        assert!(fits.is_ok(), "{request}: {fits:?}");
    }
}

#[test]
fn what_has_no_right_form_is_told_with_its_place_and_the_schema_agrees() {
    let schema = schema();
    for (request, told) in [
        (json!([]), "must be an object, not a list"),
        (json!({}), "/messages: must be there"),
        (json!({ "messages": [] }), "/messages: must not be empty"),
        (json!({ "messages": "x" }), "/messages: must be a list, not a string"),
        (json!({ "messages": [{ "content": "x" }] }), "/messages/0/role: must be there"),
        (
            json!({ "messages": [{ "role": "system", "content": "x" }] }),
            "/messages/0/role: must be one of user, assistant, not `system`",
        ),
        (json!({ "messages": [{ "role": "user" }] }), "/messages/0/content: must be there"),
        (
            json!({ "messages": [{ "role": "user", "content": "x", "name": "me" }] }),
            "/messages/0/name: is not known here",
        ),
        (user(&json!(7)), "/messages/0/content: must be a string or a list of blocks, not a number"),
        (user(&json!(["x"])), "/messages/0/content/0: must be an object, not a string"),
        (user(&json!([{ "text": "x" }])), "/messages/0/content/0/type: must be there"),
        (user(&json!([{ "type": "video" }])), "/messages/0/content/0/type: must be one of text, tool_use"),
        (user(&json!([{ "type": "text" }])), "/messages/0/content/0/text: must be there"),
        (user(&json!([{ "type": "text", "text": 1 }])), "/messages/0/content/0/text: must be a string, not a number"),
        (user(&json!([{ "type": "text", "text": "x", "cache_control": {} }])), "/messages/0/content/0/cache_control"),
        (user(&json!([{ "type": "image", "data": PNG }])), "/messages/0/content/0/media_type: must be there"),
        (
            user(&json!([{ "type": "image", "media_type": "image/svg", "data": PNG }])),
            "/media_type: must be one of image/png",
        ),
        (
            turns(&json!([{ "type": "tool_use", "id": "1", "name": "x", "input": "x" }]), &"x".into()),
            "/input: must be an object",
        ),
        (
            turns(&json!([{ "type": "tool_use", "id": "", "name": "x", "input": {} }]), &"x".into()),
            "/id: must have 1 to 256 bytes",
        ),
        (
            turns(&json!([tool_use("1")]), &json!([{ "type": "tool_result", "tool_use_id": "1" }])),
            "/messages/2/content/0/content",
        ),
        (with("model", 7.into()), "/model: must be a string"),
        (with("max_tokens", 0.into()), "/max_tokens: must be a whole number, 1 or more"),
        (with("max_tokens", json!(1.5)), "/max_tokens: must be a whole number"),
        (with("max_tokens", json!(1u64 << 40)), "/max_tokens: must be a whole number"),
        (with("temperature", json!(2.1)), "/temperature: must be a number, 0 to 2"),
        (with("temperature", "hot".into()), "/temperature: must be a number, 0 to 2"),
        (with("reasoning", "extreme".into()), "/reasoning: must be one of low, medium, high, not `extreme`"),
        (
            with("output_schema", true.into()),
            "/output_schema: must be a JSON Schema, which is an object, not a boolean",
        ),
        (with("stream", true.into()), "/stream: is not known here"),
        (with("max_token", 3.into()), "/max_token: is not known here; is `max_tokens` meant?"),
        (with("a/b~c", 3.into()), "/a~1b~0c: is not known here"),
    ] {
        check(&request.to_string(), told);
        assert!(!schema.is_valid(&request), "the schema takes {request}");
    }
}

#[test]
fn what_only_seems_right_is_told_with_its_place() {
    let image = |data: &str| user(&json!([{ "type": "image", "media_type": "image/png", "data": data }]));
    for (request, told) in [
        (user(&"".into()), "/messages/0/content: must not be empty"),
        (user(&json!([])), "/messages/0/content: must not be empty"),
        (image(""), "/messages/0/content/0/data: must be the image's bytes in base64"),
        (image("no base64!"), "/messages/0/content/0/data: must be the image's bytes in base64"),
        (user(&json!([{ "type": "image", "media_type": "image/png" }])), "/data: must be there, or `artifact`"),
        (
            user(&json!([{ "type": "image", "media_type": "image/png", "artifact": "a" }])),
            "/artifact: this mission has no artifact `a`",
        ),
        (
            user(&json!([{ "type": "image", "media_type": "image/png", "artifact": "a", "data": PNG }])),
            "/data: stands beside `artifact`",
        ),
        (
            json!({ "messages": [{ "role": "assistant", "content": "x" }] }),
            "/messages/0/role: the first message must be of the user",
        ),
        (
            user(&json!([tool_use("1")])),
            "/messages/0/content/0/type: tool_use stands in messages of the assistant only",
        ),
        (
            user(&json!([{ "type": "reasoning" }])),
            "/messages/0/content/0/type: reasoning stands in messages of the assistant",
        ),
        (
            turns(&json!([result("1")]), &"x".into()),
            "/messages/1/content/0/type: tool_result stands in messages of the user only",
        ),
        (
            turns(&json!([{ "type": "image", "media_type": "image/png", "data": PNG }]), &"x".into()),
            "/messages/1/content/0/type: image stands in messages of the user only",
        ),
        (user(&json!([result("1")])), "/messages/0/content/0/tool_use_id: `1` is no tool_use"),
        (
            turns(&json!([tool_use("1")]), &json!([result("2")])),
            "/messages/2/content/0/tool_use_id: `2` is no tool_use",
        ),
        (turns(&json!([tool_use("1")]), &json!([result("1"), result("1")])), "/messages/2/content/1/tool_use_id"),
        (
            turns(&json!([tool_use("1"), tool_use("1")]), &json!([result("1")])),
            "/messages/1/content/1/id: another tool_use",
        ),
        (turns(&json!([tool_use("1")]), &"x".into()), "/messages/1/content/0: no tool_result"),
        (with("output_schema", json!({ "type": "nonsense" })), "/output_schema: is no JSON Schema"),
        (with("output_schema", json!({ "pattern": "(" })), "/output_schema: is no JSON Schema"),
        (with("output_schema", json!({ "pattern": "(?=a)b" })), "/output_schema: is no JSON Schema"),
        (with("output_schema", json!({ "pattern": "((a{100}){100}){100}" })), "/output_schema: is no JSON Schema"),
        (
            with("output_schema", json!({ "$ref": "https://example.org/x" })),
            "/output_schema: cannot be used: its reference",
        ),
        (with("output_schema", doubling()), "/output_schema: cannot be used: with its references followed"),
        (
            with("output_schema", json!({ "description": "x".repeat(70_000) })),
            "/output_schema: has 70018 bytes, 65536 are allowed",
        ),
    ] {
        check(&request.to_string(), told);
    }
    let mut both = with("temperature", 1.into());
    both["reasoning"] = "low".into();
    check(&both.to_string(), "/temperature: cannot be given beside `reasoning`");
}

#[test]
fn what_is_no_json_or_too_much_is_told() {
    check("", "not JSON");
    check("{\"messages\": [}", "line 1 column");
    check(r#"{"messages": [], "messages": []}"#, "/messages: `messages` is there more than once");
    check(&format!("{}{}", "[".repeat(5_000), "]".repeat(5_000)), "nested 100 deep");
    check(&" ".repeat((8 << 20) + 1), "the request has 8388609 bytes, 8388608 are allowed");
    check(
        &user(&"x".into()).to_string().replace("\"x\"", &format!("[{}]", "0,".repeat(1_001).trim_end_matches(','))),
        "has 1001 entries, 1000 are allowed",
    );
    let messages = vec![json!({ "role": "user", "content": "x" }); 10_001];
    check(&json!({ "messages": messages }).to_string(), "/messages: has 10001 entries, 10000 are allowed");
    let image = json!({ "type": "image", "media_type": "image/png", "data": PNG });
    check(&user(&vec![image; 101].into()).to_string(), "/messages: hold 101 images, 100 are allowed");
}

#[test]
fn all_mistakes_are_told_together_and_not_without_end() {
    let request = json!({ "messages": [{ "role": "x", "content": 1 }], "max_tokens": 0, "temprature": 1 });
    let told = Request::parse(&request.to_string()).unwrap_err().to_string();
    for place in ["/messages/0/role", "/messages/0/content", "/max_tokens", "/temprature"] {
        assert!(told.contains(place), "{place}: {told}");
    }
    let many: serde_json::Map<String, Value> =
        (0..5_000).map(|n| (format!("{}{n}", "k".repeat(1_000)), 1.into())).collect();
    let told = Request::parse(&Value::Object(many).to_string()).unwrap_err().to_string();
    assert!(told.len() < 20_000 && told.contains("more"), "{}", told.len());
}

/// Two kilobytes that make a thousand million mistakes out of any answer.
fn doubling() -> Value {
    let mut parts: serde_json::Map<String, Value> = (0..30)
        .map(|at| {
            let next = json!({ "$ref": format!("#/$defs/{}", at + 1) });
            (at.to_string(), json!({ "allOf": [next, next] }))
        })
        .collect();
    parts.insert("30".to_owned(), json!(false));
    json!({ "$defs": parts, "$ref": "#/$defs/0" })
}

/// A schema that leads to itself must not take the node along.
#[test]
fn a_schema_without_end_is_no_way_to_kill_a_node() {
    for schema in [
        json!({ "$ref": "#" }),
        json!({ "allOf": [{ "$ref": "#" }] }),
        json!({ "$defs": { "a": { "$ref": "#/$defs/a" } }, "$ref": "#/$defs/a" }),
    ] {
        if let Ok(request) = Request::parse(&with("output_schema", schema).to_string()) {
            let output = request.output.unwrap();
            let _ = output.validator.is_valid(&json!({ "x": [1, 2] }));
        }
    }
}

fn check(request: &str, told: &str) {
    match Request::parse(request) {
        Err(CallError::InvalidArguments(why)) => assert!(why.contains(told), "{why:?} does not say {told:?}"),
        other => panic!("{}: {other:?}", &request[..request.len().min(200)]),
    }
}
