//! Tools: what a call does outside of the node, in steps that the world lets happen, so that a crash finds it at each of them.

use std::sync::{Arc, Weak};

use async_trait::async_trait;
use futures_util::future::{self, Either};
use serde_json::{Value, json};
use sortie_contract::digest::Digest;
use sortie_contract::id::CallNo;
use sortie_contract::money::{MicroUsd, Spend};
use sortie_contract::tool::{CallError, Repeat, ToolAnswer, ToolInfo};
use sortie_tools::{BuiltIn, CallContext, Form, Provider, Providers, Question, Reply, Tool};

use crate::check;
use crate::envelope::tools;
use crate::executor::Executor;
use crate::outside::Stray;
use crate::scene::Scene;
use crate::shop::{Shop, is_of_shop};

/// What a tool that panics says: nobody's mistake.
pub(crate) const ON_PURPOSE: &str = "on purpose";

/// The tools of one life of a node.
pub(crate) fn providers(scene: &Arc<Scene>, executor: &Arc<Executor>) -> Providers {
    let scripted = |info| -> Arc<dyn Tool> {
        Arc::new(Scripted { info, scene: Arc::clone(scene), executor: Arc::downgrade(executor) })
    };
    let built_in = BuiltIn::of(tools().into_iter().map(scripted).collect());
    let shop: Arc<dyn Provider> = Arc::new(Shop { scene: Arc::clone(scene), executor: Arc::downgrade(executor) });
    Providers::new(built_in, vec![shop], scene.clock.wall()).expect("each has a name of its own")
}

/// What a call may cost by itself: nothing for one in three.
fn own_quote(tool: &ToolInfo, arguments: &str) -> Spend {
    let dice = Digest::of(format!("{} {arguments}", tool.name).as_bytes()).prefix();
    let spend = Spend { llm_calls: dice >> 8 & 1, cost: MicroUsd((dice >> 16) % 200_000) };
    if dice.is_multiple_of(3) { Spend::NOTHING } else { spend }
}

/// What is to be set aside for a call.
pub(crate) fn quote(tool: &ToolInfo, arguments: &str) -> Spend {
    own_quote(tool, arguments).saturating_add(Spend::money(tool.price))
}

/// What a tool asks: red, unless somebody says otherwise.
pub(crate) fn color() -> Form {
    let color = json!({"type": "string", "enum": ["red", "blue"], "default": "red"});
    Form::of(json!({"type": "object", "properties": {"color": color}})).expect("a form")
}

/// A tool, as it was when whoever calls it was told of it.
pub(crate) struct Scripted {
    pub(crate) info: ToolInfo,
    pub(crate) scene: Arc<Scene>,
    pub(crate) executor: Weak<Executor>,
}

#[async_trait]
impl Tool for Scripted {
    fn info(&self) -> &ToolInfo {
        &self.info
    }

    fn is_priced(&self) -> bool {
        true
    }

    fn quote(&self, arguments: &Value) -> Spend {
        own_quote(&self.info, &arguments.to_string())
    }

    async fn call(&self, context: &CallContext, arguments: &Value) -> Result<ToolAnswer, CallError> {
        let executor = self.executor.upgrade().ok_or(CallError::Cancelled)?;
        if is_of_shop(self.info.name.as_str()) && !self.scene.outside(|outside| outside.shop.is_open) {
            self.scene.count("call that meets a closed door");
            return Err(CallError::Failed("the shop is closed".to_owned()));
        }
        let (mission, call) = context.idempotency_key.rsplit_once('/').expect("a mission and a call");
        let client = self.scene.outside(|outside| outside.client_of(mission));
        let call = CallNo(call.parse().expect("a number"));
        if !self.leave(&executor, client, call, &arguments.to_string()) {
            return Err(CallError::Cancelled);
        }
        self.bill(context, arguments);
        if self.scene.one_in(6) {
            self.ask(context, client, call, &executor).await;
        }
        let mut flight = Flight { tool: self, client, call, landed: false, is_back: false };
        executor.pass().await;
        let answer = flight.land();
        if self.scene.one_in(2) {
            // Its answer is on its way.
            executor.pass().await;
        }
        flight.is_back = true;
        answer
    }
}

impl Scripted {
    /// What it did cost: often it does not say, mostly it is less than it was quoted at, and now and then more.
    fn bill(&self, context: &CallContext, arguments: &Value) {
        let quoted = own_quote(&self.info, &arguments.to_string());
        let said = match self.scene.roll(|rng| rng.u32(..60)) {
            0 => quoted.saturating_add(Spend::money(MicroUsd(1 + self.scene.roll(|rng| rng.u64(..300_000))))),
            1 => quoted.saturating_add(Spend { llm_calls: 1, cost: MicroUsd::ZERO }),
            2..30 => Spend { cost: MicroUsd(self.scene.roll(|rng| rng.u64(..=quoted.cost.0))), ..quoted },
            _ => return,
        };
        context.bill.is(said);
    }

