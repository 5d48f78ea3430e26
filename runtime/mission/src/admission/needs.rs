//! What a plugin cannot do without, and which missions would not get it: better refused when they are dispatched than begun in vain.
//!
//! Owned here: when a need is met. Never here: whether a call is granted, which is decided call by call.

use alloc::format;
use alloc::vec::Vec;

use sortie_contract::envelope::Constraints;
use sortie_contract::mistake::{Mistake, Pointer, code};
use sortie_contract::plugin::{Need, PluginIdentity};
use sortie_contract::tool::{MODEL, ToolInfo, ToolName};

use crate::gate::Rules;

/// What a mission with these constraints would not get of what its plugin needs, on a node with these tools.
#[must_use]
pub fn unmet(
    plugin: &PluginIdentity,
    needs: &[Need],
    constraints: &Constraints,
    tools: &[ToolInfo],
    has_model: bool,
) -> Vec<Mistake> {
    if needs.is_empty() {
        return Vec::new();
    }
    let rules = Rules::new(constraints);
    let name = &plugin.name;
    let lacks = needs.iter().filter_map(|need| match need {
        Need::Model => model(name, &rules, has_model),
        Need::Tool(tool) => missing(name, tool, &rules, tools),
    });
    lacks.collect()
}

fn model(plugin: &str, rules: &Rules, has_model: bool) -> Option<Mistake> {
    if !has_model {
        let detail = format!(
            "the plugin `{plugin}` needs a model, and this node has none: add `[model.NAME]` with protocol, model, key and price to its \
             configuration"
        );
        return Some(Mistake::new(Pointer::root().join("plugin"), code::NEED_UNMET, detail));
    }
    let model = ToolInfo::undeclared(ToolName::new(MODEL));
    let is_forbidden = matches!(rules.gate_of_model(&model), crate::gate::Gate::Forbidden(_));
    is_forbidden.then(|| {
        let pointer = Pointer::root().join("constraints").join("forbidden_tools");
        let detail = format!("the plugin `{plugin}` needs a model, and the mission is forbidden to ask any");
        Mistake::new(pointer, code::NEED_UNMET, detail)
    })
}

fn missing(plugin: &str, wanted: &ToolName, rules: &Rules, tools: &[ToolInfo]) -> Option<Mistake> {
    let name = wanted.as_str();
    let Some(tool) = tools.iter().find(|tool| tool.name.as_str().eq_ignore_ascii_case(name)) else {
        let detail = format!(
            "the plugin `{plugin}` needs the tool {name}, and this node has none of that name: configure `[tool.{name}]` or its server"
        );
        return Some(Mistake::new(Pointer::root().join("plugin"), code::NEED_UNMET, detail));
    };
    (!rules.may_grant(tool)).then(|| {
        let pointer = Pointer::root().join("constraints").join("allowed_tools");
        let detail = format!(
            "the plugin `{plugin}` needs the tool {name}, and no entry lets the mission call it: add \"{name}\", or an entry that says \
             which calls; and forbid none of all its calls"
        );
        Mistake::new(pointer, code::NEED_UNMET, detail)
    })
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use sortie_contract::digest::Digest;

    use super::*;

    #[test]
    fn a_need_is_met_where_some_call_may_be_granted() {
        let plugin = PluginIdentity { name: "coding".into(), version: "1.0.0".into(), digest: Digest::of(b"plugin") };
        let tools = ["Read", "Write"].map(|name| ToolInfo::undeclared(ToolName::new(name)));
        let needs = [Need::Model, Need::Tool(ToolName::new("Read"))];
        let place = |allowed: &[&str], forbidden: &[&str], needs: &[Need], has_model| {
            let list = |entries: &[&str]| entries.iter().map(|entry| (*entry).into()).collect();
            let constraints = Constraints {
                allowed_tools: list(allowed),
                forbidden_tools: list(forbidden),
                ..Constraints::default()
            };
            let found = unmet(&plugin, needs, &constraints, &tools, has_model);
            found.iter().map(|mistake| mistake.pointer.as_str().to_string()).collect::<Vec<_>>()
        };
        let allowed = "/constraints/allowed_tools";
        let bash = [Need::Tool(ToolName::new("Bash"))];
        for (grants, forbidden, needs, has_model, expected) in [
            (&["Read"][..], &[][..], &needs[..], true, &[][..]),
            (&["read"], &[], &needs, true, &[]),
            (&["*"], &["Read(secret/**)"], &needs, true, &[]),
            (&["Read(docs/**)"], &[], &needs, true, &[]),
            (&["Write"], &[], &needs, true, &[allowed]),
            (&[], &[], &needs, false, &["/plugin", allowed]),
            (&["*"], &["Read"], &needs, true, &[allowed]),
            (&["*"], &["model"], &needs, true, &["/constraints/forbidden_tools"]),
            (&["*"], &[], &bash, true, &["/plugin"]),
            (&[], &["*"], &[], false, &[]),
        ] {
            let told = place(grants, forbidden, needs, has_model);
            assert_eq!(told, expected.iter().map(ToString::to_string).collect::<Vec<_>>(), "{grants:?} {forbidden:?}");
        }
        assert_eq!(place(&[], &[], &[Need::Model], true), Vec::<alloc::string::String>::new());
    }
}
