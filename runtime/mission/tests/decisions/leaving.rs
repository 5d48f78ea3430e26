//! *Waiting costs nothing*: when a run leaves memory.

use std::time::Duration;

use jiff::SignedDuration;
use serde_json::json;
use sortie_contract::request::RequestKind;
use sortie_mission::{Idle, Leave};

use crate::support::{Tested, the};

const LONG: u64 = 40_000;

/// What a plugin waits for.
#[derive(Debug, Clone, Copy)]
enum For {
    Nothing,
    People,
    ACall,
    PeopleAndACall,
}

fn waiting(what: For) -> Tested {
    let mut mission = Tested::running(json!({"constraints": {"allowed_tools": ["*"], "approval_required": ["Edit"]}}));
    if matches!(what, For::People | For::PeopleAndACall) {
        mission.held(&the("Edit"), 0, RequestKind::Approval);
    }
    if matches!(what, For::ACall | For::PeopleAndACall) {
        mission.call(&the("Read"), 0).expect("granted");
    }
    mission
}

/// Which it is after so long, so long after the latest record, with a timer so far off; in milliseconds.
fn leaves(what: For, waited: u64, quiet: u64, timer: Option<i64>) -> Leave {
    let (waited, quiet) = (Duration::from_millis(waited), Duration::from_millis(quiet));
    waiting(what).mission.leaves(&Idle { waited, quiet, timer: timer.map(SignedDuration::from_millis) })
}

#[test]
fn who_only_waits_leaves_after_a_moment_and_comes_back_with_its_timer() {
    let (hour, an_hour) = (Some(3_600_000), Some(Duration::from_secs(3_600)));
    for (what, waited, quiet, timer, back_in) in [
        (For::People, 500, 500, None, None),
        (For::People, LONG, LONG, None, None),
        (For::People, 500, 500, hour, an_hour),
        (For::People, 500, 500, Some(1_001), Some(Duration::from_millis(1_001))),
        (For::Nothing, 30_000, 30_000, hour, an_hour),
        (For::Nothing, 30_000, 500, hour, an_hour),
        // Over for a while, and nobody has gone on: it may not have noticed.
        (For::People, LONG, LONG, Some(-501), Some(Duration::ZERO)),
        (For::Nothing, LONG, LONG, Some(-501), Some(Duration::ZERO)),
    ] {
        let said = leaves(what, waited, quiet, timer);
        assert_eq!(said, Leave::Now { back_in }, "{what:?} {waited} {quiet} {timer:?}");
    }
}

#[test]
fn who_may_have_something_to_do_soon_stays_and_is_looked_at_again() {
    let hour = Some(3_600_000);
    let moment = Duration::from_millis(500);
    for (what, waited, quiet, timer, look_again_in) in [
        // A moment is not over.
        (For::People, 0, 0, None, moment),
        (For::People, 499, 499, None, moment),
        (For::Nothing, 29_999, 29_999, hour, moment),
        // Something was recorded, which may be what it waits for.
        (For::People, LONG, 0, None, moment),
        (For::People, LONG, 200, None, Duration::from_millis(300)),
        (For::Nothing, LONG, 499, hour, Duration::from_millis(1)),
        // A timer is about to wake it.
        (For::People, LONG, LONG, Some(1_000), moment),
        (For::People, LONG, LONG, Some(0), moment),
        (For::People, LONG, LONG, Some(-500), moment),
        (For::Nothing, LONG, LONG, Some(1_000), moment),
        // A call is being made.
        (For::ACall, LONG, LONG, hour, moment),
        (For::PeopleAndACall, LONG, LONG, None, moment),
        (For::PeopleAndACall, LONG, LONG, hour, moment),
        // Nothing would bring it back.
        (For::Nothing, LONG, LONG, None, moment),
    ] {
        let said = leaves(what, waited, quiet, timer);
        assert_eq!(said, Leave::NotYet { look_again_in }, "{what:?} {waited} {quiet} {timer:?}");
    }
}
