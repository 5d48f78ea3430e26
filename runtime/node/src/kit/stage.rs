//! Tools: those of the workspace are real, all others are scripted; and each call can be made to fail.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Value, json};
use sortie_ambient::Ambient as _;
use sortie_contract::MicroUsd;
use sortie_contract::plugin::Need;
use sortie_contract::tool::{CallError, EffectClass, ToolAnswer, ToolInfo, ToolName};
use sortie_tools::{BuiltIn, CallContext, Provider as _, Tool, ToolsConfig};

use super::case::{Case, Declared, Fault, FaultKind, Says, has, read_time};
use super::clock::Clock;

/// The tools that need no script: what they do stays in the workspace.
pub(super) const REAL: [&str; 5] = ["Read", "Write", "Edit", "Glob", "Grep"];

/// The one that writes what the others have written.
const WRITE: &str = "Write";

/// How long a tool may take that is only scripted.
const TIME_LIMIT: Duration = Duration::from_secs(10 * 60);

/// What calls come to, over all lives of a node: the world outside of it.
pub(super) struct Stage {
    clock: Clock,
    says: Vec<Says>,
    /// Which call is to fail, of those that [`Stage::turn`] counts.
    fails: Option<usize>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What was made of a call, by its key: another attempt at it is answered alike.
    given: BTreeMap<String, Option<usize>>,
    used: BTreeMap<usize, u32>,
    /// Calls that can fail, in the order in which they were made first: their keys and what they are.
    turns: Vec<(String, String)>,
    unanswered: Vec<String>,
}

impl Stage {
    pub(super) fn new(case: &Case, clock: Clock, fails: Option<usize>) -> Self {
        Self { clock, says: case.tools.clone(), fails, state: Mutex::default() }
    }

    /// A call is made: whether it is the one that is to fail.
    pub(super) fn turn(&self, key: &str, what: impl FnOnce() -> String) -> bool {
        let mut state = self.state.lock();
        let known = state.turns.iter().position(|(of, _)| of == key);
        let place = known.unwrap_or_else(|| {
            let what = what();
            state.turns.push((key.to_owned(), what));
            state.turns.len() - 1
        });
        self.fails == Some(place)
    }

    /// The calls that can fail, each in a few words.
    pub(super) fn turns(&self) -> Vec<String> {
        self.state.lock().turns.iter().map(|(_, what)| what.clone()).collect()
    }

    /// Calls for which the case has no answer.
    pub(super) fn unanswered(&self) -> Vec<String> {
        self.state.lock().unanswered.clone()
    }

    /// The entry that answers a call.
    fn entry(&self, key: &str, tool: &str, arguments: &Value) -> Option<&Says> {
        let mut state = self.state.lock();
        if let Some(given) = state.given.get(key) {
            return given.map(|index| &self.says[index]);
        }
        let fits = |(index, says): &(usize, &Says)| {
            says.name.eq_ignore_ascii_case(tool)
                && says.with.as_ref().is_none_or(|with| has(arguments, &Value::Object(with.clone())))
                && says.times.is_none_or(|times| state.used.get(index).is_none_or(|used| *used < times))
        };
        let found = self.says.iter().enumerate().find(fits).map(|(index, _)| index);
        if let Some(index) = found {
            *state.used.entry(index).or_default() += 1;
        }
        state.given.insert(key.to_owned(), found);
        found.map(|index| &self.says[index])
    }
}

