//! Questions, searches, pages, notes: what a report is written from. What could not be had is noted, and the others go on.

use jiff::Timestamp;
use serde::Deserialize;
use sortie_agent::{counted, marked};
use sortie_plugin::{Failure, Value, artifacts, json, report as told, time};

use super::{Mission, NOTE_BYTES_MAX, Note, clipped_to, or_nothing};
use crate::address::{Address, Origin};
use crate::ask::{Question, Said};
use crate::inputs::{PAGES_MAX, QUESTIONS_MAX};
use crate::source::{Source, Unreached, clipped, reason, reason_of};
use crate::words;

/// Pages that are fetched, and read, side by side.
const FETCHED_AT_ONCE: usize = 8;
const READ_AT_ONCE: usize = 4;

/// Most searches, and most results of each that are fetched.
const SEARCHES_MAX: usize = 6;
const RESULTS_MAX: usize = 5;

/// How much of a page is fetched, in bytes.
const PAGE_BYTES_MAX: usize = 512 << 10;

/// Most notes of a page, and most links of it that are followed.
const NOTES_MAX: usize = 20;
const FOLLOWED_MAX: usize = 4;

/// Longest answers, in tokens.
const PLAN_TOKENS_MAX: u64 = 1_500;
const READ_TOKENS_MAX: u64 = 3_000;

#[derive(Deserialize)]
struct Plan {
    questions: Vec<String>,
    searches: Vec<String>,
}

#[derive(Deserialize)]
struct Notes {
    notes: Vec<Noted>,
    follow: Vec<i64>,
    warning: String,
}

#[derive(Deserialize)]
struct Noted {
    question: i64,
    claim: String,
    quote: String,
}

