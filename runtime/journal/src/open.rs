//! Opening: a journal is opened whole, or refused with what to do about it. It is never made anew in the place of one that
//! was there, and never opened with less than what was acknowledged.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redb::{Builder, Database, ReadableDatabase, StorageBackend, TableError};
use sortie_contract::MissionNo;
use sortie_contract::cursor::Cursor;

use crate::error::{OpenError, panic_message};
use crate::mark::{Mark, Memory};
use crate::table::{
    ACTIONS, BALANCES, CLOCKS, CURSORS, FEED, FIRES, FORMAT, FRAMES, HEADS, META, Meta, PINS, POSITIONS, QUARANTINE,
    SCHEDULES,
};

/// What can be chosen about a journal.
#[derive(Debug, Clone)]
pub struct Options {
    /// Memory for redb's cache of pages. Reads of recent missions are served from it; the rest is the kernel's.
    pub cache_bytes: usize,
    /// Appends that may wait for the writer; more are refused as overload. Several commits of the largest kind.
    pub queue_appends_max: usize,
    /// Bytes that may wait for the writer; more are refused as overload.
    pub queue_bytes_max: usize,
    /// A file up to this size has every page checked each time it is opened; a larger one only when it was not closed
    /// cleanly. docs/JOURNAL.md has what this costs.
    pub check_bytes_max: u64,
    /// How long, at most, the writer waits for those who waited for the last commit to come back, before it commits
    /// without them. A single caller is never waited for.
    pub gather: Duration,
    /// A file of at least this size is made smaller when it is opened and more than half of it is free. `u64::MAX`: never.
    /// docs/JOURNAL.md has what this costs.
    pub compact_bytes_min: u64,
    /// It is left as it is where more than this is in use: all of that may have to be moved before the node starts, at a
    /// hundred megabytes a second. What is free in it is used again either way.
    pub compact_used_bytes_max: u64,
    /// Keep the allocator's state with each commit. docs/JOURNAL.md says why not.
    pub quick_repair: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cache_bytes: 16 << 20,
            queue_appends_max: 16_384,
            queue_bytes_max: 256 << 20,
            check_bytes_max: 1 << 30,
            gather: Duration::from_micros(100),
            compact_bytes_min: 64 << 20,
            compact_used_bytes_max: 512 << 20,
            quick_repair: false,
        }
    }
}

/// What was found when the journal was opened. The heads are read with [`crate::Journal::scan_oldest_first`].
#[derive(Debug)]
pub struct Opened {
    /// Missions that have something left to deliver, oldest first.
    pub undelivered: Vec<(MissionNo, Cursor)>,
    /// The greatest number that a mission ever had, though it be removed; 0 where there was none. The next is one more.
    pub last_no: MissionNo,
    /// The position of the newest frame; 0 where there is none.
    pub position: u64,
    /// How many commits there had been.
    pub commits: u64,
    /// How large the file is.
    pub bytes: u64,
    /// It was not closed cleanly: every page was checked, and a commit that was torn was rolled back.
    pub repaired: bool,
    /// It was mostly free, and was made smaller: how large it was before.
    pub compacted: Option<u64>,
}

/// A database that was checked, and what the writer needs to go on with it.
pub(crate) struct Checked {
    pub(crate) db: Database,
    pub(crate) meta: Meta,
    pub(crate) mark: Option<Mark>,
    pub(crate) bytes: u64,
    pub(crate) repaired: bool,
    pub(crate) compacted: Option<u64>,
}

