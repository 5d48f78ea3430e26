//! Schedules in the log: what each is, how far it has come, and what became of its fires.
//!
//! Owned here: that a change is made from the one before it, and how many fires are remembered. Never here: what the texts say, which
//! whoever keeps schedules writes and reads.

use redb::WriteTransaction;
use serde::{Deserialize, Serialize};

use crate::seal::{self, SealError};
use crate::table::{FIRES, POSITIONS, SCHEDULES};

/// Fires of one schedule that are remembered: the newest. Ten of each day for almost three years.
pub const FIRES_MAX: u64 = 10_000;

const VERSION: u8 = 1;

/// Room for a position that is short, as most are.
const POSITION_BYTES: usize = 256;

/// A schedule as the log keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Which change of it is the last: the first is 1.
    pub version: u64,
    /// What it is.
    pub definition: String,
    /// How far it has come.
    pub position: String,
    /// The number of its last fire in its history; 0 before the first.
    pub last_fire: u64,
}

/// A change of a schedule. It is refused where it was not made from the last one: see [`crate::WriteError::ScheduleMoved`].
#[derive(Debug, Clone)]
#[must_use = "a change does nothing until it is handed to the log"]
pub struct ScheduleChange {
    pub(crate) id: String,
    /// The version that it is made from; 0 where there is no such schedule.
    pub(crate) from: u64,
    pub(crate) to: To,
}

/// What becomes of it.
#[derive(Debug, Clone)]
pub(crate) enum To {
    Kept { definition: Option<String>, position: String, fires: Vec<String> },
    Removed,
}

impl ScheduleChange {
    /// A schedule that is not there yet.
    pub fn made(id: &str, definition: String, position: String) -> Self {
        let to = To::Kept { definition: Some(definition), position, fires: Vec::new() };
        Self { id: id.to_owned(), from: 0, to }
    }

    /// It has come further, from its version `from` on; these are its further fires, in order.
    pub fn moved(id: &str, from: u64, position: String, fires: Vec<String>) -> Self {
        Self { id: id.to_owned(), from, to: To::Kept { definition: None, position, fires } }
    }

    /// The same, and it is another one from now on.
    pub fn revised(self, definition: String) -> Self {
        let to = match self.to {
            To::Kept { position, fires, .. } => To::Kept { definition: Some(definition), position, fires },
            To::Removed => To::Removed,
        };
        Self { to, ..self }
    }

    /// It is gone, with its history.
    pub fn removed(id: &str, from: u64) -> Self {
        Self { id: id.to_owned(), from, to: To::Removed }
    }
}

/// Where the last change left a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) version: u64,
    pub(crate) last_fire: u64,
}

/// A change with its place behind the last one, as it is written.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub(crate) id: String,
    pub(crate) rows: Option<Rows>,
}

#[derive(Debug, Clone)]
pub(crate) struct Rows {
    /// Nothing is to stay of one of its name that could not be read.
    pub(crate) anew: bool,
    pub(crate) definition: Option<Vec<u8>>,
    pub(crate) position: Vec<u8>,
    pub(crate) fires: Vec<(u64, Vec<u8>)>,
}

impl Written {
    /// The change behind the last one, and where it leaves the schedule: nowhere, once it is removed. `None` where it was made from
    /// another one.
    pub(crate) fn after(last: Option<Mark>, change: &ScheduleChange) -> Option<(Self, Option<Mark>)> {
        if last.map_or(0, |last| last.version) != change.from {
            return None;
        }
        let id = change.id.clone();
        let To::Kept { definition, position, fires } = &change.to else {
            return Some((Self { id, rows: None }, None));
        };
        let first = last.map_or(0, |last| last.last_fire) + 1;
        let mark = Mark { version: change.from + 1, last_fire: first + fires.len() as u64 - 1 };
        let rows = Rows {
            anew: last.is_none(),
            definition: definition.as_ref().map(|definition| sealed(&id, None, definition)),
            position: encode_position(&id, mark, position),
            fires: (first..).zip(fires).map(|(no, fire)| (no, sealed(&id, Some(no), fire))).collect(),
        };
        Some((Self { id, rows: Some(rows) }, Some(mark)))
    }

    /// What it weighs in the queue.
    pub(crate) fn bytes(&self) -> usize {
        let rows = self.rows.as_ref().map_or(0, |rows| {
            let fires: usize = rows.fires.iter().map(|(_, fire)| fire.len()).sum();
            rows.definition.as_ref().map_or(0, Vec::len) + rows.position.len() + fires
        });
        size_of::<Self>() + self.id.len() + rows
    }
}

