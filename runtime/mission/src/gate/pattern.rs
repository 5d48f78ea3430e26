//! An entry of the constraints' lists: a name with wildcards, or `NAME(scope)`, which says which calls of a tool are meant.
//!
//! Owned here: the form of an entry, which tools know which scopes, and what an entry means that nobody can read. Intake refuses those;
//! missions that were taken before it did keep them: an allowance then grants nothing, and a prohibition means every call of what it names.

use alloc::borrow::ToOwned as _;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;

use sortie_contract::limit;
use sortie_contract::tool::{KNOWN_CLASSES, ToolInfo};

use super::arguments::Arguments;
use super::call::Call;
use super::command::{self, CommandScope};
use super::domain::Domain;
use super::matches;
use super::path::Paths;
use super::{Fit, List, Side};

/// Longest scope, in bytes: globs are compared with each call.
const SCOPE_BYTES_MAX: usize = 1_000;

/// What names of the tools of MCP servers begin with.
const MCP: &str = "mcp__";

/// An entry, ready to be compared with calls.
#[derive(Debug)]
pub(super) struct Pattern {
    text: Box<str>,
    name: Box<str>,
    /// No wildcard is in the name.
    is_plain: bool,
    scope: Scope,
}

#[derive(Debug)]
pub(super) enum Scope {
    /// Every call.
    Every,
    /// No call: an allowance that cannot be read.
    None,
    Paths(Paths),
    Domain(Domain),
    Arguments(Arguments),
    Command(CommandScope),
}

impl Pattern {
    /// Prepares an entry, whatever is in it.
    pub(super) fn new(entry: &str, list: List) -> Self {
        let (name, scope) = match (parse(entry, list.side()), list) {
            (Ok(scope), _) => (name(entry), scope),
            (Err(_), List::Allowed) => (name(entry), Scope::None),
            (Err(_), List::Forbidden) if !is_scoped(entry) => ("*", Scope::Every),
            // Intake has said of an approval that names nothing what follows from that.
            (Err(_), List::Forbidden | List::Approval) => (name(entry), Scope::Every),
        };
        Self { text: entry.into(), name: name.into(), is_plain: !name.contains('*'), scope }
    }

    /// The entry.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The command that it takes, where that is its scope.
    pub(super) fn command(&self) -> Option<&CommandScope> {
        if let Scope::Command(scope) = &self.scope { Some(scope) } else { None }
    }

    /// Whether its name, or that of an effect class, means a tool; a scope is for tools alone.
    pub(super) fn names(&self, tool: &ToolInfo) -> bool {
        let name = tool.name.as_str();
        if self.is_plain { self.name.eq_ignore_ascii_case(name) } else { matches(&self.name, name) }
    }

    /// Whether it, as a prohibition or an approval, names a tool by its name or by a class of its effects.
    pub(super) fn means(&self, tool: &ToolInfo) -> bool {
        self.names(tool) || self.is_every() && tool.effects.iter().any(|class| matches(&self.name, &class.0))
    }

    /// Whether it makes no difference between calls.
    pub(super) fn is_every(&self) -> bool {
        matches!(self.scope, Scope::Every)
    }

    /// Whether it may allow any call of what it names.
    pub(super) fn allows_some(&self) -> bool {
        !matches!(self.scope, Scope::None)
    }

    /// Whether its scope means a call of a tool that it names.
    pub(super) fn fit(&self, call: &Call<'_>, side: Side) -> Fit {
        match &self.scope {
            Scope::Every => Fit::Yes,
            Scope::None => Fit::Doubt("nobody can read the scope"),
            Scope::Paths(paths) => paths.fit(call, side),
            Scope::Domain(domain) => domain.fit(call),
            Scope::Arguments(arguments) => arguments.fit(call, side),
            Scope::Command(scope) if side == Side::Allow => command::allowed(&[scope], call),
            Scope::Command(scope) => command::barred(scope, call),
        }
    }
}

/// The name in an entry: what stands before a parenthesis.
pub(super) fn name(entry: &str) -> &str {
    entry.split_once('(').map_or(entry, |(name, _)| name)
}

/// Whether an entry has, or was meant to have, a scope: behind a parenthesis that follows a name.
pub(super) fn is_scoped(entry: &str) -> bool {
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.:/*".contains(&byte))
    };
    entry.split_once('(').is_some_and(|(name, _)| is_name(name))
}

/// Why an entry of `allowed_tools` allows less than it seems to.
pub(super) fn idle(entry: &str) -> Option<&'static str> {
    match parse(entry, Side::Allow) {
        Ok(Scope::Command(scope)) => scope.idle(),
        _ => None,
    }
}

/// Reads an entry.
///
/// # Errors
/// What is wrong with it, and what is right.
pub(super) fn parse(entry: &str, side: Side) -> Result<Scope, String> {
    let Some((name, rest)) = entry.split_once('(') else { return Ok(Scope::Every) };
    let quoted = limit::clip(name, limit::QUOTE_BYTES_MAX);
    let scope = rest.strip_suffix(')').ok_or_else(|| {
        format!("the parenthesis behind `{quoted}` is not closed at the end: write `NAME(scope)` and nothing behind it")
    })?;
    if scope.contains(['(', ')']) {
        return Err("a scope has no parentheses in it: write `*` for what has one".to_owned());
    }
    if scope.trim().is_empty() {
        return Err(format!(
            "the scope is empty: write `{quoted}` for every call, or say which, such as `Read(docs/**)`"
        ));
    }
    if scope.len() > SCOPE_BYTES_MAX {
        return Err(format!("a scope has at most {SCOPE_BYTES_MAX} bytes, this one has {}", scope.len()));
    }
    let is = |names: &[&str]| names.iter().any(|known| known.eq_ignore_ascii_case(name));
    let is_of_server = name.get(..MCP.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(MCP));
    if is(&["Read", "Write", "Edit", "Glob", "Grep"]) {
        Paths::parse(scope.trim(), side).map(Scope::Paths)
    } else if is(&["WebFetch", "HttpRequest"]) {
        Domain::parse(scope.trim()).map(Scope::Domain)
    } else if is(&["Bash"]) {
        CommandScope::parse(scope, side).map(Scope::Command)
    } else if is_of_server {
        Arguments::parse(scope, side).map(Scope::Arguments)
    } else if is(&KNOWN_CLASSES) {
        Err(format!(
            "`{quoted}` is an effect class, of tools of many kinds, and takes no scope: write the class alone, or a tool's name"
        ))
    } else if name.contains('*') {
        Err(format!(
            "a scope is for one tool, or for those of one server (`mcp__NAME__*`); `{quoted}` may be any: write an entry for each"
        ))
    } else {
        Err(format!(
            "`{quoted}` knows no scope: `Read`, `Write`, `Edit`, `Glob`, `Grep` take paths (`docs/**`), `WebFetch` and `HttpRequest` a host \
             (`domain:example.org`), `Bash` a command (`git diff *`), `mcp__…` arguments (`repo=acme/*`)"
        ))
    }
}
