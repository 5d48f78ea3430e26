//! The research plugin: questions, pages, notes with their words, and a report of which every citation and quotation is checked.
//!
//! ```json
//! { "mission_type": "research", "objective": "How long does a lamp burn?",
//!   "inputs": { "questions": ["…"], "sources": ["https://example.org/lamps"], "depth": 1, "model": "deep" } }
//! ```
//!
//! It leaves `report.md`, `sources.json`, `transcript.jsonl`, and the text of each source as it was fetched (`sources/1.md`, …). It needs a model
//! and `WebFetch`, and uses `WebSearch` where the mission was granted it.
//!
//! What a model says is a draft. What it may cite was fetched in this mission; what it quotes is in the text that was fetched; the plugin
//! holds both against the sources, and takes out and marks what does not stand (`report`, `quote`). What a page says is data: a model that
//! reads holds no tools, sees one page at a time, names no addresses (`address`), and nothing that it writes can lead elsewhere (`inline`).
//!
//! | file | what it owns |
//! | --- | --- |
//! | `inputs` | what the envelope says |
//! | `mission` | the order of things; `mission/gather` what a report is written from, `mission/write` the report and how it ends |
//! | `flight` | calls side by side, until a limit is near |
//! | `ask`, `words` | questions to the model, and how it is told that pages are data |
//! | `address`, `source` | where things are from, what was fetched |
//! | `quote`, `inline`, `report` | what of a draft stands, and the page that it becomes |
//! | `judge` | success criteria |

mod address;
mod ask;
mod flight;
mod inline;
mod inputs;
mod judge;
mod mission;
mod quote;
mod report;
mod source;
mod words;

use sortie_plugin::{Brief, Failure, Manifest, Mistake, Outcome, Plugin, Tools, json};

use inputs::Inputs;

/// The plugin `research`.
struct Research;

impl Plugin for Research {
    fn describe() -> Manifest {
        let description = "Reads sources, and writes a report of which each citation and quotation is checked.";
        Manifest::new("research", env!("CARGO_PKG_VERSION"), description)
            .inputs_schema(inputs::schema())
            .needs_model()
            .needs_tool("WebFetch")
            .uses_tool("WebSearch")
            .outputs_schema(&json!({ "properties": {
                "report.md": { "description": "what was found, with its citations" },
                "sources.json": { "description": "what was read, when, and what it was used for" },
                "transcript.jsonl": { "description": "what was said, turn by turn" },
            } }))
    }

    fn check(brief: &Brief) -> Vec<Mistake> {
        Inputs::read(brief).err().unwrap_or_default()
    }

    fn run(brief: Brief, tools: Tools) -> Result<Outcome, Failure> {
        let inputs = Inputs::read(&brief)?;
        mission::run(&brief, &tools, &inputs)
    }
}

sortie_plugin::export!(Research);

#[cfg(test)]
mod tests;
