//! `sortie show`: a page about one mission: how it stands and why, what it waits for and which command decides that, what is left of
//! its window and budget, what it found and left behind.

use serde_json::Value;
use sortie_contract::time::rfc3339;

use super::client::{Client, Commands};
use super::text::{self, Cell, Column, Meaning, Page, Screen};
use super::{Exit, Failure, decide};

pub(super) async fn show(id: &str, client: &Client, as_json: bool) -> Result<Exit, Failure> {
    let state = client.get(&["v1", "missions", id], "mission_id").await?;
    if as_json {
        text::json(&state)?;
        return Ok(Exit::Completed);
    }
    let asks = list(&state, "pending_requests").next().is_some();
    let tools = if asks { decide::tools(client).await } else { Value::Null };
    page(&state, &tools, &Screen::of_output(), client.commands()).show()?;
    Ok(Exit::Completed)
}

/// Where a fork comes from.
fn forked(from: &Value) -> String {
    let (of, calls) = (text::cell(&from["mission_id"]), text::cell(&from["calls"]));
    let left = match from["diverged_at"].as_u64() {
        Some(at) => format!("; its plugin leaves the record at call {at}"),
        None => String::new(),
    };
    format!("of {of}, whose first {calls} calls it has on record{left}")
}

/// The page of a mission in this state.
fn page<'s>(state: &Value, tools: &Value, screen: &'s Screen, of: &Commands) -> Page<'s> {
    let mut page = Page::new(screen);
    let id = text::cell(&state["mission_id"]);
    let (status, reason) = (text::cell(&state["status"]), text::cell(&state["reason"]));
    let stands = if reason.is_empty() || status == "completed" { status } else { format!("{status} ({reason})") };
    page.title(&id, &stands, Meaning::of(&state["status"]));
    for (name, key) in [("summary", "summary"), ("next", "next_action")] {
        page.fact(name, &text::cell(&state[key]));
    }
    if let Some(wait) = waits_for(&state["waits_for"], screen) {
        page.fact_that("waits for", &wait, Meaning::Attention);
        page.fact("because", &text::cell(&state["waits_for"]["why"]));
    }
    quarantine(state, screen, &mut page);
    if state["kept"].is_object() {
        let by = text::cell(&state["kept"]["by"]);
        page.fact("kept", &format!("whatever its age, since {}, by {by}", screen.when(&state["kept"]["since"])));
    }
    if state["forked_from"].is_object() {
        page.fact("fork", &forked(&state["forked_from"]));
    }
    page.fact("parent", &text::cell(&state["parent_id"]));
    if let Some(children @ 1..) = state["children"].as_u64() {
        page.fact("children", &format!("{children}: `sortie ls --children-of {id}` lists them"));
    }
    page.fact("objective", &text::cell(&state["objective"]));
    let plugin = format!("{}@{}", text::cell(&state["plugin"]["name"]), text::cell(&state["plugin"]["version"]));
    page.fact("type", &format!("{}, by the plugin {plugin}", text::cell(&state["mission_type"])));
    for (name, key) in [("lane", "vp_runtime_id"), ("vp", "vp_id"), ("session", "vp_session_id"), ("trace", "trace_id")]
    {
        page.fact(name, &text::cell(&state[key]));
    }
    times(state, screen, &mut page);
    budget(state, &mut page);
    for warning in list(state, "warnings") {
        page.fact_that("warning", &text::cell(warning), Meaning::Attention);
    }
    calls(state, screen, &mut page);
    requests(state, tools, screen, of, &mut page);
    criteria(state, &mut page);
    artifacts(state, screen, of, &mut page);
    delivery(state, &id, screen, of, &mut page);
    page
}

fn list<'v>(state: &'v Value, key: &str) -> impl Iterator<Item = &'v Value> + use<'v> {
    state[key].as_array().into_iter().flatten()
}

