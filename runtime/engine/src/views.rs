//! Missions as readers see them: folds over what is on disk, read in pieces and kept for whoever looks next.
//!
//! A reader that comes back (a stream of events, a page after a page, somebody who polls) goes on where a fold stands instead
//! of folding a mission anew, so that watching a mission costs what it records and not the square of it. What is kept is
//! bounded; whatever is missing is folded again. Nothing here is a second truth: a fold is the core's state after some record
//! of the journal, and knows after which.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;
use sortie_contract::record::Record;
use sortie_contract::{Event, MissionNo, Stamped, Timestamp};
use sortie_journal::{FeedEntry, Fleet, SealError, ShareNo};
use sortie_mission::Mission;

use super::quarantine::is_its_own;
use super::{Engine, ReadError, begin};

/// How much of a journal is read at a time, in bytes: many small records, or one of the largest.
pub(super) const PIECE_BYTES: usize = 256 << 10;

/// Most folds that are kept. A large mission takes a few MiB, most take a few KiB.
const FOLDS_MAX: usize = 64;

/// So many records are between two folds that are kept of the past of a long mission, and so many of those are kept of all missions.
pub(super) const MARK_RECORDS: u32 = 16 << 10;
const MARKS_MAX: usize = 8;

/// Most bytes of recent events that are kept for those who watch the whole node.
const RECENT_BYTES_MAX: usize = 8 << 20;

/// The same of those who watch all nodes of a store: of each share, and of so many shares. Others are read anew.
const RECENT_OF_SHARE_BYTES_MAX: usize = 1 << 20;
const RECENT_SHARES_MAX: usize = 16;

/// Of so many missions of others it is kept in mind that they cannot be read, so that each is told once.
const PASSED_OVER_MAX: usize = 1_000;

/// A mission as of one of its records.
#[derive(Debug, Clone)]
pub struct Fold {
    /// Whose it is.
    pub no: MissionNo,
    /// The state after the last record that was taken up.
    pub mission: Mission,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// What was odd about it then.
    pub warnings: Arc<[String]>,
}

impl Fold {
    fn begin(no: MissionNo, first: &Stamped) -> Result<Self, ReadError> {
        let Record::Accepted(accepted) = &first.record else { return Err(ReadError::NoEnvelope) };
        Ok(Self { no, mission: begin(first)?, accepted_at: first.at, warnings: accepted.warnings.as_slice().into() })
    }
}

/// What a reader does after it has seen a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It wants the next one.
    More,
    /// It has enough: the fold stays here.
    Enough,
}

/// An event as it is sent: by what it is resumed after, its type, and its JSON.
#[derive(Debug, Clone)]
pub struct Shown {
    /// By what a stream is resumed after it.
    pub id: u64,
    /// Its type, such as `mission.progress`.
    pub kind: &'static str,
    /// The event itself.
    pub json: Arc<str>,
}

impl Shown {
    /// Writes an event out.
    pub fn new(id: u64, event: &Event) -> Self {
        let json = serde_json::to_string(event).expect("an event is plain data");
        Self { id, kind: event.event_type.as_str(), json: json.into() }
    }
}

/// What is kept for readers.
#[derive(Debug, Default)]
pub struct Views {
    /// The most recently used last.
    folds: Mutex<VecDeque<Fold>>,
    /// Of the pasts of missions that somebody goes back and forth in: the most recently made last.
    marks: Mutex<VecDeque<Fold>>,
    /// How many records were taken up: what watching costs.
    folded: AtomicU64,
    recent: Mutex<Recent>,
    /// The same of all nodes, by share.
    recent_of_all: Mutex<BTreeMap<ShareNo, Recent>>,
    /// Missions of others of which some cannot be read here.
    passed_over: Mutex<BTreeSet<MissionNo>>,
}

