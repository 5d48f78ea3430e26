//! The parts of wider budgets that a node holds, where several share them out: what they cover, and what there is to say of each.
//!
//! Money and calls are a pool each, for each span of a budget; their names say whose, how long, and from which day on.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use jiff::Timestamp;
use jiff::civil::Date;
use sortie_contract::id::{InstanceId, LaneId, VpId};
use sortie_contract::money::{MicroUsd, Spend};

use super::{Payer, Purse, Purses, SharedOut};
use crate::budget::{self, Fit, Ledger, Limits};
use crate::pool::{Need, Offer, Others, Part};

/// Spans of a budget whose parts are in memory: this one, the last one, and what a clock that goes wrong adds.
const SPANS_MAX: usize = 8;

/// One such part of a budget a node would have beside what it needs, so that a call need not wait until others have answered.
const SPARE_PART: u64 = 16;

/// Or so many calls like the dearest one that it has set something aside for, where that is more.
const SPARE_CALLS: u64 = 2;

/// What a node holds of a budget, for one span of it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Parts {
    cost: Part,
    calls: Part,
    /// The most that was set aside for one call.
    dearest: Spend,
    /// People were told that it is nearly spent: what others spend is learnt at some time between two calls.
    is_told: bool,
}

/// The same, as it counts for a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    held: Spend,
    others_used: Spend,
}

/// Why a part does not cover a call.
pub(super) struct Short {
    /// Others may give some back, or have some left.
    pub(super) comes_back: bool,
    pub(super) why: String,
}

/// A call that waits for its payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bill {
    /// The lane of its mission.
    pub lane: LaneId,
    /// Who dispatched that.
    pub source: InstanceId,
    /// Who it is done as.
    pub vp: VpId,
    /// What it may cost.
    pub wanted: Spend,
    /// When it was made, by the clock of its node: that never changes while it waits.
    pub since: Timestamp,
}

/// Of which budget, for which span, and whether it is of its money or of its calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartOf {
    place: usize,
    from: Date,
    is_money: bool,
}

/// What there is to say of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartOffer {
    /// Which.
    pub of: PartOf,
    /// The pool that it is a part of.
    pub pool: String,
    /// How much all nodes have of that together.
    pub limit: u64,
    /// What there is to say.
    pub offer: Offer,
    /// Since when the oldest call has waited for it that what is held does not cover. Of all budgets that it is under that is the same: so
    /// the nodes that wait stand in one order everywhere, and the first gets all that it needs.
    pub since: Option<Timestamp>,
}

/// What waiting calls come to, for one budget.
#[derive(Debug, Clone, Copy, Default)]
struct Waits {
    /// What those want that are covered by what is held of each of their budgets.
    begins: Spend,
    /// What the others want.
    rest: Spend,
    /// The smallest of them.
    least: Option<Spend>,
    /// Since when the oldest of them has waited.
    since: Option<Timestamp>,
}

impl Purses {
    /// From now on budgets are shared out among nodes: this one holds nothing of any, until it is told that it does.
    pub fn share_out(&mut self) {
        self.all.iter_mut().for_each(|purse| purse.parts = Some(BTreeMap::new()));
    }

    /// What there is to say of each part now, while these calls wait for their payment: in the order in which they are made.
    pub fn offers(&mut self, now: Timestamp, bills: &[Bill]) -> Vec<PartOffer> {
        let day = self.day(now);
        let (waits, _) = self.waits(day, bills);
        let mut offers = Vec::new();
        for (place, (purse, waits)) in self.all.iter_mut().zip(waits).enumerate() {
            let (ledger, from) = (purse.in_span_of(day), purse.budget.per.span(day).0);
            let (limits, name) = (purse.budget.limits, purse.pool(from));
            let Some(parts) = purse.parts_from(from) else { continue };
            let (spent, taken, least) = (ledger.spent(), ledger.all(), waits.least.unwrap_or_default());
            let dearest = parts.dearest;
            let need = |of: fn(Spend) -> u64, limit: u64| Need {
                taken: of(taken),
                used: of(spent),
                begins: of(waits.begins),
                waits: of(waits.rest),
                least: of(least),
                spare: (limit / SPARE_PART).max(of(dearest).saturating_mul(SPARE_CALLS)),
            };
            if let Some(MicroUsd(limit)) = limits.cost {
                let offer = parts.cost.offer(need(|spend| spend.cost.0, limit));
                let of = PartOf { place, from, is_money: true };
                offers.push(PartOffer { of, pool: format!("{name}:usd"), limit, offer, since: waits.since });
            }
            if let Some(limit) = limits.llm_calls {
                let offer = parts.calls.offer(need(|spend| spend.llm_calls, limit));
                let of = PartOf { place, from, is_money: false };
                offers.push(PartOffer { of, pool: format!("{name}:calls"), limit, offer, since: waits.since });
            }
        }
        offers
    }

    /// What came of it.
    pub fn take(&mut self, of: PartOf, held: u64, others: Others) {
        if let Some(parts) = self.all.get_mut(of.place).and_then(|purse| purse.parts_from(of.from)) {
            let part = if of.is_money { &mut parts.cost } else { &mut parts.calls };
            part.take(held, others);
        }
    }

