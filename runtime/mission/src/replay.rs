//! Replay: what a run is told that goes over ground which an earlier run of the same mission has covered.
//!
//! A plugin is deterministic: given the same brief and the same answers it asks the same again. So a run after a crash, a
//! stop or an eviction begins at the beginning and gets the recorded answers, call by call, until the record ends; from there
//! it goes on. Nothing recorded is done again. A run that asks for something else than the record holds has diverged, and
//! must not go on: nobody could say what its further calls would mean.

use alloc::borrow::ToOwned as _;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt;

use jiff::Timestamp;
use sortie_contract::artifact::Artifact;
use sortie_contract::digest::Digest;
use sortie_contract::id::CallNo;
use sortie_contract::limit;
use sortie_contract::outcome::Verdict;
use sortie_contract::plugin::{Crash, LogLevel};
use sortie_contract::record::{ArtifactSource, HostQuestion, Record, Stamped};
use sortie_contract::tool::{ASK, CallError, MISSION, ToolAnswer, ToolInfo, ToolName};

use crate::decide::note;
pub use crate::kind::host_call;

/// What a run asks of its node.
#[derive(Debug, Clone, Copy)]
pub enum Asked<'a> {
    /// To call a tool.
    Call {
        /// Which.
        tool: &'a ToolName,
        /// The arguments: JSON text.
        arguments: &'a str,
    },
    /// What a tool is.
    Describe {
        /// Which.
        tool: &'a ToolName,
    },
    /// To ask people something.
    Ask {
        /// In its words.
        question: &'a str,
    },
    /// Something that only the node knows.
    Question(HostQuestion),
    /// Which of several is ready first.
    WaitAny {
        /// Those, in its order: calls by their number; none of a timer or a signal, which has no number.
        among: &'a [Option<CallNo>],
    },
    /// To land.
    Land,
    /// To report a milestone.
    Milestone {
        /// For people.
        text: &'a str,
    },
    /// To log a line.
    Log {
        /// How serious it is.
        level: LogLevel,
        /// The line.
        text: &'a str,
    },
    /// To judge a criterion.
    Judge {
        /// Its index.
        criterion: u32,
        /// What it found.
        verdict: Verdict,
        /// Why.
        evidence: &'a str,
    },
    /// To be woken after a while.
    After {
        /// How long, in milliseconds.
        ms: u64,
    },
    /// To read an artifact back.
    Get {
        /// Its name.
        name: &'a str,
    },
    /// To read what a child left.
    GetOf {
        /// The child.
        mission: &'a str,
        /// What it is called there.
        name: &'a str,
    },
    /// To store an artifact.
    Put {
        /// Its name.
        name: &'a str,
        /// Of what kind it is.
        media_type: &'a str,
        /// What is in it.
        contents: Contents<'a>,
    },
}

/// What is to be stored as an artifact, as far as two askings can differ by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contents<'a> {
    /// These bytes, from the plugin's memory.
    Memory(Digest),
    /// What is in a file of the workspace then. The path as the plugin wrote it.
    File(&'a str),
}

impl Contents<'_> {
    /// Whether the artifact is of this asking. Where the record does not say where the bytes came from, it may be.
    fn made(self, artifact: &Artifact, source: &ArtifactSource) -> bool {
        match (self, source) {
            (Self::Memory(digest), ArtifactSource::Memory | ArtifactSource::Unsaid) => artifact.sha256 == digest,
            (Self::File(path), ArtifactSource::File { path: recorded }) => path == recorded,
            (Self::File(_), ArtifactSource::Unsaid) => true,
            (Self::Memory(_), ArtifactSource::File { .. }) | (Self::File(_), ArtifactSource::Memory) => false,
        }
    }
}

/// What the record answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Recorded {
    /// A call, or a question to people. Without an outcome it is still in flight: held, or to be made again.
    Call {
        /// Its number.
        call: CallNo,
        /// What came back.
        outcome: Option<Result<ToolAnswer, CallError>>,
    },
    /// A child that was not dispatched.
    Refused {
        /// Why.
        error: CallError,
    },
    /// What the node said.
    Answer {
        /// JSON text.
        answer: String,
        /// When.
        at: Timestamp,
        /// And how long the mission had been running then.
        ran_ms: u64,
    },
    /// What the tool is.
    Described(ToolInfo),
    /// The artifact is stored.
    Stored(Artifact),
    /// It was noted; there is nothing to say.
    Noted,
}

