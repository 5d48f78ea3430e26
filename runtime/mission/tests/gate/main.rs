//! What the gate says to calls: tables by way of sneaking, properties, and bash itself as a witness.

mod commands;
mod files;
mod git;
mod network;
mod old_missions;
mod properties;
mod servers;
mod witness;
mod wrappers;

use sortie_contract::envelope::Constraints;
use sortie_contract::tool::{ToolInfo, ToolName};
use sortie_mission::gate::{Approval, Gate, Rules};

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    Allowed,
    Asks,
    Denied,
}

pub(crate) use Said::{Allowed, Asks, Denied};

/// Constraints of these three lists, each entry on a line of its own.
pub(crate) fn constraints(allowed: &str, forbidden: &str, approval: &str) -> Constraints {
    let list = |text: &str| text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect();
    Constraints { allowed_tools: list(allowed), forbidden_tools: list(forbidden), approval_required: list(approval) }
}

pub(crate) fn said(constraints: &Constraints, tool: &str, arguments: &str) -> Said {
    let tool = ToolInfo::undeclared(ToolName::new(tool));
    match Rules::new(constraints).gate(&[], &tool, arguments) {
        Gate::Granted => Allowed,
        Gate::NeedsApproval(Approval::Required(_)) => Asks,
        Gate::NeedsApproval(Approval::Unclassified(_)) => panic!("every approval here is known"),
        Gate::Forbidden(_) | Gate::NotAllowed(_) => Denied,
    }
}

/// Every scope here can be read: a table whose patterns are broken would be a table of denials.
pub(crate) fn check(constraints: &Constraints, tool: &str, arguments: &str, expected: Said) {
    use sortie_mission::gate::{List, wrong};
    for (list, entries) in [
        (List::Allowed, &constraints.allowed_tools),
        (List::Forbidden, &constraints.forbidden_tools),
        (List::Approval, &constraints.approval_required),
    ] {
        for entry in entries {
            assert_eq!(wrong(entry, list), None, "{entry}");
        }
    }
    assert_eq!(said(constraints, tool, arguments), expected, "{tool} {arguments} under {constraints:?}");
}
