//! HTML from anybody, rewritten so that what reads it afterwards needs neither a deep stack nor long: well nested, with bounds on depth,
//! without what nobody reads (scripts, styles, forms, pictures made of code), links absolute.
//!
//! One pass over the tokens of the page. Nothing is decided about what of a page matters; text is lost only with the elements that hold
//! no text for readers.

use std::cell::RefCell;
use std::collections::HashMap;
use std::mem::take;

use html5ever::tendril::StrTendril;
use html5ever::tokenizer::states::RawKind;
use html5ever::tokenizer::{BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts};
use sortie_contract::limit;
use url::Url;

/// How deep elements may lie in each other: twice what long pages have. The readers behind this one recurse.
const DEPTH_MAX: usize = 128;

/// How deep lists and quotations may lie in each other: each adds to the beginning of every line inside.
const INDENTED_MAX: usize = 10;

/// Most columns of what is taken for a table.
const COLUMNS_MAX: usize = 64;

/// How many times larger a table may become, when each of its cells is as wide as the widest of its column.
const PADDING_MAX: usize = 16;

/// Longest attribute that is no address, in bytes: classes, descriptions of pictures.
const ATTRIBUTE_BYTES_MAX: usize = 512;

/// The page, rewritten.
pub(super) fn tame(html: &str, base: &Url) -> String {
    let input = BufferQueue::default();
    input.push_back(StrTendril::from(html));
    let tokenizer = Tokenizer::new(Sink(RefCell::new(Page::new(base.clone()))), TokenizerOpts::default());
    // It stops where a script would run; nothing does here.
    while !input.is_empty() {
        let _ = tokenizer.feed(&input);
    }
    tokenizer.end();
    tokenizer.sink.0.into_inner().finish()
}

struct Sink(RefCell<Page>);

impl TokenSink for Sink {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        let mut page = self.0.borrow_mut();
        match token {
            Token::CharacterTokens(text) => page.text(&text),
            Token::TagToken(tag) => match tag.kind {
                TagKind::StartTag => {
                    page.start(&tag);
                    return raw(&tag.name).map_or(TokenSinkResult::Continue, TokenSinkResult::RawData);
                }
                TagKind::EndTag => page.end(&tag.name),
            },
            Token::DoctypeToken(_)
            | Token::CommentToken(_)
            | Token::NullCharacterToken
            | Token::EOFToken
            | Token::ParseError(_) => {}
        }
        TokenSinkResult::Continue
    }
}

/// How the inside of an element is read where it is no markup.
fn raw(name: &str) -> Option<RawKind> {
    match name {
        "title" | "textarea" => Some(RawKind::Rcdata),
        "style" | "xmp" | "iframe" | "noembed" | "noframes" | "noscript" => Some(RawKind::Rawtext),
        "script" => Some(RawKind::ScriptData),
        _ => None,
    }
}

/// What becomes of an element.
#[derive(PartialEq, Eq)]
enum Kind {
    /// Left out with all that is in it.
    Lost,
    /// Its content stays.
    Opened,
    /// Has no content.
    Void,
    /// Stays; one in another of its name says nothing more.
    Once,
    /// Stays.
    Kept,
}

fn kind(name: &str) -> Kind {
    match name {
        "script" | "style" | "iframe" | "noembed" | "noframes" | "noscript" | "textarea" | "svg" | "math"
        | "template" | "select" | "object" | "audio" | "video" | "canvas" => Kind::Lost,
        "br" | "hr" | "img" | "meta" => Kind::Void,
        "strong" | "em" | "code" | "del" => Kind::Once,
        "html" | "head" | "title" | "body" | "main" | "article" | "section" | "div" | "header" | "footer" | "nav"
        | "aside" | "address" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6" | "p" | "ul" | "ol" | "li" | "dl" | "dt"
        | "dd" | "blockquote" | "pre" | "table" | "caption" | "thead" | "tbody" | "tfoot" | "tr" | "th" | "td"
        | "a" | "figure" | "figcaption" | "sup" | "sub" => Kind::Kept,
        _ => Kind::Opened,
    }
}

/// Elements that mean the same have one name.
fn renamed(name: &str) -> &str {
    match name {
        "b" => "strong",
        "i" => "em",
        "s" | "strike" => "del",
        "tt" | "kbd" | "samp" => "code",
        "image" => "img",
        name => name,
    }
}

