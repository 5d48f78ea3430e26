//! Callbacks: order, repetition, headers, retries, parking, and what a bad receiver cannot do.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sortie_tests::envelope::{with, write, writing};
use sortie_tests::{Node, Options, Received, Receiver, Reply, automation, until};

/// A node that may send to the receiver; `further` is more of `[callback]`.
async fn node_for(receiver: &Receiver, further: &str) -> Node {
    let config = receiver.config().replacen("[callback]\n", &format!("[callback]\n{further}\n"), 1);
    Options::new().config(&config).env("CALLBACK_TOKEN", "hush-hush").start().await
}

fn reporting(id: &str, receiver: &Receiver) -> Value {
    with(writing(id), "/callback", receiver.callback())
}

fn sequences(received: &[Received]) -> Vec<u64> {
    received.iter().filter_map(Received::sequence).collect()
}

async fn parked(node: &Node, mission: &str) -> Value {
    until(&format!("a delivery of {mission} is parked"), async || {
        let listed = node.get("/v1/deliveries?state=parked").await.expect_status(200).json;
        listed["items"].as_array()?.iter().find(|item| item["mission_id"] == mission).cloned()
    })
    .await
}

#[tokio::test]
async fn events_arrive_in_order_with_the_contracts_headers() {
    let receiver = Receiver::start().await;
    let node = node_for(&receiver, "").await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    node.accept(&with(reporting("told", &receiver), "/trace_id", json!(trace))).await;
    let received = receiver.until_final("told").await;
    let pulled = node.events("told").await;
    assert_eq!(received.iter().map(|got| got.json.clone()).collect::<Vec<_>>(), pulled, "the same events, in order");
    for got in &received {
        assert_eq!((got.method.as_str(), got.path.as_str()), ("POST", "/events"));
        assert_eq!(got.header("authorization"), "Bearer hush-hush");
        assert_eq!(got.header("idempotency-key"), got.json["idempotency_key"].as_str().unwrap_or_default());
        assert_eq!(got.header("x-mission-id"), "told");
        assert_eq!(got.header("x-trace-id"), trace);
        assert!(got.header("traceparent").starts_with(&format!("00-{trace}-")), "{got:?}");
        assert!(got.header("content-type").starts_with("application/json"));
    }
}

#[tokio::test]
async fn a_trace_that_is_no_traceparent_makes_none() {
    let receiver = Receiver::start().await;
    let node = node_for(&receiver, "").await;
    node.accept(&reporting("plain", &receiver)).await;
    for got in receiver.until_final("plain").await {
        assert_eq!((got.header("x-trace-id"), got.header("traceparent")), ("trace-plain", ""));
    }
}

#[tokio::test]
async fn what_fails_for_now_is_repeated_with_the_same_key_and_order_is_kept() {
    let receiver = Receiver::scripted(|_, before| match before {
        0 => Reply::Status(500),
        1 => Reply::Status(429),
        _ => Reply::Status(200),
    })
    .await;
    let node = node_for(&receiver, "").await;
    node.accept(&reporting("again", &receiver)).await;
    let received = receiver.until_final("again").await;
    let keys: Vec<&str> = received.iter().map(|got| got.header("idempotency-key")).collect();
    assert_eq!(keys[..3], ["again/1", "again/1", "again/1"]);
    let numbers = sequences(&received[2..]);
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
}

/// The mission in the list of deliveries that are pending, once an attempt has failed.
async fn retried(node: &Node, mission: &str) -> Value {
    until(&format!("an attempt for {mission} has failed"), async || {
        let listed = node.get("/v1/deliveries?state=pending").await.expect_status(200).json;
        let item = listed["items"].as_array()?.iter().find(|item| item["mission_id"] == mission).cloned()?;
        item["error"].is_string().then_some(item)
    })
    .await
}

