//! Who is signed in: sessions in memory, each for the holder of a token, bounded in number and in time.
//!
//! A browser holds a random key and never the token; here only the digest of that key is held, as of tokens. A restart of the node signs
//! everybody out. Owned here, too: how often somebody may guess a token. Never here: what a holder may do.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::Rng as _;
use rustc_hash::FxHashMap;
use sortie_contract::digest::Digest;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::http::auth::Holder;

/// How long a session lasts that nobody uses: from the evening to the morning after.
const IDLE: Duration = Duration::from_secs(14 * 3_600);
/// How long a session lasts, however much it is used.
pub(super) const AGE: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Most sessions of one token: people, their browsers and their phones. One more ends the one that was not used for longest.
const OF_ONE_TOKEN_MAX: usize = 32;
/// Most sessions of a node: one more is refused.
const SESSIONS_MAX: usize = 1_024;
/// Wrong tokens that one peer may send within [`GUESS_TIME`].
const GUESSES_MAX: u32 = 20;
/// How long a wrong token is remembered.
const GUESS_TIME: Duration = Duration::from_secs(60);
/// Peers whose wrong tokens are remembered. With more of them at the same time nobody new signs in for a moment.
const GUESSERS_MAX: usize = 4_096;
/// Pages of one session that are told of changes: a browser holds six connections to a node, and has to fetch pages, too.
const STREAMS_MAX: usize = 2;
/// Length of the random keys, in bytes.
const KEY_BYTES: usize = 32;

/// The sessions of a node.
pub(super) struct Sessions {
    /// The name of the cookie: nodes on one machine share a browser's cookies, whatever their ports.
    pub(super) cookie: String,
    open: Mutex<FxHashMap<Digest, Session>>,
    guesses: Mutex<FxHashMap<IpAddr, (u32, Instant)>>,
    told: Mutex<Told>,
}

/// What was logged of wrong tokens.
#[derive(Default)]
struct Told {
    /// When last.
    at: Option<Instant>,
    /// So many came since.
    since: u64,
}

/// A session.
struct Session {
    holder: Holder,
    /// What forms must bring along.
    form_key: String,
    begun: Instant,
    used: Instant,
    /// What the next page says first.
    notice: Option<Notice>,
    /// Its streams, the oldest first.
    streams: Vec<Arc<Notify>>,
}

/// What a page says of what was just done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Notice {
    pub(super) is_bad: bool,
    pub(super) lines: Vec<String>,
}

/// What a session is known by here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key(Digest);

/// Why nobody is signed in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotOpened {
    /// There are as many sessions as there may be.
    Full,
}

impl Sessions {
    /// Of the node with that name and that data directory: names alone are the same on nodes that nobody named.
    pub(super) fn new(instance_id: &str, data_dir: &str) -> Self {
        let of = Digest::of(format!("{instance_id}\n{data_dir}").as_bytes()).to_string();
        Self {
            cookie: format!("sortie_{}", &of[..8]),
            open: Mutex::default(),
            guesses: Mutex::default(),
            told: Mutex::default(),
        }
    }

    /// Opens one, and gives the key that the browser keeps.
    pub(super) fn open(&self, holder: Holder) -> Result<String, NotOpened> {
        let now = Instant::now();
        let mut open = self.open.lock();
        open.retain(|_, session| session.lasts(now));
        let own = open.iter().filter(|(_, session)| session.holder == holder);
        let mut own: Vec<(Instant, Digest)> = own.map(|(key, session)| (session.used, *key)).collect();
        own.sort_by_key(|(used, _)| *used);
        // What was not used for longest makes room.
        for (_, key) in own.iter().take((own.len() + 1).saturating_sub(OF_ONE_TOKEN_MAX)) {
            open.remove(key);
        }
        if open.len() >= SESSIONS_MAX {
            return Err(NotOpened::Full);
        }
        let key = random();
        let session = Session { holder, form_key: random(), begun: now, used: now, notice: None, streams: Vec::new() };
        open.insert(Digest::of(key.as_bytes()), session);
        Ok(key)
    }

