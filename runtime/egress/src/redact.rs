//! Taking the values of secrets out of what came back: a server may show what it was sent, as it was or in another spelling.
//!
//! A value is found as it stands (without regard to case), in base64 at any alignment, in hexadecimal, and, where it is base64 itself
//! (`Basic`), as what that says; each of them also percent-encoded, as an HTML reference, with the escapes of JSON, or broken into lines
//! (as mail and keys in text form break base64). What a server
//! makes of it otherwise (a digest, a part of it, letters turned round) cannot be known as the secret's and stays.

mod stream;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::{alphabet, engine::DecodePaddingMode};
use serde_json::Value;
use sortie_contract::limit;

use crate::named::SECRET_BYTES_MIN;
use crate::secret::Secret;

pub use stream::Stream;

/// With padding or without, whichever comes.
const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_encode_padding(false)
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// What stands for a secret where nobody has to be told which one it was.
const COVER: &str = "***";

/// Most bytes that one byte of a secret takes in a spelling that is looked for: `\u0041`, `&#x41;`, with some room.
const SPELLING_BYTES_MAX: usize = 8;

/// Takes secrets out of texts. Not printable.
#[derive(Default)]
pub struct Redactor {
    search: Option<AhoCorasick>,
    needles: Vec<Needle>,
    /// What is put in the place of each secret.
    placeholders: Vec<String>,
    reach: usize,
    has_spaces: bool,
}

#[derive(Clone, Copy)]
struct Needle {
    secret: usize,
    /// Part of a longer text in base64, of which the rest goes too.
    is_base64: bool,
}

/// Which spellings a view of a text resolves.
#[derive(Clone, Copy)]
struct Spelling {
    percent: bool,
    plus: bool,
    escapes: bool,
    references: bool,
    /// Ends of lines, and what the next one is indented by, are not there.
    lines: bool,
}

/// A text with its spellings resolved, and where each byte came from.
struct View {
    bytes: Vec<u8>,
    /// One for each byte, and the end.
    starts: Vec<usize>,
    /// Before which bytes an end of a line was left out; nothing where they are not.
    joins: Option<Vec<usize>>,
}

