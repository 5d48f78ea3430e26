//! What a plugin cannot do without, and which missions would not get it: better refused when they are dispatched than begun in vain.
//!
//! Owned here: when a need is met. Never here: whether a call is granted, which is decided call by call.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use serde_json::Value;
use sortie_contract::envelope::Constraints;
use sortie_contract::limit;
use sortie_contract::mistake::{Mistake, Pointer, code};
use sortie_contract::plugin::{Need, PluginIdentity, Profile};
use sortie_contract::tool::{MODEL, ToolInfo, ToolName};

use crate::gate::Rules;

/// What memory is counted in.
const MIB: u64 = 1 << 20;

/// The `format` of what names a model, in the JSON Schema of a plugin's inputs.
const MODEL_FORMAT: &str = "sortie-model";

/// What the plugin could do no mission at all without, and the node does not have: it is as if it was not installed.
///
/// A tool of a server comes and goes; whether there is a model, the configuration says.
#[must_use]
pub fn unusable(plugin: &PluginIdentity, needs: &[Need], has_model: bool) -> Option<Mistake> {
    (!has_model && needs.contains(&Need::Model)).then(|| {
        let detail = format!(
            "the plugin `{}` needs a model, and this node has none: add `[model.NAME]` with protocol, model, key and price to its \
             configuration",
            plugin.name
        );
        Mistake::new(Pointer::root().join("plugin"), code::PLUGIN_NOT_INSTALLED, detail)
    })
}

/// What a mission with these constraints would not get of what its plugin needs, on a node with a model and these tools; and why one is not
/// there that the node has at other times, where it is `away`.
#[must_use]
pub fn unmet(
    plugin: &PluginIdentity,
    needs: &[Need],
    constraints: &Constraints,
    tools: &[ToolInfo],
    away: impl Fn(&str) -> Option<String>,
) -> Vec<Mistake> {
    if needs.is_empty() {
        return Vec::new();
    }
    let rules = Rules::new(constraints);
    let name = &plugin.name;
    let lacks = needs.iter().filter_map(|need| match need {
        Need::Model => forbidden_model(name, &rules),
        Need::Tool(_) | Need::OneOf(_) => missing(name, need.tools(), &rules, tools, &away),
    });
    lacks.collect()
}

/// What a run of the plugin takes that it would not get here: more memory than a plugin has on this node, more run time than its mission has.
#[must_use]
pub fn too_little(
    plugin: &PluginIdentity,
    profile: &Profile,
    memory_bytes_max: u64,
    runtime_ms_max: Option<u64>,
) -> Vec<Mistake> {
    let name = &plugin.name;
    let memory = profile.memory_bytes.filter(|wants| *wants > memory_bytes_max).map(|wants| {
        let (wants, has) = (wants.div_ceil(MIB), memory_bytes_max / MIB);
        let detail = format!(
            "the plugin `{name}` needs {wants} MiB of memory for a run, and plugins get {has} MiB here: write `plugin_memory_mib = {wants}` below \
             `[limits]` of the node's configuration"
        );
        Mistake::new(Pointer::root().join("plugin"), code::NEEDS_MEMORY, detail)
    });
    let time = profile.runtime_ms.zip(runtime_ms_max).filter(|(wants, has)| wants > has).map(|(wants, has)| {
        let (wants, has) = (minutes(wants), minutes(has));
        let detail = format!(
            "the plugin `{name}` needs {wants} minutes of run time for a mission, and this one has {has}: give it `\"max_runtime_minutes\": {wants}`, \
             and write `max_runtime_minutes = {wants}` below `[limits]` of the node's configuration where its ceiling is lower"
        );
        Mistake::new(Pointer::root().join("budget").join("max_runtime_minutes"), code::NEEDS_TIME, detail)
    });
    memory.into_iter().chain(time).collect()
}

/// Minutes with at most two places behind the point, rounded up.
fn minutes(ms: u64) -> String {
    let hundredths = ms.div_ceil(600);
    let text = format!("{}.{:02}", hundredths / 100, hundredths % 100);
    String::from(text.trim_end_matches('0').trim_end_matches('.'))
}

/// The line of configuration that gets a node a tool.
fn gets(tool: &ToolName) -> String {
    let server = tool.as_str().strip_prefix("mcp__").and_then(|rest| rest.split_once("__"));
    match (tool.as_str(), server) {
        (_, Some((server, _))) => {
            format!(
                "add `[mcp.{server}]` with `command = […]` or `url = \"…\"` to its configuration, and see that the server offers it"
            )
        }
        ("WebFetch" | "HttpRequest", _) => format!("add `[tool.{tool}]` with `hosts = […]` to its configuration"),
        ("WebSearch", _) => format!("add `[tool.{tool}]` with `provider = \"…\"` to its configuration"),
        _ => format!(
            "write `enabled = true` below `[tool.{tool}]` of its configuration, or configure the server that has it"
        ),
    }
}

