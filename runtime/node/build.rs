//! Puts the first-party plugins into the binary: copying one file to a machine is a deployment.
//!
//! Builds them where this compiler has the wasm target, else takes what `cargo xtask plugins` built, else says so. Writes
//! `embedded.rs`: `EMBEDDED`, the name and the core module of each; the node encodes them into components on install.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

#[path = "../../xtask/src/guests.rs"]
mod guests;
#[path = "build_templates.rs"]
mod templates;

fn main() -> io::Result<()> {
    let project = PathBuf::from(variable("CARGO_MANIFEST_DIR")?).join("../..").canonicalize()?;
    let out = PathBuf::from(variable("OUT_DIR")?);
    for source in guests::sources(&project)? {
        println!("cargo::rerun-if-changed={}", source.display());
    }
    println!("cargo::rerun-if-changed={}", project.join("xtask/src/guests.rs").display());

    for source in templates::write(&project, &out)? {
        println!("cargo::rerun-if-changed={}", source.display());
    }

    if guests::has_target(variable("RUSTC")?) {
        let cargo = guests::build_command(variable("CARGO")?, &project);
        guests::build(cargo, &project)?;
    } else if !guests::are_fresh(&project)? {
        println!(
            "cargo::error=this compiler has no {target} target, and the plugins that the binary carries are not built; \
             `cargo xtask plugins` sets up what is missing and builds them",
            target = guests::TARGET
        );
        return Ok(());
    }
    fs::write(out.join("embedded.rs"), embedded(&project, &out)?)
}

/// The Rust source that holds the modules; each is copied, so that the node's build does not depend on a folder that
/// somebody else cleans.
fn embedded(project: &Path, out: &Path) -> io::Result<String> {
    let mut source = String::from(
        "/// The first-party plugins: each one's name and core module.\npub(crate) const EMBEDDED: &[(&str, &[u8])] = &[\n",
    );
    for guest in guests::guests(project)? {
        let copy = out.join(&guest.name).with_extension("wasm");
        fs::copy(&guest.module, &copy)?;
        writeln!(source, "    ({:?}, include_bytes!({:?})),", guest.name, copy).map_err(io::Error::other)?;
    }
    source.push_str("];\n");
    Ok(source)
}

fn variable(name: &str) -> io::Result<String> {
    env::var(name).map_err(|_| io::Error::other(format!("cargo sets {name} for a build script")))
}
