//! `WebFetch` against a server on this machine.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use sortie_contract::Timestamp;
use sortie_contract::tool::CallError;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::{Bill, BuiltIn, Nobody, Providers, Workspace};

/// What the server does with the path that it is asked for.
enum Reply {
    /// Sends this and closes.
    Bytes(Vec<u8>),
    /// Sends this and then nothing more, for ever.
    Stall(&'static str),
    /// Sends the head and then zeros, for as long as somebody takes them.
    Endless,
}

fn page(head: &str, body: &[u8]) -> Reply {
    let head = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    Reply::Bytes([head.as_bytes(), body].concat())
}

fn redirect(to: &str) -> Reply {
    page(&format!("302 Found\r\nLocation: {to}"), b"over there")
}

/// A server that answers each request with `reply(path)`.
async fn serve(reply: impl Fn(&str) -> Reply + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let reply = Arc::new(reply);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let reply = Arc::clone(&reply);
            tokio::spawn(async move {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(stream.read_u8().await?);
                }
                let request = String::from_utf8(request).unwrap();
                match reply(request.split(' ').nth(1).unwrap()) {
                    Reply::Bytes(bytes) => stream.write_all(&bytes).await,
                    Reply::Stall(head) => {
                        stream.write_all(head.as_bytes()).await?;
                        stream.read_u8().await.map(drop)
                    }
                    Reply::Endless => {
                        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n").await?;
                        loop {
                            stream.write_all(&[b'0'; 65_536]).await?;
                        }
                    }
                }
            });
        }
    });
    address
}

fn config(hosts: &[String], allow_private: &[&str]) -> ToolConfig {
    let allow_private = allow_private.iter().map(|&text| text.to_owned()).collect();
    ToolConfig { hosts: Some(hosts.to_vec()), allow_private: Some(allow_private), ..ToolConfig::default() }
}

/// A tool that may ask just this server.
fn tool(server: SocketAddr) -> WebFetch {
    WebFetch::new(&config(&[server.to_string()], &["127.0.0.1"])).unwrap()
}

async fn fetch(tool: WebFetch, arguments: Value) -> Result<Value, CallError> {
    let folder = tempfile::tempdir().unwrap();
    let workspace = Workspace::open(folder.path()).unwrap();
    let context = CallContext {
        workspace,
        mission_id: "m".to_owned(),
        idempotency_key: "m/1".to_owned(),
        run: sortie_contract::id::RunNo(1),
        trace_id: String::new(),
        bill: Bill::default(),
        ask: Arc::new(Nobody),
    };
    let providers = Providers::new(BuiltIn::of(vec![Arc::new(tool)]), Vec::new(), Timestamp::UNIX_EPOCH).unwrap();
    let toolbox = providers.toolbox();
    let answer = toolbox.call("webfetch", &context, &arguments.to_string(), None, tokio::time::sleep).await?;
    assert!(answer.wrote.is_empty());
    Ok(serde_json::from_str(&answer.result).unwrap())
}

#[tokio::test]
async fn a_page_is_its_text() {
    let server = serve(|path| match path {
        "/page?q=1" => page("200 OK\r\nContent-Type: text/html; charset=latin1", b"caf\xe9"),
        _ => page("404 Not Found\r\nContent-Type: text/plain", b"no such page"),
    })
    .await;
    let url = format!("http://{server}/page?q=1");
    let answer = fetch(tool(server), json!({ "url": url })).await.unwrap();
    let content_type = "text/html; charset=latin1";
    assert_eq!(
        answer,
        json!({ "status": 200, "url": url, "content_type": content_type, "text": "café", "markdown": "café", "truncated": false })
    );
    let answer = fetch(tool(server), json!({ "url": format!("http://{server}/gone") })).await.unwrap();
    assert_eq!((&answer["status"], &answer["text"]), (&json!(404), &json!("no such page")));
}

