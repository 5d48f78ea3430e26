//! A workspace as a list of what is in it, for whoever makes it again elsewhere; and the making.
//!
//! The same rules as of a copy: each step starts from an open directory, no link is followed, and what is no file, folder or link within is
//! left out, and counted. What is there and cannot be read is an error: a list without it would be taken for one of a workspace that never had
//! it. What is made is made beside, and takes its place in one step.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{
    Dir, File, FileExt as _, Metadata, MetadataExt as _, OpenOptions, OpenOptionsExt as _, Permissions,
    PermissionsExt as _,
};
use rustix::io::Errno;

use super::copy::{DEPTH_MAX, synced};
use super::{TEMPORARY_PREFIX, Workspace, WorkspaceBounds, private_folders, private_root};

/// Something in a workspace. Paths are relative, with `/` between their parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    /// Where.
    pub path: String,
    /// What.
    pub kind: CarriedKind,
}

/// What it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CarriedKind {
    /// A folder.
    Folder,
    /// A link, to what it says.
    Link(String),
    /// A file.
    File {
        /// Its permissions for its owner.
        mode: u32,
        /// Its size.
        bytes: u64,
        /// What changes when it does.
        state: FileState,
    },
}

/// What changes when a file does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileState {
    number: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileState {
    fn of(metadata: &Metadata) -> Self {
        Self {
            number: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// The size of the file.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether it was as it is for a while when that one came to be: what happens within one tick of a file system's clock cannot be told apart.
    #[must_use]
    pub fn is_settled_at(&self, then: &Self) -> bool {
        const WHILE_NS: i128 = 100_000_000;
        let ns = |(seconds, ns): (i64, i64)| i128::from(seconds) * 1_000_000_000 + i128::from(ns);
        ns(self.changed) + WHILE_NS < ns(then.changed)
    }
}

/// How a file was when it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileRead {
    /// It is gone, or no file any more.
    Gone,
    /// It changed meanwhile.
    Changing,
    /// Like this from the beginning to the end.
    Whole(FileState),
}

/// All that is in a workspace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// Sorted by path: each folder before what is in it.
    pub all: Vec<Carried>,
    /// What is none of the kinds, or has a name that is no text.
    pub left_out: u64,
}

/// Why a workspace cannot be carried.
#[derive(Debug, thiserror::Error)]
pub enum CarryError {
    /// It holds too much.
    #[error("it holds more than {} MiB, or more than {} files and folders", .0.bytes_max >> 20, .0.files_max)]
    TooLarge(WorkspaceBounds),
    /// The disk says no, or something in it cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Workspace {
    /// What is in it; nothing, where it was never made. Blocks.
    ///
    /// # Errors
    /// [`CarryError`]
    pub fn contents(&self, bounds: WorkspaceBounds) -> Result<Contents, CarryError> {
        let mut contents = Contents::default();
        let Some(root) = self.root()? else { return Ok(contents) };
        let (mut bytes, mut folders) = (0_u64, vec![(String::new(), 0)]);
        while let Some((folder, depth)) = folders.pop() {
            // What is gone meanwhile was not there.
            let entries = match root.read_dir(if folder.is_empty() { "." } else { &folder }) {
                Err(error) if is_gone(&error) => continue,
                entries => entries.map_err(unreadable(&folder))?,
            };
            for entry in entries {
                let entry = entry.map_err(unreadable(&folder))?;
                let Ok(name) = entry.file_name().into_string() else {
                    contents.left_out += 1;
                    continue;
                };
                if name.starts_with(TEMPORARY_PREFIX) {
                    continue;
                }
                let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
                let metadata = match root.symlink_metadata(&path) {
                    Err(error) if is_gone(&error) => continue,
                    metadata => metadata.map_err(unreadable(&path))?,
                };
                let kind = if metadata.is_dir() {
                    (depth < DEPTH_MAX).then(|| folders.push((path.clone(), depth + 1))).map(|()| CarriedKind::Folder)
                } else if metadata.is_symlink() {
                    root.read_link(&path).ok().and_then(|to| Some(CarriedKind::Link(to.to_str()?.to_owned())))
                } else {
                    metadata.is_file().then(|| CarriedKind::File {
                        mode: metadata.permissions().mode() & 0o777,
                        bytes: metadata.len(),
                        state: FileState::of(&metadata),
                    })
                };
                let Some(kind) = kind else {
                    contents.left_out += 1;
                    continue;
                };
                bytes = bytes.saturating_add(if let CarriedKind::File { bytes, .. } = kind { bytes } else { 0 });
                contents.all.push(Carried { path, kind });
                if bytes > bounds.bytes_max || contents.all.len() as u64 > bounds.files_max {
                    return Err(CarryError::TooLarge(bounds));
                }
            }
        }
        contents.all.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(contents)
    }

