//! The board against what it promises, one guarantee a test, and against random orders of everything.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// What the steady clock shows in these tests, to begin with.
const NOW: Duration = Duration::from_secs(1_000);

fn origin(name: &str) -> Origin {
    name.into()
}

/// Takes a mission that must be the one expected, and claims its place.
fn begin(board: &mut Board, mission: u64, at: &str) -> bool {
    assert_eq!(board.take(), Some(MissionNo(mission)));
    board.claim(MissionNo(mission), &origin(at))
}

/// A board on which missions 1 to 8 have used all places of receiver `a`, each to this end, and are due again.
fn all_places_used(due: Duration, ended: Ended) -> Board {
    let mut board = Board::new(64, 8);
    for mission in 1..=8 {
        board.wake(MissionNo(mission));
        assert!(begin(&mut board, mission, "a"));
    }
    for mission in 1..=8 {
        board.finish(MissionNo(mission), ended);
    }
    board.rise(due);
    board
}

#[tokio::test]
async fn a_mission_has_one_turn_at_a_time_and_no_news_is_lost() {
    let mut board = Board::new(8, 4);
    assert!(board.wake(MissionNo(1)));
    assert!(!board.wake(MissionNo(1)), "it waits already");
    assert!(begin(&mut board, 1, "a"));
    assert!(!board.wake(MissionNo(1)));
    assert_eq!(board.take(), None, "it has its turn");
    board.finish(MissionNo(1), Ended::Quiet);
    assert_eq!(board.take(), Some(MissionNo(1)), "what came while it was busy is looked at");
    board.finish(MissionNo(1), Ended::Quiet);
    assert_eq!((board.take(), board.len()), (None, 0));
}

#[tokio::test]
async fn a_rest_ends_when_it_is_due_or_hurried_and_not_by_news() {
    let mut board = Board::new(8, 4);
    let due = NOW + Duration::from_secs(60);
    board.wake(MissionNo(1));
    assert!(begin(&mut board, 1, "a"));
    board.finish(MissionNo(1), Ended::Unanswered(due));
    assert!(!board.wake(MissionNo(1)));
    assert_eq!((board.take(), board.next_due()), (None, Some(due)));
    board.rise(due - Duration::from_nanos(1));
    assert_eq!(board.take(), None);
    assert!(board.hurry(MissionNo(1)));
    assert!(begin(&mut board, 1, "a"));
    board.rise(due);
    assert_eq!(board.take(), None, "the date it was hurried from is over");
    let later = due + Duration::from_secs(60);
    board.finish(MissionNo(1), Ended::Unanswered(later));
    board.rise(due);
    assert_eq!(board.take(), None);
    board.rise(later);
    assert_eq!(board.take(), Some(MissionNo(1)));
}

#[tokio::test]
async fn one_receiver_has_its_places_and_the_others_theirs() {
    let mut board = Board::new(8, 2);
    for mission in 1..=3 {
        board.wake(MissionNo(mission));
    }
    assert!(begin(&mut board, 1, "a"));
    assert!(begin(&mut board, 2, "a"));
    assert!(!begin(&mut board, 3, "a"), "its places are taken");
    board.wake(MissionNo(4));
    assert!(begin(&mut board, 4, "b"));
    assert_eq!(board.take(), None);
    for _ in 1..STREAK {
        board.finish(MissionNo(1), Ended::Delivered);
        assert!(begin(&mut board, 1, "a"), "who was just served is read already");
    }
    board.finish(MissionNo(1), Ended::Delivered);
    assert!(begin(&mut board, 3, "a"), "who waited comes before who had its share");
}

#[tokio::test]
async fn an_ailing_receiver_has_few_places_until_it_is_well() {
    let due = NOW;
    let mut board = all_places_used(due, Ended::Unanswered(due));
    let first = board.take().unwrap();
    assert_eq!(board.take(), None, "it rests after each attempt");
    board.rise(due + REST_MAX);
    let second = board.take().unwrap();
    board.rise(due + 2 * REST_MAX);
    assert_eq!(board.take(), None, "two are enough to notice that it is back");
    assert!(board.claim(first, &origin("a")) && board.claim(second, &origin("a")));
    board.finish(first, Ended::Delivered);
    let all = std::iter::from_fn(|| board.take()).count();
    assert_eq!(all, 7, "the six others, and the first again");
}

