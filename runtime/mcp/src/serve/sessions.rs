//! The sessions of clients of the former era: so many, and each only for whoever began it.
//!
//! A session that is silent for long ends. Where there are too many, one makes room for the next: of whoever has too many the one that was
//! silent longest, else the one of all; one whose call is being answered only where there is no other. Its client is told that it is gone and
//! begins anew, which is what the protocol has for it. Nothing that matters is in a session. The protocol's library keeps finished answers for
//! clients that come back for them, and forgets the old ones only when another is finished: of each session it keeps those of the last second.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use parking_lot::Mutex;
use rmcp::model::{ClientJsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_server::session::SessionManager;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::session::{ServerSseMessage, SessionId};

/// Most sessions at once.
pub(super) const SESSIONS_MAX: usize = 256;

/// Most sessions of one caller.
pub(super) const SESSIONS_EACH_MAX: usize = 32;

/// How long a finished answer is kept: nobody can come back for a call that is no stream.
const ANSWERS_KEPT: Duration = Duration::from_secs(1);

/// How long a session may be silent: longer than any call waits.
const SILENCE: Duration = Duration::from_secs(15 * 60);

/// The sessions of callers of a kind.
pub(super) struct Sessions<C> {
    inner: LocalSessionManager,
    seats: Arc<Mutex<Seats<C>>>,
    most: usize,
    most_each: usize,
}

/// Whose each session is, and which was silent longest.
struct Seats<C> {
    taken: HashMap<SessionId, Seat<C>>,
    /// Grows with each use.
    clock: u64,
}

struct Seat<C> {
    owner: Option<C>,
    used: u64,
    /// How many of its calls are being answered.
    calls: usize,
}

/// A call that is being answered.
struct Call<C> {
    seats: Arc<Mutex<Seats<C>>>,
    id: SessionId,
}

impl<C> Call<C> {
    fn new(seats: &Arc<Mutex<Seats<C>>>, id: &SessionId) -> Self {
        if let Some(seat) = seats.lock().taken.get_mut(id) {
            seat.calls += 1;
        }
        Self { seats: Arc::clone(seats), id: Arc::clone(id) }
    }
}

impl<C> Drop for Call<C> {
    fn drop(&mut self) {
        if let Some(seat) = self.seats.lock().taken.get_mut(&self.id) {
            seat.calls = seat.calls.saturating_sub(1);
        }
    }
}

impl<C: PartialEq> Seats<C> {
    fn touch(&mut self, id: &str) {
        self.clock += 1;
        if let Some(seat) = self.taken.get_mut(id) {
            seat.used = self.clock;
        }
    }

    /// Which of those makes room first.
    fn oldest(&self, of: impl Fn(&Seat<C>) -> bool) -> Option<SessionId> {
        let those = self.taken.iter().filter(|(_, seat)| of(seat));
        those.min_by_key(|(_, seat)| (seat.calls > 0, seat.used)).map(|(id, _)| Arc::clone(id))
    }

    /// Which makes room, where one of the caller's is begun.
    fn too_many(&self, caller: Option<&C>, most_each: usize) -> Option<SessionId> {
        let is_own = |seat: &Seat<C>| seat.owner.as_ref() == caller;
        let own = self.taken.values().filter(|seat| is_own(seat)).count();
        if own > most_each { self.oldest(is_own) } else { None }
    }
}

impl<C: Clone + PartialEq + Send + Sync + 'static> Sessions<C> {
    pub(super) fn new(most: usize, most_each: usize) -> Self {
        let mut inner = LocalSessionManager::default();
        inner.session_config.keep_alive = Some(SILENCE);
        inner.session_config.completed_cache_ttl = ANSWERS_KEPT;
        let seats = Arc::new(Mutex::new(Seats { taken: HashMap::new(), clock: 0 }));
        Self { inner, seats, most, most_each }
    }

    /// Whether the session is of that caller. One that is not there is nobody's.
    pub(super) fn is_of(&self, id: &str, caller: Option<&C>) -> bool {
        self.seats.lock().taken.get(id).is_some_and(|seat| seat.owner.as_ref() == caller)
    }

    /// The session that was begun is of that caller: of too many of theirs, one ends.
    pub(super) async fn give(&self, id: &str, caller: Option<C>) {
        let too_many = {
            let mut seats = self.seats.lock();
            if let Some(seat) = seats.taken.get_mut(id) {
                seat.owner.clone_from(&caller);
            }
            seats.too_many(caller.as_ref(), self.most_each)
        };
        if let Some(oldest) = too_many {
            tracing::debug!("a session makes room for another of the same caller");
            let _ = self.close_session(&oldest).await;
        }
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.seats.lock().taken.len()
    }
}

