//! A page about one thing: its facts, name by name, and parts with a head. On a terminal long facts go on below themselves, between
//! words; elsewhere each fact is one line.

use std::io::{self, Write as _};

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::screen::{Meaning, Screen};
use super::table::{Cell, Column, lines};

/// What stands before a fact, its name among it.
const MARGIN: usize = 12;

/// Fewer columns than this are none: a line that is wrapped to less cannot be read.
const NARROWEST: usize = 20;

/// A page that is being written.
pub(in crate::cli) struct Page<'s> {
    screen: &'s Screen,
    lines: Vec<String>,
}

impl<'s> Page<'s> {
    /// An empty page.
    pub(in crate::cli) fn new(screen: &'s Screen) -> Self {
        Self { screen, lines: Vec::new() }
    }

    /// What it is about, and how that stands.
    pub(in crate::cli) fn title(&mut self, name: &str, stands: &str, meaning: Meaning) {
        self.lines.push(format!("{name}  {}", self.screen.paint(meaning, stands)));
    }

    /// A fact; nothing, where it is empty.
    pub(in crate::cli) fn fact(&mut self, name: &str, says: &str) {
        self.fact_that(name, says, Meaning::Plain);
    }

    /// A fact that means something.
    pub(in crate::cli) fn fact_that(&mut self, name: &str, says: &str, meaning: Meaning) {
        if says.is_empty() {
            return;
        }
        // One for all of its lines: they stand below each other.
        let margin = MARGIN.max(name.width() + 1);
        for (number, line) in self.wrapped(says, margin).iter().enumerate() {
            let name = if number == 0 { name } else { "" };
            let line = self.screen.paint(meaning, line);
            self.lines.push(format!("{name:<margin$}{line}"));
        }
    }

    /// The head of a part.
    pub(in crate::cli) fn head(&mut self, head: &str) {
        self.lines.push(String::new());
        self.lines.push(head.to_owned());
    }

    /// A line of a part.
    pub(in crate::cli) fn line(&mut self, says: &str) {
        const INDENT: usize = 2;
        let lines = self.wrapped(says, INDENT);
        self.lines.extend(lines.iter().map(|line| format!("{:INDENT$}{line}", "")));
    }

    /// A line that is never wrapped: something to copy.
    pub(in crate::cli) fn command(&mut self, command: &str) {
        self.lines.push(format!("  {command}"));
    }

    /// A part that is a table; nothing, where it has no rows.
    pub(in crate::cli) fn table(&mut self, columns: &[Column<'_>], rows: &[Vec<Cell>]) {
        if !rows.is_empty() {
            self.lines.push(String::new());
            self.lines.extend(lines(columns, rows, self.screen));
        }
    }

    /// Shows it.
    pub(in crate::cli) fn show(self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        self.lines.iter().try_for_each(|line| writeln!(out, "{}", line.trim_end()))
    }

    /// A text in lines that fit behind a margin.
    fn wrapped(&self, text: &str, margin: usize) -> Vec<String> {
        match self.screen.width() {
            Some(width) => wrap(text, width.saturating_sub(margin).max(NARROWEST)),
            None => vec![text.to_owned()],
        }
    }
}

/// A text in lines of at most so many columns, broken between words; a word that is longer, within it.
pub(in crate::cli) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split(' ') {
        let needs = word.width() + usize::from(used > 0);
        if used > 0 && used + needs > width {
            lines.push(String::new());
            used = 0;
        } else if used > 0 {
            lines.last_mut().expect("there is one").push(' ');
            used += 1;
        }
        for c in word.chars() {
            let wide = c.width().unwrap_or(0);
            if used + wide > width {
                lines.push(String::new());
                used = 0;
            }
            lines.last_mut().expect("there is one").push(c);
            used += wide;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    #[test]
    fn a_text_is_broken_between_words() {
        for (text, width, expected) in [
            ("", 20, vec![""]),
            ("one two three", 20, vec!["one two three"]),
            ("one two three", 8, vec!["one two", "three"]),
            ("one two three", 7, vec!["one two", "three"]),
            ("abcdefghij kl", 4, vec!["abcd", "efgh", "ij", "kl"]),
            ("世界 世界", 5, vec!["世界", "世界"]),
            ("a  b", 20, vec!["a  b"]),
        ] {
            assert_eq!(wrap(text, width), expected, "{text:?} in {width}");
        }
    }

    #[test]
    fn a_long_fact_goes_on_below_itself_on_a_terminal_only() {
        let says = "the tests of the wiki do not pass any more";
        for (width, expected) in [
            (Some(40), vec!["reason      the tests of the wiki do not", "            pass any more"]),
            (Some(80), vec!["reason      the tests of the wiki do not pass any more"]),
            (None, vec!["reason      the tests of the wiki do not pass any more"]),
        ] {
            let screen = Screen::fixed(width, false, TimeZone::UTC, "2026-11-26T21:00:00Z");
            let mut page = Page::new(&screen);
            page.fact("reason", says);
            page.fact("nothing", "");
            assert_eq!(page.lines, expected, "{width:?}");
            let mut page = Page::new(&screen);
            page.fact("record 12345", says);
            assert!(page.lines.iter().all(|line| line.width() <= width.unwrap_or(80)), "{:?}", page.lines);
            let beginning = |line: &String| {
                line.get(..13).is_some_and(|name| name.trim_end() == "record 12345" || name.trim().is_empty())
            };
            assert!(page.lines.iter().all(beginning), "{:?}", page.lines);
        }
    }
}
