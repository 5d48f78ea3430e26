//! What each request may come to: the statuses of what was done, the codes of what was not, the headers on both sides.
//!
//! `/openapi.json` tells it, and a build with debug assertions holds every answer against it ([`held`]): an answer that is not told here
//! becomes an error that says so, in whichever test meets it. What routes have in common (a token, a body, a place in the path) is derived
//! from the table of routes; only what is a route's own stands in a row here.

use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use super::codes;
use super::error::{Coded, Problem};
use super::forward::Forwarded;
use super::{Content, Route};

/// What a request may come to.
#[derive(Debug, Clone)]
pub(super) struct Outcomes {
    /// The statuses of what was done, and what each says.
    pub(super) done: &'static [Done],
    /// The codes of its problems, by name.
    pub(super) codes: Vec<&'static str>,
    /// The headers of the request that have a meaning, beside its token.
    pub(super) reads: &'static [HeaderNote],
}

/// A status of what was done, what it says, and the headers that come with it.
type Done = (u16, &'static str, &'static [HeaderNote]);

/// A header: its name, what it says, the pattern of its value (empty where any is taken), and whether it must be there.
#[derive(Debug)]
pub(super) struct HeaderNote {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) pattern: &'static str,
    pub(super) is_required: bool,
}

const fn always(name: &'static str, about: &'static str, pattern: &'static str) -> HeaderNote {
    HeaderNote { name, about, pattern, is_required: true }
}

const fn maybe(name: &'static str, about: &'static str, pattern: &'static str) -> HeaderNote {
    HeaderNote { name, about, pattern, is_required: false }
}

const TAG: &str = "^(W/)?\"[^\"]*\"$";

const OK: Done = (200, "Done.", &[]);
const BEGUN: Done = (202, "Done; what follows of it goes on.", &[]);
const GONE: Done = (204, "It is gone.", &[]);
const TOLD: &[Done] = &[OK];

const REVISION: &[HeaderNote] = &[always("ETag", "The revision of the schedule: what `If-Match` names.", TAG)];
const SCHEDULE: Done = (200, "The schedule as it is now.", REVISION);
/// Of a change that may be a mere question: an answer to that has no tag.
const REVISED: Done = (
    200,
    "The schedule as it is now; with `dry_run` only what it would be.",
    &[maybe("ETag", "The revision of the schedule; not with `dry_run`.", TAG)],
);

const IF_MATCH: &[HeaderNote] = &[always(
    "If-Match",
    "The revision that is changed, such as `\"3\"`: the `ETag` of the schedule.",
    r#"^(W/)?"?[0-9]{1,19}"?$"#,
)];

const POSITION: &[HeaderNote] = &[maybe(
    "Last-Event-ID",
    "Only events behind this one, by its id: what a stream that broke off is resumed with. Counts before `after` and `cursor`.",
    "^[0-9]{1,19}$",
)];

const FEED_POSITION: &[HeaderNote] = &[maybe(
    "Last-Event-ID",
    "Only events behind this one, by its id, which is a word that any node of the store goes on behind, and nothing else to whoever reads. \
     Counts before `after` and `cursor`.",
    super::events::EVENT_ID,
)];

const RANGES: &[HeaderNote] = &[
    maybe("Range", "Which bytes, such as `bytes=0-99`. What is no such range is not heeded.", ""),
    maybe("If-Range", "The range only if it is still this artifact, by its `ETag`; else the whole is sent.", ""),
    maybe("If-None-Match", "Answers 304 if the artifact is one of these tags, or for `*`.", ""),
];
const REPLAYED: &[HeaderNote] = &[maybe("Idempotent-Replayed", "That it had been accepted before.", "^true$")];
const SIGNATURE: &[HeaderNote] = &[maybe(
    "Plugin-Signature",
    "The signature of what is uploaded: the text of `FILE.wasm.minisig`, in base64.",
    "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
)];
const ARTIFACT: &[HeaderNote] = &[
    always("ETag", "The SHA-256 of the artifact.", "^\"[0-9a-f]{64}\"$"),
    always("Accept-Ranges", "Always `bytes`.", "^bytes$"),
];
const PART: &[HeaderNote] = &[
    always("ETag", "The SHA-256 of the artifact.", "^\"[0-9a-f]{64}\"$"),
    always("Accept-Ranges", "Always `bytes`.", "^bytes$"),
    always("Content-Range", "Which of the artifact's bytes these are.", "^bytes [0-9]+-[0-9]+/[0-9]+$"),
];

