//! From JSON text to an [`Envelope`]: what can be wrong with one, found all at once, each with its place.
//!
//! One pass reads the text into a tree, from which the fields and the digest are taken. Nothing is derived here: a rule of the
//! envelope is a line that can be read, beside the field that it is about. How `null`, an unknown key and a number that is too
//! large are taken:
//!
//! - `null` is the same as absent, wherever it stands for a field. (To [`canonical_digest`](super::canonical_digest) it is not:
//!   it compares what was sent.)
//! - An unknown key of `constraints` or `budget` is refused: a limit that is silently ignored is a hole. Any other is kept in the
//!   text and warned of.
//! - A limit that is too large to count is the largest that can be counted, and warned of.
//! - A time that is later than can be reckoned with (in the last days of the year 9999) is the latest that can: 9999-12-30T22:00Z
//!   less a nanosecond. Digits beyond the nanosecond are dropped.

use std::mem;
use std::str::FromStr;
use std::sync::Arc;

use globset::GlobBuilder;
use url::Url;

use super::fields::{Findings, Object, wrong_type};
use super::json::{Json, Members, Read};
use super::{
    Budget, Cadence, Callback, ChildOf, Constraints, Envelope, ForkedFrom, MissionType, OnExpiry, OnWindowEnd, Window,
    canonical,
};
use crate::artifact::{ArtifactName, StorageScope};
use crate::digest::Digest;
use crate::id::{IdError, IdempotencyKey, MissionId, SessionId, is_blank, is_reserved, is_white};
use crate::limit;
use crate::mistake::{Mistake, Pointer, code};
use crate::money::MicroUsd;

/// The fields of an envelope: the contract's, then the extensions, then what the node itself writes into that of a fork or a child.
pub(super) const FIELDS: [&str; 26] = [
    "mission_id",
    "vp_id",
    "vp_session_id",
    "vp_runtime_id",
    "source_instance_id",
    "target_instance_id",
    "mission_type",
    "objective",
    "constraints",
    "budget",
    "autonomy_window",
    "heartbeat_interval_seconds",
    "report_cadence",
    "success_criteria",
    "artifact_policy",
    "callback",
    "idempotency_key",
    "trace_id",
    "created_at",
    "inputs",
    "plugin",
    "on_window_end",
    "carry_over_max",
    "on_expiry",
    "forked_from",
    "child_of",
];
/// Those without which there is no mission.
pub(super) const REQUIRED: [&str; 9] = [
    "mission_id",
    "vp_id",
    "source_instance_id",
    "target_instance_id",
    "mission_type",
    "objective",
    "idempotency_key",
    "trace_id",
    "created_at",
];
pub(super) const CONSTRAINTS: [&str; 3] = ["allowed_tools", "forbidden_tools", "approval_required"];
pub(super) const BUDGET: [&str; 4] = ["max_runtime_minutes", "max_llm_calls", "max_cost_usd", "max_missions"];
pub(super) const WINDOW: [&str; 2] = ["start_at", "end_at"];
pub(super) const ARTIFACT_POLICY: [&str; 2] = ["required_outputs", "storage_scope"];
pub(super) const CALLBACK: [&str; 3] = ["status_url", "auth_mode", "auth_ref"];

/// A valid envelope, and what is odd about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// The envelope.
    pub envelope: Envelope,
    /// What the dispatcher should know and need not mend: keys that are not read, a callback without its secret.
    pub warnings: Vec<String>,
    /// What a second dispatch is compared by: see [`canonical_digest`](super::canonical_digest).
    pub digest: Digest,
}

/// Everything that is wrong with a text that is no envelope.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("not a mission envelope: {}", .mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct Rejected {
    /// At least one, at most [`limit::MISTAKES_MAX`].
    pub mistakes: Vec<Mistake>,
    /// What could be read nevertheless; nothing of a text that is no JSON object.
    pub draft: Option<Box<Draft>>,
}

