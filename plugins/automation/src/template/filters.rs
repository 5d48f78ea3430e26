//! The filters that real workflows cannot do without: JSON within a text, regular expressions, times, digests, base64.
//!
//! Each is bounded: it pays for the work that it does with the fuel of its template, a regular expression is linear in the text
//! that it is held against, and none of them looks at a clock. Text that is wrong is an error that says what was expected.

mod json;
mod time;

use base64::Engine as _;
use base64::alphabet::{Alphabet, STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, Value};
use regex_lite::{Captures, Regex, RegexBuilder};
use sha2::{Digest, Sha256};

use super::paid::{BYTES_PER_FUEL, pay};

/// Largest regular expression once it is compiled, in bytes: a long list of words, and no nest of repetitions.
const REGEX_BYTES_MAX: usize = 64 << 10;

/// The least bound on that size that is tried; each further one is twice as large.
const REGEX_BYTES_LEAST: usize = 256;

/// Bytes of a part of a compiled expression, or a few less: a character, a class, a fork.
const REGEX_PART_BYTES: usize = 4 * size_of::<usize>();

/// Names of all that is added here or behaves otherwise than the template language's own.
#[cfg(test)]
pub(crate) const FILTERS: [&str; 10] =
    ["fromjson", "tojson", "regex_match", "regex_find", "regex_replace", "date", "sha256", "b64", "string", "join"];

/// Adds them to an environment.
pub(super) fn add(environment: &mut Environment<'_>) {
    environment.add_filter("fromjson", json::fromjson);
    environment.add_filter("tojson", json::tojson);
    environment.add_filter("regex_match", regex_match);
    environment.add_filter("regex_find", regex_find);
    environment.add_filter("regex_replace", regex_replace);
    environment.add_filter("date", time::date);
    environment.add_filter("sha256", sha256);
    environment.add_filter("b64", b64);
}

/// What is wrong with a regular expression that a template spells out.
pub(super) fn wrong_pattern(pattern: &str) -> Option<String> {
    regex(pattern).err().map(|error| error.detail().unwrap_or_default().to_owned())
}

/// `text | regex_match(pattern)`: whether it is found somewhere in it.
fn regex_match(state: &State<'_, '_>, value: &Value, pattern: &str) -> Result<bool, Error> {
    let text = text("regex_match", value)?;
    Ok(paid_regex(state, text, pattern)?.is_match(text))
}

/// `text | regex_find(pattern, group=0)`: the first match, or one of its groups, by number or by name; null where there is none.
fn regex_find(state: &State<'_, '_>, value: &Value, pattern: &str, group: Option<&Value>) -> Result<Value, Error> {
    let text = text("regex_find", value)?;
    let regex = paid_regex(state, text, pattern)?;
    let found = |captures: &Captures<'_>, group: Option<regex_lite::Match<'_>>| {
        debug_assert!(captures.get(0).is_some());
        group.map_or(Value::from(()), |found| Value::from(found.as_str()))
    };
    let no_group = || wrong(format!("regex_find: `{pattern}` has no group {}", group.cloned().unwrap_or_default()));
    let captures = regex.captures(text);
    match group {
        None => Ok(captures.map_or(Value::from(()), |captures| found(&captures, captures.get(0)))),
        Some(name) if name.kind() == ValueKind::String => {
            let name = name.as_str().unwrap_or_default();
            let known = regex.capture_names().flatten().any(|known| known == name);
            let given = || captures.map_or(Value::from(()), |captures| found(&captures, captures.name(name)));
            if known { Ok(given()) } else { Err(no_group()) }
        }
        Some(number) => {
            let number = usize::try_from(number.clone()).ok().filter(|number| *number < regex.captures_len());
            let number = number.ok_or_else(no_group)?;
            Ok(captures.map_or(Value::from(()), |captures| found(&captures, captures.get(number))))
        }
    }
}

