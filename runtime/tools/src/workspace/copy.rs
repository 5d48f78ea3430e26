//! A workspace copied into another: for a mission that goes on where another one was.
//!
//! Whoever works in the first meanwhile cannot lead the copy out of it: each step starts from an open directory, and no link is followed.
//! What is no file, folder or link within is left out, and counted.

use std::io;
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, DirEntry, FileType, OpenOptions, OpenOptionsExt as _, PermissionsExt as _};

use super::quota::count;
use super::{TEMPORARY_PREFIX, Workspace, private_folders, private_root};

/// Most bytes that are copied.
const BYTES_MAX: u64 = 1 << 30;

/// Most files, folders and links.
const ENTRIES_MAX: u64 = if cfg!(test) { 100 } else { 50_000 };

/// Deepest folder.
pub(super) const DEPTH_MAX: usize = 64;

/// What was copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    /// Files, folders and links.
    pub entries: u64,
    /// Bytes of the files.
    pub bytes: u64,
    /// What is none of these, or leads out, or cannot be read.
    pub left_out: u64,
}

/// Why a workspace is not copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// It holds too much.
    #[error("it holds more than {} MiB, or more than {ENTRIES_MAX} files and folders", BYTES_MAX >> 20)]
    TooLarge,
    /// There is no room for it.
    #[error("{0}")]
    NoRoom(String),
    /// The disk says no.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl Workspace {
    /// Copies all of it into `to`, in place of whatever is there. Nothing, where it was never made. Blocks.
    ///
    /// # Errors
    /// [`CopyError`]; nothing is there then.
    pub fn copy_into(&self, to: &Self) -> Result<Copied, CopyError> {
        let source = match Dir::open_ambient_dir(&self.0.root, ambient_authority()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            source => Some(source?),
        };
        // Before anything is written.
        source.as_ref().map_or(Ok(Copied::default()), |source| each(source, bytes_of))?;
        to.clear()?;
        let Some(source) = source else { return Ok(Copied::default()) };
        to.filled_from(&source).inspect_err(|_| drop(to.clear()))
    }

    /// Takes away all that is there, and gives its room back. Blocks.
    ///
    /// # Errors
    /// Some of it may be left.
    pub fn clear(&self) -> io::Result<()> {
        let weigh = || {
            if let Some(quota) = &self.0.quota {
                // What takes no room needs none.
                let _ = quota.found(count(&self.0.root));
            }
        };
        weigh();
        let removed = std::fs::remove_dir_all(&self.0.root);
        weigh();
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn filled_from(&self, source: &Dir) -> Result<Copied, CopyError> {
        private_root(&self.0.root)?;
        let target = Dir::open_ambient_dir(&self.0.root, ambient_authority())?;
        let copied = each(source, |entry| self.copy_entry((source, &target), entry))?;
        synced(&target)?;
        Ok(copied)
    }

    /// Copies one entry; how many bytes its file has. None where it is left out.
    fn copy_entry(&self, (source, target): (&Dir, &Dir), entry: &Entry<'_>) -> Result<Option<u64>, CopyError> {
        match entry.kind {
            Kind::Folder => {
                self.take(0)?;
                target.create_dir_with(entry.place, &private_folders())?;
                Ok(Some(0))
            }
            Kind::Link => {
                self.take(0)?;
                Ok(link(source, target, entry.place).then_some(0))
            }
            Kind::File => self.copy_file((source, target), entry.place, entry.bytes_max),
        }
    }

    /// Takes room of what it may hold, for one entry.
    fn take(&self, bytes: u64) -> Result<(), CopyError> {
        let Some(quota) = &self.0.quota else { return Ok(()) };
        let taken = quota.take(&self.0.root, None, bytes, 0);
        taken.map(super::quota::Taken::keep).map_err(|error| CopyError::NoRoom(error.to_string()))
    }

    /// Copies a file of at most so many bytes; how many it had. None where it cannot be read, or has become something else meanwhile.
    fn copy_file(
        &self,
        (source, target): (&Dir, &Dir),
        place: &Path,
        bytes_max: u64,
    ) -> Result<Option<u64>, CopyError> {
        let mut options = OpenOptions::new();
        let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::NOFOLLOW;
        options.read(true).custom_flags(flags.bits().cast_signed());
        // Else it is gone, or is not for us.
        let Ok(file) = source.open_with(place, &options) else { return Ok(None) };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Ok(None);
        }
        if metadata.len() > bytes_max {
            return Err(CopyError::TooLarge);
        }
        self.take(metadata.len())?;
        let mode = metadata.permissions().mode() & 0o700 | 0o600;
        let mut copy = target.open_with(place, OpenOptions::new().write(true).create_new(true).mode(mode))?;
        Ok(Some(io::copy(&mut io::Read::take(file, metadata.len()), &mut copy)?))
    }
}

