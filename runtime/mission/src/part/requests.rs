//! What people are asked, and what they decided.
//!
//! Owned here: which requests are open, which were decided and how, and what was approved for later calls. Never here: who is asked
//! when, and what follows from an answer, which is [`crate::request`]'s to say.

use alloc::borrow::ToOwned as _;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use jiff::Timestamp;
use sortie_contract::id::CallNo;
use sortie_contract::request::{Decision, Reach, RequestKind, RequestNo};
use sortie_contract::tool::ToolName;

/// The requests of a mission.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Requests {
    /// The number of the latest.
    asked: u32,
    /// Those that nobody has decided, by number. At most one for each call.
    open: Vec<OpenRequest>,
    /// Those that were decided, and how: the same decision again is no mistake, another one is.
    decided: BTreeMap<RequestNo, Decision>,
    /// Those whose answer nobody waits for any more, and why.
    withdrawn: BTreeMap<RequestNo, String>,
    /// By which of those the arguments of a call were changed.
    amended: BTreeMap<CallNo, RequestNo>,
    approved: Approved,
}

/// A request that nobody has decided yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenRequest {
    /// Its number.
    pub no: RequestNo,
    /// The call that waits for it.
    pub call: CallNo,
    /// What is asked for.
    pub kind: RequestKind,
    /// For people.
    pub question: String,
    /// When it was made.
    pub asked_at: Timestamp,
    /// When the mission gives up.
    pub expires_at: Timestamp,
    /// Whether it was asked again.
    pub reminded: bool,
    /// What an answer must be, where the tool of a call asks that is being made: a JSON Schema, as JSON text. The call waits for
    /// the answer with its tool, and not out of memory.
    pub form: Option<String>,
}

impl OpenRequest {
    /// When to remind: half way, once.
    pub(crate) fn remind_at(&self) -> Option<Timestamp> {
        let half = self.expires_at.duration_since(self.asked_at) / 2;
        if self.reminded { None } else { self.asked_at.checked_add(half).ok() }
    }
}

/// What was approved for more than one call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Approved {
    everything: bool,
    /// Each with the entries with scopes that meant the call which was decided about.
    tools: BTreeMap<ToolName, BTreeSet<String>>,
}

/// Something that happens to a request.
#[derive(Debug, Clone)]
pub(crate) enum RequestStep<'a> {
    /// It is made.
    Asked(OpenRequest),
    /// It is asked again.
    Reminded(RequestNo),
    /// Somebody decides. With the tool that the call is of, where it is of one, the entries with scopes that hold the call, and whether that
    /// changes its arguments.
    Decided { no: RequestNo, decision: &'a Decision, tool: Option<&'a ToolName>, scopes: Vec<String>, changes: bool },
    /// The tool that asked does not wait any more.
    Withdrawn { no: RequestNo, why: &'a str },
    /// A call has ended: nobody needs to decide any more, if its plugin gave it up.
    CallOver { call: CallNo, given_up: bool },
    /// Nobody waits for an answer: the mission has ended, or begins again.
    AllOver,
}

/// Why something cannot have happened to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestMisfit {
    /// Another number was due.
    #[error("requests are numbered 1, 2, 3 …: {no} is not the next")]
    Numbering {
        /// The one that came.
        no: RequestNo,
    },
    /// Nobody has asked, or somebody has decided.
    #[error("request {no} is not open")]
    NotOpen {
        /// Which.
        no: RequestNo,
    },
    /// People are reminded once.
    #[error("of request {no} people were reminded before")]
    RemindedTwice {
        /// Which.
        no: RequestNo,
    },
    /// The node or a plugin asked, and does not take it back.
    #[error("request {no} is none that a tool made")]
    NoTools {
        /// Which.
        no: RequestNo,
    },
    /// One call waits for one decision.
    #[error("call {call} waits for a decision")]
    Undecided {
        /// Which.
        call: CallNo,
    },
}

