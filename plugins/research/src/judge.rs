//! What becomes of the success criteria.
//!
//! The model says of each whether it is met; its word alone is marked as such. Where a citation or a quotation had to be taken out of the
//! report, no criterion is met: what the report rests on is not what it said. Criteria that speak of sources are judged by the figures of
//! the check besides.

use sortie_plugin::Brief;
use sortie_plugin::report::{self, Verdict};

use crate::report::{Check, Draft, Judged};
use crate::source::clipped;

/// Words by which a criterion is one about sources.
const ABOUT_SOURCES: [&str; 5] = ["source", "cite", "citation", "quot", "reference"];

const NUMBERS: [&str; 10] = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];

/// Judges each criterion of a mission that has a report.
pub(crate) fn each(brief: &Brief, draft: &Draft, check: Check, cut: Option<&str>) {
    for (index, criterion) in brief.success_criteria.iter().enumerate() {
        let says = draft
            .criteria
            .iter()
            .rfind(|judged| usize::try_from(judged.criterion).is_ok_and(|number| number == index + 1));
        let (verdict, evidence) = verdict(criterion, says, check, cut);
        report::judge(index, verdict, evidence);
    }
}

/// Judges none, because there is no report.
pub(crate) fn none(brief: &Brief, why: &str) {
    for index in 0..brief.success_criteria.len() {
        report::judge(index, Verdict::NotJudged, format!("there is no report: {why}"));
    }
}

fn verdict(criterion: &str, says: Option<&Judged>, check: Check, cut: Option<&str>) -> (Verdict, String) {
    let small = criterion.to_lowercase();
    let is_about_sources = ABOUT_SOURCES.iter().any(|word| small.contains(word));
    let removed = check.citations_removed + check.quotations_removed;
    let figures = check.in_words();
    if check.claims == 0 {
        return (Verdict::NotJudged, "the report says nothing".to_owned());
    }
    if removed > 0 {
        return (Verdict::Unmet, format!("the report does not stand as it was written: {figures}"));
    }
    if is_about_sources && !check.is_sound() {
        return (Verdict::Unmet, figures);
    }
    if is_about_sources && let Some(fewest) = at_least(&small).filter(|fewest| check.sources_cited < *fewest) {
        return (Verdict::Unmet, format!("at least {fewest} are asked for: {figures}"));
    }
    let Some(says) = says else { return (Verdict::NotJudged, format!("the model does not say; {figures}")) };
    let word = format!("the model's word: {}", clipped(&says.because));
    let evidence = if is_about_sources { format!("{figures}; {word}") } else { word };
    match (says.met, cut) {
        (false, _) => (Verdict::Unmet, evidence),
        (true, None) => (Verdict::Met, evidence),
        (true, Some(cut)) => (Verdict::NotJudged, format!("{evidence}; but the mission was cut short: {cut}")),
    }
}

/// The number in `at least three sources`.
fn at_least(criterion: &str) -> Option<usize> {
    let word = criterion.split_once("at least ")?.1.split_whitespace().next()?;
    word.parse().ok().or_else(|| NUMBERS.iter().position(|number| *number == word).map(|index| index + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_criterion_is_met_only_where_the_report_stands() {
        let sound = Check { claims: 4, quotations: 2, sources_cited: 2, ..Check::default() };
        let open = Check { without_source: 1, ..sound };
        let forged = Check { citations_removed: 1, ..sound };
        let invented = Check { quotations_removed: 1, ..sound };
        let (yes, no) = (Some(true), Some(false));
        for (criterion, says, check, cut, expected) in [
            ("it is clear", yes, sound, None, Verdict::Met),
            ("it is clear", no, sound, None, Verdict::Unmet),
            ("it is clear", None, sound, None, Verdict::NotJudged),
            ("it is clear", yes, open, None, Verdict::Met),
            ("it is clear", yes, forged, None, Verdict::Unmet),
            ("it is clear", yes, invented, None, Verdict::Unmet),
            ("it is clear", yes, sound, Some("late"), Verdict::NotJudged),
            ("it is clear", yes, Check::default(), None, Verdict::NotJudged),
            ("Every claim has a source", yes, sound, None, Verdict::Met),
            ("Every claim has a source", yes, open, None, Verdict::Unmet),
            ("Every claim has a source", no, sound, None, Verdict::Unmet),
            ("it cites at least two sources", yes, sound, None, Verdict::Met),
            ("it cites at least three sources", yes, sound, None, Verdict::Unmet),
            ("it cites at least 3 sources", yes, sound, None, Verdict::Unmet),
        ] {
            let judged = says.map(|met| Judged { criterion: 1, met, because: "so".to_owned() });
            let (found, evidence) = verdict(criterion, judged.as_ref(), check, cut);
            assert_eq!(found, expected, "{criterion} {says:?} {cut:?}: {evidence}");
        }
    }
}
