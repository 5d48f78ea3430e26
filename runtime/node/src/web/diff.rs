//! Texts with what changes in them: patches, and what an edit would do.

use maud::{Markup, html};
use serde_json::{Map, Value};

use super::text::block;

/// A unified diff, line by line: what goes and what comes, by sign, colour and word.
pub(super) fn patch(text: &str) -> Markup {
    let mut place = Place::default();
    html! {
        pre class="diff" tabindex="0" role="region" aria-label="Patch" {
            @for line in text.split('\n') {
                @let class = place.class(line);
                @if class.is_empty() { (block(line)) } @else { span class=(class) { (block(line)) } }
                "\n"
            }
        }
    }
}

/// How much of a hunk is still to come: so many lines of what was, and of what will be. Within it a line is what its first sign says, even
/// where it looks like the name of a file.
#[derive(Default)]
struct Place {
    old: u64,
    new: u64,
}

impl Place {
    fn class(&mut self, line: &str) -> &'static str {
        let first = line.as_bytes().first();
        if self.old > 0 || self.new > 0 {
            let step = match first {
                Some(b'+') => Some((0, 1, "add")),
                Some(b'-') => Some((1, 0, "del")),
                Some(b' ' | b'\r') | None => Some((1, 1, "")),
                Some(b'\\') => Some((0, 0, "")),
                // The hunk says that it is longer than it is.
                _ => None,
            };
            if let Some((old, new, class)) = step {
                (self.old, self.new) = (self.old.saturating_sub(old), self.new.saturating_sub(new));
                return class;
            }
        }
        (self.old, self.new) = counts(line).unwrap_or_default();
        outside(line)
    }
}

/// The lines of what was and of what will be, as the head of a hunk has them: `@@ -1,2 +1 @@`.
fn counts(line: &str) -> Option<(u64, u64)> {
    let (old, rest) = line.strip_prefix("@@ -")?.split_once(" +")?;
    let (new, _) = rest.split_once(" @@")?;
    let count = |range: &str| range.split_once(',').map_or(Some(1), |(_, count)| count.parse().ok());
    Some((count(old)?, count(new)?))
}

/// What a line is that is in no hunk.
fn outside(line: &str) -> &'static str {
    let begins = |with: &str| line.starts_with(with);
    match line.as_bytes().first() {
        // What `git format-patch` puts below a patch: a signature.
        _ if line.trim_end() == "--" => "",
        _ if begins("+++") || begins("---") || begins("diff ") || begins("index ") => "file",
        Some(b'+') => "add",
        Some(b'-') => "del",
        Some(b'@') => "hunk",
        _ => "",
    }
}

/// What a call would change in a file, and what its arguments say beside that.
pub(super) struct Change {
    pub(super) shown: Markup,
    pub(super) rest: Map<String, Value>,
}

/// What a call would change in a file, where its arguments say both sides: `Edit`.
pub(super) fn of_call(tool: &str, arguments: &Value) -> Option<Change> {
    let text = |key: &str| arguments[key].as_str();
    let side = |class: &'static str, sign: &'static str, text: &str| {
        html! { @for line in text.split('\n') { span class=(class) { (sign) (block(line)) } "\n" } }
    };
    let (told, shown): (&[&str], Markup) = match tool {
        "Edit" => {
            let (path, old, new) = (text("path")?, text("old")?, text("new")?);
            let shown = html! {
                pre class="diff" tabindex="0" role="group" aria-label="What changes" {
                    span class="file" { (block(path)) } "\n" (side("del", "-", old)) (side("add", "+", new))
                }
            };
            (&["path", "old", "new"], shown)
        }
        "Write" => {
            let (path, content) = (text("path")?, text("content")?);
            let shown = html! {
                pre class="diff" tabindex="0" role="group" aria-label="What is written" {
                    span class="file" { (block(path)) " (the whole file)" } "\n" (side("add", "+", content))
                }
            };
            (&["path", "content"], shown)
        }
        _ => return None,
    };
    let mut rest = arguments.as_object()?.clone();
    rest.retain(|key, _| !told.contains(&key.as_str()));
    Some(Change { shown, rest })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_of_a_patch_is_what_its_sign_says() {
        let patch = [
            ("diff --git a/x b/x", "file"),
            ("--- a/x", "file"),
            ("+++ b/x", "file"),
            ("@@ -1,4 +1,4 @@ fn main()", "hunk"),
            (" a", ""),
            // Lines of a file that look like the head of another one.
            ("--- a/comment of SQL", "del"),
            ("-diff", "del"),
            ("+++x", "add"),
            ("+@@ -1 +1 @@", "add"),
            ("\\ No newline at end of file", ""),
            ("", ""),
            ("--- a/y", "file"),
            ("+++ b/y", "file"),
            ("@@ -1 +0,0 @@", "hunk"),
            ("-y", "del"),
            ("-loose", "del"),
            ("+loose", "add"),
            // One that is shorter than it says.
            ("@@ -1,9 +1,9 @@", "hunk"),
            ("diff --git a/z b/z", "file"),
            ("--- a/z", "file"),
            ("@@ no numbers @@", "hunk"),
            ("+++ b/z", "file"),
            ("-- ", ""),
            ("@@ -1,99999999999999999999 +1 @@", "hunk"),
            ("--- a/z", "file"),
        ];
        let mut place = Place::default();
        for (line, expected) in patch {
            assert_eq!(place.class(line), expected, "{line}");
        }
    }

    #[test]
    fn an_edit_shows_both_sides_and_another_call_none() {
        let arguments = json!({"path": "a.txt", "old": "one\ntwo", "new": "<b>", "all": true});
        let Change { shown, rest } = of_call("Edit", &arguments).expect("a diff");
        let edit = shown.into_string();
        assert!(edit.contains(">-one<") && edit.contains(">-two<") && edit.contains(">+&lt;b&gt;<"), "{edit}");
        assert_eq!(Value::Object(rest), json!({"all": true}));
        let write = of_call("Write", &json!({"path": "a.txt", "content": "x"})).expect("a diff");
        assert!(write.rest.is_empty());
        assert!(of_call("Edit", &json!({"path": "a.txt"})).is_none());
        assert!(of_call("Bash", &json!({"command": "ls"})).is_none());
    }
}
