//! Files that somebody names, read no further than they may go: what has no end (`/dev/zero`) would take all memory.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

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

/// A file that is read more than once, or out of order: a pipe is none, and is not waited for.
pub(crate) fn file(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file, but a folder, a pipe or a device"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_is_no_file_and_is_not_waited_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let (pipe, text) = (folder.path().join("pipe"), folder.path().join("text"));
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::from_raw_mode(0o600)).expect("made");
        std::fs::write(&text, "abc").expect("written");
        for path in [pipe.as_path(), folder.path(), Path::new("/dev/zero")] {
            assert!(file(path).expect_err("no file").to_string().contains("it is no file"), "{}", path.display());
        }
        assert_eq!(bytes(file(&text).expect("a file"), 3).expect("read"), b"abc");
    }

    #[test]
    fn what_has_no_end_is_not_read_for_ever() {
        assert_eq!(bytes(&b"abc"[..], 3).expect("no more than that"), b"abc");
        assert!(bytes(&b"abcd"[..], 3).is_err());
        let says = text(Path::new("/dev/zero")).expect_err("no text").to_string();
        assert_eq!(says, "it is longer than 64 MiB");
    }
}
