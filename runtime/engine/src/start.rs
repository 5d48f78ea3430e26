//! Giving missions their turn, and running their plugins.
//!
//! Owned here: the way of one run from its turn to what becomes of its slot. Never here: whose turn it is (the desk), what a plugin is
//! told (the host), and how a mission ends (the core).

use std::sync::Arc;
use std::time::Duration;

use sortie_contract::id::RunNo;
use sortie_contract::plugin::Verdict;
use sortie_contract::record::HostQuestion;
use sortie_contract::{MissionNo, Record, SessionId, Stamped, Status, VpId};
use sortie_journal::Receipt;
use sortie_mission::replay::Replay;
use sortie_mission::{Command, Conditions, Ending, Mission, Refusal};
use sortie_sandbox::{Kill, Run};
use sortie_tools::{Bill, CallContext, Nobody, Workspace};

use super::fleet::Draining;
use super::host::RunHost;
use super::intake::brief;
use super::live::{CommandError, Live, Wait};
use super::on_record::OnRecord;
use super::portable::Unfetched;
use super::{Engine, ReadError, Room};

/// How long to wait for room in the journal's queue: one group commit makes it for thousands.
pub(super) const ROOM: Duration = Duration::from_millis(1);

/// How much of a record is read at once.
const PIECE_BYTES: usize = 1 << 20;

