//! `/openapi.json` against what a node really answers: every form that it names is the one that comes.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sortie_tests::envelope::{automation, with, write, writing};
use sortie_tests::{Answer, Node, Options, Receiver, Reply, http, looping};

/// The schema of an answer: what the document says of the path, with what it refers to.
pub(crate) fn schema(document: &Value, method: &str, path: &str, part: &str, media_type: &str) -> Value {
    let operation = &document["paths"][path][method];
    assert!(operation.is_object(), "{method} {path} is not described");
    let body = if part == "requestBody" { &operation[part] } else { &operation["responses"][part] };
    let mut schema = body["content"][media_type]["schema"].clone();
    if schema == json!(true) {
        // Any JSON.
        schema = json!({});
    }
    assert!(schema.is_object(), "{method} {path}: {part} has no {media_type}: {body:#}");
    schema["components"] = document["components"].clone();
    schema
}

/// Which answers were held against the document.
#[derive(Default)]
struct Held(BTreeSet<String>);

impl Held {
    /// Holds an answer: its status, its media type, its form.
    fn hold(&mut self, document: &Value, method: &str, path: &str, answer: &Answer) {
        let told = &document["paths"][path][method]["responses"][answer.status.to_string()];
        assert!(told.is_object(), "{method} {path} is not told to answer {}: {answer:#?}", answer.status);
        let media_type = answer.headers.get("content-type").map(String::as_str).unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default();
        let content = &told["content"];
        if media_type.is_empty() {
            assert!(content.is_null() && answer.text.is_empty(), "{method} {path}: {answer:#?}");
        } else if media_type == "application/json" {
            hold(document, method, path, answer);
        } else {
            assert!(content[media_type].is_object() || content["*/*"].is_object(), "{method} {path}: {answer:#?}");
        }
        self.0.insert(format!("{method} {path}"));
    }
}

