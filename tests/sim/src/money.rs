//! Money and calls of models, said once more than the core says them: what is booked, what was really paid, and what is kept for landing.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;
use sortie_contract::envelope::ChildOf;
use sortie_contract::id::CallNo;
use sortie_contract::record::{Closing, HostQuestion, Record, Stamped};
use sortie_contract::request::Decision;
use sortie_contract::tool::{CallError, MISSION, ToolName};
use sortie_contract::{MicroUsd, Spend};
use sortie_mission::wider::{Per, Scope, WiderBudget};
use sortie_mission::{Limits, Mission};

use crate::envelope::lanes;
use crate::ledger::Side;
use crate::outside::Client;
use crate::scene::Scene;

/// What the records of a mission add up to.
struct Books {
    /// As granted; `None` where there is no limit.
    cost_max: Option<MicroUsd>,
    calls_max: Option<u64>,
    /// Of calls that are over, and of attempts that broke off.
    settled: BTreeMap<CallNo, Spend>,
    /// Set aside for calls that are being made.
    made: BTreeMap<CallNo, Spend>,
    /// What each call is quoted at.
    prices: BTreeMap<CallNo, Spend>,
    /// What calls did cost beyond that.
    excess: Spend,
    /// One was dearer than it was quoted at.
    is_barred: bool,
    /// The share that is kept, in thousandths, once the plugin asked for the signal.
    share: Option<u16>,
    landed: u32,
    /// It landed itself, and not only the mission that a fork comes from.
    lands_here: bool,
    told: Option<Closing>,
}

impl Books {
    fn new(mission: &Mission) -> Self {
        let budget = &mission.envelope().budget;
        let share = mission.envelope().child_of.as_ref().map(ChildOf::share);
        Self {
            // A share of nothing is a limit, too.
            cost_max: share.map(|share| share.cost).or(budget.cost_max.filter(|max| max.0 > 0)),
            calls_max: share.map(|share| share.llm_calls).or(budget.llm_calls_max.filter(|max| *max > 0)),
            settled: BTreeMap::new(),
            made: BTreeMap::new(),
            prices: BTreeMap::new(),
            excess: Spend::NOTHING,
            is_barred: false,
            share: None,
            landed: 0,
            lands_here: false,
            told: None,
        }
    }

    /// Takes up all of them, and holds each against what may be.
    fn read(mission: &Mission, records: &[Stamped]) -> Self {
        let mut books = Self::new(mission);
        for (index, stamped) in records.iter().enumerate() {
            books.take(mission, records, index, stamped);
            books.is_within(&stamped.record);
        }
        books
    }

