//! Missions over HTTP: dispatch, lists, state, journal, cancel.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};
use schemars::JsonSchema;
use serde::de;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};
use sortie_contract::envelope::MissionType;
use sortie_contract::{MissionNo, Mistake, Pointer, Status, limit};

use super::answers::PIECE_ROOM;
use super::auth::Holder;
use super::body::{Unread, too_large};
use super::error::Problem;
use super::forward::{self, Asked};
use super::query::{Cursor, Moment, NoParameters, PageSize, Query};
use super::tries::Tries;
use super::{App, Body};
use sortie_engine::Engine;
use sortie_engine::intake::{DispatchError, Dispatched};
use sortie_engine::look;
use sortie_engine::search::Filter;
use sortie_engine::shown::{Acted, BudgetView, EffectiveWindowView, ExplainedView, Links};

/// Items of a page, unless the client asks for another number.
const PAGE: usize = 50;
/// Lines of a batch that are on their way to the disk together: enough to fill a group commit.
const BATCH_IN_FLIGHT: usize = 256;
/// Records of a journal that are read and written out at a time, in bytes of the journal.
const JOURNAL_PIECE: usize = 128 << 10;
/// How long the sender of a batch may be silent. It may have to make the next line first, and it has shown its token.
const BATCH_SILENCE: Duration = Duration::from_secs(300);

