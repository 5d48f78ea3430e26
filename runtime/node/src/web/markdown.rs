//! Markdown of missions as HTML: what the writer marked up, and nothing that could do anything.
//!
//! HTML within a text is shown as text. A link leads to another artifact of the same mission or, marked as foreign, to an address of the web;
//! an image is an artifact of the same mission: nothing is ever fetched from elsewhere. What else a text names is told in words.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use maud::{Escaper, html};
use pulldown_cmark::{Event, HeadingLevel, LinkType, Options, Parser, Tag, TagEnd};
use url::Url;

use super::files::below;
use super::text::{block, plain};

/// Where the artifacts of a mission are, as far as addresses in its texts are concerned: nobody is asked there.
const HERE: &str = "http://artifacts.invalid/";

/// Most links and images of a text that lead somewhere; of the others the words are shown. A report has dozens.
const POINTERS_MAX: usize = 2_000;

/// What a text may point at: the artifacts of its mission.
pub(super) struct Around<'a> {
    mission_id: &'a str,
    here: Option<Url>,
    /// Where the text itself is: what it names is beside it.
    own: Option<Url>,
    /// The names of all, by their paths.
    names: BTreeMap<String, &'a str>,
}

/// Where something of a text leads.
#[derive(Debug, PartialEq, Eq)]
enum Target<'a> {
    /// To this artifact.
    Own(&'a str),
    /// Elsewhere: to an address as a browser would read it, too.
    Foreign(String),
    Nowhere,
}

impl<'a> Around<'a> {
    /// Of the text of that name, of a mission that has artifacts of these names.
    pub(super) fn new(mission_id: &'a str, name: &str, names: impl IntoIterator<Item = &'a str>) -> Self {
        let here = Url::parse(HERE).ok();
        let place = |name: &str| here.as_ref().and_then(|here| here.join(&below(&[], name)).ok());
        let own = place(name);
        let names = names.into_iter().filter_map(|name| Some((place(name)?.path().to_owned(), name))).collect();
        Self { mission_id, here, own, names }
    }

    fn target(&self, address: &str) -> Target<'a> {
        let (Some(here), Some(own)) = (&self.here, &self.own) else { return Target::Nowhere };
        let Ok(url) = own.join(address) else { return Target::Nowhere };
        if url.host_str() == here.host_str() && url.scheme() == here.scheme() {
            return self.names.get(url.path()).map_or(Target::Nowhere, |name| Target::Own(name));
        }
        match url.scheme() {
            "http" | "https" | "mailto" => Target::Foreign(url.into()),
            _ => Target::Nowhere,
        }
    }

    fn page(&self, kind: &str, name: &str) -> String {
        below(&["missions", self.mission_id, kind], name)
    }
}

/// The HTML of a Markdown text.
pub(super) fn rendered(text: &str, around: &Around<'_>) -> String {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH;
    let mut events = Events { around, level: 1, open: Vec::new(), image: None, pointers: 0 };
    let mut html = String::with_capacity(text.len() * 3 / 2);
    pulldown_cmark::html::push_html(&mut html, Parser::new_ext(text, options).filter_map(|event| events.ours(event)));
    html
}

/// A pass over the events of a text.
struct Events<'a> {
    around: &'a Around<'a>,
    /// The level of the heading before: the page's own is 1.
    level: u8,
    /// What ends the links and headings that are open.
    open: Vec<String>,
    /// The image that is open: its address, its words so far, and how many elements within it are open.
    image: Option<(String, String, usize)>,
    /// Links and images so far.
    pointers: usize,
}

