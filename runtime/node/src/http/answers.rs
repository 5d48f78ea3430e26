//! What answers hold of the node's memory: bounded for all of them together.
//!
//! What is large is read by few at a time, on threads that may block, and once it is written out it counts until the client has
//! taken it. An answer for which there is no room is waited for a moment, and then told to come later, before memory grows. A
//! journal or an artifact is never held whole: it is read piece by piece, as the client takes it.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::App;
use super::error::Problem;
use sortie_engine::shown::PAGE_BYTES_MAX;
use sortie_engine::{Engine, ReadError};

/// Most that all answers together hold, in bytes.
pub(crate) const HELD_BYTES_MAX: usize = 128 << 20;

/// What an answer counts as before it is known how large it is: a page, and the item that was one too many.
const PAGE_ROOM: usize = 2 * PAGE_BYTES_MAX;

/// What a piece of a stream counts as before it is read.
pub(super) const PIECE_ROOM: usize = 512 << 10;

/// How many read at the same time: more of them would take longer each, and hold more.
const READERS: usize = 4;

/// How long an answer waits for room and for its turn to be read.
const PATIENCE: Duration = Duration::from_secs(10);

/// Room is counted in these, so that a semaphore can count it.
const UNIT: usize = 1 << 10;

const _: () =
    assert!(READERS * PAGE_ROOM < HELD_BYTES_MAX && PIECE_ROOM < PAGE_ROOM, "who reads a page has room for it");

/// The room for answers, and the turns to read.
#[derive(Debug, Clone)]
pub(crate) struct Answers {
    room: Arc<Semaphore>,
    readers: Arc<Semaphore>,
}

/// Room that an answer takes until it is dropped.
#[derive(Debug)]
pub(super) struct Room(OwnedSemaphorePermit);

/// Bytes that count until the last part of them is written.
struct Held {
    bytes: Vec<u8>,
    _room: Room,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Answers {
    pub(crate) fn new() -> Self {
        Self::of(HELD_BYTES_MAX, READERS)
    }

    fn of(bytes: usize, readers: usize) -> Self {
        Self { room: Arc::new(Semaphore::new(bytes / UNIT)), readers: Arc::new(Semaphore::new(readers)) }
    }

    /// What answers hold now, in bytes.
    pub(crate) fn held(&self) -> usize {
        (HELD_BYTES_MAX / UNIT).saturating_sub(self.room.available_permits()) * UNIT
    }

    /// Room for `bytes`.
    pub(super) async fn room(&self, bytes: usize) -> Result<Room, Problem> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let permit = timeout_at(Instant::now() + PATIENCE, Arc::clone(&self.room).acquire_many_owned(units)).await;
        permit.map(|permit| Room(permit.expect("never closed"))).map_err(|_| full())
    }

    /// A turn to read.
    pub(super) async fn turn(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let turn = timeout_at(Instant::now() + PATIENCE, Arc::clone(&self.readers).acquire_owned()).await;
        turn.map(|turn| turn.expect("never closed")).map_err(|_| full())
    }

    /// The bytes, which take up `room` until they are written. Where they are more than that, more is taken.
    pub(super) async fn hold(&self, bytes: Vec<u8>, mut room: Room) -> Result<Bytes, Problem> {
        let (has, wants) = (room.0.num_permits(), bytes.len().div_ceil(UNIT));
        if has > wants {
            drop(room.0.split(has - wants));
        } else if wants > has {
            room.0.merge(self.room((wants - has) * UNIT).await?.0);
        }
        Ok(Bytes::from_owner(Held { bytes, _room: room }))
    }
}

fn full() -> Problem {
    let detail = "the node has as many answers to give as it can hold; try again in a second";
    Problem::busy("answers_full", detail)
}

impl App {
    /// Reads something that may be large, in its turn.
    pub(crate) async fn reading<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Engine) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, Problem> {
        let turn = self.answers.turn().await?;
        let read = self.blocking(read).await;
        drop(turn);
        read
    }

    /// The answer that `read` gives, as JSON.
    pub(super) async fn shown<T: Serialize>(
        &self,
        read: impl FnOnce(&Engine) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<Response, Problem> {
        self.shown_as(StatusCode::OK, read).await
    }

    /// The same, with a status.
    pub(super) async fn shown_as<T: Serialize>(
        &self,
        status: StatusCode,
        read: impl FnOnce(&Engine) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<Response, Problem> {
        let room = self.answers.room(PAGE_ROOM).await?;
        let json = self.reading(|engine| Ok(serde_json::to_vec(&read(engine)?).expect("what is shown is plain data")));
        let body = self.answers.hold(json.await?, room).await?;
        Ok((status, [(header::CONTENT_TYPE, "application/json")], body).into_response())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn answers_hold_so_much_and_give_it_back_when_they_are_written() {
        let answers = Answers::of(10 * UNIT, 1);
        let free = |answers: &Answers| answers.room.available_permits();
        let room = answers.room(4 * UNIT).await.expect("room");
        let small = answers.hold(vec![0; UNIT / 2], room).await.expect("room");
        assert_eq!(free(&answers), 9, "what is not needed is given back at once");
        let room = answers.room(UNIT).await.expect("room");
        let large = answers.hold(vec![0; 9 * UNIT], room).await.expect("what is larger than was thought takes more");
        assert_eq!(free(&answers), 0);
        let refused = answers.room(1).await.expect_err("full");
        assert_eq!(refused.body()["code"], "answers_full");
        let part = large.slice(0..10);
        drop((small, large));
        assert_eq!(free(&answers), 1, "a part of it is still to be written");
        drop(part);
        assert_eq!(free(&answers), 10);
    }
}
