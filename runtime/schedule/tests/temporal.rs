//! What Temporal's own tests of schedules expect, as tables: spec, calendar, overlap, buffer, catch-up, backfill, pause.
//!
//! Read there: `service/worker/scheduler/{spec,calendar,buffer,workflow}_test.go`. None of their code is here. Where this house decides
//! otherwise, the table says so.

mod support;

use sortie_contract::{Status, Timestamp};
use sortie_schedule::{
    Action, Backfill, BackfillError, Calendars, Form, Order, Origin, Overlap, Position, RUNNING_MAX, Schedule,
    backfill, decide, ended, pause, resume, trigger,
};
use support::{Driven, at, schedule};

/// The fires after a time.
fn sequence(lines: &str, after: &str, expected: &[&str]) {
    let schedule = schedule(lines);
    let fires: Vec<Timestamp> = schedule.fires(at(after)).map(|fire| fire.at).take(expected.len()).collect();
    assert_eq!(fires, expected.iter().map(|text| at(text)).collect::<Vec<_>>(), "{lines}");
}

#[test]
fn spec_intervals_are_counted_from_1970() {
    let after = "2022-03-23T12:53:02.000000009Z";
    sequence(
        "every = \"90m\"",
        after,
        &["2022-03-23T13:30:00Z", "2022-03-23T15:00:00Z", "2022-03-23T16:30:00Z", "2022-03-23T18:00:00Z"],
    );
    sequence(
        "every = \"90m\"\noffset = \"5m 44s\"",
        after,
        &["2022-03-23T13:35:44Z", "2022-03-23T15:05:44Z", "2022-03-23T16:35:44Z", "2022-03-23T18:05:44Z"],
    );
}

#[test]
fn spec_calendars_and_intervals_are_united() {
    let from = "2022-03-23T03:00:00Z";
    let day = ["05:23", "07:23", "11:55", "13:55"].map(|time| format!("2022-03-23T{time}:00Z"));
    let expected: Vec<&str> = day.iter().map(String::as_str).chain(["2022-03-24T05:23:00Z"]).collect();
    sequence("at = [\"23 5,7 * * *\", \"55 11,13 * * *\"]", from, &expected);
    sequence(
        "at = \"55 11,13 * * *\"\nevery = \"90m\"\noffset = \"7m\"",
        "2022-03-23T10:00:00Z",
        &[
            "2022-03-23T10:37:00Z",
            "2022-03-23T11:55:00Z",
            "2022-03-23T12:07:00Z",
            "2022-03-23T13:37:00Z",
            "2022-03-23T13:55:00Z",
            "2022-03-23T15:07:00Z",
        ],
    );
}

#[test]
fn spec_exclusions_starts_and_ends_bound_it() {
    sequence(
        "every = \"90m\"\nexcept = \"2022-03-23T12:00..2022-03-23T15:00\"",
        "2022-03-23T08:00:00Z",
        &["2022-03-23T09:00:00Z", "2022-03-23T10:30:00Z", "2022-03-23T15:00:00Z", "2022-03-23T16:30:00Z"],
    );
    sequence(
        "every = \"90m\"\nstart_at = \"2022-03-23T12:00:00Z\"",
        "2022-03-23T08:00:00Z",
        &["2022-03-23T12:00:00Z", "2022-03-23T13:30:00Z"],
    );
    // A start within a second, asked for earlier in the same second.
    sequence(
        "every = \"1h\"\nstart_at = \"2022-03-23T12:00:00.456Z\"",
        "2022-03-23T12:00:00.123Z",
        &["2022-03-23T13:00:00Z"],
    );
    let ends = schedule("every = \"90m\"\nend_at = \"2022-03-23T14:00:00Z\"");
    let fires: Vec<_> = ends.fires(at("2022-03-23T11:00:00Z")).map(|fire| fire.at).collect();
    assert_eq!(fires, [at("2022-03-23T12:00:00Z"), at("2022-03-23T13:30:00Z")]);
}

