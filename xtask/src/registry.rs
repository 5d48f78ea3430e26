//! Gets what plugins are distributed with onto the machine: a registry that others wrote, and the program that signs.

use std::path::PathBuf;

use crate::debian;
use crate::shell::Project;

/// What tells the tests where the registry is.
pub(crate) const REGISTRY: &str = "SORTIE_REGISTRY";

/// The registry; with `minisign` on the path.
pub(crate) fn installed(project: &Project) -> Result<PathBuf, String> {
    debian::have("the tests of signed plugins", &[("minisign", "minisign")])?;
    let folder = project.target().join("tools").join("registry");
    debian::unpacked_program(&folder, "docker-registry", "usr/bin/docker-registry")
        .map_err(|error| format!("the tests of registries need one: {error}"))
}
