//! The rules of money: what each record moves in the books, what a call is booked at, and what follows where one was dearer than it
//! was quoted, or broke off with its run.
//!
//! - What a call may cost is set aside while it is made, and becomes what it did cost. A tool that does not say what that was is
//!   believed to have taken what it was quoted at, however its call ended: nobody can know better.
//! - A call that broke off with its run and is made again costs again: what the first attempt had set aside counts as spent.
//! - One that cost more than it was quoted at is booked whole, and told. What it did once it may do again: the mission makes no
//!   further call that costs anything, and nobody is asked about one.
//!
//! How much is left is [`crate::budget`]'s to say.

use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use sortie_contract::id::{CallNo, MissionId};
use sortie_contract::limit;
use sortie_contract::money::Spend;
use sortie_contract::record::Record;
use sortie_contract::request::RequestKind;
use sortie_contract::tool::{CallError, MODEL, Repeat, ToolAnswer, ToolInfo, ToolName};

use crate::budget::Booking;
use crate::child::of_another;
use crate::command::{Command, Now, Refusal};
use crate::part::books::Overbill;
use crate::part::calls::InFlight;
use crate::payment::Payment;
use crate::request::doubt;
use crate::state::Mission;
use crate::wider::Payer;

impl Mission {
    /// What of that whoever counts beside the mission takes up: budgets that are wider than it, and what the node has spent. Not the shares of
    /// children, which these themselves book call by call.
    #[must_use]
    pub fn bookings_beside(&self, record: &Record) -> Vec<Booking> {
        let mut bookings = self.bookings(record);
        bookings.retain(|booking| !booking.is_share());
        bookings
    }

    /// What a record that is about to be applied moves in the books, call by call. Nothing for calls that are free.
    #[must_use]
    pub fn bookings(&self, record: &Record) -> Vec<Booking> {
        let made = |call: CallNo| self.calls.flight(call).ok().filter(|flight| !flight.held);
        let booking = match record {
            Record::CallStarted { tool, reserved, .. } if !reserved.is_nothing() => {
                Some(Booking::reserve(tool, *reserved))
            }
            Record::CallResumed { call } => {
                self.calls.flight(*call).ok().and_then(|flight| booking(flight, Booking::reserve))
            }
            Record::CallAgain { call } => made(*call).and_then(|flight| {
                let again = |tool: &_, reserved| Booking {
                    set_aside: reserved,
                    ..Booking::settle(tool, flight.since, reserved, reserved)
                };
                booking(flight, again)
            }),
            // Whatever was being made, and is now asked about, may have cost all of it.
            Record::Requested { call, .. } | Record::PaymentAwaited { call, .. } => {
                made(*call).and_then(|flight| settled(flight, flight.reserved))
            }
            // Nobody has done anything for it.
            Record::Postponed { call, .. } => made(*call).and_then(|flight| settled(flight, Spend::NOTHING)),
            Record::CallFinished { call, spent, .. } => made(*call).and_then(|flight| settled(flight, *spent)),
            // Nobody will learn what they did cost.
            Record::Finished { .. } | Record::Interrupted => {
                return self.calls.made().filter_map(|flight| settled(flight, flight.reserved)).collect();
            }
            _ => None,
        };
        booking.into_iter().collect()
    }

