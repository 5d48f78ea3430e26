//! Missions that missions dispatch: with no more than their parent has, once each, and ended with it.

use serde_json::{Value, json};
use sortie_tests::envelope::{with, write};
use sortie_tests::{Node, Options, automation, until};

/// A lane with one place: a parent that waits must leave it to its children. A write costs a cent.
const ONE_PLACE: &str = "[node]\nmax_running = 1\n[tool.Write]\ncost_usd = 0.01";

/// Dispatches a child for each of three files, which rests before it writes.
fn three(id: &str, rest: &str) -> Value {
    let child = json!({
        "objective": "Write file {{ item }}.",
        "mission_type": "automation",
        "inputs": "{{ inputs.plan }}",
        "constraints": { "allowed_tools": ["Write"] },
        "budget": { "max_cost_usd": 0.02 },
        "artifact_policy": { "required_outputs": ["file.txt"] },
    });
    let steps = json!([
        { "id": "each", "for_each": [1, 2, 3], "mission": child },
        { "id": "all", "tool": "Write", "with": { "path": "all.txt", "content": "{{ steps.each.results | length }} are done" } },
    ]);
    let plan = json!({ "steps": [{ "id": "rest", "sleep": rest }, {
        "id": "file", "needs": ["rest"], "tool": "Write", "with": { "path": "file.txt", "content": "x" }, "artifact": "file.txt",
    }] });
    let mission = with(automation(id, &steps), "/inputs/plan", plan);
    with(mission, "/budget", json!({ "max_cost_usd": 0.10 }))
}

/// The missions that one has dispatched, oldest first.
async fn children(node: &Node, id: &str) -> Vec<Value> {
    let listed = node.get(&format!("/v1/missions?parent={id}")).await.expect_status(200).json;
    let mut children = listed["items"].as_array().expect("a list").clone();
    children.reverse();
    children
}

fn cents(usage: &Value) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "a few cents")]
    let cents = (usage["estimated_cost_usd"].as_f64().expect("a figure") * 100.0).round() as i64;
    cents
}

#[tokio::test]
async fn children_are_there_once_whenever_the_node_is_killed_and_what_they_spend_adds_up() {
    let mut node = Options::new().config(ONE_PLACE).start().await;
    node.accept(&three("night", "1s")).await;
    for kills in 0..3 {
        // In the middle of it: so many have ended.
        let ended = async || {
            let over = children(&node, "night").await.iter().filter(|child| child["status"] == "completed").count();
            (over >= kills && !children(&node, "night").await.is_empty()).then_some(())
        };
        until("it is in the middle", ended).await;
        node.kill();
        node.restart().await;
    }
    node.until_final("night").await;
    let night = node.mission("night").await;
    assert_eq!(night["status"], "completed", "{night:#}");
    let children = children(&node, "night").await;
    let ids: Vec<&str> = children.iter().filter_map(|child| child["mission_id"].as_str()).collect();
    assert_eq!(ids.len(), 3, "{ids:?}");
    let mut spent = 1;
    for child in &children {
        assert_eq!((&child["status"], &child["parent_id"]), (&json!("completed"), &json!("night")), "{child:#}");
        spent += cents(&child["usage"]);
        let events = node.events(child["mission_id"].as_str().expect("an id")).await;
        let ends = events.iter().filter(|event| event["event_type"] == "mission.completed").count();
        assert_eq!((ends, &events[0]["parent_id"]), (1, &json!("night")));
    }
    assert_eq!((cents(&night["usage"]), spent, &night["usage"]["reserved"]["cost_usd"]), (4, 4, &json!(0.0)));
    assert_eq!((&night["children"], &night["parent_id"]), (&json!(3), &Value::Null));
    let told: Vec<Value> = node.events("night").await.iter().map(|event| event["detail"]["kind"].clone()).collect();
    let count = |kind: &str| told.iter().filter(|told| *told == kind).count();
    assert_eq!((count("child"), count("child_ended")), (3, 3));
    let listed = node.cli(&["ls", "--children-of", "night"]).await;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(ids.iter().all(|id| listed.contains(id)) && !listed.contains("\nnight "), "{listed}");
}