    /// Reads a file in pieces of so many bytes, the last one shorter, and says how it was. Blocks.
    ///
    /// # Errors
    /// What `each` says, or the disk; also where it is there and cannot be read.
    pub fn pieces<E: From<io::Error>>(
        &self,
        path: &str,
        piece: usize,
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<FileRead, E> {
        let Some(root) = self.root()? else { return Ok(FileRead::Gone) };
        let mut options = OpenOptions::new();
        let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::NOFOLLOW;
        options.read(true).custom_flags(flags.bits().cast_signed());
        let mut file = match root.open_with(path, &options) {
            Err(error) if is_gone(&error) => return Ok(FileRead::Gone),
            file => file.map_err(unreadable(path))?,
        };
        let before = file.metadata()?;
        if !before.is_file() {
            return Ok(FileRead::Gone);
        }
        let mut buffer = vec![0; piece];
        loop {
            let mut filled = 0;
            while filled < piece {
                match file.read(&mut buffer[filled..]) {
                    Ok(0) => break,
                    Ok(read) => filled += read,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(unreadable(path)(error).into()),
                }
            }
            if filled > 0 {
                each(&buffer[..filled])?;
            }
            if filled < piece {
                break;
            }
        }
        let (before, after) = (FileState::of(&before), FileState::of(&file.metadata()?));
        Ok(if before == after { FileRead::Whole(after) } else { FileRead::Changing })
    }

    fn root(&self) -> io::Result<Option<Dir>> {
        match Dir::open_ambient_dir(&self.0.root, ambient_authority()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            root => root.map(Some),
        }
    }
}

/// Whether something is gone, or has become another kind of thing: what leads out of the workspace by now has no number of the system.
fn is_gone(error: &io::Error) -> bool {
    const GONE: [Errno; 4] = [Errno::NOENT, Errno::NOTDIR, Errno::LOOP, Errno::NXIO];
    error.raw_os_error().is_none_or(|number| GONE.iter().any(|gone| gone.raw_os_error() == number))
}

/// Says what it is that cannot be read.
fn unreadable(path: &str) -> impl Fn(io::Error) -> io::Error {
    let path = if path.is_empty() { "." } else { path };
    move |error| io::Error::new(error.kind(), format!("`{path}` cannot be read: {error}"))
}

/// The state that a file has that is made now, in a folder of the same file system.
///
/// # Errors
/// The disk says no.
pub fn state_now(folder: &Path) -> io::Result<FileState> {
    let file = tempfile::tempfile_in(folder)?;
    Ok(FileState::of(&Metadata::from_file(&file)?))
}

/// A workspace that is made beside. Dropped before it takes its place, it is removed.
#[derive(Debug)]
pub struct Remade<'a> {
    aside: &'a Path,
    dir: Dir,
    is_placed: bool,
}

impl<'a> Remade<'a> {
    /// In a folder of its own, in place of what a killed process left there.
    ///
    /// # Errors
    /// The disk says no.
    pub fn new(aside: &'a Path) -> io::Result<Self> {
        remove_folder(aside)?;
        private_root(aside)?;
        let dir = Dir::open_ambient_dir(aside, ambient_authority())?;
        Ok(Self { aside, dir, is_placed: false })
    }

    /// Makes what is in one, but for the bytes of files. Folders come before what is in them.
    ///
    /// # Errors
    /// The disk says no, or the path leads out.
    pub fn make(&self, one: &Carried) -> io::Result<()> {
        match &one.kind {
            CarriedKind::Folder => self.dir.create_dir_with(&one.path, &private_folders()),
            // One that leads out was never carried: it is refused here, too, and left out.
            CarriedKind::Link(to) => match self.dir.symlink(to, &one.path) {
                Err(error) if error.raw_os_error().is_none() => Ok(()),
                made => made,
            },
            CarriedKind::File { mode, .. } => {
                // For its owner alone, and its owner can always read and change it.
                let mode = mode & 0o700 | 0o600;
                let made = self.dir.open_with(&one.path, OpenOptions::new().write(true).create_new(true).mode(mode));
                made.map(drop)
            }
        }
    }

    /// A file of it, for its bytes.
    ///
    /// # Errors
    /// It is not there.
    pub fn file(&self, path: &str) -> io::Result<RemadeFile> {
        let flags = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
        self.dir.open_with(path, OpenOptions::new().write(true).custom_flags(flags)).map(RemadeFile)
    }

