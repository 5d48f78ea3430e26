//! Outputs that a mission wrote into its workspace but did not store: a file that this mission's own calls wrote and that
//! matches a required output becomes an artifact at the end (contract reading, *Fine print*).

use std::sync::Arc;

use sortie_contract::limit;
use sortie_mission::Command;
use sortie_tools::Workspace;

use super::Engine;
use super::live::{Live, Wait};

impl Engine {
    /// Collects them. What cannot be read is missing, and the core says so when the mission ends.
    pub(super) async fn collect(&self, live: &Arc<Live>, workspace: &Workspace) {
        for path in live.with(|mission| mission.collectable().into_iter().map(str::to_owned).collect::<Vec<_>>()) {
            let (source, from) = (workspace.clone(), path.clone());
            let bytes = move || source.read_file(&from, limit::ARTIFACT_BYTES_MAX).map_err(|error| error.to_string());
            match self.keep(live, path.clone(), media_type(&path).to_owned(), bytes).await {
                Ok(artifact) => {
                    let command = || Command::CollectArtifact { artifact: artifact.clone() };
                    if self.command_patiently(live, command, Wait::No).await.is_err() {
                        return;
                    }
                }
                Err(why) => tracing::warn!(no = %live.no, path, why, "a required output cannot be collected"),
            }
        }
    }
}

/// The media type that a file's name suggests.
fn media_type(path: &str) -> &'static str {
    let extension = path.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    match extension.as_deref() {
        Some("md") => "text/markdown",
        Some("txt" | "log") => "text/plain",
        Some("json") => "application/json",
        Some("csv") => "text/csv",
        Some("html" | "htm") => "text/html",
        Some("patch" | "diff") => "text/x-diff",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("svg") => "image/svg+xml",
        Some("pdf") => "application/pdf",
        _ => "application/octet-stream",
    }
}
