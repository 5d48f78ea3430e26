//! What the envelope's `inputs` say.

use jiff::civil::Date;
use jiff::{Span, ToSpan as _};
use serde::Deserialize;
use sortie_plugin::{Brief, Mistake, Value, json};

use crate::date;

/// Longest time after which a page is stale, in days: a century, which is never.
const DAYS_MAX: i64 = 36_500;

/// What there is to do.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Inputs {
    /// Which files are pages.
    #[serde(default)]
    pages: Pages,
    /// After how long without a look a page is stale.
    #[serde(default = "half_a_year")]
    stale_after: String,
    /// The day that ages are counted from; without it, the day on which the mission runs, in UTC.
    today: Option<String>,
    /// Whether links are looked at.
    #[serde(default = "yes")]
    pub(crate) check_links: bool,
    /// Whether edits are proposed.
    #[serde(default = "yes")]
    pub(crate) propose: bool,
    /// Which model is asked for edits; without it the default one, where there is one.
    pub(crate) model: Option<String>,
    /// Whether people are asked, and the edits that they want are made.
    #[serde(default)]
    pub(crate) ask: Ask,
}

/// One pattern or several.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Pages {
    One(String),
    Several(Vec<String>),
}

impl Default for Pages {
    fn default() -> Self {
        Self::One("docs/**/*.md".to_owned())
    }
}

/// When people are asked.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ask {
    /// Never: edits are proposed and none is made.
    #[default]
    Never,
    /// Once for each page.
    Page,
    /// Once for all of them.
    All,
}

fn half_a_year() -> String {
    "180d".to_owned()
}

fn yes() -> bool {
    true
}

impl Inputs {
    /// Reads them, or says what is wrong.
    pub(crate) fn read(brief: &Brief) -> Result<Self, Vec<Mistake>> {
        let inputs: Self = brief.inputs().map_err(|mistake| vec![mistake])?;
        let mut mistakes = Vec::new();
        if let Err(why) = span(&inputs.stale_after) {
            mistakes.push(Mistake::new("/inputs/stale_after", "not_a_time", why));
        }
        if let Some(today) = inputs.today.as_deref().filter(|today| date::parse(today).is_none()) {
            let why = format!("`{today}` is no date; write it as 2026-11-26");
            mistakes.push(Mistake::new("/inputs/today", "not_a_date", why));
        }
        if inputs.patterns().is_empty() {
            mistakes.push(Mistake::new("/inputs/pages", "empty", "name a pattern, such as docs/**/*.md"));
        }
        if mistakes.is_empty() { Ok(inputs) } else { Err(mistakes) }
    }

    /// Which files are pages.
    pub(crate) fn patterns(&self) -> &[String] {
        match &self.pages {
            Pages::One(pattern) => std::slice::from_ref(pattern),
            Pages::Several(patterns) => patterns,
        }
    }

    /// The last day on which a page can have been looked at and be stale, counted from `now`.
    pub(crate) fn stale_before(&self, now: Date) -> (Date, Date) {
        let today = self.today.as_deref().and_then(date::parse).unwrap_or(now);
        // Both were read when the mission was accepted.
        let span = span(&self.stale_after).unwrap_or_else(|_| 180.days());
        (today, today.checked_sub(span).unwrap_or(Date::MIN))
    }
}

/// A time such as `180d`, `26w`, `6m` or `1y`.
fn span(text: &str) -> Result<Span, String> {
    let wrong = || format!("`{text}` is no time; write days, weeks, months or years as 180d, 26w, 6m, 1y");
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let days = match unit {
        'd' => 1,
        'w' => 7,
        'm' => 30,
        'y' => 365,
        _ => return Err(wrong()),
    };
    let number = &text[..text.len() - 1];
    let count = number.parse::<u32>().map(i64::from).map_err(|_| wrong())?;
    if count * days > DAYS_MAX {
        return Err(format!("`{text}` is more than a century"));
    }
    Ok(match unit {
        'd' => count.days(),
        'w' => count.weeks(),
        'm' => count.months(),
        _ => count.years(),
    })
}

/// The JSON Schema of the inputs.
pub(crate) fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "pages": {
                "description": "which files are pages: a pattern of Glob, or several; by default docs/**/*.md",
                "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }],
            },
            "stale_after": { "type": "string", "description": "180d, 26w, 6m, 1y; by default 180d" },
            "today": { "type": "string", "description": "2026-11-26; by default the day on which the mission runs, in UTC" },
            "check_links": { "type": "boolean", "description": "by default true" },
            "propose": { "type": "boolean", "description": "whether edits are proposed; by default true" },
            "model": { "type": "string", "format": "sortie-model", "description": "which model is asked for edits; by default the node's default one, where there is one" },
            "ask": { "enum": ["never", "page", "all"], "description": "whether people are asked, and the edits that they want are made; by default never" },
        },
        "additionalProperties": false,
    })
}

#[cfg(test)]
mod tests {
    use sortie_plugin::testing::Node;

    use super::*;

    #[test]
    fn what_is_wrong_is_found_with_its_place() {
        for (inputs, pointers) in [
            (json!({}), &[][..]),
            (json!({ "pages": ["a/*.md", "b/*.md"], "stale_after": "1y", "today": "2026-11-26", "ask": "page" }), &[]),
            (json!({ "stale_after": "soon", "today": "tomorrow" }), &["/inputs/stale_after", "/inputs/today"]),
            (json!({ "stale_after": "" }), &["/inputs/stale_after"]),
            (json!({ "stale_after": "101y" }), &["/inputs/stale_after"]),
            (json!({ "pages": [] }), &["/inputs/pages"]),
            (json!({ "ask": "always" }), &["/inputs"]),
            (json!({ "pags": "x" }), &["/inputs"]),
        ] {
            let found = Inputs::read(&Node::brief("keep", &inputs)).err().unwrap_or_default();
            let found: Vec<&str> = found.iter().map(|mistake| mistake.pointer.as_str()).collect();
            assert_eq!(found, pointers, "{inputs}");
        }
    }

    #[test]
    fn a_time_is_counted_as_a_calendar_does() {
        for (after, expected) in
            [("10d", "2026-03-21"), ("2w", "2026-03-17"), ("1m", "2026-02-28"), ("1y", "2025-03-31")]
        {
            let brief = Node::brief("keep", &json!({ "stale_after": after, "today": "2026-03-31" }));
            let inputs = Inputs::read(&brief).expect("they are right");
            assert_eq!(inputs.stale_before(Date::MIN).1.to_string(), expected, "{after}");
        }
    }
}
