//! A node played by a test: what `cargo test` of a plugin runs it against, without the sandbox and without a node.
//!
//! A test says what each tool answers and what people say, runs the plugin, and looks at what it did. Nothing waits: each call has its
//! result at once, timers move the clock, the first of several is ready first. What a real node adds (constraints, budgets, schemas,
//! replay) is not played; `sortie run` has it.
//!
//! ```
//! use sortie_plugin::testing::Node;
//! use sortie_plugin::{Brief, Failure, Manifest, Outcome, Plugin, Tools, artifacts, json, report};
//!
//! struct Greeter;
//!
//! impl Plugin for Greeter {
//!     fn describe() -> Manifest {
//!         Manifest::new("greeter", "0.1.0", "Reads a name and greets it.")
//!     }
//!
//!     fn run(_brief: Brief, tools: Tools) -> Result<Outcome, Failure> {
//!         let read = tools.require("Read")?;
//!         let file = read.call(&json!({ "path": "name.txt" })).map_err(|error| read.failure(&error))?;
//!         report::milestone("the name is known");
//!         artifacts::put("greeting.txt", "text/plain", format!("Hello, {}!", file["content"].as_str().unwrap_or("you")))?;
//!         Ok(Outcome::new("greeted"))
//!     }
//! }
//!
//! let node = Node::new().tool("Read", |arguments| {
//!     assert_eq!(arguments["path"], "name.txt");
//!     Ok(json!({ "path": "name.txt", "content": "Ada", "bytes": 3, "truncated": false }))
//! });
//! let ran = node.run::<Greeter>(Node::brief("greet", &json!({})));
//! assert!(ran.outcome.is_ok());
//! assert_eq!(ran.milestones, ["the name is known"]);
//! assert_eq!(ran.artifacts["greeting.txt"], b"Hello, Ada!");
//! ```

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::rc::Rc;

use serde_json::Value;

use crate::limits::Left;
use crate::model::ModelInfo;
use crate::report::{Level, Verdict};
use crate::{Brief, CallError, CallInfo, Failure, Outcome, Plugin, ToolInfo, Tools};

/// What a tool does in a test.
type Script = Rc<dyn Fn(Value) -> Result<Value, CallError>>;

thread_local! {
    /// The node that a plugin of this thread runs on.
    static NODE: RefCell<Option<Seen>> = const { RefCell::new(None) };
}

/// What a plugin did, and what it is still to be told.
#[derive(Default)]
struct Seen {
    milestones: Vec<String>,
    log: Vec<(Level, String)>,
    verdicts: Vec<(usize, Verdict, String)>,
    artifacts: BTreeMap<String, Vec<u8>>,
    questions: Vec<String>,
    amendments: VecDeque<(String, Value)>,
    answers: VecDeque<Result<String, CallError>>,
    asked: Vec<Value>,
    completions: VecDeque<Result<Value, CallError>>,
    dispatched: Vec<Value>,
    children: VecDeque<Result<Value, CallError>>,
    left_by_children: BTreeMap<(String, String), Vec<u8>>,
    left: Left,
    closing: bool,
    landed: bool,
    now_ms: u64,
}

/// A node played by a test.
#[derive(Default)]
pub struct Node {
    tools: Vec<Played>,
    seen: Seen,
}

/// What came of a run.
#[derive(Debug)]
pub struct Ran {
    /// How it ended.
    pub outcome: Result<Outcome, Failure>,
    /// The milestones, in order.
    pub milestones: Vec<String>,
    /// The lines of the log, in order.
    pub log: Vec<(Level, String)>,
    /// The verdicts: criterion, what became of it, why.
    pub verdicts: Vec<(usize, Verdict, String)>,
    /// The artifacts, by name. Of one that is a file of the workspace: its path.
    pub artifacts: BTreeMap<String, Vec<u8>>,
    /// What people were asked, in order.
    pub questions: Vec<String>,
    /// What models were asked, in order.
    pub asked: Vec<Value>,
    /// What it dispatched, in order.
    pub dispatched: Vec<Value>,
    /// Whether it said that it lands.
    pub landed: bool,
}