/// What of a workspace can be copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Folder,
    Link,
    File,
}

/// One entry of a workspace, as the walk comes by.
struct Entry<'a> {
    place: &'a Path,
    kind: Kind,
    found: &'a DirEntry,
    /// So many bytes there may still be.
    bytes_max: u64,
}

/// How many the file of an entry has.
fn bytes_of(entry: &Entry<'_>) -> Result<Option<u64>, CopyError> {
    let is_file = entry.kind == Kind::File;
    // What is gone meanwhile has none.
    let bytes = if is_file { entry.found.metadata().map_or(0, |metadata| metadata.len()) } else { 0 };
    if bytes > entry.bytes_max { Err(CopyError::TooLarge) } else { Ok(Some(bytes)) }
}

/// Goes over all that can be copied, each folder before what is in it; `visit` says how many bytes there are, and none where it leaves
/// something out.
fn each(
    source: &Dir,
    mut visit: impl FnMut(&Entry<'_>) -> Result<Option<u64>, CopyError>,
) -> Result<Copied, CopyError> {
    let mut copied = Copied::default();
    let mut folders = vec![(PathBuf::from("."), 0)];
    while let Some((folder, depth)) = folders.pop() {
        let Ok(entries) = source.read_dir(&folder) else {
            copied.left_out += 1;
            continue;
        };
        for found in entries.flatten() {
            let name = found.file_name();
            if name.to_string_lossy().starts_with(TEMPORARY_PREFIX) {
                continue;
            }
            copied.entries += 1;
            if copied.entries > ENTRIES_MAX {
                return Err(CopyError::TooLarge);
            }
            let place = folder.join(&name);
            let bytes = match kind(found.file_type()?, depth) {
                Some(kind) => {
                    let bytes_max = BYTES_MAX - copied.bytes;
                    let bytes = visit(&Entry { place: &place, kind, found: &found, bytes_max })?;
                    if kind == Kind::Folder && bytes.is_some() {
                        folders.push((place, depth + 1));
                    }
                    bytes
                }
                None => None,
            };
            copied.left_out += u64::from(bytes.is_none());
            copied.bytes += bytes.unwrap_or(0);
        }
    }
    Ok(copied)
}

fn kind(kind: FileType, depth: usize) -> Option<Kind> {
    if kind.is_dir() {
        (depth < DEPTH_MAX).then_some(Kind::Folder)
    } else if kind.is_symlink() {
        Some(Kind::Link)
    } else {
        kind.is_file().then_some(Kind::File)
    }
}

/// Makes the same link; not one that leads out.
fn link(source: &Dir, target: &Dir, place: &Path) -> bool {
    let Ok(to) = source.read_link(place) else { return false };
    target.symlink(to, place).is_ok()
}

/// What was copied is through a loss of power.
pub(super) fn synced(target: &Dir) -> io::Result<()> {
    let folder = target.open(".")?;
    #[cfg(target_os = "linux")]
    rustix::fs::syncfs(&folder)?;
    folder.sync_all()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;
    use std::sync::atomic::Ordering::Relaxed;

    use super::super::{NodeRoom, WorkspaceBounds};
    use super::*;

    fn both(dir: &Path) -> (Workspace, Workspace, PathBuf, PathBuf) {
        let (one, two) = (dir.join("one"), dir.join("two"));
        fs::create_dir_all(one.join("a/b")).expect("made");
        (Workspace::open(&one).expect("open"), Workspace::open(&two).expect("open"), one, two)
    }

    #[test]
    fn a_copy_has_files_folders_and_links_and_nothing_from_outside() {
        let dir = tempfile::tempdir().expect("a folder");
        let (from, to, one, two) = both(dir.path());
        fs::write(dir.path().join("secret"), "not yours").expect("written");
        fs::write(one.join("a/b/run.sh"), "#!/bin/sh\n").expect("written");
        fs::set_permissions(one.join("a/b/run.sh"), fs::Permissions::from_mode(0o755)).expect("set");
        fs::write(one.join(format!("{TEMPORARY_PREFIX}1")), "half").expect("written");
        symlink("b/run.sh", one.join("a/inside")).expect("linked");
        symlink("../../secret", one.join("a/outside")).expect("linked");
        rustix::fs::mknodat(rustix::fs::CWD, one.join("pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0)
            .expect("a pipe");
        let copied = from.copy_into(&to).expect("copied");
        assert_eq!((copied.entries, copied.bytes), (6, 10), "{copied:?}");
        assert!((1..=2).contains(&copied.left_out), "the pipe, and perhaps the link that leads out: {copied:?}");
        assert_eq!(fs::read_to_string(two.join("a/inside")).expect("linked"), "#!/bin/sh\n");
        assert_eq!(fs::metadata(two.join("a/b/run.sh")).expect("there").permissions().mode() & 0o777, 0o700);
        assert!(!two.join("pipe").exists() && !two.join(format!("{TEMPORARY_PREFIX}1")).exists());
        // A link that leads out stays one, and is followed by nobody who works there.
        assert!(to.read_file("a/outside", 100).is_err());
        // Once more, in place of what is there.
        fs::write(one.join("a/b/run.sh"), "changed").expect("written");
        fs::remove_file(one.join("a/inside")).expect("removed");
        from.copy_into(&to).expect("copied again");
        assert_eq!(fs::read_to_string(two.join("a/b/run.sh")).expect("there"), "changed");
        assert!(fs::symlink_metadata(two.join("a/inside")).is_err(), "it is a copy of what is there now");
    }

    #[test]
    fn what_is_too_much_is_refused_and_what_never_was_is_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        let (from, to, one, two) = both(dir.path());
        for number in 0..ENTRIES_MAX {
            fs::write(one.join(number.to_string()), "x").expect("written");
        }
        fs::create_dir_all(&two).expect("made");
        fs::write(two.join("before"), "x").expect("written");
        assert!(matches!(from.copy_into(&to), Err(CopyError::TooLarge)));
        assert!(two.join("before").exists(), "what is too much is known before anything is done");
        let none = Workspace::open(&dir.path().join("none")).expect("open");
        assert_eq!(none.copy_into(&to).expect("nothing"), Copied::default());
    }

    /// A node with room for so many bytes.
    #[derive(Debug)]
    struct Narrow(AtomicU64);

    impl NodeRoom for Narrow {
        fn take(&self, bytes: u64) -> Result<(), String> {
            let left = self.0.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(bytes));
            left.map(drop).map_err(|_| "no room".to_owned())
        }

        fn give(&self, bytes: u64) {
            self.0.fetch_add(bytes, Relaxed);
        }
    }

    #[test]
    fn a_copy_for_which_there_is_no_room_leaves_nothing_and_takes_none() {
        let dir = tempfile::tempdir().expect("a folder");
        let (from, _, one, two) = both(dir.path());
        for name in ["x", "y", "a/z"] {
            fs::write(one.join(name), [0; 100]).expect("written");
        }
        for (bytes, files_max, is_there) in [(250, 99, false), (300, 4, false), (300, 5, true)] {
            let room = Arc::new(Narrow(AtomicU64::new(bytes)));
            let bounds = WorkspaceBounds { bytes_max: 1_000, files_max };
            let node = Arc::clone(&room) as Arc<dyn NodeRoom>;
            let to = Workspace::bounded(&two, bounds, node).expect("open");
            let copied = from.copy_into(&to);
            assert_eq!((copied.is_ok(), two.exists()), (is_there, is_there), "{copied:?}");
            assert_eq!(room.0.load(Relaxed), if is_there { 0 } else { bytes });
            to.clear().expect("cleared");
            assert_eq!((room.0.load(Relaxed), two.exists()), (bytes, false), "it is given back");
        }
    }

    #[test]
    fn what_cannot_be_read_is_left_out_and_counted() {
        let dir = tempfile::tempdir().expect("a folder");
        let (from, to, one, two) = both(dir.path());
        let open = |path: &Path| Dir::open_ambient_dir(path, ambient_authority()).expect("open");
        // Gone since the walk saw it, or another kind by now.
        fs::create_dir_all(&two).expect("made");
        let dirs = (open(&one), open(&two));
        for place in ["gone", "a"] {
            assert_eq!(to.copy_file((&dirs.0, &dirs.1), Path::new(place), 10).expect("left out"), None, "{place}");
        }
        fs::write(one.join("closed"), "x").expect("written");
        fs::set_permissions(one.join("closed"), fs::Permissions::from_mode(0o000)).expect("set");
        let copied = from.copy_into(&to).expect("copied");
        // Whoever may read everything reads this, too.
        let is_read = fs::read(one.join("closed")).is_ok();
        assert_eq!((copied.left_out, two.join("closed").exists()), (u64::from(!is_read), is_read));
    }
}
