//! A connection to a server: which era of the protocol it speaks, whether it is still there, and why it is not.
//!
//! Owned here: the negotiation, what is known of the end of a connection, and how long a sign of life takes. Never here: when a server is
//! reached again.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rmcp::model::{
    ClientRequest, DiscoverRequest, DiscoverRequestParams, PingRequest, ProtocolVersion, SubscriptionFilter,
};
use rmcp::service::{
    ClientInitializeError, ClientLifecycleMode, Peer, RoleClient, ServiceError, serve_client_with_lifecycle_and_ct,
};
use rmcp::transport::Transport;
use sortie_contract::limit;
use sortie_egress::Redactor;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::TOLD_BYTES_MAX;
use crate::handler::{Handler, News};
use crate::throttle::Throttled;

/// How often a subscription is made again that ended by itself, and how long that waits.
const LISTEN_AGAIN: u32 = 5;
const LISTEN_WAIT: Duration = Duration::from_secs(5);

/// Longest name and version of a server that are kept, in bytes.
const CALLED_BYTES_MAX: usize = 100;

/// How a connection came to its end, as whoever saw it told; and what could not be read of it.
pub(crate) struct End {
    why: Mutex<Option<String>>,
    last_words: Mutex<Option<String>>,
    /// The program writes nothing more.
    pub(crate) quiet: CancellationToken,
    /// How many messages were so large that nobody got them.
    pub(crate) too_large: watch::Sender<u64>,
}

impl Default for End {
    fn default() -> Self {
        Self {
            why: Mutex::default(),
            last_words: Mutex::default(),
            quiet: CancellationToken::new(),
            too_large: watch::Sender::new(0),
        }
    }
}

impl End {
    /// It is for this reason; the first one counts.
    pub(crate) fn because(&self, why: String) {
        self.why.lock().get_or_insert(why);
    }

    pub(crate) fn why(&self) -> Option<String> {
        self.why.lock().clone()
    }

    /// The program wrote this last.
    pub(crate) fn said(&self, line: String) {
        *self.last_words.lock() = Some(line);
    }

    pub(crate) fn with_last_words(&self, how: String) -> String {
        match &*self.last_words.lock() {
            Some(line) => format!("{how}; it said last: {line}"),
            None => how,
        }
    }
}

/// The eras of the protocol: how a conversation begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opening {
    /// Asks which one it is (2026-07-28 or later), and begins as before where there is no answer to that.
    Probe,
    /// As before: with a handshake.
    Handshake,
}

impl Opening {
    fn mode(self) -> ClientLifecycleMode {
        match self {
            Self::Probe => ClientLifecycleMode::Auto {
                preferred_versions: vec![ProtocolVersion::V_2026_07_28],
                legacy_version: Some(ProtocolVersion::LATEST_WITH_INITIALIZE),
            },
            Self::Handshake => ClientLifecycleMode::Initialize,
        }
    }
}

/// See the module.
pub(crate) struct Connection {
    pub(crate) server: Arc<str>,
    pub(crate) peer: Peer<RoleClient>,
    pub(crate) news: Arc<News>,
    pub(crate) veil: Arc<Redactor>,
    end: Arc<End>,
    /// `true` once it is over.
    over: watch::Receiver<bool>,
    /// Ends it when this is dropped, with whatever stands behind it.
    life: CancellationToken,
    _drop: DropGuard,
}

