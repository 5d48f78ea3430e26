//! One field of an expression of crontab: from its text to the set of its values.
//!
//! Owns the grammar (`*`, values, names, ranges, steps, lists) and the hints for what crontab does not have. Never knows a
//! calendar: which dates there are is `expression`'s.

use std::collections::BTreeSet;

/// Which of the seven it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Second,
    Minute,
    Hour,
    Day,
    Month,
    Weekday,
    Year,
}

/// In the order of cron's numbers.
pub(crate) const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
const WEEKDAYS_LONG: [&str; 7] = ["SUNDAY", "MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY"];
const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const MONTHS_LONG: [&str; 12] = [
    "JANUARY",
    "FEBRUARY",
    "MARCH",
    "APRIL",
    "MAY",
    "JUNE",
    "JULY",
    "AUGUST",
    "SEPTEMBER",
    "OCTOBER",
    "NOVEMBER",
    "DECEMBER",
];

impl Kind {
    /// What messages call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day of the month",
            Self::Month => "month",
            Self::Weekday => "day of the week",
            Self::Year => "year",
        }
    }

    /// The least and the greatest value.
    fn bounds(self) -> (u32, u32) {
        match self {
            Self::Second | Self::Minute => (0, 59),
            Self::Hour => (0, 23),
            Self::Day => (1, 31),
            Self::Month => (1, 12),
            // Sunday is 0 and 7.
            Self::Weekday => (0, 7),
            Self::Year => (1970, 2100),
        }
    }

    /// How many values a step can go over.
    fn size(self) -> u32 {
        let (min, max) = self.bounds();
        if self == Self::Weekday { 7 } else { max - min + 1 }
    }

    fn is_of_days(self) -> bool {
        matches!(self, Self::Day | Self::Weekday)
    }

    /// `L`, `W`, `LW`, `15W`, `L-3`, `5L`, `FRIL`: what some readers of expressions take beside crontab's.
    fn is_a_letter_of_quartz(self, upper: &str) -> bool {
        let day = |day: &str| day.is_empty() || day == "L" || number(day).is_some() || self.named(day).is_some();
        let last = upper.strip_prefix("L-").is_some_and(|days| number(days).is_some());
        last || upper.strip_suffix(['L', 'W']).is_some_and(day)
    }

    /// What to say about something that is no value.
    fn unknown(self, text: &str) -> String {
        let upper = text.to_ascii_uppercase();
        if upper.contains('#') {
            return format!("`{text}`: `#` (the n-th weekday of a month) is not in crontab: list the dates in `once`");
        }
        if self.is_of_days() && self.is_a_letter_of_quartz(&upper) {
            let letter = if upper.contains('W') { "`W` (the nearest working day)" } else { "`L` (the last day)" };
            return format!("`{text}`: {letter} is not in crontab: list the dates in `once`");
        }
        if upper.starts_with('H') && matches!(self, Kind::Second | Kind::Minute | Kind::Hour) {
            return format!("`{text}`: `H` is not in crontab: write a number, and `jitter` to spread fires");
        }
        let (low, high) = self.bounds();
        let names = match self {
            Kind::Month => ", or JAN to DEC",
            Kind::Weekday => ", or SUN to SAT",
            _ => "",
        };
        format!("`{text}` is no {}: write {low} to {high}{names}", self.name())
    }

    fn named(self, text: &str) -> Option<u32> {
        let at = |short: &[&str], long: &[&str], first: u32| {
            let is = |name: &&str| name.eq_ignore_ascii_case(text);
            let found = short.iter().position(is).or_else(|| long.iter().position(is))?;
            u32::try_from(found).ok().map(|found| found + first)
        };
        match self {
            Self::Month => at(&MONTHS, &MONTHS_LONG, 1),
            Self::Weekday => at(&WEEKDAYS, &WEEKDAYS_LONG, 0),
            _ => None,
        }
    }
}

