//! Where a mission goes that several nodes could take.
//!
//! Owned here: what `target_instance_id` says among several nodes, which of them could do what an envelope asks for, and which of those
//! gets it. Never here: which nodes there are, and whose the missions of a VP are already: all missions of a VP are with one node, and
//! whoever asks goes there first.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use sortie_contract::envelope::Envelope;
use sortie_contract::id::InstanceId;
use sortie_contract::plugin::{PluginIdentity, PluginRef};

use crate::admission::choose;

/// What a target begins with that means any node of a group.
const GROUP: &str = "group:";

/// What a target begins with that means any node with a label: `label:KEY=VALUE`.
const LABEL: &str = "label:";

/// Which nodes an envelope means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// Any.
    Any,
    /// Any of this group.
    Group(&'a str),
    /// Any that has this label with this value.
    Label(&'a str, &'a str),
    /// The one of this name.
    Named(&'a str),
}

impl<'a> Target<'a> {
    /// What a `target_instance_id` says.
    #[must_use]
    pub fn of(target: &'a InstanceId) -> Self {
        let text = target.as_str();
        if text == "*" {
            return Self::Any;
        }
        if let Some(group) = text.strip_prefix(GROUP) {
            return Self::Group(group);
        }
        match text.strip_prefix(LABEL).and_then(|label| label.split_once('=')) {
            Some((key, value)) => Self::Label(key, value),
            None => Self::Named(text),
        }
    }

    /// Whether a node of that name, with these groups and labels, is meant.
    #[must_use]
    pub fn means(self, name: &str, groups: &[String], labels: &BTreeMap<String, String>) -> bool {
        match self {
            Self::Any => true,
            Self::Group(group) => groups.iter().any(|of| of == group),
            Self::Label(key, value) => labels.get(key).is_some_and(|is| is == value),
            Self::Named(named) => named == name,
        }
    }
}

/// Why a node of that name does not take what is meant for this target, in words.
#[must_use]
pub fn not_meant(target: &str, node: &str) -> String {
    if let Some(group) = target.strip_prefix(GROUP) {
        if group.is_empty() {
            return format!("`{GROUP}` wants the name of a group: `{GROUP}NAME`");
        }
        return format!("no node here is in the group `{group}`");
    }
    if let Some(label) = target.strip_prefix(LABEL) {
        return match label.split_once('=') {
            Some((key, _)) if !key.is_empty() => format!("no node here has the label `{label}`"),
            _ => format!("`{target}` wants KEY=VALUE: `{LABEL}KEY=VALUE`"),
        };
    }
    let nearly = if target.eq_ignore_ascii_case(node) { "; capital letters count" } else { "" };
    format!("this node is `{node}`, the envelope is for `{target}`{nearly}")
}

/// A node, as it says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// What it is called.
    pub name: &'a str,
    /// What tells it apart from others of that name.
    pub node: &'a str,
    /// The groups that it is in.
    pub groups: &'a [String],
    /// What it says of itself beside them.
    pub labels: Option<&'a BTreeMap<String, String>>,
    /// Which plugin runs missions there, by type or VP.
    pub plugins_by: Option<&'a BTreeMap<String, PluginRef>>,
    /// The plugins that are installed there.
    pub plugins: &'a [PluginIdentity],
    /// The names of the tools that it has.
    pub tools: &'a [String],
    /// Its lanes.
    pub lanes: &'a [String],
    /// Missions that are not over there.
    pub open: u64,
    /// How many it runs at once.
    pub max_running: u64,
    /// Whether it takes none at the moment: it is being drained, or does not say where it is.
    pub is_closed: bool,
    /// Whether it was asked a moment ago and could not be reached: it gets what no other can do as well.
    pub is_unreached: bool,
}

