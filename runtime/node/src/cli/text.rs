//! How things look on a terminal.

use std::io::{self, IsTerminal as _, Write as _};

use serde_json::Value;
use sortie_contract::hidden::is_hidden;

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

/// Prints rows in columns, each as wide as its widest cell; long last columns are left alone.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([head[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut out = io::stdout().lock();
    let head: Vec<String> = head.iter().map(|&cell| cell.to_owned()).collect();
    for row in std::iter::once(&head).chain(rows) {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}")).collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
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

/// Text from a mission, which may hold anything: what a terminal obeys or does not show becomes `\u{…}`, so that
/// whoever decides about a text sees all of it, in its order and on one line.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hidden(c) { plain.extend(c.escape_unicode()) } else { plain.push(c) }
    }
    plain
}

/// Text of several lines that are our own, each of them [`plain`].
pub(super) fn plain_lines(text: &str) -> String {
    text.split('\n').map(plain).collect::<Vec<_>>().join("\n")
}

/// An event in one line.
pub(super) fn event(event: &Value) -> String {
    let time = event["emitted_at"].as_str().and_then(|at| at.get(11..19)).unwrap_or("");
    let kind = event["event_type"].as_str().unwrap_or("").trim_start_matches("mission.");
    format!("{time}  {:>3}  {kind:<10} {}", cell(&event["sequence"]), cell(&event["summary"]))
}

/// The artifacts of a state or an index, as rows.
pub(super) fn artifact_rows(items: &Value) -> Vec<Vec<String>> {
    let row = |artifact: &Value| ["name", "media_type", "bytes", "sha256"].map(|key| cell(&artifact[key])).to_vec();
    items.as_array().into_iter().flatten().map(row).collect()
}

/// The columns of [`artifact_rows`].
pub(super) const ARTIFACT_HEAD: [&str; 4] = ["NAME", "TYPE", "BYTES", "SHA256"];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
            assert_eq!(plain(&text), format!("a\\u{{{:x}}}b", u32::from(c)));
            let shown = open_json(&json!({ "k": text }));
            assert!(!shown.chars().any(|c| c != '\n' && is_hidden(c)), "{shown:?}");
            assert_eq!(serde_json::from_str::<Value>(&shown).expect("JSON"), json!({ "k": text }), "{shown}");
        }
        for seen in ["plain", "Grüße, 世界", "مرحبا", "שלום", "a b", "\\u{202e}", "🚀", "e\u{301}"] {
            assert_eq!(plain(seen), seen);
            assert!(open_json(&json!([seen.replace('\\', "")])).contains(&seen.replace('\\', "")));
        }
        assert_eq!(plain_lines("one\n  two\u{1b}[2K"), "one\n  two\\u{1b}[2K");
    }
}
