//! What the output goes to, as far as that changes how things look: a terminal has a width, colours and somebody who reads now; a
//! file or another program gets everything, in one form. Times are by the clock of this place (`TZ`) in both, in a file with their offset.
//!
//! Owned here: times, ages and colours. Never here: what is shown.

use std::io::{IsTerminal as _, stdout};

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::{Offset, TimeZone};
use serde_json::Value;
use sortie_contract::Status;
use sortie_contract::time::rfc3339;

use super::cell;

/// The columns of a terminal that does not say how many it has.
const COLUMNS: usize = 80;

/// What a colour means. There are no others: nothing is coloured for its looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::cli) enum Meaning {
    /// As it should be, and over.
    Good,
    /// Not as it should be.
    Bad,
    /// Somebody has to do something.
    Attention,
    /// Under way.
    Active,
    /// Nothing to look at now.
    Quiet,
    /// Nothing in particular.
    #[default]
    Plain,
}

impl Meaning {
    /// Of a mission's status.
    pub(in crate::cli) fn of(status: &Value) -> Self {
        match serde_json::from_value(status.clone()) {
            Ok(Status::Completed) => Self::Good,
            Ok(Status::Failed | Status::TimedOut) => Self::Bad,
            Ok(Status::Blocked) => Self::Attention,
            Ok(Status::Running) => Self::Active,
            Ok(Status::Queued | Status::Cancelled) => Self::Quiet,
            Err(_) => Self::Plain,
        }
    }

    fn style(self) -> Style {
        let colour = |colour: AnsiColor| Style::new().fg_color(Some(colour.into()));
        match self {
            Self::Good => colour(AnsiColor::Green),
            Self::Bad => colour(AnsiColor::Red),
            Self::Attention => colour(AnsiColor::Yellow),
            Self::Active => colour(AnsiColor::Cyan),
            Self::Quiet => Style::new().dimmed(),
            Self::Plain => Style::new(),
        }
    }
}

/// What the output goes to.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Screen {
    /// The columns of a terminal; nothing, where it is none.
    width: Option<usize>,
    colours: bool,
    zone: TimeZone,
    now: Timestamp,
}

impl Screen {
    /// Standard output, now, for whoever is in front of it.
    pub(in crate::cli) fn of_output() -> Self {
        let out = stdout();
        let columns = || terminal_size::terminal_size_of(&out).map_or(COLUMNS, |(columns, _)| usize::from(columns.0));
        let width = out.is_terminal().then(columns);
        let colours = width.is_some() && takes_colours(|name| std::env::var(name).ok());
        // A machine that does not say where it is has the zone of all.
        let zone = Some(TimeZone::system()).filter(|zone| !zone.is_unknown()).unwrap_or(TimeZone::UTC);
        Self { width, colours, zone, now: crate::node::system().wall() }
    }

    /// The columns of a terminal. Where there are none, nothing is cut, left out or told relative to now.
    pub(in crate::cli) fn width(&self) -> Option<usize> {
        self.width
    }

    /// A text in the colour of what it means, where there are colours.
    pub(in crate::cli) fn paint(&self, meaning: Meaning, text: &str) -> String {
        if !self.colours || meaning == Meaning::Plain || text.is_empty() {
            return text.to_owned();
        }
        let style = meaning.style();
        format!("{style}{text}{style:#}")
    }

    /// A time by the clock of this place: to the second, with its zone. What is no time is shown as it is.
    pub(in crate::cli) fn time(&self, time: &Value) -> String {
        self.moment(time).map_or_else(|| cell(time), |moment| self.local(moment))
    }

    /// The same of a moment.
    pub(in crate::cli) fn local(&self, moment: Timestamp) -> String {
        let form = if self.width.is_some() { "%Y-%m-%d %H:%M:%S %Z" } else { "%Y-%m-%dT%H:%M:%S%:z" };
        moment.to_zoned(self.zone.clone()).strftime(form).to_string()
    }

    /// How long ago a time was, or how far ahead it is; in a file, where nobody knows when it is read, the time.
    pub(in crate::cli) fn age(&self, time: &Value) -> String {
        match (self.moment(time), self.width) {
            (Some(moment), Some(_)) => self.relative(moment),
            (Some(moment), None) => self.local(moment),
            (None, _) => cell(time),
        }
    }

    /// A time, and on a terminal also how long ago that is.
    pub(in crate::cli) fn when(&self, time: &Value) -> String {
        match (self.moment(time), self.width) {
            (Some(moment), Some(_)) => format!("{} ({})", self.local(moment), self.relative(moment)),
            _ => self.time(time),
        }
    }

    /// The day on which a moment is, and the zone that it is by: what a clock's time belongs to.
    pub(in crate::cli) fn day(&self, moment: Timestamp) -> (Date, Offset) {
        let zoned = moment.to_zoned(self.zone.clone());
        (zoned.date(), zoned.offset())
    }

    /// A day with its zone, as the head of what happened on it.
    pub(in crate::cli) fn day_head(&self, moment: Timestamp) -> String {
        let zoned = moment.to_zoned(self.zone.clone());
        let (name, offset) = (zoned.strftime("%Z").to_string(), zoned.strftime("%:z").to_string());
        // Where a zone has no letters, its name is its offset.
        let zone = if name.starts_with(['+', '-']) { format!("UTC{offset}") } else { format!("{name}, UTC{offset}") };
        format!("{} ({zone})", zoned.strftime("%A, %Y-%m-%d"))
    }

    /// The clock's time, to the second.
    pub(in crate::cli) fn clock(&self, moment: Timestamp) -> String {
        moment.to_zoned(self.zone.clone()).strftime("%H:%M:%S").to_string()
    }

