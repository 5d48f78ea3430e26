//! The models of a configuration: what a call of one is, from the request to the bill.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use sortie_ambient::Surroundings;
use sortie_contract::limit;
use sortie_contract::money::Spend;
use sortie_contract::tool::CallError;

use crate::answer::{Answer, StopReason, Usage};
use crate::config::{ConfigError, ModelsConfig, Thinking};
use crate::line::{Broken, Marks};
use crate::models::{Ask, Completed, Failed, ModelInfo, Models};
use crate::names::Names;
use crate::price::Fine;
use crate::protocol::{Count, Round, Turn, anthropic, complaint};
use crate::provider::{Provider, Sender};
use crate::request::Request;
use crate::retry::{self, Cost, Purse, Trouble};
use crate::setup::{self, Model};
use crate::structured;

/// Most tools that a model is told of: as many as a provider of tools has.
const TOOLS_MAX: usize = 512;

/// Largest body that is sent, in bytes: what providers take.
const BODY_BYTES_MAX: usize = 32 << 20;

/// What a provider adds of its own and counts as input, in tokens: marks around messages.
const ADDED_TOKENS: u64 = 64;

/// The same where it explains tools or a schema to the model: Anthropic's words for tools count 346 tokens, those of others less.
const EXPLAINED_TOKENS: u64 = 1_024;

/// The longest that a provider is waited for where its health is asked.
const CHECK_TIME_LIMIT: Duration = Duration::from_secs(15);

/// The models of a configuration.
pub struct Configured {
    models: BTreeMap<String, Model>,
    ambient: Surroundings,
}

/// How a model is, as far as can be said without paying for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It answers.
    Well,
    /// It answers, and something is odd.
    Doubtful(String),
    /// No call of it would succeed.
    Ill(String),
}

/// A call that can be made.
struct Prepared<'a> {
    model: &'a Model,
    request: Request,
    names: Names,
    ask: Ask<'a>,
    max_tokens: u32,
    /// The most that its first round reads.
    reads: u64,
}

impl Configured {
    /// Models as configured. `folder` is where relative names of files begin: that of the configuration.
    ///
    /// # Errors
    /// [`ConfigError`], with the place.
    pub fn new(config: &ModelsConfig, folder: &Path, ambient: Surroundings) -> Result<Self, ConfigError> {
        Ok(Self { models: setup::models(config, folder, &ambient)?, ambient })
    }

    /// How a model is: asks its provider something that costs nothing. `None`: there is no such model.
    pub async fn check(&self, name: &str) -> Option<Health> {
        let model = self.models.get(name)?;
        let Some(asked) = self.ambient.timeout(CHECK_TIME_LIMIT, model.provider.list()).await else {
            return Some(Health::Ill(format!("no answer within {CHECK_TIME_LIMIT:?}")));
        };
        let reply = match asked {
            // A script was read when the node started.
            None => return Some(Health::Well),
            Some(Ok(reply)) => reply,
            Some(Err(Broken::NotAsked(why) | Broken::NotReached(why) | Broken::NoAnswer(why) | Broken::Cut(why))) => {
                return Some(Health::Ill(why));
            }
            // Who asks this runs the node.
            Some(Err(Broken::AtHome { host, .. })) => return Some(Health::Ill(host)),
        };
        Some(match reply.status {
            200..=299 => listed(&reply.body, &model.info.model),
            401 | 403 => Health::Ill(format!("its key is refused ({})", reply.status)),
            404 | 405 => Health::Doubtful("its server is there, and lists no models".to_owned()),
            429 | 503 | 529 => Health::Doubtful(format!("its provider is at a limit or out ({})", reply.status)),
            status => Health::Ill(format!("its provider answers {status}: {}", complaint(&reply.body))),
        })
    }

