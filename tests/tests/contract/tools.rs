//! Tool names, patterns, effect classes; and what the built-in tools do.

use serde_json::{Value, json};
use sortie_tests::envelope::{with, write};
use sortie_tests::{Node, Options, Receiver, automation};

/// Whether a mission with these constraints may write.
async fn writes(node: &Node, id: &str, constraints: Value) -> bool {
    let envelope = with(automation(id, &json!([write("w", "out.txt", "x")])), "/constraints", constraints);
    let end = node.run(&envelope).await;
    let written = workspace_file(node, id, "out.txt");
    assert_eq!(end["status"] == "completed", written, "a refused call does nothing, a granted one does: {end:#}");
    if !written {
        assert_eq!(end["status"], "failed");
        assert!(end["detail"]["reason"].is_string());
    }
    written
}

/// Whether some workspace of the mission's VP holds the file; which folder that is, is the node's business.
fn workspace_file(node: &Node, mission: &str, name: &str) -> bool {
    let mut folders = vec![node.data()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.ends_with(name) && path.to_string_lossy().contains(mission) {
                return true;
            }
        }
    }
    false
}

#[tokio::test]
async fn a_tool_is_granted_by_allowed_unless_forbidden_or_held() {
    let node = Node::start().await;
    let rows = [
        ("absent", json!({}), false),
        ("empty", json!({"allowed_tools": []}), false),
        ("named", json!({"allowed_tools": ["Write"]}), true),
        ("other", json!({"allowed_tools": ["Read"]}), false),
        ("case", json!({"allowed_tools": ["wRITE"]}), true),
        ("star", json!({"allowed_tools": ["*"]}), true),
        ("part", json!({"allowed_tools": ["Wri*"]}), true),
        ("forbidden", json!({"allowed_tools": ["*"], "forbidden_tools": ["write"]}), false),
        ("forbidden-star", json!({"allowed_tools": ["Write"], "forbidden_tools": ["W*"]}), false),
        ("approval-other", json!({"allowed_tools": ["Write"], "approval_required": ["money_movement"]}), true),
        ("approval-alone", json!({"approval_required": ["Write"]}), false),
        // Misspelt: covers every tool without a declared class, and `Write` has one.
        ("approval-misspelt", json!({"allowed_tools": ["Write"], "approval_required": ["outbuond_email"]}), true),
    ];
    for (id, constraints, granted) in rows {
        assert_eq!(writes(&node, id, constraints.clone()).await, granted, "{id}: {constraints}");
    }
}

#[tokio::test]
async fn a_scope_says_which_calls() {
    let node = Node::start().await;
    let rows = [
        ("scope-in", json!({"allowed_tools": ["Write(*.txt)"]}), true),
        ("scope-out", json!({"allowed_tools": ["Write(reports/**)"]}), false),
        ("scope-other-tool", json!({"allowed_tools": ["Edit(**)"]}), false),
        ("scope-forbidden", json!({"allowed_tools": ["*"], "forbidden_tools": ["Write(OUT.*)"]}), false),
        ("scope-forbidden-other", json!({"allowed_tools": ["*"], "forbidden_tools": ["Write(secret/**)"]}), true),
        ("scope-held-other", json!({"allowed_tools": ["*"], "approval_required": ["Write(secret/**)"]}), true),
    ];
    for (id, constraints, granted) in rows {
        assert_eq!(writes(&node, id, constraints.clone()).await, granted, "{id}: {constraints}");
    }
    let held = json!({"allowed_tools": ["*"], "approval_required": ["Write(out.*)"]});
    node.dispatch(&with(automation("scope-held", &json!([write("w", "out.txt", "x")])), "/constraints", held))
        .await
        .expect_status(202);
    let state = node.until_status("scope-held", "blocked").await;
    assert!(state["pending_requests"][0]["question"].to_string().contains("`Write(out.*)`"), "{state:#}");
}