/// Codes of an envelope that is not taken, whoever made it.
const TAKEN: &[&str] = &[
    "disk_low",
    "draining",
    "invalid_envelope",
    "invalid_pattern",
    "journal_failed",
    "mission_id_conflict",
    "overloaded",
    "plugin_not_installed",
    "shared_store_away",
    "stopping",
    "unknown_constraint",
    "window_closed",
];
/// Of one that somebody sent.
const SENT: &[&str] = &["idempotency_conflict", "not_json", "wrong_instance"];
/// Of that of a fork, which is made of one that was taken.
const FORKED: &[&str] =
    &["artifact_damaged", "artifact_missing", "fork_refused", "idempotency_conflict", "invalid_action"];
/// Of that of a delivery to a hook: what its templates come to may be no envelope, or one for another node.
const DELIVERED: &[&str] = &[
    "holder_away",
    "holder_unreachable",
    "hook_unfit",
    "hook_unusable",
    "internal",
    "invalid_signature",
    "not_json",
    "wrong_instance",
];

const DISPATCH: &[&str] = &both::<{ TAKEN.len() + SENT.len() }>(TAKEN, SENT);
const FORK: &[&str] = &both::<{ TAKEN.len() + FORKED.len() }>(TAKEN, FORKED);
const HOOK: &[&str] = &both::<{ TAKEN.len() + DELIVERED.len() }>(TAKEN, DELIVERED);

/// The codes of two lists.
const fn both<const N: usize>(one: &[&'static str], other: &[&'static str]) -> [&'static str; N] {
    let mut all = [""; N];
    let mut at = 0;
    while at < N {
        all[at] = if at < one.len() { one[at] } else { other[at - one.len()] };
        at += 1;
    }
    all
}

/// Codes of a dispatch in the older dialect.
const OLD_SENT: &[&str] = &[
    "dialect_unusable",
    "holder_away",
    "holder_unreachable",
    "idempotency_conflict",
    "not_found",
    "not_json",
    "store_away",
    "unauthorized",
    "wrong_instance",
];
const OLD_DISPATCH: &[&str] = &both::<{ TAKEN.len() + OLD_SENT.len() }>(TAKEN, OLD_SENT);
const OLD_DISPATCHED: &[Done] = &[(200, "It is a mission, accepted and on disk.", REPLAYED)];
/// Codes of a cancel in it.
const OLD_CANCEL: &[&str] = &[
    "already_final",
    "dialect_unusable",
    "holder_away",
    "holder_unreachable",
    "invalid_cancel",
    "journal_failed",
    "overloaded",
    "refused",
    "store_away",
    "task_failed",
    "unauthorized",
];
/// Codes of something that is put on record and is not done.
const ACT: &[&str] = &["already_final", "journal_failed", "overloaded", "refused"];
const DECIDE: &[&str] = &[
    "already_decided",
    "already_final",
    "arguments_not_allowed",
    "invalid_decision",
    "journal_failed",
    "not_enough",
    "overbilled",
    "overloaded",
    "refused",
    "request_withdrawn",
    "wrong_decision",
];
/// Codes of a change of a schedule: its missions are held against the node as a dispatch is.
const SCHEDULES: &[&str] = &[
    "disk_low",
    "draining",
    "invalid_schedule",
    "journal_failed",
    "overloaded",
    "refused",
    "revised",
    "revision_required",
    "schedule_exists",
    "stopping",
    "too_many_schedules",
];
const SCHEDULE_ACT: &[&str] = &[
    "disk_low",
    "draining",
    "invalid_action",
    "invalid_schedule",
    "journal_failed",
    "overloaded",
    "refused",
    "stopping",
];

