//! `[[hook]]`: what an operator writes, and what is wrong with it.

use serde::Deserialize;
use serde_json::{Map, Value};
use sortie_contract::Pointer;
use sortie_contract::envelope::SecretRef;

use crate::hook::MADE_HERE;
use crate::signature::Scheme;

/// `[[hook]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HookConfig {
    /// What it is called: the last step of its address, and of the names of its missions.
    pub name: String,
    /// Where the secret is that its sender signs with: `env://NAME` or `file:///path`.
    pub secret: String,
    /// How its sender signs.
    #[serde(default)]
    pub signature: Scheme,
    /// An expression: only deliveries for which it is true become missions. Without one, all.
    pub when: Option<String>,
    /// What its templates may name beside the delivery.
    #[serde(default)]
    pub vars: Map<String, Value>,
    /// The envelope of its missions; its texts are templates.
    pub envelope: Map<String, Value>,
}

/// Why a hook cannot be meant.
#[derive(Debug, thiserror::Error)]
#[error("the hook `{hook}`: {why}")]
pub struct ConfigError {
    /// Its name, as it was written.
    pub hook: String,
    /// What is wrong, and what to do.
    pub why: String,
}

/// Most characters of a name.
const NAME_CHARS_MAX: usize = 64;

/// What a time of TOML becomes where JSON is read.
const TIME_OF_TOML: &str = "$__toml_private_datetime";

impl HookConfig {
    /// The reference to its secret.
    ///
    /// # Errors
    /// What is wrong with it, or with anything else that can be seen without a delivery.
    pub(crate) fn examine(&self) -> Result<SecretRef, ConfigError> {
        let wrong = |why: String| ConfigError { hook: self.name.escape_debug().to_string(), why };
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if self.name.is_empty() || self.name.len() > NAME_CHARS_MAX || !self.name.chars().all(is_name) {
            return Err(wrong(format!("a name has 1 to {NAME_CHARS_MAX} of `a-z0-9-`")));
        }
        // What is no reference may be the secret itself, so it is not repeated.
        let secret = self.secret.parse::<SecretRef>().map_err(|error| wrong(format!("`secret`: {error}")))?;
        if let Some(name) = MADE_HERE.iter().find(|name| self.envelope.contains_key(**name)) {
            return Err(wrong(format!("`envelope.{name}` is made of each delivery: leave it out")));
        }
        let (vars, envelope) = (Value::from(self.vars.clone()), Value::from(self.envelope.clone()));
        for (value, at) in [(&vars, "vars"), (&envelope, "envelope")] {
            if let Some(place) = time_in(value, &Pointer::root().join(at)) {
                return Err(wrong(format!("{}: write a time as a text, in quotes", place.as_str())));
            }
        }
        match crate::hook::faults(self).into_iter().next() {
            Some((at, why)) => Err(wrong(format!("{}: {why}", at.as_str()))),
            None => Ok(secret),
        }
    }
}

/// Where a value has a time of TOML, which JSON does not know.
fn time_in(value: &Value, at: &Pointer) -> Option<Pointer> {
    match value {
        Value::Object(fields) if fields.contains_key(TIME_OF_TOML) => Some(at.clone()),
        Value::Object(fields) => fields.iter().find_map(|(key, field)| time_in(field, &at.clone().join(key))),
        Value::Array(items) => {
            items.iter().enumerate().find_map(|(index, item)| time_in(item, &at.clone().join(index)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::Hook;

    #[test]
    fn what_cannot_be_meant_is_said_with_its_place() {
        let good =
            "name = \"ci\"\nsecret = \"env://CI\"\n[envelope]\nobjective = \"Mend {{ body.repository.name }}.\"\n";
        let check = |text: &str| {
            let config: HookConfig = toml::from_str(text).map_err(|error| error.to_string())?;
            Hook::new(&config).map(drop).map_err(|error| error.to_string())
        };
        assert_eq!(check(good), Ok(()));
        for (text, says) in [
            (good.replace("\"ci\"", "\"CI/..\""), "`a-z0-9-`"),
            (good.replace("env://CI", "hush"), "`secret`"),
            (good.replace("[envelope]", "signature = \"sha1\"\n[envelope]"), "none of `standard`"),
            (good.replace("[envelope]", "when = \"body.\"\n[envelope]"), "/when"),
            (good.replace("[envelope]", "when = \"bodi.action == 'opened'\"\n[envelope]"), "`bodi` is not known"),
            (good.replace("[envelope]", "vars = { day = 2026-11-27 }\n[envelope]"), "/vars/day"),
            (good.replace("[envelope]", "extra = 1\n[envelope]"), "unknown field"),
            (format!("{good}mission_id = \"x\"\n"), "`envelope.mission_id`"),
            (format!("{good}idempotency_key = \"x\"\n"), "`envelope.idempotency_key`"),
            (format!("{good}inputs = {{ a = [\"{{{{ previous.id }}}}\"] }}\n"), "/envelope/inputs/a/0"),
            (format!("{good}inputs = {{ a = \"{{{{ body\" }}\n"), "not closed"),
        ] {
            let told = check(&text).expect_err(&text);
            assert!(told.contains(says) && !told.contains("hush"), "{text}: {told}");
        }
    }
}
