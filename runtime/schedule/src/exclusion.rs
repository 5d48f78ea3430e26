//! Days and ranges on which nothing fires: dates, ranges of dates, calendars.
//!
//! Owns their grammar, and the sorted ranges that they become. A date is one of the schedule's zone; what a calendar fixes to an
//! instant stays there. Never reads a file: a calendar is a text under a name.

use std::collections::BTreeMap;

use jiff::civil::{Date, DateTime};
use sortie_contract::{Mistake, Pointer};

use crate::code::{INVALID_CALENDAR, INVALID_EXCLUSION, UNKNOWN_CALENDAR};
use crate::expression::Wall;
use crate::ical;
use crate::zone::{self, Zone};

/// The calendars that a schedule or hours may name, each with its text, as whoever read the files hands them over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Calendars(BTreeMap<String, String>);

impl Calendars {
    /// None.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds one.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.0.insert(name.into(), text.into());
        self
    }

    /// Whether an entry of excluded or closed days names one.
    #[must_use]
    pub fn is_named_by(entry: &str) -> bool {
        is_calendar(entry)
    }

    /// The text of one.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

/// What is excluded. Ranges are half-open, sorted, and do not touch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Exclusions {
    /// By the clock of the zone that asks.
    local: Vec<(Wall, Wall)>,
    /// By instants.
    fixed: Vec<(i64, i64)>,
}

impl Exclusions {
    /// Reads entries, each with its place.
    pub(crate) fn parse(entries: &[(Pointer, &str)], calendars: &Calendars, found: &mut Vec<Mistake>) -> Self {
        let mut exclusions = Self::default();
        for (at, entry) in entries {
            if let Err((code, detail)) = exclusions.add(entry, calendars) {
                found.push(Mistake::new(at.clone(), code, detail));
            }
        }
        exclusions.local = merged(exclusions.local);
        exclusions.fixed = merged(exclusions.fixed);
        exclusions
    }

    fn add(&mut self, entry: &str, calendars: &Calendars) -> Result<(), (&'static str, String)> {
        let entry = entry.trim();
        if is_calendar(entry) {
            let text = calendars.text(entry).ok_or_else(|| {
                (
                    UNKNOWN_CALENDAR,
                    format!("there is no calendar `{entry}`: send its text with the schedule, under this name"),
                )
            })?;
            let (local, fixed) = ical::busy(text).map_err(|error| (INVALID_CALENDAR, format!("`{entry}` {error}")))?;
            self.local.extend(local);
            self.fixed.extend(fixed);
            return Ok(());
        }
        let range = range(entry).ok_or_else(|| {
            let detail = format!(
                "`{}` is no exclusion: write a day such as \"2026-12-24\", a range such as \"2026-12-24..2027-01-01\" (both \
                 days are out) or \"2026-12-24T12:00..2026-12-24T18:00\", or the name of a calendar such as \"holidays.ics\"",
                entry.chars().take(60).collect::<String>()
            );
            (INVALID_EXCLUSION, detail)
        })?;
        self.local.push(range);
        Ok(())
    }

    /// When the exclusion ends that an instant lies in; `None` where it lies in none.
    pub(crate) fn until(&self, at: i64, zone: &Zone) -> Option<i64> {
        let local = covering(&self.local, zone::wall(zone.local(zone::second(at)))).map(|end| zone.instant(end));
        let fixed = covering(&self.fixed, at);
        local.max(fixed)
    }

    /// Everything that is excluded between two instants, as instants.
    pub(crate) fn between(&self, from: i64, to: i64, zone: &Zone) -> Vec<(i64, i64)> {
        let local = self.local.iter().map(|(begin, end)| (zone.instant(*begin), zone.instant(*end)));
        local.chain(self.fixed.iter().copied()).filter(|(begin, end)| *begin < to && *end > from).collect()
    }
}

/// Whether an entry names a calendar.
pub(crate) fn is_calendar(entry: &str) -> bool {
    entry.trim().to_ascii_lowercase().ends_with(".ics")
}

/// The end of the range that holds `at`.
fn covering(ranges: &[(i64, i64)], at: i64) -> Option<i64> {
    let behind = ranges.partition_point(|(begin, _)| *begin <= at);
    let (_, end) = ranges.get(behind.checked_sub(1)?)?;
    (at < *end).then_some(*end)
}

/// Sorted, with what touches made one.
pub(crate) fn merged(mut ranges: Vec<(i64, i64)>) -> Vec<(i64, i64)> {
    ranges.retain(|(begin, end)| begin < end);
    ranges.sort_unstable();
    let mut kept: Vec<(i64, i64)> = Vec::with_capacity(ranges.len());
    for (begin, end) in ranges {
        match kept.last_mut() {
            Some(last) if begin <= last.1 => last.1 = last.1.max(end),
            _ => kept.push((begin, end)),
        }
    }
    kept
}