#[tokio::test]
async fn a_cancel_goes_down_and_a_wait_is_told() {
    let node = Options::new().config(ONE_PLACE).start().await;
    node.accept(&three("night", "10m")).await;
    let waits = async || {
        let night = node.mission("night").await;
        (night["waits_for"]["what"] == "missions").then_some(night)
    };
    let night = until("it waits for them out of memory", waits).await;
    assert_eq!(night["usage"]["reserved"]["cost_usd"], json!(0.06), "their shares");
    node.post("/v1/missions/night/cancel", &json!({"reason": "seen enough"})).await.expect_status(202);
    let all = async || {
        let children = children(&node, "night").await;
        (children.len() == 3 && children.iter().all(|child| child["status"] == "cancelled")).then_some(())
    };
    until("they are cancelled, too", all).await;
}

#[tokio::test]
async fn who_asks_for_more_than_it_has_is_refused_where_it_asks() {
    let node = Node::start().await;
    let child = |fields: Value| {
        let mut child = json!({ "objective": "Read.", "mission_type": "automation", "inputs": { "steps": [{ "id": "s", "sleep": "1ms" }] } });
        child.as_object_mut().expect("fields").extend(fields.as_object().expect("fields").clone());
        json!([{ "id": "other", "mission": child }, write("after", "a.txt", "x")])
    };
    for (id, fields, part) in [
        (
            "tools",
            json!({ "constraints": { "allowed_tools": ["Bash"] } }),
            "`Bash` is not within what the mission may use",
        ),
        ("money", json!({ "budget": { "max_cost_usd": 2.0 } }), "/budget/max_cost_usd: the share of"),
        ("steps", json!({ "inputs": { "steps": [] } }), "/inputs/steps"),
        ("plugin", json!({ "mission_type": "custom", "plugin": "nobody" }), "/plugin"),
    ] {
        let mission = with(automation(id, &child(fields)), "/budget", json!({ "max_cost_usd": 1.0 }));
        let ended = node.run(&mission).await;
        assert_eq!(ended["status"], "failed", "{ended:#}");
        let summary = ended["summary"].as_str().expect("a summary");
        assert!(summary.contains(part), "{id}: {summary}");
        assert!(children(&node, id).await.is_empty());
    }
    let forged =
        with(automation("forged", &json!([write("w", "a", "b")])), "/child_of", json!({"mission_id": "night"}));
    let answer = node.dispatch(&forged).await.expect_status(422);
    assert_eq!(answer.json["errors"][0]["pointer"], "/child_of");
}

#[tokio::test]
async fn a_family_is_no_larger_than_its_node_and_its_envelope_let_it_be() {
    let node = Options::new().config("[limits]\nfamily_max = 3").start().await;
    let said = with(three("said", "1ms"), "/budget/max_missions", json!(2));
    for (mission, expected, part) in
        [(three("fits", "1ms"), 3, None), (said, 2, Some("of the 2 missions that may come of this one 0 are left"))]
    {
        let ended = node.run(&mission).await;
        let id = ended["mission_id"].as_str().expect("an id");
        assert_eq!(children(&node, id).await.len(), expected, "{ended:#}");
        let summary = ended["summary"].as_str().expect("a summary");
        assert_eq!(ended["status"] == "failed", part.is_some(), "{summary}");
        assert!(part.is_none_or(|part| summary.contains(part)), "{summary}");
    }
    // A child has none of its own where its order names none.
    let inner = json!({ "objective": "Dispatch.", "mission_type": "automation", "inputs": "{{ inputs.inner }}", "constraints": { "allowed_tools": ["Write"] } });
    for (id, missions, expected) in [("none", 0, "failed"), ("one", 1, "completed")] {
        let mut outer = inner.clone();
        outer["budget"] = json!({ "max_missions": missions });
        let leaf = json!({ "objective": "Rest.", "mission_type": "automation", "inputs": { "steps": [{ "id": "s", "sleep": "1ms" }] } });
        let mission = automation(id, &json!([{ "id": "outer", "mission": outer }]));
        let mission = with(mission, "/inputs/inner", json!({ "steps": [{ "id": "leaf", "mission": leaf }] }));
        let ended = node.run(&mission).await;
        assert_eq!(ended["status"], expected, "{ended:#}");
        if expected == "failed" {
            let summary = ended["summary"].as_str().expect("a summary");
            assert!(summary.contains("names none in `budget.max_missions`"), "{summary}");
        }
    }
}