impl<'a> Events<'a> {
    /// What becomes of an event.
    fn ours<'e>(&mut self, event: Event<'e>) -> Option<Event<'e>> {
        if self.image.is_some() {
            return self.of_image(&event);
        }
        Some(match event {
            Event::Start(tag) => return self.start(tag),
            Event::End(TagEnd::Link | TagEnd::Heading(_)) => markup(self.open.pop().unwrap_or_default()),
            Event::End(TagEnd::Table) => markup("</tbody></table></div>".to_owned()),
            Event::End(TagEnd::CodeBlock) => markup("</code></pre>".to_owned()),
            // The blocks are of its parts, which are texts.
            Event::End(TagEnd::HtmlBlock) => Event::End(TagEnd::Paragraph),
            Event::Html(text) | Event::InlineHtml(text) | Event::Text(text) => Event::Text(block(&text).into()),
            Event::Code(text) => Event::Code(block(&text).into()),
            other => other,
        })
    }

    fn start<'e>(&mut self, tag: Tag<'e>) -> Option<Event<'e>> {
        Some(match tag {
            Tag::HtmlBlock => Event::Start(Tag::Paragraph),
            Tag::Heading { level, .. } => {
                // Below the heading of the page, and no level left out.
                self.level = (level as u8 + 1).min(self.level + 1).min(HeadingLevel::H6 as u8);
                self.open.push(format!("</h{}>\n", self.level));
                markup(format!("<h{}>", self.level))
            }
            Tag::Link { link_type, dest_url, .. } => {
                let address = match link_type {
                    LinkType::Email => format!("mailto:{dest_url}"),
                    _ => dest_url.into_string(),
                };
                let (begins, ends) = self.link(&address);
                self.open.push(ends);
                markup(begins)
            }
            Tag::Image { dest_url, .. } => {
                self.image = Some((dest_url.into_string(), String::new(), 0));
                return None;
            }
            // Without its columns: how each is aligned would be a style of the cells' own.
            Tag::Table(_) => {
                let begins = "<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"Table\"><table>";
                markup(begins.to_owned())
            }
            Tag::CodeBlock(_) => markup("<pre tabindex=\"0\" role=\"region\" aria-label=\"Code\"><code>".to_owned()),
            other => Event::Start(other),
        })
    }

    /// Where the next link or image leads: nowhere, once there were enough of them.
    fn target(&mut self, address: &str) -> Target<'a> {
        self.pointers += 1;
        if self.pointers > POINTERS_MAX { Target::Nowhere } else { self.around.target(address) }
    }

    /// How a link begins and ends.
    fn link(&mut self, address: &str) -> (String, String) {
        match self.target(address) {
            Target::Own(name) => {
                (format!("<a href=\"{}\">", escaped(&self.around.page("files", name))), "</a>".to_owned())
            }
            Target::Foreign(url) => {
                // What follows the words says where they lead: words can say anything.
                let begins = format!("<a href=\"{}\" rel=\"noopener noreferrer nofollow\">", escaped(&url));
                let host = Url::parse(&url).ok().and_then(|url| url.host_str().map(str::to_owned));
                let told = host.map_or_else(String::new, |host| {
                    format!(" <span class=\"dim\">({})</span>", escaped(&plain(&host)))
                });
                (begins, format!("</a>{told}"))
            }
            Target::Nowhere => (String::new(), format!(" <span class=\"dim\">({})</span>", escaped(&plain(address)))),
        }
    }

    /// Within an image only its words count.
    fn of_image<'e>(&mut self, event: &Event<'e>) -> Option<Event<'e>> {
        let (address, words, within) = self.image.as_mut()?;
        match event {
            Event::Start(_) => *within += 1,
            Event::End(_) if *within > 0 => *within -= 1,
            Event::End(_) => {
                let (address, words) = (std::mem::take(address), std::mem::take(words));
                self.image = None;
                return Some(markup(self.image(&address, &words)));
            }
            Event::Text(text) | Event::Code(text) | Event::Html(text) | Event::InlineHtml(text) => words.push_str(text),
            Event::SoftBreak | Event::HardBreak => words.push(' '),
            _ => {}
        }
        None
    }

    fn image(&mut self, address: &str, words: &str) -> String {
        match self.target(address) {
            Target::Own(name) if super::files::is_image(name) => {
                html! { img src=(self.around.page("images", name)) alt=(plain(words)) loading="lazy"; }.into_string()
            }
            Target::Own(_) | Target::Foreign(_) | Target::Nowhere => {
                html! { span class="dim" { "[image: " (plain(words)) " (" (plain(address)) ")]" } }.into_string()
            }
        }
    }
}

