//! Several nodes on one database: they pass the suite that logs of one store must pass, also through broken connections; what is claimed
//! has one owner at a time, as a register has one value; and a store of the version before becomes the first share.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sortie_contract::MissionNo;
use sortie_journal::{
    AdmitError, Admitted, AdoptError, Claimed, Log, MemoryLog, Owner, PoolAsk, PostgresLog, Receipt, ShareNo, Store,
    StoreError, WriteError,
};

use super::proxy::Proxy;
use super::server::Server;
use crate::log_suite::fleet::{self, Kit, fleet as of, keys, name, of_vp, take, wait};
use crate::log_suite::{history, plain};
use crate::{made, open};

/// Nodes before one database, each behind a proxy of its own.
struct Nodes<'a> {
    server: &'a Server,
    database: String,
    lease: Duration,
    faults: (u64, u64),
    proxies: RefCell<BTreeMap<usize, Proxy>>,
}

impl<'a> Nodes<'a> {
    fn on(server: &'a Server, database: &str, lease: Duration) -> Self {
        made(server, database);
        Self { server, database: database.to_owned(), lease, faults: (0, 0), proxies: RefCell::default() }
    }
}

impl Kit for Nodes<'_> {
    fn open(&self, node: usize) -> Box<dyn Log> {
        let (seed, percent) = self.faults;
        let mut proxies = self.proxies.borrow_mut();
        let proxy =
            proxies.entry(node).or_insert_with(|| Proxy::before(self.server.port(), seed + node as u64, percent));
        let store = Store { lease: self.lease, ..Store::at(&proxy.url(&self.database), &name(node), &name(node)) };
        let claimed = (0..50).find_map(|_| Claimed::new(&store).ok()).unwrap();
        Box::new(PostgresLog::new(claimed, |_, _| ()).unwrap())
    }

    fn silence(&self, node: usize) {
        self.proxies.borrow()[&node].darken(true);
        let over = format!("SELECT count(*) FROM sortie_shares WHERE node = '{}' AND lease_until > now()", name(node));
        while self.server.sql(&self.database, &over) != "0" {
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn hears(&self, node: usize) {
        self.proxies.borrow()[&node].darken(false);
    }
}

#[test]
fn logs_of_one_store_obey_the_laws() {
    let Some(server) = Server::start() else { return };
    let made_so_far = std::cell::Cell::new(0);
    fleet::laws(&|| {
        made_so_far.set(made_so_far.get() + 1);
        Box::new(Nodes::on(&server, &format!("laws_{}", made_so_far.get()), Duration::from_secs(2)))
    });
}

#[test]
fn logs_of_one_store_are_the_model() {
    let Some(server) = Server::start() else { return };
    for (seed, nodes) in [(0, 2), (1, 3), (2, 3)] {
        let kit = Nodes::on(&server, &format!("model_{seed}"), Duration::from_secs(2));
        fleet::history(&kit, (nodes, true), seed, 110);
    }
}

#[test]
fn they_are_the_model_also_where_nobody_hears_what_became_of_a_commit_and_shares_change_hands() {
    let Some(server) = Server::start() else { return };
    for seed in 0..2 {
        let faults = (100 * (seed + 1), 12);
        let kit = Nodes { faults, ..Nodes::on(&server, &format!("faults_{seed}"), Duration::from_secs(2)) };
        fleet::history(&kit, (3, true), 40 + seed, 70);
        kit.proxies.borrow().values().for_each(Proxy::calm);
    }
}

#[test]
fn what_was_on_its_way_when_a_share_was_adopted_never_lands() {
    let Some(server) = Server::start() else { return };
    let kit = Nodes::on(&server, "late", Duration::from_secs(1));
    let [a, b] = [0, 1].map(|node| kit.open(node));
    take(&*a, plain(1));
    kit.proxies.borrow()[&0].darken(true);
    let (_, Admitted::Accepted { receipt, .. }) = plain(2).ask(&*a, true) else { panic!("nothing is known of it") };
    let acts: Vec<Receipt> = (0..40).map(|no| a.act(no.to_string()).unwrap()).collect();
    kit.silence(0);
    fleet::adopt(&*b, ShareNo(0)).unwrap();
    kit.hears(0);
    assert!(receipt.wait().is_err() && acts.into_iter().all(|act| act.wait().is_err()));
    assert_eq!((b.head(MissionNo(2)).unwrap(), b.actions(None, 99).unwrap()), (None, vec![]));
    assert_eq!(server.sql("late", "SELECT count(*) FROM sortie_frames"), "1");
    take(&*b, plain(2));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "that it does not take long is tested")]
