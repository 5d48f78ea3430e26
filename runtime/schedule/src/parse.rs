//! From the text of a schedule to a [`Schedule`]: what can be wrong with one, found all at once, each with its place.
//!
//! TOML and JSON become one tree, from which the fields are taken; a rule of a schedule is a line that can be read, beside the
//! field that it is about. What depends on a time is not said here: the same text must be the same schedule tomorrow.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::civil::{Date, DateTime};
use jiff::{SignedDuration, Timestamp};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use sortie_contract::envelope::OnWindowEnd;
use sortie_contract::mistake::code;
use sortie_contract::{MissionId, Mistake, Pointer, id, limit, time};

use crate::code::{INVALID_EXPRESSION, NEVER_FIRES, NOT_TOML, TOO_FREQUENT, UNKNOWN_ZONE, WINDOW_TOO_LONG};
use crate::exclusion::{Calendars, Exclusions, is_calendar};
use crate::expression::{Expression, ExpressionError};
use crate::fields::{Found, Table};
use crate::policy::{CatchUpPolicy, OnFold, OnGap, Overlap};
use crate::recurrence::{Interval, Moment, Recurrence};
use crate::schedule::Schedule;
use crate::zone::{self, Zone};

/// How a schedule is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A file of an operator.
    Toml,
    /// A body over HTTP, or what was kept.
    Json,
}

/// The keys of a schedule.
pub(crate) const KEYS: [&str; 23] = [
    "id",
    "zone",
    "at",
    "every",
    "offset",
    "once",
    "except",
    "on_gap",
    "on_fold",
    "start_at",
    "end_at",
    "runs",
    "opens_for",
    "on_window_end",
    "carry_over_max",
    "overlap",
    "catch_up",
    "catch_up_policy",
    "jitter",
    "pause_after_failures",
    "allow_frequent",
    "note",
    "mission",
];
/// Beside [`KEYS`], for templates.
pub(crate) const VARS: &str = "vars";

/// Most expressions of one schedule: each is asked for its next time whenever one is due.
const EXPRESSIONS_MAX: usize = 100;
/// The room that a fire's time takes in its mission's id: `:20261125T020000Z`.
const TIME_BYTES: usize = 17;
/// The longest name of a schedule.
pub(crate) const ID_BYTES_MAX: usize = limit::ID_BYTES_MAX - TIME_BYTES;
/// What an envelope has and the template of a schedule has not: it is made of the fire, or said of the schedule.
pub(crate) const NOT_OF_A_TEMPLATE: [&str; 5] =
    ["mission_id", "idempotency_key", "autonomy_window", "on_window_end", "carry_over_max"];
/// What is made up for where nothing else is said: a day, so that a night is not lost to a restart.
const CATCH_UP: Duration = Duration::from_secs(86_400);
/// How many fires are looked at for the shortest time between two.
const PERIODS: usize = 1_000;

impl Schedule {
    /// Reads a schedule. Calendars that it names have to be among `calendars`.
    ///
    /// # Errors
    /// All the mistakes in it, at most [`limit::MISTAKES_MAX`].
    pub fn parse(text: &str, form: Form, calendars: &Calendars) -> Result<Self, Vec<Mistake>> {
        let definition = document(text, form).map_err(|mistake| vec![mistake])?;
        Self::of(definition, calendars)
    }

    /// The schedule of nothing but an expression and a zone, for whoever asks when it would fire. It may fire each second.
    ///
    /// # Errors
    /// What is wrong with them: at `/at`, at `/zone`.
    pub fn of_expression(expression: &str, zone: &str) -> Result<Self, Vec<Mistake>> {
        let fields = [("id", "expression"), ("zone", zone), ("at", expression)];
        let mut definition: Map<String, Value> =
            fields.into_iter().map(|(key, text)| (key.to_owned(), Value::from(text))).collect();
        definition.insert("allow_frequent".to_owned(), Value::Bool(true));
        definition.insert("mission".to_owned(), Value::Object(Map::new()));
        Self::of(definition, &Calendars::none())
    }

