//! What a decision of the gate costs, with fifty scoped patterns as missions write them.
//!
//! `cargo bench -p sortie-mission`. Compiled once, as a mission does. A command is read by two readers, and told apart from the rest.

use criterion::{Criterion, criterion_group, criterion_main};
use sortie_contract::envelope::Constraints;
use sortie_contract::tool::{ToolInfo, ToolName};
use sortie_mission::gate::{Gate, Rules};

/// Thirty allowances, ten prohibitions, ten approvals, of all kinds.
fn constraints() -> Constraints {
    let folders = ["docs", "src", "tests", "reports", "notes"];
    let mut allowed = Vec::new();
    for folder in folders {
        allowed.extend(["Read", "Write"].map(|tool| format!("{tool}({folder}/**)")));
        allowed.push(format!("WebFetch(domain:*.{folder}.example.org)"));
        allowed.push(format!("mcp__github__*(repo=acme/{folder}-*)"));
    }
    let commands =
        ["git diff", "git status", "git log", "cargo test", "cargo check", "npm run test", "ls", "cat", "grep", "rg"];
    allowed.extend(commands.map(|command| format!("Bash({command} *)")));
    let of = |tools: [&str; 2]| {
        folders.iter().flat_map(|folder| tools.map(|tool| format!("{tool}({folder}/secret/**)"))).collect()
    };
    let mut approval: Vec<String> =
        ["git push", "rm", "curl", "npm publish", "cargo publish"].map(|command| format!("Bash({command} *)")).into();
    approval.extend(folders.map(|folder| format!("mcp__github__merge(repo=acme/{folder}-*)")));
    Constraints { allowed_tools: allowed, forbidden_tools: of(["Read", "Write"]), approval_required: approval }
}

fn gate(criterion: &mut Criterion) {
    let constraints = constraints();
    let rules = Rules::new(&constraints);
    let mut group = criterion.benchmark_group("gate");
    for (name, tool, arguments) in [
        ("path", "Write", r#"{"path":"notes/2026/11/26.md","content":"a line\nand another\n"}"#),
        ("domain", "WebFetch", r#"{"url":"https://a.notes.example.org/x/y?z=1"}"#),
        ("argument", "mcp__github__create_issue", r#"{"repo":"acme/notes-1","title":"Bug","body":"It is broken."}"#),
        ("command", "Bash", r#"{"command":"git diff HEAD~1 -- src/main.rs"}"#),
        ("commands", "Bash", r#"{"command":"git log --oneline 2>/dev/null | grep 'a b' && cargo test --lib"}"#),
    ] {
        let tool = ToolInfo::undeclared(ToolName::new(tool));
        assert_eq!(rules.gate(&[], &tool, arguments), Gate::Granted, "{name}");
        group.bench_function(name, |bencher| bencher.iter(|| rules.gate(&[], &tool, arguments)));
    }
    group.bench_function("compile", |bencher| bencher.iter(|| Rules::new(&constraints)));
    group.finish();
}

criterion_group!(benches, gate);
criterion_main!(benches);
