//! Artifacts on disk: `artifacts/{mission number}/{sha256}`, written once, never changed.
//!
//! Bytes are on disk before the journal names them, so that an index entry always has its bytes. What a crash leaves
//! without an index entry is harmless and goes with its mission. What is read is what was stored, or an error: whatever else came to lie
//! there is neither waited for nor followed.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use rustix::fs::OFlags;
use sha2::{Digest as _, Sha256};
use sortie_contract::digest::Digest;
use sortie_contract::{MissionNo, limit};

use crate::shared_room::{NoRoom, SharedRoom};

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
    /// They are not there, or cannot be read, or are not those that were stored ([`io::ErrorKind::InvalidData`]).
    fn get(&self, mission: MissionNo, sha256: &Digest) -> io::Result<Vec<u8>>;

    /// Sets aside, under a name, what a mission stored, for one that has no number yet: as durably as [`Artifacts::put`], and whatever becomes of
    /// the mission.
    ///
    /// # Errors
    /// Some of it is not there, or there is no room for it. What was set aside until then is for [`Artifacts::discard`].
    fn set_aside(&self, _name: &str, _from: MissionNo, _stored: &[Digest]) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "nothing can be set aside here"))
    }

    /// What was set aside under the name is what a mission stored that begins now. Others wait meanwhile: it takes a moment.
    ///
    /// # Errors
    /// It is not there, or the disk says no.
    fn hand_over(&self, _name: &str, _to: MissionNo) -> io::Result<()> {
        Err(io::ErrorKind::NotFound.into())
    }

    /// The mission does not begin: what was handed over to it is set aside again.
    fn take_back(&self, _name: &str, _from: MissionNo) {}

    /// What was set aside under the name, and not handed over, is needed no more, nor is what lay where it was to be.
    /// Nothing there is no error.
    fn discard(&self, _name: &str) {}

    /// The log has the mission: what was handed over to it stays its own.
    fn settle(&self, _of: MissionNo) {}

    /// The missions that something was handed over to, when the process was killed before it was settled: the log may
    /// have them or not.
    fn unsettled(&self) -> Vec<MissionNo> {
        Vec::new()
    }

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

/// The node's own artifact store: a folder.
#[derive(Debug, Clone)]
pub struct FolderArtifacts {
    root: PathBuf,
    room: Arc<SharedRoom>,
    mission_bytes_max: u64,
    /// What missions have there that stored something since the start, replaced artifacts included.
    sizes: Arc<Mutex<FxHashMap<MissionNo, Size>>>,
}

/// Of the files of one mission.
#[derive(Debug, Default, Clone, Copy)]
struct Size {
    bytes: u64,
    files: usize,
}

/// Why an artifact was not stored, before any of it was written.
#[derive(Debug, thiserror::Error)]
enum Full {
    #[error("the artifacts of one mission take {0} MiB at most (`limits.mission_artifacts_mib`)")]
    Mission(u64),
    #[error("a mission stores at most {FILES_MAX} different contents")]
    Files,
    #[error(transparent)]
    Node(#[from] NoRoom),
}

/// Most files of one mission, those of replaced artifacts included: each of its artifacts a few times over.
const FILES_MAX: usize = 4 * limit::ARTIFACTS_MAX;

/// How much of an artifact is read at once, to hold it against its digest.
const PIECE_BYTES: usize = 256 << 10;

/// How folders begin that are no mission's yet.
const ASIDE: &str = ".fork-";

/// How marks begin that something was handed over to the mission whose number is behind, which the log may not have.
const HANDED: &str = ".handed-";

impl FolderArtifacts {
    /// Opens the store below `data_dir`; a mission may take so many bytes of the room.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(data_dir: &Path, room: Arc<SharedRoom>, mission_bytes_max: u64) -> io::Result<Self> {
        let root = data_dir.join("artifacts");
        std::fs::create_dir_all(&root)?;
        // Left by a process that was killed while it made a fork.
        for entry in std::fs::read_dir(&root)?.flatten() {
            if entry.file_name().to_string_lossy().starts_with(ASIDE) {
                std::fs::remove_dir_all(entry.path())?;
            }
        }
        sync_folder(data_dir)?;
        Ok(Self { root, room, mission_bytes_max, sizes: Arc::default() })
    }

    /// Where the store is.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The room that it shares with the workspaces.
    #[must_use]
    pub fn shared_room(&self) -> &Arc<SharedRoom> {
        &self.room
    }

    /// Where the bytes of an artifact are.
    #[must_use]
    pub fn path(&self, mission: MissionNo, sha256: &Digest) -> PathBuf {
        self.folder(mission).join(sha256.to_string())
    }