    /// Puts it where the workspace is to be. When this returns, that is so through a loss of power; what was there before is gone, and how many bytes
    /// that were is said.
    ///
    /// # Errors
    /// The disk says no: what was there before is there still, or, for a killed process, beside it.
    pub fn place(mut self, root: &Path, before: &Path) -> io::Result<u64> {
        synced(&self.dir)?;
        remove_folder(before)?;
        let was_there = match fs::rename(root, before) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            moved => moved.map(|()| true)?,
        };
        if let Err(error) = fs::rename(self.aside, root) {
            if was_there {
                fs::rename(before, root)?;
            }
            return Err(error);
        }
        self.is_placed = true;
        root.parent().map_or(Ok(()), |folder| fs::File::open(folder)?.sync_all())?;
        // It is in its place, whatever is left of the other.
        Ok(remove_folder(before).unwrap_or_else(|error| {
            tracing::warn!(folder = %before.display(), %error, "what was a workspace before cannot be removed");
            0
        }))
    }
}

impl Drop for Remade<'_> {
    fn drop(&mut self) {
        if !self.is_placed {
            remove_folder(self.aside).ok();
        }
    }
}

/// A file that is being made.
#[derive(Debug)]
pub struct RemadeFile(File);

impl RemadeFile {
    /// Writes bytes at a place.
    ///
    /// # Errors
    /// The disk says no.
    pub fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, at)
    }
}

/// Removes the folder of a workspace in which nobody works, and says how many bytes of files that was. Nothing there is no error.
///
/// # Errors
/// The disk says no: some of it may be left.
pub fn remove_folder(folder: &Path) -> io::Result<u64> {
    let bytes = super::quota::count(folder).bytes;
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        // Whoever worked in it may have shut folders of it.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(folder)?;
            fs::remove_dir_all(folder).map(|()| bytes)
        }
        removed => removed.map(|()| bytes),
    }
}

