//! `Edit`: one text of a file replaced by another.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sortie_contract::digest::Digest;
use sortie_contract::limit;
use sortie_contract::tool::{CallError, ToolAnswer, ToolInfo, Written};
use unicode_normalization::UnicodeNormalization as _;

use super::EDITS;
use crate::config::ToolConfig;
use crate::tool::{CallContext, Cancelled, Tool, answer, arguments, blocking, info};
use crate::workspace::{Place, Workspace, normal};

/// Largest file that is edited, before and after, in bytes: as much as `Write` could have written.
const FILE_BYTES_MAX: usize = limit::CALL_BYTES_MAX;

/// Beyond this many places nobody counts.
const OCCURRENCES_TOLD_MAX: usize = 1_000;

/// The tool.
pub(crate) struct Edit(ToolInfo);

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// The file, relative to the workspace.
    path: String,
    /// The text to replace, exactly as it is in the file. It must occur once, unless `all` is true.
    #[schemars(length(min = 1))]
    old: String,
    /// What to put in its place.
    new: String,
    /// Replaces every occurrence.
    #[serde(default)]
    all: bool,
}

#[derive(Debug, Serialize)]
struct Answer {
    path: String,
    replaced: usize,
}

impl Edit {
    pub(crate) fn new(config: &ToolConfig) -> Self {
        let description =
            "Replaces a text in a file of the workspace. The text must occur exactly once, unless `all` is true.";
        Self(info::<Arguments>("Edit", description, &EDITS, config))
    }
}

#[async_trait]
impl Tool for Edit {
    fn info(&self) -> &ToolInfo {
        &self.0
    }

    async fn call(&self, context: &CallContext, given: &Value) -> Result<ToolAnswer, CallError> {
        let given: Arguments = arguments(given)?;
        let place = normal(&given.path)?;
        let (workspace, target) = (context.workspace.clone(), place.clone());
        let edited = blocking(move |cancelled| edit(&workspace, &target, &given, cancelled)).await?;
        let Edited { replaced, before, after } = edited;
        let path = place.to_string();
        let wrote = vec![Written { path: path.clone(), sha256: Some(after), changed: Some(before) }];
        Ok(ToolAnswer { wrote, ..answer(&Answer { path, replaced })? })
    }
}

/// What an edit did, and the digests of the file on both sides of it.
struct Edited {
    replaced: usize,
    before: Digest,
    after: Digest,
}

fn edit(workspace: &Workspace, place: &Place, given: &Arguments, cancelled: &Cancelled) -> Result<Edited, CallError> {
    let _turn = workspace.editing();
    let bytes = workspace.read_file(&given.path, FILE_BYTES_MAX)?;
    let before = Digest::of(&bytes);
    let content = String::from_utf8(bytes)
        .map_err(|_| CallError::Failed(format!("`{place}` is a binary file (not UTF-8); Edit changes text")))?;
    let count = content.matches(&given.old).count();
    match (count, occurrences(&content, &given.old)) {
        (0, _) => return Err(CallError::Failed(not_there(place, &content, &given.old))),
        (1, 1) => {}
        _ if given.all => {}
        (count, places) => {
            let overlapping = if places > count { ", some of them overlapping" } else { "" };
            return Err(CallError::Failed(format!(
                "`old` occurs {places} times in `{place}`{overlapping}; give more of the text around it, or set `all` \
                 to true"
            )));
        }
    }
    // A small `old` that occurs often could otherwise ask for more memory than the machine has.
    let kept = content.len() - count * given.old.len();
    let after = count.checked_mul(given.new.len()).and_then(|added| added.checked_add(kept));
    if after.is_none_or(|bytes| bytes > FILE_BYTES_MAX) {
        return Err(CallError::Failed(format!("`{place}` would become larger than {FILE_BYTES_MAX} bytes")));
    }
    let content = content.replace(&given.old, &given.new);
    workspace.write_file(place, content.as_bytes(), || cancelled.check())?;
    Ok(Edited { replaced: count, before, after: Digest::of(content.as_bytes()) })
}

/// How often `old` is in `content`, places that overlap counted too: `aa` is twice in `aaa`. Stops counting where more
/// makes no difference.
fn occurrences(content: &str, old: &str) -> usize {
    let mut places = 0;
    let mut from = 0;
    while let Some(at) = content[from..].find(old) {
        places += 1;
        if places == OCCURRENCES_TOLD_MAX {
            break;
        }
        let first = old.chars().next().map_or(1, char::len_utf8);
        from += at + first;
    }
    places
}

/// Why `old` is not found; whether it is there in another normal form of Unicode, which looks the same.
fn not_there(place: &Place, content: &str, old: &str) -> String {
    let composed: String = old.nfc().collect();
    if content.nfc().collect::<String>().contains(&composed) {
        return format!(
            "`old` does not occur in `{place}` as it was given, but the same text does in another Unicode normal form \
             (an accent as a character of its own, or not); copy it from what Read returns"
        );
    }
    format!(
        "`old` does not occur in `{place}`; it must be there exactly, with its spaces and line ends: read the file again"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_that_overlap_are_places() {
        for (content, old, places) in
            [("aaa", "aa", 2), ("abababa", "aba", 3), ("ab", "ab", 1), ("x", "y", 0), ("äää", "ää", 2), ("aa", "a", 2)]
        {
            assert_eq!(occurrences(content, old), places, "{content} {old}");
        }
    }
}
