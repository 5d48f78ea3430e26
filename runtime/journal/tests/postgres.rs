//! The log in a database passes the suite that every log must pass, also where connections break, commits are unheard and transactions
//! are refused.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

mod log_suite;
mod postgres_kit {
    pub(crate) mod proxy;
    pub(crate) mod server;
    mod shares;
}

use std::cell::Cell;
use std::time::Duration;

use log_suite::{agrees_with_the_model, history, laws, plain};
use postgres_kit::proxy::{Fault, Proxy};
use postgres_kit::server::Server;
use sortie_contract::MissionNo;
use sortie_journal::{
    ACTIONS_MAX, AdmitError, Admitted, Append, Claimed, Head, Log, MemoryLog, PostgresLog, ShareNo, Store, StoreError,
    WriteError,
};

/// The log at that URL, for that node.
fn open(url: &str, node: &str) -> PostgresLog {
    PostgresLog::new(Claimed::new(&Store::at(url, node, node)).unwrap(), |_, _| ()).unwrap()
}

/// A database with the tables of a log.
fn made(server: &Server, name: &str) -> String {
    let url = server.url(&server.database(name));
    assert_eq!(Store::at(&url, "n", "n").migrate().unwrap().from, 0);
    url
}

/// Makes empty logs, each in a database of its own.
fn maker(server: &Server) -> impl Fn() -> Box<dyn Log> {
    let made_so_far = Cell::new(0);
    move || {
        made_so_far.set(made_so_far.get() + 1);
        Box::new(open(&made(server, &format!("log_{}", made_so_far.get())), "n"))
    }
}

#[test]
fn it_obeys_the_laws() {
    let Some(server) = Server::start() else { return };
    laws(&maker(&server));
}

#[test]
fn it_is_the_model() {
    let Some(server) = Server::start() else { return };
    let make = maker(&server);
    for seed in 0..12 {
        agrees_with_the_model(&make, seed, 90);
    }
}

#[test]
fn an_opened_log_knows_what_the_one_before_knew() {
    let Some(server) = Server::start() else { return };
    let (url, model) = (made(&server, "rounds"), MemoryLog::default());
    let mut last = None;
    for round in 0..4 {
        let mut shown = 0;
        let claimed = Claimed::new(&Store::at(&url, "n", "n")).unwrap();
        let log = PostgresLog::new(claimed, |_, _| shown += 1).unwrap();
        assert_eq!(shown, model.heads_newest_first(None, 1_000).unwrap().len());
        history(&log, &model, round, 40);
        assert_eq!(log.actions(None, 999).unwrap(), model.actions(None, 999).unwrap());
        assert_eq!(log.actions(Some(3), 1).unwrap(), model.actions(Some(3), 1).unwrap());
        let leases: Vec<u64> = (0..3).map(|_| log.lease(MissionNo(1)).unwrap().0.token).collect();
        assert!(leases.is_sorted() && Some(leases[0]) > last, "{leases:?} after {last:?}");
        last = leases.last().copied();
    }
}

#[test]
fn of_what_people_did_the_newest_are_kept() {
    let Some(server) = Server::start() else { return };
    let log = open(&made(&server, "actions"), "n");
    let mut receipts = Vec::new();
    for no in 1..=ACTIONS_MAX + 3 {
        receipts.push(log.act(no.to_string()).unwrap());
        if no % 500 == 0 || no > ACTIONS_MAX {
            receipts.drain(..).for_each(|receipt| assert!(receipt.wait().is_ok()));
        }
    }
    let kept = log.actions(None, usize::MAX).unwrap();
    assert_eq!((kept.len() as u64, kept.last().map(|(no, _)| *no), kept[0].0), (ACTIONS_MAX, Some(4), ACTIONS_MAX + 3));
    assert!(kept.iter().all(|(no, text)| no.to_string() == *text), "each under its own number");
}

