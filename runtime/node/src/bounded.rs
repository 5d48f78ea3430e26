//! Files that somebody names, read no further than they may go: what has no end (`/dev/zero`) would take all memory.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The longest text that people write for this program, in bytes: a case with what tools answered in it is the longest.
pub(crate) const TEXT_BYTES_MAX: u64 = 64 << 20;

/// What is read, and it is no more than so many bytes.
pub(crate) fn bytes(from: impl Read, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::other(format!("it is longer than {} MiB", most >> 20)));
    }
    Ok(bytes)
}

/// The text of a file, and it is no longer than [`TEXT_BYTES_MAX`].
pub(crate) fn text(path: &Path) -> io::Result<String> {
    let bytes = bytes(File::open(path)?, TEXT_BYTES_MAX)?;
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is no text: it is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_end_is_not_read_for_ever() {
        assert_eq!(bytes(&b"abc"[..], 3).expect("no more than that"), b"abc");
        assert!(bytes(&b"abcd"[..], 3).is_err());
        let says = text(Path::new("/dev/zero")).expect_err("no text").to_string();
        assert_eq!(says, "it is longer than 64 MiB");
    }
}
