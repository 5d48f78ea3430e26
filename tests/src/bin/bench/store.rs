//! Missions in a database, by one node and by three, beside missions in a file; how long it takes until what a dead node had goes on; and
//! what the database itself gives, to the statements of its own benchmark.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use sortie_tests::envelope::{automation, with};
use sortie_tests::{Node, Options, binary, http};

use crate::client::{Load, metric, ms_since, quiet_node, trivial, waiting};
use crate::report::{Report, Unit, middle};
use crate::server::Server;
use crate::sizes::Sizes;

/// Connections of the load, to all nodes together.
const CONNECTIONS: usize = 64;

/// A token that all nodes know.
const TOKEN: &str = "a-token-of-the-bench-0123456789";

/// How long nodes wait for each other.
const LEASE: Duration = Duration::from_secs(2);

/// Dispatches and missions a second in each, then takings over.
pub(crate) async fn store(sizes: &Sizes, report: &Report) {
    let Some(server) = Server::start() else { return };
    let flushes = bare(&server);
    report.figure("transactions of pgbench, 16 clients", flushes, Unit::PerSecond);
    let file = [quiet_node().await];
    let (one, three) = (nodes(&server, "one", 1).await, nodes(&server, "three", 3).await);
    let (mut dispatched, mut ended) = ([vec![], vec![], vec![]], [vec![], vec![], vec![]]);
    for _ in 0..sizes.rounds {
        for (case, nodes) in [file.as_slice(), &one, &three].into_iter().enumerate() {
            dispatched[case].push(dispatches(nodes, sizes.load).await);
            ended[case].push(missions(nodes, sizes.stored).await);
        }
    }
    for (what, measured) in [("dispatches", dispatched), ("trivial missions", ended)] {
        let [file, one, three] = measured.map(middle);
        report.figure(&format!("{what}, a file"), file, Unit::PerSecond);
        report.beside(&format!("{what}, a database"), one, Unit::PerSecond, file);
        report.beside(&format!("{what}, a database and three nodes"), three, Unit::PerSecond, one);
    }
    drop((file, one, three));
    let mut taken = Vec::new();
    for round in 0..sizes.rounds {
        taken.push(taken_over(&server, round).await);
    }
    report.figure(&format!("from kill -9 to another's answer, lease {LEASE:?}"), middle(taken), Unit::Ms);
}

/// Nodes on a database of their own.
async fn nodes(server: &Server, database: &str, count: usize) -> Vec<Node> {
    let store = server.url(&server.database(database));
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("sortie.toml");
    std::fs::write(&config, format!("[node]\nstore = {store:?}\n")).expect("a writable folder");
    let mut migrate = std::process::Command::new(binary());
    let migrated = migrate.arg("--config").arg(&config).arg("migrate").env_remove("SORTIE_NODE").output();
    assert!(migrated.expect("it runs").status.success(), "there are no tables");
    let mut nodes = Vec::new();
    for number in 0..count {
        let lease = LEASE.as_secs();
        let config = format!(
            "[node]\nmax_running = 64\nstore = {store:?}\nadvertise = \"http://127.0.0.1:0\"\nlease = \"{lease}s\""
        );
        let options = Options::new().config(&config).env("RUST_LOG", "warn").name(&format!("n{number}")).token(TOKEN);
        nodes.push(options.start().await);
    }
    nodes
}

/// The load on all of them at once.
async fn dispatches(nodes: &[Node], time: Duration) -> f64 {
    let body = with(waiting(), "/target_instance_id", json!("*")).to_string();
    let loads = nodes.iter().map(|node| Load::lasting(body.clone(), time).run(node, CONNECTIONS / nodes.len()));
    join_all(loads).await.iter().map(crate::client::Outcome::per_second).sum()
}

async fn missions(nodes: &[Node], count: u64) -> f64 {
    let body = with(trivial(), "/target_instance_id", json!("*")).to_string();
    let each = count / nodes.len() as u64;
    let before = completed(nodes).await;
    let begun = Instant::now();
    let loads = nodes.iter().map(|node| Load::count(body.clone(), each).run(node, CONNECTIONS / nodes.len()));
    join_all(loads).await;
    let all = each * nodes.len() as u64;
    while completed(nodes).await - before < all {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    all as f64 / begun.elapsed().as_secs_f64()
}

async fn completed(nodes: &[Node]) -> u64 {
    let counts = join_all(nodes.iter().map(|node| metric(node, "sortie_missions_completed_total"))).await;
    counts.iter().sum()
}

/// From the kill of a node that has a mission, to the moment at which another says how that stands.
async fn taken_over(server: &Server, round: usize) -> f64 {
    let mut nodes = nodes(server, &format!("taken{round}"), 2).await;
    let mission = automation("sleeps", &json!([{"id": "s", "sleep": "1h"}]));
    nodes[1].accept(&with(mission, "/target_instance_id", json!("n1"))).await;
    nodes[1].until_status("sleeps", "running").await;
    nodes[1].kill();
    let begun = Instant::now();
    loop {
        let answer = http::send(nodes[0].request("GET", "/v1/missions/sleeps")).await.expect("an answer");
        if answer.status == 200 {
            return ms_since(begun);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What the database gives to its own benchmark: one small write a transaction.
fn bare(server: &Server) -> f64 {
    let database = server.database("bare");
    server.sql(&database, "CREATE TABLE rows (row bytea)");
    server.pgbench(&database, "INSERT INTO rows VALUES (decode(repeat('ab', 200), 'hex'));\n", 16, 3)
}
