//! Looking at a journal without taking it: whether [`crate::Journal::open`] would, for whoever asks before a start.
//!
//! Nothing of the file or its mark is changed, and a node that starts meanwhile is not kept out: the file is read through an overlay
//! that takes what redb would write, in memory. What is found holds for the moment.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use redb::StorageBackend;

use crate::Journal;
use crate::error::OpenError;
use crate::mark::{Mark, Memory};
use crate::open::{Opened, Options, builder, guard, read_meta};

/// A journal that could be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Examined {
    /// There is none, and there was none: it is made at the first start.
    Absent,
    /// It is whole, or a start makes it so, as after a crash.
    Whole {
        /// How large it is.
        bytes: u64,
        /// Whether its mark says that nothing is lost. Without one, or with one that is damaged, nobody can tell.
        marked: bool,
    },
}

/// Says whether the journal at `path` could be opened.
///
/// # Errors
/// [`OpenError`], as opening it would give it.
pub fn examine(path: &Path, options: &Options) -> Result<Examined, OpenError> {
    let mark_path = Mark::path_of(path);
    let io = |source| OpenError::Io { path: path.to_owned(), source };
    let in_use = || OpenError::InUse { path: path.to_owned() };
    if Mark::is_held(&mark_path).map_err(io)? {
        return Err(in_use());
    }
    let remembered = Mark::look(&mark_path).map_err(io)?;
    let bytes = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return match remembered {
                Memory::Commits(_) | Memory::Damaged => {
                    Err(OpenError::Missing { path: path.to_owned(), mark: mark_path })
                }
                Memory::Nothing => Ok(Examined::Absent),
            };
        }
        Err(error) => return Err(io(error)),
    };
    if bytes == 0 {
        return Err(OpenError::Emptied { path: path.to_owned(), mark: mark_path });
    }
    let looked = look(path, bytes, options);
    // A node that began meanwhile changes what is read here.
    if Mark::is_held(&mark_path).map_err(io)? {
        return Err(in_use());
    }
    let commits = looked?;
    match remembered.commits() {
        Some(expected) if commits < expected => {
            Err(OpenError::Behind { path: path.to_owned(), mark: mark_path, found: commits, expected })
        }
        commits => Ok(Examined::Whole { bytes, marked: commits.is_some() }),
    }
}

/// The right to a journal, whether it can be opened or not: nobody else opens it for as long as this is held.
#[derive(Debug)]
pub struct Claim {
    _mark: Mark,
}

/// Takes the journal at `path` for this process, wherever its file is moved meanwhile. `None`: another process has it. Where there is
/// none its mark is made, empty.
///
/// # Errors
/// [`OpenError::Io`]
pub fn claim(path: &Path) -> Result<Option<Claim>, OpenError> {
    let claimed =
        Mark::claim(&Mark::path_of(path)).map_err(|source| OpenError::Io { path: path.to_owned(), source })?;
    Ok(claimed.map(|_mark| Claim { _mark }))
}

/// Whether another process has the journal at `path`.
///
/// # Errors
/// [`OpenError::Io`]
pub fn is_in_use(path: &Path) -> Result<bool, OpenError> {
    Mark::is_held(&Mark::path_of(path)).map_err(|source| OpenError::Io { path: path.to_owned(), source })
}

/// Opens the journal at `path` to be read alone: whatever is written to it goes to memory, and is gone with it. For whoever holds its
/// [`Claim`], or knows that nobody writes it. What its mark remembers is not asked.
///
/// # Errors
/// As [`crate::Journal::open`].
pub fn peek(path: &Path) -> Result<(Journal, Opened), OpenError> {
    let io = |source| OpenError::Io { path: path.to_owned(), source };
    let backend = Overlay::new(File::open(path).map_err(io)?).map_err(io)?;
    Journal::open_backend(backend, &Options { compact_bytes_min: u64::MAX, ..Options::default() })
}

/// How many commits a file has.
fn look(path: &Path, bytes: u64, options: &Options) -> Result<u64, OpenError> {
    let io = |source| OpenError::Io { path: path.to_owned(), source };
    let backend = Overlay::new(File::open(path).map_err(io)?).map_err(io)?;
    let mut builder = builder(options, &Arc::default());
    builder.set_check_integrity_on_open(bytes <= options.check_bytes_max);
    let db = guard(path, || Ok(builder.create_with_backend(backend)?))?;
    Ok(read_meta(path, &db)?.commits)
}

/// How much of the overlay is kept together.
const PAGE_BYTES: u64 = 4096;

/// A file that is only read, under what was written over it.
#[derive(Debug)]
struct Overlay {
    file: File,
    over: Mutex<Over>,
}

#[derive(Debug)]
struct Over {
    pages: BTreeMap<u64, Vec<u8>>,
    len: u64,
    /// How much of the file still shows through: what was cut off once reads as zeros.
    shown: u64,
}

impl Overlay {
    fn new(file: File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        Ok(Self { file, over: Mutex::new(Over { pages: BTreeMap::new(), len, shown: len }) })
    }

    /// A page as it is below.
    fn below(&self, page: u64, shown: u64) -> io::Result<Vec<u8>> {
        let begin = page * PAGE_BYTES;
        let there = usize::try_from(shown.saturating_sub(begin).min(PAGE_BYTES)).unwrap_or_default();
        let mut bytes = vec![0; usize::try_from(PAGE_BYTES).unwrap_or_default()];
        self.file.read_exact_at(&mut bytes[..there], begin)?;
        Ok(bytes)
    }
}

