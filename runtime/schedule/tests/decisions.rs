//! The sentences of the contract's *Schedules*, each as a test.

mod support;

use jiff::SignedDuration;
use sortie_contract::{Mistake, Pointer, Status, Timestamp};
use sortie_schedule::{
    Action, BACKFILLS_MAX, BUFFER_MAX, BackfillError, FireWindow, Note, Order, Origin, Overlap, Place, Position,
    RUNNING_MAX, TriggerError, backfill, ended, outlook, pause, refused, resume, revise, settle, trigger, upcoming,
    wakes_at,
};
use support::{Driven, at, schedule};

#[test]
fn each_fire_has_its_mission_named_after_its_time_in_utc() {
    let schedule = schedule("zone = \"America/Chicago\"\nat = \"0 20 * * *\"");
    let fire = schedule.next(at("2026-11-24T12:00:00Z")).expect("a fire");
    assert_eq!(schedule.mission_id(fire.at).as_str(), "s:20261125T020000Z");
}

#[test]
fn no_clock_that_is_set_back_fires_twice() {
    let mut driven = Driven::new(schedule("every = \"1h\"\noverlap = \"allow_all\""), "00:30");
    driven.jump("03:10").jump("01:10").jump("03:50").jump("04:00");
    assert_eq!(driven.happened(), ["fired 01:00", "fired 02:00", "fired 03:00", "fired 04:00"]);
}

#[test]
fn what_was_missed_is_made_up_for_by_the_policy() {
    // A week down, a day of it is made up for, and it is back half a minute after today's time.
    for (policy, expected) in [
        ("all", vec!["missed 02:00..02:00 (6): TooLate", "fired 02:00", "fired 02:00"]),
        ("last", vec!["missed 02:00..02:00 (6): TooLate", "missed 02:00: NotTheLast", "fired 02:00"]),
        ("none", vec!["missed 02:00..02:00 (7): NotCaughtUp", "fired 02:00"]),
    ] {
        let lines = "zone = \"UTC\"\nat = \"0 2 * * *\"\ncatch_up = \"25h\"\noverlap = \"allow_all\"";
        let mut driven =
            Driven::new(schedule(&format!("{lines}\ncatch_up_policy = \"{policy}\"")), "2022-05-25T03:00:00Z");
        driven.jump("2022-06-02T02:00:30Z");
        assert_eq!(driven.happened(), expected, "{policy}");
    }
    // Up to a minute nobody calls it late, whatever the policy.
    for (now, expected) in [("02:01", "fired 02:00"), ("02:01:01", "missed 02:00: NotCaughtUp")] {
        let mut driven = Driven::new(schedule("at = \"0 2 * * *\"\ncatch_up_policy = \"none\""), "00:00");
        driven.jump(now);
        assert_eq!(driven.happened(), [expected], "{now}");
    }
}

#[test]
fn a_fire_that_is_late_says_how_much() {
    let schedule = schedule("at = \"0 2 * * *\"\noverlap = \"buffer_all\"");
    let driven = Driven::new(schedule, "00:00");
    let actions = sortie_schedule::decide(&driven.schedule, &driven.position, 0, at("02:05"));
    assert!(matches!(actions[..], [Action::Fired { late_ms: 300_000, waited: false, .. }]), "{actions:?}");
}

#[test]
fn what_is_late_for_its_window_is_missed_and_what_waits_too_long_is_skipped() {
    let mut driven = Driven::new(schedule("at = \"0 2 * * *\"\nopens_for = \"4h\""), "00:00");
    driven.jump("06:00");
    assert_eq!(driven.happened(), ["missed 02:00: WindowOver"]);
    let mut driven = Driven::new(schedule("every = \"6h\"\nopens_for = \"4h\"\noverlap = \"buffer_all\""), "00:00");
    driven.jump("06:00").jump("12:00");
    assert_eq!(wakes_at(&driven.schedule, &driven.position, driven.now), Some(at("16:00")));
    driven.jump("16:00").end().jump("18:00");
    assert_eq!(driven.happened(), ["fired 06:00", "waits 12:00", "skipped 12:00: WindowOver", "fired 18:00"]);
}

