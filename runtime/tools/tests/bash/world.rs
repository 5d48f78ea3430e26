//! A node's folders without a node: a data folder with a token, a journal and somebody else's workspace, and one to run commands in.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use sortie_contract::Timestamp;
use sortie_contract::tool::{CallError, ToolAnswer};
use sortie_tools::{
    Bill, BuiltIn, CallContext, Confinement, Nobody, NodeRoom, Providers, SecretsConfig, Shell, Toolbox, ToolsConfig,
    Workspace, WorkspaceBounds,
};
use tokio::time::sleep;

/// What must be nowhere where a command could have put it.
pub(crate) const TOKEN: &str = "the-token-of-the-node";

pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) toolbox: Arc<Toolbox>,
    pub(crate) confinement: Confinement,
    pub(crate) workspace: Workspace,
}

/// What a command came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i64,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) answer: Value,
    pub(crate) wrote: Vec<String>,
}

#[derive(Debug)]
struct Endless;

impl NodeRoom for Endless {
    fn take(&self, _: u64) -> Result<(), String> {
        Ok(())
    }

    fn give(&self, _: u64) {}
}

pub(crate) fn shell(data_dir: &Path) -> Shell {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_sortie-confined"));
    Shell { program, arguments: Vec::new(), data_dir: data_dir.to_owned() }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(json!({})).await
    }

    /// With more keys of `[tool.Bash]`.
    pub(crate) async fn with(keys: Value) -> Self {
        Self::bounded(keys, WorkspaceBounds { bytes_max: 64 << 20, files_max: 2_000 }).await
    }

    pub(crate) async fn bounded(keys: Value, bounds: WorkspaceBounds) -> Self {
        Self::confined_by(&PathBuf::from(env!("CARGO_BIN_EXE_sortie-confined")), keys, bounds).await.unwrap()
    }

    /// With that program in place of a node's binary.
    pub(crate) async fn confined_by(program: &Path, mut keys: Value, bounds: WorkspaceBounds) -> Result<Self, String> {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        for folder in ["workspaces/mine", "workspaces/other", "artifacts"] {
            fs::create_dir_all(data.join(folder)).unwrap();
        }
        for file in ["token", "journal.redb", "workspaces/other/secret.txt", "artifacts/report"] {
            fs::write(data.join(file), TOKEN).unwrap();
        }
        keys["enabled"] = json!(true);
        let config: ToolsConfig = serde_json::from_value(json!({"Bash": keys})).unwrap();
        let shell = Shell { program: program.to_owned(), ..shell(&data) };
        let (built_in, confinement) =
            BuiltIn::with_shell(config, &SecretsConfig::default(), shell).await.map_err(|error| error.to_string())?;
        let toolbox = Providers::new(built_in, Vec::new(), Timestamp::UNIX_EPOCH).unwrap().toolbox();
        let workspace = Workspace::bounded(&data.join("workspaces/mine"), bounds, Arc::new(Endless)).unwrap();
        Ok(Self { dir, toolbox, confinement: confinement.unwrap(), workspace })
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The workspace, from outside.
    pub(crate) fn mine(&self) -> PathBuf {
        self.data().join("workspaces/mine")
    }

    pub(crate) fn file(&self, name: &str) -> String {
        fs::read_to_string(self.mine().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub(crate) async fn call(&self, arguments: &Value) -> Result<ToolAnswer, CallError> {
        let context = CallContext {
            workspace: self.workspace.clone(),
            mission_id: "m".to_owned(),
            idempotency_key: "m/1".to_owned(),
            run: sortie_contract::id::RunNo(1),
            trace_id: String::new(),
            bill: Bill::default(),
            ask: Arc::new(Nobody),
        };
        self.toolbox.call("Bash", &context, &arguments.to_string(), None, sleep).await
    }

    pub(crate) async fn run(&self, command: &str) -> Ran {
        self.run_for(command, 60_000).await
    }

    pub(crate) async fn run_for(&self, command: &str, timeout_ms: u64) -> Ran {
        let ToolAnswer { result, wrote } = self
            .call(&json!({"command": command, "timeout_ms": timeout_ms}))
            .await
            .unwrap_or_else(|error| panic!("{command}: {error}"));
        let answer: Value = serde_json::from_str(&result).unwrap();
        let text = |key: &str| answer[key].as_str().unwrap().to_owned();
        Ran {
            code: answer["exit_code"].as_i64().unwrap(),
            stdout: text("stdout"),
            stderr: text("stderr"),
            wrote: wrote.into_iter().map(|written| written.path).collect(),
            answer,
        }
    }
}
