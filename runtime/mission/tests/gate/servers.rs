//! `mcp__server__tool(argument=glob, …)`: ways around a condition on an argument.

use serde_json::json;

use crate::{Allowed, Asks, Denied, check, constraints};

const TOOL: &str = "mcp__github__create_issue";

#[test]
fn every_condition_holds() {
    for (scope, arguments, expected) in [
        ("repo=acme/*", json!({"repo": "acme/site"}), Allowed),
        ("repo=acme/*", json!({"repo": "acme/site", "title": "x"}), Allowed),
        ("repo=acme/*", json!({"repo": "evil/site"}), Denied),
        ("repo=acme/*", json!({"repo": "acme/site/x"}), Denied),
        ("repo=acme/*", json!({"repo": "acme/../evil"}), Denied),
        ("repo=acme/**", json!({"repo": "acme/x/../../evil"}), Denied),
        ("repo=acme/**", json!({"repo": "acme/x\\..\\evil"}), Denied),
        ("repo=acme/*", json!({"repo": "acme/site\nevil"}), Denied),
        ("repo=acme/*", json!({"repo": "acme/..%2Fx"}), Denied),
        ("repo=acme/*", json!({"repo": "acme/%2e%2E"}), Denied),
        ("repo=acme/*", json!({"repo": "acme/x%5cy"}), Denied),
        ("repo=acme/*", json!({"repo": "acme/%252e%252e%252fx"}), Denied),
        ("repo=acme/*", json!({"repo": "acme/100%"}), Allowed),
        ("repo=acme/*", json!({"repo": "acme/a%20b"}), Allowed),
        ("repo=acme/*", json!({"repo": "ACME/site"}), Denied),
        ("repo=acme/*", json!({"repo": ["acme/site"]}), Allowed),
        ("repo=acme/*", json!({"repo": ["acme/site", "acme/x"]}), Allowed),
        ("repo=acme/*", json!({"repo": ["acme/site", "evil/x"]}), Denied),
        ("repo=acme/*", json!({"repo": ["evil/x", "acme/site"]}), Denied),
        ("repo=acme/*", json!({"repo": ["acme/site", null]}), Denied),
        ("repo=acme/*", json!({"repo": ["acme/site", ["acme/x"]]}), Denied),
        ("repo=acme/*", json!({"repo": ["acme/../evil"]}), Denied),
        ("repo=acme/*", json!({"repo": ["acme/site"], "REPO": ["evil/x"]}), Denied),
        ("repo=**", json!({"repo": []}), Denied),
        ("repo=acme/*", json!({"repo": {"name": "acme/site"}}), Denied),
        ("repo=acme/*", json!({"input": {"repo": "acme/site"}}), Denied),
        ("repo=acme/*", json!({"repo": null}), Denied),
        ("repo=acme/*", json!({}), Denied),
        ("repo=acme/*", json!({"repo": "acme/site", "Repo": "evil/x"}), Denied),
        ("repo=acme/*, title=Bug*", json!({"repo": "acme/site", "title": "Bug: x"}), Allowed),
        ("repo=acme/*, title=Bug*", json!({"repo": "acme/site", "title": "x"}), Denied),
        ("repo=acme/*, title=Bug*", json!({"title": "Bug: x"}), Denied),
        ("count=3", json!({"count": 3}), Allowed),
        ("count=3", json!({"count": "3"}), Allowed),
        ("count=3", json!({"count": 3.0}), Denied),
        ("draft=true", json!({"draft": true}), Allowed),
        ("draft=true", json!({"draft": false}), Denied),
        ("repo=**", json!({"repo": "any/thing"}), Allowed),
        ("repo=*", json!({"repo": "any/thing"}), Denied),
        ("url=https://api.example.org/**", json!({"url": "https://api.example.org/a/b"}), Allowed),
        ("repo=acme/*", json!({"repo": format!("acme/{}", "x".repeat(5_000))}), Denied),
        ("repo=acme/*", json!({"repo": vec!["acme/site"; 1_000]}), Allowed),
        ("repo=acme/*", json!({"repo": vec!["acme/site"; 1_001]}), Denied),
    ] {
        let arguments = arguments.to_string();
        check(&constraints(&format!("{TOOL}({scope})"), "", ""), TOOL, &arguments, expected);
        check(&constraints(&format!("MCP__GitHub__*({scope})"), "", ""), TOOL, &arguments, expected);
    }
    check(
        &constraints("mcp__github__*(repo=acme/*)", "", ""),
        "mcp__gitlab__create_issue",
        r#"{"repo":"acme/x"}"#,
        Denied,
    );
}

#[test]
fn a_prohibition_takes_no_chances_with_values() {
    for (scope, arguments, expected) in [
        ("repo=acme/*", json!({"repo": "other/site"}), Allowed),
        ("repo=acme/*", json!({"repo": "acme/site"}), Denied),
        ("repo=acme/*", json!({"repo": "ACME/site"}), Denied),
        ("repo=acme/*", json!({"repo": "./acme//site"}), Denied),
        ("repo=acme/*", json!({"repo": " acme/site "}), Denied),
        ("repo=acme/*", json!({"repo": "acme\\site"}), Denied),
        ("repo=acme/*", json!({"repo": "x/../acme/site"}), Denied),
        ("repo=acme/*", json!({"repo": ["other/site"]}), Allowed),
        ("repo=acme/*", json!({"repo": ["other/site", "acme/x"]}), Denied),
        ("repo=acme/*", json!({"repo": ["other/site", "ACME/x"]}), Denied),
        ("repo=acme/*", json!({"repo": ["other/site", {"name": "x"}]}), Denied),
        ("repo=acme/*", json!({"repo": vec!["other/site"; 1_000]}), Allowed),
        ("repo=acme/*", json!({"repo": vec!["other/site"; 1_001]}), Denied),
        ("repo=acme/*", json!({"repo": []}), Denied),
        ("repo=acme/*", json!({"repo": null}), Denied),
        ("repo=acme/*", json!({}), Denied),
        ("repo=acme/*", json!({"repo": "other/x", "REPO": "acme/y"}), Denied),
        ("repo=acme/*, draft=true", json!({"repo": "acme/x", "draft": false}), Allowed),
        ("repo=acme/*, draft=true", json!({"repo": "acme/x"}), Denied),
        ("repo=acme/*, draft=true", json!({"draft": false}), Allowed),
        ("count=1", json!({"count": 1.0}), Denied),
        ("count=1", json!({"count": "01"}), Denied),
        ("count=1", json!({"count": 2}), Allowed),
    ] {
        let (entry, arguments) = (format!("{TOOL}({scope})"), arguments.to_string());
        check(&constraints("*", &entry, ""), TOOL, &arguments, expected);
        let asks = if expected == Denied { Asks } else { expected };
        check(&constraints("*", "", &entry), TOOL, &arguments, asks);
    }
    for arguments in ["", "[]", "{", "null", "\"acme/x\""] {
        check(&constraints(&format!("{TOOL}(repo=**)"), "", ""), TOOL, arguments, Denied);
        check(&constraints("*", &format!("{TOOL}(repo=x)"), ""), TOOL, arguments, Denied);
    }
}
