//! `docs-report.md`: what was found, what is proposed, and what nobody could tell.

use std::fmt::Write as _;

use jiff::civil::Date;
use sortie_agent::counted;

use crate::edit::{Proposal, State};
use crate::files::Found;
use crate::links::Looked;

/// All that a mission found out.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) found: Found,
    /// Pages that nobody looked at for too long: path, date, days.
    pub(crate) stale: Vec<(String, Date, i32)>,
    /// Pages that say no date.
    pub(crate) undated: Vec<String>,
    /// Pages whose date cannot be read, or is to come: path, what it says.
    pub(crate) odd_dates: Vec<(String, String)>,
    /// Nothing, where links were not to be looked at.
    pub(crate) looked: Option<Looked>,
    pub(crate) proposals: Vec<Proposal>,
    /// What a reader should know: notes of the model, why nothing is proposed.
    pub(crate) notes: Vec<String>,
    /// Why not everything was looked at.
    pub(crate) cut: Option<String>,
}

impl Findings {
    /// In a line for people.
    pub(crate) fn in_words(&self) -> String {
        let mut words = format!("{}, {} stale", counted(self.found.pages.len(), "page"), self.stale.len());
        if !self.undated.is_empty() {
            let _ = write!(words, ", {} without a date", self.undated.len());
        }
        if let Some(looked) = &self.looked {
            let _ = write!(words, ", {} of {} broken", looked.broken.len(), counted(looked.count, "link"));
            if !looked.unclear.is_empty() {
                let _ = write!(words, " ({} not clear)", looked.unclear.len());
            }
        }
        let made = self.proposals.iter().filter(|proposal| proposal.state == State::Made).count();
        let _ = write!(words, "; edits proposed for {}, {made} made", counted(self.proposals.len(), "page"));
        let in_part =
            self.proposals.iter().filter(|proposal| matches!(proposal.state, State::MadeInPart { .. })).count();
        if in_part > 0 {
            let _ = write!(words, ", {in_part} made in part");
        }
        words
    }

    /// The report.
    pub(crate) fn markdown(&self, title: &str, today: Date) -> String {
        let mut page = format!("# {}\n\nOn {today}: {}.\n", one_line(title), self.in_words());
        if let Some(cut) = &self.cut {
            let _ = write!(page, "\n**Not everything was looked at: {cut}**\n");
        }
        if self.found.more {
            page.push_str("\n**There are more pages than one mission looks at.**\n");
        }
        list(
            &mut page,
            "Stale",
            self.stale.iter().map(|(path, date, days)| format!("{}: {date}, {days} days ago", code(path))),
        );
        list(
            &mut page,
            "Dates that say nothing",
            self.odd_dates.iter().map(|(path, says)| format!("{}: {}", code(path), one_line(says))),
        );
        list(&mut page, "Without a date", self.undated.iter().map(|path| code(path)));
        if let Some(looked) = &self.looked {
            list(
                &mut page,
                "Broken links",
                looked.broken.iter().map(|broken| {
                    let instead = broken.instead.as_ref().map(|instead| format!("; perhaps {}", code(instead)));
                    format!(
                        "{} line {}: {}: {}{}",
                        code(&broken.page),
                        broken.line,
                        code(&broken.written),
                        one_line(&broken.why),
                        instead.unwrap_or_default()
                    )
                }),
            );
            list(
                &mut page,
                "Links of which nobody can tell",
                looked.unclear.iter().map(|(link, why)| format!("{}: {}", code(link), one_line(why))),
            );
        }
        list(&mut page, "Edits", self.proposals.iter().map(proposed));
        list(&mut page, "Notes", self.notes.iter().map(|note| one_line(note)));
        list(
            &mut page,
            "Pages that were not read",
            self.found.unread.iter().map(|(path, why)| format!("{}: {}", code(path), one_line(why))),
        );
        page
    }
}

fn proposed(proposal: &Proposal) -> String {
    let state = match &proposal.state {
        State::Proposed => "proposed".to_owned(),
        State::Made => "made".to_owned(),
        State::Declined(answer) if answer.is_empty() => "declined".to_owned(),
        State::Declined(answer) => format!("declined: “{}”", one_line(answer)),
        State::Failed(why) => format!("not made: {}", one_line(why)),
        State::MadeInPart { made, why } => {
            format!(
                "**made in part: {made} of {}, in this order**; the next one was not made: {}",
                proposal.edits.len(),
                one_line(why)
            )
        }
    };
    let mut lines = format!("{}: {state}", code(&proposal.path));
    for edit in &proposal.edits {
        let _ = write!(lines, "\n  - {}", one_line(&edit.why));
    }
    for address in proposal.new_addresses() {
        let _ = write!(lines, "\n  - **new on the page, look at it first:** {}", code(&address));
    }
    for dropped in &proposal.dropped {
        let _ = write!(lines, "\n  - left out: {}", one_line(dropped));
    }
    lines
}

fn list(page: &mut String, heading: &str, lines: impl Iterator<Item = String>) {
    let lines: Vec<String> = lines.collect();
    if !lines.is_empty() {
        let _ = write!(page, "\n## {heading}\n\n");
        for line in lines {
            let _ = writeln!(page, "- {line}");
        }
    }
}

/// As it is written, in one line; it cannot leave its marks.
pub(crate) fn code(text: &str) -> String {
    format!("`{}`", text.split_whitespace().collect::<Vec<_>>().join(" ").replace('`', "'"))
}

/// In one line, without markup of HTML, images or links.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('<', "&lt;").replace('[', "\\[")
}
