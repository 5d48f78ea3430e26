//! Whose names are whose: what is decided for the whole store before a mission is admitted to one node's part of it.
//!
//! A claim is one row a name: of a mission, of its source with its key, of a VP (which is at home in one share, with all of its missions),
//! of a schedule. Whoever's row it is, decides. A claim is made whole or not at all, and it may be made again: then it says the same. Many
//! that are asked for at once share one flight; where a name turns out to be somebody's already, they are looked up and the rest is tried
//! again. Names go with their mission and come with it, too ([`KEEP`]): a commit leaves no mission without its rows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustc_hash::FxHashSet;
use sortie_contract::id::IdempotencyKey;
use sortie_contract::{InstanceId, MissionId, VpId};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Error, Row};

use super::held::Holding;
use super::hold;
use super::link::{self, Dial, Link, Param, borrowed};
use super::read::AT_ONCE;
use super::trouble;
use crate::error::WriteError;
use crate::fleet::{self, Owner, Peer, ShareNo};
use crate::journal::Receipt;

/// Claims that share a flight at most.
const TOGETHER: usize = 256;

/// How long a claim waits for this node to have read what it has adopted.
const MOMENT: Duration = Duration::from_millis(20);

/// So many of them, at most: those that are asked for with it, and behind it, wait as long. A large share takes minutes.
const MOMENTS: u32 = 5;

/// A row for each name that has none: for a mission that is written, whoever asked before.
pub(super) const KEEP: &str = "
INSERT INTO sortie_claims (key, share) SELECT key, $2::bigint FROM unnest($1::bytea[]) AS k (key)
ON CONFLICT (key) DO NOTHING";

/// The names of these missions, while their heads are there.
pub(super) const GONE: &str = "
DELETE FROM sortie_claims WHERE key IN (
    SELECT 'm'::bytea || mission_id FROM sortie_heads WHERE mission = ANY($1)
    UNION ALL
    SELECT 'k'::bytea || source || '\\x00'::bytea || idempotency_key FROM sortie_heads WHERE mission = ANY($1))";

pub(super) const SCHEDULES_GONE: &str = "
DELETE FROM sortie_claims WHERE key IN (SELECT 's'::bytea || id FROM unnest($1::bytea[]) AS o (id))";

/// For whoever holds the share still, by this opening. A name that is taken ends it.
const TAKE: &str = "
INSERT INTO sortie_claims (key, share) SELECT key, $2::bigint FROM unnest($1::bytea[]) AS k (key)
WHERE EXISTS (SELECT 1 FROM sortie_shares WHERE share = $2 AND holder = $3 AND heir IS NULL)";

/// The share of each row, and who decides about it now.
pub(super) const OWNERS: &str = "
SELECT p.share, p.node, p.name, p.card, (extract(epoch FROM p.since) * 1000000)::bigint,
    extract(epoch FROM p.lease_until - now())::float8, p.holder, c.share, c.key,
    (extract(epoch FROM now()) * 1000000)::bigint AS asked_at
FROM sortie_claims AS c
JOIN sortie_shares AS s ON s.share = c.share
JOIN sortie_shares AS p ON p.share = coalesce(s.heir, s.share)
WHERE c.key = ANY($1)";

pub(super) const PEERS: &str = "
SELECT p.share, p.node, p.name, p.card, (extract(epoch FROM p.since) * 1000000)::bigint,
    extract(epoch FROM p.lease_until - now())::float8, (extract(epoch FROM now()) * 1000000)::bigint AS asked_at
FROM sortie_shares AS p WHERE p.heir IS NULL ORDER BY p.share";

/// A share as whoever held it last left it, whoever has adopted it since.
pub(super) const LEFT: &str = "
SELECT p.share, p.node, p.name, p.card, (extract(epoch FROM p.since) * 1000000)::bigint,
    extract(epoch FROM p.lease_until - now())::float8, (extract(epoch FROM now()) * 1000000)::bigint AS asked_at
FROM sortie_shares AS p WHERE p.share = $1";

fn key(kind: u8, name: &str) -> Vec<u8> {
    [&[kind], name.as_bytes()].concat()
}

/// The name of a mission.
pub(super) fn id(id: &MissionId) -> Vec<u8> {
    key(b'm', id.as_str())
}

/// What makes a second dispatch the same one.
pub(super) fn twin(source: &InstanceId, idempotency_key: &IdempotencyKey) -> Vec<u8> {
    key(b'k', &format!("{source}\0{idempotency_key}"))
}

