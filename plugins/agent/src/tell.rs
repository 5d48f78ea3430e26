//! How the results of calls are told to a model: as plain text where there is one, and never more than it can use.

use sortie_plugin::{CallError, Value};

/// Most of one result that a model is told, in bytes: the beginning and the end of what is longer.
pub const RESULT_BYTES_MAX: usize = 30_000;

/// What a model is told of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// In words.
    pub content: String,
    /// It did not do what it was to do.
    pub is_error: bool,
}

impl Told {
    /// Something that went well.
    #[must_use]
    pub fn well(content: impl Into<String>) -> Self {
        Self { content: content.into(), is_error: false }
    }

    /// Something that did not.
    #[must_use]
    pub fn error(content: impl Into<String>) -> Self {
        Self { content: content.into(), is_error: true }
    }

    /// A call that was let go of when the mission came near one of its limits.
    #[must_use]
    pub fn let_go() -> Self {
        Self::error("the mission came to its limit before this call was over: whether it happened nobody knows")
    }
}

/// What is told of a result: text as text, the output of a command with its exit code, everything else as JSON. A command that failed is an
/// error.
#[must_use]
pub fn told(result: &Result<Value, CallError>) -> Told {
    let result = match result {
        Ok(result) => result,
        Err(error) => return Told::error(refused(error)),
    };
    let told = match result["exit_code"].as_i64() {
        Some(code) => command(code, result),
        None => Told::well(plain(result)),
    };
    Told { content: middle_cut(&told.content, RESULT_BYTES_MAX), ..told }
}

fn refused(error: &CallError) -> String {
    let hint = match error {
        CallError::Denied(_) => " This will not be allowed if you ask again.",
        CallError::Uncertain(_) => " It may have happened all the same: look before you do it again.",
        _ => "",
    };
    format!("{}: {error}{hint}", error.code())
}

fn command(code: i64, result: &Value) -> Told {
    let mut text = format!("exit code {code}");
    if result["timed_out"] == true {
        text.push_str(" (it took too long and was killed)");
    }
    if let Some(why) = result["stopped"].as_str() {
        text.push_str(&format!(" (it was killed: {why})"));
    }
    for (name, key) in [("stdout", "stdout"), ("stderr", "stderr")] {
        if let Some(printed) = result[key].as_str().filter(|printed| !printed.is_empty()) {
            text.push_str(&format!("\n[{name}]\n{printed}"));
        }
    }
    Told { content: text, is_error: code != 0 }
}

/// A result that is a text with little around it, as that text; others as they are.
fn plain(result: &Value) -> String {
    match result {
        Value::String(text) => text.clone(),
        Value::Object(fields) => match fields.get("content") {
            Some(Value::String(text)) if fields.get("truncated") == Some(&Value::Bool(true)) => {
                let end = fields.get("bytes").map(|bytes| format!(" of {bytes} bytes")).unwrap_or_default();
                format!("{text}\n[this is a part{end}: read on with `offset`]")
            }
            Some(Value::String(text)) => text.clone(),
            _ => result.to_string(),
        },
        other => other.to_string(),
    }
}

/// `text`, or its beginning and its end with a note between them where it has more than `bytes` bytes.
#[must_use]
pub fn middle_cut(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    let half = bytes / 2;
    let (head, tail) = (text.floor_char_boundary(half), text.ceil_char_boundary(text.len() - half));
    format!("{}\n[… {} bytes left out here …]\n{}", &text[..head], tail - head, &text[tail..])
}
