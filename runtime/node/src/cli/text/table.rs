//! Tables that fit. On a terminal the widest cells are cut, and columns that can be done without are left out; elsewhere a table is
//! whole, however wide that is.
//!
//! Our own, because of what is asked of it: a name that somebody copies is never cut, the least needed column goes first, and
//! colours have no width.

use std::io::{self, Write as _};

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::screen::{Meaning, Screen};

/// Between two columns.
const GAP: usize = 2;

/// What a column that has to stay is cut to at last.
const BARE: usize = 9;

/// A column, and what may be done to it where there is no room.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) struct Column<'h> {
    head: &'h str,
    /// It is cut to no less than this while a column can be left out instead; nothing, where it is never cut.
    least: Option<usize>,
    /// Whether it may be left out. The last of those goes first.
    is_spare: bool,
}

impl<'h> Column<'h> {
    /// One that is always whole: what somebody copies.
    pub(in crate::cli) const fn whole(head: &'h str) -> Self {
        Self { head, least: None, is_spare: false }
    }

    /// One that may be cut to so many columns.
    pub(in crate::cli) const fn cut(head: &'h str, least: usize) -> Self {
        Self { head, least: Some(least), is_spare: false }
    }

    /// The same, and it may be left out.
    pub(in crate::cli) const fn spare(self) -> Self {
        Self { is_spare: true, ..self }
    }

    /// The fewest columns that it can do with.
    fn narrowest(&self, natural: usize) -> usize {
        self.least.map_or(natural, |least| least.max(self.head.width()).min(natural))
    }
}

/// What stands in a row and a column.
#[derive(Debug, Clone, Default)]
pub(in crate::cli) struct Cell {
    text: String,
    meaning: Meaning,
}

impl Cell {
    /// A text that means something.
    pub(in crate::cli) fn new(text: String, meaning: Meaning) -> Self {
        Self { text, meaning }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self { text, meaning: Meaning::Plain }
    }
}