impl Redactor {
    /// One that takes out each of `secrets`, and puts in its place the text beside it.
    #[must_use]
    pub fn new<'a>(secrets: impl IntoIterator<Item = (String, &'a Secret)>) -> Self {
        let (mut texts, mut needles, mut placeholders, mut has_spaces) = (Vec::new(), Vec::new(), Vec::new(), false);
        for (secret, (placeholder, value)) in secrets.into_iter().enumerate() {
            placeholders.push(placeholder);
            if value.expose().is_empty() {
                continue;
            }
            has_spaces |= value.expose().contains(' ');
            for form in forms(value.expose()) {
                if form.len() < SECRET_BYTES_MIN {
                    // In another spelling, what is so short would be found in much that is none.
                    needles.push(Needle { secret, is_base64: false });
                    texts.push(form.into_bytes());
                    continue;
                }
                needles.push(Needle { secret, is_base64: false });
                texts.push(hex(form.as_bytes()).into_bytes());
                for encoded in inside_base64(form.as_bytes()) {
                    needles.push(Needle { secret, is_base64: true });
                    texts.push(encoded.into_bytes());
                }
                needles.push(Needle { secret, is_base64: false });
                texts.push(form.into_bytes());
            }
        }
        let reach = texts.iter().map(Vec::len).max().unwrap_or_default() * SPELLING_BYTES_MAX;
        let search = (!texts.is_empty()).then(|| {
            let mut builder = AhoCorasick::builder();
            // The one that is made fastest: it is used once. Bounded in number and length, the patterns fit.
            builder.kind(Some(AhoCorasickKind::NoncontiguousNFA));
            builder
                .match_kind(MatchKind::Standard)
                .ascii_case_insensitive(true)
                .build(&texts)
                .expect("few short patterns")
        });
        Self { search, needles, placeholders, reach, has_spaces }
    }

    /// One that takes out each of `secrets`, and does not say which it was.
    #[must_use]
    pub fn over<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        Self::new(secrets.into_iter().map(|secret| (COVER.to_owned(), secret)))
    }

    /// How much more than is shown must be looked at, in bytes, so that a secret that lies across the end is found.
    #[must_use]
    pub fn reach(&self) -> usize {
        self.reach
    }

    /// Whether there is a secret in it.
    #[must_use]
    pub fn finds(&self, text: &str) -> bool {
        !self.found(text).is_empty()
    }

    /// The text, without secrets.
    #[must_use]
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let found = self.found(text);
        if found.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(self.replaced(text, &found, text.len())) }
    }

    /// At most `max` bytes of the text, without secrets, and whether there was more. Give it [`Redactor::reach`] bytes more than `max`
    /// of a text that goes on. What is put in for secrets may make it longer again.
    #[must_use]
    pub fn cut(&self, text: &str, max: usize) -> (String, bool) {
        let end = text.floor_char_boundary(max.min(text.len()));
        (self.replaced(text, &self.found(text), end), end < text.len())
    }

    /// The text, without secrets.
    #[must_use]
    pub fn owned(&self, text: String) -> String {
        match self.text(&text) {
            Cow::Borrowed(_) => text,
            Cow::Owned(without) => without,
        }
    }

    /// At most `max` bytes of the text, without secrets: they are taken out before it is cut, for half of one nobody recognises.
    #[must_use]
    pub fn clipped(&self, text: &str, max: usize) -> String {
        limit::clip(&self.text(text), max)
    }

    /// A JSON value with no secret in any text, key or number of it.
    #[must_use]
    pub fn json(&self, value: Value) -> Value {
        if self.search.is_none() {
            return value;
        }
        match value {
            Value::String(text) => Value::String(self.owned(text)),
            Value::Array(items) => items.into_iter().map(|item| self.json(item)).collect(),
            Value::Object(fields) => {
                fields.into_iter().map(|(key, value)| (self.owned(key), self.json(value))).collect()
            }
            Value::Number(number) => {
                let text = number.to_string();
                if self.finds(&text) { Value::String(self.owned(text)) } else { Value::Number(number) }
            }
            value @ (Value::Null | Value::Bool(_)) => value,
        }
    }

    fn replaced(&self, text: &str, found: &[(Range<usize>, usize)], end: usize) -> String {
        let (mut shown, mut from) = (String::with_capacity(end), 0);
        for (span, secret) in found.iter().filter(|(span, _)| span.start < end) {
            shown.push_str(&text[from..span.start]);
            shown.push_str(&self.placeholders[*secret]);
            from = span.end;
        }
        if from < end {
            shown.push_str(&text[from..end]);
        }
        shown
    }

    /// Where secrets are: in order, none touching another.
    fn found(&self, text: &str) -> Vec<(Range<usize>, usize)> {
        let mut found = self.found_in(text.as_bytes());
        let whole = |span: Range<usize>| text.floor_char_boundary(span.start)..text.ceil_char_boundary(span.end);
        found.iter_mut().for_each(|(span, _)| *span = whole(span.clone()));
        found
    }

    /// The same of bytes, which need be no text.
    fn found_in(&self, text: &[u8]) -> Vec<(Range<usize>, usize)> {
        let Some(search) = &self.search else { return Vec::new() };
        let mut found = Vec::new();
        let own = View { bytes: text.to_vec(), starts: (0..=text.len()).collect(), joins: None };
        self.look(search, &own, &mut found);
        let is_there = [b'%', b'\\', b'&', b'+'].map(|sign| text.contains(&sign));
        // A text may use several of them, and what looks like another may be part of the secret: each set of those that are there.
        let is_broken = text.iter().any(|byte| matches!(byte, b'\n' | b'\r'))
            || text.windows(2).any(|pair| matches!(pair, b"\\n" | b"\\r" | b"%0" | b"&#"));
        for set in 1..32_u8 {
            let [percent, escapes, references, plus, lines] = [1, 2, 4, 8, 16].map(|flag| set & flag != 0);
            let used = [percent, escapes, references, plus];
            let is_of_use = used.iter().zip(is_there).all(|(used, is_there)| !used || is_there);
            if is_of_use && (!plus || self.has_spaces) && (!lines || is_broken) {
                let view = View::of(text, Spelling { percent, plus, escapes, references, lines });
                let from = found.len();
                self.look(search, &view, &mut found);
                if lines {
                    // The end of the line behind it is not its own.
                    for (span, _) in &mut found[from..] {
                        let kept = text[span.clone()].trim_ascii_end().len();
                        span.end = span.start + kept;
                    }
                }
            }
        }
        found.sort_by_key(|(span, _)| (span.start, span.end));
        let mut merged: Vec<(Range<usize>, usize)> = Vec::new();
        for (span, secret) in found {
            match merged.last_mut() {
                Some((last, _)) if span.start < last.end => last.end = last.end.max(span.end),
                _ => merged.push((span, secret)),
            }
        }
        merged
    }

    fn look(&self, search: &AhoCorasick, view: &View, found: &mut Vec<(Range<usize>, usize)>) {
        // Where one in base64 ended: what follows in the same run is gone already.
        let mut run_end = 0;
        for hit in search.find_overlapping_iter(&view.bytes) {
            let Needle { secret, is_base64 } = self.needles[hit.pattern().as_usize()];
            let (mut start, mut end) = (hit.start(), hit.end());
            let (mut least, mut most) = (0, view.bytes.len());
            if let Some(joins) = &view.joins {
                let first = joins.partition_point(|join| *join <= start);
                let behind = joins.partition_point(|join| *join < end);
                if first >= behind {
                    // What is in one line is found where lines are as they are.
                    continue;
                }
                // Words of other lines are not of it.
                least = first.checked_sub(1).map_or(0, |before| joins[before]);
                most = joins.get(behind).copied().unwrap_or(most);
            }
            if is_base64 {
                if end <= run_end {
                    continue;
                }
                let is_of_it = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_');
                start -= view.bytes[least..start].iter().rev().take_while(|byte| is_of_it(**byte)).count();
                end += view.bytes[end..most].iter().take_while(|byte| is_of_it(**byte) || **byte == b'=').count();
                run_end = end;
            }
            found.push((view.starts[start]..view.end_of(end), secret));
        }
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.placeholders).finish()
    }
}

