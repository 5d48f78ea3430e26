//! Texts with what changes in them: patches, and what an edit would do.

use maud::{Markup, html};
use serde_json::Value;

use super::text::block;

/// A unified diff, line by line: what goes and what comes, by sign, colour and word.
pub(super) fn patch(text: &str) -> Markup {
    html! {
        pre class="diff" tabindex="0" role="region" aria-label="Patch" {
            @for line in text.split('\n') {
                @let class = class(line);
                @if class.is_empty() { (block(line)) } @else { span class=(class) { (block(line)) } }
                "\n"
            }
        }
    }
}

fn class(line: &str) -> &'static str {
    let begins = |with: &str| line.starts_with(with);
    match line.as_bytes().first() {
        _ if begins("+++") || begins("---") || begins("diff ") || begins("index ") => "file",
        Some(b'+') => "add",
        Some(b'-') => "del",
        Some(b'@') => "hunk",
        _ => "",
    }
}

/// What a call would change in a file, where its arguments say both sides: `Edit`.
pub(super) fn of_call(tool: &str, arguments: &Value) -> Option<Markup> {
    let text = |key: &str| arguments[key].as_str();
    let side = |class: &'static str, sign: &'static str, text: &str| {
        html! { @for line in text.split('\n') { span class=(class) { (sign) (block(line)) } "\n" } }
    };
    match tool {
        "Edit" => {
            let (path, old, new) = (text("path")?, text("old")?, text("new")?);
            Some(html! {
                pre class="diff" tabindex="0" role="region" aria-label="What changes" {
                    span class="file" { (block(path)) } "\n" (side("del", "-", old)) (side("add", "+", new))
                }
            })
        }
        "Write" => {
            let (path, content) = (text("path")?, text("content")?);
            Some(html! {
                pre class="diff" tabindex="0" role="region" aria-label="What is written" {
                    span class="file" { (block(path)) " (the whole file)" } "\n" (side("add", "+", content))
                }
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_of_a_patch_is_what_its_sign_says() {
        for (line, expected) in [
            ("+a", "add"),
            ("-a", "del"),
            ("+++ b/x", "file"),
            ("--- a/x", "file"),
            ("@@ -1 +1 @@", "hunk"),
            (" a", ""),
            ("", ""),
        ] {
            assert_eq!(class(line), expected, "{line}");
        }
    }

    #[test]
    fn an_edit_shows_both_sides_and_another_call_none() {
        let edit = of_call("Edit", &json!({"path": "a.txt", "old": "one\ntwo", "new": "<b>"})).expect("a diff");
        let edit = edit.into_string();
        assert!(edit.contains(">-one<") && edit.contains(">-two<") && edit.contains(">+&lt;b&gt;<"), "{edit}");
        assert!(of_call("Edit", &json!({"path": "a.txt"})).is_none());
        assert!(of_call("Bash", &json!({"command": "ls"})).is_none());
    }
}
