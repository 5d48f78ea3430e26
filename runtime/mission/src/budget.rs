//! What a mission may still spend: reserved before a call, settled after it.
//!
//! A reservation is the most that its call can cost, so spent plus reserved never passes the limit, not even with calls in
//! parallel. A call that nevertheless turns out dearer is booked at what it did cost: the books tell the truth, and nothing
//! that costs is granted after it (`spend.rs`).
//!
//! A ledger knows no mission and no limit: whoever asks brings the limits, and what moves in it are [`Booking`]s, which name the tool.
//! A budget that is wider than one mission is another ledger that takes up the same ones.

use alloc::format;
use alloc::string::String;
use core::fmt;

use jiff::Timestamp;
use sortie_contract::envelope::{Budget, EffectiveBudget};
use sortie_contract::money::{MicroUsd, Spend};
use sortie_contract::tool::{MISSION, ToolName};

use crate::admission::Ceilings;

/// What a record moves in the books: what is set aside for a call, what of that is let go, and what the call has cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Booking {
    /// Whose call it is.
    pub tool: ToolName,
    /// Set aside, from now on.
    pub set_aside: Spend,
    /// No longer set aside.
    pub let_go: Spend,
    /// Spent, for good.
    pub spent: Spend,
    /// When that was set aside which is let go.
    pub since: Timestamp,
}

impl Booking {
    /// It is made: what it may cost is set aside.
    pub(crate) fn reserve(tool: &ToolName, set_aside: Spend) -> Self {
        let (tool, since) = (tool.clone(), Timestamp::MAX);
        Self { tool, set_aside, let_go: Spend::NOTHING, spent: Spend::NOTHING, since }
    }

    /// It is over: what was set aside becomes what it did cost.
    pub(crate) fn settle(tool: &ToolName, since: Timestamp, let_go: Spend, spent: Spend) -> Self {
        Self { tool: tool.clone(), set_aside: Spend::NOTHING, let_go, spent, since }
    }

    /// Whether it is a child's share: what that does spend is booked by the child as well, and in wider budgets by the
    /// child alone.
    pub(crate) fn is_share(&self) -> bool {
        self.tool.as_str() == MISSION
    }

    /// Whether nothing moves.
    pub(crate) fn is_nothing(&self) -> bool {
        self.set_aside.is_nothing() && self.let_go.is_nothing() && self.spent.is_nothing()
    }
}

/// The books of one budget.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Ledger {
    /// What calls that ended have cost.
    spent: Spend,
    /// What calls in flight may cost: the sum of their reservations.
    reserved: Spend,
}

/// How much a budget is; without a limit where there is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Calls of models.
    pub llm_calls: Option<u64>,
    /// Money.
    pub cost: Option<MicroUsd>,
}

impl From<&EffectiveBudget> for Limits {
    fn from(budget: &EffectiveBudget) -> Self {
        Self { llm_calls: budget.llm_calls_max, cost: budget.cost_max }
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.cost, self.llm_calls) {
            (Some(cost), Some(calls)) => write!(formatter, "{cost} and {calls} model calls"),
            (Some(cost), None) => write!(formatter, "{cost}"),
            (None, Some(calls)) => write!(formatter, "{calls} model calls"),
            (None, None) => formatter.write_str("without a limit"),
        }
    }
}

/// How a call stands to a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fit {
    /// It is covered.
    Now,
    /// It would be, but for what is set aside for calls that are being made: most of that comes back.
    SetAside(Short),
    /// What was spent is never given back.
    Never(Short),
}

/// Which limit a call would pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Short {
    /// That of model calls.
    Calls { max: u64, booked: u64 },
    /// That of money.
    Cost { wanted: MicroUsd, max: MicroUsd, booked: MicroUsd },
}

impl fmt::Display for Short {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Calls { max, booked } => write!(formatter, "of {max} calls of models {booked} are used"),
            Self::Cost { wanted, max, booked } => {
                write!(formatter, "the call may cost {wanted}, and {booked} of {max} are spent or set aside")
            }
        }
    }
}

