//! The tasks, over a source in memory and receivers on this machine.

use std::future::ready;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use sortie_ambient::System;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::news::About;

/// A node of which a test says what happens.
struct Made {
    position: watch::Sender<u64>,
    news: Mutex<Vec<(u64, LaneId, News)>>,
    missed: Mutex<Vec<(Timestamp, String, u64, Item)>>,
    mark: AtomicU64,
    /// The next read breaks off.
    panics: AtomicBool,
}

impl Made {
    fn new() -> Arc<Self> {
        let (news, missed, mark, panics) = Default::default();
        Arc::new(Self { position: watch::Sender::new(0), news, missed, mark, panics })
    }

    fn fail(&self, mission: &str) {
        let position = *self.position.borrow() + 1;
        let then = Some(item(About::Mission(mission.to_owned())));
        let lane = LaneId::new("a").expect("an id");
        self.news.lock().push((position, lane, News::Over { mission: mission.to_owned(), then }));
        self.position.send_replace(position);
    }
}

fn item(about: About) -> Item {
    Item { at: now(), about, text: "x".to_owned(), wanted: None }
}

fn now() -> Timestamp {
    ambient().wall()
}

fn ambient() -> Surroundings {
    Arc::new(System::new(tokio::runtime::Handle::current()))
}

impl Source for Made {
    fn follow(&self) -> watch::Receiver<u64> {
        self.position.subscribe()
    }

    fn after(&self, position: u64) -> Result<Step, SourceError> {
        assert!(!self.panics.swap(false, SeqCst), "on purpose");
        let news: Vec<_> = self.news.lock().iter().filter(|(at, ..)| *at > position).cloned().collect();
        Ok(Step { position: *self.position.borrow(), more: false, news })
    }

    fn missed(&self, since: Timestamp) -> Result<Vec<(Timestamp, String, u64, Item)>, SourceError> {
        Ok(self.missed.lock().iter().filter(|(at, ..)| *at >= since).cloned().collect())
    }

    fn missed_mark(&self) -> u64 {
        self.mark.load(SeqCst)
    }

    fn night(&self) -> Result<(String, Vec<Item>), SourceError> {
        Ok(("Night of x: all well.".to_owned(), Vec::new()))
    }

    fn next(&self, _: Time, after: Timestamp) -> Timestamp {
        after + jiff::SignedDuration::from_hours(24)
    }

    fn local(&self, at: Timestamp) -> String {
        at.strftime("%H:%M").to_string()
    }
}

/// Where webhooks go: what came, and whether it is answered.
struct Sink {
    url: String,
    came: Arc<Mutex<Vec<String>>>,
}

impl Sink {
    /// Answers with this status; without one, never.
    async fn start(status: Option<u16>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/hook", listener.local_addr().expect("bound"));
        let came: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = Arc::clone(&came);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let log = Arc::clone(&log);
                tokio::spawn(async move {
                    let mut request = Vec::new();
                    let mut piece = [0; 4_096];
                    // Whole once its length is there.
                    while !is_whole(&request) {
                        match stream.read(&mut piece).await {
                            Ok(0) | Err(_) => return,
                            Ok(read) => request.extend_from_slice(&piece[..read]),
                        }
                    }
                    log.lock().push(String::from_utf8_lossy(&request).into_owned());
                    let Some(status) = status else { return std::future::pending().await };
                    let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                    let _ = stream.write_all(answer.as_bytes()).await;
                });
            }
        });
        Self { url, came }
    }

    fn came(&self) -> usize {
        self.came.lock().len()
    }
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    body.len() >= length.unwrap_or_default()
}

fn channel(name: &str, url: &str) -> NotifyConfig {
    let text = format!(
        "name = {name:?}\non = [\"failed\", \"missed\"]\nurl = {url:?}\nallow_private = [\"127.0.0.1\"]\ngroup = \"1s\"\ntimeout = \"60s\""
    );
    toml::from_str(&text).expect("a channel")
}

fn notifier(folder: &std::path::Path, channels: &[NotifyConfig]) -> Arc<Notifier> {
    let setup = Setup {
        channels,
        node: "factory-1".to_owned(),
        public_url: None,
        folder: folder.to_owned(),
        secrets: Arc::new(NamedSecrets::new([]).expect("none")),
        key: Key::new([0; 32]),
    };
    Arc::new(Notifier::new(setup, ambient()).expect("channels"))
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let held = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), held).await.unwrap_or_else(|_| panic!("waited in vain: {what}"));
}

