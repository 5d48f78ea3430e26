//! Events over HTTP: as a list, or streamed (server-sent events) and resumed after `Last-Event-ID`.
//!
//! A stream reads what the journal holds, then waits for news; what it shows is on disk, and nothing is missed. Who breaks off
//! and comes back with the id of the last event that it saw is shown the whole frame of that event again.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, header};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream::{self, Stream};
use serde_json::json;
use sortie_contract::{Event, MissionNo};
use tokio::sync::broadcast;

use super::App;
use super::error::Problem;
use super::missions::{bad_parameter, page_size, parameters, unknown_parameter};
use crate::engine::look::Events;
use crate::engine::{Engine, ReadError};

/// Events of a page, unless the client asks for another number.
const PAGE: usize = 100;
/// How often a silent stream says that it is alive; proxies cut after half a minute or more.
const ALIVE: Duration = Duration::from_secs(15);
/// How many events, or entries of the node's log, a stream reads at once.
const CHUNK: usize = 256;

/// `GET /v1/missions/{id}/events`
pub(super) async fn of_mission(
    State(app): State<App>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Ask { after, limit } = Ask::parse(query.as_deref(), &headers)?;
    let no = app.mission(id).await?;
    if wants_stream(&headers) {
        let source = Source::Mission { no, ended: false };
        return Ok(streamed(app.engine, source, after));
    }
    let Events { events, more, .. } = app.blocking(move |engine| engine.events(no, after, limit)).await?;
    let next = events.last().filter(|_| more).map(|event| event.sequence.to_string());
    Ok(Json(json!({"items": events, "next_cursor": next})).into_response())
}

/// `GET /v1/events`
pub(super) async fn of_node(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Ask { after, limit } = Ask::parse(query.as_deref(), &headers)?;
    if wants_stream(&headers) {
        return Ok(streamed(app.engine, Source::Node, after));
    }
    let (events, read) = app.blocking(move |engine| engine.events_after(after, limit)).await?;
    let next = (read > after).then(|| read.to_string());
    let items: Vec<Event> = events.into_iter().map(|(_, event)| event).collect();
    Ok(Json(json!({"items": items, "next_cursor": next})).into_response())
}

/// Where to begin and how much to show.
struct Ask {
    after: u64,
    limit: usize,
}

impl Ask {
    fn parse(query: Option<&str>, headers: &HeaderMap) -> Result<Self, Problem> {
        let mut ask = Self { after: 0, limit: PAGE };
        for (key, value) in parameters(query) {
            match key.as_str() {
                "after" | "cursor" => {
                    ask.after = value.parse().map_err(|_| bad_parameter(&key, "a number"))?;
                }
                "limit" => ask.limit = page_size(&value)?,
                _ => return Err(unknown_parameter(&key)),
            }
        }
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
    Mission { no: MissionNo, ended: bool },
    Node,
}

/// A stream between two of its events.
struct Watch {
    engine: Arc<Engine>,
    source: Source,
    after: u64,
    ready: VecDeque<(u64, Event)>,
    news: broadcast::Receiver<MissionNo>,
    /// Nothing new since the last look: wait before the next one.
    idle: bool,
}

fn streamed(engine: Arc<Engine>, source: Source, after: u64) -> Response {
    let news = engine.news.subscribe();
    let watch = Watch { engine, source, after, ready: VecDeque::new(), news, idle: false };
    Sse::new(events(watch)).keep_alive(KeepAlive::new().interval(ALIVE)).into_response()
}

fn events(watch: Watch) -> impl Stream<Item = Result<sse::Event, Infallible>> {
    stream::unfold(watch, |mut watch| async move {
        let (id, event) = watch.next().await?;
        let data = serde_json::to_string(&event).expect("an event is plain data");
        let event = sse::Event::default().id(id.to_string()).event(event.event_type.as_str()).data(data);
        Some((Ok(event), watch))
    })
}

impl Watch {
    async fn next(&mut self) -> Option<(u64, Event)> {
        loop {
            if let Some((id, event)) = self.ready.pop_front() {
                self.after = id;
                return Some((id, event));
            }
            if matches!(self.source, Source::Mission { ended: true, .. }) {
                return None;
            }
            if self.idle && !self.wait().await {
                return None;
            }
            self.look().await.ok()?;
        }
    }

    /// Waits for news of what it shows. False when the node stops.
    async fn wait(&mut self) -> bool {
        let engine = Arc::clone(&self.engine);
        // Listens before it asks: a goodbye between the two must not be missed.
        let mut goodbye = pin!(engine.goodbye.notified());
        goodbye.as_mut().enable();
        if engine.is_stopping() {
            return false;
        }
        loop {
            let heard = tokio::select! {
                heard = self.news.recv() => heard,
                () = goodbye.as_mut() => return false,
            };
            match (heard, &self.source) {
                (Ok(no), Source::Mission { no: mine, .. }) if no != *mine => {}
                (Err(broadcast::error::RecvError::Closed), _) => return false,
                // Its own mission, any mission, or so much that some of it was missed: look.
                _ => return true,
            }
        }
    }

    async fn look(&mut self) -> Result<(), ReadError> {
        let engine = Arc::clone(&self.engine);
        let after = self.after;
        let mission = match &self.source {
            Source::Mission { no, .. } => Some(*no),
            Source::Node => None,
        };
        let read = tokio::task::spawn_blocking(move || match mission {
            Some(no) => {
                let Events { events, over, .. } = engine.events(no, after, CHUNK)?;
                let events: VecDeque<_> = events.into_iter().map(|event| (event.sequence, event)).collect();
                Ok((events, after, over))
            }
            None => engine.events_after(after, CHUNK).map(|(events, read)| (events.into(), read, false)),
        });
        let (events, read, over) = read.await.map_err(|_| ReadError::Unknown)??;
        self.idle = events.is_empty() && read == self.after;
        self.after = read;
        if let Source::Mission { ended, .. } = &mut self.source {
            *ended = over;
        }
        self.ready = events;
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
        assert_eq!(Ask::parse(Some("after=3"), &headers).expect("valid").after, 7);
        assert_eq!(Ask::parse(Some("after=3"), &HeaderMap::new()).expect("valid").after, 3);
        assert!(Ask::parse(Some("afte=3"), &HeaderMap::new()).is_err());
    }
}
