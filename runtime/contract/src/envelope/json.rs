//! JSON text as a tree that knows what it was: strings borrowed from the text, numbers as they are written, members in the order
//! in which they were sent, and every key that was sent twice.
//!
//! `serde_json::Value` would do but for three things: of two equal keys it silently keeps the last (so that a reader who keeps
//! the first sees another envelope than we do), it copies every string of every dispatch, and of a number it keeps the nearest double.
//! (Its `arbitrary_precision` would keep them, for each crate of the build at once, and no untagged enum could read a number any more.)

use std::borrow::Cow;
use std::{fmt, mem};

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde::{Deserializer, de};
use serde_json::Number;
use serde_json::value::{RawValue, to_raw_value};

use super::numeral::{Numeral, Numerals};
use crate::limit;
use crate::mistake::{Mistake, Pointer, code};

/// Reads a body that is no envelope as strictly as one: the value, and what is wrong with it though it can be read (a key that is
/// there twice, an integer that is not what was sent any more), each with its place.
///
/// # Errors
/// The one mistake for which it cannot be read at all.
pub fn read_strictly(text: &str) -> Result<(serde_json::Value, Vec<Mistake>), Mistake> {
    let Read { json, duplicates, inexact } = Json::read(text)?;
    let value = serde_json::to_value(&json).expect("what was read is JSON");
    Ok((value, duplicates.into_iter().chain(inexact).take(limit::MISTAKES_MAX).collect()))
}

/// The integers beyond 64 bits in a JSON text, the first `most` of them, each with its place and the digits that stand there: whoever reads the
/// text into values gets doubles for them. None where the text is no JSON, deeper than an envelope may be, or has a key twice: which of the
/// two a reader keeps is not known.
#[must_use]
pub fn long_integers(text: &str, most: usize) -> Vec<(Pointer, &str)> {
    let mut notes = Notes::new(text, most);
    let mut source = serde_json::Deserializer::from_str(text);
    let read = Seed { place: &Place::ROOT, notes: &mut notes }.deserialize(&mut source);
    if read.is_ok() && notes.duplicates.is_empty() { notes.inexact } else { Vec::new() }
}

/// A JSON text written anew, in one line: its numbers as they are written there, and each text, key and number of which `clean` makes
/// another text as that one. None where it is no JSON, deeper than an envelope may be, or has a key twice, before or behind that.
#[must_use]
pub fn rewritten(text: &str, clean: impl Fn(&str) -> Cow<'_, str>) -> Option<Box<RawValue>> {
    let mut json = Json::read(text).ok().filter(|read| read.duplicates.is_empty())?.json;
    json.clean(&clean)?;
    to_raw_value(&json).ok()
}

/// The same with every text in it as it is.
#[must_use]
pub fn in_one_line(text: &str) -> Option<Box<RawValue>> {
    fn same(text: &str) -> Cow<'_, str> {
        Cow::Borrowed(text)
    }
    rewritten(text, same)
}

