//! The protocol's reference servers, which nobody here wrote: npm's speak the era of the handshake, PyPI's the later one. All six together
//! are the test of the negotiation.
//!
//! `cargo xtask test` installs them and says where (`SORTIE_MCP_SERVERS`); without that there is nothing to test against, and it is said.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use sortie_contract::tool::CallError;
use sortie_mcp::{McpServer, ServerConfig, Setting};
use sortie_tools::{Bill, CallContext, Nobody, Provider as _, Tool, Workspace};

/// Python takes its time on a machine that does something else.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is looked at of one server.
struct Case {
    /// Under the folder of the servers.
    program: &'static str,
    arguments: Vec<String>,
    protocol: &'static str,
    /// How many tools it has at least.
    tools: usize,
    /// A tool, its arguments, and what its text must hold.
    call: (&'static str, Value, &'static str),
    /// Tools that must be, and must not be, taken for ones that read.
    reads: &'static [&'static str],
    acts: &'static [&'static str],
}

fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("SORTIE_MCP_SERVERS").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("skipped: SORTIE_MCP_SERVERS is not set; `cargo xtask test` installs the servers and sets it");
    }
    folder
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("in time")
}

async fn check(case: Case) {
    let Some(folder) = folder() else { return };
    let program = folder.join(case.program);
    assert!(program.exists(), "{} is not installed", program.display());
    let mut command = vec![program.display().to_string()];
    command.extend(case.arguments);
    // Scripts of npm and git are looked for on a path.
    let path = std::env::var("PATH").expect("a path");
    let env =
        [("PATH".to_owned(), Setting::Plain(path)), ("HOME".to_owned(), Setting::Plain("/nonexistent".to_owned()))];
    let config = ServerConfig { command: Some(command), env: env.into(), ..ServerConfig::default() };
    let server = McpServer::new("ref", &config, None).expect("a server");
    within(server.connect()).await.expect("it connects");
    let seen = server.seen();
    assert_eq!(seen.protocol.as_deref(), Some(case.protocol), "{}", case.program);
    let tools = within(server.tools()).await.expect("its tools");
    let names: Vec<&str> = tools.iter().map(|tool| tool.info().name.as_str()).collect();
    assert!(tools.len() >= case.tools, "{names:?}");
    let tool = |name: &str| -> Arc<dyn Tool> {
        let name = format!("mcp__ref__{name}");
        let found = tools.iter().find(|tool| tool.info().name.as_str() == name);
        Arc::clone(found.unwrap_or_else(|| panic!("{name}: there are {names:?}")))
    };
    for name in case.reads {
        assert!(tool(name).info().read_only, "{name}");
    }
    for name in case.acts {
        assert!(!tool(name).info().read_only, "{name}");
    }
    let workspace = Workspace::open(std::path::Path::new("/nonexistent/workspace")).expect("opened when it is used");
    let (mission_id, idempotency_key) = ("m".to_owned(), "m/1".to_owned());
    let context = CallContext {
        workspace,
        mission_id,
        idempotency_key,
        run: sortie_contract::id::RunNo(1),
        trace_id: String::new(),
        bill: Bill::default(),
        ask: Arc::new(Nobody),
    };
    let (name, arguments, expected) = case.call;
    let told = match within(tool(name).call(&context, &arguments)).await {
        Ok(answer) => answer.result,
        Err(CallError::Failed(why)) => why,
        Err(error) => panic!("{name}: {error:?}"),
    };
    assert!(told.contains(expected), "{name}: {told}");
    within(server.health()).await.expect("it is well");
    within(server.close()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything() {
    check(Case {
        program: "node_modules/.bin/mcp-server-everything",
        arguments: Vec::new(),
        protocol: "2025-11-25",
        tools: 5,
        call: ("echo", json!({"message": "hello"}), "hello"),
        reads: &[],
        acts: &[],
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn filesystem() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("a.txt"), "what is in it").expect("written");
    let path = folder.path().join("a.txt").display().to_string();
    check(Case {
        program: "node_modules/.bin/mcp-server-filesystem",
        arguments: vec![folder.path().display().to_string()],
        protocol: "2025-11-25",
        tools: 10,
        call: ("read_text_file", json!({"path": path}), "what is in it"),
        reads: &["read_text_file", "list_directory"],
        acts: &["write_file", "edit_file", "move_file"],
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory() {
    check(Case {
        program: "node_modules/.bin/mcp-server-memory",
        arguments: Vec::new(),
        protocol: "2025-11-25",
        tools: 5,
        call: ("read_graph", json!({}), "entities"),
        reads: &[],
        acts: &["create_entities"],
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn time() {
    check(Case {
        program: "venv/bin/mcp-server-time",
        arguments: vec!["--local-timezone".to_owned(), "UTC".to_owned()],
        protocol: "2026-07-28",
        tools: 2,
        call: ("get_current_time", json!({"timezone": "Europe/Berlin"}), "Europe/Berlin"),
        reads: &[],
        acts: &[],
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn git() {
    let folder = tempfile::tempdir().expect("a folder");
    let made = std::process::Command::new("git").args(["init", "--quiet"]).arg(folder.path()).status().expect("git");
    assert!(made.success());
    let path = folder.path().display().to_string();
    check(Case {
        program: "venv/bin/mcp-server-git",
        arguments: vec!["--repository".to_owned(), path.clone()],
        protocol: "2026-07-28",
        tools: 8,
        call: ("git_status", json!({"repo_path": path}), "No commits yet"),
        reads: &["git_status"],
        acts: &["git_commit", "git_reset"],
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fetch() {
    // Nothing listens there: it says so, and that is an answer.
    check(Case {
        program: "venv/bin/mcp-server-fetch",
        arguments: vec!["--ignore-robots-txt".to_owned()],
        protocol: "2026-07-28",
        tools: 1,
        call: ("fetch", json!({"url": "http://127.0.0.1:9/"}), "127.0.0.1:9"),
        reads: &[],
        acts: &[],
    })
    .await;
}
