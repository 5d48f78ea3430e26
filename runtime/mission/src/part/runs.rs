//! Where a mission stands, the runs of its plugin, and what every one of them is handed.
//!
//! Owned here: the phase, the number of the run (its fencing token), the suspension, the crashes in a row. Never here: when a run
//! begins, leaves memory, or is given up.

use alloc::string::String;
use alloc::vec::Vec;

use jiff::Timestamp;
use sortie_contract::id::RunNo;
use sortie_contract::outcome::{Reason, Status};
use sortie_contract::tool::ToolName;

use crate::cadence;
use crate::command::Now;
use crate::crashes::Crashes;

/// The runs of a mission.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Runs {
    pub(crate) phase: Phase,
    /// Runs begun so far.
    pub(crate) begun: u32,
    /// Those that came before the latest.
    pub(crate) crashed: Crashes,
    /// When the first began.
    pub(crate) started_at: Option<Timestamp>,
    /// What its plugin is handed. `None` before its first start, and in journals of records before version 3.
    pub(crate) granted: Option<Granted>,
    /// Whether the next record is one that a fork has of another mission: of its runs, as it were.
    pub(crate) inherits: bool,
}

/// Where a mission stands, and what is known of it only there.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Phase {
    /// Waits for its first turn.
    Queued,
    /// It has begun. Its plugin runs, or waits out of memory.
    Active(Active),
    /// It is over.
    Ended(End),
}

/// A mission that has begun and is not over.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Active {
    /// The number of the latest run: the fencing token.
    pub(crate) run: RunNo,
    /// Whether that run went on where the one before had been suspended.
    pub(crate) went_on: bool,
    /// Whether no other plugin has been in memory with it, and nothing new is on record since.
    pub(crate) alone: bool,
    /// Whether its node stopped in good order: that it broke off is no crash.
    stopped: bool,
    /// While the plugin is out of memory.
    pub(crate) suspended: Option<Suspension>,
    /// The run time at which the next heartbeat is due; `None` where the cadence has none.
    pub(crate) heartbeat_due_ms: Option<u64>,
}

impl Active {
    /// Whether its run goes on with its node, and breaks off with it.
    pub(crate) fn is_in_memory(&self) -> bool {
        self.suspended.is_none() && !self.stopped
    }
}

/// A plugin that is out of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Suspension {
    /// When it wants to go on by itself.
    pub(crate) until: Option<Timestamp>,
    /// The same by its run time, which goes on while it sleeps: a wall clock that is set back makes no sleep longer.
    pub(crate) until_ran_ms: Option<u64>,
    /// The same by the time that it is out of memory: run time stands still while people are waited for.
    pub(crate) until_out_ms: Option<u64>,
    /// Whether something that it waited for has been decided since.
    pub(crate) woken: bool,
}

impl Suspension {
    /// Whether what it waits for has come: it wants a turn, and nothing else.
    pub(crate) fn is_over(self, now: Now) -> bool {
        self.woken
            || self.until.is_some_and(|until| until <= now.wall)
            || self.until_ran_ms.is_some_and(|until| until <= now.ran_ms)
            || self.until_out_ms.zip(now.out_ms).is_some_and(|(until, out)| until <= out)
    }
}

/// What its plugin is handed by every run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) tools: Vec<ToolName>,
    /// `None` in journals of records before version 4.
    pub(crate) memory_bytes_max: Option<u64>,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct End {
    /// A final one.
    pub(crate) status: Status,
    pub(crate) reason: Reason,
    pub(crate) summary: String,
    pub(crate) next_action: String,
    pub(crate) at: Timestamp,
}

