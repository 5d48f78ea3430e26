//! The one list of error codes of the HTTP interface: each with its statuses, when it is answered, and what to do about it.
//!
//! `docs/ERRORS.md` is this list, and a test holds the two together; `/openapi.json` says that there are no others. A code that is
//! not here cannot be answered: [`super::error::Problem`] refuses it in every test that meets it.

/// A code that the node answers.
pub(crate) struct Known {
    /// The code: stable.
    pub(crate) code: &'static str,
    /// The HTTP statuses that it comes with.
    pub(crate) statuses: &'static [u16],
    /// When it is answered.
    pub(crate) when: &'static str,
    /// What to do about it.
    pub(crate) remedy: &'static str,
}

const fn known(code: &'static str, statuses: &'static [u16], when: &'static str, remedy: &'static str) -> Known {
    Known { code, statuses, when, remedy }
}

/// All of them, by name.
pub(crate) const CODES: &[Known] = &[
    known(
        "already_decided",
        &[409],
        "A request was decided otherwise before: `decision` says how, and `arguments_changed` whether its call was approved with other arguments than the plugin wanted.",
        "Look at the mission: the first decision holds.",
    ),
    known(
        "already_final",
        &[409],
        "The mission has ended; nothing changes that.",
        "Read its final event. To do the work after all, dispatch another mission.",
    ),
    known(
        "answers_full",
        &[503],
        "What answers hold of the node's memory is taken, by clients that read slowly.",
        "Try again in a second; read answers as they come, ask for smaller pages.",
    ),
    known(
        "arguments_not_allowed",
        &[422],
        "An approval changes a call's arguments, and the mission may not make that call, or it cannot be made.",
        "`detail` names the rule. Approve with arguments that the constraints allow, approve the call as it is, or deny it.",
    ),
    known(
        "artifact_damaged",
        &[503],
        "What lies where an artifact was stored is not what was stored: other bytes, more or fewer, or no file at all. `at` says where; the node's log has the same.",
        "Operators: put back what was there (an older version of the object, a backup), or remove what is in its place: nothing of it is given out. Then ask again. To make it anew, dispatch or fork the mission.",
    ),
    known(
        "artifact_elsewhere",
        &[503],
        "The bytes of an artifact are on the disk of another node, which stored it before this one took its mission over.",
        "Copy the folder that `detail` names from that node's data directory to this one's, or wait until it is there again. Missions that must not lose theirs store them as `shared` or `pushback`.",
    ),
    known(
        "artifact_missing",
        &[503],
        "An artifact is on record, and its bytes are gone from where they were stored: `at` says where they should be.",
        "Operators: put them back from a backup of the data directory or of the shared store, under the same name. Then ask again. To make it anew, dispatch or fork the mission.",
    ),
    known(
        "backup_runs",
        &[409],
        "A backup of this node is being taken: there is one at a time.",
        "Wait until it is done, or stop whoever reads it.",
    ),
    known(
        "bad_request",
        &[400],
        "Something of the request cannot be read: a parameter, a path, a body that broke off.",
        "`detail` says what; `/openapi.json` has what is taken.",
    ),
    known(
        "channel_failed",
        &[502],
        "A test message did not get through its channel.",
        "`detail` says why. Mend the receiver, or its `[[notify]]`, and try again.",
    ),
    known(
        "connections_full",
        &[503],
        "The node holds as many connections as it can.",
        "Try again; keep fewer connections open. Operators: `GET /v1/node` says how places are taken, `LimitNOFILE=` gives more.",
    ),
    known(
        "dialect_unusable",
        &[503],
        "The node cannot read a secret of `[dialect.http]`, and so cannot tell who asks.",
        "Look into the node's log: it names the variable or the file.",
    ),
    known(
        "digest_mismatch",
        &[422],
        "What was fetched is not what was asked for by its digest.",
        "Look whether the digest is of this build; if it is, what lies at that place was changed.",
    ),
    known(
        "disk_low",
        &[503],
        "What is left of the disk is kept for the journal.",
        "Operators: make room, or shorten `[retention]`. Dispatch again later: intake goes on by itself.",
    ),
    known(
        "draining",
        &[503],
        "The node is being drained: it takes no missions.",
        "Dispatch again after `Retry-After`, to any node of the store. Operators: `sortie drain --undo`, or start the node again.",
    ),
    known(
        "fetch_failed",
        &[502],
        "A plugin could not be fetched: no answer, another one, one that is too long, or a registry that wants other credentials.",
        "`detail` says what came of it. Try the address from the node's machine; operators name credentials in `[plugin_source.registry.\"HOST\"]`.",
    ),
    known(
        "forbidden",
        &[403],
        "The token has not the scope that this needs.",
        "Use a token with the scope that `detail` names, or have it added to its `[[token]]`.",
    ),
    known(
        "fork_refused",
        &[422],
        "A mission cannot be forked at that call: there is none, its result is not on record, the record up to there is too large for a commit, or the plugin does not get over it.",
        "`detail` says which, and up to which call it can be.",
    ),
    known(
        "holder_away",
        &[503],
        "The node of this store that has the mission, or the missions of its VP, is away, and no other one has taken them over yet: `node` names it.",
        "Ask again after `Retry-After`: another node takes over what it had once its lease (`[node] lease`) has run out.",
    ),
    known(
        "holder_unreachable",
        &[503],
        "Another node of this store has the mission, or the missions of its VP, or is named by `node`, and this one does not reach it: `node` names it.",
        "Ask that node. Operators: each node of a store needs `[node] advertise`, an address at which the others reach it and no other node.",
    ),
    known(
        "hook_unfit",
        &[422],
        "A delivery came to no envelope: a template of the hook names what the delivery does not have, or its `when` is neither true nor false. `errors` has the places in `[[hook]]`.",
        "Mend the hook, and see what a delivery would come to: `sortie hook try NAME FILE`. Then have its sender deliver it again.",
    ),
    known(
        "hook_unusable",
        &[503],
        "The node cannot read the secret of the hook, and so cannot tell who sent this.",
        "Look into the node's log: it names the variable or the file. Senders try again by themselves.",
    ),
    known(
        "idempotency_conflict",
        &[409],
        "The idempotency key was used before, for an envelope that differs in `fields`.",
        "Use another key for another envelope; send the same bytes where the same mission is meant.",
    ),
    known(
        "internal",
        &[500],
        "Something broke inside the node.",
        "The node's log says what, under the same code. Trying again is safe: dispatches are idempotent.",
    ),
    known(
        "invalid_action",
        &[422],
        "The body of a pause, resumption, trigger, backfill or preview of a schedule, of keeping a mission, or of a fork, asks for what there is not; `errors` has each place.",
        "Correct what is named.",
    ),
    known(
        "invalid_cancel",
        &[422],
        "A cancel's body is not as it must be; `errors` has each place.",
        "Correct what is named, or send no body.",
    ),
    known(
        "invalid_decision",
        &[422],
        "A decision's body is not as it must be, or has a field without an effect; `errors` has each place.",
        "Correct what is named, leave out what has no effect.",
    ),
    known(
        "invalid_envelope",
        &[422],
        "The envelope has mistakes; `errors` has each with its place.",
        "Correct all of them, and dispatch it again, under the same key if it was never accepted.",
    ),
    known(
        "invalid_pattern",
        &[422],
        "An entry of the constraints has a scope that cannot be read, or that its tool does not know; or a required output is no name or glob. `errors` has its place.",
        "`detail` says what is right; what scopes there are is in [SECURITY](SECURITY.md#which-calls).",
    ),
    known(
        "invalid_schedule",
        &[422],
        "The schedule has mistakes, or the node would not take its missions; `errors` has each with its place.",
        "Correct all of them, and send it again.",
    ),
    known(
        "invalid_signature",
        &[403],
        "A delivery to a hook is not signed with the hook's secret, or it is too old. `detail` says what is missing.",
        "Give its sender the secret that `[[hook]]` refers to, and have it sign as `signature` says.",
    ),
    known(
        "journal_failed",
        &[503],
        "The node cannot write its journal, and is stopping.",
        "Nothing was taken. Operators: see the log and the disk; the next start recovers from what is on it.",
    ),
    known("method_not_allowed", &[405], "The path has no such method.", "`/openapi.json` lists those that there are."),
    known(
        "mission_id_conflict",
        &[409],
        "The mission id was used before, with another idempotency key.",
        "Use another id: ids are unique for as long as missions are kept.",
    ),
    known(
        "needs_memory",
        &[422],
        "The plugin needs more memory for a run than plugins get on this node.",
        "`errors` has the line of configuration that gives it more.",
    ),
    known(
        "needs_model",
        &[422],
        "The plugin needs a model, and the mission's constraints forbid to ask any.",
        "Take `model` out of `constraints.forbidden_tools`.",
    ),
    known(
        "needs_time",
        &[422],
        "The plugin needs more run time for a mission than this one has.",
        "Raise `budget.max_runtime_minutes`, and the node's ceiling where that is lower; `errors` says to how much.",
    ),
    known(
        "needs_tool",
        &[422],
        "The mission would get no call of a tool that its plugin cannot do without.",
        "`errors` says which, and the entry of the constraints or the line of configuration that is missing.",
    ),
    known("no_room", &[507], "The disk does not take the plugin.", "Operators: make room; the log has the cause."),
    known(
        "not_enough",
        &[422],
        "The budget that was granted does not cover the call that asks for it.",
        "Grant what `detail` names, or deny the request.",
    ),
    known(
        "not_found",
        &[404],
        "There is no such path, mission, request, tool, plugin or artifact.",
        "Look at the name; missions that are removed by `[retention]` are gone with their ids.",
    ),
    known(
        "not_json",
        &[400],
        "The envelope, or the body of a delivery to a hook, is no JSON; `errors` has the place.",
        "Send UTF-8 JSON without a byte order mark.",
    ),
    known(
        "not_parked",
        &[409],
        "No delivery of the mission is parked.",
        "Nothing needs to be done: `GET /v1/deliveries` says how it stands.",
    ),
    known(
        "outside_hours",
        &[422],
        "The lane of the mission, or the node, is closed throughout its autonomy window.",
        "Choose another window or lane; or write `on_window_end: \"suspend\"`, and it goes on in the next hours.",
    ),
    known(
        "overbilled",
        &[409],
        "An earlier call of the mission cost more than it was quoted at: it makes no further call that costs anything.",
        "Deny the request, or record what came of the call; `detail` names what was too dear.",
    ),
    known(
        "overloaded",
        &[503],
        "The node takes no more at the moment.",
        "Try again after `Retry-After`; dispatch fewer at once.",
    ),
    known(
        "plugin_carried",
        &[409],
        "The plugin comes with this sortie, and would be back at the next start.",
        "Install a newer version beside it, or name another plugin in `[plugin]`.",
    ),
    known(
        "plugin_held",
        &[409],
        "Missions that are not over run on the plugin; `missions` names some of them.",
        "Wait until they are over or cancel them; with `force=true` it cannot be chosen any more, and they keep it.",
    ),
    known(
        "plugin_not_installed",
        &[422],
        "No plugin of this node runs such a mission, or the one that would needs a model and there is none.",
        "Install it (`sortie plugin install`), name one that is there, or add `[model.NAME]` to the configuration; `errors` says which.",
    ),
    known(
        "plugin_refused",
        &[422],
        "What was sent is no plugin that this node takes; `detail` says why.",
        "Mend the plugin: see PLUGINS.",
    ),
    known(
        "position_ahead",
        &[409],
        "The log ends before the position that was named: an older copy of the journal was put back.",
        "Begin anew, without a position; events have the same keys as before.",
    ),
    known(
        "range_not_satisfiable",
        &[416],
        "The artifact has no such bytes.",
        "Ask within the length that `Content-Range` names.",
    ),
    known(
        "refused",
        &[409],
        "The state of the mission, or of the schedule, does not allow this.",
        "Look at it; `detail` says what stands against it.",
    ),
    known(
        "replay_refused",
        &[422],
        "The record of a mission cannot be gone over by that build here: it is too long, the build takes too long, or the plugin does not run.",
        "`sortie replay` goes over it elsewhere, without a bound; `detail` says which it was.",
    ),
    known(
        "request_withdrawn",
        &[409],
        "The tool that asked does not wait for the answer any more: its call has ended or broken off, or it took the question back.",
        "Look at the mission: where the call is made again, its tool asks anew, as another request.",
    ),
    known(
        "revised",
        &[412],
        "Somebody changed the schedule meanwhile; `revision` is the one that it has.",
        "Look at it again, and send the change with that revision.",
    ),
    known(
        "revision_required",
        &[428],
        "A schedule is changed only by whoever says which revision is meant.",
        "Send `If-Match` with the `ETag` of the schedule.",
    ),
    known(
        "schedule_exists",
        &[409],
        "There is a schedule of that name.",
        "Name this one otherwise, or change that one (`PUT`).",
    ),
    known(
        "shared_store_away",
        &[503],
        "The store that nodes share, where the artifact is, cannot be used now, or the node has none.",
        "Try again in a moment. Operators: `sortie doctor` tries the store of `[artifact] shared`, and says why it cannot be used.",
    ),
    known(
        "signature_refused",
        &[422],
        "Nobody whom the node trusts has signed the plugin, or the signature is not of these bytes; none of it was looked at.",
        "`detail` says which keys would do. Have it signed by one of them, and send `FILE.wasm.minisig` along.",
    ),
    known(
        "source_refused",
        &[422],
        "The place that a plugin should be fetched from is none, is not among the hosts that are listed, or leads to one that is not.",
        "Operators list hosts in `[plugin_source] hosts`, and addresses inside in `allow_private`; or fetch the file yourself and install that.",
    ),
    known("stopping", &[503], "The node is on its way out.", "Try again when it is back: what was accepted goes on."),
    known(
        "store_away",
        &[503],
        "The database that keeps the missions is away.",
        "Try again after `Retry-After`; nothing that was accepted is lost. Operators: the node goes on by itself once it is back.",
    ),
    known(
        "task_died",
        &[503],
        "A background task of the node has died; the node stops.",
        "Operators: the log says why; the next start recovers.",
    ),
    known(
        "task_failed",
        &[500],
        "The node broke off what it was doing for this request.",
        "Try again; the node's log says why.",
    ),
    known(
        "too_large",
        &[413],
        "The body is larger than the node takes.",
        "Make it smaller, or raise `limits.body_bytes`; send large inputs as artifacts of a URL.",
    ),
    known(
        "too_many_schedules",
        &[422],
        "The node has as many schedules as it may.",
        "Remove one, or raise `limits.schedules`.",
    ),
    known(
        "too_slow",
        &[408],
        "The request took too long to arrive.",
        "Send it again over a better line; bodies have half a minute.",
    ),
    known(
        "tool_failed",
        &[422, 502, 504],
        "A tool that was called by hand refused, failed or does not take its arguments (422), took too long (504), or was not called to its end (502).",
        "`detail` has the tool's words, `error` its code.",
    ),
    known(
        "unauthorized",
        &[401],
        "There is no valid token.",
        "`Authorization: Bearer TOKEN`; the node's own is in `DATA_DIR/token`.",
    ),
    known(
        "unknown_constraint",
        &[422],
        "`constraints` or `budget` has a key that the node does not know: a limit that is ignored is a hole.",
        "Correct or remove it.",
    ),
    known(
        "window_closed",
        &[422],
        "The autonomy window was over before the mission was dispatched.",
        "Dispatch it with a window that is still open.",
    ),
    known(
        "wrong_decision",
        &[422],
        "Such a decision does not answer this kind of request.",
        "`detail` names those that do.",
    ),
    known(
        "wrong_instance",
        &[421],
        "The envelope is for another node.",
        "Send it to the node that `target_instance_id` names, or name this one.",
    ),
];

