//! What a model may do, and how its mission ends.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sortie_tests::envelope::{in_ms, with};

use super::{Bench, call, coding, mends, passes, repository, says, turn};

/// A model, what its mission is dispatched with beyond the usual, and how that ends.
struct Case {
    name: &'static str,
    script: Vec<Value>,
    with: Vec<(&'static str, Value)>,
    status: &'static str,
    /// What stands in the last event's summary.
    summary: &'static str,
    /// What stands in `summary.md`.
    told: &'static str,
    /// Whether there is a patch, and whether the tests pass with it.
    patch: Option<bool>,
}

fn case(name: &'static str, script: Vec<Value>, status: &'static str, summary: &'static str) -> Case {
    let patch = (status == "completed").then_some(true);
    Case { name, script, with: Vec::new(), status, summary, told: "", patch }
}

fn looks(path: &str) -> Value {
    call("Read", json!({"path": path}))
}

fn cases() -> Vec<Case> {
    let edit = |old: &str, new: &str| call("Edit", json!({"path": "add.sh", "old": old, "new": new}));
    let cut = |text: &str| json!({"content": text, "stop_reason": "max_tokens"});
    let failing: Vec<Value> = (0..12).map(|at| turn(at, looks("gone.txt"))).collect();
    let back_and_forth =
        (0..12).map(|at| turn(at, if at % 2 == 0 { edit("-", "*") } else { edit("*", "-") })).collect();
    let reading = |from: usize| (from..40).map(|at| turn(at, looks(&format!("{at}.txt")))).collect::<Vec<_>>();
    let both = |first: Vec<Value>, then: Vec<Value>| [first, then].concat();
    let none: Vec<Value> = Vec::new();
    vec![
        Case {
            told: "all is well",
            ..case(
                "right",
                vec![turn(0, looks("add.sh")), mends(1), says(2, "It adds.")],
                "completed",
                "the tests pass",
            )
        },
        Case {
            told: "2 and 3 make 6",
            patch: Some(false),
            ..case(
                "wrong",
                vec![turn(0, edit("-", "*")), says(1, "All tests pass."), says(2, "They do.")],
                "failed",
                "and it is not",
            )
        },
        // What judges the work was changed by it: nobody can say whether it still asks what it asked, and all are told.
        Case {
            told: "see that they still ask what they asked: `test.sh`",
            patch: Some(true),
            ..case(
                "weakened",
                vec![
                    turn(0, call("Write", json!({"path": "test.sh", "content": "exit 0\n"}))),
                    says(1, "All tests pass."),
                ],
                "completed",
                "1 file is changed, the tests pass; tests among them: `test.sh` (changed)",
            )
        },
        // It learns of its mistake by the test that it did not run, and mends it.
        case(
            "learns",
            vec![turn(0, edit("-", "*")), says(1, "Done."), turn(2, edit("*", "+")), says(3, "Now.")],
            "completed",
            "the tests pass",
        ),
        case("idle", vec![says(0, "It is fine as it is."), says(1, "It is.")], "failed", "nothing is changed"),
        case(
            "refuses",
            vec![turn(0, json!({"content": "I will not.", "stop_reason": "refusal"}))],
            "failed",
            "refused: I will not.",
        ),
        case("fails-again", failing, "failed", "went in circles"),
        Case {
            patch: Some(false),
            told: "back and forth",
            ..case("back-and-forth", back_and_forth, "failed", "went in circles")
        },
        case(
            "no-such-tool",
            vec![turn(0, call("Deploy", json!({}))), mends(1), says(2, "Done.")],
            "completed",
            "the tests pass",
        ),
        case(
            "cut",
            both(
                vec![json!({"when": {"turn": 0}, "times": 1, "fault": {"cut": true}})],
                vec![mends(0), says(1, "Done.")],
            ),
            "completed",
            "pass",
        ),
        case(
            "no-json",
            both(
                vec![json!({"when": {"turn": 0}, "times": 1, "fault": {"malformed": "{\"content\": [{"}})],
                vec![mends(0), says(1, "Done.")],
            ),
            "completed",
            "pass",
        ),
        case(
            "bad-arguments",
            vec![turn(0, call("Edit", json!({"file": 7}))), mends(1), says(2, "Done.")],
            "completed",
            "pass",
        ),
        case("never-answers", vec![json!({"fault": {"malformed": "?"}, "times": 9})], "failed", "could not be asked"),
        case(
            "long",
            vec![
                turn(0, json!({"content": "w".repeat(400_000), "stop_reason": "max_tokens"})),
                mends(1),
                says(2, "Done."),
            ],
            "completed",
            "pass",
        ),
        case(
            "mid-sentence",
            vec![turn(0, cut("I begin by")), mends(1), turn(2, cut("It")), says(3, " adds.")],
            "completed",
            "pass",
        ),
        case("silent", vec![json!({"answer": {"content": []}, "times": 9})], "failed", "said nothing"),
        Case {
            with: vec![("/inputs/max_turns", json!(2))],
            patch: Some(true),
            ..case(
                "turns",
                vec![mends(0), turn(1, looks("add.sh")), turn(2, looks("a"))],
                "failed",
                "all 2 turns are used",
            )
        },
        // It has four calls, and a model that never comes to an end.
        Case {
            with: vec![("/budget", json!({"max_llm_calls": 4}))],
            told: "dispatch a mission with inputs.base = \"mission/spent\"",
            patch: Some(true),
            ..case("spent", both(vec![mends(0)], reading(1)), "failed", "came to its limit")
        },
        Case {
            with: vec![
                ("/constraints/allowed_tools", json!(["Read", "Write", "Edit", "Glob"])),
                ("/success_criteria", json!(["All tests pass."])),
            ],
            told: "No test was run: the mission is not granted Bash.",
            ..case("no-bash", vec![mends(0), says(1, "All tests pass.")], "completed", "no test was run")
        },
        Case {
            with: vec![("/constraints/allowed_tools", json!(["Read", "Write", "Edit", "Bash(cd *)", "Bash(git *)"]))],
            told: "No test was run",
            ..case("scoped", vec![mends(0), says(1, "Done.")], "completed", "no test was run")
        },
        Case {
            with: vec![(
                "/constraints/allowed_tools",
                json!(["Read", "Write", "Edit", "Bash(cd *)", "Bash(git *)", "Bash(sh test.sh)"]),
            )],
            ..case("scoped-test", vec![mends(0), says(1, "Done.")], "completed", "the tests pass")
        },
        Case {
            with: vec![("/success_criteria", json!(["`sh test.sh` passes", "`grep -q nowhere add.sh` succeeds"]))],
            told: "**unmet**: `grep -q nowhere add.sh` succeeds",
            patch: Some(true),
            ..case(
                "criterion",
                vec![mends(0), says(1, "Done.")],
                "failed",
                "not met: `grep -q nowhere add.sh` succeeds; 1 file is changed, the tests pass",
            )
        },
        Case {
            with: vec![("/inputs/base", json!("nowhere"))],
            ..case("no-base", none.clone(), "failed", "no commit `nowhere`")
        },
        Case {
            with: vec![("/inputs/repository", json!("elsewhere"))],
            ..case("no-repository", none.clone(), "failed", "holds no file")
        },
        Case {
            with: vec![("/inputs/repository", json!("https://127.0.0.1:9/a.git"))],
            ..case("no-network", none, "failed", "could not be cloned")
        },
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_model_has_the_ending_that_a_colleague_would_choose() {
    let cases = cases();
    let scripts: BTreeMap<&str, Vec<Value>> = cases.iter().map(|case| (case.name, case.script.clone())).collect();
    let bench = Bench::start("[limits]\nlanding = 0.25", &scripts).await;
    let mut repositories = BTreeMap::new();
    for case in &cases {
        let at = bench.workspace(&format!("vp.{}", case.name)).await.join("repo");
        repository(&at);
        repositories.insert(case.name, at);
    }
    for case in &cases {
        let envelope =
            case.with.iter().fold(coding(case.name), |envelope, (place, value)| with(envelope, place, value.clone()));
        bench.node.accept(&envelope).await;
    }
    for case in &cases {
        let name = case.name;
        let end = bench.node.until_final(name).await;
        assert_eq!(end["status"], case.status, "{name}: {end:#}");
        let summary = end["summary"].as_str().unwrap_or_default();
        assert!(summary.contains(case.summary), "{name}: {summary}");
        assert!(end["detail"]["next_action"].as_str().is_some_and(|next| !next.is_empty()), "{name}: {end:#}");
        let stored = end["artifact_refs"].to_string();
        assert_eq!(stored.contains("changes.patch"), case.patch.is_some(), "{name}: {stored}");
        if case.script.is_empty() {
            continue;
        }
        let told = bench.text(name, "summary.md").await;
        assert!(told.contains(case.told), "{name}: {told}");
        let transcript = bench.text(name, "transcript.jsonl").await;
        assert!(transcript.len() < 1_000_000, "{name}: {}", transcript.len());
        assert!(transcript.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{name}");
        if let Some(expected) = case.patch {
            let patch = bench.artifact(name, "changes.patch").await;
            assert_eq!(passes(&repositories[name], &patch), expected, "{name}: {}", String::from_utf8_lossy(&patch));
        }
    }
    // Where it worked on the files alone nobody claims that it was tested.
    let end = bench.node.events("no-bash").await.pop().expect("an end");
    assert_eq!(end["detail"]["criteria"][0]["verdict"], "not_judged", "{end:#}");
}

/// It works until its time is nearly over, be it the run time's end or the window's, and whatever it waits for then: it keeps what is sound
/// and says how to go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_limit_is_landed_in_whatever_is_on_its_way() {
    let waits = |at: usize| turn(at, call("Bash", json!({"command": format!("sleep 0.5; echo {at}")})));
    let hangs = json!({"fault": {"hang_s": 600}, "times": 9});
    let sleeps = turn(1, call("Bash", json!({"command": "sleep 600"})));
    let ways = [
        ("turns", [vec![mends(0)], (1..120).map(waits).collect()].concat()),
        ("answer", vec![mends(0), hangs]),
        ("command", vec![mends(0), sleeps, says(2, "Half is done.")]),
        ("test", vec![mends(0), says(1, "Done."), says(2, "It adds.")]),
    ];
    let cases: Vec<(String, &str, bool, &Vec<Value>)> = ways
        .iter()
        .flat_map(|(way, script)| {
            [("window", true), ("time", false)].map(|limit| (format!("{way}-{}", limit.0), *way, limit.1, script))
        })
        .collect();
    let scripts = cases.iter().map(|(name, _, _, script)| (name.as_str(), (*script).clone())).collect();
    let bench = Bench::start("concurrency = 16\n[limits]\nlanding = 0.5\n[node]\nmax_running = 16", &scripts).await;
    for (name, ..) in &cases {
        repository(&bench.workspace(&format!("vp.{name}")).await.join("repo"));
    }
    let mut ends = BTreeMap::new();
    for (name, way, has_window, _) in &cases {
        let mut envelope = if *has_window {
            let closes = in_ms(24_000);
            ends.insert(name, closes.clone());
            with(coding(name), "/autonomy_window", json!({"end_at": closes}))
        } else {
            with(coding(name), "/budget", json!({"max_runtime_minutes": 0.4}))
        };
        if *way == "test" {
            envelope = with(envelope, "/inputs/test", json!("sleep 600; sh test.sh"));
        }
        bench.node.accept(&envelope).await;
    }
    for (name, way, ..) in &cases {
        let end = bench.node.until_final(name).await;
        let summary = end["summary"].as_str().unwrap_or_default();
        assert_eq!(
            (&end["status"], summary.contains("came to its limit before the work was done; 1 file is changed")),
            (&json!("failed"), true),
            "{name}: {end:#}"
        );
        if let Some(closes) = ends.get(name) {
            let ended = end["emitted_at"].as_str().unwrap_or_default();
            assert!(ended < closes.as_str(), "{name}: {ended}, {closes}");
        }
        let told = bench.text(name, "summary.md").await;
        assert!(told.contains("No test was run: the mission was at its limit."), "{name}: {told}");
        assert!(told.contains(&format!("inputs.base = \"mission/{name}\"")), "{name}: {told}");
        assert_eq!(told.contains("> Half is done."), *way == "command", "{name}: the last words: {told}");
        let at = sortie_tests::workspace_of(&bench.node, &format!("vp.{name}")).join("repo");
        assert!(passes(&at, &bench.artifact(name, "changes.patch").await), "{name}");
    }
}

/// Money that is spent in the middle: the mission lands with what it kept for that, leaves what there is, and pays nothing beyond.
#[tokio::test(flavor = "multi_thread")]
async fn money_that_is_spent_in_the_middle_leaves_the_work_and_nothing_is_overdrawn() {
    const BUDGET_USD: f64 = 0.05;
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("money.json");
    let looks = (1..200).map(|at| turn(at, looks(&format!("{at}.txt"))));
    let answers: Vec<Value> = [mends(0)].into_iter().chain(looks).collect();
    std::fs::write(&script, json!({"answers": answers}).to_string()).expect("writable");
    // A dollar for a million tokens that are read, ten for as many that are written.
    let config = format!(
        "[limits]\nlanding = 0.25\n[model.money]\nprotocol = \"scripted\"\nfile = {script:?}\nmax_output_tokens = 1000\n\
         price_usd_per_mtok = {{ input = 1, output = 10 }}\n"
    );
    let bench = Bench::start(&config, &BTreeMap::new()).await;
    let at = bench.workspace("vp.money").await.join("repo");
    repository(&at);
    let envelope = with(coding("money"), "/budget", json!({"max_cost_usd": BUDGET_USD}));
    let end = bench.node.run(&with(envelope, "/inputs/max_tokens", json!(300))).await;
    assert_eq!(
        (&end["status"], &end["detail"]["reason"], &end["summary"]),
        (
            &json!("failed"),
            &json!("plugin_failed"),
            &json!("the mission came to its limit before the work was done; 1 file is changed, no test was run")
        ),
        "{end:#}"
    );
    let next = "Read summary.md and the end of transcript.jsonl. To go on from here, dispatch a mission with inputs.base = \"mission/money\".";
    assert_eq!(end["detail"]["next_action"], next, "{end:#}");
    let mut names: Vec<&str> =
        end["detail"]["artifacts"].as_array().expect("a list").iter().filter_map(|a| a["name"].as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["changes.patch", "summary.md", "transcript.jsonl"], "{end:#}");
    assert!(passes(&at, &bench.artifact("money", "changes.patch").await));
    // A good part of it was used (what a call may cost at most is set aside before it, and that is more than it does cost), and none of it
    // twice: what is told of each answer makes the sum.
    let spent = end["usage"]["estimated_cost_usd"].as_f64().expect("a sum");
    assert!((0.2 * BUDGET_USD..=BUDGET_USD).contains(&spent), "{end:#}");
    let transcript = bench.text("money", "transcript.jsonl").await;
    let lines: Vec<Value> = transcript.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let told: f64 = lines.iter().filter_map(|line| line["cost_usd"].as_f64()).sum();
    assert!((told - spent).abs() < 1e-9, "{told} told, {spent} spent");
    let mission = bench.node.mission("money").await;
    assert_eq!(mission["status"], "failed", "{mission:#}");
    let open = bench.node.get("/v1/requests").await.expect_status(200).json;
    assert_eq!(open["items"], json!([]), "nobody was asked for more");
}
