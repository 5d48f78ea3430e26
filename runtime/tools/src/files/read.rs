//! `Read`: the text of a file.

use std::io::{self, Seek as _, SeekFrom};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sortie_contract::limit::TEXT_BYTES_MAX;
use sortie_contract::tool::{CallError, ToolAnswer, ToolInfo};

use crate::config::ToolConfig;
use crate::tool::{CallContext, Nature, Tool, answer, arguments, blocking, info, is_binary};
use crate::workspace::{Workspace, normal, read_at_most};

/// Most bytes of one character of UTF-8 beyond its first.
const CHARACTER_REST_MAX: usize = 3;

/// The tool.
pub(crate) struct Read(ToolInfo);

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// The file, relative to the workspace.
    path: String,
    /// Where to begin, in bytes from the start of the file; 0 by default.
    #[serde(default)]
    offset: Option<u64>,
    /// The most bytes to return; by default, and at most, 1048576.
    #[serde(default)]
    limit: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Answer {
    content: String,
    /// The size of the whole file.
    bytes: u64,
    /// Whether the file goes on behind `content`.
    truncated: bool,
}

impl Read {
    pub(crate) fn new(config: &ToolConfig) -> Self {
        let description = "Reads a text file of the workspace. `bytes` is the size of the whole file; where \
            `truncated` is true, read on at `offset` plus the bytes of `content`.";
        Self(info::<Arguments>("Read", description, &Nature::READ_ONLY, config))
    }
}

#[async_trait]
impl Tool for Read {
    fn info(&self) -> &ToolInfo {
        &self.0
    }

    async fn call(&self, context: &CallContext, given: &Value) -> Result<ToolAnswer, CallError> {
        let given = arguments(given)?;
        let workspace = context.workspace.clone();
        answer(&blocking(move |_| read(&workspace, &given)).await?)
    }
}

fn read(workspace: &Workspace, given: &Arguments) -> Result<Answer, CallError> {
    let place = normal(&given.path)?;
    let mut opened = workspace.open_file(&place)?;
    let offset = given.offset.unwrap_or(0);
    let limit = given.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(TEXT_BYTES_MAX).min(TEXT_BYTES_MAX);
    let failed = |source: io::Error| place.io("read", source);
    if offset > 0 {
        opened.file.seek(SeekFrom::Start(offset.min(opened.bytes))).map_err(failed)?;
    }
    // One more than is asked for tells whether there is more; the rest of a character that is cut is no mistake of
    // the file.
    let mut bytes = read_at_most(opened.file, limit.saturating_add(1)).map_err(failed)?;
    let truncated = bytes.len() > limit;
    bytes.truncate(limit);
    let text = text(bytes, offset > 0, truncated).ok_or_else(|| {
        let bytes = opened.bytes;
        CallError::Failed(format!(
            "`{place}` is a binary file of {bytes} bytes (not UTF-8), and Read returns text; it can be stored as an \
             artifact by its path"
        ))
    })?;
    if text.is_empty() && truncated {
        return Err(CallError::InvalidArguments(format!(
            "/limit: {limit} bytes are less than the next character of `{place}` has; ask for at least 4"
        )));
    }
    Ok(Answer { content: text, bytes: opened.bytes, truncated })
}

/// The characters that are whole in `bytes`, or `None` if these are no text. A character may be cut where the file
/// goes on.
fn text(mut bytes: Vec<u8>, cut_before: bool, cut_behind: bool) -> Option<String> {
    if is_binary(&bytes) {
        return None;
    }
    if cut_before {
        let rest = bytes.iter().take(CHARACTER_REST_MAX).take_while(|&&byte| byte & 0xc0 == 0x80).count();
        bytes.drain(..rest);
    }
    String::from_utf8(bytes)
        .or_else(|error| {
            let whole = error.utf8_error().valid_up_to();
            let is_cut = cut_behind && error.utf8_error().error_len().is_none();
            let mut bytes = error.into_bytes();
            bytes.truncate(whole);
            if is_cut { String::from_utf8(bytes).map_err(drop) } else { Err(()) }
        })
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_whole_wherever_the_cut_is() {
        let whole = "aä€😀z";
        for start in 0..whole.len() {
            for end in start..=whole.len() {
                let part = whole.as_bytes()[start..end].to_vec();
                let text = text(part, start > 0, end < whole.len()).expect("text");
                assert!(whole.contains(&text), "{start}..{end}: {text}");
                assert!(text.len() + 2 * CHARACTER_REST_MAX >= end - start, "{start}..{end}: {text}");
            }
        }
    }

    #[test]
    fn a_character_that_is_cut_by_the_end_of_the_file_is_no_text() {
        assert_eq!(text("ä".as_bytes()[..1].to_vec(), false, false), None);
        assert_eq!(text(b"a\xffb".to_vec(), false, true), None);
        assert_eq!(text(b"a\0b".to_vec(), false, false), None);
    }
}
