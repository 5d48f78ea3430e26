//! The tables in a database, and how they came to be what they are: forward only, one step a version.
//!
//! Rows are the bytes that the journal's file has under the same keys, seals and all: what a row says is known in one place, and a copy
//! of the one log is a copy of rows. Beside them stand the names that must be unique, and the numbers that whoever writes holds.

use std::collections::BTreeSet;

use tokio_postgres::{Client, GenericClient as _, Row};

use super::claims;
use super::link::{self, Dial};
use super::trouble::{self, StoreError};
use crate::head::Head;

/// The version that this Sortie reads and writes: the number of steps.
pub(crate) const VERSION: i64 = STEPS.len() as i64;

/// What leads from each version to the next; never changed once released.
const STEPS: [&str; 3] = [STEP_1, STEP_2, STEP_3];

/// The version that has a home for each VP: what the step there cannot do, because only heads know VPs.
const HOMES_SINCE: i64 = 2;

/// Keys and names that texts would give a collation or an encoding are bytes: their order is that of bytes in every database, and each has
/// room for whatever letters an envelope may have.
const STEP_1: &str = "
CREATE TABLE sortie_store (
    one boolean PRIMARY KEY CHECK (one),
    token bigint NOT NULL,
    holder text NOT NULL,
    node text NOT NULL,
    name text NOT NULL,
    since timestamptz NOT NULL,
    lease_until timestamptz NOT NULL,
    format bigint NOT NULL,
    commits bigint NOT NULL,
    position bigint NOT NULL,
    last_no bigint NOT NULL
);
INSERT INTO sortie_store VALUES (true, 0, '', '', '', now(), now(), 0, 0, 0, 0);
CREATE TABLE sortie_heads (
    mission bigint PRIMARY KEY,
    mission_id bytea NOT NULL UNIQUE,
    source bytea NOT NULL,
    idempotency_key bytea NOT NULL,
    row bytea NOT NULL,
    UNIQUE (source, idempotency_key)
);
CREATE TABLE sortie_frames (mission bigint, first bigint, row bytea NOT NULL, PRIMARY KEY (mission, first));
CREATE TABLE sortie_cursors (mission bigint PRIMARY KEY, row bytea NOT NULL);
CREATE TABLE sortie_quarantine (mission bigint PRIMARY KEY, row bytea NOT NULL);
CREATE TABLE sortie_pins (mission bigint PRIMARY KEY, row bytea NOT NULL);
CREATE TABLE sortie_feed (position bigint PRIMARY KEY, row bytea NOT NULL);
CREATE TABLE sortie_schedules (id bytea PRIMARY KEY, row bytea NOT NULL);
CREATE TABLE sortie_positions (id bytea PRIMARY KEY, row bytea NOT NULL);
CREATE TABLE sortie_fires (id bytea, no bigint, row bytea NOT NULL, PRIMARY KEY (id, no));
CREATE TABLE sortie_clocks (no bigint PRIMARY KEY, row bytea NOT NULL);
CREATE TABLE sortie_actions (no bigint PRIMARY KEY, row bytea NOT NULL);
CREATE TABLE sortie_balances (key bytea PRIMARY KEY, row bytea NOT NULL);
";

/// Shares in the place of the one row, which becomes the first of them; and whose names are whose. What of all nodes has one set of keys
/// gets the share into its key; what has numbers for keys needs none, because each share has numbers of its own.
const STEP_2: &str = "
CREATE TABLE sortie_shares (
    share bigint PRIMARY KEY,
    token bigint NOT NULL,
    holder text NOT NULL,
    node text NOT NULL,
    name text NOT NULL,
    card text NOT NULL,
    since timestamptz NOT NULL,
    lease_until timestamptz NOT NULL,
    format bigint NOT NULL,
    commits bigint NOT NULL,
    position bigint NOT NULL,
    last_no bigint NOT NULL,
    heir bigint
);
INSERT INTO sortie_shares
    SELECT 0, token, holder, node, name, '', since, lease_until, format, commits, position, last_no, NULL FROM sortie_store;
DROP TABLE sortie_store;
CREATE TABLE sortie_claims (key bytea PRIMARY KEY, share bigint NOT NULL);
INSERT INTO sortie_claims
    SELECT 'm'::bytea || mission_id, 0 FROM sortie_heads WHERE substring(mission_id FROM 1 FOR 1) <> '\\xff'::bytea;
INSERT INTO sortie_claims
    SELECT 'k'::bytea || source || '\\x00'::bytea || idempotency_key, 0 FROM sortie_heads
    WHERE substring(mission_id FROM 1 FOR 1) <> '\\xff'::bytea;
