//! What is read of a mission whose records cannot all be read, and what is kept of why.
//!
//! Its frames stay as they are. A row of a table of its own says how far they are read, and holds the records that stand in the place
//! of the rest: what is passed over, and the mission's end; before them a beginning, where not even that can be read. Whoever reads
//! the mission reads those behind what can be read, so that all that is known of it is a fold over its records, as of any other.
//! What they say is the mission core's business.

use serde::{Deserialize, Serialize};
use sortie_contract::{MissionNo, Record, Stamped, Timestamp};

use crate::error::ReadError;
use crate::frame;
use crate::seal::{self, SealError};

/// Why a mission is in quarantine, and what is read of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Quarantine {
    /// Since when.
    pub at: Timestamp,
    /// What could not be read, for people.
    pub why: String,
    /// How many of its records are read as they were written.
    pub readable: u32,
    /// In the place of a first record that cannot be read.
    pub beginning: Option<Stamped>,
    /// In the place of the others: a [`Record::Unreadable`].
    pub gap: Stamped,
    /// The end.
    pub end: Stamped,
}

/// What can be read of a mission.
#[derive(Debug)]
pub struct Remains {
    /// Its records up to the first that cannot be read.
    pub records: Vec<Stamped>,
    /// Why that one cannot; nothing, where all were read.
    pub why: Option<ReadError>,
    /// A number that is greater than that of any of its records.
    pub until: u32,
    /// Its latest record, where that one can be read, whatever is lost before it.
    pub last: Option<Stamped>,
}

impl Remains {
    /// The next of the mission's frames, in their order, with the number of its first record.
    pub(crate) fn add(&mut self, mission: MissionNo, first: u32, row: &[u8]) {
        if self.why.is_none() && self.until != first {
            self.why = Some(ReadError::Gap { mission, expected: self.until });
        }
        let mut records = Vec::new();
        let decoded = frame::decode((mission.0, first), row, &mut records);
        // A frame has fewer records than bytes.
        let count = if decoded.is_ok() { records.len() } else { row.len().max(1) };
        self.until = first.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        self.last = records.last().filter(|_| decoded.is_ok()).cloned();
        match decoded {
            Ok(()) if self.why.is_none() => self.records.append(&mut records),
            Ok(()) => {}
            Err(source) => {
                self.why.get_or_insert(ReadError::Frame { mission, first, source });
            }
        }
    }
}

const VERSION: u8 = 1;

/// Version 1 on the disk. Never changed once released: another form is another version.
#[derive(Serialize, Deserialize)]
struct V1 {
    at_ns: i128,
    why: String,
    readable: u32,
    beginning: Option<Vec<u8>>,
    gap: Vec<u8>,
    end: Vec<u8>,
}

impl Quarantine {
    /// The number of the end: everything that was recorded has a lower one.
    pub(crate) fn until(&self) -> u32 {
        self.gap.next_no(self.readable)
    }

    /// What stands behind the records that are read as they were written, from number `first` on.
    pub(crate) fn behind(&self, first: u32) -> impl Iterator<Item = Stamped> {
        let until = self.until();
        let beginning = self.beginning.as_ref().filter(|_| first == 0);
        let gap = (first < until).then_some(&self.gap);
        beginning.into_iter().chain(gap).chain((first <= until).then_some(&self.end)).cloned()
    }

    pub(crate) fn encode(&self, mission: u64) -> Vec<u8> {
        let wire = V1 {
            at_ns: self.at.as_nanosecond(),
            why: self.why.clone(),
            readable: self.readable,
            beginning: self.beginning.as_ref().map(Stamped::encode),
            gap: self.gap.encode(),
            end: self.end.encode(),
        };
        let bytes = postcard::to_extend(&wire, seal::open(VERSION, 1_024)).expect("a vector takes every row");
        seal::close(bytes, &mission.to_le_bytes())
    }

    pub(crate) fn decode(mission: u64, bytes: &[u8]) -> Result<Self, SealError> {
        let (_, body) = seal::unseal(VERSION, &mission.to_le_bytes(), bytes)?;
        let wire: V1 = postcard::from_bytes(body).map_err(|_| SealError::Form)?;
        let record = |bytes: Vec<u8>| Stamped::decode(&bytes).map_err(|_| SealError::Form);
        let gap = record(wire.gap)?;
        if !matches!(gap.record, Record::Unreadable { .. }) {
            return Err(SealError::Form);
        }
        Ok(Self {
            at: Timestamp::from_nanosecond(wire.at_ns).map_err(|_| SealError::Form)?,
            why: wire.why,
            readable: wire.readable,
            beginning: wire.beginning.map(record).transpose()?,
            gap,
            end: record(wire.end)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarantine_reads_back_and_says_what_stands_behind_each_number() {
        let stamped = |record| Stamped { at: Timestamp::UNIX_EPOCH, ran_ms: 7, record };
        let gap = stamped(Record::Unreadable { until: 40, sequence: 3, items: 4 });
        let end = stamped(Record::Heartbeat);
        for (readable, beginning) in [(3, None), (0, Some(stamped(Record::Interrupted)))] {
            let (gap, end, why) = (gap.clone(), end.clone(), "damaged".to_owned());
            let quarantine = Quarantine { at: Timestamp::UNIX_EPOCH, why, readable, beginning, gap, end };
            assert_eq!(Quarantine::decode(7, &quarantine.encode(7)), Ok(quarantine.clone()));
            assert_eq!(Quarantine::decode(8, &quarantine.encode(7)), Err(SealError::Checksum));
            let counts = [0, 3, 39, 40, 41].map(|first| quarantine.behind(first).count());
            assert_eq!(counts, [2 + usize::from(readable == 0), 2, 2, 1, 0]);
        }
    }
}