    /// The bytes of an artifact as a file at its beginning.
    ///
    /// # Errors
    /// As [`Artifacts::get`].
    pub fn fetch(&self, mission: MissionNo, sha256: &Digest) -> io::Result<File> {
        let wrong = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
        let path = self.path(mission, sha256);
        let flags = OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW;
        // A device may do something as soon as it is opened.
        if !std::fs::symlink_metadata(&path)?.is_file() {
            return Err(wrong("what lies in its place is no file".to_owned()));
        }
        let mut file = File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
        let there = file.metadata()?;
        if !there.is_file() || there.len() > limit::ARTIFACT_BYTES_MAX as u64 {
            return Err(wrong("what lies in its place is no file that anybody could have stored".to_owned()));
        }
        let (mut hasher, mut piece) = (Sha256::new(), vec![0; PIECE_BYTES]);
        loop {
            match file.read(&mut piece) {
                Ok(0) => break,
                Ok(read) => hasher.update(&piece[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let found: [u8; 32] = hasher.finalize().into();
        let found = Digest::from(found);
        if found != *sha256 {
            let bytes = there.len();
            return Err(wrong(format!(
                "it has other bytes than were stored: {bytes} of them, with the SHA-256 {found}"
            )));
        }
        file.rewind()?;
        Ok(file)
    }

    fn folder(&self, mission: MissionNo) -> PathBuf {
        self.root.join(mission.to_string())
    }

    fn aside(&self, name: &str) -> PathBuf {
        self.root.join(format!("{ASIDE}{name}"))
    }

    /// Of what lay where that was to be.
    fn in_the_way(&self, name: &str) -> PathBuf {
        self.root.join(format!("{ASIDE}{name}.left"))
    }

    fn mark(&self, of: MissionNo) -> PathBuf {
        self.root.join(format!("{HANDED}{of}"))
    }

    /// Gives what was set aside the name of a mission's folder. Nothing is removed here, for others wait meanwhile.
    fn rename(&self, name: &str, to: MissionNo) -> io::Result<()> {
        let (aside, folder) = (self.aside(name), self.folder(to));
        match std::fs::rename(&aside, &folder) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                // Of a fork that was to have the number, when the node was killed before the log had it: nobody's.
                std::fs::rename(&folder, self.in_the_way(name))?;
                std::fs::rename(&aside, &folder)
            }
            renamed => renamed,
        }
    }

    /// Sets room aside for what is about to be written. Side by side, two do not take the same.
    fn take_room(&self, mission: MissionNo, bytes: u64) -> Result<(), Full> {
        let known = self.sizes.lock().contains_key(&mission);
        let before = if known { Size::default() } else { size(&self.folder(mission)) };
        {
            let mut sizes = self.sizes.lock();
            let its = sizes.entry(mission).or_insert(before);
            if its.bytes.saturating_add(bytes) > self.mission_bytes_max {
                return Err(Full::Mission(self.mission_bytes_max >> 20));
            }
            if its.files >= FILES_MAX {
                return Err(Full::Files);
            }
            its.bytes += bytes;
            its.files += 1;
        }
        self.room.try_take(bytes).inspect_err(|_| self.forget(mission, bytes)).map_err(Full::from)
    }

    fn give_room(&self, mission: MissionNo, bytes: u64) {
        self.room.give_back(bytes);
        self.forget(mission, bytes);
    }

    fn forget(&self, mission: MissionNo, bytes: u64) {
        if let Some(its) = self.sizes.lock().get_mut(&mission) {
            its.bytes = its.bytes.saturating_sub(bytes);
            its.files = its.files.saturating_sub(1);
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

    // Nothing is copied where the file system has links: files here never change.
    fn set_aside(&self, name: &str, from: MissionNo, stored: &[Digest]) -> io::Result<()> {
        self.discard(name);
        let folder = self.aside(name);
        std::fs::create_dir_all(&folder)?;
        let mut bytes = 0_u64;
        for sha256 in stored {
            let (source, target) = (self.path(from, sha256), folder.join(sha256.to_string()));
            let its = std::fs::metadata(&source)?.len();
            bytes = bytes.saturating_add(its);
            if bytes > self.mission_bytes_max {
                return Err(io::Error::other(Full::Mission(self.mission_bytes_max >> 20)));
            }
            self.room.try_take(its).map_err(io::Error::other)?;
            let linked = std::fs::hard_link(&source, &target);
            let there = linked.or_else(|_| write(&folder, &target, &std::fs::read(&source)?));
            there.inspect_err(|_| self.room.give_back(its))?;
        }
        sync_folder(&folder)
    }

    fn hand_over(&self, name: &str, to: MissionNo) -> io::Result<()> {
        // Marked first: a folder without a mark is a mission's that the log has.
        File::create(self.mark(to))?;
        self.rename(name, to).inspect_err(|_| self.settle(to))?;
        sync_folder(&self.root).inspect_err(|_| self.take_back(name, to))
    }

    fn take_back(&self, name: &str, from: MissionNo) {
        match std::fs::rename(self.folder(from), self.aside(name)) {
            Ok(()) => self.settle(from),
            // Its mark stays, too: it is looked at when the node starts.
            Err(error) => {
                let folder = self.folder(from);
                tracing::warn!(folder = %folder.display(), %error, "artifacts of a mission that did not begin stay");
            }
        }
        self.sizes.lock().remove(&from);
    }

    fn discard(&self, name: &str) {
        for folder in [self.aside(name), self.in_the_way(name)] {
            let size = size(&folder);
            match std::fs::remove_dir_all(&folder) {
                Ok(()) => self.room.give_back(size.bytes),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => tracing::warn!(folder = %folder.display(), %error, "what was set aside for a fork stays"),
            }
        }
    }

    fn settle(&self, of: MissionNo) {
        match std::fs::remove_file(self.mark(of)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(mark = %self.mark(of).display(), %error, "a mark is left for the next start");
            }
            _ => {}
        }
    }

    fn unsettled(&self) -> Vec<MissionNo> {
        let names = std::fs::read_dir(&self.root).into_iter().flatten().flatten().map(|entry| entry.file_name());
        names.filter_map(|name| name.to_str()?.strip_prefix(HANDED)?.parse().ok().map(MissionNo)).collect()
    }

    fn remove(&self, mission: MissionNo) -> io::Result<()> {
        let folder = self.folder(mission);
        let size = size(&folder);
        match std::fs::remove_dir_all(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.sizes.lock().remove(&mission);
        self.room.give_back(size.bytes);
        Ok(())
    }

    // How much it stored is found again where it is asked for.
    fn is_over(&self, mission: MissionNo) {
        self.sizes.lock().remove(&mission);
    }

    fn get(&self, mission: MissionNo, sha256: &Digest) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.fetch(mission, sha256)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn room(&self) -> Room {
        let disk = self.room.disk();
        if disk.is_full() {
            Room::Full
        } else if disk.is_low() {
            Room::Low
        } else if disk.is_tight() {
            Room::Tight
        } else {
            Room::Enough
        }
    }
}

/// Puts a file in its place whole, with its bytes on disk; that it is there is on disk once its folder is.
pub(crate) fn write(folder: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_data()?;
    file.persist(path).map(drop).map_err(|error| error.error)
}

/// Of a folder's files.
fn size(folder: &Path) -> Size {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    files
        .filter_map(|file| file.metadata().ok())
        .fold(Size::default(), |size, file| Size { bytes: size.bytes + file.len(), files: size.files + 1 })
}

/// Makes the names in a folder durable.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::Disk;

    fn store(dir: &Path, mission_bytes_max: u64, node_bytes_max: u64) -> FolderArtifacts {
        let room = SharedRoom::new(Arc::new(Disk::new(dir, 0)), node_bytes_max);
        FolderArtifacts::open(dir, Arc::new(room), mission_bytes_max).expect("a store")
    }

    fn weighed(store: FolderArtifacts) -> FolderArtifacts {
        let later = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(10_000_000_000);
        store.room.weigh(&store.root, later);
        store
    }

    #[test]
    fn a_mission_and_a_node_store_so_much_and_no_more() {
        let dir = tempfile::tempdir().expect("a folder");
        for restarted in [false, true] {
            let store = weighed(store(dir.path(), 10, 15));
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
            assert_eq!(store.room.bytes(), 15);
        }
        let store = weighed(store(dir.path(), 10, 15));
        store.remove(MissionNo(1)).expect("removed");
        assert_eq!(store.room.bytes(), 5);
        store.put(MissionNo(3), b"x").expect("there is room again");
    }

    #[test]
    fn nothing_is_written_on_a_disk_that_is_nearly_full() {
        let dir = tempfile::tempdir().expect("a folder");
        let disk = Arc::new(Disk::new(dir.path(), u64::MAX / 4));
        let room = Arc::new(SharedRoom::new(disk, u64::MAX));
        let store = FolderArtifacts::open(dir.path(), room, u64::MAX).expect("a store");
        let refused = store.put(MissionNo(1), b"x").expect_err("refused");
        assert!(refused.to_string().contains("nearly full"), "{refused}");
        assert_eq!(size(&store.folder(MissionNo(1))).files, 0);
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

    #[test]
    fn what_lies_in_the_place_of_an_artifact_is_told_and_neither_waited_for_nor_followed() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = store(dir.path(), u64::MAX, u64::MAX);
        let sha256 = store.put(MissionNo(7), b"report").expect("stored");
        let (path, aside) = (store.path(MissionNo(7), &sha256), dir.path().join("aside"));
        std::fs::rename(&path, &aside).expect("moved");
        type Puts = fn(&Path, &Path);
        let cases: [(&str, Puts); 7] = [
            ("other bytes", |path, _| std::fs::write(path, "rep0rt").expect("written")),
            ("fewer", |path, _| std::fs::write(path, "rep").expect("written")),
            ("more", |path, _| std::fs::write(path, "reports").expect("written")),
            ("far more", |path, _| File::create(path).and_then(|file| file.set_len(1 << 40)).expect("made")),
            ("a folder", |path, _| std::fs::create_dir(path).expect("made")),
            ("a link", |path, aside| std::os::unix::fs::symlink(aside, path).expect("made")),
            ("a pipe", |path, _| {
                let mode = rustix::fs::Mode::from_raw_mode(0o600);
                rustix::fs::mkfifoat(rustix::fs::CWD, path, mode).expect("made");
            }),
        ];
        for (case, put) in cases {
            put(&path, &aside);
            let error = store.get(MissionNo(7), &sha256).expect_err(case);
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{case}: {error}");
            if case == "a folder" { std::fs::remove_dir(&path) } else { std::fs::remove_file(&path) }.expect("removed");
        }
        let gone = store.get(MissionNo(7), &sha256).expect_err("nothing is there");
        assert_eq!(gone.kind(), io::ErrorKind::NotFound);
        std::fs::rename(&aside, &path).expect("moved back");
        assert_eq!(store.get(MissionNo(7), &sha256).expect("read"), b"report");
    }

    #[test]
    fn what_is_set_aside_is_a_missions_once_it_is_handed_over_and_nobodys_where_it_is_not() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = weighed(store(dir.path(), 10, 30));
        let (one, fork) = (MissionNo(1), MissionNo(2));
        let stored = ["123", "4567"].map(|text| store.put(one, text.as_bytes()).expect("stored"));
        // Refused by the log: the number is the next mission's, and nothing is there.
        store.set_aside("a", one, &stored).expect("set aside");
        assert_eq!((store.room.bytes(), store.folder(fork).exists()), (14, false));
        store.hand_over("a", fork).expect("handed over");
        store.take_back("a", fork);
        store.discard("a");
        assert_eq!((store.room.bytes(), store.folder(fork).exists()), (7, false));
        store.put(fork, b"1234567890").expect("all of its room is there");
        store.remove(fork).expect("removed");
        // Handed over, and the process was killed before the log had it: the number, and nothing of that, is the next fork's.
        store.set_aside("a", one, &stored).expect("set aside");
        store.hand_over("a", fork).expect("handed over");
        store.set_aside("a", one, &stored[..1]).expect("set aside");
        store.hand_over("a", fork).expect("handed over");
        assert!(store.get(fork, &stored[0]).is_ok() && store.get(fork, &stored[1]).is_err());
        assert_eq!(store.room.bytes(), 17, "what lay there goes when nobody waits for it");
        store.discard("a");
        assert_eq!(store.room.bytes(), 10);
        store.remove(fork).expect("removed");
        // Taken: whatever becomes of the other mission.
        store.set_aside("a", one, &stored).expect("set aside");
        store.hand_over("a", fork).expect("handed over");
        assert_eq!(store.unsettled(), [fork]);
        store.settle(fork);
        assert!(store.unsettled().is_empty());
        store.discard("a");
        store.remove(one).expect("removed");
        assert_eq!(store.get(fork, &stored[1]).expect("there"), b"4567");
        assert_eq!(store.room.bytes(), 7);
        assert!(store.put(fork, b"8901").is_err(), "what it has of the other counts");
        // Some of it is gone, or there is too much: nothing stays.
        for (gone, from) in [(Digest::of(b"gone"), fork), (stored[0], one)] {
            store.set_aside("b", from, &[stored[0], gone]).expect_err("refused");
            store.discard("b");
            assert_eq!(store.room.bytes(), 7);
        }
        assert_eq!(std::fs::read_dir(&store.root).expect("read").count(), 1);
        // A process that was killed in the middle.
        store.set_aside("c", fork, &stored).expect("set aside");
        let room = Arc::clone(&store.room);
        FolderArtifacts::open(dir.path(), room, 10).expect("a store");
        assert_eq!(std::fs::read_dir(&store.root).expect("read").count(), 1);
    }
}
