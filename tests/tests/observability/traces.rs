//! Missions as traces, as a collector gets them: one tree whatever is killed in between, for which no mission waits.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sortie_tests::envelope::{automation, with, write, writing};
use sortie_tests::{Node, Options, Receiver, Reply, until};

use crate::night::{TRACE, says};
use crate::read::{is_there, read};

/// The span of whoever dispatches.
const PARENT: &str = "00f067aa0ba902b7";

const KEY: &str = "planted-key-of-the-collector";

/// The lines of a configuration that have this collector told.
fn told(collector: &Receiver) -> String {
    format!(
        "[telemetry.otlp]\nurl = \"http://{0}\"\nservice = \"night\"\nallow_private = [\"127.0.0.1\"]\n\
         headers = {{ Authorization = \"Bearer ${{secret:collector}}\" }}\n\
         [secret.collector]\nref = \"env://COLLECTOR_KEY\"\nhosts = [\"{0}\"]\n",
        collector.host()
    )
}

/// All spans that a collector got, by their ids. One that came twice is the same both times.
fn spans(collector: &Receiver) -> BTreeMap<String, Value> {
    let requests = collector.received();
    let lines: Vec<String> = requests.iter().map(|request| request.json.to_string()).collect();
    let mut spans = BTreeMap::new();
    for span in read("otlp", &lines.join("\n")) {
        let id = span["id"].as_str().expect("an id").to_owned();
        let before = spans.insert(id, span.clone());
        assert!(before.as_ref().is_none_or(|before| *before == span), "two of one id: {before:#?}, {span:#}");
    }
    spans
}

fn has(collector: &Receiver, name: &str) -> bool {
    collector.received().iter().any(|request| request.json.to_string().contains(&format!("\"name\":\"{name}\"")))
}

fn named<'a>(spans: &'a BTreeMap<String, Value>, name: &str) -> Vec<&'a Value> {
    spans.values().filter(|span| span["name"] == name).collect()
}

/// The span of a `traceparent`.
fn span_of(traceparent: &str) -> &str {
    let parts: Vec<&str> = traceparent.split('-').collect();
    assert_eq!((parts.len(), parts.get(1), parts.get(3)), (4, Some(&TRACE), Some(&"01")), "{traceparent}");
    parts[2]
}

async fn node(collector: &Receiver, provider: &Receiver, service: &Receiver, receiver: &Receiver) -> Node {
    let config = format!(
        "{}{}[tool.WebFetch]\nhosts = [{host:?}]\nallow_private = [\"127.0.0.1\"]\n\
         [tool.HttpRequest]\nhosts = [{host:?}]\nallow_private = [\"127.0.0.1\"]\n\
         [model.brain]\nprotocol = \"openai\"\nbase_url = \"http://{}/v1\"\nmodel = \"b-1\"\nkey = \"env://BRAIN_KEY\"\n\
         allow_private = [\"127.0.0.1\"]\nmax_output_tokens = 1000\nprice_usd_per_mtok = {{ input = 1, output = 2 }}\n",
        receiver.config(),
        told(collector),
        provider.host(),
        host = service.host(),
    );
    let options = Options::new().config(&config).env("BRAIN_KEY", "sk-of-a-test").env("COLLECTOR_KEY", KEY);
    options.env("CALLBACK_TOKEN", "a-callback-token").start().await
}