/// An envelope with mistakes: what could be read of it, and harmless stand-ins where that was nothing.
///
/// Whoever sent it mends it once, and not once for each who looks at it: so a node holds it against its own rules too. Each field
/// with a stand-in has a mistake at its place, so that nobody need be told of it twice.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft(Envelope);

impl Draft {
    /// The fields: to find further mistakes in, and for nothing else.
    #[must_use]
    pub fn envelope(&self) -> &Envelope {
        &self.0
    }
}

impl Envelope {
    /// Reads an envelope.
    ///
    /// # Errors
    /// [`Rejected`] with all the mistakes in it. A text that is not JSON is a single one, with its line and column.
    pub fn parse(text: &str) -> Result<Parsed, Rejected> {
        Self::parse_new(text, Findings::default())
    }

    /// Reads an envelope that a node is about to dispatch as a child of a mission: it says whose, and has the names that only a node gives.
    ///
    /// # Errors
    /// As [`Envelope::parse`].
    pub fn parse_of_child(text: &str) -> Result<Parsed, Rejected> {
        Self::parse_new(text, Findings { of_node: true, ..Findings::default() })
    }

    fn parse_new(text: &str, mut findings: Findings) -> Result<Parsed, Rejected> {
        let mut read = read(text)?;
        // Inputs are handed on as they are written.
        let is_read = |mistake: &Mistake| !mistake.pointer.as_str().starts_with("/inputs/");
        let inexact = mem::take(&mut read.inexact).into_iter().filter(is_read);
        read.duplicates.drain(..).chain(inexact).for_each(|mistake| findings.push(mistake));
        Self::of(&read, findings)
    }

    /// Reads an envelope that was accepted: by a version, perhaps, that did not look for integers beyond 64 bits, for names that
    /// are words of the paths, or for times that are none of RFC 3339.
    ///
    /// # Errors
    /// As [`Envelope::parse`].
    pub fn parse_accepted(text: &str) -> Result<Parsed, Rejected> {
        let mut read = read(text)?;
        let mut findings = Findings { accepted: true, ..Findings::default() };
        read.duplicates.drain(..).for_each(|mistake| findings.push(mistake));
        Self::of(&read, findings)
    }

    fn of(read: &Read<'_>, mut findings: Findings) -> Result<Parsed, Rejected> {
        let envelope = match &read.json {
            Json::Object(members) => Some(envelope(members, &mut findings)),
            other => wrong_type(Pointer::root(), "an object", other, &mut findings),
        };
        match envelope {
            Some(envelope) if findings.mistakes.is_empty() => {
                Ok(Parsed { envelope, warnings: findings.warnings, digest: canonical::digest(&read.json) })
            }
            wrong => Err(Rejected { mistakes: findings.mistakes, draft: wrong.map(|wrong| Box::new(Draft(wrong))) }),
        }
    }
}

fn read(text: &str) -> Result<Read<'_>, Rejected> {
    Json::read(text).map_err(|mistake| Rejected { mistakes: vec![mistake], draft: None })
}

