//! The log in the tables of a PostgreSQL database, or of one that speaks like it.
//!
//! What is read is what the database has committed, and what is written goes through one task of this process (`scribe`), a batch in a
//! transaction that is one flight over the network. The rows are those of the journal's file. What of it may differ from database to
//! database is not used: no locks of its own making, no notifications, nothing that skips rows; what is written is checked by the token
//! of whoever holds the store, in the same transaction. `docs/JOURNAL.md` has the tables and what is promised.
//!
//! One node holds a store at a time ([`StoreError::InUse`]): what admission must look up by name is in its memory, as with the file.
//! That no name is there twice holds whoever writes: the tables know it, too.
//!
//! A thread of its own runs all of it, so that neither reading nor handing over needs a runtime of the caller's.

mod books;
mod copy;
mod hold;
mod link;
mod log;
mod read;
mod schema;
mod scribe;
mod script;
mod trouble;

use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use sortie_contract::MissionNo;
use sortie_measure::Seconds;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_postgres::Row;

use self::books::Books;
use self::hold::{Held, Holder};
use self::link::{Dial, Link, Param};
use self::read::{Reader, wait};
use self::scribe::Scribe;
use self::script::Known;
use crate::append::Change;
use crate::balance;
use crate::catalog::Catalog;
use crate::error::{ReadError, WriteError};
use crate::head::Head;
use crate::journal::Receipt;
use crate::log::index::{Index, Leases};
use crate::read::there;
use crate::room::{Load, Room};
use crate::schedule;
use crate::table::Meta;
use crate::tails::Tails;
use crate::writer::{Message, Waker};

pub use self::schema::Migrated;
pub use self::trouble::StoreError;

/// How long a store is held without a sign of life of its holder.
pub const LEASE: Duration = Duration::from_secs(10);

/// No opening gives more leases of missions than this.
const LEASES_LOG2: u32 = 32;

/// Where a store is, and as whom it is opened.
#[derive(Clone)]
pub struct Store {
    /// `postgres://user@host:port/database`.
    pub url: String,
    /// The password, where it is not part of the URL.
    pub password: Option<String>,
    /// What this node is known by from one process to the next. Whoever says it must be sure that no other process does.
    pub node: String,
    /// What it calls itself, for people.
    pub name: String,
    /// How long it is held without a sign of life: mostly [`LEASE`].
    pub lease: Duration,
    /// Appends that may wait to be written; more are refused as overload.
    pub queue_appends_max: usize,
    /// Bytes that may wait to be written; more are refused as overload.
    pub queue_bytes_max: usize,
}

impl Store {
    /// At this URL, opened by this node.
    #[must_use]
    pub fn at(url: &str, node: &str, name: &str) -> Self {
        Self {
            url: url.to_owned(),
            password: None,
            node: node.to_owned(),
            name: name.to_owned(),
            lease: LEASE,
            queue_appends_max: 16_384,
            queue_bytes_max: 256 << 20,
        }
    }

    fn dial(&self) -> Result<Dial, StoreError> {
        Dial::new(&self.url, self.password.as_deref())
    }

    /// Brings its tables to the version of this Sortie. Blocks.
    ///
    /// # Errors
    /// [`StoreError`]; the tables are as they were.
    pub fn migrate(&self) -> Result<Migrated, StoreError> {
        let (dial, hand) = (self.dial()?, Hand::start()?);
        hand.wait(async move { schema::migrate(&dial).await })
    }

    /// Whether it can be reached and has the tables of this Sortie's version, which is returned. Blocks. Nothing is changed.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn look(&self) -> Result<i64, StoreError> {
        let (dial, hand) = (self.dial()?, Hand::start()?);
        hand.wait(async move { schema::check(&link::connect(&dial).await?).await })?;
        Ok(schema::VERSION)
    }
}

impl std::fmt::Debug for Store {
    /// Without the password, which the URL may hold, too.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("node", &self.node).field("name", &self.name).finish_non_exhaustive()
    }
}

/// A store that this process holds, before it is read.
#[derive(Debug)]
pub struct Claimed {
    dial: Dial,
    hand: Hand,
    holder: Holder,
    held: Held,
    options: (usize, usize),
}

