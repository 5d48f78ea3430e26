//! The documentation keeper: finds stale pages by their dates, links that lead nowhere, proposes edits, and asks before it makes one.
//!
//! ```json
//! { "mission_type": "custom", "plugin": "docs-keeper",
//!   "inputs": { "pages": "docs/**/*.md", "stale_after": "180d", "ask": "page" } }
//! ```
//!
//! | input | says |
//! | --- | --- |
//! | `pages` | which files are pages: a pattern of `Glob`, or several; `docs/**/*.md` |
//! | `stale_after` | after how long without a look a page is stale: `180d`, `26w`, `6m`, `1y` |
//! | `today` | the day that ages are counted from; the day on which the mission runs, in UTC |
//! | `check_links` | whether links are looked at; `true`. Those to the web need `WebFetch` |
//! | `propose` | whether edits are proposed; `true` |
//! | `model` | which model is asked for edits; the node's default one. Without any, edits are proposed only where one follows by itself |
//! | `ask` | `never` (the default): edits are proposed and none is made; `page`, `all`: people are asked once for each page, or once, and what they want is made with `Edit` or `Write` |
//!
//! It leaves `docs-report.md`, and `proposals.patch` where there is something to change: `git apply` takes it. It needs `Glob` and `Read`, and
//! works without a model. A date on a page is never changed: it says that somebody looked.
//!
//! Of the success criteria it judges `no page is stale`, `no link is broken` and `every page has a date`; others are for people.

mod address;
mod date;
mod edit;
mod files;
mod inputs;
mod keep;
mod links;
mod page;
mod report;
mod suggest;

use sortie_plugin::{Brief, Failure, Manifest, Mistake, Outcome, Plugin, Tools, json};

use inputs::Inputs;

/// The plugin `docs-keeper`.
struct DocsKeeper;

impl Plugin for DocsKeeper {
    fn describe() -> Manifest {
        let description = "Finds stale pages and broken links in a project's documentation, proposes edits, and asks before it makes one.";
        Manifest::new("docs-keeper", env!("CARGO_PKG_VERSION"), description)
            .inputs_schema(inputs::schema())
            .needs_tool("Glob")
            .needs_tool("Read")
            .uses_tool("WebFetch")
            .uses_tool("Edit")
            .uses_tool("Write")
            .outputs_schema(&json!({ "properties": {
                "docs-report.md": { "description": "which pages are stale, and which links lead nowhere" },
                "proposals.patch": { "description": "what it would change, where there is something" },
            } }))
    }

    fn check(brief: &Brief) -> Vec<Mistake> {
        Inputs::read(brief).err().unwrap_or_default()
    }

    fn run(brief: Brief, tools: Tools) -> Result<Outcome, Failure> {
        let inputs = Inputs::read(&brief)?;
        keep::run(&brief, &tools, &inputs)
    }
}

sortie_plugin::export!(DocsKeeper);

#[cfg(test)]
mod tests;