/// The envelope of an object. With a mistake among the findings it is a draft of one.
fn envelope(members: &Members<'_>, found: &mut Findings) -> Envelope {
    let top = Object::top(members);
    REQUIRED.into_iter().for_each(|name| top.require(name, found));
    warn_of_unknown(&top, &FIELDS, found);

    let mission_id = mission_id(&top, found);
    let vp_id = top.id("vp_id", found);
    let vp_session_id = top.id("vp_session_id", found);
    reserved_for_children(&top, "vp_session_id", vp_session_id.as_ref().is_some_and(SessionId::is_of_a_child), found);
    let vp_runtime_id = top.id("vp_runtime_id", found);
    let source_instance_id = top.id("source_instance_id", found);
    let target_instance_id = top.id("target_instance_id", found);
    let mission_type = top.choice("mission_type", &MissionType::ALL.map(|kind| (kind.as_str(), kind)), found);
    let objective = objective(&top, found);
    let constraints = constraints(&top, found);
    let budget = budget(&top, found);
    let window = window(&top, found);
    let heartbeat_interval_seconds = heartbeat(&top, found);
    let report_cadence = top.choice(
        "report_cadence",
        &[("milestone", Cadence::Milestone), ("interval", Cadence::Interval), ("hybrid", Cadence::Hybrid)],
        found,
    );
    let success_criteria = top.texts("success_criteria", found, |_| Ok(()));
    let (required_outputs, storage_scope) = artifact_policy(&top, found);
    let callback = callback(&top, found);
    let idempotency_key = top.id("idempotency_key", found);
    let is_of_a_child = idempotency_key.as_ref().is_some_and(IdempotencyKey::is_of_a_child);
    reserved_for_children(&top, "idempotency_key", is_of_a_child, found);
    let trace_id = top.id("trace_id", found);
    let created_at = top.time("created_at", found);
    let inputs = inputs(&top, found);
    let plugin = top.parsed("plugin", code::INVALID_PLUGIN, found);
    let (on_window_end, carry_over_max) = carry_over(&top, found);
    let on_expiry = on_expiry(&top, found);
    let forked_from = forked_from(&top, found);
    let child_of = child_of(&top, found);
    if mission_type == Some(MissionType::Custom) && top.value("plugin").is_none() {
        found.wrong(top.at("plugin"), code::REQUIRED, "a `custom` mission names its plugin: `name` or `name@version`");
    }

    Envelope {
        mission_id: mission_id.unwrap_or_else(|| stand_in("-")),
        vp_id: vp_id.unwrap_or_else(|| stand_in("-")),
        vp_session_id,
        vp_runtime_id,
        source_instance_id: source_instance_id.unwrap_or_else(|| stand_in("-")),
        // Any node's: it is not for this one to say that it is another's.
        target_instance_id: target_instance_id.unwrap_or_else(|| stand_in("*")),
        mission_type: mission_type.unwrap_or(MissionType::Custom),
        objective: objective.unwrap_or_default(),
        constraints,
        budget,
        window,
        heartbeat_interval_seconds,
        report_cadence: report_cadence.unwrap_or_default(),
        success_criteria,
        required_outputs,
        storage_scope,
        callback,
        idempotency_key: idempotency_key.unwrap_or_else(|| stand_in("-")),
        trace_id: trace_id.unwrap_or_else(|| stand_in("-")),
        created_at: created_at.unwrap_or_default(),
        inputs,
        plugin,
        on_window_end,
        carry_over_max,
        on_expiry,
        forked_from,
        child_of,
    }
}

/// Where a fork comes from. An older Sortie accepted anything there, and heeded none of it.
fn forked_from(top: &Object<'_, '_>, found: &mut Findings) -> Option<ForkedFrom> {
    let said = top.value("forked_from")?;
    if !found.accepted {
        let detail = "`forked_from` is for the node to write: `POST /v1/missions/{id}/fork` makes a fork";
        found.wrong(top.at("forked_from"), code::RESERVED, detail);
        return None;
    }
    let text = serde_json::to_string(said).expect("a tree that was read can be written");
    serde_json::from_str(&text).ok()
}

/// Whose child it is. An older Sortie accepted anything there, and heeded none of it; what says which call of which mission dispatched it is of
/// a node, and holds whole or makes the envelope one that cannot be read: a child without its bounds would have none.
fn child_of(top: &Object<'_, '_>, found: &mut Findings) -> Option<ChildOf> {
    let said = top.value("child_of")?;
    if !found.takes_the_nodes_own() {
        let detail = "`child_of` is for the node to write: a plugin dispatches a child by `missions.dispatch`";
        found.wrong(top.at("child_of"), code::RESERVED, detail);
        return None;
    }
    let text = serde_json::to_string(said).expect("a tree that was read can be written");
    let read: Result<ChildOf, _> = serde_json::from_str(&text);
    let has = |name: &str| matches!(said, Json::Object(members) if members.iter().any(|(key, _)| **key == *name));
    if let (Err(error), true) = (&read, has("mission_id") && has("call")) {
        let detail =
            format!("`child_of` is of another version of Sortie, and this one does not know what it says: {error}");
        found.wrong(top.at("child_of"), code::RESERVED, detail);
    }
    read.ok()
}