    /// Whose its calls are, for budgets that are wider than it.
    #[must_use]
    pub fn payer(&self) -> Payer<'_> {
        Payer { lane: self.lane(), source: &self.envelope.source_instance_id, vp: &self.envelope.vp_id }
    }

    /// Whether a command may set something aside: for a call that is new, is made again, or has waited.
    #[must_use]
    pub fn may_pay(&self, command: &Command<'_>) -> bool {
        match command {
            Command::Call { quote, .. } => !quote.is_nothing(),
            Command::Decide { changed: Some(changed), .. } if !changed.quote.is_nothing() => true,
            _ => self.calls.in_flight().iter().any(|flight| !flight.reserved.is_nothing()),
        }
    }

    /// What was set aside for a call that is being made.
    #[must_use]
    pub fn set_aside_for(&self, call: CallNo) -> Spend {
        self.calls.flight(call).ok().filter(|flight| !flight.held).map_or(Spend::NOTHING, |flight| flight.reserved)
    }

    /// Why the mission makes no call that may cost `wanted`, whatever its budget; nothing, where it may.
    pub(crate) fn barred(&self, wanted: Spend) -> Option<String> {
        let Overbill { tool, quoted, spent } = self.books.overbill().filter(|_| !wanted.is_nothing())?;
        Some(no_more(tool, *quoted, *spent))
    }

    /// A call has ended: its result with what it cost, and what follows. `over` is the end of the mission, where its time is over too.
    pub(crate) fn call_done(
        &self,
        call: CallNo,
        outcome: Result<ToolAnswer, CallError>,
        spent: Option<Spend>,
        over: Option<Record>,
    ) -> Result<Vec<Record>, Refusal> {
        // One that waits for a decision can only be given up.
        let given_up = matches!(outcome, Err(CallError::Cancelled));
        let Some(flight) = self.calls.flight(call).ok().filter(|flight| given_up || !flight.held) else {
            return over.map(|end| vec![end]).ok_or(Refusal::UnknownCall { call });
        };
        let spent = booked_at(flight, &outcome, spent);
        // So many results may be on their way that together they pass the bound: the one that would is not kept.
        let recorded = |answer: &ToolAnswer| self.recorded_bytes.saturating_add(answer.result.len());
        let is_too_much = outcome.as_ref().is_ok_and(|answer| recorded(answer) > limit::RECORDED_BYTES_MAX);
        let unkept = || Err(CallError::Failed("the mission has recorded as much as it may".to_owned()));
        let outcome = if is_too_much { unkept() } else { outcome };
        let mut records = vec![Record::CallFinished { call, outcome, spent }];
        let dearer = flight.tool.as_ref().filter(|_| !flight.held && !spent.fits(flight.reserved));
        let overbilled =
            |tool: &ToolName| Record::Overbilled { call, tool: tool.clone(), quoted: flight.reserved, spent };
        records.extend(dearer.map(overbilled));
        // A result that is there is not thrown away, even now: what it cost belongs to the usage.
        let over = over.or_else(|| is_too_much.then(|| self.recorded_too_much()));
        let goes_on = matches!(over, None | Some(Record::CarriedOver { .. }));
        if let Some(tool) = dearer.filter(|_| goes_on) {
            records.extend(self.turned_down(&no_more(tool, flight.reserved, spent)));
        }
        records.extend(over);
        Ok(records)
    }

    /// A child has ended, or came to nothing.
    pub(crate) fn child_done(
        &self,
        now: Now,
        call: CallNo,
        outcome: Result<ToolAnswer, CallError>,
        spent: Option<Spend>,
    ) -> Result<Vec<Record>, Refusal> {
        if self.order_of_child(call).is_none() {
            return Err(Refusal::UnknownCall { call });
        }
        self.call_done(call, outcome, spent, self.time_over(now))
    }

    /// The calls that cost something and that people are asked about, or that wait for their payment, once one was dearer than it was
    /// quoted: nobody is asked for what cannot be granted. Where a call may have happened, people can still say what came of it.
    fn turned_down(&self, why: &str) -> Vec<Record> {
        let asked = self.requests.open().iter().filter(|open| open.kind != RequestKind::Uncertain);
        let unpaid_ones = self.calls.in_flight().iter().filter(|flight| flight.unpaid.is_some());
        let flights = asked.filter_map(|open| self.calls.flight(open.call).ok()).chain(unpaid_ones);
        let costly = flights.filter(|flight| flight.held && !flight.reserved.is_nothing());
        let turned_down = |flight: &InFlight| {
            let outcome = Err(unpaid(flight.doubted, flight, why.to_owned()));
            Record::CallFinished { call: flight.call, outcome, spent: Spend::NOTHING }
        };
        costly.map(turned_down).collect()
    }

    /// Whether a call that ends so takes the request about it along: given up, or not to be paid for any more.
    pub(crate) fn withdraws(&self, outcome: &Result<ToolAnswer, CallError>) -> bool {
        match outcome {
            Err(CallError::Cancelled) => true,
            Err(CallError::BudgetExhausted(_) | CallError::Uncertain(_)) => self.books.overbill().is_some(),
            _ => false,
        }
    }

    /// What becomes of the calls that a run was making when it broke off. What must not be made twice without a word is asked about; the
    /// others are made again, as far as the budget covers them once more. `tools` are those of the node.
    pub(crate) fn broke_off(&self, now: Now, tools: &[ToolInfo]) -> Vec<Record> {
        let (mut means, mut request) = (self.means(now), self.requests.next());
        let mut records = Vec::new();
        // What was approved while it was out of memory nobody has made.
        // One that has not begun has the calls of another mission: nobody here has seen what became of them.
        let is_in_memory = self.run().is_some() || self.runs.begun == 0;
        let of = self.forked_from().filter(|_| self.runs.begun == 0).map(|from| &from.mission_id);
        // A child goes on, whatever becomes of the run that waits for it.
        let broke_off = || self.calls.made().filter(|flight| !flight.is_child() && (is_in_memory || flight.broke_off));
        records.extend(
            of.into_iter()
                .flat_map(move |of| self.calls.open_children().map(move |flight| of_another_mission(of, flight))),
        );
        // Their first attempts count as spent, whatever becomes of each.
        broke_off().filter_map(|flight| settled(flight, flight.reserved)).for_each(|booking| means.book(&booking));
        for flight in broke_off() {
            let (call, reserved) = (flight.call, flight.reserved);
            let Some(tool) = &flight.tool else { continue };
            let ended = |error| Record::CallFinished { call, outcome: Err(error), spent: reserved };
            // A class that its tool got since is believed: so was what it stands for when the call was made.
            let known = tools.iter().find(|known| known.name == *tool);
            let ask = match known.map_or(flight.repeat, |known| flight.repeat.max(known.repeat())) {
                Repeat::Effectful => doubt(tool, of),
                Repeat::ReadOnly | Repeat::Idempotent if reserved.is_nothing() => continue,
                Repeat::ReadOnly | Repeat::Idempotent => {
                    // Whether a model is still there, whoever makes the call finds out: nothing has come of one that is not.
                    if known.is_none() && tool.as_str() != MODEL {
                        records.push(ended(self.told_of_lost(call, tool, None)));
                        continue;
                    }
                    match self.payment(now, &means, tool, reserved) {
                        Payment::Now => {
                            means.book(&Booking::reserve(tool, reserved));
                            records.push(Record::CallAgain { call });
                            continue;
                        }
                        Payment::Later(until, why) => {
                            records.push(Self::awaits_payment(call, until, why));
                            continue;
                        }
                        Payment::Never(why, _) => {
                            records.push(ended(unpaid(true, flight, why)));
                            continue;
                        }
                        Payment::Asks(ask) => ask,
                    }
                }
            };
            records.push(self.request(now, request, call, ask));
            request.0 += 1;
        }
        records
    }
}

