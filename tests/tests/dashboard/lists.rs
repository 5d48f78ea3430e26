//! What lists do: several missions are forked, plugins are installed and removed.

use dom_query::Document;
use serde_json::{Value, json};
use sortie_tests::envelope::{automation, edit, write, writing};
use sortie_tests::{Answer, Node, guest, http};

use crate::browser::{Browser, OPERATOR, READER, options, text};
use crate::markup;

/// A mission that writes a file and fails at its second step.
async fn failed(node: &Node, id: &str) {
    let mut second = edit("two", "one.txt", "nothing", "x");
    second["needs"] = json!(["one"]);
    let last = node.run(&automation(id, &json!([write("one", "one.txt", "one"), second]))).await;
    assert_eq!(last["status"], "failed", "{last:#}");
}

async fn forks(node: &Node, of: &str) -> Vec<Value> {
    let listed = node.get(&format!("/v1/missions?q={of}.fork")).await.expect_status(200).json;
    listed["items"].as_array().expect("a list").clone()
}

#[tokio::test]
async fn several_are_forked_each_from_its_own_place_and_once_however_often_the_button_is_pressed() {
    let node = options().start().await;
    for id in ["first", "second"] {
        failed(&node, id).await;
    }
    node.run(&writing("good")).await;
    let browser = Browser::signed_in(&node, node.token()).await;
    let page = browser.page("/missions").await;
    markup::is_readable("/missions", &page);
    let key = page.select("#several input[name=key]").attr("value").expect("a key").to_string();
    let marked = ["first", "second", "good", "gone"].map(|id| ("item", id));
    let sent = [("decision", "fork"), ("at", "failure"), ("key", key.as_str())];
    let fields: Vec<(&str, &str)> = sent.into_iter().chain(marked).collect();
    for _ in 0..2 {
        browser.send("/missions", &fields).await.expect_status(303);
        let notice = text(&browser.page("/missions").await, ".notice");
        for id in ["first", "second", "good"] {
            let at = node.get(&format!("/v1/missions/{id}/fork")).await.expect_status(200).json;
            let at = if at["failure"].is_null() { &at["last"] } else { &at["failure"] };
            assert!(notice.contains(&format!("its fork {id}.fork-")), "{notice}");
            assert!(notice.contains(&format!("goes on behind call {at}")), "{id}: {at}: {notice}");
        }
        assert!(notice.contains("gone: nothing was changed"), "{notice}");
    }
    for id in ["first", "second", "good"] {
        let [fork] = forks(&node, id).await.try_into().expect("one fork");
        let fork = fork["mission_id"].as_str().expect("an id").to_owned();
        // The call that failed is made again, and fails again; all that was done is done.
        let expected = if id == "good" { "completed" } else { "failed" };
        assert_eq!(node.until_final(&fork).await["status"], expected);
        let journal = node.get(&format!("/v1/missions/{fork}/journal")).await.json;
        let runs = journal["items"].as_array().expect("records").iter();
        let behind = runs.skip_while(|record| record["kind"] != "started");
        let tools: Vec<&Value> =
            behind.filter(|record| record["kind"] == "call_started").map(|record| &record["body"]["tool"]).collect();
        let made_again: &[&str] = if id == "good" { &[] } else { &["Edit"] };
        assert_eq!(
            tools,
            made_again.iter().map(|tool| json!(tool)).collect::<Vec<_>>().iter().collect::<Vec<_>>(),
            "{id}"
        );
    }
    // From the beginning, under a key of its own; and what is no place is told.
    let anew = [("decision", "fork"), ("at", "0"), ("key", "another"), ("item", "first")];
    browser.send("/missions", &anew).await.expect_status(303);
    assert!(text(&browser.page("/missions").await, ".notice.good").contains("begins anew"));
    assert_eq!(forks(&node, "first").await.len(), 2);
    let wrong = [("decision", "fork"), ("at", "somewhere"), ("key", "k"), ("item", "first")];
    browser.send("/missions", &wrong).await.expect_status(303);
    let notice = text(&browser.page("/missions").await, ".notice.bad");
    assert!(notice.contains("first: nothing was changed") && notice.contains("somewhere"), "{notice}");
    let ids: Vec<String> = (0..11).map(|no| format!("mission-{no}")).collect();
    let many = ids.iter().map(|id| ("item", id.as_str()));
    let many: Vec<(&str, &str)> = [("decision", "fork"), ("at", "0"), ("key", "k")].into_iter().chain(many).collect();
    let refused = browser.send("/missions", &many).await.expect_status(400);
    assert!(refused.text.contains("At most 10"), "{}", refused.text);
    // Who may not dispatch sees no such button, and forges it in vain.
    let operator = Browser::signed_in(&node, OPERATOR).await;
    let page = operator.page("/missions").await;
    assert!(page.select("#several").exists() && !page.select("#several button[value=fork]").exists());
    operator.send("/missions", &fields).await.expect_status(403);
    assert_eq!(forks(&node, "second").await.len(), 1);
}

