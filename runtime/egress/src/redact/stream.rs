//! Secrets in what comes piece by piece: one may lie across the end of a piece.

use std::sync::Arc;

use super::Redactor;

/// What is gathered before it is looked through, in bytes: a look has its price, however little there is to see.
const GATHERED_BYTES: usize = 64 << 10;

/// Takes secrets out of a stream of bytes, whatever the pieces are in which it comes.
pub struct Stream {
    redactor: Arc<Redactor>,
    /// What came and was not handed on.
    kept: Vec<u8>,
}

impl Stream {
    /// One that nothing has come from.
    #[must_use]
    pub fn new(redactor: Arc<Redactor>) -> Self {
        Self { redactor, kept: Vec::new() }
    }

    /// Takes the next piece, and hands on what is known to hold no secret.
    pub fn take(&mut self, piece: &[u8], mut on: impl FnMut(&[u8])) {
        if self.redactor.search.is_none() {
            return on(piece);
        }
        self.kept.extend_from_slice(piece);
        if self.kept.len() >= GATHERED_BYTES + self.redactor.reach {
            self.hand_on(self.kept.len() - self.redactor.reach, on);
        }
    }

    /// There is no more.
    pub fn end(&mut self, on: impl FnMut(&[u8])) {
        self.hand_on(self.kept.len(), on);
    }

    /// What begins before `end`, where each secret that does so is here whole.
    fn hand_on(&mut self, end: usize, mut on: impl FnMut(&[u8])) {
        let mut from = 0;
        for (span, secret) in self.redactor.found_in(&self.kept) {
            if span.start >= end {
                break;
            }
            on(&self.kept[from..span.start]);
            on(self.redactor.placeholders[secret].as_bytes());
            from = span.end;
        }
        let end = end.max(from);
        on(&self.kept[from..end]);
        self.kept.drain(..end);
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;

    use super::*;
    use crate::secret::Secret;

    fn streamed(redactor: &Arc<Redactor>, pieces: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Vec<u8> {
        let (mut stream, mut shown) = (Stream::new(Arc::clone(redactor)), Vec::new());
        pieces.into_iter().for_each(|piece| stream.take(piece.as_ref(), |bytes| shown.extend_from_slice(bytes)));
        stream.end(|bytes| shown.extend_from_slice(bytes));
        shown
    }

    #[test]
    fn a_secret_is_taken_out_however_it_comes() {
        let secrets = ["hush", "hushhush!", "a\nb"].map(|value| Secret::new(value.to_owned()));
        let redactor = Arc::new(Redactor::over(&secrets));
        for (text, expected) in [
            ("hush", "***"),
            ("xhushx", "x***x"),
            ("hushhush!", "***"),
            ("hushhush", "******"),
            ("hus", "hus"),
            ("huhushsh", "hu***sh"),
            ("a\nb", "***"),
            ("", ""),
        ] {
            for size in 1..=text.len().max(1) {
                let shown = streamed(&redactor, text.as_bytes().chunks(size));
                assert_eq!(String::from_utf8(shown).unwrap(), expected, "{text} in pieces of {size}");
            }
        }
        assert_eq!(streamed(&redactor, [&b"\xff hu"[..], &b"sh \xfe "[..]]), b"\xff *** \xfe ");
    }

    #[test]
    fn every_spelling_is_taken_out_wherever_a_look_ends() {
        let value = "s3cr3t/Va\"lue+%41";
        let redactor = Arc::new(Redactor::over([&Secret::new(value.to_owned())]));
        let spellings = [
            value.to_owned(),
            value.replace('"', "\\\""),
            value.chars().map(|sign| format!("\\u{:04x}", u32::from(sign))).collect(),
            value.bytes().map(|byte| format!("%{byte:02x}")).collect(),
            base64::engine::general_purpose::STANDARD.encode(value),
        ];
        for spelling in spellings {
            for before in (GATHERED_BYTES - 200..GATHERED_BYTES + redactor.reach + 20).step_by(13) {
                let text = format!("{} {spelling} {}", "x".repeat(before), "y".repeat(GATHERED_BYTES + 1_000));
                let shown = streamed(&redactor, text.as_bytes().chunks(4_093));
                let expected = format!("{} *** {}", "x".repeat(before), "y".repeat(GATHERED_BYTES + 1_000));
                assert!(shown == expected.as_bytes(), "{spelling} behind {before}");
            }
        }
    }
}