    /// The calendars that a text names, for whoever reads their files before they are handed to [`Schedule::parse`]. Of a text that
    /// is no schedule there are none.
    #[must_use]
    pub fn calendars(text: &str, form: Form) -> Vec<String> {
        let Ok(definition) = document(text, form) else { return vec![] };
        let entries = Table(&definition).texts("except", &mut Found::default());
        entries.into_iter().filter(|(_, entry)| is_calendar(entry)).map(|(_, entry)| entry.trim().to_owned()).collect()
    }

    fn of(definition: Map<String, Value>, calendars: &Calendars) -> Result<Self, Vec<Mistake>> {
        let mut found = Found::default();
        let table = Table(&definition);
        let known: Vec<&str> = KEYS.into_iter().chain([VARS]).collect();
        table.refuse_unknown(&known, &mut found);
        let id = schedule_id(table, &mut found);
        let allow_frequent = table.flag("allow_frequent", &mut found).unwrap_or(false);
        let recurrence = recurrence(table, calendars, allow_frequent, &mut found);
        let window_ends = OnWindowEnd::ALL.map(|what| (what.as_str(), what));
        let catch_ups = [("all", CatchUpPolicy::All), ("last", CatchUpPolicy::Last), ("none", CatchUpPolicy::None)];
        let schedule = Self {
            id: id.unwrap_or_default(),
            opens_for: opens_for(table, &mut found),
            on_window_end: table.choice("on_window_end", &window_ends, &mut found).unwrap_or_default(),
            carry_over_max: table
                .count("carry_over_max", 0, limit::CARRY_OVER_MAX, &mut found)
                .unwrap_or(limit::CARRY_OVER),
            overlap: table
                .choice("overlap", &Overlap::ALL.map(|overlap| (overlap.as_str(), overlap)), &mut found)
                .unwrap_or_default(),
            catch_up: table.duration("catch_up", &mut found).unwrap_or(CATCH_UP),
            catch_up_policy: table.choice("catch_up_policy", &catch_ups, &mut found).unwrap_or_default(),
            jitter: table.duration("jitter", &mut found).unwrap_or_default(),
            pause_after_failures: table.count("pause_after_failures", 1, u32::MAX, &mut found),
            runs: table.count("runs", 1, u32::MAX, &mut found),
            allow_frequent,
            note: note(table, &mut found),
            recurrence,
            definition: Box::default(),
        };
        table.table(VARS, &mut found);
        mission(table, &mut found);
        schedule.hold_against_itself(table, &mut found);
        if !found.0.is_empty() {
            return Err(found.told());
        }
        Ok(Self { definition: Value::Object(definition).to_string().into(), ..schedule })
    }

    /// The rules that are about several fields.
    fn hold_against_itself(&self, table: Table<'_>, found: &mut Found) {
        if self.opens_for.is_some_and(|open| self.jitter >= open) && !self.jitter.is_zero() {
            let detail = "`jitter` must be shorter than `opens_for`: a fire must not come when its window is over";
            found.wrong(table.at("jitter"), code::OUT_OF_RANGE, detail);
        }
        if self.recurrence.end.is_some_and(|end| self.recurrence.start.is_some_and(|start| start >= end)) {
            found.wrong(table.at("end_at"), code::INVALID_WINDOW, "`end_at` must be later than `start_at`");
        } else if found.0.is_empty() && self.recurrence.next(Timestamp::MIN).is_none() {
            let detail = "never fires: `except`, `start_at` and `end_at` leave none of its times";
            found.wrong(Pointer::root(), NEVER_FIRES, detail);
        }
        let Some(open) = self.opens_for.filter(|_| self.overlap == Overlap::BufferAll && found.0.is_empty()) else {
            return;
        };
        if let Some(period) = self.shortest_period().filter(|period| open > *period) {
            let detail = format!(
                "a window of {open:?} is longer than the {period:?} between two fires, so that with `overlap = \"buffer_all\"` \
                 ever more of them can wait: write a shorter one, or another `overlap`"
            );
            found.wrong(table.at("opens_for"), WINDOW_TOO_LONG, detail);
        }
    }

    /// The shortest time between two fires, by a clock that runs evenly.
    fn shortest_period(&self) -> Option<Duration> {
        let even = Recurrence { zone: Zone::utc(), except: Exclusions::default(), ..self.recurrence.clone() };
        let mut last = even.next(Timestamp::UNIX_EPOCH)?.at;
        let mut shortest: Option<i64> = None;
        for _ in 0..PERIODS {
            let Some(next) = even.next(last) else { break };
            let period = next.at.as_second() - last.as_second();
            shortest = Some(shortest.map_or(period, |shortest| shortest.min(period)));
            last = next.at;
        }
        shortest.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs)
    }
}

