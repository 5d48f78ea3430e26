//! Attempts against a receiver on a local socket: what arrives there, and what each kind of answer means.

use bytes::Bytes;
use parking_lot::Mutex;
use sortie_contract::MissionId;
use sortie_contract::id::TraceId;
use sortie_egress::Secret;
use sortie_egress::webhook::signature;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::config::SecretConfig;

const NOW: &str = "2026-11-22T08:00:00Z";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// A receiver that reads one request after the other and answers each with the next of its lines; an empty one closes the
/// connection, and after the last it says nothing any more.
struct Receiver {
    port: u16,
    requests: Arc<Mutex<Vec<String>>>,
    connections: Arc<Mutex<usize>>,
}

impl Receiver {
    async fn start(answers: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (requests, connections) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<Mutex<usize>>::default());
        let mut answers: Vec<String> = answers.iter().rev().map(ToString::to_string).collect();
        let (seen, opened) = (Arc::clone(&requests), Arc::clone(&connections));
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                *opened.lock() += 1;
                while let Some(request) = read_request(&mut stream).await {
                    seen.lock().push(request);
                    let Some(answer) = answers.pop() else { std::future::pending().await };
                    if answer.is_empty() || stream.write_all(answer.as_bytes()).await.is_err() {
                        break;
                    }
                }
            }
        });
        Self { port, requests, connections }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/status?key=hidden", self.port)
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        if let Some(head) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
            let length =
                text.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
            if bytes.len() >= head + 4 + length {
                return Some(String::from_utf8_lossy(&bytes).into_owned());
            }
        }
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return None;
        }
    }
}

fn config() -> CallbackConfig {
    CallbackConfig {
        allow_private: vec!["127.0.0.1".to_owned()],
        timeout: Duration::from_secs(5),
        ..CallbackConfig::default()
    }
}

