//! What became of a mission in a night: between two moments.
//!
//! Owned here: what counts as done, as failed, as waiting, and what was spent in between. A mission is gone through record by record;
//! what happened before the night and after it does not count. Never here: when a night is, and how it is shown.

use jiff::Timestamp;
use sortie_contract::money::Spend;
use sortie_contract::outcome::Status;
use sortie_contract::record::Stamped;

use crate::state::Mission;

/// How a night left a mission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Left {
    /// It waits for people.
    Waiting,
    /// It failed, or its time ran out.
    Failed,
    /// It goes on in a further window.
    CarriedOver,
    /// It runs, or sleeps.
    Running,
    /// It waits for its turn.
    Queued,
    /// It is completed.
    Done,
    /// Somebody cancelled it.
    Cancelled,
}

impl Left {
    /// By its status at the end of the night, and whether it waits there for a further window.
    #[must_use]
    pub fn of(status: Status, waits_for_window: bool) -> Self {
        match status {
            Status::Blocked => Self::Waiting,
            Status::Failed | Status::TimedOut => Self::Failed,
            Status::Running | Status::Queued if waits_for_window => Self::CarriedOver,
            Status::Running => Self::Running,
            Status::Queued => Self::Queued,
            Status::Completed => Self::Done,
            Status::Cancelled => Self::Cancelled,
        }
    }

    /// The names of all of them.
    pub const NAMES: [&str; 7] = ["waiting", "failed", "carried_over", "running", "queued", "done", "cancelled"];

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Failed => "failed",
            Self::CarriedOver => "carried_over",
            Self::Running => "running",
            Self::Queued => "queued",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether somebody has to look at it.
    #[must_use]
    pub fn needs_people(self) -> bool {
        matches!(self, Self::Waiting | Self::Failed)
    }
}

/// A mission's part in a night.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// How it stood when the night was over.
    pub left: Left,
    /// What its calls cost in it.
    pub spent: Spend,
}

/// Goes through a mission for its part in a night.
#[derive(Debug, Clone, Copy)]
pub struct Night {
    from: Timestamp,
    until: Timestamp,
    before: Spend,
    spent: Spend,
    status: Option<Status>,
    /// It waits for a window, and for which.
    awaits: bool,
    opens: Option<Timestamp>,
}

impl Night {
    /// From one moment until before another.
    #[must_use]
    pub fn new(from: Timestamp, until: Timestamp) -> Self {
        let (before, spent) = (Spend::NOTHING, Spend::NOTHING);
        Self { from, until, before, spent, status: None, awaits: false, opens: None }
    }

    /// Takes a record up, which `mission` has just taken up. False where the night is over with it.
    pub fn take(&mut self, mission: &Mission, stamped: &Stamped) -> bool {
        if stamped.at >= self.until {
            return false;
        }
        if stamped.at < self.from {
            self.before = mission.spent();
        }
        self.spent = mission.spent();
        self.status = Some(mission.status()).filter(|status| !status.is_final() || stamped.at >= self.from);
        (self.awaits, self.opens) = (mission.awaits_window(), mission.window().start_at);
        true
    }

    /// What it comes to; nothing where it was over before, not there yet, or is of a later night.
    #[must_use]
    pub fn part(&self) -> Option<Part> {
        let status = self.status?;
        let is_later = !self.awaits && self.opens.is_some_and(|opens| opens >= self.until);
        if status == Status::Queued && is_later {
            return None;
        }
        let left = Left::of(status, self.awaits);
        Some(Part { left, spent: self.spent.saturating_sub(self.before) })
    }
}
