//! What agents have: a call of a tool server beside the same call without a node, missions of an agent that makes ten calls, and the memory
//! of missions that wait for a model. What a decision about a call costs is measured by `cargo bench -p sortie-mission`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sortie_tests::envelope::with;
use sortie_tests::{Node, Options, automation, guest};

use crate::client::{Load, completed, metric, mib, ms_since};
use crate::report::{Report, Unit, middle};
use crate::sizes::Sizes;

/// The argument with which this program is the tool server.
pub(crate) const SERVER: &str = "--tool-server";

/// Calls of the scripted agent.
const AGENT_CALLS: usize = 10;

/// Connections over which missions are dispatched.
const CONNECTIONS: usize = 16;

/// How long missions may take to come to where they wait.
const WAIT_MAX: Duration = Duration::from_secs(300);

/// A tool server that does nothing, as fast as it can: `look` reads, `act` does not.
pub(crate) fn serve() {
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let message: Value = serde_json::from_str(&line).unwrap_or_default();
        let id = &message["id"];
        let body = match message["method"].as_str().unwrap_or_default() {
            _ if id.is_null() => continue,
            "initialize" => json!({"result": {
                "protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "bench", "version": "1"},
            }}),
            "tools/list" => {
                let tool = |(name, reads): (&str, bool)| json!({"name": name, "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": reads}});
                let tools = [("look", true), ("act", false)].map(tool);
                json!({"result": {"tools": tools}})
            }
            "tools/call" => json!({"result": {"content": [{"type": "text", "text": "done"}]}}),
            "ping" => json!({"result": {}}),
            _ => json!({"error": {"code": -32601, "message": "no such method"}}),
        };
        let mut answer = json!({"jsonrpc": "2.0", "id": id});
        answer.as_object_mut().expect("an object").extend(body.as_object().cloned().unwrap_or_default());
        if writeln!(out, "{answer}").and_then(|()| out.flush()).is_err() {
            return;
        }
    }
}

fn program() -> String {
    std::env::current_exe().expect("a running program has a path").display().to_string()
}

/// All of it.
pub(crate) async fn tools(sizes: &Sizes, report: &Report) {
    calls(sizes, report).await;
    agents(sizes, report).await;
    held(sizes, report).await;
    hanging(sizes, report).await;
}

/// The same server without a node in between: a line there, a line back.
struct Direct {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Direct {
    fn start() -> Self {
        let mut command = Command::new(program());
        let mut process =
            command.arg(SERVER).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("this program starts");
        let input = process.stdin.take().expect("it was piped");
        let output = BufReader::new(process.stdout.take().expect("it was piped"));
        Self { process, input, output }
    }