impl Short {
    /// Of a mission's own budget, in words.
    pub(crate) fn of_mission(self) -> String {
        match self {
            Self::Calls { max, booked } => {
                format!("the mission may call language models {max} times; {booked} are used")
            }
            Self::Cost { wanted, max, booked } => {
                format!("the call may cost {wanted}; {booked} of the mission's {max} are spent or set aside")
            }
        }
    }
}

impl Short {
    /// Of what a mission has left for a child, in words.
    pub(crate) fn of_share(self) -> String {
        match self {
            Self::Calls { max, booked } => format!(
                "/budget/max_llm_calls: the share goes beyond what is left: of the mission's {max} calls of models {booked} are used or \
                 set aside"
            ),
            Self::Cost { wanted, max, booked } => format!(
                "/budget/max_cost_usd: the share of {wanted} goes beyond what is left: of the mission's {max}, {booked} are spent or \
                 set aside"
            ),
        }
    }
}

impl Ledger {
    /// What was used so far, without what is only reserved.
    pub(crate) fn spent(&self) -> Spend {
        self.spent
    }

    /// What is set aside for calls in flight.
    pub(crate) fn reserved(&self) -> Spend {
        self.reserved
    }

    /// How a call that may cost `wanted` stands to `limits`. What costs nothing always fits.
    pub(crate) fn fit(&self, limits: Limits, wanted: Spend) -> Fit {
        match (self.short(limits, wanted), Self { reserved: Spend::NOTHING, ..*self }.short(limits, wanted)) {
            (None, _) => Fit::Now,
            (Some(short), None) => Fit::SetAside(short),
            (_, Some(short)) => Fit::Never(short),
        }
    }

    /// Which limit `wanted` passes, beside what was spent and reserved.
    fn short(&self, limits: Limits, wanted: Spend) -> Option<Short> {
        let booked = self.spent.saturating_add(self.reserved);
        if let Some(max) = limits.llm_calls
            && wanted.llm_calls > max.saturating_sub(booked.llm_calls)
        {
            return Some(Short::Calls { max, booked: booked.llm_calls });
        }
        let max = limits.cost.filter(|max| wanted.cost > max.saturating_sub(booked.cost))?;
        Some(Short::Cost { wanted: wanted.cost, max, booked: booked.cost })
    }

    /// The books as they were left: what was spent, and what is set aside.
    pub(crate) fn recall(&mut self, spent: Spend, reserved: Spend) {
        self.spent = self.spent.saturating_add(spent);
        self.reserved = self.reserved.saturating_add(reserved);
    }

    /// Takes a booking up. Folding takes what was decided; deciding asks [`Ledger::fit`] first.
    pub(crate) fn book(&mut self, booking: &Booking) {
        self.reserved = self.reserved.saturating_sub(booking.let_go).saturating_add(booking.set_aside);
        self.spent = self.spent.saturating_add(booking.spent);
    }
}

/// The mission's limits, lowered to the node's ceilings.
pub(crate) fn effective(budget: &Budget, ceilings: &Ceilings) -> EffectiveBudget {
    fn lower<T: Ord>(own: Option<T>, ceiling: Option<T>) -> Option<T> {
        match (own, ceiling) {
            (Some(own), Some(ceiling)) => Some(own.min(ceiling)),
            (own, ceiling) => own.or(ceiling),
        }
    }
    EffectiveBudget {
        runtime_ms_max: budget.runtime_ms_max.map_or(ceilings.runtime_ms, |own| own.min(ceilings.runtime_ms)),
        llm_calls_max: lower(budget.llm_calls_max, ceilings.llm_calls),
        cost_max: lower(budget.cost_max, ceilings.cost),
    }
}

