//! The room that the files of all missions share: artifacts and workspaces together.
//!
//! It owns one number, what lies there, and asks the disk. What one mission or one workspace may take is not its business.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::SystemTime;

use sortie_tools::NodeRoom;

use crate::disk::Disk;

/// The room for the files of all missions.
#[derive(Debug)]
pub struct SharedRoom {
    disk: Arc<Disk>,
    bytes_max: u64,
    bytes: AtomicU64,
}

/// Why there is no room for a file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoRoom {
    #[error("the files of this node's missions take {0} MiB at most (`limits.files_mib`)")]
    Node(u64),
    #[error("the disk of this node is nearly full")]
    Disk,
}

impl SharedRoom {
    /// So much room on that disk.
    #[must_use]
    pub fn new(disk: Arc<Disk>, bytes_max: u64) -> Self {
        Self { disk, bytes_max, bytes: AtomicU64::new(0) }
    }

    /// The disk that it is on.
    #[must_use]
    pub fn disk(&self) -> &Arc<Disk> {
        &self.disk
    }

    /// What the files take, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Finds out how much lies in `folder` from before `since`; what was written later has been counted. Blocks; until it is done,
    /// what was there before does not count.
    pub fn weigh(&self, folder: &Path, since: SystemTime) {
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let Ok(metadata) = entry.metadata() else { continue };
                if metadata.is_dir() {
                    folders.push(entry.path());
                } else if metadata.modified().is_ok_and(|modified| modified < since) {
                    self.bytes.fetch_add(metadata.len(), Relaxed);
                }
            }
        }
    }

    /// Takes room for what is about to be written. Side by side, two do not take the same.
    pub(crate) fn try_take(&self, bytes: u64) -> Result<(), NoRoom> {
        if !self.disk.takes(bytes) {
            return Err(NoRoom::Disk);
        }
        let fits = |all: u64| all.checked_add(bytes).filter(|all| bytes == 0 || *all <= self.bytes_max);
        self.bytes.fetch_update(Relaxed, Relaxed, fits).map(drop).map_err(|_| NoRoom::Node(self.bytes_max >> 20))
    }

    /// Gives room back.
    pub(crate) fn give_back(&self, bytes: u64) {
        let left = |all: u64| Some(all.saturating_sub(bytes));
        let _ = self.bytes.fetch_update(Relaxed, Relaxed, left);
    }
}

impl NodeRoom for SharedRoom {
    fn take(&self, bytes: u64) -> Result<(), String> {
        self.try_take(bytes).map_err(|why| why.to_string())
    }

    fn give(&self, bytes: u64) {
        self.give_back(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_before_counts_once() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(dir.path().join("below")).expect("made");
        std::fs::write(dir.path().join("below/old"), [0; 10]).expect("written");
        let room = SharedRoom::new(Arc::new(Disk::new(dir.path(), 0)), 15);
        let old =
            std::fs::metadata(dir.path().join("below/old")).and_then(|metadata| metadata.modified()).expect("there");
        room.weigh(dir.path(), old);
        assert_eq!(room.bytes(), 0, "it was written since");
        room.weigh(dir.path(), old + std::time::Duration::from_secs(1));
        assert_eq!(room.bytes(), 10);
        assert!(matches!(room.try_take(6), Err(NoRoom::Node(0))));
        room.try_take(5).expect("there is room");
        room.give_back(12);
        assert_eq!(room.bytes(), 3);
    }
}
