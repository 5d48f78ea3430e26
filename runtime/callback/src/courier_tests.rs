//! The courier with receivers and a clock that the tests control.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use bytes::Bytes;
use sortie_ambient::{Abort, Ambient, BoxFuture};
use sortie_contract::MissionId;
use sortie_contract::id::TraceId;
use sortie_egress::{Request, SendError, StatusCode};
use tokio::time::Instant;

use super::*;
use crate::config::SecretConfig;
use crate::outbox::Method;
use crate::send::Reply;

const START: &str = "2026-11-22T08:00:00Z";

/// A mission's outgoing items, as the journal would know them.
#[derive(Debug, Clone, Default)]
struct Cursor {
    host: String,
    items: u64,
    acked: u64,
    attempts: u32,
    parked: Option<String>,
}

/// An outbox in memory. `failing` calls of it fail before the next succeeds.
#[derive(Default)]
struct Memory {
    boxes: Mutex<BTreeMap<MissionNo, Cursor>>,
    failing: Mutex<u32>,
    moved: Notify,
}

impl Memory {
    fn put(&self, mission: u64, host: &str, items: u64) {
        let fresh = Cursor { host: host.to_owned(), items, ..Cursor::default() };
        self.boxes.lock().insert(MissionNo(mission), fresh);
    }

    fn get(&self, mission: u64) -> Cursor {
        self.boxes.lock()[&MissionNo(mission)].clone()
    }

    fn change(&self, mission: MissionNo, change: impl FnOnce(&mut Cursor)) -> Result<(), OutboxError> {
        self.trouble()?;
        change(self.boxes.lock().get_mut(&mission).unwrap());
        self.moved.notify_one();
        Ok(())
    }

    fn trouble(&self) -> Result<(), OutboxError> {
        let mut failing = self.failing.lock();
        match failing.checked_sub(1) {
            Some(left) => {
                *failing = left;
                Err(OutboxError::new("the disk is full"))
            }
            None => Ok(()),
        }
    }

    /// Waits until `done` holds; the paused clock runs ahead meanwhile.
    async fn until(&self, done: impl Fn(&BTreeMap<MissionNo, Cursor>) -> bool) {
        let moving = async {
            while !done(&self.boxes.lock()) {
                self.moved.notified().await;
            }
        };
        // A month of the paused clock: what has not happened by then never will.
        let month = Duration::from_secs(30 * 24 * 60 * 60);
        assert!(tokio::time::timeout(month, moving).await.is_ok(), "still not: {:?}", self.boxes.lock());
    }

    async fn until_delivered(&self, mission: u64, items: u64) {
        self.until(|boxes| boxes[&MissionNo(mission)].acked >= items).await;
    }

    async fn until_parked(&self, mission: u64) {
        self.until(|boxes| boxes[&MissionNo(mission)].parked.is_some()).await;
    }
}

#[async_trait]
impl Outbox for Memory {
    async fn next(&self, mission: MissionNo) -> Result<Option<Delivery>, OutboxError> {
        self.trouble()?;
        let found = self.boxes.lock()[&mission].clone();
        if found.parked.is_some() || found.acked >= found.items {
            return Ok(None);
        }
        Ok(Some(Delivery {
            item: found.acked + 1,
            key: format!("m-{mission}/{}", found.acked + 1),
            method: Method::Post,
            url: format!("http://{}/", found.host).parse().unwrap(),
            mission_id: MissionId::new(format!("m-{mission}")).unwrap(),
            trace_id: TraceId::new("t").unwrap(),
            content_type: "application/json".to_owned(),
            body: Ok(Bytes::from_static(b"{}")),
            secret: None,
            since: START.parse().unwrap(),
            attempts: found.attempts,
        }))
    }

    async fn delivered(&self, mission: MissionNo, item: u64) -> Result<(), OutboxError> {
        self.change(mission, |found| (found.acked, found.attempts) = (item, 0))
    }

    async fn attempted(&self, mission: MissionNo, _item: u64, attempts: u32, _: &Retry) -> Result<(), OutboxError> {
        self.change(mission, |found| found.attempts = attempts)
    }

    async fn parked(&self, mission: MissionNo, _item: u64, attempts: u32, why: String) -> Result<(), OutboxError> {
        self.change(mission, |found| (found.parked, found.attempts) = (Some(why), attempts))
    }
}

