//! What is said of a template that fails: which `{{ … }}` it is, and where a name is not there, what is there in its place.

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Value};

use super::{Language, TemplateError, Why, describe};
use crate::digits::is_numeral;
use crate::near::{did_you_mean, listed, shown};

/// What is said of a template that is too much work.
const TOO_MUCH: &str = "it is out of fuel: it is more work than one template may do, which is about a million instructions or 64 MB \
                        of text; loop over less, or split it over several steps (`for_each` takes one item at a time)";

/// Longest part of a template that is repeated, in characters.
const SHOWN_MAX: usize = 80;

/// The error of a template: `source` is all of it, `scope` what it saw.
pub(super) fn failed(place: &str, source: &str, scope: &Value, error: &Error) -> TemplateError {
    if error.kind() == ErrorKind::OutOfFuel {
        return TemplateError { why: Why::OutOfFuel, ..TemplateError::new(place, TOO_MUCH) };
    }
    let part = clipped(part(source, error));
    let missing = undefined(error).and_then(|path| missing(path, scope));
    TemplateError::new(place, format!("`{part}`: {}", missing.unwrap_or_else(|| describe(error))))
}

/// The same of an expression that gives nothing: the language tells what was not there where it is made to write it.
pub(super) fn gave_nothing(language: &Language<'_>, place: &str, source: &str, scope: &Value) -> TemplateError {
    match language.environment.render_named_str("template", source, scope.clone()) {
        Err(error) if undefined(&error).is_some() || error.kind() == ErrorKind::OutOfFuel => {
            failed(place, source, scope, &error)
        }
        // An `if` without its `else` is written as an empty text.
        Ok(_) => TemplateError::new(
            place,
            format!("`{}` gives nothing: say with `else` what holds otherwise", clipped(source)),
        ),
        Err(_) => TemplateError::new(place, format!("`{}` gives something that does not exist", clipped(source))),
    }
}

/// The `{{ … }}` or `{% … %}` of a source in which an error was made; all of it, where that is not known.
fn part<'s>(source: &'s str, error: &Error) -> &'s str {
    let is_same = error.template_source().is_none_or(|other| other == source);
    let found = error.range().filter(|_| is_same).and_then(|range| {
        let before = source.get(..range.start)?;
        let start = before.rfind("{{").max(before.rfind("{%"))?;
        let after = source.get(range.end..)?;
        let end = [after.find("}}"), after.find("%}")].into_iter().flatten().min()?;
        source.get(start..range.end + end + 2)
    });
    found.unwrap_or(source)
}

/// The expression that the language says is undefined, such as `inputs.nope` or `steps['fetch-all'].result`.
fn undefined(error: &Error) -> Option<&str> {
    let detail = error.detail()?;
    let end = detail.find("` is undefined")?;
    let start = detail[..end].rfind('`')?;
    detail.get(start + 1..end)
}

/// Where a path leaves what is there: the name that is missing, and what there is. Nothing where it never does (a loop may have called
/// something else by a name of ours), or where it is no path.
fn missing(path: &str, scope: &Value) -> Option<String> {
    let names = names(path)?;
    let (root, names) = names.split_first()?;
    let (mut seen, mut here) = (root.text.to_owned(), scope.get_attr(root.text).ok()?);
    for name in names {
        if here.is_undefined() {
            return None;
        }
        let next = match name.text.parse::<usize>() {
            Ok(index) if name.is_index => here.get_item_by_index(index).ok()?,
            _ => here.get_attr(name.text).ok()?,
        };
        if next.is_undefined() {
            return Some(says(&seen, name, &here));
        }
        seen = format!("{seen}{}", name.written);
        here = next;
    }
    None
}

/// What is said of a name that is not in something.
fn says(seen: &str, name: &Name<'_>, here: &Value) -> String {
    let has_no = format!("`{seen}` has no `{}`", shown(name.text));
    let of_step = seen.strip_prefix("steps.").or_else(|| seen.strip_prefix("steps["));
    if of_step.is_some() && ["result", "results"].contains(&name.text) {
        // A step has a result or results where it ran; that it was skipped is known by then.
        if here.get_attr("skipped").is_ok_and(|skipped| skipped.is_true()) {
            return format!("{has_no}: the step was skipped, which `{seen}.skipped` says");
        }
        if here.get_attr("error").is_ok_and(|error| error.kind() == ValueKind::String) {
            return format!("{has_no}: the step failed, and `{seen}.error` says why");
        }
    }
    match here.kind() {
        ValueKind::Map => {
            let keys: Vec<Value> = here.try_iter().into_iter().flatten().collect();
            let keys = || keys.iter().filter_map(Value::as_str);
            let has = listed(keys()).map_or_else(|| "it is empty".to_owned(), |names| format!("it has {names}"));
            format!("{has_no}{}: {has}", did_you_mean(name.text, keys()))
        }
        ValueKind::Seq | ValueKind::Iterable => {
            let items = here.len().map_or_else(|| "items".to_owned(), |count| format!("{count} items"));
            format!("{has_no}: it is a list of {items}, from `[0]` on (`map(attribute=…)` takes a field of each)")
        }
        ValueKind::String => format!("{has_no}: it is a text (`| fromjson` reads JSON in a text)"),
        ValueKind::None => format!("{has_no}: it is null"),
        ValueKind::Bool => format!("{has_no}: it is true or false"),
        ValueKind::Number => format!("{has_no}: it is a number"),
        _ if is_numeral(here) => format!("{has_no}: it is a number"),
        _ => has_no,
    }
}

/// One name of a path.
struct Name<'p> {
    text: &'p str,
    /// With its dot or brackets.
    written: &'p str,
    is_index: bool,
}

/// The names of `a.b['c'][0]`; nothing where it is something else.
fn names(path: &str) -> Option<Vec<Name<'_>>> {
    let mut names = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        let inside = rest.strip_prefix('[');
        let quote = ['\'', '"'].into_iter().find(|quote| inside.is_some_and(|inside| inside.starts_with(*quote)));
        let (name, length) = if let Some(quote) = quote {
            let end = rest[2..].find(&format!("{quote}]"))?;
            (Name { text: &rest[2..end + 2], written: &rest[..end + 4], is_index: false }, end + 4)
        } else if let Some(index) = inside {
            let end = index.find(']')?;
            (Name { text: &index[..end], written: &rest[..end + 2], is_index: true }, end + 2)
        } else {
            let dot = usize::from(rest.starts_with('.'));
            let end = rest[dot..].find(['.', '[']).map_or(rest.len(), |end| dot + end);
            (Name { text: &rest[dot..end], written: &rest[..end], is_index: false }, end)
        };
        let is_plain = !name.text.is_empty() && !name.text.contains(['(', ' ']);
        let is_number = name.text.bytes().all(|byte| byte.is_ascii_digit());
        if (!is_plain && quote.is_none()) || (name.is_index && !is_number) {
            return None;
        }
        names.push(name);
        rest = &rest[length..];
    }
    Some(names)
}

/// On one line, and not too long.
fn clipped(source: &str) -> String {
    let line = source.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
