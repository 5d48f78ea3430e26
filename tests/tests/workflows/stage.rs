//! The stage of a retold workflow: a node, the service that its mission speaks to, and what that was asked.

use std::fs;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};
use sortie_tests::{Node, Options, Received, Receiver, Reply, project, until};

/// A node and the service that its mission speaks to.
pub(crate) struct Stage {
    pub(crate) node: Node,
    pub(crate) service: Receiver,
}

impl Stage {
    pub(crate) async fn of(script: impl Fn(&Received, usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::on(Options::new(), script).await
    }

    /// On a node of a test's own.
    pub(crate) async fn on(node: Options, script: impl Fn(&Received, usize) -> Reply + Send + Sync + 'static) -> Self {
        let service = Receiver::scripted(script).await;
        let tool = format!("[tool.HttpRequest]\nhosts = [{:?}]\nallow_private = [\"127.0.0.1\"]\n", service.host());
        Self { node: node.config(&tool).start().await, service }
    }

    /// A workflow as a dispatch, with this service.
    pub(crate) fn envelope(&self, name: &str) -> Value {
        let mut envelope = self.unhurried(name);
        quicken(&mut envelope);
        envelope
    }

    /// The same, with its rests between attempts as they are.
    pub(crate) fn unhurried(&self, name: &str) -> Value {
        let file = project().join("examples/workflows").join(name).with_extension("json");
        let mut envelope: Value = serde_json::from_str(&fs::read_to_string(file).expect("a workflow")).expect("JSON");
        envelope["inputs"]["service"] = json!(format!("http://{}", self.service.host()));
        for key in ["mission_id", "idempotency_key"] {
            envelope[key] = json!(name);
        }
        envelope["created_at"] = json!("2026-11-26T00:00:00Z");
        envelope
    }

    /// Runs a workflow to its end, and says how it ended: status and summary.
    pub(crate) async fn run(&self, name: &str) -> (String, String) {
        let end = self.node.run(&self.envelope(name)).await;
        let text = |key: &str| end[key].as_str().unwrap_or_default().to_owned();
        (text("status"), text("summary"))
    }

    /// What the service was asked, line by line.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.service.received().iter().map(line).collect()
    }

    /// Lets time go by until the mission has left memory for that time; returns how far ahead of ours the node is then.
    pub(crate) async fn left_memory(&self, id: &str, times: usize, mut ahead: Duration) -> Duration {
        until(&format!("{id} is out of memory"), async || {
            self.node.faults().set_ahead(ahead);
            ahead += Duration::from_millis(200);
            let journal = self.node.get(&format!("/v1/missions/{id}/journal")).await.json;
            let records = journal["items"].as_array()?;
            (records.iter().filter(|record| record["kind"] == "suspended").count() >= times).then_some(ahead)
        })
        .await
    }

    pub(crate) async fn artifact(&self, name: &str, artifact: &str) -> String {
        self.node.get(&format!("/v1/missions/{name}/artifacts/{artifact}")).await.text
    }
}

/// A request in a line: method, address, body.
pub(crate) fn line(received: &Received) -> String {
    let query = if received.query.is_empty() { String::new() } else { format!("?{}", received.query) };
    let body = if received.json.is_null() { String::new() } else { format!(" {}", received.json) };
    format!("{} {}{query}{body}", received.method, received.path)
}

/// Makes the rests between attempts short.
fn quicken(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (key, field) in fields {
                if key == "backoff" { *field = json!("10ms") } else { quicken(field) }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(quicken),
        _ => {}
    }
}

pub(crate) fn says(status: u16, body: &Value) -> Reply {
    Reply::Body(status, "application/json", body.to_string())
}

/// How often a thing has been asked for, this time included.
pub(crate) fn counting() -> impl Fn() -> usize + Send + Sync {
    let times = Mutex::new(0);
    move || {
        let mut times = times.lock().expect("no panic while it was held");
        *times += 1;
        *times
    }
}