type Row = (Method, &'static str, &'static [Done], &'static [&'static str], &'static [HeaderNote]);

/// What routes have of their own. One that has nothing of its own answers with 200.
const OWN: &[Row] = &[
    (
        Method::POST,
        "/v1/missions",
        &[
            (202, "It is accepted, and on disk.", &[]),
            (
                200,
                "It had been accepted before: the same envelope under the same key.",
                &[always("Idempotent-Replayed", "That it had been accepted before.", "^true$")],
            ),
        ],
        DISPATCH,
        &[],
    ),
    (Method::GET, "/v1/missions/{id}/replay", TOLD, &["replay_refused"], &[]),
    (Method::GET, "/v1/missions/{id}/events", TOLD, &["position_ahead"], POSITION),
    (Method::GET, "/v1/events", TOLD, &["position_ahead"], FEED_POSITION),
    (
        Method::GET,
        "/v1/missions/{id}/artifacts/{*name}",
        &[
            (200, "The artifact.", ARTIFACT),
            (206, "The part of it that was asked for.", PART),
            (304, "It is one that the client has.", ARTIFACT),
        ],
        &["artifact_damaged", "artifact_elsewhere", "artifact_missing", "range_not_satisfiable", "shared_store_away"],
        RANGES,
    ),
    (
        Method::POST,
        "/v1/missions/{id}/cancel",
        &[BEGUN],
        &["already_final", "invalid_cancel", "journal_failed", "overloaded", "refused"],
        &[],
    ),
    (
        Method::POST,
        "/v1/missions/{id}/fork",
        &[
            (202, "The fork is accepted, and on disk.", &[]),
            (
                200,
                "It had been made before: the same request under the same key.",
                &[always("Idempotent-Replayed", "That it had been made before.", "^true$")],
            ),
        ],
        FORK,
        &[],
    ),
    (
        Method::POST,
        "/v1/missions/{id}/keep",
        TOLD,
        &["invalid_action", "journal_failed", "overloaded", "refused", "stopping"],
        &[],
    ),
    (Method::POST, "/v1/missions/{id}/requests/{request}", TOLD, DECIDE, &[]),
    (Method::POST, "/v1/explain", TOLD, DISPATCH, &[]),
    (
        Method::POST,
        "/v1/hooks/{name}",
        &[
            (202, "It is a mission, accepted and on disk.", &[]),
            (200, "It had been delivered before, or is not meant: `outcome` says which.", &[]),
        ],
        HOOK,
        &[],
    ),
    (Method::POST, "/api/v1/ops/vp/missions/dispatch", OLD_DISPATCHED, OLD_DISPATCH, &[]),
    (Method::POST, "/api/v1/ops/vp/missions/{id}/cancel", TOLD, OLD_CANCEL, &[]),
    (Method::POST, "/v1/hooks/{name}/try", TOLD, &["hook_unfit", "invalid_action", "not_json"], &[]),
    (Method::GET, "/v1/backup", TOLD, &["backup_runs", "disk_low"], &[]),
    (Method::POST, "/v1/notify/{name}/test", TOLD, &["channel_failed"], &[]),
    (
        Method::POST,
        "/v1/plugins",
        &[(201, "It is installed.", &[])],
        &["no_room", "overloaded", "plugin_refused", "signature_refused"],
        SIGNATURE,
    ),
    (
        Method::POST,
        "/v1/plugin-fetch",
        &[(201, "It is fetched and installed.", &[])],
        &[
            "digest_mismatch",
            "fetch_failed",
            "invalid_action",
            "no_room",
            "overloaded",
            "plugin_refused",
            "signature_refused",
            "source_refused",
        ],
        &[],
    ),
    (Method::DELETE, "/v1/plugins/{name}", &[GONE], &["plugin_carried", "plugin_held"], &[]),
    (Method::POST, "/v1/tools/{name}/call", TOLD, &["tool_failed"], &[]),
    (Method::POST, "/v1/node/pause", TOLD, ACT, &[]),
    (Method::POST, "/v1/node/resume", TOLD, ACT, &[]),
    (Method::POST, "/v1/node/halt", &[BEGUN], ACT, &[]),
    (Method::POST, "/v1/node/drain", &[BEGUN], &[], &[]),
    (Method::POST, "/v1/node/undrain", TOLD, &["refused"], &[]),
    (Method::POST, "/v1/missions/{id}/workspace", TOLD, &["refused", "shared_store_away"], &[]),
    (
        Method::POST,
        "/v1/deliveries/{id}/redeliver",
        &[BEGUN],
        &["journal_failed", "not_parked", "overloaded", "refused"],
        &[],
    ),
    (
        Method::POST,
        "/v1/deliveries/{id}/skip",
        &[BEGUN],
        &["journal_failed", "not_parked", "overloaded", "refused"],
        &[],
    ),
    (
        Method::POST,
        "/v1/schedules",
        &[(201, "It is made.", REVISION), (200, "It could be made (`dry_run`).", &[])],
        SCHEDULES,
        &[],
    ),
    (Method::POST, "/v1/schedules/preview", TOLD, &["invalid_action", "invalid_schedule"], &[]),
    (Method::GET, "/v1/schedules/{id}", &[SCHEDULE], &[], &[]),
    (Method::PUT, "/v1/schedules/{id}", &[REVISED], SCHEDULES, IF_MATCH),
    (Method::DELETE, "/v1/schedules/{id}", &[GONE], SCHEDULE_ACT, &[]),
    (Method::POST, "/v1/schedules/{id}/pause", &[SCHEDULE], SCHEDULE_ACT, &[]),
    (Method::POST, "/v1/schedules/{id}/resume", &[SCHEDULE], SCHEDULE_ACT, &[]),
    (Method::POST, "/v1/schedules/{id}/trigger", &[SCHEDULE], SCHEDULE_ACT, &[]),
    (Method::POST, "/v1/schedules/{id}/backfill", &[SCHEDULE], SCHEDULE_ACT, &[]),
    (Method::GET, "/readyz", TOLD, &["stopping", "store_away", "task_died"], &[]),
];