fn document(text: &str, form: Form) -> Result<Map<String, Value>, Mistake> {
    let root = Pointer::root();
    match form {
        Form::Json => match serde_json::from_str::<Unique>(text) {
            Ok(Unique(Value::Object(table))) => Ok(table),
            Ok(_) => Err(Mistake::new(root, code::WRONG_TYPE, "a schedule must be an object")),
            Err(error) => Err(Mistake::new(root, code::NOT_JSON, format!("the text is no JSON: {error}"))),
        },
        Form::Toml => {
            let table = toml::Table::from_str(text)
                .map_err(|error| Mistake::new(root, NOT_TOML, format!("the text is no TOML: {error}")))?;
            Ok(table.into_iter().map(|(key, value)| (key, of_toml(value))).collect())
        }
    }
}

/// A value of TOML as JSON says it: dates and times are texts.
fn of_toml(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => Value::from(number),
        toml::Value::Float(number) => Value::from(number),
        toml::Value::Boolean(flag) => Value::Bool(flag),
        toml::Value::Datetime(time) => Value::String(time.to_string()),
        toml::Value::Array(list) => Value::Array(list.into_iter().map(of_toml).collect()),
        toml::Value::Table(table) => {
            Value::Object(table.into_iter().map(|(key, value)| (key, of_toml(value))).collect())
        }
    }
}

/// JSON in which no object has a key twice: two readers could see two schedules.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_any(Uniquely).map(Self)
    }
}

struct Uniquely;

impl<'de> Visitor<'de> for Uniquely {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut list = vec![];
        while let Some(Unique(value)) = seq.next_element()? {
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut table = Map::new();
        while let Some((key, Unique(value))) = map.next_entry::<String, Unique>()? {
            if table.contains_key(&key) {
                let key: String = key.chars().take(limit::QUOTE_BYTES_MAX / 4).collect();
                return Err(A::Error::custom(format_args!("the key `{key}` is there twice")));
            }
            table.insert(key, value);
        }
        Ok(Value::Object(table))
    }
}

fn schedule_id(table: Table<'_>, found: &mut Found) -> Option<String> {
    let at = table.at("id");
    if table.value("id").is_none() {
        found.wrong(at, code::REQUIRED, "`id` is required: a name for the schedule, which its missions begin with");
        return None;
    }
    let id = table.text("id", found)?;
    let most = ID_BYTES_MAX;
    let (code, detail) = match MissionId::new(id) {
        Ok(_) if id::is_reserved(id) => (
            code::RESERVED,
            format!("`id` must not be `{id}`: it is a word of the API's paths, under which it could not be found"),
        ),
        Ok(_) if id.len() > most => (
            code::TOO_LONG,
            format!("`id` must not be longer than {most} bytes: its missions add the time of their fire to it"),
        ),
        Ok(_) => return Some(id.to_owned()),
        Err(error) => (code::INVALID_CHARACTER, format!("`id` {error}")),
    };
    found.wrong(at, code, detail);
    None
}

fn zone(table: Table<'_>, found: &mut Found) -> Option<Zone> {
    let at = table.at("zone");
    match table.value("zone") {
        Some(_) => {
            let name = table.text("zone", found)?;
            Zone::named(name).map_err(|error| found.wrong(at, UNKNOWN_ZONE, error.to_string())).ok()
        }
        None => {
            let local = ["at", "once", "except"].into_iter().find(|name| table.value(name).is_some());
            if let Some(local) = local {
                let detail = format!(
                    "`zone` is required beside `{local}`: write a name such as \"America/Chicago\", or \"UTC\""
                );
                found.wrong(at, code::REQUIRED, detail);
                return None;
            }
            Some(Zone::utc())
        }
    }
}