impl Node {
    /// One that grants nothing, at the time 0.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A brief with this objective and these inputs, and nothing else of note.
    #[must_use]
    pub fn brief(objective: &str, inputs: &Value) -> Brief {
        Brief {
            mission_id: "test".to_owned(),
            vp_id: "vp.test".to_owned(),
            vp_session_id: "vp.test.session".to_owned(),
            mission_type: "custom".to_owned(),
            objective: objective.to_owned(),
            inputs_text: inputs.to_string(),
            success_criteria: Vec::new(),
            required_outputs: Vec::new(),
        }
    }

    /// The same, and the mission is granted a tool that does this.
    #[must_use]
    pub fn tool(mut self, name: &str, script: impl Fn(Value) -> Result<Value, CallError> + 'static) -> Self {
        self.tools.push(Played { name: name.to_owned(), script: Rc::new(script) });
        self
    }

    /// The same, and the next call of the tool is approved with these arguments in place of its own.
    #[must_use]
    pub fn amend(mut self, tool: &str, arguments: Value) -> Self {
        self.seen.amendments.push_back((tool.to_owned(), arguments));
        self
    }

    /// The same, and the next question is answered so; [`CallError::Denied`] turns it down.
    #[must_use]
    pub fn answer(mut self, answer: Result<&str, CallError>) -> Self {
        self.seen.answers.push_back(answer.map(str::to_owned));
        self
    }

    /// The same, and the next request to a model is answered so.
    #[must_use]
    pub fn model(mut self, answer: Result<Value, CallError>) -> Self {
        self.seen.completions.push_back(answer);
        self
    }

    /// The same, and the next child that it dispatches ends so; an error says that it is not dispatched.
    #[must_use]
    pub fn child(mut self, ended: Result<Value, CallError>) -> Self {
        self.seen.children.push_back(ended);
        self
    }

    /// The same, and the child of that name left an artifact.
    #[must_use]
    pub fn left_by_child(mut self, mission_id: &str, name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.seen.left_by_children.insert((mission_id.to_owned(), name.to_owned()), bytes.into());
        self
    }

    /// The same, and so much is left of the budget; with `closing`, a limit is near already.
    #[must_use]
    pub fn left(mut self, left: Left, closing: bool) -> Self {
        (self.seen.left, self.seen.closing) = (left, closing);
        self
    }

    /// Runs a plugin to its end.
    ///
    /// # Panics
    /// As the plugin does.
    #[must_use]
    pub fn run<P: Plugin>(self, brief: Brief) -> Ran {
        let before = NODE.replace(Some(self.seen));
        let outcome = P::run(brief, Tools::played(self.tools));
        let seen = NODE.replace(before).unwrap_or_default();
        let Seen { milestones, log, verdicts, artifacts, questions, asked, dispatched, landed, .. } = seen;
        Ran { outcome, milestones, log, verdicts, artifacts, questions, asked, dispatched, landed }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("tools", &self.tools).finish_non_exhaustive()
    }
}

/// A tool of a test.
pub(crate) struct Played {
    pub(crate) name: String,
    script: Script,
}

impl fmt::Debug for Played {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Played").field(&self.name).finish()
    }
}

impl Played {
    pub(crate) fn call(&self, arguments: &str) -> (Result<String, CallError>, CallInfo) {
        let amended = node("tool.call", |seen| {
            let next = seen.amendments.iter().position(|(tool, _)| tool.eq_ignore_ascii_case(&self.name))?;
            seen.amendments.remove(next).map(|(_, arguments)| arguments)
        });
        let arguments = match &amended {
            Some(amended) => Ok(amended.clone()),
            None => serde_json::from_str(arguments).map_err(|error| CallError::Failed(error.to_string())),
        };
        let result = arguments.and_then(|arguments| (self.script)(arguments)).map(|result| result.to_string());
        (result, CallInfo { amended })
    }

    pub(crate) fn describe(&self) -> ToolInfo {
        ToolInfo {
            name: self.name.clone(),
            description: "played by a test".to_owned(),
            input_schema: Value::Bool(true),
            effects: Vec::new(),
            read_only: false,
        }
    }
}

