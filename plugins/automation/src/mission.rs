//! What comes of a step that dispatches a mission.

use serde_json::Value as Json;
use sortie_plugin::CallError;

/// What the summary of an automation that failed says behind the reason, as `run::ending` puts it.
const BESIDE: [&str; 6] =
    [NOTHING_DONE, "; done: ", "; done in part: ", "; undone: ", "; could not be undone: ", "; failed besides: "];

/// The same, where it did nothing.
const NOTHING_DONE: &str = "; no step was done";

/// The result of a step: that of the child, where it was done. One that came to another end is no result.
pub(crate) fn result(ended: Json) -> Result<Json, CallError> {
    let text = |key: &str| ended[key].as_str().unwrap_or_default();
    match text("status") {
        "completed" => Ok(ended),
        status => {
            let id = text("mission_id");
            Err(CallError::Failed(format!("the mission {id} is {status}: {}", cause(id, text("summary")))))
        }
    }
}

/// Why a mission failed, for the one that dispatched it. Where it failed for a mission that it had dispatched itself, or that one for
/// another, that is what the last of them failed for: its name says by way of which it was dispatched.
fn cause(id: &str, summary: &str) -> String {
    let end = BESIDE.iter().filter_map(|beside| summary.find(*beside)).min();
    let reason = &summary[..end.unwrap_or(summary.len())];
    let child = format!("the mission {id}.child-");
    match reason.rfind(child.as_str()) {
        Some(start) => reason[start..].to_owned(),
        None => summary.replace(NOTHING_DONE, ""),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_was_done_is_a_result() {
        let ended = |status: &str| json!({ "mission_id": "m.1", "status": status, "summary": "So it is." });
        assert_eq!(result(ended("completed")), Ok(ended("completed")));
        for status in ["failed", "cancelled", "timed_out"] {
            let says = format!("the mission m.1 is {status}: So it is.");
            assert_eq!(result(ended(status)), Err(CallError::Failed(says)));
        }
    }

    #[test]
    fn of_a_family_that_failed_the_first_cause_is_told_and_told_once() {
        let failed =
            |id: &str, summary: &str| match result(json!({ "mission_id": id, "status": "failed", "summary": summary }))
            {
                Err(CallError::Failed(why)) => why,
                other => panic!("{id}: {other:?}"),
            };
        let mut why = failed("m.child-1.child-2.child-1", "step `c0` failed: Echo: broken; no step was done");
        assert_eq!(why, "the mission m.child-1.child-2.child-1 is failed: step `c0` failed: Echo: broken");
        for (id, behind) in [("m.child-1.child-2", "no step was done"), ("m.child-1", "done: a; undone: a")] {
            why = failed(id, &format!("step `c` failed: mission: {why}; {behind}"));
        }
        assert_eq!(
            why,
            "the mission m.child-1 is failed: the mission m.child-1.child-2.child-1 is failed: step `c0` failed: Echo: broken"
        );
        // What failed besides is not what it failed for, and what was done is told of the one that did it.
        let besides =
            "step `a` failed: Echo: broken; done: b; failed besides: c (mission: the mission m.child-2 is failed: no)";
        assert_eq!(failed("m", besides), format!("the mission m is failed: {besides}"));
    }
}