/// `text | regex_replace(pattern, with)`: all of them; `$1` and `${name}` in `with` are groups, `$$` is a dollar.
fn regex_replace(state: &State<'_, '_>, value: &Value, pattern: &str, with: &str) -> Result<String, Error> {
    let text = text("regex_replace", value)?;
    let regex = paid_regex(state, text, pattern)?;
    // What it makes is paid for as it grows: a short text can become a long one.
    let (mut out, mut end) = (String::with_capacity(text.len()), 0);
    for captures in regex.captures_iter(text) {
        let Some(whole) = captures.get(0) else { continue };
        let before = out.len();
        out.push_str(&text[end..whole.start()]);
        captures.expand(with, &mut out);
        end = whole.end();
        pay(state, out.len() - before)?;
    }
    out.push_str(&text[end..]);
    Ok(out)
}

/// `text | sha256`: in hexadecimal.
fn sha256(state: &State<'_, '_>, value: &Value) -> Result<String, Error> {
    let text = text("sha256", value)?;
    pay(state, text.len())?;
    Ok(Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect())
}

/// `text | b64`: in base64; `b64(decode=true)` back again, `url=true` in the alphabet of addresses.
#[expect(clippy::needless_pass_by_value, reason = "a filter gets its arguments by value")]
fn b64(state: &State<'_, '_>, value: &Value, named: Kwargs) -> Result<String, Error> {
    let (decode, url): (Option<bool>, Option<bool>) = (named.get("decode")?, named.get("url")?);
    named.assert_all_used()?;
    let text = text("b64", value)?;
    pay(state, text.len())?;
    let alphabet: &Alphabet = if url == Some(true) { &URL_SAFE } else { &STANDARD };
    // Addresses go without padding, mail and headers with it; either is read.
    let config = GeneralPurposeConfig::new()
        .with_encode_padding(url != Some(true))
        .with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let engine = GeneralPurpose::new(alphabet, config);
    if decode != Some(true) {
        return Ok(engine.encode(text));
    }
    // Lines of mail are broken.
    let joined: String = text.split_ascii_whitespace().collect();
    let bytes = engine.decode(joined).map_err(|error| wrong(format!("b64: this is no base64: {error}")))?;
    String::from_utf8(bytes)
        .map_err(|_| wrong("b64: what this holds is no UTF-8 text, and templates hold nothing else"))
}

/// The text that a filter takes. Anything else is a mistake: Python's way to write it is not what anybody wants here.
fn text<'v>(filter: &str, value: &'v Value) -> Result<&'v str, Error> {
    value.as_str().ok_or_else(|| {
        let hint =
            if value.is_undefined() { "something that does not exist" } else { "no text; put `| tojson` before it" };
        wrong(format!("{filter} takes a text, and this is {hint}"))
    })
}

fn regex(pattern: &str) -> Result<Regex, Error> {
    regex_of_bytes(pattern, REGEX_BYTES_MAX)
        .map_err(|error| wrong(format!("`{pattern}` is no regular expression: {error}")))
}

/// The regular expression, where it has at most so many bytes once it is compiled.
fn regex_of_bytes(pattern: &str, bytes: usize) -> Result<Regex, regex_lite::Error> {
    RegexBuilder::new(pattern).size_limit(bytes).build()
}

/// The regular expression, with holding a text against it paid for: each byte of the text against each part of it. How many
/// parts there are is known when it is compiled alone, for repetitions within repetitions multiply; its size is not told, but
/// kept to a bound, so that it is the least of some bounds that it keeps to.
fn paid_regex(state: &State<'_, '_>, text: &str, pattern: &str) -> Result<Regex, Error> {
    let mut bytes = REGEX_BYTES_LEAST;
    let regex = loop {
        pay(state, pattern.len())?;
        match regex_of_bytes(pattern, bytes) {
            Ok(regex) => break regex,
            // What is wrong in another way than by its size is told at the last of them.
            Err(_) if bytes < REGEX_BYTES_MAX => bytes *= 2,
            Err(_) => break regex(pattern)?,
        }
    };
    pay(state, (text.len() + BYTES_PER_FUEL).saturating_mul(bytes / REGEX_PART_BYTES))?;
    Ok(regex)
}

fn wrong(detail: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, detail.into())
}