/// Inputs that name a model which the node does not have: those whose place in the plugin's schema has the format `sortie-model`.
#[must_use]
pub fn unknown_models(schema: &Value, inputs: &Value, models: &[&str]) -> Vec<Mistake> {
    let properties = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
    let named = properties.filter(|(_, property)| property.get("format").and_then(Value::as_str) == Some(MODEL_FORMAT));
    let named = named.filter_map(|(key, _)| Some((key, inputs.get(key)?.as_str()?)));
    let unknown = named.filter(|(_, name)| !models.contains(name));
    let has = if models.is_empty() { "it has none".into() } else { format!("it has `{}`", models.join("`, `")) };
    let told = unknown.map(|(key, name)| {
        let name = limit::clip(name, limit::QUOTE_BYTES_MAX);
        let detail = format!(
            "this node has no model `{name}`; {has}. Name one of them, or add `[model.NAME]` to its configuration"
        );
        Mistake::new(Pointer::root().join("inputs").join(key), code::UNKNOWN_VALUE, detail)
    });
    told.collect()
}

fn forbidden_model(plugin: &str, rules: &Rules) -> Option<Mistake> {
    let model = ToolInfo::undeclared(ToolName::new(MODEL));
    let is_forbidden = matches!(rules.gate_of_unlisted(&model), crate::gate::Gate::Forbidden(_));
    is_forbidden.then(|| {
        let pointer = Pointer::root().join("constraints").join("forbidden_tools");
        let detail = format!("the plugin `{plugin}` needs a model, and the mission is forbidden to ask any");
        Mistake::new(pointer, code::NEEDS_MODEL, detail)
    })
}

