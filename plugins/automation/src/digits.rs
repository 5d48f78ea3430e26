//! Numbers as they are written: `1.10` goes out as `1.10`, `1e3` as `1e3`, and of a whole number of thirty digits none is lost.
//!
//! In JSON values they are texts already (`arbitrary_precision`), all but for exponents, whose writing [`read`] puts back. The template
//! language has integers of up to 128 bits and doubles. A number that either of them would write in another way is a [`Numeral`] there: a thing
//! that is written as it was and is no number to operators, comparisons and tests. So templates are of two kinds. Those that only hand values
//! on see numerals; those that compute see numbers in their place, also within what they read ([`Computing`], [`AsNumbers`]).

use std::cell::Cell;
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use minijinja::Value;
use minijinja::value::{DynObject, Enumerator, Object, ObjectRepr, ValueKind};
use serde::ser::{Error as _, Serialize, SerializeMap as _, SerializeSeq as _, Serializer};
use serde_json::{Map, Number, Value as Json};

/// Reads a JSON text, its numbers as they are written.
pub(crate) fn read(text: &str) -> Result<Json, serde_json::Error> {
    let mut json: Json = serde_json::from_str(text)?;
    let numbers: Vec<&str> = numbers(text).collect();
    // serde_json writes all exponents in one way.
    if numbers.iter().any(|number| number.contains(['e', 'E'])) {
        let mut found = Vec::with_capacity(numbers.len());
        collect(&mut json, &mut found);
        // A key that is there twice has one value: whose numbers are which is not known then.
        let is_same = |(found, written): (&&mut Number, &&str)| found.to_string() == normal(written);
        if found.len() == numbers.len() && found.iter().zip(&numbers).all(is_same) {
            for (found, written) in found.into_iter().zip(numbers) {
                *found = Number::from_string_unchecked(written.to_owned());
            }
        }
    }
    Ok(json)
}

/// The numbers of a text that is JSON, in its order.
fn numbers(text: &str) -> impl Iterator<Item = &str> {
    let bytes = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        while let Some(byte) = bytes.get(at) {
            let start = at;
            at += 1;
            match byte {
                b'"' => {
                    while let Some(byte) = bytes.get(at).filter(|byte| **byte != b'"') {
                        at += if *byte == b'\\' { 2 } else { 1 };
                    }
                    at += 1;
                }
                b'-' | b'0'..=b'9' => {
                    let is_of_it = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
                    at += bytes[at..].iter().take_while(|byte| is_of_it(byte)).count();
                    return Some(&text[start..at]);
                }
                _ => {}
            }
        }
        None
    })
}

fn collect<'j>(json: &'j mut Json, found: &mut Vec<&'j mut Number>) {
    match json {
        Json::Number(number) => found.push(number),
        Json::Array(items) => items.iter_mut().for_each(|item| collect(item, found)),
        Json::Object(fields) => fields.values_mut().for_each(|field| collect(field, found)),
        Json::Null | Json::Bool(_) | Json::String(_) => {}
    }
}

/// A number as serde_json writes it: `e+3` for `E3`.
fn normal(number: &str) -> String {
    match number.split_once(['e', 'E']) {
        Some((before, power)) if power.starts_with(['+', '-']) => format!("{before}e{power}"),
        Some((before, power)) => format!("{before}e+{power}"),
        None => number.to_owned(),
    }
}

/// A number, as templates see it.
pub(crate) fn value(written: &str) -> Value {
    let number = number(written);
    if serde_json::to_string(&number).is_ok_and(|ours| ours == written) {
        return number;
    }
    ANY.set(true);
    Value::from_object(Numeral { written: written.to_owned(), number })
}

/// The narrowest number that holds it; the nearest double, where none does.
fn number(written: &str) -> Value {
    let is_whole = !written.contains(['.', 'e', 'E']);
    // JSON's -0 is a double's.
    if is_whole && written != "-0" {
        if let Ok(whole) = written.parse::<i64>() {
            return Value::from(whole);
        }
        if let Ok(whole) = written.parse::<i128>() {
            return Value::from(whole);
        }
        if let Ok(whole) = written.parse::<u128>() {
            return Value::from(whole);
        }
    }
    Value::from(written.parse::<f64>().unwrap_or(f64::NAN))
}

/// A number that is written in another way than its value would be.
#[derive(Debug)]
struct Numeral {
    written: String,
    number: Value,
}

impl Object for Numeral {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn is_true(self: &Arc<Self>) -> bool {
        self.number.is_true()
    }

