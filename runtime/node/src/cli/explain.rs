//! `sortie explain`: what an envelope may do on a node, before it runs there. Nothing is dispatched.

use clap::{Args, ValueHint};
use reqwest::Method;
use serde_json::Value;

use super::client::Client;
use super::input::Input;
use super::manifest::takes;
use super::submit::instance;
use super::text::{self, Cell, Column, Meaning, Page, Screen};
use super::{Exit, Failure, show};

/// What to explain.
#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// The file with the envelope; `-` is standard input. What `sortie run` fills in may be left out.
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: Input,
}

pub(super) async fn explain(args: ExplainArgs, client: &Client, as_json: bool) -> Result<Exit, Failure> {
    let node = instance(client).await?;
    let envelope = crate::blanks::filled(&args.file.read()?, "explain", "terminal", Some(&node))
        .map_err(|error| args.file.no_envelope(&error))?;
    let request = client.request(Method::POST, &["v1", "explain"]).header("content-type", "application/json");
    let explained = client.json(request.body(envelope), "accepted").await?;
    if as_json {
        text::json(&explained)?;
    } else {
        page(&explained, &args.file.to_string(), &Screen::of_output()).show()?;
    }
    Ok(if explained["accepted"] == true { Exit::Completed } else { Exit::Unusable })
}

/// The page of what the node says.
fn page<'s>(explained: &Value, name: &str, screen: &'s Screen) -> Page<'s> {
    let mut page = Page::new(screen);
    if explained["accepted"] == true {
        page.title(name, "would be taken", Meaning::Good);
    } else {
        page.title(name, "would not be taken", Meaning::Bad);
    }
    for error in list(explained, "errors") {
        let [at, detail] = ["pointer", "detail"].map(|key| text::cell(&error[key]));
        page.fact_that("against it", &format!("{at}: {detail}"), Meaning::Bad);
    }
    for warning in list(explained, "warnings") {
        page.fact_that("warning", &text::cell(warning), Meaning::Attention);
    }
    let plugin = &explained["plugin"];
    if plugin.is_object() {
        page.fact("plugin", &format!("{}@{}", text::cell(&plugin["name"]), text::cell(&plugin["version"])));
    }
    for told in takes(&explained["takes"]) {
        let (what, says) = told.split_once(": ").unwrap_or(("takes", &told));
        page.fact(what, says);
    }
    page.fact("lane", &text::cell(&explained["vp_runtime_id"]));
    budget(&explained["effective_budget"], &mut page);
    window(explained, screen, &mut page);
    for (name, key) in [("criterion", "success_criteria"), ("leaves", "required_outputs")] {
        list(explained, key).for_each(|item| page.fact(name, &text::cell(item)));
    }
    models(explained, &mut page);
    tools(explained, &mut page);
    page
}

fn list<'v>(explained: &'v Value, key: &str) -> impl Iterator<Item = &'v Value> + use<'v> {
    explained[key].as_array().into_iter().flatten()
}

/// What holds of the budget, after the node's ceilings.
fn budget(budget: &Value, page: &mut Page<'_>) {
    if !budget.is_object() {
        return;
    }
    let minutes = budget["max_runtime_minutes"].as_f64().map(|minutes| format!("{minutes} min of run time"));
    let calls = match budget["max_llm_calls"].as_u64() {
        Some(calls) => format!("{calls} model calls"),
        None => "model calls without a limit".to_owned(),
    };
    let cost = if budget["max_cost_usd"].is_null() {
        "money without a limit".to_owned()
    } else {
        text::money(&budget["max_cost_usd"])
    };
    let parts: Vec<String> = minutes.into_iter().chain([calls, cost]).collect();
    page.fact("budget", &format!("{}, after the node's ceilings", parts.join(", ")));
}

/// When it may run, and who limits that.
fn window(explained: &Value, screen: &Screen, page: &mut Page<'_>) {
    let (own, left) = (&explained["autonomy_window"], &explained["effective_window"]);
    if explained["effective_budget"].is_object() && left.is_null() {
        page.fact_that("window", "the hours of its lane and its node leave nothing of it", Meaning::Bad);
        return;
    }
    let window = if left.is_null() { own } else { left };
    let parts = show::ends(window, |at| screen.when(at));
    let says = if parts.is_empty() { "at once, without an end".to_owned() } else { parts.join("; ") };
    page.fact("window", &says);
}

/// What becomes of the calls of each model, what one costs, and for how many the budget has room.
fn models(explained: &Value, page: &mut Page<'_>) {
    if list(explained, "models").next().is_none() {
        page.fact("models", "the node has none: no answer of a model is to be had");
    }
    for model in list(explained, "models") {
        let (says, meaning) = verdict(model);
        let default = if model["is_default"] == true { ", the default" } else { "" };
        let by = match &model["by"] {
            Value::Null => String::new(),
            by => format!(" by {} in {}", text::cell(&by["entry"]), text::cell(&by["list"])),
        };
        let [read, written, longest] =
            ["input_usd_per_mtok", "output_usd_per_mtok", "longest_answer_usd"].map(|key| text::money(&model[key]));
        let room = match model["longest_answers"].as_u64() {
            Some(count) => format!("the budget has room for {count} of these, without what is read"),
            None => "nothing limits how many".to_owned(),
        };
        let says = format!(
            "{}{default}: {says}{by}; {read} for a million tokens read, {written} written; its longest answer costs {longest}, and {room}",
            text::cell(&model["name"])
        );
        page.fact_that("model", &says, meaning);
    }
}

/// What becomes of calls, in a word.
fn verdict(said: &Value) -> (&'static str, Meaning) {
    match said["verdict"].as_str() {
        Some("allowed") => ("allowed", Meaning::Good),
        Some("asks") => ("asks first", Meaning::Attention),
        _ => ("denied", Meaning::Bad),
    }
}

/// Each tool that an entry names, with what becomes of its calls; the others in one line.
fn tools(explained: &Value, page: &mut Page<'_>) {
    let is_named = |tool: &&Value| list(tool, "by").next().is_some();
    let others: Vec<String> =
        list(explained, "tools").filter(|tool| !is_named(tool)).map(|tool| text::cell(&tool["tool"])).collect();
    let rows: Vec<Vec<Cell>> = list(explained, "tools").filter(is_named).map(row).collect();
    if !rows.is_empty() {
        page.head("What becomes of calls");
        let columns = [Column::whole("TOOL"), Column::whole("ITS CALLS"), Column::cut("BECAUSE OF", 16)];
        page.table(&columns, &rows);
    }
    if !others.is_empty() {
        page.fact("denied", &format!("{}: no entry allows them", others.join(", ")));
    }
}

fn row(tool: &Value) -> Vec<Cell> {
    let (says, meaning) = verdict(tool);
    let some = if tool["only_some"] == true { " (some of them)" } else { "" };
    let by = list(tool, "by").map(|entry| format!("{} in {}", text::cell(&entry["entry"]), text::cell(&entry["list"])));
    vec![
        text::cell(&tool["tool"]).into(),
        Cell::new(format!("{says}{some}"), meaning),
        by.collect::<Vec<_>>().join(", ").into(),
    ]
}
