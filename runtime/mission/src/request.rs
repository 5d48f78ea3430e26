//! Requests: when a mission must ask, what it asks, and what follows from an answer.
//!
//! One mechanism for four reasons (contract reading, *Lifecycle*): a call that needs approval, a question of the plugin, a
//! call that the budget does not cover, a call that may or may not have happened before a crash. A request holds the one
//! call that needs it and nothing else.

use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec;
use alloc::vec::Vec;

use jiff::Timestamp;
use sortie_contract::MissionId;
use sortie_contract::envelope::OnExpiry;
use sortie_contract::id::CallNo;
use sortie_contract::limit;
use sortie_contract::money::Spend;
use sortie_contract::record::Record;
use sortie_contract::request::{Decision, NOBODY, RequestKind, RequestNo};
use sortie_contract::tool::{ASK, CallError, MISSION, MODEL, ToolAnswer, ToolInfo, ToolName};

use crate::budget::{Fit, Limits, Short, raised};
use crate::command::{Changed, Handle, Now, Refusal};
use crate::decide::{away, denied, gone, limits_of_form, note};
use crate::finish::Cause;
use crate::gate::{Approval, Gate};
use crate::part::calls::InFlight;
use crate::part::requests::OpenRequest;
use crate::payment::Payment;
use crate::spend::unpaid;
use crate::state::Mission;
use crate::window::{Moment, moment};

/// What to ask for, and in which words.
pub(crate) type Ask = (RequestKind, String);

impl Mission {
    /// The approval that has to be asked for before a call that the gate does not refuse.
    pub(crate) fn must_ask(&self, gate: Gate<'_>, tool: &ToolInfo, arguments: &str) -> Option<Ask> {
        let Gate::NeedsApproval(approval) = gate else { return None };
        let rules = self.rules.of(&self.envelope.constraints);
        let is_approved = self.requests.approves(&tool.name, rules.scoped_approvals(&tool.name, arguments));
        (!is_approved).then(|| (RequestKind::Approval, approval_question(tool, approval)))
    }

    /// The record of a request that is made now.
    pub(crate) fn request(&self, now: Now, request: RequestNo, call: CallNo, (kind, question): Ask) -> Record {
        Record::Requested { request, call, kind, question: note(question), expires_at: self.expires_at(now) }
    }

    /// When a request that is made now expires.
    pub(crate) fn expires_at(&self, now: Now) -> Timestamp {
        // One that goes on in a further window keeps its question.
        let closes_at = self.windows.window.end_at.filter(|_| !self.windows.may_go_on());
        let by_itself = if self.on_expiry(now) == OnExpiry::Wait { Timestamp::MAX } else { now.expires_at };
        closes_at.map_or(by_itself, |end| end.min(by_itself))
    }

    /// What becomes of its requests that nobody answers.
    fn on_expiry(&self, now: Now) -> OnExpiry {
        self.envelope.on_expiry.unwrap_or(now.on_expiry)
    }

    /// The end, where nobody answered in time and that ends it.
    pub(crate) fn expired(&self, now: Now) -> Option<Record> {
        let expired = self.requests.open().iter().find(|open| open.expires_at <= now.wall)?;
        let ends = self.on_expiry(now) != OnExpiry::Deny;
        let question = self.told_question(expired);
        ends.then(|| self.end(Cause::RequestExpired { question: &question, expired_at: expired.expires_at }))
    }

    /// The requests that nobody answered in time, turned down, where that does not end it.
    pub(crate) fn turned_down_late(&self, now: Now) -> Vec<Record> {
        let expired = self.requests.open().iter().filter(|open| open.expires_at <= now.wall);
        let turned_down = expired.filter_map(|open| {
            let flight = self.calls.flight(open.call).ok()?;
            let (by, note) = (NOBODY.to_owned(), format!("no answer came until {}", open.expires_at));
            let follows = self.follows(now, open, flight, &Decision::Deny, &by, &note).ok()?;
            let decided = Record::Decided { request: open.no, decision: Decision::Deny, by, note };
            Some([decided].into_iter().chain(follows))
        });
        turned_down.flatten().collect()
    }