/// What is wrong where none of the `wanted` tools may be called.
fn missing(
    plugin: &str,
    wanted: &[ToolName],
    rules: &Rules,
    tools: &[ToolInfo],
    away: impl Fn(&str) -> Option<String>,
) -> Option<Mistake> {
    let is_here = |name: &&ToolName| tools.iter().find(|tool| tool.name.as_str().eq_ignore_ascii_case(name.as_str()));
    let here: Vec<&ToolInfo> = wanted.iter().filter_map(|name| is_here(&name)).collect();
    if here.iter().any(|tool| rules.may_grant(tool)) {
        return None;
    }
    let names = wanted.iter().map(ToolName::as_str).collect::<Vec<_>>().join(", ");
    let needs = match wanted {
        [_] => format!("the plugin `{plugin}` needs the tool {names}"),
        _ => format!("the plugin `{plugin}` needs one of the tools {names}"),
    };
    let (pointer, detail) = if let Some(tool) = here.first() {
        let detail = format!(
            "{needs}, and no entry lets the mission call it: add \"{}\", or an entry that says which calls; and forbid none of all its \
             calls",
            tool.name
        );
        (Pointer::root().join("constraints").join("allowed_tools"), detail)
    } else {
        let detail = match wanted.iter().find_map(|name| away(name.as_str())) {
            Some(why) => {
                format!("{needs}, and its server is away for now ({why}): dispatch the mission again once it is back")
            }
            None => format!("{needs}, and this node has none of that name: {}", gets(wanted.first()?)),
        };
        (Pointer::root().join("plugin"), detail)
    };
    Some(Mistake::new(pointer, code::NEEDS_TOOL, detail))
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use serde_json::json;
    use sortie_contract::digest::Digest;

    use super::*;

    #[test]
    fn a_need_is_met_where_some_call_may_be_granted() {
        let plugin = PluginIdentity { name: "coding".into(), version: "1.0.0".into(), digest: Digest::of(b"plugin") };
        let tools = ["Read", "Write"].map(|name| ToolInfo::undeclared(ToolName::new(name)));
        let needs = [Need::Model, Need::Tool(ToolName::new("Read"))];
        let place = |allowed: &[&str], forbidden: &[&str], needs: &[Need]| {
            let list = |entries: &[&str]| entries.iter().map(|entry| (*entry).into()).collect();
            let constraints = Constraints {
                allowed_tools: list(allowed),
                forbidden_tools: list(forbidden),
                ..Constraints::default()
            };
            let found = unmet(&plugin, needs, &constraints, &tools, |_| None);
            found.iter().map(|mistake| mistake.pointer.as_str().to_string()).collect::<Vec<_>>()
        };
        let allowed = "/constraints/allowed_tools";
        let bash = [Need::Tool(ToolName::new("Bash"))];
        let write = [Need::OneOf(["Bash", "Edit", "Write"].map(ToolName::new).to_vec())];
        for (grants, forbidden, needs, expected) in [
            (&["Read"][..], &[][..], &needs[..], &[][..]),
            (&["read"], &[], &needs, &[]),
            (&["*"], &["Read(secret/**)"], &needs, &[]),
            (&["Read(docs/**)"], &[], &needs, &[]),
            (&["Write"], &[], &needs, &[allowed]),
            (&["*"], &["Read"], &needs, &[allowed]),
            (&["*"], &["model"], &needs, &["/constraints/forbidden_tools"]),
            (&["*"], &[], &bash, &["/plugin"]),
            (&["Write"], &[], &write, &[]),
            (&["Read", "Bash"], &[], &write, &[allowed]),
            (&["*"], &["Write"], &write, &[allowed]),
            (&[], &["*"], &[], &[]),
        ] {
            let told = place(grants, forbidden, needs);
            assert_eq!(told, expected.iter().map(ToString::to_string).collect::<Vec<_>>(), "{grants:?} {forbidden:?}");
        }
        assert_eq!(place(&[], &[], &[Need::Model]), Vec::<String>::new());
        // Its server may come back: then nothing is to be configured.
        let away = |name: &str| (name == "Bash").then(|| "it does not answer".to_string());
        let found = unmet(&plugin, &bash, &Constraints::default(), &tools, away);
        assert!(found[0].detail.contains("away for now (it does not answer): dispatch the mission again"), "{found:?}");
        for (needs, has_model, is_usable) in [(&needs[..], false, false), (&needs, true, true), (&bash, false, true)] {
            assert_eq!(unusable(&plugin, needs, has_model).is_none(), is_usable, "{needs:?} {has_model}");
        }
    }

    #[test]
    fn what_a_run_takes_is_there() {
        let plugin = PluginIdentity { name: "heavy".into(), version: "1.0.0".into(), digest: Digest::of(b"plugin") };
        let profile = |memory_bytes, runtime_ms| Profile { memory_bytes, runtime_ms, ..Profile::default() };
        let told = |profile: &Profile, memory, runtime| {
            let found = too_little(&plugin, profile, memory, runtime);
            found.iter().map(|mistake| (mistake.code.to_string(), mistake.detail.clone())).collect::<Vec<_>>()
        };
        assert!(told(&profile(None, None), 0, Some(0)).is_empty());
        assert!(told(&profile(Some(MIB), Some(60_000)), MIB, Some(60_000)).is_empty());
        // Where its budget is not known, something else is wrong.
        assert!(told(&profile(None, Some(60_000)), MIB, None).is_empty());
        let found = told(&profile(Some(300 * MIB - 1), Some(90_001)), 256 * MIB, Some(60_000));
        assert_eq!(found.iter().map(|(code, _)| code.as_str()).collect::<Vec<_>>(), ["needs_memory", "needs_time"]);
        assert!(found[0].1.contains("`plugin_memory_mib = 300`") && found[0].1.contains("256 MiB here"), "{found:?}");
        assert!(found[1].1.contains("`\"max_runtime_minutes\": 1.51`") && found[1].1.contains("has 1:"), "{found:?}");
    }

    #[test]
    fn each_tool_is_got_by_its_line() {
        for (tool, line) in [
            ("mcp__github__create_issue", "[mcp.github]"),
            ("Bash", "enabled = true` below `[tool.Bash]"),
            ("HttpRequest", "hosts = "),
            ("WebSearch", "provider = "),
        ] {
            let told = gets(&ToolName::new(tool));
            assert!(told.contains(line), "{told}");
        }
    }

    #[test]
    fn a_model_that_is_named_is_there() {
        let schema = json!({"properties": {"model": {"format": "sortie-model"}, "judge": {"format": "sortie-model"}, "note": {"format": "date"}}});
        for (inputs, expected) in [
            (json!({"model": "cheap", "judge": "dear"}), &[][..]),
            (json!({"model": "other", "note": "other"}), &["/inputs/model"]),
            (json!({"model": "other", "judge": "another"}), &["/inputs/judge", "/inputs/model"]),
            // What is no name is the schema's to tell.
            (json!({"model": null}), &[]),
            (json!([]), &[]),
        ] {
            let told = unknown_models(&schema, &inputs, &["cheap", "dear"]);
            let mut places: Vec<&str> = told.iter().map(|mistake| mistake.pointer.as_str()).collect();
            places.sort_unstable();
            assert_eq!(places, expected, "{inputs}");
            assert!(told.iter().all(|mistake| mistake.detail.contains("it has `cheap`, `dear`. Name one")), "{told:?}");
        }
        assert!(unknown_models(&json!(true), &json!({"model": "a"}), &[]).is_empty());
    }
}