/// The events of the latest entries of the node's log, entry by entry and without gaps.
#[derive(Debug, Default)]
struct Recent {
    /// The position of the first entry that is here.
    first: u64,
    entries: VecDeque<Arc<[Shown]>>,
    bytes: usize,
}

impl Recent {
    fn get(&self, position: u64) -> Option<Arc<[Shown]>> {
        let index = usize::try_from(position.checked_sub(self.first)?).ok()?;
        self.entries.get(index).cloned()
    }

    /// Takes the next entry in. One that is not the next begins anew, if it is later: who reads what was long ago reads it for
    /// itself.
    fn add(&mut self, position: u64, events: &Arc<[Shown]>, bytes_max: usize) {
        let next = self.first + self.entries.len() as u64;
        if position < next {
            return;
        }
        if position > next {
            *self = Self { first: position, ..Self::default() };
        }
        self.bytes += weight(events);
        self.entries.push_back(Arc::clone(events));
        while self.bytes > bytes_max
            && let Some(oldest) = self.entries.pop_front()
        {
            self.first += 1;
            self.bytes -= weight(&oldest);
        }
    }
}

/// Whether a newer Sortie wrote what cannot be read: a node of its version reads it.
fn is_newer(error: &ReadError) -> bool {
    use sortie_journal::ReadError as Journal;
    match error {
        ReadError::Journal(Journal::Frame { source, .. }) => source.is_newer(),
        ReadError::Journal(Journal::Row { source, .. }) => matches!(source, SealError::UnknownVersion { .. }),
        _ => false,
    }
}

fn weight(events: &[Shown]) -> usize {
    size_of::<Arc<[Shown]>>() + events.iter().map(|event| size_of::<Shown>() + event.json.len()).sum::<usize>()
}

impl Views {
    /// The latest fold of a mission that is not beyond what is wanted; it is the caller's then.
    pub fn take(&self, no: MissionNo, wanted: impl Fn(&Mission) -> bool) -> Option<Fold> {
        let mut folds = self.folds.lock();
        let fitting = folds.iter().enumerate().filter(|(_, fold)| fold.no == no && wanted(&fold.mission));
        let (index, _) = fitting.max_by_key(|(_, fold)| fold.mission.records())?;
        folds.remove(index)
    }

    /// The latest fold of a mission that is before a record; it is the caller's then.
    pub fn take_past(&self, no: MissionNo, wanted: u32) -> Option<Fold> {
        let fold = self.take(no, |mission| mission.records() < wanted);
        let from = fold.as_ref().map_or(0, |fold| fold.mission.records());
        let marks = self.marks.lock();
        let fitting = marks.iter().filter(|mark| mark.no == no && (from + 1..wanted).contains(&mark.mission.records()));
        let Some(mark) = fitting.max_by_key(|mark| mark.mission.records()).cloned() else { return fold };
        drop(marks);
        // The newest of it stays where it was.
        self.keep(fold);
        Some(mark)
    }

    /// Keeps a copy of a fold for whoever looks at the past of its mission.
    pub fn mark(&self, fold: &Fold) {
        let mut marks = self.marks.lock();
        let is_known = |mark: &Fold| mark.no == fold.no && mark.mission.records() == fold.mission.records();
        if marks.iter().any(is_known) {
            return;
        }
        if marks.len() >= MARKS_MAX {
            marks.pop_front();
        }
        marks.push_back(fold.clone());
    }

    /// Keeps a fold for whoever looks next.
    pub fn keep(&self, fold: Option<Fold>) {
        let Some(fold) = fold else { return };
        let mut folds = self.folds.lock();
        // Of one mission the newest is kept, and one of its past: who goes back and forth in it takes nobody else's place.
        let newest = folds.iter().filter(|kept| kept.no == fold.no).map(|kept| kept.mission.records()).max();
        if let Some(newest) = newest {
            let newest = newest.max(fold.mission.records());
            folds.retain(|kept| kept.no != fold.no || kept.mission.records() == newest);
        }
        if folds.len() >= FOLDS_MAX {
            folds.pop_front();
        }
        folds.push_back(fold);
    }

