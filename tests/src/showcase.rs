//! A night that a node has had: lanes that are shut by day, missions of every kind of end, requests that wait for people in the morning.
//!
//! Played on clocks that are set, in seconds: what its pages show is what such a night shows. For pictures of the dashboard, and for tests
//! that want its pages full.

use jiff::{SignedDuration, Timestamp, civil, tz::TimeZone};
use serde_json::{Value, json};

use crate::envelope::{automation, with};
use crate::nights::fires;
use crate::{Node, Options, Receiver, Reply, project, site, until};

/// What the envelopes of the demo name as the secret of their callbacks, and where they send them.
const SECRET: &str = "UA_INTERNAL_API_TOKEN";
const CALLBACKS: &str = "127.0.0.1:9000";
/// The evening on which it begins, and where.
const EVENING: civil::Date = civil::date(2026, 11, 25);
const ZONE: &str = "Europe/Berlin";
const BEGINS: &str = "18:05";
/// The token of the person who looks.
pub const OPERATOR: &str = "the-token-of-ada";

/// The node in its morning, with what it speaks to.
pub struct Showcase {
    /// The node.
    pub node: Node,
    /// Takes events, but those of one mission.
    receiver: Receiver,
    /// Has the pages that missions read.
    pages: Receiver,
}

/// A mission that asks whether it may write, with what a file was and shall be.
pub const ASKS_TO_EDIT: &str = "upgrade-dependencies";
/// A mission that asks a question.
pub const ASKS_A_QUESTION: &str = "press-review";
/// A mission that asks for money.
pub const ASKS_FOR_MONEY: &str = "price-watch-nordics";
/// A mission that mended a repository, with a patch, criteria and calls.
pub const CODED: &str = "mend-the-sums";
/// A mission that failed.
pub const FAILED: &str = "reconcile-invoices";

impl Showcase {
    /// Plays the night, up to seven in the morning.
    ///
    /// # Panics
    /// If it does not go as it should.
    pub async fn play() -> Self {
        let receiver = Receiver::scripted(|got, _| refuse_some(got.mission())).await;
        let pages = Receiver::scripted(|got, _| site::page(got)).await;
        let node = Options::new()
            .config(&config(&receiver, &pages))
            .env(SECRET, "demo-secret")
            .env("ADA", OPERATOR)
            .faulty()
            .start()
            .await;
        let night = Self { node, receiver, pages };
        night.set(time_of(BEGINS)).await;
        night.evening().await;
        night.small_hours().await;
        night.morning().await;
        night
    }

    async fn evening(&self) {
        for schedule in schedules() {
            self.node.post("/v1/schedules", &schedule).await.expect_status(201);
        }
        let until_told = json!({"note": "until the new chart of accounts is there"});
        self.node.post("/v1/schedules/month-end-close/pause", &until_told).await.expect_status(200);
        self.accept("tidy-inbox", "reports", "Sort what came in today, and list what wants an answer.", "25m", 1).await;
        self.example("6-repository", "prepare-repository", "vp.coder", "reports").await;
        self.at("18:40").await;
        self.ends("tidy-inbox").await;
        self.accept("weekly-report", "reports", "Write the weekly report from the receipts of the week.", "95m", 3)
            .await;
        self.at("19:10").await;
        self.accept("heat-pump-prices", "research", "What do heat pumps cost in the five largest markets?", "170m", 9)
            .await;
        self.example("7-coding", CODED, "vp.coder", "coding").await;
        self.at("20:00").await;
        self.ends(CODED).await;
        self.accept(
            "flaky-export-test",
            "coding",
            "Find out why the test of the export fails every third night.",
            "190m",
            6,
        )
        .await;
        self.at("20:20").await;
        self.ends("weekly-report").await;
        self.example("8-research", "last-ferry", "vp.researcher", "research").await;
        self.ends("last-ferry").await;
        self.node.accept(&self.failing()).await;
        self.at("22:00").await;
        until("the schedule fires", async || {
            let fired = fires(&self.node, "nightly-backup-check").await;
            fired.iter().any(|fire| fire["what"] == "fired").then_some(())
        })
        .await;
        self.ends("heat-pump-prices").await;
        self.looked(FAILED, 4).await;
    }

