//! Pools in the tables: a row each, which whoever asks reads, changes and puts in its place, if nobody was faster.
//!
//! The row says by its version whether it is still the one that was read, and the share whether it is still this opening's: so of two that
//! ask at once one asks again, and who is fenced changes nothing. What was sent and not heard may have happened: the next time all is
//! written anew, and what comes late finds another version.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tokio_postgres::{Error, Row};

use super::hold;
use super::link::{self, Dial, Link, Param, borrowed};
use super::log::text;
use super::read::AT_ONCE;
use super::trouble;
use crate::error::WriteError;
use crate::fleet::{self, ShareNo};
use crate::pool::{Pool, PoolAsk, PoolSaid};
use crate::seal::SealError;

/// Exchanges that may wait: a node has one at a time.
pub(super) const EXCHANGES_MAX: usize = 4;

/// How long one waits that was too slow for another.
const MOMENT: Duration = Duration::from_millis(2);

const READ: &str = "
SELECT k.key, (extract(epoch FROM now()) * 1000)::bigint, p.version, p.row
FROM unnest($1::bytea[]) AS k (key) LEFT JOIN sortie_pools AS p ON p.name = k.key";

/// For whoever holds the share still, by this opening. In one order whoever writes, so that of two none waits for the other.
const WRITE: &str = "
INSERT INTO sortie_pools (name, version, touched, row)
SELECT w.name, w.version, now(), w.bytes FROM unnest($1::bytea[], $2::bigint[], $3::bytea[]) AS w (name, version, bytes)
WHERE EXISTS (SELECT 1 FROM sortie_shares WHERE share = $4 AND holder = $5 AND heir IS NULL)
ORDER BY w.name
ON CONFLICT (name) DO UPDATE SET version = excluded.version, touched = excluded.touched, row = excluded.row
WHERE sortie_pools.version = excluded.version - 1
RETURNING name";

const MINE: &str = "SELECT 1 FROM sortie_shares WHERE share = $1 AND holder = $2 AND heir IS NULL";

/// Those of spans that have been over for long: nobody asks for them any more.
const OLD_GONE: &str = "
DELETE FROM sortie_pools
WHERE substring(name FROM 1 FOR 7) = 'budget:'::bytea AND touched < now() - interval '70 days'";

pub(super) const ALL: &str = "SELECT name, row FROM sortie_pools ORDER BY name";

/// What a node says, and where it is told how that stands.
pub(super) struct Exchange {
    pub(super) shares: Vec<ShareNo>,
    pub(super) asks: Vec<PoolAsk>,
    pub(super) answer: oneshot::Sender<Result<Vec<PoolSaid>, WriteError>>,
}

/// The task that asks.
pub(super) struct Pooler {
    pub(super) dial: Dial,
    pub(super) link: Option<Link>,
    pub(super) opening: String,
    pub(super) mine: ShareNo,
    /// Something was sent, and what became of it is not known.
    pub(super) unheard: bool,
    /// Pools whose rows cannot be read, which was said of each.
    pub(super) unreadable: BTreeSet<String>,
}

/// Why there is no answer yet.
enum Trouble {
    Said(Error),
    Fenced,
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Said(error)
    }
}

/// A pool as it was read.
struct Found {
    pool: Result<Pool, SealError>,
    version: i64,
    now_ms: i64,
}

/// What a row becomes.
struct Change {
    version: i64,
    bytes: Vec<u8>,
    /// Whose answer comes of it, and what it is.
    place: usize,
    said: PoolSaid,
}

/// What is in the row of that name.
pub(super) fn decode(name: &str, bytes: &[u8]) -> Result<Pool, SealError> {
    Pool::decode(name, bytes)
}

