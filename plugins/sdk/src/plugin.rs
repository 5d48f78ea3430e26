//! The face of a plugin: what it says of itself, what it finds wrong, how it ends.

use std::marker::PhantomData;
use std::time::Duration;

use serde_json::Value;

use crate::bindings::world;
use crate::{Brief, CallError, Tools, report};

/// A mission plugin. [`crate::export!`] makes it a component.
///
/// Every function is called in an instance of its own: nothing is kept from one call to the next.
pub trait Plugin {
    /// Who the plugin is. Called once, when it is installed.
    fn describe() -> Manifest;

    /// What is wrong with a brief, found before its mission is accepted. Tools, artifacts, reports, people and time are not
    /// there yet: using them here ends the check. Nor is it said whose mission it is: `mission_id`, `vp_id` and
    /// `vp_session_id` are empty.
    fn check(brief: &Brief) -> Vec<Mistake> {
        let _ = brief;
        Vec::new()
    }

    /// Does the mission with the tools that it was granted.
    ///
    /// # Errors
    /// A [`Failure`] when it cannot be done; `?` makes one of most errors.
    fn run(brief: Brief, tools: Tools) -> Result<Outcome, Failure>;
}

/// What a plugin says of itself.
#[derive(Debug, Clone)]
pub struct Manifest {
    name: String,
    version: String,
    description: String,
    inputs_schema: Option<Value>,
    needs: Vec<world::Need>,
    particulars: world::Particulars,
}

impl Manifest {
    /// A plugin's name (`a-z0-9-`, at most 64 characters), its version (SemVer), and a sentence or two about it.
    pub fn new(name: impl Into<String>, version: impl Into<String>, description: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            version: version.into(),
            description: description.into(),
            inputs_schema: None,
            needs: Vec::new(),
            particulars: world::Particulars {
                optional_tools: Vec::new(),
                memory_bytes: None,
                runtime_ms: None,
                examples: Vec::new(),
                outputs_schema: None,
            },
        }
    }

    /// Declares the JSON Schema of the brief's `inputs`. The node checks it before a mission is accepted.
    #[must_use]
    pub fn inputs_schema(mut self, schema: Value) -> Self {
        self.inputs_schema = Some(schema);
        self
    }

    /// Declares that no mission of the plugin can be done without a model: where the node has none, they are refused at intake.
    #[must_use]
    pub fn needs_model(mut self) -> Self {
        self.needs.push(world::Need::Model);
        self
    }

    /// Declares that no mission of the plugin can be done without this tool: those that would not be granted it are refused at intake.
    #[must_use]
    pub fn needs_tool(mut self, name: impl Into<String>) -> Self {
        self.needs.push(world::Need::Tool(name.into()));
        self
    }

    /// Declares that no mission of the plugin can be done without one of these tools, whichever: those that would be granted none are
    /// refused at intake.
    #[must_use]
    pub fn needs_one_of<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.needs.push(world::Need::OneOf(names.into_iter().map(Into::into).collect()));
        self
    }

    /// Declares a tool that the plugin makes use of where it is granted it, and can do without.
    #[must_use]
    pub fn uses_tool(mut self, name: impl Into<String>) -> Self {
        self.particulars.optional_tools.push(name.into());
        self
    }

    /// Declares how much memory a run may take, in MiB: a node that gives its plugins less does not install it.
    #[must_use]
    pub fn needs_memory_mib(mut self, mib: u32) -> Self {
        self.particulars.memory_bytes = Some(u64::from(mib) << 20);
        self
    }

    /// Declares the run time without which no mission of the plugin can be done: those with less are refused at intake.
    #[must_use]
    pub fn needs_run_time(mut self, time: Duration) -> Self {
        self.particulars.runtime_ms = Some(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// Shows inputs that a mission may have, a JSON object; the node holds it against the schema when the plugin is installed.
    #[must_use]
    pub fn example(mut self, inputs: &Value) -> Self {
        self.particulars.examples.push(inputs.to_string());
        self
    }

    /// Declares what missions leave: the JSON Schema of an object that has each artifact as a property, by its name.
    #[must_use]
    pub fn outputs_schema(mut self, schema: &Value) -> Self {
        self.particulars.outputs_schema = Some(schema.to_string());
        self
    }
}

/// Something wrong with a brief: where it is, a stable code for programs, a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// JSON Pointer (RFC 6901) into the envelope, such as `/inputs/steps/2/needs/0`.
    pub pointer: String,
    /// A stable code for programs.
    pub code: String,
    /// A sentence for people.
    pub detail: String,
}

