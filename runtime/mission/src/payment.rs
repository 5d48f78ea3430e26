//! Whether a call is paid for: now, later, by a decision of people, or not at all.
//!
//! - What is kept for landing is paid for nobody who does not land.
//! - Where only what other calls have set aside stands in the way, the call waits for what they give back: quotes are the most that a call
//!   can cost, and people are not woken for what comes back by itself.
//! - Where the mission's own budget is spent, people are asked. Where one is that is wider than the mission, it is waited for.
//! - A child's share is set aside now or not at all, and a child that has none left asks nobody: who gives it is its parent.
//! - Nobody is asked for what is there: where a grant for another call, or landing, brings what a call needs, its request settles itself.
//!
//! What is left of a budget is [`crate::budget`]'s and [`crate::wider`]'s to say.

use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use jiff::{SignedDuration, Timestamp};
use sortie_contract::envelope::EffectiveBudget;
use sortie_contract::id::CallNo;
use sortie_contract::money::Spend;
use sortie_contract::record::{Closing, Record};
use sortie_contract::request::{Decision, NOBODY, RequestKind, RequestNo};
use sortie_contract::tool::{MISSION, ToolName};

use crate::budget::{Booking, Fit, Ledger, Limits, Short, raised};
use crate::command::Now;
use crate::decide::note;
use crate::part::calls::InFlight;
use crate::part::requests::OpenRequest;
use crate::request::{Ask, beyond};
use crate::spend::unpaid;
use crate::state::Mission;
use crate::wider::{Bill, Payer, Says, Wider};

/// When a call that waits for others of its mission is looked at at the latest; mostly they end before.
const OTHERS_LOOK: SignedDuration = SignedDuration::from_mins(15);

/// Whether a call is paid for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Payment {
    /// It is.
    Now,
    /// Not at the moment, and nobody need be asked: when it is looked at again at the latest, and why.
    Later(Timestamp, String),
    /// People can grant more.
    Asks(Ask),
    /// It never is: why, and which limit has come near, where what is left is kept for landing.
    Never(String, Option<Closing>),
}

/// What a call is paid from, while records are decided that are not in the mission's own books yet.
#[derive(Debug, Clone)]
pub(crate) struct Means {
    own: Ledger,
    /// How much of the mission's own budget calls may take.
    payable: Limits,
    /// All of it, with what is kept for landing.
    whole: Limits,
    wider: Wider,
}

impl Means {
    /// Takes a booking up. A child's share was never set aside in wider budgets: whoever let go of it there would let go of what others have.
    pub(crate) fn book(&mut self, booking: &Booking) {
        self.own.book(booking);
        if !booking.is_share() {
            self.wider.book(booking);
        }
    }
}

impl Mission {
    /// What it can pay from at the moment.
    pub(crate) fn means(&self, now: Now) -> Means {
        self.means_of(now, &self.budget)
    }

    /// The same, where its own budget is this one.
    pub(crate) fn means_of(&self, now: Now, budget: &EffectiveBudget) -> Means {
        let (payable, whole) = (Limits::from(&self.payable(budget)), Limits::from(budget));
        Means { own: *self.books.ledger(), payable, whole, wider: now.wider }
    }

    /// What it will be able to pay from, once these records are taken up: with what they grant, set free and book.
    fn means_behind(&self, now: Now, records: &[Record]) -> Means {
        let grants = records.iter().filter_map(|record| match record {
            Record::Decided { decision: Decision::Grant { llm_calls, cost }, .. } => Some((*llm_calls, *cost)),
            _ => None,
        });
        let budget = grants.fold(self.budget, |budget, (llm_calls, cost)| raised(&budget, llm_calls, cost));
        let mut means = self.means_of(now, &budget);
        if records.iter().any(|record| matches!(record, Record::Landing { .. })) {
            means.payable = means.whole;
        }
        records.iter().flat_map(|record| self.bookings(record)).for_each(|booking| means.book(&booking));
        means
    }