#[test]
fn the_window_is_of_real_time_after_the_fire() {
    // Two hours before the clock of Chicago goes forward, for four hours.
    let schedule = schedule("zone = \"America/Chicago\"\nat = \"0 0 * * *\"\nopens_for = \"4h\"");
    let fire = schedule.next(at("2026-03-08T00:00:00Z")).expect("a fire");
    let window = schedule.window(fire, Origin::Scheduled, fire.due);
    assert_eq!(window, FireWindow { opens: at("2026-03-08T06:00:00Z"), closes: Some(at("2026-03-08T10:00:00Z")) });
    // By hand it is open from when it is made.
    let made = at("2026-03-09T15:00:00Z");
    let window = schedule.window(fire, Origin::Backfilled, made);
    assert_eq!(window, FireWindow { opens: made, closes: Some(at("2026-03-09T19:00:00Z")) });
}

#[test]
fn a_pause_by_hand_outlasts_an_automatic_one_and_the_other_way_round() {
    let lines = "every = \"1h\"\npause_after_failures = 2\noverlap = \"allow_all\"";
    let mut driven = Driven::new(schedule(lines), "00:30");
    let paused = pause(&driven.position, Some(at("03:30")), None);
    driven.take(&paused);
    for status in [Status::Failed, Status::Cancelled, Status::TimedOut, Status::Completed] {
        let actions = ended(&driven.schedule, &driven.position, status);
        driven.take(&actions);
    }
    let pauses = driven.position.pauses().clone();
    assert_eq!(pauses.by_hand.map(|by_hand| by_hand.until), Some(Some(at("03:30"))), "both stand");
    assert_eq!(pauses.after_failures, Some(2));
    // A cancelled one says nothing; a success ends the row and lifts nothing. By hand it would be over at 03:30.
    driven.jump("04:00");
    assert_eq!(driven.happened(), ["paused", "paused", "skipped 01:00..04:00 (4): Paused"]);
    let resumed = resume(&driven.position);
    driven.take(&resumed);
    assert_eq!(resume(&driven.position), []);
    driven.jump("05:00");
    assert_eq!(driven.happened(), ["resumed", "fired 05:00"]);
    // Until a time: what was due before is skipped, also if nobody looked.
    let paused = pause(&driven.position, Some(at("07:30")), None);
    driven.take(&paused);
    driven.jump("08:10");
    assert_eq!(driven.happened(), ["paused", "skipped 06:00..07:00 (2): Paused", "fired 08:00"]);
}

#[test]
fn each_end_of_a_mission_says_something_or_nothing_about_the_next() {
    let mut driven = Driven::new(schedule("every = \"1h\""), "00:30");
    driven.position.apply(&Action::Failures { count: 3 });
    for (status, expected) in [
        (Status::Completed, Some(0)),
        (Status::Failed, Some(4)),
        (Status::TimedOut, Some(4)),
        (Status::Cancelled, None),
        (Status::Queued, None),
        (Status::Running, None),
        (Status::Blocked, None),
    ] {
        let expected: Vec<Action> = expected.into_iter().map(|count| Action::Failures { count }).collect();
        assert_eq!(ended(&driven.schedule, &driven.position, status), expected, "{status}");
    }
    let of = |code: &str| [Mistake::new(Pointer::root(), code, "no")];
    let refused = |code: &str| refused(&driven.schedule, &driven.position, &of(code));
    assert_eq!(refused("misspelt_tool"), [Action::Failures { count: 4 }], "as one that failed");
    assert_eq!(refused("outside_hours"), [], "a holiday is no failure");
}

#[test]
fn what_waits_when_a_pause_begins_is_skipped_but_for_what_a_person_asked_for() {
    let expected =
        ["paused", "skipped 02:00: Paused", "fired 02:20 from the queue", "skipped 03:00: Paused", "resumed"];
    // A person pauses it, or a mission that failed.
    for by_hand in [true, false] {
        let lines = "every = \"1h\"\noverlap = \"buffer_all\"\npause_after_failures = 1";
        let mut driven = Driven::new(schedule(lines), "00:30");
        driven.jump("01:00").jump("02:00");
        driven.now = at("02:20");
        let asked = trigger(&driven.schedule, &driven.position, 1, driven.now, None).expect("a time");
        driven.take(&asked);
        assert_eq!(driven.happened(), ["fired 01:00", "waits 02:00", "waits 02:20"]);
        let paused = if by_hand {
            pause(&driven.position, Some(at("03:30")), None)
        } else {
            ended(&driven.schedule, &driven.position, Status::Failed)
        };
        driven.take(&paused);
        assert_eq!(driven.position.waiting().count(), 1, "in one with the pause");
        driven.end().jump("03:00").end();
        let resumed = resume(&driven.position);
        driven.take(&resumed);
        assert_eq!(driven.happened(), expected, "by hand: {by_hand}");
        driven.jump("04:00");
        assert_eq!(driven.happened(), ["fired 04:00"], "nothing of before the pause runs after it");
    }
}

