//! The plugins that the binary carries, so that copying one file to a machine is a deployment.

use sortie_contract::plugin::PluginIdentity;
use sortie_sandbox::Sandbox;

use crate::node::OpenError;

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// Installs them, and says which they are; one that is installed already costs a look at its digest.
pub(crate) async fn install(sandbox: &Sandbox) -> Result<Vec<PluginIdentity>, OpenError> {
    let mut carried = Vec::new();
    for &(name, module) in EMBEDDED {
        let installed = sandbox.install(module.to_vec()).await.map_err(|source| OpenError::BuiltIn { name, source })?;
        carried.push(installed.identity);
    }
    Ok(carried)
}
