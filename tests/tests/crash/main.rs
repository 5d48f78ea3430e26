//! The real binary, killed at random moments under load, again and again: nothing acknowledged is lost, nothing ends twice,
//! nothing with an effect is done twice without a word.
//!
//! `KILLS` in the environment says how often; `SEED` repeats a run's moments as far as an operating system lets one.

#![expect(clippy::disallowed_methods, reason = "tests watch a node from outside, with the clock of the outside")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sortie_tests::envelope::{edit, with, write};
use sortie_tests::node::is_final;
use sortie_tests::{Node, Options, Receiver, automation, http, workspace_of};

/// Kills of a run, where nobody says otherwise.
const KILLS: u32 = 200;

/// Missions on their way at any moment.
const AT_ONCE: usize = 12;

/// Steps of each mission that must not be done twice.
const EDITS: usize = 4;

/// The longest that a node lives before it is killed.
const LIFE_MS_MAX: u64 = 220;

/// Numbers from a seed: SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % end
    }
}

/// A mission of reads and writes that may be repeated, and of edits that may not: each adds a letter to a file. Every third
/// has to ask before its last edit.
fn mission(number: usize) -> Value {
    let mut steps = vec![write("w", "log.txt", "END")];
    for step in 0..EDITS {
        let mut edit = edit(&format!("e{step}"), "log.txt", "END", &format!("{step}END"));
        edit["needs"] = json!([if step == 0 { "w".to_owned() } else { format!("e{}", step - 1) }]);
        edit["milestone"] = json!(format!("edit {step}"));
        steps.push(edit);
    }
    steps.push(json!({"id": "r", "tool": "Read", "with": {"path": "log.txt"}, "needs": [format!("e{}", EDITS - 1)],
        "artifact": {"name": "log.txt", "content": "{{ steps.r.result.content }}"}}));
    let envelope = automation(&format!("crash-{number}"), &json!(steps));
    let envelope = with(envelope, "/artifact_policy/required_outputs", json!(["log.txt"]));
    if number.is_multiple_of(3) { with(envelope, "/constraints/approval_required", json!(["Edit"])) } else { envelope }
}

/// What a mission's file must hold at its end.
fn whole() -> String {
    (0..EDITS).map(|step| step.to_string()).collect::<String>() + "END"
}

/// Answers what missions ask: approves, and says of an uncertain edit what its file says.
async fn answer(node: &Node, asked: &mut BTreeSet<String>) {
    let Ok(listed) = http::send(node.request("GET", "/v1/requests")).await else { return };
    for request in listed.json["items"].as_array().into_iter().flatten() {
        let id = request["mission_id"].as_str().unwrap_or_default();
        let decision = if request["kind"] == "uncertain" {
            asked.insert(id.to_owned());
            let new = request["arguments"]["new"].as_str().unwrap_or("?");
            let log = std::fs::read_to_string(workspace_of(node, &format!("vp.{id}")).join("log.txt"));
            if log.is_ok_and(|log| log.contains(new)) {
                json!({"decision": "record", "result": {"path": "log.txt", "replaced": 1}})
            } else {
                json!({"decision": "repeat"})
            }
        } else {
            json!({"decision": "approve", "for": "tool"})
        };
        let path = format!("/v1/missions/{id}/requests/{}", request["request_id"].as_str().unwrap_or_default());
        let sent = node.request("POST", &path).header("content-type", "application/json").body(decision.to_string());
        if http::send(sent).await.is_err() {
            return;
        }
    }
}

/// Dispatches until so many missions are on their way. One whose answer was lost with the node is dispatched again, under the
/// same key.
async fn dispatch(node: &Node, acknowledged: &mut BTreeSet<usize>, ended: usize) {
    while acknowledged.len() < ended + AT_ONCE {
        let number = acknowledged.len();
        let body = with(mission(number), "/callback", receiver_of(node));
        let request = node.request("POST", "/v1/missions").header("content-type", "application/json");
        match http::send(request.body(body.to_string())).await {
            Ok(answer) if answer.status == 202 || answer.status == 200 => drop(acknowledged.insert(number)),
            Ok(answer) => panic!("{answer:#?}"),
            Err(_) => return,
        }
    }
}

