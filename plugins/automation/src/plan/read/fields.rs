//! The leaves: texts, numbers, durations, templates and questions, each complaint at its own place.

use core::time::Duration;

use serde_json::{Map, Value as Json};
use sortie_plugin::Mistake;

use crate::duration;
use crate::plan::graph::{Named, named};
use crate::plan::{ATTEMPTS_MAX, Retry, Text};
use crate::template::{Compiler, Question, Shape};

use super::{Names, Reader, is_there};

impl<'e> Reader<'e, '_> {
    pub(super) fn retry(&mut self, place: &str, fields: &'e Map<String, Json>) -> Retry {
        let place = format!("{place}/retry");
        let Some(value) = fields.get("retry").filter(|value| !value.is_null()) else { return Retry::default() };
        let Some(fields) = self.object(&place, value, &["attempts", "backoff", "factor"]) else {
            return Retry::default();
        };
        if !is_there(fields, "attempts") {
            self.complain(
                format!("{place}/attempts"),
                "required",
                "say how many attempts there are, the first included",
            );
        }
        let attempts = self.count(&place, fields, "attempts", 1, ATTEMPTS_MAX.into());
        let factor = match fields.get("factor") {
            None | Some(Json::Null) => 1.0,
            Some(factor) => match factor.as_f64() {
                Some(factor) if (1.0..=100.0).contains(&factor) => factor,
                _ => {
                    self.complain(format!("{place}/factor"), "out_of_range", "it must be a number from 1 to 100");
                    1.0
                }
            },
        };
        Retry {
            attempts: attempts.and_then(|count| u32::try_from(count).ok()).unwrap_or(1),
            backoff: self.duration(&place, fields, "backoff").unwrap_or(Retry::default().backoff),
            factor,
        }
    }

    /// Something to be answered with yes or no: `true`, `false`, or one `{{ … }}`.
    pub(super) fn question(
        &mut self,
        place: String,
        value: &'e Json,
        names: Names<'_>,
        needs: &mut Vec<Named>,
    ) -> Option<Question<'e>> {
        let mut compiler = Compiler::new(self.language, names.all, names.own_items);
        let question = compiler.question(&place, value);
        let Compiler { references, errors, .. } = compiler;
        if question.is_none() && errors.is_empty() {
            let code = if value.is_string() { "bad_template" } else { "wrong_type" };
            self.complain(place, code, "it must be true, false, or one {{ … }} and nothing around it");
        }
        for error in errors {
            self.complain(error.place, "bad_template", error.detail);
        }
        needs.extend(named(references));
        question
    }

    pub(super) fn shape(&mut self, place: &str, value: &'e Json, names: Names<'_>, needs: &mut Vec<Named>) -> Text<'e> {
        let mut compiler = Compiler::new(self.language, names.all, names.own_items);
        let shape = compiler.shape(place, value);
        let Compiler { references, errors, .. } = compiler;
        for error in errors {
            self.complain(error.place, "bad_template", error.detail);
        }
        let each_item = references.item;
        let of_envelope = references.are_of_envelope();
        needs.extend(named(references));
        Text { shape, each_item, of_envelope }
    }

    /// Holds a text against the node's rule for it, where it is fixed: what a template gives is known later.
    pub(super) fn fixed(
        &mut self,
        place: &str,
        shape: &Shape<'_>,
        code: &'static str,
        wrong: fn(&str) -> Option<&'static str>,
    ) {
        let Shape::Fixed(value) = shape else { return };
        if self.has_mistake_at(place) {
            return;
        }
        match value {
            Json::String(text) => {
                if let Some(why) = wrong(text) {
                    self.complain(place.to_owned(), code, why);
                }
            }
            _ => self.complain(place.to_owned(), "wrong_type", "it must be a text"),
        }
    }

    pub(super) fn duration(&mut self, place: &str, fields: &Map<String, Json>, key: &str) -> Option<Duration> {
        let value = fields.get(key).filter(|value| !value.is_null())?;
        let duration = value.as_str().and_then(duration::parse);
        if duration.is_none() {
            self.complain(format!("{place}/{key}"), "bad_duration", duration::EXPECTED);
        }
        duration
    }

    pub(super) fn is_positive(&mut self, place: &str, timeout: Duration) -> bool {
        if timeout.is_zero() {
            self.complain(format!("{place}/timeout"), "bad_duration", "a timeout must be longer than nothing");
        }
        !timeout.is_zero()
    }

    pub(super) fn count(
        &mut self,
        place: &str,
        fields: &Map<String, Json>,
        key: &str,
        min: u64,
        max: u64,
    ) -> Option<u64> {
        let value = fields.get(key).filter(|value| !value.is_null())?;
        let count = value.as_u64().filter(|count| (min..=max).contains(count));
        if count.is_none() {
            let range = if max == u64::MAX { format!("{min} or more") } else { format!("from {min} to {max}") };
            self.complain(format!("{place}/{key}"), "out_of_range", format!("it must be a whole number, {range}"));
        }
        count
    }

    pub(super) fn text(&mut self, place: &str, fields: &'e Map<String, Json>, key: &str) -> Option<&'e str> {
        match fields.get(key) {
            None | Some(Json::Null) => None,
            Some(Json::String(text)) => Some(text),
            Some(_) => {
                self.complain(format!("{place}/{key}"), "wrong_type", "it must be a text");
                None
            }
        }
    }

    pub(super) fn required_text(&mut self, place: &str, fields: &'e Map<String, Json>, key: &str) -> Option<&'e str> {
        match fields.get(key) {
            None | Some(Json::Null) => {
                self.complain(format!("{place}/{key}"), "required", format!("`{key}` is missing"));
                None
            }
            Some(Json::String(text)) if text.trim().is_empty() => {
                self.complain(format!("{place}/{key}"), "empty", format!("`{key}` must not be empty"));
                None
            }
            Some(_) => self.text(place, fields, key),
        }
    }

    pub(super) fn object(&mut self, place: &str, value: &'e Json, keys: &[&str]) -> Option<&'e Map<String, Json>> {
        let Json::Object(fields) = value else {
            self.complain(place.to_owned(), "wrong_type", format!("it must be an object with {}", keys.join(", ")));
            return None;
        };
        for key in fields.keys().filter(|key| !keys.contains(&key.as_str())) {
            let pointer = format!("{place}/{}", key.replace('~', "~0").replace('/', "~1"));
            self.complain(pointer, "unknown_key", format!("`{key}` is not known here; known are {}", keys.join(", ")));
        }
        Some(fields)
    }

    pub(super) fn has_mistake_at(&self, place: &str) -> bool {
        self.mistakes.iter().any(|mistake| mistake.pointer.starts_with(place))
    }

    pub(super) fn complain(&mut self, pointer: String, code: &'static str, detail: impl Into<String>) {
        self.mistakes.push(Mistake::new(pointer, code, detail));
    }
}