#[tokio::test]
async fn a_receiver_that_answers_is_well_whatever_it_answers() {
    let due = NOW;
    let mut board = all_places_used(due, Ended::Refused(due));
    assert_eq!(std::iter::from_fn(|| board.take()).count(), 8, "all of its places");
    // It falls silent, and answers again.
    for (mission, ended) in [(1, Ended::Unanswered(due)), (2, Ended::Parked(Health::Unknown))] {
        board.finish(MissionNo(mission), ended);
        assert_eq!(board.ailing_in_flight, 8 - usize::try_from(mission).unwrap(), "not being asked heals nobody");
    }
    board.finish(MissionNo(3), Ended::Parked(Health::Answered));
    assert_eq!(board.ailing_in_flight, 0);
}

#[test]
fn a_dead_receiver_is_asked_ever_more_seldom_however_many_wait_for_it() {
    let mut board = Board::new(64, 8);
    (1..=1_000).for_each(|mission| board.announce(MissionNo(mission), &origin("dead")));
    assert_eq!(board.take(), None, "nothing of it is on disk yet");
    (1..=1_000).for_each(|mission| assert!(board.wake(MissionNo(mission))));
    let (mut now, mut attempts) = (NOW, Vec::new());
    while now < NOW + Duration::from_secs(60) {
        board.rise(now);
        for mission in std::iter::from_fn(|| board.take()).collect::<Vec<_>>() {
            assert!(board.claim(mission, &origin("dead")), "it is known where it goes");
            attempts.push(now - NOW);
            board.finish(mission, Ended::Unanswered(NOW + Duration::from_secs(3_600)));
        }
        now = board.next_due().expect("somebody waits").max(now + Duration::from_millis(1));
    }
    // All places are taken before the first answer is missing.
    let later = &attempts[8..];
    assert!(later.windows(2).all(|two| two[1] - two[0] >= 2 * REST && two[1] - two[0] <= REST_MAX), "{later:?}");
    assert!((15..=25).contains(&later.len()), "{later:?}");
    // It is back: nobody waits any longer.
    board.rise(now + REST_MAX);
    let first = board.take().expect("its turn");
    board.finish(first, Ended::Delivered);
    assert_eq!(std::iter::from_fn(|| board.take()).count(), 8);
}

#[test]
fn one_that_was_announced_and_comes_to_nothing_leaves_nothing() {
    let mut board = Board::new(8, 4);
    board.announce(MissionNo(1), &origin("a"));
    board.announce(MissionNo(2), &origin("a"));
    board.withdraw(MissionNo(1));
    assert!(board.wake(MissionNo(2)));
    board.withdraw(MissionNo(2));
    assert!(begin(&mut board, 2, "a"), "woken, it has come");
    board.finish(MissionNo(2), Ended::Quiet);
    assert!(board.missions.is_empty() && board.receivers.is_empty());
}

#[tokio::test]
async fn dead_receivers_never_hold_more_than_half_of_the_places() {
    let mut board = Board::new(8, 4);
    let due = NOW;
    for mission in 1..=100 {
        board.wake(MissionNo(mission));
        assert!(begin(&mut board, mission, &format!("dead-{mission}")));
        board.finish(MissionNo(mission), Ended::Unanswered(due));
    }
    board.rise(due);
    assert_eq!(std::iter::from_fn(|| board.take()).count(), 4);
    board.wake(MissionNo(1_000));
    assert!(begin(&mut board, 1_000, "well"));
}

#[tokio::test]
async fn what_is_kept_for_a_mission_that_rests_is_small() {
    assert!(size_of::<(MissionNo, Seat)>() + size_of::<Reverse<(Duration, MissionNo)>>() <= 80);
    let mut board = Board::new(8, 4);
    board.wake(MissionNo(1));
    assert!(begin(&mut board, 1, "a"));
    board.finish(MissionNo(1), Ended::Parked(Health::Answered));
    assert!(board.missions.is_empty() && board.receivers.is_empty(), "of a parked mission nothing is kept");
}

/// What can happen. Numbers choose among what is there.
#[derive(Debug, Clone)]
enum Step {
    Wake(u64),
    Hurry(u64),
    Take,
    Claim(usize, u8),
    Finish(usize, u8),
    Rise,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0_u64..20).prop_map(Step::Wake),
        1 => (0_u64..20).prop_map(Step::Hurry),
        4 => Just(Step::Take),
        3 => (any::<usize>(), 0_u8..5).prop_map(|(which, origin)| Step::Claim(which, origin)),
        3 => (any::<usize>(), any::<u8>()).prop_map(|(which, how)| Step::Finish(which, how)),
        1 => Just(Step::Rise),
    ];
    proptest::collection::vec(step, 0..400)
}

/// The naive model: who has a turn, since when nobody looked at a mission's news.
#[derive(Default)]
struct Model {
    busy: BTreeMap<MissionNo, Option<Origin>>,
    /// Woken, and not taken since.
    news: BTreeSet<MissionNo>,
    resting: BTreeSet<MissionNo>,
    /// Receivers whose last attempt was not answered, as far as they still have members.
    silent: BTreeSet<Origin>,
}

