//! Secrets that a server was given, taken out of what it says: it has them, and may tell.

use std::fmt;

use serde_json::Value;
use sortie_contract::limit;

/// Shorter ones are not looked for: they are no secrets, and would be found everywhere.
const CHARS_MIN: usize = 6;

/// What stands in their place.
const VEILED: &str = "***";

/// See the module.
#[derive(Default, Clone)]
pub(crate) struct Veil(Vec<String>);

impl fmt::Debug for Veil {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Veil")
    }
}

impl Veil {
    /// Over these secrets.
    pub(crate) fn of<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut veiled: Vec<String> =
            secrets.into_iter().filter(|secret| secret.len() >= CHARS_MIN).map(str::to_owned).collect();
        // One that is a part of another must not spoil the other.
        veiled.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self(veiled)
    }

    /// The text without them.
    pub(crate) fn over(&self, text: String) -> String {
        self.0.iter().fold(text, |text, secret| {
            if text.contains(secret.as_str()) { text.replace(secret.as_str(), VEILED) } else { text }
        })
    }

    /// At most so many bytes of the text without them.
    pub(crate) fn clipped(&self, text: String, max: usize) -> String {
        limit::clip(&self.over(text), max)
    }

    /// Every text in it without them, names included.
    pub(crate) fn over_json(&self, value: Value) -> Value {
        if self.0.is_empty() {
            return value;
        }
        match value {
            Value::String(text) => Value::String(self.over(text)),
            Value::Array(items) => items.into_iter().map(|item| self.over_json(item)).collect(),
            Value::Object(fields) => {
                fields.into_iter().map(|(name, field)| (self.over(name), self.over_json(field))).collect()
            }
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_taken_out_wherever_they_stand() {
        let veil = Veil::of(["hush-hush", "hush-hush-more", "1", "a \"quoted\" one"]);
        assert_eq!(veil.over("x hush-hush y hush-hush-more 1".to_owned()), "x *** y *** 1");
        let said = json!({"env": ["T=hush-hush", {"hush-hush": 1}], "q": "a \"quoted\" one"});
        assert_eq!(veil.over_json(said), json!({"env": ["T=***", {"***": 1}], "q": "***"}));
        assert!(!format!("{veil:?}").contains("hush"));
    }
}
