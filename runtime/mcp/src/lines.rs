//! What goes over the pipes of a program, line by line: a message each, with numbers as they are written (see [`crate::digits`]).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::connection::End;
use crate::{MESSAGE_BYTES_MAX, digits};

/// How much is read at once, in bytes: what a pipe holds.
const CHUNK_BYTES: usize = 64 << 10;

/// Its standard output, in which a message of more than [`MESSAGE_BYTES_MAX`] is told of when it comes: nobody gets it.
pub(crate) struct Heard<R> {
    inner: R,
    /// The beginning of a line. Nothing of one that is too long: that is handed on as it comes.
    line: Vec<u8>,
    is_too_long: bool,
    /// What is to be handed on.
    ready: Ready,
    end: Arc<End>,
}

/// Bytes of which some are gone already.
#[derive(Default)]
struct Ready {
    bytes: Vec<u8>,
    gone: usize,
}

impl Ready {
    fn left(&self) -> &[u8] {
        &self.bytes[self.gone..]
    }

    fn take(&mut self, count: usize) {
        self.gone += count;
        if self.gone >= self.bytes.len() {
            *self = Self::default();
        }
    }
}

impl<R> Heard<R> {
    pub(crate) fn new(inner: R, end: Arc<End>) -> Self {
        Self { inner, line: Vec::new(), is_too_long: false, ready: Ready::default(), end }
    }

    /// Takes what was read.
    fn read(&mut self, chunk: &[u8]) {
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            let is_end = piece.ends_with(b"\n");
            if self.is_too_long {
                self.ready.bytes.extend_from_slice(piece);
                self.is_too_long = !is_end;
                continue;
            }
            self.line.extend_from_slice(piece);
            if self.line.len() - usize::from(is_end) > MESSAGE_BYTES_MAX {
                self.end.too_large.send_modify(|count| *count += 1);
                self.ready.bytes.append(&mut self.line);
                self.is_too_long = !is_end;
            } else if is_end {
                let mut message = digits::heard(&self.line).unwrap_or_else(|| std::mem::take(&mut self.line));
                if !message.ends_with(b"\n") {
                    message.push(b'\n');
                }
                self.ready.bytes.append(&mut message);
                self.line.clear();
            }
        }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Heard<R> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.ready.left().is_empty() {
            let mut chunk = vec![0; CHUNK_BYTES];
            let mut chunk = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut self.inner).poll_read(cx, &mut chunk))?;
            if chunk.filled().is_empty() {
                // What has no end is no message.
                return Poll::Ready(Ok(()));
            }
            self.read(chunk.filled());
        }
        let count = self.ready.left().len().min(buffer.remaining());
        buffer.put_slice(&self.ready.left()[..count]);
        self.ready.take(count);
        Poll::Ready(Ok(()))
    }
}

/// Its standard input.
pub(crate) struct Told<W> {
    inner: W,
    /// The beginning of a line.
    line: Vec<u8>,
    /// What is to be written.
    ready: Ready,
}

impl<W: AsyncWrite + Unpin> Told<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self { inner, line: Vec::new(), ready: Ready::default() }
    }

    /// Writes what is to be written.
    fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.ready.left().is_empty() {
            let count = ready!(Pin::new(&mut self.inner).poll_write(cx, self.ready.left()))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.ready.take(count);
        }
        Poll::Ready(Ok(()))
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Told<W> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_written(cx))?;
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let count = end.map_or(bytes.len(), |end| end + 1);
        self.line.extend_from_slice(&bytes[..count]);
        if end.is_some() {
            let line = std::mem::take(&mut self.line);
            let mut message = digits::told(&line).unwrap_or(line);
            if !message.ends_with(b"\n") {
                message.push(b'\n');
            }
            self.ready.bytes = message;
        }
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_written(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_written(cx))?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