/// `POST /v1/missions`
pub(super) async fn dispatch(State(app): State<App>, asked: Asked, Body(body): Body) -> Result<Response, Problem> {
    let mut tries = Tries::default();
    let dispatched = loop {
        match taken(&app.engine, "single", text(&body)?, asked.is_forwarded()).await {
            Err(DispatchError::Elsewhere(member)) => {
                if let Some(answer) = tries.send(&app, &asked, &member, body.clone()).await {
                    return answer;
                }
            }
            dispatched => break dispatched?,
        }
    };
    let status = if dispatched.replayed { StatusCode::OK } else { StatusCode::ACCEPTED };
    let mut response = (status, Json(Answer::of(&dispatched, &app.engine))).into_response();
    if dispatched.replayed {
        response.headers_mut().insert(HeaderName::from_static("idempotent-replayed"), HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// Dispatches an envelope, and measures how long that takes. One that another node has sent on is meant for this one.
pub(crate) async fn taken(
    engine: &Arc<Engine>,
    how: &'static str,
    envelope: String,
    is_forwarded: bool,
) -> Result<Dispatched, DispatchError> {
    let begun = engine.ambient().steady();
    let dispatched = if is_forwarded { engine.dispatch_here(envelope).await } else { engine.dispatch(envelope).await };
    let took = engine.ambient().steady().saturating_sub(begun);
    let (outcome, trace_id) = match &dispatched {
        Ok(Dispatched { replayed: false, trace_id, .. }) => ("accepted", trace_id.as_str()),
        Ok(Dispatched { trace_id, .. }) => ("replayed", trace_id.as_str()),
        Err(DispatchError::Elsewhere(_)) => return dispatched,
        Err(_) => ("refused", ""),
    };
    engine.measured().dispatches.took(how, outcome, took, trace_id);
    dispatched
}

/// `POST /v1/explain`
pub(super) async fn explain(State(app): State<App>, Body(body): Body) -> Result<Json<ExplainedView>, Problem> {
    Ok(Json(app.engine.explain(&text(&body)?).await?))
}

/// `POST /v1/missions/batch`: a line in, a line out, in order.
pub(super) async fn batch(State(app): State<App>, asked: Asked, body: axum::body::Body) -> Response {
    let (limit, asked) = (app.body_bytes, Arc::new(asked));
    let lines = Lines { body: body.into_data_stream(), rest: BytesMut::new(), seen: 0, limit, ended: false };
    let answers =
        futures_util::stream::unfold(lines, |mut lines| async move { lines.next().await.map(|line| (line, lines)) })
            .map(move |line| {
                let (app, asked) = (app.clone(), Arc::clone(&asked));
                async move {
                    let engine = &app.engine;
                    let mut tries = Tries::default();
                    let dispatched = loop {
                        let envelope = match line.as_deref().map_err(Problem::clone).and_then(text) {
                            Ok(envelope) => envelope,
                            Err(problem) => break Err(problem),
                        };
                        match taken(engine, "batch", envelope, asked.is_forwarded()).await {
                            Err(DispatchError::Elsewhere(member)) => {
                                let sent = line.clone().unwrap_or_default();
                                if let Some(answer) = tries.send(&app, &asked.dispatch(), &member, sent).await {
                                    return Ok(forward::line(answer).await);
                                }
                            }
                            dispatched => break dispatched.map_err(Problem::from),
                        }
                    };
                    let answer = dispatched.as_ref().map(|dispatched| Answer {
                        replayed: Some(dispatched.replayed),
                        ..Answer::of(dispatched, engine)
                    });
                    let mut line = match answer {
                        Ok(answer) => serde_json::to_string(&answer).expect("texts and numbers"),
                        Err(problem) => problem.body().to_string(),
                    };
                    line.push('\n');
                    Ok::<_, std::convert::Infallible>(line)
                }
            })
            .buffered(BATCH_IN_FLIGHT);
    ([(header::CONTENT_TYPE, "application/x-ndjson")], axum::body::Body::from_stream(answers)).into_response()
}

/// The lines of a body that is never held whole. Each byte is looked at once, in however many pieces it comes.
struct Lines<S> {
    body: S,
    rest: BytesMut,
    /// So much of the rest is known to hold no end of a line.
    seen: usize,
    limit: usize,
    ended: bool,
}

impl<S> Lines<S>
where
    S: Stream<Item = Result<Bytes, axum::Error>> + Unpin,
{
    async fn next(&mut self) -> Option<Result<Bytes, Problem>> {
        loop {
            if let Some(end) = self.rest[self.seen..].iter().position(|&byte| byte == b'\n') {
                let line = self.rest.split_to(self.seen + end + 1).freeze();
                self.seen = 0;
                match trimmed(&line) {
                    line if line.is_empty() => continue,
                    line => return Some(Ok(line)),
                }
            }
            self.seen = self.rest.len();
            if self.ended {
                self.seen = 0;
                let line = trimmed(&std::mem::take(&mut self.rest).freeze());
                return (!line.is_empty()).then_some(Ok(line));
            }
            if self.rest.len() > self.limit {
                self.end();
                return Some(Err(too_large(self.limit)));
            }
            let error = match tokio::time::timeout(BATCH_SILENCE, self.body.next()).await {
                Ok(Some(Ok(chunk))) => {
                    self.rest.extend_from_slice(&chunk);
                    continue;
                }
                Ok(None) => {
                    self.ended = true;
                    continue;
                }
                Ok(Some(Err(error))) => Unread::Broken(error),
                Err(_) => Unread::TooSlow,
            };
            self.end();
            return Some(Err(error.into()));
        }
    }

    /// Nothing that may still come is a line.
    fn end(&mut self) {
        self.ended = true;
        self.rest.clear();
        self.seen = 0;
    }
}

/// A part of the line, without a copy.
fn trimmed(line: &Bytes) -> Bytes {
    line.slice_ref(line.trim_ascii())
}

fn text(body: &[u8]) -> Result<String, Problem> {
    std::str::from_utf8(body).map(str::to_owned).map_err(|error| {
        let detail = format!("the body is no UTF-8 text from byte {} on", error.valid_up_to());
        DispatchError::Invalid(vec![Mistake::new(Pointer::root(), "not_json", detail)]).into()
    })
}

/// The answer to a dispatch that was taken.
// There are many of them: it is written out as it stands, without a `Value`.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Dispatched", deny_unknown_fields)]
pub(super) struct Answer<'a> {
    mission_id: &'a str,
    vp_id: &'a str,
    vp_session_id: &'a str,
    vp_runtime_id: &'a str,
    status: Status,
    effective_budget: BudgetView,
    /// What the hours of its lane and of the node leave of its window; null where that is nothing.
    effective_window: Option<EffectiveWindowView>,
    warnings: &'a [String],
    links: Links,
    /// Whether it had been accepted before: in a batch, where no header can say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    replayed: Option<bool>,
}

impl<'a> Answer<'a> {
    fn of(dispatched: &'a Dispatched, engine: &Engine) -> Self {
        let reply = &dispatched.reply;
        Self {
            mission_id: reply.mission_id.as_str(),
            vp_id: reply.vp_id.as_str(),
            vp_session_id: reply.session.as_str(),
            vp_runtime_id: reply.lane.as_str(),
            status: reply.status,
            effective_budget: BudgetView::from(&reply.budget),
            effective_window: engine.window_of_dispatched(reply),
            warnings: &reply.warnings,
            links: Links::of(reply.mission_id.as_str()),
            replayed: None,
        }
    }
}

/// Which missions are listed.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct MissionsQuery {
    /// Only missions in one of these statuses; several with commas.
    status: Vec<Status>,
    /// Only missions of this type.
    mission_type: Option<MissionType>,
    /// Only missions of this VP.
    vp_id: Option<String>,
    /// Only missions of this session.
    vp_session_id: Option<String>,
    /// Only missions of this lane.
    vp_runtime_id: Option<String>,
    /// Only missions that this one has dispatched.
    parent: Option<String>,
    /// Only missions of this trace.
    trace_id: Option<String>,
    /// Only missions that fit this search: terms such as `status:failed lane:coder since:yesterday cost:>1 "a text"`; words without a
    /// key are looked for in the id, and at the beginning of the objective and the summary.
    q: Option<String>,
    /// Only missions that were accepted after this time.
    created_after: Option<Moment>,
    /// Where to go on: the `next_cursor` of the page before.
    cursor: Option<Cursor>,
    /// Most items of the page. More than 500 are never on one.
    limit: Option<PageSize>,
}

/// `GET /v1/missions`
pub(super) async fn list(State(app): State<App>, Query(query): Query<MissionsQuery>) -> Result<Response, Problem> {
    let MissionsQuery { cursor, limit, .. } = query;
    let search = app.engine.search(query.q.as_deref().unwrap_or_default());
    let filter = Filter {
        statuses: query.status,
        mission_type: query.mission_type.map(|kind| kind.as_str().to_owned()),
        vp_id: query.vp_id,
        vp_session_id: query.vp_session_id,
        vp_runtime_id: query.vp_runtime_id,
        parent: query.parent,
        trace_id: query.trace_id,
        search: search.map_err(|misread| Problem::bad_request(format!("`q` cannot be understood: {misread}")))?,
        created_after: query.created_after.map(|Moment(after)| after),
    };
    let (before, size) = (cursor.map(|Cursor(no)| no), limit.map_or(PAGE, |PageSize(size)| size));
    app.shown(move |engine| engine.list(&filter, before, size)).await
}

/// As of when a mission is shown.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ShowQuery {
    /// As of its record of this number, counted from 1, instead of now.
    at: Option<RecordNo>,
}