/// What a mission waits for, in a sentence; nothing where it does not wait.
pub(super) fn waits_for(wait: &Value, screen: &Screen) -> Option<String> {
    let kind = wait["what"].as_str()?;
    let what = match kind {
        "window" => "its window to open",
        "node_paused" => "the node, which is paused",
        "schedule_paused" => "its schedule, which is paused",
        "workspace_elsewhere" => "its files, which are on another node's disk",
        "workspace_damaged" => "its files, which cannot be read in the shared store",
        "hours" => "the hours of its lane and its node",
        "session" => "the missions of its session that come first",
        "lane" => "room in its lane",
        "node" => "room on the node",
        "turn" => "its turn, which comes at once",
        "people" if wait["mission_id"].is_string() => "people, asked by a mission below it",
        "people" => "people: what it asks is below",
        "time" => "a time that its plugin named",
        "provider" => "a provider that refuses for now",
        "missions" => "the missions that it has dispatched (`sortie ls --children-of` lists them)",
        "budget" => "money: a budget that is spent, or what other calls have set aside",
        other => return Some(text::plain(other)),
    };
    let first = text::cell(&wait["mission_id"]);
    let first = if first.is_empty() { first } else { format!(" ({first})") };
    let until = match (wait["until"].is_null(), kind) {
        (true, _) => String::new(),
        (false, "people") if wait["mission_id"].is_string() => {
            format!(", which gives up at {}", screen.when(&wait["until"]))
        }
        (false, "people") => format!("; it gives up at {}", screen.when(&wait["until"])),
        (false, _) => format!(", until {}", screen.when(&wait["until"])),
    };
    Some(format!("{what}{first}{until}"))
}

fn quarantine(state: &Value, screen: &Screen, page: &mut Page<'_>) {
    let quarantine = &state["quarantine"];
    if quarantine.is_object() {
        let [why, remedy] = ["why", "remedy"].map(|key| text::cell(&quarantine[key]));
        let since = screen.when(&quarantine["since"]);
        page.fact_that("quarantine", &format!("since {since}: {why}. {remedy}"), Meaning::Bad);
    }
}

/// When it was, is and may be under way.
fn times(state: &Value, screen: &Screen, page: &mut Page<'_>) {
    for (name, key) in [("accepted", "accepted_at"), ("started", "started_at")] {
        page.fact(name, &screen.when(&state[key]));
    }
    let ended = screen.when(&state["ended_at"]);
    let took = seconds(&state["started_at"], &state["ended_at"]).map(text::span);
    page.fact("ended", &took.map_or(ended.clone(), |took| format!("{ended}, {took} after its start")));
    let limits = &state["effective_window"];
    let is_over = !state["ended_at"].is_null();
    let window = if is_over || limits.is_null() { &state["autonomy_window"] } else { limits };
    let mut parts = ends(window, |at| if is_over { screen.time(at) } else { screen.when(at) });
    if !is_over && limits.is_null() {
        parts.push("the hours of its lane and its node leave nothing of it".to_owned());
    }
    page.fact("window", &parts.join("; "));
    if state["carried_over"].as_u64().is_some_and(|times| times > 0) {
        page.fact("carried over", &format!("  {} times into a further window", state["carried_over"]));
    }
}

/// When a window opens and closes, as far as it says so, and who limits that.
pub(super) fn ends(window: &Value, when: impl Fn(&Value) -> String) -> Vec<String> {
    let mut parts = Vec::new();
    for (end, by, what) in [("start_at", "opens_by", "opens"), ("end_at", "closes_by", "closes")] {
        if window[end].is_null() {
            continue;
        }
        let by = text::cell(&window[by]);
        let by = if by.is_empty() { by } else { format!(", by its {by}") };
        parts.push(format!("{what} {}{by}", when(&window[end])));
    }
    parts
}

/// The seconds between two times.
fn seconds(from: &Value, to: &Value) -> Option<u64> {
    let [from, to] = [from, to].map(|time| time.as_str().and_then(|time| rfc3339(time).ok()));
    u64::try_from(to?.as_second() - from?.as_second()).ok()
}

