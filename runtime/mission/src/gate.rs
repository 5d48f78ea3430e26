//! Which tool a mission may call: patterns, effect classes, and the order in which its rules hold.
//!
//! Forbidden, then approval, then allowed, then denied (contract reading, *Tool names, patterns, effect classes*). Nothing is
//! allowed by silence, and a safety rule that nobody understands makes the gate narrower, never wider.

use sortie_contract::envelope::Constraints;
use sortie_contract::tool::{EffectClass, KNOWN_CLASSES, ToolInfo};

/// What the constraints of a mission say about a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate<'a> {
    /// This entry of `forbidden_tools` names it, or a class of its effects.
    Forbidden(&'a str),
    /// No entry of `allowed_tools` names it.
    NotAllowed,
    /// It is allowed, and each call needs somebody's approval.
    NeedsApproval(Approval<'a>),
    /// It may be called.
    Granted,
}

/// Why a call needs approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Approval<'a> {
    /// This entry of `approval_required` names the tool or one of its effect classes.
    Required(&'a str),
    /// Nothing is known of the tool's effects, and this entry of `approval_required` names nothing that is known: it may
    /// have meant this tool.
    Unclassified(&'a str),
}

/// Asks the gate. `unknown_approvals` are the entries that intake could not make sense of.
pub(crate) fn gate<'a>(
    constraints: &'a Constraints,
    unknown_approvals: &'a [alloc::string::String],
    tool: &ToolInfo,
) -> Gate<'a> {
    let name = tool.name.as_str();
    if let Some(entry) = constraints.forbidden_tools.iter().find(|entry| means(entry, tool)) {
        return Gate::Forbidden(entry);
    }
    // Approval comes before allowed, yet nobody is asked for what could not be granted anyway.
    if !constraints.allowed_tools.iter().any(|entry| matches(entry, name)) {
        return Gate::NotAllowed;
    }
    if let Some(entry) = constraints.approval_required.iter().find(|entry| means(entry, tool)) {
        return Gate::NeedsApproval(Approval::Required(entry));
    }
    match unknown_approvals.first() {
        Some(entry) if !tool.is_classified() => Gate::NeedsApproval(Approval::Unclassified(entry)),
        _ => Gate::Granted,
    }
}

/// Whether an entry of a prohibition or of an approval means this tool: by its name, or by a class of its effects.
fn means(entry: &str, tool: &ToolInfo) -> bool {
    matches(entry, tool.name.as_str()) || tool.effects.iter().any(|class| matches(entry, &class.0))
}

/// Whether an approval entry names something that is known on this node: a class, or a tool.
pub(crate) fn is_known_approval(entry: &str, tools: &[ToolInfo], classes: &[EffectClass]) -> bool {
    KNOWN_CLASSES.iter().any(|class| matches(entry, class))
        || classes.iter().any(|class| matches(entry, &class.0))
        || tools.iter().any(|tool| means(entry, tool))
}

/// Whether `pattern` (a name, or with `*` for any run of characters) matches `name`, without regard to case.
///
/// Names of tools are ASCII. The walk remembers only the last `*`, so it takes at most pattern times name steps.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    // Where to go on after a mismatch: behind the last star, one character of the name further.
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                p += 1;
                retry = Some((p, n));
            }
            Some(byte) if byte.eq_ignore_ascii_case(&name[n]) => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((star, from)) = retry else { return false };
                retry = Some((star, from + 1));
                p = star;
                n = from + 1;
            }
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use alloc::borrow::ToOwned;
    use alloc::string::String;
    use alloc::vec::Vec;

    use sortie_contract::tool::ToolName;

    use super::*;

    fn tool(name: &str, effects: &[&str], read_only: bool) -> ToolInfo {
        ToolInfo {
            name: ToolName::new(name),
            description: String::new(),
            input_schema: serde_json::Value::Bool(true),
            effects: effects.iter().map(|&class| EffectClass(class.to_owned())).collect(),
            read_only,
            idempotent: false,
            price: sortie_contract::MicroUsd::ZERO,
        }
    }

    fn constraints(allowed: &[&str], forbidden: &[&str], approval: &[&str]) -> Constraints {
        let own = |list: &[&str]| list.iter().map(|&entry| entry.to_owned()).collect::<Vec<_>>();
        Constraints { allowed_tools: own(allowed), forbidden_tools: own(forbidden), approval_required: own(approval) }
    }

    #[test]
    fn a_pattern_is_a_name_or_has_stars_and_case_does_not_matter() {
        for (pattern, name, expected) in [
            ("Read", "Read", true),
            ("read", "READ", true),
            ("Read", "Reader", false),
            ("Reader", "Read", false),
            ("mcp__github__*", "mcp__GitHub__create_issue", true),
            ("mcp__github__*", "mcp__gitlab__create_issue", false),
            ("*", "Bash", true),
            ("*", "", true),
            ("", "", true),
            ("", "Read", false),
            ("*issue*", "create_issue", true),
            ("*a*b", "xaxbxab", true),
            ("*a*b", "xaxbxa", false),
            ("**", "x", true),
            ("R?ad", "Read", false),
            ("R[e]ad", "Read", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern:?} against {name:?}");
        }
    }

    #[test]
    fn the_order_is_forbidden_approval_allowed_denied() {
        let write = tool("Write", &["workspace_write"], false);
        for (allowed, forbidden, approval, expected) in [
            (&[][..], &[][..], &[][..], Gate::NotAllowed),
            (&["Write"], &[], &[], Gate::Granted),
            (&["*"], &["wri*"], &["Write"], Gate::Forbidden("wri*")),
            (&["*"], &["Workspace_Write"], &[], Gate::Forbidden("Workspace_Write")),
            (&["*"], &["outbound_email"], &[], Gate::Granted),
            (&["*"], &[], &["Write"], Gate::NeedsApproval(Approval::Required("Write"))),
            (&["*"], &[], &["workspace_write"], Gate::NeedsApproval(Approval::Required("workspace_write"))),
            // A tool that only approval_required names is not thereby allowed.
            (&["Read"], &[], &["Write"], Gate::NotAllowed),
            (&["*"], &[], &["outbound_email"], Gate::Granted),
        ] {
            let constraints = constraints(allowed, forbidden, approval);
            assert_eq!(gate(&constraints, &[], &write), expected, "{constraints:?}");
        }
    }

    #[test]
    fn a_misspelt_safety_rule_fails_safe() {
        let constraints = constraints(&["*"], &[], &["outbond_email"]);
        let unknown = constraints.approval_required.clone();
        let asked = Gate::NeedsApproval(Approval::Unclassified("outbond_email"));
        for (tool, expected) in [
            (tool("mcp__mail__send", &[], false), asked),
            (tool("Read", &[], true), Gate::Granted),
            (tool("Write", &["workspace_write"], false), Gate::Granted),
        ] {
            assert_eq!(gate(&constraints, &unknown, &tool), expected, "{}", tool.name);
        }
    }

    #[test]
    fn an_approval_entry_is_known_as_a_class_or_by_a_tool() {
        let tools = [tool("Write", &["house_rule"], false)];
        let classes = [EffectClass("deploys".to_owned())];
        for (entry, expected) in [
            ("money_movement", true),
            ("Money_Movement", true),
            ("deploys", true),
            ("write", true),
            ("W*", true),
            ("house_rule", true),
            ("money_movment", false),
            ("Delete", false),
        ] {
            assert_eq!(is_known_approval(entry, &tools, &classes), expected, "{entry}");
        }
    }
}