#[tokio::test]
async fn names_of_children_are_the_nodes_to_give_by_whatever_way_somebody_comes() {
    let node = Node::start().await;
    let plain = automation("night", &json!([write("w", "a", "b")]));
    for (place, name) in [
        ("/mission_id", "night.child-1"),
        ("/vp_session_id", "child:night.child-1"),
        ("/idempotency_key", "child:night/1"),
    ] {
        let answer = node.dispatch(&with(plain.clone(), place, json!(name))).await.expect_status(422);
        let wrong = &answer.json["errors"][0];
        assert_eq!((&wrong["pointer"], &wrong["code"]), (&json!(place), &json!("reserved")), "{:#}", answer.json);
    }
    // A schedule's fires have names of their own; the session is what it may say.
    let mut mission = plain.clone();
    for made in ["mission_id", "idempotency_key", "autonomy_window", "created_at", "trace_id"] {
        mission.as_object_mut().expect("fields").remove(made);
    }
    mission["vp_session_id"] = json!("child:night.child-1");
    let schedule = json!({ "id": "night", "zone": "UTC", "once": ["2090-01-01T02:00:00"], "mission": mission });
    let answer = node.post("/v1/schedules", &schedule).await.expect_status(422);
    assert_eq!(answer.json["errors"][0]["pointer"], "/mission/vp_session_id", "{:#}", answer.json);
    // Whatever is merely like it is taken.
    node.accept(&with(plain, "/mission_id", json!("night.7"))).await;
}

/// A mission whose child has a child that asks people.
fn asks_below(id: &str) -> Value {
    let rests =
        |steps: Value| json!({ "objective": "Find out.", "mission_type": "automation", "inputs": { "steps": steps } });
    let leaf = rests(json!([{ "id": "q", "tool": "ask", "with": { "question": "Which one?" } }]));
    let mut child = json!({ "objective": "Dispatch.", "mission_type": "automation", "inputs": "{{ inputs.inner }}" });
    child["budget"] = json!({ "max_missions": 1 });
    let mission = automation(id, &json!([{ "id": "outer", "mission": child }]));
    with(mission, "/inputs/inner", json!({ "steps": [{ "id": "leaf", "mission": leaf }] }))
}

#[tokio::test]
async fn what_is_asked_below_blocks_all_above_it_and_is_told_once_whenever_the_node_is_killed() {
    let mut node = Node::start().await;
    node.accept(&asks_below("night")).await;
    let (child, leaf) = ("night.child-1", "night.child-1.child-1");
    for kills in 0..2 {
        for id in ["night", child, leaf] {
            node.until_status(id, "blocked").await;
        }
        if kills == 0 {
            node.kill();
            node.restart().await;
        }
    }
    for id in [child, "night"] {
        let mission = node.mission(id).await;
        let wait = &mission["waits_for"];
        assert_eq!((&mission["pending_requests"], &wait["what"]), (&json!([]), &json!("people")));
        assert_eq!(
            (&wait["mission_id"], &mission["summary"]),
            (&json!(leaf), &json!(format!("{leaf} asks: Which one?")))
        );
        let events = node.events(id).await;
        let blocked = events.iter().filter(|event| event["event_type"] == "mission.blocked").collect::<Vec<_>>();
        let [blocked] = blocked.as_slice() else { panic!("{id} was told {} times: {events:#?}", blocked.len()) };
        assert_eq!((&blocked["status"], &blocked["detail"]["request"]), (&json!("blocked"), &Value::Null));
        let request = &blocked["detail"]["child_request"];
        assert_eq!((&request["mission_id"], &request["request_id"]), (&json!(leaf), &json!("r1")), "{request:#}");
        let why = node.cli(&["why", id]).await;
        let why = String::from_utf8_lossy(&why.stdout).into_owned();
        assert!(why.contains("Which one?") && why.contains(leaf), "{why}");
    }
    let answer = json!({ "decision": "answer", "text": "the blue one" });
    node.post(&format!("/v1/missions/{child}/requests/r1"), &answer).await.expect_status(404);
    node.post(&format!("/v1/missions/{leaf}/requests/r1"), &answer).await.expect_status(200);
    assert_eq!(node.until_final("night").await["status"], "completed");
    let told = node.events("night").await;
    let mut told: Vec<&str> = told.iter().filter_map(|event| event["detail"]["kind"].as_str()).collect();
    // That nobody need decide any more is told by the end as well, where that is there before.
    told.retain(|kind| *kind != "child_heard");
    assert_eq!(told, ["started", "child", "child_asks", "child_ended"]);
    let watched = node.cli(&["watch", "night"]).await;
    let said = String::from_utf8_lossy(&watched.stderr).into_owned();
    assert!(said.contains(&format!("sortie answer {leaf} r1 TEXT")), "{said}");
}
