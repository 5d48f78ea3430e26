//! What nodes share out among themselves: a lane runs no more than its slots over all of them, a budget pays for no more than there is, and
//! all of both can be had by whoever needs it, also what a node held that died.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use sortie_tests::envelope::{automation, with};
use sortie_tests::node::is_final;
use sortie_tests::{Node, until};

use crate::kit::{Fleet, ended_once, sleeping};

/// A lane of two, and one as wide as need be.
const LANES: &str = "lease = \"2s\"\n[[lane]]\nid = \"wide\"\nconcurrency = 64\ndefault = true\n[[lane]]\nid = \"narrow\"\nconcurrency = 2\n";

/// Ten cents a day, for calls of one.
const CENTS: &str =
    "lease = \"2s\"\n[[budget]]\nscope = \"node\"\nper = \"day\"\ncost_usd = 0.1\n[tool.Glob]\ncost_usd = 0.01\n";

/// How many missions of a lane each node runs, as it says.
async fn running(node: &Node) -> Vec<String> {
    let listed = node.get("/v1/missions?status=running&limit=200").await.expect_status(200).json;
    let ids = listed["items"].as_array().expect("a list").iter();
    ids.map(|item| item["mission_id"].as_str().expect("an id").to_owned()).collect()
}

/// What a mission's events say of when it ran: from its start to its end, in milliseconds.
async fn ran(node: &Node, id: &str) -> (i64, i64) {
    let mission = node.mission(id).await;
    let at = |name: &str| {
        let text = mission[name].as_str().unwrap_or_else(|| panic!("{id} has no {name}: {mission:#}"));
        text.parse::<jiff::Timestamp>().expect("a time").as_millisecond()
    };
    (at("started_at"), at("ended_at"))
}

/// The most that ran at one moment.
fn at_once(mut spans: Vec<(i64, i64)>) -> usize {
    spans.sort_unstable();
    let of = |&(from, _): &(i64, i64)| spans.iter().filter(|(begun, ended)| *begun <= from && from < *ended).count();
    spans.iter().map(of).max().unwrap_or(0)
}

