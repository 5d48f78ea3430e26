//! Artifacts on disk: `artifacts/{mission number}/{sha256}`, written once, never changed.
//!
//! Bytes are on disk before the journal names them, so that an index entry always has its bytes. What a crash leaves
//! without an index entry is harmless and goes with its mission.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use sortie_contract::MissionNo;
use sortie_contract::digest::Digest;

/// The node's own artifact store.
#[derive(Debug, Clone)]
pub(crate) struct ArtifactStore {
    root: PathBuf,
}

impl ArtifactStore {
    /// Opens the store below `data_dir`.
    pub(crate) fn open(data_dir: &Path) -> io::Result<Self> {
        let root = data_dir.join("artifacts");
        std::fs::create_dir_all(&root)?;
        sync_folder(data_dir)?;
        Ok(Self { root })
    }

    /// Where the bytes of an artifact are.
    pub(crate) fn path(&self, mission: MissionNo, sha256: &Digest) -> PathBuf {
        self.root.join(mission.to_string()).join(sha256.to_string())
    }

    /// Stores `bytes`, durably. Blocks.
    pub(crate) fn put(&self, mission: MissionNo, bytes: &[u8]) -> io::Result<Digest> {
        let sha256 = Digest::of(bytes);
        let path = self.path(mission, &sha256);
        let folder = self.root.join(mission.to_string());
        std::fs::create_dir_all(&folder)?;
        // A file under its digest is whole: it gets its name when its bytes are on disk.
        if !path.exists() {
            let mut file = tempfile::NamedTempFile::new_in(&folder)?;
            file.write_all(bytes)?;
            file.as_file().sync_data()?;
            file.persist(&path).map_err(|error| error.error)?;
        }
        // Also where it was there: whoever put it there may have failed at this, or may not be that far.
        sync_folder(&folder)?;
        sync_folder(&self.root)?;
        Ok(sha256)
    }

    /// Removes everything that a mission stored. Blocks.
    pub(crate) fn remove(&self, mission: MissionNo) -> io::Result<()> {
        match std::fs::remove_dir_all(self.root.join(mission.to_string())) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Reads an artifact's bytes. Blocks.
    pub(crate) fn get(&self, mission: MissionNo, sha256: &Digest) -> io::Result<Vec<u8>> {
        std::fs::read(self.path(mission, sha256))
    }
}

/// Makes the names in a folder durable.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_is_there_under_its_digest() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = ArtifactStore::open(dir.path()).expect("a store");
        let sha256 = store.put(MissionNo(7), b"report").expect("stored");
        assert_eq!(sha256, Digest::of(b"report"));
        assert_eq!(store.put(MissionNo(7), b"report").expect("again"), sha256);
        assert_eq!(store.get(MissionNo(7), &sha256).expect("read"), b"report");
        assert!(store.get(MissionNo(8), &sha256).is_err(), "missions do not see each other's artifacts");
    }
}
