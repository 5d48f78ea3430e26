//! A mission: questions, pages, notes, a report. Each step does what it can, and says what it could not.
//!
//! 1. The objective becomes questions and searches, unless the envelope has all that is needed.
//! 2. What was given and found is fetched side by side; then what those pages link to and a reader asks for, up to `depth` steps.
//! 3. A model reads each page by itself, without tools, and notes what it says, with its words. Words that the page does not have are no
//!    note.
//! 4. A model drafts the report from the notes; the plugin holds it against the sources, and has it mended once.
//!
//! Before each step it is looked at whether a limit is near. Then what there is becomes the report: the notes are one, too.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Deserialize;
use sortie_agent::Transcript;
use sortie_plugin::{Brief, Failure, Outcome, Tools, Value, artifacts, json, limits, model, report as told, time};

use crate::address::{Address, Origin};
use crate::ask::{Question, Said, ask};
use crate::flight::Flight;
use crate::inputs::{Inputs, PAGES_MAX, QUESTIONS_MAX};
use crate::report::{About, Claim, Draft, Quote, Report, Section, counted, schema};
use crate::source::{Source, Sources, Unreached, clipped};
use crate::{judge, words};

/// Pages that are fetched, and read, side by side.
const FETCHED_AT_ONCE: usize = 8;
const READ_AT_ONCE: usize = 4;

/// Most searches, and most results of each that are fetched.
const SEARCHES_MAX: usize = 6;
const RESULTS_MAX: usize = 5;

/// How much of a page is fetched, and how much of it a model is shown at most, in bytes.
const PAGE_BYTES_MAX: usize = 256 << 10;
const SHOWN_BYTES_MAX: usize = 60_000;

/// Most notes of a page, and most links of it that are followed.
const NOTES_MAX: usize = 20;
const FOLLOWED_MAX: usize = 4;

/// Longest note and quotation that are kept, in bytes: what is longer is no note.
const NOTE_BYTES_MAX: usize = 2_000;

/// Most of all notes that a report is written from, in bytes.
const NOTES_BYTES_MAX: usize = 150_000;

/// Longest answers, in tokens.
const PLAN_TOKENS_MAX: u64 = 1_500;
const READ_TOKENS_MAX: u64 = 3_000;
const REPORT_TOKENS_MAX: u64 = 8_000;

/// What a page says on a question; the words were found on it.
#[derive(Debug, Clone)]
struct Note {
    source: usize,
    question: usize,
    claim: String,
    quote: String,
}

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

/// A mission at work.
struct Mission<'a> {
    brief: &'a Brief,
    tools: &'a Tools,
    inputs: &'a Inputs,
    flight: Flight,
    transcript: Transcript,
    questions: Vec<String>,
    sources: Sources,
    /// Everything that is, or was, to be fetched.
    known: BTreeSet<Address>,
    notes: Vec<Note>,
    /// What a reader of the report should know first.
    remarks: Vec<String>,
    /// Why not everything was done that was to be done.
    cut: Option<String>,
}

/// Does the mission.
///
/// # Errors
/// Where there is no report that answers for itself: why, and what to do.
pub(crate) fn run(brief: &Brief, tools: &Tools, inputs: &Inputs) -> Result<Outcome, Failure> {
    if let Some(failure) = sortie_agent::missing_model(inputs.model.as_deref()) {
        return Err(failure);
    }
    tools.require("WebFetch")?;
    let given = inputs.addresses();
    if given.is_empty() && tools.get("WebSearch").is_none() {
        return Err(Failure::new("there is nothing to read: no sources are given, and the mission was not granted WebSearch")
            .next_action("Give inputs.sources, or add WebSearch to constraints.allowed_tools (it needs an engine in the node's configuration)."));
    }
    let mut mission = Mission {
        brief,
        tools,
        inputs,
        flight: Flight::new(),
        transcript: Transcript::default(),
        questions: inputs.questions.clone(),
        sources: Sources::default(),
        known: BTreeSet::new(),
        notes: Vec::new(),
        remarks: Vec::new(),
        cut: None,
    };
    let ended = mission.work(given);
    // Whatever became of it: what was said is there to be looked at.
    artifacts::put("transcript.jsonl", "application/jsonl", mission.transcript.text())?;
    ended
}

