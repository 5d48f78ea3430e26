//! A server as a provider of tools: reached, asked what it has, watched, let go of.
//!
//! Owned here: the one connection that it has at a moment, and what is known of it. Never here: when it is reached again, and how long a
//! question may take, which its driver decides (`sortie-engine`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use sortie_contract::limit;
use sortie_tools::{Changed, Provider, ProviderError, Tool};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::TOLD_BYTES_MAX;
use crate::calling::Limits;
use crate::config::{McpConfigError, McpToolConfig, PREFIX, ServerConfig};
use crate::connection::{Connection, End, Opening};
use crate::effects::{Declared, info};
use crate::http::Address;
use crate::listing;
use crate::stdio::{Keeper, Program};
use crate::tool::McpTool;

/// How long a first attempt may take that asks for the era, before one without that question: a little more than the library waits
/// for an answer to it, and little enough that a second attempt has its time.
const PROBE_LIMIT: Duration = Duration::from_secs(14);

/// Most calls of one server at once: as many as one mission may make.
const CALLS_MAX: usize = limit::CALLS_IN_FLIGHT_MAX;

/// A server of `[mcp.NAME]`. Clones are the same server.
#[derive(Clone)]
pub struct McpServer(Arc<Server>);

/// What is known of a server, beside how it is as a provider.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// The version of the protocol that was spoken last.
    pub protocol: Option<String>,
    /// What the server calls itself.
    pub called: Option<String>,
    /// How long it took to answer last, when it was asked whether it is well.
    pub latency: Option<Duration>,
}

pub(crate) struct Server {
    name: Arc<str>,
    prefix: String,
    way: Way,
    limits: Limits,
    is_trusted: bool,
    tools: BTreeMap<String, McpToolConfig>,
    connection: Mutex<Option<Arc<Connection>>>,
    /// It was of the era of the handshake when it was reached last: it is not asked again each time.
    has_handshake: AtomicBool,
    turns: Semaphore,
    seen: Mutex<Seen>,
}

/// How it is reached.
enum Way {
    Program(Program),
    Address(Arc<Address>),
}

impl McpServer {
    /// The server that a table describes; nothing is reached yet. A `keeper` sees to it that a program does not outlive the node.
    ///
    /// # Errors
    /// [`McpConfigError`], as [`McpConfig::check`](crate::McpConfig::check) would tell.
    pub fn new(name: &str, config: &ServerConfig, keeper: Option<Keeper>) -> Result<Self, McpConfigError> {
        let wrong = |why: String| McpConfigError { server: name.to_owned(), why };
        let way = match (&config.command, &config.url) {
            (Some(command), _) => Way::Program(Program::of(command, config, keeper)),
            (None, Some(url)) => Way::Address(Arc::new(Address::of(url, config).map_err(wrong)?)),
            (None, None) => return Err(wrong("has neither `command` nor `url`".to_owned())),
        };
        Ok(Self(Arc::new(Server {
            name: name.into(),
            prefix: format!("{PREFIX}{name}__"),
            way,
            limits: Limits { idle: config.call_timeout, most: config.call_timeout_max },
            is_trusted: config.trust_annotations,
            tools: config.tool.clone(),
            connection: Mutex::default(),
            has_handshake: AtomicBool::new(false),
            turns: Semaphore::new(CALLS_MAX),
            seen: Mutex::default(),
        })))
    }

    /// In a word, how it is reached: `stdio` or `http`.
    #[must_use]
    pub fn transport(&self) -> &'static str {
        match self.0.way {
            Way::Program(_) => "stdio",
            Way::Address(_) => "http",
        }
    }

    /// What is known of it.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.0.seen.lock().clone()
    }
}

