//! What it cannot do without is refused when it is dispatched, with what to change.

use std::collections::BTreeMap;

use serde_json::json;
use sortie_tests::Node;
use sortie_tests::envelope::with;

use super::{Bench, coding, says};

#[tokio::test]
async fn what_it_cannot_do_without_is_refused_at_intake() {
    let bare = Node::start().await;
    let refused = bare.dispatch(&coding("m")).await.expect_status(422).json;
    let (code, detail) = (&refused["errors"][0]["code"], refused["errors"][0]["detail"].as_str().unwrap_or_default());
    assert_eq!((code, detail.contains("add `[model.NAME]`")), (&json!("plugin_not_installed"), true), "{refused:#}");
    assert_eq!(refused["code"], "plugin_not_installed");
    let plugins = bare.get("/v1/plugins").await.expect_status(200).json;
    let listed = |list: &str| plugins[list].to_string().contains("coding");
    assert!(!listed("items") && listed("unusable"), "{plugins:#}");
    let told = bare.cli(&["plugin", "ls"]).await;
    assert!(String::from_utf8_lossy(&told.stderr).contains("add `[model.NAME]`"), "{told:?}");

    let bench = Bench::start("", &BTreeMap::from([("m", vec![says(0, "?")])])).await;
    for (place, value, pointer, told) in [
        (
            "/constraints/allowed_tools",
            json!(["Read", "Bash"]),
            "/constraints/allowed_tools",
            "one of the tools Write, Edit",
        ),
        ("/constraints/allowed_tools", json!(["Write(a/**)"]), "/constraints/allowed_tools", "add \"Read\""),
        ("/constraints/forbidden_tools", json!(["model"]), "/constraints/forbidden_tools", "needs a model"),
        ("/inputs/repository", json!("../elsewhere"), "/inputs/repository", "no `..`"),
        ("/inputs/repository", json!("https://a:b@example.org/a"), "/inputs/repository", "password"),
        ("/inputs/base", json!("--all"), "/inputs/base", "a branch, a tag or a commit"),
        ("/inputs/turns", json!(3), "/inputs", "turns"),
        ("/inputs/model", json!("other"), "/inputs/model", "no model `other`; it has `m`"),
    ] {
        let refused = bench.node.dispatch(&with(coding("m"), place, value)).await.expect_status(422).json;
        let error = &refused["errors"][0];
        let detail = error["detail"].as_str().unwrap_or_default();
        assert_eq!((&error["pointer"], detail.contains(told)), (&json!(pointer), true), "{refused:#}");
    }
}
