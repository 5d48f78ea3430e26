//! Schedules over HTTP: making, changing and removing them, what people do to them, and what became of their fires.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};
use sortie_contract::mistake::code;
use sortie_contract::{MissionId, Mistake, Pointer, limit};
use sortie_engine::schedules::{By, ScheduleError, State as Standing};
use sortie_engine::shown::{Either, FireView, Page, Planned, ScheduleLine, ScheduleView, UpcomingView};
use sortie_engine::{Engine, ReadError};
use sortie_schedule::{
    BackfillError, Calendars, Form, Order, Overlap, Schedule, partial_schedule_schema, schedule_schema, upcoming,
};

use super::auth::Holder;
use super::error::Problem;
use super::form::{choice, form, moment, unusable};
use super::query::{Flag, NoParameters, PageSize, Query};
use super::{App, Body};
use crate::config::Scope;

/// Schedules or fires of a page, unless the client asks for another number.
const PAGE: usize = 50;

/// Times of a preview, unless the client asks for another number, and at most.
const PREVIEW: usize = 10;
const PREVIEW_MAX: usize = 5_000;

/// Where a page of schedules begins: behind the one of this name.
#[derive(Debug, JsonSchema)]
#[schemars(transparent)]
pub(super) struct AfterId(String);

impl<'de> Deserialize<'de> for AfterId {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        // The name of a schedule is the beginning of its missions'.
        let id = MissionId::new(String::deserialize(source)?);
        id.map(|id| Self(id.to_string())).map_err(|_| de::Error::custom("the `next_cursor` of a page"))
    }
}

/// Where a page of fires begins: before the one of this number.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(transparent)]
pub(super) struct BeforeNo(#[schemars(with = "String")] u64);

impl<'de> Deserialize<'de> for BeforeNo {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let text = String::deserialize(source)?;
        let no = text.parse().ok().filter(|no: &u64| *no > 0 && no.to_string() == text);
        no.map(Self).ok_or_else(|| de::Error::custom("the `next_cursor` of a page"))
    }
}

/// Which page of schedules.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct SchedulesQuery {
    /// Where to go on: the `next_cursor` of the page before.
    cursor: Option<AfterId>,
    /// Most items of the page. More than 500 are never on one.
    limit: Option<PageSize>,
}

/// Which page of fires.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct FiresQuery {
    /// Where to go on: the `next_cursor` of the page before.
    cursor: Option<BeforeNo>,
    /// Most items of the page. More than 500 are never on one.
    limit: Option<PageSize>,
}

/// How a schedule is made or changed.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ChangeQuery {
    /// `true`: only say whether the node would take it; nothing is done.
    dry_run: Option<Flag>,
}

/// Texts of calendars, by the names that `except` has.
type Texts = BTreeMap<String, String>;

/// A schedule that is sent, and the calendars that it names.
struct Sent {
    schedule: Schedule,
    calendars: Texts,
}

/// What making a schedule takes: the schedule, and the calendars that it names.
pub(super) fn made(_: &mut SchemaGenerator) -> Schema {
    with_calendars(schedule_schema())
}

/// The same of a change: the path names it.
pub(super) fn revised(_: &mut SchemaGenerator) -> Schema {
    with_calendars(partial_schedule_schema(&["mission"]))
}

fn with_calendars(schema: Value) -> Schema {
    let mut schema = super::openapi::part(schema);
    schema["properties"]["calendars"] = json!({
        "type": ["object", "null"],
        "description": "The iCalendar files that `except` names, as texts.",
        "additionalProperties": {"type": "string"},
    });
    schema.try_into().expect("an object")
}

/// The schedule of a preview.
fn previewed(_: &mut SchemaGenerator) -> Schema {
    super::openapi::part(partial_schedule_schema(&[])).try_into().expect("an object")
}

