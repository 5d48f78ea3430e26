//! The report: what a model drafted, held against the sources, and written down with the judgement on it.
//!
//! A draft is made of claims. Each names its sources by number and may quote them. The plugin, and not the model, decides what stands:
//!
//! - a number that is no source is taken out, and so is every address that was not fetched; the claim is marked;
//! - so is a source of which there is no note, and which is not quoted: nobody read it for this;
//! - a quotation that its source does not say is taken out, and the claim is marked; words in quotation marks within a claim are held
//!   against the claim's sources and lose the marks where none of them says so;
//! - a claim without a source is marked.
//!
//! The title, headings and what is left open are the model's, too: the same holds of citations and quotations in them. Sources, what was not reached, and the figures of the check are written by the plugin.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::{Value, json};
use sortie_agent::counted;

use crate::inline;
use crate::quote::normal;
use crate::source::Sources;

/// Fewest words within quotation marks that are taken for a quotation: fewer are a name, or irony.
const QUOTED_WORDS_MIN: usize = 4;

/// Longest text of a claim, in bytes, and most claims of a report: a statement is shorter, and a report is to be read.
const CLAIM_BYTES_MAX: usize = 2_000;
const CLAIMS_MAX: usize = 300;

/// What a model drafts: see [`schema`].
#[derive(Debug, Clone, Default, Deserialize, PartialEq)]
pub(crate) struct Draft {
    pub(crate) title: String,
    pub(crate) summary: Vec<Claim>,
    #[serde(default)]
    pub(crate) sections: Vec<Section>,
    #[serde(default)]
    pub(crate) open: Vec<String>,
    #[serde(default)]
    pub(crate) criteria: Vec<Judged>,
}

/// A part of a draft.
#[derive(Debug, Clone, Default, Deserialize, PartialEq)]
pub(crate) struct Section {
    pub(crate) heading: String,
    pub(crate) claims: Vec<Claim>,
}

/// A statement and what it rests on.
#[derive(Debug, Clone, Default, Deserialize, PartialEq)]
pub(crate) struct Claim {
    pub(crate) text: String,
    #[serde(default)]
    pub(crate) sources: Vec<i64>,
    #[serde(default)]
    pub(crate) quotes: Vec<Quote>,
}

/// What a source is said to say.
#[derive(Debug, Clone, Default, Deserialize, PartialEq)]
pub(crate) struct Quote {
    pub(crate) source: i64,
    pub(crate) text: String,
}

/// What a model says became of a success criterion.
#[derive(Debug, Clone, Default, Deserialize, PartialEq)]
pub(crate) struct Judged {
    pub(crate) criterion: i64,
    pub(crate) met: bool,
    pub(crate) because: String,
}

impl Draft {
    /// As the model wrote it.
    pub(crate) fn to_json(&self) -> Value {
        let claims = |claims: &[Claim]| -> Value {
            let claim = |claim: &Claim| {
                let quote = |quote: &Quote| json!({ "source": quote.source, "text": quote.text });
                json!({ "text": claim.text, "sources": claim.sources, "quotes": claim.quotes.iter().map(quote).collect::<Vec<_>>() })
            };
            claims.iter().map(claim).collect()
        };
        let section = |section: &Section| json!({ "heading": section.heading, "claims": claims(&section.claims) });
        let sections: Vec<Value> = self.sections.iter().map(section).collect();
        json!({ "title": self.title, "summary": claims(&self.summary), "sections": sections, "open": self.open })
    }
}

