//! The language in which lists of missions are narrowed: `status:failed lane:coder since:yesterday cost:>1 text:"wiki"`.
//!
//! A search is terms with spaces between them, of which a mission must fit each. A term is a key, a colon and a value, or a text that the
//! mission mentions; a minus sign before it turns it round. What has spaces or colons of its own goes into quotation marks. The interface, the
//! command line and the dashboard take the same words, because they are read here and nowhere else.

use std::cmp::Ordering;

use jiff::civil::Date;
use serde::Serialize;
use sortie_contract::duration::duration;
use sortie_contract::envelope::MissionType;
use sortie_contract::nearly::is_nearly;
use sortie_contract::outcome::Reason;
use sortie_contract::overview::Overview;
use sortie_contract::time::rfc3339;
use sortie_contract::{MicroUsd, MissionId, Status, Timestamp};
use sortie_journal::Head;
use sortie_schedule::{Zone, night, night_of};

use super::shown::{DeliveryState, MissionLine, WaitKind, name};

/// Longest search, in bytes: more than anybody writes by hand.
pub const SEARCH_BYTES_MAX: usize = 1_000;

/// Most terms of a search.
const TERMS_MAX: usize = 32;

/// What each key asks for, for people.
pub const KEYS: [(&str, &str); 17] = [
    ("status", "how it stands: queued, running, blocked, completed, failed, cancelled, timed_out; or `open`, `over`"),
    ("reason", "why it ended, such as tool_failed"),
    ("type", "coding, research, automation or custom"),
    ("lane", "its lane"),
    ("vp", "who it is done as"),
    ("session", "its session"),
    ("trace", "its trace"),
    ("source", "who dispatched it"),
    ("plugin", "the plugin that it runs on"),
    ("id", "its name"),
    ("parent", "the mission that dispatched it"),
    ("waits", "what it waits for: people, window, hours, lane, provider, budget, …"),
    ("delivery", "how its deliveries stand: delivered, pending, parked, incomplete"),
    ("since", "accepted from then on: today, yesterday, tonight, 2h, 3d, 2026-11-26, or an RFC 3339 time"),
    ("until", "accepted before then, in the same words"),
    ("cost", "US dollars that it has spent: 1, >1, >=0.5, <2"),
    ("ran", "how long it has been running: >10m, <1h"),
];

/// What a list is narrowed to. Empty takes everything.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Any of these statuses.
    pub statuses: Vec<Status>,
    /// This type.
    pub mission_type: Option<String>,
    /// This VP.
    pub vp_id: Option<String>,
    /// This session.
    pub vp_session_id: Option<String>,
    /// Dispatched by this mission.
    pub parent: Option<String>,
    /// This trace.
    pub trace_id: Option<String>,
    /// Accepted after this moment.
    pub created_after: Option<Timestamp>,
    /// This lane.
    pub vp_runtime_id: Option<String>,
    /// All that a search asks for.
    pub search: Search,
}

impl Filter {
    pub(crate) fn takes(&self, head: &Head) -> bool {
        let is = |wanted: &Option<String>, actual: &str| wanted.as_deref().is_none_or(|wanted| wanted == actual);
        (self.statuses.is_empty() || self.statuses.contains(&head.status))
            && is(&self.mission_type, head.mission_type.as_str())
            && is(&self.vp_id, head.vp.as_str())
            && is(&self.vp_session_id, head.session.as_str())
            && is(&self.vp_runtime_id, head.lane.as_str())
            && is(&self.trace_id, head.trace_id.as_str())
            && self.parent.as_deref().is_none_or(|wanted| parent_of(head).is_some_and(|of| of.as_str() == wanted))
            && self.created_after.is_none_or(|after| head.accepted_at > after)
            && self.search.takes_head(head)
    }

    /// The statuses of what it takes, where it names them; none are all.
    pub(crate) fn statuses(&self) -> &[Status] {
        if self.statuses.is_empty() { self.search.statuses() } else { &self.statuses }
    }
}