/// The tools of a case, and their names. What its plugin needs is among them, whether the case speaks of it or not: where it has no answer, that is
/// told of a call.
pub(super) async fn tools(
    case: &Case,
    stage: &Arc<Stage>,
    needs: &[Need],
) -> Result<(Vec<Arc<dyn Tool>>, Vec<String>), String> {
    let built_in = BuiltIn::new(ToolsConfig::default()).map_err(|error| error.to_string())?;
    let built_in = built_in.tools().await.map_err(|error| error.to_string())?;
    let mut known: BTreeMap<String, Arc<dyn Tool>> = BTreeMap::new();
    for tool in built_in {
        known.insert(tool.info().name.as_str().to_owned(), tool);
    }
    let scripted = case.tools.iter().map(|says| says.name.clone());
    let mut names: Vec<String> = REAL.map(str::to_owned).into_iter().chain(scripted).collect();
    names.extend(case.toolbox.keys().cloned());
    for need in needs {
        let is_there = |tool: &ToolName| names.iter().any(|name| name.eq_ignore_ascii_case(tool.as_str()));
        // Of several one is needed.
        let missing = need.tools().first().filter(|_| !need.tools().iter().any(is_there));
        let missing = missing.map(|tool| tool.as_str().to_owned());
        names.extend(missing);
    }
    let mut unique: Vec<String> = Vec::new();
    for name in names {
        let name = known.keys().find(|known| known.eq_ignore_ascii_case(&name)).cloned().unwrap_or(name);
        if !unique.iter().any(|there| there.eq_ignore_ascii_case(&name)) {
            unique.push(name);
        }
    }
    let played = |name: &String| -> Result<Arc<dyn Tool>, String> {
        let real = known.get(name).cloned();
        let info = info(name, real.as_deref(), case.toolbox.get(name))?;
        let real = real.filter(|_| REAL.contains(&name.as_str()));
        Ok(Arc::new(Played {
            info,
            real,
            writes: known.get(WRITE).cloned(),
            time_limit: known.get(name).map(|tool| tool.time_limit()),
            stage: Arc::clone(stage),
        }))
    };
    let tools = unique.iter().map(played).collect::<Result<Vec<_>, _>>()?;
    Ok((tools, unique))
}

/// What is known of a tool: what it says of itself, and what the case says of it.
fn info(name: &str, real: Option<&dyn Tool>, declared: Option<&Declared>) -> Result<ToolInfo, String> {
    let mut info = real.map_or_else(
        || ToolInfo {
            name: ToolName::new(name),
            description: String::new(),
            input_schema: json!({ "type": "object" }),
            effects: Vec::new(),
            // Of what only a case knows nothing is known: it may change something.
            read_only: false,
            idempotent: false,
            price: MicroUsd::ZERO,
        },
        |tool| tool.info().clone(),
    );
    let Some(Declared { description, schema, read_only, idempotent, effects, cost_usd }) = declared.cloned() else {
        return Ok(info);
    };
    info.description = description.unwrap_or(info.description);
    info.input_schema = schema.unwrap_or(info.input_schema);
    info.effects = effects.map_or(info.effects, |classes| classes.into_iter().map(EffectClass).collect());
    info.read_only = read_only.unwrap_or(info.read_only) && info.effects.is_empty();
    info.idempotent = idempotent.unwrap_or(info.idempotent);
    if let Some(usd) = cost_usd {
        info.price = MicroUsd::from_usd(usd).ok_or_else(|| format!("toolbox.{name}.cost_usd: {usd} is no price"))?;
    }
    Ok(info)
}

/// A tool of a case.
struct Played {
    info: ToolInfo,
    real: Option<Arc<dyn Tool>>,
    /// What puts files into a workspace.
    writes: Option<Arc<dyn Tool>>,
    time_limit: Option<Duration>,
    stage: Arc<Stage>,
}

#[async_trait]
impl Tool for Played {
    fn info(&self) -> &ToolInfo {
        &self.info
    }

    fn time_limit(&self) -> Duration {
        self.time_limit.unwrap_or(TIME_LIMIT)
    }

