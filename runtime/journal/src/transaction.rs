//! One transaction: what the changes that share a commit come to, and how it is written.
//!
//! The outcome is that of the changes done one after the other, in the order of the queue, wherever the writer happened to
//! divide them into commits. Within each table the insertions are in the order of its keys.

use std::ops::RangeInclusive;

use redb::{Database, ReadableTable, WriteTransaction};
use sortie_contract::MissionNo;

use crate::actions;
use crate::append::{Append, Change, CursorChange};
use crate::balance::{self, Movement};
use crate::clocks;
use crate::feed::{self, FeedEntry};
use crate::frame::FrameKey;
use crate::pin;
use crate::schedule;
use crate::table::{CURSORS, FEED, FORMAT, FRAMES, HEADS, META, Meta, PINS, QUARANTINE, RECORD_LAST};

/// Writes `changes` in one transaction and commits it. Returns the journal's numbers afterwards.
pub(crate) fn write(db: &Database, meta: Meta, changes: &[Change], quick_repair: bool) -> Result<Meta, redb::Error> {
    let sum = Sum::of(changes, meta.position);
    let mut transaction = db.begin_write()?;
    transaction.set_quick_repair(quick_repair);
    let removed_bytes = remove(&transaction, &sum.removed)?;
    write_feed(&transaction, meta.position, &sum.told)?;
    prune_feed(&transaction, sum.feed_begin)?;
    let written_bytes = write_frames(&transaction, &sum.appends)?;
    write_heads(&transaction, &sum.appends)?;
    write_cursors(&transaction, &sum.appends)?;
    write_quarantine(&transaction, &sum.appends)?;
    schedule::write(&transaction, sum.schedules)?;
    clocks::write(&transaction, sum.clocks)?;
    actions::write(&transaction, &sum.actions)?;
    pin::write(&transaction, &sum.pins)?;
    balance::write(&transaction, sum.movements.into_iter())?;
    let meta = Meta {
        format: FORMAT,
        commits: meta.commits + 1,
        position: meta.position + sum.told.len() as u64,
        last_no: meta.last_no.max(sum.last_no),
        freed: (meta.freed + removed_bytes).saturating_sub(written_bytes),
    };
    meta.write(&mut transaction.open_table(META)?)?;
    transaction.commit()?;
    Ok(meta)
}

/// What changes come to.
#[derive(Default)]
pub(crate) struct Sum<'a> {
    /// All frames, in the order of the queue, by mission, first record and number of records: each has its position in the feed,
    /// though its mission be removed in the same commit.
    pub(crate) told: Vec<(u64, u32, u32)>,
    /// The missions that are removed, in the order of their numbers.
    pub(crate) removed: Vec<u64>,
    /// The appends that come after the removal of their mission, where it is removed: those that leave something.
    pub(crate) appends: Vec<&'a Append>,
    /// Where the feed is to begin, if it is pruned: among the positions that were given out when the pruning was asked for.
    pub(crate) feed_begin: Option<u64>,
    /// What becomes of schedules, in the order of the queue: a fire stays one, though its mission be removed in the same commit.
    pub(crate) schedules: Vec<&'a schedule::Written>,
    /// The last row of run clocks.
    pub(crate) clocks: Option<&'a [u8]>,
    /// What people did, in the order of the queue.
    pub(crate) actions: Vec<&'a str>,
    /// The pins that come after the removal of their mission, where it is removed, in the order of the queue.
    pub(crate) pins: Vec<(u64, Option<&'a [u8]>)>,
    /// What moves in balances, in the order of the queue: what was spent stays so, though its mission be removed.
    pub(crate) movements: Vec<&'a Movement>,
    /// The greatest mission number among them.
    pub(crate) last_no: u64,
}