    /// The session of that key: its own name, its holder, what its forms must bring along. A page that looks again by itself is no use of it.
    pub(super) fn find(&self, key: &str, is_use: bool) -> Option<(Key, Holder, String)> {
        let (now, digest) = (Instant::now(), Digest::of(key.as_bytes()));
        let mut open = self.open.lock();
        let session = open.get_mut(&digest)?;
        if !session.lasts(now) {
            open.remove(&digest);
            return None;
        }
        if is_use {
            session.used = now;
        }
        Some((Key(digest), session.holder.clone(), session.form_key.clone()))
    }

    /// Whether it is still open; looking so does not keep it.
    pub(super) fn is_open(&self, Key(digest): Key) -> bool {
        self.open.lock().get(&digest).is_some_and(|session| session.lasts(Instant::now()))
    }

    pub(super) fn close(&self, Key(digest): Key) {
        self.open.lock().remove(&digest);
    }

    /// Another of its pages listens: what the stream hears once there are too many of them, because others began after it.
    pub(super) fn listen(&self, Key(digest): Key) -> Arc<Notify> {
        let enough = Arc::new(Notify::new());
        let mut open = self.open.lock();
        let Some(session) = open.get_mut(&digest) else { return enough };
        // Who has hung up is no listener.
        session.streams.retain(|stream| Arc::strong_count(stream) > 1);
        session.streams.push(Arc::clone(&enough));
        while session.streams.len() > STREAMS_MAX {
            session.streams.remove(0).notify_one();
        }
        enough
    }

    /// Leaves a notice for the next page.
    pub(super) fn tell(&self, Key(digest): Key, notice: Notice) {
        if let Some(session) = self.open.lock().get_mut(&digest) {
            session.notice = Some(notice);
        }
    }

    /// Takes the notice that was left.
    pub(super) fn notice(&self, Key(digest): Key) -> Option<Notice> {
        self.open.lock().get_mut(&digest)?.notice.take()
    }

    /// Whether a peer may show a wrong token now, or has done so too often.
    pub(super) fn may_guess(&self, peer: IpAddr) -> bool {
        let now = Instant::now();
        let mut guesses = self.guesses.lock();
        match guesses.get(&peer) {
            Some((_, since)) if now - *since >= GUESS_TIME => {
                guesses.remove(&peer);
                true
            }
            Some((wrong, _)) => *wrong < GUESSES_MAX,
            None => {
                if guesses.len() >= GUESSERS_MAX {
                    guesses.retain(|_, (_, since)| now - *since < GUESS_TIME);
                }
                guesses.len() < GUESSERS_MAX
            }
        }
    }

    /// It showed a wrong one. How many came since that was last logged, where it is time to log it again.
    pub(super) fn guessed(&self, peer: IpAddr) -> Option<u64> {
        let now = Instant::now();
        let mut guesses = self.guesses.lock();
        let (wrong, _) = guesses.entry(peer).or_insert((0, now));
        *wrong = wrong.saturating_add(1);
        let mut told = self.told.lock();
        told.since += 1;
        if told.at.is_some_and(|at| now - at < GUESS_TIME) {
            return None;
        }
        told.at = Some(now);
        Some(std::mem::take(&mut told.since))
    }
}

impl Session {
    fn lasts(&self, now: Instant) -> bool {
        now - self.used < IDLE && now - self.begun < AGE
    }
}