#[tokio::test]
async fn redirects_are_followed_up_to_five() {
    let server = serve(|path| match path.trim_start_matches('/').parse::<u32>() {
        Ok(0) => page("200 OK", b"arrived"),
        Ok(left) => redirect(&format!("/{}", left - 1)),
        Err(_) => redirect("/round"),
    })
    .await;
    let answer = fetch(tool(server), json!({ "url": format!("http://{server}/5#top") })).await.unwrap();
    assert_eq!((&answer["text"], &answer["url"]), (&json!("arrived"), &json!(format!("http://{server}/0"))));
    for path in ["6", "round"] {
        let error = fetch(tool(server), json!({ "url": format!("http://{server}/{path}") })).await.unwrap_err();
        assert!(matches!(&error, CallError::Failed(text) if text.contains("5 redirects")), "{error:?}");
    }
}

#[tokio::test]
async fn each_hop_is_checked_again() {
    // The second server is as near as the first one, but nobody listed it.
    let secret = serve(|_| page("200 OK", b"secret")).await;
    let targets = [
        format!("http://{secret}/"),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "file:///etc/passwd".to_owned(),
        "http://user:pass@127.0.0.1/".to_owned(),
        format!("//127.0.0.1:{}/", secret.port()),
    ];
    for target in targets {
        let to = target.clone();
        let server = serve(move |_| redirect(&to)).await;
        let error = fetch(tool(server), json!({ "url": format!("http://{server}/") })).await.unwrap_err();
        assert!(matches!(error, CallError::Denied(_)), "{target}: {error:?}");
    }
    // A host that is listed, at an address that is not.
    let server = serve(|_| redirect("http://[::1]:9/")).await;
    let listed = config(&["*".to_owned()], &["127.0.0.1"]);
    let error =
        fetch(WebFetch::new(&listed).unwrap(), json!({ "url": format!("http://{server}/") })).await.unwrap_err();
    assert!(matches!(&error, CallError::Denied(text) if text.contains("allow_private")), "{error:?}");
}

#[tokio::test]
async fn what_a_name_resolves_to_is_checked() {
    let server = serve(|_| page("200 OK", b"inside")).await;
    let hosts = [format!("localhost:{}", server.port())];
    let url = json!({ "url": format!("http://localhost:{}/", server.port()) });
    let error = fetch(WebFetch::new(&config(&hosts, &[])).unwrap(), url.clone()).await.unwrap_err();
    assert!(matches!(&error, CallError::Denied(text) if text.contains("allow_private")), "{error:?}");
    let listed = config(&hosts, &["127.0.0.1", "::1"]);
    assert_eq!(fetch(WebFetch::new(&listed).unwrap(), url).await.unwrap()["text"], "inside");
}

#[tokio::test]
async fn a_big_body_is_cut() {
    let server = serve(|_| Reply::Endless).await;
    let url = format!("http://{server}/");
    let answer = fetch(tool(server), json!({ "url": url, "max_bytes": 10 })).await.unwrap();
    assert_eq!((&answer["text"], &answer["truncated"]), (&json!("0000000000"), &json!(true)));
    for max_bytes in [Value::Null, json!(1_u64 << 60)] {
        let answer = fetch(tool(server), json!({ "url": url, "max_bytes": max_bytes })).await.unwrap();
        assert_eq!(answer["text"].as_str().unwrap().len(), limit::TEXT_BYTES_MAX);
    }
}

#[tokio::test]
async fn a_slow_server_is_given_up() {
    for head in ["", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"] {
        let server = serve(move |_| Reply::Stall(head)).await;
        let tool = tool(server).within(Duration::from_millis(200));
        let error = fetch(tool, json!({ "url": format!("http://{server}/") })).await.unwrap_err();
        assert!(matches!(error, CallError::TimedOut(_)), "{error:?}");
    }
}