#[test]
fn of_one_schedule_a_thousand_missions_run_and_what_comes_then_is_held_up() {
    let mut driven = Driven::new(schedule("every = \"1h\"\noverlap = \"allow_all\"\nopens_for = \"4h\""), "00:30");
    driven.running = vec![at("00:00"); RUNNING_MAX];
    driven.jump("02:00");
    assert_eq!(driven.happened(), [""; 0], "neither fired nor left out");
    assert_eq!(wakes_at(&driven.schedule, &driven.position, driven.now), Some(at("05:00")), "its window closes");
    let beside = trigger(&driven.schedule, &driven.position, RUNNING_MAX, driven.now, None);
    assert_eq!(beside, Err(TriggerError::HeldUp));
    driven.end();
    assert_eq!(driven.happened(), ["fired 01:00"]);
    driven.end().jump("06:00");
    assert_eq!(driven.happened(), ["fired 02:00"]);
    driven.end();
    assert_eq!(driven.happened(), ["fired 03:00"]);
    // Its backfills are, too.
    let asked = backfill(&driven.schedule, &driven.position, at("00:00"), at("01:00"), Order::Together).expect("times");
    driven.take(&asked);
    driven.settle();
    assert_eq!(driven.happened(), [""; 0]);
}

#[test]
fn an_outlook_says_what_each_policy_would_do_with_the_next_fire() {
    use Place::{CancelAndFire, Fire, Skip, Wait};
    let mut driven = Driven::new(schedule("every = \"1h\"\noverlap = \"buffer_one\"\nruns = 3"), "00:30");
    let of = |driven: &Driven| outlook(&driven.schedule, &driven.position, driven.running.len(), driven.now);
    assert_eq!(of(&driven), None, "nothing runs");
    for (now, next, expected) in [
        ("01:00", "02:00", [Skip, Wait, Wait, CancelAndFire, Fire]),
        ("02:00", "03:00", [Skip, Skip, Wait, CancelAndFire, Fire]),
    ] {
        driven.jump(now);
        let outlook = of(&driven).expect("one runs");
        assert_eq!((outlook.fire.at, outlook.places.map(|(_, place)| place)), (at(next), expected));
        assert_eq!(outlook.places.map(|(overlap, _)| overlap), Overlap::ALL);
    }
    let paused = pause(&driven.position, Some(at("03:30")), None);
    driven.take(&paused);
    assert_eq!(of(&driven), None, "the next one falls into a pause");
}

#[test]
fn runs_count_the_schedules_own_times() {
    let mut driven = Driven::new(schedule("every = \"1h\"\nruns = 2\noverlap = \"buffer_all\""), "00:30");
    let asked = trigger(&driven.schedule, &driven.position, 0, driven.now, None).expect("a time");
    driven.take(&asked);
    driven.jump("01:00").jump("02:00").jump("03:00");
    driven.end().end();
    assert_eq!(
        driven.happened(),
        [
            "fired 00:30 Triggered",
            "waits 01:00",
            "waits 02:00",
            "waits 03:00",
            "fired 01:00 from the queue",
            "fired 02:00 from the queue",
            "skipped 03:00: RunsOut",
        ]
    );
    assert_eq!(wakes_at(&driven.schedule, &driven.position, driven.now), None);
}

#[test]
fn two_triggers_and_a_fire_have_three_names() {
    let driven = Driven::new(schedule("every = \"1h\""), "00:30");
    let mut position = driven.position.clone();
    let mut names = vec![];
    // On the fire's own second, twice, and once more after the clock was set back.
    for now in ["01:00", "01:00", "00:59:58"] {
        let asked = trigger(&driven.schedule, &position, 0, at(now), Some(Overlap::AllowAll)).expect("a time");
        for action in &asked {
            position.apply(action);
            let Action::Fired { fire, origin: Origin::Triggered, .. } = action else { panic!("{action:?}") };
            names.push(fire.at);
        }
    }
    assert_eq!(names, [at("01:00:01"), at("01:00:02"), at("01:00:03")]);
    let each_second = schedule("every = \"1s\"\nallow_frequent = true");
    assert_eq!(trigger(&each_second, &position, 0, at("00:00"), None), Err(TriggerError::NoTime));
}