    /// Whether a call is paid for that may cost `wanted`.
    pub(crate) fn payment(&self, now: Now, means: &Means, tool: &ToolName, wanted: Spend) -> Payment {
        if wanted.is_nothing() {
            return Payment::Now;
        }
        if let Some(why) = self.barred(wanted) {
            return Payment::Never(why, None);
        }
        if tool.as_str() == MISSION {
            // What a child does take of a wider budget, its own calls take.
            return match means.own.fit(means.payable, wanted) {
                Fit::Now => Payment::Now,
                Fit::SetAside(short) | Fit::Never(short) => Payment::Never(short.of_share(), None),
            };
        }
        // Nobody is asked for what cannot be granted.
        let wider = match means.wider.covers(now.wall, wanted) {
            Says::Never(why) => return Payment::Never(why, None),
            Says::Later(until, why) => Some((until, why)),
            Says::Covered => None,
        };
        let own = match means.own.fit(means.payable, wanted) {
            Fit::Now => None,
            Fit::SetAside(short) => {
                Some((now.wall.checked_add(OTHERS_LOOK).unwrap_or(Timestamp::MAX), short.of_mission()))
            }
            Fit::Never(short) => match means.own.fit(means.whole, wanted) {
                Fit::Now | Fit::SetAside(_) => {
                    let limit = match short {
                        Short::Calls { .. } => Closing::LlmCalls,
                        Short::Cost { .. } => Closing::Cost,
                    };
                    let why = "what is left of the budget is kept for landing: `land` sets it free".to_owned();
                    return Payment::Never(why, Some(limit));
                }
                // Its share is its parent's to give, and nobody else's.
                Fit::Never(short) if self.envelope.child_of.is_some() => {
                    return Payment::Never(
                        format!("of its share of its parent's budget: {}", short.of_mission()),
                        None,
                    );
                }
                Fit::Never(short) => return Payment::Asks(beyond(tool, short)),
            },
        };
        match wider.or(own) {
            Some((until, why)) => Payment::Later(until, why),
            None => Payment::Now,
        }
    }

    /// The same of a call that people have decided about: where it would take of what is kept for landing they are asked for more, as
    /// for what goes beyond the budget.
    pub(crate) fn payment_decided(&self, now: Now, means: &Means, tool: &ToolName, wanted: Spend) -> Payment {
        match self.payment(now, means, tool, wanted) {
            Payment::Never(_, Some(_)) => match means.own.fit(means.payable, wanted) {
                Fit::Now => Payment::Now,
                Fit::SetAside(short) | Fit::Never(short) => Payment::Asks(beyond(tool, short)),
            },
            other => other,
        }
    }

    /// When the first call is looked at again that waits for its payment; nothing, before the mission has had a turn in its window.
    #[must_use]
    pub fn unpaid_until(&self) -> Option<Timestamp> {
        let unpaid = self.calls.in_flight().iter().filter_map(|flight| flight.unpaid).min();
        unpaid.filter(|_| !self.windows.is_awaited())
    }

    /// The calls that wait for their payment and might have it now; none, before the mission has had a turn in its window.
    pub fn bills(&self) -> impl Iterator<Item = Bill> {
        let unpaid =
            self.calls.in_flight().iter().filter(|flight| flight.unpaid.is_some() && !self.windows.is_awaited());
        unpaid.map(|flight| {
            let Payer { lane, source, vp } = self.payer();
            let (wanted, since) = (flight.reserved, flight.since);
            Bill { lane: lane.clone(), source: source.clone(), vp: vp.clone(), wanted, since }
        })
    }

    /// The record of a call that waits for its payment.
    pub(crate) fn awaits_payment(call: CallNo, until: Timestamp, why: String) -> Record {
        Record::PaymentAwaited { call, until, why: note(why) }
    }

