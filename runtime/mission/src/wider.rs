//! Budgets that are wider than one mission: of the node, of a lane, of a source, of a VP; each for a day or a month in the node's zone.
//!
//! They take up the same bookings as the missions' own, but for the shares of children: what a child takes of them,
//! its own calls take. A call belongs to the day and the month in which it was granted, whenever it ends; books are
//! kept day by day, so that a clock that goes wrong and is mended changes nothing for the days that it was not in.
//! Where one is spent, nobody is asked: the call waits until the budget is renewed, or until others set free what
//! they have set aside, and its mission's window goes on meanwhile. A call that is dearer than all of a budget is
//! refused.
//!
//! Where several nodes share a budget out, one takes no more of it than the part that it holds (`parts`); that counts beside its own books.
//!
//! Never here: where the books are kept, and who asks (the driver, which holds them while it decides and books: nobody comes in between).

mod parts;

use alloc::collections::BTreeMap;
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
use crate::command::Command;
use crate::state::Mission;

pub use self::parts::{Bill, PartOf, PartOffer};
use self::parts::{Held, Parts};

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
    span: Span,
    /// What this node holds of it, where several share it out.
    held: Option<Held>,
}

/// From a midnight to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    from: Timestamp,
    to: Timestamp,
}

/// Of each scope at most one for a day and one for a month.
const SHARES_MAX: usize = 8;

/// The wider budgets that a mission is under, at the moment of a command.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wider {
    shares: [Option<Share>; SHARES_MAX],
    /// The mission has no turn, and its place is shut until then: it takes nothing before.
    shut_until: Option<Timestamp>,
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

/// How soon a call is looked at again at the latest that waits for what others have set aside: whoever keeps the books looks when some of it
/// comes back.
const SET_ASIDE_LOOK: jiff::SignedDuration = jiff::SignedDuration::from_mins(15);

/// Days of which the books are in memory: this month's, the last one's, and what a clock that goes wrong adds.
const DAYS_MAX: usize = 100;

impl Wider {
    /// The same for a mission that is out of memory while its lane or its node is shut: until then, or, where no end is in sight, until
    /// somebody looks again. What it took now it would only keep from others, who can do something with it.
    fn shut(self, until: Option<Timestamp>, wall: Timestamp) -> Self {
        let look = || wall.checked_add(SET_ASIDE_LOOK).unwrap_or(Timestamp::MAX);
        Self { shut_until: Some(until.unwrap_or_else(look)), ..self }
    }

    /// What they are for a command about this mission, which may be in memory, while its lane or its node is `shut`: as far as that is known,
    /// until when.
    #[must_use]
    pub fn of_turn(
        self,
        mission: &Mission,
        command: &Command<'_>,
        is_in_memory: bool,
        shut: Option<Option<Timestamp>>,
        wall: Timestamp,
    ) -> Self {
        // A run that begins has its turn, and so has one that is in memory. One that its record alone still shows broke off with its node.
        let has_turn = is_in_memory && mission.run().is_some() || matches!(command, Command::Start(_));
        match shut {
            Some(until) if !has_turn => self.shut(until, wall),
            _ => self,
        }
    }

    /// Whether a call that may cost `wanted` is covered.
    pub(crate) fn covers(&self, wall: Timestamp, wanted: Spend) -> Says {
        let mut says = Says::Covered;
        let under = self.shares.iter().flatten().next();
        if let Some((Share { of, per, .. }, until)) = under.zip(self.shut_until) {
            let per = per.as_str();
            let why = format!(
                "its lane or its node is shut until {until}: before, it takes nothing of the {of}'s budget for the {per}"
            );
            says = Says::Later(until, why);
        }
        for share in self.shares.iter().flatten() {
            let Share { of, per, limits, ledger, span, held } = share;
            let renewed_at = span.to;
            let soon = || renewed_at.min(wall.checked_add(SET_ASIDE_LOOK).unwrap_or(Timestamp::MAX));
            let (until, short) = match ledger.fit(*limits, wanted) {
                Fit::Now => match held.and_then(|held| held.short(*limits, ledger, wanted)) {
                    None => continue,
                    Some(short) if short.comes_back => (soon(), short.why),
                    Some(short) => (renewed_at, short.why),
                },
                Fit::Never(short) if Ledger::default().fit(*limits, wanted) != Fit::Now => {
                    return Says::Never(format!("more than the {of}'s budget for a {}: {short}", per.as_str()));
                }
                Fit::Never(short) => (renewed_at, format!("{short}")),
                Fit::SetAside(short) => (soon(), format!("{short}")),
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
            // What was set aside in an earlier span is let go of there.
            let is_of_it = (share.span.from..share.span.to).contains(&booking.since);
            let nothing = || Booking::reserve(&booking.tool, booking.set_aside);
            share.ledger.book(&if is_of_it { booking.clone() } else { nothing() });
        }
    }
}

/// The books of one wider budget: of each day, what was granted on it.
#[derive(Debug, Clone)]
struct Purse {
    budget: WiderBudget,
    days: BTreeMap<Date, Ledger>,
    /// What this node holds of it in each span, by its first day, where several share it out.
    parts: Option<BTreeMap<Date, Parts>>,
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
    /// Where several nodes share it out: what this one holds of it, with what is spent and set aside, and what others have spent.
    pub shared: Option<SharedOut>,
}

/// How a budget stands that several nodes share out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SharedOut {
    /// What this node holds of it.
    pub held: Spend,
    /// What the others hold of it.
    pub others_hold: Spend,
    /// What the others have spent of it.
    pub others_spent: Spend,
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
    pub fn new(zone: TimeZone, budgets: Vec<WiderBudget>) -> Self {
        let all = budgets.into_iter().map(|budget| Purse { budget, days: BTreeMap::new(), parts: None }).collect();
        Self { zone, all }
    }

