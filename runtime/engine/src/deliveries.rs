//! How far deliveries are: the one place where a mission's cursor is moved, by the courier and by operators.
//!
//! Each step says where the cursor stands after it, from wherever it stands, and is appended only if it still stands there: of
//! two that move it at once one looks again. So it never goes back, whoever else is at it. What an item is, `outbox` knows.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use sortie_contract::{MissionNo, Timestamp};
use sortie_journal::{Append, Cursor, Retry, WriteError};

use super::act::ActError;
use super::outbox::mission_over;
use super::{Engine, ReadError};

/// What happened to the first item that is not delivered.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Its receiver took it.
    Delivered { item: u64, at: Timestamp },
    /// So many attempts failed, and there will be another.
    Attempted { item: u64, attempts: u32, retry: Retry },
    /// So many attempts failed, and there will be no other until an operator says so.
    Parked { item: u64, attempts: u32, why: String },
    /// An operator has it tried again.
    Again { at: Timestamp },
    /// An operator leaves it out.
    Skipped { at: Timestamp },
}

impl Step {
    /// Where the cursor stands after it; `None` where it is no step from there: the item is done with, or nothing is parked.
    fn from(&self, before: &Cursor) -> Option<Cursor> {
        // The next item can be sent from the moment on in which the one before it is done with.
        let next = |acked, at: &Timestamp| Cursor {
            acked,
            since: Some(*at),
            skipped: before.skipped.clone(),
            ..Cursor::default()
        };
        let is_next = |item: u64| !before.closed && before.acked + 1 == item;
        match self {
            Self::Delivered { item, at } => (!before.closed && before.acked < *item).then(|| next(*item, at)),
            Self::Attempted { item, attempts, retry } => (is_next(*item) && before.parked.is_none()).then(|| Cursor {
                attempts: *attempts,
                retry: Some(retry.clone()),
                ..before.clone()
            }),
            Self::Parked { item, attempts, why } => {
                let parked = Some(why.clone());
                is_next(*item).then(|| Cursor { attempts: *attempts, parked, retry: None, ..before.clone() })
            }
            Self::Again { at } => before.parked.as_ref().map(|_| next(before.acked, at)),
            Self::Skipped { at } => before.parked.as_ref().map(|_| {
                let mut after = next(before.acked + 1, at);
                after.skipped.push(after.acked);
                after
            }),
        }
    }

    /// Whether the item is done with.
    fn is_done(&self) -> bool {
        matches!(self, Self::Delivered { .. } | Self::Skipped { .. })
    }
}

impl Engine {
    /// Moves the cursor of a mission and waits until that is on disk: the next look at it must see it. A group commit serves many.
    /// False where there was nothing to move.
    pub(crate) async fn step(self: &Arc<Self>, no: MissionNo, step: Step) -> Result<bool, ActError> {
        loop {
            let (engine, asked) = (Arc::clone(self), step.clone());
            let look = self.ambient.unblock(move || engine.after(no, &asked)).await;
            let Some((before, after, over)) = look.map_err(ReadError::Task)?? else { return Ok(false) };
            let append = Append::new(no, 0, &[]).moved_from(Some(before));
            let append = if over { append.closed(after) } else { append.cursor(&after) };
            match self.log.append_durable(append)?.await {
                Err(WriteError::CursorMoved { .. }) => {}
                Err(error) => return Err(error.into()),
                Ok(_) if over => {
                    self.undelivered.lock().remove(&no);
                    return Ok(true);
                }
                Ok(_) => return Ok(true),
            }
        }
    }

    /// Where a mission's cursor stands, where it stands after the step, and whether nothing is left to deliver then. Blocks.
    fn after(&self, no: MissionNo, step: &Step) -> Result<Option<(Cursor, Cursor, bool)>, ReadError> {
        let Some(before) = self.log.cursor(no)? else { return Ok(None) };
        let Some(after) = step.from(&before) else { return Ok(None) };
        let over = step.is_done() && mission_over(self, no, after.acked)?;
        Ok(Some((before, after, over)))
    }

    /// Lets a parked delivery be tried again, or gives it up. False where nothing is parked.
    ///
    /// # Errors
    /// [`ActError`]
    pub async fn unpark(self: &Arc<Self>, no: MissionNo, skip: bool) -> Result<bool, ActError> {
        let at = self.ambient.wall();
        let step = if skip { Step::Skipped { at } } else { Step::Again { at } };
        if !self.step(no, step).await? {
            return Ok(false);
        }
        self.counters.skipped.fetch_add(u64::from(skip), Relaxed);
        if self.undelivered.lock().contains(&no) {
            self.courier.hurry(no);
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The time of each step.
    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn at(acked: u64) -> Cursor {
        Cursor { acked, ..Cursor::default() }
    }

    /// Where the one before was done with just now.
    fn since(acked: u64) -> Cursor {
        Cursor { acked, since: Some(NOW), ..Cursor::default() }
    }

    #[test]
    fn a_cursor_goes_on_and_never_back() {
        let again = Step::Again { at: NOW };
        let skip = Step::Skipped { at: NOW };
        let retry = Retry { why: "503".to_owned(), at: NOW };
        let delivered = |item| Step::Delivered { item, at: NOW };
        let attempted = |item| Step::Attempted { item, attempts: 2, retry: retry.clone() };
        let failed = Cursor { attempts: 2, retry: Some(retry.clone()), ..Cursor::default() };
        let parked = |item| Step::Parked { item, attempts: 3, why: "410".to_owned() };
        let waits = Cursor { attempts: 3, parked: Some("410".to_owned()), ..at(4) };
        let retried = since(4);
        let skipped = Cursor { skipped: vec![5], ..since(5) };
        let closed = Cursor { closed: true, ..skipped.clone() };
        for (before, step, after) in [
            (at(4), delivered(5), Some(since(5))),
            (at(4), attempted(5), Some(Cursor { acked: 4, ..failed.clone() })),
            (at(4), parked(5), Some(waits.clone())),
            (Cursor { acked: 4, ..failed.clone() }, parked(5), Some(waits.clone())),
            (waits.clone(), parked(5), Some(waits.clone())),
            (waits.clone(), again.clone(), Some(retried.clone())),
            (waits.clone(), skip.clone(), Some(skipped.clone())),
            (retried, attempted(5), Some(Cursor { acked: 4, since: Some(NOW), ..failed })),
            // What comes too late: somebody else was faster.
            (at(5), delivered(5), None),
            (at(6), attempted(5), None),
            (skipped.clone(), parked(5), None),
            (skipped.clone(), delivered(5), None),
            (skipped.clone(), skip.clone(), None),
            (skipped.clone(), again.clone(), None),
            (waits, attempted(5), None),
            (closed.clone(), delivered(9), None),
            (closed, parked(6), None),
            // What was skipped stays told.
            (skipped, delivered(6), Some(Cursor { skipped: vec![5], ..since(6) })),
        ] {
            assert_eq!(step.from(&before), after, "{step:?} from {before:?}");
        }
    }
}