impl<C: Clone + PartialEq + Send + Sync + 'static> SessionManager for Sessions<C> {
    type Error = <LocalSessionManager as SessionManager>::Error;
    type Transport = <LocalSessionManager as SessionManager>::Transport;

    async fn create_session(&self) -> Result<(SessionId, Self::Transport), Self::Error> {
        loop {
            let oldest = {
                let seats = self.seats.lock();
                if seats.taken.len() < self.most { None } else { seats.oldest(|_| true) }
            };
            let Some(oldest) = oldest else { break };
            tracing::debug!("a session makes room for another");
            let _ = self.close_session(&oldest).await;
        }
        let (id, transport) = self.inner.create_session().await?;
        let mut seats = self.seats.lock();
        seats.clock += 1;
        let used = seats.clock;
        seats.taken.insert(Arc::clone(&id), Seat { owner: None, used, calls: 0 });
        drop(seats);
        Ok((id, transport))
    }

    async fn initialize_session(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<ServerJsonRpcMessage, Self::Error> {
        self.inner.initialize_session(id, message).await
    }

    async fn has_session(&self, id: &SessionId) -> Result<bool, Self::Error> {
        self.inner.has_session(id).await
    }

    async fn close_session(&self, id: &SessionId) -> Result<(), Self::Error> {
        self.seats.lock().taken.remove(id);
        self.inner.close_session(id).await
    }

    async fn create_stream(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        self.seats.lock().touch(id);
        let call = Call::new(&self.seats, id);
        let stream = self.inner.create_stream(id, message).await?;
        Ok(stream.inspect(move |_| {
            // It is one for as long as its stream is there.
            let _ = &call;
        }))
    }

    async fn accept_message(&self, id: &SessionId, message: ClientJsonRpcMessage) -> Result<(), Self::Error> {
        self.seats.lock().touch(id);
        self.inner.accept_message(id, message).await
    }

    async fn create_standalone_stream(
        &self,
        id: &SessionId,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        self.seats.lock().touch(id);
        self.inner.create_standalone_stream(id).await
    }

    async fn resume(
        &self,
        id: &SessionId,
        last_event_id: String,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        self.seats.lock().touch(id);
        self.inner.resume(id, last_event_id).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_longest_silent_session_makes_room_and_none_is_anybody_elses() {
        let sessions = Sessions::<&str>::new(2, 2);
        let mut begun = Vec::new();
        for owner in ["a", "b"] {
            let (id, transport) = sessions.create_session().await.expect("a session");
            sessions.give(&id, Some(owner)).await;
            begun.push((id, transport));
        }
        assert!(sessions.is_of(&begun[0].0, Some(&"a")));
        assert!(!sessions.is_of(&begun[0].0, Some(&"b")));
        assert!(!sessions.is_of(&begun[0].0, None));
        sessions.seats.lock().touch(&begun[0].0);
        let (third, _transport) = sessions.create_session().await.expect("a session");
        assert_eq!(sessions.count(), 2);
        assert!(sessions.has_session(&begun[0].0).await.expect("known"), "it was used last");
        assert!(!sessions.has_session(&begun[1].0).await.expect("known"), "it was silent longest");
        assert!(!sessions.is_of(&begun[1].0, Some(&"b")));
        assert!(!sessions.is_of(&third, Some(&"b")), "it is nobody's before it is given");
        sessions.close_session(&third).await.expect("closed");
        assert_eq!(sessions.count(), 1);
    }
    #[tokio::test]
    async fn who_begins_many_loses_their_own_and_a_call_is_waited_for() {
        let sessions = Sessions::<&str>::new(4, 2);
        let mut begun = Vec::new();
        for owner in ["b", "a", "a", "a", "a"] {
            let (id, transport) = sessions.create_session().await.expect("a session");
            sessions.give(&id, Some(owner)).await;
            begun.push((id, transport));
        }
        let there: Vec<bool> = begun.iter().map(|(id, _)| sessions.seats.lock().taken.contains_key(id)).collect();
        assert_eq!(there, [true, false, false, true, true], "the silent one of somebody else is not touched");
        let call = Call::new(&sessions.seats, &begun[3].0);
        let (id, _transport) = sessions.create_session().await.expect("a session");
        sessions.give(&id, Some("a")).await;
        assert!(sessions.is_of(&begun[3].0, Some(&"a")), "its call is being answered");
        assert!(!sessions.is_of(&begun[4].0, Some(&"a")));
        drop(call);
        assert_eq!(sessions.seats.lock().taken[&begun[3].0].calls, 0);
    }
}
