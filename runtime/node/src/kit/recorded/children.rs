//! What missions came to that a recorded one dispatched: the entries that play them again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;
use sortie_contract::digest::Digest;
use sortie_contract::tool::{CallError, MISSION, ToolAnswer};
use sortie_contract::{Record, Stamped, Timestamp};

use super::super::case::{Child, Ends, Judged, LeftBy};
use super::{Around, ending, span};

/// Ends that follow from what a plugin left or judged, and not from what it said: it said that it was done.
const OF_WHAT_IT_LEFT: [&str; 2] = ["output_missing", "criterion_unmet"];

/// What a case takes for the media type of a text.
const PLAIN: &str = "text/plain";

/// Whether a record dispatches missions.
pub(super) fn are_in(records: &[Stamped]) -> bool {
    records.iter().any(|stamped| dispatch(stamped).is_some())
}

/// The call by which one is dispatched.
fn dispatch(stamped: &Stamped) -> Option<u32> {
    match &stamped.record {
        Record::CallStarted { call, tool, .. } | Record::CallHeld { call, tool, .. } => {
            (tool.as_str() == MISSION).then_some(call.0)
        }
        _ => None,
    }
}

/// An artifact: its name, size and digest.
type Left = (String, u64, Digest);

/// The missions that ended, by the record of the one that dispatched them: their names, and what each left.
pub(crate) fn left_in(records: &[Stamped]) -> Vec<(String, Vec<Left>)> {
    let calls: BTreeSet<u32> = records.iter().filter_map(dispatch).collect();
    let told = records.iter().filter_map(|stamped| match &stamped.record {
        Record::CallFinished { call, outcome: Ok(answer), .. } if calls.contains(&call.0) => {
            serde_json::from_str::<Value>(&answer.result).ok()
        }
        _ => None,
    });
    let of_child = told.filter_map(|told| {
        let artifacts = told["artifacts"].as_array()?.iter().filter_map(|artifact| {
            let sha256 = artifact["sha256"].as_str()?.parse().ok()?;
            Some((artifact["name"].as_str()?.to_owned(), artifact["bytes"].as_u64()?, sha256))
        });
        Some((told["mission_id"].as_str()?.to_owned(), artifacts.collect()))
    });
    of_child.collect()
}

/// What a mission came to, by what its end told the one that dispatched it.
pub(super) fn ended(
    order: &Value,
    outcome: &Result<ToolAnswer, CallError>,
    (since, at): (Timestamp, Timestamp),
    around: &Around,
) -> Child {
    let child = Child { with: order.as_object().cloned(), times: Some(1), ..Child::default() };
    let told: Value = match outcome {
        Ok(answer) => serde_json::from_str(&answer.result).unwrap_or_default(),
        // Its plugin let go of it: it took longer.
        Err(CallError::Cancelled) => return beyond(order, ending::beyond(since, at)),
        Err(error) => {
            return Child { status: Ends::Failed, summary: Some(error.to_string()), takes: span(since, at), ..child };
        }
    };
    let text = |key: &str| told[key].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let reason = told["reason"].as_str().unwrap_or_default();
    let status = match told["status"].as_str().unwrap_or_default() {
        "failed" if OF_WHAT_IT_LEFT.contains(&reason) => Ends::Completed,
        "failed" => Ends::Failed,
        "cancelled" => Ends::Cancelled,
        "timed_out" => Ends::TimedOut,
        _ => Ends::Completed,
    };
    // What time brings, it brings by itself.
    let takes = span(since, at).filter(|_| status != Ends::TimedOut);
    Child {
        status,
        summary: text("summary"),
        next_action: text("next_action"),
        artifacts: artifacts(&told, around),
        criteria: criteria(&told),
        takes,
        ..child
    }
}

/// One whose end nobody lived to see.
pub(super) fn beyond(order: &Value, for_long: Duration) -> Child {
    let takes = Some(format!("{}s", for_long.as_secs()));
    Child { with: order.as_object().cloned(), takes, times: Some(1), ..Child::default() }
}

/// One that the node did not take. What the core has refused by itself it refuses again: of that there is no entry.
pub(super) fn refused(error: &CallError) -> Option<Child> {
    let CallError::InvalidArguments(why) = error else { return None };
    let is_the_nodes = ["/inputs", "/plugin"].iter().any(|place| why.starts_with(place)) && why.contains(": ");
    is_the_nodes.then(|| Child { refused: Some(why.clone()), times: Some(1), ..Child::default() })
}

/// What it left, as far as that is text that was had.
fn artifacts(told: &Value, around: &Around) -> BTreeMap<String, LeftBy> {
    let all = told["artifacts"].as_array().into_iter().flatten();
    let texts = all.filter_map(|artifact| {
        let text = around.texts.get(&artifact["sha256"].as_str()?.parse::<Digest>().ok()?)?.clone();
        let left = match artifact["media_type"].as_str() {
            None | Some(PLAIN) => LeftBy::Text(text),
            Some(media_type) => LeftBy::Of { text, media_type: media_type.to_owned() },
        };
        Some((artifact["name"].as_str()?.to_owned(), left))
    });
    texts.collect()
}

/// Its verdicts, up to the last one that it gave.
fn criteria(told: &Value) -> Vec<Judged> {
    let all = told["criteria"].as_array().into_iter().flatten();
    let judged = all.map_while(|criterion| {
        let met = match criterion["verdict"].as_str()? {
            "met" => true,
            "unmet" => false,
            _ => return None,
        };
        Some(Judged { met, evidence: criterion["evidence"].as_str().unwrap_or_default().to_owned() })
    });
    judged.collect()
}