/// Does something to the node of this thread; `what` is what the plugin asked for.
fn node<T>(what: &str, then: impl FnOnce(&mut Seen) -> T) -> T {
    NODE.with_borrow_mut(|node| {
        let seen = node.as_mut().unwrap_or_else(|| {
            panic!(
                "`{what}` is answered by a node, and this is native code without one: run the plugin with \
                 `sortie_plugin::testing::Node` in tests, and with `sortie run` for real"
            )
        });
        then(seen)
    })
}

pub(crate) fn models() -> Vec<ModelInfo> {
    let played = |_: &mut Seen| ModelInfo {
        name: "played".to_owned(),
        context_tokens: None,
        takes_tools: true,
        takes_images: true,
        takes_schemas: true,
        is_default: true,
    };
    vec![node("model::describe", played)]
}

pub(crate) fn complete(request: &str, tools: Vec<String>) -> Result<String, CallError> {
    let mut request: Value = serde_json::from_str(request).map_err(|error| CallError::Failed(error.to_string()))?;
    if let Some(request) = request.as_object_mut() {
        request.insert("tools".to_owned(), tools.into());
    }
    node("model::complete", |seen| {
        seen.asked.push(request);
        let answer = seen.completions.pop_front();
        let none = || Err(CallError::Failed("the test has no further answer of a model".to_owned()));
        answer.unwrap_or_else(none).map(|answer| answer.to_string())
    })
}

pub(crate) fn dispatch(order: &str) -> Result<String, CallError> {
    let order: Value = serde_json::from_str(order).map_err(|error| CallError::Failed(error.to_string()))?;
    node("missions::dispatch", |seen| {
        seen.dispatched.push(order);
        let none = || Err(CallError::Failed("the test has no further end of a child".to_owned()));
        seen.children.pop_front().unwrap_or_else(none).map(|ended| ended.to_string())
    })
}

pub(crate) fn artifact_of(mission_id: &str, name: &str) -> Result<Vec<u8>, String> {
    let place = (mission_id.to_owned(), name.to_owned());
    let none = || format!("no mission `{mission_id}` that this one has dispatched left an artifact `{name}`");
    node("missions::artifact", |seen| seen.left_by_children.get(&place).cloned().ok_or_else(none))
}

pub(crate) fn deadline_ms() -> Option<u64> {
    node("limits::deadline_ms", |seen| Some(seen.now_ms.saturating_add(seen.left.runtime_ms)))
}

pub(crate) fn left() -> Left {
    node("limits::left", |seen| seen.left)
}

pub(crate) fn is_closing() -> bool {
    node("limits::closing", |seen| seen.closing)
}

pub(crate) fn land() {
    node("limits::land", |seen| seen.landed = true);
}

pub(crate) fn milestone(text: &str) {
    node("report::milestone", |seen| seen.milestones.push(text.to_owned()));
}

pub(crate) fn log(level: Level, text: &str) {
    node("report::log", |seen| seen.log.push((level, text.to_owned())));
}

pub(crate) fn judge(criterion: usize, verdict: Verdict, evidence: &str) {
    node("report::judge", |seen| seen.verdicts.push((criterion, verdict, evidence.to_owned())));
}

pub(crate) fn put(name: &str, bytes: &[u8]) {
    node("artifacts::put", |seen| drop(seen.artifacts.insert(name.to_owned(), bytes.to_vec())));
}

pub(crate) fn get(name: &str) -> Result<Vec<u8>, String> {
    let none = || format!("this mission has no artifact `{name}`");
    node("artifacts::get", |seen| seen.artifacts.get(name).cloned().ok_or_else(none))
}

pub(crate) fn now_ms() -> u64 {
    node("time::now_ms", |seen| seen.now_ms)
}

pub(crate) fn after(ms: u64) {
    node("time::after", |seen| seen.now_ms = seen.now_ms.saturating_add(ms));
}