fn hold(document: &Value, method: &str, path: &str, answer: &Answer) {
    let schema = schema(document, method, path, &answer.status.to_string(), "application/json");
    assert!((200..300).contains(&answer.status), "{method} {path}: {answer:#?}");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let errors: Vec<String> =
        validator.iter_errors(&answer.json).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{method} {path}: {errors:#?}\n{:#}", answer.json);
}

/// A node of which every list has something, some of it spoilt.
pub(crate) async fn busy() -> (Node, Receiver) {
    let receiver = Receiver::scripted(|_, _| Reply::Status(400)).await;
    let options = Options::new()
        .config(&receiver.config())
        .config("[[token]]\nname = \"op\"\nref = \"env://TOKEN_OP\"\nscopes = [\"operate\"]")
        .env("TOKEN_OP", "op-token")
        .env("CALLBACK_TOKEN", "hush");
    let node = options.start().await;
    let mut report = write("a", "report.md", "# Report\n");
    report["artifact"] = json!("report.md");
    let criterion = json!({"id": "c", "needs": ["a"], "tool": "Read", "with": {"path": "report.md"},
        "criterion": {"text": "there is a report", "met": "{{ steps.a.result.bytes > 0 }}"}});
    let whole = automation("whole", &json!([report, criterion]));
    let whole = with(whole, "/success_criteria", json!(["there is a report"]));
    let whole = with(whole, "/autonomy_window/end_at", json!("2999-01-01T00:00:00Z"));
    let whole = with(whole, "/budget/max_llm_calls", json!(3));
    node.accept(&with(whole, "/callback", receiver.callback())).await;
    node.until_final("whole").await;
    let ask = json!([{"id": "q", "tool": "ask", "with": {"question": "A or B?"}}]);
    node.accept(&automation("asks", &ask)).await;
    node.until_status("asks", "blocked").await;
    let held = with(writing("held"), "/constraints/approval_required", json!(["Write"]));
    node.accept(&held).await;
    node.until_status("held", "blocked").await;
    node.accept(&looping("running")).await;
    node.until_status("running", "running").await;
    // Schedules of the same names, of which one has fired and one is paused.
    for id in ["whole", "asks", "held", "running"] {
        let mission =
            json!({"vp_id": "vp.planned", "mission_type": "custom", "plugin": "hello", "objective": "Hello."});
        let schedule =
            json!({"id": id, "zone": "Europe/London", "at": "30 1 * * *", "opens_for": "2h", "mission": mission});
        node.post("/v1/schedules", &schedule).await.expect_status(201);
    }
    node.post("/v1/schedules/whole/trigger", &json!({"note": "Now."})).await.expect_status(200);
    node.post("/v1/schedules/held/pause", &json!({"until": "2090-01-01T00:00:00Z"})).await.expect_status(200);
    sortie_tests::until("it is parked", async || {
        let parked = node.get("/v1/deliveries?state=parked").await.json;
        parked["items"].as_array().is_some_and(|items| !items.is_empty()).then_some(())
    })
    .await;
    (node, receiver)
}

#[tokio::test]
async fn every_parameter_that_is_accepted_is_named() {
    let node = Node::start().await;
    let document = node.get("/openapi.json").await.expect_status(200).json;
    let mut named = 0;
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let parameters = operation["parameters"].as_array().expect("a list").iter();
            let of_query: Vec<&Value> = parameters.filter(|parameter| parameter["in"] == "query").collect();
            let place = path.replace("{name}", "automation");
            let answer =
                http::send(node.request(&method.to_uppercase(), &format!("{place}?no_such_parameter=1"))).await;
            let answer = answer.expect("an answer");
            let detail = answer.json["detail"].as_str().unwrap_or_default();
            let accepted = detail.strip_prefix("there is no parameter `no_such_parameter` here; there are ");
            let accepted: Vec<&str> =
                accepted.into_iter().flat_map(|names| names.split(", ")).map(|name| name.trim_matches('`')).collect();
            let names = of_query.iter().filter_map(|parameter| parameter["name"].as_str());
            // Where it is the only one, none is listed.
            let mut names: Vec<&str> = names.filter(|name| *name != "node" || !accepted.is_empty()).collect();
            names.sort_by_key(|name| accepted.iter().position(|known| known == name));
            assert_eq!(names, accepted, "{method} {path}: {answer:#?}");
            for parameter in of_query {
                assert!(parameter["description"].is_string() && parameter["schema"].is_object(), "{parameter:#}");
                named += 1;
            }
        }
    }
    assert!(named > 20, "{named}");
}