fn delivery(url: &str) -> Delivery {
    Delivery {
        item: 1,
        key: "vp-mission-1/1".to_owned(),
        method: Method::Post,
        url: url.parse().unwrap(),
        mission_id: MissionId::new("vp-mission-1").unwrap(),
        trace_id: TraceId::new("4bf92f3577b34da6a3ce929d0e0e4736").unwrap(),
        content_type: "application/json".to_owned(),
        body: Ok(Bytes::from_static(br#"{"sequence":1}"#)),
        secret: None,
        since: NOW.parse().unwrap(),
        attempts: 0,
    }
}

fn sender(config: &CallbackConfig) -> Sender {
    let ambient = Arc::new(sortie_ambient::System::new(tokio::runtime::Handle::current()));
    Sender::new(config, Arc::new(Http::new(config).unwrap()), ambient).unwrap()
}

async fn attempt(config: &CallbackConfig, delivery: &Delivery) -> Verdict {
    sender(config).attempt(delivery, NOW.parse().unwrap()).await
}

/// What answers mean. One client for all: setting one up reads the system's certificates, which takes its time.
async fn check(cases: impl IntoIterator<Item = (String, Verdict)>) {
    let http = sender(&config());
    for (answer, expected) in cases {
        let receiver = Receiver::start(&[&answer]).await;
        assert_eq!(http.attempt(&delivery(&receiver.url()), NOW.parse().unwrap()).await, expected, "{answer:?}");
    }
}

fn empty(status_and_headers: &str) -> String {
    format!("HTTP/1.1 {status_and_headers}\r\ncontent-length: 0\r\n\r\n")
}

fn hopeless(why: &str) -> Verdict {
    Verdict::Hopeless { why: why.to_owned(), health: Health::Answered }
}

fn not_asked(why: &str) -> Verdict {
    Verdict::Hopeless { why: why.to_owned(), health: Health::Unknown }
}

fn again(why: &str, seconds: Option<u64>) -> Verdict {
    again_of(why, seconds, Health::Answered)
}

fn again_of(why: &str, seconds: Option<u64>, health: Health) -> Verdict {
    Verdict::Failed { why: why.to_owned(), retry_after: seconds.map(Duration::from_secs), health }
}

#[tokio::test]
async fn a_delivery_counts_when_the_answer_is_2xx() {
    let statuses = ["200 OK", "201 Created", "202 Accepted", "204 No Content", "299 Whatever"];
    check(statuses.map(|status| (empty(status), Verdict::Delivered))).await;
    // Whatever the body is, and even where it never ends.
    let bodies = [
        "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nthe rest never comes".to_owned(),
        format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(1 << 20)),
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nnot a chunk\r\n".to_owned(),
    ];
    check(bodies.map(|answer| (answer, Verdict::Delivered))).await;
}

#[tokio::test]
async fn some_answers_are_worth_another_attempt() {
    let statuses = [408, 425, 429, 500, 502, 503, 504, 599];
    check(
        statuses
            .map(|status| (empty(&format!("{status} No")), again(&format!("the receiver answered {status}"), None))),
    )
    .await;
}

#[tokio::test]
async fn retry_after_is_taken_from_the_answers_that_are_repeated() {
    let headers = [("7", Some(7)), ("Sun, 22 Nov 2026 08:01:30 GMT", Some(90)), ("later", None)];
    check(headers.map(|(header, seconds)| {
        (empty(&format!("503 No\r\nretry-after: {header}")), again("the receiver answered 503", seconds))
    }))
    .await;
}

#[tokio::test]
async fn other_answers_are_final_and_redirects_are_not_followed() {
    let statuses = [400, 401, 403, 404, 409, 410, 422];
    check(
        statuses.map(|status| (empty(&format!("{status} No")), hopeless(&format!("the receiver answered {status}")))),
    )
    .await;
    let elsewhere = Receiver::start(&[OK]).await;
    let statuses = [301, 302, 303, 307, 308];
    check(statuses.map(|status| {
        let answer = empty(&format!("{status} Moved\r\nlocation: {}", elsewhere.url()));
        (answer, hopeless(&format!("the receiver answered {status}: redirects are not followed")))
    }))
    .await;
    assert!(elsewhere.requests.lock().is_empty());
}

#[tokio::test]
async fn garbage_and_broken_connections_are_worth_another_attempt() {
    for answer in ["garbage\r\n\r\n", "", "HTTP/1.1 200", "SSH-2.0-OpenSSH_9.6\r\n"] {
        let receiver = Receiver::start(&[answer, ""]).await;
        let config = CallbackConfig { timeout: Duration::from_millis(300), ..config() };
        let verdict = attempt(&config, &delivery(&receiver.url())).await;
        let Verdict::Failed { why, health: Health::Silent, .. } = verdict else { panic!("{answer:?}: {verdict:?}") };
        assert!(!why.contains("hidden"), "a query may be a secret: {why}");
    }
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let verdict = attempt(&config(), &delivery(&format!("http://{closed}/?key=hidden"))).await;
    let Verdict::Failed { why, .. } = verdict else { panic!("{verdict:?}") };
    assert!(why.starts_with("cannot connect") && !why.contains("hidden"), "{why}");
}

#[tokio::test]
async fn a_receiver_that_says_nothing_is_cut_off() {
    let receiver = Receiver::start(&[]).await;
    let config = CallbackConfig { timeout: Duration::from_millis(50), ..config() };
    let verdict = attempt(&config, &delivery(&receiver.url())).await;
    assert_eq!(verdict, again_of("no answer within 50ms", None, Health::Silent));
    assert_eq!(receiver.requests.lock().len(), 1);
}

#[tokio::test]
async fn the_headers_are_those_of_the_contract() {
    let receiver = Receiver::start(&[OK, OK]).await;
    assert_eq!(attempt(&config(), &delivery(&receiver.url())).await, Verdict::Delivered);
    let request = receiver.requests.lock()[0].clone();
    assert!(request.starts_with("POST /status?key=hidden HTTP/1.1\r\n"), "{request}");
    for line in [
        "idempotency-key: vp-mission-1/1",
        "x-mission-id: vp-mission-1",
        "x-trace-id: 4bf92f3577b34da6a3ce929d0e0e4736",
        "content-type: application/json",
        "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-",
    ] {
        assert!(request.contains(&format!("\r\n{line}")), "{line} is missing: {request}");
    }
    assert!(request.ends_with(r#"{"sequence":1}"#));
    for absent in ["authorization", "webhook-", "cookie", "referer"] {
        assert!(!request.contains(absent), "{absent}: {request}");
    }

    let upload = Delivery {
        method: Method::Put,
        key: "vp-mission-1/ä b.md".to_owned(),
        trace_id: TraceId::new("nightly wiki, 22. März").unwrap(),
        ..delivery(&receiver.url())
    };
    assert_eq!(attempt(&config(), &upload).await, Verdict::Delivered);
    let request = receiver.requests.lock()[1].clone();
    assert!(request.starts_with("PUT /status"));
    assert!(request.contains("\r\nidempotency-key: vp-mission-1/%C3%A4 b.md\r\n"), "{request}");
    assert!(
        request.contains("\r\nx-trace-id: nightly wiki, 22. M%C3%A4rz\r\n") && !request.contains("traceparent"),
        "{request}"
    );
}

/// A configuration with one secret in a file, allowed for `host`.
fn with_secret(folder: &tempfile::TempDir, value: &str, host: String) -> (CallbackConfig, SecretRef) {
    let path = folder.path().join("token");
    std::fs::write(&path, value).unwrap();
    let reference = format!("file://{}", path.display());
    let secret = vec![SecretConfig { reference: reference.clone(), hosts: vec![host] }];
    (CallbackConfig { secret, ..config() }, reference.parse().unwrap())
}

#[tokio::test]
async fn a_secret_is_sent_to_its_host_and_shows_up_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let (receiver, other) = (Receiver::start(&[OK]).await, Receiver::start(&[OK]).await);
    let (config, reference) = with_secret(&folder, "s3cr3t\n", format!("127.0.0.1:{}", receiver.port));
    let with = |receiver: &Receiver| Delivery { secret: Some(reference.clone()), ..delivery(&receiver.url()) };

    assert_eq!(attempt(&config, &with(&receiver)).await, Verdict::Delivered);
    assert!(receiver.requests.lock()[0].contains("\r\nauthorization: Bearer s3cr3t\r\n"));

    let verdict = attempt(&config, &with(&other)).await;
    assert!(
        matches!(&verdict, Verdict::Hopeless { why, .. } if why.contains("does not list this host")),
        "{verdict:?}"
    );
    assert!(other.requests.lock().is_empty(), "not even without the secret");

    let http = sender(&config);
    let headers = http.headers(&with(&receiver), b"{}", NOW.parse().unwrap()).await.unwrap();
    let printed = format!("{headers:?} {:?} {:?}", with(&receiver), http.secrets());
    assert!(!printed.contains("s3cr3t"), "{printed}");
}

#[tokio::test]
async fn a_secret_that_cannot_be_had_or_sent_is_waited_for_and_not_quoted() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(&[OK]).await;
    let (config, reference) = with_secret(&folder, "s3cr3t\nline", "127.0.0.1".to_owned());
    let delivery = Delivery { secret: Some(reference), ..delivery(&receiver.url()) };
    assert_eq!(
        attempt(&config, &delivery).await,
        again_of("the secret cannot be sent in a header", None, Health::Unknown)
    );
    std::fs::remove_file(folder.path().join("token")).unwrap();
    let verdict = attempt(&config, &delivery).await;
    assert!(
        matches!(&verdict, Verdict::Failed { why, .. } if why.contains("cannot be read: No such file")),
        "{verdict:?}"
    );
    std::fs::write(folder.path().join("token"), "there now").unwrap();
    assert_eq!(attempt(&config, &delivery).await, Verdict::Delivered);
}

#[tokio::test]
async fn deliveries_are_signed_where_a_signing_secret_is_configured() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(&[OK]).await;
    let (mut config, reference) =
        with_secret(&folder, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "127.0.0.1".to_owned());
    config.signing_secret = Some(reference.to_string());
    assert_eq!(attempt(&config, &delivery(&receiver.url())).await, Verdict::Delivered);
    let request = receiver.requests.lock()[0].clone();
    let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned());
    let signature = signature(&secret, "vp-mission-1/1", 1_795_334_400, br#"{"sequence":1}"#).unwrap();
    for line in
        ["webhook-id: vp-mission-1/1", "webhook-timestamp: 1795334400", &format!("webhook-signature: {signature}")]
    {
        assert!(request.contains(&format!("\r\n{line}\r\n")), "{line} is missing: {request}");
    }
    assert!(!request.contains("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"));
}

