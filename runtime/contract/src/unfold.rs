//! How large a JSON Schema becomes where it refers to parts of itself, and how often a value would be looked at: a schema of two kilobytes
//! can ask for a thousand million looks, and one of a hundred bytes for any number at a value that is deep.
//!
//! Owns the bounds and the counts. Never says whether a schema is one, or a value fits: whoever compiles it does.

use std::collections::HashMap;

use serde_json::{Map, Value};

/// Most parts that are looked at for one value: far more than any schema that people write, and a moment's work.
pub const PARTS_MAX: u64 = 100_000;

/// Most looks that holding one value against a schema may take: what is as large as a dispatch and fits a schema that people write takes a
/// third of it, which is a moment's work.
pub const LOOKS_MAX: u64 = 1_000_000;

/// Deepest nesting of schemas that are followed into one value.
const LOOKS_DEEP_MAX: u32 = 512;

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
    names: Names<'a>,
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
    let known = HashMap::from([(std::ptr::from_ref(schema), None)]);
    Count { names: Names::of(schema), known, deep: 0 }.part(schema, schema).map(drop)
}

/// How often parts of the schema are held against parts of the value, where nothing keeps anybody from looking further.
///
/// # Errors
/// It is more often than [`LOOKS_MAX`], or a reference leads nowhere.
pub fn looks(schema: &Value, value: &Value) -> Result<u64, String> {
    let mut looks = Looks { names: Names::of(schema), count: 0, deep: 0 };
    looks.at(schema, schema, value)?;
    Ok(looks.count)
}

/// Parts by the names that they give themselves.
struct Names<'a>(HashMap<&'a str, &'a Value>);

impl<'a> Names<'a> {
    fn of(schema: &'a Value) -> Self {
        let mut names = Self(HashMap::new());
        names.name(schema);
        names
    }

    fn name(&mut self, part: &'a Value) {
        match part {
            Value::Object(fields) => {
                for key in ["$id", "id", "$anchor", "$dynamicAnchor"] {
                    if let Some(name) = fields.get(key).and_then(Value::as_str) {
                        self.0.entry(name.trim_start_matches('#')).or_insert(part);
                    }
                }
                fields.values().for_each(|inner| self.name(inner));
            }
            Value::Array(list) => list.iter().for_each(|inner| self.name(inner)),
            _ => {}
        }
    }

    /// What a reference leads to, and where pointers in it begin; nothing, where it is a schema that every validator has.
    fn referred(&self, reference: &str, base: &'a Value) -> Result<Option<(&'a Value, &'a Value)>, String> {
        let (to, below) = reference.split_once('#').unwrap_or((reference, ""));
        let base =
            if to.is_empty() { Some(base) } else { self.0.get(to).copied().or_else(|| self.0.get(reference).copied()) };
        let found = base.and_then(|base| match below {
            "" => Some(base),
            pointer if pointer.starts_with('/') => base.pointer(&decoded(pointer)),
            name => self.0.get(name).copied(),
        });
        if let Some(found) = base.zip(found) {
            return Ok(Some(found));
        }
        if KNOWN.iter().any(|known| reference.starts_with(known)) {
            return Ok(None);
        }
        let reference = crate::limit::clip(reference, crate::limit::QUOTE_BYTES_MAX);
        Err(format!("its reference `{reference}` leads to nothing in it"))
    }
}

/// Where pointers in a part begin.
fn base_of<'a>(part: &'a Value, fields: &Map<String, Value>, base: &'a Value) -> &'a Value {
    let is_base = fields.get("$id").and_then(Value::as_str).is_some_and(|id| !id.starts_with('#'));
    if is_base { part } else { base }
}

impl<'a> Count<'a> {
    /// Counts a part; pointers in it begin at `base`.
    fn part(&mut self, part: &'a Value, base: &'a Value) -> Result<Size, String> {
        let Value::Object(fields) = part else { return Ok((1, 0)) };
        let base = base_of(part, fields, base);
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
        let Some((base, found)) = self.names.referred(reference, base)? else { return Ok((KNOWN_PARTS, 1)) };
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

/// Keys whose value is held against the same value, and against what is in an object or in a list.
const SAME: [&str; 7] = ["allOf", "anyOf", "else", "if", "not", "oneOf", "then"];
const SAME_NAMED: [&str; 2] = ["dependencies", "dependentSchemas"];
const IN_OBJECT: [&str; 2] = ["additionalProperties", "unevaluatedProperties"];
const IN_LIST: [&str; 5] = ["additionalItems", "contains", "items", "prefixItems", "unevaluatedItems"];
const UNEVALUATED: [&str; 2] = ["unevaluatedItems", "unevaluatedProperties"];

struct Looks<'a> {
    names: Names<'a>,
    count: u64,
    /// How many parts lead to where it is.
    deep: u32,
}

impl<'a> Looks<'a> {
    fn more(&mut self, looks: u64) -> Result<(), String> {
        self.count = self.count.saturating_add(looks);
        if self.count > LOOKS_MAX {
            return Err(format!("to hold this value against it takes more than {LOOKS_MAX} looks; send less"));
        }
        Ok(())
    }