/// An identifier of a [`Draft`].
fn stand_in<T: FromStr<Err = IdError>>(text: &str) -> T {
    text.parse().expect("a stand-in is an identifier of every kind that it is used for")
}

fn mission_id(top: &Object<'_, '_>, found: &mut Findings) -> Option<MissionId> {
    let id: MissionId = top.id("mission_id", found)?;
    if !found.accepted && is_reserved(id.as_str()) {
        let detail = format!(
            "`mission_id` must not be `{id}`: it is a word of the API's paths, under which no mission could be found"
        );
        found.wrong(top.at("mission_id"), code::RESERVED, detail);
        return None;
    }
    if !found.takes_the_nodes_own() && id.is_of_a_child() {
        let detail = "`mission_id` must not end with `.child-` and a number: so a node calls the missions that a mission dispatches";
        found.wrong(top.at("mission_id"), code::RESERVED, detail);
        return None;
    }
    Some(id)
}

/// Names in the form of what is of a child are a node's to give: whoever had one beforehand would stand in the child's way, or be in its workspace.
fn reserved_for_children(top: &Object<'_, '_>, name: &str, is_of_a_child: bool, found: &mut Findings) {
    if is_of_a_child && !found.takes_the_nodes_own() {
        let detail = format!(
            "`{name}` must not be of the form `child:…` with the number of a call: so a node calls what is of a mission that another one dispatches"
        );
        found.wrong(top.at(name), code::RESERVED, detail);
    }
}

fn objective(top: &Object<'_, '_>, found: &mut Findings) -> Option<String> {
    let text = top.text("objective", found)?;
    if is_blank(text) {
        found.wrong(top.at("objective"), code::EMPTY, "`objective` must not be empty");
        return None;
    }
    Some(text.to_owned())
}

fn constraints(top: &Object<'_, '_>, found: &mut Findings) -> Constraints {
    let object = top.object("/constraints", found);
    refuse_unknown(&object, &CONSTRAINTS, found);
    Constraints {
        allowed_tools: object.texts("allowed_tools", found, tool_pattern),
        forbidden_tools: object.texts("forbidden_tools", found, tool_pattern),
        // Not held to the form of a pattern: what matches nothing makes the mission stricter, not laxer.
        approval_required: object.texts("approval_required", found, |_| Ok(())),
    }
}

fn budget(top: &Object<'_, '_>, found: &mut Findings) -> Budget {
    let object = top.object("/budget", found);
    refuse_unknown(&object, &BUDGET, found);
    let set = |limit: Option<f64>| limit.filter(|limit| *limit > 0.0);
    Budget {
        runtime_ms_max: set(object.amount("max_runtime_minutes", found)).map(runtime_ms),
        llm_calls_max: object.count("max_llm_calls", found).filter(|calls| *calls > 0),
        cost_max: set(object.amount("max_cost_usd", found)).map(|usd| cost(usd, &object, found)),
        // Beyond what can be counted it is the most that can, as with the others; no node lets so many be.
        missions_max: object
            .count("max_missions", found)
            .filter(|missions| *missions > 0)
            .map(|missions| u32::try_from(missions).unwrap_or(u32::MAX)),
    }
}

/// A limit is rounded down, but one that was set stays one: a run time of nothing would read as "none set".
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and the cast saturates")]
fn runtime_ms(minutes: f64) -> u64 {
    // The nudge undoes binary fractions: 8.2 * 60,000 is 491,999.99999999994.
    ((minutes * 60_000.0 + 1e-6) as u64).max(1)
}