/// What a search asks for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Search(Vec<Term>);

#[derive(Debug, Clone, PartialEq)]
struct Term {
    /// Missions that do *not* fit are wanted.
    turned: bool,
    asks: Asks,
}

#[derive(Debug, Clone, PartialEq)]
enum Asks {
    Status(Vec<Status>),
    Type(Vec<MissionType>),
    Named(Name, Vec<Pattern>),
    Reason(Vec<Reason>),
    Plugin(Vec<Pattern>),
    Since(Timestamp),
    Until(Timestamp),
    Cost(Bound<MicroUsd>),
    RanMs(Bound<u64>),
    /// In small letters.
    Text(String),
    Waits(Vec<WaitKind>),
    Delivery(Vec<DeliveryState>),
}

/// Names that a mission has of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    Id,
    Lane,
    Vp,
    Session,
    Trace,
    Source,
    Parent,
}

/// A name, or a part of one: `coder` is `runtime.coder.external`, too, and `*` is anything.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern(String);

/// What a number is held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bound<T> {
    takes: &'static [Ordering],
    of: T,
}

/// Why a search cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{term}`: {says}")]
pub struct Misread {
    /// The term.
    term: String,
    /// What is wrong, and what to write.
    says: String,
}

impl Search {
    /// Reads a search. `zone` and `now` say what is meant by days and ages.
    ///
    /// # Errors
    /// [`Misread`]: a key or a value that there is not.
    pub fn read(text: &str, zone: &Zone, now: Timestamp) -> Result<Self, Misread> {
        let misread = |term: &str, says: String| Misread { term: term.to_owned(), says };
        if text.len() > SEARCH_BYTES_MAX {
            return Err(misread("…", format!("a search has at most {SEARCH_BYTES_MAX} bytes")));
        }
        let words = words(text).map_err(|word| misread(&word, "a quotation mark is not closed".to_owned()))?;
        if words.len() > TERMS_MAX {
            return Err(misread("…", format!("a search has at most {TERMS_MAX} terms")));
        }
        let term = |word: &Word| word.term(zone, now).map_err(|says| misread(&word.source, says));
        words.iter().map(term).collect::<Result<_, _>>().map(Self)
    }

    /// The statuses that it asks for; none are all.
    pub(crate) fn statuses(&self) -> &[Status] {
        let asked = self.0.iter().find_map(|term| match &term.asks {
            Asks::Status(statuses) if !term.turned => Some(statuses.as_slice()),
            _ => None,
        });
        asked.unwrap_or_default()
    }

    /// Whether a mission may be listed, by its head alone.
    pub(crate) fn takes_head(&self, head: &Head) -> bool {
        self.0.iter().all(|term| term.asks.of_head(head).is_none_or(|fits| fits != term.turned))
    }

    /// The same by what lists show of it, and by how long it has been running by now.
    pub(crate) fn takes_overview(&self, head: &Head, overview: &Overview, ran_ms: u64) -> bool {
        self.0.iter().all(|term| term.asks.of_overview(head, overview, ran_ms).is_none_or(|fits| fits != term.turned))
    }

    /// The same by its line.
    pub(crate) fn takes_line(&self, line: &MissionLine) -> bool {
        self.0.iter().all(|term| term.asks.of_line(line).is_none_or(|fits| fits != term.turned))
    }
}

