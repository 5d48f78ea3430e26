//! Artifacts in a store that nodes share, on a server that others wrote and on a folder: what is recorded is there, what is read is what was
//! stored, and a store that is away holds missions up and loses nothing.

#![expect(clippy::disallowed_methods, reason = "tests watch a node from outside, with the clock of the outside")]

mod bucket;
mod portable;

use bucket::{Bucket, Weather};
use serde_json::{Value, json};
use sortie_tests::envelope::{automation, with, write};
use sortie_tests::{Node, Options, http, until};

/// A mission that stores a report and a text, of the scope `shared`.
fn producing(id: &str) -> Value {
    let mut report = write("a", "report.md", "# Report\n");
    report["artifact"] = json!("reports/weekly.md");
    let made = json!({"id": "b", "needs": ["a"], "tool": "Read", "with": {"path": "report.md"},
        "artifact": {"name": "data.json", "content": "{\"ok\": true}", "media_type": "application/json"}});
    with(automation(id, &json!([report, made])), "/artifact_policy/storage_scope", json!("shared"))
}

fn options(config: &str) -> Options {
    Options::new().config(config).env("S3_ID", "AKIAEXAMPLE").env("S3_KEY", "a-key-of-the-tests")
}

/// Holds what a mission stored against what it was to store.
async fn holds(node: &Node, id: &str) {
    let index = node.get(&format!("/v1/missions/{id}/artifacts")).await.expect_status(200).json;
    assert_eq!(index["items"].as_array().map(Vec::len), Some(2), "{index:#}");
    let report = node.get(&format!("/v1/missions/{id}/artifacts/reports/weekly.md")).await.expect_status(200);
    assert_eq!(report.text, "# Report\n");
    let json = node.get(&format!("/v1/missions/{id}/artifacts/data.json")).await.expect_status(200);
    assert_eq!(json.text, "{\"ok\": true}");
}

/// What `sortie doctor` says of the node and its configuration.
async fn doctor(node: &Node) -> String {
    let data = node.data().display().to_string();
    String::from_utf8_lossy(&node.cli(&["doctor", "--data-dir", &data]).await.stdout).into_owned()
}

/// How many files are in the node's own store.
fn own_files(node: &Node) -> usize {
    let folders = std::fs::read_dir(node.data().join("artifacts")).expect("it is there").flatten();
    folders.filter_map(|folder| Some(std::fs::read_dir(folder.path()).ok()?.count())).sum()
}

#[tokio::test]
async fn artifacts_are_in_the_bucket_and_are_read_through_the_node() {
    let Some(bucket) = Bucket::start().await else { return };
    let node = options(&bucket.config(None)).start().await;
    assert_eq!(node.run(&producing("one")).await["status"], "completed");
    holds(&node, "one").await;
    let keys = bucket.keys().await;
    assert_eq!(keys.len(), 2, "{keys:?}");
    assert!(keys.iter().all(|key| key.starts_with("sortie/one/artifacts/one-")), "{keys:?}");
    assert_eq!(own_files(&node), 0);

    let path = "/v1/missions/one/artifacts/reports/weekly.md";
    let whole = node.get(path).await;
    let etag = whole.header("etag").to_owned();
    assert!(keys.iter().any(|key| key.ends_with(etag.trim_matches('"'))), "{etag}: {keys:?}");
    let part = http::send(node.request("GET", path).header("range", "bytes=2-4")).await.expect("an answer");
    assert_eq!((part.status, part.text.as_str(), part.header("content-range")), (206, "Rep", "bytes 2-4/9"));
    let known = http::send(node.request("GET", path).header("if-none-match", &etag)).await.expect("an answer");
    assert_eq!(known.status, 304);
    let got = node.cli(&["artifacts", "one", "--get", "reports/weekly.md"]).await;
    assert_eq!(String::from_utf8_lossy(&got.stdout), "# Report\n");

    let said = doctor(&node).await;
    assert!(said.contains("s3://factory/sortie/one can be written and read from here"), "{said}");
    let metrics = node.get("/metrics").await.text;
    assert!(metrics.contains("sortie_shared_store_objects_written_total 2"), "{metrics}");
    assert!(metrics.contains("sortie_shared_store_away 0"), "{metrics}");
    assert_eq!(bucket.keys().await, keys, "what was tried is gone");
}