/// Something that happens to the runs.
#[derive(Debug, Clone)]
pub(crate) enum RunStep {
    /// One begins; whatever run there was before is over. With the heartbeats' interval, where the cadence has them.
    Started { run: RunNo, alone: bool, at: Timestamp, ran_ms: u64, interval_ms: Option<u64> },
    /// Others run beside it.
    Accompanied,
    /// Its node stops in good order.
    NodeStopped,
    /// What it is handed is decided.
    Granted(Granted),
    /// A sign of life is due.
    Heartbeat { ran_ms: u64, interval_ms: Option<u64> },
    /// It goes out of memory.
    Suspended { at: Timestamp, ran_ms: u64, until: Option<Timestamp> },
    /// It is carried over into a further window; people are asked something, or not.
    CarriedOver { asks: bool },
    /// It is to begin again, from the beginning (records of version 1).
    Interrupted,
    /// It is over.
    Finished(End),
}

/// Why something cannot have happened to the runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RunMisfit {
    /// Nothing but a start, or the end, comes first.
    #[error("it has not begun")]
    NotBegun,
    /// A final status never changes.
    #[error("nothing follows the end")]
    Over,
    /// Another number was due.
    #[error("runs are numbered 1, 2, 3 …: {run} is not the next")]
    Numbering {
        /// The one that came.
        run: RunNo,
    },
    /// A mission ends completed, failed, cancelled or timed out.
    #[error("`{status}` is no end")]
    NotFinal {
        /// The status that came.
        status: Status,
    },
    /// Its cadence has none.
    #[error("its cadence has no heartbeats")]
    NoHeartbeats,
    /// It is out of memory already.
    #[error("it is suspended already")]
    SuspendedTwice,
    /// What it is handed holds for all its runs.
    #[error("tools are handed out once")]
    GrantedTwice,
}

impl Runs {
    /// A mission that waits for its first turn.
    pub(crate) fn new() -> Self {
        Self {
            phase: Phase::Queued,
            begun: 0,
            crashed: Crashes::default(),
            started_at: None,
            granted: None,
            inherits: false,
        }
    }

    /// Takes up what happens to the runs.
    ///
    /// # Errors
    /// [`RunMisfit`]; nothing has changed then.
    pub(crate) fn apply(&mut self, step: RunStep) -> Result<(), RunMisfit> {
        match (&mut self.phase, step) {
            (Phase::Ended(_), _) => return Err(RunMisfit::Over),
            (_, RunStep::Started { run, alone, at, ran_ms, interval_ms }) => {
                if run.0 != self.begun + 1 {
                    return Err(RunMisfit::Numbering { run });
                }
                self.start(run, alone, at, interval_ms.map(|interval| ran_ms.saturating_add(interval)));
            }
            (_, RunStep::Finished(end)) => {
                if !end.status.is_final() {
                    return Err(RunMisfit::NotFinal { status: end.status });
                }
                self.phase = Phase::Ended(end);
            }
            // One that has not begun waits on.
            (Phase::Queued, RunStep::CarriedOver { .. }) => {}
            (Phase::Queued, RunStep::Granted(granted)) if self.inherits => self.grant(granted)?,
            (Phase::Queued, _) => return Err(RunMisfit::NotBegun),
            (Phase::Active(active), RunStep::CarriedOver { asks }) => match &mut active.suspended {
                // It wants nothing but its next turn, which comes with the window: a run that there was breaks off, and one that
                // slept would take run time while it is closed.
                Some(suspension) => suspension.woken |= !asks,
                none => *none = Some(Suspension { until: None, until_ran_ms: None, until_out_ms: None, woken: true }),
            },
            (Phase::Active(active), RunStep::Accompanied) => {
                active.alone = false;
                self.crashed.outlived = self.crashed.outlived.saturating_add(1);
            }
            (Phase::Active(active), RunStep::NodeStopped) => active.stopped = true,
            (Phase::Active(_), RunStep::Granted(granted)) => self.grant(granted)?,
            (Phase::Active(active), RunStep::Heartbeat { ran_ms, interval_ms }) => {
                let due = active.heartbeat_due_ms.zip(interval_ms);
                let (due, interval) = due.ok_or(RunMisfit::NoHeartbeats)?;
                active.heartbeat_due_ms = Some(cadence::next_heartbeat_ms(due, ran_ms, interval));
            }
            (Phase::Active(active), RunStep::Suspended { at, ran_ms, until }) => {
                if active.suspended.is_some() {
                    return Err(RunMisfit::SuspendedTwice);
                }
                let until_out_ms = until.map(|until| ms_until(at, until));
                let until_ran_ms = until_out_ms.map(|ms| ran_ms.saturating_add(ms));
                active.suspended = Some(Suspension { until, until_ran_ms, until_out_ms, woken: false });
            }
            (Phase::Active(_), RunStep::Interrupted) => self.phase = Phase::Queued,
        }
        Ok(())
    }