/// Has its owner be able to remove what is in a folder, as far as it is theirs.
fn open_up(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    let root = Dir::open_ambient_dir(folder, ambient_authority())?;
    let mut folders = vec![PathBuf::from(".")];
    while let Some(folder) = folders.pop() {
        // What stays shut, the removal tells of.
        let Ok(entries) = root.read_dir(&folder) else { continue };
        for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            let path = folder.join(entry.file_name());
            root.set_permissions(&path, Permissions::from_mode(0o700)).ok();
            folders.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    const BOUNDS: WorkspaceBounds = WorkspaceBounds { bytes_max: 1 << 20, files_max: 50 };

    /// Makes in `to` what is in a workspace.
    fn carry(from: &Workspace, dir: &Path, to: &Path) -> io::Result<u64> {
        let aside = dir.join("aside");
        let remade = Remade::new(&aside)?;
        for one in &from.contents(BOUNDS).expect("listed").all {
            remade.make(one)?;
            if let CarriedKind::File { .. } = one.kind {
                let (file, mut at) = (remade.file(&one.path)?, 0);
                from.pieces(&one.path, 3, |piece| {
                    file.write_at(piece, at)?;
                    at += piece.len() as u64;
                    Ok::<_, io::Error>(())
                })?;
            }
        }
        remade.place(to, &dir.join("before"))
    }

    #[test]
    fn what_is_made_again_has_files_folders_links_and_modes_and_nothing_from_outside() {
        let dir = tempfile::tempdir().expect("a folder");
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        fs::create_dir_all(one.join("a/empty")).expect("made");
        fs::write(dir.path().join("secret"), "not yours").expect("written");
        fs::write(one.join("a/run.sh"), "#!/bin/sh\n").expect("written");
        fs::set_permissions(one.join("a/run.sh"), fs::Permissions::from_mode(0o755)).expect("set");
        fs::write(one.join("nothing"), "").expect("written");
        symlink("run.sh", one.join("a/inside")).expect("linked");
        symlink("../../secret", one.join("a/outside")).expect("linked");
        symlink("/etc/passwd", one.join("absolute")).expect("linked");
        rustix::fs::mknodat(rustix::fs::CWD, one.join("pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0)
            .expect("made");
        fs::create_dir(&two).expect("made");
        fs::write(two.join("older"), "of before").expect("written");
        let from = Workspace::open(&one).expect("opened");
        assert_eq!(carry(&from, dir.path(), &two).expect("made again"), 9);
        assert_eq!(fs::read_to_string(two.join("a/run.sh")).expect("there"), "#!/bin/sh\n");
        assert_eq!(fs::metadata(two.join("a/run.sh")).expect("there").permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::read_to_string(two.join("a/inside")).expect("there"), "#!/bin/sh\n");
        assert!(two.join("a/empty").is_dir() && two.join("nothing").is_file() && !two.join("older").exists());
        // What a link of a workspace leads to is judged when it is followed, as ever; absolute ones are not made.
        assert!(fs::symlink_metadata(two.join("absolute")).is_err() && !two.join("pipe").exists());
        let opened = Workspace::open(&two).expect("opened");
        assert!(opened.read_file("a/outside", 100).is_err());
        let left: Vec<_> = fs::read_dir(dir.path()).expect("listed").flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(left.len(), 3, "{left:?}");
    }

    #[test]
    fn what_is_gone_was_not_there_and_what_cannot_be_read_is_an_error() {
        let dir = tempfile::tempdir().expect("a folder");
        fs::write(dir.path().join("empty"), "").expect("written");
        let workspace = Workspace::open(dir.path()).expect("opened");
        let read = |path: &str| workspace.pieces(path, 3, |_| Ok::<_, io::Error>(()));
        assert!(matches!(read("empty"), Ok(FileRead::Whole(state)) if state.bytes() == 0), "{:?}", read("empty"));
        for gone in ["none", "empty/below"] {
            assert!(matches!(read(gone), Ok(FileRead::Gone)), "{gone}: {:?}", read(gone));
        }
        // Which no disk can say whether it is there, and nobody's rights matter.
        let long = "x".repeat(300);
        let told = read(&long).expect_err("it cannot be told").to_string();
        assert!(told.contains(&format!("`{long}` cannot be read")), "{told}");
        // Whoever may read everything reads this, too.
        let closed = dir.path().join("closed");
        fs::create_dir(&closed).expect("made");
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).expect("set");
        let is_read = fs::read_dir(&closed).is_ok();
        assert_eq!(workspace.contents(BOUNDS).is_ok(), is_read);
    }

    #[test]
    fn folders_that_somebody_shut_are_opened_and_links_are_left_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        let (shut, outside) = (dir.path().join("shut"), dir.path().join("outside"));
        fs::create_dir_all(shut.join("a/b")).expect("made");
        fs::create_dir(&outside).expect("made");
        fs::write(shut.join("a/b/file"), "12345").expect("written");
        symlink(&outside, shut.join("a/link")).expect("linked");
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        let (inner, middle) = (shut.join("a/b"), shut.join("a"));
        for (folder, mode) in [(&outside, 0o555), (&inner, 0o000), (&middle, 0o500), (&shut, 0o555)] {
            fs::set_permissions(folder, fs::Permissions::from_mode(mode)).expect("set");
        }
        open_up(&shut).expect("opened");
        assert_eq!([&shut, &middle, &inner].map(|folder| mode(folder)), [0o700; 3]);
        assert_eq!(mode(&outside), 0o555);
        remove_folder(&shut).expect("removed");
        assert!(!shut.exists() && outside.is_dir());
        assert_eq!(remove_folder(&shut).expect("nothing there"), 0);
    }

    #[test]
    fn a_list_that_leads_out_makes_nothing_there() {
        let dir = tempfile::tempdir().expect("a folder");
        let aside = dir.path().join("aside");
        let remade = Remade::new(&aside).expect("made");
        let of = |path: &str, kind| Carried { path: path.to_owned(), kind };
        let state = state_now(dir.path()).expect("a state");
        let file = || CarriedKind::File { mode: 0o644, bytes: 0, state };
        remade.make(&of("up", CarriedKind::Link("..".to_owned()))).expect("a link is a link");
        for path in ["../out", "/tmp/sortie-out", "up/out", "a/../../out"] {
            assert!(remade.make(&of(path, file())).is_err(), "{path}");
            assert!(remade.make(&of(path, CarriedKind::Folder)).is_err(), "{path}");
        }
        drop(remade);
        assert_eq!(fs::read_dir(dir.path()).expect("listed").count(), 0, "and nothing is left of it");
    }

    #[test]
    fn a_workspace_beyond_its_bounds_is_not_carried_and_a_state_tells_of_each_change() {
        let dir = tempfile::tempdir().expect("a folder");
        fs::write(dir.path().join("a"), "12345").expect("written");
        let workspace = Workspace::open(dir.path()).expect("opened");
        let few = WorkspaceBounds { bytes_max: 4, files_max: 9 };
        assert!(matches!(workspace.contents(few), Err(CarryError::TooLarge(_))));
        assert!(matches!(
            workspace.contents(WorkspaceBounds { bytes_max: 9, files_max: 0 }),
            Err(CarryError::TooLarge(_))
        ));
        let state = || match workspace.contents(BOUNDS).expect("listed").all.as_slice() {
            [Carried { kind: CarriedKind::File { state, .. }, .. }] => *state,
            other => panic!("{other:?}"),
        };
        let before = state();
        assert!(!before.is_settled_at(&before), "it has just come to be");
        // As long, and in another file in its place.
        fs::write(dir.path().join("b"), "54321").expect("written");
        fs::rename(dir.path().join("b"), dir.path().join("a")).expect("renamed");
        assert_ne!(before, state());
        let never = Workspace::open(&dir.path().join("never")).expect("opened");
        assert_eq!(never.contents(BOUNDS).expect("listed"), Contents::default());
    }
}
