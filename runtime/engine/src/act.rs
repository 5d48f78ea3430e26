//! What operators do to missions: decide what they ask, cancel one, halt them all, pause the node, move deliveries along.
//!
//! Owned here: that what an operator was told is on disk. Never here: whether a mission takes it, which the core says, and who may ask
//! for it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sortie_contract::request::{Decision, RequestNo};
use sortie_contract::{MissionNo, Mistake, Record, Stamped};
use sortie_mission::{Command, Refusal, at_a_glance};

use super::amend::Amendment;
use super::live::{CommandError, Live, Wait};
use super::{Engine, ReadError};

/// How many missions a halt holds in memory while their end gets to the disk.
const HALTED_AT_ONCE: usize = 4_096;

/// How many heads are looked at at once.
const HEADS: usize = 1_024;

/// Why an operator's wish was not met.
#[derive(Debug, thiserror::Error)]
pub enum ActError {
    /// It has ended, and not by a cancel.
    #[error("the mission has ended already")]
    AlreadyFinal,
    /// The mission cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The journal does not take it.
    #[error("the journal does not take it")]
    Journal(#[from] sortie_journal::WriteError),
    /// The node cannot keep in mind that it is paused.
    #[error("the data directory cannot be written")]
    Mark(#[source] std::io::Error),
    /// The arguments that an approval puts in the place of the plugin's do not fit the tool's schema.
    #[error("the changed arguments do not fit")]
    Arguments(Vec<Mistake>),
    /// The answer to what a tool asks does not fit its form.
    #[error("the answer does not fit")]
    Answer(Vec<Mistake>),
    /// A rule of the mission.
    #[error("{0}")]
    Refused(Refusal),
}

/// Where a node keeps in mind that it is paused. Both block.
pub trait PauseMark: Send + Sync + 'static {
    /// Whether it is.
    fn is_set(&self) -> bool;

    /// Whether it is because the node's data were restored from a backup, and nobody has let it go on since.
    fn is_restored(&self) -> bool {
        false
    }

    /// Sets it or takes it away; when this returns, a loss of power does not change that.
    ///
    /// # Errors
    /// It is as before, or as it was to be.
    fn set(&self, paused: bool) -> std::io::Result<()>;
}

/// The file of a data folder that says from which backup it was restored, until an operator lets the node go on.
pub const RESTORED: &str = "restored.json";

/// A file that is there while the node is paused.
#[derive(Debug, Clone)]
pub struct PauseFile(PathBuf);

impl PauseFile {
    /// In the node's data folder.
    #[must_use]
    pub fn of(data_dir: &Path) -> Self {
        Self(data_dir.join("paused"))
    }
}

impl PauseMark for PauseFile {
    fn is_set(&self) -> bool {
        self.0.exists() || self.is_restored()
    }

    fn is_restored(&self) -> bool {
        self.0.with_file_name(RESTORED).exists()
    }

    fn set(&self, paused: bool) -> std::io::Result<()> {
        if paused {
            File::create(&self.0)?.sync_all()?;
        } else {
            // The mark of a restore goes last: a node that is killed in between holds back still.
            for path in [&self.0, &self.0.with_file_name(RESTORED)] {
                if let Err(error) = fs::remove_file(path)
                    && error.kind() != std::io::ErrorKind::NotFound
                {
                    return Err(error);
                }
            }
        }
        self.0.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    }
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
    pub async fn cancel(self: &Arc<Self>, no: MissionNo, reason: String, by: String) -> Result<(), ActError> {
        let command = || Command::Cancel { reason: reason.clone(), by: by.clone() };
        match self.at_a_glance(no, &command()).await? {
            Some(answer) => answer.map(drop).map_err(|refusal| CommandError::Refused(refusal).into()),
            None => self.end(no, command).await,
        }
    }

    /// What the head of a mission that is not in memory answers to a command: its records may be many. `None`: they are asked.
    async fn at_a_glance(
        self: &Arc<Self>,
        no: MissionNo,
        command: &Command<'_>,
    ) -> Result<Option<Result<Vec<Record>, Refusal>>, ReadError> {
        if self.lives.get(no).is_some() {
            return Ok(None);
        }
        let engine = Arc::clone(self);
        let head = self.ambient.unblock(move || engine.log.head(no)).await.map_err(ReadError::Task)??;
        Ok(at_a_glance(head.ok_or(ReadError::Unknown)?.status, command))
    }

