//! Work on the files alone: where git may not be run, the plugin remembers what each file was before it is first changed, and makes the patch
//! itself.
//!
//! What cannot be remembered cannot be in a patch: a binary file, or one that is very large, is not changed at all.

use std::collections::BTreeMap;

use serde::Deserialize;
use sortie_patch::{counts, diff};
use sortie_plugin::{CallError, Failure, Tools, json};

use crate::changed::{Changed, File, Kind};
use crate::place::Place;

/// Largest file that is changed, in bytes.
const FILE_BYTES_MAX: usize = 8 << 20;

/// Most that is remembered of all files, in bytes: it is in the plugin's memory.
const REMEMBERED_BYTES_MAX: usize = 48 << 20;

/// What files were before they were changed, by their paths as the model sees them; `None`: there was none.
#[derive(Debug, Default)]
pub(crate) struct Originals {
    files: BTreeMap<String, Option<String>>,
    bytes: usize,
}

#[derive(Debug, Deserialize)]
struct Part {
    content: String,
    #[serde(default)]
    truncated: bool,
}

#[derive(Debug, Deserialize)]
struct Found {
    paths: Vec<String>,
}

impl Originals {
    /// Remembers a file before it is changed.
    ///
    /// # Errors
    /// Why it must not be, for the model.
    pub(crate) fn remember(&mut self, tools: &Tools, place: &Place, path: &str) -> Result<(), String> {
        let entered = place.change(path)?;
        let path = place.leave(&entered).to_owned();
        if self.files.contains_key(&path) {
            return Ok(());
        }
        let before = read(tools, &entered).map_err(|why| format!("`{path}` cannot be changed here: {why}"))?;
        self.bytes += before.as_ref().map_or(0, String::len);
        if self.bytes > REMEMBERED_BYTES_MAX {
            return Err(format!(
                "`{path}` cannot be changed: more than {REMEMBERED_BYTES_MAX} bytes were changed already"
            ));
        }
        self.files.insert(path, before);
        Ok(())
    }

    /// The diff of all that was changed, and how much of which file.
    ///
    /// # Errors
    /// A file that cannot be read any more.
    pub(crate) fn diff(&self, tools: &Tools, place: &Place) -> Result<(String, Changed), Failure> {
        let (mut text, mut files) = (String::new(), Vec::new());
        for (path, before) in &self.files {
            let entered = place.enter(path)?;
            let after = read(tools, &entered).map_err(|why| Failure::new(format!("{path}: {why}")).of_tool("Read"))?;
            let one = match (before, &after) {
                (before, Some(after)) => diff(path, before.as_deref(), after),
                (Some(before), None) => deletion(path, before),
                // A call that was made and did nothing, or was refused.
                (None, None) => continue,
            };
            let kind = match (before, &after) {
                (None, _) => Kind::New,
                (Some(_), None) => Kind::Removed,
                (Some(_), Some(_)) => Kind::Changed,
            };
            let after = after.unwrap_or_default();
            if !one.is_empty() {
                let (added, removed) = counts(before.as_deref().unwrap_or_default(), &after);
                files.push(File { path: path.clone(), lines: format!("+{added} -{removed}"), kind });
                text.push_str(&one);
            }
        }
        Ok((text, Changed::of(files)))
    }
}

/// The diff of a file that is gone: its tests may have taken it away.
fn deletion(path: &str, before: &str) -> String {
    const EMPTY: &str = "index e69de29bb2d1d6434b8b29ae775ad8c2e48c5391..0000000000000000000000000000000000000000\n";
    if before.is_empty() {
        return diff(path, None, "").lines().next().unwrap_or_default().to_owned()
            + "\ndeleted file mode 100644\n"
            + EMPTY;
    }
    let emptied = diff(path, Some(before), "");
    let mut lines = emptied.split_inclusive('\n');
    let (git, old, _new) = (lines.next(), lines.next(), lines.next());
    let head = [git.unwrap_or_default(), "deleted file mode 100644\n", old.unwrap_or_default(), "+++ /dev/null\n"];
    head.into_iter().chain(lines).collect()
}

/// All of a file; `None` where there is none.
fn read(tools: &Tools, path: &str) -> Result<Option<String>, String> {
    let read = tools.get("Read").ok_or("the mission may not read")?;
    let mut content = String::new();
    loop {
        let part: Part = match read.call_as(&json!({ "path": path, "offset": content.len() })) {
            Ok(part) => part,
            Err(CallError::Failed(why)) if content.is_empty() => {
                return if is_there(tools, path, &why) { Err(why) } else { Ok(None) };
            }
            Err(error) => return Err(error.to_string()),
        };
        let is_over = !part.truncated || part.content.is_empty();
        content.push_str(&part.content);
        if content.len() > FILE_BYTES_MAX {
            return Err(format!("it has more than {FILE_BYTES_MAX} bytes"));
        }
        if is_over {
            return Ok(Some(content));
        }
    }
}

/// Whether a file that could not be read is there all the same. Where nobody can tell, it is taken to be: what is there must not be lost.
fn is_there(tools: &Tools, path: &str, why: &str) -> bool {
    // Without `Glob` there are only the words of `Read`.
    let Some(glob) = tools.get("Glob") else { return !why.contains("does not exist") };
    // What a pattern is written with may be in a name, too.
    let pattern: String = path.chars().map(|c| if "*?[]{}\\!".contains(c) { '?' } else { c }).collect();
    match glob.call_as::<_, Found>(&json!({ "pattern": pattern })) {
        Ok(found) => found.paths.iter().any(|found| found == path),
        Err(_) => true,
    }
}
