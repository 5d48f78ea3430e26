//! `sortie night`: what happened in the night, for whoever reads it in the morning.

use std::io::Write as _;

use clap::Args;
use jiff::civil::Date;
use serde_json::Value;

use super::client::Client;
use super::text::{self, Cell, Column, Meaning, Screen};
use super::{Exit, Failure};

/// Which night.
#[derive(Debug, Args)]
pub(super) struct NightArgs {
    /// The date on which it ends, by the clock of the node's zone; without it, the night in which it is now.
    #[arg(long, value_name = "DATE", value_parser = date)]
    date: Option<Date>,
}

fn date(text: &str) -> Result<Date, &'static str> {
    text.parse().map_err(|_| "a night is named by the date on which it ends, such as 2026-11-26")
}

/// Shows it: a line, then who needs people first. The exit code says whether something does.
pub(super) async fn night(args: NightArgs, client: &Client, as_json: bool) -> Result<Exit, Failure> {
    let date = args.date.map_or_else(|| "current".to_owned(), |date| date.to_string());
    let night = client.get(&["v1", "nights", &date], "missions").await?;
    let exit = if night["needs_people"] == true { Exit::Failed } else { Exit::Completed };
    if as_json {
        text::json(&night)?;
        return Ok(exit);
    }
    let mut out = std::io::stdout();
    let screen = Screen::of_output();
    writeln!(out, "{}", line(&night, |at| screen.time(at)))?;
    let row = |mission: &Value| {
        let [id, left, reason, summary] =
            ["mission_id", "left", "reason", "summary"].map(|key| text::cell(&mission[key]));
        let meaning = match left.as_str() {
            "done" => Meaning::Good,
            "failed" => Meaning::Bad,
            "waiting" => Meaning::Attention,
            _ => Meaning::Plain,
        };
        let spent = money(&mission["spent"]["cost_usd"]);
        vec![Cell::from(id), Cell::new(left, meaning), reason.into(), spent.into(), summary.into()]
    };
    let rows: Vec<_> = night["missions"].as_array().into_iter().flatten().map(row).collect();
    if !rows.is_empty() {
        let columns = [
            Column::whole("MISSION"),
            Column::whole("LEFT"),
            Column::cut("REASON", 12).spare(),
            Column::whole("SPENT").spare(),
            Column::cut("SUMMARY", 16).spare(),
        ];
        writeln!(out)?;
        text::table(&columns, &rows, &screen)?;
    }
    if night["more"] == true {
        eprintln!("There are more missions; `{}` lists all of them.", client.commands().line("ls"));
    }
    let gap = |gap: &Value| {
        let [schedule, count, reason] = ["schedule", "count", "reason"].map(|key| text::cell(&gap[key]));
        let [first, last] = ["first", "last"].map(|key| screen.time(&gap[key]));
        vec![Cell::from(schedule), first.into(), last.into(), count.into(), reason.into()]
    };
    let gaps: Vec<_> = night["gaps"].as_array().into_iter().flatten().map(gap).collect();
    if !gaps.is_empty() {
        let columns = [
            Column::whole("MISSED"),
            Column::whole("FIRST").spare(),
            Column::whole("LAST").spare(),
            Column::whole("TIMES"),
            Column::cut("REASON", 12),
        ];
        writeln!(out)?;
        text::table(&columns, &gaps, &screen)?;
    }
    Ok(exit)
}

/// The night in a line, with times as `time` writes them.
pub(crate) fn line(night: &Value, time: impl Fn(&Value) -> String) -> String {
    let count = |key: &str| night[key].as_u64().unwrap_or(0);
    let always =
        [("done", "done"), ("failed", "failed"), ("carried_over", "carried over"), ("waiting", "waiting for people")];
    let sometimes = [
        ("running", "running"),
        ("queued", "queued"),
        ("cancelled", "cancelled"),
        ("missed", "times missed"),
        ("refused", "times refused"),
        ("late", "times late"),
    ];
    let always = always.map(|(key, name)| format!("{} {name}", count(key)));
    let sometimes =
        sometimes.iter().filter(|(key, _)| count(key) > 0).map(|(key, name)| format!("{} {name}", count(key)));
    let counts: Vec<String> = always.into_iter().chain(sometimes).collect();
    let so_far = if night["over"] == true { "" } else { " so far" };
    let next = &night["next_window"];
    let next = if next.is_null() {
        "nothing begins by itself".to_owned()
    } else {
        let who = if next["schedule"].is_null() { &next["mission_id"] } else { &next["schedule"] };
        format!("next window {} ({})", time(&next["at"]), text::cell(who))
    };
    let spent = money(&night["spent"]["cost_usd"]);
    format!("Night of {}{so_far}: {}; {spent} spent; {next}.", text::cell(&night["date"]), counts.join(", "))
}

fn money(usd: &Value) -> String {
    format!("${:.2}", usd.as_f64().unwrap_or(0.0))
}
