//! The report: from the notes alone, or drafted by a model and held against the sources; and what is stored of it.

use sortie_agent::{counted, marked};
use sortie_plugin::{Failure, Outcome, artifacts, json, report as told, serde_json};

use super::{Mission, Note, clipped_to, or_nothing};
use crate::ask::{Question, Said};
use crate::report::{About, Claim, Draft, Quote, Report, Section, schema};
use crate::source::reason;
use crate::{judge, words};

/// Longest report, in tokens.
const REPORT_TOKENS_MAX: u64 = 8_000;

/// Most faults of a draft that the model is told.
const FAULTS_TOLD_MAX: usize = 40;

/// Most of all notes that a report is written from, in bytes.
const NOTES_BYTES_MAX: usize = 150_000;

/// A draft, and what became of it.
pub(super) struct Page {
    report: Report,
    draft: Draft,
}

impl Mission<'_> {
    /// The notes as a report: a section for each question.
    pub(super) fn page_of_notes(&self) -> Page {
        let of_question = |(index, question): (usize, &String)| Section {
            heading: question.clone(),
            claims: self.notes.iter().filter(|note| note.question == index + 1).map(Note::claim).collect(),
        };
        let sections: Vec<Section> = self.questions.iter().enumerate().map(of_question).collect();
        let report = Report::of_notes(&sections, &self.sources);
        Page { report, draft: Draft { sections, ..Draft::default() } }
    }

    /// The objective and the questions.
    fn asked(&self) -> String {
        format!("{}\n{}", self.brief.objective, self.questions.join("\n"))
    }

    /// Has the report drafted, mended where that is needed, and stored.
    pub(super) fn report(&mut self, from_notes: &Page) -> Result<Outcome, Failure> {
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
            Said::Nothing(why) => format!("the model wrote no report: {}", reason(&why)),
            Said::Spent(why) => format!("the budget was spent before the report was written: {}", reason(&why)),
            Said::Late => "the mission came to its limit before the report was written".to_owned(),
        };
        self.store(
            from_notes,
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
        text.push_str(&format!("\nThe notes, by source:\n{}", marked("NOTES", &self.told_notes())));
        if let Some((draft, faults)) = faults {
            let draft = clipped_to(&draft.to_json().to_string(), NOTES_BYTES_MAX);
            let faults: String = faults.iter().take(FAULTS_TOLD_MAX).map(|fault| format!("- {fault}\n")).collect();
            text.push_str(&format!("\n\nYou drafted this:\n{}\n\nThat was held against the sources, and this is wrong with it:\n{faults}\nWrite the whole report again, mended.", marked("DRAFT", &draft)));
        }
        let question = Question {
            about: if faults.is_some() { "report, mended".to_owned() } else { "report".to_owned() },
            system: words::to_the_writer(),
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
            let unread = if source.is_noted { "" } else { " (no notes: it is not to be cited)" };
            told.push_str(&format!("[{number}] {}{unread}\n", source.title));
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
        let mut page = Page { report: Report::check(&draft, &self.sources, &self.asked()), draft };
        let may_mend = !page.report.faults.is_empty() && !self.flight.must_land() && self.answers_left() != Some(0);
        if may_mend {
            told::info(format!("the draft is mended: {}", page.report.faults.join("; ")));
            let said = self.draft(Some((&page.draft, &page.report.faults)));
            if let Said::Well(mended) = said
                && let Ok(mended) = serde_json::from_value::<Draft>(mended)
            {
                let report = Report::check(&mended, &self.sources, &self.asked());
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
            summary.push_str(&format!("; {} not reached", counted(self.sources.unreached.len(), "address")));
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

    pub(super) fn nothing_reached(&mut self) -> Result<Outcome, Failure> {
        let page = self.page_of_notes();
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
    pub(super) fn store(&self, page: &Page, notes: &[String]) -> Result<(), Failure> {
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

/// Another name that the report must have: the first required output in Markdown that is not there by itself.
fn other_name(required: &[String]) -> Option<String> {
    let name = required.iter().find(|name| name.ends_with(".md"))?;
    let is_there = name == "report.md" || *name == "*.md" || name.starts_with("sources/");
    let special = |character: char| "?[]{}\\!".contains(character);
    (!is_there && !name.contains(special)).then(|| name.replace("**", "*").replace('*', "report"))
}
