//! The mark: a file beside the journal that remembers that there is one, and how many commits were acknowledged.
//!
//! The journal itself cannot tell an emptied file from a new one, nor a file whose newest commit was damaged from one
//! that crashed just before that commit: redb goes back to the commit before, which is right after a crash and wrong after
//! damage. The mark can. It is written after each commit and synced only when the journal is opened and closed, so it may
//! be behind the journal after a loss of power, and is never ahead of it.
//!
//! It is also what a process locks before it looks at anything else.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use std::os::unix::fs::{FileExt, OpenOptionsExt};

use rustix::fs::OFlags;

/// Commits, as text that a person can read; of a fixed length, so that a new one covers the old.
const TEXT: &str = "sortie journal, commits: ";
const DIGITS: usize = 20;

/// More than a mark ever has.
const BYTES_MAX: usize = 128;

/// Links are not followed; what is no file does not keep whoever opens it.
const NO_LINK: i32 = (OFlags::NOFOLLOW.bits() | OFlags::NONBLOCK.bits()).cast_signed();

/// What a mark remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Memory {
    /// There is none, or there was no journal yet.
    Nothing,
    /// That there was a journal; how far it was cannot be understood.
    Damaged,
    /// So many commits.
    Commits(u64),
}

impl Memory {
    /// The commits that a journal must have at least, where that is known.
    pub(crate) fn commits(self) -> Option<u64> {
        if let Self::Commits(commits) = self { Some(commits) } else { None }
    }
}

/// The mark, held by this process.
#[derive(Debug)]
pub(crate) struct Mark {
    file: File,
}

impl Mark {
    /// Where the mark of a journal is.
    pub(crate) fn path_of(journal: &Path) -> PathBuf {
        let mut name = journal.as_os_str().to_owned();
        name.push(".mark");
        name.into()
    }

    /// Takes the mark at `path` for this process, made empty where it is not there. `None`: another process has it.
    pub(crate) fn claim(path: &Path) -> io::Result<Option<Self>> {
        let mark =
            Self::open(OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600), path)?;
        match mark.file.try_lock() {
            Ok(()) => Ok(Some(mark)),
            Err(TryLockError::WouldBlock) => Ok(None),
            // A file system without locks: redb's own lock, of another kind, is what is left.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(Some(mark)),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// What the mark at `path` remembers, without taking it.
    pub(crate) fn look(path: &Path) -> io::Result<Memory> {
        match Self::open(OpenOptions::new().read(true), path) {
            Ok(mark) => mark.remembered(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Memory::Nothing),
            Err(error) => Err(error),
        }
    }

    /// A file that is itself one: what a link leads to is somebody else's, and would be written over.
    fn open(options: &mut OpenOptions, path: &Path) -> io::Result<Self> {
        let file = options.custom_flags(NO_LINK).open(path)?;
        if file.metadata()?.is_file() {
            return Ok(Self { file });
        }
        Err(io::Error::new(io::ErrorKind::InvalidInput, "the mark of the journal is no file"))
    }

    /// Whether another process holds the mark, as a node does for as long as it runs. Nothing is made where there is none.
    pub(crate) fn is_held(path: &Path) -> io::Result<bool> {
        let mark = match Self::open(OpenOptions::new().read(true), path) {
            Ok(mark) => mark,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        match mark.file.try_lock_shared() {
            // Given back at once: a node that starts now must not be refused.
            Ok(()) => mark.file.unlock().map(|()| false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// What it remembers.
    pub(crate) fn remembered(&self) -> io::Result<Memory> {
        let mut text = vec![0; usize::try_from(self.file.metadata()?.len()).unwrap_or(usize::MAX).min(BYTES_MAX)];
        self.file.read_exact_at(&mut text, 0)?;
        if text.is_empty() {
            return Ok(Memory::Nothing);
        }
        let number = || str::from_utf8(&text).ok()?.strip_prefix(TEXT)?.trim().parse().ok();
        Ok(number().map_or(Memory::Damaged, Memory::Commits))
    }

    /// Remembers `commits`, and that there is a journal, through a loss of power.
    pub(crate) fn establish(&self, commits: u64) -> io::Result<()> {
        self.write(commits)?;
        // Whatever else was in it.
        self.file.set_len((TEXT.len() + DIGITS + 1) as u64)?;
        self.file.sync_all()
    }

    /// Remembers that `commits` were acknowledged. A mark that cannot be written only protects less: the commit stands.
    pub(crate) fn set(&self, commits: u64) {
        if let Err(error) = self.write(commits) {
            tracing::warn!(%error, "the journal's mark cannot be written");
        }
    }

    /// Syncs what was remembered: for a clean end.
    pub(crate) fn settle(&self) {
        if let Err(error) = self.file.sync_data() {
            tracing::warn!(%error, "the journal's mark cannot be synced");
        }
    }

    fn write(&self, commits: u64) -> io::Result<()> {
        self.file.write_all_at(format!("{TEXT}{commits:0DIGITS$}\n").as_bytes(), 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_remembers_the_last_number() {
        let dir = tempfile::tempdir().unwrap();
        let path = Mark::path_of(&dir.path().join("journal.redb"));
        assert!(path.ends_with("journal.redb.mark"));
        let mark = Mark::claim(&path).unwrap().unwrap();
        assert_eq!(mark.remembered().unwrap(), Memory::Nothing);
        for commits in [7, u64::MAX, 8] {
            mark.set(commits);
            assert_eq!(mark.remembered().unwrap(), Memory::Commits(commits));
        }
        for garbage in [b"g".as_slice(), b"sortie journal, commits: ", b"\xff\xff", &[b'x'; 1_000]] {
            std::fs::write(&path, garbage).unwrap();
            assert_eq!(mark.remembered().unwrap(), Memory::Damaged);
            mark.establish(9).unwrap();
            assert_eq!(mark.remembered().unwrap(), Memory::Commits(9), "nothing of it is left");
        }
    }

    #[test]
    fn what_a_link_leads_to_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (victim, mark) = (dir.path().join("victim"), dir.path().join("mark"));
        std::fs::write(&victim, "mine").unwrap();
        std::os::unix::fs::symlink(&victim, &mark).unwrap();
        assert!(Mark::claim(&mark).is_err() && Mark::look(&mark).is_err());
        std::fs::remove_file(&mark).unwrap();
        std::fs::create_dir(&mark).unwrap();
        assert!(Mark::claim(&mark).is_err() && Mark::look(&mark).is_err());
        assert_eq!(std::fs::read(&victim).unwrap(), b"mine");
    }

    #[test]
    fn a_mark_is_held_by_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mark");
        let mark = Mark::claim(&path).unwrap().unwrap();
        assert!(Mark::claim(&path).unwrap().is_none());
        drop(mark);
        assert!(Mark::claim(&path).unwrap().is_some());
    }
}
