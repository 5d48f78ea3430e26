//! Whatever happens to nodes and database, at random, while several clients to a key ask all nodes at once.
//!
//! What happens is drawn from a bag ([`BAG`]) in which each kind is once or more, shuffled whenever it is empty: of two bags' rounds each
//! kind is in the middle somewhere. `FLEET_ROUNDS` says how many rounds there are (one bag without it), `FLEET_SEED` in which order; both
//! are printed. `cargo xtask soak --fleet` runs many.
//!
//! Behind each round nothing is wrong any more, all of its missions end, and what clients heard and the service was asked for is held
//! against the history that one node alone would have made.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant, SystemTime};

use jiff::SignedDuration;
use rustix::process::Signal;
use serde_json::{Value, json};
use sortie_tests::envelope::with;
use sortie_tests::{Faults, Net, Options, PATIENCE, http};

use crate::chance::Chance;
use crate::clients::Clients;
use crate::kit::{CALLS, Fleet, LEASE, Setting, chain, sleeping};
use crate::upgrade::old;

/// Missions that are begun in each round.
const A_ROUND: usize = 6;

/// The names of the nodes.
const NAMES: [&str; 3] = ["a", "b", "c"];

/// The most by which a clock is off, in seconds: either way.
const CLOCK_OFF: u64 = 15 * 60;

/// What may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// A node is killed. Sometimes it is back before anybody goes on with what it had.
    Killed,
    /// A node is frozen for longer than its lease.
    Frozen,
    /// A node is frozen for less.
    Paused,
    /// The database is killed, and comes back.
    Database,
    /// The same, and a node is killed before it is back.
    DatabaseAndNode,
    /// All connections of a node to the database are cut, and those that it makes then.
    Disconnected,
    /// A node and the database do not hear each other, nor do it and the other nodes, for longer than its lease. It reaches the world.
    CutOff,
    /// A node does not hear the database, which hears it.
    Deaf,
    /// A node's cable is out.
    Pulled,
    /// A node's wall clock is minutes off from now on, its steady one is not; and half of the times it is killed then.
    Clock,
    /// Two of these, to two nodes.
    Two,
}

/// How often each is in a bag.
const BAG: [(Kind, usize); 11] = [
    (Kind::Killed, 1),
    (Kind::Frozen, 1),
    (Kind::Paused, 1),
    (Kind::Database, 1),
    (Kind::DatabaseAndNode, 1),
    (Kind::Disconnected, 1),
    (Kind::CutOff, 1),
    (Kind::Deaf, 1),
    (Kind::Pulled, 1),
    (Kind::Clock, 1),
    (Kind::Two, 1),
];

/// What of that may happen at once, to two nodes.
const TOGETHER: [Kind; 7] =
    [Kind::Killed, Kind::Frozen, Kind::Paused, Kind::Database, Kind::Disconnected, Kind::CutOff, Kind::Deaf];

