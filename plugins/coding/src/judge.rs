//! Whether the work is good: by commands that are run here, and by the model's word where nothing else can tell, which is then said to be
//! no more than that.
//!
//! | a criterion | is judged by |
//! | --- | --- |
//! | that is a command in backquotes and says that it passes (`` `cargo clippy` passes ``) | that command's exit code |
//! | that says that the tests pass, and no more | the exit code of `inputs.test` |
//! | any other | the model, asked for evidence, which nobody has checked |
//!
//! What could not be run is not judged: never is it said of a test that it passes that was not run.

use serde::Deserialize;
use sortie_agent::{Patience, Session, World};
use sortie_plugin::report::{self, Verdict};
use sortie_plugin::{CallError, Value, json};

use crate::place::Place;
use crate::shell::{Ran, Shell};
use crate::workshop::Workshop;

/// The command that judges the work, and how it ended.
#[derive(Debug, Clone)]
pub(crate) enum Test {
    /// Nobody named one.
    NotNamed,
    /// It may not be run, or was not: why.
    NotRun(String),
    /// It was to be run, and there is no result: why.
    NoResult(String),
    /// It was run.
    Ran(Ran),
}

/// A criterion, and what is known of it.
#[derive(Debug, Clone)]
pub(crate) struct Judged {
    pub(crate) criterion: String,
    pub(crate) verdict: Verdict,
    pub(crate) evidence: String,
}

/// Runs the command that judges the work; `None`: the mission came near a limit before it was over.
pub(crate) fn test(
    shell: Option<Shell<'_>>,
    place: &Place,
    command: Option<&str>,
    timeout_ms: Option<u64>,
    patience: &Patience,
) -> Option<Test> {
    let Some(command) = command else { return Some(Test::NotNamed) };
    let Some(shell) = shell else { return Some(Test::NotRun("the mission is not granted Bash".to_owned())) };
    Some(match shell.run_for(place, command, "run the tests that judge the work", timeout_ms, patience)? {
        Ok(ran) => Test::Ran(ran),
        // What a mission may not do is no fault of its work; all else leaves open what should have been known.
        Err(error @ CallError::Denied(_)) => Test::NotRun(error.to_string()),
        Err(error) => Test::NoResult(error.to_string()),
    })
}

impl Test {
    pub(crate) fn passes(&self) -> bool {
        matches!(self, Self::Ran(ran) if ran.is_well())
    }

    pub(crate) fn fails(&self) -> bool {
        matches!(self, Self::Ran(ran) if !ran.is_well())
    }

    /// Whether nothing speaks against the work.
    pub(crate) fn allows(&self) -> bool {
        self.passes() || matches!(self, Self::NotNamed | Self::NotRun(_))
    }

    /// With the command: what was run, how it ended, what it said at last.
    pub(crate) fn evidence(&self, command: &str) -> String {
        match self {
            Self::NotNamed => "no test was run: inputs.test names none".to_owned(),
            Self::NotRun(why) => format!("no test was run: {why}"),
            Self::NoResult(why) => format!("`{command}` has no result: {why}"),
            Self::Ran(ran) => evidence(command, ran),
        }
    }
}

fn evidence(command: &str, ran: &Ran) -> String {
    format!("`{command}`: {}\n{}", ran.how(), ran.last_lines())
}

/// What of a criterion decides it.
#[derive(Debug, PartialEq, Eq)]
enum By<'a> {
    Command(&'a str),
    Test,
    Model,
}

/// Only the plainest forms are decided without a model: what says anything beyond them asks for more than an exit code.
fn by(criterion: &str) -> By<'_> {
    if let [before, command, after] = criterion.split('`').collect::<Vec<_>>()[..]
        && !command.trim().is_empty()
        && ["", "the command"].contains(&plain(before).as_str())
        && PASSES.contains(&plain(after).as_str())
    {
        return By::Command(command.trim());
    }
    let text = plain(criterion);
    let words: Vec<&str> = text.split(' ').collect();
    let is_all = |words: &[&str]| {
        let words = words.strip_prefix(&["all"]).unwrap_or(words);
        let words = words.strip_prefix(&["of"]).unwrap_or(words);
        let words = words.strip_prefix(&["the"]).unwrap_or(words);
        matches!(words, ["tests"] | ["suite"] | ["testsuite"] | ["test", "suite"])
    };
    let is_test = match words.as_slice() {
        ["no", "test" | "tests", "fail" | "fails"] => true,
        [all @ .., "pass" | "passes" | "succeed" | "succeeds"] | [all @ .., "is" | "are", "green"] => is_all(all),
        _ => false,
    };
    if is_test { By::Test } else { By::Model }
}

/// What says of a command that its exit code is 0.
const PASSES: [&str; 6] =
    ["passes", "succeeds", "exits with 0", "exits with code 0", "exits with exit code 0", "exits with status 0"];

