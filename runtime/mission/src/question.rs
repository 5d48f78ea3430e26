//! What the tool of a call asks people while it makes the call (MCP calls it elicitation).
//!
//! The call is under way, with its tool and with what was set aside for it, and waits there for the answer: nothing of it is held, and
//! the mission cannot leave memory meanwhile. So such a request is only worth an answer as long as that very attempt lasts. Once the call has
//! its result, breaks off with its run, or its tool does not want to know any more, the request is withdrawn, which is on record and
//! told. Whatever is decided about it goes to the tool; what follows from it is the tool's to say.

use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use sortie_contract::id::CallNo;
use sortie_contract::limit;
use sortie_contract::record::Record;
use sortie_contract::request::{Decision, RequestNo};
use sortie_contract::tool::ASK;

use crate::command::{Now, Refusal};
use crate::decide::note;
use crate::part::requests::OpenRequest;
use crate::state::Mission;

/// Why a request is withdrawn: its call has ended.
const ENDED: &str = "its call has ended";

/// Why a request is withdrawn: its call broke off.
const BROKE_OFF: &str = "its call broke off, and asks anew should it be made again";

impl Mission {
    /// The request that a tool makes; the end, where that is more than a mission records.
    pub(crate) fn ask_for(&self, now: Now, call: CallNo, question: String, schema: String) -> Result<Record, Refusal> {
        let flight = self.calls.flight(call).ok().filter(|flight| !flight.held && flight.tool.is_some());
        let flight = flight.ok_or(Refusal::UnknownCall { call })?;
        // One after the other: whoever asks waits for the answer.
        self.requests.none_about(call).map_err(|_| Refusal::Busy)?;
        let max = limit::QUESTIONS_OF_CALL_MAX;
        if flight.questions >= max {
            return Err(Refusal::TooManyQuestions { max });
        }
        if self.recorded_bytes >= limit::RECORDED_BYTES_MAX {
            return Ok(self.recorded_too_much());
        }
        // What nobody answers, or is taken back and asked anew, gives nobody more time: only what people say does.
        let mut expires_at = self.expires_at(now);
        if let Some(until) = flight.asks_until {
            if until <= now.wall {
                return Err(Refusal::NobodyAnswers { until });
            }
            expires_at = expires_at.min(until);
        }
        let (request, question) = (self.requests.next(), note(question));
        Ok(Record::Elicited { request, call, question, schema, expires_at })
    }

    /// The tool that asked does not want to know any more.
    pub(crate) fn withdraw(&self, request: RequestNo, why: String) -> Vec<Record> {
        let is_open = self.requests.of_tools().any(|open| open.no == request);
        if is_open { vec![Record::Withdrawn { request, why: note(why) }] } else { Vec::new() }
    }

    /// What was decided, and with it that nobody waits for answers any more: before the call that asked ends or breaks off, and behind the
    /// start of a run, for whatever asked in the one before is gone.
    pub(crate) fn with_withdrawn(&self, records: Vec<Record>) -> Vec<Record> {
        let mut open: Vec<&OpenRequest> = self.requests.of_tools().collect();
        if open.is_empty() {
            return records;
        }
        let mut all = Vec::with_capacity(records.len() + open.len());
        for record in records {
            if let Record::Decided { request, .. } | Record::Withdrawn { request, .. } = &record {
                open.retain(|open| open.no != *request);
            }
            let over = |open: &mut &OpenRequest| match &record {
                Record::CallFinished { call, .. } => open.call == *call,
                Record::CarriedOver { .. } | Record::NodeStopped | Record::Started { .. } => true,
                _ => false,
            };
            let why = if matches!(record, Record::CallFinished { .. }) { ENDED } else { BROKE_OFF };
            let over = open.extract_if(.., over).map(|open| open.no).collect::<Vec<_>>();
            let withdrawn = over.into_iter().map(|request| Record::Withdrawn { request, why: why.to_owned() });
            if matches!(record, Record::Started { .. }) {
                all.push(record);
                all.extend(withdrawn);
            } else {
                all.extend(withdrawn);
                all.push(record);
            }
        }
        all
    }

    /// Whether a decision is one about a question of a tool. It goes to that tool, which waits for it.
    pub(crate) fn fits_question(open: &OpenRequest, decision: &Decision) -> Result<(), Refusal> {
        match decision {
            Decision::Answer { .. } | Decision::Deny => Ok(()),
            _ => Err(Refusal::WrongDecision { kind: open.kind }),
        }
    }

    /// The open requests that tools made which wait for the answers, by number.
    pub fn asked_by_tools(&self) -> impl Iterator<Item = RequestNo> {
        self.requests.of_tools().map(|open| open.no)
    }

    /// What the tool of a call asks at the moment.
    #[must_use]
    pub fn question_of(&self, call: CallNo) -> Option<RequestNo> {
        self.requests.of_tools().find(|open| open.call == call).map(|open| open.no)
    }

    /// What an answer to an open request must be, where a tool made it: a JSON Schema, as JSON text.
    #[must_use]
    pub fn form(&self, request: RequestNo) -> Option<&str> {
        self.requests.get(request)?.form.as_deref()
    }

    /// Whether all that is being done for it waits for others: each call that is being made asks people something, or waits for a child.
    #[must_use]
    pub fn waits_with_its_tools(&self) -> bool {
        self.calls_in_flight() > 0 && !self.is_busy()
    }

    /// Whether a call is being made that may end without people: one whose tool asks them nothing, and that waits for no child.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.calls.made().any(|flight| !flight.is_child() && self.question_of(flight.call).is_none())
    }

    /// A question as people are told of it where it stands alone. That of a tool is anybody's words: who asks is said with it.
    pub(crate) fn told_question(&self, open: &OpenRequest) -> String {
        match &open.form {
            None => open.question.clone(),
            Some(_) => {
                let tool = self.calls.flight(open.call).ok().and_then(|flight| flight.tool.as_ref());
                let tool = tool.map_or(ASK, |tool| tool.as_str());
                limit::clip(&format!("`{tool}` asks: {}", open.question), limit::NOTE_BYTES_MAX)
            }
        }
    }
}
