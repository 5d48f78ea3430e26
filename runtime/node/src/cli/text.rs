//! How things look: the one room for how values, times, tables and pages are shown.
//!
//! Owned here: forms. Never here: what is shown of which thing, and what is asked of a node.

mod events;
mod page;
mod progress;
mod screen;
mod table;

use std::io::{self, IsTerminal as _, Write as _};

use serde_json::Value;
use sortie_contract::hidden::is_hidden;

pub(super) use events::{Days, EventLines};
pub(super) use page::Page;
pub(super) use progress::Progress;
pub(super) use screen::{Meaning, Screen, span};
pub(super) use table::{Cell, Column, cut, table};

/// Prints `value` as JSON: on a terminal indented, and nothing in it hidden; one line elsewhere.
pub(super) fn json(value: &Value) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if out.is_terminal() { writeln!(out, "{}", open_json(value)) } else { writeln!(out, "{value}") }
}

/// The same JSON value, indented, with what a terminal hides or obeys as escapes.
fn open_json(value: &Value) -> String {
    let mut open = String::new();
    for c in format!("{value:#}").chars() {
        // Line ends are the indentation's: those of a text are escaped already.
        if c == '\n' || !is_hidden(c) {
            open.push(c);
        } else {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| open.push_str(&format!("\\u{unit:04x}")));
        }
    }
    open
}

/// A cell: the text of a JSON value, without quotes, safe for a terminal.
pub(super) fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    plain(&text)
}

/// How the end of a line is shown where there is one line alone.
const BREAK: &str = " ⏎ ";

/// Text from a mission, which may hold anything: what a terminal obeys or does not show becomes `\u{…}`, and the end of a line `⏎`, so that
/// whoever decides about a text sees all of it, in its order and on one line.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = text.split('\n').map(escaped).collect::<Vec<_>>().join(BREAK);
    if text.ends_with('\n') {
        // Nothing comes behind it.
        plain.pop();
    }
    plain
}

/// What a terminal obeys or does not show becomes `\u{…}`.
fn escaped(text: &str) -> String {
    let mut open = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hidden(c) { open.extend(c.escape_unicode()) } else { open.push(c) }
    }
    open
}

/// Text of several lines that are our own, each of them [`plain`].
pub(super) fn plain_lines(text: &str) -> String {
    text.split('\n').map(plain).collect::<Vec<_>>().join("\n")
}

/// A number of bytes, in a unit that people read; in a file, the number.
pub(super) fn bytes(value: &Value, screen: &Screen) -> String {
    match (value.as_u64(), screen.width()) {
        (Some(bytes), Some(_)) => size(bytes),
        _ => cell(value),
    }
}

/// So many bytes, in a unit that people read.
pub(super) fn size(bytes: u64) -> String {
    let (mut name, mut unit) = ("B", 1);
    for (larger, size) in [("kB", 1_000), ("MB", 1_000_000), ("GB", 1_000_000_000)] {
        if bytes >= size {
            (name, unit) = (larger, size);
        }
    }
    // One digit behind the point, where that says something.
    match (bytes / unit, bytes % unit * 10 / unit) {
        (whole, tenth) if unit > 1 && whole < 10 => format!("{whole}.{tenth} {name}"),
        (whole, _) => format!("{whole} {name}"),
    }
}

/// Digits of a digest that tell it from others, for people; a file and JSON get all of them.
const DIGEST_DIGITS: usize = 12;

/// A digest, as far as it is wanted there.
pub(super) fn digest(value: &Value, screen: &Screen) -> String {
    let whole = cell(value);
    match (screen.width(), whole.get(..DIGEST_DIGITS)) {
        (Some(_), Some(beginning)) => beginning.to_owned(),
        _ => whole,
    }
}

/// A name as a word of a command: something to copy must not turn into another command.
pub(super) fn word(name: &str) -> String {
    let name = escaped(name);
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._:/@+,=%-".contains(c);
    let is_word = !name.is_empty() && !name.starts_with('-') && name.chars().all(is_plain);
    if is_word { name } else { format!("'{}'", name.replace('\'', "'\\''")) }
}

/// Money, in US dollars: cents, or more digits where it is less than some.
pub(super) fn money(usd: &Value) -> String {
    let usd = usd.as_f64().unwrap_or(0.0);
    if usd > 0.0 && usd < 0.1 { format!("${usd:.4}") } else { format!("${usd:.2}") }
}