/// A mission of the narrow lane that sleeps at that node.
fn narrow(id: &str, node: &str, time: &str) -> Value {
    let envelope = with(sleeping(id, time), "/vp_runtime_id", json!("narrow"));
    with(envelope, "/target_instance_id", json!(node))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_runs_no_more_than_its_slots_over_all_nodes() {
    let Some(fleet) = Fleet::start_with(&["a", "b", "c"], LANES).await else { return };
    let ids: Vec<String> = (0..30).map(|n| format!("m-{n}")).collect();
    for (n, id) in ids.iter().enumerate() {
        let target = ["a", "b", "c"][n % 3];
        let envelope = with(narrow(id, target, "300ms"), "/callback", fleet.receiver.callback());
        fleet.nodes[0].accept(&envelope).await;
    }
    // Whoever waits says that others have it.
    until("somebody waits for what others run", async || {
        for node in &fleet.nodes {
            let listed = node.get("/v1/missions?status=queued&limit=200").await.expect_status(200).json;
            for item in listed["items"].as_array().expect("a list") {
                let mission = node.mission(item["mission_id"].as_str().expect("an id")).await;
                let wait = &mission["waits_for"];
                if wait["what"] == "lane" && wait["why"].as_str().is_some_and(|why| why.contains("other nodes")) {
                    return Some(());
                }
            }
        }
        None
    })
    .await;
    let mut spans = Vec::new();
    for id in &ids {
        ended_once(&fleet, id).await;
        spans.push(ran(&fleet.nodes[0], id).await);
    }
    assert_eq!(at_once(spans.clone()), 2, "never more, and both are used");
    // No node had all turns while others waited: each had one among the first ten.
    let mut begun: Vec<(i64, usize)> = spans.iter().enumerate().map(|(n, (from, _))| (*from, n % 3)).collect();
    begun.sort_unstable();
    let first: BTreeSet<usize> = begun.iter().take(10).map(|(_, node)| *node).collect();
    assert_eq!(first.len(), 3, "{begun:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_node_held_of_a_lane_is_free_again_once_it_is_taken_over() {
    let Some(mut fleet) = Fleet::start_with(&["a", "b", "c"], LANES).await else { return };
    for id in ["m-1", "m-2"] {
        fleet.nodes[0].accept(&narrow(id, "b", "1h")).await;
    }
    until("both slots are there", async || (running(&fleet.nodes[1]).await.len() == 2).then_some(())).await;
    fleet.nodes[0].accept(&narrow("m-3", "a", "100ms")).await;
    fleet.nodes[0].accept(&narrow("m-4", "c", "100ms")).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    for id in ["m-3", "m-4"] {
        assert_eq!(fleet.nodes[0].mission(id).await["status"], "queued", "{id}");
    }
    fleet.nodes[1].kill();
    // Whoever takes them over has what the dead one held, and lets it go where its missions do not need it.
    let a = &fleet.nodes[0];
    until("they are taken over", async || {
        for id in ["m-1", "m-2"] {
            if a.get(&format!("/v1/missions/{id}")).await.status != 200 {
                return None;
            }
        }
        Some(())
    })
    .await;
    for id in ["m-1", "m-2"] {
        a.post(&format!("/v1/missions/{id}/cancel"), &Value::Null).await;
    }
    for id in ["m-3", "m-4"] {
        assert_eq!(a.until_final(id).await["status"], "completed", "{id}");
    }
}

/// A mission that makes so many calls of a cent, one after the other, at that node.
fn paying(id: &str, node: &str, calls: usize) -> Value {
    let steps: Vec<Value> = (0..calls)
        .map(|n| {
            let mut step = json!({"id": format!("c{n}"), "tool": "Glob", "with": {"pattern": "*"}});
            if n > 0 {
                step["needs"] = json!([format!("c{}", n - 1)]);
            }
            step
        })
        .collect();
    let envelope = with(automation(id, &json!(steps)), "/constraints/allowed_tools", json!(["Glob"]));
    with(envelope, "/target_instance_id", json!(node))
}

fn cents(usd: &Value) -> u64 {
    format!("{:.0}", usd.as_f64().expect("a number") * 100.0).parse().expect("a whole number")
}

/// How many cents these missions have spent, by their own books.
async fn paid(node: &Node, ids: &[&str]) -> u64 {
    let mut all = 0;
    for id in ids {
        all += cents(&node.mission(id).await["usage"]["estimated_cost_usd"]);
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_pays_for_no_more_than_there_is_over_all_nodes_and_for_all_of_it() {
    let Some(mut fleet) = Fleet::start_with(&["a", "b", "c"], CENTS).await else { return };
    // Each wants what the three have together.
    let ids = ["m-a", "m-b", "m-c"];
    for (id, node) in ids.into_iter().zip(["a", "b", "c"]) {
        fleet.nodes[0].accept(&paying(id, node, 10)).await;
    }
    until("all of it is spent", async || (paid(&fleet.nodes[0], &ids).await >= 10).then_some(())).await;
    let waits = async |id: &str| {
        until(&format!("{id} waits for money"), async || {
            let mission = fleet.nodes[0].mission(id).await;
            (mission["waits_for"]["what"] == "budget").then_some(mission)
        })
        .await
    };
    for id in ids {
        let mission = waits(id).await;
        let why = mission["waits_for"]["why"].as_str().unwrap_or_default();
        assert!(why.contains("other nodes"), "{mission:#}");
    }
    let spent = async |node: &Node| {
        cents(&node.get("/v1/budgets").await.expect_status(200).json["items"][0]["spent"]["cost_usd"])
    };
    let mut all = 0;
    for node in &fleet.nodes {
        all += spent(node).await;
    }
    assert_eq!((paid(&fleet.nodes[0], &ids).await, all), (10, 10));
    // What a node spent that is gone stays spent, and counts at whoever goes on with what it left.
    fleet.nodes[1].kill();
    until("the other goes on with them", async || {
        (fleet.nodes[0].get("/v1/missions/m-b").await.status == 200).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let there = spent(&fleet.nodes[0]).await + spent(&fleet.nodes[2]).await;
    assert_eq!((paid(&fleet.nodes[0], &ids).await, there), (10, 10));
    for id in ids {
        let mission = fleet.nodes[0].mission(id).await;
        assert!(!is_final(mission["status"].as_str().expect("a status")), "{mission:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_nodes_from_sharing_out_is_told_until_it_is_mended() {
    let Some(fleet) = Fleet::start_with(&["a"], LANES).await else { return };
    let node = &fleet.nodes[0];
    let not_shared = async || node.get("/v1/node").await.expect_status(200).json["not_shared"].clone();
    assert_eq!(not_shared().await, Value::Null);
    fleet.sql("ALTER TABLE sortie_pools RENAME TO sortie_away");
    for n in 0..3 {
        node.accept(&narrow(&format!("m-{n}"), "a", "10ms")).await;
    }
    let why = until("it says so", async || not_shared().await.as_str().map(str::to_owned)).await;
    assert!(why.contains("sortie_pools"), "{why}");
    let doctor = node.cli(&["doctor"]).await;
    let said = [doctor.stdout, doctor.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("lanes and budgets are not shared out") && said.contains(&why), "{said}");
    node.get("/readyz").await.expect_status(200);
    fleet.sql("ALTER TABLE sortie_away RENAME TO sortie_pools");
    until("it does not any more", async || not_shared().await.is_null().then_some(())).await;
    for n in 0..3 {
        node.until_final(&format!("m-{n}")).await;
    }
}
