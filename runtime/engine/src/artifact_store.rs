//! Artifacts on disk: `artifacts/{mission number}/{sha256}`, written once, never changed.
//!
//! Bytes are on disk before the journal names them, so that an index entry always has its bytes. What a crash leaves
//! without an index entry is harmless and goes with its mission.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use sortie_contract::MissionNo;
use sortie_contract::digest::Digest;

use crate::disk::Disk;

/// How much room a node has for what missions write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Room {
    /// Enough.
    Enough,
    /// What is left is for the node: missions write no more files.
    Tight,
    /// What is left is for the journal: no missions are taken.
    Low,
    /// Next to nothing is left, and that is for ending missions: no plugin goes on.
    Full,
}

/// Where artifacts' bytes are. Every method but [`Artifacts::room`] and [`Artifacts::is_over`] blocks.
pub trait Artifacts: Send + Sync + 'static {
    /// Stores `bytes` durably, if there is room for them: when this returns they survive a loss of power.
    ///
    /// # Errors
    /// Whatever kept them from it; nothing is to be relied on then.
    fn put(&self, mission: MissionNo, bytes: &[u8]) -> io::Result<Digest>;

    /// Reads an artifact's bytes.
    ///
    /// # Errors
    /// They are not there, or cannot be read.
    fn get(&self, mission: MissionNo, sha256: &Digest) -> io::Result<Vec<u8>>;

    /// Removes everything that a mission stored; nothing there is no error.
    ///
    /// # Errors
    /// Some of it may be left.
    fn remove(&self, mission: MissionNo) -> io::Result<()>;

    /// A mission stores no more: what is known of it need not be kept in mind.
    fn is_over(&self, mission: MissionNo);

    /// How much room there was when it was looked last.
    fn room(&self) -> Room;
}

/// How much artifacts may take.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Those of one mission, in bytes.
    pub mission_bytes_max: u64,
    /// Those of all missions together, in bytes.
    pub node_bytes_max: u64,
}

/// The node's own artifact store: a folder.
#[derive(Debug, Clone)]
pub struct FolderArtifacts {
    root: PathBuf,
    disk: Arc<Disk>,
    bounds: Bounds,
    sizes: Arc<Mutex<Sizes>>,
}

/// What lies there, in bytes, replaced artifacts included.
#[derive(Debug, Default)]
struct Sizes {
    /// Of missions that stored something since the start.
    missions: FxHashMap<MissionNo, u64>,
    all: u64,
}

/// Why an artifact was not stored, before any of it was written.
#[derive(Debug, thiserror::Error)]
enum Full {
    #[error("the artifacts of one mission take {0} MiB at most (`limits.mission_artifacts_mib`)")]
    Mission(u64),
    #[error("the artifacts of this node take {0} MiB at most (`limits.artifacts_mib`)")]
    Node(u64),
    #[error("the disk of this node is nearly full")]
    Disk,
}

impl FolderArtifacts {
    /// Opens the store below `data_dir`.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(data_dir: &Path, disk: Arc<Disk>, bounds: Bounds) -> io::Result<Self> {
        let root = data_dir.join("artifacts");
        std::fs::create_dir_all(&root)?;
        sync_folder(data_dir)?;
        Ok(Self { root, disk, bounds, sizes: Arc::default() })
    }

    /// Finds out how much lies there. Blocks; until it is done, what was there before does not count.
    pub fn weigh(&self) {
        let missions = std::fs::read_dir(&self.root).into_iter().flatten().flatten();
        for mission in missions {
            let bytes = weight(&mission.path());
            self.sizes.lock().all += bytes;
        }
    }

    /// The disk that it lies on.
    #[must_use]
    pub fn disk(&self) -> &Arc<Disk> {
        &self.disk
    }

    /// How much artifacts take, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.sizes.lock().all
    }

    /// Where the bytes of an artifact are.
    #[must_use]
    pub fn path(&self, mission: MissionNo, sha256: &Digest) -> PathBuf {
        self.folder(mission).join(sha256.to_string())
    }

    fn folder(&self, mission: MissionNo) -> PathBuf {
        self.root.join(mission.to_string())
    }

    /// Sets room aside for what is about to be written. Side by side, two do not take the same.
    fn take_room(&self, mission: MissionNo, bytes: u64) -> Result<(), Full> {
        let Bounds { mission_bytes_max, node_bytes_max } = self.bounds;
        if !self.disk.takes(bytes) {
            return Err(Full::Disk);
        }
        let known = self.sizes.lock().missions.contains_key(&mission);
        let before = if known { 0 } else { weight(&self.folder(mission)) };
        let mut sizes = self.sizes.lock();
        let all = sizes.all.saturating_add(bytes);
        let its = sizes.missions.entry(mission).or_insert(before);
        if its.saturating_add(bytes) > mission_bytes_max {
            return Err(Full::Mission(mission_bytes_max >> 20));
        }
        if all > node_bytes_max {
            return Err(Full::Node(node_bytes_max >> 20));
        }
        *its += bytes;
        sizes.all = all;
        Ok(())
    }

    fn give_room(&self, mission: MissionNo, bytes: u64) {
        let mut sizes = self.sizes.lock();
        sizes.all = sizes.all.saturating_sub(bytes);
        if let Some(its) = sizes.missions.get_mut(&mission) {
            *its = its.saturating_sub(bytes);
        }
    }
}