impl View {
    fn of(bytes: &[u8], spelling: Spelling) -> Self {
        let joins = spelling.lines.then(Vec::new);
        let mut view =
            Self { bytes: Vec::with_capacity(bytes.len()), starts: Vec::with_capacity(bytes.len() + 1), joins };
        let (mut at, mut is_at_begin) = (0, false);
        while at < bytes.len() {
            let unit = unit(&bytes[at..], spelling);
            if let Some(joins) = &mut view.joins {
                let (byte, length) = match unit {
                    Some((Unit::Byte(byte), length)) => (Some(byte), length),
                    Some((Unit::Char(character), length)) => (u8::try_from(character).ok(), length),
                    None => (Some(bytes[at]), 1),
                };
                if matches!(byte, Some(b'\n' | b'\r')) || is_at_begin && matches!(byte, Some(b' ' | b'\t')) {
                    if joins.last() != Some(&view.bytes.len()) {
                        joins.push(view.bytes.len());
                    }
                    (at, is_at_begin) = (at + length, true);
                    continue;
                }
                is_at_begin = false;
            }
            match unit {
                Some((character, length)) => {
                    let mut room = [0; 4];
                    let decoded: &[u8] = match character {
                        Unit::Byte(byte) => {
                            room[0] = byte;
                            &room[..1]
                        }
                        Unit::Char(character) => character.encode_utf8(&mut room).as_bytes(),
                    };
                    view.bytes.extend_from_slice(decoded);
                    view.starts.extend(std::iter::repeat_n(at, decoded.len()));
                    at += length;
                }
                None => {
                    view.bytes.push(bytes[at]);
                    view.starts.push(at);
                    at += 1;
                }
            }
        }
        view.starts.push(bytes.len());
        view
    }