    fn take(&mut self, mission: &Mission, records: &[Stamped], index: usize, stamped: &Stamped) {
        let before = index.checked_sub(1).map(|before| &records[before].record);
        // What a fork has of another mission was told of that one, whose limits were near.
        let is_inherited = mission.is_inherited(u32::try_from(index).expect("a few"));
        match &stamped.record {
            Record::CallStarted { call, reserved, .. } => {
                self.prices.insert(*call, *reserved);
                self.make(*call, true);
            }
            Record::CallHeld { call, reserved, .. } => drop(self.prices.insert(*call, *reserved)),
            // Whoever decides about a call decides about what is kept, too.
            Record::CallResumed { call } => {
                let is_decided = matches!(before, Some(Record::Decided { .. } | Record::Requoted { .. }));
                self.make(*call, !is_decided);
            }
            Record::Requoted { call, reserved } => {
                let is_amended = matches!(before, Some(Record::Decided { decision: Decision::Amend { .. }, .. }));
                assert!(
                    is_amended && !self.made.contains_key(call),
                    "call {call} is quoted anew, and nobody changed it"
                );
                self.prices.insert(*call, *reserved);
            }
            Record::CallAgain { call } => {
                let broke_off = self.made.remove(call).unwrap_or_default();
                assert!(!broke_off.is_nothing(), "call {call} is paid for again");
                self.settle(*call, broke_off);
                self.make(*call, true);
            }
            // Nobody knows what became of it: it counts as spent, and what comes of it counts again.
            Record::Requested { call, .. } | Record::PaymentAwaited { call, .. } => {
                let broke_off = self.made.remove(call).unwrap_or_default();
                self.settle(*call, broke_off);
            }
            // Nobody has done anything for it.
            Record::Postponed { call, .. } => {
                assert!(self.made.remove(call).is_some(), "call {call} is put off, and nobody made it");
            }
            Record::CallFinished { call, spent, .. } => match self.made.remove(call) {
                Some(reserved) => {
                    self.settle(*call, *spent);
                    self.excess = self.excess.saturating_add(spent.saturating_sub(reserved));
                    self.is_barred |= !spent.fits(reserved);
                    let tool = tool_of(records, *call);
                    let told = Record::Overbilled { call: *call, tool, quoted: reserved, spent: *spent };
                    let next = records.get(index + 1).map(|next| &next.record);
                    assert_eq!(next == Some(&told), !spent.fits(reserved), "call {call} was too dear, or was not");
                }
                None => assert!(spent.is_nothing(), "call {call} was not made, and did cost something"),
            },
            Record::Finished { .. } => {
                for (call, reserved) in std::mem::take(&mut self.made) {
                    self.settle(call, reserved);
                }
            }
            Record::Decided { decision: Decision::Grant { cost, llm_calls }, .. } => {
                self.cost_max = self.cost_max.map(|max| max.saturating_add(*cost));
                self.calls_max = self.calls_max.map(|max| max.saturating_add(*llm_calls));
            }
            Record::Answered { question: HostQuestion::Closing, answer, .. } => {
                self.share = self.share.or_else(|| Some(answer.parse().expect("a share")));
            }
            Record::Landing { .. } => {
                self.lands_here |= self.landed == 0 && !is_inherited;
                self.landed += 1;
            }
            Record::Closing { limit } => {
                assert_eq!(self.told.replace(*limit), None, "it is told twice that a limit comes near");
                // Of calls that wait for one another, what is left may still be enough for those behind the one that was refused.
                let mut earlier = records[..index].iter().rev().map(|stamped| &stamped.record);
                let was_kept = match earlier.find(|record| !matches!(record, Record::CallResumed { .. })) {
                    _ if is_inherited => true,
                    Some(Record::CallRefused { .. }) => true,
                    Some(Record::CallFinished { outcome: Err(error), .. }) => {
                        matches!(error, CallError::BudgetExhausted(_) | CallError::Uncertain(_))
                    }
                    _ => false,
                };
                assert!(was_kept || self.is_near(mission, *limit, stamped.ran_ms), "{limit:?} is far away");
            }
            _ => {}
        }
    }

    fn make(&mut self, call: CallNo, minds_kept: bool) {
        let price = self.prices[&call];
        assert!(!self.is_barred || price.is_nothing(), "call {call} is paid for");
        self.made.insert(call, price);
        let Some(share) = self.share.filter(|_| self.landed == 0 && minds_kept) else { return };
        let booked = self.booked();
        let is_kept = |booked: u64, max: Option<u64>| max.is_some_and(|max| booked > max - kept(max, share));
        let cost_max = self.cost_max.map(|max| max.0);
        assert!(price.cost.is_zero() || !is_kept(booked.cost.0, cost_max), "call {call} takes what is kept");
        assert!(price.llm_calls == 0 || !is_kept(booked.llm_calls, self.calls_max), "call {call} takes what is kept");
    }

    fn settle(&mut self, call: CallNo, spent: Spend) {
        let settled = self.settled.entry(call).or_default();
        *settled = settled.saturating_add(spent);
    }

    fn spent(&self) -> Spend {
        sum(&self.settled)
    }

    fn booked(&self) -> Spend {
        self.spent().saturating_add(sum(&self.made))
    }

    /// Whether so much is within the limits, but for what calls did cost more than they were quoted at.
    fn covers(&self, booked: Spend) -> bool {
        let cost = self.cost_max.is_none_or(|max| booked.cost <= max.saturating_add(self.excess.cost));
        cost && self.calls_max.is_none_or(|max| booked.llm_calls <= max.saturating_add(self.excess.llm_calls))
    }

    fn is_within(&self, record: &Record) {
        let booked = self.booked();
        assert!(self.covers(booked), "{booked} of {:?}, {:?} are booked: {record:?}", self.cost_max, self.calls_max);
    }

    fn is_near(&self, mission: &Mission, limit: Closing, ran_ms: u64) -> bool {
        let share = self.share.expect("nobody is told who has not asked");
        let near = |reached: u64, max: u64| reached >= max - kept(max, share);
        match limit {
            // Of windows, what is recorded behind their ends is looked at elsewhere.
            Closing::Window => true,
            Closing::RunTime => near(ran_ms, mission.budget().runtime_ms_max),
            Closing::LlmCalls => self.calls_max.is_some_and(|max| near(self.booked().llm_calls, max)),
            Closing::Cost => self.cost_max.is_some_and(|max| near(self.booked().cost.0, max.0)),
        }
    }
}

