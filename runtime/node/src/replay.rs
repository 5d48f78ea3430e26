//! A recorded mission against a build of its plugin, with nothing done: whether the build does the same, is mended, or does something
//! else, and where the two part.
//!
//! Owned here: the verdict on one mission. Never here: where records and components come from, and how a verdict is shown: the command
//! line asks another node for them, the dashboard its own, a test kit has files.

mod again;
mod difference;
mod verdict;

use std::collections::BTreeSet;
use std::sync::Arc;

use sortie_contract::digest::Digest;
use sortie_contract::id::CallNo;
use sortie_contract::outcome::{Reason, Status};
use sortie_contract::plugin::LogLevel;
use sortie_contract::record::{HostQuestion, Record, Stamped};
use sortie_contract::tool::{ToolInfo, ToolName};
use sortie_engine::intake::brief;
use sortie_engine::rehearsal::{Audience, Came, Piece, Rehearsal, Rehearsed};
use sortie_engine::{ReadError, begin};
use sortie_mission::replay::{Replay, host_call};
use sortie_mission::{Illegal, Mission};
use sortie_sandbox::{Ending, Host, Kill, Run, Sandbox};

use again::Late;
pub use difference::{AskedView, Difference};
pub use verdict::Verdict;
use verdict::{End, Recorded};

/// The most that a build may note behind the end of the record: it may do so for ever.
const BEYOND_MAX: usize = 1000;

/// What a replay shows of a build.
#[derive(Debug)]
pub struct Replayed {
    /// The same as the record, mended, or something else; `None` where its audience stopped it before that was clear.
    pub verdict: Option<Verdict>,
    /// A sentence that says where and how.
    pub says: String,
    /// How the mission ended, or how it stands.
    pub recorded: String,
    /// So many of the recorded calls were gone over.
    pub calls: u32,
    /// Where the build leaves the record, and with what, where it does.
    pub difference: Option<Difference>,
}

/// Why records cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// They are no mission from its beginning.
    #[error("these are no records of a mission from its beginning")]
    Begin(#[from] ReadError),
    /// One does not follow those before it.
    #[error("these are no records of a mission")]
    Illegal(#[from] Illegal),
    /// There are none.
    #[error("a mission begins with a record")]
    Nothing,
}

/// Replays the mission of `records`, all of them, on the plugin of that digest, which the sandbox has installed. The `tools` are the node's,
/// for records that do not say what tools were said to be; artifacts that the plugin reads, its audience brings.
///
/// # Errors
/// [`ReplayError`]: the records are none of a mission.
pub async fn replay(
    sandbox: &Sandbox,
    plugin: Digest,
    records: &[Stamped],
    tools: Vec<ToolInfo>,
    audience: Arc<dyn Audience>,
) -> Result<Replayed, ReplayError> {
    let mission = fold(records)?;
    let before_end = fold(records.split(is_end).next().unwrap_or_default())?;
    let grants = mission.granted().map_or_else(|| mission.grantable(&tools), <[ToolName]>::to_vec);
    let recorded = (Recorded::of(mission.reason()), End::recorded(records));
    let last = records.last().ok_or(ReplayError::Nothing)?;
    let stage = Stage { sandbox, plugin, mission, grants, tools };
    let against = |ran: Ran| {
        let would = ended(&ran.ending).and_then(|ending| End::with(&before_end, ending, last));
        ran.compared((recorded.0, recorded.1.as_ref()), would.as_ref())
    };
    let followed = followed(records, recorded.0);
    let first = Arc::new(Late::new(Arc::clone(&audience), 0));
    let ran = stage.rehearse(&followed, Arc::<Late>::clone(&first), false).await;
    let last_words = last_words(&followed, mission_failed_by_itself(&stage.mission));
    let parts_at = ran.parts_at().filter(|call| last_words.contains(call));
    let replayed = against(ran);
    let Some(parts_at) = parts_at else {
        return Ok(replayed);
    };
    // Only where it left the record there, and from there on: the build that is on record says its last words again.
    let without: Vec<Stamped> =
        followed.into_iter().filter(|stamped| host_call(&stamped.record).is_none_or(|call| call < parts_at)).collect();
    let mut again = against(stage.rehearse(&without, Arc::new(Late::new(audience, first.shown())), true).await);
    if again.verdict == Some(Verdict::Same) {
        again.says.push_str("; only what it logs of that is different");
    }
    Ok(if again.verdict == Some(Verdict::Different) { replayed } else { again })
}

/// Where one build is rehearsed.
struct Stage<'a> {
    sandbox: &'a Sandbox,
    plugin: Digest,
    mission: Mission,
    grants: Vec<ToolName>,
    tools: Vec<ToolInfo>,
}

impl Stage<'_> {
    /// The build on these records; `looks` is whether looks at the clock and log lines behind their end are nothing.
    async fn rehearse(&self, records: &[Stamped], audience: Arc<dyn Audience>, looks: bool) -> Ran {
        let (mission, tools) = (self.mission.clone(), self.tools.clone());
        let piece = Piece { records, mission, tools, beyond_max: BEYOND_MAX, looks };
        let host = Arc::new(Rehearsal::new(piece, audience));
        let run = Run {
            plugin: self.plugin,
            brief: brief(self.mission.envelope(), self.mission.session()),
            seed: self.mission.envelope().root().to_string(),
            grants: self.grants.clone(),
            host: Arc::clone(&host) as Arc<dyn Host>,
            kill: Kill::new(),
            memory_bytes_max: self.mission.memory_bytes_max(),
        };
        let ending = self.sandbox.run(run).await;
        let rehearsed = host.conclude(ending.clone());
        Ran { ending, rehearsed, stands: self.mission.status() }
    }
}

