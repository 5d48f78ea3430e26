//! The kinds of calls that a load makes. Of each: the steps of a mission, whether a call that nobody knows of was made after all, what
//! it would have returned, and what must hold at the end.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::outside::{MODEL_COST_USD, Outside, SEARCH_COST_USD};
use crate::envelope::{automation, edit, with, write};
use crate::{Node, workspace_of};

/// Calls of its kind that each mission makes.
const CALLS: usize = 4;

/// What a mission may spend at first, and what it is granted each time that it asks for more, in US dollars.
pub(super) const ALLOWANCE_USD: f64 = 0.005;

/// A kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A tool of the node that changes a file, and must not do so twice.
    Edit,
    /// A command, with a process that hides from it.
    Bash,
    /// A request that changes something at a service.
    Request,
    /// A tool of a tool server, a program.
    Server,
    /// A question to a model, which is paid for.
    Model,
    /// A search, which is paid for and may be repeated.
    Search,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Edit, Self::Bash, Self::Request, Self::Server, Self::Model, Self::Search];

    /// The tool that its calls are recorded under.
    #[must_use]
    pub fn tool(self) -> &'static str {
        match self {
            Self::Edit => "Edit",
            Self::Bash => "Bash",
            Self::Request => "HttpRequest",
            Self::Server => "mcp__outside__append",
            Self::Model => "model",
            Self::Search => "WebSearch",
        }
    }

    /// A mission of calls of this kind, one after the other; behind them it reads what its file holds. One that is `careful` has to
    /// ask before the first.
    pub(super) fn mission(self, id: &str, outside: Option<&Outside>, careful: bool) -> Value {
        let mut steps = vec![write("w", "log.txt", if self == Self::Edit { "END" } else { "" })];
        for number in 0..CALLS {
            let mut step = self.step(id, number, outside);
            step["needs"] = json!([if number == 0 { "w".to_owned() } else { format!("c{}", number - 1) }]);
            step["milestone"] = json!(format!("call {number}"));
            steps.push(step);
        }
        steps
            .push(json!({"id": "r", "tool": "Read", "with": {"path": "log.txt"}, "needs": [format!("c{}", CALLS - 1)],
            "artifact": {"name": "log.txt", "content": "{{ steps.r.result.content }}"}}));
        let envelope = automation(id, &json!(steps));
        let tools = ["Read", "Write", "Edit", "Bash", "HttpRequest", "WebSearch", "mcp__outside__*"];
        let envelope = with(envelope, "/constraints/allowed_tools", json!(tools));
        let envelope = with(envelope, "/artifact_policy/required_outputs", json!(["log.txt"]));
        let envelope = with(envelope, "/budget", json!({"max_cost_usd": ALLOWANCE_USD}));
        if careful { with(envelope, "/constraints/approval_required", json!([self.tool()])) } else { envelope }
    }

    fn step(self, id: &str, number: usize, outside: Option<&Outside>) -> Value {
        let step = format!("c{number}");
        let outside = || outside.expect("only edits need nothing outside");
        match self {
            Self::Edit => edit(&step, "log.txt", "END", &format!("{number}END")),
            Self::Bash => json!({"id": step, "tool": "Bash", "with": {"command": outside().command(&line(number))}}),
            Self::Request => json!({"id": step, "tool": "HttpRequest",
                "with": {"method": "POST", "url": outside().url(&format!("/count/{id}/{number}")), "body": "once"}}),
            Self::Server => json!({"id": step, "tool": self.tool(), "with": {"step": format!("{id}/{number}")}}),
            Self::Model => json!({"id": step, "model": {"prompt": format!("{id}/{number}"), "max_tokens": 50}}),
            Self::Search => json!({"id": step, "tool": "WebSearch", "with": {"query": format!("{id}/{number}")}}),
        }
    }

    /// What is said of a call of which the node does not know whether it was made: what whoever looks there sees.
    pub(super) fn decision(self, node: &Node, id: &str, arguments: &Value, outside: Option<&Outside>) -> Value {
        let text = |name: &str| arguments[name].as_str().unwrap_or("?").to_owned();
        let outside = || outside.expect("only edits need nothing outside");
        let log = || log_of(node, id).unwrap_or_default();
        let (is_made, result) = match self {
            Self::Edit => (log().contains(&text("new")), json!({"path": "log.txt", "replaced": 1})),
            Self::Bash => {
                let number = (0..CALLS).find(|number| text("command").contains(&line(*number))).expect("its command");
                let result =
                    json!({"exit_code": 0, "stdout": "", "stderr": "", "truncated": false, "timed_out": false});
                (log().contains(&line(number)), result)
            }
            Self::Request => {
                let times = outside().times(&text("url").split_off(outside().url("").len()));
                (times > 0, json!({"status": 200, "headers": {}, "text": ""}))
            }
            Self::Server => (outside().appended(&text("step")) > 0, json!({"text": "appended"})),
            Self::Model | Self::Search => panic!("{id}: {self:?} may be repeated, and nobody is asked"),
        };
        if is_made { json!({"decision": "record", "result": result}) } else { json!({"decision": "repeat"}) }
    }

    /// Sees that at the end of a mission each call was made once, or was paid for as often as it was made, within `budget_usd`.
    pub(super) fn held(self, node: &Node, id: &str, usage: &Value, budget_usd: f64, outside: Option<&Outside>) {
        let log = log_of(node, id).expect("a log");
        let outside = || outside.expect("only edits need nothing outside");
        let spent = usage["estimated_cost_usd"].as_f64().expect("what was spent");
        // What is written in the clear is exact to a micro-dollar; the sum of two of them is not.
        assert!(spent <= budget_usd + 1e-9, "{id}: {spent} of {budget_usd} was spent");
        let paths =
            |path: &str| (0..CALLS).map(|number| outside().times(&format!("{path}{id}/{number}"))).collect::<Vec<_>>();
        match self {
            Self::Edit => assert_eq!(log, (0..CALLS).map(|n| n.to_string()).collect::<String>() + "END", "{id}"),
            Self::Bash => assert_eq!(log, (0..CALLS).map(|n| line(n) + "\n").collect::<String>(), "{id}"),
            Self::Request => assert_eq!(paths("/count/"), [1; CALLS], "{id}: each request once"),
            Self::Server => {
                let times: Vec<usize> =
                    (0..CALLS).map(|number| outside().appended(&format!("{id}/{number}"))).collect();
                assert_eq!(times, [1; CALLS], "{id}: each call of the server once");
            }
            Self::Model => {
                let asked = paths("/model/");
                assert!(asked.iter().all(|times| *times > 0), "{id}: {asked:?}");
                let billed = asked.iter().sum::<usize>();
                assert!(usage["llm_calls"].as_u64() >= Some(billed as u64), "{id}: {billed} asked, {usage}");
                paid(id, billed, MODEL_COST_USD, spent);
            }
            Self::Search => {
                let asked = paths("/search/");
                assert!(asked.iter().all(|times| *times > 0), "{id}: {asked:?}");
                paid(id, asked.iter().sum(), SEARCH_COST_USD, spent);
            }
        }
    }
}

