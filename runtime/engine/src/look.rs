//! What anybody may see of missions: state, events, lists. Only what is on disk is shown, and each answer has a most.

use serde_json::{Value, json};
use sortie_contract::{MissionNo, Stamped, Status, limit};
use sortie_journal::{Cursor, Head};
use sortie_mission::Mission;

use super::outbox::key_of;
use super::shown::{
    ArtifactView, BudgetView, CriterionView, DeliveryState, DeliveryView, LISTED_BYTES_MAX, Links, MissionView,
    OpenRequestView, PAGE_BYTES_MAX, Page, PluginName, RecordView, RequestView, SessionView, UndeliveredView,
    WindowView,
};
use super::views::{Events, Fold, Next, Shown};
use super::{Engine, ReadError};

/// What a list is narrowed to. Empty takes everything.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Any of these statuses.
    pub statuses: Vec<String>,
    /// This type.
    pub mission_type: Option<String>,
    /// This VP.
    pub vp_id: Option<String>,
    /// This session.
    pub vp_session_id: Option<String>,
    /// This trace.
    pub trace_id: Option<String>,
    /// Accepted after this moment.
    pub created_after: Option<sortie_contract::Timestamp>,
    /// A text that the id, the objective or the last summary holds, in any case.
    pub q: Option<String>,
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
    /// A page of missions, newest first.
    pub fn list(
        &self,
        filter: &Filter,
        mut before: Option<MissionNo>,
        limit: usize,
    ) -> Result<Page<MissionView>, ReadError> {
        let mut page = Page::new();
        let mut scanned = 0;
        loop {
            let heads = self.log.heads_newest_first(before, limit.max(200))?;
            let Some(&(last, _)) = heads.last() else { return Ok(page) };
            scanned += heads.len();
            for (no, head) in heads {
                if !filter.takes(&head) {
                    continue;
                }
                // One may be removed while it is looked for.
                let Some(view) = self.listed(no, filter.q.as_deref())? else { continue };
                page.push(&view);
                if page.is_full(limit) {
                    return Ok(page.followed_by((no.0 > 1).then_some(no)));
                }
            }
            before = Some(last);
            if scanned >= SCAN_MAX {
                return Ok(page.followed_by(before));
            }
        }
    }

    /// A mission as a list shows it, unless it has been removed or does not mention `q`.
    fn listed(&self, no: MissionNo, q: Option<&str>) -> Result<Option<MissionView>, ReadError> {
        let view = self.view(no, |fold| {
            if !q.is_none_or(|q| mentions(&fold.mission, q)) {
                return Ok(None);
            }
            let mut view = self.mission_view(fold)?;
            cut(&mut view.objective);
            cut(&mut view.summary);
            Ok(Some(view))
        });
        match view {
            Err(ReadError::Unknown) => Ok(None),
            view => view,
        }
    }

    /// The state of a mission.
    pub fn show(&self, no: MissionNo) -> Result<MissionView, ReadError> {
        self.view(no, |fold| self.mission_view(fold))
    }

    fn mission_view(&self, fold: &Fold) -> Result<MissionView, ReadError> {
        let mission = &fold.mission;
        let envelope = mission.envelope();
        // A mission that runs is a little older than its last record.
        let usage = match self.lives.get(fold.no) {
            Some(live) => mission.usage(live.now(self)),
            None => mission.usage(self.now(mission.ran_ms())),
        };
        let criteria = mission.criteria().map(|criterion| CriterionView {
            criterion: criterion.text.to_owned(),
            verdict: criterion.verdict,
            evidence: criterion.evidence.to_owned(),
        });
        Ok(MissionView {
            mission_id: envelope.mission_id.to_string(),
            vp_id: envelope.vp_id.to_string(),
            vp_session_id: mission.session().to_string(),
            vp_runtime_id: mission.lane().to_string(),
            mission_type: envelope.mission_type,
            objective: envelope.objective.clone(),
            trace_id: envelope.trace_id.to_string(),
            source_instance_id: envelope.source_instance_id.to_string(),
            idempotency_key: envelope.idempotency_key.to_string(),
            status: mission.status(),
            reason: mission.reason(),
            summary: mission.last_summary().to_owned(),
            next_action: mission.next_action().map(str::to_owned),
            usage,
            effective_budget: BudgetView::from(mission.budget()),
            autonomy_window: WindowView::from(&envelope.window),
            pending_requests: requests(mission),
            criteria: criteria.collect(),
            artifacts: artifacts(mission),
            plugin: PluginName::from(mission.plugin()),
            delivery: self.delivery(fold)?,
            warnings: fold.warnings.to_vec(),
            sequence: mission.sequence(),
            accepted_at: fold.accepted_at,
            started_at: mission.started_at(),
            ended_at: mission.ended_at(),
            created_at: envelope.created_at,
            links: Links::of(envelope.mission_id.as_str()),
        })
    }

    /// How far its deliveries are; nothing where nothing is delivered.
    fn delivery(&self, fold: &Fold) -> Result<Option<DeliveryView>, ReadError> {
        if fold.mission.envelope().callback.is_none() {
            return Ok(None);
        }
        let total = fold.mission.outgoing();
        Ok(Some(match self.log.cursor(fold.no)? {
            None => DeliveryView {
                state: DeliveryState::Delivered,
                delivered: total,
                skipped: Vec::new(),
                total,
                attempts: 0,
                error: None,
            },
            Some(cursor) => DeliveryView {
                state: state_of(&cursor),
                delivered: delivered(&cursor),
                skipped: self.keys_of(fold.no, &cursor.skipped)?,
                total,
                attempts: cursor.attempts,
                error: cursor.parked,
            },
        }))
    }

    /// The keys of some of a mission's outgoing items, by their numbers.
    fn keys_of(&self, no: MissionNo, items: &[u64]) -> Result<Vec<String>, ReadError> {
        if items.is_empty() {
            return Ok(Vec::new());
        }
        let mut keys = Vec::new();
        let mut before = 0;
        let mut add = |mission: &Mission, record: &Stamped| {
            let numbers = before + 1..=mission.outgoing();
            before = mission.outgoing();
            if numbers.clone().any(|item| items.contains(&item)) {
                let numbered = numbers.zip(mission.outgoing_of(record)).filter(|(item, _)| items.contains(item));
                keys.extend(numbered.map(|(item, outgoing)| key_of(mission.envelope(), item, &outgoing)));
            }
            Next::More
        };
        self.advance(no, &mut None, &mut add)?;
        Ok(keys)
    }

    /// The first events of a mission with a sequence above `after`: at most `limit`, and no more than fit on a page. Each lists
    /// all artifacts of its mission: no more of them are made than are wanted.
    pub fn events(&self, no: MissionNo, after: u64, limit: usize) -> Result<Events, ReadError> {
        let mut fold = self.views.take(no, |mission| mission.sequence() <= after);
        let mut events = self.next_events(no, &mut fold, after, limit, PAGE_BYTES_MAX)?;
        if events.more {
            let (mut ahead, here) = (fold.clone(), events.events.last().map_or(after, |last| last.id));
            let further =
                |mission: &Mission, _: &Stamped| if mission.sequence() > here { Next::Enough } else { Next::More };
            events.more = !self.advance(no, &mut ahead, further)?;
        }
        self.views.keep(fold);
        Ok(events)
    }

    /// Events of the whole node that were recorded after the position `after`, and the position up to which the log was read.
    pub fn events_after(&self, after: u64, limit: usize, bytes: usize) -> Result<(Vec<Shown>, u64), ReadError> {
        let last = *self.log.follow().borrow();
        // What is on disk is read a moment before it is announced as durable.
        if after > last && self.log.feed_after(after - 1, 1)?.is_empty() {
            return Err(ReadError::Ahead { last });
        }
        let (mut events, mut read, mut held) = (Vec::new(), after, 0);
        for entry in self.log.feed_after(after, limit)? {
            read = entry.position;
            for event in self.events_of_entry(&entry)?.iter() {
                held += event.json.len();
                events.push(event.clone());
            }
            if held >= bytes {
                break;
            }
        }
        Ok((events, read))
    }

    /// A page of open requests, newest mission first. Those of one mission are on one page.
    pub fn requests(&self, mut before: Option<MissionNo>, limit: usize) -> Result<Page<OpenRequestView>, ReadError> {
        let mut page = Page::new();
        loop {
            let heads = self.log.heads_newest_first(before, SCAN_CHUNK)?;
            let Some(&(last, _)) = heads.last() else { return Ok(page) };
            for (no, _) in heads.into_iter().filter(|(_, head)| head.status == Status::Blocked) {
                let open = self.view(no, |fold| {
                    let envelope = fold.mission.envelope();
                    let of = |request: RequestView| OpenRequestView {
                        mission_id: envelope.mission_id.to_string(),
                        objective: limit::clip(&envelope.objective, LISTED_BYTES_MAX),
                        answer_at: format!(
                            "/v1/missions/{}/requests/{}",
                            envelope.mission_id,
                            request.0["request_id"].as_str().unwrap_or_default()
                        ),
                        request,
                    };
                    Ok(requests(&fold.mission).into_iter().map(of).collect::<Vec<_>>())
                });
                match open {
                    Err(ReadError::Unknown) => {}
                    open => open?.iter().for_each(|request| page.push(request)),
                }
                if page.is_full(limit) {
                    return Ok(page.followed_by((no.0 > 1).then_some(no)));
                }
            }
            before = Some(last);
        }
    }

    /// A page of missions with undelivered items, or of those in one state.
    pub fn deliveries(
        &self,
        state: Option<DeliveryState>,
        after: Option<MissionNo>,
        limit: usize,
    ) -> Result<Page<UndeliveredView>, ReadError> {
        let mut page = Page::new();
        let incomplete = state == Some(DeliveryState::Incomplete);
        let cursors = if incomplete { self.log.incomplete()? } else { self.log.undelivered()? };
        for (no, cursor) in cursors.into_iter().filter(|(no, _)| after.is_none_or(|after| *no > after)) {
            if state.is_some_and(|state| state != state_of(&cursor)) {
                continue;
            }
            let view = self.view(no, |fold| {
                let total = fold.mission.outgoing();
                if cursor.acked >= total && !cursor.closed {
                    return Ok(None);
                }
                let envelope = fold.mission.envelope();
                Ok(Some(UndeliveredView {
                    mission_id: envelope.mission_id.to_string(),
                    state: state_of(&cursor),
                    status_url: envelope.callback.as_ref().map(|callback| callback.status_url.to_string()),
                    delivered: delivered(&cursor),
                    skipped: self.keys_of(no, &cursor.skipped)?,
                    waiting: total.saturating_sub(cursor.acked),
                    attempts: cursor.attempts,
                    error: cursor.parked.clone(),
                }))
            });
            match view {
                // It may be removed while it is looked at.
                Err(ReadError::Unknown) | Ok(None) => continue,
                Ok(Some(view)) => page.push(&view),
                Err(error) => return Err(error),
            }
            if page.is_full(limit) {
                return Ok(page.followed_by(Some(no)));
            }
        }
        Ok(page)
    }

    /// A page of sessions, the one with the newest mission first: those whose newest mission is before `before`.
    pub fn sessions(&self, before: Option<MissionNo>, limit: usize) -> Result<Page<SessionView>, ReadError> {
        let mut page = Page::new();
        let mut shown = None;
        for (vp, session) in self.log.sessions_newest_first(before, limit + 1)? {
            if page.is_full(limit) {
                return Ok(page.followed_by(shown));
            }
            let latest = self.log.head(session.latest)?;
            page.push(&SessionView {
                vp_id: vp.to_string(),
                vp_session_id: session.id.to_string(),
                workspace: self.workspaces.place(&vp, &session.id).to_string_lossy().into_owned(),
                missions: session.missions,
                last_mission_id: latest.as_ref().map(|head| head.mission_id.to_string()),
                last_mission_at: latest.as_ref().map(|head| head.accepted_at),
            });
            shown = Some(session.latest);
        }
        Ok(page)
    }
}