    /// What follows from a decision.
    pub(crate) fn decide_request(
        &self,
        now: Now,
        request: RequestNo,
        decision: Decision,
        by: String,
        why: String,
        terms: Option<Changed<'_>>,
    ) -> Result<Vec<Record>, Refusal> {
        match self.requests.decision(request) {
            Some(before) if *before == decision => return Ok(Vec::new()),
            Some(before) => {
                let (decision, changed) = (before.as_str(), self.requests.amends(request).is_some());
                return Err(Refusal::AlreadyDecided { request, decision, changed });
            }
            None => {}
        }
        if let Some(why) = self.requests.withdrawn(request) {
            return Err(Refusal::Withdrawn { request, why: why.to_owned() });
        }
        let open = self.requests.get(request).ok_or(Refusal::UnknownRequest { request })?;
        let over = self.time_over(now);
        let carried = over.as_ref().is_some_and(|over| matches!(over, Record::CarriedOver { .. }));
        // Carried over, a call that asks breaks off, and nobody waits for the answer.
        let ends = |_: &Record| !carried || open.form.is_some();
        if let Some(end) = over.clone().filter(ends).or_else(|| self.expired(now)) {
            return Ok(vec![end]);
        }
        if let (Moment::Before(start_at), true) = (moment(self.windows.window, now.wall), self.run().is_some()) {
            // Only where the wall clock was set back.
            return Err(Refusal::NotYet { start_at });
        }
        let flight = self.calls.flight(open.call).expect("a request belongs to a call in flight");
        let amended = match (open.kind, &decision) {
            (RequestKind::Approval, Decision::Amend { arguments }) => Some(self.amend(flight, arguments, terms)?),
            _ => None,
        };
        let follows = self.follows(now, open, amended.as_ref().unwrap_or(flight), &decision, &by, &why)?;
        let decided = Record::Decided { request, decision, by: note(by), note: note(why) };
        let requoted = amended.map(|amended| amended.reserved).filter(|reserved| *reserved != flight.reserved);
        let requoted = requoted.map(|reserved| Record::Requoted { call: open.call, reserved });
        Ok(over.into_iter().chain([decided]).chain(requoted).chain(follows).collect())
    }

    /// The call as somebody changed it, if it may be made so: each rule of the constraints holds for it but the need of an approval, which this
    /// is, whichever entry asks for it. Whoever changes arguments has seen them.
    fn amend(&self, flight: &InFlight, arguments: &str, terms: Option<Changed<'_>>) -> Result<InFlight, Refusal> {
        let Some(Changed { tool, quote }) = terms else {
            return Err(Refusal::NotAmendable {
                why: "the call of a model, or the dispatch of a mission, is approved as it is, or denied",
            });
        };
        let why = match tool {
            Handle::Tool(tool) if Some(&tool.name) == flight.tool.as_ref() => {
                let too_long = || limits_of_form(arguments);
                denied(self.gate(tool, arguments), tool).or_else(too_long)
            }
            Handle::Tool(_) | Handle::Model | Handle::Mission { .. } => Some("it is a call of another tool".to_owned()),
            Handle::Gone(name) => Some(gone(name)),
            Handle::Away { tool, why } => Some(away(tool, why)),
        };
        match why {
            Some(why) => Err(Refusal::NotAllowed { why }),
            None => Ok(InFlight { arguments: arguments.to_owned(), reserved: quote, ..flight.clone() }),
        }
    }

    /// The tool of a call whose arguments may be changed by whoever approves it; nothing, where that is not asked for.
    #[must_use]
    pub fn amendable(&self, request: RequestNo) -> Option<&ToolName> {
        let open = self.requests.get(request).filter(|open| open.kind == RequestKind::Approval)?;
        self.calls.flight(open.call).ok()?.tool.as_ref().filter(|tool| ![MODEL, MISSION].contains(&tool.as_str()))
    }

    /// The arguments that a call is made with, where whoever approved it changed what its plugin wanted: JSON text.
    #[must_use]
    pub fn amended(&self, call: CallNo) -> Option<&str> {
        self.requests.amended(call)
    }

    /// What becomes of the call; nothing of one whose tool has asked, and goes on by itself.
    fn follows(
        &self,
        now: Now,
        open: &OpenRequest,
        flight: &InFlight,
        decision: &Decision,
        by: &str,
        why: &str,
    ) -> Result<Option<Record>, Refusal> {
        match &open.form {
            Some(_) => Self::fits_question(open, decision).map(|()| None),
            None => self.follows_for_held(now, open, flight, decision, by, why).map(Some),
        }
    }