    /// It asks people something first, once or twice, and does not always wait for the answer. Whatever it is told is on disk.
    async fn ask(&self, context: &CallContext, client: usize, call: CallNo, executor: &Executor) {
        let scene = &self.scene;
        for _ in 0..1 + scene.roll(|rng| rng.u8(..2)) {
            let question = Question { message: format!("Which color has call {call}?"), form: color() };
            let asking = context.ask.ask(question);
            let said = if scene.one_in(4) {
                let passes = async {
                    for _ in 0..3 {
                        executor.pass().await;
                    }
                };
                match future::select(asking, Box::pin(passes)).await {
                    Either::Left((said, _)) => said,
                    Either::Right(_) => return scene.count("tool that takes its question back"),
                }
            } else {
                asking.await
            };
            match said {
                Reply::Accepted(content) => {
                    scene.ledger(|ledger| check::was_answered(ledger.of(client), call, &content));
                    scene.count("tool that is answered");
                }
                Reply::Declined => {
                    scene.ledger(|ledger| check::was_denied(ledger.of(client), call));
                    scene.count("tool that is not answered");
                }
                Reply::Cancelled => return scene.count("tool that nobody can answer"),
            }
        }
    }

    /// The call leaves the node: whatever it depends on must be certain. False where another node has the mission, and nothing would
    /// be felt of it.
    fn leave(&self, executor: &Executor, client: usize, call: CallNo, arguments: &str) -> bool {
        if !self.scene.is_held(executor, client) {
            let is_felt = self.info.repeat() != Repeat::ReadOnly || !quote(&self.info, arguments).is_nothing();
            assert!(!is_felt, "m{client}: call {call} is made by a node that has lost the mission");
            self.scene.count("call of a node that has lost the mission");
            return false;
        }
        let wall = self.scene.clock.wall();
        self.scene.tell(client, &format!("call {call} leaves the node"));
        self.scene.ledger(|ledger| {
            let side = ledger.of(client);
            self.scene.client(client, |client| {
                check::may_be_sent(side, client, call, &self.info, arguments, wall);
                if self.info.repeat() != Repeat::ReadOnly {
                    let effects = client.calls.entry(call).or_default();
                    effects.sent += 1;
                }
            });
        });
        true
    }
}

/// A call that has left the node.
struct Flight<'a> {
    tool: &'a Scripted,
    client: usize,
    call: CallNo,
    landed: bool,
    is_back: bool,
}

impl Flight<'_> {
    /// It has its effect, or fails.
    fn land(&mut self) -> Result<ToolAnswer, CallError> {
        let scene = &self.tool.scene;
        let dice = scene.roll(|rng| rng.u8(..30));
        if dice == 0 {
            self.landed = true;
            return Err(CallError::Failed("it is broken".to_owned()));
        }
        self.landed = true;
        land(scene, self.client, self.call, self.tool.info.repeat());
        if dice == 1 {
            return Err(CallError::TimedOut("it took too long".to_owned()));
        }
        if dice == 2 {
            self.is_back = true;
            scene.count("tool that panics");
            panic!("{ON_PURPOSE}");
        }
        let result = format!("\"{} {}\"", self.tool.info.name, scene.roll(|rng| rng.u32(..)));
        if self.tool.info.repeat() != Repeat::ReadOnly && !is_gone(scene, self.client) {
            scene.client(self.client, |client| {
                client.calls.entry(self.call).or_default().results.insert(result.clone());
            });
        }
        Ok(ToolAnswer { result, wrote: Vec::new() })
    }
}

impl Drop for Flight<'_> {
    /// Nobody waits for it any more; it goes on without them.
    fn drop(&mut self) {
        if self.is_back {
            return;
        }
        let scene = &self.tool.scene;
        scene.count("call that nobody waits for any more");
        if !self.landed {
            let stray = Stray { client: self.client, call: self.call, repeat: self.tool.info.repeat() };
            scene.outside(|outside| outside.strays.push(stray));
        }
    }
}

/// Whether the mission of a client is removed: what its calls still come to is nobody's to know.
pub(crate) fn is_gone(scene: &Scene, client: usize) -> bool {
    scene.outside(|outside| outside.gone.contains(&client))
}

/// A call has its effect.
pub(crate) fn land(scene: &Scene, client: usize, call: CallNo, repeat: Repeat) {
    if repeat == Repeat::ReadOnly || is_gone(scene, client) {
        return;
    }
    scene.tell(client, &format!("call {call} has its effect"));
    scene.count("effect");
    scene.client(client, |client| client.calls.entry(call).or_default().landed += 1);
}
