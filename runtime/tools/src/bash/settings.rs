//! `[tool.Bash]`: its keys, what they mean, and which of them cannot be.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sortie_confine::SYSTEM;
use sortie_contract::envelope::SecretRef;
use sortie_contract::tool::CallError;

use super::Shell;
use crate::config::{ConfigError, ToolConfig};

/// How much of it must be had.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confine {
    /// Everything, or the node does not start.
    #[default]
    Require,
    /// What there is; `sortie doctor` says what is missing.
    BestEffort,
    /// Nothing: a command can do whatever the node can.
    Off,
}

/// What commands reach of the network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// Nothing.
    #[default]
    None,
    /// Hosts that are listed. Not in this version.
    Hosts,
}

const MIB: u64 = 1 << 20;
/// Memory of one command, in MiB: a compiler, and not a second one. The least is what a shell and a few programs take.
const MEMORY_MIB: u64 = 1_024;
const MEMORY_MIB_MIN: u64 = 32;
/// Processes and threads of one command: a build on a few cores.
const PROCESSES: u64 = 256;
const PROCESSES_MIN: u64 = 4;
/// As many as fit into a table of processes beside others.
const PROCESSES_MAX: u64 = 16_384;
/// How long a command may take where nobody says.
const TIMEOUT: Duration = Duration::from_secs(2 * 60);
const TIMEOUT_MAX: Duration = Duration::from_secs(10 * 60);
const TIMEOUT_MAX_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Commands side by side on one node, each of so much memory.
const CONCURRENCY: usize = 16;
const CONCURRENCY_MAX: usize = 1_024;

/// Where nothing of the machine may be given away, whatever stands in the configuration.
const NEVER: [&str; 6] = ["/proc", "/sys", "/dev", "/tmp", "/run", "/workspace"];

/// The value of a variable.
#[derive(Debug, Clone)]
pub(super) enum Variable {
    /// As it stands there.
    Plain(String),
    /// Read for each call.
    Secret(SecretRef),
}

/// What holds for each command.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) confine: Confine,
    pub(super) read: Vec<PathBuf>,
    pub(super) write: Vec<PathBuf>,
    pub(super) env: Vec<(String, Variable)>,
    pub(super) memory_bytes: u64,
    pub(super) processes: u64,
    /// Somebody counts on it.
    pub(super) processes_are_set: bool,
    pub(super) timeout: Duration,
    pub(super) timeout_max: Duration,
    pub(super) concurrency: usize,
}

pub(super) fn wrong(key: &'static str, why: impl Into<String>) -> ConfigError {
    ConfigError::Value { name: "Bash".to_owned(), key, why: why.into() }
}

impl Settings {
    /// What a section says, as far as it can be seen from the section alone.
    pub(super) fn of(config: &ToolConfig) -> Result<Self, ConfigError> {
        let confine = config.confine.unwrap_or_default();
        if config.network == Some(Network::Hosts) {
            let why = "this version gives commands no network; `none` is what it can do, and `WebFetch` asks hosts";
            return Err(wrong("network", why));
        }
        if config.hosts.is_some() {
            return Err(wrong("hosts", "it would have no effect: this version gives commands no network"));
        }
        if confine == Confine::Off {
            let none = [
                ("network", config.network.is_some()),
                ("read", config.read.is_some()),
                ("write", config.write.is_some()),
                ("processes", config.processes.is_some()),
            ];
            if let Some((key, _)) = none.iter().find(|(_, is_set)| *is_set) {
                return Err(wrong(key, "it would have no effect with `confine = \"off\"`"));
            }
        }
        let memory_mib = in_range("memory_mib", config.memory_mib, MEMORY_MIB, MEMORY_MIB_MIN, u64::MAX / MIB)?;
        let processes = in_range("processes", config.processes, PROCESSES, PROCESSES_MIN, PROCESSES_MAX)?;
        let timeout_max = config.timeout_max.unwrap_or(TIMEOUT_MAX);
        if timeout_max < Duration::from_secs(1) || timeout_max > TIMEOUT_MAX_MAX {
            return Err(wrong("timeout_max", "must be 1s to 24h"));
        }
        let timeout = config.timeout.unwrap_or(TIMEOUT.min(timeout_max));
        if timeout.is_zero() || timeout > timeout_max {
            return Err(wrong("timeout", "must be more than nothing, and at most `timeout_max`"));
        }
        let concurrency = config.concurrency.unwrap_or(CONCURRENCY);
        if !(1..=CONCURRENCY_MAX).contains(&concurrency) {
            return Err(wrong("concurrency", format!("must be 1 to {CONCURRENCY_MAX}")));
        }
        let mut env = Vec::new();
        for (name, value) in config.env.iter().flatten() {
            env.push((variable_name(name)?, variable(name, value)?));
        }
        let folders = |key, paths: &Option<Vec<PathBuf>>| {
            let paths = paths.clone().unwrap_or_default();
            match paths.iter().find(|path| !path.is_absolute()) {
                Some(path) => Err(wrong(key, format!("`{}` is no absolute path", path.display()))),
                None => Ok(paths),
            }
        };
        Ok(Self {
            confine,
            read: folders("read", &config.read)?,
            write: folders("write", &config.write)?,
            env,
            memory_bytes: memory_mib * MIB,
            processes,
            processes_are_set: config.processes.is_some(),
            timeout,
            timeout_max,
            concurrency,
        })
    }

