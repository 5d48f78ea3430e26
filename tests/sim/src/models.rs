//! Models: what they ask for an answer, what they do with a call, and what was really paid for it, in steps that the world lets happen.
//!
//! What they bill is written down outside of the node, where no crash reaches it ([`crate::outside::Client::bills`]): what the node has
//! booked is held against that.

use std::future::pending;
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use serde_json::{Value, json};
use sortie_contract::digest::Digest;
use sortie_contract::id::CallNo;
use sortie_contract::tool::CallError;
use sortie_contract::{MicroUsd, Spend, Timestamp};
use sortie_models::{Ask, Completed, Failed, Hold, ModelInfo, Models, PriceInfo, Protocol, Usage};

use crate::check;
use crate::executor::Executor;
use crate::money;
use crate::scene::Scene;
use crate::tools::is_gone;

/// The model that is always there, and the one that comes and goes.
pub(crate) const MODELS: [&str; 2] = ["plain", "rare"];

/// A provider that says how long it refuses says less than this; some of it is longer than a node waits.
const HINT_SECONDS_MAX: u64 = 30_000;

/// How the models are at the moment, whoever asks.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// How often prices have changed: every second time they are double.
    pub(crate) edition: u64,
    /// They take what they have quoted, and no more.
    pub(crate) honest: bool,
}

impl State {
    fn has(&self, model: &str) -> bool {
        model == MODELS[0] || (model == MODELS[1] && !self.edition.is_multiple_of(3))
    }

    /// The most that a request can cost by now.
    fn price(&self, request: &Value) -> Spend {
        let cents = request["cents"].as_u64().map(|cents| cents * 10_000);
        let dice = Digest::of(request.to_string().as_bytes()).prefix();
        let by_lot = if dice.is_multiple_of(7) { 0 } else { (dice >> 16) % 120_000 };
        let times = if cents.is_none() && self.edition % 2 == 1 { 2 } else { 1 };
        Spend { llm_calls: 1, cost: MicroUsd(cents.unwrap_or(by_lot) * times) }
    }
}

/// What was really paid for a call.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bills {
    /// How often it reached a model.
    pub(crate) attempts: u32,
    /// What these billed, each of them no more than was set aside for it: what is above that nobody may ever learn of.
    pub(crate) paid: Spend,
}

/// The models of one life of a node.
pub(crate) struct Oracle {
    pub(crate) scene: Arc<Scene>,
    pub(crate) executor: Weak<Executor>,
}

/// What a model does with a call.
enum Fate {
    Answers {
        spent: Spend,
    },
    Fails {
        spent: Option<Spend>,
    },
    /// Its provider has reached a limit, and did nothing.
    Refuses {
        until: Option<Timestamp>,
    },
    /// It has reached a limit, and nobody knows whether it did something first.
    Doubtful,
    /// It takes the money, and is not heard of again.
    Hangs,
    /// It takes the money and breaks.
    Panics,
}

#[async_trait]
impl Models for Oracle {
    fn list(&self) -> Vec<ModelInfo> {
        let has = |name: &&str| self.scene.outside(|outside| outside.models.has(name));
        MODELS.into_iter().filter(has).map(info).collect()
    }

    fn quote(&self, ask: &Ask<'_>) -> Result<Spend, CallError> {
        let request: Value =
            serde_json::from_str(ask.request).map_err(|error| CallError::InvalidArguments(error.to_string()))?;
        let model = request["model"].as_str().unwrap_or_default();
        self.scene.outside(|outside| {
            let none = || CallError::Failed(format!("there is no model `{model}`"));
            outside.models.has(model).then(|| outside.models.price(&request)).ok_or_else(none)
        })
    }

    async fn complete(&self, ask: &Ask<'_>) -> Result<Completed, Failed> {
        let executor = self.executor.upgrade().ok_or_else(|| failed(CallError::Cancelled, None))?;
        let (mission, call) = ask.idempotency_key.rsplit_once('/').expect("a mission and a call");
        let client = self.scene.outside(|outside| outside.client_of(mission));
        let call = CallNo(call.parse().expect("a number"));
        let quoted = self.quote(ask).expect("it was just quoted");
        let fate = self.fate(quoted);
        let is_held = self.scene.is_held(&executor, client);
        assert!(is_held, "m{client}: a model is asked for call {call} by a node that has lost the mission");
        self.leave(client, call, ask, quoted, &fate);
        executor.pass().await;
        if self.scene.one_in(2) {
            // Its answer is on its way.
            executor.pass().await;
        }
        drop(executor);
        match fate {
            Fate::Answers { spent } => {
                let answer = json!({ "says": self.scene.roll(|rng| rng.u32(..)) }).to_string();
                if !is_gone(&self.scene, client) {
                    self.scene.client(client, |client| {
                        client.calls.entry(call).or_default().results.insert(answer.clone());
                    });
                }
                Ok(Completed { answer, spent, model: MODELS[0].to_owned(), usage: Usage::default() })
            }
            Fate::Fails { spent } => Err(failed(CallError::Failed("it cannot think of anything".to_owned()), spent)),
            Fate::Refuses { until } => Err(limited(until, Some(Spend::NOTHING))),
            Fate::Doubtful => Err(limited(None, None)),
            Fate::Hangs => pending().await,
            Fate::Panics => panic!("{}", crate::tools::ON_PURPOSE),
        }
    }
}

