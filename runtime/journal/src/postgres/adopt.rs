//! Taking over a share: what the scribe does in one transaction, in the order of its own commits and counted as one of them, so that an
//! outcome that was not heard is found out like any other's.
//!
//! The lease that has run out is looked at under the lock of its row, by the database's clock. From the commit on, the token of who held it
//! is old, and all that was its own is another's: its missions, by their numbers; its schedules; what it had adopted itself.

use std::collections::BTreeMap;
use std::time::Duration;

use sortie_contract::MissionNo;
use tokio::time::timeout;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row};

use super::books::Books;
use super::held::{Span, spans};
use super::hold;
use super::link::{Link, PATIENCE};
use super::log::{number, text};
use super::scribe::{Scribe, lost};
use super::script::{Known, int};
use super::trouble;
use crate::actions::ACTIONS_MAX;
use crate::balance::{self, Account, Balance};
use crate::clocks;
use crate::error::WriteError;
use crate::fleet::{AdoptError, ShareNo};
use crate::read::there;
use crate::table::FORMAT;

/// What came with a share, before its missions are read.
#[derive(Debug, Clone)]
pub(super) struct Legacy {
    /// It and those that it brought, ascending.
    pub(super) shares: Vec<ShareNo>,
    /// The greatest number of a mission that this log has given, or those before it.
    pub(super) last_no: u64,
    /// The token that the adopter goes on with: greater than those of all that it holds.
    pub(super) token: i64,
    pub(super) clocks: Vec<(MissionNo, u64)>,
    pub(super) schedules: Vec<String>,
    /// What was booked there.
    pub(super) balances: Vec<(Account, Balance)>,
}

/// Who adopts.
struct Me {
    share: ShareNo,
    token: i64,
    lease: Duration,
    /// Whether it may say of others that they are gone. Who was cut off from the database, or had none, for as long as they, does not know:
    /// they are given time to come back, too. What was given back needs nobody's judgement.
    judges: bool,
}

/// What the transaction comes to, once it is committed.
struct Draft {
    legacy: Legacy,
    position: u64,
    last_action: u64,
    balances: Vec<(String, Balance)>,
}

const MINE: &str = "
UPDATE sortie_shares
SET token = CASE WHEN token = $1 THEN token END, lease_until = now() + $3::float8 * interval '1 second'
WHERE share = $2";
const THEIRS: &str = "
UPDATE sortie_shares SET heir = $2, token = token + 1, holder = ''
WHERE share = $1 AND share <> $2 AND heir IS NULL AND lease_until <= now() AND format <= $3 AND ($4 OR node = '')
RETURNING token, position, last_no";
const LOOK: &str = "SELECT name, format FROM sortie_shares WHERE share = $1 AND share <> $2 AND heir IS NULL";
const BROUGHT: &str = "UPDATE sortie_shares SET heir = $2 WHERE heir = $1 RETURNING share";
const BALANCES: &str = "SELECT key, row FROM sortie_balances WHERE share = $1 ORDER BY key";
const BALANCES_GONE: &str = "DELETE FROM sortie_balances WHERE share = $1";
const CLOCKS: &str = "SELECT no, row FROM sortie_clocks WHERE no = $1 OR no = $2";
const CLOCKS_GONE: &str = "DELETE FROM sortie_clocks WHERE no = $1";
const LAST_ACTION: &str = "SELECT coalesce(max(no), 0) FROM sortie_actions WHERE no > $1 AND no < $2";
/// A name that both have is nobody's fault but of a schedule that was made without being claimed: it stays where it is.
const SCHEDULES: &str = "
UPDATE sortie_schedules SET share = $2
WHERE share = $1 AND id NOT IN (SELECT id FROM sortie_schedules WHERE share = $2)
RETURNING id";
const POSITIONS: &str = "UPDATE sortie_positions SET share = $2 WHERE share = $1 AND id = ANY($3)";
const FIRES: &str = "UPDATE sortie_fires SET share = $2 WHERE share = $1 AND id = ANY($3)";
/// Of those of all shares the newest are kept.
const ACTIONS: &str = "SELECT no FROM sortie_actions WHERE no > $1 AND no < $2 ORDER BY no DESC";
const ACTIONS_GONE: &str = "DELETE FROM sortie_actions WHERE no > $1 AND no < $2 AND no <= $3";
const AFTER: &str = "
UPDATE sortie_shares SET token = $2, commits = $3, position = $4, last_no = $5, format = $6 WHERE share = $1";

