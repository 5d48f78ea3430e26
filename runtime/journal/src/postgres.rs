//! The log in the tables of a PostgreSQL database, or of one that speaks like it.
//!
//! What is read is what the database has committed, and what is written goes through one task of this process (`scribe`), a batch in a
//! transaction that is one flight over the network. The rows are those of the journal's file. What of it may differ from database to
//! database is not used: no locks of its own making, no notifications, nothing that skips rows; what is written is checked by the token
//! of whoever holds the store, in the same transaction. `docs/JOURNAL.md` has the tables and what is promised.
//!
//! A store has shares, and each is held by one node at a time: what admission must look up by name is in its memory, as with the file.
//! That no name is there twice holds whoever writes: it is claimed before it is admitted ([`crate::Fleet`]), and the tables know it, too.
//!
//! A thread of its own runs all of it, so that neither reading nor handing over needs a runtime of the caller's.

mod adopt;
mod books;
mod certain;
mod claims;
mod copy;
mod feed;
mod fleet;
mod held;
mod hold;
mod link;
mod log;
mod pools;
mod read;
mod records;
mod schema;
mod scribe;
mod script;
mod tls;
mod trouble;

use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use sortie_contract::MissionNo;
use sortie_measure::Seconds;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio_postgres::Row;

use self::books::Books;
use self::certain::{Certain, Moment};
use self::claims::{Claimer, Wanted};
use self::held::{Holding, spans};
use self::hold::{Held, Holder};
use self::link::{Dial, Link, Param};
use self::pools::{EXCHANGES_MAX, Exchange, Pooler};
use self::read::{Reader, wait};
use self::scribe::{Order, Scribe};
use self::script::Known;
use crate::append::Change;
use crate::balance;
use crate::catalog::Catalog;
use crate::error::{ReadError, WriteError};
use crate::fleet::ShareNo;
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

/// How long a share is held without a sign of life of its holder.
pub const LEASE: Duration = Duration::from_secs(10);

/// Orders to the scribe that may wait: whoever gives one waits for its place.
const ORDERS_MAX: usize = 64;

/// Claims that may wait; more are refused as overload.
const CLAIMS_MAX: usize = 16_384;

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

/// A share of a store that this process holds, before it is read. Until it is, or is dropped, it gives signs of life.
#[derive(Debug)]
pub struct Claimed {
    dial: Dial,
    holder: Holder,
    held: Held,
    /// With what it had adopted.
    shares: Vec<ShareNo>,
    certain: Certain,
    keeper: Keeper,
    hand: Hand,
    options: (usize, usize),
}

impl Claimed {
    /// Takes a share of the store for this process: the one that its node had, else one that was given back, else a new one. Blocks.
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
        let (sent, held, shares) = hand.wait(async move {
            let client = link::connect(&over).await?;
            schema::check(&client).await?;
            let sent = Moment::now();
            let (held, shares) = hold::claim(&client, &who).await?;
            Ok((sent, held, shares))
        })?;
        let certain = Certain::since(sent, holder.lease);
        let keeping = hold::keep(dial.clone(), held, holder.lease, certain.clone());
        let keeper = Keeper(hand.runtime.spawn(keeping).abort_handle());
        let options = (store.queue_appends_max, store.queue_bytes_max);
        Ok(Self { dial, holder, held, shares, certain, keeper, hand, options })
    }

    /// Which share it is.
    #[must_use]
    pub fn share(&self) -> ShareNo {
        self.held.share
    }

    /// How many commits there had been.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.held.commits
    }
}

