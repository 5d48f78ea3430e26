//! `Grep`: the lines of files that a regular expression matches.

use async_trait::async_trait;
use globset::GlobMatcher;
use regex::bytes::{Regex, RegexBuilder};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sortie_contract::limit;
use sortie_contract::tool::{CallError, ToolAnswer, ToolInfo};

use super::glob::matcher;
use crate::config::ToolConfig;
use crate::tool::{CallContext, Cancelled, Nature, Tool, answer, arguments, blocking, info, is_binary};
use crate::workspace::{Place, Workspace, normal, read_at_most};

/// Largest compiled expression, in bytes: `(x{1000}){1000}` is refused instead of filling memory. Matching is linear
/// in any case.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// Most of one file that is searched, in bytes.
const FILE_BYTES_MAX: usize = 16 << 20;

/// Most matches of one answer.
const MATCHES_MAX: usize = 1_000;

/// Longest text of one match, in bytes: minified files have lines of megabytes.
const LINE_BYTES_MAX: usize = 1_000;

/// The tool.
pub(crate) struct Grep(ToolInfo);

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// A regular expression, matched against each line; `(?i)` in front ignores case.
    pattern: String,
    /// The file or folder to search, relative to the workspace; all of it by default.
    #[serde(default)]
    path: Option<String>,
    /// Searches just the files whose path in the workspace matches, such as `src/**/*.rs`; without a `/`, whose name
    /// matches, such as `*.md`.
    #[serde(default)]
    glob: Option<String>,
}

#[derive(Debug, Serialize)]
struct Match {
    path: String,
    line: u64,
    text: String,
}

#[derive(Debug, Serialize)]
struct Answer {
    matches: Vec<Match>,
    truncated: bool,
}

impl Grep {
    pub(crate) fn new(config: &ToolConfig) -> Self {
        let description = "Searches the text files of the workspace for lines that match a regular expression. Where \
            `truncated` is true there may be more.";
        Self(info::<Arguments>("Grep", description, &Nature::READ_ONLY, config))
    }
}

#[async_trait]
impl Tool for Grep {
    fn info(&self) -> &ToolInfo {
        &self.0
    }

    async fn call(&self, context: &CallContext, given: &Value) -> Result<ToolAnswer, CallError> {
        let given = arguments(given)?;
        let workspace = context.workspace.clone();
        answer(&blocking(move |cancelled| grep(&workspace, &given, cancelled)).await?)
    }
}

fn grep(workspace: &Workspace, given: &Arguments, cancelled: &Cancelled) -> Result<Answer, CallError> {
    let regex = RegexBuilder::new(&given.pattern)
        .size_limit(REGEX_BYTES_MAX)
        .dfa_size_limit(REGEX_BYTES_MAX)
        .build()
        .map_err(|error| {
        CallError::InvalidArguments(format!("/pattern: {}", limit::clip(&error.to_string(), limit::NOTE_BYTES_MAX)))
    })?;
    let filter = given.glob.as_deref().map(file_filter).transpose()?;
    let start = given.path.as_deref().map_or(Ok(Place::root()), normal)?;
    let walk = workspace.files_at(&start, usize::MAX, cancelled)?;
    let mut answer = Answer { matches: Vec::new(), truncated: walk.truncated };
    for file in &walk.files {
        cancelled.check()?;
        if filter.as_ref().is_some_and(|filter| !filter.is_match(file.as_str())) {
            continue;
        }
        // Removed meanwhile, or closed to us: the other files still have their matches.
        let Ok(opened) = workspace.open_file(file) else { continue };
        let Ok(bytes) = read_at_most(opened.file, FILE_BYTES_MAX) else { continue };
        answer.truncated |= opened.bytes > FILE_BYTES_MAX as u64;
        if !is_binary(&bytes) && !search(&regex, file, &bytes, cancelled, &mut answer.matches)? {
            answer.truncated = true;
            break;
        }
    }
    Ok(answer)
}

/// As in `.gitignore` and ripgrep: a pattern without a slash is about names.
fn file_filter(glob: &str) -> Result<GlobMatcher, CallError> {
    let glob = normal(glob)?.to_string();
    let anywhere = if glob.contains('/') { glob } else { format!("**/{glob}") };
    matcher("/glob", &anywhere)
}

/// Adds the matching lines of a file; false when there is no room for one more.
fn search(
    regex: &Regex,
    file: &Place,
    bytes: &[u8],
    cancelled: &Cancelled,
    matches: &mut Vec<Match>,
) -> Result<bool, CallError> {
    for (line, number) in bytes.split(|&byte| byte == b'\n').zip(1_u64..) {
        if number.is_multiple_of(10_000) {
            cancelled.check()?;
        }
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        // What follows the last line end is a line only if there is something.
        let is_end = line.is_empty() && line.as_ptr_range().end >= bytes.as_ptr_range().end;
        if is_end || !regex.is_match(line) {
            continue;
        }
        if matches.len() >= MATCHES_MAX {
            return Ok(false);
        }
        let shown = &line[..line.len().min(LINE_BYTES_MAX + 1)];
        let text = limit::clip(&String::from_utf8_lossy(shown), LINE_BYTES_MAX);
        matches.push(Match { path: file.to_string(), line: number, text });
    }
    Ok(true)
}
