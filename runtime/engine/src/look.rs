//! What anybody may see of missions: state, events, lists. Only records that are on disk are shown, with the run time and what is
//! waited for as of now; each answer has a most.
//!
//! Owned here: how lists are found and paged. Never here: how a thing is shown (`shown/`), folds (`views.rs`), and who may look.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sortie_contract::overview::{Overview, Pending, RequestLine};
use sortie_contract::{MissionNo, Stamped, Status, Timestamp};
use sortie_journal::{Cursor, Head};
use sortie_mission::queue::WaitsFor;
use sortie_mission::{Mission, Standing, event_key, request_view};

use super::outbox::key_of;
use super::past;
use super::put_off::Held;
use super::search::{Filter, Misread, Search};
use super::shown::{
    ArtifactView, BudgetView, CallView, DeliveryState, DeliveryView, ForkedView, KeptView, Links, MissionLine,
    MissionView, OpenRequestView, PAGE_BYTES_MAX, Page, PluginName, QuarantineView, RecordView, RequestView,
    SessionView, UndeliveredView, UsageView, WaitKind, WaitView, WindowView, minutes,
};
use super::standings::Standings;
use super::views::{Events, Fold, Next, Shown};
use super::{Engine, ReadError};

/// Heads that are read at once, at least, once as many as a page has were not enough: of those few fit.
const LIST_CHUNK: usize = 200;

/// Missions looked at between two pages; a filter that matches little must not hold a thread for ever.
const SCAN_MAX: usize = 50_000;

/// Cursors looked at between two pages of deliveries: each costs a look at a head, and most have nothing to deliver just now.
const CURSORS_MAX: usize = 2_000;

/// Some heads, newest first.
struct Heads {
    heads: Vec<(MissionNo, Head)>,
    /// The last mission that was looked at, whether it is among them or not; none is the end.
    last: Option<MissionNo>,
}

impl Engine {
    /// What a search asks for, whose days are those of the node's zone.
    ///
    /// # Errors
    /// [`Misread`]: it cannot be understood.
    pub fn search(&self, text: &str) -> Result<Search, Misread> {
        Search::read(text, &self.settings.hours.zone, self.ambient.wall())
    }

