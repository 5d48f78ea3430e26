//! Quotations: whether a text says what somebody says it says.
//!
//! Both sides are brought into one form first, in which the differences that are no difference are gone: Unicode's compatibility
//! forms (NFKC), typographic quotation marks and dashes, soft hyphens and other characters without a width, and how much white space
//! there is. Letters keep their case. A page is looked into as it was fetched, and as it reads: without the marks of Markdown.
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

    /// Whether the text says this.
    ///
    /// # Errors
    /// Why it does not, in a few words.
    pub(crate) fn says(&self, quotation: &str) -> Result<(), &'static str> {
        if quotation.len() > BYTES_MAX {
            return Err("it is too long for a quotation");
        }
        let forms = [normal(quotation), normal(&read(quotation))];
        let mut why = "it has no words";
        for form in &forms {
            let parts = parts(form)?;
            if parts.is_empty() {
                continue;
            }
            why = "the text does not say this";
            if self.forms.iter().any(|text| is_in(text, &parts)) {
                return Ok(());
            }
        }
        Err(why)
    }
}

/// Without the differences that are no difference.
pub(crate) fn normal(text: &str) -> String {
    let mut normal = String::with_capacity(text.len());
    let mut spaced = false;
    for character in text.nfkc() {
        let character = match character {
            '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{feff}' => {
                continue;
            }
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
    let word = |character: Option<char>| character.is_some_and(char::is_alphanumeric);
    let (inside, before, behind) = (&text[start..end], text[..start].chars().next_back(), text[end..].chars().next());
    let cut_before = word(before) && word(inside.chars().next());
    let cut_behind = word(behind) && word(inside.chars().next_back());
    !cut_before && !cut_behind
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
