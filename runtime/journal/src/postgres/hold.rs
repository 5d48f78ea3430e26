//! Who holds which share of the store: one node each at a time, by a lease that runs by the database's clock, and by a token that grows
//! with each hand that it comes into. Whoever writes shows the token; one that is not the newest writes nothing.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::sleep;
use tokio_postgres::{Client, Error, Row};

use super::certain::{Certain, Moment};
use super::link::{self, Dial, Param, borrowed};
use super::script::int;
use super::trouble::{self, StoreError};
use crate::fleet::ShareNo;
use crate::table::FORMAT;

/// Who wants to hold one.
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

/// What whoever holds a share goes on from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) share: ShareNo,
    pub(crate) token: i64,
    pub(crate) commits: u64,
    pub(crate) position: u64,
    pub(crate) last_no: u64,
}

/// Which to take: the node's own, else one that was given back, the lowest. The last that held its own needs no lease to run out: it is
/// gone, and this is the next process of the same node.
const FIND: &str = "
SELECT share, format FROM sortie_shares
WHERE heir IS NULL AND (node = $1 OR (node = '' AND lease_until <= now() AND format <= $2))
ORDER BY node = $1 DESC, share LIMIT 1";

const TAKE: &str = "
UPDATE sortie_shares
SET token = token + 1, holder = $1, node = $2, name = $3, card = '', since = now(),
    lease_until = now() + $4::float8 * interval '1 second', format = $5
WHERE share = $6 AND heir IS NULL AND (node = $2 OR (node = '' AND lease_until <= now())) AND format <= $5
RETURNING share, token, commits, position, last_no";

/// A new one. Of two at once, one finds its number taken.
const MAKE: &str = "
INSERT INTO sortie_shares
    (share, token, holder, node, name, card, since, lease_until, format, commits, position, last_no)
SELECT coalesce(max(share), -1) + 1, 1, $1, $2, $3, '', now(), now() + $4::float8 * interval '1 second', $5, 0,
    (coalesce(max(share), -1) + 1) * $6::bigint, (coalesce(max(share), -1) + 1) * $6::bigint
FROM sortie_shares HAVING coalesce(max(share), -1) < $7
RETURNING share, token, commits, position, last_no";

/// Another node of the same name, whose lease has not run out.
const NAMESAKE: &str = "
SELECT node, (extract(epoch FROM since) * 1000000)::bigint, extract(epoch FROM lease_until - now())::float8
FROM sortie_shares WHERE name = $1 AND node <> $2 AND node <> '' AND heir IS NULL AND lease_until > now()
ORDER BY share LIMIT 1";

const INHERITED: &str = "SELECT share FROM sortie_shares WHERE heir = $1 ORDER BY share";

/// A new token for the same hand: what was sent under the one before, and is still on its way, comes too late from now on.
const AGAIN: &str = "
UPDATE sortie_shares SET token = token + 1, lease_until = now() + $2::float8 * interval '1 second'
WHERE share = $3 AND holder = $1 AND heir IS NULL
RETURNING share, token, commits, position, last_no";

/// Since when another opening of the same node has it, where that is so.
const DOUBLED: &str = "
SELECT (extract(epoch FROM since) * 1000000)::bigint FROM sortie_shares
WHERE share = $1 AND heir IS NULL AND node = $2 AND holder <> $3";

const BEAT: &str = "
UPDATE sortie_shares SET lease_until = now() + $2::float8 * interval '1 second', card = $4
WHERE share = $3 AND token = $1
RETURNING token";

/// Its node may only be starting again: it is kept for it until the lease has run out.
const RELEASE: &str = "
UPDATE sortie_shares SET holder = '', lease_until = now() + $2::float8 * interval '1 second'
WHERE share = $3 AND token = $1
RETURNING token";

const GIVE_BACK: &str = "
UPDATE sortie_shares SET holder = '', node = '', card = '', lease_until = now() WHERE share = $2 AND token = $1
RETURNING token";