/// Prints rows below the heads of their columns.
pub(in crate::cli) fn table(columns: &[Column<'_>], rows: &[Vec<Cell>], screen: &Screen) -> io::Result<()> {
    let mut out = io::stdout().lock();
    lines(columns, rows, screen).iter().try_for_each(|line| writeln!(out, "{line}"))
}

/// The lines of a table.
pub(in crate::cli) fn lines(columns: &[Column<'_>], rows: &[Vec<Cell>], screen: &Screen) -> Vec<String> {
    let natural = |(index, column): (usize, &Column<'_>)| {
        let cells = rows.iter().filter_map(|row| row.get(index)).map(|cell| cell.text.width());
        cells.chain([column.head.width()]).max().unwrap_or(0)
    };
    let natural: Vec<usize> = columns.iter().enumerate().map(natural).collect();
    let widths: Vec<Option<usize>> = match screen.width() {
        Some(room) => {
            let says_something =
                |index: usize| rows.iter().any(|row| row.get(index).is_some_and(|cell| !cell.text.is_empty()));
            let kept = (0..columns.len()).map(|index| !columns[index].is_spare || says_something(index)).collect();
            fitted(columns, &natural, kept, room)
        }
        None => natural.into_iter().map(Some).collect(),
    };
    let heads: Vec<Cell> = columns.iter().map(|column| column.head.to_owned().into()).collect();
    let line = |row: &Vec<Cell>| {
        let mut line = String::new();
        let mut behind = 0;
        for (cell, width) in row.iter().zip(&widths) {
            let Some(width) = *width else { continue };
            let text = cut(&cell.text, width);
            if !text.is_empty() {
                line.push_str(&" ".repeat(behind));
                behind = 0;
            }
            line.push_str(&screen.paint(cell.meaning, &text));
            behind += width.saturating_sub(text.width()) + GAP;
        }
        line
    };
    std::iter::once(&heads).chain(rows).map(line).collect()
}

/// How wide each column is; nothing where it is left out.
fn fitted(columns: &[Column<'_>], natural: &[usize], mut kept: Vec<bool>, room: usize) -> Vec<Option<usize>> {
    let total = |widths: &[usize], kept: &[bool]| {
        let widths = widths.iter().zip(kept).filter(|(_, kept)| **kept).map(|(width, _)| width + GAP);
        widths.sum::<usize>().saturating_sub(GAP)
    };
    let narrowest: Vec<usize> =
        columns.iter().zip(natural).map(|(column, natural)| column.narrowest(*natural)).collect();
    while total(&narrowest, &kept) > room {
        let Some(least_needed) = (0..columns.len()).rev().find(|&index| kept[index] && columns[index].is_spare) else {
            break;
        };
        kept[least_needed] = false;
    }
    let mut widths: Vec<usize> =
        natural.iter().zip(&narrowest).map(|(natural, narrowest)| (*natural).min(room).max(*narrowest)).collect();
    // One step at a time, the widest first: so the room is shared by those that want most. Where that is not enough, those that have to
    // stay get as little as still shows that there is something.
    let bare = columns.iter().zip(&narrowest).map(|(column, narrowest)| match column.least {
        Some(_) => (*narrowest).min(BARE.max(column.head.width())),
        None => *narrowest,
    });
    for floor in [narrowest.clone(), bare.collect()] {
        while total(&widths, &kept) > room {
            let shrinkable = (0..columns.len()).filter(|&index| kept[index] && widths[index] > floor[index]);
            let Some(widest) = shrinkable.max_by_key(|&index| widths[index]) else { break };
            widths[widest] -= 1;
        }
    }
    widths.into_iter().zip(kept).map(|(width, kept)| kept.then_some(width)).collect()
}

/// The beginning of a text that fits into so many columns, with a mark where that is not all.
pub(in crate::cli) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut shown = String::new();
    let mut left = width.saturating_sub(1);
    for c in text.chars() {
        let Some(rest) = left.checked_sub(c.width().unwrap_or(0)) else { break };
        left = rest;
        shown.push(c);
    }
    let shown = shown.trim_end();
    format!("{shown}…")
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    const COLUMNS: [Column<'static>; 5] = [
        Column::whole("MISSION"),
        Column::whole("STATUS"),
        Column::cut("LANE", 8).spare(),
        Column::whole("NOTE").spare(),
        Column::cut("SUMMARY", 10).spare(),
    ];

    fn shown(width: Option<usize>) -> Vec<String> {
        let row = |cells: [&str; 5], meaning| {
            let mut row: Vec<Cell> = cells.iter().map(|cell| Cell::from((*cell).to_owned())).collect();
            row[1].meaning = meaning;
            row
        };
        let rows = [
            row(
                [
                    "nightly-wiki-2026-11-26",
                    "failed",
                    "runtime.coder.external",
                    "",
                    "the tests of the wiki do not pass any more",
                ],
                Meaning::Bad,
            ),
            row(["世界", "queued", "r", "", ""], Meaning::Quiet),
        ];
        let colours = width.is_some();
        lines(&COLUMNS, &rows, &Screen::fixed(width, colours, TimeZone::UTC, "2026-11-26T21:00:00Z"))
    }

    #[test]
    fn a_table_fits_its_terminal() {
        let bad = |text: &str| format!("\u{1b}[31m{text}\u{1b}[0m");
        let quiet = |text: &str| format!("\u{1b}[2m{text}\u{1b}[0m");
        let (failed, queued) = (bad("failed"), quiet("queued"));
        for (width, expected) in [
            (
                40,
                vec![
                    "MISSION                  STATUS".to_owned(),
                    format!("nightly-wiki-2026-11-26  {failed}"),
                    format!("世界                     {queued}"),
                ],
            ),
            (
                80,
                vec![
                    "MISSION                  STATUS  LANE                    SUMMARY".to_owned(),
                    format!("nightly-wiki-2026-11-26  {failed}  runtime.coder.external  the tests of the wiki…"),
                    format!("世界                     {queued}  r"),
                ],
            ),
            (
                120,
                vec![
                    "MISSION                  STATUS  LANE                    SUMMARY".to_owned(),
                    format!(
                        "nightly-wiki-2026-11-26  {failed}  runtime.coder.external  the tests of the wiki do not pass any more"
                    ),
                    format!("世界                     {queued}  r"),
                ],
            ),
        ] {
            assert_eq!(shown(Some(width)), expected, "{width} columns");
        }
    }

    #[test]
    fn no_line_is_wider_than_its_terminal() {
        for width in 33..200 {
            for line in shown(Some(width)) {
                let plain =
                    ["\u{1b}[31m", "\u{1b}[2m", "\u{1b}[0m"].iter().fold(line, |line, code| line.replace(code, ""));
                assert!(plain.width() <= width, "{width} columns: {plain:?}");
            }
        }
    }

    #[test]
    fn a_file_gets_everything() {
        assert_eq!(
            shown(None),
            [
                "MISSION                  STATUS  LANE                    NOTE  SUMMARY",
                "nightly-wiki-2026-11-26  failed  runtime.coder.external        the tests of the wiki do not pass any more",
                "世界                     queued  r",
            ]
        );
    }

    #[test]
    fn a_text_is_cut_by_what_it_takes_on_the_screen() {
        for (text, width, expected) in [
            ("abc", 3, "abc"),
            ("abcd", 3, "ab…"),
            ("ab cd", 4, "ab…"),
            ("世界世界", 8, "世界世界"),
            ("世界世界", 7, "世界世…"),
            ("世界世界", 6, "世界…"),
            ("e\u{301}e\u{301}e\u{301}", 2, "e\u{301}…"),
        ] {
            assert_eq!(cut(text, width), expected, "{text:?} in {width}");
        }
    }
}
