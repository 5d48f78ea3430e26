//! `sortie watch`: a mission's events as they happen, also across a restart of its node.

use std::io::Write as _;
use std::time::Duration;

use futures_util::StreamExt as _;
use reqwest::Method;
use reqwest::header::{self, HeaderName};
use serde_json::Value;

use super::client::{Client, Commands};
use super::look::exit_of;
use super::text::{self, EventLines, Screen};
use super::{Exit, Failure};

/// What says that an answer is a stream of events.
const EVENTS: (HeaderName, &str) = (header::CONTENT_TYPE, "text/event-stream");

/// How often a node that went away is asked for in vain before it is given up: for about five minutes, in which a large journal is read.
const TRIES_MAX: u32 = 80;

pub(super) async fn watch(id: &str, client: &Client, as_json: bool) -> Result<Exit, Failure> {
    let mut lines = EventLines::on(Screen::of_output());
    let mut last = 0;
    // How often the node was asked in vain since it was heard; nothing, before it was heard at all.
    let mut tries: Option<u32> = None;
    loop {
        let request = client
            .request(Method::GET, &["v1", "missions", id, "events"])
            .header("accept", "text/event-stream")
            .header("last-event-id", last.to_string());
        let patient = tries.is_some_and(|tries| tries < TRIES_MAX);
        let mut chunks = match client.first(request).await {
            Ok(response) if patient && response.status().is_server_error() => None,
            Err(_) if patient => None,
            Ok(response) => Some(client.marked(client.good(response).await?, EVENTS)?.bytes_stream()),
            Err(failure) => return Err(failure),
        };
        let mut buffer = Vec::new();
        while let Some(chunks) = &mut chunks {
            let Some(Ok(chunk)) = chunks.next().await else { break };
            // The head of an answer is none yet: what stands before a node sends it, and breaks off.
            if tries.replace(0).is_some_and(|tries| tries > 0) {
                eprintln!("The node is back; what happened meanwhile comes first.");
            }
            buffer.extend_from_slice(&chunk);
            while let Some(end) = buffer.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = buffer.drain(..=end).collect();
                let Some(data) = line.strip_prefix(b"data:") else { continue };
                let event: Value = serde_json::from_slice(data)?;
                if let Some(why) = event["detail"].as_str().filter(|_| event["event_type"].is_null()) {
                    // The last words of a stream.
                    eprintln!("The stream ends: {why}");
                    continue;
                }
                last = event["sequence"].as_u64().unwrap_or(last);
                show(&event, &mut lines, client.commands(), as_json)?;
                if let Some(exit) = exit_of(event["status"].as_str().unwrap_or_default()) {
                    return Ok(exit);
                }
            }
        }
        // The node went away in the middle; ask whether it is back, after the last event that was shown.
        let before = tries.unwrap_or_default();
        if before == 0 {
            eprintln!("{} does not answer any more; it is asked again until it is back.", client.url());
        }
        tokio::time::sleep(pause(before)).await;
        tries = Some(before + 1);
    }
}

/// Shows an event; where people are asked, also which commands answer.
fn show(event: &Value, lines: &mut EventLines, of: &Commands, as_json: bool) -> Result<(), Failure> {
    if as_json {
        text::json(event)?;
        return Ok(());
    }
    for line in lines.of(event) {
        writeln!(std::io::stdout(), "{line}")?;
    }
    if event["event_type"] == "mission.blocked" {
        // A child that asks is told, not the mission that is watched.
        let asked = [(&event["detail"]["request"], &event["mission_id"])];
        let by_child = &event["detail"]["child_request"];
        for (request, id) in asked.into_iter().chain([(by_child, &by_child["mission_id"])]) {
            for command in super::decide::commands(request, id.as_str().unwrap_or_default(), of) {
                eprintln!("  {command}");
            }
        }
    }
    Ok(())
}

/// How long is waited after so many tries in vain.
fn pause(tries: u32) -> Duration {
    Duration::from_millis(250 << tries.min(4))
}
