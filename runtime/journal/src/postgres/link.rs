//! A connection: how it is made, what is set on each, and the statements that it has prepared.

use std::collections::HashMap;
use std::str::FromStr as _;
use std::time::Duration;

use futures_util::future::join3;
use parking_lot::Mutex;
use tokio_postgres::config::{Config, SslMode};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, Row, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::tls;
use super::trouble::{self, StoreError};

/// A database that does not take a connection for so long is away.
const CONNECT: Duration = Duration::from_secs(5);

/// What was sent and is not even acknowledged by the other machine for so long was sent into nothing.
const SILENCE: Duration = Duration::from_secs(10);

/// A database that has not answered for so long is asked anew, over another connection.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What every connection begins with. Nothing is written but in a transaction that says that it writes: a statement that loses its
/// BEGIN is refused, and not done alone. A commit that was acknowledged is on disk, whatever the server's own settings say. What a
/// connection that broke off left open ends by itself. How long a statement may take is seen to on this side: one that the server breaks
/// off for its length is as long the next time.
const SETTINGS: &str = "
SET default_transaction_read_only = on;
SET idle_in_transaction_session_timeout = '10s';
SET statement_timeout = 0;
SET lock_timeout = 0;
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit', true) = 'off'";

/// Where the database is.
#[derive(Clone)]
pub(crate) struct Dial {
    config: Config,
    tls: MakeRustlsConnect,
}

impl std::fmt::Debug for Dial {
    /// Without the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dial").field("hosts", &self.config.get_hosts()).finish_non_exhaustive()
    }
}

impl Dial {
    /// At this URL, with that password where it is kept apart.
    pub(crate) fn new(url: &str, password: Option<&str>) -> Result<Self, StoreError> {
        let (url, roots) = tls::read(url)?;
        let mut config = Config::from_str(&url).map_err(|error| StoreError::Url { why: trouble::told(&error) })?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(StoreError::Url { why: "it names no host".to_owned() });
        }
        if let Some(password) = password {
            config.password(password);
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(SILENCE);
        }
        // Whoever only waits for an answer finds that nobody is there as soon as whoever sends.
        config.keepalives_idle(SILENCE / 2);
        config.keepalives_interval(SILENCE / 4);
        config.keepalives_retries(2);
        if config.get_application_name().is_none() {
            config.application_name("sortie");
        }
        let tls = tls::connector(&roots)?;
        Ok(Self { config, tls })
    }

    /// Whether what goes there may be read on its way: by those who hold the network, where the URL does not insist on TLS.
    pub(crate) fn may_be_open(&self) -> bool {
        let is_here = |host: &tokio_postgres::config::Host| match host {
            tokio_postgres::config::Host::Tcp(name) => ["localhost", "127.0.0.1", "::1"].contains(&name.as_str()),
            tokio_postgres::config::Host::Unix(_) => true,
        };
        self.config.get_ssl_mode() != SslMode::Require && !self.config.get_hosts().iter().all(is_here)
    }
}

/// How long to wait before the next attempt, after so many.
pub(crate) fn pause(attempts: u32) -> Duration {
    Duration::from_millis(20 << attempts.min(6))
}

/// A connection with its settings; its other half runs for as long as the client is kept.
pub(crate) async fn connect(dial: &Dial) -> Result<Client, Error> {
    let (client, connection) = dial.config.connect(dial.tls.clone()).await?;
    tokio::spawn(async move {
        // Whoever uses the client is told as well.
        if let Err(error) = connection.await {
            tracing::debug!(error = trouble::told(&error), "a connection to the store has ended");
        }
    });
    client.batch_execute(SETTINGS).await?;
    Ok(client)
}

/// A connection, and what it has prepared.
pub(crate) struct Link {
    pub(crate) client: Client,
    prepared: Mutex<HashMap<&'static str, Statement>>,
}

/// A parameter of a statement.
pub(crate) type Param<'a> = Box<dyn ToSql + Sync + Send + 'a>;

impl Link {
    pub(crate) async fn new(dial: &Dial) -> Result<Self, Error> {
        Ok(Self { client: connect(dial).await?, prepared: Mutex::default() })
    }

    /// The one that is kept, or a new one where that is closed or none is.
    pub(crate) async fn of<'a>(kept: &'a mut Option<Self>, dial: &Dial) -> Result<&'a Self, Error> {
        let link = match kept.take().filter(|link| !link.client.is_closed()) {
            Some(link) => link,
            None => Self::new(dial).await?,
        };
        Ok(kept.insert(link))
    }

    /// The statement, prepared with its first use.
    pub(crate) async fn prepared(&self, sql: &'static str) -> Result<Statement, Error> {
        if let Some(statement) = self.prepared.lock().get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql).await?;
        self.prepared.lock().insert(sql, statement.clone());
        Ok(statement)
    }

    pub(crate) async fn rows(&self, sql: &'static str, params: &[Param<'_>]) -> Result<Vec<Row>, Error> {
        let statement = self.prepared(sql).await?;
        self.client.query(&statement, &borrowed(params)).await
    }
}

/// A statement that writes, in a transaction of its own, in one flight. Nothing of it is sent before this is waited for.
pub(crate) async fn alone<T>(client: &Client, done: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let begin = client.batch_execute("BEGIN READ WRITE");
    let (begun, done, ended) = join3(begin, done, client.batch_execute("COMMIT")).await;
    begun?;
    let done = done?;
    ended?;
    Ok(done)
}

pub(crate) fn borrowed<'a>(params: &'a [Param<'_>]) -> Vec<&'a (dyn ToSql + Sync)> {
    params.iter().map(|param| &**param as &(dyn ToSql + Sync)).collect()
}