    async fn small_hours(&self) {
        self.at("22:25").await;
        self.accept(
            "competitor-scan",
            "research",
            "Which of the eleven competitors changed their prices this week?",
            "160m",
            11,
        )
        .await;
        self.at("23:10").await;
        self.ends("flaky-export-test").await;
        self.node.accept(&self.editing()).await;
        self.looked(ASKS_TO_EDIT, 1).await;
        self.at("23:40").await;
        let end = self.node.until_final(FAILED).await;
        assert_eq!(end["status"], "failed", "{end:#}");
        self.accept(
            "translate-handbook",
            "reports",
            "Translate the handbook for new colleagues into Portuguese.",
            "4h",
            4,
        )
        .await;
        self.at("01:05").await;
        self.ends("competitor-scan").await;
        self.accept("old-tickets", "reports", "Close tickets that nobody has answered for a year.", "3h", 0).await;
        self.at("02:15").await;
        let reason = json!({"reason": "The tickets move to another system tomorrow."});
        self.node.post("/v1/missions/old-tickets/cancel", &reason).await.expect_status(202);
        self.node.until_final("old-tickets").await;
        self.at("02:50").await;
        self.node.until_status(ASKS_TO_EDIT, "blocked").await;
        self.accept("quarterly-figures", "ledger", "Put the figures of the quarter together, by cost centre.", "6h", 5)
            .await;
    }

    async fn morning(&self) {
        self.at("03:40").await;
        self.ends("translate-handbook").await;
        self.node.accept(&self.asking()).await;
        self.looked(ASKS_A_QUESTION, 6).await;
        self.at("04:30").await;
        self.node.until_status(ASKS_A_QUESTION, "blocked").await;
        self.node.accept(&self.paying()).await;
        self.node.until_status(ASKS_FOR_MONEY, "blocked").await;
        self.at("05:20").await;
        self.accept("release-notes", "coding", "Write the release notes of 4.2 from what was merged.", "30m", 2).await;
        self.at("06:00").await;
        self.ends("release-notes").await;
        self.accept("meeting-briefs", "reports", "A page for each of today's meetings.", "2h", 2).await;
        self.accept("cost-centres", "ledger", "Move the cost centres of the old plant.", "1h", 0).await;
        self.at("06:42").await;
        self.node.until_status("meeting-briefs", "running").await;
        until("the events of the report are delivered", async || {
            (self.node.mission("weekly-report").await["delivery"]["state"] == "delivered").then_some(())
        })
        .await;
    }

    /// Sets the node's clocks to a time of that night, by the clock of its zone, once whatever runs sleeps.
    async fn at(&self, time: &str) {
        self.quiet().await;
        self.set(time_of(time)).await;
    }

    async fn set(&self, at: Timestamp) {
        let faults = self.node.faults();
        faults.set_clock(at.duration_since(Timestamp::now()));
        // Both go on together; the beginning of the night alone is behind ours.
        faults.set_steady(at.duration_since(time_of(BEGINS)).max(SignedDuration::ZERO).unsigned_abs());
        // A request wakes what slept.
        self.node.get("/v1/node").await.expect_status(200);
    }

    /// Lets seconds go by until whatever runs has slept for so long that it is out of memory: from then on it wakes when it is to, however
    /// far the clock is set.
    async fn quiet(&self) {
        let mut now = self.node.faults().now();
        until("every mission sleeps", async || {
            let list = self.node.get("/v1/missions?limit=100").await.expect_status(200).json;
            let missions = list["items"].as_array().expect("a list");
            let is_over =
                |mission: &Value| !["queued", "running"].contains(&mission["status"].as_str().unwrap_or_default());
            let is_quiet = |mission: &Value| {
                let waits = mission["waits_for"]["what"].as_str();
                is_over(mission) || waits.is_some_and(|what| what != "turn")
            };
            if missions.iter().all(is_quiet) {
                return Some(());
            }
            now += SignedDuration::from_secs(1);
            self.set(now).await;
            None
        })
        .await;
    }

    /// Waits until a mission has got so many answers: a call that is on its way would take as long as the clock is set ahead.
    async fn looked(&self, id: &str, answers: usize) {
        until(&format!("{id} has looked"), async || {
            let journal = self.node.get(&format!("/v1/missions/{id}/journal")).await.expect_status(200).json;
            let records = journal["items"].as_array().expect("a list");
            let answered = records.iter().filter(|record| record["kind"] == "call_finished").count();
            (answered >= answers).then_some(())
        })
        .await;
    }

    async fn ends(&self, id: &str) {
        let end = self.node.until_final(id).await;
        assert_eq!(end["status"], "completed", "{id}: {end:#}");
    }

