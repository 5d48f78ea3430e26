//! What happened, one a line, as it came.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::Offset;
use serde_json::Value;
use sortie_contract::Status;
use sortie_contract::time::rfc3339;

use super::cell;
use super::screen::{Meaning, Screen};

/// When something happened, for lines that come one after the other. On a terminal a line has the time of day, and the day with its zone
/// stands above the first one of it; elsewhere each line has its whole time.
pub(in crate::cli) struct Days {
    screen: Screen,
    day: Option<(Date, Offset)>,
}

impl Days {
    /// On this screen.
    pub(in crate::cli) fn on(screen: Screen) -> Self {
        Self { screen, day: None }
    }

    /// What stands above the line, if anything, and the time that it begins with.
    pub(in crate::cli) fn stamp(&mut self, at: Timestamp) -> (Option<String>, String) {
        if self.screen.width().is_none() {
            return (None, self.screen.local(at));
        }
        let day = Some(self.screen.day(at));
        let head = (self.day != day).then(|| self.screen.paint(Meaning::Quiet, &self.screen.day_head(at)));
        self.day = day;
        (head, self.screen.clock(at))
    }
}

/// What shows events, one after the other.
pub(in crate::cli) struct EventLines(Days);

impl EventLines {
    /// On this screen.
    pub(in crate::cli) fn on(screen: Screen) -> Self {
        Self(Days::on(screen))
    }

    /// The lines of an event.
    pub(in crate::cli) fn of(&mut self, event: &Value) -> Vec<String> {
        let at = event["emitted_at"].as_str().and_then(|at| rfc3339(at).ok());
        let (head, time) = at.map_or((None, String::new()), |at| self.0.stamp(at));
        let kind = cell(&event["event_type"]);
        let kind = kind.trim_start_matches("mission.");
        let (sequence, summary) = (cell(&event["sequence"]), cell(&event["summary"]));
        let kind = self.0.screen.paint(meaning(event), &format!("{kind:<10}"));
        let line = format!("{time}  {sequence:>3}  {kind} {summary}").trim_end().to_owned();
        head.into_iter().chain([line]).collect()
    }
}

/// What an event means: an end, or that people are asked. What goes on is nothing to look at.
fn meaning(event: &Value) -> Meaning {
    let status = serde_json::from_value::<Status>(event["status"].clone());
    let is_to_be_seen = event["event_type"] == "mission.blocked" || status.is_ok_and(Status::is_final);
    if is_to_be_seen { Meaning::of(&event["status"]) } else { Meaning::Plain }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;
    use serde_json::json;

    use super::*;

    fn shown(width: Option<usize>) -> Vec<String> {
        let zone = TimeZone::get("Europe/Berlin").expect("zone data");
        let mut lines = EventLines::on(Screen::fixed(width, width.is_some(), zone, "2026-10-25T21:00:00Z"));
        let event = |at: &str, sequence: u64, kind: &str, status: &str| json!({"emitted_at": at, "sequence": sequence, "event_type": kind, "status": status, "summary": "x\ny"});
        [
            event("2026-10-24T21:59:59.123Z", 1, "mission.accepted", "queued"),
            event("2026-10-24T22:30:00Z", 2, "mission.progress", "running"),
            // The clock is put back in between.
            event("2026-10-25T01:30:00Z", 3, "mission.blocked", "blocked"),
            event("2026-10-25T01:30:01Z", 4, "mission.completed", "completed"),
        ]
        .iter()
        .flat_map(|event| lines.of(event))
        .collect()
    }

    #[test]
    fn a_day_and_its_zone_are_told_when_they_change() {
        assert_eq!(
            shown(Some(80)),
            [
                "\u{1b}[2mSaturday, 2026-10-24 (CEST, UTC+02:00)\u{1b}[0m",
                "23:59:59    1  accepted   x ⏎ y",
                "\u{1b}[2mSunday, 2026-10-25 (CEST, UTC+02:00)\u{1b}[0m",
                "00:30:00    2  progress   x ⏎ y",
                "\u{1b}[2mSunday, 2026-10-25 (CET, UTC+01:00)\u{1b}[0m",
                "02:30:00    3  \u{1b}[33mblocked   \u{1b}[0m x ⏎ y",
                "02:30:01    4  \u{1b}[32mcompleted \u{1b}[0m x ⏎ y",
            ]
        );
    }

    #[test]
    fn elsewhere_each_line_stands_for_itself() {
        let lines = shown(None);
        assert_eq!(lines.len(), 4);
        assert_eq!(lines[1], "2026-10-25T00:30:00+02:00    2  progress   x ⏎ y");
        assert_eq!(lines[2], "2026-10-25T02:30:00+01:00    3  blocked    x ⏎ y");
    }
}
