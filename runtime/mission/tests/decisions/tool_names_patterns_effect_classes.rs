//! *Tool names, patterns, effect classes*: who may call what.

use serde_json::{Value, json};
use sortie_contract::record::Record;
use sortie_contract::tool::CallError;

use crate::support::{Tested, intake, the, tools};

/// What becomes of a call under these constraints: granted, or the rule that the plugin is told.
fn call(constraints: &Value, name: &str) -> Result<(), String> {
    let mut mission = Tested::running(json!({"constraints": constraints}));
    match mission.call(&the(name), 0) {
        Ok(_) => Ok(()),
        Err(CallError::Denied(why)) => Err(why),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn order_forbidden_then_approval_then_allowed_then_denied() {
    for (constraints, name, told) in [
        (json!({"allowed_tools": ["Read"]}), "Read", None),
        (json!({"allowed_tools": ["READ", "mcp__MAIL__*"]}), "Read", None),
        (json!({"allowed_tools": ["mcp__MAIL__*"]}), "mcp__mail__send", None),
        (json!({"allowed_tools": ["Read"]}), "Write", Some("allowed_tools")),
        (json!({"allowed_tools": ["*"], "forbidden_tools": ["Wr*"]}), "Write", Some("forbidden_tools")),
        (
            json!({"allowed_tools": ["*"], "forbidden_tools": ["Write"], "approval_required": ["Write"]}),
            "Write",
            Some("forbidden_tools"),
        ),
        (json!({"allowed_tools": ["*"], "approval_required": ["Write"]}), "Write", Some("approval_required")),
        (
            json!({"allowed_tools": ["*"], "approval_required": ["outbound_email"]}),
            "mcp__mail__send",
            Some("approval_required"),
        ),
        (json!({"allowed_tools": ["*"], "approval_required": ["outbound_email"]}), "Write", None),
    ] {
        match (call(&constraints, name), told) {
            (Ok(()), None) => {}
            (Err(why), Some(told)) => assert!(why.contains(told), "{constraints}: {why}"),
            (got, _) => panic!("{constraints}, {name}: {got:?}"),
        }
    }
}

#[test]
fn never_ask_for_what_cannot_be_granted() {
    let constraints = json!({"allowed_tools": ["Read"], "approval_required": ["Write"]});
    let why = call(&constraints, "Write").expect_err("denied at once");
    assert!(why.contains("allowed_tools") && !why.contains("approval"), "{why}");
    let mission = Tested::running(json!({"constraints": constraints}));
    let granted: Vec<_> = mission.mission.granted(&tools()).iter().map(|tool| tool.name.to_string()).collect();
    assert_eq!(granted, ["Read"], "no handle for what may never be called");
}

#[test]
fn a_misspelt_safety_rule_fails_safe() {
    let constraints = json!({"allowed_tools": ["*"], "approval_required": ["outbond_email"]});
    let admission = intake(json!({"constraints": constraints})).expect("accepted with a warning");
    assert_eq!(admission.unknown_approvals, ["outbond_email"]);
    assert!(admission.warnings.iter().any(|warning| warning.contains("outbond_email")), "{:?}", admission.warnings);
    assert!(call(&constraints, "mcp__odd__thing").expect_err("no declared class").contains("outbond_email"));
    for classified in ["Read", "Write", "mcp__mail__send"] {
        assert_eq!(call(&constraints, classified), Ok(()), "{classified}");
    }
}

#[test]
fn an_approval_entry_that_is_a_class_of_the_configuration_is_known() {
    for known in ["deploys", "money_movement", "Edit", "mcp__mail__*"] {
        let admission = intake(json!({"constraints": {"approval_required": [known]}})).expect("taken");
        assert!(admission.unknown_approvals.is_empty() && admission.warnings.is_empty(), "{known}");
    }
}

#[test]
fn a_refused_call_is_recorded() {
    let mut mission = Tested::running(json!({}));
    mission.call(&the("Read"), 0).expect_err("refused");
    let last = &mission.records.last().expect("a record").record;
    assert!(matches!(last, Record::CallRefused { error: CallError::Denied(_), .. }), "{last:?}");
}
