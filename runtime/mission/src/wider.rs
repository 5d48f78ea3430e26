//! Budgets that are wider than one mission: of the node, of a lane, of a source, of a VP; each for a day or a month in the node's zone.
//!
//! They take up the same bookings as the missions' own. A call belongs to the day and the month in which it was granted, whenever it
//! ends. Where one is spent, nobody is asked: the call waits until the budget is renewed, or until others set free what they have set
//! aside, and its mission's window goes on meanwhile. A call that is dearer than all of a budget is refused.
//!
//! Never here: where the books are kept, and who asks (the driver, which holds them while it decides and books: nobody comes in between).

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use sortie_contract::id::{InstanceId, LaneId, VpId};
use sortie_contract::money::{MicroUsd, Spend};

use crate::budget::{Booking, Fit, Ledger, Limits};

/// Whose calls a budget is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// All.
    Node,
    /// Those of a lane.
    Lane(LaneId),
    /// Those of missions that a source dispatched.
    Source(InstanceId),
    /// Those of a VP.
    Vp(VpId),
}

/// A text that is no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a scope is `node`, `lane:ID`, `source:ID` or `vp:ID`")]
pub struct NoScope;

impl FromStr for Scope {
    type Err = NoScope;

    fn from_str(text: &str) -> Result<Self, NoScope> {
        match text.split_once(':') {
            None if text == "node" => Ok(Self::Node),
            Some(("lane", id)) => LaneId::new(id).map(Self::Lane).map_err(|_| NoScope),
            Some(("source", id)) => InstanceId::new(id).map(Self::Source).map_err(|_| NoScope),
            Some(("vp", id)) => VpId::new(id).map(Self::Vp).map_err(|_| NoScope),
            _ => Err(NoScope),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node => formatter.write_str("node"),
            Self::Lane(id) => write!(formatter, "lane:{id}"),
            Self::Source(id) => write!(formatter, "source:{id}"),
            Self::Vp(id) => write!(formatter, "vp:{id}"),
        }
    }
}

/// For how long a budget is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Per {
    /// From midnight to midnight.
    Day,
    /// From the first of a month to that of the next.
    Month,
}

impl Per {
    /// For programs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Month => "month",
        }
    }

    /// The first day of the span that `day` is in.
    #[must_use]
    pub fn first_day(self, day: Date) -> Date {
        self.span(day).0
    }

    /// The first day of the span that `day` is in, and the first behind it.
    fn span(self, day: Date) -> (Date, Date) {
        match self {
            Self::Day => (day, day.tomorrow().unwrap_or(Date::MAX)),
            Self::Month => (day.first_of_month(), day.last_of_month().tomorrow().unwrap_or(Date::MAX)),
        }
    }
}

/// A budget that is wider than one mission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WiderBudget {
    /// Whose.
    pub scope: Scope,
    /// For how long.
    pub per: Per,
    /// How much.
    pub limits: Limits,
}

/// Whose a mission's calls are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Payer<'a> {
    /// Its lane.
    pub lane: &'a LaneId,
    /// Who dispatched it.
    pub source: &'a InstanceId,
    /// Who it is done as.
    pub vp: &'a VpId,
}

impl Payer<'_> {
    fn is_of(&self, scope: &Scope) -> bool {
        match scope {
            Scope::Node => true,
            Scope::Lane(lane) => lane == self.lane,
            Scope::Source(source) => source == self.source,
            Scope::Vp(vp) => vp == self.vp,
        }
    }
}

/// One of the wider budgets that a mission is under, as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Share {
    /// Such as `lane`.
    of: &'static str,
    per: Per,
    limits: Limits,
    ledger: Ledger,
    begun_at: Timestamp,
    renewed_at: Timestamp,
}

/// Of each scope at most one for a day and one for a month.
const SHARES_MAX: usize = 8;

/// The wider budgets that a mission is under, at the moment of a command.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wider {
    shares: [Option<Share>; SHARES_MAX],
}

/// What wider budgets say to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Says {
    /// They cover it.
    Covered,
    /// Not at the moment: until when it waits, unless room is made before, and why.
    Later(Timestamp, String),
    /// Never: it is dearer than all of one.
    Never(String),
}

/// How soon a call is looked at again that waits for what others have set aside.
const SET_ASIDE_LOOK: jiff::SignedDuration = jiff::SignedDuration::from_secs(30);

impl Wider {
    /// Whether a call that may cost `wanted` is covered.
    pub(crate) fn covers(&self, wall: Timestamp, wanted: Spend) -> Says {
        let mut says = Says::Covered;
        for share in self.shares.iter().flatten() {
            let Share { of, per, limits, ledger, renewed_at, .. } = share;
            let (until, short) = match ledger.fit(*limits, wanted) {
                Fit::Now => continue,
                Fit::Never(short) if Ledger::default().fit(*limits, wanted) != Fit::Now => {
                    return Says::Never(format!("more than the {of}'s budget for a {}: {short}", per.as_str()));
                }
                Fit::Never(short) => (*renewed_at, short),
                Fit::SetAside(short) => {
                    ((*renewed_at).min(wall.checked_add(SET_ASIDE_LOOK).unwrap_or(Timestamp::MAX)), short)
                }
            };
            let why = format!("the {of}'s budget for the {}, which is renewed at {renewed_at}: {short}", per.as_str());
            if !matches!(&says, Says::Later(later, _) if *later >= until) {
                says = Says::Later(until, why);
            }
        }
        says
    }

    /// Takes a booking up that is made now.
    pub(crate) fn book(&mut self, booking: &Booking) {
        for share in self.shares.iter_mut().flatten() {
            share.ledger.book(&booking.within(share.begun_at));
        }
    }
}

