//! Where each mission's records end: whether an append is the next one of its mission, or somebody's who came too late.

use redb::{Database, ReadableDatabase};
use rustc_hash::FxHashMap;
use sortie_contract::MissionNo;

use crate::append::{Append, Change, CursorChange};
use crate::cursor;
use crate::error::WriteError;
use crate::frame;
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
    pub(crate) fn check(
        &mut self,
        db: &Database,
        mut last_no: u64,
        changes: &[Change],
    ) -> Result<Vec<(usize, WriteError)>, redb::Error> {
        if self.0.len() > REMEMBERED_MAX {
            self.0.clear();
        }
        let mut refused = Vec::new();
        let mut cursors = Cursors::of(changes);
        for (index, change) in changes.iter().enumerate() {
            match change {
                Change::Append(append) => {
                    if !cursors.stands(db, append)? {
                        refused.push((index, WriteError::CursorMoved { mission: MissionNo(append.mission) }));
                        continue;
                    }
                    if let Some(frame) = &append.frame {
                        let expected = match self.0.get(&append.mission) {
                            Some(next) => *next,
                            None if append.mission > last_no => 0,
                            None => next_on_disk(db, append.mission, frame.first)?,
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
    fn stands(&self, db: &Database, append: &Append) -> Result<bool, redb::Error> {
        let Some(wanted) = &append.cursor_before else { return Ok(true) };
        // One that cannot be read stands where whoever read it was told that it stands: at the beginning.
        let read = |bytes: &[u8]| cursor::decode(append.mission, bytes).unwrap_or_default();
        let found = match self.0.as_ref().and_then(|moved| moved.get(&append.mission)) {
            Some(CursorChange::Set(bytes)) => Some(read(bytes)),
            Some(CursorChange::Remove) => None,
            None => {
                let cursors = db.begin_read()?.open_table(CURSORS)?;
                cursors.get(append.mission)?.map(|bytes| read(bytes.value()))
            }
        };
        Ok(found.as_ref() == wanted.as_deref())
    }
}

/// `brought` is what somebody has for the next one: where the last frame cannot be read it is believed, if it is behind that. What
/// went bad of one mission is found when that mission is read, and stops no other.
fn next_on_disk(db: &Database, mission: u64, brought: u32) -> Result<u32, redb::Error> {
    let frames = db.begin_read()?.open_table(FRAMES)?;
    let last = frames.range((mission, 0)..=(mission, RECORD_LAST))?.next_back().transpose()?;
    let Some((key, value)) = last else { return Ok(0) };
    let (_, first) = key.value();
    let next = frame::count(key.value(), value.value()).map(|count| first.saturating_add(count));
    Ok(next.unwrap_or(brought.max(first.saturating_add(1))))
}
