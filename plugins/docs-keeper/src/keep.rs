//! A night's work: pages are read, dates and links are looked at, edits are proposed, and made where somebody wants them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use sortie_agent::counted;
use sortie_plugin::report::{self as told, Verdict};
use sortie_plugin::{Brief, CallError, Failure, Outcome, Tools, artifacts, human, json, limits, model, time};

use crate::date::{self, Dated};
use crate::edit::{Edit, Proposal, State};
use crate::inputs::{Ask, Inputs};
use crate::report::{Findings, code};
use crate::suggest::{Asked, suggest};
use crate::{files, links};

/// Most pages that a model is asked about.
const SUGGESTED_MAX: usize = 20;

/// So many answers that are none, one after the other, say that there will be no other.
const UNANSWERED_MAX: usize = 3;

/// Longest question, in bytes: what the node takes.
const QUESTION_BYTES_MAX: usize = 4_096;

/// Criteria that the plugin judges, as the envelope must write them.
const NOTHING_STALE: &str = "no page is stale";
const NOTHING_BROKEN: &str = "no link is broken";
const ALL_DATED: &str = "every page has a date";

/// Does the mission.
///
/// # Errors
/// Where it could not look at what it was to look at.
pub(crate) fn run(brief: &Brief, tools: &Tools, inputs: &Inputs) -> Result<Outcome, Failure> {
    if let Some(failure) = inputs.model.as_deref().and_then(|name| sortie_agent::missing_model(Some(name))) {
        return Err(failure);
    }
    let now = Timestamp::from_millisecond(i64::try_from(time::now_ms()).unwrap_or(i64::MAX)).unwrap_or(Timestamp::MAX);
    let (today, stale_before) = inputs.stale_before(now.to_zoned(TimeZone::UTC).date());
    let closing = limits::closing();
    let mut is_over = false;
    let mut go_on = || {
        is_over |= closing.is_given();
        !is_over
    };
    work(brief, tools, inputs, (today, stale_before), &mut go_on)
}

/// The work of a night, for as long as `go_on` says.
pub(crate) fn work(
    brief: &Brief,
    tools: &Tools,
    inputs: &Inputs,
    (today, stale_before): (Date, Date),
    mut go_on: &mut dyn FnMut() -> bool,
) -> Result<Outcome, Failure> {
    let mut findings = Findings { found: files::pages(tools, inputs.patterns(), &mut go_on)?, ..Findings::default() };
    look_at_dates(&mut findings, today, stale_before);
    told::milestone(format!("{} read, {} stale", counted(findings.found.pages.len(), "page"), findings.stale.len()));
    if inputs.check_links && go_on() {
        let looked = links::look(tools, &findings.found.pages, &mut go_on);
        told::milestone(format!("{} looked at, {} broken", counted(looked.count, "link"), looked.broken.len()));
        findings.looked = Some(looked);
    }
    let mut is_whole = go_on();
    if is_whole && inputs.propose {
        is_whole = propose(&mut findings, inputs, &mut go_on);
        let would_ask = inputs.ask != Ask::Never && !findings.proposals.is_empty();
        // A limit that comes meanwhile leaves no time to wait for people.
        is_whole &= go_on() || !would_ask;
    }
    if !is_whole {
        findings.cut = Some("the mission came to the end of its time or its budget".to_owned());
    }
    if !go_on() {
        limits::land();
    }

    store(brief, &findings, today)?;
    if findings.cut.is_none() {
        ask(&mut findings, tools, inputs.ask);
        if inputs.ask != Ask::Never {
            store(brief, &findings, today)?;
        }
    }
    judge(brief, &findings);
    let summary = findings.in_words();
    match &findings.cut {
        Some(cut) => Err(Failure::new(format!("{summary}; not everything was looked at: {cut}"))
            .next_action("Give it more time, or fewer pages; what was found is in docs-report.md.")),
        None if findings.found.pages.is_empty() => {
            Err(Failure::new(format!("no page was read: {} match", findings.found.unread.len()))
                .next_action("Look at inputs.pages: it is a pattern of Glob over the workspace."))
        }
        None => Ok(Outcome::new(summary).next_action(next(&findings))),
    }
}