/// Which open elements an element ends that begins, and beyond which it ends none.
fn ends(name: &str) -> (&'static [&'static str], &'static [&'static str]) {
    const CELL: &[&str] = &["table", "td", "th", "caption"];
    match name {
        "li" => (&["li", "p"], &["ul", "ol", "table", "td", "th"]),
        "dt" | "dd" => (&["dt", "dd", "p"], &["dl", "table", "td", "th"]),
        "td" | "th" => (&["td", "th"], &["table"]),
        "tr" => (&["tr"], &["table"]),
        "thead" | "tbody" | "tfoot" => (&["thead", "tbody", "tfoot", "tr"], &["table"]),
        "a" => (&["a"], CELL),
        "body" => (&["head"], &[]),
        "br" | "img" | "meta" | "strong" | "em" | "code" | "del" | "sup" | "sub" | "html" | "head" | "title" => {
            (&[], &[])
        }
        _ => (&["p", "title"], CELL),
    }
}

fn is_indented(name: &str) -> bool {
    matches!(name, "ul" | "ol" | "blockquote")
}

struct Page {
    base: Url,
    /// The page itself said what it is.
    is_rebased: bool,
    out: String,
    /// The elements that are open, from the outermost.
    open: Vec<String>,
    /// How many of them are lists or quotations.
    indented: usize,
    /// Elements that were left out and whose ends are still to come.
    dropped: HashMap<String, usize>,
    /// What is being left out with all that is in it, and how many of that name are open.
    lost: Option<(String, usize)>,
    tables: Vec<Table>,
}

/// What is known of a table that is open.
struct Table {
    /// Where it begins.
    at: usize,
    rows: usize,
    /// The widest cell of each column, in characters.
    widths: Vec<usize>,
    column: usize,
    /// Of the cell that is open.
    width: usize,
}

impl Table {
    fn end_cell(&mut self) {
        if self.column < COLUMNS_MAX {
            self.widths.resize(self.widths.len().max(self.column + 1), 0);
            self.widths[self.column] = self.widths[self.column].max(self.width);
        }
        self.column += 1;
        self.width = 0;
    }
}

impl Page {
    fn new(base: Url) -> Self {
        Self {
            base,
            is_rebased: false,
            out: String::new(),
            open: Vec::new(),
            indented: 0,
            dropped: HashMap::new(),
            lost: None,
            tables: Vec::new(),
        }
    }

    fn text(&mut self, text: &str) {
        if self.lost.is_some() {
            return;
        }
        if let Some(table) = self.tables.last_mut() {
            table.width += text.chars().count();
        }
        escape(&mut self.out, text);
    }

    fn start(&mut self, tag: &Tag) {
        let name = renamed(&tag.name);
        if let Some((lost, count)) = &mut self.lost {
            // In what is no markup none begins.
            *count += usize::from(lost == name && !tag.self_closing && raw(lost).is_none());
            return;
        }
        if name == "base" {
            self.rebase(tag);
        }
        let kind = kind(name);
        match kind {
            Kind::Opened => return,
            Kind::Lost if tag.self_closing && raw(name).is_none() => return,
            Kind::Lost => {
                self.lost = Some((name.to_owned(), 1));
                return;
            }
            Kind::Void | Kind::Once | Kind::Kept => {}
        }
        let (ended, until) = ends(name);
        for _ in 0..ended.len() {
            let reach = self.open.iter().rev().take_while(|open| !until.contains(&open.as_str()));
            let Some(up) = reach.clone().position(|open| ended.contains(&open.as_str())) else { break };
            self.pop(up + 1);
        }
        if kind == Kind::Void {
            self.emit(name, tag);
            return;
        }
        let is_again = kind == Kind::Once && self.open.iter().any(|open| open == name);
        let is_too_deep = self.open.len() >= DEPTH_MAX || is_indented(name) && self.indented >= INDENTED_MAX;
        if is_again || is_too_deep {
            *self.dropped.entry(name.to_owned()).or_default() += 1;
            return;
        }
        match name {
            "table" => {
                let at = self.out.len();
                self.tables.push(Table { at, rows: 0, widths: Vec::new(), column: 0, width: 0 });
            }
            "tr" => {
                if let Some(table) = self.tables.last_mut() {
                    (table.rows, table.column, table.width) = (table.rows + 1, 0, 0);
                }
            }
            _ => {}
        }
        self.indented += usize::from(is_indented(name));
        self.emit(name, tag);
        self.open.push(name.to_owned());
    }

