//! What stands between the node and a program, in a process of its own, so that the program does not outlive a node that is killed.
//!
//! A pipe that ends tells a program that the node is gone, if it reads; a program that hangs, or the helpers that it started, would stay.
//! The keeper is the first of their process group, starts the program in it, and looks whether the node is still its parent. Where it is
//! not, the whole group is killed, the keeper with it. Who leaves the group on purpose is not held here.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitCode};
use std::time::Duration;

use rustix::process::{Pid, Signal, getpgrp, getpid, getppid, kill_process_group};

/// How often it looks: so much longer than the node a program lives at most.
const LOOK: Duration = Duration::from_millis(200);

/// Keeps a program: `arguments` are the node's process id, the program, and its arguments. Ends as the program does.
#[must_use]
pub fn keep(arguments: &[OsString]) -> ExitCode {
    let [node, program, arguments @ ..] = arguments else { return ExitCode::from(2) };
    let node = node.to_str().and_then(|node| node.parse().ok()).and_then(Pid::from_raw);
    // Were it in the group of whoever started it by hand, it would kill that.
    let (Some(node), true) = (node, getpgrp() == getpid()) else { return ExitCode::from(2) };
    let is_there = move || getppid() == Some(node);
    if !is_there() {
        return ExitCode::from(2);
    }
    std::thread::spawn(move || {
        while is_there() {
            std::thread::sleep(LOOK);
        }
        let _ = kill_process_group(getpid(), Signal::KILL);
    });
    let started = Command::new(program).args(arguments).spawn();
    match started.and_then(|mut child| child.wait()) {
        Ok(status) => {
            let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
            u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from)
        }
        Err(error) => {
            use std::io::Write as _;
            let told = format!("{} cannot be started: {error}\n", program.to_string_lossy());
            let _ = std::io::stderr().write_all(told.as_bytes());
            ExitCode::from(127)
        }
    }
}
