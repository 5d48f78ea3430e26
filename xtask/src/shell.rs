//! Running other programs: where the project is, which cargo, and a failed command as an error that names it.

use std::env;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The project's folder and the cargo that runs us.
pub(crate) struct Project {
    root: PathBuf,
    cargo: OsString,
}

impl Project {
    /// The project that this program belongs to.
    pub(crate) fn find() -> Result<Self, String> {
        let own = env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").to_owned());
        let root = Path::new(&own).parent().ok_or("xtask lies in the project's folder")?.to_owned();
        Ok(Self { root, cargo: env::var_os("CARGO").unwrap_or_else(|| "cargo".into()) })
    }

    /// The project's folder.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The cargo that runs us.
    pub(crate) fn cargo(&self) -> &OsString {
        &self.cargo
    }

    /// A call of cargo in the project's folder; the arguments are separated by spaces.
    pub(crate) fn cargo_with(&self, arguments: &str) -> Command {
        let mut command = Command::new(&self.cargo);
        command.current_dir(&self.root).args(arguments.split_whitespace());
        command
    }

    /// Where cargo puts what it builds.
    pub(crate) fn target(&self) -> PathBuf {
        // Relative to the project, as cargo is called there.
        self.root.join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
    }

    /// Builds the binary `sortie` and says where it is.
    pub(crate) fn build_node(&self, release: bool) -> Result<PathBuf, String> {
        let flags = if release { " --release" } else { "" };
        run(&mut self.cargo_with(&format!("build --package sortie{flags}")))?;
        Ok(self.node(release))
    }

    /// Builds the same with all tests. Cargo chooses the features of crates for all that it is asked for at once: built by itself, the
    /// binary would have others than the tests, and most of what both are made of would be compiled twice.
    pub(crate) fn build_tests(&self) -> Result<PathBuf, String> {
        run(&mut self.cargo_with("build --workspace --bins --tests"))?;
        Ok(self.node(false))
    }

    fn node(&self, release: bool) -> PathBuf {
        self.target().join(if release { "release" } else { "debug" }).join("sortie")
    }
}

/// Says something to whoever watches. Where a full disk takes no log, the rest is counted all the same: `eprintln!` would end it.
pub(crate) fn tell(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Runs a command in sight of the user; its failure is an error.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    let shown = shown(command);
    tell(&format!("$ {shown}"));
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{shown}` ended with {status}")),
        Err(error) => Err(format!("`{shown}` does not start: {error}")),
    }
}

/// Whether a command is there and succeeds; what it prints is not shown.
pub(crate) fn works(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// What is free on the disk of a folder that there is, in MiB; `None`, where nobody says.
pub(crate) fn free_mib(folder: &Path) -> Option<u64> {
    let told = Command::new("df").args(["--output=avail", "--block-size=1M"]).arg(folder).output().ok()?;
    available(&String::from_utf8_lossy(&told.stdout))
}

fn available(table: &str) -> Option<u64> {
    table.lines().nth(1)?.trim().parse().ok()
}

/// A command as a person would type it.
pub(crate) fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let arguments = command.get_args().map(|argument| argument.to_string_lossy().into_owned());
    std::iter::once(program).chain(arguments).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_free_is_read_of_the_second_line() {
        for (table, free) in [("  Avail\n  8573\n", Some(8_573)), ("Avail\n", None), ("", None), ("Avail\n-\n", None)] {
            assert_eq!(available(table), free, "{table:?}");
        }
    }
}