    /// Which of these waiting calls are covered by what is held of each of their budgets: places in the list.
    #[must_use]
    pub fn covered(&self, now: Timestamp, bills: &[Bill]) -> Vec<usize> {
        self.waits(self.day(now), bills).1
    }

    /// Whether a pool is of one of these budgets, whatever the span.
    #[must_use]
    pub fn has_pool(&self, name: &str) -> bool {
        let is_of = |purse: &Purse| {
            let Limits { llm_calls, cost } = purse.budget.limits;
            let has_kind =
                (cost.is_some() && name.ends_with(":usd")) || (llm_calls.is_some() && name.ends_with(":calls"));
            has_kind && name.starts_with(&purse.pools())
        };
        self.all.iter().any(is_of)
    }

    /// What the waiting calls want of each budget, and which of them are covered.
    fn waits(&self, day: Date, bills: &[Bill]) -> (Vec<Waits>, Vec<usize>) {
        let mut waits: Vec<Waits> = self.all.iter().map(|_| Waits::default()).collect();
        let mut covered = Vec::new();
        let stand = |purse: &Purse| (purse.in_span_of(day), purse.parts_on(day).unwrap_or_default().held());
        let stands: Vec<(Ledger, Held)> = self.all.iter().map(stand).collect();
        let limits = |place: usize| self.all[place].budget.limits;
        for (bill, Bill { lane, source, vp, wanted, since }) in bills.iter().enumerate() {
            let payer = Payer { lane, source, vp };
            let of_it: Vec<usize> =
                (0..self.all.len()).filter(|place| payer.is_of(&self.all[*place].budget.scope)).collect();
            let is_hopeless = |place: &usize| {
                let (ledger, held) = &stands[*place];
                ledger.is_hopeless(limits(*place), held.others_used, *wanted)
            };
            // What one of its budgets never covers in this span takes nothing of the others.
            if of_it.iter().any(is_hopeless) {
                continue;
            }
            let is_covered = |place: &usize| {
                let (mut ledger, held) = stands[*place];
                ledger.recall(Spend::NOTHING, waits[*place].begins);
                ledger.fit(held.limits(limits(*place)), *wanted) == Fit::Now
            };
            let begins = of_it.iter().all(is_covered);
            covered.extend(begins.then_some(bill));
            of_it.iter().for_each(|place| waits[*place].add(*wanted, *since, begins));
        }
        (waits, covered)
    }
}

impl Waits {
    fn add(&mut self, wanted: Spend, since: Timestamp, begins: bool) {
        if begins {
            self.begins = self.begins.saturating_add(wanted);
            return;
        }
        self.rest = self.rest.saturating_add(wanted);
        self.since = Some(self.since.map_or(since, |oldest| oldest.min(since)));
        let least = self.least.unwrap_or(wanted);
        let (llm_calls, cost) = (least.llm_calls.min(wanted.llm_calls), least.cost.min(wanted.cost));
        self.least = Some(Spend { llm_calls, cost });
    }
}

impl Purse {
    /// What the names of all its pools begin with.
    fn pools(&self) -> String {
        format!("budget:{}:{}:", self.budget.scope, self.budget.per.as_str())
    }

    /// The name of its pools for the span that begins on that day, but for what they are of.
    fn pool(&self, from: Date) -> String {
        format!("{}{from}", self.pools())
    }

    /// What is held for the span that `day` is in.
    pub(super) fn parts_on(&self, day: Date) -> Option<Parts> {
        let parts = self.parts.as_ref()?;
        Some(parts.get(&self.budget.per.span(day).0).copied().unwrap_or_default())
    }

    /// What is spent of the span that `day` is in, by others, too, as far as that is known.
    pub(super) fn spent_by_all(&self, day: Date) -> Spend {
        let others = self.parts_on(day).map_or(Spend::NOTHING, |parts| parts.held().others_used);
        self.in_span_of(day).spent().saturating_add(others)
    }

    /// Whether people know of that span that it is nearly spent.
    pub(super) fn was_told(&self, day: Date) -> bool {
        self.parts_on(day).map_or_else(|| self.is_nearly_spent(day), |parts| parts.is_told)
    }

    /// They are told.
    pub(super) fn tells(&mut self, day: Date) {
        let from = self.budget.per.span(day).0;
        if let Some(parts) = self.parts_from(from) {
            parts.is_told = true;
        }
    }

    fn parts_from(&mut self, from: Date) -> Option<&mut Parts> {
        let parts = self.parts.as_mut()?;
        if parts.len() >= SPANS_MAX && !parts.contains_key(&from) {
            parts.pop_first();
        }
        Some(parts.entry(from).or_default())
    }

    /// That so much is set aside for a call.
    pub(super) fn sees(&mut self, day: Date, set_aside: Spend) {
        let from = self.budget.per.span(day).0;
        if let Some(Parts { dearest, .. }) = self.parts_from(from) {
            dearest.cost = dearest.cost.max(set_aside.cost);
            dearest.llm_calls = dearest.llm_calls.max(set_aside.llm_calls);
        }
    }
}

