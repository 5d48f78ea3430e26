//! What a plugin returned from `describe`, held against the rules.

use serde_json::Value;
use sortie_contract::id::is_reserved;
use sortie_contract::limit::{NOTE_BYTES_MAX, clip};
use sortie_contract::plugin::{Manifest, Need, PluginRef, Profile};
use sortie_contract::tool::ToolName;
use sortie_contract::unfold;

use super::InstallError;
use crate::world::{Described, Particulars};

/// Longest JSON Schema of inputs, in bytes.
const SCHEMA_BYTES_MAX: usize = 256 << 10;

/// Longest version, in bytes: it is part of a file's name.
const VERSION_BYTES_MAX: usize = 100;

/// Most things that it may need: each is looked up at each dispatch.
const NEEDS_MAX: usize = 32;

/// Most examples of inputs: each is shown.
const EXAMPLES_MAX: usize = 8;

/// The manifest, if it keeps the rules.
pub(crate) fn manifest(described: Described) -> Result<Manifest, InstallError> {
    let wrong = |text: String| Err(InstallError::Manifest(text));
    let Described { name, version, description, inputs_schema, needs, particulars } = described;
    let reference = format!("{name}@{version}");
    match reference.parse::<PluginRef>() {
        // A name with an `@` would read back as another name and version.
        Ok(parsed) if parsed.name == name && parsed.version.as_deref() == Some(&version) => {}
        _ => {
            let shown = clip(&reference, 200);
            return wrong(format!("`{shown}` is no name and version: a-z, 0-9 and `-`, at most 64; SemVer"));
        }
    }
    if version.len() > VERSION_BYTES_MAX {
        return wrong(format!("its version has more than {VERSION_BYTES_MAX} bytes"));
    }
    if name.starts_with('-') || name.ends_with('-') {
        return wrong(format!("the name `{name}` begins or ends with `-`: it would be read as an option"));
    }
    if is_reserved(&name) {
        return wrong(format!("`{name}` is reserved: it is a word of the API's paths"));
    }
    let inputs_schema = schema("inputs-schema", inputs_schema)?;
    if needs.len() > NEEDS_MAX {
        return wrong(format!("it needs {} things; at most {NEEDS_MAX}", needs.len()));
    }
    if needs.iter().any(|need| matches!(need, Need::OneOf(tools) if tools.is_empty() || tools.len() > NEEDS_MAX)) {
        return wrong(format!("it needs one of no tools, or of more than {NEEDS_MAX}"));
    }
    // A name is never longer than one may be: what is too long is cut, and no tool bears it.
    if needs.iter().flat_map(Need::tools).any(|tool| tool.as_str().is_empty()) {
        return wrong("it needs a tool without a name".to_owned());
    }
    let profile = profile(particulars, inputs_schema.as_ref())?;
    Ok(Manifest { name, version, description: clip(&description, NOTE_BYTES_MAX), inputs_schema, needs, profile })
}

/// What it says of its missions, if that keeps the rules.
fn profile(said: Particulars, inputs_schema: Option<&Value>) -> Result<Profile, InstallError> {
    let wrong = |text: String| Err(InstallError::Manifest(text));
    let Particulars { optional_tools, memory_bytes, runtime_ms, examples, outputs_schema } = said;
    if optional_tools.len() > NEEDS_MAX || optional_tools.iter().any(String::is_empty) {
        return wrong(format!("its optional-tools are more than {NEEDS_MAX}, or one is without a name"));
    }
    if memory_bytes == Some(0) || runtime_ms == Some(0) {
        return wrong("it says that its missions take no memory, or no time: leave out what is not known".to_owned());
    }
    if examples.len() > EXAMPLES_MAX || examples.iter().map(String::len).sum::<usize>() > SCHEMA_BYTES_MAX {
        return wrong(format!("its examples are more than {EXAMPLES_MAX}, or have more than {SCHEMA_BYTES_MAX} bytes"));
    }
    let takes = inputs_schema.and_then(|schema| jsonschema::validator_for(schema).ok());
    let mut read = Vec::new();
    for (index, text) in examples.iter().enumerate() {
        let no = index + 1;
        let example: Value = match serde_json::from_str(text) {
            Ok(example @ Value::Object(_)) => example,
            Ok(_) => return wrong(format!("its example {no} is no JSON object, as inputs are")),
            Err(error) => return wrong(format!("its example {no} is not JSON: {error}")),
        };
        if let Some(Err(error)) = takes.as_ref().map(|takes| takes.validate(&example)) {
            let (at, error) = (error.instance_path().to_string(), clip(&error.to_string(), NOTE_BYTES_MAX));
            return wrong(format!("its example {no} does not fit its inputs-schema at `{at}`: {error}"));
        }
        read.push(example);
    }
    let outputs_schema = schema("outputs-schema", outputs_schema)?;
    let optional = optional_tools.iter().map(|name| ToolName::new(name)).collect();
    Ok(Profile { optional, memory_bytes, runtime_ms, examples: read, outputs_schema })
}