#[test]
fn spec_jitter_stays_before_the_next_time_and_differs_by_schedule() {
    let wide = schedule("every = \"90m\"\njitter = \"24h\"");
    let fires: Vec<_> = wide.fires(at("2022-03-23T11:00:00Z")).take(200).collect();
    for pair in fires.windows(2) {
        assert!(pair[0].at <= pair[0].due && pair[0].due < pair[1].at, "{pair:?}");
    }
    // Spread over the whole of it, and the same whenever it is asked.
    let offsets = fires.iter().map(|fire| fire.due.as_second() - fire.at.as_second());
    assert!(offsets.clone().any(|offset| offset < 900) && offsets.clone().any(|offset| offset > 4_500));
    assert_eq!(wide.next(at("2022-03-23T11:00:00Z")), Some(fires[0]));
    let of = |id: &str| {
        let text = format!("id = \"{id}\"\nevery = \"24h\"\njitter = \"1h\"\n[mission]\n");
        let schedule = Schedule::parse(&text, Form::Toml, &Calendars::none()).expect("a schedule");
        schedule.next(at("2022-03-23T11:00:00Z")).expect("a fire").due
    };
    assert_ne!(of("seed-1"), of("seed-2"));
    // A single one has all of it.
    let once =
        schedule("once = \"2022-04-07T13:55:00\"\njitter = \"1h\"").next(at("2022-03-23T11:00:00Z")).expect("a fire");
    assert!(once.at == at("2022-04-07T13:55:00Z") && once.due.as_second() - once.at.as_second() < 3_600);
}

#[test]
fn spec_what_is_always_excluded_never_fires() {
    let text = "id = \"s\"\nzone = \"UTC\"\nevery = \"7d\"\nexcept = \"1970-01-01..2100-12-31\"\n[mission]\n";
    let mistakes = Schedule::parse(text, Form::Toml, &Calendars::none()).expect_err("never");
    assert_eq!(mistakes[0].code, "never_fires");
}

#[test]
fn calendar_the_next_is_the_same_from_every_second_before() {
    for (lines, after, expected) in [
        // 2/2 of Temporal is 2-31/2 here; both days must be given with a wildcard to hold together.
        (
            "zone = \"US/Pacific\"\nat = \"33 2 * * *\"",
            "2022-03-12T04:00:00Z",
            ["2022-03-12T10:33:00Z", "2022-03-13T10:00:00Z"],
        ),
        // Temporal leaves the time in a gap out; so does on_gap = "skip".
        (
            "zone = \"US/Pacific\"\nat = \"33 2 * * *\"\non_gap = \"skip\"",
            "2022-03-12T04:00:00Z",
            ["2022-03-12T10:33:00Z", "2022-03-14T09:33:00Z"],
        ),
        // Temporal fires in both rounds; so does on_fold = "both".
        (
            "zone = \"US/Pacific\"\nat = \"33,44 1 * * *\"\non_fold = \"both\"",
            "2021-11-07T08:40:00Z",
            ["2021-11-07T08:44:00Z", "2021-11-07T09:33:00Z"],
        ),
        // Begun in a repeated hour, and not ended in one.
        (
            "zone = \"Europe/London\"\nat = [\"1 0 2 1 *\"]",
            "2004-10-31T01:07:03Z",
            ["2005-01-02T00:01:00Z", "2006-01-02T00:01:00Z"],
        ),
    ] {
        let schedule = schedule(lines);
        let expected = expected.map(at);
        let mut after = at(after);
        for next in expected {
            let step = ((next.as_second() - after.as_second()) / 500).max(1);
            while after < next {
                assert_eq!(schedule.next(after).map(|fire| fire.at), Some(next), "{lines} after {after}");
                after = Timestamp::from_second(after.as_second() + step).expect("in range");
            }
            after = next;
        }
    }
}

