//! `sortie journal`: the records of a mission. On a terminal one line each that fits, with what matters of it; elsewhere, and with
//! `--full`, all of it.

use std::io::Write as _;

use clap::Args;
use serde_json::{Map, Value};
use sortie_contract::time::rfc3339;

use super::client::Client;
use super::text::{self, Cell, Column, Days, Screen};
use super::{Exit, Failure};

/// Which mission's.
#[derive(Debug, Args)]
pub(super) struct JournalArgs {
    /// The mission's id.
    #[arg(value_parser = super::named, add = super::complete::missions())]
    id: String,
    /// Show all of each record, also on a terminal.
    #[arg(long)]
    full: bool,
    /// Only what its plugin logged, each line of it whole.
    #[arg(long, conflicts_with = "full")]
    log: bool,
}

pub(super) async fn journal(args: JournalArgs, client: &Client, as_json: bool) -> Result<Exit, Failure> {
    let journal = client.page(&["v1", "missions", &args.id, "journal"], &[]).await?;
    if as_json {
        text::json(&journal)?;
        return Ok(Exit::Completed);
    }
    if args.log {
        let mut out = std::io::stdout().lock();
        return logged(&journal, Screen::of_output())
            .iter()
            .try_for_each(|line| writeln!(out, "{line}"))
            .map(|()| Exit::Completed)
            .map_err(Failure::from);
    }
    let screen = Screen::of_output();
    let records = || super::look::items(&journal);
    if args.full || screen.width().is_none() {
        let row = |record: &Value| {
            let [no, kind, body] = ["record", "kind", "body"].map(|key| text::cell(&record[key]));
            vec![Cell::from(no), screen.time(&record["at"]).into(), kind.into(), body.into()]
        };
        let columns = [Column::whole("NO"), Column::whole("AT"), Column::whole("KIND"), Column::whole("WHAT")];
        text::table(&columns, &records().map(row).collect::<Vec<_>>(), &screen)?;
        return Ok(Exit::Completed);
    }
    let mut out = std::io::stdout().lock();
    lines(records(), screen).iter().try_for_each(|line| writeln!(out, "{line}"))?;
    drop(out);
    eprintln!("All of each record: --full");
    Ok(Exit::Completed)
}

/// What was logged: when, how grave, and each line of the text.
fn logged(journal: &Value, screen: Screen) -> Vec<String> {
    let mut days = Days::on(screen);
    let mut lines = Vec::new();
    for record in super::look::items(journal).filter(|record| record["kind"] == "logged") {
        let at = record["at"].as_str().and_then(|at| rfc3339(at).ok());
        let (day, time) = at.map_or((None, String::new()), |at| days.stamp(at));
        lines.extend(day);
        let level = text::cell(&record["body"]["level"]);
        for line in record["body"]["text"].as_str().unwrap_or_default().lines() {
            lines.push(format!("{time}  {level:<5}  {}", text::plain(line)).trim_end().to_owned());
        }
    }
    lines
}

/// The records as lines that fit a terminal, below their days.
fn lines<'v>(records: impl Iterator<Item = &'v Value>, screen: Screen) -> Vec<String> {
    const KIND: usize = 16;
    let width = screen.width().unwrap_or(usize::MAX);
    let mut days = Days::on(screen);
    let mut lines = Vec::new();
    for record in records {
        let at = record["at"].as_str().and_then(|at| rfc3339(at).ok());
        let (day, time) = at.map_or((None, String::new()), |at| days.stamp(at));
        lines.extend(day);
        let [no, kind] = ["record", "kind"].map(|key| text::cell(&record[key]));
        let line = format!("{no:>5}  {time:<8}  {kind:<KIND$}  {}", brief(&record["body"]));
        lines.push(text::cut(line.trim_end(), width));
    }
    lines
}

/// Most characters of a value that a line shows.
const VALUE_MAX: usize = 60;