/// What a request of this route may come to.
pub(super) fn of(route: &Route) -> Outcomes {
    let own = OWN.iter().find(|(method, path, ..)| *method == route.method && *path == route.path);
    let (done, own, reads) = own.map_or((TOLD, &[][..], &[][..]), |(_, _, done, codes, reads)| (*done, *codes, *reads));
    let mut codes: Vec<&str> = own.to_vec();
    // A query that is not read, a path that is no text; what broke inside.
    codes.extend(["bad_request", "internal"]);
    if route.scope.is_some() {
        codes.extend(["answers_full", "connections_full", "forbidden", "store_away", "task_failed", "unauthorized"]);
        // Of what another node of the store has, or is named to be asked.
        codes.extend(["holder_away", "holder_unreachable", "not_found", "too_large", "too_slow"]);
    }
    if route.path.contains('{') {
        codes.push("not_found");
    }
    // A batch is answered line by line, whatever is wrong with one of them.
    if route.takes.is_some_and(|takes| !matches!(takes, Content::Envelopes)) {
        codes.extend(["too_large", "too_slow"]);
    }
    codes.sort_unstable();
    codes.dedup();
    Outcomes { done, codes, reads }
}

impl Outcomes {
    /// The codes that come with each status of a problem, by status.
    pub(super) fn failures(&self) -> Vec<(u16, Vec<&'static str>)> {
        let mut by_status = std::collections::BTreeMap::<u16, Vec<&str>>::new();
        for code in &self.codes {
            for status in codes::find(code).map_or(&[][..], |known| known.statuses) {
                by_status.entry(*status).or_default().push(code);
            }
        }
        by_status.into_iter().collect()
    }

