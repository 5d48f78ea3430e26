//! What the calls of this node have cost since it started, tool by tool: for the metrics. Budgets are the core's.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;
use sortie_contract::tool::ToolName;
use sortie_contract::{Record, Spend, Stamped, Timestamp};
use sortie_mission::Booking;

/// What was spent.
#[derive(Debug, Default)]
pub struct Spending {
    by_tool: Mutex<BTreeMap<ToolName, Spend>>,
    by_model: Mutex<BTreeMap<String, Spend>>,
    overbilled: AtomicU64,
}

impl Spending {
    /// Takes up what records have booked.
    pub(crate) fn book(&self, bookings: &[(Timestamp, Booking)]) {
        for (_, Booking { tool, spent, .. }) in bookings {
            self.spent(tool, *spent);
        }
    }

    /// Takes up what was recorded beside the books.
    pub(crate) fn count(&self, records: &[Stamped]) {
        let overbilled = records.iter().filter(|stamped| matches!(stamped.record, Record::Overbilled { .. }));
        self.overbilled.fetch_add(overbilled.count() as u64, Relaxed);
    }

    /// A call of a tool did cost so much.
    pub fn spent(&self, tool: &ToolName, spent: Spend) {
        if !spent.is_nothing() {
            let mut by_tool = self.by_tool.lock();
            let sum = by_tool.entry(tool.clone()).or_default();
            *sum = sum.saturating_add(spent);
        }
    }

    /// An answer of a model did cost so much.
    pub(crate) fn answered(&self, model: &str, spent: Spend) {
        let mut by_model = self.by_model.lock();
        let sum = by_model.entry(model.to_owned()).or_default();
        *sum = sum.saturating_add(spent);
    }

    /// By model, in the order of their names: what their answers have cost.
    #[must_use]
    pub fn by_model(&self) -> Vec<(String, Spend)> {
        self.by_model.lock().iter().map(|(model, spent)| (model.clone(), *spent)).collect()
    }

    /// By tool, in the order of their names.
    #[must_use]
    pub fn by_tool(&self) -> Vec<(ToolName, Spend)> {
        self.by_tool.lock().iter().map(|(tool, spent)| (tool.clone(), *spent)).collect()
    }

    /// How many calls did cost more than they were quoted at.
    #[must_use]
    pub fn overbilled(&self) -> u64 {
        self.overbilled.load(Relaxed)
    }
}