/// The parts of `offset..offset + len`: page, where in it, where in the whole, and how long.
fn parts(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, usize, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        let within = usize::try_from(at % PAGE_BYTES).unwrap_or_default();
        let length = (len - done).min(usize::try_from(PAGE_BYTES).unwrap_or_default() - within);
        let part = (at / PAGE_BYTES, within, done, length);
        done += length;
        (length > 0).then_some(part)
    })
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.over.lock().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let over = self.over.lock();
        if offset.checked_add(out.len() as u64).is_none_or(|end| end > over.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (page, within, done, length) in parts(offset, out.len()) {
            let out = &mut out[done..done + length];
            match over.pages.get(&page) {
                Some(bytes) => out.copy_from_slice(&bytes[within..within + length]),
                None => out.copy_from_slice(&self.below(page, over.shown)?[within..within + length]),
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut over = self.over.lock();
        if len < over.len {
            over.pages.split_off(&len.div_ceil(PAGE_BYTES));
            if let Some(last) = over.pages.get_mut(&(len / PAGE_BYTES)) {
                last[usize::try_from(len % PAGE_BYTES).unwrap_or_default()..].fill(0);
            }
            over.shown = over.shown.min(len);
        }
        over.len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut over = self.over.lock();
        for (page, within, done, length) in parts(offset, data.len()) {
            if !over.pages.contains_key(&page) {
                let below = self.below(page, over.shown)?;
                over.pages.insert(page, below);
            }
            let bytes = over.pages.get_mut(&page).expect("it was put there");
            bytes[within..within + length].copy_from_slice(&data[done..done + length]);
        }
        over.len = over.len.max(offset + data.len() as u64);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The journal of a folder, and the files in it byte for byte.
    fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
        let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
        entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
    }

    #[test]
    fn what_opening_would_refuse_is_found_and_nothing_is_changed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.redb");
        let options = Options::default();
        assert_eq!(examine(&path, &options).unwrap(), Examined::Absent);
        assert_eq!(files(dir.path()).len(), 0);
        let (journal, _) = Journal::open(&path, &options).unwrap();
        assert!(matches!(examine(&path, &options), Err(OpenError::InUse { .. })));
        // As a kill leaves it.
        let torn = tempfile::tempdir().unwrap();
        for (name, bytes) in files(dir.path()) {
            fs::write(torn.path().join(name), bytes).unwrap();
        }
        drop(journal);
        let whole = files(dir.path());
        let examined = examine(&path, &options);
        assert!(matches!(examined, Ok(Examined::Whole { .. })), "{examined:?}");
        assert_eq!(files(dir.path()), whole);
        let before = files(torn.path());
        let examined = examine(&torn.path().join("journal.redb"), &options).unwrap();
        assert!(matches!(examined, Examined::Whole { marked: true, .. }), "{examined:?}");
        assert_eq!(files(torn.path()), before, "it was not made whole by being looked at");

        let mark = Mark::path_of(&path);
        fs::write(&mark, format!("sortie journal, commits: {:020}\n", u64::MAX)).unwrap();
        assert!(matches!(examine(&path, &options), Err(OpenError::Behind { .. })));
        fs::write(&path, b"").unwrap();
        assert!(matches!(examine(&path, &options), Err(OpenError::Emptied { .. })));
        fs::write(&path, vec![7; 100_000]).unwrap();
        assert!(matches!(examine(&path, &options), Err(OpenError::Damaged { .. })));
        fs::remove_file(&path).unwrap();
        assert!(matches!(examine(&path, &options), Err(OpenError::Missing { .. })));
        assert_eq!(files(dir.path()).len(), 1);
    }

    #[test]
    fn who_has_a_claim_is_alone_and_whoever_peeks_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.redb");
        let (journal, _) = Journal::open(&path, &Options::default()).unwrap();
        assert!(claim(&path).unwrap().is_none() && is_in_use(&path).unwrap());
        drop(journal);
        assert!(!is_in_use(&path).unwrap());
        let before = files(dir.path());
        let held = claim(&path).unwrap().unwrap();
        assert!(matches!(Journal::open(&path, &Options::default()), Err(OpenError::InUse { .. })));
        let (peeked, opened) = peek(&path).unwrap();
        assert_eq!((opened.last_no.0, opened.position), (0, 0));
        peeked.keep_clocks(&[(sortie_contract::MissionNo(1), 7)]).unwrap();
        peeked.close().unwrap();
        drop(peeked);
        assert_eq!(files(dir.path()), before);
        fs::write(&path, vec![7; 100_000]).unwrap();
        assert!(matches!(peek(&path), Err(OpenError::Damaged { .. })));
        drop(held);
        assert!(claim(&path).unwrap().is_some());
    }

    #[test]
    fn an_overlay_reads_as_what_was_written_would() {
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, &[1; 10_000]).unwrap();
        let overlay = Overlay::new(file).unwrap();
        let read = |offset, len| {
            let mut out = vec![0; len];
            overlay.read(offset, &mut out).map(|()| out)
        };
        overlay.write(4_000, &[2; 200]).unwrap();
        assert_eq!(read(3_999, 202).unwrap(), [&[1][..], &[2; 200], &[1]].concat());
        overlay.set_len(4_100).unwrap();
        overlay.set_len(20_000).unwrap();
        assert_eq!(read(4_099, 3).unwrap(), [2, 0, 0]);
        assert_eq!(read(8_000, 2_000).unwrap(), vec![0; 2_000], "what was cut off does not come back");
        assert!(read(19_999, 2).is_err());
        assert_eq!(overlay.len().unwrap(), 20_000);
    }
}
