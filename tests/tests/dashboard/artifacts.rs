//! What a mission left, shown as what it is: Markdown, patches, images; and none of it as more than that.

use serde_json::{Value, json};
use sortie_tests::{Node, automation};

use crate::browser::{Browser, text};
use crate::markup;
use sortie_tests::payloads::PAYLOADS;

/// A mission that leaves these files, under these names.
fn leaving(id: &str, files: &[(String, String)]) -> Value {
    let steps = files.iter().enumerate().map(|(no, (name, content))| {
        let path = format!("f{no}");
        // What would be a comment of a template is none.
        let content = content.replace("{#", "{{ '{#' }}");
        json!({"id": format!("s{no}"), "tool": "Write", "with": {"path": path, "content": content}, "artifact": {"name": name, "path": path}})
    });
    automation(id, &steps.collect())
}

fn file(name: &str, content: &str) -> (String, String) {
    (name.to_owned(), content.to_owned())
}

#[tokio::test]
async fn markdown_is_rendered_with_links_and_images_of_its_own_mission() {
    let node = Node::start().await;
    let report = "# Report\n\nSee [the plan](plan.md), [a page](https://a.example/x), ![a chart](../chart.gif) and \
                  ![a spy](https://evil.example/x.png).\n\n| a | b |\n|--:|---|\n| 1 | 2 |\n\n    code <b>\n";
    let files = [file("docs/report.md", report), file("docs/plan.md", "plan"), file("chart.gif", "GIF89a rest")];
    node.run(&leaving("left", &files)).await;
    let browser = Browser::signed_in(&node, node.token()).await;
    let page = browser.page("/missions/left/files/docs/report.md").await;
    markup::is_ours("report", &page);
    markup::is_readable("report", &page);
    assert_eq!(text(&page, ".markdown h2"), "Report");
    let link = |selector: &str, key: &str| page.select(selector).attr(key).map(|value| value.to_string());
    assert_eq!(link(".markdown a[href^='/']", "href").as_deref(), Some("/missions/left/files/docs/plan.md"));
    assert_eq!(link(".markdown a[href^=https]", "rel").as_deref(), Some("noopener noreferrer nofollow"));
    assert_eq!(page.select(".markdown img").nodes().len(), 1, "nothing is fetched from elsewhere");
    let image = link(".markdown img", "src").expect("an address");
    assert_eq!(
        (image.as_str(), link(".markdown img", "alt").as_deref()),
        ("/missions/left/images/chart.gif", Some("a chart"))
    );
    assert!(text(&page, ".markdown").contains("a spy (https://evil.example/x.png)"));
    assert_eq!(text(&page, ".markdown td"), "12");
    let got = browser.get(&image).await.expect_status(200);
    assert_eq!(
        (got.header("content-type"), got.header("content-security-policy")),
        ("image/gif", "sandbox; default-src 'none'")
    );
    assert_eq!(got.text, "GIF89a rest");
    // The same as it was written.
    let raw = browser.page("/missions/left/files/docs/report.md?as=text").await;
    assert_eq!(text(&raw, "pre.text"), report);
    // On the page of the mission, and on one of its own.
    let mission = browser.page("/missions/left").await;
    assert_eq!(
        mission.select("[aria-labelledby=artifacts] img[src='/missions/left/images/chart.gif']").nodes().len(),
        1
    );
    let own = browser.page("/missions/left/files/chart.gif").await;
    markup::is_ours("image", &own);
    assert_eq!(own.select("main img").nodes().len(), 1);
    browser.get("/missions/left/files/gone.gif").await.expect_status(404);
    browser.get("/missions/left/images/gone.gif").await.expect_status(404);
    browser.get("/missions/left/files/docs/report.md?as=text&x=1").await.expect_status(400);
    Browser::stranger(&node).get(&image).await.expect_status(303);
}

#[tokio::test]
async fn what_is_called_an_image_and_is_none_is_not_sent() {
    let node = Node::start().await;
    let svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" onload=\"alert(1)\"/>";
    let files =
        [file("a.png", svg), file("b.svg", svg), file("c.gif", "<html><script>alert(1)</script>"), file("d.png", "")];
    node.run(&leaving("lies", &files)).await;
    let browser = Browser::signed_in(&node, node.token()).await;
    for name in ["a.png", "b.svg", "c.gif", "d.png"] {
        let answer = browser.get(&format!("/missions/lies/images/{name}")).await.expect_status(400);
        assert!(answer.header("content-type").starts_with("text/html") && !answer.text.contains("<svg"), "{answer:#?}");
        markup::is_ours(name, &dom_query::Document::from(answer.text));
    }
    let mission = browser.page("/missions/lies").await;
    assert!(!mission.select("img[src$='.svg']").exists(), "an SVG is a document, and never shown");
}

/// What would run if a text in Markdown could make it.
const MARKED_UP: [&str; 22] = [
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](java\nscript:alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](\u{1}javascript:alert(1))",
    "[x](data:text/html,<script>alert(1)</script>)",
    "[x](vbscript:x)",
    "[x](/signout)",
    "[x](//evil.example)",
    "[x](https://a.example/\"onmouseover=\"alert(1))",
    "[x](https://a.example 'a\"onmouseover=alert(1) b')",
    "![x](javascript:alert(1))",
    "![x\"onerror=alert(1) \"](a.gif)",
    "![x](a.gif \"t\" onerror=alert(1))",
    "![x](//evil.example/x.png)",
    "<javascript:alert(1)>",
    "[x]\n\n[x]: javascript:alert(1)",
    "[<img src=x onerror=alert(1)>](a.gif)",
    "``` \"><script>alert(1)</script>\nx\n```",
    "| <script>alert(1)</script> |\n|:-:|\n| <img src=x onerror=alert(1)> |",
    "- <details open ontoggle=alert(1)>\n\n> <svg onload=alert(1)>",
    "# <a href=javascript:alert(1)>x</a> {#id onclick=alert(1)}",
];

#[tokio::test]
async fn nothing_in_a_text_becomes_more_than_markup_of_text() {
    let node = Node::start().await;
    let all: Vec<&str> = PAYLOADS.iter().chain(&MARKED_UP).copied().collect();
    let mut files: Vec<(String, String)> = all
        .iter()
        .enumerate()
        .map(|(no, payload)| (format!("{no}.md"), format!("a\n\n{payload}\n\nb {payload}\n")))
        .collect();
    files.push(file("a.gif", "GIF89a"));
    // What is called so, too.
    files.push(file("\" onerror=alert(1) x=\".gif", "GIF89a"));
    files.push(file("names.md", "![x](<\" onerror=alert(1) x=\".gif>) [y](<\" onerror=alert(1) x=\".gif>)"));
    for (no, files) in files.chunks(20).enumerate() {
        let id = format!("x{no}");
        let ended = node.run(&leaving(&id, files)).await;
        assert_eq!(ended["status"], "completed", "{ended:#}");
    }
    let browser = Browser::signed_in(&node, node.token()).await;
    for (no, (name, content)) in files.iter().enumerate().filter(|(_, (name, _))| name.ends_with(".md")) {
        let path = format!("/missions/x{}/files/{name}", no / 20);
        let page = browser.page(&path).await;
        markup::is_ours(content, &page);
        assert!(text(&page, ".markdown").contains('a') || name == "names.md", "{content}");
        for image in &page.select(".markdown img") {
            let address = image.attr("src").expect("an address").to_string();
            browser.get(&address).await.expect_status(200);
        }
    }
    markup::is_ours("the list", &browser.page(&format!("/missions/x{}", (files.len() - 1) / 20)).await);
}
