//! What a run came to, in words, and how it differs from what was expected.
//!
//! Both are written as texts of the same form, section by section, and what differs is told as a difference of texts: whoever reads it
//! sees what was to be there beside what was.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};
use similar::TextDiff;
use sortie_contract::outcome::Verdict;
use sortie_contract::tool::{CallError, MODEL, ToolAnswer};
use sortie_contract::{Record, Stamped, Timestamp};
use sortie_mission::Mission;

use super::case::{Expect, Wanted, WantedArtifact, WantedCall, has, read_time};

/// How calls are named that are questions to people.
const ASK: &str = "ask";

/// Lines around a difference.
const CONTEXT: usize = 3;

/// What a run came to.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Seen {
    pub(super) status: String,
    pub(super) reason: String,
    summary: String,
    next_action: String,
    pub(super) calls: Vec<SeenCall>,
    artifacts: Vec<Kept>,
    criteria: Vec<(String, String)>,
    milestones: Vec<String>,
    /// From its dispatch to its end.
    pub(super) took: Duration,
    /// Calls and requests for which the case has no answer.
    pub(super) unanswered: Vec<String>,
}

/// A call as the plugin asked for it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SeenCall {
    pub(super) tool: String,
    /// Not known of a call that was refused.
    pub(super) arguments: Option<Value>,
    /// The code of its error, if it had one.
    error: Option<&'static str>,
    no: u32,
}

/// An artifact.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Kept {
    pub(super) name: String,
    pub(super) media_type: String,
    pub(super) sha256: String,
    pub(super) bytes: Vec<u8>,
}

impl Seen {
    pub(super) fn of(mission: &Mission, records: &[Stamped], mut artifacts: Vec<Kept>, begins: Timestamp) -> Self {
        artifacts.sort_by(|one, other| one.name.cmp(&other.name));
        let criteria = mission.criteria().map(|criterion| (word(criterion.verdict), criterion.evidence.to_owned()));
        let milestones = records.iter().filter_map(|stamped| match &stamped.record {
            Record::Milestone { text, .. } => Some(text.clone()),
            _ => None,
        });
        let ended = mission.ended_at().unwrap_or(begins);
        Self {
            status: mission.status().to_string(),
            reason: mission.reason().map(|reason| reason.to_string()).unwrap_or_default(),
            summary: mission.last_summary().into_owned(),
            next_action: mission.next_action().unwrap_or_default().to_owned(),
            calls: calls(records),
            artifacts,
            criteria: criteria.collect(),
            milestones: milestones.collect(),
            took: Duration::try_from(ended.duration_since(begins)).unwrap_or_default(),
            unanswered: Vec::new(),
        }
    }

    /// How it ended, on a line.
    pub(super) fn end(&self) -> String {
        format!("{} ({}): {}", self.status, self.reason, self.summary)
    }

    /// Whether the plugin came to its own end, well or not: it did not crash, and was not stopped.
    pub(super) fn ended_properly(&self) -> bool {
        const OWN: [&str; 5] = ["done", "plugin_failed", "tool_failed", "criterion_unmet", "output_missing"];
        OWN.contains(&self.reason.as_str()) && !self.summary.trim().is_empty()
    }

    /// Whether it came to the end that another had, where that was not the plugin's own: it was stopped from outside, or it crashed in the
    /// same words.
    pub(super) fn ended_alike(&self, other: &Self) -> bool {
        const FROM_OUTSIDE: [&str; 2] = ["cancelled", "timed_out"];
        let from_outside = FROM_OUTSIDE.contains(&self.status.as_str()) && self.status == other.status;
        from_outside || (self.status != "completed" && self.end() == other.end())
    }

    /// All that another run must come to, too.
    fn whole(&self) -> String {
        let mut text = self.head();
        section(
            &mut text,
            "criteria",
            self.criteria.iter().map(|(verdict, evidence)| format!("{verdict}: {evidence}")),
        );
        section(&mut text, "milestones", self.milestones.iter().cloned());
        section(&mut text, "calls", self.calls.iter().map(SeenCall::line));
        let artifact = |kept: &Kept| format!("{} ({}, {})", kept.name, kept.media_type, kept.sha256);
        section(&mut text, "artifacts", self.artifacts.iter().map(artifact));
        text
    }

    fn head(&self) -> String {
        let Self { status, reason, summary, next_action, .. } = self;
        format!("status: {status}\nreason: {reason}\nsummary: {summary}\nnext_action: {next_action}\n")
    }

    /// How this run differs from another that should have come to the same.
    pub(super) fn differs(&self, other: &Self) -> Option<String> {
        difference(&self.whole(), &other.whole(), "without", "with")
    }

