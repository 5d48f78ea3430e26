//! What the constraints of a mission say about a tool before any call of it is known, and by which entries.
//!
//! No call is decided by this: it is told to people before they dispatch. It agrees with what [`Rules::gate`] says of each call, in the same
//! order: forbidden, then allowed at all, then approval.

use alloc::borrow::ToOwned as _;
use alloc::string::String;
use alloc::vec::Vec;

use sortie_contract::tool::ToolInfo;

use super::{List, Rules};

/// What the constraints say of a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// What becomes of a call.
    pub stands: Stands,
    /// Whether that holds of some calls only: an entry that decides has a scope, or one that forbids or holds some calls does.
    pub only_some: bool,
    /// The entries that say so, in the order in which they hold. None at all: no entry allows the tool.
    pub by: Vec<(List, String)>,
}

/// What becomes of the calls of a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stands {
    /// They are made.
    Allowed,
    /// Somebody is asked first.
    Asks,
    /// They are refused.
    Denied,
}

impl Rules {
    /// What they say of a tool. `unknown_approvals` are the entries that intake could not make sense of.
    #[must_use]
    pub fn say(&self, unknown_approvals: &[String], tool: &ToolInfo) -> Said {
        let entry = |list: List, text: &str| (list, text.to_owned());
        let forbids: Vec<_> = self.forbidden.iter().filter(|pattern| pattern.means(tool)).collect();
        if let Some(every) = forbids.iter().find(|pattern| pattern.is_every()) {
            return Said {
                stands: Stands::Denied,
                only_some: false,
                by: [entry(List::Forbidden, every.text())].into(),
            };
        }
        let allows: Vec<_> =
            self.allowed.iter().filter(|pattern| pattern.names(tool) && pattern.allows_some()).collect();
        if allows.is_empty() {
            return Said { stands: Stands::Denied, only_some: false, by: Vec::new() };
        }
        let holds: Vec<_> = self.approval.iter().filter(|pattern| pattern.means(tool)).collect();
        let unclassified = unknown_approvals.first().filter(|_| !tool.is_classified());
        let asks_always = holds.iter().any(|pattern| pattern.is_every()) || unclassified.is_some();
        let is_held_in_part = !asks_always && !holds.is_empty();
        let only_some = !allows.iter().any(|pattern| pattern.is_every()) || !forbids.is_empty() || is_held_in_part;
        let of = |list: List, patterns: &[&super::Pattern]| {
            patterns.iter().map(|pattern| entry(list, pattern.text())).collect::<Vec<_>>()
        };
        let mut by = of(List::Forbidden, &forbids);
        by.extend(of(List::Approval, &holds));
        by.extend(unclassified.map(|text| entry(List::Approval, text)));
        by.extend(of(List::Allowed, &allows));
        Said { stands: if asks_always { Stands::Asks } else { Stands::Allowed }, only_some, by }
    }
}

#[cfg(test)]
mod tests {
    use sortie_contract::envelope::Constraints;
    use sortie_contract::tool::{EffectClass, ToolName};

    use super::super::Gate;
    use super::*;

    fn tool(name: &str, classes: &[&str]) -> ToolInfo {
        let effects = classes.iter().map(|&class| EffectClass(class.to_owned())).collect();
        ToolInfo { effects, ..ToolInfo::undeclared(ToolName::new(name)) }
    }

    fn rules(allowed: &[&str], forbidden: &[&str], approval: &[&str]) -> Rules {
        let owned = |list: &[&str]| list.iter().map(|&entry| entry.to_owned()).collect();
        Rules::new(&Constraints {
            allowed_tools: owned(allowed),
            forbidden_tools: owned(forbidden),
            approval_required: owned(approval),
        })
    }

    #[test]
    fn each_tool_is_allowed_asked_about_or_denied_by_the_entries_that_say_so() {
        use List::{Allowed, Approval, Forbidden};
        use Stands::{Asks, Denied};
        type Lists<'a> = (&'a [&'a str], &'a [&'a str], &'a [&'a str]);
        type Case<'a> = (Lists<'a>, Stands, bool, &'a [(List, &'a str)]);
        let cases: [Case<'_>; 10] = [
            ((&[], &[], &[]), Denied, false, &[]),
            ((&["Read"], &[], &[]), Denied, false, &[]),
            ((&["Write"], &[], &[]), Stands::Allowed, false, &[(Allowed, "Write")]),
            ((&["*"], &["write"], &["Write"]), Denied, false, &[(Forbidden, "write")]),
            ((&["W*"], &["workspace_write"], &[]), Denied, false, &[(Forbidden, "workspace_write")]),
            ((&["Write(docs/**)"], &[], &[]), Stands::Allowed, true, &[(Allowed, "Write(docs/**)")]),
            (
                (&["Write"], &["Write(a/**)"], &[]),
                Stands::Allowed,
                true,
                &[(Forbidden, "Write(a/**)"), (Allowed, "Write")],
            ),
            (
                (&["Write"], &[], &["workspace_write"]),
                Asks,
                false,
                &[(Approval, "workspace_write"), (Allowed, "Write")],
            ),
            (
                (&["Write"], &[], &["Write(a/**)"]),
                Stands::Allowed,
                true,
                &[(Approval, "Write(a/**)"), (Allowed, "Write")],
            ),
            ((&["Write(a/**)"], &[], &["*"]), Asks, true, &[(Approval, "*"), (Allowed, "Write(a/**)")]),
        ];
        let write = tool("Write", &["workspace_write"]);
        for ((allowed, forbidden, approval), stands, only_some, by) in cases {
            let rules = rules(allowed, forbidden, approval);
            let by = by.iter().map(|(list, text)| (*list, (*text).to_owned())).collect();
            assert_eq!(
                rules.say(&[], &write),
                Said { stands, only_some, by },
                "{allowed:?} {forbidden:?} {approval:?}"
            );
            // What is said of all calls is what becomes of one.
            if !only_some {
                let gate = rules.gate(&[], &write, "{\"path\": \"x.txt\"}");
                let expected = match gate {
                    Gate::Forbidden(_) | Gate::NotAllowed(_) => Denied,
                    Gate::NeedsApproval(_) => Asks,
                    Gate::Granted => Stands::Allowed,
                };
                assert_eq!(stands, expected, "{allowed:?} {forbidden:?} {approval:?}");
            }
        }
    }

    #[test]
    fn what_is_known_to_nobody_is_asked_about_where_an_approval_is() {
        let (rules, unknown) = (rules(&["*"], &[], &["money"]), ["money".to_owned()]);
        assert_eq!(rules.say(&unknown, &tool("Odd", &[])).stands, Stands::Asks);
        assert_eq!(rules.say(&unknown, &tool("Write", &["workspace_write"])).stands, Stands::Allowed);
        assert_eq!(rules.say(&[], &tool("Odd", &[])).stands, Stands::Allowed);
    }
}