impl Pooler {
    /// Runs until the log is gone.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Exchange>) {
        while let Some(Exchange { shares, asks, answer }) = queue.recv().await {
            let outcome = timeout(AT_ONCE, self.exchange(&shares, &asks)).await.unwrap_or_else(|_| {
                self.link = None;
                Err(WriteError::Overloaded)
            });
            self.unheard = outcome.is_err();
            // One that is gone lost interest.
            let _ = answer.send(outcome);
        }
    }

    async fn exchange(&mut self, shares: &[ShareNo], asks: &[PoolAsk]) -> Result<Vec<PoolSaid>, WriteError> {
        let (mut answers, mut attempts) = (vec![None; asks.len()], 0);
        loop {
            let outcome = self.attempt(shares, asks, &mut answers).await;
            match outcome {
                Ok(()) => {}
                Err(Trouble::Fenced) => return Err(fleet::taken()),
                Err(Trouble::Said(error)) if trouble::is_a_collision(&error) => {}
                Err(Trouble::Said(error)) if trouble::is_passing(&error) => {
                    tracing::debug!(error = trouble::told(&error), "pools are asked for again");
                    (self.link, self.unheard) = (None, true);
                    sleep(link::pause(attempts)).await;
                }
                Err(Trouble::Said(error)) => {
                    return Err(WriteError::Pools { why: trouble::told(&error).into() });
                }
            }
            if answers.iter().all(Option::is_some) {
                return Ok(answers.into_iter().flatten().collect());
            }
            attempts += 1;
            sleep(MOMENT * attempts.min(10)).await;
        }
    }

    /// Once: answers those for whose pools nobody was faster.
    async fn attempt(
        &mut self,
        shares: &[ShareNo],
        asks: &[PoolAsk],
        answers: &mut [Option<PoolSaid>],
    ) -> Result<(), Trouble> {
        let open: Vec<usize> = (0..asks.len()).filter(|place| answers[*place].is_none()).collect();
        let keys = open.iter().map(|place| asks[*place].pool.as_bytes().to_vec());
        let found = self.read(keys.collect()).await?;
        let mut rows = BTreeMap::new();
        for place in open {
            let ask = &asks[place];
            let Some(Found { pool, version, now_ms }) = found.get(&ask.pool) else { continue };
            let mut pool = match pool {
                Ok(pool) => pool.clone(),
                Err(error) => {
                    self.cannot_read(&ask.pool, error);
                    // It goes on with what it has, and gets nothing besides; the other pools are none the worse.
                    answers[place] = Some(PoolSaid { held: ask.keeps, ..PoolSaid::default() });
                    continue;
                }
            };
            self.unreadable.remove(&ask.pool);
            let (said, is_other) = pool.exchange(*now_ms, shares, self.mine, ask);
            if is_other || self.unheard {
                let change = Change { version: version + 1, bytes: pool.encode(&ask.pool), place, said };
                rows.insert(ask.pool.clone(), change);
            } else {
                answers[place] = Some(said);
            }
        }
        if rows.is_empty() {
            return Ok(());
        }
        let makes = rows.values().any(|change| change.version == 1);
        let written = self.write(&rows).await?;
        for name in &written {
            if let Some(Change { place, said, .. }) = rows.get(name) {
                answers[*place] = Some(*said);
            }
        }
        if written.is_empty() && !self.is_mine().await? {
            return Err(Trouble::Fenced);
        }
        if makes {
            hold::write(&self.link().await?.client, OLD_GONE, &[]).await?;
        }
        Ok(())
    }

    async fn read(&mut self, keys: Vec<Vec<u8>>) -> Result<BTreeMap<String, Found>, Trouble> {
        let rows = self.link().await?.rows(READ, &[Box::new(keys)]).await?;
        let found = |row: &Row| {
            let name = text(row.get(0));
            let bytes = row.get::<_, Option<&[u8]>>(3);
            let pool = bytes.map_or_else(|| Ok(Pool::default()), |bytes| decode(&name, bytes));
            let version = row.get::<_, Option<i64>>(2).unwrap_or(0);
            (name, Found { pool, version, now_ms: row.get(1) })
        };
        Ok(rows.iter().map(found).collect())
    }

    /// Says so, once.
    fn cannot_read(&mut self, pool: &str, error: &SealError) {
        if self.unreadable.insert(pool.to_owned()) {
            tracing::error!(
                pool,
                %error,
                "the row of this pool in sortie_pools cannot be read: each node goes on with what it holds of it, and \
                 gets no more; nodes that are started anew after it was deleted share out what is left"
            );
        }
    }

    /// The names of those that were written.
    async fn write(&mut self, rows: &BTreeMap<String, Change>) -> Result<Vec<String>, Trouble> {
        let names: Vec<Vec<u8>> = rows.keys().map(|name| name.as_bytes().to_vec()).collect();
        let (versions, bytes): (Vec<i64>, Vec<Vec<u8>>) =
            rows.values().map(|change| (change.version, change.bytes.clone())).unzip();
        let (share, opening) = (hold::no(self.mine), self.opening.clone());
        let params: [Param<'_>; 5] =
            [Box::new(names), Box::new(versions), Box::new(bytes), Box::new(share), Box::new(opening)];
        let link = self.link().await?;
        let (statement, params) = (link.prepared(WRITE).await?, borrowed(&params));
        let begin = link.client.batch_execute("BEGIN READ WRITE");
        let done = link.client.query(&statement, &params);
        let ended = link.client.batch_execute("COMMIT");
        let (begun, done, ended) = futures_util::future::join3(begin, done, ended).await;
        begun?;
        let done = done?;
        ended?;
        Ok(done.iter().map(|row| text(row.get(0))).collect())
    }

    async fn is_mine(&mut self) -> Result<bool, Trouble> {
        let params: [Param<'_>; 2] = [Box::new(hold::no(self.mine)), Box::new(self.opening.clone())];
        Ok(!self.link().await?.rows(MINE, &params).await?.is_empty())
    }

    async fn link(&mut self) -> Result<&Link, Error> {
        Link::of(&mut self.link, &self.dial).await
    }
}
