//! Where each mission's records end: whether an append is the next one of its mission, or somebody's who came too late.

use redb::{Database, ReadableDatabase};
use rustc_hash::FxHashMap;
use sortie_contract::MissionNo;

use crate::append::Change;
use crate::error::WriteError;
use crate::frame;
use crate::table::{FRAMES, RECORD_LAST};

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
        for (index, change) in changes.iter().enumerate() {
            match change {
                Change::Append(append) => {
                    if let Some(frame) = &append.frame {
                        let expected = match self.0.get(&append.mission) {
                            Some(next) => *next,
                            None if append.mission > last_no => 0,
                            None => next_on_disk(db, append.mission)?,
                        };
                        if frame.first != expected {
                            let (mission, first) = (MissionNo(append.mission), frame.first);
                            refused.push((index, WriteError::Conflict { mission, first, expected }));
                            continue;
                        }
                        self.0.insert(append.mission, frame.first.saturating_add(frame.count));
                    }
                    last_no = last_no.max(append.mission);
                }
                Change::Remove(mission) => {
                    self.0.insert(*mission, 0);
                    last_no = last_no.max(*mission);
                }
                Change::PruneFeed(_) => {}
            }
        }
        Ok(refused)
    }
}

fn next_on_disk(db: &Database, mission: u64) -> Result<u32, redb::Error> {
    let frames = db.begin_read()?.open_table(FRAMES)?;
    let last = frames.range((mission, 0)..=(mission, RECORD_LAST))?.next_back().transpose()?;
    let Some((key, value)) = last else { return Ok(0) };
    let (_, first) = key.value();
    let count = frame::count(key.value(), value.value())
        .map_err(|why| redb::Error::Corrupted(format!("records {first} of mission {mission} cannot be read: {why}")))?;
    Ok(first.saturating_add(count))
}
