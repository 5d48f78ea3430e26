//! Hooks: what a service outside delivers, signed, is a mission, once.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use sortie_tests::envelope::{with, writing};
use sortie_tests::http::{self, Answer};
use sortie_tests::{Node, Options};

const SECRET: &str = "a secret of the repository";

/// A node with two hooks, whose secret lies in a file of this folder.
async fn node(folder: &Path) -> Node {
    let secret = folder.join("secret");
    std::fs::write(&secret, SECRET).expect("writable");
    let secret = secret.display();
    let config = format!(
        r#"
        [[hook]]
        name = "issues"
        secret = "file://{secret}"
        signature = "github"
        when = "headers['x-github-event'] == 'issues'"
        [hook.envelope]
        vp_id = "vp.hooks"
        mission_type = "custom"
        plugin = "hello"
        objective = "Look at issue {{{{ body.number }}}} of {{{{ hook.received_at }}}}."
        inputs = {{ name = "{{{{ body.title }}}}" }}

        [[hook]]
        name = "standard"
        secret = "file://{secret}"
        [hook.envelope]
        vp_id = "vp.hooks"
        mission_type = "custom"
        plugin = "{{{{ body.plugin }}}}"
        objective = "Hello."
        "#
    );
    Options::new().config(&config).start().await
}

