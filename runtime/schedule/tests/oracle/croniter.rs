//! PyPI's `croniter` as an oracle: `croniter.tsv`, which `ask_croniter.py` beside it wrote.
//!
//! Its fixed times fire in both rounds of a fold, so it is held against `on_fold = "both"`.

use jiff::SignedDuration;
use jiff::tz::TimeZoneDatabase;
use sortie_contract::Timestamp;
use sortie_schedule::{Calendars, Expression, Form, Schedule};

const TABLE: &str = include_str!("croniter.tsv");

fn schedule(zone: &str, expression: &str) -> Schedule {
    let text = format!("id = \"oracle\"\nzone = \"{zone}\"\nat = \"{expression}\"\non_fold = \"both\"\n[mission]\n");
    Schedule::parse(&text, Form::Toml, &Calendars::none()).expect("a schedule")
}

/// What it fires and nobody else does: an expression with a wildcard or a step, whose times a gap left out, at the gap's end.
fn is_made_up(schedule: &Schedule, at: Timestamp) -> bool {
    let zone = TimeZoneDatabase::bundled().get(schedule.zone().name()).expect("a zone");
    let before = at - SignedDuration::from_secs(1);
    zone.to_offset(at).seconds() > zone.to_offset(before).seconds()
}

#[test]
fn around_clock_changes_the_fires_are_those_of_croniter() {
    let mut lines = 0;
    let mut made_up = 0;
    for line in TABLE.lines() {
        lines += 1;
        let [zone, expression, from, fires] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let at = |text: &str| Timestamp::from_second(text.parse().expect("a number")).expect("in range");
        let schedule = schedule(zone, expression);
        let mut theirs: Vec<Timestamp> = fires.split(',').map(at).collect();
        let ours: Vec<Timestamp> = schedule.fires(at(from)).map(|fire| fire.at).take(theirs.len()).collect();
        if Expression::parse(expression).expect("an expression").follows_real_time() {
            theirs.retain(|at| ours.contains(at) || !is_made_up(&schedule, *at));
            made_up += ours.len() - theirs.len();
        }
        let shown = |times: &[Timestamp]| times.iter().map(|at| schedule.zone().shown(*at)).collect::<Vec<_>>();
        assert_eq!(shown(&ours[..theirs.len()]), shown(&theirs), "`{expression}` in {zone}");
    }
    assert!(lines > 2_000 && made_up > 0, "the table is there, and so is what is odd about it");
}