#[test]
fn tables_are_made_once_whoever_makes_them_and_only_those_of_this_version_are_used() {
    let Some(server) = Server::start() else { return };
    let name = server.database("tables");
    let store = Store::at(&server.url(&name), "n", "n");
    assert!(matches!(Claimed::new(&store), Err(StoreError::Older { found: 0, .. })), "nothing is made by the way");
    let made: Vec<i64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..6).map(|_| scope.spawn(|| store.migrate().unwrap().from)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(made.iter().filter(|from| **from == 0).count(), 1, "{made:?}");
    store.look().unwrap();
    drop(open(&server.url(&name), "n"));
    server.sql(&name, "UPDATE sortie_schema SET version = version + 1");
    assert!(matches!(Claimed::new(&store), Err(StoreError::Newer { .. })));
    assert!(matches!(store.migrate(), Err(StoreError::Newer { .. })), "never backward");
    server.sql(&name, "UPDATE sortie_schema SET version = version - 1; UPDATE sortie_shares SET format = 9999");
    let refused = Claimed::new(&store).unwrap_err();
    assert!(matches!(refused, StoreError::NewerFormat { found: 9_999, .. }), "{refused}");
}

#[test]
fn a_share_is_one_openings_at_a_time() {
    let Some(server) = Server::start() else { return };
    let url = made(&server, "one");
    let share = |log: &PostgresLog| log.fleet().unwrap().share();
    let first = open(&url, "node-1");
    plain(1).to(&first);
    let other = open(&url, "node-2");
    assert_eq!((share(&first), share(&other)), (ShareNo(0), ShareNo(1)), "another node has one of its own");
    // The next process of the same node has no need to wait: it knows that the one before is gone. Was it not, it is fenced.
    let next = open(&url, "node-1");
    assert_eq!((share(&next), plain(2).to(&next).1), (ShareNo(0), Some(MissionNo(2))));
    // What nothing else stands in the way of.
    let fenced = first.act("late".to_owned()).unwrap().wait().unwrap_err();
    assert!(matches!(fenced, WriteError::Doubled { .. }), "{fenced}");
    assert_eq!(first.poisoned(), Some(fenced));
    assert_eq!(next.actions(None, 9).unwrap(), [], "nothing of it is there");
    assert_eq!(plain(3).to(&next).1, Some(MissionNo(3)), "and the other goes on");
    next.close().unwrap();
    assert_eq!(share(&open(&url, "node-3")), ShareNo(2), "closed, it is kept for its node");
    let again = open(&url, "node-1");
    assert_eq!(share(&again), ShareNo(0));
    again.fleet().unwrap().give_back();
    again.close().unwrap();
    let fresh = open(&url, "node-4");
    assert_eq!((share(&fresh), plain(4).to(&fresh).1), (ShareNo(0), Some(MissionNo(4))), "given back, it is anybody's");
}

#[test]
fn what_was_acknowledged_is_there_once_whatever_becomes_of_connections() {
    let Some(server) = Server::start() else { return };
    let mut counts = [0; 5];
    for seed in 0..6 {
        let name = format!("faults_{seed}");
        made(&server, &name);
        let proxy = Proxy::before(server.port(), seed, 25);
        let log = open_through(&proxy, &name);
        // Each step has the outcome that it has in memory, and so has every question at the end.
        history(&log, &MemoryLog::default(), seed, 60);
        assert_eq!(log.poisoned(), None);
        proxy.calm();
        log.close().unwrap();
        for (count, fault) in counts.iter_mut().zip([Fault::Lost, Fault::Cut, Fault::Unheard, Fault::Left, Fault::Late])
        {
            *count += proxy.count(fault);
        }
    }
    assert!(counts.iter().all(|count| *count > 0), "each fault happened: {counts:?}");
}