/// The JSON Schema of a draft.
pub(crate) fn schema() -> Value {
    let quote = json!({
        "type": "object",
        "properties": {
            "source": { "type": "integer", "description": "the number of the source that says it" },
            "text": { "type": "string", "description": "its words, exactly; […] for what is left out" },
        },
        "required": ["source", "text"], "additionalProperties": false,
    });
    let claims = json!({ "type": "array", "items": {
        "type": "object",
        "properties": {
            "text": { "type": "string", "description": "one statement, in plain words, without addresses" },
            "sources": { "type": "array", "items": { "type": "integer" }, "description": "numbers of the sources that it rests on" },
            "quotes": { "type": "array", "items": quote },
        },
        "required": ["text", "sources", "quotes"], "additionalProperties": false,
    }});
    json!({
        "type": "object",
        "properties": {
            "title": { "type": "string" },
            "summary": claims,
            "sections": { "type": "array", "items": {
                "type": "object",
                "properties": { "heading": { "type": "string" }, "claims": claims },
                "required": ["heading", "claims"], "additionalProperties": false,
            }},
            "open": { "type": "array", "items": { "type": "string" }, "description": "what the sources do not answer" },
            "criteria": { "type": "array", "items": {
                "type": "object",
                "properties": {
                    "criterion": { "type": "integer", "description": "its number" },
                    "met": { "type": "boolean" },
                    "because": { "type": "string" },
                },
                "required": ["criterion", "met", "because"], "additionalProperties": false,
            }},
        },
        "required": ["title", "summary", "sections", "open", "criteria"], "additionalProperties": false,
    })
}

/// A draft that was held against the sources.
#[derive(Debug, Default)]
pub(crate) struct Report {
    title: String,
    summary: Vec<Stated>,
    sections: Vec<(String, Vec<Stated>)>,
    open: Vec<String>,
    /// The figures.
    pub(crate) check: Check,
    /// What the model should mend, where it is asked to, in sentences.
    pub(crate) faults: Vec<String>,
    /// Sources that may be cited.
    citable: BTreeSet<usize>,
    /// The objective and the questions, as quotations are compared.
    asked: String,
    used_for: BTreeMap<usize, Vec<String>>,
    quotations: BTreeMap<usize, Vec<String>>,
}

/// A claim as it stands.
#[derive(Debug)]
struct Stated {
    text: String,
    cited: BTreeSet<usize>,
    quotes: Vec<(usize, String)>,
    marks: Vec<&'static str>,
}

/// The figures of a check.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Check {
    /// Statements in the report.
    pub(crate) claims: usize,
    /// Those that no source stands behind.
    pub(crate) without_source: usize,
    /// Citations and addresses of what was not fetched or not read: taken out.
    pub(crate) citations_removed: usize,
    /// Quotations that were found in their sources.
    pub(crate) quotations: usize,
    /// Those that were not: taken out.
    pub(crate) quotations_removed: usize,
    /// Sources that at least one claim cites.
    pub(crate) sources_cited: usize,
}

impl Check {
    /// Nothing had to be taken out, and every claim has a source.
    pub(crate) fn is_sound(&self) -> bool {
        self.claims > 0 && self.without_source == 0 && self.citations_removed == 0 && self.quotations_removed == 0
    }

    /// In a line for people.
    pub(crate) fn in_words(&self) -> String {
        let Self { claims, without_source, citations_removed, quotations, quotations_removed, sources_cited } = *self;
        let mut words = format!(
            "{}, {without_source} without a source; {} cited; {} found in their sources",
            counted(claims, "claim"),
            counted(sources_cited, "source"),
            counted(quotations, "quotation"),
        );
        if quotations_removed > 0 {
            let _ = write!(words, "; {} not found and taken out", counted(quotations_removed, "quotation"));
        }
        if citations_removed > 0 {
            let _ = write!(
                words,
                "; {} of what was not fetched or not read taken out",
                counted(citations_removed, "citation")
            );
        }
        words
    }

    /// For programs.
    pub(crate) fn to_json(self) -> Value {
        json!({
            "claims": self.claims, "without_source": self.without_source, "citations_removed": self.citations_removed,
            "quotations": self.quotations, "quotations_removed": self.quotations_removed,
            "sources_cited": self.sources_cited, "sound": self.is_sound(),
        })
    }
}

impl Report {
    /// Holds a draft against the sources. What was `asked` may be repeated where nothing is claimed, with its quotation marks.
    pub(crate) fn check(draft: &Draft, sources: &Sources, asked: &str) -> Self {
        let mut report = Self { citable: citable(draft, sources), asked: normal(asked), ..Self::default() };
        report.title = report.said(&draft.title, sources);
        report.summary = draft.summary.iter().filter_map(|claim| report.state(claim, sources)).collect();
        for section in &draft.sections {
            let claims: Vec<Stated> = section.claims.iter().filter_map(|claim| report.state(claim, sources)).collect();
            if !claims.is_empty() {
                let heading = report.said(&section.heading, sources);
                report.sections.push((heading, claims));
            }
        }
        let open = draft.open.iter().take(CLAIMS_MAX).map(|open| report.said(open, sources));
        report.open = open.filter(|open| !open.is_empty()).collect();
        report.check.sources_cited = report.used_for.len();
        report
    }