#[test]
fn buffer_three_at_once_under_each_policy() {
    // Times 3, 5 and 7 are due together.
    for (overlap, running, expected) in [
        (Overlap::Skip, 1, vec!["skipped 00:03..00:07 (3): Overlap"]),
        (Overlap::Skip, 0, vec!["fired 00:03", "skipped 00:05..00:07 (2): Overlap"]),
        (Overlap::BufferOne, 1, vec!["waits 00:03", "skipped 00:05..00:07 (2): Overlap"]),
        (Overlap::BufferOne, 0, vec!["fired 00:03", "waits 00:05", "skipped 00:07: Overlap"]),
        (Overlap::BufferAll, 1, vec!["waits 00:03", "waits 00:05", "waits 00:07"]),
        (Overlap::BufferAll, 0, vec!["fired 00:03", "waits 00:05", "waits 00:07"]),
        // Temporal waits for the end of what it cancels; here a cancel is certain at once.
        (Overlap::CancelOther, 1, vec!["skipped 00:03..00:05 (2): Superseded", "cancelled", "fired 00:07"]),
        (Overlap::CancelOther, 0, vec!["skipped 00:03..00:05 (2): Superseded", "fired 00:07"]),
        (Overlap::AllowAll, 0, vec!["fired 00:03", "fired 00:05", "fired 00:07"]),
    ] {
        let schedule = schedule(&format!("at = \"3,5,7 0 * * *\"\noverlap = \"{}\"", overlap.as_str()));
        let actions = decide(&schedule, &Position::new(at("00:00")), running, at("00:07"));
        assert_eq!(actions.iter().flat_map(support::told).collect::<Vec<_>>(), expected, "{overlap:?} with {running}");
    }
}

#[test]
fn catch_up_within_its_window_and_the_rest_is_missed() {
    // Every hour at :17, nobody looked for six hours, an hour is made up for.
    let schedule = schedule("at = \"17 * * * *\"\ncatch_up = \"1h\"");
    let mut driven = Driven::new(schedule.clone(), "2022-05-31T18:00:00Z");
    driven.jump("2022-06-01T00:00:00Z");
    assert_eq!(driven.happened(), ["missed 18:17..22:17 (5): TooLate", "fired 23:17"]);
    driven.end().jump("00:17");
    assert_eq!(driven.happened(), ["fired 00:17"]);
    // While it is paused nothing is missed.
    let mut paused = Driven::new(schedule, "2022-05-31T18:00:00Z");
    let by_hand = pause(&paused.position, None, None);
    paused.take(&by_hand);
    paused.jump("2022-06-01T00:00:00Z");
    let resumed = resume(&paused.position);
    paused.take(&resumed);
    paused.jump("00:17");
    assert_eq!(paused.happened(), ["paused", "skipped 18:17..23:17 (6): Paused", "resumed", "fired 00:17"]);
}

/// Every five minutes; the mission of each fire runs for so many minutes, one after the other in the order of the list.
fn overlapping(overlap: Overlap, lengths: &[i64], until: &str) -> Vec<String> {
    let schedule = schedule(&format!("every = \"5m\"\noverlap = \"{}\"", overlap.as_str()));
    let mut driven = Driven::new(schedule, "00:00");
    let mut ends: Vec<Timestamp> = vec![];
    let mut lengths = lengths.iter();
    let mut log = vec![];
    while driven.now < at(until) {
        driven.now = Timestamp::from_second(driven.now.as_second() + 60).expect("in range");
        while let Some(index) = ends.iter().position(|end| *end <= driven.now) {
            ends.remove(index);
            driven.running.remove(0);
        }
        driven.settle();
        for line in driven.happened() {
            if line.starts_with("fired") {
                let length = lengths.next().copied().unwrap_or(1_000);
                ends.push(Timestamp::from_second(driven.now.as_second() + length * 60).expect("in range"));
            }
            log.push(format!("{} {line}", driven.now.strftime("%H:%M")));
        }
    }
    log
}

