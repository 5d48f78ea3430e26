//! What operators do to missions: cancel one, halt them all, pause the node, move deliveries along.

use std::sync::Arc;

use sortie_contract::MissionNo;
use sortie_journal::{Append, Cursor};
use sortie_mission::{Command, Refusal};

use super::live::{CommandError, Wait};
use super::outbox::mission_over;
use super::{Engine, ReadError};

/// Why an operator's wish was not met.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ActError {
    /// It has ended, and not by a cancel.
    #[error("the mission has ended already")]
    AlreadyFinal,
    /// The mission cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The journal does not take it.
    #[error("the journal does not take it")]
    Journal(#[from] sortie_journal::WriteError),
    /// A rule of the mission.
    #[error("{0}")]
    Refused(Refusal),
}

impl From<CommandError> for ActError {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Refused(Refusal::AlreadyFinal { .. }) => Self::AlreadyFinal,
            CommandError::Refused(refusal) => Self::Refused(refusal),
            CommandError::Journal(error) => Self::Journal(error),
        }
    }
}

impl Engine {
    /// Cancels a mission. When this returns, `cancelled` is on disk and its plugin has been told to stop.
    pub(crate) async fn cancel(&self, no: MissionNo, reason: String, by: String) -> Result<(), ActError> {
        let command = || Command::Cancel { reason: reason.clone(), by: by.clone() };
        self.end(no, command).await
    }

    /// Cancels everything that has not ended, and says how many missions that were.
    pub(crate) async fn halt(self: &Arc<Self>) -> Result<usize, ActError> {
        let waiting = self.desk.lock().queue.waiting();
        let running = self.lives.all().into_iter().map(|live| live.no);
        let mut all: Vec<MissionNo> = waiting.into_iter().chain(running).collect();
        all.sort_unstable();
        all.dedup();
        let mut halted = 0;
        for no in all {
            match self.end(no, || Command::Halt).await {
                Ok(()) => halted += 1,
                Err(ActError::AlreadyFinal) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(halted)
    }

    async fn end<'a>(&self, no: MissionNo, command: impl Fn() -> Command<'a>) -> Result<(), ActError> {
        let live = self.live(no)?;
        let taken = self.command_patiently(&live, command, Wait::Durable).await?;
        self.desk.lock().queue.remove(no);
        match taken.receipt {
            Some(receipt) => drop(receipt.await?),
            // It had been cancelled before, perhaps a moment ago.
            None => drop(self.journal.barrier()?.await?),
        }
        self.lives.release(&live);
        Ok(())
    }

    /// Lets a parked delivery be tried again, or gives it up. False where nothing is parked.
    pub(crate) async fn unpark(&self, no: MissionNo, skip: bool) -> Result<bool, ActError> {
        let cursor = self.journal.cursor(no).map_err(ReadError::from)?;
        let Some(parked) = cursor.filter(|cursor| cursor.parked.is_some()) else { return Ok(false) };
        let acked = parked.acked + u64::from(skip);
        let done = skip && mission_over(self, no, acked)?;
        let append = Append::new(no, 0, &[]);
        let again = Cursor { acked, since: (!skip).then(|| self.clock.wall()), ..Cursor::default() };
        let append = if done { append.delivered() } else { append.cursor(&again) };
        self.journal.append_durable(append)?.await?;
        if done {
            self.undelivered.lock().remove(&no);
        } else {
            self.courier.hurry(no);
        }
        Ok(true)
    }

    /// Stops starting missions, or starts them again. Running ones go on.
    pub(crate) fn pause(self: &Arc<Self>, paused: bool) {
        self.desk.lock().queue.pause(paused);
        if !paused {
            self.pump();
        }
    }
}
