//! The hours of a lane or a node: when missions may run in it at all.
//!
//! Owns their grammar (`22:00-06:00 America/Chicago`, `MON-FRI 18:00-24:00`) and what closed days take from them. Never knows a
//! schedule.

use std::collections::BTreeSet;

use jiff::Timestamp;
use sortie_contract::{Mistake, Pointer};

use crate::code::INVALID_HOURS;
use crate::exclusion::{Calendars, Exclusions, merged};
use crate::expression::Wall;
use crate::field::{Field, Kind};
use crate::zone::{self, Zone};

const DAY: i64 = 86_400;

/// When a lane or a node is open. Without ranges it is open but for closed days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hours {
    ranges: Vec<Range>,
    closed: Exclusions,
    /// Of ranges that name none, and of closed days where there is no range.
    zone: Zone,
}

/// A time of the day, on each day or on some.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Range {
    /// On which days it begins, Sunday is 0; `None` for each.
    days: Option<BTreeSet<u32>>,
    /// Seconds from midnight.
    from: i64,
    /// Later than `from`, beyond midnight perhaps.
    to: i64,
    zone: Zone,
}

impl Hours {
    /// Reads hours and closed days. `at` is the place of the table that they stand in, `zone` that of ranges which name none.
    ///
    /// # Errors
    /// All the mistakes in them.
    pub fn parse<T: AsRef<str>>(
        hours: &[T],
        closed: &[T],
        zone: &Zone,
        calendars: &Calendars,
        at: &Pointer,
    ) -> Result<Self, Vec<Mistake>> {
        let mut found = vec![];
        let mut ranges = vec![];
        for (index, text) in hours.iter().enumerate() {
            match range(text.as_ref(), zone) {
                Ok(range) => ranges.push(range),
                Err(detail) => found.push(Mistake::new(at.join("hours").join(index), INVALID_HOURS, detail)),
            }
        }
        let closed: Vec<(Pointer, &str)> =
            closed.iter().enumerate().map(|(index, text)| (at.join("closed").join(index), text.as_ref())).collect();
        let closed = Exclusions::parse(&closed, calendars, &mut found);
        if found.is_empty() { Ok(Self { ranges, closed, zone: zone.clone() }) } else { Err(found) }
    }

    /// The times between two instants at which it is open: in order, apart from each other.
    #[must_use]
    pub fn open(&self, from: Timestamp, to: Timestamp) -> Vec<(Timestamp, Timestamp)> {
        let (begin, end) = (from.as_second(), to.as_second() + i64::from(to.subsec_nanosecond() > 0));
        if from >= to {
            return vec![];
        }
        let mut spans = vec![];
        if self.ranges.is_empty() {
            spans = self.less_closed(&self.zone, vec![(begin, end)], begin, end);
        }
        for range in &self.ranges {
            spans.extend(self.less_closed(&range.zone, range.spans(begin, end), begin, end));
        }
        let clipped = |(opens, closes)| (zone::second(opens).max(from), zone::second(closes).min(to));
        merged(spans).into_iter().map(clipped).filter(|(opens, closes)| opens < closes).collect()
    }

    /// Whether it is open at an instant.
    #[must_use]
    pub fn is_open(&self, at: Timestamp) -> bool {
        let then = at.checked_add(jiff::SignedDuration::from_nanos(1)).unwrap_or(at);
        !self.open(at, then).is_empty()
    }

    /// What closed days leave; each is a day of the zone of the range.
    fn less_closed(&self, zone: &Zone, spans: Vec<(i64, i64)>, begin: i64, end: i64) -> Vec<(i64, i64)> {
        let mut left = spans;
        for (from, to) in self.closed.between(begin - 2 * DAY, end + 2 * DAY, zone) {
            left = left
                .into_iter()
                .flat_map(|(opens, closes)| [(opens, closes.min(from)), (opens.max(to), closes)])
                .collect();
            left.retain(|(opens, closes)| opens < closes);
        }
        left
    }
}

impl Range {
    /// Its spans that touch the time between two instants.
    fn spans(&self, begin: i64, end: i64) -> Vec<(i64, i64)> {
        let midnight = |at: i64| zone::wall(self.zone.local(zone::second(at))).div_euclid(DAY) * DAY;
        let mut spans = vec![];
        let mut day: Wall = midnight(begin) - DAY;
        while day <= midnight(end) {
            // 1 January 1970 was a Thursday.
            let weekday = u32::try_from((day / DAY + 4).rem_euclid(7)).unwrap_or_default();
            if self.days.as_ref().is_none_or(|days| days.contains(&weekday)) {
                spans.push((self.zone.instant(day + self.from), self.zone.instant(day + self.to)));
            }
            day += DAY;
        }
        spans.retain(|(opens, closes)| opens < closes && *opens < end && *closes > begin);
        spans
    }
}

