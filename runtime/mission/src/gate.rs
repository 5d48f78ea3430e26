//! Which calls a mission may make: patterns, effect classes, and the order in which its rules hold.
//!
//! Forbidden, then approval, then allowed, then denied (contract reading, *Tool names, patterns, effect classes*). Nothing is
//! allowed by silence, and a safety rule that nobody understands makes the gate narrower, never wider: where it cannot be told whether a
//! scope means a call, an allowance does not, and a prohibition or an approval does.
//!
//! | file | the rule that it owns |
//! | --- | --- |
//! | `pattern` | the form of an entry: `NAME` or `NAME(scope)`; which tool knows which scope |
//! | `glob` | what `*` and `**` mean |
//! | `path`, `domain`, `arguments`, `command` | what each kind of scope means |
//! | `shell`, `runs` | which commands can be told from their text, and which run others |
//! | `call` | what is looked up of a call |
//! | `said` | what is told of a tool before any call is known |
//!
//! Never here: what a tool does with a call, and whether its arguments are of its schema.

mod arguments;
mod call;
mod command;
mod domain;
mod glob;
mod path;
mod pattern;
mod runs;
mod said;
mod shell;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use once_cell::race::OnceBox;
use sortie_contract::envelope::Constraints;
use sortie_contract::tool::{EffectClass, KNOWN_CLASSES, ToolInfo, ToolName};

pub use said::{Said, Stands};

use call::Call;
use pattern::Pattern;

/// What the constraints of a mission say about a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate<'a> {
    /// This entry of `forbidden_tools` means it, or a class of its effects.
    Forbidden(Entry<'a>),
    /// No entry of `allowed_tools` means it; where there is one for other calls of the tool, the first of these.
    NotAllowed(Option<Entry<'a>>),
    /// It is allowed, and needs somebody's approval.
    NeedsApproval(Approval<'a>),
    /// It may be made.
    Granted,
}

/// Why a call needs approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Approval<'a> {
    /// This entry of `approval_required` means the call, or one of the effect classes of its tool.
    Required(Entry<'a>),
    /// Nothing is known of the tool's effects, and this entry of `approval_required` names nothing that is known: it may
    /// have meant this tool.
    Unclassified(&'a str),
}

/// An entry that decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// As it is written.
    pub text: &'a str,
    /// Why it cannot be told whether its scope means the call, where it cannot.
    pub doubt: Option<&'static str>,
}

/// The lists of the constraints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// `allowed_tools`
    Allowed,
    /// `forbidden_tools`
    Forbidden,
    /// `approval_required`
    Approval,
}

/// What an entry is for: that decides what doubt means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    /// It lets calls through.
    Allow,
    /// It stops or holds them.
    Bar,
}

/// Whether a scope means a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fit {
    No,
    /// Nobody can tell; why.
    Doubt(&'static str),
    Yes,
}

impl Fit {
    /// Of two that must both mean it.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Doubt(why), _) | (_, Self::Doubt(why)) => Self::Doubt(why),
            (Self::Yes, Self::Yes) => Self::Yes,
        }
    }

    /// Of two of which one must.
    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Yes, _) | (_, Self::Yes) => Self::Yes,
            (Self::Doubt(why), _) | (_, Self::Doubt(why)) => Self::Doubt(why),
            (Self::No, Self::No) => Self::No,
        }
    }
}

impl List {
    fn side(self) -> Side {
        match self {
            Self::Allowed => Side::Allow,
            Self::Forbidden | Self::Approval => Side::Bar,
        }
    }
}

/// The constraints of one mission, compiled.
#[derive(Debug)]
pub struct Rules {
    allowed: Vec<Pattern>,
    forbidden: Vec<Pattern>,
    approval: Vec<Pattern>,
}

impl Rules {
    /// Compiles them, whatever is in them.
    #[must_use]
    pub fn new(constraints: &Constraints) -> Self {
        let all = |entries: &[String], list| entries.iter().map(|entry| Pattern::new(entry, list)).collect();
        Self {
            allowed: all(&constraints.allowed_tools, List::Allowed),
            forbidden: all(&constraints.forbidden_tools, List::Forbidden),
            approval: all(&constraints.approval_required, List::Approval),
        }
    }

