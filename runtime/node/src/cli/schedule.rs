//! `sortie schedule …`: recurring missions.

mod apply;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use reqwest::{Method, RequestBuilder, StatusCode, header};
use serde_json::{Map, Value, json};
use sortie_contract::time::rfc3339;
use sortie_contract::{Mistake, Timestamp};
use sortie_engine::shown::UpcomingView;
use sortie_schedule::{Calendars, Form, Schedule, upcoming};

use super::client::Client;
use super::look::{PageArgs, items, say_more};
use super::text::{self, Cell, Column, Meaning, Screen};
use super::{Exit, Failure};
use crate::bounded;

/// What to do with schedules.
#[derive(Debug, Subcommand)]
pub(super) enum ScheduleCommand {
    /// Make a schedule of a file (TOML or JSON). The calendars that it names are read beside it.
    Add {
        /// The file.
        file: PathBuf,
    },
    /// Change the schedule that a file names.
    Set {
        /// The file.
        file: PathBuf,
        /// The revision that is changed; without it, whichever there is.
        #[arg(long)]
        revision: Option<u64>,
    },
    /// List schedules.
    Ls(PageArgs),
    /// Show a schedule: its next times, what runs, who changed what.
    Show {
        /// Its name.
        #[arg(value_parser = super::named, add = super::complete::schedules())]
        id: String,
    },
    /// Show what became of its fires, the newest first.
    Fires {
        /// Its name.
        #[arg(value_parser = super::named, add = super::complete::schedules())]
        id: String,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Pause it; this outlasts every automatic pause.
    Pause {
        /// Its name.
        #[arg(value_parser = super::named, add = super::complete::schedules())]
        id: String,
        /// Until then, such as 2026-12-01T06:00:00Z; without it, until it is resumed.
        #[arg(long, value_name = "TIME", value_parser = time)]
        until: Option<String>,
        #[command(flatten)]
        why: Why,
    },
    /// Lift every pause.
    Resume {
        /// Its name.
        #[arg(value_parser = super::named, add = super::complete::schedules())]
        id: String,
        #[command(flatten)]
        why: Why,
    },
    /// Fire now, paused or not.
    Trigger {
        /// Its name.
        #[arg(value_parser = super::named, add = super::complete::schedules())]
        id: String,
        /// Another overlap policy than its own.
        #[arg(long, value_name = "POLICY")]
        overlap: Option<String>,
        #[command(flatten)]
        why: Why,
    },
    /// Make the missions of times that are over.
    Backfill {
        /// Its name.
        #[arg(value_parser = super::named, add = super::complete::schedules())]
        id: String,
        /// The first time, included.
        #[arg(long, value_name = "TIME", value_parser = time)]
        from: String,
        /// The last time, included.
        #[arg(long, value_name = "TIME", value_parser = time)]
        to: String,
        /// All at once, not one after the other.
        #[arg(long)]
        together: bool,
        #[command(flatten)]
        why: Why,
    },
    /// Bring a node to what a folder of files says; shows the difference first.
    Apply(apply::ApplyArgs),
    /// Remove it, with its history. Its missions go on.
    Rm {
        /// Its name.
        #[arg(value_parser = super::named, add = super::complete::schedules())]
        id: String,
    },
    /// Show when an expression fires, by the clock of a zone and in UTC. No node is asked.
    Next(NextArgs),
}

/// Why somebody does something.
#[derive(Debug, Args)]
pub(super) struct Why {
    /// Why: it stands among the changes of the schedule.
    #[arg(long)]
    note: Option<String>,
}

/// Which times to show.
#[derive(Debug, Args)]
pub(super) struct NextArgs {
    /// As in crontab, such as `0 2 * * 1-5`.
    expression: String,
    /// Of which zone, such as America/Chicago.
    #[arg(long, default_value = "UTC")]
    zone: String,
    /// How many.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=5_000))]
    count: u32,
    /// Those after this moment; without it, after now.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    from: Option<Timestamp>,
}

fn time(text: &str) -> Result<String, &'static str> {
    moment(text).map(|_| text.to_owned())
}