impl Requests {
    /// Takes up what happens to a request.
    ///
    /// # Errors
    /// [`RequestMisfit`]; nothing has changed then.
    pub(crate) fn apply(&mut self, step: RequestStep<'_>) -> Result<(), RequestMisfit> {
        match step {
            RequestStep::Asked(request) => {
                let no = request.no;
                if no != self.next() {
                    return Err(RequestMisfit::Numbering { no });
                }
                self.none_about(request.call)?;
                self.asked = no.0;
                self.open.push(request);
            }
            RequestStep::Reminded(no) => {
                let open = self.open.iter_mut().find(|open| open.no == no).ok_or(RequestMisfit::NotOpen { no })?;
                if open.reminded {
                    return Err(RequestMisfit::RemindedTwice { no });
                }
                open.reminded = true;
            }
            RequestStep::Decided { no, decision, tool, scopes, changes } => {
                let index = self.open.iter().position(|open| open.no == no).ok_or(RequestMisfit::NotOpen { no })?;
                let call = self.open.remove(index).call;
                match decision {
                    Decision::Approve { reach: Reach::Mission } => self.approved.everything = true,
                    // A question to people is no tool's.
                    Decision::Approve { reach: Reach::Tool } => {
                        if let Some(tool) = tool {
                            self.approved.tools.entry(tool.clone()).or_default().extend(scopes);
                        }
                    }
                    Decision::Amend { .. } if changes => drop(self.amended.insert(call, no)),
                    // They concern the call that waits, or the budget, and nothing that is asked later.
                    Decision::Approve { reach: Reach::Call }
                    | Decision::Amend { .. }
                    | Decision::Deny
                    | Decision::Answer { .. }
                    | Decision::Grant { .. }
                    | Decision::Repeat
                    | Decision::Record { .. } => {}
                }
                self.decided.insert(no, decision.clone());
            }
            RequestStep::Withdrawn { no, why } => {
                let index = self.open.iter().position(|open| open.no == no).ok_or(RequestMisfit::NotOpen { no })?;
                if self.open[index].form.is_none() {
                    return Err(RequestMisfit::NoTools { no });
                }
                self.open.remove(index);
                self.withdrawn.insert(no, why.to_owned());
            }
            RequestStep::CallOver { call, given_up: true } => self.open.retain(|open| open.call != call),
            RequestStep::CallOver { call, given_up: false } => self.none_about(call)?,
            RequestStep::AllOver => self.open = Vec::new(),
        }
        Ok(())
    }

    /// That no decision about the call is outstanding.
    pub(crate) fn none_about(&self, call: CallNo) -> Result<(), RequestMisfit> {
        if self.open.iter().any(|open| open.call == call) { Err(RequestMisfit::Undecided { call }) } else { Ok(()) }
    }

    /// Those that nobody has decided, by number.
    pub(crate) fn open(&self) -> &[OpenRequest] {
        &self.open
    }

    /// One of them.
    pub(crate) fn get(&self, no: RequestNo) -> Option<&OpenRequest> {
        self.open.iter().find(|open| open.no == no)
    }

    /// What was decided about one that is open no more.
    pub(crate) fn decision(&self, no: RequestNo) -> Option<&Decision> {
        self.decided.get(&no)
    }

    /// Why nobody waits any more for the answer to one that is open no more.
    pub(crate) fn withdrawn(&self, no: RequestNo) -> Option<&str> {
        self.withdrawn.get(&no).map(String::as_str)
    }

    /// Those of the open ones that tools made whose calls are being made.
    pub(crate) fn of_tools(&self) -> impl Iterator<Item = &OpenRequest> {
        self.open.iter().filter(|open| open.form.is_some())
    }

    /// The arguments that a call was approved with, where they are not those that its plugin wanted.
    pub(crate) fn amended(&self, call: CallNo) -> Option<&str> {
        match self.decision(*self.amended.get(&call)?) {
            Some(Decision::Amend { arguments }) => Some(arguments),
            _ => None,
        }
    }

    /// The call whose arguments a decision changed.
    pub(crate) fn amends(&self, no: RequestNo) -> Option<CallNo> {
        self.amended.iter().find_map(|(call, by)| (*by == no).then_some(*call))
    }

    /// The number of the next.
    pub(crate) fn next(&self) -> RequestNo {
        RequestNo(self.asked + 1)
    }

    /// Whether a call of the tool needs no further approval, which these entries with scopes hold.
    pub(crate) fn approves<'a>(&self, tool: &ToolName, mut scopes: impl Iterator<Item = &'a str>) -> bool {
        let mut approved =
            || self.approved.tools.get(tool).is_some_and(|known| scopes.all(|scope| known.contains(scope)));
        self.approved.everything || approved()
    }
}
