//! The files that commands read: what each of them says of one that it cannot use is the same.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::error::Category;
use sortie_sandbox::PLUGIN_BYTES_MAX;

use super::Failure;
use crate::bounded;

/// The longest file of envelopes, in bytes: there may be many in one.
const BYTES_MAX: u64 = 512 << 20;

/// A file that a command was given; `-` is standard input.
#[derive(Debug, Clone)]
pub(super) struct Input(PathBuf);

/// Why a file is no text of JSON at all.
#[derive(Debug, thiserror::Error)]
enum InputError {
    #[error("{0}")]
    Unreadable(#[from] io::Error),
    #[error("it is not UTF-8, as JSON must be: save it as UTF-8")]
    NotUtf8,
    #[error("it begins with a byte order mark (U+FEFF), which JSON does not know: save it as UTF-8 without one")]
    ByteOrderMark,
    #[error("it is empty: there is no envelope in it")]
    Nothing,
}

impl From<std::ffi::OsString> for Input {
    fn from(name: std::ffi::OsString) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == Path::new("-") { f.write_str("standard input") } else { self.0.display().fmt(f) }
    }
}

/// The bytes of a plugin's file, which are no more than a plugin has.
pub(super) fn component(path: &Path) -> Result<Vec<u8>, Failure> {
    let unusable = |why: String| Failure::unusable(format!("{}: {why}", path.display()));
    let read = std::fs::File::open(path).and_then(|file| bounded::bytes(file, PLUGIN_BYTES_MAX as u64));
    read.map_err(|error| unusable(error.to_string()))
}

impl Input {
    /// As it is named on a command line.
    pub(super) fn to_argument(&self) -> String {
        self.0.display().to_string()
    }

    /// The text, and it is not empty.
    pub(super) fn read(&self) -> Result<String, Failure> {
        self.bytes().map_err(InputError::from).and_then(text).map_err(|error| self.unusable(error))
    }

    /// What is wrong with it, as the failure of the command.
    pub(super) fn unusable(&self, why: impl fmt::Display) -> Failure {
        Failure::unusable(format!("{self}: {why}"))
    }

    /// That it holds no envelope, or not one.
    pub(super) fn no_envelope(&self, error: &serde_json::Error) -> Failure {
        if self.0.extension().is_some_and(|end| end == "toml") {
            return self.unusable(
                "it is a configuration, as its name says: `--config` names one. An envelope is a JSON object",
            );
        }
        self.unusable(match error.classify() {
            Category::Data => format!("it is JSON, and no envelope: that is one object ({error})"),
            Category::Syntax | Category::Eof | Category::Io => {
                format!("it is not JSON ({error}); an envelope is a JSON object")
            }
        })
    }

    fn bytes(&self) -> io::Result<Vec<u8>> {
        if self.0 != Path::new("-") {
            return bounded::bytes(std::fs::File::open(&self.0)?, BYTES_MAX);
        }
        bounded::bytes(io::stdin(), BYTES_MAX)
    }
}

fn text(bytes: Vec<u8>) -> Result<String, InputError> {
    // What an editor that saves UTF-16 begins with is a byte order mark too, but no UTF-8: told as such.
    let text = String::from_utf8(bytes).map_err(|_| InputError::NotUtf8)?;
    if text.starts_with('\u{feff}') {
        return Err(InputError::ByteOrderMark);
    }
    if text.trim().is_empty() {
        return Err(InputError::Nothing);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_end_is_not_read_for_ever() {
        let says = component(Path::new("/dev/zero")).expect_err("no plugin").error.to_string();
        assert_eq!(says, "/dev/zero: it is longer than 64 MiB");
    }

    #[test]
    fn what_is_no_text_says_what_it_is() {
        for (bytes, expected) in [
            (b"\xef\xbb\xbf{}".as_slice(), "byte order mark"),
            (b"\xff\xfe{\0}\0", "UTF-8"),
            (b" \n", "empty"),
            (b"\xef\xbb\xbf", "byte order mark"),
        ] {
            let told = text(bytes.to_vec()).expect_err("no envelope").to_string();
            assert!(told.contains(expected), "{told}");
        }
        assert_eq!(text(b"{}\n".to_vec()).expect("text"), "{}\n");
    }
}