fn moment(text: &str) -> Result<Timestamp, &'static str> {
    rfc3339(text).map_err(|_| "it must be an RFC 3339 time such as 2026-11-22T20:00:00Z")
}

pub(super) async fn schedule(command: ScheduleCommand, client: &Client, as_json: bool) -> Result<Exit, Failure> {
    match command {
        ScheduleCommand::Add { file } => {
            let (_, body) = read(&file)?;
            let request = sends(client.request(Method::POST, &["v1", "schedules"]), &body);
            tell(&client.json(request, "revision").await?, as_json)?;
        }
        ScheduleCommand::Set { file, revision } => {
            let (schedule, body) = read(&file)?;
            let path = ["v1", "schedules", schedule.id()];
            let revision = match revision {
                Some(revision) => revision,
                None => client.get(&path, "revision").await?["revision"].as_u64().unwrap_or_default(),
            };
            let request = client.request(Method::PUT, &path).header(header::IF_MATCH, format!("\"{revision}\""));
            tell(&client.json(sends(request, &body), "revision").await?, as_json)?;
        }
        ScheduleCommand::Ls(page) => list(&page.get(client, &["v1", "schedules"]).await?, as_json)?,
        ScheduleCommand::Show { id } => show(&client.get(&["v1", "schedules", &id], "revision").await?, as_json)?,
        ScheduleCommand::Fires { id, page } => {
            fires(&page.get(client, &["v1", "schedules", &id, "fires"]).await?, as_json)?;
        }
        ScheduleCommand::Pause { id, until, why } => {
            act(client, &id, "pause", &json!({"until": until, "note": why.note}), as_json).await?;
        }
        ScheduleCommand::Resume { id, why } => {
            act(client, &id, "resume", &json!({"note": why.note}), as_json).await?;
        }
        ScheduleCommand::Trigger { id, overlap, why } => {
            act(client, &id, "trigger", &json!({"overlap": overlap, "note": why.note}), as_json).await?;
        }
        ScheduleCommand::Backfill { id, from, to, together, why } => {
            let order = if together { "together" } else { "in_turn" };
            let body = json!({"from": from, "to": to, "order": order, "note": why.note});
            act(client, &id, "backfill", &body, as_json).await?;
        }
        ScheduleCommand::Rm { id } => {
            let answer = client.send(client.request(Method::DELETE, &["v1", "schedules", &id])).await?;
            if answer.status() != StatusCode::NO_CONTENT {
                return Err(client.stranger(&answer.status().to_string()));
            }
        }
        ScheduleCommand::Apply(args) => return apply::apply(args, client, as_json).await,
        ScheduleCommand::Next(args) => return next(args, as_json),
    }
    Ok(Exit::Completed)
}

/// `sortie schedule next`: as the table that `/v1/schedules/preview` answers with.
pub(super) fn next(args: NextArgs, as_json: bool) -> Result<Exit, Failure> {
    let NextArgs { expression, zone, count, from } = args;
    let schedule = Schedule::of_expression(&expression, &zone).map_err(|mistakes| unusable("", &mistakes))?;
    let from = from.unwrap_or_else(|| crate::node::system().wall());
    let mistakes = schedule.check(from);
    if !mistakes.is_empty() {
        return Err(unusable("", &mistakes));
    }
    let times = upcoming(&schedule, from, count as usize);
    let times: Vec<UpcomingView> = times.iter().map(UpcomingView::of).collect();
    if as_json {
        let times = times.iter().map(|time| json!({"at": time.at, "local": time.local, "note": time.note}));
        text::json(&Value::Array(times.collect()))?;
        return Ok(Exit::Completed);
    }
    let rows = times.iter().map(|time| {
        let note = match time.note {
            Some("gap") => "the clock leaves its time out: it fires when the gap ends",
            Some(_) => "the clock shows its time twice",
            None => "",
        };
        vec![Cell::from(time.local.clone()), time.at.to_string().into(), note.to_owned().into()]
    });
    let columns = [Column::whole(schedule.zone().name()), Column::whole("UTC"), Column::cut("", 16).spare()];
    text::table(&columns, &rows.collect::<Vec<_>>(), &Screen::of_output())?;
    Ok(Exit::Completed)
}