#[tokio::test]
async fn every_answer_has_the_form_that_is_described() {
    let (node, _receiver) = busy().await;
    let document = node.get("/openapi.json").await.expect_status(200).json;
    let place = |path: &str| {
        let of = |id: &str| {
            path.replace("{id}", id)
                .replace("{name}", "automation")
                .replace("{request}", "r1")
                .replace("{date}", "current")
                .replace("{code}", "not_found")
        };
        ["whole", "asks", "held", "running"].map(of)
    };
    let mut held = Held::default();
    let mut gets = 0;
    for (path, methods) in document["paths"].as_object().expect("paths") {
        let gives = &methods["get"]["responses"]["200"]["content"];
        if gives["application/json"].is_null() {
            continue;
        }
        for path_of in place(path) {
            held.hold(&document, "get", path, &node.get(&path_of).await);
            gets += 1;
        }
    }
    assert!(gets > 60, "{gets}");
    let op = |path: &str, body: &Value| {
        let request = http::client().post(format!("{}{path}", node.url())).bearer_auth("op-token");
        request.header("content-type", "application/json").body(body.to_string())
    };
    // What may be left out is not called required.
    let mission = json!({"vp_id": "vp.planned", "mission_type": "custom", "plugin": "hello", "objective": "Hello."});
    for (template, path, body) in [
        (
            "/v1/schedules",
            "/v1/schedules",
            json!({"id": "new", "every": "1h", "overlap": "allow_all", "mission": mission}),
        ),
        ("/v1/schedules/{id}/pause", "/v1/schedules/new/pause", json!({})),
        ("/v1/schedules/{id}/resume", "/v1/schedules/new/resume", json!({})),
        ("/v1/schedules/{id}/trigger", "/v1/schedules/new/trigger", json!({})),
        (
            "/v1/schedules/{id}/backfill",
            "/v1/schedules/new/backfill",
            json!({"from": "2026-01-01T00:00:00Z", "to": "2026-01-01T01:00:00Z"}),
        ),
        ("/v1/schedules/preview", "/v1/schedules/preview", json!({"schedule": {"every": "1h"}})),
    ] {
        let schema = schema(&document, "post", template, "requestBody", "application/json");
        assert!(jsonschema::validator_for(&schema).expect("a schema").is_valid(&body), "{template}: {schema:#}");
        held.hold(&document, "post", template, &node.post(path, &body).await);
        let is_required = document["paths"][template]["post"]["requestBody"]["required"] == true;
        let bare = http::client().post(format!("{}{path}", node.url())).bearer_auth(node.token());
        let bare = http::send(bare).await.expect("an answer");
        assert_eq!(is_required, bare.status >= 400, "{template} without a body: {bare:#?}");
    }
    // With all that may be shown, and with as little as possible.
    for (template, path, body) in [
        ("/v1/explain", "/v1/explain", writing("new")),
        ("/v1/missions", "/v1/missions", writing("new")),
        ("/v1/missions", "/v1/missions", writing("new")),
        ("/v1/tools/{name}/call", "/v1/tools/Glob/call", json!({"pattern": "*"})),
        (
            "/v1/missions/{id}/requests/{request}",
            "/v1/missions/asks/requests/r1",
            json!({"decision": "answer", "text": "A"}),
        ),
        ("/v1/missions/{id}/keep", "/v1/missions/running/keep", json!({"keep": true})),
        ("/v1/missions/{id}/fork", "/v1/missions/running/fork", json!({"at": 0, "idempotency_key": "of-the-document"})),
        ("/v1/missions/{id}/cancel", "/v1/missions/running/cancel", json!({"reason": "seen enough"})),
        ("/v1/node/pause", "/v1/node/pause", Value::Null),
        ("/v1/node/resume", "/v1/node/resume", Value::Null),
        ("/v1/node/drain", "/v1/node/drain", Value::Null),
        ("/v1/node/undrain", "/v1/node/undrain", Value::Null),
        ("/v1/missions/{id}/workspace", "/v1/missions/running/workspace", Value::Null),
        ("/v1/deliveries/{id}/redeliver", "/v1/deliveries/whole/redeliver", Value::Null),
    ] {
        held.hold(&document, "post", template, &node.post(path, &body).await);
        let takes = &document["paths"][template]["post"]["requestBody"];
        assert_eq!(takes.is_null(), body.is_null(), "{template}: {takes}");
        if !body.is_null() {
            let schema = schema(&document, "post", template, "requestBody", "application/json");
            assert!(jsonschema::validator_for(&schema).expect("a schema").is_valid(&body), "{template}: {body}");
        }
    }
    for (template, path, body) in [
        ("/v1/missions/{id}/requests/{request}", "/v1/missions/held/requests/r1", json!({"decision": "deny"})),
        ("/v1/missions/{id}/cancel", "/v1/missions/held/cancel", json!({"reason": "seen enough"})),
        ("/v1/node/pause", "/v1/node/pause", Value::Null),
        ("/v1/node/halt", "/v1/node/halt", Value::Null),
    ] {
        let answer = http::send(op(path, &body)).await.expect("an answer");
        // A denied step may have ended the mission before it could be cancelled.
        if answer.status != 409 {
            held.hold(&document, "post", template, &answer);
        }
    }
    held.what_is_no_json_or_removes_something(&node, &document).await;
    let all = document["paths"].as_object().expect("paths").iter();
    let all =
        all.flat_map(|(path, methods)| methods.as_object().expect("methods").keys().map(move |method| (method, path)));
    let untold: Vec<String> =
        all.map(|(method, path)| format!("{method} {path}")).filter(|name| !held.0.contains(name)).collect();
    assert_eq!(untold, [""; 0], "no answer of these was held against the document");
}

