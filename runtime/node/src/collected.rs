//! Plugins that nobody needs any more go: at once where somebody asks for it, by themselves where the configuration says after how long.
//!
//! Which those are the core says. What goes here is what can be chosen; the files go once it is certain that no mission has them
//! ([`crate::unheld`]), with the code that was compiled of them. A crash in between leaves files that nobody needs, which go then.

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::Value;
use sortie_contract::Timestamp;
use sortie_contract::plugin::{PluginIdentity, PluginRef};
use sortie_engine::{Engine, ReadError};
use sortie_hook::HookConfig;
use sortie_mission::{Shelved, Stays, stays};
use sortie_sandbox::{Sandbox, StoreError};

/// What says what is needed beside missions and schedules.
#[derive(Debug, Clone)]
pub(crate) struct Shelf {
    /// What the binary brings along.
    pub(crate) carried: Arc<[PluginIdentity]>,
    /// What the configuration names.
    pub(crate) configured: Arc<[PluginRef]>,
    /// What hooks say of their missions, see [`hooked`]: each may name some.
    pub(crate) hooked: Arc<[String]>,
    /// After how long a version that was replaced goes by itself; none: never.
    pub(crate) age: Option<SignedDuration>,
}

/// What became, or would become, of each version.
pub(crate) type Collection = Vec<(PluginIdentity, Option<Stays>)>;

/// Why nothing was collected, or not all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CollectError {
    /// It cannot be seen what missions hold.
    #[error("it cannot be seen which plugins missions hold")]
    Read(#[from] ReadError),
    /// A file stays.
    #[error("a plugin cannot be removed")]
    Store(#[from] StoreError),
}

/// What these hooks say of their missions: the envelopes, and what their templates may name. What a delivery itself names nobody knows.
pub(crate) fn hooked(hooks: &[HookConfig]) -> Arc<[String]> {
    let said = hooks.iter().flat_map(|hook| [&hook.envelope, &hook.vars]);
    said.map(|said| Value::Object(said.clone()).to_string()).collect()
}

impl Shelf {
    /// Which versions are needed, and why. `since` as in [`stays`]. Blocks.
    pub(crate) fn look(
        &self,
        engine: &Engine,
        sandbox: &Sandbox,
        since: Option<(SignedDuration, Timestamp)>,
    ) -> Result<Collection, ReadError> {
        let installed = sandbox.plugins();
        let held = engine.plugins_held()?;
        let names: Vec<String> = installed.iter().map(|plugin| plugin.identity.to_string()).collect();
        let scheduled = engine.named_by_schedules(&names);
        let is_configured = |identity: &PluginIdentity| {
            let is_it = |named: &PluginRef| named.version.as_ref() == Some(&identity.version);
            self.configured.iter().any(|named| named.name == identity.name && is_it(named))
        };
        let is_hooked = |identity: &PluginIdentity| {
            let text = identity.to_string();
            self.hooked.iter().any(|said| said.contains(&text))
        };
        let shelved = installed.into_iter().zip(scheduled).map(|(plugin, is_scheduled)| Shelved {
            is_carried: self.carried.iter().any(|own| own.digest == plugin.identity.digest),
            is_held: held.contains_key(&plugin.identity.digest),
            is_named: is_scheduled || is_configured(&plugin.identity) || is_hooked(&plugin.identity),
            may_be_chosen: sandbox.aside(&plugin.identity.digest).is_none(),
            installed_at: plugin.origin.installed_at,
            identity: plugin.identity,
        });
        // Going over all missions took its time: what was removed meanwhile, or is other bytes now, neither goes nor replaces anything.
        let there = sandbox.plugins();
        let is_there = |one: &Shelved| there.iter().any(|plugin| plugin.identity == one.identity);
        let shelved: Vec<Shelved> = shelved.filter(is_there).collect();
        let stays = stays(&shelved, since);
        Ok(shelved.into_iter().map(|one| one.identity).zip(stays).collect())
    }

    /// The same, and what nobody needs is removed. Blocks.
    pub(crate) fn collect(
        &self,
        engine: &Engine,
        sandbox: &Sandbox,
        since: Option<(SignedDuration, Timestamp)>,
    ) -> Result<Collection, CollectError> {
        let mut all = Collection::new();
        for (identity, stays) in self.look(engine, sandbox, since)? {
            if stays.is_none() {
                // What was looked at, and not what somebody has installed in its place since.
                if !sandbox.remove_exact(&identity)? {
                    continue;
                }
                tracing::info!(plugin = %identity, digest = %identity.digest, "removed a plugin that nobody needs");
            }
            all.push((identity, stays));
        }
        Ok(all)
    }
}