impl Oracle {
    /// What becomes of a call that was quoted at so much.
    fn fate(&self, quoted: Spend) -> Fate {
        let (faults, honest) = self.scene.outside(|outside| (outside.faults, outside.models.honest));
        let some = || Spend { cost: MicroUsd(self.scene.roll(|rng| rng.u64(..=quoted.cost.0))), ..quoted };
        let dice = self.scene.roll(|rng| rng.u32(..48));
        let (counts, fate) = match dice {
            0 if !honest => {
                let more = MicroUsd(1 + self.scene.roll(|rng| rng.u64(..300_000)));
                (
                    "model that is dearer than it said",
                    Fate::Answers { spent: quoted.saturating_add(Spend::money(more)) },
                )
            }
            1 if !honest => {
                let more = Spend { llm_calls: 1, cost: MicroUsd::ZERO };
                ("model that is dearer than it said", Fate::Answers { spent: quoted.saturating_add(more) })
            }
            2 | 3 => ("model that fails", Fate::Fails { spent: Some(some()) }),
            4 => ("model that fails", Fate::Fails { spent: None }),
            5 => ("model that fails", Fate::Fails { spent: Some(Spend::NOTHING) }),
            6..=8 => ("model that is at its limit", Fate::Refuses { until: None }),
            9..=12 => {
                let seconds = self.scene.roll(|rng| rng.u64(..HINT_SECONDS_MAX));
                // Some of these times are over.
                let until = self.scene.clock.wall() + std::time::Duration::from_secs(seconds)
                    - std::time::Duration::from_secs(HINT_SECONDS_MAX / 8);
                ("model that says until when it is at its limit", Fate::Refuses { until: Some(until) })
            }
            13 => ("model that may have done something", Fate::Doubtful),
            14 if faults => ("model that never answers", Fate::Hangs),
            15 if faults => ("model that panics", Fate::Panics),
            _ => ("model that answers", Fate::Answers { spent: some() }),
        };
        self.scene.count(counts);
        fate
    }

    /// The call leaves the node: whatever it depends on must be certain. What it bills is written down.
    fn leave(&self, client: usize, call: CallNo, ask: &Ask<'_>, quoted: Spend, fate: &Fate) {
        let billed = match fate {
            Fate::Answers { spent } | Fate::Fails { spent: Some(spent) } => *spent,
            Fate::Refuses { .. } => Spend::NOTHING,
            Fate::Fails { spent: None } | Fate::Doubtful | Fate::Hangs | Fate::Panics => quoted,
        };
        let wall = self.scene.clock.wall();
        self.scene.tell(client, &format!("call {call} reaches a model, which bills {billed}"));
        let again = self.scene.ledger(|ledger| {
            let side = ledger.of(client);
            self.scene.client(client, |client| {
                let set_aside = check::may_be_asked(side, client, call, ask, quoted, wall);
                let bills = client.bills.entry(call).or_default();
                bills.attempts += 1;
                bills.paid = bills.paid.saturating_add(least(billed, set_aside));
                let again = bills.attempts > 1;
                money::paid(side.expect("it is on disk"), client);
                again
            })
        });
        if again {
            self.scene.count("call of a model that is made again");
        }
    }
}

/// Of each the lesser.
fn least(one: Spend, other: Spend) -> Spend {
    Spend { llm_calls: one.llm_calls.min(other.llm_calls), cost: one.cost.min(other.cost) }
}

fn failed(error: CallError, spent: Option<Spend>) -> Failed {
    Failed { error, spent, hold: None }
}

fn limited(until: Option<Timestamp>, spent: Option<Spend>) -> Failed {
    let why = "429: too many".to_owned();
    Failed { error: CallError::Failed(why.clone()), spent, hold: Some(Hold { until, why }) }
}

fn info(name: &str) -> ModelInfo {
    ModelInfo {
        name: name.to_owned(),
        protocol: Protocol::Scripted,
        model: name.to_owned(),
        context_tokens: None,
        max_output_tokens: 1_000,
        takes_tools: true,
        takes_images: false,
        takes_schemas: false,
        prices: PriceInfo { input: 1.0, output: 1.0, cached_input: 1.0 },
        is_default: name == MODELS[0],
    }
}