/// Where a VP is at home.
pub(super) fn home(vp: &VpId) -> Vec<u8> {
    key(b'v', vp.as_str())
}

/// The name of a schedule.
pub(super) fn schedule(id: &str) -> Vec<u8> {
    key(b's', id)
}

/// What those called themselves whose shares this one's are.
pub(super) const ADOPTED: &str = "SELECT name FROM sortie_shares WHERE heir = $1 ORDER BY share";

/// A row of [`OWNERS`], [`PEERS`] or [`LEFT`].
pub(super) fn peer(row: &Row, mine: ShareNo) -> Peer {
    let share = hold::share(row, 0);
    Peer {
        share,
        node: row.get(1),
        name: row.get(2),
        card: row.get(3),
        since: moment(row.get(4)),
        asked_at: moment(row.get("asked_at")),
        lease_left: Duration::try_from_secs_f64(row.get(5)).unwrap_or_default(),
        is_me: share == mine,
    }
}

fn moment(microseconds: i64) -> Timestamp {
    Timestamp::from_microsecond(microseconds).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Names that somebody wants: those whose owner is told first come first.
pub(super) struct Wanted {
    pub(super) keys: Vec<Vec<u8>>,
    /// Resolves once all that was removed before they were wanted is gone, with its names: they would be found there still, as this node's,
    /// and be anybody's a moment later.
    pub(super) after: Option<Receipt>,
    pub(super) answer: oneshot::Sender<Result<Owner, WriteError>>,
}

/// The task that claims.
pub(super) struct Claimer {
    dial: Dial,
    link: Option<Link>,
    opening: String,
    holding: Arc<Holding>,
    /// VPs that are at home here, for as long as the share is this opening's.
    homes: FxHashSet<Vec<u8>>,
}

/// What is known of a name.
struct Known {
    peer: Peer,
    /// By which opening it is held.
    holder: String,
    /// Of which share the row is.
    of: ShareNo,
}

/// What a claim comes to, once it was looked up.
enum Found {
    Owner(Owner),
    /// This node has adopted it, and is reading it still.
    Soon,
    /// These are nobody's.
    Free(Vec<Vec<u8>>),
}

impl Claimer {
    pub(super) fn new(dial: Dial, opening: String, holding: Arc<Holding>) -> Self {
        Self { dial, link: None, opening, holding, homes: FxHashSet::default() }
    }

    /// Runs until the log is gone.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Wanted>) {
        let mut batch = Vec::new();
        while queue.recv_many(&mut batch, TOGETHER).await > 0 {
            let mut answers: Vec<Option<Owner>> = vec![None; batch.len()];
            let removals: Vec<Receipt> = batch.iter_mut().filter_map(|wanted| wanted.after.take()).collect();
            let outcome = timeout(AT_ONCE, async {
                for removal in removals {
                    removal.await?;
                }
                self.decide(&batch, &mut answers).await
            })
            .await;
            let failed = match outcome {
                Ok(outcome) => outcome.err(),
                Err(_) => {
                    // What is on its way may happen yet: whoever asks again is told.
                    self.link = None;
                    None
                }
            };
            let failed = failed.unwrap_or(WriteError::Overloaded);
            for (wanted, answer) in batch.drain(..).zip(answers) {
                // One that is gone lost interest.
                let _ = wanted.answer.send(answer.ok_or_else(|| failed.clone()));
            }
        }
    }

    /// Answers all of them, for as long as it takes; those are left out that this node has adopted and does not know yet.
    async fn decide(&mut self, batch: &[Wanted], answers: &mut [Option<Owner>]) -> Result<(), WriteError> {
        let (mut looks, mut attempts, mut moments) = (false, 0, 0);
        loop {
            let outcome = self.attempt(batch, answers, looks).await;
            if answers.iter().all(Option::is_some) {
                return Ok(());
            }
            looks = true;
            match outcome {
                Ok(()) if moments == MOMENTS => return Ok(()),
                Ok(()) => {
                    moments += 1;
                    sleep(MOMENT).await;
                }
                Err(Trouble::Fenced) => return Err(fleet::taken()),
                Err(Trouble::Said(error)) if trouble::is_a_collision(&error) => {
                    attempts += 1;
                    if error.code() != Some(&SqlState::UNIQUE_VIOLATION) || attempts > 2 {
                        sleep(link::pause(attempts.min(3)) / 10).await;
                    }
                }
                Err(Trouble::Said(error)) if trouble::is_passing(&error) => {
                    tracing::debug!(error = trouble::told(&error), "names are claimed again");
                    self.link = None;
                    attempts += 1;
                    sleep(link::pause(attempts)).await;
                }
                Err(Trouble::Said(error)) => {
                    let said = trouble::told(&error);
                    tracing::error!(error = said, "no names can be claimed");
                    return Err(WriteError::poisoned(&format!("the database of the store: {said}")));
                }
            }
        }
    }

    /// Once: looks up those that have no answer where some may be somebody's, and takes what is nobody's.
    async fn attempt(&mut self, batch: &[Wanted], answers: &mut [Option<Owner>], looks: bool) -> Result<(), Trouble> {
        let owners = if looks { self.owners(batch, answers).await? } else { BTreeMap::new() };
        let (mut wanted, mut places) = (BTreeSet::new(), Vec::new());
        for (place, one) in batch.iter().enumerate().filter(|(place, _)| answers[*place].is_none()).collect::<Vec<_>>()
        {
            match self.found(&one.keys, &owners)? {
                Found::Owner(owner) => answers[place] = Some(owner),
                Found::Soon => {}
                Found::Free(keys) => {
                    wanted.extend(keys);
                    places.push(place);
                }
            }
        }
        if places.is_empty() {
            return Ok(());
        }
        // In one order whoever takes them, so that of two none waits for the other.
        let keys: Vec<Vec<u8>> = wanted.into_iter().filter(|key| !self.homes.contains(key)).collect();
        let taken = self.take(&keys).await?;
        if taken != keys.len() as u64 {
            return Err(Trouble::Fenced);
        }
        self.homes.extend(keys.into_iter().filter(|key| key.first() == Some(&b'v')));
        places.into_iter().for_each(|place| answers[place] = Some(Owner::Mine));
        Ok(())
    }

    fn found(&self, keys: &[Vec<u8>], owners: &BTreeMap<Vec<u8>, Known>) -> Result<Found, Trouble> {
        let mine = self.holding.mine;
        let (mut free, mut soon) = (Vec::new(), false);
        for key in keys {
            match owners.get(key) {
                None => free.push(key.clone()),
                Some(known) if known.peer.share != mine => {
                    return Ok(Found::Owner(Owner::Elsewhere(known.peer.clone())));
                }
                Some(known) if known.holder != self.opening => return Err(Trouble::Fenced),
                Some(known) => soon |= !self.holding.has(known.of),
            }
        }
        Ok(match free.is_empty() {
            _ if soon => Found::Soon,
            true => Found::Owner(Owner::Mine),
            false => Found::Free(free),
        })
    }

    async fn owners(
        &mut self,
        batch: &[Wanted],
        answers: &[Option<Owner>],
    ) -> Result<BTreeMap<Vec<u8>, Known>, Trouble> {
        let open = batch.iter().zip(answers).filter(|(_, answer)| answer.is_none());
        let keys: Vec<Vec<u8>> = open.flat_map(|(wanted, _)| wanted.keys.iter().cloned()).collect();
        let mine = self.holding.mine;
        let rows = self.link().await?.rows(OWNERS, &[Box::new(keys)]).await?;
        let known = |row: &Row| Known { peer: peer(row, mine), holder: row.get(6), of: hold::share(row, 7) };
        Ok(rows.iter().map(|row| (row.get(8), known(row))).collect())
    }

    /// In a transaction of its own, in one flight: how many were taken, where none was somebody's.
    async fn take(&mut self, keys: &[Vec<u8>]) -> Result<u64, Trouble> {
        let (share, opening) = (hold::no(self.holding.mine), self.opening.clone());
        let params: [Param<'_>; 3] = [Box::new(keys), Box::new(share), Box::new(opening)];
        let link = self.link().await?;
        let (statement, params) = (link.prepared(TAKE).await?, borrowed(&params));
        link::alone(&link.client, link.client.execute(&statement, &params)).await.map_err(Trouble::Said)
    }

    async fn link(&mut self) -> Result<&Link, Error> {
        Link::of(&mut self.link, &self.dial).await
    }
}

/// Why a claim has no answer yet.
enum Trouble {
    Said(Error),
    /// Another has the share.
    Fenced,
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Said(error)
    }
}