    /// Cancels everything that has not ended, and says how many missions that were. One that cannot be cancelled keeps no
    /// other from it; the first such error is told.
    pub async fn halt(self: &Arc<Self>) -> Result<usize, ActError> {
        let engine = Arc::clone(self);
        let mut all = self.ambient.unblock(move || engine.unfinished()).await.map_err(ReadError::Task)??;
        // Those whose acceptance is on its way to the disk.
        all.extend(self.lives.all().into_iter().map(|live| live.no));
        all.sort_unstable();
        all.dedup();
        let (mut halted, mut failed) = (0, None);
        for some in all.chunks(HALTED_AT_ONCE) {
            let mut ended = Vec::with_capacity(some.len());
            for &no in some {
                match self.end_soon(no, || Command::Halt).await {
                    Ok(live) => ended.push(live),
                    Err(ActError::AlreadyFinal) => {}
                    Err(error) => failed = failed.or(Some(error)),
                }
            }
            self.durable().await?;
            halted += ended.len();
            ended.iter().for_each(|live| self.lives.release(live));
        }
        failed.map_or(Ok(halted), Err)
    }

    /// The missions on disk that have not ended. Blocks.
    fn unfinished(&self) -> Result<Vec<MissionNo>, ReadError> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let heads = self.log.heads_oldest_first(after, HEADS)?;
            let Some((last, _)) = heads.last() else { return Ok(all) };
            after = Some(*last);
            all.extend(heads.iter().filter(|(_, head)| !head.status.is_final()).map(|(no, _)| *no));
        }
    }

    /// Ends a mission; that is certain once it is on disk.
    async fn end_soon<'a>(
        self: &Arc<Self>,
        no: MissionNo,
        command: impl Fn() -> Command<'a>,
    ) -> Result<Arc<Live>, ActError> {
        let live = self.bring(no).await?;
        self.command_patiently(&live, command, Wait::No).await?;
        Ok(live)
    }

    async fn end<'a>(self: &Arc<Self>, no: MissionNo, command: impl Fn() -> Command<'a>) -> Result<(), ActError> {
        let ended = self.end_soon(no, command).await;
        // What is said of it, an end that it has come to before included, is not to be taken back.
        self.durable().await?;
        self.lives.release(&ended?);
        Ok(())
    }

    /// Decides about a request. When this returns the decision is on disk.
    pub async fn decide(
        self: &Arc<Self>,
        no: MissionNo,
        request: RequestNo,
        decision: Decision,
        by: String,
        note: String,
    ) -> Result<(), ActError> {
        let command = |changed| Command::Decide {
            request,
            decision: decision.clone(),
            by: by.clone(),
            note: note.clone(),
            changed,
        };
        if let Some(answer) = self.at_a_glance(no, &command(None)).await? {
            return answer.map(drop).map_err(|refusal| CommandError::Refused(refusal).into());
        }
        let live = self.bring(no).await?;
        self.withdraw_unheard(&live)?;
        let amendment = match &decision {
            Decision::Amend { arguments } => self.amendment(&live, request, arguments).await,
            Decision::Answer { text } => Self::answer_fits(&live, request, text).map(|()| None),
            _ => Ok(None),
        };
        let taken = match &amendment {
            Ok(amendment) => {
                self.command_patiently(&live, || command(amendment.as_ref().map(Amendment::changed)), Wait::No).await
            }
            Err(_) => {
                self.lives.release(&live);
                return amendment.map(drop);
            }
        };
        self.durable().await?;
        let taken = taken?;
        self.watch(&live);
        self.go_on(&live);
        self.lives.release(&live);
        // Time was over when the decision came: the mission has ended instead, or was carried over.
        let withdrawn = |stamped: &Stamped| match &stamped.record {
            Record::Withdrawn { request: other, why } if *other == request => Some(why.clone()),
            _ => None,
        };
        if let Some(why) = taken.records.iter().find_map(withdrawn) {
            return Err(ActError::Refused(Refusal::Withdrawn { request, why }));
        }
        if taken.status.is_final() { Err(ActError::AlreadyFinal) } else { Ok(()) }
    }

    /// Stops starting missions, or starts them again, through restarts too. Running ones go on.
    pub async fn pause(self: &Arc<Self>, paused: bool) -> Result<(), ActError> {
        self.desk.pause(paused);
        let mark = Arc::clone(&self.pause_mark);
        let marked = self.ambient.unblock(move || mark.set(paused)).await;
        marked.map_err(std::io::Error::other).flatten().map_err(ActError::Mark)?;
        if !paused {
            self.reach_out();
            self.pump();
        }
        Ok(())
    }
}
