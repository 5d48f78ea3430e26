//! What people see of a mission while it runs.

use crate::bindings::world::report as world;

/// How serious a logged line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Details.
    Debug,
    /// Normal.
    Info,
    /// Something is odd.
    Warn,
    /// Something went wrong.
    Error,
}

/// What became of a success criterion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Met,
    /// It does not; the mission fails.
    Unmet,
    /// Nobody looked.
    NotJudged,
}

/// A step worth a person's attention: becomes a progress event where the mission's cadence reports milestones.
pub fn milestone(text: impl AsRef<str>) {
    #[cfg(target_arch = "wasm32")]
    world::milestone(text.as_ref());
    #[cfg(not(target_arch = "wasm32"))]
    crate::testing::milestone(text.as_ref());
}

/// A line for the mission's log.
pub fn log(level: Level, text: impl AsRef<str>) {
    #[cfg(target_arch = "wasm32")]
    world::log(level.into(), text.as_ref());
    #[cfg(not(target_arch = "wasm32"))]
    crate::testing::log(level, text.as_ref());
}

impl From<Level> for world::Level {
    fn from(level: Level) -> Self {
        match level {
            Level::Debug => Self::Debug,
            Level::Info => Self::Info,
            Level::Warn => Self::Warn,
            Level::Error => Self::Error,
        }
    }
}

/// [`log`] at [`Level::Debug`].
pub fn debug(text: impl AsRef<str>) {
    log(Level::Debug, text);
}

/// [`log`] at [`Level::Info`].
pub fn info(text: impl AsRef<str>) {
    log(Level::Info, text);
}

/// [`log`] at [`Level::Warn`].
pub fn warn(text: impl AsRef<str>) {
    log(Level::Warn, text);
}

/// [`log`] at [`Level::Error`].
pub fn error(text: impl AsRef<str>) {
    log(Level::Error, text);
}

/// Judges a success criterion, by its index in the brief. The last judgement counts; an unmet one fails the mission.
///
/// # Panics
/// When the index does not fit 32 bits: no brief is that long.
pub fn judge(criterion: usize, verdict: Verdict, evidence: impl AsRef<str>) {
    #[cfg(target_arch = "wasm32")]
    world::judge(
        u32::try_from(criterion).expect("an index into the brief's criteria"),
        verdict.into(),
        evidence.as_ref(),
    );
    #[cfg(not(target_arch = "wasm32"))]
    crate::testing::judge(criterion, verdict, evidence.as_ref());
}

impl From<Verdict> for world::Verdict {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Met => Self::Met,
            Verdict::Unmet => Self::Unmet,
            Verdict::NotJudged => Self::NotJudged,
        }
    }
}
