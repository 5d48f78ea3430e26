//! Guests with a standard library: what is played for them, and that nothing else is. Some of them mean harm.

mod common;
mod tape;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use common::{Node, Script, brief};
use sortie_contract::limit::NOTES_MAX;
use sortie_contract::plugin::{Crash, Verdict};
use sortie_sandbox::{Ending, Host, Installed, Kill, Run};
use tape::{Recorder, Tape};

const PATIENCE: Duration = Duration::from_secs(60);

/// The guest: a component of `wasm32-wasip2`.
static WASI: LazyLock<Vec<u8>> = LazyLock::new(|| common::built("wasi", "wasm32-wasip2"));

async fn with_wasi() -> (Node, Installed) {
    let node = Node::new().await;
    let wasi = node.sandbox.install(WASI.clone()).await.expect("a component of wasip2 is a plugin");
    (node, wasi)
}

async fn end(node: &Node, plugin: &Installed, deed: &str, host: &Arc<Script>) -> String {
    let run = Run { plugin: plugin.identity.digest, ..node.run(deed, host, &Kill::new()) };
    match tokio::time::timeout(PATIENCE, node.sandbox.run(run)).await.expect("the run ends") {
        Ending::Returned(Verdict::Done { summary, .. }) => format!("done: {summary}"),
        Ending::Returned(Verdict::Failed { summary, .. }) => format!("failed: {summary}"),
        Ending::Crashed(Crash::Trapped(text)) => format!("trapped: {text}"),
        Ending::Crashed(Crash::LimitExceeded(text)) => format!("limit: {text}"),
        Ending::Crashed(crash) => format!("{crash:?}"),
        Ending::Killed => "killed".to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_deed_has_its_ending() {
    let (node, wasi) = with_wasi().await;
    for (deed, expected) in [
        ("nothing", "done: done"),
        ("write much at once", "limit: a write of 8388608 bytes at once: at most 1048576"),
        ("write zeroes without end", "limit: a write of 18446744073709551615 bytes at once"),
        ("poll nothing", "limit: `poll` takes 1 to 1024 pollables"),
        ("poll time", "done: [2], then [1], and true false"),
        ("hoard", "limit: a plugin holds at most 1024 streams and pollables"),
        ("draw gigabytes", "limit: randomness of 4294967296 bytes at once"),
        ("exit well", "trapped: the plugin called `exit`, as a success: a plugin ends by what it returns"),
        ("exit", "trapped: the plugin called `exit`, as a failure"),
        ("panic", "trapped: panicked at src/lib.rs"),
        ("wait busily", "done: the time has passed"),
    ] {
        let ending = end(&node, &wasi, deed, &Script::new()).await;
        assert!(ending.starts_with(expected), "{deed}: {ending}");
        assert_eq!(end(&node, &wasi, "nothing", &Script::new()).await, "done: done", "after {deed}");
    }
    let ending = end(&node, &wasi, "exit", &Script::new()).await;
    assert!(ending.ends_with("; it said: all is lost"), "{ending}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_is_the_log_of_the_mission() {
    let (node, wasi) = with_wasi().await;
    let host = Script::new();
    assert_eq!(end(&node, &wasi, "print", &host).await, "done: printed");
    let lines: Vec<String> = host.notes().into_iter().filter(|note| note.starts_with("log")).collect();
    let lengths = ["one and the same", "two", "ä third", "the last"].map(|line| format!("log of {} bytes", line.len()));
    assert_eq!(lines, lengths, "whole lines, no empty one");

    let host = Script::new();
    assert_eq!(end(&node, &wasi, "print much", &host).await, "done: printed");
    let lines = host.notes();
    assert!((1_000..1_060).contains(&lines.len()), "a megabyte of lines, and one that says so: {}", lines.len());

    // Lines take no place of what people are to see: both are notes, of which a mission has so many.
    let host = Script::new();
    assert_eq!(end(&node, &wasi, "print many lines", &host).await, "done: printed");
    let notes = host.notes();
    let milestone = notes.iter().position(|note| note.starts_with("milestone")).expect("it is told");
    assert!(notes.len() <= NOTES_MAX as usize, "{} notes", notes.len());
    assert!(milestone >= 1_000 && milestone == notes.len() - 2, "what is left out is told behind it: {milestone}");
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_no_system() {
    let (node, wasi) = with_wasi().await;
    let found = end(&node, &wasi, "look around", &Script::new()).await;
    let found: serde_json::Value = serde_json::from_str(found.strip_prefix("done: ").expect(&found)).expect("JSON");
    assert_eq!((&found["environment"], &found["arguments"], &found["input"]["Ok"]), (&0.into(), &0.into(), &0.into()));
    for place in ["file", "made", "folder", "socket", "name"] {
        assert!(found[place]["Err"].is_string(), "{place}: {found}");
    }
    assert_eq!(found["socket"]["Err"], "permission denied", "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_run_of_a_mission_draws_the_same() {
    let (node, wasi) = with_wasi().await;
    let first = end(&node, &wasi, "draw", &Script::new()).await;
    assert!(first.starts_with("done: ["), "{first}");
    for _ in 0..20 {
        assert_eq!(end(&node, &wasi, "draw", &Script::new()).await, first);
    }
    for (mission_id, seed, is_same) in [("m-1.fork-1", "m-1", true), ("m-2", "m-2", false)] {
        let run = node.run("draw", &Script::new(), &Kill::new());
        let other = Run {
            plugin: wasi.identity.digest,
            brief: sortie_contract::plugin::Brief { mission_id: mission_id.into(), ..run.brief.clone() },
            seed: seed.to_owned(),
            ..run
        };
        let Ending::Returned(Verdict::Done { summary, .. }) = node.sandbox.run(other).await else {
            panic!("it is done")
        };
        assert_eq!(
            format!("done: {summary}") == first,
            is_same,
            "a fork draws what its mission drew, another mission does not"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn time_passes_while_a_guest_waits_and_is_asked_for_seldom() {
    let (node, wasi) = with_wasi().await;
    let host = Script::new();
    let waited = end(&node, &wasi, "wait", &host).await;
    let ns: Vec<u64> = serde_json::from_str(waited.strip_prefix("done: ").expect(&waited)).expect("numbers");
    let [computed, slept, called, ended, of_wall] = ns[..] else { panic!("{ns:?}") };
    let ms = 1_000_000;
    assert!(computed < ms && slept >= 20 * ms, "{ns:?}");
    // The host of these tests says that it is always 1970: what passes there is what the guest slept, and a tick for each look.
    assert!((slept..slept + ms).contains(&called), "{ns:?}");
    assert!(ended >= called + 10_000 && of_wall >= slept, "{ns:?}");
    let asked = host.notes();
    let count = |what: &str| asked.iter().filter(|note| *note == what).count();
    assert_eq!((count("after"), count("call Read")), (1, 1), "a wait of microseconds is no timer: {asked:?}");
    assert!(count("now") <= 4, "{asked:?}");
}

/// In the first run a call is on its way when it is let go of; from the record its result is there at once.
#[tokio::test(flavor = "multi_thread")]
async fn the_clock_does_not_tell_whether_a_result_had_arrived() {
    let (node, wasi) = with_wasi().await;
    for seed in 0..8 {
        let run = async |tape: Tape| {
            let host = Arc::new(Recorder::new(seed, tape, None));
            let run = node.run("let go", &Script::new(), &Kill::new());
            let run = Run { plugin: wasi.identity.digest, host: Arc::clone(&host) as Arc<dyn Host>, ..run };
            (node.sandbox.run(run).await, host.tape())
        };
        let (first, recorded) = run(Tape::default()).await;
        assert!(matches!(first, Ending::Returned(_)), "seed {seed}: {first:?}");
        let (again, tape) = run(recorded.clone()).await;
        assert_eq!((again, tape), (first, recorded), "seed {seed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_ends_is_killed_and_asks_the_node_for_little() {
    let (node, wasi) = with_wasi().await;
    for (deed, asked_max) in [
        ("print without end", 1_100),
        ("look at the clock without end", 1),
        ("poll without end", 1),
        ("draw without end", 0),
    ] {
        let (kill, host) = (Kill::new(), Script::new());
        let run = Run { plugin: wasi.identity.digest, ..node.run(deed, &host, &kill) };
        let sandbox = node.sandbox.clone();
        let spinner = tokio::spawn(async move { sandbox.run(run).await });
        // Others run beside it.
        for _ in 0..3 {
            assert_eq!(end(&node, &wasi, "nothing", &Script::new()).await, "done: done", "beside: {deed}");
            assert_eq!(end(&node, &wasi, "poll time", &Script::new()).await, "done: [2], then [1], and true false");
        }
        assert!(!spinner.is_finished(), "{deed} does not end by itself");
        kill.now();
        let ending = tokio::time::timeout(PATIENCE, spinner).await.expect("killed in time").expect("no panic");
        assert_eq!(ending, Ending::Killed, "{deed}");
        assert!(host.notes().len() <= asked_max, "{deed} asked {} times", host.notes().len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_finds_a_system_without_a_mission() {
    let (node, wasi) = with_wasi().await;
    let digest = &wasi.identity.digest;
    assert_eq!(node.sandbox.check(digest, brief("nothing")).await, Ok(Vec::new()));
    for (deed, expected) in [("check: loop", "took longer than"), ("check: exit", "the plugin called `exit`")] {
        match node.sandbox.check(digest, brief(deed)).await {
            Err(Crash::Trapped(text) | Crash::LimitExceeded(text)) => {
                assert!(text.contains(expected), "{deed}: {text}");
            }
            other => panic!("{deed}: {other:?}"),
        }
    }
}
