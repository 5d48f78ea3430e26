//! What a plugin says of its work: milestones, log lines, verdicts on the success criteria.
//!
//! Owned here: the last word on each, and how many notes there are. Never here: what follows from a verdict.

use alloc::borrow::ToOwned as _;
use alloc::string::String;
use alloc::vec::Vec;

use sortie_contract::outcome::Verdict;

/// What was said so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    /// How many criteria there are to be judged.
    criteria: usize,
    /// By criterion; shorter than the list of criteria where the last ones were never judged.
    judgements: Vec<(Verdict, String)>,
    /// Log lines and milestones so far.
    notes: u32,
    last_milestone: Option<String>,
}

/// Something that is said.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ReportStep<'a> {
    /// A step worth a person's attention.
    Milestone(&'a str),
    /// A log line.
    Logged,
    /// A criterion, by its index.
    Judged { criterion: u32, verdict: Verdict, evidence: &'a str },
    /// The run that said it all is of no account: the next will say it again.
    Forgotten,
}

/// Why something cannot have been said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReportMisfit {
    /// A verdict on something else.
    #[error("it has no criterion {criterion}")]
    NoCriterion {
        /// The index that was judged.
        criterion: u32,
    },
}

impl Report {
    /// Nothing yet, on so many criteria.
    pub(crate) fn new(criteria: usize) -> Self {
        Self { criteria, judgements: Vec::new(), notes: 0, last_milestone: None }
    }

    /// Takes up what was said.
    ///
    /// # Errors
    /// [`ReportMisfit`]; nothing has changed then.
    pub(crate) fn apply(&mut self, step: ReportStep<'_>) -> Result<(), ReportMisfit> {
        match step {
            ReportStep::Milestone(text) => {
                self.notes += 1;
                self.last_milestone = Some(text.to_owned());
            }
            ReportStep::Logged => self.notes += 1,
            ReportStep::Judged { criterion, verdict, evidence } => {
                let index = usize::try_from(criterion).ok().filter(|index| *index < self.criteria);
                let index = index.ok_or(ReportMisfit::NoCriterion { criterion })?;
                if self.judgements.len() <= index {
                    self.judgements.resize(index + 1, (Verdict::NotJudged, String::new()));
                }
                self.judgements[index] = (verdict, evidence.to_owned());
            }
            ReportStep::Forgotten => {
                self.judgements = Vec::new();
                self.last_milestone = None;
            }
        }
        Ok(())
    }

    /// What was found of a criterion; `None` where nobody looked.
    pub(crate) fn judgement(&self, criterion: usize) -> Option<(Verdict, &str)> {
        self.judgements.get(criterion).map(|(verdict, evidence)| (*verdict, evidence.as_str()))
    }

    /// How many log lines and milestones there are.
    pub(crate) fn notes(&self) -> u32 {
        self.notes
    }

    /// The latest milestone.
    pub(crate) fn last_milestone(&self) -> Option<&str> {
        self.last_milestone.as_deref()
    }
}
