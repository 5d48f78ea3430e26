//! An old body as it is read: what was taken of it, and what is wrong with the rest.

use std::cell::RefCell;

use serde_json::{Map, Number, Value};
use sortie_contract::mistake::code;
use sortie_contract::{Mistake, Pointer, limit};

/// What is found on the way.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    mistakes: RefCell<Vec<Mistake>>,
    warnings: RefCell<Vec<String>>,
}

impl Findings {
    pub(crate) fn wrong(&self, at: Pointer, code: &str, detail: impl Into<String>) {
        let mut mistakes = self.mistakes.borrow_mut();
        if mistakes.len() < limit::MISTAKES_MAX {
            mistakes.push(Mistake::new(at, code, detail));
        }
    }

    pub(crate) fn odd(&self, what: impl Into<String>) {
        let mut warnings = self.warnings.borrow_mut();
        if warnings.len() < limit::MISTAKES_MAX {
            warnings.push(what.into());
        }
    }

    /// What was odd, if nothing was wrong.
    pub(crate) fn settle(self) -> Result<Vec<String>, Vec<Mistake>> {
        let mistakes = self.mistakes.into_inner();
        if mistakes.is_empty() { Ok(self.warnings.into_inner()) } else { Err(mistakes) }
    }
}

/// An object of an old body, and where it is.
#[derive(Clone)]
pub(crate) struct Old<'a> {
    fields: &'a Map<String, Value>,
    place: Pointer,
    found: &'a Findings,
}

impl<'a> Old<'a> {
    /// The whole body; nothing, if it is no object.
    pub(crate) fn of(body: &'a Value, found: &'a Findings) -> Option<Self> {
        match body {
            Value::Object(fields) => Some(Self { fields, place: Pointer::root(), found }),
            other => {
                wrong_type(found, Pointer::root(), "an object", other);
                None
            }
        }
    }

    pub(crate) fn at(&self, key: &str) -> Pointer {
        self.place.join(key)
    }

    /// A field; null is as good as none.
    pub(crate) fn value(&self, key: &str) -> Option<&'a Value> {
        self.fields.get(key).filter(|value| !value.is_null())
    }

    /// The object in a field.
    pub(crate) fn object(&self, key: &str) -> Option<Self> {
        match self.value(key)? {
            Value::Object(fields) => Some(Self { fields, place: self.at(key), found: self.found }),
            other => self.unlike(key, "an object", other),
        }
    }

    /// The text in a field that is not blank.
    pub(crate) fn text(&self, key: &str) -> Option<&'a str> {
        match self.value(key)? {
            Value::String(text) if text.trim().is_empty() => {
                self.found.wrong(self.at(key), code::EMPTY, format!("`{key}` must not be empty"));
                None
            }
            Value::String(text) => Some(text),
            other => self.unlike(key, "a text", other),
        }
    }

    /// The text in a field that must be there.
    pub(crate) fn needed(&self, key: &str) -> Option<&'a str> {
        if self.value(key).is_none() {
            self.missing(key);
        }
        self.text(key)
    }

    pub(crate) fn missing(&self, key: &str) {
        self.found.wrong(self.at(key), code::REQUIRED, format!("`{key}` is missing"));
    }

    /// A number that is none below zero.
    pub(crate) fn number(&self, key: &str) -> Option<&'a Number> {
        match self.value(key)? {
            Value::Number(number) if number.as_f64().is_some_and(|number| number >= 0.0) => Some(number),
            Value::Number(_) => {
                self.found.wrong(self.at(key), code::OUT_OF_RANGE, format!("`{key}` must be 0 or more"));
                None
            }
            other => self.unlike(key, "a number", other),
        }
    }

    /// The whole number in a field, of whatever sign.
    pub(crate) fn whole(&self, key: &str) -> Option<i64> {
        match self.value(key)? {
            Value::Number(number) if number.is_i64() => number.as_i64(),
            Value::Number(_) => {
                self.found.wrong(self.at(key), code::NOT_WHOLE, format!("`{key}` must be a whole number of 64 bits"));
                None
            }
            other => self.unlike(key, "a whole number", other),
        }
    }

    /// The texts in a list.
    pub(crate) fn texts(&self, key: &str) -> Option<Vec<Value>> {
        match self.value(key)? {
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate().filter(|(_, item)| !item.is_string()) {
                    wrong_type(self.found, self.at(key).join(index), "a text", item);
                }
                Some(items.clone())
            }
            other => self.unlike(key, "a list of texts", other),
        }
    }

    /// The keys that are none of these, with their values.
    pub(crate) fn others<'k>(&'k self, known: &'k [&'k str]) -> impl Iterator<Item = (&'a str, &'a Value)> + 'k {
        let is_other = |(key, value): &(&String, &Value)| !value.is_null() && !known.contains(&key.as_str());
        self.fields.iter().filter(is_other).map(|(key, value)| (key.as_str(), value))
    }

    fn unlike<T>(&self, key: &str, wanted: &str, value: &Value) -> Option<T> {
        wrong_type(self.found, self.at(key), wanted, value);
        None
    }
}

fn wrong_type(found: &Findings, at: Pointer, wanted: &str, value: &Value) {
    let is = match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    found.wrong(at, code::WRONG_TYPE, format!("must be {wanted}, and is {is}"));
}
