//! The tools that a node has at a moment, by name, and the way that every call takes to one of them.
//!
//! A toolbox never changes: what providers have by now is another one ([`Providers::toolbox`](crate::Providers::toolbox)). Whoever
//! decides something about tools (an admission, a start, a call) takes one and sees the same tools until it is done.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jsonschema::Validator;
use serde_json::Value;
use sortie_contract::mistake::{Mistake, Pointer};
use sortie_contract::money::{MicroUsd, Spend};
use sortie_contract::tool::{CallError, ToolAnswer, ToolInfo};
use sortie_contract::{limit, unfold};

use crate::link::Link;
use crate::provider::{Offer, Offered, begins_with, compiled, leave_out};
use crate::tool::{Bill, CallContext};

/// Longest text of a mistake, in bytes: the validator quotes the argument, which may be a whole file.
pub(crate) const MISTAKE_BYTES_MAX: usize = 300;

/// Every tool that missions of this node can be granted, as they are at a moment.
pub struct Toolbox {
    /// Parallel to `entries`: a slice that others can borrow.
    infos: Vec<ToolInfo>,
    entries: Vec<Entry>,
    /// Places in `entries`, by name without regard to case.
    by_name: Vec<usize>,
    /// By number of the provider.
    links: Arc<[Arc<Link>]>,
    /// What each provider offered and could not be taken.
    left_out: Vec<Vec<String>>,
}

struct Entry {
    offered: Arc<Offered>,
    provider: usize,
}

/// What a node knows of a tool by its name.
#[derive(Debug, Clone, PartialEq)]
pub enum Found<'a> {
    /// It has it.
    Here(&'a ToolInfo),
    /// The provider whose tool it would be is out, and has not said yet which tools it has. Why that is.
    Away(String),
    /// It has no such tool.
    Nowhere,
}

impl Toolbox {
    /// What providers offer, put together. Each name is one provider's: whose it was in `before`, as long as that one has it, else
    /// the first one's that offers it. What another offers under that name is left out.
    pub(crate) fn of(links: Arc<[Arc<Link>]>, offers: &[Offer], before: Option<&Self>) -> Self {
        let mut all: Vec<(usize, usize, &Arc<Offered>)> = Vec::new();
        for (provider, offer) in offers.iter().enumerate() {
            all.extend(offer.tools.iter().enumerate().map(|(place, offered)| (provider, place, offered)));
        }
        let was = |name: &str| before.and_then(|before| Some(before.entries[before.position(name)?].provider));
        // Of each name the one that stays comes first.
        all.sort_by(|(one, one_place, a), (other, other_place, b)| {
            let (a, b) = (a.info.name.as_str(), b.info.name.as_str());
            by_letters(a, b)
                .then_with(|| (was(a) != Some(*one)).cmp(&(was(b) != Some(*other))))
                .then_with(|| (one, one_place).cmp(&(other, other_place)))
        });
        let mut left_out: Vec<Vec<String>> = offers.iter().map(|offer| offer.left_out.clone()).collect();
        let mut taken: Vec<(usize, usize, &Arc<Offered>)> = Vec::new();
        for (provider, place, offered) in all {
            let name = &offered.info.name;
            match taken.last() {
                Some((owner, _, other)) if by_letters(other.info.name.as_str(), name.as_str()).is_eq() => {
                    let owner = &links[*owner].provider;
                    leave_out(&mut left_out[provider], &format!("`{name}`: that name is taken by a tool of `{owner}`"));
                }
                _ => taken.push((provider, place, offered)),
            }
        }
        // Listed as they were offered.
        taken.sort_by_key(|(provider, place, _)| (*provider, *place));
        let infos: Vec<ToolInfo> = taken.iter().map(|(_, _, offered)| offered.info.clone()).collect();
        let mut by_name: Vec<usize> = (0..infos.len()).collect();
        by_name.sort_by(|one, other| by_letters(infos[*one].name.as_str(), infos[*other].name.as_str()));
        let entry =
            |(provider, _, offered): (usize, usize, &Arc<Offered>)| Entry { offered: offered.clone(), provider };
        Self { infos, entries: taken.into_iter().map(entry).collect(), by_name, links, left_out }
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

    /// What is known of one tool, or of why it is not there.
    #[must_use]
    pub fn find(&self, name: &str) -> Found<'_> {
        if let Some(info) = self.info(name) {
            return Found::Here(info);
        }
        let mut owners = self.links.iter().filter(|link| !link.prefix.is_empty() && begins_with(name, &link.prefix));
        owners.find_map(|link| link.is_out()).map_or(Found::Nowhere, Found::Away)
    }