    /// Milliseconds of a call, over so many one after the other.
    fn calls(&mut self, count: u64) -> f64 {
        let begun = Instant::now();
        let mut line = String::new();
        for id in 0..count {
            let call =
                json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": "act", "arguments": {}}});
            writeln!(self.input, "{call}").expect("it reads");
            line.clear();
            let read = self.output.read_line(&mut line).expect("it answers");
            let answer: Value = serde_json::from_str(&line).expect("JSON");
            assert!(read > 0 && answer["result"].is_object(), "{line}");
        }
        ms_since(begun) / count as f64
    }
}

impl Drop for Direct {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A call of a tool server, one after the other in one mission: of a tool that reads, and of one that acts, which is on disk before.
async fn calls(sizes: &Sizes, report: &Report) {
    let config = format!("[mcp.bench]\ncommand = [{:?}, {SERVER:?}]\n", program());
    let node = Options::new().config(&config).env("RUST_LOG", "warn").start().await;
    let mut direct = Direct::start();
    let mut took = [Vec::new(), Vec::new(), Vec::new()];
    for round in 0..sizes.rounds {
        took[0].push(direct.calls(sizes.tool_calls));
        for (tool, took) in ["look", "act"].into_iter().zip(&mut took[1..]) {
            let items: Vec<u64> = (0..sizes.tool_calls).collect();
            let step = json!({"id": "s", "tool": format!("mcp__bench__{tool}"), "with": {}, "for_each": items, "concurrency": 1});
            let mission = with(
                automation(&format!("{tool}-{round}"), &json!([step])),
                "/constraints/allowed_tools",
                json!(["*"]),
            );
            let done = metric(&node, "sortie_missions_completed_total").await;
            let begun = Instant::now();
            node.accept(&mission).await;
            completed(&node, done + 1).await;
            took.push(ms_since(begun) / sizes.tool_calls as f64);
        }
    }
    let [alone, looks, acts] = took.map(middle);
    report.beside("a call that reads, beside one without a node", looks, Unit::Ms, alone);
    report.beside("a call that acts, beside one without a node", acts, Unit::Ms, alone);
}

/// A node with the agent, a model and whatever else.
async fn with_agent(config: &str) -> Node {
    let node = Options::new().config(config).env("RUST_LOG", "warn").start().await;
    let file = node.folder().join("agent.wasm");
    std::fs::write(&file, guest::agent()).expect("a writable folder");
    let installed = node.cli(&["plugin", "install", &file.display().to_string()]).await;
    assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
    node
}

/// A mission of the agent.
fn agent() -> Value {
    let envelope = with(automation("{n}", &json!([])), "/mission_type", json!("custom"));
    with(with(envelope, "/plugin", json!("agent")), "/inputs", json!({}))
}

/// Missions of an agent that makes ten calls, as a script says, and ends.
async fn agents(sizes: &Sizes, report: &Report) {
    let mut answers: Vec<Value> = (0..AGENT_CALLS)
        .map(|turn| {
            let wish = json!({"type": "tool_use", "id": format!("u{turn}"), "name": "Write",
                "input": {"path": "note.txt", "content": format!("{turn}")}});
            json!({"when": {"turn": turn}, "answer": {"content": [wish]}})
        })
        .collect();
    answers.push(json!({"when": {"turn": AGENT_CALLS}, "text": "done"}));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = folder.path().join("script.json");
    std::fs::write(&script, json!({"answers": answers}).to_string()).expect("a writable folder");
    let config =
        format!("[node]\nmax_running = 64\n[model.script]\nprotocol = \"scripted\"\nfile = {script:?}\nfree = true\n");
    let node = with_agent(&config).await;
    let begun = Instant::now();
    Load::count(agent().to_string(), sizes.agents).run(&node, CONNECTIONS).await;
    completed(&node, sizes.agents).await;
    let rate = sizes.agents as f64 / begun.elapsed().as_secs_f64();
    report.figure("missions of an agent of ten calls", rate, Unit::PerSecond);
}

/// Waits until so many missions wait for a model, as `count` tells.
async fn until_waiting(what: &str, missions: u64, mut count: impl AsyncFnMut() -> u64) {
    let begun = Instant::now();
    while count().await < missions {
        assert!(begun.elapsed() < WAIT_MAX, "they do not come to wait: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Memory of missions whose call is put off, because the provider refuses it for an hour: they leave it.
async fn held(sizes: &Sizes, report: &Report) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = folder.path().join("script.json");
    let refused = json!({"fault": {"status": 429, "retry_after_s": 3600}, "times": 1_000});
    std::fs::write(&script, json!({"answers": [refused]}).to_string()).expect("a writable folder");
    let node = with_agent(&format!("[model.script]\nprotocol = \"scripted\"\nfile = {script:?}\nfree = true\n")).await;
    let before = mib(node.resident_bytes());
    Load::count(agent().to_string(), sizes.waiting).run(&node, CONNECTIONS).await;
    until_waiting("held", sizes.waiting, async || metric(&node, "sortie_missions_suspended").await).await;
    // What was let go of goes back to the system with a delay.
    tokio::time::sleep(sizes.settle).await;
    let case = format!("resident memory, {} put off by a provider", sizes.waiting);
    report.beside(&case, mib(node.resident_bytes()), Unit::MiB, before);
}

/// Memory of missions whose provider says nothing: each runs, and its plugin is there.
async fn hanging(sizes: &Sizes, report: &Report) {
    let asked = Arc::new(AtomicU64::new(0));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket");
    let counted = asked.clone();
    let silent = axum::Router::new().fallback(async move || -> axum::http::StatusCode {
        counted.fetch_add(1, Ordering::Relaxed);
        std::future::pending().await
    });
    let provider = tokio::spawn(async move { axum::serve(listener, silent).await });
    let config = format!(
        "[node]\nmax_running = {}\n[model.silent]\nprotocol = \"openai\"\nbase_url = \"http://{address}/v1\"\nmodel = \"m\"\n\
         allow_private = [\"127.0.0.1\"]\nfree = true\n",
        sizes.waiting
    );
    let node = with_agent(&config).await;
    let before = mib(node.resident_bytes());
    Load::count(agent().to_string(), sizes.waiting).run(&node, CONNECTIONS).await;
    until_waiting("hanging", sizes.waiting, async || asked.load(Ordering::Relaxed)).await;
    let case = format!("resident memory, {} whose provider is silent", sizes.waiting);
    report.beside(&case, mib(node.resident_bytes()), Unit::MiB, before);
    provider.abort();
}
