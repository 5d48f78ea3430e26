//! Who holds the store: one node at a time, by a lease that runs by the database's clock, and by a token that grows with each hand that
//! it comes into. Whoever writes shows the token; one that is not the newest writes nothing.

use std::time::Duration;

use futures_util::future::join3;
use tokio_postgres::{Client, Error, Row};

use super::link::{Param, borrowed};
use super::trouble::{self, StoreError};
use crate::table::FORMAT;

/// Who wants to hold it.
#[derive(Debug, Clone)]
pub(crate) struct Holder {
    /// This opening: nobody else has it.
    pub(crate) opening: String,
    /// What outlives a process: whoever shows it can prove that no other process has it.
    pub(crate) node: String,
    /// For people.
    pub(crate) name: String,
    /// How long it is held without a sign of life.
    pub(crate) lease: Duration,
}

/// What whoever holds the store goes on from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) token: i64,
    pub(crate) commits: u64,
    pub(crate) position: u64,
    pub(crate) last_no: u64,
}

/// The last that held it needs no lease to run out where it is the same node: it is gone, and this is the next process of it.
const CLAIM: &str = "
UPDATE sortie_store
SET token = token + 1, holder = $1, node = $2, name = $3, since = now(),
    lease_until = now() + $4::float8 * interval '1 second', format = $5
WHERE one AND (node = $2 OR lease_until < now()) AND format <= $5
RETURNING token, commits, position, last_no";

const LOOK: &str =
    "SELECT name, to_char(since AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), format FROM sortie_store";

/// A new token for the same hand: what was sent under the one before, and is still on its way, comes too late from now on.
const AGAIN: &str = "
UPDATE sortie_store SET token = token + 1, lease_until = now() + $2::float8 * interval '1 second'
WHERE one AND holder = $1
RETURNING token, commits, position, last_no";

const BEAT: &str = "
UPDATE sortie_store SET lease_until = now() + $2::float8 * interval '1 second' WHERE one AND token = $1
RETURNING token";

const RELEASE: &str = "
UPDATE sortie_store SET lease_until = now(), holder = '', node = '' WHERE one AND token = $1
RETURNING token";

/// One statement that writes, in a transaction of its own, in one flight.
async fn write(client: &Client, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, Error> {
    let statement = client.prepare(sql).await?;
    let params = borrowed(params);
    let begin = client.batch_execute("BEGIN READ WRITE");
    let (begun, rows, ended) = join3(begin, client.query(&statement, &params), client.batch_execute("COMMIT")).await;
    begun?;
    let rows = rows?;
    ended?;
    Ok(rows)
}

fn held(row: &Row) -> Held {
    let number = |column| u64::try_from(row.get::<_, i64>(column)).unwrap_or(0);
    Held { token: row.get(0), commits: number(1), position: number(2), last_no: number(3) }
}

/// Takes the store, unless another node holds it.
pub(crate) async fn claim(client: &Client, holder: &Holder) -> Result<Held, StoreError> {
    let format = i64::try_from(FORMAT).unwrap_or(i64::MAX);
    loop {
        let params: [Param<'_>; 5] = [
            Box::new(holder.opening.as_str()),
            Box::new(holder.node.as_str()),
            Box::new(holder.name.as_str()),
            Box::new(holder.lease.as_secs_f64()),
            Box::new(format),
        ];
        let claimed = match write(client, CLAIM, &params).await {
            Err(error) if trouble::is_a_collision(&error) => continue,
            claimed => claimed?,
        };
        if let Some(row) = claimed.first() {
            return Ok(held(row));
        }
        let found = client.query_one(LOOK, &[]).await?;
        let written = u64::try_from(found.get::<_, i64>(2)).unwrap_or(0);
        if written > FORMAT {
            return Err(StoreError::NewerFormat { found: written, known: FORMAT });
        }
        let (name, since, seconds) = (found.get(0), found.get(1), holder.lease.as_secs());
        return Err(StoreError::InUse { name, since, seconds });
    }
}

/// Asks how far the store has come, so that nothing of what was sent before can come after. `None`: another has it.
pub(crate) async fn ask(client: &Client, holder: &Holder) -> Result<Option<Held>, Error> {
    let params: [Param<'_>; 2] = [Box::new(holder.opening.as_str()), Box::new(holder.lease.as_secs_f64())];
    Ok(write(client, AGAIN, &params).await?.first().map(held))
}

/// A sign of life. False: another has it.
pub(crate) async fn beat(client: &Client, token: i64, lease: Duration) -> Result<bool, Error> {
    let params: [Param<'_>; 2] = [Box::new(token), Box::new(lease.as_secs_f64())];
    Ok(!write(client, BEAT, &params).await?.is_empty())
}

/// Gives it back: the next need not wait.
pub(crate) async fn release(client: &Client, token: i64) -> Result<(), Error> {
    write(client, RELEASE, &[Box::new(token)]).await.map(drop)
}
