//! How large a JSON Schema becomes where it refers to parts of itself: a schema of two kilobytes can ask for a thousand million looks.
//!
//! Owns the bound and the count. Never says whether a schema is one: whoever compiles it does.

use std::collections::HashMap;

use serde_json::{Map, Value};

/// Most parts that are looked at for one value: far more than any schema that people write, and a moment's work.
pub const PARTS_MAX: u64 = 100_000;

/// Most references behind each other: each is a step deeper on the stack of whoever checks a value.
const REFERENCES_DEEP_MAX: u32 = 128;

/// Schemas of JSON Schema itself, which every validator has; how large the largest is, amply.
const KNOWN: [&str; 2] = ["http://json-schema.org/", "https://json-schema.org/"];
const KNOWN_PARTS: u64 = 1_000;

/// Keys whose value is a schema, or a list of them.
const SCHEMAS: [&str; 16] = [
    "additionalItems",
    "additionalProperties",
    "allOf",
    "anyOf",
    "contains",
    "contentSchema",
    "else",
    "if",
    "items",
    "not",
    "oneOf",
    "prefixItems",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
];

/// Keys whose value has schemas by name.
const NAMED: [&str; 4] = ["dependencies", "dependentSchemas", "patternProperties", "properties"];

/// Keys that refer to a schema.
const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];

/// What a part comes to: how many parts in all, and how many references one behind the other.
type Size = (u64, u32);

struct Count<'a> {
    /// Parts by the names that they give themselves.
    named: HashMap<&'a str, &'a Value>,
    /// Parts that were referred to, by where they are. Nothing yet: one is being counted, and refers to itself.
    known: HashMap<*const Value, Option<Size>>,
    /// How many references lead to where it is.
    deep: u32,
}

/// Whether the schema stays within [`PARTS_MAX`] where all references are followed. One that comes back to itself counts once: how often
/// it is followed is a matter of the value.
///
/// # Errors
/// What is too much, or a reference that leads nowhere.
pub fn bounded(schema: &Value) -> Result<(), String> {
    let mut count =
        Count { named: HashMap::new(), known: HashMap::from([(std::ptr::from_ref(schema), None)]), deep: 0 };
    count.name(schema);
    count.part(schema, schema).map(drop)
}

impl<'a> Count<'a> {
    fn name(&mut self, part: &'a Value) {
        match part {
            Value::Object(fields) => {
                for key in ["$id", "id", "$anchor", "$dynamicAnchor"] {
                    if let Some(name) = fields.get(key).and_then(Value::as_str) {
                        self.named.entry(name.trim_start_matches('#')).or_insert(part);
                    }
                }
                fields.values().for_each(|inner| self.name(inner));
            }
            Value::Array(list) => list.iter().for_each(|inner| self.name(inner)),
            _ => {}
        }
    }

    /// Counts a part; pointers in it begin at `base`.
    fn part(&mut self, part: &'a Value, base: &'a Value) -> Result<Size, String> {
        let Value::Object(fields) = part else { return Ok((1, 0)) };
        let is_base = fields.get("$id").and_then(Value::as_str).is_some_and(|id| !id.starts_with('#'));
        let base = if is_base { part } else { base };
        let mut size = (1, 0);
        for inner in inner(fields) {
            size = and(size, self.part(inner, base)?)?;
        }
        for key in REFERENCES {
            if let Some(reference) = fields.get(key).and_then(Value::as_str) {
                size = and(size, self.referred(reference, base)?)?;
            }
        }
        Ok(size)
    }

    fn referred(&mut self, reference: &str, base: &'a Value) -> Result<Size, String> {
        let (to, below) = reference.split_once('#').unwrap_or((reference, ""));
        let base = if to.is_empty() {
            Some(base)
        } else {
            self.named.get(to).copied().or_else(|| self.named.get(reference).copied())
        };
        let found = base.and_then(|base| match below {
            "" => Some(base),
            pointer if pointer.starts_with('/') => base.pointer(&decoded(pointer)),
            name => self.named.get(name).copied(),
        });
        let Some((base, found)) = base.zip(found) else {
            if KNOWN.iter().any(|known| reference.starts_with(known)) {
                return Ok((KNOWN_PARTS, 1));
            }
            let reference = crate::limit::clip(reference, crate::limit::QUOTE_BYTES_MAX);
            return Err(format!("its reference `{reference}` leads to nothing in it"));
        };
        match self.known.insert(std::ptr::from_ref(found), None) {
            Some(known) => {
                self.known.insert(std::ptr::from_ref(found), known);
                Ok(known.unwrap_or((1, 0)))
            }
            None => {
                self.deep += 1;
                and((0, 0), (0, self.deep))?;
                let (parts, deep) = self.part(found, base)?;
                self.deep -= 1;
                let size = and((parts, 0), (0, deep + 1))?;
                self.known.insert(std::ptr::from_ref(found), Some(size));
                Ok(size)
            }
        }
    }
}