    fn relative(&self, moment: Timestamp) -> String {
        let seconds = moment.as_second().saturating_sub(self.now.as_second());
        let span = span(seconds.unsigned_abs());
        match seconds {
            0 => "now".to_owned(),
            1.. => format!("in {span}"),
            _ => format!("{span} ago"),
        }
    }

    fn moment(&self, time: &Value) -> Option<Timestamp> {
        rfc3339(time.as_str()?).ok()
    }

    /// A screen that is always the same, for tests.
    #[cfg(test)]
    pub(in crate::cli) fn fixed(width: Option<usize>, colours: bool, zone: TimeZone, now: &str) -> Self {
        Self { width, colours, zone, now: now.parse().expect("a time") }
    }
}

/// How long, in the largest unit that says something.
pub(in crate::cli) fn span(seconds: u64) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    match seconds {
        0..MINUTE => format!("{seconds} s"),
        MINUTE..HOUR => format!("{} min", seconds / MINUTE),
        HOUR..172_800 => format!("{} h", seconds / HOUR),
        172_800..63_072_000 => format!("{} d", seconds / DAY),
        _ => format!("{} y", seconds / (365 * DAY)),
    }
}

/// Whether a terminal with this environment wants colours: <https://no-color.org>.
fn takes_colours(variable: impl Fn(&str) -> Option<String>) -> bool {
    variable("NO_COLOR").is_none_or(|value| value.is_empty()) && variable("TERM").is_none_or(|term| term != "dumb")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn screen(width: Option<usize>, zone: TimeZone) -> Screen {
        Screen::fixed(width, true, zone, "2026-11-26T21:00:00Z")
    }

    #[test]
    fn times_are_of_this_place_and_name_their_zone() {
        let berlin = TimeZone::get("Europe/Berlin").expect("zone data");
        let sao_paulo = TimeZone::get("America/Sao_Paulo").expect("zone data");
        for (zone, time, on_a_terminal, in_a_file) in [
            (&berlin, "2026-11-26T20:59:03.123456789Z", "2026-11-26 21:59:03 CET", "2026-11-26T21:59:03+01:00"),
            (&berlin, "2026-07-01T23:00:00Z", "2026-07-02 01:00:00 CEST", "2026-07-02T01:00:00+02:00"),
            (&sao_paulo, "2026-07-01T23:00:00Z", "2026-07-01 20:00:00 -03", "2026-07-01T20:00:00-03:00"),
            (&TimeZone::UTC, "2026-07-01T23:00:00Z", "2026-07-01 23:00:00 UTC", "2026-07-01T23:00:00+00:00"),
            (&TimeZone::UTC, "soon\u{1b}", "soon\\u{1b}", "soon\\u{1b}"),
        ] {
            assert_eq!(screen(Some(80), zone.clone()).time(&json!(time)), on_a_terminal);
            assert_eq!(screen(None, zone.clone()).time(&json!(time)), in_a_file);
        }
        assert_eq!(screen(None, TimeZone::UTC).when(&Value::Null), "");
    }

    #[test]
    fn ages_are_for_who_reads_now() {
        for (time, expected) in [
            ("2026-11-26T21:00:00.9Z", "now"),
            ("2026-11-26T20:59:01Z", "59 s ago"),
            ("2026-11-26T20:57:00Z", "3 min ago"),
            ("2026-11-26T23:00:00Z", "in 2 h"),
            ("2026-11-25T10:00:00Z", "35 h ago"),
            ("2026-11-20T21:00:00Z", "6 d ago"),
            ("2999-01-01T00:00:00Z", "in 972 y"),
        ] {
            assert_eq!(screen(Some(80), TimeZone::UTC).age(&json!(time)), expected);
            let in_a_file = screen(None, TimeZone::UTC);
            assert_eq!(in_a_file.age(&json!(time)), in_a_file.time(&json!(time)));
        }
        let said = screen(Some(80), TimeZone::UTC).when(&json!("2026-11-26T20:57:00Z"));
        assert_eq!(said, "2026-11-26 20:57:00 UTC (3 min ago)");
    }

    #[test]
    fn a_day_says_by_which_clock() {
        let moment: Timestamp = "2026-11-26T23:30:00Z".parse().expect("a time");
        for (zone, expected) in [
            ("Europe/Berlin", "Friday, 2026-11-27 (CET, UTC+01:00)"),
            ("America/Sao_Paulo", "Thursday, 2026-11-26 (UTC-03:00)"),
        ] {
            let screen = screen(Some(80), TimeZone::get(zone).expect("zone data"));
            assert_eq!(screen.day_head(moment), expected);
        }
    }

    #[test]
    fn colours_are_for_terminals_that_want_them() {
        for (no_color, term, expected) in [
            (None, None, true),
            (None, Some("xterm"), true),
            (Some(""), Some("xterm"), true),
            (Some("1"), Some("xterm"), false),
            (None, Some("dumb"), false),
        ] {
            let variable = |name: &str| if name == "TERM" { term } else { no_color }.map(str::to_owned);
            assert_eq!(takes_colours(variable), expected, "{no_color:?}, {term:?}");
        }
        let of = |colours| Screen::fixed(Some(80), colours, TimeZone::UTC, "2026-11-26T21:00:00Z");
        assert_eq!(of(true).paint(Meaning::Bad, "failed"), "\u{1b}[31mfailed\u{1b}[0m");
        assert_eq!(of(true).paint(Meaning::Plain, "x"), "x");
        assert_eq!(of(false).paint(Meaning::Bad, "failed"), "failed");
    }
}
