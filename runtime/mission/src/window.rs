//! The autonomy window: the half-open time `[start_at, end_at)` in which a mission may run.
//!
//! Owned here: on which side of it a moment lies. Never here: what follows from that.

use jiff::Timestamp;
use sortie_contract::envelope::Window;

/// Where a moment lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Before the window; it opens then.
    Before(Timestamp),
    /// In it.
    Within,
    /// After it; it closed then.
    After(Timestamp),
}

/// Where `wall` lies in relation to `window`. A missing end is no end.
pub(crate) fn moment(window: Window, wall: Timestamp) -> Moment {
    match (window.start_at, window.end_at) {
        (_, Some(end)) if wall >= end => Moment::After(end),
        (Some(start), _) if wall < start => Moment::Before(start),
        _ => Moment::Within,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_is_half_open() {
        let at = |second| Timestamp::from_second(second).expect("in range");
        let window = |start: Option<i64>, end: Option<i64>| Window { start_at: start.map(at), end_at: end.map(at) };
        for (window, second, expected) in [
            (window(Some(10), Some(20)), 9, Moment::Before(at(10))),
            (window(Some(10), Some(20)), 10, Moment::Within),
            (window(Some(10), Some(20)), 19, Moment::Within),
            (window(Some(10), Some(20)), 20, Moment::After(at(20))),
            (window(None, Some(20)), -5, Moment::Within),
            (window(None, Some(20)), 21, Moment::After(at(20))),
            (window(Some(10), None), 1_000_000, Moment::Within),
            (window(None, None), 0, Moment::Within),
        ] {
            assert_eq!(moment(window, at(second)), expected, "{window:?} at {second}");
        }
    }
}
