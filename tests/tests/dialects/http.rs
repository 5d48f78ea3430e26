//! Dispatch and cancel as they were.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use sortie_tests::envelope::{looping, with, writing};
use sortie_tests::http::{Answer, client, send};
use sortie_tests::{Node, Options};

use super::TYPES;

const KEY: &str = "a key of the control plane, long enough";
const TOKEN: &str = "a token of the operators";

/// A bearer token of the control plane that holds for so many seconds.
fn token(seconds: i64) -> String {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let now = jiff::Timestamp::now().as_second();
    let claims = json!({"iss": "universal-agent", "aud": "ua-ops", "sub": "simone", "iat": now, "exp": now + seconds});
    let signed = format!("{}.{}", part(json!({"alg": "HS256", "typ": "JWT"})), part(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(KEY.as_bytes()).expect("a key");
    mac.update(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

async fn node() -> Node {
    let http = "[dialect.http]\njwt_secret = \"env://DIALECT_KEY\"\nops_token = \"env://DIALECT_TOKEN\"\n";
    Options::new().config(TYPES).config(http).env("DIALECT_KEY", KEY).env("DIALECT_TOKEN", TOKEN).start().await
}

/// Asks as the operators do.
async fn ask(node: &Node, path: &str, body: &str) -> Answer {
    let request = client().post(format!("{}/api/v1/ops/vp/missions/{path}", node.url()));
    send(request.header("x-ua-ops-token", TOKEN).body(body.to_owned())).await.expect("an answer")
}

/// Asks with this header.
async fn ask_with(node: &Node, name: &str, value: &str) -> Answer {
    let request = client().post(format!("{}/api/v1/ops/vp/missions/dispatch", node.url()));
    send(request.header(name, value).body("{}")).await.expect("an answer")
}

fn dispatch(key: &str, kind: &str) -> Value {
    json!({
        "vp_id": "vp.coder.primary", "mission_type": kind, "objective": "Mend the build.", "idempotency_key": key,
        "constraints": {"target_path": "/opt/x"}, "budget": {"max_minutes": 20}, "source_session_id": "ops.dashboard",
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_dispatch_is_one_mission_however_often_and_through_a_kill() {
    let mut node = node().await;
    let body = dispatch("mend-1", "coding_task").to_string();
    let first = ask(&node, "dispatch", &body).await.expect_status(200).json;
    let mission = &first["mission"];
    // `printf 'vp.coder.primary:mend-1' | sha1sum`
    let id = "vp-mission-cb65cd53a5d18fba905b5b34";
    assert_eq!(mission["mission_id"], id);
    assert_eq!((&mission["status"], &mission["session_id"]), (&json!("queued"), &json!("vp.coder.primary.external")));
    assert_eq!((&mission["mission_type"], &mission["priority"]), (&json!("coding_task"), &json!(100)));
    let warnings = first["warnings"].to_string();
    assert!(warnings.contains("target_path") && !warnings.contains("/dialect"), "{warnings}");
    node.kill();
    node.restart().await;
    let again = ask(&node, "dispatch", &body).await.expect_status(200);
    assert_eq!((again.header("idempotent-replayed"), &again.json["mission"]["mission_id"]), ("true", &json!(id)));
    assert_eq!(again.json["mission"]["created_at"], mission["created_at"], "it is as old as it was");
    assert_eq!(node.until_final(id).await["status"], "completed");
    let shown = node.mission(id).await;
    assert_eq!(
        (&shown["source_instance_id"], &shown["effective_budget"]["max_runtime_minutes"]),
        (&json!("simone-hq"), &json!(20.0))
    );
    let other = dispatch("mend-1", "failing").to_string();
    ask(&node, "dispatch", &other).await.expect_problem(409, "idempotency_conflict");
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_told_at_their_places_in_the_old_body() {
    let node = node().await;
    let mut body = dispatch("k", "coding_task");
    body["constraints"]["repo_mutation_allowed"] = json!(false);
    body["budget"] = json!({"max_minutes": -1});
    body["vp_id"] = Value::Null;
    let refused = ask(&node, "dispatch", &body.to_string()).await;
    let mut places: Vec<String> = refused.mistakes().into_iter().map(|(place, _)| place).collect();
    places.sort();
    assert_eq!(
        (refused.status, places),
        (422, ["/budget/max_minutes", "/constraints/repo_mutation_allowed", "/vp_id"].map(str::to_owned).to_vec())
    );
    assert!(refused.json["detail"].is_string(), "the old clients show it");
    for odd in ["", "[]", "{", "{\"vp_id\":1,\"vp_id\":2}"] {
        let refused = ask(&node, "dispatch", odd).await;
        assert!(matches!(refused.status, 400 | 422) && !refused.mistakes().is_empty(), "{odd}: {refused:?}");
    }
    let large = json!({"objective": "x".repeat(2 << 20)}).to_string();
    ask(&node, "dispatch", &large).await.expect_problem(413, "too_large");
    assert_eq!(node.get("/v1/missions").await.json["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_reaches_what_came_in_this_dialect_and_nothing_else() {
    let node = node().await;
    let first = ask(&node, "dispatch", &dispatch("c", "asking").to_string()).await.expect_status(200).json;
    let id = first["mission"]["mission_id"].as_str().expect("a mission").to_owned();
    node.until_status(&id, "blocked").await;
    let cancelled = ask(&node, &format!("{id}/cancel"), "{\"reason\":\"test_cancel\"}").await.expect_status(200).json;
    assert_eq!(cancelled, json!({"status": "cancel_requested", "mission_id": id, "mission_status": "cancelled"}));
    assert_eq!(node.mission(&id).await["status"], "cancelled");
    let action = &node.get("/v1/actions").await.json["items"][0];
    assert_eq!(
        (&action["by"], &action["what"], &action["said"]["reason"]),
        (&json!("dialect:ops-token"), &json!("cancel"), &json!("test_cancel"))
    );
    let own = node.accept(&looping("own")).await;
    ask(&node, "own/cancel", "").await.expect_problem(404, "not_found");
    assert_ne!(node.mission(&own).await["status"], "cancelled");
    ask(&node, "nobody/cancel", "").await.expect_problem(404, "not_found");
    ask(&node, &format!("{id}/cancel"), "{\"reason\":7}").await.expect_problem(422, "invalid_cancel");
    let done = ask(&node, "dispatch", &dispatch("d", "coding_task").to_string()).await.expect_status(200).json;
    let done = done["mission"]["mission_id"].as_str().expect("a mission").to_owned();
    node.until_final(&done).await;
    ask(&node, &format!("{done}/cancel"), "").await.expect_problem(409, "already_final");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envelope_that_names_the_source_of_the_dialect_is_not_reached_by_its_cancel() {
    let node = node().await;
    let of_hq = |envelope| with(envelope, "/source_instance_id", json!("simone-hq"));
    let running = node.accept(&of_hq(looping("running"))).await;
    node.until_status(&running, "running").await;
    let done = node.accept(&of_hq(writing("done"))).await;
    node.until_final(&done).await;
    // Nor one that bears a name of the dialect's, nor one that says of itself what those of the dialect say.
    let named = node.accept(&of_hq(looping("vp-mission-be7eb1665ec623331d59cc50"))).await;
    let said = with(of_hq(looping("said")), "/dialect", json!({"form": "redis", "job_id": "said"}));
    let said = node.accept(&said).await;
    for id in [&running, &done, &named, &said] {
        ask(&node, &format!("{id}/cancel"), "{\"reason\":\"x\"}").await.expect_problem(404, "not_found");
    }
    for id in [&running, &named, &said] {
        assert_ne!(node.mission(id).await["status"], "cancelled", "{id}");
    }
    // What did come in it is reached.
    let first = ask(&node, "dispatch", &dispatch("c", "asking").to_string()).await.expect_status(200).json;
    let first = first["mission"]["mission_id"].as_str().expect("a mission").to_owned();
    node.until_status(&first, "blocked").await;
    ask(&node, &format!("{first}/cancel"), "").await.expect_status(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_let_in_without_what_the_control_plane_signs() {
    let node = node().await;
    let good = format!("Bearer {}", token(60));
    assert_eq!(ask_with(&node, "authorization", &good).await.status, 422, "let in, with a body that is no dispatch");
    for (name, value) in [
        ("authorization", format!("Bearer {}", token(-3_600))),
        ("authorization", format!("{good}x")),
        ("authorization", format!("Bearer {}", node.token())),
        ("authorization", "Bearer".to_owned()),
        ("x-ua-ops-token", "a token".to_owned()),
        ("x-other", TOKEN.to_owned()),
    ] {
        let refused = ask_with(&node, name, &value).await;
        refused.expect_problem(401, "unauthorized");
        assert!(
            !refused.json.to_string().contains(TOKEN) && !refused.json.to_string().contains(KEY),
            "{}",
            refused.json
        );
    }
    let off = Node::start().await;
    ask_with(&off, "x-ua-ops-token", TOKEN).await.expect_problem(404, "not_found");
    // What opens the old door opens no other.
    let request = client().get(format!("{}/v1/missions", node.url())).bearer_auth(TOKEN);
    assert_eq!(send(request).await.expect("an answer").status, 401);
}
