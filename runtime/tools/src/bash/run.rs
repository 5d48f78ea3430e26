//! One confined command from outside: started, listened to, and ended.
//!
//! Whatever happens to the future of [`run`], the command does not outlive it: dropping it closes the socket to the monitor, which is how
//! that learns that nobody wants the command any more.

use std::io;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use sortie_confine::{FRAME_BYTES_MAX, Policy, Report, Role, Stop, frame};
use sortie_contract::tool::CallError;
use sortie_egress::Redactor;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

use super::Shell;
use super::output::Printed;

/// How long the monitor has to kill and bury what is inside, before it is killed itself.
const BURIAL: Duration = Duration::from_secs(10);

/// How long what was printed last is waited for once everything is dead. Where something could not be killed it may hold the pipe for
/// ever.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How a command ended.
#[derive(Debug)]
pub(super) enum End {
    /// By itself.
    Exited(i32),
    TimedOut,
    /// It printed too much.
    Output,
    /// It wrote too much; which bound that is.
    Disk(String),
    Stopped(Stop),
}

/// A command that is over.
pub(super) struct Ran {
    pub(super) end: End,
    pub(super) stdout: Printed,
    pub(super) stderr: Printed,
}

/// A command that is confined, or about to be.
pub(super) struct Confined {
    monitor: Child,
    socket: UnixStream,
    stdout: ChildStdout,
    stderr: ChildStderr,
}

impl Confined {
    pub(super) async fn start(shell: &Shell, policy: &Policy) -> io::Result<Self> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let mut socket = UnixStream::from_std(ours)?;
        let mut monitor = Command::new(&shell.program)
            .args(&shell.arguments)
            .arg(Role::Monitor.as_str())
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // What a terminal sends to the node is for the node.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let (Some(stdout), Some(stderr)) = (monitor.stdout.take(), monitor.stderr.take()) else {
            return Err(io::Error::other("there are no pipes"));
        };
        socket.write_all(&frame(policy)?).await?;
        Ok(Self { monitor, socket, stdout, stderr })
    }

    /// What the monitor says first. Whoever asks wants no more, and lets the command go.
    pub(super) async fn first_report(&mut self) -> io::Result<Report> {
        report(&mut self.socket).await
    }
}

/// The next thing that the monitor says.
async fn report(socket: &mut (impl AsyncRead + Unpin)) -> io::Result<Report> {
    let length = socket.read_u32_le().await? as usize;
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::other("a message is too long"));
    }
    let mut text = vec![0; length];
    socket.read_exact(&mut text).await?;
    Ok(serde_json::from_slice(&text)?)
}

/// Runs a command to its end, for so long and no longer, or until `overfull` comes back.
pub(super) async fn run(
    shell: &Shell,
    policy: &Policy,
    redactor: Redactor,
    timeout: Duration,
    overfull: impl Future<Output = String>,
) -> Result<Ran, CallError> {
    let not_run = |why: &dyn std::fmt::Display| CallError::Failed(format!("the command was not run: {why}"));
    let started = Confined::start(shell, policy).await.map_err(|error| not_run(&error))?;
    let Confined { mut monitor, socket, stdout: from_stdout, stderr: from_stderr } = started;
    // Nothing is said to the monitor any more; that this half closes is what it waits for.
    let (mut reports, line) = socket.into_split();
    let redactor = Arc::new(redactor);
    let (mut stdout, mut stderr) = (Printed::new(Arc::clone(&redactor)), Printed::new(redactor));
    let end = {
        let printed = async {
            let (one, other) = (stdout.read(from_stdout), stderr.read(from_stderr));
            tokio::pin!(one, other);
            let (mut first, mut second) = (None, None);
            while first.is_none() || second.is_none() {
                let all = tokio::select! {
                    all = &mut one, if first.is_none() => *first.insert(all),
                    all = &mut other, if second.is_none() => *second.insert(all),
                };
                if !all {
                    return false;
                }
            }
            true
        };
        let last = async {
            loop {
                match report(&mut reports).await {
                    Ok(Report::Began { .. }) => {}
                    last => return last,
                }
            }
        };
        tokio::pin!(printed, last, overfull);
        let mut is_printed = false;
        let deadline = tokio::time::sleep(timeout);
        tokio::pin!(deadline);
        let end = loop {
            tokio::select! {
                last = &mut last => break match last {
                    Ok(Report::Ended { code }) => Ok(End::Exited(code)),
                    Ok(Report::Stopped(stop)) => Ok(End::Stopped(stop)),
                    Ok(Report::Failed { layer, why }) => Err(not_run(&format_args!("{layer}: {why}"))),
                    Ok(Report::Began { .. }) | Err(_) => Err(CallError::Failed(
                        "what confines the command broke off, and the command with it (was it killed from outside?); what it had \
                         done is done"
                            .to_owned(),
                    )),
                },
                all = &mut printed, if !is_printed => {
                    if !all {
                        break Ok(End::Output);
                    }
                    is_printed = true;
                },
                () = &mut deadline => break Ok(End::TimedOut),
                why = &mut overfull => break Ok(End::Disk(why)),
            }
        };
        drop(line);
        if tokio::time::timeout(BURIAL, monitor.wait()).await.is_err() {
            let _ = monitor.start_kill();
        }
        if !is_printed && !matches!(end, Ok(End::Output)) {
            let _ = tokio::time::timeout(LAST_WORDS, printed).await;
        }
        end?
    };
    Ok(Ran { end, stdout, stderr })
}
