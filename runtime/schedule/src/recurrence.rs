//! All times of a schedule together: expressions, intervals and single times, less what is excluded.
//!
//! Owns what a clock change does to a fixed time, and that fires strictly increase: the walk goes from one even stretch of the
//! zone's clock to the next, so that within each there is nothing to decide. Never knows what becomes of a fire.

use jiff::Timestamp;

use crate::exclusion::Exclusions;
use crate::expression::{Expression, Wall};
use crate::policy::{OnFold, OnGap};
use crate::zone::{Zone, second};

/// The end of what is reckoned with: the calendar underneath ends with the year 2100.
pub const HORIZON: Timestamp = Timestamp::constant(4_133_980_800, 0);

/// Fires come every so many seconds, counted from 1970 and an offset: real time, whatever a zone's clock does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interval {
    /// At least one second.
    pub(crate) every: i64,
    /// Less than `every`.
    pub(crate) offset: i64,
}

impl Interval {
    fn from(self, at: i64) -> i64 {
        let turns = (at - 1 - self.offset).div_euclid(self.every) + 1;
        turns.saturating_mul(self.every).saturating_add(self.offset)
    }
}

/// One time of a recurrence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hit {
    /// When, to the second.
    pub at: Timestamp,
    /// Whether it stands for times that the zone's clock left out, and for no other.
    pub moved: bool,
}

/// A time in seconds, before it is a [`Hit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) at: i64,
    pub(crate) moved: bool,
}

/// When a schedule fires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recurrence {
    pub(crate) zone: Zone,
    pub(crate) expressions: Vec<Expression>,
    pub(crate) intervals: Vec<Interval>,
    /// In order, without doubles.
    pub(crate) once: Vec<Moment>,
    pub(crate) except: Exclusions,
    pub(crate) on_gap: OnGap,
    pub(crate) on_fold: OnFold,
    /// No fire before this.
    pub(crate) start: Option<Timestamp>,
    /// No fire from this on.
    pub(crate) end: Option<Timestamp>,
}

impl Recurrence {
    /// The first fire after `after`.
    pub(crate) fn next(&self, after: Timestamp) -> Option<Hit> {
        let mut from = after.as_second().saturating_add(1).max(0);
        if let Some(start) = self.start {
            // A start within a second leaves out the fire of that second.
            from = from.max(start.as_second() + i64::from(start.subsec_nanosecond() > 0));
        }
        let end = self.end.unwrap_or(HORIZON).min(HORIZON);
        loop {
            let found = self.next_included(from)?;
            if second(found.at) >= end {
                return None;
            }
            match self.except.until(found.at, &self.zone) {
                Some(until) => from = until.max(found.at + 1),
                None => return Some(Hit { at: second(found.at), moved: found.moved }),
            }
        }
    }

    /// The first time from `from` on, excluded or not.
    fn next_included(&self, from: i64) -> Option<Moment> {
        let expressions = self.expressions.iter().filter_map(|expression| self.of_expression(expression, from));
        let intervals = self.intervals.iter().map(|interval| Moment { at: interval.from(from), moved: false });
        let once = self.once.get(self.once.partition_point(|moment| moment.at < from)).copied();
        // Of two at the same time the one that was not moved tells.
        expressions.chain(intervals).chain(once).min_by_key(|moment| (moment.at, moment.moved))
    }

    /// The first time of one expression from `from` on.
    fn of_expression(&self, expression: &Expression, from: i64) -> Option<Moment> {
        let fixed = !expression.follows_real_time();
        let mut from = from;
        loop {
            let stretch = self.zone.stretch(from);
            let mut wall = stretch.wall(from);
            if fixed && self.on_fold == OnFold::First {
                // What the first round had does not come again.
                wall = wall.max(stretch.second_round_ends().unwrap_or(wall));
            }
            let next = expression.after(wall - 1);
            let regular = next.map(|next| next - stretch.offset);
            if fixed
                && self.on_gap == OnGap::End
                && regular != Some(from)
                && is_end_of_gap(stretch.gap(), expression, wall)
            {
                return Some(Moment { at: from, moved: true });
            }
            match (regular, stretch.ends) {
                (Some(at), Some(ends)) if at >= ends => from = beyond(from, ends, at),
                (Some(at), _) => return Some(Moment { at, moved: false }),
                // No wall-clock time is left, but for a round of the last ones.
                (None, Some(ends)) if ends < HORIZON.as_second() => from = ends,
                (None, _) => return None,
            }
        }
    }
}