/// Writes changes of schedules, those of each in their order.
pub(crate) fn write(transaction: &WriteTransaction, mut changes: Vec<&Written>) -> Result<(), redb::Error> {
    if changes.is_empty() {
        return Ok(());
    }
    changes.sort_by(|a, b| a.id.cmp(&b.id));
    let mut schedules = transaction.open_table(SCHEDULES)?;
    let mut positions = transaction.open_table(POSITIONS)?;
    let mut history = transaction.open_table(FIRES)?;
    for Written { id, rows } in changes {
        let id = id.as_str();
        let Some(Rows { anew, definition, position, fires }) = rows else {
            schedules.remove(id)?;
            positions.remove(id)?;
            history.retain_in((id, 0)..=(id, u64::MAX), |_, _| false)?;
            continue;
        };
        if *anew {
            history.retain_in((id, 0)..=(id, u64::MAX), |_, _| false)?;
        }
        if let Some(definition) = definition {
            schedules.insert(id, definition.as_slice())?;
        }
        positions.insert(id, position.as_slice())?;
        for (no, fire) in fires {
            history.insert((id, *no), fire.as_slice())?;
            if let Some(oldest) = no.checked_sub(FIRES_MAX) {
                history.remove((id, oldest))?;
            }
        }
    }
    Ok(())
}

/// How far a schedule has come, on the disk. Never changed once released: another form is another version.
#[derive(Serialize, Deserialize)]
struct V1<'a> {
    version: u64,
    last_fire: u64,
    position: &'a str,
}

fn key(id: &str, fire: Option<u64>) -> Vec<u8> {
    id.bytes().chain(fire.into_iter().flat_map(u64::to_le_bytes)).collect()
}

pub(crate) fn sealed(id: &str, fire: Option<u64>, text: &str) -> Vec<u8> {
    let mut bytes = seal::open(VERSION, text.len());
    bytes.extend_from_slice(text.as_bytes());
    seal::close(bytes, &key(id, fire))
}

/// A text that was written under this key.
pub(crate) fn unsealed(id: &str, fire: Option<u64>, bytes: &[u8]) -> Result<String, SealError> {
    let (_, body) = seal::unseal(VERSION, &key(id, fire), bytes)?;
    String::from_utf8(body.to_vec()).map_err(|_| SealError::Form)
}

pub(crate) fn encode_position(id: &str, mark: Mark, position: &str) -> Vec<u8> {
    let wire = V1 { version: mark.version, last_fire: mark.last_fire, position };
    let bytes = postcard::to_extend(&wire, seal::open(VERSION, POSITION_BYTES)).expect("a vector takes every row");
    seal::close(bytes, &key(id, None))
}

/// Where a schedule stands, and how far it has come.
pub(crate) fn decode_position(id: &str, bytes: &[u8]) -> Result<(Mark, String), SealError> {
    let (_, body) = seal::unseal(VERSION, &key(id, None), bytes)?;
    let V1 { version, last_fire, position } = postcard::from_bytes(body).map_err(|_| SealError::Form)?;
    Ok((Mark { version, last_fire }, position.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_made_from_the_last_one_or_not_at_all() {
        let made = ScheduleChange::made("s", "{}".to_owned(), "0".to_owned());
        let (_, first) = Written::after(None, &made).expect("there is none");
        assert_eq!(first, Some(Mark { version: 1, last_fire: 0 }));
        assert!(Written::after(first, &made).is_none(), "it is there");
        let fired = ScheduleChange::moved("s", 1, "1".to_owned(), vec!["a".to_owned(), "b".to_owned()]);
        let (written, second) = Written::after(first, &fired).expect("it is the next");
        assert_eq!(second, Some(Mark { version: 2, last_fire: 2 }));
        assert!(Written::after(second, &fired).is_none(), "somebody was faster");
        let rows = written.rows.expect("it is kept");
        assert_eq!(rows.fires.iter().map(|(no, _)| *no).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(unsealed("s", Some(2), &rows.fires[1].1), Ok("b".to_owned()));
        assert_eq!(unsealed("s", Some(1), &rows.fires[1].1), Err(SealError::Checksum), "another's place");
        assert_eq!(decode_position("s", &rows.position), Ok((Mark { version: 2, last_fire: 2 }, "1".to_owned())));
        assert_eq!(decode_position("t", &rows.position), Err(SealError::Checksum), "another's row");
        let removed = Written::after(second, &ScheduleChange::removed("s", 2)).expect("it is the next");
        assert_eq!(removed.1, None);
    }
}