fn what_was_adopted_is_away_until_it_is_read_and_never_unknown() {
    let Some(server) = Server::start() else { return };
    let kit = Nodes::on(&server, "unread", Duration::from_secs(1));
    let [a, b] = [0, 1].map(|node| kit.open(node));
    let no = take(&*a, of_vp(1, 1));
    kit.silence(0);
    let names = keys(of_vp(1, 1));
    let mut seen = 0;
    loop {
        let adopted = of(&*b).adopt(ShareNo(0), &mut |_, _| {
            seen += 1;
            let holder = of(&*b).holder(&names.mission_id).unwrap();
            let holder = holder.map(|peer| (peer.is_live(), peer.is_me, peer.name));
            assert_eq!(holder, Some((false, false, name(0))));
            let asked = b.admit(names.keys(), &mut |known| panic!("it is not known yet: {known:?}"));
            assert!(matches!(asked, Err(AdmitError::Write(WriteError::Overloaded))), "{asked:?}");
            // A claim on a VP that may be at home there is told so, and holds up no other.
            let begun = Instant::now();
            let soon = wait(of(&*b).claim(keys(of_vp(9, 1))));
            assert!(matches!(soon, Err(WriteError::Overloaded)), "{soon:?}");
            assert_eq!(fleet::claim(&*b, of_vp(8, 8)), None);
            assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        });
        match adopted {
            Ok(_) => break,
            // Who has only begun waits.
            Err(AdoptError::Held { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(seen, 1);
    assert_eq!(b.find(&names.mission_id).unwrap().map(|twin| twin.no), Some(no));
    assert_eq!(of(&*b).holder(&names.mission_id).unwrap(), None, "it is this node's");
    kit.hears(0);
}

#[test]
fn who_was_not_heard_either_says_of_nobody_that_it_is_gone() {
    let Some(server) = Server::start() else { return };
    let kit = Nodes::on(&server, "outage", Duration::from_secs(2));
    let [a, b] = [0, 1].map(|node| kit.open(node));
    take(&*a, plain(1));
    take(&*b, of_vp(2, 2));
    let gone = |node| of(&*a).peers().unwrap().iter().any(|peer| peer.share == node && !peer.is_live());
    kit.silence(1);
    kit.silence(0);
    kit.hears(0);
    wait(of(&*a).sure()).unwrap();
    assert!(gone(ShareNo(1)));
    let refused = of(&*a).adopt(ShareNo(1), &mut |_, _| ());
    assert!(matches!(refused, Err(AdoptError::Held { .. })), "{refused:?}");
    kit.hears(1);
    wait(of(&*b).sure()).unwrap();
    take(&*b, of_vp(3, 2));
    kit.silence(1);
    assert!(gone(ShareNo(1)));
    fleet::adopt(&*a, ShareNo(1)).unwrap();
    kit.hears(1);
}

#[test]
fn a_node_that_reads_for_longer_than_its_lease_keeps_its_share() {
    let Some(server) = Server::start() else { return };
    let (url, lease) = (made(&server, "reading"), Duration::from_secs(1));
    let claimed = Claimed::new(&Store { lease, ..Store::at(&url, "n", "n") }).unwrap();
    let other = open(&url, "other");
    let long_ago = "SELECT since + interval '3 s' < now() FROM sortie_shares WHERE share = 0";
    while server.sql("reading", long_ago) == "f" {
        let peers = of(&other).peers().unwrap();
        assert!(peers[0].is_live() && !peers[0].is_me, "{peers:?}");
        assert!(of(&other).adopt(ShareNo(0), &mut |_, _| ()).is_err());
    }
    let log = PostgresLog::new(claimed, |_, _| ()).unwrap();
    take(&log, plain(1));
    drop(other);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "that it does not take long is tested")]
fn a_database_that_hangs_is_away_within_the_lease_whether_something_is_written_or_not() {
    let Some(server) = Server::start() else { return };
    let lease = Duration::from_secs(3);
    let kit = Nodes::on(&server, "hangs", lease);
    let log = kit.open(0);
    for (next, is_written) in (1..).zip([false, true]) {
        wait(of(&*log).sure()).unwrap();
        kit.proxies.borrow()[&0].darken(true);
        let hung = Instant::now();
        let act = is_written.then(|| log.act("meanwhile".to_owned()).unwrap());
        while !log.is_away() {
            assert!(hung.elapsed() < lease, "nobody was told, though it was written: {is_written}");
            std::thread::sleep(Duration::from_millis(10));
        }
        kit.hears(0);
        // Over the same connections.
        while log.is_away() {
            assert!(hung.elapsed() < 4 * lease, "it is back, and nobody was told");
            std::thread::sleep(Duration::from_millis(10));
        }
        if let Some(act) = act {
            act.wait().unwrap();
        }
        take(&*log, of_vp(next, next));
    }
}

#[test]
fn a_pool_that_cannot_be_read_keeps_nobody_from_the_others_and_what_does_not_pass_is_told() {
    let Some(server) = Server::start() else { return };
    let database = "damaged_pools";
    let log = open(&made(&server, database), "n");
    let ask = |pool: &str, keeps: u64, lacks: u64| PoolAsk {
        pool: pool.to_owned(),
        limit: 3,
        keeps,
        lacks,
        least: 1,
        spare: 0,
        used: 0,
        since_ms: None,
    };
    let says = |asks: &[PoolAsk]| loop {
        match wait(of(&log).exchange(of(&log).shares(), asks.to_vec())) {
            Err(WriteError::Overloaded) => {}
            said => break said,
        }
    };
    let held = |asks: &[PoolAsk]| says(asks).unwrap().iter().map(|said| said.held).collect::<Vec<u64>>();
    assert_eq!(held(&[ask("lane:a", 0, 2), ask("lane:b", 0, 1)]), [2, 1]);
    server.sql(database, "UPDATE sortie_pools SET row = 'damaged' WHERE name = 'lane:a'");
    assert_eq!(held(&[ask("lane:a", 2, 1), ask("lane:b", 1, 1)]), [2, 2], "it goes on with what it holds");
    assert_eq!(of(&log).pools(&of(&log).shares()).unwrap(), [("lane:b".to_owned(), 0)]);
    server.sql(database, "DELETE FROM sortie_pools WHERE name = 'lane:a'");
    assert_eq!(held(&[ask("lane:a", 2, 1)]), [3]);
    server.sql(database, "DROP TABLE sortie_pools");
    let refused = says(&[ask("lane:a", 2, 1)]);
    assert!(matches!(refused, Err(WriteError::Pools { .. })), "{refused:?}");
}

#[test]
fn a_name_is_one_nodes_for_as_long_as_it_is_there() {
    let Some(server) = Server::start() else { return };
    let (url, lease) = (made(&server, "names"), Duration::from_secs(2));
    let claimed = |node: &str, name: &str| Claimed::new(&Store { lease, ..Store::at(&url, node, name) });
    let first = claimed("one", "n").unwrap();
    let taken = |node| match claimed(node, "n") {
        Err(StoreError::NameTaken { name, node, lease_left, .. }) => {
            assert!(!lease_left.is_zero() && lease_left <= lease);
            (name, node)
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(taken("two"), ("n".to_owned(), "one".to_owned()));
    assert_eq!(server.sql("names", "SELECT count(*) FROM sortie_shares"), "1", "nothing was taken");
    // The next process of the same node is that node, at once; under another name, too.
    let again = claimed("one", "n").unwrap();
    assert_eq!(again.share(), first.share());
    drop((first, again));
    let renamed = claimed("one", "m").unwrap();
    let two = claimed("two", "n").unwrap();
    assert_ne!(two.share(), renamed.share());
    let log = PostgresLog::new(two, |_, _| ()).unwrap();
    assert_eq!(taken("three"), ("n".to_owned(), "two".to_owned()));
    // What was given back is nobody's name.
    of(&log).give_back();
    log.close().unwrap();
    claimed("three", "n").unwrap();
    drop(renamed);
}

#[test]
fn of_two_that_come_at_once_under_one_name_one_is_there_at_most() {
    let Some(server) = Server::start() else { return };
    let url = made(&server, "twins");
    for round in 0..10 {
        let lease = Duration::from_secs(1);
        let come = |node: String| Claimed::new(&Store { lease, ..Store::at(&url, &node, &format!("n-{round}")) });
        let came: Vec<_> = std::thread::scope(|scope| {
            let coming = [0, 1, 2].map(|n| scope.spawn(move || come(format!("{round}-{n}"))));
            coming.into_iter().map(|coming| coming.join().unwrap()).collect()
        });
        let there = came.iter().filter(|came| came.is_ok()).count();
        assert!(there <= 1, "{came:?}");
        for refused in came.into_iter().filter_map(Result::err) {
            assert!(matches!(refused, StoreError::NameTaken { .. }), "{refused}");
        }
    }
}

/// What somebody asked, when, and what was answered.
#[derive(Debug, Clone)]
struct Asked {
    begin: u64,
    /// `None`: nobody was told.
    end: Option<u64>,
    what: What,
}

#[derive(Debug, Clone, Copy)]
enum What {
    /// A node claims; the owner that it was told.
    Claim(ShareNo, Option<ShareNo>),
    /// What was the first's is the second's.
    Adopt(ShareNo, ShareNo),
}

/// Whether there is an order of all that was asked in which each happened between its beginning and its end, and in which a key has one
/// owner at a time: as Wing and Gong look for one.
fn is_linear(asked: &[Asked]) -> bool {
    let (mut seen, mut open) = (BTreeSet::new(), vec![(0_u64, None::<ShareNo>)]);
    let told: u64 = asked.iter().enumerate().filter(|(_, one)| one.end.is_some()).map(|(place, _)| 1 << place).sum();
    while let Some((done, owner)) = open.pop() {
        if done & told == told {
            return true;
        }
        if !seen.insert((done, owner)) {
            continue;
        }
        let left = || asked.iter().enumerate().filter(move |(place, _)| done & (1 << place) == 0);
        let first_end = left().filter_map(|(_, one)| one.end).min().unwrap_or(u64::MAX);
        for (place, one) in left().filter(|(_, one)| one.begin <= first_end) {
            let next = match one.what {
                What::Claim(node, told) => {
                    let owner = owner.unwrap_or(node);
                    told.is_none_or(|told| told == owner).then_some(Some(owner))
                }
                What::Adopt(from, to) => Some(if owner == Some(from) { Some(to) } else { owner }),
            };
            open.extend(next.map(|owner| (done | 1 << place, owner)));
        }
    }
    false
}

#[test]
fn the_checker_finds_what_is_not_linear() {
    let [a, b, c] = [0, 1, 2].map(ShareNo);
    let claim = |begin, end, node, told| Asked { begin, end: Some(end), what: What::Claim(node, Some(told)) };
    let adopt = |begin, end| Asked { begin, end: Some(end), what: What::Adopt(a, c) };
    let unheard = Asked { begin: 0, end: None, what: What::Claim(b, None) };
    for (asked, expected) in [
        (vec![claim(0, 5, a, b), claim(1, 4, b, b)], true),
        (vec![claim(0, 5, a, a), claim(1, 4, b, b)], false),
        (vec![claim(0, 1, a, b), claim(2, 3, b, b)], false),
        (vec![claim(0, 1, a, a), adopt(2, 9), claim(3, 4, b, c), claim(5, 6, b, c)], true),
        (vec![claim(0, 1, a, a), adopt(2, 9), claim(3, 4, b, c), claim(5, 6, a, a)], false),
        (vec![claim(0, 1, a, a), adopt(2, 3), claim(4, 5, b, a)], false),
        (vec![unheard.clone(), claim(3, 4, a, b)], true),
        (vec![unheard, claim(3, 4, a, a)], true),
    ] {
        assert_eq!(is_linear(&asked), expected, "{asked:?}");
    }
}

#[test]
fn a_name_has_one_owner_at_a_time_whoever_claims_it_at_once_and_whoever_is_adopted_meanwhile() {
    const NAMES: u64 = 24;
    let Some(server) = Server::start() else { return };
    let kit = Nodes::on(&server, "claims", Duration::from_secs(2));
    let logs = [0, 1, 2].map(|node| kit.open(node));
    let (clock, asked) = (AtomicU64::new(0), Mutex::new(BTreeMap::<u64, Vec<Asked>>::new()));
    let now = || clock.fetch_add(1, Ordering::SeqCst);
    let claims = |log: &dyn Log, name: u64| {
        let (me, begin) = (of(log).share(), now());
        let answer = wait(of(log).claim(keys(of_vp(name, name))));
        let told = answer.ok().map(|owner| match owner {
            Owner::Mine => me,
            Owner::Elsewhere(peer) => peer.share,
        });
        let end = told.map(|_| now());
        asked.lock().unwrap().entry(name).or_default().push(Asked { begin, end, what: What::Claim(me, told) });
    };
    let all_claim = |nodes: &[usize], names: std::ops::Range<u64>| {
        std::thread::scope(|scope| {
            for (node, turn) in nodes.iter().flat_map(|node| [(*node, 0), (*node, 1)]) {
                let (log, claims, names) = (&*logs[node], &claims, names.clone());
                scope.spawn(move || {
                    let begin = names.start + (turn * 7 + node as u64 * 5) % (names.end - names.start);
                    (begin..names.end).chain(names.start..begin).for_each(|name| claims(log, name));
                });
            }
        });
    };
    // Each has its connection before it counts who is first.
    logs.iter().zip(NAMES..).for_each(|(log, name)| claims(&**log, name));
    all_claim(&[0, 1, 2], 0..NAMES / 2);
    kit.silence(0);
    std::thread::scope(|scope| {
        scope.spawn(|| all_claim(&[0, 1, 2], 0..NAMES));
        let begin = now();
        fleet::adopt(&*logs[1], ShareNo(0)).unwrap();
        let adopted = Asked { begin, end: Some(now()), what: What::Adopt(ShareNo(0), ShareNo(1)) };
        (0..NAMES + 3).for_each(|name| asked.lock().unwrap().entry(name).or_default().push(adopted.clone()));
        kit.hears(0);
    });
    all_claim(&[1, 2], 0..NAMES + 3);
    let asked = asked.into_inner().unwrap();
    for (name, asked) in &asked {
        assert!(is_linear(asked), "{name}: {asked:#?}");
    }
    assert!(asked.values().flatten().any(|one| one.end.is_none()), "the silent one was not answered");
}

/// What makes of the tables what the version before had, of a store with one share.
const BACK_TO_1: &str = "
CREATE TABLE sortie_store (
    one boolean PRIMARY KEY CHECK (one), token bigint NOT NULL, holder text NOT NULL, node text NOT NULL,
    name text NOT NULL, since timestamptz NOT NULL, lease_until timestamptz NOT NULL, format bigint NOT NULL,
    commits bigint NOT NULL, position bigint NOT NULL, last_no bigint NOT NULL);
INSERT INTO sortie_store
    SELECT true, token, '', '', name, since, now(), format, commits, position, last_no FROM sortie_shares;
DROP TABLE sortie_shares;
DROP TABLE sortie_claims;
DROP TABLE sortie_pools;
ALTER TABLE sortie_schedules DROP COLUMN share, ADD CONSTRAINT sortie_schedules_pkey PRIMARY KEY (id);
ALTER TABLE sortie_positions DROP COLUMN share, ADD CONSTRAINT sortie_positions_pkey PRIMARY KEY (id);
ALTER TABLE sortie_fires DROP COLUMN share, ADD CONSTRAINT sortie_fires_pkey PRIMARY KEY (id, no);
ALTER TABLE sortie_balances DROP COLUMN share, ADD CONSTRAINT sortie_balances_pkey PRIMARY KEY (key);
UPDATE sortie_schema SET version = 1";

#[test]
fn a_store_of_the_version_before_becomes_the_first_share() {
    let Some(server) = Server::start() else { return };
    let database = "before";
    let url = made(&server, database);
    let (log, model) = (open(&url, "n"), MemoryLog::default());
    history(&log, &model, 9, 90);
    log.close().unwrap();
    drop(log);
    let claims = || server.sql(database, "SELECT encode(key, 'escape') FROM sortie_claims ORDER BY key");
    let of_missions =
        |claims: String| claims.lines().filter(|key| !key.starts_with('v')).map(str::to_owned).collect::<Vec<_>>();
    let before = of_missions(claims());
    server.sql(database, BACK_TO_1);
    assert_eq!(Store::at(&url, "n", "n").migrate().unwrap().from, 1);
    assert!(!before.is_empty());
    assert_eq!(of_missions(claims()), before);
    let log = open(&url, "another");
    assert_eq!(of(&log).share(), ShareNo(0), "whoever comes first goes on with it");
    history(&log, &model, 10, 60);
    // Others learn that its names are taken, and its VPs at home.
    let other = open(&url, "n");
    assert_eq!(of(&other).share(), ShareNo(1));
    let heads = model.heads_oldest_first(None, 9).unwrap();
    assert!(!heads.is_empty());
    for (_, head) in heads {
        assert_eq!(of(&other).holder(&head.mission_id).unwrap().map(|peer| peer.share), Some(ShareNo(0)));
        let free = |text: &str| format!("new-{text}").parse().unwrap();
        let newcomer = sortie_journal::OwnedKeys {
            mission_id: format!("new-{}", head.mission_id).parse().unwrap(),
            source: head.source,
            idempotency_key: free(&head.idempotency_key.to_string()),
            vp: head.vp,
        };
        let Owner::Elsewhere(peer) = wait(of(&other).claim(newcomer)).unwrap() else { panic!("it is nobody's") };
        assert_eq!(peer.share, ShareNo(0));
    }
}
