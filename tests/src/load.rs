//! A load of missions whose every effect can be counted: what is put on a node that is killed or struck by faults, and what must
//! hold of each mission at its end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use crate::envelope::{automation, edit, with, write};
use crate::node::is_final;
use crate::{Node, Options, Received, Receiver, http, workspace_of};

/// Missions on their way at any moment.
const AT_ONCE: usize = 12;

/// Steps of each mission that must not be done twice.
const EDITS: usize = 4;

/// How long the end of all missions may take.
const END_MAX: Duration = Duration::from_secs(120);

/// Missions, by number, and the receiver of their events. It outlives the nodes.
pub struct Load {
    receiver: Receiver,
    acknowledged: BTreeSet<usize>,
    asked: BTreeSet<String>,
}

impl Load {
    /// No missions yet.
    pub async fn new() -> Self {
        Self { receiver: Receiver::start().await, acknowledged: BTreeSet::new(), asked: BTreeSet::new() }
    }

    /// A node with these options that may send events to this load's receiver.
    pub async fn node(&self, options: Options) -> Node {
        options.config(&self.receiver.config()).env("CALLBACK_TOKEN", "hush").start().await
    }

    /// Keeps missions on their way and answers what they ask, for so long.
    pub async fn press(&mut self, node: &Node, time: Duration) {
        let _ = tokio::time::timeout(time, self.press_while(node, |_| true)).await;
    }

    /// Keeps missions on their way and answers what they ask, until one more of them has ended, however slow the machine is.
    ///
    /// # Panics
    /// If none does.
    pub async fn press_until_one_ends(&mut self, node: &Node) {
        let before = self.ended();
        let one_more = tokio::time::timeout(END_MAX, self.press_while(node, |load| load.ended() == before)).await;
        assert!(one_more.is_ok(), "none of these ended within {END_MAX:?}: {:?}", self.on_their_way());
    }

