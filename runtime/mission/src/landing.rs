//! Landing: a mission that is cut at its limit strands its work. So a plugin that asks for it is told when one of its limits comes near
//! (95 % of it, unless the node says otherwise), and what is behind that mark is kept until the plugin says that it lands.
//!
//! - Shares are rounded down: a budget of three calls keeps none.
//! - What is kept is refused with `budget-exhausted`, and nobody is asked: the plugin can have it by one word, at night as well.
//! - So it is with a call that was put off, or broke off, when it would go on. Of one that people decide about they are asked for the budget,
//!   too.
//! - Nothing is kept from a plugin that never asks for the signal: it could do nothing with it.
//! - The signal is given once, for the first limit that comes near.
//! - The end of a window that the mission is carried over from is no limit, and no end of its work.

use alloc::vec::Vec;

use jiff::{SignedDuration, Timestamp};
use sortie_contract::envelope::EffectiveBudget;
use sortie_contract::money::{MicroUsd, Spend};
use sortie_contract::plugin::Left;
use sortie_contract::record::{Closing, HostQuestion, Record};
use sortie_contract::request::Decision;

use crate::budget::raised;
use crate::command::Now;
use crate::state::Mission;

/// A whole, in thousandths.
const WHOLE: u64 = 1_000;

impl Mission {
    /// What was decided, and the signal behind it where a limit comes near by that, or by the time.
    pub(crate) fn with_closing(&self, now: Now, mut records: Vec<Record>) -> Vec<Record> {
        let breaks_off = |record: &Record| {
            matches!(record, Record::Finished { .. } | Record::CarriedOver { .. } | Record::Closing { .. })
        };
        // Behind the end it is no use to anybody: what a node says of itself is recorded there, too.
        let is_over = || self.time_over(now).is_some();
        if self.is_closing() || self.windows.is_awaited() || records.iter().any(breaks_off) {
            return records;
        }
        let Some(share) = self.landing.expected().or_else(|| records.iter().find_map(asked)) else { return records };
        // As it will stand: what was spent with these records, of what they grant.
        let (mut ledger, mut budget) = (*self.books.ledger(), self.budget);
        for record in &records {
            self.bookings(record).iter().for_each(|booking| ledger.book(booking));
            if let Record::Decided { decision: Decision::Grant { llm_calls, cost }, .. } = record {
                budget = raised(&budget, *llm_calls, *cost);
            }
        }
        let near = self.near(now, share, ledger.spent(), &budget).filter(|_| !is_over());
        records.extend(near.map(|limit| Record::Closing { limit }));
        records
    }

    /// The first limit that comes near. Of calls and money that is what was spent: what is set aside is the most that calls can cost, and most
    /// of it comes back. A call that would take of what is kept says so when it is refused.
    fn near(&self, now: Now, share: u16, spent: Spend, budget: &EffectiveBudget) -> Option<Closing> {
        let kept = kept(budget, share);
        let reached = |spent: u64, max: Option<u64>, kept: u64| max.is_some_and(|max| spent >= max - kept);
        if self.closing_at(share).is_some_and(|at| at <= now.wall) {
            return Some(Closing::Window);
        }
        if now.ran_ms >= self.closing_ran_ms(share) {
            return Some(Closing::RunTime);
        }
        if reached(spent.llm_calls, budget.llm_calls_max, kept.llm_calls) {
            return Some(Closing::LlmCalls);
        }
        reached(spent.cost.0, budget.cost_max.map(|max| max.0), kept.cost.0).then_some(Closing::Cost)
    }

    /// What calls may take of a budget at the moment: without what is kept for landing.
    pub(crate) fn payable(&self, budget: &EffectiveBudget) -> EffectiveBudget {
        let kept = self.landing.kept().map_or(Spend::NOTHING, |share| kept(budget, share));
        EffectiveBudget {
            llm_calls_max: budget.llm_calls_max.map(|max| max - kept.llm_calls),
            cost_max: budget.cost_max.map(|max| max.saturating_sub(kept.cost)),
            ..*budget
        }
    }