    /// A mission that looks at some pages, works for a while, and writes what came of it.
    async fn accept(&self, id: &str, lane: &str, objective: &str, takes: &str, looks: usize) {
        let text = format!("# {objective}\n\nNothing unusual. Sources are listed below.\n");
        let steps = json!([
            {"id": "sources", "tool": "WebFetch", "for_each": self.addresses(looks), "with": {"url": "{{ item }}"}},
            {"id": "work", "needs": ["sources"], "sleep": takes, "milestone": "everything is looked through"},
            {"id": "report", "needs": ["work"], "tool": "Write", "with": {"path": "report.md", "content": text}, "artifact": "report.md"},
        ]);
        let envelope = of_lane(automation(id, &steps), lane, objective);
        let envelope = with(envelope, "/callback", self.callback());
        // What is not done when its lane shuts goes on when it opens.
        self.node.accept(&with(envelope, "/on_window_end", json!("suspend"))).await;
        // One whose lane is shut waits for that.
        if looks > 0 {
            self.looked(id, looks).await;
        }
    }

    fn addresses(&self, count: usize) -> Vec<String> {
        let names = ["timetable.html", "prices.html", "notice.html"];
        (0..count).map(|no| format!("http://{}/{}", self.pages.host(), names[no % names.len()])).collect()
    }

    fn callback(&self) -> Value {
        json!({"status_url": format!("http://{}/factory/events", self.receiver.host()), "auth_mode": "bearer", "auth_ref": format!("env://{SECRET}")})
    }

    /// A mission of `examples/demo/`, under another name.
    async fn example(&self, file: &str, id: &str, vp: &str, lane: &str) {
        let path = project().join("examples/demo").join(file).with_extension("json");
        let text = std::fs::read_to_string(path).expect("a readable file");
        let text = text.replace("{{now}}", "2026-11-25T17:00:00Z").replace(CALLBACKS, &self.receiver.host());
        let mut envelope: Value = serde_json::from_str(&text.replace(site::ADDRESS, &self.pages.host())).expect("JSON");
        for (key, value) in [("mission_id", id), ("idempotency_key", id), ("vp_id", vp), ("vp_runtime_id", lane)] {
            envelope[key] = json!(value);
        }
        self.node.accept(&envelope).await;
    }

    fn failing(&self) -> Value {
        let objective = "Reconcile the invoices of November with the bank's statements.";
        let steps = json!([
            {"id": "statements", "tool": "WebFetch", "for_each": self.addresses(4), "with": {"url": "{{ item }}"}},
            {"id": "match", "needs": ["statements"], "sleep": "80m", "milestone": "412 of 415 invoices are matched"},
            {"id": "rest", "needs": ["match"], "tool": "Read", "with": {"path": "statements/november-28.csv"}},
        ]);
        with(of_lane(automation(FAILED, &steps), "ledger", objective), "/callback", self.callback())
    }

    fn editing(&self) -> Value {
        let objective = "Bring the dependencies up to date, one at a time, each with its tests.";
        let before =
            "[dependencies]\naxum = \"0.7\"\njiff = \"0.1\"\ntokio = { version = \"1.38\", features = [\"full\"] }\n";
        let steps = json!([
            {"id": "manifest", "tool": "Write", "with": {"path": "ledger/Cargo.toml", "content": before}},
            {"id": "tests", "needs": ["manifest"], "sleep": "200m", "milestone": "14 of 15 are up to date, all tests pass"},
            {"id": "last", "needs": ["tests"], "tool": "Edit", "with": {
                "path": "ledger/Cargo.toml",
                "old": "axum = \"0.7\"\njiff = \"0.1\"\ntokio = { version = \"1.38\", features = [\"full\"] }",
                "new": "axum = \"0.8\"\njiff = \"0.2\"\ntokio = { version = \"1.54\", features = [\"net\", \"rt-multi-thread\"] }",
            }},
        ]);
        with(
            of_lane(automation(ASKS_TO_EDIT, &steps), "coding", objective),
            "/constraints/approval_required",
            json!(["Edit"]),
        )
    }

    fn asking(&self) -> Value {
        let objective = "What does the press write about us, and what should we answer?";
        let question = "The Morning Post says that the merger is off. Nothing of ours says so.\nShall the review mention it, and if so, as what?";
        let steps = json!([
            {"id": "papers", "tool": "WebFetch", "for_each": self.addresses(6), "with": {"url": "{{ item }}"}},
            {"id": "read", "needs": ["papers"], "sleep": "40m"},
            {"id": "ask", "needs": ["read"], "tool": "ask", "with": {"question": question}},
        ]);
        of_lane(automation(ASKS_A_QUESTION, &steps), "research", objective)
    }

