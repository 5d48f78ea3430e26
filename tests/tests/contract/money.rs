//! *Money*: what a call costs is set aside before it and booked after it; a budget is not passed, and asks.

use std::net::TcpListener;

use serde_json::{Value, json};
use sortie_tests::envelope::{with, write};
use sortie_tests::{Node, Options, automation, until, workspace_of};

/// A node on which a call of these tools costs a cent.
async fn node() -> Node {
    let tools = "[tool.Write]\ncost_usd = 0.01\n[tool.WebFetch]\ncost_usd = 0.01\nhosts = [\"127.0.0.1\"]\n\
                 allow_private = [\"127.0.0.1\"]";
    Options::new().config(tools).start().await
}

/// A mission that writes three files, one after the other, and has money for two.
fn three(id: &str) -> Value {
    let mut steps = ["one", "two", "three"].map(|name| write(name, &format!("{name}.txt"), name));
    steps[1]["needs"] = json!(["one"]);
    steps[2]["needs"] = json!(["two"]);
    with(automation(id, &json!(steps)), "/budget", json!({"max_cost_usd": 0.02}))
}

fn usd(cost: f64) -> Value {
    json!({"llm_calls": 0, "cost_usd": cost})
}

/// What a mission that stands still has spent and set aside, as it shows itself and as the list shows it.
async fn money(node: &Node, id: &str) -> (f64, f64) {
    let usage = node.mission(id).await["usage"].clone();
    let listed = node.get("/v1/missions").await.expect_status(200).json;
    let mut lines = listed["items"].as_array().expect("a list").iter();
    let line = lines.find(|line| line["mission_id"] == id).expect("it is listed");
    for figure in ["/estimated_cost_usd", "/reserved/cost_usd"] {
        assert_eq!(line["usage"].pointer(figure), usage.pointer(figure), "the list shows something else: {listed:#}");
    }
    let figure = |pointer: &str| usage.pointer(pointer).and_then(Value::as_f64).expect("a figure");
    (figure("/estimated_cost_usd"), figure("/reserved/cost_usd"))
}

/// Waits until a mission that goes on shows something of its own under a place of its usage.
async fn until_some(node: &Node, id: &str, pointer: &str) {
    let is_some = async || {
        let usage = node.mission(id).await["usage"].clone();
        usage.pointer(pointer).and_then(Value::as_f64).is_some_and(|figure| figure > 0.0).then_some(())
    };
    until(pointer, is_some).await;
}

/// The request for money of a mission that has spent two cents.
async fn short_of_money(node: &Node, id: &str) -> Value {
    let mission = node.until_status(id, "blocked").await;
    let request = mission["pending_requests"][0].clone();
    assert_eq!(request["kind"], "budget", "{mission:#}");
    let limit = json!({"llm_calls": null, "cost_usd": 0.02});
    assert_eq!(
        request["budget"],
        json!({"wanted": usd(0.01), "spent": usd(0.02), "reserved": usd(0.0), "limit": limit}),
        "{request:#}"
    );
    assert_eq!(money(node, id).await, (0.02, 0.0));
    request
}

async fn decide(node: &Node, id: &str, request: &Value, body: Value) {
    let request = request["request_id"].as_str().expect("an id");
    node.post(&format!("/v1/missions/{id}/requests/{request}"), &body).await.expect_status(200);
}

#[tokio::test]
async fn a_budget_of_two_calls_makes_two_and_asks_for_the_third() {
    let node = node().await;
    node.accept(&three("granted")).await;
    let request = short_of_money(&node, "granted").await;
    let folder = workspace_of(&node, "vp.granted");
    assert!(folder.join("two.txt").exists() && !folder.join("three.txt").exists());
    decide(&node, "granted", &request, json!({"decision": "grant", "amount": 0.01})).await;
    let end = node.until_final("granted").await;
    assert_eq!((&end["status"], &end["usage"]["estimated_cost_usd"]), (&json!("completed"), &json!(0.03)), "{end:#}");
    assert_eq!(money(&node, "granted").await, (0.03, 0.0));
    let metrics = node.get("/metrics").await.text;
    for line in [
        "sortie_cost_usd_total 0.03",
        "sortie_tool_cost_usd_total{tool=\"Write\"} 0.03",
        "sortie_calls_overbilled_total 0",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    }
    let tools = node.get("/v1/tools").await.expect_status(200).json;
    let price = |name: &str| {
        tools["items"].as_array().expect("a list").iter().find(|tool| tool["name"] == name).expect("it is there")["cost_usd"].clone()
    };
    assert_eq!([price("Write"), price("Read")], [json!(0.01), json!(0.0)]);
}

