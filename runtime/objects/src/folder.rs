//! A folder that all nodes see, as a store: objects are files, whole or not there, and through a loss of power once they are.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
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
    /// It may come to be there later.
    pub(crate) fn new(root: PathBuf) -> Self {
        Self(root)
    }

    fn file(&self, key: &str) -> Result<PathBuf, Fault> {
        let is_plain = |part: &str| !part.is_empty() && !part.starts_with('.');
        if key.split('/').all(is_plain) {
            Ok(self.0.join(key))
        } else {
            Err(Fault::Away(format!("`{key}` is no key of an object")))
        }
    }

    /// Writes an object; where `only_new`, only if there is none.
    pub(crate) fn put(&self, key: &str, bytes: &Bytes, only_new: bool) -> Result<(), Fault> {
        let file = self.file(key)?;
        let folder = file.parent().unwrap_or(&self.0);
        fs::create_dir_all(folder)?;
        let half = Half::new(folder)?;
        let mut out = &half.file;
        out.write_all(bytes)?;
        out.sync_all()?;
        half.rename(&file, only_new)?;
        // The names on the way may be new, too.
        for folder in folder.ancestors().take_while(|folder| folder.starts_with(&self.0)) {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    }

    /// Reads `len` bytes from `first` on, or all: as many as there are.
    pub(crate) fn read(
        &self,
        key: &str,
        part: Option<std::ops::Range<u64>>,
        mut each: impl FnMut(&[u8]) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut file = File::open(self.file(key)?)?;
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

    pub(crate) fn list(&self, under: &str) -> Result<Vec<Found>, Fault> {
        // A share that is not mounted is not one with nothing in it; but one that nothing was ever written to has no folders.
        fs::create_dir_all(&self.0)?;
        let (mut found, mut folders) = (Vec::new(), vec![self.file(under)?]);
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
                } else if metadata.is_file() && !name.starts_with('.') {
                    found.extend(self.found(&entry.path(), &metadata));
                }
            }
        }
        Ok(found)
    }

    fn found(&self, file: &Path, metadata: &fs::Metadata) -> Option<Found> {
        let key = file.strip_prefix(&self.0).ok()?.to_str()?.to_owned();
        let written_at = Timestamp::try_from(metadata.modified().ok()?).ok()?;
        Some(Found { key, bytes: metadata.len(), written_at })
    }

    pub(crate) fn copy(&self, from: &str, to: &str) -> Result<(), Fault> {
        let mut file = File::open(self.file(from)?)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        self.put(to, &bytes.into(), false)
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
        use std::os::unix::fs::OpenOptionsExt as _;
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
