//! Nights: which time a date stands for where people ask what happened in the night.
//!
//! A night is named after the date on which people wake up: that of the 26th begins on the 25th at 18:00 and ends on the 26th at 18:00, by
//! the clock of its zone. So each moment lies in one night, and what a night did can be read all day.

use jiff::Timestamp;
use jiff::civil::Date;

use crate::zone::{self, Zone};

/// The hour at which one night ends and the next begins.
const BEGINS: i8 = 18;

/// When the night of a date begins, and when it is over.
#[must_use]
pub fn night(date: Date, zone: &Zone) -> (Timestamp, Timestamp) {
    let evening = |date: Date| zone::second(zone.instant(zone::wall(date.at(BEGINS, 0, 0, 0))));
    (date.yesterday().map_or(Timestamp::MIN, evening), evening(date))
}

/// The date of the night in which a moment lies.
#[must_use]
pub fn night_of(at: Timestamp, zone: &Zone) -> Date {
    let local = zone.local(at);
    // In a zone whose clock is set at that hour the evening may begin late.
    let tomorrow = local.hour() >= BEGINS && at >= night(local.date(), zone).1;
    if tomorrow { local.date().tomorrow().unwrap_or(local.date()) } else { local.date() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_moment_lies_in_the_night_of_the_date_on_which_people_wake_up() {
        let chicago = Zone::named("America/Chicago").expect("a zone");
        let date = |text: &str| text.parse::<Date>().expect("a date");
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        for (of, from, until) in [
            ("2026-11-26", "2026-11-26T00:00:00Z", "2026-11-27T00:00:00Z"),
            // The clock is set back in it: it has an hour more.
            ("2026-11-01", "2026-10-31T23:00:00Z", "2026-11-02T00:00:00Z"),
        ] {
            assert_eq!(night(date(of), &chicago), (at(from), at(until)), "{of}");
            let last = at(until) - jiff::SignedDuration::from_nanos(1);
            assert_eq!((night_of(at(from), &chicago), night_of(last, &chicago)), (date(of), date(of)));
            let set: &[Timestamp] = if of == "2026-11-01" { &[at("2026-11-01T07:00:00Z")] } else { &[] };
            assert_eq!(chicago.changes(at(from), at(until)), set, "{of}");
            assert_eq!(night_of(at(until), &chicago), date(of).tomorrow().expect("a date"));
        }
    }
}
