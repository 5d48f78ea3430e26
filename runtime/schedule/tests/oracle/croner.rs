//! The crate `croner` as an oracle: what it answers, and why we answer something else where we do.

use croner::parser::{CronParser, Seconds};
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp};
use sortie_schedule::{Expression, NEVER_FIRES, Schedule};

/// Why an answer differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Why {
    /// `0 1-3`: croner takes a list or a range of hours or minutes for a wildcard. Crontab's fixed times have none of `*` and `/`, and a
    /// fixed time fires once, also where several share a line.
    ListIsFixed,
    /// croner looks two hours ahead for the end of a gap, and only on a day that the expression names; at a longer one it ends with an
    /// error. A fixed time fires at the end of its gap however long that is, also where that is another day.
    GapIsLong,
}

/// The same schedule, asked and told.
pub(crate) struct Pair {
    ours: Schedule,
    theirs: croner::Cron,
    zone: TimeZone,
    zone_name: String,
    expression: String,
}

impl Pair {
    /// Both readings of an expression.
    pub(crate) fn new(zone: &str, expression: &str) -> Self {
        Self::find(zone, expression).expect("a schedule that fires")
    }

    /// As [`Pair::new`]; nothing for an expression that names no day.
    pub(crate) fn find(zone: &str, expression: &str) -> Option<Self> {
        let ours = match Schedule::of_expression(expression, zone) {
            Ok(ours) => ours,
            Err(mistakes) if mistakes[0].code == NEVER_FIRES => return None,
            Err(mistakes) => panic!("{expression}: {mistakes:?}"),
        };
        // It knows no range over the end of the week.
        let plain = expression.replace("FRI-MON", "FRI,SAT,SUN,MON");
        let theirs = CronParser::builder().seconds(Seconds::Optional).build().parse(&plain);
        Some(Self {
            ours,
            theirs: theirs.unwrap_or_else(|error| panic!("{expression}: {error}")),
            zone: TimeZoneDatabase::bundled().get(zone).expect("a zone"),
            zone_name: zone.to_owned(),
            expression: expression.to_owned(),
        })
    }

    /// Our fires after `from`, until `to`, at most so many.
    pub(crate) fn ours(&self, from: Timestamp, to: Timestamp, most: usize) -> Vec<Timestamp> {
        self.ours.fires(from).map(|fire| fire.at).take_while(|at| *at <= to).take(most).collect()
    }

    /// Its fires.
    pub(crate) fn theirs(&self, from: Timestamp, to: Timestamp, most: usize) -> Vec<Timestamp> {
        let mut fires = vec![];
        let mut at = from.to_zoned(self.zone.clone());
        while fires.len() < most {
            let Ok(next) = self.theirs.find_next_occurrence(&at, false) else {
                // It ends with an error where a gap is too long for it: it is asked again from the end of that.
                let Some(end) = self.end_of_long_gap(at.timestamp()) else { break };
                at = end.to_zoned(self.zone.clone());
                continue;
            };
            if next.timestamp() > to {
                break;
            }
            fires.push(next.timestamp());
            at = next;
        }
        fires
    }

    /// Holds the answers against each other, and says which reasons there were for a difference.
    ///
    /// # Panics
    /// For a difference without a reason.
    pub(crate) fn hold(&self, from: Timestamp, to: Timestamp, most: usize) -> Vec<Why> {
        let mut ours = self.ours(from, to, most);
        let mut theirs = self.theirs(from, to, most);
        assert!(
            ours.is_sorted_by(|one, next| one < next),
            "`{}` in {}: ours do not increase after {from}",
            self.expression,
            self.zone_name
        );
        if ours == theirs {
            return vec![];
        }
        if ours.len() == most || theirs.len() == most {
            // Of two lists that were cut off, as far as both go.
            let end = ours.last().copied().unwrap_or(to).min(theirs.last().copied().unwrap_or(to));
            ours.retain(|at| *at <= end);
            theirs.retain(|at| *at <= end);
        }
        let only = |these: &[Timestamp], those: &[Timestamp]| {
            these.iter().filter(|at| !those.contains(at)).copied().collect::<Vec<_>>()
        };
        let differing = only(&ours, &theirs)
            .into_iter()
            .map(|at| (at, true))
            .chain(only(&theirs, &ours).into_iter().map(|at| (at, false)));
        differing.map(|(at, ours)| self.why(at, ours)).collect()
    }

    fn why(&self, at: Timestamp, ours: bool) -> Why {
        let local = self.zone.to_datetime(at);
        let fixed = !Expression::parse(&self.expression).expect("an expression").follows_real_time();
        let several = self.expression.split(' ').take(2).any(|field| field.contains([',', '-']));
        let before = at - SignedDuration::from_secs(1);
        let gap = self.zone.to_offset(at).seconds() - self.zone.to_offset(before).seconds();
        let folded = matches!(self.zone.to_ambiguous_timestamp(local).offset(), AmbiguousOffset::Fold { .. });
        match () {
            () if several && fixed && ((folded && !ours) || (gap > 0 && ours)) => Why::ListIsFixed,
            () if !several && ours && gap > 0 => Why::GapIsLong,
            () => {
                let whose = if ours { "only ours" } else { "only croner" };
                panic!("`{}` in {}: {whose} fires at {local} ({at})", self.expression, self.zone_name)
            }
        }
    }

    /// The end of the next gap, where that is longer than croner's two hours.
    fn end_of_long_gap(&self, after: Timestamp) -> Option<Timestamp> {
        let change = self.zone.following(after).next()?.timestamp();
        let offset = |at| i64::from(self.zone.to_offset(at).seconds());
        (offset(change) - offset(change - SignedDuration::from_secs(1)) > 2 * 3_600).then_some(change)
    }
}
