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

/// Commits, as text that a person can read; of a fixed length, so that a new one covers the old.
const TEXT: &str = "sortie journal, commits: ";
const DIGITS: usize = 20;

/// More than a mark ever has.
const BYTES_MAX: usize = 128;

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
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            // A file system without locks: redb's own lock, of another kind, is what is left.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(Some(Self { file })),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// What the mark at `path` remembers, without taking it.
    pub(crate) fn look(path: &Path) -> io::Result<Option<u64>> {
        match File::open(path) {
            Ok(file) => Self { file }.remembered(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The commits that it remembers; `None` where there was no journal yet. A mark that cannot be understood still says
    /// that there was one, and is told of: until the next commit nothing protects the newest one.
    pub(crate) fn remembered(&self) -> io::Result<Option<u64>> {
        let mut text = vec![0; usize::try_from(self.file.metadata()?.len()).unwrap_or(usize::MAX).min(BYTES_MAX)];
        self.file.read_exact_at(&mut text, 0)?;
        if text.is_empty() {
            return Ok(None);
        }
        let number = || str::from_utf8(&text).ok()?.strip_prefix(TEXT)?.trim().parse().ok();
        Ok(Some(number().unwrap_or_else(|| {
            tracing::warn!(
                "the journal's mark is damaged: whether the journal lost its newest commits cannot be told; compare it with a \
                 backup (docs/OPERATIONS.md)"
            );
            0
        })))
    }

    /// Remembers `commits`, and that there is a journal, through a loss of power.
    pub(crate) fn establish(&self, commits: u64) -> io::Result<()> {
        self.write(commits)?;
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
        assert_eq!(mark.remembered().unwrap(), None);
        for commits in [7, u64::MAX, 8] {
            mark.set(commits);
            assert_eq!(mark.remembered().unwrap(), Some(commits));
        }
        for garbage in [b"g".as_slice(), b"sortie journal, commits: ", b"\xff\xff", &[b'x'; 1_000]] {
            std::fs::write(&path, garbage).unwrap();
            assert_eq!(mark.remembered().unwrap(), Some(0));
        }
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
