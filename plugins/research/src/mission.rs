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

use sortie_agent::Transcript;
use sortie_plugin::{Brief, Failure, Outcome, Tools, artifacts, limits, model};

use crate::address::{Address, Origin};
use crate::ask::{Question, Said, ask};
use crate::flight::Flight;
use crate::inputs::Inputs;
use crate::source::{Sources, clipped};

mod gather;
mod write;

/// How much of a page a model is shown at most, in bytes.
const SHOWN_BYTES_MAX: usize = 60_000;

/// Longest note and quotation that are kept, in bytes: what is longer is no note.
const NOTE_BYTES_MAX: usize = 2_000;

/// What a page says on a question; the words were found on it.
#[derive(Debug, Clone)]
struct Note {
    source: usize,
    question: usize,
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
        for _ in 0..=self.inputs.depth {
            let new = self.fetch(next);
            next = self.read(&new)?;
            if next.is_empty() || self.cut.is_some() {
                break;
            }
        }
        if self.sources.fetched.is_empty() {
            return self.nothing_reached();
        }
        // What comes now may take long: what there is, is stored before.
        let page = self.page_of_notes();
        self.store(
            &page,
            &["The report itself is not written: these are the notes that it was to be written from.".to_owned()],
        )?;
        self.report(&page)
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

fn or_nothing(why: &str) -> String {
    if why.is_empty() { "it says not why".to_owned() } else { clipped(why) }
}

fn clipped_to(text: &str, bytes: usize) -> String {
    text[..text.floor_char_boundary(bytes)].to_owned()
}