/// What matters of a record's body.
fn brief(body: &Value) -> String {
    let Some(fields) = body.as_object() else { return text::cell(body) };
    let objective =
        objective(fields).map(|objective| format!("\"{}\"", text::cut(&text::plain(&objective), VALUE_MAX)));
    let says_something = |value: &Value| !(value.is_null() || value == &Value::Bool(false) || is_empty(value));
    let fields = fields.iter().filter(|(_, value)| says_something(value));
    let fields = fields.map(|(key, value)| format!("{}={}", text::plain(key), short(value)));
    objective.into_iter().chain(fields).collect::<Vec<_>>().join(" ")
}

/// What the envelope in it is to do, if there is one.
fn objective(fields: &Map<String, Value>) -> Option<String> {
    let envelope: Value = serde_json::from_str(fields.get("envelope")?.as_str()?).ok()?;
    envelope["objective"].as_str().map(str::to_owned)
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// A value, or how large it is.
fn short(value: &Value) -> String {
    let whole = text::cell(value);
    let is_json = whole.starts_with(['{', '[']);
    if whole.chars().count() <= VALUE_MAX {
        return whole;
    }
    if is_json { format!("{{… {}}}", text::size(whole.len() as u64)) } else { text::cut(&whole, VALUE_MAX) }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;
    use serde_json::json;

    use super::*;

    fn records() -> Vec<Value> {
        let envelope = json!({"objective": "Keep the wiki true", "inputs": {"steps": "x".repeat(2000)}}).to_string();
        let body = json!({"envelope": envelope, "session": "s-1", "warnings": []});
        vec![
            json!({"record": 1, "at": "2026-11-26T22:59:59.123456789Z", "kind": "accepted", "body": body}),
            json!({"record": 2, "at": "2026-11-26T23:00:00Z", "kind": "heartbeat", "body": {}}),
            json!({"record": 3, "at": "2026-11-26T23:00:01Z", "kind": "call_finished",
                "body": {"call": 1, "result": {"text": "y".repeat(300)}, "cut": false, "why": "a\nb"}}),
        ]
    }

    #[test]
    fn of_a_log_each_line_is_told_and_nothing_else() {
        let logged_ = |at: &str, level: &str, text: &str| json!({"at": at, "kind": "logged", "body": {"call": 3, "level": level, "text": text}});
        let mut items = records();
        items.push(logged_("2026-11-26T23:00:02Z", "info", "begins"));
        items.push(logged_("2026-11-26T23:00:03Z", "error", "TypeError\n    at run\u{1b}"));
        let screen = Screen::fixed(Some(80), false, TimeZone::UTC, "2026-11-26T23:10:00Z");
        let shown = logged(&json!({ "items": items }), screen);
        let expected = ["23:00:02  info   begins", "23:00:03  error  TypeError", "23:00:03  error      at run\\u{1b}"];
        assert_eq!(shown[1..], expected, "{shown:#?}");
    }

    #[test]
    fn a_record_is_a_line_that_fits() {
        let zone = TimeZone::get("Europe/Berlin").expect("zone data");
        for width in [40, 80, 120] {
            let records = records();
            let screen = Screen::fixed(Some(width), false, zone.clone(), "2026-11-26T23:10:00Z");
            let shown = lines(records.iter(), screen);
            assert!(shown.iter().all(|line| line.chars().count() <= width), "{width}: {shown:#?}");
            assert_eq!(shown[0], "Thursday, 2026-11-26 (CET, UTC+01:00)");
            assert!(shown[1].starts_with("    1  23:59:59  accepted"), "{shown:#?}");
            assert_eq!(shown[2], "Friday, 2026-11-27 (CET, UTC+01:00)");
            assert_eq!(shown[3], "    2  00:00:00  heartbeat");
        }
        let wide = Screen::fixed(Some(200), false, zone, "2026-11-26T23:10:00Z");
        let shown = lines(records().iter(), wide);
        assert!(shown[1].ends_with("\"Keep the wiki true\" envelope={… 2.0 kB} session=s-1"), "{shown:#?}");
        assert!(shown[4].ends_with("call=1 result={… 311 B} why=a ⏎ b"), "{shown:#?}");
    }
}
