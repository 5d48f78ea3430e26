//! A server that is a program: started, spoken to over its pipes, and gone with everything that it started.
//!
//! It is the first of a process group of its own, and the group is killed whichever way the connection ends. Where the node gives a
//! [`Keeper`], that is the first, and sees to it even when the node is killed. Its environment is what the configuration gives it and
//! nothing else. What it writes to standard error goes to the log, a little of it, without the secrets that it was given.
//!
//! Never here: when it is started again, which its driver decides.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rmcp::service::{RoleClient, RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use rmcp::transport::async_rw::AsyncRwTransport;
use rustix::process::{Pid, Signal, kill_process_group};
use sortie_egress::Redactor;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio_util::sync::CancellationToken;

use crate::MESSAGE_BYTES_MAX;
use crate::config::{ServerConfig, Setting};
use crate::connection::End;
use crate::lines::{Heard, Told};
use crate::stderr;

/// How long it may take to read what it is sent. One that does not is stuck, and what it is sent waits in memory.
const WRITE_LIMIT: Duration = Duration::from_secs(20);

/// How long it may take to end once its input has, before it is killed: half of what the node has for letting go.
const GRACE: Duration = Duration::from_secs(1);

/// How long its end is waited for once its output has ended, to tell how it did.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// What stands between the node and a program, so that the program does not outlive the node: this program with these arguments, the
/// node's process id, and what is to be run. See [`keep`](fn@crate::keep).
#[derive(Debug, Clone)]
pub struct Keeper {
    /// The program.
    pub program: PathBuf,
    /// Its first arguments.
    pub arguments: Vec<OsString>,
}

/// How such a server is started.
#[derive(Debug)]
pub(crate) struct Program {
    command: Vec<String>,
    cwd: Option<PathBuf>,
    env: Vec<(String, Setting)>,
    keeper: Option<Keeper>,
}

impl Program {
    pub(crate) fn of(command: &[String], config: &ServerConfig, keeper: Option<Keeper>) -> Self {
        let env = config.env.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        Self { command: command.to_vec(), cwd: config.cwd.clone(), env, keeper }
    }

    /// Starts it. With what takes the secrets that it was given out of what it says.
    pub(crate) async fn start(&self, server: &Arc<str>, end: &Arc<End>) -> Result<(Pipes, Arc<Redactor>), String> {
        let [program, arguments @ ..] = self.command.as_slice() else { return Err("no program is named".to_owned()) };
        let program = found(program, self.cwd.as_deref())?;
        let mut command = match &self.keeper {
            None => Command::new(&program),
            Some(keeper) => {
                let mut command = Command::new(&keeper.program);
                command.args(&keeper.arguments).arg(std::process::id().to_string()).arg(&program);
                command
            }
        };
        command.args(arguments).env_clear();
        let mut secrets = Vec::new();
        for (key, setting) in &self.env {
            let value = setting
                .value()
                .await
                .map_err(|error| format!("env {key}: {}", crate::causes(&error, &Redactor::default())))?;
            command.env(key, value.expose());
            if setting.is_secret() {
                secrets.push(value);
            }
        }
        if let Some(cwd) = &self.cwd {
            command.current_dir(cwd);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| {
            let place = self.cwd.as_ref().map(|cwd| format!(" in {}", cwd.display())).unwrap_or_default();
            format!("{} cannot be started{place}: {error}", program.display())
        })?;
        let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err("a program without pipes".to_owned());
        };
        let group = Group { pid: child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)), child };
        let veil = crate::veil(&secrets);
        stderr::follow(stderr, Arc::clone(server), Arc::clone(end), Arc::clone(&veil));
        let (stdout, stdin) = (Heard::new(stdout, Arc::clone(end)), Told::new(stdin));
        let pipes = Pipes {
            inner: AsyncRwTransport::new(stdout, stdin).with_max_line_length(MESSAGE_BYTES_MAX),
            group,
            stuck: CancellationToken::new(),
            end: Arc::clone(end),
        };
        Ok((pipes, veil))
    }
}

/// Where a program is: as it stands there, or on the node's own path, for its environment has none.
fn found(program: &str, cwd: Option<&Path>) -> Result<PathBuf, String> {
    if program.contains('/') {
        // Other systems look for it where the node works, some where it is to work.
        let place = cwd.filter(|_| !program.starts_with('/')).map_or_else(|| program.into(), |cwd| cwd.join(program));
        // Told here: a keeper would be started, and end.
        return if is_program(&place) {
            Ok(place)
        } else {
            Err(format!("{} cannot be started: it is not there, or no program", place.display()))
        };
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).map(|folder| folder.join(program));
    places.find(|place| is_program(place)).ok_or_else(|| {
        format!("there is no program `{program}` on the node's PATH; install it, or name it with its whole path")
    })
}

fn is_program(place: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(place).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// A process group; it is gone when this is dropped.
struct Group {
    child: Child,
    pid: Option<Pid>,
}

impl Group {
    /// How its first process has ended, if it ends soon.
    async fn ended(&mut self, within: Duration) -> Option<ExitStatus> {
        tokio::time::timeout(within, self.child.wait()).await.ok()?.ok()
    }

    fn kill(&self) {
        if let Some(pid) = self.pid {
            // There may be nobody left.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What is said and heard over its pipes.
pub(crate) struct Pipes {
    inner: AsyncRwTransport<RoleClient, Heard<ChildStdout>, Told<ChildStdin>>,
    group: Group,
    stuck: CancellationToken,
    end: Arc<End>,
}

impl Transport<RoleClient> for Pipes {
    type Error = io::Error;

    fn send(
        &mut self,
        message: TxJsonRpcMessage<RoleClient>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        let sending = self.inner.send(message);
        let (stuck, end) = (self.stuck.clone(), Arc::clone(&self.end));
        async move {
            tokio::select! {
                biased;
                sent = sending => sent,
                () = stuck.cancelled() => Err(io::ErrorKind::BrokenPipe.into()),
                () = tokio::time::sleep(WRITE_LIMIT) => {
                    end.because(format!("it did not read what it was sent for {} s", WRITE_LIMIT.as_secs()));
                    stuck.cancel();
                    Err(io::ErrorKind::TimedOut.into())
                }
            }
        }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleClient>> {
        let message = tokio::select! {
            biased;
            () = self.stuck.cancelled() => None,
            message = self.inner.receive() => message,
        };
        if message.is_none() {
            let how = match self.group.ended(LAST_WORDS).await {
                Some(status) => format!("the program ended: {status}"),
                None => "the program closed its output".to_owned(),
            };
            // What it wrote is read by another task. Whoever it has started may keep that open.
            let _ = tokio::time::timeout(LAST_WORDS, self.end.quiet.cancelled()).await;
            self.end.because(self.end.with_last_words(how));
        }
        message
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        let closed = self.inner.close().await;
        if self.group.ended(GRACE).await.is_none() {
            tracing::debug!("a tool server that was told to end is killed");
        }
        self.group.kill();
        closed
    }
}
