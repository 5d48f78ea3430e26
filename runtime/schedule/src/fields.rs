//! Typed fields out of a table, collecting what is wrong instead of stopping at it.
//!
//! Every function answers `None` both for a field that is absent and for one that is wrong; the difference is the mistake that was
//! noted. `null` is absent. Owns no rule of a schedule: those stand in `parse`, beside the field that each is about.

use std::time::Duration;

use serde_json::{Map, Value};
use sortie_contract::mistake::code;
use sortie_contract::{Mistake, Pointer, duration, is_nearly, limit};

use crate::code::{INVALID_DURATION, UNKNOWN_KEY};

/// The longest duration that a schedule or a calendar may name: ten years. A longer one is a slip of the pen.
pub(crate) const DURATION_MAX: Duration = Duration::from_secs(3_653 * 86_400);

/// What was found wrong so far.
#[derive(Debug, Default)]
pub(crate) struct Found(pub(crate) Vec<Mistake>);

impl Found {
    pub(crate) fn wrong(&mut self, at: Pointer, code: &str, detail: impl Into<String>) {
        self.0.push(Mistake::new(at, code, detail));
    }

    /// As many as one answer tells; of more the last says so.
    pub(crate) fn told(mut self) -> Vec<Mistake> {
        if self.0.len() > limit::MISTAKES_MAX {
            self.0.truncate(limit::MISTAKES_MAX - 1);
            let detail = "there are more mistakes than these; mend them and send it again";
            self.wrong(Pointer::root(), code::MORE_MISTAKES, detail);
        }
        self.0
    }
}

/// The table of a document.
#[derive(Clone, Copy)]
pub(crate) struct Table<'a>(pub(crate) &'a Map<String, Value>);

impl<'a> Table<'a> {
    pub(crate) fn value(self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    pub(crate) fn at(self, name: &str) -> Pointer {
        Pointer::root().join(name)
    }

    /// Refuses keys that are not known: what is silently ignored is not done.
    pub(crate) fn refuse_unknown(self, known: &[&str], found: &mut Found) {
        for key in self.0.keys().filter(|key| !known.contains(&key.as_str())) {
            let quoted: String = key.chars().take(limit::QUOTE_BYTES_MAX / 4).collect();
            let near = known
                .iter()
                .find(|name| is_nearly(key, name))
                .map_or_else(|| format!("write one of {}", known.join(", ")), |name| format!("write `{name}`"));
            found.wrong(self.at(&quoted), UNKNOWN_KEY, format!("a schedule has no key `{quoted}`: {near}"));
        }
    }

    pub(crate) fn text(self, name: &str, found: &mut Found) -> Option<&'a str> {
        match self.value(name)? {
            Value::String(text) => Some(text),
            other => wrong_type(self.at(name), name, "a string", other, found),
        }
    }

    /// One text, or a list of them, each with its place.
    pub(crate) fn texts(self, name: &str, found: &mut Found) -> Vec<(Pointer, &'a str)> {
        let list = match self.value(name) {
            None => return vec![],
            Some(Value::String(text)) => return vec![(self.at(name), text)],
            Some(Value::Array(list)) => list,
            Some(other) => {
                wrong_type::<()>(self.at(name), name, "a string or a list of strings", other, found);
                return vec![];
            }
        };
        if list.len() > limit::LIST_ENTRIES_MAX {
            let detail = format!("`{name}` has {} entries; {} are the most", list.len(), limit::LIST_ENTRIES_MAX);
            found.wrong(self.at(name), code::TOO_LONG, detail);
            return vec![];
        }
        let mut texts = vec![];
        for (index, entry) in list.iter().enumerate() {
            let at = self.at(name).join(index);
            match entry {
                Value::String(text) => texts.push((at, text.as_str())),
                other => drop(wrong_type::<()>(at, name, "a string", other, found)),
            }
        }
        texts
    }

    pub(crate) fn flag(self, name: &str, found: &mut Found) -> Option<bool> {
        match self.value(name)? {
            Value::Bool(flag) => Some(*flag),
            other => wrong_type(self.at(name), name, "true or false", other, found),
        }
    }

    /// A whole number within bounds.
    pub(crate) fn count(self, name: &str, least: u32, most: u32, found: &mut Found) -> Option<u32> {
        let value = self.value(name)?;
        let count = value.as_u64().and_then(|count| u32::try_from(count).ok());
        match count.filter(|count| (least..=most).contains(count)) {
            None if !value.is_number() => wrong_type(self.at(name), name, "a whole number", value, found),
            None => {
                let detail = format!("`{name}` must be a whole number from {least} to {most}");
                found.wrong(self.at(name), code::OUT_OF_RANGE, detail);
                None
            }
            count => count,
        }
    }

    /// One of the names that are known there.
    pub(crate) fn choice<T: Copy>(self, name: &str, known: &[(&str, T)], found: &mut Found) -> Option<T> {
        let text = self.text(name, found)?;
        let choice = known.iter().find(|(known, _)| *known == text).map(|(_, choice)| *choice);
        if choice.is_none() {
            let names: Vec<String> = known.iter().map(|(known, _)| format!("\"{known}\"")).collect();
            found.wrong(self.at(name), code::UNKNOWN_VALUE, format!("`{name}` must be one of {}", names.join(", ")));
        }
        choice
    }

    pub(crate) fn duration(self, name: &str, found: &mut Found) -> Option<Duration> {
        let text = self.text(name, found)?;
        match duration::duration(text) {
            Ok(duration) if duration <= DURATION_MAX => Some(duration),
            Ok(_) => {
                found.wrong(self.at(name), code::OUT_OF_RANGE, format!("`{name}` must not be longer than ten years"));
                None
            }
            Err(error) => {
                found.wrong(self.at(name), INVALID_DURATION, format!("`{name}` {error}"));
                None
            }
        }
    }

    /// A table within.
    pub(crate) fn table(self, name: &str, found: &mut Found) -> Option<&'a Map<String, Value>> {
        match self.value(name)? {
            Value::Object(table) => Some(table),
            other => wrong_type(self.at(name), name, "a table", other, found),
        }
    }
}

fn wrong_type<T>(at: Pointer, name: &str, wanted: &str, value: &Value, found: &mut Found) -> Option<T> {
    let is = match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a table",
    };
    found.wrong(at, code::WRONG_TYPE, format!("`{name}` must be {wanted}, not {is}"));
    None
}
