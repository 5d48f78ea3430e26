//! Servers that are well and servers that are not, as a driver of providers meets them.

#[path = "servers/asks.rs"]
mod asks;
mod fake;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use sortie_contract::tool::CallError;
use sortie_mcp::{McpServer, ServerConfig, Setting};
use sortie_tools::{Bill, CallContext, Changed, Nobody, Offer, Provider as _, TOOLS_MAX, Tool, Workspace};

/// Long enough on a busy machine, and no test waits for it that is green.
const PATIENCE: Duration = Duration::from_secs(60);

fn config(mood: &str) -> ServerConfig {
    let test = std::env::current_exe().expect("this binary").display().to_string();
    let command = [&test, "--exact", "fake::acts", "--nocapture"].map(ToString::to_string);
    let env = [(fake::MOOD.to_owned(), Setting::Plain(mood.to_owned()))].into();
    ServerConfig { command: Some(command.to_vec()), env, ..ServerConfig::default() }
}

fn server(config: &ServerConfig) -> McpServer {
    McpServer::new("fake", config, None).expect("a server")
}

async fn connected(config: &ServerConfig) -> McpServer {
    let server = server(config);
    within(server.connect()).await.expect("it connects");
    server
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("in time")
}

/// The trace of every call.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// A server, with what it had when it was asked last.
struct Known {
    server: McpServer,
    tools: Vec<Arc<dyn Tool>>,
    context: CallContext,
}

impl Known {
    async fn of(config: &ServerConfig) -> Self {
        let server = connected(config).await;
        let tools = within(server.tools()).await.expect("its tools");
        let workspace = Workspace::open(Path::new("/nonexistent/workspace")).expect("opened when it is used");
        let (mission_id, idempotency_key) = ("m".to_owned(), "m/1".to_owned());
        let context = CallContext {
            workspace,
            mission_id,
            idempotency_key,
            run: sortie_contract::id::RunNo(2),
            trace_id: TRACE.to_owned(),
            bill: Bill::default(),
            ask: Arc::new(Nobody),
        };
        Self { server, tools, context }
    }

    fn tool(&self, name: &str) -> Arc<dyn Tool> {
        let name = format!("mcp__fake__{name}");
        let found = self.tools.iter().find(|tool| tool.info().name.as_str() == name);
        Arc::clone(found.unwrap_or_else(|| panic!("{name} is there")))
    }

    async fn call(&self, name: &str, arguments: Value) -> Result<Value, CallError> {
        let tool = self.tool(name);
        let answer = within(tool.call(&self.context, &arguments)).await?;
        Ok(serde_json::from_str(&answer.result).expect("JSON"))
    }
}

/// Whether there is such a process, and it has not ended.
fn is_alive(pid: &str) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    state.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

