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

use sortie_contract::envelope::{Budget, EffectiveBudget};
use sortie_contract::money::{MicroUsd, Spend};
use sortie_contract::tool::ToolName;

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
}

impl Booking {
    /// It is made: what it may cost is set aside.
    pub(crate) fn reserve(tool: &ToolName, set_aside: Spend) -> Self {
        Self { tool: tool.clone(), set_aside, let_go: Spend::NOTHING, spent: Spend::NOTHING }
    }

    /// It is over: what was set aside becomes what it did cost.
    pub(crate) fn settle(tool: &ToolName, let_go: Spend, spent: Spend) -> Self {
        Self { tool: tool.clone(), set_aside: Spend::NOTHING, let_go, spent }
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

/// Which limit a call would pass, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exhausted(pub(crate) String);

impl Ledger {
    /// What was used so far, without what is only reserved.
    pub(crate) fn spent(&self) -> Spend {
        self.spent
    }

    /// What is set aside for calls in flight.
    pub(crate) fn reserved(&self) -> Spend {
        self.reserved
    }

    /// Whether `wanted` fits beside what was spent and reserved. What costs nothing always fits.
    pub(crate) fn check(&self, limits: &EffectiveBudget, wanted: Spend) -> Result<(), Exhausted> {
        let booked = self.spent.saturating_add(self.reserved);
        if let Some(max) = limits.llm_calls_max
            && wanted.llm_calls > max.saturating_sub(booked.llm_calls)
        {
            return Err(Exhausted(format!(
                "the mission may call language models {max} times; {} are used",
                booked.llm_calls
            )));
        }
        if let Some(max) = limits.cost_max
            && wanted.cost > max.saturating_sub(booked.cost)
        {
            return Err(Exhausted(format!(
                "the call may cost {}; {} of the mission's {max} are spent or set aside",
                wanted.cost, booked.cost
            )));
        }
        Ok(())
    }

    /// Takes a booking up. Folding takes what was decided; deciding asks [`Ledger::check`] first.
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

    fn limits(llm_calls: Option<u64>, cost: Option<u64>) -> EffectiveBudget {
        EffectiveBudget { runtime_ms_max: 1, llm_calls_max: llm_calls, cost_max: cost.map(MicroUsd) }
    }

    fn spend(llm_calls: u64, cost: u64) -> Spend {
        Spend { llm_calls, cost: MicroUsd(cost) }
    }

    fn reserve(ledger: &mut Ledger, wanted: Spend) {
        ledger.book(&Booking::reserve(&ToolName::new("X"), wanted));
    }

    fn settle(ledger: &mut Ledger, reserved: Spend, spent: Spend) {
        ledger.book(&Booking::settle(&ToolName::new("X"), reserved, spent));
    }

    #[test]
    fn calls_in_parallel_share_what_is_left() {
        let mut ledger = Ledger::default();
        let limits = limits(Some(2), Some(10));
        reserve(&mut ledger, spend(1, 6));
        assert!(ledger.check(&limits, spend(1, 5)).is_err(), "6 + 5 passes 10");
        assert_eq!(ledger.check(&limits, spend(1, 4)), Ok(()));
        reserve(&mut ledger, spend(1, 4));
        assert!(ledger.check(&limits, spend(1, 0)).is_err(), "both calls are used");
        settle(&mut ledger, spend(1, 6), spend(1, 2));
        assert_eq!(ledger.check(&limits, spend(0, 4)), Ok(()), "what was reserved in vain is free again");
        assert_eq!((ledger.spent(), ledger.reserved()), (spend(1, 2), spend(1, 4)));
    }

    #[test]
    fn what_costs_nothing_always_fits() {
        let mut ledger = Ledger::default();
        reserve(&mut ledger, spend(0, 10));
        settle(&mut ledger, spend(0, 10), spend(0, 12));
        assert_eq!(ledger.check(&limits(None, Some(10)), spend(0, 0)), Ok(()));
        assert!(ledger.check(&limits(None, Some(10)), spend(0, 1)).is_err());
    }

    #[test]
    fn a_limit_is_lowered_to_the_ceiling_and_none_takes_the_ceilings_place() {
        let ceilings = Ceilings { runtime_ms: 100, llm_calls: Some(5), cost: None };
        let own = |runtime, calls, cost: Option<u64>| Budget {
            runtime_ms_max: runtime,
            llm_calls_max: calls,
            cost_max: cost.map(MicroUsd),
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
