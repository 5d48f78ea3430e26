//! Artifacts in a shared store: each mission's below a place of its own, under their digests.
//!
//! So nothing is counted across missions: what a mission stored goes with it. What was stored and never recorded lies there, too, and
//! goes the same way.

use std::io::{Seek as _, Write as _};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use sortie_contract::digest::Digest;

use crate::objects::{Fault, Objects};

/// Below this they are.
const ARTIFACTS: &str = "artifacts";

/// What one mission may store.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// All of it, in bytes, what was replaced since included.
    pub bytes_max: u64,
    /// So many different contents.
    pub files_max: usize,
    /// Each of them, in bytes.
    pub one_max: u64,
}

/// The artifacts of missions.
#[derive(Debug, Clone)]
pub struct Shelves {
    objects: Objects,
    bounds: Bounds,
    /// What lies in places that something was stored in since the start.
    known: Arc<Mutex<std::collections::HashMap<String, Known>>>,
}

/// What lies in a place, or is on its way there, by digest.
type Known = std::collections::HashMap<Digest, Content>;

/// A content of a place, whose room is taken.
#[derive(Debug, Clone, Copy)]
struct Content {
    bytes: u64,
    /// All of it is there; else somebody writes it, or broke off.
    is_there: bool,
}

/// Why something is not stored.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// The mission has stored so much already.
    #[error("the artifacts of one mission take {0} MiB at most (`limits.mission_artifacts_mib`)")]
    Bytes(u64),
    /// It has stored so many already.
    #[error("a mission stores at most {0} different contents")]
    Files(usize),
    /// The store.
    #[error(transparent)]
    Store(#[from] Fault),
}

impl Shelves {
    /// Those of a store.
    #[must_use]
    pub fn new(objects: Objects, bounds: Bounds) -> Self {
        Self { objects, bounds, known: Arc::default() }
    }

    /// The store.
    #[must_use]
    pub fn objects(&self) -> &Objects {
        &self.objects
    }

    /// Stores bytes in a place: when this returns, they are there.
    ///
    /// # Errors
    /// [`PutError`]; they may be there, which harms nobody.
    pub async fn put(&self, place: &str, bytes: Bytes) -> Result<Digest, PutError> {
        let (sha256, size) = (Digest::of(&bytes), bytes.len() as u64);
        if self.take_room(place, sha256, size).await? {
            let put = self.objects.put(&key(place, &sha256), bytes).await;
            self.came(place, sha256, size, put.is_ok());
            put?;
        }
        Ok(sha256)
    }

    /// Whether it is to be written: what was written in full is not written again. What another attempt is writing is: that one may fail.
    async fn take_room(&self, place: &str, sha256: Digest, size: u64) -> Result<bool, PutError> {
        let looked = if self.known.lock().contains_key(place) { None } else { Some(self.found(place).await?) };
        let mut known = self.known.lock();
        if let Some(looked) = looked {
            // Somebody else may have been quicker, and have written since.
            known.entry(place.to_owned()).or_insert(looked);
        }
        let its = known.entry(place.to_owned()).or_default();
        if let Some(content) = its.get(&sha256) {
            // What lies there under its digest with another size was not left by anybody who stored it.
            return Ok(!content.is_there || content.bytes != size);
        }
        if its.len() >= self.bounds.files_max {
            return Err(PutError::Files(self.bounds.files_max));
        }
        if its.values().map(|content| content.bytes).sum::<u64>().saturating_add(size) > self.bounds.bytes_max {
            return Err(PutError::Bytes(self.bounds.bytes_max >> 20));
        }
        its.insert(sha256, Content { bytes: size, is_there: false });
        Ok(true)
    }

    /// An attempt to write something came to its end: it is there, or its room is free again, unless another attempt was quicker.
    fn came(&self, place: &str, sha256: Digest, bytes: u64, is_there: bool) {
        let mut known = self.known.lock();
        let Some(its) = known.get_mut(place) else { return };
        if is_there {
            its.insert(sha256, Content { bytes, is_there });
        } else if its.get(&sha256).is_some_and(|content| !content.is_there) {
            its.remove(&sha256);
        }
    }

    async fn found(&self, place: &str) -> Result<Known, Fault> {
        let there = |bytes| Content { bytes, is_there: true };
        let found = self.objects.list(&folder(place)).await?;
        let named = |found: crate::Found| Some((found.key.rsplit('/').next()?.parse().ok()?, there(found.bytes)));
        Ok(found.into_iter().filter(|found| found.is_object).filter_map(named).collect())
    }

    /// The bytes of an artifact, if they are those that were stored.
    ///
    /// # Errors
    /// [`Fault`]; [`Fault::Damaged`] where they are not.
    pub async fn get(&self, place: &str, sha256: &Digest) -> Result<Bytes, Fault> {
        let bytes = self.objects.get(&key(place, sha256), self.bounds.one_max).await.map_err(of_stored)?;
        match Digest::of(&bytes) {
            found if found == *sha256 => Ok(bytes),
            found => Err(damaged(bytes.len() as u64, &found)),
        }
    }

