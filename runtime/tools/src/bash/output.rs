//! What a command prints: all of it is read, so that nobody waits for a full pipe, and of what is too long the beginning and the end are kept.

use std::collections::VecDeque;
use std::sync::Arc;

use sortie_contract::limit;
use sortie_egress::{RedactedStream, Redactor};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Kept of the beginning, in bytes: what a command says it does.
const HEAD_BYTES: usize = 64 << 10;

/// Kept of the end, in bytes: what came of it.
const TAIL_BYTES: usize = 192 << 10;

/// Most that a command may print on either side, in bytes: what prints more does nothing else.
pub(super) const PRINTED_BYTES_MAX: u64 = if cfg!(test) { 1 << 20 } else { 256 << 20 };

/// What is read at once, in bytes: what a pipe holds.
const PIECE_BYTES: usize = 64 << 10;

// As JSON, six bytes a byte at worst, both sides fit into a result.
const _: () = assert!(2 * 6 * (HEAD_BYTES + TAIL_BYTES) < limit::CALL_BYTES_MAX);

/// What one side printed.
pub(super) struct Printed {
    stream: RedactedStream,
    kept: Kept,
}

#[derive(Default)]
struct Kept {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    bytes: u64,
}

impl Printed {
    pub(super) fn new(redactor: Arc<Redactor>) -> Self {
        Self { stream: RedactedStream::new(redactor), kept: Kept::default() }
    }

    /// Reads until the end. `false` where it is more than anybody may print.
    pub(super) async fn read(&mut self, mut from: impl AsyncRead + Unpin) -> bool {
        let mut piece = vec![0; PIECE_BYTES];
        while let Ok(read @ 1..) = from.read(&mut piece).await {
            let Self { stream, kept } = self;
            stream.take(&piece[..read], |bytes| kept.take(bytes));
            if kept.bytes > PRINTED_BYTES_MAX {
                return false;
            }
        }
        true
    }

    pub(super) fn is_truncated(&self) -> bool {
        self.kept.bytes > (HEAD_BYTES + TAIL_BYTES) as u64
    }

    /// As text; what is none is replaced.
    pub(super) fn text(mut self) -> String {
        let Self { stream, kept } = &mut self;
        stream.end(|bytes| kept.take(bytes));
        let left_out = kept.bytes - (kept.head.len() + kept.tail.len()) as u64;
        let (head, tail) = (String::from_utf8_lossy(&kept.head), kept.tail.make_contiguous());
        if left_out == 0 {
            let whole = [&kept.head, &*tail].concat();
            return String::from_utf8_lossy(&whole).into_owned();
        }
        format!("{head}\n[… {left_out} bytes are left out …]\n{}", String::from_utf8_lossy(tail))
    }
}

impl Kept {
    fn take(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        let room = HEAD_BYTES - self.head.len();
        let (first, rest) = bytes.split_at(room.min(bytes.len()));
        self.head.extend_from_slice(first);
        self.tail.extend(rest);
        self.tail.drain(..self.tail.len().saturating_sub(TAIL_BYTES));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn printed(text: &[u8]) -> (Printed, bool) {
        let mut printed = Printed::new(Arc::default());
        let all = printed.read(text).await;
        (printed, all)
    }

    #[tokio::test]
    async fn what_is_short_is_whole_and_what_is_long_has_both_ends() {
        let (short, all) = printed("ä\n".as_bytes()).await;
        assert!(all && !short.is_truncated());
        assert_eq!(short.text(), "ä\n");
        let long = [b"begin".to_vec(), vec![b'x'; HEAD_BYTES + TAIL_BYTES], b"end".to_vec()].concat();
        let (long, all) = printed(&long).await;
        assert!(all && long.is_truncated());
        let text = long.text();
        assert!(text.starts_with("begin") && text.ends_with("end"));
        assert!(text.contains("[… 8 bytes are left out …]"), "{}", &text[HEAD_BYTES..HEAD_BYTES + 50]);
    }

    #[tokio::test]
    async fn a_flood_is_told() {
        let flood = vec![b'x'; usize::try_from(PRINTED_BYTES_MAX).unwrap() + 1];
        let (printed, all) = printed(&flood).await;
        assert!(!all && printed.text().len() < HEAD_BYTES + TAIL_BYTES + 100);
    }

    #[tokio::test]
    async fn what_is_no_text_is_replaced() {
        assert_eq!(printed(b"a\xffb").await.0.text(), "a\u{fffd}b");
    }
}
