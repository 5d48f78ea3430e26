//! An expression of crontab: which times of a wall clock it names.
//!
//! Owns the difference between crontab and the calendar underneath (crate `cron`), which counts weekdays from 1, takes both day
//! fields together, and knows neither five fields nor nicknames. What goes down to it is a list of plain numbers and names; what
//! comes up are wall-clock times, strictly increasing. Never knows a zone: what a clock change does is `recurrence`'s.

use std::str::FromStr;

use chrono::DateTime;

use crate::field::{Field, Kind};

/// A time of a wall clock, in seconds, as if it were UTC.
pub(crate) type Wall = i64;

const FIELDS: [Kind; 7] = [Kind::Second, Kind::Minute, Kind::Hour, Kind::Day, Kind::Month, Kind::Weekday, Kind::Year];

const NICKNAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// Why a text is no expression, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    /// Too few fields, or too many.
    #[error(
        "has {0} fields: write five (minute, hour, day of the month, month, day of the week), such as \"0 2 * * 1-5\"; six with \
         the second in front, seven with the year behind"
    )]
    Fields(usize),
    /// `@reboot`.
    #[error(
        "`@reboot` fires when a machine starts, which is no time: write a time, and `catch_up` for what was missed meanwhile"
    )]
    Reboot,
    /// `@every 5m`.
    #[error("`@every` is a key here: write `every = \"90m\"`")]
    Every,
    /// `CRON_TZ=Europe/London 0 2 * * *`.
    #[error("the zone is a key here: write `zone = \"America/Chicago\"`")]
    Zone,
    /// Another word that begins with `@`.
    #[error("`{0}` is no nickname: write @hourly, @daily, @midnight, @weekly, @monthly, @yearly or @annually")]
    Nickname(String),
    /// One of the fields.
    #[error("the field of the {field}: {detail}")]
    Field {
        /// What the field is called.
        field: &'static str,
        /// What is wrong with it, and what to write.
        detail: String,
    },
    /// 30 February.
    #[error("never fires: there is no such day until the end of the year 2100")]
    Never,
}

/// A valid expression, which names at least one time before the year 2101.
#[derive(Debug, Clone)]
pub struct Expression {
    text: String,
    /// One calendar, or two of which either will do.
    calendars: Vec<cron::Schedule>,
    real_time: bool,
    seconds: usize,
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Expression {}

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    /// [`ExpressionError`] with what is wrong and what to write.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        let plain = unfolded(text.trim())?;
        let parts: Vec<&str> = plain.split_whitespace().collect();
        let kinds = match parts.len() {
            5 => &FIELDS[1..6],
            6 => &FIELDS[..6],
            7 => &FIELDS[..],
            other => return Err(ExpressionError::Fields(other)),
        };
        let names_only = parts.len() > 5;
        let mut fields = Vec::with_capacity(7);
        for (kind, part) in kinds.iter().zip(&parts) {
            let field = Field::parse(*kind, part, names_only);
            fields.push(field.map_err(|detail| ExpressionError::Field { field: kind.name(), detail })?);
        }
        let of = |kind: Kind| fields.iter().find(|field| field.kind == kind);
        let repeats = |kind| of(kind).is_some_and(|field| field.repeats);
        let expression = Self {
            text: text.trim().to_owned(),
            calendars: calendars(&of)?,
            real_time: repeats(Kind::Minute) || repeats(Kind::Hour),
            seconds: of(Kind::Second).map_or(1, |field| field.values.len()),
        };
        // Before 1970 there is none.
        expression.after(-1).map(|_| expression.clone()).ok_or(ExpressionError::Never)
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it follows real time through a clock change: it has a wildcard or a step in minute or hour. Others name fixed
    /// times, which fire once a day whatever the clock does.
    #[must_use]
    pub fn follows_real_time(&self) -> bool {
        self.real_time
    }

    /// Whether it fires twice within one minute.
    #[must_use]
    pub fn fires_within_a_minute(&self) -> bool {
        self.seconds > 1
    }

    /// The first time after `wall`.
    pub(crate) fn after(&self, wall: Wall) -> Option<Wall> {
        let wall = DateTime::from_timestamp(wall.max(-1), 0)?;
        let nexts = self.calendars.iter().filter_map(|calendar| calendar.after(&wall).next());
        nexts.map(|next| next.timestamp()).min()
    }
}

/// The expression behind a nickname, and the words for what is none.
fn unfolded(text: &str) -> Result<&str, ExpressionError> {
    if text.contains("TZ=") {
        return Err(ExpressionError::Zone);
    }
    if !text.starts_with('@') {
        return Ok(text);
    }
    let word = text.split_whitespace().next().unwrap_or(text).to_ascii_lowercase();
    match NICKNAMES.iter().find(|(name, _)| *name == text.to_ascii_lowercase()) {
        Some((_, plain)) => Ok(plain),
        None if word == "@reboot" => Err(ExpressionError::Reboot),
        None if word == "@every" => Err(ExpressionError::Every),
        None => Err(ExpressionError::Nickname(text.chars().take(40).collect())),
    }
}