/// The artifacts of a state or an index, as rows.
pub(super) fn artifact_rows(items: &Value, screen: &Screen) -> Vec<Vec<Cell>> {
    let row = |artifact: &Value| {
        let [name, kind] = ["name", "media_type"].map(|key| cell(&artifact[key]));
        let (bytes, sha256) = (bytes(&artifact["bytes"], screen), digest(&artifact["sha256"], screen));
        vec![name.into(), kind.into(), bytes.into(), sha256.into()]
    };
    items.as_array().into_iter().flatten().map(row).collect()
}

/// The columns of [`artifact_rows`].
pub(super) const ARTIFACTS: [Column<'static>; 4] =
    [Column::whole("NAME"), Column::cut("TYPE", 8).spare(), Column::whole("SIZE"), Column::whole("SHA256").spare()];

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;
    use serde_json::json;

    use super::*;

    #[test]
    fn quantities_are_short() {
        for (value, expected) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (1_960, "1.9 kB"),
            (12_345, "12 kB"),
            (7_250_000, "7.2 MB"),
            (3_000_000_000, "3.0 GB"),
        ] {
            assert_eq!(size(value), expected);
        }
        for (usd, expected) in
            [(json!(0.0), "$0.00"), (json!(0.0012), "$0.0012"), (json!(0.1), "$0.10"), (json!(12.346), "$12.35")]
        {
            assert_eq!(money(&usd), expected);
        }
        let screen = |width| Screen::fixed(width, false, TimeZone::UTC, "2026-11-26T21:00:00Z");
        let (terminal, file) = (screen(Some(80)), screen(None));
        assert_eq!(digest(&json!("0123456789abcdef"), &terminal), "0123456789ab");
        assert_eq!(digest(&json!("0123456789abcdef"), &file), "0123456789abcdef");
        assert_eq!(
            (bytes(&json!(12_345), &terminal), bytes(&json!(12_345), &file)),
            ("12 kB".to_owned(), "12345".to_owned())
        );
    }

    #[test]
    fn a_name_is_one_word_of_a_command() {
        for (name, expected) in [
            ("nightly-wiki_1.2", "nightly-wiki_1.2"),
            ("a b", "'a b'"),
            ("x; rm -rf ~", "'x; rm -rf ~'"),
            ("it's", "'it'\\''s'"),
            ("$(x)", "'$(x)'"),
            ("--json", "'--json'"),
            ("", "''"),
            ("a\nb", "'a\\u{a}b'"),
        ] {
            assert_eq!(word(name), expected);
        }
    }

    #[test]
    fn nothing_a_terminal_hides_or_obeys_goes_through() {
        let hidden = [
            0..=0x1f,
            0x7f..=0x9f,
            0xad..=0xad,
            0x34f..=0x34f,
            0x61c..=0x61c,
            0x115f..=0x1160,
            0x17b4..=0x17b5,
            0x180b..=0x180f,
            0x200b..=0x200f,
            0x2028..=0x202e,
            0x2060..=0x206f,
            0x3164..=0x3164,
            0xfe00..=0xfe0f,
            0xfeff..=0xfeff,
            0xffa0..=0xffa0,
            0xe0000..=0xe0fff,
        ];
        for c in hidden.into_iter().flatten().filter_map(char::from_u32) {
            let text = format!("a{c}b");
            let expected = if c == '\n' { "a ⏎ b".to_owned() } else { format!("a\\u{{{:x}}}b", u32::from(c)) };
            assert_eq!(plain(&text), expected);
            let shown = open_json(&json!({ "k": text }));
            assert!(!shown.chars().any(|c| c != '\n' && is_hidden(c)), "{shown:?}");
            assert_eq!(serde_json::from_str::<Value>(&shown).expect("JSON"), json!({ "k": text }), "{shown}");
        }
        for seen in ["plain", "Grüße, 世界", "مرحبا", "שלום", "a b", "\\u{202e}", "🚀", "e\u{301}"] {
            assert_eq!(plain(seen), seen);
            assert!(open_json(&json!([seen.replace('\\', "")])).contains(&seen.replace('\\', "")));
        }
        for (lines, expected) in [
            ("a\n\nb\n", "a ⏎  ⏎ b ⏎"),
            ("a  \nb  ", "a   ⏎ b  "),
            ("\n", " ⏎"),
            ("", ""),
            ("  ", "  "),
            ("a\r\nb", "a\\u{d} ⏎ b"),
        ] {
            assert_eq!(plain(lines), expected);
        }
        assert_eq!(plain_lines("one\n  two\u{1b}[2K"), "one\n  two\\u{1b}[2K");
    }
}
