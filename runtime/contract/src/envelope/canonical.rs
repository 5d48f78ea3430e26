//! When two envelopes are the same: canonical JSON (RFC 8785) of what was sent, without `created_at`.
//!
//! The JSON is compared, not what it means here: a default that is spelt out differs from one that is left out, and a key
//! that this version does not know counts. Numbers are doubles, as the RFC has it: `1`, `1.0` and `1e0` are the same. Integers
//! that no double is, which the RFC leaves out, are written with all their digits: those that are near each other are not the
//! same.
//!
//! What is hard about the RFC (how a double is written) is the work of `ryu-js`, and strings are `serde_json`'s. Only the order
//! of keys is ours: with the crate that does all of it the digest of a 1.2 KB envelope took more than 20 µs, where reading the
//! envelope and its digest now take 8 together, on a path that every dispatch goes. The tests hold one against the other.

use std::collections::BTreeMap;
use std::io::{self, Write as _};

use super::json::{Json, Members};
use super::numeral::Numeral;
use crate::digest::Digest;
use crate::limit;
use crate::mistake::Pointer;

/// The one field that may differ between two dispatches of the same mission: a retry is made at another time.
const NOT_COMPARED: &str = "created_at";

/// The digest that two texts share when they are the same envelope; `None` for a text that is not JSON, or that names a key twice.
#[must_use]
pub fn canonical_digest(text: &str) -> Option<Digest> {
    Json::read(text).ok().filter(|read| read.duplicates.is_empty()).map(|read| digest(&read.json))
}

/// The fields by which two envelopes differ, in the order of their names: as deep as objects go on both sides, lists as a whole.
/// At most [`limit::MISTAKES_MAX`] of them; none where a text is not JSON.
#[must_use]
pub fn differing_fields(a: &str, b: &str) -> Vec<Pointer> {
    let mut found = Vec::new();
    if let (Ok(a), Ok(b)) = (Json::read(a), Json::read(b)) {
        match (&a.json, &b.json) {
            (Json::Object(a), Json::Object(b)) => {
                compare_members(a, b, Some(NOT_COMPARED), &Pointer::root(), &mut found);
            }
            (a, b) => compare(a, b, &Pointer::root(), &mut found),
        }
    }
    found
}

/// The digest of an envelope that was read already.
pub(super) fn digest(json: &Json<'_>) -> Digest {
    let mut text = Vec::with_capacity(2_048);
    match json {
        Json::Object(members) => write_object(members, Some(NOT_COMPARED), &mut text),
        other => write(other, &mut text),
    }
    .expect("a vector takes every byte");
    Digest::of(&text)
}

fn write(json: &Json<'_>, target: &mut Vec<u8>) -> io::Result<()> {
    match json {
        Json::Null => target.write_all(b"null"),
        Json::Bool(true) => target.write_all(b"true"),
        Json::Bool(false) => target.write_all(b"false"),
        Json::Number(number) if is_double(number) => {
            target.write_all(ryu_js::Buffer::new().format(double(&number.value)).as_bytes())
        }
        Json::Number(number) => target.write_all(number.text.as_bytes()),
        Json::Text(text) => write_text(text, target),
        Json::Object(members) => write_object(members, None, target),
        Json::List(items) => {
            target.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    target.push(b',');
                }
                write(item, target)?;
            }
            target.write_all(b"]")
        }
    }
}

fn write_object(members: &Members<'_>, without: Option<&str>, target: &mut Vec<u8>) -> io::Result<()> {
    let mut sorted: Vec<_> = members.iter().filter(|(key, _)| Some(key.as_ref()) != without).collect();
    // RFC 8785 sorts by UTF-16 code units, which is another order than that of characters beyond the first plane.
    sorted.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
    target.push(b'{');
    for (index, (key, value)) in sorted.into_iter().enumerate() {
        if index > 0 {
            target.push(b',');
        }
        write_text(key, target)?;
        target.push(b':');
        write(value, target)?;
    }
    target.write_all(b"}")
}

fn write_text(text: &str, target: &mut Vec<u8>) -> io::Result<()> {
    Ok(serde_json::to_writer(target, text)?)
}

/// Whether a number is what a double can say: a fraction is taken for one, an integer has at most 53 significant bits.
fn is_double(number: &Numeral<'_>) -> bool {
    if number.is_long_integer() {
        // With no places behind the point all of its digits are written.
        return format!("{:.0}", double(&number.value)) == number.text;
    }
    let number = &number.value;
    let size = number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs));
    size.is_none_or(|size| {
        size == 0 || u64::BITS - size.leading_zeros() - size.trailing_zeros() <= f64::MANTISSA_DIGITS
    })
}

/// A number as the RFC sees it. Every number that was read is one.
fn double(number: &serde_json::Number) -> f64 {
    number.as_f64().unwrap_or_default()
}