    /// Where the text goes on behind the byte before `end`.
    fn end_of(&self, end: usize) -> usize {
        let inside = self.starts[end.saturating_sub(1)];
        self.starts[end..].iter().copied().find(|start| *start > inside).unwrap_or(self.starts[self.starts.len() - 1])
    }
}

enum Unit {
    Byte(u8),
    Char(char),
}

/// What a spelling at the beginning of `rest` stands for, and how long it is.
fn unit(rest: &[u8], spelling: Spelling) -> Option<(Unit, usize)> {
    match rest[0] {
        b'%' if spelling.percent => {
            let value = number(rest.get(1..3)?, 16)?;
            Some((Unit::Byte(u8::try_from(value).ok()?), 3))
        }
        b'+' if spelling.plus => Some((Unit::Byte(b' '), 1)),
        b'\\' if spelling.escapes => match *rest.get(1)? {
            b'u' => Some((Unit::Char(char::from_u32(number(rest.get(2..6)?, 16)?)?), 6)),
            b'x' => Some((Unit::Char(char::from_u32(number(rest.get(2..4)?, 16)?)?), 4)),
            b'b' => Some((Unit::Byte(8), 2)),
            b'f' => Some((Unit::Byte(12), 2)),
            b't' => Some((Unit::Byte(b'\t'), 2)),
            b'n' => Some((Unit::Byte(b'\n'), 2)),
            b'r' => Some((Unit::Byte(b'\r'), 2)),
            escaped @ (b'"' | b'\'' | b'\\' | b'/') => Some((Unit::Byte(escaped), 2)),
            _ => None,
        },
        b'&' if spelling.references => reference(rest),
        _ => None,
    }
}

/// What an HTML reference stands for: the five names that every escaper knows, and numbers.
fn reference(rest: &[u8]) -> Option<(Unit, usize)> {
    // No longer than `&#x0010FFFF;`.
    let end = rest.iter().take(12).position(|byte| *byte == b';')?;
    let name = &rest[1..end];
    let character = match name {
        b"amp" => '&',
        b"lt" => '<',
        b"gt" => '>',
        b"quot" => '"',
        b"apos" => '\'',
        [b'#', b'x' | b'X', digits @ ..] => char::from_u32(number(digits, 16)?)?,
        [b'#', digits @ ..] => char::from_u32(number(digits, 10)?)?,
        _ => return None,
    };
    Some((Unit::Char(character), end + 1))
}

fn number(digits: &[u8], radix: u32) -> Option<u32> {
    let is_number = !digits.is_empty() && digits.iter().all(|digit| char::from(*digit).is_digit(radix));
    is_number.then(|| u32::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok())?
}

