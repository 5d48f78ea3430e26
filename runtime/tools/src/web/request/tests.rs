//! `HttpRequest` against servers on this machine, some of which show the secret that they were sent.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::super::testing::{Asked, Reply, Server, call, config, page};
use super::*;

const SECRET: &str = "s3cr3t/Val&ue+\"of it";

/// Secrets by name, each for these hosts, in files of a folder.
fn secrets(folder: &tempfile::TempDir, listed: &[(&str, &str, &[String])]) -> Arc<NamedSecrets> {
    let listed: Vec<(String, String, Vec<String>)> = listed
        .iter()
        .map(|(name, value, hosts)| {
            let path = folder.path().join(name);
            std::fs::write(&path, value).unwrap();
            ((*name).to_owned(), format!("file://{}", path.display()), hosts.to_vec())
        })
        .collect();
    Arc::new(
        NamedSecrets::new(listed.iter().map(|(name, reference, hosts)| (name, reference, hosts.as_slice()))).unwrap(),
    )
}

/// A tool that may ask these servers, and has the secret `forge` for the first.
fn tool(servers: &[&Server], folder: &tempfile::TempDir) -> HttpRequest {
    let hosts = [servers[0].address.to_string()];
    HttpRequest::new(&config(servers), secrets(folder, &[("forge", SECRET, &hosts)])).unwrap()
}

async fn ask(servers: &[&Server], arguments: &Value) -> Result<Value, CallError> {
    let folder = tempfile::tempdir().unwrap();
    call(tool(servers, &folder), arguments).await
}

/// Arguments of a request that sends the secret.
fn with_secret(method: &str, url: &str) -> Value {
    json!({ "method": method, "url": url, "headers": { "Authorization": "Bearer ${secret:forge}" } })
}

