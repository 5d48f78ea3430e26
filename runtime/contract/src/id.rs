//! Identifiers: one newtype each, so that a session can never be passed where a mission was meant.
//!
//! All of them are short immutable strings (cheap to clone: an [`Arc`]) except the numbers that the node itself hands out.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

use crate::digest::Digest;
use crate::limit;

/// Why a text is no identifier; says the rule, not the text (it may be a megabyte).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Nothing there, or white space alone.
    #[error("must not be empty")]
    Empty,
    /// Longer than the limit.
    #[error("must not be longer than {max} bytes")]
    TooLong {
        /// The longest that is taken, in bytes.
        max: usize,
    },
    /// A character outside the alphabet of this identifier.
    #[error("may only hold A-Z a-z 0-9 . _ : -")]
    Alphabet,
    /// A control character: it would break a header or a log line.
    #[error("must not hold control characters")]
    Control,
    /// A step within a path, not a name.
    #[error("must not be `.` or `..`: in a URL these are steps, so nothing could be found under them")]
    Step,
}

/// White space, as the patterns of JSON Schema have it: a byte order mark is some.
pub(crate) fn is_white(c: char) -> bool {
    c.is_whitespace() || c == '\u{feff}'
}

/// Whether there is nothing to be seen in it.
pub(crate) fn is_blank(text: &str) -> bool {
    text.chars().all(is_white)
}

fn free_text(text: &str, max: usize) -> Result<(), IdError> {
    if is_blank(text) {
        Err(IdError::Empty)
    } else if text.len() > max {
        Err(IdError::TooLong { max })
    } else if text.chars().any(char::is_control) {
        Err(IdError::Control)
    } else {
        Ok(())
    }
}

fn strict(text: &str, max: usize) -> Result<(), IdError> {
    free_text(text, max)?;
    if matches!(text, "." | "..") {
        return Err(IdError::Step);
    }
    if text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:-".contains(&b)) {
        Ok(())
    } else {
        Err(IdError::Alphabet)
    }
}

/// Words that stand in the paths of the API where ids do: `/v1/missions/batch` is no mission, `/v1/schedules/preview` no schedule.
/// Whatever has a path of its own by its name (missions, plugins, schedules) is not named by one of them. A test of the node
/// holds this list against its routes.
pub const RESERVED: [&str; 3] = ["batch", "dispatch", "preview"];