/// A body that is a JSON object, less its field `calendars`.
fn object(body: &[u8]) -> Result<(Map<String, Value>, Texts), Problem> {
    let (value, mistakes) = super::body::json(body, "a schedule, as a JSON object")?;
    if !mistakes.is_empty() {
        return Err(invalid(&mistakes));
    }
    let wrong = |at: Pointer, detail: &str| invalid(&[Mistake::new(at, "wrong_type", detail)]);
    let Value::Object(mut fields) = value else {
        return Err(wrong(Pointer::root(), "a schedule is a JSON object"));
    };
    let calendars = match fields.remove("calendars") {
        None | Some(Value::Null) => Texts::new(),
        Some(calendars) => serde_json::from_value(calendars).map_err(|_| {
            wrong(
                Pointer::root().join("calendars"),
                "an object of texts: iCalendar files by the names that `except` has",
            )
        })?,
    };
    Ok((fields, calendars))
}

fn sent(body: &[u8]) -> Result<Sent, Problem> {
    let (fields, calendars) = object(body)?;
    read(fields, calendars)
}

fn read(fields: Map<String, Value>, calendars: Texts) -> Result<Sent, Problem> {
    let known = calendars.iter().fold(Calendars::none(), |all, (name, text)| all.with(name, text));
    let schedule = Schedule::parse(&Value::Object(fields).to_string(), Form::Json, &known)
        .map_err(|mistakes| invalid(&mistakes))?;
    Ok(Sent { schedule, calendars })
}

fn invalid(mistakes: &[Mistake]) -> Problem {
    let detail = match mistakes {
        [only] => format!("the schedule cannot be accepted: {only}"),
        all => format!("the schedule cannot be accepted: it has {} mistakes", all.len()),
    };
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_schedule", detail).with("errors", json!(mistakes))
}

impl From<ScheduleError> for Problem {
    fn from(error: ScheduleError) -> Self {
        let detail = error.to_string();
        match error {
            ScheduleError::Unknown => Self::not_found("such schedule"),
            ScheduleError::Exists(_) | ScheduleError::Elsewhere(_) => {
                Self::new(StatusCode::CONFLICT, "schedule_exists", detail)
            }
            ScheduleError::Revised(revision) => {
                Self::new(StatusCode::PRECONDITION_FAILED, "revised", detail).with("revision", json!(revision))
            }
            ScheduleError::Invalid(mistakes) => invalid(&mistakes),
            ScheduleError::TooMany(_) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "too_many_schedules", detail),
            ScheduleError::Backfill(
                BackfillError::Range | BackfillError::NoTimes | BackfillError::NotOver | BackfillError::TooLong,
            ) => unusable("from", code::OUT_OF_RANGE, &detail),
            ScheduleError::Trigger(_)
            | ScheduleError::Backfill(BackfillError::TooMany)
            | ScheduleError::Skipped
            | ScheduleError::Over => Self::new(StatusCode::CONFLICT, "refused", detail),
            ScheduleError::Journal(sortie_journal::WriteError::ScheduleMoved { .. }) => {
                Self::unavailable("overloaded", "somebody else changed the schedule at this moment; try again")
            }
            ScheduleError::Journal(error) => sortie_engine::act::ActError::Journal(error).into(),
            ScheduleError::Read(error) => error.into(),
            ScheduleError::Later(error) => error.into(),
        }
    }
}

/// A schedule, with its revision as its tag: for who may see it, else what says that something was done.
fn shown(status: StatusCode, holder: &Holder, state: &Standing, engine: &Engine) -> Response {
    let shown = if holder.may(Scope::Read) {
        Either::Whole(ScheduleView::of(state, engine.ambient().wall()))
    } else {
        Either::Part(Planned { id: state.schedule().id().to_owned(), revision: state.revision() })
    };
    (status, [(header::ETAG, format!("\"{}\"", state.revision()))], Json(shown)).into_response()
}

/// That somebody who says what missions are made may dispatch some.
pub(super) fn may_dispatch(holder: &Holder) -> Result<(), Problem> {
    if holder.may(Scope::Dispatch) { Ok(()) } else { Err(holder.lacks(Scope::Dispatch)) }
}