/// Opens the file at `path`, or makes it where neither it nor its mark is there.
pub(crate) fn open_file(path: &Path, options: &Options) -> Result<Checked, OpenError> {
    let mark_path = Mark::path_of(path);
    let io = |source| OpenError::Io { path: path.to_owned(), source };
    let mark = Mark::claim(&mark_path).map_err(io)?.ok_or_else(|| OpenError::InUse { path: path.to_owned() })?;
    let remembered = mark.remembered().map_err(io)?;
    let mut is_new = false;
    let len = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => match remembered {
            Memory::Commits(_) | Memory::Damaged => {
                return Err(OpenError::Missing { path: path.to_owned(), mark: mark_path });
            }
            Memory::Nothing => {
                is_new = true;
                create(path, options)?
            }
        },
        Err(error) => return Err(io(error)),
    };
    if len == 0 {
        return Err(OpenError::Emptied { path: path.to_owned(), mark: mark_path });
    }
    restrict(path);
    let check = len <= options.check_bytes_max;
    let repaired = Arc::new(AtomicBool::new(false));
    let header = Header::of(path, len).map_err(io)?;
    let opened = guard(path, || Ok(builder(options, &repaired).set_check_integrity_on_open(check).open(path)?));
    let mut db = opened.inspect_err(|error| {
        if !matches!(error, OpenError::InUse { .. }) {
            header.put_back(path);
        }
    })?;
    let mut meta = read_meta(path, &db)?;
    if remembered.commits().is_none() && !is_new {
        tracing::warn!(
            mark = %mark_path.display(),
            "the journal's mark is gone or damaged: whether the newest commits are lost cannot be told. It is made anew"
        );
    }
    if let Some(expected) = remembered.commits().filter(|expected| meta.commits < *expected) {
        return Err(OpenError::Behind { path: path.to_owned(), mark: mark_path, found: meta.commits, expected });
    }
    mark.establish(meta.commits).map_err(io)?;
    let compacted = worth_a_look(meta, len, options)
        .then(|| guard(path, || compact(&mut db, &mut meta, len, options)))
        .transpose()?
        .is_some_and(|compacted| compacted);
    let bytes = fs::metadata(path).map_err(io)?.len();
    let (repaired, compacted) = (repaired.load(Ordering::Relaxed), compacted.then_some(len));
    Ok(Checked { db, meta, mark: Some(mark), bytes, repaired, compacted })
}

/// The beginning of a file, and its length. redb writes both before it has seen that the rest is damaged; what is refused is to be
/// left as it was found, for whoever looks into it.
#[derive(PartialEq, Eq)]
struct Header {
    bytes: Vec<u8>,
    len: u64,
}

/// More than redb's header has.
const HEADER_BYTES: u64 = 4_096;

impl Header {
    fn of(path: &Path, len: u64) -> io::Result<Self> {
        let mut bytes = Vec::new();
        File::open(path)?.take(HEADER_BYTES).read_to_end(&mut bytes)?;
        Ok(Self { bytes, len })
    }

    /// What cannot be put back is told; the refusal stands. A disk that took no change has nothing to be put back.
    fn put_back(&self, path: &Path) {
        let put = || {
            if Self::of(path, fs::metadata(path)?.len())? == *self {
                return Ok(());
            }
            let mut file = File::options().write(true).open(path)?;
            file.write_all(&self.bytes)?;
            file.set_len(self.len)?;
            file.sync_all()
        };
        if let Err(error) = put() {
            tracing::warn!(path = %path.display(), %error, "the refused file is not left as it was found");
        }
    }
}

/// Opens what `backend` holds; makes a journal where it holds nothing.
pub(crate) fn open_backend(backend: impl StorageBackend, options: &Options) -> Result<Checked, OpenError> {
    let path = Path::new("the given storage");
    let len = backend.len().map_err(|source| OpenError::Io { path: path.to_owned(), source })?;
    let repaired = Arc::new(AtomicBool::new(false));
    let builder = || builder(options, &repaired);
    let mut db = guard(path, || Ok(builder().set_check_integrity_on_open(true).create_with_backend(backend)?))?;
    if is_blank(&db) {
        guard(path, || initialise(&db))?;
    }
    let mut meta = read_meta(path, &db)?;
    let compacted = worth_a_look(meta, len, options)
        .then(|| guard(path, || compact(&mut db, &mut meta, len, options)))
        .transpose()?
        .is_some_and(|compacted| compacted);
    let (repaired, compacted) = (repaired.load(Ordering::Relaxed), compacted.then_some(len));
    Ok(Checked { db, meta, mark: None, bytes: len, repaired, compacted })
}

/// Makes a journal under another name and moves it into place when it is whole: a crash in between leaves no journal
/// rather than half of one. Returns its size.
fn create(path: &Path, options: &Options) -> Result<u64, OpenError> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    let draft = PathBuf::from(draft);
    let io = |source| OpenError::Io { path: path.to_owned(), source };
    // What an earlier attempt left was never a journal.
    File::create(&draft).map_err(io)?;
    restrict(&draft);
    let db = guard(&draft, || {
        let db = builder(options, &Arc::default()).create(&draft)?;
        initialise(&db)?;
        Ok(db)
    })?;
    drop(db);
    fs::rename(&draft, path).map_err(io)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io)?;
    fs::metadata(path).map(|metadata| metadata.len()).map_err(io)
}

/// Nobody else's to read: missions have other people's business in them. One that an older Sortie made is changed, too.
pub(crate) fn restrict(path: &Path) {
    let restrict = || {
        let permissions = fs::metadata(path)?.permissions();
        if permissions.mode() & 0o077 == 0 {
            return Ok(());
        }
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))
    };
    if let Err(error) = restrict() {
        let error: io::Error = error;
        tracing::warn!(path = %path.display(), %error, "others on this machine may be able to read the journal");
    }
}

