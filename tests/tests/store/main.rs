//! A node whose missions are in a PostgreSQL database: kills of the node and of the database lose nothing, and what only a file can do is
//! answered with what to do instead. The laws that the log in there obeys are tested with the journal.

#[path = "../../../runtime/journal/tests/postgres_kit/server.rs"]
#[allow(dead_code, reason = "the tests of the journal use more of it")]
mod server;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use server::Server;
use sortie_tests::envelope::{automation, edit, with, write, writing};
use sortie_tests::load::one_end;
use sortie_tests::{Load, Node, Options, binary, until};

/// The lines of a configuration that name a database of this server.
fn config(server: &Server, database: &str) -> String {
    format!("[node]\nstore = \"{}\"\n", server.url(database))
}

/// What a command says, and with which code it ends.
fn said(folder: &Path, arguments: &[&str]) -> (String, Option<i32>) {
    let ended = Command::new(binary())
        .arg("--config")
        .arg(folder.join("sortie.toml"))
        .args(arguments)
        .args(if arguments[0] == "migrate" { &[][..] } else { &["--data-dir"][..] })
        .args((arguments[0] != "migrate").then(|| folder.join("data")))
        .env_remove("SORTIE_NODE")
        .output()
        .expect("it runs");
    let text = [ended.stdout, ended.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (text, ended.status.code())
}

/// A folder with a configuration, and the tables in the database that it names.
fn made(server: &Server, database: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let config = config(server, &server.database(database));
    std::fs::write(folder.path().join("sortie.toml"), &config).expect("written");
    let (text, code) = said(folder.path(), &["migrate"]);
    assert_eq!(code, Some(0), "{text}");
    (folder, config)
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_made_first_and_a_store_is_many_nodes() {
    let Some(server) = Server::start() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let lines = config(&server, &server.database("one"));
    std::fs::write(folder.path().join("sortie.toml"), &lines).expect("written");
    let serve = ["serve", "--listen", "127.0.0.1:0"];
    let expect = |(text, code): (String, Option<i32>), wanted: i32, words: &str| {
        assert!(text.contains(words) && code == Some(wanted), "{code:?}: {text}");
    };
    expect(said(folder.path(), &serve), 6, "run `sortie migrate`");
    expect(said(folder.path(), &["migrate"]), 0, "has tables of version 3 now (before: 0)");
    expect(said(folder.path(), &["migrate"]), 0, "already");
    // What is about a file.
    let file = folder.path().join("backup.tar").display().to_string();
    expect(said(folder.path(), &["backup", &file]), 6, "pg_dump");
    expect(said(folder.path(), &["restore", &file]), 6, "pg_restore");
    let node = Options::new().config(&lines).start().await;
    let id = node.accept(&writing("m-1")).await;
    node.until_final(&id).await;
    assert!(!node.data().join("journal.redb").exists());
    let other = Options::new().config(&lines).name("factory-2").start().await;
    let elsewhere = with(with(writing("m-2"), "/target_instance_id", json!("factory-2")), "/vp_id", json!("vp.second"));
    let of_other = other.accept(&elsewhere).await;
    other.until_final(&of_other).await;
    drop(other);
    let (found, _) = said(folder.path(), &["doctor"]);
    assert!(found.contains("has tables of version 3"), "{found}");
    // A backup of the node that runs is a journal: a node without a database goes on from it.
    let archive = node.folder().join("backup.tar");
    let backup = node.cli(&["backup", &archive.display().to_string()]).await;
    assert!(backup.status.success(), "{}", String::from_utf8_lossy(&backup.stderr));
    std::fs::write(folder.path().join("sortie.toml"), "").expect("written");
    let (text, code) = said(folder.path(), &["restore", "--replace", &archive.display().to_string()]);
    assert_eq!(code, Some(0), "{text}");
    // And where a file is beside a database nobody has to guess which of them holds.
    std::fs::write(folder.path().join("sortie.toml"), &lines).expect("written");
    expect(said(folder.path(), &serve), 2, "names a database that holds others");
}

/// `KILLS` says how often.
#[tokio::test(flavor = "multi_thread")]
async fn kill_after_kill_nothing_is_lost_and_nothing_is_done_twice() {
    let Some(server) = Server::start() else { return };
    let (_folder, lines) = made(&server, "kills");
    let kills: u64 = std::env::var("KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(15);
    let mut load = Load::of_all_kinds().await;
    let mut node = load.node(Options::new().config(&lines).config("[limits]\ncrashes_alone = 1000")).await;
    for kill in 0..kills {
        if kill % 5 == 0 {
            load.press_until_one_ends(&node).await;
        }
        load.press(&node, Duration::from_millis(40 * (kill % 7))).await;
        node.kill();
        load.until_alone().await;
        node.restart().await;
    }
    load.finish(&node).await;
}

/// The events of a mission, which are 1, 2, 3 … and end once.
async fn whole(node: &Node, id: &str) {
    let events = node.events(id).await;
    let sequences: Vec<u64> = events.iter().filter_map(|event| event["sequence"].as_u64()).collect();
    assert_eq!(sequences, (1..=events.len() as u64).collect::<Vec<_>>(), "{id}");
    assert_eq!(one_end(id, &events)["status"], "completed", "{id}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_killed_loses_nothing_and_the_node_goes_on_when_it_is_back() {
    let Some(mut server) = Server::start() else { return };
    let (_folder, lines) = made(&server, "away");
    let node = Options::new().config(&lines).start().await;
    for round in 0..3 {
        // Calls with an effect, each once: one that was made twice would not find what it changes.
        let mut steps = vec![write("e0", "n.txt", "0x")];
        for n in 1..=20 {
            let mut step = edit(&format!("e{n}"), "n.txt", &format!("{}x", n - 1), &format!("{n}x"));
            step["needs"] = json!([format!("e{}", n - 1)]);
            steps.push(step);
        }
        let long = node.accept(&automation(&format!("long-{round}"), &Value::Array(steps))).await;
        // Dispatches on their way while it goes.
        let names: Vec<String> = (0..12).map(|n| format!("m-{round}-{n}")).collect();
        let envelopes: Vec<Value> = names.iter().map(|name| writing(name)).collect();
        let on_their_way = futures_util::future::join_all(envelopes.iter().map(|envelope| node.dispatch(envelope)));
        let (answers, ()) = tokio::join!(on_their_way, async {
            server.kill();
            until("the node has seen it", async || (node.get("/readyz").await.status == 503).then_some(())).await;
            let read = node.get(&format!("/v1/missions/{long}")).await;
            read.expect_problem(503, "store_away");
            let refused = node.dispatch(&writing(&format!("refused-{round}"))).await;
            refused.expect_problem(503, "store_away");
            assert!(!refused.header("retry-after").is_empty());
            assert_eq!(node.request("GET", "/metrics").send().await.expect("an answer").status(), 200);
            server.go_on();
        });
        until("the node is ready again", async || (node.get("/readyz").await.status == 200).then_some(())).await;
        for (envelope, answer) in envelopes.iter().zip(answers) {
            let id = envelope["mission_id"].as_str().expect("it has one").to_owned();
            if answer.status == 202 {
                // What was acknowledged is there.
                node.mission(&id).await;
            } else {
                answer.expect_problem(503, answer.code());
                assert!([200, 202].contains(&node.dispatch(envelope).await.status), "{id}");
            }
            node.until_final(&id).await;
            whole(&node, &id).await;
        }
        node.until_final(&long).await;
        whole(&node, &long).await;
        node.run(&writing(&format!("refused-{round}"))).await;
    }
}
