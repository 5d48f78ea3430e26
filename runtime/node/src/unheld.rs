//! Plugin builds that nobody needs go, where that is wanted ([`crate::collected`]), and those that nobody holds: no mission, whether it runs, waits or is kept, and not the list of what is installed.
//!
//! A mission stays on the bytes that it started with, so that replaced and removed builds stay in the store. This looks at the
//! start, and from time to time, which of them no mission is on any more. Where missions cannot be read, nothing goes.

use std::sync::Arc;
use std::time::Duration;

use sortie_engine::Engine;
use sortie_sandbox::Sandbox;

use crate::collected::Shelf;

/// How often it is looked. What was uninstalled while the node runs is left alone for many rounds: a mission that was told of it
/// before may be on its way into the journal.
const ROUND: Duration = Duration::from_secs(10 * 60);

/// Looks now, and again and again.
pub(crate) fn start(engine: &Arc<Engine>, sandbox: &Sandbox, shelf: &Shelf) {
    let (ambient, sandbox, shelf) = (Arc::clone(engine.ambient()), sandbox.clone(), shelf.clone());
    let weak = Arc::downgrade(engine);
    engine.supervise("plugins", async move {
        loop {
            let Some(engine) = weak.upgrade() else { return };
            let (sandbox, shelf) = (sandbox.clone(), shelf.clone());
            // A round that panics is told by whoever supervises the others; here it only frees nothing.
            let _ = ambient.unblock(move || round(&engine, &sandbox, &shelf)).await;
            ambient.sleep(ROUND).await;
        }
    });
}

/// Looks once. Blocks.
fn round(engine: &Engine, sandbox: &Sandbox, shelf: &Shelf) {
    // What was restored stays as it is until somebody lets the node go on.
    if engine.holds_back() {
        return;
    }
    if let Some(age) = shelf.age
        && let Err(error) = shelf.collect(engine, sandbox, Some((age, engine.ambient().wall())))
    {
        tracing::warn!(error = &error as &dyn std::error::Error, "plugins that nobody needs are not removed");
    }
    // First: what comes to be unused after this is not in it.
    let mut unheld = sandbox.unused();
    if !unheld.is_empty() {
        match engine.plugins_held() {
            Ok(held) => unheld.retain(|digest| !held.contains_key(digest)),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "no plugin is removed: it cannot be seen which of them missions hold");
                return;
            }
        }
    }
    // While a backup is taken another round finds them again.
    let Some(discarded) = engine.removals().unless_held(|| sandbox.discard(&unheld)) else { return };
    match discarded {
        Ok(freed) if freed.files > 0 => {
            tracing::info!(files = freed.files, bytes = freed.bytes, "removed plugins that nobody holds");
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "plugins that nobody holds cannot be removed"),
    }
}
