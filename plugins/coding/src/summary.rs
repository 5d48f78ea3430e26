//! `summary.md`: what a colleague would want to know in the morning. All of it is the plugin's word but for what is quoted from the model, and
//! marked as that.

use std::fmt::Write as _;

use sortie_agent::{Session, middle_cut};
use sortie_plugin::report::Verdict;
use sortie_plugin::{Failure, artifacts};

use crate::changed::{Changed, File, Kind};
use crate::judge::{Judged, Test};

/// Most that is quoted of the model's words, in bytes.
const WORDS_BYTES_MAX: usize = 8_000;

/// Most entries of a list.
const LISTED_MAX: usize = 50;

/// What there is to say.
#[derive(Debug)]
pub(crate) struct Summary<'a> {
    pub(crate) objective: &'a str,
    /// How it ended, in a line.
    pub(crate) ending: String,
    /// Whether the mission did what it was to do.
    pub(crate) is_done: bool,
    /// The model's last words.
    pub(crate) words: Option<&'a str>,
    /// Files, and how much of them.
    pub(crate) changed: &'a Changed,
    /// The branch and its base, where there is one.
    pub(crate) branch: Option<(&'a str, &'a str)>,
    pub(crate) test: &'a Test,
    pub(crate) command: Option<&'a str>,
    pub(crate) judged: &'a [Judged],
    pub(crate) notes: &'a [String],
    pub(crate) next: &'a str,
    pub(crate) session: &'a Session,
}

impl Summary<'_> {
    /// Leaves it with the transcript, in place of what was left before.
    pub(crate) fn leave(&self) -> Result<(), Failure> {
        artifacts::put("summary.md", "text/markdown; charset=utf-8", self.text())?;
        artifacts::put("transcript.jsonl", "application/jsonl", self.session.transcript().text())?;
        Ok(())
    }

    /// As Markdown.
    fn text(&self) -> String {
        let mut text = format!("# {}\n\n{}\n", headline(self.objective), self.ending);
        self.changes(&mut text);
        self.tests(&mut text);
        self.criteria(&mut text);
        if !self.is_done {
            self.left(&mut text);
        }
        if let Some(words) = self.words.map(str::trim).filter(|words| !words.is_empty()) {
            let quoted = middle_cut(words, WORDS_BYTES_MAX);
            let _ = write!(text, "\n## In the model's words\n\nNothing here was checked.\n\n{}\n", quote(&quoted));
        }
        if !self.notes.is_empty() {
            list(&mut text, "To know", self.notes.iter().cloned());
        }
        let _ = write!(text, "\n## How to go on\n\n{}\n", self.next);
        text
    }

    fn changes(&self, text: &mut String) {
        if self.changed.is_empty() {
            text.push_str("\n## Changes\n\nNone.\n");
            return;
        }
        let line = |file: &File| {
            let kind = match file.kind {
                Kind::Changed => "",
                Kind::New => " (new)",
                Kind::Removed => " (removed)",
            };
            format!("`{}` {}{kind}", file.path, file.lines)
        };
        list_of(text, "Changes", self.changed.files.iter().map(line), self.changed.total);
        let tests: Vec<&File> = self.changed.tests().collect();
        if !tests.is_empty() {
            let tests = named(&tests);
            let _ = write!(text, "\nThese look like tests: see that they still ask what they asked: {tests}.\n");
        }
        let command = self.command.unwrap_or_default();
        let run: Vec<&File> = self.changed.run_by(command).collect();
        if !run.is_empty() {
            let run = named(&run);
            let _ = write!(text, "\nWhat `{command}` runs is decided by these, which are changed: {run}.\n");
        }
        if let Some((branch, base)) = self.branch {
            let _ = write!(text, "\nBranch `{branch}`, on {base}.\n");
        }
    }

    fn tests(&self, text: &mut String) {
        let _ = write!(text, "\n## Tests\n\n");
        match (self.test, self.command) {
            (Test::Ran(ran), Some(command)) => {
                let _ = write!(text, "`{command}`: {}\n\n{}\n", ran.how(), fenced(&ran.last_lines()));
            }
            _ => {
                let _ = writeln!(text, "{}.", capital(&self.test.evidence(self.command.unwrap_or_default())));
            }
        }
    }

    fn criteria(&self, text: &mut String) {
        if self.judged.is_empty() {
            return;
        }
        let line = |judged: &Judged| {
            let verdict = match judged.verdict {
                Verdict::Met => "met",
                Verdict::Unmet => "**unmet**",
                Verdict::NotJudged => "not judged",
            };
            let evidence = judged.evidence.lines().next().unwrap_or_default();
            format!("{verdict}: {} ({evidence})", headline(&judged.criterion))
        };
        list(text, "Criteria", self.judged.iter().map(line));
    }

    /// What whoever goes on should know.
    fn left(&self, text: &mut String) {
        if let Some(plan) = self.session.plan() {
            let _ = write!(text, "\n## The model's plan\n\n{}\n", quote(plan));
        }
        let failures: Vec<String> = self
            .session
            .failures()
            .map(|(call, why)| format!("{}: {}", middle_cut(call, 200), headline(why)))
            .collect();
        if !failures.is_empty() {
            list(text, "What failed last", failures.into_iter());
        }
    }
}

fn named(files: &[&File]) -> String {
    let more = files.len().saturating_sub(LISTED_MAX);
    let shown = files.iter().take(LISTED_MAX).map(|file| format!("`{}`", file.path)).collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{shown}, and {more} more") } else { shown }
}

fn list(text: &mut String, title: &str, items: impl ExactSizeIterator<Item = String>) {
    let total = items.len();
    list_of(text, title, items, total);
}

/// The same, of so many, of which not all are known.
fn list_of(text: &mut String, title: &str, items: impl ExactSizeIterator<Item = String>, total: usize) {
    let more = total - items.len().min(LISTED_MAX);
    let _ = write!(text, "\n## {title}\n\n");
    for item in items.take(LISTED_MAX) {
        let _ = writeln!(text, "- {}", item.replace('\n', " "));
    }
    if more > 0 {
        let _ = writeln!(text, "- and {more} more");
    }
}

fn headline(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    middle_cut(line, 200).replace('\n', " ")
}

fn quote(text: &str) -> String {
    text.lines().map(|line| format!("> {line}\n")).collect::<String>().trim_end().to_owned()
}

/// A block that nothing in it can end.
fn fenced(text: &str) -> String {
    let mut fence = "```".to_owned();
    while text.contains(&fence) {
        fence.push('`');
    }
    format!("{fence}\n{text}\n{fence}")
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}
