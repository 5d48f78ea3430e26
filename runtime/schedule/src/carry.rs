//! Work that is carried over: in which window it goes on.
//!
//! Owns the order in which that is looked for: what is left of its own window, then the next one of its schedule, then the hours of its
//! lane and node. Never knows a mission.

use jiff::{SignedDuration, Timestamp};

use crate::hours::Hours;
use crate::position::{Origin, Position};
use crate::schedule::{Fire, Schedule};
use crate::window::{FireWindow, Met, Opening, meet, opening};

/// The window in which work goes on that is not done, while its `own` window has closed, or the hours of its lane and node have. `None`
/// where there is none to come: its schedule fires no more, and neither its lane nor its node ever closes and opens again.
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
    if let Some(rest) = met(own).filter(|_| !own.is_over(now)) {
        return Some(rest);
    }
    let fires = schedule.filter(|(schedule, position)| position.runs_left(schedule) != Some(0));
    match fires.and_then(|(schedule, position)| Some((schedule, position, schedule.next(now)?))) {
        None => next_hours(lane, node, now),
        Some((schedule, position, _)) => {
            let paused = position.pauses.by_hand.as_ref().and_then(|pause| pause.until);
            let mut from = paused.map_or(now, |until| until.max(now));
            for _ in 0..LOOKED_AT {
                let fire = newest(schedule, from).filter(|fire| paused.is_none_or(|until| fire.due >= until));
                let fire =
                    fire.filter(|fire| !window_of(schedule, *fire).is_over(from)).or_else(|| schedule.next(from))?;
                let window = window_of(schedule, fire);
                if let Some(window) = met(window) {
                    return Some(window);
                }
                // Nothing before they open leaves a window.
                let opens = match opening(lane, node, window.opens.max(from)) {
                    Opening::Open { .. } => None,
                    Opening::Shut { until } => Some(until?),
                };
                let further = from.saturating_add(SignedDuration::from_secs(1)).unwrap_or(Timestamp::MAX);
                from = opens.map_or(further, |opens| opens.max(further));
            }
            None
        }
    }
}

fn window_of(schedule: &Schedule, fire: Fire) -> FireWindow {
    schedule.window(fire, Origin::Scheduled, fire.due)
}

/// The next hours of a lane and a node: not what is left of those in which it is now.
fn next_hours(lane: Option<&Hours>, node: Option<&Hours>, now: Timestamp) -> Option<FireWindow> {
    let from = match opening(lane, node, now) {
        Opening::Open { until } => until?,
        Opening::Shut { .. } => now,
    };
    match meet(FireWindow { opens: from, closes: None }, lane, node) {
        Met::Open { window, .. } => Some(window),
        Met::Shut { .. } => None,
    }
}

/// How far back is looked for a window that is open, seconds: what fires often has one near.
const BACK: [i64; 4] = [60, 3_600, 86_400, 30 * 86_400];

/// How many windows are looked at for one of which the hours leave something.
const LOOKED_AT: usize = 400;

/// The newest fire that is due already and whose window is open.
fn newest(schedule: &Schedule, now: Timestamp) -> Option<Fire> {
    let length = schedule.opens_for().map_or(0, |length| i64::try_from(length.as_secs()).unwrap_or(i64::MAX));
    let reaches = BACK.into_iter().filter(|back| *back < length).chain([length]);
    reaches
        .map(|back| now.saturating_sub(SignedDuration::from_secs(back)).unwrap_or(Timestamp::MIN))
        .find_map(|since| schedule.fires(since).take_while(|fire| fire.at <= now).filter(|fire| fire.due <= now).last())
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
    fn what_is_over_does_not_go_on_in_the_hours_in_which_it_is_now() {
        let now = at("2026-11-26T02:00:00Z");
        let own = window("2026-11-26T01:00:00Z", "2026-11-26T02:00:00Z");
        let (always, early) = (hours(&["00:00-24:00"]), hours(&["00:00-03:00"]));
        assert_eq!(
            next_window(own, None, Some(&always), None, now),
            None,
            "a lane that never closes has no next hours"
        );
        let tomorrow = Some(window("2026-11-27T00:00:00Z", "2026-11-27T03:00:00Z"));
        assert_eq!(next_window(own, None, Some(&early), Some(&always), now), tomorrow);
    }

    #[test]
    fn of_a_schedule_that_fires_often_the_window_is_found_that_the_hours_leave() {
        let often = Schedule::parse(
            "id = \"m\"\nevery = \"1m\"\nopens_for = \"20s\"\n[mission]\nvp_id = \"v\"\n",
            Form::Toml,
            &Calendars::none(),
        );
        let often = often.expect("a schedule");
        let (free, early) = (Position::new(at("2026-11-26T02:00:00Z")), hours(&["10:03-10:08", "10:09-10:10"]));
        let own = window("2026-11-26T10:09:00Z", "2026-11-26T10:09:20Z");
        let next = next_window(own, Some((&often, &free)), Some(&early), None, at("2026-11-26T10:09:20Z"));
        assert_eq!(next, Some(window("2026-11-27T10:03:00Z", "2026-11-27T10:03:20Z")), "a thousand fires later");
    }

    #[test]
    fn of_windows_that_overlap_it_goes_on_in_the_one_that_closes_last() {
        let hourly = Schedule::parse(
            "id = \"h\"\nevery = \"20m\"\nopens_for = \"150m\"\n[mission]\nvp_id = \"v\"\n",
            Form::Toml,
            &Calendars::none(),
        );
        let hourly = hourly.expect("a schedule");
        let free = Position::new(at("2026-11-26T02:00:00Z"));
        let own = window("2026-11-26T02:00:00Z", "2026-11-26T04:30:00Z");
        let next = next_window(own, Some((&hourly, &free)), None, None, at("2026-11-26T04:30:00Z"));
        assert_eq!(next, Some(window("2026-11-26T04:30:00Z", "2026-11-26T06:50:00Z")), "seven are open");
    }
}