/// Who asks, and why: in as many words as are kept.
fn by(holder: &Holder, note: Option<String>) -> Result<By, Problem> {
    let note = note.unwrap_or_default();
    if note.len() > limit::NOTE_BYTES_MAX {
        let detail = format!("`note` must not be longer than {} bytes", limit::NOTE_BYTES_MAX);
        return Err(unusable("note", code::TOO_LONG, &detail));
    }
    Ok(By { who: holder.name.to_string(), note })
}

/// `GET /v1/schedules`
pub(super) async fn list(State(app): State<App>, Query(query): Query<SchedulesQuery>) -> Result<Response, Problem> {
    let size = query.limit.map_or(PAGE, |PageSize(size)| size);
    app.shown(move |engine| {
        let mut page = Page::<ScheduleLine>::new();
        let now = engine.ambient().wall();
        let mut last: Option<String> = None;
        for state in engine.schedules(query.cursor.as_ref().map(|AfterId(id)| id.as_str()), size + 1) {
            if page.is_full(size) {
                return Ok(page.followed_by(last));
            }
            page.push(&ScheduleLine::of(&state, now));
            last = Some(state.schedule().id().to_owned());
        }
        Ok(page)
    })
    .await
}

/// `POST /v1/schedules`
pub(super) async fn make(
    State(app): State<App>,
    Extension(holder): Extension<Holder>,
    Query(query): Query<ChangeQuery>,
    Body(body): Body,
) -> Result<Response, Problem> {
    may_dispatch(&holder)?;
    let Sent { schedule, calendars } = sent(&body)?;
    let by = by(&holder, schedule.note().map(str::to_owned))?;
    if query.dry_run.is_some_and(|Flag(dry)| dry) {
        app.engine.could_make_schedule(&schedule).await?;
        return Ok(Json(Planned { id: schedule.id().to_owned(), revision: 1 }).into_response());
    }
    let made = app.to_the_end(move |engine| async move { engine.make_schedule(schedule, calendars, by).await });
    Ok(shown(StatusCode::CREATED, &holder, &*made.await??, &app.engine))
}

/// `GET /v1/schedules/{id}`
pub(super) async fn show(
    State(app): State<App>,
    Extension(holder): Extension<Holder>,
    Path(id): Path<String>,
    _: NoParameters,
) -> Result<Response, Problem> {
    Ok(shown(StatusCode::OK, &holder, &*app.engine.schedule(&id)?, &app.engine))
}

/// `PUT /v1/schedules/{id}`, with `If-Match` of the revision.
pub(super) async fn revise(
    State(app): State<App>,
    Extension(holder): Extension<Holder>,
    Path(id): Path<String>,
    Query(query): Query<ChangeQuery>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Response, Problem> {
    may_dispatch(&holder)?;
    let revision = revision(&headers)?;
    let (mut fields, calendars) = object(&body)?;
    match fields.get("id") {
        None => drop(fields.insert("id".to_owned(), Value::from(id.as_str()))),
        Some(named) if *named == id.as_str() => {}
        Some(_) => {
            let detail = "it is the schedule of the path that is changed: write the same name, or none";
            return Err(invalid(&[Mistake::new(Pointer::root().join("id"), "unknown_value", detail)]));
        }
    }
    app.engine.schedule(&id)?;
    let Sent { schedule, calendars } = read(fields, calendars)?;
    let by = by(&holder, schedule.note().map(str::to_owned))?;
    if query.dry_run.is_some_and(|Flag(dry)| dry) {
        app.engine.could_revise_schedule(&schedule, revision).await?;
        return Ok(Json(Planned { id, revision: revision + 1 }).into_response());
    }
    let revise =
        app.to_the_end(move |engine| async move { engine.revise_schedule(schedule, calendars, revision, by).await });
    Ok(shown(StatusCode::OK, &holder, &*revise.await??, &app.engine))
}

/// The revision that `If-Match` names.
fn revision(headers: &HeaderMap) -> Result<u64, Problem> {
    let tag = headers.get(header::IF_MATCH).and_then(|tag| tag.to_str().ok()).map(str::trim);
    let number = tag.and_then(|tag| tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"').parse().ok());
    number.ok_or_else(|| {
        let detail =
            "`If-Match` must name the revision that is changed, such as \"3\": it is the `ETag` of the schedule";
        Problem::new(StatusCode::PRECONDITION_REQUIRED, "revision_required", detail)
    })
}

/// `DELETE /v1/schedules/{id}`
pub(super) async fn remove(
    State(app): State<App>,
    Path(id): Path<String>,
    _: NoParameters,
) -> Result<StatusCode, Problem> {
    app.to_the_end(move |engine| async move { engine.remove_schedule(&id).await }).await??;
    Ok(StatusCode::NO_CONTENT)
}

/// What a pause may hold.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Pause {
    /// Until then (RFC 3339); without it, until it is resumed.
    #[schemars(extend("format" = "date-time"))]
    until: Option<String>,
    /// Why.
    note: Option<String>,
}

/// What a resumption may hold.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Resume {
    /// Why.
    note: Option<String>,
}

