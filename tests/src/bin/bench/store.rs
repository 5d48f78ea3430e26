//! Missions in a database, by one node and by three, beside missions in a file; how long it takes until what a dead node had goes on; and
//! what the database itself gives, to the statements of its own benchmark.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use sortie_tests::envelope::{automation, with};
use sortie_tests::{Node, Options, binary, http};

use crate::client::{Load, metric, mib, ms_since, quiet_node, trivial, waiting};
use crate::report::{Report, Unit, middle};
use crate::server::Server;
use crate::sizes::Sizes;

/// Connections of the load, to all nodes together.
const CONNECTIONS: usize = 64;

/// A token that all nodes know.
const TOKEN: &str = "a-token-of-the-bench-0123456789";

/// How long nodes wait for each other.
const LEASE: Duration = Duration::from_secs(2);

/// And where nothing else is said.
const LEASE_DEFAULT: Duration = Duration::from_secs(10);

/// What a dispatch is to the database, each in a transaction of its own, sent in one flight as a node does: its names, then the fence, its
/// event, its record and its head. The tables are those of `sortie migrate`, the rows as long as those of the load.
const DISPATCH: &str = "\\set share :client_id + 1
\\set no :share * 1000000000 + random(1, 999999999)
\\startpipeline
INSERT INTO sortie_claims (key, share) SELECT key, :share::bigint FROM unnest(ARRAY[('m' || :no::text)::bytea, ('k' || :no::text)::bytea]) AS k (key)
    ON CONFLICT (key) DO NOTHING;
\\endpipeline
\\startpipeline
BEGIN;
UPDATE sortie_shares SET token = CASE WHEN token = 1 THEN token END, commits = commits + 1, position = position + 1,
    last_no = last_no + 1, lease_until = now() + interval '10 seconds' WHERE share = :share;
INSERT INTO sortie_feed (position, row) VALUES (:no, decode(repeat('ab', 40), 'hex')) ON CONFLICT DO NOTHING;
INSERT INTO sortie_frames (mission, first, row) VALUES (:no, 0, decode(repeat('ab', 700), 'hex')) ON CONFLICT DO NOTHING;
INSERT INTO sortie_heads (mission, mission_id, source, idempotency_key, row)
    VALUES (:no, ('m' || :no::text)::bytea, 'simone', ('k' || :no::text)::bytea, decode(repeat('ab', 160), 'hex'))
    ON CONFLICT (mission) DO UPDATE SET row = excluded.row;
COMMIT;
\\endpipeline
";

/// Whom these transactions belong to: a share for each client, as each node has one.
const SHARES: &str = "INSERT INTO sortie_shares SELECT n, 1, '', '', '', '', now(), now(), 0, 0, 0, 0, NULL FROM generate_series(1, 64) AS n";

/// Dispatches and missions a second in each, then takings over.
pub(crate) async fn store(sizes: &Sizes, report: &Report) {
    let Some(server) = Server::start() else { return };
    let flushes = bare(&server);
    report.figure("transactions of pgbench, one small row each, 16 clients", flushes, Unit::PerSecond);
    for clients in [1, 16, 48] {
        let dispatched = statements(&server, clients, sizes.load);
        report.figure(&format!("dispatches of pgbench, {clients} clients"), dispatched, Unit::PerSecond);
    }
    let file = [quiet_node().await];
    let (one, three) = (nodes(&server, "one", 1, LEASE).await, nodes(&server, "three", 3, LEASE).await);
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
    for lease in [LEASE, LEASE_DEFAULT] {
        let mut taken = Vec::new();
        for round in 0..sizes.rounds {
            taken.push(taken_over(&server, &format!("taken{}x{round}", lease.as_secs()), lease).await);
        }
        report.figure(&format!("from kill -9 to another's answer, lease {lease:?}"), middle(taken), Unit::Ms);
    }
    wait(&server, sizes.waited, report).await;
}

/// What missions cost that wait: memory of the node, rows of the database, and the time of a start with them.
async fn wait(server: &Server, missions: u64, report: &Report) {
    let mut nodes = nodes(server, "wait", 1, LEASE).await;
    let rows = || {
        let size = "SELECT coalesce(sum(pg_total_relation_size(oid)), 0) FROM pg_class WHERE relname LIKE 'sortie%' AND relkind = 'r'";
        server.sql("wait", size).parse::<f64>().expect("a number")
    };
    let (memory, room) = (mib(nodes[0].resident_bytes()), rows());
    let body = with(waiting(), "/target_instance_id", json!("*")).to_string();
    Load::count(body, missions).run(&nodes[0], CONNECTIONS).await;
    let taken = mib(nodes[0].resident_bytes());
    report.beside(&format!("resident memory, {missions} queued in a database"), taken, Unit::MiB, memory);
    let each = (rows() - room) / 1_024.0 / missions as f64;
    report.figure("rows and indexes of each", each, Unit::KiB);
    nodes[0].kill();
    let begun = Instant::now();
    nodes[0].restart().await;
    report.figure("kill -9 to ready, lease and all", ms_since(begun), Unit::Ms);
    assert_eq!(metric(&nodes[0], "sortie_missions_queued").await, missions, "none was lost");
}

/// A database with the tables of this binary.
fn migrated(server: &Server, database: &str) -> String {
    let store = server.url(&server.database(database));
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("sortie.toml");
    std::fs::write(&config, format!("[node]\nstore = {store:?}\n")).expect("a writable folder");
    let mut migrate = std::process::Command::new(binary());
    let migrated = migrate.arg("--config").arg(&config).arg("migrate").env_remove("SORTIE_NODE").output();
    assert!(migrated.expect("it runs").status.success(), "there are no tables");
    store
}

/// Nodes on a database of their own.
async fn nodes(server: &Server, database: &str, count: usize, lease: Duration) -> Vec<Node> {
    let store = migrated(server, database);
    let mut nodes = Vec::new();
    for number in 0..count {
        let lease = lease.as_secs();
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
async fn taken_over(server: &Server, database: &str, lease: Duration) -> f64 {
    let mut nodes = nodes(server, database, 2, lease).await;
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

/// What it gives to the statements of a dispatch.
fn statements(server: &Server, clients: u32, time: Duration) -> f64 {
    let database = format!("statements{clients}");
    migrated(server, &database);
    server.sql(&database, SHARES);
    server.pgbench(&database, DISPATCH, clients, time.as_secs().max(1))
}
