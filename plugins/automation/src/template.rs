//! Templates: any JSON value of a step in which strings may hold `{{ … }}`.
//!
//! A string that is one `{{ … }}` and nothing else keeps the type of its value; any other string becomes text, in which
//! strings are as they are and everything else is JSON. Names that
//! do not exist are errors, never empty text. Only strings of the envelope are ever templates: results of tools are data
//! and are not rendered again, whatever they hold.

mod computes;
mod filters;
mod paid;
mod question;
mod references;
mod text;
mod wrong;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Expression, Template, UndefinedBehavior, Value};
use serde_json::Value as Json;

#[cfg(test)]
pub(crate) use filters::FILTERS;
pub(crate) use question::Question;
pub(crate) use references::{Look, References};

use crate::digits::{self, Computing};
use crate::near::did_you_mean;
use question::Asked;

/// Work that one template may do in a run (an instruction is 1, 64 bytes are 1): enough for a report of several megabytes,
/// and a fraction of a second.
const RUN_FUEL: u64 = 1_000_000;

/// The same at intake, where somebody waits for the answer: about a millisecond.
const CHECK_FUEL: u64 = 20_000;

/// The names that every template sees.
const NAMES: [&str; 4] = ["inputs", "objective", "mission", "steps"];

/// The names that it sees besides within a `for_each`.
pub(crate) const ITEM_NAMES: [&str; 2] = ["item", "index"];

/// The name that `until` and `compensate` see besides: what the step's call gave.
pub(crate) const RESULT: &str = "result";

/// The name that `finally` steps and `compensate` see besides: why the graph failed.
pub(crate) const FAILURE: &str = "failure";

/// Functions of the template language that need no explanation here.
const FUNCTIONS: [&str; 3] = ["range", "dict", "namespace"];

/// The template language: minijinja, strict and bounded, without a way to load other templates.
pub(crate) struct Language<'e> {
    environment: Environment<'e>,
}

impl Language<'_> {
    /// The language in a run.
    pub(crate) fn of_run() -> Self {
        Self::with_fuel(RUN_FUEL)
    }

    /// The language at intake.
    pub(crate) fn of_check() -> Self {
        Self::with_fuel(CHECK_FUEL)
    }

    fn with_fuel(fuel: u64) -> Self {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(fuel));
        // An error knows which expression it is about; otherwise it does in debug builds alone.
        environment.set_debug(true);
        environment.set_syntax(syntax());
        text::speak_json(&mut environment);
        filters::add(&mut environment);
        // It prints the whole context; templates are no place to debug a node.
        environment.remove_global("debug");
        Self { environment }
    }
}

/// Jinja as it is, except that a text keeps its last line break: a file that a step writes should end with one.
fn syntax() -> SyntaxConfig {
    SyntaxConfig::builder().keep_trailing_newline(true).build().expect("the default delimiters are valid")
}

/// A value of a step with its templates compiled.
pub(crate) enum Shape<'e> {
    /// Nothing to render.
    Fixed(Json),
    /// Text with templates in it.
    Text {
        place: String,
        template: Template<'e, 'e>,
        /// See [`digits`](crate::digits).
        computes: bool,
    },
    /// One `{{ … }}`: keeps its type.
    Typed {
        place: String,
        /// All of it.
        source: &'e str,
        expression: Expression<'e, 'e>,
        language: &'e Language<'e>,
        computes: bool,
    },
    /// A list with templates somewhere in it.
    List(Vec<Shape<'e>>),
    /// An object with templates in its values. Keys are taken as they are.
    Object(Vec<(&'e str, Shape<'e>)>),
}

/// A template that cannot be compiled or rendered.
#[derive(Debug)]
pub(crate) struct TemplateError {
    /// JSON Pointer to it in the envelope.
    pub(crate) place: String,
    /// What is wrong.
    pub(crate) detail: String,
    pub(crate) why: Why,
}

/// In which way a template is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// It cannot be understood, or refers to something that does not exist.
    Wrong,
    /// It is too much work.
    OutOfFuel,
    /// It is a question, and what it gives is neither yes nor no.
    NoAnswer,
}

impl TemplateError {
    fn new(place: &str, detail: impl Into<String>) -> Self {
        Self { place: place.to_owned(), detail: detail.into(), why: Why::Wrong }
    }
}