/// A form with a file, as a browser sends it.
async fn upload(browser: &Browser, parts: &[(&str, Option<&str>, &[u8])]) -> Answer {
    let mut body = Vec::new();
    for (name, file, bytes) in parts {
        let file =
            file.map(|file| format!("; filename=\"{file}\"\r\nContent-Type: application/wasm")).unwrap_or_default();
        body.extend(format!("--frontier\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n").bytes());
        body.extend(*bytes);
        body.extend(b"\r\n");
    }
    body.extend(b"--frontier--\r\n");
    let request = browser.request("POST", "/plugins").header("content-type", "multipart/form-data; boundary=frontier");
    let request = request.header("origin", &browser.origin).header("sec-fetch-site", "same-origin").body(body);
    http::send(request).await.expect("an answer")
}

#[tokio::test]
async fn a_plugin_is_installed_from_a_file_and_removed_by_who_may() {
    let node = options().start().await;
    let browser = Browser::signed_in(&node, node.token()).await;
    let page = browser.page("/plugins").await;
    markup::is_ours("/plugins", &page);
    markup::is_readable("/plugins", &page);
    let form = page.select("form[action='/plugins']");
    assert_eq!(form.attr("enctype").as_deref(), Some("multipart/form-data"));
    // Its key is what comes first: what is behind it is looked at only then.
    assert_eq!(form.select("input").nodes().first().and_then(|input| input.attr("name")).as_deref(), Some("form_key"));
    let key = browser.form_key().await;
    let component = guest::hostile("honest");
    let named = |page: &Document| text(page, "table").contains("hostile");
    let file = |bytes: &'static [u8]| ("component", Some("x.wasm"), bytes);
    for (parts, status) in [
        (vec![file(b"x")], 403),
        (vec![("form_key", None, &b"0"[..]), file(b"x")], 403),
        (vec![file(b"x"), ("form_key", None, key.as_bytes())], 403),
        (vec![("form_key", None, key.as_bytes())], 400),
        (vec![("form_key", None, key.as_bytes()), ("component", Some(""), b"")], 400),
        (vec![("form_key", None, key.as_bytes()), ("other", Some("x.wasm"), b"x")], 400),
        (vec![], 403),
    ] {
        let answer = upload(&browser, &parts).await;
        assert_eq!(answer.status, status, "{parts:?}: {answer:#?}");
    }
    let forged = http::send(browser.bare_form("/plugins", &[("form_key", &key)])).await.expect("an answer");
    assert_eq!(forged.status, 400, "{forged:#?}");
    upload(&browser, &[("form_key", None, key.as_bytes()), file(b"no component")]).await.expect_status(303);
    let page = browser.page("/plugins").await;
    let notice = text(&page, ".notice.bad");
    assert!(notice.contains("The plugin: nothing was changed") && !named(&page), "{notice}");

    let sent = [("form_key", None, key.as_bytes()), ("component", Some("hostile.wasm"), component.as_slice())];
    upload(&browser, &sent).await.expect_status(303);
    let page = browser.page("/plugins").await;
    assert!(text(&page, ".notice.good").contains("is installed") && named(&page), "{}", text(&page, "main"));
    let installed =
        page.select("select[name=plugin] option[value^='hostile@']").attr("value").expect("it can be removed");
    let actions = node.get("/v1/actions").await.json["items"].clone();
    assert_eq!(
        (&actions[0]["what"], &actions[0]["via"]),
        (&json!("install_plugin"), &json!("dashboard")),
        "{actions:#}"
    );

    // One that this node carries comes back, and is not removed; another one is, once.
    let carried = page.select("select[name=plugin] option[value^='hello@']").attr("value").expect("it is carried");
    for (plugin, says) in [
        (carried.as_ref(), "nothing was changed"),
        (installed.as_ref(), "is removed"),
        (installed.as_ref(), "nothing was changed"),
    ] {
        browser.send("/plugins/remove", &[("decision", "remove"), ("plugin", plugin)]).await.expect_status(303);
        let notice = text(&browser.page("/plugins").await, ".notice");
        assert!(notice.contains(plugin) && notice.contains(says), "{notice}");
    }
    assert!(!named(&browser.page("/plugins").await));
    browser.send("/plugins/remove", &[("decision", "remove"), ("plugin", "")]).await.expect_status(400);
    browser.send("/plugins/remove", &[("plugin", &installed)]).await.expect_status(400);

    for token in [READER, OPERATOR] {
        let other = Browser::signed_in(&node, token).await;
        assert!(!other.page("/plugins").await.select("main form").exists());
        let key = other.form_key().await;
        let sent = [("form_key", None, key.as_bytes()), ("component", Some("hostile.wasm"), component.as_slice())];
        upload(&other, &sent).await.expect_status(403);
        other.send("/plugins/remove", &[("decision", "remove"), ("plugin", "hello@1.0.0")]).await.expect_status(403);
    }
    assert!(!named(&browser.page("/plugins").await));
}

#[tokio::test]
async fn the_node_says_how_a_backup_is_made() {
    let node = Node::start().await;
    let page = Browser::signed_in(&node, node.token()).await.page("/node").await;
    assert!(text(&page, "[aria-labelledby=backup]").contains("sortie backup"), "{}", text(&page, "main"));
}
