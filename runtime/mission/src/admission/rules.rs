//! Admission's rules that need the node: whose mission it is, its lane, its window, its budget, its tools.
//!
//! What can be said of the envelope's text alone was said when it was parsed. Here it is held against one node.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use jiff::Timestamp;
use sortie_contract::artifact::StorageScope;
use sortie_contract::envelope::{ChildOf, EffectiveBudget, Envelope};
use sortie_contract::id::{InstanceId, LaneId, MissionId};
use sortie_contract::mistake::{Mistake, Pointer, code};
use sortie_contract::money::MicroUsd;
use sortie_contract::tool::{EffectClass, KNOWN_CLASSES, MISSION, MODEL, ToolInfo};
use sortie_contract::{is_nearly, limit};

use crate::gate::List;
use crate::window::Moment;
use crate::{budget, gate, window};

/// What a node is, as far as intake asks. What it can do at the moment, its tools, is an argument of its own: they come and go
/// while it runs.
#[derive(Debug, Clone)]
pub struct NodeRules {
    /// Who the node is.
    pub instance_id: InstanceId,
    /// The lanes it serves.
    pub lanes: Vec<LaneId>,
    /// The lane of an envelope that names none.
    pub default_lane: LaneId,
    /// The most that any mission may spend.
    pub ceilings: Ceilings,
    /// Whether a shared object store is configured.
    pub shared_storage: bool,
    /// Effect classes that its configuration adds to the known ones.
    pub classes: Vec<EffectClass>,
}

/// The most that a mission may spend on a node, whatever its envelope says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ceilings {
    /// Run time in milliseconds; there always is one.
    pub runtime_ms: u64,
    /// Calls of a language model.
    pub llm_calls: Option<u64>,
    /// Cost.
    pub cost: Option<MicroUsd>,
}

/// What intake found out about an envelope that the node takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// Its lane.
    pub lane: LaneId,
    /// What holds of its budget.
    pub budget: EffectiveBudget,
    /// Approval entries that name nothing that is known here.
    pub unknown_approvals: Vec<String>,
    /// What its dispatcher should know.
    pub warnings: Vec<String>,
}

/// Why the node does not take an envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denial {
    /// It is another node's mission.
    WrongInstance {
        /// Whose it is.
        target: InstanceId,
        /// Who was asked.
        node: InstanceId,
    },
    /// It cannot be done here; at least one mistake.
    Mistakes(Vec<Mistake>),
    /// The idempotency key was used for another envelope.
    IdempotencyConflict {
        /// The mission that was accepted under the key.
        mission_id: MissionId,
        /// Where the two differ.
        fields: Vec<Pointer>,
    },
    /// The mission id was used with another idempotency key.
    MissionIdConflict,
}

/// Holds an envelope against the node's rules and the tools that it has at the moment, at the time `wall`.
///
/// # Errors
/// [`Denial`] with every mistake that was found.
pub fn admit(envelope: &Envelope, rules: &NodeRules, tools: &[ToolInfo], wall: Timestamp) -> Result<Admission, Denial> {
    let target = &envelope.target_instance_id;
    if *target != rules.instance_id && target.as_str() != "*" {
        return Err(Denial::WrongInstance { target: target.clone(), node: rules.instance_id.clone() });
    }
    let mut mistakes = Vec::new();
    let lane = lane(envelope, rules).unwrap_or_else(|mistake| {
        mistakes.push(mistake);
        rules.default_lane.clone()
    });
    mistakes.extend(closed(envelope, wall));
    mistakes.extend(storage(envelope, rules));
    let misspelt = misspelt(envelope, rules, tools);
    let invalid = invalid(envelope).filter(|mistake| misspelt.iter().all(|other| other.pointer != mistake.pointer));
    mistakes.extend(invalid.take(limit::MISTAKES_MAX));
    mistakes.extend(misspelt);
    if !mistakes.is_empty() {
        return Err(Denial::Mistakes(mistakes));
    }
    let unknown_approvals = unknown_approvals(envelope, rules, tools);
    let warnings = warnings(envelope, rules, tools, &unknown_approvals);
    let budget = budget::effective(&envelope.budget, &rules.ceilings);
    let budget = budget::within(budget, envelope.child_of.as_ref().map(ChildOf::share));
    Ok(Admission { lane, budget, unknown_approvals, warnings })
}

