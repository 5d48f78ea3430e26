//! Grouping, repetition and backoff as tables: what happened at which second, and when what was told.

use jiff::SignedDuration;

use super::*;
use crate::news::{About, Wanted};

const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: u64) -> Timestamp {
    let seconds = SignedDuration::from_secs(i64::try_from(seconds).expect("a time"));
    "2026-11-27T00:00:00Z".parse::<Timestamp>().expect("a time") + seconds
}

fn rules() -> Rules {
    let on = vec![Kind::Blocked, Kind::Failed, Kind::Hold];
    Rules { on, lanes: Vec::new(), group: SECOND * 300, group_max: SECOND * 7_200 }
}

fn item(seconds: u64, mission: &str, request: Option<u32>) -> Item {
    let wanted = request.map(|request| Wanted { request, expires_at: at(90_000) });
    Item { at: at(seconds), about: About::Mission(mission.to_owned()), text: "x".to_owned(), wanted }
}

fn failed(seconds: u64, mission: &str) -> News {
    News::Over { mission: mission.to_owned(), then: Some(item(seconds, mission, None)) }
}

fn asked(seconds: u64, mission: &str, request: u32) -> News {
    News::Told { kinds: &[Kind::Blocked], lasting: None, item: item(seconds, mission, Some(request)) }
}

/// What a channel tells that takes up this, each message with its second and how many things it tells of.
fn told(rules: &Rules, mut happened: Vec<(u64, News)>) -> Vec<(u64, u64)> {
    happened.sort_by_key(|(second, _)| *second);
    let (mut ledger, mut messages) = (Ledger::new(0, at(0)), Vec::new());
    let mut happened = happened.into_iter().peekable();
    for second in 0..200_000 {
        while let Some((_, news)) = happened.next_if(|(due, _)| *due <= second) {
            ledger.take(rules, None, news);
        }
        if ledger.due(rules).is_some_and(|due| due <= at(second)) {
            messages.push((second, ledger.send(at(second)).0.values().map(|group| group.count).sum()));
            ledger.told(rules, at(second));
        }
    }
    messages
}

#[test]
fn what_happens_is_told_soon_and_then_in_groups_that_grow_longer() {
    let row = |seconds: std::ops::Range<u64>, every: usize| -> Vec<(u64, News)> {
        seconds.step_by(every).map(|second| (second, failed(second, &format!("m{second}")))).collect()
    };
    for (what, happened, expected) in [
        ("one thing", vec![(10, failed(10, "a"))], vec![(13, 1)]),
        ("two in a moment", vec![(10, failed(10, "a")), (12, failed(12, "b"))], vec![(13, 2)]),
        ("two in an interval", vec![(10, failed(10, "a")), (20, failed(20, "b"))], vec![(13, 1), (313, 1)]),
        ("five hundred at once", row(0..500, 1), vec![(3, 4), (303, 300), (903, 196)]),
        (
            "a bad night: one each minute for ten hours",
            row(0..36_000, 60),
            vec![
                (3, 1),
                (303, 5),
                (903, 10),
                (2_103, 20),
                (4_503, 40),
                (9_303, 80),
                (16_503, 120),
                (23_703, 120),
                (30_903, 120),
                (38_103, 84),
            ],
        ),
        (
            "quiet again: the next is told soon",
            vec![
                (10, failed(10, "a")),
                (20, failed(20, "b")),
                (9_000, failed(9_000, "c")),
                (9_010, failed(9_010, "d")),
            ],
            vec![(13, 1), (313, 1), (9_003, 1), (9_303, 1)],
        ),
    ] {
        assert_eq!(told(&rules(), happened), expected, "{what}");
    }
}

#[test]
fn what_people_have_to_decide_about_does_not_wait_for_two_hours() {
    let mut happened: Vec<(u64, News)> = (0..20_000).step_by(60).map(|second| (second, failed(second, "m"))).collect();
    happened.push((9_400, asked(9_400, "b", 1)));
    let messages = told(&rules(), happened);
    let then = messages.iter().find(|(second, _)| *second >= 9_400).map(|(second, _)| *second);
    assert_eq!(then, Some(9_303 + 900), "{messages:?}");
}

#[test]
fn what_was_decided_before_it_was_told_is_not_told() {
    let settled = |mission: &str| News::Settled { mission: mission.to_owned(), request: 1 };
    let over = |mission: &str| News::Over { mission: mission.to_owned(), then: None };
    for (what, then, expected) in [
        ("decided", settled("a"), vec![]),
        ("over", over("a"), vec![]),
        ("another", settled("b"), vec![(3, 1)]),
        ("failed instead", failed(1, "a"), vec![(4, 1)]),
    ] {
        assert_eq!(told(&rules(), vec![(0, asked(0, "a", 1)), (1, then)]), expected, "{what}");
    }
}

