//! `GET /live`: tells an open page that something has changed on the node, at most once a second; what, the page asks itself.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use sortie_contract::MissionNo;
use tokio::sync::Notify;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::sleep;

use super::Web;
use super::door::Viewer;
use super::frame::Refused;
use super::session::Key;
use crate::config::Scope;

/// What happens within this time is told once.
const GATHER: Duration = Duration::from_secs(1);
/// How often a silent stream says that it is alive; and how long at most one goes on that has been signed out.
const ALIVE: Duration = Duration::from_secs(15);

/// The event after which a page listens no more, and does not come back: newer pages of its session do.
pub(super) const ENOUGH: &str = "enough";

/// A page that listens.
struct Ear {
    web: Web,
    key: Key,
    news: Receiver<MissionNo>,
    enough: Arc<Notify>,
    is_over: bool,
}

/// The stream.
pub(super) async fn stream(viewer: Viewer, State(web): State<Web>) -> Result<Response, Refused> {
    if !viewer.holder.may(Scope::Read) {
        return Err(Refused::problem(Some(&viewer), &viewer.holder.lacks(Scope::Read).body()));
    }
    let news = web.app.engine.news();
    let enough = web.sessions.listen(viewer.key);
    let ear = Ear { web, key: viewer.key, news, enough, is_over: false };
    let frames = stream::unfold(ear, |mut ear| async move {
        let frame = ear.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from_static(frame)), ear))
    });
    Ok(([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(frames)).into_response())
}

impl Ear {
    /// The next frame; none once the node stops, or the session is over.
    async fn next(&mut self) -> Option<&'static [u8]> {
        let engine = self.web.app.engine.clone();
        // Listens before it asks: a goodbye between the two must not be missed.
        let mut goodbye = pin!(engine.goodbye().notified());
        goodbye.as_mut().enable();
        if self.is_over || engine.is_stopping() || !self.web.sessions.is_open(self.key) {
            return None;
        }
        let frame = tokio::select! {
            heard = self.news.recv() => match heard {
                Ok(_) | Err(RecvError::Lagged(_)) => &b"event: change\ndata: \n\n"[..],
                Err(RecvError::Closed) => return None,
            },
            () = self.enough.notified() => return Some(self.last()),
            () = sleep(ALIVE) => &b":\n\n"[..],
            () = goodbye.as_mut() => return None,
        };
        tokio::select! {
            () = sleep(GATHER) => {}
            () = self.enough.notified() => return Some(self.last()),
            () = goodbye => return None,
        }
        while !matches!(self.news.try_recv(), Err(TryRecvError::Empty | TryRecvError::Closed)) {}
        self.web.sessions.is_open(self.key).then_some(frame)
    }

    /// The frame behind which there is no other.
    fn last(&mut self) -> &'static [u8] {
        self.is_over = true;
        b"event: enough\ndata: \n\n"
    }
}
