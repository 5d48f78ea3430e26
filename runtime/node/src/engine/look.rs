//! What anybody may see of missions: state, events, lists. Only what is on disk is shown.

use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::{Value, json};
use sortie_contract::envelope::Window;
use sortie_contract::{Event, MissionNo, Stamped, Status};
use sortie_journal::{Cursor, Head};
use sortie_mission::{Mission, effective_budget};

use super::intake::accepted;
use super::outbox::keys_of;
use super::{Engine, ReadError, begin};

/// Some events of a mission, and what comes after them.
pub(crate) struct Events {
    pub(crate) events: Vec<Event>,
    /// There are further ones already.
    pub(crate) more: bool,
    /// There will be none.
    pub(crate) over: bool,
}

/// What a list is narrowed to. Empty takes everything.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    pub(crate) statuses: Vec<String>,
    pub(crate) mission_type: Option<String>,
    pub(crate) vp_id: Option<String>,
    pub(crate) vp_session_id: Option<String>,
    pub(crate) trace_id: Option<String>,
    pub(crate) created_after: Option<sortie_contract::Timestamp>,
    /// A text that the id, the objective or the last summary holds, in any case.
    pub(crate) q: Option<String>,
}

impl Filter {
    fn takes(&self, head: &Head) -> bool {
        let is = |wanted: &Option<String>, actual: &str| wanted.as_deref().is_none_or(|wanted| wanted == actual);
        (self.statuses.is_empty() || self.statuses.iter().any(|status| status == head.status.as_str()))
            && is(&self.mission_type, head.mission_type.as_str())
            && is(&self.vp_id, head.vp.as_str())
            && is(&self.vp_session_id, head.session.as_str())
            && is(&self.trace_id, head.trace_id.as_str())
            && self.created_after.is_none_or(|after| head.accepted_at > after)
    }
}

/// Heads that are read at once.
const SCAN_CHUNK: usize = 1_000;

/// Missions looked at between two pages; a filter that matches little must not hold a thread for ever.
const SCAN_MAX: usize = 50_000;

impl Engine {
    /// A page of missions, newest first, and where the next page begins.
    pub(crate) fn list(
        &self,
        filter: &Filter,
        mut before: Option<MissionNo>,
        limit: usize,
    ) -> Result<(Vec<Value>, Option<MissionNo>), ReadError> {
        let mut items = Vec::new();
        let mut scanned = 0;
        loop {
            let page = self.journal.heads_newest_first(before, limit.max(200))?;
            let Some(&(last, _)) = page.last() else { return Ok((items, None)) };
            scanned += page.len();
            for (no, head) in page {
                if !filter.takes(&head) {
                    continue;
                }
                // One may be removed while it is looked for.
                let Some((mission, records)) = self.read_kept(no)? else { continue };
                if !filter.q.as_deref().is_none_or(|q| mentions(&mission, q)) {
                    continue;
                }
                items.push(self.view(no, &mission, &records)?);
                if items.len() == limit {
                    return Ok((items, (no.0 > 1).then_some(no)));
                }
            }
            before = Some(last);
            if scanned >= SCAN_MAX {
                return Ok((items, before));
            }
        }
    }

    /// A mission, unless it has been removed.
    fn read_kept(&self, no: MissionNo) -> Result<Option<(Mission, Vec<Stamped>)>, ReadError> {
        match self.read(no) {
            Err(ReadError::Unknown) => Ok(None),
            read => read.map(Some),
        }
    }

    /// The state of a mission.
    pub(crate) fn show(&self, no: MissionNo) -> Result<Value, ReadError> {
        let (mission, records) = self.read(no)?;
        self.view(no, &mission, &records)
    }

    fn view(&self, no: MissionNo, mission: &Mission, records: &[Stamped]) -> Result<Value, ReadError> {
        let envelope = mission.envelope();
        let accepted = accepted(records).ok_or(ReadError::NoEnvelope)?;
        // A mission that runs is a little older than its last record.
        let usage = match self.lives.get(no) {
            Some(live) => mission.usage(live.now(self)),
            None => mission.usage(self.now(mission.ran_ms())),
        };
        let criteria: Vec<Value> = mission
            .criteria()
            .map(|criterion| {
                json!({"criterion": criterion.text, "verdict": criterion.verdict, "evidence": criterion.evidence})
            })
            .collect();
        let delivery = self.delivery(no, mission, records)?;
        Ok(json!({
            "mission_id": envelope.mission_id,
            "vp_id": envelope.vp_id,
            "vp_session_id": mission.session(),
            "vp_runtime_id": mission.lane(),
            "mission_type": envelope.mission_type,
            "objective": envelope.objective,
            "trace_id": envelope.trace_id,
            "source_instance_id": envelope.source_instance_id,
            "idempotency_key": envelope.idempotency_key,
            "status": mission.status(),
            "reason": mission.reason(),
            "summary": mission.last_summary(),
            "next_action": mission.next_action(),
            "usage": usage,
            "effective_budget": effective_budget(mission.budget()),
            "autonomy_window": window(&envelope.window),
            "pending_requests": requests(mission),
            "criteria": criteria,
            "artifacts": artifacts(mission),
            "plugin": plugin(mission),
            "delivery": delivery,
            "warnings": accepted.warnings,
            "sequence": mission.sequence(),
            "accepted_at": records.first().map(|first| first.at),
            "started_at": mission.started_at(),
            "ended_at": mission.ended_at(),
            "created_at": envelope.created_at,
            "links": Links(envelope.mission_id.as_str()),
        }))
    }

