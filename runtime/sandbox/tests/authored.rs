//! Plugins in Python and JavaScript: whatever their node answers, in whatever order and at whatever times, a run that is given the recorded
//! answers says the same again, byte for byte; also one that was broken off behind any call.
//!
//! `cargo xtask test` builds them and says where (`SORTIE_AUTHORED`); without that there is nothing to test, and it is said.

mod common;
mod tape;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use sortie_contract::plugin::{Brief, Verdict};
use sortie_contract::tool::ToolName;
use sortie_sandbox::{Ending, Host, Installed, Kill, Options, Run, Sandbox};
use tape::{Recorder, Tape};

const PATIENCE: Duration = Duration::from_secs(60);

/// So much memory is enough for each run, whatever is configured.
const MEMORY_BYTES: u64 = 96 << 20;

struct Node {
    sandbox: Sandbox,
    plugin: Installed,
    _folder: tempfile::TempDir,
}

/// A node with the example in that language; none where nobody built it.
async fn with(language: &str) -> Option<Node> {
    let Some(folder) = std::env::var_os("SORTIE_AUTHORED").map(PathBuf::from) else {
        eprintln!("skipped: SORTIE_AUTHORED is not set; `cargo xtask test` builds the examples and sets it");
        return None;
    };
    let bytes = std::fs::read(folder.join(format!("digest-{language}.wasm"))).expect("xtask built it");
    let data = tempfile::tempdir().expect("a folder");
    let sandbox = Sandbox::new(Options::new(data.path().to_owned())).expect("a sandbox");
    let plugin = sandbox.install(bytes).await.expect("it is a plugin");
    Some(Node { sandbox, plugin, _folder: data })
}

impl Node {
    /// One run; what was said and answered is on the tape, before it and behind it.
    async fn run(&self, seed: u64, tape: Tape, broken_off_at: Option<usize>) -> (Ending, Tape) {
        let mission = tape.mission(seed);
        let host = Arc::new(Recorder::new(seed, tape, broken_off_at));
        let run = Run {
            plugin: self.plugin.identity.digest,
            brief: brief(mission),
            seed: "m-1".to_owned(),
            grants: ["Read", "WebFetch"].map(ToolName::new).to_vec(),
            host: Arc::clone(&host) as Arc<dyn Host>,
            kill: Kill::new(),
            memory_bytes_max: Some(MEMORY_BYTES),
        };
        let ending = tokio::time::timeout(PATIENCE, self.sandbox.run(run)).await.expect("the run ends");
        let tape = host.tape();
        (ending, tape)
    }
}

fn brief(seed: u64) -> Brief {
    let mut random = SmallRng::seed_from_u64(seed);
    let pages: Vec<String> =
        (0..random.random_range(1..=4)).map(|page| format!("https://example.org/{page}")).collect();
    Brief {
        mission_id: format!("m-{seed}"),
        vp_id: "vp".to_owned(),
        vp_session_id: "vp.session".to_owned(),
        mission_type: "custom".to_owned(),
        objective: "Make a digest.".to_owned(),
        inputs: serde_json::json!({ "notes": "notes.md", "pages": pages }).to_string(),
        success_criteria: if random.random() { vec!["It stands.".to_owned()] } else { Vec::new() },
        required_outputs: Vec::new(),
    }
}

/// A hundred runs, each held against what was recorded of it.
async fn replays(node: &Node) {
    let (mut done, mut failed, mut said) = (0, 0, 0);
    for seed in 0..100 {
        let (first, recorded) = node.run(seed, Tape::default(), None).await;
        match &first {
            Ending::Returned(Verdict::Done { .. }) => done += 1,
            Ending::Returned(Verdict::Failed { .. }) => failed += 1,
            other => panic!("seed {seed}: {other:?}"),
        }
        said += recorded.len();
        // Other answers would be given behind its end.
        let (again, tape) = node.run(seed + 1_000, recorded.clone().of_seed(seed), None).await;
        assert_eq!(again, first, "seed {seed}");
        assert_eq!(tape, recorded, "seed {seed}: nothing is said behind the end of the record");
    }
    // The node of the tape refuses, fails and turns down: both happen, and often.
    assert!(done > 20 && failed > 5, "{done} were done and {failed} failed");
    assert!(said > 1_000, "{said} things were said");
}

/// Fifty runs that are broken off, each behind another call, and go on with other answers.
async fn goes_on(node: &Node) {
    let mut broken_off = 0;
    for seed in 0.. {
        let (_, whole) = node.run(seed, Tape::default(), None).await;
        for at in 0..whole.len() {
            let (ending, before) = node.run(seed, Tape::default(), Some(at)).await;
            // At other times fewer things may be said than in the first run.
            if ending != Ending::Killed {
                continue;
            }
            let (ending, tape) = node.run(seed + 1_000, before.clone().of_seed(seed), None).await;
            assert!(matches!(ending, Ending::Returned(_)), "seed {seed}, broken off at {at}: {ending:?}");
            assert!(tape.begins_with(&before), "seed {seed}: what was said before {at} is said again");
            broken_off += 1;
            if broken_off == 50 {
                return;
            }
        }
    }
}

/// One test a language: compiling is what takes long.
async fn holds(language: &str) {
    let Some(node) = with(language).await else { return };
    replays(&node).await;
    goes_on(&node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_replays_byte_for_byte() {
    holds("python").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn javascript_replays_byte_for_byte() {
    holds("javascript").await;
}
