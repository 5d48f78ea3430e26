//! What a program writes to standard error: a few lines of it in the log, and the last of them for whoever asks why it ended.

use std::sync::Arc;
use std::time::Duration;

use sortie_egress::{RedactedStream, Redactor};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::timeout;

use crate::connection::End;
use crate::rate::Rate;

/// Most of one line that is kept, in bytes.
const LINE_BYTES_MAX: usize = 4_096;

/// Most of one line that is told.
const TOLD_BYTES_MAX: usize = 512;

/// After so long without a word what came is told, if it ends with a line: a secret of several lines comes in one go.
const SILENCE: Duration = Duration::from_millis(250);

/// Follows it to its end, in a task of its own, so that it never waits for its reader. Secrets are taken out before it is cut into lines.
pub(crate) fn follow(
    mut stderr: impl AsyncRead + Unpin + Send + 'static,
    server: Arc<str>,
    end: Arc<End>,
    veil: Arc<Redactor>,
) {
    tokio::spawn(async move {
        let line = Vec::new();
        let mut veiled = RedactedStream::new(Arc::clone(&veil));
        let mut teller = Teller { server, end, veil, line, rate: Rate::default() };
        let mut buffer = vec![0; 8 << 10];
        let mut is_pending = false;
        loop {
            let more = stderr.read(&mut buffer);
            let read = if is_pending { timeout(SILENCE, more).await } else { Ok(more.await) };
            match read {
                Ok(Ok(read @ 1..)) => {
                    is_pending = buffer[read - 1] == b'\n';
                    veiled.take(&buffer[..read], |bytes| teller.take(bytes));
                }
                Ok(Ok(0) | Err(_)) => break,
                Err(_) => {
                    is_pending = false;
                    veiled.end(|bytes| teller.take(bytes));
                }
            }
        }
        veiled.end(|bytes| teller.take(bytes));
        teller.tell();
        let left_out = teller.rate.left_out();
        teller.tell_left_out(left_out);
        teller.end.quiet.cancel();
    });
}

struct Teller {
    server: Arc<str>,
    end: Arc<End>,
    veil: Arc<Redactor>,
    line: Vec<u8>,
    rate: Rate,
}

impl Teller {
    fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                b'\n' => self.tell(),
                _ if self.line.len() < LINE_BYTES_MAX => self.line.push(*byte),
                _ => {}
            }
        }
    }

    fn tell(&mut self) {
        let text = String::from_utf8_lossy(&self.line).trim().to_owned();
        self.line.clear();
        if text.is_empty() {
            return;
        }
        let (is_told, left_out) = self.rate.one_more();
        self.tell_left_out(left_out);
        // The last line is kept whatever was left out before it.
        let says = self.veil.clipped(&text, TOLD_BYTES_MAX);
        if is_told {
            tracing::info!(server = &*self.server, says, "a tool server writes to standard error");
        }
        self.end.said(says);
    }

    fn tell_left_out(&self, lines: Option<u64>) {
        if let Some(lines) = lines {
            tracing::info!(server = &*self.server, lines, "a tool server wrote more to standard error than is told");
        }
    }
}

#[cfg(test)]
mod tests {
    use sortie_egress::Secret;
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    /// What is said last of what is written, piece by piece.
    async fn last_words(secret: &str, pieces: &[&str]) -> String {
        let (mut program, stderr) = tokio::io::duplex(64);
        let end = Arc::new(End::default());
        let veil = Arc::new(Redactor::over(&[Secret::new(secret.to_owned())]));
        follow(stderr, "x".into(), Arc::clone(&end), veil);
        for piece in pieces {
            program.write_all(piece.as_bytes()).await.expect("it is read");
        }
        drop(program);
        end.quiet.cancelled().await;
        end.with_last_words(String::new())
    }

    #[tokio::test]
    async fn no_secret_is_told_however_long_it_is_or_in_how_many_lines() {
        let lines: Vec<String> = (0..20).map(|line| format!("{line:02}{}", "Ab9+/".repeat(12))).collect();
        let key = format!("-----BEGIN KEY-----\n{}\n-----END KEY-----", lines.join("\n"));
        let said = last_words(&key, &["before\n", &key[..500], &key[500..]]).await;
        assert_eq!(said, "; it said last: ***");
        let long = "0123456789".repeat(300);
        let said = last_words(&long, &[&long, " ", &long, "\n"]).await;
        assert_eq!(said, "; it said last: *** ***");
        let far = format!("{}{long} {long}\n", "x".repeat(LINE_BYTES_MAX - 1_000));
        assert!(!last_words(&long, &[&far]).await.contains("01234"));
    }

    #[tokio::test]
    async fn a_line_is_told_after_a_short_silence() {
        let (mut program, stderr) = tokio::io::duplex(64);
        let end = Arc::new(End::default());
        let veil = Arc::new(Redactor::over(&[Secret::new("a secret".to_owned())]));
        follow(stderr, "x".into(), Arc::clone(&end), veil);
        program.write_all(b"ready, a secret\n").await.expect("it is read");
        tokio::time::sleep(2 * SILENCE).await;
        assert_eq!(end.with_last_words(String::new()), "; it said last: ready, ***");
    }
}