impl Mission<'_> {
    /// What is asked, and what is searched for. Questions and sources that are given need neither a plan nor a search.
    pub(super) fn plan(&mut self, must_search: bool) -> Result<Vec<String>, Failure> {
        let may_search = self.tools.get("WebSearch").is_some();
        let needs_searches = may_search && must_search;
        if !self.questions.is_empty() && !needs_searches {
            return Ok(Vec::new());
        }
        let asked = if self.questions.is_empty() {
            String::new()
        } else {
            format!("\n\nThese questions are given:\n{}", words::numbered(self.given_questions()))
        };
        let question = Question {
            about: "plan".to_owned(),
            system: words::PLAN.to_owned(),
            text: format!("The objective:\n{}{asked}", self.brief.objective),
            kept_as: None,
            schema: words::plan_schema(),
            max_tokens: PLAN_TOKENS_MAX,
        };
        let said = if self.answers_left() == Some(0) {
            vec![Said::Spent("no call of a model is left".to_owned())]
        } else {
            self.ask(&[question], 1)
        };
        let plan: Option<Plan> = match said.into_iter().next() {
            Some(Said::Well(plan)) => serde_json::from_value(plan).ok(),
            Some(Said::Refused(why)) => {
                return Err(Failure::new(format!("the model refused to plan this: {}", or_nothing(&why)))
                    .next_action("Look at transcript.jsonl."));
            }
            Some(Said::Spent(why)) => {
                return Err(Failure::new(format!("the budget was spent before anything was read: {why}"))
                    .next_action("Raise budget.max_llm_calls or budget.max_cost_usd."));
            }
            Some(Said::Nothing(why)) => {
                self.remarks.push(format!(
                    "The model made no plan ({}): the objective was taken as the question.",
                    reason(&why)
                ));
                None
            }
            Some(Said::Late) | None => None,
        };
        let plan = plan.unwrap_or_else(|| Plan { questions: Vec::new(), searches: Vec::new() });
        let is_text = |text: &String| !text.trim().is_empty();
        if self.questions.is_empty() {
            self.questions = plan
                .questions
                .into_iter()
                .filter(is_text)
                .take(QUESTIONS_MAX)
                .map(|text| clipped_to(&text, NOTE_BYTES_MAX))
                .collect();
        }
        if self.questions.is_empty() {
            self.questions = vec![self.brief.objective.clone()];
        }
        let mut searches: Vec<String> =
            plan.searches.into_iter().filter(is_text).take(SEARCHES_MAX).map(|text| clipped(&text)).collect();
        if searches.is_empty() && must_search {
            searches = self.questions.iter().take(SEARCHES_MAX).map(|question| clipped(question)).collect();
        }
        searches.retain(|_| may_search);
        told::milestone(format!(
            "{}, {}",
            counted(self.questions.len(), "question"),
            counted(searches.len(), "search")
        ));
        Ok(searches)
    }

    fn given_questions(&self) -> impl Iterator<Item = &str> {
        self.questions.iter().map(String::as_str)
    }

    /// What a search engine finds, best first, each address once.
    pub(super) fn search(&mut self, searches: &[String]) -> Vec<(Address, Origin)> {
        let Some(tool) = self.tools.get("WebSearch").filter(|_| !searches.is_empty()) else { return Vec::new() };
        let start = |query: &String| tool.start(&json!({ "query": query, "count": RESULTS_MAX }));
        let answers = self.flight.all(searches, FETCHED_AT_ONCE, start, |_| {});
        let mut found: Vec<(Address, Origin)> = Vec::new();
        for (query, answer) in searches.iter().zip(answers) {
            let results = match &answer {
                Some(Ok(results)) => results["results"].as_array().map_or(&[][..], Vec::as_slice),
                Some(Err(error)) => {
                    self.remarks.push(format!("The search for “{query}” failed: {}", reason(&error.to_string())));
                    continue;
                }
                None => continue,
            };
            for address in results.iter().filter_map(|hit| Address::parse(hit["url"].as_str()?).ok()).take(RESULTS_MAX)
            {
                if !found.iter().any(|(known, _)| *known == address) {
                    found.push((address, Origin::Search(query.clone())));
                }
            }
        }
        found
    }

    /// Fetches pages side by side, and gives the numbers of those that are sources.
    pub(super) fn fetch(&mut self, wanted: Vec<(Address, Origin)>) -> Vec<usize> {
        let Some(tool) = self.tools.get("WebFetch") else { return Vec::new() };
        let room = PAGES_MAX.saturating_sub(self.known.len());
        let mut wanted: Vec<(Address, Origin)> =
            wanted.into_iter().filter(|(address, _)| !self.known.contains(address)).collect();
        if wanted.len() > room {
            self.remarks.push(format!(
                "{} more were found than the {PAGES_MAX} pages that one mission reads.",
                counted(wanted.len() - room, "page")
            ));
            wanted.truncate(room);
        }
        self.known.extend(wanted.iter().map(|(address, _)| address.clone()));
        if self.flight.must_land() {
            self.cut_by_limit();
            self.late(wanted);
            return Vec::new();
        }
        let start = |(address, _): &(Address, Origin)| {
            tool.start(&json!({ "url": address.as_str(), "max_bytes": PAGE_BYTES_MAX, "raw": false }))
        };
        let mut times = vec![Timestamp::UNIX_EPOCH; wanted.len()];
        let answers = self.flight.all(&wanted, FETCHED_AT_ONCE, start, |index| times[index] = now());
        let mut new = Vec::new();
        for (((address, origin), answer), fetched_at) in wanted.into_iter().zip(answers).zip(times) {
            let read = match answer {
                Some(Ok(page)) => Source::read(address.clone(), origin.clone(), fetched_at, &page),
                Some(Err(error)) => Err(error.to_string()),
                None => Err("the mission came to its limit before it answered".to_owned()),
            };
            match read.and_then(|source| self.keep(source)) {
                Ok(number) => new.push(number),
                Err(why) => {
                    let why = reason_of(&address, &why);
                    self.sources.unreached.push(Unreached { url: address.to_string(), origin, why });
                }
            }
        }
        if self.flight.is_landing() {
            self.cut_by_limit();
        }
        told::milestone(format!(
            "{} fetched, {} not reached",
            counted(self.sources.fetched.len(), "page"),
            self.sources.unreached.len()
        ));
        new
    }

    fn late(&mut self, wanted: Vec<(Address, Origin)>) {
        self.sources.unreached.extend(wanted.into_iter().map(|(address, origin)| Unreached {
            url: address.to_string(),
            origin,
            why: "there was no time left for it".to_owned(),
        }));
    }

    /// Stores the text of a source, and gives it a number.
    fn keep(&mut self, mut source: Source) -> Result<usize, String> {
        let same = |(_, other): &(usize, &Source)| other.url == source.url;
        if let Some((number, _)) = self.sources.numbered().find(same) {
            return Err(format!("it leads to the same page as [{number}]"));
        }
        let number = self.sources.fetched.len() + 1;
        let (ending, media_type) = if source.is_markdown { ("md", "text/markdown") } else { ("txt", "text/plain") };
        source.artifact = format!("sources/{number}.{ending}");
        source.sha256 = artifacts::put(&source.artifact, media_type, &source.fetched)?.sha256;
        self.transcript
            .add(json!({ "kind": "fetched", "source": number, "url": source.asked.as_str(), "sha256": source.sha256 }));
        self.sources.fetched.push(source);
        Ok(number)
    }

    /// Has these sources read, and gives the links that are worth a look.
    pub(super) fn read(&mut self, new: &[usize]) -> Result<Vec<(Address, Origin)>, Failure> {
        // One answer is for the report.
        let affordable = self.answers_left().map_or(usize::MAX, |left| left.saturating_sub(1));
        let (read, unread) = new.split_at(new.len().min(affordable));
        if read.is_empty() && !unread.is_empty() && self.notes.is_empty() {
            self.cut = Some("the budget has no call of a model left to read with".to_owned());
        } else if !unread.is_empty() {
            self.cut = Some(format!(
                "the budget's calls of a model were spent before {} could be read",
                counted(unread.len(), "page")
            ));
        }
        if self.cut.is_some() && self.flight.is_landing() {
            return Ok(Vec::new());
        }
        let questions: Vec<Question> = read.iter().filter_map(|number| self.reading(*number)).collect();
        let said = self.ask(&questions, READ_AT_ONCE);
        let mut follow = Vec::new();
        let mut refused = 0;
        for (number, said) in read.iter().zip(said) {
            match said {
                Said::Well(notes) => follow.extend(self.note(*number, notes)),
                Said::Refused(why) => {
                    refused += 1;
                    self.remarks.push(format!("The model refused to read [{number}]: {}", or_nothing(&why)));
                }
                Said::Nothing(why) => self.remarks.push(format!("[{number}] was not read: {}", reason(&why))),
                Said::Spent(why) => {
                    self.cut = Some(format!("the budget was spent before [{number}] was read: {}", reason(&why)));
                }
                Said::Late => self.cut_by_limit(),
            }
        }
        if refused > 0 && refused == self.sources.fetched.len() {
            let page = self.page_of_notes();
            self.store(&page, &["The model refused to read any of these pages.".to_owned()])?;
            return Err(
                Failure::new("the model refused to read any of the pages").next_action("Look at transcript.jsonl.")
            );
        }
        told::milestone(format!(
            "{} of {}",
            counted(self.notes.len(), "note"),
            counted(self.sources.fetched.len(), "page")
        ));
        Ok(follow)
    }

    /// What a reader of a source is asked.
    fn reading(&self, number: usize) -> Option<Question> {
        let source = self.sources.get(number)?;
        let shown = &source.fetched[..source.fetched.floor_char_boundary(self.shown_bytes())];
        let cut =
            if shown.len() < source.fetched.len() || source.truncated { "\nOnly its beginning is shown." } else { "" };
        let labels: Vec<&str> = source.links.iter().map(|link| link.label.as_str()).collect();
        let page = format!("{shown}\n\nLinks of the page:\n{}", words::numbered(labels));
        let asked = format!("The questions:\n{}", words::numbered(self.questions.iter().map(String::as_str)));
        Some(Question {
            about: format!("source {number}"),
            system: words::to_readers(),
            text: format!("{asked}\nThe page, {}.{cut}\n{}", source.asked, marked("PAGE", &page)),
            kept_as: Some(format!(
                "{asked}\nThe page, {}.{cut}\n(the text of {}, and its links)",
                source.asked, source.artifact
            )),
            schema: words::notes_schema(),
            max_tokens: READ_TOKENS_MAX,
        })
    }

    /// Keeps notes of a source whose words are on it, and gives the links that are to be followed.
    fn note(&mut self, number: usize, notes: Value) -> Vec<(Address, Origin)> {
        let (Ok(read), Some(source)) = (serde_json::from_value::<Notes>(notes), self.sources.get(number)) else {
            return Vec::new();
        };
        let (mut invented, mut is_noted) = (0, false);
        for noted in read.notes.into_iter().take(NOTES_MAX) {
            let question =
                usize::try_from(noted.question).ok().filter(|question| (1..=self.questions.len()).contains(question));
            let quote =
                source.says(&noted.quote).ok().filter(|quote| quote.len().max(noted.claim.len()) <= NOTE_BYTES_MAX);
            let Some(quote) = quote else {
                invented += 1;
                continue;
            };
            self.notes.push(Note { source: number, question: question.unwrap_or(1), claim: noted.claim, quote });
            is_noted = true;
        }
        let chosen =
            read.follow.iter().filter_map(|link| source.links.get(usize::try_from(*link).ok()?.checked_sub(1)?));
        let follow: Vec<(Address, Origin)> =
            chosen.take(FOLLOWED_MAX).map(|link| (link.address.clone(), Origin::Link(number))).collect();
        self.sources.fetched[number - 1].is_noted |= is_noted;
        if invented > 0 {
            self.remarks.push(format!(
                "{} on [{number}] were left out: the page does not have their words.",
                counted(invented, "note")
            ));
        }
        if !read.warning.trim().is_empty() {
            self.remarks.push(format!(
                "[{number}] tries to instruct its readers, as the model says: {}",
                clipped(&read.warning)
            ));
        }
        follow
    }
}

fn now() -> Timestamp {
    i64::try_from(time::now_ms()).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or_default()
}