/// The books of one wider budget.
#[derive(Debug, Clone)]
struct Purse {
    budget: WiderBudget,
    begun_at: Timestamp,
    renewed_at: Timestamp,
    ledger: Ledger,
}

/// How a wider budget stands, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing<'a> {
    /// The budget.
    pub budget: &'a WiderBudget,
    /// What was spent of it.
    pub spent: Spend,
    /// What is set aside.
    pub reserved: Spend,
    /// Since when it has been counted.
    pub begun_at: Timestamp,
    /// When it is whole again.
    pub renewed_at: Timestamp,
}

/// The wider budgets of a node, with their books.
#[derive(Debug, Clone)]
pub struct Purses {
    zone: TimeZone,
    all: Vec<Purse>,
}

/// What was booked of a day's calls, as a log keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Booked {
    /// The day, in the node's zone.
    pub day: Date,
    /// Spent by calls that were granted on it.
    pub spent: Spend,
    /// Set aside for calls that were, and have not ended.
    pub reserved: Spend,
}

impl Purses {
    /// With empty books.
    #[must_use]
    pub fn new(zone: TimeZone, budgets: Vec<WiderBudget>, now: Timestamp) -> Self {
        let purse = |budget: WiderBudget| {
            let (begun_at, renewed_at) = span(&zone, budget.per, now);
            Purse { budget, begun_at, renewed_at, ledger: Ledger::default() }
        };
        let all = budgets.into_iter().map(purse).collect();
        Self { zone, all }
    }

    /// The day that a time is in.
    #[must_use]
    pub fn day(&self, at: Timestamp) -> Date {
        at.to_zoned(self.zone.clone()).date()
    }

    /// Takes up what was booked of a day before this process began.
    pub fn recall(&mut self, payer: Payer<'_>, booked: Booked) {
        let Self { zone, all } = self;
        for purse in all.iter_mut().filter(|purse| payer.is_of(&purse.budget.scope)) {
            if booked.day >= purse.begun_at.to_zoned(zone.clone()).date() {
                purse.ledger.recall(booked.spent, booked.reserved);
            }
        }
    }

    /// Those that a mission is under.
    pub fn of(&mut self, payer: Payer<'_>, now: Timestamp) -> Wider {
        self.renew(now);
        let mut wider = Wider::default();
        let own = self.all.iter().filter(|purse| payer.is_of(&purse.budget.scope));
        for (place, purse) in wider.shares.iter_mut().zip(own) {
            *place = Some(Share {
                of: match purse.budget.scope {
                    Scope::Node => "node",
                    Scope::Lane(_) => "lane",
                    Scope::Source(_) => "source",
                    Scope::Vp(_) => "VP",
                },
                per: purse.budget.per,
                limits: purse.budget.limits,
                ledger: purse.ledger,
                begun_at: purse.begun_at,
                renewed_at: purse.renewed_at,
            });
        }
        wider
    }

    /// Takes a booking up that is made now. Those budgets of which four fifths are spent by that, in words.
    #[must_use = "people are told once of what is nearly spent"]
    pub fn book(&mut self, payer: Payer<'_>, now: Timestamp, booking: &Booking) -> Vec<String> {
        self.renew(now);
        let mut told = Vec::new();
        for purse in self.all.iter_mut().filter(|purse| payer.is_of(&purse.budget.scope)) {
            let before = purse.is_nearly_spent();
            purse.ledger.book(&booking.within(purse.begun_at));
            if !before && purse.is_nearly_spent() {
                let Purse { budget: WiderBudget { scope, per, limits }, renewed_at, ledger, .. } = purse;
                let (per, spent) = (per.as_str(), ledger.spent());
                told.push(format!("{spent} of the budget of `{scope}` for the {per} are spent; it is {limits} in all, and is renewed at {renewed_at}"));
            }
        }
        told
    }

    /// How each stands.
    pub fn standings(&mut self, now: Timestamp) -> impl Iterator<Item = Standing<'_>> {
        self.renew(now);
        self.all.iter().map(|purse| Standing {
            budget: &purse.budget,
            spent: purse.ledger.spent(),
            reserved: purse.ledger.reserved(),
            begun_at: purse.begun_at,
            renewed_at: purse.renewed_at,
        })
    }

    /// The books of what is over are closed. A clock that is set back opens none again.
    fn renew(&mut self, now: Timestamp) {
        for purse in self.all.iter_mut().filter(|purse| purse.renewed_at <= now) {
            (purse.begun_at, purse.renewed_at) = span(&self.zone, purse.budget.per, now);
            purse.ledger = Ledger::default();
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

impl Purse {
    fn is_nearly_spent(&self) -> bool {
        let nearly = |spent: u64, max: Option<u64>| max.is_some_and(|max| u128::from(spent) * 5 >= u128::from(max) * 4);
        let (spent, limits) = (self.ledger.spent(), self.budget.limits);
        nearly(spent.llm_calls, limits.llm_calls) || nearly(spent.cost.0, limits.cost.map(|max: MicroUsd| max.0))
    }
}

/// From when to when the span is that `at` is in.
fn span(zone: &TimeZone, per: Per, at: Timestamp) -> (Timestamp, Timestamp) {
    let (from, to) = per.span(at.to_zoned(zone.clone()).date());
    let midnight = |day: Date| day.to_zoned(zone.clone()).map(|zoned| zoned.timestamp());
    (midnight(from).unwrap_or(Timestamp::MIN), midnight(to).unwrap_or(Timestamp::MAX))
}