    fn grant(&mut self, granted: Granted) -> Result<(), RunMisfit> {
        if self.granted.is_some() {
            return Err(RunMisfit::GrantedTwice);
        }
        self.granted = Some(granted);
        Ok(())
    }

    fn start(&mut self, run: RunNo, alone: bool, at: Timestamp, first_heartbeat_ms: Option<u64>) {
        self.crashed = self.crashes();
        match &mut self.phase {
            Phase::Active(active) => {
                active.went_on = active.suspended.is_some();
                active.run = run;
                (active.alone, active.stopped) = (alone, false);
                active.suspended = None;
                active.heartbeat_due_ms = active.heartbeat_due_ms.or(first_heartbeat_ms);
            }
            Phase::Queued | Phase::Ended(_) => {
                let heartbeat_due_ms = first_heartbeat_ms;
                let (went_on, stopped) = (false, false);
                self.phase = Phase::Active(Active { run, went_on, alone, stopped, suspended: None, heartbeat_due_ms });
            }
        }
        self.begun = run.0;
        self.started_at.get_or_insert(at);
    }

    /// Something that a suspended run waited for has come.
    pub(crate) fn wake(&mut self) {
        if let Phase::Active(Active { suspended: Some(suspension), .. }) = &mut self.phase {
            suspension.woken = true;
        }
    }

    /// The mission has come forward: whatever stopped its runs before, this one got further.
    pub(crate) fn came_forward(&mut self) {
        self.crashed = Crashes::default();
        if let Phase::Active(active) = &mut self.phase {
            active.alone = false;
        }
    }

    /// What there is to say of crashes, were the next run to begin now: a run that is in memory has broken off then.
    pub(crate) fn crashes(&self) -> Crashes {
        match &self.phase {
            Phase::Active(active) if active.is_in_memory() => self.crashed.and_one(active.alone),
            _ => self.crashed,
        }
    }

    /// That something may happen now that may happen until the end.
    pub(crate) fn not_over(&self) -> Result<(), RunMisfit> {
        if self.ended().is_some() { Err(RunMisfit::Over) } else { Ok(()) }
    }

    /// That something may be on record now that only happens to a mission that has begun: or to one that has the beginning of another.
    pub(crate) fn takes(&self) -> Result<(), RunMisfit> {
        if self.inherits { Ok(()) } else { self.going().map(drop) }
    }

    /// That something may happen now that only happens to a mission that has begun.
    pub(crate) fn going(&self) -> Result<&Active, RunMisfit> {
        match &self.phase {
            Phase::Queued => Err(RunMisfit::NotBegun),
            Phase::Active(active) => Ok(active),
            Phase::Ended(_) => Err(RunMisfit::Over),
        }
    }

    pub(crate) fn suspension(&self) -> Option<Suspension> {
        self.going().ok().and_then(|active| active.suspended)
    }

    pub(crate) fn ended(&self) -> Option<&End> {
        match &self.phase {
            Phase::Ended(end) => Some(end),
            Phase::Queued | Phase::Active(_) => None,
        }
    }
}

/// From `at` to `until`, in milliseconds and no less than that; 0 where it is over.
fn ms_until(at: Timestamp, until: Timestamp) -> u64 {
    u64::try_from(until.duration_since(at).as_millis()).map_or(0, |whole| whole + 1)
}