/// The recorded part of a mission, as far as its current run has not gone over it.
#[derive(Debug, Clone, Default)]
pub struct Replay {
    left: VecDeque<Stamped>,
    outcomes: BTreeMap<CallNo, Result<ToolAnswer, CallError>>,
    /// Notes gone over; beyond a limit they are not recorded.
    notes: u32,
    /// Calls gone over.
    calls: u32,
    /// Records before version 3 do not say what tools were said to be.
    undescribed: bool,
}

impl Asked<'_> {
    /// What a question is about, as its record keeps it; empty where the question says all.
    #[must_use]
    pub fn about(&self) -> String {
        let about = match self {
            Self::Get { name } => (*name).to_owned(),
            Self::GetOf { mission, name } => format!("{name} of the mission {mission}"),
            Self::Put { name, media_type, contents: Contents::Memory(digest) } => {
                format!("{name} ({media_type}, {digest})")
            }
            Self::Put { name, media_type, contents: Contents::File(path) } => {
                format!("{name} ({media_type}, the file {path})")
            }
            Self::WaitAny { among } => several(among),
            _ => String::new(),
        };
        limit::clip(&about, limit::NOTE_BYTES_MAX)
    }
}

/// Those that a run waits for, in words that differ where they do, and are short: a run may wait for hundreds a thousand times.
fn several(among: &[Option<CallNo>]) -> String {
    let each = among.iter().map(|call| call.map_or_else(|| "-".to_owned(), |call| call.to_string()));
    let all = each.collect::<Vec<_>>().join(", ");
    if all.len() <= limit::QUOTE_BYTES_MAX {
        return all;
    }
    format!("{} of them, {}", among.len(), Digest::of(all.as_bytes()))
}

impl Replay {
    /// The record of a mission, to be gone over from its beginning.
    #[must_use]
    pub fn new(records: &[Stamped]) -> Self {
        let mut replay = Self::default();
        let mut notes = 0;
        for stamped in records {
            match &stamped.record {
                // Journals of the first format: what came before is not part of the run.
                Record::Interrupted => {
                    replay.left.clear();
                    replay.outcomes.clear();
                    replay.notes = notes;
                }
                Record::CallFinished { call, outcome, .. } => drop(replay.outcomes.insert(*call, outcome.clone())),
                record => {
                    replay.undescribed |= matches!(record, Record::Granted { .. }) && !replay.left.is_empty();
                    notes += u32::from(matches!(record, Record::Milestone { .. } | Record::Logged { .. }));
                    if host_call(record).is_some() {
                        replay.left.push_back(stamped.clone());
                    }
                }
            }
        }
        replay
    }

    /// The calls that are left, with the time of each.
    #[must_use]
    pub fn times(&self) -> Vec<(CallNo, Timestamp)> {
        let number = |stamped: &Stamped| Some((host_call(&stamped.record)?, stamped.at));
        self.left.iter().filter_map(number).collect()
    }