    /// The notes as a report. Its headings are questions, and nobody drafted them.
    pub(crate) fn of_notes(sections: &[Section], sources: &Sources) -> Self {
        let draft = Draft { sections: sections.to_vec(), ..Draft::default() };
        let mut report = Self { citable: citable(&draft, sources), ..Self::default() };
        for section in sections {
            let claims: Vec<Stated> = section.claims.iter().filter_map(|claim| report.state(claim, sources)).collect();
            let heading = inline::plain(&section.heading);
            if claims.is_empty() {
                report.open.push(heading);
            } else {
                report.sections.push((heading, claims));
            }
        }
        report.check.sources_cited = report.used_for.len();
        report
    }

    /// A text that is no claim, and of which the citations and quotations must stand all the same.
    fn said(&mut self, text: &str, sources: &Sources) -> String {
        let (short, before) = (crate::source::clipped(text), self.check);
        let text = &text[..text.floor_char_boundary(CLAIM_BYTES_MAX)];
        let line = self.line(text, &short, sources);
        let asked = std::mem::take(&mut self.asked);
        let mut said = self.without_invented_quotations(&line.text, &short, &line.cited, sources, &asked);
        self.asked = asked;
        for mark in self.marks_since(before) {
            let space = if said.is_empty() { "" } else { " " };
            let _ = write!(said, "{space}*({mark})*");
        }
        for number in line.cited {
            self.used_for.entry(number).or_default().push(short.clone());
        }
        said
    }

    /// A text without what is no source that may be cited.
    fn line(&mut self, text: &str, short: &str, sources: &Sources) -> inline::Line {
        let may_cite = |number: &usize| self.citable.contains(number);
        let line = inline::line(text, &|number| may_cite(&number), &|address| sources.at(address).filter(may_cite));
        for left_out in &line.left_out {
            self.take_out_citation(short, left_out, sources);
        }
        line
    }

