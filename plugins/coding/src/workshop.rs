//! The world that the model works in: the mission's tools, in the folder that it was given.

use std::collections::BTreeSet;

use sortie_agent::{Granted, Patience, Told, Wish, World, told_of};
use sortie_plugin::{CallError, Pending, Tools, Value};

use crate::commits::Command;
use crate::files::Originals;
use crate::place::Place;

/// The mission's tools, as the model has them.
#[derive(Debug)]
pub(crate) struct Workshop<'a> {
    granted: Granted<'a>,
    place: Place,
    /// What files were, where there is no git to ask.
    originals: Option<Originals>,
    /// What was written, by the paths that the model knows.
    written: BTreeSet<String>,
    /// The commands in which the model named git.
    commands: Vec<Command>,
    /// How many calls there were that may have changed something.
    changes: u32,
}

impl<'a> Workshop<'a> {
    pub(crate) fn new(granted: Granted<'a>, place: Place, remembers: bool) -> Self {
        let originals = remembers.then(Originals::default);
        Self { granted, place, originals, written: BTreeSet::new(), commands: Vec::new(), changes: 0 }
    }

    pub(crate) fn tools(&self) -> &'a Tools {
        self.granted.tools()
    }

    /// How long is waited for calls of the plugin's own.
    pub(crate) fn patience(&self) -> &Patience {
        self.granted.patience()
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    pub(crate) fn originals(&self) -> Option<&Originals> {
        self.originals.as_ref()
    }

    pub(crate) fn written(&self) -> Vec<String> {
        self.written.iter().cloned().collect()
    }

    /// The commands with which the model may have made commits.
    pub(crate) fn commands(&self) -> &[Command] {
        &self.commands
    }

    pub(crate) fn changes(&self) -> u32 {
        self.changes
    }

    /// The arguments with which a wish is granted.
    fn arguments(&mut self, wish: &Wish) -> Result<Value, String> {
        let mut input = wish.input.clone();
        let mut enter = |key: &str, place: &Place| -> Result<(), String> {
            if let Some(path) = input.get(key).and_then(Value::as_str) {
                input[key] = place.enter(path)?.into();
            }
            Ok(())
        };
        match wish.name.to_ascii_lowercase().as_str() {
            "read" => enter("path", &self.place)?,
            "glob" => enter("pattern", &self.place)?,
            "grep" => {
                if wish.input.get("glob").and_then(Value::as_str).is_some_and(|glob| glob.contains('/')) {
                    enter("glob", &self.place)?;
                }
                if self.place.folder() != "." || input.get("path").is_some() {
                    let path = input.get("path").and_then(Value::as_str).unwrap_or(".");
                    input["path"] = self.place.enter(path)?.into();
                }
            }
            "write" | "edit" => {
                if let Some(path) = wish.input.get("path").and_then(Value::as_str) {
                    let entered = self.place.change(path)?;
                    if let Some(originals) = &mut self.originals {
                        originals.remember(self.granted.tools(), &self.place, path)?;
                    }
                    input["path"] = entered.into();
                }
            }
            "bash" => {
                if let Some(command) = input.get("command").and_then(Value::as_str) {
                    input["command"] = self.place.command(command).into();
                }
            }
            _ => {}
        }
        Ok(input)
    }

    /// Remembers what a call did, or may have done: with what it was made with, where a person chose something else. `code` is how a command
    /// ended, where that is known.
    fn note(&mut self, wish: &Wish, amended: Option<&Value>, code: Option<i64>) {
        let name = wish.name.to_ascii_lowercase();
        if name == "bash" {
            let text = amended.unwrap_or(&wish.input)["command"].as_str().unwrap_or_default();
            if text.contains("git") {
                self.commands.push(Command { text: text.to_owned(), is_well: code.is_none_or(|code| code == 0) });
            }
        }
        if !["write", "edit"].contains(&name.as_str()) {
            return;
        }
        let entered = match amended {
            Some(amended) => amended["path"].as_str().map(str::to_owned),
            None => wish.input["path"].as_str().and_then(|path| self.place.change(path).ok()),
        };
        if let Some(path) = entered
            && let Some(path) = self.place.inside(&path)
        {
            self.written.insert(path.to_owned());
        }
    }
}

impl World for Workshop<'_> {
    type Pending = Pending;

    fn tools(&self) -> Vec<String> {
        World::tools(&self.granted)
    }

    fn is_read_only(&self, tool: &str) -> bool {
        self.granted.is_read_only(tool)
    }

    fn ask(&mut self, request: &Value) -> Option<Result<Value, CallError>> {
        self.granted.ask(request)
    }

    fn start(&mut self, wish: &Wish) -> Result<Pending, CallError> {
        let input = self.arguments(wish).map_err(CallError::InvalidArguments)?;
        if !self.granted.is_read_only(&wish.name) {
            self.changes += 1;
        }
        self.granted.start(&Wish { input, ..wish.clone() })
    }

    fn finish(&mut self, wish: &Wish, call: Pending) -> Told {
        if !self.patience().lasts(&call) {
            self.note(wish, None, None);
            return Told::let_go();
        }
        let result = call.get().map(|mut result| {
            self.place.leave_all(&mut result);
            result
        });
        if matches!(result, Ok(_) | Err(CallError::Uncertain(_) | CallError::TimedOut(_) | CallError::Cancelled)) {
            let code = result.as_ref().ok().and_then(|result| result["exit_code"].as_i64());
            self.note(wish, call.info().amended.as_ref(), code);
        }
        told_of(&call, &result)
    }

    fn is_closing(&mut self) -> bool {
        self.granted.is_closing()
    }

    fn land(&mut self) {
        self.granted.land();
    }

    fn may_ask(&mut self) -> bool {
        self.granted.may_ask()
    }

    fn warn(&mut self, text: &str) {
        self.granted.warn(text);
    }
}
