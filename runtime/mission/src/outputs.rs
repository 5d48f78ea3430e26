//! Required outputs: which of them are there, and which files of the workspace would be one.
//!
//! An entry is a name or a glob, read as a shell reads it: `*` stays within a folder, `**` does not. The matcher is the one
//! that the contract crate accepts globs with, so that what was taken at intake means the same at the end.

use alloc::string::String;
use alloc::vec::Vec;

use globset::{GlobBuilder, GlobMatcher};
use sortie_contract::artifact::Artifact;

/// An entry of `required_outputs`, ready to be compared.
pub(crate) struct Output<'a> {
    entry: &'a str,
    /// Only where the entry has a wildcard: building a matcher costs more than most missions' whole decision.
    glob: Option<GlobMatcher>,
}

impl<'a> Output<'a> {
    /// Prepares an entry. One that is no valid glob (intake refuses it) is a name.
    pub(crate) fn new(entry: &'a str) -> Self {
        let glob = entry
            .contains(['*', '?', '[', '{', '\\'])
            .then(|| GlobBuilder::new(entry).literal_separator(true).build().ok())
            .flatten()
            .map(|glob| glob.compile_matcher());
        Self { entry, glob }
    }

    /// Whether an artifact (or file) of this name is the output.
    pub(crate) fn is(&self, name: &str) -> bool {
        self.entry == name || self.glob.as_ref().is_some_and(|glob| glob.is_match(name))
    }
}

/// The entries that none of `artifacts` satisfies.
pub(crate) fn missing<'a>(entries: &'a [String], artifacts: &[Artifact]) -> Vec<&'a str> {
    let is_there = |entry: &str| {
        let output = Output::new(entry);
        artifacts.iter().any(|artifact| output.is(artifact.name.as_str()))
    };
    entries.iter().map(String::as_str).filter(|entry| !is_there(entry)).collect()
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
            assert_eq!(Output::new(entry).is(name), expected, "{entry:?} against {name:?}");
        }
    }
}
