//! Bytes that become artifacts: where they come from, and their way into the store. What of it is recorded, whoever stores them
//! sends to the core.

use std::sync::Arc;

use sortie_contract::artifact::{Artifact, ArtifactName};
use sortie_contract::digest::Digest;
use sortie_contract::limit;
use sortie_contract::record::ArtifactSource;
use sortie_mission::replay::Contents;

use super::Engine;
use super::live::Live;

/// Where the bytes of an artifact come from.
pub(super) enum Source {
    /// The plugin's memory.
    Memory { bytes: Vec<u8>, sha256: Digest },
    /// A file of the workspace.
    File { path: String },
}

impl Source {
    /// By what a replay knows it again.
    pub(super) fn contents(&self) -> Contents<'_> {
        match self {
            Self::Memory { sha256, .. } => Contents::Memory(*sha256),
            Self::File { path } => Contents::File(path),
        }
    }

    /// What is on record of it.
    pub(super) fn recorded(&self) -> ArtifactSource {
        match self {
            Self::Memory { .. } => ArtifactSource::Memory,
            Self::File { path } => ArtifactSource::File { path: path.clone() },
        }
    }
}

impl Engine {
    /// Puts bytes into the artifact store, off the async threads.
    pub(super) async fn keep(
        &self,
        live: &Live,
        name: String,
        media_type: String,
        bytes: impl FnOnce() -> Result<Vec<u8>, String> + Send + 'static,
    ) -> Result<Artifact, String> {
        let name = ArtifactName::new(name).map_err(|error| error.to_string())?;
        let plain = media_type.len() <= limit::ID_BYTES_MAX
            && media_type.split_once('/').is_some_and(|(kind, rest)| !kind.is_empty() && !rest.is_empty())
            && media_type.bytes().all(|b| (0x20..0x7f).contains(&b));
        if !plain {
            return Err(format!("`{}` is no media type such as text/markdown", limit::clip(&media_type, 80)));
        }
        if !live.with(|mission| mission.has_room_for(&name)) {
            return Err(format!("a mission has at most {} artifacts", limit::ARTIFACTS_MAX));
        }
        let (store, no) = (Arc::clone(&self.artifacts), live.no);
        let stored = self.ambient.unblock(move || {
            let bytes = bytes()?;
            if bytes.len() > limit::ARTIFACT_BYTES_MAX {
                return Err(format!("an artifact has at most {} bytes", limit::ARTIFACT_BYTES_MAX));
            }
            let sha256 = store.put(no, &bytes).map_err(|error| format!("it cannot be stored: {error}"))?;
            Ok((bytes.len() as u64, sha256))
        });
        let (bytes, sha256) = stored.await.map_err(|_| "it cannot be stored".to_owned())??;
        Ok(Artifact { name, media_type, bytes, sha256 })
    }
}