    async fn press_while(&mut self, node: &Node, goes_on: impl Fn(&Self) -> bool) {
        while goes_on(self) {
            self.dispatch(node).await;
            self.answer(node).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until every acknowledged mission has ended, and sees that all holds that must.
    ///
    /// # Panics
    /// If something does not.
    pub async fn finish(mut self, node: &Node) {
        assert!(!self.acknowledged.is_empty(), "the node took no mission at all");
        let all_end = async {
            while !self.on_their_way().is_empty() {
                self.answer(node).await;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let ended = tokio::time::timeout(END_MAX, all_end).await;
        assert!(ended.is_ok(), "these did not end within {END_MAX:?}: {:?}", self.on_their_way());
        eprintln!("{} missions ended; {} were asked about", self.acknowledged.len(), self.asked.len());
        for number in &self.acknowledged {
            self.held(node, &id(*number)).await;
        }
    }

    /// Dispatches until so many missions are on their way. One whose answer was lost with the node, or that a failing node
    /// refused, is dispatched again, under the same key.
    async fn dispatch(&mut self, node: &Node) {
        for _ in self.on_their_way().len()..AT_ONCE {
            let number = self.acknowledged.len();
            let body = with(mission(number), "/callback", self.receiver.callback());
            let request = node.request("POST", "/v1/missions").header("content-type", "application/json");
            match http::send(request.body(body.to_string())).await {
                Ok(answer) if answer.status == 202 || answer.status == 200 => drop(self.acknowledged.insert(number)),
                Ok(answer) if answer.status == 503 => return,
                Ok(answer) => panic!("{answer:#?}"),
                Err(_) => return,
            }
        }
    }

    /// Answers what missions ask: approves, and says of an uncertain edit what its file says.
    async fn answer(&mut self, node: &Node) {
        let Ok(listed) = http::send(node.request("GET", "/v1/requests")).await else { return };
        for request in listed.json["items"].as_array().into_iter().flatten() {
            let id = request["mission_id"].as_str().unwrap_or_default();
            let decision = if request["kind"] == "uncertain" {
                self.asked.insert(id.to_owned());
                let new = request["arguments"]["new"].as_str().unwrap_or("?");
                if log_of(node, id).is_ok_and(|log| log.contains(new)) {
                    json!({"decision": "record", "result": {"path": "log.txt", "replaced": 1}})
                } else {
                    json!({"decision": "repeat"})
                }
            } else {
                json!({"decision": "approve", "for": "tool"})
            };
            let path = format!("/v1/missions/{id}/requests/{}", request["request_id"].as_str().unwrap_or_default());
            let sent =
                node.request("POST", &path).header("content-type", "application/json").body(decision.to_string());
            if http::send(sent).await.is_err() {
                return;
            }
        }
    }

    /// Acknowledged missions whose final event has not arrived.
    fn on_their_way(&self) -> BTreeSet<usize> {
        let received = self.receiver.received();
        let is_end = |delivery: &&Received| is_final(delivery.json["status"].as_str().unwrap_or_default());
        let ended: BTreeSet<&str> = received.iter().filter(is_end).map(Received::mission).collect();
        self.acknowledged.iter().copied().filter(|number| !ended.contains(id(*number).as_str())).collect()
    }

    fn ended(&self) -> usize {
        self.acknowledged.len() - self.on_their_way().len()
    }

    /// Everything that must hold of a mission at its end.
    async fn held(&self, node: &Node, id: &str) {
        let events = node.events(id).await;
        let journal = node.get(&format!("/v1/missions/{id}/journal")).await.json["items"].to_string();
        let last = one_end(id, &events);
        assert_eq!(last["status"], "completed", "{id}: {last:#}\n{journal}");
        assert_eq!(log_of(node, id).expect("a log"), whole(), "{id}: each edit once\n{journal}");
        arrived_in_order(id, &events, &self.receiver);
    }
}

/// Sees that a mission's events have no gaps and one end, which is the last; gives that back.
///
/// # Panics
/// If they are not so.
#[must_use]
pub fn one_end<'a>(id: &str, events: &'a [Value]) -> &'a Value {
    let sequences: Vec<u64> = events.iter().filter_map(|event| event["sequence"].as_u64()).collect();
    assert_eq!(sequences, (1..=events.len() as u64).collect::<Vec<_>>(), "{id}: gaps");
    let is_end = |event: &&Value| is_final(event["status"].as_str().unwrap_or_default());
    assert_eq!(events.iter().filter(is_end).count(), 1, "{id}: {events:#?}");
    events.last().filter(is_end).unwrap_or_else(|| panic!("{id}: something came after its end: {events:#?}"))
}

/// Sees that what arrived of a mission is what is recorded, in its order, each event the same however often it was sent.
///
/// # Panics
/// If it is not.
pub fn arrived_in_order(id: &str, events: &[Value], receiver: &Receiver) {
    let mut arrived: BTreeMap<u64, Value> = BTreeMap::new();
    let mut highest = 0;
    for delivery in receiver.of(id) {
        let Some(sequence) = delivery.sequence() else { continue };
        assert!(sequence <= highest + 1, "{id}: {sequence} came after {highest}");
        highest = highest.max(sequence);
        let before = arrived.insert(sequence, delivery.json.clone());
        assert!(before.is_none_or(|before| before == delivery.json), "{id}: {sequence} changed");
    }
    assert_eq!(arrived.into_values().collect::<Vec<_>>(), events, "{id}");
}

fn id(number: usize) -> String {
    format!("load-{number}")
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
    let envelope = automation(&id(number), &json!(steps));
    let envelope = with(envelope, "/artifact_policy/required_outputs", json!(["log.txt"]));
    if number.is_multiple_of(3) { with(envelope, "/constraints/approval_required", json!(["Edit"])) } else { envelope }
}

/// What a mission's file must hold at its end.
fn whole() -> String {
    (0..EDITS).map(|step| step.to_string()).collect::<String>() + "END"
}

/// What it holds.
fn log_of(node: &Node, id: &str) -> std::io::Result<String> {
    std::fs::read_to_string(workspace_of(node, &format!("vp.{id}")).join("log.txt"))
}
