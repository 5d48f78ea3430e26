//! What a plugin returned from `describe`, held against the rules.

use sortie_contract::id::is_reserved;
use sortie_contract::limit::{NOTE_BYTES_MAX, clip};
use sortie_contract::plugin::{Manifest, Need, PluginRef};
use sortie_contract::unfold;

use super::InstallError;
use crate::world::Described;

/// Longest JSON Schema of inputs, in bytes.
const SCHEMA_BYTES_MAX: usize = 256 << 10;

/// Longest version, in bytes: it is part of a file's name.
const VERSION_BYTES_MAX: usize = 100;

/// Most things that it may need: each is looked up at each dispatch.
const NEEDS_MAX: usize = 32;

/// The manifest, if it keeps the rules.
pub(crate) fn manifest(described: Described) -> Result<Manifest, InstallError> {
    let wrong = |text: String| Err(InstallError::Manifest(text));
    let Described { name, version, description, inputs_schema, needs } = described;
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
    let inputs_schema = match inputs_schema {
        None => None,
        Some(text) if text.len() > SCHEMA_BYTES_MAX => {
            return wrong(format!("its inputs-schema has more than {SCHEMA_BYTES_MAX} bytes"));
        }
        Some(text) => match serde_json::from_str(&text) {
            Ok(schema @ (serde_json::Value::Object(_) | serde_json::Value::Bool(_))) => {
                if let Err(why) = unfold::bounded(&schema) {
                    return wrong(format!("its inputs-schema cannot be used: {why}"));
                }
                // Compiled as intake compiles it: what is no schema refuses each of its missions.
                if let Err(error) = jsonschema::validator_for(&schema) {
                    let error = clip(&error.to_string(), NOTE_BYTES_MAX);
                    return wrong(format!("its inputs-schema is no JSON Schema: {error}"));
                }
                Some(schema)
            }
            Ok(_) => return wrong("its inputs-schema is neither an object nor a boolean".to_owned()),
            Err(error) => return wrong(format!("its inputs-schema is not JSON: {error}")),
        },
    };
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
    Ok(Manifest { name, version, description: clip(&description, NOTE_BYTES_MAX), inputs_schema, needs })
}

#[cfg(test)]
mod tests {
    use sortie_contract::tool::ToolName;

    use super::*;

    fn check(name: &str, version: &str, schema: Option<&str>) -> Result<(), String> {
        let described = Described {
            name: name.to_owned(),
            version: version.to_owned(),
            description: String::new(),
            inputs_schema: schema.map(str::to_owned),
            needs: Vec::new(),
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
            };
            assert_eq!(manifest(described).is_ok(), fits, "{needs:?}");
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