async fn dead(pid: &str) {
    within(async {
        while is_alive(pid) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_says_what_it_is_for_and_gets_one_shape_of_result() {
    let known = Known::of(&config("well")).await;
    let result = known.call("echo", json!({"text": "hello"})).await.expect("a result");
    assert_eq!(result["text"], "hello");
    assert_eq!(result["structured"]["sortie/idempotency-key"], "m/1");
    let traceparent = result["structured"]["traceparent"].as_str().expect("its trace has that form");
    assert!(traceparent.starts_with(&format!("00-{TRACE}-")) && traceparent.ends_with("-01"), "{traceparent}");
    assert_eq!(result["structured"]["sortie/mission-id"], "m");
    assert_eq!(result["structured"]["sortie/fencing-token"], 2);
    assert!(known.tool("echo").info().read_only);
    assert!(!known.tool("die").info().is_classified(), "a server that declares nothing");
    let seen = known.server.seen();
    assert_eq!((seen.protocol.as_deref(), seen.called.as_deref()), (Some("2025-11-25"), Some("fake 1")));
    within(known.server.health()).await.expect("it is well");
    assert!(known.server.seen().latency.is_some());
    let error = known.call("error", json!({})).await.expect_err("an error of the tool");
    assert!(matches!(&error, CallError::Failed(why) if why.starts_with("it is broken") && why.len() <= 4_096));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_later_era_is_spoken_with_whoever_knows_it() {
    let known = Known::of(&config("new")).await;
    assert_eq!(known.server.seen().protocol.as_deref(), Some("2026-07-28"));
    let result = known.call("echo", json!({"text": "hello"})).await.expect("a result");
    assert_eq!(result["structured"]["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
    assert_eq!(result["structured"]["sortie/mission-id"], "m");
    within(known.server.health()).await.expect("it is well");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_takes_no_handshake_after_a_probe_is_reached_afresh() {
    let known = Known::of(&config("slow to discover")).await;
    assert_eq!(known.call("echo", json!({"text": "hello"})).await.expect("a result")["text"], "hello");
    // Now it is known, and nothing is probed.
    tokio::time::timeout(Duration::from_secs(9), known.server.connect()).await.expect("at once").expect("again");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_hangs_at_start_is_left_behind_with_whoever_waits() {
    let server = server(&config("hangs"));
    assert!(tokio::time::timeout(Duration::from_millis(500), server.connect()).await.is_err());
    assert!(server.tools().await.is_err(), "there is nobody to ask");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_dies_at_start_says_why_without_its_secrets() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("token");
    std::fs::write(&path, "tell-nobody-this\n").expect("written");
    let mut config = config("dies at start");
    let reference = format!("file://{}", path.display()).parse().expect("a reference");
    config.env.insert("TOKEN".to_owned(), Setting::Secret(reference));
    let error = within(server(&config).connect()).await.expect_err("it is dead").to_string();
    assert!(error.contains("exit status: 3") && error.contains("the token is ***"), "{error}");
    config.command = Some(vec!["no-such-program-anywhere".to_owned()]);
    let error = within(server(&config).connect()).await.expect_err("not there").to_string();
    assert!(error.contains("no program `no-such-program-anywhere` on the node's PATH"), "{error}");
    config.command = Some(vec!["/no/such/program".to_owned()]);
    let error = within(server(&config).connect()).await.expect_err("not there").to_string();
    assert!(error.contains("/no/such/program cannot be started"), "{error}");
    config.command = Some(vec!["/bin/sh".to_owned()]);
    std::fs::remove_file(&path).expect("removed");
    let error = within(server(&config).connect()).await.expect_err("no secret").to_string();
    assert!(error.starts_with("env TOKEN: the secret file"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_dies_in_a_call_ends_that_call_and_comes_back() {
    let known = Known::of(&config("well")).await;
    let error = known.call("die", json!({})).await.expect_err("it died");
    assert!(matches!(&error, CallError::Uncertain(why) if why.contains("exit status: 7")), "{error:?}");
    let lost = within(known.server.changed()).await;
    assert!(matches!(&lost, Changed::Lost(why) if why.contains("exit status: 7")), "{lost:?}");
    // Whatever is called until it is back fails, and does not wait.
    let error = known.call("echo", json!({})).await.expect_err("it is gone");
    assert!(matches!(&error, CallError::Failed(why) if why.contains("exit status: 7")), "{error:?}");
    within(known.server.connect()).await.expect("it comes back");
    assert_eq!(known.call("echo", json!({"text": "again"})).await.expect("a result")["text"], "again");
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_keeps_a_call_alive_but_not_for_ever() {
    let mut config = config("well");
    config.call_timeout = Duration::from_secs(1);
    config.call_timeout_max = Duration::from_secs(4);
    let known = Known::of(&config).await;
    let result = known.call("slow", json!({"steps": 8, "ms": 250})).await.expect("a result");
    assert_eq!(result["text"], "done at last");
    let error = known.call("slow", json!({"steps": 1_000, "ms": 250})).await.expect_err("too long");
    assert!(matches!(&error, CallError::TimedOut(why) if why.contains("call_timeout_max")), "{error:?}");
    let error = known.call("silent", json!({})).await.expect_err("no sign");
    assert!(matches!(&error, CallError::TimedOut(why) if why.contains("no sign of progress within 1 s")), "{error:?}");
    assert!(known.tool("slow").time_limit() > config.call_timeout_max);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_nobody_waits_for_is_cancelled_at_the_server() {
    let known = Known::of(&config("well")).await;
    assert!(tokio::time::timeout(Duration::from_millis(300), known.call("silent", json!({}))).await.is_err());
    within(async {
        loop {
            let seen = known.call("seen", json!({})).await.expect("a result");
            let notes = seen["structured"].as_array().expect("a list").clone();
            if let Some(note) = notes.iter().find(|note| note["method"] == "notifications/cancelled") {
                assert!(note["params"]["requestId"].is_number(), "{note}");
                break;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_changes_is_noticed() {
    let known = Known::of(&config("well")).await;
    known.call("change", json!({})).await.expect("a result");
    assert_eq!(within(known.server.changed()).await, Changed::Tools);
    let tools = within(known.server.tools()).await.expect("its tools");
    assert!(tools.iter().any(|tool| tool.info().name.as_str() == "mcp__fake__new_one"));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_ten_thousand_tools_a_node_takes_what_it_can_use() {
    let known = Known::of(&config("many")).await;
    assert_eq!(known.tools.len(), TOOLS_MAX + 1, "one more, so that it is told");
    let endless = connected(&config("endless")).await;
    assert_eq!(within(endless.tools()).await.expect("a list").len(), 0);
    let none = connected(&config("no list")).await;
    let error = within(none.tools()).await.err().expect("no list").to_string();
    assert!(error.contains("has no list of tools"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_tools_are_left_out_and_spoil_no_other() {
    let known = Known::of(&config("odd")).await;
    let toolbox = |tools| {
        let providers = sortie_tools::Providers::new(
            sortie_tools::BuiltIn::default(),
            vec![Arc::new(known.server.clone())],
            sortie_contract::Timestamp::UNIX_EPOCH,
        )
        .expect("providers");
        providers.offers(1, Offer::of("mcp__fake__", tools));
        let health = providers.health().pop().expect("the server's");
        (providers.toolbox().infos().iter().map(|info| info.name.to_string()).collect::<Vec<_>>(), health.left_out)
    };
    let (taken, left_out) = toolbox(known.tools.clone());
    assert_eq!(taken, ["mcp__fake__fine", "mcp__fake__odd_hints"]);
    assert_eq!(left_out.len(), 7, "{left_out:?}");
    let mut config = config("odd");
    let off = sortie_mcp::McpToolConfig { enabled: Some(false), ..Default::default() };
    config.tool.insert("fine".to_owned(), off);
    let (taken, _) = toolbox(Known::of(&config).await.tools);
    assert_eq!(taken, ["mcp__fake__Fine", "mcp__fake__odd_hints"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_noise_and_questions_without_end_harm_nobody() {
    for mood in ["garbage", "floods stderr", "asks"] {
        let known = Known::of(&config(mood)).await;
        for _ in 0..20 {
            let result = known.call("echo", json!({"text": mood})).await.expect(mood);
            assert_eq!(result["text"], mood);
        }
        within(known.server.health()).await.expect(mood);
        within(known.server.close()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_is_too_large_is_an_error_and_the_server_stays() {
    let known = Known::of(&config("well")).await;
    let large = known.call("giant", json!({"bytes": 7 << 20})).await.expect("a large result");
    assert_eq!(large["text"].as_str().map(str::len), Some(7 << 20));
    for bytes in [9 << 20, 20 << 20] {
        let error = known.call("giant", json!({"bytes": bytes})).await.expect_err("too large");
        assert!(matches!(&error, CallError::Failed(why) if why.contains("ask for less")), "{error:?}");
    }
    assert_eq!(known.call("echo", json!({"text": "still"})).await.expect("a result")["text"], "still");
}

/// With a secret in its environment, which lies in this folder.
fn with_token(mut config: ServerConfig, folder: &Path) -> ServerConfig {
    let path = folder.join("token");
    std::fs::write(&path, "tell-nobody-this").expect("written");
    let reference = format!("file://{}", path.display()).parse().expect("a reference");
    config.env.insert("TOKEN".to_owned(), Setting::Secret(reference));
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn its_environment_is_what_the_configuration_gives_and_secrets_are_not_repeated() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = with_token(config("well"), folder.path());
    let known = Known::of(&config).await;
    let env = known.call("env", json!({})).await.expect("a result");
    let mut lines: Vec<&str> = env["text"].as_str().expect("text").lines().collect();
    lines.sort_unstable();
    // The test harness adds what it says to its own tests.
    lines.retain(|line| !line.starts_with("RUST_TEST") && !line.starts_with("LLVM_"));
    assert_eq!(lines, ["FAKE_MCP=well", "TOKEN=***"]);
}

/// Half of a secret nobody recognises: what is cut is cut where there is none any more.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_server_says_is_veiled_before_it_is_cut() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("token");
    std::fs::write(&path, "tell-nobody-this").expect("written");
    let with_secret = |mood: &str| {
        let mut config = config(mood);
        let reference = format!("file://{}", path.display()).parse().expect("a reference");
        config.env.insert("TOKEN".to_owned(), Setting::Secret(reference));
        config
    };
    let known = Known::of(&with_secret("well")).await;
    let mut told = Vec::new();
    for tool in ["secret_error", "secret_refusal"] {
        told.push(known.call(tool, json!({})).await.expect_err("it fails").to_string());
    }
    told.push(within(server(&with_secret("refuses to begin")).connect()).await.expect_err("it fails").to_string());
    let lists = server(&with_secret("tells its secret"));
    within(lists.connect()).await.expect("reached");
    let listed = within(lists.tools()).await.map(|tools| tools.len());
    told.push(listed.expect_err("it fails").to_string());
    for told in told {
        assert!(told.contains("***") && !told.contains("tell") && told.len() < 5_000, "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_reached_is_told_without_types_of_this_program() {
    let url = Some("http://127.0.0.1:1/mcp".to_owned());
    let config = ServerConfig { url, allow_private: vec!["127.0.0.1".to_owned()], ..ServerConfig::default() };
    let error = within(server(&config).connect()).await.expect_err("nobody is there").to_string();
    assert!(error.contains("does not begin to speak MCP") && !error.contains("::"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_is_there_the_server_is_told_so() {
    let known = Known::of(&config("well")).await;
    known.call("elicit", json!({})).await.expect("a result");
    within(async {
        loop {
            let seen = known.call("seen", json!({})).await.expect("a result");
            let notes = seen["structured"].as_array().expect("a list").clone();
            if let Some(note) = notes.iter().find(|note| note["id"] == "e1") {
                assert_eq!(note["result"]["action"], "decline");
                break;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_it_started_goes_with_it() {
    for way in ["close", "drop", "connect"] {
        let known = Known::of(&config("well")).await;
        let child = known.call("child", json!({})).await.expect("a result")["text"].as_str().expect("a pid").to_owned();
        assert!(is_alive(&child));
        match way {
            "close" => within(known.server.close()).await,
            "connect" => within(known.server.connect()).await.expect("again"),
            _ => drop(known),
        }
        dead(&child).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_does_not_answer_is_not_well() {
    let known = Known::of(&config("does not answer pings")).await;
    assert!(tokio::time::timeout(Duration::from_millis(300), known.server.health()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_does_not_read_is_let_go_of() {
    let known = Known::of(&config("deaf")).await;
    let tool = known.tool("silent");
    let blob = json!({"text": "x".repeat(1 << 20)});
    let calls: Vec<_> = (0..4)
        .map(|_| {
            let (tool, context, blob) = (Arc::clone(&tool), known.context.clone(), blob.clone());
            tokio::spawn(async move { tool.call(&context, &blob).await })
        })
        .collect();
    let lost = within(known.server.changed()).await;
    assert!(matches!(&lost, Changed::Lost(why) if why.contains("did not read")), "{lost:?}");
    for call in calls {
        assert!(within(call).await.expect("no panic").is_err());
    }
}
