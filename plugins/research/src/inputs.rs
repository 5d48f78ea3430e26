//! What the envelope's `inputs` say.

use serde::Deserialize;
use sortie_plugin::{Brief, Mistake, Value, json};

use crate::address::Address;

/// Most pages of one mission, given, found and linked together.
pub(crate) const PAGES_MAX: usize = 24;

/// Most questions of one mission.
pub(crate) const QUESTIONS_MAX: usize = 12;

/// How many steps links may be followed.
const DEPTH_MAX: u8 = 3;

/// What is to be found out, and where to begin.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Inputs {
    /// What is asked; without any, a model takes the objective apart.
    #[serde(default)]
    pub(crate) questions: Vec<String>,
    /// Addresses to read.
    #[serde(default)]
    sources: Vec<String>,
    /// How many steps links of what was read are followed.
    #[serde(default = "one")]
    pub(crate) depth: u8,
    /// Which model; without it the node's default one.
    pub(crate) model: Option<String>,
}

fn one() -> u8 {
    1
}

impl Inputs {
    /// Reads them, or says what is wrong.
    pub(crate) fn read(brief: &Brief) -> Result<Self, Vec<Mistake>> {
        let inputs: Self = brief.inputs().map_err(|mistake| vec![mistake])?;
        let mut mistakes = Vec::new();
        for (index, source) in inputs.sources.iter().enumerate() {
            if let Err(why) = Address::parse(source) {
                mistakes.push(Mistake::new(format!("/inputs/sources/{index}"), "not_an_address", why));
            }
        }
        for (key, count, max) in
            [("sources", inputs.sources.len(), PAGES_MAX), ("questions", inputs.questions.len(), QUESTIONS_MAX)]
        {
            if count > max {
                let why = format!("a mission has at most {max} {key}: make two of it");
                mistakes.push(Mistake::new(format!("/inputs/{key}"), "too_many", why));
            }
        }
        if inputs.depth > DEPTH_MAX {
            mistakes.push(Mistake::new(
                "/inputs/depth",
                "too_deep",
                format!("links are followed for {DEPTH_MAX} steps at most"),
            ));
        }
        if mistakes.is_empty() { Ok(inputs) } else { Err(mistakes) }
    }

    /// The addresses to read, each once.
    pub(crate) fn addresses(&self) -> Vec<Address> {
        let mut addresses: Vec<Address> = Vec::new();
        for address in self.sources.iter().filter_map(|source| Address::parse(source).ok()) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        addresses
    }
}

/// The JSON Schema of the inputs.
pub(crate) fn schema() -> Value {
    let texts = |description: &str| json!({ "type": "array", "items": { "type": "string", "minLength": 1 }, "description": description });
    json!({
        "type": "object",
        "properties": {
            "questions": texts("what is asked; without any, the objective is taken apart"),
            "sources": texts("addresses of pages to read"),
            "depth": { "type": "integer", "minimum": 0, "description": "how many steps links of what was read are followed, 0 to 3; by default 1" },
            "model": { "type": "string", "format": "sortie-model", "description": "which model of the node; by default its default one" },
        },
        "additionalProperties": false,
    })
}

#[cfg(test)]
mod tests {
    use sortie_plugin::testing::Node;

    use super::*;

    #[test]
    fn what_is_wrong_is_found_with_its_place() {
        let many: Vec<String> = (0..=PAGES_MAX).map(|n| format!("https://example.org/{n}")).collect();
        for (inputs, pointers) in [
            (json!({}), &[][..]),
            (json!({ "questions": ["Why?"], "sources": ["https://example.org/"], "depth": 0, "model": "m" }), &[]),
            (
                json!({ "sources": ["https://example.org/", "example.org", "file:///x"] }),
                &["/inputs/sources/1", "/inputs/sources/2"],
            ),
            (json!({ "sources": many }), &["/inputs/sources"]),
            (json!({ "depth": 4 }), &["/inputs/depth"]),
            (json!({ "urls": [] }), &["/inputs"]),
        ] {
            let found = Inputs::read(&Node::brief("find out", &inputs)).err().unwrap_or_default();
            let found: Vec<&str> = found.iter().map(|mistake| mistake.pointer.as_str()).collect();
            assert_eq!(found, pointers, "{inputs}");
        }
    }
}
