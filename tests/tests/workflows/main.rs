//! The public workflows that `examples/workflows/` retells, each against a service that plays its part: what the service was
//! asked, in which order and with what, and what is left of it.
//!
//! Only the address of the service and the lengths of rests are changed: nobody waits here for half a minute.

mod stage;

use std::fs;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};
use sortie_tests::{Options, Reply, project, until};

use stage::{Stage, counting, line, says};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[tokio::test]
async fn a_saga_gives_back_what_it_had_booked() {
    let stuck = counting();
    let stage = Stage::of(move |got, _| match (got.method.as_str(), got.path.as_str()) {
        ("POST", "/cars") => says(201, &json!({ "id": "car-1" })),
        ("POST", "/hotels") => says(201, &json!({ "id": "hotel-1" })),
        ("POST", "/flights") => says(409, &json!({ "error": "sold out" })),
        // What gives the hotel back is refused once.
        ("DELETE", "/hotels/hotel-1") if stuck() == 1 => Reply::Status(423),
        ("DELETE", _) => Reply::Status(204),
        _ => Reply::Status(404),
    })
    .await;
    let (status, summary) = stage.run("temporal-booking-saga").await;
    assert_eq!(status, "failed");
    assert!(summary.starts_with("step `flight` failed: HttpRequest: ") && summary.contains("409"), "{summary}");
    assert!(summary.ends_with("; done: car, hotel; undone: hotel, car"), "{summary}");
    assert_eq!(
        stage.asked(),
        [
            r#"POST /cars {"trip":"T-17"}"#,
            r#"POST /hotels {"trip":"T-17"}"#,
            r#"POST /flights {"trip":"T-17","car":"car-1"}"#,
            r#"DELETE /hotels/hotel-1 {"why":"flight failed"}"#,
            r#"DELETE /hotels/hotel-1 {"why":"flight failed"}"#,
            "DELETE /cars/car-1",
        ]
    );
}

