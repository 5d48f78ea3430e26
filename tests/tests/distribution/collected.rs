//! What nobody needs any more, and who needs what.

use serde_json::{Value, json};
use sortie_tests::{Node, Options, http, until};

use crate::{done, hello, refused, upload, version};

/// A node with these versions of the plugin, beside the one that it carries.
async fn with_versions(options: Options, versions: &[&str]) -> (Node, Vec<String>) {
    let node = options.start().await;
    let carried = node.get("/v1/plugins").await.json;
    let mut digests = Vec::new();
    for named in versions {
        let answer = upload(&node, version(&node, &carried, named), None).await.expect_status(201);
        digests.push(answer.json["digest"].as_str().expect("a digest").to_owned());
    }
    (node, digests)
}

/// Why versions stay, by name; `gone` for those that go.
fn whys(collected: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |key: &str| collected[key].as_array().expect("a list").clone();
    let gone = list("removed").into_iter().map(|plugin| (text(&plugin["plugin"]), "gone".to_owned()));
    let kept = list("kept").into_iter().map(|plugin| (text(&plugin["plugin"]), text(&plugin["why"])));
    let mut all: Vec<(String, String)> = gone.chain(kept).filter(|(plugin, _)| plugin.starts_with("hello@")).collect();
    all.sort();
    all
}

fn files(node: &Node, digest: &str) -> usize {
    let folders = [node.data().join("plugins"), node.data().join("plugins/compiled")];
    let named = folders.iter().flat_map(|folder| std::fs::read_dir(folder).expect("a folder").flatten());
    named.filter(|entry| entry.file_name().to_string_lossy().starts_with(digest)).count()
}

#[tokio::test]
async fn what_nobody_needs_goes_with_its_files_and_the_rest_stays() {
    let config = r#"
        [plugin]
        "vp.special" = "hello@0.9.3"
        [[hook]]
        name = "ci"
        secret = "env://NOBODY_SIGNS"
        [hook.envelope]
        plugin = "hello@0.9.0"
        objective = "Hello."
        "#;
    let versions = ["0.9.1", "0.9.2", "0.9.3", "0.9.4", "0.9.5", "0.9.6", "0.9.0"];
    let (mut node, digests) = with_versions(Options::new().config(config), &versions).await;
    // One waits, one is over and kept, one is named by a schedule, two by the configuration; 0.9.5 is nobody's, and the newest stays.
    let mut waits = hello("waits", "0.9.1");
    waits["autonomy_window"] = json!({"start_at": "2999-01-01T00:00:00Z"});
    node.accept(&waits).await;
    assert_eq!(node.run(&hello("over", "0.9.2")).await["status"], "completed");
    let mission =
        json!({"vp_id": "vp.planned", "mission_type": "custom", "plugin": "hello@0.9.4", "objective": "Hello."});
    let schedule = json!({"id": "nightly", "zone": "UTC", "at": "0 2 * * *", "mission": mission});
    node.post("/v1/schedules", &schedule).await.expect_status(201);

    let expected = [
        ("hello@0.1.0", "carried"),
        ("hello@0.9.0", "named"),
        ("hello@0.9.1", "held"),
        ("hello@0.9.2", "held"),
        ("hello@0.9.3", "named"),
        ("hello@0.9.4", "named"),
        ("hello@0.9.5", "gone"),
        ("hello@0.9.6", "newest"),
    ];
    let expected: Vec<(String, String)> =
        expected.iter().map(|(plugin, why)| ((*plugin).to_owned(), (*why).to_owned())).collect();
    let shown = done(&node, &["plugin", "gc", "--dry-run"]).await;
    assert!(shown.contains("would go  hello@0.9.5") && shown.contains("stays  hello@0.9.1  held"), "{shown}");
    let tried = node.post("/v1/plugin-gc?dry_run=true", &Value::Null).await.expect_status(200).json;
    assert_eq!(whys(&tried), expected);
    assert!(node.get("/v1/plugins/hello").await.json.to_string().contains("0.9.5"), "nothing is gone yet");
    assert!(!node.get("/v1/actions").await.json.to_string().contains("collect_plugins"));
    let printed = done(&node, &["--json", "plugin", "gc"]).await;
    assert_eq!(whys(&serde_json::from_str(&printed).expect("JSON")), expected);
    node.dispatch(&hello("too-late", "0.9.5")).await.expect_problem(422, "plugin_not_installed");
    assert!(node.get("/v1/actions").await.json.to_string().contains("collect_plugins"));
    assert_eq!(files(&node, &digests[4]), 2, "somebody may have been told of it: its component, and its code");

    // Killed before its files are gone: they go with the next start, and what is needed is there.
    node.kill();
    node.restart().await;
    until("its files are gone", async || (files(&node, &digests[4]) == 0).then_some(())).await;
    for (digest, named) in digests.iter().zip(["0.9.1", "0.9.2", "0.9.3", "0.9.4"]) {
        assert!(files(&node, digest) >= 1, "{named}");
    }
    assert!(node.cli(&["replay", "over"]).await.status.success(), "what is kept can be gone over");
}

#[tokio::test]
async fn what_a_mission_has_is_not_removed_but_by_who_means_it() {
    let (node, _) = with_versions(Options::new(), &["0.9.1", "0.9.2"]).await;
    let mut waits = hello("waits", "0.9.1");
    waits["autonomy_window"] = json!({"start_at": "2999-01-01T00:00:00Z"});
    node.accept(&waits).await;
    let shown = done(&node, &["plugin", "show", "hello"]).await;
    assert!(shown.contains("held by: 1 waiting") && shown.contains("not over: waits"), "{shown}");
    assert!(done(&node, &["plugin", "ls"]).await.contains("1 waiting"));
    let path = "/v1/plugins/hello?version=0.9.1";
    let answer = http::send(node.request("DELETE", path)).await.expect("an answer");
    answer.expect_problem(409, "plugin_held");
    assert_eq!(answer.json["missions"], json!(["waits"]), "{answer:#?}");
    let says = refused(&node, &["plugin", "rm", "hello", "--version", "0.9.1"]).await;
    assert!(says.contains("`waits`") && says.contains("`--force`"), "{says}");
    done(&node, &["plugin", "rm", "hello", "--version", "0.9.2"]).await;
    done(&node, &["plugin", "rm", "hello", "--version", "0.9.1", "--force"]).await;
    node.dispatch(&hello("too-late", "0.9.1")).await.expect_problem(422, "plugin_not_installed");
    assert_eq!(node.mission("waits").await["status"], "queued", "it keeps what it has");
}

/// By itself, after the time that the configuration gives what was replaced.
#[tokio::test]
async fn a_node_collects_by_itself_where_that_is_wanted() {
    let (mut node, digests) = with_versions(Options::new(), &["0.9.1", "0.9.2"]).await;
    for (config, is_gone) in [
        ("", false),
        ("[retention]\nunused_plugins = \"1h\"\n", false),
        ("[retention]\nunused_plugins = \"1ms\"\n", true),
    ] {
        node.kill();
        node.reconfigure(config);
        node.restart().await;
        if is_gone {
            until("it is collected", async || {
                let all = node.get("/v1/plugins/hello").await.json.to_string();
                (!all.contains("0.9.1")).then_some(())
            })
            .await;
        }
        let all = node.get("/v1/plugins/hello").await.json.to_string();
        assert!(all.contains("0.9.2") && all.contains("0.9.1") != is_gone, "{config}: {all}");
    }
    node.kill();
    node.restart().await;
    until("its files are gone", async || (files(&node, &digests[0]) == 0).then_some(())).await;
}
