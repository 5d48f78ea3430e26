//! A call as the gate sees it: the tool and its arguments, each thing that scopes ask about looked up once, and only if one asks.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{OnceCell, RefCell};

use serde_json::{Map, Value};
use sortie_contract::tool::ToolInfo;
use url::Url;

use super::arguments::Argument;
use super::domain::address;
use super::path::Reach;
use super::shell::{Plain, plain};

/// A call that is asked about.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) tool: &'a ToolInfo,
    arguments: &'a str,
    value: OnceCell<Option<Value>>,
    reach: OnceCell<Result<Reach, &'static str>>,
    url: OnceCell<Result<Url, &'static str>>,
    command: OnceCell<Result<Plain, &'static str>>,
    /// By name: scopes ask about few.
    looked_at: RefCell<Vec<(Box<str>, Rc<Argument>)>>,
}

const NO_OBJECT: &str = "its arguments are no JSON object";

impl<'a> Call<'a> {
    /// `arguments` is JSON text; what is none fits no scope of an allowance.
    pub(super) fn new(tool: &'a ToolInfo, arguments: &'a str) -> Self {
        let (value, reach, url, command) = (OnceCell::new(), OnceCell::new(), OnceCell::new(), OnceCell::new());
        Self { tool, arguments, value, reach, url, command, looked_at: RefCell::default() }
    }

    pub(super) fn value(&self) -> Option<&Value> {
        self.value.get_or_init(|| serde_json::from_str(self.arguments).ok().filter(Value::is_object)).as_ref()
    }

    /// The argument of that name, to be asked about where there are arguments.
    pub(super) fn argument(&self, name: &str) -> Rc<Argument> {
        let mut looked_at = self.looked_at.borrow_mut();
        if let Some((_, argument)) = looked_at.iter().find(|(known, _)| **known == *name) {
            return Rc::clone(argument);
        }
        let none = Map::new();
        let given = self.value().and_then(Value::as_object).unwrap_or(&none);
        let argument = Rc::new(Argument::of(given, name));
        looked_at.push((name.into(), Rc::clone(&argument)));
        argument
    }

    /// What a call of a tool that works on files may touch.
    pub(super) fn reach(&self) -> Result<&Reach, &'static str> {
        let reach = || Reach::of(self.tool.name.as_str(), self.value().ok_or(NO_OBJECT)?);
        self.reach.get_or_init(reach).as_ref().map_err(|why| *why)
    }

    /// Where a call of a tool that asks the network goes.
    pub(super) fn url(&self) -> Result<&Url, &'static str> {
        self.url.get_or_init(|| address(self.text("url").ok_or("it has no URL")?)).as_ref().map_err(|why| *why)
    }

    /// What a call of a shell runs.
    pub(super) fn command(&self) -> Result<&Plain, &'static str> {
        self.command
            .get_or_init(|| plain(self.text("command").ok_or("it has no command")?))
            .as_ref()
            .map_err(|why| *why)
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.value()?.get(name)?.as_str()
    }
}