fn mac(parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("a key");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

/// Delivers as GitHub does, with this event.
async fn github(node: &Node, event: &str, body: &str) -> Answer {
    let digits: String = mac(&[body.as_bytes()]).iter().map(|byte| format!("{byte:02x}")).collect();
    deliver(node, "issues", body, &[("x-github-event", event), ("x-hub-signature-256", &format!("sha256={digits}"))])
        .await
}

/// Delivers in the way of Standard Webhooks.
async fn standard(node: &Node, id: &str, seconds: i64, body: &str) -> Answer {
    let signed = mac(&[format!("{id}.{seconds}.").as_bytes(), body.as_bytes()]);
    let (seconds, signature) = (seconds.to_string(), format!("v1,{}", STANDARD.encode(signed)));
    let headers = [("webhook-id", id), ("webhook-timestamp", &seconds), ("webhook-signature", &signature)];
    deliver(node, "standard", body, &headers).await
}

async fn deliver(node: &Node, hook: &str, body: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = http::client().post(format!("{}/v1/hooks/{hook}", node.url())).body(body.to_owned());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    http::send(request).await.expect("an answer")
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_delivered_is_one_mission_however_often_and_through_a_kill() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut node = node(folder.path()).await;
    let body = json!({"number": 7, "title": "It {{ breaks }}"}).to_string();
    let first = github(&node, "issues", &body).await.expect_status(202).json;
    assert_eq!(first["outcome"], "accepted");
    let id = first["mission_id"].as_str().expect("a mission").to_owned();
    assert!(id.starts_with("hook:issues:"), "{id}");
    node.kill();
    node.restart().await;
    // Another second: the text of the objective would be another.
    let again = github(&node, "issues", &body).await.expect_status(200).json;
    assert_eq!(again, json!({"outcome": "replayed", "mission_id": id}));
    assert_eq!(node.until_final(&id).await["status"], "completed");
    let shown = node.mission(&id).await;
    assert!(shown["objective"].as_str().is_some_and(|text| text.starts_with("Look at issue 7 of 20")), "{shown}");

    let other = github(&node, "issues", &json!({"number": 8, "title": "x"}).to_string()).await.expect_status(202).json;
    assert_ne!(other["mission_id"], id.as_str());
    let not_meant = github(&node, "ping", "{}").await.expect_status(200).json;
    assert_eq!(not_meant, json!({"outcome": "not_meant", "mission_id": null}));
    assert_eq!(node.get("/v1/missions").await.json["items"].as_array().map(Vec::len), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_signed_or_fits_nothing_is_no_mission_and_says_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = node(folder.path()).await;
    let hello = json!({"plugin": "hello"}).to_string();
    let forged = deliver(
        &node,
        "standard",
        &hello,
        &[("webhook-id", "a"), ("webhook-timestamp", "1"), ("webhook-signature", "v1,AA==")],
    );
    for refused in [
        forged.await,
        deliver(&node, "standard", &hello, &[]).await,
        deliver(&node, "issues", &hello, &[("x-hub-signature-256", &"0".repeat(64))]).await,
        standard(&node, "msg_old", now() - 301, &hello).await,
        standard(&node, "msg_ahead", now() + 310, &hello).await,
    ] {
        refused.expect_problem(403, "invalid_signature");
        assert!(!refused.text.contains(SECRET), "{}", refused.text);
    }
    let form = standard(&node, "msg_form", now(), "plugin=hello").await;
    form.expect_problem(400, "not_json");
    assert_eq!(form.json["detail"], "the body is not JSON: expected value at line 1 column 1");
    let unfit = standard(&node, "msg_unfit", now(), "{}").await;
    unfit.expect_problem(422, "hook_unfit");
    assert_eq!(unfit.mistakes()[0].0, "/envelope/plugin", "{}", unfit.text);
    let told = unfit.json["detail"].as_str().unwrap_or_default();
    assert!(told.contains("`standard`") && told.contains("`body.plugin` names what is not there"), "{told}");
    standard(&node, "msg_gone", now(), r#"{"plugin": "gone"}"#).await.expect_problem(422, "plugin_not_installed");
    deliver(&node, "gone", &hello, &[]).await.expect_problem(404, "not_found");
    assert_eq!(node.get("/v1/missions").await.json["items"], json!([]), "none of them is a mission");

    // A mission of that name that somebody else made is not the delivery.
    node.accept(&with(writing("hook:standard:msg_0"), "/idempotency_key", json!("another"))).await;
    standard(&node, "msg_0", now(), &hello).await.expect_problem(409, "mission_id_conflict");

    // The same id means the same delivery, and another one another.
    let taken = standard(&node, "msg_1", now(), &hello).await.expect_status(202).json;
    assert_eq!(taken["mission_id"], "hook:standard:msg_1");
    standard(&node, "msg_1", now() - 60, &hello).await.expect_status(200);
    std::fs::remove_file(folder.path().join("secret")).expect("it is there");
    standard(&node, "msg_2", now(), &hello).await.expect_problem(503, "hook_unusable");
    let hooks = node.get("/v1/hooks").await.expect_status(200).json;
    let standard = &hooks["items"][1];
    assert_eq!(
        [&standard["accepted"], &standard["replayed"], &standard["refused"]],
        [1, 1, 5].map(Value::from).each_ref()
    );
    assert_eq!(standard["last"]["outcome"], "refused");
    assert_eq!(standard["unsigned"], 4);
    let strangers = &hooks["items"][0];
    assert_eq!((&strangers["unsigned"], &strangers["last"]), (&json!(1), &Value::Null), "strangers hide nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_can_be_tried_without_its_secret() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = node(folder.path()).await;
    let body = folder.path().join("body.json");
    std::fs::write(&body, json!({"number": 7, "title": "x"}).to_string()).expect("writable");
    let body = body.display().to_string();
    let tried = node.cli(&["hook", "try", "issues", &body, "--header", "X-GitHub-Event: issues"]).await;
    assert_eq!(tried.status.code(), Some(0), "{}", String::from_utf8_lossy(&tried.stderr));
    let envelope: Value = serde_json::from_slice(&tried.stdout).expect("an envelope");
    assert_eq!(envelope["inputs"], json!({"name": "x"}));
    node.post("/v1/explain", &envelope).await.expect_status(200);
    let unfit = node.cli(&["hook", "try", "issues", &body]).await;
    let said = String::from_utf8_lossy(&unfit.stderr);
    assert!(!unfit.status.success() && said.contains("/when"), "`when` names a header that is not there: {said}");
    let ping = node.cli(&["hook", "try", "issues", &body, "--header", "x-github-event: ping"]).await;
    assert_eq!(ping.status.code(), Some(1));
    assert_eq!(node.get("/v1/missions").await.json["items"], json!([]), "nothing was dispatched");
    let wrong = json!({"body": {}, "headers": {"a b": "x"}});
    node.post("/v1/hooks/issues/try", &wrong).await.expect_problem(422, "invalid_action");
    assert_eq!(node.cli(&["hook", "ls"]).await.status.code(), Some(0));
}
