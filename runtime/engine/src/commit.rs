//! The way of a mission's records to the log, and what goes by them: whoever appends counts here what has changed with it.
//!
//! Owned here: how many missions wait out of memory, which stand how or are held by providers, and what calls did cost. Never here: what is recorded
//! (the core), and in which order (the lock of each mission in memory).

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use sortie_contract::{MissionNo, Status};
use sortie_journal::{Append, Log, Receipt, WriteError};

use super::children::Children;
use super::live::Wait;
use super::put_off::PutOff;
use super::schedules::Runs;
use super::spending::Spending;
use super::standings::Standings;
use super::wider::WiderBooks;

/// See the module.
pub(crate) struct Commit {
    log: Arc<dyn Log>,
    suspended: AtomicUsize,
    standings: Standings,
    spending: Spending,
    wider: WiderBooks,
    /// The missions of schedules, whose ends are waited for.
    runs: Arc<Runs>,
    put_off: PutOff,
    children: Children,
}

/// How a mission stands for those who count: its status, and whether it waits out of memory.
pub(crate) type Stand = (Status, bool);

impl Commit {
    /// To a log in which so many missions wait out of memory, and the missions stand so.
    pub(crate) fn new(
        log: Arc<dyn Log>,
        suspended: usize,
        standings: Standings,
        runs: Arc<Runs>,
        wider: WiderBooks,
    ) -> Self {
        Self {
            log,
            suspended: AtomicUsize::new(suspended),
            standings,
            spending: Spending::default(),
            wider,
            runs,
            put_off: PutOff::default(),
            children: Children::default(),
        }
    }

    /// The log's hand.
    pub(crate) fn log(&self) -> &dyn Log {
        &*self.log
    }

    /// Hands an append over.
    pub(crate) fn append(&self, append: Append, wait: Wait) -> Result<Option<Receipt>, WriteError> {
        match wait {
            Wait::Durable => self.log.append_durable(append).map(Some),
            Wait::No => self.log.append(append).map(|()| None),
        }
    }

    /// A mission stands otherwise than before; a new one stood nowhere.
    pub(crate) fn moved(&self, no: MissionNo, before: Option<Stand>, after: Stand) {
        match (before.is_some_and(|(_, suspended)| suspended), after.1) {
            (false, true) => drop(self.suspended.fetch_add(1, Relaxed)),
            (true, false) => drop(self.suspended.fetch_sub(1, Relaxed)),
            _ => {}
        }
        self.standings.moved(no, before.map(|(status, _)| status), after.0);
        if after.0.is_final() {
            self.runs.end(no, after.0);
            self.put_off.forget(no);
            self.children.end(no);
        }
    }

    /// How many missions wait out of memory.
    pub(crate) fn suspended(&self) -> usize {
        self.suspended.load(Relaxed)
    }

    /// Which missions stand how.
    pub(crate) fn standings(&self) -> &Standings {
        &self.standings
    }

    /// Which missions are held by providers, or for their payment.
    pub(crate) fn put_off(&self) -> &PutOff {
        &self.put_off
    }

    /// Which missions wait for which.
    pub(crate) fn children(&self) -> &Children {
        &self.children
    }

    /// The budgets that are wider than one mission.
    pub(crate) fn wider(&self) -> &WiderBooks {
        &self.wider
    }

    /// What calls did cost.
    pub(crate) fn spending(&self) -> &Spending {
        &self.spending
    }
}
