//! Tools that ask others: `HttpRequest` with secrets that nothing keeps, `WebSearch`, and `WebFetch` of a page.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sortie_tests::envelope::with;
use sortie_tests::{Node, Options, Received, Receiver, Reply, automation, until};

const PLANTED: &str = "planted/Secret&of+the\"forge";

/// A node that may ask these servers, and has the secret `forge` for the first of them.
async fn node(servers: &[&Receiver], more: &str) -> Node {
    let hosts: Vec<String> = servers.iter().map(|server| server.host()).collect();
    let config = format!(
        "[tool.HttpRequest]\nhosts = {hosts:?}\nallow_private = [\"127.0.0.1\"]\n{more}\n\
         [secret.forge]\nref = \"env://FORGE_TOKEN\"\nhosts = [{:?}]",
        hosts[0]
    );
    // All that it could log.
    Options::new().config(&config).env("FORGE_TOKEN", PLANTED).env("SORTIE_LOG", "trace").start().await
}

/// A mission that may do everything.
fn mission(id: &str, steps: &[Value]) -> Value {
    with(automation(id, &json!(steps)), "/constraints/allowed_tools", json!(["*"]))
}

/// A step that sends the secret.
fn request(id: &str, method: &str, url: &str) -> Value {
    let headers = json!({ "Authorization": "Bearer ${secret:forge}", "X-Key": "${secret:forge}" });
    json!({ "id": id, "tool": "HttpRequest", "with": { "method": method, "url": url, "headers": headers } })
}

fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// What of a secret must be nowhere: as it stands, and as a server may have shown it.
fn pieces() -> Vec<Vec<u8>> {
    let wide = PLANTED.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let texts = [
        PLANTED.to_owned(),
        "planted/Secret".to_owned(),
        percent(PLANTED),
        PLANTED.replace('"', "\\\""),
        PLANTED.replace('&', "&amp;"),
        STANDARD.encode(PLANTED)[..20].to_owned(),
        STANDARD.encode(format!("u:{PLANTED}"))[6..24].to_owned(),
    ];
    texts.into_iter().map(String::into_bytes).chain([wide]).collect()
}

/// Every place of `bytes` that has a secret in it.
fn holds_secret(bytes: &[u8]) -> bool {
    pieces().iter().any(|piece| bytes.windows(piece.len()).any(|window| window == piece.as_slice()))
}