    fn custom_cmp(self: &Arc<Self>, other: &DynObject) -> Option<Ordering> {
        Some(self.number.cmp(&other.downcast_ref::<Self>()?.number))
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

/// Whether it is a number that is written as it was.
pub(crate) fn is_numeral(value: &Value) -> bool {
    value.downcast_object_ref::<Numeral>().is_some()
}

thread_local! {
    /// Whether the template that is evaluated computes.
    static COMPUTES: Cell<bool> = const { Cell::new(false) };
    /// Whether there is any numeral: where there is none, nothing need be looked for.
    static ANY: Cell<bool> = const { Cell::new(false) };
}

/// What a template that is evaluated sees of a value that was just read.
pub(crate) fn seen(value: Value) -> Value {
    if COMPUTES.get() { as_numbers(&value) } else { value }
}

/// While there is one, what templates read has numbers in it, and no numerals.
pub(crate) struct Computing {
    before: bool,
}

impl Computing {
    /// From now on; or nothing, for a template that only hands values on.
    pub(crate) fn where_it(computes: bool) -> Option<Self> {
        computes.then(|| Self { before: COMPUTES.replace(true) })
    }
}

impl Drop for Computing {
    fn drop(&mut self) {
        COMPUTES.set(self.before);
    }
}

/// The value with numbers in the place of numerals.
pub(crate) fn as_numbers(value: &Value) -> Value {
    if !ANY.get() {
        return value.clone();
    }
    if let Some(numeral) = value.downcast_object_ref::<Numeral>() {
        return numeral.number.clone();
    }
    let is_known = value.downcast_object_ref::<AsNumbers>().is_some();
    match value.kind() {
        ValueKind::Map | ValueKind::Seq if !is_known => Value::from_object(AsNumbers(value.clone())),
        _ => value.clone(),
    }
}

/// What it was before it had numbers in it; of a list that a template made, each item.
pub(crate) fn as_written(value: Value) -> Value {
    if let Some(AsNumbers(inner)) = value.downcast_object_ref::<AsNumbers>() {
        return inner.clone();
    }
    if !ANY.get() || value.kind() != ValueKind::Seq {
        return value;
    }
    match value.try_iter() {
        Ok(items) => Value::from(items.map(as_written).collect::<Vec<_>>()),
        Err(_) => value,
    }
}

/// A list or an object in which each numeral is a number, found out where it is looked at.
#[derive(Debug)]
struct AsNumbers(Value);

impl Object for AsNumbers {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        if self.0.kind() == ValueKind::Map { ObjectRepr::Map } else { ObjectRepr::Seq }
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let found = self.0.get_item(key).ok().filter(|found| !found.is_undefined())?;
        Some(as_numbers(&found))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        match self.repr() {
            // Its keys.
            ObjectRepr::Map => Enumerator::Values(self.0.try_iter().into_iter().flatten().collect()),
            _ => Enumerator::Seq(self.0.len().unwrap_or_default()),
        }
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        self.0.len()
    }
}

/// A value as JSON.
pub(crate) fn json(value: &Value) -> Result<Json, serde_json::Error> {
    if let Some(numeral) = value.downcast_object_ref::<Numeral>() {
        // Made of a text, serde_json would write its exponent in its own way.
        return Ok(Json::Number(Number::from_string_unchecked(numeral.written.clone())));
    }
    if let Some(AsNumbers(inner)) = value.downcast_object_ref::<AsNumbers>() {
        return json(inner);
    }
    match value.kind() {
        ValueKind::Seq | ValueKind::Iterable => {
            value.try_iter().map_err(serde_json::Error::custom)?.map(|item| json(&item)).collect()
        }
        ValueKind::Map => {
            let mut fields = Map::new();
            for key in value.try_iter().map_err(serde_json::Error::custom)? {
                let field = value.get_item(&key).map_err(serde_json::Error::custom)?;
                fields.insert(key.as_str().map_or_else(|| key.to_string(), str::to_owned), json(&field)?);
            }
            Ok(Json::Object(fields))
        }
        _ => serde_json::to_value(value),
    }
}

/// A value to be written as JSON: numerals as they were.
pub(crate) struct Written<'v>(pub(crate) &'v Value);

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, target: S) -> Result<S::Ok, S::Error> {
        let value = self.0;
        if let Some(numeral) = value.downcast_object_ref::<Numeral>() {
            return Number::from_string_unchecked(numeral.written.clone()).serialize(target);
        }
        if let Some(AsNumbers(inner)) = value.downcast_object_ref::<AsNumbers>() {
            return Written(inner).serialize(target);
        }
        match value.kind() {
            ValueKind::Seq | ValueKind::Iterable => {
                let mut items = target.serialize_seq(value.len())?;
                for item in value.try_iter().map_err(S::Error::custom)? {
                    items.serialize_element(&Written(&item))?;
                }
                items.end()
            }
            ValueKind::Map => {
                let mut fields = target.serialize_map(None)?;
                for key in value.try_iter().map_err(S::Error::custom)? {
                    let field = value.get_item(&key).map_err(S::Error::custom)?;
                    fields.serialize_entry(&key, &Written(&field))?;
                }
                fields.end()
            }
            _ => value.serialize(target),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_written_as_it_was() {
        for text in [
            "[1.10,1e3,1E3,1e+3,1E-3,1.50e007,-0,-0.0,0.1,3.0,1E400]",
            r#"{"a":{"1e5":["1e5",1e5]},"b":123456789012345678901234567890,"c":9007199254740993}"#,
            r#"["\"1e2",1e2,"\\",2E2]"#,
        ] {
            assert_eq!(read(text).expect("JSON").to_string(), text);
            let value = crate::template::value(&read(text).expect("JSON"));
            assert_eq!(serde_json::to_string(&Written(&value)).expect("JSON"), text);
            assert_eq!(json(&value).expect("JSON").to_string(), text);
            assert_eq!(json(&as_numbers(&value)).expect("JSON").to_string(), text, "within");
        }
        // Which of the two it is nobody knows.
        assert_eq!(read(r#"{"a":1e1,"b":1E2,"a":1e+2}"#).expect("JSON").to_string(), r#"{"a":1e+2,"b":1e+2}"#);
        for text in ["1e", "[1 2]", "\"", "01"] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_number_is_worth_what_it_says() {
        for (text, same) in [("1.10", "1.1"), ("1e3", "1000.0"), ("2.00", "2.0"), ("1E400", "1e500"), ("-0", "-0.0")] {
            let as_number = as_numbers(&value(text));
            assert_eq!(as_number.kind(), ValueKind::Number, "{text}");
            assert_eq!(as_number, number(same), "{text}");
            assert!(is_numeral(&seen(value(text))), "{text}");
            let _computing = Computing::where_it(true);
            assert!(!is_numeral(&seen(value(text))), "{text}");
        }
        assert!(!value("0.00").is_true() && !value("-0").is_true() && value("0.10").is_true());
    }
}
