//! Gets `promtool` onto the machine, by which Prometheus itself tests the alert rules: nobody who tests Sortie wants a Prometheus that runs as a
//! service, so its package is unpacked and not installed.

use std::path::PathBuf;

use crate::debian;
use crate::shell::Project;

/// What tells the test where it is.
pub(crate) const PROMTOOL: &str = "SORTIE_PROMTOOL";

/// The program.
pub(crate) fn installed(project: &Project) -> Result<PathBuf, String> {
    let folder = project.target().join("tools").join("promtool");
    debian::unpacked_program(&folder, "prometheus", "usr/bin/promtool")
        .map_err(|error| format!("the test of the alert rules needs promtool: {error}"))
}