impl Claimed {
    /// Takes the store for this process. Blocks.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was taken.
    pub fn new(store: &Store) -> Result<Self, StoreError> {
        let (dial, hand) = (store.dial()?, Hand::start()?);
        if dial.may_be_open() {
            tracing::warn!(
                "the way to the store's database may be open to others; `?sslmode=require` in its URL closes it"
            );
        }
        let random = || RandomState::new().build_hasher().finish();
        let holder = Holder {
            opening: format!("{:016x}{:016x}", random(), random()),
            node: store.node.clone(),
            name: store.name.clone(),
            lease: store.lease,
        };
        let (over, who) = (dial.clone(), holder.clone());
        let held = hand.wait(async move {
            let client = link::connect(&over).await?;
            schema::check(&client).await?;
            hold::claim(&client, &who).await
        })?;
        Ok(Self { dial, hand, holder, held, options: (store.queue_appends_max, store.queue_bytes_max) })
    }

    /// How many commits there had been.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.held.commits
    }
}

/// The log in a database. Dropping it closes it.
///
/// Locks, none held over a question to the database and never two of them: `index` while a mission gets its number, that of `leases`
/// while an append under a lease is handed over.
#[derive(Debug)]
pub struct PostgresLog {
    reader: Reader,
    index: Mutex<Index>,
    leases: Leases,
    /// Missions that have no readable head. Locked alone.
    headless: Mutex<BTreeSet<MissionNo>>,
    queue: mpsc::UnboundedSender<Message>,
    load: Arc<Load>,
    failed: watch::Receiver<Option<WriteError>>,
    durable: watch::Receiver<u64>,
    away: Arc<AtomicBool>,
    closing: Arc<AtomicBool>,
    commits: Seconds,
    /// Resolves when the scribe has ended. Taken by whoever closes the log.
    scribe: Mutex<Option<std::sync::mpsc::Receiver<()>>>,
    dial: Dial,
    /// Last: what runs on it ends with it.
    hand: Hand,
}

impl PostgresLog {
    /// The log that `claimed` holds. Every head is read, and shown to `visit`, oldest first: whoever builds something of its own from
    /// them need not read them again.
    ///
    /// # Errors
    /// [`ReadError`] where the tables cannot be read. A head that cannot is [`crate::Log::headless`].
    pub fn new(claimed: Claimed, mut visit: impl FnMut(MissionNo, Head)) -> Result<Self, ReadError> {
        let Claimed { dial, hand, holder, held, options: (appends_max, bytes_max) } = claimed;
        let closing = Arc::new(AtomicBool::new(false));
        let reader = Reader::new(hand.runtime.clone(), dial.clone(), Arc::clone(&closing));
        let (mut catalog, mut headless) = (Catalog::default(), BTreeSet::new());
        reader.pages(HEADS, -1_i64, |row| {
            let mission = log::number(row, 0);
            let head = Head::decode(mission, row.get(1));
            match there(head.map_err(|source| ReadError::Row { table: "head", key: mission, source }))? {
                Some(head) => {
                    catalog.insert(MissionNo(mission), &head);
                    visit(MissionNo(mission), head);
                }
                None => headless.extend([MissionNo(mission)]),
            }
            Ok(ControlFlow::Continue(row.get(0)))
        })?;
        let mut schedules = FxHashMap::default();
        reader.pages(log::SCHEDULES_UP, Vec::new(), |row| {
            let key = row.get::<_, Vec<u8>>(0);
            let id = log::text(&key);
            if let Some(position) = row.get::<_, Option<&[u8]>>(2)
                && let Ok((mark, _)) = schedule::decode_position(&id, position)
            {
                schedules.insert(id, mark);
            }
            Ok(ControlFlow::Continue(key))
        })?;
        let mut books = Vec::new();
        reader.pages(log::BALANCES_UP, Vec::new(), |row| {
            let mut key = row.get::<_, Vec<u8>>(0);
            books.extend(balance::row(&log::text(&key), row.get(1)).map(|(account, balance)| (account.key(), balance)));
            key.push(0);
            Ok(ControlFlow::Continue(key))
        })?;
        let last_action = reader.rows(LAST_ACTION, Vec::new())?.first().map_or(0, |row| log::number(row, 0));
        let Held { token, commits, position, last_no } = held;
        let meta = Meta { commits, position, last_no, ..Meta::NEW };
        let nameless = headless.iter().map(|no| no.0).collect();
        let known = Known { meta, last_action, books: Books::new(books.into_iter()), nameless };
        let index = Mutex::new(Index { catalog, last_no, schedules });
        #[expect(clippy::disallowed_methods, reason = "the load bounds it: each message has a place there")]
        let (queue, messages) = mpsc::unbounded_channel();
        let (failed_sender, failed) = watch::channel(None);
        let (durable_sender, durable) = watch::channel(position);
        let (away, times) = (Arc::new(AtomicBool::new(false)), Seconds::quick());
        let scribe = Scribe {
            dial: dial.clone(),
            link: None,
            holder,
            token,
            known,
            tails: Tails::default(),
            queue: messages,
            error: None,
            failed: failed_sender,
            durable: durable_sender,
            away: Arc::clone(&away),
            closing: Arc::clone(&closing),
            commits: times.clone(),
        };
        let (ended, ends) = std::sync::mpsc::sync_channel(1);
        hand.runtime.spawn(async move {
            scribe.run().await;
            // Whoever closes it waits, or nobody does.
            let _ = ended.send(());
        });
        Ok(Self {
            reader,
            index,
            leases: Leases::after(u64::try_from(token).unwrap_or(0) << LEASES_LOG2),
            headless: Mutex::new(headless),
            queue,
            load: Load::new(appends_max, bytes_max),
            failed,
            durable,
            away,
            closing,
            commits: times,
            scribe: Mutex::new(Some(ends)),
            dial,
            hand,
        })
    }