#[tokio::test]
async fn a_fork_has_its_own_and_what_a_mission_stored_goes_with_it() {
    let Some(bucket) = Bucket::start().await else { return };
    let mut node = options(&bucket.config(None)).start().await;
    assert_eq!(node.run(&producing("one")).await["status"], "completed");
    let order = json!({"at": 2, "idempotency_key": "again", "workspace": "copy"});
    let forked = node.post("/v1/missions/one/fork", &order).await;
    assert_eq!(forked.status, 202, "{:#}", forked.json);
    let fork = forked.json["mission_id"].as_str().expect("an id").to_owned();
    node.until_final(&fork).await;
    holds(&node, &fork).await;
    let keys = bucket.keys().await;
    assert_eq!(keys.len(), 4, "{keys:?}");
    // The first goes, and the fork, which is kept, is as it was.
    node.post(&format!("/v1/missions/{fork}/keep"), &json!({})).await.expect_status(200);
    node.kill();
    node.reconfigure(&format!("{}[retention]\nage = \"1s\"\n", bucket.config(None)));
    node.restart().await;
    let left = until("its objects to go", async || {
        let left = bucket.keys().await;
        (left.len() == 2).then_some(left)
    });
    let left = left.await;
    assert!(left.iter().all(|key| keys.contains(key) && !key.contains("/artifacts/one-")), "{left:?}");
    holds(&node, &fork).await;
    let marks = std::fs::read_dir(node.data().join("artifacts")).expect("it is there").flatten();
    let marks: Vec<_> = marks.map(|entry| entry.file_name()).collect();
    assert!(!marks.iter().any(|name| name.to_string_lossy().starts_with(".left-")), "{marks:?}");
    // A kill between a mark and the removal leaves the mark of a mission that is there: round after round it does no harm.
    let place = left[0].split("artifacts/").nth(1).and_then(|rest| rest.split('/').next()).expect("a place");
    let mark = |place: &str| node.data().join("artifacts").join(format!(".left-{place}"));
    std::fs::write(mark(place), &fork).expect("written");
    for nobody in ["nobody-1", "nobody-2"] {
        std::fs::write(mark(nobody), "nobody").expect("written");
        until("a round", async || (!mark(nobody).exists()).then_some(())).await;
    }
    holds(&node, &fork).await;
    assert!(mark(place).exists(), "it is needed when the mission goes");
}

#[tokio::test]
async fn a_store_that_is_away_holds_missions_up_through_a_kill_and_loses_nothing() {
    let Some(bucket) = Bucket::start().await else { return };
    let way = bucket.way().await;
    let mut node = options(&bucket.config(Some(&way))).start().await;
    way.turn(Weather::Busy);
    node.accept(&producing("held")).await;
    until("it to try", async || (way.met() > 8).then_some(())).await;
    assert_eq!(node.mission("held").await["status"], "running");
    let metrics = node.get("/metrics").await.text;
    assert!(metrics.contains("sortie_shared_store_away 1"), "{metrics}");
    // A stop does not wait for it, nor is anything told to the plugin that is not so.
    let begun = std::time::Instant::now();
    assert!(node.stop().await.success());
    assert!(begun.elapsed() < std::time::Duration::from_secs(10), "{:?}", begun.elapsed());
    node.restart().await;
    until("it to try again", async || (way.met() > 16).then_some(())).await;
    node.kill();
    way.turn(Weather::Fair);
    node.restart().await;
    assert_eq!(node.until_final("held").await["status"], "completed");
    holds(&node, "held").await;
    // What cannot be read now is said to be away, and what is well is read meanwhile.
    way.turn(Weather::Busy);
    let away = node.get("/v1/missions/held/artifacts/data.json").await;
    assert_eq!((away.status, &away.json["code"]), (503, &json!("shared_store_away")), "{:#}", away.json);
    assert!(!away.header("retry-after").is_empty());
    assert_eq!(node.run(&automation("other", &json!([write("w", "a.txt", "a")]))).await["status"], "completed");
    let said = doctor(&node).await;
    assert!(said.contains("cannot be used from here"), "{said}");
    way.turn(Weather::Fair);
    holds(&node, "held").await;
}

