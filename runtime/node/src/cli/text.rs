//! How things look on a terminal.

use std::io::{self, IsTerminal as _, Write as _};

use serde_json::Value;

/// Prints `value` as JSON, indented on a terminal, one line elsewhere.
pub(super) fn json(value: &Value) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if out.is_terminal() { writeln!(out, "{value:#}") } else { writeln!(out, "{value}") }
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

/// Text from a mission, which may hold anything: no control characters reach the terminal.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
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
