//! What forms do, and which are not taken: of others, of another session, of who may not.

use serde_json::{Value, json};
use sortie_tests::envelope::{with, writing};
use sortie_tests::{Node, Options, automation, http, workspace_of};

use crate::browser::{Browser, OPERATOR, READER, options, text};

fn asking(id: &str) -> Value {
    with(writing(id), "/constraints/approval_required", json!(["Write"]))
}

async fn blocked(node: &Node, id: &str) {
    node.until_status(id, "blocked").await;
}

#[tokio::test]
async fn a_form_of_others_does_nothing() {
    let node = options().start().await;
    node.accept(&asking("ask")).await;
    blocked(&node, "ask").await;
    let browser = Browser::signed_in(&node, OPERATOR).await;
    let (own, other) = (browser.form_key().await, Browser::signed_in(&node, OPERATOR).await.form_key().await);
    assert_ne!(own, other);
    for path in ["/missions/ask/requests/r1", "/missions/ask/cancel", "/inbox", "/signout"] {
        let fields = [("decision", "approve"), ("item", "ask/r1"), ("reason", "x")];
        for key in [None, Some(""), Some("0"), Some(other.as_str()), Some(&own[1..])] {
            let mut fields = fields.to_vec();
            fields.extend(key.map(|key| ("form_key", key)));
            let answer = browser.post(path, &fields).await;
            assert_eq!(answer.status, 403, "{path} with {key:?}: {answer:#?}");
        }
        // With the right key, from a page of others.
        let mut fields = fields.to_vec();
        fields.push(("form_key", &own));
        for (name, value) in [
            ("origin", "http://evil.example"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            let form = browser.bare_form(path, &fields).header(name, value);
            let answer = http::send(form).await.expect("an answer");
            assert_eq!(answer.status, 403, "{path} {name}: {value}: {answer:#?}");
        }
        // And as something that a form of others may send, but no page of ours.
        let body = format!("{{\"form_key\":\"{own}\"}}");
        let json = browser.request("POST", path).header("content-type", "text/plain").body(body);
        http::send(json).await.expect("an answer").expect_status(400);
    }
    let signin = browser.bare_form("/signin", &[("token", READER)]).header("origin", "http://evil.example");
    http::send(signin).await.expect("an answer").expect_status(403);
    blocked(&node, "ask").await;
    browser.get("/").await.expect_status(200);
    // The same with all that it needs.
    let fields = [("decision", "approve"), ("form_key", own.as_str())];
    browser.post("/missions/ask/requests/r1", &fields).await.expect_status(303);
    assert_eq!(node.until_final("ask").await["status"], "completed");
}

#[tokio::test]
async fn who_may_only_read_sees_no_buttons_and_a_forged_one_is_refused() {
    let node = options().start().await;
    node.accept(&asking("ask")).await;
    blocked(&node, "ask").await;
    let browser = Browser::signed_in(&node, READER).await;
    let inbox = browser.page("/inbox").await;
    assert!(text(&inbox, "main").contains("note.txt"), "it may see what is asked");
    assert!(!inbox.select("main form, main button, main input").exists(), "{}", inbox.select("main").html());
    assert!(!browser.page("/missions/ask").await.select("main form[method=post]").exists());
    for (path, fields) in [
        ("/missions/ask/requests/r1", [("decision", "approve"), ("item", "")]),
        ("/missions/ask/requests/r1", [("decision", "deny"), ("item", "")]),
        ("/inbox", [("decision", "approve"), ("item", "ask/r1")]),
        ("/missions/ask/cancel", [("reason", "x"), ("item", "")]),
    ] {
        let answer = browser.send(path, &fields).await.expect_status(403);
        assert!(answer.text.contains("has not the scope"), "{path}: {}", answer.text);
    }
    blocked(&node, "ask").await;
}

#[tokio::test]
async fn a_token_that_may_not_read_is_shown_nothing() {
    let config = "[[token]]\nname = \"BLIND\"\nref = \"env://BLIND\"\nscopes = [\"operate\", \"dispatch\"]\n";
    let node = Options::new().config(config).env("BLIND", "a-token-that-sees-nothing").start().await;
    node.run(&writing("done")).await;
    let browser = Browser::signed_in(&node, "a-token-that-sees-nothing").await;
    for path in [
        "/",
        "/inbox",
        "/missions",
        "/missions/done",
        "/missions/done/files/a",
        "/missions/done/fork",
        "/schedules",
        "/node",
        "/live",
    ] {
        let answer = browser.get(path).await.expect_status(403);
        assert!(answer.text.contains("has not the scope"), "{path}: {}", answer.text);
        assert!(!answer.text.contains("note.txt"), "{path}");
    }
}

#[tokio::test]
async fn a_call_is_approved_with_other_arguments() {
    let node = options().start().await;
    node.accept(&asking("amend")).await;
    blocked(&node, "amend").await;
    let browser = Browser::signed_in(&node, OPERATOR).await;
    // The form shows what the plugin wanted, as it can be sent back.
    let page = browser.page("/inbox").await;
    let shown: Value = serde_json::from_str(&text(&page, "textarea[name=arguments]")).expect("JSON");
    assert_eq!(shown, json!({"path": "note.txt", "content": "written"}));
    let path = "/missions/amend/requests/r1";
    for (arguments, status, says) in [
        ("{", 400, "must be JSON"),
        ("{\"path\":\"a\",\"path\":\"b\",\"content\":\"\"}", 400, "must be JSON"),
        ("{\"path\":1,\"content\":\"x\"}", 422, "/arguments/path"),
    ] {
        let answer = browser.send(path, &[("decision", "amend"), ("arguments", arguments)]).await.expect_status(status);
        assert!(answer.text.contains(says), "{arguments}: {}", answer.text);
        blocked(&node, "amend").await;
    }
    let other = "{\"path\":\"other.txt\",\"content\":\"changed\"}";
    browser.send(path, &[("decision", "amend"), ("arguments", other), ("note", "better")]).await.expect_status(303);
    assert_eq!(node.until_final("amend").await["status"], "completed");
    let workspace = workspace_of(&node, "vp.amend");
    assert_eq!(std::fs::read_to_string(workspace.join("other.txt")).expect("it was written"), "changed");
    let journal = node.get("/v1/missions/amend/journal").await.json["items"].to_string();
    assert!(journal.contains("\"by\":\"OPERATOR\"") && journal.contains("better"), "{journal}");
}

#[tokio::test]
async fn enter_in_a_field_decides_nothing() {
    let node = options().config("[tool.Glob]\ncost_usd = 0.01\n").start().await;
    node.accept(&asking("enter")).await;
    node.accept(&automation("asks", &json!([{"id": "q", "tool": "ask", "with": {"question": "Which?"}}]))).await;
    let steps = json!([{"id": "f", "tool": "Glob", "with": {"pattern": "*"}}]);
    node.accept(&with(automation("pays", &steps), "/budget", json!({"max_cost_usd": 0.005}))).await;
    for id in ["enter", "asks", "pays"] {
        blocked(&node, id).await;
    }
    let browser = Browser::signed_in(&node, OPERATOR).await;
    let (page, mission) = (browser.page("/inbox").await, browser.page("/missions/enter").await);
    let cancel = mission.select("form.decide button").first();
    assert!(cancel.attr("disabled").is_some() && cancel.attr("value").is_some_and(|value| value.is_empty()));
    let forms = page.select("form.decide");
    assert_eq!(forms.nodes().len(), 5, "two of the call, one of the question, of the budget, of several");
    for form in &forms {
        // The button that a browser presses then: the first that sends the form.
        let buttons = form.select("button:not([type=button]), input[type=submit]");
        let first = buttons.nodes().first().expect("a button");
        let said = (first.attr("name"), first.attr("value"));
        let (name, value) = (said.0.as_deref(), said.1.as_deref());
        assert_eq!((name, value), (Some("decision"), Some("")), "{}", form.html());
        assert!(first.attr("disabled").is_some(), "it is pressed, and sends the form: {}", form.html());
        let action = form.attr("action").expect("an action").to_string();
        assert!(!form.select("input[name=decision]").exists(), "{}", form.html());
        let fields = [("note", "fine"), ("item", "enter/r1"), ("decision", ""), ("text", "x"), ("arguments", "{}")];
        let answer = browser.send(&action, &fields).await.expect_status(400);
        assert!(answer.text.contains("say what you decide"), "{action}: {}", answer.text);
    }
    for id in ["enter", "asks", "pays"] {
        blocked(&node, id).await;
    }
}

#[tokio::test]
async fn lines_of_an_answer_end_as_they_do_elsewhere() {
    let node = options().start().await;
    let steps = json!([
        {"id": "q", "tool": "ask", "with": {"question": "Which?"}},
        {"id": "w", "tool": "Write", "with": {"path": "a.txt", "content": "{{ steps.q.result }}"}, "artifact": "a.txt"},
    ]);
    node.accept(&automation("lines", &steps)).await;
    blocked(&node, "lines").await;
    let browser = Browser::signed_in(&node, OPERATOR).await;
    let answer = [("decision", "answer"), ("text", "one\r\ntwo")];
    browser.send("/missions/lines/requests/r1", &answer).await.expect_status(303);
    node.until_final("lines").await;
    let got = browser.get("/missions/lines/download/a.txt").await.expect_status(200).text;
    assert!(got.contains("one") && got.contains("two") && !got.contains('\r') && !got.contains("\\r"), "{got:?}");
}

#[tokio::test]
async fn a_decision_that_comes_too_late_is_told_kindly() {
    let node = options().start().await;
    node.accept(&asking("late")).await;
    blocked(&node, "late").await;
    let browser = Browser::signed_in(&node, OPERATOR).await;
    let path = "/missions/late/requests/r1";
    browser.send(path, &[("decision", "approve")]).await.expect_status(303);
    assert!(text(&browser.page("/inbox").await, ".notice.good").contains("late r1: approved"));
    node.until_final("late").await;
    browser.send(path, &[("decision", "deny")]).await.expect_status(303);
    let notice = text(&browser.page("/inbox").await, ".notice.bad");
    assert!(notice.contains("late r1: nothing was changed"), "{notice}");
    assert_eq!(text(&browser.page("/inbox").await, ".notice"), "", "it is told once");
    // A part of an open page that is fetched anew does not take it away from the page that one is shown.
    browser.send(path, &[("decision", "deny")]).await.expect_status(303);
    let part = browser.request("GET", "/inbox").header("hx-request", "true");
    let part = http::send(part).await.expect("an answer").expect_status(200);
    assert_eq!(text(&dom_query::Document::from(part.text), ".notice"), "");
    assert!(text(&browser.page("/inbox").await, ".notice.bad").contains("late r1"));
}

#[tokio::test]
async fn several_are_decided_at_once() {
    let node = options().start().await;
    for id in ["one", "two", "three"] {
        node.accept(&asking(id)).await;
        blocked(&node, id).await;
    }
    let browser = Browser::signed_in(&node, OPERATOR).await;
    assert_eq!(browser.page("/inbox").await.select("input[type=checkbox]").nodes().len(), 3);
    browser.send("/inbox", &[("decision", "approve")]).await.expect_status(400);
    let fields =
        [("decision", "approve"), ("item", "one/r1"), ("item", "gone/r1"), ("item", "two/r1"), ("note", "both")];
    browser.send("/inbox", &fields).await.expect_status(303);
    let notice = text(&browser.page("/inbox").await, ".notice");
    for says in ["one r1: approved", "two r1: approved", "gone r1: nothing was changed"] {
        assert!(notice.contains(says), "{notice}");
    }
    for id in ["one", "two"] {
        assert_eq!(node.until_final(id).await["status"], "completed");
    }
    blocked(&node, "three").await;
}

#[tokio::test]
async fn a_question_is_answered() {
    let node = options().start().await;
    let steps = json!([
        {"id": "q", "tool": "ask", "with": {"question": "Which <b>one</b>?"}},
        {"id": "w", "tool": "Write", "with": {"path": "a.txt", "content": "{{ steps.q.result }}"}, "artifact": "a.txt"},
    ]);
    node.accept(&automation("question", &steps)).await;
    blocked(&node, "question").await;
    let browser = Browser::signed_in(&node, OPERATOR).await;
    assert_eq!(text(&browser.page("/inbox").await, ".question"), "Which <b>one</b>?");
    browser
        .send("/missions/question/requests/r1", &[("decision", "answer"), ("text", "this one")])
        .await
        .expect_status(303);
    assert_eq!(node.until_final("question").await["status"], "completed");
    let got = browser.get("/missions/question/download/a.txt").await.expect_status(200).text;
    assert!(got.contains("this one"), "{got}");
}