/// What was billed outside is booked.
#[expect(clippy::cast_precision_loss, reason = "a few calls")]
fn paid(id: &str, times: usize, each: f64, spent: f64) {
    let billed = times as f64 * each;
    assert!(billed <= spent + 1e-9, "{id}: {billed} was billed for {times} calls, and {spent} booked");
}

/// The line that a command leaves behind.
fn line(number: usize) -> String {
    format!("call-{number}")
}

/// What a mission's file holds.
fn log_of(node: &Node, id: &str) -> std::io::Result<String> {
    std::fs::read_to_string(workspace_of(node, &format!("vp.{id}")).join("log.txt"))
}

/// How often a mission was killed in the middle of a call of its kind: a call is on record, its end is not, and a run begins again.
pub(super) fn interrupted(records: &[Value], tool: &str) -> usize {
    let (mut made, mut waiting) = (BTreeSet::new(), BTreeSet::new());
    let mut times = 0;
    for record in records {
        let (body, call) = (&record["body"], record["body"]["call"].as_u64());
        match (record["kind"].as_str().unwrap_or_default(), call) {
            ("call_started", Some(call)) if body["tool"] == tool => drop(made.insert(call)),
            ("call_held", Some(call)) if body["tool"] == tool => drop(waiting.insert(call)),
            ("requested", Some(call)) if made.remove(&call) => drop(waiting.insert(call)),
            ("call_resumed", Some(call)) if waiting.remove(&call) => drop(made.insert(call)),
            ("call_finished", Some(call)) => {
                made.remove(&call);
                waiting.remove(&call);
            }
            ("started", _) => times += made.len(),
            _ => {}
        }
    }
    times
}
