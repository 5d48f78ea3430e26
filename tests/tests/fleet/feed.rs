//! The events of all nodes, read at whichever is there: each once, each mission's in order, whatever becomes of the nodes meanwhile.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sortie_tests::envelope::{with, writing};
use sortie_tests::{Node, http, until};

use crate::kit::{Fleet, chain, sleeping};

/// How long a reader listens where nothing comes.
const LISTENS: Duration = Duration::from_millis(1_500);

/// Somebody who reads all events, and keeps the id of the last that it saw.
#[derive(Default)]
struct Reader {
    last: String,
    events: Vec<Value>,
}

impl Reader {
    /// Listens at a node until so many have come, or none come any more.
    async fn listens(&mut self, node: &Node, few: usize) {
        let request = node.request("GET", "/v1/events");
        let request = if self.last.is_empty() { request } else { request.header("last-event-id", &self.last) };
        let mut left = few;
        let take = |event: &http::StreamEvent| {
            assert!(event.data["sequence"].is_u64(), "{event:#?}");
            event.id.clone_into(&mut self.last);
            self.events.push(event.data.clone());
            left -= 1;
            left == 0
        };
        // One that breaks off has what has come so far.
        drop(tokio::time::timeout(LISTENS, http::stream(request, take)).await);
    }

    /// Reads pages of so many entries at a node, until there is nothing more.
    async fn turns_pages(&mut self, node: &Node, limit: usize) {
        loop {
            let page = node.get(&format!("/v1/events?limit={limit}&after={}", self.last)).await.expect_status(200).json;
            self.events.extend(page["items"].as_array().expect("a list").iter().cloned());
            let Some(next) = page["next_cursor"].as_str() else { return };
            next.clone_into(&mut self.last);
        }
    }

    /// The sequences of each mission's events, as they came.
    fn seen(&self) -> BTreeMap<String, Vec<u64>> {
        let mut seen: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for event in &self.events {
            let id = event["mission_id"].as_str().expect("an id").to_owned();
            seen.entry(id).or_default().push(event["sequence"].as_u64().expect("a number"));
        }
        seen
    }
}

