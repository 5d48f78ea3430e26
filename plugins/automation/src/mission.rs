//! What comes of a step that dispatches a mission.

use serde_json::Value as Json;
use sortie_plugin::CallError;

/// The result of a step: that of the child, where it was done. One that came to another end is no result.
pub(crate) fn result(ended: Json) -> Result<Json, CallError> {
    let text = |key: &str| ended[key].as_str().unwrap_or_default();
    match text("status") {
        "completed" => Ok(ended),
        status => {
            Err(CallError::Failed(format!("the mission {} is {status}: {}", text("mission_id"), text("summary"))))
        }
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
}
