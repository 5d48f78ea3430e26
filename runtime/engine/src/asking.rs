//! What the tool of a call asks people while it makes the call: a request of its mission, and the way of the answer back to the tool.
//!
//! Owned here: that a question is told as taken back when its tool does not wait any more, and that what a tool is answered is on disk.
//! Never here: whether it may ask, and when nobody waits any more, which the core says; and what fits the form, which is the form's
//! to say.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use async_trait::async_trait;
use sortie_contract::id::{CallNo, RunNo};
use sortie_contract::record::Record;
use sortie_contract::request::{Decision, RequestNo};
use sortie_mission::{Command, Refusal};
use sortie_tools::{Ask, Form, Question, Reply, Waits};
use tokio::sync::{Mutex, watch};

use super::Engine;
use super::act::ActError;
use super::live::{CommandError, Live, Wait};
use super::results::Place;

/// Why a request is withdrawn whose tool does not wait any more.
const TAKEN_BACK: &str = "the tool that asked does not wait for the answer any more";

/// Why a request is withdrawn of which nothing is in memory but its record.
const BROKE_OFF: &str = "the node stopped while the tool waited for the answer";

/// Whom the tool of one call asks: whoever decides about the requests of its mission.
pub(super) struct Asking {
    engine: Arc<Engine>,
    live: Arc<Live>,
    run: RunNo,
    call: CallNo,
    /// Given back while people think.
    place: Arc<Place>,
    /// One question after the other.
    turn: Mutex<()>,
    waits: Waits,
    /// That it asks more than it may was told.
    told: AtomicBool,
}

impl std::fmt::Debug for Asking {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "call {} of mission {}", self.call, self.live.no)
    }
}

impl Asking {
    pub(super) fn of(
        engine: &Arc<Engine>,
        live: &Arc<Live>,
        run: RunNo,
        call: CallNo,
        place: &Arc<Place>,
    ) -> Arc<Self> {
        let (engine, live, place) = (Arc::clone(engine), Arc::clone(live), Arc::clone(place));
        Arc::new(Self {
            engine,
            live,
            run,
            call,
            place,
            turn: Mutex::new(()),
            waits: Waits::default(),
            told: AtomicBool::new(false),
        })
    }
}

#[async_trait]
impl Ask for Asking {
    async fn ask(&self, Question { message, form }: Question) -> Reply {
        let _turn = self.turn.lock().await;
        if self.engine.is_stopping() {
            return nobody_says().await;
        }
        // Whoever asked before has taken that back, which may be on its way to the log.
        if let Some(before) = self.live.with(|mission| mission.question_of(self.call)) {
            self.engine.withdraw(&self.live, before, TAKEN_BACK).await;
        }
        let (run, call, schema) = (self.run, self.call, form.to_string());
        let asks = || Command::AskFor { run, call, question: message.clone(), schema: schema.clone() };
        let taken = match self.engine.command_patiently(&self.live, asks, Wait::No).await {
            Ok(taken) => taken,
            Err(CommandError::Refused(
                refusal @ (Refusal::TooManyQuestions { .. } | Refusal::NobodyAnswers { .. }),
            )) => {
                if !self.told.swap(true, Relaxed) {
                    tracing::warn!(no = %self.live.no, call = %self.call, %refusal, "its questions are declined from now on");
                }
                return Reply::Declined;
            }
            Err(_) => return Reply::Cancelled,
        };
        let asked = taken.records.iter().find_map(|stamped| match &stamped.record {
            Record::Elicited { request, .. } => Some(*request),
            _ => None,
        });
        // Where its time is over, it has ended instead.
        let Some(request) = asked else { return Reply::Cancelled };
        let _waits = self.waits.one();
        drop(self.place.take());
        let mut waiting = Waiting { asking: self, request, is_over: false };
        let decision = match self.live.said(request) {
            Some(said) => said.await.ok(),
            None => None,
        };
        waiting.is_over = true;
        if decision.is_none() && self.engine.is_stopping() {
            return nobody_says().await;
        }
        // What a tool is told may become an effect: it is on disk before.
        let (Some(decision), Ok(())) = (decision, self.engine.durable().await) else { return Reply::Cancelled };
        self.engine.results.come_back(&self.place).await;
        match decision {
            Decision::Answer { text } => match form.filled(&text) {
                Ok(content) => Reply::Accepted(content),
                Err(mistakes) => {
                    // It was held against the same form before it was taken.
                    tracing::error!(no = %self.live.no, %request, mistakes = mistakes.len(), "an answer does not fit");
                    Reply::Declined
                }
            },
            _ => Reply::Declined,
        }
    }

    fn waits(&self) -> watch::Receiver<usize> {
        self.waits.watched()
    }
}

/// The node stops, and the call breaks off with its run. A tool that was told so much as that nobody answers could still end it, as if somebody
/// had said that.
async fn nobody_says() -> Reply {
    std::future::pending().await
}

/// A question that waits. Dropped before it is over, it is taken back.
struct Waiting<'a> {
    asking: &'a Asking,
    request: RequestNo,
    is_over: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let (engine, live, request) = (Arc::clone(&self.asking.engine), Arc::clone(&self.asking.live), self.request);
        let task = Arc::clone(&engine);
        task.attend("withdrawal", async move { engine.withdraw(&live, request, TAKEN_BACK).await });
    }
}

impl Engine {
    /// Nobody waits for the answer any more. Where that is not recorded, the end of the call or the next start of its mission says so.
    async fn withdraw(&self, live: &Live, request: RequestNo, why: &str) {
        let withdraw = || Command::Withdraw { request, why: why.to_owned() };
        if let Err(error) = self.command_patiently(live, withdraw, Wait::No).await {
            tracing::debug!(no = %live.no, %request, error = &error as &dyn std::error::Error, "not withdrawn now");
        }
    }

    /// What tools asked of which only the record is left: their run broke off with its node, and nobody waits for answers. Where the log
    /// has no room for it, whoever wants to decide about such a request is told that it is full.
    pub(super) fn withdraw_unheard(&self, live: &Live) -> Result<(), CommandError> {
        for request in live.unheard() {
            self.command(live, Command::Withdraw { request, why: BROKE_OFF.to_owned() }, Wait::No)?;
        }
        Ok(())
    }

    /// Holds an answer against the form of a request that a tool made.
    ///
    /// # Errors
    /// What does not fit.
    pub(super) fn answer_fits(live: &Live, request: RequestNo, text: &str) -> Result<(), ActError> {
        let Some(form) = live.with(|mission| mission.form(request).map(str::to_owned)) else { return Ok(()) };
        match Form::parse(&form) {
            Ok(form) => form.filled(text).map(drop).map_err(ActError::Answer),
            // One that cannot be read was never asked.
            Err(_) => Ok(()),
        }
    }
}