fn recurrence(table: Table<'_>, calendars: &Calendars, allow_frequent: bool, found: &mut Found) -> Recurrence {
    let mistakes = found.0.len();
    let zone = zone(table, found).unwrap_or_else(Zone::utc);
    let zone_is_known = found.0.len() == mistakes;
    let on_gap = table.choice("on_gap", &[("end", OnGap::End), ("skip", OnGap::Skip)], found).unwrap_or_default();
    let on_fold =
        table.choice("on_fold", &[("first", OnFold::First), ("both", OnFold::Both)], found).unwrap_or_default();
    let expressions = expressions(table, allow_frequent, found);
    let intervals = intervals(table, allow_frequent, found);
    // In a zone that is not known no time can be said to be left out.
    let once = if zone_is_known { once(table, &zone, on_gap, on_fold, found) } else { vec![] };
    if ["at", "every", "once"].into_iter().all(|name| is_empty(table.value(name))) {
        let detail = "a schedule needs `at` (expressions), `every` (a duration) or `once` (times)";
        found.wrong(table.at("at"), code::REQUIRED, detail);
    }
    let except = table.texts("except", found);
    let except = Exclusions::parse(&except, calendars, &mut found.0);
    let start = bound(table, "start_at", &zone, found);
    let end = bound(table, "end_at", &zone, found);
    Recurrence { zone, expressions, intervals, once, except, on_gap, on_fold, start, end }
}

fn is_empty(value: Option<&Value>) -> bool {
    value.is_none_or(|value| value.as_array().is_some_and(Vec::is_empty))
}

fn expressions(table: Table<'_>, allow_frequent: bool, found: &mut Found) -> Vec<Expression> {
    let texts = table.texts("at", found);
    if texts.len() > EXPRESSIONS_MAX {
        let detail = format!("`at` has {} expressions; {EXPRESSIONS_MAX} are the most", texts.len());
        found.wrong(table.at("at"), code::TOO_LONG, detail);
        return vec![];
    }
    let mut expressions = vec![];
    for (at, text) in texts {
        match Expression::parse(text) {
            Ok(expression) if expression.fires_within_a_minute() && !allow_frequent => {
                let detail = format!(
                    "`{text}` fires more often than once a minute: write five fields, or `allow_frequent = true`"
                );
                found.wrong(at, TOO_FREQUENT, detail);
            }
            Ok(expression) => expressions.push(expression),
            Err(error) => {
                let code = if error == ExpressionError::Never { NEVER_FIRES } else { INVALID_EXPRESSION };
                let quoted: String = text.chars().take(limit::QUOTE_BYTES_MAX).collect();
                found.wrong(at, code, format!("`{quoted}` {error}"));
            }
        }
    }
    expressions
}

fn intervals(table: Table<'_>, allow_frequent: bool, found: &mut Found) -> Vec<Interval> {
    let every = table.duration("every", found);
    let offset = table.duration("offset", found);
    let Some(every) = every else {
        if offset.is_some() && table.value("every").is_none() {
            found.wrong(table.at("every"), code::REQUIRED, "`every` is required beside `offset`");
        }
        return vec![];
    };
    let offset = offset.unwrap_or_default();
    let whole = |duration: Duration| i64::try_from(duration.as_secs()).ok().filter(|_| duration.subsec_nanos() == 0);
    let (Some(seconds), Some(offset)) = (whole(every), whole(offset)) else {
        let name = if whole(every).is_none() { "every" } else { "offset" };
        found.wrong(table.at(name), code::NOT_WHOLE, format!("`{name}` must be of whole seconds"));
        return vec![];
    };
    if seconds == 0 {
        found.wrong(table.at("every"), code::OUT_OF_RANGE, "`every` must be longer than nothing");
    } else if seconds < 60 && !allow_frequent {
        let detail = "fires more often than once a minute: write \"1m\" or more, or `allow_frequent = true`";
        found.wrong(table.at("every"), TOO_FREQUENT, detail);
    } else if offset >= seconds {
        let detail = "`offset` must be shorter than `every`: it says when within each turn";
        found.wrong(table.at("offset"), code::OUT_OF_RANGE, detail);
    } else {
        return vec![Interval { every: seconds, offset }];
    }
    vec![]
}

/// A time as it is written: of the schedule's zone, or with an offset.
enum Written {
    Local(DateTime),
    Instant(Timestamp),
}

