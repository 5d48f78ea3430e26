//! How a mission stands and how it ends: statuses, reason codes, verdicts.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The contract's statuses (section 3). The last four are final and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Accepted; waits for its window, its session's turn, or room on the node.
    Queued,
    /// Its plugin is running.
    Running,
    /// Waits for somebody's answer.
    Blocked,
    /// Ended as it should.
    Completed,
    /// Ended without what was asked for.
    Failed,
    /// Stopped on request.
    Cancelled,
    /// Stopped by its window, its run time, or an answer that never came.
    TimedOut,
}

impl Status {
    /// All of them, in the contract's order.
    pub const ALL: [Self; 7] =
        [Self::Queued, Self::Running, Self::Blocked, Self::Completed, Self::Failed, Self::Cancelled, Self::TimedOut];

    /// Whether a mission in this status has ended.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled | Self::TimedOut)
    }

    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Blocked => "blocked",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed_out",
        }
    }

    /// The status of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a mission ended: the stable `reason` of its final event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The plugin said so, and the outputs and criteria agree.
    Done,
    /// The plugin reported a failure.
    PluginFailed,
    /// The plugin crashed: a trap, or an answer that breaks the plugin contract.
    PluginTrapped,
    /// The plugin wanted more memory than it may have.
    OutOfMemory,
    /// A required output is not among the artifacts.
    OutputMissing,
    /// A success criterion was judged unmet.
    CriterionUnmet,
    /// A tool call failed and the plugin could not go on without it.
    ToolFailed,
    /// Somebody cancelled it.
    CancelledByRequest,
    /// The whole node was halted.
    Halted,
    /// The autonomy window closed.
    WindowClosed,
    /// The run time of the budget is spent.
    RunTimeSpent,
    /// Nobody answered a request in time.
    RequestExpired,
    /// The node stopped in the middle and the mission cannot be started again without doing something twice.
    Interrupted,
    /// A replay asked for something else than the record holds.
    Nondeterminism,
    /// A limit of the node was reached (number of calls, size of the journal, …).
    LimitExceeded,
    /// The node can no longer read what it recorded of the mission. The bytes are kept.
    Unreadable,
    /// The node lacks what it needs to run any plugin: a folder, say. The plugin is not to blame.
    NodeFailed,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::Done,
        Self::PluginFailed,
        Self::PluginTrapped,
        Self::OutOfMemory,
        Self::OutputMissing,
        Self::CriterionUnmet,
        Self::ToolFailed,
        Self::CancelledByRequest,
        Self::Halted,
        Self::WindowClosed,
        Self::RunTimeSpent,
        Self::RequestExpired,
        Self::Interrupted,
        Self::Nondeterminism,
        Self::LimitExceeded,
        Self::Unreadable,
        Self::NodeFailed,
    ];

    /// The stable code.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::PluginFailed => "plugin_failed",
            Self::PluginTrapped => "plugin_trapped",
            Self::OutOfMemory => "out_of_memory",
            Self::OutputMissing => "output_missing",
            Self::CriterionUnmet => "criterion_unmet",
            Self::ToolFailed => "tool_failed",
            Self::CancelledByRequest => "cancelled_by_request",
            Self::Halted => "halted",
            Self::WindowClosed => "window_closed",
            Self::RunTimeSpent => "run_time_spent",
            Self::RequestExpired => "request_expired",
            Self::Interrupted => "interrupted",
            Self::Nondeterminism => "nondeterminism",
            Self::LimitExceeded => "limit_exceeded",
            Self::Unreadable => "unreadable",
            Self::NodeFailed => "node_failed",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What became of a success criterion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It holds.
    Met,
    /// It does not; the mission fails.
    Unmet,
    /// Nobody looked.
    NotJudged,
}