    /// What was taken out since then, for whoever reads the report.
    fn marks_since(&self, before: Check) -> Vec<&'static str> {
        let mut marks = Vec::new();
        if self.check.citations_removed > before.citations_removed {
            marks.push("a citation of something that was not fetched or not read is left out here");
        }
        if self.check.quotations_removed > before.quotations_removed {
            marks.push("a quotation that its source does not have is left out here");
        }
        marks
    }

    /// One claim as it may stand; nothing where it says nothing.
    fn state(&mut self, claim: &Claim, sources: &Sources) -> Option<Stated> {
        if self.check.claims == CLAIMS_MAX {
            return None;
        }
        let text = &claim.text[..claim.text.floor_char_boundary(CLAIM_BYTES_MAX)];
        let short = crate::source::clipped(&claim.text);
        let before = self.check;
        let line = self.line(text, &short, sources);
        let named = |number: i64| usize::try_from(number).ok().filter(|number| sources.get(*number).is_some());
        let mut stated = Stated { cited: line.cited, text: line.text, quotes: Vec::new(), marks: Vec::new() };
        if text.len() < claim.text.len() {
            stated.text.push('…');
            self.faults.push(format!("“{short}” is too long for one statement"));
        }

        for number in &claim.sources {
            match named(*number).filter(|number| self.citable.contains(number)) {
                Some(number) => drop(stated.cited.insert(number)),
                None => self.take_out_citation(&short, &format!("source {number}"), sources),
            }
        }
        for quote in &claim.quotes {
            let Some(number) = named(quote.source) else {
                self.take_out_citation(&short, &format!("source {}", quote.source), sources);
                continue;
            };
            match sources.get(number).map(|source| source.says(&quote.text)) {
                Some(Ok(shown)) => {
                    self.check.quotations += 1;
                    stated.cited.insert(number);
                    stated.quotes.push((number, inline::plain(&shown)));
                    self.quotations.entry(number).or_default().push(shown);
                }
                why => self.take_out_quotation(&short, &quote.text, why.and_then(Result::err)),
            }
        }
        stated.text = self.without_invented_quotations(&stated.text, &short, &stated.cited, sources, "");
        if stated.text.is_empty() && stated.quotes.is_empty() {
            return None;
        }

        self.check.claims += 1;
        stated.marks = self.marks_since(before);
        if stated.cited.is_empty() {
            self.check.without_source += 1;
            stated.marks.push("no source");
            self.faults.push(format!("“{short}” has no source: name one that says so, or leave it out"));
        }
        for number in &stated.cited {
            self.used_for.entry(*number).or_default().push(short.clone());
        }
        Some(stated)
    }

    fn take_out_citation(&mut self, claim: &str, what: &str, sources: &Sources) {
        self.check.citations_removed += 1;
        let number = what.trim_matches(|character: char| !character.is_ascii_digit()).parse().ok();
        let is_unread = number.is_some_and(|number| sources.get(number).is_some()) || sources.at(what).is_some();
        let why = if is_unread {
            "of which there are no notes: quote it, or leave it out"
        } else {
            "which was not fetched in this mission"
        };
        self.faults.push(format!("“{claim}” cites {what}, {why}"));
    }

    fn take_out_quotation(&mut self, claim: &str, quotation: &str, why: Option<&str>) {
        self.check.quotations_removed += 1;
        let (quotation, why) = (crate::source::clipped(quotation), why.unwrap_or("there is no such source"));
        self.faults.push(format!("“{claim}” quotes “{quotation}”: {why}"));
    }

    /// A claim's text, in which words in quotation marks that none of its sources says, and nobody `asked`, have lost the marks.
    fn without_invented_quotations(
        &mut self,
        text: &str,
        claim: &str,
        cited: &BTreeSet<usize>,
        sources: &Sources,
        asked: &str,
    ) -> String {
        let mut kept = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((start, end, inner)) = quoted(rest) {
            kept.push_str(&rest[..start]);
            let says = |number: &usize| Some((*number, sources.get(*number)?.says(inner).ok()?));
            let words = normal(inner);
            if words.split(' ').count() < QUOTED_WORDS_MIN || asked.contains(&words) {
                kept.push_str(&rest[start..end]);
            } else if let Some((number, shown)) = cited.iter().find_map(says) {
                self.check.quotations += 1;
                kept.push_str(&format!("“{}”", inline::plain(&shown)));
                self.quotations.entry(number).or_default().push(shown);
            } else {
                self.take_out_quotation(claim, inner, Some("none of the sources of this claim says this"));
                kept.push_str(inner);
            }
            rest = &rest[end..];
        }
        kept.push_str(rest);
        kept
    }

    /// `report.md`.
    pub(crate) fn markdown(&self, about: &About<'_>, sources: &Sources) -> String {
        let title = if self.title.is_empty() {
            inline::plain(&crate::source::clipped(about.objective))
        } else {
            self.title.clone()
        };
        let mut page = format!("# {title}\n\n{}\n", inline::plain(about.objective));
        for note in about.notes {
            let _ = write!(page, "\n**{}**\n", inline::plain(note));
        }
        write_claims(&mut page, "Summary", &self.summary);
        for (heading, claims) in &self.sections {
            write_claims(&mut page, heading, claims);
        }
        write_list(&mut page, "Not answered", &self.open);
        let listed = sources.numbered().map(|(number, source)| {
            let cut = if source.truncated { ", cut: the page goes on" } else { "" };
            let unused = if self.used_for.contains_key(&number) { "" } else { "; not cited" };
            format!(
                "{number}. {}, <{}>, fetched {}{cut}, SHA-256 `{}`, {}{unused}\n",
                inline::plain(&source.title),
                source.asked,
                source.fetched_at,
                source.sha256,
                source.origin
            )
        });
        let listed: String = listed.collect();
        let _ = write!(page, "\n## Sources\n\n{}", if listed.is_empty() { "None.\n" } else { &listed });
        let unreached = sources.unreached.iter().map(|unreached| {
            format!("{} ({}): {}", inline::code(&unreached.url), unreached.origin, inline::plain(&unreached.why))
        });
        write_list(&mut page, "Not reached", &unreached.collect::<Vec<_>>());
        let _ = write!(page, "\n## Checked\n\nBy the plugin, not by the model: {}.\n", self.check.in_words());
        if !sources.fetched.is_empty() {
            page.push('\n');
        }
        for (number, source) in sources.numbered() {
            let _ = writeln!(page, "[{number}]: <{}>", source.asked);
        }
        page
    }

    /// `sources.json`.
    pub(crate) fn sources_json(&self, sources: &Sources) -> Value {
        let none = Vec::new();
        let listed = sources.numbered().map(|(number, source)| {
            let used_for = self.used_for.get(&number).unwrap_or(&none);
            source.to_json(number, used_for, self.quotations.get(&number).unwrap_or(&none))
        });
        let unreached = sources
            .unreached
            .iter()
            .map(|unreached| json!({ "url": unreached.url, "from": unreached.origin.to_json(), "why": unreached.why }));
        json!({
            "sources": listed.collect::<Vec<_>>(),
            "not_reached": unreached.collect::<Vec<_>>(),
            "checked": self.check.to_json(),
        })
    }
}

