//! `cargo xtask demo --fleet`: three nodes on one PostgreSQL, and a control plane that dispatches to all of them and trusts none.
//!
//! In the middle of the night one node is killed, and stays dead: the others go on with what it had. In the morning every mission
//! must have been reported to its one end as the contract says, or this fails: the demo is a test, too.

#![expect(clippy::print_stdout, reason = "what the demo shows is its data")]
#![expect(clippy::disallowed_methods, reason = "it tells how long what it shows takes")]

#[path = "../../../runtime/journal/tests/postgres_kit/server.rs"]
#[allow(dead_code, reason = "the tests of the journal use more of it")]
mod server;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use server::Server;
use sortie_control_plane::{Fleet, Ledger, Night, Receiver, Weather, until_closed};
use sortie_tests::{Node, Options, binary, project, until};

/// The nodes; the last is killed.
const NODES: [&str; 3] = ["alpha", "bravo", "charlie"];

/// How long others wait for a sign of life before they go on with what a node had.
const LEASE: &str = "2s";

/// A token that all nodes know.
const TOKEN: &str = "a-token-of-the-fleet-0123456789";

/// The secret of the callbacks, and what the envelopes call it.
const SECRET: (&str, &str) = ("UA_INTERNAL_API_TOKEN", "demo-secret");

/// How many missions there are, and after how many ends one node is killed.
const MISSIONS: usize = 120;
const KILLED_AFTER: usize = 30;

/// How long the night may take.
const WITHIN: Duration = Duration::from_secs(240);

#[tokio::main]
async fn main() {
    let Some(server) = Server::start() else { panic!("there is no PostgreSQL: `cargo xtask demo --fleet` gets one") };
    let store = server.url(&server.database("fleet"));
    migrate(&store);
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let weather = Weather { refuse_one_of: 9, lose_one_of: 7 };
    let anywhere = "127.0.0.1:0".parse().expect("an address");
    let secret = Some(SECRET.1.to_owned());
    let receiver = Receiver::start(anywhere, Arc::clone(&ledger), secret, weather).await.expect("a free port");
    println!("store          {store}");
    println!("control plane  {}\n", receiver.url());
    let mut nodes = Vec::new();
    // The missions write files: what a dead node had of them is where the others find it.
    let shared = tempfile::tempdir().expect("a folder");
    for name in NODES {
        let node = started(name, &store, shared.path(), &receiver).await;
        println!("node {name:<8}  {}", node.url());
        nodes.push(node);
    }
    know_each_other(&nodes).await;

    let fleet = Fleet::new(nodes.iter().map(|node| node.url().to_owned()), TOKEN).expect("a client");
    let text = std::fs::read_to_string(project().join("examples/nightly-report.json")).expect("an example");
    let mut envelope: Value = serde_json::from_str(&text).expect("it is JSON");
    envelope["artifact_policy"]["storage_scope"] = "shared".into();
    let night = Night {
        envelope,
        name: "night".into(),
        missions: MISSIONS,
        vps: 24,
        at_once: 6,
        twice: true,
        auth_ref: format!("env://{}", SECRET.0),
        within: WITHIN,
    };
    println!("\n{MISSIONS} missions of {} VPs, each dispatched twice at once, to two nodes", night.vps);
    println!(
        "one event of {} is refused, the answer to one of {} is lost\n",
        weather.refuse_one_of, weather.lose_one_of
    );
    let heard = Arc::clone(&ledger);
    let (dying, living) = nodes.split_last_mut().expect("there are three");
    let (morning, ()) = tokio::join!(night.pass(&fleet, &receiver, &ledger), async {
        until_closed(&heard, KILLED_AFTER, WITHIN).await;
        dying.kill();
        let killed = Instant::now();
        println!("{} is killed, with whatever it has in hand", NODES[2]);
        until("somebody goes on with what it had", async || {
            let listed = living[0].get("/v1/nodes").await.json;
            let others = listed["items"].as_array()?;
            others.iter().all(|node| node["instance_id"] != NODES[2]).then_some(())
        })
        .await;
        println!("{:.1} s later another has gone on with it (the lease is {LEASE})", killed.elapsed().as_secs_f64());
    });
    println!("\n{morning}\n");
    for (name, node) in NODES.iter().zip(&*living) {
        println!("node {name:<8}  completed {}", completed(node).await);
    }
    assert!(morning.is_good(), "the night was not as the contract says");
}

/// Makes the tables.
fn migrate(store: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("sortie.toml");
    std::fs::write(&config, format!("[node]\nstore = {store:?}\n")).expect("a writable folder");
    let mut migrate = std::process::Command::new(binary());
    let migrated = migrate.arg("--config").arg(&config).arg("migrate").env_remove("SORTIE_NODE").output();
    let migrated = migrated.expect("it runs");
    assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
}

async fn started(name: &str, store: &str, shared: &Path, receiver: &Receiver) -> Node {
    let config = format!(
        "[node]\nstore = {store:?}\nadvertise = \"http://127.0.0.1:0\"\nlease = \"{LEASE}\"\n\
         [artifact]\nshared = \"file://{}\"\n[workspace]\nportable = true\n\
         [callback]\nallow_private = [\"127.0.0.1\"]\n\
         [[callback.secret]]\nref = \"env://{}\"\nhosts = [\"{}\"]\n",
        shared.display(),
        SECRET.0,
        receiver.host()
    );
    Options::new().config(&config).env(SECRET.0, SECRET.1).name(name).token(TOKEN).start().await
}

async fn know_each_other(nodes: &[Node]) {
    for node in nodes {
        until("they know each other", async || {
            let listed = node.get("/v1/nodes").await;
            let others = listed.json["items"].as_array()?;
            (others.len() == nodes.len() && others.iter().all(|other| other["url"].is_string())).then_some(())
        })
        .await;
    }
}

/// How many missions a node has brought to their end.
async fn completed(node: &Node) -> String {
    let metrics = node.get("/metrics").await.text;
    let count = metrics.lines().find_map(|line| line.strip_prefix("sortie_missions_completed_total "));
    count.expect("it is counted").to_owned()
}
