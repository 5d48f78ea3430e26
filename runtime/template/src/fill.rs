//! An envelope whose texts are templates, filled in.
//!
//! Owns what of a text is evaluated here and what is left for whoever reads it later (the plugin that it is given to), and that nothing that is
//! put in is taken for a template there.

use std::cell::Cell;
use std::collections::BTreeSet;

use serde_json::{Map, Value};
use sortie_contract::Pointer;
use sortie_contract::plugin::names_of_later;

use crate::{SOURCE_BYTES_MAX, Templates};

/// Functions of the template language.
const FUNCTIONS: [&str; 3] = ["range", "dict", "namespace"];

/// Most bytes of a text with templates in it.
const BYTES_MAX: usize = 64 << 10;

/// Most bytes of what all templates of one [`Fill`] come to.
const MADE_BYTES_MAX: usize = 1 << 20;

/// Most marks of an end that are looked at for that of one expression.
const ENDS_MAX: usize = 16;

/// A place, and what is wrong with the text there, in words.
pub type Fault = (Pointer, String);

/// What fills the texts of envelopes in.
#[derive(Debug)]
pub struct Fill<'a> {
    templates: &'a Templates,
    names: &'a [&'a str],
    /// So many bytes may still come out of templates.
    room: Cell<usize>,
}

impl<'a> Fill<'a> {
    /// By these templates, which see these names.
    #[must_use]
    pub fn new(templates: &'a Templates, names: &'a [&'a str]) -> Self {
        Self { templates, names, room: Cell::new(MADE_BYTES_MAX) }
    }

    /// An envelope that stands at `place`, with its texts filled in. What its plugin fills in once it runs is left as it is, and what is put in
    /// beside that is no template to it, whatever it holds. Each text that cannot be filled in is `null`, and `found`.
    #[must_use]
    pub fn envelope(
        &self,
        envelope: &Map<String, Value>,
        place: &Pointer,
        found: &mut Vec<Fault>,
    ) -> Map<String, Value> {
        // Whose texts they are is known once these two are.
        let who = ["mission_type", "plugin"].map(|key| match envelope.get(key) {
            Some(Value::String(source)) => match (Text { fill: self, later: &[] }).string(source) {
                Ok(Value::String(text)) => text,
                _ => String::new(),
            },
            _ => String::new(),
        });
        let [mission_type, plugin] = &who;
        let field = |(key, value): (&String, &Value)| {
            let within = Pointer::root().join(key);
            let filled = each_text(value, &within, &mut |source, at| {
                let later = names_of_later(mission_type, plugin, at);
                Text { fill: self, later }.string(source).unwrap_or_else(|detail| {
                    found.push((below(place, at), detail));
                    Value::Null
                })
            });
            (key.clone(), filled)
        };
        envelope.iter().map(field).collect()
    }
}

/// What is wrong with the templates of an envelope at `place` whatever they will see: one that is none, or that names what is not there.
#[must_use]
pub fn faults(envelope: &Map<String, Value>, names: &[&str], place: &Pointer) -> Vec<Fault> {
    let text = |key: &str| envelope.get(key).and_then(Value::as_str).unwrap_or_default();
    let (mission_type, plugin) = (text("mission_type"), text("plugin"));
    // Where a delivery says what it is, it may be either.
    let (mission_type, plugin) = if [mission_type, plugin].iter().any(|text| is_template(text)) {
        ("automation", "")
    } else {
        (mission_type, plugin)
    };
    let mut found = Vec::new();
    for (key, value) in envelope {
        let _ = each_text(value, &Pointer::root().join(key), &mut |source, at| {
            let later = names_of_later(mission_type, plugin, at);
            found.extend(readers(source, names, later).err().map(|detail| (below(place, at), detail)));
            Value::Null
        });
    }
    found
}

/// What is wrong with an expression, whatever it will see.
///
/// # Errors
/// That, in words.
pub fn examine(expression: &str, names: &[&str]) -> Result<(), String> {
    whose(&Templates::names(expression)?, names, &[]).map(drop)
}

/// The place within an envelope, as seen from outside of it.
fn below(place: &Pointer, at: &Pointer) -> Pointer {
    Pointer::raw(format!("{}{}", place.as_str(), at.as_str()))
}

fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%")
}

/// The value with each text that has a template in it replaced by what becomes of it.
fn each_text(value: &Value, at: &Pointer, become_of: &mut dyn FnMut(&str, &Pointer) -> Value) -> Value {
    match value {
        Value::String(source) if is_template(source) => become_of(source, at),
        Value::Array(items) => {
            let item = |(index, item)| each_text(item, &at.clone().join(index), become_of);
            Value::Array(items.iter().enumerate().map(item).collect())
        }
        Value::Object(fields) => {
            let field =
                |(key, field): (&String, &Value)| (key.clone(), each_text(field, &at.clone().join(key), become_of));
            Value::Object(fields.iter().map(field).collect())
        }
        other => other.clone(),
    }
}

/// Whose templates a text holds, where they are such.
fn readers(source: &str, names: &[&str], later: &[&str]) -> Result<(), String> {
    fits(source)?;
    if source.contains("{%") {
        return whose(&Templates::names_of_text(source)?, names, later).map(drop);
    }
    let mut rest = source;
    while let Some((_, behind)) = rest.split_once("{{") {
        let (_, named, after) = expression(behind)?;
        whose(&named, names, later)?;
        rest = after;
    }
    Ok(())
}

