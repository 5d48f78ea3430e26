//! Who signs, and what becomes of what nobody signed.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use sortie_tests::{Node, Options};

use crate::{Bench, done, hello, refused, upload, version};

fn config(bench: &Bench, keys: &[&str], is_required: bool) -> String {
    let keys: Vec<String> =
        keys.iter().map(|name| format!("{{ name = \"{name}\", key = \"{}\" }}", bench.key(name))).collect();
    format!("[plugin_source]\nkeys = [{}]\nrequire_signature = {is_required}\n", keys.join(", "))
}

async fn plugins(node: &Node) -> Value {
    node.get("/v1/plugins").await.expect_status(200).json
}

#[tokio::test]
async fn only_what_a_known_key_signed_is_installed_and_who_signed_is_told() {
    let bench = Bench::new();
    let node = Options::new().config(&config(&bench, &["release"], true)).start().await;
    let carried = plugins(&node).await;
    assert!(!carried["unusable"].to_string().contains("signed"), "what the binary carries needs no signature");
    let bytes = version(&node, &carried, "0.9.1");
    let file = bench.write("hello.wasm", &bytes);
    let path = file.to_str().expect("text");
    let beside = bench.path("hello.wasm.minisig");

    // Nobody's, over each way in.
    let says = refused(&node, &["plugin", "install", path]).await;
    assert!(says.contains("not signed") && says.contains("`release`") && says.contains("minisign -Sm"), "{says}");
    upload(&node, bytes.clone(), None).await.expect_problem(422, "signature_refused");
    // A stranger's, and what is no signature.
    bench.sign(&file, "other", "mine", false);
    let says = refused(&node, &["plugin", "install", path]).await;
    assert!(says.contains("does not know") && says.contains("`release`"), "{says}");
    for header in ["x", "eHg=", "%%%", ""] {
        upload(&node, bytes.clone(), Some(header)).await.expect_problem(422, "signature_refused");
    }
    // Nobody looks into what is not signed: garbage is no worse than a plugin.
    upload(&node, b"garbage".to_vec(), None).await.expect_problem(422, "signature_refused");
    // Signed, and changed since.
    bench.sign(&file, "release", "hello 0.9.1", false);
    let signature = BASE64_STANDARD.encode(std::fs::read(&beside).expect("a signature"));
    let mut changed = bytes.clone();
    changed.extend([0, 2, 1, b'x']);
    let answer = upload(&node, changed, Some(&signature)).await;
    answer.expect_problem(422, "signature_refused");
    assert!(answer.json["detail"].to_string().contains("not of these bytes"), "{answer:#?}");
    assert_eq!(plugins(&node).await, carried, "nothing of it is there");

    // As it should be, in both forms.
    for (is_legacy, comment) in [(false, "hello 0.9.1"), (true, "hello 0.9.1, of old")] {
        std::fs::remove_file(&beside).expect("removed");
        bench.sign(&file, "release", comment, is_legacy);
        let printed = done(&node, &["plugin", "install", path]).await;
        assert!(printed.contains("signed by: release (") && printed.contains(comment), "{printed}");
    }
    let elsewhere = bench.path("signature");
    std::fs::rename(&beside, &elsewhere).expect("moved");
    done(&node, &["plugin", "install", path, "--signature", elsewhere.to_str().expect("text")]).await;
    let listed = done(&node, &["plugin", "ls"]).await;
    assert!(listed.contains("SIGNED") && listed.contains("release") && listed.contains("carried"), "{listed}");
    let shown = done(&node, &["plugin", "show", "hello"]).await;
    assert!(
        shown.contains("hello@0.9.1") && shown.contains("from: sent") && shown.contains("from: carried"),
        "{shown}"
    );
    assert_eq!(node.run(&hello("signed", "0.9.1")).await["status"], "completed");
    let page = node.get("/v1/plugins/hello?held=true").await.expect_status(200).json;
    let of_it = page["items"].as_array().expect("a list").iter().find(|plugin| plugin["version"] == "0.9.1");
    let of_it = of_it.expect("it is there");
    assert_eq!(of_it["signed"]["name"], "release", "{of_it:#}");
    assert_eq!(of_it["held"], json!({"running": 0, "waiting": 0, "kept": 1, "missions": []}), "{of_it:#}");
    let actions = node.get("/v1/actions").await.json["items"].to_string();
    assert!(actions.contains("install_plugin") && actions.contains("hello@0.9.1"), "{actions}");
}

