//! A node that has done something of each kind: what its metrics must show, and what its board goes by.

use serde_json::{Value, json};
use sortie_tests::envelope::{automation, in_ms, with, write};
use sortie_tests::{Node, Options, Receiver, Reply, until};

/// The trace that its first mission belongs to.
pub(crate) const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// A node and those who stand around it.
pub(crate) struct Night {
    pub(crate) node: Node,
    pub(crate) receiver: Receiver,
    _provider: Receiver,
}

/// What a model says here.
pub(crate) fn says() -> Reply {
    let choice = json!({"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Yes."}});
    let usage = json!({"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12});
    let body = json!({"id": "x", "object": "chat.completion", "model": "b-1", "choices": [choice], "usage": usage});
    Reply::Body(200, "application/json", body.to_string())
}

/// The configuration of such a node.
fn options(provider: &Receiver, receiver: &Receiver) -> Options {
    let config = format!(
        "{}[model.brain]\nprotocol = \"openai\"\nbase_url = \"http://{}/v1\"\nmodel = \"b-1\"\nkey = \"env://BRAIN_KEY\"\n\
         allow_private = [\"127.0.0.1\"]\nmax_output_tokens = 1000\nprice_usd_per_mtok = {{ input = 1, output = 2 }}\n\
         [[budget]]\nscope = \"node\"\nper = \"day\"\ncost_usd = 5\nllm_calls = 100\n\
         [[notify]]\nname = \"well\"\non = [\"failed\"]\nurl = \"{}\"\nallow_private = [\"127.0.0.1\"]\ngroup = \"1s\"\n\
         [[notify]]\nname = \"gone\"\non = [\"failed\"]\nurl = \"http://127.0.0.1:9/x\"\nallow_private = [\"127.0.0.1\"]\n\
         group = \"1s\"\n",
        receiver.config(),
        provider.host(),
        receiver.url(),
    );
    Options::new().config(&config).env("BRAIN_KEY", "sk-of-a-test").env("CALLBACK_TOKEN", "a-callback-token")
}

/// The same night of a node that has all that can be had: a collector, a provider of tools that is out, a call that costs.
pub(crate) async fn busy() -> Night {
    let collector = Receiver::start().await;
    let more = format!(
        "[telemetry.otlp]\nurl = \"http://{}\"\nallow_private = [\"127.0.0.1\"]\n\
         [mcp.gone]\ncommand = [\"/nowhere/server\"]\n",
        collector.host()
    );
    let night = night_of(&more).await;
    until("the collector was told", async || {
        let metrics = night.node.get("/metrics").await.text;
        metrics.lines().any(|line| line == "sortie_trace_frames_behind 0").then_some(())
    })
    .await;
    night
}

/// Starts one and lets it work: a mission with a model and a tool in a trace, one in a window, one that fails, and one that is sent twice.
pub(crate) async fn night() -> Night {
    night_of("").await
}

async fn night_of(more: &str) -> Night {
    let (provider, receiver) = (Receiver::scripted(|_, _| says()).await, Receiver::start().await);
    let node = options(&provider, &receiver).config(more).start().await;
    let steps = json!([
        {"id": "ask", "model": {"prompt": "Is it?", "max_tokens": 100}},
        write("w", "note.txt", "{{ steps.ask.result.text }}"),
    ]);
    let traced = with(automation("traced", &steps), "/trace_id", json!(TRACE));
    let traced = with(with(traced, "/callback", receiver.callback()), "/budget", json!({"max_cost_usd": 0.1}));
    let fails: Value = json!([{"id": "r", "tool": "Read", "with": {"path": "gone.txt"}}]);
    let windowed = with(
        automation("windowed", &json!([write("w", "a.txt", "a")])),
        "/autonomy_window/start_at",
        json!(in_ms(700)),
    );
    for envelope in [&traced, &windowed, &automation("fails", &fails)] {
        node.accept(envelope).await;
    }
    node.dispatch(&traced).await.expect_status(200);
    node.dispatch(&json!({})).await.expect_status(422);
    for (id, status) in [("traced", "completed"), ("windowed", "completed"), ("fails", "failed")] {
        let end = node.until_final(id).await;
        assert_eq!(end["status"], status, "{end:#}");
    }
    receiver.until_final("traced").await;
    until("a channel was told and the other was not", async || {
        let channels = node.get("/v1/notify").await.expect_status(200).json;
        let of = |name: &str| channels["items"].as_array()?.iter().find(|channel| channel["name"] == name).cloned();
        let (well, gone) = (of("well")?, of("gone")?);
        (well["sent"].as_u64() >= Some(1) && gone["failed_attempts"].as_u64() >= Some(1)).then_some(())
    })
    .await;
    until("all was delivered", async || {
        let metrics = node.get("/metrics").await.expect_status(200).text;
        metrics.lines().any(|line| line == "sortie_missions_undelivered 0").then_some(())
    })
    .await;
    Night { node, receiver, _provider: provider }
}