    /// The name of the provider whose tool it is.
    #[must_use]
    pub fn provider_of(&self, name: &str) -> Option<&str> {
        self.position(name).map(|index| self.links[self.entries[index].provider].provider.as_str())
    }

    /// How many tools a provider has here, and what it offered that could not be taken.
    pub(crate) fn of_provider(&self, provider: usize) -> (usize, &[String]) {
        let count = self.entries.iter().filter(|entry| entry.provider == provider).count();
        (count, &self.left_out[provider])
    }

    /// The most that a call can cost, with the price that its tool has by configuration. Nothing where its arguments fit neither the tool nor
    /// what its mission was `told` of it: no call is made then. Of tools that are free it does not look at the arguments.
    #[must_use]
    pub fn quote(&self, name: &str, arguments: &str, told: Option<&Value>) -> Spend {
        let Some(index) = self.position(name) else { return Spend::NOTHING };
        let Offered { info, tool, schema } = &*self.entries[index].offered;
        if info.price.is_zero() && !tool.is_priced() {
            return Spend::NOTHING;
        }
        let price = Spend::money(info.price);
        let Ok(arguments) = checked(&info.input_schema, schema, arguments) else {
            // The tool has changed since: it is called all the same, and says itself what it does not understand.
            let fits_told = told.is_some() && self.fits(name, arguments, told).is_ok();
            return if fits_told { price } else { Spend::NOTHING };
        };
        let own = if tool.is_priced() { tool.quote(&arguments) } else { Spend::NOTHING };
        own.saturating_add(price)
    }

    /// Whether arguments fit the schema that a mission was `told`: the tool's own, where it was told none.
    ///
    /// # Errors
    /// The first mistake, with its place among the arguments (`/arguments/…`).
    pub fn fits(&self, name: &str, arguments: &str, told: Option<&Value>) -> Result<(), Mistake> {
        let Some(index) = self.position(name) else { return Ok(()) };
        let offered = &self.entries[index].offered;
        let told = told.filter(|told| **told != offered.info.input_schema);
        let told = told.and_then(|told| Some((told, compiled(told).ok()?)));
        let mistake = |place: &str, why: &str| {
            let pointer = Pointer::raw(format!("/arguments{place}"));
            Err(Mistake::new(pointer, "invalid", limit::clip(why, MISTAKE_BYTES_MAX)))
        };
        let value: Value = match serde_json::from_str(arguments) {
            Ok(value) => value,
            Err(error) => return mistake("", &format!("they are not JSON: {error}")),
        };
        let (declared, schema) = match &told {
            Some((declared, schema)) => (*declared, schema),
            None => (&offered.info.input_schema, &offered.schema),
        };
        match misfit(declared, schema, &value) {
            None => Ok(()),
            Some((place, why)) => mistake(&place, &why),
        }
    }

    /// What a call did cost, with the price that its tool has by configuration, if the tool said what it cost by itself.
    #[must_use]
    pub fn settled(&self, name: &str, bill: &Bill) -> Option<Spend> {
        let price = self.info(name).map_or(MicroUsd::ZERO, |info| info.price);
        bill.said().map(|said| said.saturating_add(Spend::money(price)))
    }