    /// Whether all of the record has been gone over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.left.is_empty()
    }

    /// The record that comes next, of those that have not been gone over.
    #[must_use]
    pub fn front(&self) -> Option<&Stamped> {
        self.left.front()
    }

    /// What to make of a run that ends here: nothing, behind the end of the record.
    ///
    /// # Errors
    /// [`Crash::Diverged`] where the record goes on.
    pub fn end(&self) -> Result<(), Crash> {
        self.left.front().map_or(Ok(()), |stamped| {
            let attempted = "the end of its run".to_owned();
            Err(Crash::Diverged { recorded: describe(&stamped.record), attempted })
        })
    }

    /// How many recorded calls have been gone over.
    #[must_use]
    pub fn calls(&self) -> u32 {
        self.calls
    }

    /// What the record answers to the next thing that the run asks for; `None` behind its end.
    ///
    /// # Errors
    /// [`Crash::Diverged`] where the record holds something else.
    pub fn next(&mut self, asked: Asked<'_>) -> Result<Option<Recorded>, Crash> {
        if self.left.is_empty() {
            return Ok(None);
        }
        if matches!(asked, Asked::Milestone { .. } | Asked::Log { .. }) && self.notes >= limit::NOTES_MAX {
            return Ok(Some(Recorded::Noted));
        }
        if self.undescribed && matches!(asked, Asked::Describe { .. }) && !self.left.front().is_some_and(describes) {
            return Ok(Some(Recorded::Noted));
        }
        let Some(mut answer) = self.left.front().and_then(|stamped| self.answer(stamped, asked)) else {
            if matches!(asked, Asked::Judge { .. }) && self.notes >= limit::NOTES_MAX {
                // Of a criterion that there is not, when no more was logged.
                return Ok(Some(Recorded::Noted));
            }
            let recorded = self.left.front().map(|stamped| describe(&stamped.record)).unwrap_or_default();
            return Err(Crash::Diverged { recorded, attempted: asked.to_string() });
        };
        let gone_over = self.left.pop_front().map(|stamped| stamped.record);
        self.notes += u32::from(matches!(gone_over, Some(Record::Milestone { .. } | Record::Logged { .. })));
        self.calls += 1;
        if let Recorded::Call { call, outcome: outcome @ None } = &mut answer {
            // It is asked for once, and may be large.
            *outcome = self.outcomes.remove(call);
        }
        Ok(Some(answer))
    }

    /// The answer of `stamped`, if it is what is asked for; of a call that was made, without its outcome.
    fn answer(&self, stamped: &Stamped, asked: Asked<'_>) -> Option<Recorded> {
        let made = |call: &CallNo| Recorded::Call { call: *call, outcome: None };
        let when = |same: bool, answer: Recorded| same.then_some(answer);
        match (&stamped.record, asked) {
            (
                Record::CallStarted { call, tool, digest, .. } | Record::CallHeld { call, tool, digest, .. },
                Asked::Call { tool: wanted, arguments },
            ) => when(tool == wanted && *digest == Digest::of(arguments.as_bytes()), made(call)),
            (Record::CallRefused { tool, digest, error, .. }, Asked::Call { tool: wanted, arguments })
                if tool.as_str() == MISSION =>
            {
                let same = tool == wanted && *digest == Digest::of(arguments.as_bytes());
                when(same, Recorded::Refused { error: error.clone() })
            }
            (Record::CallRefused { call, tool, digest, error }, Asked::Call { tool: wanted, arguments }) => when(
                tool == wanted && *digest == Digest::of(arguments.as_bytes()),
                Recorded::Call { call: *call, outcome: Some(Err(error.clone())) },
            ),
            (Record::Asked { call, question }, Asked::Ask { question: wanted }) => {
                when(*question == note(wanted.to_owned()), made(call))
            }
            (Record::CallRefused { call, tool, digest, error }, Asked::Ask { question }) => when(
                tool.as_str() == ASK && *digest == Digest::of(note(question.to_owned()).as_bytes()),
                Recorded::Call { call: *call, outcome: Some(Err(error.clone())) },
            ),
            (Record::Answered { question: HostQuestion::Describe, answer, .. }, Asked::Describe { tool }) => {
                let info: ToolInfo = serde_json::from_str(answer).ok()?;
                when(info.name == *tool, Recorded::Described(info))
            }
            (Record::Answered { question, about, answer, .. }, asked) => when(
                answers(*question, about, answer, asked),
                Recorded::Answer { answer: answer.clone(), at: stamped.at, ran_ms: stamped.ran_ms },
            ),
            (Record::ArtifactStored { artifact, source, .. }, Asked::Put { name, media_type, contents }) => when(
                artifact.name.as_str() == name && artifact.media_type == media_type && contents.made(artifact, source),
                Recorded::Stored(artifact.clone()),
            ),
            (Record::Milestone { text, .. }, Asked::Milestone { text: wanted }) => {
                when(*text == note(wanted.to_owned()), Recorded::Noted)
            }
            (Record::Logged { level, text, .. }, Asked::Log { level: wanted, text: line }) => {
                when(*level == wanted && *text == note(line.to_owned()), Recorded::Noted)
            }
            (
                Record::Judged { criterion, verdict, evidence, .. },
                Asked::Judge { criterion: wanted, verdict: found, evidence: because },
            ) => when(
                *criterion == wanted && *verdict == found && *evidence == note(because.to_owned()),
                Recorded::Noted,
            ),
            (Record::Landing { .. }, Asked::Land) => Some(Recorded::Noted),
            // A criterion that there is not: a warning was logged instead.
            (Record::Logged { level: LogLevel::Warn, text, .. }, Asked::Judge { criterion, .. }) => {
                when(text.starts_with(&format!("judged criterion {criterion};")), Recorded::Noted)
            }
            _ => None,
        }
    }
}

