//! What a template's source says about other steps: found in its tokens, before anything is run.

use std::collections::BTreeMap;

use minijinja::machinery::{Span, Token, tokenize};
use minijinja::syntax::SyntaxConfig;

use super::computes::computes;

/// How a template looks at a step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Look {
    /// It asks whether the step was skipped, and so expects that it may have been.
    pub(crate) at_skipped: bool,
    /// It asks for the step's error, and so expects that there may be one.
    pub(crate) at_error: bool,
}

impl Look {
    /// Looks at what another one looks at, too.
    pub(crate) fn add(&mut self, other: Self) {
        self.at_skipped |= other.at_skipped;
        self.at_error |= other.at_error;
    }
}

/// The steps that templates refer to, by id.
#[derive(Debug, Default)]
pub(crate) struct References {
    /// Each with the place of the first template that names it, in alphabetical order.
    pub(crate) steps: BTreeMap<String, (String, Look)>,
    /// Whether `item` or `index` of the step's own `for_each` is used.
    pub(crate) item: bool,
    /// Whether something is used that is known in a run alone, such as `result`.
    pub(crate) moment: bool,
}

impl References {
    /// Whether nothing but the envelope is needed, for each item or for all.
    pub(crate) fn are_of_envelope(&self) -> bool {
        self.steps.is_empty() && !self.moment
    }

    /// Adds what one more template refers to.
    pub(super) fn add(&mut self, place: &str, steps: Vec<(String, Look)>) {
        for (id, look) in steps {
            let (_, seen) = self.steps.entry(id).or_insert_with(|| (place.to_owned(), Look::default()));
            seen.add(look);
        }
    }

    /// Adds what others refer to.
    pub(super) fn merge(&mut self, other: Self) {
        for (id, (place, look)) in other.steps {
            let (_, seen) = self.steps.entry(id).or_insert_with(|| (place, Look::default()));
            seen.add(look);
        }
        self.item |= other.item;
        self.moment |= other.moment;
    }
}

/// What is found in one template.
pub(super) struct Found<'s> {
    /// The expression, where the template is one `{{ … }}` and nothing else.
    pub(super) whole: Option<&'s str>,
    pub(super) references: Vec<(String, Look)>,
    /// Names of filters and tests, to be known before the template runs.
    pub(super) filters: Vec<&'s str>,
    /// Regular expressions that it spells out.
    pub(super) patterns: Vec<String>,
    pub(super) tests: Vec<&'s str>,
    /// Whether it does more with numbers than to hand them on.
    pub(super) computes: bool,
}

/// Whether the template language would see anything but text in it.
pub(super) fn may_hold_template(source: &str) -> bool {
    ["{{", "{%", "{#"].iter().any(|start| source.contains(start))
}

/// Reads a template's tokens. Only what cannot be tokenized, and a look at `steps` that names no step, is an error here.
pub(super) fn find(source: &str, syntax: SyntaxConfig) -> Result<Found<'_>, minijinja::Error> {
    let tokens = tokenize(source, false, syntax).collect::<Result<Vec<_>, _>>()?;
    let (whole, computes) = (whole(source, &tokens), computes(&tokens));
    let mut found = Found { whole, references: vec![], filters: vec![], patterns: vec![], tests: vec![], computes };
    for (at, (token, _)) in tokens.iter().enumerate() {
        let rest = &tokens[at + 1..];
        match token {
            Token::Pipe => {
                found.filters.extend(ident(rest));
                found.patterns.extend(pattern(rest));
            }
            // `a.steps` and `a.is` are attributes of something else.
            Token::Ident(_) if at > 0 && matches!(tokens[at - 1].0, Token::Dot) => {}
            Token::Ident("is") => {
                let test = ident(rest).filter(|name| *name != "not").or_else(|| ident(rest.get(1..)?));
                // `true`, `none` and their like are tests, too, but words of the language first.
                found.tests.extend(test);
            }
            Token::Ident("steps") => found.references.push(step(rest).ok_or_else(nameless)?),
            _ => {}
        }
    }
    Ok(found)
}

/// The expression of a source that is one `{{ … }}` and nothing else.
pub(super) fn inside(source: &str, syntax: SyntaxConfig) -> Option<&str> {
    let tokens = tokenize(source, false, syntax).collect::<Result<Vec<_>, _>>().ok()?;
    whole(source, &tokens)
}

/// The inside of a source that is one `{{ … }}`.
fn whole<'s>(source: &'s str, tokens: &[(Token<'s>, Span)]) -> Option<&'s str> {
    let [(Token::VariableStart, start), inside @ .., (Token::VariableEnd, end)] = tokens else { return None };
    let one = !inside.iter().any(|(token, _)| matches!(token, Token::VariableStart | Token::VariableEnd));
    let tight = start.start_offset == 0 && end.end_offset as usize == source.len();
    if !one || !tight {
        return None;
    }
    let (first, last) = (inside.first()?.1, inside.last()?.1);
    source.get(first.start_offset as usize..last.end_offset as usize)
}

/// The step that follows the word `steps`: `.id` or `["id"]`, and how it is looked at.
fn step(after: &[(Token<'_>, Span)]) -> Option<(String, Look)> {
    let (id, after) = member(after)?;
    let looked_at = member(after).map_or("", |(name, _)| name);
    Some((id.to_owned(), Look { at_skipped: looked_at == "skipped", at_error: looked_at == "error" }))
}

/// `.name` or `["name"]` at the start of some tokens, and what comes after it.
fn member<'t, 's>(tokens: &'t [(Token<'s>, Span)]) -> Option<(&'t str, &'t [(Token<'s>, Span)])> {
    match tokens {
        [(Token::Dot, _), (Token::Ident(name), _), rest @ ..] => Some((name, rest)),
        [(Token::BracketOpen, _), (Token::Str(name), _), (Token::BracketClose, _), rest @ ..] => Some((name, rest)),
        [(Token::BracketOpen, _), (Token::String(name), _), (Token::BracketClose, _), rest @ ..] => Some((name, rest)),
        _ => None,
    }
}

/// The expression of `regex_…("expression"`, right behind a `|`.
fn pattern(tokens: &[(Token<'_>, Span)]) -> Option<String> {
    match tokens {
        [(Token::Ident(name), _), (Token::ParenOpen, _), (pattern, _), ..] if name.starts_with("regex_") => {
            match pattern {
                Token::Str(pattern) => Some((*pattern).to_owned()),
                Token::String(pattern) => Some(pattern.to_string()),
                _ => None,
            }
        }
        _ => None,
    }
}

fn ident<'s>(tokens: &[(Token<'s>, Span)]) -> Option<&'s str> {
    match tokens.first() {
        Some((Token::Ident(name), _)) => Some(name),
        _ => None,
    }
}

fn nameless() -> minijinja::Error {
    minijinja::Error::new(
        minijinja::ErrorKind::InvalidOperation,
        "name the step, as in steps.fetch.result or steps[\"fetch-all\"].result: the order of steps is known before they run",
    )
}
