//! `Bash`: a command of a shell in the session's workspace, confined.
//!
//! Owned here: what a command may take and what is told of it. What confines it is `sortie-confine`'s, in a process of its own that the
//! node's binary is started as once more ([`Shell`]). A call is over when its main command is: whatever that left running, in the background
//! or in hiding, is killed with it, and so it is when the call is cancelled, takes too long or too much, or the node dies.
//!
//! A command can read all of the workspace and change all of it: whoever may call `Bash` needs no `Read` and no `Write`.

mod disk;
mod output;
mod probe;
mod run;
mod secrets;
mod settings;
mod wrote;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sortie_confine::{Layers, Limits, Policy, Stop, WORKSPACE};
use sortie_contract::limit;
use sortie_contract::tool::{CallError, ToolAnswer, ToolInfo};
use tokio::sync::Semaphore;

use crate::config::{ConfigError, ToolConfig};
use crate::tool::{CallContext, Nature, Tool, answer, arguments, info};
pub use probe::Confinement;
use run::End;
use settings::Settings;
pub use settings::{Confine, Network};

/// The shell.
const PROGRAM: &str = "/bin/bash";

/// Longest command, in bytes: Linux takes 128 KiB as one argument.
const COMMAND_BYTES_MAX: usize = 120_000;

/// How long a call waits for its turn where as many commands run as may.
const TURN: Duration = Duration::from_secs(10 * 60);

/// What surrounds a command: looking at the workspace before and after it, and starting it.
const AROUND: Duration = Duration::from_secs(5 * 60);

/// What shells make of a process that was killed.
const KILLED: i32 = 137;

/// The largest file that a command may write where nothing else bounds its workspace.
const FILE_BYTES: u64 = 1 << 30;

/// It can do anything to the workspace, and a second time something else.
const COMMANDS: Nature = Nature { effects: &["destructive_local_ops"], read_only: false, idempotent: false };

/// How a process that confines is started, and what no command may see.
#[derive(Debug, Clone)]
pub struct Shell {
    /// The program that calls [`sortie_confine::main`]; a node's is its own, `/proc/self/exe`.
    pub program: PathBuf,
    /// Its arguments before the role.
    pub arguments: Vec<String>,
    /// The node's data folder: no folder that commands are given may have anything to do with it.
    pub data_dir: PathBuf,
}

/// The tool.
pub(crate) struct Bash {
    info: ToolInfo,
    shell: Shell,
    settings: Settings,
    layers: Layers,
    turns: Arc<Semaphore>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// What `bash -c` runs, in the workspace.
    #[schemars(length(min = 1))]
    command: String,
    /// After so many milliseconds it is killed, with all that it started.
    #[schemars(range(min = 1))]
    timeout_ms: Option<u64>,
    /// What it is for, in a few words: for whoever approves it or reads of it.
    #[expect(dead_code, reason = "for people: it is on the record of the call")]
    description: Option<String>,
}

#[derive(Debug, Serialize)]
struct Answer {
    exit_code: i32,
    stdout: String,
    stderr: String,
    /// Something of the output is left out.
    truncated: bool,
    timed_out: bool,
    /// What it took too much of, where it was killed for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped: Option<String>,
}

impl Bash {
    /// The tool as it is configured, once it has shown here that a command is confined. `None` where it is not enabled.
    ///
    /// # Errors
    /// [`ConfigError`]: a setting that cannot be, or that would have no effect here; or what is missing to confine a command.
    pub(crate) async fn at_start(
        config: &ToolConfig,
        shell: Shell,
    ) -> Result<Option<(Self, Confinement)>, ConfigError> {
        // What is wrong is told also before somebody switches it on.
        let mut settings = Settings::of(config)?;
        if config.enabled != Some(true) {
            return Ok(None);
        }
        settings.fit(&shell)?;
        let found = probe::probe(&shell, &settings).await?;
        let minutes = settings.timeout_max.as_secs_f64() / 60.0;
        let description = format!(
            "Runs a command with bash in the workspace ({WORKSPACE}). It has no network, and sees nothing of the machine but programs and \
             libraries. `/tmp` is its own and is gone afterwards, as is everything that still runs when the command is over. At most \
             {minutes} minutes."
        );
        let info = info::<Arguments>("Bash", &description, &COMMANDS, config);
        let turns = Arc::new(Semaphore::new(settings.concurrency));
        let layers = found.layers;
        Ok(Some((Self { info, shell, settings, layers, turns }, found)))
    }

