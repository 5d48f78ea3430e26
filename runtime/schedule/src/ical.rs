//! iCalendar texts: the days and ranges that a calendar marks.
//!
//! Owns how far such a text is trusted: which recurrences it may have, how many occurrences, and which of its clocks is believed.
//! All-day and floating times are taken as they stand; a time with a zone is reckoned with this house's zone data, because two
//! tables of zones may disagree. Never reads a file.

use calcard::common::PartialDateTime;
use calcard::common::timezone::Tz;
use calcard::icalendar::dates::{CalendarEvent, TimeOrDelta};
use calcard::icalendar::{
    ICalendar, ICalendarComponent, ICalendarComponentType, ICalendarFrequency, ICalendarProperty, ICalendarStatus,
    ICalendarValue,
};
use calcard::{Entry, Parser};
use chrono::{DateTime, TimeDelta};

use sortie_contract::limit;

use crate::expression::Wall;
use crate::fields::DURATION_MAX;
use crate::zone::Zone;

/// Most occurrences of one calendar: a daily rule fills two and a half centuries.
const OCCURRENCES_MAX: usize = 100_000;

/// Why a text says nothing that can be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum IcalError {
    #[error("is no iCalendar: {0}; write a text that begins with BEGIN:VCALENDAR and ends with END:VCALENDAR")]
    Form(String),
    #[error(
        "has no event: a calendar that marks no day would leave nothing out; name another, or take it off the list"
    )]
    Empty,
    #[error(
        "has a recurrence by the hour, minute or second: events are left out by day or range; give the rule a FREQ of DAILY or more"
    )]
    Frequent,
    #[error("has an event that cannot be reckoned with: {0}")]
    Event(String),
    #[error(
        "has an event whose {property} is of the zone `{zone}`, which is not known: give it a name of the IANA list such as Europe/London"
    )]
    Zone { property: String, zone: String },
    #[error("has more than {OCCURRENCES_MAX} occurrences until the year 2100: give its rules an UNTIL")]
    Many,
}

/// Ranges by the clock of whoever asks, and ranges of instants.
pub(crate) type Busy = (Vec<(Wall, Wall)>, Vec<(i64, i64)>);

/// What a calendar marks. Events that are cancelled mark nothing.
pub(crate) fn busy(text: &str) -> Result<Busy, IcalError> {
    let mut busy = (vec![], vec![]);
    let mut events = 0;
    for mut calendar in calendars(text)? {
        prepare(&mut calendar)?;
        believe(&calendar)?;
        let expanded = calendar.expand_dates(Tz::Floating, OCCURRENCES_MAX);
        if let Some(error) = expanded.errors.first() {
            return Err(IcalError::Event(format!("{:?}", error.error)));
        }
        events += expanded.events.len();
        if events >= OCCURRENCES_MAX {
            return Err(IcalError::Many);
        }
        for event in &expanded.events {
            let component = calendar.components.get(event.comp_id as usize);
            mark(event, component.is_some_and(is_all_day), &mut busy)?;
        }
    }
    if events == 0 { Err(IcalError::Empty) } else { Ok(busy) }
}

fn calendars(text: &str) -> Result<Vec<ICalendar>, IcalError> {
    let mut parser = Parser::new(text);
    let mut calendars = vec![];
    loop {
        match parser.entry() {
            Entry::ICalendar(calendar) => calendars.push(calendar),
            Entry::Eof => break,
            Entry::VCard(_) => return Err(IcalError::Form("it is a vCard".to_owned())),
            Entry::InvalidLine(line) => {
                let line: String = line.trim().chars().take(60).collect();
                return Err(IcalError::Form(format!("`{line}` is no line of one")));
            }
            Entry::UnterminatedComponent(name) => return Err(IcalError::Form(format!("{name} does not end"))),
            _ => return Err(IcalError::Form("its components do not end in their order".to_owned())),
        }
    }
    // The reader underneath takes a text that was cut off for one that ended.
    let last = text.lines().map(str::trim).rfind(|line| !line.is_empty());
    if !last.is_some_and(|line| line.eq_ignore_ascii_case("END:VCALENDAR")) {
        return Err(IcalError::Form("it does not end".to_owned()));
    }
    if calendars.is_empty() { Err(IcalError::Form("there is nothing in it".to_owned())) } else { Ok(calendars) }
}

/// Leaves events alone, and gives each rule an end, so that it can be written out.
fn prepare(calendar: &mut ICalendar) -> Result<(), IcalError> {
    let cancelled = |component: &ICalendarComponent| matches!(component.status(), Some(ICalendarStatus::Cancelled));
    for component in &mut calendar.components {
        let timed = component.component_type != ICalendarComponentType::VCalendar;
        let zone = matches!(
            component.component_type,
            ICalendarComponentType::VTimezone | ICalendarComponentType::Standard | ICalendarComponentType::Daylight
        );
        if timed && !zone && (component.component_type != ICalendarComponentType::VEvent || cancelled(component)) {
            component.component_type = ICalendarComponentType::Other("X-LEFT-OUT".to_owned());
            continue;
        }
        if component.component_type == ICalendarComponentType::VEvent {
            component.entries.iter_mut().try_for_each(bound)?;
        }
    }
    Ok(())
}