INSERT INTO sortie_claims SELECT 's'::bytea || id, 0 FROM sortie_schedules;
ALTER TABLE sortie_schedules ADD COLUMN share bigint NOT NULL DEFAULT 0;
ALTER TABLE sortie_schedules DROP CONSTRAINT sortie_schedules_pkey, ADD PRIMARY KEY (share, id);
ALTER TABLE sortie_schedules ALTER COLUMN share DROP DEFAULT;
ALTER TABLE sortie_positions ADD COLUMN share bigint NOT NULL DEFAULT 0;
ALTER TABLE sortie_positions DROP CONSTRAINT sortie_positions_pkey, ADD PRIMARY KEY (share, id);
ALTER TABLE sortie_positions ALTER COLUMN share DROP DEFAULT;
ALTER TABLE sortie_fires ADD COLUMN share bigint NOT NULL DEFAULT 0;
ALTER TABLE sortie_fires DROP CONSTRAINT sortie_fires_pkey, ADD PRIMARY KEY (share, id, no);
ALTER TABLE sortie_fires ALTER COLUMN share DROP DEFAULT;
ALTER TABLE sortie_balances ADD COLUMN share bigint NOT NULL DEFAULT 0;
ALTER TABLE sortie_balances DROP CONSTRAINT sortie_balances_pkey, ADD PRIMARY KEY (share, key);
ALTER TABLE sortie_balances ALTER COLUMN share DROP DEFAULT;
";

/// What nodes share out among themselves. A node of the version before goes on as it did, and asks for no part.
const STEP_3: &str = "
CREATE TABLE sortie_pools (
    name bytea PRIMARY KEY,
    version bigint NOT NULL,
    touched timestamptz NOT NULL,
    row bytea NOT NULL
);
";

const HEADS_UP: &str = "SELECT mission, row FROM sortie_heads WHERE mission > $1 ORDER BY mission LIMIT 1000";

/// How often a migration begins anew, where another one was in its way.
const ATTEMPTS: u32 = 20;

/// What a migration did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migrated {
    /// The version that was there; 0 where there was nothing.
    pub from: i64,
    /// The version that is there now.
    pub to: i64,
}

/// Brings the tables to this Sortie's version. Of two at once, one waits for the other and finds nothing to do.
pub(crate) async fn migrate(dial: &Dial) -> Result<Migrated, StoreError> {
    let mut attempt = 1;
    loop {
        let client = link::connect(dial).await?;
        match attempt_to(&client).await {
            Err(StoreError::Refused { source }) if attempt < ATTEMPTS && trouble::is_a_collision(&source) => {
                attempt += 1;
                tokio::time::sleep(link::pause(attempt)).await;
            }
            outcome => return outcome,
        }
    }
}

/// In one transaction: a migration that was broken off left nothing.
async fn attempt_to(client: &Client) -> Result<Migrated, StoreError> {
    client.batch_execute("BEGIN READ WRITE").await?;
    client
        .batch_execute(
            "CREATE TABLE IF NOT EXISTS sortie_schema (one boolean PRIMARY KEY CHECK (one), version bigint NOT NULL);
             INSERT INTO sortie_schema VALUES (true, 0) ON CONFLICT (one) DO NOTHING",
        )
        .await?;
    // A write, so that the next one waits here until this one has ended.
    let row = client.query_one("UPDATE sortie_schema SET version = version RETURNING version", &[]).await?;
    let from: i64 = row.get(0);
    if from > VERSION {
        return Err(StoreError::Newer { found: from, known: VERSION });
    }
    for step in &STEPS[usize::try_from(from).unwrap_or(0)..] {
        client.batch_execute(step).await?;
    }
    if from < HOMES_SINCE {
        homes(client).await?;
    }
    client.execute("UPDATE sortie_schema SET version = $1", &[&VERSION]).await?;
    client.batch_execute("COMMIT").await?;
    Ok(Migrated { from, to: VERSION })
}

/// The VPs of all missions are at home in the first share. A head that cannot be read has none until it is mended.
async fn homes(client: &Client) -> Result<(), StoreError> {
    let mut last = -1_i64;
    loop {
        let rows = client.query(HEADS_UP, &[&last]).await?;
        let Some(end) = rows.last() else { return Ok(()) };
        last = end.get(0);
        let vp = |row: &Row| {
            let mission = u64::try_from(row.get::<_, i64>(0)).unwrap_or(0);
            Head::decode(mission, row.get(1)).ok().map(|head| claims::home(&head.vp))
        };
        let homes: BTreeSet<Vec<u8>> = rows.iter().filter_map(vp).collect();
        let homes: Vec<Vec<u8>> = homes.into_iter().collect();
        client.execute(claims::KEEP, &[&homes, &0_i64]).await?;
    }
}

/// Sees that the tables are of this Sortie's version.
pub(crate) async fn check(client: &Client) -> Result<(), StoreError> {
    let found = match client.client().query_opt("SELECT version FROM sortie_schema", &[]).await {
        Ok(row) => row.map_or(0, |row| row.get(0)),
        Err(error) if trouble::is_no_such_table(&error) => 0,
        Err(error) => return Err(error.into()),
    };
    match found {
        VERSION => Ok(()),
        found if found > VERSION => Err(StoreError::Newer { found, known: VERSION }),
        found => Err(StoreError::Older { found, known: VERSION }),
    }
}
