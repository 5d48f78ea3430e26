//! The protocol's own conformance suite, its scenarios for servers: against a desk with the tools that the suite asks for, behind the mount
//! that the node has.
//!
//! `cargo xtask test` installs the suite and says where (`SORTIE_MCP_SERVERS`); without that there is nothing to test with, and it is said.

use std::convert::Infallible;
use std::path::Path;

use hyper_util::rt::TokioIo;
use sortie_mcp::serve::Mount;

use suite::{folder, suite, told};

mod fixture;
mod suite;

/// The scenarios that the server is not to pass, and why. All others it passes.
const NOT_HERE: [(&str, &str); 21] = [
    ("logging-set-level", NO_LOGGING),
    ("tools-call-with-logging", NO_LOGGING),
    ("completion-complete", NO_PROMPTS),
    ("prompts-list", NO_PROMPTS),
    ("prompts-get-simple", NO_PROMPTS),
    ("prompts-get-with-args", NO_PROMPTS),
    ("prompts-get-embedded-resource", NO_PROMPTS),
    ("prompts-get-with-image", NO_PROMPTS),
    ("input-required-result-non-tool-request", NO_PROMPTS),
    ("caching", "seven of its eight checks pass; the eighth lists prompts, and there are none"),
    ("resources-subscribe", NO_SUBSCRIPTIONS),
    ("resources-unsubscribe", NO_SUBSCRIPTIONS),
    ("tools-call-sampling", NO_SAMPLING),
    ("server-stateless", "23 of its 25 checks pass; the other two want a tool that cannot do without sampling"),
    ("input-required-result-capability-check", NO_SAMPLING),
    ("input-required-result-basic-sampling", NO_SAMPLING),
    ("input-required-result-basic-list-roots", NO_SAMPLING),
    ("input-required-result-multiple-input-requests", NO_SAMPLING),
    ("input-required-result-request-state", NO_STATE),
    ("input-required-result-multi-round", NO_STATE),
    ("input-required-result-tampered-state", NO_STATE),
];

const NO_LOGGING: &str = "the server has a log of its own, and sends none to clients: the capability is not offered";
const NO_PROMPTS: &str = "a node has no prompts, and nothing of theirs to complete: the capabilities are not offered";
const NO_SUBSCRIPTIONS: &str = "artifacts do not change, and missions are waited for: the capability is not offered";
const NO_SAMPLING: &str =
    "a node asks the client's person and nothing else: missions have models of their own, and no folders of the client";
const NO_STATE: &str = "a call that is made again says all of it by its arguments and the replies: no state travels, so none can be tampered with";

/// The suite for servers: its later versions have scenarios of both eras.
const SUITE: &str = "conformance-of-servers";

/// Serves the fixture on a port of its own.
async fn serve() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://localhost:{}/mcp", listener.local_addr().expect("its own").port());
    let mount = Mount::new(fixture::Fixture::default(), [], 1 << 20);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mount = mount.clone();
            let service = hyper::service::service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
                request.extensions_mut().insert(());
                let mount = mount.clone();
                async move { Ok::<_, Infallible>(mount.answer(request).await) }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    url
}

/// The scenarios that the suite has, with the versions of the protocol that each is for.
fn listed(folder: &Path) -> Vec<(String, String)> {
    let output = suite(folder, SUITE).args(["list", "--server"]).output().expect("the suite");
    let told = told(&output);
    let line = |line: &str| {
        let (name, versions) = line.trim().strip_prefix("- ")?.split_once(" [")?;
        Some((name.to_owned(), versions.trim_end_matches(']').to_owned()))
    };
    let listed: Vec<_> = told.lines().filter_map(line).collect();
    assert!(listed.len() >= 60, "{told}");
    listed
}

#[test]
fn every_scenario_that_is_left_out_is_one_and_has_a_reason() {
    let Some(folder) = folder() else { return };
    let listed = listed(&folder);
    for (name, why) in &NOT_HERE {
        assert!(listed.iter().any(|(listed, _)| listed == name), "{name} is no scenario");
        assert!(!why.is_empty(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scenarios_for_servers_pass() {
    let Some(folder) = folder() else { return };
    let url = serve().await;
    let listed = listed(&folder);
    let wanted: Vec<String> =
        listed.into_iter().map(|(name, _)| name).filter(|name| NOT_HERE.iter().all(|(left, _)| left != name)).collect();
    let run = move || {
        // Two at once: each starts a Node.
        let failed = std::sync::Mutex::new(Vec::new());
        let next = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    loop {
                        let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        let Some(name) = wanted.get(at) else { break };
                        let results = tempfile::tempdir().expect("a folder");
                        let output = suite(&folder, SUITE)
                            .args(["server", "--url", &url, "--scenario", name])
                            .current_dir(results.path())
                            .output()
                            .expect("the suite");
                        if !output.status.success() {
                            failed.lock().expect("not poisoned").push(format!("{name}: {}", told(&output)));
                        }
                    }
                });
            }
        });
        failed.into_inner().expect("not poisoned")
    };
    let failed = tokio::task::spawn_blocking(run).await.expect("no panic");
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n\n"));
}