/// Opening is tried again: it does not go on where the connection broke.
fn open_through(proxy: &Proxy, name: &str) -> PostgresLog {
    let store = Store::at(&proxy.url(name), "n", "n");
    let claimed = (0..50).find_map(|_| Claimed::new(&store).ok()).unwrap();
    PostgresLog::new(claimed, |_, _| ()).unwrap()
}

#[test]
fn what_the_database_refuses_for_the_moment_is_done_again() {
    let Some(server) = Server::start() else { return };
    let name = "collisions";
    let url = made(&server, name);
    // As engines do that let transactions run into each other: at the first write, and as late as at the commit.
    server.sql(
        name,
        "CREATE FUNCTION collide() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF random() < 0.2 THEN RAISE EXCEPTION 'restart transaction' USING ERRCODE = '40001'; END IF;
             IF random() < 0.05 THEN RAISE EXCEPTION 'no room' USING ERRCODE = '53100'; END IF;
             RETURN NEW;
         END $$;
         CREATE TRIGGER early BEFORE UPDATE ON sortie_shares FOR EACH ROW EXECUTE FUNCTION collide();
         CREATE CONSTRAINT TRIGGER late AFTER INSERT OR UPDATE ON sortie_heads DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION collide();",
    );
    let claimed = (0..50).find_map(|_| Claimed::new(&Store::at(&url, "n", "n")).ok()).unwrap();
    let log = PostgresLog::new(claimed, |_, _| ()).unwrap();
    history(&log, &MemoryLog::default(), 3, 90);
    assert_eq!(log.poisoned(), None);
}

#[test]
fn names_have_the_letters_that_they_have_whatever_the_databases_encoding() {
    let Some(server) = Server::start() else { return };
    server.sql("postgres", "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0");
    let url = server.url("latin");
    Store::at(&url, "n", "n").migrate().unwrap();
    let log = open(&url, "n");
    plain(1).to(&log);
    let head = log.head(MissionNo(1)).unwrap().unwrap();
    let head = Head { idempotency_key: "ночь-1".parse().unwrap(), ..head };
    log.append_durable(Append::new(MissionNo(1), 0, &[]).head(&head)).unwrap().wait().unwrap();
    assert_eq!(log.head(MissionNo(1)).unwrap(), Some(head));
}

#[test]
fn a_mission_whose_head_is_gone_keeps_no_name_from_the_next_one_and_has_its_own_again_once_mended() {
    let Some(server) = Server::start() else { return };
    let name = "nameless";
    let url = made(&server, name);
    let log = open(&url, "n");
    (1..=3).for_each(|name| drop(plain(name).to(&log)));
    let head = log.head(MissionNo(2)).unwrap().unwrap();
    log.close().unwrap();
    server.sql(name, "UPDATE sortie_heads SET row = 'spoilt'::bytea WHERE mission <= 2");
    let log = open(&url, "n");
    assert_eq!(log.headless(), [MissionNo(1), MissionNo(2)]);
    log.mend(Append::new(MissionNo(2), 0, &[]), MissionNo(2), &head).unwrap().wait().unwrap();
    assert_eq!(plain(1).to(&log).1, Some(MissionNo(4)), "nobody knows of the first: it is a new one");
    assert_eq!(log.poisoned(), None);
    assert_eq!(plain(2).to(&log).1, None, "the second is known");
    let kept = "SELECT mission_id = 'm-2'::bytea AND row <> 'spoilt'::bytea FROM sortie_heads WHERE mission = 2";
    assert_eq!(server.sql(name, kept), "t");
    let damaged = "SELECT count(*) FROM sortie_heads WHERE mission = 1 AND row = 'spoilt'::bytea";
    assert_eq!(server.sql(name, damaged), "1", "what is damaged stays as it is");
}

