//! What a schedule may say, and everything that can be wrong with one: the place, the code, and what to write instead.

use std::time::Duration;

use proptest::prelude::*;
use sortie_contract::envelope::OnWindowEnd;
use sortie_contract::{Mistake, Timestamp};
use sortie_schedule::{Calendars, CatchUpPolicy, Form, Overlap, Schedule};

const HOLIDAYS: &str = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//\r\nBEGIN:VEVENT\r\nUID:1\r\n\
    DTSTART;VALUE=DATE:20201225\r\nRRULE:FREQ=YEARLY\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";

fn calendars() -> Calendars {
    Calendars::none().with("holidays.ics", HOLIDAYS).with("broken.ics", "BEGIN:VCALENDAR\r\n")
}

fn parse(text: &str) -> Result<Schedule, Vec<Mistake>> {
    Schedule::parse(text, Form::Toml, &calendars())
}

/// A schedule of these lines beside an id and a mission.
fn with(lines: &str) -> Result<Schedule, Vec<Mistake>> {
    parse(&format!("id = \"s\"\n{lines}\n[mission]\nobjective = \"x\"\n"))
}

#[test]
fn the_example_of_the_contract_is_read() {
    let text = r#"
id = "nightly-wiki"
zone = "America/Chicago"
at = ["0 2 * * 1-5", "@weekly"]
except = ["2026-12-24", "holidays.ics"]
opens_for = "4h"
on_window_end = "suspend"
overlap = "skip"
catch_up = "24h"
jitter = "5m"
note = "the wiki, before anybody is up"
[vars]
wiki = "https://wiki.example"
[mission]
objective = "Go over {{ vars.wiki }}"
"#;
    assert_eq!(Schedule::calendars(text, Form::Toml), ["holidays.ics"]);
    let schedule = parse(text).expect("a schedule");
    assert_eq!((schedule.id(), schedule.zone().name()), ("nightly-wiki", "America/Chicago"));
    assert_eq!(schedule.opens_for(), Some(Duration::from_secs(4 * 3_600)));
    assert_eq!(schedule.on_window_end(), OnWindowEnd::Suspend);
    assert_eq!(schedule.note(), Some("the wiki, before anybody is up"));
    assert_eq!(schedule.vars().expect("variables")["wiki"], "https://wiki.example");
    assert_eq!(schedule.mission()["objective"], "Go over {{ vars.wiki }}");
    // 24 December by hand, 25 December by the calendar, a Sunday at midnight, then Monday.
    let local = |at| schedule.zone().local(at).to_string();
    let fires: Vec<_> =
        schedule.fires("2026-12-23T12:00:00Z".parse().expect("a time")).map(|fire| local(fire.at)).take(2).collect();
    assert_eq!(fires, ["2026-12-27T00:00:00", "2026-12-28T02:00:00"]);
    let fire: Timestamp = "2026-11-25T08:00:00Z".parse().expect("a time");
    assert_eq!(schedule.mission_id(fire).as_str(), "nightly-wiki:20261125T080000Z");

    // What is kept is read again as the same.
    let kept = serde_json::to_string(&schedule.definition()).expect("JSON");
    assert_eq!(Schedule::parse(&kept, Form::Json, &calendars()), Ok(schedule));
}

#[test]
fn what_is_left_out_has_its_default() {
    let schedule = with("every = \"90m\"").expect("a schedule");
    assert_eq!(schedule.zone().name(), "UTC");
    assert_eq!(schedule.opens_for(), None);
    assert_eq!(schedule.overlap(), Overlap::Skip);
    assert_eq!((schedule.catch_up(), schedule.catch_up_policy()), (Duration::from_secs(86_400), CatchUpPolicy::All));
    assert_eq!((schedule.on_window_end(), schedule.carry_over_max()), (OnWindowEnd::End, 5));
    assert_eq!((schedule.runs(), schedule.pause_after_failures(), schedule.note()), (None, None, None));
}

