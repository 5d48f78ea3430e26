//! A folder that all nodes see, as a store: objects are files, whole or not there, and through a loss of power once they are.
//!
//! Others write into such a folder, too, by mistake or on purpose. What lies in the place of an object and is no file is neither waited for
//! (a pipe) nor followed (a link) nor read (a device): it is said what it is. A link in the place of a folder on the way is looked for
//! before each step and not held against while it is taken: the nodes alone are meant to write here.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rustix::fs::OFlags;
use sortie_contract::Timestamp;

use crate::objects::{Fault, Found};

/// What names of files begin with that are no objects yet.
const HALF: &str = ".half-";

/// How much is read at once.
const PIECE_BYTES: usize = 256 << 10;

/// The folder. Its methods block.
#[derive(Debug, Clone)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// It is never made: what is not there is a share that is not mounted, and what were written into its place would be seen by nobody else.
    pub(crate) fn new(root: PathBuf) -> Self {
        Self(root)
    }

    fn file(&self, key: &str) -> Result<PathBuf, Fault> {
        let is_plain = |part: &str| !part.is_empty() && !part.starts_with('.');
        if !key.split('/').all(is_plain) {
            return Err(Fault::Away(format!("`{key}` is no key of an object")));
        }
        if !self.0.is_dir() {
            return Err(Fault::Away(format!("there is no folder {}: is it mounted?", self.0.display())));
        }
        let file = self.0.join(key);
        let on_the_way = file.ancestors().skip(1).take_while(|folder| *folder != self.0);
        for folder in on_the_way {
            self.is_folder(folder)?;
        }
        Ok(file)
    }

    /// Whether a folder is on the way, or nothing yet.
    fn is_folder(&self, path: &Path) -> Result<(), Fault> {
        match fs::symlink_metadata(path) {
            Ok(there) if there.is_dir() => Ok(()),
            Ok(there) => {
                let key = path.strip_prefix(&self.0).unwrap_or(path).display();
                Err(Fault::Odd(format!("`{key}` is {}, and no folder", what(&there))))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes an object; where `only_new`, only if there is none.
    pub(crate) fn put(&self, key: &str, bytes: &Bytes, only_new: bool) -> Result<(), Fault> {
        self.write(key, only_new, |mut out| out.write_all(bytes))
    }

    fn write(&self, key: &str, only_new: bool, write: impl FnOnce(&File) -> io::Result<()>) -> Result<(), Fault> {
        let file = self.file(key)?;
        let folder = file.parent().unwrap_or(&self.0);
        fs::create_dir_all(folder)?;
        let half = Half::new(folder)?;
        write(&half.file)?;
        half.file.sync_all()?;
        // Whatever is no folder gives way to the object: it is as it should be then.
        half.rename(&file, only_new).map_err(|error| match fs::symlink_metadata(&file) {
            Ok(there) if there.is_dir() && !only_new => in_its_place(&there),
            _ => error.into(),
        })?;
        // The names on the way may be new, too.
        for folder in folder.ancestors().take_while(|folder| folder.starts_with(&self.0)) {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    }

    /// Reads `len` bytes from `first` on, or all: as many as there are. One of more bytes than `max` is not read at all.
    pub(crate) fn read(
        &self,
        key: &str,
        part: Option<std::ops::Range<u64>>,
        max: u64,
        mut each: impl FnMut(&[u8]) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let (mut file, bytes) = opened(&self.file(key)?)?;
        if part.is_none() && bytes > max {
            return Err(Fault::TooLarge { max });
        }
        let (first, len) = part.map_or((0, u64::MAX), |part| (part.start, part.end.saturating_sub(part.start)));
        file.seek(SeekFrom::Start(first))?;
        let (mut file, mut piece) = (file.take(len), vec![0; PIECE_BYTES]);
        loop {
            match file.read(&mut piece) {
                Ok(0) => return Ok(()),
                Ok(read) => each(&piece[..read])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// What is below a key, be it an object or not, but for folders.
    pub(crate) fn list(&self, under: &str) -> Result<Vec<Found>, Fault> {
        let under = self.file(under)?;
        self.is_folder(&under)?;
        let (mut found, mut folders) = (Vec::new(), vec![under]);
        while let Some(folder) = folders.pop() {
            let entries = match fs::read_dir(&folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                entries => entries?,
            };
            for entry in entries {
                let entry = entry?;
                let Ok(name) = entry.file_name().into_string() else { continue };
                // What goes away meanwhile is gone.
                let Ok(metadata) = entry.metadata() else { continue };
                if metadata.is_dir() {
                    folders.push(entry.path());
                } else if !name.starts_with('.') {
                    found.extend(self.found(&entry.path(), &metadata));
                }
            }
        }
        Ok(found)
    }

    fn found(&self, file: &Path, metadata: &fs::Metadata) -> Option<Found> {
        let key = file.strip_prefix(&self.0).ok()?.to_str()?.to_owned();
        let written_at = Timestamp::try_from(metadata.modified().ok()?).ok()?;
        Some(Found { key, bytes: metadata.len(), written_at, is_object: metadata.is_file() })
    }

    /// Writes what is under one key, of `max` bytes at most, under another.
    pub(crate) fn copy(&self, from: &str, to: &str, max: u64) -> Result<(), Fault> {
        let (file, bytes) = opened(&self.file(from)?)?;
        if bytes > max {
            return Err(Fault::TooLarge { max });
        }
        // It may grow meanwhile; what was there is copied.
        self.write(to, false, |mut out| io::copy(&mut file.take(bytes), &mut out).map(drop))
    }

    pub(crate) fn remove(&self, key: &str) -> Result<(), Fault> {
        let file = self.file(key)?;
        fs::remove_file(&file)?;
        // Folders of nothing are no objects. One that somebody writes into just now is not empty.
        let above = file.ancestors().skip(1).take_while(|folder| *folder != self.0 && folder.starts_with(&self.0));
        for folder in above {
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
        Ok(())
    }
}

/// Opens an object to be read, and says how many bytes it has.
fn opened(path: &Path) -> Result<(File, u64), Fault> {
    // A device may do something as soon as it is opened.
    let there = fs::symlink_metadata(path)?;
    if !there.is_file() {
        return Err(in_its_place(&there));
    }
    // It may be another one by now.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW;
    let file = File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    let there = file.metadata()?;
    if there.is_file() { Ok((file, there.len())) } else { Err(in_its_place(&there)) }
}

fn in_its_place(there: &fs::Metadata) -> Fault {
    Fault::Odd(format!("{} lies in its place, and no file", what(there)))
}

/// What something is that is no file, for people.
fn what(there: &fs::Metadata) -> &'static str {
    let kind = there.file_type();
    if kind.is_dir() {
        "a folder"
    } else if kind.is_symlink() {
        "a link"
    } else if kind.is_fifo() {
        "a pipe (FIFO)"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_file() {
        "a file"
    } else {
        "a device"
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            io::ErrorKind::AlreadyExists => Self::Taken,
            _ => Self::Away(error.to_string()),
        }
    }
}

/// A file that is no object yet. Dropped before it is, it goes.
struct Half {
    path: PathBuf,
    file: File,
}

impl Half {
    fn new(folder: &Path) -> io::Result<Self> {
        use std::hash::{BuildHasher as _, RandomState};
        loop {
            // Nodes write into the same folder.
            let name = RandomState::new().hash_one((std::process::id(), folder));
            let path = folder.join(format!("{HALF}{name:016x}"));
            match File::options().write(true).create_new(true).mode(0o600).open(&path) {
                Ok(file) => return Ok(Self { path, file }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                // Somebody removed the last object in it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => fs::create_dir_all(folder)?,
                Err(error) => return Err(error),
            }
        }
    }

    fn rename(&self, to: &Path, only_new: bool) -> io::Result<()> {
        // Another name for the file is made only where there is none.
        if only_new { fs::hard_link(&self.path, to) } else { fs::rename(&self.path, to) }
    }
}

impl Drop for Half {
    fn drop(&mut self) {
        // It has another name by now, or is nobody's.
        fs::remove_file(&self.path).ok();
    }
}