#[test]
fn a_long_statement_is_not_broken_off_and_a_damaged_table_is_not_asked_for_ever() {
    let Some(server) = Server::start() else { return };
    let name = "long";
    let url = made(&server, name);
    server.sql(
        name,
        "CREATE FUNCTION meets() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF NEW.mission = 1 THEN PERFORM pg_sleep(0.6); END IF;
             IF NEW.mission = 2 THEN RAISE EXCEPTION 'invalid page' USING ERRCODE = 'XX001'; END IF;
             RETURN NEW;
         END $$;
         CREATE TRIGGER meets BEFORE INSERT ON sortie_heads FOR EACH ROW EXECUTE FUNCTION meets();
         ALTER DATABASE long SET statement_timeout = '500ms';",
    );
    let log = open(&url, "n");
    assert_eq!(plain(1).to(&log).1, Some(MissionNo(1)));
    let (_, Admitted::Accepted { receipt, .. }) = plain(2).ask(&log, true) else { panic!("nothing is known of it") };
    let error = receipt.wait().unwrap_err();
    assert!(matches!(error, WriteError::Poisoned { .. }) && error.to_string().contains("invalid page"), "{error}");
}

#[test]
fn a_mistake_ends_the_log_and_nothing_of_it_is_there() {
    let Some(server) = Server::start() else { return };
    let name = "mistakes";
    let url = made(&server, name);
    let log = open(&url, "n");
    plain(1).to(&log);
    // Somebody writes beside the node: the name is taken, and the node cannot know.
    server.sql(
        name,
        "INSERT INTO sortie_heads
         SELECT 99, 'm-2'::bytea, source, 'other'::bytea, row FROM sortie_heads WHERE mission = 1",
    );
    let (_, Admitted::Accepted { receipt, .. }) = plain(2).ask(&log, true) else { panic!("nothing is known of it") };
    let error = receipt.wait().unwrap_err();
    assert!(matches!(error, WriteError::Poisoned { .. }) && error.to_string().contains("unique"), "{error}");
    assert_eq!(server.sql(name, "SELECT count(*) FROM sortie_frames WHERE mission = 2"), "0", "all or nothing");
    assert_eq!(server.sql(name, "SELECT commits FROM sortie_shares"), "1");
}

#[test]
fn while_the_database_is_away_nothing_is_lost_and_new_missions_are_refused() {
    let Some(mut server) = Server::start() else { return };
    let url = made(&server, "away");
    let log = open(&url, "n");
    plain(1).to(&log);
    server.kill();
    // Whether it is known cannot be told, and nobody has noticed yet: who dispatches does not wait either.
    let twin = plain(1).fires(&log, true, None).1;
    assert!(matches!(twin, Err(AdmitError::Write(WriteError::Overloaded))), "{twin:?}");
    let receipt = log.act("while it is away".to_owned()).unwrap();
    while !log.is_away() {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(log.crowded(), "who dispatches is told to come back");
    let refused = plain(2).fires(&log, true, None).1;
    assert!(matches!(refused, Err(AdmitError::Write(WriteError::Overloaded))), "{refused:?}");
    let looked = std::thread::scope(|scope| {
        let looking = scope.spawn(|| log.head(MissionNo(1)).unwrap().is_some());
        server.go_on();
        looking.join().unwrap()
    });
    assert!(looked, "who reads waits");
    receipt.wait().unwrap();
    assert!(!log.is_away());
    assert_eq!(log.actions(None, 9).unwrap(), [(1, "while it is away".to_owned())]);
    assert_eq!(plain(2).to(&log).1, Some(MissionNo(2)));
}

#[test]
fn a_log_can_be_closed_while_its_database_is_away() {
    let Some(mut server) = Server::start() else { return };
    let log = open(&made(&server, "closing"), "n");
    plain(1).to(&log);
    server.kill();
    let receipt = log.act("never written".to_owned()).unwrap();
    let closed = log.close();
    assert!(matches!(closed, Err(WriteError::Poisoned { .. })), "{closed:?}");
    assert!(receipt.wait().is_err(), "nobody is told that it is there");
    server.go_on();
    assert_eq!(server.sql("closing", "SELECT count(*) FROM sortie_actions"), "0");
}
