//! A mission is forked from a place of its record, with other inputs, by mouse and without scripts.

use serde_json::json;
use sortie_tests::envelope::{automation, write};
use sortie_tests::{Chromium, Look, Node};

use crate::{OPERATOR, options};

/// A mission that wrote two files.
async fn wrote(node: &Node) {
    node.run(&automation("night", &json!([write("one", "one.txt", "one"), write("two", "two.txt", "two")]))).await;
}

/// The fork that the page shows, once it has ended.
async fn shown(node: &Node, browser: &Chromium) -> serde_json::Value {
    let path = browser.js("return location.pathname", &[]).await;
    let id = path.as_str().and_then(|path| path.strip_prefix("/missions/")).expect("a mission's page").to_owned();
    assert!(id.starts_with("night.fork-"), "{id}");
    node.until_final(&id).await;
    node.mission(&id).await
}

#[tokio::test]
async fn a_mission_is_forked_from_a_place_of_its_record() {
    let node = options().start().await;
    wrote(&node).await;
    for scripts in [true, false] {
        let browser = Chromium::start().await;
        browser.set_scripts(scripts).await;
        browser.sign_in(&node, OPERATOR).await;
        browser.go(&format!("{}/missions/night?at=5", node.url())).await;
        browser.click("a[href='/missions/night/fork?record=5']").await;
        browser.until_says("h1", "Fork night").await;
        // Enter in a field makes no mission.
        browser.click("#at").await;
        browser.press("\u{e007}").await;
        browser.until_says("h1", "Fork night").await;
        // What cannot be is said, and what was written stays.
        browser.write("#inputs", "{\"steps\": [").await;
        browser.click("main form button.primary").await;
        browser.until_says(".notice.bad", "must be a JSON object").await;
        let steps = json!({"steps": [write("one", "one.txt", "one"), write("two", "two.txt", "otherwise")]});
        browser.write("#inputs", &steps.to_string()).await;
        browser.click("main form button.primary").await;
        browser.until_says("main", "A fork of night").await;
        let fork = shown(&node, &browser).await;
        assert_eq!(
            (&fork["status"], &fork["forked_from"]["mission_id"]),
            (&json!("completed"), &json!("night")),
            "{fork:#}"
        );
    }
    let browser = Chromium::start().await;
    browser.sign_in(&node, OPERATOR).await;
    browser.go(&format!("{}/missions/night/replay", node.url())).await;
    browser.click("main form button[type=submit]").await;
    browser.until_says("#verdict", "same").await;
    // Each form makes one.
    let forks = node.get("/v1/missions?q=night.fork").await.json["items"].as_array().map(Vec::len);
    assert_eq!(forks, Some(2));
    let who = node.get("/v1/actions").await.json["items"][0].clone();
    assert_eq!(
        (&who["what"], &who["subject"], &who["by"]),
        (&json!("fork"), &json!("night"), &json!("ada")),
        "{who:#}"
    );
}

#[tokio::test]
async fn several_are_forked_once_by_two_presses() {
    let node = options().start().await;
    wrote(&node).await;
    node.run(&automation("day", &json!([write("one", "one.txt", "one")]))).await;
    for (width, presses) in [(1_400, 2), (360, 1)] {
        let browser = Chromium::start().await;
        browser.look(Look { width, is_dark: false }).await;
        browser.sign_in(&node, OPERATOR).await;
        browser.go(&format!("{}/missions", node.url())).await;
        for id in ["night", "day"] {
            browser.click(&format!("#mark-{id}")).await;
        }
        let script = "const button = document.querySelector('#several button[value=fork]'); \
            for (let press = 0; press < arguments[0]; press += 1) button.click();";
        browser.js(script, &[json!(presses)]).await;
        browser.until_says(".notice.good", "night: its fork night.fork-").await;
        browser.until_says(".notice.good", "day: its fork day.fork-").await;
    }
    for id in ["night", "day"] {
        let forks = node.get(&format!("/v1/missions?q={id}.fork")).await.json["items"].as_array().map(Vec::len);
        assert_eq!(forks, Some(2), "one of each form");
    }
}
