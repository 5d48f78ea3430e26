//! What the tests of several nodes have in common: the nodes, a receiver of events, and a service whose effects are counted.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sortie_tests::envelope::{automation, with};
use sortie_tests::history::{Effect, History};
use sortie_tests::load::{arrived_in_order, one_end};
use sortie_tests::node::is_final;
use sortie_tests::{Net, Node, Options, Received, Receiver, Reply, http, until};

use crate::server::Server;

/// How long nodes are waited for here.
pub(crate) const LEASE: Duration = Duration::from_secs(2);

/// Calls with an effect that each mission makes.
pub(crate) const CALLS: usize = 4;

/// How long the service takes for a call with an effect.
pub(crate) const DONE: Duration = Duration::from_millis(40);

/// The token that all of them have.
pub(crate) const TOKEN: &str = "fleet-token-0123456789-0123456789";

/// Where a fleet is, and who made its tables: without either on this machine, and the binary under test.
#[derive(Default)]
pub(crate) struct Setting {
    pub(crate) net: Option<Net>,
    pub(crate) migrated_by: Option<PathBuf>,
}

/// Several nodes on one database.
pub(crate) struct Fleet {
    pub(crate) server: Server,
    /// Where the store is.
    url: String,
    pub(crate) nodes: Vec<Node>,
    /// Where events go.
    pub(crate) receiver: Receiver,
    /// Where calls have their effects.
    pub(crate) service: Receiver,
    /// The network that all of it is in, where it is one of its own: the database's place is the first, the nodes' are behind it.
    pub(crate) net: Option<Net>,
    /// When each node was started, each time.
    lives: Vec<Vec<Instant>>,
    /// What people had done again.
    repeated: Mutex<BTreeSet<String>>,
}

impl Fleet {
    /// Nodes of these names.
    pub(crate) async fn start(names: &[&str]) -> Option<Self> {
        Self::start_with(names, "lease = \"2s\"\n").await
    }

    /// The same, with these lines of `[node]`.
    pub(crate) async fn start_with(names: &[&str], lines: &str) -> Option<Self> {
        let each: Vec<(&str, &str)> = names.iter().map(|name| (*name, lines)).collect();
        Self::start_each(&each).await
    }

    /// The same, each with lines of its own.
    pub(crate) async fn start_each(nodes: &[(&str, &str)]) -> Option<Self> {
        Self::start_on(Setting::default(), nodes, |_, options| options).await
    }

    /// The same, somewhere else, each with options of its own.
    pub(crate) async fn start_on(
        Setting { net, migrated_by }: Setting,
        nodes: &[(&str, &str)],
        of: impl Fn(usize, Options) -> Options,
    ) -> Option<Self> {
        let server = match &net {
            Some(net) => Server::start_at(&net.address(0), Some(net.namespace(0)))?,
            None => Server::start()?,
        };
        let here = net.as_ref().map_or_else(|| "127.0.0.1".to_owned(), Net::hub);
        let url = server.url(&server.database("fleet"));
        migrate(&url, migrated_by);
        let receiver = Receiver::scripted_at(&here, |_, _| Reply::Status(200)).await;
        let done = |_: &_, _| Reply::BodyAfter(DONE, "application/json", "{}".to_owned());
        let service = Receiver::scripted_at(&here, done).await;
        let (mut started, mut lives) = (Vec::new(), Vec::new());
        for (no, (name, lines)) in nodes.iter().enumerate() {
            let address = net.as_ref().map_or_else(|| "127.0.0.1".to_owned(), |net| net.address(1 + no));
            let options = Options::new()
                // Its connections are told from the others', and silence counts as early as the lease is short.
                .config(&format!(
                    "[node]\nstore = \"{url}?application_name={name}&tcp_user_timeout=2&connect_timeout=2\"\n"
                ))
                .config(&format!("advertise = \"http://{address}:0\"\n{lines}"))
                .config(&receiver.config())
                .config(&format!(
                    "[tool.HttpRequest]\nhosts = [{:?}]\nallow_private = [{here:?}]\n[limits]\ncrashes_alone = 1000\n",
                    service.host()
                ))
                .env("CALLBACK_TOKEN", "hush")
                .name(name)
                .token(TOKEN);
            let options = match &net {
                Some(net) => options.inside(&net.namespace(1 + no), &address),
                None => options,
            };
            lives.push(vec![Instant::now()]);
            started.push(of(no, options).start().await);
        }
        let repeated = Mutex::default();
        let fleet = Self { server, url, nodes: started, receiver, service, net, lives, repeated };
        // Each knows the others, and by what they are reached.
        for node in &fleet.nodes {
            until("they know each other", async || {
                let listed = node.get("/v1/nodes").await;
                let items = listed.json["items"].as_array()?.clone();
                (items.len() == nodes.len() && items.iter().all(|item| item["url"].is_string())).then_some(())
            })
            .await;
        }
        Some(fleet)
    }

    /// Brings the store to the tables of this binary, or of the one under test.
    pub(crate) fn migrate(&self, by: Option<PathBuf>) {
        migrate(&self.url, by);
    }

    /// Has the database do something.
    pub(crate) fn sql(&self, sql: &str) {
        let database = self.url.rsplit('/').next().expect("a name");
        self.server.sql(database, sql);
    }

    /// Starts one again that has ended.
    pub(crate) async fn restart(&mut self, no: usize) {
        self.lives[no].push(Instant::now());
        self.nodes[no].restart().await;
    }

