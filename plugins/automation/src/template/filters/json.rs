//! `fromjson` and `tojson`.
//!
//! Numbers stay as they are written, where nothing is computed with them (see [`digits`](crate::digits)).

use minijinja::value::Kwargs;
use minijinja::{Error, State, Value};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value as Json;
use serde_json::value::RawValue;

use super::{text, wrong};
use crate::digits;
use crate::template::paid::{Paid, pay};

/// Deepest nesting of a JSON text, as the rest of the project has it.
const DEPTH_MAX: usize = 100;

/// Widest indent that `tojson` writes: the deeper a value is nested, the more of its text is nothing else.
const INDENT_MAX: usize = 8;

/// `text | fromjson`: what the text says, as a value.
#[expect(clippy::needless_pass_by_value, reason = "a filter gets its arguments by value")]
pub(super) fn fromjson(state: &State<'_, '_>, value: &Value, named: Kwargs) -> Result<Value, Error> {
    let numbers: Option<&str> = named.get("numbers")?;
    named.assert_all_used()?;
    let as_text = match numbers {
        None => false,
        Some("text") => true,
        Some(other) => {
            return Err(wrong(format!("fromjson: numbers is \"text\" or is left out, and this is {other:?}")));
        }
    };
    let text = text("fromjson", value)?;
    // Each level is read once more than the one around it; few texts have many.
    pay(state, text.len().saturating_mul(4))?;
    let raw: &RawValue =
        serde_json::from_str(text).map_err(|error| wrong(format!("fromjson: this is no JSON: {error}")))?;
    let reader = Reader { state, as_text };
    reader.value(raw, 0).map(digits::seen)
}

/// `value | tojson`: one line of JSON; `tojson(indent=2)` for people.
#[expect(clippy::needless_pass_by_value, reason = "a filter gets its arguments by value")]
pub(super) fn tojson(state: &State<'_, '_>, value: &Value, indent: Option<u8>, named: Kwargs) -> Result<String, Error> {
    let indent = if indent.is_some() { indent } else { named.get("indent")? };
    named.assert_all_used()?;
    let indent = indent.map_or(0, usize::from);
    let Some(indent) = [b' '; INDENT_MAX].get(..indent) else {
        return Err(wrong(format!("tojson: indent is {INDENT_MAX} at most, and this is {indent}")));
    };
    Paid::new(state).json(value, indent)
}

struct Reader<'s, 't, 'e> {
    state: &'s State<'t, 'e>,
    as_text: bool,
}

impl Reader<'_, '_, '_> {
    fn value(&self, raw: &RawValue, depth: usize) -> Result<Value, Error> {
        if depth > DEPTH_MAX {
            return Err(wrong(format!("fromjson: it is nested deeper than {DEPTH_MAX}")));
        }
        let text = raw.get();
        let read = |error: serde_json::Error| wrong(format!("fromjson: {error}"));
        match text.as_bytes().first() {
            Some(b'{') => {
                pay(self.state, text.len())?;
                let Fields(fields) = serde_json::from_str(text).map_err(read)?;
                let fields = fields.into_iter().map(|(key, raw)| Ok((key, self.value(raw, depth + 1)?)));
                Ok(Value::from_pairs(fields.collect::<Result<Vec<_>, Error>>()?))
            }
            Some(b'[') => {
                pay(self.state, text.len())?;
                let items: Vec<&RawValue> = serde_json::from_str(text).map_err(read)?;
                let items = items.into_iter().map(|raw| self.value(raw, depth + 1));
                Ok(Value::from(items.collect::<Result<Vec<_>, Error>>()?))
            }
            Some(b'-' | b'0'..=b'9') if self.as_text => Ok(Value::from(text)),
            Some(b'-' | b'0'..=b'9') => Ok(digits::value(text)),
            _ => serde_json::from_str(text).map(|plain: Json| crate::template::value(&plain)).map_err(read),
        }
    }
}

/// An object, its values unread. Of a key that is there twice the last one counts.
struct Fields<'t>(Vec<(String, &'t RawValue)>);

impl<'t> Deserialize<'t> for Fields<'t> {
    fn deserialize<D: Deserializer<'t>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'t> Visitor<'t> for Object {
            type Value = Fields<'t>;

            fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Fields<'t>, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Object)
    }
}