#[tokio::test]
async fn a_saga_that_works_gives_nothing_back() {
    let stage =
        Stage::of(|got, _| says(201, &json!({ "id": format!("{}-1", got.path.trim_start_matches('/')) }))).await;
    assert_eq!(
        stage.run("temporal-booking-saga").await,
        ("completed".into(), "done: car, hotel, flight, ticket".into())
    );
    assert_eq!(
        stage.asked()[2..],
        [r#"POST /flights {"trip":"T-17","car":"cars-1"}"#, r#"POST /tickets {"flight":"flights-1"}"#]
    );
    assert!(stage.artifact("temporal-booking-saga", "ticket.json").await.contains("tickets-1"));
}

#[tokio::test]
async fn a_job_is_looked_after_until_it_is_done() {
    let looks = counting();
    let stage = Stage::of(move |got, _| match got.path.as_str() {
        "/jobs" => says(202, &json!({ "id": 9_007_199_254_740_993_u64 })),
        "/jobs/9007199254740993" => match looks() {
            1 => says(200, &json!({ "status": "PENDING" })),
            2 => Reply::Status(503),
            3 => says(200, &json!({ "status": "RUNNING" })),
            _ => says(200, &json!({ "status": "SUCCEEDED" })),
        },
        _ => Reply::Body(200, "text/csv", "a,b\n1,2\n".into()),
    })
    .await;
    let mut envelope = stage.envelope("stepfunctions-job-poller");
    envelope["inputs"]["first_look"] = json!("20ms");
    let end = stage.node.run(&envelope).await;
    assert_eq!(
        (&end["status"], &end["detail"]["criteria"][0]["verdict"]),
        (&json!("completed"), &json!("met")),
        "{end:#}"
    );
    let status = "GET /jobs/9007199254740993";
    let expected = [
        r#"POST /jobs {"name":"nightly-aggregation"}"#,
        status,
        status,
        status,
        status,
        "GET /jobs/9007199254740993/output",
    ];
    assert_eq!(stage.asked(), expected);
    assert_eq!(stage.artifact("stepfunctions-job-poller", "output.csv").await, "a,b\n1,2\n");
}

#[tokio::test]
async fn orders_are_worked_through_two_at_a_time() {
    let shipped = counting();
    let stage = Stage::of(move |got, _| match (got.method.as_str(), got.path.as_str()) {
        ("GET", "/orders") => says(
            200,
            &json!({ "orders": [
                { "id": 1, "sku": "a", "quantity": 2 }, { "id": 2, "sku": "b", "quantity": 5 }, { "id": 3, "sku": "a", "quantity": 1 },
            ] }),
        ),
        ("GET", "/stock/a") => says(200, &json!({ "available": 2 })),
        ("GET", "/stock/b") => says(200, &json!({ "available": 1 })),
        ("POST", "/shipments") => says(201, &json!({ "id": format!("s{}", shipped()), "order": got.json["order"] })),
        _ => says(201, &json!({ "ok": true })),
    })
    .await;
    let (status, summary) = stage.run("stepfunctions-map-orders").await;
    assert_eq!((status.as_str(), summary.as_str()), ("completed", "done: orders, each (3 items), summary"));
    let asked = stage.asked();
    let at = |line: &str| asked.iter().position(|asked| asked == line).unwrap_or_else(|| panic!("{line}: {asked:#?}"));
    at(r#"POST /shipments {"order":1,"sku":"a","quantity":2}"#);
    at(r#"POST /backlog {"order":2,"missing":4}"#);
    // The third has its turn when one of the first two is through.
    let first_through =
        at(r#"POST /shipments {"order":1,"sku":"a","quantity":2}"#).min(at(r#"POST /backlog {"order":2,"missing":4}"#));
    let third = asked.iter().rposition(|asked| asked == "GET /stock/a").expect("it was asked for");
    assert!(third > first_through, "{asked:#?}");
    assert_eq!(asked[asked.len() - 1], r#"POST /batches {"shipped":["s1","s2"],"waiting":1}"#);
}

#[tokio::test]
async fn one_of_two_branches_is_run() {
    for (side, other) in [("heads", "tails"), ("tails", "heads")] {
        let stage =
            Stage::of(
                move |got, _| {
                    if got.path == "/coin" { says(200, &json!({ "side": side })) } else { Reply::Status(201) }
                },
            )
            .await;
        let (_, summary) = stage.run("argo-coinflip").await;
        assert_eq!(summary, format!("done: flip, {side}, record; skipped: {other}"));
        let says = format!(r#"POST /says {{"side":"{side}"}}"#);
        let record =
            format!(r#"POST /flips {{"side":"{side}","heads":{},"tails":{}}}"#, side == "heads", side == "tails");
        assert_eq!(stage.asked(), ["GET /coin".to_owned(), says, record]);
    }
}

#[tokio::test]
async fn word_is_sent_however_it_ends() {
    for (answer, ends) in [(200, "completed"), (500, "failed")] {
        let stage = Stage::of(move |got, _| {
            Reply::Status(match got.path.as_str() {
                "/workload" => answer,
                "/mail" => 202,
                _ => 200,
            })
        })
        .await;
        let (status, summary) = stage.run("argo-exit-handler").await;
        assert_eq!(status, ends, "{summary}");
        let mut asked = stage.asked();
        asked[1..].sort();
        let (subject, feeling) =
            if answer == 200 { ("succeeded", "POST /celebrate") } else { ("failed", r#"POST /cry {"at":"main"}"#) };
        assert_eq!(
            (asked.len(), asked[0].as_str(), asked[1].as_str()),
            (3, r#"POST /workload {"say":"hello"}"#, feeling),
            "{asked:#?}"
        );
        assert!(
            asked[2].starts_with(&format!(r#"POST /mail {{"subject":"argo-exit-handler {subject}""#)),
            "{asked:#?}"
        );
        assert_eq!(asked[2].contains("500"), answer == 500, "{asked:#?}");
    }
}

#[tokio::test]
async fn what_was_put_up_is_taken_down_whether_its_test_passed_or_not() {
    for (smoke, ends) in [(200, "completed"), (424, "failed")] {
        let looks = counting();
        let stage = Stage::of(move |got, _| match (got.method.as_str(), got.path.as_str()) {
            ("POST", "/previews") => says(201, &json!({ "id": 31 })),
            ("GET", "/previews/31") => {
                says(200, &json!({ "state": if looks() < 3 { "building" } else { "ready" }, "path": "/p/31" }))
            }
            ("POST", "/p/31/smoke") => Reply::Status(smoke),
            ("GET", "/previews/31/log") => Reply::Body(200, "text/plain", "started\n".into()),
            ("DELETE", "/previews/31") => Reply::Status(204),
            _ => Reply::Status(201),
        })
        .await;
        let (status, summary) = stage.run("github-actions-always-cleanup").await;
        assert_eq!(status, ends, "{summary}");
        let asked = stage.asked();
        assert_eq!(asked.iter().filter(|line| *line == "GET /previews/31").count(), 3, "{asked:#?}");
        assert_eq!(asked.iter().filter(|line| *line == "DELETE /previews/31").count(), 1, "{asked:#?}");
        let comment = if smoke == 200 { "passed." } else { "failed at smoke." };
        let comments: Vec<_> = asked.iter().filter(|line| line.starts_with("POST /comments")).collect();
        assert_eq!(comments, [&format!(r#"POST /comments {{"text":"Preview of feature/login {comment}"}}"#)]);
        assert_eq!(stage.artifact("github-actions-always-cleanup", "smoke.log").await, "started\n");
    }
}

#[tokio::test]
async fn what_does_not_answer_is_told_in_one_message() {
    let stage = Stage::of(|got, _| match got.path.as_str() {
        "/health/billing" => Reply::Status(503),
        "/messages" => Reply::Status(201),
        other => says(200, &json!({ "version": format!("{other} 2.1") })),
    })
    .await;
    let (status, _) = stage.run("n8n-error-branch").await;
    assert_eq!(status, "completed");
    let asked = stage.asked();
    assert_eq!(asked.iter().filter(|line| *line == "GET /health/billing").count(), 2, "it is tried twice: {asked:#?}");
    assert_eq!(asked[asked.len() - 1], r##"POST /messages {"channel":"#ops","text":"billing does not answer\n"}"##);
    let report = stage.artifact("n8n-error-branch", "health.md").await;
    assert!(
        report.contains("- search: /health/search 2.1\n- billing: down\n- mail: ")
            && report.ends_with("The channel was told.\n"),
        "{report}"
    );
}

#[tokio::test]
async fn orders_are_taken_apart_and_put_together_as_a_table() {
    let stage = Stage::of(|got, _| match got.path.as_str() {
        "/shop/orders" => says(
            200,
            &json!({ "orders": [
                { "number": "#1001", "placed_at": "2026-11-26T23:30:00-06:00", "customer": { "email": "Ada@Example.org" }, "total": 19.9 },
                { "number": "#1002", "placed_at": "2026-11-27T08:00:00+01:00", "customer": { "email": "bob@example.org" }, "total": 0.1 },
            ] }),
        ),
        _ => Reply::Status(201),
    })
    .await;
    assert_eq!(stage.run("make-orders-to-csv").await.0, "completed");
    let table = stage.artifact("make-orders-to-csv", "orders.csv").await;
    assert_eq!(table, "order,day,customer,total\n1001,26.11.2026,ada,19.9\n1002,27.11.2026,bob,0.1\n");
    let got = stage.service.received();
    assert_eq!(line(&got[0]), "GET /shop/orders?since=2026-11-25");
    assert_eq!(got[1].header("authorization"), "Basic c2hvcDpub3QtYS1zZWNyZXQ=");
    // The key is the digest of `#1001,#1002`.
    let key = "81be398b73eaa841f8faf31562a86bcf35dbf686d20e5f75951422d2b20bf02d";
    assert_eq!(got[1].json, json!({ "key": key, "count": 2, "sum": 20.0, "largest": "#1001" }));
}

#[tokio::test]
async fn an_applicant_is_accepted_reviewed_or_rejected() {
    for (age, score, path) in
        [(34, 700, "/applications"), (34, 550, "/reviews"), (34, 400, "/rejections"), (17, 700, "/rejections")]
    {
        let stage = Stage::of(move |got, _| {
            let applicant = json!({ "age": age, "score": score, "email": "a@example.org" });
            if got.method == "GET" { says(200, &applicant) } else { Reply::Status(201) }
        })
        .await;
        assert_eq!(stage.run("serverless-workflow-applicant-decision").await.0, "completed");
        let asked = stage.asked();
        assert_eq!((asked.len(), asked[0].as_str()), (2, "GET /applicants/a-7"));
        assert!(asked[1].starts_with(&format!(r#"POST {path} {{"applicant":"a-7""#)), "{age} {score}: {asked:#?}");
    }
}

#[tokio::test]
async fn products_are_extracted_transformed_and_loaded_each_once() {
    let (loads, loaded) = (counting(), std::sync::Arc::new(Mutex::new(Vec::<Value>::new())));
    let kept = loaded.clone();
    let stage = Stage::of(move |got, _| match (got.method.as_str(), got.path.as_str()) {
        ("GET", "/products") => {
            let product = |id: u64, kind: &str, price: f64| json!({ "id": id, "title": format!(" P{id} "), "category": kind, "price": price, "stock": 1 });
            says(200, &json!({ "products": [product(3, "tools", 9.99), product(1, "tools", 0.1), product(2, "toys", 5.0), product(4, "tools", 1e21)] }))
        }
        // The first batch is refused once.
        ("POST", "/load") if loads() == 1 => Reply::Status(503),
        ("POST", "/load") => {
            let mut rows = kept.lock().expect("no panic while it was held");
            rows.extend(got.json["rows"].as_array().cloned().unwrap_or_default());
            Reply::Status(201)
        }
        _ => says(200, &json!({ "rows": kept.lock().expect("no panic while it was held").len() })),
    })
    .await;
    let end = stage.node.run(&stage.envelope("kestra-products-etl")).await;
    assert_eq!(
        (&end["status"], &end["detail"]["criteria"][0]["verdict"]),
        (&json!("completed"), &json!("met")),
        "{end:#}"
    );
    let rows = loaded.lock().expect("no panic while it was held").clone();
    let expected = json!([{ "id": 1, "title": "P1", "price": 0.1 }, { "id": 3, "title": "P3", "price": 9.99 }, { "id": 4, "title": "P4", "price": 1e21 }]);
    assert_eq!(json!(rows), expected);
    let batches: Vec<_> = stage
        .service
        .received()
        .iter()
        .filter(|got| got.path == "/load")
        .map(|got| got.json["batch"].clone())
        .collect();
    assert_eq!(batches, [0, 0, 1]);
}

#[tokio::test]
async fn the_values_of_a_text_are_added_up() {
    let text = r#"{"1001": 301.27, "1002": 433.21, "1003": 502.22}"#;
    let stage = Stage::of(move |got, _| match got.method.as_str() {
        "GET" => Reply::Body(200, "text/plain", text.into()),
        _ => Reply::Status(201),
    })
    .await;
    assert_eq!(stage.run("airflow-taskflow-etl").await.0, "completed");
    assert_eq!(stage.asked(), ["GET /orders.txt", r#"POST /totals {"total_order_value":1236.7,"orders":3}"#]);
    assert_eq!(stage.artifact("airflow-taskflow-etl", "total.json").await, r#"{"total_order_value":1236.7}"#);
}

#[tokio::test]
async fn a_cluster_is_created_used_and_taken_down() {
    for second in ["COMPLETED", "no answer"] {
        let (looks, runs, down) = (counting(), counting(), std::sync::Arc::new(Mutex::new(false)));
        let stage = Stage::of(move |got, _| match (got.method.as_str(), got.path.as_str()) {
            ("POST", "/clusters") => says(202, &json!({ "id": "c1" })),
            ("DELETE", "/clusters/c1") => {
                *down.lock().expect("no panic while it was held") = true;
                Reply::Status(202)
            }
            ("GET", "/clusters/c1") if *down.lock().expect("no panic while it was held") => {
                says(200, &json!({ "state": "TERMINATED" }))
            }
            ("GET", "/clusters/c1") => says(200, &json!({ "state": if looks() < 2 { "STARTING" } else { "WAITING" } })),
            ("POST", "/clusters/c1/jobs") => match runs() {
                2 if second != "COMPLETED" => Reply::Status(400),
                run => says(202, &json!({ "id": format!("j{run}") })),
            },
            ("GET", _) => says(200, &json!({ "state": "COMPLETED" })),
            _ => Reply::Status(201),
        })
        .await;
        let (status, summary) = stage.run("airflow-cluster-teardown").await;
        let asked = stage.asked();
        let (up, gone) = ("GET /clusters/c1", "GET /clusters/c1");
        let mut expected = vec![
            r#"POST /clusters {"name":"airflow-cluster-teardown"}"#,
            up,
            up,
            r#"POST /clusters/c1/jobs {"job":"aggregate"}"#,
            "GET /jobs/j1",
            r#"POST /results {"job":"aggregate","state":"COMPLETED"}"#,
            r#"POST /clusters/c1/jobs {"job":"export"}"#,
        ];
        if second == "COMPLETED" {
            assert_eq!(
                (status.as_str(), summary.as_str()),
                ("completed", "done: create, up, jobs (2 items), terminate, gone")
            );
            expected.extend(["GET /jobs/j2", r#"POST /results {"job":"export","state":"COMPLETED"}"#]);
        } else {
            assert_eq!(status, "failed");
            assert!(
                summary.starts_with("step `jobs` failed: item 2 of 2: step `run` failed: HttpRequest: "),
                "{summary}"
            );
            assert!(
                summary.ends_with("done: create, up, terminate, gone; done in part: jobs (1 of 2 items)"),
                "{summary}"
            );
        }
        expected.extend(["DELETE /clusters/c1", gone]);
        assert_eq!(asked, expected);
    }
}

#[tokio::test]
async fn a_payout_waits_for_a_person() {
    for (answer, last) in [("Yes ", "POST /payouts/p1/send"), ("no", "DELETE /payouts/p1")] {
        let stage = Stage::of(|got, _| match (got.method.as_str(), got.path.as_str()) {
            ("POST", "/payouts") => says(201, &json!({ "id": "p1" })),
            ("DELETE", _) => Reply::Status(204),
            _ => Reply::Status(200),
        })
        .await;
        let id = stage.node.accept(&stage.envelope("windmill-approval")).await;
        stage.node.until_status(&id, "blocked").await;
        assert_eq!(stage.asked(), [r#"POST /payouts {"to":"acct-9","cents":125000}"#]);
        let requests = stage.node.get("/v1/requests").await.json;
        let request = &requests["items"][0];
        assert_eq!(request["question"], "Send 125000 cents to acct-9 (payout p1)? Answer yes or no.", "{requests:#}");
        let path = format!("/v1/missions/{id}/requests/{}", request["request_id"].as_str().expect("an id"));
        stage.node.post(&path, &json!({ "decision": "answer", "text": answer })).await.expect_status(200);
        stage.node.until_status(&id, "completed").await;
        assert_eq!(stage.asked()[1..], [last]);
    }
}

#[tokio::test]
async fn a_customer_is_reminded_after_days_of_which_the_mission_is_in_memory_for_none() {
    for active in [true, false] {
        let stage =
            Stage::on(Options::new().faulty().config("[limits]\nmax_runtime_minutes = 10080"), move |got, _| match got
                .method
                .as_str()
            {
                "GET" => says(200, &json!({ "active": active })),
                _ => Reply::Status(202),
            })
            .await;
        let id = stage.node.accept(&stage.envelope("temporal-sleep-for-days")).await;
        let mail = |text: &str| format!(r#"POST /mail {{"to":"c-3","text":"{text}"}}"#);
        let ahead = stage.left_memory(&id, 1, Duration::ZERO).await;
        assert_eq!(stage.asked(), [mail("welcome")]);
        stage.node.faults().set_ahead(ahead + 3 * DAY);
        let seen = "GET /customers/c-3".to_owned();
        let mut expected = vec![mail("welcome"), seen];
        if !active {
            let ahead = stage.left_memory(&id, 2, ahead + 3 * DAY).await;
            expected.push(mail("we miss you"));
            assert_eq!(stage.asked(), expected);
            stage.node.faults().set_ahead(ahead + 3 * DAY);
            expected.push(mail("goodbye"));
        }
        stage.node.until_status(&id, "completed").await;
        assert_eq!(stage.asked(), expected);
    }
}

#[tokio::test]
async fn what_was_created_is_taken_down_when_the_time_is_nearly_over() {
    let mut stage = Stage::on(Options::new().faulty(), |got, _| match (got.method.as_str(), got.path.as_str()) {
        ("POST", "/clusters") => says(202, &json!({ "id": "c1" })),
        ("DELETE", _) => Reply::Status(202),
        _ => says(200, &json!({ "state": "STARTING" })),
    })
    .await;
    let envelope = stage.unhurried("airflow-cluster-teardown");
    let id = stage.node.accept(&envelope).await;
    until("it waits for its cluster", async || (stage.asked().len() == 2).then_some(())).await;
    let down = Mutex::new(false);
    stage.service.rescript(move |got, _| {
        let mut down = down.lock().expect("no panic while it was held");
        *down |= got.method == "DELETE";
        let state = if *down { "TERMINATED" } else { "STARTING" };
        if got.method == "GET" { says(200, &json!({ "state": state })) } else { Reply::Status(202) }
    });
    // It remembers through a restart what it made, and that it is to be told of its end.
    stage.node.kill();
    stage.node.restart().await;
    // Of its 30 minutes, 95 % are over: it rests before it asks again.
    stage.node.faults().set_ahead(Duration::from_secs(28 * 60 + 40));
    let end = stage.node.until_final(&id).await;
    let summary = end["summary"].as_str().expect("a summary");
    assert_eq!(end["status"], "failed", "{summary}");
    assert!(
        summary.starts_with("a limit of the mission came near before it was done; done: create, terminate, gone"),
        "{summary}"
    );
    assert_eq!(stage.asked()[2..], ["DELETE /clusters/c1", "GET /clusters/c1"]);
}

#[tokio::test]
async fn a_model_sorts_the_inbox_and_each_message_goes_its_way() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("script.json");
    let answer = |who: &str, output: Value| json!({ "when": { "contains": who }, "text": output.to_string() });
    let answers = json!({ "answers": [
        answer("ada@example.org", json!({ "kind": "support", "urgent": true })),
        answer("win@example.net", json!({ "kind": "spam", "urgent": false })),
        answer("bob@example.org", json!({ "kind": "sales", "urgent": false })),
    ] });
    fs::write(&script, answers.to_string()).expect("a writable folder");
    let model = format!(
        "[model]\ndefault = \"sorter\"\n[model.sorter]\nprotocol = \"scripted\"\nfile = {script:?}\nfree = true\n"
    );
    let stage = Stage::on(
        Options::new().config(&model),
        |got, _| {
            let message = |id: &str, from: &str| json!({ "id": id, "from": from, "text": "Hello." });
            let inbox = json!({ "messages": [message("m1", "ada@example.org"), message("m2", "win@example.net"), message("m3", "bob@example.org")] });
            if got.path == "/inbox" { says(200, &inbox) } else { Reply::Status(201) }
        },
    )
    .await;
    let (status, summary) = stage.run("n8n-model-triage").await;
    assert_eq!(
        (status.as_str(), summary.as_str()),
        ("completed", "done: inbox, sort (3 items), route (2 items, 1 passed over)")
    );
    let expected = [
        "GET /inbox",
        r#"POST /queues/support {"message":"m1","urgent":true}"#,
        r#"POST /queues/sales {"message":"m3","urgent":false}"#,
    ];
    assert_eq!(stage.asked(), expected);
    assert_eq!(stage.node.mission("n8n-model-triage").await["usage"]["llm_calls"], 3);
}

#[tokio::test]
async fn numbers_come_through_a_node_as_they_are_written() {
    let numbers = "[18446744073709551615,-9223372036854775808,9007199254740993,0.1,-0.0,5e-324,1.7976931348623157e308]";
    let stage = Stage::of(move |got, _| match got.method.as_str() {
        "GET" => Reply::Body(
            200,
            "application/json",
            format!("{{\"numbers\": {numbers}, \"long\": 12345678901234567890123, \"as\": 1.10}}"),
        ),
        _ => Reply::Status(201),
    })
    .await;
    let url = format!("http://{}/", stage.service.host());
    let call = |method: &str, body: &str| json!({ "method": method, "url": url, "body": body });
    let steps = json!([
        { "id": "get", "tool": "HttpRequest", "with": { "method": "GET", "url": url } },
        { "id": "all", "tool": "HttpRequest", "with": call("POST", "{{ [steps.get.result.json.numbers, inputs.numbers] }}") },
        { "id": "rest", "needs": ["all"], "tool": "HttpRequest", "with": call("POST", "{{ [steps.get.result.json.long, steps.get.result.json['as']] }}") },
    ]);
    let mut envelope = sortie_tests::automation("numbers", &steps);
    envelope["constraints"]["allowed_tools"] = json!(["HttpRequest"]);
    envelope["inputs"]["numbers"] = serde_json::from_str(numbers).expect("JSON");
    let end = stage.node.run(&envelope).await;
    assert_eq!(end["status"], "completed", "{end:#}");
    let sent: Vec<_> =
        stage.service.received().iter().map(|got| String::from_utf8_lossy(&got.bytes).into_owned()).collect();
    // The envelope is written by this test, whose writer has its own way.
    let dispatched = numbers.replace("e308", "e+308");
    assert_eq!(sent[1], format!("[{numbers},{dispatched}]"));
    assert_eq!(sent[2], "[12345678901234567890123,1.10]");
}

#[test]
fn every_workflow_is_run_here_and_says_what_it_retells() {
    let own = fs::read_to_string(project().join("tests/tests/workflows/main.rs")).expect("this file");
    let page = fs::read_to_string(project().join("examples/workflows/README.md")).expect("the workflows' page");
    let mut count = 0;
    for entry in fs::read_dir(project().join("examples/workflows")).expect("a folder").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(name) = name.strip_suffix(".json") {
            assert!(own.contains(&format!("(\"{name}\")")), "{name} is not run here");
            assert!(page.contains(&format!("`{name}.json`")), "{name} is not in examples/workflows/README.md");
            count += 1;
        }
    }
    assert!(count >= 10, "{count}");
}