/// The number of a record.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(transparent)]
struct RecordNo(#[schemars(range(min = 1))] u32);

impl<'de> Deserialize<'de> for RecordNo {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let no = String::deserialize(source)?.parse().ok().filter(|no| *no > 0);
        no.map(Self).ok_or_else(|| de::Error::custom("the number of a record, from 1 on"))
    }
}

/// `GET /v1/missions/{id}`
pub(super) async fn show(
    State(app): State<App>,
    Path(id): Path<String>,
    Query(query): Query<ShowQuery>,
) -> Result<Response, Problem> {
    let no = app.mission(id).await?;
    match query.at {
        None => app.shown(move |engine| engine.show(no)).await,
        Some(RecordNo(at)) => app.shown(move |engine| engine.past(no, at)).await,
    }
}

/// `GET /v1/missions/{id}/why`
pub(super) async fn why(State(app): State<App>, Path(id): Path<String>, _: NoParameters) -> Result<Response, Problem> {
    let no = app.mission(id).await?;
    app.shown(move |engine| engine.why(no)).await
}

/// `GET /v1/missions/{id}/journal`: written out as it is read, so that nobody ever holds all of it.
pub(super) async fn journal(
    State(app): State<App>,
    Path(id): Path<String>,
    _: NoParameters,
) -> Result<Response, Problem> {
    let no = app.mission(id).await?;
    let mut pieces = Pieces { app, no, next: 0, state: Piece::First };
    // What is wrong at once is still an answer of its own.
    let first = pieces.next().await?;
    let rest = futures_util::stream::unfold(pieces, |mut pieces| async move {
        match pieces.next().await {
            Ok(None) => None,
            Ok(Some(piece)) => Some((Ok(piece), pieces)),
            Err(problem) => {
                tracing::warn!(no = %pieces.no, problem = %problem.body(), "a journal is shown in part only");
                pieces.state = Piece::None;
                Some((Err(std::io::Error::other("the journal cannot be read on")), pieces))
            }
        }
    });
    let body = futures_util::stream::iter(first.map(Ok)).chain(rest);
    Ok(([(header::CONTENT_TYPE, "application/json")], axum::body::Body::from_stream(body)).into_response())
}