fn state_of(cursor: &Cursor) -> DeliveryState {
    match cursor {
        Cursor { closed: true, .. } => DeliveryState::Incomplete,
        Cursor { parked: Some(_), .. } => DeliveryState::Parked,
        Cursor { .. } => DeliveryState::Pending,
    }
}

/// How many items a receiver has taken.
fn delivered(cursor: &Cursor) -> u64 {
    cursor.acked.saturating_sub(cursor.skipped.len() as u64)
}

/// Cuts what a list shows of a long text.
fn cut(text: &mut String) {
    if text.len() > LISTED_BYTES_MAX {
        *text = limit::clip(text, LISTED_BYTES_MAX);
    }
}

fn mentions(mission: &Mission, q: &str) -> bool {
    let q = q.to_lowercase();
    let envelope = mission.envelope();
    [envelope.mission_id.as_str(), &envelope.objective, mission.last_summary()]
        .iter()
        .any(|text| text.to_lowercase().contains(&q))
}

/// The artifacts of a mission, as its index shows them.
pub fn artifacts(mission: &Mission) -> Vec<ArtifactView> {
    mission.artifacts().iter().map(|artifact| ArtifactView(mission.artifact_view(artifact))).collect()
}

/// What it asks of people.
fn requests(mission: &Mission) -> Vec<RequestView> {
    mission.open_requests().iter().filter_map(|request| mission.request_view(request.no)).map(RequestView).collect()
}

/// A record, for people and for replays.
pub fn record(number: u64, stamped: &Stamped) -> RecordView {
    let mut fields = serde_json::to_value(&stamped.record).expect("a record is plain data");
    // Variants without fields are bare names.
    let (kind, body) = match fields.as_object_mut().and_then(|variant| variant.iter_mut().next()) {
        Some((kind, body)) => (kind.clone(), body.take()),
        None => (fields.as_str().unwrap_or_default().to_owned(), json!({})),
    };
    RecordView { record: number, at: stamped.at, ran_ms: stamped.ran_ms, kind: snake_case(&kind), body }
}

/// The record that [`record`] shows.
pub fn parse_record(shown: &Value) -> Option<Stamped> {
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
