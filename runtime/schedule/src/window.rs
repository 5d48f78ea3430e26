//! The window of a fire, met with the hours of its lane and its node.
//!
//! Owns the answer to "why not now": what is left of a window, and who limits it. Never knows missions.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::hours::Hours;

/// The half-open time in which a fire's mission may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FireWindow {
    /// From this on.
    pub opens: Timestamp,
    /// Until this; `None` where it does not close.
    pub closes: Option<Timestamp>,
}

impl FireWindow {
    /// Whether it is over.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.closes.is_some_and(|closes| now >= closes)
    }
}

/// Who says when a window opens or closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limiter {
    /// The schedule: `opens_for`.
    Schedule,
    /// The hours of the lane.
    Lane,
    /// The hours of the node.
    Node,
}

/// What is left of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Met {
    /// There is a time in it when all are open: the first.
    Open {
        /// That time.
        window: FireWindow,
        /// Who says that it does not open earlier.
        opens_by: Limiter,
        /// Who says that it closes then; of one that does not close, the schedule.
        closes_by: Limiter,
    },
    /// There is none.
    Shut {
        /// Who is closed throughout; the lane where only both together leave nothing.
        by: Limiter,
    },
}

/// Whether a lane and its node are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// Both are.
    Open {
        /// Until then; `None` where they do not close.
        until: Option<Timestamp>,
    },
    /// One of them is not.
    Shut {
        /// Until then; `None` where no end is in sight.
        until: Option<Timestamp>,
    },
}

/// Whether a lane and a node with these hours are open at an instant, and until when that holds.
#[must_use]
pub fn opening(lane: Option<&Hours>, node: Option<&Hours>, at: Timestamp) -> Opening {
    match meet(FireWindow { opens: at, closes: None }, lane, node) {
        Met::Open { window, .. } if window.opens <= at => Opening::Open { until: window.closes },
        Met::Open { window, .. } => Opening::Shut { until: Some(window.opens) },
        Met::Shut { .. } => Opening::Shut { until: None },
    }
}

/// How far ahead is looked for a time when all are open, days: mostly the next night has one. Hours that are closed for a year are closed.
const AHEAD: [i64; 3] = [2, 30, 400];

/// What the hours of a lane and a node leave of a window.
#[must_use]
pub fn meet(window: FireWindow, lane: Option<&Hours>, node: Option<&Hours>) -> Met {
    let mut met = Met::Shut { by: Limiter::Lane };
    for days in AHEAD {
        let ahead = window.opens.saturating_add(SignedDuration::from_hours(24 * days)).unwrap_or(Timestamp::MAX);
        let until = window.closes.map_or(ahead, |closes| closes.min(ahead));
        met = meet_until(window, lane, node, until);
        let is_bounded = matches!(met, Met::Open { window: FireWindow { closes: Some(_), .. }, .. });
        if is_bounded || window.closes == Some(until) {
            return met;
        }
    }
    match met {
        // Open for longer than anybody looks ahead.
        Met::Open { window: found, opens_by, .. } => {
            let window = FireWindow { opens: found.opens, closes: window.closes };
            Met::Open { window, opens_by, closes_by: Limiter::Schedule }
        }
        shut @ Met::Shut { .. } => shut,
    }
}

/// The same, of so much of the window; one that lasts longer is not bounded by that.
fn meet_until(window: FireWindow, lane: Option<&Hours>, node: Option<&Hours>, closes: Timestamp) -> Met {
    let spans = |hours: Option<&Hours>| match hours {
        Some(hours) => hours.open(window.opens, closes),
        None => vec![(window.opens, closes)],
    };
    let (lane_spans, node_spans) = (spans(lane), spans(node));
    for lane_span in &lane_spans {
        for node_span in &node_spans {
            let opens = lane_span.0.max(node_span.0);
            let ends = lane_span.1.min(node_span.1);
            if opens >= ends {
                continue;
            }
            let by = |bound: Timestamp, own: Timestamp, lane: Timestamp| match bound {
                bound if bound == own => Limiter::Schedule,
                bound if bound == lane => Limiter::Lane,
                _ => Limiter::Node,
            };
            let opens_by = by(opens, window.opens, lane_span.0);
            let closes_by = by(ends, closes, lane_span.1);
            let bounded = ends < closes || window.closes == Some(closes);
            return Met::Open { window: FireWindow { opens, closes: bounded.then_some(ends) }, opens_by, closes_by };
        }
    }
    let node_alone = !lane_spans.is_empty() && node_spans.is_empty();
    Met::Shut { by: if node_alone { Limiter::Node } else { Limiter::Lane } }
}

#[cfg(test)]
mod tests {
    use sortie_contract::Pointer;

    use super::*;
    use crate::exclusion::Calendars;
    use crate::zone::Zone;

