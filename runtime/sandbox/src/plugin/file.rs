//! Files of the plugin store: whole or not there, and still there after a crash.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

/// Writes a file whole or not at all, readable by this user alone (`tempfile` makes files with mode 0600). When it returns, a
/// crash of the machine does not take it back: the folder is synced, too.
pub(super) fn write(folder: &Path, path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    for part in parts {
        file.write_all(part)?;
    }
    file.as_file().sync_all()?;
    file.persist(path)?;
    sync(folder)
}

/// Removes a file; one that is not there is no error. Durable like [`write()`].
pub(super) fn remove(folder: &Path, path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => sync(folder),
    }
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// What was removed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Freed {
    /// How many files.
    pub files: usize,
    /// What they took, in bytes.
    pub bytes: u64,
}

impl Freed {
    /// Removes the files of `folder` that are `over`, as far as that goes: one that cannot be removed stays for the next time.
    pub(super) fn remove_where(&mut self, folder: &Path, over: impl Fn(&str) -> bool) -> io::Result<()> {
        let before = self.files;
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let is_over = entry.file_name().to_str().is_some_and(&over);
            let Some(metadata) = entry.metadata().ok().filter(|metadata| is_over && metadata.is_file()) else {
                continue;
            };
            match std::fs::remove_file(entry.path()) {
                Ok(()) => {
                    self.files += 1;
                    self.bytes += metadata.len();
                }
                Err(error) => tracing::warn!(path = %entry.path().display(), %error, "a file cannot be removed"),
            }
        }
        if self.files > before { sync(folder) } else { Ok(()) }
    }
}

/// Whether a file is what a [`write()`] left that was broken off.
pub(super) fn is_left_over(name: &str) -> bool {
    name.starts_with(".tmp")
}
