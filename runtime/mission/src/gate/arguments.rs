//! Scopes of the tools of MCP servers: `name=glob`, separated by commas, each about one argument of the call.
//!
//! Owned here: what such a scope is, and what the value of an argument is to it. The gate does not know what a server makes of a value:
//! an allowance holds for the values that it takes as they stand, a prohibition also for those that may come to the same. Of a list an allowance
//! takes all values, and a prohibition any. Never here: what a tool's arguments are called; a name that a call does not have is doubt.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use serde_json::{Map, Value};
use sortie_contract::limit;

use super::call::Call;
use super::glob::{Parts, folded};
use super::{Fit, Side};

/// What a value may be at most to be compared, in bytes: scopes are about names and paths, and a comparison takes time.
const VALUE_BYTES_MAX: usize = limit::PATH_BYTES_MAX;

/// Conditions on arguments, all of which must hold.
#[derive(Debug, PartialEq)]
pub(super) struct Arguments(Vec<Condition>);

#[derive(Debug, PartialEq)]
struct Condition {
    name: Box<str>,
    value: Parts,
    /// What it says, where it is a number: others may write that otherwise.
    number: Option<f64>,
}

impl Arguments {
    /// Parses the scope.
    ///
    /// # Errors
    /// What is wrong with it, and what to write.
    pub(super) fn parse(scope: &str, side: Side) -> Result<Self, String> {
        let mut all: Vec<Condition> = Vec::new();
        for condition in scope.split(',') {
            let quoted = limit::clip(condition.trim(), limit::QUOTE_BYTES_MAX);
            let Some((name, value)) = condition.split_once('=') else {
                return Err(format!(
                    "`{quoted}` is no condition on an argument: write `name=value`, such as `repo=acme/*`"
                ));
            };
            let (name, value) = (name.trim(), value.trim());
            if name.is_empty() || name.contains('*') {
                return Err(format!("`{quoted}` names no argument: write its name in full before the `=`"));
            }
            if value.is_empty() {
                return Err(format!("`{quoted}` has no value: write one, or `{name}=**` for any"));
            }
            if let Some(sign) = value.chars().find(|sign| matches!(sign, '?' | '[' | ']' | '{' | '}' | '\\')) {
                return Err(format!(
                    "`{sign}` has no meaning in `{quoted}`: wildcards are `*` and `**`; write an entry for each alternative"
                ));
            }
            if all.iter().any(|other| *other.name == *name) {
                return Err(format!(
                    "`{name}` is there twice: all conditions must hold; write an entry for each alternative"
                ));
            }
            let text: Cow<'_, str> = if side == Side::Bar { folded(value) } else { value.into() };
            let parts = Parts::new(text.split('/')).ok_or_else(|| {
                format!("in `{quoted}`: `**` stands for whole parts between slashes, with nothing else beside it; `*` for what has no slash")
            })?;
            all.push(Condition { name: name.into(), value: parts, number: value.parse().ok() });
        }
        Ok(Self(all))
    }

    pub(super) fn fit(&self, call: &Call<'_>, side: Side) -> Fit {
        let Some(Value::Object(given)) = call.value() else { return Fit::Doubt("its arguments are no JSON object") };
        self.0.iter().map(|condition| condition.fit(given, side)).fold(Fit::Yes, Fit::and)
    }
}

impl Condition {
    fn fit(&self, given: &Map<String, Value>, side: Side) -> Fit {
        let value = match given.get(&*self.name) {
            Some(Value::Null) | None => return Fit::Doubt("it lacks an argument that the scope is about"),
            Some(value) => value,
        };
        // Some servers do not look at the case of names: which of the two they take, nobody knows.
        if given.keys().any(|name| **name != *self.name && name.eq_ignore_ascii_case(&self.name)) {
            return Fit::Doubt("it has an argument twice, but for the case of its name");
        }
        let Value::Array(values) = value else { return self.fit_one(given, value, side) };
        // What a server makes of none (nobody, or everybody) nobody knows.
        let none = Fit::Doubt("an argument that the scope is about is an empty list");
        let fits = values.iter().map(|value| self.fit_one(given, value, side));
        match side {
            Side::Allow => fits.reduce(Fit::and),
            Side::Bar => fits.reduce(Fit::or),
        }
        .unwrap_or(none)
    }

    fn fit_one(&self, given: &Map<String, Value>, value: &Value, side: Side) -> Fit {
        let text: Cow<'_, str> = match value {
            Value::String(text) => text.as_str().into(),
            Value::Number(_) | Value::Bool(_) => value.to_string().into(),
            Value::Null | Value::Array(_) | Value::Object(_) => {
                return Fit::Doubt("an argument that the scope is about is no single value, and no list of such");
            }
        };
        if text.len() > VALUE_BYTES_MAX {
            return Fit::Doubt("an argument that the scope is about is too long to be compared");
        }
        match side {
            Side::Allow => self.allows(&text),
            Side::Bar => self.bars(given, &text),
        }
    }

    fn allows(&self, text: &str) -> Fit {
        if text.split(['/', '\\']).any(|part| matches!(part, "." | "..")) {
            return Fit::Doubt("an argument has `.` or `..` between slashes");
        }
        if is_encoded(text) {
            return Fit::Doubt(ENCODED);
        }
        if text.chars().any(char::is_control) {
            return Fit::Doubt("an argument has control characters");
        }
        self.takes(text.split('/'))
    }

    fn bars(&self, given: &Map<String, Value>, text: &str) -> Fit {
        let number = |text: &str| text.trim().parse::<f64>().ok();
        if self.number.is_some() && self.number == number(text) || given.len() > VALUE_BYTES_MAX {
            return Fit::Yes;
        }
        let text = folded(text.trim());
        if text.split(['/', '\\']).any(|part| part == "..") {
            return Fit::Doubt("an argument has `..` between slashes");
        }
        if is_encoded(&text) {
            return Fit::Doubt(ENCODED);
        }
        let plain = text.split(['/', '\\']).filter(|part| !matches!(*part, "" | "."));
        self.takes(text.split('/')).or(self.takes(plain))
    }

    fn takes<'a>(&self, parts: impl Iterator<Item = &'a str>) -> Fit {
        let parts: Vec<&str> = parts.collect();
        if self.value.takes_all(&parts) { Fit::Yes } else { Fit::No }
    }
}

const ENCODED: &str = "an argument has a percent-encoded dot, slash or percent sign";

/// Whether a server that puts the value into an address may read a dot or a slash there, at once or when it is decoded again.
fn is_encoded(text: &str) -> bool {
    let codes = ["%2e", "%2f", "%5c", "%25"];
    text.match_indices('%').any(|(at, _)| {
        let code = text.as_bytes().get(at..at + 3);
        code.is_some_and(|code| codes.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(code)))
    })
}