/// What a trigger may hold.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Trigger {
    /// Another policy than the schedule's: `skip`, `buffer_one`, `buffer_all`, `cancel_other` or `allow_all`.
    #[schemars(schema_with = "overlaps")]
    overlap: Option<String>,
    /// Why.
    note: Option<String>,
}

/// What a backfill must hold.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Backfill {
    /// The first time (RFC 3339), included.
    #[schemars(extend("format" = "date-time"))]
    from: String,
    /// The last time, included.
    #[schemars(extend("format" = "date-time"))]
    to: String,
    /// `in_turn` (one after the other, which is the default) or `together`.
    #[serde(default)]
    #[schemars(schema_with = "orders")]
    order: Option<String>,
    /// Why.
    #[serde(default)]
    note: Option<String>,
}

/// The names of a choice, which may be left out.
fn names(names: impl IntoIterator<Item = &'static str>) -> Schema {
    let names: Vec<Value> = names.into_iter().map(Value::from).chain([Value::Null]).collect();
    json_schema!({"enum": names})
}

fn overlaps(_: &mut SchemaGenerator) -> Schema {
    names(Overlap::ALL.map(Overlap::as_str))
}

fn orders(_: &mut SchemaGenerator) -> Schema {
    names(ORDERS.map(|(name, _)| name))
}

/// The names of the orders of a backfill.
const ORDERS: [(&str, Order); 2] = [("in_turn", Order::InTurn), ("together", Order::Together)];

/// Has somebody do something to a schedule to its end.
async fn act<F>(app: App, holder: &Holder, act: impl FnOnce(Arc<Engine>) -> F) -> Result<Response, Problem>
where
    F: Future<Output = Result<Arc<Standing>, ScheduleError>> + Send + 'static,
{
    let state = app.to_the_end(act).await??;
    Ok(shown(StatusCode::OK, holder, &state, &app.engine))
}

/// `POST /v1/schedules/{id}/pause`
pub(super) async fn pause(
    State(app): State<App>,
    Extension(holder): Extension<Holder>,
    Path(id): Path<String>,
    Body(body): Body,
) -> Result<Response, Problem> {
    let Pause { until, note } = form(&body)?;
    let until = until.map(|until| moment("until", &until)).transpose()?;
    let by = by(&holder, note)?;
    act(app, &holder, move |engine| async move { engine.pause_schedule(&id, until, by).await }).await
}

/// `POST /v1/schedules/{id}/resume`
pub(super) async fn resume(
    State(app): State<App>,
    Extension(holder): Extension<Holder>,
    Path(id): Path<String>,
    Body(body): Body,
) -> Result<Response, Problem> {
    let by = by(&holder, form::<Resume>(&body)?.note)?;
    act(app, &holder, move |engine| async move { engine.resume_schedule(&id, by).await }).await
}