    /// How it differs from what was expected.
    pub(super) fn misses(&self, expect: &Expect) -> Option<String> {
        let (mut wanted, mut there) = (String::new(), String::new());
        let mut line = |key: &str, want: Option<String>, is: &str| {
            if let Some(want) = want {
                let _ = (writeln!(wanted, "{key}: {want}"), writeln!(there, "{key}: {is}"));
            }
        };
        line("status", expect.status.clone(), &self.status);
        line("reason", expect.reason.clone(), &self.reason);
        line("summary", fitting(expect.summary.as_ref(), &self.summary), &self.summary);
        line("next_action", fitting(expect.next_action.as_ref(), &self.next_action), &self.next_action);
        let within = expect.within.as_deref().and_then(|within| Some((within, read_time("within", within).ok()?)));
        if let Some((text, _)) = within.filter(|(_, within)| self.took > *within) {
            line("took", Some(format!("{text} at most")), &format!("{:?}", self.took));
        }
        if let Some(criteria) = &expect.criteria {
            // The evidence is the plugin's to word.
            section(&mut wanted, "criteria", criteria.iter().cloned());
            section(&mut there, "criteria", self.criteria.iter().map(|(verdict, _)| verdict.clone()));
        }
        if let Some(milestones) = &expect.milestones {
            let found = |place: usize| self.milestones.get(place).map_or("", String::as_str);
            let wants = milestones.iter().enumerate().map(|(place, want)| fitting(Some(want), found(place)));
            section(&mut wanted, "milestones", wants.flatten());
            section(&mut there, "milestones", self.milestones.iter().cloned());
        }
        if let Some(calls) = &expect.calls {
            let wants = calls.iter().enumerate().map(|(place, want)| match self.calls.get(place) {
                Some(call) if call.is(want) => call.line(),
                _ => format!("{} {}", want.tool, Value::Object(want.with.clone())),
            });
            section(&mut wanted, "calls", wants);
            section(&mut there, "calls", self.calls.iter().map(SeenCall::line));
        }
        for (name, want) in &expect.artifacts {
            let found = self.artifacts.iter().find(|kept| kept.name == *name);
            let is = found.map(|kept| String::from_utf8_lossy(&kept.bytes).into_owned());
            let key = format!("artifact {name}");
            match (want, is) {
                (WantedArtifact::There(wants), is) if *wants == is.is_some() => {}
                (WantedArtifact::There(wants), is) => {
                    let shown = |there: bool| if there { "it is there" } else { "there is none" }.to_owned();
                    section(&mut wanted, &key, [shown(*wants)]);
                    section(&mut there, &key, [shown(is.is_some())]);
                }
                (WantedArtifact::Text(want), Some(is)) => {
                    let shown = fitting(Some(want), &is).unwrap_or_default();
                    section(&mut wanted, &key, shown.lines().map(str::to_owned));
                    section(&mut there, &key, is.lines().map(str::to_owned));
                    // A line's end at the very end is no line.
                    if !want.fits(&is) && shown.lines().eq(is.lines()) {
                        section(&mut there, &key, ["(its end is another one)".to_owned()]);
                    }
                }
                (WantedArtifact::Text(want), None) => {
                    section(&mut wanted, &key, want.shown().lines().map(str::to_owned));
                    section(&mut there, &key, ["there is none".to_owned()]);
                }
            }
        }
        difference(&wanted, &there, "expected", "seen")
    }
}

impl SeenCall {
    fn line(&self) -> String {
        let arguments = self.arguments.as_ref().map_or_else(|| "{…}".to_owned(), ToString::to_string);
        let error = self.error.map(|code| format!("  -> {code}")).unwrap_or_default();
        format!("{} {arguments}{error}", self.tool)
    }

    fn is(&self, want: &WantedCall) -> bool {
        let arguments = self.arguments.clone().unwrap_or_else(|| json!({}));
        self.tool.eq_ignore_ascii_case(&want.tool) && has(&arguments, &Value::Object(want.with.clone()))
    }
}

/// The calls of a record, in the order in which the plugin asked for them.
fn calls(records: &[Stamped]) -> Vec<SeenCall> {
    let mut calls: Vec<SeenCall> = Vec::new();
    let parsed = |text: &str| serde_json::from_str(text).unwrap_or_else(|_| json!(text));
    for stamped in records {
        let begun = match &stamped.record {
            Record::CallStarted { call, tool, arguments, .. } | Record::CallHeld { call, tool, arguments, .. } => {
                let name = if tool.as_str() == MODEL { "model" } else { tool.as_str() };
                Some((call.0, name, Some(parsed(arguments)), None))
            }
            Record::CallRefused { call, tool, error, .. } => Some((call.0, tool.as_str(), None, Some(error.code()))),
            Record::Asked { call, question } => Some((call.0, ASK, Some(json!({ "question": question })), None)),
            Record::CallFinished { call, outcome, .. } => {
                if let Some(known) = calls.iter_mut().find(|known| known.no == call.0) {
                    known.error = code(outcome);
                }
                None
            }
            _ => None,
        };
        let Some((no, tool, arguments, error)) = begun else { continue };
        if !calls.iter().any(|known| known.no == no) {
            calls.push(SeenCall { tool: tool.to_owned(), arguments, error, no });
        }
    }
    calls.sort_by_key(|call| call.no);
    calls
}

