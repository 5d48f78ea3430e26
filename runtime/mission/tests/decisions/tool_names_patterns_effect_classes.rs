//! *Tool names, patterns, effect classes*: who may call what.

use serde_json::{Value, json};
use sortie_contract::record::Record;
use sortie_contract::request::RequestKind;
use sortie_contract::tool::{CallError, ToolName, Written};
use sortie_mission::Denial;

use crate::support::{Called, Tested, intake, the, written};

/// What becomes of a call: granted, refused by the rule that the plugin is told, or held by the one that people are told.
#[derive(Debug, PartialEq)]
enum Told {
    Granted,
    Denied(String),
    Asked(String),
}

/// What becomes of a call under these constraints.
fn call(constraints: &Value, name: &str) -> Told {
    let mut mission = Tested::running(json!({"constraints": constraints}));
    match mission.calls(&the(name), 0) {
        Called::Granted(_) => Told::Granted,
        Called::Refused(CallError::Denied(why)) => Told::Denied(why),
        Called::Held(_, _, RequestKind::Approval) => Told::Asked(mission.mission.open_requests()[0].question.clone()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn order_forbidden_then_approval_then_allowed_then_denied() {
    for (constraints, name, granted, told) in [
        (json!({"allowed_tools": ["Read"]}), "Read", "granted", ""),
        (json!({"allowed_tools": ["READ", "mcp__MAIL__*"]}), "Read", "granted", ""),
        (json!({"allowed_tools": ["mcp__MAIL__*"]}), "mcp__mail__send", "granted", ""),
        (json!({"allowed_tools": ["Read"]}), "Write", "denied", "allowed_tools"),
        (
            json!({"allowed_tools": ["*"], "forbidden_tools": ["Wr*"]}),
            "Write",
            "denied",
            "`Wr*` in constraints.forbidden_tools",
        ),
        (
            json!({"allowed_tools": ["*"], "forbidden_tools": ["Write"], "approval_required": ["Write"]}),
            "Write",
            "denied",
            "forbidden_tools",
        ),
        (
            json!({"allowed_tools": ["*"], "approval_required": ["Write"]}),
            "Write",
            "asked",
            "`Write` in constraints.approval_required",
        ),
        (
            json!({"allowed_tools": ["*"], "approval_required": ["outbound_email"]}),
            "mcp__mail__send",
            "asked",
            "`outbound_email` in constraints.approval_required",
        ),
        (json!({"allowed_tools": ["*"], "approval_required": ["outbound_email"]}), "Write", "granted", ""),
    ] {
        match (call(&constraints, name), granted) {
            (Told::Granted, "granted") => {}
            (Told::Denied(why), "denied") | (Told::Asked(why), "asked") => {
                assert!(why.contains(told), "{constraints}: {why}");
            }
            (got, _) => panic!("{constraints}, {name}: {got:?}"),
        }
    }
}

/// The tools that the plugin of a mission is handed.
fn handed(mission: &Tested) -> Vec<&str> {
    mission.mission.granted().expect("it has started").iter().map(ToolName::as_str).collect()
}

#[test]
fn never_ask_for_what_cannot_be_granted() {
    let constraints = json!({"allowed_tools": ["Read"], "approval_required": ["Write"]});
    let Told::Denied(why) = call(&constraints, "Write") else { panic!("not denied at once") };
    assert!(why.contains("allowed_tools") && !why.contains("approval"), "{why}");
    let mission = Tested::running(json!({"constraints": constraints}));
    assert_eq!(handed(&mission), ["Read"], "no handle for what may never be called");
}

#[test]
fn a_tool_that_needs_approval_is_handed_out() {
    let constraints = json!({"allowed_tools": ["Read", "Write"], "approval_required": ["Write"]});
    let mission = Tested::running(json!({"constraints": constraints}));
    assert_eq!(handed(&mission), ["Read", "Write"], "who may ask needs a handle");
}

#[test]
fn a_misspelt_safety_rule_fails_safe() {
    let constraints = json!({"allowed_tools": ["*"], "approval_required": ["outbond_email"]});
    let admission = intake(json!({"constraints": constraints})).expect("accepted with a warning");
    assert_eq!(admission.unknown_approvals, ["outbond_email"]);
    assert!(admission.warnings.iter().any(|warning| warning.contains("outbond_email")), "{:?}", admission.warnings);
    let Told::Asked(question) = call(&constraints, "mcp__odd__thing") else { panic!("no declared class: asked") };
    assert!(question.contains("outbond_email") && question.contains("mcp__odd__thing"), "{question}");
    for classified in ["Read", "Write", "mcp__mail__send"] {
        assert_eq!(call(&constraints, classified), Told::Granted, "{classified}");
    }
}

#[test]
fn a_ban_of_what_is_not_here_is_warned_of() {
    for (entry, warned) in
        [("Delete", true), ("mcp__nobody__*", true), ("write", false), ("mcp__mail__*", false), ("Bash", false)]
    {
        let admission = intake(json!({"constraints": {"forbidden_tools": [entry]}})).expect("taken");
        let found =
            admission.warnings.iter().any(|warning| warning.contains("forbidden_tools") && warning.contains(entry));
        assert_eq!(found, warned, "{entry}: {:?}", admission.warnings);
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
fn what_is_nearly_a_name_is_refused_with_what_is_meant() {
    for (entry, meant) in [
        ("Wriet", Some("Write")),
        ("Raed", Some("Read")),
        ("WebFetsh", Some("WebFetch")),
        ("Bsh", Some("Bash")),
        ("outbond_email", Some("outbound_email")),
        ("destructiv_file_action", Some("destructive_file_actions")),
        ("mcp__mail__sent", Some("mcp__mail__send")),
        ("deploy", Some("deploys")),
        ("read", None),
        ("Money_Movement", None),
        ("R*d", None),
        ("Notify", None),
        ("HttpRequest", None),
        ("Ed", None),
    ] {
        for list in ["forbidden_tools", "allowed_tools"] {
            let found = intake(json!({"constraints": {list: [entry]}}));
            match (meant, found) {
                (None, found) => assert!(found.is_ok(), "{entry}: {found:?}"),
                (Some(meant), Err(Denial::Mistakes(mistakes))) => {
                    let [mistake] = mistakes.as_slice() else { panic!("{mistakes:?}") };
                    let place = format!("/constraints/{list}/0");
                    assert_eq!((mistake.code.as_str(), mistake.pointer.as_str()), ("misspelt_tool", place.as_str()));
                    assert!(mistake.detail.contains(&format!("`{meant}`")), "{}", mistake.detail);
                }
                (Some(_), found) => panic!("{entry}: {found:?}"),
            }
        }
    }
}

#[test]
fn an_allowance_in_another_language_of_patterns_allows_nothing_and_such_a_prohibition_is_refused() {
    for entry in ["WebFetc.", "Web.Fetch", "Rea."] {
        let allowed = intake(json!({"constraints": {"allowed_tools": [entry]}})).expect("it harms nobody");
        assert!(allowed.warnings.iter().any(|warning| warning.contains(entry)), "{:?}", allowed.warnings);
        assert!(intake(json!({"constraints": {"forbidden_tools": [entry]}})).is_err(), "{entry} would forbid nothing");
    }
}

#[test]
fn a_class_in_forbidden_tools_forbids_each_tool_that_has_it() {
    let lists = json!({"constraints": {"allowed_tools": ["*"], "forbidden_tools": ["workspace_write"]}});
    assert!(intake(lists.clone()).expect("taken").warnings.is_empty());
    let mut mission = Tested::running(lists);
    for (name, forbidden) in [("Write", true), ("Edit", true), ("Read", false), ("mcp__mail__send", false)] {
        assert_eq!(mission.call(&the(name), 0).is_err(), forbidden, "{name}");
    }
}

#[test]
fn a_file_is_stored_only_by_who_wrote_it_or_may_read_it_without_asking() {
    let read = the("Read");
    for (constraints, path, may) in [
        (json!({"allowed_tools": ["Read"]}), "old.md", true),
        (json!({"allowed_tools": ["*"], "forbidden_tools": ["Read"]}), "old.md", false),
        (json!({"allowed_tools": ["Read", "Write"], "approval_required": ["Read"]}), "old.md", false),
        (json!({"allowed_tools": ["Write"]}), "old.md", false),
        (json!({"allowed_tools": ["Write"]}), "out/new.md", true),
        (json!({"allowed_tools": ["Write"]}), "./out//new.md", true),
        (json!({"allowed_tools": ["Write"]}), "out/../old.md", false),
        (json!({"allowed_tools": ["Write"]}), "/out/new.md", false),
        (json!({"allowed_tools": ["Write"]}), "new.md", false),
    ] {
        let mut mission = Tested::running(json!({"constraints": constraints}));
        if let Ok(call) = mission.call(&the("Write"), 0) {
            mission.done(call, &["out/new.md"], 0);
        }
        assert_eq!(mission.mission.may_store_file(path, Some(&read)).is_ok(), may, "{constraints} {path}");
        let wrote = mission.mission.may_store_file(path, None).is_ok();
        assert_eq!(wrote, may && path.ends_with("new.md"), "{constraints} {path}");
    }
}

/// `put-file` and what is collected at the end: another mission of the session works in the same folder.
#[test]
fn of_a_file_that_it_may_not_read_a_mission_stores_the_bytes_that_it_left_there() {
    let theirs = "what another mission wrote";
    let calls = |writes: &[(&str, Option<&str>)]| -> Vec<Vec<Written>> {
        writes.iter().map(|(content, changed)| vec![written("report.md", content, *changed)]).collect()
    };
    let unsaid = vec![vec![Written { path: "report.md".to_owned(), sha256: None, changed: None }]];
    for (what, calls, now, may) in [
        ("written", calls(&[("mine", None)]), "mine", true),
        ("overwritten since", calls(&[("mine", None)]), theirs, false),
        ("written twice", calls(&[("draft", None), ("mine", None)]), "mine", true),
        ("back at a draft", calls(&[("draft", None), ("mine", None)]), "draft", false),
        ("its own, edited", calls(&[("draft", None), ("mine", Some("draft"))]), "mine", true),
        ("theirs, edited", calls(&[("theirs, edited", Some(theirs))]), "theirs, edited", false),
        ("its own, theirs, edited", calls(&[("mine", None), ("mixed", Some(theirs))]), "mixed", false),
        ("mixed, edited", calls(&[("mixed", Some(theirs)), ("mixed too", Some("mixed"))]), "mixed too", false),
        ("mixed, written anew", calls(&[("mixed", Some(theirs)), ("mine", None)]), "mine", true),
        ("of an older sortie", unsaid, "anything", true),
    ] {
        for reads in [false, true] {
            let tools = if reads { ["Write", "Read"].as_slice() } else { ["Write"].as_slice() };
            let mut mission = Tested::running(json!({"constraints": {"allowed_tools": tools}}));
            for wrote in &calls {
                let call = mission.call(&the("Write"), 0).expect("granted");
                mission.left(call, wrote.clone(), 0);
            }
            let storable = mission.mission.may_store_file("./report.md", Some(&the("Read")));
            let taken = storable.and_then(|storable| storable.takes("./report.md", now.as_bytes()));
            assert_eq!(taken.is_ok(), may || reads, "{what}, {reads}: {taken:?}");
        }
    }
}

#[test]
fn a_scope_that_nobody_can_read_is_refused_at_its_place() {
    let lists = json!({"constraints": {
        "allowed_tools": ["Read", "Bash(git diff *)", "Read(", "outbound_email(x)"],
        "forbidden_tools": ["WebSearch(x)", "Wriet(docs/**)", "workspace_write"],
        "approval_required": ["Bash(a; b)", "sending money (any)", "Raed(docs/**)"],
    }});
    let Err(Denial::Mistakes(mistakes)) = intake(lists) else { panic!("it was taken") };
    let found: Vec<(&str, &str)> =
        mistakes.iter().map(|mistake| (mistake.pointer.as_str(), mistake.code.as_str())).collect();
    let expected = [
        ("/constraints/forbidden_tools/0", "invalid_pattern"),
        ("/constraints/allowed_tools/2", "invalid_pattern"),
        ("/constraints/allowed_tools/3", "invalid_pattern"),
        ("/constraints/approval_required/0", "invalid_pattern"),
        ("/constraints/forbidden_tools/1", "misspelt_tool"),
        ("/constraints/approval_required/2", "misspelt_tool"),
    ];
    assert_eq!(found, expected, "{mistakes:#?}");
    assert!(mistakes[4].detail.contains("`Write`"), "{}", mistakes[4].detail);
}

#[test]
fn an_allowance_that_allows_next_to_nothing_is_warned_of() {
    for (entry, warned) in [
        ("Bash(bash *)", true),
        ("Bash(env *)", true),
        ("Bash(eval *)", true),
        ("Bash(xargs git *)", true),
        ("Bash(find . *)", false),
        ("Bash(git diff *)", false),
        ("Bash(bash x.sh)", false),
        ("Bash(*)", false),
    ] {
        let admission = intake(json!({"constraints": {"allowed_tools": [entry]}})).expect("taken");
        let found = admission.warnings.iter().any(|warning| warning.contains("next to nothing"));
        assert_eq!(found, warned, "{entry}: {:?}", admission.warnings);
    }
}

#[test]
fn the_call_is_decided_by_its_arguments_and_told_by_which_entry() {
    let constraints = json!({
        "allowed_tools": ["Write(reports/**)", "WebFetch(domain:*.example.org)"],
        "forbidden_tools": ["Write(reports/secret/**)"],
        "approval_required": ["Write(reports/*.md)"],
    });
    let mut mission = Tested::running(json!({"constraints": constraints}));
    assert_eq!(handed(&mission), ["Write", "WebFetch"], "a handle for what some call may");
    for (tool, arguments, expected) in [
        ("Write", json!({"path": "reports/a.txt"}), ""),
        (
            "Write",
            json!({"path": "secret.txt"}),
            "none that constraints.allowed_tools means, such as `Write(reports/**)`",
        ),
        ("Write", json!({"path": "../a"}), "its path has `..`"),
        ("Write", json!({"path": "reports/secret/a"}), "forbidden by `Write(reports/secret/**)`"),
        ("Write", json!({"path": "/reports/a"}), "its path is absolute, so it may be meant"),
        ("WebFetch", json!({"url": "https://a.example.org/"}), ""),
        ("WebFetch", json!({"url": "https://example.org/"}), "such as `WebFetch(domain:*.example.org)`"),
        ("Read", json!({"path": "reports/a"}), "`Read` is not in constraints.allowed_tools"),
    ] {
        match (mission.calls_with(&the(tool), &arguments.to_string(), 0), expected) {
            (Called::Granted(call), "") => mission.done(call, &[], 0),
            (Called::Refused(CallError::Denied(why)), expected) if !expected.is_empty() => {
                assert!(why.contains(expected), "{arguments}: {why}");
            }
            (other, _) => panic!("{tool} {arguments}: {other:?}"),
        }
    }
    let Called::Held(.., RequestKind::Approval) = mission.calls_with(&the("Write"), r#"{"path":"reports/a.md"}"#, 0)
    else {
        panic!("not asked")
    };
    let question = &mission.mission.open_requests()[0].question;
    assert!(question.contains("`Write(reports/*.md)` in constraints.approval_required"), "{question}");
}

#[test]
fn a_file_is_stored_only_if_that_very_file_may_be_read() {
    let read = the("Read");
    for (constraints, path, may) in [
        (json!({"allowed_tools": ["Read(docs/**)"]}), "docs/a", true),
        (json!({"allowed_tools": ["Read(docs/**)"]}), "./docs//a", true),
        (json!({"allowed_tools": ["Read(docs/**)"]}), "docs/../a", false),
        (json!({"allowed_tools": ["Read(docs/**)"]}), "a", false),
        (json!({"allowed_tools": ["Read"], "forbidden_tools": ["Read(secret/**)"]}), "secret/a", false),
        (json!({"allowed_tools": ["Read"], "approval_required": ["Read(secret/**)"]}), "secret/a", false),
        (json!({"allowed_tools": ["Read"], "approval_required": ["Read(secret/**)"]}), "docs/a", true),
    ] {
        let mission = Tested::running(json!({"constraints": constraints}));
        assert_eq!(mission.mission.may_store_file(path, Some(&read)).is_ok(), may, "{constraints} {path}");
    }
}

#[test]
fn a_refused_call_is_recorded() {
    let mut mission = Tested::running(json!({}));
    mission.call(&the("Read"), 0).expect_err("refused");
    let last = &mission.records.last().expect("a record").record;
    assert!(matches!(last, Record::CallRefused { error: CallError::Denied(_), .. }), "{last:?}");
}