/// In lower case, without a full stop and with one blank between words.
fn plain(text: &str) -> String {
    text.trim().trim_end_matches('.').to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Judges all criteria. `done`: the model says that it is; else its word is not asked for.
pub(crate) fn judge(
    criteria: &[String],
    (test, command): (&Test, Option<&str>),
    shell: Option<Shell<'_>>,
    done: bool,
    session: &mut Session,
    world: &mut Workshop<'_>,
) -> Vec<Judged> {
    let mut judged: Vec<Judged> = criteria
        .iter()
        .map(|criterion| {
            let (verdict, evidence) = match by(criterion) {
                // The tests were run already.
                By::Command(named) if Some(named) == command => of_test(test, named),
                By::Command(named) if !done => {
                    (Verdict::NotJudged, format!("`{named}` was not run: the work is not done"))
                }
                By::Command(named) => match self::test(shell, world.place(), Some(named), None, world.patience()) {
                    Some(Test::NoResult(why)) => (Verdict::Unmet, format!("`{named}` has no result: {why}")),
                    Some(test) => of_test(&test, named),
                    None => (Verdict::Unmet, format!("`{named}` has no result: the mission came to its limit")),
                },
                By::Test => of_test(test, command.unwrap_or_default()),
                By::Model => (Verdict::NotJudged, "the work is not done".to_owned()),
            };
            Judged { criterion: criterion.clone(), verdict, evidence }
        })
        .collect();
    let open: Vec<usize> = (0..criteria.len()).filter(|&at| by(&criteria[at]) == By::Model).collect();
    if done && !open.is_empty() {
        ask(&open, criteria, &mut judged, session, world);
    }
    for (at, judged) in judged.iter().enumerate() {
        report::judge(at, judged.verdict, &judged.evidence);
    }
    judged
}

fn of_test(test: &Test, command: &str) -> (Verdict, String) {
    let verdict = match test {
        Test::Ran(ran) if ran.is_well() => Verdict::Met,
        Test::Ran(_) => Verdict::Unmet,
        Test::NotNamed | Test::NotRun(_) | Test::NoResult(_) => Verdict::NotJudged,
    };
    (verdict, test.evidence(command))
}

#[derive(Debug, Deserialize)]
struct Answer {
    verdicts: Vec<Word>,
}

#[derive(Debug, Deserialize)]
struct Word {
    criterion: usize,
    verdict: String,
    evidence: String,
}

/// Asks the model about those that nothing else can judge.
fn ask(open: &[usize], criteria: &[String], judged: &mut [Judged], session: &mut Session, world: &mut Workshop<'_>) {
    let list: Vec<String> = open.iter().map(|&at| format!("{at}. {}", criteria[at])).collect();
    let question = format!(
        "Judge these criteria, strictly, by what you have seen in this conversation, and call no tool. A criterion that you have no evidence \
         for is `unknown`. Evidence names files and lines, or a command that was run and its result.\n{}",
        list.join("\n")
    );
    let word = json!({
        "type": "object",
        "properties": {
            "criterion": { "type": "integer" },
            "verdict": { "enum": ["met", "unmet", "unknown"] },
            "evidence": { "type": "string" },
        },
        "required": ["criterion", "verdict", "evidence"],
        "additionalProperties": false,
    });
    let schema: Value = json!({
        "type": "object",
        "properties": { "verdicts": { "type": "array", "items": word } },
        "required": ["verdicts"],
        "additionalProperties": false,
    });
    for &at in open {
        judged[at].evidence = "the model gave no verdict".to_owned();
    }
    if !world.may_ask() {
        return;
    }
    let Some(answer) = world.ask(&session.question(&question, Some(&schema))) else { return };
    session.note_answer(&question, &answer);
    let Ok(answer) = answer else { return };
    let Ok(Answer { verdicts }) = serde_json::from_value(answer["output"].clone()) else { return };
    for word in verdicts.into_iter().filter(|word| open.contains(&word.criterion)) {
        let judged = &mut judged[word.criterion];
        judged.verdict = match word.verdict.as_str() {
            "met" => Verdict::Met,
            "unmet" => Verdict::Unmet,
            _ => Verdict::NotJudged,
        };
        judged.evidence = format!("the model's word, which nothing has checked: {}", word.evidence);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_criterion_says_what_decides_it() {
        for (criterion, expected) in [
            ("`cargo clippy` passes", By::Command("cargo clippy")),
            ("The command `make lint` exits with 0.", By::Command("make lint")),
            ("All tests pass.", By::Test),
            ("the test suite is green", By::Test),
            ("No test fails", By::Test),
            ("All of the tests are green", By::Test),
            ("The README says how to run the tests", By::Model),
            ("A test for empty lines is added and passes", By::Model),
            ("The tests of the parser pass", By::Model),
            ("All tests pass on Windows", By::Model),
            ("tests/parser.rs runs", By::Model),
            ("pass", By::Model),
            ("`HttpClient` passes the header on", By::Model),
            ("`dropdb x` runs only after a backup", By::Model),
            ("`retry` succeeds when the server comes back", By::Model),
            ("After a restart `make check` passes", By::Model),
            ("`parse` returns an error for an empty text", By::Model),
            ("There is a test for the empty text", By::Model),
            ("`a` and `b` pass", By::Model),
            ("The README tells how to install it", By::Model),
            ("the latest release is named", By::Model),
            ("``", By::Model),
            ("`` passes", By::Model),
        ] {
            assert_eq!(by(criterion), expected, "{criterion}");
        }
    }
}
