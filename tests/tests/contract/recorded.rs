//! `sortie plugin check --from`: of every mission that ended, however it did, a case is made that the same plugin passes.

use serde_json::{Value, json};
use sortie_tests::envelope::{edit, in_ms, with, write};
use sortie_tests::{Node, Options, automation, until};

/// A model that a script plays, `Bash`, and a tool that costs something.
async fn node() -> Node {
    let folder = tempfile::tempdir().expect("a folder").keep();
    let script = folder.join("script.json");
    let answers = json!({"answers": [
        {"when": {"contains": "First?"}, "text": "one"}, {"when": {"contains": "Second?"}, "text": "two"},
    ]});
    std::fs::write(&script, answers.to_string()).expect("writable");
    let config = format!(
        "[tool.Bash]\nenabled = true\n[tool.Grep]\ncost_usd = 0.5\n[model.brain]\nprotocol = \"scripted\"\nfile = {:?}\nfree = true\n",
        script.display().to_string()
    );
    Options::new().config(&config).start().await
}

fn asks(id: &str, prompt: &str, needs: &[&str]) -> Value {
    json!({ "id": id, "model": { "prompt": prompt }, "needs": needs })
}

fn needing(mut step: Value, needs: &str) -> Value {
    step["needs"] = json!([needs]);
    step
}

/// Files by several ways, each of which becomes an artifact.
fn files(id: &str) -> Value {
    let mut changed = needing(edit("changed", "a.txt", "old", "new"), "first");
    changed["artifact"] = json!({ "name": "a.txt", "path": "a.txt" });
    let bash = json!({ "id": "bash", "tool": "Bash", "with": { "command": "printf 'by hand' > b.txt" }, "needs": ["changed"],
        "artifact": { "name": "b.txt", "path": "b.txt" } });
    let read = json!({ "id": "read", "tool": "Read", "with": { "path": "b.txt" }, "needs": ["bash"] });
    let last = needing(write("last", "c.txt", "{{ steps.read.result.content }}!"), "read");
    let steps = json!([write("first", "a.txt", "old words"), changed, bash, read, last]);
    let mission = with(automation(id, &steps), "/constraints/allowed_tools", json!(["Read", "Write", "Edit", "Bash"]));
    with(mission, "/artifact_policy", json!({ "required_outputs": ["c.txt"] }))
}

async fn decide(node: &Node, id: &str, decision: Value) {
    let request = node.until_status(id, "blocked").await["pending_requests"][0]["request_id"].clone();
    let path = format!("/v1/missions/{id}/requests/{}", request.as_str().expect("an id"));
    node.post(&path, &decision).await.expect_status(200);
}

async fn until_recorded(node: &Node, id: &str, kind: &str) {
    let there = async || {
        let journal = node.get(&format!("/v1/missions/{id}/journal")).await.json;
        journal["items"].as_array()?.iter().any(|record| record["kind"] == kind).then_some(())
    };
    until(&format!("{kind} of {id}"), there).await;
}

/// It is dispatched a moment after it was asked for.
async fn until_child_runs(node: &Node, id: &str) {
    let runs = async || (node.get(&format!("/v1/missions/{id}")).await.json["status"] == "running").then_some(());
    until(&format!("{id} runs"), runs).await;
}

async fn cancel(node: &Node, id: &str) {
    node.post(&format!("/v1/missions/{id}/cancel"), &json!({ "reason": "enough" })).await.expect_status(202);
    node.until_final(id).await;
}

/// What another does for a mission, in a plan of its own.
fn child(objective: &str, plan: &Value) -> Value {
    json!({ "objective": objective, "mission_type": "automation", "inputs": { "steps": plan }, "constraints": { "allowed_tools": ["Write"] } })
}

/// A mission that dispatches others: one leaves something, two are alike but for what they are told, one fails.
fn family(id: &str) -> Value {
    let leaves =
        json!([{ "id": "f", "tool": "Write", "with": { "path": "f.txt", "content": "left" }, "artifact": "f.txt" }]);
    let told =
        "{{ steps.leaves.result.artifacts | length }} of {{ steps.leaves.result.mission_id }}; {{ steps.fails.error }}";
    let last = json!({ "id": "last", "needs": ["leaves", "each", "fails"], "tool": "Write", "with": { "path": "last.txt", "content": told } });
    let steps = json!([
        { "id": "leaves", "mission": child("Leave something.", &leaves) },
        { "id": "each", "for_each": [1, 2], "mission": child("Rest {{ item }}.", &json!([{ "id": "s", "sleep": "1s" }])) },
        { "id": "fails", "mission": child("Fail.", &json!([write("w", "../out.txt", "x")])), "on_error": "continue" },
        last,
    ]);
    automation(id, &steps)
}

