//! Entries that nobody can read: intake refuses them, with what is right; missions that have them already are none the wider for it.

use serde_json::json;
use sortie_contract::tool::{ToolInfo, ToolName};
use sortie_mission::gate::{List, Rules, wrong};

use crate::{Allowed, Asks, Denied, constraints, said};

#[test]
fn what_cannot_be_read_is_refused_with_what_is_right() {
    for (entry, told) in [
        ("Bash(", "not closed"),
        ("Bash(git diff", "not closed"),
        ("Bash(git diff) ", "not closed"),
        ("Bash()", "empty"),
        ("Bash( )", "empty"),
        ("Bash(echo (x))", "no parentheses"),
        ("Bash(git diff; rm)", "`;` cannot be"),
        ("Bash(git diff $x)", "`$` cannot be"),
        ("Bash(echo 'x')", "cannot be"),
        ("Bash(a\tb)", "`\\t` cannot be"),
        ("Bash(b\u{fc}cher)", "cannot be"),
        ("Bash(* diff)", "written in full"),
        ("Bash(g*)", "written in full"),
        ("Bash(:*)", "before `:*`"),
        ("Bash(git **)", "`**`"),
        ("Read(/etc/passwd)", "absolute"),
        ("Read(../x)", "`..`"),
        ("Read(~/x)", "workspace"),
        ("Read(docs/)", "`docs/**`"),
        ("Read(.)", "`**`"),
        ("Read(docs**)", "whole folders"),
        ("Read(*.{md,txt})", "`{` has no meaning"),
        ("Read([a])", "`[` has no meaning"),
        ("WebFetch(example.org)", "domain:example.org"),
        ("WebFetch(domain:)", "is no host"),
        ("WebFetch(domain:https://x)", "is no host"),
        ("WebFetch(domain:x/y)", "is no host"),
        ("WebFetch(domain:*.1.2.3.4)", "is no host"),
        ("HttpRequest(domain:a.*.b)", "is no host"),
        ("mcp__x__y(repo)", "name=value"),
        ("mcp__x__y(=a)", "names no argument"),
        ("mcp__x__y(*=a)", "names no argument"),
        ("mcp__x__y(a=)", "no value"),
        ("mcp__x__y(a=1, a=2)", "twice"),
        ("mcp__x__y(a=b**)", "whole parts"),
        ("mcp__x__y(a=[b])", "`[` has no meaning"),
        ("outbound_email(x)", "effect class"),
        ("WebSearch(x)", "knows no scope"),
        ("Deploy(x)", "knows no scope"),
        ("*(x)", "one tool"),
        ("Re*(docs/**)", "one tool"),
    ] {
        for list in [List::Allowed, List::Forbidden, List::Approval] {
            let why = wrong(entry, list).unwrap_or_else(|| panic!("{entry} was taken"));
            assert!(why.contains(told), "{entry}: {why}");
        }
    }
    let long = format!("Read({})", "x".repeat(1_001));
    assert!(wrong(&long, List::Allowed).is_some_and(|why| why.contains("at most 1000 bytes")));
    for entry in ["Read", "*", "mcp__github__*", "Bash(git diff *)", "Bash(*)", "Read(**)", "mcp__x__*(a=b)", "deploys"]
    {
        assert_eq!(wrong(entry, List::Allowed), None, "{entry}");
    }
    assert_eq!(wrong("sending money (any)", List::Approval), None, "an approval may be anything that has no scope");
}

#[test]
fn an_allowance_that_nobody_can_read_grants_nothing() {
    let read = ToolInfo::undeclared(ToolName::new("Read"));
    for entry in ["Read(", "Read()", "Read(../x)", "(", "*(", "*(x)"] {
        let constraints = constraints(entry, "", "");
        assert_eq!(said(&constraints, "Read", r#"{"path":"x"}"#), Denied, "{entry}");
        assert!(!Rules::new(&constraints).may_grant(&read), "{entry}");
    }
}

#[test]
fn a_prohibition_that_nobody_can_read_means_every_call_of_what_it_names() {
    let arguments = json!({"path": "docs/a"}).to_string();
    for (entry, read, write) in
        [("Read(../x)", Denied, Allowed), ("Re*(", Denied, Allowed), ("(", Denied, Denied), ("a b (c)", Denied, Denied)]
    {
        assert_eq!(said(&constraints("*", entry, ""), "Read", &arguments), read, "{entry}");
        assert_eq!(said(&constraints("*", entry, ""), "Write", &arguments), write, "{entry}");
    }
    for (entry, read) in [("Read(../x)", Asks), ("sending (any)", Allowed)] {
        assert_eq!(said(&constraints("*", "", entry), "Read", &arguments), read, "{entry}");
    }
}

#[test]
fn a_handle_is_handed_out_if_any_call_could_be_granted() {
    for (allowed, forbidden, expected) in [
        ("Read(docs/**)", "", true),
        ("Read(docs/**)", "Read(docs/**)", true),
        ("Read(docs/**)", "Read", false),
        ("Read(docs/**)", "R*", false),
        ("Write(docs/**)", "", false),
        ("*", "Read(docs/**)", true),
    ] {
        let rules = Rules::new(&constraints(allowed, forbidden, ""));
        assert_eq!(rules.may_grant(&ToolInfo::undeclared(ToolName::new("Read"))), expected, "{allowed} {forbidden}");
    }
}

#[test]
fn the_corpus_of_the_fuzzer() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/gate");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).expect("the corpus") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).expect("a text");
        let mut lines = text.split('\n');
        let (tool, arguments) = (lines.next().expect("a tool"), lines.next().expect("arguments"));
        let entries: Vec<&str> = lines.collect();
        let of = |sign: char| entries.iter().filter_map(|line| line.strip_prefix(sign)).collect::<Vec<_>>().join("\n");
        let found = said(&constraints(&of('+'), &of('-'), &of('?')), tool, arguments);
        // Files that the fuzzer found have names of their own, and promise nothing but that they are survived.
        let expected = [("granted-", Allowed), ("asked-", Asks), ("denied-", Denied)];
        if let Some((_, expected)) = expected.into_iter().find(|(begin, _)| name.starts_with(begin)) {
            assert_eq!(found, expected, "{name}");
        }
        seen += 1;
    }
    assert!(seen >= 10, "the corpus is gone");
}
