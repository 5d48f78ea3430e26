//! Into registries, and out of them again.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use sortie_contract::digest::Digest;
use sortie_egress::Secret;
use sortie_origin::{Credentials, FetchError, Place, Pushed, Reference, push};

use crate::fake::{Reply, Server};
use crate::{fetch, sources};

/// A registry as it is in the book, in memory. `upload` is where it wants uploads.
async fn registry(upload: &'static str) -> Server {
    let blobs: Mutex<BTreeMap<String, Vec<u8>>> = Mutex::default();
    Server::answering(move |asked, _| {
        let status = |status: u16| Reply::Whole(status, vec![], vec![]);
        if asked.header("authorization") != Some("Basic YW5uOmh1c2g=") && asked.method != "GET" {
            return Reply::Whole(401, vec![("www-authenticate", "Basic realm=\"x\"".to_owned())], vec![]);
        }
        let name = asked.path.rsplit('/').next().unwrap_or_default().to_owned();
        match (asked.method.as_str(), asked.path.as_str()) {
            ("POST", "/v2/acme/greeter/blobs/uploads/") => {
                Reply::Whole(202, vec![("location", upload.to_owned())], vec![])
            }
            ("PUT", path) if path.starts_with("/v2/acme/greeter/blobs/uploads/1?state=x&digest=") => {
                let digest = format!("sha256:{}", Digest::of(&asked.body));
                let named = path.rsplit_once("digest=").map(|(_, digest)| digest.replace("%3A", ":"));
                assert_eq!(named, Some(digest.clone()));
                assert!(blobs.lock().insert(digest, asked.body.clone()).is_none(), "it was there already");
                status(201)
            }
            ("PUT", path) if path.starts_with("/v2/acme/greeter/manifests/") => {
                assert_eq!(asked.header("content-type"), Some("application/vnd.oci.image.manifest.v1+json"));
                blobs.lock().insert(name, asked.body.clone());
                status(201)
            }
            (_, path) if path.starts_with("/v2/acme/greeter/") => match blobs.lock().get(&name) {
                Some(bytes) => Reply::Whole(200, vec![], bytes.clone()),
                None => status(404),
            },
            _ => Reply::Whole(400, vec![], br#"{"errors": [{"code": "UNSUPPORTED", "message": "not so"}]}"#.to_vec()),
        }
    })
    .await
}

fn reference(text: &str) -> Reference {
    match Place::parse(text) {
        Ok(Place::Registry(reference)) => reference,
        other => panic!("{text}: {other:?}"),
    }
}

async fn pushed(host: &str, which: &str, signature: Option<&str>, pair: Option<&str>) -> Result<Pushed, FetchError> {
    let credentials = pair.map(|pair| Credentials::of(Secret::new(pair.to_owned())));
    let place = reference(&format!("oci://{host}/acme/greeter{which}"));
    push(b"a component".to_vec(), signature, &place, "http", credentials).await
}

#[tokio::test]
async fn what_is_pushed_is_what_is_fetched() {
    let server = registry("/v2/acme/greeter/blobs/uploads/1?state=x").await;
    let host = &server.host;
    let sources = sources(&[host], "");
    let mut manifests = Vec::new();
    for (tag, signature) in [(":1", None), (":1", None), (":2", Some("signed"))] {
        let Pushed { place, manifest, component } =
            pushed(host, tag, signature, Some("ann:hush")).await.expect("it is taken");
        assert_eq!(
            (component, place),
            (Digest::of(b"a component"), format!("oci://{host}/acme/greeter@sha256:{manifest}"))
        );
        let (fetched, bytes) =
            fetch(&sources, &format!("oci://{host}/acme/greeter{tag}"), None).await.expect("it is there");
        assert_eq!((bytes.as_slice(), fetched.signature.as_deref()), (&b"a component"[..], signature));
        assert_eq!(fetched.from, format!("oci://{host}/acme/greeter@sha256:{manifest}"));
        manifests.push(manifest);
    }
    assert_eq!(manifests[0], manifests[1], "the same again is the same");
    assert_ne!(manifests[0], manifests[2]);
    let types: Vec<String> = server
        .asked()
        .iter()
        .filter(|asked| asked.path.ends_with("manifests/2") && asked.method == "PUT")
        .map(|asked| String::from_utf8_lossy(&asked.body).into_owned())
        .collect();
    for part in ["application/vnd.wasm.config.v0+json", "\"application/wasm\"", "\"schemaVersion\":2"] {
        assert!(types[0].contains(part), "{types:?}");
    }
}

#[tokio::test]
async fn what_is_pushed_and_what_opens_a_registry_go_nowhere_else() {
    let other = Server::answering(|_, _| Reply::Whole(201, vec![], vec![])).await;
    let elsewhere: &'static str = Box::leak(format!("http://{}/upload", other.host).into_boxed_str());
    for (upload, expected) in [(elsewhere, "nothing is sent there"), ("", "names no place"), ("/other", "not so")] {
        let server = registry(upload).await;
        let says = pushed(&server.host, ":1", None, Some("ann:hush")).await.expect_err(upload).to_string();
        assert!(says.contains(expected), "{upload}: {says}");
    }
    assert!(other.asked().is_empty());
    let server = registry("/v2/acme/greeter/blobs/uploads/1?state=x").await;
    for (pair, expected) in [(None, "name credentials for it"), (Some("ann:wrong"), "see whether they are right")] {
        let says = pushed(&server.host, ":1", None, pair).await.expect_err("refused").to_string();
        assert!(says.contains(expected) && !says.contains("wrong"), "{says}");
    }
    let digest = format!("@sha256:{}", Digest::of(b"x"));
    assert!(pushed(&server.host, &digest, None, None).await.expect_err("no tag").to_string().contains("gets a tag"));
}
