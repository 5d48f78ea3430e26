//! The monitor: outside of what it guards, and there for as long as somebody wants the command.
//!
//! It owns the init's life: whichever way the socket above closes, the init is killed, and with it (it is number one of a PID namespace)
//! all that is in there. It never runs anything of the command's.

use std::fs;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, WaitOptions};
use rustix::thread::{CapabilitySet, UnshareFlags};

use super::Trouble;
use crate::policy::{Layer, Policy, Report};
use crate::{Role, wire};

/// How ready the kernel's killer of processes is to take what is confined before it takes the node: the middle of its scale.
const OOM_SCORE_ADJ: &str = "500";

/// Guards one command from its policy to its end.
pub(super) fn monitor(above: &UnixStream) -> Result<(), Trouble> {
    // Whatever else was open in whoever started whoever started this.
    close_fds::set_fds_cloexec(3, &[]);
    let policy: Option<Policy> = wire::receive(above).map_err(Trouble::at(Layer::Setup, "reading the policy"))?;
    let Some(policy) = policy else { return Ok(()) };
    // More is always allowed; where it is not, the command is as likely to be taken as the node.
    let _ = fs::write("/proc/self/oom_score_adj", OOM_SCORE_ADJ);
    if policy.layers.namespaces {
        enter_namespaces()?;
    } else {
        // What loses its parent in there becomes a child of this process, and can be found.
        let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    }
    let (below, theirs) = UnixStream::pair().map_err(Trouble::at(Layer::Setup, "making a socket"))?;
    let mut init = start_init(theirs)?;
    let last = wire::send(&below, &policy).ok().and_then(|()| relay(above, &below));
    kill(&mut init, policy.layers.namespaces);
    // Only now is it true.
    if let Some(last) = last {
        let _ = wire::send(above, &last);
    }
    Ok(())
}

/// Tells above what is told below, until there is a last word, which is returned, or somebody is gone.
fn relay(above: &UnixStream, below: &UnixStream) -> Option<Report> {
    loop {
        let mut ends = [PollFd::new(above, PollFlags::IN), PollFd::new(below, PollFlags::IN)];
        match poll(&mut ends, None) {
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return None,
            Ok(_) => {}
        }
        // Nothing more is ever said from above: what comes is the end.
        if !ends[0].revents().is_empty() {
            return None;
        }
        match wire::receive(below) {
            Ok(Some(began @ Report::Began { .. })) => wire::send(above, &began).ok()?,
            Ok(Some(last)) => return Some(last),
            Ok(None) | Err(_) => return None,
        }
    }
}

/// Namespaces of processes, network, mail boxes and names for what is started from here; where this is no root, within a namespace of
/// users that gives the rights to make them.
fn enter_namespaces() -> Result<(), Trouble> {
    let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
    let mut flags = UnshareFlags::NEWPID
        | UnshareFlags::NEWNET
        | UnshareFlags::NEWIPC
        | UnshareFlags::NEWUTS
        | UnshareFlags::NEWCGROUP;
    if user.is_root() {
        return unshare(flags).map_err(Trouble::at(
            Layer::Namespaces,
            "unshare as root (a container without CAP_SYS_ADMIN? run the node as an ordinary user, or give the container that right)",
        ));
    }
    flags |= UnshareFlags::NEWUSER;
    unshare(flags).map_err(Trouble::at(
        Layer::Namespaces,
        "unshare (are user namespaces allowed? see `sysctl user.max_user_namespaces kernel.unprivileged_userns_clone`, and whether a \
         container forbids them)",
    ))?;
    let map =
        |file: &str, text: &str| fs::write(file, text).map_err(|error| Trouble::new(Layer::Namespaces, file, error));
    map("/proc/self/setgroups", "deny")?;
    map("/proc/self/uid_map", &format!("{0} {0} 1", user.as_raw()))?;
    map("/proc/self/gid_map", &format!("{0} {0} 1", group.as_raw()))?;
    keep_over_exec(CapabilitySet::SYS_ADMIN | CapabilitySet::SETPCAP)
}

/// Within its own user namespace only: the init needs them to build its file tree, and gives them up before anything of the command's runs.
fn keep_over_exec(wanted: CapabilitySet) -> Result<(), Trouble> {
    let failed = || {
        Trouble::at::<rustix::io::Errno>(
            Layer::Namespaces,
            "the rights of a user namespace (does AppArmor take them? see `sysctl kernel.apparmor_restrict_unprivileged_userns`)",
        )
    };
    let mut sets = rustix::thread::capabilities(None).map_err(failed())?;
    sets.inheritable = wanted;
    rustix::thread::set_capabilities(None, sets).map_err(failed())?;
    wanted.iter().try_for_each(|one| rustix::thread::configure_capability_in_ambient_set(one, true)).map_err(failed())
}

/// Of this process, which has one thread and shares no table of files with another.
#[expect(deprecated, reason = "unsound only with `FILES`, which nobody passes")]
pub(super) fn unshare(flags: UnshareFlags) -> rustix::io::Result<()> {
    debug_assert!(!flags.contains(UnshareFlags::FILES));
    rustix::thread::unshare(flags)
}

fn start_init(socket: UnixStream) -> Result<Child, Trouble> {
    let mut arguments: Vec<_> = std::env::args_os().skip(1).collect();
    arguments.pop();
    Command::new("/proc/self/exe")
        .args(arguments)
        .arg(Role::Init.as_str())
        .env_clear()
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(socket)))
        .spawn()
        .map_err(Trouble::at(Layer::Setup, "starting the first process inside"))
}

/// Kills the init and waits until it is gone; the kernel lets it go when all that is in its namespace is. Without one, whatever is found
/// is killed, again and again, until nothing is found.
fn kill(init: &mut Child, has_namespace: bool) {
    let _ = init.kill();
    let _ = init.wait();
    if has_namespace {
        return;
    }
    let me = rustix::process::getpid();
    let children = format!("/proc/self/task/{}/children", me.as_raw_nonzero());
    loop {
        let listed = fs::read_to_string(&children).unwrap_or_default();
        let mut some = false;
        for child in listed.split_ascii_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)) {
            some = true;
            let _ = rustix::process::kill_process(child, Signal::KILL);
        }
        // Each that is gone hands its children on to this process.
        let reaped = rustix::process::wait(if some { WaitOptions::empty() } else { WaitOptions::NOHANG });
        if !some && !matches!(reaped, Ok(Some(_))) {
            return;
        }
    }
}