fn inner(fields: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    let schemas = SCHEMAS.into_iter().filter_map(|key| fields.get(key)).flat_map(|value| match value {
        Value::Array(list) => list.as_slice(),
        one => std::slice::from_ref(one),
    });
    let named = NAMED.into_iter().filter_map(|key| fields.get(key)?.as_object()).flat_map(Map::values);
    schemas.chain(named)
}

fn and(one: Size, other: Size) -> Result<Size, String> {
    let (parts, deep) = (one.0.saturating_add(other.0), one.1.max(other.1));
    if parts > PARTS_MAX {
        return Err(format!("with its references followed it has more than {PARTS_MAX} parts; refer to fewer"));
    }
    if deep > REFERENCES_DEEP_MAX {
        return Err(format!("more than {REFERENCES_DEEP_MAX} references lead from one to the next; refer to fewer"));
    }
    Ok((parts, deep))
}

/// A pointer as it stands behind the `#` of an address, where some letters are percent-encoded.
fn decoded(pointer: &str) -> String {
    let (bytes, mut plain, mut at) = (pointer.as_bytes(), Vec::with_capacity(pointer.len()), 0);
    while at < bytes.len() {
        let digits =
            bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%').and_then(|two| std::str::from_utf8(two).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                plain.push(byte);
                at += 3;
            }
            None => {
                plain.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Each of so many parts refers to the next one twice.
    fn doubling(count: usize, last: &Value) -> Value {
        let mut parts: Map<String, Value> = (0..count)
            .map(|at| {
                let next = json!({ "$ref": format!("#/$defs/{}", at + 1) });
                (at.to_string(), json!({ "allOf": [next, next] }))
            })
            .collect();
        parts.insert(count.to_string(), last.clone());
        json!({ "$defs": parts, "$ref": "#/$defs/0" })
    }

    #[test]
    fn what_unfolds_without_measure_is_refused() {
        let chain: Map<String, Value> =
            (0..100).map(|at| (at.to_string(), json!({ "$ref": format!("#/$defs/{}", at + 1) }))).collect();
        let mut other_way = doubling(30, &json!(false));
        other_way["properties"] = json!({ "a": { "$ref": "#/$defs/29" }, "b": { "$ref": "#/$defs/15" } });
        let mut hidden = doubling(30, &json!(false));
        hidden["$defs"]["0"]["$id"] = json!("x");
        for (schema, why) in [
            (doubling(30, &json!(false)), "more than 100000 parts"),
            // It comes back to its beginning, too.
            (doubling(30, &json!({ "$ref": "#/$defs/0" })), "more than 100000 parts"),
            (other_way, "more than 100000 parts"),
            (hidden, "leads to nothing"),
            (json!({ "$defs": chain, "$ref": "#/$defs/0" }), "leads to nothing"),
            (json!({ "$ref": "#/$defs/a" }), "leads to nothing"),
            (json!({ "$ref": "https://example.org/x" }), "leads to nothing"),
        ] {
            let told = bounded(&schema).expect_err(why);
            assert!(told.contains(why), "{told}");
        }
        let mut long: Map<String, Value> =
            (0..200).map(|at| (at.to_string(), json!({ "$ref": format!("#/$defs/{}", at + 1) }))).collect();
        long.insert("200".to_owned(), json!(true));
        assert!(bounded(&json!({ "$defs": long, "$ref": "#/$defs/0" })).unwrap_err().contains("128 references"));
    }

    #[test]
    fn what_people_write_is_taken() {
        for schema in [
            json!(true),
            json!({ "type": "object", "properties": { "$ref": { "type": "string" }, "const": { "enum": [1] } } }),
            json!({ "const": { "$ref": "#/nowhere" } }),
            json!({ "$ref": "#" }),
            doubling(10, &json!({ "type": "string" })),
            // A tree, a filter of filters, and one that names itself.
            json!({ "properties": { "children": { "items": { "$ref": "#" } } } }),
            json!({ "$defs": { "filter": { "anyOf": [
                { "properties": { "and": { "items": { "$ref": "#/$defs/filter" } } } },
                { "properties": { "or": { "items": { "$ref": "#/$defs/filter" } } } } ] } }, "$ref": "#/$defs/filter" }),
            json!({ "$id": "Node", "properties": { "next": { "$ref": "Node" } } }),
            json!({ "$defs": { "a": { "$anchor": "b" } }, "$ref": "#b" }),
            json!({ "definitions": { "List<X>": {} }, "$ref": "#/definitions/List%3CX%3E" }),
            json!({ "$ref": "http://json-schema.org/draft-07/schema#" }),
        ] {
            assert_eq!(bounded(&schema), Ok(()), "{schema}");
        }
    }
}
