//! What a plugin says of its missions: shown where somebody decides, and held against what a mission would get.

use serde_json::{Value, json};
use sortie_tests::envelope::{with, without, writing};
use sortie_tests::{Node, guest, http};

async fn install(node: &Node, mode: &str) -> sortie_tests::Answer {
    let request = node.request("POST", "/v1/plugins").header("content-type", "application/wasm");
    http::send(request.body(guest::hostile(mode))).await.expect("an answer")
}

fn mission(id: &str) -> Value {
    let mission = without(without(writing(id), "inputs"), "artifact_policy");
    let mission = with(with(mission, "/mission_type", json!("custom")), "/plugin", json!("hostile"));
    with(mission, "/objective", json!("nothing"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_plugin_says_of_its_missions_is_shown_and_held() {
    let mut node = Node::start().await;
    for (mode, says) in [
        ("heavy", "write `plugin_memory_mib = 1048576` below `[limits]`"),
        ("roomy", "write `plugin_memory_mib = 300` below `[limits]`"),
        ("example", "its example 2 does not fit its inputs-schema at `/count`"),
    ] {
        let refused = install(&node, mode).await;
        refused.expect_problem(422, "plugin_refused");
        assert!(refused.json["detail"].as_str().is_some_and(|detail| detail.contains(says)), "{:#}", refused.json);
    }
    // Its author has no node's bounds.
    let (roomy, case) = (node.folder().join("roomy.wasm"), node.folder().join("roomy.toml"));
    std::fs::write(&roomy, guest::hostile("roomy")).expect("a writable folder");
    let text = "mission = { objective = \"nothing\" }\n[expect]\nstatus = \"completed\"\n";
    std::fs::write(&case, text).expect("a writable folder");
    let [roomy, case] = [roomy, case].map(|path| path.to_string_lossy().into_owned());
    let checked = node.cli(&["plugin", "check", "--once", "--plugin", &roomy, &case]).await;
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&[checked.stdout, checked.stderr].concat()));
    install(&node, "profile").await.expect_status(201);
    let shown = &node.get("/v1/plugins/hostile").await.expect_status(200).json["items"][0];
    let outputs = json!({ "properties": { "report.md": { "description": "what was found" } } });
    for (key, expected) in [
        ("optional_tools", json!(["Grep"])),
        ("memory_bytes", json!(100 << 20)),
        ("runtime_minutes", json!(1.5)),
        ("examples", json!([{ "count": 2 }])),
        ("outputs_schema", outputs.clone()),
    ] {
        assert_eq!(shown[key], expected, "{shown:#}");
    }
    let file = node.folder().join("profiled.wasm");
    std::fs::write(&file, guest::hostile("profile")).expect("a writable folder");
    let told = node.cli(&["plugin", "install", &file.to_string_lossy()]).await;
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    for says in [
        "makes use of: Grep",
        "1.5 min of run time",
        "leaves: report.md (what was found)",
        "for example: {\"count\":2}",
    ] {
        assert!(told.contains(says), "{says}: {told}");
    }
    // Its run time is less than the plugin says that it needs.
    let short = with(mission("short"), "/budget", json!({ "max_runtime_minutes": 1 }));
    let refused = node.dispatch(&short).await;
    refused.expect_problem(422, "invalid_envelope");
    let error = &refused.json["errors"][0];
    assert_eq!((&error["code"], &error["pointer"]), (&json!("needs_time"), &json!("/budget/max_runtime_minutes")));
    assert!(error["detail"].as_str().is_some_and(|it| it.contains("\"max_runtime_minutes\": 1.5")), "{error:#}");
    let explained = node.post("/v1/explain", &short).await.expect_status(200).json;
    assert_eq!(explained["errors"][0]["code"], "needs_time", "{explained:#}");
    assert_eq!(explained["takes"]["outputs_schema"], outputs, "{explained:#}");
    node.accept(&mission("long")).await;
    node.until_final("long").await;

    // The node gives less memory from now on: none of its missions is begun in vain.
    node.stop().await;
    node.reconfigure("[limits]\nplugin_memory_mib = 64\n");
    node.restart().await;
    let refused = node.dispatch(&mission("heavy")).await;
    refused.expect_problem(422, "invalid_envelope");
    let error = &refused.json["errors"][0];
    assert_eq!((&error["code"], &error["pointer"]), (&json!("needs_memory"), &json!("/plugin")), "{error:#}");
    assert!(error["detail"].as_str().is_some_and(|it| it.contains("`plugin_memory_mib = 100`")), "{error:#}");
}