#[test]
fn overlap_skip() {
    assert_eq!(
        overlapping(Overlap::Skip, &[7, 2], "00:18"),
        ["00:05 fired 00:05", "00:10 skipped 00:10: Overlap", "00:15 fired 00:15"]
    );
}

#[test]
fn overlap_buffer_one() {
    assert_eq!(
        overlapping(Overlap::BufferOne, &[22, 2, 9], "00:34"),
        [
            "00:05 fired 00:05",
            "00:10 waits 00:10",
            "00:15 skipped 00:15: Overlap",
            "00:20 skipped 00:20: Overlap",
            "00:25 skipped 00:25: Overlap",
            "00:27 fired 00:10 from the queue",
            "00:30 fired 00:30",
        ]
    );
}

#[test]
fn overlap_buffer_all() {
    assert_eq!(
        overlapping(Overlap::BufferAll, &[12, 2, 3, 1, 2], "00:29"),
        [
            "00:05 fired 00:05",
            "00:10 waits 00:10",
            "00:15 waits 00:15",
            "00:17 fired 00:10 from the queue",
            "00:19 fired 00:15 from the queue",
            "00:20 waits 00:20",
            "00:22 fired 00:20 from the queue",
            "00:25 fired 00:25",
        ]
    );
}

#[test]
fn overlap_buffer_limit() {
    let schedule = schedule("every = \"5m\"\noverlap = \"buffer_all\"\ncatch_up = \"30d\"");
    let mut driven = Driven::new(schedule, "00:00");
    driven.jump("00:05").jump("2022-06-01T08:30:00Z");
    let log = driven.happened();
    assert_eq!(log.iter().filter(|line| line.starts_with("waits")).count(), sortie_schedule::BUFFER_MAX);
    assert_eq!(log.last().map(String::as_str), Some("skipped 08:30: BufferFull"));
}

#[test]
fn overlap_cancel_and_allow_all() {
    assert_eq!(
        overlapping(Overlap::CancelOther, &[60], "00:10"),
        ["00:05 fired 00:05", "00:10 cancelled", "00:10 fired 00:10"]
    );
    assert_eq!(
        overlapping(Overlap::AllowAll, &[12, 12, 1, 2], "00:20"),
        ["00:05 fired 00:05", "00:10 fired 00:10", "00:15 fired 00:15", "00:20 fired 00:20"]
    );
}

#[test]
fn pause_on_failure() {
    let schedule = schedule("every = \"5m\"\npause_after_failures = 1");
    let mut driven = Driven::new(schedule, "00:00");
    driven.jump("00:05");
    let failed = ended(&driven.schedule, &driven.position, Status::Failed);
    driven.take(&failed);
    driven.end().jump("00:10");
    assert_eq!(driven.happened(), ["fired 00:05", "paused", "skipped 00:10: Paused"]);
}

#[test]
fn trigger_now_under_the_policy_or_another() {
    let mut driven = Driven::new(schedule("every = \"55m\"\noffset = \"15m\""), "00:00");
    driven.jump("2022-06-01T00:34:00Z");
    driven.log.clear();
    driven.running = vec![at("00:15")];
    driven.now = at("00:36");
    let skipped = trigger(&driven.schedule, &driven.position, 1, driven.now, None).expect("a time");
    driven.take(&skipped);
    driven.now = at("00:37");
    let beside = trigger(&driven.schedule, &driven.position, 1, driven.now, Some(Overlap::AllowAll)).expect("a time");
    driven.take(&beside);
    assert_eq!(driven.happened(), ["skipped 00:36: Overlap", "fired 00:37 Triggered"]);
    assert_eq!(driven.running.len(), 2);
}

