//! What a plugin says of its missions, for people: what they need and take, what is said to them, and what they leave.

use serde_json::Value;

use super::text;
use crate::takes::Takes;

/// Longest example that is shown on a line, in characters.
const EXAMPLE_MAX: usize = 160;

/// What an author and an operator want to know of a plugin, a line each.
pub(super) fn manifest(plugin: &Value) -> Vec<String> {
    let mut told = takes(plugin);
    let schema = &plugin["inputs_schema"];
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let input = |(name, declared): (&String, &Value)| {
        let kind = text::cell(&declared["type"]);
        let kind = if kind.is_empty() { "any".to_owned() } else { kind };
        let may = if required.contains(&name.as_str()) { "" } else { ", may be left out" };
        format!("{} ({kind}{may})", text::plain(name))
    };
    let inputs: Vec<String> = schema["properties"].as_object().into_iter().flatten().map(input).collect();
    told.extend(line("inputs", &inputs));
    let examples = plugin["examples"].as_array().into_iter().flatten();
    told.extend(
        examples.map(|example| format!("for example: {}", text::cut(&text::plain(&example.to_string()), EXAMPLE_MAX))),
    );
    told
}

/// What missions of a plugin take and leave, a line each.
pub(super) fn takes(plugin: &Value) -> Vec<String> {
    let Takes { needs, optional, costs } = Takes::of(plugin);
    let plain = |names: Vec<String>| names.iter().map(|name| text::plain(name)).collect::<Vec<_>>();
    let outputs = plugin["outputs_schema"]["properties"].as_object().into_iter().flatten();
    let output = |(name, of): (&String, &Value)| match of["description"].as_str() {
        Some(what) => format!("{} ({})", text::plain(name), text::plain(what)),
        None => text::plain(name),
    };
    let outputs: Vec<String> = outputs.map(output).collect();
    let lines = [("needs", plain(needs)), ("makes use of", plain(optional)), ("takes", costs), ("leaves", outputs)];
    lines.iter().filter_map(|(what, all)| line(what, all)).collect()
}

fn line(what: &str, all: &[String]) -> Option<String> {
    (!all.is_empty()).then(|| format!("{what}: {}", all.join(", ")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::manifest;

    #[test]
    fn what_a_plugin_says_of_its_missions_is_told_in_a_line_each() {
        let plugin = json!({
            "needs": [["model"], ["Write", "Edit"]], "optional_tools": ["Grep"], "memory_bytes": 64 << 20, "runtime_minutes": 2.5,
            "inputs_schema": { "properties": { "file": { "type": "string" }, "deep": {} }, "required": ["file"] },
            "examples": [{ "file": "a.md" }],
            "outputs_schema": { "properties": { "report.md": { "description": "what was found" }, "raw.json": {} } },
        });
        let told = [
            "needs: model, Write or Edit",
            "makes use of: Grep",
            "takes: 64 MiB of memory, 2.5 min of run time",
            "leaves: report.md (what was found), raw.json",
            "inputs: file (string), deep (any, may be left out)",
            "for example: {\"file\":\"a.md\"}",
        ];
        assert_eq!(manifest(&plugin), told);
        assert!(manifest(&json!({ "needs": [], "inputs_schema": null })).is_empty());
    }
}