#[tokio::test]
async fn uploads_that_break_off_are_made_again_and_other_bytes_are_never_handed_out() {
    let Some(bucket) = Bucket::start().await else { return };
    let way = bucket.way().await;
    let node = options(&bucket.config(Some(&way))).start().await;
    // Somewhere in the head, and in the body.
    for (id, after) in [("head", 100), ("body", 30_000)] {
        let text = "x".repeat(100_000);
        let mut large = write("a", "large.txt", &text);
        large["artifact"] = json!("large.txt");
        let mission = with(automation(id, &json!([large])), "/artifact_policy/storage_scope", json!("shared"));
        way.turn(Weather::Cut(after));
        node.accept(&mission).await;
        until("uploads to be cut", async || (way.met() >= 2).then_some(())).await;
        way.turn(Weather::Fair);
        assert_eq!(node.until_final(id).await["status"], "completed", "{id}");
        let got = node.get(&format!("/v1/missions/{id}/artifacts/large.txt")).await.expect_status(200);
        assert!(got.text == text, "{id}");
    }
    assert_eq!(node.run(&producing("garbled")).await["status"], "completed");
    way.turn(Weather::Garbled);
    let garbled = node.get("/v1/missions/garbled/artifacts/reports/weekly.md").await;
    assert_eq!((garbled.status, &garbled.json["code"]), (503, &json!("artifact_damaged")), "{}", garbled.text);
    assert!(!garbled.text.contains("Rep0rt") && way.met() > 0, "{}", garbled.text);
    way.turn(Weather::Fair);
    holds(&node, "garbled").await;
}

#[tokio::test]
async fn a_folder_that_nodes_see_is_a_store_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = format!("[artifact]\nshared = \"file://{}\"\n", folder.path().display());
    let mut node = Options::new().config(&config).start().await;
    assert_eq!(node.run(&producing("one")).await["status"], "completed");
    holds(&node, "one").await;
    assert_eq!(own_files(&node), 0);
    // Without it what is there is not lost, and it is said where it is.
    node.kill();
    node.reconfigure("");
    node.restart().await;
    let without = node.get("/v1/missions/one/artifacts/data.json").await;
    assert_eq!((without.status, &without.json["code"]), (503, &json!("shared_store_away")), "{:#}", without.json);
    let refused = node.dispatch(&producing("two")).await;
    assert_eq!((refused.status, &refused.json["errors"][0]["code"]), (422, &json!("storage_not_configured")));
    node.kill();
    node.reconfigure(&config);
    node.restart().await;
    holds(&node, "one").await;
    // What is not well is said with its place, and neither waited for nor followed.
    let path = "/v1/missions/one/artifacts/data.json";
    let sha256 = node.get(path).await.header("etag").trim_matches('"').to_owned();
    let mut places = std::fs::read_dir(folder.path().join("artifacts")).expect("listed").flatten();
    let object = places.next().expect("the mission's").path().join(&sha256);
    let bytes = std::fs::read(&object).expect("there");
    let aside = folder.path().join("aside");
    std::fs::rename(&object, &aside).expect("moved");
    let is_told = async |code: &str| {
        let told = node.get(path).await;
        assert_eq!((told.status, &told.json["code"]), (503, &json!(code)), "{:#}", told.json);
        assert!(told.json["at"].as_str().is_some_and(|at| at.contains(&sha256)), "{:#}", told.json);
        assert!(
            !told.text.contains(&*folder.path().to_string_lossy()),
            "where the store is is the operator's business"
        );
    };
    is_told("artifact_missing").await;
    std::os::unix::fs::symlink(&aside, &object).expect("a link");
    is_told("artifact_damaged").await;
    std::fs::remove_file(&object).expect("removed");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, &object, mode).expect("a pipe");
    is_told("artifact_damaged").await;
    std::fs::remove_file(&object).expect("removed");
    std::fs::write(&object, &bytes[1..]).expect("written");
    is_told("artifact_damaged").await;
    std::fs::write(&object, &bytes).expect("written");
    holds(&node, "one").await;
}

#[tokio::test]
async fn an_artifact_of_the_nodes_own_that_is_gone_or_damaged_is_told_alike() {
    let node = Options::new().start().await;
    let own = with(producing("one"), "/artifact_policy/storage_scope", json!("factory"));
    assert_eq!(node.run(&own).await["status"], "completed");
    let path = "/v1/missions/one/artifacts/data.json";
    let sha256 = node.get(path).await.header("etag").trim_matches('"').to_owned();
    let mut places = std::fs::read_dir(node.data().join("artifacts")).expect("listed").flatten();
    let file = places.next().expect("the mission's").path().join(&sha256);
    let bytes = std::fs::read(&file).expect("there");
    std::fs::write(&file, "other").expect("written");
    node.get(path).await.expect_problem(503, "artifact_damaged");
    std::fs::remove_file(&file).expect("removed");
    let gone = node.get(path).await;
    gone.expect_problem(503, "artifact_missing");
    std::fs::write(&file, bytes).expect("put back");
    node.get(path).await.expect_status(200);
}
