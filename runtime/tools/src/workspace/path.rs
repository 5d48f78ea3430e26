//! Paths as calls write them: relative, with `/`, going down only.

use std::fmt;
use std::path::Path;

use sortie_contract::limit;

use super::WorkspaceError;

/// A path below the workspace in its one normal form: `a/b`, or nothing at all for the workspace itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place(String);

impl Place {
    /// The workspace itself.
    pub(crate) fn root() -> Self {
        Self(String::new())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// For the file system, which wants a name for the root, too.
    pub(crate) fn as_path(&self) -> &Path {
        Path::new(if self.0.is_empty() { "." } else { &self.0 })
    }

    /// The entry `name` of this directory.
    pub(crate) fn entry(&self, name: &str) -> Self {
        if self.0.is_empty() { Self(name.to_owned()) } else { Self(format!("{}/{name}", self.0)) }
    }

    /// The directory (none for an entry of the root) and the name in it.
    pub(super) fn split(&self) -> (Option<&Path>, &str) {
        self.0.rsplit_once('/').map_or((None, &self.0), |(parent, name)| (Some(Path::new(parent)), name))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "." } else { &self.0 })
    }
}

/// The place that a path means. `./a//b/` is `a/b`; what goes up or starts at the top is refused, even where it would
/// come back.
pub(crate) fn normal(path: &str) -> Result<Place, WorkspaceError> {
    let refused = |why| Err(WorkspaceError::Path { path: limit::clip(path, limit::QUOTE_BYTES_MAX), why });
    if path.is_empty() {
        return refused("it is empty; `.` is the workspace itself");
    }
    if path.len() > limit::PATH_BYTES_MAX {
        return refused("it is longer than 4096 bytes");
    }
    if path.contains('\0') {
        return refused("it has a NUL character");
    }
    if path.starts_with('/') {
        return refused("it is absolute; write it relative to the workspace");
    }
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => return refused("`..` is not allowed; write it relative to the workspace"),
            segment => segments.push(segment),
        }
    }
    Ok(Place(segments.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_normal_form() {
        for (path, place) in [
            ("a/b", "a/b"),
            ("./a//b/", "a/b"),
            (".", "."),
            ("./", "."),
            ("a/./b", "a/b"),
            ("...", "..."),
            ("a..b/..c", "a..b/..c"),
            (" ", " "),
            ("C:\\x", "C:\\x"),
        ] {
            assert_eq!(normal(path).unwrap().to_string(), place, "{path}");
        }
    }

    #[test]
    fn nothing_goes_up_or_starts_at_the_top() {
        let long = "x/".repeat(4_000);
        for path in ["", "/", "/etc/passwd", "//x", "..", "../x", "a/../b", "a/..", "./..", "a\0b", &long] {
            assert!(matches!(normal(path), Err(WorkspaceError::Path { .. })), "{path:?}");
        }
    }
}
