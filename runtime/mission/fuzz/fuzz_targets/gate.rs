//! Any constraints and any call: the gate answers, never panics, says the same twice, and hands out the handle of what it grants.
//!
//! A case is text: the tool, then a line of JSON, then an entry a line: `+` allowed, `-` forbidden, `?` approval. The corpus is a test of
//! `runtime/mission/tests/gate`, too.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sortie_contract::envelope::Constraints;
use sortie_contract::tool::{ToolInfo, ToolName};
use sortie_mission::gate::{Gate, Rules};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut lines = text.split('\n');
    let (Some(tool), Some(arguments)) = (lines.next(), lines.next()) else { return };
    let mut constraints = Constraints::default();
    for line in lines {
        let mut signs = line.chars();
        let list = match signs.next() {
            Some('+') => &mut constraints.allowed_tools,
            Some('-') => &mut constraints.forbidden_tools,
            Some('?') => &mut constraints.approval_required,
            _ => continue,
        };
        list.push(signs.as_str().to_owned());
    }
    let (rules, tool) = (Rules::new(&constraints), ToolInfo::undeclared(ToolName::new(tool)));
    let answer = rules.gate(&[], &tool, arguments);
    assert_eq!(answer, rules.gate(&[], &tool, arguments));
    assert!(!matches!(answer, Gate::Granted | Gate::NeedsApproval(_)) || rules.may_grant(&tool));
});
