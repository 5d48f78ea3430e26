//! Connections: taking them, bounding what a client can hold without ever asking for anything, and letting them end.
//!
//! Whoever connects has shown no token yet. So nobody holds a connection by sending half a request slowly or never, and there
//! is a most of connections. What takes long by its nature, a stream of events, may.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::serve::Listener as _;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a client may take to send the head of a request; it also ends connections on which no next request comes.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// Most that is buffered of a connection, in bytes; no head of a request may be larger. Tokens and event ids take a few hundred.
const BUFFER_BYTES: usize = 64 << 10;

/// Most connections at a time, with `BUFFER_BYTES` each far from what a node has of memory. Further ones wait to be taken.
const CONNECTIONS_MAX: usize = 4_096;

/// How long connections may take to end after the last answer.
const DRAIN: Duration = Duration::from_secs(2);

/// How many connections this process can hold: half of the files that it may open, for missions open files, too.
pub(super) fn most() -> usize {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let files = files.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX));
    CONNECTIONS_MAX.min(files / 2).max(1)
}

/// Serves `router` on at most `most` connections of `listener` until `stop` resolves, then lets requests in flight finish.
pub(super) async fn serve(mut listener: TcpListener, router: Router, most: usize, stop: impl Future<Output = ()>) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_buf_size(BUFFER_BYTES);
    let open = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(most));
    let mut stop = pin!(stop);
    loop {
        let (stream, place) = tokio::select! {
            taken = take(&mut listener, &places) => taken,
            () = &mut stop => break,
        };
        // Answers are small and waited for; a socket that refuses the option works without it.
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(router.clone());
        let connection = open.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = &error as &dyn std::error::Error, "a connection ended");
            }
            drop(place);
        });
    }
    drop(listener);
    // What takes longer is cut off.
    let _ = tokio::time::timeout(DRAIN, open.shutdown()).await;
}

/// The next connection, once there is a place for it.
async fn take(listener: &mut TcpListener, places: &Arc<Semaphore>) -> (TcpStream, OwnedSemaphorePermit) {
    let place = Arc::clone(places).acquire_owned().await.expect("never closed");
    // Waits and goes on where the system has no more files.
    let (stream, _) = listener.accept().await;
    (stream, place)
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::timeout;

    use super::*;

    /// More than any limit; the clock of these tests jumps over what is only waited for.
    const LONG: Duration = Duration::from_secs(600);
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

    async fn node(
        router: Router,
        most: usize,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> std::net::SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(serve(listener, router, most, stop));
        address
    }

    async fn rest(stream: &mut TcpStream) -> String {
        let mut all = Vec::new();
        timeout(LONG, stream.read_to_end(&mut all)).await.expect("the node closes it").expect("readable");
        String::from_utf8(all).expect("text")
    }

    #[tokio::test(start_paused = true)]
    async fn half_a_head_is_not_waited_for() {
        let address = node(Router::new(), 8, pending()).await;
        for half in [&b""[..], b"GET /v1/missions HT", b"GET / HTTP/1.1\r\nhost: x\r\n"] {
            let mut stream = TcpStream::connect(address).await.expect("connected");
            stream.write_all(half).await.expect("sent");
            let begun = tokio::time::Instant::now();
            rest(&mut stream).await;
            assert!(begun.elapsed() < 2 * HEAD_TIME, "{half:?}: {:?}", begun.elapsed());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_answer_is_not_cut() {
        let slow = get(|| async {
            tokio::time::sleep(LONG / 2).await;
            "at last"
        });
        let address = node(Router::new().route("/", slow), 8, pending()).await;
        let mut stream = TcpStream::connect(address).await.expect("connected");
        stream.write_all(REQUEST).await.expect("sent");
        assert!(rest(&mut stream).await.ends_with("at last"));
    }

    #[tokio::test(start_paused = true)]
    async fn there_is_a_most_of_connections_and_the_next_one_waits() {
        let address = node(Router::new().route("/", get(async || "here")), 1, pending()).await;
        let mut first = TcpStream::connect(address).await.expect("connected");
        let mut second = TcpStream::connect(address).await.expect("connected");
        second.write_all(REQUEST).await.expect("sent");
        let mut some = [0; 16];
        timeout(HEAD_TIME / 2, second.read(&mut some)).await.expect_err("the only place is taken");
        rest(&mut first).await;
        assert!(rest(&mut second).await.ends_with("here"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_in_flight_is_answered_before_the_end() {
        let stop = Arc::new(tokio::sync::Notify::new());
        let stopped = Arc::clone(&stop);
        let slow = get(async move || {
            stop.notify_one();
            tokio::time::sleep(DRAIN / 2).await;
            "answered"
        });
        let stopped = async move { stopped.notified().await };
        let address = node(Router::new().route("/", slow), 8, stopped).await;
        let mut stream = TcpStream::connect(address).await.expect("connected");
        stream.write_all(REQUEST).await.expect("sent");
        assert!(rest(&mut stream).await.ends_with("answered"));
        TcpStream::connect(address).await.expect_err("nobody listens");
    }
}