impl Connection {
    /// Begins a conversation over `transport`.
    pub(crate) async fn open<T: Transport<RoleClient> + 'static>(
        server: &Arc<str>,
        transport: T,
        opening: Opening,
        end: Arc<End>,
        veil: Arc<Redactor>,
    ) -> Result<Self, String> {
        let life = CancellationToken::new();
        let drop = life.clone().drop_guard();
        let news = Arc::new(News::default());
        let handler = Handler { server: Arc::clone(server), news: Arc::clone(&news), veil: Arc::clone(&veil) };
        let begun =
            serve_client_with_lifecycle_and_ct(handler, Throttled::new(transport), opening.mode(), life.clone());
        let service = match begun.await {
            Ok(service) => service,
            Err(error) => return Err(refused(&end, &error, &veil)),
        };
        let peer = service.peer().clone();
        let (tell_over, over) = watch::channel(false);
        tokio::spawn(async move {
            // It closes the transport at its end, and with it what stands behind.
            let _ = service.waiting().await;
            let _ = tell_over.send(true);
        });
        let connection = Self { server: Arc::clone(server), peer, news, veil, end, over, life, _drop: drop };
        connection.listen();
        Ok(connection)
    }

    /// Where changes are only told to whoever has asked for them.
    fn listen(&self) {
        let tells = self
            .peer
            .peer_info()
            .is_some_and(|info| info.capabilities.tools.as_ref().is_some_and(|tools| tools.list_changed == Some(true)));
        if self.has_handshake() || !tells {
            return;
        }
        let (peer, news, life, server) =
            (self.peer.clone(), Arc::clone(&self.news), self.life.clone(), Arc::clone(&self.server));
        let veil = Arc::clone(&self.veil);
        tokio::spawn(async move {
            for _ in 0..LISTEN_AGAIN {
                let listening = async {
                    let filter = SubscriptionFilter::builder().tools_list_changed().build();
                    let mut subscription = peer.listen(filter).await?;
                    while subscription.next().await?.is_some() {
                        news.tools.notify_one();
                    }
                    Ok::<(), ServiceError>(())
                };
                tokio::select! {
                    () = life.cancelled() => return,
                    listened = listening => if let Err(error) = listened {
                        let why = veil.clipped(&error.to_string(), limit::QUOTE_BYTES_MAX);
                        tracing::debug!(server = &*server, why, "a tool server does not tell of its changes");
                    }
                }
                tokio::select! {
                    () = life.cancelled() => return,
                    () = tokio::time::sleep(LISTEN_WAIT) => {}
                }
                // What was told meanwhile nobody heard.
                news.tools.notify_one();
            }
        });
    }

    /// Whether it speaks the era of the handshake.
    pub(crate) fn has_handshake(&self) -> bool {
        self.peer.peer_info().is_none_or(|info| info.protocol_version.has_initialize())
    }

    /// The version of the protocol that is spoken.
    pub(crate) fn protocol(&self) -> Option<String> {
        let info = self.peer.peer_info()?;
        Some(limit::clip(info.protocol_version.as_str(), CALLED_BYTES_MAX))
    }

    /// What the server calls itself.
    pub(crate) fn called(&self) -> Option<String> {
        let info = self.peer.peer_info()?;
        let called = info.server_info.as_ref()?;
        Some(self.veil.clipped(&format!("{} {}", called.name, called.version), CALLED_BYTES_MAX))
    }

    /// How long a sign of life takes.
    pub(crate) async fn ping(&self) -> Result<Duration, String> {
        let begun = Instant::now();
        let request = if self.has_handshake() {
            ClientRequest::PingRequest(PingRequest::default())
        } else {
            ClientRequest::DiscoverRequest(DiscoverRequest::new(DiscoverRequestParams {}))
        };
        match self.peer.send_request(request).await {
            // Whoever refuses is there.
            Ok(_) | Err(ServiceError::McpError(_)) => Ok(begun.elapsed()),
            Err(error) => Err(self.lost_for().unwrap_or_else(|| crate::causes(&error, &self.veil))),
        }
    }

    /// Why it has come to its end, if that is known.
    pub(crate) fn why_lost(&self) -> Option<String> {
        self.end.why()
    }

    /// The same, as it may be told.
    pub(crate) fn lost_for(&self) -> Option<String> {
        self.why_lost().map(|why| self.veil.clipped(&why, TOLD_BYTES_MAX))
    }

    /// Tells of messages that were too large, from now on.
    pub(crate) fn too_large(&self) -> watch::Receiver<u64> {
        self.end.too_large.subscribe()
    }

    /// Resolves when it has come to its end, with the reason.
    pub(crate) async fn lost(&self) -> String {
        // Whoever would tell is gone: so is the connection.
        let _ = self.over.clone().wait_for(|over| *over).await;
        self.veil.owned(self.why_lost().unwrap_or_else(|| "the connection was closed".to_owned()))
    }

    /// Ends it, and waits until what stands behind it is gone.
    pub(crate) async fn close(&self) {
        self.end.because("the node has let it go".to_owned());
        self.life.cancel();
        let _ = self.over.clone().wait_for(|over| *over).await;
    }

    /// Ends it.
    pub(crate) fn drop_it(&self) {
        self.life.cancel();
    }
}

/// Why a conversation did not begin.
fn refused(end: &End, error: &ClientInitializeError, veil: &Redactor) -> String {
    let why = match (error, end.why()) {
        (ClientInitializeError::ConnectionClosed(_) | ClientInitializeError::TransportError { .. }, Some(why)) => why,
        // What is around it names types of this program.
        (ClientInitializeError::TransportError { error, .. }, None) => {
            format!("it does not begin to speak MCP: {}", crate::causes(error.error.as_ref(), veil))
        }
        (error, _) => format!("it does not begin to speak MCP: {}", crate::causes(error, veil)),
    };
    veil.clipped(&why, TOLD_BYTES_MAX)
}
