//! What happened on this node, as those are told who are away: the journal, read for `sortie-notify`.
//!
//! Which record is worth a message is said there; whose it is, what a night was, and what the clock of the zone shows, here. Only what is
//! worth something costs more than a look at its frame.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};

use jiff::civil::{Date, Time};
use jiff::{SignedDuration, Timestamp};
use rand::Rng as _;
use serde_json::Value;
use sortie_ambient::Surroundings;
use sortie_contract::{LaneId, Status};
use sortie_engine::Engine;
use sortie_engine::schedules::{Made, ScheduleError};
use sortie_engine::shown::NightLine;
use sortie_journal::{FeedEntry, Head, ReadError as Unread};
use sortie_notify::{About, Item, Key, News, Notifier, Setup, Source, SourceError, Step, is_told, of_record};
use sortie_schedule::{Action, Zone, is_closed};
use tokio::sync::watch;

use crate::config::{Config, ConfigError};

/// Frames that are read at once.
const FRAMES: usize = 2_000;

/// Schedules that are looked at at once.
const SCHEDULES: usize = 1_000;

/// Entries of a schedule's history that are looked at at once.
const FIRES: usize = 64;

/// Who needs people, of a night's missions, in a message.
const NEEDS_MAX: usize = 8;

/// A night that has just begun says nothing yet: the one before is told.
const NIGHT_BEGUN: SignedDuration = SignedDuration::from_hours(6);

/// Where the channels of a data directory put down what they owe.
pub(crate) fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("notify")
}

/// The channels of a configuration. The key of links is made where a channel has them and there is none yet.
pub(crate) fn notifier(config: &Config, data_dir: &Path, ambient: &Surroundings) -> Result<Notifier, ConfigError> {
    let folder = folder(data_dir);
    let has_links = config.notify.iter().any(|channel| channel.links);
    let setup = Setup {
        channels: &config.notify,
        node: config.node.instance_id.clone(),
        public_url: config.node.public_url.clone(),
        key: key(has_links.then_some(&folder)),
        folder,
        secrets: config.secret.named().map_err(|error| ConfigError::from_secrets(&error))?,
    };
    Notifier::new(setup, Arc::clone(ambient)).map_err(ConfigError::from_channels)
}

/// What links are signed with. A node starts without it, on a full disk say: links die with the process then.
fn key(folder: Option<&PathBuf>) -> Key {
    let mut fresh = [0; 32];
    rand::rng().fill_bytes(&mut fresh);
    let Some(folder) = folder else { return Key::new(fresh) };
    Key::open(folder, fresh).unwrap_or_else(|error| {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            folder = %folder.display(),
            "the key of links cannot be read or kept: those that are sent from now on end with this process, and those from before are dead"
        );
        Key::new(fresh)
    })
}

/// Has people told, where there are channels; of a node that was restored, once it is let go on, and then of what happened since it
/// started: what a drill or a look at an old backup comes to is nobody's news.
pub(crate) fn start(engine: &Arc<Engine>, notifier: &Arc<Notifier>) {
    if !notifier.is_idle() {
        let source: Arc<dyn Source> = Arc::new(Journal::of(engine));
        engine.supervise("notifications", Arc::clone(notifier).run(source, engine.reaches_out()));
    }
}

/// The node's journal. It does not keep the driver.
struct Journal {
    engine: Weak<Engine>,
    position: watch::Receiver<u64>,
    zone: Zone,
    ambient: Surroundings,
}

impl Source for Journal {
    fn follow(&self) -> watch::Receiver<u64> {
        self.position.clone()
    }

    fn after(&self, position: u64) -> Result<Step, SourceError> {
        let engine = self.engine()?;
        let entries = engine.log().feed_after(position, FRAMES)?;
        let Some(last) = entries.last() else {
            // What was there was pruned, or is not on disk yet: it is looked again.
            return Ok(Step { position, ..Step::default() });
        };
        let mut step = Step { position: last.position, more: entries.len() == FRAMES, news: Vec::new() };
        for entry in &entries {
            news_of(&engine, entry, &mut step.news)?;
        }
        Ok(step)
    }

    fn missed(&self, since: Timestamp) -> Result<Vec<(Timestamp, String, u64, Item)>, SourceError> {
        let (engine, mut missed) = (self.engine()?, Vec::new());
        let mut after: Option<String> = None;
        loop {
            let some = engine.schedules(after.as_deref(), SCHEDULES);
            let Some(last) = some.last() else { return Ok(missed) };
            after = Some(last.schedule().id().to_owned());
            for state in some {
                self.missed_of(&engine, state.schedule().id(), since, &mut missed)?;
            }
        }
    }