/// 4. What was spent and is set aside never passes the limit, raised by what was granted, but by what a call did cost more than it was
///    quoted at: that is told, and then nothing is paid for any more. The books say what the records add up to. What is kept for landing
///    is not spent before.
pub(crate) fn budget(side: &Side) {
    let mission = &side.mission;
    let books = Books::read(mission, &side.records);
    assert_eq!(
        (mission.spent(), mission.reserved()),
        (books.spent(), sum(&books.made)),
        "the books are what the records add up to"
    );
    // The body is JSON without spaces.
    let told = side.items.iter().filter(|item| item.body.contains(r#""kind":"landing""#)).count();
    assert_eq!(told, usize::from(books.lands_here), "it is told once that a mission lands");
}

/// 4. What was really paid for calls of models is booked, call by call, and all of it together is within the limit.
pub(crate) fn paid(side: &Side, client: &Client) {
    if client.bills.is_empty() {
        return;
    }
    let books = Books::read(&side.mission, &side.records);
    for (call, bills) in &client.bills {
        let of = |books: &BTreeMap<CallNo, Spend>| books.get(call).copied().unwrap_or_default();
        let booked = of(&books.settled).saturating_add(of(&books.made));
        assert!(bills.paid.fits(booked), "{} were paid for call {call}, and {booked} are booked", bills.paid);
    }
    let all = client.bills.values().fold(Spend::NOTHING, |all, bills| all.saturating_add(bills.paid));
    assert!(books.covers(all), "{all} were paid, and {:?}, {:?} may be", books.cost_max, books.calls_max);
}

/// The budgets of a node that are wider than a mission.
pub(crate) fn wider(scene: &Scene) -> Vec<WiderBudget> {
    let limits = |cost| Limits { llm_calls: None, cost: Some(cost) };
    let of_all = scene.outside(|outside| outside.purse);
    let of_all = of_all.map(|cost| WiderBudget { scope: Scope::Node, per: Per::Month, limits: limits(cost) });
    let [lane, _] = lanes();
    // Of a day, which is often over: that its calls go on then is looked for, and not how many days there were.
    let of_lane = WiderBudget { scope: Scope::Lane(lane), per: Per::Day, limits: limits(MicroUsd(900_000)) };
    of_all.into_iter().chain([of_lane]).collect()
}

/// 4. All missions together are within the budget of each month that there was, but for what calls did cost more than they were quoted at.
pub(crate) fn all_within<'a>(scene: &Scene, sides: impl Iterator<Item = &'a Side>) {
    let Some(max) = scene.outside(|outside| outside.purse) else { return };
    let (mut taken, mut excess) = (Spend::NOTHING, Spend::NOTHING);
    let mut months = BTreeSet::new();
    for side in sides {
        let books = Books::read(&side.mission, &side.records);
        // A share is in its mission's own books alone: here the calls of the child count.
        let is_share = |call: CallNo| tool_of(&side.records, call).as_str() == MISSION;
        let own = books.settled.iter().chain(&books.made).filter(|(call, _)| !is_share(**call));
        taken = own.fold(taken, |taken, (_, spend)| taken.saturating_add(*spend));
        excess = excess.saturating_add(books.excess);
        months.extend(side.records.iter().map(|stamped| stamped.at.to_zoned(TimeZone::UTC).date().first_of_month()));
    }
    let most = MicroUsd(max.0.saturating_mul(months.len() as u64)).saturating_add(excess.cost);
    assert!(taken.cost <= most, "all missions together took {}, and may take {max} in each of {months:?}", taken.cost);
}

fn sum(all: &BTreeMap<CallNo, Spend>) -> Spend {
    all.values().fold(Spend::NOTHING, |sum, one| sum.saturating_add(*one))
}

/// What is kept of a limit.
fn kept(max: u64, share: u16) -> u64 {
    max * u64::from(share) / 1_000
}

/// Of what tool a call is.
fn tool_of(records: &[Stamped], wanted: CallNo) -> ToolName {
    let found = records.iter().find_map(|stamped| match &stamped.record {
        Record::CallStarted { call, tool, .. } | Record::CallHeld { call, tool, .. } if *call == wanted => Some(tool),
        _ => None,
    });
    found.cloned().unwrap_or_else(|| ToolName::new(""))
}
