//! What an agent needs of the outside, as a trait, and the driver that brings the two together.
//!
//! A plugin that has a say in its model's calls (where they may go, what is remembered of them) answers the trait itself and hands on to
//! [`Granted`].

use std::cell::OnceCell;
use std::collections::BTreeMap;

use sortie_plugin::limits::{self, Closing};
use sortie_plugin::{CallError, Failure, Pending, Tools, Value, model, report};

use crate::Wish;
use crate::session::{Ending, Next, Session};
use crate::tell::{Told, told};

/// Most calls of one turn that are in flight together: the node takes 64, and the plugin may have its own beside them.
const FLIGHTS_MAX: usize = 16;

/// Models, tools and limits of one mission.
pub trait World {
    /// A call on its way.
    type Pending;

    /// The names of the tools that the model is told of.
    fn tools(&self) -> Vec<String>;
    /// Whether a tool changes nothing: such calls of one turn are started together, all others one after another.
    fn is_read_only(&self, tool: &str) -> bool;
    /// Asks the model and waits for its answer.
    ///
    /// # Errors
    /// [`CallError`], of the node.
    fn ask(&mut self, request: &Value) -> Result<Value, CallError>;
    /// Starts a call that the model wished for; its tool is one of [`World::tools`], its input an object.
    ///
    /// # Errors
    /// Where there is no call at all: what the model is told in place of a result.
    fn start(&mut self, wish: &Wish) -> Result<Self::Pending, CallError>;
    /// Waits for the result of a call, and says what the model is told of it.
    fn finish(&mut self, wish: &Wish, call: Self::Pending) -> Told;
    /// Whether one of the mission's limits is near: asked before each turn.
    fn is_closing(&mut self) -> bool;
    /// The mission lands: what was kept for that may be used.
    fn land(&mut self);
    /// Whether the model may be asked once more without asking people for more of the budget.
    fn may_ask(&mut self) -> bool;
    /// A line for the mission's log.
    fn warn(&mut self, text: &str);
}

/// Lets a session work until it ends.
pub fn work<W: World>(session: &mut Session, world: &mut W) -> Ending {
    let tools = world.tools();
    loop {
        match session.step() {
            Next::Ask(request) => {
                if !session.is_landing() && (world.is_closing() || !world.may_ask()) {
                    session.close();
                    continue;
                }
                if session.is_landing() && !world.may_ask() {
                    session.answered(Err(CallError::BudgetExhausted("nothing of the budget is left".to_owned())));
                    continue;
                }
                let answer = world.ask(&request);
                session.answered(answer);
            }
            Next::Land => {
                world.land();
                session.landed();
            }
            Next::Call(wishes) => {
                let told = perform(world, &tools, &wishes);
                session.called(&told);
            }
            Next::End(ending) => {
                for warning in session.take_warnings() {
                    world.warn(&warning);
                }
                return ending;
            }
        }
    }
}

/// Makes the calls of one turn: those that change nothing side by side, every other one when all before it are over.
fn perform<W: World>(world: &mut W, tools: &[String], wishes: &[Wish]) -> Vec<Told> {
    let mut told: Vec<Option<Told>> = wishes.iter().map(|wish| mistaken(tools, wish)).collect();
    let mut flying: Vec<(usize, W::Pending)> = Vec::new();
    for (at, wish) in wishes.iter().enumerate() {
        if told[at].is_some() {
            continue;
        }
        let is_alone = !world.is_read_only(&wish.name);
        if is_alone || flying.len() >= FLIGHTS_MAX {
            land(world, wishes, &mut flying, &mut told);
        }
        match world.start(wish) {
            Ok(pending) => flying.push((at, pending)),
            Err(error) => told[at] = Some(crate::tell::told(&Err(error))),
        }
        if is_alone {
            land(world, wishes, &mut flying, &mut told);
        }
    }
    land(world, wishes, &mut flying, &mut told);
    told.into_iter().map(|told| told.unwrap_or_else(|| Told::error("it was not made"))).collect()
}

fn land<W: World>(world: &mut W, wishes: &[Wish], flying: &mut Vec<(usize, W::Pending)>, told: &mut [Option<Told>]) {
    for (at, pending) in flying.drain(..) {
        told[at] = Some(world.finish(&wishes[at], pending));
    }
}

