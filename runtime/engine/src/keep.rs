//! Bytes that become artifacts: where they come from, and their way into the store. What of it is recorded, whoever stores them
//! sends to the core.

use sortie_contract::artifact::{Artifact, ArtifactName};
use sortie_contract::digest::Digest;
use sortie_contract::id::RunNo;
use sortie_contract::limit;
use sortie_contract::plugin::Crash;
use sortie_contract::record::ArtifactSource;
use sortie_mission::Mission;
use sortie_mission::replay::Contents;
use sortie_sandbox::Stop;

use super::Engine;
use super::live::Live;
use super::shared_store::ArtifactsOf;

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

/// Why bytes are no artifact.
pub(super) enum NotKept {
    /// The plugin is told.
    Why(String),
    /// The run was over before they could be stored: nobody is told anything.
    Over,
}

impl From<String> for NotKept {
    fn from(why: String) -> Self {
        Self::Why(why)
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
    ) -> Result<Artifact, NotKept> {
        let name = ArtifactName::new(name).map_err(|error| NotKept::Why(error.to_string()))?;
        let plain = media_type.len() <= limit::ID_BYTES_MAX
            && media_type.split_once('/').is_some_and(|(kind, rest)| !kind.is_empty() && !rest.is_empty())
            && media_type.bytes().all(|b| (0x20..0x7f).contains(&b));
        if !plain {
            return Err(format!("`{}` is no media type such as text/markdown", limit::clip(&media_type, 80)).into());
        }
        if !live.with(|mission| mission.has_room_for(&name)) {
            return Err(format!("a mission has at most {} artifacts", limit::ARTIFACTS_MAX).into());
        }
        let (run, store) = (live.with(Mission::run), self.artifacts_of_live(live));
        let first = {
            let store = store.clone();
            self.ambient.unblock(move || {
                let bytes = bytes()?;
                if bytes.len() > limit::ARTIFACT_BYTES_MAX {
                    return Err(format!("an artifact has at most {} bytes", limit::ARTIFACT_BYTES_MAX));
                }
                let put = store.put(&bytes);
                Ok((bytes, put))
            })
        };
        let lost = || NotKept::Why("it cannot be stored".to_owned());
        let (mut bytes, mut put) = first.await.map_err(|_| lost())??;
        let mut round = 0;
        let sha256 = loop {
            match put {
                Ok(sha256) => break sha256,
                Err(error) if error.may_pass() => {
                    // What was done is not lost for a store that is away: as long as the mission may go on, so may its store come back.
                    if !self.wait_for_store(live, run, &mut round, &error).await {
                        return Err(NotKept::Over);
                    }
                }
                Err(error) => return Err(format!("it cannot be stored: {error}").into()),
            }
            let store = store.clone();
            let again = self.ambient.unblock(move || {
                let put = store.put(&bytes);
                (bytes, put)
            });
            (bytes, put) = again.await.map_err(|_| lost())?;
        };
        Ok(Artifact { name, media_type, bytes: bytes.len() as u64, sha256 })
    }

    /// The bytes of an artifact, of this mission or of one that it may read of, for a run; however long their store is away.
    pub(super) async fn read_kept(
        &self,
        live: &Live,
        run: RunNo,
        store: ArtifactsOf,
        name: &str,
        sha256: Digest,
    ) -> Result<Vec<u8>, Stop> {
        let mut round = 0;
        loop {
            let its = store.clone();
            let error = match self.ambient.unblock(move || its.get(&sha256)).await {
                Ok(Ok(bytes)) => return Ok(bytes),
                Ok(Err(error)) if error.may_pass() => error,
                // An error is an answer, and answers are recorded: this one could not be given again.
                Ok(Err(error)) => {
                    let why = format!("the artifact `{name}` cannot be read: {error}");
                    return Err(Stop::Crash(Crash::Unrunnable(why)));
                }
                Err(_) => return Err(Stop::Over),
            };
            if !self.wait_for_store(live, Some(run), &mut round, &error).await {
                return Err(Stop::Over);
            }
        }
    }
}