impl Mission<'_> {
    fn work(&mut self, given: Vec<Address>) -> Result<Outcome, Failure> {
        let searches = self.plan(given.is_empty())?;
        let mut next: Vec<(Address, Origin)> = given.into_iter().map(|address| (address, Origin::Given)).collect();
        next.extend(self.search(&searches));
        for step in 0..=self.inputs.depth {
            let new = self.fetch(next);
            let is_last = step == self.inputs.depth;
            next = self.read(&new, is_last)?;
            if next.is_empty() || self.cut.is_some() {
                break;
            }
        }
        if self.sources.fetched.is_empty() {
            return self.nothing_reached();
        }
        // What comes now may take long: what there is, is stored before.
        let page = self.from_notes();
        self.store(
            &page,
            &["The report itself is not written: these are the notes that it was to be written from.".to_owned()],
        )?;
        self.report(page)
    }

    /// What is asked, and what is searched for.
    fn plan(&mut self, must_search: bool) -> Result<Vec<String>, Failure> {
        let may_search = self.tools.get("WebSearch").is_some();
        if !self.questions.is_empty() && !may_search {
            return Ok(Vec::new());
        }
        let asked = if self.questions.is_empty() {
            String::new()
        } else {
            format!("\n\nThese questions are given:\n{}", words::numbered(self.given_questions()))
        };
        let question = Question {
            about: "plan".to_owned(),
            system: words::PLAN,
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
                    clipped(&why)
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
            counted(searches.len(), "search").replace("searchs", "searches")
        ));
        Ok(searches)
    }

    fn given_questions(&self) -> impl Iterator<Item = &str> {
        self.questions.iter().map(String::as_str)
    }

    /// What a search engine finds, best first, each address once.
    fn search(&mut self, searches: &[String]) -> Vec<(Address, Origin)> {
        let Some(tool) = self.tools.get("WebSearch").filter(|_| !searches.is_empty()) else { return Vec::new() };
        let start = |query: &String| tool.start(&json!({ "query": query, "count": RESULTS_MAX }));
        let answers = self.flight.all(searches, FETCHED_AT_ONCE, start, |_| {});
        let mut found: Vec<(Address, Origin)> = Vec::new();
        for (query, answer) in searches.iter().zip(answers) {
            let results = match &answer {
                Some(Ok(results)) => results["results"].as_array().map_or(&[][..], Vec::as_slice),
                Some(Err(error)) => {
                    self.remarks.push(format!("The search for “{query}” failed: {}", clipped(&error.to_string())));
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
    fn fetch(&mut self, wanted: Vec<(Address, Origin)>) -> Vec<usize> {
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
                    self.sources.unreached.push(Unreached { url: address.to_string(), origin, why: clipped(&why) })
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
    fn read(&mut self, new: &[usize], is_last: bool) -> Result<Vec<(Address, Origin)>, Failure> {
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
                Said::Well(notes) => follow.extend(self.note(*number, notes, is_last)),
                Said::Refused(why) => {
                    refused += 1;
                    self.remarks.push(format!("The model refused to read [{number}]: {}", or_nothing(&why)));
                }
                Said::Nothing(why) => self.remarks.push(format!("[{number}] was not read: {}", clipped(&why))),
                Said::Spent(why) => {
                    self.cut = Some(format!("the budget was spent before [{number}] was read: {}", clipped(&why)))
                }
                Said::Late => self.cut_by_limit(),
            }
        }
        if refused > 0 && refused == self.sources.fetched.len() {
            let page = self.from_notes();
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
            system: words::READ,
            text: format!("{asked}\nThe page, {}.{cut}\n{}", source.asked, words::marked("PAGE", &page)),
            kept_as: Some(format!(
                "{asked}\nThe page, {}.{cut}\n(the text of {}, and its links)",
                source.asked, source.artifact
            )),
            schema: words::notes_schema(),
            max_tokens: READ_TOKENS_MAX,
        })
    }

    /// Keeps notes of a source whose words are on it, and gives the links that are to be followed.
    fn note(&mut self, number: usize, notes: Value, is_last: bool) -> Vec<(Address, Origin)> {
        let (Ok(read), Some(source)) = (serde_json::from_value::<Notes>(notes), self.sources.get(number)) else {
            return Vec::new();
        };
        let mut invented = 0;
        for noted in read.notes.into_iter().take(NOTES_MAX) {
            let question =
                usize::try_from(noted.question).ok().filter(|question| (1..=self.questions.len()).contains(question));
            if noted.quote.len() > NOTE_BYTES_MAX
                || noted.claim.len() > NOTE_BYTES_MAX
                || source.says(&noted.quote).is_err()
            {
                invented += 1;
                continue;
            }
            self.notes.push(Note {
                source: number,
                question: question.unwrap_or(1),
                claim: noted.claim,
                quote: noted.quote,
            });
        }
        let chosen =
            read.follow.iter().filter_map(|link| source.links.get(usize::try_from(*link).ok()?.checked_sub(1)?));
        let follow: Vec<(Address, Origin)> =
            chosen.take(FOLLOWED_MAX).map(|link| (link.address.clone(), Origin::Link(number))).collect();
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
        if is_last { Vec::new() } else { follow }
    }

    /// The notes as a report: a section for each question.
    fn from_notes(&self) -> Page {
        let of_question = |(index, question): (usize, &String)| Section {
            heading: question.clone(),
            claims: self.notes.iter().filter(|note| note.question == index + 1).map(Note::claim).collect(),
        };
        let sections: Vec<Section> = self.questions.iter().enumerate().map(of_question).collect();
        let open = sections
            .iter()
            .filter(|section| section.claims.is_empty())
            .map(|section| section.heading.clone())
            .collect();
        let draft = Draft { title: clipped(&self.brief.objective), sections, open, ..Draft::default() };
        Page { report: Report::check(&draft, &self.sources), draft }
    }

    /// Has the report drafted, mended where that is needed, and stored.
    fn report(&mut self, from_notes: Page) -> Result<Outcome, Failure> {
        if self.flight.must_land() {
            self.cut_by_limit();
        }
        if self.cut.is_some() {
            // What was kept for the end is for this.
            self.flight.land();
        }
        let mut drafted = self.draft_if_any_call_is_left();
        if matches!(drafted, Said::Spent(_)) && !self.flight.is_landing() {
            self.flight.land();
            drafted = self.draft_if_any_call_is_left();
        }
        let why = match drafted {
            Said::Well(draft) => match serde_json::from_value::<Draft>(draft) {
                Ok(draft) => return self.finish(draft),
                Err(error) => format!("the model's draft cannot be read: {error}"),
            },
            Said::Refused(why) => format!("the model refused to write the report: {}", or_nothing(&why)),
            Said::Nothing(why) => format!("the model wrote no report: {}", clipped(&why)),
            Said::Spent(why) => format!("the budget was spent before the report was written: {}", clipped(&why)),
            Said::Late => "the mission came to its limit before the report was written".to_owned(),
        };
        self.store(
            &from_notes,
            &[format!("No model wrote this report ({why}): these are the notes that it was to be written from.")],
        )?;
        judge::none(self.brief, &why);
        let also = self
            .cut
            .as_ref()
            .filter(|cut| !why.contains(cut.as_str()))
            .map(|cut| format!("; {cut}"))
            .unwrap_or_default();
        Err(Failure::new(format!("{why}{also}; {} are in report.md", counted(self.notes.len(), "note")))
            .next_action("Read report.md, and raise the budget or the window to have it written."))
    }

    fn draft_if_any_call_is_left(&mut self) -> Said {
        match self.answers_left() {
            Some(0) => Said::Spent("no call of a model is left".to_owned()),
            _ => self.draft(None),
        }
    }

    fn draft(&mut self, faults: Option<(&Draft, &[String])>) -> Said {
        let mut text = format!(
            "The objective:\n{}\n\nThe questions:\n{}",
            self.brief.objective,
            words::numbered(self.questions.iter().map(String::as_str))
        );
        if !self.brief.success_criteria.is_empty() {
            text.push_str(&format!(
                "\nThe success criteria:\n{}",
                words::numbered(self.brief.success_criteria.iter().map(String::as_str))
            ));
        }
        text.push_str(&format!("\nThe notes, by source:\n{}", words::marked("NOTES", &self.told_notes())));
        if let Some((draft, faults)) = faults {
            let draft = clipped_to(&draft.to_json().to_string(), NOTES_BYTES_MAX);
            let faults: String = faults.iter().take(40).map(|fault| format!("- {fault}\n")).collect();
            text.push_str(&format!("\n\nYou drafted this:\n{}\n\nThat was held against the sources, and this is wrong with it:\n{faults}\nWrite the whole report again, mended.", words::marked("DRAFT", &draft)));
        }
        let question = Question {
            about: if faults.is_some() { "report, mended".to_owned() } else { "report".to_owned() },
            system: words::REPORT,
            text,
            kept_as: None,
            schema: schema(),
            max_tokens: REPORT_TOKENS_MAX,
        };
        self.ask(&[question], 1).into_iter().next().unwrap_or(Said::Late)
    }

    /// What the notes say, in turn from each source, as much of it as a report is written from.
    fn told_notes(&self) -> String {
        let bytes_max = NOTES_BYTES_MAX.min(self.shown_bytes() * 5 / 2);
        let mut told = String::new();
        for (number, source) in self.sources.numbered() {
            let room = bytes_max * number / self.sources.fetched.len();
            told.push_str(&format!("[{number}] {}\n", source.title));
            for note in self.notes.iter().filter(|note| note.source == number) {
                let line = format!("- question {}: {} “{}”\n", note.question, note.claim, note.quote);
                if told.len() + line.len() <= room {
                    told.push_str(&line);
                }
            }
        }
        told
    }

    /// Holds a draft against the sources, has it mended once, stores it, and judges.
    fn finish(&mut self, draft: Draft) -> Result<Outcome, Failure> {
        let mut page = Page { report: Report::check(&draft, &self.sources), draft };
        let may_mend = !page.report.faults.is_empty() && !self.flight.must_land() && self.answers_left() != Some(0);
        if may_mend {
            told::info(format!("the draft is mended: {}", page.report.faults.join("; ")));
            let said = self.draft(Some((&page.draft, &page.report.faults)));
            if let Said::Well(mended) = said
                && let Ok(mended) = serde_json::from_value::<Draft>(mended)
            {
                let report = Report::check(&mended, &self.sources);
                if report.check.claims > 0 && report.faults.len() <= page.report.faults.len() {
                    page = Page { report, draft: mended };
                }
            }
        }
        self.transcript
            .add(json!({ "kind": "checked", "checked": page.report.check.to_json(), "faults": page.report.faults }));
        let check = page.report.check;
        told::milestone(format!("checked: {}", check.in_words()));
        let mut notes: Vec<String> = self.cut.iter().map(|cut| format!("This report was cut short: {cut}.")).collect();
        if check.claims == 0 {
            notes.push("The model's draft says nothing.".to_owned());
        }
        self.store(&page, &notes)?;
        judge::each(self.brief, &page.draft, check, self.cut.as_deref());
        let mut summary = check.in_words();
        if !self.sources.unreached.is_empty() {
            summary.push_str(&format!(
                "; {} not reached",
                counted(self.sources.unreached.len(), "address").replace("addresss", "addresses")
            ));
        }
        match &self.cut {
            _ if check.claims == 0 => {
                Err(Failure::new("the model's report says nothing").next_action("Look at transcript.jsonl."))
            }
            Some(cut) => Err(Failure::new(format!("cut short, because {cut}; {summary}")).next_action(
                "What was found is in report.md; give it more budget or time, or fewer sources, and run it again.",
            )),
            None if check.is_sound() => Ok(Outcome::new(summary).next_action("Read report.md.")),
            None => Ok(Outcome::new(summary).next_action("Read report.md, and look at what is marked in it.")),
        }
    }

    fn nothing_reached(&mut self) -> Result<Outcome, Failure> {
        let page = self.from_notes();
        self.store(&page, &["Nothing was reached, and so nothing is said here.".to_owned()])?;
        let unreached = &self.sources.unreached;
        let why = match (&self.cut, unreached.first()) {
            (Some(cut), _) => cut.clone(),
            (None, Some(first)) => format!(
                "none of {} could be reached; the first one, {}: {}",
                counted(unreached.len(), "page"),
                first.url,
                first.why
            ),
            (None, None) => "the searches found nothing".to_owned(),
        };
        judge::none(self.brief, &why);
        Err(Failure::new(why).of_tool("WebFetch").next_action(
            "Look at the hosts of [tool.WebFetch] in the node's configuration, and at the addresses in sources.json.",
        ))
    }

    /// `report.md` and `sources.json`; the report under the name that the envelope asks for, too.
    fn store(&self, page: &Page, notes: &[String]) -> Result<(), Failure> {
        let notes: Vec<String> = notes.iter().chain(&self.remarks).cloned().collect();
        let about = About { objective: &self.brief.objective, notes: &notes };
        let markdown = page.report.markdown(&about, &self.sources);
        artifacts::put("report.md", "text/markdown", &markdown)?;
        if let Some(name) = other_name(&self.brief.required_outputs) {
            artifacts::put(&name, "text/markdown", &markdown)?;
        }
        let sources = page.report.sources_json(&self.sources);
        let sources = serde_json::to_string_pretty(&sources).map_err(|error| Failure::new(error.to_string()))?;
        artifacts::put("sources.json", "application/json", sources + "\n")?;
        Ok(())
    }

    fn ask(&mut self, questions: &[Question], at_once: usize) -> Vec<Said> {
        ask(questions, self.inputs.model.as_deref(), at_once, &mut self.flight, &mut self.transcript)
    }

    /// How many answers of a model the budget has left; nothing where it has no limit.
    fn answers_left(&self) -> Option<usize> {
        limits::left().llm_calls.map(|calls| usize::try_from(calls).unwrap_or(usize::MAX))
    }

    /// How much of a page the model is shown: what fits into its context three times over, at two bytes for each token.
    fn shown_bytes(&self) -> usize {
        let models = model::describe();
        let is_meant = |model: &&model::ModelInfo| match &self.inputs.model {
            Some(name) => model.name == *name,
            None => model.is_default,
        };
        let context = models.iter().find(is_meant).and_then(|model| model.context_tokens);
        let room = context.map_or(SHOWN_BYTES_MAX, |tokens| usize::try_from(tokens * 2 / 3).unwrap_or(usize::MAX));
        room.clamp(4_000, SHOWN_BYTES_MAX)
    }

    fn cut_by_limit(&mut self) {
        self.cut.get_or_insert_with(|| "the mission came to the end of its time or its budget".to_owned());
    }
}

/// A draft, and what became of it.
struct Page {
    report: Report,
    draft: Draft,
}

impl Note {
    fn claim(&self) -> Claim {
        let source = i64::try_from(self.source).unwrap_or_default();
        Claim {
            text: self.claim.clone(),
            sources: vec![source],
            quotes: vec![Quote { source, text: self.quote.clone() }],
        }
    }
}

fn now() -> Timestamp {
    i64::try_from(time::now_ms()).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or_default()
}

/// Another name that the report must have: the first required output in Markdown that is not there by itself.
fn other_name(required: &[String]) -> Option<String> {
    let name = required.iter().find(|name| name.ends_with(".md"))?;
    let is_there = name == "report.md" || *name == "*.md" || name.starts_with("sources/");
    let special = |character: char| "?[]{}\\!".contains(character);
    (!is_there && !name.contains(special)).then(|| name.replace("**", "*").replace('*', "report"))
}

fn or_nothing(why: &str) -> String {
    if why.is_empty() { "it says not why".to_owned() } else { clipped(why) }
}

fn clipped_to(text: &str, bytes: usize) -> String {
    text[..text.floor_char_boundary(bytes)].to_owned()
}