    /// How many records readers have taken up since the start.
    pub(crate) fn folded(&self) -> u64 {
        self.folded.load(Relaxed)
    }

    /// Some of another's mission cannot be read here, and is passed over: said once of each.
    fn passes_over(&self, no: MissionNo, error: &ReadError) {
        let mut passed_over = self.passed_over.lock();
        if passed_over.len() >= PASSED_OVER_MAX {
            passed_over.clear();
        }
        if passed_over.insert(no) {
            let error = error as &dyn std::error::Error;
            tracing::warn!(%no, error, "a mission of another node cannot be read: whoever reads all events here is not told some of its");
        }
    }

    /// Lets go of all folds: of what others had they may say something else than whoever has it now.
    pub(crate) fn forget_all(&self) {
        self.folds.lock().clear();
        self.marks.lock().clear();
    }

    /// Lets go of what is kept of a mission that is removed.
    pub fn forget(&self, no: MissionNo) {
        self.folds.lock().retain(|fold| fold.no != no);
        self.marks.lock().retain(|mark| mark.no != no);
    }
}

/// Some events of a mission, and what comes after them.
#[derive(Debug)]
pub struct Events {
    /// In their order.
    pub events: Vec<Shown>,
    /// There may be further ones already.
    pub more: bool,
    /// There will be none.
    pub over: bool,
}

impl Engine {
    /// A mission as of all that is on disk, shown to `read`. Blocks.
    pub fn view<T>(&self, no: MissionNo, read: impl FnOnce(&Fold) -> Result<T, ReadError>) -> Result<T, ReadError> {
        // One that has been removed is gone for everybody.
        let head = self.log.head(no).map_err(ReadError::from).inspect_err(|error| self.cannot_read(no, error));
        if head?.is_none() {
            self.views.forget(no);
            return Err(ReadError::Unknown);
        }
        let mut fold = self.views.take(no, |_| true);
        self.advance(no, &mut fold, |_, _| Next::More)?;
        let read = read(fold.as_ref().ok_or(ReadError::Unknown)?);
        self.views.keep(fold);
        read
    }

    /// Takes up what is on disk behind `fold`, or from the beginning, record by record, until there is no more or `each` has
    /// enough. Says whether the end was reached. Never holds more of the records than a piece. Blocks.
    pub fn advance(
        &self,
        no: MissionNo,
        fold: &mut Option<Fold>,
        each: impl FnMut(&Mission, &Stamped) -> Next,
    ) -> Result<bool, ReadError> {
        let read = |from| self.log.read(no, from, PIECE_BYTES);
        self.take_up(no, fold, each, &read).inspect_err(|error| self.cannot_read(no, error))
    }

    fn take_up(
        &self,
        no: MissionNo,
        fold: &mut Option<Fold>,
        mut each: impl FnMut(&Mission, &Stamped) -> Next,
        read: &dyn Fn(u32) -> Result<Vec<Stamped>, sortie_journal::ReadError>,
    ) -> Result<bool, ReadError> {
        loop {
            let from = fold.as_ref().map_or(0, |fold| fold.mission.records());
            let records = read(from)?;
            if records.is_empty() {
                return Ok(true);
            }
            for record in &records {
                self.views.folded.fetch_add(1, Relaxed);
                let fold = match fold {
                    Some(fold) => {
                        fold.mission.apply(record)?;
                        fold
                    }
                    None => fold.insert(Fold::begin(no, record)?),
                };
                if each(&fold.mission, record) == Next::Enough {
                    return Ok(false);
                }
            }
        }
    }