/// The pieces of a mission's journal as JSON.
struct Pieces {
    app: App,
    no: MissionNo,
    /// The number of the next record, from 0.
    next: u32,
    state: Piece,
}

/// Which piece comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    First,
    Further,
    None,
}

impl Pieces {
    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        if self.state == Piece::None {
            return Ok(None);
        }
        let (no, next, is_first) = (self.no, self.next, self.state == Piece::First);
        let room = self.app.answers.room(PIECE_ROOM).await?;
        let read = self.app.reading(move |engine| {
            let records = engine.log().read(no, next, JOURNAL_PIECE)?;
            let (mut json, mut no) = (Vec::with_capacity(JOURNAL_PIECE), next);
            if is_first {
                json.extend_from_slice(b"{\"items\":[");
            }
            for stamped in &records {
                if no > 0 {
                    json.push(b',');
                }
                serde_json::to_writer(&mut json, &look::record(u64::from(no) + 1, stamped)).expect("plain data");
                no = stamped.next_no(no);
            }
            if records.is_empty() {
                json.extend_from_slice(b"],\"next_cursor\":null}");
            }
            Ok((json, no))
        });
        let (json, behind) = read.await?;
        let is_end = behind == self.next;
        self.next = behind;
        self.state = if is_end { Piece::None } else { Piece::Further };
        self.app.answers.hold(json, room).await.map(Some)
    }
}

/// `POST /v1/missions/{id}/cancel`
pub(super) async fn cancel(
    State(app): State<App>,
    Extension(holder): Extension<Holder>,
    Path(id): Path<String>,
    Body(body): Body,
) -> Result<Response, Problem> {
    let reason = cancel_reason(&body)?;
    let named = id.clone();
    let no = app.mission(id).await?;
    let by = holder.name.to_string();
    let cancelled = app.to_the_end(move |engine| async move { engine.cancel(no, reason, by).await }).await?;
    let state = app.state_for(&holder, no).await?;
    match (cancelled, state) {
        (Ok(()), Some(state)) => Ok((StatusCode::ACCEPTED, Json(state)).into_response()),
        (Ok(()), None) => Ok((StatusCode::ACCEPTED, Json(Acted::on(&named, Some(Status::Cancelled)))).into_response()),
        (Err(error), state) => Err(Problem::from(error).with_state(state)),
    }
}

/// What keeping a mission may hold.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Keep {
    /// False leaves it to retention again.
    keep: bool,
}

impl Default for Keep {
    fn default() -> Self {
        Self { keep: true }
    }
}

/// `POST /v1/missions/{id}/keep`
pub(super) async fn keep(
    State(app): State<App>,
    Extension(holder): Extension<Holder>,
    Path(id): Path<String>,
    Body(body): Body,
) -> Result<Response, Problem> {
    let Keep { keep } = super::form::form(&body)?;
    let named = id.clone();
    let no = app.mission(id).await?;
    let by = holder.name.to_string();
    app.to_the_end(move |engine| async move { engine.keep_mission(no, keep, by).await }).await??;
    Ok(match app.state_for(&holder, no).await? {
        Some(state) => Json(state).into_response(),
        None => Json(Acted::on(&named, None)).into_response(),
    })
}

