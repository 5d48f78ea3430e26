//! The older dialect of the control plane, at whichever node is asked.

use serde_json::{Value, json};
use sortie_tests::Node;
use sortie_tests::http::{Answer, client, send};

use super::kit::Fleet;

const TOKEN: &str = "a token of the operators, long enough";

async fn ask(node: &Node, path: &str, token: &str, body: &Value) -> Answer {
    let request = client().post(format!("{}/api/v1/ops/vp/missions/{path}", node.url()));
    send(request.header("x-ua-ops-token", token).body(body.to_string())).await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_cancel_reaches_what_another_node_has() {
    let folder = tempfile::tempdir().expect("a folder");
    let token = folder.path().join("token");
    std::fs::write(&token, TOKEN).expect("written");
    let lines = format!(
        r#"[dialect]
        source = "simone-hq"
        [dialect.http]
        ops_token = "file://{}"
        [dialect.types.asking]
        runs = "automation"
        vp_id = "vp.asking"
        envelope = {{ constraints = {{ allowed_tools = ["Write"], approval_required = ["Write"] }}, inputs = {{ steps = [{{ id = "w", tool = "Write", with = {{ path = "note.txt", content = "x" }} }}] }} }}
        "#,
        token.display()
    );
    let Some(fleet) = Fleet::start_each(&[("a", lines.as_str()), ("b", lines.as_str())]).await else { return };
    let [a, b] = fleet.nodes.as_slice() else { panic!("two") };
    let body = json!({"vp_id": "vp.asking", "mission_type": "asking", "objective": "Ask.", "idempotency_key": "c"});
    let first = ask(a, "dispatch", TOKEN, &body).await.expect_status(200).json;
    let id = first["mission"]["mission_id"].as_str().expect("a mission").to_owned();
    a.until_status(&id, "blocked").await;
    // Nobody learns of another node's mission without being let in.
    ask(b, &format!("{id}/cancel"), "a token of nobody at all", &json!({})).await.expect_problem(401, "unauthorized");
    let cancelled = ask(b, &format!("{id}/cancel"), TOKEN, &json!({"reason": "enough"})).await.expect_status(200).json;
    assert_eq!(cancelled, json!({"status": "cancel_requested", "mission_id": id, "mission_status": "cancelled"}));
    assert_eq!(a.mission(&id).await["status"], "cancelled");
    // Once more is no mistake.
    ask(b, &format!("{id}/cancel"), TOKEN, &json!({})).await.expect_status(200);
    ask(b, "nobody/cancel", TOKEN, &json!({})).await.expect_problem(404, "not_found");
}