impl<'a> Sum<'a> {
    /// Of changes that follow the frame at `position`.
    pub(crate) fn of(changes: &'a [Change], position: u64) -> Self {
        let removals = changes.iter().enumerate().filter_map(|(index, change)| match change {
            Change::Remove(mission) => Some((*mission, index)),
            Change::Append(_)
            | Change::PruneFeed(_)
            | Change::Schedule(_)
            | Change::Clocks(_)
            | Change::Action(_)
            | Change::Pin(..) => None,
        });
        let removals = last_of_each(removals.collect());
        let removed_after = |mission: u64, index: usize| {
            let found = removals.binary_search_by_key(&mission, |(mission, _)| *mission);
            found.is_ok_and(|found| removals[found].1 > index)
        };
        let mut sum = Self { removed: removals.iter().map(|(mission, _)| *mission).collect(), ..Self::default() };
        for (index, change) in changes.iter().enumerate() {
            match change {
                Change::Append(append) => {
                    sum.last_no = sum.last_no.max(append.mission);
                    sum.schedules.extend(append.schedule.as_deref());
                    sum.movements.extend(append.movements());
                    sum.told.extend(append.told().map(|(first, count)| (append.mission, first, count)));
                    if !removed_after(append.mission, index) {
                        sum.appends.push(append);
                    }
                }
                Change::Remove(mission) => sum.last_no = sum.last_no.max(*mission),
                Change::Schedule(change) => sum.schedules.push(change),
                Change::Clocks(row) => sum.clocks = Some(row),
                Change::Action(text) => sum.actions.push(text),
                Change::Pin(mission, row) => {
                    if !removed_after(*mission, index) {
                        sum.pins.push((*mission, row.as_deref()));
                    }
                }
                Change::PruneFeed(begin) => {
                    let next = position + sum.told.len() as u64 + 1;
                    sum.feed_begin = sum.feed_begin.max(Some((*begin).min(next)));
                }
            }
        }
        sum
    }
}

/// Removes all rows of `missions`; returns how many bytes of frames that were.
fn remove(transaction: &WriteTransaction, missions: &[u64]) -> Result<u64, redb::Error> {
    if missions.is_empty() {
        return Ok(0);
    }
    let mut frames = transaction.open_table(FRAMES)?;
    let mut heads = transaction.open_table(HEADS)?;
    let mut cursors = transaction.open_table(CURSORS)?;
    let mut quarantine = transaction.open_table(QUARANTINE)?;
    let mut pins = transaction.open_table(PINS)?;
    let mut bytes = 0;
    for mission in missions {
        frames.retain_in(frames_of(*mission), |_, frame| {
            bytes += frame.len() as u64;
            false
        })?;
        heads.remove(mission)?;
        cursors.remove(mission)?;
        quarantine.remove(mission)?;
        pins.remove(mission)?;
    }
    Ok(bytes)
}

fn frames_of(mission: u64) -> RangeInclusive<FrameKey> {
    (mission, 0)..=(mission, RECORD_LAST)
}

/// Gives what is `told` the positions after `position`.
fn write_feed(transaction: &WriteTransaction, position: u64, told: &[(u64, u32, u32)]) -> Result<(), redb::Error> {
    if told.is_empty() {
        return Ok(());
    }
    let mut feed = transaction.open_table(FEED)?;
    let mut next = position + 1;
    for row in told.chunks(feed::ENTRIES_A_ROW_MAX) {
        let entries = row.iter().zip(next..).map(|((mission, first, count), position)| FeedEntry {
            position,
            mission: MissionNo(*mission),
            first: *first,
            count: *count,
        });
        let entries: Vec<_> = entries.collect();
        feed.insert(next, feed::encode(next, &entries).as_slice())?;
        next += row.len() as u64;
    }
    Ok(())
}

/// Removes the entries before `begin`. A row that holds some of them is written anew with the rest.
fn prune_feed(transaction: &WriteTransaction, begin: Option<u64>) -> Result<(), redb::Error> {
    let Some(begin) = begin else { return Ok(()) };
    let mut feed = transaction.open_table(FEED)?;
    let last = match feed.range(..begin)?.next_back().transpose()? {
        Some((key, row)) => feed::decode(key.value(), row.value())
            .map_err(|why| redb::Error::Corrupted(format!("feed {} cannot be read: {why}", key.value())))?,
        None => return Ok(()),
    };
    feed.retain_in(..begin, |_, _| false)?;
    let kept: Vec<_> = last.into_iter().filter(|entry| entry.position >= begin).collect();
    if !kept.is_empty() {
        feed.insert(begin, feed::encode(begin, &kept).as_slice())?;
    }
    Ok(())
}

