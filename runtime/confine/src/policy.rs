//! What a confined command may reach and take, and what is told of how it ended.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where a command finds its workspace, where it has a file tree of its own.
pub const WORKSPACE: &str = "/workspace";

/// What of the system a command can read: programs, libraries, and of the settings those that programs look for and that are nobody's
/// secret. What is not there is left out.
pub const SYSTEM: [&str; 33] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/etc/alternatives",
    "/etc/bash.bashrc",
    "/etc/ca-certificates",
    "/etc/debian_version",
    "/etc/group",
    "/etc/hosts",
    "/etc/inputrc",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/magic",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/os-release",
    "/etc/passwd",
    "/etc/perl",
    "/etc/pki/tls/certs",
    "/etc/profile.d",
    "/etc/protocols",
    "/etc/python3",
    "/etc/services",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/terminfo",
    "/etc/timezone",
];

/// Everything that a confined command is. Not printable, on purpose: its environment may hold secrets.
#[derive(Clone, Serialize, Deserialize)]
pub struct Policy {
    /// The program, by its whole path, and its arguments.
    pub command: Vec<String>,
    /// Its environment, all of it.
    pub env: Vec<(String, String)>,
    /// The folder that it works in and may change.
    pub workspace: PathBuf,
    /// What it may read beside [`SYSTEM`].
    pub read: Vec<PathBuf>,
    /// What it may change beside its workspace.
    pub write: Vec<PathBuf>,
    /// What it may take.
    pub limits: Limits,
    /// What confines it. Each that is named must be had.
    pub layers: Layers,
}

/// What a command may take, together with all that it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Memory that is its own, in bytes, what it holds in its `/tmp` included.
    pub memory_bytes: u64,
    /// Processes and threads.
    pub processes: u64,
    /// The largest file that it may write, in bytes.
    pub file_bytes: u64,
}

/// What confines a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layers {
    /// A file tree, processes and a network (of nothing) of its own.
    pub namespaces: bool,
    /// Landlock: paths, and signals and sockets to the outside.
    pub landlock: bool,
    /// System calls that no command needs are refused.
    pub seccomp: bool,
}

impl Layers {
    /// All there are.
    pub const ALL: Self = Self { namespaces: true, landlock: true, seccomp: true };
    /// None.
    pub const NONE: Self = Self { namespaces: false, landlock: false, seccomp: false };

    /// These without one.
    #[must_use]
    pub fn without(self, layer: Layer) -> Self {
        match layer {
            Layer::Namespaces => Self { namespaces: false, ..self },
            Layer::Landlock => Self { landlock: false, ..self },
            Layer::Seccomp => Self { seccomp: false, ..self },
            Layer::Setup => self,
        }
    }
}

/// Where a failure lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Layer {
    /// Namespaces, and the file tree in them.
    Namespaces,
    /// Landlock.
    Landlock,
    /// The filter of system calls.
    Seccomp,
    /// Anything else on the way to the command.
    Setup,
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Namespaces => "namespaces",
            Self::Landlock => "Landlock",
            Self::Seccomp => "seccomp",
            Self::Setup => "set-up",
        })
    }
}

/// What is told of a confined command, in this order: [`Report::Began`], then one of the others; or [`Report::Failed`] alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// The command runs.
    Began {
        /// The version of Landlock that holds it.
        landlock: Option<i32>,
    },
    /// It is over, and so is all that it started.
    Ended {
        /// Its exit code; 128 and the number of the signal that ended it.
        code: i32,
    },
    /// It was killed because it took too much, with all that it started.
    Stopped(Stop),
    /// It was not run.
    Failed {
        /// Where.
        layer: Layer,
        /// Why, and what to do where that is known.
        why: String,
    },
}

/// What a command took too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stop {
    /// [`Limits::memory_bytes`]
    Memory,
    /// [`Limits::processes`]
    Processes,
}
