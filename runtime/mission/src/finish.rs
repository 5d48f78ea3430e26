//! How a mission ends: the final status, its reason, and what somebody should do next.
//!
//! "Completed with nothing to show" is impossible: a plugin's "done" counts only when the required outputs are artifacts and
//! no criterion was judged unmet. The next action is never empty; it is written for the person who reads it at eight in the
//! morning and has nothing but the event.

use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use jiff::Timestamp;
use sortie_contract::limit;
use sortie_contract::outcome::{Reason, Status, Verdict};
use sortie_contract::plugin::{self, Crash};
use sortie_contract::record::Record;
use sortie_contract::tool::CallError;

use crate::command::Ending;
use crate::part::windows::Closed;
use crate::quarantine;
use crate::state::Mission;

/// Most names that one sentence lists.
const NAMES_MAX: usize = 10;

/// Why a mission ends now.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cause<'a> {
    /// Its window closed, or its lane or node.
    Closed(Closed),
    /// Its run time is spent.
    RunTimeSpent,
    /// Somebody cancelled it.
    Cancelled { reason: &'a str, by: &'a str },
    /// The node was halted.
    Halted,
    /// Nobody answered.
    RequestExpired { question: &'a str, expired_at: Timestamp },
    /// The node stopped again and again while it ran.
    Interrupted(&'a str),
    /// It reached a limit of the node.
    LimitExceeded(&'a str),
    /// What it recorded cannot be read, and with that so many of its events.
    Unreadable { why: &'a str, lost: u64 },
    /// Its plugin's run is over. With what was not collected, and why.
    Ended(&'a Ending, &'a [String]),
}

/// What becomes a `Finished` record.
struct Final {
    status: Status,
    reason: Reason,
    summary: String,
    next_action: String,
}

impl Final {
    fn failed(reason: Reason, summary: impl Into<String>, next_action: impl Into<String>) -> Self {
        Self { status: Status::Failed, reason, summary: summary.into(), next_action: next_action.into() }
    }
}

impl Mission {
    /// The record that ends the mission.
    pub(crate) fn end(&self, cause: Cause<'_>) -> Record {
        let Final { status, reason, summary, next_action } = self.final_of(cause);
        debug_assert!(status.is_final() && !next_action.is_empty(), "an end is an end and says what to do");
        let (summary, next_action) = (clip(summary), clip(next_action));
        Record::Finished { status, reason, summary, next_action }
    }

    fn final_of(&self, cause: Cause<'_>) -> Final {
        match cause {
            Cause::Closed(closed) => self.window_closed(closed),
            Cause::RunTimeSpent => Final {
                status: Status::TimedOut,
                reason: Reason::RunTimeSpent,
                summary: format!(
                    "The run time of {} minutes is spent.",
                    crate::state::minutes(self.budget.runtime_ms_max)
                ),
                next_action: "Dispatch it again with a larger budget.max_runtime_minutes or a smaller objective; \
                              the node's ceiling holds in any case."
                    .to_owned(),
            },
            Cause::Cancelled { reason, by } => cancelled(reason, by),
            Cause::Halted => Final {
                status: Status::Cancelled,
                reason: Reason::Halted,
                summary: "The node was halted; every mission on it was cancelled.".to_owned(),
                next_action: "Ask the node's operator why; dispatch the mission again when the node takes work."
                    .to_owned(),
            },
            Cause::RequestExpired { question, expired_at } => Final {
                status: Status::TimedOut,
                reason: Reason::RequestExpired,
                summary: format!("Nobody answered until {expired_at}: {question}"),
                next_action:
                    "Dispatch it again when somebody is there to answer, or with constraints that leave nothing to ask."
                        .to_owned(),
            },
            Cause::Interrupted(why) => Final::failed(
                Reason::Interrupted,
                why,
                "Find out in the node's log why it stopped; the mission's journal tells what was done already.",
            ),
            Cause::LimitExceeded(what) => Final::failed(
                Reason::LimitExceeded,
                format!("A limit of the node was reached: {what}."),
                "Split the mission into smaller ones.",
            ),
            Cause::Unreadable { why, lost } => {
                let after = self.sequence();
                let events = match lost {
                    0 => String::new(),
                    1 => format!(" Event {} cannot be told again.", after + 1),
                    lost => format!(" Events {} to {} cannot be told again.", after + 1, after + lost),
                };
                let no = self.records();
                let summary = format!(
                    "The node can no longer read what it recorded behind record {no} of this mission: {why}.{events}"
                );
                Final::failed(Reason::Unreadable, summary, quarantine::NEXT)
            }
            Cause::Ended(Ending::Returned(plugin::Verdict::Done { summary, next_action }), uncollected) => {
                let done = self.done(summary, next_action.as_deref());
                Final { next_action: warned(&done.next_action, uncollected), ..done }
            }
            Cause::Ended(Ending::Returned(plugin::Verdict::Failed { summary, tool, next_action }), _) => {
                self.plugin_failed(summary, tool.as_deref(), next_action.as_deref())
            }
            Cause::Ended(Ending::Crashed(crash), _) => self.crashed(crash),
            Cause::Ended(Ending::NoWorkspace { place, why }, _) => Final::failed(
                Reason::NodeFailed,
                format!("The node cannot open the mission's workspace {place}: {why}."),
                format!(
                    "Ask the node's operator to see to {place} (it and what it lies in must be folders of the node's own user, who may \
                     write there, on a disk with room); then dispatch the mission again. Its plugin is not to blame."
                ),
            ),
        }
    }

    fn window_closed(&self, closed: Closed) -> Final {
        let (summary, next_action) = if self.runs.started_at.is_some() {
            ("before the work was done", "Dispatch it again with a later autonomy_window.end_at, or with less to do.")
        } else {
            (
                "before the mission had its turn",
                "Dispatch it again with a longer autonomy window; see whether its session or lane is held up by other missions.",
            )
        };
        let carried = match self.carried_over() {
            0 => String::new(),
            1 => " after it had been carried over once".to_owned(),
            times => format!(" after it had been carried over {times} times"),
        };
        Final {
            status: Status::TimedOut,
            reason: Reason::WindowClosed,
            summary: match closed {
                Closed::Window(at) => format!("The autonomy window closed at {at}{carried}, {summary}."),
                Closed::Hours(at) => format!("The hours of its lane or its node ended at {at}{carried}, {summary}."),
            },
            next_action: next_action.to_owned(),
        }
    }

    /// The plugin says that it is done; the outputs and the criteria have a say as well.
    fn done(&self, summary: &str, next_action: Option<&str>) -> Final {
        let missing = self.outputs.missing(&self.envelope.required_outputs, self.artifacts());
        let unmet = self.criteria_judged(Verdict::Unmet);
        if !missing.is_empty() {
            return Final::failed(
                Reason::OutputMissing,
                format!(
                    "The plugin was done, but required outputs are missing: {}. It said: {summary}",
                    list(&missing)
                ),
                format!(
                    "Find out why {} was not produced, or correct artifact_policy.required_outputs; then dispatch it again.",
                    list(&missing)
                ),
            );
        }
        if !unmet.is_empty() {
            return Final::failed(
                Reason::CriterionUnmet,
                format!("The plugin was done, but success criteria are unmet: {}. It said: {summary}", list(&unmet)),
                said(next_action).unwrap_or_else(|| {
                    format!("Read the evidence in detail.criteria and mend what keeps {} from being met.", list(&unmet))
                }),
            );
        }
        let summary = if summary.trim().is_empty() { "Done.".to_owned() } else { summary.to_owned() };
        let next_action = said(next_action).unwrap_or_else(|| self.after_success());
        Final { status: Status::Completed, reason: Reason::Done, summary, next_action }
    }

    fn after_success(&self) -> String {
        let unjudged = self.criteria_judged(Verdict::NotJudged);
        if !unjudged.is_empty() {
            return format!("Check what the plugin did not judge: {}.", list(&unjudged));
        }
        let names: Vec<&str> = self.artifacts().iter().map(|artifact| artifact.name.as_str()).collect();
        if names.is_empty() {
            "Nothing is left to do.".to_owned()
        } else {
            format!("Review the artifacts: {}.", list(&names))
        }
    }

    fn plugin_failed(&self, summary: &str, tool: Option<&str>, next_action: Option<&str>) -> Final {
        let reason = if tool.is_some() { Reason::ToolFailed } else { Reason::PluginFailed };
        let summary = match (summary.trim(), tool) {
            ("", Some(tool)) => format!("The tool `{tool}` failed."),
            ("", None) => format!("The plugin {} failed and did not say why.", self.plugin),
            (said, _) => said.to_owned(),
        };
        let next_action = said(next_action).unwrap_or_else(|| match tool {
            Some(tool) => self.after_tool_failed(tool),
            None => "Read the mission's log and journal for what went before, and dispatch it again once the cause is mended.".to_owned(),
        });
        Final::failed(reason, summary, next_action)
    }

    /// A tool that failed because it was refused asks for something else than one that broke.
    fn after_tool_failed(&self, tool: &str) -> String {
        let refused = self.calls.last_refused().filter(|(name, _)| name.as_str().eq_ignore_ascii_case(tool));
        match refused.map(|(_, error)| error) {
            Some(CallError::Denied(why)) => {
                format!(
                    "The call was refused: {why}. Change the constraints if the mission may use it, and dispatch it again."
                )
            }
            Some(CallError::BudgetExhausted(why)) if self.books.overbill().is_some() => {
                format!(
                    "No further call was paid for: {why}. Find out why it was dearer, and dispatch the mission again."
                )
            }
            Some(CallError::BudgetExhausted(why)) => {
                format!("The budget did not allow the call: {why}. Dispatch it again with a larger budget.")
            }
            _ => format!(
                "Look up the call of `{tool}` in the mission's journal, mend its cause, and dispatch the mission again."
            ),
        }
    }

    fn crashed(&self, crash: &Crash) -> Final {
        let plugin = &self.plugin;
        let report = || format!("Report it to the author of {plugin}, with the mission's journal.");
        match crash {
            Crash::Trapped(text) => {
                Final::failed(Reason::PluginTrapped, format!("The plugin {plugin} crashed: {text}"), report())
            }
            Crash::OutOfMemory { limit_bytes } => Final::failed(
                Reason::OutOfMemory,
                format!("The plugin {plugin} wanted more memory than the {limit_bytes} bytes that it may have."),
                "Give the mission less to do at once, or raise the node's limit for the memory of a plugin.",
            ),
            Crash::LimitExceeded(what) => Final::failed(
                Reason::LimitExceeded,
                format!("The plugin {plugin} reached a limit of the node: {what}"),
                "Split the mission into smaller ones, or report it to the plugin's author.",
            ),
            Crash::Diverged { recorded, attempted } => Final::failed(
                Reason::Nondeterminism,
                format!(
                    "A replay of {plugin} asked for something else than was recorded. Recorded: {recorded}. Asked for: {attempted}."
                ),
                report(),
            ),
            Crash::Unrunnable(why) => Final::failed(
                Reason::PluginTrapped,
                format!("The plugin {plugin} could not be run: {why}"),
                format!("Install {plugin} on the node again and dispatch the mission again."),
            ),
        }
    }

    fn criteria_judged(&self, wanted: Verdict) -> Vec<&str> {
        self.criteria().filter(|criterion| criterion.verdict == wanted).map(|criterion| criterion.text).collect()
    }
}

fn cancelled(reason: &str, by: &str) -> Final {
    let (reason, by) = (reason.trim(), by.trim());
    let by = if by.is_empty() { "somebody" } else { by };
    let because = if reason.is_empty() { "no reason given" } else { reason };
    Final {
        status: Status::Cancelled,
        reason: Reason::CancelledByRequest,
        summary: format!("Cancelled by {by}: {because}"),
        next_action:
            "Dispatch a new mission if the work is wanted after all; what was stored before the cancel is kept."
                .to_owned(),
    }
}

/// What is to be done, behind why outputs were not collected.
fn warned(next_action: &str, uncollected: &[String]) -> String {
    if uncollected.is_empty() {
        return next_action.to_owned();
    }
    format!("Not collected: {}. {next_action}", uncollected[..uncollected.len().min(NAMES_MAX)].join("; "))
}

/// What the plugin recommends, if it says anything.
fn said(next_action: Option<&str>) -> Option<String> {
    next_action.map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// Names in quotes, as many as a sentence bears.
fn list(names: &[&str]) -> String {
    let mut text = String::new();
    for (index, name) in names.iter().take(NAMES_MAX).enumerate() {
        text.push_str(if index == 0 { "`" } else { ", `" });
        text.push_str(&limit::clip(name, limit::ID_BYTES_MAX));
        text.push('`');
    }
    if names.len() > NAMES_MAX {
        text.push_str(&format!(" and {} more", names.len() - NAMES_MAX));
    }
    text
}

fn clip(text: String) -> String {
    if text.len() <= limit::NOTE_BYTES_MAX { text } else { limit::clip(&text, limit::NOTE_BYTES_MAX) }
}