/// What a rehearsal came to.
struct Ran {
    ending: Ending,
    rehearsed: Rehearsed,
    stands: Status,
}

impl Ran {
    /// The recorded host call at which it left the record.
    fn parts_at(&self) -> Option<CallNo> {
        let recorded = self.rehearsed.parting.as_ref()?.recorded.as_ref()?;
        host_call(&recorded.record)
    }

    /// Held against what is on record; `would` is how the mission would have ended.
    fn compared(self, recorded: (Recorded, Option<&End>), would: Option<&End>) -> Replayed {
        let Rehearsed { calls, came, parting } = self.rehearsed;
        let (verdict, says) = match &came {
            Came::Stopped => (None, format!("stopped behind {calls} calls, as it was asked to")),
            came => {
                let (verdict, says) = verdict::compare(recorded, came, would);
                (Some(verdict), says)
            }
        };
        let recorded = recorded.1.map_or_else(|| format!("{}, so far", self.stands), ToString::to_string);
        Replayed { verdict, says, recorded, calls, difference: parting.map(|parting| Difference::of(parting, calls)) }
    }
}

/// Whether the mission ended by a failure of its plugin, which may have logged it: by a crash, or as what it said.
fn mission_failed_by_itself(mission: &Mission) -> bool {
    Recorded::of(mission.reason()) == Recorded::Crashed || mission.reason() == Some(Reason::PluginFailed)
}

/// The lines of the log that are the very last of all that a failed plugin did, with the looks at the clock around them: what it said of its
/// failure (a traceback on standard error, an error that its library caught), and maybe more. An engine looks at the clock when it makes an
/// error, and when it writes; what the plugin looked at before that cannot be told from it, and a build that does so still is answered.
fn last_words(records: &[Stamped], has_failed: bool) -> BTreeSet<CallNo> {
    let is_line = |stamped: &&Stamped| matches!(stamped.record, Record::Logged { .. });
    let is_look = |stamped: &&Stamped| matches!(stamped.record, Record::Answered { question: HostQuestion::Now, .. });
    let calls = records.iter().rev().filter(|stamped| host_call(&stamped.record).is_some());
    let words: Vec<&Stamped> = calls.take_while(|it| has_failed && (is_line(it) || is_look(it))).collect();
    let says_something = words.iter().any(is_line);
    words.into_iter().filter(|_| says_something).filter_map(|stamped| host_call(&stamped.record)).collect()
}

fn fold(records: &[Stamped]) -> Result<Mission, ReplayError> {
    let (first, rest) = records.split_first().ok_or(ReplayError::Nothing)?;
    let mut mission = begin(first)?;
    rest.iter().try_for_each(|record| mission.apply(record))?;
    Ok(mission)
}

fn is_end(stamped: &Stamped) -> bool {
    matches!(stamped.record, Record::Finished { .. })
}

/// The record that a build has to keep to. The last line of a plugin that crashed is its panic: whoever does not panic does not
/// log it either.
fn followed(records: &[Stamped], recorded: Recorded) -> Vec<Stamped> {
    let last = Replay::new(records).times().last().map(|(call, _)| *call);
    let is_panic = |stamped: &Stamped| matches!(stamped.record, Record::Logged { call, level: LogLevel::Error, .. } if Some(call) == last);
    records.iter().filter(|stamped| recorded != Recorded::Crashed || !is_panic(stamped)).cloned().collect()
}

/// How the core is told of an end.
fn ended(ending: &Ending) -> Option<sortie_mission::Ending> {
    match ending {
        Ending::Returned(verdict) => Some(sortie_mission::Ending::Returned(verdict.clone())),
        Ending::Crashed(crash) => Some(sortie_mission::Ending::Crashed(crash.clone())),
        Ending::Killed => None,
    }
}

#[cfg(test)]
mod tests {
    use sortie_contract::Timestamp;

    use super::*;

    fn stamped(record: Record) -> Stamped {
        Stamped { at: Timestamp::UNIX_EPOCH, ran_ms: 0, record }
    }

    #[test]
    fn last_words_are_the_lines_behind_all_else() {
        let line = |no, level| stamped(Record::Logged { call: CallNo(no), level, text: "a".into() });
        let milestone = |no| stamped(Record::Milestone { call: CallNo(no), text: "b".into() });
        let records = [
            line(1, LogLevel::Warn),
            milestone(2),
            line(3, LogLevel::Warn),
            stamped(Record::NodeStopped),
            line(4, LogLevel::Error),
        ];
        assert_eq!(last_words(&records, true), BTreeSet::from([CallNo(3), CallNo(4)]));
        assert!(last_words(&records, false).is_empty(), "it has not failed by itself");
        let look = |no| {
            let (about, answer) = (String::new(), "1".to_owned());
            stamped(Record::Answered { call: CallNo(no), question: HostQuestion::Now, about, answer })
        };
        let looked = [milestone(1), look(2), line(3, LogLevel::Error), look(4)];
        assert_eq!(last_words(&looked, true), [2, 3, 4].map(CallNo).into(), "looks around them");
        assert!(last_words(&looked[..2], true).is_empty(), "it only looked");
        assert!(last_words(&records[..2], true).is_empty());
    }
}