#[test]
fn a_backfill_is_of_times_that_are_over() {
    let driven = Driven::new(schedule("every = \"1h\""), "00:30");
    let ask = |from, to| backfill(&driven.schedule, &driven.position, at(from), at(to), Order::InTurn);
    assert_eq!(ask("01:00", "02:00"), Err(BackfillError::NotOver));
    assert_eq!(ask("00:01", "00:59"), Err(BackfillError::NoTimes));
    assert_eq!(ask("00:20", "00:10"), Err(BackfillError::Range));
    let began = ask("00:00", "09:00").expect("a range");
    let [Action::BackfillBegan { backfill: asked }] = &began[..] else { panic!("{began:?}") };
    assert_eq!(asked.to, driven.position.considered(), "what is to come is the schedule's");
    let mut position = driven.position.clone();
    for _ in 0..BACKFILLS_MAX {
        position.apply(&Action::BackfillBegan { backfill: *asked });
    }
    assert_eq!(
        backfill(&driven.schedule, &position, at("00:00"), at("00:10"), Order::InTurn),
        Err(BackfillError::TooMany)
    );
    let often = Driven::new(schedule("every = \"1s\"\nallow_frequent = true"), "10:30");
    let ask = |from, to| backfill(&often.schedule, &often.position, at(from), at(to), Order::Together);
    assert_eq!(ask("01:00", "09:00"), Err(BackfillError::TooLong), "each is a mission");
    assert!(ask("01:00", "03:46:39").is_ok(), "as many as may be");
}

#[test]
fn a_backfill_in_turn_pushes_no_night_out() {
    let mut driven = Driven::new(schedule("every = \"1h\"\noverlap = \"buffer_all\""), "10:30");
    let asked = backfill(&driven.schedule, &driven.position, at("00:30"), at("03:30"), Order::InTurn).expect("a range");
    driven.take(&asked);
    driven.settle();
    driven.jump("11:00").end().end().end();
    assert_eq!(
        driven.happened(),
        [
            "fired 01:00 Backfilled",
            "waits 11:00",
            "fired 11:00 from the queue",
            "fired 02:00 Backfilled",
            "fired 03:00 Backfilled",
        ]
    );
}

#[test]
fn a_change_is_not_retroactive_and_loses_nothing_that_was_due() {
    let old = schedule("every = \"1h\"\noverlap = \"allow_all\"");
    let new = schedule("every = \"10m\"\noverlap = \"allow_all\"");
    let mut driven = Driven::new(old, "00:30");
    driven.now = at("01:35");
    let settled = settle(&driven.schedule, &driven.position, 0, driven.now);
    driven.take(&settled);
    let actions = revise(&driven.schedule, &new, &driven.position, driven.now);
    driven.take(&actions);
    driven.schedule = new;
    driven.jump("01:50");
    assert_eq!(driven.happened(), ["fired 01:00", "fired 01:40", "fired 01:50"]);
}

#[test]
fn what_was_due_and_could_not_be_made_is_the_new_ones_where_it_has_the_time() {
    // Nobody settles: the node was full.
    for (new, expected) in [
        (
            "every = \"1h\"\noverlap = \"allow_all\"",
            vec!["waits 01:00", "waits 02:00", "fired 01:00 from the queue", "fired 02:00 from the queue"],
        ),
        ("every = \"2h\"", vec!["skipped 01:00: Revised", "waits 02:00", "fired 02:00 from the queue"]),
        ("every = \"7h\"", vec!["skipped 01:00..02:00 (2): Revised"]),
    ] {
        let mut driven = Driven::new(schedule("every = \"1h\""), "00:30");
        driven.now = at("02:10");
        let new = schedule(new);
        let actions = revise(&driven.schedule, &new, &driven.position, driven.now);
        driven.take(&actions);
        driven.schedule = new;
        driven.settle();
        assert_eq!(driven.happened(), expected);
    }
    // What is too late is missed, as ever.
    let late = schedule("every = \"1h\"\ncatch_up = \"30m\"");
    let mut driven = Driven::new(late.clone(), "00:30");
    driven.now = at("03:10");
    let actions = revise(&driven.schedule, &late, &driven.position, driven.now);
    driven.take(&actions);
    assert_eq!(driven.happened(), ["missed 01:00..02:00 (2): TooLate", "waits 03:00"]);
    let each_second = schedule("every = \"1s\"\nallow_frequent = true");
    let actions = revise(&each_second, &each_second, &Position::new(at("00:00")), at("00:00:10"));
    assert_eq!(actions.len(), 11, "each second, and the change");
    let actions = revise(&each_second, &each_second, &Position::new(at("00:00")), at("01:00"));
    assert_eq!(actions.len(), BUFFER_MAX + 2, "of those beyond what may wait it is said once that they are left out");
}