/// The callback is part of the envelope, and so of what makes a dispatch the same: the receiver stays.
fn receiver_of(node: &Node) -> Value {
    let text = std::fs::read_to_string(node.folder().join("callback.json")).expect("it was written");
    serde_json::from_str(&text).expect("it is JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_after_kill_nothing_is_lost_and_nothing_is_done_twice() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let kills = number("KILLS").unwrap_or(KILLS.into());
    let seed = number("SEED").unwrap_or_else(|| u64::from(std::process::id()));
    eprintln!("SEED={seed} KILLS={kills}");
    let mut random = Random(seed);
    let receiver = Receiver::start().await;
    let mut node = Options::new().config(&receiver.config()).env("CALLBACK_TOKEN", "hush").start().await;
    std::fs::write(node.folder().join("callback.json"), receiver.callback().to_string()).expect("a writable folder");
    let (mut acknowledged, mut asked) = (BTreeSet::new(), BTreeSet::new());
    let mut ended = 0;
    for _ in 0..kills {
        let life = Duration::from_millis(random.below(LIFE_MS_MAX));
        let _ = tokio::time::timeout(life, async {
            loop {
                dispatch(&node, &mut acknowledged, ended).await;
                answer(&node, &mut asked).await;
                ended = finals(&receiver).len();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        node.kill();
        node.restart().await;
    }
    let deadline = Instant::now() + Duration::from_secs(120);
    while finals(&receiver).len() < acknowledged.len() {
        assert!(Instant::now() < deadline, "{} of {} missions ended", finals(&receiver).len(), acknowledged.len());
        answer(&node, &mut asked).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    eprintln!("{} missions over {kills} kills; {} were asked about", acknowledged.len(), asked.len());
    for number in acknowledged {
        held(&node, &receiver, number).await;
    }
}

/// Missions whose final event has arrived.
fn finals(receiver: &Receiver) -> BTreeSet<String> {
    let is_end = |delivery: &sortie_tests::Received| is_final(delivery.json["status"].as_str().unwrap_or_default());
    receiver
        .received()
        .iter()
        .filter(|delivery| is_end(delivery))
        .map(|delivery| delivery.mission().to_owned())
        .collect()
}

/// Everything that must hold of a mission at its end.
async fn held(node: &Node, receiver: &Receiver, number: usize) {
    let id = format!("crash-{number}");
    let events = node.events(&id).await;
    let journal = node.get(&format!("/v1/missions/{id}/journal")).await.json["items"].to_string();
    let sequences: Vec<u64> = events.iter().filter_map(|event| event["sequence"].as_u64()).collect();
    assert_eq!(sequences, (1..=events.len() as u64).collect::<Vec<_>>(), "{id}: gaps");
    let ends = events.iter().filter(|event| is_final(event["status"].as_str().unwrap_or_default())).count();
    assert_eq!(ends, 1, "{id}: {events:#?}");
    let last = events.last().expect("events");
    assert_eq!(last["status"], "completed", "{id}: {last:#}\n{journal}");
    let log = std::fs::read_to_string(workspace_of(node, &format!("vp.{id}")).join("log.txt")).expect("a log");
    assert_eq!(log, whole(), "{id}: each edit once\n{journal}");
    // What arrived is what is recorded, in its order, each event the same however often it was sent.
    let mut arrived: BTreeMap<u64, Value> = BTreeMap::new();
    let mut highest = 0;
    for delivery in receiver.of(&id) {
        let Some(sequence) = delivery.sequence() else { continue };
        assert!(sequence <= highest + 1, "{id}: {sequence} came after {highest}");
        highest = highest.max(sequence);
        let before = arrived.insert(sequence, delivery.json.clone());
        assert!(before.is_none_or(|before| before == delivery.json), "{id}: {sequence} changed");
    }
    assert_eq!(arrived.into_values().collect::<Vec<_>>(), events, "{id}");
}
