//! `sortie plugin check --journal`: missions that are on record, held against this build one by one with nothing done: whether last week
//! would have gone the same, and the first difference of each that would not.

mod source;

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use futures_util::stream::{self, StreamExt as _};
use serde_json::{Value, json};
use sortie_contract::Timestamp;
use sortie_contract::duration::duration;
use sortie_contract::outcome::Reason;
use sortie_contract::record::{Record, Stamped};
use sortie_contract::time::rfc3339;
use sortie_contract::tool::ToolInfo;
use sortie_sandbox::{Installed, Options};

use super::super::client::{Client, with_causes};
use super::super::compiled::Workshop;
use super::super::replay::parts;
use super::super::text::{self, Progress};
use super::super::{Exit, Failure};
use crate::node::system;
use crate::replay::{Replayed, Verdict};
use source::{Listing, Named, Source};

/// How far back the missions go that are checked, where nobody says.
const SINCE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// So many are gone over beside each other: most of the time of one whose plugin waited when it ended is patience.
const AT_ONCE: usize = 4;

/// How long a build may take for one mission: with nothing done, far longer than any record takes.
const PATIENCE: Duration = Duration::from_secs(300);

/// Which recorded missions are checked.
#[derive(Debug, Args)]
pub(in crate::cli) struct JournalArgs {
    /// In place of cases, hold this build against missions that are on record, with nothing done: these of a node, those in the data directory
    /// of a node that does not run, those in a backup, or, without any, the node's own.
    #[arg(long, value_name = "MISSION|DIR|BACKUP", num_args = 0.., conflicts_with_all = ["cases", "once"])]
    journal: Option<Vec<String>>,
    /// Of a node, directory or backup: only missions that were accepted since then: a time, or how long ago, such as "36h" (default: a week).
    #[arg(long, value_name = "TIME|AGO", value_parser = since, requires = "journal")]
    since: Option<Since>,
    /// The newest so many of them.
    #[arg(long, value_name = "COUNT", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..), requires = "journal")]
    limit: u32,
}

impl JournalArgs {
    /// Whether missions are to be checked, and not cases.
    pub(super) fn is_meant(&self) -> bool {
        self.journal.is_some()
    }
}

/// From when on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Since {
    Time(Timestamp),
    Ago(Duration),
}

impl Since {
    /// As seen from a moment.
    fn before(self, moment: Timestamp) -> Timestamp {
        match self {
            Self::Time(at) => at,
            Self::Ago(ago) => moment.checked_sub(ago).unwrap_or(Timestamp::MIN),
        }
    }
}

fn since(text: &str) -> Result<Since, String> {
    let wrong =
        || "it must be an RFC 3339 time such as 2026-11-22T20:00:00Z, or how long ago, such as 36h or 7d".to_owned();
    rfc3339(text).map(Since::Time).or_else(|_| duration(text).map(Since::Ago)).map_err(|_| wrong())
}

/// What came of one mission.
struct Checked {
    id: String,
    /// What a replay shows, or why it cannot be made.
    replayed: Result<Replayed, String>,
    /// Its records are damaged, and were gone over as far as they can be read.
    damaged: bool,
}

/// One mission that was looked at.
enum Looked {
    Checked(Box<Checked>),
    /// Of another plugin.
    Other,
}

pub(super) async fn check(
    args: JournalArgs,
    component: impl FnOnce() -> Result<Vec<u8>, Failure>,
    client: impl FnOnce() -> Result<Client, Failure>,
    as_json: bool,
) -> Result<Exit, Failure> {
    let JournalArgs { journal, since, limit } = args;
    let (named, source) = Source::open(journal.unwrap_or_default(), client).await?;
    if named.is_some() && since.is_some() {
        return Err(Failure::unusable("--since chooses among the missions of a node, and these are named already"));
    }
    let from = since.unwrap_or(Since::Ago(SINCE)).before(source.moment().unwrap_or_else(|| system().wall()));
    let workshop = Workshop::open(|dir| Options { instances_max: 4, ..Options::new(dir) })?;
    let plugin = workshop.install(component()?).await?;
    let name = plugin.identity.name.clone();
    let Listing { missions, mut others, more } = match named {
        Some(ids) => Listing::of(ids),
        None => source.list(&name, from, limit as usize).await?,
    };
    let tools = source.tools().await?;
    let source = Arc::new(source);
    let progress = Progress::of("missions are checked");
    let (mut checked, count) = (Vec::new(), missions.len());
    let looks = missions.into_iter().map(|mission| one(mission, &source, &workshop, &plugin, &tools));
    let mut looks = stream::iter(looks).buffered(AT_ONCE);
    while let Some(looked) = looks.next().await {
        match looked {
            Looked::Checked(one) => checked.push(*one),
            Looked::Other => others += 1,
        }
        progress.now(format!("missions are checked: {} of {count}", checked.len()));
    }
    drop((looks, progress));
    if checked.is_empty() {
        let whose = if others == 0 { "none at all".to_owned() } else { format!("{others} of other plugins") };
        return Err(Failure::unusable(format!(
            "there is no mission of `{name}` to check, and {whose}; those since {from} were looked at: --since goes further back"
        )));
    }
    if let Some(Checked { id, replayed: Err(why), .. }) = checked.first()
        && checked.iter().all(|one| one.replayed.is_err())
    {
        let count = checked.len();
        return Err(Failure::unusable(format!(
            "of {count} missions none could be checked: {} cannot be read: {}",
            text::plain(id),
            text::plain(why)
        )));
    }
    let told = Told { plugin: &plugin, checked: &checked, others, more };
    if as_json {
        text::json(&told.json())?;
    } else {
        told.show()?;
    }
    Ok(if told.count(Verdict::Different) == 0 { Exit::Completed } else { Exit::Failed })
}