impl Shape<'_> {
    /// Whether there is nothing to render in it.
    pub(crate) fn is_fixed(&self) -> bool {
        matches!(self, Self::Fixed(_))
    }

    /// The value as JSON.
    pub(crate) fn render(&self, scope: &Value) -> Result<Json, TemplateError> {
        match self {
            Self::Fixed(value) => Ok(value.clone()),
            Self::Text { place, template, computes } => {
                let failed = |error| wrong::failed(place, template.source(), scope, &error);
                let _computing = Computing::where_it(*computes);
                let seen = if *computes { digits::as_numbers(scope) } else { scope.clone() };
                template.render(seen).map(Json::String).map_err(failed)
            }
            Self::Typed { place, .. } => {
                digits::json(&self.evaluate(scope)?).map_err(|error| TemplateError::new(place, error.to_string()))
            }
            Self::List(items) => items.iter().map(|item| item.render(scope)).collect(),
            Self::Object(fields) => {
                fields.iter().map(|(key, field)| Ok(((*key).to_owned(), field.render(scope)?))).collect()
            }
        }
    }

    /// The value as the template language has it.
    pub(crate) fn evaluate(&self, scope: &Value) -> Result<Value, TemplateError> {
        let Self::Typed { place, source, expression, language, computes } = self else {
            return Ok(value(&self.render(scope)?));
        };
        let _computing = Computing::where_it(*computes);
        let seen = if *computes { digits::as_numbers(scope) } else { scope.clone() };
        let value = expression.eval(seen).map_err(|error| wrong::failed(place, source, scope, &error))?;
        if value.is_undefined() {
            return Err(wrong::gave_nothing(language, place, source, scope));
        }
        Ok(if *computes { digits::as_written(value) } else { value })
    }

    /// The value as text: strings as they are, everything else as JSON.
    pub(crate) fn text(&self, scope: &Value) -> Result<String, TemplateError> {
        Ok(match self.render(scope)? {
            Json::String(text) => text,
            other => other.to_string(),
        })
    }
}

/// Compiles values of a step, and keeps what is found on the way.
pub(crate) struct Compiler<'a, 'e> {
    language: &'e Language<'e>,
    /// The names that these templates see besides [`NAMES`].
    names: &'a [&'a str],
    /// Whether `item` and `index` among them are those of the step's own `for_each`.
    own_items: bool,
    /// What they refer to.
    pub(crate) references: References,
    /// What is wrong.
    pub(crate) errors: Vec<TemplateError>,
}

