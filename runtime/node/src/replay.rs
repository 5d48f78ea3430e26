//! A recorded mission against a build of its plugin, with nothing done: whether the build does the same, is mended, or does something
//! else, and where the two part.
//!
//! Owned here: the verdict on one mission. Never here: where records and components come from, and how a verdict is shown: the command
//! line asks another node for them, the dashboard its own, a test kit has files.

mod difference;
mod verdict;

use std::sync::Arc;

use sortie_contract::digest::Digest;
use sortie_contract::plugin::LogLevel;
use sortie_contract::record::{Record, Stamped};
use sortie_contract::tool::{ToolInfo, ToolName};
use sortie_engine::intake::brief;
use sortie_engine::rehearsal::{Audience, Came, Piece, Rehearsal};
use sortie_engine::{ReadError, begin};
use sortie_mission::replay::Replay;
use sortie_mission::{Illegal, Mission};
use sortie_sandbox::{Ending, Host, Kill, Run, Sandbox};

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
    let recorded = Recorded::of(mission.reason());
    let followed = followed(records, recorded);
    let piece = Piece { records: &followed, mission: mission.clone(), tools, beyond_max: BEYOND_MAX };
    let host = Arc::new(Rehearsal::new(piece, audience));
    let run = Run {
        plugin,
        brief: brief(mission.envelope(), mission.session()),
        seed: mission.envelope().root().to_string(),
        grants,
        host: Arc::clone(&host) as Arc<dyn Host>,
        kill: Kill::new(),
        memory_bytes_max: mission.memory_bytes_max(),
    };
    let ending = sandbox.run(run).await;
    let last = records.last().ok_or(ReplayError::Nothing)?;
    let would = ended(&ending).and_then(|ending| End::with(&before_end, ending, last));
    let was = End::recorded(records);
    let rehearsed = host.conclude(ending);
    let (verdict, says) = match &rehearsed.came {
        Came::Stopped => (None, format!("stopped behind {} calls, as it was asked to", rehearsed.calls)),
        came => {
            let (verdict, says) = verdict::compare((recorded, was.as_ref()), came, would.as_ref());
            (Some(verdict), says)
        }
    };
    let recorded = was.map_or_else(|| format!("{}, so far", mission.status()), |end| end.to_string());
    let difference = rehearsed.parting.map(|parting| Difference::of(parting, rehearsed.calls));
    Ok(Replayed { verdict, says, recorded, calls: rehearsed.calls, difference })
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
