//! Quotations: whether a text says what somebody says it says.
//!
//! Both sides are brought into one form first, in which the differences that are no difference are gone: Unicode's compatibility
//! forms (NFKC), typographic quotation marks and dashes, soft hyphens and other characters without a width, and how much white space
//! there is. Letters keep their case. A page is looked into as it was fetched, and as it reads: without the marks of Markdown. So is a
//! quotation; and what is shown of it is what was found, never more: what Markdown does not show (a comment, the title of a link) was
//! not compared.
//!
//! `[…]` stands for what was left out. Each part must be there, in order, whole words, and no further from the one before than
//! [`GAP_MAX`]: two halves from the two ends of a page are no quotation.

use pulldown_cmark::{Event, Options, Parser, TagEnd};
use unicode_normalization::UnicodeNormalization as _;

/// Most bytes that `[…]` may stand for.
const GAP_MAX: usize = 1_000;

/// Longest quotation, in bytes: what is longer is a copy.
const BYTES_MAX: usize = 4_000;

/// Most parts of one quotation.
const PARTS_MAX: usize = 8;

/// Fewest words of a part where there are several: a word from here and a word from there say anything.
const WORDS_MIN: usize = 2;

/// What stands for words that were left out, in the form that is compared.
const LEFT_OUT: [&str; 2] = ["[...]", "(...)"];

/// A text in which quotations are looked up.
#[derive(Debug, Clone)]
pub(crate) struct Text {
    /// What is read of it first, where that is another.
    forms: Vec<String>,
}

impl Text {
    /// A text as it was fetched.
    pub(crate) fn new(fetched: &str, is_markdown: bool) -> Self {
        let mut forms = vec![normal(fetched)];
        if is_markdown {
            forms.insert(0, normal(&read(fetched)));
        }
        Self { forms }
    }

    /// The words of a quotation that the text says: they, and nothing else of it, may be shown as one.
    ///
    /// # Errors
    /// Why it does not say this, in a few words.
    pub(crate) fn says(&self, quotation: &str) -> Result<String, &'static str> {
        if quotation.len() > BYTES_MAX {
            return Err("it is too long for a quotation");
        }
        let mut why = "it has no words";
        // As it is written, of what is read of the text; as it reads; as it is written, of the text as it was fetched.
        let (written, reads) = (quotation.to_owned(), read(quotation));
        for (form, texts) in [(&written, &self.forms[..1]), (&reads, &self.forms[..]), (&written, &self.forms[1..])] {
            let parts = parts(&normal(form))?;
            if parts.is_empty() {
                continue;
            }
            why = "the text does not say this";
            if texts.iter().any(|text| is_in(text, &parts)) {
                return Ok(shown(form));
            }
        }
        Err(why)
    }
}

/// In one line, without quotation marks around it and without what has no width: that could turn the order of what is seen.
fn shown(form: &str) -> String {
    let seen: String = form.chars().filter(|character| !is_unseen(*character)).collect();
    let line = seen.split_whitespace().collect::<Vec<_>>().join(" ");
    let marks = ['"', '“', '”', '„'];
    let within = line.strip_prefix(marks).and_then(|rest| rest.strip_suffix(marks)).map(str::trim);
    within.filter(|within| !within.contains(marks)).map(str::to_owned).unwrap_or(line)
}

