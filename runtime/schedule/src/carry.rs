//! Work that is carried over: in which window it goes on.
//!
//! Owns the order in which that is looked for: what is left of its own window, then the next one of its schedule, then the hours of its
//! lane and node. Never knows a mission.

use jiff::{SignedDuration, Timestamp};

use crate::hours::Hours;
use crate::position::{Origin, Position};
use crate::schedule::Schedule;
use crate::window::{FireWindow, Met, meet};

/// How many fires are looked at for one that leaves a window.
const LOOKED_AT: usize = 1_000;

/// The window in which work goes on that is not done, while its `own` window has closed, or the hours of its lane and node have. `None`
/// where there is none to come: its schedule fires no more, and neither its lane nor its node has hours.
///
/// A window of its schedule that falls into a pause with an end is none; one that is paused without an end may go on before.
#[must_use]
pub fn next_window(
    own: FireWindow,
    schedule: Option<(&Schedule, &Position)>,
    lane: Option<&Hours>,
    node: Option<&Hours>,
    now: Timestamp,
) -> Option<FireWindow> {
    // Until when a window lasts it says itself; hours are met again by each run.
    let met = |window: FireWindow| match meet(FireWindow { opens: window.opens.max(now), ..window }, lane, node) {
        Met::Open { window: FireWindow { opens, .. }, .. } => Some(FireWindow { opens, ..window }),
        Met::Shut { .. } => None,
    };
    let rest = (!own.is_over(now)).then_some(own);
    let fires = schedule.into_iter().flat_map(|(schedule, position)| windows(schedule, position, now));
    rest.into_iter().chain(fires).find_map(met).or_else(|| {
        let hours = FireWindow { opens: now, closes: None };
        match meet(hours, lane, node) {
            Met::Open { window, .. } if lane.or(node).is_some() => Some(window),
            Met::Open { .. } | Met::Shut { .. } => None,
        }
    })
}

/// The windows of a schedule's own fires that are not over.
fn windows<'a>(
    schedule: &'a Schedule,
    position: &'a Position,
    now: Timestamp,
) -> impl Iterator<Item = FireWindow> + 'a {
    let paused = position.pauses.by_hand.as_ref().and_then(|pause| pause.until);
    let length = schedule
        .opens_for()
        .map_or(SignedDuration::ZERO, |length| SignedDuration::try_from(length).unwrap_or(SignedDuration::MAX));
    let since = now.saturating_sub(length).unwrap_or(Timestamp::MIN);
    let is_out = position.runs_left(schedule) == Some(0);
    let fires = schedule.fires(since).take(if is_out { 0 } else { LOOKED_AT });
    fires
        .filter(move |fire| paused.is_none_or(|until| fire.due >= until))
        .map(|fire| schedule.window(fire, Origin::Scheduled, fire.due))
        .filter(move |window| !window.is_over(now))
}

#[cfg(test)]
mod tests {
    use sortie_contract::Pointer;

    use super::*;
    use crate::exclusion::Calendars;
    use crate::parse::Form;
    use crate::position::{ByHand, Pauses};
    use crate::zone::Zone;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn window(opens: &str, closes: &str) -> FireWindow {
        FireWindow { opens: at(opens), closes: Some(at(closes)) }
    }

    fn nightly(more: &str) -> Schedule {
        let text = format!(
            "id = \"n\"\nzone = \"UTC\"\nat = \"0 2 * * *\"\nopens_for = \"4h\"\n{more}\n[mission]\nvp_id = \"v\"\n"
        );
        Schedule::parse(&text, Form::Toml, &Calendars::none()).expect("a schedule")
    }

    fn hours(ranges: &[&str]) -> Hours {
        let utc = Zone::named("UTC").expect("a zone");
        Hours::parse(ranges, &[], &utc, &Calendars::none(), &Pointer::root()).expect("hours")
    }

    #[test]
    fn work_goes_on_in_the_next_window_of_its_schedule_then_in_the_hours_of_its_lane() {
        let own = window("2026-11-26T02:00:00Z", "2026-11-26T06:00:00Z");
        let six = at("2026-11-26T06:00:00Z");
        let (daily, last) = (nightly(""), nightly("end_at = \"2026-11-26T12:00:00Z\""));
        let (early, evening) = (hours(&["00:00-03:00"]), hours(&["20:00-23:00"]));
        let free = Position::new(at("2026-11-26T02:00:00Z"));
        let by_hand = |until: Option<&str>| Position {
            pauses: Pauses { by_hand: Some(ByHand { until: until.map(at), note: None }), after_failures: None },
            ..free.clone()
        };
        let tomorrow = Some(window("2026-11-27T02:00:00Z", "2026-11-27T06:00:00Z"));
        let (paused, for_good) = (by_hand(Some("2026-11-28T00:00:00Z")), by_hand(None));
        for (what, schedule, lane, now, expected) in [
            ("its window is over", Some((&daily, &free)), None, six, tomorrow),
            ("of a schedule that is over", Some((&last, &free)), None, six, None),
            ("of none", None, None, six, None),
            (
                "its lane closed in its window and opens tomorrow",
                Some((&daily, &free)),
                Some(&early),
                at("2026-11-26T03:00:00Z"),
                tomorrow,
            ),
            (
                "of a schedule that is over, on a lane with hours",
                Some((&last, &free)),
                Some(&evening),
                six,
                Some(window("2026-11-26T20:00:00Z", "2026-11-26T23:00:00Z")),
            ),
            (
                "of none, on a lane with hours",
                None,
                Some(&early),
                six,
                Some(window("2026-11-27T00:00:00Z", "2026-11-27T03:00:00Z")),
            ),
            (
                "its schedule is paused for two days",
                Some((&daily, &paused)),
                None,
                six,
                Some(window("2026-11-28T02:00:00Z", "2026-11-28T06:00:00Z")),
            ),
            ("its schedule is paused, nobody knows until when", Some((&daily, &for_good)), None, six, tomorrow),
        ] {
            assert_eq!(next_window(own, schedule, lane, None, now), expected, "{what}");
        }
    }

    #[test]
    fn what_has_no_window_of_its_own_goes_on_when_its_lane_opens() {
        let own = FireWindow { opens: at("2026-11-26T00:00:00Z"), closes: None };
        let early = hours(&["00:00-03:00"]);
        let next = next_window(own, None, Some(&early), None, at("2026-11-26T03:00:00Z"));
        assert_eq!(next, Some(FireWindow { opens: at("2026-11-27T00:00:00Z"), closes: None }));
    }

    #[test]
    fn windows_that_overlap_are_gone_through_one_by_one() {
        let hourly = Schedule::parse(
            "id = \"h\"\nevery = \"1h\"\nopens_for = \"90m\"\n[mission]\nvp_id = \"v\"\n",
            Form::Toml,
            &Calendars::none(),
        );
        let hourly = hourly.expect("a schedule");
        let free = Position::new(at("2026-11-26T02:00:00Z"));
        let own = window("2026-11-26T02:00:00Z", "2026-11-26T03:30:00Z");
        let next = next_window(own, Some((&hourly, &free)), None, None, at("2026-11-26T03:30:00Z"));
        assert_eq!(next, Some(window("2026-11-26T03:30:00Z", "2026-11-26T04:30:00Z")), "that of three has begun");
    }
}
