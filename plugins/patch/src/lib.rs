//! The diff of a file before and after, as git writes it: for plugins that leave a patch and may not run git.
//!
//! ```
//! assert_eq!(
//!     sortie_patch::diff("a.txt", Some("one\n"), "two\n"),
//!     "diff --git a/a.txt b/a.txt\n--- a/a.txt\n+++ b/a.txt\n@@ -1 +1 @@\n-one\n+two\n"
//! );
//! ```
//!
//! Never here: what a patch is sent in, and who made it.

use std::fmt::Write as _;
use std::ops::Range;

use imara_diff::{Algorithm, Diff, InternedInput};

/// Lines around a change.
const CONTEXT: u32 = 3;

/// Most lines that are compared with one another: the time for it grows with their square where nothing is alike.
const COMPARED_LINES_MAX: usize = 20_000;

/// The diff of one file; `None` before: it is new. Empty where nothing changed.
#[must_use]
pub fn diff(path: &str, before: Option<&str>, after: &str) -> String {
    if before == Some(after) {
        return String::new();
    }
    let (old, new) = (name("a/", path), name("b/", path));
    let mut text = format!("diff --git {old} {new}\n");
    if before.is_none() {
        text.push_str("new file mode 100644\n");
        if after.is_empty() {
            // Without lines there is nothing else that says it.
            text.push_str("index 0000000000000000000000000000000000000000..e69de29bb2d1d6434b8b29ae775ad8c2e48c5391\n");
            return text;
        }
    }
    // A name with blanks ends at the tab.
    let end = if path.contains(' ') { "\t" } else { "" };
    let old = before.map_or("/dev/null".to_owned(), |_| format!("{old}{end}"));
    let _ = writeln!(text, "--- {old}\n+++ {new}{end}");
    hunks(&mut text, before.unwrap_or_default(), after);
    text
}

/// How many lines come, and how many go.
#[must_use]
pub fn counts(before: &str, after: &str) -> (u32, u32) {
    let (before, after) = (lines(before), lines(after));
    let changes = compare(&before, &after);
    let sum = |of: fn(&Change) -> &Range<u32>| changes.iter().map(|change| of(change).len()).sum::<usize>() as u32;
    (sum(|change| &change.after), sum(|change| &change.before))
}

/// Lines in place of lines.
struct Change {
    before: Range<u32>,
    after: Range<u32>,
}

fn lines(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

/// What changed. Where too much did, all between what is the same at both ends: what is read of a plugin's time is a person's, too.
fn compare(before: &[&str], after: &[&str]) -> Vec<Change> {
    let shorter = before.len().min(after.len());
    let head = before.iter().zip(after).take_while(|(old, new)| old == new).count();
    let same = before.iter().rev().zip(after.iter().rev()).take(shorter - head).take_while(|(old, new)| old == new);
    let tail = same.count();
    let (old, new) = (&before[head..before.len() - tail], &after[head..after.len() - tail]);
    let shift = head as u32;
    if old.len() + new.len() > COMPARED_LINES_MAX {
        let to = |lines: &[&str]| shift..shift + lines.len() as u32;
        return vec![Change { before: to(old), after: to(new) }];
    }
    let mut input = InternedInput::default();
    input.update_before(old.iter().copied());
    input.update_after(new.iter().copied());
    let mut diff = Diff::compute(Algorithm::Histogram, &input);
    diff.postprocess_lines(&input);
    let shifted = |range: Range<u32>| range.start + shift..range.end + shift;
    diff.hunks().map(|hunk| Change { before: shifted(hunk.before), after: shifted(hunk.after) }).collect()
}

fn hunks(text: &mut String, before: &str, after: &str) {
    let (before, after) = (lines(before), lines(after));
    let total = before.len() as u32;
    let mut changes = compare(&before, &after).into_iter().peekable();
    while let Some(first) = changes.next() {
        // What is near one another is one hunk.
        let mut group = vec![first];
        while let Some(next) =
            changes.next_if(|next| next.before.start - group[group.len() - 1].before.end <= 2 * CONTEXT)
        {
            group.push(next);
        }
        let (first, last) = (&group[0], &group[group.len() - 1]);
        let lead = first.before.start.min(CONTEXT);
        let tail = (total - last.before.end).min(CONTEXT);
        let (from, to) = (first.before.start - lead, last.before.end + tail);
        let (new_from, new_to) = (first.after.start - lead, last.after.end + tail);
        let _ = writeln!(text, "@@ -{} +{} @@", range(from, to), range(new_from, new_to));
        let mut at = from;
        for change in &group {
            put_all(text, ' ', &before, at..change.before.start);
            put_all(text, '-', &before, change.before.clone());
            put_all(text, '+', &after, change.after.clone());
            at = change.before.end;
        }
        put_all(text, ' ', &before, at..to);
    }
}

fn put_all(text: &mut String, sign: char, lines: &[&str], range: Range<u32>) {
    range.for_each(|line| put(text, sign, lines[line as usize]));
}

fn put(text: &mut String, sign: char, line: &str) {
    text.push(sign);
    text.push_str(line);
    if !line.ends_with('\n') {
        text.push_str("\n\\ No newline at end of file\n");
    }
}

/// `first,count` of lines counted from 1; where there is none, the line before.
fn range(from: u32, to: u32) -> String {
    match to - from {
        0 => format!("{from},0"),
        1 => (from + 1).to_string(),
        count => format!("{},{count}", from + 1),
    }
}

/// A path as git writes it in a patch: in quotes where it has what would be misread.
fn name(side: &str, path: &str) -> String {
    let is_odd = |c: char| c.is_control() || c == '"' || c == '\\';
    if !path.contains(is_odd) {
        return format!("{side}{path}");
    }
    let mut text = format!("\"{side}");
    for c in path.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            c if c.is_control() => {
                let mut bytes = [0; 4];
                for byte in c.encode_utf8(&mut bytes).bytes() {
                    let _ = write!(text, "\\{byte:03o}");
                }
            }
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_large_takes_no_time() {
        let before: String = (0..150_000).map(|n| format!("{n}\n")).collect();
        let after: String = (0..150_000).map(|n| format!("{}\n", n * 7 % 150_001)).collect();
        let text = diff("a", Some(&before), &after);
        assert!(text.len() > before.len());
        assert_eq!(diff("a", Some(&before), &before), "");
        assert_eq!(counts("a\nb\n", "a\nc\nd\n"), (2, 1));
    }
}
