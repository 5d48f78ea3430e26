//! From addresses that the node itself asks.

use serde_json::json;
use sha2::{Digest as _, Sha256};
use sortie_tests::{Files, Options};

use crate::{Bench, done, refused, version};

#[tokio::test]
async fn a_plugin_is_fetched_from_where_the_configuration_lets_it() {
    let bench = Bench::new();
    let files = Files::of(bench.path("")).await;
    let host = &files.host;
    let config = format!(
        "[plugin_source]\nhosts = [\"{host}\"]\nallow_private = [\"127.0.0.1\"]\nkeys = [\"{}\"]\nrequire_signature = true\n",
        bench.key("release")
    );
    let node = Options::new().config(&config).start().await;
    let bytes = version(&node, &node.get("/v1/plugins").await.json, "0.9.1");
    let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let file = bench.write("hello.wasm", &bytes);
    let address = format!("http://{host}/hello.wasm");

    let says = refused(&node, &["plugin", "install", &address]).await;
    assert!(says.contains("not signed") && says.contains("signature_refused"), "{says}");
    bench.sign(&file, "release", "fetched", false);
    let wrong = format!("{address}#sha256={}", "0".repeat(64));
    for (from, code) in [
        (wrong.as_str(), "digest_mismatch"),
        (&format!("http://{host}/missing.wasm"), "fetch_failed"),
        ("https://plugins.example/hello.wasm", "source_refused"),
        ("http://127.0.0.2/hello.wasm", "source_refused"),
        ("oci://plugins.example/hello:1", "source_refused"),
    ] {
        let says = refused(&node, &["plugin", "install", from]).await;
        assert!(says.contains(code), "{from}: {says}");
        let answer = node.post("/v1/plugin-fetch", &json!({"from": from})).await;
        assert_eq!(answer.code(), code, "{answer:#?}");
    }
    for from in ["", "hello.wasm", "ftp://x/y", "oci://", "http://"] {
        node.post("/v1/plugin-fetch", &json!({"from": from})).await.expect_problem(422, "source_refused");
    }
    node.post("/v1/plugin-fetch", &json!({"from": 1})).await.expect_problem(422, "invalid_action");
    assert!(
        refused(&node, &["plugin", "install", "oci://x.example/UPPER"]).await.contains("oci://HOST/REPOSITORY:TAG")
    );

    for arguments in [
        &["plugin", "install", &format!("{address}#sha256={digest}")][..],
        &["plugin", "install", &format!("{address}?token=hush"), "--digest", &format!("sha256:{digest}")],
    ] {
        let printed = done(&node, arguments).await;
        let from = format!("from: {address},");
        assert!(printed.contains(&from) && printed.contains("signed by: ") && !printed.contains("hush"), "{printed}");
    }
    let actions = node.get("/v1/actions").await.json["items"].to_string();
    assert!(actions.contains("fetch_plugin") && actions.contains(&address) && !actions.contains("hush"), "{actions}");
    assert!(!node.read_log().contains("hush"));
    // One that lies there and is none.
    let garbage = bench.write("garbage.wasm", b"garbage");
    bench.sign(&garbage, "release", "garbage", false);
    let says = refused(&node, &["plugin", "install", &format!("http://{host}/garbage.wasm")]).await;
    assert!(says.contains("plugin_refused") && says.contains("not WebAssembly"), "{says}");
}
