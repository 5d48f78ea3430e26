//! What a replay shows of a build: the same as the record, mended, or something else, and where.
//!
//! The core says how the mission would have ended with what this build made of it, and the recorded end says how it did. Nothing
//! here reads a journal or runs a plugin.

use std::fmt;

use sortie_contract::outcome::{Reason, Status};
use sortie_contract::plugin::{Crash, Verdict as Said};
use sortie_contract::record::{Record, Stamped};
use sortie_engine::rehearsal::Came;
use sortie_mission::{Command, Ending, Mission, Now};

/// How the recorded run ended, as far as a plugin can be blamed for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recorded {
    /// It has not: the mission goes on.
    Open,
    /// It was stopped from outside: cancelled, timed out, halted.
    Stopped,
    /// The plugin crashed.
    Crashed,
    /// The plugin said how it ended.
    Returned,
}

impl Recorded {
    /// By the reason of the mission's final event.
    pub(super) fn of(reason: Option<Reason>) -> Self {
        match reason {
            None => Self::Open,
            Some(
                Reason::CancelledByRequest
                | Reason::Halted
                | Reason::WindowClosed
                | Reason::RunTimeSpent
                | Reason::RequestExpired
                | Reason::Interrupted
                | Reason::Unreadable
                | Reason::NodeFailed,
            ) => Self::Stopped,
            Some(Reason::PluginTrapped | Reason::OutOfMemory | Reason::Nondeterminism | Reason::LimitExceeded) => {
                Self::Crashed
            }
            Some(
                Reason::Done
                | Reason::PluginFailed
                | Reason::OutputMissing
                | Reason::CriterionUnmet
                | Reason::ToolFailed,
            ) => Self::Returned,
        }
    }
}

/// How a mission ended, or would have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct End {
    status: Status,
    reason: Reason,
    summary: String,
}

impl End {
    /// The end that is on record.
    pub(super) fn recorded(records: &[Stamped]) -> Option<Self> {
        records.iter().find_map(|stamped| Self::of(&stamped.record))
    }

    /// The end that `mission`, which has not ended, would have had if its run had ended so.
    pub(super) fn with(mission: &Mission, ending: Ending, at: &Stamped) -> Option<Self> {
        let now = Now {
            wall: at.at,
            ran_ms: at.ran_ms,
            out_ms: None,
            next_window: None,
            wider: Default::default(),
            expires_at: at.at,
            on_expiry: sortie_contract::envelope::OnExpiry::End,
        };
        let records =
            mission.decide(now, Command::PluginEnded { run: mission.run()?, ending, uncollected: Vec::new() }).ok()?;
        records.iter().find_map(Self::of)
    }

    fn of(record: &Record) -> Option<Self> {
        let Record::Finished { status, reason, summary, .. } = record else { return None };
        Some(Self { status: *status, reason: *reason, summary: summary.clone() })
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.status, self.reason, self.summary)
    }
}

/// What a replay shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As far as the record goes, the build does what is on record.
    Same,
    /// It follows the record to its end, and does not fail there as the recorded run did.
    Mended,
    /// It does something else.
    Different,
}

impl Verdict {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Mended => "mended",
            Self::Different => "different",
        }
    }
}

/// Compares: the verdict, and a sentence that says where and how. `end` is the mission's end with what the build made of it.
pub(super) fn compare(recorded: (Recorded, Option<&End>), ran: &Came, end: Option<&End>) -> (Verdict, String) {
    let (kind, was) = recorded;
    let failed = was.is_some_and(|end| end.status == Status::Failed);
    match ran {
        Came::Diverged { recorded, attempted } => {
            (Verdict::Different, format!("recorded is {recorded}; this build asks for {attempted}"))
        }
        Came::CrashedWithin(crash) => {
            (Verdict::Different, format!("within the record, this build crashes: {}", words(crash)))
        }
        Came::Crashed(_) if was.is_some() && was == end => {
            (Verdict::Same, "it crashes where the recorded run did, in the same words".to_owned())
        }
        Came::Crashed(crash) => {
            let there = if kind == Recorded::Crashed { "there too, but otherwise" } else { "at the end of the record" };
            (Verdict::Different, format!("it crashes {there}: {}", words(crash)))
        }
        Came::WentOn { next } => match kind {
            Recorded::Open | Recorded::Stopped => {
                (Verdict::Same, format!("it keeps to the record to its end, and would go on with {next}"))
            }
            _ if failed => {
                (Verdict::Mended, format!("it gets past what the recorded run ended with, and would go on with {next}"))
            }
            _ => (Verdict::Different, format!("the recorded run was done here; this build would go on with {next}")),
        },
        Came::Returned { said, beyond } => returned(recorded, said, *beyond, end),
        // Nothing can be said of a build that was not let go on.
        Came::Stopped => (Verdict::Different, "it was stopped".to_owned()),
    }
}