fn bound(entry: &mut calcard::icalendar::ICalendarEntry) -> Result<(), IcalError> {
    for value in &mut entry.values {
        let ICalendarValue::RecurrenceRule(rule) = value else { continue };
        if matches!(rule.freq, ICalendarFrequency::Hourly | ICalendarFrequency::Minutely | ICalendarFrequency::Secondly)
            || !(rule.byhour.len() <= 1 && rule.byminute.len() <= 1 && rule.bysecond.len() <= 1)
        {
            return Err(IcalError::Frequent);
        }
        let last = PartialDateTime { year: Some(2100), month: Some(12), day: Some(31), ..PartialDateTime::default() };
        let beyond = rule.until.as_ref().is_some_and(|until| until.year.is_some_and(|year| year > 2100));
        if rule.until.is_none() || beyond {
            rule.until = Some(last);
        }
    }
    Ok(())
}

/// Refuses what the reader underneath lets fall, so that an event would mark another time or none: zones that it does not know, and
/// values that are none or absurd.
fn believe(calendar: &ICalendar) -> Result<(), IcalError> {
    let zones = calendar.build_tz_resolver();
    let events = calendar.components.iter().filter(|part| part.component_type == ICalendarComponentType::VEvent);
    for entry in events.flat_map(|event| &event.entries) {
        let property = entry.name.as_str().to_owned();
        if let Some(zone) = entry.tz_id().filter(|zone| zones.resolve(zone).is_none()) {
            return Err(IcalError::Zone { property, zone: limit::clip(zone, limit::QUOTE_BYTES_MAX) });
        }
        let wrong = match (&entry.name, entry.values.first()) {
            (ICalendarProperty::Duration, Some(ICalendarValue::Duration(length))) => {
                let most = i64::try_from(DURATION_MAX.as_secs()).unwrap_or(i64::MAX);
                (!(0..=most).contains(&length.as_seconds())).then_some("is not from nothing to ten years")
            }
            (ICalendarProperty::Duration, _) => Some("is no duration such as PT6H"),
            (ICalendarProperty::Dtend, Some(ICalendarValue::PartialDateTime(_))) => None,
            (ICalendarProperty::Dtend, _) => Some("is no time such as 20261224T180000"),
            _ => None,
        };
        if let Some(wrong) = wrong {
            return Err(IcalError::Event(format!("its {property} {wrong}")));
        }
    }
    Ok(())
}

/// Whether an event is of days: its beginning is a date without a time.
fn is_all_day(component: &ICalendarComponent) -> bool {
    let start = component.property(&ICalendarProperty::Dtstart).and_then(|entry| entry.values.first());
    start.and_then(ICalendarValue::as_partial_date_time).is_some_and(|start| !start.has_time())
}

/// The range of one occurrence.
fn mark(
    event: &CalendarEvent<DateTime<Tz>, TimeOrDelta<DateTime<Tz>, TimeDelta>>,
    all_day: bool,
    busy: &mut Busy,
) -> Result<(), IcalError> {
    let start = event.start.naive_local().and_utc().timestamp();
    let end = match &event.end {
        TimeOrDelta::Time(end) => end.naive_local().and_utc().timestamp(),
        TimeOrDelta::Delta(length) => start + length.num_seconds(),
    };
    if end < start {
        return Err(IcalError::Event("it ends before it begins".to_owned()));
    }
    if all_day {
        // Some write the same date for both ends and mean that day.
        busy.0.push((start, end.max(start + 86_400)));
        return Ok(());
    }
    match event.start.timezone() {
        Tz::Floating => busy.0.push((start, end)),
        Tz::Tz(named) => match Zone::named(named.name()) {
            Ok(zone) => busy.1.push((zone.instant(start), zone.instant(end))),
            Err(_) => busy.1.push(event.timestamps()),
        },
        Tz::Fixed(_) => busy.1.push(event.timestamps()),
    }
    Ok(())
}