    fn prepare<'a>(&'a self, ask: &Ask<'a>) -> Result<Prepared<'a>, CallError> {
        let request = Request::parse(ask.request)?;
        let model = self.model(request.model.as_deref())?;
        let ModelInfo { name, max_output_tokens, takes_tools, takes_images, .. } = &model.info;
        let invalid = |why: String| Err(CallError::InvalidArguments(why));
        if ask.tools.len() > TOOLS_MAX {
            return invalid(format!("{} tools are handed over, {TOOLS_MAX} are allowed", ask.tools.len()));
        }
        if !takes_tools && !ask.tools.is_empty() {
            return Err(CallError::Failed(format!("[model.{name}] takes no tools")));
        }
        if !takes_images && request.images().next().is_some() {
            return Err(CallError::Failed(format!("[model.{name}] takes no images")));
        }
        let max_tokens = request.max_tokens.unwrap_or(*max_output_tokens);
        if max_tokens > *max_output_tokens {
            return invalid(format!("/max_tokens: must be {max_output_tokens} at most, which [model.{name}] writes"));
        }
        let wants_budget = matches!(model.provider, Provider::Anthropic { thinking: Thinking::Budget, .. });
        if wants_budget && request.reasoning.is_some() && max_tokens <= anthropic::THINKING_TOKENS_MIN {
            let least = anthropic::THINKING_TOKENS_MIN + 1;
            return invalid(format!("/max_tokens: must be {least} at least beside `reasoning`"));
        }
        let names = Names::of(ask.tools, &request);
        let mut prepared = Prepared { model, request, names, ask: *ask, max_tokens, reads: 0 };
        prepared.reads = prepared.read_at_most()?;
        Ok(prepared)
    }

    fn model(&self, name: Option<&str>) -> Result<&Model, CallError> {
        let known = || match self.models.len() {
            0 => "no model is configured on this node".to_owned(),
            _ => format!("there is {}", self.models.keys().map(String::as_str).collect::<Vec<_>>().join(", ")),
        };
        let Some(name) = name else {
            let default = self.models.values().find(|model| model.info.is_default);
            return default.ok_or_else(|| match self.models.len() {
                0 => CallError::Failed(known()),
                _ => CallError::InvalidArguments(format!(
                    "/model: must be there, for no model is the default; {}",
                    known()
                )),
            });
        };
        let quoted = limit::clip(name, limit::QUOTE_BYTES_MAX);
        self.models.get(name).ok_or_else(|| CallError::Failed(format!("there is no model `{quoted}`; {}", known())))
    }
}