pub(crate) fn ask(question: &str) -> Result<String, CallError> {
    node("human::ask", |seen| {
        seen.questions.push(question.to_owned());
        let unanswered = || Err(CallError::Failed(format!("the test says no answer to {question:?}")));
        seen.answers.pop_front().unwrap_or_else(unanswered).map(|answer| Value::String(answer).to_string())
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Manifest, artifacts, human, json, report, time, wait_any};

    struct Everything;

    impl Plugin for Everything {
        fn describe() -> Manifest {
            Manifest::new("everything", "0.1.0", "Asks its node for everything.")
        }

        fn run(brief: Brief, tools: Tools) -> Result<Outcome, Failure> {
            let begun = time::now_ms();
            let twice = tools.require("Double")?;
            let pending = [twice.start(&json!(brief.inputs::<u32>()?))?, time::after(Duration::from_secs(2))];
            let first = wait_any(&pending);
            let doubled: u32 = pending[first].get_as()?;
            report::judge(0, Verdict::Met, "counted");
            report::info(format!("{} {}", human::ask("Well?")?, time::now_ms() - begun));
            artifacts::put("n", "text/plain", doubled.to_string())?;
            assert_eq!(artifacts::get("n"), Ok(doubled.to_string().into_bytes()));
            let refused = human::ask("And now?").expect_err("it is turned down");
            report::milestone(refused.to_string());
            twice.call(&json!("x")).map_err(|error| twice.failure(&error))?;
            Ok(Outcome::new("never"))
        }
    }

    #[test]
    fn a_plugin_runs_natively_on_a_node_that_a_test_plays() {
        let double = |arguments: Value| {
            let number = arguments.as_u64().ok_or_else(|| CallError::InvalidArguments("a number".to_owned()))?;
            Ok(json!(2 * number))
        };
        let node = Node::new().tool("Double", double).answer(Ok("yes")).answer(Err(CallError::Denied("no".to_owned())));
        let ran = node.run::<Everything>(Node::brief("double", &json!(21)));
        let failure = ran.outcome.expect_err("the last call fails");
        assert_eq!((failure.summary.as_str(), failure.tool.as_deref()), ("Double: a number", Some("Double")));
        assert_eq!(ran.artifacts["n"], b"42");
        assert_eq!(ran.log, [(Level::Info, "yes 2000".to_owned())]);
        assert_eq!(ran.verdicts, [(0, Verdict::Met, "counted".to_owned())]);
        assert_eq!((ran.questions.len(), ran.milestones), (2, vec!["no".to_owned()]));
        let bare = Node::new().run::<Everything>(Node::brief("double", &json!(21)));
        assert!(bare.outcome.is_err_and(|failure| failure.summary.contains("not granted the tool Double")));
    }

    struct Amended;

    impl Plugin for Amended {
        fn describe() -> Manifest {
            Manifest::new("amended", "0.1.0", "Calls a tool that people have a say in.")
        }

        fn run(_: Brief, tools: Tools) -> Result<Outcome, Failure> {
            let told = |pending: &crate::Pending| (pending.get(), pending.info().amended);
            let same = tools.require("Same")?;
            assert_eq!(same.call_with_info(&json!(1)), (Ok(json!(2)), CallInfo { amended: Some(json!(2)) }));
            assert_eq!(told(&same.start(&json!(3))?), (Ok(json!(4)), Some(json!(4))));
            assert_eq!(told(&same.start(&json!(5))?), (Ok(json!(5)), None));
            assert_eq!(told(&time::after(Duration::ZERO)), (Ok(json!(null)), None));
            Ok(Outcome::new("told"))
        }
    }

    #[test]
    fn a_plugin_is_told_what_its_calls_were_made_with() {
        let node = Node::new().tool("Same", Ok).amend("same", json!(2)).amend("Same", json!(4));
        assert!(node.run::<Amended>(Node::brief("told", &json!({}))).outcome.is_ok());
    }

    #[test]
    #[should_panic(expected = "`report::milestone` is answered by a node, and this is native code without one")]
    fn without_a_node_it_is_said_what_is_missing() {
        report::milestone("nobody hears it");
    }
}
