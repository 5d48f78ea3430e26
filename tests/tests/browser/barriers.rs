//! What keeps people from a page: colours too close to each other, fields without a name, what only a mouse reaches, what is wider than a phone.

use serde_json::Value;
use sortie_tests::chromium::WIDTHS;
use sortie_tests::showcase::{ASKS_TO_EDIT, CODED, FAILED, OPERATOR, Showcase};
use sortie_tests::{Chromium, Look};

/// Each page of a night that a node has had, with what there is to see on it.
fn pages() -> Vec<String> {
    let lists = [
        "/",
        "/?left=failed",
        "/?date=2026-11-20",
        "/inbox",
        "/missions",
        "/missions?status=completed",
        "/missions?q=nothing",
    ];
    let forms = [
        "/dispatch",
        "/dispatch?plugin=automation",
        "/new-schedule",
        "/schedules/morning-digest",
        "/schedules/morning-digest/edit",
    ];
    let tables = ["/actions", "/schedules", "/sessions", "/deliveries", "/plugins", "/tools", "/models", "/node"];
    let missions = [CODED, ASKS_TO_EDIT, FAILED].map(|id| format!("/missions/{id}"));
    let looks = ["?at=3", "/why", "/fork?record=3", "/replay", "/replay?version=0.1.0"]
        .map(|look| format!("/missions/{FAILED}{look}"));
    let files = ["changes.patch", "transcript.jsonl"].map(|name| format!("/missions/{CODED}/files/{name}"));
    let none = ["/missions/none"];
    let plain = lists.into_iter().chain(tables).chain(forms).chain(none).map(str::to_owned);
    plain.chain(missions).chain(looks).chain(files).collect()
}

#[tokio::test]
async fn no_page_keeps_anybody_out() {
    let night = Showcase::play().await;
    let browser = Chromium::start().await;
    all_are_open_to_all(&night, &browser).await;
    all_is_reached_by_keyboard(&night, &browser).await;
    a_call_is_approved_by_keyboard(&night, &browser).await;
}

/// axe finds nothing, no page is wider than its window, and the browser complains of nothing.
async fn all_are_open_to_all(night: &Showcase, browser: &Chromium) {
    let mut found = Vec::new();
    for (width, is_dark) in [(WIDTHS[1], false), (WIDTHS[0], true)] {
        browser.look(Look { width, is_dark }).await;
        browser.go(&format!("{}/signin", night.node.url())).await;
        found.extend(barriers(browser, "/signin", width).await);
    }
    browser.sign_in(&night.node, OPERATOR).await;
    for path in pages() {
        // Colours are the same at each width, and places in light and dark.
        for (width, is_dark) in [(WIDTHS[1], false), (WIDTHS[0], true)] {
            browser.look(Look { width, is_dark }).await;
            browser.go(&format!("{}{path}", night.node.url())).await;
            browser.js("document.querySelectorAll('details').forEach(one => { one.open = true })", &[]).await;
            found.extend(barriers(browser, &path, width).await);
        }
    }
    assert!(found.is_empty(), "{} barriers:\n{}", found.len(), found.join("\n"));
}

/// What is wrong with the page as it is shown now.
async fn barriers(browser: &Chromium, path: &str, width: u32) -> Vec<String> {
    // A status that is no success is told, too; everything else is none of ours.
    let complaints =
        browser.complaints().await.into_iter().filter(|said| !said.contains("responded with a status of 404"));
    let mut found: Vec<String> = complaints.collect();
    found.extend(browser.axe().await);
    let overflow = browser.overflow().await;
    if overflow > 0 {
        found.push(format!("it is {overflow} pixels wider than its window: {}", widest(browser).await));
    }
    found.into_iter().map(|what| format!("{path} at {width}: {what}")).collect()
}

/// What goes over the edge of the window.
async fn widest(browser: &Chromium) -> Value {
    let script = "const edge = document.documentElement.clientWidth; \
        const over = [...document.querySelectorAll('body *')].filter(one => one.getBoundingClientRect().right > edge + 1 && !one.closest('.wide')); \
        return over.slice(0, 3).map(one => one.outerHTML.slice(0, 200))";
    browser.js(script, &[]).await
}

/// Marks what has the focus; says whether that can be seen, what it is, and whether it was marked before.
const STAND: &str = "const one = document.activeElement; \
    if (!one || one === document.body) return null; \
    const style = getComputedStyle(one); \
    const bar = one.querySelector('.bar'); \
    const isSeen = (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2) \
        || (bar !== null && parseFloat(getComputedStyle(bar).strokeWidth) >= 2); \
    const before = one.hasAttribute('data-reached'); \
    one.setAttribute('data-reached', ''); \
    return [isSeen, one.outerHTML.slice(0, 160), before]";

/// What can be used and was not reached.
const MISSED: &str = "const all = 'a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex=\"0\"]'; \
    const missed = [...document.querySelectorAll(all)].filter(one => !one.disabled && one.tabIndex >= 0 && one.checkVisibility() && !one.hasAttribute('data-reached')); \
    return missed.map(one => one.outerHTML.slice(0, 160))";

/// The keyboard reaches all that a mouse does, and one sees where one is.
async fn all_is_reached_by_keyboard(night: &Showcase, browser: &Chromium) {
    browser.look(Look { width: WIDTHS[1], is_dark: false }).await;
    // Nothing is fetched anew meanwhile: the marks would go with it.
    browser.set_scripts(false).await;
    for path in pages() {
        browser.go(&format!("{}{path}", night.node.url())).await;
        let (mut steps, mut last) = (0, Value::Null);
        loop {
            browser.press("\u{e004}").await;
            let stands = browser.js(STAND, &[]).await;
            // Behind the last one the window itself has the focus, as it may before the first.
            if stands.is_null() && steps == 0 {
                steps += 1;
                continue;
            }
            // A field of a date has a place for each of its parts.
            let is_within = stands[1] == last;
            if stands.is_null() || stands[2] == true && !is_within {
                break;
            }
            last = stands[1].clone();
            assert_eq!(stands[0], true, "{path}: nobody sees that this has the focus: {}", stands[1]);
            steps += 1;
            assert!(steps < 1_000, "{path}: the focus goes round for ever");
        }
        let missed = browser.js(MISSED, &[]).await;
        assert_eq!(missed.as_array().map(Vec::len), Some(0), "{path}: the keyboard does not reach {missed:#}");
    }
    browser.set_scripts(true).await;
}

/// From the door to the decision without a mouse.
async fn a_call_is_approved_by_keyboard(night: &Showcase, browser: &Chromium) {
    browser.click("form.who button").await;
    browser.until_there("#token").await;
    // The field has the focus already; what is written there is sent by Enter.
    browser.press(&format!("{OPERATOR}\u{e007}")).await;
    browser.until_there("header form.who").await;
    let walk_to = async |selector: &str| {
        for _ in 0..200 {
            browser.press("\u{e004}").await;
            let script = "return document.activeElement.matches(arguments[0])";
            if browser.js(script, &[selector.into()]).await == true {
                return;
            }
        }
        panic!("the keyboard does not reach {selector}");
    };
    walk_to("nav a[href='/inbox']").await;
    browser.press("\u{e007}").await;
    browser.until_there("article.request").await;
    walk_to(&format!("article[aria-labelledby='request-{ASKS_TO_EDIT}/r1'] button[value=approve]")).await;
    browser.press("\u{e007}").await;
    browser.until_says(".notice.good", &format!("{ASKS_TO_EDIT} r1: approved")).await;
    night.node.until_final(ASKS_TO_EDIT).await;
}