impl Prepared<'_> {
    fn round<'r>(&'r self, request: &'r Request) -> Round<'r> {
        Round {
            request,
            tools: self.ask.tools,
            names: &self.names,
            model: &self.model.info.model,
            max_tokens: self.max_tokens,
            takes_schemas: self.model.info.takes_schemas,
        }
    }

    /// The most that the first round reads, in tokens: the bytes of all that is sent, for no token has less than one. Images are counted
    /// by their number, and the words that a provider adds of its own by a sum that none of them reaches.
    fn read_at_most(&self) -> Result<u64, CallError> {
        let body = self.model.provider.render(&self.round(&self.request)).to_string().len();
        if body > BODY_BYTES_MAX {
            let why = format!("request and tools have {body} bytes as they are sent, {BODY_BYTES_MAX} are allowed");
            return Err(CallError::InvalidArguments(why));
        }
        let (count, bytes) =
            self.request.images().fold((0_u64, 0_usize), |(count, bytes), image| (count + 1, bytes + image.data.len()));
        let explains = !self.ask.tools.is_empty() || self.request.output.is_some();
        let added = match self.model.provider.adds_words() {
            true if explains => EXPLAINED_TOKENS,
            true => ADDED_TOKENS,
            false => 0,
        };
        let images = count * u64::from(self.model.image_tokens);
        let reads = body.saturating_sub(bytes) as u64 + images + added;
        Ok(self.no_more_than_context(reads))
    }

    /// What is longer than a model's context, its provider refuses.
    fn no_more_than_context(&self, tokens: u64) -> u64 {
        self.model.info.context_tokens.map_or(tokens, |context| tokens.min(u64::from(context)))
    }

    /// The most that the second round reads: what the first one did, what that wrote, and what is wrong with it. What was written may
    /// be cut into tokens in another way when it is read, though hardly into twice as many.
    fn read_again_at_most(&self) -> u64 {
        let reads = self.reads + 2 * u64::from(self.max_tokens) + structured::REPAIR_TOKENS;
        self.no_more_than_context(reads)
    }

    fn first_at_most(&self) -> Fine {
        self.model.prices.at_most(self.reads, self.max_tokens.into())
    }

    fn second_at_most(&self) -> Fine {
        self.model.prices.at_most(self.read_again_at_most(), self.max_tokens.into())
    }

    /// What is set aside: for a round, and for a second one where an answer may not fit. Attempts that are lost have to be covered by it.
    fn at_most(&self) -> Fine {
        let second = if self.request.output.is_some() { self.second_at_most() } else { Fine::default() };
        self.first_at_most().and(second)
    }

    fn quote(&self) -> Spend {
        called(self.at_most())
    }

    /// What a round counts: as its provider says, or else the most that it can have been.
    fn counted(&self, count: Option<Count>, reads: u64) -> Usage {
        let writes = self.max_tokens.into();
        let Some(count) = count else {
            return Usage { input_tokens: reads, output_tokens: writes, cached_input_tokens: 0, estimated: true };
        };
        let usage = count.dearest(self.model.prices, reads, writes);
        if count.is_odd() && !self.model.is_odd.swap(true, Relaxed) {
            tracing::warn!(
                model = %self.model.info.name, told = ?count, counts = ?usage,
                "a provider's usage contradicts itself: the most that it can mean is booked; this is told once for each model"
            );
        }
        usage
    }

    async fn make(&self, ambient: &Surroundings) -> Result<Completed, Failed> {
        let key = self.key(1);
        let purse = Purse { each: self.first_at_most(), all: self.at_most() };
        let turn = retry::round(self.model, &self.round(&self.request), self.sender(&key), &key, purse, ambient).await;
        let (turn, lost) = turn.map_err(|trouble| self.first_failed(trouble))?;
        let usage = self.counted(turn.usage, self.reads);
        let cost = lost.and(self.model.prices.of(usage));
        let Some(schema) = &self.request.output else { return self.completed(turn, None, usage, cost) };
        // Who asks for a tool answers later, and who refuses does not.
        if matches!(turn.stop_reason, StopReason::ToolUse | StopReason::Refusal) {
            return self.completed(turn, None, usage, cost);
        }
        let why = match structured::fit(&turn, schema, ambient).await {
            Ok(output) => return self.completed(turn, Some(output), usage, cost),
            Err(why) => why,
        };
        if turn.stop_reason == StopReason::MaxTokens {
            let why =
                format!("the answer was cut at max_tokens ({}) before it fits output_schema: {why}", self.max_tokens);
            return Err(failed(why, Some(cost)));
        }
        let purse = Purse { each: self.second_at_most(), all: self.at_most().without(cost) };
        if lost > Fine::default() && purse.each > purse.all {
            let why = format!(
                "the answer does not fit output_schema ({why}), and is not asked for again: an attempt that was lost before it may have been                  billed, and no more is set aside"
            );
            return Err(failed(why, Some(cost)));
        }
        let again = structured::again(&self.request, &turn, &why);
        let key = self.key(2);
        let second = retry::round(self.model, &self.round(&again), self.sender(&key), &key, purse, ambient).await;
        let (second, lost) = second.map_err(|trouble| self.second_failed(&trouble, &why, cost))?;
        let counted = self.counted(second.usage, self.read_again_at_most());
        let (usage, cost) = (usage.and(counted), cost.and(lost).and(self.model.prices.of(counted)));
        if matches!(second.stop_reason, StopReason::ToolUse | StopReason::Refusal) {
            return self.completed(second, None, usage, cost);
        }
        match structured::fit(&second, schema, ambient).await {
            Ok(output) => self.completed(second, Some(output), usage, cost),
            Err(why) => {
                let why = format!("the answer does not fit output_schema, after it was asked for again: {why}");
                Err(failed(why, Some(cost)))
            }
        }
    }

    fn first_failed(&self, trouble: Trouble) -> Failed {
        let spent = match trouble.cost {
            Cost::NotAsked if trouble.lost == Fine::default() => Some(Spend::NOTHING),
            Cost::NotAsked | Cost::Refused => Some(called_for(trouble.lost)),
            Cost::Counted(count) => {
                let usage = self.counted(Some(count), self.reads);
                Some(called_for(trouble.lost.and(self.model.prices.of(usage))))
            }
            Cost::Unknown => None,
        };
        Failed { error: trouble.error, spent, hold: trouble.hold }
    }

    /// The first round is paid for: a call that were held now would pay for it again.
    fn second_failed(&self, trouble: &Trouble, misfit: &str, first: Fine) -> Failed {
        let second = match trouble.cost {
            Cost::NotAsked | Cost::Refused => Fine::default(),
            Cost::Counted(count) => self.model.prices.of(self.counted(Some(count), self.read_again_at_most())),
            Cost::Unknown => self.second_at_most(),
        };
        let second = trouble.lost.and(second);
        let why = format!(
            "the answer does not fit output_schema ({misfit}), and could not be asked for again: {}",
            trouble.error
        );
        let error = match trouble.error {
            CallError::TimedOut(_) => CallError::TimedOut(why),
            _ => CallError::Failed(why),
        };
        Failed { error, spent: Some(called_for(first.and(second))), hold: None }
    }

    fn completed(&self, turn: Turn, output: Option<Value>, usage: Usage, cost: Fine) -> Result<Completed, Failed> {
        let spent = called_for(cost);
        let model = self.model.info.name.clone();
        let answer = Answer {
            content: turn.content,
            stop_reason: turn.stop_reason,
            output,
            usage,
            cost_usd: spent.cost.as_usd(),
            model: model.clone(),
        };
        let answer =
            serde_json::to_string(&answer).map_err(|error| failed(format!("no answer: {error}"), Some(cost)))?;
        if answer.len() > limit::CALL_BYTES_MAX {
            let why = format!("the answer has {} bytes, {} are allowed", answer.len(), limit::CALL_BYTES_MAX);
            return Err(failed(why, Some(cost)));
        }
        Ok(Completed { answer, spent, model, usage })
    }

    fn sender<'s>(&'s self, key: &'s str) -> Sender<'s> {
        let marks = Marks { idempotency_key: key, traceparent: self.ask.traceparent };
        Sender { mission_id: self.ask.mission_id, marks }
    }

    /// The same for each attempt at this round. Who is asked learns no name of a mission from it, and any header carries it.
    fn key(&self, round: u8) -> String {
        let digest = Sha256::new().chain_update([round]).chain_update(self.ask.idempotency_key).finalize();
        digest[..12].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// One call that costs so much at most.
fn called(cost: Fine) -> Spend {
    Spend { llm_calls: 1, cost: cost.up() }
}

/// One call that did cost so much.
fn called_for(cost: Fine) -> Spend {
    Spend { llm_calls: 1, cost: cost.nearest() }
}

fn failed(why: String, cost: Option<Fine>) -> Failed {
    Failed { error: CallError::Failed(why), spent: cost.map(called_for), hold: None }
}

/// What a list of models says of one.
fn listed(body: &str, model: &str) -> Health {
    let value: Value = serde_json::from_str(body).unwrap_or_default();
    let Some(models) = value["data"].as_array() else {
        return Health::Doubtful("its server is there, and lists no models".to_owned());
    };
    if models.iter().any(|listed| listed["id"] == model) || value["has_more"] == true {
        Health::Well
    } else {
        Health::Doubtful(format!("its provider does not list `{}`", limit::clip(model, limit::QUOTE_BYTES_MAX)))
    }
}

#[async_trait]
impl Models for Configured {
    fn list(&self) -> Vec<ModelInfo> {
        self.models.values().map(|model| model.info.clone()).collect()
    }

    fn quote(&self, ask: &Ask<'_>) -> Result<Spend, CallError> {
        self.prepare(ask).map(|prepared| prepared.quote())
    }

    async fn complete(&self, ask: &Ask<'_>) -> Result<Completed, Failed> {
        let prepared = self.prepare(ask).map_err(|error| Failed { error, spent: Some(Spend::NOTHING), hold: None })?;
        prepared.make(&self.ambient).await
    }
}

impl std::fmt::Debug for Configured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Configured").field("models", &self.models.keys()).finish_non_exhaustive()
    }
}