impl Model {
    fn check(&self, board: &Board) {
        assert!(board.in_flight == self.busy.len() && self.busy.len() <= board.in_flight_max);
        let mut ailing = 0;
        for (origin, receiver) in &board.receivers {
            let placed = self.busy.values().filter(|at| at.as_ref() == Some(origin)).count();
            assert_eq!(receiver.in_flight, placed, "{origin}");
            assert!(placed <= board.per_receiver);
            assert!(!receiver.ailing || self.silent.contains(origin), "{origin} is taken for dead");
            ailing += if receiver.ailing { placed } else { 0 };
            assert!(receiver.members > 0);
        }
        assert_eq!(board.ailing_in_flight, ailing);
    }
}

/// Ends everything in good health: whatever is still there must get its turn.
fn run_dry(board: &mut Board, model: &mut Model, now: Duration) {
    for (mission, _) in std::mem::take(&mut model.busy) {
        board.finish(mission, Ended::Quiet);
    }
    let mut later = now + Duration::from_secs(1_000);
    board.rise(later);
    while let Some(mission) = board.take() {
        model.news.remove(&mission);
        model.resting.remove(&mission);
        board.finish(mission, Ended::Quiet);
        later += REST_MAX;
        board.rise(later);
    }
    assert!(model.news.is_empty(), "news that nobody looked at: {:?}", model.news);
    assert!(model.resting.is_empty(), "rests without an end: {:?}", model.resting);
    assert_eq!((board.len(), board.receivers.len()), (0, 0));
}

proptest! {
    #[test]
    fn in_any_order_no_limit_is_passed_and_no_news_is_lost(steps in steps(), places in 2_usize..6, per_receiver in 1_usize..4) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let _guard = runtime.enter();
        let now = NOW;
        let mut board = Board::new(places, per_receiver);
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Wake(no) => {
                    board.wake(MissionNo(no));
                    model.news.insert(MissionNo(no));
                }
                Step::Hurry(no) => {
                    board.hurry(MissionNo(no));
                    model.news.insert(MissionNo(no));
                }
                Step::Take => {
                    if let Some(mission) = board.take() {
                        let Phase::Busy { placed, .. } = board.missions[&mission].phase else { unreachable!() };
                        let at = if placed { board.missions[&mission].origin.clone() } else { None };
                        prop_assert!(model.busy.insert(mission, at).is_none(), "two turns of one mission");
                        model.news.remove(&mission);
                        model.resting.remove(&mission);
                    }
                }
                Step::Claim(which, at) => {
                    let Some((&mission, _)) = model.busy.iter().nth(which % model.busy.len().max(1)) else { continue };
                    let at = origin(&at.to_string());
                    if board.claim(mission, &at) {
                        model.busy.insert(mission, Some(at));
                    } else {
                        model.busy.remove(&mission);
                        // It waits for its turn, which is as good as news.
                        model.news.insert(mission);
                    }
                }
                Step::Finish(which, how) => {
                    let Some((&mission, at)) = model.busy.iter().nth(which % model.busy.len().max(1)) else { continue };
                    let due = now + Duration::from_secs(how.into());
                    let ended = match how % 8 {
                        0 => Ended::Quiet,
                        1 if at.is_some() => Ended::Delivered,
                        2 if at.is_some() => Ended::Parked(Health::Answered),
                        3 if at.is_some() => Ended::Parked(Health::Silent),
                        4 if at.is_some() => Ended::Parked(Health::Unknown),
                        5 if at.is_some() => Ended::Unanswered(due),
                        6 if at.is_some() => Ended::Refused(due),
                        _ => Ended::Troubled(due),
                    };
                    match (ended, at.clone()) {
                        (Ended::Delivered | Ended::Parked(Health::Answered) | Ended::Refused(_), Some(at)) => {
                            model.silent.remove(&at);
                        }
                        (Ended::Unanswered(_) | Ended::Parked(Health::Silent), Some(at)) => {
                            model.silent.insert(at);
                        }
                        _ => {}
                    }
                    board.finish(mission, ended);
                    model.busy.remove(&mission);
                    match ended {
                        Ended::Quiet | Ended::Parked(_) => {}
                        Ended::Delivered => drop(model.news.insert(mission)),
                        Ended::Unanswered(_) | Ended::Refused(_) | Ended::Troubled(_) => {
                            model.resting.insert(mission);
                        }
                    }
                }
                Step::Rise => board.rise(now + Duration::from_secs(100)),
            }
            model.check(&board);
        }
        run_dry(&mut board, &mut model, now);
    }
}