/// The calendars underneath. With both day fields restricted it is crontab's "or", which is a union of two.
fn calendars<'f>(of: &impl Fn(Kind) -> Option<&'f Field>) -> Result<Vec<cron::Schedule>, ExpressionError> {
    let free = |kind| of(kind).is_none_or(|field| field.starred);
    let calendar = |ignored: Option<Kind>| {
        let fields = FIELDS.map(|kind| match of(kind) {
            Some(field) if Some(kind) != ignored => field.rewritten(),
            None if kind == Kind::Second => "0".to_owned(),
            _ => "*".to_owned(),
        });
        // Nothing but numbers and names of weekdays within their bounds goes down.
        cron::Schedule::from_str(&fields.join(" "))
            .map_err(|error| ExpressionError::Field { field: "calendar", detail: error.to_string() })
    };
    if free(Kind::Day) || free(Kind::Weekday) {
        return Ok(vec![calendar(None)?]);
    }
    Ok(vec![calendar(Some(Kind::Day))?, calendar(Some(Kind::Weekday))?])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walls(text: &str, from: &str, count: usize) -> Vec<String> {
        let expression = Expression::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let mut wall = from.parse::<DateTime<chrono::Utc>>().expect("a time").timestamp();
        (0..count)
            .map(|_| {
                wall = expression.after(wall).expect("another");
                DateTime::from_timestamp(wall, 0).expect("in range").format("%Y-%m-%dT%H:%M:%S").to_string()
            })
            .collect()
    }

    #[test]
    fn it_names_what_crontab_names() {
        for (text, from, expected) in [
            ("0 2 * * 1-5", "2026-11-27T12:00:00Z", ["2026-11-30T02:00:00", "2026-12-01T02:00:00"]),
            ("0 0 2 * * MON-FRI", "2026-11-27T12:00:00Z", ["2026-11-30T02:00:00", "2026-12-01T02:00:00"]),
            // Both day fields: either will do.
            ("0 2 13 * FRI", "2026-11-05T12:00:00Z", ["2026-11-06T02:00:00", "2026-11-13T02:00:00"]),
            ("0 0 13 * 1", "2026-10-12T12:00:00Z", ["2026-10-13T00:00:00", "2026-10-19T00:00:00"]),
            // One of them begins with a wildcard: both must hold.
            ("0 0 */2 * 1", "2026-11-01T12:00:00Z", ["2026-11-09T00:00:00", "2026-11-23T00:00:00"]),
            ("0 12 * * FRI-MON", "2026-11-23T12:00:00Z", ["2026-11-27T12:00:00", "2026-11-28T12:00:00"]),
            ("@weekly", "2026-11-25T00:00:00Z", ["2026-11-29T00:00:00", "2026-12-06T00:00:00"]),
            ("@Annually", "2026-11-25T00:00:00Z", ["2027-01-01T00:00:00", "2028-01-01T00:00:00"]),
            ("0 0 29 2 *", "2026-11-25T00:00:00Z", ["2028-02-29T00:00:00", "2032-02-29T00:00:00"]),
            ("30 0 0 1 1 ? 2030,2040", "2026-11-25T00:00:00Z", ["2030-01-01T00:00:30", "2040-01-01T00:00:30"]),
        ] {
            assert_eq!(walls(text, from, 2), expected, "{text}");
        }
    }

    #[test]
    fn what_is_none_is_told_with_what_to_write() {
        for (text, expected) in [
            ("", "has 0 fields"),
            ("******", "has 1 fields"),
            ("* * * *", "has 4 fields"),
            ("0 0 0 1 1 ? 2030 2031", "has 8 fields"),
            ("@reboot", "`@reboot` fires when a machine starts"),
            ("@every 5m", "write `every"),
            ("@fortnightly", "`@fortnightly` is no nickname"),
            ("CRON_TZ=Europe/London 0 2 * * *", "write `zone"),
            ("0 0 30 2 *", "never fires"),
            ("0 0 31 2,4,6,9,11 *", "never fires"),
            ("0 0 0 29 2 ? 2100", "never fires"),
            ("0 25 * * *", "the field of the hour: 25 is not among 0 to 23"),
            ("0 0 2 * * 1-5", "write MON-FRI"),
            ("0 0 L * *", "`L`"),
            ("0 0 1W * *", "`W`"),
            ("0 0 * * MON#1", "`#`"),
        ] {
            let told = Expression::parse(text).expect_err(text).to_string();
            assert!(told.contains(expected), "{text}: {told}");
        }
    }

    #[test]
    fn wildcards_and_steps_in_minute_or_hour_follow_real_time() {
        for (text, expected) in [
            ("0 2 * * *", false),
            ("0,30 1-3 * * *", false),
            ("*/15 * * * *", true),
            ("0 * * * *", true),
            ("*/15 2 * * *", true),
            ("30 0-22/2 * * *", true),
            ("@hourly", true),
            ("@daily", false),
            ("* 0 2 * * *", false),
        ] {
            assert_eq!(Expression::parse(text).expect(text).follows_real_time(), expected, "{text}");
        }
    }
}