#[tokio::test]
async fn what_is_no_text_is_an_error_that_says_so() {
    let server = serve(|path| match path {
        "/binary" => page("200 OK\r\nContent-Type: image/png", b"\x89PNG\0\0"),
        "/packed" => page("200 OK\r\nContent-Encoding: gzip", b"\x1f\x8b"),
        "/cut" => Reply::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc".to_vec()),
        _ => Reply::Bytes(b"what?\r\n\r\n".to_vec()),
    })
    .await;
    for (path, said) in [
        ("binary", "image/png"),
        ("packed", "cannot be fetched"),
        ("cut", "cannot be fetched"),
        ("x", "cannot be fetched"),
    ] {
        let error = fetch(tool(server), json!({ "url": format!("http://{server}/{path}") })).await.unwrap_err();
        assert!(matches!(&error, CallError::Failed(text) if text.contains(said)), "{path}: {error:?}");
    }
    // Nobody listens there any more.
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = fetch(tool(gone), json!({ "url": format!("http://{gone}/") })).await.unwrap_err();
    assert!(matches!(error, CallError::Failed(_)), "{error:?}");
}

#[tokio::test]
async fn what_is_no_address_is_told_with_its_place() {
    let server = serve(|_| page("200 OK", b"")).await;
    for (arguments, place) in [
        (json!({ "url": "example.org" }), "/url"),
        (json!({ "url": "" }), "/url"),
        (json!({ "url": format!("http://{server}/{}", "x".repeat(5_000)) }), "/url"),
        (json!({ "url": 7 }), "/url"),
        (json!({ "url": "http://x/", "max_bytes": -1 }), "/max_bytes"),
        (json!({}), "url"),
    ] {
        let error = fetch(tool(server), arguments.clone()).await.unwrap_err();
        assert!(matches!(&error, CallError::InvalidArguments(text) if text.contains(place)), "{arguments}: {error:?}");
    }
}

/// A body, compressed as a server would.
async fn packed(encoding: &str, body: &[u8]) -> Vec<u8> {
    use async_compression::tokio::write::{BrotliEncoder, GzipEncoder, ZlibEncoder};
    let mut packed = Vec::new();
    match encoding {
        "gzip" => {
            let mut encoder = GzipEncoder::new(&mut packed);
            encoder.write_all(body).await.unwrap();
            encoder.shutdown().await.unwrap();
        }
        "deflate" => {
            let mut encoder = ZlibEncoder::new(&mut packed);
            encoder.write_all(body).await.unwrap();
            encoder.shutdown().await.unwrap();
        }
        _ => {
            let mut encoder = BrotliEncoder::new(&mut packed);
            encoder.write_all(body).await.unwrap();
            encoder.shutdown().await.unwrap();
        }
    }
    packed
}

#[tokio::test]
async fn what_comes_compressed_is_read_within_the_same_bound() {
    for encoding in ["gzip", "deflate", "br"] {
        let text = "so lang wie breit ".repeat(100);
        // Many times what a call returns, in a few kilobytes.
        let bomb = packed(encoding, &vec![b'0'; 16 << 20]).await;
        assert!(bomb.len() < limit::TEXT_BYTES_MAX / 16, "{encoding}: {}", bomb.len());
        let small = packed(encoding, text.as_bytes()).await;
        let server = serve(move |path| {
            let body = if path == "/bomb" { &bomb } else { &small };
            page(&format!("200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: {encoding}"), body)
        })
        .await;
        let answer = fetch(tool(server), json!({ "url": format!("http://{server}/small") })).await.unwrap();
        assert_eq!((answer["text"].as_str().unwrap(), &answer["truncated"]), (&*text, &json!(false)), "{encoding}");
        let answer = fetch(tool(server), json!({ "url": format!("http://{server}/bomb") })).await.unwrap();
        assert_eq!(
            (answer["text"].as_str().unwrap().len(), &answer["truncated"]),
            (limit::TEXT_BYTES_MAX, &json!(true)),
            "{encoding}"
        );
    }
    let server = serve(|_| page("200 OK\r\nContent-Encoding: zstd", b"x")).await;
    let error = fetch(tool(server), json!({ "url": format!("http://{server}/") })).await.unwrap_err();
    assert!(matches!(&error, CallError::Failed(text) if text.contains("gzip, deflate and br")), "{error:?}");
}
