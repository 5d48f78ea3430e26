//! The members of a JSON object, taken one by one: what is left at the end is a key that nobody knows.

use serde_json::{Map, Value};
use sortie_contract::mistake::{Mistake, Pointer, code};
use sortie_contract::{is_nearly, limit};

/// Most mistakes that one answer tells: a plugin's author mends them one after the other.
const TOLD_MAX: usize = 10;

/// What is wrong with a request.
#[derive(Debug, Default)]
pub(crate) struct Mistakes {
    found: Vec<Mistake>,
    untold: usize,
}

impl Mistakes {
    pub(crate) fn add(&mut self, place: &Pointer, code: &str, detail: impl Into<String>) {
        if self.found.len() == TOLD_MAX {
            self.untold += 1;
            return;
        }
        let place = Pointer::raw(limit::clip(place.as_str(), limit::POINTER_BYTES_MAX));
        self.found.push(Mistake::new(place, code, detail));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }
}

impl std::fmt::Display for Mistakes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, mistake) in self.found.iter().enumerate() {
            let comma = if index == 0 { "" } else { "; " };
            write!(f, "{comma}{mistake}")?;
        }
        match self.untold {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

/// What a value is, as messages name it.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// An object on its way into a type.
pub(crate) struct Fields<'m> {
    members: Map<String, Value>,
    place: Pointer,
    known: Vec<&'static str>,
    pub(crate) wrong: &'m mut Mistakes,
}

impl<'m> Fields<'m> {
    /// The members of `value`, if it is an object.
    pub(crate) fn of(value: Value, place: Pointer, wrong: &'m mut Mistakes) -> Option<Self> {
        match value {
            Value::Object(members) => Some(Self { members, place, known: Vec::new(), wrong }),
            other => {
                wrong.add(&place, code::WRONG_TYPE, format!("must be an object, not {}", kind(&other)));
                None
            }
        }
    }

    pub(crate) fn at(&self, key: &str) -> Pointer {
        self.place.join(key)
    }

    /// What stands there. Null is nothing.
    pub(crate) fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        // Not `remove`, which moves others about: the rest may be somebody else's.
        self.members.shift_remove(key).filter(|value| !value.is_null())
    }

    /// The same, where something must.
    pub(crate) fn need(&mut self, key: &'static str) -> Option<Value> {
        let value = self.take(key);
        if value.is_none() {
            self.wrong.add(&self.place.join(key), code::REQUIRED, "must be there");
        }
        value
    }

    /// A text, if there is one.
    pub(crate) fn text(&mut self, key: &'static str) -> Option<String> {
        let value = self.take(key)?;
        self.as_text(key, value)
    }

    /// A text, which must be there.
    pub(crate) fn needed_text(&mut self, key: &'static str) -> Option<String> {
        let value = self.need(key)?;
        self.as_text(key, value)
    }

    fn as_text(&mut self, key: &str, value: Value) -> Option<String> {
        match value {
            Value::String(text) => Some(text),
            other => self.wrong_type(key, "a string", &other),
        }
    }

    /// A text that must be there, with something in it, and not longer than that.
    pub(crate) fn name(&mut self, key: &'static str, max: usize) -> Option<String> {
        let text = self.needed_text(key)?;
        if text.is_empty() || text.len() > max {
            let detail = format!("must have 1 to {max} bytes, and has {}", text.len());
            self.wrong.add(&self.place.join(key), code::TOO_LONG, detail);
            return None;
        }
        Some(text)
    }

    /// A whole number of at least `least`.
    pub(crate) fn whole(&mut self, key: &'static str, least: u32) -> Option<u32> {
        let value = self.take(key)?;
        let number = value.as_u64().and_then(|number| u32::try_from(number).ok()).filter(|number| *number >= least);
        if number.is_none() {
            self.wrong.add(
                &self.place.join(key),
                code::OUT_OF_RANGE,
                format!("must be a whole number, {least} or more"),
            );
        }
        number
    }

    /// A count of anything.
    pub(crate) fn count(&mut self, key: &'static str) -> Option<u64> {
        let value = self.take(key)?;
        let number = value.as_u64();
        if number.is_none() {
            self.wrong.add(&self.place.join(key), code::OUT_OF_RANGE, "must be a whole number, 0 or more");
        }
        number
    }

    pub(crate) fn boolean(&mut self, key: &'static str) -> Option<bool> {
        match self.take(key)? {
            Value::Bool(value) => Some(value),
            other => self.wrong_type(key, "a boolean", &other),
        }
    }

    /// One of those names.
    pub(crate) fn choice<T: Copy>(&mut self, key: &'static str, choices: &[(&str, T)]) -> Option<T> {
        let value = self.take(key)?;
        self.chosen(key, value, choices)
    }

    /// One of those names, which must be there.
    pub(crate) fn needed_choice<T: Copy>(&mut self, key: &'static str, choices: &[(&str, T)]) -> Option<T> {
        let value = self.need(key)?;
        self.chosen(key, value, choices)
    }

    fn chosen<T: Copy>(&mut self, key: &str, value: Value, choices: &[(&str, T)]) -> Option<T> {
        let text = self.as_text(key, value)?;
        let chosen = choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        if chosen.is_none() {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            let quoted = limit::clip(&text, limit::QUOTE_BYTES_MAX);
            let detail = format!("must be one of {}, not `{quoted}`", names.join(", "));
            self.wrong.add(&self.place.join(key), code::UNKNOWN_VALUE, detail);
        }
        chosen
    }

    pub(crate) fn wrong_type<T>(&mut self, key: &str, expected: &str, found: &Value) -> Option<T> {
        let detail = format!("must be {expected}, not {}", kind(found));
        self.wrong.add(&self.place.join(key), code::WRONG_TYPE, detail);
        None
    }

    /// What is left, as it is: for objects that are somebody else's.
    pub(crate) fn rest(self) -> Map<String, Value> {
        self.members
    }

    /// No more is known of this object: what is left is a mistake.
    pub(crate) fn close(self) {
        for key in self.members.keys() {
            let meant = self.known.iter().find(|known| is_nearly(key, known));
            let hint = meant.map_or_else(
                || format!("is not known here; known are {}", self.known.join(", ")),
                |meant| format!("is not known here; is `{meant}` meant?"),
            );
            let place = self.place.join(limit::clip(key, limit::QUOTE_BYTES_MAX));
            self.wrong.add(&place, code::UNKNOWN_VALUE, hint);
        }
    }
}