/// One statement that writes, in a transaction of its own, in one flight.
pub(super) async fn write(client: &Client, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, Error> {
    let statement = client.prepare(sql).await?;
    let params = borrowed(params);
    link::alone(client, client.query(&statement, &params)).await
}

fn held(row: &Row) -> Held {
    let number = |column| u64::try_from(row.get::<_, i64>(column)).unwrap_or(0);
    Held { share: share(row, 0), token: row.get(1), commits: number(2), position: number(3), last_no: number(4) }
}

pub(super) fn share(row: &Row, column: usize) -> ShareNo {
    ShareNo(u32::try_from(row.get::<_, i64>(column)).unwrap_or(u32::MAX))
}

pub(super) fn no(share: ShareNo) -> i64 {
    i64::from(share.0)
}

/// Sees that no other node of that name is there: what is meant for the one would go to the other.
async fn is_alone(client: &Client, holder: &Holder) -> Result<(), StoreError> {
    let Some(found) = client.query_opt(NAMESAKE, &[&holder.name, &holder.node]).await? else { return Ok(()) };
    Err(StoreError::NameTaken {
        name: holder.name.clone(),
        node: found.get(0),
        since: Timestamp::from_microsecond(found.get(1)).unwrap_or(Timestamp::UNIX_EPOCH),
        lease_left: Duration::try_from_secs_f64(found.get(2)).unwrap_or_default(),
    })
}

/// Takes a share: the node's own, one that is free, or a new one. With it those that it had adopted; all of them, ascending. The next process
/// of a node that is there is that node, and takes it at once; another node of its name is refused.
pub(crate) async fn claim(client: &Client, holder: &Holder) -> Result<(Held, Vec<ShareNo>), StoreError> {
    is_alone(client, holder).await?;
    let held = loop {
        match attempt(client, holder).await {
            Ok(Some(held)) => break held,
            // Somebody was faster.
            Ok(None) => {}
            Err(StoreError::Refused { source }) if trouble::is_a_collision(&source) => {}
            Err(error) => return Err(error),
        }
    };
    // Of two that came at once, one at least sees the other.
    if let Err(taken) = is_alone(client, holder).await {
        release(client, (held.share, held.token), Some(Duration::ZERO)).await?;
        return Err(taken);
    }
    let inherited = client.query(INHERITED, &[&no(held.share)]).await?;
    let mut shares: Vec<ShareNo> = inherited.iter().map(|row| share(row, 0)).chain([held.share]).collect();
    shares.sort_unstable();
    Ok((held, shares))
}

async fn attempt(client: &Client, holder: &Holder) -> Result<Option<Held>, StoreError> {
    let mut params: Vec<Param<'_>> = vec![
        Box::new(holder.opening.as_str()),
        Box::new(holder.node.as_str()),
        Box::new(holder.name.as_str()),
        Box::new(holder.lease.as_secs_f64()),
        Box::new(int(FORMAT)),
    ];
    let found = client.query_opt(FIND, &[&holder.node, &int(FORMAT)]).await?;
    let Some(found) = found else {
        params.push(Box::new(int(ShareNo(1).floor())));
        params.push(Box::new(no(ShareNo::MAX)));
        let made = write(client, MAKE, &params).await?;
        return made.first().map(|row| Some(held(row))).ok_or(StoreError::NoShares { most: ShareNo::MAX.0 });
    };
    let written = u64::try_from(found.get::<_, i64>(1)).unwrap_or(0);
    if written > FORMAT {
        return Err(StoreError::NewerFormat { found: written, known: FORMAT });
    }
    params.push(Box::new(found.get::<_, i64>(0)));
    Ok(write(client, TAKE, &params).await?.first().map(held))
}

/// Asks how far the share has come, so that nothing of what was sent before can come after. `None`: another has it.
pub(crate) async fn ask(client: &Client, holder: &Holder, share: ShareNo) -> Result<Option<Held>, Error> {
    let params: [Param<'_>; 3] =
        [Box::new(holder.opening.as_str()), Box::new(holder.lease.as_secs_f64()), Box::new(no(share))];
    Ok(write(client, AGAIN, &params).await?.first().map(held))
}

/// Since when another process of the same node has a share that was this one's; `None`: another node has it.
pub(crate) async fn doubled(client: &Client, holder: &Holder, share: ShareNo) -> Result<Option<Timestamp>, Error> {
    let row = client.query_opt(DOUBLED, &[&no(share), &holder.node, &holder.opening]).await?;
    Ok(row.map(|row| Timestamp::from_microsecond(row.get(0)).unwrap_or(Timestamp::UNIX_EPOCH)))
}

/// A sign of life, with what the node says of itself. False: another has the share.
pub(crate) async fn beat(
    client: &Client,
    (share, token): (ShareNo, i64),
    lease: Duration,
    card: &str,
) -> Result<bool, Error> {
    let params: [Param<'_>; 4] = [Box::new(token), Box::new(lease.as_secs_f64()), Box::new(no(share)), Box::new(card)];
    Ok(!write(client, BEAT, &params).await?.is_empty())
}

/// Lets go of it: for good, or until the node is back, for as long as its lease lasts.
pub(crate) async fn release(
    client: &Client,
    (share, token): (ShareNo, i64),
    lease: Option<Duration>,
) -> Result<(), Error> {
    match lease {
        Some(lease) => {
            let params: [Param<'_>; 3] = [Box::new(token), Box::new(lease.as_secs_f64()), Box::new(no(share))];
            write(client, RELEASE, &params).await.map(drop)
        }
        None => write(client, GIVE_BACK, &[Box::new(token), Box::new(no(share))]).await.map(drop),
    }
}

/// Signs of life until it is dropped, while nobody else gives any: to read all heads of a large store may take longer than a lease.
pub(crate) async fn keep(dial: Dial, held: Held, lease: Duration, certain: Certain) {
    loop {
        sleep(lease / 3).await;
        let sent = Moment::now();
        let beaten = async { beat(&link::connect(&dial).await?, (held.share, held.token), lease, "").await };
        match beaten.await {
            Ok(true) => certain.confirm(sent),
            Ok(false) => return,
            Err(error) => tracing::debug!(error = trouble::told(&error), "the store was given no sign of life"),
        }
    }
}