/// Whether the answer to `question` is one to what is `asked`. What was asked about is on record since version 4.
fn answers(question: HostQuestion, about: &str, answer: &str, asked: Asked<'_>) -> bool {
    match (question, asked) {
        (HostQuestion::After, Asked::After { ms }) => answer.parse().map_or(true, |recorded: u64| recorded == ms),
        (HostQuestion::ArtifactGet, Asked::Get { .. }) | (HostQuestion::ArtifactPut, Asked::Put { .. }) => {
            about.is_empty() || about == asked.about()
        }
        (HostQuestion::ArtifactGet, Asked::GetOf { .. }) => about == asked.about(),
        // Which they were is on record since one could be forked.
        (HostQuestion::WaitAny, Asked::WaitAny { .. }) => about.is_empty() || about == asked.about(),
        (question, Asked::Question(wanted)) => question == wanted,
        _ => false,
    }
}

fn describes(stamped: &Stamped) -> bool {
    matches!(stamped.record, Record::Answered { question: HostQuestion::Describe, .. })
}

/// A recorded host call in words.
#[must_use]
pub fn describe(record: &Record) -> String {
    match record {
        Record::CallStarted { call, tool, arguments, .. } | Record::CallHeld { call, tool, arguments, .. } => {
            format!("call {call} of `{tool}` with {}", quote(arguments))
        }
        Record::CallRefused { call, tool, .. } => format!("call {call} of `{tool}`, which was refused"),
        Record::Asked { call, question } => format!("call {call}: the question {}", quote(question)),
        Record::Answered { call, question: HostQuestion::After, answer, .. } => {
            format!("call {call}: a timer of {} ms", quote(answer))
        }
        Record::Answered { call, question, about, .. } if !about.is_empty() => {
            format!("call {call}: {} {}", name_of(*question), quote(about))
        }
        Record::Answered { call, question, .. } => format!("call {call}: {}", name_of(*question)),
        Record::Milestone { call, text } => format!("call {call}: the milestone {}", quote(text)),
        Record::Logged { call, text, .. } => format!("call {call}: the log line {}", quote(text)),
        Record::Judged { call, criterion, verdict, .. } => {
            format!("call {call}: criterion {criterion} judged {verdict:?}")
        }
        Record::Landing { call } => format!("call {call}: landing"),
        Record::ArtifactStored { artifact, source, .. } => {
            let Artifact { name, media_type, sha256, .. } = artifact;
            let contents = match source {
                ArtifactSource::File { path } => Contents::File(path),
                ArtifactSource::Memory | ArtifactSource::Unsaid => Contents::Memory(*sha256),
            };
            Asked::Put { name: name.as_str(), media_type, contents }.to_string()
        }
        _ => String::new(),
    }
}

impl fmt::Display for Asked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Call { tool, arguments } => write!(f, "a call of `{tool}` with {}", quote(arguments)),
            Self::Ask { question } => write!(f, "the question {}", quote(question)),
            Self::Describe { tool } => write!(f, "what `{tool}` is"),
            Self::Question(question) => f.write_str(name_of(question)),
            Self::WaitAny { .. } => write!(f, "{} {}", name_of(HostQuestion::WaitAny), quote(&self.about())),
            Self::Land => f.write_str("landing"),
            Self::Milestone { text } => write!(f, "the milestone {}", quote(text)),
            Self::Log { text, .. } => write!(f, "the log line {}", quote(text)),
            Self::Judge { criterion, verdict, .. } => write!(f, "criterion {criterion} judged {verdict:?}"),
            Self::After { ms } => write!(f, "a timer of {ms} ms"),
            Self::Get { .. } | Self::GetOf { .. } => write!(f, "reading an artifact {}", quote(&self.about())),
            Self::Put { .. } => {
                write!(f, "storing the artifact {}", limit::clip(&self.about(), limit::QUOTE_BYTES_MAX))
            }
        }
    }
}

fn quote(text: &str) -> String {
    limit::clip(text, limit::ID_BYTES_MAX)
}

fn name_of(question: HostQuestion) -> &'static str {
    match question {
        HostQuestion::Now => "the time",
        HostQuestion::Random => "randomness",
        HostQuestion::WaitAny => "waiting for any of several calls",
        HostQuestion::After => "a timer",
        HostQuestion::ArtifactGet => "reading an artifact",
        HostQuestion::ArtifactPut => "storing an artifact",
        HostQuestion::Describe => "what a tool is",
        HostQuestion::Models => "which models there are",
        HostQuestion::Deadline => "the deadline",
        HostQuestion::Left => "what is left of the budget",
        HostQuestion::Closing => "to be told when a limit comes near",
    }
}