impl Server {
    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    /// Resolves when there is room for one call more.
    pub(crate) async fn turn(&self) -> SemaphorePermit<'_> {
        self.turns.acquire().await.expect("never closed")
    }

    pub(crate) fn connection(&self) -> Result<Arc<Connection>, String> {
        let connection = self.connection.lock().clone();
        connection.ok_or_else(|| format!("the tool server `{}` is not connected", self.name))
    }

    async fn open(&self, opening: Opening) -> Result<Connection, String> {
        let end = Arc::new(End::default());
        match &self.way {
            Way::Program(program) => {
                let (pipes, veil) = program.start(&self.name, &end).await?;
                Connection::open(&self.name, pipes, opening, end, veil).await
            }
            Way::Address(address) => {
                let (transport, veil) = address.open().await?;
                Connection::open(&self.name, transport, opening, end, veil).await
            }
        }
    }

    /// Begins a conversation in the era that it speaks. A server that was asked for it may not take a handshake on that same connection,
    /// and one that does not answer at all may answer to a handshake: that is tried on a fresh one.
    async fn reach(&self) -> Result<Connection, String> {
        if self.has_handshake.swap(false, Relaxed) {
            return self.open(Opening::Handshake).await;
        }
        let probed = tokio::time::timeout(PROBE_LIMIT, self.open(Opening::Probe)).await;
        let why = match probed {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(why)) => why,
            Err(_) => format!("no answer within {} s", PROBE_LIMIT.as_secs()),
        };
        // The first attempt says more of what is wrong.
        self.open(Opening::Handshake)
            .await
            .map_err(|second| if second == why { why } else { format!("{why}; then: {second}") })
    }

    fn let_go(&self) -> Option<Arc<Connection>> {
        self.connection.lock().take()
    }

    async fn ping(&self) -> Result<(), ProviderError> {
        let latency = self.connection().map_err(ProviderError)?.ping().await.map_err(ProviderError)?;
        self.seen.lock().latency = Some(latency);
        Ok(())
    }
}

#[async_trait]
impl Provider for McpServer {
    fn name(&self) -> &str {
        &self.0.name
    }

    fn prefix(&self) -> &str {
        &self.0.prefix
    }

    async fn connect(&self) -> Result<(), ProviderError> {
        let server = &self.0;
        // There is never more than one: whoever still calls through the old one is told that it is gone.
        if let Some(old) = server.let_go() {
            old.drop_it();
        }
        let connection = server.reach().await.map_err(ProviderError)?;
        server.has_handshake.store(connection.has_handshake(), Relaxed);
        {
            let mut seen = server.seen.lock();
            (seen.protocol, seen.called) = (connection.protocol(), connection.called());
        }
        *server.connection.lock() = Some(Arc::new(connection));
        Ok(())
    }

    async fn tools(&self) -> Result<Vec<Arc<dyn Tool>>, ProviderError> {
        let server = &self.0;
        let connection = server.connection().map_err(ProviderError)?;
        let listed = listing::tools(&connection.peer).await;
        let listed = listed.map_err(|why| {
            let why = connection.lost_for().unwrap_or_else(|| connection.veil.clipped(&why, TOLD_BYTES_MAX));
            ProviderError(why)
        })?;
        let mut tools: Vec<Arc<dyn Tool>> = Vec::with_capacity(listed.len());
        for listed in listed {
            let config = server.tools.get(&listed.name).cloned().unwrap_or_default();
            if config.enabled == Some(false) {
                continue;
            }
            let info = info(&server.prefix, &listed, Declared::of(listed.hints, server.is_trusted), &config);
            tools.push(Arc::new(McpTool { server: Arc::clone(server), name: listed.name, info }));
        }
        Ok(tools)
    }

    async fn health(&self) -> Result<(), ProviderError> {
        self.0.ping().await
    }

    async fn changed(&self) -> Changed {
        let Ok(connection) = self.0.connection() else { return Changed::Lost("it is not connected".to_owned()) };
        tokio::select! {
            biased;
            why = connection.lost() => Changed::Lost(why),
            () = connection.news.tools.notified() => Changed::Tools,
        }
    }

    async fn close(&self) {
        if let Some(connection) = self.0.let_go() {
            connection.close().await;
        }
    }
}