    fn end(&mut self, name: &str) {
        let name = renamed(name);
        if let Some((lost, count)) = &mut self.lost {
            if lost == name {
                *count -= 1;
                if *count == 0 {
                    self.lost = None;
                }
            }
            return;
        }
        if let Some(count) = self.dropped.get_mut(name).filter(|count| **count > 0) {
            *count -= 1;
            return;
        }
        // What ends inside a cell began there.
        let is_of_table = matches!(name, "table" | "thead" | "tbody" | "tfoot" | "tr" | "td" | "th" | "caption");
        let until: &[&str] = if is_of_table { &[] } else { &["td", "th", "caption", "table"] };
        let mut reach = self.open.iter().rev().take_while(|open| !until.contains(&open.as_str()));
        if let Some(up) = reach.position(|open| open == name) {
            self.pop(up + 1);
        }
    }

    /// Ends so many of the innermost elements.
    fn pop(&mut self, count: usize) {
        for _ in 0..count {
            let Some(name) = self.open.pop() else { return };
            self.out.push_str("</");
            self.out.push_str(&name);
            self.out.push('>');
            self.indented -= usize::from(is_indented(&name));
            match name.as_str() {
                "td" | "th" => {
                    if let Some(table) = self.tables.last_mut() {
                        table.end_cell();
                    }
                }
                "table" => {
                    if let Some(table) = self.tables.pop() {
                        self.end_table(&table);
                    }
                }
                _ => {}
            }
        }
    }

    /// A table in a table is none of its own, and one that would be mostly blanks is none at all: their cells become text.
    fn end_table(&mut self, table: &Table) {
        let bytes = self.out.len() - table.at;
        let padded = table.rows.saturating_mul(table.widths.iter().sum());
        let is_table =
            self.tables.is_empty() && table.widths.len() < COLUMNS_MAX && padded <= bytes.saturating_mul(PADDING_MAX);
        if let Some(outer) = self.tables.last_mut() {
            outer.width += bytes;
        }
        if is_table {
            return;
        }
        let mut inside = self.out.split_off(table.at);
        // They were written here, without attributes; in texts and attributes there is no `<`.
        for name in ["table", "thead", "tbody", "tfoot", "tr", "caption"] {
            inside = inside.replace(&format!("<{name}>"), "<div>").replace(&format!("</{name}>"), "</div>");
        }
        for name in ["td", "th"] {
            inside = inside.replace(&format!("<{name}>"), " ").replace(&format!("</{name}>"), " ");
        }
        self.out.push_str(&inside);
    }

    fn emit(&mut self, name: &str, tag: &Tag) {
        self.out.push('<');
        self.out.push_str(name);
        let is_of_table = matches!(name, "table" | "thead" | "tbody" | "tfoot" | "tr" | "td" | "th" | "caption");
        for attribute in tag.attrs.iter().filter(|_| !is_of_table) {
            let key = &*attribute.name.local;
            let value = match (name, key) {
                ("a", "href") | ("img", "src") => match self.address(&attribute.value) {
                    Some(address) => address,
                    None => continue,
                },
                ("img", "alt")
                | ("ol", "start")
                | ("meta", "name" | "property" | "content")
                | (_, "id" | "class" | "role" | "aria-hidden" | "hidden" | "itemprop" | "rel" | "style") => {
                    limit::clip(&attribute.value, ATTRIBUTE_BYTES_MAX)
                }
                _ => continue,
            };
            self.out.push(' ');
            self.out.push_str(key);
            self.out.push_str("=\"");
            escape(&mut self.out, &value);
            self.out.push('"');
        }
        self.out.push('>');
    }

    /// Links lead from where the page says, the first time that it says so.
    fn rebase(&mut self, tag: &Tag) {
        let href = tag.attrs.iter().find(|attribute| &*attribute.name.local == "href");
        let said = href.filter(|_| !self.is_rebased).and_then(|href| self.address(&href.value)?.parse().ok());
        if let Some(said) = said {
            (self.base, self.is_rebased) = (said, true);
        }
    }

    /// Where a link leads from this page; `None` for what is no place that could be asked (`javascript:`, `data:`).
    fn address(&self, text: &str) -> Option<String> {
        if text.len() > limit::URL_BYTES_MAX {
            return None;
        }
        let address = self.base.join(text.trim()).ok()?;
        let is_place = matches!(address.scheme(), "http" | "https" | "mailto");
        is_place.then(|| address.into()).filter(|address: &String| address.len() <= limit::URL_BYTES_MAX)
    }

    fn finish(mut self) -> String {
        self.pop(self.open.len());
        take(&mut self.out)
    }
}