    /// Decides about a call. `arguments` is JSON text, `unknown_approvals` are the entries that intake could not make sense of.
    #[must_use]
    pub fn gate<'a>(&'a self, unknown_approvals: &'a [String], tool: &ToolInfo, arguments: &str) -> Gate<'a> {
        let call = Call::new(tool, arguments);
        if let Some(entry) = barring(&self.forbidden, &call) {
            return Gate::Forbidden(entry);
        }
        // Approval comes before allowed, yet nobody is asked for what could not be granted anyway.
        if let Err(nearest) = self.allows(&call) {
            return Gate::NotAllowed(nearest);
        }
        if let Some(entry) = barring(&self.approval, &call) {
            return Gate::NeedsApproval(Approval::Required(entry));
        }
        match unknown_approvals.first() {
            Some(entry) if !tool.is_classified() => Gate::NeedsApproval(Approval::Unclassified(entry)),
            _ => Gate::Granted,
        }
    }

    /// Decides about a call of a model. No allowance is needed for one, whose budget says how often it is asked; but what is forbidden, or is
    /// to be approved, may be every call that there is (`*`), or `model`.
    #[must_use]
    pub fn gate_of_unlisted(&self, unlisted: &ToolInfo) -> Gate<'_> {
        let call = Call::new(unlisted, "{}");
        match (barring(&self.forbidden, &call), barring(&self.approval, &call)) {
            (Some(entry), _) => Gate::Forbidden(entry),
            (None, Some(entry)) => Gate::NeedsApproval(Approval::Required(entry)),
            (None, None) => Gate::Granted,
        }
    }

    /// The entries of `approval_required` that say which calls of a tool are held, and mean this one: an approval for all calls of
    /// a tool is one of these, and of no others.
    pub(crate) fn scoped_approvals<'a>(&'a self, tool: &ToolName, arguments: &str) -> impl Iterator<Item = &'a str> {
        let tool = ToolInfo::undeclared(tool.clone());
        let scoped = self.approval.iter().filter(|pattern| !pattern.is_every() && pattern.names(&tool));
        let call = Call::new(&tool, arguments);
        let mean = scoped.filter(|pattern| pattern.fit(&call, Side::Bar) != Fit::No).map(Pattern::text);
        mean.collect::<Vec<_>>().into_iter()
    }

    /// Whether there may be a call of the tool that is granted, or asked about: then its handle is handed out.
    #[must_use]
    pub fn may_grant(&self, tool: &ToolInfo) -> bool {
        let is_allowed = self.allowed.iter().any(|pattern| pattern.names(tool) && pattern.allows_some());
        is_allowed && !self.forbidden.iter().any(|pattern| pattern.is_every() && pattern.means(tool))
    }

    /// Whether an allowance means the call; else the first that names its tool.
    fn allows<'a>(&'a self, call: &Call<'_>) -> Result<(), Option<Entry<'a>>> {
        let mut nearest = None;
        // The parts of a command may be allowed by different entries.
        let mut commands = Vec::new();
        for pattern in self.allowed.iter().filter(|pattern| pattern.names(call.tool)) {
            if let Some(command) = pattern.command() {
                commands.push(command);
                nearest = nearest.or(Some(Entry { text: pattern.text(), doubt: None }));
                continue;
            }
            let doubt = match pattern.fit(call, Side::Allow) {
                Fit::Yes => return Ok(()),
                Fit::Doubt(why) => Some(why),
                Fit::No => None,
            };
            nearest = nearest.or(Some(Entry { text: pattern.text(), doubt }));
        }
        if commands.is_empty() {
            return Err(nearest);
        }
        match command::allowed(&commands, call) {
            Fit::Yes => Ok(()),
            Fit::Doubt(why) => Err(nearest.map(|nearest| Entry { doubt: Some(why), ..nearest })),
            Fit::No => Err(nearest),
        }
    }
}