    /// The day that a time is in.
    #[must_use]
    pub fn day(&self, at: Timestamp) -> Date {
        at.to_zoned(self.zone.clone()).date()
    }

    fn of_payer(&mut self, payer: Payer<'_>) -> impl Iterator<Item = &mut Purse> {
        self.all.iter_mut().filter(move |purse| payer.is_of(&purse.budget.scope))
    }

    /// Takes up what was booked of a day before this process began.
    pub fn recall(&mut self, payer: Payer<'_>, booked: Booked) {
        for purse in self.of_payer(payer) {
            purse.on(booked.day).recall(booked.spent, booked.reserved);
        }
    }

    /// Those that a mission is under.
    #[must_use]
    pub fn of(&self, payer: Payer<'_>, now: Timestamp) -> Wider {
        let (mut wider, day) = (Wider::default(), self.day(now));
        let own = self.all.iter().filter(|purse| payer.is_of(&purse.budget.scope));
        for (place, purse) in wider.shares.iter_mut().zip(own) {
            let WiderBudget { scope, per, limits } = &purse.budget;
            let of = match scope {
                Scope::Node => "node",
                Scope::Lane(_) => "lane",
                Scope::Source(_) => "source",
                Scope::Vp(_) => "VP",
            };
            let (per, limits, span) = (*per, *limits, span(&self.zone, *per, day));
            let held = purse.parts_on(day).map(|parts| parts.held());
            *place = Some(Share { of, per, limits, ledger: purse.in_span_of(day), span, held });
        }
        wider
    }

    /// Takes a booking up that is made now: what is let go of, and spent, is of the day on which it was set aside. Those budgets of which four
    /// fifths are spent by that, in words. Of a mission these are [`crate::Mission::bookings_beside`].
    #[must_use = "people are told once of what is nearly spent"]
    pub fn book(&mut self, payer: Payer<'_>, now: Timestamp, booking: &Booking) -> Vec<String> {
        let (today, since) = (self.day(now), self.day(booking.since));
        let (mut told, zone) = (Vec::new(), self.zone.clone());
        for purse in self.of_payer(payer) {
            let before = purse.was_told(today);
            purse.on(today).book(&Booking::reserve(&booking.tool, booking.set_aside));
            purse.sees(today, booking.set_aside);
            if !booking.let_go.is_nothing() || !booking.spent.is_nothing() {
                purse.on(since).book(&Booking { set_aside: Spend::NOTHING, ..booking.clone() });
            }
            if !before && purse.is_nearly_spent(today) {
                purse.tells(today);
                let WiderBudget { scope, per, limits } = &purse.budget;
                let (spent, renewed_at) = (purse.spent_by_all(today), span(&zone, *per, today).to);
                let per = per.as_str();
                told.push(format!(
                    "{spent} of the budget of `{scope}` for the {per} are spent; it is {limits} in all, and is renewed at {renewed_at}"
                ));
            }
        }
        told
    }

    /// How each stands.
    pub fn standings(&self, now: Timestamp) -> impl Iterator<Item = Standing<'_>> {
        let day = self.day(now);
        self.all.iter().map(move |purse| {
            let (ledger, span) = (purse.in_span_of(day), span(&self.zone, purse.budget.per, day));
            let shared = purse.parts_on(day).map(|parts| parts.shared_out());
            Standing {
                budget: &purse.budget,
                spent: ledger.spent(),
                reserved: ledger.reserved(),
                begun_at: span.from,
                renewed_at: span.to,
                shared,
            }
        })
    }
}

impl Purse {
    /// The books of a day.
    fn on(&mut self, day: Date) -> &mut Ledger {
        if self.days.len() >= DAYS_MAX && !self.days.contains_key(&day) {
            self.days.pop_first();
        }
        self.days.entry(day).or_default()
    }

    /// All of the span that `day` is in.
    fn in_span_of(&self, day: Date) -> Ledger {
        let (from, to) = self.budget.per.span(day);
        let mut sum = Ledger::default();
        self.days.range(from..to).for_each(|(_, ledger)| sum.recall(ledger.spent(), ledger.reserved()));
        sum
    }

    fn is_nearly_spent(&self, day: Date) -> bool {
        let nearly = |spent: u64, max: Option<u64>| max.is_some_and(|max| u128::from(spent) * 5 >= u128::from(max) * 4);
        let (spent, limits) = (self.spent_by_all(day), self.budget.limits);
        nearly(spent.llm_calls, limits.llm_calls) || nearly(spent.cost.0, limits.cost.map(|max: MicroUsd| max.0))
    }
}

/// The span that `day` is in.
fn span(zone: &TimeZone, per: Per, day: Date) -> Span {
    let (from, to) = per.span(day);
    let midnight = |day: Date| day.to_zoned(zone.clone()).map(|zoned| zoned.timestamp());
    Span { from: midnight(from).unwrap_or(Timestamp::MIN), to: midnight(to).unwrap_or(Timestamp::MAX) }
}