#[tokio::test]
async fn a_scope_that_nobody_can_read_is_refused_at_its_place() {
    let node = Node::start().await;
    for (list, entry, code, told) in [
        ("allowed_tools", "Bash(git diff", "invalid_pattern", "not closed"),
        ("forbidden_tools", "Bash(a; b)", "invalid_pattern", "`;`"),
        ("approval_required", "outbound_email(x)", "invalid_pattern", "effect class"),
        ("allowed_tools", "WebSearch(x)", "invalid_pattern", "knows no scope"),
        ("allowed_tools", "Read(/etc/**)", "invalid_pattern", "absolute"),
        ("allowed_tools", "Wriet(docs/**)", "misspelt_tool", "`Write`"),
    ] {
        let envelope =
            with(automation("unread", &json!([write("w", "a", "b")])), "/constraints", json!({list: ["Read", entry]}));
        let problem = node.dispatch(&envelope).await.expect_status(422).json;
        let error = &problem["errors"][0];
        assert_eq!(
            (&error["code"], &error["pointer"]),
            (&json!(code), &json!(format!("/constraints/{list}/1"))),
            "{problem:#}"
        );
        assert!(error["detail"].as_str().is_some_and(|detail| detail.contains(told)), "{problem:#}");
    }
}

#[tokio::test]
async fn a_misspelt_approval_is_warned_of() {
    let node = Node::start().await;
    let constraints = json!({"allowed_tools": ["Read"], "approval_required": ["outbuond_email", "outbound_email"]});
    let answer =
        node.dispatch(&with(automation("misspelt", &json!([write("w", "a", "b")])), "/constraints", constraints)).await;
    let warnings = answer.expect_status(202).json["warnings"].to_string();
    assert!(warnings.contains("outbuond_email") && !warnings.contains("outbound_email"), "{warnings}");
}

#[tokio::test]
async fn the_workspace_has_no_way_out() {
    let node = Node::start().await;
    std::fs::write(node.folder().join("secret.txt"), "secret").expect("a writable folder");
    for (number, path) in ["../secret.txt", "/etc/passwd", "a/../../secret.txt", "..", ""].into_iter().enumerate() {
        for tool in ["Read", "Write"] {
            let id = format!("out-{number}-{tool}");
            let step = match tool {
                "Read" => json!({"id": "x", "tool": tool, "with": {"path": path}}),
                _ => json!({"id": "x", "tool": tool, "with": {"path": path, "content": "mine"}}),
            };
            let end = node.run(&automation(&id, &json!([step]))).await;
            assert_eq!(end["status"], "failed", "{tool} {path}: {end:#}");
        }
    }
    assert_eq!(std::fs::read_to_string(node.folder().join("secret.txt")).expect("still there"), "secret");
}

/// Runs steps whose last writes a rendered text as the artifact `out`, and gives back that text.
async fn rendered(node: &Node, id: &str, steps: &[Value], template: &str) -> String {
    let mut all = steps.to_vec();
    let needs: Vec<&str> = steps.iter().filter_map(|step| step["id"].as_str()).collect();
    let mut last = write("out", "out", template);
    last["needs"] = json!(needs);
    last["artifact"] = json!("out");
    all.push(last);
    let envelope = with(automation(id, &json!(all)), "/constraints/allowed_tools", json!(["*"]));
    let end = node.run(&envelope).await;
    assert_eq!(end["status"], "completed", "{end:#}");
    node.get(&format!("/v1/missions/{id}/artifacts/out")).await.expect_status(200).text
}

#[tokio::test]
async fn the_workspace_tools_do_what_they_say() {
    let node = Node::start().await;
    let text = "one\ntwo\nthree two\n";
    let files = [write("w1", "notes/a.txt", text), write("w2", "notes/b.md", "two"), write("w3", "c.txt", "")];
    let step =
        |id: &str, tool: &str, with: Value| json!({"id": id, "tool": tool, "with": with, "needs": ["w1", "w2", "w3"]});
    let mut steps = files.to_vec();
    steps.extend([
        step("read", "Read", json!({"path": "notes/a.txt"})),
        step("glob", "Glob", json!({"pattern": "notes/*"})),
        step("grep", "Grep", json!({"pattern": "tw.", "path": "notes", "glob": "*.txt"})),
    ]);
    let template = "{{ steps.w1.result.path }} {{ steps.w1.result.bytes }} {{ steps.read.result.bytes }} \
                    {{ steps.read.result.truncated }} {{ steps.glob.result.paths | join(',') }} \
                    {{ steps.grep.result.matches | length }} {{ steps.grep.result.matches[1].line }} \
                    {{ steps.grep.result.matches[1].text }}";
    let out = rendered(&node, "workspace", &steps, template).await;
    assert_eq!(out.to_lowercase(), "notes/a.txt 18 18 false notes/a.txt,notes/b.md 2 3 three two");

    let edit = [
        write("w", "e.txt", "a b a"),
        json!({"id": "e", "tool": "Edit", "with": {"path": "e.txt", "old": "a", "new": "c", "all": true}, "needs": ["w"]}),
        json!({"id": "r", "tool": "Read", "with": {"path": "e.txt"}, "needs": ["e"]}),
    ];
    let out = rendered(&node, "edit", &edit, "{{ steps.e.result.replaced }} {{ steps.r.result.content }}").await;
    assert_eq!(out, "2 c b c");
}

