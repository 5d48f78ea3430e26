//! A page: its headings, its links, and where those lead.

use std::collections::{BTreeMap, BTreeSet};

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// A page that was read.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    /// Its path in the workspace.
    pub(crate) path: String,
    /// Its text.
    pub(crate) text: String,
    /// What links can name in it.
    pub(crate) anchors: BTreeSet<String>,
    /// Its links, each once, in order.
    pub(crate) links: Vec<Link>,
}

/// A link as it is written, with the line that it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) written: String,
    pub(crate) line: usize,
    pub(crate) to: Target,
}

/// Where a link leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// To a web page.
    Web(String),
    /// To a file or folder of the workspace, and a place in it.
    File { path: String, anchor: Option<String> },
    /// Out of the workspace.
    Outside,
    /// To something that nobody here can look at: mail, a template.
    Other,
}

impl Page {
    /// Reads a page.
    pub(crate) fn new(path: &str, text: String) -> Self {
        let (mut anchors, mut slugs): (BTreeSet<String>, BTreeMap<String, usize>) = Default::default();
        let mut links: Vec<Link> = Vec::new();
        let mut written: BTreeSet<String> = BTreeSet::new();
        // Whoever writes a page must not be able to make this long: lines are counted once.
        let (mut line, mut counted) = (1, 0);
        let mut heading: Option<String> = None;
        for (event, range) in Parser::new_ext(&text, options()).into_offset_iter() {
            match event {
                Event::Start(Tag::Heading { id, .. }) => {
                    anchors.extend(id.map(|id| id.to_string()));
                    heading = Some(String::new());
                }
                Event::End(TagEnd::Heading(_)) => {
                    let slug = slug(&heading.take().unwrap_or_default());
                    let before = slugs.entry(slug.clone()).or_default();
                    anchors.insert(if *before == 0 { slug } else { format!("{slug}-{before}") });
                    *before += 1;
                }
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    line += text.get(counted..range.start).map_or(0, |more| more.matches('\n').count());
                    counted = counted.max(range.start);
                    if written.insert(dest_url.to_string()) {
                        links.push(Link { written: dest_url.to_string(), line, to: target(path, &dest_url) });
                    }
                }
                Event::Text(part) | Event::Code(part) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&part);
                    }
                }
                Event::Html(html) | Event::InlineHtml(html) => anchors.extend(ids(&html)),
                _ => {}
            }
        }
        Self { path: path.to_owned(), text, anchors, links }
    }
}

/// What is read of Markdown.
pub(crate) fn options() -> Options {
    Options::ENABLE_TABLES
        | Options::ENABLE_HEADING_ATTRIBUTES
        | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS
        | Options::ENABLE_PLUSES_DELIMITED_METADATA_BLOCKS
        | Options::ENABLE_FOOTNOTES
}

/// Where a link of the page at `page` leads.
fn target(page: &str, written: &str) -> Target {
    let scheme = written.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
    match scheme.as_deref() {
        Some("http" | "https") => return Target::Web(written.split('#').next().unwrap_or_default().to_owned()),
        Some(scheme)
            if scheme.len() > 1
                && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)) =>
        {
            return Target::Other;
        }
        _ => {}
    }
    if written.starts_with("//") || written.contains("{{") || written.contains("${") || written.is_empty() {
        return Target::Other;
    }
    let (path, anchor) = written.split_once('#').map_or((written, None), |(path, anchor)| (path, Some(anchor)));
    let path = decoded(path.split('?').next().unwrap_or_default());
    let anchor = anchor.filter(|anchor| !anchor.is_empty()).map(decoded);
    if path.is_empty() {
        return Target::File { path: page.to_owned(), anchor };
    }
    let folder = page.rsplit_once('/').map_or("", |(folder, _)| folder);
    // A site's root is the workspace's, as far as anybody can tell.
    let start = if path.starts_with('/') { "" } else { folder };
    let mut parts: Vec<&str> = start.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                if parts.pop().is_none() {
                    return Target::Outside;
                }
            }
            part => parts.push(part),
        }
    }
    Target::File { path: parts.join("/"), anchor }
}

