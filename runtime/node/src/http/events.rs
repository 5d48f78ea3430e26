//! Events over HTTP: as a list, or streamed (server-sent events) and resumed after `Last-Event-ID`.
//!
//! A stream reads what the journal holds, then waits for news; what it shows is on disk, and nothing is missed. Who breaks off
//! and comes back with the id of the last event that it saw goes on behind it; on the node's stream, where one entry may have several
//! events, behind the last entry of which it saw all. A stream ends with the token that it was asked for with.
//!
//! Where several nodes write one store, the events of the node are those of all of them, and an id says how far each was read
//! ([`Bookmark`]): any node goes on behind it. Whoever names a node has that one's alone, as they are numbered there.

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
use serde::{Deserialize, Deserializer, de};
use sortie_contract::{Event, MissionNo};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::{Instant, sleep_until};

use super::App;
use super::auth::Standing;
use super::away;
use super::error::Problem;
use super::forward::Named;
use super::query::{PageSize, Query};
use sortie_engine::fleet::Told;
use sortie_engine::shown::{PAGE_BYTES_MAX, Page};
use sortie_engine::views::{Events, Fold, Shown};
use sortie_journal::Bookmark;

/// Events of a page, unless the client asks for another number.
const PAGE: usize = 100;
/// How often a silent stream says that it is alive; proxies cut after half a minute or more.
pub(super) const ALIVE: Duration = Duration::from_secs(15);
/// How soon a stream shows what another node has written: nobody tells of it, it is looked for so often.
const OTHERS: Duration = Duration::from_millis(500);
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
        return streamed(app, standing, Source::Mission { no, after, fold: None, ended: false }).await;
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
    Query(query): Query<FeedQuery>,
    named: Option<Extension<Named>>,
    Extension(standing): Extension<Standing>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Ask { after, limit } = Ask::of_feed(query, &headers)?;
    if app.engine.has_fleet() && named.is_none() {
        return of_all(app, standing, after.into_bookmark(), limit, wants_stream(&headers)).await;
    }
    let after = after.number()?;
    if wants_stream(&headers) {
        return streamed(app, standing, Source::Node { after }).await;
    }
    app.shown(move |engine| {
        let (events, read) = engine.events_after(after, limit, PAGE_BYTES_MAX)?;
        Ok(page(&events).followed_by((read > after).then_some(read)))
    })
    .await
}

