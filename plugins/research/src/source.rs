//! Sources: what was fetched in this mission, and what was not.
//!
//! A source is a page that answered with a text. Its SHA-256 is that of the text that quotations are held against: what `WebFetch` gave
//! (the readable part of a page in HTML as Markdown, any other text as it is), in UTF-8. The text is an artifact of the mission, and the
//! digest is the node's own of that artifact: whoever doubts a quotation can look it up, also when the page has changed.

use std::collections::BTreeSet;

use jiff::Timestamp;
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use serde_json::{Value, json};
use sortie_agent::middle_cut;

use crate::address::{Address, Origin};
use crate::quote::Text;

/// Most links of a page that are remembered: what a page lists beyond is a directory.
const LINKS_MAX: usize = 60;

/// Longest title and label, in characters.
const TITLE_MAX: usize = 120;

/// Longest reason, in bytes: a sentence of the node's, with the place in its configuration.
const REASON_BYTES_MAX: usize = 400;

/// A page that answered.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// What it was asked for at, and where the text came from.
    pub(crate) asked: Address,
    pub(crate) url: Address,
    pub(crate) origin: Origin,
    pub(crate) fetched_at: Timestamp,
    pub(crate) content_type: String,
    pub(crate) title: String,
    /// As it was fetched.
    pub(crate) fetched: String,
    pub(crate) truncated: bool,
    /// It is Markdown, and may have links; any other text is taken as it is.
    pub(crate) is_markdown: bool,
    pub(crate) links: Vec<Link>,
    /// A model read it, and there is a note of it.
    pub(crate) is_noted: bool,
    /// The artifact that holds the text, and its digest.
    pub(crate) artifact: String,
    pub(crate) sha256: String,
    text: Text,
}

/// A link of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) label: String,
    pub(crate) address: Address,
}

/// An address that gave nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unreached {
    pub(crate) url: String,
    pub(crate) origin: Origin,
    pub(crate) why: String,
}

/// Everything that the mission fetched or could not. Sources have numbers from 1 on, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    pub(crate) fetched: Vec<Source>,
    pub(crate) unreached: Vec<Unreached>,
}

impl Sources {
    /// The source of a number.
    pub(crate) fn get(&self, number: usize) -> Option<&Source> {
        self.fetched.get(number.checked_sub(1)?)
    }

    /// The number of the source at an address.
    pub(crate) fn at(&self, address: &str) -> Option<usize> {
        let address = Address::parse(address).ok()?;
        self.fetched.iter().position(|source| source.asked == address || source.url == address).map(|index| index + 1)
    }

    /// Each source with its number.
    pub(crate) fn numbered(&self) -> impl Iterator<Item = (usize, &Source)> {
        self.fetched.iter().enumerate().map(|(index, source)| (index + 1, source))
    }
}

impl Source {
    /// What `WebFetch` answered, as a source that has no artifact yet.
    ///
    /// # Errors
    /// Why it is none.
    pub(crate) fn read(asked: Address, origin: Origin, fetched_at: Timestamp, page: &Value) -> Result<Self, String> {
        let status = page["status"].as_u64().unwrap_or_default();
        if !(200..300).contains(&status) {
            return Err(format!("it answered with status {status}"));
        }
        let markdown = page["markdown"].as_str();
        let Some(fetched) = markdown.or(page["text"].as_str()).filter(|text| !text.trim().is_empty()) else {
            return Err("it has no text".to_owned());
        };
        let url = page["url"].as_str().and_then(|url| Address::parse(url).ok()).unwrap_or_else(|| asked.clone());
        let content_type = page["content_type"].as_str().unwrap_or_default().to_owned();
        let is_markdown = markdown.is_some() || content_type.starts_with("text/markdown");
        let (title, links) = if is_markdown { outline(fetched, &url) } else { (String::new(), Vec::new()) };
        Ok(Self {
            title: if title.is_empty() { url.to_string() } else { title },
            links,
            is_noted: false,
            is_markdown,
            text: Text::new(fetched, is_markdown),
            fetched: fetched.to_owned(),
            truncated: page["truncated"].as_bool().unwrap_or_default(),
            artifact: String::new(),
            sha256: String::new(),
            asked,
            url,
            origin,
            fetched_at,
            content_type,
        })
    }

    /// What of a quotation its text says, with why it does not say it.
    pub(crate) fn says(&self, quotation: &str) -> Result<String, &'static str> {
        self.text.says(quotation)
    }

    /// For programs.
    pub(crate) fn to_json(&self, number: usize, used_for: &[String], quotations: &[String]) -> Value {
        json!({
            "number": number,
            "url": self.asked.as_str(),
            "fetched_from": self.url.as_str(),
            "fetched_at": self.fetched_at.to_string(),
            "sha256": self.sha256,
            "bytes": self.fetched.len(),
            "truncated": self.truncated,
            "content_type": self.content_type,
            "title": self.title,
            "text": self.artifact,
            "from": self.origin.to_json(),
            "used_for": used_for,
            "quotations": quotations,
        })
    }
}

