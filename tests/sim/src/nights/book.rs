//! All schedules of a history, read back from the journal after each commit and after each crash; and what people were told of them.

use std::collections::{BTreeMap, BTreeSet};

use sortie_contract::Timestamp;
use sortie_engine::schedules::ScheduleError;
use sortie_journal::Journal;

use super::page::Page;
use super::planners::{Answer, Wish, note};
use crate::scene::Scene;

/// The names that schedules have here.
pub(crate) const NAMES: [&str; 4] = ["early", "late", "often", "rare"];

/// See the module.
#[derive(Default)]
pub(crate) struct Book {
    pages: BTreeMap<&'static str, Page>,
    /// Missions that schedules have made, those that are gone included.
    made: BTreeSet<String>,
    /// Schedules of which somebody was told that they are there.
    promised: BTreeSet<&'static str>,
    /// Questions of each kind about each schedule that are not answered, and whether each is the only one.
    asked: BTreeMap<(&'static str, Kind), BTreeMap<u64, bool>>,
}

/// What a question may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// Whether it is there.
    Presence,
    /// Whether it is paused by hand.
    Pause,
}

impl Book {
    /// The schedule of that name.
    pub(crate) fn page(&self, id: &str) -> Option<&Page> {
        self.pages.get(id)
    }

    /// All that are there.
    pub(crate) fn pages(&self) -> impl Iterator<Item = &Page> {
        self.pages.values()
    }

    /// Nothing is left to do of any of them at this time.
    pub(crate) fn is_up_to(&mut self, scene: &Scene, journal: &Journal, now: Timestamp) {
        self.pages.values_mut().for_each(|page| page.is_up_to(scene, journal, now));
    }

    /// How often all that there are were changed.
    pub(crate) fn versions(&self) -> u64 {
        self.pages.values().map(|page| page.version).sum()
    }

    /// Takes up what was written since.
    pub(crate) fn follow(&mut self, scene: &Scene, journal: &Journal) {
        for id in NAMES {
            let kept = journal.schedule(id).expect("a readable schedule");
            let Some(kept) = kept else {
                if self.pages.remove(id).is_some() {
                    assert!(!self.promised.contains(id), "{id} is lost");
                    scene.count("removed");
                }
                continue;
            };
            match self.pages.get_mut(id) {
                Some(page) if kept.version == page.version && kept.definition == page.definition => {}
                Some(page) if kept.version == page.version + 1 => {
                    for mission in page.follow(scene, journal, &kept) {
                        assert!(self.made.insert(mission.clone()), "{mission} was made twice");
                    }
                }
                before => {
                    assert!(before.is_none() || !self.promised.contains(id), "{id} is another's");
                    scene.line(&format!("{id}: {}", kept.definition));
                    scene.count("new");
                    self.pages.insert(id, Page::begin(id, &kept));
                }
            }
        }
    }

    /// Each mission of the journal is one that a schedule made, and none is missing.
    pub(crate) fn is_all(&self, journal: &Journal) {
        let mut found = BTreeSet::new();
        let each =
            |_, head: sortie_journal::Head| assert!(found.insert(head.mission_id.to_string()), "two of one name");
        journal.scan_oldest_first(each).expect("readable heads");
        assert_eq!(found, self.made, "missions, and fires that made one");
    }

    /// Somebody asks: what was said before need not hold any more.
    pub(crate) fn ask(&mut self, id: &'static str, wish: &Wish, no: u64) {
        match wish {
            Wish::Make(_) => self.is_asked(id, Kind::Presence, no),
            Wish::Remove => {
                self.promised.remove(id);
                self.is_asked(id, Kind::Presence, no);
                self.free(id, no);
            }
            Wish::Pause(_) | Wish::Resume => self.free(id, no),
            Wish::Revise(..) | Wish::Trigger(_) | Wish::Backfill(..) => {}
        }
    }

    fn free(&mut self, id: &'static str, no: u64) {
        self.is_asked(id, Kind::Pause, no);
        if let Some(page) = self.pages.get_mut(id) {
            page.held = None;
        }
    }

    fn is_asked(&mut self, id: &'static str, kind: Kind, no: u64) {
        let open = self.asked.entry((id, kind)).or_default();
        let is_alone = open.is_empty();
        if !is_alone {
            // Which of them is done first is not said.
            open.values_mut().for_each(|is_alone| *is_alone = false);
        }
        open.insert(no, is_alone);
    }

    /// Whether an answer has the last word: nobody else asked while it was on its way, or has asked since.
    fn is_last(&mut self, id: &'static str, kind: Kind, no: u64) -> bool {
        self.asked.get_mut(&(id, kind)).is_none_or(|open| open.remove(&no).unwrap_or(open.is_empty()))
    }

    /// The node is gone, and nobody is answered any more.
    pub(crate) fn hang_up(&mut self) {
        self.asked.clear();
    }

    /// Somebody is answered: what is said is on disk, and stays.
    pub(crate) fn hear(&mut self, scene: &Scene, answer: &Answer) {
        let Answer { id, wish, no, done } = answer;
        scene.line(&format!("{id}: question {no} is answered: {done:?}"));
        let id = NAMES.into_iter().find(|name| name == id).expect("one of the names");
        let (is_last, is_there) = (self.is_last(id, Kind::Pause, *no), self.is_last(id, Kind::Presence, *no));
        if let Err(error) = done {
            return scene.count(failed(error));
        }
        if !is_there {
            // Somebody has removed it since, or is about to.
            return;
        }
        if matches!(wish, Wish::Remove) {
            assert!(!self.pages.contains_key(id), "{id} was removed, and is there");
            return;
        }
        let page = self.pages.get_mut(id).unwrap_or_else(|| panic!("{id} is not there"));
        assert!(page.definition.contains(&format!("\"{}\"", note(*no))), "{id}: question {no} left no trace");
        match wish {
            Wish::Make(_) => drop(self.promised.insert(id)),
            Wish::Pause(until) if is_last => page.held = Some(*until),
            Wish::Resume if is_last => assert_eq!(page.pauses.by_hand, None, "{id} was resumed, and is paused"),
            Wish::Trigger(_) => assert!(page.triggers > 0, "{id} was triggered, and nothing came of it"),
            _ => {}
        }
    }
}

fn failed(error: &ScheduleError) -> &'static str {
    match error {
        ScheduleError::Unknown => "asked of one that is gone",
        ScheduleError::Exists(_) => "made a second time",
        ScheduleError::Revised(_) => "revised from an old revision",
        ScheduleError::Invalid(_) => "refused as a schedule",
        ScheduleError::Trigger(error) => panic!("no schedule here fires each second: {error}"),
        ScheduleError::Over => "paused until a time that is over",
        ScheduleError::Skipped => "trigger that is skipped",
        ScheduleError::Elsewhere(node) => panic!("there is no node {node} here"),
        ScheduleError::TooMany(most) => panic!("there are no {most} schedules here"),
        ScheduleError::Backfill(_) => "nothing to fill in",
        ScheduleError::Journal(_) | ScheduleError::Read(_) | ScheduleError::Later(_) => "answered with a failure",
    }
}
