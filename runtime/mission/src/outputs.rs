//! Required outputs: which of them are there, which files of the workspace would be one, and as what those are kept.
//!
//! An entry is a name or a glob, read as a shell reads it: `*` stays within a folder, `**` does not. The matcher is the one
//! that the contract crate accepts globs with, so that what was taken at intake means the same at the end.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use globset::{GlobBuilder, GlobMatcher};
use once_cell::race::OnceBox;
use sortie_contract::artifact::Artifact;

/// The required outputs of one mission, compiled when they are first asked about, and shared by its copies: most missions never
/// are, and readers fold many.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outputs(Arc<OnceBox<Vec<Output>>>);

/// What is compiled follows from the envelope, which is compared.
impl PartialEq for Outputs {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Outputs {
    /// Of these entries; the same at each call.
    fn of(&self, entries: &[String]) -> &[Output] {
        self.0.get_or_init(|| Box::new(entries.iter().map(|entry| Output::new(entry)).collect()))
    }

    /// Whether an artifact (or file) of this name is one of them.
    pub(crate) fn has(&self, entries: &[String], name: &str) -> bool {
        entries.iter().zip(self.of(entries)).any(|(entry, output)| output.is(entry, name))
    }

    /// The entries that none of `artifacts` satisfies.
    pub(crate) fn missing<'a>(&self, entries: &'a [String], artifacts: &[Artifact]) -> Vec<&'a str> {
        let is_there =
            |entry: &str, output: &Output| artifacts.iter().any(|artifact| output.is(entry, artifact.name.as_str()));
        let missing = entries.iter().zip(self.of(entries)).filter(|(entry, output)| !is_there(entry, output));
        missing.map(|(entry, _)| entry.as_str()).collect()
    }
}

/// How an entry of `required_outputs` is compared: by its matcher, where it has a wildcard.
#[derive(Debug)]
struct Output(Option<GlobMatcher>);

impl Output {
    /// Prepares an entry. One that is no valid glob (intake refuses it) is a name.
    fn new(entry: &str) -> Self {
        let is_glob = entry.contains(['*', '?', '[', '{', '\\']);
        let glob = is_glob.then(|| GlobBuilder::new(entry).literal_separator(true).build().ok()).flatten();
        Self(glob.map(|glob| glob.compile_matcher()))
    }

    fn is(&self, entry: &str, name: &str) -> bool {
        entry == name || self.0.as_ref().is_some_and(|glob| glob.is_match(name))
    }
}

/// The media type of a file that is collected: what its name suggests.
#[must_use]
pub fn media_type(path: &str) -> &'static str {
    let extension = path.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    match extension.as_deref() {
        Some("md") => "text/markdown",
        Some("txt" | "log") => "text/plain",
        Some("json") => "application/json",
        Some("csv") => "text/csv",
        Some("html" | "htm") => "text/html",
        Some("patch" | "diff") => "text/x-diff",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("svg") => "image/svg+xml",
        Some("pdf") => "application/pdf",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_names_or_globs() {
        for (entry, name, expected) in [
            ("report.md", "report.md", true),
            ("report.md", "Report.md", false),
            ("*.md", "report.md", true),
            ("*.md", "reports/weekly.md", false),
            ("**/*.md", "reports/weekly.md", true),
            ("**/*.md", "weekly.md", true),
            ("reports/*", "reports/weekly.md", true),
            ("report-{a,b}.md", "report-b.md", true),
            ("report[1].md", "report[1].md", true),
            ("[", "[", true),
            ("!report.md", "other.md", false),
        ] {
            assert_eq!(Outputs::default().has(&[entry.into()], name), expected, "{entry:?} against {name:?}");
        }
    }

    #[test]
    fn a_file_is_kept_as_what_its_name_suggests() {
        for (path, expected) in [
            ("report.md", "text/markdown"),
            ("reports/Weekly.MD", "text/markdown"),
            ("run.log", "text/plain"),
            ("a.tar.json", "application/json"),
            ("page.htm", "text/html"),
            ("photo.jpeg", "image/jpeg"),
            ("report", "application/octet-stream"),
            ("report.", "application/octet-stream"),
            ("report.exe", "application/octet-stream"),
        ] {
            assert_eq!(media_type(path), expected, "{path}");
        }
    }
}
