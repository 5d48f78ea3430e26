//! The first difference between a record and a build: the call on record, what the build asks for instead, and the two as a diff.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use similar::TextDiff;
use sortie_contract::record::{Record, Stamped};
use sortie_contract::tool::MODEL;
use sortie_engine::rehearsal::{Parting, Wanted};
use sortie_mission::replay::{describe, host_call};

/// Lines around a change that are shown with it.
const AROUND: usize = 3;

/// Where a build leaves the record.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Difference {
    /// So many calls are the same.
    pub same: u32,
    /// The first call that is not, on record; null behind its end.
    pub recorded: Option<AskedView>,
    /// What the build asks for there; null where it ends.
    pub wanted: Option<AskedView>,
    /// What of the arguments changes, as a unified diff of JSON that is laid out line by line; empty where one of the two is missing, or
    /// they are of different tools.
    pub diff: String,
}

/// A call, as far as two can differ.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct AskedView {
    /// Its number; null where it has none yet.
    pub call: Option<u32>,
    /// What it is, in words.
    pub what: String,
    /// Of which tool, where it is a call of one.
    pub tool: Option<String>,
    /// What it is made with, whole: JSON where it is some, else a text.
    pub arguments: Value,
}

impl Difference {
    /// Of where a build left the record behind so many calls.
    pub(super) fn of(parting: Parting, same: u32) -> Self {
        let recorded = parting.recorded.as_ref().map(recorded);
        let wanted = parting.wanted.map(wanted);
        let diff = match (&recorded, &wanted) {
            (Some(recorded), Some(wanted)) if recorded.tool == wanted.tool => between(recorded, wanted),
            _ => String::new(),
        };
        Self { same, recorded, wanted, diff }
    }
}

fn recorded(stamped: &Stamped) -> AskedView {
    let record = &stamped.record;
    let (tool, arguments) = match record {
        Record::CallStarted { tool, arguments, .. } | Record::CallHeld { tool, arguments, .. } => {
            (Some(tool.to_string()), arguments.clone())
        }
        Record::CallRefused { tool, .. } => (Some(tool.to_string()), String::new()),
        Record::Asked { question, .. } => (None, question.clone()),
        Record::Milestone { text, .. } | Record::Logged { text, .. } => (None, text.clone()),
        Record::Judged { criterion, verdict, evidence, .. } => {
            (None, serde_json::json!({ "criterion": criterion, "verdict": verdict, "evidence": evidence }).to_string())
        }
        Record::Answered { about, answer, question: sortie_contract::record::HostQuestion::After, .. }
            if about.is_empty() =>
        {
            (None, answer.clone())
        }
        Record::Answered { about, .. } => (None, about.clone()),
        Record::ArtifactStored { artifact, source, .. } => {
            let digest = artifact.sha256.to_string();
            let of = match source {
                sortie_contract::record::ArtifactSource::File { path } => format!("the file {path}"),
                _ => digest,
            };
            (None, format!("{} ({}, {of})", artifact.name, artifact.media_type))
        }
        _ => (None, String::new()),
    };
    AskedView {
        call: host_call(record).map(|call| call.0),
        what: describe(record),
        tool,
        arguments: json_or_text(arguments),
    }
}

fn wanted(wanted: Wanted) -> AskedView {
    let tool = wanted.tool.map(|tool| tool.to_string());
    AskedView { call: None, what: wanted.words, tool, arguments: json_or_text(wanted.arguments) }
}

fn json_or_text(text: String) -> Value {
    serde_json::from_str(&text).ok().filter(|value: &Value| !value.is_string()).unwrap_or_else(|| text.into())
}

fn between(recorded: &AskedView, wanted: &AskedView) -> String {
    let (old, new) = (laid_out(&recorded.arguments), laid_out(&wanted.arguments));
    let is_short = recorded.arguments.get("request_bytes").is_some();
    if recorded.tool.as_deref() == Some(MODEL) && is_short {
        return "The request of a model is too long to be on record whole: its digest differs, and what of it differs cannot be said.\n"
            .to_owned();
    }
    if recorded.tool.is_some() && recorded.arguments.as_str() == Some("") {
        return "The arguments of a call that was refused are on record by their digest alone, which differs.\n"
            .to_owned();
    }
    if old == new {
        return "The same JSON, written otherwise: in the order of its keys, in its spaces, or in its numbers.\n"
            .to_owned();
    }
    TextDiff::from_lines(&old, &new).unified_diff().context_radius(AROUND).header("recorded", "this build").to_string()
}

fn laid_out(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        value => serde_json::to_string_pretty(value).unwrap_or_default(),
    };
    if text.ends_with('\n') { text } else { text + "\n" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(tool: Option<&str>, arguments: &str) -> AskedView {
        let (what, tool) = ("a call".to_owned(), tool.map(str::to_owned));
        AskedView { call: Some(1), what, tool, arguments: json_or_text(arguments.to_owned()) }
    }

    #[test]
    fn a_difference_is_a_diff_of_json_line_by_line() {
        let (old, new) = (r#"{"url":"https://a","depth":1}"#, r#"{"url":"https://b","depth":1}"#);
        let diff = between(&view(Some("WebFetch"), old), &view(Some("WebFetch"), new));
        assert!(diff.contains("-  \"url\": \"https://a\"") && diff.contains("+  \"url\": \"https://b\""), "{diff}");
        assert!(diff.contains("   \"depth\": 1") || diff.contains("   \"depth\": 1,"), "{diff}");
        assert!(diff.starts_with("--- recorded\n+++ this build\n"), "{diff}");
        let same = between(&view(Some("Read"), "{\"a\":1}"), &view(Some("Read"), "{ \"a\" : 1 }"));
        assert!(same.contains("written otherwise"), "{same}");
        let texts = between(&view(None, "Which one?"), &view(None, "Which two?"));
        assert!(texts.contains("-Which one?") && texts.contains("+Which two?"), "{texts}");
        let refused = between(&view(Some("Read"), ""), &view(Some("Read"), "{}"));
        assert!(refused.contains("digest"), "{refused}");
        let long = between(&view(Some(MODEL), r#"{"request_bytes":20000}"#), &view(Some(MODEL), r#"{"request":{}}"#));
        assert!(long.contains("too long"), "{long}");
    }
}