/// The first heading of a page and its links to other pages, each once.
fn outline(markdown: &str, base: &Address) -> (String, Vec<Link>) {
    let (mut title, mut links) = (String::new(), Vec::<Link>::new());
    let mut seen = BTreeSet::from([base.clone()]);
    let (mut in_title, mut label): (bool, Option<(String, String)>) = (false, None);
    for event in Parser::new_ext(markdown, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::Heading { .. }) => in_title = title.is_empty(),
            Event::End(TagEnd::Heading(_)) => in_title = false,
            Event::Start(Tag::Link { dest_url, .. }) => label = Some((dest_url.to_string(), String::new())),
            Event::End(TagEnd::Link) => {
                let Some((address, label)) = label.take() else { continue };
                let Ok(address) = Address::parse(&address) else { continue };
                if links.len() < LINKS_MAX && seen.insert(address.clone()) {
                    links.push(Link { label: clipped(&label), address });
                }
            }
            Event::Text(text) | Event::Code(text) => {
                if in_title {
                    title.push_str(&text);
                }
                if let Some((_, label)) = &mut label {
                    label.push_str(&text);
                }
            }
            Event::SoftBreak | Event::HardBreak if in_title => title.push(' '),
            _ => {}
        }
    }
    (clipped(&title), links)
}

/// One line of it, not too long.
pub(crate) fn clipped(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(TITLE_MAX) {
        Some((cut, _)) => format!("{}…", &line[..cut]),
        None => line,
    }
}

/// Why something went wrong, in one line, with its beginning and its end: what to do about it stands last.
pub(crate) fn reason(text: &str) -> String {
    middle_cut(text, REASON_BYTES_MAX).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The same of an address that is named beside it, and need not be named twice.
pub(crate) fn reason_of(address: &Address, text: &str) -> String {
    reason(text.strip_prefix(address.as_str()).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(text))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A source of a test, as if it had been fetched and stored.
    pub(crate) fn source(address: &str, markdown: &str) -> Source {
        let page = json!({ "status": 200, "url": address, "content_type": "text/html", "markdown": markdown });
        let asked = Address::parse(address).expect("an address");
        let mut source = Source::read(asked, Origin::Given, Timestamp::UNIX_EPOCH, &page).expect("a page");
        (source.sha256, source.is_noted) = ("0".repeat(64), true);
        source
    }

    #[test]
    fn a_page_has_a_title_and_links_that_are_known_from_then_on() {
        let page = "Before\n\n# The *night* `shift`\n\nSee [one](https://example.org/1#part), [again](https://example.org/1), [self](https://example.org/night), \
            [mail](mailto:a@example.org), <https://example.org/2>.\n\n# Another";
        let source = source("https://example.org/night", page);
        assert_eq!(source.title, "The night shift");
        let links: Vec<_> = source.links.iter().map(|link| (link.label.as_str(), link.address.as_str())).collect();
        assert_eq!(links, [("one", "https://example.org/1"), ("https://example.org/2", "https://example.org/2")]);
    }

    #[test]
    fn what_did_not_answer_with_a_text_is_no_source() {
        let address = || Address::parse("https://example.org/").expect("an address");
        for (page, why) in [
            (json!({ "status": 404, "text": "nothing here" }), "status 404"),
            (json!({ "status": 200, "text": " \n" }), "no text"),
            (json!({}), "status 0"),
        ] {
            let said = Source::read(address(), Origin::Given, Timestamp::UNIX_EPOCH, &page).expect_err("no source");
            assert!(said.contains(why), "{said}");
        }
    }

    #[test]
    fn a_source_is_found_by_where_it_was_asked_for_and_where_it_came_from() {
        let page = json!({ "status": 200, "url": "https://example.org/new", "text": "moved" });
        let asked = Address::parse("https://example.org/old").expect("an address");
        let source = Source::read(asked, Origin::Given, Timestamp::UNIX_EPOCH, &page).expect("a page");
        let sources = Sources { fetched: vec![source], unreached: Vec::new() };
        for (address, number) in [
            ("https://example.org/old", Some(1)),
            ("HTTPS://example.org/new#x", Some(1)),
            ("https://example.org/", None),
        ] {
            assert_eq!(sources.at(address), number, "{address}");
        }
        assert!(sources.get(0).is_none() && sources.get(1).is_some() && sources.get(2).is_none());
    }
}
