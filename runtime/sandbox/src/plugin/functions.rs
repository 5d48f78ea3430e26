//! Compiled functions on disk: of a component that is another by now, what did not change is not compiled again.
//!
//! What makes components of Python and JavaScript makes other bytes each time, and most of what is other are data: the interpreter's
//! functions are the same. They lie in packs, one for what a compilation had to make. A pack begins with an HMAC-SHA-256 of its name and of
//! its index, and the index holds for each function its key (a hash of all that its code depends on: what it was compiled of, the compiler's
//! version, its settings, the processor), the digest of what is kept of it, and how long that is. So nothing is taken from a pack that this
//! user did not write; a pack that is damaged is as good as none, and packs may be deleted at will.
//!
//! The key is the compiler's own, and so is the promise that the same key has the same code. Nodes do not rely on it: they compile a plugin
//! once, whole. It is for authors, who compile the next one a minute later.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, RwLock};
use sortie_contract::digest::Digest;
use wasmtime::CacheStore;

use super::cache::Seal;
use super::file::write;

/// How a pack is told from what else is in the folder.
const PACK: &str = "functions";

const KEY_BYTES: usize = 32;
const DIGEST_BYTES: usize = 32;
const COUNT_BYTES: usize = 8;
const LENGTH_BYTES: usize = 8;
const ENTRY_BYTES: usize = KEY_BYTES + DIGEST_BYTES + LENGTH_BYTES;

/// Most functions in a pack: an index of 72 MB. Python has some ten thousand.
const ENTRIES_MAX: usize = 1_000_000;

type Key = [u8; KEY_BYTES];

/// The functions that are on disk, and those that were compiled since.
#[derive(Debug)]
pub(crate) struct Functions {
    folder: PathBuf,
    seal: Seal,
    /// None until somebody compiles: who finds what he wants compiled whole reads no index.
    packs: RwLock<Option<Vec<Pack>>>,
    fresh: Mutex<BTreeMap<Key, Vec<u8>>>,
}

/// A file of functions.
#[derive(Debug)]
struct Pack {
    path: PathBuf,
    file: File,
    at: HashMap<Key, Place>,
    was_used: AtomicBool,
}

/// Where a function lies in a pack, and what lies there.
#[derive(Debug)]
struct Place {
    digest: [u8; DIGEST_BYTES],
    begins: u64,
    bytes: usize,
}

impl Functions {
    /// Those in a folder, under its key.
    pub(super) fn of(folder: PathBuf, seal: Seal) -> Self {
        Self { folder, seal, packs: RwLock::default(), fresh: Mutex::default() }
    }

    /// Somebody is about to compile. What cannot be read is compiled.
    pub(super) fn prepare(&self) {
        let mut packs = self.packs.write();
        if packs.is_some() {
            return;
        }
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten();
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let found = paths.filter(|path| is_pack(path)).filter_map(|path| {
            let opened = Pack::open(path.clone(), &self.seal);
            opened
                .inspect_err(|error| tracing::warn!(path = %path.display(), %error, "compiled functions are not used"))
                .ok()
        });
        *packs = Some(found.collect());
    }

    /// Writes what was compiled since the last time.
    pub(super) fn keep(&self) -> io::Result<()> {
        let fresh = std::mem::take(&mut *self.fresh.lock());
        if fresh.is_empty() || fresh.len() > ENTRIES_MAX {
            return Ok(());
        }
        let index = index(&fresh);
        let path = self.folder.join(format!("{}.{PACK}", Digest::of(&index)));
        let code = self.seal.of(&path, &index);
        let mut parts: Vec<&[u8]> = vec![&code, &index];
        parts.extend(fresh.values().map(Vec::as_slice));
        write(&self.folder, &path, &parts)?;
        let pack = Pack::open(path, &self.seal)?;
        self.packs.write().get_or_insert_default().push(pack);
        Ok(())
    }

    /// The packs that somebody had a function of.
    pub(crate) fn used(&self) -> Vec<PathBuf> {
        let packs = self.packs.read();
        let used = packs.iter().flatten().filter(|pack| pack.was_used.load(Ordering::Relaxed));
        used.map(|pack| pack.path.clone()).collect()
    }
}

impl CacheStore for Functions {
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        let key: Key = key.try_into().ok()?;
        self.packs.read().iter().flatten().find_map(|pack| pack.get(&key)).map(Cow::Owned)
    }

    fn insert(&self, key: &[u8], value: Vec<u8>) -> bool {
        let Ok(key) = key.try_into() else { return false };
        self.fresh.lock().insert(key, value);
        true
    }
}

/// What a pack says of its functions, which follow it in the same order.
fn index(functions: &BTreeMap<Key, Vec<u8>>) -> Vec<u8> {
    let mut index = Vec::with_capacity(COUNT_BYTES + functions.len() * ENTRY_BYTES);
    index.extend((functions.len() as u64).to_le_bytes());
    for (key, code) in functions {
        index.extend(key);
        index.extend(Digest::of(code).as_bytes());
        index.extend((code.len() as u64).to_le_bytes());
    }
    index
}