/// The same on many lines, for people.
#[must_use]
pub fn laid_out(text: &str) -> Option<String> {
    let json = Json::read(text).ok().filter(|read| read.duplicates.is_empty())?.json;
    serde_json::to_string_pretty(&json).ok()
}

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json<'a> {
    Null,
    Bool(bool),
    Number(Numeral<'a>),
    Text(Cow<'a, str>),
    List(Vec<Json<'a>>),
    Object(Members<'a>),
}

/// The members of an object, as sent.
pub(super) type Members<'a> = Vec<(Cow<'a, str>, Json<'a>)>;

/// A text that is JSON, the keys that it holds more than once, and the integers that are not what was sent any more.
pub(super) struct Read<'a> {
    pub(super) json: Json<'a>,
    pub(super) duplicates: Vec<Mistake>,
    pub(super) inexact: Vec<Mistake>,
}

impl<'a> Json<'a> {
    /// Reads the whole of `text`. What cannot be read is one mistake: there is nothing to go on with behind it.
    pub(super) fn read(text: &'a str) -> Result<Read<'a>, Mistake> {
        if text.starts_with('\u{feff}') {
            let detail = "the body begins with a byte order mark (U+FEFF, at line 1 column 1), which JSON does not know: send it without";
            return Err(Mistake::new(Pointer::root(), code::NOT_JSON, detail));
        }
        // One more than is reported, so that the report can say that there are more.
        let mut notes = Notes::new(text, limit::MISTAKES_MAX + 1);
        let mut source = serde_json::Deserializer::from_str(text);
        let seed = Seed { place: &Place::ROOT, notes: &mut notes };
        match seed.deserialize(&mut source).and_then(|json| source.end().map(|()| json)) {
            Ok(json) => {
                let detail = "an integer beyond 64 bits cannot be kept exactly: send it as a string";
                let told = |(pointer, _)| Mistake::new(pointer, code::NOT_EXACT, detail);
                Ok(Read { json, duplicates: notes.duplicates, inexact: notes.inexact.into_iter().map(told).collect() })
            }
            Err(error) => Err(notes.too_deep.take().unwrap_or_else(|| unreadable(text, &error, notes.failed))),
        }
    }

    /// See [`rewritten`]. None where two keys become one.
    fn clean(&mut self, clean: &impl Fn(&str) -> Cow<'_, str>) -> Option<()> {
        let changed = |text: &str| match clean(text) {
            Cow::Borrowed(_) => None,
            Cow::Owned(other) => Some(Cow::Owned(other)),
        };
        match self {
            Self::Null | Self::Bool(_) => {}
            Self::Number(number) => {
                if let Some(other) = changed(number.text).or_else(|| changed(&number.value.to_string())) {
                    *self = Self::Text(other);
                }
            }
            Self::Text(text) => *text = changed(text).unwrap_or_else(|| mem::take(text)),
            Self::List(items) => items.iter_mut().try_for_each(|item| item.clean(clean))?,
            Self::Object(members) => {
                let mut is_other = false;
                for (key, value) in &mut *members {
                    if let Some(other) = changed(key) {
                        *key = other;
                        is_other = true;
                    }
                    value.clean(clean)?;
                }
                if is_other && !twice(members).is_empty() {
                    return None;
                }
            }
        }
        Some(())
    }

    /// The value as the messages of mistakes name it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        }
    }
}

/// The keys that are there more than once.
fn twice<'m>(members: &'m Members<'_>) -> Vec<&'m str> {
    let mut keys: Vec<&str> = members.iter().map(|(key, _)| key.as_ref()).collect();
    keys.sort_unstable();
    let mut again: Vec<&str> = keys.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    again.dedup();
    again
}

/// The first member of that name.
pub(super) fn member<'j, 'a>(members: &'j Members<'a>, name: &str) -> Option<&'j Json<'a>> {
    members.iter().find(|(key, _)| key == name).map(|(_, value)| value)
}

/// The mistake that stands for all that serde_json could not read.
fn unreadable(text: &str, error: &serde_json::Error, failed: Option<Pointer>) -> Mistake {
    let (line, column) = (error.line(), error.column());
    let rest =
        text.lines().nth(line.saturating_sub(1)).and_then(|text| text.get(column.saturating_sub(1)..)).unwrap_or("");
    // Python's and JavaScript's spellings, which are not JSON but plainly meant as a number at that place.
    let spelling =
        ["NaN", "Infinity", "nan", "inf"].into_iter().find(|name| rest.trim_start_matches('-').starts_with(name));
    if spelling.is_some() || error.to_string().starts_with("number out of range") {
        let detail = format!("must be a finite number (line {line}, column {column})");
        return Mistake::new(failed.unwrap_or_default(), code::NOT_A_NUMBER, detail);
    }
    // As serde_json calls the halves of a pair that stand alone: text of JavaScript may hold them, UTF-8 cannot.
    if ["lone leading surrogate", "unexpected end of hex escape"].iter().any(|half| error.to_string().starts_with(half))
    {
        let detail = format!(
            "the text at line {line} column {column} holds half of a character: a `\\u` escape of D800 to DFFF stands for nothing \
             without its other half; send both, or the character itself"
        );
        return Mistake::new(Pointer::root(), code::NOT_JSON, detail);
    }
    Mistake::new(Pointer::root(), code::NOT_JSON, format!("the body is not JSON: {error}"))
}

/// Where the reader is: a list on the stack, made into a pointer only when something is wrong.
struct Place<'p> {
    parent: Option<&'p Place<'p>>,
    step: Step<'p>,
    depth: usize,
}

#[derive(Clone, Copy)]
enum Step<'p> {
    Key(&'p str),
    Index(usize),
}

impl<'p> Place<'p> {
    const ROOT: Place<'static> = Place { parent: None, step: Step::Index(0), depth: 0 };

    fn below(&'p self, step: Step<'p>) -> Self {
        Self { parent: Some(self), step, depth: self.depth + 1 }
    }

    /// The pointer to this place, or to the deepest one above it that fits: keys are the client's and may be of any length.
    fn pointer(&self) -> Pointer {
        let Some(parent) = self.parent else { return Pointer::root() };
        let above = parent.pointer();
        let here = match self.step {
            Step::Key(key) if key.len() > limit::POINTER_BYTES_MAX => return above,
            Step::Key(key) => above.join(key),
            Step::Index(index) => above.join(index),
        };
        if here.as_str().len() > limit::POINTER_BYTES_MAX { above } else { here }
    }
}

/// What was noticed on the way.
struct Notes<'t> {
    duplicates: Vec<Mistake>,
    too_deep: Option<Mistake>,
    /// Integers beyond 64 bits, as they are written, and at most `most` of them.
    inexact: Vec<(Pointer, &'t str)>,
    most: usize,
    /// Those that were not read yet.
    numerals: Numerals<'t>,
    /// The innermost place that could not be read.
    failed: Option<Pointer>,
}

impl<'t> Notes<'t> {
    fn new(text: &'t str, most: usize) -> Self {
        let (duplicates, inexact) = (Vec::new(), Vec::new());
        Self { duplicates, too_deep: None, inexact, most, numerals: Numerals::of(text), failed: None }
    }
}

struct Seed<'p, 'n, 't> {
    place: &'p Place<'p>,
    notes: &'n mut Notes<'t>,
}