impl Artifacts for FolderArtifacts {
    fn put(&self, mission: MissionNo, bytes: &[u8]) -> io::Result<Digest> {
        let sha256 = Digest::of(bytes);
        let path = self.path(mission, &sha256);
        let folder = self.folder(mission);
        std::fs::create_dir_all(&folder)?;
        // A file under its digest is whole: it gets its name when its bytes are on disk.
        if !path.exists() {
            self.take_room(mission, bytes.len() as u64).map_err(io::Error::other)?;
            let written = write(&folder, &path, bytes);
            if written.is_err() {
                self.give_room(mission, bytes.len() as u64);
            }
            written?;
        }
        // Also where it was there: whoever put it there may have failed at this, or may not be that far.
        sync_folder(&folder)?;
        sync_folder(&self.root)?;
        Ok(sha256)
    }

    fn remove(&self, mission: MissionNo) -> io::Result<()> {
        let folder = self.folder(mission);
        let bytes = weight(&folder);
        match std::fs::remove_dir_all(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut sizes = self.sizes.lock();
        sizes.missions.remove(&mission);
        sizes.all = sizes.all.saturating_sub(bytes);
        Ok(())
    }

    // How much it stored is found again where it is asked for.
    fn is_over(&self, mission: MissionNo) {
        self.sizes.lock().missions.remove(&mission);
    }

    fn get(&self, mission: MissionNo, sha256: &Digest) -> io::Result<Vec<u8>> {
        std::fs::read(self.path(mission, sha256))
    }

    fn room(&self) -> Room {
        if self.disk.is_full() {
            Room::Full
        } else if self.disk.is_low() {
            Room::Low
        } else if self.disk.is_tight() {
            Room::Tight
        } else {
            Room::Enough
        }
    }
}

fn write(folder: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_data()?;
    file.persist(path).map(drop).map_err(|error| error.error)
}

/// The bytes of a folder's files.
fn weight(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum()
}

/// Makes the names in a folder durable.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(dir: &Path, mission_bytes_max: u64, node_bytes_max: u64) -> FolderArtifacts {
        let bounds = Bounds { mission_bytes_max, node_bytes_max };
        FolderArtifacts::open(dir, Arc::new(Disk::new(dir, 0)), bounds).expect("a store")
    }

    #[test]
    fn a_mission_and_a_node_store_so_much_and_no_more() {
        let dir = tempfile::tempdir().expect("a folder");
        for restarted in [false, true] {
            let store = store(dir.path(), 10, 15);
            store.weigh();
            for (mission, bytes, stored) in [
                (1, "123456", true),
                // The same again takes nothing.
                (1, "123456", true),
                (1, "12345", false),
                (1, "1234", true),
                (2, "12345", true),
                (2, "12346", false),
                (3, "x", false),
            ] {
                let put = store.put(MissionNo(mission), bytes.as_bytes());
                assert_eq!(put.is_ok(), stored, "{mission} {bytes} {restarted}: {put:?}");
            }
            assert_eq!(store.bytes(), 15);
        }
        let store = store(dir.path(), 10, 15);
        store.weigh();
        store.remove(MissionNo(1)).expect("removed");
        assert_eq!(store.bytes(), 5);
        store.put(MissionNo(3), b"x").expect("there is room again");
    }

    #[test]
    fn nothing_is_written_on_a_disk_that_is_nearly_full() {
        let dir = tempfile::tempdir().expect("a folder");
        let bounds = Bounds { mission_bytes_max: u64::MAX, node_bytes_max: u64::MAX };
        let disk = Arc::new(Disk::new(dir.path(), u64::MAX / 4));
        let store = FolderArtifacts::open(dir.path(), disk, bounds).expect("a store");
        let refused = store.put(MissionNo(1), b"x").expect_err("refused");
        assert!(refused.to_string().contains("nearly full"), "{refused}");
        assert_eq!(weight(&store.folder(MissionNo(1))), 0);
    }

    #[test]
    fn what_was_put_is_there_under_its_digest() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = store(dir.path(), u64::MAX, u64::MAX);
        let sha256 = store.put(MissionNo(7), b"report").expect("stored");
        assert_eq!(sha256, Digest::of(b"report"));
        assert_eq!(store.put(MissionNo(7), b"report").expect("again"), sha256);
        assert_eq!(store.get(MissionNo(7), &sha256).expect("read"), b"report");
        assert!(store.get(MissionNo(8), &sha256).is_err(), "missions do not see each other's artifacts");
    }
}
