//! An example of a custom plugin: a briefing from whatever inputs there are.
//!
//! It shows the parts that most plugins have: inputs with a schema, mistakes that are found before the mission is accepted,
//! a tool that it can do without, a milestone, an artifact, criteria that it judges and criteria that it leaves alone.
//!
//! ```json
//! { "mission_type": "custom", "plugin": "briefing",
//!   "inputs": { "title": "Monday", "notes": "notes.md", "sections": { "triage": ["renew certificate"], "news": [] } } }
//! ```

mod document;

use serde::Deserialize;
use sortie_plugin::report::{self, Verdict};
use sortie_plugin::{Brief, Failure, Manifest, Mistake, Outcome, Plugin, Tools, Value, artifacts, json};

use document::Document;

/// The plugin `briefing`.
struct Briefing;

/// What the envelope's `inputs` hold.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Inputs {
    /// The heading; without one, the mission's objective.
    title: Option<String>,
    /// What there is to say, by topic. What is null or empty is left out, and said to be.
    sections: serde_json::Map<String, Value>,
    /// A file of the workspace with notes for the end of the briefing.
    notes: Option<String>,
}

impl Plugin for Briefing {
    fn describe() -> Manifest {
        let schema = json!({
            "type": "object",
            "properties": {
                "title": { "type": "string" },
                "sections": { "type": "object", "description": "text, list or table by topic; null where there is nothing" },
                "notes": { "type": "string", "description": "a file of the workspace" },
            },
            "required": ["sections"],
            "additionalProperties": false,
        });
        Manifest::new("briefing", env!("CARGO_PKG_VERSION"), "Writes a briefing from whatever inputs there are.")
            .inputs_schema(schema)
    }

    /// What a schema cannot say: which topic is too deep for a page.
    fn check(brief: &Brief) -> Vec<Mistake> {
        let inputs: Inputs = match brief.inputs() {
            Ok(inputs) => inputs,
            Err(mistake) => return vec![mistake],
        };
        let deep = inputs.sections.iter().filter(|(_, section)| !document::fits(section));
        deep.map(|(topic, _)| {
            let topic = topic.replace('~', "~0").replace('/', "~1");
            let detail = "a section is a text, a number, a list of those, or an object of those";
            Mistake::new(format!("/inputs/sections/{topic}"), "too_deep", detail)
        })
        .collect()
    }

    fn run(brief: Brief, tools: Tools) -> Result<Outcome, Failure> {
        let inputs: Inputs = brief.inputs()?;
        let mut document = Document::new(inputs.title.as_deref().unwrap_or(&brief.objective));
        for (topic, section) in &inputs.sections {
            document.section(topic, section);
        }
        if let Some(path) = &inputs.notes {
            document.notes(notes(&tools, path)?.as_deref());
        }
        report::milestone(format!(
            "{} sections are there, {} are left out",
            document.written(),
            document.left_out().len()
        ));

        let name =
            brief.required_outputs.first().filter(|name| !name.contains('*')).map_or("briefing.md", String::as_str);
        artifacts::put(name, "text/markdown; charset=utf-8", document.text())?;
        judge(&brief, &document);

        let outcome = Outcome::new(format!("{name} has {} sections", document.written()));
        Ok(match document.left_out() {
            [] => outcome,
            missing => outcome.next_action(format!("find out why there is nothing on {}", missing.join(", "))),
        })
    }
}

sortie_plugin::export!(Briefing);

/// The notes; `None` where the mission may not read, or where there are none. A briefing does not fail for want of them.
fn notes(tools: &Tools, path: &str) -> Result<Option<String>, Failure> {
    let Some(read) = tools.get("Read") else { return Ok(None) };
    match read.call(&json!({ "path": path })) {
        Ok(file) => Ok(file["content"].as_str().map(str::to_owned)),
        Err(sortie_plugin::CallError::Failed(why)) => {
            report::warn(format!("no notes: {why}"));
            Ok(None)
        }
        Err(error) => Err(read.failure(&error)),
    }
}

/// Judges the one criterion that a program can judge. The others stay open for whoever reads the briefing.
fn judge(brief: &Brief, document: &Document) {
    let about_gaps = |criterion: &&String| criterion.contains("left out");
    if let Some(index) = brief.success_criteria.iter().position(|criterion| about_gaps(&criterion)) {
        let evidence = format!("left out and named: {}", document.left_out().join(", "));
        report::judge(index, Verdict::Met, evidence);
    }
}
