//! The result of a job: what the results stream says once its mission is over.

use serde_json::{Value, json};
use sortie_contract::{Event, Status};

/// The result of a job, if this event is the end of its mission; `workspace` is where the mission worked.
///
/// The control plane knows two statuses. Which end it was that is not `SUCCESS` says `terminal_status`: what was cancelled is no failure.
#[must_use]
pub fn result_of(event: &Event, job_id: &str, workspace: &str) -> Option<Value> {
    let place = format!("workspace://{workspace}");
    let mission_id = &event.mission_id;
    match event.status {
        Status::Queued | Status::Running | Status::Blocked => None,
        Status::Completed => Some(json!({
            "job_id": job_id,
            "status": "SUCCESS",
            "result": {"mission_id": mission_id, "result_ref": place, "summary": event.summary, "artifact_refs": event.artifact_refs},
            "error": null,
        })),
        Status::Failed | Status::Cancelled | Status::TimedOut => {
            let status = event.status.as_str();
            Some(json!({
                "job_id": job_id,
                "status": "FAILED",
                "result": {
                    "mission_id": mission_id,
                    "terminal_status": status,
                    "reason": event.detail["reason"],
                    "artifact_refs": event.artifact_refs,
                },
                "error": format!("Mission {status}: {mission_id}: {}", event.summary),
            }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, status: &str) -> Event {
        serde_json::from_value(json!({
            "mission_id": "bridge-a", "vp_id": "vp.a", "vp_session_id": "vp.a.session", "vp_runtime_id": "default",
            "event_type": kind, "status": status, "summary": "It is so.", "artifact_refs": ["bridge-a/a.md"],
            "usage": {"runtime_minutes": 1.0, "llm_calls": 0, "estimated_cost_usd": 0.0}, "trace_id": "t",
            "idempotency_key": "bridge-a/3", "emitted_at": "2026-11-27T02:00:00Z", "sequence": 3, "detail": {"reason": "why"},
        }))
        .expect("an event")
    }

    #[test]
    fn each_end_is_told_apart_and_nothing_else_is_a_result() {
        for (kind, status) in
            [("accepted", "queued"), ("progress", "running"), ("blocked", "blocked"), ("artifact", "running")]
        {
            assert_eq!(result_of(&event(&format!("mission.{kind}"), status), "a", "/w"), None);
        }
        let done = result_of(&event("mission.completed", "completed"), "a", "/w/x").expect("a result");
        assert_eq!((done["status"].as_str(), done["error"].is_null()), (Some("SUCCESS"), true));
        assert_eq!(done["result"]["result_ref"], "workspace:///w/x");
        for status in ["failed", "cancelled", "timed_out"] {
            let result = result_of(&event(&format!("mission.{status}"), status), "a", "/w").expect("a result");
            assert_eq!((result["job_id"].as_str(), result["status"].as_str()), (Some("a"), Some("FAILED")));
            assert_eq!(result["result"]["terminal_status"], status);
            assert_eq!(result["error"], format!("Mission {status}: bridge-a: It is so."));
        }
    }
}
