//! Events over HTTP: as a list, or streamed (server-sent events) and resumed after `Last-Event-ID`.
//!
//! A stream reads what the journal holds, then waits for news; what it shows is on disk, and nothing is missed. Who breaks off
//! and comes back with the id of the last event that it saw goes on behind it; on the node's stream, where one entry may have several
//! events, behind the last entry of which it saw all. A stream ends with the token that it was asked for with.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::stream;
use schemars::JsonSchema;
use serde::Deserialize;
use sortie_contract::{Event, MissionNo};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::{Instant, sleep, sleep_until};

use super::App;
use super::auth::Standing;
use super::error::Problem;
use super::query::{PageSize, Query};
use sortie_engine::shown::{PAGE_BYTES_MAX, Page};
use sortie_engine::views::{Events, Fold, Shown};

/// Events of a page, unless the client asks for another number.
const PAGE: usize = 100;
/// How often a silent stream says that it is alive; proxies cut after half a minute or more.
const ALIVE: Duration = Duration::from_secs(15);
/// What becomes known within this time of a stream's last look is seen by one look.
const GATHER: Duration = Duration::from_millis(10);
/// How many events, or entries of the node's log, a stream reads at once.
const CHUNK: usize = 256;
/// And of about how many bytes: each event lists all artifacts of its mission.
const CHUNK_BYTES: usize = 128 << 10;

/// `GET /v1/missions/{id}/events`
pub(super) async fn of_mission(
    State(app): State<App>,
    Path(id): Path<String>,
    Query(query): Query<EventsQuery>,
    Extension(standing): Extension<Standing>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Ask { after, limit } = Ask::of(&query, &headers)?;
    let no = app.mission(id).await?;
    if wants_stream(&headers) {
        return streamed(app, standing, Source::Mission { no, fold: None, ended: false }, after).await;
    }
    app.shown(move |engine| {
        let Events { events, more, .. } = engine.events(no, after, limit)?;
        let next = events.last().filter(|_| more).map(|event| event.id);
        Ok(page(&events).followed_by(next))
    })
    .await
}

/// `GET /v1/events`
pub(super) async fn of_node(
    State(app): State<App>,
    Query(query): Query<EventsQuery>,
    Extension(standing): Extension<Standing>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Ask { after, limit } = Ask::of(&query, &headers)?;
    if wants_stream(&headers) {
        return streamed(app, standing, Source::Node, after).await;
    }
    app.shown(move |engine| {
        let (events, read) = engine.events_after(after, limit, PAGE_BYTES_MAX)?;
        Ok(page(&events).followed_by((read > after).then_some(read)))
    })
    .await
}

fn page(events: &[Shown]) -> Page<Event> {
    let mut page = Page::new();
    events.iter().for_each(|event| page.push_json(event.json.to_string()));
    page
}

/// Which events are shown, as the query says.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct EventsQuery {
    /// Only events behind this one, by its id. The header `Last-Event-ID` says the same, and counts where both are there.
    after: Option<u64>,
    /// The same: the `next_cursor` of the page before.
    cursor: Option<u64>,
    /// Most events of the page. More than 500 are never on one.
    limit: Option<PageSize>,
}

/// Where to begin and how much to show.
struct Ask {
    after: u64,
    limit: usize,
}

impl Ask {
    fn of(query: &EventsQuery, headers: &HeaderMap) -> Result<Self, Problem> {
        let after = query.cursor.or(query.after).unwrap_or_default();
        let mut ask = Self { after, limit: query.limit.map_or(PAGE, |PageSize(size)| size) };
        if let Some(last) = headers.get("last-event-id") {
            let last = last.to_str().ok().and_then(|text| text.trim().parse().ok());
            ask.after = last.ok_or_else(|| Problem::bad_request("`Last-Event-ID` must be the id of an event"))?;
        }
        Ok(ask)
    }
}

fn wants_stream(headers: &HeaderMap) -> bool {
    let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accepts.is_some_and(|accepts| accepts.contains("text/event-stream"))
}

/// What a stream shows.
enum Source {
    /// A mission, of which it keeps its own fold: each record is taken up once.
    Mission { no: MissionNo, fold: Option<Box<Fold>>, ended: bool },
    /// All of them: the engine keeps folds and events for whoever watches.
    Node,
}

/// A stream between two of its events.
struct Watch {
    app: App,
    /// Of whoever reads it.
    standing: Standing,
    source: Source,
    after: u64,
    ready: Vec<Shown>,
    news: broadcast::Receiver<MissionNo>,
    /// Nothing new since the last look: wait before the next one.
    idle: bool,
    looked_at: Instant,
    /// It said why it ends.
    broken: bool,
}

/// Why a stream waits no longer.
enum Heard {
    /// There may be something new.
    News,
    /// There was nothing for a while.
    Silence,
    /// The node stops.
    Goodbye,
}

