//! Scopes of the tools of MCP servers: `name=glob`, separated by commas, each about one argument of the call.
//!
//! Owned here: what such a scope is, and what the value of an argument is to it. The gate does not know what a server makes of a value:
//! an allowance holds for the values that it takes as they stand, a prohibition also for those that may come to the same. Of a list an allowance
//! takes all values, and a prohibition any. Never here: what a tool's arguments are called; a name that a call does not have is doubt.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec;
use alloc::vec::Vec;
use core::cell::OnceCell;

use serde_json::{Map, Value};
use sortie_contract::limit;

use super::call::Call;
use super::glob::{Parts, folded};
use super::{Fit, Side};

/// What a value may be at most to be compared, in bytes: scopes are about names and paths, and a comparison takes time.
const VALUE_BYTES_MAX: usize = limit::PATH_BYTES_MAX;

/// Most values of a list that are compared.
const LIST_VALUES_MAX: usize = 1_000;

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
        if call.value().is_none() {
            return Fit::Doubt("its arguments are no JSON object");
        }
        self.0.iter().map(|condition| condition.fit(&call.argument(&condition.name), side)).fold(Fit::Yes, Fit::and)
    }
}

impl Condition {
    fn fit(&self, argument: &Argument, side: Side) -> Fit {
        let fits = match &argument.values {
            Ok(values) => values.iter().map(|value| self.fit_one(argument, value, side)),
            Err(why) => return Fit::Doubt(why),
        };
        match side {
            Side::Allow => fits.reduce(Fit::and),
            Side::Bar => fits.reduce(Fit::or),
        }
        // What a server makes of none (nobody, or everybody) nobody knows.
        .unwrap_or(Fit::Doubt("an argument that the scope is about is an empty list"))
    }

    fn fit_one(&self, argument: &Argument, value: &Single, side: Side) -> Fit {
        let text = match &value.text {
            Ok(text) => text,
            Err(why) => return Fit::Doubt(why),
        };
        match side {
            Side::Allow => match value.never_allowed {
                Some(why) => Fit::Doubt(why),
                None => self.takes(text.split('/')),
            },
            Side::Bar if argument.is_among_many => Fit::Yes,
            Side::Bar => self.bars(value, text),
        }
    }

    fn bars(&self, value: &Single, text: &str) -> Fit {
        let number = |text: &str| text.trim().parse::<f64>().ok();
        if self.number.is_some() && self.number == number(text) {
            return Fit::Yes;
        }
        let text = value.folded();
        if let Some(why) = value.never_passed() {
            return Fit::Doubt(why);
        }
        // Written with other slashes, and with parts that say nothing.
        let plain = || text.split(['/', '\\']).filter(|part| !matches!(*part, "" | "."));
        self.takes(text.split('/')).or(self.takes(plain()))
    }

    fn takes<'a>(&self, parts: impl Iterator<Item = &'a str> + Clone) -> Fit {
        if !self.value.may_begin_with(parts.clone().next()) {
            return Fit::No;
        }
        let parts: Vec<&str> = parts.collect();
        if self.value.takes_all(&parts) { Fit::Yes } else { Fit::No }
    }
}

/// An argument of a call, looked at once for all conditions on it.
#[derive(Debug)]
pub(super) struct Argument {
    /// Its value, or those of its list; why nobody can tell.
    values: Result<Vec<Single>, &'static str>,
    /// It is one of more than anybody looks through.
    is_among_many: bool,
}

/// A value that is no list.
#[derive(Debug)]
struct Single {
    /// What it says; why nobody can tell.
    text: Result<String, &'static str>,
    /// Why no allowance takes it.
    never_allowed: Option<&'static str>,
    folded: OnceCell<(String, Option<&'static str>)>,
}

impl Argument {
    /// The argument of that name.
    pub(super) fn of(given: &Map<String, Value>, name: &str) -> Self {
        Self { values: Self::values(given, name), is_among_many: given.len() > VALUE_BYTES_MAX }
    }

    fn values(given: &Map<String, Value>, name: &str) -> Result<Vec<Single>, &'static str> {
        let value = match given.get(name) {
            Some(Value::Null) | None => return Err("it lacks an argument that the scope is about"),
            Some(value) => value,
        };
        // Some servers do not look at the case of names: which of the two they take, nobody knows.
        if given.keys().any(|other| other != name && other.eq_ignore_ascii_case(name)) {
            return Err("it has an argument twice, but for the case of its name");
        }
        Ok(match value {
            Value::Array(values) if values.len() > LIST_VALUES_MAX => {
                return Err("an argument that the scope is about is a list that is too long to be looked through");
            }
            Value::Array(values) => values.iter().map(Single::of).collect(),
            value => vec![Single::of(value)],
        })
    }
}

impl Single {
    fn of(value: &Value) -> Self {
        let text = Self::text(value);
        let never_allowed = text.as_ref().ok().and_then(|text| {
            if text.split(['/', '\\']).any(|part| matches!(part, "." | "..")) {
                Some("an argument has `.` or `..` between slashes")
            } else if is_encoded(text) {
                Some(ENCODED)
            } else {
                text.chars().any(char::is_control).then_some("an argument has control characters")
            }
        });
        Self { text, never_allowed, folded: OnceCell::new() }
    }

    fn text(value: &Value) -> Result<String, &'static str> {
        const TOO_LONG: &str = "an argument that the scope is about is too long to be compared";
        let text = match value {
            Value::String(text) if text.len() > VALUE_BYTES_MAX => return Err(TOO_LONG),
            Value::String(text) => text.clone(),
            Value::Number(_) | Value::Bool(_) => value.to_string(),
            Value::Null | Value::Array(_) | Value::Object(_) => {
                return Err("an argument that the scope is about is no single value, and no list of such");
            }
        };
        if text.len() > VALUE_BYTES_MAX {
            return Err(TOO_LONG);
        }
        Ok(text)
    }

    fn in_one_form(&self) -> &(String, Option<&'static str>) {
        self.folded.get_or_init(|| {
            let text = folded(self.text.as_deref().unwrap_or_default().trim()).into_owned();
            let why = if text.split(['/', '\\']).any(|part| part == "..") {
                Some("an argument has `..` between slashes")
            } else {
                is_encoded(&text).then_some(ENCODED)
            };
            (text, why)
        })
    }

    fn folded(&self) -> &str {
        &self.in_one_form().0
    }

    /// Why any prohibition may mean it.
    fn never_passed(&self) -> Option<&'static str> {
        self.in_one_form().1
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