/// The entry of a code.
pub(crate) fn find(code: &str) -> Option<&'static Known> {
    CODES.iter().find(|known| known.code == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The document that the list makes.
    fn document() -> String {
        let mut text = String::from(
            "# Errors of the HTTP interface\n\n\
             Every error is a problem of [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457) (`application/problem+json`) with a stable `code` and a `detail` for\n\
             people; what is wrong in a body is listed in `errors`, each with a `pointer` and a code of its own. Its `type` is the address of a page about the\n\
             code on the node that answered (`/problems/CODE`): what happened, why, what to do, and which requests come to it. Causes inside the node are in its\n\
             log, under the same code. Codes are only added. This page is made of the list in `runtime/node/src/http/codes.rs`, and a test compares the two.\n\n\
             | code | status | when | what to do |\n| --- | --- | --- | --- |\n",
        );
        for Known { code, statuses, when, remedy } in CODES {
            let statuses: Vec<String> = statuses.iter().map(ToString::to_string).collect();
            text.push_str(&format!("| `{code}` | {} | {when} | {remedy} |\n", statuses.join(", ")));
        }
        text
    }

    #[test]
    fn the_document_is_the_list() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/ERRORS.md");
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        if std::env::var_os("SORTIE_WRITE_DOCS").is_some() {
            std::fs::write(&path, document()).expect("a writable folder");
        } else {
            assert_eq!(written, document(), "set SORTIE_WRITE_DOCS and run this test: it writes docs/ERRORS.md");
        }
    }

    #[test]
    fn each_code_has_one_entry_and_all_of_it() {
        assert!(CODES.is_sorted_by(|a, b| a.code < b.code), "by name, each once");
        for Known { code, statuses, when, remedy } in CODES {
            assert!(!statuses.is_empty() && !when.is_empty() && !remedy.is_empty(), "{code}");
            assert!(when.ends_with('.') && remedy.ends_with('.'), "{code}: sentences");
        }
    }

    /// Codes as they stand behind the makers of problems in the sources.
    fn answered(source: &str) -> Vec<String> {
        let makers = ["Problem::new(", "Self::new(StatusCode", "Problem::busy(", "unavailable(", "of_field("];
        let mut codes = Vec::new();
        for maker in makers {
            for (at, _) in source.match_indices(maker) {
                let rest: String = source[at + maker.len()..].chars().take(160).collect();
                let code = rest.split('"').nth(1).unwrap_or_default();
                let is_code = !code.is_empty() && code.chars().all(|c| c.is_ascii_lowercase() || c == '_');
                // Further on there may be a text: the code is the first literal, or a variable.
                if is_code && rest.find('"').is_some_and(|quote| !rest[..quote].contains([';', '{', ')'])) {
                    codes.push(code.to_owned());
                }
            }
        }
        codes
    }

    #[test]
    fn every_code_of_the_sources_is_listed() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let (mut met, mut places) = (0, vec![folder.join("http"), folder.join("http.rs")]);
        while let Some(path) = places.pop() {
            if path.is_dir() {
                let within = std::fs::read_dir(&path).expect("sources");
                places.extend(within.map(|entry| entry.expect("sources").path()));
                continue;
            }
            if path.ends_with("codes.rs") {
                continue;
            }
            for code in answered(&std::fs::read_to_string(&path).expect("a source")) {
                met += 1;
                assert!(find(&code).is_some(), "{}: `{code}` is not in CODES", path.display());
            }
        }
        assert!(met > 20, "they were found: {met}");
    }
}