#[tokio::test]
async fn who_is_refused_more_money_goes_on_without() {
    let node = node().await;
    node.accept(&three("refused")).await;
    let request = short_of_money(&node, "refused").await;
    decide(&node, "refused", &request, json!({"decision": "deny", "note": "enough"})).await;
    let end = node.until_final("refused").await;
    assert_eq!((&end["status"], &end["detail"]["reason"]), (&json!("failed"), &json!("tool_failed")), "{end:#}");
    assert!(end.to_string().contains("enough"), "{end:#}");
    assert_eq!(money(&node, "refused").await, (0.02, 0.0));
}

#[tokio::test]
async fn a_crash_while_it_asks_for_money_neither_loses_nor_doubles_any() {
    let mut node = node().await;
    node.accept(&three("killed")).await;
    short_of_money(&node, "killed").await;
    for _ in 0..2 {
        node.kill();
        node.restart().await;
        short_of_money(&node, "killed").await;
    }
    let request = short_of_money(&node, "killed").await;
    decide(&node, "killed", &request, json!({"decision": "grant", "amount": 0.01})).await;
    assert_eq!(node.until_final("killed").await["status"], "completed");
    assert_eq!(money(&node, "killed").await, (0.03, 0.0));
}

#[tokio::test]
async fn a_call_that_a_crash_broke_off_is_paid_for_each_time_that_it_is_made() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", silent.local_addr().expect("its own"));
    let mut node = node().await;
    let fetch = json!([{"id": "fetch", "tool": "WebFetch", "with": {"url": url}}]);
    let envelope = with(automation("again", &fetch), "/constraints/allowed_tools", json!(["WebFetch"]));
    node.accept(&with(envelope, "/budget", json!({"max_cost_usd": 0.02}))).await;
    until_some(&node, "again", "/reserved/cost_usd").await;
    assert_eq!(money(&node, "again").await, (0.0, 0.01));
    node.kill();
    node.restart().await;
    until_some(&node, "again", "/estimated_cost_usd").await;
    assert_eq!(money(&node, "again").await, (0.01, 0.01));
    node.kill();
    node.restart().await;
    let request = short_of_money(&node, "again").await;
    assert_eq!(request["tool"], "WebFetch");
    decide(&node, "again", &request, json!({"decision": "deny"})).await;
    assert_eq!(node.until_final("again").await["status"], "failed");
    assert_eq!(money(&node, "again").await, (0.02, 0.0));
}

#[tokio::test]
async fn arguments_that_do_not_fit_cost_nothing() {
    let node = node().await;
    let envelope = automation("misfit", &json!([{"id": "w", "tool": "Write", "with": {"path": "a.txt"}}]));
    node.accept(&with(envelope, "/budget", json!({"max_cost_usd": 0.005}))).await;
    let end = node.until_final("misfit").await;
    assert_eq!(end["status"], "failed", "nobody is asked for money: {end:#}");
    assert_eq!(money(&node, "misfit").await, (0.0, 0.0));
}

/// A node that has two cents a day for all missions, and one cent a day for a VP.
async fn shared() -> Node {
    let config = "[tool.Write]\ncost_usd = 0.01\n[[budget]]\nscope = \"node\"\nper = \"day\"\ncost_usd = 0.02\n\
                  [[budget]]\nscope = \"vp:vp.poor\"\nper = \"month\"\ncost_usd = 0.005\nllm_calls = 7";
    Options::new().config(config).start().await
}

/// A wider budget, as the node shows it.
async fn wider(node: &Node, scope: &str) -> Value {
    let budgets = node.get("/v1/budgets").await.expect_status(200).json;
    let mut items = budgets["items"].as_array().expect("a list").iter();
    items.find(|item| item["scope"] == scope).expect("it is listed").clone()
}

async fn until_unpaid(node: &Node, id: &str) -> Value {
    let unpaid = async || {
        let mission = node.mission(id).await;
        (mission["waits_for"]["what"] == "budget").then_some(mission)
    };
    until("it waits for a budget", unpaid).await
}