/// Why a run could not be carried to its end. The mission is not lost: the journal has it.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error("the mission cannot be read")]
    Read(#[from] ReadError),
    #[error("the mission does not start")]
    Command(#[from] CommandError),
    #[error("the journal failed")]
    Journal(#[from] sortie_journal::WriteError),
    /// Its lane or its node has closed in this moment.
    #[error("its lane or its node is closed")]
    Shut,
    /// As by a crash of the node, and mended like one: it goes on where its record ends, and is given up when it never does.
    #[error("its plugin was stopped, and nothing on record says why")]
    BrokeOff,
}

impl Engine {
    /// Starts every mission whose turn has come. To be called, too, when there is room on the disk again.
    pub fn pump(self: &Arc<Self>) {
        while let Some(no) = self.next_turn() {
            let engine = Arc::clone(self);
            self.attend("turn", async move { engine.turn(no).await });
        }
    }

    fn next_turn(&self) -> Option<MissionNo> {
        if self.takes_turns() { self.desk.pop(&self.ambient) } else { None }
    }

    /// Whether missions are started at all.
    pub(crate) fn takes_turns(&self) -> bool {
        !self.is_stopping() && self.artifacts.room() != Room::Full && self.first_look.is_over() && self.gives_turns()
    }

    /// A mission's turn, from its start to the end of its run.
    async fn turn(self: Arc<Self>, no: MissionNo) {
        match self.bring(no).await {
            Ok(live) => match self.held_up(&live).or(self.awaits_workspace(&live).await) {
                Some(until) => {
                    self.desk.release(no);
                    self.desk.push(&sortie_mission::queue::Waiting { start_at: Some(until), ..live.waiting() });
                    self.timer.nudge();
                }
                None => self.turn_of(live).await,
            },
            Err(error) => {
                tracing::error!(%no, error = &error as &dyn std::error::Error, "a mission cannot be read");
                self.desk.release(no);
                // Again: it may have been seen to while it still had its slot.
                self.cannot_read(no, &error);
            }
        }
        self.pump();
    }

    async fn turn_of(self: &Arc<Self>, live: Arc<Live>) {
        let no = live.no;
        let ran = self.run(&live).await;
        // Held until here: what was decided while it was on its way out of memory is seen below.
        self.desk.release(no);
        let again = match &ran {
            // The clock was set back in this moment, or it was closed: it waits again.
            Err(RunError::Command(CommandError::Refused(Refusal::NotYet { .. })) | RunError::Shut) => true,
            // Cancelled or timed out between its turn and its start.
            Ok(()) | Err(RunError::Command(CommandError::Refused(_))) => false,
            // It came to rest. Should the node take missions again after all, it waits for its turn.
            Err(RunError::BrokeOff) if self.draining() != Draining::No => true,
            Err(error) if self.is_stopping() => {
                tracing::debug!(%no, error = error as &dyn std::error::Error, "stopped");
                false
            }
            Err(error) => {
                tracing::error!(%no, error = error as &dyn std::error::Error, "a run broke off");
                if let RunError::Read(error) = error {
                    self.cannot_read(no, error);
                }
                matches!(error, RunError::BrokeOff)
            }
        };
        let asked = self.ask_about_broken_off(&live);
        if again || live.wants_turn(self) {
            self.desk.push(&live.waiting());
        } else if ran.is_ok() {
            // Whoever brings it in again finds what was asked.
            let is_there = match asked {
                Some(receipt) => receipt.await.is_ok(),
                None => true,
            };
            if is_there {
                self.lives.release(&live);
            }
        }
    }

    async fn run(self: &Arc<Self>, live: &Arc<Live>) -> Result<(), RunError> {
        // What a plugin computes may be lost with its start; what it does waits for the disk by itself.
        if self.desk.is_alone(live.no) && live.with(Mission::suspicion).is_none() {
            // Its node stopped in good order: what the head alone shows looked worse.
            self.let_others_in(live.no);
        }
        let doors = self.desk.doors(&live.with(|mission| mission.lane().clone()), self.ambient.wall());
        if !doors.open {
            return Err(RunError::Shut);
        }
        {
            let toolbox = self.toolbox();
            let conditions = Conditions {
                tools: toolbox.infos(),
                memory_bytes_max: self.guests.memory_bytes_max(),
                alone: self.desk.is_alone(live.no),
                crashes_alone_max: self.settings.crashes_alone_max,
                open_until: doors.until,
            };
            self.command_patiently(live, || Command::Start(conditions), Wait::No).await?;
        }
        self.watch_suspect(live);
        self.watch(live);
        let Some(run) = live.with(Mission::run) else {
            // It ended before it began: its window closed while it waited for its turn.
            return Ok(self.durable().await?);
        };
        match self.execute(live, run).await? {
            Some((ending, uncollected)) => self.conclude(live, run, ending, uncollected).await?,
            // Its end, or its going out of memory, was recorded by whoever stopped it.
            None => {
                self.durable().await?;
                if live.with(Mission::run) == Some(run) && !self.is_stopping() {
                    return Err(RunError::BrokeOff);
                }
            }
        }
        self.watch(live);
        Ok(())
    }

    /// What earlier runs have recorded, and their large results apart: of those, what there is room for. Nothing, for a first run.
    async fn recorded(self: &Arc<Self>, live: &Live) -> Result<(Replay, OnRecord), RunError> {
        if live.with(Mission::host_calls) == 0 {
            return Ok((Replay::default(), OnRecord::new(Arc::clone(self), live.no)));
        }
        // All of it is to be there, the start of this run included.
        self.durable().await?;
        let mut on_record = OnRecord::new(Arc::clone(self), live.no);
        let (engine, no) = (Arc::clone(self), live.no);
        // In pieces: the whole of it may be more than the node holds for all missions.
        let read = move || {
            let mut records = Vec::new();
            let mut first = 0;
            loop {
                let piece = engine.log.read(no, first, PIECE_BYTES)?;
                let Ok(len @ 1..) = u32::try_from(piece.len()) else { break };
                records.extend((first..).zip(piece).map(|(at, stamped)| on_record.set_apart(at, stamped)));
                first += len;
            }
            Ok::<_, sortie_journal::ReadError>((Replay::new(&records), on_record))
        };
        Ok(self.ambient.unblock(read).await.map_err(ReadError::Task)?.map_err(ReadError::from)?)
    }

    /// Runs the plugin: how it ended, and which outputs could not be collected. `None` if the run was stopped from outside: whoever
    /// stopped it has recorded why.
    async fn execute(
        self: &Arc<Self>,
        live: &Arc<Live>,
        run: RunNo,
    ) -> Result<Option<(Ending, Vec<String>)>, RunError> {
        let (envelope, session, plugin, grants) = live.with(|mission| {
            let grants = mission.granted().unwrap_or_default().to_vec();
            (Arc::clone(mission.envelope()), mission.session().clone(), mission.plugin().digest, grants)
        });
        let workspace = match self.fetch_workspace(live, run, &envelope.vp_id, &session).await {
            Ok(()) => self.workspace(&envelope.vp_id, &session).await.map_err(|error| error.to_string()),
            Err(Unfetched::Over) => return Ok(None),
            Err(Unfetched::Why(why)) => Err(why),
        };
        let workspace = match workspace {
            Ok(workspace) => workspace,
            Err(why) => {
                let place = self.workspaces.place(&envelope.vp_id, &session).display().to_string();
                tracing::error!(folder = place, why, "a workspace cannot be opened");
                return Ok(Some((Ending::NoWorkspace { place, why }, Vec::new())));
            }
        };
        let mission_id = envelope.mission_id.to_string();
        let (idempotency_key, trace_id) = (String::new(), envelope.trace_id.to_string());
        let context = CallContext {
            workspace,
            mission_id,
            idempotency_key,
            run,
            trace_id,
            bill: Bill::default(),
            ask: Arc::new(Nobody),
        };
        let kill = Kill::new();
        live.armed(run, kill.clone());
        let (replay, on_record) = self.recorded(live).await?;
        let host = RunHost::new(Arc::clone(self), Arc::clone(live), run, context.clone(), replay, on_record);
        let brief = brief(&envelope, &session);
        let memory_bytes_max = live.with(Mission::memory_bytes_max);
        let seed = envelope.root().to_string();
        let run = Run { plugin, brief, seed, grants, host: host.clone(), kill, memory_bytes_max };
        let ending = self.guests.run(run).await;
        let ended = self.ended_as(live, ending, &host, &context).await;
        self.settle_workspace(&envelope.vp_id, &session).await;
        Ok(ended)
    }

    /// What is to be recorded of how a run ended; nothing, where whoever stopped it has.
    async fn ended_as(
        self: &Arc<Self>,
        live: &Arc<Live>,
        ending: sortie_sandbox::Ending,
        host: &RunHost,
        context: &CallContext,
    ) -> Option<(Ending, Vec<String>)> {
        match ending {
            sortie_sandbox::Ending::Returned(verdict) => match host.ended() {
                Ok(()) => {
                    let uncollected = match verdict {
                        Verdict::Done { .. } => self.collect(live, &context.workspace).await,
                        Verdict::Failed { .. } => Vec::new(),
                    };
                    Some((Ending::Returned(verdict), uncollected))
                }
                Err(diverged) => Some((Ending::Crashed(diverged), Vec::new())),
            },
            sortie_sandbox::Ending::Crashed(crash) => Some((Ending::Crashed(crash), Vec::new())),
            sortie_sandbox::Ending::Killed => None,
        }
    }

    /// The workspace of a session, made where there is none.
    ///
    /// # Errors
    /// It cannot be opened.
    pub async fn workspace(&self, vp: &VpId, session: &SessionId) -> std::io::Result<Workspace> {
        let (workspaces, vp, session) = (Arc::clone(&self.workspaces), vp.clone(), session.clone());
        let opened = self.ambient.unblock(move || workspaces.open(&vp, &session)).await;
        opened.map_err(std::io::Error::other).flatten()
    }

    /// Records how the run ended and waits until that is on disk.
    async fn conclude(
        &self,
        live: &Arc<Live>,
        run: RunNo,
        ending: Ending,
        uncollected: Vec<String>,
    ) -> Result<(), RunError> {
        let ended = || Command::PluginEnded { run, ending: ending.clone(), uncollected: uncollected.clone() };
        match self.command_patiently(live, ended, Wait::Durable).await {
            Ok(taken) => {
                if let Some(receipt) = taken.receipt {
                    receipt.await?;
                }
                Ok(())
            }
            // Cancelled or timed out in the same moment.
            Err(CommandError::Refused(_)) => Ok(self.durable().await?),
            Err(error) => Err(error.into()),
        }
    }

    /// Asks people at once about calls that may have happened, and that the end of a window cut off: who is there by day can answer by
    /// day. Where this fails, the next run asks. What resolves once the questions are on disk: nobody lets go of the mission before.
    pub(crate) fn ask_about_broken_off(&self, live: &Live) -> Option<Receipt> {
        if !live.with(Mission::has_broken_off) {
            return None;
        }
        let toolbox = self.toolbox();
        let asked = self.command(live, Command::Doubt(toolbox.infos()), Wait::Durable).inspect_err(|error| {
            tracing::debug!(no = %live.no, error = error as &dyn std::error::Error, "not asked now");
        });
        asked.ok()?.receipt
    }

    /// Sends a command to a mission and counts what comes of it.
    pub(crate) fn command(
        &self,
        live: &Live,
        command: Command<'_>,
        wait: Wait,
    ) -> Result<super::live::Taken, CommandError> {
        let taken = live.command(self, command, wait)?;
        self.measured.started(live, &taken.records);
        let turns = |stamped: &Stamped| {
            matches!(
                stamped.record,
                Record::Started { .. }
                    | Record::Suspended { .. }
                    | Record::CarriedOver { .. }
                    | Record::Finished { .. }
            )
        };
        if taken.records.iter().any(turns) {
            self.timer.keep_out_since(live.no, live.sleeps_since());
        }
        if taken.status.is_final() && !taken.records.is_empty() {
            self.ended(live, taken.status);
        } else if taken.turned || taken.records.iter().any(|stamped| rings(&stamped.record)) {
            self.watch(live);
        }
        Ok(taken)
    }

    /// The same, waiting while the journal has no room: for what has happened and must be recorded.
    pub(crate) async fn command_patiently<'a>(
        &self,
        live: &Live,
        command: impl Fn() -> Command<'a>,
        wait: Wait,
    ) -> Result<super::live::Taken, CommandError> {
        loop {
            match self.command(live, command(), wait) {
                Err(CommandError::Journal(sortie_journal::WriteError::Overloaded)) => {
                    self.ambient.sleep(ROOM).await;
                }
                other => return other,
            }
        }
    }

    /// Waits until all that was recorded so far is on disk, where something will be felt outside.
    pub(crate) async fn settled(&self, is_felt: bool) -> Result<(), sortie_journal::WriteError> {
        if is_felt { self.durable().await } else { Ok(()) }
    }

    /// Waits until all that was recorded so far is on disk.
    pub(crate) async fn durable(&self) -> Result<(), sortie_journal::WriteError> {
        loop {
            match self.log.barrier() {
                Err(sortie_journal::WriteError::Overloaded) => self.ambient.sleep(ROOM).await,
                Err(error) => return Err(error),
                Ok(receipt) => return receipt.await.map(drop),
            }
        }
    }

    fn ended(&self, live: &Live, status: Status) {
        // It may be waiting for its next turn, or for a time.
        self.desk.remove(live.no);
        self.artifacts.is_over(live.no);
        if let Ok(Some((store, place))) = self.artifacts_of_live(live).place() {
            store.is_over(place);
        }
        self.watch(live);
        let index = Status::ALL.iter().position(|&other| other == status).expect("all are listed");
        self.counters.ended[index].fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        live.with(|mission| {
            tracing::info!(
                mission_id = %mission.envelope().mission_id,
                trace_id = %mission.envelope().trace_id,
                sequence = mission.sequence(),
                %status,
                reason = mission.reason().map(tracing::field::display),
                "ended"
            );
        });
    }
}

/// Whether a record brings something that is due at its time while the plugin goes on: people are reminded, and do not have for ever; a
/// call that was put off is made; a limit comes near. What is due by the run clock is looked at whenever that clock turns.
fn rings(record: &Record) -> bool {
    matches!(
        record,
        Record::Requested { .. }
            | Record::Elicited { .. }
            | Record::Postponed { .. }
            | Record::PaymentAwaited { .. }
            | Record::Answered { question: HostQuestion::Closing, .. }
    )
}
