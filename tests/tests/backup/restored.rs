//! Backups of nodes that run and of folders where none does, and what becomes of them.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

use jiff::SignedDuration;
use serde_json::{Value, json};
use sortie_tests::envelope::{in_ms, with, write, writing};
use sortie_tests::load::one_end;
use sortie_tests::node::is_final;
use sortie_tests::{Node, Options, Receiver, automation, binary, http, until};

/// Gives a node the time in which it would have done what it must not do: some rounds of whatever looks again and again, of which the
/// slowest takes a second, and of which each look here takes a hundredth.
async fn some_rounds() {
    let mut looks = 0;
    until("time passes", async || {
        looks += 1;
        (looks > 400).then_some(())
    })
    .await;
}

/// A mission that is on its way for a moment, leaves an artifact, and tells a receiver.
fn mission(id: &str, receiver: &Receiver) -> Value {
    let rest = json!({"id": "rest", "sleep": "300ms", "needs": ["a"]});
    let mut last = write("b", "b.txt", &format!("of {id}"));
    // Of its own text: the file is of the workspace, which is in no backup, and may be written and not yet be stored when that is taken.
    (last["needs"], last["artifact"]) = (json!(["rest"]), json!({"name": "b.txt", "content": format!("of {id}")}));
    let mission = automation(id, &json!([write("a", "a.txt", "first"), rest, last]));
    with(mission, "/callback", receiver.callback())
}

/// The command line without a node that is named: as whoever stands before a machine would type it.
async fn bare(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.arg("--config").arg(folder.join("sortie.toml")).args(arguments).env("NO_COLOR", "1").env("TZ", "UTC");
    command.env_remove("SORTIE_TOKEN").env_remove("SORTIE_NODE").env("CALLBACK_TOKEN", "hush");
    tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("the binary starts")
}

fn ok(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}: {out}{err}", output.status);
    out.into_owned()
}

fn refused(output: &Output, code: i32, says: &str) {
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{err}");
    assert!(err.contains(says), "{err}");
}