#[test]
fn every_mistake_has_its_place_and_says_what_to_write() {
    let nightly = "zone = \"UTC\"\nat = \"0 2 * * *\"\n";
    for (lines, pointer, code, expected) in [
        // When.
        ("note = \"x\"", "/at", "required", "`at` (expressions), `every` (a duration) or `once`"),
        ("zone = \"UTC\"\nat = []", "/at", "required", "a schedule needs"),
        ("at = \"0 2 * * *\"", "/zone", "required", "`zone` is required beside `at`"),
        ("zone = \"Chicago\"\nat = \"0 2 * * *\"", "/zone", "unknown_zone", "such as America/Chicago"),
        ("zone = \"UTC\"\nat = 5", "/at", "wrong_type", "`at` must be a string or a list of strings, not a number"),
        ("zone = \"UTC\"\nat = [\"@daily\", \"0 0 30 2 *\"]", "/at/1", "never_fires", "never fires"),
        ("zone = \"UTC\"\nat = \"@reboot\"", "/at", "invalid_expression", "fires when a machine starts"),
        ("zone = \"UTC\"\nat = \"0 0 L * *\"", "/at", "invalid_expression", "`L` (the last day) is not in crontab"),
        ("zone = \"UTC\"\nat = \"0 0 1W * *\"", "/at", "invalid_expression", "`W` (the nearest working day)"),
        ("zone = \"UTC\"\nat = \"0 0 * * 1#2\"", "/at", "invalid_expression", "`#` (the n-th weekday"),
        ("zone = \"UTC\"\nat = \"0 0 2 * * 1-5\"", "/at", "invalid_expression", "write MON-FRI"),
        ("zone = \"UTC\"\nat = \"*/90 * * * *\"", "/at", "invalid_expression", "write `every = \"90m\"`"),
        ("zone = \"UTC\"\nat = \"*/10 * * * * *\"", "/at", "too_frequent", "or `allow_frequent = true`"),
        ("every = \"59s\"", "/every", "too_frequent", "or `allow_frequent = true`"),
        ("every = \"0s\"\nallow_frequent = true", "/every", "out_of_range", "longer than nothing"),
        ("every = \"90500ms\"", "/every", "not_whole", "whole seconds"),
        ("every = \"often\"", "/every", "invalid_duration", "must be a duration"),
        ("every = \"1y\"", "/every", "invalid_duration", "months and years have no length"),
        ("every = \"4000d\"", "/every", "out_of_range", "ten years"),
        ("every = \"3h\"\noffset = \"4h\"", "/offset", "out_of_range", "`offset` must be shorter than `every`"),
        ("offset = \"4h\"\nzone = \"UTC\"\nat = \"@daily\"", "/every", "required", "beside `offset`"),
        ("zone = \"UTC\"\nonce = \"tomorrow\"", "/once", "invalid_time", "write one of the schedule's zone"),
        ("zone = \"UTC\"\nonce = [\"2026-12-01T02:00:00.5\"]", "/once/0", "invalid_time", "whole seconds"),
        (
            "zone = \"America/Chicago\"\nonce = [\"2026-03-08T02:30:00\"]\non_gap = \"skip\"",
            "/once/0",
            "never_fires",
            "the clock of America/Chicago leaves this time out",
        ),
        (&format!("{nightly}on_gap = \"later\""), "/on_gap", "unknown_value", "must be one of \"end\", \"skip\""),
        (&format!("{nightly}on_fold = \"twice\""), "/on_fold", "unknown_value", "must be one of \"first\", \"both\""),
        // Less what.
        (&format!("{nightly}except = \"Christmas\""), "/except", "invalid_exclusion", "write a day such as"),
        (
            &format!("{nightly}except = [\"2026-12-24\", \"x.ics\"]"),
            "/except/1",
            "unknown_calendar",
            "there is no calendar `x.ics`",
        ),
        (&format!("{nightly}except = \"broken.ics\""), "/except", "invalid_calendar", "`broken.ics` is no iCalendar"),
        (&format!("{nightly}start_at = \"soon\""), "/start_at", "invalid_time", "is no time"),
        (
            &format!("{nightly}start_at = \"2027-01-01T00:00:00\"\nend_at = \"2027-01-01T00:00:00Z\""),
            "/end_at",
            "invalid_window",
            "later than `start_at`",
        ),
        (
            &format!("{nightly}start_at = \"2027-01-01T03:00:00\"\nend_at = \"2027-01-02T01:00:00Z\""),
            "",
            "never_fires",
            "leave none of its times",
        ),
        (&format!("{nightly}runs = 0"), "/runs", "out_of_range", "a whole number from 1"),
        // The window and the policies.
        (&format!("{nightly}opens_for = \"0s\""), "/opens_for", "out_of_range", "leave it out"),
        (
            &format!("{nightly}opens_for = \"4h\"\njitter = \"4h\""),
            "/jitter",
            "out_of_range",
            "shorter than `opens_for`",
        ),
        (
            &format!("{nightly}opens_for = \"25h\"\noverlap = \"buffer_all\""),
            "/opens_for",
            "window_too_long",
            "write a shorter one",
        ),
        (&format!("{nightly}overlap = \"buffer\""), "/overlap", "unknown_value", "\"buffer_one\", \"buffer_all\""),
        (&format!("{nightly}on_window_end = \"kill\""), "/on_window_end", "unknown_value", "\"suspend\""),
        (&format!("{nightly}catch_up = 24"), "/catch_up", "wrong_type", "must be a string, not a number"),
        (&format!("{nightly}catch_up_policy = \"first\""), "/catch_up_policy", "unknown_value", "\"last\""),
        (&format!("{nightly}pause_after_failures = 0"), "/pause_after_failures", "out_of_range", "from 1"),
        (&format!("{nightly}carry_over_max = -1"), "/carry_over_max", "out_of_range", "from 0"),
        (&format!("{nightly}allow_frequent = \"yes\""), "/allow_frequent", "wrong_type", "true or false"),
        // Keys that there are not.
        (&format!("{nightly}catchup = \"1h\""), "/catchup", "unknown_key", "write `catch_up`"),
        (&format!("{nightly}colour = \"red\""), "/colour", "unknown_key", "write one of id, zone, at"),
    ] {
        let mistakes = with(lines).expect_err(lines);
        let told: Vec<_> = mistakes.iter().map(|mistake| (mistake.pointer.as_str(), mistake.code.as_str())).collect();
        assert_eq!(told, [(pointer, code)], "{lines}: {mistakes:?}");
        assert!(mistakes[0].detail.contains(expected), "{lines}: {}", mistakes[0].detail);
    }
}