impl Asks {
    /// The answer, where the head has it.
    fn of_head(&self, head: &Head) -> Option<bool> {
        Some(match self {
            Self::Status(statuses) => statuses.contains(&head.status),
            Self::Type(types) => types.contains(&head.mission_type),
            Self::Named(name, patterns) => {
                let actual = match name {
                    Name::Id => head.mission_id.as_str(),
                    Name::Lane => head.lane.as_str(),
                    Name::Vp => head.vp.as_str(),
                    Name::Session => head.session.as_str(),
                    Name::Trace => head.trace_id.as_str(),
                    Name::Source => head.source.as_str(),
                    // Its children are none of its parts.
                    Name::Parent => {
                        let parent = parent_of(head);
                        let is = |pattern: &Pattern, of: &MissionId| {
                            pattern.0 == of.as_str() || is_like(&pattern.0, of.as_str())
                        };
                        return Some(parent.is_some_and(|of| patterns.iter().any(|pattern| is(pattern, &of))));
                    }
                };
                patterns.iter().any(|pattern| pattern.fits(actual))
            }
            Self::Since(at) => head.accepted_at >= *at,
            Self::Until(at) => head.accepted_at < *at,
            Self::Reason(_) | Self::Plugin(_) | Self::Cost(_) | Self::RanMs(_) | Self::Text(_) => return None,
            Self::Waits(_) | Self::Delivery(_) => return None,
        })
    }

    /// The answer, where the overview has it.
    fn of_overview(&self, head: &Head, overview: &Overview, ran_ms: u64) -> Option<bool> {
        Some(match self {
            Self::Reason(reasons) => overview.reason.is_some_and(|reason| reasons.contains(&reason)),
            Self::Plugin(patterns) => patterns.iter().any(|pattern| pattern.fits(&overview.plugin.name)),
            Self::Cost(bound) => bound.takes(&overview.spent.cost),
            Self::RanMs(bound) => bound.takes(&ran_ms),
            Self::Text(text) => {
                let texts = [head.mission_id.as_str(), &overview.objective, &overview.summary];
                texts.iter().any(|shown| shown.to_lowercase().contains(text))
            }
            Self::Status(_) | Self::Type(_) | Self::Named(..) | Self::Since(_) | Self::Until(_) => return None,
            Self::Waits(_) | Self::Delivery(_) => return None,
        })
    }

    /// The answer, where the line alone has it.
    fn of_line(&self, line: &MissionLine) -> Option<bool> {
        match self {
            Self::Waits(kinds) => Some(line.waits_for.as_ref().is_some_and(|wait| kinds.contains(&wait.what))),
            Self::Delivery(states) => Some(line.delivery.is_some_and(|state| states.contains(&state))),
            _ => None,
        }
    }
}

/// The mission that dispatched one, as its names say.
pub(crate) fn parent_of(head: &Head) -> Option<MissionId> {
    head.idempotency_key.dispatched_by(&head.mission_id).map(|(parent, _)| parent)
}

impl Pattern {
    fn fits(&self, actual: &str) -> bool {
        actual == self.0 || actual.split(['.', ':', '/']).any(|part| part == self.0) || is_like(&self.0, actual)
    }
}

/// Whether a name is like a pattern with `*` in it.
fn is_like(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return false };
    let Some(mut name) = name.strip_prefix(first) else { return false };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return name.ends_with(part);
        }
        match name.find(part) {
            Some(at) => name = &name[at + part.len()..],
            None => return false,
        }
    }
    true
}

impl<T: Ord> Bound<T> {
    fn takes(&self, actual: &T) -> bool {
        self.takes.contains(&actual.cmp(&self.of))
    }
}

/// A term as it is written.
struct Word {
    /// All of it.
    source: String,
    turned: bool,
    /// What stands before its first colon outside of quotation marks.
    key: Option<String>,
    value: String,
}