#[tokio::test]
async fn a_budget_of_all_missions_is_waited_for_and_outlives_a_kill() {
    let mut node = shared().await;
    let free = |id: &str| {
        let mut envelope = three(id);
        envelope["budget"] = json!({});
        envelope
    };
    node.accept(&free("first")).await;
    let mission = until_unpaid(&node, "first").await;
    assert_eq!(mission["status"], "running", "nobody is asked: {mission:#}");
    let budget = wider(&node, "node").await;
    assert_eq!((&budget["spent"], &budget["reserved"]), (&usd(0.02), &usd(0.0)), "{budget:#}");
    assert_eq!(mission["waits_for"]["until"], budget["renewed_at"], "{mission:#}");
    let why = mission["waits_for"]["why"].as_str().expect("why");
    assert!(why.contains("the node's budget for the day") && why.contains("$0.020000 of $0.020000"), "{why}");
    let listed = node.get("/v1/missions").await.expect_status(200).json["items"][0].clone();
    assert_eq!(listed["waits_for"], mission["waits_for"], "a list says the same");
    node.kill();
    node.restart().await;
    assert_eq!(wider(&node, "node").await, budget, "what was spent today is known after a kill");
    assert_eq!(until_unpaid(&node, "first").await["waits_for"], mission["waits_for"]);
    // Another mission has no more of it, and one that closes meanwhile is timed out with its window.
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(3);
    node.accept(&with(free("second"), "/autonomy_window", json!({"end_at": soon.to_string()}))).await;
    let end = node.until_final("second").await;
    assert_eq!((&end["status"], &end["detail"]["reason"]), (&json!("timed_out"), &json!("window_closed")), "{end:#}");
    assert_eq!(end["usage"]["estimated_cost_usd"], json!(0.0));
    let metrics = node.get("/metrics").await.text;
    let line = "sortie_budget_taken_usd{scope=\"node\",per=\"day\"} 0.02";
    assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    let cancelled = node.post("/v1/missions/first/cancel", &json!({"reason": "enough"})).await;
    cancelled.expect_status(202);
    assert_eq!(node.until_final("first").await["status"], "cancelled");
}

#[tokio::test]
async fn a_call_that_is_dearer_than_all_of_a_budget_is_refused_and_those_of_others_are_not() {
    let node = shared().await;
    for (vp, status) in [("vp.poor", "failed"), ("vp.rich", "completed")] {
        let envelope = automation(vp, &json!([write("one", "one.txt", "1")]));
        node.accept(&with(envelope, "/vp_id", json!(vp))).await;
        let end = node.until_final(vp).await;
        assert_eq!(end["status"], status, "{end:#}");
        assert_eq!(end.to_string().contains("more than the VP's budget for a month"), vp == "vp.poor", "{end:#}");
    }
    assert_eq!(wider(&node, "vp:vp.poor").await["spent"], usd(0.0));
    assert_eq!(wider(&node, "node").await["spent"], usd(0.01));
}

#[tokio::test]
async fn a_budget_that_is_raised_lets_those_go_on_that_wait() {
    let day = |usd: &str| {
        format!("[tool.Write]\ncost_usd = 0.01\n[[budget]]\nscope = \"node\"\nper = \"day\"\ncost_usd = {usd}")
    };
    let mut node = Options::new().config(&day("0.02")).start().await;
    for id in ["one", "two"] {
        let mut envelope = three(id);
        envelope["budget"] = json!({});
        node.accept(&envelope).await;
    }
    until_unpaid(&node, "one").await;
    until_unpaid(&node, "two").await;
    let out_of_memory = async || {
        let metrics = node.get("/metrics").await.text;
        metrics.lines().any(|line| line == "sortie_missions_suspended 2").then_some(())
    };
    until("both are out of memory", out_of_memory).await;
    node.kill();
    node.reconfigure(&day("0.03"));
    node.restart().await;
    let spent = async || (wider(&node, "node").await["spent"] == usd(0.03)).then_some(());
    until("one call more is made", spent).await;
    node.kill();
    node.reconfigure("[tool.Write]\ncost_usd = 0.01");
    node.restart().await;
    for id in ["one", "two"] {
        let end = node.until_final(id).await;
        assert_eq!(
            (&end["status"], &end["usage"]["estimated_cost_usd"]),
            (&json!("completed"), &json!(0.03)),
            "{end:#}"
        );
    }
}