#[tokio::test]
async fn what_is_repeated_says_why_and_when_here_and_there_and_after_a_restart() {
    let ailing = Receiver::scripted(|_, _| Reply::Header(503, "x-detail", "hush-hush".to_owned())).await;
    let closed = Receiver::closed();
    let config =
        ailing.config().replacen("[callback]\n", "[callback]\nbackoff_first = \"1h\"\nbackoff_max = \"1h\"\n", 1);
    let mut node = Options::new().config(&config).env("CALLBACK_TOKEN", "hush-hush").start().await;
    let nowhere = json!({"status_url": "http://no-such-host.invalid/events"});
    let plain = json!({"status_url": closed.url()});
    for (id, callback, why) in [
        ("ailing", ailing.callback(), "503"),
        ("closed", plain, "cannot connect"),
        ("nowhere", nowhere, "cannot connect"),
    ] {
        node.accept(&with(writing(id), "/callback", callback)).await;
        let item = retried(&node, id).await;
        let error = item["error"].as_str().expect("a text");
        assert!(error.contains(why) && error.len() <= 400, "{item:#}");
        assert!(!item.to_string().contains("hush-hush"), "{item:#}");
        let next: jiff::Timestamp = item["next_attempt_at"].as_str().expect("a time").parse().expect("a time");
        assert!(next > jiff::Timestamp::now(), "{item:#}");
        let delivery = node.mission(id).await["delivery"].clone();
        assert_eq!((&delivery["error"], &delivery["next_attempt_at"]), (&item["error"], &item["next_attempt_at"]));
        for arguments in [&["deliveries", "--state", "pending"][..], &["show", id]] {
            let said = String::from_utf8_lossy(&node.cli(arguments).await.stdout).into_owned();
            // To the second: the fraction is for programs.
            let next = item["next_attempt_at"].as_str().and_then(|at| at.get(..19)).unwrap_or("?");
            assert!(said.contains(error) && said.contains(next), "{said}");
        }
    }
    node.kill();
    node.restart().await;
    let error = node.mission("ailing").await["delivery"]["error"].clone();
    assert!(error.to_string().contains("503"), "{error}");
}

#[tokio::test]
async fn retry_after_is_honoured() {
    let receiver = Receiver::scripted(|_, before| match before {
        0 => Reply::Header(503, "retry-after", "2".to_owned()),
        _ => Reply::Status(200),
    })
    .await;
    let node = node_for(&receiver, "").await;
    node.accept(&reporting("patient", &receiver)).await;
    let received = receiver.until_final("patient").await;
    let waited = received[1].at.duration_since(received[0].at);
    assert!(waited >= Duration::from_millis(1_900), "{waited:?}");
}

#[tokio::test]
async fn what_will_never_work_is_parked_and_can_be_redelivered_or_skipped() {
    for (id, refusal) in [("gone", 410), ("moved", 302)] {
        let receiver =
            Receiver::scripted(move |_, _| Reply::Header(refusal, "location", "/elsewhere".to_owned())).await;
        let node = node_for(&receiver, "").await;
        node.accept(&reporting(id, &receiver)).await;
        assert_eq!(node.until_final(id).await["status"], "completed", "a receiver has no say in that");
        let item = parked(&node, id).await;
        assert!(item.to_string().contains(&refusal.to_string()), "it says why: {item:#}");
        assert_eq!(item["attempts"], 1, "{item:#}");
        assert_eq!(sequences(&receiver.of(id)), [1], "later events wait behind it, and nothing is followed");
        assert!(receiver.received().iter().all(|got| got.path == "/events"));

        receiver.rescript(|got, _| Reply::Status(if got.sequence() == Some(2) { 400 } else { 200 }));
        let done = node.post(&format!("/v1/deliveries/{id}/redeliver"), &Value::Null).await;
        assert!((200..300).contains(&done.status), "{done:#?}");
        receiver.until(id, |got| got.sequence() == Some(2)).await;
        parked(&node, id).await;
        let done = node.post(&format!("/v1/deliveries/{id}/skip"), &Value::Null).await;
        assert!((200..300).contains(&done.status), "{done:#?}");
        let received = receiver.until_final(id).await;
        assert!(!sequences(&received).is_empty());
        until("nothing is parked any more", async || {
            node.get("/v1/deliveries?state=parked").await.json["items"].as_array()?.is_empty().then_some(())
        })
        .await;
        skipped_is_told_for_good(&node, id).await;
    }
}

/// The second event of a mission was left out, and all others were delivered: nobody reads that it was delivered.
async fn skipped_is_told_for_good(node: &Node, id: &str) {
    let delivery = until("the delivery is over", async || {
        let delivery = node.mission(id).await["delivery"].clone();
        (delivery["state"] == "incomplete").then_some(delivery)
    })
    .await;
    let (delivered, total) = (delivery["delivered"].as_u64(), delivery["total"].as_u64());
    assert_eq!((delivered.map(|count| count + 1), &delivery["skipped"]), (total, &json!([format!("{id}/2")])));
    let listed = node.get("/v1/deliveries?state=incomplete").await.expect_status(200).json["items"].clone();
    assert_eq!((&listed[0]["mission_id"], &listed[0]["skipped"]), (&json!(id), &delivery["skipped"]), "{listed:#}");
    assert_eq!(node.get("/v1/deliveries").await.json["items"], json!([]), "nothing is on its way");
    let metrics = node.get("/metrics").await.text;
    assert!(metrics.contains("sortie_deliveries_skipped_total 1"), "{metrics}");
    let shown = node.cli(&["show", id]).await;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("incomplete") && shown.contains(&format!("{id}/2")), "{shown}");
}