impl Scribe {
    /// Takes the share, however often that takes.
    pub(super) async fn adopt(&mut self, share: ShareNo) -> Result<Legacy, AdoptError> {
        loop {
            if let Some(error) = &self.error {
                return Err(error.clone().into());
            }
            let mut draft = None;
            let outcome = match &self.link {
                Some(link) => {
                    let me = Me {
                        share: self.share,
                        token: self.token,
                        lease: self.holder.lease,
                        judges: self.certain.judges_others(),
                    };
                    timeout(PATIENCE, inherit(link, share, me, &self.known, &mut draft)).await
                }
                None => Ok(Ok(None)),
            };
            let error = match outcome {
                Ok(Ok(Some(Err(refused)))) => return Err(refused),
                Ok(Ok(Some(Ok(())))) => {
                    if let Some(draft) = draft {
                        return Ok(self.inherits(draft));
                    }
                    None
                }
                Ok(Ok(None)) | Err(_) => None,
                Ok(Err(error)) => Some(error),
            };
            let why = error.as_ref().map_or_else(|| "it does not answer".to_owned(), trouble::told);
            let outcome = self.recover(&why).await;
            let held = outcome.inspect_err(|error| self.fails(Some(error.clone())))?;
            let commits = self.known.meta.commits;
            if held.commits == commits + 1
                && let Some(draft) = draft
            {
                let legacy = self.inherits(draft);
                self.token = held.token;
                return Ok(legacy);
            }
            if held.commits != commits {
                let error = lost(held.commits, commits);
                self.fails(Some(error.clone()));
                return Err(error.into());
            }
            if let Some(error) = error.filter(|error| !trouble::is_passing(error)) {
                return Err(
                    WriteError::poisoned(&format!("the database of the store: {}", trouble::told(&error))).into()
                );
            }
        }
    }

    /// It is committed.
    fn inherits(&mut self, draft: Draft) -> Legacy {
        let Draft { legacy, position, last_action, balances } = draft;
        let known = &mut self.known;
        known.meta.commits += 1;
        known.meta.position = position;
        known.meta.last_no = legacy.last_no;
        known.last_action = last_action;
        known.books.extend(balances);
        known.shares.extend(&legacy.shares);
        known.shares.sort_unstable();
        self.token = legacy.token;
        self.durable.send_if_modified(|durable| std::mem::replace(durable, position) != position);
        self.is_back();
        legacy
    }
}

async fn rows(link: &Link, sql: &'static str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Error> {
    link.client.query(&link.prepared(sql).await?, params).await
}

async fn done(link: &Link, sql: &'static str, params: &[&(dyn ToSql + Sync)]) -> Result<u64, Error> {
    link.client.execute(&link.prepared(sql).await?, params).await
}

/// The transaction. What it comes to is in `draft` before its end is sent; `Err` within: it is refused, and nothing was done.
async fn inherit(
    link: &Link,
    share: ShareNo,
    me: Me,
    known: &Known,
    draft: &mut Option<Draft>,
) -> Result<Option<Result<(), AdoptError>>, Error> {
    let Me { token, lease, judges, .. } = me;
    let (theirs, mine) = (hold::no(share), hold::no(me.share));
    link.client.batch_execute("BEGIN READ WRITE").await?;
    done(link, MINE, &[&token, &mine, &lease.as_secs_f64()]).await?;
    let taken = rows(link, THEIRS, &[&theirs, &mine, &int(FORMAT), &judges]).await?;
    let Some(taken) = taken.first() else {
        let found = rows(link, LOOK, &[&theirs, &mine]).await?;
        link.client.batch_execute("ROLLBACK").await?;
        return Ok(Some(Err(refused(share, found.first()))));
    };
    let brought = rows(link, BROUGHT, &[&theirs, &mine]).await?;
    let mut shares: Vec<ShareNo> = brought.iter().map(|row| hold::share(row, 0)).chain([share]).collect();
    shares.sort_unstable();
    let all: Vec<ShareNo> = {
        let mut all = [known.shares.as_slice(), &shares].concat();
        all.sort_unstable();
        all
    };
    let (booked, balances) = balances(link, (theirs, mine), &known.books).await?;
    let clocks = clocks(link, (theirs, mine)).await?;
    let last_action = last_action(link, &all, known.last_action).await?;
    let schedules: Vec<Vec<u8>> =
        rows(link, SCHEDULES, &[&theirs, &mine]).await?.iter().map(|row| row.get(0)).collect();
    for sql in [POSITIONS, FIRES] {
        done(link, sql, &[&theirs, &mine, &schedules]).await?;
    }
    let meta = known.meta;
    let (position, last_no) = (meta.position.max(number(taken, 1)), meta.last_no.max(number(taken, 2)));
    let token = token.max(taken.get(0)) + 1;
    let params: [&(dyn ToSql + Sync); 6] =
        [&mine, &token, &int(meta.commits + 1), &int(position), &int(last_no), &int(FORMAT)];
    done(link, AFTER, &params).await?;
    let mut schedules: Vec<String> = schedules.iter().map(|id| text(id)).collect();
    schedules.sort_unstable();
    let legacy = Legacy { shares, last_no, token, clocks, schedules, balances: booked };
    *draft = Some(Draft { legacy, position, last_action, balances });
    link.client.batch_execute("COMMIT").await?;
    Ok(Some(Ok(())))
}