fn range(text: &str, default: &Zone) -> Result<Range, String> {
    let told = || {
        let text: String = text.chars().take(60).collect();
        format!(
            "`{text}` are no hours: write \"22:00-06:00 America/Chicago\", or \"MON-FRI 18:00-24:00\" for some days"
        )
    };
    let mut parts: Vec<&str> = text.split_whitespace().collect();
    let is_time = |part: &str| part.starts_with(|first: char| first.is_ascii_digit()) && part.contains(':');
    let days = match parts.first() {
        Some(first) if !is_time(first) && parts.len() > 1 => Some(parts.remove(0)),
        _ => None,
    };
    let (times, zone) = match parts[..] {
        [times] => (times, default.clone()),
        [times, zone] => (times, Zone::named(zone).map_err(|error| format!("`{text}`: {error}"))?),
        _ => return Err(told()),
    };
    let days = match days {
        Some(days) => {
            Some(Field::parse(Kind::Weekday, days, true).map_err(|detail| format!("{}: {detail}", told()))?.values)
        }
        None => None,
    };
    let (from, to) = times.split_once('-').ok_or_else(told)?;
    let (from, to) = (time(from).ok_or_else(told)?, time(to).ok_or_else(told)?);
    if from == to || from == DAY {
        return Err(format!("`{text}` is open for no time: for a whole day write \"00:00-24:00\""));
    }
    Ok(Range { days, from, to: if to > from { to } else { to + DAY }, zone })
}

/// `HH:MM` to `24:00`, in seconds from midnight.
fn time(text: &str) -> Option<i64> {
    let (hour, minute) = text.split_once(':')?;
    let two = |part: &str| {
        (part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit())).then(|| part.parse::<i64>().ok())
    };
    let (hour, minute) = (two(hour)??, two(minute)??);
    let whole = hour * 3_600 + minute * 60;
    (minute < 60 && whole <= DAY).then_some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ical;

    fn hours(ranges: &[&str], closed: &[&str], zone: &str) -> Hours {
        let calendars = Calendars::none().with("holidays.ics", ical::of_days(&["20261225"]));
        Hours::parse(ranges, closed, &Zone::named(zone).expect("a zone"), &calendars, &Pointer::root()).expect("hours")
    }

    fn check(hours: &Hours, from: &str, to: &str, expected: &[(&str, &str)]) {
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        let expected: Vec<_> = expected.iter().map(|(from, to)| (at(from), at(to))).collect();
        assert_eq!(hours.open(at(from), at(to)), expected, "{hours:?} between {from} and {to}");
        for (opens, closes) in expected {
            assert!(hours.is_open(opens) && !hours.is_open(closes) || closes == at(to), "{opens} to {closes}");
        }
    }

    #[test]
    fn a_night_goes_over_midnight_and_through_a_clock_change() {
        let night = hours(&["22:00-06:00 America/Chicago"], &[], "UTC");
        check(
            &night,
            "2026-11-25T00:00:00Z",
            "2026-11-26T12:00:00Z",
            &[("2026-11-25T04:00:00Z", "2026-11-25T12:00:00Z"), ("2026-11-26T04:00:00Z", "2026-11-26T12:00:00Z")],
        );
        // Seven hours in spring, nine in autumn.
        check(
            &night,
            "2026-03-08T00:00:00Z",
            "2026-03-08T18:00:00Z",
            &[("2026-03-08T04:00:00Z", "2026-03-08T11:00:00Z")],
        );
        check(
            &night,
            "2026-11-01T00:00:00Z",
            "2026-11-01T18:00:00Z",
            &[("2026-11-01T03:00:00Z", "2026-11-01T12:00:00Z")],
        );
        // Within a night, what is left of it.
        check(
            &night,
            "2026-11-25T05:00:00.5Z",
            "2026-11-25T06:00:00Z",
            &[("2026-11-25T05:00:00.5Z", "2026-11-25T06:00:00Z")],
        );
    }

    #[test]
    fn days_are_those_on_which_a_range_begins() {
        let weekend = hours(&["FRI-SUN 22:00-06:00", "SAT,SUN 00:00-24:00"], &[], "UTC");
        check(
            &weekend,
            "2026-11-26T00:00:00Z",
            "2026-12-01T00:00:00Z",
            &[("2026-11-27T22:00:00Z", "2026-11-30T06:00:00Z")],
        );
    }

    #[test]
    fn closed_days_are_cut_out() {
        let night = hours(&["22:00-06:00"], &["2026-12-24", "holidays.ics"], "UTC");
        check(
            &night,
            "2026-12-23T12:00:00Z",
            "2026-12-26T12:00:00Z",
            &[("2026-12-23T22:00:00Z", "2026-12-24T00:00:00Z"), ("2026-12-26T00:00:00Z", "2026-12-26T06:00:00Z")],
        );
        let open = hours(&[], &["2026-12-24"], "America/Chicago");
        check(
            &open,
            "2026-12-24T00:00:00Z",
            "2026-12-26T00:00:00Z",
            &[("2026-12-24T00:00:00Z", "2026-12-24T06:00:00Z"), ("2026-12-25T06:00:00Z", "2026-12-26T00:00:00Z")],
        );
    }

    #[test]
    fn what_are_none_are_told_with_their_place() {
        for (text, expected) in [
            ("", "are no hours"),
            ("22-6", "are no hours"),
            ("22:00-6:00", "are no hours"),
            ("22:00-25:00", "are no hours"),
            ("22:60-23:00", "are no hours"),
            ("22:00-22:00", "is open for no time"),
            ("24:00-06:00", "is open for no time"),
            ("22:00-06:00 Chicago", "such as America/Chicago"),
            ("1-5 22:00-06:00", "write MON-FRI"),
            ("MON 22:00-06:00 UTC please", "are no hours"),
        ] {
            let found =
                Hours::parse(&["00:00-01:00", text], &[], &Zone::utc(), &Calendars::none(), &Pointer::raw("/lane/0"));
            let found = found.expect_err(text);
            assert_eq!(found[0].pointer.as_str(), "/lane/0/hours/1", "{text}");
            assert!(found[0].detail.contains(expected), "{text}: {}", found[0].detail);
        }
    }
}