/// What is there is held against the keys at each start, too: a key that is gone vouches for nothing.
#[tokio::test]
async fn what_nobody_vouches_for_any_more_is_set_aside_at_the_next_start() {
    let bench = Bench::new();
    let mut node = Options::new().config(&config(&bench, &["release"], false)).start().await;
    let carried = plugins(&node).await;
    let files: Vec<_> = [("0.9.1", None), ("0.9.2", Some("release")), ("0.9.3", Some("other"))]
        .into_iter()
        .map(|(named, key)| {
            let file = bench.write(&format!("{named}.wasm"), &version(&node, &carried, named));
            if let Some(key) = key {
                bench.sign(&file, key, named, false);
            }
            file
        })
        .collect();
    for file in &files {
        done(&node, &["plugin", "install", file.to_str().expect("text")]).await;
    }
    // Where no signature is wanted a stranger's says nothing.
    let signed = |all: &Value| {
        let of = |named: &str| {
            let found = all["items"].as_array().expect("a list").iter().find(|plugin| plugin["version"] == named);
            found.map(|plugin| plugin["signed"]["name"].clone())
        };
        ["0.9.1", "0.9.2", "0.9.3"].map(of)
    };
    assert_eq!(signed(&plugins(&node).await), [Some(Value::Null), Some(json!("release")), Some(Value::Null)]);
    let mut waiting = hello("waits", "0.9.1");
    waiting["autonomy_window"] = json!({"start_at": "2999-01-01T00:00:00Z"});
    node.accept(&waiting).await;
    // A key that was taken out signed nothing, also where nobody wants a signature; the record stays, for when it is back.
    node.stop().await;
    node.reconfigure(&config(&bench, &["other"], false));
    node.restart().await;
    assert_eq!(signed(&plugins(&node).await), [Some(Value::Null), Some(Value::Null), Some(Value::Null)]);

    for (keys, expected) in [
        (&["release"][..], [None, Some(json!("release")), None]),
        (&["other"], [None, None, None]),
        (&[], [None, None, None]),
    ] {
        node.stop().await;
        node.reconfigure(&config(&bench, keys, true));
        node.restart().await;
        let all = plugins(&node).await;
        assert_eq!(signed(&all), expected, "{keys:?}: {all:#}");
        let aside = all["unusable"].to_string();
        assert!(aside.contains("hello@0.9.1") && aside.contains("not signed"), "{keys:?}: {aside}");
        let shown = done(&node, &["plugin", "show", "hello"]).await;
        assert!(shown.contains("set aside: ") && shown.contains("not signed"), "{keys:?}: {shown}");
        let refused = node.dispatch(&hello("too-late", "0.9.1")).await;
        refused.expect_problem(422, "plugin_not_installed");
        assert_eq!(node.mission("waits").await["status"], "queued", "what was accepted stays");
    }
    // A file that is another one.
    node.stop().await;
    let digest = {
        let all = carried_digest(&node, "hello@0.9.2.json");
        node.data().join(format!("plugins/{all}.wasm"))
    };
    std::fs::write(digest, b"tampered").expect("written");
    node.reconfigure(&config(&bench, &["release"], true));
    node.restart().await;
    let all = plugins(&node).await;
    assert!(all["unusable"].to_string().contains("hello@0.9.2"), "{all:#}");
    // And once it is signed as it should be, it is back.
    done(&node, &["plugin", "install", files[1].to_str().expect("text")]).await;
    assert_eq!(signed(&plugins(&node).await)[1], Some(json!("release")));
    assert_eq!(node.run(&hello("again", "0.9.2")).await["status"], "completed");
}

fn carried_digest(node: &Node, entry: &str) -> String {
    let text = std::fs::read_to_string(node.data().join("plugins").join(entry)).expect("an entry");
    let entry: Value = serde_json::from_str(&text).expect("JSON");
    entry["identity"]["digest"].as_str().expect("a digest").to_owned()
}