#[tokio::test]
async fn a_request_is_sent_as_it_was_asked_for_with_the_key_of_its_call() {
    let server = Server::start(|asked| match asked.target.as_str() {
        "/json" => {
            page("201 Created\r\nContent-Type: application/problem+json\r\nX-Two: a\r\nX-Two: b", r#"{"id": 7}"#)
        }
        "/text" => page("404 Not Found\r\nContent-Type: text/plain; charset=latin1", b"caf\xe9"),
        "/bad" => page("200 OK\r\nContent-Type: application/json", "{"),
        "/binary" => page("200 OK\r\nContent-Type: image/png", b"\x89PNG\0"),
        _ => page("204 No Content", ""),
    })
    .await;
    let request = json!({
        "method": "post", "url": server.url("/json#part"), "headers": { "X-Number": 7 }, "body": { "a": [1, "ä"] }
    });
    let answer = ask(&[&server], &request).await.unwrap();
    let headers = json!({ "content-type": "application/problem+json", "x-two": "a, b", "content-length": "9", "connection": "close" });
    assert_eq!(
        answer,
        json!({
            "status": 201, "url": server.url("/json"), "headers": headers, "content_type": "application/problem+json",
            "json": { "id": 7 }, "truncated": false
        })
    );
    let asked = &server.asked()[0];
    assert_eq!(
        (asked.method.as_str(), asked.target.as_str(), asked.body.as_str()),
        ("POST", "/json", r#"{"a":[1,"ä"]}"#)
    );
    assert_eq!([asked.header("content-type"), asked.header("x-number")], ["application/json", "7"]);
    assert_eq!([asked.header("idempotency-key"), asked.header("sortie-fencing-token")], ["m/7", "2"]);

    for (path, key, expected) in [
        ("/text", "text", json!("café")),
        ("/bad", "text", json!("{")),
        ("/binary", "binary", json!(true)),
        ("/", "text", json!("")),
    ] {
        let answer =
            ask(&[&server], &json!({ "method": "PUT", "url": server.url(path), "body": "plain" })).await.unwrap();
        assert_eq!(answer[key], expected, "{path}: {answer}");
        let asked = server.asked().pop().unwrap();
        assert_eq!((asked.body.as_str(), asked.header("content-type")), ("plain", "text/plain; charset=utf-8"));
    }
    let own =
        json!({ "method": "PATCH", "url": server.url("/"), "headers": { "content-type": "text/csv" }, "body": "a,b" });
    ask(&[&server], &own).await.unwrap();
    assert_eq!(server.asked().pop().unwrap().header("content-type"), "text/csv");
}

#[tokio::test]
async fn no_digit_of_a_whole_number_is_lost() {
    let body = r#"{"wei": 12345678901234567890123, "a/b": [1, -98765432109876543210, 18446744073709551615], "far": 1e30, "f": 0.1}"#;
    let server = Server::start(move |_| page("200 OK\r\nContent-Type: application/json", body)).await;
    let answer = ask(&[&server], &json!({ "method": "GET", "url": server.url("/") })).await.unwrap();
    assert_eq!(answer["exact"], json!({ "/wei": "12345678901234567890123", "/a~1b/1": "-98765432109876543210" }));
    assert_eq!(answer["json"], serde_json::from_str::<Value>(body).unwrap());
    assert_eq!((&answer["json"]["a/b"][2], answer.get("text")), (&json!(u64::MAX), None));
}

#[tokio::test]
async fn a_status_that_was_not_expected_fails_and_says_what_came() {
    let server = Server::start(|_| page("500 Oh\r\nContent-Type: text/plain", "w".repeat(5_000))).await;
    let request = |expect: Value| json!({ "method": "POST", "url": server.url("/x"), "expect": expect });
    assert_eq!(ask(&[&server], &request(json!([200, 500]))).await.unwrap()["status"], 500);
    let error = ask(&[&server], &request(json!([200, 201]))).await.unwrap_err();
    let CallError::Failed(text) = &error else { panic!("{error:?}") };
    assert!(
        text.starts_with(&format!("POST {} answered 500, where 200, 201 was expected: www", server.url("/x"))),
        "{text}"
    );
    assert!(text.len() < 2 * QUOTED_BYTES_MAX && text.ends_with(" …"));
}

#[tokio::test]
async fn what_cannot_be_asked_is_told_with_its_place_and_nothing_is_sent() {
    let server = Server::start(|_| page("200 OK", "")).await;
    let url = server.url("/");
    for (request, place) in [
        (json!({ "method": "GET", "url": format!("{url}?k=${{secret:forge}}") }), "/url: `${secret:…}`"),
        (json!({ "method": "POST", "url": url, "body": "a ${secret:forge}" }), "/body: `${secret:…}`"),
        (json!({ "method": "POST", "url": url, "body": { "deep": ["${secret:forge}"] } }), "/body: `${secret:…}`"),
        (json!({ "method": "POST", "url": url, "body": { "${secret:forge}": 1 } }), "/body: `${secret:…}`"),
        (json!({ "method": "TRACE", "url": url }), "/method"),
        (json!({ "method": "connect", "url": url }), "/method"),
        (json!({ "method": "GE T", "url": url }), "/method"),
        (json!({ "method": "GET", "url": "example.org" }), "/url"),
        (json!({ "method": "GET", "url": format!("{url}{}", "x".repeat(5_000)) }), "/url"),
        (json!({ "method": "GET", "url": url, "headers": { "Host": "evil" } }), "/headers/Host"),
        (json!({ "method": "GET", "url": url, "headers": { "Idempotency-Key": "mine" } }), "/headers/Idempotency-Key"),
        (json!({ "method": "GET", "url": url, "expect": [] }), "/expect"),
        (json!({ "method": "GET", "url": url, "headers": ["a"] }), "/headers"),
        (json!({ "method": "GET", "url": url, "timeout": 1 }), "timeout"),
    ] {
        let error = ask(&[&server], &request).await.unwrap_err();
        assert!(matches!(&error, CallError::InvalidArguments(text) if text.contains(place)), "{request}: {error:?}");
    }
    let named = |value: &str| json!({ "method": "GET", "url": url, "headers": { "x": value } });
    let error = ask(&[&server], &named("${secret:other}")).await.unwrap_err();
    assert!(matches!(&error, CallError::Denied(text) if text.contains("no [secret.other]")), "{error:?}");
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn a_secret_goes_to_its_hosts_alone() {
    let (own, other) = (Server::start(|_| page("200 OK", "")).await, Server::start(|_| page("200 OK", "")).await);
    ask(&[&own, &other], &with_secret("GET", &own.url("/"))).await.unwrap();
    assert_eq!(own.asked()[0].header("authorization"), format!("Bearer {SECRET}"));
    let error = ask(&[&own, &other], &with_secret("GET", &other.url("/"))).await.unwrap_err();
    assert!(
        matches!(&error, CallError::Denied(text) if text.contains("[secret.forge] hosts does not list")),
        "{error:?}"
    );
    assert!(other.asked().is_empty());
    // Listed for the tool and for the secret, and the way there leads through strangers' networks.
    let folder = tempfile::tempdir().unwrap();
    let listed = ToolConfig { hosts: Some(vec!["*".to_owned()]), ..ToolConfig::default() };
    let public = secrets(&folder, &[("forge", SECRET, &["example.org".to_owned()])]);
    let tool = HttpRequest::new(&listed, public).unwrap();
    let error = call(tool, &with_secret("GET", "http://example.org/")).await.unwrap_err();
    assert!(matches!(&error, CallError::Denied(text) if text.contains("over plain http")), "{error:?}");
    // A value that is not there.
    let gone = secrets(&folder, &[("forge", "", &[own.address.to_string()])]);
    let error =
        call(HttpRequest::new(&config(&[&own]), gone).unwrap(), &with_secret("GET", &own.url("/"))).await.unwrap_err();
    let path = folder.path().display().to_string();
    assert!(matches!(&error, CallError::Failed(text) if text.contains("doctor") && !text.contains(&path)), "{error:?}");
}

/// Ways in which a server shows what it was sent.
fn echoes(sent: &str) -> Vec<(&'static str, Reply)> {
    let json = serde_json::to_string(sent).unwrap();
    let percent: String = sent.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let escaped: String = sent.chars().map(|character| format!("\\u{:04x}", u32::from(character))).collect();
    let basic = STANDARD.encode(format!("user:{sent}"));
    let html = sent.replace('&', "&amp;").replace('"', "&quot;");
    vec![
        ("text", page("200 OK\r\nContent-Type: text/plain", sent)),
        ("latin", page("200 OK\r\nContent-Type: text/plain; charset=latin1", sent)),
        (
            "wide",
            page(
                "200 OK\r\nContent-Type: text/plain; charset=utf-16le",
                sent.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>(),
            ),
        ),
        ("json", page("200 OK\r\nContent-Type: application/json", format!("{{\"you sent\": [{json}], {json}: 1}}"))),
        ("json that is text", page("200 OK\r\nContent-Type: text/plain", json.clone())),
        ("escaped json", page("200 OK\r\nContent-Type: application/json", format!("[\"{escaped}\"]"))),
        ("percent", page("200 OK\r\nContent-Type: text/plain", percent.clone())),
        ("form", page("200 OK\r\nContent-Type: text/plain", percent.replace("%20", "+"))),
        ("base64", page("200 OK\r\nContent-Type: text/plain", basic.clone())),
        ("html", page("500 No\r\nContent-Type: text/html", format!("<pre>Authorization: {html}</pre>"))),
        ("header", page(&format!("200 OK\r\nX-Echo: {sent}\r\nX-Basic: {basic}\r\nSet-Cookie: t={sent}"), "")),
        ("content type", page(&format!("200 OK\r\nContent-Type: text/plain; x={sent}"), "")),
        ("location", page(&format!("302 Found\r\nLocation: /next?t={percent}"), "")),
        ("far location", page(&format!("302 Found\r\nLocation: http://127.0.0.1:9/?t={percent}"), "")),
        ("no location", page(&format!("302 Found\r\nLocation: http://[{percent}]/"), "")),
        ("encoding", page(&format!("200 OK\r\nContent-Encoding: {sent}"), "x")),
        ("cut", Reply::Bytes(format!("HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n{sent}").into_bytes())),
        (
            "across the end",
            page(
                "200 OK\r\nContent-Type: text/plain",
                format!("{}{sent}{}", "x".repeat(limit::TEXT_BYTES_MAX - 5), "y".repeat(50_000)),
            ),
        ),
        (
            "across the end, wide",
            page(
                "200 OK\r\nContent-Type: text/plain; charset=utf-16le",
                "x".repeat(limit::TEXT_BYTES_MAX / 2 + 50)
                    .chars()
                    .chain(sent.chars().cycle().take(20_000))
                    .collect::<String>()
                    .encode_utf16()
                    .flat_map(u16::to_le_bytes)
                    .collect::<Vec<u8>>(),
            ),
        ),
    ]
}

#[tokio::test]
async fn whatever_a_server_shows_of_a_secret_is_taken_out() {
    for number in 0..echoes("").len() {
        let server = Server::start(move |asked: &Asked| {
            let sent = asked.header("authorization").trim_start_matches("Bearer ").to_owned();
            if asked.target == "/" { echoes(&sent).swap_remove(number).1 } else { page("200 OK", sent) }
        })
        .await;
        let name = echoes("").swap_remove(number).0;
        for (method, expect) in
            [("GET", Value::Null), ("POST", Value::Null), ("GET", json!([418])), ("POST", json!([418]))]
        {
            // These are long.
            if name.starts_with("across") && (method == "POST" || !expect.is_null()) {
                continue;
            }
            let mut request = with_secret(method, &server.url("/"));
            request["expect"] = expect;
            let told = match ask(&[&server], &request).await {
                Ok(answer) => answer.to_string(),
                Err(error) => format!("{error:?} {error}"),
            };
            assert!(server.asked().iter().any(|asked| asked.header("authorization").ends_with(SECRET)), "it was sent");
            for piece in ["s3cr3t", "czNjcjN0", "%73%33%63", "\\u0073\\u0033", "Val&ue", "of it"] {
                assert!(!told.contains(piece), "{name}, {method}: {piece} is in {}", &told[..told.len().min(2_000)]);
            }
        }
    }
}

#[tokio::test]
async fn of_a_redirect_to_another_origin_nothing_is_kept_that_opens_something_there() {
    let other = Server::start(|_| page("200 OK", "arrived")).await;
    let there = other.url("/there");
    let to = there.clone();
    let own = Server::start(move |asked: &Asked| match asked.target.as_str() {
        "/far" => page(&format!("307 Temporary Redirect\r\nLocation: {to}"), ""),
        "/near" => page("302 Found\r\nLocation: /end", ""),
        "/leak" => {
            let sent: String = asked.header("authorization").bytes().map(|byte| format!("%{byte:02x}")).collect();
            page(&format!("302 Found\r\nLocation: {to}?{sent}"), "")
        }
        "/round" => page("302 Found\r\nLocation: /round", ""),
        _ => page("200 OK", "end"),
    })
    .await;
    let both = [&own, &other];
    let request = |method: &str, path: &str| {
        let mut request = with_secret(method, &own.url(path));
        request["headers"]["X-Api-Key"] = json!("typed in");
        request["headers"]["Accept"] = json!("text/plain");
        request
    };
    let near = ask(&both, &request("GET", "/near")).await.unwrap();
    assert_eq!((&near["text"], &near["url"]), (&json!("end"), &json!(own.url("/end"))));
    assert_eq!(own.asked().pop().unwrap().header("authorization"), format!("Bearer {SECRET}"));

    let far = ask(&both, &request("GET", "/far")).await.unwrap();
    assert_eq!((&far["text"], &far["url"]), (&json!("arrived"), &json!(there)));
    let asked = other.asked().pop().unwrap();
    assert_eq!([asked.header("authorization"), asked.header("x-api-key")], ["", ""], "{asked:?}");
    assert_eq!(
        [asked.header("accept"), asked.header("idempotency-key"), asked.header("sortie-fencing-token")],
        ["text/plain", "m/7", "2"]
    );

    let error = ask(&both, &request("GET", "/leak")).await.unwrap_err();
    assert!(matches!(&error, CallError::Failed(text) if text.contains("with a secret in the address")), "{error:?}");
    let error = ask(&[&own], &request("GET", "/far")).await.unwrap_err();
    assert!(matches!(&error, CallError::Denied(text) if text.contains("[tool.HttpRequest] hosts")), "{error:?}");
    let error = ask(&both, &request("GET", "/round")).await.unwrap_err();
    assert!(matches!(&error, CallError::Failed(text) if text.contains("5 redirects")), "{error:?}");
    assert_eq!(other.asked().len(), 1, "nobody else was asked");

    let post = ask(&both, &request("POST", "/far")).await.unwrap();
    assert_eq!((&post["status"], &post["headers"]["location"]), (&json!(307), &json!(there)));
    assert_eq!(other.asked().len(), 1, "a POST follows nothing");
}

#[tokio::test]
async fn where_it_is_not_known_whether_a_change_arrived_that_is_said() {
    let silent = Server::start(|_| Reply::Silence).await;
    let broken = Server::start(|asked| match asked.target.as_str() {
        "/head" => Reply::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc".to_vec()),
        _ => Reply::Bytes(Vec::new()),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    for (method, is_uncertain) in [("GET", false), ("HEAD", false), ("POST", true), ("DELETE", true), ("PURGE", true)] {
        for url in [broken.url("/head"), broken.url("/"), silent.url("/")] {
            if method == "HEAD" && url.ends_with("head") {
                continue;
            }
            let tool = tool(&[&broken, &silent], &folder).within(Duration::from_millis(300));
            let error = call(tool, &json!({ "method": method, "url": url })).await.unwrap_err();
            assert_eq!(matches!(error, CallError::Uncertain(_)), is_uncertain, "{method} {url}: {error:?}");
        }
    }
    // Where nobody listens nothing arrived.
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let listed = ToolConfig { hosts: Some(vec![gone.to_string()]), ..config(&[]) };
    let tool = HttpRequest::new(&listed, Arc::default()).unwrap();
    let error = call(tool, &json!({ "method": "POST", "url": format!("http://{gone}/") })).await.unwrap_err();
    assert!(matches!(error, CallError::Failed(_)), "{error:?}");
}
