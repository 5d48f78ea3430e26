//! Dates that pages have on them: in their front matter, or in a line that says when somebody last looked at them.

use jiff::civil::Date;

/// Keys of a front matter, the one that says most about a look first.
const KEYS: [&str; 8] =
    ["last_reviewed", "reviewed", "last_updated", "updated", "lastmod", "last_modified", "modified", "date"];

/// How a line begins that has a date, in small letters and without emphasis.
const LINES: [&str; 6] =
    ["last updated", "last reviewed", "last modified", "last checked", "updated on", "reviewed on"];

/// Ways to write a date, beside 2026-11-26.
const FORMATS: [&str; 6] = ["%d %B %Y", "%d %b %Y", "%B %d, %Y", "%b %d, %Y", "%Y/%m/%d", "%d. %B %Y"];

/// When a page says that it was last looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Dated {
    /// It says when, and in which words.
    On { date: Date, says: String },
    /// It says something that is no date.
    Unclear(String),
    /// It says nothing.
    Not,
}

/// What a page says of its own age, in the words that say most about a look.
pub(crate) fn of_page(text: &str) -> Dated {
    let all = all_of_page(text);
    let by_key = KEYS.iter().find_map(|key| all.iter().find(|(what, _)| what == key));
    let best = by_key.or_else(|| all.iter().find(|(what, _)| LINES.contains(what)));
    best.map_or(Dated::Not, |(what, value)| dated(what, value))
}

/// Every place in which a page says when somebody looked at it, in order: what says so, and what it says.
pub(crate) fn all_of_page(text: &str) -> Vec<(&'static str, String)> {
    let in_front = front_matter(text);
    let mut all = Vec::new();
    for (name, value) in in_front.lines().filter_map(|line| line.split_once([':', '='])) {
        let name = name.trim().trim_matches('"');
        all.extend(KEYS.iter().find(|key| name.eq_ignore_ascii_case(key)).map(|key| (*key, value.to_owned())));
    }
    let mut in_code = false;
    for line in text[in_front.len()..].lines() {
        if line.trim_start().starts_with("```") || line.trim_start().starts_with("~~~") {
            in_code = !in_code;
        }
        all.extend(line_with_date(line).filter(|_| !in_code));
    }
    all
}

/// How a line begins that has a date, and what is behind that.
fn line_with_date(line: &str) -> Option<(&'static str, String)> {
    let plain = line.replace(['*', '_', '>', '<'], "");
    let small = plain.trim().to_lowercase();
    let begin = LINES.iter().find(|begin| small.starts_with(**begin))?;
    // Small letters may have another length; the beginning is ASCII.
    let rest = plain.trim().get(begin.len()..).unwrap_or_default().trim_start();
    let value = rest
        .strip_prefix(':')
        .or_else(|| rest.strip_prefix("on "))
        .or_else(|| begin.ends_with("on").then_some(rest))?;
    Some((begin, value.to_owned()))
}

fn dated(what: &str, value: &str) -> Dated {
    let value = value.trim().trim_matches(['"', '\'']).trim();
    match parse(value) {
        Some(date) => Dated::On { date, says: format!("{what}: {value}") },
        None => Dated::Unclear(format!("{what}: {value}")),
    }
}

/// Reads a date, also one with a time behind it.
pub(crate) fn parse(text: &str) -> Option<Date> {
    let text = text.trim().trim_end_matches('.');
    let is_iso = text
        .get(..10)
        .and_then(|day| day.parse::<Date>().ok())
        .filter(|_| text[10..].chars().next().is_none_or(|next| !next.is_alphanumeric() || next == 'T'));
    is_iso.or_else(|| FORMATS.iter().find_map(|format| Date::strptime(format, text).ok()))
}

/// The front matter of a page with its fences, or nothing.
fn front_matter(text: &str) -> &str {
    for fence in ["---", "+++"] {
        let Some(rest) = text.strip_prefix(fence).filter(|rest| rest.starts_with(['\n', '\r'])) else { continue };
        let mut at = text.len() - rest.len();
        for line in rest.split_inclusive('\n') {
            at += line.len();
            if line.trim_end() == fence {
                return &text[..at];
            }
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_when_it_was_looked_at() {
        for (page, expected) in [
            ("---\ntitle: A\ndate: 2024-01-01\nlast_reviewed: 2025-11-02\n---\n# A\n", Some("2025-11-02")),
            ("---\r\nupdated: \"2025-11-02T10:00:00Z\"\r\n---\r\n", Some("2025-11-02")),
            ("+++\ndate = 2025-11-02\n+++\n", Some("2025-11-02")),
            ("# A\n\n*Last updated: 2 November 2025*\n", Some("2025-11-02")),
            ("# A\n\n> **Last reviewed:** November 2, 2025.\n", Some("2025-11-02")),
            ("Last modified on 2025/11/02", Some("2025-11-02")),
            ("Updated on 2 Nov 2025", Some("2025-11-02")),
            ("```\nLast updated: 2025-11-02\n```\n", None),
            ("---\ndate: 2025-11-02\n", None),
            ("The updated: 2025-11-02 thing", None),
            ("Last updated by Ada", None),
        ] {
            let found = match of_page(page) {
                Dated::On { date, .. } => Some(date.to_string()),
                Dated::Unclear(says) => panic!("{page}: {says}"),
                Dated::Not => None,
            };
            assert_eq!(found.as_deref(), expected, "{page}");
        }
    }

    #[test]
    fn what_is_no_date_is_told() {
        for (page, says) in [
            ("---\nupdated: last week\n---\n", "updated: last week"),
            ("Last updated: 2025-13-40", "last updated: 2025-13-40"),
            ("Last updated: 2025-11-021", "last updated: 2025-11-021"),
        ] {
            assert_eq!(of_page(page), Dated::Unclear(says.to_owned()), "{page}");
        }
    }
}
