//! How far deliveries are: the one place where a mission's cursor is moved, by the courier and by operators.
//!
//! Where it stands after a step the core says ([`Step::taken_from`]). Owned here: that the step is appended only if the cursor still
//! stands where it was asked about: of two that move it at once one looks again. What an item is, `outbox` knows.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use sortie_contract::MissionNo;
use sortie_journal::{Append, Cursor, WriteError};
use sortie_mission::delivery::Step;

use super::act::ActError;
use super::outbox::mission_over;
use super::{Engine, ReadError};

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
        let Some(after) = step.taken_from(&before) else { return Ok(None) };
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
