//! What a plugin says of its missions: what they need and take, what they leave, and what may be said to them.

use maud::{Markup, html};
use serde_json::Value;
use sortie_contract::limit::clip;

use super::text::{block, plain, str};
use crate::takes::Takes;

/// Most bytes of an example that are shown.
const EXAMPLE_MAX: usize = 4_000;

/// Most outputs that are shown: a schema may have as many as fit into it.
const OUTPUTS_MAX: usize = 20;

/// Most bytes of the name of an output, and of what it is.
const OUTPUT_MAX: usize = 500;

/// In sentences, behind what it is for.
pub(super) fn sentences(plugin: &Value) -> String {
    let Takes { needs, optional, costs } = Takes::of(plugin);
    let takes = [needs, costs].concat();
    let mut says = String::new();
    if !takes.is_empty() {
        says.push_str(&format!(" Needs {}.", takes.join(", ")));
    }
    if !optional.is_empty() {
        says.push_str(&format!(" Makes use of {}.", optional.join(", ")));
    }
    says
}

/// At the head of the form that dispatches to it.
pub(super) fn shown(plugin: &Value) -> Markup {
    let says = sentences(plugin);
    let outputs: Vec<(&String, &Value)> =
        plugin["outputs_schema"]["properties"].as_object().into_iter().flatten().collect();
    let more = outputs.len().saturating_sub(OUTPUTS_MAX);
    let examples = plugin["examples"].as_array().map(Vec::as_slice).unwrap_or_default();
    html! {
        @if !says.is_empty() { p { (plain(says.trim_start())) } }
        @if !outputs.is_empty() {
            p { "Leaves:" }
            ul {
                @for (name, of) in outputs.iter().take(OUTPUTS_MAX) {
                    li { code { (plain(&clip(name, OUTPUT_MAX))) } " " (plain(&clip(str(of, "description"), OUTPUT_MAX))) }
                }
                @if more > 0 { li { "and " (more) " more" } }
            }
        }
        @for (index, example) in examples.iter().enumerate() {
            details {
                summary { "Inputs, for example" @if examples.len() > 1 { " (" (index + 1) ")" } }
                pre { (block(&clip(&format!("{example:#}"), EXAMPLE_MAX))) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_missions_take_is_said_and_what_is_not_said_is_not_shown() {
        let plugin = json!({
            "needs": [["model"], ["Write", "Edit"]], "optional_tools": ["Grep"], "memory_bytes": (1 << 20) + 1, "runtime_minutes": 2.5,
            "outputs_schema": { "properties": { "<b>.md": { "description": "found" } } }, "examples": [{ "a": 1 }, { "a": "<" }],
        });
        assert_eq!(
            sentences(&plugin),
            " Needs model, Write or Edit, 2 MiB of memory, 2.5 min of run time. Makes use of Grep."
        );
        let shown = shown(&plugin).into_string();
        assert!(shown.contains("&lt;b&gt;.md") && shown.contains("&lt;") && !shown.contains("<b>.md"), "{shown}");
        assert_eq!(shown.matches("<details>").count(), 2, "{shown}");
        // Nothing of it hides or takes the page.
        let output = |number: u32| (number.to_string(), json!({ "description": "x".repeat(4_000) }));
        let outputs: Value = (0..22).map(output).collect();
        let long = json!({ "outputs_schema": { "properties": outputs }, "examples": [{ "a": "\u{202e}" }] });
        let shown = super::shown(&long).into_string();
        assert!(shown.contains("and 2 more") && shown.contains("\\u{202e}") && shown.len() < 20_000, "{shown}");
        let nothing = json!({ "needs": [], "optional_tools": [], "examples": [], "outputs_schema": null });
        assert_eq!((sentences(&nothing), super::shown(&nothing).into_string()), (String::new(), String::new()));
    }
}