/// Files below a folder that have one, without those of the tests themselves.
fn files_with_secret(folder: &Path) -> Vec<String> {
    let (mut folders, mut found) = (vec![folder.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                // What is compiled from plugins is large, and knows no secret.
                if !path.ends_with("plugins") {
                    folders.push(path);
                }
            } else if std::fs::read(&path).is_ok_and(|bytes| holds_secret(&bytes)) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

/// Shows what it was sent, in every way that a server has.
fn echo(got: &Received, _: usize) -> Reply {
    let sent = got.header("x-key").to_owned();
    match got.path.as_str() {
        "/text" => Reply::Body(
            200,
            "text/plain",
            format!("you sent {sent}, {} and {}", percent(&sent), STANDARD.encode(format!("u:{sent}"))),
        ),
        "/json" => Reply::Body(200, "application/json", json!({ "sent": [sent], "headers": got.headers }).to_string()),
        "/header" => Reply::Header(200, "x-echo", sent),
        "/error" => Reply::Body(500, "text/html", format!("<p>{}</p>", sent.replace('&', "&amp;"))),
        "/redirect" => Reply::Header(302, "location", format!("/json?t={}", percent(&sent))),
        "/away" => Reply::Header(302, "location", format!("http://127.0.0.1:9/?t={}", percent(&sent))),
        _ => Reply::Status(404),
    }
}

#[tokio::test]
async fn a_secret_is_sent_and_is_nowhere() {
    let server = Receiver::scripted(echo).await;
    let node = node(&[&server], "").await;
    let url = |path: &str| format!("http://{}{path}", server.host());
    let mut steps = Vec::new();
    for (number, (method, path)) in [
        ("GET", "/text"),
        ("POST", "/text"),
        ("POST", "/json"),
        ("GET", "/header"),
        ("GET", "/redirect"),
        ("POST", "/redirect"),
    ]
    .into_iter()
    .enumerate()
    {
        steps.push(request(&format!("r{number}"), method, &url(path)));
    }
    for (id, path) in [("error", "/error"), ("away", "/away")] {
        let mut step = request(id, "GET", &url(path));
        step["with"]["expect"] = json!([200]);
        step["on_error"] = json!("continue");
        steps.push(step);
    }
    let told = "{{ steps.r0.result.text }} {{ steps.r2.result.json.sent[0] }} {{ steps.r3.result.headers['x-echo'] }} \
                {{ steps.r4.result.url }} {{ steps.error.error }} {{ steps.away.error }}";
    let needs: Vec<Value> = steps.iter().map(|step| step["id"].clone()).collect();
    steps.push(json!({ "id": "told", "tool": "Write", "with": { "path": "told.txt", "content": told }, "needs": needs, "artifact": "told.txt" }));
    let end = node.run(&mission("secret", &steps)).await;
    assert_eq!(end["status"], "completed", "{end:#}");

    let received = server.received();
    assert!(received.iter().all(|got| got.header("authorization") == format!("Bearer {PLANTED}")), "{received:?}");
    assert_eq!(received.iter().filter(|got| got.path == "/json").count(), 2, "a POST follows no redirect");
    let artifact = node.get("/v1/missions/secret/artifacts/told.txt").await.expect_status(200).text;
    for expected in [
        "you sent ${secret:forge}, ${secret:forge} and ${secret:forge} ${secret:forge} ${secret:forge}",
        "answered 500",
        "/json?t=${secret:forge}",
    ] {
        assert!(artifact.contains(expected), "{expected} is not in {artifact}");
    }
    for path in ["", "/events", "/journal", "/artifacts"] {
        let shown = node.get(&format!("/v1/missions/secret{path}")).await.expect_status(200).text;
        assert!(!holds_secret(shown.as_bytes()), "{path}: {shown}");
    }
    for path in ["/v1/tools", "/v1/node", "/metrics", "/v1/missions"] {
        assert!(!holds_secret(node.get(path).await.expect_status(200).text.as_bytes()), "{path}");
    }
    for arguments in
        [&["journal", "secret"][..], &["show", "secret"], &["replay", "secret"], &["doctor"], &["watch", "secret"]]
    {
        let output = node.cli(arguments).await;
        assert!(!holds_secret(&output.stdout) && !holds_secret(&output.stderr), "{arguments:?}");
    }
    assert!(node.read_log().contains("TRACE"), "the log is the whole one");
    // Its folder holds the data, the configuration and the log.
    assert_eq!(files_with_secret(node.folder()), [""; 0]);
}

#[tokio::test]
async fn a_secret_is_not_sent_where_it_is_not_meant_for() {
    let (own, other) = (Receiver::start().await, Receiver::start().await);
    let node = node(&[&own, &other], "").await;
    let unknown = json!({ "id": "r", "tool": "HttpRequest", "with": { "method": "GET", "url": own.url(), "headers": { "x": "${secret:nope}" } } });
    let in_body = json!({ "id": "r", "tool": "HttpRequest", "with": { "method": "POST", "url": own.url(), "body": "${secret:forge}" } });
    for (id, step, expected) in [
        ("other-host", request("r", "POST", &other.url()), "[secret.forge] hosts does not list"),
        ("unknown", unknown, "no [secret.nope]"),
        ("body", in_body, "/body: `${secret:"),
        ("unlisted", request("r", "GET", "http://127.0.0.1:9/"), "[tool.HttpRequest] hosts"),
    ] {
        let end = node.run(&mission(id, &[step])).await;
        assert_eq!(end["status"], "failed", "{id}: {end:#}");
        let journal = node.get(&format!("/v1/missions/{id}/journal")).await.expect_status(200).json;
        assert!(journal.to_string().contains(expected), "{id}: {journal:#}");
    }
    assert!(own.received().is_empty() && other.received().is_empty());
    assert_eq!(files_with_secret(node.folder()), [""; 0]);
}

#[tokio::test]
async fn a_request_that_a_crash_broke_off_is_asked_about_and_made_again_with_its_key() {
    let server = Receiver::scripted(|_, _| Reply::Hang).await;
    for (id, more, asked) in [("asked", "", true), ("believed", "idempotent = true", false)] {
        server.rescript(|_, _| Reply::Hang);
        let mut node = node(&[&server], more).await;
        node.accept(&mission(id, &[request("r", "POST", &format!("http://{}/{id}", server.host()))])).await;
        let calls =
            || -> Vec<Received> { server.received().into_iter().filter(|got| got.path == format!("/{id}")).collect() };
        until("the request is on its way", async || (calls().len() == 1).then_some(())).await;
        node.kill();
        server.rescript(|_, _| Reply::Status(200));
        node.restart().await;
        if asked {
            let mission = node.until_status(id, "blocked").await;
            assert_eq!(mission["pending_requests"][0]["kind"], "uncertain", "{mission:#}");
            assert!(mission.to_string().contains("${secret:forge}"), "the name is what people decide about");
            assert_eq!(calls().len(), 1, "nobody was asked yet");
            let repeat = json!({ "decision": "repeat" });
            node.post(&format!("/v1/missions/{id}/requests/r1"), &repeat).await.expect_status(200);
        }
        assert_eq!(node.until_final(id).await["status"], "completed");
        let keys: Vec<String> = calls().iter().map(|got| got.header("idempotency-key").to_owned()).collect();
        assert!(keys.len() == 2 && keys[0] == keys[1] && keys[0].starts_with(&format!("{id}/")), "{keys:?}");
        assert_eq!(files_with_secret(node.folder()), [""; 0]);
    }
}

#[tokio::test]
async fn a_price_is_taken_for_a_request_and_an_unknown_end_is_not_tried_again() {
    let server = Receiver::start().await;
    let node = node(&[&server], "cost_usd = 0.01").await;
    let url = |path: &str| format!("http://{}{path}", server.host());
    let end = node.run(&mission("priced", &[request("r", "POST", &url("/once"))])).await;
    assert_eq!((&end["status"], &end["usage"]["estimated_cost_usd"]), (&json!("completed"), &json!(0.01)), "{end:#}");
}

#[tokio::test]
async fn a_search_and_a_page_are_read() {
    let engine = Receiver::scripted(|got, _| match got.path.as_str() {
        "/search" => {
            let hit = json!({ "url": "https://example.org/1", "title": "<b>One</b>", "content": "the &amp; text" });
            Reply::Body(200, "application/json", json!({ "results": [hit] }).to_string())
        }
        _ => Reply::Body(
            200,
            "text/html",
            "<title>Page</title><script>x()</script><h1>Page</h1><p>of <b>text</b></p>".to_owned(),
        ),
    })
    .await;
    let host = engine.host();
    let config = format!(
        "[tool.WebSearch]\nprovider = \"searxng\"\nurl = \"http://{host}\"\nallow_private = [\"127.0.0.1\"]\n\
         [tool.WebFetch]\nhosts = [{host:?}]\nallow_private = [\"127.0.0.1\"]"
    );
    let node = Options::new().config(&config).start().await;
    let content = "{{ steps.s.result.results[0].title }}|{{ steps.s.result.results[0].text }}|{{ steps.f.result.markdown }}|\
                   {{ steps.raw.result.text | length }} {{ steps.raw.result.markdown is undefined }}";
    let fetch = |id: &str, raw: bool| json!({ "id": id, "tool": "WebFetch", "with": { "url": format!("http://{host}/page"), "raw": raw } });
    let steps = [
        json!({ "id": "s", "tool": "WebSearch", "with": { "query": "one" } }),
        fetch("f", false),
        fetch("raw", true),
        json!({ "id": "w", "tool": "Write", "with": { "path": "out", "content": content }, "needs": ["s", "f", "raw"], "artifact": "out" }),
    ];
    let end = node.run(&mission("read", &steps)).await;
    assert_eq!(end["status"], "completed", "{end:#}");
    let out = node.get("/v1/missions/read/artifacts/out").await.expect_status(200).text;
    assert_eq!(out, "One|the & text|# Page\n\nof **text**|73 true");
}