#[test]
fn a_start_and_an_end_may_be_days_of_the_zone() {
    let lines = "zone = \"America/Chicago\"\nat = \"0 * * * *\"\nstart_at = 2026-12-01\nend_at = 2026-12-02";
    let fires: Vec<_> =
        with(lines).expect("a schedule").fires(Timestamp::UNIX_EPOCH).map(|fire| fire.at.to_string()).collect();
    assert_eq!(
        (fires.len(), fires[0].as_str(), fires[23].as_str()),
        (24, "2026-12-01T06:00:00Z", "2026-12-02T05:00:00Z")
    );
}

#[test]
fn an_expression_alone_can_be_asked() {
    let schedule = Schedule::of_expression("0 2 * * 1-5", "America/Chicago").expect("a schedule");
    let fire = schedule.next("2026-11-25T00:00:00Z".parse().expect("a time")).expect("a fire");
    assert_eq!(schedule.zone().shown(fire.at), "2026-11-25T02:00:00-06:00");
    assert!(Schedule::of_expression("* * * * * *", "UTC").is_ok());
    let told = Schedule::of_expression("0 2 * *", "Chicago").expect_err("mistakes");
    let places: Vec<_> = told.iter().map(|mistake| mistake.pointer.as_str()).collect();
    assert_eq!(places, ["/zone", "/at"]);
}

#[test]
fn the_id_leaves_room_for_the_time_of_a_fire() {
    let id = |id: &str| parse(&format!("id = \"{id}\"\nevery = \"1h\"\n[mission]\n"));
    for (text, code) in [
        ("", "invalid_character"),
        ("a b", "invalid_character"),
        ("preview", "reserved"),
        (&"x".repeat(184), "too_long"),
    ] {
        let mistakes = id(text).expect_err(text);
        assert_eq!((mistakes[0].pointer.as_str(), mistakes[0].code.as_str()), ("/id", code), "{text}");
    }
    let longest = id(&"x".repeat(183)).expect("a schedule");
    assert_eq!(longest.mission_id(Timestamp::UNIX_EPOCH).as_str().len(), 200);
    assert_eq!(parse("every = \"1h\"\n[mission]\n").expect_err("no id")[0].code, "required");
}

#[test]
fn the_mission_is_a_template_without_what_a_fire_makes() {
    assert_eq!(parse("id = \"s\"\nevery = \"1h\"\n").expect_err("no mission")[0].pointer.as_str(), "/mission");
    let mistakes = parse("id = \"s\"\nevery = \"1h\"\n[mission]\nmission_id = \"x\"\nidempotency_key = \"x\"\n")
        .expect_err("made");
    let told: Vec<_> = mistakes.iter().map(|mistake| mistake.pointer.as_str()).collect();
    assert_eq!(told, ["/mission/mission_id", "/mission/idempotency_key"]);
}

#[test]
fn all_mistakes_are_told_at_once_and_at_most_a_hundred() {
    let told =
        parse("id = \"a b\"\nzone = \"x\"\nat = [\"x\", \"@reboot\"]\nruns = 0\nextra = 1\n").expect_err("mistakes");
    let places: Vec<_> = told.iter().map(|mistake| mistake.pointer.as_str()).collect();
    assert_eq!(places, ["/extra", "/id", "/zone", "/at/0", "/at/1", "/runs", "/mission"]);
    let many: Vec<String> = (0..500).map(|index| format!("\"day {index}\"")).collect();
    let told = with(&format!("every = \"1h\"\nzone = \"UTC\"\nexcept = [{}]", many.join(", "))).expect_err("mistakes");
    assert_eq!((told.len(), told[99].code.as_str()), (100, "more_mistakes"));
}

