//! The room on the disk that holds the data folder, and what it is kept for.
//!
//! The journal must always find room: without it the node can neither take a mission nor end one. So some is kept free for it
//! and never touched by anything else. Artifacts and the files of missions are refused first, at twice that, then intake
//! stops, and at an eighth of it no plugin goes on; what is there is shown, and can be cancelled.
//!
//! Whoever else writes on the same disk is not bound by this. Against them a part of the room is held by a file, `reserve`,
//! which gives it back in pieces when nothing else is free: half of them while the node runs, the others when it starts, so
//! that it starts, answers and cancels on a disk with not a byte free. It is filled again when there is room.
//!
//! It does not decide what becomes of a mission, and it removes nothing but its own file.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rustix::fs::FallocateFlags;

/// The file that holds room, in the data folder.
const RESERVE: &str = "reserve";

/// In how many pieces it gives it back.
const PIECES: u64 = 8;

/// Those that are left for starts.
const PIECES_TO_START: u64 = 4;

/// The largest piece: a start takes a small part of it, so that thousands of missions can be cancelled with what is left.
const PIECE_BYTES_MAX: u64 = 8 << 20;

/// The disk of a node. Clones would look for themselves: it is shared.
#[derive(Debug)]
pub struct Disk {
    folder: PathBuf,
    /// What is kept free for the journal, in bytes.
    pub reserve_bytes: u64,
    /// Below so much it is warned.
    pub warn_bytes: u64,
    /// As it was found last.
    free_bytes: AtomicU64,
}

/// When room is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Before the journal is opened.
    Start,
    /// While the node runs.
    Running,
}

impl Disk {
    /// The disk of `folder`, of which so much is kept free.
    #[must_use]
    pub fn new(folder: &Path, reserve_bytes: u64) -> Self {
        let warn_bytes = reserve_bytes.saturating_mul(2);
        let disk = Self { folder: folder.to_owned(), reserve_bytes, warn_bytes, free_bytes: AtomicU64::new(u64::MAX) };
        disk.look();
        disk
    }

    /// The same, of which it is warned below so many bytes: at the least where missions stop writing.
    #[must_use]
    pub fn warning(self, bytes: u64) -> Self {
        Self { warn_bytes: self.warn_bytes.max(bytes), ..self }
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

    /// Whether no plugin may go on: what is left is for the journal to end missions with.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.free_bytes() < self.reserve_bytes / 8
    }

    /// Whether only the journal may write any more.
    #[must_use]
    pub fn is_low(&self) -> bool {
        self.free_bytes() < self.reserve_bytes
    }

    /// Whether somebody should make room, before anything stops.
    #[must_use]
    pub fn is_scarce(&self) -> bool {
        self.free_bytes() < self.warn_bytes
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

    /// Looks, and gives room back where there is next to none, or holds some where there is plenty. Blocks.
    ///
    /// # Errors
    /// The file that holds it cannot be changed. What is free was looked at.
    pub fn balance(&self, moment: Moment) -> io::Result<()> {
        let (free, piece) = (self.look(), self.piece_bytes());
        let path = self.folder.join(RESERVE);
        let held = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
        if free < piece {
            self.give_back(&path, held, moment)
        } else if moment == Moment::Running && piece > 0 && held < piece * PIECES {
            self.hold(&path, held, free)
        } else {
            Ok(())
        }
    }

    fn give_back(&self, path: &Path, mut held: u64, moment: Moment) -> io::Result<()> {
        let piece = self.piece_bytes();
        let kept = if moment == Moment::Start { 0 } else { piece * PIECES_TO_START };
        while held > kept && self.free_bytes() < piece {
            held = held.saturating_sub(piece).max(kept);
            OpenOptions::new().write(true).open(path)?.set_len(held)?;
            tracing::warn!(held, "the disk is full: the journal gets a part of what was held for it; in bytes");
            self.look();
        }
        Ok(())
    }

    /// Sets room aside, where missions do not even need what is left then.
    fn hold(&self, path: &Path, held: u64, free: u64) -> io::Result<()> {
        let missing = self.piece_bytes() * PIECES - held;
        if free < self.reserve_bytes.saturating_mul(2).saturating_add(missing) {
            return Ok(());
        }
        let file: File = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        rustix::fs::fallocate(&file, FallocateFlags::empty(), held, missing)?;
        self.look();
        Ok(())
    }

    fn piece_bytes(&self) -> u64 {
        (self.reserve_bytes / (4 * PIECES)).min(PIECE_BYTES_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missions_stop_writing_before_intake_stops() {
        let dir = tempfile::tempdir().expect("a folder");
        let free = Disk::new(dir.path(), 0).look();
        for (reserve, bytes, takes, tight, low, full) in [
            (0, 0, true, false, false, false),
            (0, u64::MAX, false, false, false, false),
            (free / 4, 0, true, false, false, false),
            (free / 4, free, false, false, false, false),
            (free / 4 * 3, 0, false, true, false, false),
            (free.saturating_mul(2), 0, false, true, true, false),
            (u64::MAX, 0, false, true, true, true),
        ] {
            let disk = Disk::new(dir.path(), reserve);
            assert_eq!(disk.is_scarce(), tight, "it is warned no later than that");
            let disk = disk.warning(u64::MAX);
            assert!(disk.is_scarce(), "and earlier, where that is wanted");
            let found = (disk.takes(bytes), disk.is_tight(), disk.is_low(), disk.is_full());
            assert_eq!(found, (takes, tight, low, full), "{reserve} of {free} kept, {bytes} to write");
        }
    }

    #[test]
    fn what_is_held_is_given_back_in_pieces_and_some_is_left_for_starts() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join(RESERVE);
        let held = || path.metadata().map_or(0, |metadata| metadata.len());
        let (piece, reserve) = (32 << 10, 1 << 20);
        let roomy = Disk::new(dir.path(), reserve);
        assert_eq!(roomy.piece_bytes(), piece);
        roomy.balance(Moment::Start).expect("balanced");
        assert_eq!(held(), 0, "a start has other cares");
        for _ in 0..2 {
            roomy.balance(Moment::Running).expect("balanced");
            assert_eq!(held(), PIECES * piece);
        }
        // No disk has so much: nothing of it is ever free enough.
        let full = Disk::new(dir.path(), u64::MAX);
        full.give_back(&path, held(), Moment::Running).expect("given back");
        assert!(held() <= full.piece_bytes() * PIECES_TO_START);
        std::fs::remove_file(&path).expect("there");
        full.balance(Moment::Running).expect("balanced");
        assert_eq!(held(), 0, "nothing is held where there is no room");
    }
}