fn fits(source: &str) -> Result<(), String> {
    match source.len() {
        0..=BYTES_MAX => Ok(()),
        _ => Err(format!("a text with templates has at most {BYTES_MAX} bytes: split it")),
    }
}

/// Whose template a text is.
enum Whose {
    /// It is filled in here.
    Ours,
    /// That of who reads it later: of names that are known then.
    Later,
}

fn whose(named: &BTreeSet<String>, names: &[&str], later: &[&str]) -> Result<Whose, String> {
    let named: Vec<&str> = named.iter().map(String::as_str).filter(|name| !FUNCTIONS.contains(name)).collect();
    if let Some(unknown) = named.iter().find(|name| !names.contains(name) && !later.contains(name)) {
        return Err(format!("`{unknown}` is not known here; known are {}", names.join(", ")));
    }
    match (named.iter().any(|name| later.contains(name)), named.iter().any(|name| names.contains(name))) {
        (true, true) => Err(format!(
            "what is known now ({}) and what the mission will know ({}) stand in one template: write two",
            names.join(", "),
            later.join(", ")
        )),
        (true, false) => Ok(Whose::Later),
        (false, _) => Ok(Whose::Ours),
    }
}

/// How one text is filled in.
struct Text<'a> {
    fill: &'a Fill<'a>,
    later: &'a [&'a str],
}

impl Text<'_> {
    /// One text. One that is a single `{{ … }}` keeps the type of its value.
    fn string(&self, source: &str) -> Result<Value, String> {
        fits(source)?;
        if source.contains("{%") {
            return match self.whose(&Templates::names_of_text(source)?)? {
                Whose::Ours => {
                    let mut text = Vec::new();
                    self.fill.templates.write(source, &mut text)?;
                    self.makes(text.len())?;
                    Ok(self.inert(Value::from(String::from_utf8_lossy(&text).into_owned())))
                }
                Whose::Later => Ok(Value::from(source)),
            };
        }
        let (mut text, mut rest) = (String::with_capacity(source.len()), source);
        while let Some((before, behind)) = rest.split_once("{{") {
            let (inner, names, after) = expression(behind)?;
            text.push_str(before);
            match self.whose(&names)? {
                Whose::Later => text.extend(["{{", inner, "}}"]),
                Whose::Ours => {
                    let value = self.fill.templates.value(inner)?;
                    self.makes(value.to_string().len())?;
                    if before.is_empty() && text.is_empty() && after.is_empty() {
                        return Ok(self.inert(value));
                    }
                    let value = match value {
                        Value::String(value) => value,
                        other => other.to_string(),
                    };
                    // Also what makes a mark together with what stands beside it.
                    match self.later {
                        [] => text.push_str(&value),
                        _ => value.chars().for_each(|c| match c {
                            '{' => text.push_str("{{ '{' }}"),
                            other => text.push(other),
                        }),
                    }
                }
            }
            rest = after;
        }
        text.push_str(rest);
        Ok(Value::from(text))
    }

    /// So many bytes come out of a template.
    fn makes(&self, bytes: usize) -> Result<(), String> {
        let left = self.fill.room.get().checked_sub(bytes);
        self.fill.room.set(left.unwrap_or(0));
        left.map(drop).ok_or_else(|| format!("the templates of an envelope come to {MADE_BYTES_MAX} bytes at most"))
    }

    fn whose(&self, named: &BTreeSet<String>) -> Result<Whose, String> {
        whose(named, self.fill.names, self.later)
    }

    /// A value that nobody takes for a template: it is data, whoever wrote it. Keys are never templates.
    fn inert(&self, value: Value) -> Value {
        if self.later.is_empty() {
            return value;
        }
        match value {
            Value::String(text) => Value::String(escaped(&text)),
            Value::Array(items) => Value::Array(items.into_iter().map(|item| self.inert(item)).collect()),
            Value::Object(fields) => {
                Value::Object(fields.into_iter().map(|(key, field)| (key, self.inert(field))).collect())
            }
            other => other,
        }
    }
}

/// The expression that a text begins with, the names in it, and what is behind it. A text within it may hold the mark of its end.
fn expression(text: &str) -> Result<(&str, BTreeSet<String>, &str), String> {
    let mut first = None;
    for (end, _) in text.match_indices("}}").take(ENDS_MAX) {
        if end > SOURCE_BYTES_MAX {
            let most = format!("an expression has at most {SOURCE_BYTES_MAX} bytes: put a part of it into `vars`");
            return Err(first.unwrap_or(most));
        }
        let inner = &text[..end];
        match Templates::names(inner) {
            Ok(names) => return Ok((inner, names, &text[end + 2..])),
            Err(error) => drop(first.get_or_insert(error)),
        }
    }
    Err(first.unwrap_or_else(|| "`{{` is not closed by `}}`".to_owned()))
}

/// A text whose marks of templates are written as texts.
fn escaped(text: &str) -> String {
    let (mut escaped, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find('{') {
        let (before, from) = rest.split_at(at);
        escaped.push_str(before);
        let mark = from.get(..2).filter(|mark| ["{{", "{%", "{#"].contains(mark));
        match mark {
            Some(mark) => escaped.extend(["{{ '", mark, "' }}"]),
            None => escaped.push('{'),
        }
        rest = &from[mark.map_or(1, str::len)..];
    }
    escaped.push_str(rest);
    escaped
}
