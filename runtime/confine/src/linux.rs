//! The two processes as they are on Linux. Each file of the folder is one thing that they do.

mod init;
mod landlock;
mod monitor;
mod rights;
mod syscalls;
mod tree;
mod watch;

use std::fmt::Display;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use crate::policy::{Layer, Report};
use crate::{Role, wire};

/// What went wrong before the command ran.
#[derive(Debug)]
pub(crate) struct Trouble {
    layer: Layer,
    why: String,
}

impl Trouble {
    /// `doing` cannot be done, because of `error`.
    fn new(layer: Layer, doing: &str, error: impl Display) -> Self {
        Self { layer, why: format!("{doing}: {error}") }
    }

    /// The same, for an error to come.
    fn at<E: Display>(layer: Layer, doing: &str) -> impl FnOnce(E) -> Self {
        move |error| Self::new(layer, doing, error)
    }

    fn report(self) -> Report {
        Report::Failed { layer: self.layer, why: self.why }
    }
}

/// See [`crate::main`].
pub(crate) fn main(role: Role) -> ExitCode {
    let Ok(above) = standard_input() else { return ExitCode::FAILURE };
    let outcome = match role {
        Role::Monitor => monitor::monitor(&above),
        Role::Init => init::init(&above),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            // Where nobody listens there is nobody to tell.
            let _ = wire::send(&above, &trouble.report());
            ExitCode::FAILURE
        }
    }
}

/// The socket to whoever started this process.
fn standard_input() -> io::Result<UnixStream> {
    Ok(UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?))
}