/// Which of these nodes gets a mission: of those that are meant and take missions, one that has its lane, the plugin that runs it and the
/// tools that it names; of several one that can be reached, and of those the one that has least to do for what it can. `None`: none of those
/// that are meant takes any.
///
/// Where none has all of that, it is one of those that are meant: what is missing it says itself, to who asked.
#[must_use]
pub fn place(envelope: &Envelope, candidates: &[Candidate<'_>]) -> Option<usize> {
    let target = Target::of(&envelope.target_instance_id);
    let none = BTreeMap::new();
    let meant = candidates
        .iter()
        .enumerate()
        .filter(|(_, node)| !node.is_closed && target.means(node.name, node.groups, node.labels.unwrap_or(&none)));
    let rank = |(_, node): &(usize, &Candidate<'_>)| {
        // Per thousand of what it runs at once; in whole numbers, so that every node comes to the same.
        let load = node.open.saturating_mul(1_000) / node.max_running.max(1);
        (!runs(envelope, node), missing_tools(envelope, node), node.is_unreached, load, String::from(node.node))
    };
    meant.min_by_key(rank).map(|(index, _)| index)
}

/// Whether a node has the lane of an envelope, and the plugin that it would run on.
fn runs(envelope: &Envelope, node: &Candidate<'_>) -> bool {
    let none = BTreeMap::new();
    let has_lane =
        envelope.vp_runtime_id.as_ref().is_none_or(|lane| node.lanes.iter().any(|has| has.as_str() == lane.as_str()));
    let installed = |name: &str| node.plugins.iter().filter(|plugin| plugin.name == name).cloned().collect();
    has_lane && choose(envelope, node.plugins_by.unwrap_or(&none), &installed).is_ok()
}

/// How many tools an envelope allows by name that a node does not have. Patterns mean what is there.
fn missing_tools(envelope: &Envelope, node: &Candidate<'_>) -> usize {
    let named = envelope.constraints.allowed_tools.iter().map(|entry| crate::gate::name(entry));
    let named = named.filter(|name| !name.contains('*'));
    let has = |name: &str| node.tools.iter().any(|tool| tool.eq_ignore_ascii_case(name));
    let mut missing: Vec<&str> = named.filter(|name| !has(name)).collect();
    missing.sort_unstable();
    missing.dedup();
    missing.len()
}

/// What a node is called whose target means more than one: for people.
#[must_use]
pub fn described(target: Target<'_>) -> String {
    match target {
        Target::Any => String::from("any node"),
        Target::Group(group) => format!("a node of the group `{group}`"),
        Target::Label(key, value) => format!("a node with the label {key}={value}"),
        Target::Named(name) => format!("the node `{name}`"),
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;
    use alloc::vec;

    use serde_json::json;
    use sortie_contract::digest::Digest;

    use super::*;

    struct Node {
        groups: Vec<String>,
        labels: BTreeMap<String, String>,
        plugins: Vec<PluginIdentity>,
        tools: Vec<String>,
        lanes: Vec<String>,
        open: u64,
        max_running: u64,
        is_closed: bool,
        is_unreached: bool,
    }

    fn node(open: u64) -> Node {
        let plugins = vec![PluginIdentity {
            name: "automation".to_string(),
            version: "1.0.0".to_string(),
            digest: Digest::of(b"plugin"),
        }];
        Node {
            groups: Vec::new(),
            labels: BTreeMap::new(),
            plugins,
            tools: vec!["Read".to_string(), "Write".to_string()],
            lanes: vec!["default".to_string()],
            open,
            max_running: 10,
            is_closed: false,
            is_unreached: false,
        }
    }

    /// The place of an envelope with these fields among `nodes`, which are called `n0`, `n1` and so on.
    fn placed(fields: &serde_json::Value, nodes: &[Node]) -> Option<usize> {
        let mut text = json!({
            "mission_id": "m", "vp_id": "vp", "source_instance_id": "s", "target_instance_id": "*", "mission_type": "automation",
            "objective": "o", "idempotency_key": "k", "trace_id": "t", "created_at": "2026-11-22T00:00:00Z",
        });
        for (key, value) in fields.as_object().expect("fields") {
            text[key] = value.clone();
        }
        let envelope = Envelope::parse(&text.to_string()).expect("valid").envelope;
        let by = BTreeMap::from([("automation".to_string(), "automation".parse().expect("a plugin"))]);
        let names: Vec<String> = (0..nodes.len()).map(|at| format!("n{at}")).collect();
        let candidates: Vec<Candidate<'_>> = nodes
            .iter()
            .zip(&names)
            .map(|(node, name)| Candidate {
                name,
                node: name,
                groups: &node.groups,
                labels: Some(&node.labels),
                plugins_by: Some(&by),
                plugins: &node.plugins,
                tools: &node.tools,
                lanes: &node.lanes,
                open: node.open,
                max_running: node.max_running,
                is_closed: node.is_closed,
                is_unreached: node.is_unreached,
            })
            .collect();
        place(&envelope, &candidates)
    }

    #[test]
    fn who_is_not_meant_says_what_nobody_here_is() {
        for (target, told) in [
            ("group:none", "no node here is in the group `none`"),
            ("group:", "`group:` wants the name of a group: `group:NAME`"),
            ("label:gpu=no", "no node here has the label `gpu=no`"),
            ("label:k", "`label:k` wants KEY=VALUE: `label:KEY=VALUE`"),
            ("label:=", "`label:=` wants KEY=VALUE: `label:KEY=VALUE`"),
            ("label:", "`label:` wants KEY=VALUE: `label:KEY=VALUE`"),
            ("n2", "this node is `n1`, the envelope is for `n2`"),
            ("N1", "this node is `n1`, the envelope is for `N1`; capital letters count"),
        ] {
            assert_eq!(not_meant(target, "n1"), told);
        }
    }

    #[test]
    fn the_node_that_is_meant_and_can_and_has_least_to_do_gets_it() {
        let closed = |open| Node { is_closed: true, ..node(open) };
        let unreached = |open| Node { is_unreached: true, ..node(open) };
        let without_plugin = |open| Node { plugins: Vec::new(), ..node(open) };
        let without_write = |open| Node { tools: vec!["Read".to_string()], ..node(open) };
        let coder = |open| Node { groups: vec!["coders".to_string()], ..node(open) };
        let gpu = |open| Node { labels: BTreeMap::from([("gpu".to_string(), "yes".to_string())]), ..node(open) };
        let fast = |open| Node { lanes: vec!["default".to_string(), "fast".to_string()], ..node(open) };
        let writes = json!({"constraints": {"allowed_tools": ["Write(reports/*.md)", "Read"]}});
        for (label, fields, nodes, expected) in [
            ("the least loaded", json!({}), vec![node(3), node(1), node(2)], Some(1)),
            ("of equals the first by name", json!({}), vec![node(1), node(1)], Some(0)),
            ("for what it can do", json!({}), vec![Node { max_running: 100, ..node(5) }, node(1)], Some(0)),
            ("one that takes missions", json!({}), vec![closed(0), node(9)], Some(1)),
            ("one that can be reached", json!({}), vec![unreached(0), node(9)], Some(1)),
            ("what nobody else can do", json!({}), vec![unreached(0), without_plugin(0)], Some(0)),
            ("one that has the plugin", json!({}), vec![without_plugin(0), node(9)], Some(1)),
            ("one that has the version", json!({"plugin": "automation@2.0.0"}), vec![node(2), node(1)], Some(1)),
            ("one that has the tool", writes, vec![without_write(0), node(9)], Some(1)),
            (
                "a pattern means what is there",
                json!({"constraints": {"allowed_tools": ["mcp__x__*"]}}),
                vec![without_write(0), node(9)],
                Some(0),
            ),
            ("one that has the lane", json!({"vp_runtime_id": "fast"}), vec![node(0), fast(9)], Some(1)),
            ("one of the group", json!({"target_instance_id": "group:coders"}), vec![node(0), coder(9)], Some(1)),
            ("no group", json!({"target_instance_id": "group:writers"}), vec![node(0), coder(9)], None),
            ("one with the label", json!({"target_instance_id": "label:gpu=yes"}), vec![node(0), gpu(9)], Some(1)),
            ("another value", json!({"target_instance_id": "label:gpu=no"}), vec![node(0), gpu(9)], None),
            ("the one that is named", json!({"target_instance_id": "n1"}), vec![node(0), node(9)], Some(1)),
            ("none is there", json!({}), vec![closed(0)], None),
            ("what is missing is said by who is meant", json!({}), vec![without_plugin(1), without_plugin(0)], Some(1)),
        ] {
            assert_eq!(placed(&fields, &nodes), expected, "{label}");
        }
    }
}
