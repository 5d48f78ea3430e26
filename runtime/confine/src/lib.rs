//! One command, confined: namespaces, Landlock, seccomp, limits.
//!
//! Whoever wants a command confined starts its own binary once more, with a role as its argument ([`Role`], [`main`]), and hands it a
//! [`Policy`] over its standard input, which is a socket. Two processes come of that, both with a single thread, so that nothing
//! happens between a fork and an exec of a process with many:
//!
//! 1. the *monitor* enters namespaces of its own and stays outside of what it guards. It holds the other end of the socket: when that
//!    closes, because a call is over or whoever started it is dead, it kills
//! 2. the *init*: number one of a PID namespace, so that all that is in there dies with it, whatever it did to get away. It builds the
//!    file tree, gives up every right, starts the command, watches what it takes, and tells how it ended ([`Report`]).
//!
//! Owned here: what confines, and that nothing outlives it. Never here: which command is run, for whom, and what becomes of its output.
//! A layer that was asked for and cannot be had is a [`Report::Failed`], never a command that runs without it.

#[cfg(target_os = "linux")]
mod linux;
mod policy;
mod wire;

use std::process::ExitCode;

pub use policy::{Layer, Layers, Limits, Policy, Report, SYSTEM, Stop, WORKSPACE};
pub use wire::{FRAME_BYTES_MAX, frame};

/// Which of the two processes one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Outside of what is confined.
    Monitor,
    /// The first process inside.
    Init,
}

impl Role {
    /// As the argument that says it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Monitor => "monitor",
            Self::Init => "init",
        }
    }

    /// What an argument says.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        [Self::Monitor, Self::Init].into_iter().find(|role| role.as_str() == text)
    }
}

/// What a process that was started for this does, all of it: call it before there is a second thread. It takes its policy from
/// standard input. The process is started again with its own arguments, but for the last, which is the role.
#[must_use]
pub fn main(role: Role) -> ExitCode {
    #[cfg(target_os = "linux")]
    return linux::main(role);
    #[cfg(not(target_os = "linux"))]
    {
        let _ = role;
        ExitCode::FAILURE
    }
}

/// Whether this system has any of it.
#[must_use]
pub const fn is_available() -> bool {
    cfg!(target_os = "linux")
}
