//! `WebSearch` against an engine on this machine.

use serde_json::{Value, json};

use super::super::testing::{Reply, Server, call, page};
use super::*;

fn configured(provider: &str, url: Option<String>, key: Option<String>) -> Result<Option<WebSearch>, String> {
    let provider = Some(provider.to_owned()).filter(|provider| !provider.is_empty());
    let allow_private = Some(vec!["127.0.0.1".to_owned()]);
    let config = ToolConfig { provider, url, key, allow_private, ..ToolConfig::default() };
    WebSearch::new(&config).map_err(|error| error.to_string())
}

fn searxng(server: &Server) -> WebSearch {
    configured("searxng", Some(server.url("/")), None).unwrap().unwrap()
}

/// Brave with this key.
fn brave(server: &Server, folder: &tempfile::TempDir, key: &str) -> WebSearch {
    let path = folder.path().join("key");
    std::fs::write(&path, key).unwrap();
    configured("brave", Some(server.url("")), Some(format!("file://{}", path.display()))).unwrap().unwrap()
}

fn json_page(status: &str, body: &Value) -> Reply {
    page(&format!("{status}\r\nContent-Type: application/json"), body.to_string())
}

#[tokio::test]
async fn what_a_searxng_finds_is_told() {
    let server = Server::start(|_| {
        let hit = |number: usize| json!({
            "url": format!("https://example.org/{number}"), "title": "Night <b>shift</b> &amp; more", "content": "a&nbsp;<span class='x'>list</span><br>of Vec<T>", "engine": "x"
        });
        let mut hits: Vec<Value> = (0..30).map(hit).collect();
        hits.insert(0, json!({ "url": "javascript:alert(1)", "title": "x" }));
        hits.insert(1, json!({ "title": "no address" }));
        json_page("200 OK", &json!({ "query": "q", "results": hits, "answers": [] }))
    })
    .await;
    let found = call(searxng(&server), &json!({ "query": " night & \"shift\" ", "count": 2 })).await.unwrap();
    let hit = |number: usize| json!({ "title": "Night shift & more", "url": format!("https://example.org/{number}"), "text": "a list of Vec<T>" });
    assert_eq!(found, json!({ "results": [hit(0), hit(1)] }));
    assert_eq!(server.asked()[0].target, "/search?q=night+%26+%22shift%22&format=json");
    assert_eq!(
        call(searxng(&server), &json!({ "query": "q" })).await.unwrap()["results"].as_array().unwrap().len(),
        10
    );
}

#[tokio::test]
async fn what_brave_finds_is_told_and_its_key_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(|asked| {
        let key = asked.header("x-subscription-token");
        match asked.target.as_str() {
            target if target.contains("q=nothing") => json_page("200 OK", &json!({ "type": "search" })),
            target if target.contains("q=deny") => json_page("422 No", &json!({ "detail": format!("key {key} is not ours") })),
            _ => json_page("200 OK", &json!({ "web": { "results": [
                { "url": format!("https://example.org/?k={key}"), "title": format!("<strong>{key}</strong>"), "description": "x".repeat(9_000) }
            ] } })),
        }
    })
    .await;
    let ask = async |query: &str| call(brave(&server, &folder, "BSA-hidden-key\n"), &json!({ "query": query })).await;
    let found = ask("some").await.unwrap();
    assert_eq!(found["results"][0]["title"], "***");
    assert_eq!(found["results"][0]["text"].as_str().unwrap().len(), TEXT_BYTES_MAX);
    let asked = &server.asked()[0];
    assert_eq!(
        (asked.target.as_str(), asked.header("x-subscription-token")),
        ("/res/v1/web/search?q=some&count=10", "BSA-hidden-key")
    );
    assert_eq!(ask("nothing").await.unwrap(), json!({ "results": [] }));
    let error = ask("deny").await.unwrap_err().to_string();
    assert!(error.contains("[tool.WebSearch] is not taken") && error.contains("*** is not ours"), "{error}");
    assert!(!format!("{found} {error}").contains("hidden"));
    let error = call(brave(&server, &folder, ""), &json!({ "query": "q" })).await.unwrap_err().to_string();
    assert!(error.contains("doctor") && !error.contains("file://"), "{error}");
}