#[tokio::test]
async fn after_the_configured_attempts_an_event_is_parked() {
    let receiver = Receiver::scripted(|_, _| Reply::Status(500)).await;
    let node = node_for(&receiver, "attempts = 2").await;
    node.accept(&reporting("hopeless", &receiver)).await;
    let item = parked(&node, "hopeless").await;
    assert_eq!((receiver.of("hopeless").len(), &item["attempts"]), (2, &json!(2)));
    let metrics = node.get("/metrics").await.text;
    assert!(metrics.lines().any(|line| line.contains("parked") && line.ends_with(" 1")), "it is counted:\n{metrics}");
}

/// A mission that stores these contents under one name, one after the other, and pushes them to the receiver.
fn pushing(id: &str, contents: &[&str], receiver: &Receiver) -> Value {
    let steps: Vec<Value> = (0..contents.len())
        .map(|index| {
            let mut step = write(&format!("s{index}"), "page.md", contents[index]);
            step["artifact"] = json!({"name": "page.md", "content": contents[index]});
            if index > 0 {
                step["needs"] = json!([format!("s{}", index - 1)]);
            }
            step
        })
        .collect();
    let envelope = with(automation(id, &json!(steps)), "/artifact_policy/storage_scope", json!("pushback"));
    with(envelope, "/callback", receiver.callback())
}

#[tokio::test]
async fn each_upload_has_a_key_of_its_own_which_its_repetitions_keep() {
    let receiver = Receiver::scripted(|got, before| {
        Reply::Status(if got.method == "PUT" && before.is_multiple_of(2) { 503 } else { 200 })
    })
    .await;
    let node = node_for(&receiver, "backoff_first = \"1ms\"\nbackoff_max = \"10ms\"").await;
    node.accept(&pushing("pushed", &["first", "second", "first"], &receiver)).await;
    let received = receiver.until_final("pushed").await;
    let mut uploads: Vec<(&str, &[u8])> = received
        .iter()
        .filter(|got| got.method == "PUT")
        .map(|got| (got.header("idempotency-key"), got.bytes.as_ref()))
        .collect();
    uploads.dedup();
    let contents: Vec<&[u8]> = uploads.iter().map(|(_, bytes)| *bytes).collect();
    assert_eq!(contents, [b"first".as_slice(), b"second", b"first"]);
    let mut keys: Vec<&str> = uploads.iter().map(|(key, _)| *key).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 3, "{keys:?}");
}

#[tokio::test]
async fn an_upload_whose_bytes_are_gone_is_parked_and_goes_when_they_are_back() {
    let receiver = Receiver::scripted(|got, _| Reply::Status(if got.method == "PUT" { 503 } else { 200 })).await;
    let node = node_for(&receiver, "backoff_max = \"1s\"").await;
    node.accept(&pushing("lost", &["page"], &receiver)).await;
    receiver.until("lost", |got| got.method == "PUT").await;
    let (there, gone) = (node.data().join("artifacts"), node.folder().join("gone"));
    std::fs::rename(&there, &gone).expect("moved away");
    let item = parked(&node, "lost").await;
    let why = item["error"].as_str().expect("why");
    for part in ["page.md", "there is no `artifacts/1/", "`sortie redeliver lost`"] {
        assert!(why.contains(part), "{part}: {why}");
    }
    std::fs::rename(&gone, &there).expect("moved back");
    receiver.rescript(|_, _| Reply::Status(200));
    let done = node.post("/v1/deliveries/lost/redeliver", &Value::Null).await;
    assert!((200..300).contains(&done.status), "{done:#?}");
    receiver.until_final("lost").await;
}

#[tokio::test]
async fn a_secret_does_not_go_to_a_named_host_in_the_clear() {
    let config =
        "[[callback.secret]]\nref = \"env://CALLBACK_TOKEN\"\nhosts = [\"hq.example\", \"http://lan.example\"]";
    let node = Options::new().config(config).env("CALLBACK_TOKEN", "hush").start().await;
    let dispatch = async |id: &str, url: &str| {
        let callback = json!({"status_url": url, "auth_mode": "bearer", "auth_ref": "env://CALLBACK_TOKEN"});
        node.dispatch(&with(writing(id), "/callback", callback)).await
    };
    let refused = dispatch("clear", "http://hq.example/events").await.expect_status(422);
    assert_eq!(refused.json["errors"][0]["pointer"], "/callback/auth_ref", "{refused:#?}");
    dispatch("encrypted", "https://hq.example/events").await.expect_status(202);
    dispatch("allowed", "http://lan.example/events").await.expect_status(202);
}

