//! How long the smallest run takes. Not a test of anything: `cargo test --release -p sortie-sandbox --test measure -- --ignored --nocapture`.

mod common;

use std::path::PathBuf;
use std::time::Duration;

use common::{Node, Script, brief};
use sortie_contract::plugin::Brief;
use sortie_sandbox::{Ending, Kill, Options, Sandbox};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement, for a release build on a quiet machine"]
#[expect(clippy::disallowed_methods, reason = "it measures")]
async fn the_smallest_run() {
    let node = Node::new().await;
    let host = Script::new();
    let mut times = Vec::new();
    for _ in 0..20_000 {
        let run = node.run("nothing", &host, &Kill::new());
        let start = std::time::Instant::now();
        assert!(matches!(node.sandbox.run(run).await, Ending::Returned(_)));
        times.push(start.elapsed());
    }
    show("one after another, with two changes of threads", &mut times);

    let start = std::time::Instant::now();
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (sandbox, host) = (node.sandbox.clone(), Script::new());
            let runs: Vec<_> = (0..5_000).map(|_| node.run("nothing", &host, &Kill::new())).collect();
            tokio::spawn(async move {
                for run in runs {
                    assert!(matches!(sandbox.run(run).await, Ending::Returned(_)));
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no panic");
    }
    println!("eight at a time: {:.1} µs a run", start.elapsed().as_secs_f64() * 1e6 / 40_000.0);

    let mut kills = Vec::new();
    for _ in 0..200 {
        let kill = Kill::new();
        let (sandbox, run) = (node.sandbox.clone(), node.run("endless loop", &host, &kill));
        let task = tokio::spawn(async move { sandbox.run(run).await });
        tokio::time::sleep(Duration::from_millis(3)).await;
        let start = std::time::Instant::now();
        kill.now();
        assert_eq!(task.await.expect("no panic"), Ending::Killed);
        kills.push(start.elapsed());
    }
    show("killing a hot loop", &mut kills);
}

/// Plugins in other languages, of `SORTIE_AUTHORED`: how long they take to be compiled, to be loaded from what was compiled, and to start.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement, for a release build on a quiet machine"]
#[expect(clippy::disallowed_methods, reason = "it measures")]
async fn other_languages() {
    let Some(built) = std::env::var_os("SORTIE_AUTHORED").map(PathBuf::from) else {
        println!(
            "other languages: `cargo xtask plugins --languages` builds the examples, and SORTIE_AUTHORED says where they are"
        );
        return;
    };
    for language in ["python", "javascript"] {
        let component = std::fs::read(built.join(format!("digest-{language}.wasm"))).expect("it was built");
        let folder = tempfile::tempdir().expect("a folder");
        let open = || Sandbox::new(Options::new(folder.path().to_owned())).expect("a sandbox");
        let start = std::time::Instant::now();
        let digest = open().install(component).await.expect("a plugin").identity.digest;
        println!("{language}: compiled and described in {:?}", start.elapsed());

        let mission = || Brief { inputs: r#"{ "notes": "a", "pages": ["b"] }"#.to_owned(), ..brief("") };
        let (mut loaded, mut started) = (Vec::new(), Vec::new());
        for _ in 0..10 {
            let sandbox = open();
            for turn in 0..50 {
                let start = std::time::Instant::now();
                assert_eq!(sandbox.check(&digest, mission()).await, Ok(Vec::new()));
                if turn == 0 { loaded.push(start.elapsed()) } else { started.push(start.elapsed()) }
            }
        }
        show(&format!("{language}: loaded from what was compiled, and started"), &mut loaded);
        show(&format!("{language}: started"), &mut started);
    }
}

#[expect(clippy::print_stdout, reason = "it measures")]
fn show(what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let at = |share: usize| times[times.len() * share / 100];
    println!("{what}: p50 {:?}, p99 {:?}", at(50), at(99));
}
