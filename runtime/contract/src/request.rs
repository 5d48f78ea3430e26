//! Requests: what a mission asks of people, and what they can say to it (contract reading, *Lifecycle* and *Fine print*).

use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::MissionId;
use crate::money::MicroUsd;

/// A request of a mission: 1, 2, 3 … in the order in which they were made. Its public name is `r1`, `r2` ….
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestNo(pub u32);

impl fmt::Display for RequestNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0)
    }
}

impl std::str::FromStr for RequestNo {
    type Err = std::num::ParseIntError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        // Without the letter too: people type what they remember.
        name.strip_prefix('r').unwrap_or(name).parse().map(Self)
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RequestKind {
    /// May this call be made?
    Approval,
    /// The plugin's own question.
    Input,
    /// The call would pass the budget: may it have more?
    Budget,
    /// After a crash it is not known whether the call happened: is it to be made again?
    Uncertain,
}

/// A request of a mission, as those above it are told: whoever decides tells the mission that asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildRequest {
    /// The mission that asks: a child, or one below it.
    pub of: MissionId,
    /// Its number among the requests of that mission.
    pub request: RequestNo,
    /// What is asked for.
    pub kind: RequestKind,
    /// For people, cut.
    pub question: String,
    /// When that mission gives up.
    pub expires_at: Timestamp,
}

impl ChildRequest {
    /// Whether it is the request of that number of that mission.
    #[must_use]
    pub fn is(&self, of: &MissionId, request: RequestNo) -> bool {
        (&self.of, self.request) == (of, request)
    }
}

impl RequestKind {
    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approval => "approval",
            Self::Input => "input",
            Self::Budget => "budget",
            Self::Uncertain => "uncertain",
        }
    }

    /// The decisions that can be made about it, by name.
    #[must_use]
    pub fn decisions(self) -> &'static [&'static str] {
        match self {
            Self::Approval => &["approve", "deny"],
            Self::Input => &["answer", "deny"],
            Self::Budget => &["grant", "deny"],
            Self::Uncertain => &["repeat", "record", "deny"],
        }
    }
}

impl fmt::Display for RequestKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How far an approval reaches. More than the one call must be said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// This call.
    #[default]
    Call,
    /// Every call of this tool in this mission.
    Tool,
    /// Every call of this mission that needs approval.
    Mission,
}

/// What somebody decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Decision {
    /// The call may be made.
    Approve {
        /// And which others.
        reach: Reach,
    },
    /// No: the plugin gets an error.
    Deny,
    /// The answer to the plugin's question.
    Answer {
        /// What it gets.
        text: String,
    },
    /// The mission's budget is raised.
    Grant {
        /// By so many calls of a language model.
        llm_calls: u64,
        /// By so much money.
        cost: MicroUsd,
    },
    /// The call is made again.
    Repeat,
    /// The call did happen, and this is what it returned.
    Record {
        /// JSON text.
        result: String,
    },
    /// The call may be made, with other arguments than its plugin wanted.
    Amend {
        /// Those that it is made with: JSON text.
        arguments: String,
    },
}

/// Who decides where nobody does: a request that nobody answered in time, or that need not be answered any more.
pub const NOBODY: &str = "nobody";

impl Decision {
    /// Of a request for budget: what it asks for is there by now. Nobody can send it, for a grant is of something.
    pub const NOT_NEEDED: Self = Self::Grant { llm_calls: 0, cost: MicroUsd::ZERO };

    /// Whether it has a call made.
    #[must_use]
    pub fn is_to_make(&self) -> bool {
        match self {
            Self::Approve { .. } | Self::Amend { .. } | Self::Repeat | Self::Grant { .. } => true,
            Self::Deny | Self::Answer { .. } | Self::Record { .. } => false,
        }
    }

    /// The name on the wire.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Approve { .. } | Self::Amend { .. } => "approve",
            Self::Deny => "deny",
            Self::Answer { .. } => "answer",
            Self::Grant { .. } => "grant",
            Self::Repeat => "repeat",
            Self::Record { .. } => "record",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_one_name() {
        assert_eq!(RequestNo(7).to_string(), "r7");
        assert_eq!("r7".parse(), Ok(RequestNo(7)));
        assert_eq!("7".parse(), Ok(RequestNo(7)));
        for bad in ["", "r", "x7", "r-7", "rr7", "r99999999999"] {
            assert!(bad.parse::<RequestNo>().is_err(), "{bad:?}");
        }
    }
}