/// `repaired` is set when the file turns out not to have been closed.
pub(crate) fn builder(options: &Options, repaired: &Arc<AtomicBool>) -> Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(options.cache_bytes);
    let repaired = Arc::clone(repaired);
    builder.set_repair_callback(move |_| repaired.store(true, Ordering::Relaxed));
    builder
}

fn is_blank(db: &Database) -> bool {
    db.begin_read().is_ok_and(|read| read.list_tables().is_ok_and(|mut tables| tables.next().is_none()))
}

/// All tables are made at once, so that no reader ever meets a missing one.
pub(crate) fn initialise(db: &Database) -> Result<(), redb::Error> {
    let transaction = db.begin_write()?;
    transaction.open_table(FRAMES)?;
    transaction.open_table(HEADS)?;
    transaction.open_table(FEED)?;
    transaction.open_table(CURSORS)?;
    transaction.open_table(QUARANTINE)?;
    transaction.open_table(SCHEDULES)?;
    transaction.open_table(POSITIONS)?;
    transaction.open_table(FIRES)?;
    transaction.open_table(CLOCKS)?;
    transaction.open_table(BALANCES)?;
    transaction.open_table(ACTIONS)?;
    transaction.open_table(PINS)?;
    Meta::NEW.write(&mut transaction.open_table(META)?)?;
    transaction.commit()?;
    Ok(())
}

/// Whether so much was removed that a good part of a file of `len` bytes may be free. To know it, all that is left must be
/// read: not at every start. What half of a file holds is a quarter of it at least, because redb's pages are half full and
/// more.
fn worth_a_look(meta: Meta, len: u64, options: &Options) -> bool {
    meta.freed > 0 && len >= options.compact_bytes_min && meta.freed.saturating_mul(4) >= len
}

/// Moves what is left together, and cuts the file of `len` bytes, where more than half of it is free. Returns whether it was.
fn compact(db: &mut Database, meta: &mut Meta, len: u64, options: &Options) -> Result<bool, redb::Error> {
    // What the last commit freed becomes free with the next.
    write_meta(db, *meta)?;
    let look = db.begin_write()?;
    let stats = look.stats()?;
    look.abort()?;
    let used = stats.allocated_pages() * stats.page_size() as u64;
    let worth_it = used < len / 2 && used <= options.compact_used_bytes_max;
    if worth_it {
        tracing::info!(bytes = len, used, "the journal is mostly free: it is made smaller");
        db.compact()?;
    }
    // Last: where it was not finished, the next opening does.
    meta.freed = 0;
    write_meta(db, *meta)?;
    Ok(worth_it)
}

fn write_meta(db: &Database, meta: Meta) -> Result<(), redb::Error> {
    let transaction = db.begin_write()?;
    meta.write(&mut transaction.open_table(META)?)?;
    transaction.commit()?;
    Ok(())
}

pub(crate) fn read_meta(path: &Path, db: &Database) -> Result<Meta, OpenError> {
    let meta = guard(path, || {
        let read = db.begin_read()?;
        let table = match read.open_table(META) {
            Ok(table) => table,
            Err(TableError::Storage(error)) => return Err(error.into()),
            Err(_) => return Ok(None),
        };
        Ok(Meta::read(&table)?)
    })?;
    let meta = meta.ok_or_else(|| OpenError::NotAJournal { path: path.to_owned() })?;
    if meta.format > FORMAT {
        return Err(OpenError::NewerFormat { path: path.to_owned(), found: meta.format, known: FORMAT });
    }
    Ok(meta)
}

/// Runs `open` and says of its errors, and of its panics, what they mean for an operator.
pub(crate) fn guard<T>(path: &Path, open: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, OpenError> {
    // redb checks much of a file that something else has changed, and promises no more than that.
    match catch_unwind(AssertUnwindSafe(open)) {
        Ok(Ok(opened)) => Ok(opened),
        Ok(Err(redb::Error::DatabaseAlreadyOpen)) => Err(OpenError::InUse { path: path.to_owned() }),
        Ok(Err(redb::Error::Io(source))) if !says_damage(&source) => {
            Err(OpenError::Io { path: path.to_owned(), source })
        }
        Ok(Err(error)) => Err(damaged(path, &error.to_string())),
        Err(panic) => Err(damaged(path, &panic_message(panic.as_ref()))),
    }
}

/// Whether redb reports what it read, rather than that it could not read.
fn says_damage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput)
}

fn damaged(path: &Path, detail: &str) -> OpenError {
    OpenError::Damaged { path: path.to_owned(), detail: detail.to_owned() }
}
