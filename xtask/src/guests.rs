//! The first-party plugins as things to build: which there are, how cargo is called for them, whether what was built is
//! up to date.
//!
//! One place for two users: `cargo xtask plugins`, and the node's build script, which includes this file by its path (a
//! build script that depended on xtask would rebuild the node whenever xtask changes). So: nothing but the standard
//! library, and no opinion on how the wasm target gets onto a machine (that is `setup.rs`).

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;
use std::{env, fs, io};

/// What plugins are compiled for: no WASI, so that a plugin imports nothing but the mission world.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// The folder of the plugins' workspace, below the project's.
const PLUGINS: &str = "plugins";

/// A plugin of the plugins' workspace.
pub(crate) struct Guest {
    /// Its package's name, which it gives itself as a plugin too.
    pub name: String,
    /// Where cargo puts its core module.
    pub module: PathBuf,
}

/// The packages of the plugins' workspace that make a module, in the order of their names.
pub(crate) fn guests(project: &Path) -> io::Result<Vec<Guest>> {
    let mut guests = Vec::new();
    for folder in packages(project)? {
        let manifest = fs::read_to_string(folder.join("Cargo.toml"))?;
        // The library that plugins are written with lies in the same workspace and makes no module.
        if !manifest.contains("cdylib") {
            continue;
        }
        let Some(package) = manifest.lines().find_map(|line| line.strip_prefix("name = ")) else { continue };
        let name = package.trim().trim_matches('"').to_owned();
        let file = format!("{}.wasm", name.replace('-', "_"));
        guests.push(Guest { name, module: target(project).join(TARGET).join("release").join(file) });
    }
    Ok(guests)
}

/// Every path whose change makes the modules stale; folders stand for all that is in them.
pub(crate) fn sources(project: &Path) -> io::Result<Vec<PathBuf>> {
    let plugins = project.join(PLUGINS);
    let mut sources =
        vec![project.join("wit"), plugins.join("Cargo.toml"), plugins.join("Cargo.lock"), plugins.join(".cargo")];
    for folder in packages(project)? {
        sources.push(folder.join("Cargo.toml"));
        sources.push(folder.join("src"));
    }
    sources.retain(|path| path.exists());
    Ok(sources)
}

/// Whether the modules were built after the last change to their sources.
pub(crate) fn are_fresh(project: &Path) -> io::Result<bool> {
    let Ok(built) = fs::metadata(stamp(project)).and_then(|stamp| stamp.modified()) else { return Ok(false) };
    for source in sources(project)? {
        if newest(&source)? > built {
            return Ok(false);
        }
    }
    Ok(guests(project)?.iter().all(|guest| guest.module.exists()))
}

/// Whether this `rustc` has the standard library for plugins.
pub(crate) fn has_target(rustc: impl AsRef<OsStr>) -> bool {
    has(rustc, TARGET)
}

/// Whether this `rustc` has the standard library of a target.
pub(crate) fn has(rustc: impl AsRef<OsStr>, target: &str) -> bool {
    let asked = Command::new(rustc).args(["--print", "target-libdir", "--target", target]).output();
    asked.is_ok_and(|answer| {
        answer.status.success() && Path::new(String::from_utf8_lossy(&answer.stdout).trim()).exists()
    })
}

/// The command with which `cargo` builds the plugins, freed of what an outer cargo (or clippy) set for its own build.
///
/// They have a target folder of their own: the outer cargo holds the lock of the project's while a build script runs.
pub(crate) fn build_command(cargo: impl AsRef<OsStr>, project: &Path) -> Command {
    let mut command = Command::new(cargo);
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let of_the_machine = ["CARGO_HOME", "CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTR", "CARGO_TERM_"];
        let of_a_build = text.starts_with("CARGO")
            || text.starts_with("RUSTC_W")
            || ["RUSTFLAGS", "RUSTDOCFLAGS", "CLIPPY_ARGS", "TARGET", "OUT_DIR", "PROFILE"].contains(&text.as_ref());
        if of_a_build && !of_the_machine.iter().any(|kept| text.starts_with(kept)) {
            command.env_remove(&name);
        }
    }
    command.current_dir(project.join(PLUGINS));
    command.args(["build", "--release", "--target", TARGET, "--target-dir"]).arg(target(project));
    command
}

/// Runs what [`build_command`] made, and notes that the modules are fresh.
pub(crate) fn build(mut command: Command, project: &Path) -> io::Result<()> {
    // Made before the build: a source that is saved while it runs makes the modules stale again.
    let begun = stamp(project).with_extension("begun");
    fs::create_dir_all(target(project))?;
    fs::write(&begun, "")?;
    let status = command.status()?;
    if !status.success() {
        return Err(io::Error::other(format!("the plugins do not build: cargo ended with {status}")));
    }
    fs::rename(begun, stamp(project))
}

fn stamp(project: &Path) -> PathBuf {
    target(project).join("built")
}

fn target(project: &Path) -> PathBuf {
    project.join(PLUGINS).join("target")
}

/// The folders of the plugins' workspace that hold a package.
fn packages(project: &Path) -> io::Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(project.join(PLUGINS))? {
        let folder = entry?.path();
        if folder.join("Cargo.toml").exists() {
            folders.push(folder);
        }
    }
    folders.sort();
    Ok(folders)
}

/// When a file, or anything in a folder, was last changed.
fn newest(path: &Path) -> io::Result<SystemTime> {
    let metadata = fs::metadata(path)?;
    let mut newest = metadata.modified()?;
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            newest = newest.max(self::newest(&entry?.path())?);
        }
    }
    Ok(newest)
}
