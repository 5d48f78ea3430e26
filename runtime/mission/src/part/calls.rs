//! What a plugin asks of its node: the numbers of host calls, and the calls that have no result yet.

use alloc::borrow::ToOwned as _;
use alloc::string::String;
use alloc::vec::Vec;
use core::mem;

use jiff::Timestamp;
use sortie_contract::digest::Digest;
use sortie_contract::id::{CallNo, MissionId};
use sortie_contract::money::Spend;
use sortie_contract::request::{ChildRequest, RequestNo};
use sortie_contract::tool::{CallError, Repeat, ToolName};

/// The host calls of a mission.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Calls {
    /// The number of the latest host call.
    numbered: u32,
    /// Calls without a result yet, by number. None, while no run of the mission has begun, and once it has ended.
    in_flight: Vec<InFlight>,
    /// The latest call that was refused: what a failed mission's next step often hangs on.
    last_refused: Option<(ToolName, CallError)>,
    /// How many children were asked for, and not refused.
    children: u32,
    /// How many missions these take, with those that may come of each.
    family: u32,
    /// The latest call to end whose child had been dispatched.
    child_over: Option<CallNo>,
}

/// A call that has no result yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InFlight {
    pub(crate) call: CallNo,
    /// `None`: the plugin's question to people.
    pub(crate) tool: Option<ToolName>,
    /// Those that it is made with: JSON text; the question, where it is one.
    pub(crate) arguments: String,
    /// What its plugin wanted it made with, where somebody changed that.
    pub(crate) wanted: Option<String>,
    /// Of these.
    pub(crate) digest: Digest,
    pub(crate) repeat: Repeat,
    /// Set aside while it is made.
    pub(crate) reserved: Spend,
    /// It waits for a decision, for its payment, or for the time to which it was put off; nothing of it has happened, or nobody knows.
    pub(crate) held: bool,
    /// When it began, went on after a wait, or was made again.
    pub(crate) since: Timestamp,
    /// It was being made when a run broke off, and nobody knows what came of that.
    pub(crate) doubted: bool,
    /// It was being made when its mission was carried over, and nobody has seen to it since.
    pub(crate) broke_off: bool,
    /// Its provider refused it for now, at least once.
    pub(crate) postponed: Option<Postponed>,
    /// Nobody pays for it for now: until when it waits.
    pub(crate) unpaid: Option<Timestamp>,
    /// People have decided that it is made.
    pub(crate) decided: bool,
    /// How often its tool has asked people something while it was being made, in all attempts together.
    pub(crate) questions: u32,
    /// Until when people have time for what its tool asks, where it has asked something that nobody has answered.
    pub(crate) asks_until: Option<Timestamp>,
    /// What its child, and those below that, ask people.
    pub(crate) child_asks: Vec<ChildRequest>,
}

impl InFlight {
    /// A call that is asked for now, by nobody's tool so far.
    pub(crate) fn begun(call: CallNo, at: Timestamp, arguments: &str, digest: Digest) -> Self {
        Self {
            call,
            tool: None,
            arguments: arguments.to_owned(),
            wanted: None,
            digest,
            repeat: Repeat::ReadOnly,
            reserved: Spend::NOTHING,
            held: true,
            since: at,
            doubted: false,
            broke_off: false,
            postponed: None,
            unpaid: None,
            decided: false,
            questions: 0,
            asks_until: None,
            child_asks: Vec::new(),
        }
    }

    /// Until when its provider refuses it.
    pub(crate) fn put_off_until(&self) -> Option<Timestamp> {
        self.postponed.and_then(|put_off| put_off.until)
    }

    /// It is made.
    fn waits_no_more(&mut self) {
        self.postponed = self.postponed.map(|postponed| Postponed { until: None, ..postponed });
        self.unpaid = None;
    }

    /// It waits for people, or for money: that is no time that its provider has taken.
    fn waits_for_others(&mut self) {
        (self.postponed, self.unpaid) = (None, None);
    }
}

/// A call that its provider refuses for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Postponed {
    /// When it was put off first.
    pub(crate) since: Timestamp,
    /// How often it was.
    pub(crate) times: u32,
    /// Until when it waits; `None` where it was made again.
    pub(crate) until: Option<Timestamp>,
}