/// The stream, once it is known that it can begin where it is to.
async fn streamed(app: App, standing: Standing, source: Source, after: u64) -> Result<Response, Problem> {
    let news = app.engine.news();
    let looked_at = Instant::now();
    let mut watch =
        Watch { app, standing, source, after, ready: Vec::new(), news, idle: false, looked_at, broken: false };
    watch.look().await?;
    let frames = stream::unfold(watch, |mut watch| async move {
        let frames = watch.next().await?;
        Some((Ok::<_, Infallible>(frames), watch))
    });
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")];
    Ok((headers, Body::from_stream(frames)).into_response())
}

/// A frame of server-sent events (WHATWG HTML, 9.2.5). `json` has no line breaks.
fn write_frame(frames: &mut String, id: Option<u64>, kind: &str, json: &str) {
    if let Some(id) = id {
        let _ = writeln!(frames, "id: {id}");
    }
    let _ = write!(frames, "event: {kind}\ndata: {json}\n\n");
}

impl Watch {
    /// All that there is to be sent, frame by frame.
    async fn next(&mut self) -> Option<Bytes> {
        let mut frames = String::new();
        loop {
            // A token that was taken away reads nothing more: looked at before each batch, and each time that nothing was heard.
            if !self.standing.holds() {
                return None;
            }
            for Shown { id, kind, json } in self.ready.drain(..) {
                write_frame(&mut frames, Some(id), kind, &json);
            }
            if !frames.is_empty() {
                return Some(frames.into());
            }
            if self.broken || matches!(self.source, Source::Mission { ended: true, .. }) {
                return None;
            }
            if self.idle {
                match self.wait().await {
                    Heard::News => {}
                    Heard::Silence => {
                        // And a look, in case that some news was not heard.
                        self.idle = false;
                        return Some(Bytes::from_static(b":\n\n"));
                    }
                    Heard::Goodbye => return None,
                }
            }
            if let Err(problem) = self.look().await {
                self.broken = true;
                // Who comes back asks anew, and is told the same as an answer.
                write_frame(&mut frames, None, "error", &problem.body().to_string());
            }
        }
    }

    /// Waits for news of what it shows; a moment longer where it has just looked, so that many changes cost one look.
    async fn wait(&mut self) -> Heard {
        let engine = Arc::clone(&self.app.engine);
        // Listens before it asks: a goodbye between the two must not be missed.
        let mut goodbye = pin!(engine.goodbye().notified());
        goodbye.as_mut().enable();
        if engine.is_stopping() {
            return Heard::Goodbye;
        }
        let mut silence = pin!(sleep(ALIVE));
        loop {
            let heard = tokio::select! {
                heard = self.news.recv() => heard,
                () = silence.as_mut() => return Heard::Silence,
                () = goodbye.as_mut() => return Heard::Goodbye,
            };
            match (heard, &self.source) {
                (Ok(no), Source::Mission { no: mine, .. }) if no != *mine => {}
                (Err(RecvError::Closed), _) => return Heard::Goodbye,
                // Its own mission, any mission, or so much that some of it was missed: look.
                _ => break,
            }
        }
        tokio::select! {
            () = sleep_until(self.looked_at + GATHER) => {}
            () = goodbye => return Heard::Goodbye,
        }
        // What is known by now, the look sees.
        while !matches!(self.news.try_recv(), Err(TryRecvError::Empty | TryRecvError::Closed)) {}
        Heard::News
    }

    /// Takes up what is new.
    async fn look(&mut self) -> Result<(), Problem> {
        let after = self.after;
        self.looked_at = Instant::now();
        match &mut self.source {
            Source::Mission { no, fold, ended } => {
                let (no, kept) = (*no, fold.take());
                let read = self.app.reading(move |engine| {
                    let mut fold = kept.map(|fold| *fold);
                    let events = engine.next_events(no, &mut fold, after, CHUNK, CHUNK_BYTES)?;
                    Ok((fold.map(Box::new), events))
                });
                let (read, Events { events, over, .. }) = read.await?;
                (*fold, *ended) = (read, over);
                self.idle = events.is_empty();
                self.after = events.last().map_or(after, |last| last.id);
                self.ready = events;
            }
            Source::Node => {
                let read = self.app.reading(move |engine| engine.events_after(after, CHUNK, CHUNK_BYTES));
                let (events, read) = read.await?;
                self.idle = events.is_empty() && read == after;
                self.after = read;
                self.ready = events;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_event_id_wins_over_the_query() {
        let mut headers = HeaderMap::new();
        headers.insert("last-event-id", "7".parse().expect("a header"));
        let query: EventsQuery = super::super::query::read("after=3").expect("a query");
        assert_eq!(Ask::of(&query, &headers).expect("valid").after, 7);
        assert_eq!(Ask::of(&query, &HeaderMap::new()).expect("valid").after, 3);
    }
}