/// What is spent, set aside and free of each part of its budget.
fn budget(state: &Value, page: &mut Page<'_>) {
    let (usage, most) = (&state["usage"], &state["effective_budget"]);
    let ran = usage["runtime_minutes"].as_f64().unwrap_or(0.0);
    let ran = format!("{ran:.1} min");
    page.fact(
        "run time",
        &match most["max_runtime_minutes"].as_f64() {
            Some(most) => format!("{ran} of {most:.1} min"),
            None => ran,
        },
    );
    let number = |value: &Value| value.as_f64().unwrap_or(0.0);
    let calls = |value: f64| format!("{value:.0}");
    let money = |value: f64| text::money(&value.into());
    let parts = [
        (
            "model calls",
            &usage["llm_calls"],
            &usage["reserved"]["llm_calls"],
            &most["max_llm_calls"],
            &calls as &dyn Fn(f64) -> String,
        ),
        ("money", &usage["estimated_cost_usd"], &usage["reserved"]["cost_usd"], &most["max_cost_usd"], &money),
    ];
    for (name, spent, reserved, most, shown) in parts {
        let (spent, reserved) = (number(spent), number(reserved));
        let reserves = if reserved > 0.0 { format!(", {} set aside", shown(reserved)) } else { String::new() };
        let says = match most.as_f64() {
            Some(most) => {
                let free = (most - spent - reserved).max(0.0);
                format!("{} spent{reserves}, {} free of {}", shown(spent), shown(free), shown(most))
            }
            None if spent > 0.0 || reserved > 0.0 => format!("{} spent{reserves}, without a limit", shown(spent)),
            None => String::new(),
        };
        page.fact(name, &says);
    }
}

fn calls(state: &Value, screen: &Screen, page: &mut Page<'_>) {
    let row = |call: &Value| {
        let [no, tool] = ["call", "tool"].map(|key| text::cell(&call[key]));
        vec![no.into(), tool.into(), screen.age(&call["started_at"]).into()]
    };
    let columns = [Column::whole("CALL"), Column::cut("TOOL", 12), Column::whole("BEGAN")];
    page.table(&columns, &list(state, "calls_in_flight").map(row).collect::<Vec<Vec<Cell>>>());
}

/// What it asks, each request with the commands that decide it.
fn requests(state: &Value, tools: &Value, screen: &Screen, of: &Commands, page: &mut Page<'_>) {
    let id = &text::cell(&state["mission_id"]);
    for (number, request) in list(state, "pending_requests").enumerate() {
        if number == 0 {
            page.head("ASKS");
        }
        for line in decide::shown(request, id, tools, screen, of) {
            page.line(&line);
        }
        for command in decide::commands(request, id, of) {
            page.command(&format!("  {command}"));
        }
    }
}

fn criteria(state: &Value, page: &mut Page<'_>) {
    let row = |found: &Value| {
        let [criterion, verdict, evidence] = ["criterion", "verdict", "evidence"].map(|key| text::cell(&found[key]));
        let meaning = match verdict.as_str() {
            "met" => Meaning::Good,
            "unmet" => Meaning::Bad,
            _ => Meaning::Attention,
        };
        vec![Cell::new(verdict, meaning), criterion.into(), evidence.into()]
    };
    let columns = [Column::whole("VERDICT"), Column::cut("CRITERION", 20), Column::cut("EVIDENCE", 16).spare()];
    page.table(&columns, &list(state, "criteria").map(row).collect::<Vec<_>>());
}

fn artifacts(state: &Value, screen: &Screen, of: &Commands, page: &mut Page<'_>) {
    let rows = text::artifact_rows(&state["artifacts"], screen);
    page.table(&text::ARTIFACTS, &rows);
    if let Some(first) = list(state, "artifacts").next() {
        let name = text::word(first["name"].as_str().unwrap_or_default());
        let id = text::word(&text::cell(&state["mission_id"]));
        page.command(&of.line(&format!("artifacts {id} --get {name}")));
    }
}

/// How its deliveries are, where there are any.
fn delivery(state: &Value, id: &str, screen: &Screen, of: &Commands, page: &mut Page<'_>) {
    let delivery = &state["delivery"];
    if delivery.is_null() {
        return;
    }
    page.head("DELIVERIES");
    let [how, delivered, total] = ["state", "delivered", "total"].map(|key| text::cell(&delivery[key]));
    page.line(&format!("{how}: {delivered} of {total} have arrived"));
    let skipped: Vec<String> = list(delivery, "skipped").map(text::cell).collect();
    if !skipped.is_empty() {
        page.line(&format!("left out: {}", skipped.join(", ")));
    }
    let error = text::cell(&delivery["error"]);
    if !error.is_empty() {
        page.line(&format!("after {} attempts: {error}", text::cell(&delivery["attempts"])));
    }
    let next = screen.when(&delivery["next_attempt_at"]);
    if !next.is_empty() {
        page.line(&format!("next attempt {next}"));
    }
    if how == "parked" {
        for command in ["redeliver", "skip"] {
            page.command(&of.line(&format!("{command} {}", text::word(id))));
        }
    }
}
