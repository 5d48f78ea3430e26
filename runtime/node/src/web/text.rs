//! How values look on a page: texts, times, money, sizes.
//!
//! Escaping is the template's. What is done here is that nothing in a text hides itself: whoever decides about a text sees all of it, in its
//! order.

use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};
use serde_json::Value;
use sortie_contract::hidden::is_hidden;
use sortie_schedule::Zone;

use super::Web;

/// What a browser does not show, or shows in another order, as an escape; on one line.
pub(super) fn plain(text: &str) -> String {
    shown(text, |c| !is_hidden(c))
}

/// The same of a text of several lines, as one: for a cell, where there is no room for more.
pub(super) fn line(text: &str) -> String {
    plain(&text.split(['\n', '\r', '\t']).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" "))
}

/// The same of a text of several lines.
pub(super) fn block(text: &str) -> String {
    shown(text, |c| matches!(c, '\n' | '\t') || !is_hidden(c))
}

fn shown(text: &str, is_seen: impl Fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_seen(c) { shown.push(c) } else { shown.extend(c.escape_unicode()) }
    }
    shown
}

/// A JSON value, indented.
pub(super) fn json(value: &Value) -> String {
    match value {
        Value::String(text) => block(text),
        other => block(&format!("{other:#}")),
    }
}

/// A text of a JSON value; empty where it is none.
pub(super) fn str<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// A short value in a cell.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => "–".to_owned(),
        Value::String(text) => plain(text),
        other => plain(&other.to_string()),
    }
}

