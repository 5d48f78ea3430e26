//! Providers of tools: each is reached, asked what it has, watched, tried again when it is lost, and let go of at the end.
//!
//! Each has a task of its own, and whatever it is asked it is asked in another one, under a time limit: one that hangs or panics is
//! out, and nobody else notices. What comes of it is told to [`Providers`](sortie_tools::Providers), which everybody else reads.
//!
//! Until each has been asked once, or has taken too long for that, no mission begins and no dispatch is examined: which tools a plugin
//! is handed is decided for good, and must not hang on who was first when a node started.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::{Either, join_all, select};
use sortie_ambient::{Ambient, Surroundings};
use sortie_tools::{Changed, LinkState, Offer, Provider, ProviderError};
use tokio::sync::watch;

use super::Engine;

/// How long a provider may take to be reached: one that fetches itself first takes its time.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);

/// How long it may take to answer anything else.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// How long missions and dispatches of a node that has just started wait for its providers.
const FIRST_LOOK: Duration = Duration::from_secs(10);

/// How often it is asked whether it is well.
const HEALTH_ROUND: Duration = Duration::from_secs(30);

/// So long it is waited for further changes of a list, so that many are looked at once.
const CHANGES_SETTLE: Duration = Duration::from_millis(250);

/// The longest wait before a provider is tried again for the first time, and the longest of all.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_MAX: Duration = Duration::from_secs(60);

/// Whoever was well for so long is tried again as if it had never failed.
const WELL: Duration = Duration::from_secs(60);

/// How long providers may take to let go, all together, when the node stops.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// How many providers have not been asked yet.
pub(crate) struct FirstLook(watch::Sender<usize>, AtomicBool);

impl FirstLook {
    pub(crate) fn new(awaited: usize) -> Self {
        Self(watch::Sender::new(awaited), AtomicBool::new(false))
    }

    pub(crate) fn is_over(&self) -> bool {
        *self.0.borrow() == 0
    }

    /// It is over, whoever has not been asked: nobody is to wait for it any more.
    pub(crate) fn give_up(&self) {
        self.0.send_modify(|awaited| *awaited = 0);
    }

    /// Resolves once it is.
    pub(crate) async fn over(&self) {
        // The sender is here.
        let _ = self.0.subscribe().wait_for(|awaited| *awaited == 0).await;
    }
}

impl Engine {
    /// Begins to look after the providers that are not built in; once, however often it is called. A dispatch waits for them: whoever
    /// dispatches before [`Engine::start`] calls this before.
    pub fn start_providers(self: &Arc<Self>) {
        if self.first_look.1.swap(true, Relaxed) || self.first_look.is_over() {
            return;
        }
        for (number, provider) in self.tools.others() {
            let engine = Arc::downgrade(self);
            let (ambient, provider) = (Arc::clone(&self.ambient), Arc::clone(provider));
            self.supervise("tool provider", Watch { engine, ambient, provider, number }.go());
        }
        let (engine, ambient) = (Arc::downgrade(self), Arc::clone(&self.ambient));
        let too_long = async move {
            ambient.sleep(FIRST_LOOK).await;
            if let Some(engine) = engine.upgrade() {
                engine.looked(|awaited| *awaited = 0);
            }
        };
        self.attend("first look", too_long);
    }

    /// The first look is nearer to its end, and over with the last of them.
    fn looked(self: &Arc<Self>, less: impl FnOnce(&mut usize)) {
        let was_over = self.first_look.is_over();
        self.first_look.0.send_modify(less);
        if !was_over && self.first_look.is_over() {
            self.pump();
        }
    }

    /// Lets go of all providers, side by side.
    pub(super) async fn close_providers(&self) {
        let close = |(_, provider): (usize, &Arc<dyn Provider>)| {
            let (ambient, provider) = (Arc::clone(&self.ambient), Arc::clone(provider));
            async move {
                let name = provider.name().to_owned();
                let closing = async move {
                    provider.close().await;
                    Ok(())
                };
                if let Err(why) = ask(&*ambient, CLOSE_LIMIT, "to let go", closing).await {
                    tracing::warn!(provider = name, why, "a tool provider was not closed in order");
                }
            }
        };
        join_all(self.tools.others().map(close)).await;
    }
}

/// What looks after one provider.
struct Watch {
    engine: Weak<Engine>,
    ambient: Surroundings,
    provider: Arc<dyn Provider>,
    number: usize,
}