    /// How far its deliveries are; null where nothing is delivered.
    fn delivery(&self, no: MissionNo, mission: &Mission, records: &[Stamped]) -> Result<Value, ReadError> {
        if mission.envelope().callback.is_none() {
            return Ok(Value::Null);
        }
        let total = mission.outgoing();
        Ok(match self.journal.cursor(no)? {
            None => json!({"state": "delivered", "delivered": total, "skipped": [], "total": total}),
            Some(cursor) => json!({
                "state": state_of(&cursor),
                "delivered": delivered(&cursor),
                "skipped": keys_of(records, &cursor.skipped)?,
                "total": total,
                "attempts": cursor.attempts,
                "error": cursor.parked,
            }),
        })
    }

    /// The first events of a mission with a sequence above `after`, at most `limit`. Each lists all artifacts of its mission: no
    /// more of them are made than are wanted.
    pub(crate) fn events(&self, no: MissionNo, after: u64, limit: usize) -> Result<Events, ReadError> {
        let records = self.journal.read(no)?;
        let (first, rest) = records.split_first().ok_or(ReadError::Unknown)?;
        let mut mission = begin(first)?;
        let mut events = Vec::new();
        if mission.sequence() > after {
            events.extend(mission.event_of(first));
        }
        for record in rest {
            let before = mission.sequence();
            mission.apply(record)?;
            let is_wanted = mission.sequence() > before.max(after);
            if is_wanted && events.len() >= limit {
                return Ok(Events { events, more: true, over: false });
            }
            if is_wanted {
                events.extend(mission.event_of(record));
            }
        }
        Ok(Events { events, more: false, over: mission.status().is_final() })
    }

    /// Events of the whole node that were recorded after the position `after`, each with its position, and the position up
    /// to which the log was read.
    pub(crate) fn events_after(&self, after: u64, limit: usize) -> Result<(Vec<(u64, Event)>, u64), ReadError> {
        let mut events = Vec::new();
        let mut read = after;
        for entry in self.journal.feed_after(after, limit)? {
            read = entry.position;
            let records = self.journal.read(entry.mission)?;
            // A mission that has outlived its use has no events any more.
            let Some((first, rest)) = records.split_first() else { continue };
            let mut mission = begin(first)?;
            let wanted = entry.first..entry.first + entry.count;
            let begun = events.len();
            if wanted.contains(&0) {
                events.extend(mission.event_of(first).map(|event| (entry.position, event)));
            }
            for (index, record) in (1..).zip(rest).take_while(|(index, _)| *index < wanted.end) {
                mission.apply(record)?;
                if wanted.contains(&index) {
                    events.extend(mission.event_of(record).map(|event| (entry.position, event)));
                }
            }
            // Who breaks off within a frame gets the whole of it again: only its last event moves the position.
            if let Some((_, but_last)) = events[begun..].split_last_mut() {
                but_last.iter_mut().for_each(|(position, _)| *position -= 1);
            }
        }
        Ok((events, read))
    }

    /// A page of open requests, newest mission first, each with whose it is; and where the next page begins.
    pub(crate) fn requests(
        &self,
        mut before: Option<MissionNo>,
        limit: usize,
    ) -> Result<(Vec<Value>, Option<MissionNo>), ReadError> {
        let mut items = Vec::new();
        loop {
            let page = self.journal.heads_newest_first(before, SCAN_CHUNK)?;
            let Some(&(last, _)) = page.last() else { return Ok((items, None)) };
            for (no, _) in page.into_iter().filter(|(_, head)| head.status == Status::Blocked) {
                let (mission, _) = self.read(no)?;
                let id = &mission.envelope().mission_id;
                items.extend(requests(&mission).into_iter().map(|mut request| {
                    request["mission_id"] = json!(id);
                    request["objective"] = json!(mission.envelope().objective);
                    request["answer_at"] = json!(format!(
                        "/v1/missions/{id}/requests/{}",
                        request["request_id"].as_str().unwrap_or_default()
                    ));
                    request
                }));
                if items.len() >= limit {
                    return Ok((items, (no.0 > 1).then_some(no)));
                }
            }
            before = Some(last);
        }
    }

