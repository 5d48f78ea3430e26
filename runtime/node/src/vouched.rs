//! Who vouches for plugins, on this node: what is taken in is held against the keys of the configuration, and at each start so is what is
//! there. What the binary carries is the node's own, and vouched for by whoever put the binary there.

use std::sync::Arc;

use sortie_contract::Timestamp;
use sortie_contract::plugin::{Origin, PluginIdentity};
use sortie_origin::{Keys, Sources};
use sortie_sandbox::{Installed, Sandbox};

/// What says of bytes that were sent or fetched where they are from and who vouches for them, or why they are not taken.
pub(crate) fn vet(
    sources: &Arc<Sources>,
    from: Option<String>,
    signature: Option<String>,
    now: Timestamp,
) -> impl FnOnce(&[u8]) -> Result<Origin, String> + Send + 'static {
    let sources = Arc::clone(sources);
    move |bytes| {
        let signed = sources.keys().vouch(bytes, signature.as_deref()).map_err(|error| error.to_string())?;
        Ok(Origin { from, signed, installed_at: Some(now) })
    }
}

/// Sets aside what is installed and nobody vouches for any more, where that is wanted: a key was taken out of the configuration, signatures
/// are wanted since, or a file is another one. Blocks.
pub(crate) fn look(sandbox: &Sandbox, keys: &Keys, carried: &[PluginIdentity]) {
    if !keys.is_required() {
        return;
    }
    let is_carried = |plugin: &Installed| carried.iter().any(|own| own.digest == plugin.identity.digest);
    for plugin in sandbox.plugins().into_iter().filter(|plugin| !is_carried(plugin)) {
        let digest = plugin.identity.digest;
        let signature = plugin.origin.signed.as_ref().map(|signed| signed.signature.as_str());
        let vouched = match (signature, sandbox.component(&digest)) {
            (Some(_), Err(error)) => Err(error.to_string()),
            (signature, bytes) => {
                keys.vouch(&bytes.unwrap_or_default(), signature).map(drop).map_err(|error| error.to_string())
            }
        };
        if let Err(why) = vouched {
            tracing::warn!(plugin = %plugin.identity, why, "a plugin is set aside: no mission begins on it");
            sandbox.set_aside(digest, why);
        }
    }
}