/// What a link on the page at `page` writes to lead to `path`.
pub(crate) fn relative(page: &str, path: &str) -> String {
    let from: Vec<&str> = page.split('/').collect();
    let to: Vec<&str> = path.split('/').collect();
    let folders = from.len() - 1;
    let common = from[..folders].iter().zip(&to[..to.len() - 1]).take_while(|(one, other)| one == other).count();
    let up = std::iter::repeat_n("..", folders - common);
    let parts: Vec<&str> = up.chain(to[common..].iter().copied()).collect();
    parts.join("/").replace(' ', "%20")
}

/// The anchor that forges and site generators give a heading.
fn slug(heading: &str) -> String {
    let mut slug = String::new();
    for character in heading.trim().chars().flat_map(char::to_lowercase) {
        match character {
            ' ' => slug.push('-'),
            '-' | '_' => slug.push(character),
            letter if letter.is_alphanumeric() => slug.push(letter),
            _ => {}
        }
    }
    slug
}

/// Names that a piece of HTML gives its elements.
fn ids(html: &str) -> Vec<String> {
    let mut ids = Vec::new();
    for name in ["id=", "name="] {
        for part in html.split(name).skip(1) {
            let Some(mark) = part.chars().next().filter(|mark| matches!(mark, '"' | '\'')) else { continue };
            ids.extend(part[1..].split(mark).next().map(str::to_owned));
        }
    }
    ids
}

/// Without percent signs.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        let hex = others.get(..2).filter(|_| *first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &others[2..];
            }
            None => {
                bytes.push(*first);
                rest = others;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, anchor: Option<&str>) -> Target {
        Target::File { path: path.to_owned(), anchor: anchor.map(str::to_owned) }
    }

    #[test]
    fn links_lead_somewhere() {
        for (written, expected) in [
            ("b.md", file("docs/b.md", None)),
            ("./sub/../b.md#top", file("docs/b.md", Some("top"))),
            ("../README.md", file("README.md", None)),
            ("/docs/a.md", file("docs/a.md", None)),
            ("#here", file("docs/page.md", Some("here"))),
            ("my%20page.md", file("docs/my page.md", None)),
            ("b.md?plain=1", file("docs/b.md", None)),
            ("../../b.md", Target::Outside),
            ("https://example.org/a#b", Target::Web("https://example.org/a".to_owned())),
            ("mailto:ada@example.org", Target::Other),
            ("//example.org/a", Target::Other),
            ("{{ site.url }}/a", Target::Other),
            ("", Target::Other),
        ] {
            assert_eq!(target("docs/page.md", written), expected, "{written}");
        }
    }

    #[test]
    fn a_page_has_headings_and_links_and_code_has_none() {
        let text = "---\ntitle: no [link](x.md)\n---\n# Was ist `neu`?\n\n## Twice\n## Twice\n## Own {#own-id}\n<a name=\"old\"></a>\n\n\
                    See [one](a.md) and ![two](b.png), <https://example.org>,\nand [three][ref], [again](a.md).\n\n```\n[no](c.md)\n```\n\n[ref]: d.md\n";
        let page = Page::new("docs/page.md", text.to_owned());
        let anchors: Vec<&str> = page.anchors.iter().map(String::as_str).collect();
        assert_eq!(anchors, ["old", "own", "own-id", "twice", "twice-1", "was-ist-neu"]);
        let links: Vec<(&str, usize)> = page.links.iter().map(|link| (link.written.as_str(), link.line)).collect();
        assert_eq!(links, [("a.md", 11), ("b.png", 11), ("https://example.org", 11), ("d.md", 12)]);
    }

    #[test]
    fn a_page_cannot_make_it_long() {
        let text: String = (0..60_000).map(|number| format!("[a]({number})\n")).collect();
        let page = Page::new("docs/page.md", text);
        assert_eq!(page.links.len(), 60_000);
        assert!(page.links.iter().enumerate().all(|(index, link)| link.line == index + 1));
    }

    #[test]
    fn a_way_back_is_written_as_people_do() {
        for (page, path, expected) in [
            ("docs/a.md", "docs/b.md", "b.md"),
            ("docs/a.md", "README.md", "../README.md"),
            ("a.md", "docs/x/b c.md", "docs/x/b%20c.md"),
            ("docs/x/a.md", "docs/y/b.md", "../y/b.md"),
        ] {
            assert_eq!(relative(page, path), expected);
            assert_eq!(target(page, expected), file(path, None));
        }
    }
}