/// The terms of a text; the one whose quotation mark is not closed.
fn words(text: &str) -> Result<Vec<Word>, String> {
    let mut words = Vec::new();
    let mut rest = text.chars().peekable();
    loop {
        while rest.next_if(|c| c.is_whitespace()).is_some() {}
        if rest.peek().is_none() {
            return Ok(words);
        }
        let mut word = Word { source: String::new(), turned: false, key: None, value: String::new() };
        let (mut quoted, mut was_quoted) = (false, false);
        while let Some(c) = rest.next_if(|c| quoted || !c.is_whitespace()) {
            word.source.push(c);
            match c {
                '"' => (quoted, was_quoted) = (!quoted, true),
                '\\' if quoted => {
                    if let Some(c) = rest.next() {
                        word.source.push(c);
                        word.value.push(c);
                    }
                }
                '-' if word.source.len() == 1 => word.turned = true,
                ':' if !was_quoted && word.key.is_none() => word.key = Some(std::mem::take(&mut word.value)),
                c => word.value.push(c),
            }
        }
        if quoted {
            return Err(word.source);
        }
        words.push(word);
    }
}

impl Word {
    fn term(&self, zone: &Zone, now: Timestamp) -> Result<Term, String> {
        let Some(key) = &self.key else {
            if self.value.is_empty() {
                return Err("there is nothing behind it".to_owned());
            }
            return Ok(Term { turned: self.turned, asks: Asks::Text(self.value.to_lowercase()) });
        };
        if self.value.is_empty() {
            return Err("a value is missing behind the colon".to_owned());
        }
        let asks = asks(&key.to_ascii_lowercase(), &self.value, zone, now)?;
        Ok(Term { turned: self.turned, asks })
    }
}

fn asks(key: &str, value: &str, zone: &Zone, now: Timestamp) -> Result<Asks, String> {
    let named = |name| Ok(Asks::Named(name, patterns(value)));
    match key {
        "status" => statuses(value).map(Asks::Status),
        "type" => any_of(value, &MissionType::ALL).map(Asks::Type),
        "waits" => any_of(value, &WaitKind::ALL).map(Asks::Waits),
        "delivery" => any_of(value, &DeliveryState::ALL).map(Asks::Delivery),
        "reason" => any_of(value, &Reason::ALL).map(Asks::Reason),
        "plugin" => Ok(Asks::Plugin(patterns(value))),
        "id" => named(Name::Id),
        "lane" => named(Name::Lane),
        "vp" => named(Name::Vp),
        "session" => named(Name::Session),
        "trace" => named(Name::Trace),
        "source" => named(Name::Source),
        "parent" => named(Name::Parent),
        "since" => moment(value, zone, now).map(Asks::Since),
        "until" => moment(value, zone, now).map(Asks::Until),
        "cost" => bound(value, |text| {
            let dollars: f64 = text.parse().ok().filter(|usd: &f64| usd.is_finite() && *usd >= 0.0)?;
            MicroUsd::from_usd(dollars)
        })
        .map(Asks::Cost)
        .ok_or_else(|| "must be US dollars, such as `1`, `>1`, `>=0.50` or `<2`".to_owned()),
        "ran" => bound(value, |text| duration(text).ok().and_then(|ran| u64::try_from(ran.as_millis()).ok()))
            .map(Asks::RanMs)
            .ok_or_else(|| "must be a duration, such as `>10m` or `<1h`".to_owned()),
        "text" => Ok(Asks::Text(value.to_lowercase())),
        unknown => Err(unknown_key(unknown)),
    }
}

/// What to say of a key that there is not.
fn unknown_key(unknown: &str) -> String {
    let keys: Vec<&str> = KEYS.iter().map(|(key, _)| *key).chain(["text"]).collect();
    let meant = keys.iter().find(|key| is_nearly(unknown, key));
    let meant = meant.map(|key| format!(" (did you mean `{key}:`?)")).unwrap_or_default();
    let keys = keys.join(", ");
    format!("there is no key `{unknown}`{meant}; there are {keys}. Put a text that has a colon into quotation marks")
}

fn patterns(value: &str) -> Vec<Pattern> {
    value.split(',').filter(|part| !part.is_empty()).map(|part| Pattern(part.to_owned())).collect()
}