fn code(outcome: &Result<ToolAnswer, CallError>) -> Option<&'static str> {
    outcome.as_ref().err().map(CallError::code)
}

/// What is wanted, written as what is there where that fits.
fn fitting(want: Option<&Wanted>, is: &str) -> Option<String> {
    want.map(|want| if want.fits(is) { is.to_owned() } else { want.shown() })
}

fn section(text: &mut String, name: &str, lines: impl IntoIterator<Item = String>) {
    let _ = writeln!(text, "{name}:");
    for line in lines {
        // One that has several lines is one of the list all the same.
        let _ = writeln!(text, "  {}", line.replace('\n', "\n    "));
    }
}

/// The difference of two texts, if there is one.
fn difference(before: &str, after: &str, before_is: &str, after_is: &str) -> Option<String> {
    if before == after {
        return None;
    }
    let diff = TextDiff::from_lines(before, after);
    Some(diff.unified_diff().context_radius(CONTEXT).header(before_is, after_is).to_string())
}

fn word(verdict: Verdict) -> String {
    match verdict {
        Verdict::Met => "met",
        Verdict::Unmet => "unmet",
        Verdict::NotJudged => "not_judged",
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen() -> Seen {
        let call = |tool: &str, arguments: Value| SeenCall {
            tool: tool.to_owned(),
            arguments: Some(arguments),
            error: None,
            no: 1,
        };
        Seen {
            status: "completed".to_owned(),
            reason: "done".to_owned(),
            summary: "2 lines".to_owned(),
            next_action: String::new(),
            calls: vec![call("Read", json!({ "path": "a", "limit": 3 }))],
            artifacts: vec![Kept {
                name: "a.md".to_owned(),
                media_type: "text/markdown".to_owned(),
                sha256: "0".to_owned(),
                bytes: b"one\ntwo\n".to_vec(),
            }],
            criteria: vec![("met".to_owned(), "two".to_owned())],
            milestones: vec!["begun".to_owned()],
            took: Duration::from_secs(90),
            unanswered: Vec::new(),
        }
    }

    fn expect(text: &str) -> Expect {
        toml::from_str(text).expect("expectations")
    }

    #[test]
    fn what_fits_has_no_difference() {
        for text in [
            "",
            "status = \"completed\"\nreason = \"done\"\nsummary = { contains = \"lines\" }",
            "calls = [{ tool = \"read\", with = { path = \"a\" } }]",
            "artifacts = { \"a.md\" = \"one\\ntwo\\n\", \"b.md\" = false }",
            "artifacts = { \"a.md\" = { contains = \"two\" } }",
            "criteria = [\"met\"]\nmilestones = [\"begun\"]\nwithin = \"2m\"",
        ] {
            assert_eq!(seen().misses(&expect(text)), None, "{text}");
        }
    }

    #[test]
    fn what_does_not_fit_is_told_beside_what_was_expected() {
        for (text, lines) in [
            ("status = \"failed\"", ["-status: failed", "+status: completed"]),
            ("summary = { contains = \"3\" }", ["-summary: … 3 …", "+summary: 2 lines"]),
            ("calls = [{ tool = \"Write\" }]", ["-  Write {}", "+  Read {\"path\":\"a\",\"limit\":3}"]),
            ("calls = []", ["+  Read", "calls:"]),
            ("artifacts = { \"a.md\" = \"one\\n2\\n\" }", ["-  2", "+  two"]),
            ("artifacts = { \"a.md\" = \"one\\ntwo\" }", ["+  (its end", "artifact a.md"]),
            ("artifacts = { \"b.md\" = true }", ["-  it is there", "+  there is none"]),
            ("artifacts = { \"b.md\" = \"x\" }", ["-  x", "+  there is none"]),
            ("criteria = [\"unmet\"]", ["-  unmet", "+  met"]),
            ("milestones = []", ["+  begun", "milestones"]),
            ("within = \"1m\"", ["-took: 1m at most", "+took: 90s"]),
        ] {
            let told = seen().misses(&expect(text)).unwrap_or_default();
            assert!(lines.iter().all(|line| told.contains(line)), "{text}:\n{told}");
        }
    }

    #[test]
    fn another_run_has_to_come_to_the_same() {
        assert_eq!(seen().differs(&seen()), None);
        let other = Seen { milestones: Vec::new(), ..seen() };
        assert!(seen().differs(&other).is_some_and(|told| told.contains("-  begun")));
    }

    #[test]
    fn a_crash_is_no_proper_end() {
        assert!(seen().ended_properly());
        for reason in ["plugin_trapped", "out_of_memory", "nondeterminism", "limit_exceeded", "run_time_spent"] {
            assert!(!Seen { reason: reason.to_owned(), ..seen() }.ended_properly(), "{reason}");
        }
    }
}
