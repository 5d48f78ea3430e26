//! A workspace copied into another: for a mission that goes on where another one was.
//!
//! Whoever works in the first meanwhile cannot lead the copy out of it: each step starts from an open directory, and no link is followed.
//! What is no file, folder or link within is left out, and counted.

use std::io;
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt as _, PermissionsExt as _};

use super::{TEMPORARY_PREFIX, Workspace, private_folders, private_root};

/// Most bytes that are copied.
const BYTES_MAX: u64 = 1 << 30;

/// Most files, folders and links.
const ENTRIES_MAX: u64 = if cfg!(test) { 100 } else { 50_000 };

/// Deepest folder.
const DEPTH_MAX: usize = 64;

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
    /// Copies all of it into `to`, in place of what is there under the same names. Nothing, where it was never made. Blocks.
    ///
    /// # Errors
    /// [`CopyError`]; a part of it may be there then.
    pub fn copy_into(&self, to: &Self) -> Result<Copied, CopyError> {
        let source = match Dir::open_ambient_dir(&self.0.root, ambient_authority()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Copied::default()),
            source => source?,
        };
        private_root(&to.0.root)?;
        let target = Dir::open_ambient_dir(&to.0.root, ambient_authority())?;
        let mut copied = Copied::default();
        let mut folders = vec![(PathBuf::from("."), 0)];
        while let Some((folder, depth)) = folders.pop() {
            let Ok(entries) = source.read_dir(&folder) else {
                copied.left_out += 1;
                continue;
            };
            for entry in entries {
                let Ok(entry) = entry else { continue };
                let name = entry.file_name();
                if name.to_string_lossy().starts_with(TEMPORARY_PREFIX) {
                    continue;
                }
                copied.entries += 1;
                if copied.entries > ENTRIES_MAX {
                    return Err(CopyError::TooLarge);
                }
                let (place, kind) = (folder.join(&name), entry.file_type()?);
                let is_there = if kind.is_dir() && depth < DEPTH_MAX {
                    to.take(0, 1)?;
                    target.create_dir_with(&place, &private_folders())?;
                    folders.push((place, depth + 1));
                    true
                } else if kind.is_symlink() {
                    link(&source, &target, &place)
                } else if kind.is_file() {
                    copied.bytes += to.copy_file((&source, &target), &place, BYTES_MAX - copied.bytes)?;
                    true
                } else {
                    false
                };
                copied.left_out += u64::from(!is_there);
            }
        }
        synced(&target)?;
        Ok(copied)
    }

    /// Takes room of what it may hold.
    fn take(&self, bytes: u64, folders: u64) -> Result<(), CopyError> {
        let Some(quota) = &self.0.quota else { return Ok(()) };
        let taken = quota.take(&self.0.root, None, bytes, folders);
        taken.map(super::quota::Taken::keep).map_err(|error| CopyError::NoRoom(error.to_string()))
    }

    /// Copies a file of at most so many bytes; how many it had. One that has become something else meanwhile has none.
    fn copy_file(&self, (source, target): (&Dir, &Dir), place: &Path, bytes_max: u64) -> Result<u64, CopyError> {
        let mut options = OpenOptions::new();
        let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::NOFOLLOW;
        options.read(true).custom_flags(flags.bits().cast_signed());
        // Else it is gone, or is not for us.
        let Ok(file) = source.open_with(place, &options) else { return Ok(0) };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Ok(0);
        }
        if metadata.len() > bytes_max {
            return Err(CopyError::TooLarge);
        }
        self.take(metadata.len(), 0)?;
        let _ = target.remove_file(place);
        let mode = metadata.permissions().mode() & 0o700 | 0o600;
        let mut copy = target.open_with(place, OpenOptions::new().write(true).create_new(true).mode(mode))?;
        Ok(io::copy(&mut io::Read::take(file, metadata.len()), &mut copy)?)
    }
}

/// Makes the same link; not one that leads out.
fn link(source: &Dir, target: &Dir, place: &Path) -> bool {
    let Ok(to) = source.read_link(place) else { return false };
    let _ = target.remove_file(place);
    target.symlink(to, place).is_ok()
}

/// What was copied is through a loss of power.
fn synced(target: &Dir) -> io::Result<()> {
    let folder = target.open(".")?;
    #[cfg(target_os = "linux")]
    rustix::fs::syncfs(&folder)?;
    folder.sync_all()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

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
        // Once more, over what is there.
        fs::write(one.join("a/b/run.sh"), "changed").expect("written");
        from.copy_into(&to).expect("copied again");
        assert_eq!(fs::read_to_string(two.join("a/b/run.sh")).expect("there"), "changed");
    }

    #[test]
    fn what_is_too_much_is_refused_and_what_never_was_is_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        let (from, to, one, _) = both(dir.path());
        for number in 0..ENTRIES_MAX {
            fs::write(one.join(number.to_string()), "x").expect("written");
        }
        assert!(matches!(from.copy_into(&to), Err(CopyError::TooLarge)));
        let none = Workspace::open(&dir.path().join("none")).expect("open");
        assert_eq!(none.copy_into(&to).expect("nothing"), Copied::default());
    }
}