/// The first of these prohibitions, or approvals, that means the call.
fn barring<'a>(patterns: &'a [Pattern], call: &Call<'_>) -> Option<Entry<'a>> {
    patterns.iter().filter(|pattern| pattern.means(call.tool)).find_map(|pattern| {
        let doubt = match pattern.fit(call, Side::Bar) {
            Fit::No => return None,
            Fit::Doubt(why) => Some(why),
            Fit::Yes => None,
        };
        Some(Entry { text: pattern.text(), doubt })
    })
}

/// The rules of a mission, compiled when they are first asked about and shared by its copies: readers fold many missions and ask none.
#[derive(Debug, Clone, Default)]
pub(crate) struct Compiled(Arc<OnceBox<Rules>>);

/// What is compiled follows from the envelope, which is compared.
impl PartialEq for Compiled {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Compiled {
    /// Of these constraints; the same at each call.
    pub(crate) fn of(&self, constraints: &Constraints) -> &Rules {
        self.0.get_or_init(|| Box::new(Rules::new(constraints)))
    }
}

/// What is wrong with an entry, and what is right; nothing, where it can be read. An approval that has no scope may be anything.
#[must_use]
pub fn wrong(entry: &str, list: List) -> Option<String> {
    let is_free = list == List::Approval && !pattern::is_scoped(entry);
    if is_free { None } else { pattern::parse(entry, list.side()).err() }
}

/// Why an entry of `allowed_tools` allows less than it seems to.
pub(crate) fn idle(entry: &str) -> Option<&'static str> {
    pattern::idle(entry)
}

/// The name in an entry, without its scope; the whole entry, where it has none.
pub(crate) fn name(entry: &str) -> &str {
    if pattern::is_scoped(entry) { pattern::name(entry) } else { entry }
}

/// Whether an entry of `allowed_tools` allows all that another one would, as far as their texts tell: it is the same, or names the same tools and
/// has no scope. A `*` of the other can stand for anything, and is found only where a `*` of this one takes it in.
pub(crate) fn covers(allowed: &str, other: &str) -> bool {
    let ((own, own_scope), (name, scope)) = (split(allowed), split(other));
    let is_same = own.eq_ignore_ascii_case(name) && own_scope == scope;
    is_same || own_scope.is_empty() && matches(own, name)
}

fn split(entry: &str) -> (&str, &str) {
    entry.split_at(name(entry).len())
}

/// Whether an approval entry names something that is known on this node: a class, or a tool.
pub(crate) fn is_known_approval(entry: &str, tools: &[ToolInfo], classes: &[EffectClass]) -> bool {
    let (entry, is_scoped) = (name(entry), pattern::is_scoped(entry));
    let is_class = || {
        KNOWN_CLASSES.iter().any(|class| matches(entry, class)) || classes.iter().any(|class| matches(entry, &class.0))
    };
    let is_of = |tool: &ToolInfo| tool.effects.iter().any(|class| matches(entry, &class.0));
    tools.iter().any(|tool| matches(entry, tool.name.as_str()) || !is_scoped && is_of(tool)) || !is_scoped && is_class()
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

    fn entry(text: &str) -> Entry<'_> {
        Entry { text, doubt: None }
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
            (&[][..], &[][..], &[][..], Gate::NotAllowed(None)),
            (&["Write"], &[], &[], Gate::Granted),
            (&["*"], &["wri*"], &["Write"], Gate::Forbidden(entry("wri*"))),
            (&["*"], &["Workspace_Write"], &[], Gate::Forbidden(entry("Workspace_Write"))),
            (&["*"], &["outbound_email"], &[], Gate::Granted),
            (&["*"], &[], &["Write"], Gate::NeedsApproval(Approval::Required(entry("Write")))),
            (&["*"], &[], &["workspace_write"], Gate::NeedsApproval(Approval::Required(entry("workspace_write")))),
            // A tool that only approval_required names is not thereby allowed.
            (&["Read"], &[], &["Write"], Gate::NotAllowed(None)),
            (&["*"], &[], &["outbound_email"], Gate::Granted),
        ] {
            let constraints = constraints(allowed, forbidden, approval);
            assert_eq!(Rules::new(&constraints).gate(&[], &write, "{}"), expected, "{constraints:?}");
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
            assert_eq!(Rules::new(&constraints).gate(&unknown, &tool, "{}"), expected, "{}", tool.name);
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