impl Parts {
    pub(super) fn held(&self) -> Held {
        let spend = |of: fn(&Part) -> u64| Spend { llm_calls: of(&self.calls), cost: MicroUsd(of(&self.cost)) };
        Held { held: spend(|part| part.held), others_used: spend(|part| part.others.used) }
    }

    pub(super) fn shared_out(&self) -> SharedOut {
        let Held { held, others_used: others_spent } = self.held();
        let others_hold = Spend { llm_calls: self.calls.others.hold, cost: MicroUsd(self.cost.others.hold) };
        SharedOut { held, others_hold, others_spent }
    }
}

impl Held {
    /// What is held of what has a limit.
    fn limits(&self, limits: Limits) -> Limits {
        let Spend { llm_calls, cost } = self.held;
        Limits { llm_calls: limits.llm_calls.map(|_| llm_calls), cost: limits.cost.map(|_| cost) }
    }

    /// Why it does not cover a call that the budget would, were it this node's alone.
    pub(super) fn short(&self, limits: Limits, ledger: &Ledger, wanted: Spend) -> Option<Short> {
        let (Fit::SetAside(short) | Fit::Never(short)) = ledger.fit(self.limits(limits), wanted) else { return None };
        let comes_back = !ledger.is_hopeless(limits, self.others_used, wanted);
        let asked = if comes_back { ", and are asked for the rest" } else { "" };
        // Its limit is what is held here; only that of which too little is held is told of.
        let why = match short {
            budget::Short::Calls { max: held, booked } => {
                let (all, others) = (limits.llm_calls.unwrap_or(held), self.others_used.llm_calls);
                let (calls, used) = (if all == 1 { "call" } else { "calls" }, count(others));
                format!(
                    "of {all} model {calls} other nodes of the store have used {used}{asked}; this node holds {}",
                    part(held, booked)
                )
            }
            budget::Short::Cost { wanted, max: held, booked } => {
                let (all, others) = (limits.cost.unwrap_or(held), self.others_used.cost);
                format!(
                    "of {all} other nodes of the store have spent {others}{asked}; this node holds {held}, {booked} of it spent or set \
                     aside, and the call may cost {wanted}"
                )
            }
        };
        Some(Short { comes_back, why })
    }
}

fn count(calls: u64) -> String {
    if calls == 0 { String::from("none") } else { format!("{calls}") }
}

/// So many calls, and what is left of them.
fn part(held: u64, booked: u64) -> String {
    match (held, booked) {
        (0, _) => count(0),
        (1, 1..) => String::from("1, which is used or set aside"),
        (2, 2..) => String::from("2, and both are used or set aside"),
        _ if booked >= held => format!("{held}, and all are used or set aside"),
        (_, 1) => format!("{held}, of which 1 is used or set aside"),
        _ => format!("{held}, of which {} are used or set aside", count(booked)),
    }
}

impl Ledger {
    /// What is spent and what is set aside.
    fn all(&self) -> Spend {
        self.spent().saturating_add(self.reserved())
    }

    /// Whether a call is never covered, because others have used so much of the budget that what is left is not enough.
    fn is_hopeless(&self, limits: Limits, others_used: Spend, wanted: Spend) -> bool {
        let mut used = Self::default();
        used.recall(self.spent().saturating_add(others_used), Spend::NOTHING);
        used.fit(limits, wanted) != Fit::Now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_little_is_told_of_once() {
        let calls = |llm_calls| Spend { llm_calls, cost: MicroUsd::ZERO };
        let of_calls = |max| Limits { llm_calls: Some(max), cost: None };
        let cost = |micro| Spend { llm_calls: 0, cost: MicroUsd(micro) };
        let of_cost = |max| Limits { llm_calls: None, cost: Some(MicroUsd(max)) };
        for (limits, held, others_used, spent, wanted, expected) in [
            (
                of_calls(3),
                calls(0),
                calls(3),
                calls(0),
                calls(1),
                Some((false, "of 3 model calls other nodes of the store have used 3; this node holds none")),
            ),
            (
                of_calls(3),
                calls(2),
                calls(0),
                calls(2),
                calls(1),
                Some((
                    true,
                    "of 3 model calls other nodes of the store have used none, and are asked for the rest; this node holds 2, and both \
                     are used or set aside",
                )),
            ),
            (
                of_cost(10),
                cost(6),
                cost(4),
                cost(4),
                cost(6),
                Some((
                    false,
                    "of $0.000010 other nodes of the store have spent $0.000004; this node holds $0.000006, $0.000004 of it spent or set \
                     aside, and the call may cost $0.000006",
                )),
            ),
            (of_cost(10), cost(6), cost(4), cost(4), cost(2), None),
        ] {
            let mut ledger = Ledger::default();
            ledger.recall(spent, Spend::NOTHING);
            let short = Held { held, others_used }.short(limits, &ledger, wanted);
            let said = short.as_ref().map(|short| (short.comes_back, short.why.as_str()));
            assert_eq!(said, expected);
        }
    }
}
