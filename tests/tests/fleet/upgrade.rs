//! A fleet of another revision's nodes, that is upgraded one by one while missions run. `SORTIE_BIN_OLD` names the binary of that revision.

use std::path::PathBuf;

use serde_json::json;
use sortie_tests::envelope::with;

use super::kit::{Fleet, Setting, chain, ended_once, sleeping};

/// What names the binary of another revision.
const OLD: &str = "SORTIE_BIN_OLD";

/// That binary, where there is one.
pub(crate) fn old() -> Option<PathBuf> {
    std::env::var_os(OLD).map(PathBuf::from)
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_drained_exchanged_and_go_on_one_by_one() {
    let Some(program) = old() else {
        return eprintln!("skipped: {OLD} is not set; `cargo xtask soak --fleet --with BINARY` sets it");
    };
    let names = ["a", "b", "c"];
    let setting = Setting { net: None, migrated_by: Some(program.clone()) };
    let nodes = names.map(|name| (name, "lease = \"2s\"\n"));
    let Some(mut fleet) = Fleet::start_on(setting, &nodes, |_, options| options.program(program.clone())).await else {
        return;
    };
    let mut ids = Vec::new();
    for no in 0..names.len() {
        // Some of them run, some wait for people, some sleep, wherever they are.
        for n in 0..6 {
            let id = format!("m-{no}-{n}");
            let envelope = match n % 3 {
                0 => sleeping(&id, "3s"),
                1 => chain(&fleet, &id),
                _ => with(chain(&fleet, &id), "/constraints/approval_required", json!(["HttpRequest"])),
            };
            let envelope = with(envelope, "/callback", fleet.receiver.callback());
            fleet.nodes[n % names.len()].accept(&with(envelope, "/target_instance_id", json!("*"))).await;
            ids.push(id);
        }
        let drained = fleet.nodes[no].cli(&["drain", "--wait"]).await;
        assert!(drained.status.success(), "{drained:?}");
        let ended = fleet.nodes[no].ended().await;
        assert!(ended.success(), "{ended}: {}", fleet.nodes[no].read_log());
        if no == 0 {
            // As FLEET says: the newer one makes the tables that it wants, while the others go on.
            fleet.migrate(None);
        }
        fleet.nodes[no].exchange(None);
        fleet.restart(no).await;
        // Each answers for all, whichever revision has what is asked for.
        for id in &ids {
            for node in &fleet.nodes {
                sortie_tests::until(&format!("{id} is found"), async || {
                    (node.get(&format!("/v1/missions/{id}")).await.status == 200).then_some(())
                })
                .await;
            }
        }
    }
    for id in &ids {
        fleet.until_ended(&fleet.nodes[0], id).await;
        ended_once(&fleet, id).await;
    }
    let with_effects: Vec<&str> =
        ids.iter().map(String::as_str).filter(|id| !id.ends_with("-0") && !id.ends_with("-3")).collect();
    fleet.each_effect_once(&with_effects);
}