impl<'a, 'e> Compiler<'a, 'e> {
    /// With nothing compiled yet.
    pub(crate) fn new(language: &'e Language<'e>, names: &'a [&'a str], own_items: bool) -> Self {
        Self { language, names, own_items, references: References::default(), errors: Vec::new() }
    }

    /// Compiles all templates in `value`.
    pub(crate) fn shape(&mut self, place: &str, value: &'e Json) -> Shape<'e> {
        let shape = match value {
            Json::String(source) if references::may_hold_template(source) => match self.string(place, source) {
                Ok((shape, references)) => {
                    self.references.merge(references);
                    Some(shape)
                }
                Err(detail) => {
                    self.errors.push(TemplateError::new(place, detail));
                    None
                }
            },
            Json::Array(items) => {
                let compile = |(index, item)| self.shape(&format!("{place}/{index}"), item);
                Some(Shape::List(items.iter().enumerate().map(compile).collect()))
            }
            Json::Object(fields) => {
                let compile = |(key, field): (&'e String, _)| {
                    let place = format!("{place}/{}", key.replace('~', "~0").replace('/', "~1"));
                    (key.as_str(), self.shape(&place, field))
                };
                Some(Shape::Object(fields.iter().map(compile).collect()))
            }
            _ => None,
        };
        match shape {
            Some(Shape::List(items)) if items.iter().all(Shape::is_fixed) => Shape::Fixed(value.clone()),
            Some(Shape::Object(fields)) if fields.iter().all(|(_, field)| field.is_fixed()) => {
                Shape::Fixed(value.clone())
            }
            Some(shape) => shape,
            None => Shape::Fixed(value.clone()),
        }
    }

    /// Compiles a question: `true`, `false`, or one `{{ … }}`. `None` where it is something else, or there is an error.
    pub(crate) fn question(&mut self, place: &str, value: &'e Json) -> Option<Question<'e>> {
        let source = match value {
            Json::Bool(answer) => return Some(Question::Answered(*answer)),
            Json::String(source) if references::may_hold_template(source) => source,
            _ => return None,
        };
        let (shape, references) = match self.string(place, source) {
            Ok(compiled) => compiled,
            Err(detail) => {
                self.errors.push(TemplateError::new(place, detail));
                return None;
            }
        };
        let of_envelope = references.are_of_envelope();
        let each_item = references.item;
        self.references.merge(references);
        if !matches!(shape, Shape::Typed { .. }) {
            return None;
        }
        let inside = references::inside(source, self.language.environment.syntax().clone())?;
        match Asked::compile(self.language, inside) {
            Ok(asked) => Some(Question::Asked { place: place.to_owned(), asked, of_envelope, each_item }),
            Err(detail) => {
                self.errors.push(TemplateError::new(place, detail));
                None
            }
        }
    }

    /// Compiles one string that may hold templates, and says what it refers to.
    fn string(&self, place: &str, source: &'e str) -> Result<(Shape<'e>, References), String> {
        let environment = &self.language.environment;
        let found = references::find(source, environment.syntax().clone()).map_err(|error| describe(&error))?;
        let (shape, undeclared) = match found.whole {
            Some(inner) => {
                let expression = environment.compile_expression(inner).map_err(|error| describe(&error))?;
                let undeclared = expression.undeclared_variables(false);
                let (place, language, computes) = (place.to_owned(), self.language, found.computes);
                let shape = Shape::Typed { place, source, expression, language, computes };
                (shape, undeclared)
            }
            None => {
                let template =
                    environment.template_from_named_str("template", source).map_err(|error| describe(&error))?;
                let undeclared = template.undeclared_variables(false);
                (Shape::Text { place: place.to_owned(), template, computes: found.computes }, undeclared)
            }
        };
        // minijinja answers with a set in random order: the first in alphabetical order is the one that is named.
        let known = |name: &str| NAMES.contains(&name) || self.names.contains(&name) || FUNCTIONS.contains(&name);
        if let Some(unknown) = undeclared.iter().filter(|name| !known(name)).min() {
            return Err(not_known(unknown, source, self.names));
        }
        if let Some(filter) = found.filters.iter().find(|name| !self.language.knows(name, "filter")) {
            return Err(format!("there is no filter `{filter}`"));
        }
        if let Some(test) = found.tests.iter().find(|name| !self.language.knows(name, "test")) {
            return Err(format!("there is no test `{test}`"));
        }
        if let Some(why) = found.patterns.iter().find_map(|pattern| filters::wrong_pattern(pattern)) {
            return Err(why);
        }
        let is_own = |name: &str| self.own_items && ITEM_NAMES.contains(&name);
        let item = undeclared.iter().any(|name| is_own(name));
        let moment = undeclared.iter().any(|name| self.names.contains(&name.as_str()) && !is_own(name));
        let mut references = References { item, moment, ..References::default() };
        references.add(place, found.references);
        Ok((shape, references))
    }
}

/// What to say of a name that nothing has.
fn not_known(unknown: &str, source: &str, names: &[&str]) -> String {
    // `steps.fetch-all` is read as a subtraction, which is the usual way to get here.
    let hint = if ITEM_NAMES.contains(&unknown) {
        "; it is known in `with`, `if`, `artifact` and `milestone` of a step with for_each, and within the `steps` of one"
    } else if unknown == RESULT {
        "; it is known in `until` and `compensate`, elsewhere it is steps.<id>.result"
    } else if unknown == FAILURE {
        "; it is known in steps with `finally`, and in `compensate`"
    } else if source.contains(&format!("-{unknown}")) {
        "; a step whose id has a hyphen is written as in steps[\"fetch-all\"]"
    } else {
        ""
    };
    let known: Vec<_> = NAMES.iter().chain(names).copied().collect();
    let meant = did_you_mean(unknown, known.iter().copied());
    format!("`{unknown}` is not known here{meant}; known are {}{hint}", known.join(", "))
}

impl Language<'_> {
    /// Whether there is a filter or a test (that is the `kind`) of this name.
    fn knows(&self, name: &str, kind: &str) -> bool {
        let question = format!("name is {kind}");
        let answer = self
            .environment
            .compile_expression_owned(question)
            .and_then(|question| question.eval(minijinja::context! { name }));
        answer.is_ok_and(|answer| answer.is_true())
    }
}

/// JSON, as templates see it.
pub(crate) fn value(json: &Json) -> Value {
    match json {
        Json::Number(number) => digits::value(&number.to_string()),
        Json::Array(items) => Value::from(items.iter().map(value).collect::<Vec<_>>()),
        Json::Object(fields) => Value::from_pairs(fields.iter().map(|(key, field)| (key.as_str(), value(field)))),
        plain => Value::from(Serde(plain)),
    }
}

/// The error without the engine's own idea of a file name, which says nothing here.
fn describe(error: &minijinja::Error) -> String {
    let line = error.line().filter(|line| *line > 1).map(|line| format!(" (line {line})")).unwrap_or_default();
    match error.detail() {
        Some(detail) => format!("{}: {detail}{line}", error.kind()),
        None => format!("{}{line}", error.kind()),
    }
}