fn statuses(value: &str) -> Result<Vec<Status>, String> {
    match value {
        "open" => Ok(Status::ALL.into_iter().filter(|status| !status.is_final()).collect()),
        "over" => Ok(Status::ALL.into_iter().filter(|status| status.is_final()).collect()),
        value => any_of(value, &Status::ALL).map_err(|says| format!("{says}, open, over")),
    }
}

/// Those of the cases that are named, with commas between them.
fn any_of<T: Copy + Serialize>(value: &str, all: &[T]) -> Result<Vec<T>, String> {
    let find = |part: &str| {
        let wanted = part.to_ascii_lowercase().replace('-', "_");
        let found = all.iter().find(|case| name(**case) == wanted).copied();
        found.ok_or_else(|| {
            let names: Vec<String> = all.iter().map(|case| name(*case)).collect();
            format!("`{part}` must be one of {}", names.join(", "))
        })
    };
    value.split(',').map(find).collect()
}

fn bound<T>(value: &str, read: impl Fn(&str) -> Option<T>) -> Option<Bound<T>> {
    use Ordering::{Equal, Greater, Less};
    let operators: [(&str, &[Ordering]); 5] =
        [(">=", &[Greater, Equal]), ("<=", &[Less, Equal]), (">", &[Greater]), ("<", &[Less]), ("=", &[Equal])];
    let found = operators.into_iter().find_map(|(sign, takes)| Some((value.strip_prefix(sign)?, takes)));
    let (rest, takes) = found.unwrap_or((value, &[Equal]));
    Some(Bound { takes, of: read(rest.trim())? })
}

