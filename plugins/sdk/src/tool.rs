//! Tools, as capabilities: whoever holds a [`Tool`] may call it.

use std::cell::OnceCell;
use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Failure;
use crate::bindings::world::{tools, types};
#[cfg(not(target_arch = "wasm32"))]
use crate::testing::Played;

/// The tools that the mission was granted.
pub struct Tools(Vec<Tool>);

impl Tools {
    pub(crate) fn new(handles: Vec<tools::Tool>) -> Self {
        Self(
            handles.into_iter().map(|handle| Tool { handle: Handle::Granted(handle), name: OnceCell::new() }).collect(),
        )
    }

    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn played(tools: Vec<Played>) -> Self {
        Self(tools.into_iter().map(|tool| Tool { handle: Handle::Played(tool), name: OnceCell::new() }).collect())
    }

    /// The tool of that name, without regard to case; `None` where the mission was not granted it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Tool> {
        self.0.iter().find(|tool| tool.name().eq_ignore_ascii_case(name))
    }

    /// The tool of that name, which the plugin cannot do without.
    ///
    /// # Errors
    /// A [`Failure`] that names the tool, for `?`.
    pub fn require(&self, name: &str) -> Result<&Tool, Failure> {
        self.get(name).ok_or_else(|| {
            Failure::new(format!("the mission was not granted the tool {name}"))
                .next_action(format!("add {name} to constraints.allowed_tools"))
        })
    }

    /// All of them, in the node's order.
    pub fn iter(&self) -> std::slice::Iter<'_, Tool> {
        self.0.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the mission was granted none at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> IntoIterator for &'a Tools {
    type Item = &'a Tool;
    type IntoIter = std::slice::Iter<'a, Tool>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The permission to call one tool.
pub struct Tool {
    handle: Handle,
    name: OnceCell<String>,
}

/// Who answers.
enum Handle {
    /// The node that runs the plugin.
    Granted(tools::Tool),
    /// A test.
    #[cfg(not(target_arch = "wasm32"))]
    Played(Played),
}

/// What a tool is.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolInfo {
    /// Such as `Read` or `mcp__github__create_issue`.
    pub name: String,
    /// A sentence or two.
    pub description: String,
    /// JSON Schema of the arguments.
    pub input_schema: Value,
    /// Effect classes, such as `outbound_email`.
    pub effects: Vec<String>,
    /// It changes nothing.
    pub read_only: bool,
}

impl Tool {
    /// Its name, as the node writes it.
    pub fn name(&self) -> &str {
        self.name.get_or_init(|| match &self.handle {
            Handle::Granted(tool) => tool.name(),
            #[cfg(not(target_arch = "wasm32"))]
            Handle::Played(tool) => tool.name.clone(),
        })
    }

    /// What it is for and what it takes.
    pub fn describe(&self) -> ToolInfo {
        let described = match &self.handle {
            Handle::Granted(tool) => tool.describe(),
            #[cfg(not(target_arch = "wasm32"))]
            Handle::Played(tool) => return tool.describe(),
        };
        let types::ToolInfo { name, description, input_schema, effects, read_only } = described;
        let input_schema = serde_json::from_str(&input_schema).unwrap_or(Value::Bool(true));
        ToolInfo { name, description, input_schema, effects, read_only }
    }

    /// Its handle, where the node that runs the plugin gave it one.
    #[cfg(target_arch = "wasm32")]
    pub(crate) fn granted(&self) -> Option<&tools::Tool> {
        let Handle::Granted(tool) = &self.handle;
        Some(tool)
    }

    /// Calls it and waits for the result.
    ///
    /// # Errors
    /// [`CallError`]: a refusal is a value, too.
    pub fn call<A: Serialize + ?Sized>(&self, arguments: &A) -> Result<Value, CallError> {
        self.call_as(arguments)
    }

    /// Calls it and waits for the result, in the form that the plugin wants it.
    ///
    /// # Errors
    /// [`CallError`]; a result of another form is [`CallError::Failed`].
    pub fn call_as<A: Serialize + ?Sized, T: DeserializeOwned>(&self, arguments: &A) -> Result<T, CallError> {
        let arguments = text(arguments)?;
        read(match &self.handle {
            Handle::Granted(tool) => tool.call(&arguments).map_err(CallError::from),
            #[cfg(not(target_arch = "wasm32"))]
            Handle::Played(tool) => tool.call(&arguments).0,
        })
    }

    /// Calls it and waits for the result and for what became of the call beside it.
    ///
    /// # Errors
    /// [`CallError`], as from [`Tool::call`]; the info is there in any case. It is one of the 64 calls in flight meanwhile.
    pub fn call_with_info<A: Serialize + ?Sized>(&self, arguments: &A) -> (Result<Value, CallError>, CallInfo) {
        match self.start(arguments) {
            Ok(pending) => (pending.get(), pending.info()),
            Err(error) => (Err(error), CallInfo::default()),
        }
    }

    /// Calls it and goes on. At most 64 calls of a mission are in flight; one more fails.
    ///
    /// # Errors
    /// [`CallError::InvalidArguments`] when the arguments cannot be written as JSON. Everything else is the [`Pending`]'s.
    pub fn start<A: Serialize + ?Sized>(&self, arguments: &A) -> Result<Pending, CallError> {
        let arguments = text(arguments)?;
        Ok(match &self.handle {
            Handle::Granted(tool) => Pending::of_node(tool.start(&arguments)),
            #[cfg(not(target_arch = "wasm32"))]
            Handle::Played(tool) => {
                let (result, info) = tool.call(&arguments);
                Pending(Waiting::Known(result, info))
            }
        })
    }

