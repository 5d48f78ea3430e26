//! Reading the store: over connections of its own, each question by itself, asked again while the database is away.
//!
//! Whoever reads blocks, and no error tells of a database that is away: what cannot be read is a damaged row, or a database that refuses.
//! A few connections are enough, because many questions are on their way on one at once.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};
use tokio_postgres::Row;

use super::link::{self, Dial, Link, PATIENCE, Param};
use super::trouble;
use crate::error::ReadError;

/// Connections that are read over.
const LINKS: usize = 3;

/// How long whoever must not wait does.
pub(super) const AT_ONCE: Duration = Duration::from_secs(2);

/// Rows of a page.
pub(super) const PAGE: usize = 1_000;

/// See the module.
#[derive(Debug)]
pub(super) struct Reader {
    runtime: Handle,
    links: Arc<Links>,
}

struct Links {
    dial: Dial,
    links: [Mutex<Option<Arc<Link>>>; LINKS],
    next: AtomicUsize,
    /// Set once nobody waits for the database any more.
    over: Arc<AtomicBool>,
}

impl std::fmt::Debug for Links {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Links").field("dial", &self.dial).finish_non_exhaustive()
    }
}

impl Reader {
    pub(super) fn new(runtime: Handle, dial: Dial, over: Arc<AtomicBool>) -> Self {
        let links = std::array::from_fn(|_| Mutex::new(None));
        Self { runtime, links: Arc::new(Links { dial, links, next: AtomicUsize::new(0), over }) }
    }

    /// The rows that answer. Blocks.
    pub(super) fn rows(&self, sql: &'static str, params: Vec<Param<'static>>) -> Result<Vec<Row>, ReadError> {
        let links = Arc::clone(&self.links);
        wait(&self.runtime, async move { links.rows(sql, &params, true).await })?
    }

    /// The same, for whoever must not wait while the database is away: `None` then.
    pub(super) fn rows_at_once(
        &self,
        sql: &'static str,
        params: Vec<Param<'static>>,
    ) -> Result<Option<Vec<Row>>, ReadError> {
        let links = Arc::clone(&self.links);
        let asked = wait(&self.runtime, async move { timeout(AT_ONCE, links.rows(sql, &params, false)).await.ok() })?;
        match asked {
            Some(Ok(rows)) => Ok(Some(rows)),
            Some(Err(ReadError::Storage { why })) => {
                tracing::debug!(why, "the store was not asked again");
                Ok(None)
            }
            Some(Err(error)) => Err(error),
            None => Ok(None),
        }
    }

    /// All rows that answer, a page at a time: `sql` takes the last key of the page before and the length of a page as its first two
    /// parameters, and `rest` behind them. `visit` may have enough.
    pub(super) fn pages<K>(
        &self,
        sql: &'static str,
        first: K,
        rest: &[i64],
        mut visit: impl FnMut(&Row) -> Result<ControlFlow<(), K>, ReadError>,
    ) -> Result<(), ReadError>
    where
        K: tokio_postgres::types::ToSql + Clone + Send + Sync + 'static,
    {
        let mut key = first;
        loop {
            let length = i64::try_from(PAGE).unwrap_or(i64::MAX);
            let mut params: Vec<Param<'static>> = vec![Box::new(key.clone()), Box::new(length)];
            params.extend(rest.iter().map(|number| Box::new(*number) as Param<'static>));
            let rows = self.rows(sql, params)?;
            for row in &rows {
                match visit(row)? {
                    ControlFlow::Continue(last) => key = last,
                    ControlFlow::Break(()) => return Ok(()),
                }
            }
            if rows.len() < PAGE {
                return Ok(());
            }
        }
    }
}

impl Links {
    async fn rows(
        &self,
        sql: &'static str,
        params: &[Param<'static>],
        is_patient: bool,
    ) -> Result<Vec<Row>, ReadError> {
        let mut attempts = 0;
        loop {
            let place = self.next.fetch_add(1, Ordering::Relaxed) % LINKS;
            let (is_passing, why) = match timeout(PATIENCE, self.ask(place, sql, params)).await {
                Ok(Ok(rows)) => return Ok(rows),
                Ok(Err(error)) => (trouble::is_passing(&error), trouble::told(&error)),
                Err(_) => (true, "it does not answer".to_owned()),
            };
            self.links[place].lock().take();
            // A connection that was there may have ended long ago: one attempt more tells.
            if !is_passing || self.over.load(Ordering::SeqCst) || (!is_patient && attempts > 0) {
                return Err(storage(&why));
            }
            attempts += 1;
            sleep(link::pause(attempts)).await;
        }
    }

    async fn ask(
        &self,
        place: usize,
        sql: &'static str,
        params: &[Param<'static>],
    ) -> Result<Vec<Row>, tokio_postgres::Error> {
        let kept = self.links[place].lock().clone().filter(|link| !link.client.is_closed());
        let link = match kept {
            Some(link) => link,
            None => {
                let link = Arc::new(Link::new(&self.dial).await?);
                *self.links[place].lock() = Some(Arc::clone(&link));
                link
            }
        };
        link.rows(sql, params).await
    }
}

/// Has the store's own thread do it, and waits on this one.
pub(super) fn wait<T: Send + 'static>(
    runtime: &Handle,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, ReadError> {
    let (sender, receiver) = mpsc::sync_channel(1);
    runtime.spawn(async move {
        // Whoever asked waits.
        let _ = sender.send(work.await);
    });
    receiver.recv().map_err(|_| storage("it was closed"))
}

pub(super) fn storage(why: &str) -> ReadError {
    ReadError::Storage { why: format!("the database of the store: {why}") }
}
