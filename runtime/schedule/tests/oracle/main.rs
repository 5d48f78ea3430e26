//! What others who read crontab answer to the same expressions, and why where we do not.

mod croner;
mod croniter;
mod random;
mod table;

use std::collections::BTreeSet;

use croner::{Pair, Why};
use jiff::tz::TimeZoneDatabase;
use jiff::{SignedDuration, Timestamp};
use table::{EXPRESSIONS, ZONES};

const FROM: &str = "2011-01-01T00:00:00Z";
const TO: &str = "2021-01-01T00:00:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn hours(count: i64) -> SignedDuration {
    SignedDuration::from_hours(count)
}

/// Ten years: the hours around each clock change, and the first fires of each half.
fn sampled(pair: &Pair, zone: &str, reasons: &mut BTreeSet<Why>) {
    let rules = TimeZoneDatabase::bundled().get(zone).expect("a zone");
    let changes: Vec<Timestamp> =
        rules.following(at(FROM)).map(|change| change.timestamp()).take_while(|change| *change < at(TO)).collect();
    for change in changes {
        reasons.extend(pair.hold(change - hours(27), change - hours(3), 6));
        reasons.extend(pair.hold(change - hours(3), change + hours(3), 24));
        reasons.extend(pair.hold(change - hours(1), change + hours(1), 120));
        reasons.extend(pair.hold(change + hours(3), change + hours(27), 6));
    }
    for half in 0..20 {
        let from = at(FROM) + hours(half * 24 * 182 + half);
        reasons.extend(pair.hold(from, at(TO), 5));
    }
}

fn check(zones: &[(&str, &str)]) -> BTreeSet<Why> {
    let mut reasons = BTreeSet::new();
    for (zone, _) in zones {
        for expression in EXPRESSIONS {
            sampled(&Pair::new(zone, expression), zone, &mut reasons);
        }
    }
    reasons
}

#[test]
fn ten_years_are_those_of_croner_in_the_first_six_zones() {
    assert!(check(&ZONES[..6]).contains(&Why::ListIsFixed));
}

#[test]
fn ten_years_are_those_of_croner_in_the_last_six_zones() {
    assert_eq!(check(&ZONES[6..]), BTreeSet::from([Why::ListIsFixed, Why::GapIsLong]));
}

#[test]
#[ignore = "minutes: every fire of ten years, where the tests above look around clock changes; run it after an update of zone data"]
fn every_fire_of_ten_years_is_that_of_croner() {
    for (zone, _) in ZONES {
        for expression in EXPRESSIONS {
            Pair::new(zone, expression).hold(at(FROM), at(TO), usize::MAX);
        }
    }
}