/// The body of a cancel.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "it describes what is read by hand, so that mistakes are told with their place")]
#[schemars(deny_unknown_fields)]
pub(super) struct Cancel {
    /// Why; it stands in the final event.
    #[schemars(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// The reason in the body of a cancel: none, or `{"reason": "…"}`.
pub(super) fn cancel_reason(body: &[u8]) -> Result<String, Problem> {
    if body.trim_ascii().is_empty() {
        return Ok(String::new());
    }
    let (body, mut mistakes) = super::body::json(body, "empty or {\"reason\": \"…\"}")?;
    let mut complain = |pointer, code, detail: String| mistakes.push(Mistake::new(pointer, code, detail));
    let mut reason = String::new();
    if !body.is_object() {
        let detail = "the body must be empty, or an object such as {\"reason\": \"…\"}";
        complain(Pointer::root(), "wrong_type", detail.to_owned());
    }
    for (key, value) in body.as_object().into_iter().flatten().take(limit::MISTAKES_MAX) {
        let key = limit::clip(key, limit::QUOTE_BYTES_MAX);
        let place = Pointer::root().join(&key);
        match (key.as_str(), value) {
            ("reason", Value::Null) => {}
            ("reason", Value::String(text)) => reason.clone_from(text),
            ("reason", _) => complain(place, "wrong_type", "`reason` must be a text".to_owned()),
            _ => complain(place, "unknown_key", format!("`{key}` is no field of a cancel; the only one is `reason`")),
        }
    }
    if mistakes.is_empty() {
        return Ok(reason);
    }
    let detail = mistakes.iter().map(|mistake| mistake.detail.as_str()).collect::<Vec<_>>().join("; ");
    Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_cancel", detail).with("errors", json!(mistakes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of a body that comes in these pieces, or the code of what is wrong with them.
    async fn lines(pieces: Vec<&'static [u8]>, limit: usize) -> Vec<String> {
        let body = futures_util::stream::iter(pieces.into_iter().map(|piece| Ok(Bytes::from_static(piece))));
        let mut lines = Lines { body, rest: BytesMut::new(), seen: 0, limit, ended: false };
        let mut all = Vec::new();
        while let Some(line) = lines.next().await {
            all.push(match line {
                Ok(line) => String::from_utf8_lossy(&line).into_owned(),
                Err(problem) => problem.body()["code"].to_string(),
            });
        }
        all
    }

    #[tokio::test]
    async fn lines_come_out_whole_in_whatever_pieces_they_came() {
        let bytes = b" ab\r\n\n  \ncde\nf";
        for size in 1..=bytes.len() {
            assert_eq!(lines(bytes.chunks(size).collect(), 8).await, ["ab", "cde", "f"], "pieces of {size}");
        }
        assert_eq!(lines(vec![b"ab\n", b"cdefgh", b"ijk", b"l\nm\n"], 8).await, ["ab", "\"too_large\""]);
        assert_eq!(lines(vec![], 8).await, [""; 0]);
    }

    #[tokio::test]
    async fn each_byte_of_a_line_is_looked_at_once() {
        // A line in a million pieces: looked at anew with each of them, it would be a matter of minutes.
        static LINE: [u8; 1 << 20] = [b'x'; 1 << 20];
        assert_eq!(lines(LINE.chunks(1).collect(), 2 << 20).await, [String::from_utf8_lossy(&LINE)]);
    }

    #[test]
    fn the_body_of_a_cancel_is_a_reason_or_nothing() {
        for (body, expected) in [
            ("", Ok("")),
            (" \n", Ok("")),
            ("{}", Ok("")),
            ("{\"reason\": null}", Ok("")),
            ("{\"reason\": \"late\"}", Ok("late")),
            ("null", Err("must be empty, or an object")),
            ("[]", Err("must be empty, or an object")),
            ("{\"reason\": 5}", Err("`reason` must be a text")),
            ("{\"reson\": \"late\"}", Err("`reson` is no field")),
            ("{", Err("must be empty or")),
        ] {
            let said = cancel_reason(body.as_bytes()).map_err(|problem| problem.body()["detail"].to_string());
            match (said, expected) {
                (Ok(reason), Ok(expected)) => assert_eq!(reason, expected, "{body}"),
                (Err(detail), Err(expected)) => {
                    assert!(detail.contains(expected) && !detail.contains("struct"), "{body}: {detail}");
                }
                (said, _) => panic!("{body}: {said:?}"),
            }
        }
    }
}