    fn hours(ranges: &[&str], closed: &[&str]) -> Hours {
        let chicago = Zone::named("America/Chicago").expect("a zone");
        Hours::parse(ranges, closed, &chicago, &Calendars::none(), &Pointer::root()).expect("hours")
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn the_answer_says_which_of_them_limits_it() {
        use Limiter::{Lane, Node, Schedule};
        // 22:00 to 06:00 and 00:00 to 04:00 in Chicago, in winter six hours behind UTC.
        let night = hours(&["22:00-06:00"], &["2026-12-24"]);
        let early = hours(&["00:00-04:00"], &[]);
        for (opens, closes, lane, node, expected) in [
            // 02:00 for four hours: all open.
            (
                "2026-11-25T08:00:00Z",
                "2026-11-25T12:00:00Z",
                Some(&night),
                None,
                Some(("2026-11-25T08:00:00Z", "2026-11-25T12:00:00Z", Schedule, Schedule)),
            ),
            // The lane closes first, then the node.
            (
                "2026-11-25T08:00:00Z",
                "2026-11-25T13:00:00Z",
                Some(&night),
                None,
                Some(("2026-11-25T08:00:00Z", "2026-11-25T12:00:00Z", Schedule, Lane)),
            ),
            (
                "2026-11-25T08:00:00Z",
                "2026-11-25T13:00:00Z",
                Some(&night),
                Some(&early),
                Some(("2026-11-25T08:00:00Z", "2026-11-25T10:00:00Z", Schedule, Node)),
            ),
            // 20:00: the lane opens at 22:00, the node at midnight.
            (
                "2026-11-25T02:00:00Z",
                "2026-11-25T08:00:00Z",
                Some(&night),
                None,
                Some(("2026-11-25T04:00:00Z", "2026-11-25T08:00:00Z", Lane, Schedule)),
            ),
            (
                "2026-11-25T02:00:00Z",
                "2026-11-25T08:00:00Z",
                Some(&night),
                Some(&early),
                Some(("2026-11-25T06:00:00Z", "2026-11-25T08:00:00Z", Node, Schedule)),
            ),
        ] {
            let window = FireWindow { opens: at(opens), closes: Some(at(closes)) };
            let expected = expected.map(|(opens, closes, opens_by, closes_by)| Met::Open {
                window: FireWindow { opens: at(opens), closes: Some(at(closes)) },
                opens_by,
                closes_by,
            });
            assert_eq!(Some(meet(window, lane, node)), expected, "{opens} to {closes}");
        }
    }

    #[test]
    fn nobody_looks_through_a_thousand_years_of_nights() {
        let night = hours(&["22:00-06:00"], &["2026-11-25..2027-01-31"]);
        let window = |closes| FireWindow { opens: at("2026-11-25T13:00:00Z"), closes };
        for closes in [None, Some(at("9999-12-01T00:00:00Z")), Some(at("2027-02-01T12:00:00Z"))] {
            let expected = FireWindow { opens: at("2027-02-01T06:00:00Z"), closes: Some(at("2027-02-01T12:00:00Z")) };
            let by = if closes == expected.closes { Limiter::Schedule } else { Limiter::Lane };
            let met = Met::Open { window: expected, opens_by: Limiter::Lane, closes_by: by };
            assert_eq!(meet(window(closes), Some(&night), None), met, "{closes:?}");
        }
        let far = window(Some(at("9999-12-01T00:00:00Z")));
        let always = Met::Open { window: far, opens_by: Limiter::Schedule, closes_by: Limiter::Schedule };
        assert_eq!(meet(far, Some(&hours(&["00:00-24:00"], &[])), None), always);
    }

    #[test]
    fn a_window_in_which_nobody_is_open_is_shut_by_somebody() {
        let night = hours(&["22:00-06:00"], &[]);
        let noon = hours(&["12:00-13:00"], &[]);
        // 07:00 to 11:00 in Chicago.
        let window = FireWindow { opens: at("2026-11-25T13:00:00Z"), closes: Some(at("2026-11-25T17:00:00Z")) };
        assert_eq!(meet(window, Some(&night), None), Met::Shut { by: Limiter::Lane });
        assert_eq!(meet(window, None, Some(&noon)), Met::Shut { by: Limiter::Node });
        assert_eq!(meet(window, Some(&night), Some(&noon)), Met::Shut { by: Limiter::Lane });
        let endless = FireWindow { opens: window.opens, closes: None };
        assert_eq!(meet(endless, Some(&night), Some(&noon)), Met::Shut { by: Limiter::Lane });
        let open = Met::Open { window: endless, opens_by: Limiter::Schedule, closes_by: Limiter::Schedule };
        assert_eq!(meet(endless, None, None), open);
    }
}