#[test]
fn what_was_decided_before_it_was_told_is_not_told_however_much_there_is() {
    let decided = |request: u32| News::Settled { mission: "a".to_owned(), request };
    let counts = |ledger: &mut Ledger| ledger.send(at(9)).0.values().map(|group| group.count).collect::<Vec<_>>();
    for (what, asked_of, decided_of, expected) in [
        ("more than have words", 25, 0..25, vec![]),
        ("all but the newest", 25, 0..24, vec![1]),
        ("all but the oldest", 25, 1..25, vec![1]),
        ("more than are known", 1_100, 0..1_100, vec![80]),
    ] {
        let mut ledger = Ledger::new(0, at(0));
        for request in 0..asked_of {
            ledger.take(&rules(), None, asked(0, "a", request));
        }
        for request in decided_of {
            ledger.take(&rules(), None, decided(request));
        }
        assert_eq!(counts(&mut ledger), expected, "{what}");
    }
    // While it is being sent: where that fails, it is not told again.
    let mut ledger = Ledger::new(0, at(0));
    ledger.take(&rules(), None, asked(0, "a", 1));
    assert_eq!(counts(&mut ledger), [1]);
    assert!(ledger.take(&rules(), None, decided(1)));
    ledger.failed(Failed { why: "no".to_owned(), retry_after: None }, at(30), 0.5);
    assert_eq!((ledger.owed(), ledger.due(&rules())), (0, None));
}

#[test]
fn a_channel_is_told_what_it_wants_of_the_lanes_that_it_names() {
    let lane = |id: &str| LaneId::new(id).expect("an id");
    let mut ledger = Ledger::new(0, at(0));
    let rules = Rules { on: vec![Kind::Failed], lanes: vec![lane("a")], ..rules() };
    assert!(!ledger.take(&rules, Some(&lane("b")), failed(1, "m")), "another lane");
    assert!(!ledger.take(&rules, Some(&lane("a")), asked(1, "m", 1)), "nothing that it wants");
    assert!(ledger.take(&rules, Some(&lane("a")), failed(1, "m")));
    assert_eq!(ledger.owed(), 1);
}

#[test]
fn what_lasts_is_told_once() {
    let held = |second: u64, what: &str| {
        let item = item(second, "m", None);
        (second, News::Told { kinds: &[Kind::Hold], lasting: Some(what.to_owned()), item })
    };
    // Each quarter of an hour for ten hours: one trouble. Another one, and the same after it was away, are told.
    let mut happened: Vec<(u64, News)> = (0..36_000).step_by(900).map(|second| held(second, "[model.a")).collect();
    happened.extend([held(18_000, "[model.b"), held(50_000, "[model.a")]);
    let messages = told(&rules(), happened);
    assert_eq!(messages.iter().map(|(_, count)| count).sum::<u64>(), 3, "{messages:?}");
    let mut ledger = Ledger::new(0, at(0));
    for number in 0..1_000 {
        let (_, news) = held(number, &format!("{number}"));
        ledger.take(&rules(), None, news);
    }
    assert!(ledger.lasting.len() <= LASTING_MAX);
}

#[test]
fn what_waits_behind_a_channel_that_is_down_is_a_number_with_the_newest_few() {
    let rules = rules();
    let mut ledger = Ledger::new(0, at(0));
    for second in 0..10_000 {
        ledger.take(&rules, None, failed(second, &format!("m{second}")));
        if second % 100 == 0 {
            ledger.send(at(second));
            ledger.failed(Failed { why: "no".to_owned(), retry_after: None }, at(second), 0.5);
        }
    }
    let (groups, _) = ledger.send(at(10_000));
    let group = &groups[&Kind::Failed];
    assert_eq!((group.count, group.since, group.newest.len()), (10_000, at(0), KEPT));
    assert_eq!(group.newest.back().map(|item| item.at), Some(at(9_999)));
    let text = serde_json::to_string(&ledger).expect("plain data");
    assert!(text.len() < 10_000, "{} bytes", text.len());
}