/// The schedule of a file, and the body that says it to a node.
fn read(file: &Path) -> Result<(Schedule, Value), Failure> {
    let named = |why: &dyn std::fmt::Display| Failure::unusable(format!("{}: {why}", file.display()));
    let text = bounded::text(file).map_err(|error| named(&error))?;
    let form = if file.extension().is_some_and(|end| end == "json") { Form::Json } else { Form::Toml };
    let mut texts = BTreeMap::new();
    for name in Schedule::calendars(&text, form) {
        let beside = file.parent().unwrap_or(Path::new(".")).join(&name);
        let calendar = bounded::text(&beside).map_err(|error| named(&format!("{}: {error}", beside.display())))?;
        texts.insert(name, calendar);
    }
    let calendars = texts.iter().fold(Calendars::none(), |all, (name, text)| all.with(name, text));
    let schedule = Schedule::parse(&text, form, &calendars)
        .map_err(|mistakes| unusable(&format!("{}: ", file.display()), &mistakes))?;
    let mut body: Map<String, Value> = schedule.definition();
    if !texts.is_empty() {
        body.insert("calendars".to_owned(), json!(texts));
    }
    Ok((schedule, Value::Object(body)))
}

fn unusable(place: &str, mistakes: &[Mistake]) -> Failure {
    let told: Vec<String> = mistakes.iter().map(|mistake| format!("{place}{mistake}")).collect();
    Failure::unusable(told.join("\n"))
}

/// A request with a body.
fn sends(request: RequestBuilder, body: &Value) -> RequestBuilder {
    request.header(header::CONTENT_TYPE, "application/json").body(body.to_string())
}

/// Has a node do something to a schedule.
async fn act(client: &Client, id: &str, what: &str, body: &Value, as_json: bool) -> Result<(), Failure> {
    let given = body.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    let body: Map<String, Value> = given.map(|(key, value)| (key.clone(), value.clone())).collect();
    let request = sends(client.request(Method::POST, &["v1", "schedules", id, what]), &Value::Object(body));
    tell(&client.json(request, "revision").await?, as_json)?;
    Ok(())
}

/// A schedule in a line, after something was done to it.
fn tell(schedule: &Value, as_json: bool) -> std::io::Result<()> {
    if as_json {
        return text::json(schedule);
    }
    let paused = if schedule["paused"].is_null() { "" } else { "  (paused)" };
    let next = match &schedule["next"][0] {
        Value::Null => "it does not fire any more".to_owned(),
        next => format!("next {}", text::cell(&next["local"])),
    };
    let running = schedule["running"].as_array().map_or(0, Vec::len);
    let running = if running > 0 { format!("  {running} running") } else { String::new() };
    let id = text::cell(&schedule["id"]);
    writeln!(std::io::stdout(), "{id}  revision {}  {next}{running}{paused}", schedule["revision"])
}

fn list(page: &Value, as_json: bool) -> std::io::Result<()> {
    if as_json {
        return text::json(page);
    }
    let screen = Screen::of_output();
    let row = |item: &Value| {
        let [id, local, zone, running, waiting, failures, note] =
            ["id", "next_local", "zone", "running", "waiting", "failures", "note"].map(|key| text::cell(&item[key]));
        let next = if item["paused"] == true {
            Cell::new(format!("paused ({local})"), Meaning::Attention)
        } else {
            local.into()
        };
        let meaning = if failures == "0" { Meaning::Plain } else { Meaning::Bad };
        vec![
            Cell::from(id),
            next,
            zone.into(),
            running.into(),
            waiting.into(),
            Cell::new(failures, meaning),
            note.into(),
        ]
    };
    let columns = [
        Column::whole("SCHEDULE"),
        Column::whole("NEXT"),
        Column::cut("ZONE", 8).spare(),
        Column::whole("RUNNING").spare(),
        Column::whole("WAITING").spare(),
        Column::whole("FAILURES").spare(),
        Column::cut("NOTE", 12).spare(),
    ];
    text::table(&columns, &items(page).map(row).collect::<Vec<_>>(), &screen)?;
    say_more(page);
    Ok(())
}

