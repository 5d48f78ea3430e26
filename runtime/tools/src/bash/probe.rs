//! What confines a command on this machine, found out by confining one.
//!
//! The command tries what none may be able to do. Only what was seen to hold is told, and a setting that nothing here would hold is an error.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use sortie_confine::{Layer, Layers, Limits, Policy, Report};
use sortie_egress::Redactor;

use super::run::{self, Confined, End};
use super::settings::{Confine, Settings, real, wrong};
use super::{PROGRAM, Shell};
use crate::config::ConfigError;

/// How long a look may take: it starts three processes. A machine that is that slow runs no commands.
const LOOK: Duration = Duration::from_secs(30);

/// Says what it could do, a line each. Exit code 7: it was run to its end. It needs nothing but the shell.
const ATTEMPTS: &str = r#"
[ -e "$DATA" ] && echo "see the node's data folder"
[ -e "$OUTSIDE" ] && echo "see a file outside of the workspace"
{ : < "$OUTSIDE"; } 2>/dev/null && echo "read a file outside of the workspace"
{ echo x >> "$OUTSIDE"; } 2>/dev/null
{ echo x > /etc/sortie-probe; } 2>/dev/null && echo "write to /etc"
{ echo x > /usr/sortie-probe; } 2>/dev/null && echo "write to /usr"
(exec 3<>/dev/tcp/127.0.0.1/9) 2>/dev/null && echo "connect to a port"
(exec 3<>/dev/udp/127.0.0.1/9) 2>/dev/null && echo "make a socket of the network"
[ -n "$NODE" ] && kill -0 "$NODE" 2>/dev/null && echo "send signals to the node"
[ -n "$NODE" ] && [ -e "/proc/$NODE/fd" ] && echo "look into the node's process"
{ : < /etc/shadow; } 2>/dev/null && echo "read /etc/shadow"
echo x > inside || echo "! not write into the workspace"
exit 7
"#;

/// The numbers that processes of a command have in a namespace of its own: what watches it, its shell, and what that shell has started.
const OWN_NUMBERS: u32 = 64;

/// What only namespaces hold, whatever the kernel's version: Landlock lets names be seen.
const ONLY_WITH_NAMESPACES: [&str; 5] = [
    "see the node's data folder",
    "see a file outside of the workspace",
    "send signals to the node",
    "look into the node's process",
    "make a socket of the network",
];

/// What confines commands here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confinement {
    pub(crate) layers: Layers,
    /// The kernel's version of Landlock, where it holds.
    pub landlock: Option<i32>,
    /// What is missing, each with what would bring it.
    pub missing: Vec<String>,
    /// Nothing is wanted.
    pub is_off: bool,
}

impl Confinement {
    /// Whether it is all that there could be.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.layers == Layers::ALL
    }
}

impl fmt::Display for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_off {
            return f.write_str("commands are not confined (`confine = \"off\"`): they can do whatever the node can");
        }
        let mut held = Vec::new();
        if self.layers.namespaces {
            held.push("namespaces (files, processes, network)".to_owned());
        }
        if let Some(version) = self.landlock {
            held.push(format!("Landlock {version}"));
        }
        if self.layers.seccomp {
            held.push("seccomp".to_owned());
        }
        if held.is_empty() {
            held.push("nothing".to_owned());
        }
        write!(f, "commands are confined by {}", held.join(", "))?;
        if !self.missing.is_empty() {
            write!(f, "; missing: {}", self.missing.join("; "))?;
        }
        Ok(())
    }
}

/// Looks, with everything first, and where that cannot be and need not with what there is.
pub(super) async fn probe(shell: &Shell, settings: &Settings) -> Result<Confinement, ConfigError> {
    if !sortie_confine::is_available() {
        return Err(wrong("enabled", "there is no `Bash` on this system: it needs Linux"));
    }
    if !Path::new(PROGRAM).exists() {
        return Err(wrong("enabled", format!("there is no {PROGRAM} on this machine; install bash")));
    }
    let is_off = settings.confine == Confine::Off;
    let mut layers = if is_off { Layers::NONE } else { Layers::ALL };
    let mut missing = Vec::new();
    let landlock = loop {
        match look(shell, settings, layers).await {
            Ok(landlock) => break landlock,
            Err((layer, why)) => {
                let told = format!("{layer}: {why}");
                let less = layers.without(layer);
                if settings.confine != Confine::BestEffort || less == layers {
                    let why = format!(
                        "commands cannot be confined on this machine: {told}. Mend that, or take less with `confine = \"best_effort\"` (see \
                         docs/SECURITY.md), or switch Bash off"
                    );
                    return Err(wrong("confine", why));
                }
                missing.push(told);
                layers = less;
            }
        }
    };
    if !is_off && !layers.namespaces && settings.processes_are_set {
        let why = "it would have no effect here: without namespaces nothing counts the processes of a command";
        return Err(wrong("processes", format!("{why} ({})", missing.join("; "))));
    }
    Ok(Confinement { layers, landlock, missing, is_off })
}

