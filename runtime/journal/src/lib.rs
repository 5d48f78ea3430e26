//! The log: in a file (the only crate that names redb) or in the tables of a database (the only one that speaks PostgreSQL); one writer
//! with group commit, ordered reads, indexes.
//!
//! A journal is used like this: [`Journal::open`] says what was found; [`Journal::scan_oldest_first`] rebuilds what lives
//! in memory (a [`Catalog`] and the queue). From then on everything that happens to a mission is an [`Append`]: whoever
//! must know that it is durable awaits the [`Receipt`] of [`Journal::append_durable`], everybody else calls
//! [`Journal::append`] and goes on. The order in which appends are handed over is the order of the log, so a receipt
//! covers everything that was handed over before it. [`Journal::remove`] and [`Journal::prune_feed_before`] take their
//! place in that order.
//!
//! The crate keeps bytes and their order. It knows nothing of what the records mean; which of them may follow which is
//! the mission core's business. It reads no clock. `docs/JOURNAL.md` has the layout of the file and its invariants.

mod actions;
mod append;
mod balance;
mod bookmark;
mod catalog;
mod clocks;
mod cursor;
mod error;
mod examine;
mod feed;
mod fleet;
mod frame;
mod head;
mod journal;
mod log;
mod mark;
mod open;
mod pin;
mod pool;
mod postgres;
mod quarantine;
mod read;
mod room;
mod schedule;
mod seal;
#[doc(hidden)]
pub mod sim;
mod snapshot;
mod table;
mod tails;
mod transaction;
mod writer;

pub use actions::ACTIONS_MAX;
pub use append::Append;
pub use balance::{Account, BALANCE_DAYS, Balance, Movement};
pub use bookmark::{Bookmark, NoBookmark};
pub use catalog::{Catalog, Session};
pub use error::{OpenError, ReadError, WriteError};
pub use examine::{Claim, Examined, claim, examine, is_in_use, peek};
pub use feed::{FeedEntry, FeedPart};
pub use fleet::{AdoptError, Adopted, Fleet, OwnedKeys, Owner, Peer, ShareNo};
pub use frame::FrameError;
pub use head::Head;
pub use journal::{Journal, Receipt, Stepper};
pub use log::{
    AdmitError, Admitted, Beginning, Decision, EmbeddedLog, Failure, Keys, Known, Lease, Log, MemoryFleet, MemoryLog,
    Twin, Undo,
};
pub use open::{Opened, Options};
pub use pin::Pinned;
pub use pool::{PoolAsk, PoolSaid};
pub use postgres::{Claimed, LEASE, Migrated, PostgresLog, Store, StoreError};
pub use quarantine::{Quarantine, Remains};
pub use room::Room;
pub use schedule::{FIRES_MAX, Kept, ScheduleChange};
pub use seal::SealError;
pub use snapshot::{Copied, SnapshotError};
pub use sortie_contract::cursor::Cursor;