    fn paying(&self) -> Value {
        let steps =
            json!([{"id": "shops", "tool": "WebFetch", "for_each": self.addresses(12), "with": {"url": "{{ item }}"}}]);
        let objective = "Prices of the forty best-selling heat pumps in the Nordic countries.";
        let envelope = of_lane(automation(ASKS_FOR_MONEY, &steps), "research", objective);
        with(envelope, "/budget/max_cost_usd", json!(0.3))
    }
}

/// A time of that night by the clock of its zone, up to noon of the day after.
fn time_of(time: &str) -> Timestamp {
    let time: civil::Time = time.parse().expect("a time");
    let day = if time.hour() < 12 { EVENING.tomorrow().expect("a day") } else { EVENING };
    let zone = TimeZone::get(ZONE).expect("a zone");
    day.to_datetime(time).to_zoned(zone).expect("a time").timestamp()
}

fn of_lane(envelope: Value, lane: &str, objective: &str) -> Value {
    let tools = json!(["Read", "Write", "Edit", "Glob", "Grep", "WebFetch"]);
    let mut envelope = envelope;
    for (pointer, value) in [
        ("/vp_id", json!(format!("vp.{lane}.{}", if lane == "coding" { "turing" } else { "primary" }))),
        ("/vp_session_id", json!(envelope["mission_id"].clone())),
        ("/vp_runtime_id", json!(lane)),
        ("/objective", json!(objective)),
        ("/constraints/allowed_tools", tools),
        ("/budget", json!({"max_runtime_minutes": 480, "max_cost_usd": 5})),
    ] {
        envelope = with(envelope, pointer, value);
    }
    envelope
}

/// Its events are taken, but those of what failed: the other side is down for them.
fn refuse_some(mission: &str) -> Reply {
    Reply::Status(if mission == FAILED { 503 } else { 200 })
}

fn config(receiver: &Receiver, pages: &Receiver) -> String {
    let research = project().join("examples/research/script.json");
    let coding = project().join("examples/coding-fix-a-test/script.json");
    format!(
        r#"[node]
time_zone = "{ZONE}"

[[token]]
name = "ada"
ref = "env://ADA"
scopes = ["read", "operate", "dispatch"]

[[lane]]
id = "reports"
concurrency = 3
[[lane]]
id = "research"
concurrency = 4
[[lane]]
id = "coding"
concurrency = 2
hours = ["20:00-08:00"]
[[lane]]
id = "ledger"
concurrency = 1
hours = ["22:00-06:00"]

[[budget]]
scope = "node"
per = "day"
cost_usd = 25
[[budget]]
scope = "lane:research"
per = "month"
cost_usd = 200

[callback]
allow_private = ["127.0.0.1"]
[[callback.secret]]
ref = "env://{SECRET}"
hosts = ["{}"]

[tool.WebFetch]
cost_usd = 0.06
hosts = ["{}"]
allow_private = ["127.0.0.1"]

[model]
default = "deep"
[model.deep]
protocol = "scripted"
file = {research:?}
price_usd_per_mtok = {{ input = 3, output = 15 }}
[model.colleague]
protocol = "scripted"
file = {coding:?}
price_usd_per_mtok = {{ input = 3, output = 15 }}
"#,
        receiver.host(),
        pages.host(),
    )
}

fn schedules() -> [Value; 4] {
    let mission = |vp: &str, objective: &str| json!({"vp_id": vp, "vp_runtime_id": "reports", "mission_type": "custom", "plugin": "hello", "objective": objective});
    [
        json!({"id": "nightly-backup-check", "zone": ZONE, "at": "0 22 * * *", "opens_for": "4h",
            "note": "Whether last night's backup can be read.", "mission": mission("vp.ops", "Check the backup of {{ date }}.")}),
        json!({"id": "morning-digest", "zone": ZONE, "at": "0 7 * * 1-5", "opens_for": "1h",
            "note": "For the stand-up.", "mission": mission("vp.reports", "The digest of {{ date }}.")}),
        json!({"id": "price-watch", "zone": "America/Chicago", "at": "30 1 * * *", "opens_for": "6h",
            "note": "After the shops in Chicago have shut.", "mission": mission("vp.research", "Prices of {{ date }}.")}),
        json!({"id": "month-end-close", "zone": ZONE, "at": "0 23 28 * *",
            "note": "Closes the month in the ledger.", "mission": mission("vp.ledger", "Close {{ date }}.")}),
    ]
}