/// What a receiver does with an attempt: how long it takes, and what it says.
type Behaviour = Box<dyn Fn(&Attempt) -> (Duration, Said) + Send + Sync>;

type Said = Result<Reply, SendError>;

/// What a receiver sees of a request.
struct Attempt {
    host: String,
    mission: String,
    key: String,
}

impl Attempt {
    fn of(request: &Request) -> Self {
        let header = |name: &str| request.headers[name].to_str().unwrap().to_owned();
        let host = request.url.host_str().unwrap().to_owned();
        Self { host, mission: header("x-mission-id"), key: header("idempotency-key") }
    }
}

/// One attempt, as a receiver saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    key: String,
    at: Duration,
}

struct Receivers {
    behaviour: Behaviour,
    origin: Instant,
    seen: Mutex<Vec<Seen>>,
    in_flight: Mutex<HashMap<String, usize>>,
}

impl Receivers {
    fn keys(&self) -> Vec<String> {
        self.seen.lock().iter().map(|seen| seen.key.clone()).collect()
    }
}

#[async_trait]
impl Transport for Receivers {
    async fn exchange(&self, request: Request) -> Said {
        let attempt = Attempt::of(&request);
        self.seen.lock().push(Seen { key: attempt.key.clone(), at: self.origin.elapsed() });
        let together = {
            let mut in_flight = self.in_flight.lock();
            let count = in_flight.entry(attempt.mission.clone()).or_default();
            *count += 1;
            *count
        };
        assert_eq!(together, 1, "two attempts of one mission");
        // Also where nobody waits for the answer any more.
        let _gone = Gone(self, attempt.mission.clone());
        let (latency, said) = (self.behaviour)(&attempt);
        tokio::time::sleep(latency).await;
        said
    }
}

struct Gone<'a>(&'a Receivers, String);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.0.in_flight.lock().remove(&self.1);
    }
}

/// Tokio's paused clock, and numbers that are the same in each run of a test.
struct Paused {
    origin: Instant,
    drawn: AtomicU64,
}

impl Ambient for Paused {
    fn wall(&self) -> Timestamp {
        START.parse::<Timestamp>().unwrap() + self.steady()
    }

    fn steady(&self) -> Duration {
        self.origin.elapsed()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }

    fn spawn_boxed(&self, task: BoxFuture<'static, ()>) -> Abort {
        let handle = tokio::spawn(task).abort_handle();
        Abort::new(move || handle.abort())
    }

    fn unblock_boxed(&self, work: Box<dyn FnOnce() + Send>) {
        work();
    }

    fn pause(&self, _: Duration) {
        unreachable!("a courier blocks no thread");
    }

    fn chance(&self) -> f64 {
        // The fractional parts of the multiples of the golden ratio are spread evenly.
        let drawn = u32::try_from(self.drawn.fetch_add(1, Relaxed)).unwrap();
        (f64::from(drawn) * 0.618_033_988_749_895).fract()
    }
}

struct Bench {
    outbox: Arc<Memory>,
    receivers: Arc<Receivers>,
    shared: Arc<Shared>,
}

/// A courier that runs, with `behaviour` for receivers. Its wall clock goes with tokio's.
fn start(config: &CallbackConfig, behaviour: impl Fn(&Attempt) -> (Duration, Said) + Send + Sync + 'static) -> Bench {
    let outbox = Arc::new(Memory::default());
    let origin = Instant::now();
    let receivers = Arc::new(Receivers {
        behaviour: Box::new(behaviour),
        origin,
        seen: Mutex::default(),
        in_flight: Mutex::default(),
    });
    let ambient: Surroundings = Arc::new(Paused { origin, drawn: AtomicU64::new(0) });
    let (door, transport) = (Arc::clone(&outbox) as Arc<dyn Outbox>, Arc::clone(&receivers) as Arc<dyn Transport>);
    let sender = Sender::new(config, transport, Arc::clone(&ambient)).unwrap();
    let shared = Arc::new(Shared::new(config, door, sender, ambient));
    let running = Arc::clone(&shared);
    tokio::spawn(async move { running.run(std::future::pending()).await });
    Bench { outbox, receivers, shared }
}

impl Bench {
    fn wake(&self, mission: u64) {
        if self.shared.board.lock().wake(MissionNo(mission)) {
            self.shared.news.notify_one();
        }
    }
}

