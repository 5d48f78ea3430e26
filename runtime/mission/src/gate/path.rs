//! Scopes of the tools that work on files: globs over the paths of the workspace.
//!
//! Owned here: what such a scope is, and what a call may touch by its arguments. A call of `Glob` or `Grep` may touch more than one file:
//! it is allowed where all of that lies in the scope, and forbidden where any of it may. Paths have the workspace's one normal form; what
//! has none (`..`, absolute, empty) is no allowed call, and may be any forbidden one. Never here: the file system. A scope is about names:
//! what a link that lies in the workspace leads to, the tools look after.

use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use serde_json::Value;
use sortie_contract::limit;

use super::call::Call;
use super::glob::{Asked, Parts, folded};
use super::{Fit, Side};

/// What cannot be told of a call of these tools.
const NO_PATH: &str = "its path is none of the workspace";

/// A glob over paths.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Paths(Parts);

/// What a call may touch: nothing outside any of these areas.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reach {
    areas: Vec<Area>,
    /// The same as a file system without regard to case sees them.
    folded: Vec<Area>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Area {
    parts: Vec<Asked>,
    /// A path that may be a file's or a folder's; then what is in it is meant, too.
    tree: bool,
}

impl Paths {
    /// Parses the scope.
    ///
    /// # Errors
    /// What is wrong with it, and what to write.
    pub(super) fn parse(scope: &str, side: Side) -> Result<Self, String> {
        if let Some(sign) = scope.chars().find(|sign| matches!(sign, '?' | '[' | ']' | '{' | '}' | '\\')) {
            return Err(format!(
                "`{sign}` has no meaning in a path scope: wildcards are `*` and `**`; write an entry for each alternative"
            ));
        }
        if scope.starts_with('~') {
            return Err("paths are those of the mission's workspace: `~` is none, write `docs/**`".to_owned());
        }
        if scope.ends_with('/') {
            return Err(format!("a folder alone is no file: write `{scope}**` for all that is in it"));
        }
        let places = normal(scope).map_err(|why| format!("{why}; write a path of the workspace, such as `docs/**`"))?;
        if places.is_empty() {
            return Err("the workspace itself is no file: write `**` for all that is in it".to_owned());
        }
        let text = places.join("/");
        let text = if side == Side::Bar { folded(&text) } else { text.into() };
        Parts::new(text.split('/')).map(Self).ok_or_else(|| {
            "`**` stands for whole folders: write `docs/**` or `docs/**/*.md`, with nothing else between the slashes".to_owned()
        })
    }

    pub(super) fn fit(&self, call: &Call<'_>, side: Side) -> Fit {
        let reach = match call.reach() {
            Ok(reach) => reach,
            Err(why) => return Fit::Doubt(why),
        };
        let fits = match side {
            Side::Allow => reach.areas.iter().any(|area| self.takes(area)),
            Side::Bar => reach.folded.iter().all(|area| self.0.meets(&area.parts)),
        };
        if fits { Fit::Yes } else { Fit::No }
    }

    fn takes(&self, area: &Area) -> bool {
        // A scope without wildcards names the one thing, be it a file or a folder.
        let named = || match area.parts.as_slice() {
            [path @ .., Asked::Deep] if area.tree => self.0.is_plain() && self.0.takes_all(path),
            _ => false,
        };
        self.0.takes_all(&area.parts) || named()
    }
}

impl Reach {
    /// What a call of the tool may touch by its arguments.
    ///
    /// # Errors
    /// Why that cannot be told.
    pub(super) fn of(tool: &str, arguments: &Value) -> Result<Self, &'static str> {
        let text = |name: &str| match arguments.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(NO_PATH),
        };
        let areas = if tool.eq_ignore_ascii_case("Glob") {
            let pattern = text("pattern")?.ok_or(NO_PATH)?;
            vec![Area { parts: pattern_parts(&normal(pattern)?), tree: false }]
        } else if tool.eq_ignore_ascii_case("Grep") {
            let mut parts = is(&text("path")?.map_or(Ok(Vec::new()), normal)?);
            parts.push(Asked::Deep);
            let within = Area { parts, tree: true };
            match text("glob")? {
                None => vec![within],
                Some(glob) => {
                    let glob = normal(glob)?;
                    // Without a slash it is about names, wherever they are.
                    let anywhere = (glob.len() == 1).then_some(Asked::Deep);
                    let parts = anywhere.into_iter().chain(pattern_parts(&glob)).collect();
                    vec![within, Area { parts, tree: false }]
                }
            }
        } else {
            vec![Area { parts: is(&normal(text("path")?.ok_or(NO_PATH)?)?), tree: false }]
        };
        let fold = |part: &Asked| match part {
            Asked::Deep => Asked::Deep,
            Asked::Like(text) => Asked::Like(folded(text).into_owned()),
            Asked::Is(text) => Asked::Is(folded(text).into_owned()),
        };
        let folded = |area: &Area| Area { parts: area.parts.iter().map(fold).collect(), ..*area };
        Ok(Self { folded: areas.iter().map(folded).collect(), areas })
    }
}

fn is(parts: &[&str]) -> Vec<Asked> {
    parts.iter().map(|&part| Asked::Is(part.to_owned())).collect()
}

/// A pattern as the tools read it. Where alternatives, classes or escapes begin, which may hide a slash, anything may follow.
fn pattern_parts(parts: &[&str]) -> Vec<Asked> {
    let mut all = Vec::new();
    for &part in parts {
        if part.contains(['[', ']', '{', '}', '\\']) {
            all.push(Asked::Deep);
            break;
        }
        all.push(match part {
            "**" => Asked::Deep,
            _ if part.contains(['*', '?']) => Asked::Like(part.to_owned()),
            _ => Asked::Is(part.to_owned()),
        });
    }
    all
}

/// The parts of a path in the workspace's one normal form: `./a//b/` is `a/b`. As `sortie-tools` has it: what goes up or begins at the top
/// is refused, even where it would come back.
fn normal(path: &str) -> Result<Vec<&str>, &'static str> {
    if path.is_empty() {
        return Err("its path is empty");
    }
    if path.len() > limit::PATH_BYTES_MAX || path.contains('\0') {
        return Err(NO_PATH);
    }
    if path.starts_with('/') {
        return Err("its path is absolute");
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.contains(&"..") { Err("its path has `..`") } else { Ok(parts) }
}
