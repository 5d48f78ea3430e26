//! A model's text, made fit for the report: one line of Markdown in which nothing leads anywhere but to a source.
//!
//! Links, images and bare addresses become the number of the source that was fetched from there, or are left out and told. So are
//! numbers in brackets that are no source. Addresses of mail are written so that no renderer makes a link of them; where a text is to read
//! as it is written (a title, the reason of a failure), they and all others are code. What a page talked a model into writing can so neither look like a citation nor load
//! anything when somebody opens the report: markup of HTML is text, and a link has no way in.

use std::collections::BTreeSet;

use pulldown_cmark::{Event, LinkType, Options, Parser, Tag, TagEnd};

/// Finds the number of the source at an address.
pub(crate) type At<'a> = &'a dyn Fn(&str) -> Option<usize>;

/// Whether a number is that of a source.
pub(crate) type IsSource<'a> = &'a dyn Fn(usize) -> bool;

/// A text without what does not belong there.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Line {
    /// Markdown in one line.
    pub(crate) text: String,
    /// Sources that were named in it, and are.
    pub(crate) cited: BTreeSet<usize>,
    /// What was left out: addresses and numbers that are no source.
    pub(crate) left_out: Vec<String>,
}

/// Cleans a text of one paragraph. `is_source` knows the numbers that may be cited, `at` finds one by its address.
pub(crate) fn line(text: &str, is_source: IsSource<'_>, at: At<'_>) -> Line {
    let joined = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = joined.trim_start_matches(['#', '>', '-', '+', '*', '=', '|', ' ', '~']);
    let mut line = Line::default();
    let mut pieces: Vec<Piece> = Vec::new();
    for piece in pieces_of(text, &mut line, at) {
        match (pieces.last_mut(), piece) {
            (Some(Piece::Plain(before)), Piece::Plain(more)) => before.push_str(&more),
            (_, piece) => pieces.push(piece),
        }
    }
    for piece in pieces {
        match piece {
            Piece::Code(code) => line.text.push_str(&code),
            Piece::Source(number) => cite(&mut line, number),
            Piece::Plain(plain) => scan(&plain, &mut line, is_source, at),
        }
    }
    line.text = tidy(&line.text);
    line
}

/// A text as Markdown that reads as it is written: titles, names, queries.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !plain.is_empty() {
            plain.push(' ');
        }
        if leads_somewhere(word) {
            plain.push_str(&code(word));
            continue;
        }
        for character in word.chars().filter(|character| !character.is_control()) {
            push_escaped(&mut plain, character, true);
        }
    }
    plain
}

/// A text as it is written, of which no renderer makes a link.
pub(crate) fn code(text: &str) -> String {
    let text: String = text.chars().filter(|character| !character.is_control()).collect();
    format!("`{}`", text.replace('`', "'"))
}

/// Whether renderers make a link of a word that is none in Markdown: of addresses of pages, and of mail.
fn leads_somewhere(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    word.contains("://") || word.contains("www.") || word.contains('@')
}

/// What a text consists of.
enum Piece {
    Plain(String),
    /// With its backticks.
    Code(String),
    Source(usize),
}

/// Takes links and images out, and keeps code apart from text.
fn pieces_of(text: &str, line: &mut Line, at: At<'_>) -> Vec<Piece> {
    let mut pieces = Vec::new();
    // Up to where the text is taken care of.
    let mut done = 0;
    let mut open: Vec<(String, bool)> = Vec::new();
    for (event, range) in Parser::new_ext(text, Options::empty()).into_offset_iter() {
        let within = !open.is_empty();
        match event {
            Event::Start(Tag::Link { dest_url, link_type, .. }) => {
                pieces.push(Piece::Plain(take(text, &mut done, range.start)));
                done = done.max(range.start);
                open.push((dest_url.to_string(), matches!(link_type, LinkType::Autolink | LinkType::Email)));
            }
            Event::Start(Tag::Image { dest_url, .. }) => {
                pieces.push(Piece::Plain(take(text, &mut done, range.start)));
                done = done.max(range.start);
                open.push((dest_url.to_string(), false));
            }
            Event::End(TagEnd::Link | TagEnd::Image) => {
                let Some((address, _)) = open.pop() else { continue };
                done = done.max(range.end);
                match at(&address) {
                    Some(number) => pieces.extend([Piece::Plain(" ".to_owned()), Piece::Source(number)]),
                    None => line.left_out.push(address),
                }
            }
            // What a link says stays, unless it says the address.
            Event::Text(_) | Event::Code(_) if open.iter().any(|(_, is_bare)| *is_bare) => {}
            Event::Text(label) | Event::Code(label) if within => pieces.push(Piece::Plain(label.to_string())),
            Event::Code(_) => {
                pieces.push(Piece::Plain(take(text, &mut done, range.start)));
                pieces.push(Piece::Code(text[range.clone()].to_owned()));
                done = done.max(range.end);
            }
            _ => {}
        }
    }
    pieces.push(Piece::Plain(take(text, &mut done, text.len())));
    pieces
}