#[tokio::test]
async fn a_dead_receiver_slows_nobody_else() {
    let dead = Receiver::scripted(|_, _| Reply::Hang).await;
    let alive = Receiver::start().await;
    let config = format!(
        "[callback]\nallow_private = [\"127.0.0.1\"]\n[[callback.secret]]\nref = \"env://CALLBACK_TOKEN\"\nhosts = [\"{}\", \"{}\"]",
        dead.host(),
        alive.host()
    );
    let node = Options::new().config(&config).env("CALLBACK_TOKEN", "hush").start().await;
    for number in 0..40 {
        node.accept(&reporting(&format!("dead-{number}"), &dead)).await;
    }
    node.accept(&reporting("alive", &alive)).await;
    alive.until_final("alive").await;
}

#[tokio::test]
async fn the_secret_is_neither_stored_nor_logged() {
    let receiver = Receiver::start().await;
    let mut node = node_for(&receiver, "").await;
    node.accept(&reporting("secret", &receiver)).await;
    receiver.until_final("secret").await;
    node.stop().await;
    let mut folders = vec![node.folder().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = std::fs::read(&path).expect("readable");
                assert!(!bytes.windows(9).any(|part| part == b"hush-hush"), "{}", path.display());
            }
        }
    }
}

#[tokio::test]
async fn an_event_that_is_answered_late_is_delivered_once_more_at_most() {
    let receiver = Receiver::scripted(|_, _| Reply::After(Duration::from_millis(300))).await;
    let node = node_for(&receiver, "").await;
    node.accept(&reporting("slow", &receiver)).await;
    let received = receiver.until_final("slow").await;
    let numbers = sequences(&received);
    assert!(numbers.is_sorted(), "{numbers:?}");
    for pair in received.windows(2) {
        assert!(pair[1].at.duration_since(pair[0].at) >= Duration::from_millis(250), "one at a time, after the answer");
    }
}

/// Whether a receiver that goes by the [specification](https://www.standardwebhooks.com) takes a delivery as signed with `key`: over
/// the header's text as it came, character by character as HTTP/1.1 has it, the timestamp's, and the body.
fn is_signed(got: &Received, key: &[u8]) -> bool {
    let [id, timestamp, signatures] =
        ["webhook-id", "webhook-timestamp", "webhook-signature"].map(|name| got.header(name));
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(key).expect("a key of any length");
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(&got.bytes);
    let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    !id.is_empty() && id.is_ascii() && signatures.split(' ').any(|signature| signature == expected)
}

#[tokio::test]
async fn a_signature_verifies_whatever_the_names() {
    let key = b"a key of at least twenty-four bytes";
    // A receiver that goes by the specification refuses what does not verify.
    let receiver = Receiver::scripted(|got, _| Reply::Status(if is_signed(got, key) { 200 } else { 401 })).await;
    let config = receiver.config().replacen("[callback]\n", "[callback]\nsigning_secret = \"env://SIGNING\"\n", 1);
    let secret = format!("whsec_{}", STANDARD.encode(key));
    let node = Options::new().config(&config).env("CALLBACK_TOKEN", "hush").env("SIGNING", &secret).start().await;
    let mut step = write("w", "r.md", "x");
    step["artifact"] = json!({"name": "\u{dc}bersicht \u{4e16}.md", "path": "r.md"});
    let mission = with(automation("names", &json!([step])), "/callback", receiver.callback());
    let mission = with(mission, "/artifact_policy/storage_scope", json!("pushback"));
    node.accept(&with(mission, "/idempotency_key", json!("schl\u{fc}ssel"))).await;
    // The final event comes behind the upload: nothing was parked.
    let received = receiver.until_final("names").await;
    let upload = received.iter().find(|got| got.sequence().is_none()).expect("the artifact was uploaded");
    assert!(upload.header("webhook-id").contains("%C3%9Cbersicht"), "{upload:?}");
    assert!(received.iter().all(|got| is_signed(got, key)), "{received:#?}");
    // The check is one: another key, or another body, does not verify.
    assert!(!is_signed(upload, b"another key"));
    assert!(!is_signed(&Received { bytes: "y".into(), ..upload.clone() }, key));
}
