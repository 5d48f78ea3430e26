//! What is to be answered with yes or no: `if`, and `met` of a criterion.
//!
//! The answer is `true` or `false` and nothing else. Jinja takes every text that is not empty for a yes, "no" among them, and
//! every number but 0; what a step does, and whether a criterion is met, must not hang on that. So the operands of `and`, `or`
//! and `not`, and the test and both ends of `… if … else …`, are held to it one by one; below them (within a comparison, an
//! argument, brackets) the language is Jinja's.

use minijinja::machinery::{Span, Token, tokenize};
use minijinja::value::ValueKind;
use minijinja::{Expression, Value};

use super::{Language, TemplateError, Why, describe, wrong};
use crate::digits::{self, Computing};

/// Deepest nesting of questions in a question; the language itself allows about that many brackets.
const DEPTH_MAX: usize = 64;

/// Longest part of a question that an error repeats, in characters.
const SHOWN_MAX: usize = 60;

/// A question.
pub(crate) enum Question<'e> {
    /// It was answered in the envelope.
    Answered(bool),
    /// One `{{ … }}`.
    Asked {
        place: String,
        asked: Asked<'e>,
        /// Nothing but the envelope is needed to answer it.
        of_envelope: bool,
        /// It uses `item` or `index`: it is then answered once for each of them.
        each_item: bool,
    },
}

impl Question<'_> {
    /// The answer.
    ///
    /// # Errors
    /// There is none, or one that is neither yes nor no.
    pub(crate) fn answer(&self, scope: &Value) -> Result<bool, TemplateError> {
        match self {
            Self::Answered(answer) => Ok(*answer),
            Self::Asked { place, asked, .. } => asked.answer(place, scope),
        }
    }

    /// The answer, where it is certain before anything has run: `scope` is what the envelope gives.
    pub(crate) fn foreseen(&self, scope: &Value) -> Option<bool> {
        match self {
            Self::Answered(answer) => Some(*answer),
            Self::Asked { of_envelope: true, each_item: false, .. } => self.answer(scope).ok(),
            Self::Asked { .. } => None,
        }
    }

    /// Whether it uses `item` or `index`.
    pub(crate) fn is_of_items(&self) -> bool {
        matches!(self, Self::Asked { each_item: true, .. })
    }

    /// Whether it can be answered before anything has run.
    pub(crate) fn is_of_envelope(&self) -> bool {
        matches!(self, Self::Asked { of_envelope: true, .. })
    }
}

