//! A load of missions whose every effect can be counted: what is put on a node that is killed or struck by faults, and what must
//! hold of each mission at its end.

mod kind;
mod outside;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

pub use self::kind::Kind;
use self::outside::Outside;
use crate::envelope::with;
use crate::node::is_final;
use crate::{Node, Options, Received, Receiver, http};

/// Missions on their way at any moment.
const AT_ONCE: usize = 12;

/// How long the end of all missions may take.
const END_MAX: Duration = Duration::from_secs(120);

/// Missions, by number, and the receiver of their events. It outlives the nodes.
pub struct Load {
    receiver: Receiver,
    /// What its calls reach, where they are of all kinds.
    outside: Option<Outside>,
    acknowledged: BTreeSet<usize>,
    asked: BTreeSet<String>,
    /// How often each mission was granted more money, by the request.
    granted: BTreeMap<String, BTreeSet<String>>,
}

impl Load {
    /// No missions yet; their calls will be those of the node's own tools.
    pub async fn new() -> Self {
        Self {
            receiver: Receiver::start().await,
            outside: None,
            acknowledged: BTreeSet::new(),
            asked: BTreeSet::new(),
            granted: BTreeMap::new(),
        }
    }

    /// No missions yet; one after the other will make calls of another [`Kind`].
    pub async fn of_all_kinds() -> Self {
        Self { outside: Some(Outside::start().await), ..Self::new().await }
    }

    /// A node with these options that may send events to this load's receiver, and reach what its calls are for.
    pub async fn node(&self, options: Options) -> Node {
        let outside = self.outside.as_ref().map(Outside::config).unwrap_or_default();
        options.config(&self.receiver.config()).config(&outside).env("CALLBACK_TOKEN", "hush").start().await
    }

    /// Waits until nothing lives any more that a node had started which was killed.
    ///
    /// # Panics
    /// If something goes on living.
    pub async fn until_alone(&self) {
        if let Some(outside) = &self.outside {
            outside.until_alone().await;
        }
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

    /// Waits until every acknowledged mission has ended, and sees that all holds that must. Says how often a node was killed in the middle
    /// of a call of each kind.
    ///
    /// # Panics
    /// If something does not.
    pub async fn finish(mut self, node: &Node) -> BTreeMap<Kind, usize> {
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
        let mut interrupted = BTreeMap::new();
        for number in &self.acknowledged {
            *interrupted.entry(self.kind(*number)).or_default() += self.held(node, *number).await;
        }
        if let Some(outside) = &self.outside {
            outside.keys_are_true();
        }
        interrupted
    }

    fn kind(&self, number: usize) -> Kind {
        let kinds = if self.outside.is_some() { &Kind::ALL[..] } else { &Kind::ALL[..1] };
        kinds[number % kinds.len()]
    }

    /// Every third mission of each kind has to ask before its calls.
    fn mission(&self, number: usize) -> Value {
        let careful = match self.outside {
            Some(_) => (number / Kind::ALL.len()).is_multiple_of(3),
            None => number.is_multiple_of(3),
        };
        self.kind(number).mission(&id(number), self.outside.as_ref(), careful)
    }

    /// Dispatches until so many missions are on their way. One whose answer was lost with the node, or that a failing node
    /// refused, is dispatched again, under the same key.
    async fn dispatch(&mut self, node: &Node) {
        for _ in self.on_their_way().len()..AT_ONCE {
            let number = self.acknowledged.len();
            let body = with(self.mission(number), "/callback", self.receiver.callback());
            let request = node.request("POST", "/v1/missions").header("content-type", "application/json");
            match http::send(request.body(body.to_string())).await {
                Ok(answer) if answer.status == 202 || answer.status == 200 => drop(self.acknowledged.insert(number)),
                Ok(answer) if answer.status == 503 => return,
                Ok(answer) => panic!("{answer:#?}"),
                Err(_) => return,
            }
        }
    }

    /// Answers what missions ask: approves, grants, and says of a call that nobody knows of what its outside says.
    async fn answer(&mut self, node: &Node) {
        let Ok(listed) = http::send(node.request("GET", "/v1/requests")).await else { return };
        for request in listed.json["items"].as_array().into_iter().flatten() {
            let text = |name: &str| request[name].as_str().unwrap_or_default().to_owned();
            let (id, request_id) = (text("mission_id"), text("request_id"));
            let decision = match text("kind").as_str() {
                "uncertain" => {
                    self.asked.insert(id.clone());
                    let number: usize = id.trim_start_matches("load-").parse().expect("a mission of this load");
                    self.kind(number).decision(node, &id, &request["arguments"], self.outside.as_ref())
                }
                "budget" => {
                    self.granted.entry(id.clone()).or_default().insert(request_id.clone());
                    json!({"decision": "grant", "amount": kind::ALLOWANCE_USD})
                }
                _ => json!({"decision": "approve", "for": "tool"}),
            };
            let path = format!("/v1/missions/{id}/requests/{request_id}");
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

    /// Everything that must hold of a mission at its end. Says how often it was killed in the middle of a call of its kind.
    async fn held(&self, node: &Node, number: usize) -> usize {
        let (id, kind) = (id(number), self.kind(number));
        let events = node.events(&id).await;
        let journal = node.get(&format!("/v1/missions/{id}/journal")).await.expect_status(200).json["items"].clone();
        let last = one_end(&id, &events);
        assert_eq!(last["status"], "completed", "{id}: {last:#}\n{journal}");
        #[expect(clippy::cast_precision_loss, reason = "a few grants")]
        let grants = self.granted.get(&id).map_or(0, BTreeSet::len) as f64;
        kind.held(node, &id, &last["usage"], (1.0 + grants) * kind::ALLOWANCE_USD, self.outside.as_ref());
        arrived_in_order(&id, &events, &self.receiver);
        kind::interrupted(journal.as_array().expect("a list"), kind.tool())
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