/// What the value is, and what it says where it is base64 itself: of `user:password` the password too.
fn forms(value: &str) -> Vec<String> {
    let mut forms = vec![value.to_owned()];
    let said = STANDARD.decode(value).or_else(|_| URL_SAFE.decode(value)).ok();
    let said = said.and_then(|said| String::from_utf8(said).ok()).filter(|said| !said.contains(char::is_control));
    if let Some(said) = said {
        let password = said.split_once(':').map(|(_, password)| password.to_owned());
        forms.extend([Some(said), password].into_iter().flatten().filter(|form| form.len() >= SECRET_BYTES_MIN));
    }
    forms
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What of `bytes` is in every base64 text that has them in it, for each of the three places at which they may begin in a group.
fn inside_base64(bytes: &[u8]) -> Vec<String> {
    let mut all = Vec::new();
    for engine in [&STANDARD, &URL_SAFE] {
        for before in 0..3_usize {
            let padded = [&[0; 2][..before], bytes].concat();
            let encoded = engine.encode(&padded);
            // The first letters hold bits of what stands before, the last one may hold bits of what stands behind.
            let start = [0, 2, 3][before];
            let end = if padded.len() % 3 == 0 { encoded.len() } else { encoded.len() - 1 };
            all.push(encoded[start..end].to_owned());
        }
    }
    all.sort();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: &str = "s3cr3t/Va\"l&u=e ä+%41";

    fn redactor(values: &[&str]) -> Redactor {
        let secrets: Vec<Secret> = values.iter().map(|value| Secret::new((*value).to_owned())).collect();
        Redactor::new(secrets.iter().enumerate().map(|(number, secret)| (format!("<{number}>"), secret)))
    }

    fn percent(text: &str, keep: impl Fn(u8) -> bool, upper: bool) -> String {
        let encoded = |byte: u8| match (keep(byte), upper) {
            (true, _) => char::from(byte).to_string(),
            (false, true) => format!("%{byte:02X}"),
            (false, false) => format!("%{byte:02x}"),
        };
        text.bytes().map(encoded).collect()
    }

    #[test]
    fn every_spelling_of_a_secret_is_found_and_nothing_around_it_is_lost() {
        let redactor = redactor(&[VALUE]);
        let json = serde_like(VALUE);
        let spellings = [
            VALUE.to_owned(),
            VALUE.to_ascii_uppercase(),
            percent(VALUE, |byte| byte.is_ascii_alphanumeric(), true),
            percent(VALUE, |byte| byte.is_ascii_alphanumeric(), false),
            percent(VALUE, |_| false, false),
            percent(VALUE, |byte| byte.is_ascii_alphanumeric() || b"/=&\"".contains(&byte), true),
            percent(VALUE, |byte| byte.is_ascii_alphanumeric() || byte == b' ', true).replace(' ', "+"),
            json.clone(),
            VALUE.chars().map(|character| format!("\\u{:04X}", u32::from(character))).collect(),
            VALUE.replace('&', "&amp;").replace('"', "&quot;"),
            VALUE.chars().map(|character| format!("&#{};", u32::from(character))).collect(),
            VALUE.chars().map(|character| format!("&#x{:x};", u32::from(character))).collect(),
            hex(VALUE.as_bytes()),
            hex(VALUE.as_bytes()).to_ascii_uppercase(),
            json.replace('&', "&amp;").replace('ä', "&#228;"),
        ];
        for spelling in spellings {
            let text = format!("ö before {spelling} behind ö");
            assert_eq!(redactor.text(&text), "ö before <0> behind ö", "{spelling}");
            assert!(redactor.finds(&text));
        }
        for plain in ["", "s3cr3t", "s3cr3t/Va", "nothing % of \\ it & at + all", "%4", "\\u00", "&#;", "&#xZZ;", "%%%"]
        {
            assert_eq!(redactor.text(plain), plain);
        }
    }

    fn serde_like(text: &str) -> String {
        text.replace('\\', "\\\\").replace('"', "\\\"").replace('/', "\\/")
    }

    #[test]
    fn base64_is_found_at_every_place_of_its_group() {
        let redactor = redactor(&[VALUE, "another one"]);
        for engine in [&STANDARD, &URL_SAFE] {
            for before in ["", "u", "us", "user:", "ab:"] {
                for behind in ["", "x", "xy", "xyz"] {
                    let encoded = engine.encode(format!("{before}{VALUE}{behind}"));
                    for padding in ["", "=", "=="] {
                        let text = format!("Basic {encoded}{padding}, more");
                        assert_eq!(redactor.text(&text), "Basic <0>, more", "{before} {behind}");
                    }
                    let quoted = percent(&encoded, |byte| byte.is_ascii_alphanumeric(), true);
                    assert_eq!(redactor.text(&format!("?a={quoted}&b=1")), "?a=<0>&b=1");
                }
            }
        }
    }

    #[test]
    fn what_is_broken_into_lines_is_found_and_other_lines_stay() {
        let long =
            "a key that is rather long, so that it takes more than one line of seventy-six in base64: 0123456789";
        let redactor = redactor(&[long]);
        for (end, width) in
            [("\n", 64), ("\r\n", 76), ("\n    ", 64), ("\\n", 76), ("\\r\\n", 10), ("%0D%0A", 76), ("&#10;", 64)]
        {
            for text in [STANDARD.encode(long), STANDARD.encode(format!("ab{long}cd")), hex(long.as_bytes())] {
                let lines: Vec<&str> =
                    text.as_bytes().chunks(width).map(|line| std::str::from_utf8(line).unwrap()).collect();
                let text = format!("--BEGIN{end}{}{end}END--", lines.join(end));
                let shown = redactor.text(&text);
                assert!(shown.starts_with("--BEGIN") && shown.ends_with("END--") && shown.contains("<0>"), "{shown}");
                assert!(lines.iter().all(|line| line.len() < 5 || !shown.contains(line)), "{end:?}: {shown}");
            }
        }
        let plain = "-----BEGIN\nQUJD\nREVG\r\n  x\\ny%0Az&#10;";
        assert_eq!(redactor.text(plain), plain);
        let text = format!(
            "first\n{}\nlast",
            STANDARD.encode(long).split_at(64).0.to_owned() + "\n" + STANDARD.encode(long).split_at(64).1
        );
        assert_eq!(redactor.text(&text), "first\n<0>\nlast");
    }

    #[test]
    fn what_a_basic_secret_says_is_one_too() {
        let redactor = redactor(&["dXNlcjpodW50ZXItMi1oaWRkZW4="]);
        assert_eq!(redactor.text("you are user:hunter-2-hidden"), "you are <0>");
        assert_eq!(redactor.text("the password hunter-2-hidden is wrong"), "the password <0> is wrong");
    }

    #[test]
    fn secrets_that_lie_across_each_other_or_an_end_leave_nothing() {
        let both = redactor(&["abcdefgh", "efghijkl"]);
        assert_eq!(both.text("-abcdefghijkl-abcdefghabcdefgh-efghijkl-"), "-<0>-<0><0>-<1>-");
        let one = redactor(&["abcdefgh"]);
        let text = "12345 abcdefgh 67890";
        for max in 0..=text.len() + 1 {
            let (shown, is_cut) = one.cut(text, max);
            assert_eq!(is_cut, max < text.len(), "{max}");
            let whole = one.text(text);
            assert!(whole.starts_with(&shown), "{max}: {shown}");
            assert!(!shown.contains('a'), "{max}: {shown}");
        }
        assert_eq!(one.cut("äöü", 3), ("ä".to_owned(), true));
    }

    #[test]
    fn much_text_is_looked_through_in_a_moment() {
        // What a server would send that knows the secret and means harm: its beginning, over and over.
        let value = format!("{}z", "a".repeat(2_000));
        let redactor = redactor(&[&value]);
        for text in ["a".repeat(1 << 18), "YWFh".repeat(1 << 16), "%61".repeat(1 << 16), "\\u0061".repeat(1 << 15)] {
            assert!(!redactor.finds(&text));
        }
        let all = redactor.text(&value.repeat(100)).into_owned();
        assert_eq!(all, "<0>".repeat(100));
    }

    #[test]
    fn every_text_of_a_value_is_without_secrets() {
        let secrets = ["hush-hush", "hush-hush-more", "123456789", "a \"quoted\" one", ""]
            .map(|value| Secret::new(value.to_owned()));
        let redactor = Redactor::over(&secrets);
        let said = serde_json::json!({"env": ["T=hush-hush", {"hush-hush": 1}], "q": "a \\\"quoted\\\" one", "n": 123_456_789});
        assert_eq!(redactor.json(said), serde_json::json!({"env": ["T=***", {"***": 1}], "q": "***", "n": "***"}));
        assert_eq!(redactor.owned("x hush-hush y hush-hush-more".to_owned()), "x *** y ***");
        assert_eq!(redactor.clipped("hush-hush hush-hush", 8), "*** ***");
        assert!(!format!("{redactor:?}").contains("hush"));
    }

    #[test]
    fn without_secrets_nothing_changes() {
        let none = redactor(&[]);
        assert_eq!((none.text("a%41"), none.reach()), (Cow::Borrowed("a%41"), 0));
        assert_eq!(none.cut("abc", 2), ("ab".to_owned(), true));
    }
}
