//! A connection whose other end must read: writes that wait for it wait for so long and no longer.
//!
//! A client that does not read makes the node hold its answer, and its place. What it may keep waiting is an allowance: it is
//! used up while a write waits, and what is taken fills it again, so that a slow line has its time and one that takes a byte
//! now and then has not.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// How long a client may keep a write waiting.
pub(super) const WRITE_TIME: Duration = Duration::from_secs(30);

/// How many bytes it has to take for each second of that: a modem's worth.
const BYTES_A_SECOND: u64 = 2_048;

/// A stream that gives up on an end that does not read.
#[derive(Debug)]
pub(super) struct Patient<S> {
    stream: S,
    /// What is left of the allowance, but for the wait that is going on.
    left: Duration,
    /// Since when a write waits, and what ends that.
    waits: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl<S> Patient<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, left: WRITE_TIME, waits: None }
    }

    /// Something was taken.
    fn took(&mut self, bytes: usize) {
        if let Some((since, _)) = self.waits.take() {
            self.left = self.left.saturating_sub(since.elapsed());
        }
        let earned = Duration::from_millis((bytes as u64).saturating_mul(1_000) / BYTES_A_SECOND);
        self.left = self.left.saturating_add(earned).min(WRITE_TIME);
    }

    /// Nothing is taken at the moment: an error, once that has lasted too long.
    fn wait<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let left = self.left;
        let (_, end) = self.waits.get_or_insert_with(|| {
            let now = Instant::now();
            (now, Box::pin(sleep_until(now + left)))
        });
        ready!(end.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the other end does not read")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(cx, buf) {
            Poll::Pending => self.wait(cx),
            Poll::Ready(Ok(bytes)) => {
                self.took(bytes);
                Poll::Ready(Ok(bytes))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write_vectored(cx, bufs) {
            Poll::Pending => self.wait(cx),
            Poll::Ready(Ok(bytes)) => {
                self.took(bytes);
                Poll::Ready(Ok(bytes))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio::time::{sleep, timeout};

    use super::*;

    /// Writes until it fails, to an end that takes so many bytes each time it comes.
    async fn lasts(bytes: usize, every: Duration) -> Duration {
        let (near, mut far) = duplex(64);
        let taking = async move {
            loop {
                sleep(every).await;
                if bytes == 0 || far.read_exact(&mut vec![0; bytes]).await.is_err() {
                    sleep(10 * WRITE_TIME).await;
                }
            }
        };
        let writing = async {
            let (begun, mut near) = (Instant::now(), Patient::new(near));
            let failed = timeout(10 * WRITE_TIME, near.write_all(&vec![0; 1 << 20])).await;
            (failed, begun.elapsed())
        };
        tokio::select! {
            () = taking => unreachable!("it takes for ever"),
            (failed, lasted) = writing => {
                if let Ok(failed) = failed {
                    assert_eq!(failed.expect_err("not all of it").kind(), io::ErrorKind::TimedOut);
                }
                lasted
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_that_does_not_read_is_given_up_and_a_slow_one_is_not() {
        for (bytes, every, given_up) in [
            (0, Duration::from_secs(1), true),
            // A byte now and then, just in time for a plain time-out.
            (1, WRITE_TIME / 2, true),
            (1, Duration::from_secs(1), true),
            (64, Duration::from_millis(25), false),
        ] {
            let lasted = lasts(bytes, every).await;
            assert_eq!(lasted < 2 * WRITE_TIME, given_up, "{bytes} bytes every {every:?}: {lasted:?}");
            assert!(lasted >= WRITE_TIME, "{bytes} bytes every {every:?}: {lasted:?}");
        }
    }
}