    fn rows(&self, sql: &'static str, params: Vec<Param<'static>>) -> Result<Vec<Row>, ReadError> {
        self.reader.rows(sql, params)
    }

    /// Whether it takes anything.
    fn takes(&self) -> Result<(), WriteError> {
        if let Some(error) = &*self.failed.borrow() {
            return Err(error.clone());
        }
        if self.queue.is_closed() || self.closing.load(Ordering::SeqCst) { Err(WriteError::Closed) } else { Ok(()) }
    }

    fn change(&self, change: Change) -> Result<Receipt, WriteError> {
        let (waker, receipt) = Receipt::pair();
        self.put(change, Some(waker))?;
        Ok(receipt)
    }

    fn change_untold(&self, change: Change) -> Result<(), WriteError> {
        self.put(change, None)
    }

    fn put(&self, mut change: Change, waker: Option<Waker>) -> Result<(), WriteError> {
        let kept = if let Change::Append(append) = &mut change { append.room.take() } else { None };
        self.send(|| {
            let room: Room = kept.map_or_else(|| self.load.place(change.bytes()), Ok)?;
            Ok(Message::Change(change, waker, room))
        })
    }

    /// Puts a message into the queue, if there is room for it.
    fn send(&self, message: impl FnOnce() -> Result<Message, WriteError>) -> Result<(), WriteError> {
        self.takes()?;
        self.queue.send(message()?).map_err(|_| self.failed.borrow().clone().unwrap_or(WriteError::Closed))
    }

    /// Writes what was handed over, and ends the scribe.
    fn stop(&self) {
        let Some(ended) = self.scribe.lock().take() else { return };
        self.closing.store(true, Ordering::SeqCst);
        // Refused only where it has ended already.
        let _ = self.queue.send(Message::Stop);
        let _ = ended.recv();
    }
}

impl Drop for PostgresLog {
    fn drop(&mut self) {
        self.stop();
    }
}

const HEADS: &str = "SELECT mission, row FROM sortie_heads WHERE mission > $1 ORDER BY mission LIMIT $2";
const LAST_ACTION: &str = "SELECT coalesce(max(no), 0) FROM sortie_actions";

/// The thread that runs all of it. It ends when this is dropped, and everything on it with it.
#[derive(Debug)]
struct Hand {
    runtime: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Hand {
    fn start() -> Result<Self, StoreError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StoreError::Thread)?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let run = move || {
            // Dropped is as good as told.
            let _ = runtime.block_on(stopped);
        };
        let thread = std::thread::Builder::new().name("postgres".into()).spawn(run).map_err(StoreError::Thread)?;
        Ok(Self { runtime: handle, stop: Some(stop), thread: Some(thread) })
    }

    fn wait<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let gone = |error: ReadError| StoreError::Thread(std::io::Error::other(error.to_string()));
        wait(&self.runtime, work).map_err(gone)?
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // One that panicked has told so.
            let _ = thread.join();
        }
    }
}

/// A connection of its own, for what needs more than one statement on it.
async fn fresh(dial: &Dial) -> Result<Link, tokio_postgres::Error> {
    Link::new(dial).await
}
