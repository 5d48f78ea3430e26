//! Edits of a page, and the patch that they make.
//!
//! An edit is a place in the page (words that occur once, or a link as it is written) and what is to stand there. Nobody's edit
//! changes the date on a page: that says that somebody looked, and only who looked can say so.

use crate::{address, date};

/// A change of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edit {
    pub(crate) old: String,
    pub(crate) new: String,
    /// All places, and not one.
    pub(crate) all: bool,
    pub(crate) why: String,
}

/// The edits of one page that can be made, one after the other.
#[derive(Debug, Clone)]
pub(crate) struct Proposal {
    pub(crate) path: String,
    pub(crate) before: String,
    pub(crate) after: String,
    pub(crate) edits: Vec<Edit>,
    /// Edits that cannot be made, with why.
    pub(crate) dropped: Vec<String>,
    pub(crate) state: State,
}

/// What became of a proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    Proposed,
    Made,
    /// Somebody said no, in these words.
    Declined(String),
    /// It could not be made.
    Failed(String),
    /// So many of its edits were made, and then one could not be.
    MadeInPart {
        made: usize,
        why: String,
    },
}

impl Proposal {
    /// No edit yet.
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let (before, after) = (text.to_owned(), text.to_owned());
        Self { path: path.to_owned(), before, after, edits: Vec::new(), dropped: Vec::new(), state: State::Proposed }
    }

    /// Adds an edit, or notes why it is none.
    pub(crate) fn add(&mut self, edit: Edit) {
        match self.applied(&edit) {
            Ok(after) => {
                self.after = after;
                self.edits.push(edit);
            }
            Err(why) => self.dropped.push(format!("{}: {why}", edit.why)),
        }
    }

    fn applied(&self, edit: &Edit) -> Result<String, String> {
        let Edit { old, new, all, .. } = edit;
        if old.is_empty() || old == new {
            return Err("it changes nothing".to_owned());
        }
        match self.after.matches(old.as_str()).count() {
            0 => return Err("the words that it is to change are not on the page".to_owned()),
            1 => {}
            _ if *all => {}
            count => return Err(format!("the words that it is to change are on the page {count} times")),
        }
        let after = self.after.replace(old.as_str(), new);
        if date::all_of_page(&after) != date::all_of_page(&self.after) {
            return Err("it changes a date on the page, which is for whoever looked at it".to_owned());
        }
        Ok(after)
    }

    /// Where the page leads afterwards, outside of the project, and did not before; as it is written.
    pub(crate) fn new_addresses(&self) -> Vec<String> {
        address::new_addresses(&self.before, &self.after)
    }

    /// The patch, as `git apply` and `patch -p1` take it.
    pub(crate) fn patch(&self) -> String {
        sortie_patch::diff(&self.path, Some(&self.before), &self.after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "---\nlast_reviewed: 2024-01-01\nupdated: 2024-02-02\n---\nLast updated: 3 March 2024\nOne lamp.\nTwo lamps.\nSee [one](a.md) and [one](a.md).";

    fn edit(old: &str, new: &str, all: bool) -> Edit {
        Edit { old: old.to_owned(), new: new.to_owned(), all, why: "because".to_owned() }
    }

    #[test]
    fn an_edit_is_made_where_there_is_one_place_for_it() {
        for (edit, dropped) in [
            (edit("One lamp.", "A lamp.", false), ""),
            (edit("(a.md)", "(b.md)", true), ""),
            (edit("(a.md)", "(b.md)", false), "2 times"),
            (edit("Three lamps.", "x", false), "not on the page"),
            (edit("", "x", false), "changes nothing"),
            (edit("One lamp.", "One lamp.", false), "changes nothing"),
            (edit("2024-01-01", "2026-01-01", false), "a date"),
            (edit("---\nlast_reviewed: 2024-01-01\n", "---\n", false), "a date"),
            // Each of them, and not only the one that ages are counted from.
            (edit("updated: 2024-02-02", "updated: 2026-02-02", false), "a date"),
            (edit("Last updated: 3 March 2024", "Last updated: 3 March 2026", false), "a date"),
            (edit("One lamp.", "Last reviewed: 2026-01-01", false), "a date"),
        ] {
            let mut proposal = Proposal::new("docs/a.md", PAGE);
            proposal.add(edit.clone());
            assert_eq!(proposal.edits.len(), usize::from(dropped.is_empty()), "{edit:?}");
            assert!(dropped.is_empty() || proposal.dropped[0].contains(dropped), "{edit:?}: {:?}", proposal.dropped);
            assert_eq!(proposal.before == proposal.after, !dropped.is_empty(), "{edit:?}");
        }
    }

    #[test]
    fn a_patch_has_what_git_wants_to_see() {
        let mut proposal = Proposal::new("docs/my page.md", PAGE);
        proposal.add(edit("[one](a.md).", "[one](a.md), and [two](https://example.org/2).", false));
        assert_eq!(
            proposal.patch(),
            "diff --git a/docs/my page.md b/docs/my page.md\n--- a/docs/my page.md\t\n+++ b/docs/my page.md\t\n@@ -5,4 +5,4 @@\n Last updated: 3 March 2024\n One lamp.\n \
             Two lamps.\n-See [one](a.md) and [one](a.md).\n\\ No newline at end of file\n+See [one](a.md) and [one](a.md), and \
             [two](https://example.org/2).\n\\ No newline at end of file\n"
        );
        assert_eq!(proposal.new_addresses(), ["https://example.org/2"]);
    }
}
