//! Whether the work is good: by commands that are run here, and by the model's word where nothing else can tell, which is then said to be
//! no more than that.
//!
//! | a criterion | is judged by |
//! | --- | --- |
//! | that names a command in backquotes (`` `cargo clippy` passes ``) | that command's exit code |
//! | about tests | the exit code of `inputs.test` |
//! | any other | the model, asked for evidence, which nobody has checked |
//!
//! What could not be run is not judged: never is it said of a test that it passes that was not run.

use serde::Deserialize;
use sortie_agent::{Session, World};
use sortie_plugin::report::{self, Verdict};
use sortie_plugin::{Value, json};

use crate::place::Place;
use crate::shell::{Ran, Shell};
use crate::workshop::Workshop;

/// The command that judges the work, and how it ended.
#[derive(Debug, Clone)]
pub(crate) enum Test {
    /// Nobody named one.
    NotNamed,
    /// It could not be run: why.
    NotRun(String),
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

/// Runs the command that judges the work.
pub(crate) fn test(shell: Option<Shell<'_>>, place: &Place, command: Option<&str>, timeout_ms: Option<u64>) -> Test {
    let Some(command) = command else { return Test::NotNamed };
    let Some(shell) = shell else { return Test::NotRun("the mission is not granted Bash".to_owned()) };
    match shell.run_for(place, command, "run the tests that judge the work", timeout_ms) {
        Ok(ran) => Test::Ran(ran),
        Err(error) => Test::NotRun(error.to_string()),
    }
}

impl Test {
    pub(crate) fn passes(&self) -> bool {
        matches!(self, Self::Ran(ran) if ran.is_well())
    }

    pub(crate) fn fails(&self) -> bool {
        matches!(self, Self::Ran(ran) if !ran.is_well())
    }

    /// With the command: what was run, how it ended, what it said at last.
    pub(crate) fn evidence(&self, command: &str) -> String {
        match self {
            Self::NotNamed => "no test was run: inputs.test names none".to_owned(),
            Self::NotRun(why) => format!("no test was run: {why}"),
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

fn by(criterion: &str) -> By<'_> {
    let mut parts = criterion.split('`');
    let (before, command, after) = (parts.next(), parts.next(), parts.next());
    let says_so = |text: Option<&str>| {
        let text = text.unwrap_or_default().to_lowercase();
        ["pass", "succeed", "exit", "runs", "run without", "is clean", "is green", "works"]
            .iter()
            .any(|word| text.contains(word))
    };
    if let Some(command) = command.map(str::trim).filter(|command| !command.is_empty())
        && parts.next().is_none()
        && after.is_some()
        && (says_so(before) || says_so(after))
    {
        return By::Command(command);
    }
    let words = criterion.to_lowercase();
    let mut words = words.split(|c: char| !c.is_alphanumeric());
    let is_test = |word: &str| matches!(word, "test" | "tests" | "testsuite" | "suite" | "ci");
    let passes = |word: &str| {
        ["pass", "green", "succeed", "fail", "run"].iter().any(|begin| word.starts_with(begin)) || word == "ok"
    };
    let all: Vec<&str> = words.by_ref().collect();
    if all.iter().any(|word| is_test(word)) && all.iter().any(|word| passes(word)) { By::Test } else { By::Model }
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
                By::Command(named) => match self::test(shell.filter(|_| done), world.place(), Some(named), None) {
                    Test::NotRun(_) if !done => {
                        (Verdict::NotJudged, format!("`{named}` was not run: the work is not done"))
                    }
                    ran => of_test(&ran, named),
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
        Test::NotNamed | Test::NotRun(_) => Verdict::NotJudged,
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
    let answer = world.ask(&session.question(&question, Some(&schema)));
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
            ("tests/parser.rs runs", By::Test),
            ("`parse` returns an error for an empty text", By::Model),
            ("There is a test for the empty text", By::Model),
            ("`a` and `b` pass", By::Model),
            ("The README tells how to install it", By::Model),
            ("the latest release is named", By::Model),
            ("``", By::Model),
        ] {
            assert_eq!(by(criterion), expected, "{criterion}");
        }
    }
}