/// The same, where a share of somebody else's is all that there is: what that does not name is nothing.
pub(crate) fn within(limits: EffectiveBudget, share: Option<Spend>) -> EffectiveBudget {
    let Some(share) = share else { return limits };
    EffectiveBudget {
        runtime_ms_max: limits.runtime_ms_max,
        llm_calls_max: Some(limits.llm_calls_max.map_or(share.llm_calls, |max| max.min(share.llm_calls))),
        cost_max: Some(limits.cost_max.map_or(share.cost, |max| max.min(share.cost))),
    }
}

/// The limits after somebody granted more. What has no limit needs none.
pub(crate) fn raised(limits: &EffectiveBudget, llm_calls: u64, cost: MicroUsd) -> EffectiveBudget {
    EffectiveBudget {
        runtime_ms_max: limits.runtime_ms_max,
        llm_calls_max: limits.llm_calls_max.map(|max| max.saturating_add(llm_calls)),
        cost_max: limits.cost_max.map(|max| max.saturating_add(cost)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(llm_calls: Option<u64>, cost: Option<u64>) -> Limits {
        Limits { llm_calls, cost: cost.map(MicroUsd) }
    }

    fn covers(ledger: &Ledger, limits: Limits, wanted: Spend) -> bool {
        ledger.fit(limits, wanted) == Fit::Now
    }

    fn spend(llm_calls: u64, cost: u64) -> Spend {
        Spend { llm_calls, cost: MicroUsd(cost) }
    }

    fn reserve(ledger: &mut Ledger, wanted: Spend) {
        ledger.book(&Booking::reserve(&ToolName::new("X"), wanted));
    }

    fn settle(ledger: &mut Ledger, reserved: Spend, spent: Spend) {
        ledger.book(&Booking::settle(&ToolName::new("X"), Timestamp::UNIX_EPOCH, reserved, spent));
    }

    #[test]
    fn calls_in_parallel_share_what_is_left() {
        let mut ledger = Ledger::default();
        let limits = limits(Some(2), Some(10));
        reserve(&mut ledger, spend(1, 6));
        assert!(!covers(&ledger, limits, spend(1, 5)), "6 + 5 passes 10");
        assert!(covers(&ledger, limits, spend(1, 4)));
        reserve(&mut ledger, spend(1, 4));
        assert!(!covers(&ledger, limits, spend(1, 0)), "both calls are used");
        settle(&mut ledger, spend(1, 6), spend(1, 2));
        assert!(covers(&ledger, limits, spend(0, 4)), "what was reserved in vain is free again");
        assert_eq!((ledger.spent(), ledger.reserved()), (spend(1, 2), spend(1, 4)));
    }

    #[test]
    fn what_costs_nothing_always_fits() {
        let mut ledger = Ledger::default();
        reserve(&mut ledger, spend(0, 10));
        settle(&mut ledger, spend(0, 10), spend(0, 12));
        assert!(covers(&ledger, limits(None, Some(10)), spend(0, 0)));
        assert!(!covers(&ledger, limits(None, Some(10)), spend(0, 1)));
    }

    #[test]
    fn a_limit_is_lowered_to_the_ceiling_and_none_takes_the_ceilings_place() {
        let ceilings = Ceilings { runtime_ms: 100, llm_calls: Some(5), cost: None };
        let own = |runtime, calls, cost: Option<u64>| Budget {
            runtime_ms_max: runtime,
            llm_calls_max: calls,
            cost_max: cost.map(MicroUsd),
            missions_max: None,
        };
        for (budget, expected) in [
            (own(None, None, None), (100, Some(5), None)),
            (own(Some(50), Some(3), Some(9)), (50, Some(3), Some(9))),
            (own(Some(500), Some(30), Some(9)), (100, Some(5), Some(9))),
        ] {
            let got = effective(&budget, &ceilings);
            assert_eq!((got.runtime_ms_max, got.llm_calls_max, got.cost_max.map(|cost| cost.0)), expected);
        }
    }
}
