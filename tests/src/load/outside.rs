//! What the calls of a load reach: a service, a model's provider and a search engine in this process, and a tool server that the node
//! starts. It counts what really happened, where no crash of the node reaches.

use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use crate::{Received, Receiver, Reply, alive, until};

/// How long each of them takes, before and after it does its work.
const PAUSE: Duration = Duration::from_millis(25);

/// What the provider bills for an answer: 20 tokens read at a dollar a million, 5 written at two.
pub(super) const MODEL_COST_USD: f64 = 0.000_03;

/// What a search costs.
pub(super) const SEARCH_COST_USD: f64 = 0.001;

/// A tool server: it notes the step and the key of each call, and takes its time before and after.
const SERVER: &str = r#"
answer() { printf '{"jsonrpc":"2.0","id":%s,%s}\n' "$id" "$1"; }
part() { printf '%s' "$line" | sed -n 's|.*"'"$1"'":"\([^"]*\)".*|\1|p'; }
while read -r line; do
  id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9][0-9]*\).*/\1/p')
  case "$line" in
    *'"server/discover"'*) answer '"error":{"code":-32601,"message":"no such method"}' ;;
    *'"initialize"'*) answer '"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"outside","version":"1"}}' ;;
    *'"tools/list"'*) answer '"result":{"tools":[{"name":"append","inputSchema":{"type":"object","properties":{"step":{"type":"string"}},"required":["step"]},"annotations":{"readOnlyHint":false}}]}' ;;
    *'"tools/call"'*)
      sleep 0.025
      printf '%s %s\n' "$(part step)" "$(part sortie/idempotency-key)" >> "$LOG"
      sleep 0.025
      answer '"result":{"content":[{"type":"text","text":"appended"}]}' ;;
    *'"ping"'*) answer '"result":{}' ;;
  esac
done
"#;

/// All that there is outside.
pub(super) struct Outside {
    service: Receiver,
    folder: TempDir,
    /// Stands in the arguments of what a node starts, and of nothing else.
    mark: String,
}

impl Outside {
    pub(super) async fn start() -> Self {
        let service = Receiver::scripted(|received, _| answer(received)).await;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mark = format!("{}.{}", 3_000_000 + std::process::id(), service.host().split_off("127.0.0.1:".len()));
        Self { service, folder, mark }
    }

    /// What a node needs to reach it.
    pub(super) fn config(&self) -> String {
        let (host, log) = (self.service.host(), self.folder.path().join("appended"));
        let script = toml::Value::String(SERVER.to_owned());
        format!(
            "[tool.Bash]\nenabled = true\n\
             [tool.HttpRequest]\nhosts = [{host:?}]\nallow_private = [\"127.0.0.1\"]\n\
             [tool.WebSearch]\nprovider = \"searxng\"\nurl = \"http://{host}\"\nallow_private = [\"127.0.0.1\"]\n\
             cost_usd = {SEARCH_COST_USD}\n\
             [model.brain]\nprotocol = \"openai\"\nbase_url = \"http://{host}/v1\"\nmodel = \"b-1\"\n\
             allow_private = [\"127.0.0.1\"]\nmax_output_tokens = 1000\nprice_usd_per_mtok = {{ input = 1, output = 2 }}\n\
             [mcp.outside]\ncommand = [\"/bin/sh\", \"-c\", {script}, {:?}]\n\
             env = {{ PATH = \"/usr/bin:/bin\", LOG = {log:?} }}\n",
            self.mark
        )
    }

    /// An address of the service.
    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.service.host())
    }

    /// A command that leaves a line in its workspace, and something behind that hides from it.
    pub(super) fn command(&self, line: &str) -> String {
        format!("setsid sleep {} & sleep 0.025; echo {line} >> log.txt; sleep 0.025", self.mark)
    }

    /// How often something was asked for: `/count/…`, `/model/…` or `/search/…`.
    pub(super) fn times(&self, what: &str) -> usize {
        self.service.received().iter().filter(|received| asked_for(received) == what).count()
    }

    /// How often the tool server did a step.
    pub(super) fn appended(&self, step: &str) -> usize {
        let log = std::fs::read_to_string(self.folder.path().join("appended")).unwrap_or_default();
        log.lines().filter(|line| line.split(' ').next() == Some(step)).count()
    }

    /// Sees that each thing that was asked for carries the same key however often it was, and no key was there for two things.
    pub(super) fn keys_are_true(&self) {
        let log = std::fs::read_to_string(self.folder.path().join("appended")).unwrap_or_default();
        let appended = log.lines().filter_map(|line| line.split_once(' '));
        let mut keys: Vec<(String, String)> = appended.map(|(step, key)| (step.to_owned(), key.to_owned())).collect();
        let received = self.service.received();
        let keyed = received.iter().filter(|received| received.method == "POST");
        keys.extend(keyed.map(|received| (asked_for(received), received.header("idempotency-key").to_owned())));
        keys.sort();
        keys.dedup();
        for pair in keys.windows(2) {
            assert_ne!(pair[0].0, pair[1].0, "two keys: {pair:?}");
        }
        keys.sort_by(|one, other| one.1.cmp(&other.1));
        for pair in keys.windows(2) {
            assert_ne!(pair[0].1, pair[1].1, "one key for two: {pair:?}");
        }
    }

    /// Waits until nothing is left of what a node that was killed had started.
    pub(super) async fn until_alone(&self) {
        until("all that the node had started is gone", async || (alive(&self.mark) == 0).then_some(())).await;
    }
}

/// What a request is for, in one text.
fn asked_for(received: &Received) -> String {
    match received.path.as_str() {
        "/v1/chat/completions" => {
            format!("/model/{}", received.json["messages"][0]["content"].as_str().unwrap_or_default())
        }
        "/search" => {
            let query = received.query.split('&').find_map(|part| part.strip_prefix("q=")).unwrap_or_default();
            format!("/search/{}", query.replace("%2F", "/"))
        }
        path => path.to_owned(),
    }
}

fn answer(received: &Received) -> Reply {
    let later = |body: serde_json::Value| Reply::BodyAfter(2 * PAUSE, "application/json", body.to_string());
    match received.path.as_str() {
        "/v1/chat/completions" => later(json!({
            "id": "x", "object": "chat.completion", "model": "b-1",
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Yes."}}],
            "usage": {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25},
        })),
        "/search" => later(json!({"results": [{"title": "One", "url": "http://example.org/", "content": "one"}]})),
        _ => later(json!({})),
    }
}