fn escape(out: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            character => out.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tamed(html: &str) -> String {
        tame(html, &"https://example.org/a/b?c".parse().unwrap())
    }

    #[test]
    fn what_comes_out_is_well_nested_and_has_only_what_is_read() {
        for (html, expected) in [
            ("", ""),
            ("a < b & c", "a &lt; b &amp; c"),
            ("<p>a<p>b", "<p>a</p><p>b</p>"),
            ("<p>a<div>b</p>c</div>", "<p>a</p><div>bc</div>"),
            ("<ul><li>a<li>b<ul><li>c</ul></ul>", "<ul><li>a</li><li>b<ul><li>c</li></ul></li></ul>"),
            ("<dl><dt>a<dd>b<dt>c</dl>", "<dl><dt>a</dt><dd>b</dd><dt>c</dt></dl>"),
            ("<b>a<i>b</b>c</i>", "<strong>a<em>b</em></strong>c"),
            ("<b>a<b>b</b>c</b>d", "<strong>abc</strong>d"),
            ("<div><b>a</div><div>b</b></div>", "<div><strong>a</strong></div><div>b</div>"),
            ("</p></div>a", "a"),
            (
                "<table><tr><th>a<td>b<tr><td>c</div></table>",
                "<table><tr><th>a</th><td>b</td></tr><tr><td>c</td></tr></table>",
            ),
            ("<script>if (a<b) '</p>'</script>x<style>p{}</style>", "x"),
            ("<svg><svg>a</svg>b</svg>c<svg/>d<template>e</template>", "cd"),
            ("<my-thing>a<span>b</span></my-thing><!-- c -->", "ab"),
            ("<title>a<b></title>c", "<title>a&lt;b&gt;</title>c"),
            ("<a href='../x?y=1&amp;z' onclick='z()'>l</a>", "<a href=\"https://example.org/x?y=1&amp;z\">l</a>"),
            (
                "<a href='javascript:alert(1)'>l</a><img src='data:image/png,x' alt='\"<p>\"'>",
                "<a>l</a><img alt=\"&quot;&lt;p&gt;&quot;\">",
            ),
            ("<base href=/c/><base href=/d/><a href=e>l</a>", "<a href=\"https://example.org/c/e\">l</a>"),
            ("<a href=//other.example>m</a>", "<a href=\"https://other.example/\">m</a>"),
        ] {
            assert_eq!(tamed(html), expected, "{html}");
        }
    }

    /// How deep it gets, held against every end.
    fn depth(html: &str) -> usize {
        let (mut open, mut deepest) = (Vec::new(), 0);
        for tag in html.split('<').skip(1) {
            let tag = &tag[..tag.find('>').unwrap()];
            match tag.strip_prefix('/') {
                Some(name) => assert_eq!(open.pop(), Some(name.to_owned())),
                None if kind(tag.split(' ').next().unwrap()) == Kind::Void => {}
                None => open.push(tag.split(' ').next().unwrap().to_owned()),
            }
            deepest = deepest.max(open.len());
        }
        assert!(open.is_empty());
        deepest
    }

    #[test]
    fn no_page_gets_deep_and_no_text_is_lost_for_it() {
        for (opening, closing) in [
            ("<div>", "</div>"),
            ("<div>", ""),
            ("<div>x", "</span>"),
            ("<ul><li>", "</li></ul>"),
            ("<blockquote>", "</blockquote>"),
            ("<table><tr><td>", ""),
            ("<b><p>", "</p>"),
            ("<a href=x><p>", ""),
            ("<b><i><code><div>", "</i>"),
        ] {
            let page = format!("{}text{}", opening.repeat(5_000), closing.repeat(5_000));
            let tamed = tamed(&page);
            assert!(depth(&tamed) <= DEPTH_MAX && tamed.contains("text"), "{opening}");
            assert!(tamed.len() < 4 * page.len() + 4_096, "{opening}: {}", tamed.len());
        }
    }

    #[test]
    fn a_table_that_would_be_mostly_blanks_is_text() {
        let rows = "<tr><td>a</td><td>b</td></tr>".repeat(100);
        let plain = format!("<table><tr><th>A</th><th>B</th></tr>{rows}</table>");
        assert_eq!(tamed(&plain), plain);
        let wide = format!("<table><tr><th>{}</th></tr>{rows}</table>", "A".repeat(10_000));
        assert!(!tamed(&wide).contains("<td>") && tamed(&wide).contains("<div> a  b </div>"));
        let many = format!("<table><tr>{}</tr></table>", "<td>a</td>".repeat(COLUMNS_MAX + 1));
        assert!(!tamed(&many).contains("<td>"));
        let nested = "<table><tr><td><table><tr><td>a</td></tr></table></td></tr></table>";
        assert_eq!(tamed(nested), "<table><tr><td><div><div> a </div></div></td></tr></table>");
    }
}