    /// The mission's failure, where this tool's `error` is to blame.
    #[must_use]
    pub fn failure(&self, error: &CallError) -> Failure {
        Failure::new(format!("{}: {error}", self.name())).of_tool(self.name())
    }
}

impl fmt::Debug for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tool").field(&self.name()).finish()
    }
}

impl fmt::Debug for Tools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

/// A call on its way, or a timer. Dropping it cancels the call.
#[derive(Debug)]
pub struct Pending(Waiting);

/// Who knows the result.
#[derive(Debug)]
enum Waiting {
    /// The node that runs the plugin.
    Node(tools::Pending),
    /// A test, at once.
    #[cfg(not(target_arch = "wasm32"))]
    Known(Result<String, CallError>, CallInfo),
}

/// What became of a call beside its result.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CallInfo {
    /// What it was made with, where whoever approved it changed the arguments.
    pub amended: Option<Value>,
}

impl Pending {
    pub(crate) fn of_node(pending: tools::Pending) -> Self {
        Self(Waiting::Node(pending))
    }

    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn known(result: Result<String, CallError>) -> Self {
        Self(Waiting::Known(result, CallInfo::default()))
    }

    /// Waits for the result. Every further time the result is the same.
    ///
    /// # Errors
    /// [`CallError`], as from [`Tool::call`].
    pub fn get(&self) -> Result<Value, CallError> {
        self.get_as()
    }

    /// Waits for the result, in the form that the plugin wants it.
    ///
    /// # Errors
    /// [`CallError`]; a result of another form is [`CallError::Failed`].
    pub fn get_as<T: DeserializeOwned>(&self) -> Result<T, CallError> {
        read(match &self.0 {
            Waiting::Node(pending) => pending.get().map_err(CallError::from),
            #[cfg(not(target_arch = "wasm32"))]
            Waiting::Known(result, _) => result.clone(),
        })
    }

    /// Waits for the result, and says what became of the call beside it.
    pub fn info(&self) -> CallInfo {
        match &self.0 {
            Waiting::Node(pending) => {
                let tools::CallInfo { amended } = pending.info();
                // It was JSON when it was approved.
                CallInfo { amended: amended.and_then(|amended| serde_json::from_str(&amended).ok()) }
            }
            #[cfg(not(target_arch = "wasm32"))]
            Waiting::Known(_, info) => info.clone(),
        }
    }
}

/// Waits until at least one of these is ready and says which: an index into `pending`.
///
/// # Panics
/// When `pending` is empty: nothing would ever be ready.
pub fn wait_any<'a>(pending: impl IntoIterator<Item = &'a Pending>) -> usize {
    let mut handles: Vec<&tools::Pending> = Vec::new();
    for pending in pending {
        match &pending.0 {
            Waiting::Node(pending) => handles.push(pending),
            // What a test says is ready at once.
            #[cfg(not(target_arch = "wasm32"))]
            Waiting::Known(..) => return handles.len(),
        }
    }
    assert!(!handles.is_empty(), "wait_any needs something to wait for");
    tools::wait_any(&handles) as usize
}

pub(crate) fn text<A: Serialize + ?Sized>(arguments: &A) -> Result<String, CallError> {
    serde_json::to_string(arguments).map_err(|error| CallError::InvalidArguments(error.to_string()))
}

fn read<T: DeserializeOwned>(result: Result<String, CallError>) -> Result<T, CallError> {
    serde_json::from_str(&result?).map_err(|error| CallError::Failed(format!("a result of another form: {error}")))
}

/// Why a call has no result. A refusal is a value: handle it, or fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallError {
    /// The mission may not do this; the text names the rule.
    Denied(String),
    /// Calls or cost of the budget are spent.
    BudgetExhausted(String),
    /// The call's handle was dropped, or the mission is ending.
    Cancelled,
    /// The arguments do not fit the tool's schema; the text says where.
    InvalidArguments(String),
    /// The tool tried and failed.
    Failed(String),
    /// The tool took longer than it may.
    TimedOut(String),
    /// After a crash, it is not known whether the call happened, and a person decided that it is not repeated.
    Uncertain(String),
}

impl CallError {
    /// The name of the case, such as `budget-exhausted`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Denied(_) => "denied",
            Self::BudgetExhausted(_) => "budget-exhausted",
            Self::Cancelled => "cancelled",
            Self::InvalidArguments(_) => "invalid-arguments",
            Self::Failed(_) => "failed",
            Self::TimedOut(_) => "timed-out",
            Self::Uncertain(_) => "uncertain",
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancelled => f.write_str("the call was cancelled"),
            Self::Denied(text)
            | Self::BudgetExhausted(text)
            | Self::InvalidArguments(text)
            | Self::Failed(text)
            | Self::TimedOut(text)
            | Self::Uncertain(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for CallError {}

impl From<types::CallError> for CallError {
    fn from(error: types::CallError) -> Self {
        match error {
            types::CallError::Denied(text) => Self::Denied(text),
            types::CallError::BudgetExhausted(text) => Self::BudgetExhausted(text),
            types::CallError::Cancelled => Self::Cancelled,
            types::CallError::InvalidArguments(text) => Self::InvalidArguments(text),
            types::CallError::Failed(text) => Self::Failed(text),
            types::CallError::TimedOut(text) => Self::TimedOut(text),
            types::CallError::Uncertain(text) => Self::Uncertain(text),
        }
    }
}