/// Something that happens to a call.
#[derive(Debug, Clone)]
#[expect(
    clippy::large_enum_variant,
    reason = "a step is made and taken at once: a box would be an allocation for each call"
)]
pub(crate) enum CallStep<'a> {
    /// A host call takes the next number, and is answered at once.
    Numbered(CallNo),
    /// One that is refused.
    Refused { call: CallNo, tool: &'a ToolName, error: &'a CallError },
    /// One that is made, or held, from now on.
    Begun(InFlight),
    /// Somebody changes what it is made with.
    Amended { call: CallNo, arguments: &'a str },
    /// What is set aside for it, once it is made, is another sum by that.
    Requoted { call: CallNo, reserved: Spend },
    /// It waits for a decision.
    Waits(CallNo),
    /// People have decided that it is made.
    Decided(CallNo),
    /// Its tool, which is making it, asks people something.
    Asks { call: CallNo, until: Timestamp },
    /// Somebody has said something to what its tool asked.
    Heard(CallNo),
    /// Its child, or one below it, asks people something.
    ChildAsks { call: CallNo, asks: &'a ChildRequest },
    /// Nobody need decide any more about what one of them asked.
    ChildHeard { call: CallNo, of: &'a MissionId, request: RequestNo },
    /// Nobody pays for it for now.
    Unpaid { call: CallNo, until: Timestamp },
    /// It is made again, after its run broke off.
    Again { call: CallNo, at: Timestamp },
    /// It is made, after a decision or at its time.
    Resumed { call: CallNo, at: Timestamp },
    /// Its provider refuses it for now.
    Postponed { call: CallNo, at: Timestamp, until: Timestamp },
    /// It has its result.
    Finished(CallNo),
    /// The mission is carried over: what is being made breaks off.
    CarriedOver,
    /// The calls are given up: the mission has ended, or begins again.
    BrokenOff,
    /// A run begins: whoever asked in the one before is gone, and what is made again asks anew.
    RunBegins,
}

/// Why something cannot have happened to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CallMisfit {
    /// Another number was due.
    #[error("host calls are numbered 1, 2, 3 …: {call} is not the next")]
    Numbering {
        /// The one that came.
        call: CallNo,
    },
    /// It never was, or has its result.
    #[error("call {call} is not in flight")]
    NotInFlight {
        /// Which.
        call: CallNo,
    },
    /// Nobody knows yet what it cost.
    #[error("call {call} has not ended")]
    NotEnded {
        /// Which.
        call: CallNo,
    },
    /// It is being made already.
    #[error("call {call} does not wait for a decision or for its time")]
    NotHeld {
        /// Which.
        call: CallNo,
    },
    /// It is not made, as long as nobody has decided, or its time has not come.
    #[error("call {call} waits for a decision or for its time")]
    Held {
        /// Which.
        call: CallNo,
    },
    /// It dispatches no child.
    #[error("call {call} waits for no child")]
    NoChild {
        /// Which.
        call: CallNo,
    },
    /// What its child asks is told once.
    #[error("of that request of the child of call {call} it was told before")]
    AsksTwice {
        /// Which.
        call: CallNo,
    },
    /// Nobody was told that it does.
    #[error("the child of call {call} does not ask that")]
    AsksNot {
        /// Which.
        call: CallNo,
    },
    /// A run with a call under way does not only wait, unless that waits for a child.
    #[error("call {call} is being made")]
    BeingMade {
        /// Which.
        call: CallNo,
    },
}

impl Calls {
    /// Takes up what happens to a call.
    ///
    /// # Errors
    /// [`CallMisfit`]; nothing has changed then.
    pub(crate) fn apply(&mut self, step: CallStep<'_>) -> Result<(), CallMisfit> {
        match step {
            CallStep::Numbered(call) => self.number(call)?,
            CallStep::Refused { call, tool, error } => {
                self.number(call)?;
                self.last_refused = Some((tool.clone(), error.clone()));
            }
            CallStep::Begun(flight) => {
                self.number(flight.call)?;
                self.children += u32::from(flight.is_child());
                self.family = self.family.saturating_add(flight.missions());
                self.in_flight.push(flight);
            }
            CallStep::Amended { call, arguments } => {
                let flight = held(&mut self.in_flight, call)?;
                let wanted = mem::replace(&mut flight.arguments, arguments.to_owned());
                flight.wanted.get_or_insert(wanted);
                flight.digest = Digest::of(arguments.as_bytes());
            }
            CallStep::Requoted { call, reserved } => held(&mut self.in_flight, call)?.reserved = reserved,
            CallStep::Waits(call) => {
                let flight = in_flight(&mut self.in_flight, call)?;
                flight.doubted |= !flight.held;
                flight.waits_for_others();
                (flight.held, flight.broke_off) = (true, false);
            }
            CallStep::Unpaid { call, until } => {
                let flight = in_flight(&mut self.in_flight, call)?;
                flight.doubted |= !flight.held;
                flight.waits_for_others();
                flight.unpaid = Some(until);
                (flight.held, flight.broke_off) = (true, false);
            }
            CallStep::Decided(call) => held(&mut self.in_flight, call)?.decided = true,
            CallStep::Asks { call, until } => {
                let flight = made(&mut self.in_flight, call)?;
                flight.questions = flight.questions.saturating_add(1);
                flight.asks_until = Some(until);
            }
            CallStep::ChildAsks { call, asks } => {
                let known = &mut child_of(&mut self.in_flight, call)?.child_asks;
                if known.iter().any(|known| known.is(&asks.of, asks.request)) {
                    return Err(CallMisfit::AsksTwice { call });
                }
                known.push(asks.clone());
            }
            CallStep::ChildHeard { call, of, request } => {
                let known = &mut child_of(&mut self.in_flight, call)?.child_asks;
                let at = known.iter().position(|known| known.is(of, request));
                known.remove(at.ok_or(CallMisfit::AsksNot { call })?);
            }
            CallStep::Heard(call) => made(&mut self.in_flight, call)?.asks_until = None,
            CallStep::Again { call, at } => {
                let flight = made(&mut self.in_flight, call)?;
                (flight.doubted, flight.broke_off) = (true, false);
                (flight.since, flight.asks_until) = (at, None);
            }
            CallStep::Resumed { call, at } => {
                let flight = held(&mut self.in_flight, call)?;
                flight.held = false;
                (flight.since, flight.asks_until) = (at, None);
                flight.waits_no_more();
            }
            CallStep::Postponed { call, at, until } => {
                let flight = made(&mut self.in_flight, call)?;
                let (since, times) = flight.postponed.map_or((at, 0), |postponed| (postponed.since, postponed.times));
                flight.postponed = Some(Postponed { since, times: times.saturating_add(1), until: Some(until) });
                (flight.held, flight.broke_off) = (true, false);
            }
            CallStep::Finished(call) => {
                let at = self.in_flight.iter().position(|flight| flight.call == call);
                let flight = self.in_flight.remove(at.ok_or(CallMisfit::NotInFlight { call })?);
                if flight.is_child() && !flight.held {
                    self.child_over = Some(call);
                }
            }
            CallStep::CarriedOver => {
                let breaks_off = |flight: &&mut InFlight| !flight.held && !flight.is_child();
                self.in_flight.iter_mut().filter(breaks_off).for_each(|flight| flight.broke_off = true);
            }
            CallStep::BrokenOff => self.in_flight = Vec::new(),
            CallStep::RunBegins => self.in_flight.iter_mut().for_each(|flight| flight.asks_until = None),
        }
        Ok(())
    }

    fn number(&mut self, call: CallNo) -> Result<(), CallMisfit> {
        self.is_next(call)?;
        self.numbered = call.0;
        Ok(())
    }

    /// That a host call has the number that is due.
    pub(crate) fn is_next(&self, call: CallNo) -> Result<(), CallMisfit> {
        if call == self.next() { Ok(()) } else { Err(CallMisfit::Numbering { call }) }
    }

    /// The call, while it has no result.
    pub(crate) fn flight(&self, call: CallNo) -> Result<&InFlight, CallMisfit> {
        self.in_flight.iter().find(|flight| flight.call == call).ok_or(CallMisfit::NotInFlight { call })
    }

    /// That the call is being made.
    pub(crate) fn is_made(&self, call: CallNo) -> Result<(), CallMisfit> {
        if self.flight(call)?.held { Err(CallMisfit::Held { call }) } else { Ok(()) }
    }

    /// That the call was, and is over.
    pub(crate) fn has_ended(&self, call: CallNo) -> Result<(), CallMisfit> {
        let is_over = call.0 <= self.numbered && self.flight(call).is_err();
        if is_over { Ok(()) } else { Err(CallMisfit::NotEnded { call }) }
    }

    /// That no call is being made here: what is in flight waits for decisions, or for children.
    pub(crate) fn only_waits(&self) -> Result<(), CallMisfit> {
        self.made()
            .find(|flight| !flight.is_child())
            .map_or(Ok(()), |flight| Err(CallMisfit::BeingMade { call: flight.call }))
    }

    /// The run that was refused is of no account any more.
    pub(crate) fn forget_refused(&mut self) {
        self.last_refused = None;
    }

    /// The calls that have no result, by number.
    pub(crate) fn in_flight(&self) -> &[InFlight] {
        &self.in_flight
    }

    /// Those that wait for their providers or for their payment.
    pub(crate) fn put_off(&self) -> impl Iterator<Item = &InFlight> {
        self.in_flight.iter().filter(|flight| flight.unpaid.is_some() || flight.put_off_until().is_some())
    }

    /// Those of them that are being made.
    pub(crate) fn made(&self) -> impl Iterator<Item = &InFlight> {
        self.in_flight.iter().filter(|flight| !flight.held)
    }

    /// Those that wait for children, which go on whatever becomes of the run.
    pub(crate) fn open_children(&self) -> impl Iterator<Item = &InFlight> {
        self.made().filter(|flight| flight.is_child())
    }

    /// How many children were asked for, and not refused.
    pub(crate) fn children(&self) -> u32 {
        self.children
    }

    /// How many missions these take, with those that may come of each.
    pub(crate) fn family(&self) -> u32 {
        self.family
    }

    /// Whether the call was the latest to end whose child had been dispatched.
    pub(crate) fn is_of_child_over(&self, call: CallNo) -> bool {
        self.child_over == Some(call)
    }

    /// The number of the latest host call.
    pub(crate) fn numbered(&self) -> u32 {
        self.numbered
    }

    /// The number of the next.
    pub(crate) fn next(&self) -> CallNo {
        CallNo(self.numbered + 1)
    }

    /// The latest call that was refused.
    pub(crate) fn last_refused(&self) -> Option<&(ToolName, CallError)> {
        self.last_refused.as_ref()
    }

    /// The sum of what the calls that are being made have set aside.
    pub(crate) fn set_aside(&self) -> Spend {
        self.made().fold(Spend::NOTHING, |sum, flight| sum.saturating_add(flight.reserved))
    }
}

/// One that waits.
fn held(all: &mut [InFlight], call: CallNo) -> Result<&mut InFlight, CallMisfit> {
    let flight = in_flight(all, call)?;
    if flight.held { Ok(flight) } else { Err(CallMisfit::NotHeld { call }) }
}

/// One that is being made.
fn made(all: &mut [InFlight], call: CallNo) -> Result<&mut InFlight, CallMisfit> {
    let flight = in_flight(all, call)?;
    if flight.held { Err(CallMisfit::Held { call }) } else { Ok(flight) }
}

/// One that waits for a child.
fn child_of(all: &mut [InFlight], call: CallNo) -> Result<&mut InFlight, CallMisfit> {
    let flight = made(all, call)?;
    if flight.is_child() { Ok(flight) } else { Err(CallMisfit::NoChild { call }) }
}

fn in_flight(all: &mut [InFlight], call: CallNo) -> Result<&mut InFlight, CallMisfit> {
    all.iter_mut().find(|flight| flight.call == call).ok_or(CallMisfit::NotInFlight { call })
}