/// Holds one mission against the build.
async fn one(
    mission: Named,
    source: &Arc<Source>,
    workshop: &Workshop,
    plugin: &Installed,
    tools: &[ToolInfo],
) -> Looked {
    let id = mission.id.clone();
    let told = |replayed, damaged| Looked::Checked(Box::new(Checked { id: id.clone(), replayed, damaged }));
    let records = match source.records(&mission).await {
        Ok(records) => records,
        Err(why) => return told(Err(why), true),
    };
    if plugin_of(&records).is_some_and(|name| name != plugin.identity.name) {
        return Looked::Other;
    }
    let damaged =
        records.iter().any(|stamped| matches!(&stamped.record, Record::Finished { reason: Reason::Unreadable, .. }));
    let audience = source::audience(source, &mission);
    let replay = crate::replay::replay(&workshop.sandbox, plugin.identity.digest, &records, tools.to_vec(), audience);
    let replayed = match tokio::time::timeout(PATIENCE, replay).await {
        Ok(replayed) => replayed.map_err(|error| with_causes(&error)),
        Err(_) => Ok(Replayed {
            verdict: Some(Verdict::Different),
            says: format!("it computes for more than {} s and does not get through the record", PATIENCE.as_secs()),
            recorded: String::new(),
            calls: 0,
            difference: None,
        }),
    };
    told(replayed, damaged)
}

/// The plugin that a mission runs on, by its first record.
fn plugin_of(records: &[Stamped]) -> Option<&str> {
    match &records.first()?.record {
        Record::Accepted(accepted) => Some(&accepted.plugin.name),
        _ => None,
    }
}

/// What is told of all.
struct Told<'a> {
    plugin: &'a Installed,
    checked: &'a [Checked],
    others: usize,
    more: bool,
}

impl Told<'_> {
    fn count(&self, verdict: Verdict) -> usize {
        let is_that = |one: &&Checked| one.replayed.as_ref().is_ok_and(|replayed| replayed.verdict == Some(verdict));
        self.checked.iter().filter(is_that).count()
    }

    fn unreadable(&self) -> usize {
        self.checked.iter().filter(|one| one.replayed.is_err()).count()
    }

    fn json(&self) -> Value {
        let one = |Checked { id, replayed, damaged }: &Checked| match replayed {
            Ok(Replayed { verdict, says, recorded, calls, difference }) => json!({
                "mission_id": id, "verdict": verdict.map(Verdict::as_str), "says": says, "recorded": recorded, "calls": calls,
                "difference": difference, "damaged": damaged,
            }),
            Err(why) => json!({ "mission_id": id, "verdict": "unreadable", "says": why, "damaged": damaged }),
        };
        let [same, mended, different] = [Verdict::Same, Verdict::Mended, Verdict::Different].map(|it| self.count(it));
        json!({
            "plugin": self.plugin.identity.to_string(), "digest": self.plugin.identity.digest,
            "missions": self.checked.iter().map(one).collect::<Vec<_>>(), "same": same, "mended": mended,
            "different": different, "unreadable": self.unreadable(), "other_plugins": self.others, "more": self.more,
        })
    }

    fn show(&self) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        for Checked { id, replayed, damaged } in self.checked {
            let id = text::plain(id);
            let note =
                if *damaged { "; its records are damaged, and were gone over as far as they can be read" } else { "" };
            match replayed {
                Err(why) => writeln!(out, "unreadable  {id}: {}", text::plain(why))?,
                Ok(Replayed { verdict, says, calls, difference, .. }) => {
                    let verdict = verdict.map_or("stopped", Verdict::as_str);
                    writeln!(out, "{verdict:<10}  {id}: {calls} calls; {}{note}", text::plain(says))?;
                    let parting = difference.as_ref().filter(|difference| difference.recorded.is_some());
                    if let Some(difference) = parting {
                        parts(&mut out, difference, "            ")?;
                    }
                }
            }
        }
        let kinds = [Verdict::Same, Verdict::Mended, Verdict::Different];
        let mut counts: Vec<String> = kinds.iter().map(|it| format!("{} {}", self.count(*it), it.as_str())).collect();
        if self.unreadable() > 0 {
            counts.push(format!("{} cannot be read", self.unreadable()));
        }
        let others =
            if self.others > 0 { format!("; {} of other plugins were left out", self.others) } else { String::new() };
        let (count, plugin, counts) = (self.checked.len(), &self.plugin.identity, counts.join(", "));
        writeln!(out, "\n{count} missions of {plugin}: {counts}{others}")?;
        drop(out);
        if self.more {
            eprintln!("There are older ones: --limit looks at more");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_time_or_how_long_ago() {
        let now: Timestamp = "2026-11-22T20:00:00Z".parse().expect("a time");
        for (text, expected) in [
            ("2026-11-01T00:00:00Z", Some("2026-11-01T00:00:00Z")),
            ("36h", Some("2026-11-21T08:00:00Z")),
            ("7d", Some("2026-11-15T20:00:00Z")),
            ("yesterday", None),
            ("", None),
        ] {
            let found = since(text).ok().map(|since| since.before(now).to_string());
            assert_eq!(found.as_deref(), expected, "{text}");
        }
    }
}