fn next(findings: &Findings) -> &'static str {
    match findings.proposals.iter().any(|proposal| proposal.state == State::Proposed) {
        true => "Read proposals.patch, and apply it with `git apply`.",
        false => "Read docs-report.md.",
    }
}

fn look_at_dates(findings: &mut Findings, today: Date, stale_before: Date) {
    for (path, page) in &findings.found.pages {
        match date::of_page(&page.text) {
            Dated::Not => findings.undated.push(path.clone()),
            Dated::Unclear(says) => findings.odd_dates.push((path.clone(), says)),
            Dated::On { date, says } if date > today => {
                findings.odd_dates.push((path.clone(), format!("{says}, which is to come")));
            }
            Dated::On { date, .. } if date < stale_before => {
                let days = (today - date).get_days();
                findings.stale.push((path.clone(), date, days));
            }
            Dated::On { .. } => {}
        }
    }
    findings.stale.sort_by_key(|(path, date, _)| (*date, path.clone()));
}

/// Edits that follow from what was found; and those of a model, where there is one. Whether there was the time for all of them.
fn propose(findings: &mut Findings, inputs: &Inputs, go_on: &mut dyn FnMut() -> bool) -> bool {
    let mut is_whole = true;
    let mut about: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (path, date, days) in &findings.stale {
        about.entry(path.clone()).or_default().push(format!("nobody looked at it since {date}, {days} days ago"));
    }
    let mut proposals: BTreeMap<String, Proposal> = BTreeMap::new();
    for broken in findings.looked.iter().flat_map(|looked| &looked.broken) {
        let finding = format!("line {}: the link {} leads nowhere: {}", broken.line, code(&broken.written), broken.why);
        about.entry(broken.page.clone()).or_default().push(finding);
        let (Some(instead), Some(page)) = (&broken.instead, findings.found.pages.get(&broken.page)) else { continue };
        let proposal = proposals.entry(broken.page.clone()).or_insert_with(|| Proposal::new(&page.path, &page.text));
        let why =
            format!("the link {} leads nowhere ({}); there is {}", code(&broken.written), broken.why, code(instead));
        mend_link(proposal, &broken.written, instead, &why);
    }
    let has_model = inputs.model.is_some() || model::describe().iter().any(|model| model.is_default);
    if !has_model && !about.is_empty() {
        findings
            .notes
            .push("This node has no default model: edits are proposed only where one follows by itself.".to_owned());
    }
    let mut unanswered = 0;
    for (count, (path, about)) in about.iter().enumerate().filter(|_| has_model) {
        let Some(page) = findings.found.pages.get(path) else { continue };
        is_whole = go_on();
        if count == SUGGESTED_MAX || unanswered == UNANSWERED_MAX || !is_whole {
            findings.notes.push(format!(
                "The model was asked about {} of {}.",
                count,
                counted(about_pages(count, findings), "page")
            ));
            break;
        }
        let proposal = proposals.entry(path.clone()).or_insert_with(|| Proposal::new(&page.path, &page.text));
        match suggest(proposal, about, inputs.model.as_deref()) {
            Asked::Well(note) => {
                unanswered = 0;
                findings
                    .notes
                    .extend(Some(note).filter(|note| !note.trim().is_empty()).map(|note| format!("{path}: {note}")));
            }
            Asked::Not(why) => {
                unanswered += 1;
                findings.notes.push(format!("{path}: the model proposes nothing: {why}"));
            }
            Asked::Spent(why) => {
                findings.notes.push(format!("The model was not asked about {path} and what follows: {why}"));
                break;
            }
        }
    }
    let is_one = |proposal: &Proposal| !proposal.edits.is_empty() || !proposal.dropped.is_empty();
    findings.proposals = proposals.into_values().filter(is_one).collect();
    let pages = findings.proposals.iter().filter(|proposal| !proposal.edits.is_empty()).count();
    told::milestone(format!("edits are proposed for {}", counted(pages, "page")));
    is_whole
}