/// `POST /v1/schedules/{id}/trigger`
pub(super) async fn trigger(
    State(app): State<App>,
    Extension(holder): Extension<Holder>,
    Path(id): Path<String>,
    Body(body): Body,
) -> Result<Response, Problem> {
    let Trigger { overlap, note } = form(&body)?;
    let overlap = choice("overlap", overlap.as_deref(), &Overlap::ALL.map(|overlap| (overlap.as_str(), overlap)))?;
    let by = by(&holder, note)?;
    act(app, &holder, move |engine| async move { engine.trigger_schedule(&id, overlap, by).await }).await
}

/// `POST /v1/schedules/{id}/backfill`
pub(super) async fn backfill(
    State(app): State<App>,
    Extension(holder): Extension<Holder>,
    Path(id): Path<String>,
    Body(body): Body,
) -> Result<Response, Problem> {
    let Backfill { from, to, order, note } = form(&body)?;
    let (from, to) = (moment("from", &from)?, moment("to", &to)?);
    let order = choice("order", order.as_deref(), &ORDERS)?.unwrap_or_default();
    let by = by(&holder, note)?;
    act(app, &holder, move |engine| async move { engine.backfill_schedule(&id, from, to, order, by).await }).await
}

/// `GET /v1/schedules/{id}/fires`
pub(super) async fn fires(
    State(app): State<App>,
    Path(id): Path<String>,
    Query(query): Query<FiresQuery>,
) -> Result<Response, Problem> {
    app.engine.schedule(&id)?;
    let size = query.limit.map_or(PAGE, |PageSize(size)| size);
    app.shown(move |engine| {
        let mut page = Page::<FireView>::new();
        let mut last: Option<u64> = None;
        let fires = match engine.fires(&id, query.cursor.map(|BeforeNo(no)| no), size + 1) {
            Ok(fires) => fires,
            // It was removed meanwhile.
            Err(ScheduleError::Read(error)) => return Err(error),
            Err(_) => return Err(ReadError::Unknown),
        };
        for (no, entry) in fires {
            if page.is_full(size) {
                return Ok(page.followed_by(last));
            }
            page.push(&FireView::of(no, entry));
            last = Some(no);
        }
        Ok(page)
    })
    .await
}

/// What a preview takes: a schedule, how many of its times, and from when on.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Preview {
    /// The schedule. Its `id` and its `mission` may be left out: only its times are looked at, and what making it would refuse of them is
    /// refused.
    #[schemars(schema_with = "previewed")]
    schedule: Map<String, Value>,
    /// The calendars that it names, by name.
    #[serde(default)]
    calendars: Texts,
    /// So many times, from 1 to 5,000; without it, 10.
    #[serde(default)]
    #[schemars(range(min = 1, max = 5_000))]
    count: Option<usize>,
    /// Those after this moment (RFC 3339); without it, after now.
    #[serde(default)]
    #[schemars(extend("format" = "date-time"))]
    from: Option<String>,
}

/// `POST /v1/schedules/preview`
pub(super) async fn preview(State(app): State<App>, Body(body): Body) -> Result<Json<Vec<UpcomingView>>, Problem> {
    let Preview { mut schedule, calendars, count, from } = form(&body)?;
    schedule.entry("id").or_insert_with(|| Value::from("shown"));
    schedule.entry("mission").or_insert_with(|| json!({}));
    let count = count.unwrap_or(PREVIEW);
    if !(1..=PREVIEW_MAX).contains(&count) {
        return Err(unusable("count", code::OUT_OF_RANGE, &format!("`count` must be from 1 to {PREVIEW_MAX}")));
    }
    let from = match from {
        Some(from) => moment("from", &from)?,
        None => app.engine.ambient().wall(),
    };
    let Sent { schedule, .. } = read(schedule, calendars)?;
    let shown = move || match &schedule.check(from)[..] {
        [] => Ok(Json(upcoming(&schedule, from, count).iter().map(UpcomingView::of).collect())),
        mistakes => Err(invalid(mistakes)),
    };
    tokio::task::spawn_blocking(shown).await.map_err(|error| Problem::task_failed(&error))?
}