#[tokio::test]
async fn web_fetch_goes_only_where_the_configuration_lets_it() {
    let server = Receiver::start().await;
    let address = server.host();
    let config = format!("[tool.WebFetch]\nhosts = [\"{address}\"]\nallow_private = [\"127.0.0.1\"]");
    let node = Options::new().config(&config).start().await;
    let fetch = |url: &str| json!({"id": "f", "tool": "WebFetch", "with": {"url": url}});
    let out =
        rendered(&node, "fetch", &[fetch(&format!("http://{address}/page"))], "{{ steps.f.result.status | string }}")
            .await;
    assert_eq!(out, "200");
    assert_eq!(server.received()[0].path, "/page");

    let other = Receiver::start().await;
    for (number, url) in
        [other.url(), "http://169.254.169.254/".to_owned(), "file:///etc/passwd".to_owned()].iter().enumerate()
    {
        let envelope = automation(&format!("refused-{number}"), &json!([fetch(url)]));
        let end = node.run(&with(envelope, "/constraints/allowed_tools", json!(["WebFetch"]))).await;
        assert_eq!(end["status"], "failed", "{url}: {end:#}");
    }
    assert!(other.received().is_empty());
}

#[tokio::test]
async fn arguments_are_checked_before_a_call() {
    let node = Node::start().await;
    let step = json!({"id": "x", "tool": "Write", "with": {"path": "a", "content": 7, "mode": "append"}});
    let end = node.run(&automation("arguments", &json!([step]))).await;
    assert_eq!(end["status"], "failed", "{end:#}");
    assert!(!workspace_file(&node, "arguments", "a"));
}

#[tokio::test]
async fn tools_are_listed_with_schema_and_classes() {
    let node = Node::start().await;
    let listed = node.get("/v1/tools").await.expect_status(200).json;
    let tools = listed["items"].as_array().expect("a list");
    for (name, read_only) in
        [("Read", true), ("Glob", true), ("Grep", true), ("WebFetch", true), ("Write", false), ("Edit", false)]
    {
        let tool =
            tools.iter().find(|tool| tool["name"] == name).unwrap_or_else(|| panic!("{name} is missing: {listed:#}"));
        assert_eq!(tool["read_only"], read_only, "{tool:#}");
        assert!(tool["input_schema"].is_object(), "{tool:#}");
        assert_eq!(tool["effects"].to_string().contains("workspace_write"), !read_only, "{tool:#}");
    }
    let request = tools.iter().find(|tool| tool["name"] == "HttpRequest").expect("it is there");
    assert_eq!(request["effects"], json!(["external_side_effect"]), "{request:#}");
    for absent in ["Bash", "WebSearch"] {
        assert!(!tools.iter().any(|tool| tool["name"] == absent), "{absent}: what is not there is not listed");
    }
    assert!(tools.iter().all(|tool| tool["provider"] == "built-in"), "{listed:#}");
    let shown = node.get("/v1/node").await.expect_status(200).json;
    assert_eq!(listed["providers"], shown["providers"]);
    let [provider] = &listed["providers"].as_array().expect("a list")[..] else { panic!("{listed:#}") };
    assert_eq!((&provider["name"], &provider["state"]), (&json!("built-in"), &json!("connected")));
    assert_eq!((&provider["tools"], &provider["left_out"]), (&json!(tools.len()), &json!([])));
    let metrics = node.get("/metrics").await.expect_status(200).text;
    for row in [
        format!("sortie_provider_tools{{provider=\"built-in\"}} {}", tools.len()),
        "sortie_provider_up{provider=\"built-in\"} 1".to_owned(),
    ] {
        assert!(metrics.contains(&row), "{row}: {metrics}");
    }
}