/// What is between `done` and `to`.
fn take(text: &str, done: &mut usize, to: usize) -> String {
    let part = text.get(*done..to).unwrap_or_default().to_owned();
    *done = (*done).max(to);
    part
}

/// Takes bare addresses and numbers in brackets out of a text, and disarms what is left.
fn scan(plain: &str, line: &mut Line, is_source: IsSource<'_>, at: At<'_>) {
    let mut rest = plain;
    while let Some(character) = rest.chars().next() {
        if let Some((number, length)) = marker(rest).filter(|_| !line.text.ends_with(char::is_alphanumeric)) {
            match number.filter(|number| is_source(*number)) {
                Some(number) => cite(line, number),
                None => leave_out(line, &rest[..length]),
            }
            rest = &rest[length..];
        } else if let Some(length) = bare(rest).filter(|_| !line.text.ends_with(|c: char| c.is_ascii_alphabetic())) {
            match at(&rest[..length]) {
                Some(number) => cite(line, number),
                None => leave_out(line, &rest[..length]),
            }
            rest = &rest[length..];
        } else if character == '@' {
            // Renderers make a link of an address of mail.
            line.text.push_str(" (at) ");
            rest = &rest[1..];
        } else if character == '\\' && rest[1..].starts_with(|next: char| next.is_ascii_punctuation()) {
            // It is written anew where it is needed.
            rest = &rest[1..];
            if let Some(next) = rest.chars().next() {
                push_escaped(&mut line.text, next, true);
                rest = &rest[next.len_utf8()..];
            }
        } else {
            push_escaped(&mut line.text, character, false);
            rest = &rest[character.len_utf8()..];
        }
    }
}

/// A hole stays where something is left out: what is around it must not become an address.
fn leave_out(line: &mut Line, what: &str) {
    line.left_out.push(what.to_owned());
    line.text.push(' ');
}

fn cite(line: &mut Line, number: usize) {
    line.cited.insert(number);
    // `[1][2]` would be one link, and not two.
    let space = if line.text.ends_with(']') { " " } else { "" };
    line.text.push_str(&format!("{space}[{number}]"));
}

/// A citation at the start of a text: `[3]`, `[^3]`, `[s3]`, `[source 3]`, and its length. A number that is none is `None`.
fn marker(text: &str) -> Option<(Option<usize>, usize)> {
    let inner = text.strip_prefix('[')?;
    let end = inner.char_indices().take(24).find(|(_, character)| *character == ']').map(|(index, _)| index)?;
    let label = inner[..end].trim();
    let label = label.strip_prefix('^').unwrap_or(label);
    let digits = ["source ", "Source ", "s", "S"].iter().find_map(|prefix| label.strip_prefix(prefix)).unwrap_or(label);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    // A footnote is a citation, whatever it is called.
    let is_footnote = inner.starts_with('^');
    (is_number || is_footnote).then(|| (digits.parse().ok(), end + 2))
}

/// The length of an address at the start of a text.
fn bare(text: &str) -> Option<usize> {
    let begins = |with: &str| text.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
    if !["http://", "https://", "ftp://", "www."].iter().any(|with| begins(with)) {
        return None;
    }
    let ends = |character: char| character.is_whitespace() || "<>\"“”'’)]}|`".contains(character);
    let length = text.find(ends).unwrap_or(text.len());
    Some(text[..length].trim_end_matches(['.', ',', ';', ':', '!', '?', '*', '_']).len())
}

fn push_escaped(text: &mut String, character: char, emphasis: bool) {
    // What would make another link, or the meaning of one, of a number in brackets.
    if text.ends_with(']') && !text.ends_with("\\]") && "([:".contains(character) {
        text.push(' ');
    }
    match character {
        '<' => text.push_str("&lt;"),
        '[' | ']' | '`' | '|' => text.extend(['\\', character]),
        '*' | '_' | '#' | '~' | '\\' if emphasis => text.extend(['\\', character]),
        _ => text.push(character),
    }
}