    /// Which life of which node is at that address at that moment, where each has an address of its own.
    fn life(&self, received: &Received) -> Option<String> {
        let (net, from) = (self.net.as_ref()?, received.from.ip().to_string());
        let no = (0..self.nodes.len()).find(|no| net.address(1 + no) == from)?;
        let lives = self.lives[no].iter().filter(|begun| **begun <= received.at).count();
        Some(format!("node {no}, life {lives}"))
    }

    /// Writes down in a history what was done for these missions.
    pub(crate) fn write_down(&self, history: &mut History, ids: &[String]) {
        for id in ids {
            let (path, mut about) = (format!("/count/{id}/"), BTreeSet::new());
            for received in self.service.those(|received| received.path.starts_with(&path)) {
                let begun = history.at(received.at);
                let effect = Effect {
                    what: received.path.clone(),
                    call: received.header("idempotency-key").to_owned(),
                    by: self.life(&received),
                    begun,
                    ended: begun + DONE,
                };
                about.insert(received.path);
                history.done(id, effect);
            }
            let repeated = self.repeated.lock().expect("no panic while it was held");
            about.intersection(&repeated).for_each(|what| history.repeated(what));
        }
    }

    /// How many calls people had made again.
    pub(crate) fn repeated(&self) -> usize {
        self.repeated.lock().expect("no panic while it was held").len()
    }

    /// Answers what a mission asks, until it has ended; by whichever node is asked.
    pub(crate) async fn until_ended(&self, node: &Node, id: &str) {
        until(&format!("{id} ends"), async || {
            let mission = http::send(node.request("GET", &format!("/v1/missions/{id}"))).await.ok()?;
            for request in mission.json["pending_requests"].as_array().into_iter().flatten() {
                self.answer(node, id, request).await;
            }
            is_final(mission.json["status"].as_str().unwrap_or_default()).then_some(())
        })
        .await;
    }

    /// Approves; says of a call of which nobody knows whether it was made what the service says.
    async fn answer(&self, node: &Node, id: &str, request: &Value) {
        let decision = match request["kind"].as_str() {
            Some("uncertain") => {
                let url = request["arguments"]["url"].as_str().unwrap_or_default();
                let path = url.rsplit_once("/count/").map_or_else(String::new, |(_, path)| format!("/count/{path}"));
                if self.times(&path) > 0 {
                    json!({"decision": "record", "result": {"status": 200, "headers": {}, "text": "{}"}})
                } else {
                    self.repeated.lock().expect("no panic while it was held").insert(path);
                    json!({"decision": "repeat"})
                }
            }
            _ => json!({"decision": "approve", "for": "tool"}),
        };
        let path = format!("/v1/missions/{id}/requests/{}", request["request_id"].as_str().unwrap_or_default());
        let sent = node.request("POST", &path).header("content-type", "application/json").body(decision.to_string());
        // One that is lost with its node is sent once more.
        drop(http::send(sent).await);
    }

    /// How often the service was asked for this.
    pub(crate) fn times(&self, path: &str) -> usize {
        self.service.those(|received| received.path == path).len()
    }

    /// Sees that each call of these missions was made once.
    pub(crate) fn each_effect_once(&self, ids: &[&str]) {
        for id in ids {
            let times: Vec<usize> = (0..CALLS).map(|n| self.times(&format!("/count/{id}/{n}"))).collect();
            assert_eq!(times, [1; CALLS], "{id}");
        }
    }
}

fn migrate(url: &str, by: Option<PathBuf>) {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("sortie.toml");
    std::fs::write(&config, format!("[node]\nstore = {url:?}\n")).expect("written");
    let migrated = std::process::Command::new(by.unwrap_or_else(sortie_tests::binary))
        .arg("--config")
        .arg(&config)
        .arg("migrate")
        .env_remove("SORTIE_NODE")
        .output()
        .expect("it runs");
    assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
}

/// A mission of calls with an effect at the service, one after the other, that needs no files.
pub(crate) fn chain(fleet: &Fleet, id: &str) -> Value {
    let host = fleet.service.host();
    let steps: Vec<Value> = (0..CALLS)
        .map(|n| {
            let mut step = json!({"id": format!("c{n}"), "tool": "HttpRequest", "milestone": format!("call {n}"),
                "with": {"method": "POST", "url": format!("http://{host}/count/{id}/{n}"), "body": "once"}});
            if n > 0 {
                step["needs"] = json!([format!("c{}", n - 1)]);
            }
            step
        })
        .collect();
    with(automation(id, &json!(steps)), "/constraints/allowed_tools", json!(["HttpRequest"]))
}

/// A mission that waits for so long, and needs no files.
pub(crate) fn sleeping(id: &str, time: &str) -> Value {
    automation(id, &json!([{"id": "s", "sleep": time}]))
}

/// Sees that the receiver has all events of a mission, in their order, each the same however often it came, and one end.
pub(crate) async fn ended_once(fleet: &Fleet, id: &str) {
    let received = fleet.receiver.until_final(id).await;
    // By number: one that was on its way when its node died may come again, as what it was.
    let mut events: BTreeMap<u64, Value> = BTreeMap::new();
    for delivery in &received {
        events.extend(delivery.sequence().map(|sequence| (sequence, delivery.json.clone())));
    }
    let events: Vec<Value> = events.into_values().collect();
    assert_eq!(one_end(id, &events)["status"], "completed", "{id}");
    arrived_in_order(id, &events, &fleet.receiver);
    let ends = fleet
        .receiver
        .of(id)
        .iter()
        .filter(|delivery| is_final(delivery.json["status"].as_str().unwrap_or_default()))
        .count();
    assert_eq!(ends, 1, "{id}: its end was delivered {ends} times");
}
