//! The workspace's pages and files, through the tools that the mission was granted: several at a time, and bounded.

use std::collections::{BTreeMap, BTreeSet};

use sortie_plugin::{CallError, Failure, Pending, Tool, Tools, Value, json};

use crate::page::Page;

/// Most pages of one mission.
pub(crate) const PAGES_MAX: usize = 1_000;

/// Calls that are on their way at once: a node takes 64, and a machine that sleeps likes fewer.
const AT_ONCE: usize = 16;

/// What was read.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) pages: BTreeMap<String, Page>,
    /// Pages that could not be read, with why.
    pub(crate) unread: Vec<(String, String)>,
    /// Whether there are more than were looked at.
    pub(crate) more: bool,
}

/// Finds the pages that match, and reads them. `go_on` is asked before each handful of calls.
///
/// # Errors
/// Where a pattern cannot be looked for.
pub(crate) fn pages(tools: &Tools, patterns: &[String], go_on: &mut dyn FnMut() -> bool) -> Result<Found, Failure> {
    let (glob, read) = (tools.require("Glob")?, tools.require("Read")?);
    let mut found = Found::default();
    let mut paths = BTreeSet::new();
    for pattern in patterns {
        let listed = glob.call(&json!({ "pattern": pattern })).map_err(|error| glob.failure(&error))?;
        found.more |= listed["truncated"] == true;
        paths.extend(listed["paths"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned));
    }
    found.more |= paths.len() > PAGES_MAX;
    let paths: Vec<String> = paths.into_iter().take(PAGES_MAX).collect();
    let arguments = |path: &String| json!({ "path": path });
    for (path, answer) in side_by_side(read, &paths, arguments, go_on) {
        match answer {
            None => found.unread.push((path, "there was no time left for it".to_owned())),
            Some(Err(error)) => found.unread.push((path, error.to_string())),
            Some(Ok(file)) if file["truncated"] == true => {
                found.unread.push((path, "it is too large for a page: over a MiB".to_owned()));
            }
            Some(Ok(file)) => {
                let text = file["content"].as_str().unwrap_or_default().to_owned();
                found.pages.insert(path.clone(), Page::new(&path, text));
            }
        }
    }
    Ok(found)
}

/// Calls a tool once for each of `items`, some at a time, and gives the answers in the order of the items. What there was no
/// time for has none.
pub(crate) fn side_by_side<T: Clone>(
    tool: &Tool,
    items: &[T],
    arguments: impl Fn(&T) -> Value,
    go_on: &mut dyn FnMut() -> bool,
) -> Vec<(T, Option<Result<Value, CallError>>)> {
    let mut answers = Vec::with_capacity(items.len());
    for some in items.chunks(AT_ONCE) {
        if !go_on() {
            answers.extend(some.iter().map(|item| (item.clone(), None)));
            continue;
        }
        let started: Vec<Result<Pending, CallError>> = some.iter().map(|item| tool.start(&arguments(item))).collect();
        for (item, pending) in some.iter().zip(started) {
            answers.push((item.clone(), Some(pending.and_then(|pending| pending.get()))));
        }
    }
    answers
}

/// What is in the folders of the workspace, asked for once each.
#[derive(Debug, Default)]
pub(crate) struct Folders(BTreeMap<String, Result<BTreeSet<String>, String>>);

impl Folders {
    /// Lists folders that were not listed yet.
    pub(crate) fn list(&mut self, tools: &Tools, folders: BTreeSet<String>, go_on: &mut dyn FnMut() -> bool) {
        let Some(glob) = tools.get("Glob") else { return };
        let new: Vec<String> = folders.into_iter().filter(|folder| !self.0.contains_key(folder)).collect();
        let (plain, odd): (Vec<_>, Vec<_>) =
            new.into_iter().partition(|folder| !folder.contains(['*', '?', '[', '{', '\\', '!']));
        for folder in odd {
            self.0.insert(folder, Err("a folder of this name cannot be looked into".to_owned()));
        }
        let arguments = |folder: &String| json!({ "pattern": inside(folder) });
        for (folder, answer) in side_by_side(glob, &plain, arguments, go_on) {
            let listed = match answer {
                None => Err("there was no time left for it".to_owned()),
                Some(Err(error)) => Err(error.to_string()),
                Some(Ok(listed)) if listed["truncated"] == true => Err("its folder has too many files".to_owned()),
                Some(Ok(listed)) => {
                    let paths = listed["paths"].as_array().into_iter().flatten().filter_map(Value::as_str);
                    Ok(paths.map(str::to_owned).collect())
                }
            };
            self.0.insert(folder, listed);
        }
    }

    /// Whether there is a file; `None` where its folder was not listed.
    pub(crate) fn has(&self, path: &str) -> Option<Result<bool, &str>> {
        let listed = self.0.get(folder(path))?;
        Some(listed.as_ref().map(|paths| paths.contains(path)).map_err(String::as_str))
    }

    /// Whether there is a folder with files; `None` where it was not listed.
    pub(crate) fn has_folder(&self, path: &str) -> Option<bool> {
        self.0.get(path).map(|listed| listed.as_ref().is_ok_and(|paths| !paths.is_empty()))
    }
}

/// The folder that a path is in; nothing for the workspace itself.
pub(crate) fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn inside(folder: &str) -> String {
    if folder.is_empty() { "*".to_owned() } else { format!("{folder}/*") }
}
