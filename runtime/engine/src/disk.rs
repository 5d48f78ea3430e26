//! The room on the disk that holds the data folder, and what it is kept for.
//!
//! The journal must always find room: without it the node can neither take a mission nor end one. So some is kept free for it
//! and never touched by anything else. Artifacts and the files of missions are refused first, at twice that, then intake
//! stops; what is there goes on, is shown, and can be cancelled. Whoever else writes on the same disk is not bound by this.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The disk of a node. Clones would look for themselves: it is shared.
#[derive(Debug)]
pub struct Disk {
    folder: PathBuf,
    /// What is kept free for the journal, in bytes.
    pub reserve_bytes: u64,
    /// As it was found last.
    free_bytes: AtomicU64,
}

impl Disk {
    /// The disk of `folder`, of which so much is kept free.
    #[must_use]
    pub fn new(folder: &Path, reserve_bytes: u64) -> Self {
        let disk = Self { folder: folder.to_owned(), reserve_bytes, free_bytes: AtomicU64::new(u64::MAX) };
        disk.look();
        disk
    }

    /// What is free, and what is remembered of it. Blocks. A disk that does not say is taken for one with room: the journal finds
    /// out.
    pub fn look(&self) -> u64 {
        let free =
            rustix::fs::statvfs(&self.folder).map_or(u64::MAX, |stat| stat.f_bavail.saturating_mul(stat.f_frsize));
        self.free_bytes.store(free, Relaxed);
        free
    }

    /// What was free when it was looked last, in bytes.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        self.free_bytes.load(Relaxed)
    }

    /// Whether only the journal may write any more.
    #[must_use]
    pub fn is_low(&self) -> bool {
        self.free_bytes() < self.reserve_bytes
    }

    /// Whether missions may write no more files.
    #[must_use]
    pub fn is_tight(&self) -> bool {
        self.free_bytes() < self.reserve_bytes.saturating_mul(2)
    }

    /// Whether so much more may be written by missions. Blocks.
    #[must_use]
    pub fn takes(&self, bytes: u64) -> bool {
        self.look() >= self.reserve_bytes.saturating_mul(2).saturating_add(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missions_stop_writing_before_intake_stops() {
        let dir = tempfile::tempdir().expect("a folder");
        let free = Disk::new(dir.path(), 0).look();
        for (reserve, bytes, takes, tight, low) in [
            (0, 0, true, false, false),
            (0, u64::MAX, false, false, false),
            (free / 4, 0, true, false, false),
            (free / 4, free, false, false, false),
            (free / 4 * 3, 0, false, true, false),
            (u64::MAX, 0, false, true, true),
        ] {
            let disk = Disk::new(dir.path(), reserve);
            let found = (disk.takes(bytes), disk.is_tight(), disk.is_low());
            assert_eq!(found, (takes, tight, low), "{reserve} of {free} kept, {bytes} to write");
        }
    }
}