/// Markup of ours.
fn markup<'e>(html: String) -> Event<'e> {
    Event::InlineHtml(html.into())
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let _ = Escaper::new(&mut escaped).write_str(text);
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 5] = ["docs/report.md", "docs/plan.md", "docs/a b.png", "top.png", "evil.svg"];

    fn html(text: &str) -> String {
        rendered(text, &Around::new("m/1", "docs/report.md", NAMES)).trim().to_owned()
    }

    #[test]
    fn what_is_marked_up_is_shown_and_html_is_text() {
        for (text, expected) in [
            ("a *b* **c** ~~d~~ `e<`", "<p>a <em>b</em> <strong>c</strong> <del>d</del> <code>e&lt;</code></p>"),
            ("# One\n#### Four", "<h2>One</h2>\n<h3>Four</h3>"),
            ("<script>alert(1)</script>", "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>"),
            ("a <b onclick=x>b</b>", "<p>a &lt;b onclick=x&gt;b&lt;/b&gt;</p>"),
            ("3. a\n4. b", "<ol start=\"3\">\n<li>a</li>\n<li>b</li>\n</ol>"),
            (
                "``` x\" onload=\n<b>\n```",
                "<pre tabindex=\"0\" role=\"region\" aria-label=\"Code\"><code>&lt;b&gt;\n</code></pre>",
            ),
            ("a\u{202e}b", "<p>a\\u{202e}b</p>"),
        ] {
            assert_eq!(html(text), expected, "{text}");
        }
        let table = html("| a | b |\n|:--|--:|\n| 1 | 2 |");
        assert!(table.contains("<th>a</th>") && table.contains("<td>2</td>") && !table.contains("style"), "{table}");
    }

    #[test]
    fn a_text_points_at_its_own_mission_or_is_marked_as_foreign() {
        let around = Around::new("m", "docs/report.md", NAMES);
        for (address, expected) in [
            ("plan.md", Target::Own("docs/plan.md")),
            ("./plan.md#part", Target::Own("docs/plan.md")),
            ("../top.png", Target::Own("top.png")),
            ("/top.png", Target::Own("top.png")),
            ("a%20b.png", Target::Own("docs/a b.png")),
            ("a b.png", Target::Own("docs/a b.png")),
            ("gone.md", Target::Nowhere),
            ("/signout", Target::Nowhere),
            ("https://a.example/x", Target::Foreign("https://a.example/x".to_owned())),
            ("//evil.example/plan.md", Target::Foreign("http://evil.example/plan.md".to_owned())),
            ("\\\\evil.example/x", Target::Foreign("http://evil.example/x".to_owned())),
            ("mailto:a@b.example", Target::Foreign("mailto:a@b.example".to_owned())),
            ("javascript:alert(1)", Target::Nowhere),
            ("java\nscript:alert(1)", Target::Nowhere),
            (" JaVaScRiPt:alert(1)", Target::Nowhere),
            ("data:text/html,x", Target::Nowhere),
            ("vbscript:x", Target::Nowhere),
            ("file:///etc/passwd", Target::Nowhere),
            ("http://[", Target::Nowhere),
        ] {
            assert_eq!(around.target(address), expected, "{address:?}");
        }
    }

    #[test]
    fn links_and_images_are_ours_or_told_in_words() {
        for (text, expected) in [
            ("[x](plan.md)", "<p><a href=\"/missions/m%2F1/files/docs/plan.md\">x</a></p>"),
            (
                "[x](https://a.example/?a=1&b=\"2)",
                "<p><a href=\"https://a.example/?a=1&amp;b=%222\" rel=\"noopener noreferrer nofollow\">x</a> <span class=\"dim\">(a.example)</span></p>",
            ),
            ("[x](javascript:alert(1))", "<p>x <span class=\"dim\">(javascript:alert(1))</span></p>"),
            (
                "![a \"b\" *c*](<a b.png>)",
                "<p><img src=\"/missions/m%2F1/images/docs/a%20b.png\" alt=\"a &quot;b&quot; c\" loading=\"lazy\"></p>",
            ),
            (
                "![x](https://evil.example/x.png)",
                "<p><span class=\"dim\">[image: x (https://evil.example/x.png)]</span></p>",
            ),
            ("![x](/evil.svg)", "<p><span class=\"dim\">[image: x (/evil.svg)]</span></p>"),
            ("![a![b](c)d](top.png)", "<p><span class=\"dim\">[image: abd (top.png)]</span></p>"),
            (
                "[![x](../top.png)](plan.md)",
                "<p><a href=\"/missions/m%2F1/files/docs/plan.md\"><img src=\"/missions/m%2F1/images/top.png\" alt=\"x\" loading=\"lazy\"></a></p>",
            ),
        ] {
            assert_eq!(html(text), expected, "{text}");
        }
        let many = html(&"[x](plan.md) ".repeat(POINTERS_MAX + 1));
        assert_eq!(many.matches("<a ").count(), POINTERS_MAX, "a text has no end of them");
    }
}