fn written(text: &str) -> Result<Written, String> {
    if let Ok(instant) = time::rfc3339(text) {
        return Ok(Written::Instant(instant));
    }
    let shaped = text.len() >= "2026-12-01T02:00".len()
        && text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b':' | b'T' | b'.'));
    let local: Option<DateTime> = shaped.then(|| text.parse().ok()).flatten();
    local.map(Written::Local).ok_or_else(|| {
        let text: String = text.chars().take(limit::QUOTE_BYTES_MAX).collect();
        format!(
            "`{text}` is no time: write one of the schedule's zone such as \"2026-12-01T02:00:00\", or one with an offset such as \
             \"2026-12-01T02:00:00-06:00\""
        )
    })
}

fn once(table: Table<'_>, zone: &Zone, on_gap: OnGap, on_fold: OnFold, found: &mut Found) -> Vec<Moment> {
    let mut moments = vec![];
    for (at, text) in table.texts("once", found) {
        match written(text) {
            Ok(Written::Instant(instant)) if instant.subsec_nanosecond() == 0 => {
                moments.push(Moment { at: instant.as_second(), moved: false });
            }
            Ok(Written::Local(local)) if local.subsec_nanosecond() == 0 => {
                let wall = zone::wall(local);
                let left_out = zone.leaves_out(wall);
                if left_out && on_gap == OnGap::Skip {
                    let detail = format!("`{text}` never fires: the clock of {} leaves this time out", zone.name());
                    found.wrong(at, NEVER_FIRES, detail);
                    continue;
                }
                let (first, second) = zone.instants(wall);
                moments.push(Moment { at: first, moved: left_out });
                let second = second.filter(|_| on_fold == OnFold::Both);
                moments.extend(second.map(|second| Moment { at: second, moved: false }));
            }
            Ok(_) => found.wrong(at, code::INVALID_TIME, format!("`{text}`: fires are of whole seconds")),
            Err(detail) => found.wrong(at, code::INVALID_TIME, detail),
        }
    }
    moments.sort_by_key(|moment| (moment.at, moment.moved));
    moments.dedup_by_key(|moment| moment.at);
    moments
}

fn bound(table: Table<'_>, name: &str, zone: &Zone, found: &mut Found) -> Option<Timestamp> {
    let text = table.text(name, found)?;
    // A day begins and ends at midnight.
    let day = Date::from_str(text).ok().filter(|_| text.len() == "2026-12-01".len());
    match day.map_or_else(|| written(text), |day| Ok(Written::Local(day.at(0, 0, 0, 0)))) {
        Ok(Written::Instant(instant)) => Some(instant),
        Ok(Written::Local(local)) => {
            let nanoseconds = i64::from(local.subsec_nanosecond());
            zone::second(zone.instant(zone::wall(local))).checked_add(SignedDuration::from_nanos(nanoseconds)).ok()
        }
        Err(detail) => {
            found.wrong(table.at(name), code::INVALID_TIME, detail);
            None
        }
    }
}

fn opens_for(table: Table<'_>, found: &mut Found) -> Option<Duration> {
    let open = table.duration("opens_for", found)?;
    if open.is_zero() {
        let detail = "`opens_for` must be longer than nothing; leave it out for a window that does not close";
        found.wrong(table.at("opens_for"), code::OUT_OF_RANGE, detail);
        return None;
    }
    Some(open)
}

fn note(table: Table<'_>, found: &mut Found) -> Option<String> {
    let note = table.text("note", found)?;
    if note.len() > limit::NOTE_BYTES_MAX {
        let detail = format!("`note` must not be longer than {} bytes", limit::NOTE_BYTES_MAX);
        found.wrong(table.at("note"), code::TOO_LONG, detail);
        return None;
    }
    Some(note.to_owned())
}

fn mission(table: Table<'_>, found: &mut Found) {
    if table.value("mission").is_none() {
        let detail = "`mission` is required: the envelope of the missions that it makes";
        found.wrong(table.at("mission"), code::REQUIRED, detail);
    }
    let Some(mission) = table.table("mission", found) else { return };
    for name in NOT_OF_A_TEMPLATE.into_iter().filter(|name| mission.contains_key(*name)) {
        let detail = match name {
            "on_window_end" | "carry_over_max" => {
                format!("`{name}` is said of the schedule: write it beside `opens_for`")
            }
            _ => format!("`{name}` is made of the schedule's id and the time of the fire: leave it out"),
        };
        found.wrong(table.at("mission").join(name), code::RESERVED, detail);
    }
}
