//! `sortie why`: what led to how a mission stands, record by record. Which records those are is the engine's to say.

use serde_json::{Value, json};
use sortie_contract::record::Stamped;
use sortie_engine::look::parse_record;
use sortie_engine::why::why as causes_of;

use super::client::{Client, Commands};
use super::text::{self, Meaning, Page, Screen};
use super::{Exit, Failure, decide, look, show};

pub(super) async fn why(id: &str, client: &Client, as_json: bool) -> Result<Exit, Failure> {
    let state = client.get(&["v1", "missions", id], "mission_id").await?;
    let journal = client.page(&["v1", "missions", id, "journal"], &[]).await?;
    let records: Vec<Stamped> = look::items(&journal).filter_map(parse_record).collect();
    if records.len() != look::items(&journal).count() {
        return Err(
            "the node shows records that this version of sortie does not know; use the node's own version".into()
        );
    }
    let causes = json!(causes_of(&records));
    if as_json {
        let [id, status, reason, waits_for, next] =
            ["mission_id", "status", "reason", "waits_for", "next_action"].map(|key| &state[key]);
        text::json(&json!({
            "mission_id": id, "status": status, "reason": reason, "waits_for": waits_for, "causes": causes, "next_action": next,
        }))?;
        return Ok(Exit::Completed);
    }
    page(&state, &causes, &Screen::of_output(), client.commands()).show()?;
    Ok(Exit::Completed)
}

/// The page of a mission in this state, with these causes.
fn page<'s>(state: &Value, causes: &Value, screen: &'s Screen, of: &Commands) -> Page<'s> {
    let mut page = Page::new(screen);
    let id = text::cell(&state["mission_id"]);
    page.title(&id, &text::cell(&state["status"]), Meaning::of(&state["status"]));
    if let Some(wait) = show::waits_for(&state["waits_for"], screen) {
        page.fact_that("waits for", &wait, Meaning::Attention);
        page.fact("because", &text::cell(&state["waits_for"]["why"]));
    }
    for cause in causes.as_array().into_iter().flatten() {
        let at = screen.when(&cause["at"]);
        page.fact(&format!("record {}", cause["record"]), &format!("{}  [{at}]", text::cell(&cause["says"])));
    }
    for request in state["pending_requests"].as_array().into_iter().flatten() {
        for command in decide::commands(request, &id, of) {
            page.command(&command);
        }
    }
    page.fact("next", &text::cell(&state["next_action"]));
    page.command(&of.line(&format!("journal {} --full", text::word(&id))));
    page
}