/// Returns how many bytes were written.
fn write_frames(transaction: &WriteTransaction, appends: &[&Append]) -> Result<u64, redb::Error> {
    let frames = appends.iter().filter_map(|append| Some((append.mission, append.frame.as_ref()?)));
    let mut frames: Vec<_> = frames.collect();
    if frames.is_empty() {
        return Ok(0);
    }
    frames.sort_unstable_by_key(|(mission, frame)| (*mission, frame.first));
    let mut table = transaction.open_table(FRAMES)?;
    let mut bytes = 0;
    for (mission, frame) in frames {
        let previous = table.insert((mission, frame.first), frame.bytes.as_slice())?;
        if previous.is_some() {
            // The log is append-only, and who came too late was told so before: this is not to be believed.
            return Err(redb::Error::Corrupted(format!(
                "records {} of mission {mission} were written twice",
                frame.first
            )));
        }
        bytes += frame.bytes.len() as u64;
    }
    Ok(bytes)
}

/// The last head of each mission counts.
fn write_heads(transaction: &WriteTransaction, appends: &[&Append]) -> Result<(), redb::Error> {
    let heads = appends.iter().filter_map(|append| Some((append.mission, append.head.as_deref()?)));
    let heads = last_of_each(heads.collect());
    if heads.is_empty() {
        return Ok(());
    }
    let mut table = transaction.open_table(HEADS)?;
    for (mission, head) in heads {
        table.insert(mission, head)?;
    }
    Ok(())
}

/// The last change of each mission's cursor counts.
fn write_cursors(transaction: &WriteTransaction, appends: &[&Append]) -> Result<(), redb::Error> {
    let changes = appends.iter().filter_map(|append| Some((append.mission, append.cursor.as_ref()?)));
    let changes = last_of_each(changes.collect());
    if changes.is_empty() {
        return Ok(());
    }
    let mut table = transaction.open_table(CURSORS)?;
    for (mission, change) in changes {
        match change {
            CursorChange::Set(cursor) => drop(table.insert(mission, cursor.as_slice())?),
            CursorChange::Remove => drop(table.remove(mission)?),
        }
    }
    Ok(())
}

/// The last row of each mission counts.
fn write_quarantine(transaction: &WriteTransaction, appends: &[&Append]) -> Result<(), redb::Error> {
    let rows = appends.iter().filter_map(|append| Some((append.mission, append.quarantine.as_ref()?.bytes.as_slice())));
    let rows = last_of_each(rows.collect());
    if rows.is_empty() {
        return Ok(());
    }
    let mut table = transaction.open_table(QUARANTINE)?;
    for (mission, row) in rows {
        table.insert(mission, row)?;
    }
    Ok(())
}

/// In the order of the keys, the last of each.
pub(crate) fn last_of_each<T: Copy>(mut changes: Vec<(u64, T)>) -> Vec<(u64, T)> {
    changes.reverse();
    changes.sort_by_key(|(mission, _)| *mission);
    changes.dedup_by_key(|(mission, _)| *mission);
    changes
}

#[cfg(test)]
mod tests {
    use sortie_contract::{Record, Stamped, Timestamp};

    use super::*;

    #[test]
    fn the_last_change_of_each_mission_counts() {
        assert_eq!(
            last_of_each(vec![(2, 'a'), (1, 'b'), (2, 'c'), (3, 'd'), (1, 'e')]),
            [(1, 'e'), (2, 'c'), (3, 'd')]
        );
    }

    fn append(mission: u64, first: u32) -> Change {
        let record = Stamped { at: Timestamp::UNIX_EPOCH, ran_ms: 0, record: Record::Heartbeat };
        Change::Append(Append::new(MissionNo(mission), first, &[record]))
    }

    #[test]
    fn a_removal_takes_what_came_before_it_and_leaves_its_positions() {
        let changes = [append(7, 4), append(8, 0), Change::Remove(7), append(9, 0), Change::Remove(9), append(9, 0)];
        let sum = Sum::of(&changes, 100);
        assert_eq!(sum.told.iter().map(|(mission, ..)| *mission).collect::<Vec<_>>(), [7, 8, 9, 9]);
        assert_eq!(sum.appends.iter().map(|append| append.mission).collect::<Vec<_>>(), [8, 9]);
        assert_eq!((sum.removed.as_slice(), sum.last_no), ([7, 9].as_slice(), 9));
    }

    #[test]
    fn a_feed_is_pruned_among_the_positions_that_were_given_out_then() {
        for (asked, begin) in [(50, 50), (102, 102), (103, 102)] {
            let changes = [append(1, 0), Change::PruneFeed(asked), Change::PruneFeed(7), append(1, 1), append(1, 2)];
            assert_eq!(Sum::of(&changes, 100).feed_begin, Some(begin));
        }
    }
}