    fn missed_mark(&self) -> u64 {
        let Some(engine) = self.engine.upgrade() else { return 0 };
        let counters = engine.counters();
        counters.missed.load(Relaxed).wrapping_add(counters.refused.load(Relaxed))
    }

    fn night(&self) -> Result<(String, Vec<Item>), SourceError> {
        let engine = self.engine()?;
        let mut night = engine.night(None)?;
        if self.ambient.wall().duration_since(night.from) < NIGHT_BEGUN
            && let Ok(before) = night.date.parse::<Date>().and_then(Date::yesterday)
        {
            night = engine.night(Some(before))?;
        }
        let line = crate::cli::night_line(&serde_json::to_value(&night)?, |at| {
            at.as_str().and_then(|at| at.parse().ok()).map_or_else(String::new, |at| self.local(at))
        });
        // Of a family whoever asks stands for those above.
        let is_told = |mission: &&NightLine| {
            mission.left == "failed" || (mission.left == "waiting" && mission.asked_at.is_some())
        };
        let missions = night.missions.iter().filter(is_told);
        let missions = missions.map(|mission| Item {
            at: mission.ended_at.or(mission.asked_at).unwrap_or(mission.accepted_at),
            about: About::Mission(mission.mission_id.clone()),
            text: format!("{}: {}", mission.left, mission.summary),
            wanted: None,
        });
        let gaps = night.gaps.iter().map(|gap| Item {
            at: gap.last,
            about: About::Schedule(gap.schedule.clone()),
            text: format!("{} times missed: {}", gap.count, gap.reason),
            wanted: None,
        });
        Ok((line, missions.chain(gaps).take(NEEDS_MAX).collect()))
    }

    fn next(&self, time: Time, after: Timestamp) -> Timestamp {
        next(&self.zone, time, after)
    }

    fn local(&self, at: Timestamp) -> String {
        let (local, today) = (self.zone.local(at), self.zone.local(self.ambient.wall()));
        let form = if local.date() == today.date() { "%H:%M" } else { "%a %d %b %H:%M" };
        local.strftime(form).to_string()
    }
}

impl Journal {
    fn of(engine: &Arc<Engine>) -> Self {
        let (position, ambient) = (engine.log().follow(), Arc::clone(engine.ambient()));
        Self { engine: Arc::downgrade(engine), position, zone: engine.zone().clone(), ambient }
    }

    fn engine(&self) -> Result<Arc<Engine>, SourceError> {
        self.engine.upgrade().ok_or_else(|| "the node is stopping".into())
    }

    fn missed_of(
        &self,
        engine: &Engine,
        id: &str,
        since: Timestamp,
        missed: &mut Vec<(Timestamp, String, u64, Item)>,
    ) -> Result<(), SourceError> {
        let mut before = None;
        loop {
            let fires = match engine.fires(id, before, FIRES) {
                Ok(fires) => fires,
                Err(ScheduleError::Read(error)) => return Err(error.into()),
                // It has been removed meanwhile.
                Err(_) => return Ok(()),
            };
            let Some((oldest, _)) = fires.last() else { return Ok(()) };
            before = Some(*oldest);
            // What cannot be read stands in the history as such.
            for (number, entry) in fires.into_iter().filter_map(|(number, entry)| Some((number, entry.ok()?))) {
                if entry.at < since {
                    return Ok(());
                }
                let text = match &entry.action {
                    Action::Missed { fires, reason } => {
                        let reason = serde_json::to_value(reason).unwrap_or(Value::Null);
                        let reason = reason.as_str().unwrap_or_default().replace('_', " ");
                        let last = self.local(fires.last);
                        match fires.count {
                            1 => format!("its time {last} was missed: {reason}"),
                            count => format!("{count} times up to {last} were missed: {reason}"),
                        }
                    }
                    Action::Fired { .. } if entry.made == Some(Made::Refused) && !is_closed(&entry.errors) => {
                        let why =
                            entry.errors.first().map_or("the node did not take it", |first| first.detail.as_str());
                        format!("its mission was refused: {why}")
                    }
                    _ => continue,
                };
                let about = About::Schedule(id.to_owned());
                missed.push((entry.at, id.to_owned(), number, Item { at: entry.at, about, text, wanted: None }));
            }
        }
    }
}

