//! Landing: a mission that is cut at its limit strands its work. So a plugin that asks for it is told when one of its limits comes near
//! (95 % of it, unless the node says otherwise), and what is behind that mark is kept until the plugin says that it lands.
//!
//! - Shares are rounded down: a budget of three calls keeps none.
//! - What is kept is refused with `budget-exhausted`, and nobody is asked: the plugin can have it by one word, at night as well. So it is
//!   with a call that was put off, or broke off, when it would go on. Whoever decides about a call gives it what is kept, too.
//! - Nothing is kept from a plugin that never asks for the signal: it could do nothing with it.
//! - The end of a window that the mission is carried over from is no limit, and no end of its work.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use jiff::{SignedDuration, Timestamp};
use sortie_contract::envelope::EffectiveBudget;
use sortie_contract::money::{MicroUsd, Spend};
use sortie_contract::plugin::Left;
use sortie_contract::record::{Closing, Record};
use sortie_contract::request::Decision;

use crate::budget::{Ledger, raised};
use crate::command::Now;
use crate::state::Mission;

/// A whole, in thousandths.
const WHOLE: u64 = 1_000;

impl Mission {
    /// What was decided, and the signal behind it where a limit comes near by that, or by the time.
    pub(crate) fn with_closing(&self, now: Now, mut records: Vec<Record>) -> Vec<Record> {
        let breaks_off = |record: &Record| matches!(record, Record::Finished { .. } | Record::CarriedOver { .. });
        // Behind the end it is no use to anybody: what a node says of itself is recorded there, too.
        let is_over = || self.time_over(now).is_some();
        if self.landing.expected().is_none() || self.windows.is_awaited() || records.iter().any(breaks_off) || is_over()
        {
            return records;
        }
        let mut ledger = *self.books.ledger();
        let bookings = records.iter().flat_map(|record| self.bookings(record));
        bookings.for_each(|booking| ledger.book(&booking));
        // What is granted with this very decision holds for what follows from it.
        let granted = |budget: EffectiveBudget, record: &Record| match record {
            Record::Decided { decision: Decision::Grant { llm_calls, cost }, .. } => raised(&budget, *llm_calls, *cost),
            _ => budget,
        };
        let budget = records.iter().fold(self.budget, granted);
        let is_told = records.iter().any(|record| matches!(record, Record::Closing { .. }));
        records.extend(self.near(now, &ledger, &budget).filter(|_| !is_told).map(|limit| Record::Closing { limit }));
        records
    }

    /// The first limit that comes near.
    fn near(&self, now: Now, ledger: &Ledger, budget: &EffectiveBudget) -> Option<Closing> {
        let share = self.landing.expected()?;
        let booked = ledger.spent().saturating_add(ledger.reserved());
        let kept = kept(budget, share);
        let reached = |booked: u64, max: Option<u64>, kept: u64| max.is_some_and(|max| booked >= max - kept);
        let cost_max = budget.cost_max.map(|max| max.0);
        if self.closing_at(share).is_some_and(|at| at <= now.wall) {
            return Some(Closing::Window);
        }
        if now.ran_ms >= self.closing_ran_ms(share) {
            return Some(Closing::RunTime);
        }
        if reached(booked.llm_calls, budget.llm_calls_max, kept.llm_calls) {
            return Some(Closing::LlmCalls);
        }
        reached(booked.cost.0, cost_max, kept.cost.0).then_some(Closing::Cost)
    }

    /// Which limit a call would come too near to, and that in words, where it would take of what is kept for landing, beside what is in
    /// these books; nothing where it takes nothing of it, and where it passes the budget anyway.
    pub(crate) fn kept_for_landing(&self, ledger: &Ledger, wanted: Spend) -> Option<(Closing, String)> {
        let kept = kept(&self.budget, self.landing.kept()?);
        let fits = |beside: Spend| {
            let all = Spend {
                llm_calls: if wanted.llm_calls == 0 { 0 } else { wanted.llm_calls.saturating_add(beside.llm_calls) },
                cost: if wanted.cost.is_zero() { MicroUsd::ZERO } else { wanted.cost.saturating_add(beside.cost) },
            };
            ledger.check(&self.budget, all).is_ok()
        };
        if !fits(Spend::NOTHING) || fits(kept) {
            return None;
        }
        let limit = if fits(Spend::money(kept.cost)) { Closing::LlmCalls } else { Closing::Cost };
        Some((limit, format!("what is left of the budget ({kept}) is kept for landing: `land` sets it free")))
    }

    /// When the end of the window comes near, or that of the hours; nothing, where it is no end of the work.
    pub(crate) fn closing_at(&self, share: u16) -> Option<Timestamp> {
        let end = self.windows.closes_at(self.takes_run_time()).filter(|_| !self.windows.may_go_on())?;
        let from = self.windows.window.start_at.or(self.runs.started_at)?;
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
