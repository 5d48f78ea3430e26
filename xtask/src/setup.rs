//! Gets a compiler for plugins onto the machine, and builds them with it.
//!
//! In this order: the wasm target of the compiler in use; `rustup target add`; Debian's compiler, which carries the standard
//! library as source and builds it (`-Z build-std`), with its packages installed where that is allowed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use crate::guests;
use crate::shell::{self, Project};

/// Debian's compiler with its sources and its linker for wasm.
const DEBIAN_PACKAGES: [&str; 5] = ["rustc-web", "cargo-web", "rust-web-src", "rust-web-llvm", "lld-22"];
const WASIP2: &str = "wasm32-wasip2";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";

/// A compiler that can make plugins.
pub(crate) enum Toolchain {
    /// The one in use.
    Current,
    /// Debian's, with the linker where its own is not installed.
    Debian {
        /// Any lld that is there.
        linker: Option<PathBuf>,
    },
}

/// Builds the plugins, after setting up what that needs.
pub(crate) fn plugins(project: &Project) -> Result<(), String> {
    if guests::are_fresh(project.root()).map_err(|error| error.to_string())? {
        eprintln!("the plugins are up to date");
        return Ok(());
    }
    let command = match toolchain(project)? {
        Toolchain::Current => guests::build_command(project.cargo(), project.root()),
        Toolchain::Debian { linker } => debian_command(project, linker),
    };
    eprintln!("$ (in plugins/) {}", shell::shown(&command));
    guests::build(command, project.root()).map_err(|error| error.to_string())?;
    for guest in guests::guests(project.root()).map_err(|error| error.to_string())? {
        let bytes = fs::metadata(&guest.module).map_err(|error| format!("{}: {error}", guest.module.display()))?.len();
        eprintln!("{}: {} ({bytes} bytes)", guest.name, guest.module.display());
    }
    Ok(())
}

/// A compiler that can make plugins; gets one where there is none.
pub(crate) fn toolchain(project: &Project) -> Result<Toolchain, String> {
    // Asked in the project's folder, because rustup chooses by `rust-toolchain.toml`.
    env::set_current_dir(project.root()).map_err(|error| error.to_string())?;
    if guests::has_target("rustc") {
        return Ok(Toolchain::Current);
    }
    eprintln!("the compiler has no {} target; asking rustup for it", guests::TARGET);
    if shell::works("rustup", &["target", "add", guests::TARGET]) && guests::has_target("rustc") {
        return Ok(Toolchain::Current);
    }
    eprintln!("rustup cannot get it; looking for Debian's compiler, which can build the target from source");
    if let Some(toolchain) = debian(project) {
        return Ok(toolchain);
    }
    install_debian();
    debian(project).ok_or_else(|| {
        format!(
            "no compiler here can make plugins, and none could be installed. Do one of: `rustup target add {}`; \
             or, on Debian, as root, `apt-get install {}`",
            guests::TARGET,
            DEBIAN_PACKAGES.join(" ")
        )
    })
}

/// The target with a standard library, for the guest of the tests that uses one.
pub(crate) fn wasip2(project: &Project) -> Result<(), String> {
    env::set_current_dir(project.root()).map_err(|error| error.to_string())?;
    if guests::has("rustc", WASIP2) {
        return Ok(());
    }
    let got = shell::works("rustup", &["target", "add", WASIP2]) && guests::has("rustc", WASIP2);
    if got { Ok(()) } else { Err(format!("the tests of WASI need `rustup target add {WASIP2}`")) }
}

fn debian(project: &Project) -> Option<Toolchain> {
    let source = Path::new("/usr/lib/rustlib/src/rust/library/Cargo.lock");
    if ![Path::new(DEBIAN_RUSTC), Path::new(DEBIAN_CARGO), source].iter().all(|path| path.exists()) {
        return None;
    }
    // Debian's own `rust-lld` is a link that dangles until its package is installed.
    if on_path("rust-lld").is_some() {
        return Some(Toolchain::Debian { linker: None });
    }
    let linker = on_path("wasm-ld").or_else(|| linker_of_rustup(project))?;
    Some(Toolchain::Debian { linker: Some(linker) })
}

fn install_debian() {
    if !shell::works("apt-get", &["--version"]) {
        return;
    }
    let installed =
        shell::run(Command::new("apt-get").args(["install", "--yes", "--no-install-recommends"]).args(DEBIAN_PACKAGES));
    if installed.is_err() {
        // A fresh container has no package lists.
        let renewed = shell::run(Command::new("apt-get").arg("update")).and_then(|()| {
            shell::run(
                Command::new("apt-get").args(["install", "--yes", "--no-install-recommends"]).args(DEBIAN_PACKAGES),
            )
        });
        if let Err(error) = renewed {
            eprintln!("{error}");
        }
    }
}

fn debian_command(project: &Project, linker: Option<PathBuf>) -> Command {
    let mut command = guests::build_command(DEBIAN_CARGO, project.root());
    // `build-std` is not stable; a compiler that a distribution releases takes it with this variable only.
    command.env("RUSTC", DEBIAN_RUSTC).env("RUSTC_BOOTSTRAP", "1").args(["-Z", "build-std=std,panic_abort"]);
    if let Some(linker) = linker {
        command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
    }
    command
}

/// The lld that rustup's toolchains carry for their own use.
fn linker_of_rustup(project: &Project) -> Option<PathBuf> {
    let asked = Command::new("rustc").current_dir(project.root()).args(["--print", "sysroot"]).output().ok()?;
    let rustlib = Path::new(String::from_utf8_lossy(&asked.stdout).trim()).join("lib/rustlib");
    let hosts = fs::read_dir(rustlib).ok()?;
    hosts.filter_map(|host| Some(host.ok()?.path().join("bin/rust-lld"))).find(|linker| linker.exists())
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.exists())
}
