//! What an agent needs of the outside, as a trait, and the driver that brings the two together.
//!
//! A plugin that has a say in its model's calls (where they may go, what is remembered of them) answers the trait itself and hands on to
//! [`Granted`].

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::time::Duration;

use sortie_plugin::limits::{self, Closing};
use sortie_plugin::{CallError, Failure, Pending, Tool, Tools, Value, model, report, time, wait_any};

use crate::Wish;
use crate::session::{Ending, Next, Session};
use crate::tell::{Told, told};

/// Most calls of one turn that are in flight together: the node takes 64, and the plugin may have its own beside them.
const FLIGHTS_MAX: usize = 16;

/// When a limit comes near while something is on its way: how much of the time that is left it may still take, in percent. The rest is for
/// keeping what there is.
const GRACE_PERCENT: u64 = 25;

/// How much of the time that is left the model's last words may take, in percent.
const LAST_WORDS_PERCENT: u64 = 50;

/// Models, tools and limits of one mission.
pub trait World {
    /// A call on its way.
    type Pending;

    /// The names of the tools that the model is told of.
    fn tools(&self) -> Vec<String>;
    /// Whether a tool changes nothing: such calls of one turn are started together, all others one after another.
    fn is_read_only(&self, tool: &str) -> bool;
    /// Asks the model and waits for its answer; `None`: a limit of the mission came near before there was one, and it was let go of.
    ///
    /// # Errors
    /// [`CallError`], of the node.
    fn ask(&mut self, request: &Value) -> Option<Result<Value, CallError>>;
    /// Starts a call that the model wished for; its tool is one of [`World::tools`], its input an object.
    ///
    /// # Errors
    /// Where there is no call at all: what the model is told in place of a result.
    fn start(&mut self, wish: &Wish) -> Result<Self::Pending, CallError>;
    /// Waits for the result of a call, and says what the model is told of it; also where a limit came near before there was one.
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

/// Lets a session work until it ends, with the model's last words where the mission lands.
pub fn work<W: World>(session: &mut Session, world: &mut W) -> Ending {
    match work_until_landing(session, world) {
        Ending::Landed(_) => last_words(session, world),
        ending => ending,
    }
}

/// The same, and where the mission lands no further: a plugin that has something to keep does so now, and asks for [`last_words`] then.
pub fn work_until_landing<W: World>(session: &mut Session, world: &mut W) -> Ending {
    let tools = world.tools();
    loop {
        match session.step() {
            Next::Ask(_) if world.is_closing() || !world.may_ask() => session.close(),
            Next::Ask(request) => match world.ask(&request) {
                Some(answer) => session.answered(answer),
                None => session.close(),
            },
            Next::Land => {
                world.land();
                session.landed();
                return Ending::Landed(None);
            }
            Next::Call(wishes) => {
                let told = perform(world, &tools, &wishes);
                session.called(&told);
            }
            Next::End(ending) => return over(session, world, ending),
        }
    }
}

/// What the model has to say when the mission has landed: one answer, if there is time for it and something of the budget left.
pub fn last_words<W: World>(session: &mut Session, world: &mut W) -> Ending {
    loop {
        match session.step() {
            Next::Ask(request) => {
                let answer = if world.may_ask() {
                    let late = || Err(CallError::TimedOut("there was no time for an answer".to_owned()));
                    world.ask(&request).unwrap_or_else(late)
                } else {
                    Err(CallError::BudgetExhausted("nothing of the budget is left".to_owned()))
                };
                session.answered(answer);
            }
            Next::End(ending) => return over(session, world, ending),
            // Not the state of a session that has landed.
            Next::Land | Next::Call(_) => return Ending::Landed(None),
        }
    }
}

fn over<W: World>(session: &mut Session, world: &mut W, ending: Ending) -> Ending {
    for warning in session.take_warnings() {
        world.warn(&warning);
    }
    ending
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
    /// The tool that the model is not told of, and may not call.
    withheld: Option<&'static str>,
    patience: Patience,
    read_only: OnceCell<BTreeMap<String, bool>>,
}

impl<'a> Granted<'a> {
    /// Asks to be told when a limit comes near, too: from here on what is kept for landing is kept.
    #[must_use]
    pub fn new(tools: &'a Tools) -> Self {
        Self { tools, withheld: None, patience: Patience::new(), read_only: OnceCell::new() }
    }