/// The node's number for a command's eyes; nothing where it is one that the command's own first processes have, as in a container, where
/// the node is 1: what is found there is the command's own.
fn told_apart(node: u32) -> String {
    if node > OWN_NUMBERS { node.to_string() } else { String::new() }
}

/// Runs a command with these layers. What is wrong, and where.
async fn look(shell: &Shell, settings: &Settings, layers: Layers) -> Result<Option<i32>, (Layer, String)> {
    let setup = |error: &dyn fmt::Display| (Layer::Setup, error.to_string());
    let workspace = tempfile::tempdir().map_err(|error| setup(&error))?;
    let outside = tempfile::NamedTempFile::new().map_err(|error| setup(&error))?;
    let path = |path: &Path| path.to_str().map(str::to_owned).ok_or_else(|| setup(&"a path that is no text"));
    let policy = |command: &str| -> Result<Policy, (Layer, String)> {
        let env = [
            ("DATA", path(&real(&shell.data_dir))?),
            ("OUTSIDE", path(outside.path())?),
            ("NODE", told_apart(std::process::id())),
        ];
        Ok(Policy {
            command: [PROGRAM, "--noprofile", "--norc", "-c", command].map(str::to_owned).to_vec(),
            env: env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            workspace: workspace.path().to_owned(),
            read: settings.read.clone(),
            write: settings.write.clone(),
            limits: Limits { memory_bytes: settings.memory_bytes, processes: settings.processes, file_bytes: 1 << 20 },
            layers,
        })
    };
    let landlock = began(shell, &policy("true")?).await?;
    let attempts = policy(ATTEMPTS)?;
    let tried = run::run(shell, &attempts, Redactor::default(), LOOK, std::future::pending());
    let ran = tried.await.map_err(|error| setup(&error))?;
    let (said, errors) = (ran.stdout.text(), ran.stderr.text());
    if !matches!(ran.end, End::Exited(7)) {
        return Err(setup(&format_args!("a first command ended with {:?}: {errors}", ran.end)));
    }
    let is_wrong = |line: &&str| match layers {
        Layers::ALL => true,
        Layers::NONE => line.starts_with('!'),
        _ => !ONLY_WITH_NAMESPACES.contains(line) && (layers.landlock || line.starts_with('!')),
    };
    let mut could: Vec<&str> = said.lines().filter(is_wrong).collect();
    // In a tree of its own it writes to another file of that name.
    if (layers.landlock || layers.namespaces) && !matches!(outside.as_file().metadata(), Ok(found) if found.len() == 0)
    {
        could.push("change a file outside of the workspace");
    }
    if could.is_empty() {
        return Ok(landlock);
    }
    Err(setup(&format_args!("a confined command could {}", could.join(", "))))
}

/// The version of Landlock that a command begins with.
async fn began(shell: &Shell, policy: &Policy) -> Result<Option<i32>, (Layer, String)> {
    let setup = |error: &dyn fmt::Display| (Layer::Setup, error.to_string());
    let first = async {
        let mut confined = Confined::start(shell, policy).await?;
        confined.first_report().await
    };
    let first = tokio::time::timeout(LOOK, first).await.map_err(|_| setup(&"a first command does not begin"))?;
    match first.map_err(|error| setup(&format_args!("what is to confine it does not answer: {error}")))? {
        Report::Began { landlock } => Ok(landlock),
        Report::Failed { layer, why } => Err((layer, why)),
        other => Err(setup(&format_args!("{other:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_is_the_first_of_its_container_is_not_looked_for_by_number() {
        for (node, told) in [(1, ""), (8, ""), (64, ""), (65, "65"), (4_000_000, "4000000")] {
            assert_eq!(told_apart(node), told, "{node}");
        }
    }
}