fn compare(a: &Json<'_>, b: &Json<'_>, place: &Pointer, found: &mut Vec<Pointer>) {
    let (Json::Object(a), Json::Object(b)) = (a, b) else {
        if canonical(a) != canonical(b) {
            found.push(place.clone());
        }
        return;
    };
    compare_members(a, b, None, place, found);
}

fn compare_members(a: &Members<'_>, b: &Members<'_>, without: Option<&str>, place: &Pointer, found: &mut Vec<Pointer>) {
    let mut keys: BTreeMap<&str, (Option<&Json<'_>>, Option<&Json<'_>>)> = BTreeMap::new();
    for (key, value) in a {
        keys.entry(key).or_default().0.get_or_insert(value);
    }
    for (key, value) in b {
        keys.entry(key).or_default().1.get_or_insert(value);
    }
    for (key, sides) in keys {
        if found.len() >= limit::MISTAKES_MAX {
            return;
        }
        let below = place.join(key);
        match sides {
            _ if Some(key) == without => {}
            // A key of any length is the client's to choose; the answer's length is not.
            _ if below.as_str().len() > limit::POINTER_BYTES_MAX => found.push(place.clone()),
            (Some(a), Some(b)) => compare(a, b, &below, found),
            _ => found.push(below),
        }
    }
}

fn canonical(json: &Json<'_>) -> Vec<u8> {
    let mut text = Vec::new();
    write(json, &mut text).expect("a vector takes every byte");
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            // Integers that the RFC knows.
            any::<i64>().prop_map(|number| (number >> 10).into()),
            any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                prop::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn canonical_text_is_that_of_the_reference_crate(value in any_json()) {
            let text = value.to_string();
            let ours = canonical(&Json::read(&text).expect("JSON").json);
            // Read from the same text, so that both see the same doubles.
            let read: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            let reference = serde_json_canonicalizer::to_vec(&read).expect("JSON");
            prop_assert_eq!(String::from_utf8(ours), String::from_utf8(reference));
        }
    }

    #[test]
    fn keys_are_sorted_by_utf_16_code_units() {
        // U+10000 is D800 DC00 in UTF-16, before U+E000; as bytes it is behind.
        let text = "{\"\u{e000}\": 1, \"\u{10000}\": 2}";
        let canonical = canonical(&Json::read(text).expect("JSON").json);
        assert_eq!(String::from_utf8_lossy(&canonical), "{\"\u{10000}\":2,\"\u{e000}\":1}");
    }

    #[test]
    fn what_is_the_same_envelope() {
        let digest = |text| canonical_digest(text).expect("JSON");
        for (a, b, same) in [
            (r#"{"a": 1, "b": [1, 2]}"#, r#"{"b":[1.0,2e0],"a":1}"#, true),
            (r#"{"a": "\u00e4\/"}"#, "{\"a\": \"ä/\"}", true),
            (r#"{"created_at": "x", "a": 1}"#, r#"{"a": 1}"#, true),
            (r#"{"inputs": {"created_at": 1}}"#, r#"{"inputs": {"created_at": 2}}"#, false),
            (r#"{"a": [1, 2]}"#, r#"{"a": [2, 1]}"#, false),
            (r#"{"a": null}"#, "{}", false),
            (r#"{"a": 1}"#, r#"{"a": "1"}"#, false),
            (r#"{"a": 9007199254740992}"#, r#"{"a": 9007199254740993}"#, false),
            (r#"{"a": 9007199254740993}"#, r#"{"a": 9007199254740993.0}"#, false),
            (r#"{"a": -9223372036854775808}"#, r#"{"a": -9223372036854775808.0}"#, true),
            (r#"{"a": 18446744073709551615}"#, r#"{"a": 18446744073709551614}"#, false),
            (r#"{"a": 123456789012345678901234567890}"#, r#"{"a": 123456789012345678901234567891}"#, false),
            (r#"{"a": 36893488147419103232}"#, r#"{"a": 36893488147419103232.0}"#, true),
            (r#"{"a": [1.10, -0]}"#, r#"{"a": [1.1, -0.0]}"#, true),
        ] {
            assert_eq!(digest(a) == digest(b), same, "{a} {b}");
            assert_eq!(differing_fields(a, b).is_empty(), same, "{a} {b}");
        }
        assert_eq!(canonical_digest("{"), None);
    }

    #[test]
    fn the_fields_that_differ_are_named() {
        let a = r#"{"budget": {"x": 1, "y": 2}, "inputs": {"steps": [1]}, "created_at": "a", "priority": 1}"#;
        let b = r#"{"budget": {"x": 1, "y": 3}, "inputs": {"steps": [2]}, "created_at": "b", "objective": ""}"#;
        let found: Vec<String> = differing_fields(a, b).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["/budget/y", "/inputs/steps", "/objective", "/priority"]);
    }
}
