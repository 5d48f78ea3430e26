//! A call as the gate sees it: the tool and its arguments, each thing that scopes ask about looked up once, and only if one asks.

use core::cell::OnceCell;

use serde_json::Value;
use sortie_contract::tool::ToolInfo;
use url::Url;

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
}

const NO_OBJECT: &str = "its arguments are no JSON object";

impl<'a> Call<'a> {
    /// `arguments` is JSON text; what is none fits no scope of an allowance.
    pub(super) fn new(tool: &'a ToolInfo, arguments: &'a str) -> Self {
        let (value, reach, url, command) = (OnceCell::new(), OnceCell::new(), OnceCell::new(), OnceCell::new());
        Self { tool, arguments, value, reach, url, command }
    }

    pub(super) fn value(&self) -> Option<&Value> {
        self.value.get_or_init(|| serde_json::from_str(self.arguments).ok().filter(Value::is_object)).as_ref()
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