    /// Holds the paths against this machine and the node's own folder, and takes them as they really are.
    pub(super) fn fit(&mut self, shell: &Shell) -> Result<(), ConfigError> {
        let data_dir = real(&shell.data_dir);
        for (key, paths) in [("read", &mut self.read), ("write", &mut self.write)] {
            for path in paths {
                let told = path.display().to_string();
                *path = path.canonicalize().map_err(|error| wrong(key, format!("`{told}` cannot be used: {error}")))?;
                if path.starts_with(&data_dir) || data_dir.starts_with(&*path) {
                    let why = "has to do with the node's data folder, which holds its token and what others keep";
                    return Err(wrong(key, format!("`{told}` {why}; give commands a folder elsewhere")));
                }
                if path.parent().is_none()
                    || NEVER.iter().any(|never| path.starts_with(never) || Path::new(never).starts_with(&*path))
                {
                    return Err(wrong(key, format!("`{told}` is a part of the machine that no command is given")));
                }
                if path.to_str().is_none() {
                    return Err(wrong(key, format!("`{told}` is no text")));
                }
            }
        }
        let all: Vec<(&'static str, &PathBuf)> =
            self.read.iter().map(|path| ("read", path)).chain(self.write.iter().map(|path| ("write", path))).collect();
        for (at, (key, path)) in all.iter().enumerate() {
            if let Some((other_key, other)) = all[..at].iter().find(|(_, other)| overlap(path, other)) {
                // Which of the two holds would be a matter of their order.
                let (path, other) = (path.display(), other.display());
                let why = format!(
                    "`{path}` and `{other}` of `{other_key}` are the same, or one lies in the other; name each place once"
                );
                return Err(wrong(key, why));
            }
        }
        if self.confine != Confine::Off
            && let Some(seen) = SYSTEM.iter().find(|seen| data_dir.starts_with(real(Path::new(seen))))
        {
            let why = format!("the node's data folder lies below {seen}, which commands can read; move it elsewhere");
            return Err(wrong("confine", why));
        }
        Ok(())
    }

    /// How long a call may take that asks for so much.
    pub(super) fn timeout(&self, asked_ms: Option<u64>) -> Result<Duration, CallError> {
        let Some(asked) = asked_ms.map(Duration::from_millis) else { return Ok(self.timeout) };
        if asked > self.timeout_max {
            let max = self.timeout_max.as_millis();
            return Err(CallError::InvalidArguments(format!("timeout_ms: a command may take {max} ms here")));
        }
        Ok(asked)
    }
}

fn overlap(one: &Path, other: &Path) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

/// A path as it really is, as far as it is there.
pub(super) fn real(path: &Path) -> PathBuf {
    for above in path.ancestors() {
        if let (Ok(found), Ok(below)) = (above.canonicalize(), path.strip_prefix(above)) {
            return if below.as_os_str().is_empty() { found } else { found.join(below) };
        }
    }
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn in_range(key: &'static str, found: Option<u64>, usual: u64, min: u64, max: u64) -> Result<u64, ConfigError> {
    let value = found.unwrap_or(usual);
    if (min..=max).contains(&value) { Ok(value) } else { Err(wrong(key, format!("must be {min} to {max}"))) }
}

fn variable_name(name: &str) -> Result<String, ConfigError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if name.is_empty() || name.as_bytes()[0].is_ascii_digit() || !name.bytes().all(is_plain) {
        return Err(wrong("env", format!("`{name}` is no name of a variable")));
    }
    Ok(name.to_owned())
}

fn variable(name: &str, value: &str) -> Result<Variable, ConfigError> {
    if value.contains('\0') {
        return Err(wrong("env", format!("`{name}` has a NUL character")));
    }
    if !value.starts_with("env://") && !value.starts_with("file://") {
        return Ok(Variable::Plain(value.to_owned()));
    }
    value.parse().map(Variable::Secret).map_err(|error| wrong("env", format!("`{name}`: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Result<Settings, String> {
        let config: ToolConfig = serde_json::from_str(text).map_err(|error| error.to_string())?;
        Settings::of(&config).map_err(|error| error.to_string())
    }

    #[test]
    fn what_cannot_be_or_has_no_effect_is_told() {
        for (text, expected) in [
            (r#"{"network": "hosts"}"#, "no network"),
            (r#"{"network": "hosts", "hosts": ["example.org"]}"#, "no network"),
            (r#"{"hosts": ["example.org"]}"#, "no effect"),
            (r#"{"network": "all"}"#, "unknown variant"),
            (r#"{"memory_mib": 1}"#, "must be 32 to"),
            (r#"{"processes": 0}"#, "must be 4 to"),
            (r#"{"timeout": "11m"}"#, "timeout_max"),
            (r#"{"timeout_max": "25h"}"#, "1s to 24h"),
            (r#"{"concurrency": 0}"#, "1 to 1024"),
            (r#"{"read": ["usr"]}"#, "no absolute path"),
            (r#"{"env": {"A=B": "x"}}"#, "no name of a variable"),
            (r#"{"env": {"1A": "x"}}"#, "no name of a variable"),
            (r#"{"env": {"A": "env://"}}"#, "`A`"),
            (r#"{"confine": "off", "processes": 9}"#, "no effect"),
            (r#"{"confine": "off", "read": ["/srv"]}"#, "no effect"),
            (r#"{"confine": "maybe"}"#, "unknown variant"),
        ] {
            let told = settings(text).expect_err(text);
            assert!(told.contains(expected), "{text}: {told}");
        }
        let usual = settings("{}").unwrap();
        assert_eq!((usual.confine, usual.memory_bytes >> 20, usual.processes), (Confine::Require, 1_024, 256));
        assert_eq!(settings(r#"{"timeout_max": "30s"}"#).unwrap().timeout, Duration::from_secs(30));
    }

    #[test]
    fn no_folder_has_to_do_with_the_nodes_own() {
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let data = dir.path().join("data");
        std::fs::create_dir_all(data.join("workspaces")).unwrap();
        std::fs::create_dir(dir.path().join("tools")).unwrap();
        std::os::unix::fs::symlink(&data, dir.path().join("innocent")).unwrap();
        let shell =
            |data_dir: &Path| Shell { program: PathBuf::new(), arguments: Vec::new(), data_dir: data_dir.to_owned() };
        let fit = |path: &Path| {
            let mut settings = settings(&serde_json::json!({"read": [path]}).to_string()).unwrap();
            settings.fit(&shell(&data)).map_err(|error| error.to_string())
        };
        fit(&dir.path().join("tools")).unwrap();
        for (path, expected) in [
            (data.join("workspaces"), "data folder"),
            (data.clone(), "data folder"),
            (dir.path().to_owned(), "data folder"),
            (dir.path().join("innocent"), "data folder"),
            (dir.path().join("not-there"), "cannot be used"),
            (PathBuf::from("/"), "data folder"),
            (PathBuf::from("/proc/self"), "no command is given"),
            (PathBuf::from("/dev"), "no command is given"),
        ] {
            let told = fit(&path).expect_err("refused");
            assert!(told.contains(expected), "{}: {told}", path.display());
        }
        std::fs::create_dir(dir.path().join("tools/inner")).unwrap();
        std::os::unix::fs::symlink(dir.path().join("tools"), dir.path().join("same")).unwrap();
        let at = |name: &str| dir.path().join(name);
        for (read, write, expected) in [
            (vec![at("tools")], vec![at("tools/inner")], Some("write: ")),
            (vec![at("tools/inner")], vec![at("tools")], Some("write: ")),
            (vec![at("tools")], vec![at("same")], Some("write: ")),
            (vec![at("tools"), at("tools")], Vec::new(), Some("read: ")),
            (vec![at("tools/inner")], Vec::new(), None),
        ] {
            let text = serde_json::json!({"read": read, "write": write}).to_string();
            let fitted = settings(&text).unwrap().fit(&shell(&data)).map_err(|error| error.to_string());
            match expected {
                None => fitted.unwrap(),
                Some(key) => {
                    let told = fitted.expect_err("they overlap");
                    assert!(told.contains("one lies in the other") && told.contains(key), "{told}");
                }
            }
        }
        let mut usual = settings("{}").unwrap();
        let told = usual
            .fit(&shell(Path::new("/usr/share/sortie-not-there/data")))
            .expect_err("commands read /usr")
            .to_string();
        assert!(told.contains("below /usr"), "{told}");
    }
}
