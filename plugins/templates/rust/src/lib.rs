//! Finds the links of a Markdown file, fetches them side by side, and leaves a report of those that lead nowhere.

use serde::Deserialize;
use sortie_plugin::report::{self, Verdict};
use sortie_plugin::{Brief, CallError, Failure, Manifest, Mistake, Outcome, Plugin, Tool, Tools, artifacts, json};

/// So many pages are fetched at once; a plugin has 64 calls in flight at most.
const AT_ONCE: usize = 16;

struct Links;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Inputs {
    file: String,
}

#[derive(Deserialize)]
struct File {
    content: String,
    truncated: bool,
}

#[derive(Deserialize)]
struct Page {
    status: u16,
}

impl Plugin for Links {
    fn describe() -> Manifest {
        let schema = sortie_plugin::serde_json::from_str(include_str!("../inputs.schema.json"));
        Manifest::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"), "Says which links of a Markdown file lead nowhere.")
            .inputs_schema(schema.expect("the schema is JSON"))
            .needs_tool("Read")
            .needs_tool("WebFetch")
            .example(&json!({ "file": "README.md" }))
            .outputs_schema(&json!({ "properties": { "links.md": { "description": "a line for each link that leads nowhere" } } }))
    }

    /// What a schema cannot say, found before the mission is accepted.
    fn check(brief: &Brief) -> Vec<Mistake> {
        match brief.inputs::<Inputs>() {
            Ok(inputs) if inputs.file.ends_with(".md") => Vec::new(),
            Ok(_) => vec![Mistake::new("/inputs/file", "not_markdown", "name a Markdown file: its name ends with `.md`")],
            Err(mistake) => vec![mistake],
        }
    }

    fn run(brief: Brief, tools: Tools) -> Result<Outcome, Failure> {
        let Inputs { file } = brief.inputs()?;
        let (read, fetch) = (tools.require("Read")?, tools.require("WebFetch")?);
        let text: File = read.call_as(&json!({ "path": file })).map_err(|error| read.failure(&error))?;
        if text.truncated {
            return Err(Failure::new(format!("{file} is too long to be read at once")).next_action("Split it."));
        }
        let links = links(&text.content);
        report::milestone(format!("{} links are looked at", links.len()));

        let mut broken = Vec::new();
        for some in links.chunks(AT_ONCE) {
            // All of them are on their way before the first is waited for.
            let pending = some.iter().map(|link| fetch.start(&json!({ "url": link })));
            let pending = pending.collect::<Result<Vec<_>, CallError>>()?;
            for (link, page) in some.iter().zip(&pending) {
                match page.get_as::<Page>() {
                    Ok(Page { status: 200..=399 }) => {}
                    Ok(Page { status }) => broken.push(format!("- {link}: {status}")),
                    Err(error) if is_of_the_page(&error) => broken.push(format!("- {link}: {error}")),
                    Err(error) => return Err(could_not(fetch, &error)),
                }
            }
        }

        let found = format!("{} of {} links lead nowhere", broken.len(), links.len());
        artifacts::put("links.md", "text/markdown", format!("# {file}\n\n{found}.\n\n{}\n", broken.join("\n")))?;
        // The first of the envelope's `success_criteria`, where it has one.
        if !brief.success_criteria.is_empty() {
            let verdict = if broken.is_empty() { Verdict::Met } else { Verdict::Unmet };
            report::judge(0, verdict, &found);
        }
        Ok(Outcome::new(found))
    }
}

/// Whether an error says something about the page; others (a budget, a window) say something about the mission.
fn is_of_the_page(error: &CallError) -> bool {
    matches!(error, CallError::Failed(_) | CallError::TimedOut(_))
}

fn could_not(fetch: &Tool, error: &CallError) -> Failure {
    fetch.failure(error).next_action("Look which pages the mission may fetch, and what its budget is.")
}

/// The addresses of a Markdown text, each once, in their order.
fn links(markdown: &str) -> Vec<String> {
    let mut links: Vec<String> = Vec::new();
    for rest in markdown.split("](").skip(1) {
        let link = rest.split([')', ' ']).next().unwrap_or_default();
        if link.starts_with("http") && !links.iter().any(|known| known == link) {
            links.push(link.to_owned());
        }
    }
    links
}

sortie_plugin::export!(Links);

#[cfg(test)]
mod tests {
    use super::links;

    #[test]
    fn links_are_found_once_and_in_their_order() {
        let text = "[b](https://b.example) [a](https://a.example \"title\") [b](https://b.example) [here](#here)";
        assert_eq!(links(text), ["https://b.example", "https://a.example"]);
    }
}
