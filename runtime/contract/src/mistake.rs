//! Mistakes in what a client sent: what is wrong, and where.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A JSON Pointer (RFC 6901) into the document that the client sent; empty for the whole of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Pointer(String);

impl Pointer {
    /// The whole document.
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }

    /// The pointer to `key` (a member's name or an element's index) below this one.
    #[must_use]
    pub fn join(&self, key: impl fmt::Display) -> Self {
        Self(format!("{}/{}", self.0, key.to_string().replace('~', "~0").replace('/', "~1")))
    }

    /// A pointer that is already in the form of RFC 6901.
    #[must_use]
    pub fn raw(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Whether this is the place `above`, or one within it.
    #[must_use]
    pub fn is_within(&self, above: &str) -> bool {
        self.0.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The text, such as `/constraints/allowed_tools/2`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The stable codes of the mistakes that this crate finds. Codes are only added; a program may rely on those that are there.
pub mod code {
    /// The text is not JSON.
    pub const NOT_JSON: &str = "not_json";
    /// A number that JSON cannot say (NaN, an infinity) or that is too large to be read.
    pub const NOT_A_NUMBER: &str = "not_a_number";
    /// A number that would become another one.
    pub const NOT_EXACT: &str = "not_exact";
    /// Nested deeper than [`crate::limit::ENVELOPE_DEPTH_MAX`].
    pub const TOO_DEEP: &str = "too_deep";
    /// The same key twice in one object: two readers could see two envelopes.
    pub const DUPLICATE_KEY: &str = "duplicate_key";
    /// Missing, or null.
    pub const REQUIRED: &str = "required";
    /// A value of another JSON type.
    pub const WRONG_TYPE: &str = "wrong_type";
    /// A text without anything in it.
    pub const EMPTY: &str = "empty";
    /// A text or a list that is longer than it may be.
    pub const TOO_LONG: &str = "too_long";
    /// A character that may not be there.
    pub const INVALID_CHARACTER: &str = "invalid_character";
    /// A name that means something else already.
    pub const RESERVED: &str = "reserved";
    /// Not one of the names that are known there.
    pub const UNKNOWN_VALUE: &str = "unknown_value";
    /// A key of `constraints` or `budget` that names no limit that this node keeps.
    pub const UNKNOWN_CONSTRAINT: &str = "unknown_constraint";
    /// A number below or above what it may be.
    pub const OUT_OF_RANGE: &str = "out_of_range";
    /// A fraction where things are counted.
    pub const NOT_WHOLE: &str = "not_whole";
    /// Not a time of RFC 3339.
    pub const INVALID_TIME: &str = "invalid_time";
    /// A time without its offset from UTC: two readers could see two instants.
    pub const OFFSET_REQUIRED: &str = "offset_required";
    /// A window that ends before it begins.
    pub const INVALID_WINDOW: &str = "invalid_window";
    /// No plugin of this node runs such a mission.
    pub const PLUGIN_NOT_INSTALLED: &str = "plugin_not_installed";
    /// A plugin needs a tool of which its mission would get no call.
    pub const NEEDS_TOOL: &str = "needs_tool";
    /// A plugin needs a model, and its mission may ask none.
    pub const NEEDS_MODEL: &str = "needs_model";
    /// A plugin needs more memory than this node gives to one.
    pub const NEEDS_MEMORY: &str = "needs_memory";
    /// A plugin needs more run time than its mission has.
    pub const NEEDS_TIME: &str = "needs_time";
    /// A window in which the lane or the node is closed throughout.
    pub const OUTSIDE_HOURS: &str = "outside_hours";
    /// Not a pattern of tool names, or not a name or glob of an artifact.
    pub const INVALID_PATTERN: &str = "invalid_pattern";
    /// Not a URL that events can be sent to.
    pub const INVALID_URL: &str = "invalid_url";
    /// Not a reference to a secret.
    pub const INVALID_SECRET_REF: &str = "invalid_secret_ref";
    /// Not the name of a plugin.
    pub const INVALID_PLUGIN: &str = "invalid_plugin";
    /// More mistakes than one answer tells.
    pub const MORE_MISTAKES: &str = "more_mistakes";
}

/// One thing that is wrong with an envelope (or with another body): an element of a problem's `errors`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Mistake {
    /// Where it is; for something missing, where it should be.
    pub pointer: Pointer,
    /// A stable code for programs, such as `required` or `window_closed`.
    pub code: String,
    /// A sentence for people: what is wrong and what would be right.
    pub detail: String,
}

impl Mistake {
    /// A mistake at `pointer`.
    pub fn new(pointer: Pointer, code: &str, detail: impl Into<String>) -> Self {
        Self { pointer, code: code.to_owned(), detail: detail.into() }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pointer.as_str().is_empty() {
            return f.write_str(&self.detail);
        }
        write!(f, "{}: {}", self.pointer, self.detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_escaped_as_rfc_6901_says() {
        assert_eq!(Pointer::root().join("a/b").join("c~d").join(0).as_str(), "/a~1b/c~0d/0");
    }

    #[test]
    fn a_place_is_within_those_above_it_and_itself() {
        let place = Pointer::raw("/inputs/steps/1");
        for (above, within) in
            [("", true), ("/inputs", true), ("/inputs/steps/1", true), ("/in", false), ("/inputs/steps/1/id", false)]
        {
            assert_eq!(place.is_within(above), within, "{above}");
        }
    }
}