    /// What of an answer is not told; nothing, if all is.
    fn untold(&self, status: StatusCode, headers: &HeaderMap, code: Option<&str>) -> Option<String> {
        match code {
            Some(code) if self.codes.contains(&code) => None,
            Some(code) => Some(format!("the problem `{code}`")),
            // A refusal of axum itself (of a path that is no UTF-8), which becomes such a problem further out.
            None if status == StatusCode::BAD_REQUEST && self.codes.contains(&"bad_request") => None,
            None => match self.done.iter().find(|(done, ..)| *done == status.as_u16()) {
                None => Some(format!("the status {status}")),
                Some((.., promised)) => promised
                    .iter()
                    .find(|note| note.is_required && !headers.contains_key(note.name))
                    .map(|note| format!("an answer without `{}`", note.name)),
            },
        }
    }
}

/// The answer, if it is one that [`Outcomes`] tell of; else an error that says what is not told.
pub(super) fn held(outcomes: &Outcomes, response: Response) -> Response {
    if response.extensions().get::<Forwarded>().is_some() {
        return response;
    }
    let code = response.extensions().get::<Coded>().map(|Coded(code)| *code);
    let is_json = response.headers().get(header::CONTENT_TYPE).is_some();
    match outcomes.untold(response.status(), response.headers(), code) {
        None if is_json || response.status().is_redirection() || response.status() == StatusCode::NO_CONTENT => {
            response
        }
        None => untold("a body without a media type"),
        Some(what) => untold(&what),
    }
}

fn untold(what: &str) -> Response {
    tracing::error!(what, "an answer that http/outcomes.rs does not tell of");
    let detail = format!("the node answered with {what}, of which http/outcomes.rs does not tell");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_row_is_of_a_route_and_names_codes_that_there_are() {
        let routes = super::super::routes();
        for (method, path, done, codes, reads) in OWN {
            let route = routes.iter().find(|route| route.method == *method && route.path == *path);
            assert!(route.is_some(), "{method} {path} is no route");
            assert!(!done.is_empty() && done.iter().all(|(status, ..)| (200..400).contains(status)), "{method} {path}");
            for code in *codes {
                assert!(codes::find(code).is_some(), "{method} {path}: `{code}` is not in CODES");
            }
            for note in reads.iter().chain(done.iter().flat_map(|(.., notes)| *notes)) {
                assert!(header::HeaderName::from_bytes(note.name.as_bytes()).is_ok(), "{}", note.name);
            }
        }
        let rows: BTreeSet<(&str, &str)> = OWN.iter().map(|(method, path, ..)| (method.as_str(), *path)).collect();
        assert_eq!(rows.len(), OWN.len(), "each route has one row");
    }

    /// A code that no request comes to is one that nobody needs to know, or one that is missing above.
    #[test]
    fn each_code_is_one_that_some_request_comes_to() {
        /// Whose path is none, whose method is none; and what stands in `errors` alone, with its place.
        const ELSEWHERE: [&str; 6] =
            ["method_not_allowed", "needs_memory", "needs_model", "needs_time", "needs_tool", "outside_hours"];
        let told: BTreeSet<&str> = super::super::routes().iter().flat_map(|route| of(route).codes).collect();
        let known: BTreeSet<&str> = codes::CODES.iter().map(|known| known.code).collect();
        let untold: Vec<&&str> = known.difference(&told).collect();
        assert_eq!(untold, ELSEWHERE.iter().collect::<Vec<_>>());
    }

    #[test]
    fn an_answer_that_is_not_told_becomes_an_error() {
        const TAGGED: &[HeaderNote] = &[always("ETag", "Its tag.", TAG)];
        const DONE: &[Done] = &[(200, "Done.", TAGGED)];
        let outcomes = Outcomes { done: DONE, codes: vec!["not_found"], reads: &[] };
        let json = [(header::CONTENT_TYPE, "application/json")];
        let tagged = || [(header::CONTENT_TYPE, "application/json"), (header::ETAG, "\"1\"")];
        for (answer, expected) in [
            ((StatusCode::OK, tagged(), "{}").into_response(), 200),
            ((StatusCode::OK, json, "{}").into_response(), 500),
            ((StatusCode::ACCEPTED, tagged(), "{}").into_response(), 500),
            (Problem::not_found("such thing").into_response(), 404),
            (Problem::bad_request("no").into_response(), 500),
        ] {
            assert_eq!(held(&outcomes, answer).status().as_u16(), expected);
        }
    }
}
