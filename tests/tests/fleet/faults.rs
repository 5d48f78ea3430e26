//! Whatever happens to nodes and database, at random: killed, frozen for longer than a lease, the database killed. `FLEET_ROUNDS` says how often
//! (3 without it), `FLEET_SEED` in which order; both are printed.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use rustix::process::Signal;
use serde_json::{Value, json};
use sortie_tests::envelope::with;
use sortie_tests::{http, until};

use crate::kit::{Fleet, LEASE, chain, sleeping};

/// Missions that are begun in each round.
const A_ROUND: usize = 6;

/// Of what may happen, what does: the same seed gives the same.
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: usize) -> usize {
        // Xorshift.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % most as u64).expect("a small number")
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_each_mission_ends_once_and_each_effect_is_there_once() {
    let Some(mut fleet) = Fleet::start(&["a", "b", "c"]).await else { return };
    let rounds = number("FLEET_ROUNDS").unwrap_or(3);
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock");
    let seed = number("FLEET_SEED").unwrap_or_else(|| u64::from(since.subsec_nanos())).max(1);
    eprintln!("FLEET_ROUNDS={rounds} FLEET_SEED={seed}");
    let mut chance = Chance(seed);
    let mut acknowledged = BTreeSet::new();
    for round in 0..rounds {
        let mut missions = Vec::new();
        for n in 0..A_ROUND {
            let id = format!("r{round}-{n}");
            let envelope = if n == 0 { sleeping(&id, "1s") } else { chain(&fleet, &id) };
            let envelope =
                with(with(envelope, "/callback", fleet.receiver.callback()), "/target_instance_id", json!("*"));
            missions.push((id, envelope));
        }
        begin(&fleet, &missions, &mut acknowledged, &mut chance).await;
        tokio::time::sleep(Duration::from_millis(chance.below(300) as u64)).await;
        let victim = chance.below(fleet.nodes.len());
        match chance.below(4) {
            0 | 1 => {
                eprintln!("round {round}: node {victim} is killed");
                fleet.nodes[victim].kill();
                // Sometimes it is back before anybody goes on with what it had.
                tokio::time::sleep(LEASE.mul_f64(chance.below(20) as f64 / 10.0)).await;
            }
            2 => {
                eprintln!("round {round}: node {victim} is frozen");
                fleet.nodes[victim].signal(Signal::STOP);
                tokio::time::sleep(LEASE * 3).await;
                fleet.nodes[victim].signal(Signal::CONT);
                fleet.nodes[victim].ended().await;
            }
            _ => {
                eprintln!("round {round}: the database is killed, and node {victim} with it");
                fleet.server.kill();
                tokio::time::sleep(Duration::from_millis(chance.below(500) as u64)).await;
                fleet.nodes[victim].kill();
                fleet.server.go_on();
            }
        }
        // What was refused, or whose answer was lost, is dispatched again under its key; the rest is answered as before.
        let others: Vec<usize> = (0..fleet.nodes.len()).filter(|node| *node != victim).collect();
        until("all of it is taken", async || {
            for (id, envelope) in &missions {
                let node = &fleet.nodes[others[chance.below(others.len())]];
                let request = node.request("POST", "/v1/missions").header("content-type", "application/json");
                match http::send(request.body(envelope.to_string())).await {
                    Ok(answer) if [200, 202].contains(&answer.status) => drop(acknowledged.insert(id.clone())),
                    Ok(answer) => assert_eq!(answer.status, 503, "{answer:#?}"),
                    Err(_) => {}
                }
            }
            missions.iter().all(|(id, _)| acknowledged.contains(id)).then_some(())
        })
        .await;
        fleet.nodes[victim].restart().await;
    }
    let mut effects = Vec::new();
    for id in &acknowledged {
        fleet.until_ended(&fleet.nodes[0], id).await;
        ended_once_at_least(&fleet, id).await;
        if !id.ends_with("-0") {
            effects.push(id.as_str());
        }
    }
    fleet.each_effect_once(&effects);
}

/// Dispatches each to one of the nodes; some of the answers are lost with it.
async fn begin(fleet: &Fleet, missions: &[(String, Value)], acknowledged: &mut BTreeSet<String>, chance: &mut Chance) {
    for (id, envelope) in missions {
        let node = &fleet.nodes[chance.below(fleet.nodes.len())];
        let request = node.request("POST", "/v1/missions").header("content-type", "application/json");
        if let Ok(answer) = http::send(request.body(envelope.to_string())).await {
            assert!([200, 202, 503].contains(&answer.status), "{answer:#?}");
            if answer.status != 503 {
                acknowledged.insert(id.clone());
            }
        }
    }
}

/// A delivery whose node dies before its cursor is on disk comes once more, as what it was: that is all that may.
async fn ended_once_at_least(fleet: &Fleet, id: &str) {
    let received = fleet.receiver.until_final(id).await;
    let mut by_key = std::collections::BTreeMap::new();
    for delivery in &received {
        let before = by_key.insert(delivery.header("idempotency-key").to_owned(), delivery.json.clone());
        assert!(before.is_none_or(|before| before == delivery.json), "{id}: one key for two");
    }
    let ends = by_key.values().filter(|event| event["detail"]["reason"].is_string()).count();
    assert_eq!(ends, 1, "{id}: {ends} ends");
    // Gapless, and in order.
    let sequences: Vec<u64> = received.iter().filter_map(sortie_tests::Received::sequence).collect();
    let mut highest = 0;
    for sequence in sequences {
        assert!(sequence <= highest + 1, "{id}: {sequence} came after {highest}");
        highest = highest.max(sequence);
    }
}
