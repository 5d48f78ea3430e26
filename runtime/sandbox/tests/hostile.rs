//! Hostile guests: each is survived, each ends as it should, and the sandbox runs the next one.

mod common;

use std::time::Duration;

use common::{Node, Script, brief, hostile_describing, plain, swollen};
use sortie_contract::limit::NOTE_BYTES_MAX;
use sortie_contract::plugin::{Crash, Profile, Verdict};
use sortie_sandbox::{Ending, InstallError, Kill, Run, Stop};

/// Long enough for a debug build on a busy machine; a run that hangs fails the test instead of the suite.
const PATIENCE: Duration = Duration::from_secs(60);

async fn end(node: &Node, run: Run) -> Ending {
    tokio::time::timeout(PATIENCE, node.sandbox.run(run)).await.expect("the run ends")
}

fn describe(ending: &Ending) -> String {
    match ending {
        Ending::Returned(Verdict::Done { summary, .. }) => format!("done: {summary}"),
        Ending::Returned(Verdict::Failed { summary, .. }) => format!("failed: {summary}"),
        Ending::Crashed(Crash::Trapped(text)) => format!("trapped: {text}"),
        Ending::Crashed(Crash::OutOfMemory { limit_bytes }) => format!("out of memory: {limit_bytes}"),
        Ending::Crashed(Crash::LimitExceeded(text)) => format!("limit: {text}"),
        Ending::Crashed(crash) => format!("{crash:?}"),
        Ending::Killed => "killed".to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_crime_has_its_ending() {
    let node = Node::new().await;
    for (crime, expected) in [
        ("nothing", "done: done"),
        ("memory bomb", "out of memory: 268435456"),
        ("deep recursion", "trapped: "),
        ("trap", "trapped: wasm trap: wasm `unreachable` instruction executed"),
        ("panic", "trapped: panicked at src/crime.rs"),
        ("giant strings", "done: every giant was refused"),
        ("giant name", "limit: one call passed more data"),
        ("invalid utf-8", "trapped: "),
        ("forged tool", "trapped: unknown handle index 4711"),
        ("forged pending", "trapped: unknown handle index 4711"),
        ("tool as pending", "trapped: "),
        ("wait for nothing", "trapped: `wait-any` of an empty list"),
        ("hoard", "limit: a plugin holds at most 1024 pending calls"),
        ("hoard results", "limit: a plugin holds at most 67108864 bytes of results"),
        ("ignore refusals", "done: refused 1000 times"),
        ("race", "done: 1 was first"),
        ("stable results", "done: Read and Write"),
    ] {
        let ending = describe(&end(&node, node.run(crime, &Script::new(), &Kill::new())).await);
        assert!(ending.starts_with(expected), "{crime}: {ending}");
        let next = end(&node, node.run("nothing", &Script::new(), &Kill::new())).await;
        assert_eq!(describe(&next), "done: done", "after {crime}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_summary_of_any_size_is_cut() {
    let node = Node::new().await;
    match end(&node, node.run("giant summary", &Script::new(), &Kill::new())).await {
        Ending::Returned(Verdict::Done { summary, .. }) => assert!(summary.len() <= NOTE_BYTES_MAX),
        ending => panic!("{}", describe(&ending)),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn notes_are_cut_before_the_node_sees_them() {
    let node = Node::new().await;
    let host = Script::new();
    end(&node, node.run("giant strings", &host, &Kill::new())).await;
    let notes = host.notes();
    assert_eq!(notes[0], format!("milestone of {NOTE_BYTES_MAX} bytes"), "{notes:?}");
    assert!(notes.iter().all(|note| note.len() < 100), "no giant reached the host");
    assert!(!notes.iter().any(|note| note.starts_with("put") || note.starts_with("call")), "{notes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spinning_guest_is_killed_and_starves_nobody() {
    let node = Node::with(|options| options.threads = 2).await;
    for crime in ["endless loop", "call storm", "sleep for ever"] {
        let kill = Kill::new();
        // More of them than there are threads.
        let spinners: Vec<_> = (0..4)
            .map(|_| {
                let (sandbox, run) = (node.sandbox.clone(), node.run(crime, &Script::new(), &kill));
                tokio::spawn(async move { sandbox.run(run).await })
            })
            .collect();
        let beside = end(&node, node.run("race", &Script::new(), &Kill::new())).await;
        assert_eq!(describe(&beside), "done: 1 was first", "beside: {crime}");
        assert!(!spinners.iter().any(tokio::task::JoinHandle::is_finished), "{crime} does not end by itself");
        kill.now();
        for spinner in spinners {
            let ending = tokio::time::timeout(PATIENCE, spinner).await.expect("killed in time").expect("no panic");
            assert_eq!(ending, Ending::Killed, "{crime}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_killed_before_it_starts_never_starts() {
    let node = Node::new().await;
    let (host, kill) = (Script::new(), Kill::new());
    kill.now();
    assert_eq!(end(&node, node.run("call storm", &host, &kill)).await, Ending::Killed);
    assert_eq!(host.notes(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_a_pending_call_cancels_it() {
    let node = Node::new().await;
    let host = Script::new();
    end(&node, node.run("race", &host, &Kill::new())).await;
    tokio::task::yield_now().await;
    let cancelled = async {
        while *host.cancelled.lock() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, cancelled).await.expect("the slow call is dropped");
    assert_eq!(host.notes(), ["call Read", "after", "waited 1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_65th_call_fails_without_asking_the_node() {
    let node = Node::new().await;
    let host = Script::new();
    end(&node, node.run("hoard", &host, &Kill::new())).await;
    assert_eq!(host.notes().len(), 64);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_stops_a_run_at_any_call() {
    let node = Node::new().await;
    let crash = Crash::LimitExceeded("no more calls".to_owned());
    for (crime, stop, expected) in [
        ("call storm", Stop::Over, Ending::Killed),
        ("call storm", Stop::Crash(crash.clone()), Ending::Crashed(crash.clone())),
        ("ignore refusals", Stop::Over, Ending::Killed),
        ("stable results", Stop::Crash(crash.clone()), Ending::Crashed(crash)),
        ("sleep for ever", Stop::Over, Ending::Killed),
    ] {
        let host = Script::new();
        *host.stop.lock() = Some(stop);
        assert_eq!(end(&node, node.run(crime, &host, &Kill::new())).await, expected, "{crime}");
        assert_eq!(host.notes().len(), 1, "{crime}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_bomb_is_refused() {
    let node = Node::new().await;
    // Refused growth is a value for the guest; only one that cannot go on ends.
    let grow = "(table.grow $functions (ref.null func) (i32.const 1000000))";
    let stubborn = plain("", &format!("(if (i32.eq {grow} (i32.const -1)) (then (unreachable)))"));
    let relaxed = plain("", &format!("(loop $again (br_if $again (i32.ne {grow} (i32.const -1))))"));
    for (wasm, expected) in [(stubborn, "out of memory: 268435456"), (relaxed, "done: plain")] {
        let plugin = node.sandbox.install(wasm).await.expect("a plugin").identity.digest;
        let run = Run { plugin, ..node.run("", &Script::new(), &Kill::new()) };
        assert_eq!(describe(&end(&node, run).await), expected);
    }
}

/// As much of everything as one plugin may have.
const LARGE: (u8, &str) = (36, "(module)");

#[tokio::test(flavor = "multi_thread")]
async fn plugins_of_the_largest_shape_leave_room_for_all_others() {
    let node = Node::with(|options| options.threads = 2).await;
    let spins = node.sandbox.install(plain("", "(loop $again (br $again))")).await.expect("a plugin");
    let component = node.sandbox.component(&spins.identity.digest).expect("it is kept");
    let large = node.sandbox.install(swollen(&component, LARGE.0, LARGE.1)).await.expect("it has its share");
    let kill = Kill::new();
    // All but one of the guests that may be alive.
    let spinners: Vec<_> = (0..7)
        .map(|_| {
            let run = Run { plugin: large.identity.digest, ..node.run("", &Script::new(), &kill) };
            let sandbox = node.sandbox.clone();
            tokio::spawn(async move { sandbox.run(run).await })
        })
        .collect();
    for _ in 0..3 {
        assert_eq!(describe(&end(&node, node.run("race", &Script::new(), &Kill::new())).await), "done: 1 was first");
        assert_eq!(node.sandbox.check(&node.hostile.identity.digest, brief("nothing")).await, Ok(Vec::new()));
    }
    kill.now();
    for spinner in spinners {
        assert_eq!(spinner.await.expect("no panic"), Ending::Killed, "there was room for it, too");
    }
    for (count, module, expected) in [
        (41, "(module)", "exceeds the configured maximum of 40"),
        (1, "(module (memory 1))", "exceeds the configured maximum of 1"),
        (20, "(module (table 1 funcref))", "exceeds the configured maximum of 20"),
        (1, "(module (table 20001 funcref))", "exceeds the limit of 20000"),
    ] {
        let refused = node.sandbox.install(swollen(&component, count, module)).await.expect_err(module);
        assert!(refused.to_string().contains(expected), "{count} of {module}: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_checks_do_not_hold_the_missions_that_run() {
    let node = Node::with(|options| options.threads = 1).await;
    // A few tenths of a second alone; more than the checks' time where it has its turn with all of them.
    let count = "(local.set 0 (i32.const 200000000))
        (loop $again (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))";
    let counts = node.sandbox.install(plain("", count)).await.expect("a plugin").identity.digest;
    let checks: Vec<_> = (0..16)
        .map(|_| {
            let (sandbox, digest) = (node.sandbox.clone(), node.hostile.identity.digest);
            tokio::spawn(async move { sandbox.check(&digest, brief("check: loop")).await })
        })
        .collect();
    let run = Run { plugin: counts, ..node.run("", &Script::new(), &Kill::new()) };
    assert_eq!(describe(&end(&node, run).await), "done: plain");
    assert!(!checks.iter().any(tokio::task::JoinHandle::is_finished), "it was done before they were");
    for check in checks {
        assert!(matches!(check.await.expect("no panic"), Err(Crash::LimitExceeded(_))));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_plugin_of_this_world_is_refused() {
    let node = Node::new().await;
    let other_world = {
        let mut wasm = common::HOSTILE.clone();
        for at in 0..wasm.len() - 6 {
            if &wasm[at..at + 6] == b"@0.2.0" {
                wasm[at..at + 6].copy_from_slice(b"@0.9.0");
            }
        }
        wasm
    };
    let http = r#"(component (import "wasi:http/outgoing-handler@0.2.0" (instance)))"#;
    for (what, wasm, expected) in [
        ("text", b"#!/bin/sh".to_vec(), "not WebAssembly"),
        ("nothing", Vec::new(), "not WebAssembly"),
        ("a torn module", common::HOSTILE[..10_000].to_vec(), "not a mission plugin"),
        ("a module without a type", wat::parse_str("(module)").unwrap(), "not a mission plugin"),
        ("a component without exports", wat::parse_str("(component)").unwrap(), "not a mission plugin"),
        ("a forbidden module import", plain(r#"(import "env" "evil" (func))"#, ""), "imports `env::evil`"),
        ("a forbidden import", wat::parse_str(http).unwrap(), "imports `wasi:http/outgoing-handler@0.2.0`"),
        ("another world", other_world, "this node runs version 0.1.0, 0.2.0 of the world"),
        ("too large", vec![0; (64 << 20) + 1], "at most"),
        ("an endless describe", hostile_describing("loop"), "took longer than"),
        ("a panicking describe", hostile_describing("panic"), "describe panics"),
        ("a describe that reports", hostile_describing("host"), "`report.log` needs a running mission"),
        ("a bad name", hostile_describing("name"), "no name and version"),
        ("a bad version", hostile_describing("version"), "no name and version"),
        ("a bad schema", hostile_describing("schema"), "inputs-schema"),
    ] {
        let refused = node.sandbox.install(wasm).await.expect_err(what);
        assert!(refused.to_string().contains(expected), "{what}: {refused}");
    }
    assert_eq!(node.sandbox.plugins(), std::slice::from_ref(&node.hostile), "none of them is in the store");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_is_held_tightly() {
    let node = Node::new().await;
    let digest = &node.hostile.identity.digest;
    for (crime, expected) in [
        ("check: loop", "took longer than"),
        ("check: panic", "check panics"),
        ("check: tools", "`time.now` needs a running mission"),
        ("check: one text in many mistakes", "more data than the node takes"),
    ] {
        match node.sandbox.check(digest, brief(crime)).await {
            Err(Crash::Trapped(text) | Crash::LimitExceeded(text)) => {
                assert!(text.contains(expected), "{crime}: {text}");
            }
            other => panic!("{crime}: {other:?}"),
        }
    }
    let many = node.sandbox.check(digest, brief("check: many mistakes")).await.expect("an answer");
    assert_eq!(many.len(), 100);
    assert_eq!(node.sandbox.check(digest, brief("nothing")).await, Ok(Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn installed_plugins_survive_a_restart() {
    let Node { sandbox, hostile, folder } = Node::new().await;
    let other = matches!(sandbox.install(b"garbage".to_vec()).await, Err(InstallError::NotWasm));
    assert!(other);
    drop(sandbox);
    let mut options = sortie_sandbox::Options::new(folder.path().to_owned());
    options.instances_max = 1;
    let sandbox = sortie_sandbox::Sandbox::new(options).expect("a sandbox");
    let node = Node { sandbox, hostile: hostile.clone(), folder };
    assert_eq!(node.sandbox.plugins(), std::slice::from_ref(&hostile));
    assert_eq!(node.sandbox.plugins_named("hostile"), [hostile]);
    assert_eq!(describe(&end(&node, node.run("nothing", &Script::new(), &Kill::new())).await), "done: done");
    assert!(node.sandbox.remove("hostile", "0.1.0").expect("removed"));
    assert_eq!(node.sandbox.plugins_named("hostile"), []);
    let still = end(&node, node.run("nothing", &Script::new(), &Kill::new())).await;
    assert_eq!(describe(&still), "done: done", "a mission stays on the bytes that it started with");
    let gone = Run { plugin: sortie_contract::digest::Digest::of(b""), ..node.run("", &Script::new(), &Kill::new()) };
    assert!(matches!(end(&node, gone).await, Ending::Crashed(Crash::Unrunnable(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_guests_are_alive_than_the_node_allows() {
    let node = Node::with(|options| options.instances_max = 1).await;
    let kill = Kill::new();
    let (sandbox, run) = (node.sandbox.clone(), node.run("sleep for ever", &Script::new(), &kill));
    let first = tokio::spawn(async move { sandbox.run(run).await });
    let (sandbox, run) = (node.sandbox.clone(), node.run("nothing", &Script::new(), &Kill::new()));
    let second = tokio::spawn(async move { sandbox.run(run).await });
    // A check has a place of its own.
    assert_eq!(node.sandbox.check(&node.hostile.identity.digest, brief("nothing")).await, Ok(Vec::new()));
    kill.now();
    assert_eq!(first.await.expect("no panic"), Ending::Killed);
    assert_eq!(describe(&second.await.expect("no panic")), "done: done");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_has_the_memory_that_it_says_whatever_the_options_say() {
    let node = Node::with(|options| options.memory_bytes_max = 16 << 20).await;
    // 320 pages are 20 MiB.
    let grow = "(if (i32.eq (memory.grow (i32.const 320)) (i32.const -1)) (then (unreachable)))";
    let plugin = node.sandbox.install(plain("", grow)).await.expect("a plugin").identity.digest;
    for (memory_bytes_max, expected) in
        [(None, "out of memory: 16777216"), (Some(64 << 20), "done: plain"), (Some(8 << 20), "out of memory: 8388608")]
    {
        let run = Run { plugin, memory_bytes_max, ..node.run("", &Script::new(), &Kill::new()) };
        assert_eq!(describe(&end(&node, run).await), expected, "{memory_bytes_max:?}");
    }
}

/// Where the node has no room for results it holds none of them, and the guest sees no difference.
#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_is_not_held_is_brought_from_the_record_each_time_it_is_taken() {
    let node = Node::new().await;
    for (crime, expected, brought) in
        [("stable results", "done: Read and Write", 1..), ("race", "done: 1 was first", 0..)]
    {
        let host = Script::new();
        *host.on_record.lock() = Some(String::new());
        host.choices.lock().extend((crime == "race").then_some(1));
        assert_eq!(describe(&end(&node, node.run(crime, &host, &Kill::new())).await), expected, "{crime}");
        assert!(brought.contains(&*host.brought.lock()), "{crime}: {}", host.brought.lock());
    }
}

/// As they were built then: `fixtures/README.md`. A row here is only ever added.
const WORLDS_THAT_WERE: [(&str, &[u8]); 2] = [
    ("0.1.0", include_bytes!("fixtures/world-0.1.0.wasm")),
    // Before there was `profile`.
    ("0.2.0", include_bytes!("fixtures/world-0.2.0.wasm")),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_of_each_world_that_there_ever_was_is_installed_and_runs() {
    let node = Node::new().await;
    for (version, wasm) in WORLDS_THAT_WERE {
        let installed = node.sandbox.install(wasm.to_vec()).await.expect(version);
        assert_eq!(installed.manifest.profile, Profile::default(), "{version}: it says nothing of its missions");
        let plugin = installed.identity.digest;
        for (crime, expected) in [("stable results", "done: Read and Write"), ("race", "done: 1 was first")] {
            let run = Run { plugin, ..node.run(crime, &Script::new(), &Kill::new()) };
            assert_eq!(describe(&end(&node, run).await), expected, "{version}: {crime}");
        }
        assert_eq!(node.sandbox.check(&plugin, brief("nothing")).await, Ok(Vec::new()), "{version}");
    }
}