/// Without the holes of what was taken out.
fn tidy(text: &str) -> String {
    let whole = text.replace("( )", " ").replace("()", " ");
    let mut tidy = String::with_capacity(whole.len());
    for word in whole.split_whitespace() {
        // A mark that stood behind what was taken out.
        let is_mark = word.len() == 1 && ".,;:!?".contains(word);
        if !tidy.is_empty() && !is_mark {
            tidy.push(' ');
        }
        tidy.push_str(word);
    }
    tidy
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(text: &str) -> Line {
        let at = |address: &str| address.starts_with("https://known.example/").then_some(2);
        line(text, &|number| (1..=3).contains(&number), &at)
    }

    #[test]
    fn nothing_leads_anywhere_but_to_a_source() {
        for (given, text, cited, left_out) in [
            ("Lamps burn. [1]", "Lamps burn. [1]", &[1][..], &[][..]),
            ("Lamps [^2] burn [s3].", "Lamps [2] burn [3].", &[2, 3], &[]),
            ("Lamps burn. [7]", "Lamps burn.", &[], &["[7]"]),
            ("Lamps burn. [^note]", "Lamps burn.", &[], &["[^note]"]),
            ("See [this](https://known.example/a).", "See this [2].", &[2], &[]),
            ("See [this](https://evil.example/?q=secret).", "See this.", &[], &["https://evil.example/?q=secret"]),
            ("![pixel](https://evil.example/p.png) Lamps.", "pixel Lamps.", &[], &["https://evil.example/p.png"]),
            ("See <https://evil.example/>.", "See.", &[], &["https://evil.example/"]),
            ("See https://known.example/b, too.", "See [2], too.", &[2], &[]),
            ("See www.evil.example.", "See.", &[], &["www.evil.example"]),
            ("<img src=x onerror=alert(1)>", "&lt;img src=x onerror=alert(1)>", &[], &[]),
            ("a `b[7] <i>` c", "a `b[7] <i>` c", &[], &[]),
            ("a[7] is no citation", "a\\[7\\] is no citation", &[], &[]),
            ("a ` b", "a \\` b", &[], &[]),
            ("# Not a heading\n\n- nor a list", "Not a heading - nor a list", &[], &[]),
            ("[a]: https://evil.example/", "\\[a\\]:", &[], &["https://evil.example/"]),
            ("![x][1]", "!x [1]", &[1], &[]),
            ("http:[7]//evil.example/x", "http: //evil.example/x", &[], &["[7]"]),
            ("http:( )//evil.example/x", "http: //evil.example/x", &[], &[]),
            ("www .evil.example", "www .evil.example", &[], &[]),
            ("1https://evil.example/x", "1", &[], &["https://evil.example/x"]),
            ("mail ada@evil.example", "mail ada (at) evil.example", &[], &[]),
            ("it is *so* and \\*so", "it is *so* and \\*so", &[], &[]),
        ] {
            let found = cleaned(given);
            let (found_cited, found_left): (Vec<usize>, Vec<String>) =
                (found.cited.iter().copied().collect(), found.left_out.clone());
            if given == "![x][1]" {
                // An image by reference: whatever is left of it is no image.
                assert!(found_cited == [1] && !found.text.contains("!["), "{found:?}");
                continue;
            }
            assert_eq!((found.text.as_str(), found_cited.as_slice()), (text, cited), "{given}");
            assert_eq!(found_left, left_out, "{given}");
        }
    }

    #[test]
    fn what_comes_out_is_text_and_numbers_to_every_renderer() {
        let hostile = [
            "\\`<b>`",
            "``x` <i>",
            "[a](b \"c\")",
            "![a](<https://evil.example/ x>)",
            "\\[a](https://evil.example)",
            "[[1]](https://evil.example)",
            "[a\n](https://evil.example)",
            "<a href='https://evil.example'>x</a>",
            "a <!-- b",
            "<https://evil.example>",
            "[^1]: https://evil.example",
            "`a` ` <u>`",
            "&lt;b&gt;",
            "[x]\\(https://evil.example)",
            "![[x]](y)",
            "HTTPS://EVIL.example/x",
            "[1]\\(//evil.example)",
            "[1]: evil.example",
            "[1][evil]",
            "(https://evil.example)",
            "*https://evil.example*",
            "9https://evil.example",
            "http:[9]//evil.example",
            "www[^x].evil.example",
            "www [9].evil.example",
            "http:[](//x)//evil.example",
            "a@evil.example",
        ];
        for given in hostile {
            let found = cleaned(given);
            let page = format!("- {} [1]\n\n[1]: <https://known.example/>\n", found.text);
            for event in Parser::new_ext(&page, Options::all()) {
                match event {
                    Event::Html(_) | Event::InlineHtml(_) | Event::Start(Tag::Image { .. }) => {
                        panic!("{given:?} became {page:?}");
                    }
                    Event::Start(Tag::Link { dest_url, .. }) => {
                        assert_eq!(&*dest_url, "https://known.example/", "{given:?} became {page:?}");
                    }
                    _ => {}
                }
            }
            assert!(
                !["://evil", "www.evil", "@evil"].iter().any(|link| found.text.to_lowercase().contains(link)),
                "{given:?} became {found:?}"
            );
        }
    }

    #[test]
    fn a_title_reads_as_it_is_written() {
        assert_eq!(plain("A *bold* [title](x)\n<b>\u{7}"), "A \\*bold\\* \\[title\\](x) &lt;b>");
        assert_eq!(
            plain("See HTTPS://evil.example/`*x*,\nwww.evil.example a@b.c"),
            "See `HTTPS://evil.example/'*x*,` `www.evil.example` `a@b.c`"
        );
    }
}