#[tokio::test]
async fn what_an_engine_says_instead_is_told_with_what_to_do() {
    for (reply, expected) in [
        (("403 Forbidden\r\nContent-Type: text/html", "<h1>Forbidden</h1>"), "formats: [html, json]"),
        (
            ("200 OK\r\nContent-Type: text/html", "<html>results</html>"),
            "text/html, which is no JSON; a SearxNG gives JSON only",
        ),
        (("200 OK", "{"), "something without a type"),
        (("200 OK\r\nContent-Type: application/json", "[]"), "without a list of results"),
        (("429 Slow\r\nRetry-After: 30", ""), "ask again after 30 s"),
        (("429 Slow", ""), "ask again later"),
        (("302 Found\r\nLocation: http://127.0.0.1:9/", ""), "it redirects"),
        (("500 Oh\r\nContent-Type: text/html", "<p>it is <b>down</b></p>"), "it says: it is down"),
        (("200 OK\r\nContent-Encoding: zstd", "x"), "zstd"),
    ] {
        let (head, body) = reply;
        let server = Server::start(move |_| page(head, body)).await;
        let error = call(searxng(&server), &json!({ "query": "q" })).await.unwrap_err();
        assert!(matches!(&error, CallError::Failed(text) if text.contains(expected)), "{head}: {error:?}");
    }
    let server =
        Server::start(|_| page("200 OK\r\nContent-Type: application/json", "x".repeat(limit::TEXT_BYTES_MAX + 1)))
            .await;
    let error = call(searxng(&server), &json!({ "query": "q" })).await.unwrap_err();
    assert!(matches!(&error, CallError::Failed(text) if text.contains("longer than is read")), "{error:?}");
    for (arguments, place) in [
        (json!({ "query": " " }), "/query"),
        (json!({ "query": "x".repeat(QUERY_BYTES_MAX + 1) }), "/query"),
        (json!({ "query": "q", "count": 0 }), "/count"),
        (json!({ "query": "q", "count": 21 }), "/count"),
        (json!({}), "query"),
    ] {
        let error = call(searxng(&server), &arguments).await.unwrap_err();
        assert!(matches!(&error, CallError::InvalidArguments(text) if text.contains(place)), "{arguments}: {error:?}");
    }
}

#[tokio::test]
async fn an_engine_inside_is_asked_only_where_that_is_listed() {
    let server = Server::start(|_| page("200 OK", "{}")).await;
    let url = Some(server.url(""));
    let config = ToolConfig { provider: Some("searxng".to_owned()), url, ..ToolConfig::default() };
    let error = call(WebSearch::new(&config).unwrap().unwrap(), &json!({ "query": "q" })).await.unwrap_err();
    assert!(matches!(&error, CallError::Denied(text) if text.contains("[tool.WebSearch] allow_private")), "{error:?}");
    assert!(server.asked().is_empty());
}

#[test]
fn what_is_configured_wrongly_is_refused() {
    let some = |text: &str| Some(text.to_owned());
    assert!(configured("", None, None).unwrap().is_none(), "until it is configured there is none");
    for (provider, url, key, expected) in [
        ("", some("https://x.example"), None, "provider: it must say"),
        ("", None, some("env://K"), "provider: it must say"),
        ("google", None, None, "\"searxng\" and \"brave\""),
        ("searxng", None, None, "url: it must say"),
        ("searxng", some("https://x.example"), some("env://K"), "takes none"),
        ("brave", None, None, "key: Brave wants one"),
        ("brave", None, some("BSA-inline"), "[tool.WebSearch]: key"),
        ("brave", some("http://x.example"), some("env://K"), "plain http"),
        ("searxng", some("x.example"), None, "http or https"),
        ("searxng", some("ftp://x.example"), None, "http or https"),
        ("searxng", some("https://u:p@x.example"), None, "without credentials"),
        ("searxng", some("https://x.example/?q=1"), None, "without credentials"),
    ] {
        let error = configured(provider, url, key).err().expect(expected);
        assert!(error.contains(expected) && !error.contains("BSA-inline"), "{error}");
    }
    let on = ToolConfig { enabled: Some(true), ..ToolConfig::default() };
    assert!(WebSearch::new(&on).is_err(), "what is switched on must be there");
    for (provider, url, key, expected) in [
        ("brave", None, some("env://K"), BRAVE_URL),
        ("searxng", some("https://x.example/sx/"), None, "https://x.example/sx/search"),
        ("searxng", some("http://127.0.0.1:8888/search"), None, "http://127.0.0.1:8888/search"),
    ] {
        assert_eq!(configured(provider, url, key).unwrap().unwrap().url.as_str(), expected);
    }
}

#[test]
fn a_snippet_is_a_line_of_text() {
    for (html, expected) in [
        ("", ""),
        ("plain  text\n here", "plain text here"),
        ("<strong>a</strong>b &lt;c&gt; &#39;d&#x27; &amp;amp;", "ab <c> 'd' &amp;"),
        ("a<br/>b<p class=\"x\">c</p>", "a b c"),
        ("Vec<T> and a < b > c", "Vec<T> and a < b > c"),
        ("<script>alert('<b>')</script>x<!-- y -->", "x"),
        ("<STRONG>A</STRONG>", "A"),
    ] {
        assert_eq!(plain(html), expected, "{html}");
    }
}

#[test]
fn what_opens_and_never_closes_is_looked_at_in_a_moment() {
    // All of it, each time anew, takes minutes.
    for open in ["<script>", "<!--", "<style "] {
        assert!(plain(&open.repeat((1 << 20) / open.len())).len() <= PLAIN_BYTES_MAX, "{open}");
    }
    let key = Secret::new("planted-key-0123".to_owned());
    let redactor = Redactor::new([("***".to_owned(), &key)]);
    for before in PLAIN_BYTES_MAX - 20..PLAIN_BYTES_MAX + 2 {
        let shown = shown(
            &format!("{}planted-key-0123 more", "<b></b>".repeat(before / 7) + &" ".repeat(before % 7)),
            &redactor,
            300,
        );
        assert!(!shown.contains("plant"), "{shown}");
    }
}
