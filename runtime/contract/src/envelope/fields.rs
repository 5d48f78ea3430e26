//! Reading typed fields out of an object, collecting what is wrong instead of stopping at it.
//!
//! Every function answers `None` both for a field that is absent and for one that is wrong; the difference is the mistake that
//! was noted. `null` is absent: that is what the serialisers of optional fields write.

use std::borrow::Cow;
use std::str::FromStr;

use jiff::Timestamp;

use super::json::{Json, Members, member};
use crate::id::{IdError, is_blank};
use crate::limit;
use crate::mistake::{Mistake, Pointer, code};
use crate::time::{self, TimeError};

/// What was found wrong, and odd, so far.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) mistakes: Vec<Mistake>,
    pub(super) warnings: Vec<String>,
    /// The envelope was accepted, by a version perhaps that took more than this one does.
    pub(super) accepted: bool,
    /// A node wrote it, for a child: it has what nobody else may say.
    pub(super) of_node: bool,
}

impl Findings {
    /// Whether what only a node says may be there.
    pub(super) fn takes_the_nodes_own(&self) -> bool {
        self.accepted || self.of_node
    }
}

impl Findings {
    /// Notes a mistake. Of more than are reported the last one says that there are more.
    pub(super) fn wrong(&mut self, place: Pointer, code: &str, detail: impl Into<String>) {
        self.push(Mistake::new(place, code, detail));
    }

    /// Notes a mistake that is one already.
    pub(super) fn push(&mut self, mistake: Mistake) {
        match self.mistakes.len() + 1 {
            ..limit::MISTAKES_MAX => self.mistakes.push(mistake),
            limit::MISTAKES_MAX => {
                let detail = "there are more mistakes than these; mend them and send it again";
                self.mistakes.push(Mistake::new(Pointer::root(), code::MORE_MISTAKES, detail));
            }
            _ => {}
        }
    }

    /// Notes something odd that does no harm.
    pub(super) fn odd(&mut self, warning: String) {
        match self.warnings.len() + 1 {
            ..limit::MISTAKES_MAX => self.warnings.push(warning),
            limit::MISTAKES_MAX => self.warnings.push("there is more of that kind".to_owned()),
            _ => {}
        }
    }
}

/// An object of the envelope, with its place.
#[derive(Clone, Copy)]
pub(super) struct Object<'j, 'a> {
    /// Pointer to it: every object that has typed fields is at a place that is known beforehand.
    place: &'static str,
    /// `None` stands for an object that is absent: all of its fields are.
    members: Option<&'j Members<'a>>,
}

impl<'j, 'a> Object<'j, 'a> {
    /// The envelope itself.
    pub(super) fn top(members: &'j Members<'a>) -> Self {
        Self { place: "", members: Some(members) }
    }

    /// The object in the field that `place`, a pointer, names.
    pub(super) fn object(&self, place: &'static str, findings: &mut Findings) -> Object<'j, 'a> {
        let name = place.rsplit('/').next().unwrap_or(place);
        let members = match self.value(name) {
            Some(Json::Object(members)) => Some(members),
            Some(other) => wrong_type(self.at(name), "an object", other, findings),
            None => None,
        };
        Object { place, members }
    }

    /// Whether it is there.
    pub(super) fn is_there(&self) -> bool {
        self.members.is_some()
    }

    /// The pointer to one of its fields.
    pub(super) fn at(&self, name: &str) -> Pointer {
        Pointer::raw(self.place).join(name)
    }

    /// What a field holds.
    pub(super) fn value(&self, name: &str) -> Option<&'j Json<'a>> {
        member(self.members?, name).filter(|value| **value != Json::Null)
    }

    /// The keys that are not among `known`, quoted for a message, each with its pointer.
    pub(super) fn unknown(&self, known: &[&str]) -> impl Iterator<Item = (Cow<'j, str>, Pointer)> {
        let members = self.members.map_or(&[][..], Vec::as_slice);
        members.iter().map(|(key, _)| key.as_ref()).filter(move |key| !known.contains(key)).map(|key| {
            let short = key.len() <= limit::QUOTE_BYTES_MAX;
            let quote = if short { Cow::Borrowed(key) } else { limit::clip(key, limit::QUOTE_BYTES_MAX).into() };
            (quote, if short { self.at(key) } else { Pointer::raw(self.place) })
        })
    }

    /// Notes a field that must be there and is not.
    pub(super) fn require(&self, name: &str, findings: &mut Findings) {
        if self.value(name).is_none() {
            findings.wrong(self.at(name), code::REQUIRED, format!("`{name}` is required"));
        }
    }