/// For tests of other modules: a calendar of whole days.
#[cfg(test)]
pub(crate) fn of_days(days: &[&str]) -> String {
    let events: String = days
        .iter()
        .map(|day| format!("BEGIN:VEVENT\r\nUID:{day}\r\nDTSTART;VALUE=DATE:{day}\r\nSUMMARY:Closed\r\nEND:VEVENT\r\n"))
        .collect();
    format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//\r\n{events}END:VCALENDAR\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone;

    fn event(lines: &str) -> String {
        format!(
            "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//\r\nBEGIN:VEVENT\r\nUID:1\r\n{lines}END:VEVENT\r\nEND:VCALENDAR\r\n"
        )
    }

    fn shown(ranges: &[(i64, i64)]) -> Vec<String> {
        ranges.iter().map(|(from, to)| format!("{}/{}", zone::second(*from), zone::second(*to))).collect()
    }

    #[test]
    fn days_float_and_zoned_times_are_instants() {
        for (lines, local, fixed) in [
            ("DTSTART;VALUE=DATE:20261224\r\n", vec!["2026-12-24T00:00:00Z/2026-12-25T00:00:00Z"], vec![]),
            (
                "DTSTART;VALUE=DATE:20261224\r\nDTEND;VALUE=DATE:20261227\r\n",
                vec!["2026-12-24T00:00:00Z/2026-12-27T00:00:00Z"],
                vec![],
            ),
            (
                "DTSTART;VALUE=DATE:20261224\r\nDTEND;VALUE=DATE:20261224\r\n",
                vec!["2026-12-24T00:00:00Z/2026-12-25T00:00:00Z"],
                vec![],
            ),
            ("DTSTART:20261224T120000\r\nDURATION:PT6H\r\n", vec!["2026-12-24T12:00:00Z/2026-12-24T18:00:00Z"], vec![]),
            (
                "DTSTART:20261224T120000Z\r\nDURATION:PT6H\r\n",
                vec![],
                vec!["2026-12-24T12:00:00Z/2026-12-24T18:00:00Z"],
            ),
            (
                "DTSTART;TZID=America/Chicago:20261224T120000\r\nDTEND;TZID=America/Chicago:20261224T180000\r\n",
                vec![],
                vec!["2026-12-24T18:00:00Z/2026-12-25T00:00:00Z"],
            ),
        ] {
            let (floating, instants) = busy(&event(lines)).unwrap_or_else(|error| panic!("{lines}: {error}"));
            assert_eq!(
                (shown(&floating), shown(&instants)),
                (local.iter().map(ToString::to_string).collect(), fixed.iter().map(ToString::to_string).collect()),
                "{lines}"
            );
        }
    }

    #[test]
    fn rules_are_written_out_to_the_horizon_with_their_exceptions() {
        let yearly = "DTSTART;VALUE=DATE:20201225\r\nRRULE:FREQ=YEARLY\r\nEXDATE;VALUE=DATE:20221225\r\n";
        let (days, _) = busy(&event(yearly)).expect("a calendar");
        assert_eq!(days.len(), 80);
        let shown = shown(&days);
        assert!(shown[0].starts_with("2020-12-25") && shown[79].starts_with("2100-12-25"), "{shown:?}");
        assert!(!shown.iter().any(|day| day.starts_with("2022-12-25")));
        // The last Monday of May.
        let monday = "DTSTART;VALUE=DATE:20260525\r\nRRULE:FREQ=YEARLY;BYMONTH=5;BYDAY=-1MO;COUNT=3\r\n";
        let (days, _) = busy(&event(monday)).expect("a calendar");
        assert_eq!(
            self::shown(&days).iter().map(|day| &day[..10]).collect::<Vec<_>>(),
            ["2026-05-25", "2027-05-31", "2028-05-29"]
        );
    }

    #[test]
    fn what_is_none_is_told() {
        for (text, expected) in [
            (String::new(), "is no iCalendar"),
            ("nothing".to_owned(), "is no iCalendar"),
            ("BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\n".to_owned(), "is no iCalendar"),
            ("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nEND:VCALENDAR\r\n".to_owned(), "has no event"),
            (event("DTSTART;VALUE=DATE:20261224\r\nSTATUS:CANCELLED\r\n"), "has no event"),
            (event("SUMMARY:when?\r\n"), "cannot be reckoned with"),
            (event("DTSTART;VALUE=DATE:20261399\r\n"), "cannot be reckoned with"),
            (event("DTSTART:20261224T120000\r\nRRULE:FREQ=MINUTELY\r\n"), "by the hour, minute or second"),
            (
                event("DTSTART;TZID=Mars/Olympus:20261224T120000\r\nDURATION:PT6H\r\n"),
                "DTSTART is of the zone `Mars/Olympus`",
            ),
            (
                event("DTSTART:20261224T120000\r\nDTEND;TZID=Nowhere:20261224T180000\r\n"),
                "DTEND is of the zone `Nowhere`, which is not known",
            ),
            (event("DTSTART:20261224T120000\r\nDURATION:P99999W\r\n"), "its DURATION is not from nothing to ten years"),
            (event("DTSTART:20261224T120000\r\nDURATION:-PT6H\r\n"), "its DURATION is not from nothing to ten years"),
            (event("DTSTART:20261224T120000\r\nDURATION:long\r\n"), "its DURATION is"),
            (event("DTSTART:20261224T120000\r\nDTEND:tonight\r\n"), "its DTEND is no time"),
            (event("DTSTART:20261224T120000\r\nDTEND:20261224T110000\r\n"), "it ends before it begins"),
            (event("DTSTART;VALUE=DATE:00010101\r\nRRULE:FREQ=DAILY\r\n"), "more than 100000 occurrences"),
        ] {
            let told = busy(&text).expect_err(&text).to_string();
            assert!(told.contains(expected), "{text}: {told}");
        }
    }
}