    /// The same, without a tool: the plugin may have use for it, the model has none.
    #[must_use]
    pub fn without(mut self, tool: &'static str) -> Self {
        self.withheld = Some(tool);
        self
    }

    /// The mission's tools.
    #[must_use]
    pub fn tools(&self) -> &'a Tools {
        self.tools
    }

    /// How long is waited for a call, of the plugin's own too.
    #[must_use]
    pub fn patience(&self) -> &Patience {
        &self.patience
    }

    /// Those that the model has.
    fn shown(&self) -> impl Iterator<Item = &'a Tool> {
        let withheld = self.withheld;
        self.tools
            .iter()
            .filter(move |tool| withheld.is_none_or(|withheld| !tool.name().eq_ignore_ascii_case(withheld)))
    }
}

/// How long is waited for a call: as long as it takes, until one of the mission's limits comes near. Then for a part of the time that is
/// left, so that there is some to keep what there is.
#[derive(Debug)]
pub struct Patience {
    closing: Closing,
    /// Begins when the limit is seen to be near; no timer where nothing says when time is over.
    grace: OnceCell<Option<Pending>>,
}

impl Patience {
    fn new() -> Self {
        Self { closing: limits::closing(), grace: OnceCell::new() }
    }

    /// Waits for a call: whether there is a result. Where there is none, let go of the call.
    #[must_use]
    pub fn lasts(&self, call: &Pending) -> bool {
        if self.grace.get().is_none() && wait_any([call, self.closing.pending()]) == 0 {
            return true;
        }
        // The limit may be one of money or of calls: then there is time.
        match self.grace.get_or_init(|| part_of_what_is_left(GRACE_PERCENT)) {
            Some(timer) => wait_any([call, timer]) == 0,
            None => true,
        }
    }

    fn land(&mut self) {
        self.grace = OnceCell::from(part_of_what_is_left(LAST_WORDS_PERCENT));
    }
}

fn part_of_what_is_left(percent: u64) -> Option<Pending> {
    let left = limits::deadline_ms()?.saturating_sub(time::now_ms());
    Some(time::after(Duration::from_millis(left * percent / 100)))
}

impl World for Granted<'_> {
    type Pending = Pending;

    fn tools(&self) -> Vec<String> {
        self.shown().map(|tool| tool.name().to_owned()).collect()
    }

    fn is_read_only(&self, tool: &str) -> bool {
        let known = self.read_only.get_or_init(|| {
            let told = |tool: &Tool| (tool.name().to_ascii_lowercase(), tool.describe().read_only);
            self.tools.iter().map(told).collect()
        });
        known.get(&tool.to_ascii_lowercase()).copied().unwrap_or_default()
    }

    fn ask(&mut self, request: &Value) -> Option<Result<Value, CallError>> {
        match model::start(request, self.shown()) {
            Ok(call) => self.patience.lasts(&call).then(|| call.get()),
            Err(error) => Some(Err(error)),
        }
    }

    fn start(&mut self, wish: &Wish) -> Result<Pending, CallError> {
        let tool = self.shown().find(|tool| tool.name().eq_ignore_ascii_case(&wish.name));
        let none = || CallError::Denied(format!("the mission was not granted the tool {}", wish.name));
        tool.ok_or_else(none)?.start(&wish.input)
    }

    fn finish(&mut self, _wish: &Wish, call: Pending) -> Told {
        if self.patience.lasts(&call) { told_of(&call, &call.get()) } else { Told::let_go() }
    }

    fn is_closing(&mut self) -> bool {
        self.patience.closing.is_given()
    }

    /// From here on the time for the last words runs, and for keeping what there is before them.
    fn land(&mut self) {
        limits::land();
        self.patience.land();
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
