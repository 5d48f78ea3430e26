//! A mission whose records cannot all be read: one end, and no number of an event twice.

use serde_json::json;
use sortie_contract::overview::Overview;
use sortie_contract::{Reason, Record, Status};
use sortie_mission::{Mission, Remains};

use super::support::Tested;

/// Nothing is known but what can be read.
const NOTHING: Remains<'_> = Remains {
    why: "its checksum does not match",
    until: 90,
    status: None,
    overview: None,
    last: None,
    acked: 0,
    delivered: false,
};

/// What a head shows of a mission that has told so many events.
fn shown(tested: &Tested, sequence: u64, reason: Option<Reason>) -> Overview {
    Overview { sequence, reason, summary: "As it was told.".to_owned(), ..tested.mission.overview() }
}

#[test]
fn an_unreadable_mission_has_one_end_and_no_number_twice() {
    use Status::{Completed, Failed, Running};
    // What can be read has told two events.
    let tested = Tested::running(json!({}));
    let finished = |status, reason| Record::Finished {
        status,
        reason,
        summary: "As it was told.".to_owned(),
        next_action: "Rest.".to_owned(),
    };
    let (done, reason) = (finished(Completed, Reason::Done), Reason::Done);
    let beside = |status, sequence, reason, acked| (status, shown(&tested, sequence, reason), acked);
    for (what, (status, overview, acked), last, delivered, ends, sequence, item) in [
        ("as the head says", beside(Running, 2, None, 0), None, false, Failed, 3, 3),
        ("the head knows of more", beside(Running, 4, None, 0), None, false, Failed, 5, 3),
        ("its receiver has more", beside(Running, 2, None, 7), None, false, Failed, 8, 8),
        ("its receiver has less", beside(Running, 2, None, 1), None, false, Failed, 3, 3),
        ("ended, and nobody was told", beside(Completed, 6, Some(reason), 2), None, false, Completed, 6, 3),
        ("ended, and told", beside(Completed, 6, Some(reason), 6), None, true, Completed, 6, 6),
        ("its end can be read", beside(Running, 2, None, 2), Some(&done), false, Completed, 3, 3),
    ] {
        let overview = Some(&overview);
        let remains = Remains { status: Some(status), overview, acked, last, delivered, ..NOTHING };
        let mut mission = tested.mission.clone();
        let [gap, end] = mission.quarantine(&remains);
        for record in [gap, end] {
            let mut stamped = tested.records[1].clone();
            stamped.record = record;
            mission.apply(&stamped).expect(what);
        }
        assert_eq!((mission.status(), mission.sequence(), mission.outgoing()), (ends, sequence, item), "{what}");
        assert_eq!(mission.records(), 91, "{what}: nothing that was recorded has one of these numbers");
        let reason = if ends == Failed { Reason::Unreadable } else { Reason::Done };
        assert_eq!(mission.reason(), Some(reason), "{what}");
    }
}

#[test]
fn its_end_says_what_is_lost_and_what_to_do() {
    let tested = Tested::running(json!({}));
    let overview = shown(&tested, 5, None);
    let remains = Remains { status: Some(Status::Running), overview: Some(&overview), ..NOTHING };
    let [_, end] = tested.mission.quarantine(&remains);
    let Record::Finished { summary, next_action, .. } = end else { panic!("{end:?}") };
    assert!(summary.contains("its checksum does not match. Events 3 to 5 cannot be told again."), "{summary}");
    assert!(next_action.contains("from a backup"), "{next_action}");
}

#[test]
fn nothing_is_passed_over_behind_the_end() {
    let mut tested = Tested::running(json!({}));
    tested.says_done();
    let mut stamped = tested.records[0].clone();
    stamped.record = Record::Unreadable { until: 90, sequence: 9, items: 9 };
    let mut mission: Mission = tested.mission.clone();
    assert!(mission.apply(&stamped).is_err());
    assert_eq!(mission, tested.mission, "an illegal record changes nothing");
}