    /// What was decided, and behind it what becomes of those calls that wait for their payment, or that people are asked to grant more for:
    /// where another of their mission has ended, where more was granted or set free, and where a run begins, for a budget may be another
    /// one since.
    pub(crate) fn with_paid(&self, now: Now, mut records: Vec<Record>) -> Vec<Record> {
        // Behind a call that was too dear, what waits has been turned down.
        let breaks_off = |record: &Record| {
            matches!(record, Record::Finished { .. } | Record::CarriedOver { .. } | Record::Overbilled { .. })
        };
        let flights = self.calls.in_flight().iter();
        let waits = |flight: &&InFlight| flight.unpaid.is_some() || self.asks_for_money(flight).is_some();
        let is_decided = |flight: &&InFlight| !records.iter().any(|record| is_about(record, flight.call));
        let waiting: Vec<&InFlight> = flights.filter(waits).filter(is_decided).collect();
        let begins = matches!(records.first(), Some(Record::Started { .. }));
        let may_not = self.windows.is_awaited() && !begins;
        if waiting.is_empty() || may_not || records.iter().any(breaks_off) || self.time_over(now).is_some() {
            return records;
        }
        let sets_free = |record: &Record| {
            matches!(record, Record::Landing { .. } | Record::Decided { decision: Decision::Grant { .. }, .. })
                || self.bookings(record).iter().any(|booking| !booking.let_go.is_nothing())
        };
        if !begins && !records.iter().any(sets_free) {
            return records;
        }
        let means = self.means_behind(now, &records);
        let asked = records.iter().filter(|record| matches!(record, Record::Requested { .. })).count();
        let request = RequestNo(self.requests.next().0 + u32::try_from(asked).unwrap_or(u32::MAX));
        records.extend(self.paid_or_asked(now, means, request, &waiting));
        records
    }

    /// The open request for the money for a call.
    fn asks_for_money(&self, flight: &InFlight) -> Option<RequestNo> {
        let of_it = |open: &&OpenRequest| open.call == flight.call && open.kind == RequestKind::Budget;
        self.requests.open().iter().find(of_it).map(|open| open.no)
    }

    /// What becomes of calls that wait for their payment or their time, or that people are asked to grant more for, in their order. Of one
    /// that goes on waiting nothing is said before its time is up.
    pub(crate) fn paid_or_asked(
        &self,
        now: Now,
        mut means: Means,
        mut request: RequestNo,
        waiting: &[&InFlight],
    ) -> Vec<Record> {
        let (mut records, mut closing) = (Vec::new(), None);
        for flight in waiting {
            let (call, Some(tool)) = (flight.call, &flight.tool) else { continue };
            let asked = self.asks_for_money(flight);
            let is_decided = asked.is_some() || flight.decided && flight.unpaid.is_some();
            let payment = if is_decided { Self::payment_decided } else { Self::payment };
            let payment = payment(self, now, &means, tool, flight.reserved);
            if let Some(request) = asked {
                // People go on being asked, where there is no more than there was.
                if matches!(payment, Payment::Asks(_) | Payment::Never(..)) {
                    continue;
                }
                records.push(settled_by_itself(request));
            }
            match payment {
                Payment::Now => {
                    means.book(&Booking::reserve(tool, flight.reserved));
                    records.push(Record::CallResumed { call });
                }
                Payment::Later(until, why) => {
                    let is_up = flight.unpaid.is_none_or(|until| until <= now.wall);
                    records.extend(is_up.then(|| Self::awaits_payment(call, until, why)));
                }
                Payment::Asks(ask) => {
                    records.push(self.request(now, request, call, ask));
                    request.0 += 1;
                }
                Payment::Never(why, limit) => {
                    closing = closing.or(limit);
                    let outcome = Err(unpaid(flight.doubted, flight, why));
                    records.push(Record::CallFinished { call, outcome, spent: Spend::NOTHING });
                }
            }
        }
        records.extend(closing.filter(|_| self.landing.expected().is_some()).map(|limit| Record::Closing { limit }));
        records
    }
}

/// Nobody need grant more any more: it is on record as a grant of nothing, by nobody.
fn settled_by_itself(request: RequestNo) -> Record {
    let note = "the budget covers the call by now".to_owned();
    Record::Decided { request, decision: Decision::NOT_NEEDED, by: NOBODY.to_owned(), note }
}

/// Whether a record says what becomes of a call.
fn is_about(record: &Record, of: CallNo) -> bool {
    match record {
        Record::CallFinished { call, .. }
        | Record::CallResumed { call }
        | Record::PaymentAwaited { call, .. }
        | Record::Requested { call, .. } => *call == of,
        _ => false,
    }
}