#[test]
fn a_text_that_is_no_document_is_told_with_its_line() {
    for (text, form, code, expected) in [
        ("id = ", Form::Toml, "not_toml", "line 1"),
        ("id = \"s\"\nid = \"t\"", Form::Toml, "not_toml", "duplicate key"),
        ("{\"id\": ", Form::Json, "not_json", "line 1 column 7"),
        ("{\"id\": \"s\", \"id\": \"t\"}", Form::Json, "not_json", "the key `id` is there twice"),
        ("[]", Form::Json, "wrong_type", "must be an object"),
    ] {
        let told = Schedule::parse(text, form, &Calendars::none()).expect_err(text);
        assert_eq!((told.len(), told[0].code.as_str()), (1, code), "{text}");
        assert!(told[0].detail.contains(expected), "{text}: {}", told[0].detail);
    }
}

#[test]
fn a_window_as_long_as_the_period_is_none_too_long() {
    // Also in the night of 23 hours.
    let daily = "zone = \"America/Chicago\"\nat = \"0 2 * * *\"\noverlap = \"buffer_all\"\n";
    assert!(with(&format!("{daily}opens_for = \"24h\"")).is_ok());
    assert!(with(&format!("{daily}opens_for = \"24h 1s\"")).is_err());
    assert!(
        with("zone = \"UTC\"\nonce = [\"2026-12-01T00:00:00\"]\noverlap = \"buffer_all\"\nopens_for = \"90d\"").is_ok()
    );
}

#[test]
fn what_depends_on_the_time_is_said_at_that_time() {
    let now: Timestamp = "2026-11-25T12:00:00Z".parse().expect("a time");
    for (lines, expected) in [
        ("zone = \"UTC\"\nat = \"0 2 * * *\"", None),
        ("zone = \"UTC\"\nonce = \"2026-11-25T12:00:00\"", Some("never_fires")),
        ("zone = \"UTC\"\nat = \"0 0 2 * * ? 2020\"", Some("never_fires")),
        ("zone = \"UTC\"\nat = \"0 2 * * *\"\nend_at = \"2026-11-26T02:00:00\"", Some("never_fires")),
        // Together they fire at 02:00:00 and 02:00:30.
        ("zone = \"UTC\"\nat = [\"0 2 * * *\", \"30 0 2 * * *\"]", Some("too_frequent")),
        ("zone = \"UTC\"\nat = [\"0 2 * * *\", \"30 0 2 * * *\"]\nallow_frequent = true", None),
        ("every = \"1m\"\noffset = \"30s\"\nzone = \"UTC\"\nat = \"0 2 * * *\"", Some("too_frequent")),
    ] {
        let mistakes = with(lines).expect(lines).check(now);
        assert_eq!(mistakes.first().map(|mistake| mistake.code.as_str()), expected, "{lines}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the text: an answer, never a crash.
    #[test]
    fn no_calendar_brings_it_down(
        cut in 0..HOLIDAYS.len(),
        put in prop_oneof![
            "[ -~]{0,20}",
            Just("RRULE:FREQ=WEEKLY;INTERVAL=0;BYDAY=99MO\r\n".to_owned()),
            Just("RRULE:FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30\r\n".to_owned()),
            Just("EXDATE:99999999\r\n".to_owned()),
            Just("DTEND;VALUE=DATE:00000000\r\n".to_owned()),
            Just("DURATION:-P9999999999W\r\n".to_owned()),
            Just("RECURRENCE-ID;RANGE=THISANDFUTURE:20301225\r\n".to_owned()),
        ],
        drop in 0..30_usize,
    ) {
        let line = HOLIDAYS[..cut].rfind('\n').map_or(0, |at| at + 1);
        let end = (line + drop).min(HOLIDAYS.len());
        let text = format!("{}{put}{}", &HOLIDAYS[..line], &HOLIDAYS[end..]);
        let lines = "id = \"s\"\nzone = \"UTC\"\nat = \"@daily\"\nexcept = \"x.ics\"\n[mission]\n";
        if let Ok(schedule) = Schedule::parse(lines, Form::Toml, &Calendars::none().with("x.ics", text)) {
            prop_assert!(schedule.next(Timestamp::UNIX_EPOCH).is_some());
        }
    }

    #[test]
    fn no_expression_brings_it_down(text in "[-*/,?@#LWH0-9a-zA-Z ]{0,30}") {
        let lines = format!("id = \"s\"\nzone = \"UTC\"\nat = {text:?}\n[mission]\n");
        if let Ok(schedule) = parse(&lines) {
            prop_assert!(schedule.next(Timestamp::UNIX_EPOCH).is_some());
        }
    }
}