    /// What becomes of a call that waits for the decision.
    fn follows_for_held(
        &self,
        now: Now,
        open: &OpenRequest,
        flight: &InFlight,
        decision: &Decision,
        by: &str,
        why: &str,
    ) -> Result<Record, Refusal> {
        let call = open.call;
        let tool = flight.tool.as_ref().map_or(ASK, |tool| tool.as_str());
        let finished = |outcome| Ok(Record::CallFinished { call, outcome, spent: Spend::NOTHING });
        let answered = |result: String| finished(Ok(ToolAnswer { result, wrote: Vec::new() }));
        let because = |what: &str| {
            let because = if why.trim().is_empty() { String::new() } else { format!(": {}", why.trim()) };
            limit::clip(&format!("{what} by {by}{because}"), limit::NOTE_BYTES_MAX)
        };
        let refused = |error: fn(String) -> CallError, what: &str| finished(Err(error(because(what))));
        if let Some(why) = self.barred(flight.reserved).filter(|_| decision.is_to_make()) {
            return Err(Refusal::Barred { why });
        }
        match (open.kind, decision) {
            // Made again, a call costs again: money is asked for in both cases.
            (RequestKind::Approval, Decision::Approve { .. } | Decision::Amend { .. })
            | (RequestKind::Uncertain, Decision::Repeat) => {
                let payment = |tool| self.payment_decided(now, &self.means(now), tool, flight.reserved);
                Ok(match flight.tool.as_ref().map_or(Payment::Now, payment) {
                    Payment::Now => Record::CallResumed { call },
                    Payment::Later(until, why) => Self::awaits_payment(call, until, why),
                    Payment::Asks(ask) => self.request(now, self.requests.next(), call, ask),
                    Payment::Never(why, _) => return finished(Err(unpaid(flight.doubted, flight, why))),
                })
            }
            (RequestKind::Approval, Decision::Deny) => {
                refused(CallError::Denied, &format!("`{tool}` was not approved"))
            }
            (RequestKind::Input, Decision::Answer { text }) => {
                answered(serde_json::Value::from(text.as_str()).to_string())
            }
            (RequestKind::Input, Decision::Deny) => refused(CallError::Denied, "the question was turned down"),
            (RequestKind::Budget, Decision::Grant { llm_calls, cost }) => {
                let budget = raised(&self.budget, *llm_calls, *cost);
                let limits = Limits::from(&self.payable(&budget));
                let Some(tool) = &flight.tool else { return Err(Refusal::WrongDecision { kind: open.kind }) };
                if let Fit::Never(short) = self.books.ledger().fit(limits, flight.reserved) {
                    return Err(Refusal::NotEnough { why: short.of_mission() });
                }
                match self.payment(now, &self.means_of(now, &budget), tool, flight.reserved) {
                    Payment::Now => Ok(Record::CallResumed { call }),
                    Payment::Later(until, why) => Ok(Self::awaits_payment(call, until, why)),
                    Payment::Never(why, _) => finished(Err(unpaid(flight.doubted, flight, why))),
                    Payment::Asks(ask) => Ok(self.request(now, self.requests.next(), call, ask)),
                }
            }
            (RequestKind::Budget, Decision::Deny) => {
                finished(Err(unpaid(flight.doubted, flight, because("more budget was refused"))))
            }
            (RequestKind::Uncertain, Decision::Record { result }) => answered(result.clone()),
            (RequestKind::Uncertain, Decision::Deny) => refused(
                CallError::Uncertain,
                &format!("after a crash it is not known whether `{tool}` was called; repeating it was refused"),
            ),
            (kind, _) => Err(Refusal::WrongDecision { kind }),
        }
    }
}

/// The arguments that a decision puts in the place of those that a waiting call has, if they say something else.
pub(crate) fn changed<'a>(flight: &InFlight, decision: &'a Decision) -> Option<&'a str> {
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    match decision {
        Decision::Amend { arguments } if flight.held && json(arguments) != json(&flight.arguments) => Some(arguments),
        _ => None,
    }
}

/// The request for more budget than there is.
pub(crate) fn beyond(tool: &ToolName, short: Short) -> Ask {
    (RequestKind::Budget, format!("May `{tool}` be called beyond the budget? {}.", sentence(&short.of_mission())))
}

/// The request about a call whose result a crash took away; or, in a fork, about one that the mission `of` was making.
pub(crate) fn doubt(tool: &ToolName, of: Option<&MissionId>) -> Ask {
    let question = match of {
        None => format!(
            "The node stopped while `{tool}` was being called, and it is not known whether the call happened. Repeat it, \
             record its result, or deny it?"
        ),
        Some(of) => format!(
            "`{of}`, of which this is a fork, was calling `{tool}` here: the call may have happened there, or may be under way still. \
             Look at that mission first. Repeat it, record its result, or deny it?"
        ),
    };
    (RequestKind::Uncertain, question)
}

fn approval_question(tool: &ToolInfo, approval: Approval<'_>) -> String {
    let name = &tool.name;
    let entry = |entry: &str| limit::clip(entry, limit::ID_BYTES_MAX);
    match approval {
        Approval::Required(by) => {
            let doubt = by.doubt.map(|why| format!(" ({why}, so it may be meant)")).unwrap_or_default();
            format!("May `{name}` be called? `{}` in constraints.approval_required asks for it{doubt}.", entry(by.text))
        }
        Approval::Unclassified(by) => format!(
            "May `{name}` be called? It declares no effect class, so `{}` in constraints.approval_required, which names \
             nothing known, may mean it.",
            entry(by)
        ),
    }
}

/// With a capital at its beginning.
fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_uppercase().to_string());
    first.unwrap_or_else(|| "".to_owned()) + characters.as_str()
}
