//! The feed: of what this node holds, and of all nodes.
//!
//! How far each share's part of it goes is one look at one small table, so that all parts are told as of one moment. What is before those
//! ends does not change any more, but for what is pruned: it is read afterwards, part by part.

use tokio_postgres::Row;

use super::PostgresLog;
use super::held::{Span, spans};
use super::hold;
use super::link::Param;
use super::log::number;
use super::read::PAGE;
use super::script::int;
use crate::error::ReadError;
use crate::feed::{self, ENTRIES_A_ROW_MAX, FeedEntry, FeedPart};
use crate::fleet::{self, ShareNo};

/// The row that holds the next entry may begin before it.
const FEED: &str = "
SELECT position, row FROM sortie_feed
WHERE position < $4 AND position >= coalesce(
    (SELECT max(position) FROM sortie_feed WHERE position <= $1 AND position > $3), $1)
ORDER BY position LIMIT $2";
const FEED_FIRST: &str = "SELECT min(position) FROM sortie_feed WHERE position > $1 AND position < $2";
const FEED_NEXT: &str = "SELECT position + 1 FROM sortie_shares WHERE share = $1";
const PARTS: &str = "SELECT share, coalesce(heir, share), position FROM sortie_shares ORDER BY share";

impl PostgresLog {
    /// See [`crate::Log::feed_after`].
    pub(super) fn my_feed_after(&self, position: u64, limit: usize) -> Result<Vec<FeedEntry>, ReadError> {
        let mut entries = Vec::new();
        for span in self.holding.spans().iter() {
            self.entries(*span, position, limit, &mut entries)?;
        }
        entries.truncate(limit);
        Ok(entries)
    }

    /// See [`crate::Log::feed_begin`].
    pub(super) fn my_feed_begin(&self) -> Result<u64, ReadError> {
        for span in self.holding.spans().iter() {
            let rows = self.rows(FEED_FIRST, vec![Box::new(span.after), Box::new(span.before)])?;
            if let Some(first) = rows.first().and_then(|row| row.get::<_, Option<i64>>(0)) {
                return Ok(u64::try_from(first).unwrap_or(1));
            }
        }
        let rows = self.rows(FEED_NEXT, vec![Box::new(hold::no(self.holding.mine))])?;
        Ok(rows.first().map_or(1, |row| number(row, 0)))
    }

    /// See [`crate::Fleet::feed_parts`].
    pub(super) fn parts_of_feed(&self) -> Result<Vec<FeedPart>, ReadError> {
        let rows = self.rows(PARTS, Vec::new())?;
        let part = |row: &Row| (hold::share(row, 0), hold::share(row, 1), number(row, 2));
        Ok(fleet::parts(&rows.iter().map(part).collect::<Vec<_>>()))
    }

    /// See [`crate::Fleet::feed_between`].
    pub(super) fn feed_of(&self, after: u64, end: u64, limit: usize) -> Result<Vec<FeedEntry>, ReadError> {
        let mut entries = Vec::new();
        for span in spans(&[ShareNo::of(end)]) {
            let span = Span { before: span.before.min(int(end).saturating_add(1)), ..span };
            self.entries(span, after, limit, &mut entries)?;
        }
        entries.truncate(limit);
        Ok(entries)
    }

    /// Adds the entries behind a position that are in a range, until there are so many in all.
    fn entries(&self, span: Span, position: u64, limit: usize, entries: &mut Vec<FeedEntry>) -> Result<(), ReadError> {
        // The first row may hold little of what is wanted.
        let page = (limit / ENTRIES_A_ROW_MAX + 2).min(PAGE);
        let mut position = position.max(u64::try_from(span.after).unwrap_or(0));
        while entries.len() < limit && int(position.saturating_add(1)) < span.before {
            let next = int(position.saturating_add(1));
            let params: [i64; 4] = [next, int(page as u64), span.after, span.before];
            let rows = self.rows(FEED, params.map(|number| Box::new(number) as Param<'static>).into())?;
            let before = entries.len();
            for row in &rows {
                let key = number(row, 0);
                let row =
                    feed::decode(key, row.get(1)).map_err(|source| ReadError::Row { table: "feed", key, source })?;
                let fits = |entry: &FeedEntry| entry.position > position && int(entry.position) < span.before;
                entries.extend(row.into_iter().filter(fits));
            }
            let Some(last) = entries.get(before..).and_then(<[_]>::last) else { break };
            position = last.position;
        }
        Ok(())
    }
}