    /// A string.
    pub(super) fn text(&self, name: &str, findings: &mut Findings) -> Option<&'j str> {
        match self.value(name)? {
            Json::Text(text) => Some(text),
            other => wrong_type(self.at(name), "a string", other, findings),
        }
    }

    /// An identifier.
    pub(super) fn id<T: FromStr<Err = IdError>>(&self, name: &str, findings: &mut Findings) -> Option<T> {
        let parsed = self.text(name, findings)?.parse::<T>();
        let error = match parsed {
            Ok(id) => return Some(id),
            Err(error) => error,
        };
        let code = match error {
            IdError::Empty => code::EMPTY,
            IdError::TooLong { .. } => code::TOO_LONG,
            IdError::Alphabet | IdError::Control => code::INVALID_CHARACTER,
            IdError::Step => code::RESERVED,
        };
        findings.wrong(self.at(name), code, format!("`{name}` {error}"));
        None
    }

    /// One of a few names.
    pub(super) fn choice<T: Copy>(&self, name: &str, choices: &[(&str, T)], findings: &mut Findings) -> Option<T> {
        let text = self.text(name, findings)?;
        let found = choices.iter().find(|(choice, _)| *choice == text).map(|(_, value)| *value);
        if found.is_none() {
            let names: Vec<&str> = choices.iter().map(|(choice, _)| *choice).collect();
            let only = if names.len() == 1 { "" } else { "one of " };
            let detail = format!(
                "`{name}` must be {only}{}, not `{}`",
                names.join(", "),
                limit::clip(text, limit::QUOTE_BYTES_MAX)
            );
            findings.wrong(self.at(name), code::UNKNOWN_VALUE, detail);
        }
        found
    }

    /// A text of another form, with the code of the mistake that another one is.
    pub(super) fn parsed<T>(&self, name: &str, code: &str, findings: &mut Findings) -> Option<T>
    where
        T: FromStr,
        T::Err: std::fmt::Display,
    {
        match self.text(name, findings)?.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                findings.wrong(self.at(name), code, error.to_string());
                None
            }
        }
    }

    /// A time of RFC 3339 with its offset.
    pub(super) fn time(&self, name: &str, findings: &mut Findings) -> Option<Timestamp> {
        let text = self.text(name, findings)?;
        let read = if findings.accepted { time::accepted(text) } else { time::rfc3339(text) };
        let error = match read {
            Ok(time) => return Some(time),
            Err(error) => error,
        };
        let code = match error {
            TimeError::Local => code::OFFSET_REQUIRED,
            TimeError::Leap | TimeError::Form => code::INVALID_TIME,
        };
        findings.wrong(self.at(name), code, format!("`{name}` {error}"));
        None
    }

    /// A number that is not negative.
    pub(super) fn amount(&self, name: &str, findings: &mut Findings) -> Option<f64> {
        let number = match self.value(name)? {
            Json::Number(number) => number.value.as_f64().filter(|number| number.is_finite()),
            other => return wrong_type(self.at(name), "a number", other, findings),
        };
        if number.is_none_or(|number| number < 0.0) {
            findings.wrong(self.at(name), code::OUT_OF_RANGE, format!("`{name}` must not be negative"));
            return None;
        }
        number
    }

    /// Warns of a limit that is larger than can be counted: `most` holds instead.
    pub(super) fn warn_of_most(&self, name: &str, most: u64, findings: &mut Findings) {
        let place = self.at(name);
        findings.odd(format!("`{name}` (at `{place}`) is more than can be counted here: {most} holds"));
    }

    /// A number that is whole and not negative. Beyond what can be counted it is the largest that can.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole, not negative, and the cast saturates"
    )]
    pub(super) fn count(&self, name: &str, findings: &mut Findings) -> Option<u64> {
        if let Some(Json::Number(number)) = self.value(name)
            && let Some(count) = number.value.as_u64()
        {
            // Above 2^53 a double would be another number.
            return Some(count);
        }
        let amount = self.amount(name, findings)?;
        if amount.fract() != 0.0 {
            findings.wrong(self.at(name), code::NOT_WHOLE, format!("`{name}` must be a whole number"));
            return None;
        }
        let count = amount as u64;
        if count == u64::MAX {
            self.warn_of_most(name, count, findings);
        }
        Some(count)
    }

    /// A list of texts that are not empty, each checked by `check`, which says what else is wrong with one.
    pub(super) fn texts(
        &self,
        name: &str,
        findings: &mut Findings,
        check: fn(&str) -> Result<(), &'static str>,
    ) -> Vec<String> {
        let items = match self.value(name) {
            Some(Json::List(items)) => items,
            Some(other) => {
                wrong_type::<()>(self.at(name), "a list of strings", other, findings);
                return Vec::new();
            }
            None => return Vec::new(),
        };
        if items.len() > limit::LIST_ENTRIES_MAX {
            let detail = format!("`{name}` may have {} entries", limit::LIST_ENTRIES_MAX);
            findings.wrong(self.at(name), code::TOO_LONG, detail);
            return Vec::new();
        }
        let mut texts = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let place = || self.at(name).join(index);
            match item {
                Json::Text(text) if is_blank(text) => findings.wrong(place(), code::EMPTY, "must not be empty"),
                Json::Text(text) if text.len() > limit::LIST_ENTRY_BYTES_MAX => {
                    let detail = format!("must not be longer than {} bytes", limit::LIST_ENTRY_BYTES_MAX);
                    findings.wrong(place(), code::TOO_LONG, detail);
                }
                Json::Text(text) => match check(text) {
                    Ok(()) => texts.push(text.clone().into_owned()),
                    Err(detail) => findings.wrong(place(), code::INVALID_PATTERN, detail),
                },
                other => {
                    wrong_type::<()>(place(), "a string", other, findings);
                }
            }
        }
        texts
    }
}

/// Notes a value of another type, and is the `None` that its reader returns.
pub(super) fn wrong_type<T>(place: Pointer, expected: &str, found: &Json<'_>, findings: &mut Findings) -> Option<T> {
    findings.wrong(place, code::WRONG_TYPE, format!("must be {expected}, not {}", found.kind()));
    None
}
