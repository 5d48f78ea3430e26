//! `cargo xtask demo`: a node, a receiver for its callbacks, the missions of `examples/demo/`, and their events as they arrive.
//!
//! Ends with a table of the missions, how each ended and what it left behind. Fails if one ends otherwise than the table in
//! `examples/README.md` says: the demo is a test, too.

#![expect(clippy::print_stdout, reason = "what the demo shows is its data")]
#![expect(clippy::disallowed_methods, reason = "the windows of the demo open and close in real time")]

use std::fs;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sortie_tests::{Node, Options, Received, Receiver, project, site, until};

/// What the envelopes of the demo name as the secret of their callbacks.
const SECRET: &str = "UA_INTERNAL_API_TOKEN";

/// Where the envelopes of the demo send their events: replaced by the receiver of this run.
const RECEIVER: &str = "127.0.0.1:9000";

/// The mission that the demo cancels once it runs.
const CANCELLED: &str = "demo-cancelled";

/// Each mission and how it must end, in the order of dispatch.
const ENDS: [(&str, &str); 8] = [
    ("demo-nightly-report", "completed"),
    ("demo-briefing", "completed"),
    ("demo-window-closes", "timed_out"),
    (CANCELLED, "cancelled"),
    ("demo-not-granted", "failed"),
    ("demo-repository", "completed"),
    ("demo-coding", "completed"),
    ("demo-research", "completed"),
];

#[tokio::main]
async fn main() {
    let receiver = Receiver::start().await;
    let pages = Receiver::scripted(|got, _| site::page(got)).await;
    let callbacks = format!(
        "[callback]\nallow_private = [\"127.0.0.1\"]\n[[callback.secret]]\nref = \"env://{SECRET}\"\nhosts = [\"{}\"]",
        receiver.host()
    );
    let config = format!("{callbacks}\n{}\n{}", research(&pages), coding());
    let node = Options::new().config(&config).env(SECRET, "demo-secret").start().await;
    println!("node      {}   its data: {}", node.url(), node.data().display());
    println!("receiver  {}\n", receiver.url());

    for envelope in envelopes(&receiver, &pages) {
        let answer = node.dispatch(&envelope).await;
        println!("POST /v1/missions -> {}  {}", answer.status, envelope["mission_id"].as_str().unwrap_or_default());
        let _accepted = answer.expect_status(202);
    }

    println!("\nevents, as the receiver gets them:");
    show_until_all_ended(&node, &receiver).await;

    println!();
    let mut as_expected = true;
    println!("{:<22} {:<10} {:<22} ARTIFACTS", "MISSION", "STATUS", "REASON");
    for (id, expected) in ENDS {
        let mission = node.mission(id).await;
        let status = mission["status"].as_str().unwrap_or_default();
        as_expected &= status == expected;
        println!("{id:<22} {status:<10} {:<22} {}", mission["reason"].as_str().unwrap_or("-"), artifacts(&mission));
    }
    assert!(as_expected, "a mission did not end as examples/README.md says");
}

/// The envelopes of `examples/demo/`, in the order of their names, with the times, the receiver and the pages of this run.
fn envelopes(receiver: &Receiver, pages: &Receiver) -> Vec<Value> {
    let folder = project().join("examples/demo");
    let mut files: Vec<_> =
        fs::read_dir(folder).expect("the demo's folder").flatten().map(|entry| entry.path()).collect();
    files.sort();
    let envelope = |text: String| {
        let text = with_times(&text, Timestamp::now())
            .replace(RECEIVER, &receiver.host())
            .replace(site::ADDRESS, &pages.host());
        serde_json::from_str(&text).expect("the demo's envelopes are JSON")
    };
    files.iter().map(|file| envelope(fs::read_to_string(file).expect("a readable file"))).collect()
}

/// The configuration of `examples/research`: its pages are on the server of this run, its model is played by its script.
fn research(pages: &Receiver) -> String {
    let folder = project().join("examples/research");
    let config = fs::read_to_string(folder.join("sortie.toml")).expect("a readable file");
    let script = format!("{:?}", folder.join("script.json"));
    config.replace(site::ADDRESS, &pages.host()).replace("\"script.json\"", &script)
}

/// A model for the coding mission, which says what the script of the coding example has.
fn coding() -> String {
    let script = project().join("examples/coding-fix-a-test/script.json");
    format!("[model.colleague]\nprotocol = \"scripted\"\nfile = {script:?}\nfree = true")
}

/// Puts `now` in place of `{{now}}`, and later times in place of `{{now+4s}}` and `{{now+1h}}`.
fn with_times(text: &str, now: Timestamp) -> String {
    let mut parts = text.split("{{now");
    let mut result = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (offset, rest) = part.split_once("}}").expect("a placeholder is closed");
        let offset: SignedDuration = match offset.trim_start_matches('+') {
            "" => SignedDuration::ZERO,
            offset => offset.parse().expect("an offset such as 4s"),
        };
        result.push_str(&(now + offset).to_string());
        result.push_str(rest);
    }
    result
}

/// Prints each event once it arrives, and cancels one mission on the way, until every mission's final event came.
async fn show_until_all_ended(node: &Node, receiver: &Receiver) {
    let mut shown = 0;
    let mut cancelled = false;
    until("every mission ends", async || {
        let received = receiver.received();
        for event in &received[shown..] {
            print(event);
        }
        shown = received.len();
        let is_at_work = |got: &&Received| got.mission() == CANCELLED && got.sequence() > Some(2);
        if !cancelled && received.iter().any(|got| is_at_work(&got)) {
            cancelled = true;
            let reason = json!({"reason": "the demo has seen enough"});
            node.post(&format!("/v1/missions/{CANCELLED}/cancel"), &reason).await.expect_status(202);
        }
        let ended =
            received.iter().filter(|got| sortie_tests::node::is_final(got.json["status"].as_str().unwrap_or("")));
        (ended.count() == ENDS.len()).then_some(())
    })
    .await;
}

fn print(received: &Received) {
    let text = |name: &str| received.json[name].as_str().unwrap_or_default();
    let time = text("emitted_at").get(11..23).unwrap_or_default();
    println!(
        "  {time}  {:<20} {:>2}  {:<18} {}",
        received.mission(),
        received.sequence().unwrap_or_default(),
        text("event_type"),
        text("summary").lines().next().unwrap_or_default()
    );
}

fn artifacts(mission: &Value) -> String {
    let artifacts = mission["artifacts"].as_array().cloned().unwrap_or_default();
    let shown =
        |artifact: &Value| format!("{} ({} bytes)", artifact["name"].as_str().unwrap_or_default(), artifact["bytes"]);
    let list: Vec<String> = artifacts.iter().map(shown).collect();
    if list.is_empty() { "-".to_owned() } else { list.join(", ") }
}