fn refused(share: ShareNo, found: Option<&Row>) -> AdoptError {
    let Some(found) = found else { return AdoptError::Gone { share } };
    match number(found, 1) {
        format if format > FORMAT => AdoptError::NewerFormat { share, found: format, known: FORMAT },
        _ => AdoptError::Held { share, name: found.get(0) },
    }
}

/// What was booked to an account.
type Booked<T> = Vec<(T, Balance)>;

/// What is booked to the accounts of both is one sum from now on: what was theirs, and those sums.
async fn balances(
    link: &Link,
    (theirs, mine): (i64, i64),
    books: &Books,
) -> Result<(Booked<Account>, Booked<String>), Error> {
    let found = rows(link, BALANCES, &[&theirs]).await?;
    let found: Booked<Account> = found.iter().filter_map(|row| balance::row(&text(row.get(0)), row.get(1))).collect();
    let both: Booked<String> = found.iter().map(|(account, balance)| books.with(account.key(), *balance)).collect();
    done(link, BALANCES_GONE, &[&theirs]).await?;
    if !both.is_empty() {
        let (keys, rows): (Vec<Vec<u8>>, Vec<Vec<u8>>) =
            both.iter().map(|(key, balance)| (key.clone().into_bytes(), balance::encode(key, *balance))).unzip();
        done(link, super::script::BALANCES, &[&keys, &rows, &mine]).await?;
    }
    Ok((found, both))
}

/// What is kept of the run times of both is one row from now on; theirs is returned.
async fn clocks(link: &Link, (theirs, mine): (i64, i64)) -> Result<Vec<(MissionNo, u64)>, Error> {
    let mut both = BTreeMap::new();
    let mut found = Vec::new();
    for row in rows(link, CLOCKS, &[&theirs, &mine]).await? {
        let source = |source| crate::error::ReadError::Row { table: "clocks", key: clocks::KEY, source };
        let read = there(clocks::decode(row.get(1)).map_err(source)).ok().flatten().unwrap_or_default();
        if row.get::<_, i64>(0) == theirs {
            found.clone_from(&read);
        }
        both.extend(read);
    }
    if !found.is_empty() {
        let both: Vec<(MissionNo, u64)> = both.into_iter().collect();
        done(link, super::script::CLOCKS, &[&mine, &clocks::encode(&both)]).await?;
    }
    done(link, CLOCKS_GONE, &[&theirs]).await?;
    Ok(found)
}

/// Where the numbers of what people did go on; those that are too many are let go of.
async fn last_action(link: &Link, all: &[ShareNo], mine: u64) -> Result<u64, Error> {
    let greatest = all.last().map_or(0, |share| share.floor());
    let (mut last, mut left) = (mine.max(greatest), ACTIONS_MAX);
    for Span { after, before } in spans(all).into_iter().rev() {
        let found = rows(link, LAST_ACTION, &[&after, &before]).await?;
        last = last.max(found.first().map_or(0, |row| number(row, 0)));
        let there = rows(link, ACTIONS, &[&after, &before]).await?;
        if there.len() as u64 > left {
            let newest_gone: i64 = there[usize::try_from(left).unwrap_or(usize::MAX)].get(0);
            done(link, ACTIONS_GONE, &[&after, &before, &newest_gone]).await?;
        }
        left = left.saturating_sub(there.len() as u64);
    }
    Ok(last)
}
