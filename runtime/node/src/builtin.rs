//! The plugins that the binary carries, so that copying one file to a machine is a deployment.

use sortie_sandbox::Sandbox;

use crate::engine::OpenError;

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// Installs them; one that is installed already costs a look at its digest.
pub(crate) async fn install(sandbox: &Sandbox) -> Result<(), OpenError> {
    for &(name, module) in EMBEDDED {
        sandbox.install(module.to_vec()).await.map_err(|source| OpenError::BuiltIn { name, source })?;
    }
    Ok(())
}