fn is_unseen(character: char) -> bool {
    matches!(character, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Without the differences that are no difference.
pub(crate) fn normal(text: &str) -> String {
    let mut normal = String::with_capacity(text.len());
    let mut spaced = false;
    // Of a raised digit NFKC makes a plain one, and of 10² a hundred and two.
    let raised = |character| matches!(character, '²' | '³' | '¹' | '⁰'..='⁹' | '₀'..='₉');
    let marked = text.chars().flat_map(|character| raised(character).then_some('^').into_iter().chain([character]));
    for character in marked.nfkc() {
        let character = match character {
            unseen if is_unseen(unseen) => continue,
            '“' | '”' | '„' | '‟' | '«' | '»' | '″' => '"',
            '‘' | '’' | '‚' | '‛' | '‹' | '›' | '′' | '`' => '\'',
            '‐' | '‑' | '‒' | '–' | '—' | '―' | '−' => '-',
            other => other,
        };
        if character.is_whitespace() {
            spaced = !normal.is_empty();
            continue;
        }
        if std::mem::take(&mut spaced) {
            normal.push(' ');
        }
        normal.push(character);
    }
    normal
}

/// What is read of a text in Markdown.
fn read(markdown: &str) -> String {
    let mut text = String::with_capacity(markdown.len());
    for event in Parser::new_ext(markdown, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH) {
        match event {
            Event::Text(part) | Event::Code(part) => text.push_str(&part),
            Event::SoftBreak | Event::HardBreak | Event::Rule => text.push(' '),
            // Emphasis and links may be around a part of a word; everything else ends one.
            Event::End(TagEnd::Emphasis | TagEnd::Strong | TagEnd::Strikethrough | TagEnd::Link) => {}
            Event::End(_) => text.push('\n'),
            _ => {}
        }
    }
    text
}

/// The parts of a quotation between what was left out.
fn parts(quotation: &str) -> Result<Vec<String>, &'static str> {
    let whole = quotation.replace(LEFT_OUT[1], LEFT_OUT[0]);
    let trimmed = |part: &str| part.trim().trim_matches(['"', ' ']).to_owned();
    let parts: Vec<String> = whole.split(LEFT_OUT[0]).map(trimmed).filter(|part| !part.is_empty()).collect();
    if parts.len() > PARTS_MAX {
        return Err("it has too many parts");
    }
    let words = |part: &String| part.split(' ').filter(|word| word.contains(char::is_alphanumeric)).count();
    if parts.len() > 1 && parts.iter().any(|part| words(part) < WORDS_MIN) {
        return Err("a part between […] has at least two words");
    }
    Ok(parts.into_iter().filter(|part| part.contains(char::is_alphanumeric)).collect())
}

/// Whether these parts are in `text`, in order, each but the first no further than [`GAP_MAX`] from an end of the one before it. One pass
/// for each part, whatever the page is like: whoever writes pages must not be able to make this long.
fn is_in(text: &str, parts: &[String]) -> bool {
    let mut ends: Option<Vec<usize>> = None;
    for part in parts {
        let near = |start: usize| match &ends {
            None => true,
            Some(ends) => {
                let before = ends.partition_point(|end| *end <= start);
                before.checked_sub(1).is_some_and(|last| start - ends[last] <= GAP_MAX)
            }
        };
        let (mut found, mut at) = (Vec::new(), 0);
        while let Some(start) = text[at..].find(part.as_str()).map(|offset| at + offset) {
            if is_whole(text, start, start + part.len()) && near(start) {
                found.push(start + part.len());
            }
            at = text.ceil_char_boundary(start + 1);
        }
        if found.is_empty() {
            return false;
        }
        ends = Some(found);
    }
    true
}

/// Whether `text[start..end]` begins and ends where words do.
fn is_whole(text: &str, start: usize, end: usize) -> bool {
    !is_within_a_word(text, start) && !is_within_a_word(text, end)
}

/// Whether a word goes on at a place: `5` is none of `1.5`, `000` none of `1,000`, and `42` none of `-42` or `10-42`.
fn is_within_a_word(text: &str, at: usize) -> bool {
    let (mut before, mut behind) = (text[..at].chars().rev(), text[at..].chars());
    let (before, further_before) = (before.next().unwrap_or(' '), before.next().unwrap_or(' '));
    let (behind, further_behind) = (behind.next().unwrap_or(' '), behind.next().unwrap_or(' '));
    let joins = |character: char| ".,'/:^\u{2044}-".contains(character);
    let digit = char::is_numeric;
    match (before, behind) {
        (before, behind) if before.is_alphanumeric() && behind.is_alphanumeric() => true,
        ('-', behind) if digit(behind) => true,
        ('.', behind) if digit(behind) => !further_before.is_alphabetic(),
        (before, '-') if digit(before) => further_behind.is_alphanumeric(),
        (before, behind) if joins(before) && digit(behind) => digit(further_before),
        (before, behind) if digit(before) && joins(behind) => digit(further_behind),
        (' ', behind) if digit(behind) => at.checked_sub(1).is_some_and(|space| is_grouped(text, space)),
        (before, ' ') if digit(before) => is_grouped(text, at),
        _ => false,
    }
}

/// Whether the space at a place stands between the thousands of one number, as in `1 000`.
fn is_grouped(text: &str, space: usize) -> bool {
    let count = |digits: &mut dyn Iterator<Item = char>| digits.take(4).take_while(char::is_ascii_digit).count();
    let before = count(&mut text[..space].chars().rev());
    (1..=3).contains(&before) && count(&mut text[space..].chars().skip(1)) == 3
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# Night shift\n\nThe **factory** waits — most of the\nnight, says “Ada”. It is not safe to [leave the lamp](https://example.org/lamp) \
        on; oﬃce hours don’t count.\n\n| year | lamps |\n| --- | --- |\n| 1911 | 42 % |\n\nUse `lamp --off` at dawn.";

    #[test]
    fn a_quotation_is_there_or_not() {
        let page = Text::new(PAGE, true);
        for (quotation, is_there) in [
            ("The factory waits", true),
            ("The **factory** waits", true),
            ("the factory waits", false),
            ("waits - most of the night", true),
            ("“The factory waits”", true),
            ("says \"Ada\"", true),
            ("office hours don't count", true),
            ("leave the lamp on", true),
            ("leave\u{a0}the lamp\u{200b} on", true),
            ("[leave the lamp](https://example.org/lamp)", true),
            ("It is safe", false),
            ("The factory […] not safe", true),
            ("The factory [...] not safe", true),
            ("not safe […] The factory", false),
            ("The factory […] safe", false),
            ("he factory wait", false),
            ("42 %", true),
            ("Use lamp --off at dawn", true),
            ("", false),
            ("[…]", false),
            ("—", false),
        ] {
            assert_eq!(page.says(quotation).is_ok(), is_there, "{quotation}: {:?}", page.says(quotation));
        }
    }

    #[test]
    fn what_is_shown_is_what_was_found() {
        let page = Text::new("The factory waits, and “Ada” is *10²* lamps away from `<b>`.", true);
        for (quotation, shown) in [
            ("The factory <!-- burned down and --> waits", "The factory waits"),
            ("The factory <burned> waits", "The factory waits"),
            ("The [factory](https://evil.example \"that burned\") waits", "The factory waits"),
            ("1911. The factory waits", "The factory waits"),
            ("The factory\n[burned]: https://evil.example/down\nwaits", ""),
            ("[burned]: /down 'all of it'\n\nThe factory waits", "The factory waits"),
            ("“The factory\u{202e} waits”", "The factory waits"),
            ("“Ada” is […] lamps away", "“Ada” is […] lamps away"),
            ("10² lamps", "10² lamps"),
            ("from <b>", "from <b>"),
        ] {
            assert_eq!(page.says(quotation).unwrap_or_default(), shown, "{quotation}");
        }
    }

    #[test]
    fn a_number_is_whole_or_not_there() {
        let page = Text::new(
            "Of 1.5 million lamps 1,000 dead, 1\u{a0}000 lost, -42 % at 10:30, 3/4 on 9-hour shifts, 10–20 of them, 10² left, .5 lit; \
             COVID-19, in 1911, 300 stood. There were 7. They cost 5-.",
            false,
        );
        for (quotation, is_there) in [
            ("1.5 million lamps", true),
            ("5 million lamps", false),
            (".5 million lamps", false),
            ("Of 1", false),
            ("Of 1.", false),
            ("000 dead", false),
            (",000 dead", false),
            ("lamps 1", false),
            ("000 lost", false),
            ("1 000 lost", true),
            ("dead, 1", false),
            ("-42 %", true),
            ("42 %", false),
            ("30, 3/4", false),
            ("4 on", false),
            ("on 9", false),
            ("9-hour shifts", true),
            ("20 of them", false),
            ("10-20 of them", true),
            ("102 left", false),
            ("10", false),
            ("5 lit", false),
            ("19, in", false),
            ("in 1911, 300 stood", true),
            ("300 stood", true),
            ("There were 7", true),
            ("They cost 5", true),
        ] {
            assert_eq!(page.says(quotation).is_ok(), is_there, "{quotation}");
        }
    }

    #[test]
    fn what_is_left_out_is_short() {
        let page = |gap: usize| Text::new(&format!("the first part {} the second part", "x ".repeat(gap / 2)), false);
        assert!(page(GAP_MAX - 10).says("the first part […] the second part").is_ok());
        assert!(page(GAP_MAX + 10).says("the first part […] the second part").is_err());
    }

    #[test]
    fn a_page_cannot_make_it_long() {
        let page = Text::new(&"a b ".repeat(100_000), false);
        assert!(page.says("a b […] a b […] a b […] a b […] a b […] a b […] never there").is_err());
        assert!(page.says("a b […] a b […] b a").is_ok());
        assert!(page.says(&"a b ".repeat(2_000)).is_err(), "too long");
    }

    #[test]
    fn a_later_place_is_found_where_the_first_one_leads_nowhere() {
        let page = Text::new(&format!("a lamp here. {} a lamp here and a list there", "x ".repeat(GAP_MAX)), false);
        assert!(page.says("a lamp here […] a list there").is_ok());
    }

    #[test]
    fn plain_text_is_taken_as_it_is() {
        let text = Text::new("2 * 3 * 4 = 24, and snake_case_name", false);
        assert!(text.says("2 * 3 * 4 = 24").is_ok() && text.says("snake_case_name").is_ok());
    }
}