/// Whether `name` is one of the words of the API's paths: see [`RESERVED`].
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name)
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $check:ident, $max:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes `text` as an identifier.
            ///
            /// # Errors
            /// [`IdError`] with the rule that the text breaks.
            pub fn new(text: impl Into<Arc<str>>) -> Result<Self, IdError> {
                let text = text.into();
                $check(&text, $max)?;
                Ok(Self(text))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, target: S) -> Result<S::Ok, S::Error> {
                target.serialize_str(&self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.as_ref().to_owned()
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

text_id! {
    /// The globally unique name of a mission: 1 to 200 characters of `A-Za-z0-9._:-` (contract, section 1), and neither `.` nor
    /// `..`, which no URL can name.
    MissionId, strict, limit::ID_BYTES_MAX
}
text_id! {
    /// Who a mission is done for and as: the "virtual person" of the contract (section 1.1).
    VpId, free_text, limit::ID_BYTES_MAX
}
text_id! {
    /// One working relationship of a VP: its missions run one at a time, in one workspace (contract, section 1.1).
    SessionId, free_text, limit::SESSION_ID_BYTES_MAX
}
text_id! {
    /// The lane a session is handled by: the contract's `vp_runtime_id`.
    LaneId, free_text, limit::ID_BYTES_MAX
}
text_id! {
    /// A control plane or a factory node.
    InstanceId, free_text, limit::ID_BYTES_MAX
}
text_id! {
    /// What a dispatch calls itself, so that sending it twice does it once (contract, section 4).
    IdempotencyKey, free_text, limit::KEY_BYTES_MAX
}
text_id! {
    /// Carried on every event, log line and span (contract, section 6).
    TraceId, free_text, limit::KEY_BYTES_MAX
}

/// What the name of a fork's session begins with, and its idempotency key.
pub const FORK: &str = "fork:";

impl SessionId {
    /// The session of a VP that never named one: `{vp_id}.session`.
    #[must_use]
    pub fn of(vp: &VpId) -> Self {
        Self(format!("{vp}{}", limit::SESSION_SUFFIX).into())
    }

    /// The session of a fork, which has it for itself: `fork:{mission_id}`.
    #[must_use]
    pub fn of_fork(mission: &MissionId) -> Self {
        Self(format!("{FORK}{mission}").into())
    }
}

/// What the name of a child's session begins with, and its idempotency key.
const CHILD: &str = "child:";

/// What stands in the name of a child between its parent's and the number of the call: `night.child-7`.
const CHILD_OF: &str = ".child-";

/// How much of a digest stands for the end of a name that is too long.
const DIGITS: usize = 12;

impl MissionId {
    /// The child that a call of a mission dispatches: `{parent}.child-{call}`. So the same call dispatches the same one, however often it is
    /// made.
    #[must_use]
    pub fn of_child(parent: &Self, call: CallNo) -> Self {
        let (end, room) = (format!("{CHILD_OF}{call}"), limit::ID_BYTES_MAX);
        if parent.as_str().len() + end.len() <= room {
            return Self(format!("{parent}{end}").into());
        }
        let digest = Digest::of(parent.as_str().as_bytes()).to_string();
        // Its characters are ASCII.
        let kept = &parent.as_str()[..room - end.len() - DIGITS - 1];
        Self(format!("{kept}.{}{end}", &digest[..DIGITS]).into())
    }

    /// Whether it is a name that a child may have: only a node gives such names, so that nobody has one before the child that is to bear it.
    #[must_use]
    pub fn is_of_a_child(&self) -> bool {
        ends_with_a_call(self.as_str(), CHILD_OF)
    }
}

/// Whether a text ends with the number of a call, behind this.
fn ends_with_a_call(text: &str, mark: &str) -> bool {
    let call = text.rsplit_once(mark).map(|(_, call)| call);
    call.is_some_and(|call| !call.is_empty() && call.bytes().all(|digit| digit.is_ascii_digit()))
}

impl SessionId {
    /// The session of a child, which has it for itself: `child:{mission_id}`.
    #[must_use]
    pub fn of_child(mission: &MissionId) -> Self {
        Self(format!("{CHILD}{mission}").into())
    }

    /// Whether it is a name that the session of a child may have, which only a node gives.
    #[must_use]
    pub fn is_of_a_child(&self) -> bool {
        self.as_str().strip_prefix(CHILD).is_some_and(|mission| ends_with_a_call(mission, CHILD_OF))
    }
}

impl IdempotencyKey {
    /// What the dispatch of a child calls itself.
    #[must_use]
    pub fn of_child(parent: &MissionId, call: CallNo) -> Self {
        Self(format!("{CHILD}{parent}/{call}").into())
    }

    /// Whether it is a name that the dispatch of a child may have, which only a node gives.
    #[must_use]
    pub fn is_of_a_child(&self) -> bool {
        self.as_str().strip_prefix(CHILD).is_some_and(|call| ends_with_a_call(call, "/"))
    }

    /// The mission and its call that dispatched the mission of that name, if one did: only a node gives both names so.
    #[must_use]
    pub fn dispatched_by(&self, mission: &MissionId) -> Option<(MissionId, CallNo)> {
        let (parent, call) = self.as_str().strip_prefix(CHILD)?.rsplit_once('/')?;
        let (parent, call) = (MissionId::new(parent).ok()?, CallNo(call.parse().ok()?));
        (MissionId::of_child(&parent, call) == *mission).then_some((parent, call))
    }
}

/// A mission's number on this node: 1, 2, 3 … in the order of acceptance. It leads every hot key of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MissionNo(pub u64);

/// A host call of a mission: 1, 2, 3 … in the order in which its plugin made them, through all its runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CallNo(pub u32);

/// An attempt to run a mission's plugin: 1, 2 …. Serves as the fencing token: what a stopped run still returns carries an older one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunNo(pub u32);

impl fmt::Display for MissionNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for CallNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for RunNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mission_ids_keep_their_alphabet_and_length() {
        for (text, expected) in [
            ("vp-mission-0b7c", Ok(())),
            ("doc-maintenance:2026-11-22", Ok(())),
            ("", Err(IdError::Empty)),
            ("a b", Err(IdError::Alphabet)),
            ("ä", Err(IdError::Alphabet)),
            ("a/b", Err(IdError::Alphabet)),
            (".", Err(IdError::Step)),
            ("..", Err(IdError::Step)),
            ("...", Ok(())),
            (".a", Ok(())),
        ] {
            assert_eq!(MissionId::new(text).map(drop), expected, "{text:?}");
        }
        assert!(MissionId::new("x".repeat(limit::ID_BYTES_MAX)).is_ok());
        assert!(MissionId::new("x".repeat(limit::ID_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn the_names_of_a_child_are_names_and_lead_back_to_its_parent() {
        for parent in ["night".to_owned(), "n".repeat(limit::ID_BYTES_MAX - 3), "n".repeat(limit::ID_BYTES_MAX)] {
            let parent = MissionId::new(parent).expect("an id");
            for call in [CallNo(1), CallNo(70), CallNo(u32::MAX)] {
                let child = MissionId::of_child(&parent, call);
                assert_eq!(MissionId::new(child.as_str()), Ok(child.clone()));
                assert!(child.is_of_a_child(), "{child}");
                let (key, session) = (IdempotencyKey::of_child(&parent, call), SessionId::of_child(&child));
                assert_eq!(SessionId::new(session.as_str()), Ok(session.clone()));
                assert_eq!(IdempotencyKey::new(key.as_str()), Ok(key.clone()));
                assert!(session.is_of_a_child() && key.is_of_a_child(), "{session} {key}");
                assert_eq!(key.dispatched_by(&child), Some((parent.clone(), call)));
                assert_eq!(key.dispatched_by(&parent), None, "of another mission it says nothing");
            }
        }
        let (night, tenth) = (MissionId::new("night").expect("an id"), CallNo(10));
        assert_eq!(MissionId::of_child(&night, tenth).as_str(), "night.child-10");
    }

    #[test]
    fn the_name_of_a_child_is_told_from_all_that_are_merely_like_it() {
        for (name, is_one) in [
            ("night.child-7", true),
            ("night.child-7.child-70", true),
            ("night.child-007", true),
            ("night.7", false),
            ("report-2026.11.22", false),
            ("night.child-", false),
            ("night.child-a", false),
            ("night.child-7.fork-1", false),
            ("child-7", false),
            ("night:child-7", false),
        ] {
            assert_eq!(MissionId::new(name).expect("an id").is_of_a_child(), is_one, "{name}");
        }
    }

    #[test]
    fn the_session_of_the_longest_vp_is_a_session() {
        let vp = VpId::new("v".repeat(limit::ID_BYTES_MAX)).expect("a VP");
        let session = SessionId::of(&vp);
        assert_eq!(SessionId::new(session.as_str()), Ok(session));
    }

    #[test]
    fn free_ids_refuse_what_would_break_a_header() {
        assert_eq!(TraceId::new("a\r\nX-Evil: 1"), Err(IdError::Control));
        assert!(TraceId::new("nightly wiki, 22 November").is_ok());
    }
}