pub(super) fn moment(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

pub(super) fn money(usd: &Value) -> String {
    usd.as_f64().map_or_else(|| "–".to_owned(), dollars)
}

/// Cents; less than a cent is shown as what it is.
pub(super) fn dollars(usd: f64) -> String {
    if usd != 0.0 && usd.abs() < 0.01 {
        format!("${usd:.6}").trim_end_matches('0').to_owned()
    } else {
        format!("${usd:.2}")
    }
}

pub(super) fn bytes(value: &Value) -> String {
    let bytes = value.as_f64().unwrap_or_default();
    match bytes {
        ..1_000.0 => format!("{bytes:.0} B"),
        ..1_000_000.0 => format!("{:.1} kB", bytes / 1e3),
        _ => format!("{:.1} MB", bytes / 1e6),
    }
}

/// The path of a page: each step escaped.
pub(super) fn path(steps: &[&str]) -> String {
    use crate::mcp::Ask;
    let base = url::Url::parse("http://localhost/").expect("a URL");
    let url = Ask::new(axum::http::Method::GET, steps.iter().copied()).url(&base);
    url[url::Position::BeforePath..].to_owned()
}

/// A path with parameters; empty ones are left out.
pub(super) fn with_query(path: &str, pairs: &[(&str, &str)]) -> String {
    let pairs = pairs.iter().filter(|(_, value)| !value.is_empty());
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

/// A length of time in words: its two greatest units.
pub(super) fn length(time: SignedDuration) -> String {
    let seconds = time.as_secs().unsigned_abs();
    let units = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let first = units.iter().position(|(size, _)| seconds >= *size).unwrap_or(units.len() - 1);
    let mut left = seconds;
    let mut words = Vec::new();
    for (size, name) in units.iter().skip(first).take(2) {
        if left / size > 0 || words.is_empty() {
            words.push(format!("{} {name}", left / size));
        }
        left %= size;
    }
    words.join(" ")
}

/// The clock of a page: now, in the node's zone.
#[derive(Clone)]
pub(super) struct Clock {
    pub(super) zone: Zone,
    pub(super) now: Timestamp,
}

impl Web {
    pub(super) fn clock(&self) -> Clock {
        Clock { zone: self.app.engine.zone().clone(), now: self.app.engine.ambient().wall() }
    }
}

impl Clock {
    /// Whether that is as good as for ever: a time that no clock of ours will show.
    pub(super) fn is_never(&self, at: Timestamp) -> bool {
        at.duration_since(self.now) > SignedDuration::from_hours(24 * 365 * 50)
    }

    /// A moment: the day where it is not today, the year where it is not this one, the time, and the zone.
    pub(super) fn local(&self, at: Timestamp) -> String {
        let (local, today) = (self.zone.local(at), self.zone.local(self.now));
        let form = if local.date() == today.date() {
            "%H:%M:%S"
        } else if local.year() == today.year() {
            "%a %d %b %H:%M:%S"
        } else {
            "%a %d %b %Y %H:%M:%S"
        };
        let zone = self.zone.rules().to_offset_info(at).abbreviation().to_owned();
        format!("{} {zone}", local.strftime(form))
    }

    /// Hours and minutes.
    pub(super) fn short(&self, at: Timestamp) -> String {
        self.zone.local(at).strftime("%H:%M").to_string()
    }

    /// How long ago, or in how long.
    pub(super) fn distance(&self, at: Timestamp) -> String {
        let away = at.duration_since(self.now);
        if away.is_positive() { format!("in {}", length(away)) } else { format!("{} ago", length(away)) }
    }

    /// A moment of a JSON value, with how far away it is.
    pub(super) fn time(&self, value: &Value) -> Markup {
        match moment(value) {
            Some(at) => {
                html! { time datetime=(at) title=(self.local(at)) { (self.local(at)) " (" (self.distance(at)) ")" } }
            }
            None => html! { "–" },
        }
    }

    /// The same, in a table.
    pub(super) fn brief(&self, value: &Value) -> Markup {
        match moment(value) {
            Some(at) => html! { time datetime=(at) title=(self.local(at)) { (self.distance(at)) } },
            None => html! { "–" },
        }
    }
}

/// How a mission stands, in a word with a mark: not by colour alone.
pub(super) fn badge(status: &str) -> Markup {
    let mark = match status {
        "completed" | "done" | "delivered" | "connected" => "✓",
        "failed" | "timed_out" | "parked" => "✗",
        "cancelled" | "incomplete" => "–",
        "blocked" | "waiting" => "?",
        "running" => "▶",
        "carried_over" => "↷",
        _ => "…",
    };
    let known = status.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    html! {
        span class=(if known { format!("badge s-{status}") } else { "badge".to_owned() }) {
            span aria-hidden="true" { (mark) } " " (plain(&status.replace('_', " ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_in_a_text_hides_itself() {
        for (text, expected) in [
            ("plain Grüße 世界", "plain Grüße 世界"),
            ("rm\u{202e}fr", "rm\\u{202e}fr"),
            ("a\u{200b}b\nc", "a\\u{200b}b\\u{a}c"),
        ] {
            assert_eq!(plain(text), expected);
        }
        assert_eq!(block("a\n\tb\u{1b}[2K"), "a\n\tb\\u{1b}[2K");
        assert_eq!(line("a\r\n\n\tb\u{202e}c\n"), "a b\\u{202e}c");
    }

    #[test]
    fn values_look_as_people_write_them() {
        for (seconds, expected) in
            [(0, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (3_600, "1 h"), (90_000, "1 d 1 h"), (-7_260, "2 h 1 min")]
        {
            assert_eq!(length(SignedDuration::from_secs(seconds)), expected);
        }
        for (usd, expected) in [(0.0, "$0.00"), (1.5, "$1.50"), (0.0031, "$0.0031"), (-2.0, "$-2.00")] {
            assert_eq!(dollars(usd), expected);
        }
        assert_eq!(bytes(&json!(12)), "12 B");
        assert_eq!(bytes(&json!(1_200_000)), "1.2 MB");
        assert_eq!(path(&["missions", "a/b?c"]), "/missions/a%2Fb%3Fc");
        assert_eq!(with_query("/missions", &[("q", "a&b"), ("vp_id", "")]), "/missions?q=a%26b");
    }
}
