//! What a server's annotations of a tool mean for missions, and what the operator says instead.
//!
//! | `readOnlyHint` | `destructiveHint` | `openWorldHint` | is taken for |
//! | --- | --- | --- | --- |
//! | none of the four hints is given | | | undeclared: a misspelt approval rule covers it |
//! | `true` | not `true` | any | read-only |
//! | not `true`, or `true` beside a destructive one | `false` | `false` | undeclared: it adds something, in a world of its own |
//! | | `false` | not `false` | `external_side_effect` |
//! | | not `false` | `false` | `destructive_local_ops` |
//! | | not `false` | not `false` | `external_side_effect` and `destructive_local_ops` |
//!
//! What is not said has the protocol's default, which is the more dangerous one. `idempotentHint` says that a call may be repeated, and
//! so does being read-only. A server that is not trusted (`trust_annotations = false`) is believed what makes missions ask more, and
//! nothing that makes them ask less.

use sortie_contract::money::MicroUsd;
use sortie_contract::tool::{EffectClass, ToolInfo, ToolName};

use crate::config::McpToolConfig;
use crate::listing::{Hints, Listed};

const EXTERNAL: &str = "external_side_effect";
const DESTRUCTIVE: &str = "destructive_local_ops";

/// What a server declares of a tool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Declared {
    effects: Vec<EffectClass>,
    read_only: bool,
    idempotent: bool,
}

impl Declared {
    pub(crate) fn of(hints: Hints, is_trusted: bool) -> Self {
        let Hints { read_only, destructive, idempotent, open_world } = hints;
        if [read_only, destructive, idempotent, open_world].iter().all(Option::is_none) {
            return Self::default();
        }
        let reads = read_only == Some(true) && destructive != Some(true);
        let mut effects = Vec::new();
        if !reads {
            let mut has = |class: &str| effects.push(EffectClass(class.to_owned()));
            if open_world != Some(false) {
                has(EXTERNAL);
            }
            if destructive != Some(false) {
                has(DESTRUCTIVE);
            }
        }
        let repeats = reads || idempotent == Some(true);
        Self { effects, read_only: reads && is_trusted, idempotent: repeats && is_trusted }
    }
}

/// What a mission is told of a tool. `prefix` is what its name begins with.
pub(crate) fn info(prefix: &str, listed: &Listed, declared: Declared, config: &McpToolConfig) -> ToolInfo {
    // As with built-in tools: a class that the tool does not declare says that it does more than was known.
    let given =
        config.effects.as_ref().is_some_and(|given| given.iter().any(|class| !declared.effects.contains(class)));
    let effects = match (&config.effects, config.read_only) {
        (Some(given), _) => given.clone(),
        // The operator knows better than the server.
        (None, Some(true)) => Vec::new(),
        (None, _) => declared.effects,
    };
    let read_only = config.read_only.unwrap_or(declared.read_only) && effects.is_empty();
    ToolInfo {
        // Cut, it would be another tool's name: one that is too long is left out, with its name.
        name: ToolName::new(&format!("{prefix}{}", listed.name)),
        description: listed.description.clone(),
        input_schema: listed.input_schema.clone(),
        read_only,
        idempotent: config.idempotent.unwrap_or((declared.idempotent && !given) || read_only),
        price: config.cost_usd.map_or(MicroUsd::ZERO, |price| price.0),
        effects,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn said(annotations: &Value) -> Hints {
        Listed::of(&json!({"name": "t", "inputSchema": {}, "annotations": annotations})).expect("a tool").hints
    }

    fn shown(declared: &Declared) -> String {
        let classes: Vec<&str> = declared.effects.iter().map(|class| class.0.as_str()).collect();
        format!("{} ro={} idem={}", classes.join("+"), declared.read_only, declared.idempotent)
    }

    #[test]
    fn annotations_mean_what_the_table_says() {
        for (annotations, trusted, expected) in [
            (json!(null), true, " ro=false idem=false"),
            (json!({}), true, " ro=false idem=false"),
            (json!({"title": "x"}), true, " ro=false idem=false"),
            (json!({"readOnlyHint": "yes"}), true, " ro=false idem=false"),
            (json!({"readOnlyHint": true}), true, " ro=true idem=true"),
            (json!({"readOnlyHint": true}), false, " ro=false idem=false"),
            (json!({"readOnlyHint": true, "openWorldHint": true}), true, " ro=true idem=true"),
            (
                json!({"readOnlyHint": true, "destructiveHint": true, "openWorldHint": false}),
                true,
                "destructive_local_ops ro=false idem=false",
            ),
            (json!({"destructiveHint": false, "openWorldHint": false}), true, " ro=false idem=false"),
            (json!({"destructiveHint": false}), true, "external_side_effect ro=false idem=false"),
            (json!({"openWorldHint": false}), true, "destructive_local_ops ro=false idem=false"),
            (json!({"readOnlyHint": false}), true, "external_side_effect+destructive_local_ops ro=false idem=false"),
            (json!({"idempotentHint": true}), true, "external_side_effect+destructive_local_ops ro=false idem=true"),
            (json!({"idempotentHint": true}), false, "external_side_effect+destructive_local_ops ro=false idem=false"),
        ] {
            assert_eq!(shown(&Declared::of(said(&annotations), trusted)), expected, "{annotations} {trusted}");
        }
    }

    #[test]
    fn the_operator_has_the_last_word() {
        let listed = Listed::of(&json!({"name": "t", "inputSchema": {}})).expect("a tool");
        let reads = Hints { read_only: Some(true), ..Hints::default() };
        let sends = Hints { destructive: Some(false), idempotent: Some(true), ..Hints::default() };
        let told = |hints, config: Value| {
            let config: McpToolConfig = serde_json::from_value(config).expect("a configuration");
            let info = info("mcp__s__", &listed, Declared::of(hints, true), &config);
            assert_eq!(info.name.as_str(), "mcp__s__t");
            let classes: Vec<String> = info.effects.iter().map(|class| class.0.clone()).collect();
            format!("{} ro={} idem={}", classes.join("+"), info.read_only, info.idempotent)
        };
        for (hints, config, expected) in [
            (reads, json!({}), " ro=true idem=true"),
            (reads, json!({"effects": ["outbound_email"]}), "outbound_email ro=false idem=false"),
            (reads, json!({"effects": ["outbound_email"], "idempotent": true}), "outbound_email ro=false idem=true"),
            (reads, json!({"read_only": false}), " ro=false idem=true"),
            (sends, json!({}), "external_side_effect ro=false idem=true"),
            (sends, json!({"effects": ["external_side_effect"]}), "external_side_effect ro=false idem=true"),
            (sends, json!({"effects": ["money_movement"]}), "money_movement ro=false idem=false"),
            (sends, json!({"read_only": true}), " ro=true idem=true"),
            (sends, json!({"effects": []}), " ro=false idem=true"),
            (Hints::default(), json!({"idempotent": true}), " ro=false idem=true"),
        ] {
            assert_eq!(told(hints, config.clone()), expected, "{config}");
        }
    }
}