/// What a model is told of a call that cannot be one.
fn mistaken(tools: &[String], wish: &Wish) -> Option<Told> {
    if !tools.iter().any(|tool| tool.eq_ignore_ascii_case(&wish.name)) {
        let there = if tools.is_empty() { "none".to_owned() } else { tools.join(", ") };
        return Some(Told::error(format!("there is no tool `{}` in this mission. There are: {there}.", wish.name)));
    }
    (!wish.input.is_object())
        .then(|| Told::error(format!("the arguments of `{}` must be one JSON object, as its schema says", wish.name)))
}

/// The tools that a mission was granted, and the node's models.
#[derive(Debug)]
pub struct Granted<'a> {
    tools: &'a Tools,
    closing: Closing,
    read_only: OnceCell<BTreeMap<String, bool>>,
}

impl<'a> Granted<'a> {
    /// Asks to be told when a limit comes near, too: from here on what is kept for landing is kept.
    #[must_use]
    pub fn new(tools: &'a Tools) -> Self {
        Self { tools, closing: limits::closing(), read_only: OnceCell::new() }
    }

    /// The mission's tools.
    #[must_use]
    pub fn tools(&self) -> &'a Tools {
        self.tools
    }
}

impl World for Granted<'_> {
    type Pending = Pending;

    fn tools(&self) -> Vec<String> {
        self.tools.iter().map(|tool| tool.name().to_owned()).collect()
    }

    fn is_read_only(&self, tool: &str) -> bool {
        let known = self.read_only.get_or_init(|| {
            let told = |tool: &sortie_plugin::Tool| (tool.name().to_ascii_lowercase(), tool.describe().read_only);
            self.tools.iter().map(told).collect()
        });
        known.get(&tool.to_ascii_lowercase()).copied().unwrap_or_default()
    }

    fn ask(&mut self, request: &Value) -> Result<Value, CallError> {
        model::complete(request, self.tools)
    }

    fn start(&mut self, wish: &Wish) -> Result<Pending, CallError> {
        let tool = self.tools.get(&wish.name);
        let none = || CallError::Denied(format!("the mission was not granted the tool {}", wish.name));
        tool.ok_or_else(none)?.start(&wish.input)
    }

    fn finish(&mut self, _wish: &Wish, call: Pending) -> Told {
        told_of(&call, &call.get())
    }

    fn is_closing(&mut self) -> bool {
        self.closing.is_given()
    }

    fn land(&mut self) {
        limits::land();
    }

    fn may_ask(&mut self) -> bool {
        limits::left().llm_calls != Some(0)
    }

    fn warn(&mut self, text: &str) {
        report::warn(text);
    }
}

/// What a model is told of a call that has this result, also where a person changed what it was made with.
#[must_use]
pub fn told_of(call: &Pending, result: &Result<Value, CallError>) -> Told {
    let mut told = told(result);
    if let Some(amended) = call.info().amended {
        told.content = format!("[a person had it made with {amended} instead]\n{}", told.content);
    }
    told
}

/// Why a plugin cannot work for want of a model, with what to write into the configuration; `None` where the node has the one that is meant.
#[must_use]
pub fn missing_model(wanted: Option<&str>) -> Option<Failure> {
    let there = model::describe();
    let known = |name: &str| there.iter().any(|model| model.name == name);
    let names = || there.iter().map(|model| format!("`{}`", model.name)).collect::<Vec<_>>().join(", ");
    let (summary, next) = match wanted {
        _ if there.is_empty() => (
            "this node has no model, and an agent cannot work without one".to_owned(),
            "add a `[model.NAME]` with protocol, model, key and price to the node's configuration (docs/MODELS.md)"
                .to_owned(),
        ),
        Some(name) if !known(name) => (
            format!("this node has no model `{name}`; it has {}", names()),
            format!("name one of those in inputs.model, or add `[model.{name}]` to the node's configuration"),
        ),
        None if !there.iter().any(|model| model.is_default) => (
            format!("no model is named, and the node has no default among {}", names()),
            "name one in inputs.model, or write `[model] default = \"NAME\"` into the node's configuration".to_owned(),
        ),
        _ => return None,
    };
    Some(Failure::new(summary).next_action(next))
}
