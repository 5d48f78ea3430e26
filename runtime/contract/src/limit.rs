//! Every limit of the contract's forms, in one place, each with its reason.
//!
//! What an operator may change is in the node's configuration and only has its default or bound here. A number that nothing
//! else depends on stands beside what it bounds; one that two places must agree on is here, and what must hold between them is
//! asserted below.

use std::time::Duration;

/// Longest identifier, in bytes: the contract reading's 200 for mission ids, and no reason for others to be longer.
pub const ID_BYTES_MAX: usize = 200;

/// Longest session id, in bytes: one that is derived from the longest `vp_id` must be one, too.
pub const SESSION_ID_BYTES_MAX: usize = ID_BYTES_MAX + SESSION_SUFFIX.len();

/// What a session id that nobody named adds to its `vp_id`.
pub const SESSION_SUFFIX: &str = ".session";

/// Longest idempotency key and trace id, in bytes: they are made of other ids, and must still fit a header of any server.
pub const KEY_BYTES_MAX: usize = 1_024;

/// Longest URL, in bytes: what servers and proxies commonly take.
pub const URL_BYTES_MAX: usize = 4_096;

/// Longest name of an artifact, in bytes: fits every file system's path component with room for the store's folders.
pub const ARTIFACT_NAME_BYTES_MAX: usize = 200;

/// Largest dispatch body, in bytes, unless the node is configured otherwise.
pub const ENVELOPE_BYTES: usize = 1 << 20;

/// Deepest nesting of an envelope's JSON. serde_json stops at 128; templates and schemas want far less.
pub const ENVELOPE_DEPTH_MAX: usize = 100;

/// Most entries of one list of an envelope (patterns, criteria, required outputs): each is compared with each call.
pub const LIST_ENTRIES_MAX: usize = 1_000;

/// Longest pattern, criterion or output name, in bytes.
pub const LIST_ENTRY_BYTES_MAX: usize = 4_096;

/// Most mistakes that one answer reports: enough to mend an envelope at once, too few to be a way to fill memory.
pub const MISTAKES_MAX: usize = 100;

/// Longest pointer in a mistake, in bytes; a place that is deeper is told by the nearest one above it that fits. Keys are the
/// client's: without a bound, a body of 1 MiB could ask for an answer of 100 MiB.
pub const POINTER_BYTES_MAX: usize = 1_024;

/// Most of a client's own text that a message quotes, in bytes: enough to recognise it.
pub const QUOTE_BYTES_MAX: usize = 100;

/// The contract's default heartbeat, in seconds.
pub const HEARTBEAT_SECONDS: u32 = 300;
/// The shortest heartbeat, in seconds: more often is a load, not a sign of life.
pub const HEARTBEAT_SECONDS_MIN: u32 = 5;
/// The longest heartbeat, in seconds: a day.
pub const HEARTBEAT_SECONDS_MAX: u32 = 86_400;

/// How often a mission is carried over into a further window, where its envelope does not say.
pub const CARRY_OVER: u32 = 5;
/// The most that it may say.
pub const CARRY_OVER_MAX: u32 = 1_000;

/// Longest text of one milestone, log line, evidence or summary, in bytes; longer is cut, with an ellipsis.
pub const NOTE_BYTES_MAX: usize = 4_096;

/// Most text that a built-in tool returns in one answer, in bytes: a result, which is JSON, holds all of it whatever it is.
pub const TEXT_BYTES_MAX: usize = 1 << 20;

/// What JSON makes of one byte of text at worst, in bytes: `\u001f`.
const JSON_BYTES_A_BYTE_MAX: usize = 6;

/// Longest path in a workspace, in bytes: what Linux takes. Patterns are compared with paths.
pub const PATH_BYTES_MAX: usize = LIST_ENTRY_BYTES_MAX;

/// Largest argument or result of a tool call, in bytes: it goes through the guest's memory and into the journal.
pub const CALL_BYTES_MAX: usize = 8 << 20;

/// Most host calls of one mission: a journal that can still be replayed in seconds.
pub const CALLS_MAX: u32 = 100_000;

/// Most bytes of arguments, results, questions, answers and evidence that one mission records: whoever reads a mission reads all
/// of it.
pub const RECORDED_BYTES_MAX: usize = 128 << 20;