/// A day, or two ends with `..` between them. A day that ends a range is out as a whole.
fn range(entry: &str) -> Option<(Wall, Wall)> {
    let (from, to) = entry.split_once("..").unwrap_or((entry, entry));
    if !entry.contains("..") && entry.contains(['T', 't']) {
        return None;
    }
    let (begin, _) = ends(from.trim())?;
    let (_, end) = ends(to.trim())?;
    (begin < end).then_some((begin, end))
}

/// When a day begins and ends; of a time, both are that time. To the minute: fires are not left out by the second.
fn ends(text: &str) -> Option<(Wall, Wall)> {
    if text.len() == "2026-12-24".len() {
        let day: Date = text.parse().ok()?;
        let next = day.tomorrow().ok()?;
        return Some((zone::wall(day.at(0, 0, 0, 0)), zone::wall(next.at(0, 0, 0, 0))));
    }
    let shaped = text.len() == "2026-12-24T12:00".len() && text.as_bytes().get(10).is_some_and(|byte| *byte == b'T');
    let time: DateTime = shaped.then(|| text.parse().ok())??;
    let time = zone::wall(time);
    Some((time, time))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(entries: &[&str], calendars: &Calendars) -> (Exclusions, Vec<Mistake>) {
        let mut found = vec![];
        let entries: Vec<_> =
            entries.iter().enumerate().map(|(at, entry)| (Pointer::root().join("except").join(at), *entry)).collect();
        let exclusions = Exclusions::parse(&entries, calendars, &mut found);
        (exclusions, found)
    }

    fn until(exclusions: &Exclusions, at: &str, zone: &str) -> Option<String> {
        let zone = Zone::named(zone).expect("a zone");
        let at: jiff::Timestamp = at.parse().expect("a time");
        exclusions.until(at.as_second(), &zone).map(|end| zone::second(end).to_string())
    }

    #[test]
    fn a_day_is_one_of_the_zone() {
        let (days, found) =
            parse(&["2026-12-24", "2026-12-31..2027-01-01", "2026-07-01T12:00..2026-07-01T18:30"], &Calendars::none());
        assert_eq!(found, []);
        let chicago = "America/Chicago";
        for (at, expected) in [
            ("2026-12-24T05:59:59Z", None),
            ("2026-12-24T06:00:00Z", Some("2026-12-25T06:00:00Z")),
            ("2026-12-25T05:59:59Z", Some("2026-12-25T06:00:00Z")),
            ("2026-12-25T06:00:00Z", None),
            ("2027-01-01T12:00:00Z", Some("2027-01-02T06:00:00Z")),
            ("2026-07-01T16:59:59Z", None),
            ("2026-07-01T17:00:00Z", Some("2026-07-01T23:30:00Z")),
        ] {
            assert_eq!(until(&days, at, chicago).as_deref(), expected, "{at}");
        }
        assert_eq!(until(&days, "2026-12-24T05:59:59Z", "UTC").as_deref(), Some("2026-12-25T00:00:00Z"));
    }

    #[test]
    fn what_is_none_is_told_with_its_place() {
        let calendars = Calendars::none().with("bad.ics", "nothing");
        for (entry, code, expected) in [
            ("24.12.2026", INVALID_EXCLUSION, "write a day such as"),
            ("2026-02-30", INVALID_EXCLUSION, "`2026-02-30` is no exclusion"),
            ("2026-12-24T02:00", INVALID_EXCLUSION, "is no exclusion"),
            ("2026-12-24T02:00:30..2026-12-24T03:00:00", INVALID_EXCLUSION, "is no exclusion"),
            ("2027-01-01..2026-12-24", INVALID_EXCLUSION, "is no exclusion"),
            ("holidays.ics", UNKNOWN_CALENDAR, "there is no calendar `holidays.ics`"),
            ("bad.ics", INVALID_CALENDAR, "`bad.ics`"),
        ] {
            let (_, found) = parse(&["2026-12-24", entry], &calendars);
            assert_eq!(found.len(), 1, "{entry}");
            assert_eq!((found[0].pointer.as_str(), found[0].code.as_str()), ("/except/1", code), "{entry}");
            assert!(found[0].detail.contains(expected), "{}", found[0].detail);
        }
    }

    #[test]
    fn ranges_that_touch_are_one() {
        assert_eq!(merged(vec![(5, 9), (1, 3), (3, 4), (8, 12), (20, 20)]), [(1, 4), (5, 12)]);
    }
}
