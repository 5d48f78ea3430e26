//! The init: the first process inside. It makes the place, gives up its rights, starts the command and waits for its end.
//!
//! Everything that it restricts it restricts for itself, and the command inherits it: there is no moment between a fork and an exec in
//! which anything has to be done. It owns the command's life and the watch over what it takes; it never does anything for the command.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Resource, Signal, WaitOptions, WaitStatus};

use super::{Trouble, landlock, rights, syscalls, tree, watch};
use crate::policy::{Layer, Policy, Report};
use crate::wire;

/// How often it is looked at what the command takes: what a command can take in between is a small part of what it may.
const WATCH_NS: i64 = 20_000_000;

/// Runs the command of the policy that comes from above.
pub(super) fn init(above: &UnixStream) -> Result<(), Trouble> {
    let setup = |doing| Trouble::at::<rustix::io::Errno>(Layer::Setup, doing);
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(setup("asking to die with the monitor"))?;
    let policy: Option<Policy> =
        wire::receive(above).map_err(Trouble::at(Layer::Setup, "reading the policy from the monitor"))?;
    let Some(policy) = policy else { return Ok(()) };
    // The monitor may have died before it was asked for; its end of the socket is closed then.
    if is_closed(above) {
        return Ok(());
    }
    rustix::process::setsid().map_err(setup("making a session"))?;
    let namespaces = policy.layers.namespaces;
    if namespaces {
        tree::build(&policy)?;
    } else {
        rights::become_subreaper();
        std::env::set_current_dir(&policy.workspace).map_err(Trouble::at(Layer::Setup, "going to the workspace"))?;
    }
    let nothing = fs::File::open("/dev/null").map_err(Trouble::at(Layer::Setup, "opening /dev/null"))?;
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    rights::limit(&policy.limits, namespaces)?;
    rights::give_up(namespaces)?;
    let landlock = if policy.layers.landlock { Some(landlock::restrict(&policy)?) } else { None };
    if policy.layers.seccomp {
        syscalls::refuse()?;
    }
    // What this process knows of the machine is not for the command to read. The command itself is a new program, and is not held by that.
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .map_err(setup("hiding the first process"))?;
    let child = start(&policy, nothing)?;
    let told = |report| wire::send(above, &report).map_err(Trouble::at(Layer::Setup, "telling the monitor"));
    told(Report::Began { landlock })?;
    told(wait(child, above, &policy)?)
    // Whoever is number one and ends takes all with it.
}

fn is_closed(socket: &UnixStream) -> bool {
    let mut end = [PollFd::new(socket, PollFlags::IN)];
    poll(&mut end, Some(&Timespec::default())).is_ok() && !end[0].revents().is_empty()
}

fn start(policy: &Policy, nothing: fs::File) -> Result<Pid, Trouble> {
    let no_command = || Trouble::new(Layer::Setup, "starting the command", "there is none");
    if policy.command.is_empty() {
        return Err(no_command());
    }
    // The command's own limit, and not this process's: an allocator may have set more aside for it than a command may have.
    let most = rustix::process::getrlimit(Resource::Data).maximum.unwrap_or(u64::MAX).min(policy.limits.memory_bytes);
    let child = Command::new("/bin/sh")
        .args(["-c", "ulimit -d \"$0\" && exec \"$@\"", &(most >> 10).to_string()])
        .args(&policy.command)
        .env_clear()
        .envs(policy.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::from(nothing))
        .spawn()
        .map_err(Trouble::at(Layer::Setup, "starting the command"))?;
    Pid::from_raw(child.id().cast_signed()).ok_or_else(no_command)
}

/// Buries whoever dies in there, until the command does, or takes too much.
fn wait(child: Pid, above: &UnixStream, policy: &Policy) -> Result<Report, Trouble> {
    let failed = |doing| Trouble::at::<rustix::io::Errno>(Layer::Setup, doing);
    let handle = rustix::process::pidfd_open(child, PidfdFlags::empty()).map_err(failed("watching the command"))?;
    loop {
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == child => return Ok(Report::Ended { code: code(status) }),
                Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
                Ok(None) | Err(_) => break,
            }
        }
        if policy.layers.namespaces
            && let Some(stop) = watch::look(&policy.limits)
        {
            return Ok(Report::Stopped(stop));
        }
        let mut ends = [PollFd::from_borrowed_fd(handle.as_fd(), PollFlags::IN), PollFd::new(above, PollFlags::IN)];
        let pause = Timespec { tv_sec: 0, tv_nsec: WATCH_NS };
        match poll(&mut ends, Some(&pause)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(failed("waiting for the command")(error)),
        }
        // The monitor kills this process anyway; where it is gone this is the only one who knows.
        if !ends[1].revents().is_empty() {
            return Ok(Report::Ended { code: 128 + Signal::KILL.as_raw() });
        }
    }
}

/// What shells make of an end.
fn code(status: WaitStatus) -> i32 {
    status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal)).unwrap_or(-1)
}
