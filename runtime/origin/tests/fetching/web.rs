//! From addresses.

use std::time::Duration;

use sortie_contract::digest::Digest;

use crate::fake::{Reply, Server};
use crate::{BYTES_MAX, KEY, fetch, refused, sources};

fn page(body: &str) -> Reply {
    Reply::Whole(200, vec![], body.as_bytes().to_vec())
}

fn to(location: &str) -> Reply {
    Reply::Whole(302, vec![("location", location.to_owned())], vec![])
}

#[tokio::test]
async fn what_lies_at_an_address_is_fetched_and_its_query_is_not_told() {
    let server = Server::answering(|asked, _| match asked.path.as_str() {
        "/a.wasm" | "/a.wasm?token=hush" => page("plugin"),
        "/a.wasm.minisig?token=hush" => page("signature"),
        _ => Reply::Whole(404, vec![], vec![]),
    })
    .await;
    let host = &server.host;
    let digest = Digest::of(b"plugin");
    let plain = sources(&[host], "");
    let keyed = sources(&[host], &format!("keys = [\"{KEY}\"]"));
    let address = format!("http://{host}/a.wasm");
    for (sources, from, digest_beside, signature) in [
        (&plain, address.clone(), None, None),
        (&plain, format!("{address}#sha256={digest}"), None, None),
        (&plain, address.clone(), Some(format!("sha256:{digest}")), None),
        (&keyed, address.clone(), None, None),
        (&keyed, format!("{address}?token=hush"), None, Some("signature")),
    ] {
        let (fetched, bytes) = fetch(sources, &from, digest_beside.as_deref()).await.expect(&from);
        assert_eq!((bytes.as_slice(), fetched.digest), (&b"plugin"[..], digest));
        assert_eq!((fetched.from.as_str(), fetched.signature.as_deref()), (address.as_str(), signature), "{from}");
    }
    // Whom nobody knows nobody needs to hear.
    let asked = server.asked().iter().filter(|asked| asked.path.contains("minisig")).count();
    assert_eq!(asked, 2);
}

#[tokio::test]
async fn what_is_not_meant_is_not_fetched() {
    let other = Server::answering(|_, _| page("other")).await;
    let elsewhere = other.host.clone();
    let server = Server::answering(move |asked, before| match asked.path.as_str() {
        "/plugin" => page("plugin"),
        "/endless" => Reply::Endless,
        "/long" => Reply::Whole(200, vec![], vec![b'x'; BYTES_MAX + 1]),
        "/cut" => Reply::Whole(200, vec![("content-length", "100".to_owned())], b"x".to_vec()),
        "/elsewhere" => to(&format!("http://{elsewhere}/plugin")),
        "/inside" => to("http://127.0.0.2:80/plugin"),
        "/metadata" => to("http://169.254.169.254/latest/meta-data"),
        "/file" => to("file:///etc/passwd"),
        "/nowhere" => to(""),
        "/loop" => to(&format!("/loop?{before}")),
        path if path.starts_with("/loop?") => to(&format!("/loop?{before}")),
        "/silent" => Reply::Silent,
        _ => Reply::Whole(404, vec![], vec![]),
    })
    .await;
    let host = &server.host;
    // The address inside is listed as a host, and not as an address.
    let sources = sources(&[host, "127.0.0.2", "http://169.254.169.254"], "").within(Duration::from_secs(2));
    let wrong = Digest::of(b"other").to_string();
    for (path, digest, expected) in [
        ("/plugin", Some(wrong.as_str()), "digest: the SHA-256 of http://"),
        ("/plugin", Some("sha256:00"), "not allowed: `sha256:00` is no digest"),
        ("/endless", None, "failed: "),
        ("/long", None, "more than a plugin may, 10000 bytes"),
        ("/cut", None, "failed: "),
        ("/elsewhere", None, "is not one that this node fetches plugins from"),
        ("/inside", None, "[plugin_source] allow_private does not list it"),
        ("/metadata", None, "[plugin_source] allow_private does not list it"),
        ("/file", None, "not allowed: file:///etc/passwd"),
        ("/nowhere", None, "redirects to no address"),
        ("/loop", None, "more than 5 redirects"),
        ("/silent", None, "failed: "),
        ("/missing", None, "answers 404"),
    ] {
        let says = refused(&sources, &format!("http://{host}{path}"), digest).await;
        assert!(says.contains(expected), "{path}: {says}");
    }
    assert!(other.asked().is_empty(), "a host that is not listed is not asked");
    for (from, expected) in [
        (format!("http://localhost:{}/plugin", host.split(':').nth(1).unwrap()), "is not one that this node"),
        ("https://example.org/a.wasm".to_owned(), "[plugin_source] hosts"),
        (format!("http://{host}/a#sha256={}", "0".repeat(63)), "is no digest"),
    ] {
        let says = refused(&sources, &from, None).await;
        assert!(says.starts_with("not allowed") && says.contains(expected), "{from}: {says}");
    }
    let public = crate::sources(&["example.org"], "");
    let says = refused(&public, "http://example.org/a.wasm", None).await;
    assert!(says.contains("would be asked over plain http"), "{says}");
}

#[tokio::test]
async fn a_redirect_to_another_host_that_is_listed_is_followed() {
    let other = Server::answering(|_, _| page("plugin")).await;
    let elsewhere = other.host.clone();
    let server = Server::answering(move |_, _| to(&format!("http://{elsewhere}/plugin?signed=hush"))).await;
    let sources = sources(&[&server.host, &other.host], "");
    let from = format!("http://{}/a", server.host);
    let (fetched, bytes) = fetch(&sources, &from, None).await.expect("it is listed");
    assert_eq!((fetched.from, bytes.as_slice()), (from, &b"plugin"[..]));
}