impl Mistake {
    /// A mistake at `pointer`.
    pub fn new(pointer: impl Into<String>, code: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), code: code.into(), detail: detail.into() }
    }
}

/// The mission is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// One line for people.
    pub summary: String,
    /// The one thing that somebody should do next, if there is one.
    pub next_action: Option<String>,
}

impl Outcome {
    /// Done, in a line for people.
    pub fn new(summary: impl Into<String>) -> Self {
        Self { summary: summary.into(), next_action: None }
    }

    /// Recommends the one thing that somebody should do next.
    #[must_use]
    pub fn next_action(mut self, text: impl Into<String>) -> Self {
        self.next_action = Some(text.into());
        self
    }
}

/// The mission could not be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// One line for people.
    pub summary: String,
    /// The tool whose call is to blame, if one is.
    pub tool: Option<String>,
    /// The one thing that somebody should do next, if there is one.
    pub next_action: Option<String>,
}

impl Failure {
    /// Not done, and why, in a line for people.
    pub fn new(summary: impl Into<String>) -> Self {
        Self { summary: summary.into(), tool: None, next_action: None }
    }

    /// A call of `tool` is to blame.
    #[must_use]
    pub fn of_tool(mut self, tool: impl Into<String>) -> Self {
        self.tool = Some(tool.into());
        self
    }

    /// Recommends the one thing that somebody should do next.
    #[must_use]
    pub fn next_action(mut self, text: impl Into<String>) -> Self {
        self.next_action = Some(text.into());
        self
    }
}

macro_rules! failure_from {
    ($($error:ty),*) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::new(error.to_string())
            }
        })*
    };
}

failure_from!(String, &str, serde_json::Error, CallError);

impl From<Mistake> for Failure {
    fn from(mistake: Mistake) -> Self {
        Self::new(format!("{}: {}", mistake.pointer, mistake.detail))
    }
}

/// The first of them: a node refuses such a brief at intake, and tells all of them there.
impl From<Vec<Mistake>> for Failure {
    fn from(mistakes: Vec<Mistake>) -> Self {
        mistakes.into_iter().next().map_or_else(|| Self::new("the inputs are wrong"), Self::from)
    }
}

/// Between the generated face of the world and [`Plugin`]. Named by [`crate::export!`] only.
#[doc(hidden)]
#[derive(Debug)]
pub struct Adapter<P>(PhantomData<P>);

impl<P: Plugin> world::Guest for Adapter<P> {
    fn describe() -> world::Manifest {
        explain_panics();
        let Manifest { name, version, description, inputs_schema, needs, particulars: _ } = P::describe();
        let inputs_schema = inputs_schema.map(|schema| schema.to_string());
        world::Manifest { name, version, description, inputs_schema, needs }
    }

    fn profile() -> world::Particulars {
        explain_panics();
        P::describe().particulars
    }

    fn check(brief: world::Brief) -> Vec<world::Mistake> {
        explain_panics();
        let mistakes = P::check(&brief.into());
        mistakes.into_iter().map(|Mistake { pointer, code, detail }| world::Mistake { pointer, code, detail }).collect()
    }

    fn run(brief: world::Brief, tools: Vec<world::tools::Tool>) -> Result<world::Outcome, world::Failure> {
        explain_panics();
        match P::run(brief.into(), Tools::new(tools)) {
            Ok(Outcome { summary, next_action }) => Ok(world::Outcome { summary, next_action }),
            Err(Failure { summary, tool, next_action }) => Err(world::Failure { summary, tool, next_action }),
        }
    }
}

/// The target's own panic is a bare `unreachable`. The host takes the last error that was logged as its explanation.
fn explain_panics() {
    std::panic::set_hook(Box::new(|panic| report::error(panic.to_string())));
}