    /// The first events of a mission with a sequence above `after`, which `fold` must not be beyond: at most `limit`, and of
    /// about `bytes` at most. Blocks.
    pub fn next_events(
        &self,
        no: MissionNo,
        fold: &mut Option<Fold>,
        after: u64,
        limit: usize,
        bytes: usize,
    ) -> Result<Events, ReadError> {
        let (mut events, mut held) = (Vec::new(), 0);
        let mut before = fold.as_ref().map_or(0, |fold| fold.mission.sequence());
        let at_end = self.advance(no, fold, |mission, record| {
            let sequence = mission.sequence();
            if sequence > before.max(after)
                && let Some(event) = mission.event_of(record)
            {
                let shown = Shown::new(sequence, &event);
                held += shown.json.len();
                events.push(shown);
            }
            before = sequence;
            if events.len() >= limit || held >= bytes { Next::Enough } else { Next::More }
        })?;
        let mission = &fold.as_ref().ok_or(ReadError::Unknown)?.mission;
        if at_end && mission.sequence() < after {
            return Err(ReadError::Ahead { last: mission.sequence() });
        }
        // Nothing follows the end of a mission.
        let over = mission.status().is_final();
        Ok(Events { events, more: !at_end && !over, over })
    }

    /// The events of one entry of the node's log, each with the position after which a reader goes on: who breaks off within
    /// an entry gets the whole of it again, so only its last event moves the position. Blocks.
    pub fn events_of_entry(&self, entry: &FeedEntry) -> Result<Arc<[Shown]>, ReadError> {
        if let Some(events) = self.views.recent.lock().get(entry.position) {
            return Ok(events);
        }
        let read = |from| self.log.read(entry.mission, from, PIECE_BYTES);
        let wanted = std::slice::from_ref(entry);
        let events = self.take_up_entries(entry.mission, wanted, &read);
        let mut events = events.inspect_err(|error| self.cannot_read(entry.mission, error))?;
        let events: Arc<[Shown]> = events.pop().unwrap_or_default().into();
        self.views.recent.lock().add(entry.position, &events, RECENT_BYTES_MAX);
        Ok(events)
    }

    /// The same of some entries of any node's: of each mission all at once. Those of another's mission that cannot be read have no events
    /// here: who reads all goes on, and is told that mission's end once whoever has it has put it in quarantine. Blocks.
    pub(crate) fn events_of_any(
        &self,
        entries: &[FeedEntry],
        fleet: &dyn Fleet,
    ) -> Result<Vec<Arc<[Shown]>>, ReadError> {
        let recent = |entry: &FeedEntry| {
            let recent = self.views.recent_of_all.lock();
            recent.get(&ShareNo::of(entry.position)).and_then(|recent| recent.get(entry.position))
        };
        let mut events: Vec<Option<Arc<[Shown]>>> = entries.iter().map(recent).collect();
        let mut unread: BTreeSet<MissionNo> = BTreeSet::new();
        for place in 0..entries.len() {
            let mission = entries[place].mission;
            if events[place].is_some() || unread.contains(&mission) {
                continue;
            }
            let is_wanted = |other: &usize| entries[*other].mission == mission && events[*other].is_none();
            let places: Vec<usize> = (place..entries.len()).filter(is_wanted).collect();
            let wanted: Vec<FeedEntry> = places.iter().map(|place| entries[*place]).collect();
            let told = match self.take_up_any(mission, &wanted, fleet) {
                Ok(told) => told,
                // Another's is seen to by whoever has it.
                Err(error) if matches!(self.log.head(mission), Ok(None)) => {
                    if !is_its_own(&error) || is_newer(&error) {
                        return Err(error);
                    }
                    self.views.passes_over(mission, &error);
                    unread.insert(mission);
                    continue;
                }
                Err(error) => {
                    self.cannot_read(mission, &error);
                    return Err(error);
                }
            };
            for (place, told) in places.into_iter().zip(told) {
                events[place] = Some(told.into());
            }
        }
        let mut recent = self.views.recent_of_all.lock();
        for (entry, events) in entries.iter().zip(&events) {
            // What was passed over may be read by somebody later.
            let Some(events) = events else { continue };
            let of_share = recent.entry(ShareNo::of(entry.position)).or_default();
            of_share.add(entry.position, events, RECENT_OF_SHARE_BYTES_MAX);
        }
        // Those that are over are the lowest.
        while recent.len() > RECENT_SHARES_MAX {
            recent.pop_first();
        }
        drop(recent);
        Ok(events.into_iter().map(Option::unwrap_or_default).collect())
    }