    fn policy(&self, command: String, env: Vec<(String, String)>, workspace: PathBuf, file_bytes: u64) -> Policy {
        Policy {
            command: vec![PROGRAM.to_owned(), "--noprofile".to_owned(), "--norc".to_owned(), "-c".to_owned(), command],
            env,
            workspace,
            read: self.settings.read.clone(),
            write: self.settings.write.clone(),
            limits: Limits { memory_bytes: self.settings.memory_bytes, processes: self.settings.processes, file_bytes },
            layers: self.layers,
        }
    }
}

#[async_trait]
impl Tool for Bash {
    fn info(&self) -> &ToolInfo {
        &self.info
    }

    fn time_limit(&self) -> Duration {
        // The command's own comes first, and leaves what it has printed.
        TURN + AROUND + self.settings.timeout_max
    }

    async fn call(&self, context: &CallContext, given: &Value) -> Result<ToolAnswer, CallError> {
        let Arguments { command, timeout_ms, description: _ } = arguments(given)?;
        let timeout = self.settings.timeout(timeout_ms)?;
        if command.len() > COMMAND_BYTES_MAX || command.contains('\0') {
            let quoted = limit::clip(&command.replace('\0', "\u{fffd}"), limit::QUOTE_BYTES_MAX);
            return Err(CallError::InvalidArguments(format!(
                "command: `{quoted}` is longer than {COMMAND_BYTES_MAX} bytes or has a NUL character; write it to a file and run that"
            )));
        }
        let turn = tokio::time::timeout(TURN, self.turns.acquire()).await;
        let _turn = turn.ok().and_then(Result::ok).ok_or_else(|| {
            let (most, minutes) = (self.settings.concurrency, TURN.as_secs() / 60);
            CallError::Failed(format!(
                "{most} commands run on this node, and none was over in {minutes} minutes; it was not run"
            ))
        })?;
        let (env, redactor) = secrets::environment(&self.settings, self.layers.namespaces, &context.workspace).await?;
        let before = wrote::before(&context.workspace).await?;
        let file_bytes = context.workspace.bytes_max().unwrap_or(FILE_BYTES);
        let policy = self.policy(command, env, context.workspace.folder().to_owned(), file_bytes);
        let ran =
            run::run(&self.shell, &policy, redactor, timeout, disk::overfull(&context.workspace, &before)).await?;
        let wrote = wrote::since(&context.workspace, before).await?;
        let (exit_code, stopped) = match &ran.end {
            End::Exited(code) => (*code, None),
            End::TimedOut => (KILLED, None),
            End::Output => (KILLED, Some(format!("it printed more than {} MiB", output::PRINTED_BYTES_MAX >> 20))),
            End::Disk(why) => (KILLED, Some(why.clone())),
            End::Stopped(Stop::Memory) => {
                let mib = self.settings.memory_bytes >> 20;
                (
                    KILLED,
                    Some(format!(
                        "it took more than {mib} MiB of memory (`[tool.Bash] memory_mib`), its /tmp included"
                    )),
                )
            }
            End::Stopped(Stop::Processes) => {
                let most = self.settings.processes;
                (KILLED, Some(format!("it had more than {most} processes and threads (`[tool.Bash] processes`)")))
            }
        };
        let timed_out = matches!(ran.end, End::TimedOut);
        let truncated = ran.stdout.is_truncated() || ran.stderr.is_truncated();
        let (stdout, stderr) = (ran.stdout.text(), ran.stderr.text());
        let answered = answer(&Answer { exit_code, stdout, stderr, truncated, timed_out, stopped })?;
        Ok(ToolAnswer { wrote, ..answered })
    }
}
