//! `sortie why`: what led to how a mission stands, record by record. Which records those are the node says.

use serde_json::Value;

use super::client::{Client, Commands};
use super::text::{self, Meaning, Page, Screen};
use super::{Exit, Failure, decide, show};

pub(super) async fn why(id: &str, client: &Client, as_json: bool) -> Result<Exit, Failure> {
    let why = client.get(&["v1", "missions", id, "why"], "mission_id").await?;
    if as_json {
        text::json(&why)?;
        return Ok(Exit::Completed);
    }
    page(&why, &Screen::of_output(), client.commands()).show()?;
    Ok(Exit::Completed)
}

/// The page of what the node says.
fn page<'s>(why: &Value, screen: &'s Screen, of: &Commands) -> Page<'s> {
    let mut page = Page::new(screen);
    let id = text::cell(&why["mission_id"]);
    page.title(&id, &text::cell(&why["status"]), Meaning::of(&why["status"]));
    if let Some(wait) = show::waits_for(&why["waits_for"], screen) {
        page.fact_that("waits for", &wait, Meaning::Attention);
        page.fact("because", &text::cell(&why["waits_for"]["why"]));
    }
    for cause in why["causes"].as_array().into_iter().flatten() {
        let at = screen.when(&cause["at"]);
        page.fact(&format!("record {}", cause["record"]), &format!("{}  [{at}]", text::cell(&cause["says"])));
    }
    for request in why["pending_requests"].as_array().into_iter().flatten() {
        for command in decide::commands(request, &id, of) {
            page.command(&command);
        }
    }
    page.fact("next", &text::cell(&why["next_action"]));
    page.command(&of.line(&format!("journal {} --full", text::word(&id))));
    page
}