/// All events of these missions, as their own lists have them.
async fn told(node: &Node, ids: &[String]) -> BTreeMap<String, Vec<u64>> {
    let mut told = BTreeMap::new();
    for id in ids {
        // Whose address the node has not heard of yet is asked a little later.
        let events = until("its events can be read", async || {
            let answer = node.get(&format!("/v1/missions/{id}/events?limit=500")).await;
            (answer.status == 200).then(|| answer.json["items"].as_array().expect("a list").clone())
        })
        .await;
        told.insert(id.clone(), events.iter().map(|event| event["sequence"].as_u64().expect("a number")).collect());
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_the_events_of_all_misses_none_and_has_none_twice_though_a_node_dies() {
    let Some(mut fleet) = Fleet::start(&["a", "b", "c"]).await else { return };
    let mut ids = Vec::new();
    for (n, name) in ["a", "b", "c", "a", "b", "c"].into_iter().enumerate() {
        let id = format!("m-{n}");
        let envelope = if n == 1 { sleeping(&id, "3s") } else { chain(&fleet, &id) };
        fleet.nodes[n % 2].accept(&with(envelope, "/target_instance_id", json!(name))).await;
        ids.push(id);
    }
    // While they run, at each in turn, a few at a time.
    let mut reader = Reader::default();
    for n in 0..9 {
        reader.listens(&fleet.nodes[n % 3], 1 + n % 3).await;
    }
    fleet.nodes[1].kill();
    for n in 0..6 {
        reader.listens(&fleet.nodes[if n % 2 == 0 { 0 } else { 2 }], 2).await;
    }
    for id in &ids {
        fleet.until_ended(&fleet.nodes[0], id).await;
    }
    // It comes back as one more.
    fleet.nodes[1].restart().await;
    fleet.nodes[1].accept(&with(writing("late"), "/target_instance_id", json!("b"))).await;
    fleet.nodes[1].until_final("late").await;
    ids.push("late".to_owned());
    let told = told(&fleet.nodes[0], &ids).await;
    let count: usize = told.values().map(Vec::len).sum();
    assert!(count > 30, "{told:#?}");
    until("it has all of them", async || {
        let before = reader.events.len();
        reader.listens(&fleet.nodes[before % 3], 7).await;
        (reader.events.len() >= count).then_some(())
    })
    .await;
    assert_eq!(reader.seen(), told, "{}", reader.last);
    for node in &fleet.nodes {
        reader.listens(node, 1).await;
        reader.turns_pages(node, 9).await;
    }
    assert_eq!(reader.events.len(), count, "nothing comes again");
    // Whoever begins only now reads the same, at whichever, by pages too.
    for (n, node) in fleet.nodes.iter().enumerate() {
        let mut late = Reader { last: "0".to_owned(), ..Reader::default() };
        late.turns_pages(node, 1 + 3 * n).await;
        assert_eq!(late.seen(), told, "{n}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_nodes_events_are_asked_of_it_by_name_and_its_numbers_go_on_to_work() {
    let Some(fleet) = Fleet::start(&["a", "b"]).await else { return };
    let [a, b] = fleet.nodes.as_slice() else { panic!("two") };
    for (id, target) in [("m-a", "a"), ("m-b", "b")] {
        a.accept(&with(writing(id), "/target_instance_id", json!(target))).await;
        a.until_final(id).await;
    }
    let of = async |node: &Node, path: &str| {
        let page = node.get(path).await.expect_status(200).json;
        let mut ids: Vec<String> = Vec::new();
        for event in page["items"].as_array().expect("a list") {
            ids.push(format!("{} {}", event["mission_id"].as_str().expect("an id"), event["sequence"]));
        }
        (ids, page["next_cursor"].as_str().map(str::to_owned))
    };
    let all_of = |events: &[String], id: &str| events.iter().filter(|event| event.starts_with(id)).count();
    for node in [a, b] {
        for (name, own, other) in [("a", "m-a", "m-b"), ("b", "m-b", "m-a")] {
            let (events, next) = of(node, &format!("/v1/events?node={name}")).await;
            assert!(all_of(&events, own) > 1 && all_of(&events, other) == 0, "{name}: {events:?}");
            assert!(next.is_some_and(|next| next.parse::<u64>().is_ok()), "{name}");
        }
        node.get("/v1/events?node=b&after=f~0.1").await.expect_problem(400, "bad_request");
        node.get("/v1/events?after=f~7.1").await.expect_problem(409, "position_ahead");
        node.get("/v1/events?after=seven").await.expect_problem(400, "bad_request");
    }
    // A number says how far one node's were read: they go on behind it, and the others' come from their beginning.
    let first =
        http::stream(a.request("GET", "/v1/events?node=b"), |event| event.id != (1_u64 << 36).to_string()).await;
    let last = first.last().expect("one");
    assert!(last.id.parse::<u64>().is_ok(), "{last:?}");
    let (all, _) = of(b, "/v1/events").await;
    let (rest, next) = of(a, &format!("/v1/events?after={}", last.id)).await;
    assert_eq!(all_of(&rest, "m-a"), all_of(&all, "m-a"), "{rest:?}");
    assert_eq!(all_of(&rest, "m-b") + first.len(), all_of(&all, "m-b"), "{rest:?} behind {first:?}");
    assert!(next.is_some_and(|next| next.starts_with('f')));
    // What another node writes is seen soon.
    let begun = Instant::now();
    let (_, next) = of(a, "/v1/events").await;
    let request = a.request("GET", "/v1/events").header("last-event-id", next.expect("there is something"));
    let listens = tokio::spawn(http::stream(request, |event| event.data["mission_id"] == "m-2"));
    tokio::time::sleep(Duration::from_millis(700)).await;
    b.accept(&with(writing("m-2"), "/target_instance_id", json!("b"))).await;
    let accepted = begun.elapsed();
    tokio::time::timeout(Duration::from_secs(20), listens).await.expect("it is seen").expect("no panic");
    eprintln!("seen {:?} after it was accepted", begun.elapsed() - accepted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mission_that_cannot_be_read_keeps_nobody_from_the_others_at_another_node() {
    let Some(fleet) = Fleet::start(&["a", "b"]).await else { return };
    let [a, b] = fleet.nodes.as_slice() else { panic!("two") };
    for id in ["bad", "good"] {
        a.accept(&with(writing(id), "/target_instance_id", json!("b"))).await;
        a.until_final(id).await;
    }
    // Each record of the first goes bad on the disk.
    let spoil = "UPDATE sortie_frames SET row = set_byte(row, 5, get_byte(row, 5) # 255) \
        WHERE mission = (SELECT min(mission) FROM sortie_frames)";
    fleet.server.sql("fleet", spoil);
    let good = told(b, &["good".to_owned()]).await;
    let mut reader = Reader { last: "0".to_owned(), ..Reader::default() };
    reader.turns_pages(a, 3).await;
    assert_eq!(reader.seen(), good, "{}", reader.last);
    // Whoever has it sees to it once somebody reads it there, and its end is told to all.
    until("its end is told", async || {
        b.get("/v1/events?node=b").await;
        reader.turns_pages(a, 3).await;
        reader.seen().contains_key("bad").then_some(())
    })
    .await;
    let ended = reader.events.iter().filter(|event| event["mission_id"] == "bad").collect::<Vec<_>>();
    assert_eq!(ended.last().expect("its end")["status"], "completed", "{ended:#?}");
    assert_eq!(reader.seen()["good"], good["good"], "nothing comes again");
}