    /// Holds a part against a value.
    fn at(&mut self, part: &'a Value, base: &'a Value, value: &Value) -> Result<(), String> {
        self.more(1)?;
        let Value::Object(fields) = part else { return Ok(()) };
        if self.deep >= LOOKS_DEEP_MAX {
            return Err(format!(
                "for this value its parts lead {LOOKS_DEEP_MAX} deep into one another; send what is less deep"
            ));
        }
        self.deep += 1;
        let base = base_of(part, fields, base);
        // To know what was looked at, it is looked at once more.
        let times = 1 + usize::from(fields.keys().any(|key| UNEVALUATED.contains(&key.as_str())));
        for _ in 0..times {
            self.same(fields, base, value)?;
        }
        match value {
            Value::Object(members) => self.members(fields, base, members)?,
            Value::Array(list) => self.items(fields, base, list)?,
            _ => {}
        }
        self.deep -= 1;
        Ok(())
    }

    fn items(&mut self, fields: &'a Map<String, Value>, base: &'a Value, list: &[Value]) -> Result<(), String> {
        for (_, parts) in fields.iter().filter(|(key, _)| IN_LIST.contains(&key.as_str())) {
            match parts {
                Value::Array(parts) => {
                    parts.iter().zip(list).try_for_each(|(part, value)| self.at(part, base, value))?;
                }
                part => list.iter().try_for_each(|value| self.at(part, base, value))?,
            }
        }
        Ok(())
    }

    fn same(&mut self, fields: &'a Map<String, Value>, base: &'a Value, value: &Value) -> Result<(), String> {
        for (key, inner) in fields {
            match (key.as_str(), inner) {
                (key, inner) if SAME.contains(&key) => {
                    listed(inner).iter().try_for_each(|part| self.at(part, base, value))?;
                }
                (key, Value::Object(named)) if SAME_NAMED.contains(&key) => {
                    named.values().try_for_each(|part| self.at(part, base, value))?;
                }
                (key, Value::String(reference)) if REFERENCES.contains(&key) => {
                    match self.names.referred(reference, base)? {
                        Some((base, found)) => self.at(found, base, value)?,
                        None => self.more(KNOWN_PARTS)?,
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn members(
        &mut self,
        fields: &'a Map<String, Value>,
        base: &'a Value,
        members: &Map<String, Value>,
    ) -> Result<(), String> {
        for (key, inner) in fields {
            match (key.as_str(), inner) {
                ("properties", Value::Object(named)) => {
                    for (value, part) in named.iter().filter_map(|(name, part)| Some((members.get(name)?, part))) {
                        self.at(part, base, value)?;
                    }
                }
                // Which of them a pattern means is not asked.
                ("patternProperties", Value::Object(named)) => {
                    for part in named.values() {
                        members.values().try_for_each(|value| self.at(part, base, value))?;
                    }
                }
                ("propertyNames", part) => members.values().try_for_each(|_| self.at(part, base, &Value::Null))?,
                (key, part) if IN_OBJECT.contains(&key) => {
                    members.values().try_for_each(|value| self.at(part, base, value))?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// The schemas of a key that has one, or a list of them.
fn listed(value: &Value) -> &[Value] {
    if let Value::Array(list) = value { list } else { std::slice::from_ref(value) }
}

fn inner(fields: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    let schemas = SCHEMAS.into_iter().filter_map(|key| fields.get(key)).flat_map(listed);
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
    fn looks_without_measure_are_refused() {
        let nested = |depth: usize| (0..depth).fold(json!({}), |inner, _| json!({ "a": inner }));
        let again = json!({ "$ref": "#" });
        let twice = json!({ "properties": { "a": { "allOf": [again, again] } } });
        let list = json!(vec![json!(vec![0; 100]); 100]);
        let chain: Map<String, Value> = (0..30)
            .map(|at| {
                (at.to_string(), json!({ "$ref": format!("#/$defs/{}", at + 1), "unevaluatedProperties": false }))
            })
            .chain([("30".to_owned(), json!(true))])
            .collect();
        for (schema, value, why) in [
            (&twice, &nested(60), "more than 1000000 looks"),
            (&doubling(14, &json!({ "items": { "items": false } })), &list, "more than 1000000 looks"),
            (&json!({ "$defs": chain, "$ref": "#/$defs/0" }), &json!({}), "more than 1000000 looks"),
            (&again, &json!(1), "512 deep"),
            (&json!({ "items": { "items": { "$ref": "#/x" } } }), &list, "leads to nothing"),
        ] {
            let told = looks(schema, value).expect_err(why);
            assert!(told.contains(why), "{told}");
        }
        for (schema, value, expected) in [
            (&twice, &nested(3), 36),
            (&json!(false), &list, 1),
            (&json!({ "items": { "items": { "type": "integer" } } }), &list, 10_101),
            (
                &json!({ "properties": { "b": { "$ref": "#" } }, "additionalProperties": false }),
                &json!({ "b": {}, "c": 1 }),
                5,
            ),
            (
                &json!({ "propertyNames": { "maxLength": 3 }, "prefixItems": [true, true] }),
                &json!({ "b": {}, "c": 1 }),
                3,
            ),
        ] {
            assert_eq!(looks(schema, value), Ok(expected), "{schema}");
        }
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