/// Most log lines and milestones of one mission; those beyond are counted, not kept.
pub const NOTES_MAX: u32 = 10_000;

/// Most calls of one mission that are in flight together.
pub const CALLS_IN_FLIGHT_MAX: usize = 64;

/// Most questions that the tool of one call asks people, in all its attempts together: whoever asks and takes back without end is stopped.
pub const QUESTIONS_OF_CALL_MAX: u32 = 64;

/// Most requests of one tool server that are not answered yet: it asks people, for roots, or whether the node is there. More are not read.
pub const OWED_TO_SERVER_MAX: usize = 64;

/// Most questions of one tool server that wait for people at once: it is heard while they think.
pub const QUESTIONS_OF_SERVER_MAX: usize = OWED_TO_SERVER_MAX / 2;

const _: () = assert!(0 < QUESTIONS_OF_SERVER_MAX && QUESTIONS_OF_SERVER_MAX < OWED_TO_SERVER_MAX);

/// Largest schema of the answer to such a question, in bytes: it is a form that people fill in, and each event of it carries the whole.
pub const FORM_BYTES_MAX: usize = 16 << 10;

/// Largest artifact, in bytes: it is hashed and stored through the guest's memory.
pub const ARTIFACT_BYTES_MAX: usize = 64 << 20;

/// Most artifacts of one mission.
pub const ARTIFACTS_MAX: usize = 1_000;

/// How long a node that is told to stop takes at most: what stops services kills them soon after.
pub const STOP: Duration = Duration::from_secs(10);

/// How long running calls may take of that to reach a point that is on disk.
pub const STOP_CALLS: Duration = Duration::from_secs(6);

/// How long deliveries in flight may take of it then.
pub const STOP_DELIVERIES: Duration = Duration::from_secs(3);

/// The first wait of a task of the node that met an error which may pass. It doubles up to [`TROUBLE_WAIT_MAX`].
pub const TROUBLE_WAIT: Duration = Duration::from_millis(100);

/// The longest wait of such a task.
pub const TROUBLE_WAIT_MAX: Duration = Duration::from_secs(10);

const _: () = {
    assert!(HEARTBEAT_SECONDS_MIN <= HEARTBEAT_SECONDS && HEARTBEAT_SECONDS <= HEARTBEAT_SECONDS_MAX);
    assert!(LIST_ENTRY_BYTES_MAX < ENVELOPE_BYTES);
    assert!(CALLS_IN_FLIGHT_MAX < CALLS_MAX as usize);
    assert!(NOTES_MAX < CALLS_MAX, "who only logs meets the limit of notes first");
    assert!(2 * CALL_BYTES_MAX < RECORDED_BYTES_MAX);
    assert!(TEXT_BYTES_MAX * JSON_BYTES_A_BYTE_MAX < CALL_BYTES_MAX);
    assert!(
        ID_BYTES_MAX + 3 * ARTIFACT_NAME_BYTES_MAX < KEY_BYTES_MAX,
        "an upload's key holds a mission's id and an artifact's name, each byte of it encoded"
    );
    assert!(ARTIFACT_NAME_BYTES_MAX < PATH_BYTES_MAX);
    assert!(QUOTE_BYTES_MAX < NOTE_BYTES_MAX && POINTER_BYTES_MAX < NOTE_BYTES_MAX);
    assert!(
        MISTAKES_MAX * (POINTER_BYTES_MAX + NOTE_BYTES_MAX) < ENVELOPE_BYTES,
        "an answer is no larger than what it is about"
    );
    assert!(STOP_CALLS.as_millis() + STOP_DELIVERIES.as_millis() < STOP.as_millis());
    assert!(TROUBLE_WAIT.as_millis() < TROUBLE_WAIT_MAX.as_millis());
};

/// `text`, cut to at most `bytes` bytes at a character's boundary, with an ellipsis where something was cut.
#[must_use]
pub fn clip(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(bytes.saturating_sub('…'.len_utf8()));
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clipping_keeps_characters_whole() {
        assert_eq!(clip("short", 10), "short");
        assert_eq!(clip("ääääää", 8), "ää…");
        assert!(clip(&"x".repeat(100), 10).len() <= 10);
    }
}
