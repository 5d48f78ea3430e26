//! `Glob`: the files whose paths match a pattern.

use async_trait::async_trait;
use globset::{GlobBuilder, GlobMatcher};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sortie_contract::limit;
use sortie_contract::tool::{CallError, ToolAnswer, ToolInfo};

use crate::config::ToolConfig;
use crate::tool::{CallContext, Cancelled, Nature, Tool, answer, arguments, blocking, info};
use crate::workspace::{Place, Workspace, normal};

/// What a pattern is written with, beside plain text.
const SPECIAL: [char; 6] = ['*', '?', '[', '{', '\\', '!'];

/// The tool.
pub(crate) struct Glob(ToolInfo);

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// Such as `reports/*.md` or `**/*.rs`; `*` does not match `/`, `**` does.
    pattern: String,
}

#[derive(Debug, Serialize)]
struct Answer {
    paths: Vec<String>,
    truncated: bool,
}

impl Glob {
    pub(crate) fn new(config: &ToolConfig) -> Self {
        let description = "Lists the files of the workspace whose paths match a pattern, sorted. Where `truncated` is \
            true there are more.";
        Self(info::<Arguments>("Glob", description, &Nature::READ_ONLY, config))
    }
}

#[async_trait]
impl Tool for Glob {
    fn info(&self) -> &ToolInfo {
        &self.0
    }

    async fn call(&self, context: &CallContext, given: &Value) -> Result<ToolAnswer, CallError> {
        let Arguments { pattern } = arguments(given)?;
        let workspace = context.workspace.clone();
        answer(&blocking(move |cancelled| glob(&workspace, &pattern, cancelled)).await?)
    }
}

fn glob(workspace: &Workspace, pattern: &str, cancelled: &Cancelled) -> Result<Answer, CallError> {
    // The same rules as for paths: what could not match says so.
    let pattern = normal(pattern)?.to_string();
    let matcher = matcher("/pattern", &pattern)?;
    if !pattern.contains(SPECIAL) {
        // A path is there or not: no folder is walked for it, however large.
        let is_there = workspace.has_file(&normal(&pattern)?)?;
        return Ok(Answer { paths: is_there.then_some(pattern).into_iter().collect(), truncated: false });
    }
    let (start, depth) = reach(&pattern);
    let start = if start.is_empty() { Place::root() } else { normal(start)? };
    let walk = match workspace.files_at(&start, depth, cancelled) {
        // Nothing there, nothing found.
        Err(CallError::Failed(_)) => return Ok(Answer { paths: Vec::new(), truncated: false }),
        other => other?,
    };
    let mut answer = Answer { paths: Vec::new(), truncated: walk.truncated };
    let mut bytes = 0;
    for file in walk.files.into_iter().filter(|file| matcher.is_match(file.as_str())) {
        bytes += file.as_str().len();
        if bytes > limit::TEXT_BYTES_MAX {
            answer.truncated = true;
            break;
        }
        answer.paths.push(file.to_string());
    }
    Ok(answer)
}

/// A compiled pattern; `pointer` is where it was given.
pub(super) fn matcher(pointer: &str, pattern: &str) -> Result<GlobMatcher, CallError> {
    if pattern.len() > limit::LIST_ENTRY_BYTES_MAX {
        let max = limit::LIST_ENTRY_BYTES_MAX;
        return Err(CallError::InvalidArguments(format!("{pointer}: a pattern has at most {max} bytes")));
    }
    let built = GlobBuilder::new(pattern).literal_separator(true).build();
    built.map(|glob| glob.compile_matcher()).map_err(|error| {
        let error = limit::clip(&error.to_string(), limit::LIST_ENTRY_BYTES_MAX);
        CallError::InvalidArguments(format!("{pointer}: {error}"))
    })
}

/// The folder in which all matches of a pattern are, and how many levels below it: `src/*.rs` needs no walk through
/// `target`.
fn reach(pattern: &str) -> (&str, usize) {
    let plain = pattern.find(SPECIAL).map_or(pattern, |special| &pattern[..special]);
    let start = plain.rfind('/').map_or("", |slash| &plain[..slash]);
    let rest = pattern[start.len()..].trim_start_matches('/');
    // Alternatives may hide a `/`, and classes may hide anything.
    let is_flat = !rest.contains("**") && !rest.contains(['{', '[', '\\']);
    (start, if is_flat { rest.matches('/').count() } else { usize::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_path_is_found_in_a_folder_that_is_too_large_to_walk() {
        let folder = tempfile::tempdir().unwrap();
        for n in 0..200 {
            std::fs::write(folder.path().join(format!("{n}.txt")), "").unwrap();
        }
        let workspace = Workspace::open(folder.path()).unwrap();
        let found = |pattern: &'static str| {
            let workspace = workspace.clone();
            async move { blocking(move |cancelled| glob(&workspace, pattern, cancelled)).await.unwrap() }
        };
        assert!(found("*.txt").await.truncated, "the folder is too large");
        for (pattern, paths) in [("./7.txt", &["7.txt"] as &[_]), ("199.txt", &["199.txt"]), ("x.txt", &[]), (".", &[])]
        {
            let answer = found(pattern).await;
            assert_eq!(
                (answer.paths.as_slice(), answer.truncated),
                (&*paths.iter().map(|path| (*path).to_owned()).collect::<Vec<String>>(), false),
                "{pattern}"
            );
        }
    }

    #[test]
    fn a_walk_goes_no_further_than_the_pattern_reaches() {
        for (pattern, expected) in [
            ("*.md", ("", 0)),
            ("a.md", ("", 0)),
            ("reports/*.md", ("reports", 0)),
            ("a/b/c.md", ("a/b", 0)),
            ("a/*/c/*.md", ("a", 2)),
            ("a/b*/c", ("a", 1)),
            ("**/*.rs", ("", usize::MAX)),
            ("src/**", ("src", usize::MAX)),
            ("{a,b/c}/d", ("", usize::MAX)),
        ] {
            assert_eq!(reach(pattern), expected, "{pattern}");
        }
    }
}