impl<'a> DeserializeSeed<'a> for Seed<'_, '_, 'a> {
    type Value = Json<'a>;

    fn deserialize<D: Deserializer<'a>>(self, source: D) -> Result<Json<'a>, D::Error> {
        let Self { place, notes } = self;
        let read = source.deserialize_any(Seed { place, notes: &mut *notes });
        if read.is_err() {
            notes.failed.get_or_insert_with(|| place.pointer());
        }
        read
    }
}

impl<'a> Seed<'_, '_, 'a> {
    /// Called for each list and object: what would overflow a stack (ours, or that of whoever reads it next) ends here.
    fn check_depth<E: de::Error>(&mut self) -> Result<(), E> {
        if self.place.depth < limit::ENVELOPE_DEPTH_MAX {
            return Ok(());
        }
        let detail = format!("lists and objects may be nested {} deep", limit::ENVELOPE_DEPTH_MAX);
        self.notes.too_deep = Some(Mistake::new(self.place.pointer(), code::TOO_DEEP, detail));
        Err(E::custom("too deep"))
    }

    /// The number that was just read, with how it is written: they come in the order of the text.
    fn number<E: de::Error>(self, value: Number) -> Result<Json<'a>, E> {
        let text = self.notes.numerals.next().ok_or_else(|| E::custom("a number that is not in the text"))?;
        let numeral = Numeral { value, text };
        if numeral.is_long_integer() && self.notes.inexact.len() < self.notes.most {
            self.notes.inexact.push((self.place.pointer(), text));
        }
        Ok(Json::Number(numeral))
    }

    fn note_duplicates(&mut self, members: &Members<'_>) {
        for key in twice(members) {
            // One more than is reported, so that the report can say that there are more.
            if self.notes.duplicates.len() > limit::MISTAKES_MAX {
                return;
            }
            let detail = format!("`{}` is there more than once", limit::clip(key, limit::QUOTE_BYTES_MAX));
            let place = self.place.below(Step::Key(key)).pointer();
            self.notes.duplicates.push(Mistake::new(place, code::DUPLICATE_KEY, detail));
        }
    }
}

