//! From registries.

use std::time::Duration;

use sortie_contract::digest::Digest;

use crate::fake::{Asked, Reply, Server};
use crate::{BYTES_MAX, fetch, refused, sources};

const COMPONENT: &[u8] = b"a component";

fn layer(bytes: &[u8], size: usize) -> String {
    format!(
        r#"{{"mediaType": "application/wasm", "digest": "sha256:{}", "size": {size}, "annotations": {{"dev.sortie.plugin.minisig": "signed"}}}}"#,
        Digest::of(bytes)
    )
}

fn manifest(layers: &str) -> String {
    format!(r#"{{"schemaVersion": 2, "layers": [{layers}]}}"#)
}

fn json(text: &str) -> Reply {
    Reply::Whole(200, vec![("content-type", "application/json".to_owned())], text.as_bytes().to_vec())
}

fn bytes(bytes: &[u8]) -> Reply {
    Reply::Whole(200, vec![], bytes.to_vec())
}

fn challenge(text: String) -> Reply {
    Reply::Whole(401, vec![("www-authenticate", text)], vec![])
}

fn to(location: &str) -> Reply {
    Reply::Whole(307, vec![("location", location.to_owned())], vec![])
}

fn is_manifest(asked: &Asked) -> bool {
    asked.path.contains("/manifests/")
}

#[tokio::test]
async fn a_plugin_is_fetched_by_its_tag_or_digest_and_pinned() {
    let text = manifest(&layer(COMPONENT, COMPONENT.len()));
    let pinned = Digest::of(text.as_bytes());
    let server = Server::answering(move |asked, _| match asked.path.as_str() {
        "/v2/acme/greeter/manifests/1.0.0" => json(&text),
        path if path == format!("/v2/acme/greeter/manifests/sha256:{pinned}") => json(&text),
        path if path == format!("/v2/acme/greeter/blobs/sha256:{}", Digest::of(COMPONENT)) => bytes(COMPONENT),
        _ => Reply::Whole(
            404,
            vec![],
            br#"{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}"#.to_vec(),
        ),
    })
    .await;
    let (host, sources) = (&server.host, sources(&[&server.host], ""));
    let place = format!("oci://{host}/acme/greeter");
    for which in [":1.0.0".to_owned(), format!("@sha256:{pinned}"), format!(":gone@sha256:{pinned}")] {
        let digest = Digest::of(COMPONENT).to_string();
        for digest in [None, Some(digest.as_str())] {
            let (fetched, bytes) = fetch(&sources, &format!("{place}{which}"), digest).await.expect(&which);
            assert_eq!(fetched.from, format!("{place}@sha256:{pinned}"), "{which}");
            assert_eq!((bytes.as_slice(), fetched.digest), (COMPONENT, Digest::of(COMPONENT)));
            assert_eq!(fetched.signature.as_deref(), Some("signed"));
        }
    }
    let says = refused(&sources, &place, None).await;
    assert!(says.starts_with("failed") && says.contains("404") && says.contains("manifest unknown"), "{says}");
    let says = refused(&sources, &format!("{place}:1.0.0"), Some(&pinned.to_string())).await;
    assert!(says.starts_with("digest"), "the digest that is named is the plugin's: {says}");
}

#[tokio::test]
async fn what_opens_a_registry_goes_to_it_and_to_its_desk_alone() {
    let storage = Server::answering(|_, _| bytes(COMPONENT)).await;
    let elsewhere = storage.host.clone();
    let text = manifest(&layer(COMPONENT, COMPONENT.len()));
    let of_basic = text.clone();
    let basic = Server::answering(move |asked, _| match asked.header("authorization") {
        Some("Basic YW5uOmh1c2g=") if is_manifest(asked) => json(&of_basic),
        Some("Basic YW5uOmh1c2g=") => to(&format!("http://{elsewhere}/blob?signed=1")),
        _ => challenge("Basic realm=\"x\"".to_owned()),
    })
    .await;
    let secret = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(secret.path(), "ann:hush\n").expect("written");
    let credentials =
        |host: &str| format!("[registry.\"{host}\"]\ncredentials = \"file://{}\"", secret.path().display());
    let of_it = sources(&[&basic.host, &storage.host], &credentials(&basic.host));
    fetch(&of_it, &format!("oci://{}/a:1", basic.host), None).await.expect("they are right");
    assert!(!storage.asked().is_empty());
    assert!(storage.asked().iter().all(|asked| asked.header("authorization").is_none()), "{:?}", storage.asked());

    // Where the registry leads, somebody asks for it by himself: for a password, or for one to be brought to his desk.
    for wants in ["Basic realm=\"x\"".to_owned(), "Bearer realm=\"http://HOST/token\"".to_owned()] {
        let greedy = Server::answering(move |asked, _| {
            challenge(wants.replace("HOST", asked.header("host").unwrap_or_default()))
        })
        .await;
        let (at, text) = (greedy.host.clone(), text.clone());
        let leads = Server::answering(move |asked, _| match is_manifest(asked) {
            true => json(&text),
            false => to(&format!("http://{at}/blob")),
        })
        .await;
        let of_both = sources(&[&leads.host, &greedy.host], &credentials(&leads.host));
        let says = refused(&of_both, &format!("oci://{}/a:1", leads.host), None).await;
        assert!(says.starts_with("failed") && says.contains("answers 401"), "{says}");
        assert_eq!(greedy.asked().len(), 1, "its desk is not asked: {:?}", greedy.asked());
        assert!(leads.asked().iter().all(|asked| asked.header("authorization").is_none()), "{:?}", leads.asked());
    }

    // A token, from a desk on the same host.
    let bearer = Server::answering(move |asked, _| {
        let host = asked.header("host").unwrap_or_default();
        match (asked.path.split('?').next().unwrap_or_default(), asked.header("authorization")) {
            ("/token", Some("Basic YW5uOmh1c2g=")) => json("{\"token\": \"t-1\"}"),
            ("/token", None) => json("{\"access_token\": \"anonymous\"}"),
            (_, Some("Bearer t-1")) if is_manifest(asked) => json(&text),
            (_, Some("Bearer t-1")) => bytes(COMPONENT),
            _ => challenge(format!(
                "Bearer realm=\"http://{host}/token\",service=\"reg\",scope=\"repository:other:push\""
            )),
        }
    })
    .await;
    let place = format!("oci://{}/a/b:1", bearer.host);
    fetch(&sources(&[&bearer.host], &credentials(&bearer.host)), &place, None).await.expect("a token");
    let desk = bearer.asked().into_iter().find(|asked| asked.path.starts_with("/token")).expect("it was asked");
    assert_eq!(desk.path, "/token?service=reg&scope=repository%3Aa%2Fb%3Apull", "no more than what is needed");
    let says = refused(&sources(&[&bearer.host], ""), &place, None).await;
    assert!(says.starts_with("unauthorized") && says.contains("name credentials for it"), "{says}");
    // A reference that leads nowhere.
    let nothing = format!("[registry.\"{}\"]\ncredentials = \"file:///nothing\"", bearer.host);
    assert!(refused(&sources(&[&bearer.host], &nothing), &place, None).await.starts_with("credentials"));
}

/// Between manifest and blob the tag may come to mean something else: what is fetched is what one manifest named.
#[tokio::test]
async fn a_tag_that_moves_mixes_nothing() {
    let builds: Vec<Vec<u8>> = (0..20).map(|no| format!("build {no}").into_bytes()).collect();
    let there = builds.clone();
    let server = Server::answering(move |asked, before| {
        if is_manifest(asked) {
            let build = &there[before % there.len()];
            return json(&manifest(&layer(build, build.len())));
        }
        let wanted = there.iter().find(|build| asked.path.ends_with(&Digest::of(build).to_string()));
        wanted.map_or_else(|| Reply::Whole(404, vec![], vec![]), |build| bytes(build))
    })
    .await;
    let sources = sources(&[&server.host], "");
    for _ in 0..5 {
        let asked = server.asked().len();
        let (fetched, found) =
            fetch(&sources, &format!("oci://{}/a:latest", server.host), None).await.expect("one of them");
        assert_eq!(fetched.digest, Digest::of(&found));
        assert!(builds.contains(&found));
        let manifests = server.asked().iter().skip(asked).filter(|asked| is_manifest(asked)).count();
        assert_eq!(manifests, 1, "the tag is looked up once");
    }
}

#[tokio::test]
async fn a_registry_that_lies_installs_nothing() {
    let named = Digest::of(b"the manifest that is meant");
    let desk = Server::answering(|_, _| json("{\"token\": \"stolen\"}")).await;
    let (elsewhere, large) = (desk.host.clone(), BYTES_MAX + 1);
    let server = Server::answering(move |asked, _| {
        let good = || json(&manifest(&layer(COMPONENT, COMPONENT.len())));
        let host = asked.header("host").unwrap_or_default();
        let case = asked.path.split('/').nth(2).unwrap_or_default();
        match (case, is_manifest(asked)) {
            ("wrong", false) => bytes(b"A component"),
            ("long", false) => bytes(b"a component and more"),
            ("short", false) => bytes(b"a comp"),
            ("endless" | "said-large", false) => Reply::Endless,
            ("silent", false) => Reply::Silent,
            ("inside", false) => to("http://127.0.0.2/blob"),
            ("unlisted", false) => to(&format!("http://{elsewhere}/blob")),
            ("around", false) => to(&asked.path),
            ("endless-manifest", true) => Reply::Endless,
            ("said-large", true) => json(&manifest(&layer(COMPONENT, large))),
            ("index", true) => json("{\"manifests\": []}"),
            ("html", true) => bytes(b"<html>"),
            ("image", true) => json(&manifest(&layer(COMPONENT, 1).replace("application/wasm", "application/x-tar"))),
            ("refuses", _) => challenge("Basic realm=\"x\"".to_owned()),
            ("mute", _) => Reply::Whole(401, vec![], vec![]),
            ("desk-elsewhere", _) => challenge(format!("Bearer realm=\"http://{elsewhere}/token\"")),
            ("desk-inside", _) => challenge("Bearer realm=\"http://169.254.169.254/token\"".to_owned()),
            ("desk-file", _) => challenge("Bearer realm=\"file:///etc/passwd\"".to_owned()),
            ("desk-loop", _) if asked.path.contains("/token") => to("/v2/desk-loop/token"),
            ("desk-loop", _) => challenge(format!("Bearer realm=\"http://{host}/v2/desk-loop/token\"")),
            ("forgets", _) if asked.path.starts_with("/v2/forgets/token") => json("{\"token\": \"t\"}"),
            ("forgets", _) => challenge(format!("Bearer realm=\"http://{host}/v2/forgets/token\"")),
            (_, true) => good(),
            (_, false) => bytes(COMPONENT),
        }
    })
    .await;
    let secret = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(secret.path(), "ann:hush-hush").expect("written");
    let host = &server.host;
    let more = format!("[registry.\"{host}\"]\ncredentials = \"file://{}\"", secret.path().display());
    let sources = sources(&[host, "127.0.0.2", "169.254.169.254"], &more).within(Duration::from_secs(2));
    for (case, expected) in [
        ("wrong:1".to_owned(), "digest: "),
        ("long:1".to_owned(), "more than its manifest says, 11 bytes"),
        ("short:1".to_owned(), "ends after 6 of 11 bytes"),
        ("endless:1".to_owned(), "more than its manifest says, 11 bytes"),
        ("silent:1".to_owned(), "failed: "),
        ("inside:1".to_owned(), "not allowed: 127.0.0.2 leads to a private"),
        ("unlisted:1".to_owned(), "not one that this node fetches plugins from"),
        ("around:1".to_owned(), "more than 5 redirects"),
        ("endless-manifest:1".to_owned(), "has more than 1048576 bytes"),
        ("said-large:1".to_owned(), "a plugin has at most 10000"),
        ("index:1".to_owned(), "an index of several"),
        ("html:1".to_owned(), "cannot be read"),
        ("image:1".to_owned(), "its layers are application/x-tar"),
        (format!("a@sha256:{named}"), "digest: the SHA-256 of the manifest"),
        ("refuses:1".to_owned(), "unauthorized: "),
        ("mute:1".to_owned(), "not what it wants to see"),
        ("desk-elsewhere:1".to_owned(), "not allowed: "),
        ("desk-inside:1".to_owned(), "not allowed: "),
        ("desk-file:1".to_owned(), "is no address of the web"),
        ("desk-loop:1".to_owned(), "answers 307"),
        ("forgets:1".to_owned(), "unauthorized: "),
    ] {
        let asked = server.asked().len();
        let says = refused(&sources, &format!("oci://{host}/{case}"), None).await;
        assert!(says.contains(expected), "{case}: {says}");
        assert!(!says.contains("hush"), "{case}: {says}");
        assert!(server.asked().len() - asked <= 8, "{case} is asked again and again");
    }
    assert!(desk.asked().is_empty(), "a host that is not listed is not asked");
    let says = refused(&sources, "oci://registry.example/a:1", None).await;
    assert!(says.contains("[plugin_source] hosts"), "{says}");
}