/// What the report is about, beside what the draft says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About<'a> {
    pub(crate) objective: &'a str,
    /// What a reader must know first: that it was cut short, that no model wrote it.
    pub(crate) notes: &'a [String],
}

/// The sources that somebody read: those with a note, and those that say what the draft quotes of them.
fn citable(draft: &Draft, sources: &Sources) -> BTreeSet<usize> {
    let noted = sources.numbered().filter(|(_, source)| source.is_noted).map(|(number, _)| number);
    let claims = draft.summary.iter().chain(draft.sections.iter().flat_map(|section| &section.claims));
    let quoted = claims.flat_map(|claim| &claim.quotes).filter_map(|quote| {
        let number = usize::try_from(quote.source).ok()?;
        sources.get(number)?.says(&quote.text).ok().map(|_| number)
    });
    noted.chain(quoted).collect()
}

fn write_claims(page: &mut String, heading: &str, claims: &[Stated]) {
    if claims.is_empty() {
        return;
    }
    let _ = write!(page, "\n## {heading}\n\n");
    for Stated { text, cited, quotes, marks } in claims {
        page.push_str("- ");
        page.push_str(text);
        for number in cited.iter().filter(|number| !text.contains(&format!("[{number}]"))) {
            let _ = write!(page, " [{number}]");
        }
        for mark in marks {
            let _ = write!(page, " *({mark})*");
        }
        page.push('\n');
        for (number, quote) in quotes {
            let _ = write!(page, "\n  > “{quote}” [{number}]\n\n");
        }
    }
}

fn write_list(page: &mut String, heading: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    let _ = write!(page, "\n## {heading}\n\n");
    for line in lines {
        let _ = writeln!(page, "- {line}");
    }
}

/// The first words in quotation marks: where they begin and end, and what is within.
fn quoted(text: &str) -> Option<(usize, usize, &str)> {
    let mut before = ' ';
    for (open, mark) in text.char_indices() {
        let begin = open + mark.len_utf8();
        let is_apostrophe = mark == '\'' && before.is_alphanumeric();
        before = mark;
        let closing = closing(mark);
        if closing.is_empty() || is_apostrophe {
            continue;
        }
        let ends = text[begin..].match_indices(closing).find(|(at, end)| {
            let next = text[begin + at + end.len()..].chars().next();
            // One in the middle of a word is an apostrophe.
            !matches!(*end, "’" | "'") || !next.is_some_and(char::is_alphanumeric)
        });
        // Of a mark that is never closed, what is behind it is looked at for others.
        if let Some((length, end)) = ends {
            return Some((open, begin + length + end.len(), &text[begin..begin + length]));
        }
    }
    None
}

/// The marks that end what this one begins; none where it begins nothing.
fn closing(mark: char) -> &'static [char] {
    match mark {
        '“' => &['”', '"'],
        '„' => &['“', '”', '"'],
        '"' => &['"', '”', '“'],
        '”' => &['”'],
        '‘' => &['’'],
        '‚' => &['‘', '’'],
        '\'' => &['\''],
        '«' => &['»'],
        '»' => &['«', '»'],
        '‹' => &['›'],
        '›' => &['‹', '›'],
        '「' => &['」'],
        '『' => &['』'],
        _ => &[],
    }
}

#[cfg(test)]
mod tests;
