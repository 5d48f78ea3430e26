//! The tools of a node, by name, and the way that every call takes to one of them.

use std::fmt;
use std::time::Duration;

use jsonschema::Validator;
use serde_json::Value;
use sortie_contract::limit;
use sortie_contract::tool::{CallError, ToolAnswer, ToolInfo};

use crate::config::{ConfigError, ToolConfig, ToolsConfig};
use crate::files::{Edit, Glob, Grep, Read, Write};
use crate::tool::{CallContext, Tool};
use crate::web::WebFetch;

/// Most mistakes that one answer tells: enough to mend a call at once.
const MISTAKES_TOLD_MAX: usize = 5;

/// Longest text of one such mistake, in bytes: the validator quotes the argument, which may be a whole file.
const MISTAKE_BYTES_MAX: usize = 300;

type Make = fn(&ToolConfig) -> Result<Box<dyn Tool>, ConfigError>;

/// What this version has, in the order in which it is listed.
const BUILT_IN: [(&str, Make); 6] = [
    ("Read", |config| Ok(Box::new(Read::new(config)))),
    ("Write", |config| Ok(Box::new(Write::new(config)))),
    ("Edit", |config| Ok(Box::new(Edit::new(config)))),
    ("Glob", |config| Ok(Box::new(Glob::new(config)))),
    ("Grep", |config| Ok(Box::new(Grep::new(config)))),
    ("WebFetch", |config| Ok(Box::new(WebFetch::new(config)?))),
];

/// Every tool that missions of this node can be granted.
pub struct Registry {
    /// Parallel to `tools`: a slice that others can borrow.
    infos: Vec<ToolInfo>,
    tools: Vec<Entry>,
}

struct Entry {
    tool: Box<dyn Tool>,
    /// Compiled once: compiling takes a hundred times as long as a check.
    schema: Validator,
}

impl Registry {
    /// No tool at all.
    #[must_use]
    pub fn empty() -> Self {
        Self { infos: Vec::new(), tools: Vec::new() }
    }

    /// The built-in tools as the configuration has them. One that it disables is not there at all.
    pub fn new(config: ToolsConfig) -> Result<Self, ConfigError> {
        config.check(&BUILT_IN.map(|(name, _)| name))?;
        let ToolsConfig(mut sections) = config;
        let mut registry = Self::empty();
        for (name, make) in BUILT_IN {
            let config = sections.remove(name).unwrap_or_default();
            if config.enabled != Some(false) {
                registry.add(make(&config)?)?;
            }
        }
        Ok(registry)
    }

    /// Adds a tool that is not built in.
    pub fn add(&mut self, tool: Box<dyn Tool>) -> Result<(), ConfigError> {
        let info = tool.info().clone();
        if self.position(info.name.as_str()).is_some() {
            return Err(ConfigError::Duplicate { name: info.name.to_string() });
        }
        let schema = jsonschema::validator_for(&info.input_schema)
            .map_err(|error| ConfigError::Schema { name: info.name.to_string(), why: error.to_string() })?;
        self.infos.push(info);
        self.tools.push(Entry { tool, schema });
        Ok(())
    }

    /// What is known of each tool.
    #[must_use]
    pub fn infos(&self) -> &[ToolInfo] {
        &self.infos
    }

    /// What is known of one tool; its name without regard to case.
    #[must_use]
    pub fn info(&self, name: &str) -> Option<&ToolInfo> {
        self.position(name).map(|index| &self.infos[index])
    }

    /// Calls a tool with the text of its arguments, under its time limit, which `sleep` measures. Dropping the future cancels
    /// the call.
    pub async fn call<S>(
        &self,
        name: &str,
        context: &CallContext,
        arguments: &str,
        sleep: impl FnOnce(Duration) -> S,
    ) -> Result<ToolAnswer, CallError>
    where
        S: Future<Output = ()>,
    {
        let Some(index) = self.position(name) else {
            let known: Vec<&str> = self.infos.iter().map(|info| info.name.as_str()).collect();
            let name = limit::clip(name, limit::QUOTE_BYTES_MAX);
            return Err(CallError::Denied(format!("this node has no tool `{name}`; it has {}", known.join(", "))));
        };
        let Entry { tool, schema } = &self.tools[index];
        let arguments = checked(schema, arguments)?;
        let time_limit = tool.time_limit();
        let answer = tokio::select! {
            biased;
            answer = tool.call(context, &arguments) => answer?,
            () = sleep(time_limit) => {
                let (name, seconds) = (&self.infos[index].name, time_limit.as_secs());
                return Err(CallError::TimedOut(format!("{name} took longer than {seconds} s; ask it for less")));
            }
        };
        if answer.result.len() > limit::CALL_BYTES_MAX {
            let (bytes, max) = (answer.result.len(), limit::CALL_BYTES_MAX);
            return Err(CallError::Failed(format!("the result has {bytes} bytes, {max} are allowed; ask for less")));
        }
        Ok(answer)
    }

    fn position(&self, name: &str) -> Option<usize> {
        // A handful of tools: faster than hashing a copy in lower case.
        self.infos.iter().position(|info| info.name.as_str().eq_ignore_ascii_case(name))
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.infos.iter().map(|info| &info.name)).finish()
    }
}

/// The arguments, parsed and held against the schema. The error names each place that is wrong.
fn checked(schema: &Validator, arguments: &str) -> Result<Value, CallError> {
    if arguments.len() > limit::CALL_BYTES_MAX {
        let max = limit::CALL_BYTES_MAX;
        return Err(CallError::InvalidArguments(format!(
            "the arguments have {} bytes, {max} are allowed",
            arguments.len()
        )));
    }
    let value: Value = serde_json::from_str(arguments)
        .map_err(|error| CallError::InvalidArguments(format!("the arguments are not JSON: {error}")))?;
    if schema.is_valid(&value) {
        return Ok(value);
    }
    let told: Vec<String> = schema
        .iter_errors(&value)
        .take(MISTAKES_TOLD_MAX)
        .map(|error| {
            let place = error.instance_path().to_string();
            let place = if place.is_empty() { "the arguments" } else { &place };
            format!(
                "{}: {}",
                limit::clip(place, limit::QUOTE_BYTES_MAX),
                limit::clip(&error.to_string(), MISTAKE_BYTES_MAX)
            )
        })
        .collect();
    Err(CallError::InvalidArguments(told.join("; ")))
}