/// Those of all nodes of the store.
async fn of_all(
    app: App,
    standing: Standing,
    after: Bookmark,
    limit: usize,
    is_streamed: bool,
) -> Result<Response, Problem> {
    let since = app.engine.ambient().steady();
    if is_streamed {
        return streamed(app, standing, Source::All { after, since }).await;
    }
    app.shown(move |engine| {
        let (events, read) = engine.events_of_all(&after, since, limit, PAGE_BYTES_MAX)?;
        let mut page: Page<Event> = Page::new();
        events.iter().for_each(|event| page.push_json(event.json.to_string()));
        Ok(page.followed_by((read != after).then_some(read)))
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

/// Which events of a node, or of all nodes of its store, are shown.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct FeedQuery {
    /// Only events behind this one, by its id. The header `Last-Event-ID` says the same, and counts where both are there.
    after: Option<EventId>,
    /// The same: the `next_cursor` of the page before. A page that has one is not the last, also where it has no events.
    cursor: Option<EventId>,
    /// Most events of the page. More than 500 are never on one, but where a node alone is read and so many were recorded as one.
    limit: Option<PageSize>,
}

/// What an event of a feed is resumed behind. A number, or where several nodes write one store a word that any of them goes on behind: what
/// it is made of is theirs alone.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(transparent)]
pub(super) struct EventId(#[schemars(with = "String", regex(pattern = EVENT_ID))] Behind);

/// What ids of a feed look like.
pub(super) const EVENT_ID: &str = "^([0-9]{1,19}|f[0-9a-f.~-]{0,4095})$";

/// How far somebody has read.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Behind {
    /// One node's events.
    Number(u64),
    /// Those of all nodes.
    Bookmark(Bookmark),
}

impl Behind {
    fn read(text: &str) -> Option<Self> {
        let is_number = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
        if is_number { text.parse().ok().map(Self::Number) } else { text.parse().ok().map(Self::Bookmark) }
    }

    /// Of whoever read one node's events nothing of the others' was read.
    fn into_bookmark(self) -> Bookmark {
        match self {
            Self::Number(position) => Bookmark::behind(position),
            Self::Bookmark(bookmark) => bookmark,
        }
    }

    fn number(self) -> Result<u64, Problem> {
        match self {
            Self::Number(number) => Ok(number),
            Self::Bookmark(_) => Err(Problem::bad_request(
                "this id says how far the events of several nodes were read, and those of one node are numbered: ask without `node`, or \
                 begin without an id",
            )),
        }
    }
}

impl<'de> Deserialize<'de> for EventId {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let text = String::deserialize(source)?;
        Behind::read(&text)
            .map(Self)
            .ok_or_else(|| de::Error::custom("the id of an event, or the `next_cursor` of a page"))
    }
}

/// Where to begin and how much to show.
struct Ask<T = u64> {
    after: T,
    limit: usize,
}

impl Ask {
    fn of(query: &EventsQuery, headers: &HeaderMap) -> Result<Self, Problem> {
        let after = query.cursor.or(query.after).unwrap_or_default();
        let after = last_event(headers, |text| text.parse().ok())?.unwrap_or(after);
        Ok(Self { after, limit: size(query.limit) })
    }
}

impl Ask<Behind> {
    fn of_feed(query: FeedQuery, headers: &HeaderMap) -> Result<Self, Problem> {
        let after = query.cursor.or(query.after).map_or(Behind::Number(0), |EventId(after)| after);
        let after = last_event(headers, Behind::read)?.unwrap_or(after);
        Ok(Self { after, limit: size(query.limit) })
    }
}

fn size(limit: Option<PageSize>) -> usize {
    limit.map_or(PAGE, |PageSize(size)| size)
}

/// What the header says, which wins over the query.
fn last_event<T>(headers: &HeaderMap, read: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, Problem> {
    let Some(last) = headers.get("last-event-id") else { return Ok(None) };
    let last = last.to_str().ok().and_then(|text| read(text.trim()));
    last.map(Some).ok_or_else(|| Problem::bad_request("`Last-Event-ID` must be the id of an event"))
}

fn wants_stream(headers: &HeaderMap) -> bool {
    let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accepts.is_some_and(|accepts| accepts.contains("text/event-stream"))
}

/// What a stream shows, and how far it has.
enum Source {
    /// A mission, of which it keeps its own fold: each record is taken up once.
    Mission { no: MissionNo, after: u64, fold: Option<Box<Fold>>, ended: bool },
    /// All of the node's: the engine keeps folds and events for whoever watches.
    Node { after: u64 },
    /// Those of all nodes of the store: all that were there by some moment, of the steady clock, are to be seen.
    All { after: Bookmark, since: Duration },
}

/// An event that is to be sent.
struct Ready {
    id: String,
    kind: &'static str,
    json: Arc<str>,
}

impl From<Shown> for Ready {
    fn from(Shown { id, kind, json }: Shown) -> Self {
        Self { id: id.to_string(), kind, json }
    }
}

impl From<Told> for Ready {
    fn from(Told { id, kind, json }: Told) -> Self {
        Self { id, kind, json }
    }
}

/// A stream between two of its events.
struct Watch {
    app: App,
    /// Of whoever reads it.
    standing: Standing,
    source: Source,
    ready: Vec<Ready>,
    news: broadcast::Receiver<MissionNo>,
    /// Nothing new since the last look: wait before the next one.
    idle: bool,
    looked_at: Instant,
    /// When it sent something.
    said_at: Instant,
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
async fn streamed(app: App, standing: Standing, source: Source) -> Result<Response, Problem> {
    let news = app.engine.news();
    let now = Instant::now();
    let (looked_at, said_at) = (now, now);
    let mut watch =
        Watch { app, standing, source, ready: Vec::new(), news, idle: false, looked_at, said_at, broken: false };
    watch.look().await?;
    let frames = stream::unfold(watch, |mut watch| async move {
        let frames = watch.next().await?;
        watch.said_at = Instant::now();
        Some((Ok::<_, Infallible>(frames), watch))
    });
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")];
    Ok((headers, Body::from_stream(frames)).into_response())
}

/// A frame of server-sent events (WHATWG HTML, 9.2.5). `json` has no line breaks.
fn write_frame(frames: &mut String, id: Option<&str>, kind: &str, json: &str) {
    if let Some(id) = id {
        let _ = writeln!(frames, "id: {id}");
    }
    let _ = write!(frames, "event: {kind}\ndata: {json}\n\n");
}

/// What a stream ends with that cannot go on: why.
pub(super) fn last_words(problem: &Problem) -> Bytes {
    let mut frames = String::new();
    write_frame(&mut frames, None, "error", &problem.body().to_string());
    frames.into()
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
            for Ready { id, kind, json } in self.ready.drain(..) {
                write_frame(&mut frames, Some(&id), kind, &json);
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
                return Some(last_words(&problem));
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
        let mut silence = pin!(sleep_until(self.said_at + ALIVE));
        let of_others = match &self.source {
            Source::All { .. } => OTHERS,
            Source::Mission { .. } | Source::Node { .. } => 2 * ALIVE,
        };
        let mut others = pin!(sleep_until(self.looked_at + of_others));
        loop {
            let heard = tokio::select! {
                heard = self.news.recv() => heard,
                () = silence.as_mut() => return Heard::Silence,
                () = others.as_mut() => {
                    self.is_to_see(engine.ambient().steady().saturating_sub(OTHERS / 2));
                    return Heard::News;
                }
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
        self.is_to_see(engine.ambient().steady());
        Heard::News
    }

    /// The next look sees what was there by then.
    fn is_to_see(&mut self, moment: Duration) {
        if let Source::All { since, .. } = &mut self.source {
            *since = moment;
        }
    }

    /// Takes up what is new.
    async fn look(&mut self) -> Result<(), Problem> {
        self.looked_at = Instant::now();
        match &mut self.source {
            Source::Mission { no, after, fold, ended } => {
                let (no, behind, kept) = (*no, *after, fold.take());
                let read = self.app.reading(move |engine| {
                    let mut fold = kept.map(|fold| *fold);
                    let events = engine.next_events(no, &mut fold, behind, CHUNK, CHUNK_BYTES)?;
                    Ok((fold.map(Box::new), events))
                });
                let (read, Events { events, over, .. }) = away::unless(&self.app.engine, read).await?;
                (*fold, *ended) = (read, over);
                self.idle = events.is_empty();
                *after = events.last().map_or(behind, |last| last.id);
                self.ready = events.into_iter().map(Ready::from).collect();
            }
            Source::Node { after } => {
                let behind = *after;
                let read = self.app.reading(move |engine| engine.events_after(behind, CHUNK, CHUNK_BYTES));
                let (events, read) = away::unless(&self.app.engine, read).await?;
                self.idle = events.is_empty() && read == behind;
                *after = read;
                self.ready = events.into_iter().map(Ready::from).collect();
            }
            Source::All { after, since } => {
                let (behind, since) = (after.clone(), *since);
                let read = self.app.reading(move |engine| engine.events_of_all(&behind, since, CHUNK, CHUNK_BYTES));
                let (events, read) = away::unless(&self.app.engine, read).await?;
                self.idle = events.is_empty() && read == *after;
                *after = read;
                self.ready = events.into_iter().map(Ready::from).collect();
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

    #[test]
    fn an_id_of_a_feed_is_a_number_or_says_how_far_each_node_was_read() {
        let ask = |query: &str, header: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers
                .extend(header.map(|id| (header::HeaderName::from_static("last-event-id"), id.parse().expect("text"))));
            let query = super::super::query::read::<FeedQuery>(query).map_err(|problem| problem.body())?;
            Ask::of_feed(query, &headers).map(|ask| ask.after).map_err(|problem| problem.body())
        };
        let all = || Behind::Bookmark("f~0-1~2.7".parse().expect("a bookmark"));
        assert_eq!(ask("", None), Ok(Behind::Number(0)));
        assert_eq!(ask("after=3", None), Ok(Behind::Number(3)));
        assert_eq!(ask("after=3&cursor=f~0-1~2.7", None), Ok(all()));
        assert_eq!(ask("after=3", Some("f~0-1~2.7")), Ok(all()));
        assert_eq!(ask("after=f", None).map(Behind::into_bookmark), Ok(Bookmark::default()));
        for (query, header) in [("after=x", None), ("after=", None), ("cursor=f~2-1", None), ("", Some("f~0.01"))] {
            let told = ask(query, header).expect_err(query).to_string();
            assert!(told.contains("the id of an event"), "{told}");
        }
        assert!(all().number().is_err());
        assert_eq!(Behind::Number(7).into_bookmark(), Bookmark::behind(7));
    }
}