impl Held {
    async fn what_is_no_json_or_removes_something(&mut self, node: &Node, document: &Value) {
        for (template, path) in [
            ("/metrics", "/metrics"),
            ("/v1/missions/{id}/plugin", "/v1/missions/whole/plugin"),
            ("/v1/missions/{id}/replay", "/v1/missions/whole/replay"),
            ("/v1/backup", "/v1/backup"),
            ("/v1/missions/{id}/artifacts/{name}", "/v1/missions/whole/artifacts/report.md"),
        ] {
            self.hold(document, "get", template, &node.get(path).await);
        }
        for accepts in ["text/html", "text/markdown"] {
            for (template, path) in [("/problems", "/problems"), ("/problems/{code}", "/problems/disk_low")] {
                let request = http::client().get(format!("{}{path}", node.url())).header("accept", accepts);
                let answer = http::send(request).await.expect("an answer");
                assert!(answer.headers["content-type"].starts_with(accepts), "{answer:#?}");
                self.hold(document, "get", template, &answer);
            }
        }
        let lines = format!("{}\nno JSON\n", writing("of-a-batch"));
        let batch = node.request("POST", "/v1/missions/batch").body(lines);
        let batch = http::send(batch).await.expect("an answer");
        self.hold(document, "post", "/v1/missions/batch", &batch);
        let content = &document["paths"]["/v1/missions/batch"]["post"]["responses"]["200"]["content"];
        let mut line = content["application/x-ndjson"]["schema"]["x-line-schema"].clone();
        line["components"] = document["components"].clone();
        let line = jsonschema::validator_for(&line).expect("a schema");
        let answers: Vec<Value> =
            batch.text.lines().map(|answer| serde_json::from_str(answer).expect("JSON on each line")).collect();
        assert!(answers.len() == 2 && answers.iter().all(|answer| line.is_valid(answer)), "{answers:#?}");
        let component =
            http::client().get(format!("{}/v1/missions/whole/plugin", node.url())).bearer_auth(node.token());
        let component = component.send().await.expect("an answer").bytes().await.expect("a component");
        let install = node.request("POST", "/v1/plugins").body(component);
        self.hold(document, "post", "/v1/plugins", &http::send(install).await.expect("an answer"));
        let fetched = node.post("/v1/plugin-fetch", &json!({"from": "oci://registry.example/a:1"})).await;
        self.hold_problem(document, "post", "/v1/plugin-fetch", &fetched);
        self.hold(document, "post", "/v1/plugin-gc", &node.post("/v1/plugin-gc", &Value::Null).await);
        let removed = http::send(node.request("DELETE", "/v1/plugins/automation")).await.expect("an answer");
        self.hold_problem(document, "delete", "/v1/plugins/{name}", &removed);
        let skipped = node.post("/v1/deliveries/asks/skip", &Value::Null).await;
        self.hold_problem(document, "post", "/v1/deliveries/{id}/skip", &skipped);
        let tried = node.post("/v1/notify/nobody/test", &Value::Null).await;
        self.hold_problem(document, "post", "/v1/notify/{name}/test", &tried);
        let trial = node.post("/v1/hooks/nobody/try", &json!({"body": {}})).await;
        self.hold_problem(document, "post", "/v1/hooks/{name}/try", &trial);
        for (path, place) in [
            ("/api/v1/ops/vp/missions/dispatch", "/api/v1/ops/vp/missions/dispatch"),
            ("/api/v1/ops/vp/missions/{id}/cancel", "/api/v1/ops/vp/missions/whole/cancel"),
        ] {
            let off = node.post(place, &json!({})).await;
            self.hold_problem(document, "post", path, &off);
        }
        let delivered = node.post("/v1/hooks/nobody", &json!({})).await;
        self.hold_problem(document, "post", "/v1/hooks/{name}", &delivered);
        let seen = node.get("/v1/schedules/new").await;
        let tag = &seen.headers["etag"];
        let changed = json!({"every": "2h", "mission": seen.json["schedule"]["mission"]});
        let change = node.request("PUT", "/v1/schedules/new").header("if-match", tag).body(changed.to_string());
        self.hold(document, "put", "/v1/schedules/{id}", &http::send(change).await.expect("an answer"));
        let removed = http::send(node.request("DELETE", "/v1/schedules/new")).await.expect("an answer");
        self.hold(document, "delete", "/v1/schedules/{id}", &removed);
    }