/// Gives signs of life until it is dropped.
#[derive(Debug)]
struct Keeper(AbortHandle);

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The log in a database. Dropping it closes it.
///
/// Locks, none held over a question to the database and never two of them: `index` while a mission gets its number, that of `leases`
/// while an append under a lease is handed over.
#[derive(Debug)]
pub struct PostgresLog {
    reader: Reader,
    holding: Arc<Holding>,
    claims: mpsc::Sender<Wanted>,
    pools: mpsc::Sender<Exchange>,
    orders: mpsc::Sender<Order>,
    card: Arc<Mutex<String>>,
    gives_back: Arc<AtomicBool>,
    certain: Certain,
    index: Mutex<Index>,
    leases: Leases,
    /// Missions that have no readable head. Locked alone.
    headless: Mutex<BTreeSet<MissionNo>>,
    /// How many removals were handed over, and of how many it is known that they are done.
    removed: AtomicU64,
    gone: AtomicU64,
    /// Those of the headless whose names are to be given up. Locked alone.
    nameless: Arc<Mutex<Vec<u64>>>,
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
        let Claimed { dial, holder, held, shares, certain, keeper, hand, options: (appends_max, bytes_max) } = claimed;
        let closing = Arc::new(AtomicBool::new(false));
        let reader = Reader::new(hand.runtime.clone(), dial.clone(), Arc::clone(&closing));
        let Held { share, token, commits, position, last_no } = held;
        let mine = [hold::no(share)];
        let (mut catalog, mut headless) = (Catalog::default(), BTreeSet::new());
        // Where what people did goes on.
        let mut last_action = shares.last().map_or(0, |greatest| greatest.floor());
        for span in spans(&shares) {
            reader.pages(log::HEADS_UP, span.after, &[span.before], |row| {
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
            let last = reader.rows(LAST_ACTION, vec![Box::new(span.after), Box::new(span.before)])?;
            last_action = last_action.max(last.first().map_or(0, |row| log::number(row, 0)));
        }
        let mut schedules = FxHashMap::default();
        reader.pages(log::SCHEDULES_UP, Vec::new(), &mine, |row| {
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
        reader.pages(log::BALANCES_UP, Vec::new(), &mine, |row| {
            let mut key = row.get::<_, Vec<u8>>(0);
            books.extend(balance::row(&log::text(&key), row.get(1)).map(|(account, balance)| (account.key(), balance)));
            key.push(0);
            Ok(ControlFlow::Continue(key))
        })?;
        let meta = Meta { commits, position, last_no, ..Meta::NEW };
        let nameless = Arc::new(Mutex::new(headless.iter().map(|no| no.0).collect()));
        let books = Books::new(books.into_iter());
        let holding = Arc::new(Holding::new(share, &shares));
        let known = Known { share, shares, meta, last_action, books, nameless: Arc::clone(&nameless) };
        let index = Mutex::new(Index { catalog, last_no, schedules });
        #[expect(clippy::disallowed_methods, reason = "the load bounds it: each message has a place there")]
        let (queue, messages) = mpsc::unbounded_channel();
        let (failed_sender, failed) = watch::channel(None);
        let (durable_sender, durable) = watch::channel(position);
        let (away, times) = (Arc::new(AtomicBool::new(false)), Seconds::quick());
        let (orders, ordered) = mpsc::channel(ORDERS_MAX);
        let (claims, claimed) = mpsc::channel(CLAIMS_MAX);
        let claimer = Claimer::new(dial.clone(), holder.opening.clone(), Arc::clone(&holding));
        hand.runtime.spawn(claimer.run(claimed));
        let (pools, exchanges) = mpsc::channel(EXCHANGES_MAX);
        // What a process before this one sent may be on its way still.
        let pooler = Pooler {
            dial: dial.clone(),
            link: None,
            opening: holder.opening.clone(),
            mine: share,
            unheard: true,
            unreadable: BTreeSet::new(),
        };
        hand.runtime.spawn(pooler.run(exchanges));
        let (card, gives_back) = (Arc::<Mutex<String>>::default(), Arc::new(AtomicBool::new(false)));
        // From here on the scribe gives signs of life.
        drop(keeper);
        let scribe = Scribe {
            dial: dial.clone(),
            link: None,
            holder,
            share,
            orders: ordered,
            card: Arc::clone(&card),
            gives_back: Arc::clone(&gives_back),
            certain: certain.clone(),
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
            holding,
            claims,
            pools,
            orders,
            card,
            gives_back,
            certain,
            index,
            leases: Leases::after(first_lease(token)),
            headless: Mutex::new(headless),
            removed: AtomicU64::new(0),
            gone: AtomicU64::new(0),
            nameless,
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

const LAST_ACTION: &str = "SELECT coalesce(max(no), 0) FROM sortie_actions WHERE no > $1 AND no < $2";

/// What all leases of missions are behind that are given under this token.
fn first_lease(token: i64) -> u64 {
    u64::try_from(token).unwrap_or(0) << LEASES_LOG2
}

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