fn show(schedule: &Value, as_json: bool) -> std::io::Result<()> {
    if as_json {
        return text::json(schedule);
    }
    tell(schedule, false)?;
    let screen = Screen::of_output();
    let mut out = std::io::stdout().lock();
    if let Some(pause) = schedule["paused"].as_object() {
        let until = screen.when(pause.get("until").unwrap_or(&Value::Null));
        let until = if until.is_empty() { until } else { format!(" until {until}") };
        let note = pause["note"].as_str().map_or(String::new(), |note| format!(": {}", text::plain(note)));
        let failed = pause["after_failures"].as_u64().map_or(String::new(), |count| format!(" after {count} failures"));
        writeln!(out, "paused{until}{failed}{note}")?;
    }
    for id in schedule["running"].as_array().into_iter().flatten() {
        writeln!(out, "running  {}", text::cell(id))?;
    }
    for (key, what) in
        [("waiting", "fires wait"), ("backfills", "backfills under way"), ("failures", "failures in a row")]
    {
        if schedule[key].as_u64().unwrap_or(0) > 0 {
            writeln!(out, "{} {what}", schedule[key])?;
        }
    }
    for next in schedule["next"].as_array().into_iter().flatten() {
        let note = next["note"].as_str().map_or(String::new(), |note| format!("  ({note})"));
        writeln!(out, "next  {}  {}{note}", text::cell(&next["local"]), text::cell(&next["at"]))?;
    }
    if let Some(outlook) = schedule["outlook"].as_object() {
        writeln!(out, "outlook  if what runs now still runs at {}:", text::cell(&outlook["local"]))?;
        for policy in outlook["policies"].as_array().into_iter().flatten() {
            let own = if policy["own"] == true { "  (its own)" } else { "" };
            writeln!(out, "  {:<12}  {}{own}", text::cell(&policy["overlap"]), would(&policy["would"]))?;
        }
    }
    for change in schedule["changes"].as_array().into_iter().flatten() {
        let [what, by, note] = ["what", "by", "note"].map(|key| text::cell(&change[key]));
        let at = screen.time(&change["at"]);
        writeln!(out, "{at}  {what} by {by}, revision {}  {note}", change["revision"])?;
    }
    drop(out);
    text::json(&schedule["schedule"])
}

/// What a policy would do with a fire, in words.
fn would(place: &Value) -> String {
    match place.as_str() {
        Some("fire") => "it runs beside the others",
        Some("cancel_and_fire") => "what runs is cancelled, and it takes its place",
        Some("wait") => "it waits for its turn",
        Some("skip") => "it is skipped",
        Some("full") => "it is skipped: as many wait as can",
        Some("hold_up") => "it is held up: as many run as may",
        _ => return text::cell(place),
    }
    .to_owned()
}

fn fires(page: &Value, as_json: bool) -> std::io::Result<()> {
    if as_json {
        return text::json(page);
    }
    let screen = Screen::of_output();
    let row = |item: &Value| {
        let [what, count, reason, mission] =
            ["what", "count", "reason", "mission_id"].map(|key| text::cell(&item[key]));
        let (recorded, first) = (screen.age(&item["recorded_at"]), screen.time(&item["first"]));
        let (reason, meaning) = match item["made"].as_str() {
            Some("refused") => (format!("refused: {}", text::cell(&item["errors"][0]["detail"])), Meaning::Bad),
            Some("found") => ("its mission was there".to_owned(), Meaning::Plain),
            _ => (reason, Meaning::Plain),
        };
        let why = Cell::new(reason, meaning);
        vec![Cell::from(recorded), what.into(), first.into(), count.into(), why, mission.into()]
    };
    let columns = [
        Column::whole("RECORDED"),
        Column::whole("WHAT"),
        Column::whole("TIME").spare(),
        Column::whole("COUNT").spare(),
        Column::cut("WHY", 16),
        Column::whole("MISSION").spare(),
    ];
    text::table(&columns, &items(page).map(row).collect::<Vec<_>>(), &screen)?;
    say_more(page);
    Ok(())
}