/// What a call is booked at. Where its tool does not say what it did cost: at what was set aside; at nothing, where its arguments made
/// no call, and where it was given up while it waited.
fn booked_at(flight: &InFlight, outcome: &Result<ToolAnswer, CallError>, said: Option<Spend>) -> Spend {
    match outcome {
        _ if flight.held => Spend::NOTHING,
        Err(CallError::InvalidArguments(_)) => said.unwrap_or(Spend::NOTHING),
        _ => said.unwrap_or(flight.reserved),
    }
}

/// What a plugin is told of a call that is not paid for. Where it `may_have_happened`, it is not told that it did not.
pub(crate) fn unpaid(may_have_happened: bool, flight: &InFlight, why: String) -> CallError {
    match (flight.repeat, &flight.tool) {
        (Repeat::Idempotent | Repeat::Effectful, Some(tool)) if may_have_happened => CallError::Uncertain(format!(
            "the node stopped while `{tool}` was being called, so that it is not known whether the call happened; it is not repeated: {why}"
        )),
        _ => CallError::BudgetExhausted(why),
    }
}

fn no_more(tool: &ToolName, quoted: Spend, spent: Spend) -> String {
    format!(
        "a call of `{tool}` did cost {spent} and was quoted at {quoted}: this mission makes no further call that costs anything"
    )
}

/// What becomes in a fork of a call that waits for a child of the mission that it is of.
fn of_another_mission(of: &MissionId, flight: &InFlight) -> Record {
    let call = flight.call;
    Record::CallFinished { call, outcome: Err(of_another(of, call)), spent: Spend::NOTHING }
}

/// What moves when a call is over that did cost so much.
fn settled(flight: &InFlight, spent: Spend) -> Option<Booking> {
    booking(flight, |tool, reserved| Booking::settle(tool, flight.since, reserved, spent))
}

/// What moves by a call; nothing, where it is free.
fn booking(flight: &InFlight, booking: impl FnOnce(&ToolName, Spend) -> Booking) -> Option<Booking> {
    flight.tool.as_ref().map(|tool| booking(tool, flight.reserved)).filter(|booking| !booking.is_nothing())
}
