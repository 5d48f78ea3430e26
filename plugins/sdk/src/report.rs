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
    world::milestone(text.as_ref());
}

/// A line for the mission's log.
pub fn log(level: Level, text: impl AsRef<str>) {
    let level = match level {
        Level::Debug => world::Level::Debug,
        Level::Info => world::Level::Info,
        Level::Warn => world::Level::Warn,
        Level::Error => world::Level::Error,
    };
    world::log(level, text.as_ref());
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
    let criterion = u32::try_from(criterion).expect("an index into the brief's criteria");
    let verdict = match verdict {
        Verdict::Met => world::Verdict::Met,
        Verdict::Unmet => world::Verdict::Unmet,
        Verdict::NotJudged => world::Verdict::NotJudged,
    };
    world::judge(criterion, verdict, evidence.as_ref());
}