/// What a field says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) kind: Kind,
    /// Never empty; of weekdays 0 to 6.
    pub(crate) values: BTreeSet<u32>,
    /// Whether it begins with a wildcard: what crontab calls unrestricted, even with a step.
    pub(crate) starred: bool,
    /// Whether there is a wildcard or a step in it.
    pub(crate) repeats: bool,
}

impl Field {
    /// Reads a field. In an expression that has one for the seconds, weekdays have to be names: readers of such expressions
    /// disagree about whether 1 is Sunday.
    pub(crate) fn parse(kind: Kind, text: &str, names_only: bool) -> Result<Self, String> {
        let mut field = Self { kind, values: BTreeSet::new(), starred: text.starts_with(['*', '?']), repeats: false };
        for item in text.split(',') {
            field.item(item, names_only)?;
        }
        Ok(field)
    }

    /// Every value that there is.
    pub(crate) fn is_full(&self) -> bool {
        u32::try_from(self.values.len()) == Ok(self.kind.size())
    }

    /// As the calendar underneath reads it: a wildcard or a list, weekdays by name.
    pub(crate) fn rewritten(&self) -> String {
        if self.is_full() {
            return "*".to_owned();
        }
        let texts: Vec<String> = self.values.iter().map(|value| self.value_text(*value)).collect();
        texts.join(",")
    }

    fn value_text(&self, value: u32) -> String {
        match self.kind {
            Kind::Weekday => WEEKDAYS.get(value as usize).copied().unwrap_or_default().to_owned(),
            _ => value.to_string(),
        }
    }

    fn item(&mut self, item: &str, names_only: bool) -> Result<(), String> {
        let (body, step) = match item.split_once('/') {
            Some((body, step)) => (body, Some(self.step(step)?)),
            None => (item, None),
        };
        let wild = body == "*" || (body == "?" && self.kind.is_of_days());
        self.repeats |= wild || step.is_some();
        let (low, high) = self.kind.bounds();
        let (from, to) = if wild {
            (low, if self.kind == Kind::Weekday { 6 } else { high })
        } else if let Some((from, to)) = body.split_once('-') {
            (self.value(from, names_only)?, self.value(to, names_only)?)
        } else {
            let value = self.value(body, names_only)?;
            if step.is_some() {
                return Err(format!("`{item}`: a step needs a range or a wildcard: write `{body}-{high}/…`"));
            }
            (value, value)
        };
        self.insert(from, to, step.unwrap_or(1), item)
    }

    fn insert(&mut self, from: u32, to: u32, step: u32, item: &str) -> Result<(), String> {
        let values = if from <= to {
            (from..=to).collect::<Vec<_>>()
        } else if self.kind == Kind::Weekday {
            // FRI-MON goes over the end of the week.
            (from..=6).chain(0..=to).collect()
        } else {
            let (low, high) = self.kind.bounds();
            return Err(format!("`{item}` ends before it begins: write `{from}-{high},{low}-{to}`"));
        };
        let stepped = values.into_iter().step_by(step as usize);
        let weekdays = self.kind == Kind::Weekday;
        self.values.extend(stepped.map(|value| if weekdays { value % 7 } else { value }));
        Ok(())
    }

    fn step(&self, text: &str) -> Result<u32, String> {
        let step = number(text).filter(|step| *step > 0);
        let step = step.ok_or_else(|| format!("`/{text}` is no step: write a whole number from 1"))?;
        let size = self.kind.size();
        if step < size.max(2) {
            return Ok(step);
        }
        let longer = format!("a step of {step} goes beyond the {size} values of a {}", self.kind.name());
        Err(match self.kind {
            Kind::Minute => format!("{longer}: write `every = \"{step}m\"`"),
            Kind::Hour => format!("{longer}: write `every = \"{step}h\"`"),
            Kind::Day => format!("{longer}: write `every = \"{step}d\"`"),
            _ => longer,
        })
    }