/// How many pages there is something to say about, of which `asked` were asked about.
fn about_pages(asked: usize, findings: &Findings) -> usize {
    let mut pages: Vec<&str> = findings.stale.iter().map(|(path, ..)| path.as_str()).collect();
    pages.extend(findings.looked.iter().flat_map(|looked| &looked.broken).map(|broken| broken.page.as_str()));
    pages.sort_unstable();
    pages.dedup();
    pages.len().max(asked)
}

/// Writes a link otherwise wherever the page has it.
fn mend_link(proposal: &mut Proposal, written: &str, instead: &str, why: &str) {
    let places = [("](", ")"), ("](", " "), ("](<", ">"), ("]: ", "\n")];
    let mut is_mended = false;
    for (before, behind) in places {
        let old = format!("{before}{written}{behind}");
        if proposal.after.contains(&old) {
            is_mended = true;
            proposal.add(Edit { old, new: format!("{before}{instead}{behind}"), all: true, why: why.to_owned() });
        }
    }
    if !is_mended {
        proposal.dropped.push(format!("{why}: it is not written in a way that can be changed by itself"));
    }
}

/// Stores the report and the patch.
fn store(brief: &Brief, findings: &Findings, today: Date) -> Result<(), Failure> {
    artifacts::put("docs-report.md", "text/markdown", findings.markdown(&brief.objective, today))?;
    let patch: String =
        findings.proposals.iter().filter(|proposal| !proposal.edits.is_empty()).map(Proposal::patch).collect();
    if !patch.is_empty() {
        artifacts::put("proposals.patch", "text/x-diff", patch)?;
    }
    Ok(())
}

/// Asks people, and makes the edits that they want.
fn ask(findings: &mut Findings, tools: &Tools, ask: Ask) {
    let may_write = tools.get("Edit").is_some() || (tools.get("Write").is_some() && tools.get("Read").is_some());
    let proposals: Vec<&mut Proposal> =
        findings.proposals.iter_mut().filter(|proposal| !proposal.edits.is_empty()).collect();
    if ask == Ask::Never || proposals.is_empty() {
        return;
    }
    if !may_write {
        findings.notes.push("Nobody was asked: the mission was not granted Edit or Write.".to_owned());
        return;
    }
    if ask == Ask::All {
        let patch: String = proposals.iter().map(|proposal| proposal.patch()).collect();
        let paths: Vec<String> = proposals.iter().map(|proposal| describe(proposal)).collect();
        let answer =
            human::ask(&question(&format!("Make these edits of {}?", counted(paths.len(), "page")), &paths, &patch));
        for proposal in proposals {
            proposal.state = decided(&answer, || make(proposal, tools));
        }
        return;
    }
    for proposal in proposals {
        let asked =
            question(&format!("Make these edits of {}?", proposal.path), &[describe(proposal)], &proposal.patch());
        let answer = human::ask(&asked);
        proposal.state = decided(&answer, || make(proposal, tools));
    }
}

/// What becomes of a proposal after an answer. Only a clear yes is one.
fn decided(answer: &Result<String, CallError>, make: impl FnOnce() -> State) -> State {
    let answer = match answer {
        Ok(answer) => answer.trim(),
        Err(CallError::Denied(why)) => return State::Declined(why.clone()),
        Err(error) => return State::Failed(error.to_string()),
    };
    match answer.to_ascii_lowercase().trim_end_matches(['.', '!']) {
        "yes" | "y" | "apply" => make(),
        _ => State::Declined(answer.to_owned()),
    }
}

