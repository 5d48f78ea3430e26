//! Outputs that a mission wrote into its workspace but did not store: a file that this mission's own calls wrote and that
//! matches a required output becomes an artifact at the end (contract reading, *Fine print*).

use std::sync::Arc;

use sortie_contract::limit;
use sortie_mission::{Command, media_type};
use sortie_tools::Workspace;

use super::Engine;
use super::keep::NotKept;
use super::live::{Live, Wait};

impl Engine {
    /// Collects them, and says which could not be, and why.
    pub(super) async fn collect(&self, live: &Arc<Live>, workspace: &Workspace) -> Vec<String> {
        let mut uncollected = Vec::new();
        for path in live.with(|mission| mission.collectable().into_iter().map(str::to_owned).collect::<Vec<_>>()) {
            let bytes = self.file_of(live, workspace, &path);
            match self.keep(live, path.clone(), media_type(&path).to_owned(), bytes).await {
                Ok(artifact) => {
                    let command = || Command::CollectArtifact { artifact: artifact.clone() };
                    if self.command_patiently(live, command, Wait::No).await.is_err() {
                        return uncollected;
                    }
                }
                Err(NotKept::Over) => return uncollected,
                Err(NotKept::Why(why)) => {
                    tracing::warn!(no = %live.no, path, why, "a required output cannot be collected");
                    uncollected.push(why);
                }
            }
        }
        uncollected
    }

    /// Reads a file of the workspace that is to become an artifact, once, and gives away what it read only where the core lets these
    /// very bytes be stored: whoever changes the file meanwhile changes nothing of that. To be called where blocking is allowed.
    pub(super) fn file_of(
        &self,
        live: &Arc<Live>,
        workspace: &Workspace,
        path: &str,
    ) -> impl FnOnce() -> Result<Vec<u8>, String> + Send + use<> {
        let (live, workspace, toolbox, path) = (Arc::clone(live), workspace.clone(), self.toolbox(), path.to_owned());
        move || {
            let storable = || live.with(|mission| mission.may_store_file(&path, toolbox.info("Read")));
            // Reading is a capability, and storing gives the bytes away: what may not be stored in any case is not even looked for.
            storable()?;
            let read = workspace.read_file(&path, limit::ARTIFACT_BYTES_MAX);
            let bytes = read.map_err(|error| format!("{}: {error}", limit::clip(&path, limit::QUOTE_BYTES_MAX)))?;
            storable()?.takes(&path, &bytes)?;
            Ok(bytes)
        }
    }
}
