//! What a mended plugin may ask for beyond the record: the entries that would answer it, for its author to fill in.

use std::collections::BTreeSet;

use sortie_contract::record::{Record, Stamped};
use sortie_contract::tool::ToolName;

use super::super::case::Case;
use super::super::stage::REAL;

/// Comments below a case: an entry for each tool that was granted and not called, and for people who were not asked.
pub(crate) fn entries_beyond(case: &Case, records: &[Stamped]) -> String {
    let answered: BTreeSet<&str> = case.tools.iter().map(|says| says.name.as_str()).chain(REAL).collect();
    let granted = records.iter().filter_map(|stamped| match &stamped.record {
        Record::Granted { tools, .. } => Some(tools),
        _ => None,
    });
    let uncalled: BTreeSet<&str> =
        granted.flatten().map(ToolName::as_str).filter(|name| !answered.contains(name)).collect();
    let mut entries: Vec<String> =
        uncalled.into_iter().map(|name| format!("[[tool]]\nname = {name:?}\nanswer = {{}}\n")).collect();
    if case.people.is_empty() {
        entries.push("[[person]]\nsays = { answer = \"yes\" }\n".to_owned());
    }
    if entries.is_empty() {
        return String::new();
    }
    let said = "What a mended plugin asks for beyond that has no answer yet. These would give one:\n";
    let lines = entries.iter().fold(said.to_owned(), |all, entry| format!("{all}\n{entry}"));
    lines.lines().map(|line| format!("# {line}").trim_end().to_owned() + "\n").collect()
}

#[cfg(test)]
mod tests {
    use sortie_contract::Timestamp;

    use super::*;

    #[test]
    fn what_was_not_asked_has_an_entry_that_a_case_takes() {
        let tool = "[[tool]]\nname = \"WebFetch\"\nanswer = 1\n";
        let person = "[[person]]\nsays = \"deny\"\n";
        for (text, granted, expected) in [
            ("", &["Read", "WebFetch"][..], &["WebFetch", "person"][..]),
            (tool, &["Read", "WebFetch", "mcp__a__b"], &["mcp__a__b", "person"]),
            (person, &["WebFetch"], &["WebFetch"]),
            (&format!("{tool}{person}"), &["WebFetch"], &[]),
            ("", &[], &["person"]),
        ] {
            let whole = format!("mission = {{}}\n{text}[expect]\n");
            let case = Case::parse(&whole).expect("a case");
            let tools = granted.iter().map(|name| ToolName::new(name)).collect();
            let granted = Record::Granted { tools, memory_bytes_max: None };
            let records = [Stamped { at: Timestamp::UNIX_EPOCH, ran_ms: 0, record: granted }];
            let told = entries_beyond(&case, &records);
            assert!(told.lines().all(|line| line.starts_with('#')), "{told}");
            assert_eq!(told.matches("[[").count(), expected.len(), "{told}");
            assert!(expected.iter().all(|part| told.contains(part)), "{told}");
            // Without the first line, and without the marks, they are part of the case.
            let taken: String = told.lines().skip(1).map(|line| line[1..].trim_start().to_owned() + "\n").collect();
            Case::parse(&format!("{whole}{taken}")).expect("a case");
        }
    }
}