/// Whether `wall` is the first that a gap left standing, and the expression names one within.
fn is_end_of_gap(gap: Option<(Wall, Wall)>, expression: &Expression, wall: Wall) -> bool {
    gap.is_some_and(|(begins, ends)| wall == ends && expression.after(begins - 1).is_some_and(|named| named < ends))
}

/// Where to go on when nothing is named between `from` and `at` by the clock of a stretch that ends at `ends`. No clock is moved by
/// more than a day: a change that is further away shows nothing again of what lies before `from`, and whatever other clocks make
/// of `at` lies within two days of it.
fn beyond(from: i64, ends: i64, at: i64) -> i64 {
    const DAY: i64 = 86_400;
    if ends - from <= DAY { ends } else { ends.max(at - 2 * DAY) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recurrence(zone: &str, expressions: &[&str]) -> Recurrence {
        Recurrence {
            zone: Zone::named(zone).expect("a zone"),
            expressions: expressions.iter().map(|text| Expression::parse(text).expect("an expression")).collect(),
            intervals: vec![],
            once: vec![],
            except: Exclusions::default(),
            on_gap: OnGap::End,
            on_fold: OnFold::First,
            start: None,
            end: None,
        }
    }

    fn times(recurrence: &Recurrence, after: &str, count: usize) -> Vec<String> {
        let mut after: Timestamp = after.parse().expect("a time");
        let mut times = vec![];
        while times.len() < count {
            let Some(hit) = recurrence.next(after) else { break };
            assert!(hit.at > after, "{} after {after}", hit.at);
            times.push(format!("{}{}", recurrence.zone.local(hit.at), if hit.moved { " moved" } else { "" }));
            after = hit.at;
        }
        times
    }

    /// In one day of a zone, by its own clock.
    fn check(zone: &str, expressions: &[&str], after: &str, policy: (OnGap, OnFold), expected: &[&str]) {
        let recurrence = Recurrence { on_gap: policy.0, on_fold: policy.1, ..recurrence(zone, expressions) };
        assert_eq!(times(&recurrence, after, expected.len()), expected, "{expressions:?} in {zone} with {policy:?}");
    }

    #[test]
    fn a_fixed_time_in_a_gap_fires_at_its_end_or_not_at_all() {
        let spring = "2026-03-08T06:00:00Z";
        let end = (OnGap::End, OnFold::First);
        let skip = (OnGap::Skip, OnFold::First);
        let chicago = "America/Chicago";
        check(chicago, &["30 2 * * *"], spring, end, &["2026-03-08T03:00:00 moved", "2026-03-09T02:30:00"]);
        check(chicago, &["30 2 * * *"], spring, skip, &["2026-03-09T02:30:00", "2026-03-10T02:30:00"]);
        // Two within one gap are one, and one that stands there anyway is not moved.
        check(chicago, &["10,50 2 * * *"], spring, end, &["2026-03-08T03:00:00 moved", "2026-03-09T02:10:00"]);
        check(chicago, &["0 2,3 * * *"], spring, end, &["2026-03-08T03:00:00", "2026-03-09T02:00:00"]);
        check(chicago, &["0 3 * * *", "5 2 * * *"], spring, end, &["2026-03-08T03:00:00", "2026-03-09T02:05:00"]);
        // A whole day that never was.
        let apia = "2011-12-29T20:00:00Z";
        check("Pacific/Apia", &["0 12 * * *"], apia, end, &["2011-12-29T12:00:00", "2011-12-31T00:00:00 moved"]);
        check("Pacific/Apia", &["0 12 * * *"], apia, skip, &["2011-12-29T12:00:00", "2011-12-31T12:00:00"]);
    }

    #[test]
    fn a_fixed_time_in_a_fold_fires_once_or_in_both_rounds() {
        let autumn = "2026-11-01T05:00:00Z";
        let first = (OnGap::End, OnFold::First);
        let both = (OnGap::End, OnFold::Both);
        let chicago = "America/Chicago";
        check(chicago, &["30 1 * * *"], autumn, first, &["2026-11-01T01:30:00", "2026-11-02T01:30:00"]);
        check(
            chicago,
            &["30 1 * * *"],
            autumn,
            both,
            &["2026-11-01T01:30:00", "2026-11-01T01:30:00", "2026-11-02T01:30:00"],
        );
        check(chicago, &["30 1 * * SUN"], autumn, both, &["2026-11-01T01:30:00", "2026-11-01T01:30:00"]);
        // Within the second round, the first has been.
        check(chicago, &["30 1 * * *"], "2026-11-01T07:10:00Z", first, &["2026-11-02T01:30:00"]);
        check(chicago, &["0 1,2 * * *"], autumn, first, &["2026-11-01T01:00:00", "2026-11-01T02:00:00"]);
    }

    #[test]
    fn wildcards_follow_real_time() {
        let policy = (OnGap::End, OnFold::First);
        let chicago = "America/Chicago";
        check(
            chicago,
            &["*/30 * * * *"],
            "2026-11-01T05:45:00Z",
            policy,
            &[
                "2026-11-01T01:00:00",
                "2026-11-01T01:30:00",
                "2026-11-01T01:00:00",
                "2026-11-01T01:30:00",
                "2026-11-01T02:00:00",
            ],
        );
        check(
            chicago,
            &["*/30 * * * *"],
            "2026-03-08T07:15:00Z",
            policy,
            &["2026-03-08T01:30:00", "2026-03-08T03:00:00"],
        );
        // Also on one day of the week, when the next that the clock shows first is far away.
        check(
            chicago,
            &["*/30 1 * * SUN"],
            "2026-11-01T06:15:00Z",
            policy,
            &["2026-11-01T01:30:00", "2026-11-01T01:00:00", "2026-11-01T01:30:00", "2026-11-08T01:00:00"],
        );
        // Half an hour, as Lord Howe does it.
        check(
            "Australia/Lord_Howe",
            &["*/20 * * * *"],
            "2026-10-03T15:00:00Z",
            policy,
            &["2026-10-04T01:40:00", "2026-10-04T02:40:00"],
        );
    }

    #[test]
    fn sources_are_united_without_doubles() {
        let mut recurrence = recurrence("UTC", &["0 2 * * *", "0 */2 * * *"]);
        recurrence.intervals = vec![Interval { every: 5_400, offset: 0 }];
        recurrence.once = vec![
            Moment { at: second(1_795_575_600).as_second(), moved: false },
            Moment { at: second(1_795_575_601).as_second(), moved: false },
        ];
        assert_eq!(
            times(&recurrence, "2026-11-25T00:30:00Z", 5),
            [
                "2026-11-25T01:30:00",
                "2026-11-25T02:00:00",
                "2026-11-25T03:00:00",
                "2026-11-25T03:00:01",
                "2026-11-25T04:00:00",
            ]
        );
    }

    #[test]
    fn start_and_end_bound_it_and_so_does_the_horizon() {
        let at = |text: &str| text.parse::<Timestamp>().ok();
        let mut recurrence = recurrence("UTC", &["0 * * * *"]);
        recurrence.start = at("2026-11-25T12:00:00.5Z");
        recurrence.end = at("2026-11-25T15:00:00Z");
        let expected = ["2026-11-25T13:00:00", "2026-11-25T14:00:00"];
        assert_eq!(times(&recurrence, "2026-01-01T00:00:00Z", 9), expected);
        recurrence.end = None;
        assert_eq!(times(&recurrence, "2100-12-31T21:30:00Z", 9), ["2100-12-31T22:00:00", "2100-12-31T23:00:00"]);
        recurrence.intervals = vec![Interval { every: 7, offset: 3 }];
        assert_eq!(times(&recurrence, "2101-01-01T00:00:00Z", 9), [""; 0]);
        assert_eq!(recurrence.next(Timestamp::MAX), None);
        assert!(recurrence.next(Timestamp::MIN).is_some());
    }
}
