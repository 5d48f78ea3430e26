//! Whether a call is paid for: now, later, by a decision of people, or not at all.
//!
//! - What is kept for landing is paid for nobody who does not land.
//! - Where only what other calls have set aside stands in the way, the call waits for what they give back: quotes are the most that a call
//!   can cost, and people are not woken for what comes back by itself.
//! - Where the mission's own budget is spent, people are asked. Where one is that is wider than the mission, it is waited for.
//!
//! What is left of a budget is [`crate::budget`]'s and [`crate::wider`]'s to say.

use alloc::borrow::ToOwned as _;
use alloc::string::String;
use alloc::vec::Vec;

use jiff::{SignedDuration, Timestamp};
use sortie_contract::id::CallNo;
use sortie_contract::money::Spend;
use sortie_contract::record::{Closing, Record};
use sortie_contract::request::RequestNo;
use sortie_contract::tool::ToolName;

use crate::budget::{Booking, Fit, Ledger, Limits, Short};
use crate::command::Now;
use crate::decide::note;
use crate::part::calls::InFlight;
use crate::request::{Ask, beyond};
use crate::spend::unpaid;
use crate::state::Mission;
use crate::wider::{Says, Wider};

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
    wider: Wider,
}

impl Means {
    /// Takes a booking up.
    pub(crate) fn book(&mut self, booking: &Booking) {
        self.own.book(booking);
        self.wider.book(booking);
    }
}

impl Mission {
    /// What it can pay from at the moment.
    pub(crate) fn means(&self, now: Now) -> Means {
        Means { own: *self.books.ledger(), wider: now.wider }
    }

    /// Whether a call is paid for that may cost `wanted`.
    pub(crate) fn payment(&self, now: Now, means: &Means, tool: &ToolName, wanted: Spend) -> Payment {
        self.paid_by(now, means, tool, wanted, Limits::from(&self.payable(&self.budget)))
    }

    /// The same of a call that people have decided about: where it would take of what is kept for landing they are asked for more, as
    /// for what goes beyond the budget.
    pub(crate) fn payment_decided(&self, now: Now, means: &Means, tool: &ToolName, wanted: Spend) -> Payment {
        match self.payment(now, means, tool, wanted) {
            Payment::Never(_, Some(_)) => match means.own.fit(Limits::from(&self.payable(&self.budget)), wanted) {
                Fit::Now => Payment::Now,
                Fit::SetAside(short) | Fit::Never(short) => Payment::Asks(beyond(tool, short)),
            },
            other => other,
        }
    }

    /// The same, where so much of its own budget may be used.
    pub(crate) fn paid_by(&self, now: Now, means: &Means, tool: &ToolName, wanted: Spend, limits: Limits) -> Payment {
        if wanted.is_nothing() {
            return Payment::Now;
        }
        if let Some(why) = self.barred(wanted) {
            return Payment::Never(why, None);
        }
        // Nobody is asked for what cannot be granted.
        let wider = match means.wider.covers(now.wall, wanted) {
            Says::Never(why) => return Payment::Never(why, None),
            Says::Later(until, why) => Some((until, why)),
            Says::Covered => None,
        };
        let own = match means.own.fit(limits, wanted) {
            Fit::Now => None,
            Fit::SetAside(short) => {
                Some((now.wall.checked_add(OTHERS_LOOK).unwrap_or(Timestamp::MAX), short.of_mission()))
            }
            Fit::Never(short) => match means.own.fit(Limits::from(&self.budget), wanted) {
                Fit::Now | Fit::SetAside(_) => {
                    let limit = match short {
                        Short::Calls { .. } => Closing::LlmCalls,
                        Short::Cost { .. } => Closing::Cost,
                    };
                    let why = "what is left of the budget is kept for landing: `land` sets it free".to_owned();
                    return Payment::Never(why, Some(limit));
                }
                Fit::Never(short) => return Payment::Asks(beyond(tool, short)),
            },
        };
        match wider.or(own) {
            Some((until, why)) => Payment::Later(until, why),
            None => Payment::Now,
        }
    }

    /// When the first call is looked at again that waits for its payment; nothing, before the mission has had a turn in its window.
    #[must_use]
    pub fn unpaid_until(&self) -> Option<Timestamp> {
        let unpaid = self.calls.in_flight().iter().filter_map(|flight| flight.unpaid).min();
        unpaid.filter(|_| !self.windows.is_awaited())
    }

    /// The record of a call that waits for its payment.
    pub(crate) fn awaits_payment(call: CallNo, until: Timestamp, why: String) -> Record {
        Record::PaymentAwaited { call, until, why: note(why) }
    }

    /// What was decided, and behind it what becomes of those calls that wait for their payment: where another of their mission has ended, and
    /// where a run begins, for a budget may be another one since.
    pub(crate) fn with_paid(&self, now: Now, mut records: Vec<Record>) -> Vec<Record> {
        // Behind a call that was too dear, what waits has been turned down.
        let breaks_off = |record: &Record| {
            matches!(record, Record::Finished { .. } | Record::CarriedOver { .. } | Record::Overbilled { .. })
        };
        let flights = self.calls.in_flight().iter().filter(|flight| flight.unpaid.is_some());
        let is_decided = |flight: &&InFlight| !records.iter().any(|record| is_about(record, flight.call));
        let waiting: Vec<&InFlight> = flights.filter(is_decided).collect();
        let begins = matches!(records.first(), Some(Record::Started { .. }));
        let may_not = self.windows.is_awaited() && !begins;
        if waiting.is_empty() || may_not || records.iter().any(breaks_off) || self.time_over(now).is_some() {
            return records;
        }
        let bookings: Vec<Booking> = records.iter().flat_map(|record| self.bookings(record)).collect();
        if !begins && bookings.iter().all(|booking| booking.let_go.is_nothing()) {
            return records;
        }
        let mut means = self.means(now);
        bookings.iter().for_each(|booking| means.book(booking));
        let asked = records.iter().filter(|record| matches!(record, Record::Requested { .. })).count();
        let request = RequestNo(self.requests.next().0 + u32::try_from(asked).unwrap_or(u32::MAX));
        records.extend(self.paid_or_asked(now, means, request, &waiting));
        records
    }

    /// What becomes of calls that wait for their payment or their time, in their order. Of one that goes on waiting nothing is said before
    /// its time is up.
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
            let is_decided = flight.decided && flight.unpaid.is_some();
            let payment = if is_decided { Self::payment_decided } else { Self::payment };
            match payment(self, now, &means, tool, flight.reserved) {
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