    /// A page of missions with undelivered items, or of those in one state.
    pub(crate) fn deliveries(
        &self,
        state: Option<&str>,
        after: Option<MissionNo>,
        limit: usize,
    ) -> Result<(Vec<Value>, Option<MissionNo>), ReadError> {
        let mut items = Vec::new();
        let cursors =
            if state == Some(INCOMPLETE) { self.journal.incomplete()? } else { self.journal.undelivered()? };
        for (no, cursor) in cursors.into_iter().filter(|(no, _)| after.is_none_or(|after| *no > after)) {
            if state.is_some_and(|state| state != state_of(&cursor)) {
                continue;
            }
            let Some((mission, records)) = self.read_kept(no)? else { continue };
            if cursor.acked >= mission.outgoing() && !cursor.closed {
                continue;
            }
            items.push(json!({
                "mission_id": mission.envelope().mission_id,
                "state": state_of(&cursor),
                "status_url": mission.envelope().callback.as_ref().map(|callback| callback.status_url.as_str()),
                "delivered": delivered(&cursor),
                "skipped": keys_of(&records, &cursor.skipped)?,
                "waiting": mission.outgoing() - cursor.acked,
                "attempts": cursor.attempts,
                "error": cursor.parked,
            }));
            if items.len() == limit {
                return Ok((items, Some(no)));
            }
        }
        Ok((items, None))
    }
}

/// The state of deliveries that are done with, though not all of them were made.
const INCOMPLETE: &str = "incomplete";

fn state_of(cursor: &Cursor) -> &'static str {
    match cursor {
        Cursor { closed: true, .. } => INCOMPLETE,
        Cursor { parked: Some(_), .. } => "parked",
        Cursor { .. } => "pending",
    }
}

/// How many items a receiver has taken.
fn delivered(cursor: &Cursor) -> u64 {
    cursor.acked.saturating_sub(cursor.skipped.len() as u64)
}

fn mentions(mission: &Mission, q: &str) -> bool {
    let q = q.to_lowercase();
    let envelope = mission.envelope();
    [envelope.mission_id.as_str(), &envelope.objective, mission.last_summary()]
        .iter()
        .any(|text| text.to_lowercase().contains(&q))
}

/// Milliseconds as the contract's minutes.
#[expect(clippy::cast_precision_loss, reason = "run times stay far below 2^53 milliseconds")]
pub(crate) fn minutes(ms: u64) -> f64 {
    ms as f64 / 60_000.0
}

fn window(window: &Window) -> Value {
    json!({"start_at": window.start_at, "end_at": window.end_at})
}

fn plugin(mission: &Mission) -> Value {
    let plugin = mission.plugin();
    json!({"name": plugin.name, "version": plugin.version, "digest": plugin.digest.to_string()})
}

/// The artifacts of a mission, as its index shows them.
pub(crate) fn artifacts(mission: &Mission) -> Vec<Value> {
    mission.artifacts().iter().map(|artifact| mission.artifact_view(artifact)).collect()
}

/// What it asks of people.
pub(crate) fn requests(mission: &Mission) -> Vec<Value> {
    mission.open_requests().iter().filter_map(|request| mission.request_view(request.no)).collect()
}

/// A record, for people and for replays.
pub(crate) fn record(number: u64, stamped: &Stamped) -> Value {
    let mut fields = serde_json::to_value(&stamped.record).expect("a record is plain data");
    // Variants without fields are bare names.
    let (kind, body) = match fields.as_object_mut().and_then(|variant| variant.iter_mut().next()) {
        Some((kind, body)) => (kind.clone(), body.take()),
        None => (fields.as_str().unwrap_or_default().to_owned(), json!({})),
    };
    json!({"record": number, "at": stamped.at, "ran_ms": stamped.ran_ms, "kind": snake_case(&kind), "body": body})
}

/// The record that [`record`] shows.
pub(crate) fn parse_record(shown: &Value) -> Option<Stamped> {
    let (kind, body) = (pascal_case(shown["kind"].as_str()?), shown["body"].clone());
    let as_unit = || serde_json::from_value(json!(kind)).ok();
    let record = serde_json::from_value(json!({ kind.as_str(): body })).ok().or_else(as_unit)?;
    Some(Stamped { at: serde_json::from_value(shown["at"].clone()).ok()?, ran_ms: shown["ran_ms"].as_u64()?, record })
}

fn pascal_case(name: &str) -> String {
    let capital = |word: &str| word[..1].to_uppercase() + &word[1..];
    name.split('_').filter(|word| !word.is_empty() && word.is_ascii()).map(capital).collect()
}

fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

/// Where the rest of the mission of that id is.
pub(crate) struct Links<'a>(pub(crate) &'a str);

impl Serialize for Links<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let own = format_args!("/v1/missions/{}", self.0);
        let mut links = serializer.serialize_map(None)?;
        links.serialize_entry("self", &own)?;
        for part in ["events", "journal", "artifacts", "cancel"] {
            links.serialize_entry(part, &format_args!("{own}/{part}"))?;
        }
        links.end()
    }
}