impl Kind {
    /// Whether it can be brought about here.
    fn is_possible(self, fleet: &Fleet) -> bool {
        match self {
            Self::CutOff | Self::Deaf | Self::Pulled => fleet.net.is_some(),
            Self::Clock => Faults::are_built(),
            _ => true,
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn whatever_happens_each_mission_ends_once_and_each_effect_is_there_once() {
    // This thread is in the network from then on, and so is all that it starts.
    let net = Net::new(1 + NAMES.len());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(whatever_happens(net));
}

async fn whatever_happens(net: Result<Net, String>) {
    let net = net.inspect_err(|why| eprintln!("left out: partitions, and who had an effect: {why}")).ok();
    if !Faults::are_built() {
        eprintln!("left out: clocks that are off: `cargo build -p sortie-faults --examples` makes them");
    }
    // The last of them may be of another revision.
    let old = old();
    let of = |no: usize, options: Options| {
        let options = if Faults::are_built() { options.faulty() } else { options };
        match &old {
            Some(old) if no + 1 == NAMES.len() => options.program(old.clone()),
            _ => options,
        }
    };
    let setting = Setting { net, migrated_by: None };
    let Some(fleet) = Fleet::start_on(setting, &NAMES.map(|name| (name, "lease = \"2s\"\n")), of).await else {
        return;
    };
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock");
    let seed = number("FLEET_SEED").unwrap_or_else(|| u64::from(since.subsec_nanos()));
    let mut bag: Vec<Kind> = BAG.iter().flat_map(|(kind, times)| vec![*kind; *times]).collect();
    bag.retain(|kind| kind.is_possible(&fleet));
    let rounds = number("FLEET_ROUNDS").unwrap_or(bag.len() as u64);
    eprintln!("FLEET_ROUNDS={rounds} FLEET_SEED={seed}");
    let mut night = Night { fleet, chance: Chance::new(seed), story: String::new(), sums: BTreeMap::new() };
    let (begun, mut left) = (Instant::now(), Vec::new());
    for round in 0..rounds {
        if left.is_empty() {
            left.clone_from(&bag);
            night.chance.shuffle(&mut left);
        }
        let kind = left.pop().expect("there are kinds");
        night.round(round, kind).await;
    }
    eprintln!("{rounds} rounds of seed {seed} in {:?}: {:?}", begun.elapsed(), night.sums);
}

/// A fleet to which things happen.
struct Night {
    fleet: Fleet,
    chance: Chance,
    /// What happens in this round.
    story: String,
    /// How often what happened.
    sums: BTreeMap<String, usize>,
}

impl Night {
    async fn round(&mut self, round: u64, kind: Kind) {
        let (begun, mut missions) = (Instant::now(), Vec::new());
        for n in 0..A_ROUND {
            let id = format!("r{round}-{n}");
            let envelope = match n {
                0 => sleeping(&id, "1s"),
                1 => with(chain(&self.fleet, &id), "/constraints/approval_required", json!(["HttpRequest"])),
                _ => chain(&self.fleet, &id),
            };
            let envelope =
                with(with(envelope, "/callback", self.fleet.receiver.callback()), "/target_instance_id", json!("*"));
            missions.push((id, envelope));
        }
        let clients = Clients::send(&self.fleet, &missions, &mut self.chance);
        tokio::time::sleep(Duration::from_millis(self.chance.between(0, 400))).await;
        self.story = format!("round {round}:");
        self.count(&format!("{kind:?}"), 1);
        self.happens(kind).await;
        self.settle(&clients).await;
        eprintln!("{}", self.story);
        let ids: Vec<String> = missions.into_iter().map(|(id, _)| id).collect();
        for id in &ids {
            self.fleet.until_ended(&self.fleet.nodes[0], id).await;
        }
        let mut history = clients.come_home().await;
        self.fleet.write_down(&mut history, &ids);
        let found = history.contradictions();
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert!(found.is_empty(), "{}\n{}", self.story, found.join("\n"));
        let before = self.fleet.repeated();
        for id in &ids {
            self.ended_once_at_least(id).await;
            if !id.ends_with("-0") {
                // More than once only where people had it made again, which the history has seen to.
                let made = (0..CALLS).filter(|n| self.fleet.times(&format!("/count/{id}/{n}")) > 0).count();
                assert_eq!(made, CALLS, "{id} has not made all of its calls\n{}", self.story);
            }
        }
        for node in &self.fleet.nodes {
            assert!(!node.read_log().contains("panicked"), "a node panicked\n{}", self.story);
        }
        self.count("operations", history.len());
        self.count("effects", ids.len().saturating_sub(1) * CALLS);
        self.sums.insert("calls made again".to_owned(), before);
        eprintln!("  {} operations, {:?}", history.len(), begun.elapsed());
    }

    /// Lets something happen, and takes it away again; nodes that ended by it are left as they are.
    async fn happens(&mut self, kind: Kind) {
        let mut nodes: Vec<usize> = (0..NAMES.len()).collect();
        self.chance.shuffle(&mut nodes);
        let both = match kind {
            Kind::Two => {
                let mut kinds: Vec<Kind> = TOGETHER.into_iter().filter(|kind| kind.is_possible(&self.fleet)).collect();
                self.chance.shuffle(&mut kinds);
                // Whoever is to be asked by another fault is killed last.
                kinds[..2].sort_by_key(|kind| *kind == Kind::Database);
                vec![(kinds[0], nodes[0]), (kinds[1], nodes[1])]
            }
            kind => vec![(kind, nodes[0])],
        };
        let mut ends = Vec::new();
        for (kind, node) in both {
            let lasts = self.begins(kind, node).await;
            let _ = write!(self.story, " {kind:?} (node {node}, {lasts:?})");
            ends.push((Instant::now() + lasts, kind, node));
        }
        ends.sort();
        for (at, kind, node) in ends {
            tokio::time::sleep_until(at.into()).await;
            self.is_over(kind, node);
        }
    }

    /// Lets something begin; for how long.
    async fn begins(&mut self, kind: Kind, node: usize) -> Duration {
        // So many hundredths of a lease.
        let leases = |least: u64, most: u64, chance: &mut Chance| {
            LEASE * u32::try_from(chance.between(least, most)).expect("a few leases") / 100
        };
        match kind {
            Kind::Killed => {
                self.fleet.nodes[node].kill();
                leases(0, 200, &mut self.chance)
            }
            Kind::Frozen | Kind::Paused => {
                self.fleet.nodes[node].signal(Signal::STOP);
                let (least, most) = if kind == Kind::Frozen { (250, 320) } else { (5, 50) };
                leases(least, most, &mut self.chance)
            }
            Kind::Database | Kind::DatabaseAndNode => {
                self.fleet.server.kill();
                if kind == Kind::DatabaseAndNode {
                    tokio::time::sleep(Duration::from_millis(self.chance.between(0, 500))).await;
                    self.fleet.nodes[node].kill();
                }
                leases(0, 200, &mut self.chance)
            }
            Kind::Disconnected => {
                for _ in 0..self.chance.between(1, 8) {
                    self.disconnect(node);
                    tokio::time::sleep(Duration::from_millis(self.chance.between(0, 80))).await;
                }
                Duration::ZERO
            }
            Kind::CutOff => {
                let net = self.fleet.net.as_ref().expect("it is possible");
                for other in (0..=NAMES.len()).filter(|other| *other != 1 + node) {
                    net.lose(1 + node, other);
                    net.lose(other, 1 + node);
                }
                leases(150, 320, &mut self.chance)
            }
            Kind::Deaf => {
                self.fleet.net.as_ref().expect("it is possible").lose(0, 1 + node);
                leases(50, 320, &mut self.chance)
            }
            Kind::Pulled => {
                self.fleet.net.as_ref().expect("it is possible").pull(1 + node);
                leases(50, 320, &mut self.chance)
            }
            Kind::Clock => {
                let off = i64::try_from(self.chance.between(0, 2 * CLOCK_OFF)).expect("a few minutes");
                let off = off - i64::try_from(CLOCK_OFF).expect("a few minutes");
                let _ = write!(self.story, " (by {off} s)");
                self.fleet.nodes[node].faults().set_clock(SignedDuration::from_secs(off));
                if self.chance.below(2) == 0 {
                    tokio::time::sleep(Duration::from_millis(self.chance.between(0, 500))).await;
                    self.fleet.nodes[node].kill();
                }
                leases(20, 150, &mut self.chance)
            }
            Kind::Two => unreachable!("it is two others"),
        }
    }

    /// Takes away what can be.
    fn is_over(&mut self, kind: Kind, node: usize) {
        match kind {
            Kind::Frozen | Kind::Paused => self.fleet.nodes[node].signal(Signal::CONT),
            Kind::Database | Kind::DatabaseAndNode => self.fleet.server.go_on(),
            Kind::CutOff | Kind::Deaf | Kind::Pulled => self.fleet.net.as_ref().expect("it is possible").heal(),
            Kind::Killed | Kind::Disconnected | Kind::Clock | Kind::Two => {}
        }
    }

    /// Has the database end all connections of a node.
    fn disconnect(&self, node: usize) {
        let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name";
        self.fleet.server.sql("postgres", &format!("{sql} = '{}'", NAMES[node]));
    }

    /// Waits until each node holds a share again, and starts those that have ended: killed, or because what they had is another's.
    async fn settle(&mut self, clients: &Clients) {
        for node in 0..NAMES.len() {
            let begun = Instant::now();
            loop {
                if !self.fleet.nodes[node].is_running() {
                    self.fleet.restart(node).await;
                    clients.moved(node, self.fleet.nodes[node].url());
                    break;
                }
                if let Some(ended) = self.fleet.nodes[node].has_ended() {
                    let _ = write!(self.story, ", node {node} was fenced after {:?}", begun.elapsed());
                    assert!(!ended.success(), "node {node} ended as if all were well: {ended}\n{}", self.story);
                    self.count("fenced", 1);
                    continue;
                }
                if self.holds(node) && self.is_ready(node).await {
                    break;
                }
                let waited = begun.elapsed();
                assert!(waited < PATIENCE, "node {node} neither ends nor goes on after {waited:?}\n{}", self.story);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }

    /// Whether the store says so: one whose share was adopted has none.
    fn holds(&self, node: usize) -> bool {
        let sql = "SELECT count(*) FROM sortie_shares WHERE heir IS NULL AND lease_until > now() AND holder <> ''";
        self.fleet.server.sql("fleet", &format!("{sql} AND name = '{}'", NAMES[node])) != "0"
    }

    async fn is_ready(&self, node: usize) -> bool {
        let asked = self.fleet.nodes[node].request("GET", "/readyz").timeout(Duration::from_secs(1));
        http::send(asked).await.is_ok_and(|answer| answer.status == 200)
    }

    /// A delivery whose node dies before its cursor is on disk comes once more, as what it was: that is all that may.
    async fn ended_once_at_least(&self, id: &str) {
        let received = self.fleet.receiver.until_final(id).await;
        let mut by_key: BTreeMap<String, Value> = BTreeMap::new();
        for delivery in &received {
            let before = by_key.insert(delivery.header("idempotency-key").to_owned(), delivery.json.clone());
            assert!(before.is_none_or(|before| before == delivery.json), "{id}: one key for two\n{}", self.story);
        }
        let ends = by_key.values().filter(|event| event["detail"]["reason"].is_string()).count();
        assert_eq!(ends, 1, "{id}: {ends} ends\n{}", self.story);
        // Gapless, and in order.
        let sequences: Vec<u64> = received.iter().filter_map(sortie_tests::Received::sequence).collect();
        let mut highest = 0;
        for sequence in sequences {
            assert!(sequence <= highest + 1, "{id}: {sequence} came after {highest}\n{}", self.story);
            highest = highest.max(sequence);
        }
    }

    fn count(&mut self, what: &str, times: usize) {
        *self.sums.entry(what.to_owned()).or_default() += times;
    }
}