fn cost(usd: f64, budget: &Object<'_, '_>, found: &mut Findings) -> MicroUsd {
    MicroUsd::from_usd(usd).unwrap_or_else(|| {
        budget.warn_of_most("max_cost_usd", MicroUsd::MAX.0 / 1_000_000, found);
        MicroUsd::MAX
    })
}

fn window(top: &Object<'_, '_>, found: &mut Findings) -> Window {
    let object = top.object("/autonomy_window", found);
    warn_of_unknown(&object, &WINDOW, found);
    let window = Window { start_at: object.time("start_at", found), end_at: object.time("end_at", found) };
    if let (Some(start_at), Some(end_at)) = (window.start_at, window.end_at)
        && end_at <= start_at
    {
        found.wrong(object.at("end_at"), code::INVALID_WINDOW, "`end_at` must be later than `start_at`");
    }
    window
}

fn heartbeat(top: &Object<'_, '_>, found: &mut Findings) -> u32 {
    const NAME: &str = "heartbeat_interval_seconds";
    let range = limit::HEARTBEAT_SECONDS_MIN..=limit::HEARTBEAT_SECONDS_MAX;
    let Some(seconds) = top.count(NAME, found) else { return limit::HEARTBEAT_SECONDS };
    u32::try_from(seconds).ok().filter(|seconds| range.contains(seconds)).unwrap_or_else(|| {
        let detail = format!("`{NAME}` must be from {} to {}", range.start(), range.end());
        found.wrong(top.at(NAME), code::OUT_OF_RANGE, detail);
        limit::HEARTBEAT_SECONDS
    })
}

/// What becomes of it at the end of its window, and how often.
fn carry_over(top: &Object<'_, '_>, found: &mut Findings) -> (OnWindowEnd, u32) {
    const TIMES: &str = "carry_over_max";
    // What was accepted before these were fields may say anything there.
    let mut old = Findings::default();
    let found = if found.accepted { &mut old } else { found };
    let what = top.choice("on_window_end", &OnWindowEnd::ALL.map(|what| (what.as_str(), what)), found);
    let times = top.count(TIMES, found).unwrap_or(u64::from(limit::CARRY_OVER));
    let times = u32::try_from(times).ok().filter(|times| *times <= limit::CARRY_OVER_MAX).unwrap_or_else(|| {
        let detail = format!("`{TIMES}` must be from 0 to {}", limit::CARRY_OVER_MAX);
        found.wrong(top.at(TIMES), code::OUT_OF_RANGE, detail);
        limit::CARRY_OVER
    });
    (what.unwrap_or_default(), times)
}

/// What becomes of requests that nobody answers.
fn on_expiry(top: &Object<'_, '_>, found: &mut Findings) -> Option<OnExpiry> {
    // What was accepted before this was a field may say anything there.
    let mut old = Findings::default();
    let found = if found.accepted { &mut old } else { found };
    top.choice("on_expiry", &OnExpiry::ALL.map(|what| (what.as_str(), what)), found)
}

fn artifact_policy(top: &Object<'_, '_>, found: &mut Findings) -> (Vec<String>, StorageScope) {
    let object = top.object("/artifact_policy", found);
    warn_of_unknown(&object, &ARTIFACT_POLICY, found);
    let outputs = object.texts("required_outputs", found, output);
    let scopes =
        [("factory", StorageScope::Factory), ("shared", StorageScope::Shared), ("pushback", StorageScope::Pushback)];
    let scope = object.choice("storage_scope", &scopes, found).unwrap_or_default();
    if scope == StorageScope::Pushback && top.value("callback").is_none() {
        let detail = "`storage_scope` is pushback, so there must be a `callback` to upload to";
        found.wrong(top.at("callback"), code::REQUIRED, detail);
    }
    (outputs, scope)
}