#[test]
fn a_change_between_a_time_and_its_jitter_keeps_or_skips_it() {
    let old = schedule("every = \"1h\"\njitter = \"50m\"");
    let fire = old.next(at("00:30")).expect("a fire");
    let between = fire.due.checked_sub(SignedDuration::from_secs(1)).expect("in range");
    for (new, expected) in [
        (schedule("every = \"1h\""), vec!["fired 01:00"]),
        (schedule("every = \"7h\""), vec!["skipped 01:00: Revised"]),
    ] {
        let mut driven = Driven::new(old.clone(), "00:30");
        driven.now = between;
        let actions = revise(&driven.schedule, &new, &driven.position, driven.now);
        driven.take(&actions);
        driven.schedule = new;
        driven.settle();
        assert_eq!(driven.happened(), expected);
    }
}

#[test]
fn a_year_of_downtime_is_told_in_spans_and_in_pieces() {
    let schedule = schedule("at = \"* * * * *\"\ncatch_up = \"0s\"");
    let mut driven = Driven::new(schedule, "2022-05-30T00:00:00Z");
    let first = sortie_schedule::decide(&driven.schedule, &driven.position, 0, at("00:00"));
    let [Action::Missed { fires, .. }] = first[..] else { panic!("{first:?}") };
    assert_eq!(fires.count, 1_000, "one decision looks at so many");
    driven.jump("00:00");
    let happened = driven.happened();
    assert_eq!(happened.len(), 5, "{happened:?}");
    // The last two are late by a minute and by nothing.
    assert_eq!(happened[3..], ["fired 23:59", "skipped 00:00: Overlap"]);
}

#[test]
fn a_preview_marks_clock_changes() {
    let told = |lines: &str, after: &str| -> Vec<String> {
        let marked =
            |upcoming: sortie_schedule::Upcoming| format!("{} {} {:?}", upcoming.at, upcoming.local, upcoming.note);
        upcoming(&schedule(lines), at(after), 2).into_iter().map(marked).collect()
    };
    let nightly = "zone = \"America/Chicago\"\nat = \"30 2 * * *\"";
    assert_eq!(
        told(nightly, "2026-03-08T00:00:00Z"),
        [
            "2026-03-08T08:00:00Z 2026-03-08T03:00:00-05:00 Some(Gap)",
            "2026-03-09T07:30:00Z 2026-03-09T02:30:00-05:00 None",
        ]
    );
    let early = "zone = \"America/Chicago\"\nat = \"30 1 * * *\"";
    assert_eq!(
        told(early, "2026-11-01T00:00:00Z"),
        [
            "2026-11-01T06:30:00Z 2026-11-01T01:30:00-05:00 Some(Fold)",
            "2026-11-02T07:30:00Z 2026-11-02T01:30:00-06:00 None",
        ]
    );
    let notes = serde_json::to_string(&[Some(Note::Gap), Some(Note::Fold), None]).expect("JSON");
    assert_eq!(notes, r#"["gap","fold",null]"#);
}

#[test]
fn a_preview_of_ten_years_is_whole() {
    let nightly = schedule("zone = \"America/Chicago\"\nat = \"0 2 * * 1-5\"\nopens_for = \"4h\"\njitter = \"5m\"");
    let from: Timestamp = at("2026-11-25T00:00:00Z");
    let all = upcoming(&nightly, from, 2_610);
    assert_eq!(all.len(), 2_610);
    assert!(all.windows(2).all(|pair| pair[0].due < pair[1].at));
    assert_eq!(&all[2_609].local[..4], "2036");
}