    /// Reads an artifact into a file, which is then at its beginning: no more than a piece of it is in memory.
    ///
    /// # Errors
    /// As [`Shelves::get`].
    pub async fn read_into(&self, place: &str, sha256: &Digest, file: &mut std::fs::File) -> Result<(), Fault> {
        let mut hasher = Sha256::new();
        let piece = |piece: &[u8]| {
            hasher.update(piece);
            file.write_all(piece)
        };
        let read = self.objects.read(&key(place, sha256), None, self.bounds.one_max, piece).await;
        let bytes = read.map_err(of_stored)?;
        let found: [u8; 32] = hasher.finalize().into();
        let found = Digest::from(found);
        if found != *sha256 {
            return Err(damaged(bytes, &found));
        }
        file.rewind().map_err(Fault::Here)
    }

    /// Copies an artifact of one place into another.
    ///
    /// # Errors
    /// [`Fault`]: it may be there.
    pub async fn copy(&self, from: &str, to: &str, sha256: &Digest) -> Result<(), Fault> {
        self.objects.copy(&key(from, sha256), &key(to, sha256), self.bounds.one_max).await.map_err(of_stored)
    }

    /// Removes all that is in a place.
    ///
    /// # Errors
    /// [`Fault::Away`]: some of it may be left.
    pub async fn remove(&self, place: &str) -> Result<(), Fault> {
        self.is_over(place);
        self.objects.remove_below(&folder(place)).await
    }

    /// Nothing more comes into a place: what is known of it need not be kept in mind.
    pub fn is_over(&self, place: &str) {
        self.known.lock().remove(place);
    }
}

fn folder(place: &str) -> String {
    format!("{ARTIFACTS}/{place}")
}

/// The key of an artifact, below the store's prefix.
#[must_use]
pub fn key(place: &str, sha256: &Digest) -> String {
    format!("{ARTIFACTS}/{place}/{sha256}")
}

fn damaged(bytes: u64, found: &Digest) -> Fault {
    Fault::Damaged(format!("it has other bytes than were stored: {bytes} of them, with the SHA-256 {found}"))
}

/// Nothing is stored that is larger than may be read.
fn of_stored(fault: Fault) -> Fault {
    match fault {
        Fault::TooLarge { max } => {
            Fault::Damaged(format!("it has more than {max} bytes, which nobody could have stored"))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::ArtifactConfig;

    fn shelves(dir: &std::path::Path) -> Shelves {
        let config = ArtifactConfig { shared: Some(format!("file://{}", dir.display())), ..ArtifactConfig::default() };
        let objects = Objects::open(&config).expect("a store").expect("one is named");
        Shelves::new(objects, Bounds { bytes_max: 10, files_max: 3, one_max: 100 })
    }

    #[tokio::test]
    async fn a_mission_stores_so_much_and_no_more_also_after_a_start() {
        let dir = tempfile::tempdir().expect("a folder");
        for _ in 0..2 {
            let shelves = shelves(dir.path());
            for (place, bytes, stored) in [
                ("one", "123456", true),
                // The same again takes nothing.
                ("one", "123456", true),
                ("one", "12345", false),
                ("one", "1", true),
                ("one", "2", true),
                ("one", "3", false),
                ("two", "1234567890", true),
            ] {
                let put = shelves.put(place, Bytes::from_static(bytes.as_bytes())).await;
                assert_eq!(put.is_ok(), stored, "{place} {bytes}: {put:?}");
            }
        }
        let shelves = shelves(dir.path());
        shelves.remove("one").await.expect("removed");
        shelves.put("one", Bytes::from_static(b"0123456789")).await.expect("there is room again");
        let two = Digest::of(b"1234567890");
        assert_eq!(shelves.get("two", &two).await.expect("another's stays"), "1234567890");
        assert!(matches!(shelves.get("one", &two).await, Err(Fault::Missing)), "missions do not see each other's");
    }

    #[tokio::test]
    async fn what_another_attempt_began_is_there_once_it_was_written_and_takes_its_room_once() {
        let dir = tempfile::tempdir().expect("a folder");
        let shelves = shelves(dir.path());
        let (bytes, sha256) = (Bytes::from_static(b"123456"), Digest::of(b"123456"));
        assert!(shelves.take_room("one", sha256, 6).await.expect("room"), "and broke off");
        shelves.put("one", bytes.clone()).await.expect("stored");
        assert_eq!(shelves.get("one", &sha256).await.expect("there"), bytes);
        // The other one fails late: what is there is there, and counts.
        shelves.came("one", sha256, 6, false);
        assert!(!shelves.take_room("one", sha256, 6).await.expect("room"));
        assert!(matches!(shelves.put("one", Bytes::from_static(b"12345")).await, Err(PutError::Bytes(_))));
    }

    #[tokio::test]
    async fn what_is_read_is_what_was_stored_or_an_error() {
        let dir = tempfile::tempdir().expect("a folder");
        let shelves = shelves(dir.path());
        let sha256 = shelves.put("one", Bytes::from_static(b"report")).await.expect("stored");
        let mut file = tempfile::tempfile().expect("a file");
        shelves.read_into("one", &sha256, &mut file).await.expect("read");
        assert_eq!(io::read_to_string(&file).expect("text"), "report");
        shelves.copy("one", "two", &sha256).await.expect("copied");
        std::fs::write(dir.path().join(key("one", &sha256)), "rep0rt").expect("written");
        let is_damaged = |fault: &Fault| matches!(fault, Fault::Damaged(_));
        assert!(shelves.get("one", &sha256).await.is_err_and(|fault| is_damaged(&fault)));
        assert!(shelves.read_into("one", &sha256, &mut file).await.is_err_and(|fault| is_damaged(&fault)));
        assert_eq!(shelves.get("two", &sha256).await.expect("a copy of its own"), "report");
    }
}