    /// A page of missions, newest first.
    pub fn list(
        &self,
        filter: &Filter,
        mut before: Option<MissionNo>,
        limit: usize,
    ) -> Result<Page<MissionLine>, ReadError> {
        let mut page = Page::new();
        let (mut scanned, mut chunk) = (0, limit);
        loop {
            let Heads { heads, last } = self.some_heads(filter.statuses(), before, chunk)?;
            let Some(last) = last else { return Ok(page) };
            chunk = limit.max(LIST_CHUNK);
            scanned += heads.len();
            for (no, head) in heads {
                if !filter.takes(&head) {
                    continue;
                }
                // One may be removed while it is looked for.
                let Some(line) = self.listed(no, &head, &filter.search)? else { continue };
                page.push(&line);
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

    /// Some heads before `before`, newest first: all that are in one of these statuses are among them.
    fn some_heads(&self, statuses: &[Status], before: Option<MissionNo>, limit: usize) -> Result<Heads, ReadError> {
        if !Standings::cover(statuses) {
            let heads = self.log.heads_newest_first(before, limit)?;
            let last = heads.last().map(|(no, _)| *no);
            return Ok(Heads { heads, last });
        }
        let open = self.commit.standings().newest_first(statuses, before, limit);
        let mut heads = Vec::with_capacity(open.len());
        for no in &open {
            // The index is a moment ahead of the disk.
            heads.extend(self.listed_head(*no)?.filter(|head| statuses.contains(&head.status)).map(|head| (*no, head)));
        }
        Ok(Heads { heads, last: open.last().copied() })
    }

    /// A head for a list: one that cannot be read is seen to, and keeps nobody from the others.
    fn listed_head(&self, no: MissionNo) -> Result<Option<Head>, ReadError> {
        match self.log.head(no) {
            Err(error @ sortie_journal::ReadError::Row { .. }) => {
                self.cannot_read(no, &error.into());
                Ok(None)
            }
            head => Ok(head?),
        }
    }

    /// What the records of a mission come to, for a list: only where an older Sortie wrote the head, which then has less, and nothing
    /// has changed it since. Nothing where the mission has been removed.
    fn folded(&self, no: MissionNo) -> Result<Option<Overview>, ReadError> {
        match self.view(no, |fold| Ok(fold.mission.overview())) {
            Err(ReadError::Unknown) => Ok(None),
            overview => overview.map(Some),
        }
    }

    /// What a mission waits for others to do, with the rest that its head shows; nothing where it has been removed.
    fn pending(&self, no: MissionNo, head: &Head) -> Result<Option<(Overview, Pending)>, ReadError> {
        let shown = head.overview.clone().filter(|overview| overview.pending.is_some());
        let Some(mut overview) = shown.map_or_else(|| self.folded(no), |shown| Ok(Some(shown)))? else {
            return Ok(None);
        };
        let pending = overview.pending.take();
        Ok(pending.map(|pending| (overview, pending)))
    }

    /// A mission as a list shows it, unless it has been removed or is not searched for. Reads its head and no more, unless an
    /// older Sortie wrote that and nothing has changed it since.
    fn listed(&self, no: MissionNo, head: &Head, search: &Search) -> Result<Option<MissionLine>, ReadError> {
        let Some(overview) = head.overview.clone().map_or_else(|| self.folded(no), |shown| Ok(Some(shown)))? else {
            return Ok(None);
        };
        let ran_ms = match self.lives.get(no).filter(|_| !head.status.is_final()) {
            // One that runs is a little older than its head.
            Some(live) => overview.ran_ms.max(live.now(self).ran_ms),
            None => overview.ran_ms,
        };
        if !search.takes_overview(head, &overview, ran_ms) {
            return Ok(None);
        }
        let delivery = if head.has_callback {
            Some(self.log.cursor(no)?.map_or(DeliveryState::Delivered, |cursor| state_of(&cursor)))
        } else {
            None
        };
        let line = MissionLine {
            mission_id: head.mission_id.to_string(),
            parent_id: super::search::parent_of(head).map(String::from),
            vp_id: head.vp.to_string(),
            vp_session_id: head.session.to_string(),
            vp_runtime_id: head.lane.to_string(),
            mission_type: head.mission_type,
            trace_id: head.trace_id.to_string(),
            source_instance_id: head.source.to_string(),
            idempotency_key: head.idempotency_key.to_string(),
            status: head.status,
            reason: overview.reason,
            quarantined: self.is_quarantined(no),
            kept: self.pins.of_mission(no).is_some(),
            usage: UsageView::new(minutes(ran_ms), overview.spent, overview.reserved),
            effective_budget: BudgetView::from(&overview.budget),
            autonomy_window: WindowView { start_at: head.start_at, end_at: head.end_at },
            open_requests: overview.requests,
            waits_for: self.waits_for(no, head.status, head.suspended, head.start_at, head.due, overview.expires_at),
            delivery,
            plugin: PluginName::from(&overview.plugin),
            accepted_at: head.accepted_at,
            started_at: overview.started_at,
            ended_at: head.ended_at,
            links: Links::of(head.mission_id.as_str()),
            objective: overview.objective,
            summary: overview.summary,
        };
        Ok(search.takes_line(&line).then_some(line))
    }

    /// What a mission waits for that stands so.
    fn waits_for(
        &self,
        no: MissionNo,
        status: Status,
        suspended: bool,
        start_at: Option<Timestamp>,
        due: Option<Timestamp>,
        expires: Option<Timestamp>,
    ) -> Option<WaitView> {
        let wall = self.ambient.wall();
        let wait = |what, until| Some(WaitView { what, until, mission_id: None, why: None });
        let held = self.commit.put_off().of(no).filter(|held| held.until > wall);
        match (status, held) {
            (Status::Blocked, _) => return wait(WaitKind::People, expires),
            (Status::Running, Some(Held { until, is_unpaid, why })) => {
                let what = if is_unpaid { WaitKind::Budget } else { WaitKind::Provider };
                let why = Some(why).filter(|why| !why.is_empty());
                return Some(WaitView { what, until: Some(until), mission_id: None, why });
            }
            (Status::Running, None) if suspended && due.is_none_or(|due| due > wall) => {
                let waits_for_others = due.is_none() && self.commit.children().are_awaited_by(no);
                return wait(if waits_for_others { WaitKind::Missions } else { WaitKind::Time }, due);
            }
            (Status::Queued | Status::Running, _) => {}
            _ => return None,
        }
        if let Some((what, why)) = self.awaited_workspace(no) {
            return Some(WaitView { what, until: None, mission_id: None, why: Some(why) });
        }
        match self.desk.waits_for(no, wall) {
            // Its own window is open: what it waits for is that its schedule is not paused any more.
            Some(WaitsFor::Window) if start_at.is_none_or(|at| at <= wall) => match self.pause_of(no) {
                Some(until) => wait(WaitKind::SchedulePaused, until),
                None => wait(WaitKind::Turn, None),
            },
            Some(WaitsFor::Window) => wait(WaitKind::Window, start_at),
            Some(WaitsFor::Hours { until }) => wait(WaitKind::Hours, until),
            Some(WaitsFor::Node) => wait(WaitKind::NodePaused, None),
            Some(WaitsFor::Session { first }) => {
                let mission_id = self.log.head(first).ok().flatten().map(|head| head.mission_id.to_string());
                Some(WaitView { what: WaitKind::Session, until: None, mission_id, why: None })
            }
            Some(WaitsFor::Lane) => wait(WaitKind::Lane, None),
            Some(WaitsFor::LaneElsewhere) => {
                let why =
                    Some("other nodes of the store run what its lane has room for, or are asked for it".to_owned());
                Some(WaitView { what: WaitKind::Lane, until: None, mission_id: None, why })
            }
            Some(WaitsFor::Room) => wait(WaitKind::Node, None),
            None if status == Status::Queued => wait(WaitKind::Turn, None),
            None => None,
        }
    }

    /// The same of one that is at hand: where another mission asks people, below it, also which.
    fn wait_of(&self, no: MissionNo, mission: &Mission) -> Option<WaitView> {
        let Standing { status, suspended, due } = mission.standing();
        let wait = self.waits_for(no, status, suspended, mission.window().start_at, due, mission.expires_first())?;
        let is_below = wait.what == WaitKind::People && mission.open_requests().is_empty();
        let by = mission.asks().into_iter().next().filter(|_| is_below);
        Some(WaitView { mission_id: by.map(|asks| asks.of.to_string()).or(wait.mission_id), ..wait })
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
            summary: mission.last_summary().into_owned(),
            next_action: mission.next_action().map(str::to_owned),
            usage: UsageView::new(usage.runtime_minutes, mission.spent(), mission.reserved()),
            effective_budget: BudgetView::from(mission.budget()),
            landing: past::landing(mission),
            autonomy_window: WindowView::from(&envelope.window),
            effective_window: self.effective_window(fold.no, mission),
            carried_over: mission.carried_over(),
            waits_for: self.wait_of(fold.no, mission),
            calls_in_flight: calls_in_flight(mission),
            pending_requests: requests(mission),
            on_expiry: envelope.on_expiry.unwrap_or(self.settings.on_expiry).as_str(),
            criteria: past::criteria(mission),
            artifacts: artifacts(mission),
            plugin: PluginName::from(mission.plugin()),
            kept: self.pins.of_mission(fold.no).map(KeptView::from),
            delivery: self.delivery(fold)?,
            warnings: fold.warnings.to_vec(),
            quarantine: self.log.quarantine(fold.no)?.as_ref().map(QuarantineView::from),
            sequence: mission.sequence(),
            records: mission.records(),
            accepted_at: fold.accepted_at,
            started_at: mission.started_at(),
            ended_at: mission.ended_at(),
            forked_from: mission.forked_from().map(ForkedView::from),
            children: mission.children(),
            parent_id: mission.parent().map(|of| of.mission_id.to_string()),
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
                next_attempt_at: None,
            },
            Some(cursor) => DeliveryView {
                state: state_of(&cursor),
                delivered: delivered(&cursor),
                skipped: self.keys_of(fold.no, &cursor.skipped)?,
                total,
                attempts: cursor.attempts,
                error: error_of(&cursor),
                next_attempt_at: next_attempt(&cursor),
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

    /// Events of the whole node that were recorded after the position `after`, and the position up to which the log was read: at most `limit`, but
    /// where one entry alone has more, and of about `bytes`.
    pub fn events_after(&self, after: u64, limit: usize, bytes: usize) -> Result<(Vec<Shown>, u64), ReadError> {
        let last = *self.log.follow().borrow();
        // What is on disk is read a moment before it is announced as durable.
        if after > last && self.log.feed_after(after - 1, 1)?.is_empty() {
            return Err(ReadError::Ahead { last });
        }
        let (mut events, mut read, mut held) = (Vec::new(), after, 0);
        for entry in self.log.feed_after(after, limit)? {
            let told = self.events_of_entry(&entry)?;
            // A number says nothing of what was read of an entry: one that has no room any more is for whoever goes on.
            if !events.is_empty() && events.len() + told.len() > limit {
                break;
            }
            read = entry.position;
            for event in told.iter() {
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
        let mut chunk = limit;
        loop {
            let Heads { heads, last } = self.some_heads(&[Status::Blocked], before, chunk)?;
            let Some(last) = last else { return Ok(page) };
            chunk = LIST_CHUNK;
            for (no, head) in heads {
                // One may be removed while it is looked for.
                let Some((overview, pending)) = self.pending(no, &head)? else { continue };
                for line in &pending.requests {
                    page.push(&open_request(&head, &overview, line));
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
        mut after: Option<MissionNo>,
        limit: usize,
    ) -> Result<Page<UndeliveredView>, ReadError> {
        let mut page = Page::new();
        // What has nothing left to deliver is in no list but its own.
        let wanted = |cursor: &Cursor| state.map_or(!cursor.closed, |state| state == state_of(cursor));
        let (mut scanned, mut chunk) = (0, limit);
        loop {
            let cursors = self.log.cursors_after(after, chunk)?;
            let Some(&(last, _)) = cursors.last() else { return Ok(page) };
            chunk = LIST_CHUNK;
            scanned += cursors.len();
            for (no, cursor) in cursors.into_iter().filter(|(_, cursor)| wanted(cursor)) {
                // It may be removed while it is looked at.
                let Some(head) = self.listed_head(no)? else { continue };
                let Some(view) = self.undelivered_view(no, &head, &cursor)? else { continue };
                page.push(&view);
                if page.is_full(limit) {
                    return Ok(page.followed_by(Some(no)));
                }
            }
            after = Some(last);
            if scanned >= CURSORS_MAX {
                return Ok(page.followed_by(after));
            }
        }
    }

    /// A mission in the list of deliveries; nothing where there is nothing to deliver just now.
    fn undelivered_view(
        &self,
        no: MissionNo,
        head: &Head,
        cursor: &Cursor,
    ) -> Result<Option<UndeliveredView>, ReadError> {
        let Some((overview, Pending { items, status_url, .. })) = self.pending(no, head)? else { return Ok(None) };
        if cursor.acked >= items && !cursor.closed {
            return Ok(None);
        }
        // Each item is an event, whose number is its sequence. Between uploads, and behind what cannot be read, the records tell.
        let skipped = if overview.sequence == items && !self.is_quarantined(no) {
            cursor.skipped.iter().map(|item| event_key(&head.mission_id, *item)).collect()
        } else {
            self.keys_of(no, &cursor.skipped)?
        };
        Ok(Some(UndeliveredView {
            mission_id: head.mission_id.to_string(),
            state: state_of(cursor),
            status_url,
            delivered: delivered(cursor),
            skipped,
            waiting: items.saturating_sub(cursor.acked),
            attempts: cursor.attempts,
            error: error_of(cursor),
            next_attempt_at: next_attempt(cursor),
        }))
    }

    /// A page of sessions, the one with the newest mission first: those whose newest mission is before `before`.
    pub fn sessions(&self, before: Option<MissionNo>, limit: usize) -> Result<Page<SessionView>, ReadError> {
        let mut page = Page::new();
        let mut shown = None;
        for (vp, session) in self.log.sessions_newest_first(before, limit + 1)? {
            if page.is_full(limit) {
                return Ok(page.followed_by(shown));
            }
            let latest = self.listed_head(session.latest)?;
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

/// What came of the last attempt, or why there will be none.
fn error_of(cursor: &Cursor) -> Option<String> {
    cursor.parked.clone().or_else(|| cursor.retry.as_ref().map(|retry| retry.why.clone()))
}

fn next_attempt(cursor: &Cursor) -> Option<Timestamp> {
    cursor.retry.as_ref().filter(|_| cursor.parked.is_none()).map(|retry| retry.at)
}

/// The calls that are being made.
pub(super) fn calls_in_flight(mission: &Mission) -> Vec<CallView> {
    let made = mission.calls_being_made();
    made.map(|(call, tool, at)| CallView { call: call.0, tool: tool.to_string(), started_at: at }).collect()
}

/// The artifacts of a mission, as its index shows them.
pub fn artifacts(mission: &Mission) -> Vec<ArtifactView> {
    mission.artifacts().iter().map(|artifact| form(mission.artifact_view(artifact))).collect()
}

/// An open request in a list: as its mission shows it, but for texts that are long.
fn open_request(head: &Head, overview: &Overview, line: &RequestLine) -> OpenRequestView {
    OpenRequestView {
        request: form(request_view(line, overview.spent, overview.reserved, &overview.budget)),
        mission_id: head.mission_id.to_string(),
        objective: overview.objective.clone(),
        answer_at: format!("/v1/missions/{}/requests/{}", head.mission_id, line.no),
    }
}

/// What it asks of people.
pub(super) fn requests(mission: &Mission) -> Vec<RequestView> {
    mission.open_requests().iter().filter_map(|request| mission.request_view(request.no)).map(form).collect()
}

/// What the core shows in events, in the form that it has here too.
fn form<T: DeserializeOwned>(shown: Value) -> T {
    serde_json::from_value(shown).expect("the core shows what is described here")
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