#[test]
fn an_attempt_that_failed_is_repeated_later_and_later_and_never_given_up() {
    for (attempts, random, asked, least, most) in [
        (1, 0.0, None, 2, 3),
        (1, 0.999, None, 4, 5),
        (2, 0.999, None, 9, 10),
        (5, 0.999, None, 79, 80),
        (9, 0.999, None, 899, 900),
        (1_000, 0.0, None, 450, 450),
        (1_000, 0.999, None, 899, 900),
        (1, 0.5, Some(120), 120, 120),
        (1, 0.5, Some(1_000_000), 3_600, 3_600),
        (9, 0.999, Some(1), 899, 900),
    ] {
        let mut ledger = Ledger::new(0, at(0));
        ledger.take(&rules(), None, failed(0, "m"));
        for attempt in 1..=attempts {
            ledger.send(at(7));
            let retry_after = asked.filter(|_| attempt == attempts).map(Duration::from_secs);
            ledger.failed(Failed { why: "no".to_owned(), retry_after }, at(7), random);
        }
        let failing = ledger.failing().expect("it fails");
        let wait = since(at(7), failing.next).as_secs();
        assert!((least..=most).contains(&wait), "{attempts} {random} {asked:?}: {wait}");
        assert_eq!((failing.attempts, failing.since), (attempts, at(7)));
        assert_eq!(ledger.may_at(at(3)), failing.next, "nothing is sent before");
        assert_eq!(ledger.owed(), 1, "and it is still owed");
        ledger.send(at(7));
        ledger.told(&rules(), at(5_000));
        assert_eq!((ledger.failing(), ledger.owed(), ledger.may_at(at(3))), (None, 0, at(3)));
    }
}

#[test]
fn a_crash_between_sending_and_striking_off_sends_again() {
    let mut ledger = Ledger::new(7, at(0));
    ledger.take(&rules(), None, failed(0, "m"));
    ledger.send(at(7));
    let kept = serde_json::to_string(&ledger).expect("plain data");
    // What happened while it was being sent is owed as well, and behind it.
    ledger.take(&rules(), None, failed(1, "n"));
    ledger.told(&rules(), at(2));
    assert_eq!(ledger.owed(), 1, "what came meanwhile");
    let again: Ledger = serde_json::from_str(&kept).expect("as it was written");
    let again = again.resumed();
    assert_eq!((again.position, again.owed(), again.due(&rules())), (7, 1, Some(at(3))));
}

#[test]
fn a_message_that_did_not_arrive_is_the_same_until_it_tells_of_something_else() {
    let fails = |ledger: &mut Ledger| ledger.failed(Failed { why: "no".to_owned(), retry_after: None }, at(50), 0.5);
    let decided = News::Settled { mission: "a".to_owned(), request: 1 };
    for (what, then, meanwhile, expected) in [
        ("nothing", None, false, at(10)),
        ("something further", Some(failed(20, "n")), false, at(60)),
        ("something further while it is being sent", Some(failed(20, "n")), true, at(60)),
        ("something of it is decided", Some(decided.clone()), false, at(60)),
        ("something of it is decided while it is being sent", Some(decided), true, at(60)),
    ] {
        let mut ledger = Ledger::new(0, at(0));
        ledger.take(&rules(), None, asked(0, "a", 1));
        ledger.take(&rules(), None, failed(0, "m"));
        assert_eq!(ledger.send(at(10)).1, at(10), "{what}");
        if !meanwhile {
            fails(&mut ledger);
        }
        then.map(|news| ledger.take(&rules(), None, news));
        if meanwhile {
            fails(&mut ledger);
        }
        // Through a restart as well.
        let text = serde_json::to_string(&ledger).expect("plain data");
        let mut ledger = serde_json::from_str::<Ledger>(&text).expect("as it was written").resumed();
        assert_eq!(ledger.send(at(60)).1, expected, "{what}");
        fails(&mut ledger);
        assert_eq!(ledger.send(at(90_000)).1, at(90_000), "{what}: not for ever");
        ledger.told(&rules(), at(90_001));
        ledger.take(&rules(), None, failed(90_002, "o"));
        assert_eq!(ledger.send(at(90_003)).1, at(90_003), "{what}: the next is another");
    }
}

#[test]
fn a_clock_that_is_set_back_delays_nothing() {
    let mut ledger = Ledger::new(0, at(0));
    ledger.take(&rules(), None, failed(100_000, "m"));
    ledger.send(at(7));
    ledger.told(&rules(), at(100_000));
    ledger.take(&rules(), None, failed(100_001, "n"));
    ledger.clock_is(at(50));
    assert_eq!(ledger.due(&rules()), Some(at(350)));
    ledger.send(at(7));
    ledger.failed(Failed { why: String::new(), retry_after: None }, at(100_002), 0.5);
    ledger.clock_is(at(60));
    assert!(ledger.may_at(at(60)) <= at(60 + 3_600));
}