#[tokio::test]
async fn what_is_signed_is_the_id_that_the_receiver_reads() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(&[OK]).await;
    let (mut config, reference) = with_secret(&folder, "a plain key", "127.0.0.1".to_owned());
    config.signing_secret = Some(reference.to_string());
    let named = Delivery { key: "m/artifacts/Bericht für Zoë 日.md/3".to_owned(), ..delivery(&receiver.url()) };
    assert_eq!(attempt(&config, &named).await, Verdict::Delivered);
    let request = receiver.requests.lock()[0].clone();
    let head = request.split("\r\n\r\n").next().unwrap();
    assert!(head.is_ascii(), "{head}");
    let read = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap();
    assert_eq!(read("webhook-id"), read("idempotency-key"));
    let key = Secret::new("a plain key".to_owned());
    let signature = signature(&key, read("webhook-id"), 1_795_334_400, br#"{"sequence":1}"#).unwrap();
    assert_eq!(read("webhook-signature"), signature);
}

#[tokio::test]
async fn private_addresses_are_refused_before_a_connection_is_made() {
    let receiver = Receiver::start(&[OK]).await;
    let closed = CallbackConfig { allow_private: Vec::new(), ..config() };
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433"] {
        let url = format!("http://{host}:{}/", receiver.port);
        let verdict = attempt(&closed, &delivery(&url)).await;
        let Verdict::Hopeless { why, health: Health::Unknown } = verdict else { panic!("{host}: {verdict:?}") };
        assert!(why.contains("[callback] allow_private"), "{why}");
    }
    assert_eq!(*receiver.connections.lock(), 0);
    let url = format!("http://localhost:{}/", receiver.port);
    assert_eq!(attempt(&config(), &delivery(&url)).await, Verdict::Delivered, "the name resolves to a listed address");
}

#[tokio::test]
async fn what_has_no_body_any_more_is_hopeless_and_nothing_is_sent() {
    let receiver = Receiver::start(&[OK]).await;
    let lost = Delivery { body: Err("the artifact is gone".to_owned()), ..delivery(&receiver.url()) };
    assert_eq!(attempt(&config(), &lost).await, not_asked("the artifact is gone"));
    assert_eq!(*receiver.connections.lock(), 0);
}

#[tokio::test]
async fn connections_are_used_again() {
    let receiver = Receiver::start(&[OK; 10]).await;
    let http = sender(&config());
    for _ in 0..10 {
        assert_eq!(http.attempt(&delivery(&receiver.url()), NOW.parse().unwrap()).await, Verdict::Delivered);
    }
    assert_eq!(*receiver.connections.lock(), 1);
}
