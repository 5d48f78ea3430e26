//! *Money, models, landing*: a call of a model is quoted, set aside and booked to the micro-dollar; one that its provider refuses for now is
//! held; keys are nowhere but at their provider.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use sortie_tests::envelope::with;
use sortie_tests::{Node, Options, Receiver, Reply, automation, until};

const KEY: &str = "sk-planted-0123456789-abcdef";

/// A node with a model of protocol `openai` behind this server: a dollar a million tokens read, two a million written.
async fn node(provider: &Receiver) -> Node {
    with_model(provider, "").await
}

async fn with_model(provider: &Receiver, more: &str) -> Node {
    let config = format!(
        "{more}[model.brain]\nprotocol = \"openai\"\nbase_url = {:?}\nmodel = \"b-1\"\nkey = \"env://BRAIN_KEY\"\n\
         allow_private = [\"127.0.0.1\"]\nmax_output_tokens = 1000\n\
         price_usd_per_mtok = {{ input = 1, output = 2, cached_input = 0.5 }}",
        format!("http://{}/v1", provider.host())
    );
    Options::new().config(&config).env("BRAIN_KEY", KEY).env("SORTIE_LOG", "trace").start().await
}

/// What a provider answers that has counted so.
fn says(text: &str, usage: &Value) -> Reply {
    let choice = json!({"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}});
    let body = json!({"id": "x", "object": "chat.completion", "model": "b-1", "choices": [choice], "usage": usage});
    Reply::Body(200, "application/json", body.to_string())
}

fn usage(read: u64, cached: u64, written: u64) -> Value {
    json!({
        "prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written,
        "prompt_tokens_details": {"cached_tokens": cached},
    })
}

/// A mission that asks the model this often, side by side.
fn asking(id: &str, times: usize, budget: Value) -> Value {
    let step = |n| json!({"id": format!("ask-{n}"), "model": {"prompt": format!("Question {n}?"), "max_tokens": 100}});
    with(automation(id, &(0..times).map(step).collect()), "/budget", budget)
}

fn usd(usage: &Value, pointer: &str) -> f64 {
    usage.pointer(pointer).and_then(Value::as_f64).expect("a figure")
}

async fn until_held(node: &Node, id: &str) -> Value {
    let held = async || {
        let mission = node.mission(id).await;
        (mission["waits_for"]["what"] == "provider").then_some(mission)
    };
    until("its call is held", held).await
}

#[tokio::test]
async fn usage_is_exact_everywhere_and_the_answer_is_the_steps_result() {
    let provider = Receiver::scripted(|_, _| says("Forty-two.", &usage(1_000, 400, 70))).await;
    let node = node(&provider).await;
    let steps = json!([
        {"id": "ask", "model": {"prompt": "What is {{ objective }}?", "max_tokens": 100}},
        {"id": "keep", "tool": "Write", "with": {"path": "a.txt", "content": "{{ steps.ask.result.text }} {{ steps.ask.result.cost_usd }}"}},
    ]);
    node.accept(&with(automation("exact", &steps), "/budget", json!({"max_cost_usd": 0.01}))).await;
    let end = node.until_final("exact").await;
    assert_eq!(end["status"], "completed", "{end:#}");
    // 600 at 1, 400 at 0.5, 70 at 2 dollars a million.
    let cost = 0.00094;
    assert_eq!((&end["usage"]["llm_calls"], &end["usage"]["estimated_cost_usd"]), (&json!(1), &json!(cost)));
    let mission = node.mission("exact").await;
    assert_eq!(
        (usd(&mission["usage"], "/estimated_cost_usd"), usd(&mission["usage"], "/reserved/cost_usd")),
        (cost, 0.0)
    );
    let kept = sortie_tests::workspace_of(&node, "vp.exact").join("a.txt");
    assert_eq!(std::fs::read_to_string(kept).expect("written"), format!("Forty-two. {cost}"));
    let models = node.get("/v1/models").await.expect_status(200).json;
    assert_eq!(
        (&models["items"][0]["name"], &models["items"][0]["cost_usd"]),
        (&json!("brain"), &json!(cost)),
        "{models:#}"
    );
    let metrics = node.get("/metrics").await.text;
    for line in [
        "sortie_cost_usd_total 0.00094",
        "sortie_llm_calls_total 1",
        "sortie_model_cost_usd_total{model=\"brain\"} 0.00094",
        "sortie_model_llm_calls_total{model=\"brain\"} 1",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    }
    for schema in ["/schemas/model-request.json", "/schemas/model-answer.json"] {
        assert!(node.get(schema).await.expect_status(200).json["$schema"].is_string(), "{schema}");
    }
    let sent = &provider.received()[0];
    assert_eq!((sent.header("authorization"), &sent.json["model"]), (format!("Bearer {KEY}").as_str(), &json!("b-1")));
}

#[tokio::test]
async fn eight_at_once_wait_for_what_the_others_give_back_and_nobody_is_asked() {
    let provider = Receiver::scripted(|_, _| says("Yes.", &usage(50, 0, 5))).await;
    let node = node(&provider).await;
    // Each is quoted at some hundreds of micro-dollars (100 tokens at 2, and the bytes that are sent), and costs 60.
    node.accept(&asking("tight", 8, json!({"max_cost_usd": 0.001}))).await;
    let end = node.until_final("tight").await;
    assert_eq!((&end["status"], &end["usage"]["llm_calls"]), (&json!("completed"), &json!(8)), "{end:#}");
    assert_eq!(end["usage"]["estimated_cost_usd"], json!(0.000_48));
    let journal = node.get("/v1/missions/tight/journal").await.expect_status(200).text.to_lowercase().replace('_', "");
    assert!(journal.contains("paymentawaited") && !journal.contains("\"requested\""), "{journal}");
}

#[tokio::test]
async fn eight_at_once_never_pass_the_budget_and_the_rest_asks() {
    let provider = Receiver::scripted(|_, _| says("Yes.", &usage(200, 0, 60))).await;
    let node = node(&provider).await;
    let spent_of = async |id: &str| {
        let quiet = async || {
            let mission = node.mission(id).await;
            let is_quiet = mission["status"] == "blocked" && usd(&mission["usage"], "/reserved/cost_usd") == 0.0;
            is_quiet.then_some(mission)
        };
        until("it is blocked and nothing is on its way", quiet).await
    };
    // Each costs 320 micro-dollars: three are within the budget, and what is left pays for no fourth.
    node.accept(&asking("tight", 8, json!({"max_cost_usd": 0.001}))).await;
    let mission = spent_of("tight").await;
    assert!(usd(&mission["usage"], "/estimated_cost_usd") <= 0.001, "{mission:#}");
    let asked = provider.received().len();
    assert!((1..=3).contains(&asked), "{asked} of 8");
    node.accept(&asking("counted", 8, json!({"max_llm_calls": 3}))).await;
    let mission = spent_of("counted").await;
    assert_eq!(mission["pending_requests"][0]["kind"], "budget");
    assert!(mission["usage"]["llm_calls"].as_u64().is_some_and(|calls| calls <= 3), "{mission:#}");
    assert!(provider.received().len() - asked <= 3, "no more than three were made");
}

#[tokio::test]
async fn models_that_are_silent_keep_nobody_from_asking_and_no_tool_from_working() {
    let provider = Receiver::scripted(|_, _| Reply::Hang).await;
    // Room for eight results, as large as what a call of a tool is taken for before it is known.
    let node = with_model(&provider, "[limits]\nresults_mib = 16\n").await;
    for mission in 0..20 {
        node.accept(&asking(&format!("silent-{mission}"), 1, json!({}))).await;
    }
    until("all of them ask", async || (provider.received().len() >= 20).then_some(())).await;
    let read = json!([{"id": "look", "tool": "Glob", "with": {"pattern": "*"}}]);
    let end = node.run(&with(automation("works", &read), "/constraints/allowed_tools", json!(["Glob"]))).await;
    assert_eq!(end["status"], "completed", "{end:#}");
}

#[tokio::test]
async fn one_that_is_held_outlives_a_kill_says_until_when_and_is_cancelled_at_once() {
    let provider = Receiver::scripted(|_, _| Reply::Header(429, "retry-after", "3600".to_owned())).await;
    let mut node = node(&provider).await;
    node.accept(&asking("held", 1, json!({"max_cost_usd": 0.01}))).await;
    let mission = until_held(&node, "held").await;
    assert_eq!(mission["status"], "running", "{mission:#}");
    let until: jiff::Timestamp = mission["waits_for"]["until"].as_str().expect("a time").parse().expect("RFC 3339");
    let seconds = until.duration_since(jiff::Timestamp::now()).as_secs();
    assert!((3_500..=3_600).contains(&seconds), "{seconds}");
    // What it waits for is known a moment before that is on disk, and shown of the rest.
    sortie_tests::until("nothing is set aside for it", async || {
        let usage = node.mission("held").await["usage"].clone();
        (usd(&usage, "/reserved/cost_usd") + usd(&usage, "/estimated_cost_usd") == 0.0).then_some(())
    })
    .await;
    let asked = provider.received().len();
    node.kill();
    node.restart().await;
    let again = until_held(&node, "held").await;
    assert_eq!(again["waits_for"], mission["waits_for"]);
    let why = mission["waits_for"]["why"].as_str().expect("why");
    assert!(why.starts_with("[model.brain] is at its provider's limit (429)"), "{why}");
    let listed = node.get("/v1/missions").await.expect_status(200).json["items"][0].clone();
    assert_eq!(listed["waits_for"], mission["waits_for"], "a list says the same");
    let model = node.get("/v1/models").await.expect_status(200).json["items"][0].clone();
    assert_eq!(model["held"], json!({"missions": 1, "until": mission["waits_for"]["until"], "why": why}));
    let metrics = node.get("/metrics").await.expect_status(200).text;
    assert!(metrics.contains("sortie_model_missions_held{model=\"brain\"} 1"), "{metrics}");
    assert_eq!(provider.received().len(), asked, "nobody is asked before its time");
    node.post("/v1/missions/held/cancel", &json!({"reason": "enough"})).await.expect_status(202);
    assert_eq!(node.until_final("held").await["status"], "cancelled");
    let models = node.get("/v1/models").await.expect_status(200);
    assert_eq!(models.json["items"][0]["held"], Value::Null, "nobody waits any more");
}

#[tokio::test]
async fn one_that_a_kill_broke_off_is_made_again_and_counts_twice() {
    let provider =
        Receiver::scripted(|_, before| if before == 0 { Reply::Hang } else { says("Yes.", &usage(10, 0, 1)) }).await;
    let mut node = node(&provider).await;
    node.accept(&asking("broken", 1, json!({"max_cost_usd": 0.01}))).await;
    until("it is asked", async || (!provider.received().is_empty()).then_some(())).await;
    let reserved = usd(&node.mission("broken").await["usage"], "/reserved/cost_usd");
    node.kill();
    node.restart().await;
    let end = node.until_final("broken").await;
    assert_eq!((&end["status"], &end["usage"]["llm_calls"]), (&json!("completed"), &json!(2)), "{end:#}");
    let spent = usd(&end["usage"], "/estimated_cost_usd");
    assert!((spent - (reserved + 0.000_012)).abs() < 1e-9, "{spent} of {reserved}");
}

#[tokio::test]
async fn a_key_is_nowhere_even_where_its_provider_repeats_it() {
    let provider = Receiver::scripted(|received, _| {
        let key = received.header("authorization").to_owned();
        match received.json["messages"][0]["content"].as_str() {
            Some("Question 0?") => says(&format!("You sent {key}"), &usage(1, 0, 1)),
            Some("Question 1?") => Reply::Body(400, "application/json", json!({"error": {"message": key}}).to_string()),
            _ => Reply::Body(401, "text/plain", format!("no such key: {key}")),
        }
    })
    .await;
    let node = node(&provider).await;
    node.accept(&asking("echoed", 3, json!({"max_cost_usd": 0.1}))).await;
    node.until_final("echoed").await;
    let seen = [
        node.get("/v1/missions/echoed").await.text,
        node.get("/v1/missions/echoed/events").await.text,
        node.get("/v1/missions/echoed/journal").await.text,
        node.get("/metrics").await.text,
        node.read_log(),
    ];
    assert!(seen.iter().all(|text| !text.contains(KEY)), "in what is shown");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!holds(&node.data()), "in the data folder");
}

/// Whether a file below a folder has the key in it.
fn holds(folder: &Path) -> bool {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.into_iter().any(|path| {
        if path.is_dir() {
            return holds(&path);
        }
        let bytes = std::fs::read(&path).unwrap_or_default();
        bytes.windows(KEY.len()).any(|window| window == KEY.as_bytes())
    })
}

#[tokio::test]
async fn a_node_without_models_says_so_to_who_asks_one() {
    let node = Options::new().start().await;
    node.accept(&asking("nobody", 1, json!({}))).await;
    let end = node.until_final("nobody").await;
    assert_eq!(end["status"], "failed");
    assert!(end.to_string().contains("no model"), "{end:#}");
}