impl Pack {
    fn open(path: PathBuf, seal: &Seal) -> io::Result<Self> {
        let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let mut file = File::open(&path)?;
        let (mut code, mut count) = ([0; Seal::BYTES], [0; COUNT_BYTES]);
        file.read_exact(&mut code)?;
        file.read_exact(&mut count)?;
        let entries = usize::try_from(u64::from_le_bytes(count)).ok().filter(|count| *count <= ENTRIES_MAX);
        let entries = entries.ok_or_else(|| wrong("it says of more functions than there can be"))?;
        let mut index = count.to_vec();
        index.resize(COUNT_BYTES + entries * ENTRY_BYTES, 0);
        file.read_exact(&mut index[COUNT_BYTES..])?;
        if !seal.fits(&path, &index, &code) {
            return Err(wrong("it was damaged or is not of this user"));
        }
        let mut begins = (code.len() + index.len()) as u64;
        let mut at = HashMap::with_capacity(entries);
        for entry in index[COUNT_BYTES..].chunks_exact(ENTRY_BYTES) {
            let (key, rest) = entry.split_at(KEY_BYTES);
            let (digest, length) = rest.split_at(DIGEST_BYTES);
            let length = u64::from_le_bytes(length.try_into().expect("its length is that of a number"));
            let place = Place {
                digest: digest.try_into().expect("its length is that of a digest"),
                begins,
                bytes: usize::try_from(length).map_err(|_| wrong("it holds more than there can be"))?,
            };
            at.insert(key.try_into().expect("its length is that of a key"), place);
            begins += length;
        }
        Ok(Self { path, file, at, was_used: AtomicBool::new(false) })
    }

    /// What is kept of a function, as it was written.
    fn get(&self, key: &Key) -> Option<Vec<u8>> {
        let place = self.at.get(key)?;
        let mut code = vec![0; place.bytes];
        self.file.read_exact_at(&mut code, place.begins).ok()?;
        if Digest::of(&code).as_bytes() != &place.digest {
            tracing::warn!(path = %self.path.display(), "a compiled function was damaged; it is compiled anew");
            return None;
        }
        self.was_used.store(true, Ordering::Relaxed);
        Some(code)
    }
}

/// Whether a file is a pack.
pub(super) fn is_pack(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == PACK)
}

/// How many functions a pack says it holds.
#[cfg(test)]
pub(super) fn held(path: &Path) -> u64 {
    let bytes = std::fs::read(path).expect("it was just written");
    u64::from_le_bytes(bytes[Seal::BYTES..][..COUNT_BYTES].try_into().expect("its length is that of a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn functions(folder: &Path, key: u8) -> Functions {
        let functions = Functions::of(folder.to_owned(), Seal::new([key; 32]));
        functions.prepare();
        functions
    }

    fn key(first: u8) -> Key {
        let mut key = [7; KEY_BYTES];
        key[0] = first;
        key
    }

    fn get(functions: &Functions, first: u8) -> Option<Vec<u8>> {
        functions.get(&key(first)).map(Cow::into_owned)
    }

    fn packs(folder: &Path) -> Vec<PathBuf> {
        let mut packs: Vec<PathBuf> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
        packs.retain(|path| is_pack(path));
        packs
    }

    #[test]
    fn functions_are_there_the_next_time() {
        let folder = tempfile::tempdir().unwrap();
        let first = functions(folder.path(), 1);
        assert!(get(&first, 1).is_none());
        assert!(first.insert(&key(1), b"one".to_vec()) && first.insert(&key(2), Vec::new()));
        first.keep().unwrap();
        first.keep().unwrap();
        assert_eq!(packs(folder.path()).len(), 1, "nothing new is nothing to write");
        assert_eq!(get(&first, 1).unwrap(), b"one");

        let second = functions(folder.path(), 1);
        assert!(second.used().is_empty());
        assert_eq!((get(&second, 1).unwrap(), get(&second, 2).unwrap()), (b"one".to_vec(), Vec::new()));
        assert_eq!(second.used(), packs(folder.path()));
        second.insert(&key(3), b"three".to_vec());
        second.keep().unwrap();
        assert_eq!(packs(folder.path()).len(), 2);
        let third = functions(folder.path(), 1);
        assert_eq!((get(&third, 1).unwrap(), get(&third, 3).unwrap()), (b"one".to_vec(), b"three".to_vec()));
        // Keys of another length are not the compiler's.
        assert!(!third.insert(b"short", Vec::new()) && third.get(b"short").is_none());
    }

    #[test]
    fn only_what_this_user_wrote_is_used() {
        let folder = tempfile::tempdir().unwrap();
        let writer = functions(folder.path(), 1);
        writer.insert(&key(1), b"one".to_vec());
        writer.insert(&key(2), b"two".to_vec());
        writer.keep().unwrap();
        let path = packs(folder.path()).remove(0);
        let whole = std::fs::read(&path).unwrap();
        assert!(get(&functions(folder.path(), 2), 1).is_none(), "under another key");

        for (at, found) in [
            // The code, the count, a key, a digest, a length: nothing of the pack is believed.
            (0, [false, false]),
            (Seal::BYTES, [false, false]),
            (Seal::BYTES + COUNT_BYTES, [false, false]),
            (Seal::BYTES + COUNT_BYTES + KEY_BYTES, [false, false]),
            (Seal::BYTES + COUNT_BYTES + KEY_BYTES + DIGEST_BYTES, [false, false]),
            // What is kept of a function: that one is not.
            (Seal::BYTES + COUNT_BYTES + 2 * ENTRY_BYTES, [false, true]),
            (whole.len() - 1, [true, false]),
        ] {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            std::fs::write(&path, &damaged).unwrap();
            let functions = functions(folder.path(), 1);
            assert_eq!([1, 2].map(|first| get(&functions, first).is_some()), found, "byte {at}");
        }
        for (length, found) in [(0, false), (Seal::BYTES + 4, false), (whole.len() - 3, true), (whole.len() - 4, true)]
        {
            std::fs::write(&path, &whole[..length]).unwrap();
            let functions = functions(folder.path(), 1);
            assert_eq!((get(&functions, 1).is_some(), get(&functions, 2).is_some()), (found, false), "{length} bytes");
        }
        // Under another name it is another's.
        std::fs::write(folder.path().join(format!("other.{PACK}")), &whole).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(get(&functions(folder.path(), 1), 1).is_none());
    }
}