#[tokio::test]
async fn a_channel_that_hangs_holds_no_other_back() {
    let dir = tempfile::tempdir().expect("a folder");
    let (well, hangs) = (Sink::start(Some(200)).await, Sink::start(None).await);
    let made = Made::new();
    made.fail("before");
    let notifier = notifier(dir.path(), &[channel("hangs", &hangs.url), channel("well", &well.url)]);
    let running = tokio::spawn(Arc::clone(&notifier).run(Arc::clone(&made) as Arc<dyn Source>, ready(())));
    until("the places are known", || store::last_of(dir.path(), "well").is_ok_and(|found| found.is_some())).await;
    for round in 1..=3 {
        made.fail(&format!("m-{round}"));
        until("the well one is told", || well.came() == round).await;
    }
    assert_eq!(hangs.came(), 1, "its first message is still on its way");
    let said = well.came.lock().join("\n");
    assert!(
        said.contains("m-1") && said.contains("m-3") && !said.contains("before"),
        "a new channel begins now: {said}"
    );
    let view = |name: &str| notifier.views().into_iter().find(|view| view.name == name).expect("there");
    assert_eq!((view("hangs").owed, view("well").owed, view("well").sent), (3, 0, 3));
    running.abort();
}

#[tokio::test]
async fn what_was_not_struck_off_is_sent_again_by_the_next_start() {
    let dir = tempfile::tempdir().expect("a folder");
    let (hangs, made) = (Sink::start(None).await, Made::new());
    let first = notifier(dir.path(), &[channel("a", &hangs.url)]);
    let running = tokio::spawn(Arc::clone(&first).run(Arc::clone(&made) as Arc<dyn Source>, ready(())));
    until("the place is known", || store::last_of(dir.path(), "a").is_ok_and(|found| found.is_some())).await;
    made.fail("m-1");
    until("it is being sent", || hangs.came() == 1).await;
    // As a kill does: the receiver has it, and the ledger does not know.
    running.abort();
    let well = Sink::start(Some(200)).await;
    let second = notifier(dir.path(), &[channel("a", &well.url)]);
    let running = tokio::spawn(Arc::clone(&second).run(Arc::clone(&made) as Arc<dyn Source>, ready(())));
    until("it is sent again", || well.came() == 1).await;
    assert!(well.came.lock()[0].contains("m-1"));
    until("and struck off", || {
        store::last_of(dir.path(), "a").is_ok_and(|found| found.is_some_and(|ledger| ledger.owed() == 0))
    })
    .await;
    running.abort();
    let third = notifier(dir.path(), &[channel("a", &well.url)]);
    let running = tokio::spawn(Arc::clone(&third).run(Arc::clone(&made) as Arc<dyn Source>, ready(())));
    made.fail("m-2");
    until("the next one is told", || well.came() == 2).await;
    assert!(!well.came.lock()[1].contains("m-1"), "and nothing twice");
    running.abort();
}

#[tokio::test]
async fn a_disk_that_takes_nothing_keeps_nobody_from_being_told() {
    let dir = tempfile::tempdir().expect("a folder");
    // A file where the folder would be: nothing can be put down.
    let folder = dir.path().join("notify");
    std::fs::write(&folder, "").expect("written");
    let (well, made) = (Sink::start(Some(200)).await, Made::new());
    let notifier = notifier(&folder, &[channel("a", &well.url)]);
    let running = tokio::spawn(Arc::clone(&notifier).run(Arc::clone(&made) as Arc<dyn Source>, ready(())));
    until("it is begun", || notifier.channels[0].ledger.lock().is_some()).await;
    made.fail("m-1");
    until("told", || well.came() == 1).await;
    running.abort();
}

