//! Receivers that are down for an hour: what is theirs waits for them, in order, and nobody else's.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sortie_tests::envelope::{edit, with, write};
use sortie_tests::load::{arrived_in_order, one_end};
use sortie_tests::node::QUICK;
use sortie_tests::{Node, Options, Receiver, Reply, automation, until};

const HOUR: Duration = Duration::from_secs(60 * 60);

/// The longest wait between two attempts, as shipped: a receiver that comes back hears of everything within this time.
const BACKOFF_MAX: Duration = Duration::from_secs(10 * 60);

/// Missions for each receiver.
const MISSIONS: usize = 4;

/// A mission of several events.
fn telling(id: &str, receiver: &Receiver) -> Value {
    let mut first = write("w", "log.txt", "END");
    first["milestone"] = json!("written");
    let mut second = edit("e", "log.txt", "END", "once END");
    (second["needs"], second["milestone"], second["artifact"]) = (json!(["w"]), json!("edited"), json!("log.txt"));
    with(automation(id, &json!([first, second])), "/callback", receiver.callback())
}

fn ids(of: &str) -> Vec<String> {
    (0..MISSIONS).map(|number| format!("{of}-{number}")).collect()
}

/// Attempts so far at the next event of a mission; none where it has nothing to deliver.
async fn attempts(node: &Node, id: &str) -> Option<u64> {
    let listed = node.get("/v1/deliveries").await.expect_status(200).json;
    let item = listed["items"].as_array()?.iter().find(|item| item["mission_id"] == id)?.clone();
    assert_eq!((&item["state"], &item["delivered"]), (&json!("pending"), &json!(0)), "{item:#}");
    item["attempts"].as_u64()
}

/// How much time goes by for the node with each look: an attempt that hangs keeps its place for a quarter of a minute.
const LOOK: Duration = Duration::from_millis(200);

/// Waits until every mission of these was tried so often, from the time `ahead` of ours on; returns how far ahead it is then. To
/// look is also what makes the node notice that time went by.
async fn tried(node: &Node, all: &[&str], times: u64, mut ahead: Duration) -> Duration {
    for id in all.iter().flat_map(|of| ids(of)) {
        until(&format!("{id} is tried {times} times"), async || {
            node.faults().set_ahead(ahead);
            ahead += LOOK;
            attempts(node, &id).await.filter(|attempts| *attempts >= times)
        })
        .await;
    }
    ahead
}

/// Sees that what happens now is told to a receiver that is well without delay.
async fn is_not_held_up(node: &Node, well: &Receiver, id: &str) {
    node.run(&telling(id, well)).await;
    let ended = Instant::now();
    well.until_final(id).await;
    assert!(ended.elapsed() < QUICK, "{:?}", ended.elapsed());
}

#[tokio::test]
async fn receivers_that_are_down_for_an_hour_hear_of_everything_in_order_and_hold_up_nobody() {
    let refuses = Receiver::closed();
    let ails = Receiver::scripted(|_, _| Reply::Status(503)).await;
    let hangs = Receiver::scripted(|_, _| Reply::Hang).await;
    let well = Receiver::start().await;
    let down = [("refuses", &refuses), ("ails", &ails), ("hangs", &hangs)];
    // Fewer places than those who hang would take, and an attempt that hangs for longer than a quick delivery may take.
    let hosts: Vec<String> = down.iter().map(|(_, receiver)| receiver.host()).chain([well.host()]).collect();
    let config = format!(
        "[callback]\nallow_private = [\"127.0.0.1\"]\nconcurrency = 4\n\
         [[callback.secret]]\nref = \"env://CALLBACK_TOKEN\"\nhosts = {}\n",
        json!(hosts)
    );
    let node = Options::new().config(&config).env("CALLBACK_TOKEN", "hush").faulty().start().await;
    for (name, receiver) in down {
        for id in ids(name) {
            node.run(&telling(&id, receiver)).await;
        }
    }
    let ahead = tried(&node, &["refuses", "ails"], 1, Duration::ZERO).await;
    let ahead = tried(&node, &["hangs"], 1, ahead).await;
    is_not_held_up(&node, &well, "well-early").await;

    let ahead = tried(&node, &["refuses", "ails"], 3, ahead + HOUR).await;
    is_not_held_up(&node, &well, "well-late").await;

    refuses.open();
    ails.rescript(|_, _| Reply::Status(200));
    hangs.rescript(|_, _| Reply::Status(200));
    node.faults().set_ahead(ahead + BACKOFF_MAX);
    for (name, receiver) in down {
        for id in ids(name) {
            until(&format!("{id} is told"), async || {
                // Somebody looks.
                let mission = node.mission(&id).await;
                (mission["delivery"]["state"] == "delivered").then_some(())
            })
            .await;
            let events = node.events(&id).await;
            assert_eq!(one_end(&id, &events)["status"], "completed");
            arrived_in_order(&id, &events, receiver);
        }
    }
}