    /// Calls a tool with the text of its arguments, under its time limit, which `sleep` measures. Dropping the future cancels
    /// the call. While its tool asks people nothing is measured, and behind their answer the limit begins anew: how often it asks is
    /// bounded by whoever asks them.
    ///
    /// The arguments are held against the schema that whoever calls was `handed`: the tool's own, unless that has changed since. What
    /// a tool that has changed does not understand it says itself.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn call<S>(
        &self,
        name: &str,
        context: &CallContext,
        arguments: &str,
        handed: Option<&Value>,
        sleep: impl Fn(Duration) -> S,
    ) -> Result<ToolAnswer, CallError>
    where
        S: Future<Output = ()>,
    {
        let Some(index) = self.position(name) else { return Err(self.unknown(name)) };
        let Entry { offered, provider } = &self.entries[index];
        let Offered { info, tool, schema } = &**offered;
        let text = arguments;
        let arguments = match handed.filter(|handed| **handed != info.input_schema) {
            None => checked(&info.input_schema, schema, text)?,
            // One that cannot be compiled was never a tool's.
            Some(handed) => match compiled(handed) {
                Ok(schema) => checked(handed, &schema, text)?,
                Err(_) => checked(&info.input_schema, schema, text)?,
            },
        };
        if let Some(why) = self.links[*provider].is_out() {
            return Err(CallError::Failed(format!("{} cannot be called: {why}", info.name)));
        }
        let time_limit = tool.time_limit();
        let mut asking = context.ask.waits();
        let mut call = tool.call_as_written(context, &arguments, text);
        let answer = loop {
            let asks = *asking.borrow_and_update() > 0;
            tokio::select! {
                biased;
                answer = &mut call => break answer?,
                Ok(()) = asking.changed() => {}
                () = sleep(time_limit), if !asks => {
                    let (name, seconds) = (&info.name, time_limit.as_secs());
                    return Err(CallError::TimedOut(format!(
                        "{name} took longer than the {seconds} s that a call of it may take: ask it for a smaller part, or again"
                    )));
                }
            }
        };
        drop(call);
        if answer.result.len() > limit::CALL_BYTES_MAX {
            let (bytes, max) = (answer.result.len(), limit::CALL_BYTES_MAX);
            return Err(CallError::Failed(format!("the result has {bytes} bytes, {max} are allowed; ask for less")));
        }
        Ok(answer)
    }

    /// What is said to a call of a tool that is not here.
    fn unknown(&self, name: &str) -> CallError {
        let quoted = limit::clip(name, limit::QUOTE_BYTES_MAX);
        if let Found::Away(why) = self.find(name) {
            return CallError::Failed(format!("`{quoted}` cannot be called: {why}"));
        }
        let known: Vec<&str> = self.infos.iter().map(|info| info.name.as_str()).collect();
        let known = limit::clip(&known.join(", "), limit::NOTE_BYTES_MAX);
        CallError::Denied(format!("this node has no tool `{quoted}`; it has {known}"))
    }

    fn position(&self, name: &str) -> Option<usize> {
        let here = |index: &usize| by_letters(self.infos[*index].name.as_str(), name);
        self.by_name.binary_search_by(here).ok().map(|at| self.by_name[at])
    }
}

impl fmt::Debug for Toolbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.infos.iter().map(|info| &info.name)).finish()
    }
}

/// The order of names, without regard to case: patterns have none either.
fn by_letters(one: &str, other: &str) -> Ordering {
    one.bytes().map(|byte| byte.to_ascii_lowercase()).cmp(other.bytes().map(|byte| byte.to_ascii_lowercase()))
}

/// The arguments, parsed and held against the schema. The error names the first place that is wrong.
fn checked(declared: &Value, schema: &Validator, arguments: &str) -> Result<Value, CallError> {
    if arguments.len() > limit::CALL_BYTES_MAX {
        let max = limit::CALL_BYTES_MAX;
        return Err(CallError::InvalidArguments(format!(
            "the arguments have {} bytes, {max} are allowed",
            arguments.len()
        )));
    }
    let value: Value = serde_json::from_str(arguments)
        .map_err(|error| CallError::InvalidArguments(format!("the arguments are not JSON: {error}")))?;
    let Some((place, why)) = misfit(declared, schema, &value) else { return Ok(value) };
    let place = if place.is_empty() { "the arguments" } else { &place };
    let (place, why) = (limit::clip(place, limit::QUOTE_BYTES_MAX), limit::clip(&why, MISTAKE_BYTES_MAX));
    Err(CallError::InvalidArguments(format!("{place}: {why}")))
}

/// The first place that is wrong, and why. The validator gathers all mistakes before it tells one, and there may be as many as the
/// arguments have bytes.
fn misfit(declared: &Value, schema: &Validator, value: &Value) -> Option<(String, String)> {
    if let Err(why) = unfold::looks(declared, value) {
        return Some((String::new(), format!("they cannot be held against the tool's schema: {why}")));
    }
    if schema.is_valid(value) {
        return None;
    }
    schema.validate(value).err().map(|error| (error.instance_path().to_string(), error.to_string()))
}
