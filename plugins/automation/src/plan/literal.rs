//! The node's rules for values that a step hands over: names, paths of files, media types, what a model is asked.
//!
//! The node has the last word on all of them when the step is done, and a text that comes of a template is known no earlier.
//! Fixed text is known at intake. What is refused here is therefore exactly what the node is certain to refuse: a rule that
//! were stricter than the node's would turn away missions that could be done.

use serde_json::Value as Json;

/// Longest name of an artifact, in bytes, as the node has it.
const NAME_BYTES_MAX: usize = 200;

/// Longest path of a file, in bytes, as the node has it: what Linux takes.
const PATH_BYTES_MAX: usize = 4_096;

/// Longest media type, in bytes, as the node has it.
const MEDIA_TYPE_BYTES_MAX: usize = 200;

/// What is wrong with the name of an artifact.
pub(super) fn wrong_name(text: &str) -> Option<&'static str> {
    let plain = |segment: &str| !matches!(segment, "" | "." | "..");
    let fits = text.len() <= NAME_BYTES_MAX;
    let good = fits && text.split('/').all(plain) && !text.chars().any(|c| c == '\\' || c.is_control());
    (!good).then_some(
        "an artifact's name is a relative path of at most 200 bytes without empty, `.` or `..` segments, backslashes or \
         control characters",
    )
}

/// What is wrong with the path of a file in the workspace.
pub(super) fn wrong_path(text: &str) -> Option<&'static str> {
    let names_something = text.split('/').any(|segment| !matches!(segment, "" | "."));
    let goes_up = text.split('/').any(|segment| segment == "..");
    if text.len() > PATH_BYTES_MAX || text.contains('\0') {
        Some("a path has at most 4096 bytes and no NUL character")
    } else if text.starts_with('/') || goes_up {
        Some("a path is relative to the workspace, and `..` is not allowed in it")
    } else if names_something {
        None
    } else {
        Some("it must be the path of a file of the workspace")
    }
}

/// What is wrong with a media type.
pub(super) fn wrong_media_type(text: &str) -> Option<&'static str> {
    let two_parts = text.split_once('/').is_some_and(|(kind, rest)| !kind.is_empty() && !rest.is_empty());
    let good = text.len() <= MEDIA_TYPE_BYTES_MAX && two_parts && text.bytes().all(|b| (0x20..0x7f).contains(&b));
    (!good).then_some("it must be a media type such as text/markdown, as it is: templates are not rendered here")
}

/// What is wrong with a field of a `model`, as a code and for people. All but `prompt` may be null.
pub(crate) fn wrong_for_model(key: &str, value: &Json) -> Option<(&'static str, &'static str)> {
    let (fits, code, expected) = match key {
        "max_tokens" => (
            value.as_u64().is_some_and(|count| (1..=u32::MAX.into()).contains(&count)),
            "out_of_range",
            "it must be a whole number of tokens, 1 or more",
        ),
        "schema" => (value.is_object(), "wrong_type", "it must be an object: the JSON Schema of the answer"),
        _ => (value.is_string(), "wrong_type", "it must be a text"),
    };
    let is_absent = value.is_null() && key != "prompt";
    (!fits && !is_absent).then_some((code, expected))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_its_folder() {
        for name in ["a", "reports/weekly.md", "ä b.md", "..a", " ", &"x".repeat(200)] {
            assert_eq!(wrong_name(name), None, "{name:?}");
        }
        let long = ["x".repeat(201), "x".repeat(300), "ä".repeat(101)];
        for name in
            ["", "/a", "a/", "a//b", ".", "..", "../x", "/etc/x", "a/../b", "a\\b", "a\nb", "a\u{7f}", "a\u{85}"]
                .into_iter()
                .chain(long.iter().map(String::as_str))
        {
            assert!(wrong_name(name).is_some(), "{name:?}");
        }
    }

    #[test]
    fn no_path_goes_up_or_starts_at_the_top() {
        for path in ["a/b", "./a//b/", "...", "a..b/..c", " ", "C:\\x", "a\nb"] {
            assert_eq!(wrong_path(path), None, "{path:?}");
        }
        let long = "x/".repeat(4_000);
        for path in ["", ".", "./", "/", "/etc/passwd", "//x", "..", "../../token", "a/../b", "a/..", "a\0b", &long] {
            assert!(wrong_path(path).is_some(), "{path:?}");
        }
    }

    #[test]
    fn no_media_type_breaks_a_header() {
        for media_type in ["x/y", "text/plain; charset=utf-8"] {
            assert_eq!(wrong_media_type(media_type), None, "{media_type:?}");
        }
        let long = format!("text/{}", "x".repeat(196));
        for media_type in ["", "text", "/plain", "text/", "a\r\nX: y", "a/b\r\nX: y", "text/ä", "a/\u{7f}", &long] {
            assert!(wrong_media_type(media_type).is_some(), "{media_type:?}");
        }
    }
}
