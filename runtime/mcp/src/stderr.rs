//! What a program writes to standard error: a few lines of it in the log, and the last of them for whoever asks why it ended.

use std::sync::Arc;
use std::time::Duration;

use sortie_egress::Redactor;
use tokio::io::AsyncReadExt as _;
use tokio::process::ChildStderr;
use tokio::time::Instant;

use crate::connection::End;

/// Most of one line that is looked at, in bytes: the veil is over all of it.
const LINE_BYTES_MAX: usize = 4_096;

/// Most of one line that is told.
const TOLD_BYTES_MAX: usize = 512;

const _: () = assert!(TOLD_BYTES_MAX < LINE_BYTES_MAX / 2, "of a secret that is cut at a line's end nothing is told");

/// So many lines are told in so long. The rest is counted.
const LINES_MAX: u32 = 20;
const LINES_PER: Duration = Duration::from_secs(60);

/// Follows it to its end, in a task of its own, so that it never waits for its reader.
pub(crate) fn follow(mut stderr: ChildStderr, server: Arc<str>, end: Arc<End>, veil: Arc<Redactor>) {
    tokio::spawn(async move {
        let mut teller = Teller { server, end, veil, told: 0, left_out: 0, since: Instant::now() };
        let (mut line, mut buffer) = (Vec::new(), vec![0; 8 << 10]);
        while let Ok(read @ 1..) = stderr.read(&mut buffer).await {
            for byte in &buffer[..read] {
                match byte {
                    b'\n' => teller.tell(&mut line),
                    _ if line.len() < LINE_BYTES_MAX => line.push(*byte),
                    _ => {}
                }
            }
        }
        teller.tell(&mut line);
        teller.tell_left_out();
        teller.end.quiet.cancel();
    });
}

struct Teller {
    server: Arc<str>,
    end: Arc<End>,
    veil: Arc<Redactor>,
    told: u32,
    left_out: u64,
    since: Instant,
}

impl Teller {
    fn tell(&mut self, line: &mut Vec<u8>) {
        let text = String::from_utf8_lossy(line).trim().to_owned();
        line.clear();
        if text.is_empty() {
            return;
        }
        if self.since.elapsed() >= LINES_PER {
            self.tell_left_out();
            (self.told, self.since) = (0, Instant::now());
        }
        // The last line is kept whatever was left out before it.
        let says = self.veil.clipped(&text, TOLD_BYTES_MAX);
        if self.told < LINES_MAX {
            self.told += 1;
            tracing::info!(server = &*self.server, says, "a tool server writes to standard error");
        } else {
            self.left_out += 1;
        }
        self.end.said(says);
    }

    fn tell_left_out(&mut self) {
        let lines = std::mem::take(&mut self.left_out);
        if lines > 0 {
            tracing::info!(server = &*self.server, lines, "a tool server wrote more to standard error than is told");
        }
    }
}
