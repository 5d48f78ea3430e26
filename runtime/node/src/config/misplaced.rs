//! Where a configuration is wrong, told without what stands there.

use std::fmt;

/// Where a text is no configuration, and why. Repeats nothing of the values that stand there: one may be a secret that
/// somebody wrote in the place of a reference.
#[derive(Debug)]
pub struct Misplaced {
    line: usize,
    column: usize,
    key: Option<String>,
    why: String,
}

impl Misplaced {
    pub(super) fn new(text: &str, error: &toml::de::Error) -> Self {
        let start = error.span().map_or(0, |span| span.start);
        let before = text.get(..start).unwrap_or_default();
        let begin = before.rfind('\n').map_or(0, |end| end + 1);
        let line = text[begin..].lines().next().unwrap_or_default();
        // A key of ours, and not the inside of some longer text.
        let is_key = |key: &str| key.bytes().all(|b| b.is_ascii_lowercase() || matches!(b, b'_' | b'.'));
        let key = line.split_once('=').map(|(key, _)| key.trim()).filter(|key| !key.is_empty() && is_key(key));
        Self {
            line: before.matches('\n').count() + 1,
            column: before[begin..].chars().count() + 1,
            key: key.map(str::to_owned),
            why: without_value(error.message()),
        }
    }
}

/// serde repeats a value of a wrong type: `invalid type: string "…", expected u32`.
fn without_value(message: &str) -> String {
    let Some((what, value)) = message.split_once(": ").filter(|(what, _)| what.starts_with("invalid ")) else {
        return message.to_owned();
    };
    let kind = value.split([' ', ',']).next().unwrap_or_default();
    let expected = value.rfind(", expected ").map_or("", |at| &value[at..]);
    format!("{what}: {kind}{expected}")
}

impl fmt::Display for Misplaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, key, why } = self;
        let key = key.as_ref().map(|key| format!(" (`{key}`)")).unwrap_or_default();
        write!(f, "line {line}, column {column}{key}: {why}")
    }
}

impl std::error::Error for Misplaced {}
