//! Numbers that are only handed on: the same digits out as in, through envelopes, answers of HTTP servers and of MCP servers, templates and
//! artifacts.

use serde_json::{Value, json};
use sortie_tests::envelope::with;
use sortie_tests::{Options, Received, Receiver, Reply, automation};

const NUMBERS: &str = concat!(
    r#"{"price":1.10,"power":1e3,"other":[1E3,1.5e-07,1e+2],"zero":-0,"minus":-0.0,"tenth":0.1,"#,
    r#""long":123456789012345678901234567890,"exact":9007199254740993,"three":3.0,"most":18446744073709551615}"#
);

/// `echo` answers with its arguments, as they were written.
const SERVER: &str = r#"
answer() { printf '{"jsonrpc":"2.0","id":%s,%s}\n' "$id" "$1"; }
while read -r line; do
  id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9][0-9]*\).*/\1/p')
  case "$line" in
    *'"server/discover"'*) answer '"error":{"code":-32601,"message":"no such method"}' ;;
    *'"initialize"'*) answer '"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"script","version":"7"}}' ;;
    *'"tools/list"'*) answer '"result":{"tools":[{"name":"echo","inputSchema":{"type":"object"}}]}' ;;
    *'"tools/call"'*) answer '"result":{"content":[],"structuredContent":'"$(printf '%s' "$line" | sed 's/.*"arguments":\(.*\),"name":"echo".*/\1/')"'}' ;;
    *'"ping"'*) answer '"result":{}' ;;
  esac
done
"#;

/// The same at an address, `/numbers` beside it, and everything else is taken in.
fn server(got: &Received, _: usize) -> Reply {
    let json = |text: String| Reply::Body(200, "application/json", text);
    let text = String::from_utf8_lossy(&got.bytes).into_owned();
    let answer = |rest: &str| json(format!(r#"{{"jsonrpc":"2.0","id":{},{rest}}}"#, got.json["id"]));
    match (got.path.as_str(), got.json["method"].as_str()) {
        ("/numbers", _) => json(format!(" {} ", NUMBERS.replace(',', " ,\n "))),
        ("/too-large", _) => json("[1E400]".to_owned()),
        ("/mcp", _) if got.method != "POST" => Reply::Status(405),
        ("/mcp", Some("server/discover")) => answer(r#""error":{"code":-32601,"message":"no such method"}"#),
        ("/mcp", Some("initialize")) => answer(
            r#""result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"here","version":"7"}}"#,
        ),
        ("/mcp", Some("ping")) => answer(r#""result":{}"#),
        ("/mcp", Some("tools/list")) => {
            answer(r#""result":{"tools":[{"name":"echo","inputSchema":{"type":"object"}}]}"#)
        }
        ("/mcp", Some("tools/call")) => {
            let arguments = text.split_once(r#""arguments":"#).expect("arguments").1;
            let arguments = arguments.split_once(r#","name":"echo""#).expect("a name").0;
            answer(&format!(r#""result":{{"content":[],"structuredContent":{arguments}}}"#))
        }
        ("/mcp", _) => Reply::Status(202),
        _ => Reply::Status(200),
    }
}

#[tokio::test]
async fn numbers_that_are_handed_on_keep_their_digits() {
    let http = Receiver::scripted(server).await;
    let host = http.host();
    let url = |path: &str| format!("http://{host}{path}");
    let script = toml::Value::String(SERVER.to_owned());
    let node = Options::new()
        .config(&format!(
            "[tool.HttpRequest]\nhosts = [{host:?}]\nallow_private = [\"127.0.0.1\"]\n\
             [mcp.script]\ncommand = [\"/bin/sh\", \"-c\", {script}]\nenv = {{ PATH = \"/usr/bin:/bin\" }}\n\
             [mcp.here]\nurl = {:?}\nallow_private = [\"127.0.0.1\"]\n",
            url("/mcp")
        ))
        .start()
        .await;
    let values = json!({
        "inputs": "{{ inputs.n }}", "answer": "{{ steps.get.result.json }}", "literal": "@", "one": "{{ inputs.n.price }}",
        "list": ["{{ steps.get.result.json.long }}", "{{ inputs.n.other[-1] }}"],
    });
    let expected = format!(
        r#""inputs":{NUMBERS},"answer":{NUMBERS},"literal":{NUMBERS},"one":1.10,"list":[123456789012345678901234567890,1e+2]"#
    );
    let post = |id: &str, needs: &str, body: Value| {
        let with = json!({ "method": "POST", "url": url(&format!("/{id}")), "body": body, "expect": [200] });
        json!({ "id": id, "tool": "HttpRequest", "needs": [needs], "with": with })
    };
    let steps = json!([
        { "id": "get", "tool": "HttpRequest", "with": { "method": "GET", "url": url("/numbers") } },
        post("sink", "get", values.clone()),
        { "id": "pipes", "tool": "mcp__script__echo", "needs": ["get"], "with": values },
        post("piped", "pipes", json!("{{ steps.pipes.result.structured }}")),
        { "id": "address", "tool": "mcp__here__echo", "needs": ["get"], "with": values },
        post("addressed", "address", json!("{{ steps.address.result.structured }}")),
        { "id": "keep", "tool": "Write", "needs": ["pipes"], "artifact": "kept.txt", "with": {
            "path": "kept.txt", "content": "{{ inputs.n | tojson }} {{ steps.get.result.json.price }} {{ steps.pipes.result.structured }}" } },
        { "id": "large", "tool": "HttpRequest", "needs": ["piped", "addressed", "sink", "keep"], "with": { "method": "GET", "url": url("/too-large") } },
        post("size", "large", json!("{{ (steps.large.result.text | fromjson)[0] }}")),
    ]);
    let mut envelope = with(automation("digits", &steps), "/constraints/allowed_tools", json!(["*"]));
    envelope["inputs"]["n"] = json!("@");
    let dispatch = |envelope: &Value, numbers: &str| {
        let text = envelope.to_string().replace("\"@\"", numbers);
        sortie_tests::http::send(
            node.request("POST", "/v1/missions").header("content-type", "application/json").body(text),
        )
    };
    let too_large = dispatch(&envelope, r#"{"n":1E400}"#).await.expect("an answer");
    assert!(
        too_large.mistakes().iter().any(|(at, code)| at.ends_with("/n") && code == "not_a_number"),
        "{}",
        too_large.text
    );
    dispatch(&envelope, NUMBERS).await.expect("an answer").expect_status(202);
    let end = node.until_final("digits").await;
    // A number that no double has the size of leaves in texts alone.
    let ended = (&end["status"], &end["detail"]["reason"]);
    assert_eq!(ended, (&json!("failed"), &json!("tool_failed")), "{end:#}");
    assert!(end["summary"].as_str().is_some_and(|why| why.contains("number out of range")), "{end:#}");

    let body = |path: &str| {
        let received = http.received();
        let got = received.iter().find(|got| got.path == path).unwrap_or_else(|| panic!("{path}: {end:#}"));
        String::from_utf8_lossy(&got.bytes).into_owned()
    };
    for path in ["/sink", "/piped", "/addressed"] {
        assert_eq!(body(path), format!("{{{expected}}}"), "{path}");
    }
    let kept = node.get("/v1/missions/digits/artifacts/kept.txt").await.expect_status(200).text;
    assert_eq!(kept, format!("{NUMBERS} 1.10 {{{expected}}}"));
}