#[tokio::test]
async fn a_mission_is_one_tree_whatever_is_killed_in_between() {
    if !is_there() {
        return;
    }
    let (collector, receiver) = (Receiver::start().await, Receiver::start().await);
    let provider = Receiver::scripted(|_, _| says()).await;
    // The first time it is asked for a page it never answers.
    let service = Receiver::scripted(|_, before| match before {
        0 => Reply::Hang,
        _ => Reply::Body(200, "text/plain", "secret page".to_owned()),
    })
    .await;
    let mut node = node(&collector, &provider, &service, &receiver).await;
    let at = |path: &str| format!("http://{}{path}", service.host());
    let steps = json!([
        {"id": "ask", "model": {"model": "brain", "prompt": "A secret prompt?", "max_tokens": 100}},
        {"id": "get", "tool": "WebFetch", "with": {"url": at("/page?secret=path")}},
        {"id": "post", "tool": "HttpRequest", "with": {"method": "GET", "url": at("/request")}},
        write("w", "secret.txt", "secret content"),
    ]);
    let envelope = with(automation("traced", &steps), "/trace_id", json!(format!("00-{TRACE}-{PARENT}-01")));
    let envelope = with(envelope, "/constraints", json!({"allowed_tools": ["*"], "approval_required": ["Write"]}));
    let envelope = with(envelope, "/budget", json!({"max_cost_usd": 0.1}));
    node.accept(&with(envelope, "/callback", receiver.callback())).await;
    until("the page is asked for, and what was before it is told", async || {
        (!service.received().is_empty() && has(&collector, "chat brain")).then_some(())
    })
    .await;
    node.kill();
    node.restart().await;
    node.until_status("traced", "blocked").await;
    let decision = json!({"decision": "approve", "by": "a secret person", "note": "a secret note"});
    node.post("/v1/missions/traced/requests/r1", &decision).await.expect_status(200);
    assert_eq!(node.until_final("traced").await["status"], "completed");
    until("its own span is told", async || has(&collector, "mission automation").then_some(())).await;

    let spans = spans(&collector);
    let [root] = named(&spans, "mission automation")[..] else { panic!("{spans:#?}") };
    assert_eq!((&root["trace"], &root["parent"], &root["kind"]), (&json!(TRACE), &json!(PARENT), &json!(5)));
    assert_eq!(root["resource"]["service.name"], "night");
    assert_eq!(root["resource"]["service.instance.id"], "factory-1");
    assert_eq!(root["attributes"]["sortie.mission.status"], "completed");
    assert!(spans.values().all(|span| span["trace"] == TRACE && span["resource"] == root["resource"]), "{spans:#?}");
    let runs = named(&spans, "run");
    assert!(runs.len() >= 2 && runs.iter().all(|run| run["parent"] == root["id"]), "{runs:#?}");
    let broke_off: Vec<_> = runs.iter().filter(|run| run["attributes"]["sortie.run.ended"] == "broke_off").collect();
    assert!(broke_off.len() == 1 && broke_off[0]["failed"] == true, "{runs:#?}");
    let one = |name: &str| match named(&spans, name)[..] {
        [span] => span,
        ref other => panic!("{name} is {other:#?}"),
    };
    for name in ["chat brain", "execute_tool WebFetch", "execute_tool HttpRequest", "execute_tool Write"] {
        let span = one(name);
        assert!(runs.iter().any(|run| run["id"] == span["parent"]), "{name} is below no run: {span:#}");
        assert!(span["begun"].as_u64() >= root["begun"].as_u64() && span["ended"].as_u64() <= root["ended"].as_u64());
    }
    // The call that broke off with the node is one span, of the run that began it.
    assert_eq!(one("execute_tool WebFetch")["parent"], broke_off[0]["id"]);
    assert_eq!(one("request approval")["parent"], one("execute_tool Write")["id"]);
    assert_eq!(one("request approval")["attributes"]["sortie.request.decision"], "approve");
    assert_eq!(one("chat brain")["attributes"]["gen_ai.usage.output_tokens"], 2);

    // What each of those who were asked was told is the span that asked them.
    let asked = |path: &str| -> Vec<String> {
        let all = service.received();
        let of: Vec<_> = all.iter().filter(|request| request.path == path).collect();
        assert!(!of.is_empty(), "{path} was never asked for");
        of.iter().map(|request| span_of(request.header("traceparent")).to_owned()).collect()
    };
    for (path, name) in [("/page", "execute_tool WebFetch"), ("/request", "execute_tool HttpRequest")] {
        let asked = asked(path);
        assert!(asked.iter().all(|span| one(name)["id"] == **span), "{path}: {asked:?}");
    }
    assert_eq!(asked("/page").len(), 2, "both attempts are one span");
    let model = provider.received();
    assert!(model.iter().all(|request| one("chat brain")["id"] == span_of(request.header("traceparent"))));
    let events = receiver.until_final("traced").await;
    assert!(events.iter().all(|event| root["id"] == span_of(event.header("traceparent"))), "{root:#}");

    // Nothing that a mission says leaves with its spans, and the collector's key is nowhere but there.
    for request in collector.received() {
        assert_eq!((request.path.as_str(), request.header("authorization")), ("/v1/traces", &*format!("Bearer {KEY}")));
        let body = String::from_utf8_lossy(&request.bytes).into_owned();
        assert!(!body.contains("secret") && !body.contains("Do the steps"), "{body}");
    }
    assert!(!node.read_log().contains(KEY));
}

#[tokio::test]
async fn a_collector_that_is_down_costs_a_warning_and_misses_nothing() {
    if !is_there() {
        return;
    }
    let collector = Receiver::closed();
    let node = Options::new().config(&told(&collector)).env("COLLECTOR_KEY", KEY).start().await;
    let ids: Vec<String> = (0..20).map(|n| format!("m-{n}")).collect();
    for id in &ids {
        node.accept(&with(writing(id), "/trace_id", json!(TRACE))).await;
    }
    for id in &ids {
        assert_eq!(node.until_final(id).await["status"], "completed");
    }
    let metric = async |row: &str| node.get("/metrics").await.text.lines().any(|line| line == row).then_some(());
    until("it is seen to be down", async || metric("sortie_trace_export_failing 1").await).await;
    until("it is tried again", async || {
        let text = node.get("/metrics").await.text;
        let row = text.lines().find_map(|line| line.strip_prefix("sortie_trace_export_failures_total "))?.to_owned();
        (row.parse::<u32>().ok()? >= 2).then_some(())
    })
    .await;
    let warned = |log: &str| log.matches("does not take spans").count();
    assert_eq!(warned(&node.read_log()), 1, "{}", node.read_log());
    collector.open();
    until("all is told", async || {
        let roots = collector
            .received()
            .iter()
            .map(|request| request.json.to_string().matches("\"mission automation\"").count())
            .sum::<usize>();
        (roots >= ids.len()).then_some(())
    })
    .await;
    let spans = spans(&collector);
    assert_eq!(named(&spans, "mission automation").len(), ids.len());
    until("it is seen to be well", async || metric("sortie_trace_export_failing 0").await).await;
    assert_eq!(warned(&node.read_log()), 1);
    assert!(node.read_log().contains("takes spans again"));
}

#[tokio::test]
async fn what_a_collector_refuses_for_good_is_counted_and_not_sent_again() {
    let collector = Receiver::scripted(|_, _| Reply::Status(400)).await;
    let node = Options::new().config(&told(&collector)).env("COLLECTOR_KEY", KEY).start().await;
    node.run(&with(writing("refused"), "/trace_id", json!(TRACE))).await;
    until("it is counted", async || {
        let text = node.get("/metrics").await.text;
        let row = text.lines().find_map(|line| line.strip_prefix("sortie_trace_spans_refused_total "))?.to_owned();
        (row.parse::<u32>().ok()? >= 3).then_some(())
    })
    .await;
    let roots =
        collector.received().iter().filter(|request| request.json.to_string().contains("mission automation")).count();
    assert_eq!(roots, 1, "it was sent once");
}
