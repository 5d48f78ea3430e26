//! Where each mission's records end: whether an append is the next one of its mission, or somebody's who came too late.

use redb::{Database, ReadableDatabase};
use rustc_hash::FxHashMap;
use sortie_contract::MissionNo;

use crate::append::{Append, Change, CursorChange};
use crate::cursor;
use crate::error::WriteError;
use crate::frame::{self, FrameKey};
use crate::table::{CURSORS, FRAMES, RECORD_LAST};

/// Missions that are remembered, so that an append does not cost a look at the disk; then it begins anew. An entry takes 20
/// bytes.
const REMEMBERED_MAX: usize = 16_384;

/// The numbers of the missions' next records, as the writer has left them.
#[derive(Debug, Default)]
pub(crate) struct Tails(FxHashMap<u64, u32>);

impl Tails {
    /// Which of `changes`, done one after the other, are not the next of their mission; with what to tell their callers. No mission
    /// greater than `last_no` was there before them.
    pub(crate) fn check<E: Ends>(
        &mut self,
        ends: &E,
        mut last_no: u64,
        changes: &[Change],
    ) -> Result<Vec<(usize, WriteError)>, E::Error> {
        if self.0.len() > REMEMBERED_MAX {
            self.0.clear();
        }
        let mut refused = Vec::new();
        let mut cursors = Cursors::of(changes);
        for (index, change) in changes.iter().enumerate() {
            match change {
                Change::Append(append) => {
                    if !cursors.stands(ends, append)? {
                        refused.push((index, WriteError::CursorMoved { mission: MissionNo(append.mission) }));
                        continue;
                    }
                    if let Some(frame) = &append.frame {
                        let expected = match self.0.get(&append.mission) {
                            Some(next) => *next,
                            None if append.mission > last_no => 0,
                            None => ends.next(append.mission, frame.first)?,
                        };
                        if frame.first != expected {
                            let (mission, first) = (MissionNo(append.mission), frame.first);
                            refused.push((index, WriteError::Conflict { mission, first, expected }));
                            continue;
                        }
                        self.0.insert(append.mission, frame.first.saturating_add(frame.count));
                    }
                    cursors.moved(append.mission, append.cursor.as_ref());
                    last_no = last_no.max(append.mission);
                }
                Change::Remove(mission) => {
                    self.0.insert(*mission, 0);
                    cursors.moved(*mission, Some(&CursorChange::Remove));
                    last_no = last_no.max(*mission);
                }
                Change::PruneFeed(_)
                | Change::Schedule(_)
                | Change::Clocks(_)
                | Change::Action(_)
                | Change::Pin(..) => {}
            }
        }
        Ok(refused)
    }

    /// The missions of which [`Tails::check`] would ask where their records end, and those of which it would ask where their cursors
    /// stand; some of them for nothing. For whoever has to look beforehand.
    pub(crate) fn asks(&self, last_no: u64, changes: &[Change]) -> (Vec<u64>, Vec<u64>) {
        let appends = || {
            changes.iter().filter_map(|change| if let Change::Append(append) = change { Some(append) } else { None })
        };
        let forgets = self.0.len() > REMEMBERED_MAX;
        let is_unknown = |mission: &u64| *mission <= last_no && (forgets || !self.0.contains_key(mission));
        let ends = appends().filter(|append| append.frame.is_some()).map(|append| append.mission).filter(is_unknown);
        let cursors = appends().filter(|append| append.cursor_before.is_some()).map(|append| append.mission);
        (ends.collect(), cursors.collect())
    }
}

/// Where it is looked up what is not remembered.
pub(crate) trait Ends {
    /// Why it cannot be.
    type Error;

    /// The number of a mission's next record. `brought` is what somebody has for it: where the last frame cannot be read it is believed,
    /// if it is behind that. What went bad of one mission is found when that mission is read, and stops no other.
    fn next(&self, mission: u64, brought: u32) -> Result<u32, Self::Error>;

    /// The row of its cursor.
    fn cursor(&self, mission: u64) -> Result<Option<Vec<u8>>, Self::Error>;
}

impl Ends for Database {
    type Error = redb::Error;

    fn next(&self, mission: u64, brought: u32) -> Result<u32, redb::Error> {
        let frames = self.begin_read()?.open_table(FRAMES)?;
        let last = frames.range((mission, 0)..=(mission, RECORD_LAST))?.next_back().transpose()?;
        let Some((key, value)) = last else { return Ok(0) };
        Ok(next_after(key.value(), value.value(), brought))
    }

    fn cursor(&self, mission: u64) -> Result<Option<Vec<u8>>, redb::Error> {
        let cursors = self.begin_read()?.open_table(CURSORS)?;
        Ok(cursors.get(mission)?.map(|row| row.value().to_vec()))
    }
}

/// The number of the record behind a mission's last frame: see [`Ends::next`].
pub(crate) fn next_after(key: FrameKey, row: &[u8], brought: u32) -> u32 {
    let next = frame::count(key, row).map(|count| key.1.saturating_add(count));
    next.unwrap_or(brought.max(key.1.saturating_add(1)))
}

/// The cursors that a batch has moved so far; nothing, where nobody in it asks where one stands.
struct Cursors<'a>(Option<FxHashMap<u64, &'a CursorChange>>);

impl<'a> Cursors<'a> {
    fn of(changes: &[Change]) -> Self {
        let asks = |change: &Change| matches!(change, Change::Append(append) if append.cursor_before.is_some());
        Self(changes.iter().any(asks).then(FxHashMap::default))
    }

    fn moved(&mut self, mission: u64, to: Option<&'a CursorChange>) {
        if let (Some(moved), Some(to)) = (&mut self.0, to) {
            moved.insert(mission, to);
        }
    }

    /// Whether the cursor is where the append wants it.
    fn stands<E: Ends>(&self, ends: &E, append: &Append) -> Result<bool, E::Error> {
        let Some(wanted) = &append.cursor_before else { return Ok(true) };
        // One that cannot be read stands where whoever read it was told that it stands: at the beginning.
        let read = |bytes: &[u8]| cursor::decode(append.mission, bytes).unwrap_or_default();
        let found = match self.0.as_ref().and_then(|moved| moved.get(&append.mission)) {
            Some(CursorChange::Set(bytes)) => Some(read(bytes)),
            Some(CursorChange::Remove) => None,
            None => ends.cursor(append.mission)?.map(|bytes| read(&bytes)),
        };
        Ok(found.as_ref() == wanted.as_deref())
    }
}