    async fn call(&self, context: &CallContext, arguments: &Value) -> Result<ToolAnswer, CallError> {
        let (name, key) = (self.info.name.as_str(), context.idempotency_key.as_str());
        if self.stage.turn(key, || shown(name, arguments)) {
            return Err(injected(name));
        }
        match (self.stage.entry(key, name, arguments), &self.real) {
            (Some(says), _) => {
                if let Some(takes) = says.takes.as_deref().and_then(|takes| read_time("takes", takes).ok()) {
                    self.stage.clock.sleep(takes).await;
                }
                let mut answer = said(says)?;
                for (path, content) in &says.writes {
                    let Some(write) = &self.writes else { break };
                    let busy = self.stage.clock.busy();
                    let written = write.call(context, &json!({ "path": path, "content": content })).await;
                    drop(busy);
                    answer.wrote.append(&mut written?.wrote);
                }
                Ok(answer)
            }
            (None, Some(real)) => {
                // It works on threads of its own.
                let busy = self.stage.clock.busy();
                let answer = real.call(context, arguments).await;
                drop(busy);
                answer
            }
            (None, None) => {
                let call = unanswered(&shown(name, arguments), "tool");
                self.stage.state.lock().unanswered.push(call.clone());
                Err(CallError::Failed(format!("the case has no answer for {call}")))
            }
        }
    }
}

/// What a call is told that is to fail.
pub(super) fn injected(name: &str) -> CallError {
    CallError::Failed(format!("{name} fails here, to see what the plugin makes of it"))
}

fn said(says: &Says) -> Result<ToolAnswer, CallError> {
    match &says.error {
        None => Ok(ToolAnswer { result: says.answer.clone().unwrap_or_default().to_string(), wrote: Vec::new() }),
        Some(Fault { kind, text }) => Err(match kind {
            FaultKind::Failed => CallError::Failed(text.clone()),
            FaultKind::TimedOut => CallError::TimedOut(text.clone()),
            FaultKind::Denied => CallError::Denied(text.clone()),
            FaultKind::Uncertain => CallError::Uncertain(text.clone()),
        }),
    }
}

/// What nobody answers, and the entry of the case that would.
pub(super) fn unanswered(what: &str, entry: &str) -> String {
    format!("{what}: add an entry [[{entry}]] to it")
}

/// A call on a line.
pub(super) fn shown(name: &str, arguments: &Value) -> String {
    sortie_contract::limit::clip(&format!("{name} {arguments}"), 160)
}

#[cfg(test)]
mod tests {
    use sortie_contract::Timestamp;

    use super::*;

    #[test]
    fn what_a_plugin_needs_is_there_and_nothing_else_that_the_case_does_not_name() {
        let tool = |name: &str| Need::Tool(ToolName::new(name));
        let one_of = |names: &[&str]| Need::OneOf(names.iter().map(|name| ToolName::new(name)).collect());
        let fetches = "[[tool]]\nname = \"WebFetch\"\nanswer = 1\n";
        for (text, needs, expected) in [
            ("", vec![], vec![]),
            ("", vec![Need::Model, tool("Read")], vec![]),
            ("", vec![tool("WebFetch")], vec!["WebFetch"]),
            (fetches, vec![tool("webfetch")], vec!["WebFetch"]),
            ("", vec![one_of(&["mcp__a__b", "WebFetch"])], vec!["mcp__a__b"]),
            (fetches, vec![one_of(&["mcp__a__b", "WebFetch"])], vec!["WebFetch"]),
            ("[toolbox.mcp__a__b]\nread_only = true\n", vec![tool("mcp__a__b")], vec!["mcp__a__b"]),
        ] {
            let case = Case::parse(&format!("mission = {{}}\n{text}[expect]\n")).expect("a case");
            let sandbox = sortie_sandbox::Sandbox::new(super::super::options(std::env::temp_dir())).expect("a sandbox");
            let clock = Clock::new(Timestamp::UNIX_EPOCH, sandbox);
            let stage = Arc::new(Stage::new(&case, clock, None));
            let found = futures_util::FutureExt::now_or_never(tools(&case, &stage, &needs)).expect("at once");
            let (there, names) = found.expect("tools");
            assert_eq!(there.len(), names.len());
            assert_eq!(names[..REAL.len()], REAL);
            assert_eq!(names[REAL.len()..], expected, "{text}");
        }
    }
}
