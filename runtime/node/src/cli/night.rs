//! `sortie night`: what happened in the night, for whoever reads it in the morning.

use std::io::Write as _;

use clap::Args;
use jiff::civil::Date;
use serde_json::Value;

use super::client::Client;
use super::{Exit, Failure, text};

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
    writeln!(out, "{}", said(&night))?;
    let row = |mission: &Value| {
        let cells = ["mission_id", "left", "reason", "spent", "summary"].map(|key| match key {
            "spent" => money(&mission[key]["cost_usd"]),
            key => text::cell(&mission[key]),
        });
        cells.to_vec()
    };
    let rows: Vec<_> = night["missions"].as_array().into_iter().flatten().map(row).collect();
    if !rows.is_empty() {
        writeln!(out)?;
        text::table(&["MISSION", "LEFT", "REASON", "SPENT", "SUMMARY"], &rows)?;
    }
    if night["more"] == true {
        eprintln!("There are more missions; `sortie ls` lists all of them.");
    }
    let gap = |gap: &Value| ["schedule", "first", "last", "count", "reason"].map(|key| text::cell(&gap[key])).to_vec();
    let gaps: Vec<_> = night["gaps"].as_array().into_iter().flatten().map(gap).collect();
    if !gaps.is_empty() {
        writeln!(out)?;
        text::table(&["MISSED", "FIRST", "LAST", "TIMES", "REASON"], &gaps)?;
    }
    Ok(exit)
}

/// The night in a line.
fn said(night: &Value) -> String {
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
        format!("next window {} ({})", text::cell(&next["at"]), text::cell(who))
    };
    let spent = money(&night["spent"]["cost_usd"]);
    format!("Night of {}{so_far}: {}; {spent} spent; {next}.", text::cell(&night["date"]), counts.join(", "))
}

fn money(usd: &Value) -> String {
    format!("${:.2}", usd.as_f64().unwrap_or(0.0))
}