/// One of each kind: its name, and how it ended.
async fn missions(node: &mut Node) -> Vec<(String, &'static str)> {
    let mut made = Vec::new();
    let mut one = |id: &str, status| made.push((id.to_owned(), status));
    node.run(&files("files")).await;
    one("files", "completed");

    let forked = json!({ "at": 2, "idempotency_key": "f" });
    let fork = node.post("/v1/missions/files/fork", &forked).await.expect_status(202).json["mission_id"].clone();
    let fork = fork.as_str().expect("an id").to_owned();
    node.until_final(&fork).await;
    one(&fork, "completed");

    let models = json!([
        asks("a", "First?", &[]),
        asks("b", "Second?", &["a"]),
        needing(write("w", "w.txt", "{{ steps.b.result.text }}"), "b")
    ]);
    node.run(&automation("models", &models)).await;
    one("models", "completed");

    // Its budget is spent: no more is granted, or more is.
    for (id, decision, status) in [
        ("budget-denied", json!({ "decision": "deny" }), "failed"),
        ("budget-granted", json!({ "decision": "grant", "amount": { "llm_calls": 3 } }), "completed"),
    ] {
        node.accept(&with(automation(id, &models), "/budget", json!({ "max_llm_calls": 1 }))).await;
        decide(node, id, decision).await;
        assert_eq!(node.until_final(id).await["status"], status, "{id}");
        one(id, status);
    }
    let grep = |id: &str| json!({ "id": id, "tool": "Grep", "with": { "pattern": "x" } });
    let dear = with(
        automation("dear", &json!([grep("a"), needing(grep("b"), "a")])),
        "/budget",
        json!({ "max_cost_usd": 0.7 }),
    );
    node.accept(&dear).await;
    decide(node, "dear", json!({ "decision": "deny" })).await;
    node.until_final("dear").await;
    one("dear", "failed");

    // Several are approved at once; one is changed on the way.
    let writes = json!([
        write("a", "a.txt", "a"),
        needing(write("b", "b.txt", "b"), "a"),
        needing(write("c", "c.txt", "c"), "b")
    ]);
    for (id, decision) in [
        ("approved", json!({ "decision": "approve", "for": "mission" })),
        ("approved-tool", json!({ "decision": "approve", "for": "tool" })),
    ] {
        node.accept(&with(automation(id, &writes), "/constraints/approval_required", json!(["Write"]))).await;
        decide(node, id, decision).await;
        node.until_final(id).await;
        one(id, "completed");
    }
    let single = json!([write("a", "a.txt", "a")]);
    node.accept(&with(automation("amended", &single), "/constraints/approval_required", json!(["Write"]))).await;
    decide(node, "amended", json!({ "decision": "approve", "arguments": { "path": "b.txt", "content": "b" } })).await;
    node.until_final("amended").await;
    one("amended", "completed");

    // It left memory, and came back.
    let ask = json!({ "id": "ask", "tool": "ask", "with": { "question": "Which?" } });
    let asked = json!([ask, needing(write("w", "w.txt", "{{ steps.ask.result }}"), "ask")]);
    node.accept(&automation("suspended", &asked)).await;
    until_recorded(node, "suspended", "suspended").await;
    decide(node, "suspended", json!({ "decision": "answer", "text": "this" })).await;
    node.until_final("suspended").await;
    one("suspended", "completed");

    // Cancelled: while it sleeps, while it asks, while a command runs, before it began.
    let slept = json!([write("w", "w.txt", "w"), { "id": "s", "sleep": "6h", "needs": ["w"] }]);
    node.accept(&automation("cancelled-asleep", &slept)).await;
    until_recorded(node, "cancelled-asleep", "call_finished").await;
    cancel(node, "cancelled-asleep").await;
    node.accept(&automation("cancelled-asking", &asked)).await;
    node.until_status("cancelled-asking", "blocked").await;
    cancel(node, "cancelled-asking").await;
    let command = json!([{ "id": "b", "tool": "Bash", "with": { "command": "sleep 600" } }]);
    node.accept(&with(automation("cancelled-calling", &command), "/constraints/allowed_tools", json!(["Bash"]))).await;
    until_recorded(node, "cancelled-calling", "call_started").await;
    cancel(node, "cancelled-calling").await;
    node.accept(&with(
        automation("cancelled-queued", &slept),
        "/autonomy_window",
        json!({ "start_at": in_ms(3_600_000) }),
    ))
    .await;
    cancel(node, "cancelled-queued").await;
    for id in ["cancelled-asleep", "cancelled-asking", "cancelled-calling", "cancelled-queued"] {
        one(id, "cancelled");
    }

    // Time is up.
    let window = json!({ "end_at": in_ms(3_000) });
    node.accept(&with(automation("window", &slept), "/autonomy_window", window)).await;
    node.accept(&with(automation("run-time", &slept), "/budget", json!({ "max_runtime_minutes": 0.05 }))).await;
    for id in ["window", "run-time"] {
        node.until_final(id).await;
        one(id, "timed_out");
    }

    // Missions that one dispatches: those that come to an end of their own, one that somebody cancels, and one that nobody waits for any more.
    node.run(&family("family")).await;
    one("family", "completed");
    let children = node.get("/v1/missions?parent=family").await.expect_status(200).json;
    let mut children = children["items"].as_array().expect("a list").iter();
    let done = children.find(|child| child["status"] == "completed").expect("one has ended well");
    one(done["mission_id"].as_str().expect("an id"), "completed");
    let sleeps = || child("Sleep.", &json!([{ "id": "s", "sleep": "6h" }]));
    node.accept(&automation("one-cancelled", &json!([{ "id": "m", "mission": sleeps(), "on_error": "continue" }])))
        .await;
    until_child_runs(node, "one-cancelled.child-1").await;
    cancel(node, "one-cancelled.child-1").await;
    node.until_final("one-cancelled").await;
    one("one-cancelled", "completed");
    node.accept(&automation("all-cancelled", &json!([{ "id": "m", "mission": sleeps() }]))).await;
    until_child_runs(node, "all-cancelled.child-1").await;
    cancel(node, "all-cancelled").await;
    one("all-cancelled", "cancelled");

    // A node that is killed in the middle: the command is made again, as somebody says.
    let command = json!([write("w", "w.txt", "w"), { "id": "b", "tool": "Bash", "with": { "command": "sleep 2; echo done" }, "needs": ["w"] }]);
    node.accept(&with(automation("killed", &command), "/constraints/allowed_tools", json!(["Bash", "Write"]))).await;
    let started = async || {
        let journal = node.get("/v1/missions/killed/journal").await.json;
        let is_it = |record: &Value| {
            record["kind"] == "call_started"
                && record["body"]["arguments"].as_str().is_some_and(|it| it.contains("sleep 2"))
        };
        journal["items"].as_array()?.iter().any(is_it).then_some(())
    };
    until("the command runs", started).await;
    node.kill();
    node.restart().await;
    decide(node, "killed", json!({ "decision": "repeat" })).await;
    node.until_final("killed").await;
    one("killed", "completed");
    made
}