async fn statuses(node: &Node) -> Vec<(String, String)> {
    let page = node.get("/v1/missions?limit=500").await.expect_status(200);
    let items = page.json["items"].as_array().expect("a list").clone();
    let text = |item: &Value, key: &str| item[key].as_str().expect("a text").to_owned();
    items.iter().map(|item| (text(item, "mission_id"), text(item, "status"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_backup_under_load_knows_goes_on_elsewhere_once_somebody_says_so() {
    let receiver = Receiver::start().await;
    let config = receiver.config();
    let options = || Options::new().config(&config).env("CALLBACK_TOKEN", "hush");
    let mut node = options().start().await;
    for number in 0..12 {
        node.accept(&mission(&format!("before-{number}"), &receiver)).await;
    }
    node.until_final("before-0").await;
    // While it is taken, others come.
    let file = node.folder().join("backup.tar");
    let name = file.to_str().expect("a name");
    let arguments = ["--json", "backup", name];
    let (taken, ()) = tokio::join!(node.cli(&arguments), async {
        for number in 0..12 {
            node.accept(&mission(&format!("meanwhile-{number}"), &receiver)).await;
        }
    });
    let taken: Value = serde_json::from_str(&ok(&taken)).expect("JSON");
    node.accept(&mission("later", &receiver)).await;
    node.kill();
    let known = taken["manifest"]["journal"]["missions"].as_u64().expect("a number");
    assert!((12..=24).contains(&known), "{taken}");
    let held_aside = std::fs::read_dir(node.data().join("backup.partial")).map_or(0, Iterator::count);
    assert_eq!(held_aside, 0, "the copy of the journal is gone");
    ok(&bare(node.folder(), &["backup", "--verify", name]).await);
    refused(&bare(node.folder(), &["backup", name]).await, 2, "is there already");

    // Elsewhere: a node of its own, with a token of its own.
    let mut other = options().start().await;
    let data = other.data();
    let data_dir = data.to_str().expect("a name");
    refused(&bare(other.folder(), &["restore", name, "--data-dir", data_dir]).await, 6, "a node works on");
    assert!(other.stop().await.success());
    refused(&bare(other.folder(), &["restore", name, "--data-dir", data_dir]).await, 6, "is not empty");
    let planned = ok(&bare(other.folder(), &["restore", name, "--data-dir", data_dir, "--dry-run"]).await);
    assert!(planned.contains("nothing was written"), "{planned}");
    let said = ok(&bare(other.folder(), &["restore", name, "--data-dir", data_dir, "--replace"]).await);
    assert!(said.contains("sortie node resume") && said.contains("before-restore-"), "{said}");

    // It holds back: it takes missions, and nothing leaves it.
    let (received, token) = (receiver.received().len(), other.token().to_owned());
    other.restart().await;
    assert_eq!(other.token(), token, "who was let in is let in");
    let before = statuses(&other).await;
    assert_eq!(before.len() as u64, known);
    let info = other.get("/v1/node").await.expect_status(200).json;
    assert_eq!((&info["state"], &info["restored"]["taken_at"]), (&json!("paused"), &taken["manifest"]["taken_at"]));
    let ready = http::send(http::client().get(format!("{}/readyz", other.url()))).await.expect("an answer");
    assert!(ready.json["status"].as_str().is_some_and(|says| says.starts_with("held")), "{ready:?}");
    let doctor = other.cli(&["doctor"]).await;
    assert_eq!(doctor.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&doctor.stdout).contains("held since it was restored"), "{doctor:?}");
    other.accept(&mission("in-the-meantime", &receiver)).await;
    // Through a restart, too.
    other.kill();
    other.restart().await;
    let still = statuses(&other).await;
    assert!(still.contains(&("in-the-meantime".to_owned(), "queued".to_owned())), "{still:?}");
    for mission in &before {
        assert!(is_final(&mission.1) || still.contains(mission), "{mission:?} went on by itself");
    }
    assert_eq!(receiver.received().len(), received, "nothing was sent");

    ok(&other.cli(&["node", "resume"]).await);
    assert_eq!(other.get("/v1/node").await.json["restored"], Value::Null);
    let all: BTreeSet<String> = still.into_iter().map(|(id, _)| id).collect();
    for id in &all {
        let ended = other.until_final(id).await;
        assert_eq!(ended["status"], "completed", "{id}: {ended}");
        let _ = one_end(id, &other.events(id).await);
        let artifact = other.get(&format!("/v1/missions/{id}/artifacts/b.txt")).await.expect_status(200);
        assert_eq!(artifact.text, format!("of {id}"), "its bytes came along");
        let arrived = receiver.until_final(id).await;
        let ends = arrived.iter().filter(|event| is_final(event.json["status"].as_str().unwrap_or_default()));
        let keys: BTreeSet<&str> = ends.map(|event| event.header("idempotency-key")).collect();
        assert_eq!(keys.len(), 1, "{id}: one end, however often it is told: {keys:?}");
    }
    other.get("/v1/missions/later").await.expect_status(404);
    // From now on a start is a start.
    other.kill();
    other.restart().await;
    assert_eq!(other.get("/v1/node").await.json["state"], "serving");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_without_a_node_is_backed_up_and_an_older_copy_says_what_it_forgets() {
    let mut node = Node::start().await;
    node.run(&writing("kept")).await;
    assert!(node.stop().await.success());
    let (folder, data) = (node.folder().to_owned(), node.data());
    let data_dir = data.to_str().expect("a name").to_owned();
    let file = folder.join("cold.tar");
    let name = file.to_str().expect("a name");
    let said = ok(&bare(&folder, &["backup", name, "--data-dir", &data_dir]).await);
    assert!(said.contains("whole") && said.contains("1, of which 0 had not ended"), "{said}");
    node.restart().await;
    node.run(&writing("forgotten")).await;
    // Somebody who has the token of the folder and not the address asks the node that runs there.
    let warm = folder.join("warm.tar");
    ok(&bare(&folder, &["backup", warm.to_str().expect("a name"), "--data-dir", &data_dir]).await);
    assert!(node.stop().await.success());
    let said = ok(&bare(&folder, &["restore", name, "--data-dir", &data_dir, "--replace"]).await);
    assert!(said.contains("1 missions that were accepted since (forgotten)"), "{said}");
    node.restart().await;
    assert_eq!(statuses(&node).await, [("kept".to_owned(), "completed".to_owned())]);
    // Back again: nothing was removed, and the newer backup has it, too.
    assert!(node.stop().await.success());
    ok(&bare(&folder, &["restore", warm.to_str().expect("a name"), "--data-dir", &data_dir, "--replace"]).await);
    node.restart().await;
    assert_eq!(statuses(&node).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_for_administrators_one_at_a_time_and_gone_with_who_reads_it() {
    let config = "[[token]]\nname = \"op\"\nref = \"env://OP\"\nscopes = [\"read\", \"operate\", \"dispatch\"]";
    let node = Options::new().config(config).env("OP", "operator-operator").start().await;
    // More than fits between the node and a client that does not read.
    for number in 0..4 {
        let text = number.to_string().repeat(900_000);
        let mut step = write("w", "big.txt", &text);
        step["artifact"] = json!("big.txt");
        node.run(&automation(&format!("big-{number}"), &json!([step]))).await;
    }
    let asked = http::client().get(format!("{}/v1/backup", node.url())).bearer_auth("operator-operator");
    http::send(asked).await.expect("an answer").expect_problem(403, "forbidden");
    let slow = node.request("GET", "/v1/backup").send().await.expect("an answer");
    assert_eq!(slow.status(), 200);
    node.get("/v1/backup").await.expect_problem(409, "backup_runs");
    drop(slow);
    until("the place is free again", async || {
        let answer = node.request("GET", "/v1/backup").send().await.ok()?;
        (answer.status() == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_last_backup_was_sent_whole_is_known_also_after_a_restart() {
    let mut node = Node::start().await;
    node.run(&writing("one")).await;
    let of = |node: Value| node["last_backup"].clone();
    assert_eq!(of(node.get("/v1/node").await.json), Value::Null);
    let before = jiff::Timestamp::now();
    let file = node.folder().join("sortie.tar").to_string_lossy().into_owned();
    assert!(node.cli(&["backup", &file]).await.status.success());
    let known = until("it is known", async || {
        of(node.get("/v1/node").await.json).as_str().and_then(|at| at.parse::<jiff::Timestamp>().ok())
    })
    .await;
    assert!(known >= before && known <= jiff::Timestamp::now(), "{known}");
    let counted = node.get("/metrics").await.text;
    assert!(counted.contains(&format!("sortie_last_backup_timestamp_seconds {}", known.as_second())), "{counted}");
    node.kill();
    node.restart().await;
    assert_eq!(of(node.get("/v1/node").await.json), json!(known.to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_does_not_start_where_a_restore_was_broken_off() {
    let mut node = Node::start().await;
    assert!(node.stop().await.success());
    std::fs::write(node.data().join("restore-in-progress"), "").expect("written");
    let said = node.refused().await;
    assert!(said.contains("was broken off") && said.contains("--replace"), "{said}");
    // Nor is what is there backed up: it is a part of two nodes.
    let (file, data) = (node.folder().join("half.tar"), node.data());
    let [name, data_dir] = [&file, &data].map(|path| path.to_str().expect("a name"));
    let output = bare(node.folder(), &["backup", name, "--data-dir", data_dir]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("was broken off") && !file.exists(), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_restored_outlives_its_age_until_the_node_is_let_go_on() {
    let mut node = Node::start().await;
    let mut step = write("w", "old.txt", "of then");
    step["artifact"] = json!("old.txt");
    node.run(&automation("old", &json!([step]))).await;
    let file = node.folder().join("backup.tar");
    let name = file.to_str().expect("a name").to_owned();
    ok(&node.cli(&["backup", &name]).await);
    assert!(node.stop().await.success());
    let (folder, data) = (node.folder().to_owned(), node.data());
    ok(&bare(&folder, &["restore", &name, "--data-dir", data.to_str().expect("a name"), "--replace"]).await);
    node.reconfigure("[retention]\nage = \"1s\"");
    node.restart().await;
    some_rounds().await;
    let artifact = node.get("/v1/missions/old/artifacts/old.txt").await.expect_status(200);
    assert_eq!(artifact.text, "of then");
    ok(&node.cli(&["node", "resume"]).await);
    until("it is removed then", async || {
        (http::send(node.request("GET", "/v1/missions/old")).await.ok()?.status == 404).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_node_ends_nothing_and_tells_nobody_until_it_is_let_go_on() {
    let receiver = Receiver::start().await;
    let mut node = Options::new().faulty().start().await;
    let asking = |id: &str| with(writing(id), "/constraints/approval_required", json!(["Write"]));
    node.accept(&asking("asks")).await;
    node.accept(&with(asking("closes"), "/autonomy_window", json!({"end_at": in_ms(3_600_000)}))).await;
    for id in ["asks", "closes"] {
        node.until_status(id, "blocked").await;
    }
    let file = node.folder().join("backup.tar");
    let name = file.to_str().expect("a name").to_owned();
    ok(&node.cli(&["backup", &name]).await);
    assert!(node.stop().await.success());
    let (folder, data) = (node.folder().to_owned(), node.data());
    ok(&bare(&folder, &["restore", &name, "--data-dir", data.to_str().expect("a name"), "--replace"]).await);
    let channel = format!(
        "[[notify]]\nname = \"night\"\non = [\"blocked\", \"failed\", \"digest\"]\nurl = \"{}\"\n\
         allow_private = [\"127.0.0.1\"]\ngroup = \"1s\"",
        receiver.url()
    );
    node.reconfigure(&channel);
    node.restart().await;
    // Two days later: the request has expired, the window is closed, and a digest is due.
    node.faults().set_clock(SignedDuration::from_hours(49));
    some_rounds().await;
    let mut still = statuses(&node).await;
    still.sort();
    let blocked = |id: &str| (id.to_owned(), "blocked".to_owned());
    assert_eq!(still, [blocked("asks"), blocked("closes")]);
    assert!(receiver.received().is_empty(), "{:?}", receiver.received());
    // What is cancelled now was cancelled, and not timed out.
    ok(&node.cli(&["cancel", "closes"]).await);
    assert_eq!(node.until_final("closes").await["status"], "cancelled");
    ok(&node.cli(&["node", "resume"]).await);
    let end = node.until_final("asks").await;
    assert_eq!((&end["status"], &end["detail"]["reason"]), (&json!("timed_out"), &json!("request_expired")), "{end}");
    until("people are told then", async || {
        receiver.received().iter().any(|told| told.json.to_string().contains("asks")).then_some(())
    })
    .await;
}
