//! The interpreter as a component of the mission world.

use core::cell::OnceCell;
use core::time::Duration;

use serde_json::Value as Json;
use serde_json::value::RawValue;
use sortie_plugin::limits::Closing;
use sortie_plugin::report::Verdict;
use sortie_plugin::{Brief, CallError, Failure, Manifest, Mistake, Outcome, Pending, Plugin, Tools};
use sortie_plugin::{artifacts, human, json, limits, missions, model, report, time};

use crate::plan::{ASK, MISSION, MODEL};
use crate::{World, digits};

/// The plugin `automation`.
struct Automation;

impl Plugin for Automation {
    fn describe() -> Manifest {
        // The schema explains and forbids nothing: `check` says more of a mistake, and of each just once.
        let schema = json!({ "type": "object", "properties": { "steps": {
            "description": "A graph of tool calls: id, tool, with, needs, if, for_each, concurrency, retry, until, timeout, \
                            artifact, milestone, criterion, on_error, compensate, finally; model (prompt, system, schema, \
                            model, max_tokens), mission (objective, mission_type, plugin, inputs, constraints, budget, \
                            autonomy_window, success_criteria, artifact_policy, on_expiry), sleep (a duration) or steps (a sub-graph) in place of tool and with. Strings may hold {{ templates }} over inputs, \
                            objective, mission, steps.<id>.result, and item and index within for_each. The tool `ask` \
                            (with `question`) asks people and needs no grant.",
            "examples": [[{ "id": "find", "tool": "Glob", "with": { "pattern": "inbox/*.md" } }]],
        } } });
        Manifest::new("automation", env!("CARGO_PKG_VERSION"), "Runs the graph of tool calls in inputs.steps.")
            .inputs_schema(schema)
    }

    fn check(brief: &Brief) -> Vec<Mistake> {
        crate::check(brief)
    }

    fn run(brief: Brief, tools: Tools) -> Result<Outcome, Failure> {
        crate::run(&brief, &mut Granted(tools, OnceCell::new()))
    }
}

sortie_plugin::export!(Automation);

/// The mission world, with the tools that the mission was granted, and whether the node has a model: asking is written down by the node.
struct Granted(Tools, OnceCell<bool>);

/// A call on its way, a timer, or a signal.
enum Waiting {
    /// Of a tool, of people, or a timer.
    Call(Pending),
    /// Its result is a model's answer.
    Model(Pending),
    /// Its result is the end of a mission.
    Mission(Pending),
    Closing(Closing),
}

impl Waiting {
    fn pending(&self) -> &Pending {
        match self {
            Self::Call(pending) | Self::Model(pending) | Self::Mission(pending) => pending,
            Self::Closing(closing) => closing.pending(),
        }
    }
}

impl World for Granted {
    type Pending = Waiting;

    fn holds(&self, tool: &str) -> bool {
        let has_model = || *self.1.get_or_init(|| !model::describe().is_empty());
        let is_open = tool.eq_ignore_ascii_case(ASK) || tool == MISSION;
        self.0.get(tool).is_some() || is_open || tool == MODEL && has_model()
    }

    fn tools(&self) -> Vec<String> {
        self.0.iter().map(|tool| tool.name().to_owned()).collect()
    }

    fn schema(&self, tool: &str) -> Option<Json> {
        self.0.get(tool).map(|tool| tool.describe().input_schema)
    }

    fn start(&mut self, tool: &str, arguments: &Json) -> Result<Waiting, CallError> {
        match self.0.get(tool) {
            Some(tool) => tool.start(arguments).map(Waiting::Call),
            None if tool == MODEL => model::start(&crate::model::request(arguments)?, []).map(Waiting::Model),
            None if tool == MISSION => missions::dispatch(arguments).map(Waiting::Mission),
            None if tool.eq_ignore_ascii_case(ASK) => match arguments["question"].as_str() {
                Some(question) => Ok(Waiting::Call(human::start(question))),
                None => Err(CallError::InvalidArguments("/question must be a text: what people are asked".to_owned())),
            },
            None => Err(CallError::Denied(format!("the mission was not granted the tool {tool}"))),
        }
    }

    fn after(&mut self, duration: Duration) -> Waiting {
        Waiting::Call(time::after(duration))
    }

    fn now_ms(&mut self) -> u64 {
        time::now_ms()
    }

    fn wait_any(&mut self, waiting: &[&Waiting]) -> usize {
        sortie_plugin::wait_any(waiting.iter().map(|waiting| waiting.pending()))
    }

    fn result(&mut self, call: &Waiting) -> Result<Json, CallError> {
        let result: Box<RawValue> = call.pending().get_as()?;
        let result = digits::read(result.get()).map_err(|error| CallError::Failed(error.to_string()))?;
        match call {
            Waiting::Model(_) => crate::model::result(&result),
            Waiting::Mission(_) => crate::mission::result(result),
            Waiting::Call(_) | Waiting::Closing(_) => Ok(result),
        }
    }

    fn amended(&mut self, call: &Waiting) -> Option<Json> {
        call.pending().info().amended
    }

    fn closing(&mut self) -> Waiting {
        Waiting::Closing(limits::closing())
    }

    fn land(&mut self) {
        limits::land();
    }

    fn milestone(&mut self, text: &str) {
        report::milestone(text);
    }

    fn warn(&mut self, text: &str) {
        report::warn(text);
    }

    fn judge(&mut self, criterion: usize, met: bool, evidence: &str) {
        report::judge(criterion, if met { Verdict::Met } else { Verdict::Unmet }, evidence);
    }

    fn put(&mut self, name: &str, media_type: &str, bytes: &[u8]) -> Result<(), String> {
        artifacts::put(name, media_type, bytes).map(drop)
    }

    fn put_file(&mut self, name: &str, media_type: &str, path: &str) -> Result<(), String> {
        artifacts::put_file(name, media_type, path).map(drop)
    }
}