fn lane(envelope: &Envelope, rules: &NodeRules) -> Result<LaneId, Mistake> {
    let Some(named) = &envelope.vp_runtime_id else { return Ok(rules.default_lane.clone()) };
    if rules.lanes.contains(named) {
        return Ok(named.clone());
    }
    let lanes: Vec<&str> = rules.lanes.iter().map(LaneId::as_str).collect();
    let detail = format!("this node has no lane `{named}`; it has: {}", lanes.join(", "));
    Err(Mistake::new(Pointer::root().join("vp_runtime_id"), "unknown_lane", detail))
}

fn closed(envelope: &Envelope, wall: Timestamp) -> Option<Mistake> {
    let Moment::After(end) = window::moment(envelope.window, wall) else { return None };
    let pointer = Pointer::root().join("autonomy_window").join("end_at");
    Some(Mistake::new(pointer, "window_closed", format!("the autonomy window closed at {end}; it is {wall}")))
}

/// Nothing of its window lies in the hours of its lane and of the node.
pub(super) fn outside_hours(lane: &LaneId) -> Mistake {
    let detail = format!(
        "the lane `{lane}` or this node is closed throughout the autonomy window: choose another window or lane, or write \
         `on_window_end: \"suspend\"` to go on in its next hours"
    );
    Mistake::new(Pointer::root().join("autonomy_window"), code::OUTSIDE_HOURS, detail)
}

fn storage(envelope: &Envelope, rules: &NodeRules) -> Option<Mistake> {
    match envelope.storage_scope {
        StorageScope::Shared if !rules.shared_storage => Some(Mistake::new(
            Pointer::root().join("artifact_policy").join("storage_scope"),
            "storage_not_configured",
            "this node has no shared object store; use `factory` or `pushback`",
        )),
        StorageScope::Pushback if envelope.callback.is_none() => Some(Mistake::new(
            Pointer::root().join("callback"),
            "required",
            "the storage scope `pushback` uploads artifacts to the callback's `status_url`: name one",
        )),
        StorageScope::Factory | StorageScope::Shared | StorageScope::Pushback => None,
    }
}