/// What the records of a frame are worth.
fn news_of(engine: &Engine, entry: &FeedEntry, news: &mut Vec<(u64, LaneId, News)>) -> Result<(), SourceError> {
    let log = engine.log();
    let records = match log.read(entry.mission, entry.first, 1) {
        Ok(records) => records,
        // One mission's damage is its own: what became of it its head says.
        Err(Unread::Row { .. }) => {
            if let Some(head) = log.head(entry.mission).ok().flatten()
                && let Some(told) = of_head(&head)
            {
                news.push((entry.position, head.lane, told));
            }
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    let mut told = records.iter().take(entry.count as usize).filter(|stamped| is_told(&stamped.record)).peekable();
    if told.peek().is_none() {
        return Ok(());
    }
    let head = match log.head(entry.mission) {
        Ok(Some(head)) => head,
        // It has been removed meanwhile, or nobody knows what it is called: a head is made anew, and its end is told then.
        Ok(None) | Err(Unread::Row { .. }) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let told = told.filter_map(|stamped| of_record(&head.mission_id, stamped));
    news.extend(told.map(|told| (entry.position, head.lane.clone(), told)));
    Ok(())
}

/// When the clock of a zone next shows that time. One that it leaves out is as much later as the clock is set.
fn next(zone: &Zone, time: Time, after: Timestamp) -> Timestamp {
    let at = |date: Date| date.to_datetime(time).to_zoned(zone.rules().clone()).ok().map(|at| at.timestamp());
    let days = std::iter::successors(Some(zone.local(after).date()), |date| date.tomorrow().ok());
    // In a zone that leaves a day out it is the one behind.
    days.take(4).filter_map(at).find(|at| *at > after).unwrap_or(Timestamp::MAX)
}

/// What became of a mission of which no record can be read.
fn of_head(head: &Head) -> Option<News> {
    let at = head.ended_at?;
    let mission = head.mission_id.to_string();
    let is_bad = matches!(head.status, Status::Failed | Status::TimedOut);
    let text = format!("{}: what was recorded of it cannot be read", head.status);
    let then = is_bad.then(|| Item { at, about: About::Mission(mission.clone()), text, wanted: None });
    Some(News::Over { mission, then })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_node_needs_a_key_that_it_cannot_keep_and_none_makes_one_for_nobody() {
        let dir = tempfile::tempdir().expect("a folder");
        let config = |links: bool| {
            let text = format!(
                "[node]\npublic_url = \"https://factory.example\"\n\
                 [[notify]]\nname = \"a\"\non = [\"blocked\"]\nurl = \"https://hooks.example.org/x\"\nlinks = {links}"
            );
            Config::of(&dir.path().join("sortie.toml"), &text).expect("a configuration")
        };
        let ambient = crate::node::system();
        notifier(&config(false), dir.path(), &ambient).expect("channels");
        assert!(!folder(dir.path()).exists(), "nothing is written for links that nobody has");
        notifier(&config(true), dir.path(), &ambient).expect("channels");
        assert!(folder(dir.path()).join("links.key").is_file());
        // A file where the folder would be: nothing can be read or written there.
        let spoilt = dir.path().join("spoilt");
        std::fs::create_dir(&spoilt).and_then(|()| std::fs::write(folder(&spoilt), "")).expect("written");
        for links in [false, true] {
            notifier(&config(links), &spoilt, &ambient).expect("the node starts");
        }
    }

    #[test]
    fn a_digest_comes_each_day_by_the_clock_of_the_zone() {
        let chicago = Zone::named("America/Chicago").expect("a zone");
        for (time, after, expected) in [
            ("07:00", "2026-11-27T12:59:59Z", "2026-11-27T13:00:00Z"),
            ("07:00", "2026-11-27T13:00:00Z", "2026-11-28T13:00:00Z"),
            ("18:30", "2026-11-28T00:00:00Z", "2026-11-28T00:30:00Z"),
            // The clock is set: an hour earlier by that of the world, and at a time that it leaves out.
            ("07:00", "2026-03-08T00:00:00Z", "2026-03-08T12:00:00Z"),
            ("02:30", "2026-03-08T06:30:00Z", "2026-03-08T08:30:00Z"),
        ] {
            let time: Time = time.parse().expect("a time of the day");
            let at = |text: &str| text.parse::<Timestamp>().expect("a time");
            assert_eq!(next(&chicago, time, at(after)), at(expected), "{time} after {after}");
        }
    }
}