fn describe(proposal: &Proposal) -> String {
    let why: Vec<&str> = proposal.edits.iter().map(|edit| edit.why.as_str()).collect();
    let new = proposal.new_addresses();
    let new = if new.is_empty() { String::new() } else { format!(" New addresses: {}.", new.join(", ")) };
    format!("{}: {}.{new}", proposal.path, why.join("; "))
}

/// A question that people can decide from, within what the node takes.
fn question(asks: &str, about: &[String], patch: &str) -> String {
    const REST: &str = "\n… (the whole is in the artifact proposals.patch)";
    const ANSWER: &str = "\n\nAnswer `yes` to have them made; anything else is a no.";
    let mut question = format!("{asks}\n\n{}\n\n{patch}", about.join("\n"));
    if question.len() + ANSWER.len() > QUESTION_BYTES_MAX {
        let room = QUESTION_BYTES_MAX - ANSWER.len() - REST.len();
        question.truncate(question.floor_char_boundary(room));
        question.push_str(REST);
    }
    question + ANSWER
}

/// Makes the edits of a page that is still as it was when it was read: several at once with one `Write`, where that is granted.
fn make(proposal: &Proposal, tools: &Tools) -> State {
    if let Some(read) = tools.get("Read") {
        match read.call(&json!({ "path": proposal.path })) {
            Ok(file) if file["content"].as_str() == Some(proposal.before.as_str()) => {}
            Ok(_) => return State::Failed("the page has changed since it was read".to_owned()),
            Err(error) => return State::Failed(error.to_string()),
        }
    }
    let edit = tools.get("Edit");
    if let Some(write) = tools.get("Write").filter(|_| edit.is_none() || proposal.edits.len() > 1) {
        let whole = json!({ "path": proposal.path, "content": proposal.after });
        return write.call(&whole).map_or_else(|error| State::Failed(error.to_string()), |_| State::Made);
    }
    let Some(edit) = edit else {
        return State::Failed("the mission was not granted Edit or Write".to_owned());
    };
    for (made, Edit { old, new, all, .. }) in proposal.edits.iter().enumerate() {
        let arguments = json!({ "path": proposal.path, "old": old, "new": new, "all": all });
        match edit.call(&arguments) {
            Ok(_) => {}
            Err(error) if made == 0 => return State::Failed(error.to_string()),
            Err(error) => return State::MadeInPart { made, why: error.to_string() },
        }
    }
    State::Made
}

/// Judges what a program can judge; everything else is for whoever reads the report.
fn judge(brief: &Brief, findings: &Findings) {
    for (index, criterion) in brief.success_criteria.iter().enumerate() {
        let looked = findings.looked.as_ref();
        let (holds, evidence) = match criterion.trim().trim_end_matches('.').to_lowercase().as_str() {
            NOTHING_STALE => (Some(findings.stale.is_empty()), format!("{} stale", findings.stale.len())),
            ALL_DATED => {
                let without = findings.undated.len() + findings.odd_dates.len();
                (Some(without == 0), format!("{without} without a date that can be read"))
            }
            NOTHING_BROKEN => match looked {
                Some(looked) if looked.broken.is_empty() && !looked.unclear.is_empty() => {
                    (None, format!("none is found to be broken; of {} nobody can tell", looked.unclear.len()))
                }
                Some(looked) => (Some(looked.broken.is_empty()), format!("{} broken", looked.broken.len())),
                None => (None, "links were not looked at".to_owned()),
            },
            _ => (None, findings.in_words()),
        };
        let is_whole = findings.cut.is_none() && findings.found.unread.is_empty() && !findings.found.more;
        let verdict = match holds {
            Some(false) => Verdict::Unmet,
            Some(true) if is_whole => Verdict::Met,
            _ => Verdict::NotJudged,
        };
        told::judge(index, verdict, evidence);
    }
}