/// The same of a run that ended by itself.
fn returned((kind, was): (Recorded, Option<&End>), said: &Said, beyond: bool, end: Option<&End>) -> (Verdict, String) {
    let done = matches!(said, Said::Done { .. });
    let ends = || end.map_or_else(|| said_of(said), ToString::to_string);
    match kind {
        Recorded::Open | Recorded::Stopped => {
            (Verdict::Same, format!("it keeps to the record to its end, and ends as {}", said_of(said)))
        }
        Recorded::Crashed if done => {
            (Verdict::Mended, format!("it does not crash any more, and ends as {}", said_of(said)))
        }
        Recorded::Crashed => (Verdict::Different, format!("it does not crash any more, and ends as {}", said_of(said))),
        Recorded::Returned if !beyond && was == end => (Verdict::Same, "it ends as the recorded run did".to_owned()),
        Recorded::Returned => {
            let failed = was.is_some_and(|was| was.status == Status::Failed);
            // What it did behind the record (an artifact, a judgement) counts for more than the core knows here.
            let well = done && (beyond || end.is_some_and(|end| end.status == Status::Completed));
            let verdict = if failed && well { Verdict::Mended } else { Verdict::Different };
            let ends = if beyond { said_of(said) } else { ends() };
            (verdict, format!("it keeps to the record, and ends as {ends}"))
        }
    }
}

fn said_of(said: &Said) -> String {
    match said {
        Said::Done { summary, .. } => format!("done: {summary}"),
        Said::Failed { summary, .. } => format!("failed: {summary}"),
    }
}

/// A crash in words.
pub(super) fn words(crash: &Crash) -> String {
    match crash {
        Crash::Trapped(text) => format!("it trapped: {text}"),
        Crash::OutOfMemory { limit_bytes } => format!("it wanted more memory than {limit_bytes} bytes"),
        Crash::LimitExceeded(what) => format!("it reached a limit: {what}"),
        Crash::Diverged { recorded, attempted } => {
            format!("recorded is {recorded}; this build asks for {attempted}")
        }
        Crash::Unrunnable(why) => format!("it could not be run: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(status: Status, reason: Reason, summary: &str) -> End {
        End { status, reason, summary: summary.to_owned() }
    }

    fn done(summary: &str) -> Said {
        Said::Done { summary: summary.to_owned(), next_action: None }
    }

    #[test]
    fn each_pair_of_ends_has_its_verdict() {
        let completed = end(Status::Completed, Reason::Done, "all well");
        let other = end(Status::Completed, Reason::Done, "all is well");
        let failed = end(Status::Failed, Reason::PluginFailed, "no");
        let trapped = end(Status::Failed, Reason::PluginTrapped, "The plugin p crashed: at a");
        let elsewhere = end(Status::Failed, Reason::PluginTrapped, "The plugin p crashed: at b");
        let cancelled = end(Status::Cancelled, Reason::CancelledByRequest, "why");
        let on = Came::WentOn { next: "a call of `Write`".to_owned() };
        let crash = Came::Crashed(Crash::Trapped("at a".to_owned()));
        let within = Came::CrashedWithin(Crash::Trapped("at a".to_owned()));
        let said = |said: Said, beyond| Came::Returned { said, beyond };
        let failure = Said::Failed { summary: "no".to_owned(), tool: None, next_action: None };
        for (was, ran, would, expected) in [
            (None, &on, None, Verdict::Same),
            (Some(&cancelled), &on, None, Verdict::Same),
            (Some(&trapped), &on, None, Verdict::Mended),
            (Some(&failed), &on, None, Verdict::Mended),
            (Some(&completed), &on, None, Verdict::Different),
            (Some(&trapped), &crash, Some(&trapped), Verdict::Same),
            (Some(&trapped), &crash, Some(&elsewhere), Verdict::Different),
            (Some(&trapped), &within, Some(&trapped), Verdict::Different),
            (Some(&completed), &crash, Some(&trapped), Verdict::Different),
            (Some(&trapped), &said(done("x"), false), Some(&completed), Verdict::Mended),
            (Some(&trapped), &said(failure.clone(), false), Some(&failed), Verdict::Different),
            (Some(&completed), &said(done("x"), false), Some(&completed), Verdict::Same),
            // A changed summary is a change.
            (Some(&completed), &said(done("x"), false), Some(&other), Verdict::Different),
            (Some(&completed), &said(done("x"), true), Some(&completed), Verdict::Different),
            (Some(&failed), &said(done("x"), false), Some(&completed), Verdict::Mended),
            (Some(&failed), &said(failure, false), Some(&failed), Verdict::Same),
            (None, &said(done("x"), false), Some(&completed), Verdict::Same),
        ] {
            let kind = Recorded::of(was.map(|end| end.reason));
            let (verdict, says) = compare((kind, was), ran, would);
            assert_eq!(verdict, expected, "{was:?}, {ran:?}: {says}");
        }
        let diverged = Came::Diverged { recorded: "the time".to_owned(), attempted: "a timer".to_owned() };
        let (verdict, says) = compare((Recorded::Returned, Some(&completed)), &diverged, None);
        assert_eq!(verdict, Verdict::Different);
        assert!(says.contains("the time") && says.contains("a timer"), "{says}");
    }

    #[test]
    fn a_crash_is_told_in_words() {
        for crash in [
            Crash::Trapped("panicked at a".to_owned()),
            Crash::OutOfMemory { limit_bytes: 7 },
            Crash::LimitExceeded("calls".to_owned()),
            Crash::Unrunnable("gone".to_owned()),
        ] {
            let says = words(&crash);
            assert!(!says.contains(['{', '(', '"']) && says.starts_with("it "), "{says}");
        }
    }
}
