//! Names of tools as providers take them, and back: ours may be longer and have dots.

use rustc_hash::FxHashMap;
use sha2::{Digest as _, Sha256};
use sortie_contract::tool::ToolInfo;

use crate::request::{Block, Request};

/// Longest name that every provider takes.
const NAME_BYTES_MAX: usize = 64;

/// How much of a digest tells two names apart that would be the same.
const MARK_BYTES: usize = 4;

/// The tools' names of one request: those that may be asked for, and those of the conversation so far.
#[derive(Debug, Default)]
pub(crate) struct Names {
    told: FxHashMap<String, String>,
    ours: FxHashMap<String, String>,
}

impl Names {
    pub(crate) fn of(tools: &[ToolInfo], request: &Request) -> Self {
        let mut names = Self::default();
        for tool in tools {
            names.add(tool.name.as_str());
        }
        for block in request.messages.iter().flat_map(|message| &message.content) {
            if let Block::ToolUse { name, .. } = block {
                names.add(name);
            }
        }
        names
    }

    fn add(&mut self, name: &str) {
        if self.told.contains_key(name) {
            return;
        }
        let mut told: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).take(NAME_BYTES_MAX).collect();
        let mut salt = 0_u32;
        while self.ours.contains_key(&told) {
            let digest = Sha256::new().chain_update(salt.to_be_bytes()).chain_update(name).finalize();
            let mark: String = digest[..MARK_BYTES].iter().map(|byte| format!("{byte:02x}")).collect();
            told.truncate(NAME_BYTES_MAX - mark.len() - 1);
            told = format!("{told}_{mark}");
            salt += 1;
        }
        self.ours.insert(told.clone(), name.to_owned());
        self.told.insert(name.to_owned(), told);
    }

    /// As the provider is told.
    pub(crate) fn told<'n>(&'n self, name: &'n str) -> &'n str {
        self.told.get(name).map_or(name, String::as_str)
    }

    /// As we call what the provider names. A name that nobody told it stays what it is: a plugin that holds no tool of that name can call
    /// none.
    pub(crate) fn ours<'n>(&'n self, told: &'n str) -> &'n str {
        self.ours.get(told).map_or(told, String::as_str)
    }
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use sortie_contract::tool::ToolName;

    use super::*;

    #[test]
    fn every_name_is_told_in_a_form_that_providers_take_and_found_again() {
        let long = format!("mcp__{}", "x".repeat(100));
        let longer = format!("{long}y");
        let names = ["Read", "a.b", "a_b", "a-b", "a:b", "mcp__git__status", &long, &longer, "ä.b"];
        let tools: Vec<ToolInfo> = names.iter().map(|name| ToolInfo::undeclared(ToolName::new(name))).collect();
        let request = r#"{"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": [
            {"type": "tool_use", "id": "1", "name": "a/b", "input": {}}]}, {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "1", "content": ""}]}]}"#;
        let mapped = Names::of(&tools, &Request::parse(request).unwrap());
        let mut told = BTreeSet::new();
        for name in names.into_iter().chain(["a/b"]) {
            let as_told = mapped.told(name);
            assert!(
                !as_told.is_empty() && as_told.len() <= NAME_BYTES_MAX && as_told.chars().all(is_plain),
                "{as_told}"
            );
            assert!(told.insert(as_told), "{as_told} stands for two tools");
            assert_eq!(mapped.ours(as_told), name);
        }
        assert_eq!((mapped.told("Read"), mapped.told("a.b")), ("Read", "a_b"));
        assert_eq!(mapped.ours("never_told"), "never_told");
    }
}
