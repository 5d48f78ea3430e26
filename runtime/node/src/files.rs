//! Where the files of missions are: artifacts and workspaces, and how much room there is for them.

use std::io;
use std::path::Path;
use std::sync::Arc;

use sortie_engine::{Disk, FolderArtifacts, FolderWorkspaces, SharedRoom, Workspaces};
use sortie_tools::WorkspaceBounds;

use crate::config::{Config, LimitsConfig};
use crate::portable::Portable;
use crate::shared::Shared;

/// Where sessions work: in those folders, which go with them where the configuration says so.
pub(crate) fn portable(
    config: &Config,
    shared: Option<&Arc<Shared>>,
    artifacts: &FolderArtifacts,
    folders: Arc<FolderWorkspaces>,
) -> io::Result<Arc<dyn Workspaces>> {
    let Some(shared) = shared.filter(|_| config.workspace.portable) else { return Ok(folders) };
    let room = Arc::clone(artifacts.shared_room());
    let node = &config.node.instance_id;
    Ok(Arc::new(Portable::new(folders, bounds(&config.limits), room, Arc::clone(shared), node)?))
}

/// How much a workspace may hold.
fn bounds(limits: &LimitsConfig) -> WorkspaceBounds {
    WorkspaceBounds { bytes_max: limits.workspace_mib.saturating_mul(1 << 20), files_max: limits.workspace_files }
}

/// Where the files of missions go, and how much room they have.
pub(crate) fn files(
    limits: &LimitsConfig,
    data_dir: &Path,
    disk: Arc<Disk>,
) -> io::Result<(FolderArtifacts, Arc<FolderWorkspaces>)> {
    let mib = |mib: u64| mib.saturating_mul(1 << 20);
    let room = Arc::new(SharedRoom::new(disk, mib(limits.files_mib)));
    let artifacts = FolderArtifacts::open(data_dir, Arc::clone(&room), mib(limits.mission_artifacts_mib))?;
    Ok((artifacts, Arc::new(FolderWorkspaces::new(data_dir.to_owned(), bounds(limits), room))))
}
