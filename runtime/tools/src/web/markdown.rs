//! The readable part of a web page, as Markdown: what its author wrote, without what surrounds it on every page of a site.
//!
//! Where no part can be told from the rest (a list of links, a table of figures, a page of one line), the whole page is taken. Works for
//! as long as a page is large, and no longer than a bound of it allows: ask on a thread that may be held.

use dom_smoothie::{Config, Readability};
use htmd::HtmlToMarkdown;
use sortie_contract::limit;
use url::Url;

use super::tame::tame;

/// Most elements of a page in which a readable part is looked for: far more than an article has. Of a larger one all is taken.
const ELEMENTS_MAX: usize = 50_000;

/// The Markdown of a page, at most [`limit::TEXT_BYTES_MAX`] of it, and whether there was more.
pub(super) fn markdown(html: &str, base: &Url) -> (String, bool) {
    let page = tame(html, base);
    // A class says which language a piece of code is in.
    let config =
        Config { disable_json_ld: true, keep_classes: true, max_elements_to_parse: ELEMENTS_MAX, ..Config::default() };
    let found = Readability::new(page.as_str(), None, Some(config)).ok();
    let title = found.as_ref().map(|found| found.get_article_title().trim().to_owned()).unwrap_or_default();
    let part = found.filter(Readability::is_probably_readable).and_then(|mut found| found.parse().ok());
    let part = part.map(|part| converted(&part.content)).filter(|part| !part.is_empty());
    let body = part.unwrap_or_else(|| converted(&page));
    // What is above an article is no part of it, and whoever reads should know what it is called.
    let is_titled = title.is_empty() || body.lines().any(|line| line.starts_with("# "));
    let all = if is_titled {
        body
    } else {
        format!("# {}\n\n{body}", title.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let end = all.floor_char_boundary(limit::TEXT_BYTES_MAX);
    (all[..end].to_owned(), end < all.len())
}

fn converted(html: &str) -> String {
    let converter = HtmlToMarkdown::builder().skip_tags(vec!["head", "title", "meta"]).build();
    // It fails where its input cannot be read, and this one is in memory.
    converter.convert(html).unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    fn read(html: &str) -> String {
        markdown(html, &"https://example.org/news/1".parse().unwrap()).0
    }

    const STORY: &str = "Most of what a factory does at night is wait, and the rest is to keep count of it, as everybody knows who \
        has spent one there, with a lamp and a list and nothing else to do but to compare the two until the morning comes.";

    fn article() -> String {
        format!(
            "<html><head><title>Night shift</title><style>p {{ color: red }}</style></head><body>
            <nav><ul><li><a href='/'>Home</a></li><li><a href='/about'>About us</a></li></ul></nav>
            <article><h1>Night shift</h1><p>{STORY}</p><h2>Why</h2><p>{STORY} See <a href='../why'>the reasons</a> and <b>count</b>.</p>
            <ul><li>one</li><li>two <i>too</i></li></ul><pre><code class='language-sh'>ls -l\ncat x</code></pre><p>{STORY}</p></article>
            <footer><p>Imprint, cookies, and <a href='/rss'>feeds</a></p></footer><script>track()</script></body></html>"
        )
    }

    #[test]
    fn an_article_is_read_without_what_surrounds_it() {
        let read = read(&article());
        for expected in [
            "# Night shift",
            "## Why",
            STORY,
            "[the reasons](https://example.org/why)",
            "**count**",
            "one",
            "*too*",
            "```sh\nls -l\ncat x\n```",
        ] {
            assert!(read.contains(expected), "{expected} is not in\n{read}");
        }
        for surrounding in ["About us", "Imprint", "track()", "color", "<p>"] {
            assert!(!read.contains(surrounding), "{surrounding} is in\n{read}");
        }
        assert_eq!(read.matches("Night shift").count(), 1, "{read}");
    }

    #[test]
    fn where_no_part_can_be_told_from_the_rest_all_of_it_is_taken() {
        for (html, expected) in [
            ("caf\u{e9}", "caf\u{e9}"),
            ("", ""),
            ("<title>Prices</title><p>of today</p>", "# Prices\n\nof today"),
            (
                "<h1>Links</h1><a href=/a>a</a> <a href=b>b</a>",
                "# Links\n\n[a](https://example.org/a) [b](https://example.org/news/b)",
            ),
            (
                "<table><thead><tr><th>Name</th><th>Price</th></tr></thead><tbody><tr><td>bolt</td><td>2</td></tr></tbody></table>",
                "| Name | Price |\n| ---- | ----- |\n| bolt | 2     |",
            ),
        ] {
            assert_eq!(read(html), expected, "{html}");
        }
    }

    /// Read on a thread with the stack of those that a node does such work on.
    fn read_beside(page: String) -> String {
        let (tell, told) = mpsc::channel();
        let base: Url = "https://example.org/".parse().unwrap();
        let thread = std::thread::Builder::new().stack_size(2 << 20);
        thread.spawn(move || tell.send(markdown(&page, &base).0)).unwrap();
        told.recv_timeout(Duration::from_secs(60)).expect("read in much less than a minute")
    }

    #[test]
    fn hostile_pages_are_read_in_a_moment() {
        let deep = 100_000;
        let wide = format!("<table><tr><th>{}</th></tr>{}", "A".repeat(50_000), "<tr><td>x</td></tr>".repeat(5_000));
        for (page, expected) in [
            (format!("{}deep{}", "<div>".repeat(deep), "</div>".repeat(deep)), "deep"),
            ("<div>x".repeat(deep), "xxx"),
            ("<b><i><a href=x><p>x</p>".repeat(5_000), "[x](https://example.org/x)"),
            ("<table><tr><td>x".repeat(5_000), "x"),
            ("<ul><li>x".repeat(5_000), "x"),
            ("<blockquote>x".repeat(20_000), "> x"),
            (wide, "AAAA"),
            ("<p>x".repeat(20_000), "x\n\nx"),
            ("<br>".repeat(20_000), ""),
            ("<".repeat(20_000), "<<<"),
            ("&#".repeat(20_000), "&#&#"),
            (format!("<div {}>x", "a=b ".repeat(20_000)), "x"),
            (format!("x<!--{}", "<p>y".repeat(100_000)), "x"),
        ] {
            let bytes = page.len();
            let begun = page[..30].to_owned();
            let read = read_beside(page);
            assert!(read.contains(expected), "{begun}: {}", &read[..read.floor_char_boundary(100)]);
            assert!(read.len() <= 6 * bytes, "{begun}: {} of {bytes}", read.len());
        }
    }
}
