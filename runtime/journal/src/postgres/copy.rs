//! A copy of the store as a file: see [`crate::Log::snapshot`]. All rows are of one moment, read over a connection of its own.

use std::path::Path;
use std::sync::Arc;

use tokio::time::error::Elapsed;
use tokio::time::timeout;
use tokio_postgres::{Error, Row as Found};

use super::held::{Span, spans};
use super::hold;
use super::link::{Link, PATIENCE, Param};
use super::log::{number, text};
use super::read::{storage, wait};
use super::{PostgresLog, fresh, trouble};
use crate::clocks;
use crate::error::ReadError;
use crate::fleet::ShareNo;
use crate::snapshot::{Copied, Draft, Row, SnapshotError};
use crate::table::Meta;

/// Between two pages it stands idle for as long as the file takes.
const BEGIN: &str = "
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SET LOCAL idle_in_transaction_session_timeout = '10min'";
const STORE: &str = "SELECT commits, position, last_no FROM sortie_shares WHERE share = $1";
/// What the log holds, at this moment.
const SHARES: &str = "SELECT share FROM sortie_shares WHERE share = $1 OR heir = $1 ORDER BY share";

/// As many as fit into 8 MiB, and one at least: frames may be large. Only so many are looked at, whatever follows.
const FRAMES: &str = "
SELECT mission, first, row FROM (
    SELECT mission, first, row, sum(octet_length(row)) OVER (ORDER BY mission, first) AS bytes,
        row_number() OVER (ORDER BY mission, first) AS no
    FROM (
        SELECT mission, first, row FROM sortie_frames
        WHERE (mission, first) > ($1, $2) AND mission < $3 ORDER BY mission, first LIMIT 200
    ) AS few
) AS counted
WHERE no = 1 OR bytes <= 8388608
ORDER BY mission, first";
const FIRES: &str =
    "SELECT id, no, row FROM sortie_fires WHERE (id, no) > ($1, $2) AND share = $3 ORDER BY id, no LIMIT 1000";
const CLOCKS: &str = "SELECT row FROM sortie_clocks WHERE no = $1";

/// A row of the file's, of a key and its bytes.
type Of<K> = fn(K, Vec<u8>) -> Row;

/// Tables whose keys are numbers, of one range of them.
const BY_NUMBER: [(&str, Of<u64>); 6] = [
    (
        "SELECT mission, row FROM sortie_heads WHERE mission > $1 AND mission < $2 ORDER BY mission LIMIT 1000",
        Row::Head,
    ),
    (
        "SELECT position, row FROM sortie_feed WHERE position > $1 AND position < $2 ORDER BY position LIMIT 1000",
        Row::Feed,
    ),
    (
        "SELECT mission, row FROM sortie_cursors WHERE mission > $1 AND mission < $2 ORDER BY mission LIMIT 1000",
        Row::Cursor,
    ),
    (
        "SELECT mission, row FROM sortie_quarantine WHERE mission > $1 AND mission < $2 ORDER BY mission LIMIT 1000",
        Row::Quarantine,
    ),
    ("SELECT no, row FROM sortie_actions WHERE no > $1 AND no < $2 ORDER BY no LIMIT 1000", Row::Action),
    ("SELECT mission, row FROM sortie_pins WHERE mission > $1 AND mission < $2 ORDER BY mission LIMIT 1000", Row::Pin),
];

/// Tables whose keys are texts, of one share.
const BY_TEXT: [(&str, Of<String>); 3] = [
    ("SELECT id, row FROM sortie_schedules WHERE id > $1 AND share = $2 ORDER BY id LIMIT 1000", Row::Schedule),
    ("SELECT id, row FROM sortie_positions WHERE id > $1 AND share = $2 ORDER BY id LIMIT 1000", Row::Position),
    ("SELECT key, row FROM sortie_balances WHERE key > $1 AND share = $2 ORDER BY key LIMIT 1000", Row::Balance),
];

/// A transaction that sees one moment.
struct Moment<'a> {
    log: &'a PostgresLog,
    link: Arc<Link>,
}

