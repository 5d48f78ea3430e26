//! Removing missions that are over: their records, their artifacts, and what the feed says of them.
//!
//! Owned here: the rounds, and the order in which what belongs to a mission goes. Never here: whether its time has come, which the core
//! says.

use std::sync::Arc;
use std::time::Duration;

use sortie_contract::MissionNo;
use sortie_journal::AdmitError;
use sortie_mission::Kept;

use super::{Engine, ReadError};

/// How often it is looked for missions that have outlived their use, unless they do so sooner.
const ROUND: Duration = Duration::from_secs(60);

/// The most often.
const ROUND_MIN: Duration = Duration::from_secs(1);

/// How many heads are looked at at once.
const HEADS: usize = 512;

/// How much of the feed is read at once.
const CHUNK: usize = 4_096;

impl Engine {
    /// Starts to remove missions as the configuration says.
    pub fn start_retention(self: &Arc<Self>) {
        let age = self.settings.retention.age.and_then(|age| Duration::try_from(age).ok());
        let round = age.map_or(ROUND, |age| (age / 4).clamp(ROUND_MIN, ROUND));
        let engine = Arc::downgrade(self);
        let ambient = Arc::clone(&self.ambient);
        self.supervise("retention", async move {
            loop {
                ambient.sleep(round).await;
                let Some(engine) = engine.upgrade() else { return };
                match engine.retain().await {
                    Ok(0) => {}
                    Ok(missions) => tracing::info!(missions, "removed missions that are over"),
                    Err(error) => {
                        tracing::error!(
                            error = &error as &dyn std::error::Error,
                            "missions that are over cannot be removed"
                        );
                    }
                }
            }
        });
    }

    /// One round: what has outlived its use is removed, and then what the feed says of it. How many missions that were.
    async fn retain(self: &Arc<Self>) -> Result<usize, ReadError> {
        let engine = Arc::clone(self);
        let removed = self.ambient.unblock(move || engine.remove_outlived()).await.map_err(ReadError::Task)??;
        // Their heads are gone only once that is on disk. Where it cannot be now, another round prunes.
        if removed > 0 && self.durable().await.is_ok() {
            let engine = Arc::clone(self);
            self.ambient.unblock(move || engine.prune_feed()).await.map_err(ReadError::Task)??;
        }
        Ok(removed)
    }

    /// Removes what has outlived its use, and says how many missions that were. A page of heads is in memory at a time, and only of
    /// those that are old enough is it asked how far their delivery is.
    fn remove_outlived(&self) -> Result<usize, ReadError> {
        let wall = self.ambient.wall();
        let (mut removed, mut newer, mut before) = (0, 0, None);
        loop {
            let heads = self.log.heads_newest_first(before, HEADS)?;
            let Some((last, _)) = heads.last() else { return Ok(removed) };
            before = Some(*last);
            for (no, head) in heads.into_iter().filter(|(_, head)| head.status.is_final()) {
                let ended_at = head.ended_at.unwrap_or(head.accepted_at);
                let (status, quarantined) = (head.status, self.is_quarantined(no));
                let kept = Kept { status, ended_at, delivered: true, quarantined, newer };
                newer += 1;
                if !self.settings.retention.is_over(kept, wall) {
                    continue;
                }
                let delivered = self.log.cursor(no)?.is_none_or(|cursor| cursor.closed);
                if self.settings.retention.is_over(Kept { delivered, ..kept }, wall) {
                    match self.removals.unless_held(|| self.remove(no)) {
                        Some(done) => done?,
                        // A backup is taken: another round finds them again.
                        None => return Ok(removed),
                    }
                    removed += 1;
                }
            }
        }
    }

    fn remove(&self, no: MissionNo) -> Result<(), ReadError> {
        // The artifacts first: what is left of a mission must not be files that nobody knows of.
        self.artifacts.remove(no).map_err(ReadError::Artifact)?;
        match self.log.remove(no) {
            Ok(()) => {}
            Err(AdmitError::Read(error)) => return Err(error.into()),
            // One that the log does not take now is found again in the next round.
            Err(AdmitError::Write(error)) => {
                tracing::debug!(%no, %error, "a mission is removed later");
                return Ok(());
            }
        }
        self.lives.forget(no);
        self.views.forget(no);
        Ok(())
    }

    /// Lets the feed begin with the first entry of a mission that is still there. Blocks.
    fn prune_feed(&self) -> Result<(), ReadError> {
        let mut read = 0;
        let first = 'found: loop {
            let entries = self.log.feed_after(read, CHUNK)?;
            let Some(last) = entries.last().map(|entry| entry.position) else { break read + 1 };
            for entry in entries {
                if self.log.head(entry.mission)?.is_some() {
                    break 'found entry.position;
                }
            }
            read = last;
        };
        if let Err(error) = self.log.prune_feed_before(first) {
            tracing::debug!(%error, "the feed is pruned later");
        }
        Ok(())
    }
}