#[tokio::test(flavor = "multi_thread")]
async fn a_case_of_every_mission_that_ended_passes() {
    let mut node = node().await;
    let missions = missions(&mut node).await;
    let component = node.request("GET", "/v1/missions/files/plugin").send().await.expect("an answer");
    let plugin = node.folder().join("automation.wasm");
    std::fs::write(&plugin, component.bytes().await.expect("a component")).expect("writable");
    let plugin = plugin.to_string_lossy().into_owned();
    let mut wrong = Vec::new();
    for (id, status) in &missions {
        assert_eq!(node.mission(id).await["status"], *status, "{id}");
        let made = node.cli(&["plugin", "check", "--from", id]).await;
        assert!(made.status.success(), "{id}: {}", String::from_utf8_lossy(&made.stderr));
        let file = node.folder().join(format!("{}.toml", id.replace(':', "-")));
        std::fs::write(&file, &made.stdout).expect("writable");
        let checked = node.cli(&["plugin", "check", "--plugin", &plugin, &file.to_string_lossy()]).await;
        if !checked.status.success() {
            let said =
                [&checked.stdout, &checked.stderr].map(|text| String::from_utf8_lossy(text).into_owned()).concat();
            wrong.push(format!("{id}: {said}\n{}", String::from_utf8_lossy(&made.stdout)));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), missions.len(), wrong.join("\n\n"));

    // What is made of files is what was in them.
    let case = std::fs::read_to_string(node.folder().join("files.toml")).expect("it was written");
    for there in ["new words", "by hand", "\"c.txt\" = true"] {
        assert!(case.contains(there), "{there}: {case}");
    }
    // What children left is what they left.
    let case = std::fs::read_to_string(node.folder().join("family.toml")).expect("it was written");
    for there in ["[child.artifacts.\"f.txt\"]\ntext = \"left\"", "status = \"failed\"", "objective = \"Rest 2.\""] {
        assert!(case.contains(there), "{there}: {case}");
    }
    assert_eq!(case.matches("[[child]]").count(), 4, "{case}");
}
