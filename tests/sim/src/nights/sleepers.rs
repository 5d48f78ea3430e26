//! Plugins that take their time: minutes as a rule, a day now and then; and end well, badly, or not by themselves.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{Either, select};
use sortie_ambient::{Ambient as _, BoxFuture};
use sortie_contract::Mistake;
use sortie_contract::digest::Digest;
use sortie_contract::plugin::{Brief, Crash, Verdict};
use sortie_engine::Guests;
use sortie_sandbox::{Ending, Installed, Run};

use crate::executor::Executor;
use crate::guests::{MEMORY_BYTES, installed};
use crate::scene::Scene;

/// The plugins of one life of a node.
pub(crate) struct Sleepers {
    pub(crate) scene: Arc<Scene>,
    pub(crate) executor: Weak<Executor>,
}

impl Guests for Sleepers {
    fn installed(&self, _: &str) -> Vec<Installed> {
        vec![installed()]
    }

    fn check(&self, _: Digest, _: Brief) -> BoxFuture<'_, Result<Vec<Mistake>, Crash>> {
        let pass = self.executor().pass();
        async move {
            pass.await;
            Ok(Vec::new())
        }
        .boxed()
    }

    fn memory_bytes_max(&self) -> u64 {
        MEMORY_BYTES
    }

    fn run(&self, run: Run) -> BoxFuture<'_, Ending> {
        let (executor, scene) = (self.executor(), Arc::clone(&self.scene));
        async move {
            let sleeps = async {
                executor.pass().await;
                executor.sleep(lasts(&scene)).await;
                executor.pass().await;
                ends(&scene)
            };
            let killed = std::pin::pin!(run.kill.thrown());
            match select(killed, std::pin::pin!(sleeps)).await {
                Either::Left(_) => Ending::Killed,
                Either::Right((ending, _)) => ending,
            }
        }
        .boxed()
    }
}

impl Sleepers {
    fn executor(&self) -> Arc<Executor> {
        self.executor.upgrade().expect("a plugin runs on what is there")
    }
}

/// How long a run lasts.
fn lasts(scene: &Scene) -> Duration {
    if !scene.outside(|outside| outside.faults) {
        return Duration::from_millis(scene.roll(|rng| rng.u64(1..200)));
    }
    let seconds = scene.roll(|rng| match rng.u8(..10) {
        0..=3 => rng.u64(1..60),
        4..=6 => rng.u64(60..3_600),
        7 | 8 => rng.u64(3_600..30_000),
        _ => rng.u64(30_000..120_000),
    });
    Duration::from_secs(seconds)
}

/// How it ends.
fn ends(scene: &Scene) -> Ending {
    let dice = if scene.outside(|outside| outside.faults) { scene.roll(|rng| rng.u8(..10)) } else { 0 };
    match dice {
        0..=6 => Ending::Returned(Verdict::Done { summary: "It was done.".to_owned(), next_action: None }),
        7 | 8 => Ending::Returned(Verdict::Failed {
            summary: "It could not be done.".to_owned(),
            tool: None,
            next_action: None,
        }),
        _ => Ending::Crashed(Crash::Trapped("unreachable".to_owned())),
    }
}