fn random() -> String {
    let mut bytes = [0_u8; KEY_BYTES];
    rand::rng().fill_bytes(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Scope;
    use crate::http::auth::Tokens;

    fn holder(name: &str) -> Holder {
        let token = format!("the-token-of-{name}");
        let tokens = Tokens::new("own", [(name.to_owned(), token.clone(), vec![Scope::Read])]);
        tokens.of(&token).expect("it was just given")
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_ends_when_nobody_uses_it_when_it_is_old_and_when_it_is_closed() {
        let sessions = Sessions::new("factory-1", "/data");
        let key = sessions.open(holder("ada")).expect("opened");
        assert!(sessions.find(&key[1..], true).is_none() && sessions.find("", true).is_none());
        tokio::time::advance(IDLE - Duration::from_secs(1)).await;
        let (name, ..) = sessions.find(&key, true).expect("it is used in time");
        tokio::time::advance(IDLE - Duration::from_secs(1)).await;
        assert!(sessions.is_open(name) && sessions.find(&key, false).is_some());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!sessions.is_open(name) && sessions.find(&key, true).is_none(), "looking whether it is open kept it");

        let key = sessions.open(holder("ada")).expect("opened");
        let mut lasted = Duration::ZERO;
        while sessions.find(&key, true).is_some() {
            tokio::time::advance(IDLE / 2).await;
            lasted += IDLE / 2;
            assert!(lasted <= AGE, "however much it is used");
        }
        assert!(lasted >= AGE);

        let key = sessions.open(holder("ada")).expect("opened");
        let (name, ..) = sessions.find(&key, true).expect("open");
        sessions.close(name);
        assert!(sessions.find(&key, true).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn one_token_has_so_many_sessions_and_takes_none_of_others() {
        let sessions = Sessions::new("factory-1", "/data");
        let other = sessions.open(holder("bob")).expect("opened");
        let mut keys = Vec::new();
        for _ in 0..=OF_ONE_TOKEN_MAX {
            tokio::time::advance(Duration::from_secs(1)).await;
            keys.push(sessions.open(holder("ada")).expect("opened"));
        }
        assert!(sessions.find(&keys[0], true).is_none(), "the oldest made room");
        assert!(keys[1..].iter().all(|key| sessions.find(key, true).is_some()));
        assert!(sessions.find(&other, true).is_some());
        let names = (0..SESSIONS_MAX).map(|no| format!("token-{no}"));
        let full = names.map(|name| sessions.open(holder(&name))).find_map(Result::err);
        assert_eq!(full, Some(NotOpened::Full));
        assert!(sessions.open(holder("ada")).is_ok() || sessions.find(&keys[2], true).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_guesses_waits_and_others_do_not() {
        let sessions = Sessions::new("factory-1", "/data");
        let [guesser, other] = ["192.0.2.1", "192.0.2.2"].map(|peer| peer.parse::<IpAddr>().expect("an address"));
        for no in 0..GUESSES_MAX {
            assert!(sessions.may_guess(guesser));
            // It is logged once a minute, whoever guesses.
            assert_eq!(sessions.guessed(guesser), (no == 0).then_some(1));
        }
        assert!(!sessions.may_guess(guesser) && sessions.may_guess(other));
        tokio::time::advance(GUESS_TIME).await;
        assert!(sessions.may_guess(guesser));
        assert_eq!(sessions.guessed(other), Some(u64::from(GUESSES_MAX)));
    }

    #[test]
    fn nodes_with_the_same_name_have_cookies_of_their_own() {
        let [one, other] = ["/one", "/other"].map(|data| Sessions::new("factory-1", data).cookie);
        assert_ne!(one, other);
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_of_too_many_streams_is_told() {
        use futures_util::FutureExt as _;
        let sessions = Sessions::new("factory-1", "/data");
        let key = sessions.open(holder("ada")).expect("opened");
        let (name, ..) = sessions.find(&key, true).expect("open");
        let is_told = |stream: &Arc<Notify>| stream.notified().now_or_never().is_some();
        // Whoever hangs up makes room by that.
        drop(sessions.listen(name));
        let [first, second] = [sessions.listen(name), sessions.listen(name)];
        assert!(!is_told(&first) && !is_told(&second));
        let third = sessions.listen(name);
        assert_eq!([&first, &second, &third].map(is_told), [true, false, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_notice_is_told_once() {
        let sessions = Sessions::new("factory-1", "/data");
        let key = sessions.open(holder("ada")).expect("opened");
        let (name, ..) = sessions.find(&key, true).expect("open");
        let notice = Notice { is_bad: false, lines: vec!["done".to_owned()] };
        sessions.tell(name, notice.clone());
        assert_eq!((sessions.notice(name), sessions.notice(name)), (Some(notice), None));
    }
}
