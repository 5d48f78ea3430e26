//! The records of one mission, as they are in the tables: whoever has it.

use sortie_contract::{MissionNo, Stamped};
use tokio_postgres::Row;

use super::PostgresLog;
use super::link::Param;
use super::script::int;
use crate::error::ReadError;
use crate::frame;
use crate::quarantine::Quarantine;
use crate::read::there;
use crate::table::RECORD_LAST;

/// From the frame that holds the first record on, or from the first behind it, as many as fit into so many bytes, and one at least. Only so
/// many are looked at, whatever follows.
const FRAMES: &str = "
SELECT first, row FROM (
    SELECT first, row, sum(octet_length(row)) OVER (ORDER BY first) AS bytes, row_number() OVER (ORDER BY first) AS no
    FROM (
        SELECT first, row FROM sortie_frames
        WHERE mission = $1 AND first < $3 AND first >= coalesce(
            (SELECT max(first) FROM sortie_frames WHERE mission = $1 AND first <= $2), $2)
        ORDER BY first LIMIT 256
    ) AS few
) AS counted
WHERE no = 1 OR bytes <= $4
ORDER BY first";
const QUARANTINE: &str = "SELECT mission, row FROM sortie_quarantine WHERE mission = $1";

impl PostgresLog {
    /// See [`crate::Log::read`].
    pub(super) fn records_of(&self, mission: MissionNo, first: u32, bytes: usize) -> Result<Vec<Stamped>, ReadError> {
        let Some(quarantine) = self.quarantine_of(mission)? else {
            return self.frames(mission, first, RECORD_LAST, bytes);
        };
        let mut records = self.frames(mission, first, quarantine.readable, bytes)?;
        let read = u32::try_from(records.len()).expect("records are counted with a u32");
        if first.saturating_add(read) >= quarantine.readable {
            records.extend(quarantine.behind(first));
        }
        Ok(records)
    }

    /// See [`crate::Log::quarantine`].
    pub(super) fn quarantine_of(&self, mission: MissionNo) -> Result<Option<Quarantine>, ReadError> {
        let rows = self.rows(QUARANTINE, vec![Box::new(int(mission.0))])?;
        let Some(row) = rows.first() else { return Ok(None) };
        // Without it the mission cannot be read, and is put there again.
        let source = |source| ReadError::Row { table: "quarantine", key: mission.0, source };
        there(Quarantine::decode(mission.0, row.get(1)).map_err(source))
    }

    /// Records of `mission` with numbers from `first` to before `end`: of one frame at least, if there are any.
    fn frames(&self, mission: MissionNo, first: u32, end: u32, bytes: usize) -> Result<Vec<Stamped>, ReadError> {
        let mut records = Vec::new();
        if first >= end {
            return Ok(records);
        }
        let params: Vec<Param<'static>> = vec![
            Box::new(int(mission.0)),
            Box::new(i64::from(first)),
            Box::new(i64::from(end)),
            Box::new(int(bytes as u64)),
        ];
        let rows = self.rows(FRAMES, params)?;
        let at = |row: &Row| u32::try_from(row.get::<_, i64>(0)).unwrap_or(u32::MAX);
        let begin = rows.first().map_or(first, at).min(first);
        let mut expected = begin;
        for row in &rows {
            let key = at(row);
            if key != expected {
                return Err(ReadError::Gap { mission, expected });
            }
            let before = records.len();
            let decoded = frame::decode((mission.0, key), row.get(1), &mut records);
            decoded.map_err(|source| ReadError::Frame { mission, first: key, source })?;
            expected += u32::try_from(records.len() - before).expect("a frame counts its records with a u32");
        }
        if first > begin {
            records.drain(..records.len().min((first - begin) as usize));
        }
        records.truncate((end - first) as usize);
        Ok(records)
    }
}