#[test]
fn backfill_in_turn_and_the_schedule_goes_on() {
    let schedule = schedule("at = \"*/17 19 31 * *\"");
    let mut driven = Driven::new(schedule, "2022-06-01T00:00:00Z");
    driven.now = at("00:05");
    let asked = backfill(
        &driven.schedule,
        &driven.position,
        at("2022-05-31T00:00:00Z"),
        at("2022-06-01T00:00:00Z"),
        Order::InTurn,
    )
    .expect("a range");
    driven.take(&asked);
    driven.settle();
    for _ in 0..3 {
        driven.end();
    }
    let expected = ["19:00", "19:17", "19:34", "19:51"].map(|time| format!("fired {time} Backfilled"));
    assert_eq!(driven.happened(), expected);
    driven.end();
    assert_eq!(driven.position.backfills().count(), 0);
    driven.jump("2022-07-31T19:00:00Z");
    assert_eq!(driven.happened(), ["fired 19:00"]);
}

#[test]
fn backfill_both_ends_are_included() {
    let schedule = schedule("at = \"*/17 19 31 * *\"");
    let mut position = Position::new(at("00:00"));
    let time = at("2022-05-31T19:17:00Z");
    for action in backfill(&schedule, &position, time, time, Order::InTurn).expect("a range") {
        position.apply(&action);
    }
    let fired = decide(&schedule, &position, 0, at("00:05"));
    let is_backfilled = |action: &&Action| matches!(action, Action::Fired { origin: Origin::Backfilled, .. });
    assert_eq!(fired.iter().filter(is_backfilled).count(), 1);
    // Temporal takes a range without a time, and makes nothing.
    let behind = at("2022-05-31T19:17:00.5Z");
    assert_eq!(backfill(&schedule, &position, behind, behind, Order::InTurn), Err(BackfillError::NoTimes));
}

#[test]
fn backfill_of_any_length_comes_whole_and_takes_no_room() {
    for order in [Order::Together, Order::InTurn] {
        let mut driven = Driven::new(schedule("every = \"1h\"\noverlap = \"allow_all\""), "00:30");
        let asked =
            backfill(&driven.schedule, &driven.position, at("2001-08-06T00:00:00Z"), at("2001-12-31T00:00:00Z"), order)
                .expect("a range");
        driven.take(&asked);
        driven.settle();
        let mut fired = driven.running.clone();
        // One after the other, or as many as may run at once.
        let at_once = if order == Order::InTurn { 1 } else { RUNNING_MAX };
        while !driven.running.is_empty() {
            assert!(driven.running.len() <= at_once);
            driven.running.clear();
            driven.settle();
            fired.extend(&driven.running);
        }
        assert_eq!(fired.len(), 147 * 24 + 1, "{order:?}");
        assert!(fired.is_sorted_by(|one, next| one < next));
        assert_eq!(driven.position.backfills().collect::<Vec<&Backfill>>(), Vec::<&Backfill>::new());
    }
}

#[test]
fn pause_for_a_while() {
    let mut driven = Driven::new(schedule("every = \"3m\"\noverlap = \"allow_all\""), "00:00");
    driven.run("00:07");
    let paused = pause(&driven.position, None, Some("paused".to_owned()));
    driven.take(&paused);
    driven.run("00:26");
    let resumed = resume(&driven.position);
    driven.take(&resumed);
    driven.run("00:28");
    let log = driven.happened();
    assert_eq!(log[..3], ["fired 00:03", "fired 00:06", "paused"]);
    assert_eq!(log[log.len() - 3..], ["skipped 00:24: Paused", "resumed", "fired 00:27"]);
}

#[test]
fn limited_actions() {
    let mut driven = Driven::new(schedule("every = \"3m\"\noverlap = \"allow_all\"\nruns = 2"), "00:00");
    assert_eq!(driven.position.runs_left(&driven.schedule), Some(2));
    driven.run("00:20");
    assert_eq!(driven.happened(), ["fired 00:03", "fired 00:06"]);
    assert_eq!(driven.position.runs_left(&driven.schedule), Some(0));
    assert_eq!(sortie_schedule::wakes_at(&driven.schedule, &driven.position, driven.now), None);
}
