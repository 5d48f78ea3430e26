//! The sessions of clients of the former era: so many, and each only for whoever began it.
//!
//! A session that is silent for long ends. Where there are too many, the one that was silent longest makes room for the next: its client
//! is told that it is gone and begins anew, which is what the protocol has for it. Nothing that matters is in a session.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use parking_lot::Mutex;
use rmcp::model::{ClientJsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_server::session::SessionManager;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::session::{ServerSseMessage, SessionId};

/// Most sessions at once.
pub(super) const SESSIONS_MAX: usize = 256;

/// How long a session may be silent: longer than any call waits.
const SILENCE: Duration = Duration::from_secs(15 * 60);

/// The sessions of callers of a kind.
pub(super) struct Sessions<C> {
    inner: LocalSessionManager,
    seats: Mutex<Seats<C>>,
    most: usize,
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
}

impl<C> Seats<C> {
    fn touch(&mut self, id: &str) {
        self.clock += 1;
        if let Some(seat) = self.taken.get_mut(id) {
            seat.used = self.clock;
        }
    }

    fn oldest(&self) -> Option<SessionId> {
        self.taken.iter().min_by_key(|(_, seat)| seat.used).map(|(id, _)| Arc::clone(id))
    }
}

impl<C: Clone + PartialEq + Send + Sync + 'static> Sessions<C> {
    pub(super) fn new(most: usize) -> Self {
        let mut inner = LocalSessionManager::default();
        inner.session_config.keep_alive = Some(SILENCE);
        Self { inner, seats: Mutex::new(Seats { taken: HashMap::new(), clock: 0 }), most }
    }

    /// Whether the session is of that caller. One that is not there is nobody's.
    pub(super) fn is_of(&self, id: &str, caller: Option<&C>) -> bool {
        self.seats.lock().taken.get(id).is_some_and(|seat| seat.owner.as_ref() == caller)
    }

    /// The session that was begun is of that caller.
    pub(super) fn give(&self, id: &str, caller: Option<C>) {
        if let Some(seat) = self.seats.lock().taken.get_mut(id) {
            seat.owner = caller;
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
                if seats.taken.len() < self.most { None } else { seats.oldest() }
            };
            let Some(oldest) = oldest else { break };
            tracing::debug!("a session makes room for another");
            let _ = self.close_session(&oldest).await;
        }
        let (id, transport) = self.inner.create_session().await?;
        let mut seats = self.seats.lock();
        seats.clock += 1;
        let used = seats.clock;
        seats.taken.insert(Arc::clone(&id), Seat { owner: None, used });
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
        self.inner.create_stream(id, message).await
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
        let sessions = Sessions::<&str>::new(2);
        let mut begun = Vec::new();
        for owner in ["a", "b"] {
            let (id, transport) = sessions.create_session().await.expect("a session");
            sessions.give(&id, Some(owner));
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
}
