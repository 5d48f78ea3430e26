//! What a workspace holds once a mission of it is over, for whoever collects workspaces.

use serde_json::{Map, Value, json};
use sortie_contract::Timestamp;

/// The file that tells the end.
const RECEIPT: &str = "mission_receipt.json";

/// The file that says that nothing more will be written.
const READY: &str = "sync_ready.json";

/// What is told of an end: from the journal alone, so that it is the same whenever it is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Receipt {
    /// The mission.
    pub mission_id: String,
    /// Whose it was.
    pub vp_id: String,
    /// How it ended.
    pub status: String,
    /// What it was to do.
    pub objective: String,
    /// What kind of work it was, as it was dispatched.
    pub mission_type: String,
    /// Where what it made is.
    pub result_ref: String,
    /// When it was dispatched.
    pub created_at: Timestamp,
    /// When its first run began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub completed_at: Timestamp,
    /// What was told of its end.
    pub message: String,
    /// Why it ended so, in a word.
    pub reason: Option<String>,
    /// What an old dispatch said of who asked, and is to be told again.
    pub asked: Map<String, Value>,
}

impl Receipt {
    /// The files, by name, in the order in which they are written: who sees the last of them finds the others.
    #[must_use]
    pub fn files(&self) -> [(&'static str, Vec<u8>); 2] {
        let of = |key: &str| self.asked.get(key).cloned().unwrap_or_default();
        let epoch = self.completed_at.as_millisecond();
        let receipt = json!({
            "version": 1,
            "mission_id": self.mission_id,
            "vp_id": self.vp_id,
            "status": self.status,
            "objective": self.objective,
            "mission_type": self.mission_type,
            "result_ref": self.result_ref,
            "source_session_id": of("source_session_id"),
            "source_turn_id": of("source_turn_id"),
            "reply_mode": of("reply_mode"),
            "created_at": self.created_at,
            "started_at": self.started_at,
            "completed_at": self.completed_at,
            "completed_at_epoch": seconds(epoch),
            "outcome": {"status": self.status, "message": self.message, "reason": self.reason},
        });
        let ready = json!({
            "version": 1,
            "mission_id": self.mission_id,
            "vp_id": self.vp_id,
            "state": self.status,
            "ready": true,
            "result_ref": self.result_ref,
            "source_session_id": of("source_session_id"),
            "source_turn_id": of("source_turn_id"),
            "reply_mode": of("reply_mode"),
            "updated_at_epoch": seconds(epoch),
            "completed_at_epoch": seconds(epoch),
        });
        [(RECEIPT, lines(&receipt)), (READY, lines(&ready))]
    }
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds are exact in a double for thousands of years")]
fn seconds(milliseconds: i64) -> f64 {
    milliseconds as f64 / 1e3
}

fn lines(value: &Value) -> Vec<u8> {
    let mut lines = serde_json::to_vec_pretty(value).expect("plain data");
    lines.push(b'\n');
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_says_what_became_of_a_mission() {
        let receipt = Receipt {
            mission_id: "m".to_owned(),
            vp_id: "vp".to_owned(),
            status: "cancelled".to_owned(),
            objective: "Do it.".to_owned(),
            mission_type: "coding_task".to_owned(),
            result_ref: "workspace:///w".to_owned(),
            created_at: "2026-11-27T02:00:00Z".parse().expect("a time"),
            started_at: None,
            completed_at: "2026-11-27T02:00:01.5Z".parse().expect("a time"),
            message: "Cancelled.".to_owned(),
            reason: Some("cancelled_by_request".to_owned()),
            asked: Map::from_iter([("reply_mode".to_owned(), "async".into())]),
        };
        let files = receipt.files().map(|(name, bytes)| (name, serde_json::from_slice::<Value>(&bytes).expect("JSON")));
        let [(first, told), (last, ready)] = files;
        assert_eq!((first, last), ("mission_receipt.json", "sync_ready.json"));
        assert_eq!(told["version"], 1);
        assert_eq!(
            told["outcome"],
            json!({"status": "cancelled", "message": "Cancelled.", "reason": "cancelled_by_request"})
        );
        assert_eq!((&told["started_at"], &told["completed_at"]), (&Value::Null, &json!("2026-11-27T02:00:01.5Z")));
        assert_eq!((&told["reply_mode"], &told["source_turn_id"]), (&json!("async"), &Value::Null));
        assert_eq!((&ready["state"], &ready["ready"]), (&json!("cancelled"), &json!(true)));
        assert_eq!(ready["completed_at_epoch"], 1_795_744_801.5);
    }
}