pub(super) fn snapshot(log: &PostgresLog, to: &Path) -> Result<Copied, SnapshotError> {
    let mut draft = Draft::create(to)?;
    let dial = log.dial.clone();
    let begin = async move {
        let link = fresh(&dial).await?;
        link.client.batch_execute(BEGIN).await?;
        Ok::<_, Error>(Arc::new(link))
    };
    let begun = wait(&log.hand.runtime, async move { timeout(PATIENCE, begin).await })?;
    let moment = Moment { log, link: answered(begun)? };
    let mine = hold::no(log.holding.mine);
    let shares = moment.rows(SHARES, vec![Box::new(mine)])?;
    let shares: Vec<ShareNo> = shares.iter().map(|row| hold::share(row, 0)).collect();
    for span in spans(&shares) {
        moment.of_numbers(span, &mut draft)?;
    }
    for (sql, of) in BY_TEXT {
        let key = |last: Option<&Found>| -> Vec<Param<'static>> {
            vec![Box::new(last.map_or_else(Vec::new, |last| last.get::<_, Vec<u8>>(0))), Box::new(mine)]
        };
        moment.all(sql, key, |row| draft.push(of(text(row.get(0)), row.get(1))))?;
    }
    let key = |last: Option<&Found>| -> Vec<Param<'static>> {
        match last {
            Some(last) => vec![Box::new(last.get::<_, Vec<u8>>(0)), Box::new(last.get::<_, i64>(1)), Box::new(mine)],
            None => vec![Box::new(Vec::<u8>::new()), Box::new(-1_i64), Box::new(mine)],
        }
    };
    moment.all(FIRES, key, |row| draft.push(Row::Fire(text(row.get(0)), number(row, 1), row.get(2))))?;
    for row in moment.rows(CLOCKS, vec![Box::new(mine)])? {
        draft.push(Row::Clocks(clocks::KEY, row.get(0)))?;
    }
    let store = moment.rows(STORE, vec![Box::new(mine)])?;
    let store = store.first().ok_or_else(|| storage("its first table is empty"))?;
    let (commits, position, last_no) = (number(store, 0), number(store, 1), number(store, 2));
    draft.finish(Meta { commits, position, last_no, ..Meta::NEW })
}

impl Moment<'_> {
    /// All rows whose keys are numbers of this range.
    fn of_numbers(&self, span: Span, draft: &mut Draft) -> Result<(), SnapshotError> {
        let (mut mission, mut first) = (span.after, i64::MAX);
        self.all(
            FRAMES,
            |last| {
                if let Some(last) = last {
                    (mission, first) = (last.get(0), last.get(1));
                }
                vec![Box::new(mission), Box::new(first), Box::new(span.before)]
            },
            |row| {
                let first = u32::try_from(row.get::<_, i64>(1)).unwrap_or(u32::MAX);
                draft.push(Row::Frame((number(row, 0), first), row.get(2)))
            },
        )?;
        for (sql, of) in BY_NUMBER {
            let key = |last: Option<&Found>| -> Vec<Param<'static>> {
                vec![Box::new(last.map_or(span.after, |last| last.get(0))), Box::new(span.before)]
            };
            self.all(sql, key, |row| draft.push(of(number(row, 0), row.get(1))))?;
        }
        Ok(())
    }

    fn rows(&self, sql: &'static str, params: Vec<Param<'static>>) -> Result<Vec<Found>, ReadError> {
        let link = Arc::clone(&self.link);
        answered(wait(&self.log.hand.runtime, async move { timeout(PATIENCE, link.rows(sql, &params)).await })?)
    }

    /// Every row of a table: pages behind the key of the last row of the one before.
    fn all(
        &self,
        sql: &'static str,
        mut behind: impl FnMut(Option<&Found>) -> Vec<Param<'static>>,
        mut visit: impl FnMut(&Found) -> Result<(), SnapshotError>,
    ) -> Result<(), SnapshotError> {
        let mut params = behind(None);
        loop {
            let rows = self.rows(sql, params)?;
            let Some(last) = rows.last() else { return Ok(()) };
            rows.iter().try_for_each(&mut visit)?;
            params = behind(Some(last));
        }
    }
}

/// What came of it in time. A copy is not begun anew by itself: what is of another moment does not belong to it.
fn answered<T>(outcome: Result<Result<T, Error>, Elapsed>) -> Result<T, ReadError> {
    match outcome {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(storage(&trouble::told(&error))),
        Err(_) => Err(storage("it does not answer")),
    }
}