impl<'a> Visitor<'a> for Seed<'_, '_, 'a> {
    type Value = Json<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json<'a>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json<'a>, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Json<'a>, E> {
        self.number(value.into())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Json<'a>, E> {
        self.number(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Json<'a>, E> {
        let value = Number::from_f64(value).ok_or_else(|| E::custom("number out of range"))?;
        self.number(value)
    }

    fn visit_borrowed_str<E>(self, text: &'a str) -> Result<Json<'a>, E> {
        Ok(Json::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json<'a>, E> {
        Ok(Json::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'a>>(mut self, mut source: A) -> Result<Json<'a>, A::Error> {
        self.check_depth()?;
        let mut items = Vec::new();
        loop {
            let place = self.place.below(Step::Index(items.len()));
            match source.next_element_seed(Seed { place: &place, notes: &mut *self.notes })? {
                Some(item) => items.push(item),
                None => return Ok(Json::List(items)),
            }
        }
    }

    fn visit_map<A: MapAccess<'a>>(mut self, mut source: A) -> Result<Json<'a>, A::Error> {
        self.check_depth()?;
        let mut members = Members::new();
        while let Some(key) = source.next_key_seed(Key)? {
            let place = self.place.below(Step::Key(&key));
            let value = source.next_value_seed(Seed { place: &place, notes: &mut *self.notes })?;
            members.push((key, value));
        }
        self.note_duplicates(&members);
        Ok(Json::Object(members))
    }
}

/// A member's name, borrowed where it holds no escapes.
struct Key;

impl<'a> DeserializeSeed<'a> for Key {
    type Value = Cow<'a, str>;

    fn deserialize<D: Deserializer<'a>>(self, source: D) -> Result<Cow<'a, str>, D::Error> {
        source.deserialize_str(self)
    }
}

impl<'a> Visitor<'a> for Key {
    type Value = Cow<'a, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, text: &'a str) -> Result<Cow<'a, str>, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Cow<'a, str>, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, target: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => target.serialize_unit(),
            Self::Bool(value) => target.serialize_bool(*value),
            Self::Number(numeral) => numeral.serialize(target),
            Self::Text(text) => target.serialize_str(text),
            Self::List(items) => items.serialize(target),
            Self::Object(members) => {
                let mut object = target.serialize_map(Some(members.len()))?;
                for (key, value) in members {
                    object.serialize_entry(key, value)?;
                }
                object.end()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_anew_has_its_digits_and_none_of_what_is_taken_out() {
        fn clean(text: &str) -> Cow<'_, str> {
            if text.contains("8765") { Cow::Owned("***".to_owned()) } else { Cow::Borrowed(text) }
        }
        for (text, expected) in [
            (
                r#" {"a": [1.10, 1e3, 1E-3, -0, -0.0, 0.1, 3.0], "b" : {"c": 123456789012345678901234567890} } "#,
                Some(r#"{"a":[1.10,1e3,1E-3,-0,-0.0,0.1,3.0],"b":{"c":123456789012345678901234567890}}"#),
            ),
            (
                r#"["\u00e4", true, null, {}, [], 18446744073709551615]"#,
                Some(r#"["ä",true,null,{},[],18446744073709551615]"#),
            ),
            (r#"{"k8765": "s8765", "n": [87.65e2, 8765, 1.8765]}"#, Some(r#"{"***":"***","n":["***","***","***"]}"#)),
            (r#"{"k8765": 1, "8765": 2}"#, None),
            (r#"{"a": 1, "a": 2}"#, None),
            ("[1E400]", None),
            ("[1", None),
        ] {
            assert_eq!(rewritten(text, clean).as_deref().map(RawValue::get), expected, "{text}");
        }
    }

    #[test]
    fn long_integers_are_told_where_they_are_one_value() {
        let told =
            |text| long_integers(text, 2).iter().map(|(at, digits)| format!("{at} {digits}")).collect::<Vec<_>>();
        assert_eq!(
            told(r#"{"a": [1, 98765432109876543210], "b": -12345678901234567890123, "c": 1e30}"#),
            ["/a/1 98765432109876543210", "/b -12345678901234567890123"]
        );
        for text in [
            "[18446744073709551615]",
            r#"{"a": 98765432109876543210, "a": 1}"#,
            "[98765432109876543210",
            "[0.98765432109876543210]",
        ] {
            assert_eq!(told(text), [""; 0], "{text}");
        }
        assert_eq!(told("[98765432109876543210, 98765432109876543210, 98765432109876543210]").len(), 2);
    }
}