#[tokio::test]
async fn a_time_that_was_missed_is_told_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let (well, made) = (Sink::start(Some(200)).await, Made::new());
    let notifier = notifier(dir.path(), &[channel("a", &well.url)]);
    let missed = |number: u64| (now(), "nightly".to_owned(), number, item(About::Schedule("nightly".to_owned())));
    let running = tokio::spawn(Arc::clone(&notifier).run(Arc::clone(&made) as Arc<dyn Source>, ready(())));
    until("it is begun", || notifier.channels[0].ledger.lock().is_some()).await;
    for number in 1..=2 {
        made.missed.lock().push(missed(number));
        made.mark.fetch_add(1, SeqCst);
        made.position.send_modify(|position| *position += 1);
        until("told", || notifier.views()[0].sent == number).await;
    }
    let came = well.came.lock().clone();
    assert!(came.len() == 2 && came.iter().all(|message| message.contains("factory-1: 1 missed")), "{came:#?}");
    running.abort();
}

#[tokio::test]
async fn what_a_channel_answers_says_what_to_do() {
    let dir = tempfile::tempdir().expect("a folder");
    let refuses = Sink::start(Some(404)).await;
    let mut closed = channel("closed", &refuses.url);
    closed.allow_private.clear();
    let notifier = notifier(dir.path(), &[channel("refuses", &refuses.url), closed]);
    let failed = |why: &str| Err(TestError::Failed(why.to_owned()));
    assert_eq!(notifier.test("refuses").await, failed("the receiver answered 404"));
    assert_eq!(notifier.test("gone").await, Err(TestError::Unknown));
    let told = notifier.test("closed").await.expect_err("it is inside").to_string();
    assert!(told.contains("[[notify]] allow_private"), "{told}");
    assert_eq!(refuses.came(), 1, "nothing went where it may not");
}

#[tokio::test]
async fn nobody_is_told_before_that_may_begin_and_then_all_since() {
    let dir = tempfile::tempdir().expect("a folder");
    let (well, made) = (Sink::start(Some(200)).await, Made::new());
    let notifier = notifier(dir.path(), &[channel("a", &well.url)]);
    let (begin, begins) = tokio::sync::oneshot::channel::<()>();
    let may_begin = async move { drop(begins.await) };
    let running = tokio::spawn(Arc::clone(&notifier).run(Arc::clone(&made) as Arc<dyn Source>, may_begin));
    until("the place is known", || store::last_of(dir.path(), "a").is_ok_and(|found| found.is_some())).await;
    made.fail("m-1");
    // By then it would have been taken up, if anybody read.
    let clock = ambient();
    until("twice the time passes in which it is gathered", || clock.steady() > GATHER * 2).await;
    assert_eq!((well.came(), notifier.views()[0].owed), (0, 0));
    begin.send(()).expect("it waits");
    until("it is told", || well.came() == 1).await;
    assert!(well.came.lock()[0].contains("m-1"));
    running.abort();
}

#[tokio::test]
async fn a_channel_that_is_to_be_told_of_missed_times_later_is_not_told_of_earlier_ones() {
    let dir = tempfile::tempdir().expect("a folder");
    let (well, made) = (Sink::start(Some(200)).await, Made::new());
    // Months ago.
    let kept = r#"{"position": 0, "fires_until": "2026-01-01T00:00:00Z"}"#;
    std::fs::write(store::place(dir.path(), "a"), kept).expect("written");
    let about = item(About::Schedule("nightly".to_owned()));
    let at = "2026-02-01T00:00:00Z".parse().expect("a time");
    made.missed.lock().push((at, "nightly".to_owned(), 1, about));
    let mut unwilling = channel("a", &well.url);
    unwilling.on = vec![Kind::Failed];
    let first = notifier(dir.path(), &[unwilling]);
    let running = tokio::spawn(Arc::clone(&first).run(Arc::clone(&made) as Arc<dyn Source>, ready(())));
    made.fail("m-1");
    until("its place has moved", || {
        let moved = |ledger: Ledger| ledger.fires_until.is_some_and(|until| until > at) && ledger.owed() == 0;
        store::last_of(dir.path(), "a").is_ok_and(|found| found.is_some_and(moved))
    })
    .await;
    running.abort();
    let second = notifier(dir.path(), &[channel("a", &well.url)]);
    let running = tokio::spawn(Arc::clone(&second).run(Arc::clone(&made) as Arc<dyn Source>, ready(())));
    made.fail("m-2");
    until("the next is told", || well.came() == 2).await;
    let came = well.came.lock().clone();
    assert!(came.iter().all(|message| !message.contains("missed")), "{came:#?}");
    running.abort();
}