/// The lists of tools, by their names, and what they are for.
fn lists(envelope: &Envelope) -> [(&'static str, List, &[String]); 3] {
    let constraints = &envelope.constraints;
    [
        ("forbidden_tools", List::Forbidden, &constraints.forbidden_tools),
        ("allowed_tools", List::Allowed, &constraints.allowed_tools),
        ("approval_required", List::Approval, &constraints.approval_required),
    ]
}

/// Entries whose scope nobody can read.
fn invalid(envelope: &Envelope) -> impl Iterator<Item = Mistake> {
    lists(envelope).into_iter().flat_map(|(name, list, entries)| {
        entries.iter().enumerate().filter_map(move |(index, entry)| {
            let why = gate::wrong(entry, list)?;
            let pointer = Pointer::root().join("constraints").join(name).join(index);
            let quoted = limit::clip(entry, limit::QUOTE_BYTES_MAX);
            Some(Mistake::new(pointer, code::INVALID_PATTERN, format!("`{quoted}` is no pattern: {why}")))
        })
    })
}

/// Names in the lists of tools that nothing here bears and that are nearly one: a prohibition that is misspelt would forbid
/// nothing. What is far from all that is known may be meant for another node. An approval without a scope fails safe by itself.
fn misspelt(envelope: &Envelope, rules: &NodeRules, tools: &[ToolInfo]) -> Vec<Mistake> {
    let names = || tools.iter().map(|tool| tool.name.as_str()).chain(CONTRACT_TOOLS);
    let own = || rules.classes.iter().chain(tools.iter().flat_map(|tool| &tool.effects));
    let classes = || KNOWN_CLASSES.into_iter().chain(own().map(|class| class.0.as_str()));
    let all = lists(envelope).into_iter().flat_map(|(name, list, entries)| {
        entries.iter().enumerate().map(move |(index, entry)| (name, list, index, gate::name(entry), entry))
    });
    all.filter_map(|(name, list, index, entry, whole)| {
        // An allowance in another language of patterns (`WebFetc.`) allows nothing, and is warned of; a prohibition must not be lost so.
        let is_plain = entry.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
        if entry.contains('*')
            || (list == List::Allowed && !is_plain)
            || (list == List::Approval && entry == whole)
            || names().chain(classes()).any(|known| known.eq_ignore_ascii_case(entry))
        {
            return None;
        }
        // Of a tool server whose tools are not known (yet) nobody can say how they are spelt.
        let is_of_another = |known: &str| server(entry).is_some_and(|of| server(known) != Some(of));
        let meant = names().chain(classes()).find(|known| is_nearly(entry, known) && !is_of_another(known))?;
        let pointer = Pointer::root().join("constraints").join(name).join(index);
        let quoted = limit::clip(entry, limit::QUOTE_BYTES_MAX);
        Some(Mistake::new(pointer, "misspelt_tool", format!("this node knows no `{quoted}`; is `{meant}` meant?")))
    })
    .take(limit::MISTAKES_MAX)
    .collect()
}

/// The server that a name of a tool says it is of: `github` of `mcp__github__create_issue`.
fn server(name: &str) -> Option<&str> {
    name.strip_prefix("mcp__")?.split_once("__").map(|(server, _)| server)
}

fn unknown_approvals(envelope: &Envelope, rules: &NodeRules, tools: &[ToolInfo]) -> Vec<String> {
    let known = |entry: &String| {
        gate::is_known_approval(entry, tools, &rules.classes)
            || [MODEL, MISSION].iter().any(|name| entry.eq_ignore_ascii_case(name))
    };
    envelope.constraints.approval_required.iter().filter(|entry| !known(entry)).cloned().collect()
}

/// The built-in tools that the contract's users write of, whether this node has them or not.
const CONTRACT_TOOLS: [&str; 9] =
    ["Read", "Write", "Edit", "Glob", "Grep", "Bash", "WebFetch", "WebSearch", "HttpRequest"];

fn warnings(envelope: &Envelope, rules: &NodeRules, tools: &[ToolInfo], unknown_approvals: &[String]) -> Vec<String> {
    let approvals = unknown_approvals.iter().map(|entry| {
        format!(
            "/constraints/approval_required: `{entry}` is neither a known effect class nor a tool of this node; \
             to be safe, every tool without a declared class needs approval in this mission"
        )
    });
    let named = |entry: &str| tools.iter().any(|tool| gate::matches(gate::name(entry), tool.name.as_str()));
    let allowed = envelope.constraints.allowed_tools.iter().filter(|entry| !named(entry));
    let idle = envelope.constraints.allowed_tools.iter().filter_map(|entry| {
        let why = gate::idle(entry)?;
        Some(format!("/constraints/allowed_tools: `{entry}` allows next to nothing: {why}"))
    });
    // Forbidding what the contract names and this node lacks is no slip.
    let understood = |entry: &str| {
        gate::is_known_approval(entry, tools, &rules.classes)
            || CONTRACT_TOOLS.iter().chain([&MODEL, &MISSION]).any(|name| gate::matches(gate::name(entry), name))
    };
    let forbidden = envelope.constraints.forbidden_tools.iter().filter(|entry| !understood(entry));
    approvals
        .chain(forbidden.map(|entry| {
            format!("/constraints/forbidden_tools: no tool of this node matches `{entry}`: it forbids nothing")
        }))
        .chain(allowed.map(|entry| format!("/constraints/allowed_tools: no tool of this node matches `{entry}`")))
        .chain(idle)
        .take(limit::MISTAKES_MAX)
        .map(|warning| limit::clip(&warning, limit::NOTE_BYTES_MAX))
        .collect()
}

impl core::fmt::Display for Denial {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::WrongInstance { target, node } => write!(f, "the mission is for `{target}`; this node is `{node}`"),
            Self::Mistakes(mistakes) => {
                let all: Vec<String> = mistakes.iter().map(|mistake| mistake.detail.clone()).collect();
                f.write_str(&all.join("; "))
            }
            Self::IdempotencyConflict { mission_id, .. } => {
                write!(f, "the idempotency key was used before, for mission `{mission_id}`, with other content")
            }
            Self::MissionIdConflict => f.write_str("the mission id was used before, with another idempotency key"),
        }
    }
}

impl core::error::Error for Denial {}
