//! What holds of the gate, whatever it is asked.

use proptest::prelude::*;
use serde_json::Value;
use sortie_contract::envelope::Constraints;
use sortie_contract::tool::{ToolInfo, ToolName};
use sortie_mission::gate::{Gate, Rules};

const TOOLS: [&str; 8] = ["Read", "Write", "Glob", "Grep", "WebFetch", "HttpRequest", "Bash", "mcp__x__y"];

fn tool() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&TOOLS)
}

/// Entries that can be read, that nearly can, and any text.
fn entry() -> impl Strategy<Value = String> {
    let scope = prop_oneof![
        "(docs|src|\\*\\*|\\*|a)(/(a|\\*|\\*\\*|\\*\\.md)){0,3}",
        "domain:(\\*\\.)?[a-c.]{1,6}(:[0-9]{1,3})?",
        "(path|url|repo|command)=[a-c/*]{1,5}",
        "(ls|rm|git|env|xargs|find)( [a-c*-]{1,3}){0,3}( \\*)?",
        ".{0,12}",
    ];
    prop_oneof![
        1 => tool().prop_map(str::to_owned),
        1 => Just("*".to_owned()),
        6 => (tool(), scope.clone()).prop_map(|(tool, scope)| format!("{tool}({scope})")),
        1 => (".{0,6}", scope).prop_map(|(name, scope)| format!("{name}({scope}")),
    ]
}

fn lists() -> impl Strategy<Value = Constraints> {
    let list = || prop::collection::vec(entry(), 0..5);
    (list(), list(), list()).prop_map(|(allowed_tools, forbidden_tools, approval_required)| Constraints {
        allowed_tools,
        forbidden_tools,
        approval_required,
    })
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "(\\./)?(docs|src|a|\\.\\.)(/(a|b\\.md|\\*|\\.\\.)){0,3}",
        "https?://[a-c.@:/]{0,8}",
        "(ls|rm|git|env|xargs|find|bash)([ ;|&\n'\"\\\\$><*a-c-]{0,12})",
        "(\\(|\\{|if |\\$\\(|`|<|>|[0-9]|'|\"|\\\\|\n| |;|a){0,30}",
        ".{0,30}",
    ]
}

fn arguments() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        8 => text().prop_map(Value::from),
        1 => any::<i32>().prop_map(Value::from),
        1 => prop::collection::vec(text(), 0..2).prop_map(Value::from),
        1 => Just(Value::Null),
    ];
    let keys = prop::sample::select(&["path", "url", "repo", "command", "pattern", "glob"]);
    prop_oneof![
        12 => prop::collection::vec((keys, value), 0..4)
            .prop_map(|all| Value::Object(all.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()).to_string()),
        1 => ".{0,40}",
    ]
}

/// The wider, the greater.
fn width(constraints: &Constraints, tool: &str, arguments: &str) -> u8 {
    match Rules::new(constraints).gate(&[], &ToolInfo::undeclared(ToolName::new(tool)), arguments) {
        Gate::Granted => 2,
        Gate::NeedsApproval(_) => 1,
        Gate::Forbidden(_) | Gate::NotAllowed(_) => 0,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn it_answers_whatever_it_is_asked_and_the_same_twice(lists in lists(), tool in tool(), arguments in arguments()) {
        let (rules, tool) = (Rules::new(&lists), ToolInfo::undeclared(ToolName::new(tool)));
        let first = rules.gate(&[], &tool, &arguments);
        prop_assert_eq!(first, rules.gate(&[], &tool, &arguments));
        let others = Rules::new(&lists);
        prop_assert_eq!(first, others.gate(&[], &tool, &arguments));
        if matches!(first, Gate::Granted | Gate::NeedsApproval(_)) {
            prop_assert!(rules.may_grant(&tool), "a call is granted, and no handle");
        }
    }

    #[test]
    fn a_prohibition_more_never_widens_and_an_allowance_more_never_narrows(
        lists in lists(),
        more in entry(),
        tool in tool(),
        arguments in arguments(),
    ) {
        let before = width(&lists, tool, &arguments);
        let mut forbidden = lists.clone();
        forbidden.forbidden_tools.push(more.clone());
        prop_assert!(width(&forbidden, tool, &arguments) <= before, "{more}");
        let mut held = lists.clone();
        held.approval_required.push(more.clone());
        prop_assert!(width(&held, tool, &arguments) <= before, "{more}");
        let mut allowed = lists.clone();
        allowed.allowed_tools.push(more.clone());
        prop_assert!(width(&allowed, tool, &arguments) >= before, "{more}");
    }

    /// What an allowance takes for sure, a prohibition of the same words takes too.
    #[test]
    fn what_is_allowed_by_a_scope_is_forbidden_by_the_same(entry in entry(), tool in tool(), arguments in arguments()) {
        let list = |allowed: &[&str], forbidden: &[&str]| {
            let own = |all: &[&str]| all.iter().map(|&entry| entry.to_owned()).collect();
            Constraints { allowed_tools: own(allowed), forbidden_tools: own(forbidden), approval_required: Vec::new() }
        };
        let allowed = width(&list(&[&entry], &[]), tool, &arguments) > 0;
        let forbidden = width(&list(&["*"], &[&entry]), tool, &arguments) == 0;
        prop_assert!(forbidden || !allowed, "{entry} allows what it does not forbid");
    }
}
