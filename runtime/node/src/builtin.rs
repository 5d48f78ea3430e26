//! The plugins that the binary carries, so that copying one file to a machine is a deployment.

use sortie_contract::plugin::PluginIdentity;
use sortie_sandbox::Sandbox;

use crate::node::OpenError;

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// Installs them, and says which they are; one that is installed already costs a look at its file. A disk that takes nothing keeps
/// none of them from being used.
pub(crate) async fn install(sandbox: &Sandbox) -> Result<Vec<PluginIdentity>, OpenError> {
    let mut carried = Vec::new();
    for &(name, module) in EMBEDDED {
        let installed = sandbox.install_carried(module.to_vec()).await;
        let installed = installed.map_err(|source| OpenError::BuiltIn { name, source })?;
        carried.push(installed.identity);
    }
    Ok(carried)
}