    fn value(&self, text: &str, names_only: bool) -> Result<u32, String> {
        if let Some(value) = self.kind.named(text) {
            return Ok(value);
        }
        let (low, high) = self.kind.bounds();
        match number(text) {
            Some(_) if self.kind == Kind::Weekday && names_only => Err(format!(
                "`{text}`: in expressions of six or seven fields some count Sunday as 1 and some as 0: write MON-FRI, by name"
            )),
            Some(value) if (low..=high).contains(&value) => Ok(value),
            Some(value) => Err(format!("{value} is not among {low} to {high}")),
            None => Err(self.kind.unknown(text)),
        }
    }
}

/// Digits, and nothing that a parser of numbers takes beside them.
fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_the_set_of_its_values() {
        for (kind, text, expected) in [
            (Kind::Minute, "*/15", vec![0, 15, 30, 45]),
            (Kind::Minute, "13,18,44", vec![13, 18, 44]),
            (Kind::Hour, "22-23,0-1", vec![0, 1, 22, 23]),
            (Kind::Hour, "8-18/5", vec![8, 13, 18]),
            (Kind::Month, "feb,OCTOBER", vec![2, 10]),
            (Kind::Weekday, "0", vec![0]),
            (Kind::Weekday, "7", vec![0]),
            (Kind::Weekday, "5-7", vec![0, 5, 6]),
            (Kind::Weekday, "FRI-MON", vec![0, 1, 5, 6]),
            (Kind::Weekday, "MON-SUN/2", vec![0, 1, 3, 5]),
            (Kind::Weekday, "*/2", vec![0, 2, 4, 6]),
            (Kind::Weekday, "?", vec![0, 1, 2, 3, 4, 5, 6]),
            (Kind::Year, "2026-2030/2", vec![2026, 2028, 2030]),
        ] {
            let field = Field::parse(kind, text, false).unwrap_or_else(|detail| panic!("{text}: {detail}"));
            assert_eq!(field.values.into_iter().collect::<Vec<_>>(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_none_is_told_with_what_to_write() {
        for (kind, text, expected) in [
            (Kind::Minute, "60", "60 is not among 0 to 59"),
            (Kind::Minute, "133", "133 is not among 0 to 59"),
            (Kind::Minute, "", "`` is no minute: write 0 to 59"),
            (Kind::Minute, "1,", "`` is no minute"),
            (Kind::Minute, "+5", "`+5` is no minute"),
            (Kind::Minute, "*/0", "`/0` is no step"),
            (Kind::Minute, "*/90", "write `every = \"90m\"`"),
            (Kind::Minute, "5/15", "write `5-59/…`"),
            (Kind::Minute, "2/3/5", "is no step"),
            (Kind::Minute, "H", "`jitter`"),
            (Kind::Hour, "24", "24 is not among"),
            (Kind::Hour, "22-2", "write `22-23,0-2`"),
            (Kind::Hour, "?", "`?` is no hour"),
            (Kind::Day, "L", "`L` (the last day) is not in crontab"),
            (Kind::Day, "15W", "`W` (the nearest working day) is not in crontab"),
            (Kind::Day, "LW", "`W` (the nearest working day)"),
            (Kind::Day, "0", "0 is not among 1 to 31"),
            (Kind::Month, "juneuary", "`juneuary` is no month: write 1 to 12, or JAN to DEC"),
            (Kind::Weekday, "5L", "`L` (the last day)"),
            (Kind::Weekday, "FRIL", "`L` (the last day)"),
            (Kind::Weekday, "MON#2", "`#` (the n-th weekday of a month)"),
            (Kind::Weekday, "8", "8 is not among 0 to 7"),
            (Kind::Weekday, "1-5-7", "is no day of the week"),
            (Kind::Weekday, "monday-", "is no day of the week"),
        ] {
            let told = Field::parse(kind, text, false).expect_err(text);
            assert!(told.contains(expected), "{text}: {told}");
        }
        let told = Field::parse(Kind::Weekday, "1-5", true).expect_err("numbers");
        assert!(told.contains("write MON-FRI"), "{told}");
    }
}