    /// When the end of the window comes near, or that of the hours; nothing, where it is no end of the work.
    pub(crate) fn closing_at(&self, share: u16) -> Option<Timestamp> {
        let end = self.windows.closes_at(self.takes_run_time()).filter(|_| !self.windows.may_go_on())?;
        // A window that was half over when it began is no shorter for it.
        let from = self.windows.window.start_at.max(self.runs.started_at)?.min(end);
        let lasts = u64::try_from(end.duration_since(from).as_millis()).unwrap_or(0);
        let kept = SignedDuration::from_millis(i64::try_from(part(lasts, share)).unwrap_or(i64::MAX));
        Some(end.checked_sub(kept).unwrap_or(from))
    }

    /// When the end of the run time comes near, by the run clock.
    pub(crate) fn closing_ran_ms(&self, share: u16) -> u64 {
        let max = self.budget.runtime_ms_max;
        max - part(max, share)
    }

    /// Whether its plugin, which asked for it, was told that a limit comes near.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.landing.closing().is_some()
    }

    /// How much of each limit may be gone until its plugin is to land; nothing where that has not asked to be told.
    #[must_use]
    pub fn landing_marks(&self) -> Option<EffectiveBudget> {
        let share = self.landing.share()?;
        let kept = kept(&self.budget, share);
        Some(EffectiveBudget {
            runtime_ms_max: self.closing_ran_ms(share),
            llm_calls_max: self.budget.llm_calls_max.map(|max| max - kept.llm_calls),
            cost_max: self.budget.cost_max.map(|max| max.saturating_sub(kept.cost)),
        })
    }

    /// Which limit came near first, once its plugin was told.
    #[must_use]
    pub fn closing(&self) -> Option<Closing> {
        self.landing.closing()
    }

    /// Whether its plugin has said that it lands.
    #[must_use]
    pub fn lands(&self) -> bool {
        self.landing.landed().is_some()
    }

    /// Until when it has time: to the end of its window or to that of its run time, whichever comes first; `None` where neither can
    /// be told. The end of a window that it is carried over from is none.
    #[must_use]
    pub fn deadline(&self, now: Now) -> Option<Timestamp> {
        let left = self.budget.runtime_ms_max.saturating_sub(now.ran_ms);
        let by_run_time =
            i64::try_from(left).ok().and_then(|left| now.wall.checked_add(SignedDuration::from_millis(left)).ok());
        let by_window = self.windows.closes_at(true).filter(|_| !self.windows.may_go_on());
        by_run_time.into_iter().chain(by_window).min()
    }

    /// What is left of its budget, without what is set aside for calls that are being made.
    #[must_use]
    pub fn left(&self, now: Now) -> Left {
        let ledger = self.books.ledger();
        let booked = ledger.spent().saturating_add(ledger.reserved());
        let kept = self.landing.kept().map_or(Spend::NOTHING, |share| kept(&self.budget, share));
        Left {
            runtime_ms: self.budget.runtime_ms_max.saturating_sub(now.ran_ms),
            llm_calls: self.budget.llm_calls_max.map(|max| max.saturating_sub(booked.llm_calls)),
            cost_micro_usd: self.budget.cost_max.map(|max| max.saturating_sub(booked.cost).0),
            landing_llm_calls: kept.llm_calls,
            landing_micro_usd: kept.cost.0,
        }
    }
}

/// The share that a plugin which asks for the signal is told.
fn asked(record: &Record) -> Option<u16> {
    match record {
        Record::Answered { question: HostQuestion::Closing, answer, .. } => answer.parse().ok(),
        _ => None,
    }
}

/// What is kept of a budget.
fn kept(budget: &EffectiveBudget, share: u16) -> Spend {
    let of = |max: Option<u64>| max.map_or(0, |max| part(max, share));
    Spend { llm_calls: of(budget.llm_calls_max), cost: MicroUsd(of(budget.cost_max.map(|max| max.0))) }
}

/// A share of something, rounded down.
fn part(whole: u64, share: u16) -> u64 {
    let part = u128::from(whole) * u128::from(share) / u128::from(WHOLE);
    u64::try_from(part).unwrap_or(whole).min(whole)
}
