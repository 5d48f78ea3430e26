//! A part of an archive, for whoever only looks into it: its journal, or its artifacts. The whole of it is held against its checksums all
//! the same.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use sortie_contract::Timestamp;

use super::read::{Sink, read};
use super::{ArchiveError, Member};

/// Puts the journal of an archive into a folder, and says which moment it shows.
pub(crate) fn take_journal(archive: &Path, to: &Path) -> Result<Timestamp, ArchiveError> {
    take(archive, to, |member| matches!(member, Member::Journal))
}

/// Puts its artifacts there, where a data folder has them.
pub(crate) fn take_artifacts(archive: &Path, to: &Path) -> Result<Timestamp, ArchiveError> {
    take(archive, to, |member| matches!(member, Member::Artifact(..)))
}

fn take(archive: &Path, to: &Path, wanted: fn(&Member) -> bool) -> Result<Timestamp, ArchiveError> {
    let checked = read(archive, &mut Part { root: to.to_owned(), wanted })?;
    Ok(checked.manifest.taken_at)
}

/// Some members become files.
struct Part {
    root: PathBuf,
    wanted: fn(&Member) -> bool,
}

impl Sink for Part {
    type Out = Box<dyn Write>;

    fn begin(&mut self, member: &Member) -> io::Result<Box<dyn Write>> {
        if !(self.wanted)(member) {
            return Ok(Box::new(io::sink()));
        }
        let path = self.root.join(member.name());
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        Ok(Box::new(File::create(path)?))
    }

    fn end(&mut self, _: Box<dyn Write>) -> io::Result<()> {
        Ok(())
    }
}