impl Watch {
    /// Never ends while the node serves.
    async fn go(self) {
        let (mut failures, mut is_first) = (0_u32, true);
        loop {
            if !self.stands(LinkState::Connecting, None) {
                return;
            }
            let (why, well_for) = match self.reach().await {
                Ok(offer) => {
                    let begun = self.ambient.steady();
                    self.tell(|engine| engine.tools.offers(self.number, offer));
                    self.stands(LinkState::Connected, None);
                    self.first_look_is_over(&mut is_first);
                    (self.until_lost().await, self.ambient.steady().saturating_sub(begun))
                }
                Err(why) => (why, Duration::ZERO),
            };
            self.stands(LinkState::Failed, Some(&why));
            self.first_look_is_over(&mut is_first);
            failures = if well_for >= WELL { 1 } else { failures.saturating_add(1) };
            if failures == 1 {
                tracing::warn!(provider = self.provider.name(), why, "a tool provider is out; it is tried again");
            }
            self.ambient.sleep(again(failures, self.ambient.chance())).await;
        }
    }

    /// Reaches it, and asks what it has.
    async fn reach(&self) -> Result<Offer, String> {
        let provider = Arc::clone(&self.provider);
        ask(&*self.ambient, CONNECT_LIMIT, "to connect", async move { provider.connect().await }).await?;
        self.offer().await
    }

    async fn offer(&self) -> Result<Offer, String> {
        let (provider, ambient) = (Arc::clone(&self.provider), Arc::clone(&self.ambient));
        let listing = async move {
            let tools = provider.tools().await?;
            // Schemas of many tools take their time, and what a tool says of itself is code of its own.
            let offer = ambient.unblock(move || Offer::of(provider.prefix(), tools)).await;
            offer.map_err(|gone| ProviderError(gone.to_string()))
        };
        ask(&*self.ambient, ANSWER_LIMIT, "for its tools", listing).await
    }

    /// Watches it until it is lost; why it is.
    async fn until_lost(&self) -> String {
        loop {
            let provider = Arc::clone(&self.provider);
            let mut changed = self.ambient.spawn(async move { provider.changed().await });
            let changed = loop {
                match select(changed, self.ambient.sleep(HEALTH_ROUND)).await {
                    Either::Left((changed, _)) => break changed,
                    Either::Right(((), still)) => changed = still,
                }
                let provider = Arc::clone(&self.provider);
                let asked = async move { provider.health().await };
                if let Err(why) = ask(&*self.ambient, ANSWER_LIMIT, "whether it is well", asked).await {
                    return why;
                }
            };
            match changed {
                Ok(Changed::Lost(why)) => return why,
                Ok(Changed::Tools) => {}
                Err(gone) => return format!("waiting for its changes: {gone}"),
            }
            self.ambient.sleep(CHANGES_SETTLE).await;
            match self.offer().await {
                Ok(offer) => self.tell(|engine| engine.tools.offers(self.number, offer)),
                Err(why) => return why,
            }
        }
    }

    /// Tells how it stands from now on. False, where there is nobody any more to tell.
    fn stands(&self, state: LinkState, error: Option<&str>) -> bool {
        let Some(engine) = self.engine.upgrade() else { return false };
        engine.tools.is_now(self.number, state, self.ambient.wall(), error);
        !engine.is_stopping()
    }

    fn first_look_is_over(&self, is_first: &mut bool) {
        if std::mem::take(is_first)
            && let Some(engine) = self.engine.upgrade()
        {
            engine.looked(|awaited| *awaited = awaited.saturating_sub(1));
        }
    }

    fn tell(&self, tell: impl FnOnce(&Engine)) {
        if let Some(engine) = self.engine.upgrade() {
            tell(&engine);
        }
    }
}

/// Asks a provider something, in a task of its own: whatever it does there, it does to itself.
async fn ask<T: Send + 'static>(
    ambient: &dyn Ambient,
    limit: Duration,
    what: &str,
    question: impl Future<Output = Result<T, ProviderError>> + Send + 'static,
) -> Result<T, String> {
    match ambient.timeout(limit, ambient.spawn(question)).await {
        Some(Ok(answer)) => answer.map_err(|error| error.to_string()),
        Some(Err(gone)) => Err(format!("asked {what}: {gone}")),
        None => Err(format!("asked {what}: no answer within {} s", limit.as_secs())),
    }
}

/// How long to wait before it is tried again after so many failures: twice as long each time, and never in step with others.
fn again(failures: u32, chance: f64) -> Duration {
    let longest = AGAIN.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(AGAIN_MAX);
    longest.mul_f64(0.5 + chance / 2.0)
}

#[cfg(test)]
#[path = "providers_tests.rs"]
mod tests;