    /// Holds an answer that says what stands against something.
    fn hold_problem(&mut self, document: &Value, method: &str, path: &str, answer: &Answer) {
        let status = answer.status.to_string();
        let schema = schema(document, method, path, &status, "application/problem+json");
        let validator = jsonschema::validator_for(&schema).expect("a schema");
        let errors: Vec<String> = validator.iter_errors(&answer.json).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{method} {path}: {errors:#?}\n{answer:#?}");
        self.0.insert(format!("{method} {path}"));
    }
}

/// What is shown to people who write requests is what a node takes.
#[tokio::test]
async fn every_example_is_of_the_form_and_is_taken() {
    let node = Node::start().await;
    let document = node.get("/openapi.json").await.expect_status(200).json;
    let mut examples = 0;
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let content = &operation["requestBody"]["content"]["application/json"];
            for (name, example) in content["examples"].as_object().into_iter().flatten() {
                examples += 1;
                let mut schema = content["schema"].clone();
                schema["components"] = document["components"].clone();
                let validator = jsonschema::validator_for(&schema).expect("a schema");
                let errors: Vec<String> =
                    validator.iter_errors(&example["value"]).map(|error| error.to_string()).collect();
                assert!(errors.is_empty(), "{method} {path}: {name}: {errors:#?}");
                // Decisions want a request that they fit, what is fetched a place that there is, what is tried a hook; the others are asked of
                // what the examples made.
                let wants_more = path.contains("{request}")
                    || path == "/v1/plugin-fetch"
                    || path.starts_with("/v1/hooks")
                    || path.starts_with("/api/");
                if wants_more || method == "put" {
                    continue;
                }
                let place = if path.contains("schedules") { "nightly-greeting" } else { "hello-1" };
                let place = path.replace("{id}", place).replace("{name}", "Glob");
                let answer = node.post(&place, &example["value"]).await;
                // The mission may have ended, which is no fault of the example.
                let is_over = answer.status == 409 && answer.json["code"] == "already_final";
                assert!(answer.status < 300 || is_over, "{method} {path}: {name}: {answer:#?}");
            }
        }
    }
    assert!(examples > 12, "{examples}");
    let told = node.until_final("report-1").await;
    assert_eq!(told["status"], "completed", "{told:#}");
}

/// What a problem names as its type is a page of the node that says it, and nobody needs a token for that.
#[tokio::test]
async fn the_type_of_a_problem_leads_to_its_page() {
    let node = Node::start().await;
    let open = |path: &str| http::client().get(format!("{}{path}", node.url()));
    for (asked, code) in
        [("/v1/missions", "unauthorized"), ("/no-such-path", "not_found"), ("/problems/x", "not_found")]
    {
        let problem = http::send(open(asked)).await.expect("an answer").json;
        assert_eq!(problem["code"], code, "{asked}");
        let page = problem["type"].as_str().expect("an address");
        let told = http::send(open(page)).await.expect("an answer").expect_status(200).json;
        assert_eq!((&told["code"], &told["type"]), (&problem["code"], &problem["type"]));
        assert!(told["statuses"].as_array().is_some_and(|all| all.contains(&problem["status"])), "{told:#}");
        let shown = http::send(open(page).header("accept", "text/html")).await.expect("an answer").expect_status(200);
        assert!(shown.headers["content-security-policy"].contains("default-src 'none'"));
        for part in ["What happened", "Why", "What to do"] {
            assert!(shown.text.contains(part), "{part} is not in {}", shown.text);
        }
    }
}