/// A day by the clock of the zone, an age, or a time.
fn moment(value: &str, zone: &Zone, now: Timestamp) -> Result<Timestamp, String> {
    let today = zone.local(now).date();
    let date = match value {
        "today" => Some(today),
        "yesterday" => today.yesterday().ok(),
        "tonight" => return Ok(night(night_of(now, zone), zone).0),
        other if other.len() == "2026-11-26".len() => other.parse::<Date>().ok(),
        _ => None,
    };
    if let Some(date) = date {
        return Ok(zone.midnight(date));
    }
    if let Ok(at) = rfc3339(value) {
        return Ok(at);
    }
    let age = duration(value).ok().and_then(|age| now.checked_sub(age).ok());
    age.ok_or_else(|| {
        "must be today, yesterday, tonight, an age such as `2h` or `3d`, a day such as `2026-11-26`, or an RFC 3339 time".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-26T03:00:00Z".parse().expect("a time")
    }

    fn read(text: &str) -> Result<Vec<Term>, String> {
        let chicago = Zone::named("America/Chicago").expect("a zone");
        Search::read(text, &chicago, now()).map(|search| search.0).map_err(|error| error.to_string())
    }

    fn term(asks: Asks) -> Term {
        Term { turned: false, asks }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn terms_are_read_as_they_are_written() {
        let text = |text: &str| term(Asks::Text(text.to_owned()));
        let named = |name, pattern: &str| term(Asks::Named(name, vec![Pattern(pattern.to_owned())]));
        for (written, expected) in [
            ("", vec![]),
            ("  Wiki\tpages ", vec![text("wiki"), text("pages")]),
            (r#""two words" text:"A \"b\"""#, vec![text("two words"), text("a \"b\"")]),
            (r#""http://a/b""#, vec![text("http://a/b")]),
            ("status:failed,timed_out", vec![term(Asks::Status(vec![Status::Failed, Status::TimedOut]))]),
            ("STATUS:open", vec![term(Asks::Status(vec![Status::Queued, Status::Running, Status::Blocked]))]),
            (
                "-type:coding lane:coder",
                vec![Term { turned: true, asks: Asks::Type(vec![MissionType::Coding]) }, named(Name::Lane, "coder")],
            ),
            ("id:a:b", vec![named(Name::Id, "a:b")]),
            ("reason:tool-failed", vec![term(Asks::Reason(vec![Reason::ToolFailed]))]),
            (
                "waits:people delivery:parked",
                vec![term(Asks::Waits(vec![WaitKind::People])), term(Asks::Delivery(vec![DeliveryState::Parked]))],
            ),
            // It is the 25th yet in Chicago, 21:00, and the night of the 26th.
            ("since:today", vec![term(Asks::Since(at("2026-11-25T06:00:00Z")))]),
            ("since:yesterday", vec![term(Asks::Since(at("2026-11-24T06:00:00Z")))]),
            ("since:tonight", vec![term(Asks::Since(at("2026-11-26T00:00:00Z")))]),
            ("until:2026-11-01", vec![term(Asks::Until(at("2026-11-01T05:00:00Z")))]),
            ("since:2h", vec![term(Asks::Since(at("2026-11-26T01:00:00Z")))]),
            ("since:2026-11-26T01:00:00+01:00", vec![term(Asks::Since(at("2026-11-26T00:00:00Z")))]),
        ] {
            assert_eq!(read(written), Ok(expected), "{written}");
        }
    }

    #[test]
    fn what_cannot_be_understood_is_told_with_what_would_be() {
        for (written, expected) in [
            ("statsu:failed", "did you mean `status:`?"),
            ("http://a", "quotation marks"),
            ("status:gone", "must be one of queued, running"),
            ("status:", "a value is missing"),
            ("\"open", "not closed"),
            ("-", "nothing behind it"),
            ("since:soon", "2026-11-26"),
            ("cost:much", "US dollars"),
            ("cost:>-1", "US dollars"),
            ("cost:>1e400", "US dollars"),
            ("ran:>1y", "duration"),
            ("waits:godot", "must be one of window"),
        ] {
            let said = read(written).expect_err(written);
            assert!(said.contains(expected), "{written}: {said}");
        }
        assert!(read(&"a ".repeat(33)).is_err() && read(&"a".repeat(1_001)).is_err());
        assert!(read(&"a ".repeat(32)).is_ok());
    }

    #[test]
    fn numbers_are_held_against_their_bound() {
        for (written, fits) in [
            ("cost:1", [false, true, false]),
            ("cost:=1.00", [false, true, false]),
            ("cost:>1", [false, false, true]),
            ("cost:>=1", [false, true, true]),
            ("cost:<1", [true, false, false]),
            ("cost:<=1", [true, true, false]),
        ] {
            let terms = read(written).expect(written);
            let Asks::Cost(bound) = &terms[0].asks else { panic!("{terms:?}") };
            assert_eq!([999_999, 1_000_000, 1_000_001].map(|micro| bound.takes(&MicroUsd(micro))), fits, "{written}");
        }
    }

    #[test]
    fn a_name_is_meant_by_itself_by_a_part_or_by_a_pattern() {
        for (pattern, name, expected) in [
            ("coder", "runtime.coder.external", true),
            ("runtime.coder.external", "runtime.coder.external", true),
            ("code", "runtime.coder.external", false),
            ("runtime.*", "runtime.coder.external", true),
            ("*.external", "runtime.coder.external", true),
            ("r*coder*l", "runtime.coder.external", true),
            ("r*x*l", "runtime.coder", false),
            ("*", "", true),
            ("a*a", "a", false),
            ("", "", true),
        ] {
            assert_eq!(Pattern(pattern.to_owned()).fits(name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn every_case_is_among_those_that_can_be_asked_for() {
        assert_eq!(Reason::ALL.len(), Reason::NodeFailed as usize + 1);
        assert_eq!(WaitKind::ALL.len(), WaitKind::WorkspaceDamaged as usize + 1);
        assert_eq!(DeliveryState::ALL.len(), DeliveryState::Incomplete as usize + 1);
        // And every key does something.
        for (key, _) in KEYS {
            assert!(!read(&format!("{key}:?")).is_err_and(|said| said.contains("there is no key")), "{key}");
        }
    }
}
