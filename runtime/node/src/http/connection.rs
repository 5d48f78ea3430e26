//! Connections: taking them, bounding what a client can hold without ever asking for anything, and letting them end.
//!
//! Whoever connects has shown no token yet. So nobody holds a connection by sending half a request slowly or never, nor by
//! not reading what it asked for, and the connections of strangers have a most ([`super::places`]). What takes long by its
//! nature, a stream of events, may.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::serve::Listener as _;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};

use super::lingering::lingering;
use super::patient::Patient;
use super::places::{Place, Places};

/// How long a client may take to send the head of a request; it also ends connections on which no next request comes.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// Most that is buffered of a connection, in bytes; no head of a request may be larger. Tokens and event ids take a few hundred.
const BUFFER_BYTES: usize = 64 << 10;

/// How long connections may take to end after the last answer.
const DRAIN: Duration = Duration::from_secs(2);

/// Serves `router` on the connections of `listener` for which there are `places` until `stop` resolves, then lets requests in
/// flight finish. Each request carries the [`Place`] of its connection.
pub(super) async fn serve(
    mut listener: TcpListener,
    router: Router,
    places: Arc<Places>,
    stop: impl Future<Output = ()>,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_buf_size(BUFFER_BYTES);
    let open = GracefulShutdown::new();
    let mut stop = pin!(stop);
    loop {
        let (stream, place) = tokio::select! {
            taken = take(&mut listener, &places) => taken,
            () = &mut stop => break,
        };
        // Answers are small and waited for; a socket that refuses the option works without it.
        let _ = stream.set_nodelay(true);
        let (router, seat) = (TowerToHyperService::new(router.clone()), Arc::clone(&place));
        let service = service_fn(move |mut request: Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(Arc::clone(&seat));
            router.call(lingering(request))
        });
        let connection = open.watch(http.serve_connection(TokioIo::new(Patient::new(stream)), service));
        tokio::spawn(async move {
            tokio::select! {
                ended = connection => if let Err(error) = ended {
                    tracing::debug!(error = &error as &dyn std::error::Error, "a connection ended");
                },
                () = place.lost() => tracing::debug!("a connection gave its place up"),
            }
        });
    }
    drop(listener);
    // What takes longer is cut off.
    let _ = tokio::time::timeout(DRAIN, open.shutdown()).await;
}

/// The next connection, with its place.
async fn take(listener: &mut TcpListener, places: &Arc<Places>) -> (TcpStream, Arc<Place>) {
    // Waits and goes on where the system has no more files.
    let (stream, peer) = listener.accept().await;
    let room = places.room().await;
    (stream, places.seat(peer.ip(), room))
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::timeout;

    use super::super::patient::WRITE_TIME;
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
        tokio::spawn(serve(listener, router, Arc::new(Places::new(most)), stop));
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
    async fn strangers_that_ask_for_nothing_make_room_for_the_next() {
        // Eight places, two of them for strangers.
        let address = node(Router::new().route("/", get(async || "here")), 8, pending()).await;
        let mut first = TcpStream::connect(address).await.expect("connected");
        let begun = tokio::time::Instant::now();
        let mut others = Vec::new();
        for _ in 0..20 {
            let mut stream = TcpStream::connect(address).await.expect("connected");
            stream.write_all(REQUEST).await.expect("sent");
            let mut answer = vec![0; 12];
            timeout(HEAD_TIME / 2, stream.read_exact(&mut answer)).await.expect("at once").expect("an answer");
            others.push(stream);
        }
        rest(&mut first).await;
        assert!(begun.elapsed() < HEAD_TIME / 2, "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn an_answer_that_comes_before_the_body_does_leaves_the_connection_as_it_is() {
        let refuses = axum::routing::post(async || "refused");
        let reads = axum::routing::post(async |body: axum::body::Bytes| body.len().to_string());
        let router = Router::new().route("/refuses", refuses).route("/reads", reads);
        let address = node(router.layer(axum::extract::DefaultBodyLimit::disable()), 8, pending()).await;
        let body = vec![b'x'; 4 << 20];
        let mut stream = TcpStream::connect(address).await.expect("connected");
        for (path, says) in [("refuses", "refused"), ("reads", "4194304"), ("refuses", "refused"), ("reads", "4194304")]
        {
            let head = format!("POST /{path} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.write_all(head.as_bytes()).await.expect("sent");
            stream.write_all(&body).await.expect("sent");
            let mut answer = String::new();
            while !answer.ends_with(says) {
                let mut some = vec![0; 1 << 10];
                let bytes = stream.read(&mut some).await.expect("an answer");
                assert_ne!(bytes, 0, "{path}: the connection is closed behind {answer:?}");
                answer.push_str(std::str::from_utf8(&some[..bytes]).expect("text"));
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_nobody_wants_is_waited_for_a_while_and_one_that_is_held_back_is_not_asked_for() {
        let router = Router::new().route("/", axum::routing::post(async || "refused"));
        let address = node(router, 8, pending()).await;
        for expect in ["", "expect: 100-continue\r\n"] {
            let mut stream = TcpStream::connect(address).await.expect("connected");
            let head = format!("POST / HTTP/1.1\r\nhost: x\r\n{expect}content-length: 1000000\r\n\r\n");
            stream.write_all(head.as_bytes()).await.expect("sent");
            let begun = tokio::time::Instant::now();
            let answer = rest(&mut stream).await;
            assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("refused"), "{expect:?}: {answer}");
            assert!(begun.elapsed() < HEAD_TIME, "{expect:?}: {:?}", begun.elapsed());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_read_is_not_waited_for() {
        let large = get(async || vec![b'x'; 8 << 20]);
        let places = Arc::new(Places::new(8));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(serve(listener, Router::new().route("/", large), Arc::clone(&places), pending()));
        let mut stream = TcpStream::connect(address).await.expect("connected");
        stream.write_all(&REQUEST.repeat(8)).await.expect("sent");
        let opened = async {
            while places.taken().open == 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(LONG, opened).await.expect("it is taken");
        tokio::time::sleep(2 * WRITE_TIME).await;
        assert_eq!(places.taken().open, 0);
        drop(stream);
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