/// A JSON Schema, if it is one that can be used.
fn schema(what: &str, text: Option<String>) -> Result<Option<Value>, InstallError> {
    let wrong = |text: String| Err(InstallError::Manifest(text));
    let Some(text) = text else { return Ok(None) };
    if text.len() > SCHEMA_BYTES_MAX {
        return wrong(format!("its {what} has more than {SCHEMA_BYTES_MAX} bytes"));
    }
    match serde_json::from_str(&text) {
        Ok(schema @ (Value::Object(_) | Value::Bool(_))) => {
            if let Err(why) = unfold::bounded(&schema) {
                return wrong(format!("its {what} cannot be used: {why}"));
            }
            // Compiled as intake compiles it: what is no schema refuses each of its missions.
            if let Err(error) = jsonschema::validator_for(&schema) {
                let error = clip(&error.to_string(), NOTE_BYTES_MAX);
                return wrong(format!("its {what} is no JSON Schema: {error}"));
            }
            Ok(Some(schema))
        }
        Ok(_) => wrong(format!("its {what} is neither an object nor a boolean")),
        Err(error) => wrong(format!("its {what} is not JSON: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, version: &str, schema: Option<&str>) -> Result<(), String> {
        let described = Described {
            name: name.to_owned(),
            version: version.to_owned(),
            description: String::new(),
            inputs_schema: schema.map(str::to_owned),
            needs: Vec::new(),
            particulars: Particulars::default(),
        };
        manifest(described).map(drop).map_err(|error| error.to_string())
    }

    #[test]
    fn needs_are_few_and_have_names() {
        let tool = |name: &str| Need::Tool(ToolName::new(name));
        for (needs, fits) in [
            (vec![Need::Model, tool("Read")], true),
            (vec![tool("Read"); NEEDS_MAX], true),
            (vec![tool("Read"); NEEDS_MAX + 1], false),
            (vec![tool("")], false),
            (vec![Need::OneOf(vec![ToolName::new("Write"), ToolName::new("Edit")])], true),
            (vec![Need::OneOf(Vec::new())], false),
            (vec![Need::OneOf(vec![ToolName::new("Read"); NEEDS_MAX + 1])], false),
            (vec![Need::OneOf(vec![ToolName::new("Read"), ToolName::new("")])], false),
        ] {
            let described = Described {
                name: "needy".to_owned(),
                version: "1.0.0".to_owned(),
                description: String::new(),
                inputs_schema: None,
                needs: needs.clone(),
                particulars: Particulars::default(),
            };
            assert_eq!(manifest(described).is_ok(), fits, "{needs:?}");
        }
    }

    #[test]
    fn what_it_says_of_its_missions_keeps_the_rules() {
        let takes =
            serde_json::json!({ "type": "object", "properties": { "n": { "type": "integer" } }, "required": ["n"] });
        let said = |change: fn(&mut Particulars)| {
            let mut particulars = Particulars {
                optional_tools: vec!["Write".to_owned()],
                memory_bytes: Some(1),
                runtime_ms: Some(1),
                examples: vec!["{\"n\": 1}".to_owned()],
                outputs_schema: Some("{\"type\": \"object\"}".to_owned()),
            };
            change(&mut particulars);
            profile(particulars, Some(&takes)).map_err(|error| error.to_string())
        };
        assert!(said(|_| ()).is_ok_and(|profile| profile.examples.len() == 1 && profile.optional.len() == 1));
        for (change, told) in [
            ((|it| it.optional_tools.push(String::new())) as fn(&mut Particulars), "without a name"),
            (|it| it.optional_tools = vec!["Read".to_owned(); NEEDS_MAX + 1], "more than 32"),
            (|it| it.memory_bytes = Some(0), "no memory"),
            (|it| it.runtime_ms = Some(0), "no time"),
            (|it| it.examples = vec!["{\"n\": 1}".to_owned(); EXAMPLES_MAX + 1], "more than 8"),
            (|it| it.examples.push("[]".to_owned()), "example 2 is no JSON object"),
            (|it| it.examples.push("{".to_owned()), "example 2 is not JSON"),
            (|it| it.examples.push("{\"n\": \"one\"}".to_owned()), "does not fit its inputs-schema at `/n`"),
            (|it| it.outputs_schema = Some("7".to_owned()), "outputs-schema"),
        ] {
            let why = said(change).expect_err(told);
            assert!(why.contains(told), "{told}: {why}");
        }
    }

    #[test]
    fn a_manifest_keeps_the_rules() {
        assert_eq!(check("report", "1.0.0", None), Ok(()));
        assert_eq!(check("report", "1.0.0-rc.1+build", Some(r#"{"type":"object"}"#)), Ok(()));
        for (name, version, schema) in [
            ("Report", "1.0.0", None),
            ("", "1.0.0", None),
            ("report@1.0.0", "1.0.0", None),
            ("batch", "1.0.0", None),
            ("report", "1", None),
            ("report", "", None),
            ("report", "1.0.0", Some("{")),
            ("report", "1.0.0", Some("7")),
            ("report", "1.0.0", Some(r#"{"type": "objekt"}"#)),
            ("report", "1.0.0", Some(r#"{"properties": {"a": {"minimum": "one"}}}"#)),
            ("report", "1.0.0", Some(r##"{"$ref": "#/definitions/nowhere"}"##)),
            ("report", "1.0.0", Some(r#"{"$ref": "https://example.org/schema.json"}"#)),
            ("report", "1.0.0", Some(r#"{"pattern": "("}"#)),
            ("batch", "1.0.0", None),
            ("--help", "1.0.0", None),
            ("-", "1.0.0", None),
            ("report-", "1.0.0", None),
            ("report", &format!("1.0.0-{}", "a".repeat(100)), None),
        ] {
            assert!(check(name, version, schema).is_err(), "{name} {version} {schema:?}");
        }
    }
}
