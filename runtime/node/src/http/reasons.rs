//! Why the node answers so: a sentence for each code of [`super::codes::CODES`], for the pages that `type` names.

/// The reason behind a code.
pub(super) fn why(code: &str) -> Option<&'static str> {
    WHY.iter().find(|(known, _)| *known == code).map(|(_, why)| *why)
}

/// By code.
const WHY: &[(&str, &str)] = &[
    ("already_decided", "A decision is acted on at once. A second one would contradict what was done on the first."),
    (
        "already_final",
        "Whoever was told how a mission ended relies on it: a final status never changes, whatever arrives later.",
    ),
    (
        "answers_full",
        "Answers are held in memory until they are read. So many bytes are set aside for that, so that slow readers cannot take the node down.",
    ),
    (
        "arguments_not_allowed",
        "Changing a call must not be a way around the mission's constraints: what an approval puts in is held against them like what the plugin wanted.",
    ),
    (
        "artifact_damaged",
        "Whoever reads an artifact relies on its being what the mission made: each is held against the digest on record, and what differs is not given out.",
    ),
    (
        "artifact_elsewhere",
        "Artifacts of the scope `factory` lie on the disk of the node that made them. What is not here is not made up.",
    ),
    (
        "artifact_missing",
        "The record says that it was stored, so that somebody or something took it away since. What is not there is not made up.",
    ),
    (
        "backup_runs",
        "A backup holds off what would remove artifacts and plugins while they are copied. Two at once would hold it off for ever, and take the disk's time from missions.",
    ),
    (
        "bad_request",
        "What cannot be read, or is not known, is refused and not guessed at: a parameter without an effect was meant to have one.",
    ),
    (
        "channel_failed",
        "A channel is tried to see whether people would hear of a bad night: what the other side said is told, and nothing is counted as sent.",
    ),
    (
        "connections_full",
        "Each connection takes a file that the process may open, and some are kept for missions. Who shows a token goes before who shows none.",
    ),
    ("dialect_unusable", "Without the secret anybody could have sent it."),
    ("digest_mismatch", "Who names a digest means those bytes and no others, whoever has changed them."),
    (
        "disk_low",
        "An accepted mission is never lost. On a full disk that could not be promised, so what is left is kept for ending what runs.",
    ),
    ("draining", "What it took now would have to change hands in a moment; another node begins with it at once."),
    (
        "fetch_failed",
        "What comes from elsewhere is bounded in length and time, and taken whole or not at all: nothing of it is installed.",
    ),
    ("forbidden", "Each token does what its scopes say and no more, so that one that leaks does not open everything."),
    (
        "fork_refused",
        "A fork begins with what is on record and has nothing of it done again, so all of it must be there, and its plugin must follow it.",
    ),
    (
        "holder_away",
        "One node decides about a mission at a time. Whether the one that has it is dead or only slow nobody can know before its lease has run out.",
    ),
    (
        "holder_unreachable",
        "One node decides about a mission at a time, and about all missions of a VP, so that their order holds: what it does not hear nobody else may do.",
    ),
    (
        "hook_unfit",
        "What is delivered has the form that its sender gave it, which changes. Nothing is guessed: a mission with half of its objective would be worse than none.",
    ),
    ("hook_unusable", "Without the secret anybody could have sent it."),
    (
        "idempotency_conflict",
        "A key stands for one envelope. Answering with the mission of another one would tell the sender that its work is being done.",
    ),
    (
        "internal",
        "Causes inside the node may name files and secrets of its operator: they stand in its log, and not in an answer.",
    ),
    (
        "invalid_action",
        "What is done to a schedule or to what is kept is on record, so it is read whole before anything is done.",
    ),
    ("invalid_cancel", "A reason that is misspelt would not stand in the final event, where people look for it."),
    (
        "invalid_decision",
        "Somebody who sends an amount with an approval believes that it matters. What has no effect is refused, before anything is decided.",
    ),
    (
        "invalid_envelope",
        "What is wrong with a mission is said while somebody is there to correct it, and not at two in the morning.",
    ),
    ("invalid_pattern", "A rule that cannot be understood would grant too much, or forbid too little."),
    (
        "invalid_schedule",
        "A schedule is held against the node as its missions will be, so that its first night is not the first that hears of a mistake.",
    ),
    (
        "invalid_signature",
        "A hook has no token: the signature is all that tells its sender from everybody else, and what was recorded long ago from what is new.",
    ),
    (
        "journal_failed",
        "What is not on disk is not accepted. A node that cannot write cannot keep its word, and stops before it gives it.",
    ),
    ("method_not_allowed", "The path is there; what can be done with it is something else."),
    ("mission_id_conflict", "An id names one mission for ever: events, artifacts and callbacks are found under it."),
    (
        "needs_memory",
        "The plugin says what a run takes. One that ended in the middle of the night for want of memory would have been begun in vain.",
    ),
    (
        "needs_model",
        "The plugin says that it cannot do without a model. A mission that may ask none would be begun in vain.",
    ),
    (
        "needs_time",
        "The plugin says what a mission takes at least. One with less run time would be cut before it is done.",
    ),
    (
        "needs_tool",
        "The plugin says what it cannot do without. A mission that would fail for it is refused before anything was done.",
    ),
    ("no_room", "A plugin is kept as it was sent, for as long as a mission may run on it."),
    ("not_enough", "A grant that does not cover the call would have the mission ask again at once."),
    ("not_found", "Nothing of that name is here; perhaps it was, and is removed with its age."),
    ("not_json", "An envelope is JSON in UTF-8. Where it cannot be read, not one of its fields is trusted."),
    ("not_parked", "Only what is parked waits for a person. Everything else is tried again by itself."),
    (
        "outside_hours",
        "A lane, or the node, works in its hours only. The whole window of the mission lies outside of them, so it could not have run.",
    ),
    (
        "overbilled",
        "A provider billed more than the most that the call could cost by its prices. Until somebody has looked, the mission spends no more.",
    ),
    (
        "overloaded",
        "Every queue of the node has an end. Refusing at once is better than an answer that comes too late.",
    ),
    (
        "plugin_carried",
        "The plugins that come with the binary are put back at each start, so removing one would be undone without a word.",
    ),
    (
        "plugin_held",
        "A mission keeps the build that it began with. Who removes that should know who still works with it.",
    ),
    ("plugin_not_installed", "A mission that nothing here can run would only wait to fail."),
    (
        "plugin_refused",
        "A plugin is looked at before it is kept: what it imports, what it exports, and what it says of itself.",
    ),
    ("position_ahead", "Going on from a position that the log does not have would leave events out, silently."),
    ("range_not_satisfiable", "The part that was asked for begins behind the end of the artifact."),
    (
        "refused",
        "What was asked for is not wrong in itself: as things stand it would have no effect, or the wrong one.",
    ),
    ("replay_refused", "A replay takes a core of a node that has work to do, so it is bounded there."),
    ("request_withdrawn", "The call that the answer was for is over: nobody is there to hear it."),
    (
        "revised",
        "Two people changed the schedule at the same time. The second has not seen what the first did, and would undo it.",
    ),
    ("revision_required", "Without the revision nobody can say whether the change is of what its author has seen."),
    ("schedule_exists", "Making a schedule never changes one: who wants to change it says so, with its revision."),
    (
        "shared_store_away",
        "Artifacts that nodes share are across a network. What cannot be read now is not lost, and nothing else is sent in its place.",
    ),
    (
        "signature_refused",
        "Whoever can send the node a file has it run with the tools of missions. A signature says who stands for it, before anybody opens it.",
    ),
    (
        "source_refused",
        "A node that fetches whatever it is told to would ask addresses inside its network for strangers.",
    ),
    ("stopping", "A node that stops finishes what it has begun, and begins nothing."),
    (
        "store_away",
        "What was accepted is in a database, and is told from there alone: while it cannot be asked, an answer would be a guess.",
    ),
    (
        "task_died",
        "The node goes down rather than on without a part of itself: its next start recovers everything that was accepted.",
    ),
    ("task_failed", "A part of the node broke off, or the node was stopped while it worked on this request."),
    ("too_large", "Bodies are held in memory while they are looked at, so their length has a limit."),
    ("too_many_schedules", "Each schedule is kept in memory and looked at whenever the first of them is due."),
    ("too_slow", "A client that sends nothing holds a place that others wait for."),
    (
        "tool_failed",
        "The call was made, or refused, as it would have been for a mission; what the tool said is told as it said it.",
    ),
    ("unauthorized", "Everything but health and these pages is for holders of a token of this node."),
    ("unknown_constraint", "A limit that is silently ignored is a hole: what the node does not know it cannot hold."),
    ("window_closed", "Nothing of a mission is done outside of its window; this one can never run."),
    ("wrong_decision", "Each kind of request has its own answers: a question is not approved, a call is not granted."),
    ("wrong_instance", "A node never runs a mission of another one: both would run it."),
];

#[cfg(test)]
mod tests {
    use super::super::codes::CODES;
    use super::*;

    #[test]
    fn each_code_has_a_reason_and_each_reason_a_code() {
        let codes: Vec<&str> = CODES.iter().map(|known| known.code).collect();
        let reasons: Vec<&str> = WHY.iter().map(|(code, _)| *code).collect();
        assert_eq!(reasons, codes, "a row in WHY for each of CODES, in the same order");
        assert!(WHY.iter().all(|(_, why)| why.ends_with('.')), "sentences");
    }
}
