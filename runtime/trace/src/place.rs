//! How far a collector has been told, in a file: written as a whole, so that a crash leaves the one before or the one behind.

use std::io::{self, ErrorKind, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Largest file that is taken for one.
const BYTES_MAX: u64 = 4 << 10;

#[derive(Serialize, Deserialize)]
struct Place {
    position: u64,
}

/// What was last put down; nothing, where there is none.
pub(crate) fn read(path: &Path) -> io::Result<Option<u64>> {
    match std::fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
        Ok(found) if found.len() > BYTES_MAX => return Err(io::Error::new(ErrorKind::InvalidData, "it is too large")),
        Ok(_) => {}
    }
    let place: Place = serde_json::from_slice(&std::fs::read(path)?).map_err(io::Error::other)?;
    Ok(Some(place.position))
}

pub(crate) fn write(path: &Path, position: u64) -> io::Result<()> {
    let folder = path.parent().ok_or(ErrorKind::InvalidInput)?;
    let mut file = tempfile::Builder::new().prefix(".traces").tempfile_in(folder)?;
    file.write_all(&serde_json::to_vec(&Place { position }).expect("plain data"))?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_reads_back_and_what_is_none_is_told() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("traces.json");
        assert_eq!(read(&path).expect("none"), None);
        write(&path, 7).expect("written");
        assert_eq!(read(&path).expect("read"), Some(7));
        std::fs::write(&path, "{").expect("written");
        assert!(read(&path).is_err());
    }
}
