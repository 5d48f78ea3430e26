//! Standard output and error: lines of the mission's log.
//!
//! One run keeps so many bytes and lines of them; what is beyond is counted, and told once at its end. The guest sees no difference, so
//! that a replay makes the same.

use sortie_contract::limit::{NOTE_BYTES_MAX, NOTES_MAX, clip};
use sortie_contract::plugin::LogLevel;

use crate::capability::report::Said;
use crate::side::Side;

/// Most bytes of both that one run keeps.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// Most lines of both that one run keeps: half of the notes that a mission may have, so that milestones find room beside them, and the
/// line that says what is left out.
const LINES_MAX: u32 = NOTES_MAX / 2;

/// Where a guest writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Out,
    Err,
}

#[derive(Debug, Default)]
pub(super) struct Written {
    out: Vec<u8>,
    err: Vec<u8>,
    kept: usize,
    lines: u32,
    left_out: u64,
}

impl Written {
    /// The guest writes.
    pub(super) fn write(
        &mut self,
        side: &mut Side,
        said: &mut Said,
        stream: Stream,
        bytes: &[u8],
    ) -> wasmtime::Result<()> {
        let room = if self.lines < LINES_MAX { KEPT_BYTES_MAX - self.kept } else { 0 };
        let (kept, beyond) = bytes.split_at(bytes.len().min(room));
        self.left_out += beyond.len() as u64;
        self.kept += kept.len();
        for piece in kept.split_inclusive(|byte| *byte == b'\n') {
            self.add(side, said, stream, piece)?;
        }
        Ok(())
    }

    /// Adds what has a line break at its end alone, if at all.
    fn add(&mut self, side: &mut Side, said: &mut Said, stream: Stream, mut piece: &[u8]) -> wasmtime::Result<()> {
        while !piece.is_empty() {
            let line = self.line(stream);
            let (part, rest) = piece.split_at(piece.len().min(NOTE_BYTES_MAX - line.len()));
            line.extend_from_slice(part);
            piece = rest;
            if line.last() == Some(&b'\n') {
                let line = std::mem::take(line);
                self.tell(side, said, stream, &line)?;
            } else if line.len() == NOTE_BYTES_MAX {
                // A line that is longer than one may be goes on in the next; no character is cut in two.
                let whole = whole_characters(line);
                let next = line.split_off(whole);
                let line = std::mem::replace(line, next);
                self.tell(side, said, stream, &line)?;
            }
        }
        Ok(())
    }

    /// Tells what is left, at the end of a run.
    pub(super) fn out(&mut self, side: &mut Side, said: &mut Said) -> wasmtime::Result<()> {
        if side.stopped().is_some() {
            return Ok(());
        }
        for stream in [Stream::Out, Stream::Err] {
            let line = std::mem::take(self.line(stream));
            self.tell(side, said, stream, &line)?;
        }
        let left_out = std::mem::take(&mut self.left_out);
        if left_out == 0 {
            return Ok(());
        }
        let text = format!(
            "{left_out} bytes more of standard output and error are left out: of a run {KEPT_BYTES_MAX} bytes and \
             {LINES_MAX} lines are kept"
        );
        log(side, LogLevel::Warn, text)
    }

    fn line(&mut self, stream: Stream) -> &mut Vec<u8> {
        match stream {
            Stream::Out => &mut self.out,
            Stream::Err => &mut self.err,
        }
    }

    fn tell(&mut self, side: &mut Side, said: &mut Said, stream: Stream, line: &[u8]) -> wasmtime::Result<()> {
        let text = String::from_utf8_lossy(line);
        let text = text.trim_end();
        if text.is_empty() {
            return Ok(());
        }
        if self.lines >= LINES_MAX {
            self.left_out += line.len() as u64;
            return Ok(());
        }
        self.lines += 1;
        // What is no text may be longer than it was.
        let text = clip(text, NOTE_BYTES_MAX);
        if stream == Stream::Err {
            said.on_stderr(&text);
        }
        log(side, if stream == Stream::Err { LogLevel::Warn } else { LogLevel::Info }, text)
    }
}

/// Without a mission nobody reads it.
fn log(side: &mut Side, level: LogLevel, text: String) -> wasmtime::Result<()> {
    let Some(host) = side.in_passing() else { return Ok(()) };
    let answer = host.log(level, text);
    side.answered(answer)
}

/// Up to where these bytes have no character that is cut at their end.
fn whole_characters(bytes: &[u8]) -> usize {
    let last = bytes.iter().rposition(|byte| byte & 0xc0 != 0x80).unwrap_or(0);
    let is_cut = std::str::from_utf8(&bytes[last..]).is_err_and(|error| error.error_len().is_none());
    if is_cut && last > 0 { last } else { bytes.len() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_is_not_cut() {
        for (bytes, whole) in [
            ("abc".as_bytes(), 3),
            ("abä".as_bytes(), 4),
            (&"abä".as_bytes()[..3], 2),
            (&"ab€".as_bytes()[..4], 2),
            (b"ab\xff\xff\xff\xff\xff", 7),
            (b"\x80\x80\x80", 3),
            (b"", 0),
        ] {
            assert_eq!(whole_characters(bytes), whole, "{bytes:?}");
        }
    }

    /// Without a mission lines go nowhere, but the last of standard error explain an end.
    #[test]
    fn lines_are_put_together() {
        let (mut written, mut side, mut said) = (Written::default(), Side::absent(), Said::default());
        for piece in ["on", "e\ntwo\n\n", "thr", "ee"] {
            written.write(&mut side, &mut said, Stream::Err, piece.as_bytes()).unwrap();
        }
        assert_eq!(said.error().as_deref(), Some("one\ntwo"));
        written.out(&mut side, &mut said).unwrap();
        assert_eq!(said.error().as_deref(), Some("one\ntwo\nthree"));
    }

    #[test]
    fn no_run_keeps_more_than_it_may() {
        let (mut side, mut said) = (Side::absent(), Said::default());
        let mut written = Written::default();
        for _ in 0..100 {
            written.write(&mut side, &mut said, Stream::Out, &vec![b'x'; 100_000]).unwrap();
        }
        assert_eq!((written.kept, written.left_out), (KEPT_BYTES_MAX, 10_000_000 - KEPT_BYTES_MAX as u64));
        assert!(written.out.len() < NOTE_BYTES_MAX);

        let mut written = Written::default();
        let lines = "a\n".repeat(LINES_MAX as usize + 10);
        written.write(&mut side, &mut said, Stream::Out, lines.as_bytes()).unwrap();
        written.write(&mut side, &mut said, Stream::Out, b"more").unwrap();
        assert_eq!((written.lines, written.left_out), (LINES_MAX, 24));
    }
}