/// A part of a question, itself a question.
pub(crate) enum Asked<'e> {
    Plain(&'e str, Expression<'e, 'e>, &'e Language<'e>),
    Not(Box<Asked<'e>>),
    All(Vec<Asked<'e>>),
    Any(Vec<Asked<'e>>),
    /// If the first holds the second, else the third.
    Choice(Box<[Asked<'e>; 3]>),
}

impl<'e> Asked<'e> {
    /// Takes a question apart. `source` is an expression that the language has taken as a whole.
    pub(super) fn compile(language: &'e Language<'e>, source: &'e str) -> Result<Self, String> {
        let syntax = language.environment.syntax().clone();
        let tokens = tokenize(source, true, syntax).collect::<Result<Vec<_>, _>>().map_err(|error| describe(&error))?;
        Splitter { language, source }.question(&tokens, 0)
    }

    fn answer(&self, place: &str, scope: &Value) -> Result<bool, TemplateError> {
        match self {
            Self::Plain(source, expression, language) => {
                let whole = || format!("{{{{ {source} }}}}");
                let _computing = Computing::where_it(true);
                let value = expression
                    .eval(digits::as_numbers(scope))
                    .map_err(|error| wrong::failed(place, &whole(), scope, &error))?;
                bool::try_from(value.clone()).ok().filter(|_| value.kind() == ValueKind::Bool).ok_or_else(|| {
                    let what = match value.kind() {
                        ValueKind::Undefined => return wrong::gave_nothing(language, place, &whole(), scope),
                        ValueKind::None => "null",
                        ValueKind::Number => "a number",
                        ValueKind::String => "a text",
                        ValueKind::Map => "an object",
                        ValueKind::Seq | ValueKind::Iterable => "a list",
                        _ => "something else",
                    };
                    let source = clip(source);
                    let detail =
                        format!("`{source}` must be true or false, and it is {what}; compare it with something");
                    TemplateError { why: Why::NoAnswer, ..TemplateError::new(place, detail) }
                })
            }
            Self::Not(asked) => Ok(!asked.answer(place, scope)?),
            Self::All(parts) => {
                for part in parts {
                    if !part.answer(place, scope)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Self::Any(parts) => {
                for part in parts {
                    if part.answer(place, scope)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Self::Choice(parts) => {
                let [test, then, otherwise] = parts.as_ref();
                if test.answer(place, scope)? { then.answer(place, scope) } else { otherwise.answer(place, scope) }
            }
        }
    }
}

fn clip(source: &str) -> String {
    match source.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &source[..end]),
        None => source.to_owned(),
    }
}

type Tokens<'t, 'e> = &'t [(Token<'e>, Span)];

/// Splits a question where the language does: at `if`, then `or`, then `and`, then `not`, then brackets around all of it.
struct Splitter<'e> {
    language: &'e Language<'e>,
    source: &'e str,
}

impl<'e> Splitter<'e> {
    fn question(&self, tokens: Tokens<'_, 'e>, depth: usize) -> Result<Asked<'e>, String> {
        if depth > DEPTH_MAX {
            return Err("it is nested too deep".to_owned());
        }
        let below = |tokens| self.question(tokens, depth + 1);
        if let Some(at) = words(tokens, &["if"]).next() {
            let rest = &tokens[at + 1..];
            let other = words(rest, &["if", "else"]).next().filter(|at| is_word(&rest[*at].0, "else"));
            let other = other.ok_or("say with `else` what holds otherwise")?;
            let parts = [below(&rest[..other])?, below(&tokens[..at])?, below(&rest[other + 1..])?];
            return Ok(Asked::Choice(Box::new(parts)));
        }
        for (word, joined) in [("or", Asked::Any as fn(_) -> _), ("and", Asked::All)] {
            if words(tokens, &[word]).next().is_some() {
                let ends: Vec<usize> = words(tokens, &[word]).chain([tokens.len()]).collect();
                let starts = std::iter::once(0).chain(ends.iter().map(|end| end + 1));
                let parts = starts.zip(&ends).map(|(start, end)| below(&tokens[start..*end]));
                return Ok(joined(parts.collect::<Result<Vec<_>, String>>()?));
            }
        }
        match tokens {
            [(Token::Ident("not"), _), rest @ ..] => Ok(Asked::Not(Box::new(below(rest)?))),
            [(Token::ParenOpen, _), inside @ .., (Token::ParenClose, _)] if is_one(inside) => below(inside),
            [(_, first), ..] => {
                let end = tokens[tokens.len() - 1].1.end_offset as usize;
                let source = self.source.get(first.start_offset as usize..end).unwrap_or(self.source);
                let expression = self.language.environment.compile_expression(source);
                Ok(Asked::Plain(source, expression.map_err(|error| describe(&error))?, self.language))
            }
            [] => Err("a part of it is empty".to_owned()),
        }
    }
}

/// Where one of these words of the language stands outside all brackets.
fn words<'t>(tokens: Tokens<'t, '_>, names: &'t [&'t str]) -> impl Iterator<Item = usize> + 't {
    let mut depth = 0_usize;
    tokens.iter().enumerate().filter_map(move |(at, (token, _))| {
        match token {
            Token::ParenOpen | Token::BracketOpen | Token::BraceOpen => depth += 1,
            Token::ParenClose | Token::BracketClose | Token::BraceClose => depth = depth.saturating_sub(1),
            _ => {}
        }
        // `a.if` is an attribute of something.
        let attribute = at > 0 && matches!(tokens[at - 1].0, Token::Dot);
        (depth == 0 && !attribute && names.iter().any(|name| is_word(token, name))).then_some(at)
    })
}

fn is_word(token: &Token<'_>, word: &str) -> bool {
    matches!(token, Token::Ident(name) if *name == word)
}

/// Whether what stands between two brackets is a single expression, and these brackets belong together.
fn is_one(inside: Tokens<'_, '_>) -> bool {
    let mut depth = 0_usize;
    for (token, _) in inside {
        match token {
            Token::ParenOpen | Token::BracketOpen | Token::BraceOpen => depth += 1,
            Token::ParenClose | Token::BracketClose | Token::BraceClose if depth == 0 => return false,
            Token::ParenClose | Token::BracketClose | Token::BraceClose => depth -= 1,
            Token::Comma if depth == 0 => return false,
            _ => {}
        }
    }
    !inside.is_empty()
}