fn reply(status: u16, retry_after: Option<u64>) -> Said {
    let retry_after = retry_after.map(|seconds| seconds.to_string());
    Ok(Reply { status: StatusCode::from_u16(status).unwrap(), retry_after })
}

fn taken() -> Said {
    reply(200, None)
}

fn failed(seconds: Option<u64>) -> Said {
    reply(503, seconds)
}

fn silent() -> Said {
    Err(SendError::Connect("nobody is there".to_owned()))
}

fn hopeless() -> Said {
    reply(400, None)
}

const AT_ONCE: Duration = Duration::ZERO;

#[tokio::test(start_paused = true)]
async fn a_missions_items_arrive_in_order_and_once_where_the_receiver_is_well() {
    let bench = start(&CallbackConfig::default(), |_| (Duration::from_millis(10), taken()));
    for mission in 1..=50 {
        bench.outbox.put(mission, "a.example", 5);
        bench.wake(mission);
        bench.wake(mission);
    }
    bench.outbox.until(|boxes| boxes.values().all(|found| found.acked == 5)).await;
    for mission in 1..=50 {
        let keys = bench.receivers.keys();
        let own: Vec<_> = keys.iter().filter(|key| key.starts_with(&format!("m-{mission}/"))).collect();
        let expected: Vec<_> = (1..=5).map(|item| format!("m-{mission}/{item}")).collect();
        assert_eq!(own, expected.iter().collect::<Vec<_>>());
    }
    assert_eq!(bench.shared.counters.delivered(), 250);
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_repeated_under_the_same_key_before_anything_later() {
    let failures = Mutex::new(3_u32);
    let bench = start(&CallbackConfig::default(), move |_| {
        let mut failures = failures.lock();
        let verdict = if *failures > 0 { failed(None) } else { taken() };
        *failures = failures.saturating_sub(1);
        (AT_ONCE, verdict)
    });
    bench.outbox.put(1, "a.example", 2);
    bench.wake(1);
    bench.outbox.until_delivered(1, 2).await;
    assert_eq!(bench.receivers.keys(), ["m-1/1", "m-1/1", "m-1/1", "m-1/1", "m-1/2"]);
    assert_eq!(bench.shared.counters.retried(), 3);
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_honoured_and_news_do_not_shorten_it() {
    let first = Mutex::new(true);
    let bench = start(&CallbackConfig::default(), move |_| {
        let verdict = if std::mem::take(&mut *first.lock()) { failed(Some(120)) } else { taken() };
        (AT_ONCE, verdict)
    });
    bench.outbox.put(1, "a.example", 1);
    bench.wake(1);
    bench.outbox.until(|boxes| boxes[&MissionNo(1)].attempts == 1).await;
    bench.wake(1);
    bench.outbox.until_delivered(1, 1).await;
    let waited = bench.receivers.seen.lock()[1].at;
    assert!((120..=122).contains(&waited.as_secs()), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn an_item_is_parked_after_its_attempts_and_holds_the_later_ones() {
    let config = CallbackConfig { attempts: 4, ..CallbackConfig::default() };
    let bench = start(&config, |_| (AT_ONCE, failed(None)));
    bench.outbox.put(1, "a.example", 2);
    bench.wake(1);
    bench.outbox.until_parked(1).await;
    bench.wake(1);
    tokio::time::advance(Duration::from_secs(100_000)).await;
    assert_eq!(bench.receivers.keys(), ["m-1/1"; 4]);
    assert_eq!(bench.outbox.get(1).parked.unwrap(), "the receiver answered 503; given up after 4 attempts");
    assert_eq!(bench.outbox.get(1).attempts, 4);
    assert_eq!((bench.shared.counters.parked(), bench.shared.board.lock().len()), (1, 0));
    let failures: Vec<_> = bench.shared.counters.failures().map(|failed| (failed.kind, failed.count)).collect();
    assert_eq!(failures, [("refused", 4), ("unanswered", 0), ("unsent", 0)]);
    assert!(bench.shared.counters.failures().all(|failed| (failed.last > 0) == (failed.count > 0)));
}

#[tokio::test(start_paused = true)]
async fn an_item_is_parked_when_its_time_is_over() {
    let config = CallbackConfig { attempts: 1_000, max_age: Duration::from_secs(100), ..CallbackConfig::default() };
    let bench = start(&config, |_| (AT_ONCE, failed(None)));
    bench.outbox.put(1, "a.example", 1);
    bench.wake(1);
    bench.outbox.until_parked(1).await;
    let last = bench.receivers.seen.lock().last().unwrap().at;
    assert!((100..=101).contains(&last.as_secs()), "the last attempt is when the time is over: {last:?}");
    assert_eq!(bench.outbox.get(1).parked.unwrap(), "the receiver answered 503; given up after 100s");
}

#[tokio::test(start_paused = true)]
async fn what_is_hopeless_is_parked_at_once_and_goes_on_when_the_operator_says_so() {
    let mended = Arc::new(Mutex::new(false));
    let answer = Arc::clone(&mended);
    let bench =
        start(&CallbackConfig::default(), move |_| (AT_ONCE, if *answer.lock() { taken() } else { hopeless() }));
    bench.outbox.put(1, "a.example", 3);
    bench.wake(1);
    bench.outbox.until_parked(1).await;
    assert_eq!(bench.receivers.keys(), ["m-1/1"]);
    assert_eq!(bench.outbox.get(1).attempts, 1);
    // Redelivered: still hopeless.
    bench.outbox.change(MissionNo(1), |found| found.parked = None).unwrap();
    bench.wake(1);
    bench.outbox.until_parked(1).await;
    assert_eq!(bench.receivers.keys(), ["m-1/1"; 2]);
    // Skipped: the later ones go.
    *mended.lock() = true;
    bench.outbox.change(MissionNo(1), |found| (found.parked, found.acked) = (None, 1)).unwrap();
    bench.wake(1);
    bench.outbox.until_delivered(1, 3).await;
    assert_eq!(bench.receivers.keys()[2..], ["m-1/2", "m-1/3"]);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_missions_with_a_dead_receiver_slow_nobody_down() {
    let bench = start(&CallbackConfig::default(), |attempt| match attempt.host.as_str() {
        "well.example" => (Duration::from_millis(5), taken()),
        _ => (Duration::from_secs(15), silent()),
    });
    for mission in 1..=10_000 {
        bench.outbox.put(mission, &format!("dead-{}.example", mission % 100), 3);
        bench.wake(mission);
    }
    // Long enough for every dead receiver to be known as one, however the places were taken at first.
    tokio::time::sleep(Duration::from_secs(300)).await;
    let before = Instant::now();
    for mission in 20_001..=20_100 {
        bench.outbox.put(mission, "well.example", 3);
        bench.wake(mission);
    }
    bench.outbox.until(|boxes| boxes.range(MissionNo(20_001)..).all(|(_, found)| found.acked == 3)).await;
    assert!(before.elapsed() < Duration::from_millis(200), "{:?}", before.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_dead_receiver_slows_nobody_down_from_the_first_moment() {
    let bench = start(&CallbackConfig::default(), |attempt| match attempt.host.as_str() {
        "well.example" => (Duration::from_millis(5), taken()),
        _ => (Duration::from_secs(15), silent()),
    });
    let before = Instant::now();
    for mission in 1..=1_000 {
        bench.outbox.put(mission, "dead.example", 3);
        bench.wake(mission);
    }
    bench.outbox.put(2_000, "well.example", 3);
    bench.wake(2_000);
    bench.outbox.until_delivered(2_000, 3).await;
    assert!(before.elapsed() < Duration::from_millis(100), "{:?}", before.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_refuses_some_missions_serves_the_others_at_once() {
    let bench = start(&CallbackConfig::default(), |attempt| match attempt.mission.as_str() {
        "m-2000" => (Duration::from_millis(5), taken()),
        _ => (Duration::from_secs(1), failed(None)),
    });
    for mission in 1..=20 {
        bench.outbox.put(mission, "a.example", 3);
        bench.wake(mission);
    }
    // Some rest, some are in flight.
    tokio::time::sleep(Duration::from_millis(5_500)).await;
    let before = Instant::now();
    bench.outbox.put(2_000, "a.example", 3);
    bench.wake(2_000);
    bench.outbox.until_delivered(2_000, 3).await;
    assert!(before.elapsed() < Duration::from_millis(100), "{:?}", before.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_failing_outbox_is_asked_again_and_nothing_is_sent_twice_for_it() {
    let bench = start(&CallbackConfig::default(), |_| (AT_ONCE, taken()));
    bench.outbox.put(1, "a.example", 2);
    *bench.outbox.failing.lock() = 3;
    bench.wake(1);
    bench.outbox.until_delivered(1, 2).await;
    assert_eq!(bench.receivers.keys(), ["m-1/1", "m-1/2"]);
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_cannot_be_recorded_is_not_passed_over() {
    let shared: Arc<Mutex<Option<Arc<Memory>>>> = Arc::default();
    let failing = Arc::clone(&shared);
    // Every recording fails five times, from the moment the receiver answers.
    let bench = start(&CallbackConfig::default(), move |_| {
        *failing.lock().as_ref().unwrap().failing.lock() = 5;
        (AT_ONCE, taken())
    });
    *shared.lock() = Some(Arc::clone(&bench.outbox));
    bench.outbox.put(1, "a.example", 2);
    bench.wake(1);
    bench.outbox.until_delivered(1, 2).await;
    assert_eq!(bench.receivers.keys(), ["m-1/1", "m-1/2"]);
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_panics_is_given_back() {
    let first = Mutex::new(true);
    let bench = start(&CallbackConfig::default(), move |_| {
        assert!(!std::mem::take(&mut *first.lock()), "on purpose");
        (AT_ONCE, taken())
    });
    bench.outbox.put(1, "a.example", 1);
    bench.wake(1);
    bench.outbox.until_delivered(1, 1).await;
    assert_eq!(bench.receivers.keys(), ["m-1/1"; 2]);
}

#[tokio::test(start_paused = true)]
async fn attempts_in_flight_get_a_moment_when_the_courier_stops() {
    let bench = start(&CallbackConfig::default(), |attempt| match attempt.host.as_str() {
        "slow.example" => (Duration::from_secs(60), taken()),
        _ => (Duration::from_secs(1), taken()),
    });
    bench.outbox.put(1, "quick.example", 2);
    bench.outbox.put(2, "slow.example", 2);
    bench.wake(1);
    bench.wake(2);
    tokio::time::sleep(Duration::from_millis(1)).await;
    let before = Instant::now();
    bench.shared.stop().await;
    assert!(before.elapsed() <= STOP_DELIVERIES + Duration::from_millis(10), "{:?}", before.elapsed());
    assert_eq!(
        (bench.outbox.get(1).acked, bench.outbox.get(2).acked),
        (1, 0),
        "the first was recorded, no other begun"
    );
    bench.shared.stop().await;
}

/// A courier that nobody runs.
fn courier(config: &CallbackConfig) -> Courier {
    let http = Arc::new(crate::Http::new(config).unwrap());
    let ambient = Arc::new(sortie_ambient::System::new(tokio::runtime::Handle::current()));
    Courier::new(config, Arc::new(Memory::default()), http, ambient).unwrap()
}

#[tokio::test]
async fn a_courier_that_never_ran_stops_at_once() {
    let courier = courier(&CallbackConfig::default());
    courier.stop().await;
    courier.run(std::future::pending()).await;
}

#[tokio::test]
async fn whoever_asks_is_told_what_the_configuration_lets_out() {
    let secret = vec![SecretConfig {
        reference: "env://TOKEN".to_owned(),
        hosts: ["127.0.0.1:9000", "hq.example"].map(str::to_owned).to_vec(),
    }];
    let config = CallbackConfig { allow_private: vec!["127.0.0.1".to_owned()], secret, ..CallbackConfig::default() };
    let courier = courier(&config);
    let url = |text: &str| text.parse::<Url>().unwrap();
    for (text, reached) in [
        ("http://127.0.0.1:9000/status", true),
        ("https://example.org/", true),
        ("http://10.0.0.1/", false),
        ("http://169.254.169.254/", false),
    ] {
        assert_eq!(courier.reaches(&url(text)).is_ok(), reached, "{text}");
    }
    for (text, secret, expected) in [
        ("http://127.0.0.1:9000/status", "env://TOKEN", Ok(())),
        ("https://hq.example/", "env://TOKEN", Ok(())),
        ("http://127.0.0.1:9001/status", "env://TOKEN", Err(NotSent::OtherHost)),
        ("http://hq.example/", "env://TOKEN", Err(NotSent::Plain)),
        ("http://127.0.0.1:9000/status", "env://HOME", Err(NotSent::Unlisted)),
    ] {
        assert_eq!(courier.may_send(&secret.parse().unwrap(), &url(text)), expected, "{text} {secret}");
    }
}
