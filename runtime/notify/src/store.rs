//! The files of channels: each is written as a whole, so that a crash leaves the one before or the one behind.

use std::fs::File;
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use crate::ledger::Ledger;

/// Largest file that is taken for a ledger: what one holds is bounded far below.
const BYTES_MAX: u64 = 4 << 20;

/// Where a channel's ledger is.
pub(crate) fn place(folder: &Path, channel: &str) -> PathBuf {
    folder.join(format!("{channel}.json"))
}

/// What was last put down of a channel, for whoever looks from outside; nothing, where there is none.
///
/// # Errors
/// Where it cannot be read, or is none.
pub fn last_of(folder: &Path, channel: &str) -> io::Result<Option<Ledger>> {
    let path = place(folder, channel);
    match std::fs::metadata(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
        Ok(found) if found.len() > BYTES_MAX => return Err(io::Error::new(ErrorKind::InvalidData, "it is too large")),
        Ok(_) => {}
    }
    let bytes = std::fs::read(&path)?;
    serde_json::from_slice(&bytes).map(Some).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
}

/// Writes a file as a whole, for its owner alone, through a loss of power.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().ok_or(ErrorKind::InvalidInput)?;
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::Builder::new().prefix(".notify").tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_reads_back_and_what_is_none_is_told() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = dir.path().join("notify");
        assert!(last_of(&folder, "a").expect("none").is_none());
        let ledger = Ledger::new(7, jiff::Timestamp::UNIX_EPOCH);
        write(&place(&folder, "a"), &serde_json::to_vec(&ledger).expect("plain data")).expect("written");
        assert_eq!(last_of(&folder, "a").expect("read"), Some(ledger));
        std::fs::write(place(&folder, "a"), "{").expect("written");
        assert!(last_of(&folder, "a").is_err());
        // What a newer Sortie adds is left out by an older one.
        std::fs::write(place(&folder, "a"), r#"{"position": 9, "further": 1}"#).expect("written");
        assert_eq!(last_of(&folder, "a").expect("read").map(|ledger| ledger.position), Some(9));
    }
}
