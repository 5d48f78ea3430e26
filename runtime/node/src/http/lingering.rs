//! Bodies that nobody read to their end: what is still sent of them is taken and thrown away, for a while.
//!
//! An answer may be there before the body is: a token that is not known, a form whose key is wrong, a node that sends the request on. A
//! connection that is closed on a client that still sends is reset, and the answer is lost with it; and one that is closed without a word takes
//! the client's next request along.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Request, header};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::runtime::Handle;
use tokio::time::timeout;

/// How long that is. Then the connection ends.
const LINGER: Duration = Duration::from_secs(2);

/// A body that is taken to its end after whoever had it let it go.
#[derive(Debug)]
pub(super) struct Lingering {
    /// Taken when it is let go.
    body: Option<Incoming>,
    /// Whether the client sends it only when it is told to, and has not been: it gets another word instead.
    is_held_back: bool,
}

/// The same request, with such a body.
pub(super) fn lingering(request: Request<Incoming>) -> Request<Lingering> {
    let is_held_back = request.headers().contains_key(header::EXPECT);
    request.map(|body| Lingering { body: Some(body), is_held_back })
}

impl Body for Lingering {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.is_held_back = false;
        self.body.as_mut().map_or(Poll::Ready(None), |body| Pin::new(body).poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        let Some(mut body) = self.body.take().filter(|body| !self.is_held_back && !body.is_end_stream()) else {
            return;
        };
        // Where the node ends, so do its connections.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(timeout(LINGER, async move {
                while let Some(Ok(_)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {}
            }));
        }
    }
}