fn callback(top: &Object<'_, '_>, found: &mut Findings) -> Option<Callback> {
    let object = top.object("/callback", found);
    if !object.is_there() {
        return None;
    }
    warn_of_unknown(&object, &CALLBACK, found);
    object.require("status_url", found);
    object.choice("auth_mode", &[("bearer", ())], found);
    let auth_ref = object.parsed("auth_ref", code::INVALID_SECRET_REF, found);
    if object.value("auth_ref").is_none() {
        found.odd("`/callback` has no `auth_ref`: events are sent without `Authorization`".to_owned());
    }
    let status_url = object.text("status_url", found).and_then(|text| {
        status_url(text).map_err(|detail| found.wrong(object.at("status_url"), code::INVALID_URL, detail)).ok()
    });
    Some(Callback { status_url: status_url?, auth_ref })
}

/// A URL that events can be sent to. The parser is that of browsers and mends what it can; what an envelope holds must be plain.
fn status_url(text: &str) -> Result<Url, &'static str> {
    let (scheme, rest) = text.split_once("://").unwrap_or_default();
    if !["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return Err("`status_url` must begin with http:// or https://");
    }
    if rest.is_empty() || rest.starts_with(['/', '?', '#']) {
        return Err("`status_url` must name a host");
    }
    if text.len() > limit::URL_BYTES_MAX || text.chars().any(|c| is_white(c) || c.is_control() || c == '\\') {
        return Err("`status_url` is too long, or holds white space or a backslash");
    }
    let url = Url::parse(text).map_err(|_| "`status_url` must be a URL")?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("`status_url` must not hold a user name or a password; a secret is named by `auth_ref`");
    }
    Ok(url)
}

fn inputs(top: &Object<'_, '_>, found: &mut Findings) -> Option<Arc<str>> {
    match top.value("inputs")? {
        inputs @ Json::Object(_) => {
            Some(serde_json::to_string(inputs).expect("a tree that was read can be written").into())
        }
        other => wrong_type(top.at("inputs"), "an object", other, found),
    }
}

/// Names of tools are made of these, those of MCP servers too. What holds anything else (`Bash(rm *)`) would never match, and a
/// ban that never matches is a hole.
/// A name with wildcards, and behind it a scope in parentheses. What a scope says, and which tools know one, is a policy of the core.
fn tool_pattern(text: &str) -> Result<(), &'static str> {
    let (name, scope) = text.split_once('(').map_or((text, ""), |(name, scope)| (name, scope));
    let is_name =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.:/*".contains(&byte));
    if is_name && !scope.contains(char::is_control) {
        Ok(())
    } else {
        Err(
            "a pattern of tools is a name, or holds `*` for any characters (A-Z a-z 0-9 _ - . : / *), or is a name with a scope, such as \
             `Read(docs/**)`",
        )
    }
}

/// A name that an artifact can have, or a glob of such names: what no artifact can satisfy would fail the mission at its end.
fn output(text: &str) -> Result<(), &'static str> {
    const DETAIL: &str = "a required output is a relative path without `.`, `..`, backslashes or control characters, or a glob of such paths";
    if !text.contains(['*', '?', '[', ']', '{', '}']) {
        return ArtifactName::new(text).map(drop).map_err(|_| DETAIL);
    }
    let plain = text.split('/').all(|segment| !matches!(segment, "" | "." | ".."));
    let readable = !text.chars().any(|c| c == '\\' || c.is_control());
    // Read as they are matched at the end: `*` stays within a folder.
    let valid = || GlobBuilder::new(text).literal_separator(true).build().is_ok();
    if plain && readable && valid() { Ok(()) } else { Err(DETAIL) }
}

fn refuse_unknown(object: &Object<'_, '_>, known: &[&str], found: &mut Findings) {
    for (key, place) in object.unknown(known) {
        let detail = format!("`{key}` is not a limit that this node can keep; known here are {}", known.join(", "));
        found.wrong(place, code::UNKNOWN_CONSTRAINT, detail);
    }
}

fn warn_of_unknown(object: &Object<'_, '_>, known: &[&str], found: &mut Findings) {
    for (key, place) in object.unknown(known) {
        found.odd(format!("`{key}` (at `{place}`) is not a field of the envelope: it is kept and has no effect"));
    }
}