    /// Of entries of one mission, in their order.
    fn take_up_any(
        &self,
        mission: MissionNo,
        wanted: &[FeedEntry],
        fleet: &dyn Fleet,
    ) -> Result<Vec<Vec<Shown>>, ReadError> {
        let read = |from| fleet.records(mission, from, PIECE_BYTES);
        match self.take_up_entries(mission, wanted, &read) {
            // What was kept of it may be older than what stands in the place of what could not be read.
            Err(error) if is_its_own(&error) => {
                self.views.forget(mission);
                self.take_up_entries(mission, wanted, &read)
            }
            events => events,
        }
    }

    fn take_up_entries(
        &self,
        no: MissionNo,
        wanted: &[FeedEntry],
        read: &dyn Fn(u32) -> Result<Vec<Stamped>, sortie_journal::ReadError>,
    ) -> Result<Vec<Vec<Shown>>, ReadError> {
        let mut events: Vec<Vec<Shown>> = vec![Vec::new(); wanted.len()];
        let Some(first) = wanted.first() else { return Ok(events) };
        let (mut fold, mut at) = (self.views.take(no, |mission| mission.records() <= first.first), 0);
        let each = |mission: &Mission, record: &Stamped| {
            let records = mission.records();
            let end = |entry: &FeedEntry| entry.first + entry.count;
            while wanted.get(at).is_some_and(|entry| records > end(entry)) {
                at += 1;
            }
            let Some(entry) = wanted.get(at) else { return Next::Enough };
            if records > entry.first
                && let Some(event) = mission.event_of(record)
            {
                events[at].push(Shown::new(entry.position.saturating_sub(1), &event));
            }
            if at + 1 == wanted.len() && records >= end(entry) { Next::Enough } else { Next::More }
        };
        self.take_up(no, &mut fold, each, read)?;
        // None, for a mission that has outlived its use: it has no events any more.
        self.views.keep(fold);
        for (entry, events) in wanted.iter().zip(&mut events) {
            if let Some(last) = events.last_mut() {
                last.id = entry.position;
            }
        }
        Ok(events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(bytes: usize) -> Arc<[Shown]> {
        [Shown { id: 0, kind: "", json: "x".repeat(bytes).into() }].into()
    }

    #[test]
    fn what_is_recent_has_no_gaps_and_a_most() {
        let mut recent = Recent::default();
        for position in 5..9 {
            recent.add(position, &entry(1), RECENT_BYTES_MAX);
        }
        assert!(
            recent.get(4).is_none() && recent.get(5).is_some() && recent.get(8).is_some() && recent.get(9).is_none()
        );
        // Somebody reads what was long ago, somebody else the same again.
        recent.add(2, &entry(1), RECENT_BYTES_MAX);
        recent.add(8, &entry(1), RECENT_BYTES_MAX);
        assert!(recent.get(2).is_none() && recent.get(9).is_none());
        // Something was passed over.
        recent.add(11, &entry(1), RECENT_BYTES_MAX);
        assert!(recent.get(8).is_none() && recent.get(11).is_some());
        recent.add(12, &entry(RECENT_BYTES_MAX), RECENT_BYTES_MAX);
        assert!(recent.get(11).is_none() && recent.get(12).is_none(), "larger than all that may be kept");
        recent.add(13, &entry(1), RECENT_BYTES_MAX);
        assert!(recent.get(13).is_some());
        assert_eq!(recent.bytes, weight(&entry(1)));
    }
}
