//! The protocol's own conformance suite, its scenarios for clients: it starts this test binary once more as the client under test, with the
//! address of its server as the last argument.
//!
//! `cargo xtask test` installs the suite and says where (`SORTIE_MCP_SERVERS`); without that there is nothing to test against, and it is said.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use sortie_mcp::{McpServer, ServerConfig};
use sortie_tools::{Ask, Bill, CallContext, Provider as _, Question, Reply, Waits, Workspace};

use suite::{folder, suite, told};

mod suite;

/// What a scenario wants its calls to be made with.
type Arguments = fn() -> Value;

/// The scenarios that this client is to pass, with the arguments of every call that is made in it.
const PASSES: [(&str, Arguments); 4] = [
    ("initialize", || json!({})),
    ("tools_call", || json!({"a": 5, "b": 3})),
    ("sse-retry", || json!({})),
    ("elicitation-sep1034-client-defaults", || json!({})),
];

/// Those that it is not, and why. A name that ends with `/` is every scenario below.
const NOT_HERE: [(&str, &str); 1] = [(
    "auth/",
    "no OAuth: an operator configures the credentials (`bearer`, `headers`), and nobody is there to log in",
)];

/// The variable that makes a test of this file the client under test. The suite sets it, too.
const SCENARIO: &str = "MCP_CONFORMANCE_SCENARIO";

/// Long enough for the client's own stream of a new session to be open.
const OPENS: Duration = Duration::from_secs(1);

/// Somebody who fills in nothing: what counts is what the form says of what is left out.
#[derive(Debug)]
struct Agrees;

#[async_trait::async_trait]
impl Ask for Agrees {
    async fn ask(&self, question: Question) -> Reply {
        question.form.filled("{}").map_or(Reply::Declined, Reply::Accepted)
    }

    fn waits(&self) -> tokio::sync::watch::Receiver<usize> {
        Waits::default().watched()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn is_the_client() {
    let Ok(scenario) = std::env::var(SCENARIO) else { return };
    let url = std::env::args().next_back().expect("the address of the server");
    let arguments = PASSES.iter().find(|(name, _)| *name == scenario).expect("a scenario of ours").1();
    let allow_private = vec!["127.0.0.1".to_owned(), "::1".to_owned()];
    let config = ServerConfig { url: Some(url), allow_private, ..ServerConfig::default() };
    let server = McpServer::new("suite", &config, None).expect("a server");
    server.connect().await.expect("it connects");
    // The suite takes whichever GET comes after a call for that call's resumption, so the stream of a new session has to be there before.
    tokio::time::sleep(OPENS).await;
    let workspace = Workspace::open(Path::new("/nonexistent/workspace")).expect("opened when it is used");
    let (mission_id, idempotency_key) = ("m".to_owned(), "m/1".to_owned());
    let context = CallContext {
        workspace,
        mission_id,
        idempotency_key,
        run: sortie_contract::id::RunNo(1),
        trace_id: String::new(),
        bill: Bill::default(),
        ask: Arc::new(Agrees),
    };
    for tool in server.tools().await.expect("its tools") {
        tool.call(&context, &arguments).await.expect("a result");
    }
    server.close().await;
}

/// The suite for clients.
const SUITE: &str = "@modelcontextprotocol/conformance";

#[test]
fn the_scenarios_for_clients_pass() {
    if std::env::var_os(SCENARIO).is_some() {
        return;
    }
    let Some(folder) = folder() else { return };
    let test = std::env::current_exe().expect("this binary");
    for (scenario, _) in PASSES {
        let results = tempfile::tempdir().expect("a folder");
        let client = format!("{} --exact is_the_client --nocapture", test.display());
        let output = suite(&folder, SUITE)
            .args(["client", "--scenario", scenario, "--command", &client])
            .current_dir(results.path())
            .output()
            .expect("the suite");
        assert!(output.status.success(), "{scenario}: {}", told(&output));
    }
}

#[test]
fn every_scenario_for_clients_is_passed_or_has_a_reason() {
    if std::env::var_os(SCENARIO).is_some() {
        return;
    }
    let Some(folder) = folder() else { return };
    let output = suite(&folder, SUITE).args(["list", "--client"]).output().expect("the suite");
    let listed = told(&output);
    let names: Vec<&str> =
        listed.lines().filter_map(|line| line.trim().strip_prefix("- ")?.split(' ').next()).collect();
    assert!(names.len() >= 20, "{listed}");
    for name in names {
        let passes = PASSES.iter().any(|(ours, _)| *ours == name);
        let not_here = NOT_HERE.iter().any(|(ours, _)| *ours == name || ours.ends_with('/') && name.starts_with(ours));
        assert!(passes != not_here, "{name}: does it pass, and if not, why?");
    }
}
